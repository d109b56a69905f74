"""Classes of callers: total, disjoint, the same in any batch, and what a model without their features tells apart."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.decision.facts import MODEL_FACTS
from antifraud.scoring.classes import CLASSES, MANY_1H, MANY_24H, Classifier, class_names, scheme, spared

NAMES = (
    "noise", "caller_age", "caller_calls_1h", "caller_calls_24h", "caller_foreign", "trunk_international",
    "caller_mobile", "spoofed_cli",
)  # fmt: skip
NAN = math.nan
VALUE = st.sampled_from([NAN, 0.0, 1.0, MANY_1H - 1, MANY_1H, MANY_24H - 1, MANY_24H, 1e6])
ROWS = st.lists(st.lists(VALUE, min_size=len(NAMES), max_size=len(NAMES)), min_size=1, max_size=40)


def row(**values: float) -> list[float]:
    usual = {
        "noise": 0.0, "caller_age": 9e5, "caller_calls_1h": 1.0, "caller_calls_24h": 3.0, "caller_foreign": 0.0,
        "trunk_international": 0.0, "caller_mobile": 1.0, "spoofed_cli": 0.0,
    }  # fmt: skip
    return list((usual | values).values())


CASES = {
    "light": {},
    "heavy": {"caller_calls_1h": MANY_1H},
    "unseen": {"caller_age": NAN, "caller_calls_1h": NAN, "caller_calls_24h": NAN},
    "foreign": {"caller_foreign": 1.0, "trunk_international": 1.0, "caller_age": NAN},
    "home_from_abroad": {"trunk_international": 1.0, "spoofed_cli": 1.0, "caller_age": NAN},
    "roaming_unknown": {"trunk_international": 1.0, "spoofed_cli": NAN, "caller_age": NAN},
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_in_which_class(name: str) -> None:
    classifier = Classifier(NAMES)
    found = classifier.of(np.array([row(**CASES[name])]))
    assert classifier.names[int(found[0])] == name


def test_more_cases() -> None:
    classifier = Classifier(NAMES)
    rows = [
        row(caller_calls_24h=MANY_24H), row(caller_calls_24h=MANY_24H - 1), row(caller_foreign=NAN),
        row(trunk_international=1.0, spoofed_cli=0.0), row(trunk_international=1.0, spoofed_cli=NAN, caller_mobile=0.0),
    ]  # fmt: skip
    said = [classifier.names[code] for code in classifier.of(np.array(rows)).tolist()]
    assert said == ["heavy", "light", "light", "home_from_abroad", "home_from_abroad"]


def slow(values: dict[str, float]) -> str:
    """What the declarations say, read by a person."""
    for one in CLASSES:
        if not one.when:
            return one.name
        for part in one.when:
            said = []
            for test in part:
                value = values[test.feature]
                outcome = {"is": value == test.value, "least": value >= test.value, "missing": math.isnan(value)}
                said.append(outcome[test.kind])
            if all(said):
                return one.name
    raise AssertionError("the last class takes everything")


@given(rows=ROWS, size=st.integers(1, 7))
@settings(deadline=None)
def test_every_row_is_in_one_class_whatever_the_batch(rows: list[list[float]], size: int) -> None:
    classifier, table = Classifier(NAMES), np.array(rows)
    whole = classifier.of(table)
    assert [classifier.names[code] for code in whole.tolist()] == [
        slow(dict(zip(NAMES, one, strict=True))) for one in rows
    ]
    parts = [classifier.of(table[at : at + size]) for at in range(0, len(table), size)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    order = np.random.default_rng(1).permutation(len(NAMES))
    assert Classifier([NAMES[at] for at in order]).of(table[:, order]).tobytes() == whole.tobytes()


@given(features=st.sets(st.sampled_from(NAMES), min_size=1))
def test_a_model_that_lacks_features_tells_fewer_classes_apart(features: set[str]) -> None:
    names = sorted(features)
    classifier = Classifier(names)
    assert classifier.names == class_names(names)
    assert classifier.names[-1] == CLASSES[-1].name
    codes = classifier.of(np.zeros((3, len(names))))
    assert ((codes >= 0) & (codes < len(classifier.names))).all()


@given(rows=ROWS, at=st.integers(0, len(NAMES) - 1))
@settings(deadline=None)
def test_between_two_bounds_a_feature_does_not_change_the_class(rows: list[list[float]], at: int) -> None:
    classifier = Classifier(NAMES)
    bounds = classifier.bounds(NAMES[at])
    edges = [-1.0, *bounds.tolist(), 1e7]
    for low, high in itertools.pairwise(edges):
        table = np.array([rows[0], rows[0]])
        table[0, at], table[1, at] = np.nextafter(low, math.inf), high
        codes = classifier.of(table)
        assert codes[0] == codes[1]


def test_few_classes_each_with_a_reason_and_features_that_there_are() -> None:
    assert len(CLASSES) <= 6
    assert len({one.name for one in CLASSES}) == len(CLASSES)
    assert [one.name for one in CLASSES if not one.when] == [CLASSES[-1].name]
    facts = {"caller_age", "caller_calls_1h", "caller_calls_24h", *MODEL_FACTS}
    for one in CLASSES:
        assert len(one.why) > 40
        assert {test.feature for part in one.when for test in part} <= facts
    assert spared(class_names(NAMES)).tolist() == [True, False, False, False, False, False]
    assert len(scheme()) == 16


def test_rows_of_another_width_are_no_rows_of_the_model() -> None:
    with pytest.raises(ValueError, match="8 features"):
        Classifier(NAMES).of(np.zeros((2, 3)))
