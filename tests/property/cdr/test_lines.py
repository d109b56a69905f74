"""Any line gives events, quarantine or nothing; any writing and rotating of a file gives every line once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import Quarantined, check_event
from antifraud.queues import decode_event, encode_event
from sip_adapters.cdr import Position, Rows, Tail, find_mapping, load_mapping

GENERIC = Rows(load_mapping(find_mapping("generic")), b"call_id,caller,callee,start,answer,end,duration,billsec,cause")
ASTERISK = Rows(load_mapping(find_mapping("asterisk")))
PIECES = (
    "", "+77000000001", "2024-11-23T10:00:00", "2024-11-23 10:00:00", "0", "-1", "1e9", "nan", '"', '""', "\x00",
)  # fmt: skip
CELL = st.one_of(st.sampled_from(PIECES), st.text(max_size=20))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(CELL, max_size=20).map(lambda cells: ",".join(cells).encode("utf-8", "replace")),
    )
)
@settings(max_examples=600, deadline=None)
def test_any_line(line: bytes) -> None:
    for rows in (GENERIC, ASTERISK):
        found = rows.events(line)
        if isinstance(found, Quarantined):
            assert found.raw.isascii()
            assert found.detail.isprintable()
        for event in found if isinstance(found, list) else []:
            assert check_event(event) == event
            wire = {name.encode(): value.encode() for name, value in encode_event(event).items()}
            assert decode_event(wire) == event


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("partial"), st.just(0)),
        st.tuples(st.just("rename"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_every_line_comes_once_however_the_file_is_treated(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "Master.csv"
        path.touch()
        written: list[bytes] = []
        pending = b""
        seen: list[bytes] = []
        rotations = 0
        kept: Position | None = None
        tail = Tail(path)

        def read(polls: int, most: int) -> None:
            nonlocal kept
            for _ in range(polls):
                chunk = tail.poll(most)
                seen.extend(chunk.lines)
                kept = chunk.position or kept

        def write(data: bytes) -> None:
            with path.open("ab") as file:
                file.write(data)

        for what, number in steps:
            if what == "write":
                for _ in range(number):
                    line = pending + f"line {len(written)}".encode()
                    write(line[len(pending) :] + b"\n")
                    written.append(line)
                    pending = b""
            elif what == "partial" and not pending:
                pending = b"half a "
                write(pending)
            elif what == "rename" and not pending and path.stat().st_size:
                read(6, 512)  # several rotations between two looks are the subject of test_follow
                rotations += 1
                path.rename(path.with_name(f"Master.csv.{rotations}"))
                path.touch()
            elif what == "read":
                read(1, number)
            elif what == "restart":
                tail.close()
                tail = Tail(path, kept)
        if pending:
            write(b"end\n")
            written.append(pending + b"end")
        read(60, 512)
        tail.close()
        assert seen == written
