"""Digit patterns as minimal acyclic automata: the regular expressions of number metadata, merged and decided early.

A pattern language without loops describes finitely many digit strings, so it has a tree-shaped automaton in which
equal subtrees are one node. ``Automaton`` builds such trees from expressions, each accepting with a label (one bit),
unites them, and freezes the union, for one length of number at a time, into nested dictionaries whose leaves are
the answers. A walk over the frozen form reads only as many digits as the answer depends on.

The expressions are those of libphonenumber: digits, ``\\d``, ``[1-35]``, groups, ``|``, ``?`` and ``{m,n}``. Anything
else is refused loudly rather than understood wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: libphonenumber's longest national significant number; nothing longer is looked at.
MAX_LENGTH: Final = 17

_ANY: Final = tuple(range(10))
_DEAD: Final = 0

#: A frozen node: a leaf (any tuple), or one child per digit character.
Frozen = Any


class PatternError(ValueError):
    """An expression uses syntax that number metadata has never used; the reader must be taught it first."""


# An expression as a tree: ("set", digits) | ("seq", items) | ("alt", branches) | ("rep", low, high, item)
_Tree = tuple[Any, ...]


class _Reader:
    """Recursive descent over one expression; capture groups read like plain ones, ``$`` like nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> _Tree:
        tree = self._alternatives()
        if self.at != len(self.text):
            raise self._unknown()
        return tree

    def _unknown(self) -> PatternError:
        return PatternError(f"cannot read {self.text!r} at character {self.at + 1}")

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _alternatives(self) -> _Tree:
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else ("alt", branches)

    def _sequence(self) -> _Tree:
        items = []
        while self._peek() not in ("", "|", ")"):
            if self._peek() == "$":
                self.at += 1
                continue
            items.append(self._repeated(self._atom()))
        return ("seq", items)

    def _atom(self) -> _Tree:
        char = self._peek()
        if char.isascii() and char.isdigit():
            self.at += 1
            return ("set", (int(char),))
        if self.text.startswith("\\d", self.at):
            self.at += 2
            return ("set", _ANY)
        if char == "[":
            return self._set()
        if char == "(":
            self.at += 3 if self.text.startswith("(?:", self.at) else 1
            tree = self._alternatives()
            if self._peek() != ")":
                raise self._unknown()
            self.at += 1
            return tree
        raise self._unknown()

    def _set(self) -> _Tree:
        end = self.text.find("]", self.at)
        inside = self.text[self.at + 1 : end]
        if end < 0 or not inside or not inside.replace("-", "").isdigit():
            raise self._unknown()
        digits: set[int] = set()
        parts = iter(range(len(inside)))
        for index in parts:
            if inside[index + 1 : index + 2] == "-":
                digits.update(range(int(inside[index]), int(inside[index + 2]) + 1))
                next(parts)
                next(parts)
            else:
                digits.add(int(inside[index]))
        self.at = end + 1
        return ("set", tuple(sorted(digits)))

    def _repeated(self, item: _Tree) -> _Tree:
        if self._peek() == "?":
            self.at += 1
            return ("rep", 0, 1, item)
        if self._peek() == "{":
            end = self.text.find("}", self.at)
            bounds = self.text[self.at + 1 : end].split(",")
            if end < 0 or not all(bound.isdigit() for bound in bounds) or len(bounds) > 2:
                raise self._unknown()
            self.at = end + 1
            return ("rep", int(bounds[0]), int(bounds[-1]), item)
        return item


