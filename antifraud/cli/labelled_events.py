"""Where labelled events come from: files of ``antifraud simulate``, or seeds that are simulated on the spot."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.domain import UsageError

if TYPE_CHECKING:
    from antifraud.simulator import SimulatedEvent

_DAY: Final = 86_400.0


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options and the argument that say where labelled events come from, and under which rules they are read."""
    for option in (
        click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration."),
        click.option("--rules", "rules_dir", default="", metavar="DIR", help="Directory of rules."),
        click.option("--scenario", default="national", show_default=True, help="With --seeds: the scenario."),
        click.option("--days", type=float, default=1.0, show_default=True, help="With --seeds: days of each seed."),
        click.option("--calls", type=int, default=100_000, show_default=True, help="With --seeds: calls of each seed."),
        click.option("--seeds", default="", metavar="1-8", help="Simulate these seeds, a day after another."),
        click.argument("events", nargs=-1, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


class Wanted(msgspec.Struct, frozen=True):
    """Files, or seeds with ``calls`` in ``days`` each. ``start`` is an epoch second; None begins at the scenario's."""

    files: tuple[Path, ...]
    seeds: tuple[int, ...]
    calls: int
    days: float
    scenario: str
    config_dir: str
    start: float | None = None

    @property
    def total(self) -> int | None:
        """How many calls there will be; None where only reading the files can tell."""
        return self.calls * len(self.seeds) if self.seeds else None


def wanted(events: tuple[Path, ...], seeds: str, calls: int, days: float, scenario: str, config_dir: str) -> Wanted:
    """What the options say; UsageError when it cannot be meant."""
    numbers = seed_numbers(seeds)
    if bool(events) == bool(numbers):
        raise UsageError("where the calls come from is not said", hint="name event files, or give --seeds, not both")
    if calls < 1 or not 0 < days < 1000:
        raise UsageError("--calls and --days must be above 0", hint="for instance --calls 100000 --days 1")
    return Wanted(events, numbers, calls, days, scenario, config_dir)


def seed_numbers(text: str) -> tuple[int, ...]:
    """The seeds of "1-8", "3", "1,4,9-12"."""
    found: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        low = int(match.group(1)) if match else 0
        high = int(match.group(2) or low) if match else -1
        if not match or high < low or high - low > 10_000:
            raise UsageError(f"{part!r} is no seed and no range of seeds", hint="write 3, 1-8 or 1,4,9-12")
        found += range(low, high + 1)
    if len(set(found)) != len(found):
        raise UsageError(f"a seed is named twice in {text!r}", hint="each seed once: the same calls teach nothing new")
    return tuple(found)


def said_source(wanted: Wanted) -> str:
    """Where calls come from, as the command line says it, without the paths of this machine."""
    parts = []
    if wanted.seeds:
        low, high = min(wanted.seeds), max(wanted.seeds)
        run = wanted.seeds == tuple(range(low, high + 1))
        seeds = f"{low}-{high}" if run and high > low else ",".join(map(str, wanted.seeds))
        parts.append(
            f"--seeds {seeds} --calls {wanted.calls} --days {wanted.days:g} --scenario {Path(wanted.scenario).name}"
        )
    parts += [path.name for path in wanted.files]
    return " ".join(parts)


def sources(wanted: Wanted) -> Iterator[tuple[str, Iterable[SimulatedEvent]]]:
    """Each source with its name."""
    from antifraud.simulator import DEFAULT_START, find_scenario, load_scenario, simulate
    from antifraud.simulator.files import read_events

    for path in wanted.files:
        yield str(path), read_events(path)
    if wanted.seeds:
        from antifraud.settings import data_dir

        scenario = load_scenario(find_scenario(wanted.scenario, data_dir("config", wanted.config_dir or None)))
        for index, seed in enumerate(wanted.seeds):
            # Seeds follow each other with a pause, so that slices by time are slices by seed too. Each begins at
            # another hour: an engine may be installed, and know nobody yet, at any time of the day.
            start = DEFAULT_START + index * 7 % 24 * 3600 if wanted.start is None else wanted.start
            start += index * (math.ceil(wanted.days) + 2) * _DAY
            yield f"seed {seed}", simulate(scenario, seed, wanted.calls, start, days=wanted.days)


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal; None, and nothing shown, elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
