"""A reply as an order to a dialplan. Every text in it is made of characters that no dialplan gives a meaning to.

Replies come from the engine, but reasons and labels may quote what callers wrote, and who writes replies may be
compromised. So ``label`` and ``reason`` hold letters, digits and a few marks alone (no quote, comma, semicolon,
bracket, backslash, ``$``, ``&`` or ``|``), and a ``target`` is a plain SIP URI or it is none.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from antifraud.domain import CallEvent
from antifraud.queues import Reply
from sip_adapters.asking.fail import FailPolicy, Reason

CALL_REJECTED: Final = 21
BLOCK_STATUS: Final = 608
BLOCK_PHRASE: Final = "Rejected"
LONGEST_TEXT: Final = 80
_MARKS: Final = frozenset(" .:-_!?/+")
_PHRASE: Final = re.compile(r"[A-Za-z][A-Za-z0-9 /.-]{0,39}\Z")
_DECISION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_TARGET: Final = re.compile(
    r"sips?:(?:[A-Za-z0-9+._-]{1,64}@)?(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,200}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::[0-9]{1,5})?(?:;transport=(?:udp|tcp|tls))?\Z"
)


class Order(msgspec.Struct, frozen=True):
    """What the dialplan is to do.

    ``verdict``: allow, label, challenge, divert, block; ``none`` when nobody decided in time, ``emergency`` when
    nobody was asked. ``target``: SIP URI for divert and challenge. ``cause`` (Q.850), ``status`` and ``phrase`` (SIP)
    of a refusal; 0 and "" with other verdicts.
    """

    verdict: str
    target: str = ""
    label: str = ""
    reason: str = ""
    decision: str = ""
    cause: int = 0
    status: int = 0
    phrase: str = ""


UNDECIDED: Final = Order("none")
EMERGENCY: Final = Order("emergency")


def order_of(reply: Reply) -> Order:
    """The order that carries out ``reply``. A diversion without a usable target is a label; what is not understood
    is ``none``: a call is never sent nowhere and never refused by mistake."""
    decision = reply.decision if _DECISION.match(reply.decision) else ""
    reason = plain(reply.text)
    match reply.verdict:
        case "allow":
            return Order("allow", decision=decision)
        case "block":
            known = 400 <= reply.sip_code <= 699
            named = known and _PHRASE.match(reply.phrase) is not None
            return Order(
                "block",
                reason=reason,
                decision=decision,
                cause=reply.cause if 1 <= reply.cause <= 127 else CALL_REJECTED,
                status=reply.sip_code if known else BLOCK_STATUS,
                phrase=reply.phrase if named else BLOCK_PHRASE,
            )
        case "divert" | "challenge" if _TARGET.match(reply.target):
            return Order(reply.verdict, target=reply.target, reason=reason, decision=decision)
        case "label" | "divert" | "challenge":
            return Order("label", label=plain(reply.label) or reason or "suspicious", reason=reason, decision=decision)
    return UNDECIDED


def order_without_verdict(fail: FailPolicy | None, event: CallEvent, reason: Reason) -> Order:
    """The order for the call of ``event`` that nobody decided about because of ``reason``; without a policy, and where
    it says so, the call goes on."""
    action = fail.action(event, reason) if fail is not None else "allow"
    if fail is None or action == "allow":
        return UNDECIDED
    if action == "label":
        return Order("label", label=plain(fail.section.label) or "suspicious")
    how = fail.section.refuse if action == "refuse" else fail.section.unavailable
    return Order("block", cause=how.cause, status=how.status, phrase=how.phrase)


def plain(text: str) -> str:
    """``text`` with everything but letters, digits and harmless marks replaced by spaces, at most 80 characters."""
    kept = "".join(char if char.isalnum() or char in _MARKS else " " for char in text[:400])
    return " ".join(kept.split())[:LONGEST_TEXT].rstrip()
