"""Fraud campaigns: one class per kind, each a small state machine that says which calls it makes in a stretch of time.

A kind declares the parameters that a scenario gives ranges for; a campaign draws its own from them. New kinds are
added to ``KINDS``. What a campaign uses (trunks, user agents, number ranges) is drawn from what honest callers use
too, except where being odd is its nature (a SIP scanner's dialled strings).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from antifraud.domain import ConfigError
from antifraud.simulator.call import Call, Truth
from antifraud.simulator.scenario import Span
from antifraud.simulator.world import (
    HOME_BASE,
    MOBILE_PREFIXES,
    SCANNERS,
    WANGIRI_COUNTRIES,
    Origin,
    Trunk,
    World,
    below,
    written,
)

_COMMON: Final = frozenset({"weight", "hours", "calls_per_hour"})
_NO_ANSWER: Final = (19, 19, 19, 17, 17, 16, 16, 21, 20)


class Campaign:
    """One campaign. ``rate`` is calls per hour while it works, ``load`` averaged over the day.

    ``most`` bounds the load; ``ends`` is event time.
    """

    kind: ClassVar[str]
    parameters: ClassVar[frozenset[str]]

    def __init__(
        self, world: World, rng: np.random.Generator, spans: Mapping[str, Span], name: str, start: float, most: float
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
        self._report_share = world.settings.reports.fraud_share
        self._report_delay = world.settings.reports.delay_h * 3600
        self.open()

    def open(self) -> None:
        """Draw what the campaign keeps for its whole life."""

    def works(self, hour: int) -> float:
        """How much of its rate it makes in local ``hour``: 0 closed, 1 at work."""
        if "opens" not in self.p:
            return 1.0
        opens, closes = round(self.p["opens"]), round(self.p["closes"])
        if not opens <= hour < max(closes, opens + 1):
            return 0.0
        lunch = opens + (closes - opens) // 2
        return 1.0 - 0.8 * self.p.get("lunch_share", 0.0) if hour == lunch else 1.0

    def calls(self, start: float, end: float, rate: float) -> list[Call]:
        """The calls set up in [start, end) at ``rate`` calls per hour, in order of time."""
        count = int(self.rng.poisson(rate * (end - start) / 3600))
        times = np.sort(self.rng.uniform(start, end, count))
        return [self.call(ts) for ts in np.round(times, 6).tolist()]

    def call(self, ts: float) -> Call:
        """One call at ``ts``."""
        raise NotImplementedError

    # ------------------------------------------------------------------ building blocks

    def chance(self, share: float) -> bool:
        """True with probability ``share``."""
        return bool(self.rng.random() < share)

    def whole(self, name: str) -> int:
        """The parameter ``name`` as a whole number, at least 1."""
        return max(1, round(self.p[name]))

    def crew(self, name: str) -> int:
        """How many seats, cards or numbers it takes at the pace ``name`` (calls an hour of each)."""
        return min(10_000, max(1, round(self.rate / self.p[name])))

    def victim(self) -> int:
        """Somebody to call, in the campaign's region as often as it is focused."""
        if self.chance(self.p.get("region_focus", 0.0)):
            return int(self.world.anyone_in(self.rng, np.array([self.focus]))[0])
        return int(self.world.anyone(self.rng, 1)[0])

    def number_of(self, person: int) -> int:
        """The number of ``person``."""
        return int(self.world.number(np.array([person]))[0])

    def region_of(self, person: int) -> int:
        """The region index of ``person``."""
        return int(self.world.region(np.array([person]))[0])

    def spoofed(self, victim_region: int, neighbour_share: float) -> int:
        """A home number that is not the caller's: a mobile, somebody's real one, or a fixed line near the victim."""
        if self.chance(neighbour_share):
            return int(self.world.some_fixed(self.rng, np.array([victim_region]))[0])
        if self.chance(0.3):
            return self.number_of(int(self.world.anyone(self.rng, 1)[0]))
        return int(self.world.some_mobile(self.rng, 1)[0])

    def pick_trunks(self, kind: int, count: int) -> list[tuple[Trunk, Origin]]:
        """``count`` trunks of one class (0 international, 1 national, 2 subscriber), with one peer on each."""
        found = []
        for index in self.world.pick_trunks(self.rng, kind, count).tolist():
            trunk = self.world.trunks[index]
            found.append((trunk, trunk.origins[int(self.rng.integers(len(trunk.origins)))]))
        return found

    def abroad_roaming(self) -> bool | None:
        """What the switch believes about a spoofed home number from abroad."""
        dice = self.rng.random()
        if dice < self.p["roaming_share"]:
            return True
        return False if dice < self.p["roaming_share"] + self.p["denied_share"] else None

    def outcome(
        self, answer: float, talk_s: float, sigma: float, long_share: float = 0.0
    ) -> tuple[float, float | None, int]:
        """Ring time, talk time or None, and the cause."""
        rng = self.rng
        ring = float(np.clip(rng.gamma(4.0, 2.6), 0.4, 75.0))
        if rng.random() >= answer:
            cause = int(rng.choice(_NO_ANSWER))
            return round(ring * (0.15 if cause in (17, 20) else 2.0), 3), None, cause
        talk = (
            float(rng.lognormal(np.log(900.0), 0.7))
            if rng.random() < long_share
            else float(rng.lognormal(np.log(talk_s), sigma))
        )
        return round(ring, 3), round(float(np.clip(talk, 0.5, 4 * 3600.0)), 3), 16

    def build(
        self,
        ts: float,
        region: int,
        via: tuple[Trunk, Origin],
        caller: str,
        callee: str,
        outcome: tuple[float, float | None, int],
        *,
        roaming: bool | None = None,
        sim: tuple[str, str, str] = ("", "", ""),
    ) -> Call:
        """The call as a row."""
        trunk, origin = via
        ring, talk, cause = outcome
        after = 0.0
        if talk is not None and self.rng.random() < self._report_share:
            after = float(self.rng.lognormal(np.log(self._report_delay), 0.9))
        return Call(
            ts, self.world.switches[region], trunk.name, caller, callee, "", "", "", origin.src_ip, origin.transport,
            origin.user_agent, origin.fingerprint, *sim, roaming, ring, talk, cause, after, self.truth,
        )  # fmt: skip


