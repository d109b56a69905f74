"""``antifraud model``: train on labelled events, evaluate on others, show the card, change the stage."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.domain import ModelError, Problem, Stage, UsageError

if TYPE_CHECKING:
    from antifraud.decision import Decider
    from antifraud.scoring import Model
    from antifraud.scoring.columns import Indices
    from antifraud.simulator import SimulatedEvent
    from antifraud.simulator.dataset import Labelled

_DAY: Final = 86_400.0
_STAGES: Final = [stage.value for stage in Stage]


class _Wanted(msgspec.Struct, frozen=True):
    """Where labelled events come from: files, or seeds to simulate."""

    files: tuple[Path, ...]
    seeds: tuple[int, ...]
    calls: int
    days: float
    scenario: str
    config_dir: str


def _source_options(command: Callable[..., Any]) -> Callable[..., Any]:
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


@click.group()
def model() -> None:
    """Train, evaluate and inspect models."""


@model.command()
@_source_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The model's directory, NAME/VERSION.")
@click.option("--name", default="", help="The model's name; by default the directory above --out.")
@click.option("--version", default="", help="The model's version; by default the last part of --out.")
@click.option(
    "--features",
    default="",
    metavar="NAME,NAME,…",
    help="Windows and facts that the model uses, in that order; -NAME,-NAME,… all but these. By default all.",
)
@click.option("--stage", type=click.Choice(_STAGES), default="shadow", show_default=True, help="Its stage.")
@click.option("--trees", type=click.IntRange(1, 2000), default=100, show_default=True, help="At most so many trees.")
@click.option("--leaves", type=click.IntRange(2, 255), default=31, show_default=True, help="Leaves of a tree.")
@click.option("--learning-rate", type=click.FloatRange(0.001, 1.0), default=0.1, show_default=True, help="Shrinkage.")
@click.option(
    "--block-budget",
    type=click.FloatRange(1e-7, 0.5),
    default=1e-4,
    show_default=True,
    help="Honest calls that may be blocked.",
)
@click.option("--divert-budget", type=click.FloatRange(1e-7, 0.5), default=5e-4, show_default=True, help="… diverted.")
@click.option("--label-budget", type=click.FloatRange(1e-7, 0.5), default=5e-3, show_default=True, help="… labelled.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def train(
    events: tuple[Path, ...],
    seeds: str,
    calls: int,
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    out: Path,
    name: str,
    version: str,
    features: str,
    stage: str,
    trees: int,
    leaves: int,
    learning_rate: float,
    block_budget: float,
    divert_budget: float,
    label_budget: float,
    as_json: bool,
) -> None:
    """Train a model on EVENTS (files of `antifraud simulate`) or on --seeds, and write it to --out."""
    from antifraud.scoring import Model
    from antifraud.scoring.training import Options, Rows
    from antifraud.scoring.training import train as fit

    if not block_budget <= divert_budget <= label_budget:
        raise UsageError("the budgets must not fall from block to divert to label", hint="block is the strictest")
    resolved = out.resolve()
    name, version = name or resolved.parent.name, version or resolved.name
    for what, text in (("name", name), ("version", version)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", text):
            raise UsageError(f"{text!r} cannot be a model's {what}", hint=f"give --{what}: letters, digits, . _ -")
    wanted = _wanted(events, seeds, calls, days, scenario, config_dir)
    fresh = _decider_maker(rules_dir, config_dir)
    first = fresh()
    names = _chosen(features, first.feature_names)
    data = _rows(wanted, fresh)
    if names != first.feature_names:
        data.X = data.X.take([first.feature_names.index(column) for column in names], axis=1)
    options = Options(
        trees=trees,
        leaves=leaves,
        learning_rate=learning_rate,
        block_budget=block_budget,
        divert_budget=divert_budget,
        label_budget=label_budget,
        stage=Stage(stage),
    )
    command = _command_line(wanted, options, features)
    with _bar("trees", trees) as advance:
        metrics = fit(
            Rows(data.X, data.y, data.ts, data.campaign, data.scenario),
            names=names,
            windows=first.bundle.windows.digests,
            out=out,
            name=name,
            version=version,
            options=options,
            provenance={"command": command, **_provenance(wanted)},
            on_round=None if advance is None else lambda done, _most: advance(done),
        )
    loaded = Model.load(out)
    if as_json:
        result = {
            "model": loaded.id,
            "out": str(out),
            "thresholds": loaded.thresholds,
            "certificate": loaded.manifest.certificate,
            "metrics": metrics,
        }
        click.echo(msgspec.json.encode(result).decode())
        return
    click.echo(f"{loaded.id} -> {out}", err=True)
    _say_metrics(metrics)
    for level, certificate in loaded.manifest.certificate.items():
        met = "" if certificate.met else "; OVER BUDGET, the slice is too small: give more calls"
        click.echo(
            f"{level} from {certificate.threshold:.4f}: {certificate.errors} of {certificate.n} benign calls, "
            f"at most {certificate.bound:.1e} with {certificate.confidence:.0%} confidence{met}"
        )


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@_source_options
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def evaluate(
    directory: Path,
    events: tuple[Path, ...],
    seeds: str,
    calls: int,
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    as_json: bool,
) -> None:
    """Measure the model in DIRECTORY on EVENTS or --seeds that it was not trained on.

    Ends with 1 when benign calls would be blocked more often than certified, with 95 % confidence.
    """
    from antifraud.scoring import Model
    from antifraud.scoring.certificate import lower_bound
    from antifraud.scoring.training import Rows, measured

    loaded = Model.load(directory)
    fresh = _decider_maker(rules_dir, config_dir)
    first = fresh()
    columns = _fits(loaded, first)
    data = _rows(_wanted(events, seeds, calls, days, scenario, config_dir), fresh)
    rows = Rows(data.X, data.y, data.ts, data.campaign, data.scenario)
    metrics = measured(rows, loaded.predict(rows.X.take(columns, axis=1)), loaded.thresholds, first.feature_names)
    budget = loaded.manifest.certificate["block"].budget
    at_least = lower_bound(metrics["false_calls"]["block"], metrics["benign_calls"])
    violated = at_least > budget
    if as_json:
        result = {"model": loaded.id, "metrics": metrics, "block_budget": budget, "violated": violated}
        click.echo(msgspec.json.encode(result).decode())
    else:
        _say_metrics(metrics)
        if violated:
            click.echo(
                f"more than {at_least:.1e} of benign calls would be blocked, the budget is {budget:.0e}", err=True
            )
    if violated:
        raise SystemExit(1)


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The manifest as JSON instead of the card.")
def card(directory: Path, as_json: bool) -> None:
    """Check the model in DIRECTORY and show its card."""
    from antifraud.scoring import Model
    from antifraud.scoring.card import card_text

    loaded = Model.load(directory)
    click.echo(msgspec.json.encode(loaded.manifest).decode() if as_json else card_text(loaded.manifest), nl=as_json)


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--to", "stage", required=True, type=click.Choice(_STAGES), help="The new stage.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def promote(directory: Path, stage: str, as_json: bool) -> None:
    """Set the stage of the model in DIRECTORY; its scores, thresholds and id stay."""
    from antifraud.scoring import Model, write_manifest
    from antifraud.scoring.model import MANIFEST

    loaded = Model.load(directory)
    path = directory / MANIFEST
    part = directory / f".{MANIFEST}.part"
    try:
        write_manifest(msgspec.structs.replace(loaded.manifest, stage=Stage(stage)), part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror or error}", hint="check its permissions") from error
    if as_json:
        click.echo(msgspec.json.encode({"model": loaded.id, "from": loaded.stage.value, "to": stage}).decode())
    else:
        click.echo(f"{loaded.id}: {loaded.stage.value} -> {stage}")


# ---------------------------------------------------------------------- where rows come from


def _wanted(events: tuple[Path, ...], seeds: str, calls: int, days: float, scenario: str, config_dir: str) -> _Wanted:
    numbers = _seeds(seeds)
    if bool(events) == bool(numbers):
        raise UsageError("where the calls come from is not said", hint="name event files, or give --seeds, not both")
    if calls < 1 or not 0 < days < 1000:
        raise UsageError("--calls and --days must be above 0", hint="for instance --calls 100000 --days 1")
    return _Wanted(events, numbers, calls, days, scenario, config_dir)


def _seeds(text: str) -> tuple[int, ...]:
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


def _chosen(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The features of "a,b" in that order, or of "-a,-b" all but these; all of ``known`` when nothing is said."""
    from antifraud.features.declarations import suggest

    pieces = _pieces(text)
    if not pieces:
        return tuple(known)
    without = [piece.startswith("-") for piece in pieces]
    if any(without) and not all(without):
        raise UsageError(
            "--features names some features with - and some without",
            hint="NAME,NAME uses these alone, -NAME,-NAME all but these",
        )
    names = [piece.lstrip("-").strip() for piece in pieces]
    problems = [
        Problem(f"there is no window and no fact {name!r}", hint=suggest(name, known))
        for name in names
        if name not in known
    ]
    if problems:
        raise UsageError.of(problems)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--features names {twice!r} twice", hint="each once")
    left = tuple(name for name in known if name not in names) if all(without) else tuple(names)
    if not left:
        raise UsageError("--features leaves no feature to learn from", hint="take out fewer")
    return left


