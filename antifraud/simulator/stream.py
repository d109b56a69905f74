"""The stream: chunks of honest and fraudulent calls, merged, named, and handed out event by event in order of time.

Memory is bounded by one chunk and the calls in progress (and the few complaints still to come). The same scenario,
seed, start and volume give the same events, whatever the process or machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from antifraud.domain import UsageError
from antifraud.settings.directories import data_dir
from antifraud.simulator.call import SimulatedEvent, events_of
from antifraud.simulator.delay import post_dial_delays
from antifraud.simulator.fraud import FraudTraffic
from antifraud.simulator.honest import HonestTraffic
from antifraud.simulator.scenario import Scenario, Settings, find_scenario, load_scenario
from antifraud.simulator.world import World, mix

DEFAULT_START: Final = 1_767_553_200.0
"""Monday, 2026-01-05 00:00 at UTC+5."""

_CHUNK_CALLS: Final = 4096
_CHUNK_S: Final = 900.0
_MOST_SUBSCRIBERS: Final = 20_000_000
_FEWEST_SUBSCRIBERS: Final = 2_000
_DAY: Final = 86_400.0


def simulate(
    scenario: Scenario | str,
    seed: int,
    calls: int,
    start_ts: float = DEFAULT_START,
    rate: float | None = None,
    *,
    days: float | None = None,
) -> Iterator[SimulatedEvent]:
    """``calls`` calls from ``start_ts`` on as events in order of time, each with the truth about its call.

    ``scenario`` may be the name of one in the configuration directory.
    ``rate`` is calls per second on average, ``days`` the time over which they are spread; with neither it is one
    day, or as long as the scenario's own number of subscribers needs. Raises UsageError for arguments that cannot
    be meant and ConfigError for a scenario that cannot.
    """
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
    return _stream(settings, seed, calls, start_ts, span, people)


def _span(settings: Settings, calls: int, rate: float | None, days: float | None) -> float:
    if rate is not None:
        return calls / rate
    if days is not None:
        return days * _DAY
    people = settings.population
    return calls / (people.subscribers * people.calls_per_day) * _DAY if people.subscribers else _DAY


def _stream(
    settings: Settings, seed: int, calls: int, start: float, span: float, people: int
) -> Iterator[SimulatedEvent]:
    world = World(settings, seed, people)
    volume = calls / span
    honest = HonestTraffic(world, volume)
    fraud = FraudTraffic(world, seed, start, volume)
    identity = np.random.SeedSequence([seed, int(start * 1000), 0x1D]).generate_state(1, np.uint64)[0]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(start * 1000), 0xCA11])))
    week = honest.weights.sum(axis=1)
    edges = _edges(start, span, volume, settings.utc_offset_min)
    hours = [_hour_of_week(edge, settings.utc_offset_min) for edge in edges[:-1]]
    mass = np.array([week[hour] for hour in hours]) * np.diff(edges)
    # A span that lies in quiet hours only is filled all the same: the calls asked for are made.
    left_mass, left_calls, made = float(mass.sum()), calls, 0
    pending: list[tuple[float, int, SimulatedEvent]] = []
    sequence = 0
    for index, hour in enumerate(hours):
        low, high = float(edges[index]), float(edges[index + 1])
        last = index == len(hours) - 1
        share = 1.0 if last or left_mass <= 0 else min(1.0, float(mass[index]) / left_mass)
        count = int(rng.binomial(left_calls, share))
        left_mass -= float(mass[index])
        left_calls -= count
        bad = fraud.calls(low, high, hour % 24)[:count]
        rows = honest.calls(rng, low, high, count - len(bad), hour)
        if bad:
            rows += bad
            rows.sort(key=lambda call: call.ts)
        numbers = np.arange(made, made + len(rows), dtype=np.int64)
        ids = mix(numbers, int(identity)).tolist()
        delays = post_dial_delays(rows, numbers, int(identity))
        made += len(rows)
        for row, number, delay in zip(rows, ids, delays, strict=True):
            for item in events_of(row._replace(pdd_s=delay), f"{number:016x}"):
                sequence += 1
                pending.append((item.event.ts, sequence, item))
        pending.sort()
        cut = _before(pending, high)
        for _ts, _sequence, item in pending[:cut]:
            yield item
        del pending[:cut]
    for _ts, _sequence, item in pending:
        yield item


def _before(pending: list[tuple[float, int, SimulatedEvent]], ts: float) -> int:
    low, high = 0, len(pending)
    while low < high:
        middle = (low + high) // 2
        if pending[middle][0] < ts:
            low = middle + 1
        else:
            high = middle
    return low


def _edges(start: float, span: float, volume: float, offset_min: int) -> list[float]:
    """The ends of the chunks: small enough in calls and in time, and none across a full hour."""
    step = min(_CHUNK_S, max(1e-3, _CHUNK_CALLS / volume))
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
