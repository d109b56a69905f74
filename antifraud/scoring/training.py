"""Training: rows in, a sealed model directory out. The rows come from the same fold and facts as the live engine.

Slices follow time: the trees are grown on the first, stopped and calibrated on the second, thresholds are certified
on the third and measured on the last. A campaign belongs to the slice in which it first called; its later calls are
left out of later slices, so that nothing is measured on a campaign the trees have seen.

Rows may lie on disk (``row_pieces``): what is held of them at a time is a chunk, and LightGBM's own form of the slices
that trees are grown and stopped on, a byte or two a value.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError, Stage
from antifraud.scoring import calibration as calibrating
from antifraud.scoring.calibration import Calibration
from antifraud.scoring.card import card_text
from antifraud.scoring.certificate import Certificate, ClassCertificate, certify, certify_classes
from antifraud.scoring.classes import Classifier, scheme, spared
from antifraud.scoring.forest import Forest, read_forest
from antifraud.scoring.manifest import FORMAT, Artefact, Manifest, Thresholds, Usual, write_manifest
from antifraud.scoring.metrics import auc, average_precision
from antifraud.scoring.model import CARD, GOLDEN, MANIFEST, TREES, Model, golden_text, sha256
from antifraud.scoring.row_pieces import CHUNK, Coded, RowPieces
from antifraud.scoring.usual import usual_values

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

#: What the field knows: more of these never makes a call less suspicious. A model need not have all of them.
MONOTONE: Final[Mapping[str, int]] = {
    "caller_reports_30d": 1,
    "prefix_reports_30d": 1,
    "callee_reports_30d": 1,
    "caller_sequential_10m": 1,
    "callee_new_callers_2h": 1,
    "spoofed_cli": 1,
}
_GOLDEN_ROWS: Final = 40
_PAUSE_S: Final = 6 * 3600.0
_SNAP: Final = 0.08
_LEAK_AUC: Final = 0.9995
_FEW_VALUES: Final = 64
# Of more calls of a class than this every so-manieth is looked at: enough to see a leak, and a wrong unit.
_LEAK_ROWS: Final = 250_000
_USUAL_ROWS: Final = 200_000


class Options(msgspec.Struct, frozen=True):
    """How to train. Budgets are shares of benign calls; floors are the least probability that a verdict needs.

    Thresholds are chosen for ``budget / margin``, because calls of other seeds and networks differ more than the
    binomial law of one slice says. ``fraud_weight`` is what a fraud call counts for where an honest one counts for 1;
    probabilities are calibrated without it. ``threads`` 0 takes the processors that this process may run on.
    """

    trees: int = 100
    leaves: int = 31
    learning_rate: float = 0.1
    min_leaf: int = 100
    feature_fraction: float = 0.9
    bagging_fraction: float = 0.9
    lambda_l2: float = 1.0
    fraud_weight: float = 1.0
    patience: int = 20
    slices: tuple[float, float, float] = (0.46, 0.58, 0.83)
    block_budget: float = 1e-4
    divert_budget: float = 5e-4
    label_budget: float = 5e-3
    margin: float = 2.0
    block_floor: float = 0.7
    divert_floor: float = 0.5
    label_floor: float = 0.3
    threads: int = 0
    seed: int = 1
    stage: Stage = Stage.SHADOW


class Rows(msgspec.Struct):
    """Labelled feature vectors of setups: X float64[n, f] (NaN missing), y, time, campaign ("" honest), behaviour.

    ``new``: calls that trees may grow on and that nothing else is made of; None: there are none.
    """

    X: Floats | RowPieces
    y: Bools
    ts: Floats
    campaign: Texts | Coded
    scenario: Texts | Coded
    new: Bools | None = None


Search = Callable[[Rows, Rows, Sequence[str], Options], tuple[Options, dict[str, Any]]]
"""Looks for options on the slices that grow and stop trees; the options, and what was tried."""

Grower = Callable[[Rows, Rows, Sequence[str], Options, Callable[[int, int], None] | None], "Booster"]
"""Grows trees on the first rows, stopped by the second: here (``grow_here``), or on other machines."""


def train(
    rows: Rows,
    *,
    names: Sequence[str],
    windows: Mapping[str, str],
    out: Path,
    name: str,
    version: str,
    options: Options | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_round: Callable[[int, int], None] | None = None,
    search: Search | None = None,
    grower: Grower | None = None,
) -> dict[str, Any]:
    """Train on ``rows`` and write the model to the directory ``out``; the metrics that the manifest carries.

    ``names`` are the columns of ``rows``; ``windows`` gives the digest of each of them that is a window, the rest are
    facts; windows that are no column are no matter. ``provenance`` goes into the manifest (command line, seeds, files
    and their hashes); ``on_round`` is told the tree just grown and how many there may be. ``search`` is given the first
    two slices before and says with which options to grow, and what the manifest tells about it; ``grower`` takes the
    place of LightGBM in this process. Raises ModelError when the rows cannot teach anything.
    """
    options = options if options is not None else Options()
    names = tuple(names)
    rows = Rows(rows.X, rows.y, rows.ts, Coded.of(rows.campaign), Coded.of(rows.scenario), rows.new)
    _check(rows, names)
    check_out(out)
    slices = split(rows, options.slices)
    grow, stop, choose, measure = (_taken(rows, chosen) for chosen in slices)
    searched: dict[str, Any] = {}
    if search is not None:
        options, found = search(grow, stop, names, options)
        searched = {"search": found}
    grown = grow_trees(grow, stop, names, options, on_round, grower)
    certain = certified_by_class(choose, grown.probabilities(choose.X), names, options)
    at = class_levels(measure.X, names, certain.classes)
    metrics = measured(measure, grown.probabilities(measure.X), certain.thresholds, names, at)
    training: dict[str, Any] = {
        "rows": len(rows.y),
        "fraud_rows": int(rows.y.sum()),
        "new_rows": 0 if rows.new is None else int(rows.new.sum()),
        "slice_rows": [len(part.y) for part in (grow, stop, choose, measure)],
        "slice_fraud_rows": [int(part.y.sum()) for part in (grow, stop, choose, measure)],
        "first_ts": float(rows.ts.min()),
        "last_ts": float(rows.ts.max()),
        **how_grown(grown, options),
        **(provenance or {}),
        **searched,
    }
    used = {column: windows[column] for column in names if column in windows}
    honest = np.flatnonzero(~grow.y if grow.new is None else ~(grow.y | grow.new))
    usual = usual_values(RowPieces.of(grow.X).at(honest[:: -(-len(honest) // _USUAL_ROWS) or 1]), names)
    draft = Draft(
        name, version, options.stage, names, used, grown.calibration, certain.thresholds, certain.certificates,
        training, metrics, usual, scheme(), certain.classes,
    )  # fmt: skip
    write(out, draft, grown, measure.X)
    return metrics


class Grown(msgspec.Struct, frozen=True):
    """Trees with their calibration: LightGBM's text of them, and the form that the engine walks."""

    text: str
    forest: Forest
    calibration: Calibration

    def probabilities(self, rows: Floats | RowPieces) -> Floats:
        """Calibrated probabilities of ``rows``."""
        return self.calibration.probabilities(self.raw_scores(rows))

    def raw_scores(self, rows: Floats | RowPieces) -> Floats:
        """The trees' sums of ``rows``."""
        return _in_chunks(self.forest.raw_scores, rows)


