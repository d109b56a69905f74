"""Entries of lists in the form that calls carry, and the spans of numbers that they stand for.

A number is a whole number of at most fifteen digits, a range is the span of numbers that it says, a beginning of
numbers is the span of all texts that begin so; names of trunks, pieces of user agents and short codes stay texts. How
millions of them are kept is in ``sorted_entries.py``, how they are looked up in ``tables.py``.

Beginnings are counted to the base of eleven: fifteen digits, where what comes after the last one given counts as ten.
So a text that ends stands behind all that go on from it, and no span of a longer beginning takes it in.
"""

from __future__ import annotations

import re
from typing import Final

from antifraud.rulekit.messages import Message

KINDS: Final = ("numbers", "prefixes", "ranges", "trunks", "user_agents")
FOREVER: Final = float("inf")

DIGITS: Final = 15
"""The most digits of a number in E.164."""
POWERS: Final = tuple(10**power for power in range(DIGITS + 1))
WIDTHS: Final = (0, *(11 ** (DIGITS - digits) for digits in range(DIGITS + 1)))
"""How wide the span of a beginning is, by the length of its text, the + included."""

_SEPARATORS: Final = re.compile(r"[ ()\u00a0-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{4,14}\Z")
_SHORT: Final = re.compile(r"[0-9]{2,8}\Z")
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,13}\Z")
_TRUNK: Final = re.compile(r"[^\s*][^\s*]{0,62}\*?\Z|[^\s*]\*?\Z")
_JOINED: Final = re.compile(r"(\+[^+]*?)(?:-|\u2013|\.\.)?[ \u00a0]*(\+[^+]*)\Z")
_SPLIT: Final = re.compile(r"[-\u2013]|\.\.")

Span = tuple[int, int]
"""First and last number, both within."""


def plain_entry(kind: str, value: str) -> str | Message:
    """The entry as calls carry it, or what is wrong with it: numbers without spaces, hyphens and brackets.

    A range comes as ``+first-+last``, a piece of a user agent in small letters.
    """
    if kind == "trunks":
        return value if _TRUNK.match(value) else Message.ENTRY_BAD_TRUNK
    if kind == "user_agents":
        return value.casefold() if len(value) >= 4 else Message.ENTRY_SHORT_AGENT
    if kind == "ranges":
        return _plain_range(value)
    plain = _SEPARATORS.sub("", value)
    if kind == "numbers":
        return plain if _E164.match(plain) or _SHORT.match(plain) else Message.ENTRY_NOT_NUMBER
    return plain if _PREFIX.match(plain) or _SHORT.match(plain) else Message.ENTRY_NOT_PREFIX


def plain_range(first: str, last: str) -> str | Message:
    """The range from ``first`` to ``last``, both within; or what is wrong with it."""
    low, high = _SEPARATORS.sub("", first), _SEPARATORS.sub("", last)
    if not _E164.match(low) or not _E164.match(high):
        return Message.ENTRY_NOT_RANGE
    if len(low) != len(high) or low > high:
        return Message.ENTRY_RANGE_ORDER
    return f"{low}-{high}"


def _plain_range(value: str) -> str | Message:
    joined = _JOINED.match(value)
    if joined is not None:
        return plain_range(joined[1], joined[2])
    # A hyphen that does not join two numbers in full may mean anything: +77000000000-99 is no number.
    return Message.ENTRY_NOT_RANGE if _SPLIT.search(value) else plain_range(value, value)


def span_of(kind: str, plain: str) -> Span | None:
    """The span of a plain entry; None for one that stays a text."""
    if not plain.startswith("+") or kind in ("trunks", "user_agents"):
        return None
    if kind == "numbers":
        return int(plain), int(plain)
    if kind == "ranges":
        first, _, last = plain.partition("-")
        return int(first), int(last)
    width = WIDTHS[len(plain)]
    first = int(plain, 11) * width
    return first, first + width - 1


def shown_span(kind: str, first: int, last: int) -> str:
    """The plain entry of a span."""
    if kind == "numbers":
        return f"+{first}"
    if kind == "ranges":
        return f"+{first}-+{last}"
    digits, rest = "", first // (last - first + 1)
    while rest:
        rest, digit = divmod(rest, 11)
        digits = f"{digit}{digits}"
    return f"+{digits}"


def reach(kind: str, plain: str) -> float:
    """How many numbers of the usual eleven digits a plain entry takes in; trunks and user agents are one."""
    if kind == "ranges":
        first, last = span_of(kind, plain) or (0, 0)
        return last - first + 1
    if kind == "prefixes":
        return 10.0 ** max(0, 11 - len(plain.removeprefix("+")))
    return 1
