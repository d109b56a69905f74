"""Campaigns in which somebody talks a victim round: from abroad, from a rack of SIM cards, in turn, or quietly."""

from __future__ import annotations

import numpy as np

from antifraud.simulator.call import Call
from antifraud.simulator.campaign import COMMON, Campaign, Outcome, Victim
from antifraud.simulator.organisations import Trade
from antifraud.simulator.plan import EIGHT, PLUS
from antifraud.simulator.world import INTERNATIONAL, NATIONAL, SUBSCRIBER, Route


class CallCentre(Campaign):
    """A call centre abroad that shows rotating numbers: home numbers that are not its own, or foreign ones."""

    kind = "call_centre"
    parameters = COMMON | {
        "calls_per_seat_hour", "calls_per_number", "spoof_share", "neighbour_share", "denied_share", "roaming_share",
        "trunks", "opens", "closes", "lunch_share", "region_focus", "answer", "talk_s", "victim_share",
    }  # fmt: skip

    def open(self) -> None:
        self._via = self.routes(INTERNATIONAL, self.whole("trunks"))
        self._seats: list[tuple[int, int, int]] = [(0, 0, -1)] * self.crew("calls_per_seat_hour")
        self._country = int(self.rng.integers(12))

    def renew(self, seat: int) -> None:
        self._seats[seat] = (0, 0, -1)

    def number(self, victim: Victim) -> tuple[int, int]:
        """A new number to show to ``victim``, and what the switch believes of its roaming."""
        if self.chance(self.p["spoof_share"]):
            return self.spoofed(victim.region, self.p["neighbour_share"]), self.abroad_roaming()
        return self.foreign_number(self._country), -1

    def call(self, ts: float) -> Call:
        victim = self.victim()
        seat = self.pick(len(self._seats))
        number, left, roaming = self._seats[seat]
        if left <= 0:
            left = int(self.rng.geometric(min(1.0, 1.0 / self.p["calls_per_number"])))
            number, roaming = self.number(victim)
        self._seats[seat] = (number, left - 1, roaming)
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        return self.build(
            ts, victim.region, self.route(), number, victim.number, outcome, roaming=roaming, seat=seat,
            victim=victim.person,
        )  # fmt: skip


