"""The stream: chunks of honest and fraudulent calls, merged, named, and handed out as columns or event by event.

Memory is bounded by one chunk, the calls in progress, the calls to be returned or tried again, and the few complaints
still to come. The same scenario, seed, start and volume give the same calls, whatever the process or machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from antifraud.domain import UsageError
from antifraud.settings.directories import data_dir
from antifraud.simulator.call import Call, SimulatedEvent
from antifraud.simulator.columns import CallColumns, columns_of, events_of, merged
from antifraud.simulator.delay import post_dial_delays
from antifraud.simulator.delivery import as_delivered as delivered
from antifraud.simulator.fraud import FraudTraffic
from antifraud.simulator.holidays import holidays_of
from antifraud.simulator.honest import HonestTraffic
from antifraud.simulator.plan import home, mix
from antifraud.simulator.scenario import Scenario, Settings, find_scenario, load_scenario
from antifraud.simulator.world import World

DEFAULT_START: Final = 1_767_553_200.0
"""Monday, 2026-01-05 00:00 at UTC+5."""

Stopped = Callable[[], Iterable[str]]
"""Says which calls (by call id) have been stopped since it was asked before."""

_CHUNK_CALLS: Final = 8192
_CHUNK_S: Final = 3600.0
_HEARD_CHUNK_S: Final = 60.0
"""Where somebody says what was stopped, campaigns must hear of it soon."""

_NOTICED_RING_S: Final = 3.0
_MOST_SUBSCRIBERS: Final = 20_000_000
_FEWEST_SUBSCRIBERS: Final = 2_000
_DAY: Final = 86_400.0


class _Run(msgspec.Struct, frozen=True):
    """What to simulate: all arguments checked and the scenario drawn."""

    settings: Settings
    seed: int
    calls: int
    start: float
    span: float
    people: int


def simulate(
    scenario: Scenario | str,
    seed: int,
    calls: int,
    start_ts: float = DEFAULT_START,
    rate: float | None = None,
    *,
    days: float | None = None,
    stopped: Stopped | None = None,
    as_delivered: bool = False,
) -> Iterator[SimulatedEvent]:
    """``calls`` calls from ``start_ts`` on as events in order of time, each with the truth about its call.

    ``scenario`` may be the name of one in the configuration directory.
    ``rate`` is calls per second on average, ``days`` the time over which they are spread; with neither it is one
    day, or as long as the scenario's own number of subscribers needs.

    ``stopped`` closes the loop: it is asked about once a simulated minute for the ids of calls that were stopped, and
    campaigns that adapt give up the numbers and trunks they lose. (A stopped call still has its answer and release
    here; who stops it drops them.) Without it such campaigns take their numbers to be blocked after a while.

    ``as_delivered`` hands the events out as they reach a log: a few twice, a few late, by the scenario's ``delivery``.

    Raises UsageError for arguments that cannot be meant and ConfigError for a scenario that cannot.
    """
    run = _checked(scenario, seed, calls, start_ts, rate, days)
    events = _events(run, stopped)
    return delivered(events, run.settings.delivery, seed) if as_delivered else events


def simulate_columns(
    scenario: Scenario | str,
    seed: int,
    calls: int,
    start_ts: float = DEFAULT_START,
    rate: float | None = None,
    *,
    days: float | None = None,
) -> Iterator[CallColumns]:
    """The same calls as ``simulate``, in order of their setups, as numpy columns: some thousands at a time.

    No text is written and no event built, which is most of the work. Raises what ``simulate`` raises.
    """
    return (columns for columns, _end in _chunks(_checked(scenario, seed, calls, start_ts, rate, days), None))


def _checked(
    scenario: Scenario | str, seed: int, calls: int, start: float, rate: float | None, days: float | None
) -> _Run:
    if calls < 1:
        raise UsageError(f"cannot simulate {calls} calls", hint="--calls takes 1 or more")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative", hint="--seed takes 0 or more")
    if rate is not None and not (np.isfinite(rate) and rate > 0):
        raise UsageError(f"{rate} calls per second is no rate", hint="--calls-per-second takes a number above 0")
    if days is not None and not (np.isfinite(days) and days > 0):
        raise UsageError(f"{days} days is no span of time", hint="--days takes a number above 0")
    if rate is not None and days is not None:
        raise UsageError("days and calls per second together say the number of calls twice", hint="give one of them")
    if isinstance(scenario, str):
        scenario = load_scenario(find_scenario(scenario, data_dir("config")))
    settings = scenario.draw(seed)
    span = _span(settings, calls, rate, days)
    people = settings.population.subscribers or round(calls / span * _DAY / settings.population.calls_per_day)
    people = min(max(people, _FEWEST_SUBSCRIBERS), _MOST_SUBSCRIBERS)
    return _Run(settings, seed, calls, start, span, people)


def _span(settings: Settings, calls: int, rate: float | None, days: float | None) -> float:
    if rate is not None:
        return calls / rate
    if days is not None:
        return days * _DAY
    people = settings.population
    return calls / (people.subscribers * people.calls_per_day) * _DAY if people.subscribers else _DAY


def _events(run: _Run, stopped: Stopped | None) -> Iterator[SimulatedEvent]:
    # Events of calls that outlast their chunk wait here, in order of time.
    waiting: list[SimulatedEvent] = []
    waiting_at = np.zeros(0)
    for columns, end in _chunks(run, stopped):
        at, events = events_of(columns)
        events = waiting + events
        at = np.concatenate([waiting_at, at])
        order = np.argsort(at, kind="stable")
        at = at[order]
        cut = int(np.searchsorted(at, end))
        places = order.tolist()
        for place in places[:cut]:
            yield events[place]
        waiting, waiting_at = [events[place] for place in places[cut:]], at[cut:]
    yield from waiting


def _chunks(run: _Run, stopped: Stopped | None) -> Iterator[tuple[CallColumns, float]]:
    """The calls of one stretch of time after the other, and where each ends (epoch seconds)."""
    settings, seed, start = run.settings, run.seed, run.start
    volume = run.calls / run.span
    world = World(settings, seed, run.people, volume)
    honest = HonestTraffic(world, volume, seed)
    fraud = FraudTraffic(world, seed, start, volume, heard=stopped is not None)
    days_off = holidays_of(settings)
    identity = np.random.SeedSequence([seed, int(start * 1000), 0x1D]).generate_state(1, np.uint64)[0]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(start * 1000), 0xCA11])))
    edges = _edges(start, run.span, volume, settings.utc_offset_min, _CHUNK_S if stopped is None else _HEARD_CHUNK_S)
    days = [int((edge + settings.utc_offset_min * 60) // _DAY) for edge in edges[:-1]]
    hours = [_hour_of_week(edge, settings.utc_offset_min) for edge in edges[:-1]]
    weights = [honest.weights(hour, day in days_off) for hour, day in zip(hours, days, strict=True)]
    mass = np.array([row.sum() for row in weights]) * np.diff(edges)
    # A span that lies in quiet hours only is filled all the same: the calls asked for are made.
    left_mass, left_calls, made = float(mass.sum()), run.calls, 0
    for index, hour in enumerate(hours):
        low, high = float(edges[index]), float(edges[index + 1])
        last = index == len(hours) - 1
        share = 1.0 if last or left_mass <= 0 else min(1.0, float(mass[index]) / left_mass)
        count = int(rng.binomial(left_calls, share))
        left_mass -= float(mass[index])
        left_calls -= count
        if stopped is not None:
            fraud.stopped(stopped(), low)
        bad = fraud.calls(low, high, hour % 24)[:count]
        columns = honest.calls(rng, low, high, count - len(bad), weights[index], days[index])
        if bad:
            theirs = columns_of(world, bad)
            _call_back(honest, rng, world, bad, days[index])
            columns = merged(columns, theirs)
            _mistake(columns, rng, settings.reports.misdirected_share)
        numbers = np.arange(made, made + count, dtype=np.int64)
        columns.ids = mix(numbers, int(identity))
        columns.pdd = post_dial_delays(
            world.from_abroad(columns.trunk), columns.callee, columns.ring, numbers, int(identity)
        )
        made += count
        if stopped is not None and bad:
            _remember(fraud, columns, bad)
        if count:
            yield columns, high


def _call_back(honest: HonestTraffic, rng: np.random.Generator, world: World, bad: list[Call], day: int) -> None:
    """People who missed a call that showed a borrowed home number may call its honest owner."""
    missed = [
        call
        for call in bad
        if call.talk_s is None and call.victim >= 0 and call.ring_s >= _NOTICED_RING_S and call.truth.fraud
    ]
    if not missed:
        return
    numbers = np.array([call.caller for call in missed], dtype=np.int64)
    trunks = np.array([call.trunk for call in missed], dtype=np.int64)
    some = np.flatnonzero(home(numbers) & world.from_abroad(trunks))
    if len(some):
        ends = np.array([call.ts + call.ring_s for call in missed])
        people = np.array([call.victim for call in missed], dtype=np.int64)
        honest.missed(rng, ends[some], people[some], numbers[some], day)


def _mistake(columns: CallColumns, rng: np.random.Generator, share: float) -> None:
    """Some who complain about fraud name another call of these minutes instead."""
    if share <= 0:
        return
    complained = np.flatnonzero(columns.fraud & (columns.report > 0))
    wrong = complained[rng.random(len(complained)) < share]
    others = np.flatnonzero(~columns.fraud & ~np.isnan(columns.talk) & (columns.report == 0))
    if len(wrong) and len(others) >= len(wrong):
        named = rng.choice(others, len(wrong), replace=False)
        columns.report[named], columns.report[wrong] = columns.report[wrong], 0.0


def _remember(fraud: FraudTraffic, columns: CallColumns, bad: list[Call]) -> None:
    # The merge was stable and put the campaigns' truths last: theirs are in their own order.
    theirs = columns.truth >= len(columns.truths) - len({call.truth for call in bad})
    fraud.remember(bad, [f"{number:016x}" for number in columns.ids[theirs].tolist()])


def _edges(start: float, span: float, volume: float, offset_min: int, longest: float) -> list[float]:
    """The ends of the chunks: small enough in calls and in time, and none across a full hour."""
    step = min(longest, max(1e-3, _CHUNK_CALLS / volume))
    end = start + span
    edges = [start]
    while edges[-1] < end:
        now = edges[-1]
        next_hour = (np.floor((now + offset_min * 60) / 3600) + 1) * 3600 - offset_min * 60
        edge = min(now + step, float(next_hour), end)
        edges.append(edge if edge > now else end)
    return edges


def _hour_of_week(ts: float, offset_min: int) -> int:
    local = ts + offset_min * 60
    return int((local // 86_400 + 3) % 7) * 24 + int(local % 86_400 // 3600)
