"""The engine's numbers as others may look at them: copies that are left on a board, never the engine's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

#: Upper bounds by which latencies are counted, milliseconds.
LATENCY_STEPS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 150, 500, 1000)


class Figures(msgspec.Struct, frozen=True):
    """A copy of the engine's numbers. Nobody changes the mappings any more.

    ``counts`` are the engine's counters since its start, by the names they have in Redis; ``latency_s`` is the sum of
    all latencies in seconds; ``fold`` is what ``Fold.stats`` said. ``refused``: the rules that were to be taken last
    were refused, so those in force are older ones. ``challenger_refused``: the model that was to score beside the one
    in force does not fit, so that one is alone.
    """

    counts: Mapping[str, int] = {}
    latency_s: float = 0.0
    fold: Mapping[str, int | float] = {}
    serving: bool = False
    killed: bool = False
    refused: bool = False
    bundle: str = ""
    model: str = ""
    challenger: str = ""
    challenger_refused: bool = False


class Board:
    """Where the engine leaves its numbers for whoever asks. Leaving and taking are one assignment each."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.figures = Figures()

    def publish(self, figures: Figures) -> None:
        """Take ``figures`` in place of the last ones."""
        self.figures = figures
