"""Lines with places in them: ``SIP;cause={status};text="{text}"``, made ready once and filled in for each call.

What is filled in comes from callers, rules and configuration, so each place says itself what may stand in it. A line
of which one place has nothing to stand in it is left out as a whole: half a header is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

PLACES: Final[Mapping[str, str]] = {
    "status": "the SIP status",
    "cause": "the Q.850 cause",
    "phrase": "the reason phrase",
    "text": "the reason in the region's language",
    "label": "what the callee is shown",
    "decision": "the id of the decision",
    "target": "where a diverted call goes",
    "caller": "the calling number, E.164",
    "callee": "the called number, E.164",
    "redress": "the contact for callers who were refused: url=…;tel=…;email=…",
    "jcard": "the address of the signed card with that contact (RFC 8688), or the card itself",
}
"""What may stand in braces, and what takes its place."""

FREE: Final = frozenset(("text", "label"))
"""Places whose content is words. In a header they stand between quotation marks, or alone in a header of our own."""

MAX_TEMPLATE: Final = 400
MAX_WORDS: Final = 200
"""Characters of a reason or a label; longer ones are cut: the whole response must fit into one datagram."""

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}\Z")
_DECISION: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,1900}\Z")
_REDRESS: Final = re.compile(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,900}\Z")
_PHRASE: Final = re.compile(r"[A-Za-z][A-Za-z0-9 /.-]{0,39}\Z")
_SMALL: Final = re.compile(r"[0-9]{1,3}\Z")
_SHAPES: Final = {
    "status": _SMALL,
    "cause": _SMALL,
    "phrase": _PHRASE,
    "decision": _DECISION,
    "target": _URI,
    "caller": _NUMBER,
    "callee": _NUMBER,
    "redress": _REDRESS,
    "jcard": _URI,
}


class Template(msgspec.Struct, frozen=True):
    """A line cut at its places: the text before each place, the places, the text behind the last one."""

    before: tuple[str, ...]
    places: tuple[str, ...]
    last: str

    def fill(self, values: Mapping[str, str]) -> str:
        """The line with ``values`` in its places, all printable; empty when a place has nothing to stand in it."""
        if not self.places:
            return self.last
        parts: list[str] = []
        for before, place in zip(self.before, self.places, strict=True):
            value = fitting(place, values.get(place, ""))
            if not value:
                return ""
            parts += (before, value)
        parts.append(self.last)
        return "".join(parts)

    def quotes(self, place: str) -> bool:
        """Whether ``place`` stands between quotation marks wherever it stands."""
        text, inside = "", []
        for before, name in zip(self.before, self.places, strict=True):
            text += before
            if name == place:
                inside.append(text.count('"') % 2 == 1)
        return all(inside)


def compile_template(text: str) -> Template:
    """``text`` made ready. ValueError, in words for people, when it is no template."""
    if not text.isprintable():
        raise ValueError("a control character stands in it")
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"it is longer than {MAX_TEMPLATE} characters")
    before: list[str] = []
    places: list[str] = []
    at = 0
    for found in _PLACE.finditer(text):
        if found[1] not in PLACES:
            raise ValueError(f"there is no {{{found[1]}}}; known are {', '.join(f'{{{one}}}' for one in PLACES)}")
        before.append(text[at : found.start()])
        places.append(found[1])
        at = found.end()
    last = text[at:]
    if "{" in last or "}" in last or any("{" in part or "}" in part for part in before):
        raise ValueError("a brace has no partner")
    if ("".join(before) + last).count('"') % 2:
        raise ValueError("a quotation mark has no partner")
    return Template(tuple(before), tuple(places), last)


def fitting(place: str, value: str) -> str:
    """``value`` as it may stand in ``place``; empty when it may not.

    Words are made printable, cut, and freed of quotation marks and backslashes: a quoted string then ends where it
    seems to end (RFC 3261 §25.1), also for software that knows no escapes.
    """
    if place in FREE:
        clean = value[:MAX_WORDS] if value.isprintable() else "".join(map(_printable, value[:MAX_WORDS]))
        return clean.replace('"', "'").replace("\\", "/").strip()
    return value if _SHAPES[place].match(value) else ""


def _printable(char: str) -> str:
    return char if char.isprintable() else " "