class Automaton:
    """A growing union of labelled digit patterns; nodes are numbers, node 0 accepts nothing."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, tuple[int, ...]], int] = {}
        self._labels: list[int] = []
        self._next: list[tuple[int, ...]] = []
        self._unions: dict[tuple[int, int], int] = {}
        self._reach: dict[int, int] = {_DEAD: 0}
        self._nothing = (_DEAD,) * 10
        self._node(0, self._nothing)
        self.root = _DEAD

    def _node(self, labels: int, children: tuple[int, ...]) -> int:
        key = (labels, children)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self._labels)
            self._labels.append(labels)
            self._next.append(children)
        return found

    def _union(self, one: int, two: int) -> int:
        if one == two or two == _DEAD:
            return one
        if one == _DEAD:
            return two
        key = (one, two) if one < two else (two, one)
        found = self._unions.get(key)
        if found is None:
            union = self._union
            children = tuple([union(a, b) for a, b in zip(self._next[one], self._next[two], strict=True)])
            found = self._unions[key] = self._node(self._labels[one] | self._labels[two], children)
        return found

    def _grow(self, tree: _Tree, after: int) -> int:
        """The node that reads ``tree`` and goes on as ``after``."""
        match tree:
            case ("set", digits):
                children = list(self._nothing)
                for digit in digits:
                    children[digit] = after
                return self._node(0, tuple(children))
            case ("seq", items):
                for item in reversed(items):
                    after = self._grow(item, after)
                return after
            case ("alt", branches):
                node = _DEAD
                for branch in branches:
                    node = self._union(node, self._grow(branch, after))
                return node
            case (_, low, high, item):
                node = after
                for _ in range(high - low):
                    node = self._union(after, self._grow(item, node))
                for _ in range(low):
                    node = self._grow(item, node)
                return node
        raise AssertionError(tree)

    def add(self, pattern: str, label: int) -> None:
        """Accept, with the bit ``label``, what ``pattern`` matches from beginning to end."""
        end = self._node(label, self._nothing)
        self.root = self._union(self.root, self._grow(_Reader(pattern).whole(), end))

    def add_prefix(self, pattern: str, label: int) -> None:
        """Accept, with the bit ``label``, everything that begins with a match of ``pattern`` of at least one digit."""
        anything = self._node(label, self._nothing)
        for _ in range(MAX_LENGTH):
            anything = self._node(label, (anything,) * 10)
        extended: dict[int, int] = {_DEAD: _DEAD}

        def extend(node: int) -> int:
            found = extended.get(node)
            if found is None:
                found = anything if self._labels[node] else self._node(0, tuple([extend(c) for c in self._next[node]]))
                extended[node] = found
            return found

        end = self._node(label, self._nothing)
        start = self._grow(_Reader(pattern).whole(), end)
        self.root = self._union(self.root, self._node(0, tuple([extend(child) for child in self._next[start]])))

    def _lengths(self, node: int) -> int:
        """The lengths of what can still be read from ``node`` to acceptance, as bits."""
        found = self._reach.get(node)
        if found is None:
            found = 1 if self._labels[node] else 0
            for branch in set(self._next[node]):
                found |= self._lengths(branch) << 1
            self._reach[node] = found
        return found

    def freeze(
        self, length: int, answer: Callable[[int], tuple[Any, ...]], shared: dict[tuple[Any, ...], Frozen]
    ) -> Frozen:
        """The decision tree for strings of ``length`` digits.

        ``answer`` turns the labels that accept a string into a leaf, a tuple; equal leaves must be the same object.
        ``shared`` keeps equal subtrees of several lengths as one object; hand the same dictionary to every call.
        """
        memo: dict[tuple[int, int], Frozen] = {}
        nothing = answer(0)
        self._lengths(self.root)
        reach = self._reach

        def decide(node: int, left: int) -> Frozen:
            if not reach[node] >> left & 1:
                return nothing
            key = (node, left)
            found = memo.get(key)
            if found is None:
                if left == 0:
                    found = answer(self._labels[node])
                else:
                    branches = self._next[node]
                    below = {branch: decide(branch, left - 1) for branch in set(branches)}
                    found = next(iter(below.values()))
                    if found.__class__ is dict or any(child is not found for child in below.values()):
                        children = [below[branch] for branch in branches]
                        identity = tuple([id(child) for child in children])
                        found = shared.get(identity)
                        if found is None:
                            found = shared[identity] = dict(zip("0123456789", children, strict=True))
                memo[key] = found
            return found

        return decide(self.root, length)
