"""The table of dialects: for each, how it says each verdict to one kind of switch. Data from config/dialects.yaml.

These structures are what may stand in the file; ``compile_table`` makes a checked file ready and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from antifraud.dialects.template import FREE, Template, compile_template
from antifraud.domain.sip_headers import MAX_LINES, ONWARD_HEADERS, RESPONSE_HEADERS, is_allowed

DIALECT_NAME: Final = r"^[a-z][a-z0-9-]{0,39}\Z"
PHRASE: Final = r"^[A-Za-z][A-Za-z0-9 /.-]{0,39}\Z"
ATTRIBUTE: Final = r"^[A-Za-z][A-Za-z0-9-]{0,62}\Z"
HEADER: Final = r"^[A-Za-z][A-Za-z0-9-]{0,62}\Z"
MAX_DIALECTS: Final = 200
_LISTED: Final = 12

Saying = Literal["allow", "label", "challenge", "divert", "block"]
SAYINGS: Final[tuple[Saying, ...]] = ("allow", "label", "challenge", "divert", "block")
Need = Literal["redress"]
HeaderName = Annotated[str, Meta(pattern=HEADER, extra={"words": "the name of a header"})]
AttributeName = Annotated[str, Meta(pattern=ATTRIBUTE, extra={"words": "the name of a RADIUS attribute"})]
DialectName = Annotated[
    str, Meta(pattern=DIALECT_NAME, extra={"words": "the name of a dialect: small letters, digits and dashes"})
]
Line = dict[HeaderName, str]
AttributeLine = dict[AttributeName, str]


def _meta(about: str, words: str = "") -> Meta:
    return Meta(description=about, extra={"words": words} if words else None)


class FormDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one verdict is said. What is not there is not said."""

    status: Annotated[
        Annotated[int, Meta(ge=300, le=699)] | None,
        _meta("SIP status of the final response", "a SIP status from 300 to 699, or null"),
    ] = None
    phrase: Annotated[
        Annotated[str, Meta(pattern=PHRASE)] | None,
        _meta("reason phrase behind the status", "a reason phrase: letters, digits, spaces, at most 40 characters"),
    ] = None
    cause: Annotated[
        Annotated[int, Meta(ge=1, le=127)] | None,
        _meta("Q.850 cause, for switches that speak ISUP", "a Q.850 cause from 1 to 127, or null"),
    ] = None
    headers: Annotated[
        tuple[Line, ...],
        _meta(
            "header lines in their order; a line of which a place has nothing to stand in it is left out",
            "a list, each item one header: - Reason: Q.850;cause={cause}",
        ),
    ] = ()
    target: Annotated[str | None, _meta("where the call is to go, where the verdict itself does not say it")] = None
    packet: Annotated[
        Literal["Access-Accept", "Access-Reject"] | None,
        _meta("the RADIUS packet that answers", "Access-Accept, Access-Reject or null"),
    ] = None
    attributes: Annotated[
        tuple[AttributeLine, ...],
        _meta("RADIUS attributes in their order", "a list, each item one attribute: - Reply-Message: '{text}'"),
    ] = ()


class DialectDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One dialect: what it is for, where it is defined, and how it says the verdicts that it knows."""

    about: Annotated[str, Meta(max_length=400, description="what it is, in a sentence")] = ""
    source: Annotated[str, Meta(max_length=200, description="the document that defines it, with sections")] = ""
    like: Annotated[
        DialectName | None,
        _meta("the dialect of which it says the same, but for what stands here", "the name of a dialect, or null"),
    ] = None
    needs: Annotated[
        tuple[Need, ...],
        _meta("what a region must have set to use it: redress is a contact", "a list, such as [redress]"),
    ] = ()
    block: Annotated[FormDocument, _meta("how a refusal is said")] = FormDocument()
    divert: Annotated[FormDocument, _meta("how a diversion to the desk is said")] = FormDocument()
    challenge: Annotated[FormDocument, _meta("how a diversion to the machine that asks is said")] = FormDocument()
    label: Annotated[FormDocument, _meta("how a call that goes on is marked")] = FormDocument()
    allow: Annotated[FormDocument, _meta("how a call that goes on unmarked is said")] = FormDocument()


class DialectsDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """config/dialects.yaml: how a verdict is said to each kind of switch."""

    dialects: Annotated[
        dict[DialectName, DialectDocument], _meta("dialects by their names", "a mapping, each dialect by its name")
    ] = {}


class Form(msgspec.Struct, frozen=True):
    """A form made ready to be filled in."""

    status: int = 0
    phrase: str = ""
    cause: int = 0
    headers: tuple[tuple[str, Template], ...] = ()
    target: Template | None = None
    packet: str = ""
    attributes: tuple[tuple[str, Template], ...] = ()


class Dialect(msgspec.Struct, frozen=True):
    """A dialect made ready: the forms of the verdicts that it can say."""

    name: str
    about: str = ""
    source: str = ""
    needs: tuple[str, ...] = ()
    forms: Mapping[str, Form] = {}


class Wrong(msgspec.Struct, frozen=True):
    """What is wrong in the table: at which path (dialect, verdict, key …), in words, with how to mend it."""

    path: tuple[str, ...]
    message: str
    hint: str = ""


def compile_table(raw: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Dialect], list[Wrong]]:
    """Dialects ready for use, and everything that is wrong; ``raw`` has the shape of ``DialectsDocument.dialects``.

    A dialect that is ``like`` another has its forms, key by key under what it says itself.
    """
    wrong: list[Wrong] = []
    found: dict[str, Dialect] = {}
    if len(raw) > MAX_DIALECTS:
        return {}, [Wrong((), f"more than {MAX_DIALECTS} dialects")]
    for name in raw:
        merged = _inherited(name, raw, wrong)
        if merged is None:
            continue
        document = msgspec.convert(merged, DialectDocument)
        forms: dict[str, Form] = {}
        for saying in SAYINGS:
            # What is not in the file is not said; that the structure has an empty form for it does not count.
            if merged.get(saying) is not None:
                # What is inherited has been complained about where it stands.
                own = isinstance(raw[name].get(saying), Mapping)
                forms[saying] = _form(name, saying, getattr(document, saying), wrong if own else [])
        if not forms:
            wrong.append(Wrong((name,), f"{name} says no verdict", f"give it one of {', '.join(SAYINGS)}"))
        found[name] = Dialect(name, document.about, document.source, document.needs, forms)
    return found, wrong


def _inherited(name: str, raw: Mapping[str, Mapping[str, Any]], wrong: list[Wrong]) -> dict[str, Any] | None:
    """What ``name`` says together with what it takes from others; None when that cannot be told."""
    chain = [name]
    while (parent := raw[chain[-1]].get("like")) is not None:
        if parent not in raw:
            if len(chain) == 1:
                wrong.append(Wrong((name, "like"), f"there is no dialect {parent}", _known(parent, name, raw)))
            return None
        if parent in chain:
            if parent == name:
                wrong.append(Wrong((name, "like"), f"{' is like '.join([*chain, parent])}", "let one say it itself"))
            return None
        chain.append(parent)
    merged: dict[str, Any] = {}
    for one in reversed(chain):
        for key, value in raw[one].items():
            under = merged.get(key)
            both = key in SAYINGS and isinstance(value, Mapping) and isinstance(under, Mapping)
            merged[key] = {**under, **value} if both else value  # type: ignore[dict-item]
    merged.pop("like", None)
    return merged


def _known(wanted: str, name: str, raw: Mapping[str, Mapping[str, Any]]) -> str:
    import difflib  # only a mistake needs it

    others = sorted(one for one in raw if one != name)
    near = difflib.get_close_matches(wanted, others, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
    return f"there are: {', '.join(others[:_LISTED])}{more}"


def _form(name: str, saying: str, form: FormDocument, wrong: list[Wrong]) -> Form:
    path = (name, saying)
    onward = saying in ("allow", "label")
    refusing = form.status is not None and form.status >= 400
    if saying == "block" and form.status is not None and not refusing:
        wrong.append(
            Wrong((*path, "status"), f"{form.status} refuses no call", "a block takes a status from 400 to 699")
        )
    if saying in ("divert", "challenge") and form.status is not None and form.status >= 400:
        wrong.append(Wrong((*path, "status"), f"{form.status} sends no call elsewhere", "take 302"))
    if onward and refusing:
        wrong.append(
            Wrong((*path, "status"), f"{form.status} refuses a call that is to go on", "take 302, or leave it out")
        )
    if onward and form.status is not None and not refusing and form.target is None:
        wrong.append(
            Wrong((*path, "status"), f"{form.status} needs a target", "write target: 'tel:{callee}' beside it")
        )
    headers = tuple(
        (header, template)
        for at, (header, text) in enumerate(_lines(form.headers, (*path, "headers"), wrong), start=1)
        if (template := _header(header, text, (*path, "headers", f"item {at}"), onward, wrong)) is not None
    )
    if len(headers) > MAX_LINES:
        wrong.append(Wrong((*path, "headers"), f"more than {MAX_LINES} lines"))
    attributes = tuple(
        (attribute, template)
        for at, (attribute, text) in enumerate(_lines(form.attributes, (*path, "attributes"), wrong), start=1)
        if (template := _template(text, (*path, "attributes", f"item {at}"), wrong)) is not None
    )
    if attributes and form.packet is None:
        wrong.append(Wrong((*path, "attributes"), "attributes need a packet", "write packet: Access-Accept"))
    if form.packet == "Access-Reject":
        # RFC 2865 §5.44: of the attributes that may be told here, a rejection carries the message only.
        wrong.extend(
            Wrong(
                (*path, "attributes"),
                f"an Access-Reject carries no {attribute} (RFC 2865 section 5.44)",
                "say it in Reply-Message",
            )
            for attribute in dict(attributes)
            if attribute != "Reply-Message"
        )
    target = None
    if form.target is not None:
        target = _template(form.target, (*path, "target"), wrong)
    return Form(
        form.status or 0, form.phrase or "", form.cause or 0, headers, target, form.packet or "", attributes
    )  # fmt: skip


def _lines(
    lines: tuple[Mapping[str, str], ...], path: tuple[str, ...], wrong: list[Wrong]
) -> Iterator[tuple[str, str]]:
    for at, line in enumerate(lines, start=1):
        if len(line) != 1:
            here = (*path, f"item {at}")
            wrong.append(Wrong(here, f"{len(line)} names in one line", "write each on a line of its own after a dash"))
        yield from list(line.items())[:1]


def _template(text: str, path: tuple[str, ...], wrong: list[Wrong]) -> Template | None:
    try:
        return compile_template(text)
    except ValueError as error:
        wrong.append(Wrong(path, str(error)))
        return None


def _header(name: str, text: str, path: tuple[str, ...], onward: bool, wrong: list[Wrong]) -> Template | None:
    if not is_allowed(name, onward=onward):
        known = ONWARD_HEADERS if onward else RESPONSE_HEADERS
        where = "a call that goes on" if onward else "a final response"
        wrong.append(
            Wrong(path, f"{name} may not be set in {where}", f"take one of {', '.join(known)}, or X- and a name")
        )
        return None
    template = _template(text, path, wrong)
    if template is None:
        return None
    for place in template.places:
        alone = name.lower().startswith("x-")
        if place in FREE and not alone and not template.quotes(place):
            wrong.append(
                Wrong(path, f"{{{place}}} is words and stands outside quotation marks", f'write "{{{place}}}"')
            )
            return None
    return template
