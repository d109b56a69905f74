"""Blocked numbers: requests and rules, the register, the commands to switches, through crashes and hostile hands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import EmbeddedRedis, Keys, encode_event
from antifraud.queues.commands import (
    Block,
    BlockRequest,
    Command,
    Outcome,
    decode_block,
    decode_command,
    encode_outcome,
    encode_request,
)
from antifraud.settings import load_settings
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]
NUMBER = "+77010000001"
SWITCHES = sorted(load_settings(env={}).policy().switches)
Start = Callable[..., EngineProcess]

RULE = """\
rule: number_in_test
title: a caller of the test
owner: fraud-desk
why: it calls in the test
false_positives: none
when: |
  prefix_in(caller, ["+770100000", "+4470009990"])
then: {verdict: block, block_caller: 24h, reason: "{caller} is of the test"}
rollout: {stage: enforce, false_hits_per_million: 1}
tests:
  - {name: a, given: {caller: "+77010000001"}, expect: hit}
  - {name: b, given: {caller: "+77020000002"}, expect: no_hit}
"""
SAFE = """\
list: safe
title: safe
class: protect
kind: numbers
owner: fraud-desk
source: a test
entries: ["+77020000001"]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    (folder / "lists" / "safe.yaml").write_text(SAFE)
    (folder / "packs" / "numbers").mkdir()
    (folder / "packs" / "numbers" / "number_in_test.yaml").write_text(RULE)
    return folder


