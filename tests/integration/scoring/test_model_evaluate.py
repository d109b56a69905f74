"""`antifraud model evaluate` and `drift` end to end, and every refusal as a person sees it, in one golden file each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from antifraud.domain import Decision
from antifraud.journal import write_decisions
from antifraud.scoring import Model
from antifraud.scoring.drift import REFERENCE

GOLDEN = Path(__file__).parent / "golden_evaluate"


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
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "day.jsonl"
    command = [sys.executable, "-m", "antifraud.cli", "simulate", "--seed", "21", "--calls", "3000", "--out", str(path)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    return path


def test_a_table_a_page_and_json_say_the_same(model_dir: Path, events: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = _run("evaluate", str(model_dir), str(events), "--rounds", "20", "--html", str(page), "--json")
    assert said.returncode in (0, 1), said.stderr
    report = json.loads(said.stdout)
    assert report["format"] == "antifraud.evaluation/1"
    assert report["calls"] == 3000
    assert report["violated"] == (said.returncode == 1)
    assert set(report["systems"]) == {"rules", "score", "rules_and_score", "logistic"}
    shown = _run("evaluate", str(model_dir), str(events), "--rounds", "20")
    assert shown.returncode == said.returncode
    text = page.read_text(encoding="utf-8")
    for name in ("rules only", "score only", "rules + score", "logistic regression"):
        assert name in shown.stdout
        assert name in text
    assert f"{report['honest_calls']:,} honest" in shown.stdout
    assert f"{report['honest_calls']:,} honest" in text
    assert len(shown.stdout.splitlines()) < 25
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_training_writes_what_drift_compares_with(model_dir: Path, events: Path, tmp_path: Path) -> None:
    made = json.loads((model_dir / REFERENCE).read_text(encoding="utf-8"))
    assert made["calls"] == 8 * 1500
    assert made["made_from"].startswith("--seeds 1-8 --calls 1500")
    metrics = tmp_path / "drift.prom"
    same = _run(
        "drift", str(model_dir), "--seeds", "1-8", "--days", "1", "--calls", "1500", "--metrics", str(metrics), "--json"
    )
    assert same.returncode == 0, same.stderr
    result = json.loads(same.stdout)
    assert result["drifted"] == []
    assert all(abs(column["psi"]) < 1e-9 for column in result["columns"])  # the very calls of the training
    text = metrics.read_text(encoding="utf-8")
    assert f'antifraud_model_drift_alarm{{model="{Model.load(model_dir).id}"}} 0.0' in text
    assert 'column="score"' in text
    other = _run("drift", str(model_dir), str(events), "--alarm", "0.01", "--metrics", str(metrics))
    assert other.returncode == 1
    assert "DRIFTED" in other.stdout
    assert "alarm{" in metrics.read_text(encoding="utf-8")
    assert "} 1.0" in metrics.read_text(encoding="utf-8")


def test_events_need_no_labels_for_drift(model_dir: Path, events: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    bare.write_text("\n".join(json.dumps({k: v for k, v in one.items() if k != "truth"}) for one in lines) + "\n")
    with_labels, without = (
        json.loads(_run("drift", str(model_dir), str(path), "--json").stdout) for path in (events, bare)
    )
    assert with_labels == without


def test_a_reference_can_be_made_later(model_dir: Path, tmp_path: Path) -> None:
    before = (model_dir / REFERENCE).read_bytes()
    (model_dir / REFERENCE).unlink()
    made = _run("drift", str(model_dir), "--seeds", "1-8", "--days", "1", "--calls", "1500", "--save")
    assert made.returncode == 0, made.stderr
    then, now = json.loads(before), json.loads((model_dir / REFERENCE).read_bytes())
    assert [column["name"] for column in now["columns"]] == [column["name"] for column in then["columns"]]
    # Rows are kept as float32 here; what lies on an edge may fall on its other side.
    for old, new in zip(then["columns"], now["columns"], strict=True):
        assert sum(new["counts"]) == sum(old["counts"])
        assert new["edges"] == pytest.approx(old["edges"], rel=1e-6)
    (model_dir / REFERENCE).write_bytes(before)


def _journal(directory: Path, model: str, scores: list[float]) -> Path:
    decisions = [
        Decision(
            id=f"{at:016x}", call_id=str(at), ts=1_767_600_000.0 + at, shard="kz", region="KZ-75", verdict="allow",
            full_verdict="allow", ceiling="shadow", score=score, model=model,
        )
        for at, score in enumerate(scores)
    ]  # fmt: skip
    write_decisions(directory, "kz", [(f"{at + 1}-0", one) for at, one in enumerate(decisions)])
    return directory


def test_scores_of_the_journal_are_compared(model_dir: Path, events: Path, tmp_path: Path) -> None:
    loaded = Model.load(model_dir)
    journal = _journal(tmp_path / "journal", loaded.id, [0.99] * 1500)
    found = _run("drift", str(model_dir), "--journal", str(journal), "--json")
    assert found.returncode == 1, found.stderr
    result = json.loads(found.stdout)
    assert result["drifted"] == ["score"]
    assert result["calls"] == 1500
    other_days = _run("drift", str(model_dir), "--journal", str(journal), "--since", "2030-01-01")
    assert other_days.returncode == 2
    assert "no decision of these days was made with" in other_days.stderr


def _lines(events: Path) -> list[str]:
    return events.read_text(encoding="utf-8").splitlines(keepends=True)


def _of_class(events: Path, fraud: bool) -> str:
    return "".join(line for line in _lines(events) if json.loads(line)["truth"]["fraud"] == fraud)


def _cut(events: Path) -> str:
    return "".join(_lines(events)[:50])[:-30]


def _unlabelled(events: Path) -> str:
    return json.dumps({key: value for key, value in json.loads(_lines(events)[0]).items() if key != "truth"}) + "\n"


FILES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "evaluate-empty": ("evaluate", lambda events: ""),
    "evaluate-cut": ("evaluate", _cut),
    "evaluate-no-labels": ("evaluate", _unlabelled),
    "evaluate-honest-only": ("evaluate", lambda events: _of_class(events, False)),
    "evaluate-fraud-only": ("evaluate", lambda events: _of_class(events, True)),
    "evaluate-backwards": ("evaluate", lambda events: "".join(reversed(_lines(events)[:20]))),
    "drift-empty": ("drift", lambda events: ""),
    "drift-cut": ("drift", _cut),
    "drift-few": ("drift", lambda events: "".join(_lines(events)[:60])),
}
ARGUMENTS = {
    "evaluate-nothing": ["evaluate", "MODEL"],
    "evaluate-no-model": ["evaluate", "nowhere", "--seeds", "1", "--days", "1"],
    "evaluate-no-file": ["evaluate", "MODEL", "missing.jsonl"],
    "evaluate-no-directory": ["evaluate", "MODEL", "--seeds", "1", "--days", "1", "--html", "nowhere/report.html"],
    "evaluate-permute": ["evaluate", "MODEL", "--seeds", "1", "--days", "1", "--permute", "trunk,shoe"],
    "drift-both": ["drift", "MODEL", "--seeds", "1", "--days", "1", "--journal", "journal"],
    "drift-since": ["drift", "MODEL", "--seeds", "1", "--days", "1", "--since", "2026-01-01"],
    "drift-day": ["drift", "MODEL", "--journal", "journal", "--since", "yesterday"],
    "drift-no-journal": ["drift", "MODEL", "--journal", "journal"],
    "drift-save-journal": ["drift", "MODEL", "--journal", "journal", "--save"],
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_measured_are_refused_in_words(
    name: str, model_dir: Path, events: Path, tmp_path: Path
) -> None:
    command, content = FILES[name]
    (tmp_path / "calls.jsonl").write_text(content(events), encoding="utf-8")
    _golden(name, _run(command, str(model_dir), "calls.jsonl", cwd=tmp_path), model_dir)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_misuse_is_refused_in_words(name: str, model_dir: Path, tmp_path: Path) -> None:
    arguments = [str(model_dir) if one == "MODEL" else one for one in ARGUMENTS[name]]
    _golden(name, _run(*arguments, cwd=tmp_path), model_dir)
    assert not list(tmp_path.iterdir())


def _golden(name: str, found: subprocess.CompletedProcess[str], model_dir: Path) -> None:
    assert found.returncode == 2, (found.stdout, found.stderr)
    assert found.stdout == ""
    shown = found.stderr.replace(str(model_dir), "MODEL")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
    assert "\n    " in shown  # how to mend it


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == FILES.keys() | ARGUMENTS.keys()
