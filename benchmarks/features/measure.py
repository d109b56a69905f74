"""Clocks, memory and the machine: what every benchmark here states beside its figures.

Times are given twice. Wall time is what a caller waits; processor time leaves out what other processes on a shared
machine took. Both move with the machine from one minute to the next, so ratios within one run are the main figures.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path
from time import perf_counter, process_time
from types import TracebackType
from typing import Self

import numba
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
_PAGE = os.sysconf("SC_PAGE_SIZE")
_THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def _code() -> str:
    found = hashlib.blake2b(digest_size=6)
    for path in sorted((ROOT / "antifraud" / "features").glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


#: Taken at the start: the files may change while a long run goes on with the code that it loaded.
_CODE = _code()


class Stopwatch:
    """Adds up wall and processor seconds of the stretches that it is entered for."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0

    def __enter__(self) -> Self:
        self._cpu, self._wall = process_time(), perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s += perf_counter() - self._wall
        self.cpu_s += process_time() - self._cpu

    def per_event(self, events: int) -> dict[str, float]:
        """Events a second and microseconds an event by processor time, and microseconds an event by wall time."""
        return {
            "events_per_s": round(events / self.cpu_s),
            "us_per_event": round(1e6 * self.cpu_s / events, 3),
            "wall_us_per_event": round(1e6 * self.wall_s / events, 3),
        }

    def seconds(self) -> dict[str, float]:
        """Both sums."""
        return {"wall_s": round(self.wall_s, 2), "cpu_s": round(self.cpu_s, 2)}


def rss() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def peak_rss(pid: int | str = "self") -> int:
    """The most bytes that a process ever had in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def available() -> int:
    """Bytes that processes could still be given."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def machine() -> dict[str, object]:
    """Where and with what this was measured; ``features`` follows from the code of the fold and of its kernels."""
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "huge_pages": _THP.read_text().split("[")[1].split("]")[0] if _THP.exists() else "",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "features": _CODE,
    }


def say(text: str) -> None:
    """Progress, for somebody who watches a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
