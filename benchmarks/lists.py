"""What lists cost: ``python benchmarks/lists.py`` prints JSON.

For each kind and size, each in a process of its own: seconds to read the CSV file and to make the table, megabytes that
the list keeps and that reading it took at most, and nanoseconds a look-up in the best of several rounds, of entries
(``hit``), of texts that are not there (``miss``) and with a thousand run-time changes over it (``amended``).
``empty_ns`` is a function that does nothing, measured beside it: what the machine was worth at that moment.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from antifraud.rulekit import load_lists

SIZES = (1_000, 100_000, 1_000_000, 5_000_000)
KINDS = ("numbers", "prefixes", "ranges", "trunks", "user_agents")
MOST = {"trunks": 100_000, "user_agents": 100_000}
ASKED = 20_000
ROUNDS = 7

LIST = """\
list: sample
title: a list to be measured
kind: {kind}
owner: benchmark
source: made up
entries_file: sample.csv
"""


def entries(kind: str, count: int) -> list[str]:
    """``count`` entries that nobody has sorted, spread over the numbers of a country and a few neighbours."""
    rng = random.Random(f"{kind} {count}")
    if kind == "numbers":
        return [f"+{number}" for number in rng.sample(range(77_000_000_000, 79_999_999_999), count)]
    if kind == "ranges":
        return [f"+{low}00-+{low}49" for low in rng.sample(range(770_000_000, 799_999_999), count)]
    if kind == "prefixes":
        made: set[str] = set()
        while len(made) < count:
            length = rng.choice((7, 8, 9, 9))
            made.add(f"+{rng.randrange(10 ** (length - 1), 10**length)}")
        chosen = sorted(made)
        rng.shuffle(chosen)
        return chosen
    if kind == "trunks":
        return [f"gw-{number}-{rng.randrange(99)}{rng.choice(['', '', '*'])}" for number in range(count)]
    return [f"{rng.randrange(16**6):06x} dialer {number}" for number in range(count)]


def questions(kind: str, listed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Texts that are in the list, and as many that are (nearly all) not."""
    rng = random.Random(5)
    chosen = [rng.choice(listed) for _ in range(ASKED)]
    if kind == "numbers":
        return chosen, [f"+{rng.randrange(10_000_000_000, 99_999_999_999)}" for _ in chosen]
    if kind == "ranges":
        hits = [str(int(text.partition("-")[0]) + 7) for text in chosen]
        return [f"+{text}" for text in hits], [f"+{rng.randrange(770_000_000, 799_999_999)}77" for _ in chosen]
    if kind == "prefixes":
        return [f"{text}00000"[:12] for text in chosen], [f"+7{rng.randrange(10**10):010d}" for _ in chosen]
    # A shard has few trunks and user agents, and answers about them are remembered.
    few = [text.replace("*", "-1") for text in chosen[:500]]
    return [rng.choice(few) for _ in chosen], [f"other {rng.randrange(500)}" for _ in chosen]


def best(ask: Callable[[str, float], float], texts: Sequence[str]) -> int:
    """Nanoseconds a look-up in the best of the rounds."""
    fastest = sys.maxsize
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        for text in texts:
            ask(text, -1.0)
        fastest = min(fastest, time.perf_counter_ns() - begun)
    return round(fastest / len(texts))


def resident_mb() -> float:
    """What this process keeps in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """The most that this process has kept in memory (the system's own figure begins with that of the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def empty(_text: str, otherwise: float) -> float:
    """What calling a function costs by itself."""
    return otherwise


def measure(folder: Path, kind: str, hits: list[str], misses: list[str], changed: list[str]) -> dict[str, Any]:
    """One list in this process, which has done nothing else."""
    import numpy as np  # so that its own memory is not counted as the list's

    assert np is not None
    gc.collect()
    before = resident_mb()
    begun = time.perf_counter()
    item = load_lists(folder)["sample"]
    read = time.perf_counter() - begun
    begun = time.perf_counter()
    table = item.table()
    built = time.perf_counter() - begun
    gc.collect()
    result = {
        "kind": kind,
        "entries": len(item.entries),
        "table": type(table).__name__.strip("_"),
        "read_s": round(read, 2),
        "table_s": round(built, 2),
        "kept_mb": round(resident_mb() - before, 1),
        "peak_mb": round(peak_mb() - before, 1),
        "empty_ns": best(empty, hits),
        "hit_ns": best(table.until, hits),
        "miss_ns": best(table.until, misses),
    }
    assert all(table.until(text, -1.0) > 0 for text in hits)
    begun = time.perf_counter()
    table.amend(dict.fromkeys(changed[:500], 2e9), set(changed[500:]))
    result["amend_ms"] = round((time.perf_counter() - begun) * 1e3, 2)
    result["amended_ns"] = best(table.until, [*hits[: ASKED // 2], *misses[: ASKED // 2]])
    begun = time.perf_counter()
    found = item.taking_in(hits[0])
    result["check_ms"] = round((time.perf_counter() - begun) * 1e3, 2)
    assert found
    return result


def child(connection: Any, *given: Any) -> None:
    """Measure and send."""
    connection.send(measure(*given))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="no more entries than this")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    chosen = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    results = []
    for kind in chosen.kind or KINDS:
        for size in SIZES:
            if size > min(chosen.most, MOST.get(kind, size)):
                continue
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                (folder / "lists").mkdir()
                (folder / "lists" / "sample.yaml").write_text(LIST.format(kind=kind))
                listed = entries(kind, size)
                with (folder / "lists" / "sample.csv").open("w") as file:
                    file.write("value\n")
                    file.writelines(f"{entry}\n" for entry in listed)
                hits, misses = questions(kind, listed)
                changed = listed[:1_000]
                del listed
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=child, args=(theirs, folder, kind, hits, misses, changed))
                process.start()
                theirs.close()
                results.append(ours.recv())
                process.join()
            print(json.dumps(results[-1]), file=sys.stderr)
    json.dump(
        {"python": platform.python_version(), "machine": platform.machine(), "lists": results}, sys.stdout, indent=2
    )
    print()


if __name__ == "__main__":
    main()
