"""A challenger beside the model in force: through Redis into the journal, the metrics, doctor and the comparison."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from antifraud.journal.store import read_journal, write_decisions
from antifraud.queues import Keys, decode_decision
from antifraud.scoring import Model, read_manifest, write_manifest
from antifraud.settings import load_settings
from tests.engine_process import EngineProcess, wait_until
from tests.integration.engine.test_engine import setup_event
from tests.integration.engine.test_metrics import read, value

KEYS = Keys("kz")
Start = Callable[..., EngineProcess]


@pytest.fixture
def rival(tmp_path: Path) -> Path:
    """A copy of the model in force that asks for a label from the lowest score on."""
    champion = load_settings(env={}).model_dir
    assert champion is not None
    out = Path(shutil.copytree(champion, tmp_path / "rival" / "1"))
    manifest = read_manifest(out / "manifest.toml")
    lower = msgspec.structs.replace(manifest.thresholds, label=0.0)
    classes = {
        name: {**levels, "label": msgspec.structs.replace(levels["label"], threshold=0.0)}
        for name, levels in manifest.classes.items()
    }
    changed = msgspec.structs.replace(manifest, name="rival", thresholds=lower, classes=classes)
    write_manifest(msgspec.structs.replace(changed, digest=changed.sealed()), out / "manifest.toml")
    return out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.needs("redis")
def test_both_score_every_call_and_only_one_acts(
    redis_client: redis.Redis, start_engine: Start, rival: Path, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    start_engine(environment={"ANTIFRAUD_CHALLENGER": str(rival), "ANTIFRAUD_METRICS_LISTEN": listen})
    for number in range(20):
        redis_client.xadd(KEYS.calls, setup_event(f"c{number}"))
    wait_until(lambda: redis_client.xlen(KEYS.decisions) == 20)
    entries: Any = redis_client.xrange(KEYS.decisions)
    decisions = [decode_decision(fields) for _entry, fields in entries]
    theirs = Model.load(rival).id
    for one in decisions:
        assert (one.challenger, one.challenger_score) == (theirs, one.score)
        assert one.challenger_verdict == ("label" if one.full_verdict == "allow" else one.full_verdict)
        assert one.verdict == "allow"
        assert one.reasons == () or one.full_verdict != "allow"
    differs = sum(one.challenger_verdict != one.full_verdict for one in decisions)
    assert differs > 0

    def counted() -> bool:
        samples = read(f"http://{listen}/metrics")
        with contextlib.suppress(KeyError):  # figures are published once a second, and this one when there is one
            found = value(samples, "antifraud_challenger_differs_total", verdict="label")
            return found == differs and value(samples, "antifraud_challenger_refused") == 0
        return False

    wait_until(counted)
    rows = [(entry.decode(), one) for (entry, _fields), one in zip(entries, decisions, strict=True)]
    write_decisions(tmp_path / "journal", "kz", rows)
    assert list(read_journal(tmp_path / "journal")) == decisions
    found = run("model", "compare", "--journal", str(tmp_path / "journal"), "--json")
    report = json.loads(found.stdout)
    assert (report["calls"], report["challenger"]) == (20, theirs)
    assert report["verdict_differs"]["calls"] == differs
    assert report["stopped_only_by_challenger"]["calls"] == 0
    assert report["stopped_only_by_challenger"]["share"]["high"] > 0.05  # twenty calls prove little
    said = run("model", "compare", "--journal", str(tmp_path / "journal"))
    assert said.returncode == 0, said.stderr
    assert "20 calls of" in said.stdout


@pytest.mark.needs("redis")
def test_a_damaged_challenger_does_not_keep_the_engine_from_deciding(
    redis_client: redis.Redis, start_engine: Start, rival: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rival / "model.txt").write_bytes(b"tree\n")
    listen = f"127.0.0.1:{free_port()}"
    start_engine(environment={"ANTIFRAUD_CHALLENGER": str(rival), "ANTIFRAUD_METRICS_LISTEN": listen})
    redis_client.xadd(KEYS.calls, setup_event("c1"))
    wait_until(lambda: redis_client.xlen(KEYS.decisions) == 1)
    ((_entry, fields),) = redis_client.xrange(KEYS.decisions)
    decision = decode_decision(fields)
    assert decision.score is not None
    assert (decision.challenger, decision.challenger_score, decision.challenger_verdict) == ("", None, "")
    wait_until(lambda: value(read(f"http://{listen}/metrics"), "antifraud_challenger_refused") == 1)
    monkeypatch.setenv("ANTIFRAUD_CHALLENGER", str(rival))
    findings = json.loads(run("doctor", "--json").stdout)
    (found,) = [one for one in findings if one["area"] == "challenger"]
    assert found["state"] == "warn"
    assert "cut short or edited" in found["text"]


def test_a_journal_without_a_challenger_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    found = run("model", "compare", "--journal", str(tmp_path / "journal"))
    assert found.returncode == 2
    assert "no decision here was made beside a challenger" in found.stderr
    assert "Traceback" not in found.stderr
