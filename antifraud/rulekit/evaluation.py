"""Compiled rules at work: what a call hits, in a fixed order. Nothing here knows how rules are read or written down.

An engine needs no more than this of a rules directory; ``RuleSet`` adds the rules themselves, for people.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from antifraud.domain import ConfigError, Problem, Stage
from antifraud.rulekit.checker import param_type
from antifraud.rulekit.compiler import PackCode, PackFunction
from antifraud.rulekit.form import Value
from antifraud.rulekit.interpreter import Lookup
from antifraud.rulekit.list_folder import ListStamp
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.messages import did_you_mean
from antifraud.rulekit.tables import Table
from antifraud.rulekit.texts import ReasonText


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One rule, or one list that protects, that a call has hit.

    ``rule`` is the rule's id, or the list's name. ``by`` is ``rule:<id>`` or ``list:<name>``. ``verdict`` is protect,
    label, challenge, divert or block; ``percent`` is 100 except for a canary. ``block_caller_s``: for how many seconds
    the caller's number is to be blocked as well.
    """

    rule: str
    verdict: str
    stage: Stage
    percent: float
    label: str
    target: str
    by: str
    reason: ReasonText
    values: tuple[object, ...] = ()
    code: int = 0
    block_caller_s: float = 0.0

    def text(self, language: str) -> str:
        """The reason in ``language``, with the values of the call."""
        return self.reason.fill(language, self.values)


class Params(msgspec.Struct, frozen=True):
    """The parameters of all rules with one region's values in place; made by ``CompiledRules.params``."""

    by_rule: Mapping[str, Mapping[str, Value]]
    packed: tuple[tuple[Value, ...], ...]


class Maker(msgspec.Struct, frozen=True):
    """How a hit is made: its fixed parts, and where the values of its placeholders come from."""

    rank: tuple[int, str]
    like: Hit
    sources: tuple[tuple[bool, int], ...]
    """(is it a parameter, its position) for each placeholder."""

    def values(self, row: Sequence[object], packed: Sequence[object]) -> tuple[object, ...]:
        """The values of the placeholders."""
        return tuple([packed[index] if param else row[index] for param, index in self.sources])

    def make(self, row: Sequence[object], packed: Sequence[object]) -> Hit:
        """The hit on this call."""
        values = self.values(row, packed)
        like = self.like
        return Hit(
            like.rule,
            like.verdict,
            like.stage,
            like.percent,
            like.label,
            like.target,
            like.by,
            like.reason,
            values,
            like.code,
            like.block_caller_s,
        )


class Pack(msgspec.Struct, frozen=True):
    """The rules of one pack that are evaluated; for a hit at a position of the code, the maker at that position."""

    name: str
    code: PackCode
    makers: tuple[Maker, ...]
    params: tuple[tuple[str, str], ...]
    """(rule, parameter) at each position of the pack's parameters."""
    on: str = "setup"
    """When its rules look at a call: at its setup, or while it goes on (answer, tick, report)."""


class HeldList(msgspec.Struct, frozen=True):
    """One list with what it is looked up in."""

    file: ListFile
    table: Table
    stamp: ListStamp


_Step = tuple[PackFunction, tuple[Maker, ...], int]
"""A pack's function, its makers, and its place among the packs."""
_NO_HITS: Final[list[Hit]] = []


