"""`antifraud model collect`: the log of a real Redis in files, each event once, whatever happens between two runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.backtest import EVENT_FILE
from antifraud.cli import model_collect
from antifraud.domain import CallEvent, EventKind, Quarantined
from antifraud.queues import CallLog, EmbeddedRedis, Keys, connect
from antifraud.settings import load_settings

pytestmark = pytest.mark.needs("redis")


def _event(number: int) -> CallEvent:
    return CallEvent(
        EventKind.SETUP, f"c{number}", 1_767_553_200.0 + number, caller_raw="+77010000001", callee_raw="+77010000002",
        reply="af:{kz}:reply:x", deadline_ms=200,
    )  # fmt: skip


async def _append(url: str, numbers: range, *, garbled: bool = False) -> None:
    client = connect(url)
    try:
        await CallLog(client, "kz").append([_event(number) for number in numbers])
        if garbled:
            await client.xadd(Keys("kz").calls, {"kind": "nonsense"})
    finally:
        await client.aclose()


async def _trim(url: str) -> None:
    client = connect(url)
    try:
        await client.xtrim(Keys("kz").calls, maxlen=2, approximate=False)
    finally:
        await client.aclose()


def _collect(url: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", "model", "collect", "--redis", url, "--out", str(out), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _ids(out: Path) -> list[str]:
    found = []
    for path in sorted(out.glob("*.jsonl")):
        for event in EVENT_FILE.read(path, {}):
            assert not isinstance(event, Quarantined)
            assert (event.reply, event.deadline_ms) == ("", 0)
            found.append(event.call_id)
    return found


def test_runs_follow_each_other_without_gap_and_without_repeating(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    out = tmp_path / "events"
    nothing = _collect(redis_server.url, out)
    assert nothing.returncode == 0, nothing.stderr
    assert json.loads(nothing.stdout) == {"files": [], "events": 0, "garbled": 0, "lost": False}
    asyncio.run(_append(redis_server.url, range(5000), garbled=True))
    first = json.loads(_collect(redis_server.url, out).stdout)
    assert (first["events"], first["garbled"], len(first["files"])) == (5000, 1, 1)
    assert json.loads(_collect(redis_server.url, out).stdout)["files"] == []
    asyncio.run(_append(redis_server.url, range(5000, 5100)))
    (out / ".123.part").write_bytes(b"left over by a run that was killed")
    assert json.loads(_collect(redis_server.url, out).stdout)["events"] == 100
    assert _ids(out) == [f"c{number}" for number in range(5100)]
    asyncio.run(_append(redis_server.url, range(5100, 5110)))
    asyncio.run(_trim(redis_server.url))
    late = _collect(redis_server.url, out)
    assert late.returncode == 1
    assert "trimmed before it was collected" in late.stderr
    assert _ids(out)[-2:] == ["c5108", "c5109"]


def test_a_long_log_is_several_files(
    redis_server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_collect, "_MOST_EVENTS", 2000)
    asyncio.run(_append(redis_server.url, range(4500)))
    found = asyncio.run(model_collect._collect(load_settings(None), redis_server.url, tmp_path))
    assert len(found.files) == 3
    assert _ids(tmp_path) == [f"c{number}" for number in range(4500)]


def test_a_redis_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    found = _collect("redis://127.0.0.1:1/0", tmp_path / "events")
    assert found.returncode == 1
    assert "does not answer" in found.stderr
    assert "Traceback" not in found.stderr
