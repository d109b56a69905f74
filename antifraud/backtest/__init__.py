"""The same decision function over files of the past: replay, and the readers of our own event files."""

from __future__ import annotations

from antifraud.backtest.eventfile import EVENT_FILE
from antifraud.backtest.replay import Replay, in_time_order

__all__ = ["EVENT_FILE", "Replay", "in_time_order"]
