"""SIPp → Kamailio → Redis → the engine → the verdict, with every component real."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from antifraud.queues import Keys
from tests.e2e.conftest import PATIENT, Rig, build_rig
from tests.e2e.processes import ROOT, SHARD, SippRun, free_port, run_sipp, start_sipp_uas, undisturbed, wait_until
from tests.engine_process import EngineProcess

RATE = 500
SECONDS = 20
ALMATY = {"ANTIFRAUD_SWITCH": '"sw-kz-75"', "TRUNK": '"intl-1"'}
"""A switch of a region whose ceiling is block, and a trunk from abroad."""

UNHURRIED = {**PATIENT, "ANTIFRAUD_MAX_WAITING": "1000", "ANTIFRAUD_SILENT_CALLS": "1000000"}
"""For counting verdicts on a machine that others use too: calls queue rather than go on when everything stalls."""

CALLEE = b"77000000002"
PASSED = 486
FORGED = b"<sip:+77000000001@example.test>"


def configuration(directory: Path, desk: str) -> Path:
    """The shipped configuration with another desk for Almaty."""
    shutil.copytree(ROOT / "config", directory / "config")
    region = directory / "config" / "regions" / "KZ-75.yaml"
    text, changed = re.subn(r"target: \S+", f"target: {desk}", region.read_text(encoding="utf-8"))
    assert changed == 1
    region.write_text(text, encoding="utf-8")
    return directory / "config"


@contextmanager
def engine_beside(rig: Rig) -> Iterator[EngineProcess]:
    config = configuration(rig.directory, f"sip:desk@127.0.0.1:{rig.next_hop.port}")
    engine = EngineProcess(rig.redis.url, rig.directory, "--model=none", f"--config={config}")
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        if engine.process is not None and engine.process.stdout is not None:
            engine.process.stdout.close()


@pytest.fixture(scope="module")
def interception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A switch of Almaty with a real engine behind it."""
    with ExitStack() as stack:
        rig = build_rig(stack, tmp_path_factory.mktemp("interception"), defines={**UNHURRIED, **ALMATY})
        stack.enter_context(engine_beside(rig))
        yield rig


def last_header(rig: Rig, name: str) -> str | None:
    found = re.search(rf"^{name}: *(.*?)\r$", rig.next_hop.invites[-1].decode(), re.MULTILINE | re.IGNORECASE)
    return found and found[1]


@pytest.mark.needs("redis", "kamailio")
def test_a_foreign_caller_gets_through(interception: Rig) -> None:
    answer = interception.client.invite(CALLEE, from_=b"<sip:+442079460000@example.test>")
    assert answer.status == PASSED
    assert interception.next_hop.invites[-1].startswith(b"INVITE sip:" + CALLEE)
    assert last_header(interception, "X-Antifraud-Label") is None


@pytest.mark.needs("redis", "kamailio")
def test_a_home_mobile_number_from_abroad_is_labelled(interception: Rig) -> None:
    answer = interception.client.invite(CALLEE, from_=FORGED)
    assert answer.status == PASSED
    assert last_header(interception, "X-Antifraud-Label")


@pytest.mark.needs("redis", "kamailio")
def test_a_fixed_home_number_from_abroad_is_diverted_to_the_desk(interception: Rig) -> None:
    answer = interception.client.invite(CALLEE, from_=b"<sip:+77172500001@example.test>")
    assert answer.status == PASSED
    assert interception.next_hop.invites[-1].startswith(b"INVITE sip:desk@127.0.0.1:")
    assert "sip:77000000002@" in str(last_header(interception, "Diversion"))


@pytest.mark.needs("redis", "kamailio")
@pytest.mark.parametrize("asserted", [b"<sip:+442079460000@example.test>", b"<tel:112>"])
def test_a_forger_gains_nothing_by_asserting_another_number(interception: Rig, asserted: bytes) -> None:
    from_ = b"<sip:+77172500001@example.test>"
    answer = interception.client.invite(CALLEE, from_=from_, headers={b"P-Asserted-Identity": asserted})
    assert answer.status == PASSED
    assert interception.next_hop.invites[-1].startswith(b"INVITE sip:desk@127.0.0.1:")


@pytest.mark.needs("redis", "kamailio")
def test_a_scanner_is_blocked_with_the_reason_in_words(interception: Rig) -> None:
    seen = len(interception.next_hop.invites)
    answer = interception.client.invite(CALLEE, headers={b"User-Agent": b"friendly-scanner"})
    assert answer.status == 608
    assert re.fullmatch(r'SIP;cause=608;text="[^"]+"', answer.header("Reason") or "")
    assert len(interception.next_hop.invites) == seen
    with interception.redis.client() as redis:
        assert redis.xlen(Keys(SHARD).quarantine) == 0


@pytest.mark.needs("redis", "kamailio")
def test_even_a_scanner_gets_through_to_the_rescue_service(interception: Rig) -> None:
    assert interception.client.invite(b"112", headers={b"User-Agent": b"friendly-scanner"}).status == PASSED


@pytest.mark.needs("redis", "kamailio", "sipp")
def test_fraud_calls_are_refused_at_five_hundred_a_second(tmp_path: Path) -> None:
    """Every call is answered with 608, none is lost, and each is one entry of the log and one decision."""
    with ExitStack() as stack:
        rig = build_rig(stack, tmp_path, defines={**UNHURRIED, **ALMATY, "ROAMING": '"0"'})
        stack.enter_context(engine_beside(rig))
        calls = RATE * SECONDS
        callees = [f"7700{number:07d}" for number in range(0, 5000, 7)]
        run = run_sipp(
            tmp_path, "uac_blocked", rig.switch.port, rate=RATE, calls=calls, seconds=SECONDS + 60, callees=callees
        )
        print(f"\n608 at {RATE} calls/s: {run.summary()}; beyond 150 ms: {run.beyond(150)}")
        assert (run.created, run.succeeded, run.failed) == (calls, calls, 0)
        assert rig.next_hop.invites == []
        assert len({event.call_id for event in rig.redis.calls()}) == calls
        with rig.redis.client() as redis:
            wait_until(lambda: redis.xlen(Keys(SHARD).decisions) >= calls, "the last decision")


@pytest.mark.needs("redis", "kamailio", "sipp")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_the_engine_goes_away_under_load(tmp_path: Path, number: signal.Signals) -> None:
    """Default limits. Calls are refused while there is an engine, and every one goes on when there is none."""
    seconds = 4
    calls = RATE * seconds

    def attempt() -> SippRun:
        directory = tmp_path / f"rig-{time.monotonic_ns()}"
        directory.mkdir()
        with ExitStack() as stack:
            port = free_port()
            stack.callback(start_sipp_uas(directory, port).stop)
            rig = build_rig(stack, directory, defines={**ALMATY, "ROAMING": '"0"'}, next_hop=port)
            engine = stack.enter_context(engine_beside(rig))
            assert engine.process is not None
            end = threading.Timer(seconds / 2, engine.process.send_signal, [number])
            end.start()
            run = run_sipp(directory, "uac_either", rig.switch.port, rate=RATE, calls=calls, seconds=seconds + 30)
            end.join()
            if number is signal.SIGSTOP:
                engine.process.send_signal(signal.SIGCONT)
            print(f"\n{number.name} to the engine under load: {run.summary()}; beyond 500 ms: {run.beyond(500)}")
            assert (run.created, run.succeeded, run.failed) == (calls, calls, 0)
            assert rig.switch.output().count("antifraud: blocked") > 50
            assert "the engine is silent" in rig.switch.output()
            return run

    undisturbed(attempt, limit_ms=500, share=0.02)
