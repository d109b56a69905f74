"""What a snapshot of millions of callers costs: time to write, what calls feel of it, size, time to restore.

The memory is filled as in ``memory``. Then events come in batches of 64 at ``--rate`` events a second, as calls do,
and in the middle of them ``--snapshots`` snapshots are written one after another exactly as the engine does it
(``SnapshotStore.start``: a forked child). ``longest_wait_ms`` is from the moment a batch was due to the moment its
values were there; ``longest_gap_ms`` lies between the ends of two batches, and holds the pause that the rate itself
makes. Both are given for stretches without a snapshot before and after, the latter as long as the last snapshot took
(30 s at most). Every page that is written to while a child lives is copied (``copied_mib``), and a huge page is split
for that: ``huge_pages_mib`` says how much of the process is in huge pages before each fork, which decides how long the
fork itself takes. ``limits`` tells what this machine's disk and checksum alone would take for as many bytes.

Restoring is ``SnapshotStore.load``, once with the file in the system's cache and once without, and
``same_values_after_restoring`` says whether the restored fold then gives the values that the living one gave.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import numpy.typing as npt

from antifraud.engine.snapshots import SnapshotStore
from antifraud.features import Fold
from benchmarks.features import memory
from benchmarks.features.columns import Arrays, Columns, Gate, batches, fold_arrays
from benchmarks.features.measure import Stopwatch, available, machine, rss, say

SIZE = 64
COMPARED = 100
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: A snapshot is given up when the copies of pages leave the machine less than this.
_RESERVE = 1 << 30
_BEFORE_S = 5.0
_AFTER_S = 30.0
_LONGEST_S = 240.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    memory.add_arguments(parser)
    parser.add_argument(
        "--dir", type=Path, help="where snapshots are written: a real disk (default: a new one in /var/tmp)"
    )
    parser.add_argument("--snapshots", type=int, default=3, help="how many are written one after another")
    parser.add_argument("--rate", type=float, default=5_000.0, help="events a second meanwhile; 0 for all that it can")


def run(options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    filled = memory.filled(options)
    place = options.dir or Path("/var/tmp")
    with tempfile.TemporaryDirectory(dir=place, prefix="antifraud-") as directory:
        return {
            "benchmark": "features.snapshot",
            "machine": machine(),
            "memory": filled.figures,
            "rate": options.rate,
            **_measured(filled, Path(directory), options),
        }


def _measured(filled: memory.Filled, directory: Path, options: argparse.Namespace) -> dict[str, object]:
    fold, windows, rate = filled.fold, filled.product.windows, options.rate
    source = _made(filled.following, filled.gate, rate)
    store = SnapshotStore(directory, "bench")
    known = int(fold.stats()["caller.keys"])
    before = _Stretch(fold, source, rate)
    before.go(_BEFORE_S, lambda: True)
    snapshots: list[dict[str, object]] = []
    for number in range(options.snapshots):
        during = _Stretch(fold, source, rate, keep=COMPARED)
        snapshots.append(_written(store, f"{number + 1}-1", during))
        say(f"snapshot {number + 1}: {snapshots[-1]}")
        mending = _Stretch(fold, source, rate)
        began = perf_counter()
        mending.go(0.0, lambda live=mending: _is_mended(store, live.fold))
        snapshots[-1]["mending"] = {"s": round(perf_counter() - began, 2), **mending.figures()}
        mending.fold = None  # type: ignore[assignment]
    after = _Stretch(fold, source, rate)
    after.go(min(_AFTER_S, float(str(snapshots[-1]["write_s"]))), lambda: True)
    file = max(directory.glob("*.snapshot"))
    size, grown = file.stat().st_size, rss()

    given, their_values = during.given, during.values
    # Nothing may hold on to the old memory while the new one is filled.
    del fold
    filled.fold = filled.gate = None  # type: ignore[assignment]
    before.fold = during.fold = after.fold = None  # type: ignore[assignment]
    filled.following = source = iter(())
    gc.collect()
    restores: dict[str, object] = {}
    same = False
    for name in ("from_disk", "from_cache"):
        if name == "from_disk":
            _drop_cache(file)
        watch = Stopwatch()
        with watch:
            loaded = store.load(windows, 3_600.0)
        assert loaded is not None
        restores[name] = watch.seconds()
        if name == "from_cache":
            ours = [fold_arrays(loaded.fold, *part) for part in given]
            same = all(
                np.array_equal(one, other, equal_nan=True) for one, other in zip(ours, their_values, strict=True)
            )
        del loaded
    return {
        "bytes": size,
        "bytes_per_caller": round(size / known),
        "rss_mib": grown >> 20,
        "directory": str(directory.parent),
        "before": before.figures(),
        "snapshots": snapshots,
        "after": after.figures(),
        "restore": restores,
        "same_values_after_restoring": same,
        "limits": _limits(directory, size),
    }


def _written(store: SnapshotStore, position: str, during: _Stretch) -> dict[str, object]:
    """One snapshot of the fold of ``during``, which goes on folding meanwhile; SystemExit when it fails."""
    outcome: list[bool] = []

    def is_written() -> bool:
        if available() < _RESERVE:
            store.abandon()
            raise SystemExit("the pages copied while a snapshot is written do not fit this machine; lower --rate")
        found = store.poll()
        if found is not None:
            outcome.append(found)
        return found is not None

    huge, load = _huge_pages(), os.getloadavg()[0]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fork = _Fork()
    began = perf_counter()
    with fork:
        store.start(during.fold, position)
    during.go(0.0, is_written, since=began)
    took = perf_counter() - began
    if not outcome[0]:
        raise SystemExit("the snapshot could not be written")
    return {
        "write_s": round(took, 2),
        "fork_ms": round(1e3 * fork.seconds, 2),
        **during.figures(),
        "huge_pages_mib": huge >> 20,
        "copied_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) * _PAGE >> 20,
        "load": round(load, 2),
    }


def _is_mended(store: SnapshotStore, fold: Fold) -> bool:
    """A little mending between two batches, as the engine does it; whether that was all."""
    store.mend(fold)
    return not store.is_torn


def _huge_pages() -> int:
    """Bytes of this process that lie in huge pages."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages")), 0)