def _pieces(text: str) -> list[str]:
    return [piece for piece in (part.strip() for part in text.split(",")) if piece]


def _rows(wanted: _Wanted, fresh: Callable[[], Decider]) -> Labelled:
    from antifraud.simulator.dataset import labelled_rows

    total = wanted.calls * len(wanted.seeds) if wanted.seeds else None
    with _bar("calls", total) as advance:
        return labelled_rows(_sources(wanted), fresh, advance)


def _sources(wanted: _Wanted) -> Iterator[tuple[str, Iterable[SimulatedEvent]]]:
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
            start = DEFAULT_START + index * (math.ceil(wanted.days) + 2) * _DAY + index * 7 % 24 * 3600
            yield f"seed {seed}", simulate(scenario, seed, wanted.calls, start, days=wanted.days)


def _decider_maker(rules_dir: str, config_dir: str) -> Callable[[], Decider]:
    """Makes deciders without a model, each with empty state; what they share is loaded once."""
    from antifraud.cli.assembly import build_numbering, read_settings
    from antifraud.decision import Decider, load_bundle

    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    bundle, policy = load_bundle(settings.rules_dir, settings.utc_offset_min), settings.policy()
    numbering = build_numbering(settings, warm=False)
    return lambda: Decider(bundle, policy, numbering)


