"""When nobody decides: every call goes on within its deadline, and verdicts come back as soon as somebody does.

That every call goes on must hold each time. How long they waited is printed, and judged by the share that waited far
too long, in the best of three runs, because a lost datagram costs 500 ms and these machines are shared. The load runs
with the default deadline of 150 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from antifraud.queues import Reply
from tests.e2e.conftest import PATIENT, Build, Rig, build_rig
from tests.e2e.processes import (
    ScriptedEngine,
    SipClient,
    SippRun,
    free_port,
    run_sipp,
    start_sipp_uas,
    undisturbed,
    wait_until,
)

RATE = 500
SECONDS = 3
CALLS = RATE * SECONDS
DEADLINE_MS = 150
SLACK_MS = 350
FAR_TOO_LATE = 0.02
"""The share of calls that may wait longer than deadline and slack."""

CALLEE = b"77000000002"
PASSED = 486

pytestmark = pytest.mark.needs("redis", "kamailio")


@contextmanager
def loaded(tmp_path: Path) -> Iterator[Rig]:
    """A switch with default limits whose next hop is a SIPp."""
    directory = tmp_path / f"rig-{time.monotonic_ns()}"
    directory.mkdir()
    with ExitStack() as stack:
        port = free_port()
        stack.callback(start_sipp_uas(directory, port).stop)
        yield build_rig(stack, directory, next_hop=port)


def all_go_on(rig: Rig, what: str) -> SippRun:
    """Place the calls; every one of them must reach the next hop."""
    run = run_sipp(rig.directory, "uac_passed", rig.switch.port, rate=RATE, calls=CALLS, seconds=SECONDS + 30)
    print(f"\n{what}: {run.summary()}; beyond {DEADLINE_MS + SLACK_MS} ms: {run.beyond(DEADLINE_MS + SLACK_MS)}")
    assert (run.created, run.succeeded, run.failed) == (CALLS, CALLS, 0)
    assert len(run.milliseconds) == CALLS
    return run


def in_time(attempt: Callable[[], SippRun]) -> None:
    run = undisturbed(attempt, DEADLINE_MS + SLACK_MS, FAR_TOO_LATE)
    assert run.quantile(0.5) < DEADLINE_MS, "most calls do not even wait"


def verdicts_are_back(rig: Rig) -> None:
    """Calls are blocked again once the engine answers, after at most a few that still pass."""
    with ScriptedEngine(rig.redis, lambda event: Reply("block", sip_code=608)):
        wait_until(lambda: rig.client.invite(CALLEE).status == 608, "a verdict")


@pytest.mark.needs("sipp")
def test_the_engine_is_stopped(tmp_path: Path) -> None:
    def attempt() -> SippRun:
        with loaded(tmp_path) as rig:
            run = all_go_on(rig, "engine stopped")
            assert len({event.call_id for event in rig.redis.calls()}) == CALLS, "the log stays complete"
            assert rig.switch.output().count("the engine is silent") == 1
            verdicts_are_back(rig)
            assert rig.switch.output().count("the engine answers again") == 1
            return run

    in_time(attempt)


@pytest.mark.needs("sipp")
def test_redis_is_killed(tmp_path: Path) -> None:
    def attempt() -> SippRun:
        with loaded(tmp_path) as rig:
            rig.redis.kill()
            run = all_go_on(rig, "Redis killed")
            assert "Redis takes no calls" in rig.switch.output()
            rig.redis.start()
            verdicts_are_back(rig)
            assert "Redis takes calls again" in rig.switch.output()
            return run

    in_time(attempt)


@pytest.mark.needs("sipp")
def test_redis_hangs(tmp_path: Path) -> None:
    def attempt() -> SippRun:
        with loaded(tmp_path) as rig:
            with rig.redis.paused():
                run = all_go_on(rig, "Redis hanging")
                assert "Redis takes no calls" in rig.switch.output()
            verdicts_are_back(rig)
            return run

    in_time(attempt)


@pytest.mark.needs("sipp")
def test_redis_hangs_and_comes_back_under_load(tmp_path: Path) -> None:
    def attempt() -> SippRun:
        with loaded(tmp_path) as rig, ScriptedEngine(rig.redis, lambda event: Reply("allow")):

            def hang() -> None:
                time.sleep(SECONDS / 3)
                with rig.redis.paused():
                    time.sleep(SECONDS / 3)

            thread = threading.Thread(target=hang)
            thread.start()
            run = all_go_on(rig, "Redis hanging for a third of the time")
            thread.join()
            return run

    in_time(attempt)


def test_kamailio_starts_without_redis(rig: Build) -> None:
    switch = rig()
    switch.switch.stop()
    switch.redis.kill()
    switch.switch.start()
    assert switch.client.invite(CALLEE).status == PASSED
    switch.redis.start()
    verdicts_are_back(switch)


@pytest.mark.parametrize("by_socket", [False, True], ids=["tcp", "socket"])
def test_what_redis_says_too_late_is_not_taken_for_an_answer(rig: Build, by_socket: bool) -> None:
    """One worker, one connection. Redis hangs during a call; what it had to say of it must not reach the next one."""
    switch = rig(defines={"WORKERS": "1", "ANTIFRAUD_MAX_WAITING": "1"}, by_socket=by_socket)

    def same_number(event: object) -> Reply:
        return Reply("label", label=getattr(event, "callee_raw", ""))

    labelled = 0
    with ScriptedEngine(switch.redis, same_number):
        for round_ in range(6):
            with switch.redis.paused():
                assert switch.client.invite(b"7700000%04d" % (round_ * 100)).status == PASSED
            for number in range(round_ * 100 + 1, round_ * 100 + 6):
                callee = b"7700000%04d" % number
                assert switch.client.invite(callee).status == PASSED
                invite = switch.next_hop.invites[-1]
                assert invite.startswith(b"INVITE sip:" + callee)
                if b"X-Antifraud-Label" in invite:
                    assert b"X-Antifraud-Label: " + callee + b"\r\n" in invite
                    labelled += 1
    assert labelled, "no call was labelled, so nothing was shown"


def test_only_so_many_calls_wait_at_once(rig: Build) -> None:
    """With the engine silent, two of eight workers wait; the calls of the others go on at once."""
    defines = {"WORKERS": "8", "ANTIFRAUD_MAX_WAITING": "2", "ANTIFRAUD_DEADLINE_MS": "3000"}
    switch = rig(defines={**PATIENT, **defines})
    waits: list[float] = []

    def call() -> None:
        with SipClient(switch.switch.port) as client:
            answer = client.invite(CALLEE)
            assert answer.status == PASSED
            waits.append(answer.seconds)

    in_parallel([call] * 8)
    assert len(waits) == 8
    assert sum(1 for seconds in waits if seconds >= 2.9) == 2
    assert len(switch.redis.calls()) == 8


def in_parallel(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
