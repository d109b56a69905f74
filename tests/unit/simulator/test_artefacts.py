"""What must carry no signal carries none: nothing about the generator itself gives fraud away."""

from __future__ import annotations

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest

from antifraud.scoring.metrics import auc
from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario, simulate_columns

#: SIP scanners present extensions and dial strings: being odd is their nature. The shortest numbers are short codes.
_LONG_FROM = 10_000_000


def _incidental(scenario: str, seed: int, calls: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]:
    """Call id, low digits of all numbers, fractions of the second, place in the order; the truth; fraud's callers."""
    loaded = load_scenario(find_scenario(scenario, data_dir("config")))
    rows, labels, before = [], [], 0
    callers: set[int] = set()
    for columns in simulate_columns(loaded, seed, calls):
        count = len(columns)
        kept = (columns.caller >= _LONG_FROM) & (columns.callee >= _LONG_FROM) & ~columns.anonymous
        kept[list(columns.odd)] = False
        # One honest call in six is enough to compare with.
        kept &= columns.fraud | (np.random.default_rng(seed + before).random(count) < 1 / 6)
        place = np.arange(before, before + count)
        before += count
        # Whether there is a SIM card at all says how the call came in; only its digits must say nothing.
        noise, other = np.random.default_rng(seed).integers(0, 100, (2, count))
        ends = columns.ts + columns.ring + np.nan_to_num(columns.talk)
        features = [
            columns.ids % 1000,
            columns.ids >> np.uint64(54),
            columns.caller % 10,
            columns.caller % 100,
            columns.callee % 10,
            columns.callee % 100,
            columns.ts % 1.0,
            columns.ts * 1000 % 1.0,
            np.round(columns.ring * 1000) % 10,
            np.round(ends * 1000) % 10,
            np.where(columns.imsi > 0, columns.imsi % 100, noise),
            np.where(columns.imei > 0, columns.imei % 100, other),
            place % 7,
            np.arange(count) % 2,
        ]
        rows.append(np.stack([np.asarray(one, dtype=np.float64) for one in features], axis=1)[kept])
        labels.append(columns.fraud[kept])
        callers.update(columns.caller[kept & columns.fraud].tolist())
    return np.concatenate(rows), np.concatenate(labels), len(callers)


def _learnt(scenario: str, train: range, test: range, calls: int) -> tuple[float, int]:
    """The AUC on other seeds of a model taught with what must teach nothing; how many numbers committed fraud."""
    parts = [_incidental(scenario, seed, calls) for seed in (*train, *test)]
    x, y = (np.concatenate([part[side] for part in parts[: len(train)]]) for side in (0, 1))
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1, "seed": 1, "deterministic": True,
         "force_row_wise": True, "min_data_in_leaf": 100},
        lightgbm.Dataset(x, y.astype(np.float64)),
        num_boost_round=30,
    )  # fmt: skip
    held = np.concatenate([part[1] for part in parts[len(train) :]])
    scores = np.asarray(booster.predict(np.concatenate([part[0] for part in parts[len(train) :]]), num_threads=1))
    return auc(held, scores), sum(part[2] for part in parts[len(train) :])


@pytest.mark.parametrize("scenario", ["national", "heldout-routes", "heldout-sims", "heldout-nights"])
def test_incidental_things_do_not_tell_fraud(scenario: str) -> None:
    found, numbers = _learnt(scenario, range(20, 32), range(32, 40), 40_000)
    assert numbers > 300
    # The claim, or four standard errors of an AUC where those are more: a number that calls a thousand times is one
    # draw of digits, not a thousand.
    assert abs(found - 0.5) < max(0.02, 4 * 0.29 / np.sqrt(numbers)), (found, numbers)
