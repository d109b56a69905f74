"""From typed trees to one code object per pack.

Three-valued logic costs nothing at run time: every condition is written out either as "it is true" or as "it is
false", both of which are plain booleans, and ``not`` switches between the two. A missing value makes neither hold.
A row position is read once, when the function begins, and asked for None once on every path.

The source that is compiled here consists of names made in this module and of ``repr`` of texts and numbers; nothing
that a person wrote is pasted into it, and the function has no builtins.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from antifraud.rulekit.interpreter import Lookup
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Leaf,
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
    atoms_of,
    values_of,
)

PackFunction = Callable[[Sequence[object], Sequence[object]], tuple[int, ...]]
"""(row, parameters of the pack) → the positions, within the pack, of the rules that hit."""

_NEVER: Final = "-1e999"  # minus infinity as a constant: what a look-up answers for a text that is in no list
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_Known = frozenset[int]
_NONE_KNOWN: Final[_Known] = frozenset()


class Clause(msgspec.Struct, frozen=True):
    """One rule as the compiler sees it: its condition and its exceptions with the second at which each ends."""

    when: Condition
    unless: tuple[tuple[Condition, float], ...] = ()
    ts: Slot | None = None
    params: Mapping[str, int] = {}
    """Parameter → its position among the pack's parameters."""


def compile_pack(name: str, clauses: Sequence[Clause], lists: Mapping[str, Lookup]) -> PackFunction:
    """One function for all ``clauses``; the hits come in their order."""
    writer = _Writer()
    body: list[str] = []
    for position, clause in enumerate(clauses):
        parts = [writer.rule_part(clause.when, clause.params, True)]
        for exception, ends in clause.unless:
            assert clause.ts is not None, "a rule with exceptions has the time of the call"
            held = writer.rule_part(exception, clause.params, True)
            time = writer.local(clause.ts)
            parts.append(f"not ({time} is not None and {time} < {ends!r} and {held})")
        body.append(f" if {' and '.join(parts)}: hits = (*hits, {position})")
    loads = [f" f{index} = row[{index}]" for index in sorted(writer.slots)]
    source = "\n".join(["def pack(row, p):", " hits = ()", *loads, *body, " return hits"])
    namespace: dict[str, Any] = {writer.lists[name]: lists[name] for name in writer.lists}
    function: PackFunction = _function(source, f"<rules {name}>", "pack", namespace)
    return function


def compile_predicate(condition: Condition) -> Callable[[Sequence[object]], bool]:
    """row → whether the condition is true. Conditions without parameters and lists only."""
    writer = _Writer()
    test = writer.rule_part(condition, {}, True)
    loads = [f" f{index} = row[{index}]" for index in sorted(writer.slots)]
    source = "\n".join(["def holds(row):", *loads, f" return True if {test} else False"])
    function: Callable[[Sequence[object]], bool] = _function(source, "<where>", "holds", {})
    return function


def _function(source: str, file: str, name: str, namespace: dict[str, Any]) -> Any:
    """The function that ``source`` defines, made from its code object without executing a module."""
    module = compile(source, file, "exec", dont_inherit=True)
    code = next(constant for constant in module.co_consts if isinstance(constant, types.CodeType))
    return types.FunctionType(code, {"__builtins__": {}, **namespace}, name)


