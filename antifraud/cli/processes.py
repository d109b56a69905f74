"""``antifraud engine``, ``adapter NAME``, ``journal`` and ``up``: the long-running parts.

A part that is ready prints one line, ``ready ADDRESS``, to standard output; everything else goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from antifraud.cli.assembly import assemble, memory_limits, passed_on, read_settings, settings_options
from antifraud.cli.extensions import load_extension
from antifraud.cli.rule_parameters import refuse_unfit
from antifraud.cli.supervisor import PARENT
from antifraud.domain import ConfigError, Problem, QueueError, UsageError

if TYPE_CHECKING:
    from antifraud.decision import Decider
    from antifraud.domain import Decision
    from antifraud.engine import Board
    from antifraud.settings import Settings

_WITH_FAIL_POLICY: Final = ("redirect", "asterisk", "freeswitch")
"""Adapters that are told what becomes of calls while nobody decides."""


def start_logging(verbose: bool = False) -> None:
    """Log lines to standard error, one format for all parts."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def ready(address: str) -> None:
    """Tell whoever started this part that it serves."""
    click.echo(f"ready {address}")
    sys.stdout.flush()


def serve(part: Callable[[asyncio.Event], Awaitable[None]], reload: Callable[[], None] | None = None) -> None:
    """Run ``part`` until SIGTERM or SIGINT sets its event; SIGHUP calls ``reload``."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # A closed terminal ends what runs in it; a service takes the same signal as "read the rules again".
        loop.add_signal_handler(signal.SIGHUP, reload if reload is not None else stop.set)
        parent = int(os.environ.get(PARENT, "0"))
        watcher = asyncio.ensure_future(_watch_parent(parent, stop)) if parent else None
        try:
            await part(stop)
        finally:
            if watcher is not None:
                watcher.cancel()

    try:
        import uvloop
    except ImportError:  # not on this platform
        asyncio.run(main())
    else:
        uvloop.run(main())


async def _watch_parent(parent: int, stop: asyncio.Event) -> None:
    """Set ``stop`` when the process that started this one is gone: nobody is left to stop it."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it on every kernel
        await asyncio.sleep(1)
    stop.set()


