"""Reading typed values out of a file's nodes: one function a kind of value, each noting what is wrong with it.

Every reader returns the value or None; None always comes with a problem noted, so callers go on and find the rest.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Final

from antifraud.domain import lookalikes
from antifraud.rulekit import elsewhere
from antifraud.rulekit.documents import Excerpt, ListNode, MapNode, Node, Scalar, Sheet
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.texts import LANGUAGES, LocalText

Value = str | float | bool | tuple[str, ...] | tuple[float, ...]
"""What a parameter or a given field may hold."""

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9_]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\Z")
_NUMBER_LIKE: Final = re.compile(r"\+?[0-9][0-9_ ()-]*\Z")
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_BOOLS: Final = {"true": True, "True": True, "false": False, "False": False}
_BOOL_LIKE: Final = ("yes", "no", "on", "off")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_PACK: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_UTC: Final = dt.UTC


def keys(
    sheet: Sheet, node: Node, what: str, allowed: Iterable[str], required: Iterable[str] = ()
) -> dict[str, tuple[Scalar, Node]]:
    """The entries of a mapping whose keys are ``allowed``; unknown ones are noted and left out."""
    found = mapping(sheet, node, what)
    if found is None:
        return {}
    known = list(allowed)
    result = {}
    for name, (key, value) in found.items():
        if name in known:
            result[name] = (key, value)
        else:
            hint = elsewhere.key(name, what) or did_you_mean(name, known, f"known keys: {', '.join(known)}")
            sheet.at(key, Message.UNKNOWN_KEY, hint=hint, name=name, what=what, known=", ".join(known))
    missing = [name for name in required if name not in found]
    if missing:
        hint = "" if len(missing) == 1 else "add a line with a value for each of them"
        sheet.at(node, Message.MISSING_KEY, hint=hint, what=what, name=", ".join(missing))
    return result


def mapping(sheet: Sheet, node: Node, what: str) -> dict[str, tuple[Scalar, Node]] | None:
    """The entries of a mapping, whatever its keys."""
    if isinstance(node, MapNode):
        return node.entries
    sheet.at(node, Message.NOT_A_MAPPING, what=what)
    return None


def items(sheet: Sheet, node: Node, what: str, limit: int) -> tuple[Node, ...]:
    """The items of a list of at most ``limit``."""
    if not isinstance(node, ListNode):
        sheet.at(node, Message.NOT_A_LIST, what=what)
        return ()
    if len(node.items) > limit:
        sheet.at(node, Message.TOO_MANY, what=what, limit=limit)
        return ()
    return node.items


def is_null(node: Node) -> bool:
    """Whether nothing is written there, or the word null."""
    return isinstance(node, Scalar) and node.plain and node.value in _NULLS


def text(sheet: Sheet, node: Node, what: str, limit: int, *, digits: bool = False) -> str | None:
    """A text of at most ``limit`` characters; digits without quotes only where ``digits`` says that they are words."""
    if not isinstance(node, Scalar):
        sheet.at(node, Message.NOT_TEXT, what=what)
        return None
    value = node.value.strip()
    if not value or is_null(node):
        sheet.at(node, Message.NO_VALUE, what=what)
        return None
    if len(value) > limit:
        sheet.at(node, Message.TEXT_TOO_LONG, what=what, length=len(value), limit=limit)
        return None
    if node.plain and not digits and _NUMBER_LIKE.match(value):
        sheet.at(node, Message.UNQUOTED_NUMBER, value=value)
        return None
    return value


def line(sheet: Sheet, node: Node, what: str, limit: int) -> str | None:
    """A text that goes over one line only: it is shown where there is no room for more, or sent to a switch."""
    value = text(sheet, node, what, limit)
    return value if value is None or _on_one_line(sheet, node, value, what) else None


def word(sheet: Sheet, node: Node, what: str, limit: int) -> str | None:
    """A text that a call is compared with; letters that only look Latin beside Latin ones are a mistake."""
    value = text(sheet, node, what, limit)
    if value is not None and lookalikes.mixed(value):
        advice = f"type it again on the Latin keyboard: {lookalikes.retyped(value)}"
        sheet.at(node, Message.LOOKALIKE, name=value, letters=lookalikes.foreign(value), advice=advice)
        return None
    return value


def _on_one_line(sheet: Sheet, node: Node, value: str, what: str) -> bool:
    if "\n" in value or "\r" in value:
        sheet.at(node, Message.NOT_ONE_LINE, what=what)
        return False
    return True


def name(sheet: Sheet, node: Node, what: str, *, pack: bool = False) -> str | None:
    """A name that can be used in conditions (a pack's may have hyphens)."""
    value = text(sheet, node, what, 64)
    if value is not None and not good_name(value, pack=pack):
        bad_name(sheet, node, value, what)
        return None
    return value


def bad_name(sheet: Sheet, node: Node, value: str, what: str, *, otherwise: str = "") -> None:
    """Note that ``value`` cannot be a name; ``otherwise`` takes the place of the message's own hint."""
    sheet.at(node, Message.BAD_NAME, hint=lookalikes.advice(value) or otherwise, name=value, what=what)


def good_name(value: str, *, pack: bool = False) -> bool:
    """Whether ``value`` can be a name."""
    return (_PACK if pack else _NAME).match(value) is not None


def choice(sheet: Sheet, node: Node, what: str, allowed: Iterable[str]) -> str | None:
    """One of ``allowed``."""
    known = list(allowed)
    value = text(sheet, node, what, 64, digits=True)
    if value is not None and value not in known:
        listed = f"choose one of: {', '.join(known)}"
        hint = elsewhere.choice(value, what) or did_you_mean(value, known, listed)
        sheet.at(node, Message.NOT_ONE_OF, hint=hint, what=what, value=value)
        return None
    return value


def local_text(
    sheet: Sheet, node: Node, what: str, limit: int, *, one: bool = False
) -> tuple[tuple[str, Scalar], ...] | None:
    """A text, or texts by language, as (language, node) pairs; "" is the language of a text given once for all.

    ``one`` asks for texts of one line.
    """

    def good(item: Node, called: str) -> bool:
        found = text(sheet, item, called, limit, digits=True)
        return found is not None and (not one or _on_one_line(sheet, item, found, called))

    if isinstance(node, Scalar):
        return (("", node),) if good(node, what) else None
    if not isinstance(node, MapNode):
        sheet.at(node, Message.NOT_TEXT, what=what)
        return None
    if not node.entries:
        sheet.at(node, Message.NO_VALUE, what=what)
        return None
    found: dict[str, Scalar] = {}
    for language, (key, value) in node.entries.items():
        if language not in LANGUAGES:
            sheet.at(key, Message.UNKNOWN_LANGUAGE, name=language)
        elif good(value, f"{what}.{language}"):
            assert isinstance(value, Scalar)
            found[language] = value
    return tuple((language, found[language]) for language in LANGUAGES if language in found) or None


def as_local_text(sheet: Sheet, node: Node, what: str, limit: int, *, one: bool = False) -> LocalText:
    """As ``local_text``, with the texts taken; empty when there is none."""
    versions = local_text(sheet, node, what, limit, one=one) or ()
    return LocalText(tuple((language, scalar.value.strip()) for language, scalar in versions))


def number(sheet: Sheet, node: Node, what: str) -> float | None:
    """A finite number."""
    value = _plain_number(node)
    if value is None:
        hint = elsewhere.number(node.value, what) if isinstance(node, Scalar) else ""
        if isinstance(node, Scalar) and not node.plain and _NUMBER.match(node.value):
            hint = f"write it without quotes: {node.value}"
        sheet.at(node, Message.NOT_A_NUMBER, hint=hint, what=what)
    return value


def _plain_number(node: Node) -> float | None:
    if isinstance(node, Scalar) and node.plain and _NUMBER.match(node.value):
        return float(node.value.replace("_", ""))
    return None


def boolean(sheet: Sheet, node: Node, what: str) -> bool | None:
    """True or false."""
    if isinstance(node, Scalar) and node.plain and node.value in _BOOLS:
        return _BOOLS[node.value]
    sheet.at(node, Message.NOT_A_BOOL, what=what)
    return None


def until(sheet: Sheet, node: Node, what: str) -> float | None:
    """The epoch second at which something ends: a date holds through its last second in UTC, a time is exact."""
    ends = end_of(node.value) if isinstance(node, Scalar) else None
    if ends is None:
        hint = elsewhere.date(node.value[:64]) if isinstance(node, Scalar) else ""
        sheet.at(node, Message.NOT_A_DATE, hint=hint, what=what)
    return ends


def end_of(text: str) -> float | None:
    """The epoch second at which something ends that holds until ``text``, a date or a time with its offset.

    None where it is neither, or lies outside the years 1 to 9999 in UTC: it could not be written down again.
    """
    value = text.strip()
    try:
        if _DATE.match(value):
            day = dt.datetime.fromisoformat(value).replace(tzinfo=_UTC)
            return (day + dt.timedelta(days=1)).timestamp()
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return None
        dt.datetime.fromtimestamp(moment.timestamp(), _UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def date_words(sheet: Sheet, node: Node, what: str) -> str:
    """A date as it is written; empty with a problem noted where it is none."""
    return node.value.strip() if until(sheet, node, what) is not None and isinstance(node, Scalar) else ""


def moment(sheet: Sheet, node: Node, what: str) -> float | None:
    """A point in time: epoch seconds, or a date-time with its offset from UTC."""
    value = _plain_number(node)
    if value is not None:
        return value
    if isinstance(node, Scalar) and not _DATE.match(node.value.strip()):
        return until(sheet, node, what)
    sheet.at(node, Message.NOT_A_DATE, hint="write it as 2027-06-30T18:00:00+05:00, or in epoch seconds", what=what)
    return None


def value(sheet: Sheet, node: Node, what: str) -> Value | None:
    """A parameter's value: a number, true/false, a text, or a list of texts or of numbers."""
    if isinstance(node, ListNode):
        return _values(sheet, node, what)
    if not isinstance(node, Scalar):
        sheet.at(node, Message.PARAM_TYPE, name=what)
        return None
    found = _plain_number(node)
    if found is not None:
        return found
    if node.plain and node.value in _BOOLS:
        return _BOOLS[node.value]
    if node.plain and node.value.lower() in _BOOL_LIKE:
        hint = f'write true or false; where the text {node.value} is meant, put it in quotes: "{node.value}"'
        sheet.at(node, Message.NOT_A_BOOL, hint=hint, what=what)
        return None
    return word(sheet, node, what, 256)


def field_value(sheet: Sheet, node: Node, what: str, kind: str, values: Iterable[str] = ()) -> Value | None:
    """The value of a field of the type ``kind`` (text, number, bool); ``values`` are the only texts that it takes."""
    if kind == "number":
        return number(sheet, node, what)
    if kind == "bool":
        return boolean(sheet, node, what)
    known = tuple(values)
    return choice(sheet, node, what, known) if known else word(sheet, node, what, 4_096)


def _values(sheet: Sheet, node: ListNode, what: str) -> Value | None:
    found = [value(sheet, item, what) for item in items(sheet, node, what, 64)]
    texts = tuple(item for item in found if isinstance(item, str))
    numbers = tuple(item for item in found if isinstance(item, float))
    if found and len(texts) == len(found):
        return texts
    if found and len(numbers) == len(found):
        return numbers
    if None not in found:
        sheet.at(node, Message.PARAM_TYPE, name=what)
    return None


def excerpt(sheet: Sheet, node: Node) -> Excerpt | None:
    """The text of a scalar with its places; None with a problem noted where it is no text."""
    if isinstance(node, Scalar):
        return Excerpt.of(sheet, node)
    hint = "write `when: |` and the condition on the lines below it, its terms joined with and, or"
    sheet.at(node, Message.NOT_TEXT, hint=hint, what="the condition")
    return None
