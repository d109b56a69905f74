"""The agent of a Kamailio: its options, and the port handed to the runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import ConfigError
from sip_adapters.switches.agent import AgentSection, PortAgent
from sip_adapters.switches.kamailio.switch import KamailioSwitch

_FOR_EVERYBODY: Final = ("enabled", "agent")
_LONGEST_PATH: Final = 107  # unix(7)


class Options(AgentSection, frozen=True, forbid_unknown_fields=True):
    """The section ``agents.<switch>`` of config/ of a Kamailio.

    ``socket`` is the file that ANTIFRAUD_RPC_SOCKET names.
    """

    socket: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_PATH, pattern=r"^[^\x00]+\Z")] = (
        "/run/kamailio/antifraud_rpc.sock"
    )


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


def make_switch(switch: str, own: Options) -> KamailioSwitch:  # noqa: ARG001 - others say which switch is wrong
    """The port that ``own`` describes."""
    return KamailioSwitch(own.socket, own.timeout_s)


AGENT: Final = PortAgent(
    "kamailio",
    "keeps the block list of a Kamailio and ends calls there, over its JSON-RPC socket",
    read_options,
    make_switch,
)
