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
_MOST_VOLUMES: Final = 20


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options and the argument that say where labelled events come from, and under which rules they are read."""
    for option in (
        click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration."),
        click.option("--rules", "rules_dir", default="", metavar="DIR", help="Directory of rules."),
        click.option("--scenario", default="national", show_default=True, help="With --seeds: the scenario."),
        click.option("--days", type=float, default=2.0, show_default=True, help="With --seeds: days of each seed."),
        click.option(
            "--calls",
            default="100000",
            callback=_volumes,
            metavar="N[,N…]",
            show_default=True,
            help="With --seeds: calls of each seed; N,N,… gives the seeds these in turn.",
        ),
        click.option("--seeds", default="", metavar="1-8", help="Simulate these seeds, one after another."),
        click.argument("events", nargs=-1, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def _volumes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """The numbers of calls in "60000" or "20000,60000,200000"."""
    pieces = [piece.strip() for piece in value.split(",")]
    if len(pieces) > _MOST_VOLUMES or not all(re.fullmatch(r"\d{1,9}", piece) for piece in pieces):
        raise click.BadParameter("write 60000, or 20000,60000,200000", ctx, param)
    return tuple(map(int, pieces))


class Wanted(msgspec.Struct, frozen=True):
    """Files, or seeds of ``days`` each that take the numbers of calls in ``volumes`` in turn.

    ``start`` is an epoch second; None begins at the scenario's.
    """

    files: tuple[Path, ...]
    seeds: tuple[int, ...]
    volumes: tuple[int, ...]
    days: float
    scenario: str
    config_dir: str
    start: float | None = None

    @property
    def total(self) -> int | None:
        """How many calls there will be; None where only reading the files can tell."""
        return sum(self.calls_of(index) for index in range(len(self.seeds))) if self.seeds else None

    def calls_of(self, index: int) -> int:
        """How many calls the seed at place ``index`` has."""
        return self.volumes[index % len(self.volumes)]

    @property
    def said_calls(self) -> str:
        """How many calls a seed has, for people."""
        *first, last = (f"{calls:,}" for calls in self.volumes)
        return f"{', '.join(first)} or {last}" if first else last

    def start_of(self, index: int) -> float:
        """The epoch second at which the seed at place ``index`` begins."""
        from antifraud.simulator import DEFAULT_START

        # Seeds follow each other with a pause, so that slices by time are slices by seed too. Each begins at
        # another hour: an engine may be installed, and know nobody yet, at any time of the day.
        start = DEFAULT_START + index * 7 % 24 * 3600 if self.start is None else self.start
        return start + index * (math.ceil(self.days) + 2) * _DAY

    def scenario_file(self) -> Path:
        """The file of the scenario that seeds are simulated with; ConfigError when there is none."""
        from antifraud.settings import data_dir
        from antifraud.simulator import find_scenario

        return find_scenario(self.scenario, data_dir("config", self.config_dir or None))


def wanted(
    events: tuple[Path, ...], seeds: str, calls: int | tuple[int, ...], days: float, scenario: str, config_dir: str
) -> Wanted:
    """What the options say; UsageError when it cannot be meant."""
    numbers = seed_numbers(seeds)
    if bool(events) == bool(numbers):
        raise UsageError("where the calls come from is not said", hint="name event files, or give --seeds, not both")
    volumes = (calls,) if isinstance(calls, int) else calls
    if min(volumes) < 1 or not 0 < days < 1000:
        raise UsageError("--calls and --days must be above 0", hint="for instance --calls 100000 --days 1")
    return Wanted(events, numbers, volumes, days, scenario, config_dir)


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
        calls = ",".join(map(str, wanted.volumes))
        parts.append(f"--seeds {seeds} --calls {calls} --days {wanted.days:g} --scenario {Path(wanted.scenario).name}")
    parts += [path.name for path in wanted.files]
    return " ".join(parts)


def sources(wanted: Wanted) -> Iterator[tuple[str, Iterable[SimulatedEvent]]]:
    """Each source with its name."""
    from antifraud.simulator import load_scenario, simulate
    from antifraud.simulator.files import read_events

    for path in wanted.files:
        yield str(path), read_events(path)
    if wanted.seeds:
        scenario = load_scenario(wanted.scenario_file())
        for index, seed in enumerate(wanted.seeds):
            events = simulate(scenario, seed, wanted.calls_of(index), wanted.start_of(index), days=wanted.days)
            yield f"seed {seed}", events


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
