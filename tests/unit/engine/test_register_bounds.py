"""The register of blocked numbers and the board of desks under writers who are mistaken or hostile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antifraud.decision.desks import Desk, DeskBoard
from antifraud.domain import EventError
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
            for item in ():
                yield item

    found = register()
    log: Any = Nothing()
    await found.load(log, {b"block_seq": b"9999999999999999"})
    found.obey(BlockRequest("block", "a", "b", "+77010000001"), "1-0", T0)
    pipe: Any = Pipe()
    found.write(pipe, T0)  # decodes every command as an agent does
    assert pipe.commands


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
