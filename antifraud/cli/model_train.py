"""``antifraud model train`` of calls: where they come from, rows, the search, the machines, and what is written."""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import Wanted, progress_bar, said_source
from antifraud.cli.processors import available
from antifraud.cli.provenance import file_digests, made_with, scenario_digests
from antifraud.cli.training_rows import Made, Scratch, decider_maker, make_rows, scratch_space
from antifraud.domain import CallEvent, Quarantined, UsageError
from antifraud.settings.sizes import parse_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from antifraud.backtest.reported import Reported
    from antifraud.scoring.search import RandomSearch
    from antifraud.scoring.training import Grower, Options

_DAY: Final = 86_400.0
_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": _DAY}
_REFERENCE_ROWS: Final = 500_000
_MOST_TRIALS: Final = 1000
_TRUTH, _REPORTS = "truth", "reports"


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of training on calls that are not about where simulated calls come from; they arrive as ``how``."""
    for option in (
        click.option(
            "--dask", default="", metavar="ADDRESS|local", help="Grow the trees on this Dask cluster, or one made here."
        ),
        click.option("--threads", type=click.IntRange(1, 512), help="Of LightGBM: as many as there are processors."),
        click.option("--processes", type=click.IntRange(1, 512), help="That make rows: as many as processors."),
        click.option("--scratch-limit", default="32GiB", show_default=True, metavar="SIZE", help="What rows may take."),
        click.option("--scratch", type=click.Path(path_type=Path), metavar="DIR", help="Where rows lie meanwhile."),
        click.option(
            "--label-delay", default="", metavar="14d", help="With reports: calls younger than this teach nothing."
        ),
        click.option("--until", default="", metavar="DAY", help="With reports: the end of what is looked at."),
        click.option("--since", default="", metavar="DAY", help="With reports: the first day whose calls teach."),
        click.option(
            "--journal",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="With reports: which calls were stopped. Implies --labels reports.",
        ),
        click.option(
            "--labels",
            type=click.Choice([_TRUTH, _REPORTS]),
            default=_TRUTH,
            show_default=True,
            help="What says who is fraud: the truth in simulated events, or reports in a log.",
        ),
        click.option("--allow-held-out", is_flag=True, help="Train on a scenario that is kept for measuring."),
        click.option("--search-minutes", type=click.FloatRange(0.01, 10_000), help="Search options for so long."),
        click.option("--search", "trials", type=click.IntRange(1, _MOST_TRIALS), help="Search options: candidates."),
        click.option("--fraud-weight", type=click.FloatRange(0.01, 10_000), help="What a fraud call counts for: 1."),
        click.option("--lambda-l2", type=click.FloatRange(0, 10_000), help="Ridge on the leaves: 1."),
        click.option("--feature-fraction", type=click.FloatRange(0.05, 1.0), help="Features that a tree may use: 0.9."),
        click.option("--min-leaf", type=click.IntRange(1, 1_000_000), help="Calls in a leaf at least: 100."),
    ):
        command = option(command)
    return command


class How(msgspec.Struct, frozen=True):
    """The options of ``training_options`` that are not LightGBM's."""

    trials: int | None
    search_minutes: float | None
    allow_held_out: bool
    labels: str
    journal: Path | None
    since: str
    until: str
    label_delay: str
    scratch: Path | None
    scratch_limit: str
    processes: int | None
    threads: int | None
    dask: str

    @property
    def of_reports(self) -> bool:
        """Whether labels come from reports."""
        return self.labels == _REPORTS or self.journal is not None


class Trained(msgspec.Struct, frozen=True):
    """What a training was: its metrics, and what stands in no manifest because it is about this machine."""

    metrics: dict[str, Any]
    threads: int
    processes: int
    seconds: dict[str, float]


def check_journal(how: How, events: Sequence[Path]) -> None:
    """UsageError for a journal without the events of its log."""
    if how.journal is not None and not events:
        raise UsageError(
            "a journal has the features of a call only where the score asked for something: that is no training set",
            hint="name the event files of the log beside it: "
            "antifraud model collect --out events, then "
            "antifraud model train events/*.jsonl --journal journal --out models/own-calls/1",
        )


