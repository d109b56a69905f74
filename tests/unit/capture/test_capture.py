"""Captures to events: link layers, fragments, TCP, calls and their repeats, damaged files."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from antifraud.domain import CallEvent, EventKind, Quarantined, UsageError
from sip_adapters.capture import READER
from sip_adapters.conformance import ethernet, invite, ip_packet, pcap, pcapng, request, response, tcp, udp

A = ("192.0.2.10", 5060)
B = ("203.0.113.5", 5060)
TS = 1_732_338_000.0
Items = list[CallEvent | Quarantined]


def read(path: Path, data: bytes, **options: object) -> Items:
    path.write_bytes(data)
    return list(READER.read(path, options))


@pytest.fixture
def wire(tmp_path: Path) -> Path:
    return tmp_path / "wire.pcap"


def talk(*messages: tuple[float, bytes]) -> bytes:
    """A capture of ``messages``; responses and what B says travel from B to A."""
    frames = []
    for at, data in messages:
        from_b = data.startswith(b"SIP/2.0")
        frames.append((TS + at, ethernet(data, src=B if from_b else A, dst=A if from_b else B)))
    return pcap(frames)


def shape(items: Items) -> list[tuple[str, float]]:
    return [(item.kind.value, round(item.ts - TS, 3)) for item in items if isinstance(item, CallEvent)]


def releases(items: Items) -> list[tuple[float | None, float | None, int | None]]:
    return [
        (item.ring_s, item.talk_s, item.cause)
        for item in items
        if isinstance(item, CallEvent) and item.kind is EventKind.RELEASE
    ]


def test_a_call_that_is_answered(wire: Path) -> None:
    items = read(
        wire,
        talk(
            (0, invite()), (0.1, response(100)), (1, response(180)), (4, response(200)),
            (4.1, request("ACK", to_tag="to-1", branch="z9hG4bKack")),
            (34, request("BYE", to_tag="to-1", branch="z9hG4bKbye", cseq=2)), (34.1, response(200, cseq_method="BYE")),
        ),
        switch="tap-1", trunk="intl-1",
    )  # fmt: skip
    assert shape(items) == [("setup", 0), ("answer", 4), ("release", 34)]
    assert releases(items) == [(3.0, 30.0, 16)]
    assert {(e.switch, e.trunk, e.source, e.transport) for e in items if isinstance(e, CallEvent)} == {
        ("tap-1", "intl-1", "capture", "udp")
    }


def test_the_callee_hangs_up_and_says_why(wire: Path) -> None:
    bye = request(
        "BYE", caller="+77000000002", callee="+77000000001", from_tag="to-1", to_tag="from-1", branch="z9hG4bKb",
        via="203.0.113.5", extra=["Reason: Q.850;cause=31"],
    )  # fmt: skip
    items = read(wire, talk((0, invite()), (2, response(200)), (5, bye), (5.5, bye)))
    assert shape(items) == [("setup", 0), ("answer", 2), ("release", 5)]
    assert releases(items) == [(2.0, 3.0, 31)]


@pytest.mark.parametrize(("status", "cause"), [(486, 17), (404, 1), (503, 41), (603, 21), (608, 21)])
def test_a_call_that_fails(wire: Path, status: int, cause: int) -> None:
    items = read(wire, talk((0, invite()), (3, response(180)), (9, response(status)), (9.5, response(status))))
    assert shape(items) == [("setup", 0), ("release", 9)]
    assert releases(items) == [(6.0, 0.0, cause)]


@pytest.mark.parametrize(
    ("messages", "delay"),
    [
        ([(0.1, response(100)), (2.5, response(180)), (4, response(183)), (9, response(486))], 2.5),
        ([(1.5, response(183)), (4, response(180)), (9, response(486))], 1.5),
        ([(1.2, response(181)), (4, response(180)), (9, response(486))], 1.2),
        ([(0.1, response(100)), (3, response(404))], 3.0),
        ([(0.1, response(100)), (5, request("CANCEL")), (5.1, response(487))], None),
        ([(2, response(407)), (3, invite(cseq=2, branch="z9hG4bK-2")),
          (7, response(180, cseq=2, branch="z9hG4bK-2")), (9, response(486, cseq=2, branch="z9hG4bK-2"))], 7.0),
        ([(0.1, response(100)), (3.5, response(200)),
          (9, request("BYE", to_tag="to-1", branch="z9hG4bKb", cseq=2))], 3.5),
    ],
)  # fmt: skip
def test_the_post_dial_delay(wire: Path, messages: Sequence[tuple[float, bytes]], delay: float | None) -> None:
    events = [item for item in read(wire, talk((0, invite()), *messages)) if isinstance(item, CallEvent)]
    assert [event.pdd_s for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1].kind is EventKind.RELEASE
    assert events[-1].pdd_s == delay


def test_a_call_that_its_caller_gives_up(wire: Path) -> None:
    items = read(
        wire,
        talk((0, invite()), (1, response(180)), (3, request("CANCEL")), (3.1, response(200, cseq_method="CANCEL")),
             (3.2, response(487))),
    )  # fmt: skip
    assert shape(items) == [("setup", 0), ("release", 3)]
    assert releases(items) == [(2.0, 0.0, 16)]


def test_repeats_credentials_and_re_invites_are_one_call(wire: Path) -> None:
    items = read(
        wire,
        talk(
            (0, invite()), (0.5, invite()), (1.5, invite()), (2, response(407)),
            (30, invite(cseq=2, branch="z9hG4bK-2")), (30.1, response(407)),
            (31, response(200, cseq=2, branch="z9hG4bK-2")),
            (40, invite(cseq=3, branch="z9hG4bK-3", to_tag="to-1")),
            (40.1, response(488, cseq=3, branch="z9hG4bK-3")),
            (41, invite(caller="+77000000002", cseq=1, branch="z9hG4bK-4", from_tag="to-1", to_tag="from-1")),
        ),
    )  # fmt: skip
    assert shape(items) == [("setup", 0), ("answer", 31)]
    assert all(isinstance(item, CallEvent) for item in items)


def test_a_redial_with_the_same_call_id_is_a_call_of_its_own(wire: Path) -> None:
    items = read(
        wire,
        talk((0, invite()), (1, response(486)), (1.1, invite()), (9, invite(cseq=2, branch="z9hG4bK-2"))),
    )  # fmt: skip
    setups = [item.call_id for item in items if isinstance(item, CallEvent) and item.kind is EventKind.SETUP]
    assert setups == ["sample-1@192.0.2.10", "sample-1@192.0.2.10~2"]


def test_two_callers_with_one_call_id_stay_apart(wire: Path) -> None:
    other = invite(caller="+77000000666", from_tag="thief", branch="z9hG4bK-t")
    items = read(wire, talk((0, invite()), (1, other), (2, response(486, from_tag="thief", branch="z9hG4bK-t"))))
    assert shape(items) == [("setup", 0), ("setup", 1), ("release", 2)]
    ids = [item.call_id for item in items if isinstance(item, CallEvent)]
    assert ids[0] != ids[1] == ids[2]


def test_the_far_side_of_a_proxy_does_not_speak_for_the_call(wire: Path) -> None:
    far = {"via": "198.51.100.9:5060", "branch": "z9hG4bK-far"}
    items = read(
        wire,
        talk((0, invite()), (0.1, invite(**far)), (1, response(486, **far)), (1.1, request("CANCEL", **far)),  # type: ignore[arg-type]
             (2, response(200))),
    )  # fmt: skip
    assert shape(items) == [("setup", 0), ("answer", 2)]


def test_cancel_after_the_answer_is_too_late(wire: Path) -> None:
    items = read(wire, talk((0, invite()), (1, response(200)), (1.1, request("CANCEL"))))
    assert shape(items) == [("setup", 0), ("answer", 1)]


def test_a_dialogue_that_began_before_the_capture(wire: Path) -> None:
    (item,) = read(wire, talk((0, invite(to_tag="to-1")), (1, request("BYE", to_tag="to-1"))))
    assert isinstance(item, Quarantined)
    assert item.code == "dialog-unknown"


IPV4 = ip_packet(17, udp(invite(), 5060, 5060), "192.0.2.10", "203.0.113.5")
IPV6 = ip_packet(17, udp(invite(), 5060, 5060), "2001:db8::1", "2001:db8::2")


@pytest.mark.parametrize(
    ("linktype", "frame", "src"),
    [
        (1, ethernet(invite(), src=A, dst=B), "192.0.2.10"),
        (1, ethernet(invite(), src=A, dst=B, vlan=7), "192.0.2.10"),
        (1, ethernet(invite(), src=("2001:db8::1", 5060), dst=("2001:db8::2", 5060)), "2001:db8::1"),
        (1, b"\x02" * 12 + b"\x88\xa8\x00\x01\x81\x00\x00\x02\x08\x00" + IPV4, "192.0.2.10"),
        (101, IPV4, "192.0.2.10"),
        (101, IPV6, "2001:db8::1"),
        (228, IPV4, "192.0.2.10"),
        (0, b"\x02\x00\x00\x00" + IPV4, "192.0.2.10"),
        (113, b"\x00" * 14 + b"\x08\x00" + IPV4, "192.0.2.10"),
        (276, b"\x86\xdd" + b"\x00" * 18 + IPV6, "2001:db8::1"),
    ],
)
@pytest.mark.parametrize("write", [pcap, pcapng])
def test_link_layers(wire: Path, write: object, linktype: int, frame: bytes, src: str) -> None:
    data = pcap([(TS, frame)], linktype=linktype) if write is pcap else pcapng([(TS, frame)], linktype=linktype)
    (event,) = read(wire, data)
    assert isinstance(event, CallEvent)
    assert (event.src_ip, event.ts) == (src, TS)


def test_an_odd_port_is_no_hiding_place(wire: Path) -> None:
    frames = [(TS, ethernet(invite(), src=("192.0.2.10", 33_333), dst=("203.0.113.5", 44_444)))]
    assert shape(read(wire, pcap(frames))) == [("setup", 0)]


def test_what_is_not_sip_is_passed_over(wire: Path) -> None:
    others = [b"\x80\x00" + b"r" * 160, b"\r\n\r\n", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"s" * 12]
    frames = [(TS, ethernet(others[0], src=(A[0], 40_000), dst=(B[0], 40_002)))]
    frames += [(TS, ethernet(data, src=A, dst=B)) for data in others[1:]]
    frames += [(TS, b"short"), (TS, b"\x02" * 12 + b"\x08\x06" + b"arp" * 10)]
    assert read(wire, pcap(frames)) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_ip_fragments_in_any_order(wire: Path, order: Sequence[int]) -> None:
    whole = udp(invite(extra=["User-Agent: " + "A" * 3_000]), 5060, 5060)
    pieces = [whole[:1480], whole[1480:2960], whole[2960:]]
    packets = [
        ip_packet(17, piece, A[0], B[0], ident=9, fragment=(at * 1480 // 8) | (0x2000 if at < 2 else 0))
        for at, piece in enumerate(pieces)
    ]
    assert shape(read(wire, pcap([(TS, packets[at]) for at in order], linktype=101))) == [("setup", 0)]
    assert read(wire, pcap([(TS, packets[at]) for at in order[:2]], linktype=101)) == []


def test_ipv6_fragments_and_extension_headers(wire: Path) -> None:
    whole = udp(invite(), 5060, 5060)
    first = struct.pack("!BBHI", 17, 0, 1, 77) + whole[:320]
    second = struct.pack("!BBHI", 17, 0, 320, 77) + whole[320:]
    hop = struct.pack("!BB6x", 44, 0)
    packets = [ip_packet(0, hop + piece, "2001:db8::1", "2001:db8::2") for piece in (first, second)]
    assert shape(read(wire, pcap([(TS, packet) for packet in packets], linktype=101))) == [("setup", 0)]


def segments(stream: bytes, size: int, start: int = 1000) -> list[bytes]:
    return [
        ip_packet(6, tcp(stream[at : at + size], 40_000, 5060, start + at), A[0], B[0])
        for at in range(0, len(stream), size)
    ]


@pytest.mark.parametrize("start", [1000, 2**32 - 500])
def test_tcp_in_pieces_out_of_order_and_sent_again(wire: Path, start: int) -> None:
    stream = invite(call_id="t1") + b"\r\n\r\n" + invite(call_id="t2", branch="z9hG4bK-t2", from_tag="t2")
    packets = segments(stream, 100, start)
    packets[2], packets[5] = packets[5], packets[2]
    packets.insert(4, packets[1])
    items = read(wire, pcap([(TS, packet) for packet in packets], linktype=101))
    assert [item.call_id for item in items if isinstance(item, CallEvent)] == ["t1", "t2"]
    assert {item.transport for item in items if isinstance(item, CallEvent)} == {"tcp"}


def test_a_gap_in_tcp_costs_one_message_and_is_told(wire: Path) -> None:
    messages = [invite(call_id=f"t{at}", branch=f"z9hG4bK-t{at}", from_tag=f"t{at}") for at in range(80)]
    at, packets = 0, []
    for number, message in enumerate(messages):
        if number != 1:
            packets.append(ip_packet(6, tcp(message, 40_000, 5060, 1000 + at), A[0], B[0]))
        at += len(message)
    items = read(wire, pcap([(TS, packet) for packet in packets], linktype=101))
    assert [item.call_id for item in items if isinstance(item, CallEvent)] == [f"t{n}" for n in range(80) if n != 1]


def test_tcp_that_ends_inside_a_message_is_told(wire: Path) -> None:
    items = read(wire, pcap([(TS, packet) for packet in segments(invite(), 100)[:2]], linktype=101))
    assert [item.code for item in items if isinstance(item, Quarantined)] == ["stream-cut"]


def test_a_snap_length_that_cuts_the_body_keeps_the_call(wire: Path) -> None:
    frame = ethernet(invite(), src=A, dst=B)
    items = read(wire, pcap([(TS, frame)], snaplen=len(frame) - 30))
    assert shape(items) == [("setup", 0)]
    (item,) = read(wire, pcap([(TS, frame)], snaplen=200))
    assert isinstance(item, Quarantined)
    assert item.code == "cut-packet"


@pytest.mark.parametrize("write", [pcap, pcapng])
def test_a_file_cut_anywhere_gives_what_could_be_read(wire: Path, write: object) -> None:
    frames = [(TS + at, ethernet(invite(call_id=f"c{at}", from_tag=f"c{at}"), src=A, dst=B)) for at in range(3)]
    whole = pcap(frames) if write is pcap else pcapng(frames)
    complete = read(wire, whole)
    assert len(complete) == 3
    for end in range(len(whole) - 1, 60, -97):
        items = read(wire, whole[:end])
        events = [item for item in items if isinstance(item, CallEvent)]
        codes = [item.code for item in items if isinstance(item, Quarantined)]
        assert [event.call_id for event in events] == ["c0", "c1", "c2"][: len(events)]
        assert all(event in complete or event.fingerprint == "" for event in events)
        assert codes in (["capture-truncated"], ["cut-packet", "capture-truncated"], []), end
        if not codes:  # cut exactly between two records
            assert len(events) < 3


def test_a_packet_that_claims_gigabytes(wire: Path) -> None:
    data = pcap([(TS, ethernet(invite(), src=A, dst=B))])
    lying = data + struct.pack("<IIII", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0) + b"x"
    items = read(wire, lying)
    assert shape(items) == [("setup", 0)]
    assert isinstance(items[-1], Quarantined)
    assert items[-1].code == "capture-truncated"


def test_absurd_times_are_quarantined(wire: Path) -> None:
    (item,) = read(wire, pcap([(5.0, ethernet(invite(), src=A, dst=B))]))
    assert isinstance(item, Quarantined)
    assert item.code == "ts-absurd"


def test_gzipped_captures(tmp_path: Path) -> None:
    path = tmp_path / "wire.pcap.gz"
    path.write_bytes(gzip.compress(talk((0, invite()))))
    assert READER.recognises(path, path.read_bytes()[:4096])
    assert shape(list(READER.read(path, {"mapping": "", "config_dir": "x"}))) == [("setup", 0)]


@pytest.mark.parametrize("data", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1short"])
def test_no_capture(wire: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="no capture"):
        read(wire, data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        list(READER.read(tmp_path / "nothing.pcap", {}))


@pytest.mark.needs("shared_data")
def test_real_calls(shared_data: Path) -> None:
    """tshark shows 11 INVITEs under four Call-IDs, one From tag each: three re-sends, then CANCEL; 3 + 1, 1 + 1 and
    1 + 1 with 407 between them (frames 223-274, 321-349, 548-582, 602-622). So four calls."""
    items = list(READER.read(shared_data / "pcap" / "sip-calls.pcap", {}))
    assert all(isinstance(item, CallEvent) for item in items)
    events = [item for item in items if isinstance(item, CallEvent)]
    setups = [event for event in events if event.kind is EventKind.SETUP]
    assert [event.call_id.partition("-")[0] for event in setups] == ["105090259", "85216695", "24487391", "11894297"]
    assert [(e.caller_raw, e.callee_raw) for e in setups] == [
        ("816666", "97239287044"), ("voi18062", "0097239287044"), ("35104723", "0097239287044"),
        ("35104723", "35104724"),
    ]  # fmt: skip
    ends = [event for event in events if event.kind is EventKind.RELEASE]
    assert [event.cause for event in ends] == [16, 21, 21, 21]  # the last by its Reason header


@pytest.mark.needs("shared_data")
def test_a_real_call_with_a_badly_quoted_name(shared_data: Path) -> None:
    items = list(READER.read(shared_data / "pcap" / "sip-sdp.pcap", {}))
    assert [item.kind.value for item in items if isinstance(item, CallEvent)] == ["setup", "answer"]


@pytest.mark.needs("shared_data")
def test_real_tcp_without_calls(shared_data: Path) -> None:
    assert list(READER.read(shared_data / "pcap" / "sip-tcp.pcap", {})) == []
