"""What the agents of all kinds of switches share: the options beside those of the switch itself, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from sip_adapters.agents import AgentOptions, SwitchPort, run_agent


class AgentSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of every agent.

    ``timeout_s`` for one answer of the switch, ``consumer`` the agent's name in Redis (by default that of the machine),
    ``lease_s`` after how long a standby takes over, ``resync_s`` how often the whole list is compared.
    """

    timeout_s: Annotated[float, msgspec.Meta(ge=0.05, le=30)] = 2.0
    consumer: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")] = ""
    lease_s: Annotated[float, msgspec.Meta(ge=0.5, le=300)] = 3.0
    resync_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 600.0


_Section = TypeVar("_Section", bound=AgentSection)


class PortAgent(Generic[_Section]):
    """The agent that ``antifraud agent NAME`` runs: ``read`` makes the section of a switch out of what is written,
    ``make`` the port out of the section. Both raise ConfigError."""

    def __init__(
        self,
        name: str,
        summary: str,
        read: Callable[[str, Mapping[str, Any]], _Section],
        make: Callable[[str, _Section], SwitchPort],
    ) -> None:
        self.name = name
        self.summary = summary
        self._read = read
        self._make = make

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
        own = self._read(switch, options)
        served = AgentOptions(shard, switch, region, consumer=own.consumer, lease_s=own.lease_s, resync_s=own.resync_s)
        await run_agent(self._make(switch, own), redis_url=redis_url, options=served, ready=ready)
