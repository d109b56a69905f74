"""Calls that are suspended while they wait for their verdict: no worker is held, and the deadline holds in any case."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from antifraud.domain import CallEvent
from antifraud.queues import Keys, Reply, encode_reply
from tests.e2e.conftest import Build, Rig, build_rig
from tests.e2e.processes import SHARD, RedisServer, ScriptedEngine, SipClient, SipResponse, wait_until

pytestmark = pytest.mark.needs("redis", "kamailio")
ASYNC = {"ANTIFRAUD_ASYNC": "1", "ANTIFRAUD_SWITCH": '"sw-1"'}
PATIENT = {"ANTIFRAUD_DEADLINE_MS": "4000", "ANTIFRAUD_REDIS_TIMEOUT_MS": "1000"}
PASSED = 486
LIST = Keys(SHARD).reply("sw-1:all")


@pytest.fixture(scope="module")
def suspending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A patient switch with four workers only."""
    with ExitStack() as stack:
        defines = {**ASYNC, **PATIENT, "WORKERS": "4"}
        yield build_rig(stack, tmp_path_factory.mktemp("suspending"), defines=defines)


def by_last_digit(rig: Rig) -> Callable[[CallEvent], Reply | None]:
    """1 allow, 2 label, 3 divert, 4 block, anything else silence."""

    def script(event: CallEvent) -> Reply | None:
        said = {"1": "allow", "2": "label", "3": "divert", "4": "block"}.get(event.callee_raw[-1:])
        target = f"sip:desk@127.0.0.1:{rig.next_hop.port}"
        return said and Reply(said, call_id=event.call_id, decision="d1", label="Fraud?", target=target, sip_code=608)  # type: ignore[return-value]

    return script


def test_every_verdict_is_carried_out(suspending: Rig) -> None:
    with ScriptedEngine(suspending.redis, by_last_digit(suspending)):
        assert suspending.client.invite(b"77000000001").status == PASSED
        assert b"X-Antifraud-Label" not in suspending.next_hop.invites[-1]
        assert suspending.client.invite(b"77000000002").status == PASSED
        assert b"X-Antifraud-Label: Fraud?" in suspending.next_hop.invites[-1]
        assert suspending.client.invite(b"77000000003").status == PASSED
        assert suspending.next_hop.invites[-1].startswith(b"INVITE sip:desk@127.0.0.1:")
        seen = len(suspending.next_hop.invites)
        answer = suspending.client.invite(b"77000000004")
        assert (answer.status, answer.header("Reason")) == (608, "SIP;cause=608")
        assert len(suspending.next_hop.invites) == seen


def test_an_emergency_call_is_not_suspended(suspending: Rig) -> None:
    before = len(suspending.redis.calls())
    assert suspending.client.invite(b"112").status == PASSED
    assert len(suspending.redis.calls()) == before


def together(rig: Rig, count: int, callee: bytes) -> list[SipResponse]:
    """``count`` calls at the same time, each from a socket of its own."""

    def place(_number: int) -> SipResponse:
        with SipClient(rig.switch.port) as client:
            return client.invite(callee, seconds=20)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(place, range(count)))


def test_many_more_calls_wait_than_there_are_workers(suspending: Rig) -> None:
    """Forty calls wait for two seconds at the same time at a switch with four workers; each gets its verdict."""
    waiting: list[CallEvent] = []

    def later(event: CallEvent) -> None:
        waiting.append(event)

    def answer() -> None:
        wait_until(lambda: len(waiting) >= 40, "forty waiting calls")
        with suspending.redis.client() as redis:
            for event in waiting:
                key, tag = Keys(SHARD).reply_of(event.reply)
                redis.rpush(key, encode_reply(Reply("block", call_id=event.call_id, sip_code=608, tag=tag)))

    with ScriptedEngine(suspending.redis, later):
        thread = threading.Thread(target=answer)
        thread.start()
        found = together(suspending, 40, b"77000000005")
        thread.join()
    assert Counter(one.status for one in found) == {608: 40}


def test_two_calls_with_one_call_id_get_each_its_own_verdict(suspending: Rig) -> None:
    with ScriptedEngine(suspending.redis, by_last_digit(suspending)):
        first = suspending.client.invite(b"77000000001", call_id=b"same@test")
        second = suspending.client.invite(b"77000000004", call_id=b"same@test")
    assert (first.status, second.status) == (PASSED, 608)


