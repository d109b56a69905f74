"""The conformance suite over every adapter and reader, and the shape of what the entry points offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from antifraud.domain import CallEvent, Quarantined
from sip_adapters import capture, cdr, redirect
from sip_adapters.conformance import CHECKS, Items, Subject, ethernet, good_invites, hostile_datagrams, pcap

HEADER = b"call_id,caller,callee,start,answer,end,cause\n"
_ANSWERS = ("2024-11-23T10:01:00", "", '"2024-11-23T10:02:00"', "")
GOOD_LINES = (
    *(
        f"cdr-{at},+7700000{at:04d},+7700001{at:04d},2024-11-23T10:00:{at:02d},{answer},2024-11-23T10:05:00,16".encode()
        for at, answer in enumerate(_ANSWERS)
    ),
    b'"quoted, id",+77000000011,+77000010011,2024-11-23T10:00:11,,2024-11-23T10:05:00,16',
    b"nul\x00id,+77000000012,+77000010012,2024-11-23T10:00:12,,,",
    b"\xff\xfe,+77000000013,BANK \xd0\x90,2024-11-23T10:00:13,,,",
    b"x" * 300 + b",+77000000014,+77000010014,2024-11-23T10:00:14,,,",
)
BAD_LINES = (
    b"only,three,columns",
    b"id,+77000000001,,2024-11-23T10:00:00,,,",
    b"id,+77000000001,+77000000002,yesterday,,,",
    b"id,+77000000001,+77000000002,,,,",
    b"id,+77000000001,+77000000002,1970-01-01T00:00:01,,,",
    b"id,+77000000001,+77000000002,2024-11-23T10:00:00,,2024-11-23T09:00:00,",
    b"id,+77000000001,+77000000002,2024-11-23T10:00:00,,2024-11-23T10:01:00,999",
    b'id,"never ends,+77000000002,2024-11-23T10:00:00,,,',
    b"id," + b"9" * 300 + b",+77000000002,2024-11-23T10:00:00,,,",
    b"y" * 70_000,
)


def feed_redirect(inputs: Sequence[bytes]) -> Items:
    server = redirect.Redirect(redirect.read_options({}), secret=b"test", reply="af:{kz}:reply:test")
    items: Items = []
    for at, data in enumerate(inputs):
        for action in server.receive(data, ("192.0.2.10", 5060), now=at * 0.001, ts=1_732_338_000.0 + at):
            match action:
                case redirect.Ask(event) | redirect.Record(event):
                    items.append(event)
                case redirect.Put(item):
                    items.append(item)
    return items


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    def feed_capture(inputs: Sequence[bytes]) -> Items:
        frames = [
            (1_732_338_000.0 + at, ethernet(data, src=("192.0.2.10", 5060), dst=("203.0.113.5", 5060)))
            for at, data in enumerate(inputs)
        ]
        path = tmp_path / "calls.pcap"
        path.write_bytes(pcap(frames))
        return list(capture.READER.read(path, {}))

    def feed_cdr(inputs: Sequence[bytes]) -> Items:
        path = tmp_path / "calls.csv"
        path.write_bytes(HEADER + b"".join(line.replace(b"\n", b" ") + b"\n" for line in inputs))
        return list(cdr.READER.read(path, {"mapping": "generic"}))

    keepalives = (b"\r\n\r\n", b"\x00", b"", b"\r\n")
    subjects = {
        "redirect": Subject("redirect", feed_redirect, good_invites(), hostile_datagrams(), keepalives),
        "capture": Subject("capture", feed_capture, good_invites(), hostile_datagrams(), keepalives),
        "cdr": Subject("cdr", feed_cdr, GOOD_LINES, BAD_LINES, (b"", b"   ", b"\r", b"\x00\x00")),
    }
    found = subjects[request.param]
    assert isinstance(found, Subject)
    return found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", ["redirect", "capture", "cdr"], indirect=True)
def test_conforms(check: Callable[[Subject], None], subject: Subject) -> None:
    check(subject)


def test_the_suite_notices_an_adapter_that_swallows_bad_input() -> None:
    lazy = Subject("lazy", lambda inputs: [], good=(), bad=(b"bad",))
    caught = [check.__name__ for check in CHECKS if _fails(check, lazy)]
    assert "bad_input_is_quarantined" in caught
    assert "bad_input_harms_nobody" in caught


def test_the_suite_notices_text_that_the_log_would_change() -> None:
    def feed(inputs: Sequence[bytes]) -> Items:
        return [Quarantined("Bad Code", "x", "other", "\x1b[31m")]

    careless = Subject("careless", feed, good=(b"a",), bad=(b"b",))
    assert _fails(CHECKS[4], careless)


def _fails(check: Callable[[Subject], None], subject: Subject) -> bool:
    try:
        check(subject)
    except (AssertionError, IndexError, ZeroDivisionError):
        return True
    return False


@pytest.mark.parametrize(
    ("group", "names", "needed"),
    [
        ("antifraud.adapters", {"redirect", "cdr"}, ("name", "summary", "run")),
        ("antifraud.readers", {"capture", "cdr"}, ("name", "summary", "recognises", "read")),
        ("antifraud.callers", {"redirect"}, ("name", "open")),
    ],
)
def test_entry_points_offer_what_the_engine_expects(group: str, names: set[str], needed: tuple[str, ...]) -> None:
    found = {point.name: point.load() for point in entry_points(group=group)}
    assert names <= set(found)
    for name in names:
        assert found[name].name == name
        for attribute in needed:
            assert hasattr(found[name], attribute), (group, name, attribute)


def test_readers_keep_to_their_own_files() -> None:
    assert capture.READER.recognises(Path("x"), pcap([])[:24])
    assert not capture.READER.recognises(Path("x.csv"), HEADER)
    assert cdr.READER.recognises(Path("x"), HEADER + GOOD_LINES[0] + b"\n")
    assert not cdr.READER.recognises(Path("x"), pcap([]))
    assert not cdr.READER.recognises(Path("events.jsonl"), b'{"kind":"setup"}')


def test_events_are_plain_structures(subject_items: list[CallEvent | Quarantined]) -> None:
    assert {type(item) for item in subject_items} == {CallEvent}


@pytest.fixture
def subject_items() -> Items:
    return feed_redirect(good_invites())
