"""The agent of a FreeSWITCH: its options, and the port handed to the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError
from sip_adapters.agents import AgentOptions, run_agent
from sip_adapters.switches.freeswitch.protocol_esl import REALM, is_realm
from sip_adapters.switches.freeswitch.switch import FreeSwitch
from sip_adapters.switches.options import read_address, read_secret, read_section


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``agents.<switch>`` of config/ of a FreeSWITCH.

    ``address`` of the event socket, ``password_file`` with its password, ``realm`` of mod_hash that holds the block
    list, ``timeout_s`` for one answer, ``consumer`` the agent's name in Redis, ``lease_s`` after how long a standby
    takes over, ``resync_s`` how often the whole list is compared.
    """

    password_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    address: Annotated[str, msgspec.Meta(max_length=300)] = "127.0.0.1:8021"
    realm: Annotated[str, msgspec.Meta(max_length=64)] = REALM
    timeout_s: Annotated[float, msgspec.Meta(ge=0.05, le=30)] = 2.0
    consumer: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")] = ""
    lease_s: Annotated[float, msgspec.Meta(ge=0.5, le=300)] = 3.0
    resync_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 600.0


def make_switch(switch: str, own: Options) -> FreeSwitch:
    """The port that ``own`` describes; ConfigError when its address or its password is none."""
    where = f"agents.{switch}"
    host, port = read_address(f"{where}.address", own.address)
    if not is_realm(own.realm):
        raise ConfigError(f"{where}.realm: {own.realm[:64]!r} is no realm", hint="letters, digits and _")
    return FreeSwitch(
        host, port, read_secret(f"{where}.password_file", own.password_file), own.timeout_s, realm=own.realm
    )


class FreeSwitchAgent:
    """The agent that ``antifraud agent freeswitch`` runs."""

    name = "freeswitch"
    summary = "keeps the block list of a FreeSWITCH and ends calls there, over its event socket"

    async def run(
        self,
        *,
        shard: str,
        switch: str,
        region: str,
        redis_url: str,
        options: Mapping[str, Any],
        ready: Callable[[str], None],
    ) -> None:
        """Serve until cancelled."""
        own = read_section(f"agents.{switch}", Options, options)
        served = AgentOptions(shard, switch, region, consumer=own.consumer, lease_s=own.lease_s, resync_s=own.resync_s)
        await run_agent(make_switch(switch, own), redis_url=redis_url, options=served, ready=ready)


AGENT: Final = FreeSwitchAgent()
