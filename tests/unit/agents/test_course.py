"""What an agent does about a command, given what the register says; and the comparison of two lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.queues.commands import Block, Command
from sip_adapters.agents import Comparison, Step, plan, wanted_until
from sip_adapters.conformance.switches import CHECKS, MemorySwitch

NUMBER = "+77010000001"
NOW = 1_800_000_000.0
REGION = "KZ-75"


def command(op: str, seq: int = 5, **more: object) -> Command:
    return Command("ab", op, number=NUMBER, seq=seq, until=NOW + 60 if op == "block" else 0.0, **more)  # type: ignore[arg-type]


def entry(state: str = "blocked", seq: int = 5, left: float = 60.0, region: str = "") -> Block:
    return Block(NUMBER, state, NOW + left, seq, region)


@pytest.mark.parametrize(
    ("asked", "says", "do", "result"),
    [
        (command("block"), entry(), "block", "done"),
        (command("block"), entry(region=REGION), "block", "done"),
        (command("block"), entry(seq=6), "block", "superseded"),
        (command("block"), entry("cleared", seq=6), "unblock", "superseded"),
        (command("block"), entry(region="KZ-10"), "unblock", "superseded"),
        (command("block"), entry(left=0), "unblock", "superseded"),
        (command("block"), None, "unblock", "superseded"),
        (command("block", expires=NOW), entry(), "", "expired"),
        (command("block", expires=NOW + 1), entry(), "block", "done"),
        (command("unblock"), None, "unblock", "done"),
        (command("unblock"), entry("cleared"), "unblock", "done"),
        (command("unblock"), entry("blocked", seq=4), "unblock", "done"),
        (command("unblock"), entry("blocked", seq=6), "block", "superseded"),
        (command("unblock"), entry("cleared", seq=6), "unblock", "superseded"),
        (command("unblock", expires=NOW - 100), entry("cleared"), "unblock", "done"),
        (Command("ab", "release", call_id="x"), None, "release", "done"),
        (Command("ab", "release", call_id="x", expires=NOW - 1), None, "", "expired"),
        (Command("ab", "resync"), None, "resync", "done"),
        (Command("ab", "resync", expires=NOW - 1), None, "", "expired"),
    ],
)
def test_the_register_decides(asked: Command, says: Block | None, do: str, result: str) -> None:
    step = plan(asked, says, REGION, NOW)
    assert (step.do, step.result) == (do, result)


def test_the_end_of_a_block_is_that_of_the_register() -> None:
    assert plan(command("block", seq=1), entry(seq=2, left=9.0), REGION, NOW).until == NOW + 9


def test_a_block_that_has_ended_is_left() -> None:
    late = Command("ab", "block", number=NUMBER, seq=5, until=NOW)
    assert plan(late, entry(), REGION, NOW) == Step("", "expired")


def test_an_agent_that_knows_no_region_takes_only_what_holds_everywhere() -> None:
    assert wanted_until(entry(), "", NOW) == NOW + 60
    assert wanted_until(entry(region=REGION), "", NOW) == 0


BLOCKS = st.builds(
    Block, st.just(NUMBER), st.sampled_from(["blocked", "cleared"]), st.floats(NOW - 10, NOW + 10),
    st.integers(0, 9), st.sampled_from(["", REGION, "KZ-10"]),
)  # fmt: skip
COMMANDS = st.builds(
    Command, st.just("ab"), st.sampled_from(["block", "unblock"]), st.just(NUMBER), st.floats(NOW - 10, NOW + 10),
    st.integers(0, 9), expires=st.floats(NOW - 10, NOW + 10) | st.just(0.0),
)  # fmt: skip


@given(asked=COMMANDS, says=BLOCKS | st.none())
def test_nothing_is_ever_blocked_that_the_register_does_not_have_blocked(asked: Command, says: Block | None) -> None:
    step = plan(asked, says, REGION, NOW)
    if step.do == "block":
        assert step.until == wanted_until(says, REGION, NOW) > NOW
    if asked.op == "unblock" and not wanted_until(says, REGION, NOW):
        assert step.do == "unblock"


PAIRS = st.dictionaries(st.sampled_from([f"+7701000{n:04d}" for n in range(30)]), st.integers(1, 5).map(float))


@given(held=PAIRS, wanted=PAIRS, again=st.integers(1, 3))
def test_mending_what_differs_makes_both_equal(held: dict[str, float], wanted: dict[str, float], again: int) -> None:
    """Ends that differ by a second count as the same, and a register that is scanned twice changes nothing."""
    scaled = {number: until * 10 for number, until in wanted.items()}
    switch = {number: until * 10 + 1 for number, until in held.items()}
    comparison = Comparison(switch.items())
    missing = [item for _ in range(again) for item in scaled.items() if comparison.missing(*item)]
    assert len(missing) == len(dict(missing))
    surplus = comparison.surplus()
    assert set(surplus) == set(switch) - set(scaled)
    switch = {number: until for number, until in switch.items() if number not in surplus} | dict(missing)
    assert set(switch) == set(scaled)
    assert all(abs(switch[number] - scaled[number]) <= 1 for number in scaled)
    assert comparison.wanted == len(scaled)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_switch_in_memory_does_what_every_switch_must(check: object) -> None:
    await check(MemorySwitch())  # type: ignore[operator]
