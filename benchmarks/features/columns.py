"""Events as columns of numbers, and the way from them into the fold that makes no Python object an event.

``Fold.fold`` turns texts into keys and hands arrays to the kernel; here the keys come ready-made. A number "+77…" has
the key that its digits have with a 1 before them, any other text a negative 63-bit number that is its own. Conditions
are worked out for whole columns from the very texts of rules/windows.yaml. ``same_as_fold`` makes real events of the
same columns and shows that both ways give the same values to the last bit.
"""

# ruff: noqa: SLF001  (what Fold.fold hands to its kernel is handed over here in its place)

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent
from antifraud.features import Fold, kernels
from antifraud.features.plan import EVENT_CODES, SETUP
from benchmarks.features.traffic import Product

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
#: The arguments of the kernel that belong to a batch: keys, kinds, times, conditions that hold, numbers.
Arrays = tuple[Int64s, npt.NDArray[np.int8], Floats, Int64s, Floats]

_TOP: Final = np.uint64(1 << 63)
_KINDS: Final = {code: kind for kind, code in EVENT_CODES.items()}
_LABELS: Final = ("", "fraud", "stopped")
#: The keys of the labels, by their places in ``_LABELS``.
LABEL_KEYS: Final = np.array([0, -11, -12], np.int64)
LABEL_FRAUD, LABEL_STOPPED = 1, 2


class Columns(msgspec.Struct):
    """Events in order of time. ``keys`` by field, 0 where it is empty; ``numbers`` by field, NaN where unknown."""

    codes: npt.NDArray[np.int8]
    times: Floats
    keys: Mapping[str, Int64s]
    numbers: Mapping[str, Floats]
    labels: npt.NDArray[np.int8]

    def part(self, low: int, high: int) -> Columns:
        """Events ``low`` to ``high``."""
        return Columns(
            self.codes[low:high],
            self.times[low:high],
            {name: column[low:high] for name, column in self.keys.items()},
            {name: column[low:high] for name, column in self.numbers.items()},
            self.labels[low:high],
        )


def mixed(values: npt.NDArray[Any], what: int) -> npt.NDArray[np.uint64]:
    """64 well-mixed bits of every value (splitmix64); another ``what``, others."""
    found = values.astype(np.uint64) + np.uint64((what + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1))
    found ^= found >> np.uint64(30)
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def text_keys(values: npt.NDArray[Any], what: int) -> Int64s:
    """Keys as texts have them that are no numbers: negative, one for every value."""
    return (mixed(values, what) | _TOP).view(np.int64)


def number_keys(digits: npt.NDArray[Any]) -> Int64s:
    """Keys of numbers of eleven digits."""
    return digits.astype(np.int64) + 10**11


class Gate:
    """Makes of columns what the kernel takes, for the windows of one fold."""

    def __init__(self, fold: Fold, utc_offset_min: int) -> None:
        self._fields = fold._plan.fields
        self._amounts = fold._plan.numbers
        self._offset_s = 60 * utc_offset_min
        self._conditions = [[_parsed(text) for text in texts] for texts in fold._plan.conditions]

    def arrays(self, events: Columns) -> Arrays:
        """The kernel's arguments for ``events``."""
        count = len(events.codes)
        fields = np.zeros((count, len(self._fields)), np.int64)
        for place, name in enumerate(self._fields):
            if name not in events.keys:
                raise SystemExit(f"the windows go by {name}, which these benchmarks do not make")
            fields[:, place] = events.keys[name]
        amounts = np.empty((count, len(self._amounts)), np.float64)
        for place, name in enumerate(self._amounts):
            amounts[:, place] = events.numbers[name]
        return fields, events.codes, events.times, self._satisfied(events), amounts

    def _satisfied(self, events: Columns) -> Int64s:
        bits = np.zeros(len(events.codes), np.int64)
        for code, conditions in enumerate(self._conditions):
            if not conditions:
                continue
            places = np.flatnonzero(events.codes == code)
            columns: dict[str, npt.NDArray[Any]] = {name: one[places] for name, one in events.numbers.items()}
            columns["hour"] = (events.times[places] + self._offset_s) % 86_400 // 3_600
            columns["label"] = np.array(_LABELS)[events.labels[places]]
            reporters, of = np.unique(events.keys["reporter"][places], return_inverse=True)
            columns["reporter"] = np.array([_text("reporter", key) for key in reporters.tolist()] or [""])[of]
            mine = np.zeros(len(places), np.int64)
            for bit, condition in enumerate(conditions):
                mine |= _holds(condition, columns).astype(np.int64) << bit
            bits[places] = mine
        return bits


