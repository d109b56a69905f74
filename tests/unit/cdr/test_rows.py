"""Rows to events: times, zones, durations, causes, and rows that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import CallEvent, EventKind, Quarantined, UsageError
from sip_adapters.cdr import READER, Rows, find_mapping, load_mapping

START = 1_732_338_000.0  # 2024-11-23 05:00:00 UTC, 10:00:00 in Almaty

ASTERISK = (
    '"","+77000000001","+77000000002","ctx","""Ann, ""A"""" <+77000000001>","SIP/a-1","SIP/b-2","Dial","SIP/b",'
    '"2024-11-23 10:00:00","{answer}","2024-11-23 10:01:05",65,{talk},"{word}","DOCUMENTATION"{tail}'
)


def asterisk(
    answer: str = "2024-11-23 10:00:05", talk: int = 60, word: str = "ANSWERED", tail: str = ',"u.1",""'
) -> bytes:
    return ASTERISK.format(answer=answer, talk=talk, word=word, tail=tail).encode()


def convert(mapping: str, line: bytes, header: bytes | None = None) -> list[CallEvent]:
    found = Rows(load_mapping(find_mapping(mapping)), header).events(line)
    assert isinstance(found, list), found
    return found


def custom(tmp_path: Path, text: str) -> Rows:
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\nformat: {header: false}\ncolumns: [a, b, s, x, y, z]\nfields: {caller_raw: a, callee_raw: b}\n"
        + text
    )
    return Rows(load_mapping(path))


def shape(events: list[CallEvent] | Quarantined | None) -> list[tuple[str, float]]:
    assert isinstance(events, list), events
    return [(event.kind.value, event.ts - START) for event in events]


def code(found: list[CallEvent] | Quarantined | None) -> str:
    assert isinstance(found, Quarantined), found
    return found.code


def test_a_complete_record_becomes_three_events() -> None:
    setup, answer, release = convert("asterisk", asterisk())
    assert [setup.ts - START, answer.ts - START, release.ts - START] == [0.0, 5.0, 65.0]
    assert (setup.kind, answer.kind, release.kind) == (EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE)
    assert (release.ring_s, release.talk_s, release.cause) == (5.0, 60.0, 16)
    assert {(e.call_id, e.caller_raw, e.callee_raw, e.switch, e.source) for e in (setup, answer, release)} == {
        ("u.1", "+77000000001", "+77000000002", "asterisk", "cdr")
    }


@pytest.mark.parametrize(("word", "cause"), [("NO ANSWER", 19), ("busy", 17), ("FAILED", 41), ("UNHEARD OF", None)])
def test_a_call_that_was_not_answered(word: str, cause: int | None) -> None:
    setup, release = convert("asterisk", asterisk(answer="", talk=0, word=word))
    assert (release.ts - setup.ts, release.ring_s, release.talk_s, release.cause) == (65.0, 65.0, 0.0, cause)


def test_without_a_unique_id_a_record_is_known_by_its_content() -> None:
    one = convert("asterisk", asterisk(tail=""))[0].call_id
    assert one == convert("asterisk", asterisk(tail="") + b"\r\n")[0].call_id
    assert one != convert("asterisk", asterisk(tail="", talk=59))[0].call_id
    assert one.startswith("cdr-")


def test_columns_by_the_files_own_header() -> None:
    header = b"\xef\xbb\xbfend, start ,callee,caller,more"
    line = b"2024-11-23T05:01:00Z,2024-11-23T05:00:00+00:00,+77000000002,+77000000001,x"
    assert shape(convert("generic", line, header)) == [("setup", 0.0), ("release", 60.0)]


def test_a_header_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="no column callee, start"):
        Rows(load_mapping(find_mapping("generic")), b"caller,called,begin")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("times: {format: epoch, setup: s, release: 'x?'}\n", "1,2,1732338000.5,1732338001", [0.5, 1.0]),
        ("times: {format: epoch_ms, setup: s}\n", "1,2,1732338000500", [0.5]),
        ("times: {format: '%d/%m/%y %H.%M', zone: '+05:00', setup: s}\n", "1,2,23/11/24 10.00", [0.0]),
        ("times: {format: iso, zone: Asia/Almaty, setup: s}\n", "1,2,2024-11-23 10:00:00", [0.0]),
        ("times: {format: iso, zone: Asia/Almaty, setup: s}\n", "1,2,2024-11-23T05:00:00Z", [0.0]),
        ("times: {format: epoch, setup: s}\ndurations: {unit: ms, ring: x, talk: y}\n",
         "1,2,1732338000,5000,60000", [0.0, 5.0, 65.0]),
        ("times: {format: epoch, setup: s}\ndurations: {total: x, talk: y}\n", "1,2,1732338000,65,60",
         [0.0, 5.0, 65.0]),
        ("times: {format: epoch, setup: s}\ndurations: {total: x, talk: y}\n", "1,2,1732338000,65,0", [0.0, 65.0]),
        ("times: {format: epoch, setup: s}\ndurations: {unit: hms, total: x}\n", "1,2,1732338000,01:02:03",
         [0.0, 3723.0]),
        ("times: {format: epoch, setup: s, answer: x, release: y}\n", "1,2,1732338001,1732338000,1732338009",
         [1.0, 1.0, 9.0]),
        ("times: {format: iso, setup: s, answer: 'x?'}\n", "1,2,2024-11-23T05:00:00,0000-00-00 00:00:00", [0.0]),
    ],
)  # fmt: skip
def test_times_and_durations(tmp_path: Path, text: str, line: str, expected: list[float]) -> None:
    found = custom(tmp_path, text).events(line.encode() + b",,,"[: max(0, 5 - line.count(","))])
    assert [ts for _, ts in shape(found)] == expected


@pytest.mark.parametrize(
    ("kind", "value", "cause"), [("q850", "17", 17), ("sip", "486", 17), ("sip", "200", 16), ("sip", "180", None)]
)
def test_causes(tmp_path: Path, kind: str, value: str, cause: int | None) -> None:
    rows = custom(tmp_path, f"times: {{format: epoch, setup: s, release: x}}\ncause: {{column: 'y?', kind: {kind}}}\n")
    found = rows.events(f"1,2,1732338000,1732338009,{value},".encode())
    assert isinstance(found, list)
    assert found[-1].cause == cause


@pytest.mark.parametrize(
    ("unit", "cell", "delay"), [("s", "3.25", 3.25), ("ms", "3250", 3.25), ("hms", "00:00:04", 4.0), ("s", "", None)]
)
def test_the_post_dial_delay(tmp_path: Path, unit: str, cell: str, delay: float | None) -> None:
    rows = custom(tmp_path, f"times: {{format: epoch, setup: s, release: x}}\ndurations: {{unit: {unit}, pdd: 'y?'}}\n")
    setup, release = convert_one(rows, f"1,2,1732338000,1732338009,{cell},".encode())
    assert (setup.pdd_s, release.pdd_s) == (None, delay)
    assert release.ring_s == 9.0


@pytest.mark.parametrize(
    ("cell", "said"), [("-1", "duration-garbled"), ("long", "duration-garbled"), ("1e9", "duration-absurd")]
)
def test_a_post_dial_delay_that_is_none(tmp_path: Path, cell: str, said: str) -> None:
    rows = custom(tmp_path, "times: {format: epoch, setup: s, release: x}\ndurations: {pdd: 'y?'}\n")
    assert code(rows.events(f"1,2,1732338000,1732338009,{cell},".encode())) == said


def test_the_generic_mapping_takes_a_column_pdd_s() -> None:
    header = b"caller,callee,start,end,pdd_s"
    line = b"+77000000001,+77000000002,2024-11-23T05:00:00Z,2024-11-23T05:01:00Z,2.5"
    assert convert("generic", line, header)[-1].pdd_s == 2.5


EPOCH = "times: {format: epoch, setup: s, answer: 'x?', release: 'y?'}\ndurations: {talk: 'z?'}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1,2", "columns-missing"),
        (b"1,,1732338000,,,", "value-missing"),
        (b"1,2,,,,", "time-missing"),
        (b"1,2,0,,,", "time-missing"),
        (b"1,2,soon,,,", "time-garbled"),
        (b"1,2,nan,,,", "time-garbled"),
        (b"1,2,1e400,,,", "time-garbled"),
        (b"1,2,1000,,,", "ts-absurd"),
        (b"1,2,9999999999,,,", "ts-absurd"),
        (b"1,2,1732338000,1732337000,,", "times-inconsistent"),
        (b"1,2,1732338000,,1732337000,", "times-inconsistent"),
        (b"1,2,1732338000,,,60", "times-inconsistent"),
        (b"1,2,1732338000,,,-60", "duration-garbled"),
        (b"1,2,1732338000,,1832338000,", "duration-absurd"),
        (b'1,"2,1732338000,,,', "quote-unbalanced"),
        (b'1,"2"x,1732338000,,,', "csv-garbled"),
        (b"9" * 300 + b",2,1732338000,,,", "field-too-long"),
        (b"1,2,1732338000,,," + b" " * 66_000, "line-too-long"),
    ],
)
def test_rows_that_cannot_be_meant(tmp_path: Path, line: bytes, expected: str) -> None:
    assert code(custom(tmp_path, EPOCH).events(line)) == expected


def test_an_anonymous_caller_is_a_caller(tmp_path: Path) -> None:
    (event,) = convert_one(custom(tmp_path, EPOCH), b",2,1732338000,,,")
    assert event.caller_raw == ""


def convert_one(rows: Rows, line: bytes) -> list[CallEvent]:
    found = rows.events(line)
    assert isinstance(found, list), found
    return found


def test_bad_bytes_and_nuls_cost_no_call(tmp_path: Path) -> None:
    (event,) = convert_one(custom(tmp_path, EPOCH), b"\xff\x00\x1b[31m,2,1732338000,,,")
    assert event.caller_raw.isprintable()
    assert event.caller_raw.endswith("[31m")


def test_the_reader_puts_events_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        "caller,callee,start,end\n1,2,2024-11-23T05:00:10,2024-11-23T05:00:20\n3,4,2024-11-23T05:00:00,2024-11-23T05:01:00\n"
    )
    events = [item for item in READER.read(path, {"mapping": "", "config_dir": ""}) if isinstance(item, CallEvent)]
    assert [(event.kind.value, event.ts - START) for event in events] == [
        ("setup", 0.0), ("setup", 10.0), ("release", 20.0), ("release", 60.0),
    ]  # fmt: skip


def test_the_reader_takes_the_mapping_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "Master.csv"
    path.write_bytes(b"broken line\n" + asterisk() + b"\n")
    items = list(READER.read(path, {}))
    assert [type(item) for item in items].count(CallEvent) == 3
    path.write_bytes(b"a,b,c\n1,2,3\n")
    with pytest.raises(UsageError) as caught:
        list(READER.read(path, {}))
    assert "there are asterisk, generic" in caught.value.render()


def test_lines_of_a_megabyte_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "Master.csv"
    path.write_bytes(b"x" * 1_000_000 + b"\n" + asterisk() + b"\n" + b"y" * 1_000_000)
    items = list(READER.read(path, {"mapping": "asterisk"}))
    assert [item.code for item in items if isinstance(item, Quarantined)] == ["line-too-long"] * 2
    assert [type(item) for item in items].count(CallEvent) == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        list(READER.read(tmp_path / "nothing.csv", {"mapping": "generic"}))
