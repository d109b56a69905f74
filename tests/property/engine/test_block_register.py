"""The register of blocked numbers and its commands: whatever is asked in whatever order, they say the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Decider, Policy, RegionPolicy, load_bundle
from antifraud.decision.interception import Interceptor
from antifraud.domain import Ceiling, Decision, EventError
from antifraud.engine import blocking
from antifraud.engine.blocking import BlockRegister
from antifraud.features import Fold, Limits
from antifraud.queues import Keys
from antifraud.queues.commands import Block, BlockRequest, Command, decode_block, decode_command
from antifraud.settings import load_settings

T0 = 1.8e9
NUMBERS = ("+77010000001", "+77010000002", "+77010000003")
SWITCHES = {"sw-a": "KZ-75", "sw-b": "KZ-75", "sw-c": "KZ-71"}
SETTINGS = load_settings(env={})


class Pipe:
    """Takes what would go to Redis, as Redis would have it."""

    def __init__(self) -> None:
        self.register: dict[str, Block] = {}
        self.commands: list[tuple[str, Command]] = []
        self.position: dict[str, str] = {}

    def hset(self, key: str, field: str = "", value: bytes = b"", mapping: Any = None) -> None:
        if key == Keys("kz").position:
            self.position |= mapping
        else:
            self.register[field] = decode_block(value)

    def hdel(self, _key: str, field: str) -> None:
        self.register.pop(field, None)

    def xadd(self, key: str, fields: dict[str, str], **_bounds: object) -> None:
        wire = {name.encode(): value.encode() for name, value in fields.items()}
        self.commands.append((key.rpartition(":")[2], decode_command(wire)))


@cache
def decider() -> Decider:
    regions = {"KZ-75": RegionPolicy("KZ-75", Ceiling.BLOCK), "KZ-71": RegionPolicy("KZ-71", Ceiling.SHADOW)}
    policy = Policy("kz", "KZ", "KZ-75", regions, SWITCHES)
    bundle = load_bundle(SETTINGS.rules_dir)
    fold = Fold(bundle.windows, limits=Limits.of_memory(64 << 20))
    return Decider(bundle, policy, build_numbering(SETTINGS, warm=False), fold=fold)


def register() -> BlockRegister:
    return BlockRegister(decider(), Keys("kz"), Interceptor(decider()))


REQUESTS = st.builds(
    lambda op, number, region, hours: ("request", op, number, region, hours),
    st.sampled_from(("block", "unblock", "forget")), st.sampled_from(NUMBERS), st.sampled_from(("", "KZ-75", "KZ-71")),
    st.sampled_from((0, 1, 48)),
)  # fmt: skip
RULES = st.builds(
    lambda number, hours: ("rule", "", number, "KZ-75", hours), st.sampled_from(NUMBERS), st.integers(1, 72)
)
LATER = st.builds(lambda hours: ("later", "", "", "", hours), st.integers(0, 40))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.one_of(REQUESTS, RULES, LATER), max_size=30))
def test_switches_that_obey_in_order_hold_what_the_register_says(steps: list[tuple[str, str, str, str, int]]) -> None:
    found, pipe, now = register(), Pipe(), T0
    for kind, op, number, region, hours in steps:
        if kind == "later":
            now += hours * 3_600
        elif kind == "rule":
            before = pipe.register.get(number)
            found.take([by_rule(number, region, now, hours)], now)
            if before is not None and before.state == "cleared" and before.holds(now):
                assert not found.unsaved, "a rule has blocked a number that is cleared"
        else:
            cleared = number in pipe.register and pipe.register[number].state == "cleared"
            cleared = cleared and pipe.register[number].holds(now)
            until = now + hours * 3_600 if hours else 0.0
            try:
                found.obey(BlockRequest(op, "a", "b", number, until, region), "1-0", now)
                assert not (op == "block" and cleared)
            except EventError as error:
                refusals = (("block", "block-cleared"), ("forget", "block-unknown"), ("forget", "block-changed"))
                assert (op, error.code) in refusals  # noqa: PT017
                assert cleared or op == "forget"
        found.sweep(now)
        found.write(pipe, now)
        found.saved()
        assert not found.unsaved
        for switch, its in SWITCHES.items():
            held = {command.number: command for at, command in pipe.commands if at == switch}
            for one in NUMBERS:
                block, last = pipe.register.get(one), held.get(one)
                wanted = (
                    block.until
                    if block is not None and block.state == "blocked" and block.region in ("", its) and block.holds(now)
                    else 0.0
                )
                got = last.until if last is not None and last.op == "block" and last.until > now else 0.0
                assert got == wanted, (switch, one)
    for switch in SWITCHES:
        for one in NUMBERS:
            said = [command.seq for at, command in pipe.commands if at == switch and command.number == one]
            assert said == sorted(set(said))
    assert all(block.holds(now) for block in pipe.register.values())


def by_rule(number: str, region: str, ts: float, hours: int) -> Decision:
    return Decision(
        "0123456789abcdef", "c1", ts, "kz", region, "block", "block", "block",
        caller=number, block_until=ts + hours * 3_600, block_by="rule:a",
    )  # fmt: skip


def test_a_full_register_takes_no_more_and_lets_go_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "MOST_NUMBERS", 2)
    found = register()
    for number in NUMBERS[:2]:
        found.obey(BlockRequest("block", "a", "b", number), "1-0", T0)
    with pytest.raises(EventError, match="2 numbers"):
        found.obey(BlockRequest("block", "a", "b", NUMBERS[2]), "1-0", T0)
    found.take([by_rule(NUMBERS[2], "KZ-75", T0, 1)], T0)
    assert found.counts["rule_blocks_left.full"] == 1
    found.obey(BlockRequest("unblock", "a", "b", NUMBERS[0]), "1-0", T0)
    found.obey(BlockRequest("forget", "a", "b", NUMBERS[1]), "1-0", T0)
    found.obey(BlockRequest("block", "a", "b", NUMBERS[2]), "1-0", T0)
    assert len(found) == 2


def test_one_transaction_carries_a_bounded_number_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "MOST_COMMANDS", 4)
    found, pipe = register(), Pipe()
    assert found.requests_at_once == 1
    found.take([by_rule(f"+7701000{n:04}", "KZ-75", T0, 1) for n in range(9)], T0)
    found.write(pipe, T0)
    assert len(pipe.commands) == 4
    assert found.counts["rule_blocks_left.many"] == 7
