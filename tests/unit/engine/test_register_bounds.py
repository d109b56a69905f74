"""The register of blocked numbers and the board of desks under writers who are mistaken or hostile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antifraud.decision.desks import Desk, DeskBoard
from antifraud.domain import EventError
from antifraud.engine import blocking
from antifraud.engine.blocking import BlockRegister
from antifraud.engine.desk_places import DeskPlaces
from antifraud.queues import Keys
from antifraud.queues.commands import Block, BlockRequest, decode_block, encode_block
from tests.property.engine.test_block_register import T0, Pipe, decider, register

NOW = T0


@pytest.mark.parametrize("seq", [2**53, 2**62, -1])
def test_a_seq_that_no_agent_would_take_is_no_block(seq: int) -> None:
    """The next command would be given a higher one, and every agent would refuse it and all that follow."""
    block = Block("+77010000001", "blocked", T0, seq)
    with pytest.raises(EventError, match="seq"):
        decode_block(encode_block(block))
    assert decode_block(encode_block(msgspec.structs.replace(block, seq=2**53 - 1))).seq == 2**53 - 1


async def test_a_written_seq_beyond_what_agents_take_is_not_gone_on_from() -> None:
    class Nothing:
        async def hscan_iter(self, *_: Any, **__: Any) -> Any:
            for item in list[Any]():
                yield item

    found = register()
    log: Any = Nothing()
    await found.load(log, {b"block_seq": b"9999999999999999"})
    found.obey(BlockRequest("block", "a", "b", "+77010000001"), "1-0", T0)
    pipe: Any = Pipe()
    found.write(pipe, T0)  # decodes every command as an agent does
    assert pipe.commands


def test_what_was_said_of_a_number_meanwhile_is_not_forgotten() -> None:
    found = register()
    number = "+77010000001"
    found.obey(BlockRequest("block", "a", "b", number, until=T0 + 60), "1-0", T0)
    found.obey(BlockRequest("block", "a", "b", number, until=T0 + 90), "2-0", T0)
    with pytest.raises(EventError) as caught:
        found.obey(BlockRequest("forget", "desk", "honest", number, until=T0 + 60), "3-0", T0)
    assert caught.value.code == "block-changed"
    found.obey(BlockRequest("forget", "desk", "honest", number, until=T0 + 90), "4-0", T0)
    assert len(found) == 0


def test_rules_that_change_all_the_time_keep_no_number_from_being_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is fed every few seconds is the usual case; what ends or comes under protection has its turn."""
    found = register()
    for number in range(2_000):
        until = T0 + (1e5 if number < 600 else 60)
        found.obey(BlockRequest("block", "a", "b", f"+7701{number:07}", until=until), f"{number + 1}-0", T0)
    found.saved()
    own = decider().bundle
    try:
        for turn in range(8):
            monkeypatch.setattr(decider(), "_bundle", msgspec.structs.replace(own, digest=f"{turn}"))
            found.sweep(T0 + 100)
    finally:
        monkeypatch.setattr(decider(), "_bundle", own)
    assert len(found) == 600


def test_a_desk_that_writes_an_id_of_the_future_is_believed_no_longer_than_others() -> None:
    """An id may be chosen by whoever appends; after it those that Redis makes lie in the future, too."""
    board = DeskBoard([Desk("first", "sip:first@desk.example", silent_s=60.0)])
    places = DeskPlaces(board, Keys("kz"))
    fields = {b"desk": b"first", b"free": b"5"}
    far = b"9999999999999-0"
    assert places.obey([(far, fields)], lambda _entry: NOW) == []
    assert board.take(("first",), "d1", "c1", NOW + 30, "ru") is not None
    assert board.take(("first",), "d2", "c2", NOW + 61, "ru") is None


def test_many_numbers_that_come_under_protection_are_let_go_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that protects a whole range: each switch is told of each number, and calls wait for that meanwhile."""
    found = register()
    for number in range(20):
        found.obey(BlockRequest("block", "a", "b", f"+7701{number:07}"), f"{number + 1}-0", T0)
    found.saved()
    monkeypatch.setattr(blocking, "MOST_COMMANDS", 9)
    monkeypatch.setattr(type(decider()), "protection_of", lambda *_: "a list")
    found.sweep(T0 + 1)  # begins a round
    found.sweep(T0 + 1)
    assert len(found) == 17
    for _ in range(9):
        found.saved()
        found.sweep(T0 + 1)
    assert len(found) == 0


def fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


def test_where_nobody_can_say_whether_a_number_is_protected_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one request or number that nobody foresaw stops no engine, which would read it again after its restart."""
    found = register()
    held, asked = "+77010000001", "+77010000002"
    found.obey(BlockRequest("block", "a", "b", held), "1-0", T0)
    monkeypatch.setattr(type(decider()), "protection_of", fails)
    fields = {b"op": b"block", b"who": b"a", b"why": b"b", b"number": asked.encode()}
    found.obey_all([(b"2-0", fields)], lambda _entry: T0)
    found.sweep(T0 + 1)
    found.sweep(T0 + 1)
    pipe: Any = Pipe()
    pipe.quarantined = []
    pipe.xadd = lambda key, fields, **_: pipe.quarantined.append((key.rpartition(":")[2], fields))
    found.write(pipe, T0)
    assert [entry["code"] for key, entry in pipe.quarantined if key == "quarantine"] == ["block-protected"]
    assert len(found) == 0


def test_a_request_that_nobody_foresaw_is_refused_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = register()
    monkeypatch.setattr(BlockRegister, "_resync", fails)
    resync = {b"op": b"resync", b"who": b"a", b"why": b"b"}
    block = {b"op": b"block", b"who": b"a", b"why": b"b", b"number": b"+77010000001"}
    found.obey_all([(b"1-0", resync), (b"2-0", block)], lambda _entry: T0)
    assert len(found) == 1
    assert found.requests.position == "2-0"
