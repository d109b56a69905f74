"""Each kind of campaign does what its name says."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario
from antifraud.simulator.call import Call
from antifraud.simulator.campaign import Campaign
from antifraud.simulator.fraud import KINDS
from antifraud.simulator.scenario import Adaptive, Span
from antifraud.simulator.world import World

NOON = 1_767_553_200.0 + 12 * 3600
SCENARIOS = data_dir("config") / "scenarios"


def _spans() -> dict[str, dict[str, Span]]:
    """The ranges of every kind, from the scenario that has it."""
    found: dict[str, dict[str, Span]] = {}
    for path in sorted(SCENARIOS.glob("*.yaml"), key=lambda path: path.stem == "national"):
        found |= load_scenario(path).draw(4).fraud.kinds
    return found


SPANS = _spans()


@pytest.fixture(scope="module")
def world() -> World:
    settings = load_scenario(find_scenario("national", data_dir("config"))).draw(4)
    return World(settings, 4, 50_000)


def _fixed(**values: float) -> dict[str, Span]:
    return {name: Span(value, value) for name, value in values.items()}


def _campaign(
    world: World, kind: str, seed: int = 1, adaptive: Adaptive | None = None, *, heard: bool = False, **values: float
) -> Campaign:
    """A campaign of ``kind`` with the parameters ``values``, the others drawn."""
    rng = np.random.Generator(np.random.PCG64(seed))
    spans = SPANS[kind] | _fixed(**values)
    return KINDS[kind](world, rng, spans, "c", NOON, 1e9, adaptive, heard=heard)


def _calls(world: World, kind: str, rate: float, hours: float = 1.0, seed: int = 1, **values: float) -> list[Call]:
    return _campaign(world, kind, seed, **values).calls(NOON, NOON + hours * 3600, rate)


def _class(world: World, call: Call) -> str:
    return world.trunks[call.trunk].name.split("-")[0]


def _home(number: int) -> bool:
    return 76_000_000_000 <= number < 78_000_000_000


def _reaction(**values: float) -> Adaptive:
    usual = {"share": 1, "calls_per_number": 10, "stops_per_number": 1, "numbers_per_route": 1e9, "pause_s": 1}
    return Adaptive(**_fixed(**(usual | values)))


def test_every_kind_is_in_a_scenario() -> None:
    assert set(SPANS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_in_order_within_the_stretch_and_fraud(world: World, kind: str) -> None:
    calls = _calls(world, kind, 400.0)
    assert 150 < len(calls) < 900
    times = [call.ts for call in calls]
    assert times == sorted(times)
    assert times[0] >= NOON
    assert times[-1] < NOON + 3600
    fraud = {call.truth.scenario for call in calls if call.truth.fraud}
    assert fraud <= {kind, f"{kind}_callback"}
    honest = {call.truth.scenario for call in calls if not call.truth.fraud}
    assert honest <= ({"voice_code", "voice_code_abroad"} if kind == "code_theft" else set())
    assert all(bool(call.truth.campaign) == call.truth.fraud for call in calls)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_draws_make_the_same_calls(world: World, kind: str) -> None:
    assert _calls(world, kind, 200.0, seed=3) == _calls(world, kind, 200.0, seed=3)
    assert _calls(world, kind, 200.0, seed=3) != _calls(world, kind, 200.0, seed=4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_campaign_uses_trunks_and_peers_that_honest_callers_use_too(world: World, kind: str) -> None:
    for call in _calls(world, kind, 100.0):
        assert call.origin in world.trunks[call.trunk].origins
        assert (call.odd is not None) == (kind == "sip_scanner")


def test_a_chain_is_several_new_numbers_on_one_victim(world: World) -> None:
    victims: dict[int, list[Call]] = defaultdict(list)
    for call in _calls(world, "chain", 60.0, hours=3.0):
        victims[call.callee].append(call)
    chains = [calls for calls in victims.values() if len(calls) >= 3]
    assert len(chains) >= 10
    for calls in chains:
        assert len({call.caller for call in calls}) == len(calls)
        for before, after in pairwise(calls):
            assert after.ts > before.ts + before.ring_s + (before.talk_s or 0.0)


def test_a_robocall_dials_one_number_after_the_other(world: World) -> None:
    callees = [call.callee for call in _calls(world, "robocall", 300.0)]
    steps = np.diff(callees)
    assert np.mean((steps >= 1) & (steps <= 2)) > 0.95


def test_wangiri_rings_briefly_and_hangs_up(world: World) -> None:
    calls = [call for call in _calls(world, "wangiri", 400.0) if call.truth.scenario == "wangiri"]
    assert np.mean([call.talk_s is None for call in calls]) > 0.9
    assert np.median([call.ring_s for call in calls]) < 5
    assert {_class(world, call) for call in calls} == {"intl"}


def test_some_of_those_rung_by_wangiri_call_back(world: World) -> None:
    calls = _calls(world, "wangiri", 400.0, callback_share=0.3, callback_delay_s=300)
    # Of those rung twice the first time counts.
    rung = {(call.callee, call.caller): call for call in reversed(calls) if call.truth.scenario == "wangiri"}
    back = [call for call in calls if call.truth.scenario == "wangiri_callback"]
    assert len(back) > 30
    for call in back:
        assert call.truth.fraud
        assert call.ts > rung[call.caller, call.callee].ts
        assert _class(world, call) == "sub"
        assert not _home(call.callee)


def test_a_gateway_is_a_rack_of_sims(world: World) -> None:
    campaign = _campaign(world, "gsm_gateway")
    calls = campaign.calls(NOON, NOON + 3600, 600.0)
    assert len({call.caller for call in calls}) <= campaign.crew("calls_per_sim_hour")
    assert "intl" not in {_class(world, call) for call in calls}
    at_home = [call for call in calls if _class(world, call) == "sub"]
    assert all(call.imsi and call.imei and call.cell for call in at_home)
    assert len({call.cell for call in at_home}) == 1


def test_a_call_centre_rotates_home_numbers_from_abroad(world: World) -> None:
    calls = _calls(world, "call_centre", 1000.0)
    assert {_class(world, call) for call in calls} == {"intl"}
    assert len({call.caller for call in calls}) > 20
    at_home = [call for call in calls if _home(call.caller)]
    assert len(at_home) > 0.3 * len(calls)
    assert sum(call.roaming == 1 for call in at_home) < 0.15 * len(at_home)


def test_a_scanner_tries_prefixes_and_is_never_answered(world: World) -> None:
    calls = _calls(world, "sip_scanner", 400.0)
    odd = [call.odd for call in calls if call.odd is not None]
    assert len(odd) == len(calls)
    assert all(call.talk_s is None for call in calls)
    assert len({one.callee for one in odd}) > 3
    assert all(one.caller.isdigit() and len(one.caller) <= 4 for one in odd)


def test_call_centres_sleep_and_have_lunch(world: World) -> None:
    campaign = _campaign(world, "call_centre", opens=9, closes=18, lunch_share=1)
    day = [round(campaign.works(hour), 6) for hour in range(24)]
    assert day[:9] == [0.0] * 9
    assert day[18:] == [0.0] * 6
    assert day[13] == pytest.approx(0.2)
    assert day[9] == day[17] == 1.0


def test_thieves_in_an_exchange_work_past_midnight(world: World) -> None:
    campaign = _campaign(world, "pbx_hacking", opens=22, closes=30)
    assert [hour for hour in range(24) if campaign.works(hour)] == [0, 1, 2, 3, 4, 5, 22, 23]


def test_hacked_exchanges_call_dear_ranges_long_and_side_by_side(world: World) -> None:
    calls = _calls(
        world, "pbx_hacking", 200.0, hours=4.0, exchanges=1, blocks=2, lines=4, block_size=50, test_share=0, answer=0.9,
        talk_s=1500,
    )  # fmt: skip
    owners = {
        number
        for trade in world.trades
        if trade.settings.origin == "fixed"
        for owner in range(-(-trade.lines // trade.settings.lines))
        for number in trade.numbers(
            np.full(4, owner), np.repeat(trade.regions(np.array([owner])), 4), np.arange(4)
        ).tolist()
    }
    assert {call.caller for call in calls} <= owners
    assert len({call.caller for call in calls}) <= 4
    assert {_class(world, call) for call in calls} == {"sub"}
    assert len({call.region for call in calls}) == 1
    assert not any(_home(call.callee) for call in calls)
    assert len({call.callee // 1000 for call in calls}) <= 2
    talks = [call.talk_s for call in calls if call.talk_s]
    assert np.median(talks) > 600
    busy = max(
        sum(other.ts <= call.ts < other.ts + other.ring_s + (other.talk_s or 0.0) for other in calls) for call in calls
    )
    assert busy > 20


def test_flash_calls_ring_for_a_moment_and_show_another_number_each(world: World) -> None:
    calls = _calls(world, "flash_call", 800.0, block=6, answer=0.0)
    assert len({call.caller for call in calls}) > 0.98 * len(calls)
    assert all(call.talk_s is None and call.cause == 16 for call in calls)
    assert np.median([call.ring_s for call in calls]) < 6
    assert len({call.callee for call in calls}) > 0.9 * len(calls)


def test_stolen_codes_are_spoken_by_an_honest_service_while_the_thief_talks(world: World) -> None:
    calls = _calls(world, "code_theft", 400.0, hours=2.0, code_call_share=1.0, mailbox_share=0.0)
    thieves: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        if call.truth.fraud:
            thieves[call.callee].append(call)
    codes = [call for call in calls if not call.truth.fraud]
    assert len(codes) > 100
    for code in codes:
        assert any(
            thief.ts + thief.ring_s < code.ts < thief.ts + thief.ring_s + (thief.talk_s or 0.0)
            for thief in thieves[code.callee]
        )
        assert code.report_after_s == 0


def test_codes_in_the_mailbox_are_fetched_with_the_victims_own_number(world: World) -> None:
    calls = _calls(world, "code_theft", 300.0, hours=2.0, mailbox_share=1.0)
    fetched = [call for call in calls if call.truth.fraud]
    spoken = {call.callee: call for call in reversed(calls) if not call.truth.fraud}
    assert len(fetched) > 100
    assert all(call.caller == call.callee and _class(world, call) == "intl" for call in fetched)
    assert all(call.ts > spoken[call.callee].ts for call in fetched)
    assert all(call.talk_s is None for call in spoken.values())


def test_the_lured_call_out_from_their_own_lines(world: World) -> None:
    calls = _calls(world, "outbound_luring", 400.0, hours=3.0, lines=3, follow_share=0.5, silent_share=0.2, delay_s=120)
    lured = [call for call in calls if _class(world, call) == "sub"]
    lures = [call for call in calls if _class(world, call) != "sub"]
    assert len(lured) > 100
    assert len({call.callee for call in lured}) == 3
    assert len({call.caller for call in lured}) > 0.95 * len(lured)
    called = {call.callee for call in lures}
    share = np.mean([call.caller in called for call in lured])
    assert 0.5 < share < 0.95  # the others were lured by a message
    mobiles = [call for call in lured if call.imsi]
    assert len(mobiles) > 0.5 * len(lured)
    assert len({call.imsi for call in mobiles}) == len({call.caller for call in mobiles})


def test_evaders_call_seldom_and_as_long_as_people_do(world: World) -> None:
    campaign = _campaign(world, "low_and_slow", calls_per_number_day=4, mimic_share=0.3)
    calls = campaign.calls(NOON, NOON + 6 * 3600, campaign.rate)
    per_number = Counter(call.caller for call in calls)
    assert np.mean(list(per_number.values())) < 4
    answered = [call.talk_s for call in calls if call.talk_s]
    assert np.median(answered) > 15
    numbers = {call.caller for call in calls}
    assert np.mean([call.callee in numbers for call in calls]) > 0.1
    assert "intl" not in {_class(world, call) for call in calls}


def test_roaming_sims_are_rightly_believed_to_roam(world: World) -> None:
    calls = _calls(world, "roaming_sims", 400.0)
    assert {_class(world, call) for call in calls} == {"intl"}
    assert all(_home(call.caller) for call in calls)
    assert np.mean([call.roaming == 1 for call in calls]) > 0.8


def test_mirrored_numbers_look_like_the_victims_own(world: World) -> None:
    for call in _calls(world, "mirror_spoof", 300.0, digits=4):
        assert call.caller // 10_000 == call.callee // 10_000


def test_a_relay_shows_honest_firms_own_numbers(world: World) -> None:
    calls = _calls(world, "pbx_relay", 300.0, exchanges=2, lines=3)
    assert len({call.caller for call in calls}) <= 6
    assert {_class(world, call) for call in calls} <= {"sub", "nat"}


def test_a_flood_is_many_numbers_on_few_victims(world: World) -> None:
    calls = _calls(world, "flood", 500.0, targets=1, calls_per_number=1)
    assert len({call.callee for call in calls}) == 1
    assert len({call.caller for call in calls}) > 0.9 * len(calls)


# ---------------------------------------------------------------------- being blocked


@pytest.mark.parametrize("kind", ["gsm_gateway", "robocall", "wangiri", "pbx_hacking", "outbound_luring"])
def test_who_adapts_takes_other_numbers_when_the_old_ones_are_spent(world: World, kind: str) -> None:
    stubborn, nimble = _campaign(world, kind, 2), _campaign(world, kind, 2, _reaction())
    for campaign in (stubborn, nimble):
        campaign.calls(NOON, NOON + 4 * 3600, 500.0)
    assert not stubborn.adapts
    assert stubborn.changes == 0
    assert nimble.changes > 50


def test_after_some_numbers_the_trunks_change_too_with_a_pause(world: World) -> None:
    quick = _reaction(numbers_per_route=2, pause_s=1)
    slow = _reaction(numbers_per_route=2, pause_s=1200)
    routes, calls = {}, {}
    for name, reaction in (("none", None), ("quick", quick), ("slow", slow)):
        made = _campaign(world, "wangiri", 5, reaction, trunks=1, callback_share=0).calls(NOON, NOON + 4 * 3600, 300.0)
        routes[name] = len({(call.trunk, call.origin) for call in made})
        calls[name] = len(made)
    assert routes["none"] == 1
    assert routes["quick"] > 5
    assert calls["slow"] < 0.7 * calls["quick"]


def test_who_is_told_waits_to_be_told(world: World) -> None:
    campaign = _campaign(world, "robocall", 2, _reaction(), heard=True, calls_per_number_hour=1000)
    before = campaign.calls(NOON, NOON + 1800, 200.0)
    assert campaign.changes == 0
    used = {call.seat: call.caller for call in before}
    for seat in used:
        campaign.stopped(seat, NOON + 1800)
    after = {call.caller for call in campaign.calls(NOON + 1800, NOON + 3600, 200.0)}
    assert campaign.changes == len(used)
    assert not after & set(used.values())


def test_a_campaign_that_does_not_adapt_goes_on(world: World) -> None:
    campaign = _campaign(world, "robocall", 2, _reaction(share=0), heard=True)
    before = {call.caller for call in campaign.calls(NOON, NOON + 1800, 200.0)}
    for seat in range(5):
        campaign.stopped(seat, NOON + 1800)
    assert {call.caller for call in campaign.calls(NOON + 1800, NOON + 3600, 200.0)} <= before