def check_how(how: How, source: Wanted) -> None:
    """UsageError when the options cannot be meant together, or the source is not for training."""
    if how.of_reports and not source.files:
        raise UsageError("--labels reports goes with event files of a log", hint="simulated calls have their truth")
    if not how.of_reports and (how.since or how.until or how.label_delay):
        raise UsageError(
            "--since, --until and --label-delay are about reports", hint="add --labels reports, or leave them out"
        )
    if source.seeds and not how.allow_held_out:
        from antifraud.simulator import load_scenario

        scenario = load_scenario(source.scenario_file())
        if scenario.held_out:
            raise UsageError(
                f"the scenario {scenario.name} is held out: a model trained on it can no longer be measured with it",
                hint="train on another, such as --scenario national; --allow-held-out trains on it all the same",
            )


def train_on_calls(
    source: Wanted,
    how: How,
    choose: Callable[[Sequence[str]], tuple[str, ...]],
    options: Options,
    command: Callable[[str, Options], str],
    *,
    rules_dir: str,
    config_dir: str,
    out: Path,
    name: str,
    version: str,
) -> Trained:
    """Make the rows, train, and write the model to ``out``.

    ``choose`` picks the features out of those there are; ``command`` says the command that makes the model again.
    """
    from antifraud.scoring.training import Rows, check_out, train

    check_how(how, source)
    check_out(out)
    cpus = available()
    threads, processes = how.threads or cpus, how.processes or cpus
    options = msgspec.structs.replace(options, threads=threads)
    limit = parse_size(how.scratch_limit)
    if limit is None or limit <= 0:
        raise UsageError(f"--scratch-limit {how.scratch_limit!r} is no size", hint="write 32GiB or 500MB")
    first = decider_maker(rules_dir, config_dir)()
    warm_up_s = first.policy.warm_up_s
    if source.seeds and source.days * _DAY <= warm_up_s:
        raise UsageError(
            f"{source.days:g} days of a seed are an engine's first {warm_up_s / 3600:g} hours, in which no score stops "
            "a call: they teach nothing",
            hint="simulate a longer time, such as --days 2, or lower engine.warm_up_s",
        )
    origin = _origin(source) | {"warm_up_s": warm_up_s}
    # A window of a rule's own (rule.window) comes and goes with the rule; a model that needed it would stop with it.
    names = choose([one for one in first.feature_names if "." not in one])
    columns = [first.feature_names.index(one) for one in names]
    seconds: dict[str, float] = {}
    # The cluster is asked for first: nobody should learn after the rows are made that it is not there.
    with scratch_space(how.scratch, limit) as scratch, _growing(how, threads) as grower:
        with _timed(seconds, "rows"):
            made, told = _made(source, how, rules_dir, config_dir, columns, scratch, processes)
        said = _said(source, how, told)
        labels = made.labels
        rows = Rows(made.rows, labels.y, labels.ts, labels.campaign, labels.scenario, labels.new)
        provenance = {"command": command(said, options), **made_with(), **origin, **told}
        if how.dask:
            provenance["grown_on"] = "dask"
        with _bars(threads) as bars, _timed(seconds, "training"):
            searcher = _searcher(how, bars)

            def search(grow: Rows, stop: Rows, columns: Sequence[str], given: Options) -> Any:
                assert searcher is not None
                chosen, found = searcher(grow, stop, columns, given)
                if how.search_minutes is not None:
                    # Nobody can say how far a machine will come in so many minutes: the command names what was found.
                    provenance["command"] = command(said, chosen)
                return chosen, found

            metrics = train(
                rows,
                names=names,
                windows=first.bundle.windows.digests,
                out=out,
                name=name,
                version=version,
                options=options,
                provenance=provenance,
                on_round=bars.grown,
                search=search if searcher is not None else None,
                grower=grower,
            )
        _write_reference(out, made, said)
    return Trained(metrics, threads, processes, seconds)


# ---------------------------------------------------------------------- rows


