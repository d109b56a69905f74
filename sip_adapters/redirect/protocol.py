"""The redirect server without sockets: datagrams, verdicts and the passing of time in; things to do out.

An INVITE server transaction (RFC 3261 §17.2.1) in one state table, for a server that gives only final answers:

=========  =====================  =======================================  =========
state      what comes             what is done                             next
=========  =====================  =======================================  =========
(none)     INVITE                 ask (or answer at once)                  WAITING
WAITING    INVITE again           100 again, if one was sent               WAITING
WAITING    200 ms pass            100 Trying                               WAITING
WAITING    verdict, deadline      final answer, timer G                    ANSWERED
WAITING    CANCEL                 200 to it, 487, the question withdrawn   ANSWERED
ANSWERED   INVITE again, timer G  final answer again                       ANSWERED
ANSWERED   ACK                    timer I                                  DONE
ANSWERED   timer H (32 s)                                                  (none)
DONE       timer I (5 s)                                                   (none)
=========  =====================  =======================================  =========

100 Trying is sent when 200 ms pass without a verdict (§17.2.1 allows that where the answer is expected sooner): the
default deadline is 150 ms, so most calls cost two datagrams less, and a client's first retransmission is at 500 ms.
Everything but INVITE is answered without a transaction: the same request gives the same answer.
"""

from __future__ import annotations

import contextlib
import heapq
import ipaddress
import itertools
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from antifraud.domain import CallEvent, EventError, Quarantined
from antifraud.queues import Reply
from sip_adapters.asking import Reason
from sip_adapters.redirect.answer import Answer, answer_of, go_on, without_verdict
from sip_adapters.redirect.options import Options
from sip_adapters.sip import (
    Envelope,
    Message,
    SipError,
    Uri,
    build_response,
    callee_of,
    invite_event,
    is_keepalive,
    make_tag,
    parse,
    parse_address,
    parse_uri,
    quarantined,
    split_list,
    stamp_via,
    wire_text,
)

SOURCE: Final = "redirect"
ALLOW: Final = "INVITE, ACK, CANCEL, OPTIONS"
MAGIC_COOKIE: Final = "z9hG4bK"
TRYING_AFTER_S: Final = 0.2
T1: Final = 0.5
T2: Final = 4.0
TIMER_H: Final = 64 * T1
TIMER_I: Final = 5.0
ANSWERED_PER_PENDING: Final = 8
REMEMBERED_S: Final = TIMER_H
_TRUE: Final = ("1", "true", "yes", "y")
_FALSE: Final = ("0", "false", "no", "n")

Source = tuple[str, int]


class Send(NamedTuple):
    """Send ``data`` to ``address``."""

    data: bytes
    address: Source


class Ask(NamedTuple):
    """Append ``event`` to the log and bring its verdict back by ``decide(event.call_id, …)``."""

    event: CallEvent


class Record(NamedTuple):
    """Append ``event`` to the log; nobody waits for a verdict."""

    event: CallEvent


class Withdraw(NamedTuple):
    """Nobody waits for the verdict on ``call_id`` any more."""

    call_id: str


class Count(NamedTuple):
    """Add one to the counter ``name``; the names are a fixed set, nothing in them comes from the wire."""

    name: str


class Put(NamedTuple):
    """Put ``item`` into quarantine."""

    item: Quarantined


Action = Send | Ask | Record | Withdraw | Count | Put


class State(Enum):
    """Where an INVITE transaction stands; see the table above."""

    WAITING = "waiting"
    ANSWERED = "answered"
    DONE = "done"


class _Transaction:
    __slots__ = ("answer", "call_id", "due", "envelope", "give_up", "interval", "key", "state", "tag", "target", "wake")

    def __init__(self, key: tuple[str, ...], envelope: Envelope, target: Source, tag: str, due: float) -> None:
        self.key = key
        self.envelope = envelope
        self.target = target
        self.tag = tag
        self.state = State.WAITING
        self.call_id = ""
        self.answer = b""
        self.due = due
        self.wake = due
        self.interval = T1
        self.give_up = 0.0