def _in_chunks(function: Callable[[Floats], Floats], rows: Floats | RowPieces) -> Floats:
    pieces = RowPieces.of(rows)
    found = np.empty(len(pieces), dtype=np.float64)
    for number, chunk in enumerate(pieces.chunks()):
        found[number * CHUNK : number * CHUNK + len(chunk)] = function(chunk)
    return found


def grow_trees(
    grow: Rows,
    stop: Rows,
    names: Sequence[str],
    options: Options,
    on_round: Callable[[int, int], None] | None,
    grower: Grower | None = None,
) -> Grown:
    """Trees grown on ``grow``, stopped and calibrated on ``stop``.

    ModelError when LightGBM does not predict the bits that the engine finds in its trees.
    """
    booster = (grower or grow_here)(grow, stop, names, options, on_round)
    text = _without_parameters(booster.model_to_string(num_iteration=best_trees(booster)))
    forest = read_forest(text, TREES)
    raw = _in_chunks(forest.raw_scores, stop.X)
    theirs = raw_scores_of(booster, stop.X, threads=1)
    if theirs.tobytes() != raw.tobytes():
        raise ModelError(
            f"LightGBM {_lightgbm_version()} predicts otherwise than the engine would with the same trees",
            hint="train with the version of LightGBM that the package asks for, and report this",
        )
    return Grown(text, forest, calibrating.fit(raw, stop.y))


