"""The challenger: a second model that scores every call beside the one in force, and decides nothing.

What it would have led to is written into each decision, so that two models can be compared on the same calls before
one takes the place of the other (``antifraud model compare``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from antifraud.decision.facts import MODEL_FACTS
from antifraud.decision.policy import RegionPolicy, score_levels
from antifraud.domain import Verdict
from antifraud.scoring import Model
from antifraud.scoring.columns import Indices, columns_of

Levels = tuple[tuple[float, Verdict], ...]
"""(score from which on, verdict), from hard to mild."""


class Seat(msgspec.Struct, frozen=True):
    """A model in its place: which columns of a vector it takes, and what its scores ask for by region and class.

    ``columns`` is None when it takes all of them, in order.
    """

    model: Model
    columns: Indices | None
    levels: Mapping[str, tuple[Levels, ...]]


class Scores(msgspec.Struct, frozen=True, gc=False):
    """What the models say of one call: the score of the one in force and the verdict it asks for, then the rival's.

    ``kind`` is the caller's class as the model in force tells classes apart.
    """

    own: float | None = None
    asks: Verdict = Verdict.ALLOW
    kind: str = ""
    rival: float | None = None
    rival_asks: Verdict = Verdict.ALLOW


UNSCORED = Scores()


def seated(model: Model, windows: Mapping[str, str], regions: Mapping[str, RegionPolicy]) -> Seat:
    """``model`` over vectors of ``windows`` (name to digest, in order) and the facts; ModelError when it cannot."""
    places = columns_of(model, windows, MODEL_FACTS)
    whole = np.array_equal(places, np.arange(len(windows) + len(MODEL_FACTS)))
    certified = model.class_thresholds
    levels = {code: tuple(score_levels(region, one) for one in certified) for code, region in regions.items()}
    return Seat(model, None if whole else places, levels)


def asked(levels: Sequence[tuple[float, Verdict]], score: float) -> Verdict:
    """The hardest verdict whose threshold ``score`` reaches."""
    for threshold, verdict in levels:
        if score >= threshold:
            return verdict
    return Verdict.ALLOW
