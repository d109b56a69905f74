"""Windows over the past of callers, callees and their pairs: declared once, folded exactly, bounded in memory.

``load_windows`` reads the declarations, ``Fold`` is the state, ``frame`` makes a table for training and notebooks;
docs/reference/windows.md is the contract of all of them.
Reading declarations needs neither numpy nor numba: the parts that do are imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from antifraud.features.errors import SnapshotError
from antifraud.features.windows import KINDS, WindowSet, WindowSpec, load_windows

if TYPE_CHECKING:
    from antifraud.features.fold import Fold, Folded, Limits, warm_up
    from antifraud.features.table import frame

__all__ = [
    "KINDS",
    "Fold",
    "Folded",
    "Limits",
    "SnapshotError",
    "WindowSet",
    "WindowSpec",
    "frame",
    "load_windows",
    "warm_up",
]


def __getattr__(name: str) -> Any:
    # numpy and numba cost a second, and linting needs neither.
    if name in ("Fold", "Folded", "Limits", "warm_up"):
        from antifraud.features import fold

        return getattr(fold, name)
    if name == "frame":
        from antifraud.features import table

        return table.frame
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
