"""From the engine as a process, over a real Redis and the adapters as processes, to what a dialplan is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antifraud.queues import EmbeddedRedis
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis")
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4f"


@contextlib.asynccontextmanager
async def adapter(name: str, url: str, *, deadline_ms: int = 20_000, **env: str) -> AsyncIterator[int]:
    """The port of ``antifraud adapter NAME``, stopped by its own process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antifraud.cli", "adapter", name, f"--redis={url}", "--set=listen=127.0.0.1:0",
        "--set=switch=sw-kz-75", f"--set=deadline_ms={deadline_ms}",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | env,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"ready 127.0.0.1:")
        yield int(line.rpartition(b":")[2])
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said
    assert b"Traceback" not in said


async def ask_by_agi(port: int, callee: str) -> dict[str, str]:
    """What Asterisk's channel variables are set to for a spoofed home number from abroad that calls ``callee``."""
    known = {"ANTIFRAUD_CALLEE": callee, "ANTIFRAUD_TRUNK": "intl-1", "ANTIFRAUD_ROAMING": "0"}
    told: dict[str, str] = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"agi_network_script: ask\nagi_uniqueid: 1796069373.4\nagi_callerid: +77010000003\n\n")
    while line := (await asyncio.wait_for(reader.readline(), 30)).decode().rstrip("\n"):
        word, _, name, *rest = line.split(" ", 3)
        if word == "SET":
            told[name] = rest[0].strip('"')
        value = known.get(name, "")
        writer.write(f"200 result=1 ({value})\n".encode() if value and word == "GET" else b"200 result=0\n")
    writer.close()
    return told


async def ask_by_socket(port: int, callee: str) -> list[str]:
    """What FreeSWITCH's channel is told to do for the same call."""
    about = (
        f"Unique-ID: {UUID}\nCaller-Destination-Number: {callee}\nvariable_sip_from_user: %2B77010000003\n"
        "variable_antifraud_trunk: intl-1\nvariable_antifraud_roaming: 0\n"
    )
    did: list[str] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            raw = (await asyncio.wait_for(reader.readuntil(b"\n\n"), 30)).decode().removesuffix("\n\n")
            if raw != "connect":
                did.append(raw)
            writer.write(f"Content-Type: command/reply\nReply-Text: +OK\n{about}\n".encode())
            about = ""
    writer.close()
    return did


async def test_a_fraud_call_is_refused_and_an_emergency_call_goes_on(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    engine = EngineProcess(redis_server.url, tmp_path, "--model=none")
    try:
        engine.start()
        async with adapter("asterisk", redis_server.url) as port:
            blocked = await ask_by_agi(port, "87010000002")
            assert await ask_by_agi(port, "112") == {"ANTIFRAUD_VERDICT": "emergency"}
        async with adapter("freeswitch", redis_server.url) as port:
            did = await ask_by_socket(port, "87010000002")
            assert len(await ask_by_socket(port, "112")) == 2
    finally:
        engine.stop()
    assert (blocked["ANTIFRAUD_VERDICT"], blocked["ANTIFRAUD_STATUS"]) == ("block", "608")
    assert blocked["ANTIFRAUD_CAUSE"] == "21"
    assert blocked["ANTIFRAUD_REASON"]
    assert blocked["ANTIFRAUD_DECISION"]
    assert did[-1] == "sendmsg\ncall-command: hangup\nhangup-cause: 21"
    assert "execute-app-arg: 608 Rejected" in did[-2]


async def test_the_fail_policy_of_the_configuration_is_carried_out(redis_server: EmbeddedRedis) -> None:
    """Nobody decides here."""
    hard = {"ANTIFRAUD_POLICY_FAIL_INTERNATIONAL_LATE": "emergency_only"}
    async with adapter("asterisk", redis_server.url, deadline_ms=100, **hard) as port:
        told = await ask_by_agi(port, "87010000002")
        assert await ask_by_agi(port, "112") == {"ANTIFRAUD_VERDICT": "emergency"}
    async with adapter("freeswitch", redis_server.url, deadline_ms=100, **hard) as port:
        did = await ask_by_socket(port, "87010000002")
        assert len(await ask_by_socket(port, "112")) == 2
    assert (told["ANTIFRAUD_VERDICT"], told["ANTIFRAUD_STATUS"]) == ("block", "503")
    assert "execute-app-arg: 503 Service Unavailable" in did[-2]
    assert did[-1] == "sendmsg\ncall-command: hangup\nhangup-cause: 41"
