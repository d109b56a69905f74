"""`antifraud model explain`: a call of event files, of the journal, or described by hand; and every refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import Decision
from antifraud.journal import write_decisions
from antifraud.settings import data_dir, load_settings

MODEL = load_settings(env={}).model_dir or Path()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run("model", "explain", str(MODEL), *arguments)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "s7.jsonl"
    assert _run("simulate", "--seed", "7", "--calls", "4000", "--out", str(path)).returncode == 0
    return path


@pytest.fixture(scope="module")
def decisions(events: Path) -> list[Decision]:
    """What the engine decides about these calls, where the score asks for something."""
    found = _run("replay", str(events), "--model", f"{MODEL.parent.name}/{MODEL.name}")
    assert found.returncode == 0, found.stderr
    decided = [msgspec.json.decode(line, type=Decision) for line in found.stdout.splitlines()]
    return [one for one in decided if one.features]


def test_event_files_and_the_journal_give_the_same_explanation(
    events: Path, decisions: list[Decision], tmp_path: Path
) -> None:
    write_decisions(tmp_path, "kz", [(f"{1_800_000_000_000 + number}-0", one) for number, one in enumerate(decisions)])
    chosen = decisions[-1]
    journal = explain("--journal", str(tmp_path), "--decision", chosen.id, "--json")
    folded = explain(str(events), "--call-id", chosen.call_id, "--json")
    assert journal.returncode == folded.returncode == 0, journal.stderr + folded.stderr
    found = json.loads(journal.stdout)
    assert json.loads(folded.stdout) == found
    assert found["score"] == chosen.score
    assert found["model"] == chosen.model
    assert found["region"] == chosen.region
    assert 2 <= len(found["sentences"]) <= 4
    text = explain("--journal", str(tmp_path), "--decision", chosen.id)
    assert text.stdout.splitlines()[0] == f"{chosen.model}: score {chosen.score:.3f}, {found['verdict']}"
    assert [line.strip() for line in text.stdout.splitlines()[1:]] == found["sentences"]


def test_a_call_described_by_hand_in_the_language_asked_for(tmp_path: Path) -> None:
    call = (
        '{"caller_calls_10m": 30, "caller_callees_10m": 30, "caller_calls_1h": 92, "caller_callees_1h": 90, '
        '"caller_new_pair_share_24h": 1.0, "caller_short_share_1h": 0.9, "caller_age": 4000, "imei_imsis_24h": 9, '
        '"caller_received_24h": 0, "caller_mobile": true, "callee_mobile": true, "trunk_international": false, '
        '"spoofed_cli": false, "caller_foreign": false, "callee_foreign": false, "hour": 14, "caller_idle": null}'
    )
    (tmp_path / "call.json").write_text(call, encoding="utf-8")
    found = explain("--call", f"@{tmp_path / 'call.json'}", "--language", "en", "--json")
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    said = json.loads(found.stdout)
    assert said["verdict"] in ("label", "divert", "block")
    assert said["sentences"] == json.loads(explain("--call", call, "--language", "en", "--json").stdout)["sentences"]
    assert "сколько" in explain("--call", call, "--language", "ru").stdout


REFUSED = {
    "no call": ([], "which call is to be explained?"),
    "two calls": (["--call", "{}", "--decision", "x"], "which call is to be explained?"),
    "a call id without files": (["--call-id", "x"], "EVENTS and --call-id go together"),
    "files without a call id": (["EVENTS", "--call", "{}"], "EVENTS and --call-id go together"),
    "a call that is not in them": (["EVENTS", "--call-id", "nobody"], "there is no setup of a call 'nobody'"),
    "no such file": (["/nowhere/s.jsonl", "--call-id", "x"], "/nowhere/s.jsonl cannot be read"),
    "no such feature": (["--call", '{"caller_cals_1h": 1}'], "did you mean 'caller_calls_1h'?"),
    "a word": (["--call", '{"caller_calls_1h": "many"}'], "caller_calls_1h is not a number"),
    "a number without end": (["--call", '{"caller_calls_1h": 1e400}'], "--call"),
    "no JSON": (["--call", "{"], "--call is no JSON"),
    "no object": (["--call", "[1]"], "--call is no JSON object"),
    "no such region": (["--call", "{}", "--region", "KZ-00"], "there is no region 'KZ-00'"),
    "no journal": (["--decision", "x", "--journal", "/nowhere"], "/nowhere is no directory"),
    "no such decision": (["--decision", "x", "--journal", "JOURNAL"], "there is no decision x"),
    "an allowed one": (["--decision", "allowed", "--journal", "JOURNAL"], "does not say what the model saw"),
    "of another model": (["--decision", "other", "--journal", "JOURNAL"], "was made by the model other/1@0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_explained_is_refused_with_a_sentence(events: Path, tmp_path: Path, case: str) -> None:
    base = Decision("allowed", "c", 1.8e9, "kz", "KZ-75", "allow", "allow", "block")
    other = msgspec.structs.replace(base, id="other", features=(1.0,), model="other/1@0")
    write_decisions(tmp_path, "kz", [("1800000000000-0", base), ("1800000000001-0", other)])
    arguments, said = REFUSED[case]
    named = {"EVENTS": str(events), "JOURNAL": str(tmp_path)}
    found = explain(*(named.get(argument, argument) for argument in arguments))
    assert found.returncode in (1, 2)
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_the_shipped_rules_describe_everything_that_the_shipped_model_looks_at() -> None:
    from antifraud.decision import load_bundle
    from antifraud.decision.explaining import meanings
    from antifraud.scoring import Model

    known = meanings(load_bundle(data_dir("rules")).windows)
    assert set(Model.load(MODEL).features) <= known.keys()
