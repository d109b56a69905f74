"""What would have changed a verdict, where the change brings the call into a class with other thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.scoring import Model
from antifraud.scoring.explanation import Explainer, Meaning
from antifraud.scoring.training import Options, Rows, train

NAMES = ("caller_calls_1h", "caller_age", "caller_foreign")
MEANINGS = {
    "caller_calls_1h": Meaning(doc={"en": "calls in 1 h"}, form="count", key="k"),
    "caller_age": Meaning(doc={"en": "age"}, form="seconds", key="k", first={"en": "never seen"}),
    "caller_foreign": Meaning(doc={"en": "foreign"}, form="flag"),
}
COUNT = 12_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    rng = np.random.default_rng(3)
    y = rng.random(COUNT) < 0.15
    calls = rng.poisson(np.where(y, 18.0, 9.0)).astype(float)
    age = np.where(rng.random(COUNT) < np.where(y, 0.6, 0.1), np.nan, rng.exponential(np.where(y, 2e3, 1e5)))
    foreign = (rng.random(COUNT) < np.where(y, 0.5, 0.05)).astype(float)
    day = np.arange(COUNT) // 1_000
    ts = 1.7e9 + day * 172_800.0 + np.arange(COUNT) % 1_000
    campaign = np.where(y, np.char.add("c", day.astype(str)), "")
    rows = Rows(np.stack([calls, age, foreign], axis=1), y, ts, campaign, np.where(y, "f", "h"))
    out = tmp_path_factory.mktemp("models") / "toy" / "1"
    train(rows, names=NAMES, windows={}, out=out, name="toy", version="1", options=Options(trees=25, threads=1))
    return Model.load(out)


ROW = st.tuples(
    st.integers(0, 40), st.one_of(st.just(math.nan), st.floats(0, 1e6)), st.sampled_from([0.0, 1.0])
).map(lambda row: np.array(row, dtype=np.float64))  # fmt: skip


def levels_from(lowest: float) -> list[tuple[float, str]]:
    return [(min(1.0, lowest + 0.3), "block"), (lowest, "label")]


LEVELS = st.lists(
    st.one_of(st.just([]), st.sampled_from([0.02, 0.1, 0.3, 0.6]).map(levels_from)), min_size=4, max_size=4
)


@given(row=ROW, by_class=LEVELS)
@settings(deadline=None, max_examples=250)
def test_what_would_have_helped_does_in_whatever_class_it_ends(
    model: Model, row: np.ndarray, by_class: list[list[tuple[float, str]]]
) -> None:
    assert model.class_names == ("foreign", "unseen", "heavy", "light")
    found = Explainer(model, MEANINGS).explain_by_class(row, by_class)
    own = by_class[int(model.classes(row[None, :])[0])]
    score = float(model.predict(row[None, :])[0])
    assert found.verdict == next((verdict for at, verdict in own if score >= at), "allow")
    if len(found.changes) != 1:
        return
    (change,) = found.changes
    at = NAMES.index(change.feature)
    low = 0.0 if change.low is None else change.low
    high = (60.0 if change.feature == "caller_calls_1h" else 2e6) if change.high is None else change.high
    if change.feature == "caller_age":
        values = np.concatenate([[low, high], np.random.default_rng(1).uniform(low, high, 60)])
    else:
        values = np.arange(math.ceil(low), math.floor(high) + 1, dtype=np.float64)
    tried = np.repeat(row[None, :], len(values), axis=0)
    tried[:, at] = values
    harder = {"allow": ("block", "label"), "label": ("block",)}[found.instead]
    for score, code in zip(model.predict(tried).tolist(), model.classes(tried).tolist(), strict=True):
        assert all(score < level for level, verdict in by_class[code] if verdict in harder)
