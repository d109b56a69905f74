"""How a call enters the network, column by column: from a subscriber at home, or from abroad.

Campaigns that use honest subscribers' lines (a hacked exchange, a victim who calls back) go the same way.
"""

from __future__ import annotations

import numpy as np

from antifraud.simulator.columns import Block
from antifraud.simulator.plan import EIGHT, PLUS, Bools, Ints, unit
from antifraud.simulator.world import INTERNATIONAL, NATIONAL, SUBSCRIBER, World


def home_leg(
    world: World,
    rng: np.random.Generator,
    people: Ints,
    callers: Ints,
    callees: Ints,
    regions: Ints,
    local: Bools,
    day: int,
    *,
    with_sim: Bools | None = None,
) -> Block:
    """Calls of ``people`` at home: on a subscriber trunk where ``local``, else seen on a national one.

    ``callers`` and ``callees`` are numbers, ``regions`` those of the switch that sees the call. Mobiles have their SIM
    card and handset of local ``day`` where the call enters at their own switch (or where ``with_sim`` says so).
    """
    count = len(people)
    trunks = np.where(local, world.pick_trunks(rng, SUBSCRIBER, count), world.pick_trunks(rng, NATIONAL, count))
    habit = np.where(unit(people, world.key ^ 82) < world.eight_share, EIGHT, PLUS)
    if with_sim is None:
        with_sim = local & world.mobile(people)
    imsi, imei, cell = (np.zeros(count, dtype=np.int64) for _ in range(3))
    some = np.flatnonzero(with_sim)
    if len(some):
        imsi[some] = world.imsi(people[some], callers[some], day)
        imei[some] = world.imei(people[some], day)
        cell[some] = 1 + (people[some] // 40 + rng.integers(0, 3, len(some))) % 900
    never = np.zeros(count)
    return Block(
        caller=callers,
        callee=callees,
        region=regions,
        trunk=trunks,
        callee_form=np.where(local, habit, world.callee_forms[trunks]),
        roaming=np.where(with_sim, 0, -1),
        anonymous=np.zeros(count, dtype=np.bool_),
        person=people,
        target=np.full(count, -1, dtype=np.int64),
        home=regions,
        imsi=imsi,
        imei=imei,
        cell=cell,
        asserted=np.zeros(count, dtype=np.int64),
        diversion=np.zeros(count, dtype=np.int64),
        truth=np.zeros(count, dtype=np.int64),
        answer=never,
        ring=never,
        talk=never,
        complain=never,
        callback=never,
        redial=never,
        hangs_up=never,
        abandoned=never,
    )


def incoming(world: World, rng: np.random.Generator, callers: Ints, people: Ints) -> Block:
    """Calls from abroad to ``people``, on international trunks, at the switch of the callee's region."""
    count = len(callers)
    trunks = world.pick_trunks(rng, INTERNATIONAL, count)
    nobody, none, never = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count)
    return Block(
        caller=callers,
        callee=world.number(people),
        region=world.region(people),
        trunk=trunks,
        callee_form=world.callee_forms[trunks],
        roaming=nobody,
        anonymous=np.zeros(count, dtype=np.bool_),
        person=nobody,
        target=people,
        home=nobody,
        imsi=none,
        imei=none,
        cell=none,
        asserted=none,
        diversion=none,
        truth=none,
        answer=never,
        ring=never,
        talk=never,
        complain=never,
        callback=never,
        redial=never,
        hangs_up=never,
        abandoned=never,
    )
