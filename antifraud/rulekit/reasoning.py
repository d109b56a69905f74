"""What follows from a condition: whether it can ever be true, and whether it is true only where another one is.

Sound and not complete: what is said here holds for every call; where nothing can be proven, nothing is said. A term of
a kind that this module does not know is a riddle that equals only itself, so the language may grow without harm.

A condition is true when one of its *alternatives* is: a set of claims, each of which says that a leaf is true or that
it is false (which is more than "not true": an unknown leaf is neither).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from antifraud.rulekit.form import Value as ParamValue
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Listed,
    Literal,
    Missing,
    Negative,
    Not,
    OneOf,
    OneOfParam,
    Or,
    Param,
    Prefix,
    Slot,
    Truth,
    Value,
)

MOST_ALTERNATIVES: Final = 256
"""A condition with more alternatives is not looked into."""

_OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_FLIPPED: Final = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGNS: Final = {
    "==": frozenset((0,)),
    "!=": frozenset((-1, 1)),
    "<": frozenset((-1,)),
    "<=": frozenset((-1, 0)),
    ">": frozenset((1,)),
    ">=": frozenset((0, 1)),
}
"""How the left side may compare with the right one: smaller, equal, greater."""

_INFINITY: Final = float("inf")


class Claim(msgspec.Struct, frozen=True):
    """That ``leaf`` is true (``holds``) or that it is false. ``source`` is how a person wrote it."""

    leaf: Any
    holds: bool
    source: str = ""

    @property
    def text(self) -> str:
        """The claim in the words of the rule."""
        return self.source if self.holds else f"not {self.source}"


Alternative = tuple[Claim, ...]


def settle(node: Any, params: Mapping[str, ParamValue]) -> Any:
    """``node`` of a tree with the parameters that ``params`` names put in as values."""
    if isinstance(node, Param):
        if node.name not in params:
            return node
        value = params[node.name]
        return value if isinstance(value, tuple) else Literal(value)
    if isinstance(node, OneOfParam):
        inside = settle(node.param, params)
        value = settle(node.value, params)
        return (
            OneOf(value, inside, node.source) if isinstance(inside, tuple) else OneOfParam(value, inside, node.source)
        )
    if isinstance(node, tuple):
        return tuple(settle(item, params) for item in node)
    if isinstance(node, msgspec.Struct) and not isinstance(node, (Literal, Slot)):
        changes = {name: settle(getattr(node, name), params) for name in node.__struct_fields__}
        return msgspec.structs.replace(node, **changes)
    return node


def bare(node: Any) -> Any:
    """``node`` without the words of the person who wrote it, so that equal meanings are equal."""
    if isinstance(node, tuple):
        return tuple(bare(item) for item in node)
    if isinstance(node, msgspec.Struct):
        fields = {name: "" if name == "source" else bare(getattr(node, name)) for name in node.__struct_fields__}
        return msgspec.structs.replace(node, **fields)
    return node


def alternatives(condition: Condition, *, holds: bool = True) -> list[Alternative] | None:
    """The sets of claims of which one must be true for the condition to be true (or, if not ``holds``, false).

    None when there are too many.
    """
    match condition:
        case Not(term):
            return alternatives(term, holds=not holds)
        case Between(value, low, high, source):
            pair = And((Compare("<=", low, value, source), Compare("<=", value, high, source)))
            return alternatives(pair, holds=holds)
        case And(terms) | Or(terms):
            parts = [alternatives(term, holds=holds) for term in terms]
            found: list[Alternative] = [()] if isinstance(condition, And) == holds else []
            for part in parts:
                if part is None:
                    return None
                if isinstance(condition, And) == holds:
                    if len(found) * len(part) > MOST_ALTERNATIVES:
                        return None
                    found = [(*one, *other) for one in found for other in part]
                else:
                    found += part
            return found if len(found) <= MOST_ALTERNATIVES else None
        case _:
            return [(Claim(bare(condition), holds, getattr(condition, "source", "")),)]


def contradiction(condition: Condition) -> Alternative | None:
    """Claims that contradict each other, if the condition can never be true; else None."""
    found = alternatives(condition)
    if found is None:
        return None
    first: Alternative | None = None
    for claims in found:
        if not Facts(claims).impossible:
            return None
        if first is None:
            first = _smallest(claims)
    return first


def _smallest(claims: Alternative) -> Alternative:
    """As few of ``claims`` as still contradict each other."""
    kept = list(dict.fromkeys(claims))
    for claim in list(kept):
        fewer = [other for other in kept if other is not claim]
        if fewer and Facts(fewer).impossible:
            kept = fewer
    return tuple(kept)


def implies(one: Condition, other: Condition) -> bool:
    """Whether, provably, ``other`` is true of every call of which ``one`` is true."""
    if bare(one) == bare(other):
        return True
    first, second = alternatives(one), alternatives(other)
    if first is None or second is None:
        return False
    return all(_covered(facts, second) for facts in map(Facts, first) if not facts.impossible)


def _covered(facts: Facts, second: Sequence[Alternative]) -> bool:
    return any(all(facts.entail(claim) for claim in claims) for claims in second)


class _About:
    """What is known of one value that occurs in conditions."""

    __slots__ = ("above", "allowed", "begins", "below", "forbidden", "not_begins", "open_above", "open_below")

    def __init__(self) -> None:
        self.above = -_INFINITY  # the value is at least this, or, if open, more
        self.open_above = False
        self.below = _INFINITY
        self.open_below = False
        self.allowed: frozenset[Any] | None = None
        self.forbidden: set[Any] = set()
        self.begins: list[tuple[str, ...]] = []
        self.not_begins: list[str] = []

    def possible(self) -> frozenset[Any] | None:
        """The values that are left where only certain ones are allowed; None where they cannot be listed."""
        allowed = self.allowed
        if allowed is None and self.above == self.below and not self.open_above and not self.open_below:
            allowed = frozenset((self.above,))
        return None if allowed is None else frozenset(value for value in allowed if self._fits(value))

    def _fits(self, value: Any) -> bool:
        if value in self.forbidden:
            return False
        if isinstance(value, str):
            return all(value.startswith(begins) for begins in self.begins) and not value.startswith(
                tuple(self.not_begins)
            )
        return self._inside(value)

    def _inside(self, value: float) -> bool:
        low = value > self.above or (value == self.above and not self.open_above)
        return low and (value < self.below or (value == self.below and not self.open_below))

    @property
    def impossible(self) -> bool:
        """Whether no value is left."""
        if self.above > self.below or (self.above == self.below and (self.open_above or self.open_below)):
            return True
        possible = self.possible()
        if possible is not None:
            return not possible
        for begins in self.begins:
            if self.not_begins and all(begin.startswith(tuple(self.not_begins)) for begin in begins):
                return True
        return any(
            not any(_compatible(a, b) for a in one for b in other)
            for number, one in enumerate(self.begins)
            for other in self.begins[number + 1 :]
        )

    def narrow(self, sign: str, value: float) -> None:
        """Take in a comparison with a number."""
        if sign in (">", ">=") and (value, sign == ">") > (self.above, self.open_above):
            self.above, self.open_above = value, sign == ">"
        if sign in ("<", "<=") and (-value, sign == "<") > (-self.below, self.open_below):
            self.below, self.open_below = value, sign == "<"

    def allow(self, values: Iterable[Any]) -> None:
        """Take in that the value is one of ``values``."""
        found = frozenset(values)
        self.allowed = found if self.allowed is None else self.allowed & found

    def never(self, value: Any) -> bool:
        """Whether the value is certainly another one than ``value``."""
        possible = self.possible()
        return value not in possible if possible is not None else not self._fits(value)

    def within(self, sign: str, value: float) -> bool:
        """Whether a comparison with a number certainly holds."""
        possible = self.possible()
        if possible is not None:
            return all(_holds(sign, item, value) for item in possible)
        if sign in (">", ">="):
            return self.above > value or (self.above == value and (self.open_above or sign == ">="))
        if sign in ("<", "<="):
            return self.below < value or (self.below == value and (self.open_below or sign == "<="))
        return sign == "!=" and self.never(value)

    def is_one_of(self, values: Iterable[Any]) -> bool:
        """Whether the value is certainly one of ``values``."""
        possible = self.possible()
        return possible is not None and possible <= frozenset(values)

    def begins_with(self, prefixes: tuple[str, ...]) -> bool:
        """Whether the text certainly begins with one of ``prefixes``."""
        possible = self.possible()
        if possible is not None:
            return all(isinstance(text, str) and text.startswith(prefixes) for text in possible)
        return any(all(begin.startswith(prefixes) for begin in begins) for begins in self.begins)

    def begins_with_none(self, prefixes: tuple[str, ...]) -> bool:
        """Whether the text certainly begins with none of ``prefixes``."""
        possible = self.possible()
        if possible is not None:
            return not any(isinstance(text, str) and text.startswith(prefixes) for text in possible)
        barred = tuple(self.not_begins)
        return all(
            (barred and prefix.startswith(barred))
            or any(not any(_compatible(prefix, begin) for begin in begins) for begins in self.begins)
            for prefix in prefixes
        )


class Facts:
    """What is certainly so when all ``claims`` are true."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._about: dict[Any, _About] = {}
        self._signs: dict[tuple[Any, Any], frozenset[int]] = {}
        self._known: set[str] = set()
        self._missing: set[str] = set()
        self._claims: set[tuple[Any, bool]] = set()
        self._wrong = False
        for claim in claims:
            self._take(claim.leaf, claim.holds)
        self.impossible = self._impossible()
        """Whether they cannot all be true of one call."""

    def _take(self, leaf: Any, holds: bool) -> None:
        self._claims.add((leaf, holds))
        match leaf:
            case Missing(slot):
                (self._missing if holds else self._known).add(slot.name)
            case Compare(sign, left, right):
                self._known.update(_slots(left), _slots(right))
                self._compare(sign if holds else _OPPOSITE[sign], left, right)
            case OneOf(value, choices):
                self._known.update(_slots(value))
                if _constant(value) is None and isinstance(choices, tuple):
                    about = self._of(value)
                    if holds:
                        about.allow(choices)
                    else:
                        about.forbidden.update(choices)
            case Prefix(value, prefixes):
                self._known.update(_slots(value))
                if _constant(value) is None and isinstance(prefixes, tuple):
                    about = self._of(value)
                    if holds:
                        about.begins.append(prefixes)
                    else:
                        about.not_begins.extend(prefixes)
            case Listed(value) | OneOfParam(value) | Truth(value):
                self._known.update(_slots(value))
            case _:
                pass

    def _of(self, value: Any) -> _About:
        return self._about.setdefault(value, _About())

    def _compare(self, sign: str, left: Value, right: Value) -> None:
        first, second = _constant(left), _constant(right)
        if first is not None and second is not None:
            self._wrong |= not _holds(sign, first, second)
        elif first is not None:
            self._bound(_FLIPPED[sign], right, first)
        elif second is not None:
            self._bound(sign, left, second)
        else:
            pair, signs = _pair(sign, left, right)
            self._signs[pair] = self._signs.get(pair, _SIGNS["<="] | _SIGNS[">="]) & signs
            if left == right and 0 not in signs:
                self._wrong = True

    def _bound(self, sign: str, value: Value, constant: Any) -> None:
        about = self._of(value)
        if sign == "==":
            about.allow((constant,))
        elif sign == "!=":
            about.forbidden.add(constant)
        else:
            about.narrow(sign, constant)

    def _impossible(self) -> bool:
        return (
            self._wrong
            or bool(self._known & self._missing)
            or any((leaf, not holds) in self._claims for leaf, holds in self._claims)
            or any(not signs for signs in self._signs.values())
            or any(about.impossible for about in self._about.values())
        )

    def entail(self, claim: Claim) -> bool:
        """Whether ``claim`` is certainly true as well."""
        leaf, holds = claim.leaf, claim.holds
        if (leaf, holds) in self._claims:
            return True
        match leaf:
            case Missing(slot):
                return slot.name in (self._missing if holds else self._known)
            case Compare(sign, left, right):
                return self._compares(sign if holds else _OPPOSITE[sign], left, right)
            case OneOf(value, choices) if value in self._about and isinstance(choices, tuple):
                about = self._about[value]
                return about.is_one_of(choices) if holds else all(about.never(choice) for choice in choices)
            case Prefix(value, prefixes) if value in self._about and isinstance(prefixes, tuple):
                about = self._about[value]
                return about.begins_with(prefixes) if holds else about.begins_with_none(prefixes)
            case _:
                return False

    def _compares(self, sign: str, left: Value, right: Value) -> bool:
        first, second = _constant(left), _constant(right)
        if first is not None and second is not None:
            return _holds(sign, first, second)
        if first is not None:
            sign, left, second = _FLIPPED[sign], right, first
        if second is not None:
            about = self._about.get(left)
            if about is None:
                return False
            if sign == "==":
                return about.is_one_of((second,))
            if sign == "!=":
                return about.never(second)
            return about.within(sign, second)
        pair, signs = _pair(sign, left, right)
        return pair in self._signs and self._signs[pair] <= signs


