"""What the windows of millions of active callers take, and how fast they are folded where nothing fits a cache.

A made-up day of ``--callers`` people (see ``nation``) goes through the shipped windows. ``bytes_per_caller`` is all
that the fold holds (callers, callees, pairs of them, blocks, trunks, cards, handsets, indexes, remembered events)
divided by the callers that it knows: by its own ``stats()``, and by how much this process grew. ``cold`` is the speed
over the last events of the day, when everything is there: of the kernel by itself, and of ``Fold.fold`` over events.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import msgspec
import numpy as np

from antifraud.features import Fold, Limits, warm_up
from benchmarks.features.columns import Arrays, Columns, Gate, batches, events_of, fold_arrays, same_as_fold
from benchmarks.features.measure import Stopwatch, available, machine, rss, say
from benchmarks.features.nation import Nation
from benchmarks.features.traffic import Product, product

#: Bytes of the limit that a caller is given: more than are wanted, so that nothing is forgotten while measuring.
ROOM = 2_600
#: About how many events are left for measuring when the memory is filled, and which part of the day at most.
FOLLOWING, MOST_FOLLOWING = 2_200_000, 0.25
COLD_EVENTS = 60_000
COLD_SIZES = (64, 1024)


class Filled(msgspec.Struct):
    """A fold that holds millions of callers, what came of filling it, and the events that follow."""

    product: Product
    fold: Fold
    gate: Gate
    figures: dict[str, object]
    following: Iterator[tuple[float, Columns]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--callers", type=int, metavar="N", help="active callers (5000000; 100000 with --quick)")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    return {"benchmark": "features.memory", "machine": machine(), **filled(options).figures}


def filled(options: argparse.Namespace) -> Filled:
    """Fill a fold with the day's callers and measure what it takes."""
    callers = options.callers or (100_000 if options.quick else 5_000_000)
    warm_up()
    shipped = product()
    sample = next(_long_enough(Nation(1_000, options.seed + 1)))
    same = same_as_fold(shipped, sample)
    limits = Limits.of_memory(max(64 << 20, ROOM * callers))
    if available() < ROOM * callers:
        raise SystemExit(f"{callers} callers want {ROOM * callers >> 20} MiB, {available() >> 20} MiB are free")
    nation = Nation(callers, options.seed)
    part_filled = 1 - min(MOST_FOLLOWING, FOLLOWING / (2.7 * nation.calls))
    before = rss()
    fold = Fold(shipped.windows, limits=limits)
    gate = Gate(fold, shipped.settings.policy().utc_offset_min)
    folding, whole = Stopwatch(), Stopwatch()
    events = 0
    # ``following`` goes on where this stops.
    following = nation.slices()
    with whole:
        for part, columns in following:
            arrays = gate.arrays(columns)
            with folding:
                fold_arrays(fold, *arrays)
            events += len(columns.codes)
            say(f"{part:.0%} of the calls, {rss() >> 20} MiB")
            if part >= part_filled:
                break
    grown = rss() - before
    stats = fold.stats()
    known = int(stats["caller.keys"])
    tables = {name.removesuffix(".bytes"): int(size) for name, size in stats.items() if name.endswith(".bytes")}
    figures: dict[str, object] = {
        "callers": known,
        "calls": int(nation.calls * part_filled),
        "events": events,
        "windows": len(shipped.windows.names),
        "same_values_as_fold": same,
        "bytes_per_caller": round(int(stats["memory_bytes"]) / known),
        "bytes_per_caller_by_rss": round(grown / known),
        "memory_mib": int(stats["memory_bytes"]) >> 20,
        "grown_mib": grown >> 20,
        "limit_mib": int(stats["memory_limit_bytes"]) >> 20,
        "evicted": stats["evicted"],
        "bytes_per_caller_of": {
            **{name: round(size / known, 1) for name, size in tables.items()},
            "indexes_and_remembered": round((int(stats["memory_bytes"]) - sum(tables.values())) / known, 1),
        },
        "keys": {name.removesuffix(".keys"): size for name, size in stats.items() if name.endswith(".keys")},
        "pairs": {name.removesuffix(".pairs"): size for name, size in stats.items() if name.endswith(".pairs")},
        "filling": {**folding.per_event(events), "with_making_the_events": whole.seconds()},
    }
    figures["cold"] = _cold(shipped, fold, gate, following)
    return Filled(shipped, fold, gate, figures, following)


def _cold(
    shipped: Product, fold: Fold, gate: Gate, following: Iterator[tuple[float, Columns]]
) -> dict[str, dict[str, float]]:
    """Speed at this size: arrays that are there, and events that have to be turned into arrays."""
    found = {}
    for size in COLD_SIZES:
        parts = batches(_next(following, gate), size)
        watch = Stopwatch()
        with watch:
            for part in parts:
                fold_arrays(fold, *part)
        found[f"kernel_batches_of_{size}"] = watch.per_event(sum(len(part[1]) for part in parts))
    for size in COLD_SIZES:
        columns = next(following)[1]
        events, rows = shipped.prepared(events_of(columns.part(0, COLD_EVENTS)))
        watch = Stopwatch()
        with watch:
            for at in range(0, len(events), size):
                fold.fold(events[at : at + size], rows[at : at + size])
        found[f"events_in_batches_of_{size}"] = watch.per_event(len(events))
    return found


def _next(following: Iterator[tuple[float, Columns]], gate: Gate) -> Arrays:
    return gate.arrays(next(following)[1])


def _long_enough(nation: Nation) -> Iterator[Columns]:
    """All events of a small nation in one piece."""
    whole = [columns for _, columns in nation.slices()]
    yield Columns(
        np.concatenate([one.codes for one in whole]),
        np.concatenate([one.times for one in whole]),
        {name: np.concatenate([one.keys[name] for one in whole]) for name in whole[0].keys},
        {name: np.concatenate([one.numbers[name] for one in whole]) for name in whole[0].numbers},
        np.concatenate([one.labels for one in whole]),
    )
