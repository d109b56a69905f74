"""What is different between two states of the rules, and how grave: patch, minor or major.

*major*: calls can be diverted or blocked that were not before. *minor*: calls can be labelled or challenged that were
not, or it is only recorded, or calls go elsewhere. *patch*: nothing of that. What cannot be proven counts as the
graver one. docs/reference/rule-language.md has the table; a property test holds this module to it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from antifraud.domain import Stage
from antifraud.rulekit.checker import param_type
from antifraud.rulekit.documents import MapNode, Node, Scalar
from antifraud.rulekit.evaluation import shown_value
from antifraud.rulekit.explanation import own_name, phrase
from antifraud.rulekit.form import Value
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.local_time import LocalTime
from antifraud.rulekit.reasoning import bare, contradiction, implies, settle
from antifraud.rulekit.rule import ACTING, LIVE, Rule, RuleException, RuleTest
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.sources import said
from antifraud.rulekit.texts import LocalText, ReasonText
from antifraud.rulekit.tree import And, Condition, Holiday, Listed, Not, Or, TimeBetween, Weekend

Level = Literal["patch", "minor", "major"]

LEVELS: Final[tuple[Level, ...]] = ("patch", "minor", "major")
STOPS: Final = ("divert", "block", "release")
_ORDER: Final = {"alert": 0, "label": 0, "challenge": 1, "divert": 2, "block": 3, "release": 3}
_STAGES: Final = (Stage.RETIRED, Stage.DRAFT, Stage.SHADOW, Stage.CANARY, Stage.ENFORCE)
_MOST_CHANGED: Final = 4
"""With more parameters changed at once nothing is proven."""


class Change(msgspec.Struct, frozen=True):
    """One thing that is different; ``before`` and ``after`` as people read them, empty where there is none."""

    what: str
    level: Level
    words: str
    before: str = ""
    after: str = ""


class ItemChange(msgspec.Struct, frozen=True):
    """What is different about one rule, list or window. ``kind`` is added, removed or changed."""

    name: str
    pack: str
    kind: str
    level: Level
    changes: tuple[Change, ...]


class Comparison(msgspec.Struct, frozen=True):
    """Everything that is different; what stands around the rules (see ``context_comparison``) where it was compared."""

    rules: tuple[ItemChange, ...]
    lists: tuple[ItemChange, ...]
    windows: tuple[ItemChange, ...]
    fields: tuple[ItemChange, ...] = ()
    calendars: tuple[ItemChange, ...] = ()
    regions: tuple[ItemChange, ...] = ()

    @property
    def kinds(self) -> tuple[tuple[str, tuple[ItemChange, ...]], ...]:
        """What can be different, each by its name."""
        return (
            ("rule", self.rules),
            ("list", self.lists),
            ("window", self.windows),
            ("field", self.fields),
            ("calendar", self.calendars),
            ("region", self.regions),
        )

    @property
    def level(self) -> Level | None:
        """The gravest level; None when nothing is different."""
        found = [item.level for _kind, items in self.kinds for item in items]
        return gravest(found) if found else None


def gravest(levels: Iterable[Level]) -> Level:
    """The gravest of some levels; patch when there are none."""
    return max(levels, key=LEVELS.index, default="patch")


def compare(
    old: RuleSet,
    new: RuleSet,
    *,
    now: float = float("-inf"),
    windows: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Comparison:
    """What is different from ``old`` to ``new``.

    Exceptions and entries that had ended at the epoch second ``now`` do not count any more. ``windows`` are the
    declarations of both states (see ``declarations``).
    """
    # Another calendar is a change of its own: a rule is compared with what it would be under the new one.
    before = {rule.id: _under(rule, new.names.local) for rule in old.rules}
    after = {rule.id: rule for rule in new.rules}
    rules: list[ItemChange] = []
    for name in sorted({*before, *after}):
        if name not in after:
            rules.append(_removed(before[name]))
        elif name not in before:
            rules.append(_added(after[name]))
        else:
            changes = tuple(_changes(before[name], after[name], now))
            if changes:
                pack = after[name].pack
                rules.append(ItemChange(name, pack, "changed", gravest(item.level for item in changes), changes))
    both = [*old.rules, *new.rules]
    return Comparison(tuple(rules), tuple(_lists(old, new, both, now)), tuple(_windows(windows, both)))


def _under(rule: Rule, local: LocalTime) -> Rule:
    """The rule as it would be with another calendar and another local time."""
    unless = tuple(msgspec.structs.replace(item, when=_timed(item.when, local)) for item in rule.unless)
    return msgspec.structs.replace(rule, when=_timed(rule.when, local), unless=unless)


def _timed(node: Any, local: LocalTime) -> Any:
    if isinstance(node, tuple):
        return tuple(_timed(item, local) for item in node)
    if isinstance(node, Holiday):
        days = tuple(float(day) for day in sorted(local.holidays))
        return Holiday(node.ts, local.offset_s, days, float(local.first), float(local.after), node.source)
    if isinstance(node, (TimeBetween, Weekend)):
        return msgspec.structs.replace(node, offset_s=local.offset_s)
    if isinstance(node, (Not, And, Or)):
        return type(node)(*(_timed(getattr(node, name), local) for name in node.__struct_fields__))
    return node


def effect(rule: Rule) -> Level:
    """How grave it is when the rule hits a call that it did not hit before."""
    if rule.stage not in LIVE or rule.verdict == "protect":
        return "patch"
    return "major" if rule.stage in ACTING and rule.verdict in STOPS else "minor"


def protects(rule: Rule) -> bool:
    """Whether the rule protects calls now."""
    return rule.verdict == "protect" and rule.stage is Stage.ENFORCE


def _added(rule: Rule) -> ItemChange:
    words = f"new, {rule.verdict} at {rule.stage.value}"
    change = Change("rule", effect(rule), words, "", rule.stage.value)
    return ItemChange(rule.id, rule.pack, "added", change.level, (change,))


def _removed(rule: Rule) -> ItemChange:
    level: Level = "major" if protects(rule) else "patch"
    words = "removed; what it protected can be stopped" if protects(rule) else "removed"
    return ItemChange(rule.id, rule.pack, "removed", level, (Change("rule", level, words, rule.stage.value, ""),))


# One rule


def _changes(old: Rule, new: Rule, now: float) -> Iterator[Change]:
    yield from _verdict(old, new)
    yield from _rollout(old, new)
    yield from _budget(old, new)
    yield from _condition(old, new, now)
    yield from _texts(old, new)


def _verdict(old: Rule, new: Rule) -> Iterator[Change]:
    if old.verdict != new.verdict:
        level: Level = "patch"
        words = "milder"
        if old.verdict == "protect":
            level, words = ("major" if protects(old) else effect(new)), "does not protect any more"
        elif new.verdict == "protect":
            words = "protects"
        elif _ORDER[new.verdict] > _ORDER[old.verdict]:
            level, words = effect(new), "harder"
        yield Change("verdict", level, words, old.verdict, new.verdict)
    if old.target != new.target:
        live = new.stage in LIVE
        yield Change("target", "minor" if live else "patch", "diverted calls go elsewhere", old.target, new.target)
    if old.on != new.on:
        yield Change("on", effect(new), "looks at calls at other moments", old.on, new.on)
    if old.block_caller_s != new.block_caller_s:
        longer = new.block_caller_s > old.block_caller_s
        words = "callers' numbers are blocked for longer" if longer else "callers' numbers are blocked for less long"
        spans = [f"{seconds:g} s" if seconds else "" for seconds in (old.block_caller_s, new.block_caller_s)]
        yield Change("block_caller", effect(new) if longer else "patch", words, *spans)


def _rollout(old: Rule, new: Rule) -> Iterator[Change]:
    if old.stage is not new.stage:
        further = _STAGES.index(new.stage) > _STAGES.index(old.stage)
        level: Level = effect(new) if further else "patch"
        if protects(old) and new.stage is not Stage.ENFORCE:
            level = "major"
        yield Change("stage", level, "goes further" if further else "goes back", old.stage.value, new.stage.value)
    elif old.percent != new.percent:
        more = new.percent > old.percent
        shown = f"{shown_value(old.percent)} %", f"{shown_value(new.percent)} %"
        yield Change("percent", effect(new) if more else "patch", "more callers" if more else "fewer callers", *shown)


def _budget(old: Rule, new: Rule) -> Iterator[Change]:
    """A larger budget stops no call by itself, but it lets the rule hit more honest ones: somebody should read that."""
    before, after = old.false_hits_per_million, new.false_hits_per_million
    if before == after:
        return
    if before is None or after is None:
        words = "declared" if before is None else "not declared any more"
    else:
        words = "fewer honest calls" if after < before else "more honest calls"
    more = after is None or (before is not None and after > before)
    shown = "" if before is None else shown_value(before), "" if after is None else shown_value(after)
    level: Level = "minor" if more and new.stage in ACTING else "patch"
    yield Change("false_hits_per_million", level, words, *shown)


def _condition(old: Rule, new: Rule, now: float) -> Iterator[Change]:
    """Condition, parameters and exceptions: each with what all of them together may do.

    What stops calls must not hit more than before, and what protects must not hit less: the ``inner`` rule has to
    stay within the ``outer`` one.
    """
    protecting = protects(old) and new.verdict == "protect"
    grave: Level = "major" if protecting else effect(new)
    settings = _settings(old, new)
    inner, outer = (old, new) if protecting else (new, old)
    pairs = settings if protecting else [(after, before) for before, after in settings]
    proven = bool(pairs) and all(
        implies(settle(inner.when, inside), settle(outer.when, outside)) for inside, outside in pairs
    )
    level: Level = "patch" if proven else grave
    if protecting:
        words = "protects no fewer calls" if proven else "may protect fewer calls"
    else:
        words = "hits no call that it did not hit before" if proven else "may hit more calls"
    if bare(old.when) != bare(new.when):
        yield Change("condition", level, words, phrase(old.when), phrase(new.when))
    for name in sorted({*old.params, *new.params}):
        before, after = old.params.get(name), new.params.get(name)
        if not _equal(before, after):
            shown = "" if before is None else shown_value(before), "" if after is None else shown_value(after)
            yield Change(f"params.{name}", level, words, *shown)
    lost = {item.name for item in outer.unless if item.ends > now and not _kept(item, inner, pairs)}
    yield from _exceptions(old, new, lost, grave)


def _kept(item: RuleException, inner: Rule, pairs: _Pairs) -> bool:
    """Whether, provably, ``inner`` hits none of the calls that ``item``, an exception of the outer rule, spares."""
    if not pairs:
        return False
    for inside, outside in pairs:
        call = And((settle(inner.when, inside), settle(item.when, outside)))
        if contradiction(call) is None and not any(
            other.ends >= item.ends and implies(call, settle(other.when, inside)) for other in inner.unless
        ):
            return False
    return True


def _exceptions(old: Rule, new: Rule, lost: set[str], grave: Level) -> Iterator[Change]:
    before = {item.name: item for item in old.unless}
    after = {item.name: item for item in new.unless}
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        same = one is not None and other is not None and bare(one.when) == bare(other.when) and one.ends == other.ends
        if same and name not in lost:
            continue
        words = "new" if one is None else "removed" if other is None else "changed"
        if one is not None and other is not None and one.ends != other.ends:
            words = "ends earlier" if other.ends < one.ends else "ends later"
        if name in lost:
            words += "; may spare fewer calls" if new.verdict != "protect" else "; may protect fewer calls"
        shown = "" if one is None else phrase(one.when), "" if other is None else phrase(other.when)
        yield Change(f"exception {name}", grave if name in lost else "patch", words, *shown)


_Pairs = Sequence[tuple[Mapping[str, Value], Mapping[str, Value]]]
"""Pairs of parameter values that together stand for whatever regions may have set."""


def _equal(one: Value | None, other: Value | None) -> bool:
    return type(one) is type(other) and one == other


def _settings(old: Rule, new: Rule) -> list[tuple[Mapping[str, Value], Mapping[str, Value]]]:
    """Parameter values (before, after) that together stand for whatever regions may have set.

    For each parameter that both have: either a region has set it, and then it is the same before and after and could
    be anything, or it has not, and then the rule's own values count. A parameter that is new cannot have been set by
    a region yet; one that is gone may have been anything. Empty when there are too many to try.
    """
    shared = [name for name in old.params if name in new.params and _same_kind(old.params[name], new.params[name])]
    changed = [name for name in shared if not _equal(old.params[name], new.params[name])]
    if len(changed) > _MOST_CHANGED:
        return []
    fresh = {name: value for name, value in new.params.items() if name not in shared}
    found: list[tuple[Mapping[str, Value], Mapping[str, Value]]] = []
    for own in itertools.product((True, False), repeat=len(changed)):
        kept = [name for name, is_own in zip(changed, own, strict=True) if is_own]
        found.append(
            (
                {name: old.params[name] for name in kept},
                {**fresh, **{name: new.params[name] for name in kept}},
            )
        )
    return found


def _same_kind(one: Value, other: Value) -> bool:
    return param_type(one) == param_type(other)


def _texts(old: Rule, new: Rule) -> Iterator[Change]:
    pairs: tuple[tuple[str, object, object], ...] = (
        ("pack", old.pack, new.pack),
        ("title", old.title, new.title),
        ("owner", old.owner, new.owner),
        ("tags", old.tags, new.tags),
        ("why", old.why, new.why),
        ("false_positives", old.false_positives, new.false_positives),
        ("label", old.label, new.label),
        ("code", old.code or "", new.code or ""),
        ("reason", old.reason, new.reason),
        ("by", old.by, new.by),
        ("review_by", old.review_by, new.review_by),
    )
    for what, one, other in pairs:
        if one != other:
            yield Change(what, "patch", "text", _shown(one), _shown(other))
    if _tests(old.tests) != _tests(new.tests):
        yield Change("tests", "patch", "tests", str(len(old.tests)), str(len(new.tests)))
    notes = [{item.name: (item.owner, item.why) for item in rule.unless} for rule in (old, new)]
    for name in notes[0].keys() & notes[1].keys():
        if notes[0][name] != notes[1][name]:
            yield Change(f"exception {name}", "patch", "owner or why", notes[0][name][0], notes[1][name][0])


def _tests(tests: Iterable[RuleTest]) -> list[tuple[object, ...]]:
    return [
        (test.name, dict(test.given), dict(test.params), test.expect_hit, test.stream and test.stream.said())
        for test in tests
    ]


def _shown(value: object) -> str:
    if isinstance(value, LocalText):
        return value.get("en")
    if isinstance(value, ReasonText):
        shown = [item.name if item.name.startswith("params.") else own_name(item.name) for item in value.placeholders]
        names = [
            f"{name}:{item.form}" if item.form else name for name, item in zip(shown, value.placeholders, strict=True)
        ]
        pieces = value.versions[0][1].pieces
        return "".join(piece if isinstance(piece, str) else f"{{{names[piece]}}}" for piece in pieces)
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


# Lists


def entries_of(item: ListFile) -> dict[str, float]:
    """The entries of a list as texts, each with the epoch second at which it ends."""
    return {plain: ends for plain, ends, _line in item.entries.plain()}


def _lists(old: RuleSet, new: RuleSet, rules: Sequence[Rule], now: float) -> Iterator[ItemChange]:
    before = {item.name: item for item in old.lists}
    after = {item.name: item for item in new.lists}
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        wider, narrower = signs(rules, functools.partial(_asks_list, name))
        if (one or other) and ((one and one.protects) or (other and other.protects)):
            narrower = "major"
        changes = tuple(_list_changes(one, other, wider, narrower, now))
        if changes:
            kind = "added" if one is None else "removed" if other is None else "changed"
            yield ItemChange(name, "", kind, gravest(item.level for item in changes), changes)


def _asks_list(name: str, leaf: Condition) -> bool:
    return isinstance(leaf, Listed) and leaf.name == name


def signs(rules: Iterable[Rule], asks: Callable[[Condition], bool]) -> tuple[Level, Level]:
    """How grave it is when the terms for which ``asks`` is true hold more often, and when they hold less often."""
    wider: list[Level] = []
    narrower: list[Level] = []
    for rule in rules:
        grave: Level = "major" if protects(rule) else effect(rule)
        backwards = rule.verdict == "protect"
        for condition, spares in ((rule.when, False), *((item.when, True) for item in rule.unless)):
            for positive in _signs(condition, asks, holds=True):
                more_hits = positive != (spares != backwards)
                (wider if more_hits else narrower).append(grave)
    return gravest(wider), gravest(narrower)


def _signs(condition: Condition, asks: Callable[[Condition], bool], *, holds: bool) -> Iterator[bool]:
    """For each term that is meant: whether it makes the condition true more often when it holds more often."""
    match condition:
        case Not(term):
            yield from _signs(term, asks, holds=not holds)
        case And(terms) | Or(terms):
            for term in terms:
                yield from _signs(term, asks, holds=holds)
        case _:
            if asks(condition):
                yield holds


def _list_changes(
    one: ListFile | None, other: ListFile | None, wider: Level, narrower: Level, now: float
) -> Iterator[Change]:
    before = {} if one is None else entries_of(one)
    after = {} if other is None else entries_of(other)
    if one is not None and other is not None:
        if one.kind != other.kind:
            yield Change("kind", gravest((wider, narrower)), "kind", one.kind, other.kind)
        for what, was, now_is in (("owner", one.owner, other.owner), ("source", one.source, other.source)):
            if was != now_is:
                yield Change(what, "patch", "text", was, now_is)
        if one.title != other.title:
            yield Change("title", "patch", "text", one.title.get("en"), other.title.get("en"))
    was_for = () if one is None else one.protects
    is_for = () if other is None else other.protects
    if was_for != is_for:
        lost = not set(was_for) <= set(is_for)
        words = "protects fewer calls" if lost else "protects more calls"
        yield Change("protects", "major" if lost else "patch", words, ", ".join(was_for), ", ".join(is_for))
    could, can = one is not None and one.removable, other is not None and other.removable
    if one is not None and other is not None and could != can:
        words = "may be shortened at run time" if can else "stays as it is at run time"
        level: Level = "major" if can and other.protects else "patch"
        yield Change("removable", level, words, "true" if could else "false", "true" if can else "false")
    more = [entry for entry, ends in after.items() if ends > before.get(entry, now)]
    fewer = [entry for entry, ends in before.items() if ends > max(after.get(entry, now), now)]
    if more:
        yield Change("entries", wider, "in the list, or longer", "", _some(more))
    if fewer:
        yield Change("entries", narrower, "no more in the list, or not so long", _some(fewer), "")
    if not more and not fewer and before != after:
        yield Change("entries", "patch", "entries that had ended", str(len(before)), str(len(after)))


def _some(entries: Sequence[str]) -> str:
    shown = ", ".join(entries[:5])
    return shown if len(entries) <= 5 else f"{shown} and {len(entries) - 5} more"


# Windows


def declarations(root: Node | None, own: Mapping[str, MapNode] = {}) -> dict[str, str]:
    """The windows of a windows file, and those that rules ``own`` (as ``rule.window``): name → what it declares.

    Descriptions are left out. What a window is worked out from belongs to what it says.
    """
    top = root.entries.get("windows") if isinstance(root, MapNode) else None
    shared = top[1].entries if top is not None and isinstance(top[1], MapNode) else {}
    nodes = {name: node for name, (_key, node) in shared.items()} | dict(own)
    texts = {name: said(node) for name, node in nodes.items()}
    return {name: texts[name] + "".join(_parts(name, node, texts)) for name, node in nodes.items()}


def _parts(name: str, node: Node, texts: Mapping[str, str]) -> Iterator[str]:
    """What the windows say that a ratio or a balance is made of."""
    rule = name.rpartition(".")[0]
    for key in ("of", "to"):
        entry = node.entries.get(key) if isinstance(node, MapNode) else None
        part = entry[1].value.strip() if entry is not None and isinstance(entry[1], Scalar) else ""
        for found in (f"{rule}.{part}", part):
            if found in texts:
                yield f", {key} is {texts[found]}"
                break


def _windows(windows: tuple[Mapping[str, str], Mapping[str, str]], rules: Sequence[Rule]) -> Iterator[ItemChange]:
    before, after = windows
    for name in sorted({*before, *after}):
        one, other = before.get(name, ""), after.get(name, "")
        if one == other:
            continue
        level = gravest(
            "major" if protects(rule) else effect(rule) for rule in rules if name in rule.windows and one and other
        )
        kind = "changed" if one and other else "removed" if one else "added"
        words = "counts something else" if one and other else kind
        yield ItemChange(name, "", kind, level, (Change("window", level, words, one, other),))