def raw_scores_of(booster: Booster, rows: Floats | RowPieces, threads: int) -> Floats:
    """LightGBM's own sums of ``rows`` up to the tree at which it stopped, float64[n]."""

    def of_chunk(chunk: Floats) -> Floats:
        return np.asarray(booster.predict(chunk, raw_score=True, num_threads=threads), dtype=np.float64)

    return _in_chunks(of_chunk, rows)


def certified(benign: Floats, options: Options) -> tuple[dict[str, Certificate], Thresholds]:
    """Certificates and thresholds by verdict, from the scores of a benign slice that nothing was fitted on."""
    certificates = {
        "block": certify(benign, options.block_budget, floor=options.block_floor, margin=options.margin),
        "divert": certify(benign, options.divert_budget, floor=options.divert_floor, margin=options.margin),
        "label": certify(benign, options.label_budget, floor=options.label_floor, margin=options.margin),
    }
    return certificates, Thresholds(
        label=certificates["label"].threshold,
        divert=certificates["divert"].threshold,
        block=certificates["block"].threshold,
    )


class Certified(msgspec.Struct, frozen=True):
    """Thresholds and certificates of all calls together, and those of each class of callers."""

    thresholds: Thresholds
    certificates: dict[str, Certificate]
    classes: dict[str, dict[str, ClassCertificate]]


def certified_by_class(rows: Rows, scores: Floats, names: Sequence[str], options: Options) -> Certified:
    """What is certain, by class, from the honest calls of ``rows``, a slice that nothing was fitted on.

    ``scores`` float64[n] are their probabilities, ``names`` their columns.
    """
    classifier = Classifier(names)
    benign, codes = scores[~rows.y], _class_codes(classifier, rows.X)[~rows.y]
    only_label = spared(classifier.names)
    # A class that is labelled at the most is not hit by a harder verdict, and leaves its share to the others.
    reachable = np.where(only_label[codes], -1.0, benign)
    never = [name for name, one in zip(classifier.names, only_label, strict=True) if one]
    levels = (
        ("label", options.label_budget, options.label_floor, benign, ()),
        ("divert", options.divert_budget, options.divert_floor, reachable, never),
        ("block", options.block_budget, options.block_floor, reachable, never),
    )
    certificates: dict[str, Certificate] = {}
    classes: dict[str, dict[str, ClassCertificate]] = {name: {} for name in classifier.names}
    milder: dict[str, ClassCertificate] | None = None
    for level, budget, floor, of, spare in levels:
        overall = certify(of, budget, floor=floor, margin=options.margin)
        certificates[level], milder = certify_classes(
            of, codes, classifier.names, overall, floor=floor, margin=options.margin, milder=milder, never=spare
        )
        for name, one in milder.items():
            classes[name][level] = one
    thresholds = Thresholds(**{level: one.threshold for level, one in certificates.items()})
    ordered = {level: certificates[level] for level in ("block", "divert", "label")}
    return Certified(thresholds, ordered, classes)


