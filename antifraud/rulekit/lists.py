"""rules/lists/*.yaml: numbers, beginnings and ranges of numbers, trunks and user agents, each entry with an end if it
has one, an owner and a source; long ones in a CSV file beside it (``entries_file``).

An entry ends by the time of the call, never by the clock, so a replay says what was said. A list of class *protect*
protects calls by itself: to its numbers on every trunk, and from them only where another operator of the country hands
the call over, because a calling number is easily forged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from antifraud.rulekit import form
from antifraud.rulekit.documents import MapNode, Node, Scalar, Sheet, parse_sheet
from antifraud.rulekit.entries import (
    DIGITS,
    FOREVER,
    KINDS,
    POWERS,
    plain_entry,
    plain_range,
)
from antifraud.rulekit.entries_file import Hashing, Row, first_rows, read_entries, read_lines
from antifraud.rulekit.interpreter import Lookup
from antifraud.rulekit.messages import Message
from antifraud.rulekit.sorted_entries import Columns, Gathering
from antifraud.rulekit.tables import Table, table_of
from antifraud.rulekit.texts import LocalText

CLASSES: Final = ("plain", "protect")
PROTECTS: Final = ("callee", "caller", "both")
KEYS: Final = (
    "list",
    "title",
    "class",
    "kind",
    "protects",
    "removable",
    "owner",
    "source",
    "entries_file",
    "entries",
)
REQUIRED: Final = ("list", "title", "kind", "owner", "source")
ENTRY_KEYS: Final = ("value", "from", "to", "until", "owner", "source", "note")
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_ENTRIES: Final = 500_000

_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.csv\Z")


class Detail(msgspec.Struct, frozen=True):
    """What an entry of the list file says beyond its value and end; empty: the list's own."""

    owner: str = ""
    source: str = ""
    note: str = ""


class Found(msgspec.Struct, frozen=True):
    """An entry of a file that takes a text in: who answers for it, and where it stands."""

    plain: str
    ends: float
    owner: str
    source: str
    note: str
    file: str
    line: int


