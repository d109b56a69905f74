"""The Redis protocol: every key, who writes it, who reads it, and how its values are written. No I/O here.

All keys of a shard carry the same hash tag, so they live on one node of a Redis Cluster.

===============================  =======  ==========================  ====================  ==========================
key                              type     writer                      reader                ends
===============================  =======  ==========================  ====================  ==========================
``af:{shard}:calls``             stream   adapters, switches, engine  engine                trimmed by age (engine)
``af:{shard}:reply:<id>``        list     engine                      the waiting switch    expires with its deadline
``af:{shard}:commands:<switch>`` stream   engine, analysts            switch agent (group)  trimmed by age (engine)
``af:{shard}:decisions``         stream   engine                      journal, alerts       trimmed by age (engine)
``af:{shard}:control``           stream   operators                   engines               kept, at most 10,000
``af:{shard}:list-changes``      stream   operators                   engines               kept, at most 10,000
``af:{shard}:block-requests``    stream   operators, services         engines               kept, at most 10,000
``af:{shard}:blocks``            hash     engine                      agents, engine        kept
``af:{shard}:outcomes``          stream   switch agents               engine, people        at most 200,000
``af:{shard}:agent:<switch>``    string   switch agent                its standby           expires: the lease
``af:{shard}:agents``            hash     switch agents               doctor                kept, written anew
``af:{shard}:desk-state``        stream   desks                       engine                at most 10,000
``af:{shard}:desk-outcomes``     stream   desk service                desk service          at most 100,000
``af:{shard}:desks``             hash     engine                      engine, desks         kept
``af:{shard}:lists``             hash     engine                      engine, lists         kept
``af:{shard}:quarantine``        stream   adapters, engine            people                at most 100,000
``af:{shard}:counters``          hash     adapters, engine            doctor, metrics       kept
``af:{shard}:position``          hash     engine                      engine, doctor        kept
``af:{shard}:features``          hash     engine                      doctor                kept, written anew
``af:{shard}:engine``            string   engine                      engine, doctor        expires: the lease
===============================  =======  ==========================  ====================  ==========================

*calls*: one entry an event, its fields flat (``kind``, ``call_id``, ``ts`` …, as in ``CallEvent``; empty ones left
out). A switch whose Redis client passes only few arguments uses the packed form instead: one field ``q`` that holds
the same fields as application/x-www-form-urlencoded.

*reply*: one JSON object: ``v`` (protocol version, 1), ``call``, ``verdict``, ``decision``, ``code`` (SIP status for a
block), ``text`` (the reason), ``target`` (SIP URI for a diversion), ``label``; in the dialect of the switch ``phrase``
(reason phrase), ``headers`` (``Name: value``, one a line, see ``antifraud.domain.sip_headers``), ``cause`` (Q.850),
``packet`` and ``attributes`` (RADIUS, one ``Name = value`` a line), ``dialect``; ``tag``, what the event's ``reply``
names after ``#``. Pushed once, only before the deadline.

*decisions*: field ``d``, a ``Decision`` as JSON.

*control*: ``op`` (``reload``, ``kill``, ``revive``, ``list.add``, ``list.remove``), ``who``, ``why``: an entry without
who and why is refused. The list operations name ``list`` and ``value`` (or ``from`` and ``to`` of a range), an
addition ``until`` if it ends. What is refused goes to *quarantine* with source ``control``.

*list-changes*: as *control*, but for the list operations alone, so that a Redis user may have these without the kill
switch, and no number of them keeps the kill switch waiting. Source in the quarantine: ``list_changes``.

*lists*: what the accepted list operations come to, so that they outlive both streams: field ``<list> <entry>``,
an ``Amendment`` as JSON.

*desk-state*: ``desk`` and ``free``, how many more calls a desk can take. *desks*: see ``antifraud.engine.desk_places``.

*commands*, *outcomes*, *block-requests*, *blocks*: see ``antifraud.queues.commands``; *agent*, *agents*: see
``sip_adapters.agents``.

*position*: ``id``, the last entry of *calls* whose decisions are written, set in one transaction with them; ``at``.
It is the engine's acknowledgement: what comes after it is decided (again) after a crash. ``control`` and
``list_changes``: the last entry of each of these streams whose consequences are written, set in one transaction with
them; ``killed``: 1 or 0. ``block_requests``: the same of that stream, with the register; ``block_seq``: the highest
``seq`` that was given to what is said of a number. ``bundle``: the digest of the rules in force, without run-time
changes; ``refused``: what is wrong with those that were to be taken last, empty when they were taken.

A switch's Redis user needs no more than: ``resetkeys ~af:{shard}:calls ~af:{shard}:reply:* -@all +xadd +blpop +lpop``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from antifraud.domain import NUMERIC_FIELDS, TEXT_FIELDS, CallEvent, Decision, EventError, EventKind, Quarantined

PROTOCOL_VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 65_536
MAX_FIELDS: Final = 64
QUARANTINE_MAXLEN: Final = 100_000
CONTROL_MAXLEN: Final = 10_000
QUARANTINE_RAW_BYTES: Final = 2_048

_SHARD_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_REPLY_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
_KINDS: Final = {kind.value: kind for kind in EventKind}
_TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_TEXT: Final = frozenset(TEXT_FIELDS)
_NUMERIC: Final = frozenset(NUMERIC_FIELDS)
_DECISION_ENCODER: Final = msgspec.json.Encoder()
_DECISION_DECODER: Final = msgspec.json.Decoder(Decision)


class Keys:
    """The names of one shard's keys."""

    __slots__ = (
        "agents",
        "block_requests",
        "blocks",
        "calls",
        "control",
        "counters",
        "decisions",
        "desk_outcomes",
        "desk_state",
        "desks",
        "features",
        "lease",
        "list_changes",
        "lists",
        "outcomes",
        "position",
        "prefix",
        "quarantine",
        "reply_prefix",
        "shard",
    )

    def __init__(self, shard: str) -> None:
        if not shard or len(shard) > 32 or not _SHARD_CHARS.issuperset(shard):
            raise ValueError(f"shard {shard!r}: use 1-32 of a-z, 0-9, - and _")
        self.shard = shard
        self.prefix = f"af:{{{shard}}}:"
        self.calls = self.prefix + "calls"
        self.decisions = self.prefix + "decisions"
        self.control = self.prefix + "control"
        self.quarantine = self.prefix + "quarantine"
        self.counters = self.prefix + "counters"
        self.features = self.prefix + "features"
        self.position = self.prefix + "position"
        self.lease = self.prefix + "engine"
        self.list_changes = self.prefix + "list-changes"
        self.lists = self.prefix + "lists"
        self.block_requests = self.prefix + "block-requests"
        self.blocks = self.prefix + "blocks"
        self.outcomes = self.prefix + "outcomes"
        self.agents = self.prefix + "agents"
        self.desk_outcomes = self.prefix + "desk-outcomes"
        self.desk_state = self.prefix + "desk-state"
        self.desks = self.prefix + "desks"
        self.reply_prefix = self.prefix + "reply:"

    def reply(self, token: str) -> str:
        """The list on which one switch waits."""
        return self.reply_prefix + token

    def commands(self, switch: str) -> str:
        """The stream of commands for one switch."""
        return f"{self.prefix}commands:{switch}"

    def agent(self, switch: str) -> str:
        """The lease of the agent of one switch."""
        return f"{self.prefix}agent:{switch}"

    def reply_of(self, named: str) -> tuple[str, str]:
        """(the list to push to, the tag that the reply carries) of the ``reply`` of an event; ("", "") for none.

        What stands after ``#`` is the tag: a process that waits for many calls on one list tells replies apart by it.
        """
        key, mark, tag = named.partition("#")
        sound = self.is_reply(key) and (not mark or (0 < len(tag) <= 64 and _REPLY_CHARS.issuperset(tag)))
        return (key, tag) if sound else ("", "")

    def is_reply(self, key: str) -> bool:
        """Whether ``key`` may be pushed to: under this shard's reply prefix, short, of harmless characters.

        The key comes with the event, so from whoever can write events; without this check it could name any key.
        """
        token = key[len(self.reply_prefix) :]
        return key.startswith(self.reply_prefix) and 0 < len(token) <= 128 and _REPLY_CHARS.issuperset(token)


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, rename={"call_id": "call", "sip_code": "code"}):
    """What the waiting switch is told. All but ``verdict`` may be empty, and is with engines that know less."""

    verdict: str
    v: int = PROTOCOL_VERSION
    call_id: str = ""
    tag: str = ""
    decision: str = ""
    sip_code: int = 0
    text: str = ""
    target: str = ""
    label: str = ""
    phrase: str = ""
    headers: str = ""
    cause: int = 0
    dialect: str = ""
    packet: str = ""
    attributes: str = ""


