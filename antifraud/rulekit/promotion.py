"""Taking a rule from stage to stage: what has to be true before, and the two edits, of the rule's file and of the lock.

Nothing is written here and no clock is read: texts in, problems and texts out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import yaml

from antifraud.domain import BundleError, Location, Stage
from antifraud.rulekit import form
from antifraud.rulekit.documents import MapNode, Node, Scalar, Sheet
from antifraud.rulekit.evaluation import shown_value
from antifraud.rulekit.findings import Finding
from antifraud.rulekit.layout import quoted
from antifraud.rulekit.lock import Lock, LockEntry, approvers, budget_raised, compare_with_lock, content_of
from antifraud.rulekit.messages import RuleProblem
from antifraud.rulekit.rule import ACTING, LIVE, Rule
from antifraud.rulekit.rule_tests import Replay, no_replay, run_rule_tests, unproven_terms
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.sources import RuleSource, Sources

_STEPS: Final = (Stage.DRAFT, Stage.SHADOW, Stage.CANARY, Stage.ENFORCE)
_PROTECT_STEPS: Final = (Stage.DRAFT, Stage.ENFORCE)
_TODO: Final = re.compile(r"\bTODO\b")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Decision(msgspec.Struct, frozen=True):
    """What somebody has decided: by whom, why, who has read it, and at what time (text in UTC).

    ``today`` is the epoch second by which reviews are judged.
    """

    by: str
    why: str
    approvals: tuple[str, ...]
    when: str
    today: float


def steps_of(rule: Rule) -> tuple[Stage, ...]:
    """The stages that a rule goes through, in order. What protects is never tried on a share of calls."""
    return _PROTECT_STEPS if rule.verdict == "protect" else _STEPS


def following(rule: Rule, stage: Stage) -> Stage:
    """The next stage after ``stage``; a retired rule begins again as a draft."""
    steps = steps_of(rule)
    if stage is Stage.RETIRED:
        return Stage.DRAFT
    later = [step for step in steps if _STEPS.index(step) > _STEPS.index(stage)]
    return later[0] if later else stage


def milder(stage: Stage, than: Stage) -> bool:
    """Whether ``stage`` does less than another; retired is the mildest."""
    order = (Stage.RETIRED, *_STEPS)
    return order.index(stage) < order.index(than)


# What has to be true


def check_promotion(
    rules: RuleSet,
    rule: Rule,
    lock: Lock | None,
    sources: Sources,
    to: Stage,
    percent: float,
    decision: Decision,
    replay: Replay = no_replay,
) -> list[RuleProblem]:
    """Everything that stands against taking ``rule`` to the stage ``to``; nothing stands against a milder one.

    A rule that protects is the exception: without it calls can be stopped, so a second person has to agree.

    Where the stage in the rule's file was edited by hand, the lock's counts. ``replay`` runs tests with events.
    """
    if lock is None:
        return [Finding.LOCK_NONE.problem(None)]
    source = sources(rule)
    entry = lock.get(rule.id)
    now = entry.stage if entry is not None else rule.stage if rule.stage not in LIVE else Stage.DRAFT
    if milder(to, now):
        agreed = now is not Stage.ENFORCE or rule.verdict != "protect" or approvers(decision.by, decision.approvals)
        return [] if agreed else [Finding.PROMOTE_PROTECT.problem(None, rule=rule.id, by=decision.by)]
    place = _place(source, "rollout", "stage")
    if to is now:
        same = entry is not None and to is rule.stage and content_of(rule, source) == entry.content
        same = same and not (entry is not None and to in ACTING and budget_raised(rule, entry))
        if same and entry is not None and (to is not Stage.CANARY or percent == entry.percent == rule.percent):
            return [Finding.PROMOTE_SAME.problem(place, rule=rule.id, stage=now.value)]
    elif to is not following(rule, now):
        after = following(rule, now).value
        return [Finding.PROMOTE_SKIPS.problem(place, rule=rule.id, stage=now.value, following=after, to=to.value)]
    if to not in LIVE:
        return []
    return [
        *check_tests(rules, rule, replay),
        *_check_texts(rule, source),
        *_check_budget(rule, source, to),
        *_check_review(rule, source, decision.today),
        *check_approval(to, decision),
    ]


def check_tests(rules: RuleSet, rule: Rule, replay: Replay = no_replay) -> Iterator[RuleProblem]:
    """What is wrong with the tests of a rule that is to be in force."""
    for expect, wanted in (("hit", True), ("no_hit", False)):
        if not any(test.expect_hit == wanted for test in rule.tests):
            yield Finding.PROMOTE_TESTS.problem(rule.where, rule=rule.id, expect=expect)
    for result in run_rule_tests(rules, rule, replay):
        if not result.passed:
            yield Finding.PROMOTE_FAILS.problem(result.test.where, test=result.test.name, rule=rule.id)
    for term in unproven_terms(rules, rule, replay) if rule.tests else ():
        yield Finding.PROMOTE_UNPROVEN.problem(rule.where, term=term.term)


def _check_texts(rule: Rule, source: RuleSource) -> Iterator[RuleProblem]:
    for key in ("title", "owner", "why", "false_positives", "then"):
        found = source.entry(key)
        for what, node in _scalars(found[1], key) if found is not None else ():
            if _TODO.search(node.value):
                yield Finding.PROMOTE_UNFINISHED.at(source.sheet, node, what=what)
    for test in rule.tests:
        if _TODO.search(test.name):
            yield Finding.PROMOTE_UNFINISHED.problem(test.where, what="the name of a test")


def _scalars(node: Node, name: str) -> Iterator[tuple[str, Scalar]]:
    if isinstance(node, Scalar):
        yield name, node
    elif isinstance(node, MapNode):
        for key, (_, value) in node.entries.items():
            yield from _scalars(value, f"{name}.{key}")


def review_due(rule: Rule, today: float) -> bool:
    """Whether the day of the rule's review is over."""
    if not rule.review_by:
        return False
    ends = form.until(Sheet(""), Scalar(1, 1, rule.review_by), "review_by")
    return ends is not None and ends <= today


