"""Capture files (pcap, pcapng, also gzipped) as call events. scapy reads the files; it is imported on first use."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from antifraud.domain import CallEvent, EventError, Quarantined, UsageError
from sip_adapters.capture.calls import SOURCE, Calls
from sip_adapters.capture.frames import TCP, Frames, Packet
from sip_adapters.capture.streams import Streams
from sip_adapters.sip import is_keepalive, looks_like_sip, parse, quarantined

_MAGICS: Final = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a",
)  # fmt: skip
_GZIP: Final = b"\x1f\x8b"
_SIP_PORTS: Final = (5060, 5080)
_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_MAX_READ: Final = 1 << 20


class CaptureReader:
    """The reader that ``antifraud replay`` finds for captures.

    Options: ``switch`` and ``trunk`` (names for all events), ``trust_asserted`` (believe P-Asserted-Identity; true).
    Options of other readers are passed over.
    """

    name = "capture"
    summary = "SIP calls in capture files: pcap and pcapng, UDP and TCP"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By magic number; a gzipped capture by its name as well."""
        if head[:4] in _MAGICS:
            return True
        return head[:2] == _GZIP and any(suffix in (".pcap", ".pcapng", ".cap") for suffix in path.suffixes)

    def read(self, path: Path, options: Mapping[str, Any]) -> Iterator[CallEvent | Quarantined]:
        """The events in capture order. SIP that cannot be understood and damage to the file come as Quarantined;
        traffic that is not SIP is passed over. Raises UsageError when the file cannot be opened or is no capture."""
        session = _Session(
            Calls(
                switch=str(options.get("switch", ""))[:64],
                trunk=str(options.get("trunk", ""))[:64],
                trust_asserted=bool(options.get("trust_asserted", True)),
            )
        )
        try:
            with path.open("rb") as file:
                yield from session.events(cast("BinaryIO", file), str(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


class _Session:
    """One file being read."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._frames = Frames()
        self._streams = Streams()

    def events(self, file: BinaryIO, name: str) -> Iterator[CallEvent | Quarantined]:
        last_ts: float | None = None
        for linktype, frame, ts in read_frames(file, name):
            if isinstance(frame, Quarantined):
                yield frame
                continue
            packet = self._frames.decode(linktype, frame)
            if packet is None:
                continue
            last_ts = ts
            if packet.protocol == TCP:
                yield from self._segment(packet, ts)
            elif packet.payload:
                yield from self._datagram(packet, ts)
        if last_ts is not None:
            for piece in self._streams.finish():
                yield quarantined(piece.code, "the capture ends inside a message", SOURCE, piece.data)

    def _datagram(self, packet: Packet, ts: float | None) -> Iterator[CallEvent | Quarantined]:
        payload = packet.payload
        on_port = packet.sport in _SIP_PORTS or packet.dport in _SIP_PORTS
        if not on_port and not looks_like_sip(payload[:2048]):
            return
        if is_keepalive(payload) or payload[4:8] == _STUN_COOKIE:
            return
        yield from self._message(payload, packet, ts, "udp")

    def _segment(self, packet: Packet, ts: float | None) -> Iterator[CallEvent | Quarantined]:
        on_port = packet.sport in _SIP_PORTS or packet.dport in _SIP_PORTS
        if not on_port and not self._streams.knows(packet) and not looks_like_sip(packet.payload[:2048]):
            return
        for piece in self._streams.feed(packet):
            if piece.code:
                if piece.data:
                    yield quarantined(piece.code, f"bytes of {packet.src}:{packet.sport}", SOURCE, piece.data)
            else:
                yield from self._message(piece.data, packet, ts, "tcp")

    def _message(
        self, data: bytes, packet: Packet, ts: float | None, transport: str
    ) -> Iterator[CallEvent | Quarantined]:
        if ts is None:
            yield quarantined("no-timestamp", "the capture keeps no time for this packet", SOURCE, data)
            return
        try:
            message = parse(data, cut=packet.cut, infer=True)
            yield from self._calls.feed(message, ts=ts, src_ip=packet.src, transport=transport)
        except EventError as error:
            where = f"{error.detail} (from {packet.src}:{packet.sport})"
            code = "cut-packet" if packet.cut else error.code
            yield quarantined(code, where, SOURCE, data)


class _Bounded:
    """A file whose reads are bounded (a damaged length must not ask for gigabytes) and that knows how it ended."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self._reads = 0
        self._short: tuple[int, int] | None = None

    def begin(self) -> None:
        """A new record is about to be read."""
        self._reads = 0
        self._short = None

    def ended(self) -> tuple[int, int] | None:
        """(which read of the record, bytes it gave) where the file ended; None when it has not ended yet."""
        return self._short

    def read(self, size: int = -1) -> bytes:
        wanted = min(size, _MAX_READ) if size >= 0 else _MAX_READ
        data = self._file.read(wanted)
        self._reads += 1
        if len(data) < wanted and self._short is None:
            self._short = (self._reads, len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """The caller closes its own file."""


def read_frames(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes | Quarantined, float | None]]:
    """(link type, frame, epoch seconds) of every packet; a damaged end as one Quarantined. UsageError when ``file``
    is no capture."""
    raw_reader, scapy_errors = _scapy()
    bounded = _Bounded(file, name)
    damage: tuple[type[Exception], ...] = (
        *scapy_errors, struct.error, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error,
    )  # fmt: skip
    try:
        reader = raw_reader(bounded)
    except damage as error:
        raise UsageError(f"{name} is no capture file that can be read: {error}") from None
    broken = ""
    while True:
        bounded.begin()
        try:
            data, meta = next(reader)
        except StopIteration:
            break
        except damage as error:
            broken = f"{type(error).__name__}: {error}"
            break
        if bounded.ended() is not None:
            broken = "the last packet is cut off"
        yield _linktype(reader, meta), data, _time(reader, meta)
    # A sound file ends where the next record would begin: its first read finds nothing at all.
    if not broken and bounded.ended() != (1, 0):
        broken = "the file ends inside a record" if bounded.ended() else "a record cannot be read"
    if broken:
        item = quarantined("capture-truncated", f"{broken}; what came before it was read", SOURCE, b"")
        yield 0, item, None


def _linktype(reader: Any, meta: Any) -> int:
    found = getattr(meta, "linktype", None)
    return int(reader.linktype if found is None else found)


def _time(reader: Any, meta: Any) -> float | None:
    if hasattr(meta, "sec"):
        return float(meta.sec + meta.usec / (1e9 if reader.nano else 1e6))
    if meta.tshigh is None or not meta.tsresol:
        return None
    ticks = (meta.tshigh << 32) | meta.tslow
    # Whole seconds apart from the fraction: nanoseconds since 1970 do not fit a float.
    seconds, rest = divmod(ticks, meta.tsresol)
    return float(seconds + rest / meta.tsresol)


def _scapy() -> tuple[Any, tuple[type[Exception], ...]]:
    """scapy's raw reader. Its import warns about the machine's interfaces and about other packages; its reader logs
    what we report ourselves."""
    logger = logging.getLogger("scapy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            from scapy.error import Scapy_Exception
            from scapy.utils import RawPcapNgReader
        finally:
            logger.setLevel(before)
    logging.getLogger("scapy.runtime").setLevel(logging.CRITICAL)
    return RawPcapNgReader, (Scapy_Exception,)


READER: Final = CaptureReader()
