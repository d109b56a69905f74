"""The order of verdicts and what a ceiling leaves of them."""

from __future__ import annotations

import pytest

from antifraud.domain import Ceiling, Location, Problem, Verdict, cap


@pytest.mark.parametrize(
    ("ceiling", "carried"),
    [
        (Ceiling.OFF, "allow"),
        (Ceiling.SHADOW, "allow"),
        (Ceiling.LABEL, "label"),
        (Ceiling.CHALLENGE, "challenge"),
        (Ceiling.DIVERT, "divert"),
        (Ceiling.BLOCK, "block"),
    ],
)
def test_a_block_is_capped_to_the_hardest_milder_measure(ceiling: Ceiling, carried: str) -> None:
    assert cap(Verdict.BLOCK, ceiling).word == carried


def test_a_ceiling_never_hardens() -> None:
    for verdict in Verdict:
        for ceiling in Ceiling:
            assert cap(verdict, ceiling) <= verdict


def test_words_round_trip() -> None:
    assert [Verdict.parse(verdict.word) for verdict in Verdict] == list(Verdict)
    assert [Ceiling.parse(ceiling.word) for ceiling in Ceiling] == list(Ceiling)


def test_a_problem_shows_place_line_caret_and_hint() -> None:
    problem = Problem("unknown field 'calle'", Location("a.yaml", 3, 7), "did you mean 'caller'?", "when: calle > 3", 5)
    assert problem.render().splitlines() == [
        "a.yaml:3:7: unknown field 'calle'",
        "    when: calle > 3",
        "          ^^^^^",
        "    did you mean 'caller'?",
    ]


def test_a_problem_in_a_very_long_line_stays_readable() -> None:
    problem = Problem("bad", Location("a.yaml", 1, 10_000), "", "x" * 20_000)
    lines = problem.render().splitlines()
    assert max(map(len, lines)) < 200
    assert lines[2].index("^") == 4 + 60
