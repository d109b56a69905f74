"""The post-dial delay: by trunk and line type, from the numbers alone, and the same for honest calls and for fraud."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from antifraud.domain import EventKind
from antifraud.simulator import simulate
from antifraud.simulator.call import Call, Truth
from antifraud.simulator.delay import ABROAD, FIXED, MOBILE, delay_range, post_dial_delays


def call(trunk: str = "sub-1", callee: str = "87012345678", ring: float = 20.0, *, fraud: bool = False) -> Call:
    return Call(
        1_767_553_200.0, "sw-kz-75", trunk, "+77010000001", callee, "", "", "", "", "", "", "", "", "", "", None, ring,
        None, 19, 0.0, Truth(fraud=fraud, campaign="c" if fraud else "", scenario="s"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trunk", "callee", "expected"),
    [
        ("sub-1", "+77012345678", MOBILE), ("nat-2", "77772345678", MOBILE), ("sub-1", "87052345678", MOBILE),
        ("sub-1", "+77272123456", FIXED), ("nat-1", "77172123456", FIXED), ("sub-3", "87232123456", FIXED),
        ("sub-1", "112", FIXED), ("sub-1", "1414", FIXED),
        ("sub-1", "+79161234567", ABROAD), ("sub-1", "810491512345678", ABROAD), ("sub-1", "01144740234567", ABROAD),
        ("intl-1", "+77012345678", ABROAD), ("intl-9", "87272123456", ABROAD),
    ],
)  # fmt: skip
def test_where_the_call_goes_decides(trunk: str, callee: str, expected: tuple[float, float]) -> None:
    assert delay_range(trunk, callee) == expected


@pytest.mark.parametrize(("trunk", "callee"), [("sub-1", "+77012345678"), ("nat-1", "+77272123456"), ("intl-1", "112")])
def test_delays_fill_their_range(trunk: str, callee: str) -> None:
    low, high = delay_range(trunk, callee)
    delays = np.array(post_dial_delays([call(trunk, callee)] * 4000, np.arange(4000), 7))
    assert ((delays >= low) & (delays <= high)).all()
    assert delays.min() < low * 1.15
    assert delays.max() > high / 1.15
    assert np.log(delays).mean() == pytest.approx(np.log(low * high) / 2, abs=0.03)


def test_the_truth_is_not_looked_at() -> None:
    numbers = np.arange(50)
    honest = post_dial_delays([call("intl-1")] * 50, numbers, 3)
    assert post_dial_delays([call("intl-1", fraud=True)] * 50, numbers, 3) == honest
    assert post_dial_delays([call("intl-1")] * 50, numbers, 4) != honest
    assert post_dial_delays([call("intl-1")] * 10, numbers[20:30], 3) == honest[20:30]


def test_no_delay_is_longer_than_the_call_rang() -> None:
    assert post_dial_delays([call("intl-1", ring=1.234)] * 20, np.arange(20), 1) == [1.234] * 20
    assert post_dial_delays([], np.arange(0), 1) == []


def test_fraud_waits_as_long_as_honest_calls_do() -> None:
    """Two-sample Kolmogorov-Smirnov within each range, among calls that rang long enough to show the whole delay."""
    seen: dict[tuple[float, float], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for seed in range(30, 34):
        for item in simulate("national", seed, 20_000):
            event = item.event
            if event.kind is EventKind.RELEASE and event.ring_s is not None and event.ring_s >= ABROAD[1]:
                assert event.pdd_s is not None
                seen[delay_range(event.trunk, event.callee_raw)][item.truth.fraud].append(event.pdd_s)
    compared = 0
    for honest, fraud in seen.values():
        if len(fraud) < 30:
            continue
        compared += 1
        a, b = np.sort(honest), np.sort(fraud)
        every = np.concatenate([a, b])
        apart = np.abs(np.searchsorted(a, every, "right") / len(a) - np.searchsorted(b, every, "right") / len(b)).max()
        assert apart < 1.95 * np.sqrt((len(a) + len(b)) / (len(a) * len(b)))
    assert compared >= 2
