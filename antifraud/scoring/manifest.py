"""manifest.toml: what a model is, what it was trained on, what is known about it; and the digest that seals it."""

from __future__ import annotations

import hashlib
import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ModelError, Stage
from antifraud.scoring.calibration import Calibration
from antifraud.scoring.certificate import Certificate, ClassCertificate
from antifraud.scoring.classes import class_names, scheme

FORMAT: Final = 3
#: Still read: it has one threshold a verdict for all calls, and no classes.
WITHOUT_CLASSES: Final = 2
#: What ``certificate`` and ``classes`` speak of, from mild to hard.
CERTIFIED: Final = ("label", "divert", "block")
#: ``training.mode`` of a model of subscribers' numbers; a model of calls says nothing there.
NUMBERS: Final = "numbers"
RETRAIN: Final = "train it again: antifraud model train"
RESTORE: Final = "restore the model's directory from version control, or train it again: antifraud model train"
_MOST_BYTES: Final = 4 << 20


class Thresholds(msgspec.Struct, frozen=True):
    """Scores (0-1) from which on the model asks for a verdict; challenge may be None: the model never asks for it."""

    label: float
    divert: float
    block: float
    challenge: float | None = None


class ClassThresholds(msgspec.Struct, frozen=True):
    """The same for one class of callers; None: the model never asks for that verdict about it."""

    label: float | None
    divert: float | None
    block: float | None
    challenge: float | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the stage: to what, by whom, why, and when (text in UTC); ``approvals``: who else agreed."""

    stage: Stage
    by: str
    why: str
    when: str
    percent: float = 100.0
    approvals: tuple[str, ...] = ()


class Artefact(msgspec.Struct, frozen=True):
    """A file of the model's directory and the SHA-256 of its bytes."""

    file: str
    sha256: str


