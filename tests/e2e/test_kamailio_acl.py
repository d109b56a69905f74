"""The Redis user of a switch: what docs/how-to/kamailio.md grants suffices for calls and allows nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from antifraud.queues import Reply
from tests.e2e.conftest import PATIENT, Build
from tests.e2e.processes import ROOT, ScriptedEngine

pytestmark = pytest.mark.needs("redis", "kamailio")

HOW_TO = ROOT / "docs" / "how-to" / "kamailio.md"
CALLEE = b"77000000002"
LOGIN = {"ANTIFRAUD_REDIS_USER": '"switch-kamailio"', "ANTIFRAUD_REDIS_PASSWORD": '"change-me"'}


def documented_users(page: Path = HOW_TO) -> list[str]:
    """The `user …` lines of the how-to: for Redis 7, then for Redis 6.2."""
    return re.findall(r"^user switch-kamailio .*$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_how_to_has_a_user_for_each_redis() -> None:
    assert len(documented_users()) == 2


@pytest.mark.parametrize("line", documented_users(), ids=["redis 7", "redis 6.2"])
def test_the_documented_user_suffices_and_can_do_nothing_else(rig: Build, line: str) -> None:
    switch = rig(defines={**PATIENT, **LOGIN}, acl=[line])
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608)):
        for _ in range(5):
            assert switch.client.invite(CALLEE).status == 608
    with redis.Redis(
        unix_socket_path=str(switch.redis.socket), username="switch-kamailio", password="change-me", socket_timeout=5
    ) as user:
        for command in (
            "XRANGE af:{kz}:calls - +",
            "XREAD STREAMS af:{kz}:calls 0",
            "XTRIM af:{kz}:calls MAXLEN 0",
            "DEL af:{kz}:calls",
            "XADD af:{kz}:control * op kill who me why fun",
            "XADD af:{kz}:decisions * d x",
            "LPOP af:{kz}:reply:other:1",
            "RPUSH af:{kz}:reply:kamailio:1 x",
            "KEYS *",
            "FLUSHALL",
            "CONFIG GET *",
            "EVAL return 0",
            "SUBSCRIBE x",
            "ACL WHOAMI",
        ):
            with pytest.raises(redis.ResponseError):
                user.execute_command(*command.split())


def test_a_switch_logs_in_again_when_redis_was_away(rig: Build) -> None:
    switch = rig(defines={**PATIENT, **LOGIN, "WORKERS": "2"}, acl=[documented_users()[0]])
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608)):
        assert switch.client.invite(CALLEE).status == 608
    switch.redis.kill()
    switch.redis.start()
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608)):
        for _ in range(6):
            assert switch.client.invite(CALLEE).status == 608


def test_a_hanging_redis_does_not_hold_the_log_in_up(rig: Build) -> None:
    switch = rig(defines={**LOGIN, "WORKERS": "2"}, acl=[documented_users()[0]])
    with switch.redis.paused():
        for _ in range(12):
            assert switch.client.invite(CALLEE).status == 486


def test_a_wrong_password_lets_calls_pass_and_says_so(rig: Build) -> None:
    switch = rig(defines={**LOGIN, "ANTIFRAUD_REDIS_PASSWORD": '"wrong"'}, acl=[documented_users()[0]])
    with ScriptedEngine(switch.redis, lambda event: Reply("block", sip_code=608)):
        for _ in range(4):
            assert switch.client.invite(CALLEE).status == 486
    assert "antifraud: Redis refuses: WRONGPASS" in switch.switch.output()
    assert switch.redis.calls() == []