class ListFile(msgspec.Struct, frozen=True):
    """One list: who answers for it and what stands in it, in the list file and in the CSV file beside it."""

    name: str
    kind: str
    protects: tuple[str, ...]
    """caller, callee, trunk: whose calls the list protects by itself; empty for a list of class plain."""
    owner: str
    source: str
    title: LocalText
    entries: Columns
    sheet: Sheet
    line: int = 0
    removable: bool = True
    """Whether a command may take entries out at run time; for a protect list only where its file says so."""
    details: Mapping[str, Detail] = {}
    """By plain entry, of those of the list file that say more."""
    entries_file: Path | None = None

    def without_sources(self) -> ListFile:
        """The same without what only people read: the text of the list file, and what its entries say beyond."""
        return msgspec.structs.replace(self, sheet=Sheet(self.sheet.name), details={})

    def lookup(self) -> Lookup:
        """The function that says until when a text is in the list."""
        return self.table().until

    def table(self) -> Table:
        """A new table, which run-time changes may be put over."""
        return table_of(self.entries)

    def taking_in(self, text: str) -> list[Found]:
        """The entries of the files that take ``text`` in, ended ones too."""
        found = [(plain, *self.entries.find(plain)) for plain in self._candidates(text)]
        return self._with_details([(plain, ends, line) for plain, ends, line in found if line])

    def _candidates(self, text: str) -> Iterator[str]:
        """The plain entries that would take ``text`` in, if they stood here."""
        match self.kind:
            case "numbers":
                yield text
            case "prefixes":
                yield from (text[:length] for length in range(1, min(len(text), DIGITS) + 1) if text[length - 1] != "+")
            case "trunks":
                yield from (text, *(f"{text[:length]}*" for length in range(1, len(text) + 1)))
            case "ranges":
                number = text[1:]
                if text[:1] == "+" and number.isdigit() and number.isascii() and len(number) <= DIGITS:
                    key, columns = int(number), self.entries
                    if f"+{key}" == text and key >= POWERS[4]:
                        for at in columns.covering(key, key):
                            yield columns.shown(at)
            case _:
                folded = text.casefold()
                yield from (piece for piece in self.entries.texts if piece in folded)

    def _with_details(self, entries: list[tuple[str, float, int]]) -> list[Found]:
        lines = [line for _plain, _ends, line in entries if line > 0]
        rows: dict[int, Row] = {}
        if lines and self.entries_file is not None:
            rows = {row.line: row for row in read_lines(self.entries_file, self.kind, lines)}
        made = []
        for plain, ends, line in entries:
            said: Detail | Row = rows.get(line, Detail()) if line > 0 else self.details.get(plain, Detail())
            file = str(self.entries_file) if line > 0 else self.sheet.name
            made.append(
                Found(plain, ends, said.owner or self.owner, said.source or self.source, said.note, file, abs(line))
            )
        return made

    def first(self, count: int) -> list[Found]:
        """Up to ``count`` entries: those of the list file, then those of the CSV file in its order."""
        own = [(plain, *self.entries.find(plain)) for plain in self._own()]
        chosen = [(plain, ends, line) for plain, ends, line in own if line < 0][:count]
        made = self._with_details(sorted(chosen, key=lambda entry: -entry[2]))
        if self.entries_file is not None and len(made) < count:
            for row in first_rows(self.entries_file, self.kind, count - len(made)):
                owner, source = row.owner or self.owner, row.source or self.source
                made.append(Found(row.plain, row.ends, owner, source, row.note, str(self.entries_file), row.line))
        return made

    def _own(self) -> Iterator[str]:
        columns = self.entries
        for at, line in enumerate(columns.lines):
            if line < 0:
                yield columns.shown(at)
        yield from (text for text, (_ends, line) in columns.texts.items() if line < 0)


def read_list(
    sheet: Sheet,
    stem: str,
    folder: Path | None = None,
    digest: Hashing | None = None,
    sheets: list[Sheet] | None = None,
) -> ListFile | None:
    """The list that ``sheet`` holds; None when it cannot be used. Problems are noted in the sheet.

    ``folder`` is where its CSV file is looked for (without one, nowhere); ``digest`` is given that file's bytes, and
    a sheet with that file's problems is added to ``sheets``.
    """
    root = parse_sheet(sheet, max_nodes=8 * MAX_ENTRIES)
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
    removable = _removable(sheet, nodes, protects)
    if "entries" not in nodes and "entries_file" not in nodes:
        sheet.at(found["list"][0], Message.LIST_WITHOUT_ENTRIES, name=stem)
    if kind is None or name is None:
        return None
    gathering = Gathering(kind)
    details = _entries(sheet, nodes["entries"], kind, gathering) if "entries" in nodes else {}
    path = _entries_path(sheet, nodes["entries_file"], folder) if "entries_file" in nodes else None
    beside = read_entries(path, kind, gathering, digest) if path is not None else None
    columns, twice = gathering.sorted()
    for line, earlier in twice:
        _note_twice(sheet, beside, columns, line, earlier)
    if beside is not None and sheets is not None:
        sheets.append(beside)
    line = found["list"][0].line
    return ListFile(
        name, kind, protects, owner or "", source or "", title, columns, sheet, line, removable, details, path
    )


def _note_twice(sheet: Sheet, beside: Sheet | None, columns: Columns, line: int, earlier: int) -> None:
    """Two entries are the same span; where they stand is known, their text only as it is kept."""
    first, second = sorted((line, earlier), key=lambda number: (number > 0, abs(number)))
    value = columns.shown(columns.lines.index(second))
    hint = f"it was first given on line {abs(first)}"
    if first < 0 < second:
        hint += f" of {sheet.name}"
    place = beside if second > 0 and beside is not None else sheet
    place.add(Message.ENTRY_TWICE, abs(second), 1, 1, hint=hint, value=value, line=abs(first))


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


