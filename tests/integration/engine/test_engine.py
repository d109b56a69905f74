"""The engine as a process beside a real Redis: answers, deadlines, crashes, bad input, rules that do not compile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from antifraud.domain import CallEvent, Decision, EventKind, check_event
from antifraud.engine.loop import report_stopped
from antifraud.queues import EmbeddedRedis, Keys, encode_event
from antifraud.simulator import simulate
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
Start = Callable[..., EngineProcess]
ROOT = Path(__file__).resolve().parents[3]


def setup_event(call_id: str, **changes: Any) -> dict[str, str]:
    event = CallEvent(
        kind=EventKind.SETUP, call_id=call_id, ts=time.time(), switch="sw-kz-75", trunk="sub-1",
        caller_raw="+77000000001", callee_raw="87000000002", reply=KEYS.reply(call_id), deadline_ms=30_000,
    )  # fmt: skip
    return encode_event(msgspec.structs.replace(event, **changes))


def answer(client: redis.Redis, call_id: str, seconds: float = 15) -> dict[str, Any]:
    popped: Any = client.blpop([KEYS.reply(call_id)], timeout=seconds)
    assert popped is not None, f"no verdict for {call_id}"
    return json.loads(popped[1])


def decisions(client: redis.Redis) -> list[dict[str, Any]]:
    entries: Any = client.xrange(KEYS.decisions)
    return [json.loads(fields[b"d"]) for _entry_id, fields in entries]


def counter(client: redis.Redis, name: str) -> int:
    found: Any = client.hget(KEYS.counters, name)
    return int(found or 0)


def test_verdicts_duplicates_deadlines_and_reply_keys(start_engine: Start, redis_client: redis.Redis) -> None:
    engine = start_engine()
    redis_client.xadd(KEYS.calls, setup_event("plain"))
    plain = answer(redis_client, "plain")
    assert (plain["verdict"], plain["call"], plain["v"]) == ("allow", "plain", 1)

    # A fraud call by a rule: a home number that comes in from abroad and is not roaming.
    spoofed = {"trunk": "intl-1", "caller_raw": "+77000000003", "roaming": False}
    redis_client.xadd(KEYS.calls, setup_event("spoofed", **spoofed))
    assert answer(redis_client, "spoofed")["verdict"] in ("divert", "block")

    # The same setup once more: answered again, not counted again, marked.
    redis_client.xadd(KEYS.calls, setup_event("spoofed", **spoofed))
    assert answer(redis_client, "spoofed")["verdict"] in ("divert", "block")
    assert decisions(redis_client)[-1]["duplicate"] is True

    # An emergency call is never touched, whoever seems to call.
    for number in ("112", "101", "102", "103", "104", "+7112"):
        redis_client.xadd(KEYS.calls, setup_event(f"e{number[-3:]}-{len(number)}", **spoofed, callee_raw=number))
        assert answer(redis_client, f"e{number[-3:]}-{len(number)}")["verdict"] == "allow"
        assert decisions(redis_client)[-1]["protected"] is True

    # A reply key of somebody else's is refused; the call is decided and recorded all the same.
    redis_client.xadd(KEYS.calls, setup_event("attack", reply=KEYS.calls))
    redis_client.xadd(KEYS.calls, setup_event("attack2", reply="victim"))
    wait_until(lambda: counter(redis_client, "reply_key_refused") == 2)
    assert redis_client.type(KEYS.calls) == b"stream"
    assert not redis_client.exists("victim")
    assert decisions(redis_client)[-1]["call_id"] == "attack2"

    # A packed event, as a switch with few Redis arguments writes it.
    packed = f"kind=setup&call_id=packed&ts={time.time()}&caller_raw=%2B77000000001&callee_raw=112"
    redis_client.xadd(KEYS.calls, {"q": f"{packed}&reply={KEYS.reply('packed')}&deadline_ms=30000"})
    assert answer(redis_client, "packed")["verdict"] == "allow"
    assert engine.stop() == 0
    assert not redis_client.exists(KEYS.lease)


def test_a_late_decision_is_recorded_and_not_pushed(start_engine: Start, redis_client: redis.Redis) -> None:
    redis_client.xadd(KEYS.calls, setup_event("late", deadline_ms=1))
    time.sleep(0.05)
    start_engine()
    (decision,) = wait_until(lambda: decisions(redis_client))
    assert decision["late"] is True
    assert not redis_client.exists(KEYS.reply("late"))
    wait_until(lambda: counter(redis_client, "late") == 1)


def test_what_cannot_be_understood_is_quarantined_and_the_caller_goes_on(
    start_engine: Start, redis_client: redis.Redis
) -> None:
    start_engine()
    bad: dict[str, dict[str, Any]] = {
        "kind-unknown": {"kind": "party"},
        "ts-absurd": setup_event("y1970", ts=10.0),
        "ts-future": setup_event("future", ts=time.time() + 86_400),
        "ts-past": setup_event("past", ts=time.time() - 50 * 86_400),
        "number-garbled": {**setup_event("garbled"), "ts": "yesterday"},
        "duration-absurd": setup_event("negative", kind=EventKind.RELEASE, talk_s=-5.0),
        "callee-missing": setup_event("nobody", callee_raw=""),
        "field-too-long": setup_event("x" * 400),
        "entry-too-large": {**setup_event("large"), "user_agent": "u" * 70_000},
        "too-many-fields": {f"f{n}": "x" for n in range(80)},
    }
    for fields in bad.values():
        redis_client.xadd(KEYS.calls, fields)
    assert answer(redis_client, "y1970")["verdict"] == "allow"  # whoever waits is not kept waiting
    # Forty digits, control characters, bytes that are no text: odd, but a call.
    redis_client.xadd(KEYS.calls, {**setup_event("odd", callee_raw="9" * 40), "user_agent": b"\xff\x00%s\r\n"})
    assert answer(redis_client, "odd")["verdict"] in ("allow", "label")  # it goes on
    entries: Any = redis_client.xrange(KEYS.quarantine)
    assert [fields[b"code"].decode() for _entry_id, fields in entries] == list(bad)
    assert all(fields[b"detail"] for _entry_id, fields in entries)
    wait_until(lambda: all(counter(redis_client, f"quarantine.{code}") == 1 for code in bad))


def test_kill_9_loses_nothing_and_changes_no_decision(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """Three engines die in the middle of the traffic; the decisions are those of one that lived, bit for bit."""
    traffic = [item.event for item in simulate("demo", 11, calls=4_000, start_ts=1.8e9, rate=50.0)]
    shift = time.time() - traffic[-1].ts
    events = [encode_event(msgspec.structs.replace(event, ts=event.ts + shift)) for event in traffic]
    setups = sum(event.kind is EventKind.SETUP for event in traffic)
    environment = {"ANTIFRAUD_ENGINE_SNAPSHOT_EVERY_S": "1", "ANTIFRAUD_ENGINE_MAX_BATCH": "64"}
    quarter = len(events) // 4
    for part in range(4):
        engine = start_engine(environment=environment)
        mine = events[part * quarter : (part + 1) * quarter if part < 3 else None]
        for half in (mine[: quarter // 2], mine[quarter // 2 :]):
            with redis_client.pipeline(transaction=False) as pipe:
                for event in half:
                    pipe.xadd(KEYS.calls, event)
                pipe.execute()
            if half[0] is mine[0]:
                time.sleep(1.2)  # a snapshot falls between the halves
        if part < 3:
            engine.kill()
    wait_until(lambda: redis_client.hget(KEYS.position, "id") == redis_client.xrevrange(KEYS.calls, count=1)[0][0])
    crashed = {one["id"]: one for one in decisions(redis_client)}
    assert list(tmp_path.glob("s/*.snapshot"))
    engine.stop()

    # The same log from its start, by an engine without snapshot and position.
    shutil.rmtree(tmp_path / "s")
    redis_client.delete(KEYS.position, KEYS.decisions)
    engine = start_engine()
    wait_until(lambda: redis_client.hget(KEYS.position, "id") == redis_client.xrevrange(KEYS.calls, count=1)[0][0])
    uninterrupted = {one["id"]: one for one in decisions(redis_client)}
    assert len(uninterrupted) == setups
    assert crashed == uninterrupted


SPOOFED = {"trunk": "intl-1", "caller_raw": "+77000000003", "roaming": False}


def reports(client: redis.Redis) -> list[dict[str, str]]:
    entries: Any = client.xrange(KEYS.calls)
    found = [{name.decode(): text.decode() for name, text in fields.items()} for _entry_id, fields in entries]
    return [fields for fields in found if fields["kind"] == "report"]


def test_a_call_that_full_enforcement_stops_is_reported_in_the_log_once(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    origin = {
        "asserted": "+77000000004", "src_ip": "192.0.2.7", "user_agent": "dialler/1", "fingerprint": "f1",
        "imsi": "401010000000001", "imei": "490154203237518", "cell": "c7",
    }  # fmt: skip
    engine = start_engine()
    # In a region whose ceiling is off nothing is carried out, and the windows learn of the call all the same.
    stopped = setup_event("stopped", **SPOOFED, **origin, switch="sw-kz-10", source="kamailio", identity="secret")
    redis_client.xadd(KEYS.calls, stopped)
    assert answer(redis_client, "stopped")["verdict"] == "allow"
    redis_client.xadd(KEYS.calls, stopped)  # a setup that is sent once more was not stopped once more
    redis_client.xadd(KEYS.calls, setup_event("allowed"))
    redis_client.xadd(KEYS.calls, setup_event("emergency", **{**SPOOFED, "callee_raw": "112"}))
    withheld = {**SPOOFED, "caller_raw": "", "asserted": ""}
    redis_client.xadd(KEYS.calls, setup_event("withheld", **withheld))
    for call_id in ("stopped", "allowed", "emergency", "withheld"):
        answer(redis_client, call_id)
    full = {one["call_id"]: one["full_verdict"] for one in decisions(redis_client)}
    assert full["stopped"] in ("divert", "block")
    assert full["allowed"] == full["emergency"] == "allow"
    expected = {
        **origin, "kind": "report", "call_id": "stopped", "ts": stopped["ts"], "switch": "sw-kz-10",
        "trunk": "intl-1", "caller_raw": "+77000000003", "callee_raw": "87000000002", "source": "engine",
        "reporter": "engine", "label": "stopped",
    }  # fmt: skip
    assert reports(redis_client) == [expected]
    wait_until(lambda: counter(redis_client, "feedback") == 1)
    assert redis_client.xlen(KEYS.quarantine) == 0
    engine.stop()
    assert reports(redis_client) == [expected]

    # The log is folded from its start: the report is written again, and the fold knows it.
    shutil.rmtree(tmp_path / "s")
    redis_client.delete(KEYS.position, KEYS.features)
    start_engine()
    wait_until(lambda: len(reports(redis_client)) == 2)
    assert reports(redis_client) == [expected, expected]
    wait_until(lambda: redis_client.hget(KEYS.features, "duplicates") == b"2")  # the second setup, the second report


def test_a_report_names_the_caller_as_the_setup_did() -> None:
    setup = CallEvent(
        EventKind.SETUP, "c", 1.8e9, caller="+77000000003", callee="+77000000004", callee_raw="0700", reply="r"
    )
    decision = Decision("d", "c", 1.8e9, "kz", "KZ-75", verdict="allow", full_verdict="block", ceiling="shadow")
    report = report_stopped(setup, decision)
    assert report is not None
    assert (report.caller_raw, report.caller, report.callee_raw, report.callee) == ("", "+77000000003", "0700", "")
    assert (report.reply, report.deadline_ms) == ("", 0)
    assert check_event(report, setup.ts) == report
    for changes in ({"full_verdict": "challenge"}, {"duplicate": True}, {"protected": True}):
        assert report_stopped(setup, msgspec.structs.replace(decision, **changes)) is None
    assert report_stopped(msgspec.structs.replace(setup, caller=""), decision) is None


def test_without_feedback_nothing_is_reported(start_engine: Start, redis_client: redis.Redis) -> None:
    start_engine(environment={"ANTIFRAUD_ENGINE_FEEDBACK": "false"})
    redis_client.xadd(KEYS.calls, setup_event("stopped", **SPOOFED))
    assert answer(redis_client, "stopped")["verdict"] in ("divert", "block")
    redis_client.xadd(KEYS.calls, setup_event("after"))
    answer(redis_client, "after")
    assert reports(redis_client) == []


def test_a_second_engine_stands_by_and_takes_over(start_engine: Start, redis_client: redis.Redis) -> None:
    first = start_engine(environment={"ANTIFRAUD_ENGINE_LEASE_S": "1"})
    second = start_engine(wait=False, environment={"ANTIFRAUD_ENGINE_LEASE_S": "1"})
    redis_client.xadd(KEYS.calls, setup_event("one"))
    answer(redis_client, "one")
    wait_until(lambda: "standing by" in second.log.read_text(), 60)
    first.kill()
    redis_client.xadd(KEYS.calls, setup_event("two"))
    assert answer(redis_client, "two", 60)["verdict"] == "allow"
    assert len(decisions(redis_client)) == 2


def test_broken_rules_end_a_start_and_never_a_running_engine(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    engine = start_engine(f"--rules={rules}")
    redis_client.xadd(KEYS.calls, setup_event("before"))
    answer(redis_client, "before")
    bundle = decisions(redis_client)[-1]["bundle"]

    victim = next(rules.glob("packs/kz-callcentre/*.yaml"))
    sound = victim.read_text()
    victim.write_text(sound.replace("when: |", "when: |\n  no_such_field > 3 and", 1))
    assert victim.read_text() != sound
    redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "a new rule"})
    wait_until(lambda: counter(redis_client, "reload_refused") == 1)
    assert f"{victim.name}:" in engine.log.read_text()
    redis_client.xadd(KEYS.calls, setup_event("during"))
    answer(redis_client, "during")
    assert decisions(redis_client)[-1]["bundle"] == bundle

    # The same file at a start: said with file, line and column, exit code 2.
    refused = start_engine(f"--rules={rules}", wait=False)
    assert refused.process is not None
    assert refused.process.wait(timeout=60) == 2
    assert "Traceback" not in refused.log.read_text()

    victim.write_text(sound + "\n# another comment\n")
    redis_client.xadd(KEYS.control, {"op": "reload", "who": "analyst", "why": "mended"})
    wait_until(lambda: counter(redis_client, "reloads") == 1)
    # A control entry that names nobody is refused.
    redis_client.xadd(KEYS.control, {"op": "kill"})
    wait_until(lambda: counter(redis_client, "control_refused") == 1)


def test_the_kill_switch_outlives_a_restart(start_engine: Start, redis_client: redis.Redis) -> None:
    engine = start_engine()
    spoofed = {"trunk": "intl-1", "caller_raw": "+77000000003", "roaming": False}
    redis_client.xadd(KEYS.control, {"op": "kill", "who": "operations", "why": "drill"})
    wait_until(lambda: "switched off" in engine.log.read_text())
    redis_client.xadd(KEYS.calls, setup_event("one", **spoofed))
    assert answer(redis_client, "one")["verdict"] == "allow"
    assert decisions(redis_client)[-1]["full_verdict"] in ("divert", "block")
    engine.stop()
    engine = start_engine()
    redis_client.xadd(KEYS.calls, setup_event("two", **spoofed))
    assert answer(redis_client, "two")["verdict"] == "allow"
    redis_client.xadd(KEYS.control, {"op": "revive", "who": "operations", "why": "drill over"})
    wait_until(lambda: "switched on" in engine.log.read_text())
    redis_client.xadd(KEYS.calls, setup_event("three", **spoofed))
    assert answer(redis_client, "three")["verdict"] in ("divert", "block")


def test_an_engine_without_redis_says_so(tmp_path: Path) -> None:
    engine = EngineProcess(f"unix://{tmp_path}/nothing.sock", tmp_path).start(wait=False)
    assert engine.process is not None
    assert engine.process.wait(timeout=60) == 1
    assert engine.process.stdout is not None
    engine.process.stdout.close()
    text = engine.log.read_text()
    assert "does not answer" in text
    assert "Traceback" not in text


def test_a_reply_key_that_is_no_list_costs_one_reply_and_nothing_else(
    start_engine: Start, redis_client: redis.Redis
) -> None:
    start_engine()
    redis_client.xadd(KEYS.reply("boom"), {"a": "b"})
    redis_client.xadd(KEYS.calls, setup_event("poison", reply=KEYS.reply("boom")))
    redis_client.xadd(KEYS.calls, {"kind": "nonsense", "call_id": "poison2", "reply": KEYS.reply("boom")})
    redis_client.xadd(KEYS.calls, setup_event("after"))
    assert answer(redis_client, "after")["verdict"] == "allow"
    wait_until(lambda: counter(redis_client, "commands_refused") >= 1)
    assert [one["call_id"] for one in decisions(redis_client)] == ["poison", "after"]
    assert redis_client.xlen(KEYS.quarantine) == 1


def test_an_entry_id_in_the_future_does_not_make_later_calls_look_late(
    start_engine: Start, redis_client: redis.Redis
) -> None:
    start_engine()
    redis_client.xadd(KEYS.calls, setup_event("jump"), id="9999999999999-0")
    assert answer(redis_client, "jump")["verdict"] == "allow"
    redis_client.xadd(KEYS.calls, setup_event("later"))
    assert answer(redis_client, "later")["verdict"] == "allow"
    assert redis_client.xlen(KEYS.quarantine) == 0


def test_an_entry_id_in_the_future_does_not_open_the_gate(start_engine: Start, redis_client: redis.Redis) -> None:
    """Redis goes on counting from the id that somebody chose; events must still be of this time."""
    start_engine()
    ahead = f"{int(time.time() * 1000) + 3_600_000}-0"
    redis_client.xadd(KEYS.calls, setup_event("first", ts=4_099_000_000.0, reply=""), id=ahead)
    redis_client.xadd(KEYS.calls, setup_event("second", ts=4_099_000_000.0, reply=""))
    redis_client.xadd(KEYS.calls, setup_event("old", ts=time.time() - 50 * 86_400, reply=""))
    redis_client.xadd(KEYS.calls, setup_event("now"))
    assert answer(redis_client, "now")["verdict"] == "allow"
    entries: Any = redis_client.xrange(KEYS.quarantine)
    assert [fields[b"code"].decode() for _id, fields in entries] == ["ts-future", "ts-future", "ts-past"]
    assert [one["call_id"] for one in decisions(redis_client)] == ["now"]


def test_a_snapshot_of_another_log_is_left_alone(
    start_engine: Start, redis_client: redis.Redis, tmp_path: Path
) -> None:
    engine = start_engine()
    redis_client.xadd(KEYS.calls, setup_event("one"))
    answer(redis_client, "one")
    engine.stop()
    (snapshot,) = (tmp_path / "s").glob("*.snapshot")
    assert snapshot.name.split(".")[1] != "0-0"
    redis_client.flushall()
    early = f"{int(time.time() * 1000) - 3_600_000}-0"
    redis_client.xadd(KEYS.calls, setup_event("two", reply="", ts=time.time() - 3_600), id=early)
    engine = start_engine()
    assert wait_until(lambda: decisions(redis_client))[0]["call_id"] == "two"
    assert "of another log" in engine.log.read_text()


def test_a_log_that_was_cut_before_it_was_read_is_noticed(start_engine: Start, redis_client: redis.Redis) -> None:
    engine = start_engine()
    redis_client.xadd(KEYS.calls, setup_event("one"))
    answer(redis_client, "one")
    engine.stop()
    for number in range(20):
        redis_client.xadd(KEYS.calls, setup_event(f"lost{number}"))
    redis_client.xtrim(KEYS.calls, maxlen=3, approximate=False)
    engine = start_engine()
    wait_until(lambda: counter(redis_client, "log_gaps") >= 1)
    assert "the log now begins at" in engine.log.read_text()


def test_an_engine_that_was_stopped_for_too_long_writes_nothing_more(
    start_engine: Start, redis_client: redis.Redis
) -> None:
    first = start_engine(environment={"ANTIFRAUD_ENGINE_LEASE_S": "1"})
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    start_engine(environment={"ANTIFRAUD_ENGINE_LEASE_S": "1"})
    redis_client.xadd(KEYS.calls, setup_event("one"))
    answer(redis_client, "one", 60)
    first.process.send_signal(signal.SIGCONT)
    redis_client.xadd(KEYS.calls, setup_event("two"))
    answer(redis_client, "two")
    assert first.process.wait(timeout=30) == 1
    assert "another engine" in first.log.read_text()
    assert [one["call_id"] for one in decisions(redis_client)] == ["one", "two"]


def test_a_stop_while_redis_hangs_leaves_a_snapshot_although_the_position_cannot_be_written(
    start_engine: Start, redis_client: redis.Redis, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    engine = start_engine()
    assert engine.process is not None
    redis_client.xadd(KEYS.calls, setup_event("first"))
    assert answer(redis_client, "first")["verdict"] == "allow"
    ended: Any = {"kind": "release", "call_id": "first", "ts": str(time.time()), "callee_raw": "77020000001"}
    last: Any = redis_client.xadd(KEYS.calls, ended)
    time.sleep(0.01)
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(timeout=25) == 0
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert list((tmp_path / "s").rglob("*")), "a snapshot"
    start_engine()
    wait_until(lambda: redis_client.hget(KEYS.position, "id") == last)
    assert [one["call_id"] for one in decisions(redis_client)] == ["first"]
