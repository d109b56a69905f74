"""Classes of callers: kinds of calls for which an honest one is hit more or less easily, each certified by itself.

A bound over all honest calls can be kept by hitting hardly any of the many easy ones and a good part of a few hard
ones: travellers, strangers, those who call a lot. So every class has thresholds and a certificate of its own (Vovk,
"Conditional validity of inductive conformal predictors", 2012, calls such a predictor Mondrian).

``CLASSES`` is the one place where they are declared. A class follows from what the model sees of a call at its
set-up, so training, evaluation and the engine cannot come to different ones. A class whose features a model lacks is
not told apart: its calls fall to the next that fits, and every call fits the last.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]

_KINDS: Final = ("is", "least", "missing")


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """One feature: it *is* ``value``, it is at *least* ``value``, or it is *missing*. A missing value is neither."""

    feature: str
    kind: Literal["is", "least", "missing"]
    value: float = 0.0


class CallerClass(msgspec.Struct, frozen=True):
    """A class: a call is in it when all conditions of one of ``when`` hold, and no class before it has the call.

    ``only_label``: whatever the score, it asks for no more than a label.
    """

    name: str
    when: tuple[tuple[Condition, ...], ...]
    why: str
    only_label: bool = False


#: Calls in an hour and in a day from which on a caller counts as one who calls a lot.
MANY_1H: Final = 20.0
MANY_24H: Final = 50.0

CLASSES: Final[tuple[CallerClass, ...]] = (
    CallerClass(
        "roaming_unknown",
        (
            (
                Condition("caller_foreign", "is", 0.0),
                Condition("trunk_international", "is", 1.0),
                Condition("caller_mobile", "is", 1.0),
                Condition("spoofed_cli", "missing"),
            ),
        ),
        "a home mobile comes in from abroad and the register does not say whether it roams: travellers and forgers are "
        "alike until their second call, so the score asks for a label at the most",
        only_label=True,
    ),
    CallerClass(
        "home_from_abroad",
        ((Condition("caller_foreign", "is", 0.0), Condition("trunk_international", "is", 1.0)),),
        "a home number comes in from abroad and the register has answered: subscribers on a journey, and forgers whom "
        "it gives away unless it is wrong; one class, because honest calls that it is wrong about are too few for "
        "anything to be certain of them alone",
    ),
    CallerClass(
        "foreign",
        ((Condition("caller_foreign", "is", 1.0),),),
        "a number of another country: relatives, offices and machines abroad, of whom the network knows little",
    ),
    CallerClass(
        "unseen",
        ((Condition("caller_age", "missing"),),),
        "the caller has no past here, or hides the number: after an engine has begun with empty windows that is "
        "everybody",
    ),
    CallerClass(
        "heavy",
        ((Condition("caller_calls_1h", "least", MANY_1H),), (Condition("caller_calls_24h", "least", MANY_24H),)),
        "many calls in an hour or a day: couriers, taxis, offices, schools, which call as campaigns do",
    ),
    CallerClass("light", (), "everybody else: people who have called before and call now and then"),
)
"""From first to last; the last takes every call that is left."""


class Classifier:
    """Tells the classes of rows with the columns ``features`` apart. The same row has the same class in any batch."""

    def __init__(self, features: Sequence[str]) -> None:
        at = {name: index for index, name in enumerate(features)}
        names: list[str] = []
        column, kind, value, ends, codes = [], [], [], [], []
        for one in CLASSES:
            known = [part for part in one.when if all(condition.feature in at for condition in part)]
            if one.when and not known:
                continue
            for part in known:
                for condition in part:
                    column.append(at[condition.feature])
                    kind.append(_KINDS.index(condition.kind))
                    value.append(condition.value)
                ends.append(len(column))
                codes.append(len(names))
            names.append(one.name)
        self.names: Final = tuple(names)
        self._features = tuple(features)
        self._column = np.array(column, dtype=np.int64)
        self._kind = np.array(kind, dtype=np.int64)
        self._value = np.array(value, dtype=np.float64)
        self._ends = np.array(ends, dtype=np.int64)
        self._codes = np.array(codes, dtype=np.int8)

    def bounds(self, feature: str) -> Floats:
        """The values t, rising, between which, (s, t], it is no matter for the class where ``feature`` lies."""
        found: set[float] = set()
        for at, value, kind in zip(self._column.tolist(), self._value.tolist(), self._kind.tolist(), strict=True):
            if self._features[at] == feature and _KINDS[kind] != "missing":
                found.add(math.nextafter(value, -math.inf))
                if _KINDS[kind] == "is":
                    found.add(value)
        return np.array(sorted(found), dtype=np.float64)

    def of(self, rows: Floats) -> Codes:
        """The class of each row, int8[n], as a place in ``names``; ``rows`` float64[n, features], NaN for missing."""
        from antifraud.scoring.class_walk import classify

        rows = np.require(rows, dtype=np.float64, requirements=["C", "A", "W"])
        if rows.ndim != 2 or rows.shape[1] != len(self._features):
            raise ValueError(f"rows of shape {rows.shape} for {len(self._features)} features")
        found: Codes = np.empty(len(rows), dtype=np.int8)
        classify(rows, self._column, self._kind, self._value, self._ends, self._codes, len(self.names) - 1, found)
        return found


def class_names(features: Sequence[str]) -> tuple[str, ...]:
    """The classes that a model with these ``features`` tells apart, from first to last."""
    known = set(features)
    return tuple(
        one.name
        for one in CLASSES
        if not one.when or any(all(condition.feature in known for condition in part) for part in one.when)
    )


def spared(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Of each class in ``names`` whether the score asks for no more than a label."""
    only_label = {one.name for one in CLASSES if one.only_label}
    return np.array([name in only_label for name in names], dtype=np.bool_)


def scheme() -> str:
    """16 hex digits that change when what a class means does: a model that was certified for other ones is refused."""
    parts = [[one.name, one.when, one.only_label] for one in CLASSES]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
