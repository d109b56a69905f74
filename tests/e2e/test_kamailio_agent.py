"""The agent of Kamailio with a real Kamailio, Redis and SIPp: the block list, its recovery, calls that are ended."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import Keys, Reply
from antifraud.queues.commands import (
    GROUP,
    Block,
    Command,
    Outcome,
    command_id,
    decode_outcome,
    encode_block,
    encode_command,
)
from sip_adapters.agents import SwitchPort
from sip_adapters.conformance.switches import CHECKS
from sip_adapters.switches.kamailio import KamailioSwitch
from tests.e2e.conftest import Rig, build_rig
from tests.e2e.processes import (
    ROOT,
    SHARD,
    Process,
    RedisServer,
    ScriptedEngine,
    SippRun,
    free_port,
    run_sipp,
    start_sipp_uas,
    wait_until,
)

pytestmark = pytest.mark.needs("redis", "kamailio")
PASSED, REFUSED = 486, 608
CALLEE = b"77010000777"
KEYS = Keys(SHARD)
STREAM = KEYS.commands("kamailio")
REFERENCE = ROOT / "docs" / "reference" / "redis-protocol.md"


class AgentRig:
    """A switch with block list and dialogs, and the agent as a process of its own."""

    def __init__(
        self,
        stack: ExitStack,
        directory: Path,
        *,
        acl: Sequence[str] = (),
        next_hop: int = 0,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.rpc = directory / "rpc.sock"
        defines = {
            **(more or {}),
            "ANTIFRAUD_BLOCKLIST": "1",
            "ANTIFRAUD_DIALOGS": "1",
            "ANTIFRAUD_RPC_SOCKET": f'"{self.rpc}"',
            "ANTIFRAUD_DEADLINE_MS": "50",
            "ANTIFRAUD_REDIS_USER": '"admin"',
            "ANTIFRAUD_REDIS_PASSWORD": '"any"',
        }
        if not acl:
            del defines["ANTIFRAUD_REDIS_USER"], defines["ANTIFRAUD_REDIS_PASSWORD"]
        self.stack = stack
        self.directory = directory
        self.rig: Rig = build_rig(stack, directory, defines=defines, acl=acl, next_hop=next_hop)
        self.redis: Any = stack.enter_context(self.rig.redis.client())
        self.agents = 0

    def agent(self, *, url: str = "", rpc: Path | None = None, **options: object) -> Process:
        """Start an agent; it is ended with the test."""
        self.agents += 1
        command = [
            sys.executable, "-m", "antifraud.cli", "agent", "kamailio", "--switch=kamailio",
            f"--redis={url or self.rig.redis.url}", f"--set=socket={rpc or self.rpc}", "--set=lease_s=1",
            *(f"--set={name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        process = Process(f"agent-{self.agents}", command, self.directory)
        self.stack.callback(process.stop)
        return process

    def call(self, number: str, callee: bytes = CALLEE) -> int:
        """The status that a call from ``number`` gets."""
        return self.rig.client.invite(callee, from_=b"<sip:%s@example.test>" % number.encode()).status

    def register(self, number: str, state: str = "blocked", seq: int = 1, left: float = 600) -> None:
        self.redis.hset(KEYS.blocks, number, encode_block(Block(number, state, time.time() + left, seq)))

    def command(self, op: str, number: str = "", seq: int = 1, **more: Any) -> Command:
        until = time.time() + 600 if op == "block" else 0.0
        identity = command_id("kamailio", op, number or more.get("call_id", ""), seq, str(time.time()))
        command = Command(identity, op, number, until=until, seq=seq, at=time.time(), **more)
        self.redis.xadd(STREAM, encode_command(command))
        return command

    def outcomes(self) -> list[Outcome]:
        return [decode_outcome(fields) for _, fields in self.redis.xrange(KEYS.outcomes)]

    def counter(self, name: str) -> int:
        return int(self.redis.hget(KEYS.counters, name) or 0)

    def resyncs(self, count: int, seconds: float = 30) -> None:
        """Wait until the whole list was compared ``count`` times."""
        wait_until(lambda: self.counter("agent.resyncs") >= count, "a comparison", seconds)

    def listed(self) -> dict[str, float]:
        """What Kamailio's own tables hold."""

        async def ask() -> dict[str, float]:
            switch = KamailioSwitch(str(self.rpc))
            try:
                return {number: until async for number, until in switch.listed()}
            finally:
                await switch.close()

        return asyncio.run(ask())

    async def asks_counted(self, name: str) -> int:
        """A counter of antifraud.cfg."""
        async with port(self) as switch:
            found: Any = await switch._question("htable.get", "antifraud", name)
        return int(found["item"]["value"]) if isinstance(found, dict) else 0

    def counted(self, name: str) -> int:
        """The same, where no loop runs."""
        return asyncio.run(self.asks_counted(name))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., AgentRig]]:
    with ExitStack() as stack:
        yield lambda **options: AgentRig(stack, tmp_path, **options)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRig]:
    """One switch without an agent, for tests that speak to it themselves."""
    with ExitStack() as stack:
        yield AgentRig(stack, tmp_path_factory.mktemp("shared"))


