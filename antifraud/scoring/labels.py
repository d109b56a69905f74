"""Calls on their way to training: who makes their rows, and what is known of them beside the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent
from antifraud.scoring.row_pieces import Coded

Floats = npt.NDArray[np.float64]


class VectorMaker(Protocol):
    """What a decider offers here: fold events, and give the feature vectors of the setups among them."""

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> Floats:
        """float64[setups, features] of the setups among ``events``, in their order.

        ``stops`` is given a report for each call that the rules would have stopped, ``new`` whether the score has no
        say about each setup because too little is known of callers.
        """
        ...


class Labels(msgspec.Struct):
    """What is known of calls beside their rows: ``campaign`` "" means honest, ``scenario`` is the behaviour.

    ``keys`` are digests of call id, time and numbers, by which a call that comes twice is recognised; empty where they
    were not asked for. ``new``: from while an engine was new, so that trees may grow on them and nothing more.
    """

    y: npt.NDArray[np.bool_]
    ts: Floats
    campaign: Coded
    scenario: Coded
    keys: npt.NDArray[np.uint64]
    new: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[Labels]) -> Labels:
        """``parts`` (at least one) one after the other."""
        return cls(
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.ts for part in parts]),
            Coded.joined([part.campaign for part in parts]),
            Coded.joined([part.scenario for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.new for part in parts]),
        )
