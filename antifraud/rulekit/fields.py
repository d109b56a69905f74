"""rules/fields.yaml: what each field and fact of a call is, in plain words, and from which event on it is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from antifraud.rulekit import form
from antifraud.rulekit.documents import Node, Sheet, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.messages import did_you_mean
from antifraud.rulekit.texts import LocalText

TYPES: Final = ("text", "number", "bool")
SINCE: Final = ("setup", "answer", "release", "report")
KNOWN_AT: Final[Mapping[str, tuple[str, ...]]] = {
    "setup": SINCE,
    "answer": ("answer", "release"),
    "release": ("release",),
    "report": ("report",),
}
"""``since`` → the kinds of event that carry such a field. A report carries nothing of how the call went."""

SHAPES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "country": (re.compile(r"[A-Z]{2}"), 'a country is two capital Latin letters, such as "KZ"'),
    "region": (re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}"), 'a region is written such as "KZ-75"'),
    # A short code, a name, and digits that nobody could place have no +; nothing has signs between its digits.
    "number": (
        re.compile(r"\+[0-9]*|(?![0-9() -]*[() -][0-9() -]*\Z)[^+].*|", re.DOTALL),
        'a number is written in full and without spaces, such as "+77001234567"',
    ),
}
"""How the texts of a field are written, for those that always look the same: what fits, and what to write."""

_MAX_BYTES: Final = 512 * 1024
_MAX_NODES: Final = 20_000


class Field(msgspec.Struct, frozen=True):
    """One field or fact.

    ``type`` text, number or bool; ``since`` the kind of event from which on it is known; ``values`` the only texts
    that it takes, empty when it takes any; ``shape`` (see ``SHAPES``) how they are written, empty when anyhow.
    """

    name: str
    type: str
    since: str
    doc: LocalText
    values: tuple[str, ...] = ()
    shape: str = ""

    def impossible(self, text: str) -> str:
        """What to write instead of ``text`` when this field never has it as a value; empty when it can."""
        if self.values and text not in self.values:
            return did_you_mean(text, self.values, f"it is one of: {', '.join(self.values)}")
        if self.shape and SHAPES[self.shape][0].fullmatch(text) is None:
            return SHAPES[self.shape][1]
        return ""

    def known_at(self, kind: str) -> bool:
        """Whether an event of that kind can carry it."""
        return kind in KNOWN_AT[self.since]


def load_fields(path: Path) -> dict[str, Field]:
    """The fields by name, in the order of the file. BundleError with everything that is wrong with it."""
    sheet, _raw = read_sheet(path, limit=_MAX_BYTES)
    root = parse_sheet(sheet, max_nodes=_MAX_NODES)
    fields: dict[str, Field] = {}
    if root is not None:
        top = form.keys(sheet, root, "this file", ("fields",), ("fields",))
        if "fields" in top:
            for name, (key, node) in (form.mapping(sheet, top["fields"][1], "fields") or {}).items():
                if not form.good_name(name):
                    form.bad_name(sheet, key, name, "a field")
                field = _field(sheet, name, node)
                if field is not None:
                    fields[name] = field
    raise_problems([sheet])
    return fields


def _field(sheet: Sheet, name: str, node: Node) -> Field | None:
    found = form.keys(sheet, node, name, ("type", "since", "values", "shape", "doc"), ("type", "since", "doc"))
    if not {"type", "since", "doc"} <= found.keys():
        return None
    kind = form.choice(sheet, found["type"][1], "type", TYPES)
    since = form.choice(sheet, found["since"][1], "since", SINCE)
    doc = form.as_local_text(sheet, found["doc"][1], "doc", 600)
    values: tuple[str, ...] = ()
    if "values" in found:
        texts = [form.text(sheet, item, "values", 64) for item in form.items(sheet, found["values"][1], "values", 64)]
        values = tuple(item for item in texts if item is not None)
    shape = form.choice(sheet, found["shape"][1], "shape", SHAPES) if "shape" in found else ""
    if kind is None or since is None or not doc:
        return None
    return Field(name, kind, since, doc, values, shape or "")


def describe(fields: Mapping[str, Field]) -> str:
    """What of the fields decides the meaning of a rule, as one text for digests."""
    return "\n".join(f"{field.name} {field.type} {field.since} {' '.join(field.values)}" for field in fields.values())