def _origin(source: Wanted) -> dict[str, Any]:
    """What the manifest says of the source; two files of one content are refused before anything is read."""
    if source.seeds:
        path = source.scenario_file()
        return {
            "seeds": list(source.seeds),
            "calls": list(source.volumes),
            "scenario": Path(source.scenario).name,
            "scenario_files": scenario_digests(path),
        }
    return {"data": file_digests(source.files)}


def _made(
    source: Wanted,
    how: How,
    rules_dir: str,
    config_dir: str,
    columns: Sequence[int],
    scratch: Scratch,
    processes: int,
) -> tuple[Made, dict[str, Any]]:
    with progress_bar("calls", source.total) as advance:
        if how.of_reports:
            return _made_of_reports(source, how, rules_dir, config_dir, columns, scratch, advance)
        made = make_rows(source, rules_dir, config_dir, columns, scratch, processes=processes, on_call=advance)
        return made, {}


def _made_of_reports(
    source: Wanted,
    how: How,
    rules_dir: str,
    config_dir: str,
    columns: Sequence[int],
    scratch: Scratch,
    advance: Callable[[int], None] | None,
) -> tuple[Made, dict[str, Any]]:
    from antifraud.backtest.reported import reported
    from antifraud.scoring.row_pieces import PieceWriter, RowPieces

    since = _moment(how.since, "--since", end=False)
    until = _moment(how.until, "--until", end=True)
    stopped = _stopped(how.journal, until) if how.journal is not None else None
    path = scratch.directory / "log.npy"
    writer = PieceWriter(path, len(columns), scratch.limit)
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if advance is not None:
            advance(done)

    try:
        found = reported(
            _log_events(source.files),
            decider_maker(rules_dir, config_dir)(),
            lambda rows: writer.add(rows.take(list(columns), axis=1)),
            told,
            since=since,
            until=until,
            label_delay_s=_span(how.label_delay),
            stopped=stopped,
        )
    finally:
        writer.close()
    _say_reported(found)
    about = {
        "labels": _REPORTS,
        "until_ts": found.until,
        "label_delay_s": found.label_delay_s,
        "log": dict(sorted(found.counts.items())),
    }
    return Made(RowPieces.of_files([path]).picked(found.kept), found.labels), about


def _log_events(files: Sequence[Path]) -> Iterator[CallEvent | Quarantined]:
    """The events of a log, whose files follow each other; a truth that stands in them is not looked at."""
    from antifraud.backtest import EVENT_FILE
    from antifraud.simulator.files import read_events

    for path in files:
        try:
            with path.open("rb") as file:
                parquet = file.read(4) == b"PAR1"
            if parquet:
                yield from (item.event for item in read_events(path))
            else:
                yield from EVENT_FILE.read(path, {})
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="check the name") from error


def _stopped(journal: Path, until: float | None) -> Any:
    """Keys of the calls that did not simply go through, by the verdicts that were carried out in time."""
    import numpy as np

    from antifraud.backtest.reported import key_of
    from antifraud.journal import read_journal

    last = None if until is None else dt.datetime.fromtimestamp(until, tz=dt.UTC).date()
    keys = [
        key_of(decision.call_id)
        for decision in read_journal(journal, None, last)
        if decision.verdict in ("block", "divert", "challenge") and not decision.late
    ]
    return np.array(keys, dtype=np.uint64)


def _moment(text: str, option: str, *, end: bool) -> float | None:
    """Epoch seconds of a day (its beginning, or with ``end`` its end) or a moment, in UTC where no zone is said."""
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            begin = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()
            return math.nextafter(begin + _DAY, 0.0) if end else begin
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is no day and no time", hint="write 2026-01-31 or 2026-01-31T12:00, in UTC"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)).timestamp()


def _span(text: str) -> float | None:
    """The seconds of "14d", "36h", "90m"."""
    from antifraud.backtest.reported import LONGEST_DELAY_S

    if not text:
        return None
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([mhd])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else math.inf
    if seconds > LONGEST_DELAY_S:
        raise UsageError(f"--label-delay {text!r} is no time up to 90 days", hint="write 14d, 36h or 90m")
    return seconds


