"""YAML as a tree that knows where every key and value stands, read with hard bounds. No meaning is given here.

The text is read event by event, so a hostile file is refused before it costs anything: bounded size, depth and
number of nodes, no anchors, aliases, tags or second documents, no duplicate keys. Plain scalars follow the YAML 1.2
core schema, so ``off`` and ``no`` are text and only ``true`` and ``false`` are truths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from antifraud.domain import ConfigError, Location, Problem
from antifraud.settings.masking import mask_line, readable

MAX_BYTES: Final = 512 * 1024
MAX_DEPTH: Final = 24
MAX_NODES: Final = 20_000
MAX_SCALAR: Final = 8_192

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?\Z")


class Source(msgspec.Struct, frozen=True):
    """Where values come from: a file with its lines, an environment variable, the command line."""

    name: str
    lines: tuple[str, ...] = ()

    def problem(self, line: int, column: int, width: int, message: str, hint: str = "") -> Problem:
        """A problem at a place of this source, with the line it shows."""
        shown = mask_line(self.lines[line - 1]) if 0 < line <= len(self.lines) else ""
        return Problem(message, Location(self.name, line, column), hint, shown, max(1, width))


class Node(msgspec.Struct, frozen=True):
    """A value and its place. ``value`` is a scalar, a list of nodes, or a mapping from key to (key, value) nodes.

    ``text`` is a scalar as it was written. ``loose`` marks values that did not come from a file: a plain text may
    then be taken as it is where text is wanted, without the quotes that a file would need.
    """

    value: Any
    source: Source
    line: int = 0
    column: int = 0
    width: int = 1
    text: str = ""
    loose: bool = False

    @property
    def is_map(self) -> bool:
        """Whether this is a mapping."""
        return isinstance(self.value, dict)

    @property
    def where(self) -> Location:
        """The place as people write it."""
        return Location(self.source.name, self.line, self.column)

    def problem(self, message: str, hint: str = "") -> Problem:
        """A problem with this value."""
        return self.source.problem(self.line, self.column, self.width, message, hint)

    def child(self, key: str) -> Node | None:
        """The value under ``key``; None when this is no mapping or has no such key."""
        entry = self.value.get(key) if self.is_map else None
        return entry.value if entry is not None else None

    def at(self, path: Sequence[str]) -> Node | None:
        """The value under a path of keys; None when there is none."""
        node: Node | None = self
        for key in path:
            if node is None:
                return None
            node = node.child(key)
        return node

    def leaves(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Every value that is not a mapping, with its path, in the order in which the keys stand."""
        if not self.is_map:
            yield path, self
            return
        for key, entry in self.value.items():
            yield from entry.value.leaves((*path, key))

    def plain(self) -> Any:
        """The value as ordinary Python objects."""
        if isinstance(self.value, dict):
            return {key: entry.value.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


class Entry(msgspec.Struct, frozen=True):
    """One ``key: value`` of a mapping."""

    key: Node
    value: Node


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means under the YAML 1.2 core schema, without its exotic number forms."""
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def loose(value: object, source: Source) -> Node:
    """A node for a value that comes from the environment or the command line."""
    if isinstance(value, Mapping):
        entries = {
            str(key): Entry(Node(str(key), source, text=str(key), loose=True), loose(item, source))
            for key, item in value.items()
        }
        return Node(entries, source, loose=True)
    if isinstance(value, list | tuple):
        return Node([loose(item, source) for item in value], source, loose=True)
    if isinstance(value, str):
        return Node(scalar(value), source, text=value, loose=True)
    return Node(value, source, text="" if value is None else str(value), loose=True)


def merge(below: Node, above: Node) -> Node:
    """``above`` laid over ``below``: mappings key by key, everything else is replaced.

    A key whose lines were all commented out (``engine:`` with nothing under it) says nothing, so what is below stays.
    """
    if not below.is_map:
        return above
    if above.value is None:
        return below
    if not above.is_map:
        return above
    entries: dict[str, Entry] = dict(below.value)
    for key, entry in above.value.items():
        under = entries.get(key)
        entries[key] = entry if under is None else Entry(entry.key, merge(under.value, entry.value))
    return msgspec.structs.replace(above, value=entries)


def nest(path: Sequence[str], leaf: Node) -> Node:
    """``leaf`` inside mappings, one for each key of ``path``."""
    node = leaf
    for key in reversed(path):
        node = Node({key: Entry(Node(key, leaf.source, text=key, loose=True), node)}, leaf.source, loose=True)
    return node


def read_file(path: Path, name: str) -> Node:
    """The tree of one file, called ``name`` in messages. ConfigError carries every problem that could be found."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            f"{name}: more than {MAX_BYTES // 1024} KiB is no configuration",
            problems=[Problem(f"more than {MAX_BYTES // 1024} KiB is no configuration", Location(name))],
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problem = Problem(
            f"byte 0x{raw[error.start]:02x} is not UTF-8", Location(name, line, column), "save the file as UTF-8"
        )
        raise ConfigError.of([problem]) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Node:
    """The tree of a YAML text; an empty one is an empty mapping."""
    source = Source(name, tuple(text.splitlines()))
    reader = _Reader(source)
    loader = _LOADER(text)
    try:
        while reader.more():
            reader.take(loader.get_event())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        message = f"not YAML: {error.problem or error.context}"
        hint = _syntax_hint(source, error, line)
        reader.problems.append(source.problem(line, column, 1, message, hint))
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        if 0 <= error.position < len(text) and ord(text[error.position]) == error.character:
            message = f"character U+{error.character:04X} may not stand in YAML"
            reader.problems.append(source.problem(line, column, 1, message, "delete it"))
        else:
            reader.problems.append(Problem("not YAML: a control character stands in it", Location(name)))
    except _RefusedError:
        pass
    finally:
        loader.dispose()
    if reader.problems:
        raise ConfigError.of(reader.problems)
    assert reader.root is not None
    return reader.root if reader.root.value is not None else msgspec.structs.replace(reader.root, value={})


def _syntax_hint(source: Source, error: yaml.MarkedYAMLError, line: int) -> str:
    near = source.lines[max(0, line - 2) : line]
    if any("\t" in one[: len(one) - len(one.lstrip())] for one in near):
        return "indent with spaces; YAML does not allow tabs"
    if "cannot start any token" in (error.problem or ""):
        return "a plain text cannot begin with %, @ or `; put it in quotes"
    if "expected ',' or" in (error.problem or "") and error.context_mark is not None:
        mark = error.context_mark
        return f"the bracket in line {mark.line + 1}, column {mark.column + 1} is not closed"
    return ""


class _RefusedError(Exception):
    """Reading must stop here; the problem is already noted."""


class _Open:
    """A mapping or list that is not closed yet."""

    __slots__ = ("column", "entries", "items", "key", "line", "skip", "width")

    def __init__(self, *, mapping: bool, line: int, column: int, width: int) -> None:
        self.entries: dict[str, Entry] | None = {} if mapping else None
        self.items: list[Node] = []
        self.key: Node | None = None
        self.skip = False
        self.line, self.column, self.width = line, column, width


class _Reader:
    """Builds the tree from parser events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._nodes = 0
        self._documents = 0
        self._done = False

    def more(self) -> bool:
        return not self._done

    def _note(self, event: Any, message: str, hint: str = "") -> None:
        mark, end = event.start_mark, event.end_mark
        width = end.column - mark.column if end.line == mark.line else 1
        self.problems.append(self.source.problem(mark.line + 1, mark.column + 1, width, message, hint))

    def _refuse(self, event: Any, message: str, hint: str = "") -> None:
        self._note(event, message, hint)
        raise _RefusedError

    def take(self, event: Any) -> None:
        """One parser event."""
        if isinstance(event, yaml.StreamEndEvent):
            self._done = True
            if self.root is None:
                self.root = Node(None, self.source, 1, 1)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a second document begins here", "one file is one document; delete the ---")
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"alias *{readable(str(event.anchor))} is not understood here", "write the value out")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.NodeEvent):
            self._open(event)

    def _open(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} values are no configuration")
        if event.anchor is not None:
            self._refuse(
                event,
                f"anchor &{readable(str(event.anchor))} is not understood here",
                "write the value out where it is needed",
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(event, f"tag {readable(tag)} is not understood here", "delete it")
        start, end = event.start_mark, event.end_mark
        line, column = start.line + 1, start.column + 1
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_SCALAR:
                self._refuse(event, f"a text of {len(event.value)} characters is no setting, at most {MAX_SCALAR}")
            width = end.column - start.column if end.line == start.line else 1
            plain = event.style in (None, "")
            value = scalar(event.value) if plain else event.value
            self._put(Node(value, self.source, line, column, max(1, width), event.value), event)
            return
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} deep")
        mapping = isinstance(event, yaml.MappingStartEvent)
        top = self._stack[-1] if self._stack else None
        if top is not None and top.entries is not None and top.key is None:
            shape, marks = ("mapping", "braces") if mapping else ("list", "brackets")
            self._refuse(event, f"a {shape} cannot be a key", f"put a text with {marks} in it in quotes")
        self._stack.append(_Open(mapping=mapping, line=line, column=column, width=1))

    def _close(self) -> None:
        done = self._stack.pop()
        value: Any = done.entries if done.entries is not None else done.items
        self._put(Node(value, self.source, done.line, done.column, done.width), None)

    def _put(self, node: Node, event: Any) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if top.entries is None:
            top.items.append(node)
        elif top.key is None:
            self._put_key(top, node, event)
        else:
            if not top.skip:
                top.entries[top.key.text] = Entry(top.key, node)
            top.key, top.skip = None, False

    def _put_key(self, top: _Open, node: Node, event: Any) -> None:
        assert top.entries is not None
        if node.text == "<<" and event.style in (None, ""):
            self._refuse(event, "merge key << is not understood here", "write the values out")
        if node.value is None and not node.text:
            self._refuse(event, "a key is missing before the colon")
        earlier = top.entries.get(node.text)
        if earlier is not None:
            self._note(
                event,
                f"{readable(node.text)} stands here a second time",
                f"it already stands in line {earlier.key.line}; keep one of the two",
            )
            top.skip = True
        top.key = node
