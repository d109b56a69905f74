"""The reference of the language as Markdown: what conditions are made of, every field and fact, every window.

docs/reference/fields-and-windows.md is made by it; ``antifraud rules reference`` makes one of any rules directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from antifraud.rulekit.fields import Field
from antifraud.rulekit.language import LANGUAGE, PARAMS, Construct, Given
from antifraud.rulekit.reference_texts import CONDITIONS, FIELDS, HEAD, SCORE, WINDOWS, said
from antifraud.rulekit.texts import LocalText

_TYPES: Final = {"text": "text", "number": "number", "bool": "yes/no"}


class WindowRow(msgspec.Struct, frozen=True):
    """A window as the reference shows it: texts that stand in the table as they are."""

    name: str
    kind: str
    by: str
    over: str
    counts: str
    doc: LocalText


def render_reference(fields: Mapping[str, Field], windows: Iterable[WindowRow], language: str = "en") -> str:
    """The whole reference in ``language`` (en, ru, kk)."""
    parts = [said(HEAD, language), said(CONDITIONS, language)]
    for subject, constructs in LANGUAGE.items():
        parts += [f"### {said(subject, language)}\n", _constructs(constructs, language)]
    head = ("field", "type", "from", "meaning")
    parts += [said(FIELDS, language), _table(head, _field_rows(fields.values(), language), language)]
    rows = [
        (f"`{row.name}`", row.kind, row.by, row.over, f"`{row.counts}`" if row.counts else "", row.doc.get(language))
        for row in windows
    ]
    head_of_windows = ("window", "kind", "by", "over", "counts", "meaning")
    parts += [said(WINDOWS, language), _table(head_of_windows, rows, language)]
    return "\n".join(parts)


def _constructs(constructs: Iterable[Construct], language: str) -> str:
    rows = [
        (
            f"`{item.written}`",
            said(item.takes, language),
            said(item.meaning, language),
            said(item.missing, language),
            said("{example} is {cases}", language).format(
                example=_example(item), cases="; ".join(_case(given, held, language) for given, held in item.cases)
            ),
        )
        for item in constructs
    ]
    return _table(("written", "takes", "is true when", "where a value is missing", "example"), rows, language)


def _example(item: Construct) -> str:
    declared = [f"{name}: {value}" for name, value in PARAMS.items() if f"params.{name}" in item.example]
    return f"`{item.example}` (`{', '.join(declared)}`)" if declared else f"`{item.example}`"


def _case(given: Given, held: bool | None, language: str) -> str:
    word = said("unknown" if held is None else "true" if held else "false", language)
    if not given:
        return said("{held} when it is missing", language).format(held=word)
    if "ts" in given:
        moment = said(MOMENTS[float(given["ts"])], language)
        return said("{held} at {moment}", language).format(held=word, moment=moment)
    values = ", ".join(f"{name} {_shown(value, language)}" for name, value in given.items())
    return said("{held} with {values}", language).format(held=word, values=values)


def _shown(value: str | float | bool, language: str) -> str:
    if isinstance(value, bool):
        return said("yes" if value else "no", language)
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


MOMENTS: Final = {
    1_767_268_800.0: "2026-01-01 17:00",
    1_767_290_400.0: "2026-01-01 23:00",
    1_767_441_600.0: "Saturday 2026-01-03 17:00",
    4_102_444_800.0: "2100-01-01",
}


def _field_rows(fields: Iterable[Field], language: str) -> Iterator[tuple[str, ...]]:
    for field in fields:
        known = ", ".join(f"`{value}`" for value in field.values)
        values = f"; {said('one of', language)}: {known}" if known else ""
        yield f"`{field.name}`", said(_TYPES[field.type], language), field.since, field.doc.get(language) + values
    yield "`score`", said("number", language), "setup", said(SCORE, language)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], language: str) -> str:
    shown = [said(name, language) for name in head]
    lines = [shown, ["---"] * len(head), *([_cell(part) for part in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
