"""``antifraud desk``: call cards over HTTP, and what desks can take."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antifraud.cli.assembly import assemble, build_numbering, read_settings, settings_options
from antifraud.cli.processes import ready, require_redis, serve, start_logging
from antifraud.domain import ConfigError, QueueError, UsageError

if TYPE_CHECKING:
    from antifraud.settings import Settings

_LOG = logging.getLogger("antifraud.desk")
_DRAIN_S = 2.0


@click.group()
def desk() -> None:
    """Serve call cards to the desk, and show and say what desks can take."""


@desk.command("serve")
@settings_options
@click.option("--listen", default="", metavar="HOST:PORT", help="Address and port instead of cards.listen.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of tokens instead of cards.token_file.")
@click.option("--journal", type=click.Path(path_type=Path), help="Directory of the journal, for older calls.")
@click.option("--verbose", is_flag=True, help="Log more.")
def serve_cards(listen: str, token_file: Path | None, journal: Path | None, verbose: bool, **where: Any) -> None:
    """Answer for call cards until told to stop (SIGTERM)."""
    from aiohttp import web

    from antifraud.desk.service import CardService, read_tokens
    from antifraud.queues import connect

    start_logging(verbose)
    settings, decider = assemble(where)
    cards = settings.cards
    place = listen or cards.listen
    if not place:
        raise UsageError("no address to serve cards on", hint="set cards.listen, or give --listen 127.0.0.1:8470")
    tokens_from = token_file or (Path(cards.token_file) if cards.token_file else None)
    if tokens_from is None:
        raise UsageError("no file of tokens", hint="set cards.token_file, or give --token-file FILE")
    tokens = read_tokens(tokens_from)
    secured = _tls(settings)
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65_535 or not host:
        raise UsageError(f"--listen {place!r} is no address and port", hint="write 127.0.0.1:8470")
    if secured is None and host not in ("127.0.0.1", "::1", "localhost"):
        _LOG.warning("cards go over the network without TLS: name a certificate, or put a proxy with TLS before them")
    url = require_redis(settings.redis.url)
    explain = None
    if decider.model is not None:
        from antifraud.decision.explaining import DecisionExplainer

        explainer = DecisionExplainer(decider.model, decider.bundle.windows, decider.policy)
        explain = explainer.sentences
    numbering = build_numbering(settings, warm=False)

    async def part(stop: asyncio.Event) -> None:
        client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-desk")
        service = CardService(
            client, settings.shard, tokens, numbering, journal=journal or settings.journal_dir, explain=explain,
            desks=frozenset(settings.document.desks), most_cases=cards.cases,
        )  # fmt: skip
        # All that aiohttp itself would log, with a traceback each time, is what strangers send that is no HTTP.
        quiet = logging.getLogger("antifraud.desk.http")
        quiet.setLevel(logging.CRITICAL)
        runner = web.AppRunner(
            service.app(), access_log=None, logger=quiet, shutdown_timeout=_DRAIN_S, keepalive_timeout=15
        )
        await runner.setup()
        assert runner.server is not None
        follower = asyncio.ensure_future(service.run())
        closer = asyncio.ensure_future(service.close_old(runner.server))
        try:
            site = web.TCPSite(runner, host, int(port), ssl_context=secured, backlog=64)
            try:
                await site.start()
            except OSError as error:
                reason = error.strerror or str(error)
                hint = "another program may listen there already"
                raise ConfigError(f"cards cannot be served on {place}: {reason}", hint=hint) from None
            server: Any = site._server  # noqa: SLF001 - the port that was given when 0 was asked for
            ready(f"http{'s' if secured else ''}://{host}:{server.sockets[0].getsockname()[1]}")
            waiter = asyncio.ensure_future(stop.wait())
            await asyncio.wait([follower, waiter], return_when=asyncio.FIRST_COMPLETED)
            if follower.done():
                follower.result()
        finally:
            for task in (follower, closer):
                task.cancel()
            await asyncio.gather(follower, closer, return_exceptions=True)
            await runner.cleanup()
            await client.aclose()

    serve(part)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    cards = settings.cards
    if cards.certificate is None or cards.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cards.certificate, cards.key)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        message = f"cards.certificate {cards.certificate} cannot be used with cards.key {cards.key}: {reason}"
        raise ConfigError(message, hint="both are PEM files, and the key is that of the certificate") from None
    return context


@desk.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool, **where: Any) -> None:
    """Show each desk: hours, how many calls it takes, how many it has, what it last said of itself."""
    import msgspec
    import redis

    from antifraud.queues import Keys

    settings = read_settings(where)
    keys = Keys(settings.shard)
    try:
        client = redis.Redis.from_url(require_redis(settings.redis.url), socket_timeout=settings.redis.socket_timeout_s)
        written: Any = client.hgetall(keys.desks)
    except (redis.RedisError, OSError, ValueError) as error:
        raise QueueError(f"Redis does not answer: {error}", hint="antifraud doctor shows what is reachable") from None
    found: dict[str, dict[str, Any]] = {
        name: {"target": one.target, "hours": list(one.hours), "calls": one.calls, "queue": one.queue, "taken": 0,
               "said_free": None, "said_at": None}
        for name, one in sorted(settings.document.desks.items())
    }  # fmt: skip
    for raw, value in written.items():
        field = raw.decode("utf-8", "replace")
        with contextlib.suppress(msgspec.MsgspecError, KeyError, IndexError, TypeError):
            content: Any = msgspec.json.decode(value) if field[:2] in ("p:", "h:") else ()
            if field.startswith("p:"):
                found[content[0]]["taken"] += 1
            elif field.startswith("h:"):
                found[field[2:]].update(said_free=content[0], said_at=content[1])
    now = time.time()
    for name, one in found.items():
        one["open"], one["why_closed"] = _open_now(settings, name, one["said_at"], now)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    if not found:
        click.echo("no desks in config/; a region's policy.desk.target takes as many calls as come")
    for name, one in found.items():
        places = f"{one['calls']} calls and {one['queue']} waiting" if one["calls"] + one["queue"] else "no limit"
        said = f"; said free: {one['said_free']}" if one["said_free"] is not None else ""
        hours = ", ".join(one["hours"]) or "always"
        closed = "" if one["open"] else f"  CLOSED: {one['why_closed']}"
        click.echo(f"{name}  {one['target']}  {hours}  {one['taken']} taken of {places}{said}{closed}")


def _open_now(settings: Settings, name: str, said_at: float | None, now: float) -> tuple[bool, str]:
    """Whether calls go to the desk at epoch second ``now``, and why not."""
    from antifraud.decision.desks import parse_hours

    declared = settings.document.desks[name]
    local = now + settings.utc_offset_min * 60.0
    if declared.hours and not any(parse_hours(text).open_at(local) for text in declared.hours):
        return False, "outside of its hours"
    if declared.silent_s > 0 and (said_at is None or now - said_at > declared.silent_s):
        return False, f"it has said nothing of itself for {declared.silent_s:g} seconds"
    return True, ""


@desk.command()
@click.argument("name")
@click.option("--calls", "count", required=True, type=click.IntRange(0, 999_999), help="How many more it can take now.")
@settings_options
def free(name: str, count: int, **where: Any) -> None:
    """Say how many more calls the desk NAME can take now, as its own telephone system would."""
    import redis

    from antifraud.queues import Keys
    from antifraud.settings.check import closest

    settings = read_settings(where)
    if name not in settings.document.desks:
        near = closest(name, settings.document.desks)
        known = ", ".join(sorted(settings.document.desks)) or "none"
        raise UsageError(f"there is no desk {name}", hint=f"did you mean {near}?" if near else f"config/ has: {known}")
    try:
        client = redis.Redis.from_url(require_redis(settings.redis.url), socket_timeout=settings.redis.socket_timeout_s)
        entry: Any = {"desk": name, "free": str(count)}
        client.xadd(Keys(settings.shard).desk_state, entry, maxlen=10_000, approximate=True)
    except (redis.RedisError, OSError, ValueError) as error:
        raise QueueError(f"Redis does not answer: {error}", hint="antifraud doctor shows what is reachable") from None
    click.echo(f"{name}: {count} more calls")
