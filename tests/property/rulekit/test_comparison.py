"""A change that is called patch or minor never makes a call be stopped that was not stopped before."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from antifraud.domain import Location, Stage
from antifraud.rulekit.comparison import Comparison, compare
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.lists import ListFile, read_list
from antifraud.rulekit.rule import Rule, RuleException
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.texts import LocalText, ReasonText, Template
from antifraud.rulekit.tree import And, Between, Compare, Condition, Listed, Literal, Not, OneOfParam, Or, Param, Prefix

from ...unit.rulekit.workbench import list_text
from .conditions import FIELDS, ORDER, SLOTS
from .test_reasoning import close, close_rows

BRISK = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
N0, N1, T0 = SLOTS["n0"], SLOTS["n1"], SLOTS["caller"]
PARAMS: dict[str, Any] = {"number": 2.0, "words": ("a", "b"), "more": 1.0}

leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(
        Compare, st.sampled_from(("<", "<=", ">", ">=")), st.just(N0), st.sampled_from((0.0, 1.0, 2.0)).map(Literal)
    ),
    st.builds(Compare, st.sampled_from(("<", ">=")), st.just(N0), st.just(Param("number", "number"))),
    st.builds(Compare, st.sampled_from(("<", ">=")), st.just(N1), st.just(Param("more", "number"))),
    st.builds(Between, st.just(N1), st.just(Param("more", "number")), st.just(Param("number", "number"))),
    st.just(OneOfParam(T0, Param("words", "texts"))),
    st.just(Prefix(T0, Param("words", "texts"))),
    st.just(Listed(T0, "known", SLOTS["ts"])),
    close,
)
whens = st.one_of(
    leaves,
    leaves.map(Not),
    st.lists(leaves, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
    st.lists(leaves, min_size=2, max_size=2).map(lambda terms: Or(tuple(terms))),
)
ends = st.sampled_from((1.0, 3.0, 1e12))
exceptions = st.builds(RuleException, st.sampled_from(("one", "two")), st.just("us"), leaves, ends)
stages = st.sampled_from([*Stage, Stage.CANARY, Stage.ENFORCE, Stage.ENFORCE])
verdicts = st.sampled_from(("protect", "label", "challenge", "divert", "block", "block"))


def rule_of(
    when: Condition, unless: tuple[RuleException, ...], verdict: str, stage: Stage, percent: float, params: Any
) -> Rule:
    text = LocalText((("", "text"),))
    unless = tuple({item.name: item for item in unless}.values())
    reason = ReasonText((), (("", Template(("reason",))),))
    return Rule(
        id="sample", pack="demo", title=text, owner="us", tags=(), why=text, false_positives=text, params=params,
        windows=(), when=when, unless=unless, verdict=verdict, label="", target="", reason=reason, stage=stage,
        percent=percent if stage is Stage.CANARY else 100.0, false_hits_per_million=20.0, by="", review_by="", tests=(),
        where=Location("sample", 1, 1),
    )  # fmt: skip


params = st.fixed_dictionaries(
    {
        "number": st.sampled_from((1.0, 2.0, 3.0)),
        "more": st.sampled_from((0.0, 1.0)),
        "words": st.sampled_from((("a",), ("a", "b"), ("ab", "b"))),
    }
)
some_rules = st.builds(
    rule_of, whens, st.lists(exceptions, max_size=2).map(tuple), verdicts, stages, st.sampled_from((5.0, 50.0)), params
)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Rule, Rule]:
    """A rule and what somebody has made of it: mostly small steps."""
    old = draw(some_rules)
    new = old
    for _ in range(draw(st.integers(1, 3))):
        what = draw(
            st.sampled_from(
                (
                    "add",
                    "add",
                    "drop",
                    "param",
                    "param",
                    "spare",
                    "spare",
                    "unspare",
                    "verdict",
                    "stage",
                    "percent",
                    "all",
                )
            )
        )
        terms = new.when.terms if isinstance(new.when, And) else (new.when,)
        change: dict[str, Any] = {}
        if what == "add":
            change = {"when": And((*terms, draw(leaves)))}
        elif what == "drop" and len(terms) > 1:
            change = {"when": terms[0] if len(terms) == 2 else And(terms[1:])}
        elif what == "param":
            name = draw(st.sampled_from(("number", "more", "words")))
            change = {"params": {**new.params, name: draw(params)[name]}}
        elif what == "spare":
            kept = {item.name: item for item in (*new.unless, draw(exceptions))}
            change = {"unless": tuple(kept.values())}
        elif what == "unspare":
            change = {"unless": new.unless[1:]}
        elif what == "verdict":
            change = {"verdict": draw(verdicts)}
        elif what == "stage":
            change = {"stage": draw(stages)}
        elif what == "percent" and new.stage is Stage.CANARY:
            change = {"percent": draw(st.sampled_from((5.0, 20.0, 50.0)))}
        elif what == "all":
            new = draw(some_rules)
        new = msgspec.structs.replace(new, **change)
    return old, new


@cache
def known(entries: str) -> ListFile:
    found = read_list(Sheet("known", list_text("known", entries, kind="user_agents")), "known")
    assert found is not None
    return found


def rules_of(rule: Rule, entries: str = "[aaaa]") -> RuleSet:
    return RuleSet([rule], [known(entries)], fields=FIELDS, windows=(), order=ORDER, digest="")


def state(rules: RuleSet, row: list[Any], params: Any, bucket: float) -> tuple[bool, bool]:
    """(is the call protected, is it diverted or blocked) for a caller of a share of callers."""
    hits = rules.evaluate(row, rules.params({"sample": params}))
    protected = any(hit.verdict == "protect" and hit.stage is Stage.ENFORCE for hit in hits)
    stopped = any(
        hit.verdict in ("divert", "block")
        and (hit.stage is Stage.ENFORCE or (hit.stage is Stage.CANARY and bucket < hit.percent))
        for hit in hits
    )
    return protected, stopped and not protected


def newly_stopped(old: RuleSet, new: RuleSet, row: list[Any], params: Any, bucket: float) -> bool:
    """Whether the call is stopped now and was not before, or was protected and can now be stopped by others."""
    was_protected, was_stopped = state(old, row, params, bucket)
    is_protected, is_stopped = state(new, row, params, bucket)
    return (is_stopped and not was_stopped) or (was_protected and not is_protected)


overrides = st.fixed_dictionaries(
    {},
    optional={
        "number": st.sampled_from((0.0, 2.0, 4.0)),
        "more": st.sampled_from((0.0, 2.0)),
        "words": st.sampled_from((("a",), ("b", "c"))),
    },
)
calls = st.lists(st.tuples(close_rows, overrides, st.sampled_from((1.0, 10.0, 30.0, 99.0))), min_size=1, max_size=8)
rows_in_time = calls.filter(lambda several: all(row[0] is not None for row, _, _ in several))


@BRISK
@given(changes(), calls)
def test_only_major_changes_stop_more_calls(pair: tuple[Rule, Rule], several: list[Any]) -> None:
    old, new = (rules_of(rule) for rule in pair)
    level = compare(old, new).level
    event(f"level: {level}")
    if level == "major":
        return
    for row, values, bucket in several:
        assert not newly_stopped(old, new, row, values, bucket), level


@BRISK
@given(changes(), rows_in_time)
def test_exceptions_that_have_ended_do_not_count(pair: tuple[Rule, Rule], several: list[Any]) -> None:
    now = 2.0
    old, new = (rules_of(rule) for rule in pair)
    if compare(old, new, now=now).level == "major":
        return
    for row, values, bucket in several:
        assert row[0] < now or not newly_stopped(old, new, row, values, bucket)


@BRISK
@given(
    some_rules,
    st.sampled_from(("[aaaa]", "[aaaa, abab]", "[bbbb]", "[]")),
    st.sampled_from(("[aaaa]", "[abab]", "[]")),
    calls,
)
def test_lists(rule: Rule, before: str, after: str, several: list[Any]) -> None:
    old, new = rules_of(rule, before), rules_of(rule, after)
    found = compare(old, new)
    assert found.rules == ()
    event(f"level: {found.level}")
    if found.level == "major":
        return
    for row, values, bucket in several:
        for text in ("xaaaax", "abab", "bbbb"):
            row = [*row[:4], text, *row[5:]]
            assert not newly_stopped(old, new, row, values, bucket)


@BRISK
@given(some_rules)
def test_nothing_is_different_from_itself(rule: Rule) -> None:
    assert compare(rules_of(rule), rules_of(rule)) == Comparison((), (), ())
