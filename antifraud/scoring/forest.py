"""The trees of a model: LightGBM's text form, checked and laid out for the walk in ``quickscorer``.

Predictions are LightGBM's own to the last bit: the same comparison at every node, the same treatment of missing
values and zeros (``Tree::NumericalDecision`` and the dense-row reader of LightGBM 4), and the same sum, tree by tree
in double precision. Trees that LightGBM writes and ``antifraud model train`` does not (categorical splits, linear
leaves, several classes, averaged forests) are refused.

A node is kept as what it rules out: when a row goes right at it, no leaf of its left subtree can be the one that the
row ends in. So for every feature there is a list of thresholds with masks of leaves, and walking a tree becomes
clearing bits (Lucchese et al., "QuickScorer", SIGIR 2015). Masks have words of 64 leaves; a tree has as many words
as it needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import ModelError
from antifraud.scoring.manifest import RESTORE

Floats = npt.NDArray[np.float64]

#: What a model may have at most, so that a file from elsewhere cannot take the memory of the engine.
MOST_BYTES: Final = 256 << 20
MOST_LEAVES: Final = 4096
MOST_FEATURES: Final = 4096
MOST_TREES: Final = 20_000
#: Comparisons with their masks, over all trees. A deep tree has one for every word that a node rules out.
MOST_ENTRIES: Final = 4_000_000

# LightGBM's kZeroThreshold, a float literal: nearer to zero than this is zero.
_ZERO: Final = float(np.float32(1e-35))
_BELOW_ZERO: Final = math.nextafter(-_ZERO, -math.inf)
_WORD: Final = 64
_ALL: Final = (1 << _WORD) - 1
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_NONE, _MISSING_ZERO, _MISSING_NAN = 0, 1, 2


class _Tree(msgspec.Struct, frozen=True):
    """One tree as the text has it; children below 0 are leaves, ``~child`` their number."""

    features: list[int]
    thresholds: list[float]
    decisions: list[int]
    left: list[int]
    right: list[int]
    leaves: list[float]


class _Entries(msgspec.Struct):
    """Of one feature: (low, high, word, mask) clear when low < value <= high; (word, mask) clear when it is NaN."""

    above: list[tuple[float, float, int, int]]
    between: list[tuple[float, float, int, int]]
    missing: list[tuple[float, float, int, int]]


class Forest:
    """Trees that are added up. ``raw_scores`` gives a row the same bits in whatever batch it comes.

    OverflowError when the trees take more than ``MOST_ENTRIES``.
    """

    def __init__(self, features: tuple[str, ...], trees: Sequence[_Tree]) -> None:
        self.features = features
        entries = [_Entries([], [], []) for _ in features]
        words, leaf_at = [0], []
        leaves: list[float] = []
        room = MOST_ENTRIES
        for tree in trees:
            order, taken = _into(entries, tree, words[-1])
            room -= taken
            if room < 0:
                raise OverflowError
            count = -(-len(order) // _WORD)
            leaf_at += [len(leaves) + index * _WORD for index in range(count)]
            leaves += [tree.leaves[leaf] for leaf in order]
            words.append(words[-1] + count)
        spans: list[list[int]] = []
        flat: list[tuple[float, float, int, int]] = []
        for one in entries:
            # The walk stops at the first threshold that the value does not exceed.
            one.above.sort(key=lambda entry: entry[0])
            ends = [len(flat)]
            for part in (one.above, one.between, one.missing):
                flat += part
                ends.append(len(flat))
            spans.append(ends)
        self._spans = np.array(spans, dtype=np.int64).reshape(len(features), 4)
        self._low = np.array([entry[0] for entry in flat], dtype=np.float64)
        self._high = np.array([entry[1] for entry in flat], dtype=np.float64)
        self._word = np.array([entry[2] for entry in flat], dtype=np.int32)
        self._mask = np.array([entry[3] for entry in flat], dtype=np.uint64)
        self._words = np.array(words, dtype=np.int64)
        self._leaf_at = np.array(leaf_at, dtype=np.int64)
        self._leaves = np.array(leaves, dtype=np.float64)

    @property
    def trees(self) -> int:
        """How many trees there are."""
        return len(self._words) - 1

    def thresholds_of(self, feature: int) -> Floats:
        """The values t, rising, at which the feature is compared: between two of them, (s, t], it never matters."""
        start, ranges, missing, _end = self._spans[feature].tolist()
        bounds: Floats = np.unique(np.concatenate([self._low[start:missing], self._high[ranges:missing]]))
        return bounds

    def raw_scores(self, rows: Floats) -> Floats:
        """The trees' sums, float64[n], of ``rows`` float64[n, features]; NaN is missing. One thread."""
        from antifraud.scoring.quickscorer import add_up

        # One layout and one type, so that there is one compiled form; its indices are not checked.
        rows = np.require(rows, dtype=np.float64, requirements=["C", "A", "W"])
        if rows.ndim != 2 or rows.shape[1] != len(self.features):
            raise ValueError(f"rows of shape {rows.shape} for {len(self.features)} features")
        sums = np.empty(len(rows), dtype=np.float64)
        left = np.empty(len(self._leaf_at), dtype=np.uint64)
        add_up(
            rows, self._spans, self._low, self._high, self._word, self._mask, self._words, self._leaf_at, self._leaves,
            left, sums,
        )  # fmt: skip
        return sums


