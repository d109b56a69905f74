"""``antifraud rules``: lint, test, explain and schema. Light on purpose: only a test with events loads a fold.

fmt and new are in ``rules_editing``, diff, lock and promote in ``rules_release``, reference in ``rules_reference``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from antifraud.cli.call_text import call_text
from antifraud.cli.rules_editing import fmt, new
from antifraud.cli.rules_folder import (
    concerns,
    count,
    declared_windows,
    load,
    load_lock,
    places_of,
    problem_fields,
    rules_folder,
    show_problems,
    start_of_day,
    summary,
    tally,
    vocabulary,
    vocabulary_files,
    write_json,
)
from antifraud.cli.rules_reference import reference
from antifraud.cli.rules_release import diff, lock, promote
from antifraud.cli.rules_replay import replay_of
from antifraud.domain import BundleError, Problem, UsageError
from antifraud.rulekit import Explanation, RuleSet, Term, TestResult, read_call, run_rule_tests, unproven_terms
from antifraud.rulekit.crosscheck import check_calendar, cross_check
from antifraud.rulekit.findings import is_warning
from antifraud.rulekit.lock import FILE as LOCK_FILE
from antifraud.rulekit.lock import compare_with_lock
from antifraud.rulekit.sources import RuleSources
from antifraud.rulekit.stream import play

_HELD: Final = {True: "holds", False: "fails", None: "unknown"}
_COLOURS: Final = {True: "green", False: "red", None: "yellow"}


@click.group()
def rules() -> None:
    """Write, check, test and explain rules, and bring them into force."""


for _command in (fmt, new, diff, lock, promote, reference):
    rules.add_command(_command)


@rules.command()
@click.argument("places", nargs=-1, metavar="[DIRECTORY | FILE…]")
@click.option("--strict", is_flag=True, help="Fail also when there are warnings only.")
@click.option("--today", metavar="DATE", help="Judge ends and reviews by this day (2027-06-30) and not by today's.")
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.pass_context
def lint(context: click.Context, places: tuple[str, ...], strict: bool, today: str | None, as_json: bool) -> None:
    """Check every rule, list and window of DIRECTORY (by default the rules in force).

    Each file by itself, then the rules beside each other (does one never hit, does one change nothing beside another),
    the ends of exceptions and entries, the days of reviews, and whether rules.lock knows what is in force.

    With FILE, for editors and for what runs before a commit, the whole directory that it lies in is read, and only what
    is found in the files named is shown and counts.

    Exit code 0: nothing found, or warnings only; 1: something is wrong; 2: the directory cannot be used.
    """
    folder, files = places_of(places)
    found, windows, everything = _findings(folder, start_of_day(today))
    problems = [problem for problem in everything if not files or concerns(problem, files)]
    wrong = [problem for problem in problems if not is_warning(problem)]
    warnings = [problem for problem in problems if is_warning(problem)]
    elsewhere = [problem for problem in everything if problem not in problems and not is_warning(problem)]
    if as_json:
        write_json(
            {
                "directory": str(folder),
                **({"files": [str(file) for file in files], "problems_elsewhere": len(elsewhere)} if files else {}),
                "digest": found.digest if found is not None else None,
                "rules": len(found.rules) if found is not None else None,
                "lists": len(found.lists) if found is not None else None,
                "windows": windows or None,
                "problems": [problem_fields(problem) for problem in wrong],
                "warnings": [problem_fields(problem) for problem in warnings],
            }
        )
    else:
        show_problems(problems)
        own = f", {count(windows, 'window')}" if (folder / "windows.yaml").is_file() else ""
        if files:
            said = tally(wrong, warnings) if problems else "nothing wrong"
            click.echo(click.style(f"{count(len(files), 'file')}: {said}", fg="red" if wrong else None))
        elif wrong or found is None:
            click.echo(click.style(tally(wrong, warnings), fg="red"))
        else:
            click.echo(f"{summary(found)}{own}: {tally(wrong, warnings) if warnings else 'nothing wrong'}")
        if elsewhere:
            compared = "" if found is not None else "; rules were not compared with each other"
            click.echo(f"    {count(len(elsewhere), 'problem')} in other files of {folder}{compared}")
    context.exit(1 if wrong or (strict and warnings) else 0)


def _findings(folder: Path, day: float) -> tuple[RuleSet | None, int, list[Problem]]:
    """The rules, where they can be read, how many windows are declared, and everything that is wrong with them."""
    problems: list[Problem] = []
    found: RuleSet | None = None
    windows = 0
    try:
        windows = len(declared_windows(folder).names)
    except BundleError as error:
        problems += error.problems
    try:
        found = load(folder)
    except BundleError as error:
        # What is wrong with the windows has been said, and better, by those who read all of it.
        said = {problem.where for problem in problems}
        file = str(vocabulary_files(folder)[1]) if problems else ""
        problems += [
            problem
            for problem in error.problems
            if problem.where is None or (problem.where not in said and problem.where.file != file)
        ]
    if found is not None:
        sources = RuleSources()
        problems += cross_check(found, sources, day)
        problems += check_calendar(folder, day)
        try:
            known = load_lock(folder)
            if known is not None:
                problems += compare_with_lock(found, known, sources, str(folder / LOCK_FILE))
        except BundleError as error:
            problems += error.problems
    return found, windows, problems


@rules.command()
@click.argument("directory", required=False)
@click.option("--rule", "chosen", multiple=True, metavar="RULE", help="Only this rule; may be given several times.")
@click.option("--strict", is_flag=True, help="Fail also when a term of a condition is not proven by any test.")
@click.option(
    "--config",
    "config_dir",
    metavar="DIR",
    help="Directory of configuration, for tests with events: dial plan, trunks and switches. By default that in force.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the results as JSON.")
@click.pass_context
def test(
    context: click.Context,
    directory: str | None,
    chosen: tuple[str, ...],
    strict: bool,
    config_dir: str | None,
    as_json: bool,
) -> None:
    """Run the tests that stand in the rule files of DIRECTORY (by default the rules in force).

    A test with events is replayed: facts and windows of the call that is judged are those that an engine would have.

    Exit code 0: all passed; 1: a test failed; 2: the rules do not compile or cannot be read.
    """
    folder = rules_folder(directory)
    found = load(folder)
    picked = [found.rule(name) for name in chosen] if chosen else list(found.rules)
    replay = replay_of(folder, found, config_dir)
    results = [result for rule in picked for result in run_rule_tests(found, rule, replay)]
    unproven = [term for rule in picked if rule.tests for term in unproven_terms(found, rule, replay)]
    failed = [result for result in results if not result.passed]
    if as_json:
        write_json(
            {
                "directory": str(folder),
                "rules": len(picked),
                "passed": len(results) - len(failed),
                "replayed": sum(result.test.stream is not None for result in results),
                "failed": [_failure(result) for result in failed],
                "unproven": [{"rule": term.rule, "term": term.term} for term in unproven],
            }
        )
    else:
        for result in failed:
            _show_failure(result)
        for term in unproven:
            click.echo(f"{term.pack}/{term.rule}: no test shows that this term matters: {term.term}")
        if unproven:
            click.echo("    add a test that expects no_hit and in which only that term does not hold\n")
        for rule in picked:
            if not rule.tests:
                click.echo(f"{rule.pack}/{rule.id}: has no tests ({rule.stage.value})")
        words = f"{count(len(results), 'test')} of {count(len(picked), 'rule')}"
        if failed:
            click.echo(click.style(f"{words}: {len(failed)} failed", fg="red"))
        else:
            click.echo(f"{words}: all passed")
    context.exit(1 if failed or (strict and unproven) else 0)


@rules.command()
@click.argument("rule")
@click.option(
    "--call",
    required=True,
    metavar="JSON",
    help='What is known of the call, such as {"caller": "+77000000001", "roaming": false}; @FILE reads it from a '
    "file, - from standard input.",
)
@click.option("--rules", "directory", metavar="DIRECTORY", help="The rules; by default those in force.")
@click.option(
    "--language", default="en", show_default=True, help="The language of the reason and of holidays: en, ru, kk."
)
@click.option("--json", "as_json", is_flag=True, help="Write the explanation as JSON.")
def explain(rule: str, call: str, directory: str | None, language: str, as_json: bool) -> None:
    """Say term by term what RULE makes of a call. What is not given is missing."""
    found = load(rules_folder(directory))
    chosen = found.rule(rule)
    row = found.row(read_call(call_text(call), found, rule))
    explanation = found.explain(rule, row, language=language)
    reason = chosen.reason.fill(language, found.reason_values(chosen, row)) if explanation.hit else ""
    if as_json:
        write_json({**_explanation(explanation), "reason": reason})
        return
    outcome = f"hit: {explanation.verdict}" if explanation.hit else "no hit"
    click.echo(f"{chosen.pack}/{chosen.id} ({explanation.stage}): {click.style(outcome, bold=True)}")
    _show_terms(explanation.terms, "  ")
    for note in explanation.exceptions:
        state = "has ended" if note.ended else "spares the call" if note.held else "does not apply"
        click.echo(f"  unless {note.name}: {state}")
        _show_terms(note.terms, "    ")
    if reason:
        click.echo(f"  reason: {reason}")


@rules.command()
@click.argument("directory", required=False)
def schema(directory: str | None) -> None:
    """Write the JSON Schemas that editors check rules with into DIRECTORY/schema/, after fields or windows changed."""
    from antifraud.features.schema import window_schema, windows_schema
    from antifraud.rulekit.schema import calendar_schema, list_schema, rule_schema

    folder = rules_folder(directory)
    fields, windows = vocabulary(folder)
    try:
        (folder / "schema").mkdir(exist_ok=True)
        rule = rule_schema(fields, windows, window_schema(own=True))
        others = {"list": list_schema(), "calendar": calendar_schema(), "windows": windows_schema()}
        for name, content in {"rule": rule, **others}.items():
            path = folder / "schema" / f"{name}.schema.json"
            path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
            click.echo(f"{path} written")
    except OSError as error:
        raise UsageError(f"{folder / 'schema'} cannot be written: {error.strerror or error}") from None


# Reading and showing


def _terms(terms: Iterable[Term]) -> list[dict[str, Any]]:
    return [{"term": term.text, "held": term.held, "depth": term.depth, "values": dict(term.values)} for term in terms]


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "rule": explanation.rule,
        "stage": explanation.stage,
        "verdict": explanation.verdict,
        "hit": explanation.hit,
        "terms": _terms(explanation.terms),
        "unless": [
            {"name": note.name, "held": note.held, "ended": note.ended, "terms": _terms(note.terms)}
            for note in explanation.exceptions
        ],
    }


def _failure(result: TestResult) -> dict[str, Any]:
    where = result.test.where
    return {
        "rule": result.rule,
        "test": result.test.name,
        "file": where.file,
        "line": where.line,
        "expected": "hit" if result.test.expect_hit else "no_hit",
        "got": "hit" if result.hit else "no_hit",
        "judged": _judged(result),
        "explanation": _explanation(result.explanation),
    }


def _judged(result: TestResult) -> dict[str, Any] | None:
    """Which call of a test with events is judged, and after how many events."""
    if result.test.stream is None:
        return None
    played = play(result.test.stream)
    event = played.events[played.judged]
    return {
        "line": played.entry.line,
        "at_s": round(event.ts - result.test.stream.starts, 3),
        "after_events": played.judged,
        "caller": event.caller_raw,
        "callee": event.callee_raw,
    }


def _show_failure(result: TestResult) -> None:
    got = "hit" if result.hit else "did not hit"
    wanted = "a hit" if result.test.expect_hit else "no hit"
    head = f"{result.test.where}: {result.pack}/{result.rule}"
    click.echo(f"{head}: {click.style('failed', fg='red')}: {result.test.name}")
    click.echo(f"  expected {wanted}, but the rule {got}")
    judged = _judged(result)
    if judged is not None:
        parties = f"{judged['caller'] or 'a caller without number'} → {judged['callee']}"
        after = count(judged["after_events"], "event")
        click.echo(f"  judged: {parties} at {_length(judged['at_s'])}, after {after} (line {judged['line']})")
    _show_terms(result.explanation.terms, "    ")
    for note in result.explanation.exceptions:
        if note.held and not note.ended:
            click.echo(f"    spared by the exception {note.name}")
    click.echo()


def _show_terms(terms: Sequence[Term], indent: str) -> None:
    width = max((len(term.text) + 2 * term.depth for term in terms), default=0)
    for term in terms:
        held = click.style(f"{_HELD[term.held]:<8}", fg=_COLOURS[term.held])
        values = ", ".join(f"{name} = {_shown(value)}" for name, value in term.values)
        line = f"{indent}{held} {'  ' * term.depth}{term.text}"
        click.echo(f"{line}{' ' * (width - len(term.text) - 2 * term.depth)}   {values}".rstrip())


def _length(seconds: float) -> str:
    """A length of time as tests write it: 3m20s."""
    rest = seconds
    shown = ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        whole, rest = divmod(rest, size)
        shown += f"{whole:.0f}{unit}" if whole else ""
    return shown + (f"{rest:g}s" if rest or not shown else "")


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return json.dumps(value, ensure_ascii=False)