class CallCentre(Campaign):
    """A call centre abroad that shows rotating numbers: home numbers that are not its own, or foreign ones."""

    kind = "call_centre"
    parameters = _COMMON | {
        "calls_per_seat_hour", "calls_per_number", "spoof_share", "neighbour_share", "denied_share", "roaming_share",
        "trunks", "opens", "closes", "lunch_share", "region_focus", "answer", "talk_s", "victim_share",
    }  # fmt: skip

    def open(self) -> None:
        self._via = self.pick_trunks(0, self.whole("trunks"))
        self._seats: list[tuple[int, int, bool | None]] = [(0, 0, None)] * self.crew("calls_per_seat_hour")
        self._country = int(self.rng.integers(12))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        region = self.region_of(victim)
        seat = int(self.rng.integers(len(self._seats)))
        number, left, roaming = self._seats[seat]
        if left <= 0:
            left = int(self.rng.geometric(min(1.0, 1.0 / self.p["calls_per_number"])))
            if self.chance(self.p["spoof_share"]):
                number, roaming = self.spoofed(region, self.p["neighbour_share"]), self.abroad_roaming()
            else:
                key = np.array([int(self.rng.integers(1 << 60))])
                number, roaming = int(self.world.in_country(np.array([self._country]), key)[0]), None
        self._seats[seat] = (number, left - 1, roaming)
        via = self._via[int(self.rng.integers(len(self._via)))]
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        shown = written(number, via[0].caller_form)
        callee = written(self.number_of(victim), via[0].callee_form)
        return self.build(ts, region, via, shown, callee, outcome, roaming=roaming)


