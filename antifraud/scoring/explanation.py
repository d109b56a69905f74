"""Why a model scored a call as it did, and what would have changed its mind: numbers only, ``sentences`` says them.

*Why* is TreeSHAP (Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
2020) as LightGBM computes it: what each feature adds to the raw score, summed over features that say one thing.
*What would have* is exact: between two neighbouring thresholds of the trees a feature can be anything without the
score changing, so one row in each such cell tells all there is. Milliseconds a call: nothing for the hot path.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import Verdict
from antifraud.scoring.manifest import Usual
from antifraud.scoring.model import Model

Floats = npt.NDArray[np.float64]

MOST_GROUNDS: Final = 3
#: How many features, strongest first, are tried alone, and how many of them in pairs: what bounds the time.
_TRIED_ALONE: Final = 6
_TRIED_IN_PAIRS: Final = 5
_MOST_CELLS: Final = 1024
_WHOLE: Final = ("count", "flag")


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """What a feature is. ``doc`` by language, as in rules/windows.yaml.

    ``form``: count, share (0-1), seconds, number, flag (0 or 1) or hour. Features of one ``group`` say one thing and
    get one sentence. ``series`` are those that count the same over other lengths ``over_s``: the shorter is never
    above the longer. ``key`` is whose past it is. What is said of a missing value: ``first`` when the key has no past,
    ``missing`` in any case; where they are empty, that it is not known.
    """

    doc: Mapping[str, str]
    form: str = "number"
    group: str = ""
    series: str = ""
    over_s: int = 0
    key: str = ""
    first: Mapping[str, str] = {}
    missing: Mapping[str, str] = {}


class Ground(msgspec.Struct, frozen=True):
    """One thing that raised the score: the ``feature`` that did most of it, its value (None: missing), what it and
    those of its group added to the raw score (log-odds), and honest calls' values where they are known.

    ``first``: the value is missing because this is the key's first call, and not for lack of a key.
    """

    feature: str
    value: float | None
    added: float
    usual: Usual | None = None
    first: bool = False


class Change(msgspec.Struct, frozen=True):
    """Values of ``feature`` from ``low`` to ``high``, both included; None is no bound."""

    feature: str
    low: float | None = None
    high: float | None = None


class Explanation(msgspec.Struct, frozen=True):
    """``verdict`` is what the score asks for. With all ``changes`` together, and nothing else changed, it would ask
    for ``instead``. Without changes none of the strongest features alone would have made a difference and, when
    ``pairs``, no two of them made usual."""

    score: float
    verdict: str
    grounds: tuple[Ground, ...]
    changes: tuple[Change, ...] = ()
    instead: str = ""
    pairs: bool = False


class Explainer:
    """Explains the scores of ``model``. Deterministic. One thread at a time; predictions go on beside it.

    ``meanings`` by feature; one without a meaning stands for itself under its name.
    """

    def __init__(self, model: Model, meanings: Mapping[str, Meaning]) -> None:
        self._model = model
        names = model.features
        self._meanings = [meanings.get(name, Meaning(doc={"en": name})) for name in names]
        self._usual = [model.manifest.usual.get(name) for name in names]
        self._counts: dict[str, list[int]] = {}
        series: dict[str, list[int]] = {}
        for index, meaning in enumerate(self._meanings):
            if meaning.key and meaning.form == "count":
                self._counts.setdefault(meaning.key, []).append(index)
            if meaning.series:
                series.setdefault(meaning.series, []).append(index)
        self._series = series
        self._thresholds = [self._attainable(index) for index in range(len(names))]

    def explain(self, row: Floats, levels: Sequence[tuple[float, str]]) -> Explanation:
        """Why ``row`` (float64[features]) has its score. ``levels``: (score from which on, verdict), hardest first."""
        return self.explain_by_class(row, [levels] * len(self._model.class_names))

    def explain_by_class(self, row: Floats, by_class: Sequence[Sequence[tuple[float, str]]]) -> Explanation:
        """The same with ``levels`` for each class of callers, in the order of ``Model.class_names``.

        A change that brings a call into another class is held against the levels there.
        """
        levels = by_class[int(self._model.classes(row[None, :])[0])]
        score = float(self._model.predict(row[None, :])[0])
        added = self._model.contributions(row[None, :])[0]
        asked = next((place for place, (threshold, _verdict) in enumerate(levels) if score >= threshold), None)
        verdict = levels[asked][1] if asked is not None else "allow"
        grounds = self._grounds(row, added)
        if asked is None:
            return Explanation(score, verdict, grounds)
        strongest = [int(index) for index in np.argsort(-added, kind="stable") if added[index] > 0][:_TRIED_ALONE]
        lowest = levels[-1][0]
        pairs = self._pairs(row, strongest)
        nothing = np.array([min((at for at, _verdict in one), default=np.inf) for one in by_class])
        changes = self._alone(row, strongest, nothing) or self._in_pairs(row, pairs, nothing)
        instead = "allow" if changes else ""
        if not changes and levels[asked][0] > lowest:
            milder = levels[asked + 1 :]
            changes = self._alone(row, strongest, np.array([_above(one, milder[0][1]) for one in by_class]))
            instead = milder[0][1] if changes else ""
        return Explanation(score, verdict, grounds, changes, instead, bool(pairs))

    # -- why -----------------------------------------------------------------------------------------------------

    def _grounds(self, row: Floats, added: Floats) -> tuple[Ground, ...]:
        groups: dict[str, list[int]] = {}
        for index, meaning in enumerate(self._meanings):
            groups.setdefault(meaning.group or self._model.features[index], []).append(index)
        totals = [(float(added[members].sum()), members) for members in groups.values()]
        totals.sort(key=lambda item: -item[0])
        found = []
        for total, members in totals[:MOST_GROUNDS]:
            if total > 0:
                index = max(members, key=lambda member: float(added[member]))
                value = float(row[index])
                known = None if math.isnan(value) else value
                first = known is None and self._key_is_known(row, index)
                found.append(Ground(self._model.features[index], known, total, self._usual[index], first))
        return tuple(found)

    def _key_is_known(self, row: Floats, index: int) -> bool:
        # A count of a key that is there is 0 at the least; without a key there is nothing to count.
        meaning = self._meanings[index]
        return bool(meaning.first) and any(not math.isnan(row[at]) for at in self._counts.get(meaning.key, ()))

    # -- what would have been ------------------------------------------------------------------------------------

    def _alone(self, row: Floats, strongest: Sequence[int], allowed: Floats) -> tuple[Change, ...]:
        """The change of one feature that brings the score below ``allowed``, by class: of the first that can."""
        for index in strongest:
            change = self._change(row, index, allowed)
            if change is not None:
                return (change,)
        return ()

    def _pairs(self, row: Floats, strongest: Sequence[int]) -> list[tuple[tuple[int, float], tuple[int, float]]]:
        """Pairs of (feature, what is usual) where both are otherwise now; the strongest first."""
        moved = [(index, to) for index in strongest[:_TRIED_IN_PAIRS] for to in self._usual_value(row, index)]
        return [
            (one, other)
            for one, other in itertools.combinations(moved, 2)
            if not self._meanings[one[0]].series or self._meanings[one[0]].series != self._meanings[other[0]].series
        ]

    def _in_pairs(
        self, row: Floats, pairs: Sequence[tuple[tuple[int, float], tuple[int, float]]], allowed: Floats
    ) -> tuple[Change, ...]:
        """The first pair that, made usual, brings the score below ``allowed``."""
        if not pairs:
            return ()
        rows = np.repeat(row[None, :], len(pairs), axis=0)
        for place, pair in enumerate(pairs):
            for index, to in pair:
                self._move(rows[place], index, to)
        good = np.flatnonzero(self._below(rows, allowed))
        if not len(good):
            return ()
        return tuple(Change(self._model.features[index], to, to) for index, to in pairs[int(good[0])])

    def _usual_value(self, row: Floats, index: int) -> Iterator[float]:
        usual = self._usual[index]
        if usual is not None and self._meanings[index].form != "hour" and row[index] != usual.median:
            yield usual.median

    def _change(self, row: Floats, index: int, allowed: Floats) -> Change | None:
        """The values nearest to the row's own, on the side of what is usual, with which the score is below."""
        meaning, value, usual = self._meanings[index], float(row[index]), self._usual[index]
        if meaning.form == "hour":
            return None  # a call is not placed at another hour
        if math.isnan(value) or meaning.form == "flag":
            to = usual.median if usual is not None else math.nan if math.isnan(value) else 1.0 - value
            if math.isnan(to) or to == value or not self._good(row, index, [to], allowed)[0]:
                return None
            return Change(self._model.features[index], to, to)
        steps = self._steps(index)
        if not len(steps) or len(steps) > _MOST_CELLS:
            return None
        # Cell k holds what is above steps[k - 1] and not above steps[k]; the last one what is above all.
        above = steps[-1] + 1.0 if meaning.form in _WHOLE else np.nextafter(steps[-1], math.inf)
        last = 1.0 if meaning.form == "share" else float(above)
        good = self._good(row, index, [*steps.tolist(), last], allowed)
        own = int(np.searchsorted(steps, value))
        target = None if usual is None else int(np.searchsorted(steps, usual.median))
        runs = [run for run in (_run(good, own, -1, target), _run(good, own, 1, target)) if run is not None]
        if not runs:
            return None
        first, final = min(runs, key=lambda run: min(abs(run[0] - own), abs(run[1] - own)))
        return self._bounds(index, steps, first, final)

    def _bounds(self, index: int, steps: Floats, first: int, final: int) -> Change:
        low = high = None
        whole = self._meanings[index].form in _WHOLE
        if first > 0:
            below = float(steps[first - 1])
            low = below + 1 if whole else float(np.nextafter(below, math.inf))
        if final < len(steps):
            high = float(steps[final])
        return Change(self._model.features[index], low, high)

    def _good(self, row: Floats, index: int, values: Sequence[float], allowed: Floats) -> list[bool]:
        rows = np.repeat(row[None, :], len(values), axis=0)
        for place, value in enumerate(values):
            self._move(rows[place], index, value)
        return self._below(rows, allowed)

    def _below(self, rows: Floats, allowed: Floats) -> list[bool]:
        below: list[bool] = (self._model.predict(rows) < allowed[self._model.classes(rows)]).tolist()
        return below

    def _move(self, row: Floats, index: int, value: float) -> None:
        """Give the feature ``value``, and what cannot stay as it was then: shorter spans of it, or longer ones."""
        row[index] = value
        for other in self._series.get(self._meanings[index].series, ()):
            over = self._meanings[other].over_s - self._meanings[index].over_s
            if (over < 0 and row[other] > value) or (over > 0 and row[other] < value):
                row[other] = value

    def _steps(self, index: int) -> Floats:
        """Where the score may change when the feature moves, with what moves along with it."""
        along = self._series.get(self._meanings[index].series, (index,))
        return np.unique(np.concatenate([self._thresholds[at] for at in along]))

    def _attainable(self, index: int) -> Floats:
        """The thresholds of a feature that its values can lie on both sides of."""
        form = self._meanings[index].form
        # A call may also come into another class, with other levels.
        bounds = self._model.class_bounds(self._model.features[index])
        steps = np.unique(np.concatenate([self._model.thresholds_of(index), bounds]))
        if form == "number":
            finite: Floats = steps[np.isfinite(steps)]
            return finite
        if form in _WHOLE:
            steps = np.floor(steps)  # a whole number is above 2.5 when it is above 2
        steps = np.unique(steps[np.isfinite(steps)])
        return steps[(steps >= 0) & (steps < 1)] if form in ("share", "flag") else steps[steps >= 0]


def _above(levels: Sequence[tuple[float, str]], milder: str) -> float:
    """The score from which on more than ``milder`` is asked for."""
    harder = Verdict.parse(milder)
    return min((at for at, verdict in levels if Verdict.parse(verdict) > harder), default=math.inf)


def _run(good: Sequence[bool], own: int, step: int, target: int | None) -> tuple[int, int] | None:
    """The cells without a gap, (first, last), nearest to ``own`` in the direction of ``step``, that are all good.

    With a ``target`` the run has to hold it: then what is said is also true of what is usual.
    """
    if target is not None and (target == own or (target > own) != (step > 0)):
        return None
    start = target
    if start is None:
        start = own + step
        while 0 <= start < len(good) and not good[start]:
            start += step
    if not 0 <= start < len(good) or not good[start]:
        return None
    first = final = start
    while first > 0 and good[first - 1]:
        first -= 1
    while final + 1 < len(good) and good[final + 1]:
        final += 1
    return first, final
