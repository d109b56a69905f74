"""``antifraud agent NAME``: carries out on one switch what the engine commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import click
import yaml

from antifraud.cli.assembly import read_settings, settings_options
from antifraud.cli.extensions import load_extension
from antifraud.cli.processes import ready, require_redis, serve, start_logging, until
from antifraud.domain import ConfigError, UsageError
from antifraud.queues.commands import is_switch
from antifraud.settings.schema import LISTEN

GROUP = "antifraud.agents"


@click.command()
@click.argument("name")
@settings_options
@click.option("--switch", required=True, metavar="SWITCH", help="The switch, by its name in config/.")
@click.option("--set", "assignments", multiple=True, metavar="OPTION=VALUE", help="Override an option of the agent.")
@click.option("--verbose", is_flag=True, help="Log more.")
def agent(name: str, switch: str, assignments: tuple[str, ...], verbose: bool, **where: Any) -> None:
    """Run the agent called NAME for one switch with its options from config/ (section agents.SWITCH)."""
    start_logging(verbose)
    if not is_switch(switch):
        raise UsageError(
            f"--switch {switch[:80]!r} is no name of a switch", hint="letters, digits, dash, underscore, dot"
        )
    made = load_extension(GROUP, name)
    settings = read_settings(where)
    section = settings.agents.get(switch, {})
    if section.get("agent", name) != name:
        raise UsageError(
            f"agents.{switch} in config/ is an agent for {section['agent']}, not for {name}",
            hint=f"antifraud agent {section['agent']} --switch {switch}",
        )
    options = {key: value for key, value in section.items() if key not in ("enabled", "agent")}
    options.update(_assigned(assignments))
    listen = _listen(switch, options.pop("metrics", "") or "")
    region = settings.switches[switch].region if switch in settings.switches else ""
    if not region:
        click.echo(
            f"{switch} is none of the switches in config/: only blocks for all regions are put on it "
            f"(switches: {{{switch}: {{region: …}}}})",
            err=True,
        )
    url = require_redis(settings.redis.url)

    async def part(stop: asyncio.Event) -> None:
        serving = made.run(
            shard=settings.shard, switch=switch, region=region, redis_url=url, options=options, ready=ready
        )
        if not listen:
            await until(stop, serving)
            return
        from antifraud.cli.agent_metrics import AgentBoard, AgentCollector, keep_figures
        from antifraud.engine.metrics import MetricsServer

        board = AgentBoard()
        try:
            server = MetricsServer(listen, board, AgentCollector(board, switch))
        except ConfigError as error:
            what = str(error).replace("metrics.listen", f"agents.{switch}.metrics")
            raise ConfigError(what, hint="another program may listen there already; name a free address") from None
        with server:
            await until(stop, serving, keep_figures(url, settings.shard, switch, board))

    serve(part)


def _listen(switch: str, text: object) -> str:
    """The address that the agent's figures are served on; UsageError when it is none."""
    if text and (not isinstance(text, str) or re.fullmatch(LISTEN, text) is None):
        raise UsageError(
            f"agents.{switch}.metrics {str(text)[:80]!r} is no address and port", hint="write 127.0.0.1:9465"
        )
    return str(text)


def _assigned(assignments: tuple[str, ...]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(
                f"--set {assignment!r} has no =", hint="write --set socket=/run/kamailio/antifraud_rpc.sock"
            )
        try:
            found[key] = yaml.safe_load(value[:4096])
        except yaml.YAMLError:
            found[key] = value
    return found
