"""The agent of an Asterisk: its options, and the port handed to the runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError
from sip_adapters.switches.agent import AgentSection, PortAgent
from sip_adapters.switches.asterisk.protocol_ami import is_family
from sip_adapters.switches.asterisk.switch import AsteriskSwitch
from sip_adapters.switches.options import read_address, read_secret, read_section


class Options(AgentSection, frozen=True, forbid_unknown_fields=True):
    """The section ``agents.<switch>`` of config/ of an Asterisk.

    ``address`` of the manager interface, ``user`` of manager.conf, ``secret_file`` with its secret, ``family`` of the
    database that holds the block list, ``call_variable`` in which the dialplan keeps the id of the call.
    """

    secret_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    address: Annotated[str, msgspec.Meta(max_length=300)] = "127.0.0.1:5038"
    user: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")] = "antifraud"
    family: Annotated[str, msgspec.Meta(max_length=64)] = "antifraud_block"
    call_variable: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}\Z")] = "ANTIFRAUD_CALL"


def read_options(switch: str, raw: Mapping[str, Any]) -> Options:
    """The options of ``switch``; ConfigError says which one is wrong."""
    return read_section(f"agents.{switch}", Options, raw)


def make_switch(switch: str, own: Options) -> AsteriskSwitch:
    """The port that ``own`` describes; ConfigError when its address or its secret is none."""
    where = f"agents.{switch}"
    host, port = read_address(f"{where}.address", own.address)
    if not is_family(own.family):
        raise ConfigError(f"{where}.family: {own.family[:64]!r} is no family", hint="letters, digits, - and _")
    secret = read_secret(f"{where}.secret_file", own.secret_file)
    return AsteriskSwitch(host, port, own.user, secret, own.timeout_s, family=own.family, variable=own.call_variable)


AGENT: Final = PortAgent(
    "asterisk",
    "keeps the block list of an Asterisk and ends calls there, over its manager interface",
    read_options,
    make_switch,
)
