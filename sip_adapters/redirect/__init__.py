"""The redirect adapter: a switch sends its INVITE, the verdict comes back as 302, 608 or "go on"."""

from __future__ import annotations

from sip_adapters.redirect.caller import CALLER, PlaceCall, RedirectCaller
from sip_adapters.redirect.options import Options, read_options
from sip_adapters.redirect.protocol import Ask, Count, Put, Record, Redirect, Send, State, Withdraw
from sip_adapters.redirect.transport import ADAPTER, RedirectAdapter, Server

__all__ = [
    "ADAPTER",
    "CALLER",
    "Ask",
    "Count",
    "Options",
    "PlaceCall",
    "Put",
    "Record",
    "Redirect",
    "RedirectAdapter",
    "RedirectCaller",
    "Send",
    "Server",
    "State",
    "Withdraw",
    "read_options",
]