def fold_arrays(
    fold: Fold,
    fields: Int64s,
    codes: npt.NDArray[np.int8],
    times: Floats,
    satisfied: Int64s,
    amounts: Floats,
) -> Floats:
    """As ``Fold.fold``, of events that are arrays already: the values of the set-ups."""
    setups = int(np.count_nonzero(codes == SETUP))
    values = np.empty((setups, len(fold.windows.specs)), np.float64)
    duplicate = np.zeros(setups, np.bool_)
    lost = np.zeros(setups, np.int64)
    kernels.fold_batch(
        fold._m, fold._units, fold._longs, fold._seen, fold._seen_index, fields, codes, times, satisfied, amounts,
        values, duplicate, lost,
    )  # fmt: skip
    return values


def batches(arrays: Arrays, size: int) -> list[Arrays]:
    """``arrays`` cut into batches of ``size`` events."""
    return [tuple(one[at : at + size] for one in arrays) for at in range(0, len(arrays[1]), size)]  # type: ignore[misc]


# --- real events of the same columns ----------------------------------------------------------------------------------


def events_of(events: Columns) -> list[CallEvent]:
    """The same events as a switch would report them."""
    texts = {name: [_text(name, key) for key in column.tolist()] for name, column in events.keys.items()}
    texts["label"] = [_LABELS[label] for label in events.labels.tolist()]
    numbers = {name: [None if x != x else x for x in column.tolist()] for name, column in events.numbers.items()}
    found = []
    for place, (code, ts) in enumerate(zip(events.codes.tolist(), events.times.tolist(), strict=True)):
        fields: dict[str, Any] = {name: column[place] for name, column in texts.items()}
        fields |= {name: column[place] for name, column in numbers.items()}
        found.append(CallEvent(kind=_KINDS[code], ts=ts, **fields))
    return found


def same_as_fold(product: Product, events: Columns, batch: int = 256) -> bool:
    """Whether the values by way of ``Gate`` are those of ``Fold.fold`` over real events, bit for bit."""
    short, long = Fold(product.windows), Fold(product.windows)
    gate = Gate(short, product.settings.policy().utc_offset_min)
    ours = np.concatenate([fold_arrays(short, *part) for part in batches(gate.arrays(events), batch)])
    prepared, rows = product.prepared(events_of(events))
    theirs = np.concatenate(
        [long.fold(prepared[at : at + batch], rows[at : at + batch]).values for at in range(0, len(prepared), batch)]
    )
    return np.array_equal(ours, theirs, equal_nan=True)


def _text(name: str, key: int) -> str:
    if key == 0:
        return ""
    return f"+{str(key)[1:]}" if key > 0 else f"{name}-{key & (2**63 - 1):x}"


# --- conditions over columns ------------------------------------------------------------------------------------------

_COMPARE: Final = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
}


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _holds(condition: ast.expr, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Where ``condition`` is true; of what is unknown (NaN) none of these comparisons is."""
    if isinstance(condition, ast.BoolOp):
        parts = [_holds(part, columns) for part in condition.values]
        joined: npt.NDArray[np.bool_] = (np.logical_and if isinstance(condition.op, ast.And) else np.logical_or).reduce(
            parts
        )
        return joined
    if isinstance(condition, ast.Compare) and len(condition.ops) == 1 and type(condition.ops[0]) in _COMPARE:
        of, to = condition.left, condition.comparators[0]
        if isinstance(of, ast.Name) and of.id in columns and isinstance(to, ast.Constant):
            found: npt.NDArray[np.bool_] = _COMPARE[type(condition.ops[0])](columns[of.id], to.value)
            return found
    raise SystemExit(f"these benchmarks cannot work out the condition {ast.unparse(condition)!r} for columns")
