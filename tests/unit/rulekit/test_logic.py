"""What the language reference says about missing values, calculation and names, case by case."""

from __future__ import annotations

import pytest

from antifraud.domain import BundleError, Location
from antifraud.rulekit import Field, LocalText, RuleProblem, combine_where, compile_where
from antifraud.rulekit.compiler import MAX_COMBINED, Predicate

from .workbench import row, vocabulary

KINDS = ("setup", "answer", "release", "report")


def predicate(condition: str, on: str = "release") -> Predicate:
    """The compiled condition of a window that counts events of the kind ``on``."""
    fields, _windows, order = vocabulary()
    return compile_where(condition, Location("test", 1, 1), fields, order, on)


def holds(condition: str, on: str = "release", **given: object) -> bool:
    """Whether the compiled condition is true of a call; also that its opposite is consistent with it."""
    call = row(**given)
    true = predicate(condition, on)(call)
    false = predicate(f"not ({condition})", on)(call)
    assert not (true and false)
    return true


def unknown(condition: str, on: str = "release", **given: object) -> bool:
    """Whether the condition is neither true nor false of a call."""
    return not holds(condition, on, **given) and not holds(f"not ({condition})", on, **given)


@pytest.mark.parametrize(
    "condition",
    [
        "talk_s < 10",
        "talk_s == 10",
        "talk_s != 10",
        "talk_s + ring_s > 0",
        "-talk_s < 0",
        "talk_s in [1, 2]",
        "talk_s not in [1, 2]",
        'caller == "+77000000001"',
        'caller != "+77000000001"',
        'prefix_in(caller, ["+7"])',
        'not prefix_in(caller, ["+7"])',
        "roaming",
        "not roaming",
        "roaming == false",
        "between(talk_s, 1, 2)",
        "1 < talk_s < 2",
        "caller == callee",
        "caller != callee",
    ],
)
def test_a_missing_value_makes_a_comparison_unknown(condition: str) -> None:
    assert unknown(condition)


def test_missing_itself_is_always_known() -> None:
    assert holds("missing(talk_s)")
    assert not holds("missing(talk_s)", talk_s=3.0)
    assert holds("not missing(talk_s)", talk_s=3.0)


def test_and_or_with_unknown() -> None:
    assert holds("hour > 3 or talk_s > 1", hour=5.0)
    assert unknown("hour > 3 and talk_s > 1", hour=5.0)
    assert holds("not (hour > 3 and talk_s > 1)", hour=1.0)
    assert unknown("hour > 3 or talk_s > 1", hour=1.0)


def test_no_equality_holds_between_two_missing_texts() -> None:
    assert unknown("caller == callee")
    assert holds("caller == callee", caller="1", callee="1")


@pytest.mark.parametrize("condition", ["talk_s / ring_s > 1", "talk_s / ring_s != 1", "talk_s / ring_s in [1, 2]"])
def test_division_by_zero_is_missing(condition: str) -> None:
    assert unknown(condition, talk_s=5.0, ring_s=0.0)
    assert not unknown(condition, talk_s=5.0, ring_s=2.0)


@pytest.mark.parametrize("sign", ["==", "!=", "<", ">="])
def test_a_calculation_without_a_result_is_missing(sign: str) -> None:
    huge = "talk_s * talk_s - talk_s * talk_s"
    assert unknown(f"{huge} {sign} 0", talk_s=1e200)
    assert not unknown(f"{huge} {sign} 0", talk_s=1.0)


def test_chained_comparisons() -> None:
    assert holds("9 <= hour < 18", hour=9.0)
    assert not holds("9 <= hour < 18", hour=18.0)
    # The first half settles it, whatever the missing half would be.
    assert holds("not (10 < hour < talk_s)", hour=5.0)


def test_precedence_is_that_of_arithmetic_then_comparison_then_not_and_or() -> None:
    assert holds("hour + 2 * 3 == 11 or missing(hour) and missing(caller)", hour=5.0)
    assert holds("not hour > 3 or hour == 5", hour=5.0)
    assert not holds("not (hour > 3 or hour == 5)", hour=5.0)


def test_conditions_over_several_lines_with_comments() -> None:
    text = "hour > 22   # late\n  or hour < 6\n  # or at lunch\n"
    assert holds(text, hour=23.0)
    assert not holds(text, hour=12.0)


def test_true_and_false_in_both_spellings() -> None:
    for word in ("true", "True"):
        assert holds(f"roaming == {word}", roaming=True)
        assert holds(f"roaming != {word}", roaming=False)


def test_numbers_with_separators_and_exponents() -> None:
    assert holds("talk_s == 1_000", talk_s=1000.0)
    assert holds("talk_s == 1e3", talk_s=1000.0)
    assert holds("talk_s == +1000.0", talk_s=1000.0)
    assert holds("talk_s > -0.5", talk_s=0.0)


