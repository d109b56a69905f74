"""rules.lock: which version of each rule has been decided on, how far it is in force, who decided that and why.

The lock is a record for people and for ``rules lint``; the engine reads the rule files. It is written by
``antifraud rules lock`` and ``antifraud rules promote`` and by nobody else, so that a stage never changes without a
name beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from antifraud.domain import BundleError, Location, Stage
from antifraud.rulekit import form
from antifraud.rulekit.condition_layout import canonical_tokens
from antifraud.rulekit.documents import Node, Sheet, parse_sheet
from antifraud.rulekit.evaluation import shown_value
from antifraud.rulekit.findings import Finding
from antifraud.rulekit.layout import quoted
from antifraud.rulekit.messages import RuleProblem
from antifraud.rulekit.rule import ACTING, LIVE, SETUP, STAGES, Rule
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.sources import RuleSource, Sources, said

FILE: Final = "rules.lock"
FORMAT: Final = 1
MAX_BYTES: Final = 8 * 1024 * 1024
BUDGET: Final = "false_hits_per_million"

_MAX_NODES: Final = 400_000
_KEYS: Final = ("version", "content", "stage", "percent", BUDGET, "when", "by", "why", "approvals")
_REQUIRED: Final = ("version", "content", "stage", "when", "by", "why")
_CONTENT: Final = re.compile(r"[0-9a-f]{16}\Z")
_HEAD: Final = """\
# Written by `antifraud rules lock` and `antifraud rules promote`, never by hand. docs/how-to/promote-a-rule.md
# For each rule: its version, what it decides (a checksum without the texts), how far it is in force, who decided that.
"""


class LockEntry(msgspec.Struct, frozen=True):
    """What was last decided about one rule. ``when`` is a time in UTC as text; ``percent`` is 100 except at canary.

    ``budget`` is how many honest calls in a million the rule may hit; None: nothing was decided about that.
    """

    version: int
    content: str
    stage: Stage
    percent: float
    when: str
    by: str
    why: str
    approvals: tuple[str, ...] = ()
    budget: float | None = None


Lock = Mapping[str, LockEntry]
"""Rule id → what was decided."""


def content_of(rule: Rule, source: RuleSource) -> str:
    """A checksum of what the rule decides: condition, parameters, windows of its own, exceptions, verdict and target;
    no texts, no layout.

    It is made from the words of the file, so that it stays the same when the engine changes inside.
    """
    exceptions = sorted(
        f"{_condition(item['when'].value)} until {ends!r}"
        for item, ends in zip(source.exceptions(), [item.ends for item in rule.unless], strict=True)
    )
    parts = [
        f"verdict {rule.verdict} {rule.target}"
        + (f" {rule.code}" if rule.code else "")
        + (f" block_caller {rule.block_caller_s:g}" if rule.block_caller_s else "")
        + (f" on {rule.on}" if rule.on != SETUP else ""),
        f"when {_condition(source.text('when'))}",
        *(f"param {name} {shown_value(value)}" for name, value in sorted(rule.params.items())),
        *(f"window {said(node)}" for _name, node in sorted(source.own_windows().items())),
        *(f"unless {item}" for item in exceptions),
    ]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _condition(text: str) -> str:
    return "\x1f".join(canonical_tokens(text) or (text,))


def read_lock(sheet: Sheet) -> Lock:
    """The lock that a sheet holds; BundleError when it cannot be used."""
    root = parse_sheet(sheet, max_nodes=_MAX_NODES)
    entries: dict[str, LockEntry] = {}
    if root is not None:
        top = form.keys(sheet, root, "the lock", ("format", "rules"), ("format", "rules"))
        if "format" in top and form.number(sheet, top["format"][1], "format") != FORMAT and not sheet.problems:
            sheet.problems.append(
                Finding.LOCK_UNREADABLE.at(sheet, top["format"][1], reason=f"its format is not {FORMAT}")
            )
        if "rules" in top and not sheet.problems:
            for name, (_key, node) in (form.mapping(sheet, top["rules"][1], "rules") or {}).items():
                entry = _entry(sheet, node)
                if entry is not None:
                    entries[name] = entry
    if sheet.problems:
        first = sheet.sorted_problems()[0]
        if first.code == Finding.LOCK_UNREADABLE.code:
            raise BundleError.of([first])
        where = first.where or Location(sheet.name)
        line = sheet.line(where.line)
        raise BundleError.of([Finding.LOCK_UNREADABLE.problem(where, line=line, reason=first.message)])
    return entries


def _entry(sheet: Sheet, node: Node) -> LockEntry | None:
    found = form.keys(sheet, node, "an entry", _KEYS, _REQUIRED)
    if not set(_REQUIRED) <= found.keys():
        return None
    texts = {key: form.text(sheet, found[key][1], key, 2_000, digits=True) for key in ("content", "when", "by", "why")}
    version = form.number(sheet, found["version"][1], "version")
    stage = form.choice(sheet, found["stage"][1], "stage", STAGES)
    percent = form.number(sheet, found["percent"][1], "percent") if "percent" in found else 100.0
    budget = form.number(sheet, found[BUDGET][1], BUDGET) if BUDGET in found else None
    approvals: list[str] = []
    for item in form.items(sheet, found["approvals"][1], "approvals", 16) if "approvals" in found else ():
        name = form.text(sheet, item, "an approval", 128, digits=True)
        approvals += [name] if name is not None else []
    content, when, by, why = (texts[key] or "" for key in ("content", "when", "by", "why"))
    if sheet.problems or version is None or stage is None or percent is None:
        return None
    if not _CONTENT.match(content) or version < 1 or version != int(version):
        key = "content" if version >= 1 else "version"
        sheet.problems.append(Finding.LOCK_UNREADABLE.at(sheet, found[key][1], reason=f"its {key} is damaged"))
        return None
    return LockEntry(int(version), content, Stage(stage), percent, when, by, why, tuple(approvals), budget)


def write_lock(lock: Lock) -> str:
    """The file's text."""
    lines = [_HEAD + f"format: {FORMAT}", "rules:" if lock else "rules: {}"]
    for name, entry in sorted(lock.items()):
        lines += [
            f"  {name}:",
            f"    version: {entry.version}",
            f'    content: "{entry.content}"',
            f"    stage: {entry.stage.value}",
        ]
        if entry.stage is Stage.CANARY:
            lines.append(f"    percent: {shown_value(entry.percent)}")
        if entry.budget is not None:
            lines.append(f"    {BUDGET}: {shown_value(entry.budget)}")
        lines += [f"    when: {entry.when}", f"    by: {quoted(entry.by)}", f"    why: {quoted(entry.why)}"]
        if entry.approvals:
            lines.append(f"    approvals: [{', '.join(quoted(name, flow=True) for name in entry.approvals)}]")
    return "\n".join([*lines, ""])


