"""An INVITE as a call event: the one place where SIP's words become the engine's."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from antifraud.domain import LIMITS, CallEvent, EventKind, check_event
from sip_adapters.sip.errors import SipError
from sip_adapters.sip.fingerprint import fingerprint
from sip_adapters.sip.identity import caller_identity
from sip_adapters.sip.message import Message
from sip_adapters.sip.text import REPLACEMENT, is_plain, wire_text

_CALL_ID_KEPT: Final = 200
_CALLABLE: Final = ("sip", "sips", "tel")


def call_id_text(raw: str) -> str:
    """The raw Call-ID as an event's id: itself where it is short visible ASCII, otherwise cut and told apart by a
    digest, so that no two different ids become one on their way through encodings."""
    if len(raw) <= _CALL_ID_KEPT and is_plain(raw):
        return raw
    digest = hashlib.blake2b(raw.encode("latin-1", "replace"), digest_size=8).hexdigest()
    kept = "".join(char if "!" <= char <= "~" else "_" for char in raw[: _CALL_ID_KEPT - 20])
    return f"{kept}~{digest}"


def callee_of(invite: Message) -> str:
    """The called number: the Request-URI's, or the To header's where the Request-URI names only a host.

    Raises SipError with 416 for a scheme that nobody can be called by, with 484 when nobody is called.
    """
    uri = invite.uri
    assert uri is not None, "a request has a URI"
    if uri.scheme == "urn" and uri.number.startswith("urn:service:"):
        return uri.number
    if uri.scheme not in _CALLABLE:
        raise SipError("scheme-unknown", f"{uri.scheme[:20]}: is no scheme to call", 416)
    callee = uri.number
    if not callee and invite.to.uri.scheme in _CALLABLE:
        callee = invite.to.uri.number
    if not callee.strip(f"{REPLACEMENT} "):
        raise SipError("callee-missing", "neither the Request-URI nor To names a number", 484)
    return callee


def invite_event(
    invite: Message,
    *,
    ts: float,
    source: str,
    switch: str = "",
    trunk: str = "",
    src_ip: str = "",
    transport: str = "udp",
    trust_asserted: bool = True,
    reply: str = "",
    deadline_ms: int = 0,
) -> CallEvent:
    """The setup event of ``invite``; passes ``check_event``.

    Raises SipError (answerable by its status) or EventError. An asserted identity from a peer that is not trusted
    to assert is dropped (RFC 3325 §5).
    """
    who = caller_identity(invite)
    callee = callee_of(invite)
    for name, value in (("callee_raw", callee), ("caller_raw", who.presented)):
        if len(value) > LIMITS[name]:
            raise SipError(
                "number-too-long", f"{name} has {len(value)} characters", 414 if name == "callee_raw" else 400
            )
    return check_event(
        CallEvent(
            kind=EventKind.SETUP,
            call_id=call_id_text(invite.call_id),
            ts=ts,
            source=source,
            switch=switch,
            trunk=trunk,
            caller_raw=who.presented,
            callee_raw=callee,
            asserted=who.asserted if trust_asserted else "",
            diversion=who.diversion,
            privacy=who.privacy,
            identity=who.identity,
            src_ip=src_ip,
            transport=transport,
            user_agent=wire_text(invite.first("user-agent")),
            fingerprint=fingerprint(invite),
            reply=reply,
            deadline_ms=deadline_ms,
        )
    )


def follow_up(setup: CallEvent, kind: EventKind, ts: float) -> CallEvent:
    """A later event (answer, release) of the call that ``setup`` began: same identity, nobody waits for it."""
    return msgspec.structs.replace(setup, kind=kind, ts=ts, reply="", deadline_ms=0, identity="")