class _Writer:
    """Writes conditions as Python expressions and remembers what they need."""

    def __init__(self) -> None:
        self.slots: set[int] = set()
        self.lists: dict[str, str] = {}
        self._params: Mapping[str, int] = {}

    def rule_part(self, condition: Condition, params: Mapping[str, int], wanted: bool) -> str:
        """The expression that is truthy exactly when ``condition`` is ``wanted``."""
        self._params = params
        return self._condition(condition, wanted, _NONE_KNOWN)[0]

    def local(self, slot: Slot) -> str:
        """The local variable that holds ``slot``."""
        self.slots.add(slot.index)
        return f"f{slot.index}"

    def _condition(self, condition: Condition, wanted: bool, known: _Known) -> tuple[str, _Known]:
        """The expression, and the positions that cannot be missing where it is true, given those in ``known``."""
        match condition:
            case Not(term):
                return self._condition(term, not wanted, known)
            case And(terms):
                return self._join(terms, wanted, known, together=wanted)
            case Or(terms):
                return self._join(terms, wanted, known, together=not wanted)
            case Between(value, low, high):
                links = (Compare("<=", low, value), Compare("<=", value, high))
                return self._join(links, wanted, known, together=wanted)
            case Missing(slot):
                local = self.local(slot)
                if wanted:
                    return f"({local} is None)", known
                return f"({local} is not None)", known | {slot.index}
            case _:
                return self._leaf(condition, wanted, known)

    def _join(self, terms: Iterable[Condition], wanted: bool, known: _Known, *, together: bool) -> tuple[str, _Known]:
        """All of the terms (``together``) or one of them; a chain of *and* remembers what it has asked already."""
        parts: list[str] = []
        after: list[_Known] = []
        sure = known
        for term in terms:
            part, then = self._condition(term, wanted, sure)
            parts.append(part)
            after.append(then)
            if together:
                sure = then
        if not together:
            sure = frozenset.intersection(*after)
        return f"({(' and ' if together else ' or ').join(parts)})", sure

    def _leaf(self, leaf: Leaf, wanted: bool, known: _Known) -> tuple[str, _Known]:
        test, safe = self._test(leaf, wanted)
        needed = [atom.index for value in values_of(leaf) for atom in atoms_of(value) if isinstance(atom, Slot)]
        if isinstance(leaf, Listed):
            needed.append(leaf.ts.index)
        self.slots.update(needed)
        sure = known | frozenset(needed)
        if safe:
            # The test itself is false for None, so nothing has to be asked before it.
            return f"({test})", sure
        guards = [f"f{index} is not None" for index in dict.fromkeys(needed) if index not in known]
        guards += [guard for value in values_of(leaf) for guard in self._divisors(value)]
        return f"({' and '.join([*guards, test])})", sure

    def _test(self, leaf: Leaf, wanted: bool) -> tuple[str, bool]:
        """The test, valid when no value is missing; and whether it is false for missing values of its own accord."""
        negation = "" if wanted else "not "
        match leaf:
            case Compare(sign, left, right):
                first, second = self._value(left), self._value(right)
                shown = sign if wanted else _OPPOSITE[sign]
                simple = all(not isinstance(value, (Arithmetic, Negative)) for value in (left, right))
                if shown == "!=" and not simple:
                    # A calculation may come to NaN, which is unequal to everything and neither less nor greater.
                    return f"({first} < {second} or {first} > {second})", False
                one_fixed = isinstance(left, (Literal, Param)) or isinstance(right, (Literal, Param))
                return f"{first} {shown} {second}", shown == "==" and simple and one_fixed
            case OneOf(value, choices):
                chosen = "{" + ", ".join(repr(choice) for choice in choices) + "}"
                plain = isinstance(value, (Slot, Literal))
                if not plain and not wanted:
                    number = self._value(value)
                    return f"{number} == {number} and {number} not in {chosen}", False
                return f"{self._value(value)} {negation}in {chosen}", wanted and isinstance(value, Slot)
            case OneOfParam(value, param):
                number = self._value(value)
                proper = "" if isinstance(value, (Slot, Literal)) or wanted else f"{number} == {number} and "
                return f"{proper}{number} {negation}in {self._value(param)}", wanted and isinstance(value, Slot)
            case Prefix(value, prefixes):
                chosen = self._value(prefixes) if isinstance(prefixes, Param) else repr(prefixes)
                return f"{negation}{self._value(value)}.startswith({chosen})", False
            case Listed(value, name, ts):
                lookup = self.lists.setdefault(name, f"l{len(self.lists)}")
                return f"{negation}{lookup}({self._value(value)}, {_NEVER}) > {self.local(ts)}", False
            case Truth(atom):
                return f"{negation}{self._value(atom)}", wanted
            case Between() | Missing():
                raise AssertionError("written out before")

    def _value(self, value: Value) -> str:
        match value:
            case Literal(inner):
                return f"({inner!r})" if isinstance(inner, float) and inner < 0 else repr(inner)
            case Slot():
                return self.local(value)
            case Param(name):
                return f"p[{self._params[name]}]"
            case Negative(inner):
                return f"(-{self._value(inner)})"
            case Arithmetic(sign, left, right):
                return f"({self._value(left)} {sign} {self._value(right)})"

    def _divisors(self, value: Value) -> list[str]:
        """Guards against division by zero, innermost first."""
        match value:
            case Negative(inner):
                return self._divisors(inner)
            case Arithmetic(sign, left, right):
                own = [f"{self._value(right)} != 0.0"] if sign == "/" else []
                return self._divisors(left) + self._divisors(right) + own
            case _:
                return []
