"""`antifraud model` end to end: simulated calls through the real fold and facts, into a model that fits the engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.settings import data_dir


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=cwd)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "toy" / "7"
    found = _run(
        "model",
        "train",
        "--seeds",
        "1-8",
        "--days",
        "1",
        "--calls",
        "2000",
        "--trees",
        "15",
        "--out",
        str(out),
        "--json",
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    result = json.loads(found.stdout)
    assert result["model"].startswith("toy/7@")
    assert result["metrics"]["auc"] > 0.6
    return out


def test_the_manifest_says_how_to_make_it_again_and_no_path(model_dir: Path) -> None:
    text = (model_dir / "manifest.toml").read_text(encoding="utf-8")
    assert "antifraud model train --seeds 1-8 --calls 2000" in text
    assert str(model_dir.parent.parent) not in text


def test_training_from_files_uses_the_same_rows(model_dir: Path, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        path = tmp_path / f"s{seed}.{'parquet' if seed == 2 else 'jsonl'}"
        assert _run("simulate", "--seed", str(seed), "--calls", "1000", "--out", str(path)).returncode == 0
        paths.append(str(path))
    files = _run("model", "evaluate", str(model_dir), *paths, "--json")
    seeds = _run("model", "evaluate", str(model_dir), "--seeds", "1", "--days", "1", "--calls", "1000", "--json")
    assert files.returncode in (0, 1), files.stderr
    assert json.loads(files.stdout)["calls"] == 2000
    assert json.loads(seeds.stdout)["calls"] == 1000


@pytest.mark.parametrize(
    ("features", "kept"),
    [
        ("hour, caller_age ,spoofed_cli,caller_calls_1h", ["hour", "caller_age", "spoofed_cli", "caller_calls_1h"]),
        ("-hour,-caller_age", None),
    ],
)
def test_a_model_of_some_features_is_trained_evaluated_and_shown(
    model_dir: Path, tmp_path: Path, features: str, kept: list[str] | None
) -> None:
    out = tmp_path / "few" / "1"
    source = ("--seeds", "1-8", "--days", "1", "--calls", "1000", "--trees", "10")
    found = _run("model", "train", *source, "--features", features, "--out", str(out))
    assert found.returncode == 0, found.stderr
    whole = json.loads(_run("model", "card", str(model_dir), "--json").stdout)
    manifest = json.loads(_run("model", "card", str(out), "--json").stdout)
    assert manifest["features"] == (kept or [name for name in whole["features"] if name not in ("hour", "caller_age")])
    assert manifest["windows"] == {
        name: digest for name, digest in whole["windows"].items() if name in manifest["features"]
    }
    command = manifest["training"]["command"]
    assert f" --features {features.replace(' ', '')} " in command
    assert "--features" not in whole["training"]["command"]
    again = _run(*command.split()[1:], "--out", str(tmp_path / "again" / "1"), "--name", "few")
    assert again.returncode == 0, again.stderr
    for name in ("manifest.toml", "model.txt", "golden.csv", "reference.json"):
        assert (tmp_path / "again" / "1" / name).read_bytes() == (out / name).read_bytes()
    measured = _run("model", "evaluate", str(out), "--seeds", "21", "--days", "1", "--calls", "1000", "--json")
    assert measured.returncode in (0, 1), measured.stderr
    report = json.loads(measured.stdout)
    assert report["calls"] == 1000
    assert report["unseen_callers"]  # whether or not the model knows a caller's age
    assert (
        f"{len(manifest['features'])} features: {len(manifest['windows'])} windows"
        in _run("model", "card", str(out)).stdout
    )


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("caller_agee", "there is no window and no fact 'caller_agee'\n    did you mean 'caller_age'?\n"),
        (
            "-huor,-spoofed_clli",
            (
                "there is no window and no fact 'huor'\n    did you mean 'hour'?\n"
                "there is no window and no fact 'spoofed_clli'\n    did you mean 'spoofed_cli'?\n"
            ),
        ),
        (
            "hour,-caller_age",
            (
                "--features names some features with - and some without\n"
                "    NAME,NAME uses these alone, -NAME,-NAME all but these\n"
            ),
        ),
        ("hour,caller_age,hour", "--features names 'hour' twice\n    each once\n"),
    ],
)
def test_features_that_cannot_be_meant_are_said_before_anything_is_simulated(
    tmp_path: Path, features: str, said: str
) -> None:
    source = ("--seeds", "1-24", "--days", "1", "--calls", "1000000")
    found = _run("model", "train", *source, "--features", features, "--out", "m/x/1", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.endswith(said), found.stderr
    assert not list(tmp_path.iterdir())


def test_evaluating_on_changed_windows_is_refused_and_says_which(model_dir: Path, tmp_path: Path) -> None:
    rules = Path(shutil.copytree(data_dir("rules"), tmp_path / "rules"))
    text = (rules / "windows.yaml").read_text(encoding="utf-8")
    head, mark, rest = text.partition("\n  caller_calls_1m:\n")
    changed = head + mark + re.sub(r"over: \w+", "over: 2m", rest, count=1)
    assert changed != text
    (rules / "windows.yaml").write_text(changed, encoding="utf-8")
    found = _run(
        "model", "evaluate", str(model_dir), "--seeds", "1", "--days", "1", "--calls", "100", "--rules", str(rules)
    )
    assert found.returncode == 2
    assert "does not fit these rules: windows changed since it was trained: caller_calls_1m" in found.stderr


def test_card_and_promote(model_dir: Path) -> None:
    card = _run("model", "card", str(model_dir))
    assert card.returncode == 0
    assert "synthetic" in card.stdout
    who = ("--by", "Aizhan", "--why", "a week in shadow")
    skipped = _run("model", "promote", str(model_dir), "--to", "enforce", *who, "--approved-by", "Daulet")
    assert skipped.returncode == 1
    assert "is at shadow: it cannot go to enforce at once" in skipped.stderr
    small = _run("model", "promote", str(model_dir), "--to", "canary", "--percent", "5", *who)
    assert small.returncode == 1
    assert "of honest calls would be hit by block, the budget is 1e-04" in small.stderr
    before = (model_dir / "manifest.toml").read_bytes()
    known = ("--despite-certificate", "--json")
    done = _run("model", "promote", str(model_dir), "--to", "canary", "--percent", "5", *who, *known)
    said = json.loads(done.stdout)
    assert (said["from"], said["to"], said["percent"], said["by"]) == ("shadow", "canary", 5.0, "Aizhan")
    assert (model_dir / "manifest.toml").read_bytes() != before
    alone = _run("model", "promote", str(model_dir), "--to", "enforce", *who, "--approved-by", "aizhan", *known)
    assert alone.returncode == 1
    assert "nobody but Aizhan agrees" in alone.stderr
    agreed = _run("model", "promote", str(model_dir), "--to", "enforce", *who, "--approved-by", "Daulet", *known)
    assert agreed.returncode == 0, agreed.stderr
    manifest = json.loads(_run("model", "card", str(model_dir), "--json").stdout)
    assert (manifest["stage"], manifest["percent"]) == ("enforce", 100.0)
    assert [(one["stage"], one["by"]) for one in manifest["history"]] == [("canary", "Aizhan"), ("enforce", "Aizhan")]
    assert manifest["history"][1]["approvals"] == ["Daulet"]
    assert _run("model", "promote", str(model_dir), "--to", "shadow", *who).returncode == 0
    assert not list(model_dir.glob(".*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", "m/x/1"],
        ["train", "--seeds", "3-1", "--days", "1", "--out", "m/x/1"],
        ["train", "--seeds", "1,1", "--days", "1", "--out", "m/x/1"],
        ["train", "--seeds", "one", "--days", "1", "--out", "m/x/1"],
        ["train", "nothing.jsonl", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--days", "1", "--calls", "0", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--days", "1", "--calls", "100", "--out", "m/x/1"],
        ["train", "--seeds", "1", "--days", "1", "--out", "m/x/1", "--name", "../evil"],
        ["train", "--seeds", "1", "--days", "1", "--out", "m/x/1", "--block-budget", "0.1", "--divert-budget", "0.01"],
        ["train", "--seeds", "1", "--days", "1", "--calls", "10", "--scenario", "nowhere", "--out", "m/x/1"],
        ["card", "nowhere"],
        ["promote", "nowhere", "--to", "shadow", "--by", "a", "--why", "b"],
        ["promote", "nowhere", "--to", "shadow"],
        ["promote", "nowhere", "--to", "orbit", "--by", "a", "--why", "b"],
        ["promote", "nowhere", "--to", "enforce", "--percent", "5", "--by", "a", "--why", "b"],
        ["promote", "nowhere", "--to", "shadow", "--by", "a\nb", "--why", "b"],
        ["train", "--seeds", "1", "--days", "1", "--out", "m/x/1", "--stage", "enforce"],
        [
            "train",
            "--seeds",
            "1",
            "--days",
            "1",
            "--out",
            "m/x/1",
            "--stop-budget",
            "0.0001",
            "--divert-budget",
            "0.0001",
        ],
        [
            "train",
            "--seeds",
            "1",
            "--days",
            "1",
            "--out",
            "m/x/1",
            "--stop-budget",
            "0.0001",
            "--block-budget",
            "0.001",
        ],
        ["evaluate", "nowhere", "--seeds", "1", "--days", "1"],
    ],
)
def test_misuse_is_said_without_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    found = _run("model", *arguments, cwd=tmp_path)
    assert found.returncode == 2, (found.stdout, found.stderr)
    assert "Traceback" not in found.stderr
    assert found.stderr
    assert not list(tmp_path.iterdir())
