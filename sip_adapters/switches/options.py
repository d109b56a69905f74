"""What the sections of several switches share: reading them, addresses, and secrets that stand in files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from antifraud.domain import ConfigError

FOR_EVERYBODY: Final = ("enabled", "agent", "config_dir")
"""Options that the command line reads itself."""

LARGEST_SECRET: Final = 1_024
_Section = TypeVar("_Section", bound=msgspec.Struct)


def read_section(where: str, kind: type[_Section], raw: Mapping[str, Any]) -> _Section:
    """The section ``where`` of config/ as a ``kind``; ConfigError says which option is wrong and what there is."""
    own = {name: value for name, value in raw.items() if name not in FOR_EVERYBODY}
    known = kind.__struct_fields__
    for name in own:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}.{name}: there is no such option", hint=hint)
    try:
        return msgspec.convert(own, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        inside = f".{place.rstrip('`')}" if place else ""
        raise ConfigError(
            f"{where}{inside}: {what[:1].lower()}{what[1:]}", hint=f"known are {', '.join(known)}"
        ) from None


def read_address(where: str, text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` taken apart; ConfigError when it is neither."""
    host, colon, port = text.rpartition(":")
    if not host or not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65_535:
        raise ConfigError(f"{where}: {text[:80]!r} is no address", hint="write host:port, such as 127.0.0.1:5038")
    return host.removeprefix("[").removesuffix("]"), int(port)


def read_secret(where: str, path: str) -> str:
    """The first line of the file ``path``; ConfigError when there is none, or one that fits no protocol line."""
    hint = "write the secret into the file's first line, readable by the agent's user alone"
    if not path:
        raise ConfigError(f"{where}: no file is named", hint=hint)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:
        what = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"{where}: {path[:200]!r} cannot be read: {what}", hint=hint) from None
    secret = raw.split(b"\n", 1)[0].rstrip(b"\r")
    if not secret or len(secret) > LARGEST_SECRET or not all(0x21 <= byte <= 0x7E for byte in secret):
        raise ConfigError(
            f"{where}: the first line of {path[:200]!r} is not 1 to {LARGEST_SECRET} visible ASCII characters",
            hint=hint,
        )
    return secret.decode("ascii")
