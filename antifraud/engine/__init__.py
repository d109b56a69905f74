"""The engine of one shard: log in, decisions out, deadlines, snapshots, reload."""

from __future__ import annotations

from antifraud.engine.figures import Board, Figures
from antifraud.engine.loop import Engine, EngineOptions
from antifraud.engine.snapshots import SnapshotStore

__all__ = ["Board", "Engine", "EngineOptions", "Figures", "SnapshotStore"]
