"""The post-dial delay: by trunk and line type, from the numbers alone, and the same for honest calls and for fraud."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from antifraud.simulator import simulate_columns
from antifraud.simulator.delay import ABROAD, FIXED, MOBILE, delay_class, post_dial_delays

CLASSES = (FIXED, MOBILE, ABROAD)


def delays(
    callee: int, count: int, first: int = 0, *, abroad: bool = False, ring: float = 20.0, key: int = 7
) -> list[float]:
    """The delays of ``count`` calls like each other, numbered from ``first`` on."""
    found = post_dial_delays(
        np.full(count, abroad), np.full(count, callee), np.full(count, ring), np.arange(first, first + count), key
    )
    return list(found)


@pytest.mark.parametrize(
    ("abroad", "callee", "expected"),
    [
        (False, 77012345678, MOBILE), (False, 77772345678, MOBILE), (False, 77052345678, MOBILE),
        (False, 77272123456, FIXED), (False, 77172123456, FIXED), (False, 77232123456, FIXED),
        (False, 112, FIXED), (False, 1414, FIXED),
        (False, 79161234567, ABROAD), (False, 491512345678, ABROAD), (False, 44740234567, ABROAD),
        (True, 77012345678, ABROAD), (True, 77272123456, ABROAD), (True, 112, ABROAD),
    ],
)  # fmt: skip
def test_where_the_call_goes_decides(abroad: bool, callee: int, expected: tuple[float, float]) -> None:
    assert CLASSES[int(delay_class(np.array([abroad]), np.array([callee]))[0])] == expected


@pytest.mark.parametrize(("abroad", "callee"), [(False, 77012345678), (False, 77272123456), (True, 112)])
def test_delays_fill_their_range(abroad: bool, callee: int) -> None:
    low, high = CLASSES[int(delay_class(np.array([abroad]), np.array([callee]))[0])]
    found = np.array(delays(callee, 4000, abroad=abroad))
    assert ((found >= low) & (found <= high)).all()
    assert found.min() < low * 1.15
    assert found.max() > high / 1.15
    assert np.log(found).mean() == pytest.approx(np.log(low * high) / 2, abs=0.03)


def test_the_running_number_and_the_key_alone_are_chance() -> None:
    some = delays(77012345678, 50)
    assert delays(77012345678, 50) == some
    assert delays(77012345678, 50, key=8) != some
    assert delays(77012345678, 10, 20) == some[20:30]


def test_no_delay_is_longer_than_the_call_rang() -> None:
    assert delays(112, 20, abroad=True, ring=1.234) == [1.234] * 20
    assert delays(112, 0) == []


def test_fraud_waits_as_long_as_honest_calls_do() -> None:
    """Two-sample Kolmogorov-Smirnov within each range, among calls that rang long enough to show the whole delay."""
    seen: dict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for seed in range(30, 40):
        for columns in simulate_columns("national", seed, 30_000):
            abroad = np.array([trunk.name.startswith("intl") for trunk in columns.trunks])[columns.trunk]
            classes = delay_class(abroad, columns.callee)
            for index in np.flatnonzero(columns.ring >= ABROAD[1]).tolist():
                seen[int(classes[index])][int(columns.fraud[index])].append(float(columns.pdd[index]))
    compared = 0
    for honest, fraud in seen.values():
        if len(fraud) < 30:
            continue
        compared += 1
        a, b = np.sort(honest), np.sort(fraud)
        every = np.concatenate([a, b])
        apart = np.abs(np.searchsorted(a, every, "right") / len(a) - np.searchsorted(b, every, "right") / len(b)).max()
        assert apart < 1.95 * np.sqrt((len(a) + len(b)) / (len(a) * len(b)))
    assert compared == 3
