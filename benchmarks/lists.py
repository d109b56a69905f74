"""What lists cost: ``python benchmarks/lists.py`` prints JSON.

For each kind and size, each in a process of its own: seconds to read the CSV file and to make the table, megabytes that
the list keeps and that reading it took at most. Then nanoseconds a look-up, as a rule makes it: ``caller in
lists.sample``, compiled, asked of one call after another, none of them twice, each timed for itself. ``p50`` is their
median without that of a rule that looks nothing up (``frame_p50``), ``p99`` likewise: of callers that are in the list
(``hit``), that are not (``miss``), of both with a thousand run-time changes over the list (``amended``), and of callers
that those changes are about (``changed``). ``amend_ms`` is what a thousand changes cost at once, ``amend_one_ms`` what
one more costs.
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
from antifraud.rulekit.compiler import Clause, compile_pack
from antifraud.rulekit.tree import Compare, Condition, Listed, Literal, Slot

SIZES = (0, 1_000, 100_000, 1_000_000, 5_000_000)
KINDS = ("numbers", "prefixes", "ranges", "trunks", "user_agents")
MOST = {"trunks": 100_000, "user_agents": 100_000}
CHANGES = 1_000
ASKED = 50_000
TS = 1.8e9
ENDED, LATER = 1.7e9, 2e9

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


def taken_in(kind: str, entry: str, rng: random.Random) -> str:
    """A text that ``entry`` takes in."""
    if kind == "ranges":
        return f"+{int(entry.partition('-')[0]) + rng.randrange(50)}"
    if kind == "prefixes":
        return f"{entry}{rng.randrange(10**6):06d}"[:12]
    return entry.replace("*", "-1")


def others(kind: str, rng: random.Random) -> list[str]:
    """Texts that are (nearly all) in no list."""
    if kind == "numbers":
        return [f"+{rng.randrange(10_000_000_000, 99_999_999_999)}" for _ in range(ASKED)]
    if kind == "ranges":
        return [f"+{rng.randrange(770_000_000, 799_999_999)}{rng.randrange(50, 100)}" for _ in range(ASKED)]
    if kind == "prefixes":
        return [f"+7{rng.randrange(10**10):010d}" for _ in range(ASKED)]
    return [f"other {rng.randrange(500)}" for _ in range(ASKED)]


def questions(kind: str, listed: Sequence[str]) -> dict[str, list[str]]:
    """Texts to look up: some that are in the list, some that are not, and some that changes are about."""
    rng = random.Random(5)
    # A shard has few trunks and user agents, and answers about them are remembered.
    few = kind in ("trunks", "user_agents")
    pool = listed[:500] if few else listed
    return {
        "hit": [taken_in(kind, rng.choice(pool), rng) for _ in range(ASKED)] if listed else [],
        "miss": others(kind, rng),
        "changed": [taken_in(kind, entry, rng) for entry in rng.choices(changes(kind, listed), k=ASKED)],
    }


def changes(kind: str, listed: Sequence[str]) -> list[str]:
    """What changes at run time: entries that are new, then as many that are taken out (if there are so many)."""
    gone = list(listed[: CHANGES // 2])
    known = set(listed)
    new = [entry for entry in entries(kind, 3 * CHANGES) if entry not in known]
    return [*new[: CHANGES - len(gone)], *gone]


def rule(condition: Condition, lookup: Callable[[str, float], float]) -> Callable[..., Any]:
    """A rule with this condition alone, compiled."""
    return compile_pack("sample", [Clause(condition)], {"sample": lookup})


CALLER, TIME = Slot("caller", 0, "text"), Slot("ts", 1, "number")
LOOKS_UP = Listed(CALLER, "sample", TIME)
LOOKS_NOTHING_UP = Compare(">=", TIME, Literal(TS))


def timed(function: Callable[..., Any], texts: Sequence[str]) -> list[int]:
    """Nanoseconds of each evaluation, sorted."""
    rows: list[Sequence[object]] = [(text, TS) for text in texts]
    clock = time.perf_counter_ns
    spent = []
    for row in rows:
        begun = clock()
        function(row, ())
        spent.append(clock() - begun)
    return sorted(spent)


def figures(name: str, lookup: Callable[[str, float], float], texts: Sequence[str]) -> dict[str, int]:
    """p50 and p99 of looking ``texts`` up."""
    if not texts:
        return {}
    framed = timed(rule(LOOKS_NOTHING_UP, lookup), texts)
    frame = framed[len(framed) // 2]
    spent = timed(rule(LOOKS_UP, lookup), texts)
    return {
        f"{name}_p50": spent[len(spent) // 2] - frame,
        f"{name}_p99": spent[len(spent) * 99 // 100] - frame,
        "frame_p50": frame,
    }


def resident_mb() -> float:
    """What this process keeps in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """The most that this process has kept in memory (the system's own figure begins with that of the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def measure(folder: Path, kind: str, asked: dict[str, list[str]], changed: list[str]) -> dict[str, Any]:
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
    result: dict[str, Any] = {
        "kind": kind,
        "entries": len(item.entries),
        "table": type(table).__name__.strip("_"),
        "read_s": round(read, 2),
        "table_s": round(built, 2),
        "kept_mb": round(resident_mb() - before, 1),
        "peak_mb": round(peak_mb() - before, 1),
    }
    for name in ("hit", "miss"):
        result |= figures(name, table.until, asked[name])
    assert all(table.until(text, -1.0) > 0 for text in asked["hit"])
    standing = {entry for entry in changed if item.entries.find(entry)[1]}
    new = [entry for entry in changed if entry not in standing]
    added = {entry: (float("inf"), LATER, ENDED)[at % 3] for at, entry in enumerate(new)}
    begun = time.perf_counter()
    table.amend(added, standing)
    result["amend_ms"] = round((time.perf_counter() - begun) * 1e3, 2)
    last = added.popitem()
    begun = time.perf_counter()
    table.amend(added, standing)
    result["amend_one_ms"] = round((time.perf_counter() - begun) * 1e3, 2)
    table.amend(dict([*added.items(), last]), standing)
    mixed = [text for pair in zip(asked["hit"] or asked["changed"], asked["miss"], strict=True) for text in pair]
    result |= figures("amended", table.until, mixed)
    result |= figures("changed", table.until, asked["changed"])
    if asked["hit"]:
        begun = time.perf_counter()
        found = item.taking_in(asked["hit"][0])
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
    parser.add_argument("--least", type=int, default=0, help="no fewer entries than this")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--until", action="store_true", help="every other entry has an end")
    chosen = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    results = []
    for kind in chosen.kind or KINDS:
        for size in SIZES:
            if not chosen.least <= size <= min(chosen.most, MOST.get(kind, size)):
                continue
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                (folder / "lists").mkdir()
                (folder / "lists" / "sample.yaml").write_text(LIST.format(kind=kind))
                listed = entries(kind, size)
                ends = ("", ",2030-01-01") if chosen.until else ("", "")
                with (folder / "lists" / "sample.csv").open("w") as file:
                    file.write("value,until\n" if chosen.until else "value\n")
                    file.writelines(f"{entry}{ends[at % 2] or ',' * chosen.until}\n" for at, entry in enumerate(listed))
                given = (folder, kind, questions(kind, listed), changes(kind, listed))
                del listed
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=child, args=(theirs, *given))
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
