"""Which places at the desks are taken, so that it outlives a restart, and what desks say of themselves.

``af:{shard}:desks`` (hash, written by the engine): ``p:<decision id>`` → the place that the call has, ``h:<desk>`` →
what the desk last said, ``position`` → the last entry of *desk-state* that was obeyed. It is written in the transaction
of the decisions that it belongs to.

``af:{shard}:desk-state`` (stream, written by desks): ``desk`` and ``free``, how many more calls it can take now. An
entry holds for what is decided after it was read; its time is that of its id, where that is not ahead of the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import redis.asyncio as aredis

from antifraud.decision.desks import MOST_PLACES, DeskBoard, Heard, Place
from antifraud.domain import EventError
from antifraud.engine.control_stream import Entry
from antifraud.queues import Keys

STATE_MAXLEN: Final = 10_000
_LOG = logging.getLogger("antifraud.engine")
_PLACE: Final = "p:"
_HEARD: Final = "h:"
_POSITION: Final = "position"
_PLACES: Final = msgspec.json.Decoder(Place)
_WORDS: Final = msgspec.json.Decoder(Heard)
_ENCODER: Final = msgspec.json.Encoder()


class DeskPlaces:
    """Keeps the board of a decider and its copy in Redis together. Nothing is done where there are no desks."""

    def __init__(self, board: DeskBoard, keys: Keys) -> None:
        self._board = board
        self._keys = keys
        self._unsaid: set[str] = set()
        self._moved = False
        self.position = "0-0"

    @property
    def streams(self) -> dict[Any, Any]:
        """The stream to read and from where; empty where there are no desks."""
        return {self._keys.desk_state: self.position} if self._board else {}

    async def load(self, client: aredis.Redis) -> None:
        """The board as it was written down last. What cannot be read is left out and logged: a place is soon free."""
        if not self._board:
            return
        places: dict[str, Place] = {}
        words: dict[str, Heard] = {}
        written = cast("Mapping[bytes, bytes]", await client.hgetall(self._keys.desks))
        for raw, value in written.items():
            field = raw.decode("utf-8", "replace")
            try:
                if field.startswith(_PLACE) and len(places) < MOST_PLACES:
                    places[field.removeprefix(_PLACE)] = _PLACES.decode(value)
                elif field.startswith(_HEARD):
                    words[field.removeprefix(_HEARD)] = _WORDS.decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                _LOG.error("field %r of %s is left out: %s", field[:80], self._keys.desks, error)
        position = written.get(_POSITION.encode(), b"").decode("utf-8", "replace")
        milliseconds, _, sequence = position.partition("-")
        self.position = position if milliseconds.isdecimal() and sequence.isdecimal() else "0-0"
        self._board.restore(places, words)

    def obey(self, entries: Sequence[Entry], arrival: Callable[[bytes], float]) -> list[tuple[Entry, EventError]]:
        """Take in what desks say; the entries that say nothing, with the reason.

        ``arrival``: when an entry came (epoch s), which is not for the entry's id alone to say.
        """
        bad: list[tuple[Entry, EventError]] = []
        for entry in entries:
            self.position, self._moved = entry[0].decode(), True
            try:
                name, free = _said(entry)
            except EventError as error:
                bad.append((entry, error))
                continue
            if self._board.heard(name, free, arrival(entry[0])):
                self._unsaid.add(name)
            else:
                known = ", ".join(self._board.desks)
                bad.append((entry, EventError("desk-unknown", f"there is no desk {name[:64]!r}; config/ has {known}")))
        return bad

    @property
    def unsaved(self) -> bool:
        """Whether ``write`` has anything to add."""
        return bool(self._board.changes or self._unsaid or self._moved)

    def write(self, pipe: Any) -> None:
        """Add to a transaction what has changed since the last one that succeeded."""
        changes = self._board.changes
        for decision, place in changes.items():
            if place is None:
                pipe.hdel(self._keys.desks, _PLACE + decision)
            else:
                pipe.hset(self._keys.desks, _PLACE + decision, _ENCODER.encode(place))
        for name in sorted(self._unsaid):
            pipe.hset(self._keys.desks, _HEARD + name, _ENCODER.encode(self._board.words[name]))
        if self._moved:
            pipe.hset(self._keys.desks, _POSITION, self.position)

    def write_words(self, pipe: Any) -> None:
        """Add what desks said of themselves, without any decision: for whoever looks, not for a restart."""
        for name in sorted(self._unsaid):
            pipe.hset(self._keys.desks, _HEARD + name, _ENCODER.encode(self._board.words[name]))

    def written(self) -> None:
        """The transaction succeeded."""
        self._board.changes.clear()
        self._unsaid.clear()
        self._moved = False


def _said(entry: Entry) -> tuple[str, int]:
    _entry_id, fields = entry
    if len(fields) > 16 or sum(map(len, fields.values())) > 4096:
        raise EventError("desk-garbled", "more than 16 fields or 4096 bytes")
    name = fields.get(b"desk", b"").decode("utf-8", "replace")
    free = fields.get(b"free", b"").decode("utf-8", "replace")
    if not (free.isascii() and free.isdecimal() and len(free) <= 6):
        raise EventError("desk-garbled", f"free {free[:40]!r} is no number of calls from 0 to 999999")
    return name, int(free)
