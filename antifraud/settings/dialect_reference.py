"""The table of dialects as Markdown; docs/reference/dialects.md carries it and a test keeps it current.

``python -m antifraud.settings.dialect_reference docs/reference/dialects.md`` writes it into that file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from antifraud.dialects import PLACES, SAYINGS, Dialect, Form, Template
from antifraud.settings.load import load_settings

BEGIN: Final = "<!-- dialects: begin -->"
END: Final = "<!-- dialects: end -->"


def render_dialects(table: Mapping[str, Dialect]) -> str:
    """A section for each dialect of ``table``, then the places that may stand in a line."""
    lines: list[str] = []
    for dialect in table.values():
        lines += [f"### {dialect.name}", "", f"{_sentence(dialect.about)} {_sentence(dialect.source)}"]
        if dialect.needs:
            lines[-1] += " Needs a contact in `policy.redress`."
        lines += ["", "| verdict | SIP | Q.850 | lines |", "|---|---|---|---|"]
        for saying in SAYINGS:
            if saying in dialect.forms:
                lines.append(_row(saying, dialect.forms[saying]))
        lines.append("")
    lines += ["### What stands in braces", "", "| place | what takes it |", "|---|---|"]
    lines += [f"| `{{{name}}}` | {about} |" for name, about in PLACES.items()]
    return "\n".join(lines)


def replace_dialects(text: str, table: Mapping[str, Dialect]) -> str:
    """``text`` with what stands between its two marks made current; ValueError when it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{render_dialects(table)}\n{END}{after}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _row(saying: str, form: Form) -> str:
    status = f"{form.status} {form.phrase}".strip() if form.status else form.packet or "goes on"
    lines = "<br>".join(f"`{_cell(line)}`" for line in _written(form)) or "none"
    return f"| {saying} | {status} | {form.cause or ''} | {lines} |"


def _written(form: Form) -> Iterator[str]:
    if form.target is not None:
        yield f"to {_source(form.target)}"
    for name, template in form.headers:
        yield f"{name}: {_source(template)}"
    for name, template in form.attributes:
        yield f"{name} = {_source(template)}"


def _source(template: Template) -> str:
    places = (f"{before}{{{place}}}" for before, place in zip(template.before, template.places, strict=True))
    return "".join(places) + template.last


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the table into the file that the command line names."""
    path = Path(sys.argv[1])
    table = load_settings(env={}).dialects
    path.write_text(replace_dialects(path.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
