"""The suite that every adapter and reader passes, and the made-up inputs it feeds them."""

from __future__ import annotations

from sip_adapters.conformance.checks import CHECKS, Items, Subject, events_of, mutated, quarantined_of
from sip_adapters.conformance.samples import (
    SDP,
    ethernet,
    good_invites,
    hostile_datagrams,
    invite,
    ip_packet,
    pcap,
    pcapng,
    request,
    response,
    tcp,
    udp,
)

__all__ = [
    "CHECKS",
    "SDP",
    "Items",
    "Subject",
    "ethernet",
    "events_of",
    "good_invites",
    "hostile_datagrams",
    "invite",
    "ip_packet",
    "mutated",
    "pcap",
    "pcapng",
    "quarantined_of",
    "request",
    "response",
    "tcp",
    "udp",
]
