"""Model files from elsewhere: bounded, and every refusal as a person sees it, in one golden file each.

After one was changed on purpose: ``ANTIFRAUD_GOLDEN=write pytest tests/unit/scoring/test_hostile_models.py``, and read
the difference before committing it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import ModelError
from antifraud.scoring import Model, read_manifest, write_manifest
from antifraud.scoring.forest import MOST_ENTRIES, MOST_FEATURES, MOST_LEAVES, MOST_TREES, read_forest
from antifraud.scoring.model import sha256

GOLDEN = Path(__file__).parent / "golden_models"


def sealed(directory: Path, name: str, content: bytes) -> None:
    """Give a file of the model another content and seal the manifest again, as a careful forger would."""
    (directory / name).write_bytes(content)
    manifest = read_manifest(directory / "manifest.toml")
    which = "trees" if name == "model.txt" else "golden"
    artefact = msgspec.structs.replace(getattr(manifest, which), sha256=sha256(content))
    manifest = msgspec.structs.replace(manifest, **{which: artefact})
    write_manifest(msgspec.structs.replace(manifest, digest=manifest.sealed()), directory / "manifest.toml")


def header(features: str, trees: int) -> str:
    return (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=3\n"
        f"feature_names={features}\ntree_sizes={' '.join(['1'] * trees)}\n"
    )


def comb(leaves: int, number: int) -> str:
    """A tree in which every node has one leaf to its left: as many words are ruled out as can be."""
    nodes = leaves - 1
    right = [*range(1, nodes), -leaves]
    fields = {
        "num_leaves": [leaves], "num_cat": [0], "split_feature": [0] * nodes, "threshold": list(range(nodes)),
        "decision_type": [2] * nodes, "left_child": right, "right_child": [-1 - node for node in range(nodes)],
        "leaf_value": [0.1] * leaves,
    }  # fmt: skip
    return f"\nTree={number}\n" + "".join(f"{key}={' '.join(map(str, value))}\n" for key, value in fields.items())


def many_comparisons(directory: Path) -> None:
    names = " ".join(read_manifest(directory / "manifest.toml").features)
    trees = 40
    text = header(names, trees) + "".join(comb(MOST_LEAVES, number) for number in range(trees)) + "\nend of trees\n"
    sealed(directory, "model.txt", text.encode())


def _edit(directory: Path, name: str, old: str, new: str) -> None:
    text = (directory / name).read_text(encoding="utf-8")
    assert old in text, old
    sealed(directory, name, text.replace(old, new, 1).encode())


def _first(directory: Path, key: str) -> str:
    text = (directory / "model.txt").read_text(encoding="ascii")
    return next(line for line in text.splitlines() if line.startswith(key + "="))


def _values(key: str, value: str) -> Callable[[Path], object]:
    """Give the first tree's first value of ``key`` another value."""

    def change(directory: Path) -> None:
        line = _first(directory, key)
        rest = line.partition("=")[2].split(" ")
        _edit(directory, "model.txt", line, f"{key}={' '.join([value, *rest[1:]])}")

    return change


def _cut(directory: Path) -> None:
    content = (directory / "model.txt").read_bytes()
    sealed(directory, "model.txt", content[: len(content) // 2])


def _large(directory: Path, name: str, size: int) -> None:
    with (directory / name).open("wb") as file:
        file.truncate(size)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "many-comparisons": many_comparisons,
    "many-trees": lambda d: sealed(d, "model.txt", (header("a b", MOST_TREES + 1) + "\nTree=0\n" * 20_001).encode()),
    "many-features": lambda d: sealed(d, "model.txt", header("a " * MOST_FEATURES + "b", 0).encode()),
    "many-leaves": _values("num_leaves", "99999999"),
    "threshold-nan": _values("threshold", "nan"),
    "leaf-infinite": _values("leaf_value", "inf"),
    "leaf-no-number": _values("leaf_value", "much"),
    "loop": _values("left_child", "0"),
    "outside": _values("right_child", "12345"),
    "feature-outside": _values("split_feature", "77"),
    "features-in-another-order": lambda d: _edit(
        d, "model.txt", "feature_names=caller_calls_1h caller_age", "feature_names=caller_age caller_calls_1h"
    ),
    "trees-cut": _cut,
    "golden-empty": lambda d: sealed(d, "golden.csv", b""),
    "golden-words": lambda d: _edit(d, "golden.csv", "\n", "\nmuch,1,1,1,0.5\n"),
    "golden-no-number-long": lambda d: _edit(d, "golden.csv", "\n", "\n" + "x" * 100_000 + ",1,1,1,0.5\n"),
    "golden-wide": lambda d: _edit(d, "golden.csv", "\n", "\n1,1,1,1,1,1,1,0.5\n"),
    "golden-cell-too-long": lambda d: _edit(d, "golden.csv", "\n", "\n" + "1" * 200_000 + ",1,1,1,0.5\n"),
    "golden-other-scores": lambda d: _edit(d, "golden.csv", "\n", "\n1.0,1.0,1.0,1.0,0.123\n"),
    "golden-large": lambda d: _large(d, "golden.csv", (16 << 20) + 1),
    "trees-large": lambda d: _large(d, "model.txt", (256 << 20) + 1),
    "manifest-large": lambda d: _large(d, "manifest.toml", (4 << 20) + 1),
    "manifest-nested": lambda d: (d / "manifest.toml").write_text("format = " + "[" * 100_000),
    "manifest-format-long": lambda d: (d / "manifest.toml").write_text(f'format = "{"9" * 100_000}"'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_said_of_a_hostile_model(model_dir: Path, name: str) -> None:
    HOSTILE[name](model_dir)
    with pytest.raises(ModelError) as caught:
        Model.load(model_dir)
    shown = caught.value.render().replace(str(model_dir), "models/toy/1") + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert len(shown) < 1_000
    assert shown == path.read_text(encoding="utf-8")


def test_there_is_no_golden_file_too_many() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(HOSTILE)


def test_trees_up_to_the_bound_are_taken() -> None:
    text = header("a b c d", 2) + comb(700, 0) + comb(64, 1) + "\nend of trees\n"
    assert read_forest(text, "model.txt").trees == 2
    assert MOST_ENTRIES == 4_000_000


def test_refusing_costs_a_bounded_amount_of_memory(model_dir: Path) -> None:
    many_comparisons(model_dir)
    program = (
        "import pathlib, sys\n"
        "from antifraud.domain import ModelError\nfrom antifraud.scoring import Model\n"
        "try:\n    Model.load(pathlib.Path(sys.argv[1]))\nexcept ModelError as error:\n"
        # ru_maxrss outlives exec and would be that of the tests themselves.
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    print(status.partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(model_dir)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1_500 << 20
