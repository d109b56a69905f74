"""Asterisk: the adapter that its dialplan asks about calls (FastAGI), and the switch's agent (manager interface)."""

from __future__ import annotations

from sip_adapters.switches.asterisk.adapter import ADAPTER, AsteriskAdapter
from sip_adapters.switches.asterisk.agent import AGENT
from sip_adapters.switches.asterisk.switch import AsteriskSwitch

__all__ = ["ADAPTER", "AGENT", "AsteriskAdapter", "AsteriskSwitch"]
