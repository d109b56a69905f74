"""`antifraud model certificate` and `model card --with` end to end, and every refusal as a person sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.scoring import Model, read_manifest
from antifraud.settings import data_dir

GOLDEN = Path(__file__).parent / "golden_certificate"
FEW = ("--seeds", "31-32", "--calls", "1500")


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", "model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=cwd)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "toy" / "7"
    found = _run("train", "--seeds", "1-8", "--days", "1", "--calls", "1500", "--trees", "15", "--out", str(out))
    assert found.returncode == 0, found.stderr
    return out


@pytest.fixture(scope="module")
def report(model_dir: Path) -> dict[str, object]:
    found = _run(
        "evaluate", str(model_dir), *FEW, "--days", "1", "--rounds", "20", "--permute", "trunk,prefix", "--json"
    )
    assert found.returncode in (0, 1), found.stderr
    return json.loads(found.stdout)


def test_seeds_are_kept_and_a_run_goes_on(model_dir: Path, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    first = _run("certificate", str(model_dir), *FEW, "--keep", str(keep), "--processes", "2", "--json")
    assert first.returncode in (0, 1), first.stderr
    result = json.loads(first.stdout)
    assert result["held"] == (first.returncode == 0)
    assert sorted(path.name for path in keep.iterdir()) == ["national-31.json", "national-32.json"]
    # Cut short, as by an interruption while it was written elsewhere: that seed alone is run again.
    whole = (keep / "national-31.json").read_bytes()
    (keep / "national-31.json").write_bytes(whole[:100])
    again = _run("certificate", str(model_dir), *FEW, "--keep", str(keep), "--json")
    assert again.stdout == first.stdout
    assert "1 of 2 seeds are kept from before" in again.stderr
    assert (keep / "national-31.json").read_bytes() == whole
    # Other calls are another question: nothing kept counts.
    other = _run("certificate", str(model_dir), "--seeds", "31", "--calls", "1400", "--keep", str(keep), "--json")
    assert "kept" not in other.stderr


def test_it_counts_what_an_evaluation_counts(model_dir: Path, report: dict[str, object]) -> None:
    found = _run("certificate", str(model_dir), "--seeds", "31", "--calls", "1500", "--json")
    (one,) = json.loads(found.stdout)["trials"]
    sources = report["sources"]
    assert isinstance(sources, list)
    assert one["levels"]["block"]["honest_calls"] == sources[0]["honest_blocked_by_score"]
    assert (one["honest_calls"], one["stopped"]) == (sources[0]["honest_calls"], sources[0]["honest_stopped"])
    shown = _run("certificate", str(model_dir), "--seeds", "31", "--calls", "1500")
    assert shown.returncode == found.returncode
    assert "seeds violated, chance allows 0" in shown.stdout


def test_permuted_names_are_in_the_table_the_json_and_the_card(
    model_dir: Path, report: dict[str, object], tmp_path: Path
) -> None:
    permutations = report["permutations"]
    assert isinstance(permutations, list)
    assert [(one["what"], one["how"]) for one in permutations] == [
        ("trunk", "renamed"), ("trunk", "shuffled"), ("prefix", "renamed"), ("prefix", "shuffled"),
    ]  # fmt: skip
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    before = Model.load(model_dir)
    shown = _run("card", str(model_dir), "--with", str(path))
    assert shown.returncode == 0, shown.stderr
    assert "| trunk shuffled |" in shown.stdout
    assert (model_dir / "card.md").read_text(encoding="utf-8") == shown.stdout
    assert _run("card", str(model_dir)).stdout == shown.stdout
    after = read_manifest(model_dir / "manifest.toml")
    assert (after.digest, after.stage) == (before.manifest.digest, before.manifest.stage)
    assert Model.load(model_dir).id == before.id


ARGUMENTS = {
    "certificate-known-seeds": ["certificate", "MODEL", "--seeds", "5-9"],
    "certificate-no-seeds": ["certificate", "MODEL", "--seeds", ""],
    "certificate-scenario": ["certificate", "MODEL", *FEW, "--scenario", "nowhere"],
    "certificate-scenario-twice": ["certificate", "MODEL", *FEW, "--scenario", "national", "--scenario", "national"],
    "certificate-keep": ["certificate", "MODEL", *FEW, "--keep", "file/kept"],
    "certificate-no-model": ["certificate", "nowhere", *FEW],
    "card-no-file": ["card", "MODEL", "--with", "missing.json"],
    "card-no-json": ["card", "MODEL", "--with", "file"],
    "card-other-json": ["card", "MODEL", "--with", "other.json"],
    "card-other-model": ["card", "MODEL", "--with", "model.json"],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_misuse_is_refused_in_words(name: str, model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no", encoding="utf-8")
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    other = {"format": "antifraud.evaluation/1", "model": "other/1@00000000"}
    (tmp_path / "model.json").write_text(json.dumps(other), encoding="utf-8")
    arguments = [str(model_dir) if one == "MODEL" else one for one in ARGUMENTS[name]]
    found = _run(*arguments, cwd=tmp_path)
    assert found.returncode == 2, (found.stdout, found.stderr)
    assert found.stdout == ""
    loaded = Model.load(model_dir)
    shown = found.stderr.replace(str(model_dir), "MODEL").replace(loaded.id, "toy/7@DIGEST")
    shown = shown.replace(str(data_dir("config")), "CONFIG")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
    assert "\n    " in shown  # how to mend it
    assert "Traceback" not in shown


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == ARGUMENTS.keys()
