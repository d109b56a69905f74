"""Which columns a model takes: those it was trained on, wherever they stand; refused in words when they are others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from antifraud.domain import ModelError
from antifraud.scoring.columns import columns_of

WINDOWS = {"calls": "1" * 16, "age": "2" * 16, "reports": "3" * 16}
FACTS = ("spoofed", "hour")
MEND = (
    "give rules/windows.yaml back what the model was trained on, name another model, "
    "or train one again: antifraud model train"
)


class Trained:
    id = "toy/1@0123abcd"
    of_numbers = False

    def __init__(self, *features: str, windows: Mapping[str, str] = WINDOWS) -> None:
        self.features = features
        self.windows = {name: windows[name] for name in features if name in windows}


def test_all_columns_in_order() -> None:
    assert columns_of(Trained(*WINDOWS, *FACTS), WINDOWS, FACTS).tolist() == [0, 1, 2, 3, 4]


def test_some_columns_in_the_models_own_order() -> None:
    assert columns_of(Trained("hour", "age"), WINDOWS, FACTS).tolist() == [4, 1]


def test_windows_added_removed_or_moved_are_no_reason_to_refuse() -> None:
    model = Trained("age", "calls", "hour")
    assert columns_of(model, {"age": "2" * 16, "new": "9" * 16, "calls": "1" * 16}, FACTS).tolist() == [0, 2, 4]


def test_a_fact_is_not_taken_for_a_window_of_the_same_name() -> None:
    assert columns_of(Trained("hour"), {"hour": "9" * 16}, FACTS).tolist() == [2]


@pytest.mark.parametrize(
    ("features", "windows", "said", "hint"),
    [
        (("age", "hour"), {"calls": "1" * 16}, "windows missing: age", MEND),
        (("age", "calls"), {**WINDOWS, "age": "4" * 16}, "windows changed since it was trained: age", MEND),
        (
            ("reports", "calls", "age", "weather"),
            {"age": "4" * 16},
            (
                "windows missing: calls, reports; windows changed since it was trained: age; "
                "neither a window nor a fact: weather"
            ),
            MEND,
        ),
        (
            ("age", "weather"),
            WINDOWS,
            "neither a window nor a fact: weather",
            "this version works out other facts: train the model again: antifraud model train",
        ),
        # A fact of that name would fit, but it is not what the model learnt from.
        (("age",), {"hour": "2" * 16}, "windows missing: age", MEND),
    ],
)
def test_what_does_not_fit_is_said(features: tuple[str, ...], windows: Mapping[str, str], said: str, hint: str) -> None:
    facts = (*FACTS, "age") if "hour" in windows else FACTS
    with pytest.raises(ModelError) as caught:
        columns_of(Trained(*features), windows, facts)
    assert caught.value.render() == f"the model toy/1@0123abcd does not fit these rules: {said}\n    {hint}"


def test_a_model_of_numbers_is_no_model_of_calls() -> None:
    model = Trained("age", "hour")
    model.of_numbers = True
    with pytest.raises(ModelError) as caught:
        columns_of(model, WINDOWS, FACTS)
    assert caught.value.render() == (
        "the model toy/1@0123abcd scores numbers from tables, not calls\n"
        "    name a model of calls, or score a table with it: antifraud model score"
    )


def test_of_many_windows_the_first_are_named() -> None:
    many = {f"w{index}": "1" * 16 for index in range(9)}
    with pytest.raises(ModelError) as caught:
        columns_of(Trained(*many, windows=many), {}, FACTS)
    said = "the model toy/1@0123abcd does not fit these rules: windows missing: w0, w1, w2, w3, w4 and 4 more"
    assert str(caught.value) == said
