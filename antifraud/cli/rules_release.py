"""``antifraud rules diff``, ``lock`` and ``promote``: what changes, what was decided, and the next stage of a rule."""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import click
import msgspec

from antifraud.cli.rules_folder import (
    count,
    load,
    load_lock,
    only_one,
    problem_fields,
    refuse,
    replace_files,
    rules_folder,
    start_of_day,
    vocabulary_files,
    write_json,
)
from antifraud.cli.rules_replay import replay_of
from antifraud.domain import AntifraudError, Location, Problem, Stage, UsageError
from antifraud.rulekit import RuleSet
from antifraud.rulekit.comparison import LEVELS, Change, Comparison, ItemChange, compare, declarations
from antifraud.rulekit.condition_layout import layout_condition
from antifraud.rulekit.context_comparison import Regions, compare_calendars, compare_fields, compare_regions
from antifraud.rulekit.documents import Sheet, parse_sheet, read_sheet
from antifraud.rulekit.evaluation import shown_value
from antifraud.rulekit.lock import FILE as LOCK_FILE
from antifraud.rulekit.lock import LockEntry, content_of, write_lock
from antifraud.rulekit.promotion import Decision, check_locking, check_promotion, decided, milder, with_rollout
from antifraud.rulekit.rule import LIVE, STAGES, Rule, read_rule
from antifraud.rulekit.sources import RuleSources

_COLOURS: Final = {"major": "red", "minor": "yellow", "patch": "green"}
_MOST_BYTES: Final = 256 * 1024 * 1024
_MOST_WINDOWS: Final = 4 * 1024 * 1024


# diff


@click.command()
@click.argument("before")
@click.argument("after", required=False)
@click.option("--fail-on", type=click.Choice(LEVELS), help="Exit with 1 when something is as grave as this, or graver.")
@click.option("--today", metavar="DATE", help="What had ended before this day does not count; by default today.")
@click.option(
    "--regions",
    nargs=2,
    metavar="BEFORE AFTER",
    help="Also the parameters that regions have set: two configurations, or states in git such as HEAD~1:config.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the differences as JSON.")
@click.pass_context
def diff(
    context: click.Context,
    before: str,
    after: str | None,
    fail_on: str | None,
    today: str | None,
    regions: tuple[str, str] | None,
    as_json: bool,
) -> None:
    """Say what is different from BEFORE to AFTER, and how grave it is.

    Each is a rules directory or a state in git, such as HEAD~1:rules; AFTER is by default the rules in force.

    major: calls can be diverted or blocked that were not before. minor: calls can be labelled or challenged that were
    not, or it is only recorded. patch: neither. What cannot be proven counts as the graver one.
    """
    now = start_of_day(today)
    with _state(before) as (old, old_windows), _state(after) as (new, new_windows):
        found = compare(old, new, now=now, windows=(old_windows, new_windows))
        found = msgspec.structs.replace(
            found,
            fields=tuple(compare_fields(old, new)),
            calendars=tuple(compare_calendars(old, new)),
            regions=tuple(compare_regions(old, new, *map(_regions, regions))) if regions else (),
        )
    if as_json:
        write_json(
            {
                "before": before,
                "after": after or str(rules_folder(None)),
                "level": found.level,
                **{f"{kind}s": [_item(kind, item) for item in items] for kind, items in found.kinds},
            }
        )
    else:
        _show(found)
    grave = found.level is not None and fail_on is not None and LEVELS.index(found.level) >= LEVELS.index(fail_on)
    context.exit(1 if grave else 0)


@contextlib.contextmanager
def _state(place: str | None) -> Iterator[tuple[RuleSet, dict[str, str]]]:
    """The rules and the declarations of windows at a place: a directory, or a folder in git."""
    if place is None or Path(place).is_dir():
        yield _read(rules_folder(place))
        return
    with _fetched(place, "rules") as folder:
        yield _read(folder)


def _regions(place: str) -> Regions:
    """The parameters that each region has set in the configuration at a place."""
    from antifraud.settings import load_settings

    def read(folder: Path) -> Regions:
        policy = load_settings(folder, env={}).policy()
        return {code: region.params for code, region in policy.regions.items()}

    if Path(place).is_dir():
        return read(Path(place))
    with _fetched(place, "config") as folder:
        return read(folder)


@contextlib.contextmanager
def _fetched(place: str, what: str) -> Iterator[Path]:
    """A folder with what git has at a place; problems found in it are said of that place."""
    with tempfile.TemporaryDirectory(prefix=f"antifraud-{what}-") as name:
        shown = place if ":" in place else f"{place}:{what}"
        folder = Path(name).resolve()
        _fetch(shown, folder)
        try:
            yield folder
        except AntifraudError as error:
            problems = [_elsewhere(problem, f"{folder}/", f"{shown}/") for problem in error.problems]
            raise type(error).of(problems) from None


