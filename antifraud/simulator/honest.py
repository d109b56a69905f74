"""Honest traffic, generated column by column: people, people abroad, roamers, and organisations that call a lot.

Each class says how its share of the calls goes up and down over the day; a chunk of calls is drawn class by class,
settled (answered or not, why not, who complains) and put in order of time. Missed calls are returned or tried again
later; these calls wait in ``_later`` and are the only thing kept from chunk to chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from antifraud.simulator.call import Truth
from antifraud.simulator.columns import Block, CallColumns, merged
from antifraud.simulator.legs import home_leg, incoming
from antifraud.simulator.organisations import Trade
from antifraud.simulator.plan import EMERGENCY, SHORT_CODES, Bools, Floats, Ints, below, home, unit
from antifraud.simulator.world import World

_PERSON, _FOREIGNER, _ROAMER, _CALLBACK = 0, 1, 2, 3
_FIRST_TRADE: Final = 4
_TRUTHS: Final = tuple(Truth(False, "", name) for name in ("person", "foreigner", "roamer", "callback"))

_ABROAD_HEAVY_SHARE: Final = 1 / 3
"""Part of their calls that people with business abroad make abroad."""

_PARTNER_LINES: Final = 12
"""People whom a firm calls at one partner abroad, at most."""

_TOWN_CELLS: Final = 30
_OFFICE_CELLS: Final = 2

_LATEST_RETURN_S: Final = 6 * 3600.0
_LATEST_REDIAL_S: Final = 2 * 3600.0
#: Missed in the sense that somebody sees it and may act: no answer, busy, given up, out of reach.
_MISSED: Final = (19, 17, 16, 20)
_HURRIED: Final = (17, 20, 34)
_SUNDAY: Final = 6

#: What is looked up call by call for all trades together.
_PER_TRADE: Final = (
    "answer", "ring_s", "talk_s", "talk_sigma", "asserted_share", "hangs_up_share", "abandoned_share", "redial_share",
    "callback_share",
)  # fmt: skip


class _Lines(msgspec.Struct):
    """Calls of organisations, one entry a call: the trade (its place), the caller's line, and whom it calls.

    ``key`` stands for the owner as a person would; ``there`` is the callee's region, ``unlike`` how far the owner is
    from the middle of its trade.
    """

    trade: Ints
    key: Ints
    seat: Ints
    region: Ints
    number: Ints
    callee: Ints
    there: Ints
    target: Ints
    unlike: Floats

    @staticmethod
    def join(parts: Sequence[_Lines]) -> _Lines:
        """All ``parts`` (at least one), one after the other."""
        names = _Lines.__struct_fields__
        return _Lines(*[np.concatenate([getattr(part, name) for part in parts]) for name in names])


class HonestTraffic:
    """All honest classes of one world at one volume (calls per second, averaged over a week)."""

    def __init__(self, world: World, volume: float, seed: int) -> None:
        settings = world.settings
        self._world = world
        self._settings = settings
        self._truths = [*_TRUTHS, *(trade.truth for trade in world.trades)]
        self._foreigners = max(20, round(volume * 86_400 * settings.foreign.share / settings.foreign.calls_per_day))
        self._roamers = max(10, round(world.size * settings.roaming.subscribers_share))
        self._fresh = max(5, round(world.size * settings.population.fresh_share))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x4004E57])))
        people = np.array(settings.rhythm.hours_of_day, dtype=np.float64)
        turned = (np.arange(24) - settings.rhythm.shift_h) % 24
        people = np.interp(turned, np.arange(25), np.append(people, people[0]))
        people = people * rng.lognormal(0.0, settings.rhythm.jitter, 24)
        week = np.concatenate([people * (1.0 if day < 5 else settings.rhythm.weekend) for day in range(7)])
        self._mean = week.mean()
        self._week = self._weights(week / self._mean, range(7))
        #: On holidays people call by their own factor, organisations as on Sundays.
        factor = settings.rhythm.holiday or settings.rhythm.weekend
        self._holiday = self._weights(people * factor / self._mean, (_SUNDAY,))
        self._later_at: Floats = np.zeros(0)
        self._later = self._persons(rng, 0, 0)
        self._coming: list[tuple[Floats, Block]] = []
        self._quick = 0.0
        self._none = self._settled(rng, self._later, np.zeros(0), 0)
        self._table = {
            name: np.array([float(getattr(trade, name)) for trade in settings.organisations.values()])
            for name in _PER_TRADE
        }
        for name, field in (("abroad", "callees"), ("region", "callees"), ("mobile", "origin")):
            trades = settings.organisations.values()
            self._table[name] = np.array([float(getattr(trade, field) == name) for trade in trades])

    def _weights(self, people: Floats, days: range | tuple[int, ...]) -> Floats:
        """Weight of every class in every hour of ``days`` (0 is Monday): float64[hours, classes]."""
        settings = self._settings
        trades = sum(trade.share for trade in settings.organisations.values())
        rest = max(0.0, 1.0 - trades - settings.foreign.share - settings.roaming.share)
        columns = [people * rest, people * settings.foreign.share, people * settings.roaming.share]
        hours = np.arange(24)
        for trade in settings.organisations.values():
            day = ((hours >= trade.open) & (hours < trade.close)).astype(np.float64)
            # A flat class averages its share over the week.
            mean = day.mean() * (5 + 2 * trade.weekend) / 7
            shape = np.concatenate([day * (1.0 if d < 5 else trade.weekend) for d in days])
            columns.append(shape / mean * trade.share if mean > 0 else shape)
        return np.stack(columns, axis=1)

    def weights(self, hour_of_week: int, holiday: bool) -> Floats:
        """Weight of every class in an hour; together 1 on average over a week."""
        found: Floats = self._holiday[hour_of_week % 24] if holiday else self._week[hour_of_week]
        return found

    def calls(
        self, rng: np.random.Generator, start: float, end: float, count: int, weights: Floats, day: int
    ) -> CallColumns:
        """``count`` calls set up between ``start`` and ``end`` (epoch seconds, in one hour of local ``day``).

        Room is kept for calls that follow from these within the same stretch: as much as they took before.
        """
        followed = self._followed(rng, start, end, count, day)
        free = count - len(followed)
        room = int(free * self._quick)
        first = self._fresh_calls(rng, start, end, free - room, weights, day)
        quick = self._followed(rng, start, end, room, day)
        wanted = len(quick) + int(np.searchsorted(self._later_at, end))
        self._quick += 0.2 * (min(0.5, wanted / max(1, free)) - self._quick)
        rest = self._fresh_calls(rng, start, end, room - len(quick), weights, day)
        return merged(followed, first, quick, rest)

    def _fresh_calls(
        self, rng: np.random.Generator, start: float, end: float, count: int, weights: Floats, day: int
    ) -> CallColumns:
        """``count`` calls that follow from no other."""
        if not count:
            return self._none
        blocks = []
        total = weights.sum()
        split = rng.multinomial(count, weights / total).tolist() if total > 0 else [count] + [0] * (len(weights) - 1)
        makers = (self._persons, self._foreign, self._roaming)
        blocks += [maker(rng, size, day) for maker, size in zip(makers, split, strict=False) if size]
        blocks += self._organisations(rng, split[len(makers) :], day)
        # Which of the times belongs to which class is chance.
        return self._settled(rng, Block.join(blocks), rng.uniform(start, end, count), day)

    def missed(self, rng: np.random.Generator, ends: Floats, people: Ints, numbers: Ints, day: int) -> None:
        """``people`` missed calls from ``numbers``, which were not the callers' own; some of them call back."""
        returned = rng.random(len(ends)) < self._settings.persons.callback_share
        if returned.any():
            nobody = np.full(int(returned.sum()), -1, dtype=np.int64)
            self._return(rng, ends[returned], people[returned], numbers[returned], nobody, nobody, day)

    # ------------------------------------------------------------------ classes

    def _times(
        self, rng: np.random.Generator, count: int, ring: float, talk: float, sigma: float
    ) -> tuple[Floats, Floats]:
        shape = self._world.ring_shape
        rings = np.clip(rng.gamma(shape, ring / shape, count), 0.4, 75.0)
        talks = rng.lognormal(np.log(talk), sigma, count)
        return rings, talks

    def _persons(self, rng: np.random.Generator, count: int, day: int) -> Block:
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
        to_work = (dice >= circle) & (dice < work)
        callees[to_work] = world.colleagues(rng, callers[to_work])
        to_business = (dice >= work) & (dice < business)
        callees[to_business] = world.businesses(rng, int(to_business.sum()))
        to_any = dice >= business
        callees[to_any] = world.anyone(rng, int(to_any.sum()))
        callees = np.where(callees == callers, (callers + 1) % world.size, callees)
        numbers = world.number(callees)
        special = rng.random(count)
        emergency = special < persons.emergency_share
        numbers[emergency] = EMERGENCY[rng.choice(4, int(emergency.sum()), p=(0.3, 0.1, 0.15, 0.45))]
        edge = persons.emergency_share + persons.short_code_share
        short = (special >= persons.emergency_share) & (special < edge)
        numbers[short] = SHORT_CODES[rng.integers(0, len(SHORT_CODES), int(short.sum()))]
        outbound = (special >= edge) & (special < edge + persons.outbound_abroad_share)
        if persons.abroad_heavy_share > 0:
            heavy = unit(callers, world.key ^ 88) < persons.abroad_heavy_share
            outbound |= heavy & (special > 1 - _ABROAD_HEAVY_SHARE)
        numbers[outbound] = world.abroad(
            below(callers[outbound] * 3 + rng.integers(0, 3, int(outbound.sum())), world.key ^ 77, 1 << 40)
        )
        away = emergency | short | outbound
        home_region = world.region(callers)
        there = np.where(away, home_region, world.region(callees))
        local = away | ((home_region == there) & (unit(callers, world.key ^ 81) < world.local_share))
        block = home_leg(
            world, rng, callers, world.number(callers), numbers, np.where(local, home_region, there), local, day
        )
        block.home = home_region
        block.target = np.where(away, -1, callees)
        block.truth = np.full(count, _PERSON)
        block.ring, block.talk = self._times(rng, count, persons.ring_s, persons.talk_s, persons.talk_sigma)
        block.answer = np.where(emergency | short, 0.97, persons.answer)
        if persons.spread > 0:
            # Some people never answer, some talk for ever.
            block.talk = block.talk * np.exp(1.4 * persons.spread * (unit(callers, world.key ^ 89) - 0.5))
            patience = 0.5 * persons.spread * (unit(callees, world.key ^ 90) - 0.5)
            block.answer = np.where(away, block.answer, np.clip(persons.answer + patience, 0.02, 0.98))
        returnable = ~(emergency | short)
        block.callback = np.where(block.target >= 0, persons.callback_share, 0.0)
        block.redial = np.where(returnable, persons.redial_share, 0.0)
        odd = rng.random(count)
        block.anonymous = odd < persons.anonymous_share
        diverted = (odd >= persons.anonymous_share) & (odd < persons.anonymous_share + persons.diverted_share) & ~away
        block.diversion[diverted] = world.number(world.friends(rng, callees[diverted]))
        return block

    def _abroad(self, rng: np.random.Generator, callers: Ints, callees: Ints, truth: int) -> Block:
        """Calls of people who are abroad, at the switch of the callee's region."""
        persons, count = self._settings.persons, len(callers)
        block = incoming(self._world, rng, callers, callees)
        block.ring, block.talk = self._times(rng, count, persons.ring_s, persons.talk_s, persons.talk_sigma)
        block.answer = np.full(count, persons.answer)
        block.callback = np.full(count, persons.callback_share)
        block.redial = np.full(count, persons.redial_share)
        block.truth = np.full(count, truth)
        return block

    def _foreign(self, rng: np.random.Generator, count: int, _day: int) -> Block:
        world = self._world
        callers = np.floor(self._foreigners * rng.random(count) ** self._settings.foreign.activity_skew)
        callers = callers.astype(np.int64)
        kin = below(callers * 4 + np.floor(4 * rng.random(count) ** 2).astype(np.int64), world.key ^ 83, world.size)
        callees = np.where(rng.random(count) < 0.85, kin, world.businesses(rng, count))
        block = self._abroad(rng, world.abroad(callers + (1 << 41)), callees, _FOREIGNER)
        block.anonymous = rng.random(count) < self._settings.persons.anonymous_share
        return block

    def _roaming(self, rng: np.random.Generator, count: int, _day: int) -> Block:
        world, roaming = self._world, self._settings.roaming
        rank = np.floor(self._roamers * rng.random(count) ** roaming.activity_skew).astype(np.int64)
        people = below(rank, world.key ^ 84, world.size)
        for _ in range(8):  # a fixed line does not roam: somebody else goes abroad instead
            fixed = ~world.mobile(people)
            people[fixed] = below(people[fixed], world.key ^ 87, world.size)
        block = self._abroad(rng, world.number(people), world.friends(rng, people), _ROAMER)
        dice = rng.random(count)
        unknown = roaming.denied_share + roaming.unknown_share
        block.roaming = np.where(dice < roaming.denied_share, 0, np.where(dice < unknown, -1, 1))
        block.person, block.home = people, world.region(people)
        return block

    def _organisations(self, rng: np.random.Generator, sizes: Sequence[int], day: int) -> list[Block]:
        """So many calls of each trade: those from home in one block, those from abroad in another."""
        at_home: list[_Lines] = []
        abroad: list[_Lines] = []
        for index, (trade, size) in enumerate(zip(self._world.trades, sizes, strict=True)):
            if size:
                lines = self._lines(rng, trade, index, size)
                (abroad if trade.settings.origin == "foreign" else at_home).append(lines)
        blocks = []
        if at_home:
            blocks.append(self._own_leg(rng, _Lines.join(at_home), day))
        if abroad:
            lines = _Lines.join(abroad)
            block = incoming(self._world, rng, lines.number, lines.target)
            blocks.append(self._by_trade(rng, block, lines))
        return blocks

    def _lines(self, rng: np.random.Generator, trade: Trade, index: int, count: int) -> _Lines:
        """Which lines of a trade make ``count`` calls, and to whom."""
        world, settings = self._world, trade.settings
        owner, seat = trade.some_lines(rng, count)
        regions = trade.regions(owner)
        number = trade.numbers(owner, regions, seat)
        there, nobody = regions, np.full(count, -1, dtype=np.int64)
        if settings.callees == "abroad":
            # A firm has some fifteen partners abroad, and knows some people at each, a few of them well.
            drawn = rng.integers(0, 15 * _PARTNER_LINES, count)
            partner = below(owner * 15 + drawn % 15, world.key ^ trade.key, 1 << 40)
            callee, target = world.abroad(partner), nobody
            size = 1 + below(partner, world.key ^ trade.key ^ 1, _PARTNER_LINES)
            line = (drawn // 15) ** 2 // _PARTNER_LINES % size
            callee += (callee + line) % 100 - callee % 100
        else:
            if settings.callees == "anywhere":
                target = world.anyone(rng, count)
            elif settings.callees == "region":
                target = world.anyone_in(rng, regions)
            else:
                target = world.regulars(rng, owner + (trade.key << 20), regions, 250)
            there, callee = world.region(target), world.number(target)
            if settings.callees == "block":
                inside = rng.random(count) < 0.3
                callee = np.where(inside, number + rng.integers(1, 40, count), callee)
                there, target = np.where(inside, regions, there), np.where(inside, nobody, target)
        key = owner + world.size + (trade.key << 24)
        return _Lines(
            np.full(count, index),
            key,
            seat,
            regions,
            number,
            callee,
            there,
            target,
            trade.likeness(owner, world.variety),
        )

    def _own_leg(self, rng: np.random.Generator, lines: _Lines, day: int) -> Block:
        """Calls of organisations at home, whose lines have SIM cards in the mobile trades only."""
        world, table = self._world, self._table
        away = table["abroad"][lines.trade] > 0
        local = away | ((lines.region == lines.there) & (unit(lines.key, world.key ^ 85) < world.local_share))
        block = home_leg(
            world, rng, lines.key, lines.number, lines.callee, lines.there, local, day, with_sim=np.zeros_like(local)
        )
        block.target, block.home, block.person = lines.target, lines.region, np.full(len(local), -1, dtype=np.int64)
        some = np.flatnonzero((table["mobile"][lines.trade] > 0) & local)
        if len(some):
            # Every line has a SIM card of its own.
            card = lines.key[some] + (lines.seat[some] << 40)
            block.imsi[some], block.imei[some] = world.imsi(card, lines.number[some], day), world.imei(card, day)
            # Who drives about is heard in the cells of a town; an office with mobile lines stays where it is.
            place, step = below(lines.key[some], world.key ^ 91, 900), rng.integers(0, 900, len(some))
            reach = np.where(table["region"][lines.trade[some]] > 0, _TOWN_CELLS, _OFFICE_CELLS)
            block.cell[some] = 1 + (place + step % reach) % 900
            block.roaming[some] = 0
        # A PBX that shows a direct line and asserts the pilot number of its block.
        asserts = unit(lines.key, world.key ^ 86) < table["asserted_share"][lines.trade]
        block.asserted = np.where(asserts, lines.number - lines.number % 10, 0)
        return self._by_trade(rng, block, lines)

    def _by_trade(self, rng: np.random.Generator, block: Block, lines: _Lines) -> Block:
        """``block`` with the answer rates, times and habits of its trades."""
        table, which = self._table, lines.trade
        count, shape = len(which), self._world.ring_shape
        block.ring = np.clip(rng.gamma(shape, table["ring_s"][which] / shape, count), 0.4, 75.0)
        talk = rng.lognormal(np.log(table["talk_s"][which]), table["talk_sigma"][which], count)
        block.talk = talk * np.exp(lines.unlike)
        block.answer = table["answer"][which] * (1.0 - 0.3 * np.abs(lines.unlike))
        block.complain = np.full(count, self._settings.reports.wrong_share)
        block.hangs_up, block.abandoned = table["hangs_up_share"][which], table["abandoned_share"][which]
        block.redial, block.callback = table["redial_share"][which], table["callback_share"][which]
        block.truth = _FIRST_TRADE + which
        return block

    # ------------------------------------------------------------------ what follows from missed calls

    def _followed(self, rng: np.random.Generator, start: float, end: float, most: int, day: int) -> CallColumns:
        """At most ``most`` of the calls that are to be made before ``end``."""
        if self._coming:
            blocks = [block for _at, block in self._coming]
            times = [at for at, _block in self._coming]
            self._coming = []
            every = np.concatenate([self._later_at, *times])
            order = np.argsort(every, kind="stable")
            self._later_at, self._later = every[order], Block.join([self._later, *blocks]).take(order)
        size = min(most, int(np.searchsorted(self._later_at, end)))
        if not size:
            return self._none
        at, due = self._later_at[:size], self._later.take(slice(size))
        self._later_at, self._later = self._later_at[size:], self._later.take(slice(size, None))
        # What found no room in its own stretch is made some time in the next; not all at its very beginning.
        return self._settled(rng, due, np.where(at < start, rng.uniform(start, end, size), at), day)

    def _return(
        self, rng: np.random.Generator, ends: Floats, people: Ints, numbers: Ints, targets: Ints, homes: Ints, day: int
    ) -> None:
        """``people`` call ``numbers`` back after ``ends``: those of ``targets`` in regions ``homes`` (-1 not known)."""
        world, persons = self._world, self._settings.persons
        count = len(ends)
        wait = np.clip(rng.lognormal(np.log(persons.callback_delay_s), 1.2, count), 5.0, _LATEST_RETURN_S)
        here = world.region(people)
        away = ~home(numbers)
        there = np.where(away | (homes < 0), here, homes)
        local = away | ((here == there) & (unit(people, world.key ^ 81) < world.local_share))
        block = home_leg(world, rng, people, world.number(people), numbers, np.where(local, here, there), local, day)
        block.home, block.target = here, targets
        block.answer = np.full(count, world.returned_answer)
        block.ring, block.talk = self._times(rng, count, persons.ring_s, persons.talk_s * 0.7, persons.talk_sigma)
        block.truth = np.full(count, _CALLBACK)
        self._coming.append((ends + wait, block))

    def _follow_up(self, rng: np.random.Generator, block: Block, ends: Floats, missed: Bools, day: int) -> None:
        dice = rng.random(len(block))
        returned = np.flatnonzero(missed & (dice < block.callback) & (block.target >= 0) & ~block.anonymous)
        if len(returned):
            some = block.take(returned)
            self._return(rng, ends[returned], some.target, some.caller, some.person, some.home, day)
        again = np.flatnonzero(missed & (dice >= block.callback) & (dice < block.callback + block.redial))
        if len(again):
            some = block.take(again)
            delay = np.log(self._settings.persons.redial_delay_s)
            wait = np.clip(rng.lognormal(delay, 1.2, len(again)), 2.0, _LATEST_REDIAL_S)
            self._coming.append((ends[again] + wait, some))

    # ------------------------------------------------------------------ settling

    def _settled(self, rng: np.random.Generator, block: Block, times: Floats, day: int) -> CallColumns:
        world = self._world
        count = len(times)
        answered = rng.random(count) < block.answer
        causes = world.causes(rng.random(count))
        gives_up = ~answered & (rng.random(count) < block.hangs_up)
        cause = np.where(answered | gives_up, 16, causes)
        hurried = ~answered & ~gives_up & np.isin(cause, _HURRIED)
        doubled = ~answered & ~gives_up & ~hurried
        ring = np.round(block.ring * np.where(hurried, 0.15, np.where(doubled, 2.0, 1.0)), 3)
        dropped = answered & (rng.random(count) < block.abandoned)
        talk = np.where(dropped, rng.uniform(0.3, 3.0, count), np.clip(block.talk, 0.5, 4 * 3600.0))
        talk = np.where(answered, np.round(talk, 3), np.nan)
        complains = answered & (rng.random(count) < block.complain)
        report = np.zeros(count)
        size = int(complains.sum())
        median = np.log(self._settings.reports.delay_h * 3600)
        report[complains] = rng.lognormal(median, world.complaint_sigma, size)
        self._follow_up(rng, block, times + ring, ~answered & np.isin(cause, _MISSED), day)
        dice = rng.random(count)
        # Privacy: the From is withheld; every second network still asserts the number (RFC 3325).
        shown = np.where(rng.random(count) < 0.5, block.caller, 0)
        return CallColumns(
            world.switches, world.trunks, world.origins, self._truths, np.zeros(count, dtype=np.uint64),
            np.round(times, 6), block.region, block.trunk, world.peers(block.trunk, dice), block.caller, block.callee,
            world.caller_forms[block.trunk], block.callee_form, np.where(block.anonymous, shown, block.asserted),
            block.diversion, block.anonymous, block.imsi, block.imei, block.cell, block.roaming, ring, talk,
            np.zeros(count), cause, report, block.truth, np.zeros(count, dtype=np.bool_), {},
        )  # fmt: skip
