"""``antifraud model evaluate``: rules, score and both side by side on labelled calls; a table, a page, JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import Wanted, progress_bar, source_options, sources, wanted
from antifraud.domain import UsageError

if TYPE_CHECKING:
    from antifraud.backtest.permutation import How
    from antifraud.backtest.systems import SideBySide
    from antifraud.decision import Bundle, Policy
    from antifraud.features import Limits
    from antifraud.numbering import Numbering
    from antifraud.scoring import Model
    from antifraud.scoring.judged_calls import Calls, Subject
    from antifraud.scoring.permutations import PermutedRun

_NAMES: Final = (
    ("rules", "rules only"),
    ("score", "score only"),
    ("rules_and_score", "rules + score"),
    ("logistic", "logistic regression"),
)
_DAY_S: Final = 86_400.0
_SPANS: Final = {
    "first_10_minutes": "the first 10 minutes",
    "first_hour": "the rest of the first hour",
    "first_day": "the rest of the first day",
    "later": "later",
}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@source_options
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as a page.")
@click.option("--price", type=click.FloatRange(0.0), help="What a minute of fraudulent talk costs, in your currency.")
@click.option(
    "--rounds", type=click.IntRange(20, 2000), default=200, show_default=True, help="Draws for the intervals."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of these draws.")
@click.option(
    "--permute",
    default="",
    metavar="trunk,fingerprint,prefix,src_ip",
    help="Measure again with these names permuted: renamed, and shuffled over calls. Each takes two runs more.",
)
@click.option(
    "--after",
    "after_h",
    type=click.FloatRange(0.0, 744.0),
    metavar="HOURS",
    help="Leave out an engine's first hours, but for the figures of its cold start; by default as long as its score "
    "only labels (engine.warm_up_s).",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def evaluate(
    directory: Path,
    events: tuple[Path, ...],
    seeds: str,
    calls: tuple[int, ...],
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    page: Path | None,
    price: float | None,
    rounds: int,
    seed: int,
    permute: str,
    after_h: float | None,
    as_json: bool,
) -> None:
    """Measure the model in DIRECTORY, and the rules with it, on EVENTS or --seeds that it was not trained on.

    Rules only, score only, rules and score, and a logistic regression; each as if all of it were enforced. Ends with 1
    when the score would block honest calls more often than certified, with 95 % confidence.
    """
    from antifraud.backtest.permutation import HOWS, wanted_permutations
    from antifraud.scoring import Model
    from antifraud.scoring.evaluation import evaluate as figures

    source = wanted(events, seeds, calls, days, scenario, config_dir)
    if page is not None and not page.resolve().parent.is_dir():
        raise UsageError(f"cannot write {page}: there is no directory {page.parent}", hint="make it first")
    names = wanted_permutations(permute)
    loaded = Model.load(directory)
    fresh = contests(loaded, rules_dir, config_dir)
    after_s = fresh.policy.warm_up_s if after_h is None else after_h * 3600.0
    if source.seeds and source.days * _DAY_S <= after_s:
        raise UsageError(
            f"{source.days:g} days of a seed are an engine's first {after_s / 3600:g} hours, in which its score stops "
            "no call",
            hint="simulate a longer time, such as --days 2, or measure these calls all the same: --after 0",
        )
    contest = fresh.contest()
    with progress_bar("calls", source.total) as advance:
        for name, items in sources(source):
            contest.add(items, name, advance)
    calls_seen = contest.calls()
    runs = [_permuted(fresh, source, what, how, seed, calls_seen) for what in names for how in HOWS]
    found = figures(
        calls_seen, subject_of(loaded), rounds=rounds, seed=seed, price=price, permuted=runs, after_s=after_s
    )
    found |= {"about": _about(source, after_s), "repeated": contest.repeated}
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


class Contests(msgspec.Struct, frozen=True):
    """What every run over calls needs, loaded once: rules, policy, numbering, model, bounds."""

    bundle: Bundle
    policy: Policy
    numbering: Numbering
    model: Model
    limits: Limits
    feedback: bool

    def contest(self) -> SideBySide:
        """The systems side by side, none of which has seen a call."""
        from antifraud.backtest.systems import SideBySide

        return SideBySide(
            self.bundle, self.policy, self.numbering, self.model, limits=self.limits, feedback=self.feedback
        )


def contests(loaded: Model, rules_dir: str, config_dir: str) -> Contests:
    """Load what runs of ``loaded`` over calls need; ConfigError, RuleError as in the engine."""
    from antifraud.cli.assembly import build_numbering, memory_limits, read_settings
    from antifraud.decision import load_bundle

    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    return Contests(
        load_bundle(settings.rules_dir, settings.utc_offset_min),
        settings.policy(),
        build_numbering(settings, warm=False),
        loaded,
        memory_limits(settings),
        settings.engine.feedback,
    )


def _permuted(fresh: Contests, source: Wanted, what: str, how: How, seed: int, before: Calls) -> PermutedRun:
    from antifraud.backtest.permutation import permuted
    from antifraud.scoring.permutations import permuted_run

    contest = fresh.contest()
    with progress_bar(f"{what} {how}", source.total) as advance:
        for at, ((name, first), (_name, again)) in enumerate(zip(sources(source), sources(source), strict=True)):
            items = permuted(
                first,
                again,
                what,
                how,
                trunk_class=fresh.policy.trunk_class,
                numbering=fresh.numbering,
                seed=seed + at,
            )
            contest.add(items, name, advance)
    return permuted_run(what, how, contest.calls(), before, subject_of(fresh.model))


def subject_of(loaded: Model) -> Subject:
    """What an evaluation needs to know of ``loaded``."""
    from antifraud.scoring.judged_calls import Subject

    manifest = loaded.manifest
    return Subject(
        loaded.id,
        loaded.features,
        frozenset(loaded.windows),
        {level: certificate.budget for level, certificate in manifest.certificate.items()},
        float(manifest.training.get("margin", 1.0)),
        loaded.thresholds.divert,
        loaded.thresholds.block,
        loaded.predict,
        loaded.contributions,
        loaded.thresholds_for,
    )


def _about(source: Wanted, after_s: float) -> str:
    without = f" Without an engine's first {after_s / 3600:g} hours." if after_s else ""
    if source.seeds:
        span = "a day" if source.days == 1 else f"{source.days:g} days"
        scenario = Path(source.scenario).stem
        return f"Synthetic: {source.said_calls} calls in {span} for each seed, scenario {scenario}.{without}"
    return f"From files; if `antifraud simulate` made them, they are synthetic.{without}"


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
    rows: list[tuple[str, ...]] = [head]
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
    table(rows)
    click.echo("\nstopped: diverted or blocked; in brackets 95 % intervals, over whole campaigns and callers")
    _say_cold_start(report)
    _say_permutations(report)


def _say_cold_start(report: Mapping[str, Any]) -> None:
    rows: list[tuple[str, ...]] = [
        ("an engine that runs for", "honest", "stopped", "divert budget", "at block", "block budget", "fraud stopped")
    ]
    for one in report["cold_start"]:
        engine, by_score = one["systems"]["rules_and_score"], one["blocked_by_score"]
        rows.append(
            (
                _SPANS[one["span"]],
                f"{one['honest_calls']:,}",
                f"{engine['stopped']['honest_calls']:,}",
                engine["stopped"]["state"],
                f"{by_score['honest_calls']:,}",
                by_score["state"],
                f"{engine['fraud_stopped']:,} of {one['fraud_calls']:,}",
            )
        )
    click.echo()
    table(rows)


def _say_permutations(report: Mapping[str, Any]) -> None:
    if not report["permutations"]:
        return
    rows: list[tuple[str, ...]] = [
        ("names permuted", "AUC", "fraud stopped: rules", "score", "rules + score", "honest stopped", "at block")
    ]
    as_they_are = {"what": "none", "how": "", **report}
    for one in (as_they_are, *report["permutations"]):
        recalls = (one["systems"][name]["stopped"]["recall"]["value"] for name, _shown in _NAMES[:3])
        honest = one["systems"]["rules_and_score"]["stopped"]["honest_calls"]
        cells = (*(f"{value:.1%}" for value in recalls), f"{honest:,}", f"{one['blocked_by_score']:,}")
        rows.append((f"{one['what']} {one['how']}".strip(), f"{one['auc']:.4f}", *cells))
    click.echo()
    table(rows)


def table(rows: Sequence[Sequence[str]]) -> None:
    """``rows`` in columns, the first row as their heads: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo(click.style("  ".join(cells).rstrip(), bold=number == 0))


def _share(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%}-{estimate['high']:.1%})"
