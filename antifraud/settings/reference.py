"""The table of settings as Markdown; docs/reference/configuration.md carries it and a test keeps it current.

``python -m antifraud.settings.reference docs/reference/configuration.md`` writes it into that file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from antifraud.settings.check import describe_type, describe_words
from antifraud.settings.schema import Document

BEGIN: Final = "<!-- settings: begin -->"
END: Final = "<!-- settings: end -->"


def render_reference() -> str:
    """A table of every setting of default.yaml: what it is, what may stand there, what is built in."""
    lines = ["| setting | meaning | what may stand there | built in |", "|---|---|---|---|"]
    for path, about, words, default in _rows(describe_type(Document), ()):
        name = f"`{'.'.join(path)}`"
        lines.append("| " + " | ".join(_cell(part) for part in (name, about, words, default)) + " |")
    return "\n".join(lines)


def replace_table(text: str) -> str:
    """``text`` with the table between its two marks made current; ValueError when it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{render_reference()}\n{END}{after}"


def _rows(kind: inspect.StructType, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
    for field in kind.fields:
        about = ""
        inner = field.type
        if isinstance(inner, inspect.Metadata):
            about = str((inner.extra_json_schema or {}).get("description", ""))
            inner = inner.type
        here = (*path, field.encode_name)
        if isinstance(inner, inspect.StructType):
            yield from _rows(inner, here)
        else:
            yield here, about, describe_words(field.type), _default(field)


def _default(field: inspect.Field) -> str:
    value: Any = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the table into the file that the command line names."""
    path = Path(sys.argv[1])
    path.write_text(replace_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