def read_forest(text: str, path: str) -> Forest:
    """The trees in ``text``, LightGBM's model format v4; ModelError, with ``path``, when they cannot be used."""
    if len(text) > MOST_BYTES:
        raise ModelError(f"{path}: more than {MOST_BYTES >> 20} MiB", hint="train with fewer --trees or --leaves")
    head, *blocks = text.split("\nTree=", MOST_TREES + 1)
    if len(blocks) > MOST_TREES:
        raise ModelError(f"{path}: more than {MOST_TREES:,} trees", hint="train with fewer --trees")
    header = _fields(head)
    _check_header(header, head, path)
    features = tuple(header["feature_names"].split(" "))
    if len(features) > MOST_FEATURES:
        raise ModelError(f"{path}: more than {MOST_FEATURES:,} features", hint="train with fewer: --features")
    if len(blocks) != len(header["tree_sizes"].split()) or (blocks and "\nend of trees" not in blocks[-1]):
        raise ModelError(f"{path}: cut short: not all trees are there", hint=RESTORE)
    trees = []
    for number, block in enumerate(blocks):
        try:
            trees.append(_tree(_fields(block.partition("\nend of trees")[0]), len(features)))
        except (KeyError, ValueError, OverflowError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)[:120]
            raise ModelError(f"{path}: tree {number} is damaged: {what}", hint=RESTORE) from error
        except ModelError as error:
            raise ModelError(f"{path}: tree {number} {error}", hint=_OWN) from error
    try:
        return Forest(features, trees)
    except OverflowError:
        message = f"{path}: its trees make more than {MOST_ENTRIES:,} comparisons"
        raise ModelError(message, hint="train with fewer --trees or --leaves") from None


_OWN: Final = "the engine walks trees as `antifraud model train` makes them: train it with that"


def _fields(text: str) -> dict[str, str]:
    return {key: value for key, mark, value in (line.partition("=") for line in text.split("\n")) if mark}


def _check_header(header: dict[str, str], head: str, path: str) -> None:
    if not head.startswith("tree\n") or not {"version", "feature_names", "tree_sizes", "num_class"} <= header.keys():
        raise ModelError(f"{path}: not a model in LightGBM's text form", hint=RESTORE)
    if header["version"] != "v4":
        raise ModelError(f"{path}: format {header['version']!r} is not v4, the one understood here", hint=_OWN)
    if header["num_class"] != "1" or header.get("num_tree_per_iteration") != "1":
        raise ModelError(f"{path}: it tells more than two classes apart", hint=_OWN)
    if "\naverage_output" in head:
        raise ModelError(f"{path}: its trees are averaged, not added up (boosting=rf)", hint=_OWN)


