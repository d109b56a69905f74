"""CDR files as call events in the order of their times, for replay."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from antifraud.domain import AntifraudError, CallEvent, EventKind, Quarantined, UsageError
from sip_adapters.cdr.mapping import MappingFile, find_mapping, load_mapping, mapping_dirs
from sip_adapters.cdr.rows import MAX_LINE, Rows

REORDER: Final = 200_000
_SUFFIXES: Final = (".csv", ".cdr")
_ORDER: Final = {EventKind.SETUP: 0, EventKind.ANSWER: 1, EventKind.RELEASE: 2, EventKind.REPORT: 3}


class CdrReader:
    """The reader that ``antifraud replay`` finds for CDR files.

    Options: ``mapping`` (a name of config/cdr/ or a path; empty tries all that there are), ``config_dir``.
    """

    name = "cdr"
    summary = "call detail records: CSV through a mapping of config/cdr/"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By its name, or because a mapping that there is makes sense of its first lines."""
        if b"\x00" in head or head.lstrip()[:1] in (b"{", b"[", b""):
            return False
        if path.suffix.lower() in _SUFFIXES:
            return True
        return _guess(head, "") is not None

    def read(self, path: Path, options: Mapping[str, Any]) -> Iterator[CallEvent | Quarantined]:
        """The events by time: put in order over the last 200,000, because a record is written when its call ends.
        Lines that cannot be understood come as Quarantined. Raises UsageError or ConfigError before the first."""
        config = str(options.get("config_dir") or "")
        name = str(options.get("mapping") or "")
        try:
            with path.open("rb") as file:
                mapping = load_mapping(find_mapping(name, config)) if name else _detect(path, file, config)
                header = _take_line(file) if mapping.header else None
                yield from _in_order(_rows(file, Rows(mapping, header)))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


def _rows(file: BinaryIO, rows: Rows) -> Iterator[CallEvent | Quarantined]:
    while line := _take_line(file):
        found = rows.events(line)
        if isinstance(found, Quarantined):
            yield found
        elif found is not None:
            yield from found


def _take_line(file: BinaryIO) -> bytes:
    """The next line; of one that is too long the first MAX_LINE + 1 bytes. Empty at the end."""
    line = file.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE and not line.endswith(b"\n"):
        while rest := file.readline(MAX_LINE):
            if rest.endswith(b"\n"):
                break
    return line


def _in_order(items: Iterator[CallEvent | Quarantined]) -> Iterator[CallEvent | Quarantined]:
    heap: list[tuple[float, int, int, CallEvent]] = []
    for number, item in enumerate(items):
        if isinstance(item, Quarantined):
            yield item
            continue
        heapq.heappush(heap, (item.ts, _ORDER[item.kind], number, item))
        if len(heap) > REORDER:
            yield heapq.heappop(heap)[3]
    while heap:
        yield heapq.heappop(heap)[3]


def _detect(path: Path, file: BinaryIO, config: str) -> MappingFile:
    head = file.read(65_536)
    file.seek(0)
    found = _guess(head, config)
    if found is None:
        known = ", ".join(sorted({one.stem for place in mapping_dirs(config) for one in place.glob("*.yaml")}))
        raise UsageError(
            f"{path}: no mapping makes sense of its first lines",
            hint=f"name one with --mapping (there are {known or 'none'}) or write one: docs/how-to/feed-cdr.md",
        )
    return found


def _guess(head: bytes, config: str) -> MappingFile | None:
    """The first mapping, by name, that reads one of the first lines without a mistake; broken mappings are passed
    over."""
    lines = [line for line in head.split(b"\n")[:20] if line.strip()]
    seen: set[str] = set()
    for place in mapping_dirs(config):
        for path in sorted(place.glob("*.yaml")):
            if path.stem in seen:
                continue
            seen.add(path.stem)
            try:
                mapping = load_mapping(path)
                rows = Rows(mapping, lines[0] if mapping.header and lines else None)
            except AntifraudError:
                continue
            records = lines[1:] if mapping.header else lines
            if any(isinstance(rows.events(line), list) for line in records) or (mapping.header and len(lines) == 1):
                return mapping
    return None


READER: Final = CdrReader()