def _removable(sheet: Sheet, nodes: Mapping[str, Node], protects: tuple[str, ...]) -> bool:
    """A protect list loses nothing by a command, unless its file says that it may."""
    if "removable" not in nodes:
        return not protects
    said = form.boolean(sheet, nodes["removable"], "removable")
    if not protects:
        sheet.at(nodes["removable"], Message.LIST_REMOVABLE_CLASS)
        return True
    return said is True


def _entries_path(sheet: Sheet, node: Node, folder: Path | None) -> Path | None:
    name = form.text(sheet, node, "entries_file", 128)
    if name is None:
        return None
    if not _FILE.match(name):
        sheet.at(node, Message.ENTRIES_FILE_NAME, value=name)
        return None
    return folder / name if folder is not None else None


def _entries(sheet: Sheet, node: Node, kind: str, gathering: Gathering) -> dict[str, Detail]:
    details: dict[str, Detail] = {}
    seen: dict[str, int] = {}
    ends_by_text: dict[str, float | None] = {}
    for item in form.items(sheet, node, "entries", MAX_ENTRIES):
        place: Node = item
        ends: float | None = FOREVER
        plain: str | None
        said = Detail()
        if isinstance(item, MapNode):
            wanted = ("from", "to") if kind == "ranges" and "value" not in item.entries else ("value",)
            allowed = ENTRY_KEYS if kind == "ranges" else tuple(key for key in ENTRY_KEYS if key not in ("from", "to"))
            found = form.keys(sheet, item, "an entry", allowed, wanted)
            if not set(wanted) <= found.keys():
                continue
            place = found[wanted[0]][1]
            if "until" in found:
                ends = _until(sheet, found["until"][1], ends_by_text)
            texts = {
                key: form.text(sheet, found[key][1], key, limit, digits=True) or ""
                for key, limit in (("owner", 128), ("source", 500), ("note", 500))
                if key in found
            }
            said = Detail(**texts)
            plain = _plain_of(sheet, {key: node for key, (_key, node) in found.items()}, kind)
        else:
            plain = _plain_of(sheet, {"value": item}, kind)
        if plain is None or ends is None:
            continue
        if plain in seen:
            assert isinstance(place, Scalar)
            sheet.at(place, Message.ENTRY_TWICE, value=place.value, line=seen[plain])
            continue
        seen[plain] = item.line
        gathering.add(plain, ends, -item.line)
        if said != Detail():
            details[plain] = said
    return details


def _until(sheet: Sheet, node: Node, known: dict[str, float | None]) -> float | None:
    if isinstance(node, Scalar) and node.value in known:
        return known[node.value]
    ends = form.until(sheet, node, "until")
    if isinstance(node, Scalar) and ends is not None and len(known) < 10_000:
        known[node.value] = ends
    return ends


def _plain_of(sheet: Sheet, nodes: Mapping[str, Node], kind: str) -> str | None:
    """The entry as calls carry it: numbers without spaces, hyphens and brackets."""
    if "value" in nodes:
        for key in ("from", "to"):
            if key in nodes:
                sheet.at(nodes[key], Message.ENTRY_NOT_RANGE, value=key, hint="give value, or from and to")
                return None
        place = nodes["value"]
        value = form.text(sheet, place, "an entry", 256)
        plain = plain_entry(kind, value) if value is not None else None
    else:
        place = nodes["from"]
        first, last = form.text(sheet, place, "from", 64), form.text(sheet, nodes["to"], "to", 64)
        value = f"{first}-{last}"
        plain = plain_range(first, last) if first is not None and last is not None else None
    if isinstance(plain, Message):
        assert isinstance(place, Scalar)
        sheet.at(place, plain, value=value)
        return None
    return plain
