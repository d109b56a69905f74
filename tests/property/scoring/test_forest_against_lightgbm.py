"""The walk over trees against LightGBM's own prediction: the same bits for whatever LightGBM grows and is asked.

Rows to be scored hold what tells implementations apart: the thresholds themselves, their neighbours among floats,
zeros of both signs and what LightGBM takes for zero, infinities and NaN.
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import ModelError
from antifraud.scoring.forest import read_forest

ZERO = float(np.float32(1e-35))
ODD = [
    0.0, -0.0, ZERO, -ZERO, np.nextafter(ZERO, 1), np.nextafter(-ZERO, -1), np.nextafter(ZERO, 0), 1e-40, -1e-40,
    5e-324, np.inf, -np.inf, np.nan, 1e308, -1e308, 1.0, -1.0,
]  # fmt: skip

VALUES = {
    "numbers": lambda rng, shape: rng.normal(0, 3, shape),
    "counts": lambda rng, shape: rng.poisson(1.5, shape).astype(float),
    "signs": lambda rng, shape: rng.integers(-1, 2, shape).astype(float),
    "nearly zero": lambda rng, shape: rng.choice([-1.0, -3e-35, -1e-35, 0.0, 1e-35, 2e-35, 4e-35, 1.0], shape),
    "wide": lambda rng, shape: rng.choice([-1e30, -1.0, 0.0, 1e-20, 1e300], shape) * rng.random(shape),
}


def _grown(draw_from: dict[str, Any], rng: np.random.Generator) -> lightgbm.Booster:
    count, width = draw_from["rows"], draw_from["width"]
    x = VALUES[draw_from["values"]](rng, (count, width))
    if draw_from["missing"]:
        x[rng.random(x.shape) < draw_from["missing"]] = np.nan
    hidden = np.nan_to_num(x[:, 0]) + np.where(np.isnan(x[:, -1]), 1.0, 0.0)
    y = (hidden + rng.normal(0, 1, count) > np.median(hidden)).astype(float)
    if draw_from["constant"]:
        y[:] = rng.integers(0, 2)
    params = {
        "objective": "binary", "num_leaves": draw_from["leaves"], "min_data_in_leaf": 1, "min_data_in_bin": 1,
        "min_sum_hessian_in_leaf": 0.0, "zero_as_missing": draw_from["zero_as_missing"],
        "use_missing": draw_from["use_missing"], "extra_trees": draw_from["extra_trees"], "max_bin": 255,
        "boost_from_average": draw_from["boost_from_average"], "seed": 1, "num_threads": 1, "verbosity": -1,
        "feature_pre_filter": False, "deterministic": True, "force_row_wise": True,
    }  # fmt: skip
    if draw_from["monotone"]:
        params["monotone_constraints"] = [1] + [0] * (width - 1)
    return lightgbm.train(params, lightgbm.Dataset(x, y, params=params), draw_from["trees"])


def _asked(text: str, width: int, rng: np.random.Generator) -> np.ndarray:
    thresholds = [
        float(value)
        for line in text.splitlines() if line.startswith("threshold=") for value in line[10:].split()
    ]  # fmt: skip
    around = [
        near for value in thresholds for near in (value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf))
    ]
    pool = np.array(ODD * max(1, len(around) // len(ODD)) + around)
    return pool[rng.integers(0, len(pool), (300, width))]


@settings(max_examples=150, deadline=None)
@given(
    case=st.fixed_dictionaries({
        "rows": st.integers(20, 400), "width": st.integers(1, 6), "values": st.sampled_from(sorted(VALUES)),
        "missing": st.sampled_from([0.0, 0.1, 0.6, 1.0]), "constant": st.sampled_from([False] * 9 + [True]),
        "leaves": st.sampled_from([2, 3, 7, 31, 64, 65, 200]), "trees": st.integers(1, 6),
        "zero_as_missing": st.booleans(), "use_missing": st.sampled_from([True, True, False]),
        "extra_trees": st.booleans(), "boost_from_average": st.booleans(), "monotone": st.booleans(),
    }),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_same_bits_as_lightgbm(case: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    booster = _grown(case, rng)
    text = booster.model_to_string()
    forest = read_forest(text, "model.txt")
    rows = _asked(text, case["width"], rng)
    theirs = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    ours = forest.raw_scores(rows)
    assert ours.tobytes() == theirs.tobytes()
    size = int(rng.integers(1, 40))
    parts = [forest.raw_scores(rows[at : at + size]) for at in range(0, len(rows), size)]
    assert np.concatenate(parts).tobytes() == theirs.tobytes()
    # What was read back from the text is what was trained.
    again = lightgbm.Booster(model_str=text).predict(rows, raw_score=True, num_threads=1)
    assert np.asarray(again).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("leaves", [63, 64, 65, 128, 129, 700])
def test_trees_of_more_leaves_than_a_word_has_bits(leaves: int) -> None:
    rng = np.random.default_rng(leaves)
    x = rng.normal(size=(5000, 4))
    x[rng.random(x.shape) < 0.1] = np.nan
    y = (np.sin(7 * np.nan_to_num(x[:, 0])) * np.nan_to_num(x[:, 1]) + rng.normal(0, 0.2, 5000) > 0).astype(float)
    params = {
        "objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0.0,
        "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    booster = lightgbm.train(params, lightgbm.Dataset(x, y, params={"verbosity": -1}), 3)
    text = booster.model_to_string()
    assert text.count(f"num_leaves={leaves}\n") == 3
    rows = _asked(text, 4, rng)
    theirs = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    assert len(set(theirs.tolist())) > 40
    assert read_forest(text, "model.txt").raw_scores(rows).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("missing_kind", ["none", "zero", "nan"])
@pytest.mark.parametrize("threshold", [-1.0, -ZERO, -1e-36, 0.0, 1e-36, ZERO, 1.0, np.inf])
@pytest.mark.parametrize("default_left", [False, True])
def test_every_kind_of_split_at_every_kind_of_threshold(
    missing_kind: str, threshold: float, default_left: bool
) -> None:
    booster = lightgbm.train(
        {"verbosity": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1, "num_threads": 1, "objective": "binary"},
        lightgbm.Dataset(np.arange(40.0).reshape(20, 2), np.repeat([0.0, 1.0], 10), params={"verbosity": -1}), 1,
    )  # fmt: skip
    lines = booster.model_to_string().split("\n")
    changes = {
        "threshold": repr(float(threshold)),
        "decision_type": str(2 * default_left + 4 * ["none", "zero", "nan"].index(missing_kind)),
    }
    for at, line in enumerate(lines):
        key, mark, value = line.partition("=")
        if mark and key in changes:
            lines[at] = f"{key}={' '.join([changes[key]] * len(value.split()))}"
    text = "\n".join(lines)
    # The text tells how long each tree is; LightGBM goes by it.
    start = text.index("Tree=0")
    size = text.index("end of trees") - start
    text = text.replace(next(line for line in lines if line.startswith("tree_sizes=")), f"tree_sizes={size}")
    rows = np.array([[one, 0.0] for one in ODD] + [[0.0, one] for one in ODD])
    theirs = np.asarray(lightgbm.Booster(model_str=text).predict(rows, raw_score=True, num_threads=1))
    assert len(set(theirs.tolist())) <= 2
    assert read_forest(text, "model.txt").raw_scores(rows).tobytes() == theirs.tobytes()


def _model(params: dict[str, Any], classes: int = 2, **dataset: Any) -> str:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (300, 3)).astype(float)
    y = rng.integers(0, classes, 300).astype(float)
    usual = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "num_leaves": 6}
    data = lightgbm.Dataset(x, y, params={"verbosity": -1, **params}, **dataset)
    return lightgbm.train({**usual, **params}, data, 3).model_to_string()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda: _model({"min_data_per_group": 1, "cat_smooth": 0.0}, categorical_feature=[0, 1, 2]), "categorical"),
        (lambda: _model({"linear_tree": True}), "linear leaves"),
        (lambda: _model({"objective": "multiclass", "num_class": 3}, 3), "more than two classes"),
        (lambda: _model({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}), "averaged"),
    ],
)
def test_what_is_not_walked_is_refused(text: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        read_forest(text(), "model.txt")
    assert "antifraud model train" in caught.value.render()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_text_is_refused_or_walked_without_harm(data: st.DataObject) -> None:
    text = _model({})
    at = data.draw(st.integers(0, text.index("end of trees")))
    cut = data.draw(st.integers(0, 12))
    put = data.draw(st.text("0123456789-. =\nTree", max_size=4))
    refused: ModelError | None = None
    try:
        forest = read_forest(text[:at] + put + text[at + cut :], "model.txt")
    except ModelError as error:
        refused = error
    if refused is not None:
        assert refused.problems[0].hint
        return
    rows = np.full((5, len(forest.features)), np.nan)
    rows[1:] = [[-1e300], [0.0], [2.0], [1e300]]
    assert np.isfinite(forest.raw_scores(rows)).all()
