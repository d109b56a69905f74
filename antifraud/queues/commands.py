"""Commands to switches, what came of them, and the register of blocked numbers. No I/O here.

The register ``af:{shard}:blocks`` is the truth: one field a number, a ``Block`` as JSON. What goes into
``af:{shard}:commands:<switch>`` follows from it and may be lost, repeated or late without harm: every command carries
the version (``seq``) of what it says about its number, and an agent never goes back to an older one. After a switch or
an agent was away the agent compares the register with what the switch holds, and mends the difference.

A number is *blocked* until a time, or *cleared* until a time: cleared beats blocked, whoever asks for the block, so
that an honest subscriber who was freed is not caught again by the next rule. Every entry names the decision or the
person that it comes from.

An agent reads its stream through the consumer group ``agent``, carries a command out, appends what came of it to
``af:{shard}:outcomes`` and acknowledges it, the last two in one transaction. What was read and not acknowledged is read
again: by the same agent when it starts, by another one after a while.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

import msgspec

from antifraud.domain import EventError
from antifraud.queues.protocol import MAX_FIELDS

GROUP: Final = "agent"
COMMANDS: Final = ("block", "unblock", "release", "resync")
RESULTS: Final = ("done", "gone", "superseded", "expired", "refused", "failed")
REQUESTS: Final = ("block", "unblock", "forget", "release", "resync")
MAX_COMMAND_BYTES: Final = 8_192
COMMANDS_MAXLEN: Final = 200_000
OUTCOMES_MAXLEN: Final = 200_000
MAX_BLOCK_S: Final = 366 * 86_400.0
MAX_SEQ: Final = 2**53 - 1
"""Of all that is said of numbers; a command with a higher one is refused by agents."""
_NUMBER_CHARS: Final = frozenset("+0123456789")
_ID_CHARS: Final = frozenset("0123456789abcdef")
_SWITCH_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST: Final = {"call_id": 256, "reason": 300, "by": 80, "decision": 32, "region": 32, "detail": 300, "agent": 80}


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one switch is to do.

    ``op``: ``block`` and ``unblock`` a calling ``number`` (E.164), ``release`` the call in progress ``call_id`` (the
    Call-ID that the switch reported), ``resync`` the whole register. ``until`` is the epoch second at which a block
    ends; ``expires`` the one from which on the command is worth nothing any more (0: never). ``seq`` orders all that is
    said about one number: higher is newer. ``by`` says whose command it is (``rule:<id>``, ``analyst:<name>``),
    ``decision`` the id of the decision behind it, ``at`` the epoch second at which it was given.
    """

    id: str
    op: str
    number: str = ""
    until: float = 0.0
    seq: int = 0
    call_id: str = ""
    caller: str = ""
    callee: str = ""
    reason: str = ""
    by: str = ""
    decision: str = ""
    region: str = ""
    at: float = 0.0
    expires: float = 0.0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a command at one switch.

    ``result``: ``done``; ``gone`` (the call had ended already); ``superseded`` (something newer is known about the
    number); ``expired``; ``refused`` (the command cannot be obeyed: quarantine it); ``failed`` (the switch says no, and
    will say so again). ``took_s`` is the time from the command to its effect.
    """

    id: str
    switch: str
    op: str
    result: str
    detail: str = ""
    agent: str = ""
    at: float = 0.0
    took_s: float = 0.0


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the register says about one number.

    ``state`` is ``blocked`` or ``cleared``, ``until`` (epoch s) its end. ``region``: the switches of which region
    are concerned, empty for all of the shard. ``id``: the entry of the stream that asked for it.
    """

    number: str
    state: str
    until: float
    seq: int
    region: str = ""
    reason: str = ""
    by: str = ""
    decision: str = ""
    at: float = 0.0
    id: str = ""

    def holds(self, now: float) -> bool:
        """Whether it has not ended at epoch second ``now``."""
        return now < self.until


class BlockRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person, a service or another shard asks of the engine in ``af:{shard}:block-requests``.

    ``op``: ``block``, ``unblock`` (clears: no block holds until ``until``), ``forget`` (neither), ``release`` a call,
    ``resync`` all switches or ``switch``. Without ``who`` and ``why`` it is refused. ``forget`` with ``until`` is meant
    for what ends then, and for nothing that was said of the number since.
    """

    op: str
    who: str
    why: str
    number: str = ""
    until: float = 0.0
    region: str = ""
    call_id: str = ""
    switch: str = ""
    decision: str = ""


_BLOCK_ENCODER: Final = msgspec.json.Encoder()
_BLOCK_DECODER: Final = msgspec.json.Decoder(Block)


def command_id(switch: str, op: str, subject: str, seq: int, decision: str) -> str:
    """16 hex digits that follow from what is asked: the same command written twice has the same id."""
    text = f"{switch}\0{op}\0{subject}\0{seq}\0{decision}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def is_number(text: str) -> bool:
    """Whether ``text`` is a number in E.164 form: "+" and 3 to 15 digits (ITU-T E.164, 6.2.1), short codes included."""
    return 4 <= len(text) <= 16 and text[0] == "+" and text[1:].isdecimal() and _NUMBER_CHARS.issuperset(text)


def is_switch(text: str) -> bool:
    """Whether ``text`` can be the name of a switch in a key."""
    return 0 < len(text) <= 64 and _SWITCH_CHARS.issuperset(text)


def encode_command(command: Command) -> dict[str, str]:
    """The stream entry: flat text fields, empty ones left out."""
    return _flat(command)


def decode_command(fields: Mapping[bytes, bytes]) -> Command:
    """The command of an entry; EventError with a stable code when an agent must not obey it."""
    texts = _texts(fields, "command")
    op, identity = texts.get("op", ""), texts.get("id", "")
    if op not in COMMANDS:
        raise EventError("command-op-unknown", f"op {op[:40]!r} is none of {', '.join(COMMANDS)}")
    if not 0 < len(identity) <= 64 or not _ID_CHARS.issuperset(identity):
        raise EventError("command-id", f"id {identity[:80]!r} is not hex digits")
    command = Command(
        id=identity,
        op=op,
        number=texts.get("number", ""),
        until=_seconds(texts, "until", "command-number"),
        seq=int(_seconds(texts, "seq", "command-number")),
        at=_seconds(texts, "at", "command-number"),
        expires=_seconds(texts, "expires", "command-number"),
        **{name: texts.get(name, "") for name in ("call_id", "caller", "callee", "reason", "by", "decision", "region")},
    )
    if op in ("block", "unblock") and not is_number(command.number):
        raise EventError("command-subject", f"op {op} with number {command.number[:40]!r}, which is no E.164 number")
    if op == "release" and not command.call_id:
        raise EventError("command-subject", "op release says not which call")
    if op == "block" and command.until <= 0:
        raise EventError("command-subject", "op block says not until when")
    return command


def encode_outcome(outcome: Outcome) -> dict[str, str]:
    """The stream entry of an outcome."""
    return _flat(outcome)


def decode_outcome(fields: Mapping[bytes, bytes]) -> Outcome:
    """The outcome of an entry; EventError("outcome-garbled") when it is none."""
    texts = _texts(fields, "outcome")
    result = texts.get("result", "")
    if result not in RESULTS or not texts.get("id") or not is_switch(texts.get("switch", "")):
        raise EventError("outcome-garbled", f"result {result[:40]!r}, id or switch cannot be understood")
    return Outcome(
        id=texts["id"][:64],
        switch=texts["switch"],
        op=texts.get("op", "")[:16],
        result=result,
        detail=texts.get("detail", ""),
        agent=texts.get("agent", ""),
        at=_seconds(texts, "at", "outcome-garbled"),
        took_s=_seconds(texts, "took_s", "outcome-garbled"),
    )


def encode_block(block: Block) -> bytes:
    """The value of the register for ``block.number``."""
    return _BLOCK_ENCODER.encode(block)


def decode_block(raw: bytes) -> Block:
    """What the register says; EventError("block-garbled") when it is not to be understood."""
    try:
        block = _BLOCK_DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EventError("block-garbled", str(error)) from None
    if not 0 <= block.seq <= MAX_SEQ:
        raise EventError("block-garbled", f"seq {block.seq} is not between 0 and {MAX_SEQ}")
    if block.state not in ("blocked", "cleared") or not is_number(block.number) or not math.isfinite(block.until):
        raise EventError("block-garbled", f"state {block.state[:20]!r}, number {block.number[:20]!r}")
    return block


def encode_request(request: BlockRequest) -> dict[str, str]:
    """The entry of *block-requests*."""
    return _flat(request)


def decode_request(fields: Mapping[bytes, bytes]) -> BlockRequest:
    """What is asked for; EventError with a stable code when it cannot be obeyed."""
    texts = _texts(fields, "request")
    op = texts.get("op", "")
    if op not in REQUESTS:
        raise EventError("request-op-unknown", f"op {op[:40]!r} is none of {', '.join(REQUESTS)}")
    who, why = texts.get("who", "").strip()[:80], texts.get("why", "").strip()[:200]
    if not who or not why:
        raise EventError("request-nobody", f"op {op} says not who asks and why")
    number, call_id, switch = texts.get("number", ""), texts.get("call_id", ""), texts.get("switch", "")
    if op in ("block", "unblock", "forget") and not is_number(number):
        raise EventError("request-subject", f"op {op} with number {number[:40]!r}; write it as +77010000001")
    if switch and not is_switch(switch):
        raise EventError("request-subject", f"switch {switch[:40]!r} is no name of a switch")
    if op == "release" and not (call_id and switch):
        raise EventError("request-subject", "op release needs call_id and switch")
    return BlockRequest(
        op,
        who,
        why,
        number,
        _seconds(texts, "until", "request-until"),
        texts.get("region", ""),
        call_id,
        switch,
        texts.get("decision", ""),
    )


def _flat(item: msgspec.Struct) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if value:
            found[name] = repr(value) if isinstance(value, (int, float)) else value
    return found


def _texts(fields: Mapping[bytes, bytes], what: str) -> dict[str, str]:
    """The fields as text; control characters become spaces, so that no text breaks a line-based protocol."""
    if len(fields) > MAX_FIELDS:
        raise EventError(f"{what}-too-many-fields", f"{len(fields)} fields, at most {MAX_FIELDS}")
    if sum(map(len, fields.values())) > MAX_COMMAND_BYTES:
        raise EventError(f"{what}-too-large", f"more than {MAX_COMMAND_BYTES} bytes")
    texts: dict[str, str] = {}
    for name, value in fields.items():
        text = value.decode("utf-8", "replace")
        if not text.isprintable():
            text = "".join(char if char.isprintable() else " " for char in text)
        key = name.decode("utf-8", "replace")
        longest = _LONGEST.get(key, 256)
        if len(text) > longest and key in ("call_id", "decision", "region"):
            raise EventError(f"{what}-too-large", f"{key} has {len(text)} characters, at most {longest}")
        texts[key] = text[:longest]
    return texts


def _seconds(texts: Mapping[str, str], name: str, code: str) -> float:
    text = texts.get(name, "")
    if not text:
        return 0.0
    try:
        number = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not 0 <= number < 2**53:
        raise EventError(code, f"{name} {text[:40]!r} is no number from 0 on")
    return number
