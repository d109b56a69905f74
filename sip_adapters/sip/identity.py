"""Who calls, by all that an INVITE says about it: From, P-Asserted-Identity, P-Preferred-Identity, Privacy,
Diversion, History-Info, Identity (RFC 3261, 3325, 3323, 5806, 7044, 8224).

Only From must be well formed; a damaged header beside it counts as absent, because a call must not lose its verdict
to an ornament.
"""

from __future__ import annotations

from typing import NamedTuple

from sip_adapters.sip.address import Address, parse_address, split_list
from sip_adapters.sip.errors import SipError
from sip_adapters.sip.message import Message
from sip_adapters.sip.text import wire_text


class CallerIdentity(NamedTuple):
    """Clean text throughout; "" where the INVITE says nothing."""

    presented: str
    display: str
    asserted: str
    preferred: str
    privacy: str
    diversion: str
    identity: str


def caller_identity(invite: Message) -> CallerIdentity:
    """What ``invite`` says about its caller. Believing the asserted identity or not is the caller's business."""
    return CallerIdentity(
        presented=invite.sender.uri.number,
        display=invite.sender.name,
        asserted=_number_of(invite, "p-asserted-identity"),
        preferred=_number_of(invite, "p-preferred-identity"),
        privacy=wire_text(";".join(value for value in invite.values("privacy") if value)),
        diversion=_diverting(invite),
        identity=wire_text(invite.first("identity")),
    )


def _addresses(invite: Message, name: str) -> list[Address]:
    found: list[Address] = []
    for value in invite.values(name):
        try:
            found += [parse_address(piece, what=name) for piece in split_list(value)[:16]]
        except SipError:
            continue
    return found


def _number_of(invite: Message, name: str) -> str:
    """The number in ``name``: a header may name one sip and one tel URI (RFC 3325 §9.1); digits win over a name."""
    numbers = [address.uri.number for address in _addresses(invite, name)]
    dialled = [number for number in numbers if number.lstrip("+")[:1].isdigit()]
    return next(iter(dialled or [number for number in numbers if number]), "")


def _diverting(invite: Message) -> str:
    """The number that diverted the call last: the top Diversion, or the entry before the current one in
    History-Info."""
    diversion = _addresses(invite, "diversion")
    if diversion:
        return diversion[0].uri.number
    history = _addresses(invite, "history-info")
    return history[-2].uri.number if len(history) >= 2 else ""
