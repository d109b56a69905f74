"""A stream in which operators ask something of the engine, and how far it has been obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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
