"""Models of numbers: a table with a row for each subscriber, for nightly scoring of a network's own numbers.

Trees, calibration, certificate and files are those of calls. The slices are not: a table has no time, so rows are
drawn at random, each class by itself. Five times three quarters teach (four fifths of them grow the trees, one stops
and calibrates them) and a quarter measures; the first of these models is the one that is written, and its thresholds
are certified on the quarter that it has not seen. Only honest numbers of that quarter choose thresholds, so the share
of its fraud that they find is measured fairly on the same quarter.

The quarters of one shuffle are used before the rows are shuffled anew, so five rounds measure every number at least
once: the mean depends less on luck than with five independent draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError
from antifraud.scoring.manifest import NUMBERS
from antifraud.scoring.metrics import auc, average_precision, macro_f1, precision_at, recall
from antifraud.scoring.model import Model
from antifraud.scoring.number_table import Bools, Floats, Table
from antifraud.scoring.training import (
    Draft,
    Grown,
    Options,
    Rows,
    certified,
    check_out,
    grow_trees,
    how_grown,
    is_feature_name,
    leaks,
    measured,
    write,
)

#: Shares of fraud among all numbers for which precision is worked out; tables for training have far more.
PREVALENCES: Final = (0.001, 0.01)
ROUNDS: Final = 5
_EVEN: Final = 0.5
_FEWEST: Final = 40
_MOST_CELLS: Final = 40_000_000
# On fewer cells threads wait for each other longer than they work.
_WORTH_THREADS: Final = 4_000_000
_LEVELS: Final = ("label", "divert", "block")

Indices = npt.NDArray[np.int64]


def number_options(**given: Any) -> Options:
    """The options of numbers: tables are small, so trees are smaller, slower and see fewer columns each."""
    usual: dict[str, Any] = {
        "trees": 600, "leaves": 12, "learning_rate": 0.03, "min_leaf": 20, "feature_fraction": 0.3,
        "bagging_fraction": 0.7, "patience": 60, "block_budget": 5e-3, "divert_budget": 1e-2, "label_budget": 5e-2,
    }  # fmt: skip
    return Options(**{**usual, **{key: value for key, value in given.items() if value is not None}})


def read_labelled(
    table: Table, columns: Sequence[str], seed: int, on_bytes: Callable[[int], None] | None = None
) -> tuple[Floats, Bools, int]:
    """X, y and how many rows there were; of more than fit in 320 MB a sample, each row with the same chance."""
    most = max(1, _MOST_CELLS // max(1, len(columns)))
    rng = np.random.default_rng(seed)
    blocks: list[Floats] = []
    labels: list[Bools] = []
    kept: tuple[Floats, Bools] | None = None
    count = 0
    for chunk in table.chunks(columns, on_bytes):
        rows, y = chunk.X, chunk.y
        if count < most:
            room = most - count
            blocks.append(rows[:room])
            labels.append(y[:room])
            count += len(y[:room])
            rows, y = rows[room:], y[room:]
        if len(y):
            if kept is None:
                kept = (np.concatenate(blocks), np.concatenate(labels))
                blocks, labels = [], []
            # Algorithm R (Vitter, 1985): row i takes the place of one of the sample with the chance most / (i + 1).
            places = rng.integers(0, np.arange(count + 1, count + 1 + len(y)))
            count += len(y)
            taken = places < most
            kept[0][places[taken]], kept[1][places[taken]] = rows[taken], y[taken]
    if kept is not None:
        return *kept, count
    if not blocks:
        raise ModelError(f"{table.path}: there is no row in it", hint="a line for each number, after the header")
    return np.concatenate(blocks), np.concatenate(labels), count


def train_numbers(
    values: Floats,
    y: Bools,
    *,
    names: Sequence[str],
    out: Path,
    name: str,
    version: str,
    options: Options | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train on rows of numbers and write the model to ``out``; the metrics that the manifest carries.

    ``values`` is float64[n, columns] with NaN for missing, ``y`` says which are fraud. ModelError when they cannot
    teach anything, or a column leaks the label.
    """
    options = options if options is not None else number_options()
    names = tuple(names)
    _check(values, y, names)
    check_out(out)
    if not options.threads and values.size < _WORTH_THREADS:
        options = msgspec.structs.replace(options, threads=1)
    total = options.trees * ROUNDS
    rounds: list[dict[str, Any]] = []
    first: tuple[Grown, Rows] | None = None
    sizes: list[list[int]] = []
    for index, (teach, held_out) in enumerate(quarters(y, ROUNDS, options.seed)):
        inner = _shares(y[teach], 5, np.random.default_rng([options.seed, index, 1]))
        grow, stop = _rows(values, y, teach[inner != 0]), _rows(values, y, teach[inner == 0])
        measure = _rows(values, y, held_out)
        told = None if on_round is None else _told(on_round, index * options.trees, total)
        grown = grow_trees(grow, stop, names, options, told)
        rounds.append(_round_metrics(measure, grown, options))
        if first is None:
            first = (grown, measure)
            sizes = [[len(part.y), int(part.y.sum())] for part in (grow, stop, measure)]
    assert first is not None
    grown, measure = first
    scores = grown.probabilities(measure.X)
    certificates, thresholds = certified(scores[~measure.y], options)
    metrics = {**measured(measure, scores, thresholds, names), "repeated": _repeated(rounds)}
    honest = np.where(y[:, None], np.nan, values)
    training: dict[str, Any] = {
        "mode": NUMBERS,
        "rows": len(y),
        "fraud_rows": int(y.sum()),
        "slice_rows": [size for size, _fraud in sizes],
        "slice_fraud_rows": [fraud for _size, fraud in sizes],
        "usual": {column: median for column, median in zip(names, _medians(honest), strict=True) if median == median},
        **how_grown(grown, options),
        **(provenance or {}),
    }
    draft = Draft(
        name, version, options.stage, names, {}, grown.calibration, thresholds, certificates, training, metrics
    )
    write(out, draft, grown, measure.X)
    return metrics


