"""Our own event files: JSON Lines, one event a line with the names of ``CallEvent``; ``truth`` is left aside.

Hostile input: a line of over 64 kB, bytes that are no JSON, unknown kinds and wrong types become Quarantined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from antifraud.domain import CallEvent, Quarantined

_MAX_LINE: Final = 65_536


class _EventFile:
    """The reader of event files (``Reader``)."""

    name = "events"
    summary = "JSON Lines of call events"

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(CallEvent)

    def recognises(self, path: Path, head: bytes) -> bool:
        """A file whose first line begins an object."""
        return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or path.suffix in (".jsonl", ".ndjson")

    def read(self, path: Path, options: Mapping[str, Any]) -> Iterator[CallEvent | Quarantined]:  # noqa: ARG002
        """The events of ``path`` in file order."""
        with path.open("rb") as lines:
            number = 0
            while True:
                line = lines.readline(_MAX_LINE + 1)
                if not line:
                    return
                number += 1
                place = f"{path.name}:{number}"
                if len(line) > _MAX_LINE:
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(_MAX_LINE)
                    yield Quarantined("line-too-long", f"{place} has more than {_MAX_LINE} bytes", "events")
                    continue
                if not line.strip():
                    continue
                try:
                    yield self._decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    shown = line[:256].decode("utf-8", "replace")
                    yield Quarantined("event-garbled", f"{place}: {error}", "events", shown)


EVENT_FILE: Final = _EventFile()