@contextlib.asynccontextmanager
async def port(rig: AgentRig) -> AsyncIterator[KamailioSwitch]:
    switch = KamailioSwitch(str(rig.rpc))
    try:
        yield switch
    finally:
        await switch.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_real_kamailio_does_what_every_switch_must(
    shared: AgentRig, check: Callable[[SwitchPort], Awaitable[None]]
) -> None:
    async with port(shared) as switch:
        await check(switch)


@pytest.mark.parametrize(
    ("number", "presented"),
    [
        (
            "+77010000001",
            ["+77010000001", "87010000001", "77010000001", "7010000001", "8-701-000-00-01", "%2B77010000001"],
        ),
        ("+442079460000", ["+442079460000", "00442079460000", "810442079460000"]),
        ("+77010000008", ["+77010000008"]),
        ("+77010000099", ["+77010000099"]),
    ],
)
async def test_a_blocked_number_is_refused_however_it_is_written(
    shared: AgentRig, number: str, presented: list[str]
) -> None:
    async with port(shared) as switch:
        await switch.block(number, time.time() + 60)
        assert {text: shared.call(text) for text in presented} == dict.fromkeys(presented, REFUSED)
        await switch.unblock(number)
        assert {text: shared.call(text) for text in presented} == dict.fromkeys(presented, PASSED)


async def test_strangers_and_emergency_calls_pass(shared: AgentRig) -> None:
    strangers = ["+77010000002", "anonymous", "", "7701000000", "770100000011", "+7701000000177010000001", "001", "1"]
    async with port(shared) as switch:
        await switch.block("+77010000001", time.time() + 60)
        assert {text: shared.call(text) for text in strangers} == dict.fromkeys(strangers, PASSED)
        before = len(shared.rig.redis.calls())
        assert shared.call("+77010000001", b"112") == PASSED
        assert len(shared.rig.redis.calls()) == before
        # Only an asserted identity that is believed takes the place of the From, and here nobody's is.
        forged = {b"P-Asserted-Identity": b"<sip:+77010000001@example.test>"}
        stranger = b"<sip:+77010000002@example.test>"
        assert shared.rig.client.invite(CALLEE, from_=stranger, headers=forged).status == PASSED


async def test_a_refused_call_is_answered_counted_and_logged(shared: AgentRig) -> None:
    async with port(shared) as switch:
        await switch.block("+77010000003", time.time() + 60)
    before = await shared.asks_counted("listed")
    answer = shared.rig.client.invite(CALLEE, from_=b"<sip:+77010000003@example.test>", call_id=b"listed@test")
    reasons = [value.decode() for name, value in answer.headers if name == "Reason"]
    assert (answer.status, reasons) == (REFUSED, ['SIP;cause=608;text="number blocked"', "Q.850;cause=21"])
    wait_until(lambda: shared.rig.redis.calls()[-1].call_id == "listed@test", "the event")
    event = shared.rig.redis.calls()[-1]
    assert (event.kind, event.caller_raw, event.reply, event.deadline_ms) == (EventKind.SETUP, "+77010000003", "", 0)
    assert await shared.asks_counted("listed") == before + 1


async def test_a_block_ends_by_itself(shared: AgentRig) -> None:
    async with port(shared) as switch:
        await switch.block("+77010000004", time.time() + 1.5)
    assert shared.call("+77010000004") == REFUSED
    await asyncio.sleep(2.5)
    assert shared.call("+77010000004") == PASSED


async def test_a_page_too_full_to_be_read_is_emptied(shared: AgentRig) -> None:
    async with port(shared) as switch:
        for number in range(2_100):
            await switch.block(f"+7701{number:05d}55", time.time() + 600)
        listed = {number async for number, _ in switch.listed()}
        assert switch.rewritten == 1
        assert not any(number.endswith("55") for number in listed)
        for number in range(1_900):
            await switch.block(f"+7701{number:05d}55", time.time() + 600)
        listed = {number async for number, _ in switch.listed()}
        assert sum(number.endswith("55") for number in listed) == 1_900


