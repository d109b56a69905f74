"""Responses (RFC 3261 §8.2.6): what the request said is repeated byte for byte, what we add cannot break a line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from sip_adapters.sip.address import blank_quotes
from sip_adapters.sip.errors import Envelope, SipError

_TAG: Final = re.compile(r";[ \t]*tag[ \t]*=", re.IGNORECASE)
# Spaces are counted, because two unbounded runs of them side by side would make this quadratic.
_RPORT: Final = re.compile(r";[ \t]{0,9}rport[ \t]{0,9}(?:=[ \t]{0,9}[0-9]{0,9})?(?=[ \t]{0,9}(?:;|$))", re.IGNORECASE)
_RECEIVED: Final = re.compile(r";[ \t]*received[ \t]*=[^;,]*", re.IGNORECASE)

MAX_VALUE: Final = 2_000
REASONS: Final[dict[int, str]] = {
    100: "Trying", 200: "OK", 302: "Moved Temporarily", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 414: "Request-URI Too Long", 416: "Unsupported URI Scheme",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 483: "Too Many Hops",
    484: "Address Incomplete", 486: "Busy Here",
    487: "Request Terminated", 503: "Service Unavailable", 505: "Version Not Supported", 513: "Message Too Large",
    600: "Busy Everywhere", 603: "Decline", 607: "Unwanted", 608: "Rejected",
}  # fmt: skip


def build_response(
    envelope: Envelope,
    status: int,
    *,
    to_tag: str = "",
    source: tuple[str, int] | None = None,
    headers: Sequence[tuple[str, str]] = (),
    reason: str = "",
) -> bytes:
    """The response with ``status``; ``headers`` are ours, their values may come from anywhere.

    ``to_tag`` is added where To has no tag. ``source`` is the address that the request came from: it goes into the
    top Via as ``received`` and ``rport`` where RFC 3261 §18.2.1 and RFC 3581 ask for it.
    """
    to = envelope.to
    if to_tag and not _has_tag(to):
        to = f"{to};tag={to_tag}"
    vias = list(envelope.vias)
    if source is not None:
        vias[0] = stamp_via(vias[0], *source)
    lines = [f"SIP/2.0 {status} {header_value(reason) or REASONS.get(status, 'Refused')}"]
    lines += [f"Via: {via}" for via in vias]
    lines += [f"From: {envelope.sender}", f"To: {to}", f"Call-ID: {envelope.call_id}", f"CSeq: {envelope.cseq}"]
    raw = "\r\n".join(lines).encode("latin-1", "replace")
    ours = "".join(f"\r\n{name}: {header_value(value)}" for name, value in headers)
    return raw + ours.encode("utf-8", "replace") + b"\r\nContent-Length: 0\r\n\r\n"


def header_value(text: str) -> str:
    """``text`` as the value of one header line: controls (and so line ends) become spaces, 2,000 characters at most."""
    if text.isprintable():
        return text[:MAX_VALUE]
    return "".join(char if char.isprintable() else " " for char in text[:MAX_VALUE])


def quoted(text: str) -> str:
    """``text`` as a quoted string (RFC 3261 §25.1)."""
    return '"' + header_value(text)[:200].replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_tag(secret: bytes, *parts: str) -> str:
    """A To tag that nobody else can guess and that is the same for every answer of one transaction (§8.2.6.2)."""
    keyed = hashlib.blake2b(digest_size=10, key=secret[:64])
    for part in parts:
        keyed.update(part.encode("latin-1", "replace"))
        keyed.update(b"\x00")
    return keyed.hexdigest()


def stamp_via(via: str, host: str, port: int) -> str:
    """The raw top Via with ``rport`` filled in, and ``received`` where rport asks or sent-by is not ``host``."""
    try:
        blanked = blank_quotes(via)
    except SipError:
        return via
    first_end = blanked.find(",")
    first_end = len(via) if first_end < 0 else first_end
    first, rest = via[:first_end].rstrip(" \t"), via[first_end:]
    shown = blanked[: len(first)]
    rport = _RPORT.search(shown)
    sent_by = first.split(";", 1)[0].split()[-1:] or [""]
    sent_host = sent_by[0].rpartition(":")[0] if re.search(r":[0-9]+$", sent_by[0]) else sent_by[0]
    if rport is None and sent_host.strip("[]").lower() == host.lower():
        return via
    if rport is not None:
        first = f"{first[: rport.start()]};rport={port}{first[rport.end() :]}"
        # A quoted parameter keeps its length in the blanked copy, so it is blanked anew only because rport grew.
        shown = blank_quotes(first)
    received = _RECEIVED.search(shown)
    if received is not None:
        first = first[: received.start()] + first[received.end() :]
    bracketed = host.partition("%")[0]
    return f"{first};received={bracketed}{rest}"


def _has_tag(to: str) -> bool:
    try:
        blanked = blank_quotes(to)
    except SipError:
        blanked = to
    return _TAG.search(blanked, blanked.rfind(">") + 1) is not None
