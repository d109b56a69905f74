"""A verdict in the redirect dialect: status and headers of the final response, and the way back for callers.

| verdict | response |
|---|---|
| allow, label, no verdict in time | the go-on status (404): the switch takes its next route |
| label with a 302 and a target | 302, Contact: the target, which is the number called (dialect label302) |
| divert, challenge with a target | 302, Contact: the desk |
| block | 608 (RFC 8688), or the 4xx-6xx code that the reply names; Reason (RFC 3326) |

A diversion without a usable target goes on with a label: a call is never sent nowhere. Phrase and headers are those of
the reply's dialect, as far as such headers may be set at all; a reply of an engine without dialects brings none, and
then a refusal says its reason by itself.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from antifraud.domain import CallEvent
from antifraud.domain.sip_headers import split_lines
from antifraud.queues import Reply
from sip_adapters.asking import FailPolicy, Reason
from sip_adapters.sip import SipError, parse_uri, quoted, wire_text

VERDICT_HEADER: Final = "X-Antifraud-Verdict"
LABEL_HEADER: Final = "X-Antifraud-Label"
DECISION_HEADER: Final = "X-Antifraud-Decision"
BLOCK_STATUS: Final = 608
_CALL_REJECTED: Final = 21
_PHRASE: Final = re.compile(r"[A-Za-z][A-Za-z0-9 /.-]{0,39}\Z")
# What 603+ says in its text is a contact (ATIS-1000099), and no reason to keep back.
_REASON_TEXT: Final = re.compile(r';[ \t]{0,9}text="(?!v=analytics1;)[^"]*"')

Lines = tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """The final response to come: status, our headers, the verdict that is carried out, a phrase other than usual."""

    status: int
    headers: Lines
    verdict: str
    phrase: str = ""


def go_on(status: int, verdict: str = "none") -> Answer:
    """Let the call proceed; ``verdict`` "none" says that nobody judged it."""
    return Answer(status, ((VERDICT_HEADER, verdict),), verdict)


def without_verdict(go_on_status: int, fail: FailPolicy | None, event: CallEvent | None, reason: Reason) -> Answer:
    """The answer to the call of ``event`` that nobody decided about because of ``reason``."""
    action = fail.action(event, reason) if fail is not None and event is not None else "allow"
    if fail is None or action == "allow":
        return go_on(go_on_status)
    section = fail.section
    if action == "label":
        return Answer(go_on_status, ((VERDICT_HEADER, "label"), (LABEL_HEADER, section.label)), "label")
    how = section.refuse if action == "refuse" else section.unavailable
    lines: Lines = ((VERDICT_HEADER, "block"), ("Reason", f"Q.850;cause={how.cause}"))
    if action == "unavailable":
        lines = (*lines, ("Retry-After", str(section.retry_after_s)))
    return Answer(how.status, lines, "block", how.phrase)


def answer_of(reply: Reply, *, go_on_status: int, tell_reason: bool) -> Answer:
    """The answer that carries out ``reply``."""
    tail = ((DECISION_HEADER, reply.decision),) if reply.decision else ()
    if reply.verdict == "block":
        code = reply.sip_code if 400 <= reply.sip_code <= 699 else BLOCK_STATUS
        lines = _refusal_lines(reply, code, tell_reason=tell_reason)
        phrase = reply.phrase if code == reply.sip_code and _PHRASE.match(reply.phrase) else ""
        return Answer(code, ((VERDICT_HEADER, "block"), *lines, *tail), "block", phrase)
    if reply.verdict in ("divert", "challenge") and _is_callable(reply.target):
        contact = ("Contact", f"<{reply.target}>")
        lines = split_lines(reply.headers, onward=False)
        return Answer(302, ((VERDICT_HEADER, reply.verdict), contact, *lines, *tail), reply.verdict)
    onward = split_lines(reply.headers, onward=True)
    if reply.verdict == "allow":
        return Answer(go_on_status, ((VERDICT_HEADER, "allow"), *onward, *tail), "allow")
    label = reply.label or reply.text or reply.verdict
    ours = ((VERDICT_HEADER, "label"), (LABEL_HEADER, label), *onward, *tail)
    if reply.verdict == "label" and reply.sip_code == 302 and _is_callable(reply.target):
        return Answer(302, (("Contact", f"<{reply.target}>"), *ours), "label")
    return Answer(go_on_status, ours, "label")


def _refusal_lines(reply: Reply, code: int, *, tell_reason: bool) -> Lines:
    """The header lines of a refusal: those of the reply's dialect, else the reason and the Q.850 cause."""
    lines = split_lines(reply.headers, onward=False)
    if not lines:
        text = f";text={quoted(reply.text)}" if tell_reason and reply.text else ""
        return (("Reason", f"SIP;cause={code}{text}"), ("Reason", f"Q.850;cause={reply.cause or _CALL_REJECTED}"))
    if tell_reason:
        return lines
    return tuple((name, _REASON_TEXT.sub("", value) if name.lower() == "reason" else value) for name, value in lines)


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
