"""FreeSWITCH: the adapter that its dialplan asks about calls (outbound event socket), and the switch's agent."""

from __future__ import annotations

from sip_adapters.switches.freeswitch.adapter import ADAPTER, FreeSwitchAdapter
from sip_adapters.switches.freeswitch.agent import AGENT
from sip_adapters.switches.freeswitch.switch import FreeSwitch

__all__ = ["ADAPTER", "AGENT", "FreeSwitch", "FreeSwitchAdapter"]
