"""SIP messages out of a byte stream (TCP): framed by Content-Length (RFC 3261 §18.3), bounded, resynchronising."""

from __future__ import annotations

import re
from typing import Final

from sip_adapters.sip.message import MAX_MESSAGE, looks_like_sip

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH: Final = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Framer:
    """Cuts one direction of one connection into messages; ``feed`` gives them back as (bytes, is SIP)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The messages that ``data`` completes. Bytes that cannot begin a message come back with False."""
        self._buffer += data
        out: list[tuple[bytes, bool]] = []
        while True:
            if self._buffer.startswith((b"\r", b"\n", b"\x00")):
                self._take(len(self._buffer) - len(self._buffer.lstrip(b"\r\n\x00")))
            if not self._buffer:
                return out
            end = _HEAD_END.search(self._buffer, self._searched)
            if end is None:
                self._searched = max(0, len(self._buffer) - 3)
                if len(self._buffer) > MAX_MESSAGE:
                    out.append((self._take(len(self._buffer)), False))
                return out
            head = bytes(self._buffer[: end.start()])
            if not looks_like_sip(head):
                out.append((self._take(end.end()), False))
                continue
            length = _LENGTH.search(head)
            total = end.end() + (int(length.group(1)) if length else 0)
            if total > MAX_MESSAGE:
                out.append((self._take(end.end()), False))
                continue
            if len(self._buffer) < total:
                return out
            out.append((self._take(total), True))

    def flush(self) -> bytes:
        """What is left, because the stream has a gap or ends."""
        return self._take(len(self._buffer))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._searched = 0
        return taken