def test_the_list_holds_without_redis(started: Callable[..., AgentRig]) -> None:
    rig = started()

    async def block() -> None:
        async with port(rig) as switch:
            await switch.block("+77010000001", time.time() + 60)

    asyncio.run(block())
    with rig.rig.redis.paused():
        answer = rig.rig.client.invite(CALLEE, from_=b"<sip:+77010000001@example.test>")
        assert answer.status == REFUSED
        assert answer.seconds < 0.05


def test_block_and_unblock_take_effect_within_a_second(started: Callable[..., AgentRig]) -> None:
    rig = started()
    rig.agent()
    rig.resyncs(1)
    for seq in range(1, 20, 2):
        for op, state, at, status in (("block", "blocked", seq, REFUSED), ("unblock", "cleared", seq + 1, PASSED)):
            rig.register("+77010000001", state, at)
            began = time.monotonic()
            rig.command(op, "+77010000001", at)
            while rig.call("+77010000001") != status:
                assert time.monotonic() < began + 1
    wait_until(lambda: len(rig.outcomes()) == 20, "the outcomes")
    took = sorted(outcome.took_s for outcome in rig.outcomes())
    print(f"command to effect: {took[10] * 1000:.1f} ms median, {took[-1] * 1000:.1f} ms longest")
    assert Counter(outcome.result for outcome in rig.outcomes()) == {"done": 20}
    assert rig.redis.xpending(STREAM, GROUP)["pending"] == 0


def test_a_restarted_switch_gets_its_list_again(started: Callable[..., AgentRig]) -> None:
    rig = started()
    numbers = {f"+7701{number:07d}" for number in range(2_000)}
    for number in numbers:
        rig.register(number)
    rig.register("+77020000001", "cleared")
    rig.agent()
    rig.resyncs(1)
    assert set(rig.listed()) == numbers
    rig.rig.switch.stop()
    for number in sorted(numbers)[:100]:
        rig.register(number, "cleared", 2)
        rig.command("unblock", number, 2)
    rig.register("+77020000002")
    rig.command("block", "+77020000002")
    rig.rig.switch.start()
    rig.resyncs(2)
    wait_until(lambda: len(rig.outcomes()) == 101, "the outcomes")
    assert set(rig.listed()) == {*sorted(numbers)[100:], "+77020000002"}
    assert rig.call("+77010000150") == REFUSED
    assert rig.call("+77010000050") == PASSED


def test_an_agent_that_is_killed_half_way_loses_no_command(started: Callable[..., AgentRig]) -> None:
    """Killed three times. In the end every command has an outcome, and the switch holds what the register says."""
    rig = started()
    victim = rig.agent()
    rig.resyncs(1)
    given: dict[str, Command] = {}
    pipe = rig.redis.pipeline(transaction=False)
    for number in range(1_000):
        text = f"+7701{number % 700:07d}"
        seq = 1 + number // 700
        state = "cleared" if seq == 2 else "blocked"
        pipe.hset(KEYS.blocks, text, encode_block(Block(text, state, time.time() + 600, seq)))
        until = time.time() + 600 if state == "blocked" else 0.0
        op = "block" if state == "blocked" else "unblock"
        command = Command(command_id("kamailio", op, text, seq, ""), op, text, until=until, seq=seq, at=time.time())
        given[command.id] = command
        pipe.xadd(STREAM, encode_command(command))
    pipe.execute()
    stopped_at = []
    for share in (100, 400, 600):
        wait_until(lambda share=share: rig.redis.xlen(KEYS.outcomes) >= share, "outcomes", 30)
        victim.stop(signal.SIGKILL)
        stopped_at.append(len(rig.outcomes()))
        victim = rig.agent()
    print(f"killed when {stopped_at} commands were settled")
    assert stopped_at[0] < 1_000
    wait_until(lambda: {outcome.id for outcome in rig.outcomes()} >= set(given), "all outcomes", 60)
    wait_until(lambda: rig.redis.xpending(STREAM, GROUP)["pending"] == 0, "acknowledgements", 30)
    assert {outcome.result for outcome in rig.outcomes()} <= {"done", "superseded"}
    assert set(rig.listed()) == {f"+7701{number:07d}" for number in range(300, 700)}


