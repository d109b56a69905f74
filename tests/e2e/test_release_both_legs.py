"""Calls in progress are ended on both sides: SIPp → Kamailio → Redis → engine → agent → Kamailio, all of them real.

Kamailio itself writes into the log that a call was answered; a rule of the test gives the reason to end it; what counts
is when either SIPp has its BYE, from the moment at which the reason is in the log.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import Keys, decode_event, encode_event
from antifraud.queues.commands import BlockRequest, Command, Outcome, decode_command, decode_outcome, encode_request
from sip_adapters.agents.port import RefusedError
from sip_adapters.switches.kamailio import KamailioSwitch
from tests.e2e.conftest import PATIENT, build_rig
from tests.e2e.phones import Phone
from tests.e2e.processes import ROOT, SCENARIOS, SHARD, Process, free_port, program, start_sipp_uas, wait_until
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis", "kamailio", "sipp")
KEYS = Keys(SHARD)
SWITCH = "sw-kz-75"
CALLEE = "+77020000009"
WITHIN_S = 2.0

RULES = {
    "at_answer": ("answer", 'prefix_in(caller, ["+770100000"])', 'caller: "+77010000001"'),
    "at_report": (
        "report",
        'label == "fraud" and prefix_in(caller, ["+770100001"])',
        'label: fraud, caller: "+77010000101"',
    ),
    "at_tick": (
        "tick",
        'talk_so_far_s >= 8 and prefix_in(caller, ["+770100002"])',
        'talk_so_far_s: 9, caller: "+77010000201"',
    ),
}
RULE = """\
rule: {name}
title: a rule of the test
owner: fraud-desk
why: it is a test
false_positives: none
on: {on}
when: |
  {when}
then: {{command: release, reason: "{{caller}} is of the test"}}
rollout: {{stage: enforce, false_hits_per_million: 1}}
tests:
  - {{name: a, given: {{{hit}}}, expect: release}}
  - {{name: b, given: {{caller: "+77020000001"}}, expect: no_hit}}
"""
PROTECTED = "+77010000009"
SAFE = f"""\
list: safe
title: safe
class: protect
protects: caller
kind: numbers
owner: fraud-desk
source: a test
entries: ["{PROTECTED}"]
"""


def rules(directory: Path) -> Path:
    """The shipped rules, and those of the test at enforce."""
    folder = directory / "rules"
    shutil.copytree(ROOT / "rules", folder)
    (folder / "lists" / "safe.yaml").write_text(SAFE)
    (folder / "packs" / "calls").mkdir()
    for name, (on, when, hit) in RULES.items():
        (folder / "packs" / "calls" / f"{name}.yaml").write_text(RULE.format(name=name, on=on, when=when, hit=hit))
    return folder


class Told(NamedTuple):
    """An event in the log, and when the log took it (epoch s)."""

    at: float
    event: CallEvent


_HEARD = re.compile(
    r"^-{40,}.*?(?P<at>\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d\.\d+).*?\n\w+ message (?P<how>received|sent).*?\n\n"
    r"(?P<message>.*?)\n\n",
    re.MULTILINE | re.DOTALL,
)


class Trace:
    """What one SIPp wrote down of its messages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def received(self, method: str) -> dict[str, list[float]]:
        """When (epoch s) requests with ``method`` came, by Call-ID, each repetition too."""
        found: dict[str, list[float]] = {}
        if not self.path.exists():
            return found
        for entry in _HEARD.finditer(self.path.read_text(errors="replace").replace("\r", "")):
            message = entry["message"]
            call_id = re.search(r"^Call-ID: *(\S+)", message, re.MULTILINE)
            if entry["how"] == "received" and message.startswith(f"{method} ") and call_id is not None:
                found.setdefault(call_id[1], []).append(datetime.fromisoformat(entry["at"]).timestamp())
        return found