def _said(source: Wanted, how: How, told: dict[str, Any]) -> str:
    """Where calls come from, as the command line says it; what was found out stands there as if it had been given."""
    said = said_source(source)
    if how.allow_held_out:
        said += " --allow-held-out"
    if how.trials is not None and how.search_minutes is None:
        said += f" --search {how.trials}"
    if how.dask:
        said += " --dask " + ("local" if how.dask == "local" else "ADDRESS")
    if how.of_reports:
        said += " --labels reports"
        if how.journal is not None:
            said += f" --journal {how.journal.name}"
        if how.since:
            said += f" --since {how.since}"
        if how.until:
            said += f" --until {how.until}"
        said += f" --label-delay {math.ceil(told['label_delay_s'] / 60)}m"
    return said


def _say_reported(found: Reported) -> None:
    counts = found.counts
    click.echo(
        f"{len(found.kept):,} of {counts['calls']:,} calls teach, {counts['fraud']:,} of them reported as fraud; left "
        f"out: {counts['too_young']:,} younger than {found.label_delay_s / _DAY:.1f} days, "
        f"{counts['stopped_unreported']:,} stopped and not reported, {counts['repeated']:,} repeated, "
        f"{counts['before_since']:,} too early",
        err=True,
    )


# ---------------------------------------------------------------------- growing


def _searcher(how: How, bars: _Bars) -> RandomSearch | None:
    if how.trials is None and how.search_minutes is None:
        return None
    from antifraud.scoring.search import RandomSearch

    go_on = None
    if how.search_minutes is not None:
        end = time.monotonic() + how.search_minutes * 60
        go_on = lambda: time.monotonic() < end  # noqa: E731 - one expression over one value
    return RandomSearch(how.trials or _MOST_TRIALS, go_on=go_on, on_trial=bars.tried)


@contextmanager
def _growing(how: How, threads: int) -> Iterator[Grower | None]:
    if not how.dask:
        yield None
        return
    from antifraud.cli.dask_growing import on_dask

    with on_dask(how.dask, threads) as grower:
        yield grower


class _Bars:
    """The bars of the search and of the trees; on no terminal there are none."""

    def __init__(self, progress: Progress | None, threads: int) -> None:
        self._progress = progress
        self._search: TaskID | None = None
        self._trees: TaskID | None = None
        self._said = f"trees, {threads} thread{'s' if threads > 1 else ''}"

    @property
    def tried(self) -> Callable[[int, int, float], None] | None:
        """Told before each training of a search."""
        return None if self._progress is None else self._tried

    @property
    def grown(self) -> Callable[[int, int], None] | None:
        """Told after each tree of the model itself."""
        return None if self._progress is None else self._grown

    def _tried(self, drawn: int, most: int, best: float) -> None:
        assert self._progress is not None
        if self._search is None:
            self._search = self._progress.add_task("search", total=most)
        said = f"trial {drawn} of {most}, best so far {best:.1%}"
        self._progress.update(self._search, completed=drawn, description=said)

    def _grown(self, done: int, most: int) -> None:
        assert self._progress is not None
        if self._trees is None:
            self._trees = self._progress.add_task(self._said, total=most)
        self._progress.update(self._trees, completed=done)


@contextmanager
def _bars(threads: int) -> Iterator[_Bars]:
    if not sys.stderr.isatty():
        yield _Bars(None, threads)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield _Bars(progress, threads)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    seconds[what] = round(time.monotonic() - begin, 1)


# ---------------------------------------------------------------------- what is written beside


def _write_reference(out: Path, made: Made, made_from: str) -> None:
    """Write down what calls looked like in training, beside the model: ``model drift`` compares later ones with it."""
    import numpy as np

    from antifraud.scoring import Model
    from antifraud.scoring.drift import make_reference, write_reference

    model = Model.load(out)
    settled = np.flatnonzero(~made.labels.new)
    rows = made.rows.at(settled[:: -(-len(settled) // _REFERENCE_ROWS) or 1])
    digest, levels = model.manifest.digest, model.thresholds
    write_reference(make_reference(rows, model.predict(rows), model.features, levels, digest, made_from), out)
