"""Captured frames to UDP and TCP payloads: Ethernet with VLANs, Linux cooked (v1, v2), raw IP, BSD loopback; IPv4 and
IPv6 with fragments put together again. Every table is bounded; whatever does not fit is left out, nothing raises.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import OrderedDict
from typing import Final, NamedTuple

UDP: Final = 17
TCP: Final = 6
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLANS: Final = (0x8100, 0x88A8, 0x9100)
_IPV6_EXTENSIONS: Final = (0, 43, 60, 135)
_IPV6_FRAGMENT: Final = 44
_MAX_DATAGRAMS: Final = 1_024
_MAX_PIECES: Final = 64
_MAX_DATAGRAM: Final = 65_535


class Packet(NamedTuple):
    """One UDP datagram or TCP segment. ``cut``: the capture did not keep all of it. ``seq`` and ``flags``: TCP's."""

    protocol: int
    src: str
    sport: int
    dst: str
    dport: int
    payload: bytes
    cut: bool
    seq: int = 0
    flags: int = 0


class Frames:
    """Takes frames apart; holds the fragments that wait for each other."""

    def __init__(self) -> None:
        self._fragments: OrderedDict[tuple[bytes, bytes, int, int], dict[int, bytes]] = OrderedDict()
        self._totals: dict[tuple[bytes, bytes, int, int], int] = {}

    def decode(self, linktype: int, frame: bytes) -> Packet | None:
        """The UDP or TCP payload in ``frame``; None when there is none (yet)."""
        try:
            return self._link(linktype, frame)
        except (struct.error, IndexError):
            return None

    def _link(self, linktype: int, frame: bytes) -> Packet | None:
        if linktype == 1:
            at, kind = 14, struct.unpack_from("!H", frame, 12)[0]
        elif linktype == 113:
            at, kind = 16, struct.unpack_from("!H", frame, 14)[0]
        elif linktype == 276:
            at, kind = 20, struct.unpack_from("!H", frame, 0)[0]
        elif linktype in (0, 108):
            at, kind = 4, 0
        elif linktype in (12, 14, 101, 228, 229):
            at, kind = 0, 0
        else:
            return None
        for _ in range(4):
            if kind not in _VLANS:
                break
            kind = struct.unpack_from("!H", frame, at + 2)[0]
            at += 4
        if not kind:
            kind = {4: _IPV4, 6: _IPV6}.get(frame[at] >> 4, -1)
        if kind == _IPV4:
            return self._ipv4(frame[at:])
        return self._ipv6(frame[at:]) if kind == _IPV6 else None

    def _ipv4(self, packet: bytes) -> Packet | None:
        first, total, ident, fragment, protocol = struct.unpack_from("!BxHHHxB", packet, 0)
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20 or protocol not in (UDP, TCP):
            return None
        # Segmentation offload leaves the total length 0; then everything captured belongs to the packet.
        end = total if total >= header else len(packet)
        src, dst = packet[12:16], packet[16:20]
        body = packet[header:end]
        cut = len(packet) < end
        offset = (fragment & 0x1FFF) * 8
        more = bool(fragment & 0x2000)
        if offset or more:
            whole = None if cut else self._assemble((src, dst, ident, protocol), offset, body, more=more)
            if whole is None:
                return None
            body = whole
        return _transport(protocol, src, dst, body, cut=cut)

    def _ipv6(self, packet: bytes) -> Packet | None:
        first, length, following = struct.unpack_from("!I H B", packet, 0)
        if first >> 28 != 6:
            return None
        src, dst = packet[8:24], packet[24:40]
        if len(dst) < 16:
            return None
        end = 40 + length if length else len(packet)
        cut = len(packet) < end
        at = 40
        for _ in range(8):
            if following in _IPV6_EXTENSIONS:
                following, size = packet[at], (packet[at + 1] + 1) * 8
                at += size
            elif following == _IPV6_FRAGMENT:
                following, bits, ident = struct.unpack_from("!BxHI", packet, at)
                at += 8
                body = packet[at:end]
                whole = (
                    None
                    if cut
                    else self._assemble((src, dst, ident, following), bits & 0xFFF8, body, more=bool(bits & 1))
                )
                return None if whole is None else _transport(following, src, dst, whole, cut=False)
            else:
                break
        return _transport(following, src, dst, packet[at:end], cut=cut)

    def _assemble(self, key: tuple[bytes, bytes, int, int], offset: int, body: bytes, *, more: bool) -> bytes | None:
        """The whole datagram once its last missing piece is here. Overlapping pieces never make one (RFC 5722)."""
        pieces = self._fragments.setdefault(key, {})
        self._fragments.move_to_end(key)
        pieces.setdefault(offset, body)
        if not more:
            self._totals[key] = offset + len(body)
        if len(self._fragments) > _MAX_DATAGRAMS:
            oldest, _ = self._fragments.popitem(last=False)
            self._totals.pop(oldest, None)
        total = self._totals.get(key)
        if len(pieces) > _MAX_PIECES or (total is not None and total > _MAX_DATAGRAM):
            self._forget(key)
            return None
        if total is None:
            return None
        at = 0
        for start in sorted(pieces):
            if start != at:
                return None
            at += len(pieces[start])
        if at != total:
            return None
        whole = b"".join(pieces[start] for start in sorted(pieces))
        self._forget(key)
        return whole

    def _forget(self, key: tuple[bytes, bytes, int, int]) -> None:
        self._fragments.pop(key, None)
        self._totals.pop(key, None)


def _transport(protocol: int, src: bytes, dst: bytes, body: bytes, *, cut: bool) -> Packet | None:
    if protocol == UDP:
        sport, dport, length = struct.unpack_from("!HHH", body, 0)
        end = length if length >= 8 else len(body)
        return Packet(UDP, _ip(src), sport, _ip(dst), dport, body[8:end], cut or len(body) < end)
    if protocol == TCP:
        sport, dport, seq, offset, flags = struct.unpack_from("!HHI4xBB", body, 0)
        start = (offset >> 4) * 4
        if start < 20:
            return None
        return Packet(TCP, _ip(src), sport, _ip(dst), dport, body[start:], cut, seq, flags)
    return None


def _ip(raw: bytes) -> str:
    return str(ipaddress.ip_address(raw))