def _read(folder: Path) -> tuple[RuleSet, dict[str, str]]:
    sheet, _raw = read_sheet(vocabulary_files(folder)[1], limit=_MOST_WINDOWS)
    rules = load(folder)
    sources = RuleSources()
    own = {
        f"{rule.id}.{name}": node
        for rule in rules.rules
        if any("." in window for window in rule.windows)
        for name, node in sources(rule).own_windows().items()
    }
    return rules, declarations(parse_sheet(sheet, max_nodes=100_000), own)


def _elsewhere(problem: Problem, here: str, there: str) -> Problem:
    """The problem with the file's name as the person gave it."""
    if problem.where is None:
        return problem
    where = problem.where
    file = there + where.file.removeprefix(here) if where.file.startswith(here) else where.file
    return msgspec.structs.replace(problem, where=Location(file, where.line, where.column))


def _fetch(state: str, folder: Path) -> None:
    """Write what git has under ``state`` (revision:path) into ``folder``."""
    if state.startswith("-"):
        raise UsageError(f"{state} is neither a directory nor a state in git")
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and what begins with a hyphen was refused
            ["git", "archive", "--format=tar", state],  # noqa: S607 - the git of whoever calls
            capture_output=True,
            timeout=120,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(f"{state} is no directory, and there is no git here to look for it") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git did not answer about {state}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        hint = "name a rules directory, or a state such as HEAD~1:rules"
        raise UsageError(
            f"{state} is neither a directory nor a state in git ({said[0] if said else 'no answer'})", hint=hint
        )
    if len(done.stdout) > _MOST_BYTES:
        raise UsageError(f"{state} is larger than rules can be")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and not path.is_absolute() and ".." not in path.parts:
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())


def _item(what: str, item: ItemChange) -> dict[str, Any]:
    pack = {"pack": item.pack} if what == "rule" else {}
    changes = [
        {
            "what": change.what,
            "level": change.level,
            "words": change.words,
            "before": change.before,
            "after": change.after,
        }
        for change in item.changes
    ]
    return {what: item.name, **pack, "kind": item.kind, "level": item.level, "changes": changes}


def _show(found: Comparison) -> None:
    for what, items in found.kinds:
        for item in items:
            named = item.name if item.name == what else f"{what} {item.name}"
            name = f"{item.pack}/{item.name}" if item.pack else named
            click.echo(f"{_level(item.level)}  {name}")
            for change in item.changes:
                _show_change(change)
            click.echo()
    if found.level is None:
        click.echo("nothing is different")
        return
    numbers = [count(len(items), what) for what, items in found.kinds if items]
    click.echo(f"{', '.join(numbers)} different: {click.style(found.level, fg=_COLOURS[found.level], bold=True)}")


def _level(level: str) -> str:
    return click.style(level, fg=_COLOURS[level])


def _show_change(change: Change) -> None:
    click.echo(f"  {_level(change.level)}  {change.what}: {change.words}")
    if change.what in ("condition", "window") or change.what.startswith("exception "):
        before, after = (layout_condition(text, 100) if text else [] for text in (change.before, change.after))
    else:
        before, after = ([text] if text else [] for text in (change.before, change.after))
    if change.what in ("rule", "tests"):
        return
    for line in difflib.ndiff(before, after):
        if line[0] in "+-":
            click.echo("           " + click.style(line.rstrip(), fg="green" if line[0] == "+" else "red"))


# lock and promote


def _decision(by: str, why: str, approvals: tuple[str, ...]) -> Decision:
    for option, text in (("--by", by), ("--why", why)):
        if not text.strip():
            raise UsageError(f"{option} is empty", hint="say who decides, and why; people will read it")
    now = dt.datetime.now(dt.UTC)
    when = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Decision(_line(by), _line(why), tuple(map(_line, approvals)), when, start_of_day(now.date().isoformat()))


def _line(text: str) -> str:
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())


_BY: Final = click.option("--by", required=True, metavar="NAME", help="Who decides this.")
_WHY: Final = click.option("--why", required=True, metavar="TEXT", help="Why, in a sentence; it goes into rules.lock.")
_APPROVED: Final = click.option(
    "--approved-by",
    "approvals",
    multiple=True,
    metavar="NAME",
    help="Who else has read it; may be given several times.",
)


