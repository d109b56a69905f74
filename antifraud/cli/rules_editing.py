"""``antifraud rules fmt`` and ``new``: files in canonical form, and the beginning of a new one."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from antifraud.cli.rules_folder import (
    count,
    only_one,
    problem_fields,
    replace_files,
    rules_folder,
    show_problems,
    vocabulary,
    write_json,
)
from antifraud.domain import Problem, UsageError
from antifraud.rulekit import lists
from antifraud.rulekit.documents import Sheet, read_sheet
from antifraud.rulekit.form import good_name
from antifraud.rulekit.layout import layout_file
from antifraud.rulekit.messages import did_you_mean
from antifraud.rulekit.rule import VERDICTS
from antifraud.rulekit.skeleton import skeleton

_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("places", nargs=-1, metavar="[DIRECTORY | FILE]…")
@click.option("--check", is_flag=True, help="Change nothing; show what would change, and fail if anything would.")
@click.option("--json", "as_json", is_flag=True, help="Write as JSON which files are not in form.")
@click.pass_context
def fmt(context: click.Context, places: tuple[str, ...], check: bool, as_json: bool) -> None:
    """Bring rule and list files into their canonical form (by default those of the rules in force).

    The order of keys, quotes, indentation and line breaks become the same everywhere, and each term of a condition
    gets its own line. What a file says stays the same, and no comment is lost. A - in place of a file reads one from
    standard input and writes it to standard output, for editors.

    Exit code 0: done; 1: a file cannot be read, or, with --check, is not in form; 2: used wrongly.
    """
    if places == ("-",):
        _standard_input(context)
        return
    changed: list[str] = []
    problems: list[Problem] = []
    files = list(_files(places))
    for path in files:
        sheet, raw = read_sheet(path, limit=lists.MAX_BYTES)
        text = layout_file(sheet)
        if text is None:
            problems += sheet.sorted_problems()
        elif raw != text.encode():
            changed.append(str(path))
            if check and not as_json:
                _show_difference(path, raw.decode("utf-8", "replace"), text)
            elif not check:
                replace_files([(path, text)])
                if not as_json:
                    click.echo(f"{path} brought into form")
    if as_json:
        shown = [problem_fields(problem) for problem in problems]
        write_json({"files": len(files), "changed": changed, "problems": shown})
    else:
        show_problems(problems)
        verb = "is not in form" if len(changed) == 1 else "are not in form"
        done = f"{count(len(changed), 'file')} {verb if check else 'changed'}"
        failed = f", {count(len(problems), 'problem')}" if problems else ""
        click.echo(f"{done} of {len(files)}{failed}" if changed else f"{count(len(files), 'file')} in form{failed}")
    context.exit(1 if problems or (check and changed) else 0)


def _standard_input(context: click.Context) -> None:
    sheet = Sheet("standard input", sys.stdin.read(lists.MAX_BYTES).replace("\r\n", "\n"))
    text = layout_file(sheet)
    if text is None:
        for problem in sheet.sorted_problems():
            click.echo(problem.render(), err=True)
    else:
        click.echo(text, nl=False)
    context.exit(1 if text is None else 0)


def _files(places: tuple[str, ...]) -> Iterator[Path]:
    """The rule and list files at some places, in order."""
    for place in [Path(place) for place in places] or [rules_folder(None)]:
        if place.is_file():
            yield place
        elif (place / "packs").is_dir():
            yield from sorted([*place.glob("packs/*/*.yaml"), *place.glob("lists/*.yaml")])
        elif place.is_dir():
            yield from sorted(place.glob("*.yaml"))
        else:
            raise UsageError(f"{place} does not exist", hint="name a rules directory, a pack, or files")


def _show_difference(path: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} (as it is)", f"{path} (in form)", n=1, lineterm=""
    )
    for line in lines:
        click.echo(click.style(line, fg=_COLOURS.get(line[:1])))
    click.echo()


@click.command()
@click.argument("name")
@click.option("--pack", required=True, help="The folder below packs that it goes into.")
@click.option("--verdict", type=click.Choice(VERDICTS), default="label", show_default=True, help="What a hit means.")
@click.option("--owner", default="TODO who answers for this rule", help="Who answers for it.")
@click.option("--rules", "directory", metavar="DIRECTORY", help="The rules; by default those in force.")
@click.option("--json", "as_json", is_flag=True, help="Write where it is as JSON.")
def new(name: str, pack: str, verdict: str, owner: str, directory: str | None, as_json: bool) -> None:
    """Begin the rule NAME: write a file that is a draft, passes lint, and says what is still to be written."""
    folder = rules_folder(directory)
    _check_name(name, "a rule", hyphens=False)
    _check_name(pack, "a pack", hyphens=True)
    packs = folder / "packs"
    for other in sorted(packs.glob("*/*.yaml")):
        if other.stem == name:
            raise UsageError(f"there is a rule {name} already: {other}", hint="choose another name, or change that one")
    known = sorted(path.name for path in packs.iterdir() if path.is_dir()) if packs.is_dir() else []
    fields, windows = vocabulary(folder)
    text = skeleton(name, verdict, owner, fields, windows, schema=(folder / "schema").is_dir())
    path = packs / pack / f"{name}.yaml"
    with only_one(folder):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path.parent} cannot be made: {error.strerror or error}") from None
        replace_files([(path, text)])
    if as_json:
        write_json({"rule": name, "pack": pack, "file": str(path), "new_pack": pack not in known})
        return
    click.echo(f"{path} written")
    if pack not in known:
        near = did_you_mean(pack, known, " ") if known else ""
        click.echo(f"    the pack {pack} is new{f'; {near}' if near.strip() else ''}")
    where = f" {folder}" if directory else ""
    click.echo("    it is a draft: nothing happens to any call")
    click.echo("    write what the TODOs ask for, and look at it with:")
    click.echo(f"    antifraud rules lint{where}    antifraud rules test{where} --rule {name}")


def _check_name(name: str, what: str, *, hyphens: bool) -> None:
    if not good_name(name, pack=hyphens):
        more = ", _ and -" if hyphens else " and _"
        raise UsageError(
            f"{name} cannot be the name of {what}",
            hint=f"use small Latin letters, digits{more}, beginning with a letter",
        )
