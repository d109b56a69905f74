"""The numbering plan of the simulated country, the world around it, and how switches write numbers.

Numbers are whole numbers with their country code. ``mix`` and what is built on it make everything about a subscriber
follow from an integer.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HOME_BASE: Final = 70_000_000_000
"""A home number is this plus its ten national digits."""

#: Mobile ranges of the national numbering plan (+7 7xx).
MOBILE_PREFIXES: Final = np.array([700, 701, 702, 705, 706, 707, 708, 747, 771, 775, 776, 777, 778], dtype=np.int64)

#: The network codes (after MCC 401) of the operators, and to which of them each mobile range was given: Beeline 01,
#: Kcell 02, Tele2/Altel 77. A ported number is with another one than its range says.
NETWORK_CODES: Final = (1, 2, 77)
OPERATOR_OF_PREFIX: Final[dict[int, int]] = {
    700: 2, 701: 1, 702: 1, 705: 0, 706: 0, 707: 2, 708: 2, 747: 2, 771: 0, 775: 1, 776: 0, 777: 0, 778: 1,
}  # fmt: skip

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


def mix(values: npt.NDArray[np.uint64] | Ints, key: int) -> npt.NDArray[np.uint64]:
    """splitmix64 of ``values`` under ``key``: a bijection of 64-bit integers that looks random."""
    z = values.astype(np.uint64)
    z += np.uint64((key * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def below(values: Ints, key: int, bound: int) -> Ints:
    """An integer in [0, bound) that follows from each of ``values``."""
    return (mix(values, key) % np.uint64(bound)).astype(np.int64)


def unit(values: Ints, key: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) that follows from each of ``values``."""
    return (mix(values, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def home(numbers: Ints) -> Bools:
    """Which ``numbers`` belong to the simulated country (+7 6xx and +7 7xx); short codes do not count."""
    return (numbers >= 76_000_000_000) & (numbers < 78_000_000_000)


def written_all(numbers: Ints, forms: Ints) -> list[str]:
    """The texts of ``numbers`` (with country code) in the ``forms`` of a switch; short codes as they are."""
    at_home = home(numbers)
    # Foreign numbers after the trunk prefix have a form of their own, 3.
    kind = np.where(numbers < 1_000_000, BARE, np.where((forms == EIGHT) & ~at_home, 3, forms))
    shown = numbers - np.where((kind == EIGHT) & at_home, HOME_BASE, 0)
    return [_FORMATS[k] % n for k, n in zip(kind.tolist(), shown.tolist(), strict=True)]


_FORMATS: Final = ("+%d", "%d", "8%d", "810%d")
