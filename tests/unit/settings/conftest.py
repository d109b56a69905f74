"""A small configuration of each test's own, to which it adds what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from antifraud.settings import Settings, load_settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes files under config/ (path → text) and loads them with this environment and these overrides."""

    def loaded(
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Settings:
        base = {
            "default.yaml": "default_region: KZ-75\n",
            "regions/KZ-75.yaml": "name: {en: Almaty, ru: Алматы, kk: Алматы}\n",
        }
        for name, text in {**base, **(files or {})}.items():
            path = tmp_path / "config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_settings(tmp_path / "config", env=env or {}, overrides=overrides)

    return loaded