class CompiledRules:
    """Rules and lists, compiled. Evaluating changes nothing, and nothing changes but lists (``amend``).

    ``defaults``: the parameters of every rule, those of rules that are not evaluated too.
    """

    def __init__(
        self,
        packs: Iterable[Pack],
        lists: Iterable[HeldList],
        defaults: Mapping[str, Mapping[str, Value]],
        digest: str,
    ) -> None:
        self.packs = tuple(packs)
        self.held = {item.file.name: item for item in sorted(lists, key=lambda item: item.file.name)}
        self.lists: tuple[ListFile, ...] = tuple(item.file for item in self.held.values())
        self.defaults = defaults
        self.digest = digest
        self._lookups: dict[str, Lookup] = {name: item.table.until for name, item in self.held.items()}
        bound = [(pack, pack.code.bound(self._lookups), at) for at, pack in enumerate(self.packs)]
        self._steps = tuple((code, pack.makers, at) for pack, code, at in bound if pack.on == "setup")
        self._later = {
            on: tuple((code, pack.makers, at) for pack, code, at in bound if pack.on == on)
            for on in {pack.on for pack in self.packs} - {"setup"}
        }
        self._places: dict[str, list[tuple[int, int, str]]] = {}
        for at, pack in enumerate(self.packs):
            for position, (rule, name) in enumerate(pack.params):
                self._places.setdefault(rule, []).append((at, position, name))
        packed = tuple(tuple(defaults[rule][name] for rule, name in pack.params) for pack in self.packs)
        self._declared = Params(defaults, packed)

    # Evaluating

    def evaluate(self, row: Sequence[object], params: Params) -> list[Hit]:
        """What the call hits, the gravest first: protect, block, divert, challenge, label; then by name.

        ``row`` is laid out as ``order`` said when the rules were read; None is missing (never NaN). Rules at draft or
        retired are not evaluated; those at shadow and canary are, and it is the decision that weighs them. Where
        nothing hits, one shared empty list comes back: do not change it.
        """
        return self._hits(self._steps, row, params)

    @property
    def in_progress(self) -> frozenset[str]:
        """The moments of calls in progress that live rules look at: answer, tick, report."""
        return frozenset(self._later)

    def evaluate_in_progress(self, on: str, row: Sequence[object], params: Params) -> list[Hit]:
        """What a call in progress hits at such a moment, release before alert; see ``evaluate``.

        ``row`` has the seconds that people have talked (``talk_so_far_s``) after the score.
        """
        return self._hits(self._later.get(on, ()), row, params)

    @staticmethod
    def _hits(steps: Iterable[_Step], row: Sequence[object], params: Params) -> list[Hit]:
        found: list[tuple[tuple[int, str], Hit]] | None = None
        packs = params.packed
        for function, makers, at in steps:
            packed = packs[at]
            positions = function(row, packed)
            if positions:
                if found is None:
                    found = []
                for position in positions:
                    maker = makers[position]
                    found.append((maker.rank, maker.make(row, packed)))
        if found is None:
            return _NO_HITS
        if len(found) > 1:
            found.sort(key=_rank)
        return [hit for _, hit in found]

    def amend(self, name: str, added: Mapping[str, float], removed: Collection[str]) -> None:
        """From now on the list ``name`` has these run-time changes and no others: plain entries with their ends that
        are added, and plain entries of its files that are hidden. Nothing is compiled."""
        self.held[name].table.amend(added, removed)

    def params(self, overrides: Mapping[str, Mapping[str, Any]]) -> Params:
        """The parameters with a region's values: rule id → parameter → value.

        ConfigError names the rule, parameter or type that does not exist or fit, all of them at once.
        """
        if not overrides:
            return self._declared
        fitting, unfit = fit_params(overrides, self.defaults)
        if unfit:
            raise ConfigError.of([item.problem for item in unfit])
        by_rule = {**self.defaults, **{rule: {**self.defaults[rule], **values} for rule, values in fitting.items()}}
        packed = [list(values) for values in self._declared.packed]
        for rule in overrides:
            for at, position, name in self._places.get(rule, ()):
                packed[at][position] = by_rule[rule][name]
        return Params(by_rule, tuple(map(tuple, packed)))


def _rank(found: tuple[tuple[int, str], Hit]) -> tuple[int, str]:
    return found[0]


class Unfit(msgspec.Struct, frozen=True):
    """A value that does not fit: of which ``rule`` and ``param`` (empty: there is no such rule), and what is wrong.

    ``unknown`` is whether the name is wrong rather than the value.
    """

    rule: str
    param: str
    unknown: bool
    problem: Problem


def fit_params(
    overrides: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Mapping[str, Value]]
) -> tuple[dict[str, dict[str, Value]], list[Unfit]]:
    """Those of ``overrides`` that may take the place of the declared ``defaults`` (both: rule → parameter → value),
    and those that may not."""
    fitting: dict[str, dict[str, Value]] = {}
    unfit: list[Unfit] = []
    for rule, values in overrides.items():
        declared = defaults.get(rule)
        if declared is None:
            hint = did_you_mean(rule, defaults, "bring the rule into the rules directory first, or take this out")
            unfit.append(Unfit(rule, "", True, Problem(f"there is no rule {rule}", hint=hint)))
            continue
        fitting[rule] = _checked(rule, declared, values, unfit)
    return fitting, unfit


def _checked(
    rule: str, declared: Mapping[str, Value], given: Mapping[str, Any], unfit: list[Unfit]
) -> dict[str, Value]:
    """Those of ``given`` that may take the place of the ``declared`` ones; the others are added to ``unfit``."""
    found: dict[str, Value] = {}
    for name, one in given.items():
        if name not in declared:
            hint = did_you_mean(name, declared, f"the rule {rule} has no parameters")
            unfit.append(Unfit(rule, name, True, Problem(f"the rule {rule} has no parameter {name}", hint=hint)))
            continue
        value = _fitting(one, declared[name])
        if value is None:
            words = f"the parameter {name} of the rule {rule} cannot be {one!r}"
            hint = f"it is declared as {shown_value(declared[name])}; give a value of the same kind"
            unfit.append(Unfit(rule, name, False, Problem(words, hint=hint)))
            continue
        found[name] = value
    return found


def _fitting(given: object, declared: Value) -> Value | None:
    """``given`` as a value of the declared kind; None when it is of another kind."""
    kind = param_type(declared)
    if kind == "bool":
        return given if isinstance(given, bool) else None
    if kind == "number":
        return _number(given)
    if kind == "text":
        return given if isinstance(given, str) and 0 < len(given) <= 256 else None
    if not isinstance(given, (list, tuple)) or not 0 < len(given) <= 64:
        return None
    if kind == "texts":
        # An empty text is the beginning of every number: a slip of the pen would let a rule hit every call.
        return tuple(given) if all(isinstance(item, str) and 0 < len(item) <= 256 for item in given) else None
    numbers = [_number(item) for item in given]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(numbers) else None


def _number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    try:
        number = float(given)
    except OverflowError:
        return None
    return number if abs(number) < float("inf") else None


def shown_value(value: Value | None) -> str:
    """A value as it is written in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 or value != int(value) else f"{value:.0f}"
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(shown_value(item) for item in value)}]"
