"""What every adapter and reader must do, written once.

A ``Subject`` says how to feed raw inputs (datagrams, lines …) to one adapter and what should come of them; ``CHECKS``
are run against each. A check that fails raises AssertionError with the name of the subject.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from antifraud.domain import TEXT_FIELDS, CallEvent, EventKind, Quarantined, check_event
from antifraud.queues import decode_event, encode_event

_CODE: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RAW_CHARS: Final = 512

Items = list[CallEvent | Quarantined]


class Subject(msgspec.Struct, frozen=True):
    """One adapter under test. ``feed`` starts from a clean state every time.

    Each of ``good`` begins a call of its own. Each of ``bad`` must end in quarantine, alone and among others. Each of
    ``noise`` is to be passed over in silence. ``source`` is what its events and quarantined items carry.
    """

    source: str
    feed: Callable[[Sequence[bytes]], Items]
    good: tuple[bytes, ...]
    bad: tuple[bytes, ...]
    noise: tuple[bytes, ...] = ()


def events_of(items: Items) -> list[CallEvent]:
    """The events among ``items``."""
    return [item for item in items if isinstance(item, CallEvent)]


def quarantined_of(items: Items) -> list[Quarantined]:
    """The quarantined among ``items``."""
    return [item for item in items if isinstance(item, Quarantined)]


def every_good_input_begins_a_call(subject: Subject) -> None:
    """One setup each, ids all different, nothing quarantined."""
    items = subject.feed(subject.good)
    setups = [event for event in events_of(items) if event.kind is EventKind.SETUP]
    assert not quarantined_of(items), (subject.source, quarantined_of(items))
    assert len(setups) == len(subject.good), (subject.source, len(setups))
    assert len({event.call_id for event in setups}) == len(setups), subject.source


def events_pass_the_gate(subject: Subject) -> None:
    """``check_event`` accepts every event and finds nothing left to cut; the source is named."""
    for event in events_of(subject.feed(subject.good)):
        assert check_event(event) == event, (subject.source, event)
        assert event.source == subject.source, event


def events_survive_the_log(subject: Subject) -> None:
    """Written to Redis and read back, an event is the same: all text is printable UTF-8."""
    for event in events_of(subject.feed([*subject.good, *mutated(subject.good, 50)])):
        wire = {name.encode(): value.encode("utf-8") for name, value in encode_event(event).items()}
        assert decode_event(wire) == event, (subject.source, event)
        for name in TEXT_FIELDS:
            assert getattr(event, name).isprintable(), (subject.source, name, event)


def the_same_input_gives_the_same_events(subject: Subject) -> None:
    """Two runs over everything agree in every bit."""
    everything = [*subject.good, *subject.bad, *subject.noise]
    assert subject.feed(everything) == subject.feed(everything), subject.source


def bad_input_is_quarantined(subject: Subject) -> None:
    """Each bad input alone: no event, one item with a stable code, a detail, and its first bytes as plain text."""
    for data in subject.bad:
        items = subject.feed([data])
        assert not events_of(items), (subject.source, data[:80], items)
        assert len(items) == 1, (subject.source, data[:80], items)
        for item in quarantined_of(items):
            assert _CODE.fullmatch(item.code), (subject.source, item)
            assert item.detail.isprintable(), (subject.source, item)
            assert item.source == subject.source, item
            assert len(item.raw) <= _RAW_CHARS, (subject.source, item.code)
            assert item.raw.isascii(), (subject.source, item.code)
            assert item.raw.isprintable(), (subject.source, item.code)


def bad_input_harms_nobody(subject: Subject) -> None:
    """Bad inputs between good ones change nothing for the good ones, and none is lost without a word."""
    mixed: list[bytes] = []
    for at in range(max(len(subject.good), len(subject.bad))):
        mixed += [*subject.bad[at : at + 1], *subject.good[at : at + 1]]
    items = subject.feed(mixed)
    alone = subject.feed(subject.good)
    assert len(quarantined_of(items)) == len(subject.bad), (subject.source, quarantined_of(items))
    assert {event.call_id for event in events_of(items)} == {event.call_id for event in events_of(alone)}, (
        subject.source
    )


def noise_is_passed_over(subject: Subject) -> None:
    """Keep-alives, empty lines and the like make neither events nor quarantine."""
    assert subject.feed(subject.noise) == [], subject.source


def repeated_input_makes_no_second_call(subject: Subject) -> None:
    """What is sent twice is recognised, by the adapter or by the engine's key (kind, call, caller, callee)."""

    def keys(inputs: Sequence[bytes]) -> set[tuple[str, str, str, str]]:
        return {
            (event.kind.value, event.call_id, event.caller_raw, event.callee_raw)
            for event in events_of(subject.feed(inputs))
        }

    assert keys([*subject.good, *subject.good]) == keys(subject.good), subject.source


def no_prefix_raises(subject: Subject) -> None:
    """A good input cut anywhere gives events or quarantine, never an exception."""
    data = subject.good[0]
    for end in range(0, len(data), max(1, len(data) // 150)):
        for event in events_of(subject.feed([data[:end]])):
            check_event(event)


def no_mutation_raises(subject: Subject) -> None:
    """Good inputs with bytes changed, doubled and cut out at random (always the same way) never raise, together or
    alone, and every event that still comes out passes the gate."""
    changed = mutated([*subject.good, *subject.bad], 150)
    for event in events_of(subject.feed(changed)):
        check_event(event)
    for data in changed[:60]:
        for event in events_of(subject.feed([data])):
            check_event(event)


CHECKS: Final = (
    every_good_input_begins_a_call,
    events_pass_the_gate,
    events_survive_the_log,
    the_same_input_gives_the_same_events,
    bad_input_is_quarantined,
    bad_input_harms_nobody,
    noise_is_passed_over,
    repeated_input_makes_no_second_call,
    no_prefix_raises,
    no_mutation_raises,
)


def mutated(inputs: Sequence[bytes], count: int, seed: int = 4475) -> list[bytes]:
    """``count`` damaged copies of ``inputs``; the same ones for the same seed."""
    dice = random.Random(seed)
    out: list[bytes] = []
    for at in range(count):
        data = bytearray(inputs[at % len(inputs)][:8_192])
        for _ in range(dice.randint(1, 6)):
            start = dice.randrange(len(data) + 1)
            length = dice.randint(1, 16)
            match dice.randrange(4):
                case 0:
                    data[start : start + length] = dice.randbytes(length)
                case 1:
                    del data[start : start + length]
                case 2:
                    data[start:start] = data[max(0, start - length) : start] * dice.randint(1, 8)
                case _:
                    data[start:start] = dice.choice((b"\r\n", b"\x00", b'"', b"<", b";", b",", b"\xff", b"%00", b"\n "))
        out.append(bytes(data))
    return out
