"""The figures of one switch agent for Prometheus, read back out of Redis, so that they are the same for every kind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from antifraud.cli.agent_states import backlog
from antifraud.queues import REDIS_ERRORS, Keys, check_cancelled, connect

_LOG: Final = logging.getLogger("antifraud.agents")
_EVERY_S: Final = 2.0
_GAUGES: Final = {
    "up": "1: the agent can ask Redis, 0: it cannot",
    "serving": "1: an agent serves the switch and nothing is wrong, 0: none does, or the switch or Redis is away",
    "pending": "commands that were read and are not settled",
    "unread": "commands that nobody has read, 1,000 at most",
    "oldest_seconds": "age of the oldest command that is not settled",
    "blocked": "numbers that the switch is to hold, at the last comparison of the whole list",
    "compared_seconds": "time since the last comparison of the whole list",
    "added": "numbers that the last comparison had to add",
    "removed": "numbers that the last comparison had to remove",
}


class AgentBoard:
    """The last figures."""

    def __init__(self) -> None:
        self.figures: Mapping[str, float] = dict.fromkeys(_GAUGES, 0.0)


class AgentCollector(Collector):
    """The families of one switch."""

    def __init__(self, board: AgentBoard, switch: str) -> None:
        self._board = board
        self._switch = switch

    def collect(self) -> Iterator[Metric]:
        """One gauge each, with the label ``switch``."""
        for name, number in self._board.figures.items():
            family = GaugeMetricFamily(f"antifraud_agent_{name}", _GAUGES[name], labels=["switch"])
            family.add_metric([self._switch], number)
            yield family


async def keep_figures(url: str, shard: str, switch: str, board: AgentBoard) -> None:
    """Bring ``board`` up to date every two seconds until cancelled."""
    client, keys = connect(url, name=f"agent-metrics-{switch}"), Keys(shard)
    silent = False
    try:
        while True:
            check_cancelled()
            try:
                board.figures = await _figures(client, keys, switch)
                silent = False
            except REDIS_ERRORS as error:
                board.figures = dict.fromkeys(_GAUGES, 0.0)
                if not silent:  # once, not every two seconds
                    _LOG.warning("%s: no figures, Redis refuses or is away: %s", switch, error)
                silent = True
            await asyncio.sleep(_EVERY_S)
    finally:
        await client.aclose()


async def _figures(client: Any, keys: Keys, switch: str) -> Mapping[str, float]:
    now = time.time()
    raw = (await client.hmget(keys.agents, [switch]))[0]
    waiting = await backlog(client, keys.commands(switch), now)
    try:
        told = msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = {}

    def figure(name: str) -> float:
        found = told.get(name, 0)
        return float(found) if isinstance(found, (int, float)) else 0.0

    return {
        "up": 1.0,
        "serving": float(now - figure("at") < 15 and not told.get("trouble")),
        "pending": float(waiting.pending),
        "unread": float(waiting.unread),
        "oldest_seconds": waiting.oldest_s,
        "blocked": figure("wanted"),
        "compared_seconds": max(0.0, now - figure("synced_at")) if figure("synced_at") else 0.0,
        "added": figure("added"),
        "removed": figure("removed"),
    }