@pytest.mark.parametrize(
    ("since", "kinds"),
    [
        ("setup", ("setup", "answer", "release", "report")),
        ("answer", ("answer", "release")),
        ("release", ("release",)),
        ("report", ("report",)),
    ],
)
def test_which_events_carry_a_field(since: str, kinds: tuple[str, ...]) -> None:
    field = Field("x", "number", since, LocalText((("", "x"),)))
    for kind in KINDS:
        assert field.known_at(kind) == (kind in kinds)
        if kind in kinds:
            assert compile_where("x > 1", Location("w", 1, 1), {"x": field}, ("x",), kind)([2.0])
            continue
        with pytest.raises(BundleError) as caught:
            compile_where("x > 1", Location("w", 1, 1), {"x": field}, ("x",), kind)
        (problem,) = caught.value.problems
        assert isinstance(problem, RuleProblem)
        assert problem.code == "not-known-at"
        assert problem.message == f"x is not known at {kind}"
        assert problem.hint == f"it is known at {' and '.join(kinds)}: write `on: {kinds[0]}`"


@pytest.mark.parametrize("on", KINDS)
def test_the_local_hour_may_be_read_at_every_event(on: str) -> None:
    night = "hour >= 23 or hour < 6"
    assert holds(night, on, hour=23.0)
    assert holds(night, on, hour=0.0)
    assert not holds(night, on, hour=6.0)
    assert unknown(night, on)


def test_what_a_report_and_a_release_carry() -> None:
    assert holds('label == "fraud"', "report", label="fraud")
    assert not holds('label == "fraud"', "report", label="ok")
    assert holds("cause == 16", "release", cause=16)
    assert holds("missing(cause)", "release")


@pytest.mark.parametrize(
    ("condition", "on"),
    [
        ("talk_s < 10", "report"),
        ("cause == 16", "answer"),
        ("missing(cause)", "setup"),
        ("between(ring_s, 1, 2)", "setup"),
        ("weight + hour > 3", "release"),
        ("weight in [1, 2]", "setup"),
        ('prefix_in(label, ["fr"])', "release"),
    ],
)
def test_a_window_cannot_read_what_its_event_does_not_carry(condition: str, on: str) -> None:
    with pytest.raises(BundleError) as caught:
        predicate(condition, on)
    assert [problem.code for problem in caught.value.problems if isinstance(problem, RuleProblem)] == ["not-known-at"]


def test_every_unknown_field_of_a_window_is_named_in_one_pass() -> None:
    with pytest.raises(BundleError) as caught:
        predicate('talk_s < 10 or caller == "1" and label == "fraud"', "setup")
    assert [(problem.where.column, problem.hint) for problem in caught.value.problems if problem.where] == [
        (1, "it is known at release: write `on: release`"),
        (34, "it is known at report: write `on: report`"),
    ]


def test_conditions_combine_into_one_mask() -> None:
    several = [predicate(text) for text in ("talk_s < 10", "cause == 16", "hour < 6 and talk_s < 10")]
    mask = combine_where(several)
    assert mask(row(talk_s=3.0, cause=16, hour=3.0)) == 0b111
    assert mask(row(talk_s=3.0, hour=3.0)) == 0b101
    assert mask(row(cause=16)) == 0b010
    assert mask(row()) == 0
    assert combine_where([])(row()) == 0


def test_a_foreign_predicate_is_called() -> None:
    mask = combine_where([predicate("cause == 16"), lambda row: len(row) > 1, lambda _row: False])
    assert mask(row(cause=16)) == 0b011
    assert mask(row(cause=17)) == 0b010


def test_a_mask_has_room_for_so_many() -> None:
    one = predicate("cause == 16")
    assert MAX_COMBINED == 56
    assert combine_where([one] * 56)(row(cause=16)) == 2**56 - 1
    with pytest.raises(ValueError, match="57 predicates"):
        combine_where([one] * 57)


def test_a_window_may_read_what_is_known_late_and_nothing_else_of_the_rules() -> None:
    assert holds('kind == "release" and talk_s < 10 and cause == 16', kind="release", talk_s=3.0, cause=16)
    for text in ("hour > params.night", "caller in lists.banks", "caller_calls_1m > 3", "score > 0.5"):
        with pytest.raises(BundleError):
            holds(text)


def test_problems_of_a_window_point_into_its_file() -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where("talk_s < 10 and causs == 16", Location("rules/windows.yaml", 12, 14), fields, order, "release")
    (problem,) = caught.value.problems
    assert str(problem.where) == "rules/windows.yaml:12:30"
    line = problem.render().splitlines()
    assert line[1].index("causs") == line[2].index("^^^^^")


def test_a_problem_behind_cyrillic_text_points_at_its_own_column() -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where('caller_operator == "Қазақтелеком" and causs == 16', Location("w", 1, 1), fields, order, "setup")
    (problem,) = caught.value.problems
    assert problem.where is not None
    assert problem.where.column == 39


def test_all_problems_of_a_condition_are_found_in_one_pass() -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where(
            "causs == 16 and talk < 3 and (hourr > 3 or weekdy > 4)", Location("w", 1, 1), fields, order, "setup"
        )
    assert [problem.message.rsplit(" ", 1)[-1] for problem in caught.value.problems] == [
        "causs",
        "talk",
        "hourr",
        "weekdy",
    ]