def compare_with_lock(rules: RuleSet, lock: Lock, sources: Sources, name: str) -> list[RuleProblem]:
    """Where rule files and lock disagree. ``name`` is the lock's file as shown to people."""
    found: list[RuleProblem] = []
    for rule in rules.rules:
        source = sources(rule)
        entry = lock.get(rule.id)
        stage = source.node("rollout", "stage")
        if entry is None:
            if rule.stage in LIVE:
                first = "enforce" if rule.verdict == "protect" else "shadow"
                values = {"stage": rule.stage.value, "rule": rule.id, "first": first}
                found.append(Finding.LOCK_UNKNOWN.at(source.sheet, stage, **values))
            continue
        if entry.stage is not rule.stage:
            values = {"stage": rule.stage.value, "locked": entry.stage.value, "rule": rule.id}
            found.append(Finding.LOCK_STAGE.at(source.sheet, stage, **values))
        elif rule.stage is Stage.CANARY and entry.percent != rule.percent:
            node = source.node("rollout", "percent")
            shares = {"percent": shown_value(rule.percent), "locked": shown_value(entry.percent), "rule": rule.id}
            found.append(Finding.LOCK_PERCENT.at(source.sheet, node, **shares))
        if rule.stage in ACTING and budget_raised(rule, entry):
            node = source.node("rollout", BUDGET)
            locked = "none" if entry.budget is None else shown_value(entry.budget)
            budgets = {"budget": shown_value(rule.false_hits_per_million or 0.0), "locked": locked, "rule": rule.id}
            found.append(Finding.LOCK_BUDGET.at(source.sheet, node, **budgets))
        if rule.stage in LIVE and content_of(rule, source) != entry.content:
            place = source.entry("when")
            assert place is not None, "a rule that was read has a condition"
            values = {"version": str(entry.version), "rule": rule.id}
            found.append(Finding.LOCK_CHANGED.at(source.sheet, place[0], **values))
    known = {rule.id for rule in rules.rules}
    found += [Finding.LOCK_GONE.problem(Location(name), rule=gone) for gone in sorted(set(lock) - known)]
    return found


def budget_raised(rule: Rule, entry: LockEntry) -> bool:
    """Whether the rule may hit more honest calls by its file than by the lock. One that may hit fewer is stricter."""
    budget = rule.false_hits_per_million
    return budget is not None and (entry.budget is None or budget > entry.budget)


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same but for capitals and spaces."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def approvers(by: str, approvals: Iterable[str]) -> tuple[str, ...]:
    """Those of ``approvals`` who are somebody else than ``by``, each once."""
    found: list[str] = []
    for name in approvals:
        if name.strip() and not any(same_person(name, other) for other in (by, *found)):
            found.append(name.strip())
    return tuple(found)
