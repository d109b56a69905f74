"""The option ``fail`` of an adapter, made as the command line makes it out of config/."""

from __future__ import annotations

from typing import Any

from antifraud.cli.fail_policy import fail_options
from antifraud.settings import load_settings


def policy(**rungs: str) -> dict[str, Any]:
    """What a switch of KZ-75 does while nobody decides; ``rungs`` such as ``{"any.late": "label"}``."""
    settings = load_settings(env={}, overrides={f"policy.fail.{path}": word for path, word in rungs.items()})
    found = fail_options(settings, "sw-kz-75")
    assert found is not None
    return found
