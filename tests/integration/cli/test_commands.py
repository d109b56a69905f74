"""The command as people run it: replay, doctor, demo, and what they say when used wrongly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from antifraud.queues import EmbeddedRedis, Keys

ROOT = Path(__file__).resolve().parents[3]


def antifraud(*arguments: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
    return subprocess.run(
        [sys.executable, "-m", "antifraud.cli", *arguments],
        capture_output=True, text=True, timeout=seconds, env={**env, **environment}, check=False,
    )  # fmt: skip


def test_help_knows_every_command() -> None:
    result = antifraud("--help")
    assert result.returncode == 0
    for command in ("adapter", "config", "demo", "doctor", "engine", "model", "replay", "rules", "simulate", "up"):
        assert command in result.stdout
        shown = antifraud(command, "--help")
        assert shown.returncode == 0, shown.stderr
        assert "Usage:" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("replay", "no-such-file"), 2, "cannot be read"),
        (("replay", "--format", "tarot", "pyproject.toml"), 2, "no format"),
        (("adapter", "pigeon", "--redis=unix:///nowhere"), 2, "no 'pigeon'"),
        (("engine",), 1, "no Redis is configured"),
        (("doctor", "--redis=redis://127.0.0.1:1"), 1, "does not answer"),
        (("engine", "--config=/no/such/dir"), 2, "does not exist"),
        (("engine", "--redis=unix:///nowhere"), 1, "does not answer"),
        (("engine", "--model=nobody/9", "--redis=unix:///nowhere"), 2, "no manifest.toml"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(arguments: tuple[str, ...], code: int, text: str) -> None:
    result = antifraud(*arguments)
    assert result.returncode == code, result.stderr
    assert text in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_replay_decides_once_a_call_and_says_what_it_did_not_understand(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert antifraud("simulate", "--seed", "2", "--calls", "500", "--out", str(events)).returncode == 0
    lines = events.read_text().splitlines()
    setups = sum('"kind":"setup"' in line or '"kind": "setup"' in line for line in lines)
    absurd = [
        "not json at all",
        '{"kind":"setup","call_id":"y1970","ts":1.0,"callee_raw":"112"}',
        '{"kind":"setup","call_id":"y2100","ts":4102444800.0,"callee_raw":"112"}',
        '{"kind":"release","call_id":"x","ts":1.8e9,"callee_raw":"1","talk_s":-4}',
        '{"kind":"setup","call_id":"forty","ts":1.8e9,"caller_raw":"' + "9" * 40 + '","callee_raw":"112"}',
        "x" * 100_000,
    ]
    events.write_text("\n".join([*lines, *absurd]) + "\n")
    quarantine = tmp_path / "quarantine.jsonl"
    result = antifraud("replay", str(events), "--quarantine", str(quarantine))
    assert result.returncode == 0, result.stderr
    decisions = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(decisions) == setups + 1
    assert len({decision["id"] for decision in decisions}) == len(decisions)
    codes = sorted(json.loads(line)["code"] for line in quarantine.read_text().splitlines())
    assert codes == ["duration-absurd", "event-garbled", "line-too-long", "ts-absurd", "ts-absurd"]
    assert antifraud("replay", str(events)).stdout == result.stdout


@pytest.mark.needs("shared_data")
def test_every_invite_that_starts_a_call_is_decided(shared_data: Path) -> None:
    result = antifraud("replay", str(shared_data / "pcap" / "sip-calls.pcap"))
    assert result.returncode == 0, result.stderr
    decisions = [json.loads(line) for line in result.stdout.splitlines()]
    assert [decision["call_id"].split("@")[0] for decision in decisions] == [
        "105090259-446faf7a", "85216695-42dcdb1d", "24487391-449bf2a0", "11894297-4432a9f8",
    ]  # fmt: skip


@pytest.mark.needs("redis")
def test_the_demo_intercepts_and_ends_by_itself() -> None:
    result = antifraud("demo", "--seconds", "8", "--warm-up", "3", seconds=200)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "verdicts and truth" in result.stdout
    assert "touched: 0" in result.stdout
    assert "fraud calls stopped" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.needs("redis")
def test_the_doctor_sees_a_redis_without_an_engine(redis_server: EmbeddedRedis) -> None:
    result = antifraud("doctor", "--json", f"--redis={redis_server.url}")
    findings = {(finding["area"], finding["state"]) for finding in json.loads(result.stdout)}
    assert ("redis", "ok") in findings
    assert ("engine", "warn") in findings
    assert result.returncode == 0


@pytest.mark.needs("redis")
def test_the_doctor_shows_how_full_the_windows_are(redis_server: EmbeddedRedis) -> None:
    figures: dict[str, str] = {
        "events": "1234567", "setups": "1000000", "late": "12", "duplicates": "34", "remembered": "99", "evicted": "7",
        "memory_bytes": str(300 << 20), "memory_limit_bytes": str(1 << 30),
        "caller.keys": "400000", "caller.bytes": str(80 << 20), "caller.evicted": "7",
        "caller_prefix-4.keys": "12", "caller_prefix-4.bytes": "4096", "caller_prefix-4.evicted": "0",
        "caller>callee.pairs": "900000", "caller>callee.cut": "5", "garbled": "many", "odd.keys": "nan",
    }  # fmt: skip
    with redis.Redis(unix_socket_path=str(redis_server.socket_path)) as client:
        client.hset(Keys("kz").features, mapping=figures)
        shown = antifraud("doctor", f"--redis={redis_server.url}")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        lines = [line.strip() for line in shown.stdout.splitlines()]
        start = next(number for number, line in enumerate(lines) if "windows" in line.split()[:3] and "memory" in line)
        assert lines[start].endswith("memory 300.0 of 1,024.0 MiB (29%)   events 1,234,567   late 12   duplicates 34")
        assert lines[start].startswith("ok")
        assert [line.split() for line in lines[start + 1 : start + 9]] == [
            [],
            ["table", "keys", "MiB", "evicted"],
            ["caller", "400,000", "80.0", "7"],
            ["caller_prefix-4", "12", "0.0", "0"],
            ["odd", "0", "0.0", "0"],
            [],
            ["stream", "pairs", "cut"],
            ["caller>callee", "900,000", "5"],
        ]
        assert len({len(line) for line in lines[start + 2 : start + 6]}) == 1

        client.hset(Keys("kz").features, "memory_bytes", str(1020 << 20))
        findings = json.loads(antifraud("doctor", "--json", f"--redis={redis_server.url}").stdout)
        (windows,) = [finding for finding in findings if finding["area"] == "windows"]
        assert windows["state"] == "warn"
        assert "raise features.memory_limit" in windows["hint"]


def test_the_doctor_says_when_the_score_acts_before_its_certificate_holds() -> None:
    def said(warm_up_s: str) -> list[dict[str, str]]:
        found = antifraud("doctor", "--json", ANTIFRAUD_ENGINE_WARM_UP_S=warm_up_s)
        return [one for one in json.loads(found.stdout) if one["area"] == "warm-up"]

    (finding,) = said("1800")
    assert finding["state"] == "warn"
    assert "0.5 hours after the engine's first call" in finding["text"]
    assert "for 24 hours" in finding["text"]
    assert "engine.warm_up_s to 86400" in finding["hint"]
    assert not said("86400")


def test_the_doctor_says_when_nobody_serves_the_metrics(free_port: Callable[[], int]) -> None:
    result = antifraud("doctor", "--json", ANTIFRAUD_METRICS_LISTEN=f"127.0.0.1:{free_port()}")
    (metrics,) = [finding for finding in json.loads(result.stdout) if finding["area"] == "metrics"]
    assert metrics["state"] == "warn"
    assert "nothing answers" in metrics["text"]
