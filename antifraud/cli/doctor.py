"""``antifraud doctor``: looks at everything the product needs and says, for each, how it is and how to mend it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud import __version__
from antifraud.cli.assembly import read_settings, settings_options
from antifraud.domain import AntifraudError

if TYPE_CHECKING:
    from antifraud.decision import Decider

_PACKAGES: Final = (
    "redis",
    "hiredis",
    "numpy",
    "numba",
    "lightgbm",
    "phonenumbers",
    "pyarrow",
    "scapy",
    "aiomqtt",
    "prometheus-client",
)


_FULL: Final = 0.9
"""The share of their memory from which on the windows count as full."""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: ``state`` is ok, warn or fail; ``hint`` says how to mend it."""

    area: str
    state: str
    text: str
    hint: str = ""


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def doctor(as_json: bool, **where: Any) -> None:
    """Say what is reachable, which versions, what is misconfigured and how to mend it. Exit code 1: something fails."""
    findings = list(_look(where))
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            mark = {"ok": " ok ", "warn": "WARN", "fail": "FAIL"}[finding.state]
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.state]
            first, *rest = finding.text.splitlines() or [""]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.area:<14} {first}")
            for line in rest:
                click.echo(f"{'':<21} {line}".rstrip())
            if finding.hint:
                click.echo(f"{'':<21} to mend it: {finding.hint}")
    if any(finding.state == "fail" for finding in findings):
        raise SystemExit(1)


