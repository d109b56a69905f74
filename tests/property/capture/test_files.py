"""Captures of arbitrary bytes: what can be read is read, the rest is told, nothing raises."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import CallEvent, Quarantined, UsageError, check_event
from sip_adapters.capture import READER, Frames, read_frames
from sip_adapters.conformance import ethernet, good_invites, ip_packet, mutated, pcap, pcapng, tcp

A, B = ("192.0.2.10", 5060), ("203.0.113.5", 5060)
TS = 1_732_338_000.0


def drain(path: Path, data: bytes) -> list[CallEvent | Quarantined]:
    path.write_bytes(data)
    try:
        items = list(READER.read(path, {}))
    except UsageError:
        return []
    for item in items:
        if isinstance(item, CallEvent):
            check_event(item)
    return items


def seeds() -> list[bytes]:
    invites = good_invites()
    frames = [(TS + at, ethernet(data, src=A, dst=B)) for at, data in enumerate(invites[:3])]
    segments = [
        (TS + at, b"\x02" * 12 + b"\x08\x00" + ip_packet(6, tcp(invites[0][at : at + 90], 4000, 5060, at), A[0], B[0]))
        for at in range(0, 500, 90)
    ]
    return [pcap(frames), pcapng(frames), pcap(segments), pcapng(segments)]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files(tmp_path: Path, seed: int) -> None:
    for data in mutated([seeds()[seed]], 150, seed=seed):
        drain(tmp_path / "x.pcap", data)


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_after_a_sound_header(data: bytes) -> None:
    for head in (pcap([]), pcapng([])):
        for _linktype, frame, _ts in read_frames(io.BytesIO(head + data), "x"):
            assert isinstance(frame, bytes | Quarantined)


@given(st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 9999]), st.lists(st.binary(max_size=120), max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_frames(linktype: int, frames: list[bytes]) -> None:
    decoder = Frames()
    for frame in frames:
        decoder.decode(linktype, frame)
        decoder.decode(101, b"\x45" + frame)
        decoder.decode(101, b"\x60" + frame)


@given(st.lists(st.tuples(st.integers(0, 8191), st.booleans(), st.binary(max_size=64)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_fragments(pieces: list[tuple[int, bool, bytes]]) -> None:
    decoder = Frames()
    for offset, more, body in pieces:
        packet = ip_packet(17, body, A[0], B[0], fragment=offset | (0x2000 if more else 0))
        found = decoder.decode(101, packet)
        assert found is None or len(found.payload) <= 65_535