def _class_codes(classifier: Classifier, rows: Floats | RowPieces) -> npt.NDArray[np.int8]:
    return np.concatenate([classifier.of(chunk) for chunk in RowPieces.of(rows).chunks()])


def class_levels(
    rows: Floats | RowPieces, names: Sequence[str], classes: Mapping[str, Mapping[str, ClassCertificate]]
) -> dict[str, Floats]:
    """For each verdict the score from which on it is asked for, float64[n], by the class of each of ``rows``."""
    classifier = Classifier(names)
    codes, found = _class_codes(classifier, rows), {}
    for level in ("label", "divert", "block"):
        certified_at = [classes[name][level].threshold for name in classifier.names]
        found[level] = np.array([np.inf if one is None else one for one in certified_at], dtype=np.float64)[codes]
    return found


def how_grown(grown: Grown, options: Options) -> dict[str, Any]:
    """What the manifest says about the growing."""
    return {
        "trees": grown.forest.trees,
        "leaves": options.leaves,
        "learning_rate": options.learning_rate,
        "min_leaf": options.min_leaf,
        "feature_fraction": options.feature_fraction,
        "lambda_l2": options.lambda_l2,
        "fraud_weight": options.fraud_weight,
        "seed": options.seed,
        "margin": options.margin,
        "lightgbm": _lightgbm_version(),
    }


def split(rows: Rows, at: tuple[float, float, float]) -> tuple[npt.NDArray[np.int64], ...]:
    """Row indices of the four slices: by quantiles of the rows in time, each campaign only where it began.

    Calls of new engines are in the first slice only.
    """
    order = np.argsort(rows.ts, kind="stable")
    count = len(order)
    edges = [0, *_snapped(rows.ts[order], at), count]
    place = np.empty(count, dtype=np.int64)
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        place[order[low:high]] = index
    keep = np.ones(count, dtype=np.bool_)
    campaigns = Coded.of(rows.campaign)
    began = np.full(len(campaigns.names), len(at) + 1, dtype=np.int64)
    np.minimum.at(began, campaigns.codes, place)
    named = ~campaigns.where("")
    keep[named] = place[named] == began[campaigns.codes[named]]
    if rows.new is not None:
        keep &= ~rows.new | (place == 0)
    return tuple(np.flatnonzero((place == index) & keep) for index in range(len(at) + 1))


def _snapped(ts: Floats, at: Sequence[float]) -> list[int]:
    """Where to cut the ordered times: at the shares ``at``, moved to a pause of hours where one is near.

    Seeds and files follow each other with such pauses; a cut between them keeps whole campaigns on one side.
    """
    count = len(ts)
    pauses = np.flatnonzero(np.diff(ts) > _PAUSE_S) + 1
    cuts: list[int] = []
    for share in at:
        cut = int(share * count)
        if len(pauses):
            nearest = int(pauses[np.argmin(np.abs(pauses - cut))])
            if abs(nearest - cut) <= _SNAP * count and (not cuts or nearest > cuts[-1]):
                cut = nearest
        cuts.append(cut)
    return cuts


