"""Drift: whether calls, and the scores that they get, still look like those that a model was trained on.

A model's directory may hold reference.json: of each feature and of the score, edges at quantiles of the training rows,
and the share of rows between them. Later rows are counted between the same edges, a batch at a time, and compared by

- PSI, the population stability index: the sum of (live - training) * ln(live / training) over the bins, missing values
  being a bin of their own. Symmetric, 0 for the same shares; from 0.1 on a change is usually looked at, from 0.25 on
  acted upon (Siddiqi, "Credit Risk Scorecards", 2006). Without any drift it is about bins * (1 / n + 1 / m);
- KS, the greatest distance between the two cumulative distributions at an edge, missing values left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError, UsageError
from antifraud.scoring.manifest import Thresholds

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

REFERENCE: Final = "reference.json"
FORMAT: Final = "antifraud.reference/1"
SCORE: Final = "score"
#: The PSI from which on a column has drifted, and the fewest calls that can show it.
ALARM: Final = 0.25
FEWEST: Final = 1000

_AT: Final = (*(step / 20 for step in range(1, 20)), 0.99, 0.999)
_MAKE: Final = "make it again: antifraud model drift MODEL --save, with what the model was trained on"
_MOST_BYTES: Final = 16 << 20


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature, or ``score``: rising ``edges``, how many rows lay up to each and above the last, how many missing.

    A value belongs to the first edge that it does not exceed.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What calls looked like in training. ``model`` is the digest of the model that gave the scores."""

    format: str
    model: str
    calls: int
    made_from: str
    columns: tuple[Column, ...]


class Drift(msgspec.Struct, frozen=True):
    """How far one column has moved; ``missing`` and ``missing_then`` are shares of rows."""

    name: str
    psi: float
    ks: float
    missing: float
    missing_then: float
    drifted: bool


def make_reference(
    rows: npt.NDArray[Any], scores: Floats, names: Sequence[str], thresholds: Thresholds, model: str, made_from: str
) -> Reference:
    """The reference of ``rows`` [n, features] with their ``scores``. UsageError when they are too few."""
    _enough(len(scores))
    columns = [_column(name, rows[:, at].astype(np.float64), ()) for at, name in enumerate(names)]
    # A score that reaches a threshold belongs above it.
    levels = [thresholds.label, thresholds.divert, thresholds.block]
    columns.append(_column(SCORE, scores, [float(np.nextafter(level, -np.inf)) for level in levels]))
    return Reference(FORMAT, model, len(scores), made_from, tuple(columns))


def write_reference(reference: Reference, directory: Path) -> Path:
    """Write ``reference`` into the model's ``directory``, whole or not at all."""
    path = directory / REFERENCE
    part = directory / f".{REFERENCE}.part"
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(reference), indent=1) + b"\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror or error}", hint="check its permissions") from error
    return path


