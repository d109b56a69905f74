"""The engine of one shard: log in, decisions out, deadlines, snapshots, reload.

Its parts are imported when they are first asked for: the process that compiles rules needs neither Redis nor numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antifraud.engine.figures import Board, Figures
    from antifraud.engine.loop import Engine, EngineOptions
    from antifraud.engine.reloading import RulesPlace
    from antifraud.engine.snapshots import SnapshotStore

__all__ = ["Board", "Engine", "EngineOptions", "Figures", "RulesPlace", "SnapshotStore"]

_PLACES = {
    "Board": "figures",
    "Engine": "loop",
    "EngineOptions": "loop",
    "Figures": "figures",
    "RulesPlace": "reloading",
    "SnapshotStore": "snapshots",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"antifraud.engine.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
