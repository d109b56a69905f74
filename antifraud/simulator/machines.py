"""Campaigns that machines make: recordings, single rings, verification by missed call, scanning, stolen minutes."""

from __future__ import annotations

import numpy as np

from antifraud.simulator.call import Call, Oddity, Origin, Truth
from antifraud.simulator.campaign import COMMON, Campaign, Outcome
from antifraud.simulator.persuasion import exchange_of, line_of
from antifraud.simulator.plan import (
    EIGHT,
    HOME_BASE,
    MOBILE_PREFIXES,
    PLUS,
    WANGIRI_COUNTRIES,
    below,
)
from antifraud.simulator.world import INTERNATIONAL, NATIONAL, SCANNERS, SUBSCRIBER


class Robocall(Campaign):
    """A machine that dials a block of numbers one after the other and plays a recording."""

    kind = "robocall"
    parameters = COMMON | {
        "calls_per_number_hour", "step", "from_abroad_share", "unallocated_share", "answer", "talk_s",
        "opens", "closes",
    }  # fmt: skip

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_number_hour")
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, 1)
        self._mobiles = self.chance(0.5)
        self._numbers = [self._number() for _ in range(count)]
        prefix = int(MOBILE_PREFIXES[int(rng.integers(len(MOBILE_PREFIXES)))])
        self._next = HOME_BASE + prefix * 10_000_000 + int(rng.integers(9_900_000))

    def _number(self) -> int:
        if self._mobiles:
            return self.mobile_number()
        return int(self.world.some_fixed(self.rng, np.array([self.focus]))[0])

    def renew(self, seat: int) -> None:
        self._numbers[seat] = self._number()

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, 1)

    def call(self, ts: float) -> Call:
        seat = self.pick(len(self._numbers))
        callee = self._next
        self._next += self.whole("step")
        if self.chance(0.002):
            self._next += int(self.rng.integers(100, 10_000))
        if self.chance(self.p["unallocated_share"]):
            outcome: Outcome = (round(float(self.rng.uniform(0.2, 1.5)), 3), None, 1)
        else:
            outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.5)
        roaming = 0 if self._from_abroad and self.chance(0.6) else -1
        return self.build(
            ts, self.focus, self._via[0], self._numbers[seat], callee, outcome, roaming=roaming, seat=seat
        )  # fmt: skip


class Wangiri(Campaign):
    """One ring from an expensive foreign number, so that people call back; ``callback_share`` of them do.

    The calls back are fraud too (``wangiri_callback``): they are what the campaign earns by.
    """

    kind = "wangiri"
    parameters = COMMON | {"calls_per_number_hour", "ring_s", "trunks", "callback_share", "callback_delay_s"}

    def open(self) -> None:
        rng, count = self.rng, self.crew("calls_per_number_hour")
        self._country = WANGIRI_COUNTRIES[int(rng.integers(len(WANGIRI_COUNTRIES)))]
        self._numbers = [self.foreign_number(self._country) for _ in range(count)]
        self._via = self.routes(INTERNATIONAL, self.whole("trunks"))
        self._returned = Truth(fraud=True, campaign=self.truth.campaign, scenario="wangiri_callback")

    def renew(self, seat: int) -> None:
        self._numbers[seat] = self.foreign_number(self._country)

    def call(self, ts: float) -> Call:
        victim = self.victim()
        seat = self.pick(len(self._numbers))
        ring = round(min(12.0, max(0.2, float(self.rng.gamma(6.0, self.p["ring_s"] / 6.0)))), 3)
        talk = round(float(self.rng.uniform(0.5, 3.0)), 3) if self.chance(0.03) else None
        number = self._numbers[seat]
        made = self.build(ts, victim.region, self.route(), number, victim.number, (ring, talk, 16), seat=seat)
        if talk is None and self.chance(self.p["callback_share"]):
            when = ts + ring + 5.0 + float(self.rng.lognormal(np.log(self.p["callback_delay_s"]), 1.2))
            # A recording keeps people on the line; most understand within a minute.
            outcome = self.outcome(0.95, 35.0, 0.8)
            self.later(when, self.outbound(when, victim.person, number, outcome, truth=self._returned))
        return made


class FlashCall(Campaign):
    """Verification by missed call past the operators' tariffs: every call shows another number and rings for a moment.

    The last digits of the number are the code, so it is used once. ``from_abroad_share`` of the campaigns come in on
    international trunks, with numbers of some countries or of home; the others go through SIM cards at home.
    """

    kind = "flash_call"
    parameters = COMMON | {
        "from_abroad_share", "home_share", "denied_share", "roaming_share", "trunks", "ring_s", "block", "answer",
    }  # fmt: skip

    def open(self) -> None:
        rng = self.rng
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, self.whole("trunks"))
        self._shows_home = not self._from_abroad or self.chance(self.p["home_share"])
        self._countries = rng.integers(0, 17, 3).tolist()
        # Ranges abroad are small: their country code must stand.
        self._block = 10 ** min(7 if self._shows_home else 5, self.whole("block"))
        self._base = self._new_block()

    def _new_block(self) -> int:
        number = self.mobile_number() if self._shows_home else self.foreign_number(self._countries[self.pick(3)])
        return number - number % self._block

    def renew(self, _seat: int) -> None:
        self._base = self._new_block()

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, len(self._via))

    def call(self, ts: float) -> Call:
        victim = self.victim()
        number = self._base + int(self.rng.integers(self._block))
        ring = round(min(15.0, max(0.3, float(self.rng.gamma(5.0, self.p["ring_s"] / 5.0)))), 3)
        talk = round(float(self.rng.uniform(0.5, 4.0)), 3) if self.chance(self.p["answer"]) else None
        roaming = self.abroad_roaming() if self._from_abroad and self._shows_home else -1
        return self.build(
            ts, victim.region, self.route(), number, victim.number, (ring, talk, 16), roaming=roaming, seat=0
        )  # fmt: skip


