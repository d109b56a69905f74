"""How fast the simulator makes calls, and in how much memory: ``python benchmarks/simulator.py`` prints JSON.

Each way of using it runs in a process of its own: ``columns`` (numpy columns, no text), ``texts`` (columns, and the
numbers as a switch writes them), ``events`` (what everybody who decides or trains gets: an object an event), ``jsonl``
(events written as JSON lines into a pipe that nobody keeps). Calls per second are of one core by processor time;
``wall`` is by the clock. ``peak_mb`` is the most memory the process had, ``base_mb`` what it had before the first call.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from antifraud.domain import EventKind
from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario, simulate, simulate_columns
from antifraud.simulator.files import write_events
from antifraud.simulator.scenario import Scenario


def _columns(scenario: Scenario, seed: int, calls: int) -> int:
    return sum(len(columns) for columns in simulate_columns(scenario, seed, calls))


def _texts(scenario: Scenario, seed: int, calls: int) -> int:
    made = 0
    for columns in simulate_columns(scenario, seed, calls):
        made += len(columns.callers())
        columns.callees()
    return made


def _events(scenario: Scenario, seed: int, calls: int) -> int:
    return sum(item.event.kind is EventKind.SETUP for item in simulate(scenario, seed, calls))


def _jsonl(scenario: Scenario, seed: int, calls: int) -> int:
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        return write_events(simulate(scenario, seed, calls), Path("-"))[1]
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)


WAYS: dict[str, Callable[[Scenario, int, int], int]] = {
    "columns": _columns, "texts": _texts, "events": _events, "jsonl": _jsonl,
}  # fmt: skip


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(answer: Connection, way: str, name: str, seed: int, calls: int) -> None:
    """Measure one way and send the figures."""
    scenario = load_scenario(find_scenario(name, data_dir("config")))
    WAYS[way](scenario, seed, 2_000)  # imports and first calls are not what is measured
    base = _megabytes()
    cpu, wall = time.process_time(), time.perf_counter()
    made = WAYS[way](scenario, seed, calls)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if made != calls:
        raise SystemExit(f"{way}: {made} calls instead of {calls}")
    answer.send(
        {
            "way": way,
            "calls": calls,
            "calls_per_s": round(calls / cpu),
            "wall_calls_per_s": round(calls / wall),
            "us_per_call": round(1e6 * cpu / calls, 2),
            "base_mb": round(base, 1),
            "peak_mb": round(_megabytes(), 1),
        }
    )


def measured(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The figures of every way asked for, one process after the other."""
    spawn = multiprocessing.get_context("spawn")
    for way in options.way or WAYS:
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=child, args=(theirs, way, options.scenario, options.seed, options.calls))
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            raise SystemExit(f"{way}: the process ended with {process.exitcode}") from None
        process.join()
        print(json.dumps(found), file=sys.stderr)
        yield found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="spread over one day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", default="national")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    options = parser.parse_args()
    ways = list(measured(options))
    json.dump(
        {
            "benchmark": Path(__file__).stem,
            "scenario": options.scenario,
            "seed": options.seed,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
            "ways": ways,
        },
        sys.stdout,
        indent=2,
    )
    print()


if __name__ == "__main__":
    main()
