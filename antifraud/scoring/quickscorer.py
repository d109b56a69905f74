"""The walk over all trees as machine code, generic over models: compiled once and kept. Called by ``forest`` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from antifraud.jit import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(_context: Any, _word: Any) -> Any:
    """The place of the lowest bit that is set in a word that is not zero: one instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@compiled
def add_up(
    rows: Floats,
    spans: Integers,
    low: Floats,
    high: Floats,
    word: npt.NDArray[np.int32],
    mask: Words,
    words: Integers,
    leaf_at: Integers,
    leaves: Floats,
    left: Words,
    sums: Floats,
) -> None:
    """Write the sum of the leaves that each row ends in.

    ``spans[f]`` bounds three runs of entries of feature f: sorted lower bounds without an upper one, ranges, and
    what holds when the value is missing. ``left`` is scratch, one bit for every leaf that is not ruled out yet.
    """
    for row in range(rows.shape[0]):
        for at in range(left.shape[0]):
            left[at] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for feature in range(spans.shape[0]):
            value = rows[row, feature]
            if value != value:
                for entry in range(spans[feature, 2], spans[feature, 3]):
                    left[word[entry]] &= mask[entry]
            else:
                entry, end = spans[feature, 0], spans[feature, 1]
                while entry < end and low[entry] < value:
                    left[word[entry]] &= mask[entry]
                    entry += 1
                for between in range(end, spans[feature, 2]):
                    if low[between] < value <= high[between]:
                        left[word[between]] &= mask[between]
        total = 0.0
        for tree in range(words.shape[0] - 1):
            at = words[tree]
            while left[at] == 0:
                at += 1
            total += leaves[leaf_at[at] + _lowest_bit(left[at])]
        sums[row] = total
