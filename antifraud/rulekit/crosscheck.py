"""What shows only when rules are looked at together, or on a certain day: rules that never hit, rules that change
nothing beside another one, exceptions and entries that have ended, reviews that are due.

Every finding about a condition is proven (see ``reasoning``): a rule that is named here really is what is said of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from antifraud.domain import Location, Stage
from antifraud.rulekit.documents import Excerpt, MapNode, Scalar, parse_sheet
from antifraud.rulekit.findings import Finding
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.local_time import MAX_NODES as CALENDAR_NODES
from antifraud.rulekit.local_time import read_calendar
from antifraud.rulekit.messages import RuleProblem
from antifraud.rulekit.promotion import review_due
from antifraud.rulekit.reasoning import Alternative, Claim, Facts, alternatives, contradiction, implies, settle
from antifraud.rulekit.rule import ACTING, LIVE, SETUP, Rule
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.sources import RuleSource, Sources
from antifraud.rulekit.tree import And, Condition, Param, atoms_in, atoms_of

_RANK: Final = {"label": 0, "challenge": 1, "divert": 2, "block": 3, "protect": 4}


def cross_check(rules: RuleSet, sources: Sources, today: float) -> list[RuleProblem]:
    """Everything found. ``today`` is the epoch second at which the day begins by which ends are judged."""
    found: list[RuleProblem] = []
    looked: list[_Looked] = []
    for rule in rules.rules:
        if rule.stage is Stage.RETIRED:
            continue
        never = list(_never(rule, sources))
        found += never
        found += _params(rule, sources)
        found += _budget(rule, sources)
        if not never and rule.stage in LIVE and rule.on == SETUP:
            looked.append(_Looked.at(rule))
    # One reason is enough for a rule that changes nothing, however many others cover it.
    found += {(_position(problem), problem.code): problem for problem in _pairs(looked, sources)}.values()
    for rule in rules.rules:
        found += _ended(rule, sources, today)
    for item in rules.lists:
        found += _entries(item, today)
    return sorted(found, key=_position)


def check_calendar(rules_dir: Path, today: float) -> list[RuleProblem]:
    """Years whose holidays should stand in calendar.yaml and do not; none without a calendar that can be read."""
    local, sheet, _raw = read_calendar(rules_dir)
    root = None if sheet.problems or not local.known else parse_sheet(sheet, max_nodes=CALENDAR_NODES)
    if not isinstance(root, MapNode):
        return []
    _key, years = root.entries["years"]
    return [Finding.CALENDAR_ENDS.at(sheet, years, year=str(year)) for year in local.unentered(today)]


def _position(problem: RuleProblem) -> tuple[str, int, int]:
    where = problem.where or Location("")
    return where.file, where.line, where.column


# One rule


def _never(rule: Rule, sources: Sources) -> Iterator[RuleProblem]:
    claims = contradiction(rule.when)
    own = False
    if claims is None:
        claims, own = contradiction(settle(rule.when, rule.params)), True
    if claims is None:
        return
    source = sources(rule)
    texts = list(dict.fromkeys(claim.text for claim in claims if claim.text))
    finding = Finding.NEVER_HITS_PARAMS if own else Finding.NEVER_HITS if len(texts) > 1 else Finding.NEVER_HITS_ALONE
    are = "are never true of one call" if len(texts) > 1 else "is never true"
    where, width = _place_of(source, texts[-1] if texts else "")
    line = source.sheet.line(where.line)
    yield finding.problem(where, line=line, width=width, terms=" and ".join(texts), are=are)


def _place_of(source: RuleSource, term: str) -> tuple[Location, int]:
    """Where a term of the condition stands and how wide it is; the key where it goes over several lines."""
    entry = source.entry("when")
    assert entry is not None, "a rule that was read has a condition"
    key, node = entry
    if isinstance(node, Scalar) and term:
        offset = node.value.rfind(term.removeprefix("not "))
        if offset >= 0:
            line, column = Excerpt.of(source.sheet, node).place(offset)
            return Location(source.sheet.name, line, column), len(term.removeprefix("not "))
    return Location(source.sheet.name, key.line, key.column), key.width


def _params(rule: Rule, sources: Sources) -> Iterator[RuleProblem]:
    """Parameters that stand in the reason only. Those that stand nowhere are refused when the rule is read."""
    conditions = (rule.when, *(item.when for item in rule.unless))
    used = {atom.name for condition in conditions for atom in atoms_in(condition) if isinstance(atom, Param)}
    source = None
    for name in rule.params:
        if name not in used:
            source = source or sources(rule)
            entry = source.entry("params", name)
            if entry is not None:
                yield Finding.PARAM_ONLY_SHOWN.at(source.sheet, entry[0], name=name)


def _budget(rule: Rule, sources: Sources) -> Iterator[RuleProblem]:
    if rule.stage in ACTING and rule.verdict != "protect" and rule.false_hits_per_million is None:
        source = sources(rule)
        yield Finding.BUDGET_MISSING.at(source.sheet, source.node("rollout", "stage"), stage=rule.stage.value)


def _ended(rule: Rule, sources: Sources, today: float) -> Iterator[RuleProblem]:
    if rule.stage is Stage.RETIRED:
        return
    for number, item in enumerate(rule.unless):
        if item.ends <= today:
            source = sources(rule)
            until = source.exceptions()[number]["until"]
            values = {"name": item.name, "day": until.value, "owner": item.owner}
            yield Finding.EXCEPTION_ENDED.at(source.sheet, until, **values)
    if rule.stage in LIVE and review_due(rule, today):
        source = sources(rule)
        yield Finding.REVIEW_OVERDUE.at(source.sheet, source.node("rollout", "review_by"), day=rule.review_by)


def _entries(item: ListFile, today: float) -> Iterator[RuleProblem]:
    columns = item.entries
    if columns.ends.one and all(ends == float("inf") for ends, _line in columns.texts.values()):
        return
    ended = [(plain, ends, line) for plain, ends, line in columns.plain() if ends <= today]
    if not ended:
        return
    shown = [f"{plain} ({_day(ends)})" for plain, ends, _line in ended[:3]]
    words = ", ".join(shown) + (f" and {len(ended) - 3} more" if len(ended) > 3 else "")
    count = "an entry" if len(ended) == 1 else f"{len(ended)} entries"
    first = min((-line for _plain, _ends, line in ended if line < 0), default=item.line)
    line = item.sheet.line(first)
    where = Location(item.sheet.name, first, len(line) - len(line.lstrip()) + 1)
    owner = item.owner
    yield Finding.ENTRIES_ENDED.problem(
        where, line=line, width=len(line.strip()), count=count, entries=words, owner=owner
    )


def _day(ends: float) -> str:
    """The last day on which something held that ended at ``ends``."""
    try:
        return (dt.datetime.fromtimestamp(ends, dt.UTC) - dt.timedelta(seconds=1)).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "long ago"


# Two rules


class _Looked(msgspec.Struct):
    """A rule with what follows from its condition, worked out once."""

    rule: Rule
    when: Condition
    facts: list[Facts]
    needs: list[Alternative]
    slots: frozenset[str]
    least: frozenset[str]
    """The names that each way to hit the rule reads, and those that all of them read."""

    @classmethod
    def at(cls, rule: Rule) -> _Looked:
        """The rule with its own parameters."""
        when = settle(rule.when, rule.params)
        found = alternatives(when) or []
        names = [frozenset(name for claim in claims for name in _names(claim)) for claims in found]
        least = frozenset.intersection(*names) if names else frozenset()
        return cls(rule, when, [Facts(claims) for claims in found], found, frozenset[str]().union(*names), least)

    def within(self, other: _Looked) -> bool:
        """Whether every call that this rule hits is, provably, hit by the other one."""
        if not self.needs or not other.needs or not other.least <= self.slots:
            return False
        for facts in self.facts:
            if not facts.impossible and not any(all(map(facts.entail, claims)) for claims in other.needs):
                return False
        return all(self._avoids(item.when, item.ends, other) for item in other.rule.unless)

    def _avoids(self, when: Condition, ends: float, other: _Looked) -> bool:
        """Whether this rule hits no call that an exception of the other one spares."""
        call = And((self.when, settle(when, other.rule.params)))
        if contradiction(call) is not None:
            return True
        own = self.rule
        return any(item.ends >= ends and implies(call, settle(item.when, own.params)) for item in own.unless)


def _names(claim: Claim) -> Iterator[str]:
    leaf = claim.leaf
    for name in getattr(leaf, "__struct_fields__", ()):
        value = getattr(leaf, name)
        if isinstance(value, msgspec.Struct):
            yield from (atom.name for atom in atoms_of(value) if not isinstance(atom, Param))  # type: ignore[arg-type]


def _pairs(looked: Sequence[_Looked], sources: Sources) -> Iterator[RuleProblem]:
    for number, one in enumerate(looked):
        for other in looked[number + 1 :]:
            inside, outside = one.within(other), other.within(one)
            if inside and outside:
                yield from _equal(one.rule, other.rule, sources)
            elif inside:
                yield from _shadowed(one.rule, other.rule, sources)
            elif outside:
                yield from _shadowed(other.rule, one.rule, sources)


def _equal(one: Rule, other: Rule, sources: Sources) -> Iterator[RuleProblem]:
    """Two rules that hit the same calls. One in force and a graver one on trial in shadow are no mistake."""
    if one.verdict == other.verdict:
        if one.stage is other.stage and one.percent == other.percent:
            yield _about(other, sources, Finding.SAID_TWICE, other=one.id)
        elif _covers(one, other):
            yield from _shadowed(other, one, sources)
        elif _covers(other, one):
            yield from _shadowed(one, other, sources)
    elif (one.stage is Stage.SHADOW) == (other.stage is Stage.SHADOW):
        values = {"other": one.id, "verdict": other.verdict, "verdict_there": one.verdict}
        yield _about(other, sources, Finding.VERDICTS_DIFFER, **values)


def _covers(one: Rule, other: Rule) -> bool:
    """Whether ``one`` acts on every call on which ``other`` would, at least as gravely. Shares of two canaries are
    different callers, so a canary covers nothing.
    """
    if _RANK[one.verdict] < _RANK[other.verdict]:
        return False
    return one.stage is Stage.ENFORCE or one.stage is other.stage is Stage.SHADOW


def _shadowed(rule: Rule, other: Rule, sources: Sources) -> Iterator[RuleProblem]:
    if _covers(other, rule):
        values = {"other": other.id, "verdict": other.verdict, "stage": other.stage.value}
        yield _about(rule, sources, Finding.SHADOWED, **values)


def _about(rule: Rule, sources: Sources, finding: Finding, **values: str) -> RuleProblem:
    source = sources(rule)
    return finding.at(source.sheet, source.node("rule"), **values)
