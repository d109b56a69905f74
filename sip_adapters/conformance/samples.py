"""Made-up SIP messages, capture files and the hostile inputs that every adapter must survive. For tests of adapters,
here and elsewhere; all numbers are fictitious.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from typing import Final

SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
)


def invite(
    *,
    caller: str = "+77000000001",
    callee: str = "+77000000002",
    call_id: str = "sample-1@192.0.2.10",
    branch: str = "z9hG4bK-sample-1",
    cseq: int = 1,
    from_tag: str = "from-1",
    to_tag: str = "",
    via: str = "192.0.2.10:5060",
    extra: Sequence[str] = (),
    body: bytes = SDP,
) -> bytes:
    """An INVITE as a switch sends it; ``extra`` are whole header lines."""
    return request(
        "INVITE", caller=caller, callee=callee, call_id=call_id, branch=branch, cseq=cseq, from_tag=from_tag,
        to_tag=to_tag, via=via, extra=["Contact: <sip:switch@192.0.2.10>", *extra, "Content-Type: application/sdp"],
        body=body,
    )  # fmt: skip


def request(
    method: str,
    *,
    caller: str = "+77000000001",
    callee: str = "+77000000002",
    call_id: str = "sample-1@192.0.2.10",
    branch: str = "z9hG4bK-sample-1",
    cseq: int = 1,
    cseq_method: str = "",
    from_tag: str = "from-1",
    to_tag: str = "",
    via: str = "192.0.2.10:5060",
    max_forwards: int = 70,
    extra: Sequence[str] = (),
    body: bytes = b"",
) -> bytes:
    """Any request of the same call."""
    lines = [
        f"{method} sip:{callee}@203.0.113.5 SIP/2.0",
        f"Via: SIP/2.0/UDP {via};branch={branch};rport",
        f"Max-Forwards: {max_forwards}",
        f"From: <sip:{caller}@192.0.2.10>;tag={from_tag}",
        f"To: <sip:{callee}@203.0.113.5>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {cseq_method or method}",
        *extra,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def response(
    status: int,
    reason: str = "Whatever",
    *,
    caller: str = "+77000000001",
    callee: str = "+77000000002",
    call_id: str = "sample-1@192.0.2.10",
    branch: str = "z9hG4bK-sample-1",
    cseq: int = 1,
    cseq_method: str = "INVITE",
    from_tag: str = "from-1",
    to_tag: str = "to-1",
    via: str = "192.0.2.10:5060",
    extra: Sequence[str] = (),
) -> bytes:
    """A response inside the same call."""
    lines = [
        f"SIP/2.0 {status} {reason}",
        f"Via: SIP/2.0/UDP {via};branch={branch};rport=5060;received=192.0.2.10",
        f"From: <sip:{caller}@192.0.2.10>;tag={from_tag}",
        f"To: <sip:{callee}@203.0.113.5>;tag={to_tag}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {cseq_method}",
        *extra,
        "Content-Length: 0",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def good_invites(count: int = 8) -> tuple[bytes, ...]:
    """INVITEs that each begin a call of their own, among them the awkward ones."""
    extras: list[Sequence[str]] = [
        (),
        ("User-Agent: " + "A" * 8_000,),
        ('P-Asserted-Identity: "Ann" <sip:+77000000009@192.0.2.10>, <tel:+77000000009>', "Privacy: id"),
        ("User-Agent: \udcd0\udcd0\udcff broken \udc80 bytes",),
        (
            "Subject: 100% \"quoted\" 'text' $(id) `id` ; DROP",
            "Diversion: <sip:+77000000008@192.0.2.10>;reason=no-answer",
        ),
        ("X-Folded: one\r\n two\r\n\tthree",),
        ("User-Agent: Абонент ☎",),
        ("Identity: " + "e" * 5_000 + ";info=<https://cert.example>",),
    ]
    return tuple(
        invite(
            caller=f"+7700000{at:04d}",
            callee=f"+7700001{at:04d}",
            call_id=f"good-{at}@192.0.2.10",
            branch=f"z9hG4bK-good-{at}",
            from_tag=f"good-{at}",
            extra=extras[at % len(extras)],
        )
        for at in range(count)
    )


def hostile_datagrams() -> tuple[bytes, ...]:
    """Datagrams on a SIP port that are no call and must end in quarantine."""
    whole = invite(call_id="hostile@192.0.2.66", branch="z9hG4bK-hostile")
    return (
        whole[:200],  # cut inside the headers
        whole[:-20],  # cut inside the body
        b"\xff\xfe\x00\x01 not SIP at all",
        b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
        b"*3\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n",
        whole.replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
        whole.replace(b"Max-Forwards: 70", b"Max-Forwards: seventy"),
        whole.replace(b"CSeq: 1 INVITE", b"CSeq: 99999999999999999999 INVITE"),
        whole.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        whole.replace(b"From: <", b'From: "never ends <sip:a@b> <'),
        whole.replace(b"Call-ID: hostile@192.0.2.66", b"Call-ID: one\rX-Injected: yes"),
        whole.replace(b"INVITE sip:", b"INVITE isbn:"),
        whole.replace(b"sip:+77000000001@", b"sip:" + b"9" * 400 + b"@"),
        whole.replace(b"Contact:", b"No Header At All\r\nContact:"),
        b"INVITE sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nX: " + b"y" * 60_000 + b"\r\n\r\n",
        b"INVITE " + b"sip:a@b " * 4_000 + b"SIP/2.0\r\n\r\n",
    )


def ethernet(payload: bytes, *, src: tuple[str, int], dst: tuple[str, int], vlan: int = 0) -> bytes:
    """An Ethernet frame with one UDP datagram over IPv4 or IPv6."""
    packet = ip_packet(17, udp(payload, src[1], dst[1]), src[0], dst[0])
    kind = b"\x86\xdd" if ":" in src[0] else b"\x08\x00"
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02" + tag + kind + packet


def udp(payload: bytes, sport: int, dport: int) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", sport, dport, (len(payload) + 8) & 0xFFFF, 0) + payload


def tcp(payload: bytes, sport: int, dport: int, seq: int, flags: int = 0x18) -> bytes:
    """A TCP segment without options and checksum."""
    return struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, 0, 0x50, flags, 65_535, 0, 0) + payload


def ip_packet(protocol: int, body: bytes, src: str, dst: str, *, ident: int = 1, fragment: int = 0) -> bytes:
    """An IPv4 or IPv6 packet; ``fragment`` is IPv4's flags and offset field."""
    source, target = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if source.version == 6:
        return struct.pack("!IHBB", 0x60000000, len(body), protocol, 64) + source.packed + target.packed + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, 64, protocol, 0)
    return head + source.packed + target.packed + body


def pcap(frames: Iterable[tuple[float, bytes]], *, linktype: int = 1, snaplen: int = 262_144) -> bytes:
    """A capture file in the classic format, microseconds, little-endian."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)]
    for ts, frame in frames:
        kept = frame[:snaplen]
        seconds, micros = divmod(round(ts * 1e6), 1_000_000)
        out.append(struct.pack("<IIII", seconds, micros, len(kept), len(frame)) + kept)
    return b"".join(out)


def pcapng(frames: Iterable[tuple[float, bytes]], *, linktype: int = 1) -> bytes:
    """The same in pcapng, one interface."""

    def block(kind: int, body: bytes) -> bytes:
        body += b"\x00" * (-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    out = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), block(1, struct.pack("<HHI", linktype, 0, 0))]
    for ts, frame in frames:
        ticks = round(ts * 1e6)
        head = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        out.append(block(6, head + frame))
    return b"".join(out)