def measured(
    rows: Rows,
    scores: Floats,
    thresholds: Thresholds,
    names: Sequence[str],
    by_row: Mapping[str, Floats] | None = None,
) -> dict[str, Any]:
    """Metrics of ``scores`` on ``rows``: separation, recall and false rates at the thresholds, and by behaviour.

    ``by_row`` has the threshold of each row, by verdict, where that is not one for all.
    """
    y = rows.y
    one_for_all = {"label": thresholds.label, "divert": thresholds.divert, "block": thresholds.block}
    levels: Mapping[str, Floats | float] = one_for_all if by_row is None else by_row
    reached = {level: scores >= at for level, at in levels.items()}
    result: dict[str, Any] = {
        "rows": len(y),
        "fraud_rows": int(y.sum()),
        "auc": _round(auc(y, scores)),
        "average_precision": _round(average_precision(y, scores)),
        "recall": {level: _round(_share(hit, y)) for level, hit in reached.items()},
        "false_calls": {level: int(np.count_nonzero(hit & ~y)) for level, hit in reached.items()},
        "benign_calls": int(np.count_nonzero(~y)),
    }
    if "caller_age" in names:
        unseen = np.isnan(RowPieces.of(rows.X).column(list(names).index("caller_age")))
        first = y & unseen
        if first.any():
            result["unseen_callers"] = {
                "fraud_rows": int(first.sum()),
                "auc": _round(auc(y[unseen], scores[unseen])),
                **{f"recall_{level}": _round(_share(hit, first)) for level, hit in reached.items()},
            }
    behaviours = {}
    scenario = Coded.of(rows.scenario)
    for behaviour in sorted(scenario.names):
        chosen = scenario.where(behaviour)
        if not chosen.any():
            continue
        part = {level: int(np.count_nonzero(hit & chosen)) for level, hit in reached.items()}
        behaviours[behaviour or "unnamed"] = {"rows": int(chosen.sum()), "fraud": bool(y[chosen].any()), **part}
    result["behaviour"] = behaviours
    return result


def _share(hit: Bools, among: Bools) -> float:
    count = int(among.sum())
    return int(np.count_nonzero(hit & among)) / count if count else float("nan")


def _round(value: float) -> float:
    return round(value, 6)


def _taken(rows: Rows, index: npt.NDArray[np.int64]) -> Rows:
    campaign, scenario = Coded.of(rows.campaign).picked(index), Coded.of(rows.scenario).picked(index)
    new = None if rows.new is None else rows.new[index]
    part = Rows(RowPieces.of(rows.X).picked(index), rows.y[index], rows.ts[index], campaign, scenario, new)
    if not part.y.any() or part.y.all():
        raise ModelError(
            f"a slice of {len(index)} calls by time has only one class",
            hint="give more events: eight days or seeds, so that campaigns begin in every slice",
        )
    return part


def _check(rows: Rows, names: Sequence[str]) -> None:
    count = len(rows.y)
    if rows.X.shape != (count, len(names)):
        raise ModelError(f"rows of shape {rows.X.shape} do not fit {count} labels and {len(names)} features")
    if not len(rows.ts) == len(rows.campaign) == len(rows.scenario) == count:
        raise ModelError("rows, times, campaigns and behaviours are not of one length")
    if len(set(names)) != len(names):
        raise ModelError("a feature is named twice", hint="rename it in rules/windows.yaml")
    odd = [name for name in names if not is_feature_name(name)]
    if odd:
        raise ModelError(f"LightGBM cannot name a feature {odd[0]!r}", hint="use a-z, 0-9 and _")
    if count < 1000:
        raise ModelError(f"{count} calls are too few to train on", hint="give 100,000 calls or more")
    if not np.isfinite(rows.ts).all():
        raise ModelError("a call has no time", hint="make the events again: antifraud simulate")
    for chunk in RowPieces.of(rows.X).chunks():
        infinite = np.isinf(chunk).any(axis=0)
        if infinite.any():
            column = names[int(np.flatnonzero(infinite)[0])]
            raise ModelError(f"the feature {column} is infinite for some call", hint="a missing value is NaN")
    if rows.y.all() or not rows.y.any():
        what = "fraud" if rows.y.all() else "honest"
        raise ModelError(f"all {count} calls are {what}: one class teaches nothing", hint="give events of both kinds")
    for column, alone in leaks(rows.X, rows.y, names):
        raise ModelError(
            f"the feature {column} alone separates fraud from honest calls (AUC {alone:.4f}): it leaks the label",
            hint=f"nothing that is known after the call may be in it; leave it out: --features -{column}",
        )


