"""SIP without sockets: a bounded parser, responses, caller identity, fingerprints; shared by the SIP adapters."""

from __future__ import annotations

from sip_adapters.sip.address import Address, Uri, Via, parse_address, parse_uri, parse_via, split_list
from sip_adapters.sip.causes import NORMAL_CLEARING, cause_of, stated_cause
from sip_adapters.sip.errors import Envelope, SipError
from sip_adapters.sip.event import call_id_text, callee_of, follow_up, invite_event
from sip_adapters.sip.fingerprint import agent_family, fingerprint
from sip_adapters.sip.identity import CallerIdentity, caller_identity
from sip_adapters.sip.message import (
    MAX_HEADER_LINE,
    MAX_HEADERS,
    MAX_MESSAGE,
    Message,
    is_keepalive,
    looks_like_sip,
    parse,
)
from sip_adapters.sip.response import REASONS, build_response, header_value, make_tag, quoted, stamp_via
from sip_adapters.sip.stream import Framer
from sip_adapters.sip.text import RAW_CHARS, clean, decode_text, is_plain, quarantined, unescape, wire_text

__all__ = [
    "MAX_HEADERS",
    "MAX_HEADER_LINE",
    "MAX_MESSAGE",
    "NORMAL_CLEARING",
    "RAW_CHARS",
    "REASONS",
    "Address",
    "CallerIdentity",
    "Envelope",
    "Framer",
    "Message",
    "SipError",
    "Uri",
    "Via",
    "agent_family",
    "build_response",
    "call_id_text",
    "callee_of",
    "caller_identity",
    "cause_of",
    "clean",
    "decode_text",
    "fingerprint",
    "follow_up",
    "header_value",
    "invite_event",
    "is_keepalive",
    "is_plain",
    "looks_like_sip",
    "make_tag",
    "parse",
    "parse_address",
    "parse_uri",
    "parse_via",
    "quarantined",
    "quoted",
    "split_list",
    "stamp_via",
    "stated_cause",
    "unescape",
    "wire_text",
]
