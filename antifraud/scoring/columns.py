"""Which columns of the engine's vectors a model takes, and whether they still mean what it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError

Indices = npt.NDArray[np.intp]

_MOST_NAMED: Final = 5
_MEND: Final = (
    "give rules/windows.yaml back what the model was trained on, name another model, "
    "or train one again: antifraud model train"
)
_OUTDATED: Final = "this version works out other facts: train the model again: antifraud model train"


class Trained(Protocol):
    """What a model says about the columns that it wants."""

    @property
    def id(self) -> str:
        """The model's name in messages."""
        ...

    @property
    def of_numbers(self) -> bool:
        """Whether it scores numbers from tables instead of calls."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """The columns, in the order that the model takes them in."""
        ...

    @property
    def windows(self) -> Mapping[str, str]:
        """Those of them that are windows, with the digest of each one's content."""
        ...


def columns_of(model: Trained, windows: Mapping[str, str], facts: Sequence[str]) -> Indices:
    """Where the features of ``model`` stand in vectors of ``windows`` (name to digest, in order), then ``facts``.

    ModelError when a feature is neither, or a window has another content than the model was trained on. Windows that
    the model does not use, and the order of all, are no matter.
    """
    if model.of_numbers:
        raise ModelError(
            f"the model {model.id} scores numbers from tables, not calls",
            hint="name a model of calls, or score a table with it: antifraud model score",
        )
    at = {name: len(windows) + index for index, name in enumerate(facts)}
    stands = {name: index for index, name in enumerate(windows)}
    places, missing, changed, unknown = [], [], [], []
    for feature in model.features:
        trained_on = model.windows.get(feature)
        if trained_on is None:
            places.append(at.get(feature, -1))
            if feature not in at:
                unknown.append(feature)
        else:
            places.append(stands.get(feature, -1))
            if feature not in windows:
                missing.append(feature)
            elif windows[feature] != trained_on:
                changed.append(feature)
    wrong = [
        f"{what}: {_listed(names)}"
        for what, names in (
            ("windows missing", missing),
            ("windows changed since it was trained", changed),
            ("neither a window nor a fact", unknown),
        )
        if names
    ]
    if wrong:
        hint = _MEND if missing or changed else _OUTDATED
        raise ModelError(f"the model {model.id} does not fit these rules: {'; '.join(wrong)}", hint=hint)
    return np.array(places, dtype=np.intp)


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    more = len(found) - _MOST_NAMED
    return ", ".join(found[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
