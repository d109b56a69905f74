"""From the text in a From header, a Request-URI or a CDR column to what it spells: digits, a name, or nobody.

This is the slow path for everything that is not plain ASCII digits. Every text comes from attackers: work is bounded
by ``LONGEST_TEXT`` and nothing raises. SIP and tel URIs are read as far as a number needs it (RFC 3261 §19.1,
RFC 3966), not validated.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

import msgspec

#: Characters that are looked at; what follows is ignored.
LONGEST_TEXT: Final = 256

#: What switches, handsets and RFC 3323 write when a caller is not to be named.
_ANONYMOUS: Final = frozenset(
    {
        "",
        "-",
        "anonymous",
        "anon",
        "blocked",
        "hidden",
        "no number",
        "none",
        "not available",
        "null",
        "number unavailable",
        "private",
        "private number",
        "restricted",
        "unavailable",
        "undefined",
        "unknown",
        "unknown caller",
        "withheld",
        "withheld number",
        "анонимный",
        "неизвестный",
        "номер скрыт",
        "скрытый номер",
        "жасырын нөмір",
    }
)
_ANONYMOUS_HOST: Final = "anonymous.invalid"
_SOS: Final = "urn:service:"
_SEPARATORS: Final = frozenset("-.()/[]~_\N{MIDDLE DOT}\N{MINUS SIGN}")
_DROP_SEPARATORS: Final = {ord(char): None for char in (*_SEPARATORS, " ") if char.isascii()}
_PLUS: Final = frozenset("+\N{FULLWIDTH PLUS SIGN}\N{SUPERSCRIPT PLUS SIGN}\N{SMALL PLUS SIGN}")
#: Codes that withhold or show the caller's number or ask for another service: #31#, *30#, *31*, one after another.
_SERVICE_CODE: Final = re.compile(r"[*#]{1,2}[0-9]{2,3}[*#]")
_MOST_SERVICE_CODES: Final = 4
#: The same without an end of their own: *67, 141.
_BARE_SERVICE_CODE: Final = re.compile(r"(?:[*#][0-9]{2}|141)[,pw]*")
#: A digit for the outside line and a pause after it.
_OUTSIDE_LINE: Final = re.compile(r"[0-9]{1,3}[,pw]+")
#: Leading digits, as many as a short code's spelling can have, and after them nothing that could belong to a name.
_LEADING_DIGITS: Final = re.compile(r"\+*([0-9]{2,12})(?:$|(?:[pwxt]+|ext)(?![a-z])|[^0-9\w])")
_KEYS: Final = str.maketrans("\N{FULLWIDTH NUMBER SIGN}\N{FULLWIDTH ASTERISK}\N{FULLWIDTH COMMA}", "#*,")
_DROP_IN_DIALLED: Final = _DROP_SEPARATORS | {ord("/"): "/"}
_LABEL: Final = re.compile(r"[a-z0-9.-]*")
_QUOTES: Final = " \t\r\n\"'`"


class Spelling(msgspec.Struct, frozen=True):
    """What a text spells.

    ``kind``: ``digits`` (``text`` is ASCII digits, ``plus`` says whether "+" stood before them, ``context`` is the
    digits of a global phone-context), ``name`` (alphanumeric), ``anonymous``, ``service`` (an RFC 5031 label such
    as ``sos.police``), ``garbage`` (``text`` is the digits found in it).
    """

    kind: str
    text: str = ""
    plus: bool = False
    context: str = ""


_NOBODY: Final = Spelling("anonymous")


def spell(raw: str) -> Spelling:
    """What ``raw`` spells; never raises."""
    text = raw[:LONGEST_TEXT].strip(_QUOTES)
    opening = text.find("<")
    if opening >= 0:
        text = text[opening + 1 :].partition(">")[0].strip(_QUOTES)
    if _has_controls(text):
        return _garbage(text)
    lower = text.lower()
    if lower.startswith(_SOS):
        return _labelled(lower)
    scheme, colon, rest = text.partition(":")
    scheme = scheme.strip().lower() if colon else ""
    if scheme in ("sip", "sips"):
        if rest.lower().startswith(_SOS):
            return _labelled(rest.lower())
        return _user(rest, bare_host=True)
    if scheme == "tel":
        return _number(rest)
    if "@" in text:
        return _user(text, bare_host=False)
    return _number(text)


def dialled(raw: str) -> tuple[str, ...]:
    """The digits that may have been meant with other keys pressed around them.

    Service codes, keys and an outside line before the digits, and pauses, punctuation, extensions and every host after
    them are taken away. Too lenient for numbers in general: it is for codes whose call must go through. A name that
    may be a service label (``sos``) is returned as it is. Work is bounded as in ``spell``.
    """
    text = raw[:LONGEST_TEXT].strip(_QUOTES)
    opening = text.find("<")
    if opening >= 0:
        text = text[opening + 1 :].partition(">")[0]
    scheme, colon, rest = text.partition(":")
    scheme = scheme.strip().lower() if colon else ""
    if scheme in ("sip", "sips", "tel"):
        text = rest
    user, at, _ = text.rpartition("@")
    if at:
        text = user
    elif scheme in ("sip", "sips") and "." in text.partition(";")[0]:
        return ()  # a host: sip:112.0.0.1 calls nobody's number
    text = unquote(text.partition(";")[0], errors="replace")
    name = text.partition(":")[0].strip(_QUOTES).lower()
    if name.startswith("sos"):
        return (name,)
    text = _plain(text)
    starts = [text.lstrip("*#")]
    bare = _BARE_SERVICE_CODE.match(text)
    if bare is not None:
        starts.append(text[bare.end() :])
    end = 0
    for _ in range(_MOST_SERVICE_CODES):
        code = _SERVICE_CODE.match(text, end)
        if code is None:
            break
        end = code.end()
        starts.append(text[end:].lstrip("*#"))
    found = []
    for start in starts:
        outside = _OUTSIDE_LINE.match(start)
        for candidate in (start, start[outside.end() :] if outside is not None else ""):
            digits = _LEADING_DIGITS.match(candidate)
            if digits is not None:
                found.append(digits[1])
    return tuple(found)


def _plain(text: str) -> str:
    """``text`` in small letters and ASCII digits, without separators; "/" stays, an extension may follow it."""
    if not text.isascii():
        text = "".join(
            str(unicodedata.decimal(char)) if char.isdecimal() else char
            for char in text.translate(_KEYS)
            if not char.isspace() and unicodedata.category(char) not in ("Cf", "Pd")
        )
    return text.translate(_DROP_IN_DIALLED).lower()


def _labelled(lower: str) -> Spelling:
    """A service URN; what is no part of its label, such as a host that was put behind it, is left out."""
    label = _LABEL.match(lower, len(_SOS))
    return Spelling("service", label[0] if label is not None else "")


def _user(text: str, *, bare_host: bool) -> Spelling:
    """The user part of a SIP URI; a URI that names only a host has no user and so no number."""
    user, at, host = text.rpartition("@")
    if not at:
        host = text.partition(";")[0].partition("?")[0]
        if bare_host and not _global_or_local(host):
            return Spelling("garbage")
        user, host = host, ""
    if host.partition(";")[0].partition("?")[0].partition(":")[0].strip().lower() == _ANONYMOUS_HOST:
        return _NOBODY
    return _number(user.partition(":")[0])


def _global_or_local(text: str) -> bool:
    return text.lstrip("+").isdecimal()


def _number(text: str) -> Spelling:
    """A telephone-subscriber: digits with separators and parameters, or a name."""
    if "%" in text:
        text = unquote(text, errors="replace")
        if _has_controls(text):
            return _garbage(text)
    subscriber, _, parameters = text.partition(";")
    subscriber = subscriber.strip(_QUOTES)
    if subscriber.lower() in _ANONYMOUS:
        return _NOBODY
    digits, plus = _digits(subscriber)
    if digits:
        return Spelling("digits", digits, plus, "" if plus else _context(parameters))
    if any(char.isalpha() for char in subscriber):
        return Spelling("name", "".join(char for char in subscriber if char.isprintable()))
    return _garbage(subscriber)


def _digits(text: str) -> tuple[str, bool]:
    """The ASCII digits that ``text`` writes, and whether "+" leads them; no digits when it writes anything else.

    Digits of any script count, separators and invisible formatting are dropped, so is "#" at the end, with which
    people finish dialling.
    """
    text = text.rstrip("#")
    if text.isascii():
        bare = text.translate(_DROP_SEPARATORS)
        digits = bare.lstrip("+")
        return (digits, bare[:1] == "+") if digits.isdecimal() else ("", False)
    found: list[str] = []
    plus = False
    for char in text:
        if char.isdecimal():
            found.append(char if char.isascii() else str(unicodedata.decimal(char)))
        elif char in _PLUS and not found:
            plus = True
        elif not (char in _SEPARATORS or char.isspace() or unicodedata.category(char) in ("Cf", "Pd")):
            return "", False
    return "".join(found), plus


def _context(parameters: str) -> str:
    """The digits of ``phone-context=+7727``; empty for a domain or none."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "phone-context":
            digits, plus = _digits(value.strip(_QUOTES))
            return digits if plus else ""
    return ""


def _has_controls(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in text)


def _garbage(text: str) -> Spelling:
    return Spelling("garbage", "".join(char for char in text if char.isascii() and char.isdigit()))