def _fits(loaded: Model, decider: Decider) -> Indices:
    """Where the model's features stand in the vectors of ``decider``; ModelError when it does not fit its windows."""
    from antifraud.decision import MODEL_FACTS
    from antifraud.scoring.columns import columns_of

    return columns_of(loaded, decider.bundle.windows.digests, MODEL_FACTS)


def _command_line(wanted: _Wanted, options: Any, features: str) -> str:
    """The command that makes this model again, without the paths of this machine."""
    parts = ["antifraud model train"]
    if wanted.seeds:
        low, high = min(wanted.seeds), max(wanted.seeds)
        run = wanted.seeds == tuple(range(low, high + 1))
        seeds = f"{low}-{high}" if run and high > low else ",".join(map(str, wanted.seeds))
        parts.append(
            f"--seeds {seeds} --calls {wanted.calls} --days {wanted.days:g} --scenario {Path(wanted.scenario).name}"
        )
    parts += [path.name for path in wanted.files]
    if _pieces(features):
        parts.append(f"--features {','.join(_pieces(features))}")
    parts.append(f"--trees {options.trees} --leaves {options.leaves} --learning-rate {options.learning_rate:g}")
    budgets = (options.block_budget, options.divert_budget, options.label_budget)
    parts.append("--block-budget {:g} --divert-budget {:g} --label-budget {:g}".format(*budgets))
    return " ".join(parts)


def _provenance(wanted: _Wanted) -> dict[str, Any]:
    import hashlib

    if wanted.seeds:
        return {"seeds": list(wanted.seeds), "scenario": Path(wanted.scenario).name}
    data = []
    for path in wanted.files:
        with path.open("rb") as file:
            data.append({"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    return {"data": data}


# ---------------------------------------------------------------------- what people see


def _say_metrics(metrics: dict[str, Any]) -> None:
    click.echo(
        f"AUC {metrics['auc']:.4f}, average precision {metrics['average_precision']:.4f} on {metrics['rows']} calls, "
        f"{metrics['fraud_rows']} of them fraud (synthetic)"
    )
    for level in ("label", "divert", "block"):
        click.echo(
            f"{level}: {metrics['recall'][level]:.1%} of fraud calls, "
            f"{metrics['false_calls'][level]} of {metrics['benign_calls']} benign calls"
        )


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal; None, and nothing shown, elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
