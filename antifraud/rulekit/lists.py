"""rules/lists/*.yaml: numbers, beginnings of numbers, trunks and user agents, each entry with an end if it has one.

An entry ends by the time of the call, never by the clock, so a replay says what was said. A list of class *protect*
protects calls by itself: to its numbers on every trunk, and from them only where another operator of the country hands
the call over, because a calling number is easily forged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from antifraud.rulekit import form
from antifraud.rulekit.documents import MapNode, Node, Scalar, Sheet, parse_sheet
from antifraud.rulekit.interpreter import NEVER, Lookup
from antifraud.rulekit.messages import Message
from antifraud.rulekit.texts import LocalText

KINDS: Final = ("numbers", "prefixes", "trunks", "user_agents")
CLASSES: Final = ("plain", "protect")
PROTECTS: Final = ("callee", "caller", "both")
KEYS: Final = ("list", "title", "class", "kind", "protects", "owner", "source", "entries")
REQUIRED: Final = ("list", "title", "kind", "owner", "source", "entries")
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_ENTRIES: Final = 500_000

_FOREVER: Final = float("inf")
_SEPARATORS: Final = re.compile(r"[ ()\u00a0-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{4,14}\Z")
_SHORT: Final = re.compile(r"[0-9]{2,8}\Z")
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,13}\Z")
_TRUNK: Final = re.compile(r"[^\s*][^\s*]{0,62}\*?\Z|[^\s*]\*?\Z")
_MEMORY: Final = 4_096


class ListFile(msgspec.Struct, frozen=True):
    """One list: who answers for it and what stands in it. ``entries`` maps each text to the second it ends."""

    name: str
    kind: str
    protects: tuple[str, ...]
    """caller, callee, trunk: whose calls the list protects by itself; empty for a list of class plain."""
    owner: str
    source: str
    title: LocalText
    entries: Mapping[str, float]
    sheet: Sheet
    line: int = 0

    def lookup(self) -> Lookup:
        """The function that says until when a text is in the list."""
        if self.kind == "numbers":
            # The quickest that there is, and the same meaning: get(text, otherwise).
            return dict(self.entries).get
        if self.kind == "prefixes":
            return _Prefixes(self.entries).until
        if self.kind == "trunks":
            return _Trunks(self.entries).until
        return _Agents(self.entries).until


class _Prefixes:
    """Beginnings of numbers: one dictionary probe for each length that occurs."""

    def __init__(self, entries: Mapping[str, float]) -> None:
        self._entries = dict(entries)
        self._lengths = sorted({len(prefix) for prefix in entries})

    def until(self, text: str, otherwise: float) -> float:
        """The latest end among the prefixes of ``text``."""
        latest, entries = otherwise, self._entries
        for length in self._lengths:
            ends = entries.get(text[:length], NEVER)
            if ends > latest:
                latest = ends
        return latest


class _Trunks:
    """Names of trunks, some with a * at their end."""

    def __init__(self, entries: Mapping[str, float]) -> None:
        self._exact = {name: ends for name, ends in entries.items() if not name.endswith("*")}
        self._open = _Prefixes({name[:-1]: ends for name, ends in entries.items() if name.endswith("*")})

    def until(self, text: str, otherwise: float) -> float:
        """The latest end among the names that fit ``text``."""
        return self._open.until(text, max(self._exact.get(text, NEVER), otherwise))


class _Agents:
    """Pieces of user agents, recognised anywhere and whatever the case.

    Answers are remembered for the last few thousand user agents; the memory is emptied as a whole when an attacker
    fills it, and never changes an answer.
    """

    def __init__(self, entries: Mapping[str, float]) -> None:
        self._pieces = tuple((piece.casefold(), ends) for piece, ends in entries.items())
        self._memory: dict[str, float] = {}

    def until(self, text: str, otherwise: float) -> float:
        """The latest end among the pieces that occur in ``text``."""
        found = self._memory.get(text)
        if found is None:
            folded = text.casefold()
            found = max((ends for piece, ends in self._pieces if piece in folded), default=NEVER)
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            self._memory[text] = found
        return max(found, otherwise)


def read_list(sheet: Sheet, stem: str) -> ListFile | None:
    """The list that ``sheet`` holds; None when it cannot be used. Problems are noted in the sheet."""
    root = parse_sheet(sheet, max_nodes=4 * MAX_ENTRIES)
    if root is None:
        return None
    found = form.keys(sheet, root, "this list", KEYS, REQUIRED)
    if not set(REQUIRED) <= found.keys():
        return None
    nodes = {key: node for key, (_key, node) in found.items()}
    name = form.name(sheet, nodes["list"], "a list")
    if name is not None and name != stem:
        sheet.at(nodes["list"], Message.NAME_NOT_STEM, stem=stem, what="list", name=name)
    title = form.as_local_text(sheet, nodes["title"], "title", 200)
    owner = form.text(sheet, nodes["owner"], "owner", 128)
    source = form.text(sheet, nodes["source"], "source", 500)
    kind = form.choice(sheet, nodes["kind"], "kind", KINDS)
    protects = _protects(sheet, nodes, kind)
    if kind is None or name is None:
        return None
    entries = _entries(sheet, nodes["entries"], kind)
    line = found["list"][0].line
    return ListFile(name, kind, protects, owner or "", source or "", title, entries, sheet, line)


def _protects(sheet: Sheet, nodes: Mapping[str, Node], kind: str | None) -> tuple[str, ...]:
    protecting = "class" in nodes and form.choice(sheet, nodes["class"], "class", CLASSES) == "protect"
    whom = form.choice(sheet, nodes["protects"], "protects", PROTECTS) if "protects" in nodes else "callee"
    if not protecting:
        if "protects" in nodes:
            sheet.at(nodes["protects"], Message.LIST_PROTECTS_CLASS)
        return ()
    if kind == "user_agents":
        sheet.at(nodes["class"], Message.LIST_KIND_CLASS)
        return ()
    if kind == "trunks":
        return ("trunk",)
    return ("callee", "caller") if whom == "both" else (whom or "callee",)


def _entries(sheet: Sheet, node: Node, kind: str) -> dict[str, float]:
    entries: dict[str, float] = {}
    lines: dict[str, int] = {}
    for item in form.items(sheet, node, "entries", MAX_ENTRIES):
        place: Node = item
        ends: float | None = _FOREVER
        if isinstance(item, MapNode):
            found = form.keys(sheet, item, "an entry", ("value", "until", "note"), ("value",))
            if "value" not in found:
                continue
            place = found["value"][1]
            if "until" in found:
                ends = form.until(sheet, found["until"][1], "until")
            if "note" in found:
                form.text(sheet, found["note"][1], "note", 500, digits=True)
        value = form.text(sheet, place, "an entry", 256)
        if value is None or ends is None:
            continue
        plain = _plain(sheet, place, value, kind)
        if plain is None:
            continue
        if plain in entries:
            sheet.at(place, Message.ENTRY_TWICE, value=value, line=lines[plain])
            continue
        entries[plain], lines[plain] = ends, item.line
    return entries


def _plain(sheet: Sheet, node: Node, value: str, kind: str) -> str | None:
    """The entry as calls carry it: numbers without spaces, hyphens and brackets."""
    assert isinstance(node, Scalar)
    if kind == "trunks":
        if _TRUNK.match(value):
            return value
        sheet.at(node, Message.ENTRY_BAD_TRUNK, value=value)
        return None
    if kind == "user_agents":
        if len(value) >= 4:
            return value
        sheet.at(node, Message.ENTRY_SHORT_AGENT, value=value)
        return None
    plain = _SEPARATORS.sub("", value)
    if kind == "numbers":
        if _E164.match(plain) or _SHORT.match(plain):
            return plain
        sheet.at(node, Message.ENTRY_NOT_NUMBER, value=value)
        return None
    if _PREFIX.match(plain) or _SHORT.match(plain):
        return plain
    sheet.at(node, Message.ENTRY_NOT_PREFIX, value=value)
    return None
