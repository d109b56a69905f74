"""The ``adapters.redirect`` section of config/: what may stand there, its defaults, and what is wrong with it."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError, Problem
from sip_adapters.asking import EmergencyNumbers, FailPolicy, FailSection
from sip_adapters.asking.emergency import NUMBERS, PREFIX, is_code

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Name = Annotated[str, msgspec.Meta(max_length=64)]
HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]

HEADER_FIELDS: Final = ("switch", "trunk", "roaming", "imsi", "imei", "cell")
"""Event fields that a switch may hand over in a header of its own."""

_FOR_EVERYBODY: Final = ("enabled", "config_dir")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section as it is written.

    ``listen``: ``host:port``, port 0 takes a free one. ``deadline_ms``: when a call goes on without a verdict.
    ``go_on_status``: what is answered to every call that may proceed. ``switch``: the name in every event.
    ``trunk`` comes from, in this order: the header named in ``headers``, the URI parameter ``trunk_param``
    (RFC 4904: ``tgrp``), the peer's address in ``trunk_by_source``, ``trunk``. ``headers`` maps event fields to
    header names, ``trusted_headers`` takes X-Antifraud-Switch, -Trunk, -Roaming, -Imsi, -Imei and -Cell for all of
    them; both only where the switch strips these headers from what strangers send.
    ``trust_asserted``: whether the peer may assert identities; only for peers inside the trust domain (RFC 3325).
    ``emergency``: numbers that are never asked about, those of three digits and more also after anything that
    ``emergency_prefix`` (a regular expression) matches. ``max_pending``: calls that wait at one time; more go on
    without being asked about. ``peers``: the only networks that are answered; empty answers all. ``tell_reason``:
    whether a refusal says why in words. ``fail``: what becomes of calls while nobody decides; without it they go on.
    """

    listen: str = "127.0.0.1:0"
    deadline_ms: Annotated[int, msgspec.Meta(ge=10, le=30_000)] = 150
    go_on_status: Annotated[int, msgspec.Meta(ge=300, le=699)] = 404
    switch: Name = "redirect"
    trunk: Name = ""
    trunk_param: Name = ""
    trunk_by_source: dict[str, Name] = {}
    headers: dict[str, HeaderName] = {}
    trusted_headers: bool = False
    trust_asserted: bool = False
    emergency: tuple[str, ...] = NUMBERS
    emergency_prefix: str = PREFIX
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4096
    peers: tuple[str, ...] = ()
    tell_reason: bool = True
    fail: FailSection | None = None


class Options(msgspec.Struct, frozen=True):
    """The section made ready: addresses parsed, the longest prefix of ``trunk_by_source`` first."""

    section: Section
    host: str
    port: int
    emergency: EmergencyNumbers
    trunk_by_source: tuple[tuple[Network, str], ...]
    peers: tuple[Network, ...]
    headers: Mapping[str, str]
    fail: FailPolicy | None = None


def read_options(raw: Mapping[str, Any]) -> Options:
    """The options; ConfigError says which one is wrong and how to mend it.

    Texts stand for numbers and truths too (``--set deadline_ms=100``). What the command line adds for every adapter
    (``enabled``, ``config_dir``) is passed over.
    """
    raw = {name: value for name, value in raw.items() if name not in _FOR_EVERYBODY}
    for name in raw:
        if name not in Section.__struct_fields__:
            near = difflib.get_close_matches(str(name), Section.__struct_fields__, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(Section.__struct_fields__)}"
            raise ConfigError(f"adapters.redirect.{name}: there is no such option", hint=hint)
    try:
        section = msgspec.convert(raw, Section, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise ConfigError(f"adapters.redirect.{where.rstrip('`') or '?'}: {what[:1].lower()}{what[1:]}") from None
    problems: list[Problem] = []
    host, port = "", 0
    try:
        host, port = split_address(section.listen)
    except ValueError:
        problems.append(_problem("listen", f"{section.listen!r} is no address", "write host:port, e.g. 0.0.0.0:5060"))
    problems += [
        _problem(f"headers.{field}", "no such field", f"use {', '.join(HEADER_FIELDS)}")
        for field in section.headers
        if field not in HEADER_FIELDS
    ]
    by_source = [(_network("trunk_by_source", text, problems), name) for text, name in section.trunk_by_source.items()]
    peers = [_network("peers", text, problems) for text in section.peers]
    emergency = _emergency(section, problems)
    fail = FailPolicy(section.fail, "adapters.redirect.fail") if section.fail is not None else None
    problems += fail.problems if fail is not None else ()
    if problems:
        raise ConfigError.of(problems)
    standard = {field: f"X-Antifraud-{field}" for field in HEADER_FIELDS} if section.trusted_headers else {}
    return Options(
        section=section,
        host=host,
        port=port,
        emergency=emergency,
        trunk_by_source=tuple(sorted(by_source, key=lambda pair: -pair[0].prefixlen)),
        peers=tuple(peers),
        headers={field: name.lower() for field, name in (standard | section.headers).items()},
        fail=fail,
    )


def _emergency(section: Section, problems: list[Problem]) -> EmergencyNumbers:
    """The numbers, as far as they are some; what is wrong with the others is added to ``problems``."""
    codes = [text for text in section.emergency if is_code(text)]
    problems += [
        _problem("emergency", f"{text!r} is no number", "write digits, e.g. 112")
        for text in section.emergency
        if text not in codes
    ]
    try:
        return EmergencyNumbers(codes, section.emergency_prefix)
    except ValueError as error:
        problems.append(_problem("emergency_prefix", str(error), "write what may stand before a code: 7|8"))
        return EmergencyNumbers(())


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` taken apart; ValueError when it is neither."""
    host, colon, port = address.rpartition(":")
    if not host or not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(f"adapters.redirect.{name}: {message}", hint=hint)


def _network(name: str, text: str, problems: list[Problem]) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        problems.append(_problem(name, f"{text!r} is no address or network", "write 192.0.2.7 or 192.0.2.0/24"))
        return ipaddress.IPv4Network("0.0.0.0/32")
