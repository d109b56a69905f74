"""Answer and end of calls carry the numbers that the calls began with; a flood of calls takes bounded memory."""

from __future__ import annotations

from antifraud.domain import CallEvent, EventKind, check_event
from sip_adapters.asking import Book


def setup(n: int = 1) -> CallEvent:
    return CallEvent(
        EventKind.SETUP, f"c{n}", 1_800_000_000.0, source="asterisk", caller_raw="+77010000001",
        callee_raw="+77010000002", reply="af:{kz}:reply:x", deadline_ms=150, identity="eyJ",
    )  # fmt: skip


def test_a_call_that_is_answered() -> None:
    book = Book(10)
    book.begin("k", setup())
    answer = book.answer("k", 1_800_000_004.0)
    assert answer is not None
    assert (answer.kind, answer.call_id, answer.ring_s, answer.reply) == (EventKind.ANSWER, "c1", 4.0, "")
    assert book.answer("k", 1_800_000_005.0) is None
    (release,) = book.end("k", 1_800_000_064.0, 16)
    assert (release.kind, release.ring_s, release.talk_s, release.cause) == (EventKind.RELEASE, 4.0, 60.0, 16)
    assert release.caller_raw == "+77010000001"
    assert book.end("k", 1_800_000_065.0, 16) == []
    assert len(book) == 0


def test_an_answer_that_nobody_told_of_follows_from_the_talk() -> None:
    book = Book(10)
    book.begin("k", setup())
    answer, release = book.end("k", 1_800_000_030.0, 16, 20.0)
    assert (answer.kind, answer.ts, answer.ring_s) == (EventKind.ANSWER, 1_800_000_010.0, 10.0)
    assert (release.ring_s, release.talk_s) == (10.0, 20.0)


def test_a_call_that_nobody_answered() -> None:
    book = Book(10)
    book.begin("k", setup())
    (release,) = book.end("k", 1_800_000_030.0, 19, 0.0)
    assert (release.ring_s, release.talk_s, release.cause) == (30.0, 0.0, 19)


def test_absurd_times_and_causes_make_sound_events() -> None:
    book = Book(10)
    for cause, talk in ((999, 1e6), (-1, 0.0), (None, None)):
        book.begin("k", setup())
        for event in book.end("k", 1_700_000_000.0, cause, talk):
            check_event(event)


def test_the_oldest_makes_room() -> None:
    book = Book(3)
    for n in range(10):
        book.begin(f"k{n}", setup(n))
    assert len(book) == 3
    assert book.forgotten == 7
    assert book.end("k0", 1_800_000_030.0, 16) == []
    assert book.has("k9")
    book.drop("k9")
    assert not book.has("k9")