class Redirect:
    """The state of one redirect server.

    ``now`` everywhere is a monotonic clock in seconds, ``ts`` the epoch second for events. ``secret`` keys the To
    tags and the ids of renamed questions; ``reply`` is the Redis key on which verdicts come back. Bounded: at most
    ``max_pending`` calls wait, at most eight times as many answered ones are kept for retransmission and as many
    questions without a reply are remembered, the oldest give way.
    """

    def __init__(self, options: Options, *, secret: bytes, reply: str = "") -> None:
        self._options = options
        self._section = options.section
        self._secret = secret
        self._reply = reply
        self._waiting: dict[tuple[str, ...], _Transaction] = {}
        self._answered: dict[tuple[str, ...], _Transaction] = {}
        self._calls: dict[str, tuple[CallEvent, list[_Transaction]]] = {}
        self._abandoned: dict[str, tuple[CallEvent, float]] = {}
        self._timers: list[tuple[float, int, _Transaction]] = []
        self._sequence = 0
        self._peers: dict[str, tuple[bool, str]] = {}
        self._handlers: dict[str, Callable[[Message, Source, float, float], list[Action]]] = {
            "INVITE": self._invite,
            "ACK": self._ack,
            "CANCEL": self._cancel,
            "OPTIONS": self._options_request,
        }

    @property
    def pending(self) -> int:
        """Calls that wait for their verdict."""
        return len(self._waiting)

    @property
    def kept(self) -> int:
        """Answered transactions that are kept for retransmissions."""
        return len(self._answered)

    @property
    def remembered(self) -> int:
        """Questions that nobody waits for and that may still be replied to."""
        return len(self._abandoned)

    def waits_for(self, event: CallEvent) -> bool:
        """Whether a call still waits for the verdict on ``event``, the very one that was in ``Ask``."""
        found = self._calls.get(event.call_id)
        return found is not None and found[0] is event

    def next_wake(self) -> float | None:
        """When ``tick`` wants to be called next; None when nothing is under way."""
        timers = self._timers
        while timers and timers[0][2].wake != timers[0][0]:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def receive(self, data: bytes, source: Source, now: float, ts: float) -> list[Action]:
        """What one datagram from ``source`` asks for. Never raises."""
        allowed, _ = self._peer(source[0])
        if not allowed:
            return [Count("redirect.stranger")]
        if is_keepalive(data):
            return [Count("redirect.keepalive")]
        try:
            message = parse(data)
        except SipError as error:
            return self._malformed(error, data, source)
        if not message.is_request:
            return [Count("redirect.stray-response")]
        try:
            _check_hops(message)
            return self._handlers.get(message.method, self._other)(message, source, now, ts)
        except SipError as error:
            envelope = None if message.method == "ACK" else message.envelope
            return self._malformed(error.with_envelope(envelope), data, source)
        except EventError as error:
            refused = SipError(error.code, error.detail, 400, message.envelope)
            return self._malformed(refused, data, source)

    def decide(self, call_id: str, reply: Reply | None, now: float) -> list[Action]:
        """The verdict on ``call_id``, or None when none will come: everyone who waits for it is answered."""
        found = self._calls.pop(call_id, None)
        if found is None:
            return []
        if reply is None:
            answer = self._without_verdict(found[0], "redis")
            count = _undecided("redirect.go-on.no-log", answer)
            self._abandon(found[0], now)
        else:
            if call_id in self._abandoned:
                # It was asked about more than once: another reply may be on its way.
                self._abandon(found[0], now)
            answer = answer_of(reply, go_on_status=self._section.go_on_status, tell_reason=self._section.tell_reason)
            count = Count(f"redirect.verdict.{answer.verdict}")
        actions: list[Action] = [count, *(self._finish(transaction, answer, now) for transaction in found[1])]
        self._evict()
        return actions

    def tick(self, now: float) -> list[Action]:
        """What the passing of time asks for: 100 Trying, deadlines, retransmissions, ends."""
        actions: list[Action] = []
        timers = self._timers
        while timers and timers[0][0] <= now:
            when, _, transaction = heapq.heappop(timers)
            if transaction.wake == when:
                self._wake(transaction, now, actions)
        return actions

    def _wake(self, transaction: _Transaction, now: float, actions: list[Action]) -> None:
        if transaction.state is State.WAITING:
            if now < transaction.due:
                transaction.answer = build_response(transaction.envelope, 100)
                actions.append(Send(transaction.answer, transaction.target))
                self._sleep(transaction, transaction.due)
                return
            asked = self._calls.get(transaction.call_id)
            answer = self._without_verdict(asked[0] if asked is not None else None, "late")
            actions.append(_undecided("redirect.go-on.deadline", answer))
            actions += self._leave_call(transaction, now)
            actions.append(self._finish(transaction, answer, now))
            self._evict()
        elif transaction.state is State.ANSWERED and now < transaction.give_up:
            actions.append(Send(transaction.answer, transaction.target))
            actions.append(Count("redirect.retransmitted"))
            transaction.interval = min(transaction.interval * 2, T2)
            self._sleep(transaction, min(now + transaction.interval, transaction.give_up))
        else:
            if transaction.state is State.ANSWERED:
                actions.append(Count("redirect.no-ack"))
            self._answered.pop(transaction.key, None)

    def _invite(self, message: Message, source: Source, now: float, ts: float) -> list[Action]:
        key = _key(message)
        known = self._waiting.get(key) or self._answered.get(key)
        if known is not None:
            again = known.answer if known.state is not State.DONE else b""
            repeated: list[Action] = [Count("redirect.invite-again")]
            return [*repeated, Send(again, known.target)] if again else repeated
        if message.to.tag:
            raise SipError("dialog-unknown", "an INVITE inside a dialogue that is not ours", 481)
        transaction = _Transaction(
            key,
            _stamped(message.envelope, source),
            _response_address(message, source),
            self._tag(message.envelope, source),
            now + self._section.deadline_ms / 1000.0,
        )
        if self._is_emergency(message):
            return self._emergency(message, transaction, source, now, ts)
        event = self._event(message, source, ts)
        actions: list[Action] = [Count("redirect.invite")]
        if len(self._waiting) >= self._section.max_pending:
            # A flood must not cost honest calls their way. No transaction is kept: nobody's flood fills that table.
            answer = self._without_verdict(event, "overload")
            data = build_response(
                transaction.envelope,
                answer.status,
                to_tag=transaction.tag,
                headers=answer.headers,
                reason=answer.phrase,
            )
            return [*actions, _undecided("redirect.full", answer), Send(data, transaction.target), _record(event)]
        self._waiting[key] = transaction
        self._sleep(transaction, min(transaction.due, now + TRYING_AFTER_S))
        return actions + self._join_call(transaction, event, now)

    def _without_verdict(self, event: CallEvent | None, reason: Reason) -> Answer:
        return without_verdict(self._section.go_on_status, self._options.fail, event, reason)

    def _emergency(
        self, message: Message, transaction: _Transaction, source: Source, now: float, ts: float
    ) -> list[Action]:
        """Let the call proceed at once, whatever else is wrong with it; the log hears of it when it can be told."""
        answer = go_on(self._section.go_on_status, "allow")
        actions: list[Action] = [Count("redirect.emergency"), self._finish(transaction, answer, now)]
        self._evict()
        try:
            event = self._event(message, source, ts)
        except EventError as error:
            return [*actions, Put(quarantined(error.code, error.detail, SOURCE, message.call_id.encode("latin-1")))]
        return [*actions, _record(event)]

    def _join_call(self, transaction: _Transaction, event: CallEvent, now: float) -> list[Action]:
        """Ask for ``event``, or wait for the answer to the same question that is already under way.

        A Call-ID that was asked about with *other* numbers, and whose reply may still come, gets an id of its own:
        nobody may borrow another call's verdict.
        """
        self._forget_abandoned(now)
        event = self._with_own_id(event)
        found = self._calls.get(event.call_id)
        transaction.call_id = event.call_id
        if found is not None:
            found[1].append(transaction)
            return [Count("redirect.shared")]
        self._calls[event.call_id] = (event, [transaction])
        return [Ask(event)]

    def _with_own_id(self, event: CallEvent) -> CallEvent:
        """``event`` under an id that belongs to no other call. Nobody who does not know our secret can tell it
        beforehand; where it is taken nevertheless, there is a next one."""
        asked = event.call_id
        for attempt in itertools.count():
            waiting = self._calls.get(event.call_id)
            abandoned = self._abandoned.get(event.call_id)
            owners = [entry[0] for entry in (waiting, abandoned) if entry is not None]
            if all(_same_call(owner, event) for owner in owners):
                break
            own = make_tag(
                self._secret, "call", str(attempt), asked,
                *(part.encode().decode("latin-1") for part in _identity(event)),
            )  # fmt: skip
            event = msgspec.structs.replace(event, call_id=f"{asked}~{own}")
        return event

    def _abandon(self, event: CallEvent, now: float) -> None:
        """Remember whom the id of a question belongs to whose reply may still come."""
        self._abandoned.pop(event.call_id, None)
        self._abandoned[event.call_id] = (event, now + REMEMBERED_S)
        if len(self._abandoned) > self._section.max_pending * ANSWERED_PER_PENDING:
            del self._abandoned[next(iter(self._abandoned))]

    def _forget_abandoned(self, now: float) -> None:
        while self._abandoned:
            oldest = next(iter(self._abandoned))
            if self._abandoned[oldest][1] > now:
                break
            del self._abandoned[oldest]

    def _leave_call(self, transaction: _Transaction, now: float) -> list[Action]:
        found = self._calls.get(transaction.call_id)
        if found is None:
            return []
        found[1].remove(transaction)
        if found[1]:
            return []
        del self._calls[transaction.call_id]
        self._abandon(found[0], now)
        return [Withdraw(transaction.call_id)]

    def _ack(self, message: Message, _source: Source, now: float, _ts: float) -> list[Action]:
        transaction = self._answered.get(_key(message))
        if transaction is None:
            return [Count("redirect.stray-ack")]
        if transaction.state is State.ANSWERED:
            transaction.state = State.DONE
            transaction.answer = b""
            self._sleep(transaction, now + TIMER_I)
        return [Count("redirect.ack")]

    def _cancel(self, message: Message, source: Source, now: float, _ts: float) -> list[Action]:
        key = _key(message)
        target = _response_address(message, source)
        transaction = self._waiting.get(key) or self._answered.get(key)
        if transaction is None:
            tag = self._tag(message.envelope, source)
            gone = build_response(message.envelope, 481, to_tag=tag, source=source)
            return [Count("redirect.stray-cancel"), Send(gone, target)]
        actions: list[Action] = [
            Count("redirect.cancel"),
            Send(build_response(message.envelope, 200, to_tag=transaction.tag, source=source), target),
        ]
        if transaction.state is State.WAITING:
            actions += self._leave_call(transaction, now)
            actions.append(self._finish(transaction, Answer(487, (), "none"), now))
            self._evict()
        return actions

    def _options_request(self, message: Message, source: Source, _now: float, _ts: float) -> list[Action]:
        headers = (("Allow", ALLOW), ("Accept", "application/sdp"))
        tag = self._tag(message.envelope, source)
        answer = build_response(message.envelope, 200, to_tag=tag, source=source, headers=headers)
        return [Count("redirect.options"), Send(answer, _response_address(message, source))]

    def _other(self, message: Message, source: Source, _now: float, _ts: float) -> list[Action]:
        tag = self._tag(message.envelope, source)
        answer = build_response(message.envelope, 405, to_tag=tag, source=source, headers=(("Allow", ALLOW),))
        return [Count("redirect.other-method"), Send(answer, _response_address(message, source))]

    def _malformed(self, error: SipError, data: bytes, source: Source) -> list[Action]:
        actions: list[Action] = [
            Count("redirect.malformed"),
            Put(quarantined(error.code, f"{error.detail} (from {source[0]})", SOURCE, data)),
        ]
        if error.envelope is not None:
            tag = self._tag(error.envelope, source)
            if error.envelope.method == "INVITE" and self._is_emergency_uri(_request_uri(data)):
                # Whatever is wrong with the rest of it.
                answer = go_on(self._section.go_on_status, "allow")
                sos = build_response(error.envelope, answer.status, to_tag=tag, source=source, headers=answer.headers)
                return [*actions, Count("redirect.emergency"), Send(sos, source)]
            actions.append(Send(build_response(error.envelope, error.status, to_tag=tag, source=source), source))
        return actions

    def _event(self, message: Message, source: Source, ts: float) -> CallEvent:
        _, peer_trunk = self._peer(source[0])
        event = invite_event(
            message,
            ts=ts,
            source=SOURCE,
            switch=self._section.switch,
            trunk=self._trunk_param(message) or peer_trunk or self._section.trunk,
            src_ip=source[0],
            trust_asserted=self._section.trust_asserted,
            reply=self._reply,
            deadline_ms=self._section.deadline_ms,
        )
        if not self._options.headers:
            return event
        stated: dict[str, str | bool] = {}
        for field, name in self._options.headers.items():
            value = wire_text(message.first(name))
            if field == "roaming":
                if value.lower() in _TRUE + _FALSE:
                    stated[field] = value.lower() in _TRUE
            elif value:
                stated[field] = value[:32] if field in ("imsi", "imei") else value[:64]
        return msgspec.structs.replace(event, **stated) if stated else event

    def _trunk_param(self, message: Message) -> str:
        wanted = self._section.trunk_param.lower()
        if not wanted:
            return ""
        uris: list[Uri] = [] if message.uri is None else [message.uri]
        with contextlib.suppress(SipError):
            uris.append(_contact_uri(message.first("contact")))
        for uri in uris:
            found = uri.params.get(wanted, "")
            for piece in uri.user.split(";")[1:]:
                name, _, value = piece.partition("=")
                if name.lower() == wanted:
                    found = found or value
            if found:
                return wire_text(found)[:64]
        return ""

    def _is_emergency(self, message: Message) -> bool:
        return self._is_emergency_uri(message.uri) or callee_of(message) in self._options.emergency

    def _is_emergency_uri(self, uri: Uri | None) -> bool:
        if uri is None:
            return False
        if uri.scheme == "urn":
            return uri.number.startswith("urn:service:sos")
        if uri.scheme not in ("sip", "sips", "tel"):
            return False
        number = uri.number
        if not number and uri.host.lstrip("+").isdecimal():
            number = uri.host
        return number in self._options.emergency

    def _peer(self, host: str) -> tuple[bool, str]:
        """Whether ``host`` is answered, and its trunk; remembered for at most 4,096 hosts."""
        found = self._peers.get(host)
        if found is not None:
            return found
        if not self._options.peers and not self._options.trunk_by_source:
            return True, ""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return not self._options.peers, ""
        allowed = not self._options.peers or any(address in network for network in self._options.peers)
        trunk = next((name for network, name in self._options.trunk_by_source if address in network), "")
        if len(self._peers) >= 4096:
            self._peers.clear()
        self._peers[host] = (allowed, trunk)
        return allowed, trunk

    def _tag(self, envelope: Envelope, source: Source) -> str:
        cseq_number = envelope.cseq.split(" ", 1)[0]
        return make_tag(self._secret, envelope.vias[0], envelope.call_id, envelope.sender, cseq_number, source[0])

    def _finish(self, transaction: _Transaction, answer: Answer, now: float) -> Send:
        self._waiting.pop(transaction.key, None)
        transaction.answer = build_response(
            transaction.envelope,
            answer.status,
            to_tag=transaction.tag,
            headers=answer.headers,
            reason=answer.phrase,
        )
        transaction.state = State.ANSWERED
        transaction.give_up = now + TIMER_H
        transaction.interval = T1
        self._answered[transaction.key] = transaction
        self._sleep(transaction, now + T1)
        return Send(transaction.answer, transaction.target)

    def _sleep(self, transaction: _Transaction, until: float) -> None:
        transaction.wake = until
        self._sequence += 1
        heapq.heappush(self._timers, (until, self._sequence, transaction))

    def _evict(self) -> None:
        most = self._section.max_pending * ANSWERED_PER_PENDING
        while len(self._answered) > most:
            oldest = self._answered.pop(next(iter(self._answered)))
            oldest.wake = -1.0


