"""The agent of a Kamailio: its options, and the port handed to the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError
from sip_adapters.agents import AgentOptions, run_agent
from sip_adapters.switches.kamailio.switch import KamailioSwitch

_FOR_EVERYBODY: Final = ("enabled", "agent")
_LONGEST_PATH: Final = 107  # unix(7)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``agents.<switch>`` of config/ of a Kamailio.

    ``socket`` is the file that ANTIFRAUD_RPC_SOCKET names, ``timeout_s`` how long the switch has for one answer,
    ``consumer`` the agent's name in Redis (by default that of the machine), ``lease_s`` after how long a standby takes
    over, ``resync_s`` how often the whole list is compared.
    """

    socket: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_PATH, pattern=r"^[^\x00]+\Z")] = (
        "/run/kamailio/antifraud_rpc.sock"
    )
    timeout_s: Annotated[float, msgspec.Meta(ge=0.05, le=30)] = 2.0
    consumer: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")] = ""
    lease_s: Annotated[float, msgspec.Meta(ge=0.5, le=300)] = 3.0
    resync_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 600.0


def read_options(switch: str, raw: Mapping[str, Any]) -> Options:
    """The options of ``switch``; ConfigError says which one is wrong."""
    own = {name: value for name, value in raw.items() if name not in _FOR_EVERYBODY}
    try:
        return msgspec.convert(own, Options, strict=False)
    except msgspec.ValidationError as error:
        what = str(error).replace(" - at `$.", " in `")
        raise ConfigError(
            f"agents.{switch}: {what[:1].lower()}{what[1:]}", hint=f"known are {', '.join(Options.__struct_fields__)}"
        ) from None


class KamailioAgent:
    """The agent that ``antifraud agent kamailio`` runs."""

    name = "kamailio"
    summary = "keeps the block list of a Kamailio and ends calls there, over its JSON-RPC socket"

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
        own = read_options(switch, options)
        served = AgentOptions(shard, switch, region, consumer=own.consumer, lease_s=own.lease_s, resync_s=own.resync_s)
        await run_agent(KamailioSwitch(own.socket, own.timeout_s), redis_url=redis_url, options=served, ready=ready)


AGENT: Final = KamailioAgent()
