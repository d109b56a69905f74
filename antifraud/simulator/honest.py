"""Honest traffic, generated column by column: people, people abroad, roamers, and organisations that call a lot.

Each class says how its share of the calls goes up and down over the day; a chunk of calls is drawn class by class,
put in order of time, and turned into ``Call`` rows.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.simulator.call import Call, Truth
from antifraud.simulator.scenario import Organisation, Settings
from antifraud.simulator.world import (
    EIGHT,
    EMERGENCY,
    HOME_BASE,
    MOBILE_PREFIXES,
    PLUS,
    SHORT_CODES,
    Bools,
    Ints,
    World,
    below,
    unit,
    written_all,
)

Floats = npt.NDArray[np.float64]

INTERNATIONAL, NATIONAL, SUBSCRIBER = 0, 1, 2

#: Q.850 causes of calls that were not answered, with weights: no answer, busy, rejected, cancelled, absent, congestion.
_CAUSES: Final = np.array([19, 17, 21, 16, 20, 34], dtype=np.int64)
_CAUSE_BOUNDS: Final = np.cumsum([0.42, 0.22, 0.08, 0.18, 0.08, 0.02])
_EMPTY: Final = ""


class _Columns(msgspec.Struct):
    """A block of calls of one class. ``roaming`` is 1, 0 or -1 (not known); 0 in imsi means none."""

    caller: Ints
    callee: Ints
    region: Ints
    trunk: Ints
    callee_form: Ints
    imsi: Ints
    imei: Ints
    cell: Ints
    roaming: Ints
    asserted: Ints
    diversion: Ints
    anonymous: Bools
    answer: Floats
    ring: Floats
    talk: Floats
    complain: float
    truth: Truth


class _Trade:
    """The organisations of one trade: how many lines there are at this volume, and their numbers."""

    def __init__(self, name: str, settings: Organisation, world: World, volume_per_hour: float, key: int) -> None:
        self.name = name
        self.settings = settings
        self.key = key
        open_hours = max(1, settings.close - settings.open)
        busy = volume_per_hour * settings.share * 24 / open_hours
        self.lines = max(1, round(busy / settings.calls_per_line_hour))
        self.truth = Truth(fraud=False, campaign="", scenario=name)
        self._world = world

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints, Ints]:
        """Organisation, region and calling number of ``count`` calls."""
        world, per = self._world, self.settings.lines
        line = np.floor(self.lines * rng.random(count) ** 1.25).astype(np.int64)
        owner = line // per
        regions = world.region(below(owner, self.key, world.size))
        seat = line % per
        # An organisation has a block of numbers; its lines follow each other from a place of its own.
        if self.settings.origin == "fixed":
            numbers = HOME_BASE + world.fixed(regions, below(owner, self.key ^ 1, 999_000) + seat)
        elif self.settings.origin == "mobile":
            prefix = MOBILE_PREFIXES[below(owner, self.key ^ 2, len(MOBILE_PREFIXES))]
            spread = below(owner, self.key ^ 3, 9_999_000) + seat
            numbers = HOME_BASE + prefix * 10_000_000 + spread
        elif self.settings.origin == "short":
            numbers = SHORT_CODES[owner % len(SHORT_CODES)]
        else:
            country = below(owner, self.key ^ 4, 12)
            numbers = world.in_country(country, owner) + seat
        return owner, regions, numbers


class HonestTraffic:
    """All honest classes of one world at one volume (calls per second, averaged over a week)."""

    def __init__(self, world: World, volume: float) -> None:
        settings = world.settings
        self._world = world
        self._settings = settings
        self._person = Truth(fraud=False, campaign="", scenario="person")
        self._foreigner = Truth(fraud=False, campaign="", scenario="foreigner")
        self._roamer = Truth(fraud=False, campaign="", scenario="roamer")
        hourly = volume * 3600
        self._trades = [
            _Trade(name, trade, world, hourly, 0x7AD0 + 64 * index)
            for index, (name, trade) in enumerate(settings.organisations.items())
        ]
        self._foreigners = max(20, round(volume * 86_400 * settings.foreign.share / settings.foreign.calls_per_day))
        self._roamers = max(10, round(world.size * settings.roaming.subscribers_share))
        self._fresh = max(5, round(world.size * settings.population.fresh_share))
        self.weights = self._weekly(settings)

    def _weekly(self, settings: Settings) -> Floats:
        """Weight of every class in every hour of a week: float64[168, classes]; a flat class averages its share."""
        people = np.array(settings.rhythm.hours_of_day, dtype=np.float64)
        week = np.concatenate([people * (1.0 if day < 5 else settings.rhythm.weekend) for day in range(7)])
        week /= week.mean()
        trades = sum(trade.share for trade in settings.organisations.values())
        rest = max(0.0, 1.0 - trades - settings.foreign.share - settings.roaming.share)
        columns = [week * rest, week * settings.foreign.share, week * settings.roaming.share]
        hours = np.arange(24)
        for trade in settings.organisations.values():
            day = ((hours >= trade.open) & (hours < trade.close)).astype(np.float64)
            shape = np.concatenate([day * (1.0 if d < 5 else trade.weekend) for d in range(7)])
            mean = shape.mean()
            columns.append(shape / mean * trade.share if mean > 0 else shape)
        return np.stack(columns, axis=1)

    def calls(self, rng: np.random.Generator, start: float, end: float, count: int, hour_of_week: int) -> list[Call]:
        """``count`` calls set up between ``start`` and ``end``, which lie in one hour, in order of time."""
        weights = self.weights[hour_of_week]
        total = weights.sum()
        if count <= 0 or total <= 0:
            return []
        split = rng.multinomial(count, weights / total).tolist()
        makers = [self._persons, self._foreign, self._roaming]
        blocks = [maker(rng, size) for maker, size in zip(makers, split, strict=False) if size]
        blocks += [self._trade(rng, trade, size) for trade, size in zip(self._trades, split[3:], strict=True) if size]
        return self._rows(rng, blocks, np.sort(rng.uniform(start, end, count)))

    # ------------------------------------------------------------------ classes

    def _times(
        self, rng: np.random.Generator, count: int, ring: float, talk: float, sigma: float
    ) -> tuple[Floats, Floats]:
        rings = np.clip(rng.gamma(4.0, ring / 4.0, count), 0.4, 75.0)
        talks = np.clip(rng.lognormal(np.log(talk), sigma, count), 0.5, 4 * 3600.0)
        return rings, talks

    def _persons(self, rng: np.random.Generator, count: int) -> _Columns:
        world, people, persons = self._world, self._settings.population, self._settings.persons
        ranks = np.floor(world.size * rng.random(count) ** people.activity_skew).astype(np.int64)
        fresh = rng.random(count) < people.fresh_share
        # New subscribers: positions beyond the settled ones.
        ranks[fresh] = world.size + rng.integers(0, self._fresh, int(fresh.sum()))
        callers = world.by_rank(ranks)
        dice = rng.random(count)
        circle = people.circle_share
        work = circle + people.work_share
        business = work + people.business_share
        callees = world.friends(rng, callers)
        for low, high, pick in ((circle, work, "work"), (work, business, "business"), (business, 1.0, "any")):
            chosen = (dice >= low) & (dice < high) if high < 1.0 else dice >= low
            size = int(chosen.sum())
            if pick == "work":
                callees[chosen] = world.colleagues(rng, callers[chosen])
            elif pick == "business":
                callees[chosen] = world.businesses(rng, size)
            else:
                callees[chosen] = world.anyone(rng, size)
        callees = np.where(callees == callers, (callers + 1) % world.size, callees)
        numbers = world.number(callees)
        special = rng.random(count)
        emergency = special < persons.emergency_share
        numbers[emergency] = EMERGENCY[rng.choice(4, int(emergency.sum()), p=(0.3, 0.1, 0.15, 0.45))]
        edge = persons.emergency_share + persons.short_code_share
        short = (special >= persons.emergency_share) & (special < edge)
        numbers[short] = SHORT_CODES[rng.integers(0, len(SHORT_CODES), int(short.sum()))]
        outbound = (special >= edge) & (special < edge + persons.outbound_abroad_share)
        numbers[outbound] = world.abroad(
            below(callers[outbound] * 3 + rng.integers(0, 3, int(outbound.sum())), 77, 1 << 40)
        )
        away = emergency | short | outbound
        home = world.region(callers)
        there = np.where(away, home, world.region(callees))
        local = away | ((home == there) & (below(callers, 81, 10) < 8))
        columns = self._home_leg(rng, callers, world.number(callers), numbers, np.where(local, home, there), local)
        columns.truth = self._person
        columns.answer = np.where(emergency | short, 0.97, persons.answer)
        columns.ring, columns.talk = self._times(rng, count, persons.ring_s, persons.talk_s, persons.talk_sigma)
        odd = rng.random(count)
        columns.anonymous = odd < persons.anonymous_share
        diverted = (odd >= persons.anonymous_share) & (odd < persons.anonymous_share + persons.diverted_share)
        columns.diversion = np.where(diverted & ~away, world.number(world.friends(rng, callees)), 0)
        return columns

    def _home_leg(
        self, rng: np.random.Generator, people: Ints, callers: Ints, callees: Ints, regions: Ints, local: Bools
    ) -> _Columns:
        """Columns of calls that begin at home: on a subscriber trunk where ``local``, else on a national one."""
        world, count = self._world, len(people)
        trunks = np.where(local, world.pick_trunks(rng, SUBSCRIBER, count), world.pick_trunks(rng, NATIONAL, count))
        habit = np.where(unit(people, 82) < 0.55, EIGHT, PLUS)
        trunk_forms = np.array([trunk.callee_form for trunk in world.trunks], dtype=np.int64)[trunks]
        with_sim = local & world.mobile(people)
        return _Columns(
            caller=callers,
            callee=callees,
            region=regions,
            trunk=trunks,
            callee_form=np.where(local, habit, trunk_forms),
            imsi=np.where(with_sim, world.imsi(people), 0),
            imei=np.where(with_sim, world.imei(people), 0),
            cell=np.where(with_sim, 1 + (people // 40 + rng.integers(0, 3, count)) % 900, 0),
            roaming=np.where(with_sim, 0, -1),
            asserted=np.zeros(count, dtype=np.int64),
            diversion=np.zeros(count, dtype=np.int64),
            anonymous=np.zeros(count, dtype=np.bool_),
            answer=np.zeros(count),
            ring=np.zeros(count),
            talk=np.zeros(count),
            complain=0.0,
            truth=self._person,
        )

    def _incoming(self, rng: np.random.Generator, callers: Ints, callees: Ints, truth: Truth) -> _Columns:
        """Columns of calls that come in on international trunks, at the switch of the callee's region."""
        world, count = self._world, len(callers)
        persons = self._settings.persons
        trunks = world.pick_trunks(rng, INTERNATIONAL, count)
        forms = np.array([trunk.callee_form for trunk in world.trunks], dtype=np.int64)[trunks]
        ring, talk = self._times(rng, count, persons.ring_s, persons.talk_s, persons.talk_sigma)
        zeros = np.zeros(count, dtype=np.int64)
        return _Columns(
            caller=callers,
            callee=world.number(callees),
            region=world.region(callees),
            trunk=trunks,
            callee_form=forms,
            imsi=zeros,
            imei=zeros,
            cell=zeros,
            roaming=np.full(count, -1, dtype=np.int64),
            asserted=zeros,
            diversion=zeros,
            anonymous=rng.random(count) < persons.anonymous_share,
            answer=np.full(count, persons.answer),
            ring=ring,
            talk=talk,
            complain=0.0,
            truth=truth,
        )

    def _foreign(self, rng: np.random.Generator, count: int) -> _Columns:
        world = self._world
        callers = np.floor(self._foreigners * rng.random(count) ** 1.3).astype(np.int64)
        kin = below(callers * 4 + np.floor(4 * rng.random(count) ** 2).astype(np.int64), 83, world.size)
        callees = np.where(rng.random(count) < 0.85, kin, world.businesses(rng, count))
        return self._incoming(rng, world.abroad(callers + (1 << 41)), callees, self._foreigner)

    def _roaming(self, rng: np.random.Generator, count: int) -> _Columns:
        world, roaming = self._world, self._settings.roaming
        people = below(rng.integers(0, self._roamers, count), 84, world.size)
        for _ in range(8):  # a fixed line does not roam: somebody else goes abroad instead
            fixed = ~world.mobile(people)
            people[fixed] = below(people[fixed], 87, world.size)
        columns = self._incoming(rng, world.number(people), world.friends(rng, people), self._roamer)
        dice = rng.random(count)
        unknown = roaming.denied_share + roaming.unknown_share
        columns.roaming = np.where(dice < roaming.denied_share, 0, np.where(dice < unknown, -1, 1))
        columns.anonymous = np.zeros(count, dtype=np.bool_)
        return columns

    def _trade(self, rng: np.random.Generator, trade: _Trade, count: int) -> _Columns:
        world, settings = self._world, trade.settings
        owner, regions, numbers = trade.draw(rng, count)
        if settings.callees == "anywhere":
            people = world.anyone(rng, count)
        elif settings.callees == "region":
            people = world.anyone_in(rng, regions)
        else:
            people = world.regulars(rng, owner + (trade.key << 20), regions, 250)
        ring, talk = self._times(rng, count, settings.ring_s, settings.talk_s, settings.talk_sigma)
        if settings.origin == "foreign":
            columns = self._incoming(rng, numbers, people, trade.truth)
        else:
            there = world.region(people)
            callees = world.number(people)
            if settings.callees == "block":
                inside = rng.random(count) < 0.3
                callees = np.where(inside, numbers + rng.integers(1, 40, count), callees)
                there = np.where(inside, regions, there)
            local = (regions == there) & (below(owner, 85, 10) < 8)
            keys = owner + world.size + (trade.key << 24)
            columns = self._home_leg(rng, keys, numbers, callees, there, local)
            if settings.origin != "mobile":
                columns.imsi = columns.imei = columns.cell = np.zeros(count, dtype=np.int64)
                columns.roaming = np.full(count, -1, dtype=np.int64)
            else:
                with_sim = local
                columns.imsi = np.where(with_sim, world.imsi(keys), 0)
                columns.imei = np.where(with_sim, world.imei(keys), 0)
                columns.cell = np.where(with_sim, rng.integers(1, 901, count), 0)
                columns.roaming = np.where(with_sim, 0, -1)
            if settings.asserted_share:
                # A PBX that shows a direct line and asserts the pilot number of its block.
                pilot = numbers - numbers % 10
                columns.asserted = np.where(unit(owner, 86) < settings.asserted_share, pilot, 0)
        columns.answer, columns.ring, columns.talk = np.full(count, settings.answer), ring, talk
        columns.complain = self._settings.reports.wrong_share
        columns.truth = trade.truth
        return columns

    # ------------------------------------------------------------------ rows

    def _rows(self, rng: np.random.Generator, blocks: list[_Columns], times: Floats) -> list[Call]:
        world = self._world
        count = len(times)
        # Which of the ordered times belongs to which class is chance.
        order = rng.permutation(count)

        def joined(name: str) -> Any:
            return np.concatenate([getattr(block, name) for block in blocks])[order]

        truths = [block.truth for block in blocks]
        sizes = [len(block.caller) for block in blocks]
        truth_index = np.repeat(np.arange(len(blocks)), sizes)[order]
        complain = np.repeat([block.complain for block in blocks], sizes)[order]
        trunk_index = joined("trunk").astype(np.int64)
        regions = joined("region").astype(np.int64)
        ring, talk = joined("ring"), joined("talk")
        answered = rng.random(count) < joined("answer")
        cause = np.where(answered, 16, _CAUSES[np.searchsorted(_CAUSE_BOUNDS, rng.random(count) * _CAUSE_BOUNDS[-1])])
        hurried = ~answered & np.isin(cause, (17, 20, 34))
        ring = np.round(np.where(hurried, ring * 0.15, np.where(answered, ring, ring * 2.0)), 3)
        talk = np.round(talk, 3)
        complains = answered & (rng.random(count) < complain)
        delay = np.where(complains, rng.lognormal(np.log(self._settings.reports.delay_h * 3600), 0.9, count), 0.0)
        caller_forms = np.array([trunk.caller_form for trunk in world.trunks], dtype=np.int64)[trunk_index]
        callers = joined("caller").astype(np.int64)
        caller_texts = written_all(callers, caller_forms)
        callee_texts = written_all(joined("callee").astype(np.int64), joined("callee_form").astype(np.int64))
        anonymous = joined("anonymous").tolist()
        pick = rng.random(count).tolist()
        rows = []
        for (
            ts, region, trunk_at, caller, callee, hidden, asserted, diversion, imsi, imei, cell, roaming, was_answered,
            ring_s, talk_s, why, after, truth_at, dice,
        ) in zip(
            np.round(times, 6).tolist(), regions.tolist(), trunk_index.tolist(), caller_texts, callee_texts, anonymous,
            joined("asserted").tolist(), joined("diversion").tolist(), joined("imsi").tolist(),
            joined("imei").tolist(), joined("cell").tolist(), joined("roaming").tolist(), answered.tolist(),
            ring.tolist(), talk.tolist(), cause.tolist(), delay.tolist(), truth_index.tolist(), pick,
            strict=True,
        ):  # fmt: skip
            trunk = world.trunks[trunk_at]
            origin = trunk.origins[int(dice * len(trunk.origins))]
            shown = f"+{asserted}" if asserted else _EMPTY
            if hidden:
                # Privacy: the From is withheld; every second network still asserts the number (RFC 3325).
                shown = _asserted_of(caller) if int(dice * 1e6) % 2 else _EMPTY
                caller = "anonymous"
            rows.append(
                Call(
                    ts,
                    world.switches[region],
                    trunk.name,
                    caller,
                    callee,
                    shown,
                    f"<sip:+{diversion}@example.net>;reason=unconditional" if diversion else _EMPTY,
                    "id" if hidden else _EMPTY,
                    origin.src_ip,
                    origin.transport,
                    origin.user_agent,
                    origin.fingerprint,
                    f"{imsi:015d}" if imsi else _EMPTY,
                    f"{imei:015d}" if imei else _EMPTY,
                    f"c-{region}-{cell}" if cell else _EMPTY,
                    None if roaming < 0 else roaming == 1,
                    ring_s,
                    talk_s if was_answered else None,
                    why,
                    after,
                    truths[truth_at],
                )
            )
        return rows


def _asserted_of(caller: str) -> str:
    if caller.startswith("+"):
        return caller
    if caller.startswith("810"):
        return f"+{caller[3:]}"
    if caller.startswith("87") and len(caller) == 11:
        return f"+7{caller[1:]}"
    return f"+{caller}"