class SipScanner(Campaign):
    """A program that tries dialling prefixes and extensions on whatever answers SIP, to find a way to call for free."""

    kind = "sip_scanner"
    parameters = COMMON | {"calls_per_extension_hour", "from_abroad_share"}

    def open(self) -> None:
        rng = self.rng
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.routes(INTERNATIONAL if self._from_abroad else SUBSCRIBER, 1)
        self._origin = self._machine()
        extensions = rng.integers(100, 10_000, self.crew("calls_per_extension_hour")).tolist()
        self._callers = [str(extension) for extension in extensions]
        key = np.array([int(rng.integers(1 << 60))])
        self._target = int(self.world.in_country(np.array([11]), below(key, 1, 1 << 40))[0])

    def _machine(self) -> Origin:
        rng = self.rng
        host = rng.integers(1, 255, 2).tolist()
        net = "203.0.113" if self._from_abroad else f"10.40.{host[0]}"
        return Origin(
            src_ip=f"{net}.{host[1]}",
            transport="udp",
            user_agent=SCANNERS[int(rng.integers(len(SCANNERS)))],
            fingerprint=f"{int(rng.integers(1 << 48)):012x}",
        )

    def renew(self, _seat: int) -> None:
        self._origin = self._machine()

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._from_abroad else SUBSCRIBER, 1)

    def call(self, ts: float) -> Call:
        rng = self.rng
        prefix = ("00", "011", "900", "9011", "810", "0", "+")[self.pick(7)]
        caller = self._callers[self.pick(len(self._callers))]
        cause = int(rng.choice((1, 21, 28, 57)))
        outcome = (round(float(rng.uniform(0.02, 0.6)), 3), None, cause)
        odd = Oddity(caller, f"{prefix}{self._target}", self._origin)
        return self.build(ts, self.focus, self._via[0], int(caller), self._target, outcome, seat=0, odd=odd)


class PbxHacking(Campaign):
    """Thieves in an honest firm's exchange call numbers whose revenue they share: at night, long, side by side.

    Before it begins in earnest, short calls try out which numbers pay (``test_share``). The firm's own calls go on as
    ever, from the same lines.
    """

    kind = "pbx_hacking"
    parameters = COMMON | {
        "exchanges", "lines", "blocks", "block_size", "test_share", "opens", "closes", "answer", "talk_s", "talk_sigma",
    }  # fmt: skip
    trunk_class = SUBSCRIBER

    def open(self) -> None:
        found = [exchange_of(self) for _ in range(self.whole("exchanges"))]
        self._exchanges = [exchange for exchange in found if exchange is not None]
        self._form = EIGHT if self.chance(self.world.eight_share) else PLUS
        self._blocks = [self._block() for _ in range(self.whole("blocks"))]

    def _block(self) -> int:
        """The first number of a hired range: often where minutes are dear, sometimes anywhere."""
        countries = WANGIRI_COUNTRIES if self.chance(0.75) else range(17)
        number = self.foreign_number(countries[self.pick(len(countries))])
        return number - number % 1000

    def renew(self, seat: int) -> None:
        exchange = exchange_of(self)
        if exchange is not None:
            self._exchanges[seat] = exchange

    def reroute(self) -> None:
        self._blocks = [self._block() for _ in self._blocks]

    def call(self, ts: float) -> Call | None:
        if not self._exchanges:
            return None
        rng = self.rng
        seat = self.pick(len(self._exchanges))
        exchange = self._exchanges[seat]
        caller = line_of(exchange, self.pick(self.whole("lines")))
        callee = self._blocks[self.pick(len(self._blocks))] + int(rng.integers(min(1000, self.whole("block_size"))))
        if self.chance(self.p["test_share"]):
            outcome = self.outcome(0.6, 6.0, 0.5)
        else:
            outcome = self.outcome(self.p["answer"], self.p["talk_s"], self.p["talk_sigma"])
        via = self.routes(SUBSCRIBER, 1)[0]
        return self.build(ts, exchange[2], via, caller, callee, outcome, callee_form=self._form, seat=seat)


class Flood(Campaign):
    """Telephony denial of service: one subscriber's line is called without end, from numbers made up for it."""

    kind = "flood"
    parameters = COMMON | {
        "targets", "from_abroad_share", "denied_share", "roaming_share", "calls_per_number", "trunks", "answer",
        "talk_s",
    }  # fmt: skip

    def open(self) -> None:
        self._from_abroad = self.chance(self.p["from_abroad_share"])
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, self.whole("trunks"))
        self._targets = [self.victim() for _ in range(self.whole("targets"))]
        self._number, self._left = 0, 0

    def renew(self, _seat: int) -> None:
        self._left = 0

    def reroute(self) -> None:
        self._via = self.routes(INTERNATIONAL if self._from_abroad else NATIONAL, len(self._via))

    def call(self, ts: float) -> Call:
        target = self._targets[self.pick(len(self._targets))]
        if self._left <= 0:
            self._left = int(self.rng.geometric(min(1.0, 1.0 / self.p["calls_per_number"])))
            self._number = self.spoofed(target.region, 0.3)
        self._left -= 1
        if self.chance(0.4):
            outcome: Outcome = (round(float(self.rng.uniform(0.2, 1.5)), 3), None, 17)
        else:
            outcome = self.outcome(self.p["answer"], self.p["talk_s"], 0.7)
        roaming = self.abroad_roaming() if self._from_abroad else -1
        return self.build(
            ts, target.region, self.route(), self._number, target.number, outcome, roaming=roaming, seat=0
        )  # fmt: skip
