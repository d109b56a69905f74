"""``antifraud agent``, its figures, what doctor says of agents, and ``antifraud up`` with one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.cli.agent_states import AgentState, agent_states
from antifraud.queues import EmbeddedRedis, Keys, connect
from antifraud.queues.commands import Block, Command, encode_block, encode_command

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
SWITCH = "sw-kz-75"
GOLDEN = Path(__file__).with_name("golden")


def run(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antifraud.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no-switch-name", ["agent", "kamailio", "--switch=a b"]),
        ("no-redis", ["agent", "kamailio", "--switch=sw-kz-75"]),
        ("no-equals", ["agent", "kamailio", "--switch=sw-kz-75", "--set=socket"]),
        ("wrong-option", ["agent", "kamailio", "--switch=sw-kz-75", "--set=sock=/x", "--redis=redis://127.0.0.1:1/0"]),
        ("wrong-metrics", ["agent", "kamailio", "--switch=sw-kz-75", "--set=metrics=here"]),
        ("wrong-url", ["agent", "kamailio", "--switch=sw-kz-75", "--redis=http://x"]),
    ],
)
def test_a_mistake_is_named_with_its_remedy(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    said = f"exit {done.returncode}\n{done.stderr}"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
    assert said == path.read_text(encoding="utf-8")


def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    done = run("agent", "nokia", "--switch=sw-kz-75")
    assert done.returncode == 2
    assert done.stderr.startswith("there is no 'nokia' here\n    installed: ")
    assert "kamailio" in done.stderr


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Path]:
    """The socket of a switch that is there and says nothing."""
    path = tmp_path / "rpc.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        yield path


def findings(url: str) -> list[dict[str, Any]]:
    """What doctor says about agents."""
    done = run("doctor", "--json", f"--redis={url}", seconds=150)
    return [finding for finding in json.loads(done.stdout) if finding["area"] == "agents"]


def states(url: str) -> list[AgentState]:
    """The same without the rest of doctor, which takes long."""

    async def ask() -> list[AgentState]:
        client = connect(url)
        try:
            return await agent_states(client, KEYS, [])
        finally:
            await client.aclose()

    return asyncio.run(ask())


def test_doctor_and_metrics_tell_of_a_switch_that_says_nothing(
    redis_server: EmbeddedRedis, switch: Path, free_port: Callable[[], int]
) -> None:
    client: Any = redis.Redis.from_url(redis_server.url)
    client.hset(KEYS.blocks, "+77010000001", encode_block(Block("+77010000001", "blocked", time.time() + 600, 1)))
    before = states(redis_server.url)
    assert [one.text for one in before] == ["1 numbers in the register of blocks, and no switch has an agent"]
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "antifraud.cli", "agent", "kamailio", f"--switch={SWITCH}",
            f"--redis={redis_server.url}", f"--set=socket={switch}", "--set=timeout_s=0.1",
            f"--set=metrics=127.0.0.1:{port}",
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready {SWITCH}\n".encode()
        for number in range(3):
            command = Command(f"{number:016x}", "block", "+77010000001", time.time() + 600, number + 1)
            client.xadd(KEYS.commands(SWITCH), encode_command(command))
        wait_until(lambda: b"does not answer" in (client.hget(KEYS.agents, SWITCH) or b""))
        wait_until(lambda: figure(port, "pending") == 3)
        assert figure(port, "up") == 1
        assert figure(port, "serving") == 0
        assert figure(port, "oldest_seconds") > 0
        told = findings(redis_server.url)
        assert [one["state"] for one in told] == ["ok", "warn"]
        assert told[0]["text"] == "1 numbers in the register; outcomes: none yet"
        assert told[1]["text"].startswith(f"{SWITCH}: core.uptime: the switch does not answer within 0.1 s; 3 commands")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()
    assert client.exists(KEYS.agent(SWITCH)) == 0
    client.hset(KEYS.agents, SWITCH, json.dumps({"agent": "a", "at": time.time() - 60}))
    gone = states(redis_server.url)[1]
    assert gone.state == "warn"
    assert re.match(rf"{SWITCH}: its agent has said nothing for [0-9]+ s; 3 commands wait", gone.text)
    assert gone.hint == f"antifraud agent kamailio --switch {SWITCH} on the switch's machine"
    client.hset(KEYS.agents, SWITCH, json.dumps({"agent": "a", "at": time.time(), "refused": 2, "why": "no room"}))
    assert "the switch did not take 2 numbers: no room" in states(redis_server.url)[1].text
    client.hset(KEYS.agents, SWITCH, b"\xff{")
    assert "cannot be read" in states(redis_server.url)[1].text
    client.delete(KEYS.commands(SWITCH))
    client.hset(
        KEYS.agents, SWITCH, json.dumps({"agent": "a", "at": time.time(), "synced_at": time.time(), "wanted": 1})
    )
    assert states(redis_server.url)[1] == AgentState(
        "ok", f"{SWITCH}: agent a, 1 numbers blocked, compared 0 s ago; no command waits"
    )
    client.close()


def figure(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"antifraud_agent_{name}{{")))


def wait_until(ready: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
