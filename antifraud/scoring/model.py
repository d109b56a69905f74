"""A model bundle: loading it with everything checked, and predicting. Training is in ``training``.

Predicting needs no LightGBM: ``forest`` walks its trees, to the same bits and several times faster
(benchmarks/scoring.py). LightGBM is loaded when somebody asks for reasons.

A directory ``<name>/<version>/`` holds model.txt (LightGBM's text form, never pickle), manifest.toml, golden.csv
(rows and the scores they must give) and card.md.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError, Stage
from antifraud.scoring.classes import Classifier, Codes
from antifraud.scoring.forest import MOST_BYTES, Forest, read_forest
from antifraud.scoring.manifest import (
    NUMBERS,
    RESTORE,
    Artefact,
    ClassThresholds,
    Manifest,
    Thresholds,
    read_manifest,
)

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = npt.NDArray[np.float64]

MANIFEST: Final = "manifest.toml"
TREES: Final = "model.txt"
GOLDEN: Final = "golden.csv"
CARD: Final = "card.md"
_TOLERANCE: Final = 1e-9
_MOST_GOLDEN: Final = 16 << 20


class Model:
    """A loaded model. ``predict`` is deterministic: the same row gives the same bits in whatever batch it comes."""

    def __init__(self, manifest: Manifest, trees: str, forest: Forest) -> None:
        self.manifest = manifest
        self._trees = trees
        self._forest = forest
        self._booster: Booster | None = None
        self._classifier = Classifier(manifest.features) if manifest.classes else None

    @classmethod
    def load(cls, directory: Path) -> Model:
        """The model in ``directory``; ModelError when a file is missing, cut, edited, or does not give its scores."""
        manifest = read_manifest(directory / MANIFEST)
        trees = _sealed(directory, manifest.trees, MOST_BYTES)
        golden = _sealed(directory, manifest.golden, _MOST_GOLDEN)
        text = _text(trees, directory / manifest.trees.file)
        forest = read_forest(text, str(directory / manifest.trees.file))
        if forest.features != manifest.features:
            raise ModelError(
                f"{directory / manifest.trees.file}: its features are not those of the manifest, in that order",
                hint=RESTORE,
            )
        model = cls(manifest, text, forest)
        rows, scores = _read_golden(golden, directory / manifest.golden.file, manifest.features)
        given = model.predict(rows)
        wrong = np.flatnonzero(~(np.abs(given - scores) <= _TOLERANCE))
        if len(wrong):
            at = int(wrong[0])
            raise ModelError(
                f"{directory}: golden row {at + 1} gives {given[at]:.6f} instead of {scores[at]:.6f}",
                hint="this machine computes otherwise than the one that trained the model; " + RESTORE,
            )
        return model

    @property
    def id(self) -> str:
        """``name/version@hash8``: in every decision made with this model."""
        return f"{self.manifest.name}/{self.manifest.version}@{self.manifest.digest[:8]}"

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that ``predict`` expects, in order."""
        return self.manifest.features

    @property
    def windows(self) -> Mapping[str, str]:
        """Those of ``features`` that are windows, with the digest of the content each was trained on."""
        return self.manifest.windows

    @property
    def of_numbers(self) -> bool:
        """Whether it scores numbers from tables (``numbers``) instead of calls."""
        return self.manifest.training.get("mode") == NUMBERS

    @property
    def stage(self) -> Stage:
        """How far the model's roll-out has come."""
        return self.manifest.stage

    @property
    def percent(self) -> float:
        """The share of callers, in percent, about whom the model decides at stage canary."""
        return self.manifest.percent

    @property
    def thresholds(self) -> Thresholds:
        """The certified thresholds of all calls together; what holds for a call is that of its class."""
        return self.manifest.thresholds

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of callers that it tells apart; one without a name where it has no classes."""
        return self._classifier.names if self._classifier is not None else ("",)

    @property
    def class_thresholds(self) -> tuple[ClassThresholds, ...]:
        """The certified thresholds of each class."""
        return self.manifest.class_thresholds

    def classes(self, rows: Floats) -> Codes:
        """The class of each of ``rows`` float64[n, features], int8[n], as a place in ``class_names``."""
        self._check(rows)
        return self._classifier.of(rows) if self._classifier is not None else np.zeros(len(rows), dtype=np.int8)

    def class_bounds(self, feature: str) -> Floats:
        """The values t, rising, at which a call changes its class when only ``feature`` moves: between two, (s, t]."""
        return self._classifier.bounds(feature) if self._classifier is not None else np.empty(0, dtype=np.float64)

    def thresholds_for(self, rows: Floats, level: str) -> Floats:
        """The score from which on ``level`` (label, divert, block) is asked for, float64[n]; infinite where never."""
        by_class = [getattr(one, level) for one in self.class_thresholds]
        reached = np.array([np.inf if at is None else at for at in by_class], dtype=np.float64)
        return reached[self.classes(rows)]

    def predict(self, rows: Floats) -> Floats:
        """Probabilities of fraud, float64[n], of ``rows`` float64[n, features]; NaN in a row means missing."""
        self._check(rows)
        return self.manifest.calibration.probabilities(self._forest.raw_scores(rows))

    def thresholds_of(self, feature: int) -> Floats:
        """The values, rising, at which the score may change when only this feature does (see ``forest``)."""
        return self._forest.thresholds_of(feature)

    def contributions(self, rows: Floats) -> Floats:
        """What each feature adds to the raw score, float64[n, features]: exact TreeSHAP, by LightGBM. Slow."""
        self._check(rows)
        if self._booster is None:
            import lightgbm

            self._booster = lightgbm.Booster(model_str=self._trees)
        if not len(rows):
            return np.empty(rows.shape, dtype=np.float64)
        found = self._booster.predict(rows, pred_contrib=True, num_threads=1)
        return np.asarray(found, dtype=np.float64)[:, :-1]  # the last column is what every row begins with

    def _check(self, rows: Floats) -> None:
        if rows.ndim != 2 or rows.shape[1] != len(self.manifest.features):
            raise ModelError(
                f"rows of shape {rows.shape} do not fit a model with {len(self.manifest.features)} features",
                hint="the columns are the features of the model, in its order",
            )


def golden_text(names: tuple[str, ...], rows: Floats, scores: Floats) -> str:
    """golden.csv: the features' names and ``score``, then rows; an empty cell is a missing value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "score"])
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        writer.writerow(["" if value != value else repr(value) for value in row] + [repr(score)])
    return out.getvalue()


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content`` in hex."""
    return hashlib.sha256(content).hexdigest()


def _sealed(directory: Path, artefact: Artefact, most: int) -> bytes:
    path = directory / artefact.file
    if Path(artefact.file).name != artefact.file:
        raise ModelError(f"{directory / MANIFEST}: {artefact.file!r} is not a file beside the manifest", hint=RESTORE)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", hint=RESTORE) from error
    if len(content) > most:
        raise ModelError(f"{path}: more than {most >> 20} MiB", hint=RESTORE)
    if sha256(content) != artefact.sha256:
        raise ModelError(f"{path}: cut short or edited: its SHA-256 is not the manifest's", hint=RESTORE)
    return content


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a model in LightGBM's text form", hint=RESTORE) from error


def _read_golden(content: bytes, path: Path, features: tuple[str, ...]) -> tuple[Floats, Floats]:
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"))))
        if not lines or tuple(lines[0]) != (*features, "score") or len(lines) < 2:
            raise ModelError(f"{path}: its columns are not the model's features and score", hint=RESTORE)
        wide = next((at for at, line in enumerate(lines[1:], 1) if len(line) != len(features) + 1), None)
        if wide is not None:
            message = f"{path}: row {wide} has {len(lines[wide])} cells instead of {len(features) + 1}"
            raise ModelError(message, hint=RESTORE)
        cells = [[float(cell) if cell else float("nan") for cell in line] for line in lines[1:]]
        table = np.array(cells, dtype=np.float64).reshape(len(cells), len(features) + 1)
    except (ValueError, csv.Error) as error:
        raise ModelError(f"{path}: not a table of numbers: {str(error)[:120]}", hint=RESTORE) from error
    return table[:, :-1], table[:, -1]
