"""``antifraud config``: check the configuration, show what holds and where it was said, compare, write the schemas."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from antifraud.cli.fail_policy import fail_policy
from antifraud.cli.rule_parameters import check_rule_parameters
from antifraud.domain import AntifraudError, Location, Problem, UsageError
from antifraud.settings import Settings, Value, load_settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MAX_NAME: Final = 44
_MAX_VALUE: Final = 48


@click.group()
def config() -> None:
    """Check and show the configuration."""


def _common(command: _Command) -> _Command:
    """The options that every command on one configuration has."""
    command = click.option("--json", "as_json", is_flag=True, help="Write JSON.")(command)
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SETTING=VALUE",
        help="Override a setting, as engine.max_batch=64.",
    )(command)
    return click.option(
        "--config", "directory", type=click.Path(path_type=Path), help="Directory of the configuration."
    )(command)


def _overrides(assignments: Sequence[str]) -> dict[str, object]:
    overrides: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r} has no =", hint="write --set engine.max_batch=64")
        overrides[name.strip()] = value
    return overrides


@config.command()
@_common
def validate(directory: Path | None, assignments: tuple[str, ...], as_json: bool) -> None:
    """Check every file, environment variable and --set; all problems are shown at once.

    What regions set of the rules' parameters is checked against the rules directory in force.

    Ends with 0 when all is well and with 2 when there are problems.
    """
    try:
        settings = load_settings(directory, overrides=_overrides(assignments))
        check_rule_parameters(settings)
        settings.speaker()
    except AntifraudError as error:
        if as_json:
            click.echo(_json({"ok": False, "problems": [_problem(one) for one in error.problems], "notes": []}))
        else:
            click.echo(error.render(), err=True)
            count = len(error.problems)
            click.echo(f"{count} problem{'s' if count != 1 else ''}", err=True)
        sys.exit(error.exit_code)
    if as_json:
        notes = [_problem(one) for one in settings.notes]
        click.echo(_json({"ok": True, "problems": [], "notes": notes, "config": str(settings.config_dir)}))
        return
    for note in settings.notes:
        click.echo(f"note: {note.render()}", err=True)
    ceilings = _count(region.policy.ceiling for region in settings.regions.values())
    click.echo(
        f"{settings.config_dir}: shard {settings.shard}, {len(settings.regions)} regions ({ceilings}), "
        f"{len(settings.switches)} switches, {len(settings.trunks)} trunk families: no problems"
    )


def _count(words: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    order = ("block", "divert", "challenge", "label", "shadow", "off")
    return ", ".join(f"{counts[word]} {word}" for word in order if word in counts)


@config.command()
@_common
@click.option("--region", metavar="CODE", help="What holds in this region, such as KZ-75.")
def show(directory: Path | None, assignments: tuple[str, ...], as_json: bool, region: str | None) -> None:
    """Show the effective settings and where each was said; passwords are masked."""
    settings = load_settings(directory, overrides=_overrides(assignments))
    code = _region_code(settings, region) if region is not None else None
    values = settings.values(code)
    if as_json:
        shown: dict[str, Any] = {"config": str(settings.config_dir), "shard": settings.shard}
        if code is not None:
            found = settings.regions[code]
            name = {"en": found.name.en, "kk": found.name.kk, "ru": found.name.ru}
            shown |= {"region": code, "name": name, "switches": list(found.switches)}
        else:
            shown["regions"] = {one: item.policy.ceiling for one, item in sorted(settings.regions.items())}
        shown["values"] = {value.name: {"value": value.value, "where": _place(value.where)} for value in values}
        click.echo(_json(shown))
        return
    if code is not None:
        found = settings.regions[code]
        click.echo(_strong(f"{code}  {found.name.en} · {found.name.ru} · {found.name.kk}"))
        click.echo(f"switches: {', '.join(found.switches) or 'none'}")
        click.echo()
    _table([(value.name, _shown(value.value), str(value.where)) for value in values])
    if code is None:
        click.echo()
        _table(
            [
                (
                    one,
                    f"{item.policy.ceiling:<9}  {item.name.en}",
                    f"{item.policy.desk.target or 'no desk'}",
                )
                for one, item in sorted(settings.regions.items())
            ]
        )


@config.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--config", "directory", type=click.Path(path_type=Path), help="Directory of the configuration of regions."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option("--exit-code", is_flag=True, help="End with 1 when there are differences.")
def diff(a: str, b: str, directory: Path | None, as_json: bool, exit_code: bool) -> None:
    """Show what differs between two regions (KZ-75 KZ-71) or two directories of configuration."""
    if Path(a).is_dir() != Path(b).is_dir():
        missing = b if Path(a).is_dir() else a
        raise UsageError(f"{missing} is no directory", hint="name two regions or two directories of configuration")
    if Path(a).is_dir():
        rows = _compare(_everything(load_settings(a)), _everything(load_settings(b)))
    else:
        settings = load_settings(directory)
        left, right = (_region_code(settings, code) for code in (a, b))
        rows = _compare(_by_name(settings.values(left)), _by_name(settings.values(right)))
    if as_json:
        click.echo(_json([_difference(name, before, after) for name, before, after in rows]))
    elif not rows:
        click.echo("no differences")
    else:
        _table(
            [
                (
                    name,
                    f"{_side(before)} → {_side(after)}",
                    " → ".join(str(value.where) for value in (before, after) if value is not None),
                )
                for name, before, after in rows
            ]
        )
    if rows and exit_code:
        sys.exit(1)


@config.command()
@click.option(
    "--write", "directory", type=click.Path(path_type=Path), help="Write the schema files into this directory."
)
def schema(directory: Path | None) -> None:
    """Print the JSON schemas of default.yaml and of a region's file, or write them: --write config/schema."""
    from antifraud.settings.jsonschema import FILES, render_schema

    for name, structure in FILES.items():
        text = render_schema(structure)
        if directory is None:
            click.echo(text, nl=False)
            continue
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{directory / name} cannot be written: {error.strerror or error}") from None
        click.echo(str(directory / name))


