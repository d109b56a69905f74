"""The calls that go on, by the id that the switch knows them by, until they end: bounded, no clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from antifraud.domain import CallEvent, EventKind
from sip_adapters.sip import follow_up


class Book:
    """At most ``most`` calls; the oldest is forgotten for a new one, and then its answer and end are not reported."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: OrderedDict[str, tuple[CallEvent, float]] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, key: str, setup: CallEvent) -> None:
        """The call ``key`` goes on."""
        self._calls[key] = (setup, 0.0)
        self._calls.move_to_end(key)
        if len(self._calls) > self._most:
            self._calls.popitem(last=False)
            self.forgotten += 1

    def has(self, key: str) -> bool:
        """Whether the call ``key`` is known and has not ended."""
        return key in self._calls

    def drop(self, key: str) -> None:
        """The call ``key`` does not go on."""
        self._calls.pop(key, None)

    def answer(self, key: str, ts: float) -> CallEvent | None:
        """The call was answered at ``ts`` (epoch s); the event, or None when it is unknown or was answered before."""
        setup, answered = self._calls.get(key, (None, 0.0))
        if setup is None or answered:
            return None
        self._calls[key] = (setup, max(ts, setup.ts))
        return _answer(setup, max(ts, setup.ts))

    def end(self, key: str, ts: float, cause: int | None, talk_s: float | None = None) -> list[CallEvent]:
        """The call ended at ``ts`` (epoch s) after ``talk_s`` seconds of talk, None where the switch does not say.

        The release, before it the answer where nobody told of it; nothing when the call is unknown.
        """
        setup, answered = self._calls.pop(key, (None, 0.0))
        if setup is None:
            return []
        ts = max(ts, setup.ts)
        events: list[CallEvent] = []
        if not answered and talk_s:
            answered = max(setup.ts, ts - talk_s)
            events.append(_answer(setup, answered))
        talk = talk_s if talk_s is not None else ts - answered if answered else 0.0
        release = msgspec.structs.replace(
            follow_up(setup, EventKind.RELEASE, ts),
            ring_s=round((answered or ts) - setup.ts, 3),
            talk_s=round(talk, 3),
            cause=cause if cause is not None and 0 <= cause <= 127 else None,
        )
        return [*events, release]


def _answer(setup: CallEvent, ts: float) -> CallEvent:
    return msgspec.structs.replace(follow_up(setup, EventKind.ANSWER, ts), ring_s=round(ts - setup.ts, 3))
