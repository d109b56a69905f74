"""What one call leaves behind in a worker or in the counters must not be there for the next one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from antifraud.domain import CallEvent
from antifraud.queues import Reply
from tests.e2e.conftest import Build, Rig, build_rig
from tests.e2e.processes import Kamailio, NextHop, RedisServer, ScriptedEngine, SipClient

pytestmark = pytest.mark.needs("redis", "kamailio")
PATIENT = {"ANTIFRAUD_DEADLINE_MS": "4000", "ANTIFRAUD_REDIS_TIMEOUT_MS": "1000"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A patient switch with one worker, which believes every peer's P-Asserted-Identity."""
    with ExitStack() as stack:
        defines = {**PATIENT, "ANTIFRAUD_TRUST_ASSERTED": "1", "WORKERS": "1"}
        yield build_rig(stack, tmp_path_factory.mktemp("alone"), defines=defines)


def blocked(event: CallEvent) -> Reply:
    return Reply("block", call_id=event.call_id, sip_code=608)


def test_a_call_without_an_asserted_identity_has_none(alone: Rig) -> None:
    """Neither the one of the call before nor the number in From: it vouches for the caller."""
    with ScriptedEngine(alone.redis, blocked):
        alone.client.invite(b"77000000002", headers={b"P-Asserted-Identity": b"<sip:+77000000009@example.test>"})
        assert alone.redis.calls()[-1].asserted == "+77000000009"
        alone.client.invite(b"77000000002")
        assert alone.redis.calls()[-1].asserted == ""
        assert alone.redis.calls()[-1].diversion == ""


def test_a_call_to_no_number_is_no_emergency_call(alone: Rig) -> None:
    """The worker has just let an emergency call through."""
    with ScriptedEngine(alone.redis, blocked):
        assert alone.client.invite(b"112").status == 486
        port = alone.switch.port
        assert alone.client.invite(b"", uri=b"sip:127.0.0.1:%d" % port, to=b"<sip:example.test>").status == 608
        event = alone.redis.calls()[-1]
        assert "112" not in event.callee_raw
        assert "77000000002" not in event.callee_raw


@pytest.mark.parametrize(
    "dialled",
    [b"112", b"+112", b"112#", b"+112#", b"1/1/2", b"112_", b"~112", b"112,", b"112%3Bx", b"%2B112", b"sos", b"+7(112)",
     b"112*"],
)  # fmt: skip
def test_an_emergency_number_is_recognised_however_it_is_dialled(alone: Rig, dialled: bytes) -> None:
    """As the engine recognises it: with a plus before it, a # behind it and separators in it."""
    with ScriptedEngine(alone.redis, blocked):
        assert alone.client.invite(dialled).status == 486


@pytest.mark.parametrize("dialled", [b"+77112", b"77000000112", b"a112", b"1120", b"112x", b"+", b"%23"])
def test_what_only_looks_like_an_emergency_number_is_judged(alone: Rig, dialled: bytes) -> None:
    with ScriptedEngine(alone.redis, blocked):
        assert alone.client.invite(dialled).status == 608


class Doubling:
    """A socket that sends each INVITE four times."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def sendto(self, raw: bytes, where: tuple[str, int]) -> int:
        for _copy in range(3 if raw.startswith(b"INVITE") else 0):
            self._real.sendto(raw, where)
        return self._real.sendto(raw, where)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_an_invite_that_comes_twice_at_once_waits_once(rig: Build) -> None:
    """A doubled datagram reaches two workers at the same moment: it must not take the place of a call for good."""
    defines = {**PATIENT, "ANTIFRAUD_ASYNC": "1", "ANTIFRAUD_MAX_SUSPENDED": "3", "WORKERS": "8"}
    switch = rig(defines=defines)
    with ScriptedEngine(switch.redis, blocked):
        for _ in range(150):
            with SipClient(switch.switch.port) as client:
                client._socket = Doubling(client._socket)  # type: ignore[assignment]
                client.invite(b"77000000004")
        events = len(switch.redis.calls())
        print(f"\n{events} events of 150 calls")
        assert switch.client.invite(b"77000000004").status == 608
        assert "too_many" not in switch.switch.output()


def test_redis_that_hangs_while_a_call_waits_does_not_hold_it_up(rig: Build) -> None:
    """The last question is asked just before the deadline, on a connection that still seems sound."""
    switch = rig(defines={"WORKERS": "4", "ANTIFRAUD_SILENT_CALLS": "1000", "ANTIFRAUD_REDIS_FAILURES": "1000"})
    waited = []
    for _ in range(6):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(placed, switch.switch.port, b"77000000005")
            time.sleep(0.135)
            with switch.redis.paused():
                waited.append(call.result())
                time.sleep(0.2)
        time.sleep(0.2)
    print(f"\n{[round(one * 1000) for one in waited]} ms")
    # The machine may stand still now and then, but hardly five times.
    assert sorted(waited)[1] < 0.225


class SlowFor:
    """Stands before Redis and keeps what names ``marked`` back for ``seconds``, each connection by itself."""

    def __init__(self, port: int, marked: bytes, seconds: float) -> None:
        self._target, self._marked, self._seconds = port, marked, seconds
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._target))
            for one, other in ((here, there), (there, here)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while raw := one.recv(65536):
                if self._marked in raw:
                    time.sleep(self._seconds)
                other.sendall(raw)
            other.close()

    def close(self) -> None:
        self._server.close()


def test_a_call_whose_event_is_taken_slowly_does_not_wait_for_younger_ones(tmp_path: Path) -> None:
    """Its event is in the log 120 ms after it came; those of the calls after it at once. 150 ms are 150 ms."""
    defines = {
        "ANTIFRAUD_ASYNC": "1", "ANTIFRAUD_REDIS_TIMEOUT_MS": "140", "ANTIFRAUD_SILENT_CALLS": "1000", "WORKERS": "8",
    }  # fmt: skip
    with ExitStack() as stack:
        redis = RedisServer(tmp_path).start()
        stack.callback(redis.stop)
        slow = SlowFor(redis.port, b"77000000009", 0.12)
        stack.callback(slow.close)
        hop = stack.enter_context(NextHop())
        switch = Kamailio(tmp_path, f"addr=127.0.0.1;port={slow.port}", hop.port, defines).start()
        stack.callback(switch.stop)
        waited = []
        for _ in range(6):
            with ThreadPoolExecutor(16) as pool:
                late = pool.submit(placed, switch.port, b"77000000009")
                others = []
                for _other in range(12):
                    time.sleep(0.01)
                    others.append(pool.submit(placed, switch.port, b"77000000005"))
                waited.append(late.result())
                assert all(one.result() < 1 for one in others)
        print(f"\n{[round(one * 1000) for one in waited]} ms")
        # The machine may stand still now and then, but hardly five times.
        assert sorted(waited)[1] < 0.2


def placed(port: int, callee: bytes) -> float:
    with SipClient(port) as client:
        answer = client.invite(callee)
        assert answer.status == 486
        return answer.seconds
