"""``antifraud backtest`` as a person runs it, and the rules that ship held to their budgets of false hits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CHAIN = "packs/kz-callcentre/chain_on_callee.yaml"


def antifraud(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command, as the console script runs it."""
    code = "from antifraud.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )


def content(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the rules that ship, to be changed."""
    return shutil.copytree(ROOT / "rules", tmp_path / "rules")


def loosen(folder: Path) -> None:
    """Give chain_on_callee the condition that it first shipped with: strangers of any country count."""
    path = folder / CHAIN
    text = path.read_text(encoding="utf-8")
    for term in (
        "caller_country == home_country",
        "(missing(roaming) or not roaming)",
        "callee_talk_new_2h >= params.talk_s",
    ):
        assert f"  and {term}\n" in text
        text = text.replace(f"  and {term}\n", "")
    text = text.replace("  talk_s: 180\n", "").replace("{callee_talk_new_2h}", "some")
    text = text.replace("  - callee_talk_new_2h\n", "").replace("strangers: 2", "strangers: 3")
    path.write_text(text, encoding="utf-8")


def test_a_directory_of_packs_alone_is_measured_as_lint_and_test_take_it(tmp_path: Path) -> None:
    for part in ("packs/wangiri", "lists"):
        shutil.copytree(ROOT / "rules" / part, tmp_path / "mine" / part)
    found = content(antifraud("backtest", "--rules", str(tmp_path / "mine"), "--calls", "300", "--json"))
    assert {one["rule"] for one in found["rules"]} == {"one_ring_from_abroad", "callback_to_one_ring_abroad"}


# The rules that ship


@pytest.mark.parametrize(
    ("what", "arguments", "honest"),
    [
        ("a day with fraud among the calls", ["--seeds", "801", "--calls", "60000"], 55_000),
        ("a day of clean traffic", ["--clean", "--seeds", "802", "--calls", "40000"], 38_000),
        (
            "minutes of a large country's busy hour",
            ["--seeds", "803", "--calls", "40000", "--days", "0.008", "--start", "2026-01-06T18:00"],
            38_000,
        ),
    ],
)
def test_no_rule_at_canary_or_enforce_is_above_its_budget(what: str, arguments: list[str], honest: int) -> None:
    """The short form of scripts/false-hits."""
    done = antifraud("backtest", *arguments, "--only", "setup", "--json")
    found = content(done)
    assert done.returncode == 0, (what, found["failing"])
    assert found["honest"] >= honest
    assert found["failing"] == []
    acting = [
        rule for rule in found["rules"] if rule["stage"] in ("canary", "enforce") and rule["verdict"] != "protect"
    ]
    assert len(acting) >= 10
    for rule in acting:
        assert rule["budget_per_million"] is not None, rule["rule"]
        assert rule["outcome"] in ("kept", "open"), rule


def test_a_rule_that_hits_more_than_its_budget_is_found(rules: Path) -> None:
    loosen(rules)
    arguments = ["backtest", "--rules", str(rules), "--seeds", "801", "--calls", "30000", "--rule", "chain_on_callee"]
    done = antifraud(*arguments, "--show", "2", "--json")
    found = content(done)
    assert done.returncode == 1
    assert found["failing"] == ["chain_on_callee"]
    (chain,) = found["rules"]
    assert chain["outcome"] == "above"
    assert chain["honest_hits"] >= chain["honest_callers"] > 2
    assert chain["at_least_per_million"] > chain["budget_per_million"] == 10
    assert len(chain["examples"]) == 2
    assert chain["examples"][0].keys() == {"call_id", "ts", "caller", "callee", "behaviour", "reason"}
    assert "strangers called" in chain["examples"][0]["reason"]
    said = antifraud(*arguments, "--show", "1")
    assert said.returncode == 1
    assert "above the budget: chain_on_callee" in said.stdout
    assert chain["examples"][0]["reason"] in said.stdout
    assert chain["examples"][1]["reason"] not in said.stdout


def test_only_the_rules_that_were_asked_about_are_judged(rules: Path) -> None:
    loosen(rules)
    arguments = ["backtest", "--rules", str(rules), "--seeds", "801", "--calls", "30000"]
    done = antifraud(*arguments, "--rule", "one_ring_from_abroad")
    assert done.returncode == 0, done.stdout
    assert "1 rule at canary or enforce" in done.stdout or "so none has a budget to keep" in done.stdout
    assert "of the rules that were not asked about, 1 is above its budget or has none: chain_on_callee" in done.stdout
    draft = rules / "packs/wangiri/one_ring_from_abroad.yaml"
    draft.write_text(re.sub("stage: .*", "stage: draft", draft.read_text()).replace("  percent: 5\n", ""))
    done = antifraud(*arguments, "--calls", "300", "--rule", "one_ring_from_abroad")
    said = "no rule at canary or enforce here, so none has a budget to keep: one_ring_from_abroad is at draft"
    assert said in done.stdout


# Calls in progress

LATER = "packs/victim/chain_holds_the_line.yaml"
DAY = ("--seeds", "801", "--calls", "12000", "--days", "0.1", "--start", "2026-01-06T10:00")


def at_stage(folder: Path, stage: str, condition: str) -> None:
    """Take chain_holds_the_line to a stage, with a condition of one line and no more tests than it needs."""
    path = folder / LATER
    text = path.read_text(encoding="utf-8")
    head, rest = text.split("params:\n", 1)
    then = rest[rest.index("then:\n") :].split("tests:\n", 1)[0].replace("stage: draft", f"stage: {stage}")
    then = re.sub(r"\{callee_talk_new_2h\}", "some", then)
    tests = "tests:\n  - {name: a, given: {talk_so_far_s: 999, trunk_class: international}, expect: hit}\n"
    tests += "  - {name: b, given: {talk_so_far_s: 1}, expect: no_hit}\n"
    path.write_text(f"{head}on: tick\nwhen: {condition}\n{then}{tests}", encoding="utf-8")


def test_a_rule_on_calls_in_progress_is_measured_and_held_to_its_budget(rules: Path) -> None:
    at_stage(rules, "canary\n  percent: 5\n  false_hits_per_million: 50", "talk_so_far_s >= 120")
    arguments = ["backtest", "--rules", str(rules), *DAY, "--rule", "chain_holds_the_line"]
    done = antifraud(*arguments, "--show", "1", "--json")
    found = content(done)
    assert done.returncode == 1
    assert (found["failing"], found["rules"]) == (["chain_holds_the_line"], [])
    calls = found["in_progress"]
    assert calls.keys() == {
        "honest", "fraud", "honest_stopped_at_setup", "fraud_stopped_at_setup", "fraud_talk_s", "failed_looks", "rules",
    }  # fmt: skip
    # Not everybody answers, and rules on set-ups in force have stopped some of the fraud.
    assert 5_000 < calls["honest"] < found["honest"]
    assert 0 < calls["fraud"] < found["fraud"]
    assert calls["fraud_stopped_at_setup"] > calls["honest_stopped_at_setup"]
    assert calls["failed_looks"] == 0
    (rule,) = calls["rules"]
    assert (rule["stage"], rule["verdict"], rule["on"], rule["outcome"]) == ("canary", "alert", "tick", "above")
    assert calls["honest"] > rule["honest_hits"] >= rule["honest_callers"] > 100
    assert rule["per_10000"] == pytest.approx(rule["honest_hits"] / calls["honest"] * 10_000, abs=0.001)
    assert rule["per_million"] == pytest.approx(rule["per_10000"] * 100, abs=0.1)
    # Everybody is asked every ten seconds, so what says 120 hits at 120.
    assert rule["talk_s_p50"] == pytest.approx(120)
    assert 0 < rule["fraud_cut_s"] < calls["fraud_talk_s"]
    assert rule["fraud_cut_share"] == pytest.approx(rule["fraud_cut_s"] / calls["fraud_talk_s"], abs=1e-5)
    assert rule["looks"] > calls["honest"]
    assert len(rule["examples"]) == 1
    said = antifraud(*arguments)
    assert said.returncode == 1
    assert "above the budget: chain_holds_the_line" in said.stdout
    assert f"in progress: {calls['honest']:,} honest calls, {calls['fraud']:,} fraudulent ones" in said.stdout
    assert f"since rules on setups stop them: {calls['honest_stopped_at_setup']:,} honest" in said.stdout


def test_a_rule_that_never_looked_has_proved_nothing(rules: Path) -> None:
    path = rules / "packs/victim/talks_to_reported_number.yaml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("stage: draft", "stage: enforce\n  false_hits_per_million: 90000")
    path.write_text(text, encoding="utf-8")
    # In the first minutes of a simulated country nobody has complained yet.
    arguments = ["backtest", "--rules", str(rules), "--seeds", "4", "--calls", "2000", "--days", "0.01"]
    arguments += ["--rule", "talks_to_reported_number"]
    found = content(antifraud(*arguments, "--json"))
    (rule,) = found["in_progress"]["rules"]
    assert (rule["looks"], rule["honest_hits"], rule["talk_s_p50"], rule["outcome"]) == (0, 0, None, "open")
    done = antifraud(*arguments, "--prove")
    assert done.returncode == 1
    assert "never had a reason to look at a call here, which shows nothing: talks_to_reported_number" in done.stdout


def test_calls_are_followed_only_where_rules_on_them_are_judged() -> None:
    arguments = ("backtest", "--seeds", "4", "--calls", "600")
    for chosen in (("--only", "setup"), ("--rule", "chain_on_callee")):
        assert content(antifraud(*arguments, *chosen, "--json"))["in_progress"] is None
        assert "in progress:" not in antifraud(*arguments, *chosen).stdout
    found = content(antifraud(*arguments, "--only", "in-progress", "--json"))
    assert found["rules"] == []
    assert len(found["in_progress"]["rules"]) >= 2
    clean = antifraud(*arguments, "--only", "in-progress", "--clean")
    assert "fraudulent" not in clean.stdout.split("honest, fraud:")[0]


# The command


def test_a_file_says_the_same_as_its_seed(tmp_path: Path) -> None:
    for name in ("day.jsonl", "day.parquet"):
        arguments = ("--seed", "4", "--calls", "1500", "--start", "2026-01-05", "--days", "1")
        assert antifraud("simulate", *arguments, "--out", name, cwd=tmp_path).returncode == 0
    seed = content(antifraud("backtest", "--seeds", "4", "--calls", "1500", "--json"))
    for name in ("day.jsonl", "day.parquet"):
        file = content(antifraud("backtest", "--against", name, "--json", cwd=tmp_path))
        assert file["sources"] == [name]
        assert {**file, "sources": seed["sources"]} == seed
    assert seed["in_progress"]["honest"] > 500
    both = content(antifraud("backtest", "--against", "day.jsonl", "--against", "day.parquet", "--json", cwd=tmp_path))
    assert both["honest"] == 2 * seed["honest"]


def test_clean_traffic_has_no_fraud_in_it(tmp_path: Path) -> None:
    whole = content(antifraud("backtest", "--seeds", "4", "--calls", "3000", "--json"))
    clean = content(antifraud("backtest", "--seeds", "4", "--calls", "3000", "--clean", "--json"))
    assert whole["fraud"] > 0
    assert (clean["fraud"], clean["honest"], clean["clean"]) == (0, whole["honest"], True)
    assert not any(rule["fraud_hits"] for rule in clean["rules"])


def test_every_rule_is_listed_and_too_few_calls_prove_nothing() -> None:
    arguments = ("backtest", "--seeds", "4", "--calls", "2000")
    found = content(antifraud(*arguments, "--json"))
    # Rules on calls in progress hit no set-up, so they are listed by themselves.
    files = [*(ROOT / "rules/packs").glob("*/*.yaml")]
    later = {
        path.stem for path in files if re.search(r"^on: (?!setup)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    names = {path.stem for path in files} - later
    assert {rule["rule"] for rule in found["rules"]} == names
    assert len(later) >= 2
    assert {rule["rule"] for rule in found["in_progress"]["rules"]} == later
    assert found.keys() == {"sources", "clean", "honest", "fraud", "repeated", "failing", "rules", "in_progress"}
    done = antifraud(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in names | later)
    assert "too few calls to tell" in done.stdout
    done = antifraud(*arguments, "--prove")
    assert done.returncode == 1
    assert "sequential_dialling" in content(antifraud(*arguments, "--prove", "--json"))["failing"]


def test_a_rule_in_force_without_a_budget_fails(rules: Path) -> None:
    path = rules / CHAIN
    path.write_text(path.read_text(encoding="utf-8").replace("  false_hits_per_million: 10\n", ""), encoding="utf-8")
    done = antifraud("backtest", "--rules", str(rules), "--calls", "500")
    assert done.returncode == 1
    assert "without a budget (false_hits_per_million under rollout): chain_on_callee" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "x"], "is no seed"),
        (["--seeds", "1", "--against", "day.jsonl"], "where the calls come from is not said"),
        (["--against", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["--against", "unlabelled.jsonl"], "unlabelled.jsonl:1: the event has no truth"),
        (["--against", "garbled.jsonl"], "garbled.jsonl:1: not an event"),
        (["--against", "empty.jsonl"], "there is no honest call to measure on"),
        (["--against", "day.jsonl", "--start", "2026-01-05"], "--start goes with --seeds"),
        (["--start", "soon"], "'soon' is no time"),
        (["--calls", "0"], "must be above 0"),
        (["--days", "nan"], "must be above 0"),
        (["--scenario", "nowhere"], "nowhere"),
        (["--rule", "chain_on_calee"], "did you mean chain_on_callee?"),
        (["--rules", "nowhere"], "nowhere"),
        (["--calls", "200", "--only", "in-progress", "--rule", "chain_on_callee"], "no rule is left to judge"),
        (["--only", "answer"], "--only"),
        (["--show", "-1"], "--show"),
    ],
)
def test_misuse_is_said_without_a_traceback(tmp_path: Path, arguments: list[str], words: str) -> None:
    event = {"kind": "setup", "call_id": "1", "ts": 1_767_600_000.0, "caller_raw": "+77000000001", "callee_raw": "112"}
    (tmp_path / "unlabelled.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    (tmp_path / "garbled.jsonl").write_text("\x1b[31m{not json}\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    done = antifraud("backtest", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    truth = {"fraud": False, "campaign": "", "scenario": "per\x1b[2Json"}
    event = {
        "kind": "setup", "call_id": "1\x07", "ts": 1_767_600_000.0, "caller_raw": "102", "callee_raw": "+77000000002",
        "trunk": "intl-\x1b]0;x\x07", "switch": "sw-kz-75", "truth": truth,
    }  # fmt: skip
    (tmp_path / "bad.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    done = antifraud("backtest", "--against", "bad.jsonl", "--show", "5", cwd=tmp_path)
    assert done.returncode == 1
    assert "short code 102 came from abroad" in done.stdout
    assert not any(letter in done.stdout for letter in "\x1b\x07")


def test_help_comes_at_once() -> None:
    code = (
        "import sys; from antifraud.cli import root\n"
        "try: root.main(['backtest', '--help'], standalone_mode=False)\n"
        "finally: sys.exit(bool({'numpy', 'numba', 'lightgbm', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "false hits" in done.stdout
