"""Compiled rules as bytes, from the process that compiled them to the one that decides with them.

The bytes are pieces of a few hundred kilobytes at most, and an index that says where they lie. Whoever makes rules of
them does so piece by piece, and pauses in between, so that a thread which does it never keeps others waiting. They
hold for two processes that run the same program on the same Python, and are no format for files: code objects are read
as Python reads its own.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from antifraud.rulekit.compiler import PackCode
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.evaluation import CompiledRules, HeldList, Maker, Pack
from antifraud.rulekit.form import Value
from antifraud.rulekit.list_folder import ListStamp
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.patterns import finder
from antifraud.rulekit.sorted_entries import Columns, Ends, Keys, room_for
from antifraud.rulekit.texts import LocalText

Pause = Callable[[], object]
"""Called about every half millisecond of work."""

_AT_ONCE: Final = 64
"""How many rules or entries of dictionaries one piece has."""
_ENTRIES: Final = 1_024
_BYTES: Final = 1 << 18


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Where bytes lie."""

    at: int
    size: int


class PackIndex(msgspec.Struct, frozen=True):
    """One pack: pieces with its code and its makers."""

    name: str
    code: Piece
    lists: Mapping[str, str]
    patterns: Mapping[str, str]
    makers: tuple[Piece, ...]
    params: tuple[tuple[str, str], ...]
    on: str


class ListIndex(msgspec.Struct, frozen=True):
    """One list; ``entries`` is None for one that the receiver holds already."""

    name: str
    stamp: ListStamp
    kind: str = ""
    protects: tuple[str, ...] = ()
    owner: str = ""
    source: str = ""
    title: LocalText = LocalText()
    file: str = ""
    line: int = 0
    removable: bool = True
    beside: str | None = None
    entries: EntriesIndex | None = None


class ArrayIndex(msgspec.Struct, frozen=True, array_like=True):
    """An array of Python, in one piece."""

    typecode: str
    piece: Piece


class EntriesIndex(msgspec.Struct, frozen=True):
    """The columns of a list."""

    keys: ArrayIndex
    lines: ArrayIndex
    moments: tuple[float, ...]
    seconds: ArrayIndex
    texts: tuple[Piece, ...]


class RulesIndex(msgspec.Struct, frozen=True):
    """What there is, and where."""

    digest: str
    packs: tuple[PackIndex, ...]
    lists: tuple[ListIndex, ...]
    defaults: tuple[Piece, ...]


_MAKERS: Final = msgspec.msgpack.Decoder(tuple[Maker, ...])
_TEXTS: Final = msgspec.msgpack.Decoder(dict[str, tuple[float, int]])
_DEFAULTS: Final = msgspec.msgpack.Decoder(dict[str, dict[str, Any]])


class PieceWriter:
    """Writes pieces one after the other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def add(self, content: bytes | memoryview) -> Piece:
        """Write ``content``; where it lies now."""
        size = content.nbytes if isinstance(content, memoryview) else len(content)
        self._stream.write(content)
        self._at += size
        return Piece(self._at - size, size)

    def add_array(self, content: Keys | array[float]) -> ArrayIndex:
        """Write the array as it lies in memory."""
        view = memoryview(content)
        return ArrayIndex(view.format, self.add(view))

    def encoded(self, content: object) -> Piece:
        """Write ``content`` as MessagePack."""
        return self.add(msgspec.msgpack.encode(content))


def write_rules(rules: CompiledRules, held: Mapping[str, ListStamp], pieces: PieceWriter) -> RulesIndex:
    """Write ``rules`` without the entries of lists that the receiver has (``held``: name → stamp)."""
    packs = tuple(
        PackIndex(
            pack.name,
            pieces.add(marshal.dumps(pack.code.code)),
            pack.code.lists,
            pack.code.patterns,
            tuple(pieces.encoded(some) for some in _some(pack.makers, _AT_ONCE)),
            pack.params,
            pack.on,
        )
        for pack in rules.packs
    )
    lists = tuple(
        ListIndex(name, item.stamp) if held.get(name) == item.stamp else _list(item, pieces)
        for name, item in rules.held.items()
    )
    defaults = tuple(pieces.encoded(dict(some)) for some in _some(rules.defaults.items(), _AT_ONCE))
    return RulesIndex(rules.digest, packs, lists, defaults)


def _list(item: HeldList, pieces: PieceWriter) -> ListIndex:
    file, columns = item.file, item.file.entries
    entries = EntriesIndex(
        pieces.add_array(columns.keys),
        pieces.add_array(columns.lines),
        tuple(columns.ends.moments),
        pieces.add_array(columns.ends.seconds),
        tuple(pieces.encoded(dict(some)) for some in _some(columns.texts.items(), _ENTRIES)),
    )
    return ListIndex(
        file.name,
        item.stamp,
        file.kind,
        file.protects,
        file.owner,
        file.source,
        file.title,
        file.sheet.name,
        file.line,
        file.removable,
        str(file.entries_file) if file.entries_file is not None else None,
        entries,
    )


def _some(items: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """``items`` in lists of ``count``."""
    rest = iter(items)
    while found := list(islice(rest, count)):
        yield found


def read_rules(index: RulesIndex, content: memoryview, held: Mapping[str, HeldList], pause: Pause) -> CompiledRules:
    """The rules that ``write_rules`` wrote into ``content``; lists that were left out are taken from ``held``."""
    packs = []
    for pack in index.packs:
        makers: list[Maker] = []
        for piece in pack.makers:
            makers += _MAKERS.decode(_bytes(content, piece))
            pause()
        for pattern in pack.patterns.values():
            finder(pattern)
            pause()
        code = PackCode(marshal.loads(_bytes(content, pack.code)), pack.lists, pack.patterns)  # noqa: S302
        packs.append(Pack(pack.name, code, tuple(makers), pack.params, pack.on))
        pause()
    lists = [
        held[item.name] if item.entries is None else _held(item, item.entries, content, pause) for item in index.lists
    ]
    defaults: dict[str, dict[str, Value]] = {}
    for piece in index.defaults:
        for rule, params in _DEFAULTS.decode(_bytes(content, piece)).items():
            defaults[rule] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in params.items()
            }
        pause()
    return CompiledRules(packs, lists, defaults, index.digest)


def _held(item: ListIndex, entries: EntriesIndex, content: memoryview, pause: Pause) -> HeldList:
    texts: dict[str, tuple[float, int]] = {}
    for piece in entries.texts:
        texts.update(_TEXTS.decode(_bytes(content, piece)))
        pause()
    keys, lines, seconds = (_array(one, content, pause) for one in (entries.keys, entries.lines, entries.seconds))
    columns = Columns(item.kind, keys, Ends(list(entries.moments), seconds), lines, texts)
    file = ListFile(
        item.name,
        item.kind,
        item.protects,
        item.owner,
        item.source,
        item.title,
        columns,
        Sheet(item.file),
        item.line,
        item.removable,
        entries_file=Path(item.beside) if item.beside is not None else None,
    )
    return HeldList(file, file.table(), item.stamp)


def _array(index: ArrayIndex, content: memoryview, pause: Pause) -> Any:
    piece = index.piece
    found = room_for(piece.size // array(index.typecode).itemsize, index.typecode)
    raw = memoryview(found).cast("B")
    for at in range(0, piece.size, _BYTES):
        stop = min(at + _BYTES, piece.size)
        raw[at:stop] = content[piece.at + at : piece.at + stop]
        pause()
    return found


def _bytes(content: memoryview, piece: Piece) -> memoryview:
    return content[piece.at : piece.at + piece.size]