def test_nonsense_in_the_list_of_replies_harms_nobody(suspending: Rig) -> None:
    nonsense = [
        b"", b"nonsense", b'{"tag":"1.2","verdict":"block"}', b'{"tag":"-1.99999999999999999999","verdict":"block"}',
        b'{"verdict":"block"}', b'{"tag":"a.b\r\nX: y"}', b'{"tag":{"a":1}}', b"[" * 3000,
        b'{"tag":"' + b"9" * 4000 + b'"}',
    ]  # fmt: skip
    with ScriptedEngine(suspending.redis, by_last_digit(suspending)), suspending.redis.client() as redis:
        for one in nonsense:
            redis.rpush(LIST, one)
            assert suspending.client.invite(b"77000000004").status == 608
        redis.delete(LIST)
        redis.set(LIST, "no list")
        assert suspending.client.invite(b"112").status == PASSED
        redis.delete(LIST)
        assert suspending.client.invite(b"77000000004").status == 608
    assert suspending.switch.running


def test_a_call_that_is_cancelled_while_it_waits(suspending: Rig) -> None:
    """The caller hangs up before the verdict; what comes then belongs to nobody."""
    asked: list[CallEvent] = []
    port = suspending.switch.port
    with ScriptedEngine(suspending.redis, asked.append), SipClient(port) as client:
        branch, call_id = client._branch(), b"cancelled@test"
        uri = b"sip:77000000005@127.0.0.1:%d" % port
        client._socket.sendto(client._request(b"INVITE", uri, branch, call_id), client._to)
        wait_until(lambda: bool(asked), "the event")
        cancel = client._request(b"CANCEL", uri, branch, call_id)
        client._socket.sendto(cancel, client._to)
        statuses = set()
        client._socket.settimeout(3)
        while 487 not in statuses:
            statuses.add(int(client._socket.recv(65535)[8:11]))
        key, tag = Keys(SHARD).reply_of(asked[0].reply)
        with suspending.redis.client() as redis:
            redis.rpush(key, encode_reply(Reply("divert", target="sip:desk@127.0.0.1:9", tag=tag)))
            wait_until(lambda: redis.llen(key) == 0, "the reply to be taken")
    with ScriptedEngine(suspending.redis, by_last_digit(suspending)):
        assert suspending.client.invite(b"77000000004").status == 608
    assert suspending.switch.running


def test_no_verdict_and_the_call_goes_on_at_the_deadline(rig: Build) -> None:
    waiting = rig(defines=ASYNC)
    with ScriptedEngine(waiting.redis, lambda _event: None):
        answers = [waiting.client.invite(b"77000000005") for _ in range(5)]
    assert {one.status for one in answers} == {PASSED}
    assert min(one.seconds for one in answers) >= 0.14
    # The machine may stand still now and then, but hardly five times.
    assert min(one.seconds for one in answers) < 0.2


