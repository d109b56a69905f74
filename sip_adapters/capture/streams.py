"""TCP segments back into the byte streams that SIP is framed in: in order, bounded, over gaps."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from sip_adapters.capture.frames import Packet
from sip_adapters.sip import Framer

_SYN: Final = 0x02
_FIN_OR_RST: Final = 0x05
_MAX_FLOWS: Final = 4_096
_MAX_AHEAD: Final = 64
_MAX_AHEAD_BYTES: Final = 1 << 18
_HALF: Final = 1 << 31
_WRAP: Final = 1 << 32


class Piece(NamedTuple):
    """What a stream gave: a message (``code`` "") or bytes that are lost to us, with the class of the loss."""

    data: bytes
    code: str = ""


class _Flow:
    __slots__ = ("ahead", "framer", "next_seq")

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.framer = Framer()
        self.ahead: dict[int, bytes] = {}


class Streams:
    """All TCP directions that carry SIP."""

    def __init__(self) -> None:
        self._flows: OrderedDict[tuple[str, int, str, int], _Flow] = OrderedDict()

    def knows(self, packet: Packet) -> bool:
        """Whether ``packet`` belongs to a direction that is followed already."""
        return _flow_key(packet) in self._flows

    def feed(self, packet: Packet) -> list[Piece]:
        """The messages that ``packet`` completes, and what was lost on the way."""
        key = _flow_key(packet)
        flow = self._flows.get(key)
        if packet.flags & _SYN:
            lost = self._lost(flow)
            self._flows[key] = _Flow((packet.seq + 1) % _WRAP)
            self._trim()
            return lost
        if flow is None:
            flow = self._flows[key] = _Flow(packet.seq)
            self._trim()
        self._flows.move_to_end(key)
        out: list[Piece] = []
        if packet.payload:
            self._accept(flow, packet.seq, packet.payload, out)
        if packet.flags & _FIN_OR_RST and not flow.ahead:
            out += self._lost(flow)
            del self._flows[key]
        return out

    def finish(self) -> list[Piece]:
        """What never became whole."""
        return [piece for flow in self._flows.values() for piece in self._lost(flow)]

    def _accept(self, flow: _Flow, seq: int, payload: bytes, out: list[Piece]) -> None:
        distance = (seq - flow.next_seq) % _WRAP
        if distance >= _HALF:  # behind: sent again, perhaps with something new at its end
            payload = payload[_WRAP - distance :]
            if not payload:
                return
            seq, distance = flow.next_seq, 0
        if distance:
            flow.ahead.setdefault(seq, payload)
            if len(flow.ahead) <= _MAX_AHEAD and sum(map(len, flow.ahead.values())) <= _MAX_AHEAD_BYTES:
                return
            nearest = min(flow.ahead, key=lambda start: (start - flow.next_seq) % _WRAP)
            out.append(Piece(flow.framer.flush(), "stream-gap"))
            flow.next_seq = nearest
            seq, payload = nearest, flow.ahead.pop(nearest)
        while True:
            out += [Piece(data, "" if is_sip else "not-sip") for data, is_sip in flow.framer.feed(payload)]
            flow.next_seq = (seq + len(payload)) % _WRAP
            following = self._following(flow)
            if following is None:
                return
            seq, payload = flow.next_seq, following

    @staticmethod
    def _following(flow: _Flow) -> bytes | None:
        """The bytes that come next out of those that came early."""
        for start in sorted(flow.ahead, key=lambda start: (start - flow.next_seq + _HALF) % _WRAP):
            overlap = (flow.next_seq - start) % _WRAP
            if overlap >= _HALF:
                return None
            payload = flow.ahead.pop(start)[overlap:]
            if payload:
                return payload
        return None

    @staticmethod
    def _lost(flow: _Flow | None) -> list[Piece]:
        if flow is None:
            return []
        left = flow.framer.flush()
        pieces = [Piece(left, "stream-cut")] if left else []
        return pieces + [Piece(data, "stream-gap") for _, data in sorted(flow.ahead.items())]

    def _trim(self) -> None:
        while len(self._flows) > _MAX_FLOWS:
            self._flows.popitem(last=False)


def _flow_key(packet: Packet) -> tuple[str, int, str, int]:
    return (packet.src, packet.sport, packet.dst, packet.dport)
