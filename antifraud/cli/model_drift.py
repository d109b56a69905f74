"""``antifraud model drift``: whether live calls and their scores still look like those of the training."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import Wanted, progress_bar, said_source, source_options, sources, wanted
from antifraud.domain import CallEvent, EventError, EventKind, Quarantined, UsageError, check_event

if TYPE_CHECKING:
    from antifraud.decision import Decider
    from antifraud.scoring import Model
    from antifraud.scoring.drift import Drift, LiveCounts

_BATCH: Final = 2048
_SHOWN: Final = 10


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@source_options
@click.option(
    "--journal", type=click.Path(path_type=Path), metavar="DIR", help="Compare the scores of this journal instead."
)
@click.option("--since", default="", metavar="YYYY-MM-DD", help="With --journal: the first day.")
@click.option("--until", default="", metavar="YYYY-MM-DD", help="With --journal: the last day.")
@click.option("--alarm", type=click.FloatRange(0.01, 10.0), default=0.25, show_default=True, help="PSI from which on.")
@click.option(
    "--metrics", type=click.Path(path_type=Path), metavar="FILE.prom", help="Write the figures for Prometheus."
)
@click.option("--save", is_flag=True, help="Do not compare: write down that calls looked like these in training.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def drift(
    directory: Path,
    events: tuple[Path, ...],
    seeds: str,
    calls: tuple[int, ...],
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    journal: Path | None,
    since: str,
    until: str,
    alarm: float,
    metrics: Path | None,
    save: bool,
    as_json: bool,
) -> None:
    """Compare calls with those that the model in DIRECTORY was trained on: each feature, and the score.

    EVENTS are files of events, labelled or not; a --journal has the scores only. Ends with 1 when something has
    drifted.
    """
    from antifraud.scoring import Model
    from antifraud.scoring.drift import REFERENCE, LiveCounts, read_reference

    if journal is not None and (events or seeds):
        raise UsageError("drift is measured on a journal or on events, not on both", hint="name one")
    if journal is None and (since or until):
        raise UsageError("--since and --until go with --journal", hint="events of a file have their own times")
    if save and journal is not None:
        raise UsageError("a journal has no features to save", hint="name the events that the model was trained on")
    loaded = Model.load(directory)
    if save:
        _save(loaded, directory, wanted(events, seeds, calls, days, scenario, config_dir), rules_dir, config_dir)
        return
    reference = read_reference(directory / REFERENCE, loaded.manifest.digest, loaded.features)
    counts = LiveCounts(reference, score_only=journal is not None)
    if journal is not None:
        _count_journal(counts, loaded, journal, _day(since, "--since"), _day(until, "--until"))
    else:
        source = wanted(events, seeds, calls, days, scenario, config_dir)
        with progress_bar("calls", source.total) as advance:
            for rows, scores in _scored(loaded, source, rules_dir, config_dir, advance):
                counts.add(rows, scores)
    drifts = counts.compared(alarm)
    drifted = [one for one in drifts if one.drifted]
    if metrics is not None:
        _write_metrics(metrics, loaded.id, counts.calls, drifts)
    if as_json:
        result = {
            "format": "antifraud.drift/1",
            "model": loaded.id,
            "calls": counts.calls,
            "calls_then": reference.calls,
            "alarm": alarm,
            "drifted": [one.name for one in drifted],
            "columns": drifts,
        }
        click.echo(msgspec.json.encode(result).decode())
    else:
        _say(loaded.id, counts, reference.calls, drifts, alarm)
    if drifted:
        raise SystemExit(1)


# ---------------------------------------------------------------------- calls


def _scored(
    loaded: Model, source: Wanted, rules_dir: str, config_dir: str, advance: Callable[[int], None] | None
) -> Iterator[tuple[Any, Any]]:
    """Rows and scores of every source, batch by batch; each source begins with empty windows, as in training, and as
    there its calls do not count while an engine would be new."""
    import numpy as np

    from antifraud.decision import MODEL_FACTS
    from antifraud.scoring.columns import columns_of

    fresh = _decider_maker(rules_dir, config_dir)
    places = columns_of(loaded, fresh().bundle.windows.digests, MODEL_FACTS)
    done = 0
    for name, events in _events(source):
        decider, before, kept = fresh(), done, 0
        for batch in _batches(events):
            stops: list[CallEvent] = []
            new: list[bool] = []
            rows = decider.vectors(batch, stops, new)
            if stops:  # as in training; a log has these reports already, and knows them again
                decider.absorb(stops)
            done += len(rows)
            rows = rows.take(places, axis=1)[~np.array(new, dtype=np.bool_)]
            if len(rows):
                kept += len(rows)
                yield rows, loaded.predict(rows)
            if advance is not None:
                advance(done)
        if done == before:
            raise UsageError(f"{name}: there is no call in it", hint="name a file of events: JSON Lines or Parquet")
        if not kept:
            raise UsageError(
                f"{name}: all {done - before:,} calls are from while an engine is new, of which training knows none",
                hint="give a longer time, such as --days 2 or files of more days, or lower engine.warm_up_s",
            )


def _events(source: Wanted) -> Iterator[tuple[str, Iterable[CallEvent]]]:
    if source.seeds:
        for name, items in sources(source):
            yield name, (item.event for item in items)
        return
    for path in source.files:
        yield str(path), _of_file(path)


def _of_file(path: Path) -> Iterator[CallEvent]:
    """Events of a file, in order of time; labels, where it has any, are not looked at."""
    from antifraud.backtest import EVENT_FILE, in_time_order
    from antifraud.simulator.files import read_events

    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="check the name") from error
    if parquet:
        for item in read_events(path):
            yield item.event
        return
    for event in in_time_order(EVENT_FILE.read(path, {})):
        if isinstance(event, Quarantined):
            raise UsageError(
                f"{path}: not an event: {event.detail}", hint="the file may be cut short; name events as JSON Lines"
            )
        try:
            yield check_event(event)
        except EventError as error:
            raise UsageError(f"{path}: call {event.call_id[:64]!r}: {error.detail}", hint="leave it out") from error


def _batches(events: Iterable[CallEvent]) -> Iterator[list[CallEvent]]:
    from antifraud.simulator.dataset import BATCH, BATCH_S

    batch: list[CallEvent] = []
    for event in events:
        if batch and (len(batch) >= BATCH or event.ts - batch[0].ts >= BATCH_S):
            yield batch
            batch = []
        batch.append(event)
    if any(event.kind is EventKind.SETUP for event in batch):
        yield batch


def _decider_maker(rules_dir: str, config_dir: str) -> Callable[[], Decider]:
    from antifraud.cli.assembly import build_numbering, memory_limits, read_settings
    from antifraud.decision import Decider, load_bundle
    from antifraud.features import Fold

    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    bundle, policy = load_bundle(settings.rules_dir, settings.utc_offset_min), settings.policy()
    numbering, limits = build_numbering(settings, warm=False), memory_limits(settings)
    return lambda: Decider(bundle, policy, numbering, fold=Fold(bundle.windows, limits=limits))


def _save(loaded: Model, directory: Path, source: Wanted, rules_dir: str, config_dir: str) -> None:
    import numpy as np

    from antifraud.scoring.drift import make_reference, write_reference

    rows, scores = [], []
    with progress_bar("calls", source.total) as advance:
        for block, said in _scored(loaded, source, rules_dir, config_dir, advance):
            rows.append(block.astype(np.float32))
            scores.append(said)
    reference = make_reference(
        np.concatenate(rows),
        np.concatenate(scores),
        loaded.features,
        loaded.thresholds,
        loaded.manifest.digest,
        said_source(source),
    )
    path = write_reference(reference, directory)
    click.echo(f"{reference.calls:,} calls -> {path}", err=True)


def _count_journal(
    counts: LiveCounts, loaded: Model, journal: Path, since: dt.date | None, until: dt.date | None
) -> None:
    import numpy as np

    from antifraud.journal import read_journal

    scores: list[float] = []
    others: set[str] = set()
    for decision in read_journal(journal, since, until):
        if decision.model != loaded.id or decision.score is None:
            if len(others) < _SHOWN:
                others.add(decision.model or "no model")
            continue
        scores.append(decision.score)
        if len(scores) >= _BATCH:
            counts.add(None, np.array(scores))
            scores.clear()
    counts.add(None, np.array(scores, dtype=np.float64))
    if not counts.calls:
        found = f"; there are decisions of {', '.join(sorted(others))}" if others else ""
        raise UsageError(
            f"{journal}: no decision of these days was made with {loaded.id}{found}",
            hint="name the model that was in force, or other days",
        )


def _day(text: str, option: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no day", hint="write it as 2026-01-31") from None


# ---------------------------------------------------------------------- what people and programs see


def _say(model: str, counts: LiveCounts, then: int, drifts: Sequence[Drift], alarm: float) -> None:
    click.echo(f"{model}: {counts.calls:,} calls against {then:,} of the training")
    shown = [one for number, one in enumerate(drifts) if number < _SHOWN or one.name == "score" or one.drifted]
    wide = max(len(one.name) for one in shown)
    for one in shown:
        line = (
            f"{one.name.ljust(wide)}  PSI {one.psi:6.3f}  KS {one.ks:5.3f}  "
            f"missing {one.missing:6.1%}, then {one.missing_then:6.1%}"
        )
        click.echo(f"{line}  DRIFTED" if one.drifted else line)
    if len(shown) < len(drifts):
        click.echo(f"the other {len(drifts) - len(shown)} moved less")
    drifted = sum(one.drifted for one in drifts)
    click.echo(f"{drifted} of {len(drifts)} columns have drifted: their PSI is {alarm:g} or more")


def _write_metrics(path: Path, model: str, calls: int, drifts: Sequence[Drift]) -> None:
    """In the text form that node_exporter's textfile collector reads; whole or not at all."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"antifraud_model_drift_{name}", text, ["model", *labels], registry=registry)

    psi = gauge("psi", "Population stability index against the training", "column")
    ks = gauge("ks", "Kolmogorov-Smirnov distance from the training", "column")
    for one in drifts:
        psi.labels(model, one.name).set(one.psi)
        ks.labels(model, one.name).set(one.ks)
    gauge("alarm", "1 when a column has drifted").labels(model).set(float(any(one.drifted for one in drifts)))
    gauge("calls", "Calls that were compared").labels(model).set(calls)
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint="check the directory") from error
