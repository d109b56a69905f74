"""A stream in which operators ask something of the engine, and how far it has been obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Entry = tuple[bytes, Mapping[bytes, bytes]]
"""The id of a stream's entry, and its fields."""


class ControlStream:
    """One such stream: its key, the operations that it may ask for, and under which field of the position hash the last
    entry is written whose consequences are."""

    __slots__ = ("field", "key", "operations", "position")

    def __init__(self, key: str, field: str, operations: Sequence[str]) -> None:
        self.key, self.field, self.operations = key, field, operations
        self.position = "0-0"

    def go_on_from(self, written: Mapping[bytes, bytes]) -> None:
        """Take the position from the position hash; from the beginning when it has none that can be read."""
        position = written.get(self.field.encode(), b"").decode("utf-8", "replace")
        milliseconds, _, sequence = position.partition("-")
        self.position = position if milliseconds.isdecimal() and sequence.isdecimal() else "0-0"


def in_order(read: Iterable[tuple[ControlStream, Sequence[Entry]]]) -> list[tuple[ControlStream, Entry]]:
    """The entries that were read of several streams in the order in which they were written, by their ids.

    Ids come from the one clock of Redis, so that of two changes of one list entry the last one written holds, whichever
    stream each went to. At the same id the stream named first comes first.
    """
    found = [(asked, entry) for asked, entries in read for entry in entries]
    return sorted(found, key=lambda item: _written(item[1][0]))


def _written(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence or 0)
