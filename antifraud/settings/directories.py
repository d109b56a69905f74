"""Where rules/, models/ and config/ lie, and where the product may keep what it writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import antifraud
from antifraud.domain import UsageError

DataName = Literal["rules", "models", "config"]

VARIABLES: Final[dict[str, str]] = {
    "rules": "ANTIFRAUD_RULES",
    "models": "ANTIFRAUD_MODELS",
    "config": "ANTIFRAUD_CONFIG",
}


def data_dir(name: DataName, chosen: Path | str | None = None, *, env: Mapping[str, str] | None = None) -> Path:
    """The directory of rules, models or configuration.

    In this order: ``chosen`` (the command line), the environment variable ANTIFRAUD_RULES, ANTIFRAUD_MODELS or
    ANTIFRAUD_CONFIG, the checkout that this package runs from, the data that the wheel carries. A directory that
    was named and does not exist raises UsageError; nothing else is tried then.
    """
    environment = os.environ if env is None else env
    if chosen is not None and str(chosen):
        return _existing(Path(chosen), f"--{name}", name)
    variable = VARIABLES[name]
    if environment.get(variable):
        return _existing(Path(environment[variable]), variable, name)
    package = Path(antifraud.__file__).resolve().parent
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    carried = package / "_data" / name
    if carried.is_dir():
        return carried
    raise UsageError(f"there is no {name} directory in this installation", hint=f"name one with --{name} or {variable}")


def _existing(path: Path, said_by: str, name: str) -> Path:
    if path.is_dir():
        return path
    what = "is a file, not a directory" if path.exists() else "does not exist"
    raise UsageError(f"{path} {what}", hint=f"{said_by} must name the directory of {name}")


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """Where snapshots and the journal go when configuration names no directory.

    systemd's STATE_DIRECTORY, else $XDG_STATE_HOME/antifraud, else ~/.local/state/antifraud. It is not made here.
    """
    environment = os.environ if env is None else env
    systemd = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if systemd:
        return Path(systemd)
    xdg = environment.get("XDG_STATE_HOME", "")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "antifraud"
    return Path(environment.get("HOME") or Path.home()) / ".local" / "state" / "antifraud"
