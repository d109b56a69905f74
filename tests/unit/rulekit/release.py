"""Rules in force, locks and decisions for the tests of lock, promotion, comparison and cross-checks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from antifraud.rulekit import RuleSet
from antifraud.rulekit.lock import Lock, LockEntry, content_of
from antifraud.rulekit.promotion import Decision
from antifraud.rulekit.sources import RuleSources

from .workbench import load, write

RULE = """\
rule: {name}
title: a rule for a test
owner: tests
why: because
false_positives: none
{params}when: |
{when}
{unless}then:
  verdict: {verdict}
{then}  reason: {reason}
rollout:
  stage: {stage}
{rollout}tests:
  - name: late
    given: {{hour: 23, caller_calls_1h: 50}}
    expect: hit
  - name: early
    like: late
    given: {{hour: 3}}
    expect: no_hit
  - name: few calls
    like: late
    given: {{caller_calls_1h: 1}}
    expect: no_hit
"""
WHEN = "hour > 22\nand caller_calls_1h >= params.calls"
PARAMS = "params:\n  calls: 20\n"
BUDGET = "  false_hits_per_million: 20\n"


def rule(
    name: str = "sample",
    *,
    when: str = WHEN,
    params: str = PARAMS,
    unless: str = "",
    verdict: str = "block",
    reason: str = "a reason",
    stage: str = "shadow",
    rollout: str = "",
) -> str:
    """A rule with tests."""
    block = "\n".join(f"  {line}" for line in when.split("\n"))
    then = "  label: a label\n" if verdict == "label" else ""
    return RULE.format(
        name=name,
        params=params,
        when=block,
        unless=unless,
        verdict=verdict,
        then=then,
        reason=reason,
        stage=stage,
        rollout=rollout,
    )


def exception(name: str = "lab", *, when: str = 'trunk == "lab"', until: str = "2027-01-01") -> str:
    """The key unless with one exception."""
    return f"unless:\n  - name: {name}\n    when: {when}\n    owner: tests\n    until: {until}\n"


def rules(folder: Path, *texts: str, **lists: str) -> RuleSet:
    """The rules of some texts, loaded from files; files of an earlier call are gone."""
    for path in [*folder.glob("packs/demo/*.yaml"), *folder.glob("lists/*.yaml")]:
        path.unlink()
    files = {f"packs/demo/{text.split()[1]}.yaml": text for text in texts}
    return load(write(folder, {**files, **{f"lists/{name}.yaml": text for name, text in lists.items()}}))


def day(words: str) -> float:
    """The epoch second at which a day begins."""
    return dt.datetime.combine(dt.date.fromisoformat(words), dt.time(), dt.UTC).timestamp()


def decision(*approvals: str, by: str = "Ann", today: str = "2026-12-01") -> Decision:
    """Ann decides."""
    return Decision(by, "it is time", approvals, "2026-12-01T09:00:00Z", day(today))


def locked(found: RuleSet) -> Lock:
    """The lock that agrees with the files."""
    sources = RuleSources()
    return {
        item.id: LockEntry(
            1,
            content_of(item, sources(item)),
            item.stage,
            item.percent,
            "2026-11-01T09:00:00Z",
            "Ann",
            "first",
            budget=item.false_hits_per_million,
        )
        for item in found.rules
    }