class GsmGateway(Campaign):
    """A rack of SIM cards at home that turns foreign calls into local mobile ones."""

    kind = "gsm_gateway"
    parameters = _COMMON | {
        "calls_per_sim_hour", "neighbours", "opens", "closes", "region_focus", "answer", "talk_s", "victim_share",
    }  # fmt: skip

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_sim_hour")
        prefix = int(MOBILE_PREFIXES[int(rng.integers(len(MOBILE_PREFIXES)))])
        base = int(rng.integers(9_990_000))
        together = self.p["neighbours"] > 0.5
        locals_ = base + np.cumsum(rng.integers(1, 6, count)) if together else rng.integers(0, 10_000_000, count)
        self._numbers = [HOME_BASE + prefix * 10_000_000 + int(local) for local in locals_.tolist()]
        first = 401_010_000_000_000 + int(rng.integers(9_000_000_000))
        channels = max(1, count // int(rng.integers(1, 5)))
        imei = 350_000_000_000_000 + int(rng.integers(9_000_000_000_000))
        cell = f"c-{self.focus}-{int(rng.integers(1, 901))}"
        self._sims = [
            (f"{first + 7 * index:015d}", f"{imei + 13 * (index % channels):015d}", cell) for index in range(count)
        ]
        self._via = self.pick_trunks(2, 1)[0]

    def call(self, ts: float) -> Call:
        victim = self.victim()
        sim = int(self.rng.integers(len(self._numbers)))
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        there = self.region_of(victim)
        caller, callee = self._numbers[sim], self.number_of(victim)
        if there == self.focus:
            form = 2 if self.chance(0.5) else 0
            shown, dialled = written(caller, self._via[0].caller_form), written(callee, form)
            return self.build(ts, there, self._via, shown, dialled, outcome, roaming=False, sim=self._sims[sim])
        via = self.pick_trunks(1, 1)[0]
        shown, dialled = written(caller, via[0].caller_form), written(callee, via[0].callee_form)
        return self.build(ts, there, via, shown, dialled, outcome)


class Chain(Campaign):
    """One victim is called in turn by an "operator", the "police" and the "bank", each from a number never seen."""

    kind = "chain"
    parameters = _COMMON | {
        "steps", "gap_s", "spoof_share", "denied_share", "roaming_share", "opens", "closes", "region_focus",
        "give_up_share", "talk_s",
    }  # fmt: skip

    def open(self) -> None:
        self._due: list[tuple[float, int, int, int]] = []
        self._number = 0
        self._abroad = self.pick_trunks(0, 2)

    def calls(self, start: float, end: float, rate: float) -> list[Call]:
        steps = self.p["steps"]
        beginnings = int(self.rng.poisson(rate / max(1.0, steps) * (end - start) / 3600))
        for ts in self.rng.uniform(start, end, beginnings).tolist():
            self._number += 1
            heapq.heappush(self._due, (round(ts, 6), self._number, self.victim(), max(2, round(steps))))
        made = []
        while self._due and self._due[0][0] < end:
            ts, number, victim, left = heapq.heappop(self._due)
            call = self._step(max(ts, start), victim)
            made.append(call)
            # The next "official" calls when this one has hung up, unless the victim has seen through it.
            if left > 1 and not self.chance(self.p["give_up_share"]):
                gap = float(self.rng.exponential(self.p["gap_s"])) + 1.0
                after = round(ts + call.ring_s + (call.talk_s or 0.0) + gap, 6)
                heapq.heappush(self._due, (after, number, victim, left - 1))
        return made

    def _step(self, ts: float, victim: int) -> Call:
        region = self.region_of(victim)
        outcome = self.outcome(0.8, self.p["talk_s"], 0.8)
        callee = self.number_of(victim)
        if self.chance(self.p["spoof_share"]):
            via = self._abroad[int(self.rng.integers(len(self._abroad)))]
            shown = written(self.spoofed(region, 0.5), via[0].caller_form)
            roaming = self.abroad_roaming()
        else:
            via = self.pick_trunks(1, 1)[0]
            shown = written(int(self.world.some_mobile(self.rng, 1)[0]), via[0].caller_form)
            roaming = None
        return self.build(ts, region, via, shown, written(callee, via[0].callee_form), outcome, roaming=roaming)


class Robocall(Campaign):
    """A machine that dials a block of numbers one after the other and plays a recording."""

    kind = "robocall"
    parameters = _COMMON | {
        "calls_per_number_hour", "step", "from_abroad_share", "unallocated_share", "answer", "talk_s",
        "opens", "closes",
    }  # fmt: skip

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_number_hour")
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.pick_trunks(0 if self._from_abroad else 1, 1)[0]
        if self.chance(0.5):
            self._numbers = self.world.some_mobile(rng, count).tolist()
        else:
            self._numbers = self.world.some_fixed(rng, np.full(count, self.focus)).tolist()
        prefix = int(MOBILE_PREFIXES[int(rng.integers(len(MOBILE_PREFIXES)))])
        self._next = HOME_BASE + prefix * 10_000_000 + int(rng.integers(9_900_000))

    def call(self, ts: float) -> Call:
        caller = int(self._numbers[int(self.rng.integers(len(self._numbers)))])
        callee = self._next
        self._next += self.whole("step")
        if self.chance(0.002):
            self._next += int(self.rng.integers(100, 10_000))
        if self.chance(self.p["unallocated_share"]):
            outcome: tuple[float, float | None, int] = (round(float(self.rng.uniform(0.2, 1.5)), 3), None, 1)
        else:
            outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.5)
        shown = written(caller, self._via[0].caller_form)
        dialled = written(callee, self._via[0].callee_form)
        roaming = False if self._from_abroad and self.chance(0.6) else None
        return self.build(ts, self.focus, self._via, shown, dialled, outcome, roaming=roaming)


