"""Labelled calls with what each system would have done about them, and the model they are measured against.

Columns and constants that every part of an evaluation reads (``evaluation``, ``cold_start``, ``carrying``, …); no
figure is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import Verdict
from antifraud.scoring.resampling import Clusters, Estimate, Shares

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Verdicts = npt.NDArray[np.uint8]

RULES, SCORE, ENGINE, LOGISTIC = "rules", "score", "rules_and_score", "logistic"
#: The systems that run over the calls themselves; the logistic regression is fitted afterwards.
RUN: Final = (RULES, SCORE, ENGINE)

_ROWS_AT_ONCE: Final = 50_000


class Calls(msgspec.Struct):
    """Labelled calls as columns, in the order in which they were made, one source after the other.

    ``campaign`` is -1 for honest calls, ``cluster`` counts campaigns and honest callers alike. ``talk_s`` is known of
    fraudulent calls only. ``unseen``: the first call of a number never seen; None where no window says so.
    ``spared``: an emergency call, a traveller, or a call while the engine is new: no score stops those. ``verdicts``
    holds what full enforcement of each system would have given (``Verdict``); ``ground`` who said so of the whole
    engine. ``rows`` are what the model saw, float32. ``place``: how many calls of its campaign each comes after, where
    some of these were left out; None where all are here.
    """

    sources: list[str]
    behaviours: list[str]
    regions: list[str]
    grounds: list[str]
    source: Integers
    ts: Floats
    fraud: Bools
    behaviour: Integers
    campaign: Integers
    cluster: Integers
    region: Integers
    talk_s: npt.NDArray[np.float32]
    unseen: Bools | None
    spared: Bools
    score: Floats
    verdicts: dict[str, npt.NDArray[np.uint8]]
    ground: Integers
    rows: npt.NDArray[np.float32]
    place: Integers | None = None

    def picked(self, kept: Bools, place: Integers) -> Calls:
        """Those of the calls that ``kept`` marks; ``place`` is of all calls."""
        return Calls(
            self.sources,
            self.behaviours,
            self.regions,
            self.grounds,
            self.source[kept],
            self.ts[kept],
            self.fraud[kept],
            self.behaviour[kept],
            self.campaign[kept],
            self.cluster[kept],
            self.region[kept],
            self.talk_s[kept],
            None if self.unseen is None else self.unseen[kept],
            self.spared[kept],
            self.score[kept],
            {name: column[kept] for name, column in self.verdicts.items()},
            self.ground[kept],
            self.rows[kept],
            place[kept],
        )


class Subject(msgspec.Struct, frozen=True):
    """The model that is evaluated: its id, features, budgets by verdict, thresholds of all calls, and its prediction.

    ``contributions``: what each feature adds to the raw score, float64[n, features]; None where nothing explains it.
    ``thresholds_for``: the threshold of each row for a verdict (block, divert), where classes of callers have their
    own; None where all have the same.
    """

    id: str
    features: tuple[str, ...]
    windows: frozenset[str]
    budgets: Mapping[str, float]
    margin: float
    divert_at: float
    block_at: float
    predict: Callable[[Floats], Floats]
    contributions: Callable[[Floats], Floats] | None = None
    thresholds_for: Callable[[Floats, str], Floats] | None = None

    def reaches(self, rows: npt.NDArray[Any], score: Floats, level: str) -> Bools:
        """Which of ``rows`` (float[n, features]) have a ``score`` that asks for ``level``, "divert" or "block"."""
        if self.thresholds_for is None:
            return score >= (self.block_at if level == "block" else self.divert_at)
        found = np.empty(len(score), dtype=np.bool_)
        for begin in range(0, len(score), _ROWS_AT_ONCE):
            these = slice(begin, begin + _ROWS_AT_ONCE)
            found[these] = score[these] >= self.thresholds_for(rows[these].astype(np.float64), level)
        return found


class Side:
    """The fraudulent or the honest calls, with draws of their clusters."""

    def __init__(self, calls: Calls, mask: Bools, rounds: int, seed: int) -> None:
        self.index = np.flatnonzero(mask)
        self.count = len(self.index)
        _names, codes = np.unique(calls.cluster[self.index], return_inverse=True)
        self.clusters = Clusters(codes.astype(np.int64), rounds, seed)

    def share(self, hit: Bools) -> Shares:
        """The share of these calls that ``hit``, a column of all calls, marks."""
        return self.clusters.shares(hit[self.index])

    def share_among(self, hit: Bools, among: Bools) -> Estimate:
        """The same, of those that ``among`` marks."""
        return self.clusters.shares(hit[self.index], np.where(among[self.index], 0, -1)).of(0)


def stops(verdict: Verdicts) -> Bools:
    """Which verdicts stop the call: diverted or blocked."""
    return verdict >= int(Verdict.DIVERT)


def blocks(verdict: Verdicts) -> Bools:
    """Which verdicts block the call."""
    return verdict >= int(Verdict.BLOCK)