class Chain:
    """One switch with everything around it; calls go on to ``next_hop``. ``own`` is the operator's configuration."""

    def __init__(self, stack: ExitStack, directory: Path, next_hop: int, own: str = "") -> None:
        self.directory = directory
        self._rpc = rpc = directory / "rpc.sock"
        defines = {
            **PATIENT,
            "ANTIFRAUD_SWITCH": f'"{SWITCH}"',
            "TRUNK": '"nat-1"',
            "ANTIFRAUD_BLOCKLIST": "1",
            "ANTIFRAUD_DIALOGS": "1",
            "ANTIFRAUD_RPC_SOCKET": f'"{rpc}"',
        }
        self.rig = build_rig(stack, directory, defines=defines, next_hop=next_hop, own=own)
        self.redis: Any = stack.enter_context(self.rig.redis.client())
        self.engine = EngineProcess(self.rig.redis.url, directory, "--model=none", f"--rules={rules(directory)}")
        stack.callback(self.engine.stop)
        self.engine.start()
        command = [
            sys.executable, "-m", "antifraud.cli", "agent", "kamailio", f"--switch={SWITCH}",
            f"--redis={self.rig.redis.url}", f"--set=socket={rpc}", "--set=lease_s=1",
        ]  # fmt: skip
        self.agent = Process("agent", command, directory)
        stack.callback(self.agent.stop)
        wait_until(lambda: int(self.redis.hget(KEYS.counters, "agent.resyncs") or 0) > 0, "the agent", 30)
        self._stack = stack
        self._runs = 0

    def call(self, *callers: str, callees: Sequence[str] = ()) -> Trace:
        """SIPp's calls from ``callers``, which talk from now on; what SIPp writes down of them."""
        self._runs += 1
        work = self.directory / f"uac-{self._runs}"
        work.mkdir()
        pairs = zip(callees or [CALLEE] * len(callers), callers, strict=True)
        (work / "numbers.csv").write_text("SEQUENTIAL\n" + "".join(f"{callee};{caller};\n" for callee, caller in pairs))
        command = [
            program("sipp"), f"127.0.0.1:{self.rig.switch.port}", "-sf", str(SCENARIOS / "uac_talks.xml"),
            "-inf", "numbers.csv", "-i", "127.0.0.1", "-p", str(free_port()), "-cp", str(free_port()), "-r", "20",
            "-m", str(len(callers)), "-nostdin", "-trace_msg", "-message_file", str(work / "messages.log"),
            "-trace_err", "-error_file", str(work / "errors.log"),
        ]  # fmt: skip
        process = Process("uac", command, work)
        self._stack.callback(process.stop, signal.SIGKILL)
        return Trace(work / "messages.log")

    def log(self) -> list[Told]:
        """Every event so far."""
        return [
            Told(int(entry.partition(b"-")[0]) / 1000, decode_event(fields))
            for entry, fields in self.redis.xrange(KEYS.calls)
        ]

    def told(self, kind: str, caller: str) -> Told:
        """The one event of this kind about ``caller``, once it is there."""
        found: list[Told] = []

        def there() -> bool:
            found[:] = [told for told in self.log() if (told.event.kind.value, told.event.caller_raw) == (kind, caller)]
            return bool(found)

        wait_until(there, f"{kind} of {caller}")
        (one,) = found
        return one

    def report(self, call: CallEvent) -> float:
        """Somebody reports the caller of ``call``; when that is in the log (epoch s)."""
        event = CallEvent(
            EventKind.REPORT, call.call_id, time.time(), switch=call.switch, trunk=call.trunk,
            caller_raw=call.caller_raw, callee_raw=call.callee_raw, label="fraud", reporter="subscriber",
        )  # fmt: skip
        entry: bytes = self.redis.xadd(KEYS.calls, encode_event(event))
        return int(entry.partition(b"-")[0]) / 1000

    async def counted(self, name: str) -> int:
        """A counter in the switch."""
        switch = KamailioSwitch(str(self._rpc))
        try:
            found: Any = await switch._question("htable.get", "antifraud", name)
        finally:
            await switch.close()
        return int(found["item"]["value"])

    def end(self, call_id: str, caller: str, callee: str) -> str:
        """What the switch does when its agent is to end a call; the reason when that is refused."""

        async def ask() -> str:
            switch = KamailioSwitch(str(self._rpc))
            try:
                return await switch.release(call_id, caller, callee)
            except RefusedError as error:
                return str(error)
            finally:
                await switch.close()

        return asyncio.run(ask())

    def commands(self) -> list[Command]:
        return [decode_command(fields) for _, fields in self.redis.xrange(KEYS.commands(SWITCH))]

    def outcomes(self) -> dict[str, Outcome]:
        found = [decode_outcome(fields) for _, fields in self.redis.xrange(KEYS.outcomes)]
        return {outcome.id: outcome for outcome in found}

    def decisions(self, call_id: str) -> list[dict[str, Any]]:
        """Those about the call while it went on."""
        found = [json.loads(fields[b"d"]) for _, fields in self.redis.xrange(KEYS.decisions)]
        return [one for one in found if one["call_id"] == call_id and one.get("on")]

    def ask_release(self, call_id: str) -> str:
        """Why the engine refused to end the call for a person; empty when it did not."""
        request = BlockRequest("release", "a.analyst", "a victim", call_id=call_id, switch=SWITCH)
        entry: bytes = self.redis.xadd(KEYS.block_requests, encode_request(request))
        wait_until(lambda: self.redis.hget(KEYS.position, "block_requests") == entry, "the request")
        refused = [f for _, f in self.redis.xrevrange(KEYS.quarantine) if f[b"raw"].startswith(entry + b" ")]
        return refused[0][b"code"].decode() if refused else ""