class Wangiri(Campaign):
    """One ring from an expensive foreign number, so that people call back."""

    kind = "wangiri"
    parameters = _COMMON | {"calls_per_number_hour", "ring_s", "trunks"}

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_number_hour")
        country = WANGIRI_COUNTRIES[int(rng.integers(len(WANGIRI_COUNTRIES)))]
        keys = rng.integers(0, 1 << 60, count)
        self._numbers = self.world.in_country(np.full(count, country), keys).tolist()
        self._via = self.pick_trunks(0, self.whole("trunks"))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        via = self._via[int(self.rng.integers(len(self._via)))]
        caller = int(self._numbers[int(self.rng.integers(len(self._numbers)))])
        ring = round(float(np.clip(self.rng.gamma(6.0, self.p["ring_s"] / 6.0), 0.2, 12.0)), 3)
        talk = round(float(self.rng.uniform(0.5, 3.0)), 3) if self.chance(0.03) else None
        shown = written(caller, via[0].caller_form)
        callee = written(self.number_of(victim), via[0].callee_form)
        return self.build(ts, self.region_of(victim), via, shown, callee, (ring, talk, 16))


class SipScanner(Campaign):
    """A program that tries dialling prefixes and extensions on whatever answers SIP, to find a way to call for free."""

    kind = "sip_scanner"
    parameters = _COMMON | {"calls_per_extension_hour", "from_abroad_share"}

    def open(self) -> None:
        rng = self.rng
        base = self.pick_trunks(0 if self.chance(self.p["from_abroad_share"]) else 2, 1)[0][0]
        host = rng.integers(1, 255, 2).tolist()
        net = "203.0.113" if base.name.startswith("intl") else f"10.40.{host[0]}"
        origin = Origin(
            src_ip=f"{net}.{host[1]}",
            transport="udp",
            user_agent=SCANNERS[int(rng.integers(len(SCANNERS)))],
            fingerprint=f"{int(rng.integers(1 << 48)):012x}",
        )
        self._via = (base, origin)
        extensions = rng.integers(100, 10_000, self.crew("calls_per_extension_hour")).tolist()
        self._callers = [str(extension) for extension in extensions]
        key = np.array([int(rng.integers(1 << 60))])
        self._target = int(self.world.in_country(np.array([11]), below(key, 1, 1 << 40))[0])

    def call(self, ts: float) -> Call:
        rng = self.rng
        prefix = ("00", "011", "900", "9011", "810", "0", "+")[int(rng.integers(7))]
        caller = self._callers[int(rng.integers(len(self._callers)))]
        cause = int(rng.choice((1, 21, 28, 57)))
        outcome = (round(float(rng.uniform(0.02, 0.6)), 3), None, cause)
        return self.build(ts, self.focus, self._via, caller, f"{prefix}{self._target}", outcome)


