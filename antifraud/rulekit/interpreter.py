"""The meaning of a condition, written down as plainly as possible: the oracle of the compiler, and explanations.

Three-valued logic (Kleene): True, False, and None for unknown. A comparison with a missing value is unknown, and a
rule hits only when its condition is true. A calculation without a result (division by zero, infinity minus infinity)
is missing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from antifraud.rulekit.patterns import finder
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Holiday,
    Listed,
    Literal,
    Matches,
    Missing,
    Negative,
    Not,
    OneOf,
    OneOfParam,
    Or,
    Param,
    Prefix,
    Slot,
    TimeBetween,
    Truth,
    Value,
    Weekend,
)

Lookup = Callable[[str, float], float]
"""(text, otherwise) → the epoch second until which the text is in a list, ``otherwise`` when it is not."""

NEVER: Final = float("-inf")
DAY: Final = 86_400.0

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Interpreter:
    """Evaluates conditions over one row, one rule's parameters and the lists."""

    def __init__(
        self, row: Sequence[object], params: Mapping[str, object], lists: Mapping[str, Lookup] | None = None
    ) -> None:
        self._row = row
        self._params = params
        self._lists = lists or {}

    def value(self, value: Value) -> Any:
        """The value; None when it is missing."""
        match value:
            case Literal(inner):
                return inner
            case Slot(_, index):
                return self._row[index]
            case Param(name):
                return self._params[name]
            case Negative(inner):
                number = self.value(inner)
                return None if number is None else -number
            case Arithmetic(sign, left, right):
                first, second = self.value(left), self.value(right)
                if first is None or second is None or (sign == "/" and second == 0):
                    return None
                result = _ARITHMETIC[sign](first, second)
                return None if result != result else result  # NaN is not equal to itself

    def holds(self, condition: Condition) -> bool | None:
        """Whether the condition is true, false, or unknown (None)."""
        match condition:
            case And(terms):
                found = [self.holds(term) for term in terms]
                return False if False in found else None if None in found else True
            case Or(terms):
                found = [self.holds(term) for term in terms]
                return True if True in found else None if None in found else False
            case Not(term):
                held = self.holds(term)
                return None if held is None else not held
            case Between(value, low, high):
                return self.holds(And((Compare("<=", low, value), Compare("<=", value, high))))
            case Missing(slot):
                return self._row[slot.index] is None
            case Compare(sign, left, right):
                first, second = self.value(left), self.value(right)
                return None if first is None or second is None else bool(_COMPARE[sign](first, second))
            case Truth(atom):
                truth = self.value(atom)
                return None if truth is None else bool(truth)
            case OneOf(value, choices):
                found_value = self.value(value)
                return None if found_value is None else found_value in choices
            case OneOfParam(value, param):
                found_value = self.value(value)
                return None if found_value is None else bool(found_value in self.value(param))
            case Prefix(value, prefixes):
                text = self.value(value)
                chosen = self.value(prefixes) if isinstance(prefixes, Param) else prefixes
                return None if text is None else bool(text.startswith(tuple(chosen)))
            case Matches(value, pattern):
                text = self.value(value)
                return None if text is None else finder(pattern)(text)
            case TimeBetween(ts, start, end, offset):
                moment = self.value(ts)
                first, second = self.value(start), self.value(end)
                if moment is None or first is None or second is None:
                    return None
                # How long the span has lasted at that moment; over midnight it is counted on.
                since = ((moment + offset) % DAY - first) % DAY
                lasts = (second - first) % DAY
                return None if since != since or lasts != lasts else bool(since < lasts)
            case Weekend(ts, offset):
                day = self._day(ts, offset)
                return None if day is None else (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday
            case Holiday(ts, offset, days, first_day, after):
                day = self._day(ts, offset)
                return day in days if day is not None and first_day <= day < after else None
            case Listed(value, name, ts):
                text, moment = self.value(value), self.value(ts)
                if text is None or moment is None:
                    return None
                ends: float = self._lists[name](text, NEVER)
                return bool(ends > moment)

    def _day(self, ts: Slot, offset: float) -> float | None:
        """The local day, counted from 1970-01-01."""
        moment = self.value(ts)
        if moment is None:
            return None
        day: float = (moment + offset) // DAY
        return None if day != day else day