class Usual(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Values of honest calls that have one: 5 % lie below ``low``, half below ``median``, 5 % above ``high``."""

    low: float
    median: float
    high: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest as it is written. ``digest`` seals everything that changes scores or verdicts; not the stage.

    ``thresholds`` and ``certificate`` are about all calls together. ``classes`` has a certificate for each class of
    callers and verdict, with the threshold that holds there; ``class_scheme`` is the digest of what the classes mean.
    Format 2 and models of numbers have no classes: ``thresholds`` hold for everything.

    ``percent`` is the share of callers at stage canary; ``history`` is how the stage came about.

    ``windows`` maps those of ``features`` that are windows to the digest of the content they were trained on; the
    other features are facts. ``usual`` is for explanations; features that honest calls never have are not in it, and
    models that were trained before it was written have none of it.
    """

    format: int
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    stage: Stage
    digest: str
    features: tuple[str, ...]
    windows: dict[str, str]
    trees: Artefact
    golden: Artefact
    calibration: Calibration
    thresholds: Thresholds
    certificate: dict[str, Certificate]
    training: dict[str, Any]
    metrics: dict[str, Any]
    usual: dict[str, Usual] = {}
    class_scheme: str = ""
    classes: dict[str, dict[str, ClassCertificate]] = {}
    percent: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 100.0
    history: tuple[Promotion, ...] = ()

    @property
    def class_thresholds(self) -> tuple[ClassThresholds, ...]:
        """The thresholds of each class that ``features`` tell apart, in their order; of all calls without classes."""
        if not self.classes:
            one = self.thresholds
            return (ClassThresholds(one.label, one.divert, one.block, one.challenge),)
        return tuple(
            ClassThresholds(**{level: self.classes[name][level].threshold for level in CERTIFIED})
            for name in class_names(self.features)
        )

    def sealed(self) -> str:
        """The digest that this manifest ought to carry: 16 hex digits."""
        parts = [
            self.format, self.name, self.version, list(self.features), sorted(self.windows.items()),
            [self.trees.file, self.trees.sha256], [self.golden.file, self.golden.sha256],
            [self.calibration.slope, self.calibration.intercept],
            [self.thresholds.label, self.thresholds.challenge, self.thresholds.divert, self.thresholds.block],
        ]  # fmt: skip
        if self.format != WITHOUT_CLASSES:
            parts += [self.class_scheme, sorted(self.certificate.items()), sorted(self.classes.items())]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``, checked in itself; ModelError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ModelError(f"{path}: more than {_MOST_BYTES >> 20} MiB", hint=RESTORE)
        tree = tomllib.loads(content.decode())
    except FileNotFoundError as error:
        hint = "a model is a directory with model.txt, manifest.toml, golden.csv and card.md"
        raise ModelError(f"there is no model in {path.parent}: no {path.name}", hint=hint) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", hint="check its permissions") from error
    except RecursionError:
        raise ModelError(f"{path}: brackets in brackets without end", hint=RESTORE) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not TOML: {error}", hint=RESTORE) from error
    if tree.get("format") not in (FORMAT, WITHOUT_CLASSES) or isinstance(tree["format"], bool):
        understood = f"{WITHOUT_CLASSES} or {FORMAT}, the ones understood here"
        raise ModelError(f"{path}: format {tree.get('format')!r:.40} is not {understood}", hint=RETRAIN)
    try:
        manifest = msgspec.convert(tree, Manifest)
    except msgspec.ValidationError as error:
        message = str(error)
        raise ModelError(f"{path}: {message[:1].lower()}{message[1:]}", hint=RESTORE) from error
    check_thresholds(manifest.thresholds, str(path))
    if not (math.isfinite(manifest.calibration.slope) and manifest.calibration.slope > 0):
        raise ModelError(f"{path}: calibration slope {manifest.calibration.slope} is not above 0", hint=RESTORE)
    if not math.isfinite(manifest.calibration.intercept):
        raise ModelError(f"{path}: calibration intercept {manifest.calibration.intercept} is no number", hint=RESTORE)
    if len(set(manifest.features)) != len(manifest.features) or not manifest.features:
        raise ModelError(f"{path}: features are missing or named twice", hint=RESTORE)
    odd = sorted(manifest.windows.keys() - set(manifest.features))
    if odd:
        raise ModelError(f"{path}: windows names {odd[0]!r}, which is none of the features", hint=RESTORE)
    _check_usual(manifest, path)
    _check_classes(manifest, path)
    _check_history(manifest, path)
    if manifest.sealed() != manifest.digest:
        raise ModelError(
            f"{path}: the digest does not match: features, windows, thresholds, calibration or file hashes were edited",
            hint="thresholds of a region belong in config/regions/ (block_at, divert_at, label_at); " + RESTORE,
        )
    return manifest


def _check_usual(manifest: Manifest, path: Path) -> None:
    for name, usual in manifest.usual.items():
        if name not in manifest.features:
            raise ModelError(f"{path}: usual names {name!r}, which is none of the features", hint=RESTORE)
        values = (usual.low, usual.median, usual.high)
        if not all(map(math.isfinite, values)) or list(values) != sorted(values):
            raise ModelError(f"{path}: usual values of {name} are not three numbers that rise", hint=RESTORE)


def _check_classes(manifest: Manifest, path: Path) -> None:
    """ModelError unless every class that the features tell apart has what is certain about it, and no other has."""
    missing = next((level for level in CERTIFIED if level not in manifest.certificate), None)
    if missing is not None:
        raise ModelError(f"{path}: certificate has nothing about {missing}", hint=RESTORE)
    if manifest.format == WITHOUT_CLASSES or manifest.training.get("mode") == NUMBERS:
        if manifest.classes or manifest.class_scheme:
            raise ModelError(f"{path}: a model like this has no classes of callers", hint=RESTORE)
        return
    if manifest.class_scheme != scheme():
        message = f"{path}: it was certified for other classes of callers than those told apart here"
        raise ModelError(message, hint=RETRAIN)
    expected = class_names(manifest.features)
    for name in expected:
        if name not in manifest.classes:
            raise ModelError(f"{path}: the class {name} is missing from classes", hint=RESTORE)
    odd = sorted(manifest.classes.keys() - set(expected))
    if odd:
        raise ModelError(f"{path}: classes names {odd[0]!r}, which its features do not tell apart", hint=RESTORE)
    for name in expected:
        levels = manifest.classes[name]
        if set(levels) != set(CERTIFIED):
            raise ModelError(f"{path}: the class {name} needs exactly {', '.join(CERTIFIED)}", hint=RESTORE)
        for level in CERTIFIED:
            one = levels[level]
            if not (0 <= one.errors <= one.n and 0.0 <= one.bound <= 1.0 and 0.0 < one.confidence < 1.0):
                raise ModelError(f"{path}: what is certain of {name} at {level} cannot be meant", hint=RESTORE)
        # No threshold is one that no score reaches.
        reached = [math.inf if (at := levels[level].threshold) is None else at for level in CERTIFIED]
        for level, at in zip(CERTIFIED, reached, strict=True):
            if at != math.inf and not 0.0 <= at <= 1.0:
                raise ModelError(f"{path}: the {level} threshold {at} of {name} is not between 0 and 1", hint=RETRAIN)
        for (milder, low), (harder, high) in itertools.pairwise(zip(CERTIFIED, reached, strict=True)):
            if low > high:
                message = f"{path}: the {milder} threshold of {name} lies above that of {harder}"
                raise ModelError(message, hint=RETRAIN)


def _check_history(manifest: Manifest, path: Path) -> None:
    if manifest.history:
        last = manifest.history[-1]
        if last.stage is not manifest.stage or last.percent != manifest.percent:
            said = f"{manifest.stage.value} ({manifest.percent:g} %)"
            raise ModelError(
                f"{path}: its stage is {said}, last set was {last.stage.value} ({last.percent:g} %): edited by hand",
                hint="write stage and percent of the last entry of history back; antifraud model promote changes them",
            )


def check_thresholds(thresholds: Thresholds, where: str) -> None:
    """ModelError unless all thresholds are numbers from 0 to 1 that rise with the hardness of the verdict."""
    levels = [("label", thresholds.label), ("challenge", thresholds.challenge)]
    levels += [("divert", thresholds.divert), ("block", thresholds.block)]
    given = [(name, value) for name, value in levels if value is not None]
    for name, value in given:
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise ModelError(f"{where}: the {name} threshold {value} is not between 0 and 1", hint=RETRAIN)
    for (milder, low), (harder, high) in itertools.pairwise(given):
        if low > high:
            raise ModelError(f"{where}: the {milder} threshold {low} lies above {harder}, {high}", hint=RETRAIN)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write ``manifest`` as TOML; reading it back gives the same values."""
    tree = msgspec.to_builtins(manifest)
    path.write_text("\n".join(_toml(tree, ())) + "\n", encoding="utf-8")


def _toml(table: Mapping[str, Any], above: tuple[str, ...]) -> list[str]:
    lines, below = [], []
    for key, value in table.items():
        if isinstance(value, Mapping):
            below.append((key, value))
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            below += [(key, item) for item in value]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in below:
        path = (*above, key)
        name = ".".join(_key(part) for part in path)
        many = isinstance(table[key], list | tuple)
        lines += ["", f"[[{name}]]" if many else f"[{name}]", *_toml(value, path)]
    return lines


def _key(key: str) -> str:
    bare = key and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in key)
    return key if bare else msgspec.json.encode(key).decode()


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, list | tuple):
        inner = [_value(item) for item in value]
        if sum(map(len, inner)) < 90:
            return f"[{', '.join(inner)}]"
        return "[\n" + "".join(f"    {item},\n" for item in inner) + "]"
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(str(value)).decode().replace("\x7f", "\\u007f")