@pytest.mark.parametrize("how", ["hangs", "gone"])
def test_the_deadline_holds_whatever_redis_does(rig: Build, how: str) -> None:
    waiting = rig(defines=ASYNC)
    server: RedisServer = waiting.redis
    with ScriptedEngine(server, by_last_digit(waiting)):
        assert waiting.client.invite(b"77000000004").status == 608
    times = []
    if how == "hangs":
        with server.paused():
            for _ in range(12):
                answer = waiting.client.invite(b"77000000004")
                assert answer.status == PASSED
                times.append(answer.seconds)
    else:
        server.kill()
        for _ in range(12):
            answer = waiting.client.invite(b"77000000004")
            assert answer.status == PASSED
            times.append(answer.seconds)
    print(f"\nRedis {how}: {[round(one * 1000) for one in times]} ms")
    assert sorted(times)[6] < 0.25
    assert waiting.client.invite(b"112").status == PASSED


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("desk", ["127.0.0.1:{port}", "nowhere.invalid", "127.0.0.1:99999"])
def test_a_desk_that_is_not_there_costs_nobody_the_call(rig: Build, mode: str, desk: str) -> None:
    """The call goes on to the callee, labelled, and without what only the desk may know."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))  # a port that takes everything and says nothing
        target = "sip:desk@" + desk.format(port=nobody.getsockname()[1])
        defines = {"ANTIFRAUD_DESK_MS": "700", "ANTIFRAUD_LOOP_SECRET": '"secret"'}
        waiting = rig(defines={**PATIENT, **defines, **(ASYNC if mode == "async" else {})})

        def divert(event: CallEvent) -> Reply:
            return Reply("divert", call_id=event.call_id, decision="d1", label="Fraud?", target=target)

        with ScriptedEngine(waiting.redis, divert):
            answer = waiting.client.invite(b"77000000003", seconds=10)
    assert answer.status == PASSED
    assert answer.seconds < 5
    (invite,) = waiting.next_hop.invites
    assert invite.startswith(b"INVITE sip:77000000003@")
    assert b"X-Antifraud-Label: Fraud?" in invite
    for secret in (b"X-Antifraud-Diverted", b"X-Antifraud-Decision", b"Diversion:"):
        assert secret not in invite
    assert "the desk does not answer" in waiting.switch.output()


@pytest.mark.parametrize("reply", [b"", b"nonsense", b"{", b"[]"])
def test_a_reply_that_cannot_be_read_refuses_nobody(rig: Build, reply: bytes) -> None:
    """The fail policy is about silence; whoever answered nonsense was there."""
    waiting = rig(defines=PATIENT)

    def nonsense(event: CallEvent) -> None:
        with waiting.redis.client() as redis:
            redis.rpush(event.reply, reply)

    with ScriptedEngine(waiting.redis, nonsense):
        answer = waiting.client.invite(b"77000000004")
    assert (answer.status, answer.seconds < 2) == (PASSED, True)
    assert "a verdict that cannot be read" in waiting.switch.output()


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("step", ["+3600", "-3600"])
def test_calls_that_wait_go_on_when_the_clock_is_set(tmp_path: Path, step: str) -> None:
    """Set forward by an hour, everything that expires does so at once; no call may be forgotten for it."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    with ExitStack() as stack:
        waiting = build_rig(
            stack, tmp_path, defines={**ASYNC, **PATIENT, "ANTIFRAUD_DEADLINE_MS": "10000"}, clock=clock
        )
        asked: list[CallEvent] = []
        stack.enter_context(ScriptedEngine(waiting.redis, asked.append))

        def set_clock() -> None:
            wait_until(lambda: len(asked) >= 20, "twenty waiting calls")
            clock.write_text(step)

        thread = threading.Thread(target=set_clock)
        thread.start()
        found = together(waiting, 20, b"77000000005")
        thread.join()
        assert Counter(one.status for one in found) == {PASSED: 20}
        # Their deadline is a moment of the clock: it has passed, or lies in a future that is not believed.
        assert max(one.seconds for one in found) < 9


def test_an_engine_that_is_silent_is_not_waited_for_and_found_again(rig: Build) -> None:
    waiting = rig(defines={**ASYNC, "ANTIFRAUD_SILENT_CALLS": "3"})
    with ScriptedEngine(waiting.redis, lambda _event: None):
        for _ in range(3):
            assert waiting.client.invite(b"77000000005").seconds > 0.14
        # One call in 100 ms finds out whether the engine is back.
        times = sorted(one.seconds for one in together(waiting, 10, b"77000000005"))
    assert times[4] < 0.1
    assert "the engine is silent" in waiting.switch.output()
    with ScriptedEngine(waiting.redis, by_last_digit(waiting)):

        def blocked() -> bool:
            time.sleep(0.05)
            return waiting.client.invite(b"77000000004").status == 608

        wait_until(blocked, "the engine to be found again")
    wait_until(lambda: "the engine answers again" in waiting.switch.output(), "the notice")


def test_the_switch_starts_before_redis(tmp_path: Path) -> None:
    with ExitStack() as stack:
        waiting = build_rig(stack, tmp_path, defines=ASYNC)
        waiting.redis.kill()
        assert waiting.client.invite(b"77000000004").status == PASSED
        waiting.redis.start()
        with ScriptedEngine(waiting.redis, by_last_digit(waiting)):

            def blocked() -> bool:
                time.sleep(0.1)
                return waiting.client.invite(b"77000000004").status == 608

            wait_until(blocked, "Redis to be found again")
