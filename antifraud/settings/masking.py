"""Keeps passwords out of what is shown: messages, ``config show``, logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

_USERINFO: Final = re.compile(r"(?<=://)([^/@\s:]*):([^/\s]*)@")
_QUERY: Final = re.compile(r"(?i)([?&](?:password|token|secret)=)[^&\s]*")
_SECRET_KEYS: Final = ("password", "passwd", "secret", "token", "auth_key", "api_key")


def mask_text(text: str) -> str:
    """``text`` with the password of an address in it replaced by ``***``."""
    return _QUERY.sub(r"\1***", _USERINFO.sub(r"\1:***@", text)) if "://" in text else text


def mask_line(line: str) -> str:
    """A line of a file with the password of an address in it starred out; its columns stay where they are."""
    return _USERINFO.sub(lambda found: f"{found[1]}:{'*' * len(found[2])}@", line) if "://" in line else line


def readable(text: str, longest: int = 60) -> str:
    """``text`` for a message: no password, no control characters, not too long."""
    masked = "".join(c if c.isprintable() else repr(c)[1:-1] for c in mask_text(text))
    return masked if len(masked) <= longest else masked[:longest] + "…"


def mask_value(path: Sequence[str], value: Any) -> Any:
    """A setting's value as it may be shown."""
    last = path[-1].lower() if path else ""
    if any(word in last for word in _SECRET_KEYS) and not last.endswith("_file") and value not in (None, ""):
        return "***"
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {key: mask_value((*path, str(key)), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(path, item) for item in value]
    return value
