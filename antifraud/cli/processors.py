"""How many processors this process may use: its affinity, and the quota of its control group where there is one."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_MOST_BYTES: Final = 4096


def available(own: Path = _OWN, groups: Path = _GROUPS) -> int:
    """Processors that are worth a thread each, at least 1. What cannot be read sets no limit.

    ``own`` names the control group (cgroups(7), version 2; of version 1 the ``cpu`` controller), under ``groups``.
    """
    processors = len(os.sched_getaffinity(0))
    quota = _quota(own, groups)
    return max(1, processors if quota is None else min(processors, math.ceil(quota)))


def _quota(own: Path, groups: Path) -> float | None:
    """The strictest quota of the group and of those above it, in processors."""
    strictest: float | None = None
    for line in _text(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            base = groups
        elif "cpu" in controllers.split(","):
            base = groups / "cpu"
        else:
            continue
        parts = [part for part in group.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            found = _of_group(base.joinpath(*parts[:depth]))
            if found is not None:
                strictest = found if strictest is None else min(strictest, found)
    return strictest


def _of_group(directory: Path) -> float | None:
    words = _text(directory / "cpu.max").split() or [
        _text(directory / "cpu.cfs_quota_us").strip(),
        _text(directory / "cpu.cfs_period_us").strip(),
    ]
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str:
    try:
        with path.open("r", encoding="ascii", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return ""