class GsmGateway(Campaign):
    """A rack of SIM cards at home that turns foreign calls into local mobile ones."""

    kind = "gsm_gateway"
    parameters = COMMON | {
        "calls_per_sim_hour", "neighbours", "opens", "closes", "region_focus", "answer", "talk_s", "victim_share",
    }  # fmt: skip
    trunk_class = SUBSCRIBER

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_sim_hour")
        self._numbers = self.sim_cards(count, together=self.p["neighbours"] > 0.5)
        self._channels = [self.some_imei() for _ in range(max(1, count // int(rng.integers(1, 5))))]
        self._cell = int(rng.integers(1, 901))
        self._sims = self.imsis(self._numbers)
        self._via = self.routes(SUBSCRIBER, 1)

    def renew(self, seat: int) -> None:
        self._numbers[seat] = self.sim_cards(1, together=False)[0]
        self._sims[seat] = self.imsis([self._numbers[seat]])[0]

    def reroute(self) -> None:
        """The rack is carried elsewhere, and tells other handset numbers."""
        super().reroute()
        self._cell = int(self.rng.integers(1, 901))
        self._channels = [self.some_imei() for _ in self._channels]

    def call(self, ts: float) -> Call:
        victim = self.victim()
        seat = self.pick(len(self._numbers))
        caller, sim = self._numbers[seat], (self._sims[seat], self._channels[seat % len(self._channels)], self._cell)
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        if victim.region == self.focus:
            form = EIGHT if self.chance(0.5) else PLUS
            return self.build(
                ts, victim.region, self._via[0], caller, victim.number, outcome, callee_form=form, roaming=0, sim=sim,
                seat=seat, victim=victim.person,
            )  # fmt: skip
        via = self.routes(NATIONAL, 1)[0]
        return self.build(
            ts, victim.region, via, caller, victim.number, outcome, seat=seat, victim=victim.person
        )  # fmt: skip


class Chain(Campaign):
    """One victim is called in turn by an "operator", the "police" and the "bank", each from a number never seen."""

    kind = "chain"
    parameters = COMMON | {
        "steps", "gap_s", "spoof_share", "denied_share", "roaming_share", "opens", "closes", "region_focus",
        "give_up_share", "talk_s",
    }  # fmt: skip

    def open(self) -> None:
        self._via = self.routes(INTERNATIONAL, 2)

    def calls(self, start: float, end: float, rate: float) -> list[Call]:
        # One beginning makes several calls: the others are due when it has ended.
        return super().calls(start, end, rate / max(1.0, self.p["steps"]))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        first = made = self._step(ts, victim)
        for _ in range(max(2, round(self.p["steps"])) - 1):
            # The next "official" calls when this one has hung up, unless the victim has seen through it.
            if self.chance(self.p["give_up_share"]):
                break
            gap = float(self.rng.exponential(self.p["gap_s"])) + 1.0
            made = self._step(made.ts + made.ring_s + (made.talk_s or 0.0) + gap, victim)
            self.later(made.ts, made)
        return first

    def _step(self, ts: float, victim: Victim) -> Call:
        outcome = self.outcome(0.8, self.p["talk_s"], 0.8)
        if self.chance(self.p["spoof_share"]):
            number, roaming = self.spoofed(victim.region, 0.5), self.abroad_roaming()
            return self.build(
                ts, victim.region, self.route(), number, victim.number, outcome, roaming=roaming, victim=victim.person
            )
        via = self.routes(NATIONAL, 1)[0]
        return self.build(
            ts, victim.region, via, self.mobile_number(), victim.number, outcome, victim=victim.person
        )  # fmt: skip


class CodeTheft(Campaign):
    """Thieves make victims read out the code that a service has just spoken or sent to them.

    While the victim talks, the service's honest voice-code line calls too (``code_call_share``; those calls are not
    fraud). Part of the campaigns goes for voice mail (``mailbox_share`` of the calls): the code is left there while
    nobody answers, and is fetched by a call that shows the victim's own number.
    """

    kind = "code_theft"
    parameters = COMMON | {
        "calls_per_number", "home_share", "denied_share", "roaming_share", "code_call_share", "mailbox_share", "opens",
        "closes", "region_focus", "answer", "talk_s",
    }  # fmt: skip

    def open(self) -> None:
        self._via = self.routes(INTERNATIONAL, 2)
        self._at_home = self.chance(self.p["home_share"])
        self._number, self._left, self._roaming = 0, 0, -1
        self._services = [trade for trade in self.world.trades if trade.name.startswith("voice_code")]

    def renew(self, _seat: int) -> None:
        self._left = 0

    def call(self, ts: float) -> Call:
        victim = self.victim()
        if self.chance(self.p["mailbox_share"]):
            return self._mailbox(ts, victim)
        if self._left <= 0:
            self._left = int(self.rng.geometric(min(1.0, 1.0 / self.p["calls_per_number"])))
            self._number = self.mobile_number() if self._at_home else self.spoofed(victim.region, 0.2)
            self._roaming = -1 if self._at_home else self.abroad_roaming()
        self._left -= 1
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.7)
        via = self.routes(NATIONAL, 1)[0] if self._at_home else self.route()
        made = self.build(
            ts, victim.region, via, self._number, victim.number, outcome, roaming=self._roaming, seat=0,
            victim=victim.person,
        )  # fmt: skip
        if made.talk_s is not None and made.talk_s > 15.0 and self.chance(self.p["code_call_share"]):
            when = ts + made.ring_s + float(self.rng.uniform(5.0, made.talk_s - 8.0))
            spoken = self._code(when, victim, answer=0.7)
            if spoken is not None:
                self.later(when, spoken)
        return made

    def _mailbox(self, ts: float, victim: Victim) -> Call:
        """The code goes to the mailbox, then "the victim" asks for it: from abroad, with the victim's own number."""
        outcome = (round(float(self.rng.uniform(2.0, 9.0)), 3), round(float(self.rng.uniform(20.0, 60.0)), 3), 16)
        fetched = self.build(
            ts,
            victim.region,
            self.route(),
            victim.number,
            victim.number,
            outcome,
            roaming=self.abroad_roaming(),
            seat=0,
        )
        spoken = self._code(ts, victim, answer=0.0)
        if spoken is None:
            return fetched
        self.later(ts + float(self.rng.uniform(60.0, 150.0)), fetched)
        return spoken

    def _code(self, ts: float, victim: Victim, answer: float) -> Call | None:
        """A call of an honest voice-code service to ``victim``; None where the country has no such service."""
        if not self._services:
            return None
        trade = self._services[self.pick(len(self._services))]
        settings = trade.settings
        owner, seat = trade.some_lines(self.rng, 1)
        region = trade.regions(owner)
        via = self.routes(INTERNATIONAL if settings.origin == "foreign" else NATIONAL, 1)[0]
        outcome = self.outcome(answer, settings.talk_s, settings.talk_sigma)
        number = int(trade.numbers(owner, region, seat)[0])
        made = self.build(ts, victim.region, via, number, victim.number, outcome)
        return made._replace(truth=trade.truth, report_after_s=0.0)


class OutboundLuring(Campaign):
    """Victims are made to call out: by a missed call, by a short call that tells them to, or by a message.

    ``missed_share`` of the lures ring only; ``follow_share`` of the people lured call the campaign's line
    (``silent_share`` of all victims come without a lure on the telephone). The line is the number that called, or
    another at home or abroad.
    """

    kind = "outbound_luring"
    parameters = COMMON | {
        "lines", "abroad_share", "missed_share", "follow_share", "silent_share", "delay_s", "same_number_share",
        "opens", "closes", "region_focus", "talk_s",
    }  # fmt: skip

    def open(self) -> None:
        self._abroad = self.chance(self.p["abroad_share"])
        self._country = int(self.rng.integers(17))
        self._via = self.routes(INTERNATIONAL if self._abroad else NATIONAL, 2)
        self._lines = [self._line() for _ in range(self.whole("lines"))]
        self._same = self.chance(self.p["same_number_share"])

    def _line(self) -> int:
        if self._abroad:
            return self.foreign_number(self._country)
        if self.chance(0.5):
            return int(self.world.some_fixed(self.rng, np.array([self.focus]))[0])
        return self.mobile_number()

    def renew(self, seat: int) -> None:
        self._lines[seat] = self._line()

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._abroad else NATIONAL, len(self._via))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        seat = self.pick(len(self._lines))
        if self.chance(self.p["silent_share"]):
            return self._follow(ts, victim, seat)
        shown = self._lines[seat] if self._same else self._line()
        if self.chance(self.p["missed_share"]):
            outcome: Outcome = (round(max(0.5, float(self.rng.gamma(5.0, 0.8))), 3), None, 16)
        else:
            outcome = self.outcome(0.5, 18.0, 0.6)
        lure = self.build(ts, victim.region, self.route(), shown, victim.number, outcome, seat=seat)
        if self.chance(self.p["follow_share"]):
            wait = float(self.rng.lognormal(np.log(self.p["delay_s"]), 1.0)) + 4.0
            when = ts + lure.ring_s + (lure.talk_s or 0.0) + wait
            self.later(when, self._follow(when, victim, seat))
        return lure

    def _follow(self, ts: float, victim: Victim, seat: int) -> Call:
        return self.outbound(
            ts, victim.person, self._lines[seat], self.outcome(0.9, self.p["talk_s"], 0.9), seat=seat
        )  # fmt: skip


class LowAndSlow(Campaign):
    """Evaders: many SIM cards in ordinary handsets, a few calls a day from each, ringing and talking as people do.

    ``mimic_share`` of their calls go to each other, so that every number has people it calls again.
    """

    kind = "low_and_slow"
    parameters = COMMON | {
        "calls_per_number_day", "mimic_share", "handset_sharing", "opens", "closes", "region_focus", "answer_factor",
        "talk_factor", "victim_share",
    }  # fmt: skip
    trunk_class = SUBSCRIBER

    def open(self) -> None:
        rng = self.rng
        count = min(20_000, max(3, round(self.load * 24 / self.p["calls_per_number_day"])))
        self._numbers: list[int] = self.world.some_mobile(rng, count).tolist()
        self._imsis = self.imsis(self._numbers)
        sharing = max(1, round(self.p["handset_sharing"]))
        self._imeis = [self.some_imei() for _ in range(max(1, count // sharing))]
        self._cells = rng.integers(1, 901, count).tolist()
        self._homes = rng.integers(0, len(self.world.codes), count).tolist()
        persons = self.world.settings.persons
        self._talk_s, self._sigma = persons.talk_s * self.p["talk_factor"], persons.talk_sigma
        self._answer = persons.answer * self.p["answer_factor"]

    def renew(self, seat: int) -> None:
        self._numbers[seat] = self.mobile_number()
        self._imsis[seat] = self.imsis([self._numbers[seat]])[0]

    def call(self, ts: float) -> Call:
        seat = self.pick(len(self._numbers))
        if self.chance(self.p["mimic_share"]):
            # Everyone has three accomplices, each its neighbours in the list.
            friend = (seat + 1 + self.pick(3)) % len(self._numbers)
            callee, region = self._numbers[friend], self._homes[friend]
            outcome: Outcome = self.outcome(0.8, self._talk_s, self._sigma)
            person = -1
        else:
            victim = self.victim()
            callee, region, person = victim.number, victim.region, victim.person
            outcome = self.outcome(self._answer, self._talk_s, self._sigma, self.p["victim_share"])
        if region == self._homes[seat]:
            sim = (self._imsis[seat], self._imeis[seat % len(self._imeis)], self._cells[seat])
            form = EIGHT if (seat * 7919) % 100 < 100 * self.world.eight_share else PLUS
            return self.build(
                ts, region, self.routes(SUBSCRIBER, 1)[0], self._numbers[seat], callee, outcome, callee_form=form,
                roaming=0, sim=sim, seat=seat, victim=person,
            )  # fmt: skip
        via = self.routes(NATIONAL, 1)[0]
        return self.build(ts, region, via, self._numbers[seat], callee, outcome, seat=seat, victim=person)


class RoamingSims(Campaign):
    """A call centre abroad with real home SIM cards that roam: the switch rightly believes that they do."""

    kind = "roaming_sims"
    parameters = COMMON | {
        "calls_per_sim_hour", "opens", "closes", "region_focus", "answer", "talk_s", "victim_share", "unknown_share",
    }  # fmt: skip

    def open(self) -> None:
        count = self.crew("calls_per_sim_hour")
        self._numbers = self.sim_cards(count, together=self.chance(0.5))
        self._via = self.routes(INTERNATIONAL, 2)

    def renew(self, seat: int) -> None:
        self._numbers[seat] = self.sim_cards(1, together=False)[0]

    def call(self, ts: float) -> Call:
        victim = self.victim()
        seat = self.pick(len(self._numbers))
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        return self.build(
            ts, victim.region, self.route(), self._numbers[seat], victim.number, outcome,
            roaming=-1 if self.chance(self.p["unknown_share"]) else 1, seat=seat, victim=victim.person,
        )  # fmt: skip


class MirrorSpoof(Campaign):
    """Every call shows a number that looks like the victim's own: the same but for the last digits."""

    kind = "mirror_spoof"
    parameters = COMMON | {
        "digits", "from_abroad_share", "denied_share", "roaming_share", "trunks", "opens", "closes", "region_focus",
        "answer", "talk_s", "victim_share",
    }  # fmt: skip

    def open(self) -> None:
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, self.whole("trunks"))

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, len(self._via))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        free = 10 ** self.whole("digits")
        shown = victim.number - victim.number % free + int(self.rng.integers(free))
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        roaming = self.abroad_roaming() if self._from_abroad else -1
        return self.build(
            ts, victim.region, self.route(), shown, victim.number, outcome, roaming=roaming, victim=victim.person
        )


def exchange_of(campaign: Campaign) -> tuple[Trade, int, int] | None:
    """An honest organisation's exchange at home: its trade, owner and region; None where the world has none."""
    rng = campaign.rng
    trades = [trade for trade in campaign.world.trades if trade.settings.origin == "fixed"]
    # Offices and firms have exchanges that nobody watches; of the other trades some do.
    weights = np.array([trade.lines / trade.settings.lines for trade in trades], dtype=np.float64)
    if not trades or weights.sum() <= 0:
        return None
    trade = trades[int(rng.choice(len(trades), p=weights / weights.sum()))]
    owner = int(rng.integers(max(1, -(-trade.lines // trade.settings.lines))))
    return trade, owner, int(trade.regions(np.array([owner]))[0])


def line_of(exchange: tuple[Trade, int, int], seat: int) -> int:
    """The number of the ``seat``-th line of ``exchange``."""
    trade, owner, region = exchange
    return int(trade.numbers(np.array([owner]), np.array([region]), np.array([seat]))[0])


class PbxRelay(Campaign):
    """A call centre that calls its victims through hacked exchanges: from honest firms' own lines and numbers."""

    kind = "pbx_relay"
    parameters = COMMON | {
        "exchanges", "lines", "opens", "closes", "region_focus", "answer", "talk_s", "victim_share",
    }  # fmt: skip
    trunk_class = SUBSCRIBER

    def open(self) -> None:
        found = [exchange_of(self) for _ in range(self.whole("exchanges"))]
        self._exchanges = [exchange for exchange in found if exchange is not None]

    def renew(self, seat: int) -> None:
        exchange = exchange_of(self)
        if exchange is not None:
            self._exchanges[seat] = exchange

    def call(self, ts: float) -> Call | None:
        if not self._exchanges:
            return None
        victim = self.victim()
        seat = self.pick(len(self._exchanges))
        exchange = self._exchanges[seat]
        outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.9, self.p["victim_share"])
        local = exchange[2] == victim.region
        via: Route = self.routes(SUBSCRIBER if local else NATIONAL, 1)[0]
        caller = line_of(exchange, self.pick(self.whole("lines")))
        return self.build(ts, victim.region, via, caller, victim.number, outcome, seat=seat, victim=victim.person)
