"""What honest people and organisations do beyond calling somebody: returning calls, holidays, new SIM cards."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from antifraud.domain import EventKind
from antifraud.settings import data_dir
from antifraud.simulator import DEFAULT_START, CallColumns, Scenario, find_scenario, load_scenario, simulate
from antifraud.simulator.columns import merged
from antifraud.simulator.plan import home
from antifraud.simulator.stream import simulate_columns
from antifraud.simulator.world import World

DAY = 86_400.0
NEW_YEAR = 1_767_207_600.0  # 2026-01-01 00:00 at UTC+5, a Thursday and a holiday


@pytest.fixture(scope="module")
def national() -> Scenario:
    return load_scenario(find_scenario("national", data_dir("config")))


def _changed(tmp_path: Path, text: str) -> Scenario:
    """The national scenario with what ``text`` says instead."""
    base = (data_dir("config") / "scenarios" / "national.yaml").read_text(encoding="utf-8")
    (tmp_path / "national.yaml").write_text(base, encoding="utf-8")
    path = tmp_path / "changed.yaml"
    path.write_text(f"extends: national\nname: changed\n{text}", encoding="utf-8")
    return load_scenario(path)


def _all(scenario: Scenario, seed: int, calls: int, start: float = DEFAULT_START, **span: float) -> CallColumns:
    return merged(*simulate_columns(scenario, seed, calls, start, **span))


def _of(columns: CallColumns, *scenarios: str) -> np.ndarray:
    return np.isin(np.array([truth.scenario for truth in columns.truths])[columns.truth], scenarios)


def test_who_missed_a_call_calls_back_later(national: Scenario) -> None:
    columns = _all(national, 3, 60_000)
    back = np.flatnonzero(_of(columns, "callback"))
    assert 0.02 < len(back) / len(columns) < 0.2
    missed: dict[tuple[int, int], list[float]] = defaultdict(list)
    for index in np.flatnonzero(np.isnan(columns.talk)).tolist():
        end = float(columns.ts[index] + columns.ring[index])
        missed[int(columns.caller[index]), int(columns.callee[index])].append(end)
    found = 0
    for index in back.tolist():
        ends = missed.get((int(columns.callee[index]), int(columns.caller[index])), [])
        found += any(end <= columns.ts[index] + 1.0 for end in ends)
    assert found > 0.98 * len(back)
    assert not columns.fraud[back].any()


def test_some_call_back_a_number_that_fraud_had_borrowed(tmp_path: Path) -> None:
    scenario = _changed(
        tmp_path,
        "persons: {callback_share: 0.9, callback_delay_s: 60}\nfraud: {share: 0.2}\n",
    )
    columns = _all(scenario, 3, 30_000)
    shown = {int(number) for number in columns.caller[columns.fraud & home(columns.caller)]}
    back = columns.callee[_of(columns, "callback")]
    assert sum(int(number) in shown for number in back) > 20


def test_calls_abroad_are_returned_too(national: Scenario) -> None:
    columns = _all(national, 4, 100_000)
    back = _of(columns, "callback")
    assert (~home(columns.callee[back]) & (columns.callee[back] > 10_000_000)).sum() > 20


def test_what_is_not_answered_is_tried_again(tmp_path: Path) -> None:
    never = _changed(tmp_path, "persons: {redial_share: 0}\norganisations: {dialler: {redial_share: 0}}\n")
    often = _changed(tmp_path, "persons: {redial_share: 0.5, redial_delay_s: 60}\n")

    def again(scenario: Scenario) -> float:
        columns = _all(scenario, 5, 30_000)
        some = np.flatnonzero(_of(columns, "person"))
        pairs = columns.caller[some] * 100_003 + columns.callee[some]
        order = np.lexsort((columns.ts[some], pairs))
        same = np.diff(pairs[order]) == 0
        soon = np.diff(columns.ts[some][order]) < 600
        return float((same & soon).mean())

    assert again(often) > 0.05
    assert again(never) < 0.01


def test_calls_that_follow_do_not_begin_together(tmp_path: Path) -> None:
    scenario = _changed(tmp_path, "persons: {callback_share: 0.6, callback_delay_s: 60, redial_share: 0.3}\n")
    columns = _all(scenario, 1, 3_000)
    _times, counts = np.unique(columns.ts, return_counts=True)
    assert counts.max() == 1
    assert len(columns) == 3_000


def test_a_holiday_is_a_day_of_its_own(tmp_path: Path) -> None:
    quiet = _changed(tmp_path, "rhythm: {holiday: 0.2, weekend: 1.0}\n")
    none = _changed(tmp_path, "rhythm: {holiday: null, weekend: 1.0}\n")
    hourly = {
        name: np.histogram(_all(scenario, 2, 20_000, NEW_YEAR, days=8.0).ts, 8, (NEW_YEAR, NEW_YEAR + 8 * DAY))[0]
        for name, scenario in (("quiet", quiet), ("none", none))
    }
    # 1, 2 and 7 January are holidays; 5 and 6 January a Monday and a Tuesday.
    assert hourly["quiet"][[0, 1, 6]].max() < 0.5 * hourly["quiet"][[4, 5]].min()
    assert hourly["none"][[0, 1, 6]].min() > 0.5 * hourly["none"][[4, 5]].max()
    offices = [
        int(_of(columns, "school", "office", "government").sum())
        for columns in (
            _all(none, 2, 20_000, NEW_YEAR + 4 * DAY, days=1.0), _all(quiet, 2, 20_000, NEW_YEAR, days=1.0)
        )
    ]  # fmt: skip
    assert offices[1] < offices[0]


def test_organisations_are_other_ones_in_another_country(national: Scenario) -> None:
    numbers = []
    for seed in (1, 2):
        world = World(national.draw(seed), seed, 500_000)
        owners, found = np.arange(20), set()
        for trade in world.trades:
            if trade.settings.origin != "short":
                found |= set(trade.numbers(owners, trade.regions(owners), owners * 0).tolist())
        numbers.append(found)
    assert len(numbers[0]) > 250
    assert len(numbers[0] & numbers[1]) < 5


def test_a_number_keeps_its_operator_unless_it_is_ported(national: Scenario) -> None:
    settings = national.draw(1)
    world = World(settings, 1, 200_000)
    people = np.flatnonzero(world.mobile(np.arange(world.size)))
    numbers = world.number(people)
    day = int(DEFAULT_START // DAY)
    network = world.imsi(people, numbers, day) // 10_000_000_000 % 100
    prefix = numbers // 10_000_000 % 1000
    assert set(network[prefix == 701].tolist()) <= {1, 2, 77}
    assert np.mean(network[prefix == 701] != 2) == pytest.approx(settings.population.ported_share, abs=0.01)
    # Some leave their operator and some come back while the days go by.
    later = world.imsi(people, numbers, day + 60) // 10_000_000_000 % 100
    moved = np.mean(later != network)
    assert 0.0 < moved < 0.02


def test_sim_cards_and_handsets_are_replaced_and_some_handsets_hold_two(national: Scenario) -> None:
    settings = national.draw(1)
    world = World(settings, 1, 200_000)
    people = np.flatnonzero(world.mobile(np.arange(world.size)))
    numbers, day = world.number(people), int(DEFAULT_START // DAY)
    before, after = (world.imsi(people, numbers, when) for when in (day, day + 30))
    assert np.mean(before != after) == pytest.approx(30 / settings.population.sim_days, rel=0.4)
    first, second = (world.imei(people, when) for when in (day, day + 30))
    assert np.mean(first != second) == pytest.approx(30 / settings.population.handset_days, rel=0.3)
    assert len(np.unique(before)) > len(people) - 10  # a few of so many draws meet
    together = len(people) - len(np.unique(first))
    assert together / (len(people) / 2) == pytest.approx(settings.population.dual_sim_share, abs=0.08)


def test_diallers_drop_some_answered_calls_at_once(tmp_path: Path) -> None:
    dialler = "{share: 0.2, abandoned_share: 0.3, talk_s: 60, talk_sigma: 0.3}"
    columns = _all(_changed(tmp_path, f"organisations: {{dialler: {dialler}}}\n"), 1, 20_000)
    talk = columns.talk[_of(columns, "dialler")]
    talk = talk[~np.isnan(talk)]
    assert np.mean(talk <= 3.0) == pytest.approx(0.3, abs=0.05)


def test_firms_with_partners_abroad_call_there(national: Scenario) -> None:
    columns = _all(national, 1, 60_000)
    some = _of(columns, "exporter")
    assert some.sum() > 20
    assert not home(columns.callee[some]).any()
    assert all(columns.trunks[index].name.startswith("sub-") for index in columns.trunk[some].tolist())


def test_a_firm_knows_some_people_in_the_exchange_of_a_partner_abroad(national: Scenario) -> None:
    """Otherwise several numbers called in one block abroad would be the sign of a break-in, and nothing else."""
    numbers: dict[int, set[int]] = defaultdict(set)
    for seed in range(4):
        columns = _all(national, seed, 60_000)
        for callee in columns.callee[_of(columns, "exporter")].tolist():
            numbers[callee // 100].add(callee)
    sizes = np.array([len(known) for known in numbers.values()])
    assert len(sizes) > 50
    assert np.mean(sizes > 1) > 0.2
    assert 5 <= sizes.max() <= 12


def test_an_office_with_mobile_lines_stays_where_it_is_and_a_courier_drives_about(tmp_path: Path) -> None:
    """Otherwise a card that never moves would be the sign of a gateway, and nothing else."""
    scenario = _changed(tmp_path, "organisations: {collector_mobile: {share: 0.2}}\n")
    cells: dict[tuple[int, bool], set[int]] = defaultdict(set)
    calls: dict[tuple[int, bool], int] = defaultdict(int)
    for seed in range(2):
        columns = _all(scenario, seed, 60_000)
        for trade, still in (("collector_mobile", True), ("courier", False)):
            for index in np.flatnonzero(_of(columns, trade) & (columns.cell > 0)).tolist():
                # An office has a few lines next to each other; most of their calls are heard elsewhere, without a cell.
                key = int(columns.caller[index]) // (100 if still else 1), still
                cells[key].add(int(columns.cell[index]))
                calls[key] += 1
    busy = [key for key, count in calls.items() if count >= (3 if key[1] else 15)]
    office = [len(cells[key]) for key in busy if key[1]]
    road = [len(cells[key]) for key in busy if not key[1]]
    assert len(office) >= 5
    assert max(office) <= 2
    assert len(road) >= 20
    assert 5 <= np.median(road) <= 30
    assert max(max(found) for found in cells.values()) <= 900


def test_some_complaints_name_another_call(tmp_path: Path) -> None:
    scenario = _changed(
        tmp_path, "reports: {fraud_share: 0.5, wrong_share: 0, misdirected_share: 0.4}\nfraud: {share: 0.1}\n"
    )
    columns = _all(scenario, 1, 30_000)
    complained = columns.report > 0
    assert complained.sum() > 200
    assert np.mean(~columns.fraud[complained]) == pytest.approx(0.4, abs=0.08)


def test_complaints_are_sparse_late_and_partly_wrong(national: Scenario) -> None:
    answered = complaints = wrong = 0
    delays: list[float] = []
    for seed in range(6):
        for columns in simulate_columns(national, seed, 60_000):
            answered += int((columns.fraud & ~np.isnan(columns.talk)).sum())
            complaints += int((columns.report > 0).sum())
            wrong += int(((columns.report > 0) & ~columns.fraud).sum())
            delays += columns.report[columns.report > 0].tolist()
    assert 0.008 < (complaints - wrong) / answered < 0.04
    assert wrong > 0
    assert np.median(delays) > 600


def test_columns_are_the_calls_that_the_events_are_of(national: Scenario) -> None:
    columns = _all(national, 9, 4_000)
    setups = [item for item in simulate(national, 9, 4_000) if item.event.kind is EventKind.SETUP]
    assert [item.event.ts for item in setups] == columns.ts.tolist()
    assert [int(item.event.call_id, 16) for item in setups] == columns.ids.tolist()
    assert [item.event.caller_raw for item in setups] == columns.callers()
    assert [item.event.callee_raw for item in setups] == columns.callees()
    assert [item.truth for item in setups] == [columns.truths[index] for index in columns.truth.tolist()]
    assert [item.event.switch for item in setups] == [columns.switches[index] for index in columns.region.tolist()]
    releases = {item.event.call_id: item.event for item in simulate(national, 9, 4_000) if item.event.cause is not None}
    rings = [releases[item.event.call_id].ring_s for item in setups]
    assert rings == columns.ring.tolist()
