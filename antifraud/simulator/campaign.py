"""What all fraud campaigns have in common: their life, their working hours, and what they do when they are blocked.

A campaign is a small state machine that says which calls it makes in a stretch of time. A kind declares the parameters
that a scenario gives ranges for; a campaign draws its own from them. What a campaign uses (trunks, peers, number
ranges) is drawn from what honest callers use too, except where being odd is its nature (a SIP scanner's dialled
strings).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from antifraud.simulator.call import Call, Oddity, Truth
from antifraud.simulator.legs import home_leg
from antifraud.simulator.plan import MOBILE_PREFIXES, below
from antifraud.simulator.scenario import Adaptive, Span
from antifraud.simulator.world import Route, World

COMMON: Final = frozenset({"weight", "hours", "calls_per_hour"})
_VICTIMS_AT_ONCE: Final = 64
_DAY: Final = 86_400.0
Outcome = tuple[float, float | None, int]
"""Ring time in seconds, talk time in seconds or None (not answered), and the Q.850 cause."""

NO_SIM: Final = (0, 0, 0)


class Victim(NamedTuple):
    """Somebody to call."""

    person: int
    number: int
    region: int


class Campaign:
    """One campaign. ``rate`` is calls per hour while it works, ``load`` averaged over the day.

    ``most`` bounds the load; ``ends`` is event time. ``heard`` says that somebody tells it which of its calls are
    stopped; otherwise one that adapts takes its numbers to be blocked after a while.
    """

    kind: ClassVar[str]
    parameters: ClassVar[frozenset[str]]
    trunk_class: ClassVar[int] = 0

    def __init__(
        self,
        world: World,
        rng: np.random.Generator,
        spans: Mapping[str, Span],
        name: str,
        start: float,
        most: float,
        adaptive: Adaptive | None = None,
        *,
        heard: bool = False,
    ) -> None:
        self.world = world
        self.rng = rng
        self.p = {key: span.draw(rng) for key, span in spans.items()}
        self.starts = start
        self.ends = start + self.p["hours"] * 3600
        # It works part of the day only: what it does then makes up for the hours that it sleeps.
        awake = sum(self.works(hour) for hour in range(24)) / 24
        self.load = min(self.p["calls_per_hour"] * awake, most)
        self.rate = self.load / awake if awake > 0 else 0.0
        self.truth = Truth(fraud=True, campaign=name, scenario=self.kind)
        self.focus = int(rng.integers(len(world.codes)))
        reports = world.settings.reports
        self._report_share = reports.fraud_share
        self._missed_share = reports.fraud_share * reports.missed_factor
        self._report_delay = math.log(reports.delay_h * 3600)
        self._ring_s = world.settings.persons.ring_s * float(rng.uniform(0.8, 1.2))
        self._victims: list[Victim] = []
        self._due: list[tuple[float, int, Call]] = []
        self._sequence = 0
        self.heard = heard
        self.adapts = adaptive is not None and bool(rng.random() < adaptive.share.draw(rng))
        self.changes = 0
        self._lives: dict[int, int] = {}
        self._quiet_until = start
        if adaptive is not None:
            self._life = (adaptive.stops_per_number if heard else adaptive.calls_per_number).draw(rng)
            self._route_life = adaptive.numbers_per_route.draw(rng)
            self._pause_s = adaptive.pause_s.draw(rng)
        self._via: list[Route] = []
        self.open()

    # ------------------------------------------------------------------ what a kind says of itself

    def open(self) -> None:
        """Draw what the campaign keeps for its whole life."""

    def call(self, ts: float) -> Call | None:
        """One call at ``ts``; None when there is nothing to call."""
        raise NotImplementedError

    def renew(self, seat: int) -> None:
        """The number behind ``seat`` is blocked: take another."""

    def reroute(self) -> None:
        """The ways in are blocked too: take other trunks and peers."""
        if self._via:
            self._via = self.routes(self.trunk_class, len(self._via))

    # ------------------------------------------------------------------ its life

    def works(self, hour: int) -> float:
        """How much of its rate it makes in local ``hour``: 0 closed, 1 at work. It may close after midnight."""
        if "opens" not in self.p:
            return 1.0
        opens, closes = round(self.p["opens"]), round(self.p["closes"])
        long = max(closes - opens, 1)
        since = (hour - opens) % 24
        if since >= long:
            return 0.0
        return 1.0 - 0.8 * self.p.get("lunch_share", 0.0) if since == long // 2 else 1.0

    def calls(self, start: float, end: float, rate: float) -> list[Call]:
        """The calls set up in [start, end) at ``rate`` calls per hour, in order of time."""
        count = int(self.rng.poisson(rate * (end - start) / 3600))
        times = np.sort(self.rng.uniform(start, end, count))
        made = []
        for ts in np.round(times, 6).tolist():
            if ts < self._quiet_until:
                continue
            call = self.call(ts)
            if call is not None:
                made.append(call)
        if self._due:
            while self._due and self._due[0][0] < end:
                due = heapq.heappop(self._due)
                made.append(due[2]._replace(ts=max(due[0], start)))
            made.sort(key=lambda call: call.ts)
        return made

    def later(self, ts: float, call: Call) -> None:
        """Have ``call`` made at ``ts``, as a consequence of another."""
        self._sequence += 1
        heapq.heappush(self._due, (round(ts, 6), self._sequence, call))

    def stopped(self, seat: int, now: float) -> None:
        """Somebody has stopped a call that was made with ``seat``."""
        if self.adapts:
            self._worn(seat, now)

    def _worn(self, seat: int, now: float) -> None:
        left = self._lives.get(seat)
        if left is None:
            left = int(self.rng.geometric(min(1.0, 1.0 / self._life)))
        if left > 1:
            self._lives[seat] = left - 1
            return
        self._lives.pop(seat, None)
        if seat >= 0:
            self.renew(seat)
        self.changes += 1
        if self.rng.random() < 1.0 / self._route_life:
            self.reroute()
            self._quiet_until = now + float(self.rng.exponential(self._pause_s))

    # ------------------------------------------------------------------ building blocks

    def chance(self, share: float) -> bool:
        """True with probability ``share``."""
        return bool(self.rng.random() < share)

    def pick(self, count: int) -> int:
        """One of ``count`` places."""
        return int(self.rng.random() * count)

    def whole(self, name: str) -> int:
        """The parameter ``name`` as a whole number, at least 1."""
        return max(1, round(self.p[name]))

    def crew(self, name: str) -> int:
        """How many seats, cards or numbers it takes at the pace ``name`` (calls an hour of each)."""
        return min(10_000, max(1, round(self.rate / self.p[name])))

    def victim(self) -> Victim:
        """Somebody to call, in the campaign's region as often as it is focused."""
        if not self._victims:
            rng, world = self.rng, self.world
            size = _VICTIMS_AT_ONCE
            people = world.anyone(rng, size)
            near = rng.random(size) < self.p.get("region_focus", 0.0)
            people = np.where(near, world.anyone_in(rng, np.full(size, self.focus)), people)
            columns = people.tolist(), world.number(people).tolist(), world.region(people).tolist()
            self._victims = [Victim(*row) for row in zip(*columns, strict=True)]
        return self._victims.pop()

    def person(self, position: int) -> Victim:
        """The person at ``position`` as somebody to call."""
        some = np.array([position])
        return Victim(position, int(self.world.number(some)[0]), int(self.world.region(some)[0]))

    def mobile_number(self) -> int:
        """A number out of the mobile ranges, allocated or not."""
        return int(self.world.some_mobile(self.rng, 1)[0])

    def foreign_number(self, country: int) -> int:
        """A number of ``country`` (index into COUNTRIES)."""
        key = np.array([int(self.rng.integers(1 << 60))])
        return int(self.world.in_country(np.array([country]), key)[0])

    def sim_cards(self, count: int, *, together: bool) -> list[int]:
        """The numbers of ``count`` SIM cards of one operator's range, bought ``together`` or one by one."""
        rng = self.rng
        prefix = int(MOBILE_PREFIXES[int(rng.integers(len(MOBILE_PREFIXES)))])
        base = int(rng.integers(9_990_000))
        locals_ = base + np.cumsum(rng.integers(1, 6, count)) if together else rng.integers(0, 10_000_000, count)
        return [70_000_000_000 + prefix * 10_000_000 + int(local) % 10_000_000 for local in locals_.tolist()]

    def imsis(self, numbers: list[int]) -> list[int]:
        """The IMSIs of the campaign's SIM cards with ``numbers``: made like anybody's."""
        which = np.array(numbers, dtype=np.int64)
        found: list[int] = self.world.imsi(below(which, 0x51, 1 << 40), which, self.day(self.starts)).tolist()
        return found

    def some_imei(self) -> int:
        """A handset, or a channel of a gateway."""
        return 350_000_000_000_000 + int(self.rng.integers(10_000_000_000_000))

    def day(self, ts: float) -> int:
        """The local day of ``ts``, counted from 1970."""
        return int((ts + self.world.settings.utc_offset_min * 60) // _DAY)

    def spoofed(self, victim_region: int, neighbour_share: float) -> int:
        """A home number that is not the caller's: a mobile, somebody's real one, or a fixed line near the victim."""
        if self.chance(neighbour_share):
            return int(self.world.some_fixed(self.rng, np.array([victim_region]))[0])
        if self.chance(0.3):
            return int(self.world.number(self.world.anyone(self.rng, 1))[0])
        return self.mobile_number()

    def routes(self, kind: int, count: int) -> list[Route]:
        """``count`` trunks of one class (0 international, 1 national, 2 subscriber), with one peer on each."""
        trunks = self.world.pick_trunks(self.rng, kind, count)
        origins = self.world.peers(trunks, self.rng.random(count))
        return [Route(*route) for route in zip(trunks.tolist(), origins.tolist(), strict=True)]

    def route(self) -> Route:
        """One of the campaign's ways in."""
        return self._via[self.pick(len(self._via))]

    def abroad_roaming(self) -> int:
        """What the switch believes about a spoofed home number from abroad: 1 roaming, 0 denied, -1 not known."""
        dice = self.rng.random()
        if dice < self.p["roaming_share"]:
            return 1
        return 0 if dice < self.p["roaming_share"] + self.p["denied_share"] else -1

    def ring(self) -> float:
        """How long it rings until somebody answers, in seconds: as with everybody else."""
        shape = self.world.ring_shape
        return min(75.0, max(0.4, float(self.rng.gamma(shape, self._ring_s / shape))))

    def outcome(self, answer: float, talk_s: float, sigma: float, long_share: float = 0.0) -> Outcome:
        """What comes of a call that people answer with probability ``answer``; a victim is held for a quarter hour."""
        rng = self.rng
        ring = self.ring()
        if rng.random() >= answer:
            cause = int(self.world.causes(rng.random(1))[0])
            return round(ring * (0.15 if cause in (17, 20, 34) else 2.0), 3), None, cause
        held = rng.random() < long_share
        talk = float(rng.lognormal(math.log(900.0), 0.7) if held else rng.lognormal(math.log(talk_s), sigma))
        return round(ring, 3), round(min(4 * 3600.0, max(0.5, talk)), 3), 16

    def build(
        self,
        ts: float,
        region: int,
        via: Route,
        caller: int,
        callee: int,
        outcome: Outcome,
        *,
        caller_form: int | None = None,
        callee_form: int | None = None,
        roaming: int = -1,
        sim: tuple[int, int, int] = NO_SIM,
        seat: int = -1,
        victim: int = -1,
        odd: Oddity | None = None,
    ) -> Call:
        """The call as a row; the number behind ``seat`` has been used once more. ``sim`` is IMSI, IMEI, cell."""
        trunk, origin = via
        ring, talk, cause = outcome
        after = 0.0
        if self.rng.random() < (self._report_share if talk is not None else self._missed_share):
            after = float(self.rng.lognormal(self._report_delay, self.world.complaint_sigma))
        if self.adapts and not self.heard:
            self._worn(seat, ts)
        if caller_form is None:
            caller_form = int(self.world.caller_forms[trunk])
        if callee_form is None:
            callee_form = int(self.world.callee_forms[trunk])
        return Call(
            ts, region, trunk, origin, caller, callee, caller_form, callee_form, ring, talk, cause, after, self.truth,
            roaming, *sim, seat, victim, odd,
        )  # fmt: skip

    def outbound(
        self, ts: float, person: int, callee: int, outcome: Outcome, *, seat: int = -1, truth: Truth | None = None
    ) -> Call:
        """A call that a victim makes to ``callee``, from the line and by the habit that all their calls have."""
        world = self.world
        people = np.array([person])
        callees, local = np.array([callee]), np.ones(1, dtype=np.bool_)
        leg = home_leg(
            world, self.rng, people, world.number(people), callees, world.region(people), local, self.day(ts)
        )
        trunk = int(leg.trunk[0])
        via = Route(trunk, int(world.peers(leg.trunk, self.rng.random(1))[0]))
        made = self.build(
            ts, int(leg.region[0]), via, int(leg.caller[0]), callee, outcome, callee_form=int(leg.callee_form[0]),
            roaming=int(leg.roaming[0]), sim=(int(leg.imsi[0]), int(leg.imei[0]), int(leg.cell[0])), seat=seat,
        )  # fmt: skip
        return made if truth is None else made._replace(truth=truth)
