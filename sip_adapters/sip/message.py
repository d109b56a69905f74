"""Bytes to a SIP message (RFC 3261 §7), within hard bounds and without I/O.

Strict where a call's identity is at stake (start line, Via, From, To, Call-ID, CSeq, Content-Length), indifferent to
everything else: a header that nobody here reads may hold anything. The verdicts over RFC 4475's torture messages are
written down in tests/unit/sip/test_torture.py.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from sip_adapters.sip.address import Address, Uri, Via, is_token, parse_address, parse_uri, parse_via
from sip_adapters.sip.errors import Envelope, SipError
from sip_adapters.sip.text import wire_text

MAX_MESSAGE: Final = 65_536
MAX_HEADERS: Final = 256
MAX_HEADER_LINE: Final = 16_384
MAX_START_LINE: Final = 8_192
_MAX_CSEQ: Final = 2**31

COMPACT: Final[dict[str, str]] = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""Compact header names (IANA registry): letter → full name."""

_SINGLE: Final = frozenset({"from", "to", "call-id", "cseq", "content-length", "max-forwards"})
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(r"\n[ \t]+")
_VERSION: Final = re.compile(r"SIP/([0-9]{1,3}\.[0-9]{1,3})", re.IGNORECASE)
_STATUS_LINE: Final = re.compile(r"SIP/([0-9]{1,3}\.[0-9]{1,3}) ([0-9]{1,12})(?: (.*))?", re.IGNORECASE)
_LOOKS_LIKE_REQUEST: Final = re.compile(
    r"[A-Za-z0-9\-.!%*_+`'~]+[ \t].*SIP/[0-9]{1,3}\.[0-9]{1,3}[ \t]*", re.IGNORECASE
)
_CSEQ: Final = re.compile(r"([0-9]{1,30})[ \t]+([^ \t]+)")


class Message(msgspec.Struct, frozen=True):
    """A request (``method`` set, ``status`` 0) or a response (``status`` set, ``method`` "").

    ``headers`` holds (name as spelled, canonical lower-case name, raw latin-1 value unfolded and stripped) in the
    order of the message; ``body`` ends where Content-Length says, or earlier where the capture has cut it (``cut``).
    """

    method: str
    status: int
    reason: str
    uri: Uri | None
    headers: tuple[tuple[str, str, str], ...]
    body: bytes
    envelope: Envelope
    via: Via
    sender: Address
    to: Address
    call_id: str
    cseq: int
    cseq_method: str
    max_forwards: int | None
    cut: bool = False

    @property
    def is_request(self) -> bool:
        """Whether this is a request."""
        return not self.status

    def values(self, name: str) -> list[str]:
        """All raw values of the header with the canonical lower-case ``name``, in order."""
        return [value for _, canonical, value in self.headers if canonical == name]

    def first(self, name: str) -> str:
        """The first raw value of the header ``name``; "" when there is none."""
        for _, canonical, value in self.headers:
            if canonical == name:
                return value
        return ""


def is_keepalive(data: bytes) -> bool:
    """Whether a datagram is only a keep-alive: empty, CRLFs or NULs (RFC 5626 §3.5, and what NAT boxes send)."""
    return len(data) <= 64 and not data.strip(b"\r\n\x00 \t")


def looks_like_sip(data: bytes) -> bool:
    """Whether ``data`` has the first line of a SIP message (after leading CRLFs); a cheap test, no parse."""
    line = data[:MAX_START_LINE].lstrip(b"\r\n").split(b"\n", 1)[0].rstrip(b"\r").decode("latin-1")
    return line[:4].upper() == "SIP/" or _LOOKS_LIKE_REQUEST.fullmatch(line) is not None


def parse(data: bytes, *, cut: bool = False, infer: bool = False) -> Message:
    """The message in one datagram (or in one frame of a stream).

    ``cut``: the capture has cut the end off, so a Content-Length beyond the end is no error. ``infer``: the message
    was seen on its way between others, so a badly quoted display name is forgiven where its address is not in doubt
    (a server answers 400 to it). Raises SipError, with an envelope where the message is a request that can be
    answered.
    """
    if len(data) > MAX_MESSAGE:
        raise SipError("too-large", f"{len(data)} bytes, at most {MAX_MESSAGE}", 513)
    data = data.lstrip(b"\r\n")
    if not data:
        raise SipError("empty", "no bytes but line ends")
    end = _HEAD_END.search(data)
    head = (data if end is None else data[: end.start()]).decode("latin-1").replace("\r\n", "\n").rstrip("\r")
    if "\n " in head or "\n\t" in head:
        head = _FOLD.sub(" ", head)
    lines = head.split("\n")
    start = lines[0]
    if len(start) > MAX_START_LINE:
        raise SipError("start-line-too-long", f"{len(start)} characters, at most {MAX_START_LINE}", 414)
    is_response = start[:4].upper() == "SIP/"
    if not is_response and not _LOOKS_LIKE_REQUEST.fullmatch(start):
        raise SipError("not-sip", f"the first line is none of SIP: {wire_text(start[:60])!r}")
    headers, flaw = _headers(lines)
    envelope = None if is_response else _envelope(start.split(" ", 1)[0], headers)
    if end is None and flaw is None:
        flaw = SipError("truncated", "no empty line after the headers")
    if flaw is not None:
        raise flaw.with_envelope(envelope)
    try:
        return _build(start, headers, data[end.end() :] if end is not None else b"", cut=cut, infer=infer)
    except SipError as error:
        raise error.with_envelope(envelope) from None


