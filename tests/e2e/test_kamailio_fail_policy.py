"""What Kamailio does while nobody decides, by the file of ``antifraud config fail-policy``; with and without workers
that wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from antifraud.cli.config import config
from antifraud.queues import Reply
from tests.e2e.conftest import Build, Rig
from tests.e2e.processes import ScriptedEngine
from tests.e2e.test_kamailio_verdicts import PASSED, header_lines

pytestmark = pytest.mark.needs("redis", "kamailio")

WAYS = [pytest.param({}, id="waiting"), pytest.param({"ANTIFRAUD_ASYNC": "1"}, id="suspended")]
ABROAD = b"810442079460000"
HOME = b"87270000001"


def build(rig: Build, directory: Path, way: dict[str, str], trunk: str, **rungs: str) -> Rig:
    env = {f"ANTIFRAUD_POLICY_FAIL_{path}": word for path, word in rungs.items()}
    arguments = ["fail-policy", "--switch", "sw-kz-75", "--format", "kamailio"]
    result = CliRunner(env=env).invoke(config, arguments)
    assert result.exit_code == 0, result.output
    (directory / "antifraud_fail.cfg").write_text(result.output, encoding="utf-8")
    defines = {**way, "ANTIFRAUD_FAIL_POLICY": "1", "TRUNK": f'"{trunk}"', "ANTIFRAUD_SILENT_CALLS": "1000"}
    return rig(defines=defines)


@pytest.mark.parametrize("way", WAYS)
def test_an_engine_that_is_late(rig: Build, tmp_path: Path, way: dict[str, str]) -> None:
    switch = build(rig, tmp_path, way, "sub-1", ANY_LATE="national_only", INTERNATIONAL_LATE="refuse")
    answer = switch.client.invite(ABROAD)
    assert (answer.status, answer.phrase) == (503, "Service Unavailable")
    assert (answer.header("Retry-After"), answer.header("Reason")) == ("30", "Q.850;cause=41")
    assert switch.client.invite(HOME).status == PASSED
    # Emergency calls and protected numbers, however they are dialled.
    for callee in (b"112", b"103", b"+7112", b"109", b"1-0-9", b"1414"):
        assert switch.client.invite(callee).status == PASSED, callee
    if not way:  # the scripted engine pushes to a list of each call's own
        with ScriptedEngine(switch.redis, lambda event: Reply("allow", call_id=event.call_id)):
            assert switch.client.invite(ABROAD).status == PASSED


@pytest.mark.parametrize("way", WAYS)
def test_a_class_of_trunks_is_told_from_another(rig: Build, tmp_path: Path, way: dict[str, str]) -> None:
    switch = build(rig, tmp_path, way, "intl-7", ANY_LATE="label", INTERNATIONAL_LATE="refuse")
    answer = switch.client.invite(HOME)
    assert (answer.status, answer.phrase, answer.header("Reason")) == (608, "Rejected", "Q.850;cause=21")
    assert answer.header("Retry-After") is None
    assert switch.client.invite(b"109").status == PASSED


@pytest.mark.parametrize("way", WAYS)
def test_redis_is_gone(rig: Build, tmp_path: Path, way: dict[str, str]) -> None:
    switch = build(rig, tmp_path, way, "nat-1", ANY_REDIS="label", ANY_LATE="refuse")
    switch.redis.kill()
    for _ in range(5):
        assert switch.client.invite(HOME).status == PASSED
        invite = switch.next_hop.invites[-1]
        assert header_lines(invite, b"X-Antifraud-Label") == ["Возможно, мошенники".encode()]
    assert switch.client.invite(b"112").status == PASSED
    assert header_lines(switch.next_hop.invites[-1], b"X-Antifraud-Label") == []


def test_the_file_of_a_region_that_leaves_all_calls_alone(rig: Build, tmp_path: Path) -> None:
    switch = build(rig, tmp_path, {}, "intl-1")
    assert switch.client.invite(ABROAD).status == PASSED