@click.command()
@click.argument("directory", required=False)
@click.option("--rule", "chosen", multiple=True, metavar="RULE", help="Only this rule; may be given several times.")
@_BY
@_WHY
@_APPROVED
@click.option("--json", "as_json", is_flag=True, help="Write what was done, or what stands against it, as JSON.")
@click.pass_context
def lock(
    context: click.Context,
    directory: str | None,
    chosen: tuple[str, ...],
    by: str,
    why: str,
    approvals: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write into rules.lock that what rules decide has changed: their versions are counted up, their stages stay.

    The first time, it takes over every rule that is not a draft as it stands. What is in force must pass its tests,
    and what is at enforce must have been read by somebody else (--approved-by).

    Exit code 0: done; 1: something stands against it; 2: used wrongly.
    """
    folder = rules_folder(directory)
    decision = _decision(by, why, approvals)
    path = folder / LOCK_FILE
    with only_one(folder):
        found = load(folder)
        known = load_lock(folder)
        rules = [found.rule(name) for name in chosen] if chosen and known is not None else list(found.rules)
        replay = replay_of(folder, found)
        locking, problems = check_locking(found, rules, known, RuleSources(), decision, str(path), replay)
        done = bool(locking.added or locking.changed or locking.removed) or known is None
        if not problems and done:
            replace_files([(path, write_lock(locking.lock))])
    if as_json:
        write_json(
            {
                "lock": str(path),
                "added": list(locking.added),
                "changed": list(locking.changed),
                "removed": list(locking.removed),
                "problems": [problem_fields(problem) for problem in problems],
            }
        )
    elif problems:
        refuse(problems)
    elif not done:
        click.echo("nothing that rules decide has changed")
    else:
        for words, names in (("new", locking.added), ("changed", locking.changed), ("removed", locking.removed)):
            for name in names:
                version = f", version {locking.lock[name].version}" if name in locking.lock else ""
                click.echo(f"{name}: {words}{version}")
        click.echo(f"{path} written; commit it together with the rules")
    context.exit(1 if problems else 0)


@click.command()
@click.argument("rule")
@click.option("--to", "stage", required=True, type=click.Choice(STAGES), help="The stage that it is to have.")
@_BY
@_WHY
@_APPROVED
@click.option(
    "--percent",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="The share of callers of a canary, such as 5.",
)
@click.option("--rules", "directory", metavar="DIRECTORY", help="The rules; by default those in force.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done, or what stands against it, as JSON.")
@click.pass_context
def promote(
    context: click.Context,
    rule: str,
    stage: str,
    by: str,
    why: str,
    approvals: tuple[str, ...],
    percent: float | None,
    directory: str | None,
    as_json: bool,
) -> None:
    """Take RULE to another stage: draft, shadow, canary, enforce, one step at a time; or back to any milder one.

    On the way up, its tests must pass and prove every term, nothing may say TODO, its review must not be overdue, and
    what goes to enforce must have been read by somebody else (--approved-by). Back goes always.

    Exit code 0: done; 1: something stands against it; 2: used wrongly.
    """
    folder = rules_folder(directory)
    decision = _decision(by, why, approvals)
    to = Stage(stage)
    if percent is not None and to is not Stage.CANARY:
        raise UsageError(f"--percent goes with --to canary, not with --to {stage}")
    with only_one(folder):
        found = load(folder)
        chosen = found.rule(rule)
        share = percent if percent is not None else chosen.percent if chosen.stage is Stage.CANARY else None
        if to is Stage.CANARY and share is None:
            raise UsageError("a canary needs --percent", hint="begin with a small share of the callers: --percent 5")
        share = share if share is not None and to is Stage.CANARY else 100.0
        known = load_lock(folder)
        sources = RuleSources()
        replay = replay_of(folder, found)
        problems: list[Problem] = [*check_promotion(found, chosen, known, sources, to, share, decision, replay)]
        entry: LockEntry | None = None
        before = chosen.stage
        if not problems:
            assert known is not None, "without a lock there is a problem"
            source = sources(chosen)
            old = known.get(rule)
            before = old.stage if old is not None else before
            text = with_rollout(source, to, share, decision.by)
            problems = _refused_by_reader(chosen, text, found)
            entry = decided(content_of(chosen, source), old, to, share, decision, chosen.false_hits_per_million)
            if not problems:
                file, locked = (Path(chosen.where.file), text), (folder / LOCK_FILE, write_lock({**known, rule: entry}))
                # Should the machine stop between the two, the milder of both states is left.
                replace_files([file, locked] if milder(to, chosen.stage) else [locked, file])
    if as_json:
        write_json(
            {
                "rule": rule,
                "from": before.value,
                "to": stage,
                "percent": share if to is Stage.CANARY else None,
                "version": entry.version if entry is not None and not problems else None,
                "file": chosen.where.file,
                "problems": [problem_fields(problem) for problem in problems],
            }
        )
    elif problems or entry is None:
        refuse(problems)
    else:
        shown = f"{stage} {shown_value(share)} %" if to is Stage.CANARY else stage
        click.echo(f"{chosen.pack}/{rule}: {before.value} → {shown}, version {entry.version}")
        click.echo(f"    {chosen.where.file} and {folder / LOCK_FILE} written; commit them together")
        if any("." in window for window in chosen.windows) and (to in LIVE) != (before in LIVE):
            click.echo("    restart the engine: the rule has windows of its own, and a running one keeps those it has")
        else:
            click.echo("    a running engine takes it in a few seconds (engine.watch_rules_s), or when told to reload")
    context.exit(1 if problems else 0)


def _refused_by_reader(rule: Rule, text: str, rules: RuleSet) -> list[Problem]:
    """What the reader of rules would say of the edited file."""
    sheet = Sheet(rule.where.file, text)
    read_rule(sheet, rule.pack, rule.id, rules.names)
    return list(sheet.sorted_problems())