def _check_hops(message: Message) -> None:
    if message.max_forwards == 0 and message.method not in ("ACK", "CANCEL"):
        raise SipError("max-forwards-zero", "the request has no hop left", 483)


def _key(message: Message) -> tuple[str, ...]:
    """The transaction of a request (RFC 3261 §17.2.3); ACK and CANCEL find their INVITE's."""
    branch = message.via.branch
    if branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return (branch, message.via.sent_by)
    uri = message.uri.raw if message.uri is not None else ""
    return (
        "", message.envelope.vias[0], uri, message.sender.tag, message.call_id, str(message.cseq),
    )  # fmt: skip


def _request_uri(data: bytes) -> Uri | None:
    """The Request-URI of a request that is malformed, where it can be read."""
    words = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("latin-1").split()
    try:
        return parse_uri(words[1]) if len(words) > 1 else None
    except SipError:
        return None


def _undecided(name: str, answer: Answer) -> Count:
    """The count of a call that nobody decided about: how it went on, or that the fail policy refused it."""
    return Count("redirect.fail.refused" if answer.verdict == "block" else name)


def _identity(event: CallEvent) -> tuple[str, ...]:
    return (event.caller_raw, event.callee_raw, event.asserted, event.src_ip, event.trunk)


def _same_call(one: CallEvent, other: CallEvent) -> bool:
    return _identity(one) == _identity(other)


def _record(event: CallEvent) -> Record:
    """``event`` for the log alone."""
    return Record(msgspec.structs.replace(event, reply="", deadline_ms=0))


def _response_address(message: Message, source: Source) -> Source:
    """Where responses go (RFC 3261 §18.2.2, RFC 3581): always to the address that the request came from, so that a
    forged Via or maddr cannot aim our answers at somebody else."""
    if "rport" in message.via.params:
        return source
    return (source[0], message.via.port or 5060)


def _stamped(envelope: Envelope, source: Source) -> Envelope:
    return envelope._replace(vias=(stamp_via(envelope.vias[0], *source), *envelope.vias[1:]))


def _contact_uri(value: str) -> Uri:
    return parse_address(split_list(value)[0], what="contact").uri