_REPLY_ENCODER: Final = msgspec.json.Encoder()
_REPLY_DECODER: Final = msgspec.json.Decoder(Reply)


def encode_reply(reply: Reply) -> bytes:
    """The reply as it is pushed. ``v`` and ``verdict`` are always there."""
    raw = _REPLY_ENCODER.encode(reply)
    return raw[:-1] + b',"v":1}' if b'"v":' not in raw else raw


def decode_reply(raw: bytes) -> Reply:
    """The reply from its wire form; EventError("reply-garbled") when it is not one."""
    try:
        return _REPLY_DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EventError("reply-garbled", str(error)) from None


def encode_decision(decision: Decision) -> dict[str, bytes]:
    """The stream entry of a decision."""
    return {"d": _DECISION_ENCODER.encode(decision)}


def decode_decision(fields: Mapping[bytes, bytes]) -> Decision:
    """The decision of a stream entry; EventError("decision-garbled") when there is none in it."""
    try:
        return _DECISION_DECODER.decode(fields[b"d"])
    except KeyError:
        raise EventError("decision-garbled", "the entry has no field d") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EventError("decision-garbled", str(error)) from None


def encode_event(event: CallEvent) -> dict[str, str]:
    """The event as flat text fields; empty ones are left out, floats are written so that they read back equal."""
    fields: dict[str, str] = {"kind": event.kind.value, "ts": repr(float(event.ts))}
    for name in TEXT_FIELDS:
        text = getattr(event, name)
        if text:
            fields[name] = text
    if event.roaming is not None:
        fields["roaming"] = "1" if event.roaming else "0"
    for name in ("ring_s", "talk_s", "pdd_s", "weight", "takes_back"):
        number = getattr(event, name)
        if number is not None:
            fields[name] = repr(float(number))
    if event.cause is not None:
        fields["cause"] = str(event.cause)
    if event.deadline_ms:
        fields["deadline_ms"] = str(event.deadline_ms)
    return fields


