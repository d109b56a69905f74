"""Whatever is put into a condition or a file, the answer is a tree or a problem: never another error, never a hang."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from antifraud.rulekit.checker import check_condition
from antifraud.rulekit.compiler import compile_predicate
from antifraud.rulekit.documents import Excerpt, Sheet, parse_sheet, read_sheet
from antifraud.rulekit.lists import read_list
from antifraud.rulekit.rule import read_rule
from antifraud.rulekit.tree import Param, atoms_in, lists_in

from .conditions import NAMES

BRISK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

PIECES = (
    "n0",
    "n1",
    "caller",
    "b0",
    "params.number",
    "params.words",
    "lists.known",
    "params",
    "lists",
    "and",
    "or",
    "not",
    "in",
    "==",
    "!=",
    "<",
    ">=",
    "=",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "3",
    "0.5",
    "07",
    '"ab"',
    "'c'",
    '"',
    "missing(n0)",
    "between(n0, 1, 2)",
    'prefix_in(caller, ["+7"])',
    'matches(caller, "^\\+7")',
    'matches(caller, "(a+)+$")',
    "matches(",
    '"\\d"',
    '"22:00"',
    'time_between("22:00", "06:00")',
    'night("01:00", "01:00")',
    "night()",
    "weekend()",
    "holiday()",
    "true",
    "None",
    "is",
    "if",
    "lambda",
    "сaller",
    "ё",
    "\n",
    "#",
    "\\",
    "{",
    "}",
    "=>",
    ":=",
    "😀",
    "__class__",
    "eval",
    "\x00",
    "1e999",
    "9" * 30,
)


def check(text: str) -> None:
    sheet = Sheet("condition", text)
    origins = [(line, 1) for line in range(1, text.count("\n") + 2)]
    found = check_condition(Excerpt(sheet, text, origins), NAMES)
    assert (found is None) == bool(sheet.problems)
    for problem in sheet.problems:
        assert problem.where is not None
        assert problem.where.line >= 1
        assert problem.where.column >= 1
        assert problem.render()
    if found is not None and not lists_in(found) and not any(isinstance(atom, Param) for atom in atoms_in(found)):
        assert compile_predicate(found)([None] * len(NAMES.order)) in (True, False)


@BRISK
@given(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join))
def test_pieces_of_conditions(text: str) -> None:
    check(text)


@BRISK
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_pieces_without_spaces(text: str) -> None:
    check(text)


@BRISK
@given(st.text(max_size=200))
@example("(" * 4_000)
@example("[" * 3_999 + "1")
@example("not " * 900 + "b0")
@example("-" * 3_900 + "1 > n0")
@example("n0" + "+n0" * 1_200 + "> 1")
@example("n0 < " + "1 + (" * 15 + "n1" + ")" * 15)
@example("b0 and " * 500 + "b0")
@example("n0 < " * 500 + "n1")
@example("9" * 4_000)
@example("x" * 1_000_000)
@example('"' + "a" * 3_990 + '" == caller')
@example('matches(caller, "' + "(" * 250 + '")')
@example('matches(caller, "' + "[" * 250 + '")')
@example('matches(caller, "' + "((a{1,30}){1,30}){1,30}" * 10 + '")')
@example("matches(caller, '\\\\\\')")
@example('matches("\\", caller)')
@example("matches(" * 15 + "caller" + ', "a")' * 15)
def test_any_text(text: str) -> None:
    check(text)


LINES = (
    "rule: x",
    "when: |\n  n0 > 1",
    "- a",
    "a: b",
    "? a",
    "&a b",
    "*a",
    "!!int 3",
    "'",
    '"',
    "{",
    "[",
    "}",
    "]",
    "tests:",
    "  - name: x",
    "---",
    "...",
    "%TAG",
    "\t",
    "a: [",
    ": :",
    "- - - -",
    "|",
    ">",
    "+7700",
    "<<: {a: b}",
    "\u2028",
    "\x85",
    "#",
    "@",
    "`",
    "then: {verdict: block, reason: '{caller'}",
    "entries: [a, {value: b}]",
    "list: x",
    "kind: trunks",
)
SHAPES = st.lists(st.sampled_from(LINES), max_size=20).map("\n".join)


@BRISK
@given(st.one_of(SHAPES, st.text(max_size=300)))
def test_any_yaml(text: str) -> None:
    for read in (
        lambda sheet: read_rule(sheet, "demo", "x", NAMES),
        lambda sheet: read_list(sheet, "x"),
    ):
        sheet = Sheet("x.yaml", text)
        found = read(sheet)
        assert found is None or not sheet.problems or hasattr(found, "entries")
        if found is None:
            assert sheet.problems
        assert all(problem.render() for problem in sheet.problems)


@BRISK
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(raw)
        sheet, _raw = read_sheet(path, limit=1_000)
        if parse_sheet(sheet, max_nodes=100) is None:
            assert sheet.problems
