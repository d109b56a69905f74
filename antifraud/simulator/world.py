"""The simulated country: people, numbers, trunks. Procedural: a person is an integer, everything about them follows.

Nothing is stored per subscriber, so a population of twenty million costs no memory. A person's *position* decides
the circle (40 neighbouring positions), the region (positions of a region are contiguous), and by integer mixing the
number, the line type and the handset. A bijection from *rank* to position spreads activity over all circles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.simulator.scenario import Settings

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CIRCLE: Final = 40
HOME_BASE: Final = 70_000_000_000
"""A home number is this plus its ten national digits."""

#: Mobile ranges of the national numbering plan (+7 7xx).
MOBILE_PREFIXES: Final = np.array([700, 701, 702, 705, 706, 707, 708, 747, 771, 775, 776, 777, 778], dtype=np.int64)
_MOBILE_PRIME: Final = 129_999_997
_FIXED_PRIME: Final = 999_983

#: The four leading national digits of fixed lines, by region.
FIXED_STEMS: Final[dict[str, tuple[int, ...]]] = {
    "KZ-10": (7222,),
    "KZ-11": (7162,),
    "KZ-15": (7132,),
    "KZ-19": (7277,),
    "KZ-23": (7122,),
    "KZ-27": (7112,),
    "KZ-31": (7262,),
    "KZ-33": (7282,),
    "KZ-35": (7212,),
    "KZ-39": (7142,),
    "KZ-43": (7242,),
    "KZ-47": (7292,),
    "KZ-55": (7182,),
    "KZ-59": (7152,),
    "KZ-61": (7253,),
    "KZ-62": (7102,),
    "KZ-63": (7232,),
    "KZ-71": (7172,),
    "KZ-75": (7272, 7273),
    "KZ-79": (7252,),
}

#: Countries people call from: leading digits (country code and a mobile or city range), free digits, weight.
#: The ranges that wangiri likes are here with a small weight, because honest people live there too.
COUNTRIES: Final[tuple[tuple[int, int, float], ...]] = (
    (791, 8, 18.0),
    (792, 8, 12.0),
    (790, 8, 10.0),
    (99890, 7, 9.0),
    (996555, 6, 8.0),
    (90532, 7, 7.0),
    (491512, 7, 5.0),
    (86138, 8, 4.0),
    (8210, 8, 4.0),
    (97150, 7, 4.0),
    (1212, 7, 3.0),
    (44740, 7, 3.0),
    (38067, 7, 2.0),
    (48601, 6, 2.0),
    (99255, 7, 2.0),
    (99450, 7, 1.5),
    (995555, 6, 1.5),
    (21620, 6, 0.3),
    (23276, 6, 0.2),
    (25261, 7, 0.2),
    (960777, 4, 0.2),
    (37122, 6, 0.4),
    (23675, 6, 0.1),
    (535, 7, 0.2),
)
WANGIRI_COUNTRIES: Final = (17, 18, 19, 20, 21, 22, 23)

EMERGENCY: Final = np.array([112, 101, 102, 103], dtype=np.int64)
SHORT_CODES: Final = np.array([1414, 109, 111, 150, 116], dtype=np.int64)

PLUS, BARE, EIGHT = 0, 1, 2
"""How a number is written: +77…, 77…, 87…; abroad 810… stands for EIGHT."""

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
SCANNERS: Final = ("friendly-scanner", "sipvicious", "pplsip", "Asterisk PBX 18.12.0", "Cisco-SIPGateway/IOS-12.x", "")


class Origin(msgspec.Struct, frozen=True):
    """What a peer on a trunk looks like in SIP."""

    src_ip: str
    transport: str
    user_agent: str
    fingerprint: str


class Trunk(msgspec.Struct, frozen=True):
    """One trunk: how it writes numbers, and the peers behind it."""

    name: str
    caller_form: int
    callee_form: int
    origins: tuple[Origin, ...]


def mix(values: npt.NDArray[np.uint64] | Ints, key: int) -> npt.NDArray[np.uint64]:
    """splitmix64 of ``values`` under ``key``: a bijection of 64-bit integers that looks random."""
    z = values.astype(np.uint64) + np.uint64((key * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(values: Ints, key: int, bound: int) -> Ints:
    """An integer in [0, bound) that follows from each of ``values``."""
    return (mix(values, key) % np.uint64(bound)).astype(np.int64)


def unit(values: Ints, key: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) that follows from each of ``values``."""
    return (mix(values, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class World:
    """One country, drawn from ``settings`` and ``seed``; the same whatever the time and the number of calls."""

    def __init__(self, settings: Settings, seed: int, subscribers: int) -> None:
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
        self._key = int(rng.integers(1, 1 << 62))
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
        self._country_bounds = np.cumsum([weight for _lead, _digits, weight in COUNTRIES])
        self._country_bounds /= self._country_bounds[-1]
        self._leads = np.array([lead * 10**digits for lead, digits, _weight in COUNTRIES], dtype=np.int64)
        self._free = np.array([10**digits for _lead, digits, _weight in COUNTRIES], dtype=np.int64)
        self.international = self._trunks(rng, "intl", settings.network.international)
        self.national = self._trunks(rng, "nat", settings.network.national)
        self.subscriber = self._trunks(rng, "sub", settings.network.subscriber)
        self.trunks: tuple[Trunk, ...] = (*self.international, *self.national, *self.subscriber)
        self.national_from = len(self.international)
        self.subscriber_from = self.national_from + len(self.national)
        self._skews = rng.uniform(1.0, 2.5, 3)

    @staticmethod
    def _coprime(rng: np.random.Generator, size: int) -> int:
        while True:
            factor = int(rng.integers(max(1, size // 4), max(2, size)))
            if np.gcd(factor, size) == 1:
                return factor

    def _trunks(self, rng: np.random.Generator, prefix: str, count: int) -> tuple[Trunk, ...]:
        trunks = []
        for number in range(1, count + 1):
            origins = []
            for _ in range(int(rng.integers(3, 7))):
                host = rng.integers(1, 255, 2)
                net = "203.0.113" if prefix == "intl" else f"10.{20 if prefix == 'nat' else 40}.{int(host[0])}"
                origins.append(
                    Origin(
                        src_ip=f"{net}.{int(host[1])}",
                        transport="tcp" if rng.random() < 0.15 else "udp",
                        user_agent=_USER_AGENTS[int(rng.integers(len(_USER_AGENTS)))],
                        fingerprint=f"{int(rng.integers(1 << 48)):012x}",
                    )
                )
            forms = (PLUS, BARE) if prefix == "intl" else (PLUS, BARE, EIGHT)
            caller_form = forms[int(rng.integers(len(forms)))]
            callee_form = forms[int(rng.integers(len(forms)))]
            trunks.append(Trunk(f"{prefix}-{number}", caller_form, callee_form, tuple(origins)))
        return tuple(trunks)

    # ------------------------------------------------------------------ people

    def by_rank(self, ranks: Ints) -> Ints:
        """The positions of ``ranks`` (0 is the most talkative); ranks from ``size`` on are new subscribers."""
        spread = (ranks * self._spread + self._spread_by) % self.size
        return np.where(ranks < self.size, spread, ranks)

    def region(self, people: Ints) -> Ints:
        """The region index of each person."""
        settled = np.searchsorted(self._bounds, people, side="right") - 1
        return np.where(people < self.size, settled, below(people, self._key ^ 1, len(self.codes)))

    def mobile(self, people: Ints) -> Bools:
        """Whether each person's line is a mobile."""
        return unit(people, self._key ^ 2) < self.settings.population.mobile_share

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
        base = np.where(people < self.size, people - seat, below(people, self._key ^ 3, self.size // CIRCLE) * CIRCLE)
        return np.asarray(base + other, dtype=np.int64)

    def colleagues(self, rng: np.random.Generator, people: Ints) -> Ints:
        """For each person one of the work circle, which spans regions."""
        settled = np.where(people < self.size, people, below(people, self._key ^ 4, self.size))
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
        return low + np.floor(unit(slot, self._key ^ 5) * (self._bounds[regions + 1] - low)).astype(np.int64)

    def businesses(self, rng: np.random.Generator, count: int) -> Ints:
        """``count`` people whom strangers call: a seller, a shop; a small fixed part of the country, skewed."""
        pool = max(10, self.size // 120)
        return below(np.floor(pool * rng.random(count) ** 1.7).astype(np.int64), self._key ^ 6, self.size)

    def imsi(self, people: Ints) -> Ints:
        """The IMSI of each person (MCC 401)."""
        return 401_010_000_000_000 + below(people, self._key ^ 7, 10_000_000_000)

    def imei(self, people: Ints) -> Ints:
        """The handset of each person."""
        return 350_000_000_000_000 + below(people, self._key ^ 8, 10_000_000_000_000)

    # ------------------------------------------------------------------ numbers that are nobody's, and abroad

    def abroad(self, keys: Ints) -> Ints:
        """The number of the foreigner who follows from each of ``keys``."""
        country = np.searchsorted(self._country_bounds, unit(keys, self._key ^ 9), side="right")
        return self.in_country(country, keys)

    def in_country(self, country: Ints, keys: Ints) -> Ints:
        """A number of ``country`` (index into COUNTRIES) that follows from each of ``keys``."""
        free = self._free[country]
        digits = (mix(keys, self._key ^ 10) % free.astype(np.uint64)).astype(np.int64)
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
        first = (0, self.national_from, self.subscriber_from)[kind]
        size = (len(self.international), len(self.national), len(self.subscriber))[kind]
        skewed: Ints = np.floor(size * rng.random(count) ** float(self._skews[kind])).astype(np.int64)
        return first + skewed


def written(number: int, form: int) -> str:
    """``number`` (an integer with its country code) in one of the three forms; short codes as they are."""
    if number < 1_000_000:
        return str(number)
    if form == PLUS:
        return f"+{number}"
    if form == BARE:
        return str(number)
    return f"8{number - HOME_BASE}" if 76_000_000_000 <= number < 78_000_000_000 else f"810{number}"


def written_all(numbers: Ints, forms: Ints) -> Sequence[str]:
    """``written`` of many numbers."""
    home = (numbers >= 76_000_000_000) & (numbers < 78_000_000_000)
    short = numbers < 1_000_000
    kind = np.where(short, BARE, np.where((forms == EIGHT) & ~home, 3, forms))
    shown = np.where((forms == EIGHT) & home & ~short, numbers - HOME_BASE, numbers)
    return [_FORMATS[k] % n for k, n in zip(kind.tolist(), shown.tolist(), strict=True)]


_FORMATS: Final = ("+%d", "%d", "8%d", "810%d")
