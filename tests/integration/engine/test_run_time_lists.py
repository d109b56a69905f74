"""Lists that change while the engine runs: by commands and by the control stream, through crashes and hostile hands."""

from __future__ import annotations

import json
import os
import shutil
import signal
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
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
Start = Callable[..., EngineProcess]
ROOT = Path(__file__).resolve().parents[3]

LIST = """\
list: {name}
title: {name}
{head}kind: {kind}
owner: fraud-desk
source: a test
entries: {entries}
"""
RULE = """\
rule: listed
title: a listed caller
owner: fraud-desk
why: it is listed
false_positives: none
when: |
  caller in lists.bad or caller in lists.bad_ranges or caller in lists.bad_areas
then: {verdict: block, reason: listed}
rollout: {stage: enforce}
tests:
  - {name: a, given: {caller: "+77010000001"}, expect: hit}
  - {name: b, given: {caller: "+77010000002"}, expect: no_hit}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    made = {
        "bad": ("numbers", "", '["+77010000001"]'),
        "bad_ranges": ("ranges", "", "[]"),
        "bad_areas": ("prefixes", "", "[]"),
        "safe": ("numbers", "class: protect\n", '["+77020000001"]'),
    }
    for name, (kind, head, entries) in made.items():
        text = LIST.format(name=name, kind=kind, head=head, entries=entries)
        (folder / "lists" / f"{name}.yaml").write_text(text)
    (folder / "packs" / "listed").mkdir()
    (folder / "packs" / "listed" / "listed.yaml").write_text(RULE)
    return folder


class Shard:
    """Calls and commands of one shard."""

    def __init__(self, client: redis.Redis, server: EmbeddedRedis, rules: Path) -> None:
        self.client, self.server, self.rules = client, server, rules
        self.number = 0

    def call(self, caller: str, callee: str = "+77020000009", **changes: Any) -> dict[str, Any]:
        """The decision about a call that is made now."""
        self.number += 1
        call_id = f"call-{os.getpid()}-{self.number}"
        event = CallEvent(
            kind=EventKind.SETUP, call_id=call_id, ts=time.time(), switch="sw-kz-75", trunk="sub-1",
            caller_raw=caller, callee_raw=callee, reply=KEYS.reply(call_id), deadline_ms=30_000,
        )  # fmt: skip
        self.client.xadd(KEYS.calls, encode_event(msgspec.structs.replace(event, **changes)))  # type: ignore[arg-type]
        popped: Any = self.client.blpop([KEYS.reply(call_id)], timeout=20)
        assert popped is not None, f"no verdict for {call_id}"
        (_entry_id, fields), *_ = self.client.xrevrange(KEYS.decisions, count=1)
        decision: dict[str, Any] = json.loads(fields[b"d"])
        assert decision["call_id"] == call_id
        return decision

    def stopped(self, caller: str, **changes: Any) -> bool:
        return self.call(caller, **changes)["full_verdict"] == "block"

    def control(self, stream: str = KEYS.control, **fields: str | bytes) -> None:
        self.client.xadd(stream, {"who": "a.analyst", "why": "a test", **fields})

    def counter(self, name: str) -> int:
        found: Any = self.client.hget(KEYS.counters, name)
        return int(found or 0)

    def lists(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [
                sys.executable, "-m", "antifraud.cli", "lists", arguments[0], f"--redis={self.server.url}",
                f"--rules={self.rules}", *arguments[1:],
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "of its own" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def shard(redis_client: redis.Redis, redis_server: EmbeddedRedis, rules: Path) -> Shard:
    return Shard(redis_client, redis_server, rules)


def test_added_and_taken_out_without_a_restart(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    before = shard.call("+77010000007")
    assert before["full_verdict"] == "allow"
    said = shard.lists("add", "bad", "8 701 000 00 07", "--why", "reported", code=2)
    assert "in full with +" in said
    said = shard.lists("add", "bad", "+7 701 000 00 07", "--who", "a.analyst", "--why", "reported by a bank")
    assert "holds for the next call" in said
    after = shard.call("+77010000007")
    assert after["full_verdict"] == "block"
    assert after["bundle"] != before["bundle"]

    told = json.loads(shard.lists("check", "87010000007", "--json"))
    (found,) = told["lists"]
    assert (found["list"], found["contains"], found["run_time"][0]["who"]) == ("bad", True, "a.analyst")
    assert "reported by a bank" in shard.lists("check", "+77010000007")

    shard.lists("remove", "bad", "+77010000007", "--why", "a mistake")
    again = shard.call("+77010000007")
    assert (again["full_verdict"], again["bundle"]) == ("allow", before["bundle"])
    assert shard.client.hlen(KEYS.lists) == 0

    # What stands in the file can be taken out as well, and the file stays as it is.
    assert shard.stopped("+77010000001")
    shard.lists("remove", "bad", "+77010000001", "--why", "it is a hospital")
    assert not shard.stopped("+77010000001")
    assert "taken out" in shard.lists("check", "+77010000001")
    assert "+77010000001" in (shard.rules / "lists" / "bad.yaml").read_text()
    assert engine.stop() == 0


def test_ranges_prefixes_and_ends(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    shard.lists("add", "bad_ranges", "+77010001000-+77010001999", "--why", "a campaign")
    shard.control(op="list.add", list="bad_areas", value="+770155", until="2099-12-31")
    shard.control(op="list.add", list="bad_ranges", **{"from": "+77010003000", "to": "+77010003999"})
    now = time.time()
    soon = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now + 60))
    shard.control(op="list.add", list="bad", value="+77010000008", until=soon)
    wait_until(lambda: shard.counter("list_changes") == 4)
    assert shard.stopped("+77010001500")
    assert not shard.stopped("+77010002000")
    assert shard.stopped("+77010003999")
    assert shard.stopped("+77015512345")
    # An entry ends by the time of the call, whatever the clock says.
    assert shard.stopped("+77010000008", ts=now + 50)
    assert not shard.stopped("+77010000008", ts=now + 70)


def test_changes_survive_kill_9_a_trimmed_stream_and_a_reload(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    shard.lists("add", "bad", "+77010000007", "--why", "reported")
    shard.lists("remove", "bad", "+77010000001", "--why", "a hospital")
    shard.control(op="kill")
    wait_until(lambda: shard.client.hget(KEYS.position, "killed") == b"1")
    bundle = shard.call("+77010000007")["bundle"]
    engine.kill()
    shard.client.delete(KEYS.lease)
    shard.client.xtrim(KEYS.control, maxlen=0)
    shard.client.xtrim(KEYS.list_changes, maxlen=0)
    # What is asked for while no engine runs is obeyed by the next one.
    said = shard.lists("add", "bad", "+77010000006", "--why", "reported meanwhile")
    assert "no engine serves" in said

    start_engine(f"--rules={shard.rules}")
    assert shard.stopped("+77010000006")
    shard.lists("remove", "bad", "+77010000006", "--why", "done")
    decision = shard.call("+77010000007")
    assert (decision["full_verdict"], decision["verdict"]) == ("block", "allow")  # still switched off
    assert decision["bundle"] == bundle
    assert not shard.stopped("+77010000001")

    shard.control(op="reload")
    wait_until(lambda: shard.counter("reloads") == 1)
    assert shard.call("+77010000007")["bundle"] == bundle
    assert shard.stopped("+77010000007")
    shard.control(op="revive")
    wait_until(lambda: shard.client.hget(KEYS.position, "killed") == b"0")


def test_entries_that_were_cut_off_before_they_were_obeyed_are_noticed(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    shard.lists("add", "bad", "+77010000007", "--why", "reported")
    engine.stop()
    shard.control(KEYS.list_changes, op="list.add", list="bad", value="+77010000008")
    shard.client.xtrim(KEYS.list_changes, maxlen=0)
    engine = start_engine(f"--rules={shard.rules}")
    assert shard.stopped("+77010000007")
    wait_until(lambda: shard.counter("control_gaps") == 1)
    assert "cut off" in engine.log.read_text()


def test_an_engine_killed_in_the_middle_of_changes_forgets_none(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    pipe = shard.client.pipeline()
    for number in range(3_000):
        fields = {"op": "list.add", "list": "bad", "value": f"+7705{number:07d}", "who": "a", "why": "b"}
        pipe.xadd(KEYS.control, fields)
        if number % 3 == 0:
            pipe.xadd(KEYS.control, {**fields, "op": "list.remove"})
    pipe.execute()
    wait_until(lambda: shard.client.hlen(KEYS.lists) > 0)
    engine.kill()
    shard.client.delete(KEYS.lease)
    start_engine(f"--rules={shard.rules}")
    wait_until(lambda: shard.client.hlen(KEYS.lists) == 2_000)
    assert shard.stopped("+77050002999")
    assert not shard.stopped("+77050000000")
    assert shard.counter("control_refused") == 0


def test_protection_is_not_lost_by_a_command(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    shard.control(op="list.add", list="bad", value="+77010000005")
    wait_until(lambda: shard.counter("list_changes") == 1)
    assert shard.call("+77010000005", "+77020000001")["protected"] is True

    said = shard.lists("remove", "safe", "+77020000001", "--why", "by mistake", code=2)
    assert "protects calls" in said
    shard.control(op="list.remove", list="safe", value="+77020000001")
    wait_until(lambda: shard.counter("control_refused") == 1)
    # Not even by who writes where only the engine writes.
    change = {"list": "safe", "value": "+77020000001", "removed": True}
    shard.client.hset(KEYS.lists, "safe +77020000001", json.dumps(change))
    shard.control(op="reload")
    wait_until(lambda: shard.counter("reloads") == 1)
    assert shard.call("+77010000005", "+77020000001")["protected"] is True

    # Added to at run time, it protects at once; an emergency call is protected whatever stands in lists.
    shard.lists("add", "safe", "+77020000002", "--why", "a hospital")
    assert shard.call("+77010000005", "+77020000002")["protected"] is True
    shard.control(op="list.add", list="bad", value="112")
    assert shard.call("+77010000005", "112")["protected"] is True


def test_hostile_control_entries_change_nothing_and_are_named(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    bundle = shard.call("+77010000007")["bundle"]
    good = {"op": "list.add", "list": "bad", "value": "+77010000007"}
    hostile: list[tuple[str, dict[str, str | bytes]]] = [
        ("list-unknown", {**good, "list": "../../etc/passwd"}),
        ("list-unknown", {**good, "list": "x" * 4_000}),
        ("list-value", {**good, "value": "%s%s\r\n*3"}),
        ("list-value", {**good, "value": b"\xff\xfe\x00"}),
        ("list-value", {**good, "value": "+7" * 1_000}),
        ("list-value", {"op": "list.add", "list": "bad"}),
        ("list-value", {**good, "from": "+77010000000", "to": "+77010000009"}),
        ("list-until", {**good, "until": "when hell freezes"}),
        ("list-until", {**good, "op": "list.remove", "until": "2099-01-01"}),
        ("list-too-wide", {**good, "list": "bad_areas", "value": "+7"}),
        ("list-too-wide", {**good, "list": "bad_ranges", "value": "+77000000000-+77999999999"}),
        ("list-protected", {"op": "list.remove", "list": "safe", "value": "+77020000001"}),
        ("list-no-entry", {"op": "list.remove", "list": "bad", "value": "+77010000099"}),
        ("control-nobody", {**good, "who": ""}),
        ("control-nobody", {**good, "why": " \n"}),
        ("control-op-unknown", {**good, "op": "list.drop"}),
        ("control-op-unknown", {"op": b"\xff" * 50}),
        ("control-too-large", {**good, "note": "x" * 20_000}),
        ("control-too-many-fields", {**good, **{f"f{n}": "x" for n in range(80)}}),
    ]
    for _code, fields in hostile:
        shard.control(**fields)
    wait_until(lambda: shard.counter("control_refused") == len(hostile))
    entries: Any = shard.client.xrange(KEYS.quarantine)
    assert [fields[b"code"].decode() for _entry_id, fields in entries] == [code for code, _fields in hostile]
    assert all(fields[b"source"] == b"control" and fields[b"detail"] for _entry_id, fields in entries)
    assert shard.client.hlen(KEYS.lists) == 0
    assert shard.call("+77010000007")["bundle"] == bundle
    assert "Traceback" not in engine.log.read_text()

    # A hash that somebody has spoilt costs what cannot be read, nothing else.
    shard.client.hset(KEYS.lists, mapping={"bad +77010000009": "{", "junk": b"\xff"})
    shard.control(**good)
    wait_until(lambda: shard.counter("list_changes") == 1)
    engine.kill()
    shard.client.delete(KEYS.lease)
    start_engine(f"--rules={shard.rules}")
    assert shard.stopped("+77010000007")
    assert "cannot be read" in shard.lists("show", "bad")


def test_the_engine_that_disagrees_with_the_command_is_quoted(start_engine: Start, shard: Shard) -> None:
    start_engine(f"--rules={shard.rules}")
    text = LIST.format(name="new", kind="numbers", head="", entries="[]")
    (shard.rules / "lists" / "new.yaml").write_text(text)
    said = shard.lists("add", "new", "+77010000007", "--why", "a new list", code=1)
    assert "there is no list new" in said
    shard.control(op="reload")
    wait_until(lambda: shard.counter("reloads") == 1)
    shard.lists("add", "new", "+77010000007", "--why", "a new list")
    assert '"added": 1' in shard.lists("show", "new", "--json")


def test_import_into_the_csv_file(start_engine: Start, shard: Shard, tmp_path: Path) -> None:
    lists = shard.rules / "lists"
    text = LIST.format(name="bad", kind="numbers", head="", entries='["+77010000001"]')
    (lists / "bad.yaml").write_text(text + "entries_file: bad.csv\n")
    (lists / "bad.csv").write_text("value,note\n+77010000010,old\n+77010000011,old\n")
    start_engine(f"--rules={shard.rules}")
    new = tmp_path / "new.csv"
    new.write_text("value;until;owner\n+7 701 000 00 11;2099-06-30;a bank\n+77010000012;;\n")
    told = json.loads(shard.lists("import", "bad", str(new), "--json"))
    assert (told["added"], told["changed"], told["kept"]) == (1, 1, 1)
    shard.control(op="reload")
    wait_until(lambda: shard.counter("reloads") == 1)
    assert all(shard.stopped(f"+770100000{number}") for number in (10, 11, 12))
    assert "a bank" in shard.lists("check", "+77010000011")
    before = (lists / "bad.csv").read_bytes()
    for wrong in ("value\n77010000013\n", "value\n+77010000013\n+77010000013\n", "value\n+77010000001\n", "\x00", ""):
        new.write_text(wrong)
        shard.lists("import", "bad", str(new), code=2)
        assert (lists / "bad.csv").read_bytes() == before
    shard.lists("import", "safe", str(new), code=2)
    shard.lists("import", "nowhere", str(new), code=2)
    assert not [path for path in lists.iterdir() if path.name.startswith(".")]


def test_who_may_change_lists_may_not_switch_interception_off(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    admin: Any = shard.client
    if int(admin.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("this Redis knows no rights to read alone")
    # As docs/reference/redis-protocol.md says it.
    rights = (
        "on", ">secret", "resetkeys", "resetchannels", f"~{KEYS.list_changes}", f"%R~{KEYS.lists}",
        f"%R~{KEYS.position}", f"%R~{KEYS.quarantine}", f"%R~{KEYS.lease}", "-@all", "+xadd", "+hscan", "+hget",
        "+exists", "+xrevrange", "+client|setname",
    )  # fmt: skip
    admin.execute_command("ACL", "SETUSER", "lists-desk", *rights)
    path = shard.server.url.removeprefix("unix://")
    desk: Any = redis.Redis(unix_socket_path=path, username="lists-desk", password="secret")
    try:
        for stream in (KEYS.control, KEYS.calls, KEYS.quarantine):
            with pytest.raises(redis.exceptions.NoPermissionError):
                desk.xadd(stream, {"op": "kill", "who": "a", "why": "b"})
        desk.xadd(KEYS.list_changes, {"op": "kill", "who": "a", "why": "b"})
        wait_until(lambda: shard.counter("control_refused") == 1)
        ((_entry_id, fields),) = admin.xrange(KEYS.quarantine)
        assert (fields[b"source"], fields[b"code"]) == (b"list_changes", b"control-op-unknown")
        assert admin.hget(KEYS.position, "killed") == b"0"
        command = [
            sys.executable, "-m", "antifraud.cli", "lists", "add", f"--redis=unix://lists-desk:secret@{path}",
            f"--rules={shard.rules}", "bad", "+77010000007", "--why", "reported",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "holds for the next call" in done.stdout, done.stderr
        assert shard.stopped("+77010000007")
    finally:
        desk.close()
        admin.execute_command("ACL", "DELUSER", "lists-desk")
    assert engine.stop() == 0


def test_the_kill_switch_does_not_wait_for_list_changes(start_engine: Start, shard: Shard) -> None:
    engine = start_engine(f"--rules={shard.rules}")
    pipe: Any = shard.client.pipeline()
    for number in range(8_000):
        fields = {"op": "list.add", "list": "bad", "value": f"+7705{number:07d}", "who": "a", "why": "b"}
        pipe.xadd(KEYS.list_changes, fields)
    pipe.xadd(KEYS.control, {"op": "kill", "who": "a", "why": "b"})
    pipe.execute()
    wait_until(lambda: shard.client.hlen(KEYS.lists) == 8_000)
    said = engine.log.read_text()
    assert said.index("interception switched off") < said.rindex("added to bad")


@pytest.mark.parametrize("running", [False, True], ids=["at the start", "while it runs"])
def test_of_two_streams_the_last_change_written_holds(start_engine: Start, shard: Shard, running: bool) -> None:
    if running:
        engine = start_engine(f"--rules={shard.rules}")
        shard.call("+77030000001")  # it serves
        assert engine.process is not None
        engine.process.send_signal(signal.SIGSTOP)
    taken_out = {"op": "list.remove", "list": "bad", "value": "+77010000001"}
    added = {**taken_out, "op": "list.add"}
    for stream, fields in (
        (KEYS.list_changes, taken_out),
        (KEYS.control, added),
        (KEYS.control, {**added, "value": "+77010000005"}),
        (KEYS.list_changes, {**taken_out, "value": "+77010000005"}),
    ):
        shard.control(stream, **fields)
        time.sleep(0.005)  # an id of its own: streams do not share the count within a millisecond
    if running:
        assert engine.process is not None
        engine.process.send_signal(signal.SIGCONT)
    else:
        engine = start_engine(f"--rules={shard.rules}")
    assert shard.stopped("+77010000001")
    assert not shard.stopped("+77010000005")
    assert shard.counter("control_refused") == 0
    assert engine.stop() == 0


def test_a_replay_decides_as_the_engine_did(start_engine: Start, shard: Shard, tmp_path: Path) -> None:
    start_engine(f"--rules={shard.rules}", "--model=none")
    soon = time.strftime("%Y-%m-%dT%H:%M:%S.500+00:00", time.gmtime(time.time() + 900))
    shard.lists("add", "bad", "+77010000007", "--why", "reported", "--until", soon)
    shard.lists("remove", "bad", "+77010000001", "--why", "a hospital")
    shard.lists("add", "bad_areas", "+770155", "--why", "a campaign")
    callers = ("+77010000007", "+77010000001", "+77015512345", "+77010000099")
    now = time.time()
    live = [shard.call(caller, ts=now) for caller in callers]
    assert [decision["full_verdict"] for decision in live] == ["block", "allow", "block", "allow"]

    export, events = tmp_path / "lists.json", tmp_path / "events.jsonl"
    export.write_text(shard.lists("show", "--json"))
    events.write_text(
        "".join(
            f'{{"kind":"setup","call_id":"r{n}","ts":{now},"caller_raw":"{caller}","callee_raw":"+77020000009",'
            '"switch":"sw-kz-75","trunk":"sub-1"}\n'
            for n, caller in enumerate(callers)
        )
    )

    def replayed(*arguments: str, given: str = "") -> tuple[list[tuple[str, str]], str]:
        command = [sys.executable, "-m", "antifraud.cli", "replay", str(events), f"--rules={shard.rules}"]
        command += ["--model=none", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        decisions = [json.loads(line) for line in done.stdout.splitlines()]
        return [(decision["full_verdict"], decision["bundle"]) for decision in decisions], done.stderr

    wanted = [(decision["full_verdict"], decision["bundle"]) for decision in live]
    found, said = replayed(f"--lists={export}")
    assert found == wanted
    assert "3 stand, 0 do not fit" in said
    assert replayed("--lists=-", given=export.read_text())[0] == wanted
    assert [verdict for verdict, _bundle in replayed()[0]] == ["allow", "block", "allow", "allow"]
    # What does not fit the lists is left aside: protection is not lost by a file either.
    change = {"op": "remove", "value": "+77020000001"}
    export.write_text(json.dumps([{"list": "safe", "run_time": [change]}, {"list": "gone", "run_time": [change]}]))
    assert "0 stand, 2 do not fit" in replayed(f"--lists={export}")[1]


def test_the_doctor_says_what_stands_at_run_time(start_engine: Start, shard: Shard) -> None:
    command = [sys.executable, "-m", "antifraud.cli", "doctor", "--json", f"--redis={shard.server.url}"]

    def finding() -> dict[str, str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        (found,) = [one for one in json.loads(done.stdout) if one["area"] == "lists"]
        return dict(found)

    assert (finding()["state"], finding()["text"]) == ("ok", "no run-time entries")
    start_engine(f"--rules={shard.rules}")
    shard.lists("add", "bad", "+77010000007", "+77010000008", "--who", "a.analyst", "--why", "reported")
    shard.lists("remove", "bad", "+77010000001", "--who", "b.analyst", "--why", "a hospital")
    head, _, titles, row = finding()["text"].splitlines()
    assert (head, titles.split()) == (
        "3 run-time entries in 1 list",
        ["list", "added", "taken", "out", "ended", "oldest", "by"],
    )
    assert row.split()[:4] == ["bad", "2", "1", "0"]
    assert row.endswith("a.analyst, b.analyst")
    shard.client.hset(KEYS.lists, "bad +77010000009", "{")
    assert finding()["state"] == "warn"


def test_without_redis_the_files_are_shown(rules: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "antifraud.cli", "lists"]
    nowhere = [f"--redis=unix://{tmp_path}/none.sock", f"--rules={rules}"]
    done = subprocess.run([*command, "check", *nowhere, "+77010000001"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "is in bad" in done.stdout
    assert "not known" in done.stderr
    wrong = [*command, "add", *nowhere, "bad", "+77010000002", "--why", "x"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
