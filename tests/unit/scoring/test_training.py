"""Training: what is written is sealed and reproducible, slices are apart, and what cannot teach is refused."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifraud.domain import ModelError
from antifraud.scoring import Model
from antifraud.scoring.row_pieces import Coded, PieceWriter, RowPieces
from antifraud.scoring.training import Options, Rows, split, train

_spec = importlib.util.spec_from_file_location("scoring_rows", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_rows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_rows)
NAMES: tuple[str, ...] = _rows.NAMES
WINDOWS: dict[str, str] = _rows.WINDOWS
made_rows = _rows.made_rows
QUICK = Options(trees=10, leaves=7, threads=1)


def _train(rows: Rows, out: Path, names: tuple[str, ...] = NAMES, **changes: Any) -> dict[str, Any]:
    return train(rows, names=names, windows=WINDOWS, out=out, name="toy", version="1", options=QUICK, **changes)


def test_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    _train(made_rows(), tmp_path / "a")
    _train(made_rows(), tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["card.md", "golden.csv", "manifest.toml", "model.txt"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_it_learns_and_says_what_is_certain(trained: Path) -> None:
    manifest = Model.load(trained).manifest
    assert manifest.metrics["auc"] > 0.9
    assert manifest.metrics["recall"]["label"] >= manifest.metrics["recall"]["block"]
    assert sum(manifest.training["slice_rows"]) <= manifest.training["rows"]
    block = manifest.certificate["block"]
    # 3,000 benign calls cannot certify 1e-4: the strictest that they allow, and it is said.
    assert not block.met
    assert block.errors == 0
    card = (trained / "card.md").read_text(encoding="utf-8")
    assert "synthetic" in card
    assert "too small" in card


def test_slices_follow_time_and_no_campaign_is_in_two() -> None:
    rows = made_rows()
    rows.campaign = np.where(rows.y, np.where(rows.ts % 5 < 1, "all-along", rows.campaign), "")
    slices = split(rows, (0.5, 0.65, 0.85))
    ends = [(rows.ts[part].min(), rows.ts[part].max()) for part in slices]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    campaigns = [set(rows.campaign[part]) - {""} for part in slices]
    assert "all-along" in campaigns[0]
    for index, names in enumerate(campaigns):
        assert not any(names & other for other in campaigns[index + 1 :])
    assert sum(int((~rows.y[part]).sum()) for part in slices) == int((~rows.y).sum())


def test_calls_of_new_engines_are_grown_on_and_nothing_else() -> None:
    rows = made_rows()
    whole = split(rows, (0.5, 0.65, 0.85))
    rows.new = rows.ts % 3 < 1
    marked = split(rows, (0.5, 0.65, 0.85))
    assert np.array_equal(marked[0], whole[0])
    assert rows.new[marked[0]].any()
    for before, after in zip(whole[1:], marked[1:], strict=True):
        assert np.array_equal(after, before[~rows.new[before]])
        assert 0 < len(after) < len(before)


def test_cuts_move_to_the_pauses_between_seeds() -> None:
    rows = made_rows(days=12)
    days = [set(((rows.ts[part] - rows.ts.min()) // 86_400).tolist()) for part in split(rows, (0.5, 0.65, 0.85))]
    for index, part in enumerate(days):
        assert not any(part & other for other in days[index + 1 :])


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    _train(made_rows(), tmp_path / "a", on_round=lambda done, most: told.append((done, most)))
    assert told
    assert told == [(index + 1, 10) for index in range(len(told))]


def _with(rows: Rows, **changes: Any) -> Rows:
    for name, value in changes.items():
        setattr(rows, name, value)
    return rows


def _leak(rows: Rows) -> Rows:
    x = rows.X.copy()
    x[:, 3] = rows.y
    return _with(rows, X=x)


def _infinite(rows: Rows) -> Rows:
    x = rows.X.copy()
    x[7, 1] = np.inf
    return _with(rows, X=x)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: _with(rows, y=np.zeros(len(rows.y), dtype=bool)), "one class"),
        (lambda rows: _with(rows, y=np.ones(len(rows.y), dtype=bool)), "one class"),
        (_leak, "leaks"),
        (_infinite, "caller_age is infinite"),
        (lambda rows: _with(rows, ts=np.full(len(rows.y), np.nan)), "no time"),
        (lambda rows: _with(rows, ts=rows.ts[:-1]), "one length"),
        (lambda rows: _with(rows, X=rows.X[:, :3]), "do not fit"),
        (lambda rows: _with(rows, y=rows.y & (rows.ts < rows.ts.max() - 10 * 86_400)), "only one class"),
        (lambda rows: Rows(rows.X[:50], rows.y[:50], rows.ts[:50], rows.campaign[:50], rows.scenario[:50]), "too few"),
    ],
)
def test_what_cannot_teach_is_refused(tmp_path: Path, spoil: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        _train(spoil(made_rows()), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_the_manifest_names_the_windows_among_the_columns_and_no_other(trained: Path) -> None:
    manifest = Model.load(trained).manifest
    assert manifest.features == NAMES
    assert manifest.windows == {"caller_calls_1h": "c" * 16, "caller_age": "a" * 16}
    assert "4 features: 2 windows and 2 facts" in (trained / "card.md").read_text(encoding="utf-8")


def test_a_window_of_another_content_makes_another_model(tmp_path: Path) -> None:
    _train(made_rows(), tmp_path / "a")
    train(
        made_rows(), names=NAMES, windows={**WINDOWS, "caller_age": "b" * 16}, out=tmp_path / "b", name="toy",
        version="1", options=QUICK,
    )  # fmt: skip
    assert Model.load(tmp_path / "a").id != Model.load(tmp_path / "b").id


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="named twice"):
        _train(made_rows(), tmp_path / "a", ("a", "a", "b", "c"))
    with pytest.raises(ModelError, match="cannot name"):
        _train(made_rows(), tmp_path / "a", ("a", "b", "c d", "e"))


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "letters.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ModelError, match="no model"):
        _train(made_rows(), out)
    assert (out / "letters.txt").read_text(encoding="utf-8") == "keep"


def test_what_the_field_knows_holds_more_reports_never_lower_the_score(tmp_path: Path) -> None:
    rows = made_rows()
    names = ("caller_reports_30d", "caller_age", "spoofed_cli", "noise")
    _train(rows, tmp_path / "a", names)
    model = Model.load(tmp_path / "a")
    sample = np.repeat(rows.X[:200], 8, axis=0)
    sample[:, 0] = np.tile(np.arange(8.0), 200)
    scores = model.predict(sample).reshape(200, 8)
    assert (np.diff(scores, axis=1) >= 0).all()
    assert (scores[:, -1] > scores[:, 0]).any()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda rows: _with(rows, y=np.zeros(len(rows.y), dtype=bool)),
            "all 18000 calls are honest: one class teaches nothing\n    give events of both kinds",
        ),
        (
            _leak,
            (
                "the feature noise alone separates fraud from honest calls (AUC 1.0000): it leaks the label\n"
                "    nothing that is known after the call may be in it; leave it out: --features -noise"
            ),
        ),
        (
            lambda rows: _with(rows, ts=np.where(np.arange(len(rows.ts)) == 5, np.nan, rows.ts)),
            "a call has no time\n    make the events again: antifraud simulate",
        ),
    ],
)
def test_refusals_say_what_to_do(tmp_path: Path, spoil: Any, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        _train(spoil(made_rows()), tmp_path / "a")
    assert caught.value.render() == said


def test_rows_on_disk_give_the_same_files_as_rows_in_memory(tmp_path: Path) -> None:
    rows = made_rows()
    paths = []
    for number, low in enumerate(range(0, len(rows.y), 5000)):
        path = tmp_path / f"{number}.npy"
        writer = PieceWriter(path, len(NAMES), 1 << 30)
        for begin in range(low, min(low + 5000, len(rows.y)), 700):
            writer.add(rows.X[begin : min(begin + 700, low + 5000)])
        writer.close()
        paths.append(path)
    _train(rows, tmp_path / "a")
    on_disk = Rows(RowPieces.of_files(paths), rows.y, rows.ts, Coded.of(rows.campaign), Coded.of(rows.scenario))
    _train(on_disk, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("weight", [0.3, 30.0])
def test_weights_change_the_trees_and_calibration_takes_them_out_again(tmp_path: Path, weight: float) -> None:
    rows = made_rows(days=24)
    _train(rows, tmp_path / "plain")
    train(
        rows, names=NAMES, windows=WINDOWS, out=tmp_path / "weighted", name="toy", version="1",
        options=Options(trees=10, leaves=7, threads=1, fraud_weight=weight),
    )  # fmt: skip
    plain, weighted = Model.load(tmp_path / "plain"), Model.load(tmp_path / "weighted")
    assert (tmp_path / "plain" / "model.txt").read_bytes() != (tmp_path / "weighted" / "model.txt").read_bytes()
    later = split(rows, QUICK.slices)[3]
    for one in (plain, weighted):
        assert one.predict(rows.X[later]).mean() == pytest.approx(rows.y[later].mean(), rel=0.2)
    assert weighted.manifest.training["fraud_weight"] == weight