class Shard:
    """Requests, calls and commands of one shard."""

    def __init__(self, client: redis.Redis, server: EmbeddedRedis, rules: Path) -> None:
        self.client, self.server, self.rules = client, server, rules
        self.calls = 0

    def ask(self, op: str, number: str = "", *, wait: bool = True, **changes: Any) -> str:
        """Ask the engine, wait until it has obeyed, and say why it refused; empty when it did not."""
        request = BlockRequest(op, "a.analyst", "a test", number, **changes)
        entry: Any = self.client.xadd(KEYS.block_requests, encode_request(request))  # type: ignore[arg-type]
        return self.answer(entry) if wait else ""

    def answer(self, entry: bytes) -> str:
        wait_until(lambda: _order(self.client.hget(KEYS.position, "block_requests")) >= _order(entry))
        found: Any = self.client.xrevrange(KEYS.quarantine)
        for _id, fields in found:
            if fields[b"source"] == b"block_requests" and fields[b"raw"].startswith(entry + b" "):
                return str(fields[b"code"].decode())
        return ""

    def block(self, number: str = NUMBER) -> Block | None:
        raw: Any = self.client.hget(KEYS.blocks, number)
        return decode_block(raw) if raw is not None else None

    def commands(self, switch: str = "sw-kz-75") -> list[Command]:
        found: Any = self.client.xrange(KEYS.commands(switch))
        return [decode_command(fields) for _id, fields in found]

    def ops(self, switch: str = "sw-kz-75") -> list[str]:
        return [command.op for command in self.commands(switch)]

    def call(self, caller: str = NUMBER, **changes: Any) -> dict[str, Any]:
        """The decision about a call that is made now."""
        self.calls += 1
        call_id = f"call-{self.calls}"
        event = CallEvent(
            kind=EventKind.SETUP, call_id=call_id, ts=time.time(), switch="sw-kz-75", trunk="nat-1",
            caller_raw=caller, callee_raw="+77020000009", reply=KEYS.reply(call_id), deadline_ms=30_000,
        )  # fmt: skip
        self.client.xadd(KEYS.calls, encode_event(msgspec.structs.replace(event, **changes)))  # type: ignore[arg-type]
        assert self.client.blpop([KEYS.reply(call_id)], timeout=20) is not None
        found: Any = self.client.xrevrange(KEYS.decisions, count=1)
        ((_id, fields),) = found
        decision: dict[str, Any] = json.loads(fields[b"d"])
        assert decision["call_id"] == call_id
        return decision

    def carry_out(self, *switches: str) -> None:
        """Report every command to ``switches`` as done, as their agents do."""
        for switch in switches:
            for command in self.commands(switch):
                outcome = Outcome(command.id, switch, command.op, "done", agent="test", at=time.time())
                self.client.xadd(KEYS.outcomes, encode_outcome(outcome))  # type: ignore[arg-type]

    def control(self, op: str) -> None:
        entry: Any = self.client.xadd(KEYS.control, {"op": op, "who": "a.analyst", "why": "a test"})
        wait_until(lambda: _order(self.client.hget(KEYS.position, "control")) >= _order(entry))

    def cli(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [
                sys.executable, "-m", "antifraud.cli", "blocks", arguments[0], f"--redis={self.server.url}",
                f"--rules={self.rules}", *arguments[1:],
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "of its own" not in done.stderr
        return done.stdout + done.stderr


def _order(entry: Any) -> tuple[int, int]:
    milliseconds, _, sequence = (entry or b"0-0").decode().partition("-")
    return int(milliseconds), int(sequence)


@pytest.fixture
def shard(redis_client: redis.Redis, redis_server: EmbeddedRedis, rules: Path) -> Shard:
    return Shard(redis_client, redis_server, rules)


def test_a_person_blocks_frees_and_forgets(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    number = "+77020000005"
    assert shard.call(number)["verdict"] == "allow"
    assert shard.ask("block", number) == ""
    held = shard.block(number)
    assert held is not None
    assert (held.state, held.by, held.reason, held.region) == ("blocked", "analyst:a.analyst", "a test", "")
    assert held.until - held.at == pytest.approx(86_400)
    for switch in SWITCHES:
        (command,) = shard.commands(switch)
        assert (command.op, command.number, command.until, command.seq) == ("block", number, held.until, held.seq)
    decision = shard.call(number)
    assert (decision["verdict"], decision["reasons"][0]["by"]) == ("block", "blocks")
    # An emergency call is never touched, whoever calls.
    assert shard.call(number, callee_raw="112")["verdict"] == "allow"
    # Under a milder ceiling no more is carried out than elsewhere.
    assert shard.call(number, switch="sw-kz-71")["verdict"] != "block"

    assert shard.ask("unblock", number) == ""
    freed = shard.block(number)
    assert freed is not None
    assert (freed.state, freed.seq > held.seq) == ("cleared", True)
    assert freed.until - freed.at == pytest.approx(30 * 86_400)
    assert shard.ops() == ["block", "unblock"]
    assert shard.call(number)["verdict"] == "allow"
    assert shard.ask("block", number) == "block-cleared"
    assert shard.ask("forget", number) == ""
    assert shard.block(number) is None
    assert shard.ask("forget", number) == "block-unknown"
    assert shard.ask("block", number, until=time.time() + 60) == ""
    again = shard.block(number)
    assert again is not None
    assert again.seq > freed.seq
    assert shard.ops() == ["block", "unblock", "block"]
    # A block of one region lets the others go.
    assert shard.ask("block", number, region="KZ-71") == ""
    assert shard.ops() == ["block", "unblock", "block", "unblock"]
    assert shard.ops("sw-kz-71")[-1] == "block"
    assert shard.ask("resync", switch="sw-kz-10") == ""
    assert (shard.ops("sw-kz-10")[-1], shard.ops()[-1]) == ("resync", "unblock")
    assert engine.stop() == 0


def test_what_must_not_be_done_is_refused_by_class(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    now = time.time()
    assert shard.ask("block", "+77020000001") == "block-protected"
    assert shard.ask("block", "+7112") == "block-protected"
    assert shard.ask("block", NUMBER, until=now - 10) == "block-until"
    assert shard.ask("block", NUMBER, until=now + 367 * 86_400) == "block-until"
    assert shard.ask("block", NUMBER, region="KZ-99") == "block-region"
    assert shard.ask("resync", switch="sw-nowhere") == "command-switch"
    assert shard.ask("release", call_id="c1", switch="sw-nowhere") == "command-switch"
    assert shard.ask("release", call_id="c1", switch="sw-kz-75") == "release-unknown"
    for fields, code in (
        ({"op": "block", "number": NUMBER}, "request-nobody"),
        ({"op": "block", "number": "112", "who": "a", "why": "b"}, "request-subject"),
        ({"op": "drop tables", "who": "a", "why": "b"}, "request-op-unknown"),
        ({"op": b"\xff\x00", "who": b"\x00"}, "request-op-unknown"),
        ({"op": "block", "number": NUMBER, "who": "a", "why": "x" * 9_000}, "request-too-large"),
        ({"op": "block", "number": NUMBER, "who": "a", "why": "b", "until": "nan"}, "request-until"),
    ):
        entry: Any = shard.client.xadd(KEYS.block_requests, fields)  # type: ignore[arg-type]
        assert shard.answer(entry) == code
    assert shard.client.hlen(KEYS.blocks) == 0
    assert not any(shard.ops(switch) for switch in SWITCHES)
    shard.control("kill")
    assert shard.ask("block", NUMBER) == "block-killed"
    assert shard.ask("unblock", NUMBER) == ""
    assert shard.ops() == ["unblock"]
    found: Any = wait_until(lambda: shard.client.hget(KEYS.counters, "quarantine.block-protected"))
    assert int(found) == 2


def test_a_rule_blocks_the_callers_number_where_it_cannot_be_forged(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    decision = shard.call()
    assert (decision["verdict"], decision["block_by"]) == ("block", "rule:number_in_test")
    held = shard.block()
    assert held is not None
    assert (held.by, held.decision, held.until) == ("rule:number_in_test", decision["id"], decision["block_until"])
    assert held.reason == f"{NUMBER} is of the test"
    # Only one region carries blocks out by default, so only its switch is told.
    assert held.region == "KZ-75"
    assert [switch for switch in SWITCHES if shard.ops(switch)] == ["sw-kz-75"]
    shard.call()
    assert shard.ops() == ["block"]

    def left(caller: str, **changes: Any) -> bool:
        decision = shard.call(caller, **changes)
        return "block_until" not in decision and shard.block(caller) is None

    assert left("+77010000002", trunk="intl-1")
    assert left("+77010000002", trunk="intl-1", roaming=False)
    assert left("+77010000002", trunk="sub-1")
    assert left("+77010000002", trunk="nobody-knows")
    assert left("+77010000002", switch="sw-kz-71")
    assert left("+77010000002", caller_raw="anonymous")
    assert not left("+77010000002", trunk="sub-1", asserted="+77010000002")
    assert not left("+77010000003", trunk="intl-1", roaming=True)
    assert not left("+447000999000", trunk="intl-1")
    shard.control("kill")
    assert left("+77010000004")
    shard.control("revive")
    assert shard.ask("unblock", "+77010000004") == ""
    decision = shard.call("+77010000004")
    assert (decision["verdict"], decision["full_verdict"]) == ("label", "block"), "cleared: no rule stops it"
    freed = shard.block("+77010000004")
    assert freed is not None
    assert freed.state == "cleared"


def test_the_register_survives_a_crash_and_requests_wait_for_an_engine(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    assert shard.ask("block", "+77020000005") == ""
    assert shard.ask("unblock", NUMBER) == ""
    shard.call()
    engine.kill()
    before = {switch: shard.ops(switch) for switch in SWITCHES}
    seq = max(command.seq for command in shard.commands())
    shard.ask("block", "+77020000006", wait=False)
    shard.client.hset(KEYS.blocks, "+77020000007", b"{")
    shard.client.hset(KEYS.position, "block_seq", str(seq + 10**12))
    wait_until(lambda: not shard.client.exists(KEYS.lease))
    engine = start_engine(f"--rules={shard.rules}")
    assert shard.call("+77020000005")["verdict"] == "block"
    assert shard.call()["verdict"] == "label"
    freed = shard.block()
    assert freed is not None
    assert freed.state == "cleared"
    assert shard.block("+77020000006") is not None
    assert {switch: shard.ops(switch) for switch in SWITCHES} == {
        switch: [*ops, "block"] for switch, ops in before.items()
    }
    assert shard.commands()[-1].seq > seq + 10**12
    assert engine.stop() == 0
    assert shard.client.hget(KEYS.blocks, "+77020000007") == b"{"
    assert shard.client.hget(KEYS.counters, "blocks_left_aside") == b"1"


def test_a_number_that_comes_under_protection_is_let_go(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    assert shard.ask("block", "+77020000005") == ""
    fields = {"op": "list.add", "list": "safe", "value": "+77020000005", "who": "a.analyst", "why": "a hospital"}
    shard.client.xadd(KEYS.list_changes, fields)  # type: ignore[arg-type]
    wait_until(lambda: shard.block("+77020000005") is None)
    assert shard.ops() == ["block", "unblock"]


def test_what_has_ended_leaves_the_register(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    assert shard.ask("block", "+77020000005", until=time.time() + 0.5) == ""
    wait_until(lambda: shard.block("+77020000005") is None)
    assert shard.ops() == ["block"]
    assert shard.call("+77020000005")["verdict"] == "allow"


def test_the_command_shows_each_number_and_says_where_it_is_out(start_engine: Start, shard: Shard) -> None:
    assert "no engine serves" in shard.cli("add", "+77020000006", "--why", "a test")
    start_engine(f"--rules={shard.rules}")
    shard.call()
    assert "sw-kz-75  no agent" in shard.cli("show", NUMBER)
    shard.client.hset(KEYS.agents, "sw-kz-75", "{}")
    said = shard.cli("show", NUMBER)
    decision = json.loads(shard.cli("show", NUMBER, "--json"))
    assert "by rule:number_in_test" in said
    assert decision["decision"] in said
    assert decision["switches"] == [{"switch": "sw-kz-75", "state": "pending", "detail": "", "at": "", "took_s": 0.0}]
    shard.carry_out("sw-kz-75")
    assert "sw-kz-75  done" in shard.cli("show", NUMBER)
    assert "blocked" in shard.cli("add", "8 702 000 00 05", "--who", "a.analyst", "--why", "a campaign")
    listed = shard.cli("list")
    assert "+77020000005 blocked until" in listed
    assert "by analyst:a.analyst" in listed
    assert json.loads(shard.cli("list", "--json"))["numbers"][0]["number"] == "+77020000005"
    assert "protected (safe)" in shard.cli("add", "+77020000001", "--why", "a mistake", code=1)
    assert "is an emergency number" in shard.cli("add", "112", "--why", "a mistake", code=2)
    assert "is over already" in shard.cli("add", NUMBER, "--until", "2026-01-01", "--why", "late", code=2)
    assert "neither blocked nor cleared" in shard.cli("show", "+77020000009")

    # An appeal: nobody has carried it out, then all but one, then everybody. Every switch has an agent now.
    for switch in SWITCHES:
        shard.client.hset(KEYS.agents, switch, "{}")
    said = shard.cli("remove", NUMBER, "--why", "an honest subscriber", code=1)
    assert said.count("pending") == len(SWITCHES)
    shard.carry_out(*SWITCHES[1:])
    said = shard.cli("show", NUMBER)
    assert (said.count("pending"), said.count("done")) == (1, len(SWITCHES) - 1)
    (answer,) = json.loads(shard.cli("remove", NUMBER, "--why", "again", "--json", code=1))
    assert (answer["state"], answer["subject"]) == ("done", NUMBER)
    process = subprocess.Popen(
        [sys.executable, "-m", "antifraud.cli", "blocks", "remove", NUMBER, f"--redis={shard.server.url}", "--why=x"],
        stdout=subprocess.PIPE,
        env={**os.environ, "ANTIFRAUD_RULES": str(shard.rules)},
    )
    wait_until(lambda: shard.ops().count("unblock") == 3)
    shard.carry_out(*SWITCHES)
    shown, _errors = process.communicate(timeout=30)
    assert process.returncode == 0, shown
    assert "is cleared until 2" in shard.cli("add", NUMBER, "--why", "again", code=1)
    assert "forgotten" in shard.cli("forget", NUMBER, "--why", "he sold the number")
    assert "resync asked for" in shard.cli("resync", "sw-kz-75", "--why", "it was away")
    assert shard.ops()[-1] == "resync"