def _check_budget(rule: Rule, source: RuleSource, to: Stage) -> Iterator[RuleProblem]:
    if to in ACTING and rule.verdict != "protect" and rule.false_hits_per_million is None:
        yield Finding.PROMOTE_BUDGET.at(source.sheet, source.node("rollout", "stage"), rule=rule.id)


def _check_review(rule: Rule, source: RuleSource, today: float) -> Iterator[RuleProblem]:
    if review_due(rule, today):
        node = source.node("rollout", "review_by")
        yield Finding.PROMOTE_OVERDUE.at(source.sheet, node, rule=rule.id, day=rule.review_by)


def check_approval(to: Stage, decision: Decision) -> Iterator[RuleProblem]:
    """Whether somebody else has read what goes to enforce."""
    if to is Stage.ENFORCE and not approvers(decision.by, decision.approvals):
        yield Finding.PROMOTE_APPROVAL.problem(None, by=decision.by)


def _place(source: RuleSource, *path: str) -> Location:
    node = source.node(*path)
    return Location(source.sheet.name, node.line, node.column)


# The lock


def decided(
    content: str, old: LockEntry | None, to: Stage, percent: float, decision: Decision, budget: float | None = None
) -> LockEntry:
    """The rule's new entry; its version is counted up when what it decides has changed. ``budget`` is the rule's."""
    version = 1 if old is None else old.version + (content != old.content)
    share = percent if to is Stage.CANARY else 100.0
    approvals = approvers(decision.by, decision.approvals)
    by, why = decision.by.strip(), decision.why.strip()
    return LockEntry(version, content, to, share, decision.when, by, why, approvals, budget)


class Locking(msgspec.Struct, frozen=True):
    """What ``antifraud rules lock`` would write: the new lock, and what is different in it."""

    lock: Lock
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def check_locking(
    rules: RuleSet,
    chosen: Iterable[Rule],
    lock: Lock | None,
    sources: Sources,
    decision: Decision,
    name: str,
    replay: Replay = no_replay,
) -> tuple[Locking, list[RuleProblem]]:
    """The lock with the present content of ``chosen``, and what stands against it.

    The first lock takes over every rule that is not a draft as it stands; later ones count versions up and change no
    stage. What is at enforce needs a second person, as when it is promoted.
    """
    new = dict(lock or {})
    added: list[str] = []
    changed: list[str] = []
    problems: list[RuleProblem] = []
    if lock is not None:
        drift = {Finding.LOCK_STAGE.code, Finding.LOCK_PERCENT.code, Finding.LOCK_UNKNOWN.code}
        files = {rule.where.file for rule in chosen}
        found = compare_with_lock(rules, lock, sources, name)
        problems += [item for item in found if item.code in drift and item.where and item.where.file in files]
    gravest = Stage.DRAFT
    for rule in chosen:
        content = content_of(rule, sources(rule))
        old = new.get(rule.id)
        if old is None and (lock is not None or rule.stage is Stage.DRAFT):
            continue
        if old and old.content == content and not (rule.stage in ACTING and budget_raised(rule, old)):
            continue
        (changed if old else added).append(rule.id)
        new[rule.id] = decided(content, old, rule.stage, rule.percent, decision, rule.false_hits_per_million)
        if rule.stage in LIVE:
            problems += check_tests(rules, rule, replay)
        gravest = Stage.ENFORCE if rule.stage is Stage.ENFORCE else gravest
    problems += check_approval(gravest, decision)
    known = {rule.id for rule in rules.rules}
    removed = sorted(set(new) - known)
    for gone in removed:
        del new[gone]
    return Locking(new, tuple(added), tuple(changed), tuple(removed)), problems


