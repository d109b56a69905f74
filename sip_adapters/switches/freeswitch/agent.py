"""The agent of a FreeSWITCH: its options, and the port handed to the runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError
from sip_adapters.switches.agent import AgentSection, PortAgent
from sip_adapters.switches.freeswitch.protocol_esl import REALM, is_realm
from sip_adapters.switches.freeswitch.switch import FreeSwitch
from sip_adapters.switches.options import read_address, read_secret, read_section


class Options(AgentSection, frozen=True, forbid_unknown_fields=True):
    """The section ``agents.<switch>`` of config/ of a FreeSWITCH.

    ``address`` of the event socket, ``password_file`` with its password, ``realm`` of mod_hash that holds the block
    list.
    """

    password_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    address: Annotated[str, msgspec.Meta(max_length=300)] = "127.0.0.1:8021"
    realm: Annotated[str, msgspec.Meta(max_length=64)] = REALM


def read_options(switch: str, raw: Mapping[str, Any]) -> Options:
    """The options of ``switch``; ConfigError says which one is wrong."""
    return read_section(f"agents.{switch}", Options, raw)


def make_switch(switch: str, own: Options) -> FreeSwitch:
    """The port that ``own`` describes; ConfigError when its address or its password is none."""
    where = f"agents.{switch}"
    host, port = read_address(f"{where}.address", own.address)
    if not is_realm(own.realm):
        raise ConfigError(f"{where}.realm: {own.realm[:64]!r} is no realm", hint="letters, digits and _")
    return FreeSwitch(
        host, port, read_secret(f"{where}.password_file", own.password_file), own.timeout_s, realm=own.realm
    )


AGENT: Final = PortAgent(
    "freeswitch",
    "keeps the block list of a FreeSWITCH and ends calls there, over its event socket",
    read_options,
    make_switch,
)
