"""``antifraud backtest``: what each rule hits over labelled events, and whether it keeps its budget of false hits."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import Wanted, progress_bar, sources, wanted
from antifraud.domain import UsageError

if TYPE_CHECKING:
    from antifraud.backtest.hits import HitCount, LabelledEvent, RuleHits
    from antifraud.backtest.in_progress import InProgressCount, InProgressHits
    from antifraud.simulator import SimulatedEvent

_COLOURS: Final = {"kept": "green", "open": "yellow", "above": "red"}
_HEAD: Final = ("rule", "stage", "verdict", "honest", "callers", "/million", "at most", "budget", "", "fraud", "alone")
_RIGHT: Final = (3, 4, 5, 6, 7, 9, 10)
_LATER_HEAD: Final = (
    "rule", "stage", "command", "honest", "callers", "/10,000", "/million", "at most", "budget", "", "fraud", "alone",
    "talk", "cut",
)  # fmt: skip
_LATER_RIGHT: Final = (3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
_IN_PROGRESS: Final = "in-progress"
_MOST_SHOWN: Final = 1000
_MOST_NAMED: Final = 8
_WIDTH: Final = 110


@click.command()
@click.option("--rules", "rules_dir", default="", metavar="DIR", help="The rules; by default those in force.")
@click.option(
    "--against",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file of labelled events, as antifraud simulate writes them; may be given several times.",
)
@click.option("--seeds", default="", metavar="1-8", help="Simulate these seeds instead; without files, seed 1.")
@click.option("--calls", type=int, default=100_000, show_default=True, help="With --seeds: calls of each seed.")
@click.option("--days", type=float, default=1.0, show_default=True, help="With --seeds: days of each seed.")
@click.option("--start", default="", help="With --seeds: when the first begins; by default each at another hour.")
@click.option("--scenario", default="national", show_default=True, help="With --seeds: the scenario.")
@click.option("--clean", is_flag=True, help="Leave the fraudulent calls out: honest traffic and nothing else.")
@click.option(
    "--rule", "chosen", multiple=True, metavar="RULE", help="Judge and show only this rule; may be given several times."
)
@click.option(
    "--only",
    type=click.Choice(["setup", _IN_PROGRESS]),
    help="Judge and show only rules on setups, or only those on calls in progress; to follow calls takes longest.",
)
@click.option(
    "--show", type=click.IntRange(0, _MOST_SHOWN), default=0, help="Show so many honest calls that each rule hit."
)
@click.option("--prove", is_flag=True, help="Fail also where too few calls show that a rule keeps its budget.")
@click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@click.pass_context
def backtest(
    context: click.Context,
    rules_dir: str,
    files: tuple[Path, ...],
    seeds: str,
    calls: int,
    days: float,
    start: str,
    scenario: str,
    clean: bool,
    chosen: tuple[str, ...],
    only: str | None,
    show: int,
    prove: bool,
    config_dir: str,
    as_json: bool,
) -> None:
    """Count what each rule hits over a day of calls, drafts too, each as if it were at enforce.

    Honest calls that are hit are false hits. A rule at canary or enforce declares how many of a million it may hit
    (rollout.false_hits_per_million), and must keep that.

    Rules on calls in progress are asked as the engine asks them, about calls that are answered and that rules on setups
    let through at their stages. Their rates are in such calls.

    Exit code 0: every such rule keeps its budget, as far as these calls can tell; 1: one is above it, or has none;
    2: used wrongly.
    """
    plan = _plan(files, seeds, calls, days, start, scenario, config_dir)
    count, later = _ready(rules_dir, config_dir, show, chosen, only)
    named = []
    with progress_bar("calls", plan.total) as advance:
        for name, events in sources(plan):
            named.append(name)
            labelled: Iterable[LabelledEvent] = _labelled(events, clean=clean)
            if later is not None:
                labelled = later.passing(labelled, name)
            count.add(labelled, name, advance)
    results = count.results()
    at_setup = [item for item in results if only != _IN_PROGRESS and (not chosen or item.rule.id in chosen)]
    judged = later.results() if later is not None else ()
    in_progress = [item for item in judged if not chosen or item.rule.id in chosen]
    shown = [*at_setup, *in_progress]
    if not shown:
        raise UsageError("no rule is left to judge", hint="leave --only out, or name rules of that kind")
    failing = [item.rule.id for item in shown if _fails(item, prove=prove)]
    if as_json:
        found = _content(count, named, clean, at_setup, failing)
        if later is not None:
            found["in_progress"] = _later_content(later, in_progress)
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _say(count, named, clean, at_setup)
        if later is not None:
            _say_later(later, clean, in_progress)
        _sum_up(shown, [item for item in (*results, *judged) if item not in shown], prove=prove)
    context.exit(1 if failing else 0)


def _plan(
    files: tuple[Path, ...], seeds: str, calls: int, days: float, start: str, scenario: str, config_dir: str
) -> Wanted:
    plan = wanted(files, seeds if seeds or files else "1", calls, days, scenario, config_dir)
    if not start:
        return plan
    if not plan.seeds:
        raise UsageError("--start goes with --seeds", hint="events of a file have their own times")
    from antifraud.cli.simulate import start_time
    from antifraud.settings import data_dir
    from antifraud.simulator import find_scenario, load_scenario

    country = load_scenario(find_scenario(scenario, data_dir("config", config_dir or None))).draw(plan.seeds[0])
    return msgspec.structs.replace(plan, start=start_time(start, country.utc_offset_min))


def _ready(
    rules_dir: str, config_dir: str, show: int, chosen: Sequence[str], only: str | None
) -> tuple[HitCount, InProgressCount | None]:
    """What counts hits under the configuration in force; None where no rule on calls in progress is judged."""
    from antifraud.backtest.hits import HitCount, reads_score
    from antifraud.backtest.in_progress import InProgressCount, rules_in_progress
    from antifraud.cli.assembly import build_numbering, memory_limits, read_settings
    from antifraud.cli.rule_parameters import refuse_unfit
    from antifraud.cli.rules_folder import vocabulary_files
    from antifraud.decision import load_bundle
    from antifraud.rulekit import RuleSet

    settings = read_settings({"rules_dir": rules_dir, "config_dir": config_dir})
    # A directory that has only packs is one to try out, as for lint and test.
    places = vocabulary_files(settings.rules_dir)
    bundle = load_bundle(settings.rules_dir, settings.utc_offset_min, drafts=True, vocabulary=places)
    rules = bundle.rules
    assert isinstance(rules, RuleSet), "what is loaded from files has its texts"
    refuse_unfit(settings, rules.defaults, partial=True)
    model = None
    if reads_score(rules) and settings.model_dir is not None:
        from antifraud.scoring import Model

        model = Model.load(settings.model_dir)
    for name in chosen:
        rules.rule(name)
    numbering, limits = build_numbering(settings, warm=False), memory_limits(settings)
    feedback = settings.engine.feedback
    count = HitCount(
        bundle.windows,
        rules,
        settings.policy(),
        numbering,
        model=model,
        limits=limits,
        feedback=feedback,
        examples=show,
    )
    if only == "setup" or not any(not chosen or rule.id in chosen for rule in rules_in_progress(rules)):
        return count, None
    later = InProgressCount(
        bundle,
        settings.policy(),
        numbering,
        model=model,
        limits=limits,
        feedback=feedback,
        examples=show,
        tick_s=settings.engine.tick_s,
    )
    return count, later


def _labelled(events: Iterable[SimulatedEvent], *, clean: bool) -> Iterator[LabelledEvent]:
    from antifraud.backtest.hits import LabelledEvent

    for item in events:
        truth = item.truth
        if not (clean and truth.fraud):
            yield LabelledEvent(item.event, truth.fraud, truth.scenario)


def _fails(item: RuleHits, *, prove: bool) -> bool:
    return item.acts and (item.outcome in ("above", "") or (prove and item.outcome == "open"))


# What people and programs see


def _content(
    count: HitCount, named: Sequence[str], clean: bool, results: Sequence[RuleHits], failing: Sequence[str]
) -> dict[str, Any]:
    return {
        "sources": list(named),
        "clean": clean,
        "honest": count.honest,
        "fraud": count.fraud,
        "repeated": count.repeated,
        "failing": list(failing),
        "rules": [_rule_content(item) for item in results],
        "in_progress": None,
    }


def _rule_content(item: RuleHits) -> dict[str, Any]:
    return {
        "rule": item.rule.id,
        "pack": item.rule.pack,
        "stage": item.rule.stage.value,
        "verdict": item.rule.verdict,
        "honest_hits": item.honest_hits,
        "honest_callers": item.callers,
        "per_million": round(item.per_million, 3),
        "at_least_per_million": round(item.at_least, 3),
        "at_most_per_million": round(item.at_most, 3),
        "budget_per_million": item.budget,
        "outcome": item.outcome or None,
        "fraud_hits": item.fraud_hits,
        "fraud_alone": item.fraud_alone,
        "examples": item.examples,
    }


def _later_content(count: InProgressCount, results: Sequence[InProgressHits]) -> dict[str, Any]:
    """Calls in progress; ``verdict`` of such a rule is its command."""
    return {
        "honest": count.honest,
        "fraud": count.fraud,
        "honest_stopped_at_setup": count.stopped_honest,
        "fraud_stopped_at_setup": count.stopped_fraud,
        "fraud_talk_s": round(count.fraud_talk_s, 3),
        "failed_looks": count.failures,
        "rules": [
            _rule_content(item)
            | {
                "on": item.rule.on,
                "looks": item.looks,
                "per_10000": round(item.per_10000, 3),
                "talk_s_p50": None if item.talk_s is None else round(item.talk_s, 3),
                "fraud_cut_s": round(item.cut_s, 3),
                "fraud_cut_share": round(item.cut_share, 6),
            }
            for item in results
        ],
    }


def _say(count: HitCount, named: Sequence[str], clean: bool, results: Sequence[RuleHits]) -> None:
    sort = "clean traffic" if clean else f"{count.fraud:,} fraudulent ones"
    repeated = f", {count.repeated:,} set up twice" if count.repeated else ""
    where = f"{', '.join(named[:_MOST_NAMED])}{', …' if named[_MOST_NAMED:] else ''}"
    click.echo(f"{count.honest:,} honest calls, {sort}{repeated} ({where})")
    if not results:
        return
    click.echo()
    _table(_HEAD, _RIGHT, {item.rule.id: _cells(item) for item in results}, results)
    click.echo(
        "\nhonest: honest calls hit, of so many callers; at most: with 95 % confidence; fraud: fraudulent calls hit;"
        "\nalone: of these, the ones that no other rule at canary or enforce hits as gravely"
    )


def _say_later(count: InProgressCount, clean: bool, results: Sequence[InProgressHits]) -> None:
    fraud = "" if clean else f", {count.fraud:,} fraudulent ones that talked for {_minutes(count.fraud_talk_s)}"
    click.echo(f"\nin progress: {count.honest:,} honest calls{fraud}")
    if count.stopped_honest or count.stopped_fraud:
        stopped = f"{count.stopped_honest:,} honest" + ("" if clean else f", {count.stopped_fraud:,} fraudulent")
        click.echo(f"not among them, since rules on setups stop them: {stopped}")
    click.echo()
    _table(_LATER_HEAD, _LATER_RIGHT, {item.rule.id: _later_cells(item) for item in results}, results)
    idle = [item.rule.id for item in results if not item.looks]
    if idle:
        click.echo(f"\nnever had a reason to look at a call here, which shows nothing: {', '.join(idle)}")
    if count.failures:
        click.echo(click.style(f"\n{count.failures:,} looks at calls failed and hit nothing", fg="red"))
    click.echo(
        "\nhonest, fraud: hit, of calls that were answered and let through; talk: seconds until the hit (half of"
        "\nthem no more); cut: how long the fraudulent ones went on after the hit, and the share in all talk of fraud"
    )


def _table(
    head: Sequence[str], right: Sequence[int], cells: Mapping[str, tuple[str, ...]], results: Sequence[RuleHits]
) -> None:
    """The rules that hit something or have to keep a budget, with examples; the names of the others."""
    listed = [item for item in results if item.acts or item.honest_hits or item.fraud_hits]
    rows = [cells[item.rule.id] for item in listed]
    if rows:
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        click.echo(click.style(_line(head, head, right, widths), bold=True))
        for item, row in zip(listed, rows, strict=True):
            click.echo(_line(head, row, right, widths, colour=_COLOURS.get(item.outcome) if item.acts else None))
            for example in item.examples:
                click.echo(_example(example.ts, example.call_id, example.behaviour, example.reason))
    quiet = [item.rule.id for item in results if item not in listed]
    if quiet:
        words = f"hit nothing, and are not at canary or enforce: {', '.join(quiet)}"
        between = "\n" if rows else ""
        click.echo(between + textwrap.fill(words, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _cells(item: RuleHits) -> tuple[str, ...]:
    rule = item.rule
    share = f" ({item.fraud_hits / item.fraud:.1%})" if item.fraud_hits else ""
    counted = (f"{item.honest_hits:,}", f"{item.callers:,}", _rate(item.per_million), _rate(item.at_most))
    if rule.verdict == "protect":
        # What protects does no honest call any harm.
        counted = (f"{item.honest_hits:,}", f"{item.callers:,}", "-", "-")
    budget = "" if item.budget is None else _rate(item.budget)
    outcome = item.outcome or ("no budget" if item.acts else "")
    caught = (f"{item.fraud_hits:,}{share}", f"{item.fraud_alone:,}")
    return (rule.id, rule.stage.value, rule.verdict, *counted, budget, outcome, *caught)


def _later_cells(item: InProgressHits) -> tuple[str, ...]:
    name, stage, command, honest, callers, rate, *rest = _cells(item)
    talk = "" if item.talk_s is None else f"{item.talk_s:,.0f} s"
    cut = f"{_minutes(item.cut_s)} ({item.cut_share:.1%})" if item.fraud_hits else ""
    return (name, stage, command, honest, callers, f"{item.per_10000:.2f}", rate, *rest, talk, cut)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min"


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _line(
    head: Sequence[str], cells: Sequence[str], right: Sequence[int], widths: Sequence[int], *, colour: str | None = None
) -> str:
    shown = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = cell.rjust(width) if column in right else cell.ljust(width)
        shown.append(click.style(text, fg=colour) if colour and column == head.index("") else text)
    return "  ".join(shown).rstrip()


def _example(ts: float, call_id: str, behaviour: str, reason: str) -> str:
    moment = dt.datetime.fromtimestamp(ts, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    words = f"    {moment}  call {call_id}  {behaviour}: {reason}"
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _sum_up(results: Sequence[RuleHits], others: Sequence[RuleHits], *, prove: bool) -> None:
    """Say which of ``results`` keep their budgets; of the ``others``, which were not asked about, only how many."""
    acting = [item for item in results if item.acts]

    def of(outcome: str) -> list[str]:
        return [item.rule.id for item in acting if item.outcome == outcome]

    above, without, unknown = of("above"), of(""), of("open")
    if acting:
        kept = len(of("kept"))
        several = "1 rule" if len(acting) == 1 else f"{len(acting)} rules"
        click.echo(f"\n{several} at canary or enforce: {kept} {'keeps its' if kept == 1 else 'keep their'} budget")
    else:
        where = ", ".join(f"{item.rule.id} is at {item.rule.stage.value}" for item in results[:_MOST_NAMED])
        click.echo(f"\nno rule at canary or enforce here, so none has a budget to keep: {where}")
    for names, words, fatal in (
        (above, "above the budget", True),
        (without, "without a budget (false_hits_per_million under rollout)", True),
        (unknown, "too few calls to tell; about three million divided by the budget are needed", prove),
    ):
        if names:
            click.echo(click.style(f"{words}: {', '.join(names)}", fg="red" if fatal else "yellow"))
    beyond = [item.rule.id for item in others if _fails(item, prove=False)]
    if beyond:
        verb = "is above its budget or has none" if len(beyond) == 1 else "are above their budgets or have none"
        words = f"of the rules that were not asked about, {len(beyond)} {verb}"
        click.echo(f"{words}: {', '.join(beyond[:_MOST_NAMED])}{', …' if len(beyond) > _MOST_NAMED else ''}")