def _headers(lines: list[str]) -> tuple[list[tuple[str, str, str]], SipError | None]:
    """The header lines taken apart, and the first thing that is wrong with them."""
    headers: list[tuple[str, str, str]] = []
    flaw: SipError | None = None
    if len(lines) - 1 > MAX_HEADERS:
        flaw = SipError("too-many-headers", f"{len(lines) - 1} header lines, at most {MAX_HEADERS}", 513)
    for line in lines[1 : MAX_HEADERS + 1]:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            flaw = flaw or SipError("header-garbled", f"no header: {wire_text(line[:60])!r}")
        elif len(line) > MAX_HEADER_LINE:
            flaw = flaw or SipError("header-too-long", f"{name[:40]} has {len(value)} characters", 513)
        elif "\r" in value:
            flaw = flaw or SipError("stray-cr", f"{name[:40]} holds a carriage return")
        else:
            lower = name.lower()
            headers.append((name, COMPACT.get(lower, lower), value.strip(" \t")))
    return headers, flaw


def _envelope(method: str, headers: list[tuple[str, str, str]]) -> Envelope | None:
    """What an answer to this request repeats; None when it cannot be answered."""
    if method == "ACK":
        return None
    found: dict[str, str] = {}
    vias: list[str] = []
    for _, name, value in headers:
        if name == "via":
            vias.append(value)
        elif name in _SINGLE:
            found.setdefault(name, value)
    if not vias or not all(found.get(name) for name in ("from", "to", "call-id", "cseq")):
        return None
    return Envelope(method, tuple(vias), found["from"], found["to"], found["call-id"], found["cseq"])


def _build(start: str, headers: list[tuple[str, str, str]], rest: bytes, *, cut: bool, infer: bool) -> Message:
    method, status, reason, uri = _start_line(start)
    single: dict[str, str] = {}
    vias: list[str] = []
    for _, name, value in headers:
        if name == "via":
            vias.append(value)
        elif name in _SINGLE:
            if name in single:
                raise SipError("header-repeated", f"{name} stands more than once")
            single[name] = value
    for name in ("from", "to", "call-id", "cseq"):
        if not single.get(name):
            raise SipError("header-missing", f"no {name}")
    if not vias:
        raise SipError("header-missing", "no via")
    call_id = single["call-id"]
    if " " in call_id or "\t" in call_id:
        raise SipError("call-id-garbled", f"white space in {wire_text(call_id[:60])!r}")
    cseq = _CSEQ.fullmatch(single["cseq"])
    if cseq is None or not is_token(cseq.group(2)) or int(cseq.group(1)) >= _MAX_CSEQ:
        raise SipError("cseq-garbled", f"{wire_text(single['cseq'][:60])!r} is no number below 2^31 and method")
    if method and cseq.group(2) != method:
        raise SipError("cseq-mismatch", f"CSeq says {cseq.group(2)[:20]}, the request is {method[:20]}")
    max_forwards: int | None = None
    if "max-forwards" in single:
        max_forwards = _number(single["max-forwards"], "max-forwards", 255)
    stated = single.get("content-length")
    length = len(rest) if stated is None else _number(stated, "content-length", MAX_MESSAGE)
    if length > len(rest) and not cut:
        raise SipError("body-short", f"content-length {length}, but {len(rest)} bytes follow")
    for contact in [value for _, name, value in headers if name == "contact"]:
        if "<" not in contact and "?" in contact:
            raise SipError("address-garbled", "contact: a URI with ? must stand in <>")
    return Message(
        method=method,
        status=status,
        reason=reason,
        uri=uri,
        headers=tuple(headers),
        body=rest[:length],
        envelope=Envelope(method, tuple(vias), single["from"], single["to"], call_id, single["cseq"]),
        via=parse_via(vias[0]),
        sender=parse_address(single["from"], what="from", infer=infer),
        to=parse_address(single["to"], what="to", infer=infer),
        call_id=call_id,
        cseq=int(cseq.group(1)),
        cseq_method=cseq.group(2),
        max_forwards=max_forwards,
        cut=length > len(rest),
    )


def _start_line(start: str) -> tuple[str, int, str, Uri | None]:
    if start[:4].upper() == "SIP/":
        line = _STATUS_LINE.fullmatch(start)
        if line is None:
            raise SipError("start-line-garbled", f"{wire_text(start[:60])!r} is no status line")
        status = int(line.group(2))
        if line.group(1) != "2.0":
            raise SipError("version", f"SIP/{line.group(1)} is not SIP/2.0", 505)
        if len(line.group(2)) != 3 or not 100 <= status <= 699:
            raise SipError("status-absurd", f"status {line.group(2)} lies outside 100-699")
        return "", status, line.group(3) or "", None
    words = start.split(" ")
    version = _VERSION.fullmatch(words[-1])
    if version is not None and version.group(1) != "2.0":
        raise SipError("version", f"SIP/{version.group(1)} is not SIP/2.0", 505)
    if len(words) != 3 or version is None or not is_token(words[0]):
        raise SipError("start-line-garbled", f"{wire_text(start[:60])!r} is not: method URI SIP/2.0")
    uri = parse_uri(words[1])
    if uri.scheme in ("sip", "sips") and "?" in uri.raw.rpartition("@")[2]:
        raise SipError("uri-garbled", "headers (?) in the Request-URI")
    return words[0], 0, "", uri


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise SipError("number-garbled", f"{what} {wire_text(text[:30])!r} is no number up to {most}")
    return int(text)
