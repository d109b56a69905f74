"""How fast the shipped windows are folded, beside the same windows in plain Python in the same run.

A simulated national day, prepared beforehand. Half of it fills the tables of every contestant; two fifths are timed in
segments, in each of which all contestants take their turn, so that the machine's moods hit all alike; the last tenth
is timed by kind of event. ``ratio`` is plain Python's processor time over the fold's, ``ratios`` those of the segments.

An event's time is ``python`` (texts, times, numbers and conditions gathered into arrays), ``hashing`` (texts to keys)
and ``kernel`` (everything else); ``kernel_alone`` folds arrays that are there already, as a columnar log would give
them. ``equal_values`` is the part of all values that are plain Python's to 2 ms: plain Python's windows begin at
``t - over`` to the instant, the fold's with the bucket that ``t - over`` lies in or the next. That nothing else
differs is what ``within_bucket_resolution`` says: of the counts and sums, how many lie between the exact value over
``over`` and the exact value over ``over`` less one bucket. It must be 1.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from time import perf_counter
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, WindowSet, kernels, warm_up
from benchmarks.features import traffic
from benchmarks.features.columns import Arrays, batches, fold_arrays
from benchmarks.features.measure import Stopwatch, machine, rss, say
from benchmarks.features.plain import PlainWindows

SIZES = (1, 8, 64, 1024)
FILLING = 1024
SEGMENTS = 5
#: Events that are made ready at a time: more than an engine takes in one go, few enough to be warm.
_BLOCK = 1024
COLUMNAR = (1024, 16_384)
#: Kinds whose value over a shorter time is never larger.
GROWING = ("count", "distinct", "sequential", "sum", "open")

Rows = Sequence[Sequence[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    traffic.add_calls(parser, whole=200_000, quick=8_000)


def run(options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    began = perf_counter()
    warm_up()
    warm_s = perf_counter() - began
    product = traffic.product()
    events, rows = product.prepared(traffic.national(traffic.calls_of(options), options.seed))
    filled, last = len(events) // 2, len(events) * 9 // 10
    # The events stay for ever; let nobody's time be spent on looking through them for garbage.
    gc.collect()
    gc.freeze()
    edges = np.linspace(filled, last, SEGMENTS + 1).astype(int).tolist()

    before = rss()
    plain = Contestant(lambda part, its_rows: _plain(plain_windows, part, its_rows))
    plain_windows = PlainWindows(product.windows)
    plain.fill(events[:filled], rows[:filled])
    plain_bytes = rss() - before
    folds = {size: Contestant(_in_batches(Fold(product.windows), size)) for size in SIZES}
    for fold in folds.values():
        fold.fill(events[:filled], rows[:filled])
    for low, high in pairwise(edges):
        for name, contestant in (
            ("plain Python", plain),
            *((f"batches of {size}", one) for size, one in folds.items()),
        ):
            say(f"{name}: events {low} to {high} of {len(events)}")
            contestant.take(events[low:high], rows[low:high])

    parts = {size: _parts(product.windows, size, events[:last], rows[:last], filled) for size in SIZES}
    columns = parts[FILLING].pop("columns")
    values = np.concatenate(folds[FILLING].values)
    callers = plain_windows.keys()["caller"]
    timed = last - filled
    return {
        "benchmark": "features.speed",
        "machine": machine(),
        "calls": traffic.calls_of(options),
        "events": len(events),
        "timed_events": timed,
        "windows": len(product.windows.names),
        "warm_up_s": round(warm_s, 2),
        "plain_python": plain.total.per_event(timed),
        "batches": {str(size): _figures(fold, plain, parts[size], timed) for size, fold in folds.items()},
        "as_in_the_engine": _fresh(product, options),
        "kernel_alone": _alone(product.windows, columns, filled, last),
        "by_kind": _by_kind(product.windows, events, rows, last, folds[FILLING], plain_windows),
        "same_values_in_all_batches": len({_digest(fold.values) for fold in folds.values()}) == 1,
        **_compared(product.windows, events[:last], rows[:last], values, np.concatenate(plain.values)),
        "plain_python_bytes_per_caller": round(plain_bytes / max(1, callers)),
    }


# --- who is timed -------------------------------------------------------------------------------------------------


class Contestant:
    """Something that folds events, with the time that it took in every segment and all values that it gave."""

    def __init__(self, fold: Callable[[Sequence[CallEvent], Rows], Any]) -> None:
        self.fold = fold
        self.total = Stopwatch()
        self.cpu_s: list[float] = []
        self.values: list[npt.NDArray[np.float64]] = []

    def fill(self, events: Sequence[CallEvent], rows: Rows) -> None:
        """Fold without a clock."""
        self.values.append(np.array(self.fold(events, rows), np.float64))

    def take(self, events: Sequence[CallEvent], rows: Rows) -> None:
        """Fold one segment; only the folding itself is timed."""
        before = self.total.cpu_s
        with self.total:
            found = self.fold(events, rows)
        self.cpu_s.append(self.total.cpu_s - before)
        self.values.append(np.array(found, np.float64))


def _plain(windows: PlainWindows, events: Sequence[CallEvent], rows: Rows) -> list[list[float]]:
    fold = windows.fold
    return [found for event, row in zip(events, rows, strict=True) if (found := fold(event, row)) is not None]


def _in_batches(fold: Fold, size: int) -> Callable[[Sequence[CallEvent], Rows], Any]:
    def run(events: Sequence[CallEvent], rows: Rows) -> npt.NDArray[np.float64]:
        found = [fold.fold(events[at : at + size], rows[at : at + size]).values for at in range(0, len(events), size)]
        return np.concatenate(found)

    return run


def _fresh(product: traffic.Product, options: argparse.Namespace) -> dict[str, object]:
    """The whole log from its first event, every event folded right after it was made ready, as the engine does it.

    Making ready is not timed. Elsewhere here events were made long before and lie cold in memory, so that the three
    contestants can take turns; that costs every one of them more for each event than an engine ever pays.
    """
    plain = PlainWindows(product.windows)
    contestants = {
        "plain_python": Contestant(lambda part, its_rows: _plain(plain, part, its_rows)),
        **{str(size): Contestant(_in_batches(Fold(product.windows), size)) for size in SIZES[-2:]},
    }
    found: dict[str, object] = {}
    for name, contestant in contestants.items():
        say(f"as in the engine: {name}")
        events = 0
        source = iter(traffic.national(traffic.calls_of(options), options.seed))
        while block := list(islice(source, _BLOCK)):
            contestant.take(*product.prepared(block))
            contestant.values.clear()
            events += len(block)
        found[name] = contestant.total.per_event(events)
    slow = contestants["plain_python"].total.cpu_s
    found["ratios"] = {size: round(slow / contestants[size].total.cpu_s, 2) for size in list(contestants)[1:]}
    return found


def _figures(fold: Contestant, plain: Contestant, parts: dict[str, Any], events: int) -> dict[str, object]:
    ratios = [theirs / ours for theirs, ours in zip(plain.cpu_s, fold.cpu_s, strict=True)]
    plain_us = 1e6 * plain.total.cpu_s / events
    return {
        **fold.total.per_event(events),
        "ratio_to_plain_python": round(plain.total.cpu_s / fold.total.cpu_s, 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        "kernel_ratio_to_plain_python": round(plain_us / parts["kernel_us"], 2),
        **parts,
    }


# --- where the time goes --------------------------------------------------------------------------------------------


class Watched:
    """A kernel that is timed and, where asked to, keeps what it was given."""

    def __init__(self, name: str, keep: bool = False) -> None:
        self.name = name
        self.kernel = getattr(kernels, name)
        self.wall_s = 0.0
        self.given: list[Arrays] | None = [] if keep else None

    def __call__(self, *arguments: Any) -> None:
        if self.given is not None:
            self.given.append(arguments[5:10])
        began = perf_counter()
        self.kernel(*arguments)
        self.wall_s += perf_counter() - began

    def __enter__(self) -> Self:
        setattr(kernels, self.name, self)
        return self

    def __exit__(self, *_error: object) -> None:
        setattr(kernels, self.name, self.kernel)


def _parts(windows: WindowSet, size: int, events: Sequence[CallEvent], rows: Rows, filled: int) -> dict[str, Any]:
    """Wall microseconds an event of the three parts, in a pass of its own: the clocks inside cost something too."""
    fold = Fold(windows)
    say(f"parts of batches of {size}")
    with Watched("fold_batch", keep=size == FILLING) as kernel, Watched("hash_texts") as hashing:
        _in_batches(fold, FILLING)(events[:filled], rows[:filled])
        kernel.wall_s = hashing.wall_s = 0.0
        began = perf_counter()
        _in_batches(fold, size)(events[filled:], rows[filled:])
        whole = perf_counter() - began
    timed = len(events) - filled
    found: dict[str, Any] = {
        "kernel_us": round(1e6 * kernel.wall_s / timed, 3),
        "hashing_us": round(1e6 * hashing.wall_s / timed, 3),
        "python_us": round(1e6 * (whole - kernel.wall_s - hashing.wall_s) / timed, 3),
    }
    if kernel.given is not None:
        found["columns"] = tuple(np.concatenate(column) for column in zip(*kernel.given, strict=True))
    return found


def _alone(windows: WindowSet, columns: Arrays, filled: int, last: int) -> dict[str, object]:
    """The kernel over arrays that are there already."""
    found: dict[str, object] = {}
    for size in COLUMNAR:
        fold = Fold(windows)
        for part in batches(tuple(column[:filled] for column in columns), size):
            fold_arrays(fold, *part)
        parts = batches(tuple(column[filled:last] for column in columns), size)
        watch = Stopwatch()
        with watch:
            for part in parts:
                fold_arrays(fold, *part)
        found[str(size)] = watch.per_event(last - filled)
    return found


def _by_kind(
    windows: WindowSet, events: Sequence[CallEvent], rows: Rows, last: int, fold: Contestant, plain: PlainWindows
) -> dict[str, object]:
    """Every kind of event by itself: for the fold, batches of one kind out of every 1,024 events in a row."""
    found: dict[str, dict[str, Any]] = {}
    watches = {kind: Stopwatch() for kind in EventKind}
    counts = dict.fromkeys(EventKind, 0)
    with Watched("fold_batch") as kernel:
        inside = dict.fromkeys(EventKind, 0.0)
        for at in range(last, len(events), FILLING):
            for kind, mine, its_rows in _of_one_kind(events[at : at + FILLING], rows[at : at + FILLING]):
                before = kernel.wall_s
                with watches[kind]:
                    fold.fold(mine, its_rows)
                inside[kind] += kernel.wall_s - before
                counts[kind] += len(mine)
    for kind, count in counts.items():
        if count:
            found[kind.value] = {
                "events": count,
                **watches[kind].per_event(count),
                "kernel_us": round(1e6 * inside[kind] / count, 3),
            }
    plain_s = dict.fromkeys(EventKind, 0.0)
    for event, row in zip(events[last:], rows[last:], strict=True):
        began = perf_counter()
        plain.fold(event, row)
        plain_s[event.kind] += perf_counter() - began
    for kind, count in counts.items():
        if count:
            found[kind.value]["plain_python_us"] = round(1e6 * plain_s[kind] / count, 3)
    return dict(found)


def _of_one_kind(
    events: Sequence[CallEvent], rows: Rows
) -> Iterator[tuple[EventKind, list[CallEvent], list[Sequence[object]]]]:
    for kind in EventKind:
        places = [place for place, event in enumerate(events) if event.kind is kind]
        if places:
            yield kind, [events[place] for place in places], [rows[place] for place in places]


# --- whether both say the same --------------------------------------------------------------------------------------


def _digest(values: Sequence[npt.NDArray[np.float64]]) -> str:
    found = hashlib.blake2b()
    for part in values:
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def _compared(
    windows: WindowSet,
    events: Sequence[CallEvent],
    rows: Rows,
    values: npt.NDArray[np.float64],
    exact: npt.NDArray[np.float64],
) -> dict[str, object]:
    """How the fold's values stand to plain Python's, and to those over one bucket less."""
    equal = (np.abs(exact - values) < 0.002) | (np.isnan(exact) & np.isnan(values))
    shorter = [msgspec.structs.replace(spec, over_s=spec.over_s - spec.bucket_s) for spec in windows.specs]
    short = PlainWindows(WindowSet(windows.names, tuple(shorter), "", windows.predicates, windows.combine))
    say("plain Python over one bucket less")
    least = np.array(_plain(short, events, rows), np.float64)
    kinds = np.array([spec.kind for spec in windows.specs])
    growing = np.isin(kinds, GROWING) & np.array([spec.new != "pair" for spec in windows.specs])
    low, middle, high = (one[:, growing] for one in (least, values, exact))
    within = ((low - 0.002 <= middle) & (middle <= high + 0.002)) | (np.isnan(middle) & np.isnan(high))
    return {
        "equal_values": round(float(equal.mean()), 4),
        "equal_values_by_kind": {
            kind: round(float(equal[:, kinds == kind].mean()), 4) for kind in sorted(set(kinds.tolist()))
        },
        "within_bucket_resolution": float(within.mean()),
        "why_not_equal": (
            "plain Python's windows begin at the instant t - over, the fold's with a bucket (a twelfth of the window),"
            " so the fold leaves out what happened in the first part of a bucket; the bounds check says it does no more"
        ),
    }