def _look(where: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("antifraud", "ok", f"{__version__} on Python {platform.python_version()}, {platform.system()}")
    yield from _packages()
    try:
        settings = read_settings(where)
    except AntifraudError as error:
        yield Finding("configuration", "fail", error.render(), "correct the file; antifraud config validate checks it")
        return
    regions = settings.policy().regions
    ceilings: dict[str, int] = {}
    for region in regions.values():
        ceilings[region.ceiling.word] = ceilings.get(region.ceiling.word, 0) + 1
    shown = ", ".join(f"{number} {name}" for name, number in sorted(ceilings.items()))
    yield Finding(
        "configuration", "ok", f"{settings.config_dir}: shard {settings.shard}, {len(regions)} regions ({shown})"
    )
    yield from _checked("numbering", lambda: _numbering(settings))
    yield from _checked("rules", lambda: _rules(settings))
    yield from _calendar(settings.rules_dir)
    yield from _memory(settings)
    made: list[Decider] = []
    parameters = list(_checked("parameters", lambda: _parameters(settings)))
    yield from parameters
    if all(finding.state == "ok" for finding in parameters):
        yield from _checked("model", lambda: _model(settings, made))
    else:
        text = "not looked at: what regions set does not fit the rules"
        yield Finding("model", "warn", text, "mend what is said under parameters first")
    if made:
        yield from _warm_up(made[0])
        if settings.challenger is not None:
            yield _challenger(made[0])
    yield from _directory("snapshots", settings.snapshot_dir)
    yield from asyncio.run(_redis(settings))
    if settings.metrics.listen:
        yield from asyncio.run(_metrics(settings.metrics.listen))
    else:
        yield Finding("metrics", "ok", "no address configured (metrics.listen): no figures for Prometheus")
    if settings.alerts.url:
        yield from asyncio.run(_broker(settings.alerts.url))
    else:
        yield Finding("alerts", "ok", "no MQTT broker configured (alerts.url): no alerts are published")


def _packages() -> Iterator[Finding]:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install antifraud again")
    try:
        import lightgbm  # noqa: F401 - loading its library is the check
    except (ImportError, OSError) as error:
        yield Finding("packages", "fail", f"lightgbm cannot be loaded: {error}", "apt-get install libgomp1")


def _checked(area: str, check: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding(area, "ok", check())
    except AntifraudError as error:
        yield Finding(area, "fail", error.render())


def _numbering(settings: Any) -> str:
    from antifraud.cli.assembly import build_numbering

    facts = build_numbering(settings, warm=False).facts("112")
    verdict = "an emergency number" if facts.emergency else "NOT an emergency number"
    return f"dial plan {settings.dial_plan}: 112 is {verdict}"


def _rules(settings: Any) -> str:
    from antifraud.decision import load_bundle

    bundle = load_bundle(settings.rules_dir, settings.utc_offset_min)
    counts = f"{len(bundle.rules.defaults)} rules, {len(bundle.windows.names)} windows"
    return f"{settings.rules_dir}: {counts}, bundle {bundle.digest}"


def _calendar(rules_dir: Path) -> Iterator[Finding]:
    """Whether the holidays of this year, and of the next one when it is near, are entered."""
    from antifraud.rulekit import read_calendar

    local, sheet, _raw = read_calendar(rules_dir)
    if sheet.problems:
        return  # it has been said under "rules"
    if not local.known:
        yield Finding("calendar", "ok", "no calendar.yaml: no rule can ask holiday()")
        return
    years = ", ".join(str(year) for year in local.unentered(dt.datetime.now(dt.UTC).timestamp()))
    if years:
        hint = f"enter them in {sheet.name} as soon as they are published"
        yield Finding("calendar", "warn", f"no holidays of {years} are entered: holiday() holds on no day then", hint)
    else:
        yield Finding("calendar", "ok", f"{len(local.holidays)} holidays, to the end of {local.last_year}")


def _parameters(settings: Any) -> str:
    """Whether what regions set of the rules' parameters fits the rules."""
    from antifraud.cli.rule_parameters import check_rule_parameters

    check_rule_parameters(settings)
    count = sum(len(values) for region in settings.regions.values() for values in region.policy.rules.values())
    return f"regions set {count} of the rules' parameters, and all of them fit" if count else "no region sets any"


def _model(settings: Any, made: list[Decider]) -> str:
    from antifraud.cli.assembly import SCRATCH_BYTES, build_decider
    from antifraud.features import Limits

    decider = build_decider(settings, warm=False, limits=Limits.of_memory(SCRATCH_BYTES))
    made.append(decider)
    if decider.model is None:
        return "none configured: rules alone decide"
    return f"{decider.model.id}, stage {decider.model.stage.value}, fits the windows"


def _warm_up(decider: Decider) -> Iterator[Finding]:
    """Whether the score acts on callers sooner than its certificate knows them."""
    model = decider.model
    certified = model.manifest.training.get("warm_up_s", 0.0) if model is not None else 0.0
    if isinstance(certified, int | float) and decider.policy.warm_up_s < certified:
        yield Finding(
            "warm-up",
            "warn",
            f"the score may stop calls {decider.policy.warm_up_s / 3600:g} hours after the engine's first call; its "
            f"certificate is about engines that have known their callers for {certified / 3600:g} hours",
            f"set engine.warm_up_s to {certified:g}, or train a model with engine.warm_up_s as it is",
        )


def _challenger(decider: Decider) -> Finding:
    """Whether the second model can score beside the first; if not, the first goes on alone."""
    refused = decider.challenger_refused
    if refused is not None:
        hint = "until then the model in force goes on alone"
        return Finding("challenger", "warn", refused.render(), hint)
    assert decider.challenger is not None, "what is configured is there or refused"
    return Finding("challenger", "ok", f"{decider.challenger.id} scores every call and decides nothing")


def _memory(settings: Any) -> Iterator[Finding]:
    """Whether the windows' memory fits into this machine; a snapshot may need a part of it a second time."""
    from antifraud.cli.assembly import memory_limits
    from antifraud.decision import load_bundle
    from antifraud.domain import BundleError
    from antifraud.features import Fold
    from antifraud.settings import show_size

    wanted = settings.features.memory_bytes
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"the windows may take {show_size(wanted)} (features.memory_limit), this machine has {show_size(here)}"
    try:
        Fold(load_bundle(settings.rules_dir, settings.utc_offset_min).windows, limits=memory_limits(settings))
    except BundleError:
        pass  # it has been said under "rules"
    except AntifraudError as error:
        yield Finding("memory", "fail", error.render())
        return
    if wanted > 0.8 * here:
        yield Finding("memory", "warn", text, "lower features.memory_limit, or run the engine on a larger machine")
    else:
        yield Finding("memory", "ok", text)


def _directory(area: str, path: Path) -> Iterator[Finding]:
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if os.access(place, os.W_OK):
        yield Finding(area, "ok", f"{path} is writable")
    else:
        yield Finding(
            area,
            "fail",
            f"{path} cannot be written by user id {os.getuid()}",
            f"give it to the engine's user: chown {place}",
        )


async def _redis(settings: Any) -> list[Finding]:
    from antifraud.cli.agent_states import agent_states
    from antifraud.cli.run_time_lists import written
    from antifraud.queues import REDIS_ERRORS, Keys, connect, find_server, shown_url

    url = settings.redis.url
    if not url:
        server = find_server()
        if server is None:
            return [
                Finding("redis", "fail", "none configured and no redis-server here", "apt-get install redis-server")
            ]
        return [Finding("redis", "ok", f"none configured (REDIS_URL); demo and up start {server} on a private socket")]
    findings = []
    client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-doctor")
    keys = Keys(settings.shard)
    try:
        info = await client.info()
        number = str(info.get("redis_version", "0"))
        old = tuple(int(part) for part in number.split(".")[:2]) < (6, 2)
        findings.append(
            Finding(
                "redis",
                "fail" if old else "ok",
                f"{shown_url(url)}: version {number}",
                "use 6.2 or newer" if old else "",
            )
        )
        policy = str(info.get("maxmemory_policy", ""))
        if policy != "noeviction":
            findings.append(
                Finding(
                    "redis", "warn", f"maxmemory-policy is {policy}: Redis may drop the log", "set it to noeviction"
                )
            )
        calls = await client.xlen(keys.calls)
        position: Any = await client.hget(keys.position, "id")
        bundle, refused = (_text(found or b"") for found in await client.hmget(keys.position, "bundle", "refused"))
        lease = await client.get(keys.lease)
        last: Any = await client.xrevrange(keys.calls, count=1)
        if lease is None:
            findings.append(
                Finding(
                    "engine",
                    "warn",
                    f"no engine serves shard {settings.shard}: calls go on undecided",
                    "antifraud engine",
                )
            )
        else:
            behind = 0.0
            if last and position:
                behind = (int(last[0][0].split(b"-")[0]) - int(position.split(b"-")[0])) / 1000
            state = "ok" if behind < 1 else "warn"
            findings.append(
                Finding("engine", state, f"{_text(lease)} serves shard {settings.shard}, {behind:.1f} s behind the log")
            )
            if refused:
                text = f"the engine goes on with bundle {bundle}; the rules that it was to take last are refused:"
                hint = "correct them: the engine looks at them again, or is told to with op reload"
                findings.append(Finding("rules in force", "warn", f"{text}\n{refused}", hint))
            elif bundle:
                findings.append(Finding("rules in force", "ok", f"bundle {bundle}"))
        figures: Any = await client.hgetall(keys.features)
        if figures:
            findings.append(_windows({_text(name): _number(number) for name, number in figures.items()}))
        control: Any = await client.xrange(keys.control, count=10_000)
        switches = [fields for _id, fields in control if fields.get(b"op") in (b"kill", b"revive")]
        if switches and switches[-1].get(b"op") == b"kill":
            who, why = _text(switches[-1].get(b"who", b"")), _text(switches[-1].get(b"why", b""))
            text = f"interception is switched off by {who}: {why}"
            findings.append(Finding("kill switch", "warn", text, "append op revive to the control stream"))
        findings.append(_run_time_lists(await written(client, keys.lists)))
        enabled = [name for name, options in settings.agents.items() if options.get("enabled", False)]
        states = await agent_states(client, keys, enabled)
        findings.extend(Finding("agents", one.state, one.text, one.hint) for one in states)
        quarantined = await client.xlen(keys.quarantine)
        findings.append(Finding("streams", "ok", f"calls {calls:,}, quarantine {quarantined:,}"))
        counters: Any = await client.hgetall(keys.counters)
        if counters:
            lines = [f"{_text(name)} {int(number):,}" for name, number in sorted(counters.items())]
            findings.append(Finding("counters", "ok", "\n".join(lines)))
    except REDIS_ERRORS as error:
        findings.append(
            Finding(
                "redis",
                "fail",
                f"{shown_url(url)} does not answer: {error}",
                "start it or correct REDIS_URL / redis.url in config/",
            )
        )
    finally:
        await client.aclose()
    return findings


def _windows(figures: Mapping[str, float]) -> Finding:
    """What the engine remembers of the past, as it said last: totals, then a line for each table and stream."""
    used, limit = figures.get("memory_bytes", 0.0), figures.get("memory_limit_bytes", 0.0)
    share = used / limit if limit > 0 else 0.0
    counted = "   ".join(f"{name} {figures.get(name, 0):,.0f}" for name in ("events", "late", "duplicates"))
    lines = [f"memory {_mib(used)} of {_mib(limit)} MiB ({share:.0%})   {counted}"]
    parts: dict[str, dict[str, float]] = {}
    for name, number in figures.items():
        part, dot, what = name.rpartition(".")
        if dot:
            parts.setdefault(part, {})[what] = number
    tables = {name: found for name, found in sorted(parts.items()) if "keys" in found}
    streams = {name: found for name, found in sorted(parts.items()) if "pairs" in found}
    width = max(map(len, (*tables, *streams, "stream")))
    if tables:
        rows = [
            (name, f"{found['keys']:,.0f}", _mib(found.get("bytes", 0)), f"{found.get('evicted', 0):,.0f}")
            for name, found in tables.items()
        ]
        lines += ["", *_table(("table", "keys", "MiB", "evicted"), rows, width)]
    if streams:
        pairs = [(name, f"{found['pairs']:,.0f}", f"{found.get('cut', 0):,.0f}") for name, found in streams.items()]
        lines += ["", *_table(("stream", "pairs", "cut"), pairs, width)]
    text = "\n".join(lines)
    forgotten = sum(found.get("evicted", 0) for found in tables.values())
    if share >= _FULL and forgotten:
        hint = (
            f"raise features.memory_limit: memory is full and {forgotten:,.0f} keys were forgotten before their time; "
            "while callers are forgotten sooner than engine.warm_up_s, the score asks for no more than a label"
        )
        return Finding("windows", "warn", text, hint)
    return Finding("windows", "ok", text)


def _run_time_lists(found: Mapping[bytes, bytes]) -> Finding:
    """What was added to lists and taken out of them at run time and still stands: a line for each list."""
    from antifraud.cli.run_time_lists import summed_up
    from antifraud.rulekit import decode_amendments

    changes, garbled = decode_amendments(found)
    rows, full = summed_up(changes, dt.datetime.now(dt.UTC).timestamp())
    several = "s" if len(rows) > 1 else ""
    lines = [f"{len(changes):,} run-time entries in {len(rows)} list{several}" if rows else "no run-time entries"]
    if rows:
        head = ("list", "added", "taken out", "ended", "oldest", "by")
        lines += ["", *_table(head, rows, max(len(row[0]) for row in (head, *rows)))]
    if garbled:
        lines[0] += f"; {garbled:,} fields are none and are left alone"
    if full:
        hint = f"move run-time entries of {', '.join(full)} into the file: a list takes no more than 10,000"
        return Finding("lists", "warn", "\n".join(lines), hint)
    hint = "look at the hash of run-time entries: somebody else than the engine wrote into it" if garbled else ""
    return Finding("lists", "warn" if garbled else "ok", "\n".join(lines), hint)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines with the first column to the left and the others, which are numbers, to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    widths[0] = width
    widths[1:] = [max(one, 10) for one in widths[1:]]
    return [
        "  ".join([row[0].ljust(width), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))])
        for row in (head, *rows)
    ]


def _mib(bytes_: float) -> str:
    return f"{bytes_ / (1 << 20):,.1f}"


async def _metrics(listen: str) -> list[Finding]:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        _reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 2)
        writer.close()
        await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        text = f"nothing answers at http://{listen}/metrics: {str(error) or 'no answer in 2 s'}"
        hint = "start the engine on this machine, or correct metrics.listen"
        return [Finding("metrics", "warn", text, hint)]
    return [Finding("metrics", "ok", f"http://{listen}/metrics answers")]


async def _broker(url: str) -> list[Finding]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 1883
    try:
        _reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
        writer.close()
        await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        return [
            Finding(
                "alerts",
                "warn",
                f"the MQTT broker {host}:{port} does not answer: {error}",
                "start it or correct alerts.url",
            )
        ]
    return [Finding("alerts", "ok", f"the MQTT broker {host}:{port} answers")]


def _number(value: Any) -> float:
    """A figure as a number; 0 for what is none."""
    try:
        number = float(_text(value))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
