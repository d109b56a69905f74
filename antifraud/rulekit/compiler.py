"""From typed trees to one code object per pack of rules, and to one for the conditions of all windows.

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

from antifraud.rulekit.interpreter import DAY, Lookup
from antifraud.rulekit.patterns import finder
from antifraud.rulekit.tree import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Holiday,
    Leaf,
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
    atoms_of,
    values_of,
)

PackFunction = Callable[[Sequence[object], Sequence[object]], tuple[int, ...]]
"""(row, parameters of the pack) → the positions, within the pack, of the rules that hit."""

MAX_COMBINED: Final = 56
"""How many predicates fit into one mask."""

_NEVER: Final = "-1e999"  # minus infinity as a constant: what a look-up answers for a text that is in no list
OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_Known = frozenset[int]
_NONE_KNOWN: Final[_Known] = frozenset()


class Clause(msgspec.Struct, frozen=True):
    """One rule as the compiler sees it: its condition and its exceptions with the second at which each ends."""

    when: Condition
    unless: tuple[tuple[Condition, float], ...] = ()
    ts: Slot | None = None
    params: Mapping[str, int] = {}
    """Parameter → its position among the pack's parameters."""


class PackCode(msgspec.Struct, frozen=True):
    """A pack compiled, and not yet bound to any lists: plain data, which may have been made in another process.

    ``lists`` and ``patterns``: the names by which the code calls them → which list, which pattern.
    """

    code: types.CodeType
    lists: Mapping[str, str]
    patterns: Mapping[str, str]

    def bound(self, lists: Mapping[str, Lookup]) -> PackFunction:
        """The function that asks these ``lists``."""
        namespace: dict[str, Any] = {local: lists[name] for local, name in self.lists.items()}
        namespace.update((local, finder(pattern)) for local, pattern in self.patterns.items())
        function: PackFunction = _function(self.code, namespace)
        return function


def compile_pack(name: str, clauses: Sequence[Clause], lists: Mapping[str, Lookup]) -> PackFunction:
    """One function for all ``clauses``; the hits come in their order."""
    return pack_code(name, clauses).bound(lists)


def pack_code(name: str, clauses: Sequence[Clause]) -> PackCode:
    """What ``compile_pack`` makes a function of."""
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
    source = "\n".join(["def pack(row, p):", " hits = ()", *_loads(writer), *body, " return hits"])
    lists = {local: listed for listed, local in writer.lists.items()}
    patterns = {local: pattern for pattern, local in writer.patterns.items()}
    return PackCode(_code(source, f"<rules {name}>"), lists, patterns)


class Predicate:
    """row → whether ``condition`` is true of it; unknown counts as not true.

    The engine asks all conditions of an event at once (``combine_where``); this is for asking one.
    """

    __slots__ = ("_holds", "condition")

    def __init__(self, condition: Condition, holds: Callable[[Sequence[object]], bool]) -> None:
        self.condition = condition
        self._holds = holds

    def __call__(self, row: Sequence[object], /) -> bool:
        return self._holds(row)


def compile_predicate(condition: Condition) -> Predicate:
    """The condition as a predicate. Conditions without parameters and lists only."""
    writer = _Writer()
    test = writer.rule_part(condition, {}, True)
    source = "\n".join(["def holds(row):", *_loads(writer), f" return True if {test} else False"])
    return Predicate(condition, make_function(source, "<where>", "holds", writer.namespace({})))


def combine_where(predicates: Sequence[Callable[[Sequence[object]], bool]]) -> Callable[[Sequence[object]], int]:
    """One function for all ``predicates``: row → a mask whose bit i says whether ``predicates[i]`` is true of the row.

    What ``compile_where`` made is written out in one piece and must be about rows of one order; any other callable
    is called. ValueError for more than ``MAX_COMBINED``.
    """
    if len(predicates) > MAX_COMBINED:
        raise ValueError(f"{len(predicates)} predicates do not fit into one mask of {MAX_COMBINED} bits")
    writer = _Writer()
    namespace: dict[str, Any] = {}
    body: list[str] = []
    for position, predicate in enumerate(predicates):
        if isinstance(predicate, Predicate):
            test = writer.rule_part(predicate.condition, {}, True)
        else:
            namespace[f"g{position}"] = predicate
            test = f"g{position}(row)"
        body.append(f" if {test}: mask += {1 << position}")
    source = "\n".join(["def combined(row):", " mask = 0", *_loads(writer), *body, " return mask"])
    namespace.update(writer.namespace({}))
    function: Callable[[Sequence[object]], int] = make_function(source, "<where>", "combined", namespace)
    return function


def _loads(writer: _Writer) -> list[str]:
    """The lines that read each position of the row once."""
    return [f" f{index} = row[{index}]" for index in sorted(writer.slots)]


def make_function(source: str, file: str, name: str, namespace: dict[str, Any]) -> Any:
    """The function that ``source`` defines, made from its code object without executing a module."""
    return _function(_code(source, file), namespace, name)


def _code(source: str, file: str) -> types.CodeType:
    module = compile(source, file, "exec", dont_inherit=True)
    return next(constant for constant in module.co_consts if isinstance(constant, types.CodeType))


def _function(code: types.CodeType, namespace: Mapping[str, Any], name: str | None = None) -> Any:
    return types.FunctionType(code, {"__builtins__": {}, **namespace}, name)


class _Writer:
    """Writes conditions as Python expressions and remembers what they need."""

    def __init__(self) -> None:
        self.slots: set[int] = set()
        self.lists: dict[str, str] = {}
        self.patterns: dict[str, str] = {}
        self._params: Mapping[str, int] = {}

    def namespace(self, lists: Mapping[str, Lookup]) -> dict[str, Any]:
        """What the written expressions call, by the names that they have there."""
        found: dict[str, Any] = {local: lists[name] for name, local in self.lists.items()}
        found.update((local, finder(pattern)) for pattern, local in self.patterns.items())
        return found

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
                shown = sign if wanted else OPPOSITE[sign]
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
            case Matches(value, pattern):
                find = self.patterns.setdefault(pattern, f"m{len(self.patterns)}")
                return f"{negation}{find}({self._value(value)})", False
            case TimeBetween() | Weekend() | Holiday():
                return self._timed(leaf, wanted), False
            case Truth(atom):
                return f"{negation}{self._value(atom)}", wanted
            case Between() | Missing():
                raise AssertionError("written out before")

    def _timed(self, leaf: TimeBetween | Weekend | Holiday, wanted: bool) -> str:
        """Written so that a time that is no number makes neither the test nor its opposite true."""
        local = f"({self.local(leaf.ts)} + {leaf.offset_s!r})"
        match leaf:
            case TimeBetween(_, Literal(float(start)), Literal(float(end))):
                lasts = f"{(end - start) % DAY!r}"
                return f"({local} % {DAY!r} - {start!r}) % {DAY!r} {'<' if wanted else '>='} {lasts}"
            case TimeBetween(_, start, end):
                first, second = self._value(start), self._value(end)
                sign = "<" if wanted else ">="
                return f"({local} % {DAY!r} - {first}) % {DAY!r} {sign} ({second} - {first}) % {DAY!r}"
            case Weekend():
                return f"({local} // {DAY!r} + 3.0) % 7.0 {'>=' if wanted else '<'} 5.0"
            case Holiday(_, _, days, first_day, after):
                chosen = "{" + ", ".join(repr(day) for day in days) + "}" if days else "()"
                if wanted:
                    return f"{local} // {DAY!r} in {chosen}"
                return f"{first_day!r} <= {local} // {DAY!r} < {after!r} and {local} // {DAY!r} not in {chosen}"

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
