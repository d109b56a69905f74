"""The typed tree of a condition: what the checker makes and what compiler, interpreter and explanation walk.

Two families: a *value* is a text or a number that may be missing; a *condition* is true, false or unknown. Nodes are
frozen and know nothing of YAML or of Python's syntax. ``source`` is the text that a person wrote, for explanations.
"""

from __future__ import annotations

from typing import Final

import msgspec

TEXT: Final = "text"
NUMBER: Final = "number"
BOOL: Final = "bool"


class Literal(msgspec.Struct, frozen=True):
    """A text or a number as written."""

    value: str | float


class Slot(msgspec.Struct, frozen=True):
    """A field, a fact, a window or the score: a position of the row. It may be missing."""

    name: str
    index: int
    type: str


class Param(msgspec.Struct, frozen=True):
    """A parameter of the rule; never missing. ``type`` is text, number, bool, ``texts`` or ``numbers``."""

    name: str
    type: str


class Negative(msgspec.Struct, frozen=True):
    """The value with its sign changed."""

    value: Value


class Arithmetic(msgspec.Struct, frozen=True):
    """``left`` op ``right``; op is one of + - * /. Missing when a side is missing or the result is no number."""

    op: str
    left: Value
    right: Value


class Compare(msgspec.Struct, frozen=True):
    """``left`` op ``right``; op is one of == != < <= > >=. Unknown when a side is missing."""

    op: str
    left: Value
    right: Value
    source: str = ""


class Between(msgspec.Struct, frozen=True):
    """``low <= value and value <= high``."""

    value: Value
    low: Value
    high: Value
    source: str = ""


class OneOf(msgspec.Struct, frozen=True):
    """Whether the value is one of the literals."""

    value: Value
    choices: tuple[str, ...] | tuple[float, ...]
    source: str = ""


class OneOfParam(msgspec.Struct, frozen=True):
    """Whether the value is in a parameter that holds a list."""

    value: Value
    param: Param
    source: str = ""


class Listed(msgspec.Struct, frozen=True):
    """Whether the text is in a list, at the time ``ts`` of the call."""

    value: Value
    name: str
    ts: Slot
    source: str = ""


class Prefix(msgspec.Struct, frozen=True):
    """Whether the text begins with one of ``prefixes``."""

    value: Value
    prefixes: tuple[str, ...] | Param
    source: str = ""


class Matches(msgspec.Struct, frozen=True):
    """Whether the pattern (see ``patterns``) is found anywhere in the text."""

    value: Value
    pattern: str
    source: str = ""


class TimeBetween(msgspec.Struct, frozen=True):
    """Whether the local time of the call lies in ``[start, end)``, over midnight where ``end`` is the smaller one.

    ``start`` and ``end`` are seconds of the day and do not differ between two calls; ``offset_s`` are the seconds
    that local time is ahead of UTC.
    """

    ts: Slot
    start: Value
    end: Value
    offset_s: float
    source: str = ""


class Weekend(msgspec.Struct, frozen=True):
    """Whether the call comes on a Saturday or a Sunday, by local time."""

    ts: Slot
    offset_s: float
    source: str = ""


class Holiday(msgspec.Struct, frozen=True):
    """Whether the local day of the call is one of ``days``; unknown before day ``first`` and from day ``after`` on.

    Days are counted from 1970-01-01.
    """

    ts: Slot
    offset_s: float
    days: tuple[float, ...]
    first: float
    after: float
    source: str = ""


class Missing(msgspec.Struct, frozen=True):
    """Whether the slot is missing; always true or false."""

    slot: Slot
    source: str = ""


class Truth(msgspec.Struct, frozen=True):
    """A yes/no slot or parameter as a condition."""

    value: Slot | Param
    source: str = ""


class Not(msgspec.Struct, frozen=True):
    """True becomes false, false true; unknown stays unknown."""

    term: Condition


class And(msgspec.Struct, frozen=True):
    """False when a term is false, else unknown when a term is unknown, else true."""

    terms: tuple[Condition, ...]


class Or(msgspec.Struct, frozen=True):
    """True when a term is true, else unknown when a term is unknown, else false."""

    terms: tuple[Condition, ...]


Value = Literal | Slot | Param | Negative | Arithmetic
Timed = TimeBetween | Weekend | Holiday
Leaf = Compare | Between | OneOf | OneOfParam | Listed | Prefix | Matches | Timed | Missing | Truth
Condition = Leaf | Not | And | Or


def values_of(leaf: Leaf) -> tuple[Value, ...]:
    """The values that a leaf looks at, in the order in which they are written."""
    match leaf:
        case Compare(_, left, right):
            return (left, right)
        case Between(value, low, high):
            return (value, low, high)
        case OneOfParam(value, param):
            return (value, param)
        case Prefix(value, prefixes):
            return (value, prefixes) if isinstance(prefixes, Param) else (value,)
        case OneOf(value) | Listed(value) | Matches(value):
            return (value,)
        case TimeBetween(ts, start, end):
            return (ts, start, end)
        case Weekend(ts) | Holiday(ts):
            return (ts,)
        case Missing(slot):
            return (slot,)
        case Truth(value):
            return (value,)


def atoms_of(value: Value) -> tuple[Slot | Param, ...]:
    """The slots and parameters inside a value, in the order in which they are written."""
    match value:
        case Slot() | Param():
            return (value,)
        case Negative(inner):
            return atoms_of(inner)
        case Arithmetic(_, left, right):
            return atoms_of(left) + atoms_of(right)
        case Literal():
            return ()


def leaves_of(condition: Condition) -> tuple[Leaf, ...]:
    """The leaves of a condition, in the order in which they are written."""
    match condition:
        case Not(term):
            return leaves_of(term)
        case And(terms) | Or(terms):
            return tuple(leaf for term in terms for leaf in leaves_of(term))
        case _:
            return (condition,)


def atoms_in(condition: Condition) -> tuple[Slot | Param, ...]:
    """The slots and parameters of a condition, each once, in the order in which they are first written."""
    found: dict[Slot | Param, None] = {}
    for leaf in leaves_of(condition):
        for value in values_of(leaf):
            found.update(dict.fromkeys(atoms_of(value)))
    return tuple(found)


def lists_in(condition: Condition) -> tuple[str, ...]:
    """The names of the lists that a condition looks into, each once."""
    return tuple(dict.fromkeys(leaf.name for leaf in leaves_of(condition) if isinstance(leaf, Listed)))
