"""Each kind of campaign does what its name says."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario
from antifraud.simulator.call import Call
from antifraud.simulator.fraud import KINDS, Campaign
from antifraud.simulator.world import World

NOON = 1_767_553_200.0 + 12 * 3600


@pytest.fixture(scope="module")
def world() -> World:
    settings = load_scenario(find_scenario("national", data_dir("config"))).draw(4)
    return World(settings, 4, 50_000)


def _campaign(world: World, kind: str, seed: int = 1) -> Campaign:
    rng = np.random.Generator(np.random.PCG64(seed))
    return KINDS[kind](world, rng, world.settings.fraud.kinds[kind], "c", NOON, 1e9)


def _calls(world: World, kind: str, rate: float, hours: float = 1.0, seed: int = 1) -> list[Call]:
    return _campaign(world, kind, seed).calls(NOON, NOON + hours * 3600, rate)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_in_order_within_the_stretch_and_fraud(world: World, kind: str) -> None:
    calls = _calls(world, kind, 400.0)
    assert 200 < len(calls) < 700
    times = [call.ts for call in calls]
    assert times == sorted(times)
    assert times[0] >= NOON
    assert times[-1] < NOON + 3600
    assert {(call.truth.fraud, call.truth.scenario) for call in calls} == {(True, kind)}


def test_a_chain_is_several_new_numbers_on_one_victim(world: World) -> None:
    victims: dict[str, list[Call]] = defaultdict(list)
    for call in _calls(world, "chain", 60.0, hours=3.0):
        victims[call.callee.lstrip("+8")[-9:]].append(call)
    chains = [calls for calls in victims.values() if len(calls) >= 3]
    assert len(chains) >= 10
    for calls in chains:
        assert len({call.caller for call in calls}) == len(calls)
        for before, after in pairwise(calls):
            assert after.ts > before.ts + before.ring_s + (before.talk_s or 0.0)


def test_a_robocall_dials_one_number_after_the_other(world: World) -> None:
    callees = [int(call.callee.lstrip("+")[-9:]) for call in _calls(world, "robocall", 300.0)]
    steps = np.diff(callees)
    assert np.mean((steps >= 1) & (steps <= 2)) > 0.95


def test_wangiri_rings_briefly_and_hangs_up(world: World) -> None:
    calls = _calls(world, "wangiri", 400.0)
    assert np.mean([call.talk_s is None for call in calls]) > 0.9
    assert np.median([call.ring_s for call in calls]) < 5
    assert all(call.trunk.startswith("intl-") for call in calls)


def test_a_gateway_is_a_rack_of_sims(world: World) -> None:
    campaign = _campaign(world, "gsm_gateway")
    calls = campaign.calls(NOON, NOON + 3600, 600.0)
    numbers = {call.caller.lstrip("+8")[-9:] for call in calls}
    assert len(numbers) <= campaign.crew("calls_per_sim_hour")
    assert not any(call.trunk.startswith("intl-") for call in calls)
    assert all(call.imsi for call in calls if call.trunk.startswith("sub-"))


def test_a_call_centre_rotates_home_numbers_from_abroad(world: World) -> None:
    calls = _calls(world, "call_centre", 1000.0)
    assert all(call.trunk.startswith("intl-") for call in calls)
    assert len({call.caller for call in calls}) > 20
    home = [call for call in calls if call.caller.lstrip("+").startswith("77")]
    assert len(home) > 0.3 * len(calls)
    assert sum(call.roaming is True for call in home) < 0.15 * len(home)


def test_a_scanner_tries_prefixes_and_is_never_answered(world: World) -> None:
    calls = _calls(world, "sip_scanner", 400.0)
    assert all(call.talk_s is None for call in calls)
    assert len({call.callee for call in calls}) > 3
    assert all(call.caller.isdigit() and len(call.caller) <= 4 for call in calls)


def test_call_centres_sleep_and_have_lunch(world: World) -> None:
    campaign = _campaign(world, "call_centre")
    day = [campaign.works(hour) for hour in range(24)]
    assert day[3] == 0.0
    assert day[23] == 0.0
    assert max(day) == 1.0


def test_a_campaign_uses_trunks_and_peers_that_honest_callers_use_too(world: World) -> None:
    peers = {(trunk.name, origin.user_agent, origin.fingerprint) for trunk in world.trunks for origin in trunk.origins}
    for kind in KINDS:
        if kind == "sip_scanner":
            continue
        for call in _calls(world, kind, 100.0):
            assert (call.trunk, call.user_agent, call.fingerprint) in peers
