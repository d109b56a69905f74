"""Text from the wire: bytes that an attacker chose become text that Redis, JSON and a terminal can carry.

Raw header values are kept as latin-1 strings (one character a byte, so they can be sent back unchanged); ``clean``
and ``wire_text`` make of them what goes into an event.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from antifraud.domain import Quarantined

REPLACEMENT: Final = "\ufffd"
RAW_CHARS: Final = 512
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")


def clean(text: str) -> str:
    """``text`` with every unprintable character (controls, bidi marks, lone surrogates) replaced by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else REPLACEMENT for char in text)


def wire_text(raw: str) -> str:
    """The text of a raw latin-1 value: UTF-8 where it is UTF-8, latin-1 otherwise; printable in any case."""
    if raw.isascii():
        return clean(raw)
    return decode_text(raw.encode("latin-1"))


def decode_text(data: bytes) -> str:
    """The printable text of ``data``: UTF-8 where it is UTF-8, latin-1 otherwise."""
    try:
        return clean(data.decode("utf-8"))
    except UnicodeDecodeError:
        return clean(data.decode("latin-1"))


def unescape(raw: str) -> str:
    """The text of a raw value with its %XX escapes resolved (RFC 3261 §19.1.2)."""
    if "%" not in raw:
        return wire_text(raw)
    return decode_text(unquote_to_bytes(raw.encode("latin-1")))


def is_plain(text: str) -> bool:
    """Whether ``text`` is visible ASCII without a space, so that no decoder on the way can alter it."""
    return _PLAIN.fullmatch(text) is not None


def quarantined(code: str, detail: str, source: str, data: bytes) -> Quarantined:
    """What could not be understood, with its first bytes as printable ASCII (others as \\xNN)."""
    raw = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else _ESCAPES.get(byte, f"\\x{byte:02x}")
        for byte in data[:RAW_CHARS]
    )
    return Quarantined(code=code, detail=clean(detail)[:300], source=source, raw=raw[:RAW_CHARS])


_ESCAPES: Final = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}
