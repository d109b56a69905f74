"""Events per second through the fold of the shipped windows, beside the same windows in plain Python.

    .venv/bin/python benchmarks/features.py [--events N] [--callers N]

Prints one JSON object. Both sides see the same events in the same process; ``ratio`` is the fold over plain Python.
The plain one is what one would write without a second thought, a deque or an ordered dict for every window and key.
It is exact where the fold goes by buckets, and forgets nothing, so ``equal_values`` is close to 1, not 1. Times are of
the processor, for the second half of the events: the first half fills the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import tempfile
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from antifraud.domain import CallEvent, EventKind, Location
from antifraud.features import Fold, WindowSet, kernels, load_windows, warm_up

ROOT = Path(__file__).resolve().parents[1]
TALK = 0


def compile_where(text: str, where: Location) -> Callable[[Sequence[object]], bool]:
    """The one condition of the shipped windows, by hand: the cost of the rule language is measured elsewhere."""
    if text != "talk_s < 10":
        raise SystemExit(f"{where}: this benchmark does not know the condition {text!r}")
    return lambda row: row[TALK] is not None and row[TALK] < 10  # type: ignore[operator]


def traffic(count: int, callers: int, seed: int = 1) -> list[CallEvent]:
    """Calls with set-up, answer and release: half the callers at random, the rest with a long tail of busy ones."""
    draw = random.Random(seed)
    waiting: list[tuple[float, int, CallEvent]] = []
    now = 1_767_225_600.0
    for number in range(-(-count // 3)):
        now += draw.expovariate(200.0)
        busy = int(callers ** draw.random()) - 1
        who = draw.randrange(callers) if draw.random() < 0.5 else busy
        common = {
            "call_id": f"{draw.getrandbits(64):016x}@10.0.{number % 200}.7",
            "caller": f"+7700{who:07d}",
            "callee": f"+7701{draw.randrange(callers):07d}",
            "switch": "sbc-1",
            "trunk": "t-1",
        }
        ring, talk = draw.uniform(1, 20), draw.expovariate(1 / 60)
        waiting += [
            (now, 3 * number, CallEvent(kind=EventKind.SETUP, ts=now, **common)),
            (now + ring, 3 * number + 1, CallEvent(kind=EventKind.ANSWER, ts=now + ring, **common)),
            (
                now + ring + talk,
                3 * number + 2,
                CallEvent(kind=EventKind.RELEASE, ts=now + ring + talk, ring_s=ring, talk_s=talk, cause=16, **common),
            ),
        ]
    return [event for _, _, event in sorted(waiting, key=lambda item: item[:2])][:count]


class PlainPython:
    """The shipped windows with dicts and deques."""

    def __init__(self) -> None:
        self.calls_1m: dict[str, deque[float]] = defaultdict(deque)
        self.calls_1h: dict[str, deque[float]] = defaultdict(deque)
        self.callees_10m: dict[str, OrderedDict[str, float]] = defaultdict(OrderedDict)
        self.callees_1h: dict[str, OrderedDict[str, float]] = defaultdict(OrderedDict)
        self.sequential: dict[str, deque[float]] = defaultdict(deque)
        self.called: dict[str, int] = {}
        self.releases: dict[str, deque[float]] = defaultdict(deque)
        self.short: dict[str, deque[float]] = defaultdict(deque)
        self.first: dict[str, float] = {}
        self.reports: dict[str, deque[float]] = defaultdict(deque)
        self.callee_calls: dict[str, deque[float]] = defaultdict(deque)
        self.new_callers: dict[str, OrderedDict[str, float]] = defaultdict(OrderedDict)
        self.new_talk: dict[str, deque[tuple[float, float]]] = defaultdict(deque)
        self.prefix_callees: dict[str, OrderedDict[str, float]] = defaultdict(OrderedDict)
        self.prefix_callers: dict[str, OrderedDict[str, float]] = defaultdict(OrderedDict)
        self.seen: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()

    def fold(self, event: CallEvent) -> list[float] | None:
        """The values of a set-up, None for anything else."""
        caller, callee, ts, kind = event.caller, event.callee, event.ts, event.kind
        prefix = caller[:-4]
        values = None
        if kind is EventKind.SETUP:
            short, releases = self.count(self.short, caller, ts - 3600), self.count(self.releases, caller, ts - 3600)
            talk = self.new_talk[callee]
            while talk and talk[0][0] < ts - 7200:
                talk.popleft()
            values = [
                self.count(self.calls_1m, caller, ts - 60),
                self.count(self.calls_1h, caller, ts - 3600),
                self.distinct(self.callees_10m, caller, ts - 600),
                self.distinct(self.callees_1h, caller, ts - 3600),
                self.count(self.sequential, caller, ts - 600),
                short / releases if releases else math.nan,
                ts - self.first[caller] if caller in self.first else math.nan,
                self.count(self.reports, caller, ts - 30 * 86_400),
                self.count(self.callee_calls, callee, ts - 3600),
                self.distinct(self.new_callers, callee, ts - 7200),
                sum(seconds for _, seconds in talk),
                self.distinct(self.prefix_callees, prefix, ts - 600),
                self.distinct(self.prefix_callers, prefix, ts - 600),
            ]
        identity = (kind.value, event.call_id, caller, callee)
        if identity in self.seen:
            return values
        self.seen[identity] = None
        if len(self.seen) > 1_000_000:
            self.seen.popitem(last=False)
        if kind is EventKind.SETUP:
            self.calls_1m[caller].append(ts)
            self.calls_1h[caller].append(ts)
            self.callee_calls[callee].append(ts)
            self.touch(self.callees_10m[caller], callee, ts)
            self.touch(self.callees_1h[caller], callee, ts)
            self.touch(self.prefix_callees[prefix], callee, ts)
            self.touch(self.prefix_callers[prefix], caller, ts)
            number = int(callee[1:])
            if 1 <= abs(number - self.called.get(caller, -10)) <= 2:
                self.sequential[caller].append(ts)
            self.called[caller] = number
            if caller not in self.first:
                self.touch(self.new_callers[callee], caller, ts)
                self.first[caller] = ts
        elif kind is EventKind.RELEASE:
            self.releases[caller].append(ts)
            if event.talk_s is not None:
                if event.talk_s < 10:
                    self.short[caller].append(ts)
                if caller not in self.first or self.first[caller] >= ts - 7200:
                    self.new_talk[callee].append((ts, event.talk_s))
        elif kind is EventKind.REPORT:
            self.reports[caller].append(ts)
        return values

    @staticmethod
    def count(of: dict[str, deque[float]], key: str, since: float) -> int:
        times = of[key]
        while times and times[0] < since:
            times.popleft()
        return len(times)

    @staticmethod
    def distinct(of: dict[str, OrderedDict[str, float]], key: str, since: float) -> int:
        items = of[key]
        while items and next(iter(items.values())) < since:
            items.popitem(last=False)
        return len(items)

    @staticmethod
    def touch(items: OrderedDict[str, float], item: str, ts: float) -> None:
        items[item] = ts
        items.move_to_end(item)


class Timed:
    """Adds up the processor time that a function takes."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments: object) -> None:
        begin = process_time()
        self.function(*arguments)
        self.seconds += process_time() - begin


