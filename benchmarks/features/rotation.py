"""Twenty million callers that never call again, against a memory limit: does anything grow?

Somebody rotates caller numbers, Call-IDs and (every tenth call) the fingerprint; every call is set up and released,
two thirds of them are answered. ``rss_mib`` is this process after every twentieth of the calls, ``flat_within`` how
far the second half of those figures lie apart, relative to their largest; ``evicted`` says who left for lack of room.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from antifraud.domain import EventKind
from antifraud.features import Fold, Limits, warm_up
from antifraud.features.plan import EVENT_CODES
from benchmarks.features.columns import Columns, Gate, fold_arrays, mixed, number_keys, text_keys
from benchmarks.features.measure import Stopwatch, machine, peak_rss, rss, say
from benchmarks.features.nation import START, numbers_of
from benchmarks.features.traffic import product

STEPS = 20
_SLICE = 20_000
_CALLEES = 1_000_000
_SETUP, _ANSWER = EVENT_CODES[EventKind.SETUP], EVENT_CODES[EventKind.ANSWER]
_RELEASE = EVENT_CODES[EventKind.RELEASE]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--callers", type=int, metavar="N", help="rotating caller ids (20000000; 400000 with --quick)")
    parser.add_argument("--memory", type=int, metavar="MIB", help="the memory limit (1024; 64 with --quick)")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    callers = options.callers or (400_000 if options.quick else 20_000_000)
    limit = (options.memory or (64 if options.quick else 1024)) << 20
    warm_up()
    shipped = product()
    before = rss()
    fold = Fold(shipped.windows, limits=Limits.of_memory(limit))
    gate = Gate(fold, shipped.settings.policy().utc_offset_min)
    watch = Stopwatch()
    sizes: list[float] = []
    evicted: list[int] = []
    events = 0
    for placed, columns in _rotation(callers, options.seed):
        arrays = gate.arrays(columns)
        with watch:
            fold_arrays(fold, *arrays)
        events += len(arrays[1])
        if placed * STEPS // callers > len(sizes):
            sizes.append(rss() / (1 << 20))
            evicted.append(int(fold.stats()["evicted"]))
            say(f"{placed / callers:.0%}, {sizes[-1]:.0f} MiB, {evicted[-1]} keys evicted")
    second = sizes[len(sizes) // 2 :]
    stats = fold.stats()
    return {
        "benchmark": "features.rotation",
        "machine": machine(),
        "callers": callers,
        "events": events,
        "limit_mib": limit >> 20,
        "memory_mib": int(stats["memory_bytes"]) >> 20,
        "rss_before_mib": before >> 20,
        "rss_mib": [round(size, 1) for size in sizes],
        "peak_rss_mib": peak_rss() >> 20,
        "flat_within": round((max(second) - min(second)) / max(second), 4),
        "evicted_by_then": evicted,
        "evicted": {name.removesuffix(".evicted"): n for name, n in stats.items() if name.endswith(".evicted") and n},
        "keys": {name.removesuffix(".keys"): size for name, size in stats.items() if name.endswith(".keys")},
        "folding": watch.per_event(events),
    }


_EVENT = np.dtype(
    [("call", np.int64), ("ts", np.float64), ("ring_s", np.float64), ("talk_s", np.float64), ("kind", np.int8)]
)


def _rotation(calls: int, seed: int) -> Iterator[tuple[int, Columns]]:
    """How many of ``calls`` calls of one day are placed, and the events of the next stretch in order of time."""
    rng = np.random.default_rng(seed)
    waiting = np.zeros(0, _EVENT)
    for low in range(0, calls, _SLICE):
        high = min(low + _SLICE, calls)
        setup = np.zeros(high - low, _EVENT)
        setup["call"], setup["kind"] = np.arange(low, high), _SETUP
        setup["ts"] = START + 86_400.0 * setup["call"] / calls
        setup["ring_s"] = rng.uniform(2, 20, len(setup))
        setup["talk_s"] = np.where(rng.random(len(setup)) < 0.66, rng.exponential(20, len(setup)), 0.0)
        answer, release = setup[setup["talk_s"] > 0], setup.copy()
        answer["kind"], release["kind"] = _ANSWER, _RELEASE
        answer["ts"] += answer["ring_s"]
        release["ts"] += release["ring_s"] + release["talk_s"]
        waiting = np.concatenate((waiting, setup, answer, release))
        waiting = waiting[np.argsort(waiting["ts"], kind="stable")]
        cut = int(np.searchsorted(waiting["ts"], START + 86_400.0 * high / calls))
        yield high, _columns(waiting[:cut])
        waiting = waiting[cut:].copy()


def _columns(events: npt.NDArray[np.void]) -> Columns:
    call, kinds = events["call"], events["kind"]
    setup, released = kinds == _SETUP, kinds == _RELEASE
    nothing = np.zeros(len(events), np.int64)
    fingerprint = np.where(call % 10 == 0, call, call % 50)
    keys = {
        "call_id": text_keys(call, 5),
        # The factor has no divisor in common with 10: every number once, in no order.
        "caller": number_keys(77_000_000_000 + call * 618_033_989 % 1_000_000_000),
        "callee": numbers_of((mixed(call, 1) % np.uint64(_CALLEES)).astype(np.int64)),
        "label": nothing,
        "reporter": nothing,
        "source": np.full(len(events), -31, np.int64),
        "switch": np.full(len(events), -32, np.int64),
        "trunk": text_keys(call % 20, 7),
        "src_ip": np.where(setup, text_keys(call % 50, 8), 0),
        "user_agent": np.where(setup, text_keys(fingerprint, 9), 0),
        "fingerprint": np.where(setup, text_keys(fingerprint, 10), 0),
        "imsi": nothing,
        "imei": nothing,
        "cell": nothing,
    }
    numbers = {
        "ring_s": np.where(released, np.round(events["ring_s"], 3), np.nan),
        "talk_s": np.where(released, np.round(events["talk_s"], 3), np.nan),
        "pdd_s": np.where(released, 1.0, np.nan),
        "cause": np.where(released, 16.0, np.nan),
        "weight": np.full(len(events), np.nan),
    }
    return Columns(kinds.copy(), np.round(events["ts"], 3), keys, numbers, np.zeros(len(events), np.int8))
