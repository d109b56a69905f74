"""``antifraud model compare``: the model in force and its challenger on the calls of a journal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from antifraud.domain import UsageError

_ROWS: Final = (
    ("stopped by the model", "stopped_by_model"),
    ("stopped by the challenger", "stopped_by_challenger"),
    ("  only by the model", "stopped_only_by_model"),
    ("  only by the challenger", "stopped_only_by_challenger"),
    ("blocked only by the model", "blocked_only_by_model"),
    ("blocked only by the challenger", "blocked_only_by_challenger"),
    ("another verdict", "verdict_differs"),
)


@click.command()
@click.option("--journal", type=click.Path(path_type=Path), metavar="DIR", help="By default that of the configuration.")
@click.option("--since", default="", metavar="YYYY-MM-DD", help="The first day.")
@click.option("--until", default="", metavar="YYYY-MM-DD", help="The last day.")
@click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def compare(journal: Path | None, since: str, until: str, config_dir: str, as_json: bool) -> None:
    """Say how often the model in force and its challenger differ, about which callers, and how certain that is.

    Both as if all were enforced. Whether those whom only one of them stops are fraud, people have to find out: the
    decisions that are named can be looked up in the journal.
    """
    first, last = _day(since, "--since"), _day(until, "--until")
    from antifraud.journal import read_journal
    from antifraud.scoring.challenge import Duel

    if journal is None:
        from antifraud.cli.assembly import read_settings

        journal = read_settings({"config_dir": config_dir}).journal_dir
    duel = Duel()
    for decision in read_journal(journal, first, last):
        duel.add(decision)
    report = duel.report()
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _say(msgspec.to_builtins(report))


def _day(text: str, option: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{option} {text[:40]!r} is no day", hint="write YYYY-MM-DD") from None


def _say(report: Mapping[str, Any]) -> None:
    click.echo(
        f"{report['model'] or 'rules alone'} and its challenger {report['challenger']}: {report['calls']:,} calls of "
        f"{report['callers']:,} callers"
    )
    if report["left_out"]:
        click.echo(f"left out: {report['left_out']:,} decisions that are repeated or were not made by these two")
    for title, key in _ROWS:
        click.echo(f"  {title:<32} {_part(report[key])}")
    click.echo("\nby class of caller: stopped only by the model, only by the challenger")
    for part in report["classes"]:
        name = part["class"] or "(none)"
        only = f"{_part(part['stopped_only_by_model'])}; {_part(part['stopped_only_by_challenger'])}"
        click.echo(f"  {name:<18} {part['calls']:>12,} calls  {only}")
    for who in ("model", "challenger"):
        named = [one["decision"] for one in report["examples"][f"stopped_only_by_{who}"]]
        if named:
            click.echo(f"\nstopped only by the {who}, the first of them: {', '.join(named)}")
    click.echo("\nstopped: diverted or blocked; in brackets 95 % intervals, over whole callers")


def _part(part: Mapping[str, Any]) -> str:
    share = part["share"]
    if share["value"] is None or share["value"] != share["value"]:
        return "-"
    return f"{part['calls']:,}: {share['value']:.1e} ({share['low']:.1e} to {share['high']:.1e})"