async def until(stop: asyncio.Event, *parts: Awaitable[None]) -> None:
    """Run ``parts`` side by side until one ends or ``stop`` is set; the first error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    waiter = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, waiter], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not waiter:
                task.result()
    finally:
        for task in [*tasks, waiter]:
            task.cancel()
        await asyncio.gather(*tasks, waiter, return_exceptions=True)


@click.command()
@settings_options
@click.option("--snapshots", type=click.Path(path_type=Path), help="Directory of snapshots.")
@click.option("--verbose", is_flag=True, help="Log more.")
def engine(snapshots: Path | None, verbose: bool, **where: Any) -> None:
    """Run the engine of one shard until it is told to stop (SIGTERM); SIGHUP reloads the rules."""
    from antifraud.engine import Board, Engine, EngineOptions, RulesPlace
    from antifraud.engine.alerts import run_alerts
    from antifraud.engine.rules_state import rules_state

    start_logging(verbose)
    # Before the rules are read: what changes from here on is noticed later.
    state = rules_state(read_settings(where).rules_dir)
    settings, decider = assemble(where, live=True)
    check = partial(refuse_unfit, settings)
    rules = RulesPlace(settings.rules_dir, settings.utc_offset_min, state, check)
    url = require_redis(settings.redis.url)
    options = EngineOptions(
        shard=settings.shard,
        redis_url=url,
        snapshot_dir=snapshots or settings.snapshot_dir,
        max_batch=settings.engine.max_batch,
        snapshot_every_s=settings.engine.snapshot_every_s,
        retention_s=settings.engine.retention_h * 3600,
        lease_s=settings.engine.lease_s,
        deadline_ms=settings.deadline_ms,
        timeout_s=settings.redis.socket_timeout_s,
        limits=memory_limits(settings),
        feedback=settings.engine.feedback,
        watch_rules_s=settings.engine.watch_rules_s,
        tick_s=settings.engine.tick_s,
    )
    explain = _explainer(decider) if settings.alerts.url else None
    board = Board(settings.shard)
    speaker = settings.speaker()
    made: list[Engine] = []
    # Everything loaded so far lives as long as the process: the collector need never walk over it again.
    gc.collect()
    gc.freeze()

    async def part(stop: asyncio.Event) -> None:
        running = Engine(options, decider, rules, board.publish, speaker)
        made.append(running)
        parts: list[Awaitable[None]] = [running.run(stop, ready)]
        if settings.alerts.url:
            parts.append(run_alerts(url, settings.shard, settings.alerts, stop, explain=explain))
        # The engine ends by itself when told to stop: a last snapshot and the counters are written first.
        tasks = [asyncio.ensure_future(task) for task in parts]
        try:
            await tasks[0]
        finally:
            stop.set()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)

    with _metrics(settings, board):
        serve(part, lambda: made[0].request_reload() if made else None)


def _explainer(decider: Decider) -> Callable[[Decision], tuple[str, ...]] | None:
    """What says why of scores, loaded and ready; None without a model."""
    if decider.model is None:
        return None
    from antifraud.decision.explaining import DecisionExplainer

    explainer = DecisionExplainer(decider.model, decider.bundle.windows, decider.policy)
    explainer.warm()
    return explainer.sentences


def _metrics(settings: Settings, board: Board) -> contextlib.AbstractContextManager[object]:
    """What serves the figures on ``metrics.listen``; nothing when it is empty. ConfigError when it cannot be used."""
    if not settings.metrics.listen:
        return contextlib.nullcontext()
    from antifraud.engine.metrics import MetricsServer

    try:
        server = MetricsServer(settings.metrics.listen, board)
    except ConfigError as error:
        where = settings.where("metrics.listen")
        raise ConfigError.of([Problem(one.message, where, one.hint) for one in error.problems]) from None
    logging.getLogger("antifraud.metrics").info("figures for Prometheus at %s", server.url)
    return server


@click.command()
@click.argument("name")
@settings_options
@click.option("--set", "assignments", multiple=True, metavar="OPTION=VALUE", help="Override an option of the adapter.")
@click.option("--verbose", is_flag=True, help="Log more.")
def adapter(name: str, assignments: tuple[str, ...], verbose: bool, **where: Any) -> None:
    """Run the source of calls called NAME with its options from config/ (section adapters.NAME)."""
    start_logging(verbose)
    source = load_extension("antifraud.adapters", name)
    settings = read_settings(where)
    options = {key: value for key, value in settings.adapters.get(name, {}).items() if key != "enabled"}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r} has no =", hint="write --set listen=127.0.0.1:5060")
        try:
            options[key] = yaml.safe_load(value[:4096])
        except yaml.YAMLError:
            options[key] = value
    if name in _WITH_FAIL_POLICY and "fail" not in options:
        from antifraud.cli.fail_policy import fail_options

        fail = fail_options(settings, str(options.get("switch", name)))
        options |= {"fail": fail} if fail is not None else {}
    url = require_redis(settings.redis.url)

    async def part(stop: asyncio.Event) -> None:
        await until(stop, source.run(shard=settings.shard, redis_url=url, options=options, ready=ready))

    serve(part)


@click.command()
@settings_options
@click.option("--directory", type=click.Path(path_type=Path), help="Where the Parquet files go.")
@click.option("--verbose", is_flag=True, help="Log more.")
def journal(directory: Path | None, verbose: bool, **where: Any) -> None:
    """Write every decision to Parquet files until told to stop (SIGTERM)."""
    from antifraud.journal import run_journal

    start_logging(verbose)
    settings = read_settings(where)
    url = require_redis(settings.redis.url)
    place = directory or settings.journal_dir

    async def part(stop: asyncio.Event) -> None:
        ready(str(place))
        await run_journal(url, settings.shard, place, settings.journal, stop, timeout_s=settings.redis.socket_timeout_s)

    serve(part)


def require_redis(url: str) -> str:
    """The configured address; the parts that run for long do not start a private Redis by themselves."""
    if not url:
        raise QueueError(
            "no Redis is configured",
            hint="set REDIS_URL or redis.url in config/, or start everything here with antifraud up or antifraud demo",
        )
    return url


@click.command()
@settings_options
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded Redis and the snapshots.")
@click.option("--verbose", is_flag=True, help="Log more.")
def up(data: Path | None, verbose: bool, **where: Any) -> None:
    """Run what the configuration says: engine, adapters, journal, and a private Redis when none is configured."""
    from antifraud.cli.supervisor import Part, Supervisor
    from antifraud.queues import EmbeddedRedis

    start_logging(verbose)
    settings = read_settings(where)
    embedded: EmbeddedRedis | None = None
    url = settings.redis.url
    if not url:
        embedded = EmbeddedRedis((data or settings.snapshot_dir.parent) / "redis")
        embedded.start()
        url = embedded.url
    passed = passed_on(where, url)
    snapshots = [f"--snapshots={data / 'snapshots'}"] if data else []
    journals = [f"--directory={data / 'journal'}"] if data else []
    parts = [Part("engine", ["engine", *passed, *snapshots]), Part("journal", ["journal", *passed, *journals])]
    if settings.cards.listen:
        searched = [f"--journal={data / 'journal'}"] if data else []
        parts.append(Part("desk", ["desk", "serve", *passed, *searched]))
    parts += [
        Part(f"adapter {name}", ["adapter", name, *passed])
        for name, options in sorted(settings.adapters.items())
        if options.get("enabled", False)
    ]
    parts += [
        Part(f"agent of {switch}", ["agent", str(options["agent"]), f"--switch={switch}", *passed])
        for switch, options in sorted(settings.agents.items())
        if options.get("enabled", False)
    ]

    async def part(stop: asyncio.Event) -> None:
        async with Supervisor(restart=True) as supervisor:
            for one in parts:
                address = await supervisor.start(one)
                click.echo(f"{one.name}: ready {address}")
            await stop.wait()

    try:
        serve(part)
    finally:
        if embedded is not None:
            embedded.stop()