def ended(caller: Trace, callee: Trace, call_id: str, since: float) -> dict[str, float]:
    """How long after ``since`` (epoch s) either side had its BYE, in seconds, once both have."""
    traces = {"caller": caller, "callee": callee}
    wait_until(
        lambda: all(call_id in trace.received("BYE") for trace in traces.values()), f"both BYEs of {call_id}", 20
    )
    return {side: trace.received("BYE")[call_id][0] - since for side, trace in traces.items()}


class Called(NamedTuple):
    """A chain whose callees are SIPp's, and what that SIPp wrote down."""

    chain: Chain
    callees: Trace


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    directory = tmp_path_factory.mktemp("release")
    port, callees = free_port(), Trace(directory / "uas.log")
    with ExitStack() as stack:
        uas = start_sipp_uas(directory, port, "uas_talks", more=["-trace_msg", "-message_file", str(callees.path)])
        stack.callback(uas.stop, signal.SIGKILL)
        yield Called(Chain(stack, directory, port), callees)


def test_each_reason_ends_its_call_on_both_sides_and_no_other_call(called: Called) -> None:
    chain, callees = called
    quiet, protected = "+77030000001", PROTECTED
    answered, reported, long = "+77010000001", "+77010000101", "+77010000201"
    trace = chain.call(answered, reported, long, quiet, protected, protected, callees=[*[CALLEE] * 5, "112"])
    wait_until(lambda: len(callees.received("ACK")) >= 6, "the calls")
    # What ends a call, and when it was in the log; a long call when it has talked for ten seconds.
    since = {answered: chain.told("answer", answered).at}
    calls = {caller: chain.told("setup", caller).event for caller in (answered, reported, long, quiet)}
    since[long] = chain.told("answer", long).at + 10
    since[reported] = chain.report(calls[reported])
    took = {caller: ended(trace, callees, calls[caller].call_id, at) for caller, at in since.items()}
    print({caller: {side: f"{s * 1000:.0f} ms" for side, s in both.items()} for caller, both in took.items()})
    assert all(0 <= seconds < WITHIN_S for both in took.values() for seconds in both.values()), took
    wait_until(lambda: len(chain.outcomes()) == 3, "the outcomes")
    for caller, on in ((answered, "answer"), (reported, "report"), (long, "tick")):
        call_id = calls[caller].call_id
        (command,) = (one for one in chain.commands() if one.call_id == call_id)
        assert (command.op, command.by, command.caller, command.callee) == (
            "release", f"rule:at_{on}", caller, CALLEE
        )  # fmt: skip
        (decision,) = chain.decisions(call_id)
        assert (decision["id"], decision["verdict"], decision["on"]) == (command.decision, "release", on)
        outcome = chain.outcomes()[command.id]
        assert (outcome.op, outcome.result, outcome.switch) == ("release", "done", SWITCH)
        release = chain.told("release", caller).event
        assert release.talk_s is not None
        # Each side once.
        assert [len(side.received("BYE")[call_id]) for side in (trace, callees)] == [1, 1]
    # Nobody else was ended, and a person cannot end what is protected either.
    others = chain.told("setup", quiet).event.call_id, chain.told("setup", protected).event.call_id
    assert chain.ask_release(others[1]) == "release-unknown"
    emergency = (set(callees.received("ACK")) - {told.event.call_id for told in chain.log()}).pop()
    assert chain.ask_release(emergency) == "release-unknown"
    assert chain.decisions(others[1]) == []
    for call_id in (*others, emergency):
        assert call_id not in trace.received("BYE")
        assert call_id not in callees.received("BYE")
    assert len(chain.commands()) == 3