def is_feature_name(name: str) -> bool:
    """Whether LightGBM's text form can carry ``name``."""
    return name.isascii() and name.isprintable() and not any(letter in name for letter in ' ",:[]{}=')


def leaks(values: Floats | RowPieces, y: Bools, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The columns that alone tell fraud from honest, by their values or by being missing, with that AUC.

    Of many rows a quarter of a million of either class is looked at, evenly over all of them.
    """
    pieces = RowPieces.of(values)
    parts = [np.flatnonzero(chosen) for chosen in (y, ~y)]
    shown = np.sort(np.concatenate([part[:: -(-len(part) // _LEAK_ROWS) or 1] for part in parts]))
    if len(shown) < len(y):
        pieces, y = pieces.picked(shown), y[shown]
    for index, name in enumerate(names):
        column = pieces.column(index)
        missing = np.isnan(column)
        lowest = column.min(initial=0.0, where=~missing) - 1.0
        found = [auc(y, np.where(missing, lowest, column)), auc(y, missing.astype(np.float64))]
        distinct, inverse = np.unique(column, return_inverse=True)
        if len(distinct) <= _FEW_VALUES:  # a code: which values are fraud follows no order
            rates = np.bincount(inverse, weights=y) / np.bincount(inverse)
            found.append(auc(y, rates[inverse]))
        alone = max(max(one, 1.0 - one) for one in found)
        if alone > _LEAK_AUC:
            yield name, alone


def check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file())):
        raise ModelError(f"{out} exists and is no model", hint="give --out a new directory, or one that holds a model")


def grow_here(
    grow: Rows, stop: Rows, names: Sequence[str], options: Options, on_round: Callable[[int, int], None] | None
) -> Booster:
    """Trees grown by LightGBM in this process."""
    return Binned(grow, stop, names, options).grown(options, on_round)


class Binned:
    """The slices that grow and stop trees in LightGBM's own form, made once for any number of trainings.

    Bins are drawn from a sample, as LightGBM does; they do not depend on how the rows came, in memory or on disk.
    """

    def __init__(self, grow: Rows, stop: Rows, names: Sequence[str], options: Options) -> None:
        import lightgbm

        self._names = tuple(names)
        self._y = grow.y
        # Leaving out features that cannot split for one leaf size would bind the data to that size.
        self._own = {"verbosity": -1, "feature_pre_filter": False, "num_threads": threads_of(options)}
        self._train: Dataset = lightgbm.Dataset(
            _sequence(grow.X), grow.y.astype(np.float64), feature_name=list(names), params=self._own
        )
        self._stop: Dataset = self._train.create_valid(_sequence(stop.X), stop.y.astype(np.float64))

    def grown(
        self,
        options: Options,
        on_round: Callable[[int, int], None] | None = None,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Booster:
        """Trees by ``options``, stopped by the second slice; grown on ``rows`` (rising) of the first, or all."""
        import lightgbm

        data, count = self._train, len(self._y)
        if rows is not None:
            data, count = self._train.construct().subset(rows.tolist()), len(rows)

        def report(state: Any) -> None:
            if on_round is not None:
                on_round(state.iteration + 1, options.trees)

        return lightgbm.train(
            {**self._own, **parameters(self._names, options, count)},
            data,
            num_boost_round=options.trees,
            valid_sets=[self._stop],
            callbacks=[lightgbm.early_stopping(options.patience, verbose=False), report],
        )


def parameters(names: Sequence[str], options: Options, rows: int) -> dict[str, Any]:
    """LightGBM's parameters for trees grown on ``rows`` rows."""
    return {
        "objective": "binary",
        "metric": "average_precision",
        "num_leaves": options.leaves,
        "learning_rate": options.learning_rate,
        "min_data_in_leaf": min(options.min_leaf, max(1, rows // 50)),
        "feature_fraction": options.feature_fraction,
        "bagging_fraction": options.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": options.lambda_l2,
        "scale_pos_weight": options.fraud_weight,
        "monotone_constraints": [MONOTONE.get(name, 0) for name in names],
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_of(options),
        "seed": options.seed,
        "verbosity": -1,
    }


def threads_of(options: Options) -> int:
    """How many threads LightGBM is given: what the options say, else as many as this process may run on."""
    return options.threads or max(1, len(os.sched_getaffinity(0)))


def _sequence(rows: Floats | RowPieces) -> Any:
    """``rows`` as LightGBM's ``Sequence``, which it reads forward, a batch at a time."""
    import lightgbm

    pieces = RowPieces.of(rows)

    class Batches(lightgbm.Sequence):  # type: ignore[misc] # LightGBM has no types
        batch_size = CHUNK

        def __init__(self) -> None:
            self._low = 0
            self._held = pieces.take(0, 0)

        def __getitem__(self, place: Any) -> Floats:
            if isinstance(place, slice):
                return pieces.take(place.start or 0, len(pieces) if place.stop is None else place.stop)
            if not self._low <= place < self._low + len(self._held):
                # The sample for the bins is asked for row by row, forward.
                self._low = int(place)
                self._held = pieces.take(self._low, self._low + CHUNK)
            row: Floats = self._held[place - self._low]
            return row

        def __len__(self) -> int:
            return len(pieces)

    return Batches()


def best_trees(booster: Booster) -> int:
    """How many trees early stopping keeps."""
    return int(booster.best_iteration) if booster.best_iteration > 0 else int(booster.num_trees())


def _lightgbm_version() -> str:
    import lightgbm

    return str(lightgbm.__version__)


class Draft(msgspec.Struct, frozen=True):
    """What goes into the manifest beside hashes and digest."""

    name: str
    version: str
    stage: Stage
    features: tuple[str, ...]
    windows: dict[str, str]
    calibration: Calibration
    thresholds: Thresholds
    certificate: dict[str, Certificate]
    training: dict[str, Any]
    metrics: dict[str, Any]
    usual: dict[str, Usual] = {}
    class_scheme: str = ""
    classes: dict[str, dict[str, ClassCertificate]] = {}


def write(out: Path, draft: Draft, grown: Grown, measured_rows: Floats | RowPieces) -> None:
    """Write the model to the directory ``out``, with golden rows out of ``measured_rows``; all of it or nothing."""
    trees = grown.text.encode()
    rows = RowPieces.of(measured_rows).at(_golden_sample(grown.raw_scores(measured_rows)))
    golden = golden_text(draft.features, rows, grown.probabilities(rows)).encode()
    manifest = Manifest(
        format=FORMAT,
        digest="",
        trees=Artefact(TREES, sha256(trees)),
        golden=Artefact(GOLDEN, sha256(golden)),
        **msgspec.structs.asdict(draft),
    )
    manifest = msgspec.structs.replace(manifest, digest=manifest.sealed())
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        (part / TREES).write_bytes(trees)
        (part / GOLDEN).write_bytes(golden)
        (part / CARD).write_text(card_text(manifest), encoding="utf-8")
        write_manifest(manifest, part / MANIFEST)
        Model.load(part)  # what cannot be loaded is not written
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    except OSError as error:
        raise ModelError(f"cannot write {out}: {error.strerror or error}", hint="check the directory") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _without_parameters(text: str) -> str:
    # The list of training parameters names threads of the machine; the manifest says what matters.
    head, _mark, _rest = text.partition("\nparameters:")
    return head + "\n"


def _golden_sample(scores: Floats) -> npt.NDArray[np.int64]:
    """Rows over the whole range of scores, highest and lowest included."""
    order = np.argsort(scores, kind="stable")
    places = np.concatenate(
        [
            np.linspace(0, len(order) - 1, _GOLDEN_ROWS // 2),
            np.linspace(len(order) * 0.97, len(order) - 1, _GOLDEN_ROWS // 2),
        ]
    )
    return order[np.unique(places.astype(np.int64))]
