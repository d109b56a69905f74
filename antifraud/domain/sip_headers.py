"""Which SIP header lines a verdict may bring along, and how they travel in a reply.

A reply is flat, so its header lines are one text: ``Name: value``, one a line, in the order in which they are to stand.
Whoever puts them into a SIP message checks them against the names here first: what writes replies may be compromised,
or simply newer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

RESPONSE_HEADERS: Final = ("Reason", "Call-Info", "Diversion", "Warning", "Retry-After", "Error-Info")
"""Lines of the final response to a call that is refused or sent elsewhere."""

ONWARD_HEADERS: Final = ("P-Asserted-Identity", "Call-Info", "Alert-Info")
"""Lines of a call that goes on, in the place of those that it came with."""

MAX_LINES: Final = 16
MAX_LINE_BYTES: Final = 2_048
MAX_BYTES: Final = 4_096

# Ours are made by the adapters themselves: one of them holds a secret.
_OWN: Final = "x-antifraud-"
_EXTENSION: Final = re.compile(r"[Xx]-[A-Za-z0-9-]{1,60}\Z")
_RESPONSE: Final = {name.lower(): name for name in RESPONSE_HEADERS}
_ONWARD: Final = {name.lower(): name for name in ONWARD_HEADERS}


def is_allowed(name: str, *, onward: bool) -> bool:
    """Whether a verdict may bring a header of this name: into the call that goes on, or into the final response."""
    lower = name.lower()
    if lower in (_ONWARD if onward else _RESPONSE):
        return True
    return _EXTENSION.match(name) is not None and not lower.startswith(_OWN)


def join_lines(headers: Iterable[tuple[str, str]]) -> str:
    """The lines as one text. Their values must be printable; whoever fills them in sees to that."""
    return "\n".join(f"{name}: {value}" for name, value in headers)


def split_lines(text: str, *, onward: bool) -> tuple[tuple[str, str], ...]:
    """(name, value) of those lines that may be used, in their order; bounded, and the rest is left out silently.

    A line with a control character, without a value, longer than ``MAX_LINE_BYTES`` or of another name is no line.
    """
    found: list[tuple[str, str]] = []
    room = MAX_BYTES
    for line in text[:MAX_BYTES].split("\n", 4 * MAX_LINES)[: 4 * MAX_LINES]:
        name, colon, value = line.partition(": ")
        size = len(line.encode("utf-8", "replace"))
        if not colon or not value.strip() or not value.isprintable() or size > min(room, MAX_LINE_BYTES):
            continue
        if is_allowed(name, onward=onward):
            found.append((name, value))
            room -= size
        if len(found) == MAX_LINES:
            break
    return tuple(found)
