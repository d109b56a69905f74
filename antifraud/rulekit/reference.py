"""The reference of the language as Markdown: what conditions are made of, every field and fact, every window.

docs/reference/fields-and-windows.md is made by it; ``antifraud rules reference`` makes one of any rules directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from antifraud.rulekit.fields import Field
from antifraud.rulekit.language import LANGUAGE, PARAMS, Construct, Given
from antifraud.rulekit.texts import LocalText

_TYPES: Final = {"text": "text", "number": "number", "bool": "yes/no"}
_HEAD: Final = """\
# Fields, windows, functions

What a condition can speak of. How rules are written around it is in [rules and their language](rule-language.md).
"""
_FIELDS: Final = """\
## Fields and facts

What is known of one call. *From* says at which event: a rule judges the setup of a call, so it can read only what is
known at *setup*; the condition of a window also what its own event carries (`on: release`). A value that is not known
is missing.
"""
_WINDOWS: Final = """\
## Windows

Numbers over the past, known when a call is set up; [what they count exactly](windows.md). The present call is not
counted. *By* says whose past it is (`a → b`: kept of a, looked up for b), *over* how far it looks back.
"""


class WindowRow(msgspec.Struct, frozen=True):
    """A window as the reference shows it: texts that stand in the table as they are."""

    name: str
    kind: str
    by: str
    over: str
    counts: str
    doc: LocalText


def render_reference(fields: Mapping[str, Field], windows: Iterable[WindowRow], language: str = "en") -> str:
    """The whole reference. ``language`` is that of the meanings of fields and windows."""
    parts = [_HEAD, "## Conditions\n"]
    for subject, constructs in LANGUAGE.items():
        parts += [f"### {subject}\n", _constructs(constructs)]
    parts += [_FIELDS, _table(("field", "type", "from", "meaning"), _field_rows(fields.values(), language))]
    rows = [
        (f"`{row.name}`", row.kind, row.by, row.over, f"`{row.counts}`" if row.counts else "", row.doc.get(language))
        for row in windows
    ]
    parts += [_WINDOWS, _table(("window", "kind", "by", "over", "counts", "meaning"), rows)]
    return "\n".join(parts)


def _constructs(constructs: Iterable[Construct]) -> str:
    rows = [
        (
            f"`{item.written}`",
            item.takes,
            item.meaning,
            item.missing,
            f"{_example(item)} is {'; '.join(_case(given, held) for given, held in item.cases)}",
        )
        for item in constructs
    ]
    return _table(("written", "takes", "is true when", "where a value is missing", "example"), rows)


def _example(item: Construct) -> str:
    declared = [f"{name}: {value}" for name, value in PARAMS.items() if f"params.{name}" in item.example]
    return f"`{item.example}` (`{', '.join(declared)}`)" if declared else f"`{item.example}`"


def _case(given: Given, held: bool | None) -> str:
    word = "unknown" if held is None else "true" if held else "false"
    if not given:
        return f"{word} when it is missing"
    if "ts" in given:
        return f"{word} at {_MOMENTS[float(given['ts'])]}"
    return f"{word} with {', '.join(f'{name} {_shown(value)}' for name, value in given.items())}"


def _shown(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


_MOMENTS: Final = {
    1_767_268_800.0: "2026-01-01 17:00",
    1_767_290_400.0: "2026-01-01 23:00",
    1_767_441_600.0: "Saturday 2026-01-03 17:00",
    4_102_444_800.0: "2100-01-01",
}


def _field_rows(fields: Iterable[Field], language: str) -> Iterator[tuple[str, ...]]:
    for field in fields:
        values = f"; one of: {', '.join(f'`{value}`' for value in field.values)}" if field.values else ""
        yield f"`{field.name}`", _TYPES[field.type], field.since, field.doc.get(language) + values
    yield "`score`", "number", "setup", "the score of the model, 0 to 1; missing without a model"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(part) for part in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