def decode_event(fields: Mapping[bytes, bytes]) -> CallEvent:
    """The event of a stream entry, flat or packed; EventError with a stable code when it is none.

    Only the form is checked here (``check_event`` checks the meaning). Unknown fields are ignored, so that a newer
    adapter may write to an older engine. Bytes that are not UTF-8 are replaced; a NUL or other control character in
    a text becomes a space, so that no such text can break a line-based protocol further on.
    """
    if len(fields) > MAX_FIELDS:
        raise EventError("too-many-fields", f"{len(fields)} fields, at most {MAX_FIELDS}")
    if sum(map(len, fields.values())) > MAX_ENTRY_BYTES:
        raise EventError("entry-too-large", f"more than {MAX_ENTRY_BYTES} bytes")
    packed = fields.get(b"q")
    if packed is not None:
        return _build(_unpack(packed))
    return _build({_text(name): _text(value) for name, value in fields.items()})


def waiting_switch(fields: Mapping[bytes, bytes]) -> tuple[str, str]:
    """(reply key, call id) of an entry that may not be understood otherwise; empty where not even they are.

    An event that cannot be understood must not cost a call its time: whoever waits is told to go on.
    """
    try:
        if b"q" in fields:
            unpacked = _unpack(fields[b"q"][:MAX_ENTRY_BYTES])
            return unpacked.get("reply", "")[:256], unpacked.get("call_id", "")[:256]
    except EventError:
        return "", ""
    return _text(fields.get(b"reply", b"")[:256]), _text(fields.get(b"call_id", b"")[:1024])[:256]


def _unpack(packed: bytes) -> dict[str, str]:
    """The fields of an event that is form-encoded (WHATWG URL, application/x-www-form-urlencoded); empty ones are none.

    As ``urllib.parse.parse_qsl`` reads it, which takes its time over values that hold nothing to decode.
    """
    text = packed.decode("utf-8", "replace")
    if text.count("&") >= MAX_FIELDS:
        raise EventError("too-many-fields", f"more than {MAX_FIELDS} packed fields")
    unpacked: dict[str, str] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if not value:
            continue
        if "%" in name or "+" in name:
            name = _unquoted(name)
        if name in unpacked:
            raise EventError("field-twice", f"packed field {name[:40]!r} stands twice")
        unpacked[name] = _clean(_unquoted(value) if "%" in value or "+" in value else value)
    return unpacked


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