def _tree(fields: dict[str, str], features: int) -> _Tree:
    """The tree of ``fields``, checked so that no walk can leave it: ValueError, KeyError, ModelError otherwise."""
    leaves = [float(value) for value in fields["leaf_value"].split()]
    if len(leaves) != int(fields["num_leaves"]) or not 1 <= len(leaves) <= MOST_LEAVES:
        raise ValueError(f"{len(leaves)} leaves where 1 to {MOST_LEAVES} are said and allowed")
    if not all(map(math.isfinite, leaves)):
        raise ValueError("a leaf is no number")
    if int(fields["num_cat"]):
        raise ModelError("has categorical splits")
    if int(fields.get("is_linear", "0")):
        raise ModelError("has linear leaves")
    if len(leaves) == 1:
        return _Tree([], [], [], [], [], leaves)
    tree = _Tree(
        [int(value) for value in fields["split_feature"].split()],
        [float(value) for value in fields["threshold"].split()],
        [int(value) for value in fields["decision_type"].split()],
        [int(value) for value in fields["left_child"].split()],
        [int(value) for value in fields["right_child"].split()],
        leaves,
    )
    nodes = len(leaves) - 1
    columns = (tree.features, tree.thresholds, tree.decisions, tree.left, tree.right)
    if any(len(column) != nodes for column in columns):
        raise ValueError(f"{nodes} nodes are not described in all of their columns")
    if not all(0 <= feature < features for feature in tree.features):
        raise ValueError("a split on a feature that there is not")
    if any(math.isnan(value) for value in tree.thresholds):
        raise ValueError("a threshold is no number")
    if any(decision & _CATEGORICAL for decision in tree.decisions):
        raise ModelError("has categorical splits")
    if not all(0 <= decision < 12 for decision in tree.decisions):
        raise ValueError("a split of an unknown kind")
    # A child comes after its parent and everything is somebody's child once: then it is a tree.
    for node, children in enumerate(zip(tree.left, tree.right, strict=True)):
        if any(0 <= child <= node for child in children):
            raise ValueError(f"node {node} is not above its children")
    if sorted(tree.left + tree.right) != [*range(-len(leaves), 0), *range(1, nodes)]:
        raise ValueError("its nodes and leaves are not one tree")
    return tree


def _into(entries: list[_Entries], tree: _Tree, first_word: int) -> tuple[list[int], int]:
    """Put the nodes of ``tree`` into ``entries``; its leaves from left to right, and how many entries that made."""
    nodes = len(tree.left)
    under = [0] * nodes
    for node in range(nodes - 1, -1, -1):
        under[node] = sum(1 if child < 0 else under[child] for child in (tree.left[node], tree.right[node]))
    first = [0] * nodes
    order = [0] * len(tree.leaves)
    made = 0
    for node in range(nodes):
        left, right = tree.left[node], tree.right[node]
        middle = first[node] + (1 if left < 0 else under[left])
        for child, at in ((left, first[node]), (right, middle)):
            if child < 0:
                order[at] = ~child
            else:
                first[child] = at
        for word in range(first[node] // _WORD, (middle - 1) // _WORD + 1):
            low, high = max(0, first[node] - word * _WORD), min(_WORD, middle - word * _WORD)
            mask = _ALL ^ (((1 << (high - low)) - 1) << low)
            into, threshold = entries[tree.features[node]], tree.thresholds[node]
            made += _split(into, threshold, tree.decisions[node], first_word + word, mask)
    return order, made


def _split(entries: _Entries, threshold: float, decision: int, word: int, mask: int) -> int:
    """Add what goes right at a node: values above ``threshold``, and missing values as ``decision`` says.

    The number of entries that were added.
    """
    made = 0
    default_left, missing = bool(decision & _DEFAULT_LEFT), decision >> 2
    # A value next to zero is read as zero, so a threshold there stands for the edge of that zone.
    if -_ZERO <= threshold <= _ZERO:
        threshold = _ZERO if threshold >= 0 else _BELOW_ZERO
    nan_left = threshold >= 0 if missing == _MISSING_NONE else default_left
    if not nan_left:
        entries.missing.append((math.nan, math.nan, word, mask))
        made += 1
    if missing == _MISSING_ZERO and default_left and threshold < _ZERO:
        if threshold < _BELOW_ZERO:
            entries.between.append((threshold, _BELOW_ZERO, word, mask))
            made += 1
        threshold = _ZERO
    elif missing == _MISSING_ZERO and not default_left and threshold >= _ZERO:
        entries.between.append((_BELOW_ZERO, _ZERO, word, mask))
        made += 1
    if threshold < math.inf:
        entries.above.append((threshold, math.inf, word, mask))
        made += 1
    return made
