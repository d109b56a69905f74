"""rules/fields.yaml: what each field and fact of a call is, in plain words, and from which event on it is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from antifraud.rulekit import form
from antifraud.rulekit.documents import Node, Sheet, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.texts import LocalText

TYPES: Final = ("text", "number", "bool")
EVENTS: Final = ("setup", "answer", "release", "report")
SINCE: Final = (*EVENTS, "talk")
IN_PROGRESS: Final[Mapping[str, str]] = {"answer": "answered", "tick": "going on", "report": "reported"}
"""What a rule on a call in progress looks at (its ``on``), and what is known then: as of a call that is answered …"""
KNOWN_AT: Final[Mapping[str, tuple[str, ...]]] = {
    "setup": (*EVENTS, *IN_PROGRESS.values()),
    "answer": ("answer", "release", *IN_PROGRESS.values()),
    "release": ("release",),
    "report": ("report", "reported"),
    "talk": tuple(IN_PROGRESS.values()),
}
"""``since`` → the kinds of event that carry such a field, and the moments of a call in progress at which it is known.
A report carries nothing of how the call went."""

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

_STARRED: Final = re.compile(r"\+?[0-9]+[*%]+")
_BARE: Final = re.compile(r"[0-9]+")
MOST_BARE_DIGITS: Final = 6
"""Of a number without +: a short code is no longer (see ``numbering.plan``)."""
MOST_BARE_BEGINNING: Final = 4
"""Of the beginning of a number without +: of a short code, more is the code itself."""
_WITH_PLUS: Final = 'write it with + and the country code, such as "+77001234567"; only a short code has no +'

_INFINITY: Final = float("inf")
_MAX_BYTES: Final = 512 * 1024
_MAX_NODES: Final = 20_000


class Range(msgspec.Struct, frozen=True):
    """The least and the most that a number can be, both included, and what such a number is called in hints."""

    least: float = -_INFINITY
    most: float = _INFINITY
    noun: str = "it"

    def has(self, value: float) -> bool:
        """Whether ``value`` lies within."""
        return self.least <= value <= self.most

    def never(self, sign: str, value: float) -> bool:
        """Whether no number within stands to ``value`` as ``sign`` (==, <, <=, >, >=) says."""
        match sign:
            case ">":
                return value >= self.most
            case ">=":
                return value > self.most
            case "<":
                return value <= self.least
            case "<=":
                return value < self.least
            case _:
                return not self.has(value)

    def advice(self, value: float) -> str:
        """What the numbers are, said to somebody who wrote ``value``."""
        if self.most == _INFINITY:
            return f"{self.noun} is {self.least:g} or more"
        words = f"{self.noun} is from {self.least:g} to {self.most:g}"
        percent = self.shares and self.most < value <= 100.0
        return f"{words}: {value:g} % is {value / 100.0:g}" if percent else words

    @property
    def shares(self) -> bool:
        """Whether it is a part of a whole, which people are tempted to write in percent."""
        return (self.least, self.most) == (0.0, 1.0)


SCORE: Final = Range(0.0, 1.0, "the score")
_COUNTED: Final = Range(0.0)
_SHARE: Final = Range(0.0, 1.0, "a share")
_SHARES: Final = ("share", "balance")


def window_range(kind: str) -> Range:
    """What the values of a window of that kind can be. None is below 0: counts, shares and times are what there is."""
    return _SHARE if kind in _SHARES else _COUNTED


class Field(msgspec.Struct, frozen=True):
    """One field or fact.

    ``type`` text, number or bool; ``since`` the kind of event from which on it is known; ``values`` the only texts
    that it takes, empty when it takes any; ``shape`` (see ``SHAPES``) how they are written, empty when anyhow;
    ``range`` what its numbers can be.
    """

    name: str
    type: str
    since: str
    doc: LocalText
    values: tuple[str, ...] = ()
    shape: str = ""
    range: Range = Range()

    def impossible(self, text: str, *, beginning: bool = False) -> str:
        """What to write instead of ``text`` when this field never has it as a value; empty when it can.

        With ``beginning`` the text is only how a value begins. Digits that no plan could place keep no + in the number
        fields; they are refused all the same, since nearly always a + was forgotten, and ``caller_raw`` has them.
        """
        if self.values and text not in self.values:
            return did_you_mean(text, self.values, f"it is one of: {', '.join(self.values)}")
        if self.shape == "number" and text[-1:] in ("*", "%") and _STARRED.fullmatch(text):
            return f'what begins so is asked for with prefix_in({self.name}, ["{text.rstrip("*%")}"])'
        if self.shape and SHAPES[self.shape][0].fullmatch(text) is None:
            return SHAPES[self.shape][1]
        limit = MOST_BARE_BEGINNING if beginning else MOST_BARE_DIGITS
        if self.shape == "number" and len(text) > limit and _BARE.fullmatch(text):
            return _WITH_PLUS
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
    known = ("type", "since", "values", "shape", "least", "most", "doc")
    found = form.keys(sheet, node, name, known, ("type", "since", "doc"))
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
    least = form.number(sheet, found["least"][1], "least") if "least" in found else None
    most = form.number(sheet, found["most"][1], "most") if "most" in found else None
    bounds = Range(-_INFINITY if least is None else least, _INFINITY if most is None else most)
    for key in ("least", "most"):
        if key in found and kind not in ("number", None):
            sheet.at(found[key][0], Message.RANGE_OF_TEXT, name=key)
    if bounds.least > bounds.most:
        sheet.at(found["most"][1], Message.RANGE_EMPTY, least=f"{bounds.least:g}", most=f"{bounds.most:g}")
    if kind is None or since is None or not doc:
        return None
    return Field(name, kind, since, doc, values, shape or "", bounds)


def describe(fields: Mapping[str, Field]) -> str:
    """What of the fields decides the meaning of a rule, as one text for digests."""
    return "\n".join(f"{field.name} {field.type} {field.since} {' '.join(field.values)}" for field in fields.values())
