"""A verdict in the redirect dialect: status and headers of the final response, and the way back for callers.

| verdict | response |
|---|---|
| allow, label, no verdict in time | the go-on status (404): the switch takes its next route |
| divert, challenge with a target | 302, Contact: the desk |
| block | 608 (RFC 8688), or the 4xx-6xx code that the reply names; Reason (RFC 3326) |

A diversion without a usable target goes on with a label: a call is never sent nowhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from antifraud.queues import Reply
from sip_adapters.sip import SipError, parse_uri, quoted, wire_text

VERDICT_HEADER: Final = "X-Antifraud-Verdict"
LABEL_HEADER: Final = "X-Antifraud-Label"
DECISION_HEADER: Final = "X-Antifraud-Decision"
BLOCK_STATUS: Final = 608
_CALL_REJECTED: Final = 21


class Answer(NamedTuple):
    """The final response to come: status, our headers, the verdict that is carried out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    verdict: str


def go_on(status: int, verdict: str = "none") -> Answer:
    """Let the call proceed; ``verdict`` "none" says that nobody judged it."""
    return Answer(status, ((VERDICT_HEADER, verdict),), verdict)


def answer_of(reply: Reply, *, go_on_status: int, tell_reason: bool) -> Answer:
    """The answer that carries out ``reply``."""
    tail = ((DECISION_HEADER, reply.decision),) if reply.decision else ()
    if reply.verdict == "block":
        code = reply.sip_code if 400 <= reply.sip_code <= 699 else BLOCK_STATUS
        text = f";text={quoted(reply.text)}" if tell_reason and reply.text else ""
        headers = (
            (VERDICT_HEADER, "block"),
            ("Reason", f"SIP;cause={code}{text}"),
            ("Reason", f"Q.850;cause={_CALL_REJECTED}"),
        )
        return Answer(code, headers + tail, "block")
    if reply.verdict in ("divert", "challenge") and _is_callable(reply.target):
        contact = ("Contact", f"<{reply.target}>")
        return Answer(302, ((VERDICT_HEADER, reply.verdict), contact, *tail), reply.verdict)
    if reply.verdict == "allow":
        return Answer(go_on_status, ((VERDICT_HEADER, "allow"), *tail), "allow")
    label = reply.label or reply.text or reply.verdict
    return Answer(go_on_status, ((VERDICT_HEADER, "label"), (LABEL_HEADER, label), *tail), "label")


def _is_callable(target: str) -> bool:
    try:
        uri = parse_uri(target) if target.isascii() else None
    except SipError:
        return False
    return uri is not None and uri.scheme in ("sip", "sips", "tel")


def verdict_of(status: int, stated: str) -> str:
    """The verdict that a final response carries: what it states, otherwise what its status means."""
    word = wire_text(stated)
    if word in ("allow", "label", "challenge", "divert", "block"):
        return word
    if status in (301, 302):
        return "divert"
    return "block" if status in (403, 603, 607, 608) else "allow"
