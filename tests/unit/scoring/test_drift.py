"""Drift: none on calls like those of the training, seen where a column moves, and damaged references refused."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.domain import AntifraudError, ModelError, UsageError
from antifraud.scoring.drift import (
    FEWEST,
    REFERENCE,
    LiveCounts,
    Reference,
    make_reference,
    read_reference,
    write_reference,
)
from antifraud.scoring.manifest import Thresholds

GOLDEN = Path(__file__).parent / "golden_drift"
NAMES = ("calls", "age", "flag")
LEVELS = Thresholds(label=0.3, divert=0.86, block=0.97)


def made(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    age = np.where(rng.random(count) < 0.3, np.nan, rng.exponential(1e4, count))
    rows = np.stack([rng.poisson(1.0, count).astype(float), age, (rng.random(count) < 0.1).astype(float)], axis=1)
    return rows, rng.beta(0.3, 8.0, count)


def reference(count: int = 20_000) -> Reference:
    rows, scores = made(count, 1)
    return make_reference(rows, scores, NAMES, LEVELS, "d" * 16, "--seeds 1")


def compared(rows: np.ndarray, scores: np.ndarray, alarm: float = 0.25) -> dict[str, tuple[float, float, bool]]:
    counts = LiveCounts(reference())
    for start in range(0, len(scores), 1700):
        counts.add(rows[start : start + 1700], scores[start : start + 1700])
    return {one.name: (one.psi, one.ks, one.drifted) for one in counts.compared(alarm)}


def test_calls_like_those_of_the_training_do_not_drift() -> None:
    found = compared(*made(10_000, 2))
    # By chance it is about bins * (1 / n + 1 / m): 24 bins, 10,000 and 20,000 calls.
    assert all(psi < 3 * 24 * (1 / 10_000 + 1 / 20_000) and ks < 0.03 for psi, ks, _ in found.values())
    assert not any(drifted for _psi, _ks, drifted in found.values())


def test_only_what_moved_has_drifted() -> None:
    rows, scores = made(10_000, 2)
    rows[:, 0] += 1.0
    rows[:7000, 1] = np.nan
    found = compared(rows, scores)
    assert {name for name, one in found.items() if one[2]} == {"calls", "age"}
    # Poisson of mean 1 moved by one: the distributions lie farthest apart at the first value.
    assert found["calls"][1] == pytest.approx(0.37, abs=0.02)
    assert found["age"][1] < 0.03  # those that are known are as they were
    assert next(iter(found)) in ("calls", "age")


def test_the_index_is_that_of_its_definition() -> None:
    rows, scores = made(10_000, 2)
    rows[:, 2] = np.arange(10_000) % 2  # half instead of a tenth
    then, now = made(20_000, 1)[0][:, 2].mean(), 0.5
    by_hand = (now - then) * np.log(now / then) + (then - now) * np.log((1 - now) / (1 - then))
    assert compared(rows, scores)["flag"][0] == pytest.approx(by_hand, rel=0.01)


def test_a_few_more_calls_above_the_block_threshold_are_seen_in_the_score() -> None:
    rows, scores = made(10_000, 2)
    before = compared(rows, scores)["score"][0]
    scores[:200] = 0.97  # exactly the threshold: such a call is blocked
    after = compared(rows, scores)
    assert after["score"][0] - before > 0.05
    column = reference().columns[-1]
    assert column.edges[-1] < 0.97


def test_a_journal_has_scores_only() -> None:
    counts = LiveCounts(reference(), score_only=True)
    counts.add(None, made(5000, 3)[1])
    assert [one.name for one in counts.compared()] == ["score"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_reference(reference(), tmp_path)
    assert read_reference(tmp_path / REFERENCE, "d" * 16, NAMES) == reference()
    assert [path.name for path in tmp_path.iterdir()] == [REFERENCE]


def _written(path: Path, **changes: object) -> None:
    tree = msgspec.to_builtins(reference(1000)) | changes
    path.write_bytes(msgspec.json.encode(tree))


def _column(**changes: object) -> list[object]:
    first, *others = msgspec.to_builtins(reference(1000))["columns"]
    return [first | changes, *others]


DAMAGED = {
    "none": lambda path: None,
    "a directory": lambda path: path.mkdir(),
    "cut short": lambda path: path.write_bytes(msgspec.json.encode(reference(1000))[:-200]),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "another format": lambda path: _written(path, format="antifraud.reference/9"),
    "another model": lambda path: _written(path, model="e" * 16),
    "a column less": lambda path: _written(path, columns=msgspec.to_builtins(reference(1000))["columns"][1:]),
    "edges that fall": lambda path: _written(path, columns=_column(edges=[2.0, 1.0], counts=[1000, 0, 0])),
    "counts that do not add up": lambda path: _written(path, columns=_column(edges=[1.0], counts=[5, 5])),
    "a field more": lambda path: _written(path, columns=_column(colour="red")),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_reference_that_cannot_be_used_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / REFERENCE
    DAMAGED[name](path)
    with pytest.raises(ModelError) as caught:
        read_reference(path, "d" * 16, NAMES)
    _golden(name.replace(" ", "-"), caught.value, tmp_path)


def test_too_few_calls_are_refused() -> None:
    counts = LiveCounts(reference())
    counts.add(*made(FEWEST - 1, 1))
    with pytest.raises(UsageError) as caught:
        counts.compared()
    _golden("too-few", caught.value, Path("nowhere"))


def _golden(name: str, error: AntifraudError, where: Path) -> None:
    text = error.render().replace(str(where), "MODEL") + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_no_golden_file_is_left_over() -> None:
    names = {f"{name.replace(' ', '-')}.txt" for name in DAMAGED} | {"too-few.txt"}
    assert {path.name for path in GOLDEN.iterdir()} == names