def _text(value: bytes) -> str:
    return _clean(value.decode("utf-8", "replace"))


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def _build(fields: Mapping[str, str]) -> CallEvent:
    kind = _KINDS.get(fields.get("kind", ""))
    if kind is None:
        raise EventError("kind-unknown", f"kind {fields.get('kind', '')[:40]!r} is none of {', '.join(_KINDS)}")
    values: dict[str, str | float | int | bool | EventKind] = {"kind": kind, "call_id": "", "ts": math.nan}
    for name, value in fields.items():
        if name in _TEXT:
            values[name] = value
        elif name in _NUMERIC:
            if value:
                values[name] = _number(name, value)
        elif name == "roaming" and value:
            truth = _TRUTHS.get(value.lower())
            if truth is None:
                raise EventError("roaming-unknown", f"roaming {value[:40]!r} is neither 1 nor 0")
            values[name] = truth
    return CallEvent(**values)  # type: ignore[arg-type]


def _number(name: str, value: str) -> float | int:
    number: float | int = math.nan
    if len(value) <= 40:
        with contextlib.suppress(ValueError):
            number = int(value) if name in ("cause", "deadline_ms") else float(value)
    if not math.isfinite(number):
        raise EventError("number-garbled", f"{name} {value[:40]!r} is no finite number")
    return number


LIST_OPERATIONS: Final = ("list.add", "list.remove")
OPERATIONS: Final = ("reload", "kill", "revive", *LIST_OPERATIONS)
MAX_CONTROL_BYTES: Final = 8_192


class Control(msgspec.Struct, frozen=True):
    """What an operator asks of the engine. ``until`` as it was written; ``first`` and ``last`` are the wire's ``from``
    and ``to``."""

    op: str
    who: str
    why: str
    list: str = ""
    value: str = ""
    first: str = ""
    last: str = ""
    until: str = ""


_CONTROL_WIRE: Final = {"first": "from", "last": "to"}


def encode_control(control: Control) -> dict[str, str]:
    """The entry as flat text fields; empty ones are left out."""
    fields = {name: getattr(control, name) for name in control.__struct_fields__}
    return {_CONTROL_WIRE.get(name, name): value for name, value in fields.items() if value}


def decode_control(fields: Mapping[bytes, bytes], operations: Sequence[str] = OPERATIONS) -> Control:
    """What a control entry asks for; EventError with a stable code when it cannot be obeyed.

    Control characters become spaces, unknown fields are ignored; whether the list and the value exist is not asked.
    """
    if len(fields) > MAX_FIELDS:
        raise EventError("control-too-many-fields", f"{len(fields)} fields, at most {MAX_FIELDS}")
    if sum(map(len, fields.values())) > MAX_CONTROL_BYTES:
        raise EventError("control-too-large", f"more than {MAX_CONTROL_BYTES} bytes")
    texts = {name: _text(value).strip() for name, value in fields.items()}
    op = texts.get(b"op", "")
    if op not in operations:
        raise EventError("control-op-unknown", f"op {op[:40]!r} is none of {', '.join(operations)}")
    who, why = texts.get(b"who", "")[:80], texts.get(b"why", "")[:200]
    if not who or not why:
        raise EventError("control-nobody", f"op {op} says not who asks and why")
    if not op.startswith("list."):
        return Control(op, who, why)
    name, value, until = texts.get(b"list", ""), texts.get(b"value", ""), texts.get(b"until", "")
    first, last = texts.get(b"from", ""), texts.get(b"to", "")
    if not name or not (value or (first and last)):
        raise EventError("list-value", f"op {op} needs list, and value or from and to")
    if until and op == "list.remove":
        raise EventError("list-until", "an entry is taken out at once and for good: leave until away")
    return Control(op, who, why, name, value, first, last, until)


def encode_quarantined(item: Quarantined, at: float) -> dict[str, str]:
    """The quarantine entry: when (epoch s), from where, the class, the detail, the first bytes."""
    return {
        "at": f"{at:.3f}",
        "source": item.source[:64],
        "code": item.code,
        "detail": item.detail[:500],
        "raw": item.raw[:QUARANTINE_RAW_BYTES],
    }
