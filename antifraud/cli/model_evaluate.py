"""``antifraud model evaluate``: rules, score and both side by side on labelled calls; a table, a page, JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import Wanted, progress_bar, source_options, sources, wanted
from antifraud.domain import UsageError

if TYPE_CHECKING:
    from antifraud.backtest.systems import SideBySide
    from antifraud.scoring import Model
    from antifraud.scoring.evaluation import Subject

_NAMES: Final = (
    ("rules", "rules only"),
    ("score", "score only"),
    ("rules_and_score", "rules + score"),
    ("logistic", "logistic regression"),
)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@source_options
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as a page.")
@click.option("--price", type=click.FloatRange(0.0), help="What a minute of fraudulent talk costs, in your currency.")
@click.option(
    "--rounds", type=click.IntRange(20, 2000), default=200, show_default=True, help="Draws for the intervals."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of these draws.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def evaluate(
    directory: Path,
    events: tuple[Path, ...],
    seeds: str,
    calls: int,
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    page: Path | None,
    price: float | None,
    rounds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the model in DIRECTORY, and the rules with it, on EVENTS or --seeds that it was not trained on.

    Rules only, score only, rules and score, and a logistic regression; each as if all of it were enforced. Ends with 1
    when the score would block honest calls more often than certified, with 95 % confidence.
    """
    from antifraud.scoring import Model
    from antifraud.scoring.evaluation import evaluate as figures

    source = wanted(events, seeds, calls, days, scenario, config_dir)
    if page is not None and not page.resolve().parent.is_dir():
        raise UsageError(f"cannot write {page}: there is no directory {page.parent}", hint="make it first")
    loaded = Model.load(directory)
    contest = _contest(loaded, rules_dir, config_dir)
    with progress_bar("calls", source.total) as advance:
        for name, items in sources(source):
            contest.add(items, name, advance)
    found = figures(contest.calls(), _subject(loaded), rounds=rounds, seed=seed, price=price)
    found |= {"about": _about(source), "repeated": contest.repeated}
    encoded = msgspec.json.encode(found)
    report = msgspec.json.decode(encoded)
    if page is not None:
        _write_page(report, page)
    if as_json:
        click.echo(encoded.decode())
    else:
        _say(report)
    if found["violated"]:
        click.echo(
            f"more than {found['blocked_by_score_at_least']:.1e} of honest calls would be blocked by the score, "
            f"the budget is {found['block_budget']:.0e}",
            err=True,
        )
        raise SystemExit(1)


def _contest(loaded: Model, rules_dir: str, config_dir: str) -> SideBySide:
    from antifraud.backtest.systems import SideBySide
    from antifraud.cli.assembly import build_numbering, memory_limits, read_settings
    from antifraud.decision import load_bundle

    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    return SideBySide(
        load_bundle(settings.rules_dir, settings.utc_offset_min),
        settings.policy(),
        build_numbering(settings, warm=False),
        loaded,
        limits=memory_limits(settings),
        feedback=settings.engine.feedback,
    )


def _subject(loaded: Model) -> Subject:
    from antifraud.scoring.evaluation import Subject

    manifest = loaded.manifest
    return Subject(
        loaded.id,
        loaded.features,
        frozenset(loaded.windows),
        {level: certificate.budget for level, certificate in manifest.certificate.items()},
        float(manifest.training.get("margin", 1.0)),
        loaded.thresholds.block,
        loaded.predict,
    )


def _about(source: Wanted) -> str:
    if source.seeds:
        span = "a day" if source.days == 1 else f"{source.days:g} days"
        return f"Synthetic: {source.calls:,} calls in {span} for each seed, scenario {Path(source.scenario).stem}."
    return "From files; if `antifraud simulate` made them, they are synthetic."


def _write_page(report: Mapping[str, Any], page: Path) -> None:
    from antifraud.scoring.report_html import report_html

    part = page.with_name(f".{page.name}.{os.getpid()}.part")
    try:
        part.write_text(report_html(report), encoding="utf-8")
        part.replace(page)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {page}: {error.strerror or error}", hint="check the directory") from error


def _say(report: Mapping[str, Any]) -> None:
    click.echo(
        f"{report['model']}: {report['honest_calls']:,} honest calls, {report['fraud_calls']:,} fraudulent ones of "
        f"{report['campaigns']:,} campaigns. {report['about']}"
    )
    click.echo(f"AUC {report['auc']:.4f}, average precision {report['average_precision']:.4f}\n")
    head = ("", "fraud stopped", "after first 20", "honest stopped", "fraud blocked", "honest blocked")
    rows = [head]
    for name, shown in _NAMES:
        part = report["systems"].get(name)
        if part is None:
            continue
        stopped, blocked = part["stopped"], part["blocked"]
        rows.append(
            (
                shown,
                _share(stopped["recall"]),
                _share(stopped["recall_after_first_20"]),
                f"{stopped['honest_calls']:,} (<= {stopped['false_rate']['high']:.1e})",
                _share(blocked["recall"]),
                f"{blocked['honest_calls']:,} (<= {blocked['false_rate']['high']:.1e})",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo(click.style("  ".join(cells).rstrip(), bold=number == 0))
    click.echo("\nstopped: diverted or blocked; in brackets 95 % intervals, over whole campaigns and callers")


def _share(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%}-{estimate['high']:.1%})"