def run(
    windows: WindowSet, log: Sequence[CallEvent], rows: Sequence[list[object]], size: int
) -> tuple[float, Fold, np.ndarray]:
    """Seconds an event for the second half of ``log`` in batches of ``size``, the fold, and all values."""
    fold = Fold(windows, secret=bytes(32))
    values = []
    begin = 0.0
    half = len(log) // 2 // size * size
    for first in range(0, len(log), size):
        if first == half:
            begin = process_time()
        values.append(fold.fold(log[first : first + size], rows[first : first + size]).values)
    return (process_time() - begin) / (len(log) - half), fold, np.concatenate(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--callers", type=int, default=50_000)
    options = parser.parse_args()
    windows = load_windows(ROOT / "rules" / "windows.yaml", compile_where)
    begin = perf_counter()
    warm_up()
    compiling = perf_counter() - begin
    log = traffic(options.events, options.callers)
    rows: list[list[object]] = [[event.talk_s] for event in log]

    half = len(log) // 2
    plain = PlainPython()
    plain_values = [values for event in log[:half] if (values := plain.fold(event)) is not None]
    begin = process_time()
    plain_values += [values for event in log[half:] if (values := plain.fold(event)) is not None]
    plain_s = (process_time() - begin) / (len(log) - half)
    result: dict[str, object] = {
        "events": len(log),
        "windows": len(windows.names),
        "warm_up_s": round(compiling, 2),
        "plain_python_events_per_s": round(1 / plain_s),
    }
    batches = {}
    whole = kernels.fold_batch
    for size in (1, 8, 64, 1024):
        seconds, fold, values = run(windows, log, rows, size)
        kernel = kernels.fold_batch = Timed(whole)
        run(windows, log, rows, size)
        kernels.fold_batch = whole
        batches[str(size)] = {
            "events_per_s": round(1 / seconds),
            "us_per_event": round(1e6 * seconds, 2),
            "of_that_kernel_us": round(1e6 * kernel.seconds / len(log), 2),
            "ratio_to_plain_python": round(plain_s / seconds, 1),
        }
    result["batch"] = batches
    exact = np.array(plain_values, np.float64)
    result["equal_values"] = round(
        float(np.mean((np.abs(exact - values) < 0.002) | (np.isnan(exact) & np.isnan(values)))), 4
    )
    stats = fold.stats()
    result["bytes"] = {name.split(".")[0]: size for name, size in stats.items() if name.endswith("bytes_per_key")}
    rows_used = sum(
        int(stats[f"{name}.keys"]) * int(stats[f"{name}.bytes_per_key"])
        for name in ("caller", "callee", "caller_prefix-4")
    )
    pairs_used = 28 * sum(int(value) for name, value in stats.items() if name.endswith(".pairs"))
    entries = sum(int(value) for name, value in stats.items() if name.endswith((".keys", ".pairs")))
    # An index that is as full as it may get has two to four places of 8 bytes for an entry: 24 on average.
    result["bytes_per_active_caller"] = round((rows_used + pairs_used + 24 * entries) / int(stats["caller.keys"]))
    with tempfile.TemporaryDirectory() as directory:
        begin = perf_counter()
        fold.save(Path(directory) / "s", "0-0")
        saved = perf_counter()
        Fold.load(Path(directory) / "s", windows)
        result["snapshot"] = {
            "bytes": (Path(directory) / "s").stat().st_size,
            "save_s": round(saved - begin, 2),
            "load_s": round(perf_counter() - saved, 2),
        }
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
