"""The stream of events: exact, ordered, reproducible, lazy, and shaped like what a switch sends."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter, defaultdict

import phonenumbers
import pytest

from antifraud.domain import CallEvent, EventKind, UsageError, check_event
from antifraud.settings import data_dir
from antifraud.simulator import (
    DEFAULT_START,
    Scenario,
    SimulatedEvent,
    find_scenario,
    load_scenario,
    simulate,
    simulate_columns,
)

CALLS = 20_000


@pytest.fixture(scope="module")
def national() -> Scenario:
    return load_scenario(find_scenario("national", data_dir("config")))


@pytest.fixture(scope="module")
def day(national: Scenario) -> list[SimulatedEvent]:
    return list(simulate(national, 11, CALLS))


@pytest.fixture(scope="module")
def setups(day: list[SimulatedEvent]) -> list[SimulatedEvent]:
    return [item for item in day if item.event.kind is EventKind.SETUP]


def test_makes_exactly_the_calls_asked_for_in_order_of_time(
    day: list[SimulatedEvent], setups: list[SimulatedEvent]
) -> None:
    assert len(setups) == CALLS
    times = [item.event.ts for item in day]
    assert times == sorted(times)
    assert times[0] >= DEFAULT_START
    assert setups[-1].event.ts < DEFAULT_START + 86_400


def test_every_event_passes_the_gate_and_names_no_normalised_number(day: list[SimulatedEvent]) -> None:
    for item in day:
        assert check_event(item.event) is item.event
        assert not item.event.caller
        assert not item.event.callee
        assert not item.event.reply


def test_every_call_runs_setup_answer_release(day: list[SimulatedEvent]) -> None:
    calls: dict[str, list[CallEvent]] = defaultdict(list)
    for item in day:
        calls[item.event.call_id].append(item.event)
    assert len(calls) == CALLS
    for events in calls.values():
        kinds = [event.kind for event in events if event.kind is not EventKind.REPORT]
        assert kinds in ([EventKind.SETUP, EventKind.RELEASE], [EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE])
        release = next(event for event in events if event.kind is EventKind.RELEASE)
        assert release.cause is not None
        assert release.ring_s is not None
        assert release.talk_s is not None
        assert release.pdd_s is not None
        assert 0 < release.pdd_s <= release.ring_s
        assert all(event.pdd_s is None for event in events if event.kind is not EventKind.RELEASE)
        assert (release.talk_s > 0) == (len(kinds) == 3)
        assert release.ts == pytest.approx(events[0].ts + release.ring_s + release.talk_s, abs=0.002)
        assert len({(event.caller_raw, event.callee_raw, event.trunk, event.switch) for event in events}) == 1


def test_reports_come_after_their_call_late_and_sparse(national: Scenario) -> None:
    ends: dict[str, float] = {}
    reports = 0
    for item in simulate(national, 3, 60_000):
        if item.event.kind is EventKind.RELEASE:
            ends[item.event.call_id] = item.event.ts
        elif item.event.kind is EventKind.REPORT:
            reports += 1
            assert item.event.ts > ends[item.event.call_id]
            assert item.event.label == "fraud"
    assert 0 < reports < 100


def test_the_shape_of_what_a_switch_sends(setups: list[SimulatedEvent]) -> None:
    events = [item.event for item in setups]
    assert len({event.switch for event in events}) == 20
    assert {event.switch[:6] for event in events} == {"sw-kz-"}
    assert {event.trunk.split("-")[0] for event in events} == {"intl", "nat", "sub"}
    forms = Counter(event.caller_raw[:2] for event in events)
    assert min(forms["+7"], forms["77"], forms["87"]) > 100
    emergency = [event for event in events if event.callee_raw in {"112", "101", "102", "103"}]
    assert emergency
    mobiles = [event for event in events if event.imsi]
    assert len(mobiles) > 0.2 * CALLS
    assert all(event.imsi.startswith("401") and len(event.imsi) == 15 and len(event.imei) == 15 for event in mobiles)
    assert any(event.privacy for event in events)
    assert any(event.diversion for event in events)


def test_roamers_are_nearly_all_recognised(national: Scenario) -> None:
    seen: Counter[bool | None] = Counter(
        item.event.roaming
        for item in simulate(national, 5, 60_000)
        if item.truth.scenario == "roamer" and item.event.kind is EventKind.SETUP
    )
    total = sum(seen.values())
    assert seen[True] > 0.9 * total
    assert 0 < seen[None] < 0.1 * total


def test_numbers_are_valid_whoever_calls(setups: list[SimulatedEvent]) -> None:
    wrong = Counter[str]()
    sample = [item for item in setups if item.truth.scenario not in {"sip_scanner", "government"}][:4000]
    for item in sample:
        raw = item.event.caller_raw
        if raw == "anonymous":
            continue
        number = f"+7{raw[1:]}" if raw.startswith("87") and len(raw) == 11 else f"+{raw.lstrip('+')}"
        if not phonenumbers.is_valid_number(phonenumbers.parse(number)):
            wrong[item.truth.scenario] += 1
    assert sum(wrong.values()) < 0.03 * len(sample), wrong


def test_fraud_has_its_share_and_all_kinds(national: Scenario) -> None:
    shares = []
    kinds: Counter[str] = Counter()
    for seed in range(8):
        fraud = 0
        for columns in simulate_columns(national, seed, 20_000):
            truths = [columns.truths[index] for index in columns.truth.tolist()]
            assert columns.fraud.tolist() == [truth.fraud for truth in truths]
            assert all(bool(truth.campaign) == truth.fraud for truth in truths)
            kinds.update(truth.scenario for truth in truths if truth.fraud)
            fraud += int(columns.fraud.sum())
        shares.append(fraud / 20_000)
    assert 0.003 < sum(shares) / len(shares) < 0.04
    assert set(kinds) == {*national.draw(1).fraud.kinds, "wangiri_callback"}


def test_people_call_the_same_people_again(setups: list[SimulatedEvent]) -> None:
    pairs = Counter(
        tuple(sorted((item.event.caller_raw[-9:], item.event.callee_raw[-9:])))
        for item in setups
        if item.truth.scenario == "person"
    )
    again = sum(count for count in pairs.values() if count > 1)
    assert again > 0.2 * pairs.total()


def test_night_is_quiet(setups: list[SimulatedEvent]) -> None:
    hours = Counter(int((item.event.ts - DEFAULT_START) // 3600) for item in setups if item.truth.scenario == "person")
    assert sum(hours[hour] for hour in (2, 3, 4)) * 5 < sum(hours[hour] for hour in (18, 19, 20))


def test_the_rate_decides_the_span(national: Scenario) -> None:
    events = list(simulate(national, 1, 3000, DEFAULT_START + 36_000, 50.0))
    setups = [item.event.ts for item in events if item.event.kind is EventKind.SETUP]
    assert setups[-1] - setups[0] == pytest.approx(60.0, rel=0.05)


def test_the_same_seed_has_the_same_people_later_but_other_calls() -> None:
    first = [item.event for item in simulate("demo", 2, 3000, DEFAULT_START, 60.0)]
    later = [item.event for item in simulate("demo", 2, 3000, DEFAULT_START + 86_400, 60.0)]
    assert not {event.call_id for event in first} & {event.call_id for event in later}
    trunks = {event.trunk: event.src_ip for event in first if event.src_ip}
    assert {event.trunk for event in later} <= set(trunks) | {event.trunk for event in first}
    assert {event.caller_raw[-7:] for event in first} & {event.caller_raw[-7:] for event in later}


def test_the_demonstration_has_every_kind_within_a_minute() -> None:
    kinds = {
        item.truth.scenario
        for item in simulate("demo", 4, 4000, DEFAULT_START, 60.0)
        if item.truth.fraud and item.event.kind is EventKind.SETUP
    }
    assert kinds == {"call_centre", "gsm_gateway", "chain", "robocall", "wangiri", "sip_scanner"}


def test_ten_million_calls_begin_at_once(national: Scenario) -> None:
    first = list(itertools.islice(simulate(national, 1, 10_000_000), 100))
    assert len(first) == 100


def test_the_same_bits_in_another_process_with_another_hash_seed(tmp_path: object) -> None:
    program = (
        "import hashlib, msgspec\n"
        "from antifraud.simulator import simulate\n"
        "h = hashlib.sha256()\n"
        "for item in simulate('national', 9, 3000): h.update(msgspec.json.encode(item))\n"
        "print(h.hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(found) == 1


def test_another_seed_gives_another_country(national: Scenario) -> None:
    def digest(seed: int) -> str:
        text = "".join(f"{item.event.ts}{item.event.caller_raw}" for item in simulate(national, seed, 500))
        return hashlib.sha256(text.encode()).hexdigest()

    assert digest(1) != digest(2)


@pytest.mark.parametrize(
    ("seed", "calls", "rate", "days"),
    [
        (1, 0, None, None), (-1, 5, None, None), (1, 5, 0.0, None), (1, 5, float("nan"), None), (1, 5, None, -1.0),
        (1, 5, 1.0, 1.0), (1, 5, float("inf"), None),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    national: Scenario, seed: int, calls: int, rate: float | None, days: float | None
) -> None:
    with pytest.raises(UsageError):
        simulate(national, seed, calls, DEFAULT_START, rate, days=days)
