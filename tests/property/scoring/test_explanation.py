"""Explanations of whatever a model is asked: contributions add up, and what is said would have helped would have."""

from __future__ import annotations

import math
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.scoring import Model
from antifraud.scoring.explanation import Change, Explainer, Explanation, Meaning
from antifraud.scoring.sentences import sentences, shown
from antifraud.scoring.training import Options, Rows, train

NAMES = ("calls_10m", "calls_1h", "share", "age", "flag", "hour")
MEANINGS = {
    "calls_10m": Meaning(doc={"en": "calls in 10 m"}, form="count", group="calls", series="calls", over_s=600, key="k"),
    "calls_1h": Meaning(doc={"en": "calls in 1 h"}, form="count", group="calls", series="calls", over_s=3600, key="k"),
    "share": Meaning(doc={"en": "share"}, form="share"),
    "age": Meaning(doc={"en": "age"}, form="seconds", key="k", first={"en": "never seen"}),
    "flag": Meaning(doc={"en": "flag"}, form="flag"),
    "hour": Meaning(doc={"en": "hour"}, form="hour"),
}
COUNT = 18_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    rng = np.random.default_rng(5)
    days = 12
    y = rng.random(COUNT) < 0.1
    short = rng.poisson(np.where(y, 6.0, 1.0)).astype(float)
    # Rises and falls with the count: what is below may be as bad as what is above.
    long = short + rng.poisson(np.where(y, 3.0, 6.0))
    share = np.where(rng.random(COUNT) < 0.1, np.nan, rng.beta(np.where(y, 5, 2), 3))
    age = np.where(rng.random(COUNT) < np.where(y, 0.5, 0.1), np.nan, rng.exponential(np.where(y, 2e3, 1e5)))
    flag = (rng.random(COUNT) < np.where(y, 0.5, 0.05)).astype(float)
    hour = rng.integers(0, 24, COUNT).astype(float)
    day = np.arange(COUNT) // (COUNT // days)
    ts = 1.7e9 + day * 172_800.0 + np.arange(COUNT) % (COUNT // days)
    campaign = np.where(y, np.char.add("c", day.astype(str)), "")
    columns = np.stack([short, long, share, age, flag, hour], axis=1).astype(np.float64)
    rows = Rows(columns, y, ts, campaign, np.where(y, "f", "h"))
    out = tmp_path_factory.mktemp("models") / "toy" / "1"
    train(rows, names=NAMES, windows={}, out=out, name="toy", version="1", options=Options(trees=30, threads=1))
    return Model.load(out)


@pytest.fixture(scope="module")
def booster(model: Model, tmp_path_factory: pytest.TempPathFactory) -> lightgbm.Booster:
    path: Path = tmp_path_factory.mktemp("trees") / "model.txt"
    path.write_text(model._trees)
    return lightgbm.Booster(model_file=str(path))


ROW = st.tuples(
    st.integers(0, 15), st.integers(0, 15), st.one_of(st.just(math.nan), st.floats(0, 1)),
    st.one_of(st.just(math.nan), st.floats(0, 1e6)), st.sampled_from([0.0, 1.0]), st.integers(0, 23),
).map(lambda row: np.array([row[0], row[0] + row[1], *row[2:]], dtype=np.float64))  # fmt: skip


def without_usual(model: Model) -> Model:
    """The same model, trained before usual values were written."""
    import msgspec

    return Model(msgspec.structs.replace(model.manifest, usual={}), model._trees, model._forest)


@given(row=ROW)
@settings(deadline=None, max_examples=60)
def test_what_the_features_add_is_the_score(model: Model, booster: lightgbm.Booster, row: np.ndarray) -> None:
    added = model.contributions(row[None, :])[0]
    theirs = booster.predict(row[None, :], pred_contrib=True, num_threads=1)[0]
    assert np.abs(added - theirs[:-1]).max() <= 1e-9
    raw = booster.predict(row[None, :], raw_score=True, num_threads=1)[0]
    assert abs(added.sum() + theirs[-1] - raw) <= 1e-9


def moved(row: np.ndarray, feature: int, value: float) -> np.ndarray:
    """The row with the feature at ``value``; a shorter span has never more than a longer one."""
    changed = row.copy()
    changed[feature] = value
    if feature == 0:
        changed[1] = max(changed[1], value)
    if feature == 1:
        changed[0] = min(changed[0], value)
    return changed


def values_of(change: Change, rng: np.random.Generator) -> list[float]:
    """Values that ``change`` speaks of: its bounds, and many between."""
    form = MEANINGS[change.feature].form
    most = 1.0 if form in ("share", "flag") else 40.0 if form == "count" else 2e6
    low = 0.0 if change.low is None else change.low
    high = most if change.high is None else change.high
    if form in ("count", "flag"):
        return [float(value) for value in range(math.ceil(low), math.floor(high) + 1)]
    return [low, high, *rng.uniform(low, high, 200).tolist(), *(low + (high - low) * 10.0 ** -np.arange(1, 9))]


@given(row=ROW, usual=st.booleans(), level=st.sampled_from([0.05, 0.2, 0.5]))
@settings(deadline=None, max_examples=200)
def test_every_value_that_would_have_helped_does(model: Model, row: np.ndarray, usual: bool, level: float) -> None:
    asked = model if usual else without_usual(model)
    levels = [(max(level, 0.9), "block"), (level, "label")]
    found = Explainer(asked, MEANINGS).explain(row, levels)
    assert found == Explainer(asked, MEANINGS).explain(row.copy(), levels)
    score = model.predict(row[None, :])[0]
    assert found.score == score
    assert (found.verdict == "allow") == (score < level)
    below = {"allow": level, "label": levels[0][0]}
    rng = np.random.default_rng(1)
    if len(found.changes) == 1:
        (change,) = found.changes
        feature = NAMES.index(change.feature)
        tried = np.stack([moved(row, feature, value) for value in values_of(change, rng)])
        assert model.predict(tried).max() < below[found.instead]
        sentence_bound(change)
        nearest(model, row, change, below[found.instead])
    elif found.changes:
        changed = row
        for change in found.changes:
            assert change.low == change.high == model.manifest.usual[change.feature].median
            changed = moved(changed, NAMES.index(change.feature), change.low)
        assert model.predict(changed[None, :])[0] < below[found.instead]
    assert len(sentences(found, MEANINGS, "en")) == len(found.grounds) + (found.verdict != "allow")


def sentence_bound(change: Change) -> None:
    """A bound rounded for a sentence lies on the side where the sentence is true."""
    form = MEANINGS[change.feature].form
    if form not in ("share", "seconds") or change.low == change.high:
        return
    for bound, rounding in ((change.low, "up"), (change.high, "down")):
        if bound is not None:
            said = float(shown(bound, form, "en", rounding).split(" ")[0]) / (100 if form == "share" else 1)  # type: ignore[arg-type]
            assert said >= bound if rounding == "up" else said <= bound


def nearest(model: Model, row: np.ndarray, change: Change, level: float) -> None:
    """Beyond the bound that faces the row's own value, it would not have helped."""
    feature = NAMES.index(change.feature)
    form, own = MEANINGS[change.feature].form, row[feature]
    if form == "flag" or math.isnan(own):
        return
    if change.high is not None and change.high < own:
        beyond = change.high + 1 if form == "count" else np.nextafter(change.high, math.inf)
    else:
        assert change.low is not None
        assert change.low > own
        beyond = change.low - 1 if form == "count" else np.nextafter(change.low, -math.inf)
    assert model.predict(moved(row, feature, float(beyond))[None, :])[0] >= level


@given(row=ROW)
@settings(deadline=None, max_examples=60)
def test_when_no_change_is_said_of_the_strongest_none_helps(model: Model, row: np.ndarray) -> None:
    """Slow oracle over whole numbers, towards what is usual, without a gap."""
    level = 0.3
    found: Explanation = Explainer(model, MEANINGS).explain(row, [(level, "block")])
    if found.verdict == "allow" or found.changes:
        return
    added = model.contributions(row[None, :])[0]
    for feature in (0, 1):
        if added[feature] <= 0:
            continue
        usual = model.manifest.usual[NAMES[feature]].median
        assert not model.predict(moved(row, feature, usual)[None, :])[0] < level


def test_three_reasons_at_most_one_for_each_group_and_the_strongest_first(model: Model) -> None:
    row = np.array([12.0, 14.0, 0.9, math.nan, 1.0, 3.0])
    found = Explainer(model, MEANINGS).explain(row, [(0.5, "block")])
    assert len(found.grounds) == 3
    assert [one.added for one in found.grounds] == sorted((one.added for one in found.grounds), reverse=True)
    groups = [MEANINGS[one.feature].group or one.feature for one in found.grounds]
    assert len(set(groups)) == len(groups)
    calls = next(one for one in found.grounds if groups[found.grounds.index(one)] == "calls")
    added = model.contributions(row[None, :])[0]
    assert calls.added == pytest.approx(added[0] + added[1], abs=1e-12)


def test_a_first_call_is_told_from_a_call_without_a_number(model: Model) -> None:
    levels = [(0.01, "block")]
    first = Explainer(model, MEANINGS).explain(np.array([0, 0, 0.9, math.nan, 1, 3.0]), levels)
    nobody = Explainer(model, MEANINGS).explain(np.array([math.nan, math.nan, 0.9, math.nan, 1, 3.0]), levels)
    assert [one.first for one in first.grounds if one.feature == "age"] == [True]
    assert [one.first for one in nobody.grounds if one.feature == "age"] == [False]