def quarters(y: Bools, rounds: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """(three quarters, one quarter) of the rows, each class divided alike; four rounds use each row once."""
    place = np.empty(0, dtype=np.int64)
    for index in range(rounds):
        if index % 4 == 0:
            place = _shares(y, 4, np.random.default_rng([seed, index]))
        yield np.flatnonzero(place != index % 4), np.flatnonzero(place == index % 4)


def _shares(y: Bools, parts: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """For every row one of ``parts`` numbers, drawn so that each has its share of either class."""
    place = np.empty(len(y), dtype=np.int64)
    for chosen in (y, ~y):
        place[chosen] = rng.permutation(int(chosen.sum())) % parts
    return place


def _rows(values: Floats, y: Bools, index: Indices) -> Rows:
    chosen = y[index]
    none = np.zeros(len(index), dtype=np.str_)
    return Rows(values[index], chosen, np.zeros(len(index)), none, np.where(chosen, "fraud", "honest"))


def _told(on_round: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _most: on_round(before + done, total)


def _round_metrics(rows: Rows, grown: Grown, options: Options) -> dict[str, Any]:
    scores = grown.probabilities(rows.X)
    certificates, _thresholds = certified(scores[~rows.y], options)
    return {
        "auc": auc(rows.y, scores),
        "average_precision": average_precision(rows.y, scores),
        "macro_f1": macro_f1(rows.y, scores >= _EVEN),
        "levels": {
            "even": {"recall": recall(rows.y, scores, _EVEN), "false": float((scores[~rows.y] >= _EVEN).mean())},
            **{
                level: {
                    "recall": recall(rows.y, scores, one.threshold),
                    "false": one.errors / one.n,
                    "bound": one.bound,
                }
                for level, one in certificates.items()
            },
        },
    }


def _repeated(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the rounds, the deviation of single rounds, and precision where fraud is as rare as in life."""
    result: dict[str, Any] = {"rounds": len(rounds)}
    for key in ("auc", "average_precision", "macro_f1"):
        found = [one[key] for one in rounds]
        result[key] = round(float(np.mean(found)), 6)
        result[f"{key}_deviation"] = round(float(np.std(found, ddof=1)), 6)
    levels = {}
    for level in ("even", *_LEVELS):
        found_share = float(np.mean([one["levels"][level]["recall"] for one in rounds]))
        false = float(np.mean([one["levels"][level]["false"] for one in rounds]))
        part: dict[str, Any] = {"recall": round(found_share, 6), "false": round(false, 6)}
        for prevalence in PREVALENCES:
            part[f"precision_{prevalence:g}"] = round(precision_at(prevalence, found_share, false), 6)
        if level != "even":
            bound = float(np.mean([one["levels"][level]["bound"] for one in rounds]))
            for prevalence in PREVALENCES:
                part[f"precision_{prevalence:g}_at_least"] = round(precision_at(prevalence, found_share, bound), 6)
        levels[level] = part
    result["levels"] = levels
    return result


def _medians(values: Floats) -> list[float]:
    found = []
    for column in values.T:
        known = column[~np.isnan(column)]
        found.append(float(np.median(known)) if len(known) else float("nan"))
    return found


def _check(values: Floats, y: Bools, names: Sequence[str]) -> None:
    if values.shape != (len(y), len(names)):
        raise ModelError(f"rows of shape {values.shape} do not fit {len(y)} labels and {len(names)} columns")
    if not names:
        raise ModelError("there is no column to learn from", hint="a table has an id, a label and what is counted")
    odd = [name for name in names if not is_feature_name(name)]
    if odd:
        raise ModelError(f"LightGBM cannot name a feature {odd[0]!r}", hint="name columns with a-z, 0-9 and _")
    if not np.isfinite(values[~np.isnan(values)]).all():
        raise ModelError("a value is infinite", hint="a missing value is NaN")
    fraud = int(y.sum())
    if not fraud or fraud == len(y):
        what = "fraud" if fraud else "honest"
        hint = "a table for training has lines of both, 1 and 0 in the column of labels"
        raise ModelError(f"all {len(y)} numbers are {what}: one class teaches nothing", hint=hint)
    if min(fraud, len(y) - fraud) < _FEWEST:
        few, what = (fraud, "fraud") if fraud < _FEWEST else (len(y) - fraud, "honest")
        raise ModelError(
            f"only {few} numbers are {what}: with under {_FEWEST} nothing can be measured",
            hint="add older cases; a table may span months, each number once",
        )
    found = list(leaks(values, y, names))
    if found:
        column, alone = found[0]
        all_of_them = ",".join(f"-{name}" for name, _alone in found)
        raise ModelError(
            f"the column {column} alone tells fraud from honest numbers (AUC {alone:.4f}): it leaks the label",
            hint=f"what was written once the fraud was known teaches nothing, leave it out: --features {all_of_them}",
        )


# ---------------------------------------------------------------------- scoring a table


class Scored(msgspec.Struct, frozen=True):
    """One number's score (0-1), the hardest verdict whose threshold it reaches ("" none), and why."""

    id: str
    score: float
    verdict: str
    reasons: tuple[str, ...]


def score_numbers(
    model: Model,
    table: Table,
    *,
    reasons: int = 3,
    every: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Scored]:
    """Every row of ``table`` with its score, in order, in bounded memory.

    The strongest ``reasons`` are given for numbers that reach a threshold, or for ``every`` number: they take some
    twenty times as long as the score.
    ModelError when ``model`` is not one of numbers; UsageError at what cannot be read, see ``Table.chunks``.
    """
    if not model.of_numbers:
        raise ModelError(
            f"the model {model.id} is one of calls", hint="train one of numbers: antifraud model train --table FILE.csv"
        )
    usual = model.manifest.training.get("usual", {})
    levels = [(name, getattr(model.thresholds, name)) for name in reversed(_LEVELS)]
    for chunk in table.chunks(model.features, on_bytes):
        scores = model.predict(chunk.X)
        why: list[tuple[str, ...]] = [()] * len(scores)
        if reasons:
            wanted = np.flatnonzero((scores >= levels[-1][1]) | every)
            for at, said in zip(wanted.tolist(), _reasons(model, chunk.X[wanted], reasons, usual), strict=True):
                why[at] = said
        for one, score, because in zip(chunk.ids, scores.tolist(), why, strict=True):
            level = next((name for name, threshold in levels if score >= threshold), "")
            yield Scored(one, score, level, because)


def _reasons(model: Model, rows: Floats, most: int, usual: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What raised each score most, as "column value (usual median)"."""
    added = model.contributions(rows)
    order = np.argsort(-added, axis=1, kind="stable")[:, :most]
    said = []
    for row, strengths, strongest in zip(rows, added, order.tolist(), strict=True):
        said.append(
            tuple(
                _sentence(model.features[at], float(row[at]), usual.get(model.features[at]))
                for at in strongest
                if strengths[at] > 0
            )
        )
    return said


def _sentence(name: str, value: float, median: object) -> str:
    shown = "unknown" if value != value else f"{value:.6g}"
    return f"{name} {shown} (usual {median:.6g})" if isinstance(median, int | float) else f"{name} {shown}"