KINDS: Final[Mapping[str, type[Campaign]]] = {
    kind.kind: kind for kind in (CallCentre, GsmGateway, Chain, Robocall, Wangiri, SipScanner)
}


class FraudTraffic:
    """All campaigns of one run: starts new ones so that their calls make up the wanted share.

    ``volume`` is calls per second over the week. A campaign never gets more than its part of the share, so that
    small worlds see many kinds too.
    """

    def __init__(self, world: World, seed: int, start: float, volume: float) -> None:
        fraud = world.settings.fraud
        check_kinds(fraud.kinds)
        self._world = world
        self._spans = fraud.kinds
        self._names = tuple(fraud.kinds)
        weights = np.array([fraud.kinds[name]["weight"].high for name in self._names])
        self._weights = weights / weights.sum() if len(weights) else weights
        self._wanted = volume * 3600 * fraud.share
        self._most = max(1e-6, self._wanted / fraud.concurrent)
        self._seed = seed
        self._start = start
        self._started = 0
        self._running: list[Campaign] = []
        self._bag: list[str] = []
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(start), 0xF4A0D])))

    def calls(self, start: float, end: float, hour: int) -> list[Call]:
        """The fraud calls set up in [start, end), which lie in local ``hour``, in order of time."""
        if not self._names or self._wanted <= 0:
            return []
        self._running = [campaign for campaign in self._running if campaign.ends > start]
        while sum(campaign.load for campaign in self._running) < self._wanted * 0.999:
            self._running.append(self._new(start))
        made = []
        for campaign in self._running:
            made += campaign.calls(start, min(end, campaign.ends), campaign.rate * campaign.works(hour))
        made.sort(key=lambda call: call.ts)
        return made

    def _new(self, now: float) -> Campaign:
        self._started += 1
        kind = self._next_kind()
        name = f"{self._seed}-{int(self._start)}-{self._started}-{kind}"
        rng = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, int(self._start), 0xCA4, self._started]))
        )
        room = self._wanted - sum(campaign.load for campaign in self._running)
        campaign = KINDS[kind](self._world, rng, self._spans[kind], name, now, min(self._most, room))
        if self._started <= self._world.settings.fraud.concurrent:
            # Those that run at the beginning began some time before, so that they do not all end together.
            campaign.ends = now + (campaign.ends - now) * float(rng.uniform(0.2, 1.0))
        return campaign

    def _next_kind(self) -> str:
        """By weight; but every kind once before any comes again, so that a short run has them all."""
        if not self._bag:
            order = self._rng.choice(len(self._names), len(self._names), replace=False, p=self._weights)
            self._bag = [self._names[index] for index in order.tolist()] if self._started <= 1 else []
        if self._bag:
            return self._bag.pop(0)
        return self._names[int(self._rng.choice(len(self._names), p=self._weights))]


def check_kinds(kinds: Mapping[str, Mapping[str, Span]]) -> None:
    """ConfigError unless every kind is known and has exactly the parameters that it needs."""
    for name, spans in kinds.items():
        known = KINDS.get(name)
        if known is None:
            hint = f"kinds: {', '.join(KINDS)}"
            raise ConfigError(f"fraud.kinds.{name}: there is no such kind of campaign", hint=hint)
        missing, unknown = sorted(known.parameters - set(spans)), sorted(set(spans) - known.parameters)
        if missing:
            raise ConfigError(
                f"fraud.kinds.{name}: {', '.join(missing)} missing", hint="config/scenarios/national.yaml has them all"
            )
        if unknown:
            known_names = ", ".join(sorted(known.parameters))
            raise ConfigError(
                f"fraud.kinds.{name}: {', '.join(unknown)} means nothing here", hint=f"it takes {known_names}"
            )