def test_ten_calls_one_after_another_are_ended_on_both_sides(called: Called) -> None:
    chain, callees = called
    callers = [f"+7701000011{number}" for number in range(10)]
    trace = chain.call(*callers)
    calls = [chain.told("answer", caller).event for caller in callers]
    slowest = 0.0
    for call in calls:
        took = ended(trace, callees, call.call_id, chain.report(call))
        slowest = max(slowest, *took.values())
        assert slowest < WITHIN_S, took
        assert [len(side.received("BYE")[call.call_id]) for side in (trace, callees)] == [1, 1]
    print(f"slowest of {len(calls)} calls: {slowest * 1000:.0f} ms from the report to the later BYE")
    for caller in callers:
        chain.told("release", caller)


# A machine on which Kamailio takes its time between one BYE and the next, and telephones that answer at once; the
# operator has a reply_route too.
SLOW = """
event_route[tm:local-request] {
	if (is_method("BYE")) usleep("20000");
}
reply_route {
	if (is_method("BYE")) $var(own) = $shtinc(antifraud=>own_replies);
}
"""


class Phoned(NamedTuple):
    """A chain between two telephones."""

    chain: Chain
    caller: Phone
    callee: Phone

    def talk(self, caller: str, call_id: str, tag: str, callee: str = CALLEE) -> None:
        """A call that goes on."""
        self.dial(caller, call_id, tag, callee)
        wait_until(lambda: self.caller.talks(tag), f"an answer for {tag}")

    def dial(self, caller: str, call_id: str, tag: str, callee: str = CALLEE) -> None:
        self.caller.call(self.chain.rig.switch.port, caller, callee, call_id, tag)

    def told(self, kind: str, call_id: str, count: int = 1) -> CallEvent:
        """The last event of this kind about calls with this Call-ID, once there are ``count``."""

        def found() -> list[CallEvent]:
            events = (told.event for told in self.chain.log())
            return [event for event in events if (event.kind.value, event.call_id) == (kind, call_id)]

        wait_until(lambda: len(found()) >= count, f"{kind} of {call_id}")
        assert len(found()) == count
        return found()[-1]

    def byes(self, tag: str) -> list[list[float]]:
        """When (epoch s) the caller and the callee were told that the call is over."""
        return [side.byes.get(tag, []) for side in (self.caller, self.callee)]

    def ended(self, tag: str, since: float) -> float:
        """How long after ``since`` (epoch s) the later side had its BYE, in seconds, once both have."""
        wait_until(lambda: all(self.byes(tag)), f"both BYEs of {tag}")
        return max(times[0] for times in self.byes(tag)) - since


@pytest.fixture(scope="module")
def phoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoned]:
    with ExitStack() as stack:
        caller, callee = stack.enter_context(Phone()), stack.enter_context(Phone())
        yield Phoned(Chain(stack, tmp_path_factory.mktemp("phoned"), callee.port, SLOW), caller, callee)


