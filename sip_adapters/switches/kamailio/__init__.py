"""Kamailio: the configuration that asks about calls (``antifraud.cfg`` and its includes), and the switch's agent."""

from __future__ import annotations

from sip_adapters.switches.kamailio.agent import AGENT, read_options
from sip_adapters.switches.kamailio.switch import KamailioSwitch

__all__ = ["AGENT", "KamailioSwitch", "read_options"]
