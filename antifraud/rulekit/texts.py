"""Texts in several languages, and reason templates whose placeholders are filled with the values of a call."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

LANGUAGES: Final = ("en", "ru", "kk")

_MISSING: Final = {"en": "unknown", "ru": "неизвестно", "kk": "белгісіз"}
_YES: Final = {"en": "yes", "ru": "да", "kk": "иә"}
_NO: Final = {"en": "no", "ru": "нет", "kk": "жоқ"}
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_MOST_SHOWN: Final = 64


class LocalText(msgspec.Struct, frozen=True):
    """One text in one or more languages: (language, text) pairs; "" is the language of a text given once for all."""

    versions: tuple[tuple[str, str], ...] = ()

    def get(self, language: str) -> str:
        """The text in ``language``; else in English, else the first that there is."""
        return choose(self.versions, language)[1] if self.versions else ""

    def __bool__(self) -> bool:
        return bool(self.versions)


class Placeholder(msgspec.Struct, frozen=True):
    """A place in a template: the name whose value stands there and how it is shown ("" or "percent")."""

    name: str
    form: str = ""


class Template(msgspec.Struct, frozen=True):
    """A text with placeholders: pieces in order."""

    pieces: tuple[str | int, ...]
    """Literal text, or an index into the values (see ``Reason``)."""


class ReasonText(msgspec.Struct, frozen=True):
    """A reason in one or more languages; all share one tuple of placeholders, and so one tuple of values."""

    placeholders: tuple[Placeholder, ...]
    versions: tuple[tuple[str, Template], ...]

    def fill(self, language: str, values: Sequence[object]) -> str:
        """The reason in ``language`` with ``values``, one for each placeholder; None is said as "unknown"."""
        spoken, template = choose(self.versions, language)
        return "".join(
            piece if isinstance(piece, str) else show(values[piece], self.placeholders[piece].form, spoken or language)
            for piece in template.pieces
        )


_Version = TypeVar("_Version")


def choose(versions: Sequence[tuple[str, _Version]], language: str) -> tuple[str, _Version]:
    """The version in ``language`` with the language it has; else the English one, else the first."""
    by_language = dict(versions)
    for wanted in (language, "", "en"):
        if wanted in by_language:
            return wanted, by_language[wanted]
    return versions[0]


def show(value: object, form: str, language: str) -> str:
    """``value`` as people read it. Texts may come from attackers: invisible signs are replaced, long ones cut."""
    if value is None:
        return _MISSING.get(language, _MISSING["en"])
    if isinstance(value, bool):
        return (_YES if value else _NO).get(language, str(value))
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            return _MISSING.get(language, _MISSING["en"])
        if form == "percent":
            return f"{value * 100:.0f} %"
        whole = value == int(value) or abs(value) >= 99.95
        return f"{value:.0f}" if whole and abs(value) < 1e15 else f"{value:.3g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(show(item, form, language) for item in value[:10])
    text = _UNPRINTABLE.sub("·", str(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


class TemplateFault(msgspec.Struct, frozen=True):
    """What is wrong with a template: the offset, and the placeholder's text; None for a bracket that stands alone."""

    offset: int
    inside: str | None


def split_template(text: str) -> tuple[list[str | Placeholder], list[TemplateFault]]:
    """The pieces of a template and its faults. ``{name}``, ``{name:form}``, ``{{`` and ``}}``; nothing else."""
    pieces: list[str | Placeholder] = []
    faults: list[TemplateFault] = []
    end = 0
    for found in _TOKEN.finditer(text):
        pieces.append(text[end : found.start()])
        end = found.end()
        token = found.group()
        if token in ("{{", "}}"):
            pieces.append(token[0])
        elif found.group(1) is None:
            faults.append(TemplateFault(found.start(), None))
        else:
            name, _, form = found.group(1).partition(":")
            pieces.append(Placeholder(name.strip(), form.strip()))
    pieces.append(text[end:])
    return [piece for piece in pieces if piece], faults
