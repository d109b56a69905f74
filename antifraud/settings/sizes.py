"""Amounts of memory as people write them: ``1GiB``, ``512MiB``, ``6GB``, or a plain number of bytes.

``KiB``, ``MiB``, ``GiB`` and ``TiB`` are powers of 1024, ``kB``, ``MB``, ``GB`` and ``TB`` powers of 1000. A bare
``M`` or ``G`` means one of them here and the other there, so it is not understood.
"""

from __future__ import annotations

import re
from typing import Final

SIZE: Final = r"^([0-9]{1,15}|[0-9]{1,9}(\.[0-9]{1,3})? ?([kKmMgGtT][iI]?)?[bB])\Z"
_PARTS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)")
_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip


def parse_size(written: str | int) -> int | None:
    """The bytes that ``written`` stands for; None when it is no size."""
    if isinstance(written, int):
        return written
    if re.search(SIZE, written) is None:
        return None
    found = _PARTS.fullmatch(written.lower())
    if found is None:
        return None
    whole, _, fraction = found[1].partition(".")
    unit = _UNITS[found[2]]
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def show_size(bytes_: float) -> str:
    """``bytes_`` as people read it, in the largest binary unit of which there is at least one."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if bytes_ >= unit:
            return f"{bytes_ / unit:.1f}".removesuffix(".0") + name
    return f"{bytes_:.0f}B"
