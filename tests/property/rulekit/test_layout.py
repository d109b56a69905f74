"""The canonical form keeps what is said and every comment, and is its own canonical form."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from antifraud.domain import BundleError, Stage
from antifraud.rulekit.checker import Names
from antifraud.rulekit.condition_layout import canonical_tokens, comments_of, layout_condition
from antifraud.rulekit.documents import Sheet, parse_sheet
from antifraud.rulekit.layout import WIDTH, layout_file
from antifraud.rulekit.lists import read_list
from antifraud.rulekit.promotion import with_rollout
from antifraud.rulekit.reasoning import bare
from antifraud.rulekit.rule import Rule, read_rule
from antifraud.rulekit.ruleset import load_rules
from antifraud.rulekit.sources import RuleSource
from antifraud.rulekit.tree import Condition

from ...unit.rulekit.workbench import RULES, vocabulary
from .conditions import check, conditions, write

BRISK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
_TOKEN = re.compile(r'"[^"\n]*"|\w+(?:\.\w+)*|[=!<>]=|\S')
_GAPS = (" ", " ", " ", "  ", "\n", "\n  ", "  # why\n", "\n# on a line of its own\n", " #x\n\n  #y\n")


@st.composite
def written_conditions(draw: st.DrawFn) -> tuple[Condition, str]:
    """A condition and one of the ways in which a person may have written it."""
    condition = draw(conditions)
    tokens = _TOKEN.findall(write(condition))
    gaps = draw(st.lists(st.sampled_from(_GAPS), min_size=len(tokens), max_size=len(tokens)))
    text = "".join(token + gap for token, gap in zip(tokens, gaps, strict=True))
    return condition, draw(st.sampled_from(("", "# at first\n"))) + text


@BRISK
@given(written_conditions(), st.sampled_from((20, 60, 118)))
def test_conditions(found: tuple[Condition, str], room: int) -> None:
    _condition, text = found
    lines = layout_condition(text, room)
    laid_out = "\n".join(lines)
    assert layout_condition(laid_out, room) == lines
    assert canonical_tokens(laid_out) == canonical_tokens(text)
    assert sorted(comments_of(laid_out)) == sorted(comments_of(text))
    assert not any(line != line.rstrip() for line in lines)
    assert not lines[0].startswith(" ")
    try:
        before = check(text)
    except BundleError:
        return  # random trees can be larger than people's
    assert bare(check(laid_out)) == bare(before)


@given(st.text(max_size=60))
def test_any_text_is_taken(text: str) -> None:
    lines = layout_condition(text, 40)
    if canonical_tokens(text) is not None:
        assert layout_condition("\n".join(lines), 40) == lines


# Whole files

PLAIN = """\
when: 'hour>1 and   trunk_class=="international"'   # the condition
rule: sample
# about the title
title: {ru: "текст: с двоеточием", en: 'it''s "so"'}

owner: 'a b'
params: {b: 3, a: [x, "1"], c: True}
tags:
- kz
- "no"
why: a very long text, of which nobody can say that it fits into one line, having so many words that it must be broken
false_positives: |
  two lines,

  and an empty one between
unless:
- until: '2027-01-01'
  when: |
    # spared
    trunk in ["lab",
      'x',]
  owner: me   # who?
  name: lab
then: {reason: 'why: "{caller}" called at {params.b} {params.a} {params.c}', verdict: 'block'}
rollout: {stage: 'canary', percent: 5, by: "me: myself"}
tests:
- {expect: hit, name: one, given: {hour: 3, caller: '+77000000001', trunk: ~, ts: 2026-01-01T12:00:00+05:00}}
-   name: two
    like: one
    given:
      hour: 1   # too early
      trunk: "null"
    expect: no_hit
- expect: hit
  events:
  - {callee: '+770100000##', at: 0s, every: 1m 30s, repeat: 12, imei: ~, roaming: True}
  # and then
  - callee: "112"
    kind: setup   # the last one
    call: 'a'
    at: 1h
  judge: "a"
  each: {user_agent: 'Phone #7', caller: "+77000000001"}
  starts: 2026-01-01T12:00:00+05:00
  country: 'KZ'
  name: three
"""
LIST = """\
list: sample
title: a list
kind: numbers
source: 'x'
owner: us
entries:
# first
- '+7 700 000 00 01'
- {until: "2027-01-01", value: "+77000000002", note: "a, b"}  # second

# third
- value: "112"
  note: a very long note, about which nobody can say that it fits into one line, with so many words that it breaks