def read_reference(path: Path, model: str, features: Sequence[str]) -> Reference:
    """The reference at ``path``, checked; ModelError when it is damaged, or of another model than ``model``."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent}: nothing says what calls looked like in training: there is no {path.name}",
            hint="make one: antifraud model drift MODEL --save, with what the model was trained on",
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", hint="check its permissions") from error
    if len(content) > _MOST_BYTES:
        raise ModelError(f"{path}: larger than 16 MiB", hint=_MAKE)
    try:
        found = msgspec.json.decode(content, type=Reference)
    except (msgspec.DecodeError, RecursionError) as error:
        message = str(error)
        raise ModelError(f"{path}: cut short or edited: {message[:1].lower()}{message[1:]}", hint=_MAKE) from error
    if found.format != FORMAT:
        raise ModelError(f"{path}: format {found.format!r} is not {FORMAT!r}, the one understood here", hint=_MAKE)
    if found.model != model:
        raise ModelError(f"{path}: made with another model ({found.model[:16]}, not {model[:16]})", hint=_MAKE)
    if [column.name for column in found.columns] != [*features, SCORE]:
        raise ModelError(f"{path}: its columns are not the features of the model, in order, and score", hint=_MAKE)
    for column in found.columns:
        if not _sound(column, found.calls):
            raise ModelError(f"{path}: the column {column.name} cannot be meant", hint=_MAKE)
    return found


class LiveCounts:
    """Counts rows between the edges of ``reference``; memory does not grow with them."""

    def __init__(self, reference: Reference, *, score_only: bool = False) -> None:
        self._reference = reference
        self._columns = [
            (at, column) for at, column in enumerate(reference.columns) if column.name == SCORE or not score_only
        ]
        self._counts = {column.name: np.zeros(len(column.counts), dtype=np.int64) for _at, column in self._columns}
        self._missing = dict.fromkeys(self._counts, 0)
        self.calls = 0

    def add(self, rows: Floats | None, scores: Floats) -> None:
        """Count ``rows`` [n, features] (None when only scores are known) with their ``scores``."""
        for at, column in self._columns:
            if column.name == SCORE:
                values = scores
            else:
                assert rows is not None, "without rows only the score is counted"
                values = rows[:, at]
            counts, missing = _counted(values, column.edges)
            self._counts[column.name] += counts
            self._missing[column.name] += missing
        self.calls += len(scores)

    def compared(self, alarm: float = ALARM) -> list[Drift]:
        """Every column against training, the one that moved farthest first. UsageError when calls are too few."""
        _enough(self.calls)
        found = [
            _compared(column, self._counts[column.name], self._missing[column.name], alarm)
            for _at, column in self._columns
        ]
        return sorted(found, key=lambda one: (-one.psi, one.name))


def _enough(calls: int) -> None:
    if calls < FEWEST:
        raise UsageError(
            f"{calls:,} calls are too few to tell drift from chance",
            hint=f"give {FEWEST:,} or more, better a whole day",
        )


def _column(name: str, values: Floats, more: Sequence[float]) -> Column:
    known = values[~np.isnan(values)]
    edges: list[float] = []
    if len(known):
        quantiles = np.quantile(known, _AT, method="inverted_cdf").tolist()
        edges = sorted({*quantiles, *more})
    counts, missing = _counted(values, edges)
    return Column(name, tuple(edges), tuple(counts.tolist()), missing)


def _counted(values: Floats, edges: Sequence[float]) -> tuple[Counts, int]:
    known = values[~np.isnan(values)]
    places = np.searchsorted(np.array(edges, dtype=np.float64), known, side="left")
    return np.bincount(places, minlength=len(edges) + 1), len(values) - len(known)


def _compared(column: Column, counts: Counts, missing: int, alarm: float) -> Drift:
    then = np.array([*column.counts, column.missing], dtype=np.float64)
    now = np.array([*counts.tolist(), missing], dtype=np.float64)
    kept = (then > 0) | (now > 0)
    psi = 0.0
    if kept.any():
        # Half a call in each bin: one that was empty then is no infinite surprise now.
        a, b = then[kept] + 0.5, now[kept] + 0.5
        a, b = a / a.sum(), b / b.sum()
        psi = float(((b - a) * np.log(b / a)).sum())
    return Drift(
        column.name,
        psi,
        _ks(then[:-1], now[:-1]),
        missing / float(now.sum()) if now.sum() else math.nan,
        column.missing / float(then.sum()) if then.sum() else math.nan,
        psi >= alarm,
    )


def _ks(then: Floats, now: Floats) -> float:
    if not then.sum() or not now.sum():
        return 0.0
    return float(np.abs(np.cumsum(then) / then.sum() - np.cumsum(now) / now.sum()).max())


def _sound(column: Column, calls: int) -> bool:
    edges = column.edges
    return (
        len(column.counts) == len(edges) + 1
        and all(map(math.isfinite, edges))
        and all(low < high for low, high in itertools.pairwise(edges))
        and column.missing >= 0
        and all(count >= 0 for count in column.counts)
        and sum(column.counts) + column.missing == calls
    )
