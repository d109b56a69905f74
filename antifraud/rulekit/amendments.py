"""Run-time changes of lists: which are accepted, what they come to, and a digest of them.

A change adds an entry to a list or takes one out, without a file being touched and without anything being compiled.
For each entry of a list the last accepted change counts. What is refused, is refused so that no single command can
make honest calls be blocked in great number:

* From a protect list nothing is taken out, and no protection is shortened, unless its file says ``removable: true``.
* A beginning, range or starred trunk takes in at most a million numbers; what is wider belongs in the file, where
  others see it before it holds.
* A list has at most ``MAX_AMENDMENTS`` of them.

Nothing here reads a clock: entries that have ended stay until somebody takes them out, and end by the time of the call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol

import msgspec

from antifraud.domain import EventError
from antifraud.rulekit.entries import FOREVER, plain_entry, plain_range, reach, span_of
from antifraud.rulekit.form import end_of
from antifraud.rulekit.interpreter import NEVER
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.messages import Message, did_you_mean, shorten

MAX_AMENDMENTS: Final = 10_000
WIDEST: Final = 1_000_000
CROWDED: Final = 10_000
"""Beside how many other entries a range or beginning can still be taken out at run time."""


class Amendment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted change. ``until`` is the second at which an addition ends, None for good; ``at`` when it was asked
    for (epoch seconds) and ``id`` the control entry that did."""

    list: str
    value: str
    removed: bool = False
    until: float | None = None
    who: str = ""
    why: str = ""
    at: float = 0.0
    id: str = ""

    @property
    def ends(self) -> float:
        """The second at which an addition ends."""
        return FOREVER if self.until is None else self.until


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Amendment)


def encode_amendment(change: Amendment) -> tuple[str, bytes]:
    """The field and the content under which a change is written down."""
    return f"{change.list} {change.value}", _ENCODER.encode(change)


def decode_amendments(written: Mapping[bytes, bytes]) -> tuple[list[Amendment], int]:
    """The changes that are written down, and how many fields hold none."""
    found: list[Amendment] = []
    for field, content in written.items():
        try:
            change = _DECODER.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if f"{change.list} {change.value}".encode("utf-8", "replace") == field:
            found.append(change)
    return found, len(written) - len(found)


class Amendable(Protocol):
    """A rule set whose lists can be amended."""

    lists: tuple[ListFile, ...]

    def amend(self, name: str, added: Mapping[str, float], removed: Collection[str], /) -> None:
        """Put these changes of a list in the place of the earlier ones."""


def plain_value(item: ListFile, value: str, first: str = "", last: str = "") -> str:
    """The plain entry of what a command names (``value``, or ``first`` and ``last`` of a range).

    EventError "list-value" says what is wrong with it.
    """
    shown = shorten(value or f"{first}-{last}")
    if len(value) > 256 or len(first) > 64 or len(last) > 64:
        raise EventError("list-value", f"{shown[:60]}… is longer than any entry")
    if (first or last) and (value or item.kind != "ranges"):
        raise EventError("list-value", "from and to are for lists of ranges, and stand in the place of value")
    plain = plain_range(first, last) if first or last else plain_entry(item.kind, value.strip())
    if isinstance(plain, Message):
        sentence, hint = plain.sentence.format(value=shown), plain.hint.format(value=shown)
        raise EventError("list-value", f"{sentence}: {hint}")
    return plain


def end_value(until: str) -> float | None:
    """The second at which ``until`` ends, a date or a time with its offset; None for no end at all.

    EventError "list-until" when it is neither.
    """
    if not until:
        return None
    ends = end_of(until) if len(until) <= 64 else None
    if ends is None:
        raise EventError("list-until", f"until {shorten(until)!r} is no date such as 2027-06-30")
    return ends


class _Placed:
    """What was put over one list: the changes that fit it, by plain entry, and those that do not."""

    def __init__(self, item: ListFile) -> None:
        self.item = item
        self.added: dict[str, float] = {}
        self.removed: set[str] = set()
        self.unfit: set[str] = set()
        self.total = 0
        self._weights: dict[str, int] = {}

    def put(self, value: str, change: Amendment | None) -> None:
        """From now on ``change`` holds for the entry; None: no change does."""
        self.added.pop(value, None)
        self.removed.discard(value)
        self.unfit.discard(value)
        self.total -= self._weights.pop(value, 0)
        if change is None:
            return
        if not self._fits(change):
            self.unfit.add(value)
            return
        if change.removed:
            self.removed.add(value)
        else:
            self.added[value] = change.ends
        self._weights[value] = _weight(change)
        self.total += self._weights[value]

    def _fits(self, change: Amendment) -> bool:
        item = self.item
        if plain_entry(item.kind, change.value) != change.value:
            return False  # the list has changed its kind; its entries cannot even be asked for such a value
        return not change.removed or (item.removable and item.entries.find(change.value)[0] != NEVER)


Ahead = dict[str, tuple[_Placed, dict[str, Amendment]]]
"""By list, what was put over it and the changes of which that was made."""