config.add_command(fail_policy)


@config.command()
@click.option("--region", required=True, metavar="CODE", help="The region whose card is signed, such as KZ-75.")
@click.option("--config", "directory", type=click.Path(path_type=Path), help="Directory of the configuration.")
def card(region: str, directory: Path | None) -> None:
    """Print the signed card of a region (RFC 8688), to be published at its redress.card_url.

    Its time of issue is now; publish a new one from time to time, once a day for example.
    """
    import time

    settings = load_settings(directory)
    code = _region_code(settings, region)
    signer = settings.signer(code)
    if signer is None:
        raise UsageError(f"{code} signs no card", hint="set policy.redress.key_file, name, and url, tel or email")
    click.echo(signer.token(int(time.time())))


def _region_code(settings: Settings, text: str) -> str:
    """The region that ``text`` names, in capitals or not; UsageError with a suggestion."""
    code = text.upper()
    if code in settings.regions:
        return code
    from antifraud.settings.check import closest

    near = closest(code, (known.lower() for known in settings.regions)).upper()
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(sorted(settings.regions))}"
    raise UsageError(f"there is no region {text}", hint=hint)


def _by_name(values: Iterable[Value]) -> dict[str, Value]:
    return {value.name: value for value in values}


def _everything(settings: Settings) -> dict[str, Value]:
    """Every effective value of the shard and of every region."""
    found = _by_name(settings.values())
    for code in sorted(settings.regions):
        found.update({f"{code}: {value.name}": value for value in settings.values(code)})
    return found


def _compare(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[tuple[str, Value | None, Value | None]]:
    names = [*before, *(name for name in after if name not in before)]
    rows = ((name, before.get(name), after.get(name)) for name in names)
    return [row for row in rows if row[1] is None or row[2] is None or row[1].value != row[2].value]


def _difference(name: str, before: Value | None, after: Value | None) -> dict[str, Any]:
    return {
        "setting": name,
        "a": None if before is None else {"value": before.value, "where": _place(before.where)},
        "b": None if after is None else {"value": after.value, "where": _place(after.where)},
    }


def _side(value: Value | None) -> str:
    return "not there" if value is None else _shown(value.value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return ", ".join(" ".join(str(part) for part in item.values()) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _table(rows: Sequence[tuple[str, str, str]]) -> None:
    """Three columns; a long entry pushes the rest of its own line only."""
    first = min(_MAX_NAME, max((len(row[0]) for row in rows), default=0))
    second = min(_MAX_VALUE, max((len(row[1]) for row in rows), default=0))
    for name, value, where in rows:
        click.echo(f"{name:<{first}}  {value:<{second}}  {click.style(where, dim=True)}".rstrip())


def _strong(text: str) -> str:
    return click.style(text, bold=True)


def _place(where: Location) -> dict[str, Any]:
    return {"file": where.file, "line": where.line or None, "column": where.column or None}


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "message": problem.message,
        "where": None if problem.where is None else _place(problem.where),
        "hint": problem.hint,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
