"""Addresses: name-addr, addr-spec, SIP, tel and other URIs, Via elements (RFC 3261 §19, §20, §25; RFC 3966).

All values here are raw latin-1 strings as they stand in the message; ``Uri.number`` and ``Address.name`` are clean
text. Every scan is a single pass: quoted strings are blanked first, so that no pattern can run backwards over them.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from sip_adapters.sip.errors import SipError
from sip_adapters.sip.text import unescape, wire_text

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_PARAM_NAME: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]/:&$]+")
_HOST: Final = re.compile(r"[A-Za-z0-9\-._~%]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]")
_SENT_BY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._]+)[ \t]*(?::[ \t]*([0-9]{1,5}))?")
_VIA_HEAD: Final = re.compile(r"[Ss][Ii][Pp][ \t]*/[ \t]*([0-9]+\.[0-9]+)[ \t]*/[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]+")
_FORBIDDEN_IN_URI: Final = re.compile(r'[\x00-\x20"<>\\^{}|\x7f]')


class Uri(NamedTuple):
    """A URI taken apart. ``user`` has no password; ``params`` are those behind the host (or behind a tel number)."""

    scheme: str
    user: str
    host: str
    port: int
    params: dict[str, str]
    raw: str

    @property
    def number(self) -> str:
        """The number or name that this URI calls, as clean text; "" when it names only a host.

        Parameters inside the user part (``;phone-context=``, ``;isub=``) do not belong to the number. A service
        URN (``urn:service:sos``, RFC 5031) stands for itself.
        """
        if self.scheme == "urn":
            return wire_text(self.raw.lower())
        return unescape(self.user.partition(";")[0])


class Address(NamedTuple):
    """One From, To, Contact, P-Asserted-Identity … value: display name, URI, header parameters (names lower case)."""

    display: str
    uri: Uri
    params: dict[str, str]

    @property
    def name(self) -> str:
        """The display name as clean text, quotes and escapes resolved."""
        return wire_text(unquote(self.display))

    @property
    def tag(self) -> str:
        """The raw tag; "" when there is none."""
        return self.params.get("tag", "")


class Via(NamedTuple):
    """The top Via element: transport, sent-by and parameters. ``port`` 0 means that none was given."""

    transport: str
    host: str
    port: int
    params: dict[str, str]

    @property
    def branch(self) -> str:
        """The raw branch; "" when there is none."""
        return self.params.get("branch", "")

    @property
    def sent_by(self) -> str:
        """``host:port`` in lower case, with the default port filled in."""
        return f"{self.host.lower()}:{self.port or (5061 if self.transport.upper() == 'TLS' else 5060)}"


def blank_quotes(value: str) -> str:
    """``value`` with the inside of its quoted strings blanked out (same length); SipError when one never ends."""
    if '"' not in value:
        return value
    parts: list[str] = []
    at = 0
    while True:
        start = value.find('"', at)
        if start < 0:
            parts.append(value[at:])
            return "".join(parts)
        end = start + 1
        while True:
            end = value.find('"', end)
            if end < 0:
                raise SipError(
                    "quote-unbalanced", f"a quoted string never ends: {wire_text(value[start : start + 40])}"
                )
            slashes = end - 1
            while slashes > start and value[slashes] == "\\":
                slashes -= 1
            if (end - 1 - slashes) % 2 == 0:
                break
            end += 1
        parts.append(value[at:start])
        parts.append('"' + "_" * (end - start - 1) + '"')
        at = end + 1


def unquote(value: str) -> str:
    """The inside of a quoted string with its escapes resolved; anything else stripped of white space."""
    value = value.strip(" \t")
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    inner = value[1:-1]
    if "\\" not in inner:
        return inner
    chars = iter(inner)
    return "".join(next(chars, "") if char == "\\" else char for char in chars)


def split_list(value: str) -> list[str]:
    """The elements of a comma-separated header value; commas in quotes or angle brackets do not count."""
    if "," not in value:
        return [value]
    blanked = blank_quotes(value)
    cuts = [-1]
    depth = 0
    for at, char in enumerate(blanked):
        if char in "<>":
            depth = char == "<"
        elif char == "," and not depth:
            cuts.append(at)
    cuts.append(len(value))
    return [value[left + 1 : right].strip(" 	") for left, right in pairwise(cuts)]


def parse_params(text: str, *, what: str) -> dict[str, str]:
    """``;name=value;name`` as a mapping, names in lower case; the first of equal names wins."""
    params: dict[str, str] = {}
    if not text:
        return params
    blanked = blank_quotes(text)
    at = 0
    for piece in blanked.split(";"):
        raw = text[at : at + len(piece)]
        at += len(piece) + 1
        name, _, value = raw.partition("=")
        name = name.strip(" \t")
        if not name:
            if at == len(piece) + 1 and not raw.strip(" \t"):
                continue  # what stands before the first semicolon
            raise SipError("param-empty", f"{what} has an empty parameter")
        if not _PARAM_NAME.fullmatch(name):
            raise SipError("param-garbled", f"{what} has the parameter {wire_text(name[:40])!r}")
        params.setdefault(name.lower(), value.strip(" \t"))
    return params


def parse_uri(raw: str) -> Uri:
    """The URI ``raw`` taken apart; SipError("uri-garbled" …) when it is none."""
    bad = _FORBIDDEN_IN_URI.search(raw)
    if bad is not None:
        raise SipError("uri-garbled", f"character {bad.group()!r} in a URI: {wire_text(raw[:60])!r}")
    scheme_match = _SCHEME.match(raw)
    if scheme_match is None or raw[scheme_match.end() : scheme_match.end() + 1] != ":":
        raise SipError("uri-garbled", f"no scheme in {wire_text(raw[:60])!r}")
    scheme = scheme_match.group().lower()
    rest = raw[scheme_match.end() + 1 :]
    if not rest:
        raise SipError("uri-garbled", f"nothing after {scheme}:")
    if scheme in ("sip", "sips"):
        return _parse_sip_uri(scheme, rest, raw)
    if scheme == "tel":
        number, _, params = rest.partition(";")
        if not number:
            raise SipError("uri-garbled", "a tel URI without a number")
        return Uri("tel", number, "", 0, parse_params(params, what="a tel URI"), raw)
    return Uri(scheme, "", "", 0, {}, raw)


def _parse_sip_uri(scheme: str, rest: str, raw: str) -> Uri:
    user, at, hostpart = rest.rpartition("@")
    if at and "@" in user:
        raise SipError("uri-garbled", f"two @ in {wire_text(raw[:60])!r}")
    if at and not user:
        raise SipError("uri-garbled", "an empty user before @")
    hostpart = hostpart.partition("?")[0]
    hostport, _, params = hostpart.partition(";")
    host, port = _split_port(hostport)
    if not _HOST.fullmatch(host):
        raise SipError("uri-garbled", f"{wire_text(host[:60])!r} is no host")
    user = user.partition(":")[0]
    return Uri(scheme, user, host, port, parse_params(params, what="a URI"), raw)


def _split_port(hostport: str) -> tuple[str, int]:
    if hostport.startswith("["):
        host, bracket, tail = hostport.partition("]")
        host += bracket
        if not tail:
            return host, 0
        tail = tail[1:] if tail[0] == ":" else "x"
    else:
        host, colon, tail = hostport.partition(":")
        if not colon:
            return host, 0
    if not (tail.isascii() and tail.isdigit()) or len(tail) > 5 or not 0 < int(tail) < 65_536:
        raise SipError("uri-garbled", f"{wire_text(tail[:20])!r} is no port")
    return host, int(tail)


def parse_address(value: str, *, what: str, infer: bool = False) -> Address:
    """One name-addr or addr-spec with its header parameters (RFC 3261 §20.10: without angle brackets, parameters
    belong to the header).

    ``infer`` forgives a badly quoted display name (RFC 4475 §3.1.2.6, §3.1.2.15) where there is only one <…> and so
    no doubt about the address.
    """
    value = value.strip(" \t")
    if infer and value.count("<") == 1 and '"' not in value[value.index("<") :]:
        at = value.index("<")
        address = parse_address(value[at:], what=what)
        return address._replace(display=value[:at].strip(" \t"))
    blanked = blank_quotes(value)
    left = blanked.find("<")
    if left < 0:
        spec, _, _ = blanked.partition(";")
        uri_text = value[: len(spec)].rstrip(" \t")
        if "," in spec or "?" in spec:
            raise SipError("address-garbled", f"{what}: a URI with , or ? must stand in <>")
        return Address("", parse_uri(uri_text), parse_params(value[len(spec) :], what=what))
    right = blanked.find(">", left)
    if right < 0:
        raise SipError("address-garbled", f"{what}: < without >")
    display = value[:left].strip(" \t")
    shown = blanked[:left].strip(" \t")
    if '"' in shown:
        if not (shown[0] == '"' and shown.find('"', 1) == len(shown) - 1):
            raise SipError("address-garbled", f"{what}: text beside the quoted name")
    elif any(char in shown for char in ",;>"):
        raise SipError("address-garbled", f"{what}: a name with , or ; must stand in quotes")
    tail = blanked[right + 1 :].strip(" \t")
    if tail and tail[0] != ";":
        raise SipError("address-garbled", f"{what}: text after >")
    return Address(display, parse_uri(value[left + 1 : right]), parse_params(value[right + 1 :], what=what))


def parse_via(value: str) -> Via:
    """The first element of a Via header value."""
    first = split_list(value)[0].strip(" \t")
    head = _VIA_HEAD.match(first)
    if head is None:
        raise SipError("via-garbled", f"{wire_text(first[:60])!r} does not begin with SIP/2.0/transport")
    if head.group(1) != "2.0":
        raise SipError("via-version", f"Via says SIP/{head.group(1)[:10]}", 505)
    sent_by = _SENT_BY.match(first, head.end())
    if sent_by is None:
        raise SipError("via-garbled", f"no sent-by in {wire_text(first[:60])!r}")
    port = int(sent_by.group(2) or 0)
    if port > 65_535:
        raise SipError("via-garbled", f"port {port}")
    tail = first[sent_by.end() :].lstrip(" \t")
    if tail and tail[0] != ";":
        raise SipError("via-garbled", f"text after sent-by: {wire_text(tail[:40])!r}")
    return Via(head.group(2), sent_by.group(1), port, parse_params(tail, what="Via"))


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 3261 §25.1."""
    return _TOKEN.fullmatch(text) is not None
