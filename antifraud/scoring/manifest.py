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
from antifraud.scoring.certificate import Certificate

FORMAT: Final = 2
#: ``training.mode`` of a model of subscribers' numbers; a model of calls says nothing there.
NUMBERS: Final = "numbers"
RETRAIN: Final = "train it again: antifraud model train"
RESTORE: Final = "restore the model's directory from version control, or train it again: antifraud model train"


class Thresholds(msgspec.Struct, frozen=True):
    """Scores (0-1) from which on the model asks for a verdict; challenge may be None: the model never asks for it."""

    label: float
    divert: float
    block: float
    challenge: float | None = None


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

    def sealed(self) -> str:
        """The digest that this manifest ought to carry: 16 hex digits."""
        parts = [
            self.format, self.name, self.version, list(self.features), sorted(self.windows.items()),
            [self.trees.file, self.trees.sha256], [self.golden.file, self.golden.sha256],
            [self.calibration.slope, self.calibration.intercept],
            [self.thresholds.label, self.thresholds.challenge, self.thresholds.divert, self.thresholds.block],
        ]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``, checked in itself; ModelError says what is wrong with it."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "a model is a directory with model.txt, manifest.toml, golden.csv and card.md"
        raise ModelError(f"there is no model in {path.parent}: no {path.name}", hint=hint) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", hint="check its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not TOML: {error}", hint=RESTORE) from error
    if tree.get("format") != FORMAT:
        raise ModelError(
            f"{path}: format {tree.get('format')!r} is not {FORMAT}, the one understood here", hint=RETRAIN
        )
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