def test_an_answer_to_the_first_bye_does_not_cost_the_second(phoned: Phoned) -> None:
    """Kamailio forgets the second BYE, and the end of the call, when the first is answered before it is sent."""
    tags = [f"race-{number}" for number in range(10)]
    for number, tag in enumerate(tags):
        phoned.talk(f"+7701000012{number}", f"{tag}@test", tag)
    for tag in tags:
        assert phoned.ended(tag, phoned.chain.report(phoned.told("answer", f"{tag}@test"))) < WITHIN_S
        phoned.told("release", f"{tag}@test")
    time.sleep(0.5)
    assert [len(times) for tag in tags for times in phoned.byes(tag)] == [1] * 20
    counted = asyncio.run(phoned.chain.counted("own_replies"))
    assert counted == 20


DECOYS = ["is refused", "hangs up", "talks on", "talks on and is deaf"]


@pytest.mark.parametrize("decoy", DECOYS)
def test_another_call_with_the_same_call_id_keeps_no_call_going(phoned: Phoned, decoy: str) -> None:
    """Whoever calls chooses the Call-ID, and may call again with it so that the end of that call is taken for this."""
    name = decoy.replace(" ", "-")
    call_id, fraud, other = f"{name}@test", f"fraud-{name}", f"decoy-{name}"
    number = f"+7701000013{DECOYS.index(decoy)}"
    phoned.caller.deaf.add(other if decoy.endswith("deaf") else "")
    phoned.callee.deaf.add(other if decoy.endswith("deaf") else "")
    if decoy.startswith("talks"):
        phoned.talk(number, call_id, other)
    phoned.talk(number, call_id, fraud)
    if decoy == "is refused":
        phoned.dial(number, call_id, other, "+77020000486")
        wait_until(lambda: phoned.caller.statuses.get(other) == 486, "the refusal")
        assert phoned.told("release", call_id).talk_s == 0
    elif decoy == "hangs up":
        phoned.talk(number, call_id, other)
        phoned.caller.hang_up(phoned.chain.rig.switch.port, other)
        phoned.told("release", call_id)
    since = phoned.chain.report(phoned.told("answer", call_id, 1 if decoy == "is refused" else 2))
    assert phoned.ended(fraud, since) < WITHIN_S
    phoned.told("release", call_id, 2)


def test_a_protected_call_with_the_same_call_id_goes_on(phoned: Phoned) -> None:
    phoned.talk(PROTECTED, "shared@test", "protected")
    phoned.talk("+77010000140", "shared@test", "fraud")
    since = phoned.chain.report(phoned.told("answer", "shared@test", 2))
    assert phoned.ended("fraud", since) < WITHIN_S
    phoned.told("release", "shared@test")
    time.sleep(0.5)
    assert phoned.byes("protected") == [[], []]


def test_a_call_that_is_over_is_not_ended_in_the_person_of_another_one(phoned: Phoned) -> None:
    phoned.talk(PROTECTED, "late@test", "late")
    assert phoned.chain.end("late@test", "+77010000150", CALLEE) == "gone"
    assert phoned.chain.end("late@test", PROTECTED, "+77020000112") == "gone"
    time.sleep(0.5)
    assert phoned.byes("late") == [[], []]
    assert phoned.chain.end("late@test", PROTECTED, CALLEE) == "done"
    assert phoned.ended("late", time.time()) < WITHIN_S


def test_so_many_calls_with_one_call_id_that_the_switch_cannot_name_them_hold_nothing_up(phoned: Phoned) -> None:
    tags = [f"many-{number}" for number in range(130)]
    for tag in tags:
        phoned.dial("+77010000160", "many@test", tag)
        time.sleep(0.005)
    wait_until(lambda: all(phoned.caller.talks(tag) for tag in tags), "the calls")
    assert phoned.chain.end("many@test", "+77010000161", CALLEE).startswith("64 calls and more have this Call-ID")
    while phoned.chain.end("many@test", "+77010000160", CALLEE) == "done":
        pass
    assert [len(times) for tag in tags for times in phoned.byes(tag)] == [1] * 260