class _Fork:
    """Times os.fork itself in the parent."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._fork = os.fork
        os.fork = self

    def __exit__(self, *_error: object) -> None:
        os.fork = self._fork

    def __call__(self) -> int:
        began = perf_counter()
        child = self._fork()
        self.seconds = perf_counter() - began
        return child


class _Stretch:
    """Batches folded as they come due, and how long each was waited for."""

    def __init__(self, fold: Fold, source: Iterator[Arrays], rate: float, keep: int = 0) -> None:
        self.fold = fold
        self.source = source
        self.every_s = SIZE / rate if rate else 0.0
        self.keep = keep
        self.given: list[Arrays] = []
        self.values: list[npt.NDArray[np.float64]] = []
        self.waits: list[float] = []
        self.gaps: list[float] = []
        self.busy: list[float] = []

    def go(self, seconds: float, enough: Callable[[], bool], since: float | None = None) -> None:
        """Fold for ``seconds`` and until ``enough``; the first batch was due at ``since``."""
        began = perf_counter()
        due = last = began if since is None else since
        for arrays in self.source:
            now = perf_counter()
            if now < due:
                sleep(due - now)
            start = perf_counter()
            values = fold_arrays(self.fold, *arrays)
            end = perf_counter()
            self.waits.append(end - (due if self.every_s else start))
            self.gaps.append(end - last)
            self.busy.append(end - start)
            last = end
            due += self.every_s
            if len(self.given) < self.keep:
                self.given.append(arrays)
                self.values.append(values)
            if end - began >= seconds and enough():
                return

    def figures(self) -> dict[str, float]:
        """Milliseconds."""
        waits, gaps, busy = (1e3 * np.array(one) for one in (self.waits, self.gaps, self.busy))
        return {
            "batches": len(waits),
            "longest_wait_ms": round(float(waits.max()), 2),
            "p99_wait_ms": round(float(np.percentile(waits, 99)), 2),
            "longest_gap_ms": round(float(gaps.max()), 2),
            "longest_batch_ms": round(float(busy.max()), 2),
            "mean_batch_ms": round(float(busy.mean()), 3),
        }


def _made(following: Iterator[tuple[float, Columns]], gate: Gate, rate: float) -> Iterator[Arrays]:
    """Batches of the events that follow, all made beforehand: nobody waits for them while the clock runs."""
    made: list[Arrays] = []
    for _, columns in following:
        made += batches(gate.arrays(columns), SIZE)
        if rate and len(made) * SIZE > rate * _LONGEST_S:
            break
    return _given(made)


def _given(made: list[Arrays]) -> Iterator[Arrays]:
    yield from made
    raise SystemExit("too few calls were left for a snapshot of this length; lower --rate")


def _drop_cache(file: Path) -> None:
    """Have the system forget what it holds of ``file``."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _limits(directory: Path, size: int) -> dict[str, float]:
    """Seconds that writing, reading and the checksum of ``size`` bytes would take by themselves, from a sample."""
    sample = min(size, 1 << 30)
    piece = np.random.default_rng(0).bytes(1 << 22)
    path = directory / "sample"
    began = perf_counter()
    with path.open("wb") as stream:
        for _ in range(sample >> 22):
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    writing = perf_counter() - began
    _drop_cache(path)
    began = perf_counter()
    into = bytearray(1 << 22)
    with path.open("rb", buffering=0) as stream:
        while stream.readinto(into):
            pass
    reading = perf_counter() - began
    path.unlink()
    began = perf_counter()
    digest = hashlib.sha256()
    for _ in range(sample >> 22):
        digest.update(piece)
    checksum = perf_counter() - began
    scale = size / (sample >> 22 << 22)
    return {
        "disk_write_s": round(writing * scale, 2),
        "disk_read_s": round(reading * scale, 2),
        "checksum_s": round(checksum * scale, 2),
    }
