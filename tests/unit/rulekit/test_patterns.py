"""matches(text, "pattern"): what is found, what a missing text means, what is refused and where it points."""

from __future__ import annotations

import time

import pytest

from antifraud.domain import BundleError, Location
from antifraud.rulekit import RuleProblem, compile_where
from antifraud.rulekit.patterns import MAX_LENGTH, find_fault, finder

from .test_logic import holds, unknown
from .workbench import vocabulary


def problem(condition: str) -> RuleProblem:
    """The one thing that is wrong with the condition."""
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where(condition, Location("w", 1, 1), fields, order, "setup")
    (found,) = caught.value.problems
    assert isinstance(found, RuleProblem)
    return found


def pointed(condition: str) -> str:
    """The characters of the condition that the problem points at."""
    found = problem(condition)
    assert found.where is not None
    return condition[found.where.column - 1 :][: found.width]


def test_a_pattern_is_looked_for_anywhere() -> None:
    assert holds('matches(user_agent, "phone")', user_agent="Linphone/5.2")
    assert not holds('matches(user_agent, "^phone")', user_agent="Linphone/5.2")
    assert not holds('matches(user_agent, "phone$")', user_agent="Linphone/5.2")
    assert holds('matches(user_agent, "^[A-Z][a-z]+/[0-9.]+$")', user_agent="Linphone/5.2")


def test_the_beginning_is_that_of_the_text_and_not_of_a_line() -> None:
    assert not holds('matches(user_agent, "^evil")', user_agent="good\nevil")
    assert not holds('matches(user_agent, "good.evil")', user_agent="good\nevil")


def test_a_missing_text_is_unknown() -> None:
    assert unknown('matches(user_agent, "phone")')
    assert unknown('not matches(user_agent, "phone")')
    assert holds('not matches(user_agent, "phone")', user_agent="Kamailio")
    assert holds('not matches(user_agent, "x")', user_agent="")


def test_capitals_matter_unless_the_pattern_says_otherwise() -> None:
    assert not holds('matches(user_agent, "linphone")', user_agent="Linphone")
    assert holds('matches(user_agent, "(?i)linphone")', user_agent="Linphone")
    assert holds('matches(user_agent, "(?i)ҚАЗАҚ")', user_agent="қазақтелеком")


def test_a_backslash_is_a_backslash_in_a_pattern_and_nowhere_else() -> None:
    assert holds(r'matches(caller, "^\+7700\d{7}$")', caller="+77001234567")
    assert holds(r"matches(caller, '^\+77') and not matches(caller, '\\')", caller="+77001234567")
    assert holds('matches(user_agent, "\\\\")', user_agent="a\\")
    assert not holds(r'matches(caller, "\x01")', caller="\\x01")
    assert problem(r'caller == "a\d" and matches(caller, "\d")').code == "condition-backslash"
    assert problem(r'matches(caller, "\d") and caller in ["\d"]').code == "condition-backslash"


def test_a_character_is_a_character_in_any_script() -> None:
    assert holds('matches(user_agent, "^.{3}$")', user_agent="қаз")
    assert not holds('matches(user_agent, "[0-9]")', user_agent="٣")


def test_half_of_a_surrogate_pair_is_just_no_match() -> None:
    assert not holds('matches(user_agent, "phone")', user_agent="\ud800")
    assert holds('matches(user_agent, "phone")', user_agent="\ud800phone")


@pytest.mark.parametrize(
    ("pattern", "at", "reason"),
    [
        ("^[0-9", "[", "a [ is never closed"),
        ("ab(cd|(e)", "(", "a ( is never closed"),
        ("a[)]b)c", ")", "a ) closes nothing"),
        ("a**", "**", "two repetitions stand side by side"),
        ("*a", "*", "there is nothing before this sign to repeat"),
        ("a|+7", "+", "there is nothing before this sign to repeat"),
        ("[z-a]", "z-a", "this range of characters does not exist"),
        ("x{2000}", "{2000}", "this repeats too often, or the numbers stand the wrong way round"),
        ("ab(?=c)", "(?=", "looking ahead and behind is not possible"),
        (r"(a)\1", r"\1", "this backslash has no meaning"),
        ("a\\", "\\", "a backslash stands at the end"),
        ("(?P<n", "(?P<n", "this group cannot be read"),
        (r"(\pL{1,100}){9}", "(", "it becomes too large"),
        (r"\pL{100}", r"\pL", "it becomes too large"),
    ],
)
def test_a_bad_pattern_is_shown_where_it_is_bad(pattern: str, at: str, reason: str) -> None:
    condition = f'hour > 3\nand matches(user_agent, "{pattern}")'.replace("\n", " ")
    found = problem(condition)
    assert found.code == "pattern-bad"
    assert found.message == f"this pattern cannot be used: {reason}"
    assert found.hint
    assert pointed(condition).startswith(at)


def test_the_odd_bracket_is_the_one_without_a_partner() -> None:
    fault = find_fault(r"(a)[(]\((b")
    assert fault is not None
    assert fault.start == 8


@pytest.mark.parametrize("pattern", ["", ".*", "a*", "x?", "(a|)", "^", "$"])
def test_a_pattern_that_says_nothing_is_refused(pattern: str) -> None:
    assert problem(f'matches(user_agent, "{pattern}")').code == "pattern-always"


@pytest.mark.parametrize("pattern", ["^$", "^.{0,5}$", "^[0-9]*$", "."])
def test_a_pattern_that_says_something_is_not(pattern: str) -> None:
    assert holds(f'matches(user_agent, "{pattern}") or true == roaming', user_agent="1", roaming=True)


def test_a_pattern_has_a_length() -> None:
    assert problem(f'matches(user_agent, "{"a" * (MAX_LENGTH + 1)}")').code == "text-too-long"
    assert holds(f'not matches(user_agent, "{"a" * MAX_LENGTH}")', user_agent="a")


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ('matches("abc", "b")', "constant-term"),
        ('matches(hour, "b")', "wrong-type"),
        ("matches(user_agent, params.x)", "pattern-not-written"),
        ('matches(user_agent, ["a"])', "pattern-not-written"),
        ('matches(user_agent, "a" + "b")', "pattern-not-written"),
        ("matches(user_agent)", "argument-count"),
        ('Matches(user_agent, "a")', "word-case"),
    ],
)
def test_what_cannot_be_asked(condition: str, code: str) -> None:
    assert problem(condition).code == code


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){12}$", "([a-zA-Z]+)*$", "(x+x+)+y"])
def test_the_bombs_of_other_engines_take_time_in_proportion_to_the_text(pattern: str) -> None:
    find = finder(pattern)
    text = "a" * 60_000 + "!"
    begun = time.perf_counter()
    find(text + "b")
    assert time.perf_counter() - begun < 1.0


def test_the_memory_of_answers_is_bounded_and_changes_none() -> None:
    find = finder("^bound[0-9]+7$")
    for number in range(10_000):
        assert find(f"bound{number}") == (number % 10 == 7 and number > 7)
    assert find("bound17")
