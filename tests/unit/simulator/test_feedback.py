"""Campaigns that are told which of their calls were stopped."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from antifraud.domain import EventKind
from antifraud.settings import data_dir
from antifraud.simulator import Scenario, SimulatedEvent, load_scenario, simulate

RATE = 20.0
CALLS = 12_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Gateways only, all of which react, with long lives where nobody blocks them."""
    folder = tmp_path_factory.mktemp("scenarios")
    base = (data_dir("config") / "scenarios" / "national.yaml").read_text(encoding="utf-8")
    (folder / "national.yaml").write_text(base, encoding="utf-8")
    kinds = sorted(set(load_scenario(folder / "national.yaml").draw(1).fraud.kinds) - {"gsm_gateway"})
    (folder / "gateways.yaml").write_text(
        "extends: national\nname: gateways\nfraud:\n  share: 0.05\n  concurrent: 2\n"
        "  adaptive: {share: 1, calls_per_number: 100000, stops_per_number: 1, numbers_per_route: 1000, pause_s: 1}\n"
        "  kinds:\n    gsm_gateway: {hours: 48, opens: 0, closes: 24}\n"
        + "".join(f"    {kind}: null\n" for kind in kinds),
        encoding="utf-8",
    )
    return load_scenario(folder / "gateways.yaml")


class Blocker:
    """Stops every fraud call it sees; tells once what it stopped."""

    def __init__(self) -> None:
        self._new: list[str] = []
        self.asked = 0

    def see(self, item: SimulatedEvent) -> None:
        if item.truth.fraud and item.event.kind is EventKind.SETUP:
            self._new.append(item.event.call_id)

    def __call__(self) -> Iterable[str]:
        self.asked += 1
        told, self._new = self._new, []
        return told


def _numbers(scenario: Scenario, blocker: Blocker, *, tell: bool = True) -> tuple[set[str], list[SimulatedEvent]]:
    """What fraud called from, and all events."""
    found, events = set(), []
    for item in simulate(scenario, 4, CALLS, rate=RATE, stopped=blocker):
        events.append(item)
        if tell:
            blocker.see(item)
        if item.truth.fraud and item.event.kind is EventKind.SETUP:
            found.add(item.event.caller_raw[-9:])
    return found, events


def test_the_blocked_take_other_numbers(scenario: Scenario) -> None:
    blocked, _events = _numbers(scenario, Blocker())
    at_peace, _others = _numbers(scenario, Blocker(), tell=False)
    assert len(blocked) > 1.5 * len(at_peace)


def test_they_hear_of_it_within_a_minute_and_events_stay_in_order(scenario: Scenario) -> None:
    blocker = Blocker()
    events = _numbers(scenario, blocker)[1]
    assert blocker.asked >= CALLS / RATE / 60
    times = [item.event.ts for item in events]
    assert times == sorted(times)
    assert sum(item.event.kind is EventKind.SETUP for item in events) == CALLS


def test_the_same_verdicts_make_the_same_calls(scenario: Scenario) -> None:
    assert _numbers(scenario, Blocker())[1] == _numbers(scenario, Blocker())[1]


def test_ids_that_mean_nothing_are_passed_over(scenario: Scenario) -> None:
    quiet = list(simulate(scenario, 4, 2_000, rate=RATE, stopped=list))
    assert list(simulate(scenario, 4, 2_000, rate=RATE, stopped=lambda: ["0", "nobody", ""])) == quiet
