"""The simulated country: people, numbers, trunks. Procedural: a person is an integer, everything about them follows.

Nothing is stored per subscriber, so a population of twenty million costs no memory. A person's *position* decides
the circle (40 neighbouring positions), the region (positions of a region are contiguous), and by integer mixing the
number, the line type, the SIM card and the handset. A bijection from *rank* to position spreads activity over all
circles.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from antifraud.simulator.call import Origin
from antifraud.simulator.organisations import Trade, trades_of
from antifraud.simulator.plan import (
    BARE,
    COUNTRIES,
    EIGHT,
    FIXED_STEMS,
    HOME_BASE,
    MOBILE_PREFIXES,
    NETWORK_CODES,
    OPERATOR_OF_PREFIX,
    PLUS,
    Bools,
    Floats,
    Ints,
    below,
    mix,
    unit,
)
from antifraud.simulator.scenario import Settings

CIRCLE: Final = 40
INTERNATIONAL, NATIONAL, SUBSCRIBER = 0, 1, 2

_MOBILE_PRIME: Final = 129_999_997
_FIXED_PRIME: Final = 999_983
_OPERATORS: Final = np.array([OPERATOR_OF_PREFIX.get(prefix, 0) for prefix in range(1000)], dtype=np.int64)
_PORTING_DAYS: Final = 730
_NETWORKS: Final = np.array(NETWORK_CODES, dtype=np.int64)

#: Q.850 causes of calls that were not answered, with usual shares: no answer, busy, rejected, cancelled, absent,
#: congestion.
CAUSES: Final = np.array([19, 17, 21, 16, 20, 34], dtype=np.int64)
_CAUSE_SHARES: Final = np.array([0.42, 0.22, 0.08, 0.18, 0.08, 0.02])

_USER_AGENTS: Final = (
    "Oracle SBC",
    "Sonus SBC 5400",
    "AudioCodes SBC/v7.4",
    "OpenSIPS (3.2.12)",
    "kamailio (5.6.3)",
    "Asterisk PBX 18.12.0",
    "FPBX-16.0.40(18.9)",
    "VOS3000 V2.1.8.05",
    "Huawei SE2900",
    "ZTE Softswitch/1.0.0",
    "",
)
#: What SIP scanners call themselves.
SCANNERS: Final = ("friendly-scanner", "sipvicious", "pplsip", "Asterisk PBX 18.12.0", "Cisco-SIPGateway/IOS-12.x", "")


class Trunk(msgspec.Struct, frozen=True):
    """One trunk: how it writes numbers, and the peers behind it (indices into ``World.origins``)."""

    name: str
    caller_form: int
    callee_form: int
    origins: tuple[int, ...]


class Route(NamedTuple):
    """A way into the network: a trunk and a peer on it, as indices."""

    trunk: int
    origin: int


class World:
    """One country, drawn from ``settings`` and ``seed``; the same whatever the time and the number of calls."""

    def __init__(self, settings: Settings, seed: int, subscribers: int, volume: float | None = None) -> None:
        """``volume`` is calls per second over the week; without it what the subscribers make by themselves."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x0030171D])))
        self.settings = settings
        self.codes: tuple[str, ...] = tuple(sorted(settings.population.regions))
        weights = np.array([settings.population.regions[code] for code in self.codes])
        circles = max(len(self.codes), round(subscribers / CIRCLE))
        # Every region has a circle at least; the rest goes by population.
        share = 1 + np.floor((circles - len(self.codes)) * weights / weights.sum()).astype(np.int64)
        self._bounds: Ints = np.concatenate([[0], np.cumsum(share)]).astype(np.int64) * CIRCLE
        self.size = int(self._bounds[-1])
        self.switches = tuple(f"sw-{code.lower()}" for code in self.codes)
        self.key = int(rng.integers(1, 1 << 62))
        self._spread = self._coprime(rng, self.size)
        self._spread_by = int(rng.integers(self.size))
        self._work = self._coprime(rng, self.size)
        self._work_back = pow(self._work, -1, self.size) if self.size > 1 else 0
        self._mobile_factor = int(rng.integers(_MOBILE_PRIME // 4, _MOBILE_PRIME // 4 * 3))
        self._mobile_offset = int(rng.integers(_MOBILE_PRIME))
        self._fixed_factor = int(rng.integers(_FIXED_PRIME // 4, _FIXED_PRIME // 4 * 3))
        self._fixed_offset = int(rng.integers(_FIXED_PRIME))
        self._stems = np.array([FIXED_STEMS.get(code, (7172,))[0] for code in self.codes], dtype=np.int64)
        self._second = np.array([FIXED_STEMS.get(code, (7172,))[-1] for code in self.codes], dtype=np.int64)
        self._leads = np.array([lead * 10**digits for lead, digits, _weight in COUNTRIES], dtype=np.int64)
        self._free = np.array([10**digits for _lead, digits, _weight in COUNTRIES], dtype=np.int64)
        self._found: list[Origin] = []
        international = self._trunks(rng, "intl", settings.network.international)
        national = self._trunks(rng, "nat", settings.network.national)
        subscriber = self._trunks(rng, "sub", settings.network.subscriber)
        self.trunks: tuple[Trunk, ...] = (*international, *national, *subscriber)
        self.origins: tuple[Origin, ...] = tuple(self._found)
        self._classes = np.cumsum([0, len(international), len(national), len(subscriber)])
        self.caller_forms: Ints = np.array([trunk.caller_form for trunk in self.trunks], dtype=np.int64)
        self.callee_forms: Ints = np.array([trunk.callee_form for trunk in self.trunks], dtype=np.int64)
        self._peers: Ints = np.array([len(trunk.origins) for trunk in self.trunks], dtype=np.int64)
        self._first_peer: Ints = np.array([trunk.origins[0] for trunk in self.trunks], dtype=np.int64)
        self._skews = rng.uniform(1.0, 2.5, 3)
        # What differs from country to country without anybody having measured it: drawn widely.
        chance = np.array([weight for _lead, _digits, weight in COUNTRIES]) * rng.lognormal(0.0, 0.6, len(COUNTRIES))
        self._country_bounds: Floats = np.cumsum(chance) / chance.sum()
        causes = _CAUSE_SHARES * rng.lognormal(0.0, 0.35, len(_CAUSE_SHARES))
        self.cause_bounds: Floats = np.cumsum(causes) / causes.sum()
        self.ring_shape = float(rng.uniform(2.5, 6.0))
        self.eight_share = float(rng.uniform(0.35, 0.75))
        self.local_share = float(rng.uniform(0.65, 0.95))
        self.variety = float(rng.uniform(0.1, 0.6))
        self.returned_answer = float(rng.uniform(0.6, 0.9))
        self.complaint_sigma = float(rng.uniform(0.6, 1.2))
        hourly = 3600 * (subscribers * settings.population.calls_per_day / 86_400 if volume is None else volume)
        self.trades: tuple[Trade, ...] = trades_of(self, hourly)

    @staticmethod
    def _coprime(rng: np.random.Generator, size: int) -> int:
        while True:
            factor = int(rng.integers(max(1, size // 4), max(2, size)))
            if np.gcd(factor, size) == 1:
                return factor

    def _trunks(self, rng: np.random.Generator, prefix: str, count: int) -> tuple[Trunk, ...]:
        trunks = []
        tcp = rng.uniform(0.02, 0.4)
        for number in range(1, count + 1):
            first = len(self._found)
            for _ in range(int(rng.integers(2, 9))):
                host = rng.integers(1, 255, 2)
                net = "203.0.113" if prefix == "intl" else f"10.{20 if prefix == 'nat' else 40}.{int(host[0])}"
                self._found.append(
                    Origin(
                        src_ip=f"{net}.{int(host[1])}",
                        transport="tcp" if rng.random() < tcp else "udp",
                        user_agent=_USER_AGENTS[int(rng.integers(len(_USER_AGENTS)))],
                        fingerprint=f"{int(rng.integers(1 << 48)):012x}",
                    )
                )
            forms = (PLUS, BARE) if prefix == "intl" else (PLUS, BARE, EIGHT)
            caller_form = forms[int(rng.integers(len(forms)))]
            callee_form = forms[int(rng.integers(len(forms)))]
            trunks.append(Trunk(f"{prefix}-{number}", caller_form, callee_form, tuple(range(first, len(self._found)))))
        return tuple(trunks)

    # ------------------------------------------------------------------ people

    def by_rank(self, ranks: Ints) -> Ints:
        """The positions of ``ranks`` (0 is the most talkative); ranks from ``size`` on are new subscribers."""
        spread = (ranks * self._spread + self._spread_by) % self.size
        return np.where(ranks < self.size, spread, ranks)

    def region(self, people: Ints) -> Ints:
        """The region index of each person."""
        settled = np.searchsorted(self._bounds, people, side="right") - 1
        return np.where(people < self.size, settled, below(people, self.key ^ 1, len(self.codes)))

    def mobile(self, people: Ints) -> Bools:
        """Whether each person's line is a mobile."""
        return unit(people, self.key ^ 2) < self.settings.population.mobile_share

    def number(self, people: Ints) -> Ints:
        """Each person's number, as an integer with the country code: 77011234567."""
        spread = (people * self._mobile_factor + self._mobile_offset) % _MOBILE_PRIME
        mobile = MOBILE_PREFIXES[spread // 10_000_000] * 10_000_000 + spread % 10_000_000
        local = (people * self._fixed_factor + self._fixed_offset) % _FIXED_PRIME
        return HOME_BASE + np.where(self.mobile(people), mobile, self.fixed(self.region(people), local))

    def fixed(self, regions: Ints, local: Ints) -> Ints:
        """The ten national digits of fixed lines with the six ``local`` digits in ``regions``."""
        stems = np.where(local >= 500_000, self._second[regions], self._stems[regions])
        return stems * 1_000_000 + local

    def friends(self, rng: np.random.Generator, people: Ints) -> Ints:
        """For each person one of the same circle, the nearest more often."""
        count = len(people)
        distance = 1 + np.floor((CIRCLE - 1) * rng.random(count) ** 2.2).astype(np.int64)
        seat = people % CIRCLE
        other = (seat ^ distance) % CIRCLE
        other = np.where(other == seat, (seat + 1) % CIRCLE, other)
        base = np.where(people < self.size, people - seat, below(people, self.key ^ 3, self.size // CIRCLE) * CIRCLE)
        return np.asarray(base + other, dtype=np.int64)

    def colleagues(self, rng: np.random.Generator, people: Ints) -> Ints:
        """For each person one of the work circle, which spans regions."""
        settled = np.where(people < self.size, people, below(people, self.key ^ 4, self.size))
        place = settled * self._work % self.size
        group = place - place % CIRCLE
        other = (group + rng.integers(0, CIRCLE, len(people))) % self.size
        return np.asarray(other * self._work_back % self.size, dtype=np.int64)

    def anyone(self, rng: np.random.Generator, count: int) -> Ints:
        """``count`` people from the whole country."""
        return rng.integers(0, self.size, count)

    def anyone_in(self, rng: np.random.Generator, regions: Ints) -> Ints:
        """For each of ``regions`` somebody who lives there."""
        low: Ints = self._bounds[regions]
        return low + np.floor(rng.random(len(regions)) * (self._bounds[regions + 1] - low)).astype(np.int64)

    def regulars(self, rng: np.random.Generator, owners: Ints, regions: Ints, count: int) -> Ints:
        """For each owner one of its ``count`` own people, who live in ``regions``."""
        slot = owners * count + rng.integers(0, count, len(owners))
        low: Ints = self._bounds[regions]
        return low + np.floor(unit(slot, self.key ^ 5) * (self._bounds[regions + 1] - low)).astype(np.int64)

    def businesses(self, rng: np.random.Generator, count: int) -> Ints:
        """``count`` people whom strangers call: a seller, a shop; a small fixed part of the country, skewed."""
        pool = max(10, self.size // 120)
        return below(np.floor(pool * rng.random(count) ** 1.7).astype(np.int64), self.key ^ 6, self.size)

    def imsi(self, people: Ints, numbers: Ints, day: int) -> Ints:
        """The IMSI (MCC 401) of each person, who has the mobile ``numbers``, on local ``day`` (days since 1970).

        Its network code is that of the range, but for ported numbers; a new SIM card has another subscriber part.
        """
        settings = self.settings.population
        operator = _OPERATORS[numbers // 10_000_000 % 1000]
        if settings.ported_share > 0:
            # Half of those who ever leave are away on any day: each leaves and comes back on days of their own.
            away = (day + below(people, self.key ^ 13, _PORTING_DAYS)) % _PORTING_DAYS < _PORTING_DAYS // 2
            left = (unit(people, self.key ^ 11) < 2 * settings.ported_share) & away
            operator = np.where(left, (operator + 1 + below(people, self.key ^ 12, 2)) % 3, operator)
        card = self._renewed(people, settings.sim_days, day, self.key ^ 14)
        part = below(card, self.key ^ 7, 10_000_000_000)
        return 401_000_000_000_000 + _NETWORKS[operator] * 10_000_000_000 + part

    def imei(self, people: Ints, day: int) -> Ints:
        """The handset of each person on local ``day``: some numbers share one with a neighbour's (two SIM cards)."""
        settings = self.settings.population
        owners = people
        if settings.dual_sim_share > 0:
            pairs = people >> 1
            owners = np.where(unit(pairs, self.key ^ 15) < settings.dual_sim_share, pairs << 1, people)
        handset = self._renewed(owners, settings.handset_days, day, self.key ^ 16)
        return 350_000_000_000_000 + below(handset, self.key ^ 8, 10_000_000_000_000)

    @staticmethod
    def _renewed(people: Ints, every_days: int, day: int, key: int) -> Ints:
        """A key for what each person has on ``day``, when it is replaced every so many days (0: never)."""
        if not every_days:
            return people
        return people * 4096 + (day + below(people, key, every_days)) // every_days % 4096

    # ------------------------------------------------------------------ numbers that are nobody's, and abroad

    def abroad(self, keys: Ints) -> Ints:
        """The number of the foreigner who follows from each of ``keys``."""
        country = np.searchsorted(self._country_bounds, unit(keys, self.key ^ 9), side="right")
        return self.in_country(country, keys)

    def in_country(self, country: Ints, keys: Ints) -> Ints:
        """A number of ``country`` (index into COUNTRIES) that follows from each of ``keys``."""
        free = self._free[country]
        digits = (mix(keys, self.key ^ 10) % free.astype(np.uint64)).astype(np.int64)
        # A first free digit of 0 or 1 is invalid in some plans (North America); 2-9 is valid in all of these.
        tenth = free // 10
        return np.asarray(self._leads[country] + (2 + digits // tenth % 8) * tenth + digits % tenth, dtype=np.int64)

    def some_mobile(self, rng: np.random.Generator, count: int) -> Ints:
        """``count`` numbers out of the mobile ranges, allocated or not."""
        prefix: Ints = MOBILE_PREFIXES[rng.integers(0, len(MOBILE_PREFIXES), count)]
        return HOME_BASE + prefix * 10_000_000 + rng.integers(0, 10_000_000, count)

    def some_fixed(self, rng: np.random.Generator, regions: Ints) -> Ints:
        """For each of ``regions`` a number out of its fixed ranges, allocated or not."""
        return HOME_BASE + self.fixed(regions, rng.integers(0, 1_000_000, len(regions)))

    # ------------------------------------------------------------------ trunks

    def pick_trunks(self, rng: np.random.Generator, kind: int, count: int) -> Ints:
        """``count`` indices into ``trunks`` of one class (0 international, 1 national, 2 subscriber), skewed."""
        first, size = int(self._classes[kind]), int(self._classes[kind + 1] - self._classes[kind])
        skewed: Ints = np.floor(size * rng.random(count) ** float(self._skews[kind])).astype(np.int64)
        return first + skewed

    def from_abroad(self, trunks: Ints) -> Bools:
        """Which of ``trunks`` (indices) are international ones."""
        return np.asarray(trunks < self._classes[1])

    def peers(self, trunks: Ints, chance: Floats) -> Ints:
        """For each of ``trunks`` the index of one of its origins, by ``chance`` in [0, 1)."""
        return self._first_peer[trunks] + np.floor(chance * self._peers[trunks]).astype(np.int64)

    def causes(self, chance: Floats) -> Ints:
        """Why a call was not answered (Q.850), by ``chance`` in [0, 1)."""
        found: Ints = CAUSES[np.minimum(np.searchsorted(self.cause_bounds, chance, side="right"), len(CAUSES) - 1)]
        return found