class Amendments:
    """The accepted changes of one shard, whether its lists are here at the moment or not."""

    def __init__(self) -> None:
        self._by_list: dict[str, dict[str, Amendment]] = {}
        self._placed: dict[str, _Placed] = {}
        self._touched: dict[str, set[str]] = {}
        """By list, the entries whose changes are others than those that were put over it last."""

    def of(self, name: str) -> Mapping[str, Amendment]:
        """The changes of the list ``name`` by plain entry."""
        return self._by_list.get(name, {})

    def __iter__(self) -> Iterator[Amendment]:
        for changes in self._by_list.values():
            yield from changes.values()

    def restore(self, change: Amendment) -> None:
        """Take what was accepted before."""
        self._by_list.setdefault(change.list, {})[change.value] = change
        self._touched.setdefault(change.list, set()).add(change.value)

    def clear(self) -> None:
        """Forget all of them."""
        self._by_list.clear()
        self._placed.clear()
        self._touched.clear()

    def check(self, lists: Mapping[str, ListFile], change: Amendment) -> None:
        """EventError when ``change`` cannot be accepted, with the reason."""
        item = lists.get(change.list)
        if item is None:
            hint = did_you_mean(change.list, lists, "it is not among those of the rules in force")
            raise EventError("list-unknown", f"there is no list {shorten(change.list)[:64]}: {hint}")
        mine = self.of(item.name)
        standing = mine.get(change.value)
        in_file = item.entries.find(change.value)[0]
        if change.removed:
            if not item.removable:
                raise EventError(
                    "list-protected",
                    f"{item.name} protects calls, and its file does not say `removable: true`: nothing is taken out",
                )
            if in_file == NEVER and (standing is None or standing.removed):
                raise EventError("list-no-entry", f"{change.value} is no entry of {item.name}")
            if in_file != NEVER:
                self._check_crowd(item, change.value)
        else:
            if reach(item.kind, change.value) > WIDEST or (item.kind == "trunks" and _wide_trunk(change.value)):
                raise EventError(
                    "list-too-wide",
                    f"{change.value} takes in too much for one command; write it into the file of {item.name}",
                )
            if item.protects and not item.removable and standing is not None and standing.ends > change.ends:
                raise EventError("list-protected", f"{change.value} is protected for longer in {item.name}")
        if standing is None and len(mine) >= MAX_AMENDMENTS:
            raise EventError("list-full", f"{item.name} has {MAX_AMENDMENTS} run-time entries: move some into its file")

    @staticmethod
    def _check_crowd(item: ListFile, value: str) -> None:
        span = span_of(item.kind, value) if item.kind in ("ranges", "prefixes") else None
        if span is not None and item.entries.crowd(*span) > CROWDED:
            raise EventError("list-too-wide", f"too many entries lie within {value}: take it out of the file")

    def accept(self, lists: Mapping[str, ListFile], change: Amendment) -> Amendment | None:
        """Take ``change`` (EventError when it cannot be); what is to be kept of it, None when it leaves nothing.

        An entry that was only ever added at run time leaves nothing behind when it is taken out again.
        """
        self.check(lists, change)
        if change.removed and lists[change.list].entries.find(change.value)[0] == NEVER:
            del self._by_list[change.list][change.value]
            self._touched.setdefault(change.list, set()).add(change.value)
            return None
        self.restore(change)
        return change

    def put_ahead(self, rules: Amendable, in_use: Iterable[ListFile] = ()) -> Ahead:
        """Amend those lists of ``rules`` that are others than those amended last, for ``put_over`` to go on from there.

        Lists that are ``in_use`` are left alone.

        Nothing else is changed, so another thread may do it with a rule set that nobody uses yet.
        """
        ahead: Ahead = {}
        used = {id(item) for item in in_use}
        for item in rules.lists:
            placed = self._placed.get(item.name)
            if id(item) not in used and (placed is None or placed.item is not item):
                mine = dict(self.of(item.name))
                placed = _Placed(item)
                for value, change in mine.items():
                    placed.put(value, change)
                rules.amend(item.name, placed.added, placed.removed)
                ahead[item.name] = placed, mine
        return ahead

    def put_over(self, rules: Amendable, names: set[str] | None = None, ahead: Ahead | None = None) -> list[str]:
        """Amend the lists of ``rules`` (only ``names``, when given); what of the changes does not fit them any more.

        What does not fit is left aside and kept: a list may come back, and a protect list may have lost its
        ``removable``, whereupon what was taken out of it is in it again. ``ahead`` is what ``put_ahead`` made of
        ``rules``.
        """
        unfit: list[str] = []
        here = {item.name: item for item in rules.lists}
        for name in set(self._placed) - here.keys():
            del self._placed[name]
        if names is None:
            unfit += [f"{name}: there is no such list" for name in self._by_list if name not in here]
        for name in here.keys() if names is None else names & here.keys():
            mine, touched = self.of(name), self._touched.pop(name, set())
            placed, amended = self._placed.get(name), True
            if placed is None or placed.item is not here[name]:
                amended = ahead is not None and name in ahead
                placed, known = (ahead or {}).get(name) or (_Placed(here[name]), {})
                touched = {value for value in mine.keys() | known.keys() if mine.get(value) is not known.get(value)}
                self._placed[name] = placed
            for value in touched:
                placed.put(value, mine.get(value))
            if touched or not amended:
                rules.amend(name, placed.added, placed.removed)
            unfit += [f"{name}: {value}" for value in sorted(placed.unfit)]
        return unfit

    def digest(self, bundle: str) -> str:
        """The digest of a bundle with the changes that were put over it: the bundle's own when there are none.

        It follows from what holds alone, not from how it came about.
        """
        held = sorted((name, placed.total) for name, placed in self._placed.items() if placed.total)
        if not held:
            return bundle
        return hashlib.blake2b(f"{bundle} {held}".encode(), digest_size=8).hexdigest()


def _wide_trunk(name: str) -> bool:
    return name.endswith("*") and len(name) < 4


def _weight(change: Amendment) -> int:
    """A number of the change's content; sums of them do not depend on the order."""
    text = f"{change.list}\0{change.value}\0{change.removed}\0{change.until!r}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