def test_a_switch_that_answers_nonsense_gets_its_commands_when_it_recovers(started: Callable[..., AgentRig]) -> None:
    rig = started()
    fake = rig.directory / "nonsense.sock"
    with nonsense(fake) as told:
        rig.agent(rpc=fake, timeout_s=0.2)
        rig.register("+77010000001")
        rig.command("block", "+77010000001")
        wait_until(lambda: len(told) > 12, "questions", 20)
        assert rig.outcomes() == []
        wait_until(lambda: b"answer" in (rig.redis.hget(KEYS.agents, "kamailio") or b""), "the trouble told", 20)
        assert all(b'"method":"core.uptime"' in raw or b"htable" in raw for raw in told)
    fake.unlink()
    fake.symlink_to(rig.rpc)
    wait_until(lambda: [outcome.result for outcome in rig.outcomes()] == ["done"], "the outcome", 20)
    assert rig.call("+77010000001") == REFUSED


@contextlib.contextmanager
def nonsense(path: Path) -> Iterator[list[bytes]]:
    """A socket that answers garbage, foreign ids, too much, or nothing, in turn; what it was asked."""
    answers = [
        b"",
        b"\xff\x00",
        b"{}",
        b'{"id":1,"result":{}}',
        b"[" * 60_000,
        b'{"id":0,"result":' + b"9" * 60_000 + b"}",
        None,
    ]
    told: list[bytes] = []
    stop = threading.Event()

    def serve() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            server.settimeout(0.1)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    raw, sender = server.recvfrom(65_536)
                    told.append(raw)
                    answer = answers[len(told) % len(answers)]
                    if answer is not None:
                        with contextlib.suppress(OSError):
                            server.sendto(answer, sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(5)


# -- calls


def place(rig: AgentRig, scenario: str, calls: int = 1) -> tuple[threading.Thread, list[SippRun]]:
    """SIPp's calls, going on beside the test."""
    done: list[SippRun] = []

    def run() -> None:
        done.append(run_sipp(rig.directory, scenario, rig.rig.switch.port, rate=50, calls=calls, seconds=20))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, done


def events(redis: RedisServer, kind: EventKind) -> list[CallEvent]:
    return [event for event in redis.calls() if event.kind is kind]


@pytest.mark.needs("sipp")
def test_release_ends_answered_calls_on_both_sides(started: Callable[..., AgentRig], tmp_path: Path) -> None:
    port = free_port()
    callee = start_sipp_uas(tmp_path, port, "uas_answers", calls=5)
    rig = started(next_hop=port)
    rig.agent()
    rig.resyncs(1)
    thread, done = place(rig, "uac_ended", 5)
    try:
        wait_until(lambda: len(events(rig.rig.redis, EventKind.ANSWER)) == 5, "answers")
        time.sleep(0.3)
        began = time.monotonic()
        for event in events(rig.rig.redis, EventKind.SETUP):
            rig.command("release", call_id=event.call_id, caller=event.caller_raw, callee=event.callee_raw)
        thread.join(10)
        took = time.monotonic() - began
        assert callee.wait(10) == 0
    finally:
        callee.stop(signal.SIGKILL)
        thread.join(30)
    assert (done[0].succeeded, done[0].failed) == (5, 0)
    assert took < 2
    wait_until(lambda: len(rig.outcomes()) == 5, "the outcomes")
    assert {(outcome.op, outcome.result) for outcome in rig.outcomes()} == {("release", "done")}
    wait_until(lambda: len(events(rig.rig.redis, EventKind.RELEASE)) == 5, "the release events")
    release = events(rig.rig.redis, EventKind.RELEASE)[0]
    assert release.talk_s is not None
    assert release.talk_s > 0.2
    rig.command("release", call_id=release.call_id)
    wait_until(lambda: len(rig.outcomes()) == 6, "the outcome")
    assert rig.outcomes()[-1].result == "gone"


@pytest.mark.needs("sipp")
def test_release_ends_a_call_that_rings(started: Callable[..., AgentRig], tmp_path: Path) -> None:
    port = free_port()
    callee = start_sipp_uas(tmp_path, port, "uas_rings", calls=1)
    rig = started(next_hop=port)
    rig.agent()
    rig.resyncs(1)
    thread, done = place(rig, "uac_cancelled")
    try:
        wait_until(lambda: len(events(rig.rig.redis, EventKind.SETUP)) == 1, "the call")
        time.sleep(0.5)
        rig.command("release", call_id=events(rig.rig.redis, EventKind.SETUP)[0].call_id)
        thread.join(10)
        assert callee.wait(10) == 0
    finally:
        callee.stop(signal.SIGKILL)
        thread.join(30)
    assert (done[0].succeeded, done[0].failed) == (1, 0)
    wait_until(lambda: len(events(rig.rig.redis, EventKind.RELEASE)) == 1, "the release event")
    release = events(rig.rig.redis, EventKind.RELEASE)[0]
    assert (release.cause, release.talk_s) == (16, 0)
    assert [outcome.result for outcome in rig.outcomes()] == ["done"]


@pytest.mark.needs("sipp")
@pytest.mark.parametrize("more", [{}, {"ANTIFRAUD_ASYNC": "1"}], ids=["waiting", "suspended"])
def test_answer_and_end_of_a_call_are_in_the_log(
    started: Callable[..., AgentRig], tmp_path: Path, more: dict[str, str]
) -> None:
    port = free_port()
    callee = start_sipp_uas(tmp_path, port, "uas_answers", calls=1)
    rig = started(next_hop=port, more=more)
    try:
        run = run_sipp(rig.directory, "uac_hangs_up", rig.rig.switch.port, rate=1, calls=1, seconds=15)
        assert run.succeeded == 1
    finally:
        callee.stop(signal.SIGKILL)
    wait_until(lambda: len(rig.rig.redis.calls()) == 3, "the events")
    setup, answer, release = rig.rig.redis.calls()
    assert [event.kind for event in (setup, answer, release)] == [EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE]
    for event in (answer, release):
        assert (event.call_id, event.caller_raw) == (setup.call_id, setup.caller_raw)
        assert event.callee_raw == setup.callee_raw
        assert (event.switch, event.trunk, event.source) == (setup.switch, setup.trunk, setup.source)
    assert answer.ring_s == pytest.approx(answer.ts - setup.ts, abs=0.01)
    assert 0.2 < (answer.ring_s or 0) < 2
    assert release.ring_s == answer.ring_s
    assert release.talk_s == pytest.approx(release.ts - answer.ts, abs=0.01)
    assert release.cause == 31  # what the Reason header of the BYE says


def test_a_call_that_fails_is_released_with_its_cause_and_one_that_hangs_in_redis_is_not_held_up(
    started: Callable[..., AgentRig],
) -> None:
    rig = started()
    with ScriptedEngine(rig.rig.redis, lambda event: Reply("allow")):
        assert rig.call("+77010000001") == PASSED
    wait_until(lambda: len(rig.rig.redis.calls()) == 2, "the events")
    release = rig.rig.redis.calls()[-1]
    assert (release.kind, release.cause, release.talk_s) == (EventKind.RELEASE, 17, 0)
    with rig.rig.redis.paused():
        for _ in range(6):
            assert rig.call("+77010000002") == PASSED
    assert rig.counted("events_not_logged") > 0


def documented_agent_user() -> str:
    text = REFERENCE.read_text(encoding="utf-8")
    found = re.search(r"^ {4}ACL SETUSER (agent-[^\n]*(?:\n {8,}[^\n]+)*)", text, re.MULTILINE)
    assert found is not None
    return "user " + " ".join(found.group(1).split())


def test_the_documented_user_of_an_agent_suffices(started: Callable[..., AgentRig]) -> None:
    line = documented_agent_user().replace("sw-kz-75", "kamailio").replace("SECRET", "secret")
    rig = started(acl=[line])
    name = line.split()[1]
    rig.register("+77010000001")
    rig.agent(url=f"redis://{name}:secret@127.0.0.1:{rig.rig.redis.port}/0")
    rig.resyncs(1)
    rig.register("+77010000001", "cleared", 2)
    rig.command("unblock", "+77010000001", 2)
    rig.redis.xadd(STREAM, {"op": "nonsense"})
    rig.command("resync")
    wait_until(lambda: len(rig.outcomes()) == 3, "the outcomes")
    assert {outcome.result for outcome in rig.outcomes()} == {"done", "refused"}
    wait_until(lambda: rig.redis.hexists(KEYS.agents, "kamailio"), "the state")
    assert rig.redis.xlen(KEYS.quarantine) == 1
    import redis

    with redis.Redis(port=rig.rig.redis.port, username=name, password="secret", socket_timeout=5) as user:
        for command in (
            f"HSET {KEYS.blocks} +77010000001 x",
            f"DEL {KEYS.blocks}",
            f"XADD {KEYS.calls} * kind setup",
            f"XADD {KEYS.control} * op kill who me why fun",
            f"XADD {KEYS.commands('other')} * op resync",
            f"XRANGE {KEYS.calls} - +",
            "FLUSHALL",
            "CONFIG GET *",
            "KEYS *",
        ):
            with pytest.raises(redis.ResponseError):
                user.execute_command(*command.split())
