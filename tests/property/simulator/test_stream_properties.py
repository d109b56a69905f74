"""Whatever the seed, the size, the hour and the rate: the calls asked for, in order, in their span."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import EventKind
from antifraud.settings import data_dir
from antifraud.simulator import DEFAULT_START, find_scenario, load_scenario, simulate
from antifraud.simulator.plan import mix, written_all
from antifraud.simulator.world import World

NATIONAL = load_scenario(find_scenario("national", data_dir("config")))


@given(
    seed=st.integers(0, 2**31),
    calls=st.integers(1, 400),
    offset=st.floats(0, 10 * 86_400),
    span=st.one_of(st.floats(0.01, 1000).map(lambda rate: (rate, None)), st.floats(0.001, 20).map(lambda d: (None, d))),
)
@settings(max_examples=40, deadline=None)
def test_exact_ordered_and_within_the_span(
    seed: int, calls: int, offset: float, span: tuple[float | None, float | None]
) -> None:
    rate, days = span
    start = DEFAULT_START + offset
    items = list(simulate(NATIONAL, seed, calls, start, rate, days=days))
    times = [item.event.ts for item in items]
    assert times == sorted(times)
    setups = [item.event for item in items if item.event.kind is EventKind.SETUP]
    assert len(setups) == calls == len({event.call_id for event in setups})
    length = calls / rate if rate is not None else (days or 0.0) * 86_400
    assert start - 1e-5 <= setups[0].ts <= setups[-1].ts <= start + length + 1e-5


@given(seed=st.integers(0, 2**31), people=st.integers(2_000, 5_000_000))
@settings(max_examples=25, deadline=None)
def test_people_have_numbers_of_their_own_and_friends_at_home(seed: int, people: int) -> None:
    world = World(NATIONAL.draw(seed), seed, people)
    rng = np.random.Generator(np.random.PCG64(seed))
    some = np.unique(rng.integers(0, world.size, 3000))
    mobiles = some[world.mobile(some)]
    assert len(np.unique(world.number(mobiles))) == len(mobiles)
    friends = world.friends(rng, some)
    assert ((friends >= 0) & (friends < world.size) & (friends != some)).all()
    assert (world.region(friends) == world.region(some)).all()
    colleagues = world.colleagues(rng, some)
    assert ((colleagues >= 0) & (colleagues < world.size)).all()
    ranks = np.unique(rng.integers(0, world.size, 3000))
    assert len(np.unique(world.by_rank(ranks))) == len(ranks)


def written(number: int, form: int) -> str:
    """One number as a switch writes it: form 0 with plus, 1 bare, 2 after a trunk prefix."""
    if number < 1_000_000:
        return str(number)
    if form == 2:
        return f"8{number - 70_000_000_000}" if 76_000_000_000 <= number < 78_000_000_000 else f"810{number}"
    return ("+", "")[form] + str(number)


@given(st.lists(st.tuples(st.integers(101, 99_999_999_999_999), st.integers(0, 2)), min_size=1, max_size=30))
def test_many_numbers_are_written_as_one_is(pairs: list[tuple[int, int]]) -> None:
    numbers = np.array([number for number, _form in pairs], dtype=np.int64)
    forms = np.array([form for _number, form in pairs], dtype=np.int64)
    assert list(written_all(numbers, forms)) == [written(number, form) for number, form in pairs]


def test_mixing_is_a_bijection_on_what_is_tried() -> None:
    mixed = mix(np.arange(200_000, dtype=np.int64), 5)
    assert len(np.unique(mixed)) == 200_000
    assert abs(float((mixed & np.uint64(1)).mean()) - 0.5) < 0.01
