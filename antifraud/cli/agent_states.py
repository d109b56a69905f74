"""How the switch agents are, for ``antifraud doctor``: what waits, what failed, how full the register is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from antifraud.queues import Keys
from antifraud.queues.commands import GROUP, RESULTS, is_switch

_LATE_S: Final = 15.0
"""An agent writes its state every five seconds; after three times as long it counts as gone."""
_WAITING_S: Final = 5.0
_MOST_SWITCHES: Final = 1_000


class _State(msgspec.Struct, frozen=True):
    """What an agent says of itself."""

    agent: str = ""
    at: float = 0.0
    synced_at: float = 0.0
    wanted: int = 0
    garbled: int = 0
    refused: int = 0
    why: str = ""
    trouble: str = ""


class AgentState(msgspec.Struct, frozen=True):
    """``state`` ok or warn, what there is to say, and how to mend it."""

    state: str
    text: str
    hint: str = ""


async def agent_states(client: Any, keys: Keys, configured: Iterable[str]) -> list[AgentState]:
    """One for each switch that has an agent, or commands waiting for one, and one about all of them.

    Raises what the client raises. ``configured`` are the switches whose agents config/ starts.
    """
    written = {name.decode("utf-8", "replace"): raw for name, raw in (await client.hgetall(keys.agents)).items()}
    switches = sorted(name for name in {*written, *configured} if is_switch(name))[:_MOST_SWITCHES]
    blocks = int(await client.hlen(keys.blocks))
    if not switches:
        if not blocks:
            return [AgentState("ok", "no switch has an agent (section agents of config/)")]
        text = f"{blocks:,} numbers in the register of blocks, and no switch has an agent"
        return [AgentState("warn", text, "antifraud agent kamailio --switch NAME on the switch's machine")]
    counted = await client.hmget(keys.counters, [f"agent.{result}" for result in RESULTS])
    results = [f"{name} {int(number):,}" for name, number in zip(RESULTS, counted, strict=True) if number]
    found = [AgentState("ok", f"{blocks:,} numbers in the register; outcomes: {', '.join(results) or 'none yet'}")]
    found += [await _one(client, keys, name, written.get(name)) for name in switches]
    return found


class Backlog(msgspec.Struct, frozen=True):
    """Commands that are not settled: read by an agent, not read (1,000 at most), and seconds since the oldest."""

    pending: int = 0
    unread: int = 0
    oldest_s: float = 0.0


async def _one(client: Any, keys: Keys, switch: str, raw: bytes | None) -> AgentState:
    now = time.time()
    waiting = await backlog(client, keys.commands(switch), now)
    count = waiting.pending + waiting.unread
    waits = f"{count:,} commands wait, the oldest for {waiting.oldest_s:.1f} s" if count else "no command waits"
    hint = f"antifraud agent kamailio --switch {switch} on the switch's machine"
    try:
        state = msgspec.json.decode(raw or b"{}", type=_State)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return AgentState("warn", f"{switch}: what its agent says cannot be read; {waits}", hint)
    if not state.at or now - state.at > _LATE_S:
        since = f"its agent has said nothing for {now - state.at:,.0f} s" if state.at else "no agent has served it yet"
        return AgentState("warn", f"{switch}: {since}; {waits}", hint)
    if state.trouble:
        return AgentState("warn", f"{switch}: {_plain(state.trouble)}; {waits}", "the agent goes on trying")
    compared = f"compared {max(0.0, now - state.synced_at):,.0f} s ago" if state.synced_at else "not compared yet"
    text = f"{switch}: agent {_plain(state.agent)}, {state.wanted:,} numbers blocked, {compared}; {waits}"
    if state.refused:
        text += f"; the switch did not take {state.refused:,} numbers: {_plain(state.why)}"
        return AgentState("warn", text, "see that the switch has memory left and the configuration for the list")
    if waiting.oldest_s > _WAITING_S:
        return AgentState("warn", text, "look into the agent's log; antifraud agent … --verbose says more")
    if state.garbled:
        text += f"; {state.garbled:,} fields of the register cannot be read and block nothing"
        return AgentState("warn", text, "look at the hash of blocks: somebody else than the engine wrote into it")
    return AgentState("ok", text)


async def backlog(client: Any, stream: str, now: float) -> Backlog:
    """What waits in the commands ``stream`` at epoch second ``now``. Raises what the client raises."""
    groups: list[Any] = []
    with contextlib.suppress(ResponseError):  # no stream: nothing was ever commanded
        groups = await client.xinfo_groups(stream)
    group = next((one for one in groups if one["name"] == GROUP.encode()), None)
    summary: Any = await client.xpending(stream, GROUP) if group is not None else {"pending": 0, "min": None}
    after = b"(" + group["last-delivered-id"] if group is not None else "-"
    unread = await client.xrange(stream, min=after, count=1_000)
    ids = [entry for entry in (summary["min"], unread[0][0] if unread else None) if entry]
    oldest = max((now - int(entry.split(b"-")[0]) / 1000 for entry in ids), default=0.0)
    return Backlog(int(summary["pending"]), len(unread), max(0.0, oldest))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:300]
