"""``antifraud rules reference``: everything that a condition can speak of, as a page to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from antifraud.cli.rules_folder import declared_windows, replace_files, rules_folder, vocabulary_files
from antifraud.rulekit import LocalText, load_fields
from antifraud.rulekit.reference import WindowRow, render_reference
from antifraud.rulekit.texts import LANGUAGES

if TYPE_CHECKING:
    from antifraud.features import WindowSpec

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


@click.command()
@click.argument("directory", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; else standard output.")
@click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="The language of the page."
)
def reference(directory: str | None, out: Path | None, language: str) -> None:
    """Write a page with all functions and operators, fields and windows of DIRECTORY (by default the rules in force).

    It is Markdown: a table for each, with types, what happens where a value is missing, and examples.
    """
    folder = rules_folder(directory)
    fields = load_fields(vocabulary_files(folder)[0])
    text = render_reference(fields, [_row(spec) for spec in declared_windows(folder).specs], language)
    if out is None:
        click.echo(text, nl=False)
        return
    replace_files([(out, text)])
    click.echo(f"{out} written")


def _row(spec: WindowSpec) -> WindowRow:
    by = ", ".join(spec.by)
    if spec.seen_by:
        by += f" → {', '.join(spec.seen_by)}"
    over = _length(spec.over_s)
    doc = LocalText(tuple(spec.doc.items()))
    return WindowRow(spec.name, spec.kind, by, over, ", ".join(_counts(spec)), doc)


def _counts(spec: WindowSpec) -> Iterator[str]:
    """The rest of a declaration, as it is written."""
    if spec.on != "setup":
        yield f"on: {spec.on}"
    for key in ("of", "to", "where", "among", "new"):
        value = getattr(spec, key)
        if value:
            yield f"{key}: {value}"
    if spec.new_within_s:
        yield f"new_within: {_length(spec.new_within_s)}"
    if spec.kind == "sequential":
        yield f"step: {spec.step}"
    if spec.cut:
        yield f"cut: {spec.cut}"


def _length(seconds: int) -> str:
    """A length of time as declarations write it; empty for none."""
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0 and (unit != "d" or seconds > size))
    return f"{seconds // size}{unit}" if seconds else ""
