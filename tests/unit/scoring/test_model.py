"""Loading a model: what is whole is loaded and predicts the same bits; what is damaged is refused in words."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.domain import ModelError, Stage
from antifraud.scoring import Model, Thresholds, read_manifest, write_manifest
from antifraud.scoring.manifest import FORMAT, WITHOUT_CLASSES, Promotion, check_thresholds
from antifraud.scoring.model import sha256


def _names(model: Model) -> int:
    return len(model.features)


def test_a_whole_model_is_loaded(model_dir: Path) -> None:
    model = Model.load(model_dir)
    assert re.fullmatch(r"toy/1@[0-9a-f]{8}", model.id)
    assert model.features == ("caller_calls_1h", "caller_age", "spoofed_cli", "noise")
    assert model.windows == {"caller_calls_1h": "c" * 16, "caller_age": "a" * 16}
    assert model.stage is Stage.SHADOW
    assert 0 < model.thresholds.label <= model.thresholds.divert <= model.thresholds.block <= 1
    assert model.thresholds.challenge is None


def test_a_row_gets_the_same_bits_in_every_batch(model_dir: Path) -> None:
    model = Model.load(model_dir)
    rng = np.random.default_rng(5)
    rows = rng.exponential(4.0, (300, _names(model)))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    whole = model.predict(rows)
    assert ((whole >= 0) & (whole <= 1)).all()
    assert len(np.unique(whole)) > 20
    for size in (1, 7, 64):
        parts = np.concatenate([model.predict(rows[at : at + size]) for at in range(0, 300, size)])
        assert parts.tobytes() == whole.tobytes()
    assert model.predict(rows[:0]).shape == (0,)
    assert model.predict(np.asfortranarray(rows)).tobytes() == whole.tobytes()


def test_rows_of_another_width_are_refused(model_dir: Path) -> None:
    model = Model.load(model_dir)
    for shape in ((5, 3), (5, 5), (4,)):
        with pytest.raises(ModelError, match="do not fit"):
            model.predict(np.zeros(shape))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text), old
    path.write_text(re.sub(old, new, text, count=1), encoding="utf-8")


def _reseal(directory: Path, **changes: object) -> None:
    """Change the manifest and seal it again, as a careful hand would."""
    manifest = msgspec.structs.replace(read_manifest(directory / "manifest.toml"), **changes)
    write_manifest(msgspec.structs.replace(manifest, digest=manifest.sealed()), directory / "manifest.toml")


def _line(key: str, value: str) -> Callable[[Path], object]:
    """Give the line ``key`` of the manifest another value."""
    return lambda directory: _edit(directory / "manifest.toml", rf"(?m)^{key} = .*$", f"{key} = {value}")


def _swap_features(directory: Path) -> None:
    _edit(directory / "manifest.toml", '"caller_calls_1h", "caller_age"', '"caller_age", "caller_calls_1h"')


def _cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:size])


def _outside(directory: Path) -> None:
    trees = read_manifest(directory / "manifest.toml").trees
    _reseal(directory, trees=msgspec.structs.replace(trees, file="../model.txt"))


def _class_line(name: str, level: str, value: str | None) -> Callable[[Path], object]:
    """Give a class another threshold, or none."""
    line = rf"(?ms)(\[classes\.{name}\.{level}\][^\[]*?)\nthreshold = \S+"
    to = r"\1" if value is None else rf"\1\nthreshold = {value}"
    return lambda directory: _edit(directory / "manifest.toml", line, to)


def _class_met(directory: Path) -> None:
    _edit(directory / "manifest.toml", r"(?ms)(\[classes\.light\.block\][^\[]*?)met = false", r"\1met = true")


def _without_class(name: str) -> Callable[[Path], object]:
    def take(directory: Path) -> None:
        classes = read_manifest(directory / "manifest.toml").classes
        _reseal(directory, classes={key: value for key, value in classes.items() if key != name})

    return take


def _renamed_class(directory: Path) -> None:
    classes = read_manifest(directory / "manifest.toml").classes
    _reseal(directory, classes={**classes, "strangers": classes["light"]})


def _without_level(directory: Path) -> None:
    classes = read_manifest(directory / "manifest.toml").classes
    _reseal(directory, classes={**classes, "light": {"label": classes["light"]["label"]}})


def _errors_of_class(directory: Path) -> None:
    classes = read_manifest(directory / "manifest.toml").classes
    odd = msgspec.structs.replace(classes["light"]["block"], errors=classes["light"]["block"].n + 1)
    _reseal(directory, classes={**classes, "light": {**classes["light"], "block": odd}})


def _stage_by_hand(directory: Path) -> None:
    history = (Promotion(Stage.CANARY, "aizhan", "a week in shadow", "2026-02-01T10:00:00Z", 5.0, ("daulet",)),)
    manifest = read_manifest(directory / "manifest.toml")
    write_manifest(msgspec.structs.replace(manifest, stage=Stage.ENFORCE, history=history), directory / "manifest.toml")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda d: (d / "manifest.toml").unlink(), "no model"),
    "no trees": (lambda d: (d / "model.txt").unlink(), "cannot read"),
    "no golden": (lambda d: (d / "golden.csv").unlink(), "cannot read"),
    "trees cut": (_cut("model.txt", -500), "cut short or edited"),
    "trees empty": (_cut("model.txt", 0), "cut short or edited"),
    "a leaf edited": (lambda d: _edit(d / "model.txt", r"leaf_value=\S+", "leaf_value=5"), "cut short or edited"),
    "a golden score edited": (lambda d: _edit(d / "golden.csv", r"0\.\d+\n", "0.5\n"), "cut short or edited"),
    "threshold NaN": (_line("block", "nan"), "block threshold nan"),
    "threshold above one": (_line("block", "1.5"), "not between"),
    "thresholds crossed": (_line("label", "0.9999999"), "lies above"),
    "threshold moved": (_line("label", "0.01"), "digest does not match"),
    "threshold a word": (_line("label", '"low"'), "expected `float`"),
    "features swapped": (_swap_features, "digest does not match"),
    "feature twice": (lambda d: _edit(d / "manifest.toml", '"noise"', '"caller_age"'), "named twice"),
    "a window edited": (_line("caller_age", '"b"'), "digest does not match"),
    "a window taken out": (
        lambda d: _edit(d / "manifest.toml", r"(?m)^caller_age = .*\n", ""),
        "digest does not match",
    ),
    "a window that is no feature": (
        lambda d: _reseal(d, windows={"caller_age": "a", "other": "b"}),
        "windows names 'other', which is none of the features",
    ),
    "usual values of nothing": (
        lambda d: _edit(d / "manifest.toml", r"\[usual\]\n", "[usual]\nother = [0.0, 1.0, 2.0]\n"),
        "usual names 'other', which is none of the features",
    ),
    "usual values that fall": (
        lambda d: _edit(d / "manifest.toml", r"(?m)^noise = \[.*\]$", "noise = [0.5, 0.4, 0.9]"),
        "usual values of noise are not three numbers that rise",
    ),
    "usual values that are no numbers": (
        lambda d: _edit(d / "manifest.toml", r"(?m)^noise = \[.*\]$", "noise = [0.5, nan, 0.9]"),
        "usual values of noise are not three numbers that rise",
    ),
    "two usual values": (
        lambda d: _edit(d / "manifest.toml", r"(?m)^noise = \[.*\]$", "noise = [0.5, 0.9]"),
        "expected `array` of at least len",
    ),
    "windows not said": (lambda d: _edit(d / "manifest.toml", r"\[windows\]", "[window]"), "window"),
    "manifest cut": (_cut("manifest.toml", 200), "manifest.toml"),
    "not TOML": (lambda d: (d / "manifest.toml").write_text("{"), "not TOML"),
    "another format": (_line("format", "4"), "format 4 is not 2 or 3, the ones understood here"),
    "an old format": (_line("format", "1"), "format 1 is not 2 or 3, the ones understood here"),
    "a truth for a format": (_line("format", "true"), "format True is not 2 or 3"),
    "called the format before": (_line("format", "2"), "a model like this has no classes of callers"),
    "a class threshold NaN": (
        _class_line("unseen", "block", "nan"),
        "the block threshold nan of unseen is not between",
    ),
    "a class threshold above one": (_class_line("light", "label", "1.5"), "threshold 1.5 of light is not between"),
    "class thresholds crossed": (_class_line("light", "label", "0.99999"), "label threshold of light lies above that"),
    "a class threshold moved": (_class_line("light", "block", "1.0"), "digest does not match"),
    "a class threshold taken out": (_class_line("light", "block", None), "digest does not match"),
    "only the hardest of a class": (_class_line("light", "label", None), "label threshold of light lies above that"),
    "a class edited to be within its budget": (_class_met, "digest does not match"),
    "a class missing": (_without_class("unseen"), "the class unseen is missing from classes"),
    "a class that is none": (_renamed_class, "classes names 'strangers', which its features do not tell apart"),
    "a class without a verdict": (_without_level, "the class light needs exactly label, divert, block"),
    "classes of another meaning": (
        _line("class_scheme", '"0123456789abcdef"'),
        "certified for other classes of callers than those told apart here",
    ),
    "certificate without a verdict": (
        lambda d: _edit(d / "manifest.toml", r"\[certificate\.block\]", "[certificate.stop]"),
        "certificate has nothing about block",
    ),
    "the certificate edited": (
        lambda d: _edit(d / "manifest.toml", r"(?ms)(\[certificate\.block\].*?)met = \w+", r"\1met = true"),
        "digest does not match",
    ),
    "more errors than calls": (_errors_of_class, "what is certain of light at block cannot be meant"),
    "the stage edited by hand": (_stage_by_hand, "is enforce (100 %), last set was canary (5 %)"),
    "a percentage that is none": (_line("percent", "140.0"), "percent"),
    "an unknown stage": (_line("stage", '"live"'), "stage"),
    "calibration upside down": (_line("slope", "-1.0"), "slope"),
    "a path outside": (_outside, "not a file beside"),
    "features reordered and sealed": (
        lambda d: _reseal(d, features=("caller_age", "caller_calls_1h", "spoofed_cli", "noise")),
        "not those of the manifest",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_refused_and_says_how_to_mend_it(model_dir: Path, damage: str) -> None:
    spoil, said = DAMAGE[damage]
    spoil(model_dir)
    with pytest.raises(ModelError) as caught:
        Model.load(model_dir)
    shown = caught.value.render()
    assert said in shown
    assert "\n    " in shown  # the hint


def test_trees_that_give_other_scores_are_refused_though_all_hashes_fit(model_dir: Path) -> None:
    trees = model_dir / "model.txt"
    text = trees.read_text(encoding="utf-8")
    first = re.search(r"leaf_value=(\S+)", text)
    assert first is not None
    trees.write_text(text.replace(first.group(1), str(float(first.group(1)) + 3.0), 1), encoding="utf-8")
    manifest = read_manifest(model_dir / "manifest.toml")
    _reseal(model_dir, trees=msgspec.structs.replace(manifest.trees, sha256=sha256(trees.read_bytes())))
    with pytest.raises(ModelError, match="golden row"):
        Model.load(model_dir)


def test_what_lightgbm_cannot_read_is_refused_in_words(model_dir: Path) -> None:
    trees = model_dir / "model.txt"
    trees.write_bytes(b"tree\nversion=v4\nnothing\n")
    manifest = read_manifest(model_dir / "manifest.toml")
    _reseal(model_dir, trees=msgspec.structs.replace(manifest.trees, sha256=sha256(trees.read_bytes())))
    with pytest.raises(ModelError):
        Model.load(model_dir)


def test_a_manifest_survives_writing_and_reading(model_dir: Path, tmp_path: Path) -> None:
    manifest = read_manifest(model_dir / "manifest.toml")
    odd = msgspec.structs.replace(
        manifest, training={"command": 'say "ja"\n\tÖ\x7f', "odd key": [1, 2.5], "t": {"a": True}}
    )
    write_manifest(odd, tmp_path / "manifest.toml")
    assert read_manifest(tmp_path / "manifest.toml") == odd


def test_the_stage_does_not_change_the_id(model_dir: Path) -> None:
    before = Model.load(model_dir).id
    manifest = read_manifest(model_dir / "manifest.toml")
    write_manifest(msgspec.structs.replace(manifest, stage=Stage.ENFORCE), model_dir / "manifest.toml")
    after = Model.load(model_dir)
    assert after.stage is Stage.ENFORCE
    assert after.id == before


@pytest.mark.parametrize(
    "thresholds",
    [
        Thresholds(0.1, 0.5, float("nan")), Thresholds(0.1, float("inf"), 0.9), Thresholds(-0.1, 0.5, 0.9),
        Thresholds(0.6, 0.5, 0.9), Thresholds(0.1, 0.5, 0.9, challenge=0.7), Thresholds(0.1, 0.5, 0.9, challenge=2.0),
    ],
)  # fmt: skip
def test_thresholds_that_cannot_be_meant(thresholds: Thresholds) -> None:
    with pytest.raises(ModelError):
        check_thresholds(thresholds, "here")


def test_lightgbm_is_imported_when_it_is_needed_and_not_before() -> None:
    program = "import sys, antifraud.scoring, antifraud.scoring.training; print('lightgbm' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_loading_and_predicting_need_no_lightgbm(model_dir: Path) -> None:
    program = (
        "import sys, numpy, pathlib; from antifraud.scoring import Model\n"
        "model = Model.load(pathlib.Path(sys.argv[1])); model.predict(numpy.zeros((20, 4)))\n"
        "print('lightgbm' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(model_dir)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_rows_of_any_layout_and_kind_are_scored_alike(model_dir: Path) -> None:
    model = Model.load(model_dir)
    rows = np.random.default_rng(6).integers(0, 9, (64, _names(model))).astype(np.float64)
    expected = model.predict(rows).tobytes()
    frozen = rows.copy()
    frozen.flags.writeable = False
    wide = np.zeros((64, 2 * _names(model)))
    wide[:, ::2] = rows
    for same in (frozen, wide[:, ::2], rows.astype(np.float32), rows.astype(np.int64), rows[::-1].copy()[::-1]):
        assert model.predict(same).tobytes() == expected


def test_thresholds_of_a_row_are_those_of_its_class(model_dir: Path) -> None:
    model = Model.load(model_dir)
    assert model.manifest.format == FORMAT
    assert model.class_names == ("unseen", "heavy", "light")  # what the four features tell apart
    rows = np.array([[1.0, np.nan, 0.0, 0.5], [25.0, 10.0, 0.0, 0.5], [1.0, 10.0, 0.0, 0.5]])
    assert model.classes(rows).tolist() == [0, 1, 2]
    for level in ("label", "divert", "block"):
        said = [model.manifest.classes[name][level].threshold for name in model.class_names]
        assert model.thresholds_for(rows, level).tolist() == [math.inf if at is None else at for at in said]
    assert model.class_thresholds[1].block is None  # no honest caller of these rows calls so much


def test_a_model_of_the_format_before_has_one_class(model_dir: Path) -> None:
    _reseal(model_dir, format=WITHOUT_CLASSES, classes={}, class_scheme="")
    model = Model.load(model_dir)
    assert model.class_names == ("",)
    assert model.classes(np.zeros((3, 4))).tolist() == [0, 0, 0]
    assert model.thresholds_for(np.zeros((3, 4)), "block").tolist() == [model.thresholds.block] * 3


def test_how_the_stage_came_about_does_not_change_the_id(model_dir: Path) -> None:
    before = Model.load(model_dir)
    manifest = before.manifest
    history = (Promotion(Stage.CANARY, "aizhan", "a week in shadow", "2026-02-01T10:00:00Z", 5.0, ("daulet",)),)
    changed = msgspec.structs.replace(manifest, stage=Stage.CANARY, percent=5.0, history=history)
    write_manifest(changed, model_dir / "manifest.toml")
    after = Model.load(model_dir)
    assert (after.id, after.stage, after.percent) == (before.id, Stage.CANARY, 5.0)
    assert after.manifest.history == history
