"""``antifraud simulate``: synthetic national call traffic, with the truth about every call, into a file."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click
import msgspec

from antifraud.domain import UsageError


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same traffic.")
@click.option("--calls", type=int, help="How many calls.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write; - is standard output.")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), help="By default what the file's name says.")
@click.option("--scenario", default="national", show_default=True, help="A scenario of config/scenarios/, or a file.")
@click.option("--start", default="", help="When it begins: 2026-01-05, 2026-01-05T09:00 or epoch seconds.")
@click.option("--days", type=float, help="Spread the calls over so many days.")
@click.option("--calls-per-second", "rate", type=float, help="The average rate of calls.")
@click.option("--as-delivered", is_flag=True, help="As events reach a log: a few of them twice, a few of them late.")
@click.option("--config", "config_dir", type=click.Path(path_type=Path), help="The configuration directory.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def simulate(
    seed: int,
    calls: int | None,
    out: Path,
    form: str | None,
    scenario: str,
    start: str,
    days: float | None,
    rate: float | None,
    as_delivered: bool,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Write the events of synthetic calls in order of time, each with its truth {fraud, campaign, scenario}.

    Give two of --calls, --days and --calls-per-second, or --calls alone (spread over one day).
    """
    from antifraud.settings import data_dir
    from antifraud.simulator import DEFAULT_START, find_scenario, load_scenario
    from antifraud.simulator import simulate as stream
    from antifraud.simulator.files import format_of, write_events

    chosen = load_scenario(find_scenario(scenario, data_dir("config", config_dir)))
    if calls is None:
        if days is None or rate is None:
            raise UsageError("how many calls is not said", hint="give --calls, or --days with --calls-per-second")
        if not (math.isfinite(days * rate) and days * rate > 0):
            raise UsageError("--days and --calls-per-second must both be above 0", hint="for instance --days 1")
        calls = max(1, round(days * 86_400 * rate))
        days = None
    begin = start_time(start, chosen.draw(seed).utc_offset_min) if start and seed >= 0 else DEFAULT_START
    events = stream(chosen, seed, calls, begin, rate, days=days, as_delivered=as_delivered)
    with _progress(calls) as advance:
        written, made = write_events(events, out, format_of(out, form), advance)
    if as_delivered:
        made = calls  # a set-up that came twice is one call
    summary = {"calls": made, "events": written, "seed": seed, "scenario": chosen.name, "start": begin, "out": str(out)}
    to_err = str(out) == "-"
    if as_json:
        click.echo(msgspec.json.encode(summary).decode(), err=to_err)
    else:
        click.echo(f"{made} calls, {written} events, scenario {chosen.name}, seed {seed} -> {out}", err=True)


def start_time(text: str, offset_min: int) -> float:
    """Epoch seconds of ``text``; a time without a zone is the scenario's local time."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            hint = "write 2026-01-05, 2026-01-05T09:00, 2026-01-05T09:00+05:00 or epoch seconds"
            raise UsageError(f"{text!r} is no time", hint=hint) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
        seconds = moment.timestamp()
    if not (math.isfinite(seconds) and 946_684_800 <= seconds < 4_000_000_000):
        raise UsageError(
            f"the start {text!r} lies outside 2000-2096", hint="epoch time is in seconds, not milliseconds"
        )
    return seconds


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal; None, and nothing shown, elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("calls", total=total)
        yield lambda done: progress.update(task, completed=done)