"""


@cache
def documents() -> tuple[str, ...]:
    """Files to begin with: the shipped ones and two in a form that nobody would choose."""
    paths = sorted([*RULES.glob("packs/*/*.yaml"), *RULES.glob("lists/*.yaml")])
    return (*(path.read_text(encoding="utf-8") for path in paths), PLAIN, LIST)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file with comments and empty lines put in at random places, and its keys in another order."""
    lines = draw(st.sampled_from(documents())).split("\n")[:-1]
    if draw(st.booleans()):
        starts = [number for number, line in enumerate(lines) if line[:1].isalpha()]
        blocks = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
        lines = [*lines[: starts[0]], *(line for block in draw(st.permutations(blocks)) for line in block)]
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(lines)))
        kind = draw(st.sampled_from(("own", "behind", "empty")))
        if kind == "behind" and place < len(lines):
            lines[place] += draw(st.sampled_from(("  # note", " #note")))
        elif kind == "own":
            lines.insert(place, " " * draw(st.integers(0, 8)) + draw(st.sampled_from(("# word", "#word", "#"))))
        else:
            lines.insert(place, "")
    return "\n".join(lines) + draw(st.sampled_from(("", "\n", "\n\n")))


@cache
def names() -> Names:
    fields, windows, order = vocabulary()
    return load_rules(RULES, fields=fields, windows=windows, order=order).names


def said(text: str) -> Any:
    """What a file says, places and layout apart; None when it is refused."""
    if "\nlist:" in f"\n{text}":
        sheet = Sheet("sample", text)
        found = read_list(sheet, re.search(r"^list: *(\w+)", text, re.MULTILINE)[1])  # type: ignore[index]
        if found is None or sheet.problems:
            return None
        plain = [(entry, ends) for entry, ends, _line in found.entries.plain()]
        return (found.name, found.kind, found.protects, found.owner, found.source, found.title, plain)
    sheet = Sheet("sample", text)
    name = re.search(r"^rule: *(\w+)", text, re.MULTILINE)
    rule = read_rule(sheet, "demo", name[1] if name is not None else "", names())
    return without_places(rule) if rule is not None else None


def without_places(rule: Rule) -> Any:
    tests = [
        (test.name, dict(test.given), dict(test.params), test.expect_hit, test.stream and test.stream.said())
        for test in rule.tests
    ]
    return bare(msgspec.structs.replace(rule, tests=(), where=None)), tests  # type: ignore[arg-type]


@BRISK
@given(files())
def test_whole_files(text: str) -> None:
    sheet = Sheet("sample", text)
    root = parse_sheet(sheet, max_nodes=10_000)
    assume(root is not None and not sheet.problems)
    sheet = Sheet("sample", text)
    laid_out = layout_file(sheet)
    assert laid_out is not None, [problem.render() for problem in sheet.problems]
    assert layout_file(Sheet("sample", laid_out)) == laid_out
    assert said(laid_out) == said(text)
    assert laid_out.endswith("\n")
    assert not laid_out.startswith("\n")


@BRISK
@given(
    files(),
    st.lists(st.tuples(st.sampled_from([Stage.DRAFT, Stage.SHADOW, Stage.CANARY]), st.integers(1, 99)), max_size=3),
)
def test_an_edited_rollout_keeps_everything_else(text: str, steps: list[tuple[Stage, int]]) -> None:
    assume("\nrule:" in f"\n{text}" and said(text) is not None)
    words = sorted(re.findall(r"#[^\n]*", text))
    for stage, percent in steps:
        before = RuleSource.parse("sample", text)
        try:
            text = with_rollout(before, stage, float(percent), "some: body")
        except BundleError as error:
            raise AssertionError(text) from error
        after = RuleSource.parse("sample", text)
        assert after.text("rollout", "stage") == stage.value
        assert after.text("rollout", "percent") == (str(percent) if stage is Stage.CANARY else "")
        assert sorted(re.findall(r"#[^\n]*", text)) == words


def test_long_lines_are_rare() -> None:
    for text in documents():
        laid_out = layout_file(Sheet("sample", text))
        assert laid_out is not None
        long = [line for line in laid_out.split("\n") if len(line) > WIDTH]
        assert all("{" in line or line.lstrip().startswith("#") for line in long), long


def test_the_shipped_files_are_in_form() -> None:
    paths = sorted([*RULES.glob("packs/*/*.yaml"), *RULES.glob("lists/*.yaml")])
    assert paths
    for path in paths:
        text = Path(path).read_text(encoding="utf-8")
        assert layout_file(Sheet(str(path), text)) == text, path