def _pair(sign: str, left: Value, right: Value) -> tuple[tuple[Any, Any], frozenset[int]]:
    """Two values in a fixed order, and how the first may compare with the second."""
    if repr(left) <= repr(right):
        return (left, right), _SIGNS[sign]
    return (right, left), _SIGNS[_FLIPPED[sign]]


def _holds(sign: str, left: Any, right: Any) -> bool:
    if isinstance(left, str) != isinstance(right, str):
        return False
    if sign in ("==", "!="):
        return bool((left == right) == (sign == "=="))
    return (left > right) - (left < right) in _SIGNS[sign]


def _compatible(one: str, other: str) -> bool:
    """Whether a text can begin with both."""
    return one.startswith(other) or other.startswith(one)


def _constant(value: Any) -> Any:
    """The text or number that ``value`` always is; None where it differs, has no result, or is not understood."""
    match value:
        case Literal(inner):
            return inner
        case Negative(inner):
            number = _constant(inner)
            return None if number is None else -number
        case Arithmetic(sign, left, right):
            first, second = _constant(left), _constant(right)
            if first is None or second is None or (sign == "/" and second == 0):
                return None
            results = {"+": first + second, "-": first - second, "*": first * second}
            result = results[sign] if sign in results else first / second
            return result if result == result else None  # NaN is not equal to itself
        case _:
            return None


def _slots(value: Any) -> tuple[str, ...]:
    """The names that must be known for ``value`` to be known."""
    match value:
        case Slot(name):
            return (name,)
        case Negative(inner):
            return _slots(inner)
        case Arithmetic(_, left, right):
            return (*_slots(left), *_slots(right))
        case _:
            return ()