# The rule's file


def with_rollout(source: RuleSource, to: Stage, percent: float, by: str) -> str:
    """The file's text with stage, percent and by of its rollout changed, and not a letter more.

    BundleError when the rollout is written in a way that cannot be edited safely.
    """
    text = source.sheet.text
    spans = _Spans(text)
    wanted: dict[str, str | None] = {
        "stage": to.value,
        "percent": shown_value(percent) if to is Stage.CANARY else None,
    }
    if source.entry("rollout", "by") is not None:
        wanted["by"] = quoted(by.strip(), flow=True)
    for key, value in wanted.items():
        found = spans.find("rollout", key)
        if value is None:
            text = text if found is None else _without(text, found)
        elif found is not None:
            text = text[: found.value[0]] + value + text[found.value[1] :]
        else:
            stage = spans.find("rollout", "stage")
            assert stage is not None, "a rule that was read has a stage"
            text = _inserted(text, stage, f"{key}: {value}")
        spans = _Spans(text)
    _prove(source, text, set(wanted))
    return text


class _Pair(msgspec.Struct, frozen=True):
    """Where a key and its value stand, and whether in brackets."""

    key: tuple[int, int]
    value: tuple[int, int]
    flow: bool


class _Spans:
    """Where the keys two levels deep stand in a text."""

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, str], _Pair] = {}
        outer = ""
        depth = 0
        flow = [False, False, False]
        waiting: list[Any] = [None, None, None]
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if depth in (1, 2):
                    waiting[depth] = None  # its value begins here
                waiting[2] = None if depth == 1 else waiting[2]
                depth += 1
                if depth == 2:
                    flow[2] = bool(event.flow_style)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            elif isinstance(event, yaml.ScalarEvent) and depth in (1, 2):
                if waiting[depth] is None:
                    waiting[depth] = event
                    outer = event.value if depth == 1 else outer
                else:
                    key, waiting[depth] = waiting[depth], None
                    if depth == 2:
                        self._found.setdefault((outer, key.value), _Pair(_offsets(key), _offsets(event), flow[2]))

    def find(self, outer: str, inner: str) -> _Pair | None:
        """The key ``inner`` below the key ``outer`` of the root."""
        return self._found.get((outer, inner))


def _offsets(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _inserted(text: str, after: _Pair, words: str) -> str:
    """The text with another key behind one that is there."""
    if after.flow:
        return f"{text[: after.value[1]]}, {words}{text[after.value[1] :]}"
    line_start = text.rfind("\n", 0, after.key[0]) + 1
    indent = " " * (after.key[0] - line_start)
    line_end = text.find("\n", after.value[1])
    if line_end < 0:
        return f"{text}\n{indent}{words}"
    return f"{text[:line_end]}\n{indent}{words}{text[line_end:]}"


def _without(text: str, pair: _Pair) -> str:
    """The text without a key and its value; a comment behind it stays, on a line of its own."""
    if pair.flow:
        before = re.search(r",\s*\Z", text[: pair.key[0]])
        if before is not None:
            return text[: before.start()] + text[pair.value[1] :]
        behind = re.match(r"\s*,?\s*", text[pair.value[1] :])
        return text[: pair.key[0]] + text[pair.value[1] + (behind.end() if behind else 0) :]
    line_start = text.rfind("\n", 0, pair.key[0]) + 1
    line_end = text.find("\n", pair.value[1])
    line_end = len(text) if line_end < 0 else line_end
    comment = text[pair.value[1] : line_end].strip()
    if comment:
        return text[: pair.key[0]] + comment + text[line_end:]
    return text[:line_start] + text[line_end + 1 :]


def _prove(before: RuleSource, text: str, keys: set[str]) -> None:
    """BundleError unless everything but ``keys`` of the rollout is as it was."""
    unsafe = Finding.ROLLOUT_UNSAFE.problem(_place(before, "rollout"))
    try:
        after = RuleSource.parse(before.sheet.name, text)
    except BundleError:
        raise BundleError.of([unsafe]) from None
    if _said(before.root, keys) != _said(after.root, keys):
        raise BundleError.of([unsafe])


def _said(root: MapNode, keys: set[str]) -> Sequence[object]:
    """What a rule says but for ``keys`` of its rollout."""
    found: list[object] = []

    def walk(node: Node, path: tuple[str, ...]) -> None:
        if isinstance(node, MapNode):
            for name, (_key, value) in node.entries.items():
                if not (path == ("rollout",) and name in keys):
                    walk(value, (*path, name))
        elif isinstance(node, Scalar):
            found.append((path, node.value, node.style))
        else:
            for item in getattr(node, "items", ()):
                walk(item, (*path, "*"))

    walk(root, ())
    return found
