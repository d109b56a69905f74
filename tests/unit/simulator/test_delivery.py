"""Events as they arrive: a few twice, a few late, nothing lost, and off unless asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from antifraud.settings import data_dir
from antifraud.simulator import Scenario, SimulatedEvent, find_scenario, load_scenario, simulate
from antifraud.simulator.delivery import as_delivered
from antifraud.simulator.scenario import Delivery


@pytest.fixture(scope="module")
def national() -> Scenario:
    return load_scenario(find_scenario("national", data_dir("config")))


@pytest.fixture(scope="module")
def events(national: Scenario) -> list[SimulatedEvent]:
    return list(simulate(national, 5, 5_000))


def test_some_come_twice_and_some_late_and_none_is_lost(events: list[SimulatedEvent]) -> None:
    found = list(as_delivered(events, Delivery(duplicate_share=0.05, late_share=0.1, late_s=5.0), 3))
    counts = Counter(id(item) for item in found)
    assert set(counts) == {id(item) for item in events}
    assert sum(count - 1 for count in counts.values()) == pytest.approx(0.05 * len(events), rel=0.2)
    assert max(counts.values()) == 2
    newest, late = 0.0, []
    seen: set[int] = set()
    for item in found:
        ts = item.event.ts
        if id(item) not in seen and ts < newest:
            late.append(newest - ts)
        seen.add(id(item))
        newest = max(newest, ts)
    assert 0.05 * len(events) < len(late) < 0.12 * len(events)
    assert max(late) <= 600.0


def test_nothing_changes_where_everything_arrives(events: list[SimulatedEvent]) -> None:
    assert list(as_delivered(events, Delivery(), 3)) == events


def test_the_scenario_says_how_much_and_the_seed_which(national: Scenario, events: list[SimulatedEvent]) -> None:
    arrived = list(simulate(national, 5, 5_000, as_delivered=True))
    assert arrived == list(simulate(national, 5, 5_000, as_delivered=True))
    assert arrived != events
    assert len(events) < len(arrived) < 1.01 * len(events)
    delivery = national.draw(5).delivery
    assert list(as_delivered(events, delivery, 5)) == arrived
    assert list(as_delivered(events, delivery, 6)) != arrived
