"""JSON Schemas of rule, list and calendar files, for editors: completion and checking while a rule is being typed.

They are made from the same tables as the checker uses. The checker knows more (types of conditions, names); a file
that the schema accepts can still be refused, never the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from antifraud.rulekit import lists, local_time, rule, stream, stream_form
from antifraud.rulekit.entries import KINDS
from antifraud.rulekit.fields import Field
from antifraud.rulekit.texts import LANGUAGES

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_DATE: Final = r"^\d{4}-\d{2}-\d{2}([T ].+)?$"
_NAME: Final = "^[a-z][a-z0-9_]{0,63}$"
_TAG: Final = "^[a-z][a-z0-9_-]{0,63}$"

_DOC: Final[Mapping[str, str]] = {
    "rule": "the rule's name: small Latin letters, digits and _; the same as the file's",
    "title": "what the rule is about, in one line; a text, or texts by language",
    "owner": "who answers for the rule",
    "tags": "words to find it by",
    "why": "why such a call is bad: what an analyst in two years has to know",
    "false_positives": "which honest calls it can hit, and what is done about them",
    "params": "numbers, texts or lists that a region may set differently; used as params.<name>",
    "windows": "the windows that the condition reads, by name; or one declared here, for this rule alone",
    "on": "when the rule looks at a call; without it, at the setup",
    "when": "the condition, as a literal block: when: |",
    "unless": "named exceptions, each with an owner and an end",
    "then": "what happens to a call that is hit",
    "rollout": "how far the rule is in force",
    "tests": "calls that the rule must hit or spare",
}


def _text(limit: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": limit}


def _local(limit: int) -> dict[str, Any]:
    by_language = {
        "type": "object",
        "properties": {language: _text(limit) for language in LANGUAGES},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {"anyOf": [_text(limit), by_language]}


def _object(properties: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _value() -> dict[str, Any]:
    simple = [{"type": "number"}, {"type": "boolean"}, _text(256)]
    return {
        "anyOf": [*simple, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1, "maxItems": 64}]
    }


def _field(field: Field) -> dict[str, Any]:
    types = {"text": "string", "number": "number", "bool": "boolean"}
    entry: dict[str, Any] = {"description": field.doc.get("en"), "type": [types[field.type], "null"]}
    if field.name == "ts":
        entry["type"] = ["number", "string", "null"]
    if field.values:
        entry["enum"] = [*field.values, None]
    if math.isfinite(field.range.least):
        entry["minimum"] = field.range.least
    if math.isfinite(field.range.most):
        entry["maximum"] = field.range.most
    return entry


def _events(fields: Mapping[str, Field]) -> dict[str, Any]:
    """What a test with events has beside its name, parameters and expectation."""
    said = {name: _field(fields[name]) for name in stream.GIVEN if name in fields}
    length = {"type": "string", "pattern": f"^{stream_form.DURATION}$"}
    entry = _object(
        {
            "at": {**length, "description": "how long after the beginning of the test: 0s, 3m, 1h30m"},
            "repeat": {
                "type": "number",
                "minimum": 1,
                "maximum": stream.MAX_EVENTS,
                "description": "how many times; # in a text stands for the digits that count them",
            },
            "every": {**length, "description": "how far apart the repetitions are"},
            "kind": {
                "enum": list(stream.KINDS),
                "description": "call, the default: a set-up, and with ring_s or talk_s also its answer and its end",
            },
            "call": {**_text(64), "description": "the name of the call, or of the call that this belongs to"},
            **said,
        },
        ("at",),
    )
    moment = {"type": ["number", "string"], "description": "when the events begin: 2026-05-01T23:00:00+05:00"}
    return {
        "country": {"type": "string", "pattern": "^[A-Z]{2}$", "description": "by whose dial plan numbers are read"},
        "starts": moment,
        "each": {**_object(said, ()), "description": "what each event says that does not say otherwise"},
        "events": {
            "type": "array",
            "items": entry,
            "minItems": 1,
            "maxItems": stream_form.MAX_ENTRIES,
            "description": "the events that an engine is sent, in the order in which they begin",
        },
        "judge": {**_text(64), "description": "the name of the call that is judged; by default the last one set up"},
    }


def _given(fields: Mapping[str, Field], windows: Iterable[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {field.name: _field(field) for field in fields.values()}
    for name in windows:
        properties[name] = {"description": "a window; see windows.yaml", "type": ["number", "null"], "minimum": 0}
    score = {"description": "the score of the model, 0 to 1", "type": ["number", "null"], "minimum": 0, "maximum": 1}
    properties["score"] = score
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def rule_schema(
    fields: Mapping[str, Field], windows: Iterable[str], own_window: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The schema of one rule file. ``own_window`` is that of a window which a rule declares for itself."""
    names = list(windows)
    listed: dict[str, Any] = {"enum": names}
    if own_window is not None:
        listed = {"anyOf": [listed, dict(own_window)]}
    condition = _text(4_000)
    params = {"type": "object", "propertyNames": {"pattern": _NAME}, "additionalProperties": _value()}
    exception = _object(
        {
            "name": {"type": "string", "pattern": _NAME},
            "why": _local(1_000),
            "when": condition,
            "owner": _text(128),
            "until": {"type": "string", "pattern": _DATE, "description": "the last day on which it holds, in UTC"},
        },
        ("name", "when", "owner", "until"),
    )
    then = _object(
        {
            "verdict": {"enum": list(rule.VERDICTS)},
            "command": {
                "enum": list(rule.COMMANDS),
                "description": "in place of verdict, of a rule on calls in progress (on: answer, tick or report)",
            },
            "label": {**_text(64), "description": "what the callee's telephone shows"},
            "code": {"enum": list(rule.CODES), "description": "of block: the SIP status; without it, the region's"},
            "target": {
                **_text(256),
                "pattern": f"^({rule.TARGET})$",
                "description": "where a diverted call goes: sip:desk@example.org; without it, the region's desk",
            },
            "block_caller": {
                "type": "string",
                "pattern": f"^{stream_form.DURATION}$",
                "description": "of block: how long the caller's number is blocked too, such as 24h",
            },
            "reason": {**_local(500), "description": "why, for people; {name} is filled with a value of the call"},
        },
        ("reason",),
    )
    rollout = _object(
        {
            "stage": {"enum": list(rule.STAGES)},
            "percent": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100},
            "false_hits_per_million": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": rule.MOST_FALSE_HITS,
                "description": "the most honest calls in a million that it may hit; needed at canary and enforce",
            },
            "by": _text(128),
            "review_by": {"type": "string", "pattern": _DATE},
        },
        ("stage",),
    )
    test = _object(
        {
            "name": _text(128),
            "like": {**_text(128), "description": "a test above, whose given values are taken first"},
            "given": _given(fields, names),
            **_events(fields),
            "params": params,
            "expect": {"enum": [*rule.EXPECT, *rule.COMMANDS]},
        },
        ("name", "expect"),
    )
    properties: dict[str, Any] = {
        "rule": {"type": "string", "pattern": _NAME},
        "title": _local(200),
        "owner": _text(128),
        "tags": {"type": "array", "items": {"type": "string", "pattern": _TAG}, "maxItems": 32},
        "why": _local(4_000),
        "false_positives": _local(4_000),
        "params": params,
        "windows": {"type": "array", "items": listed, "maxItems": 64},
        "on": {"enum": list(rule.ON)},
        "when": condition,
        "unless": {"type": "array", "items": exception, "maxItems": 64},
        "then": then,
        "rollout": rollout,
        "tests": {"type": "array", "items": test, "maxItems": 200},
    }
    assert tuple(properties) == rule.KEYS, "the schema names the keys that the reader reads"
    described = {key: {"description": _DOC[key], **value} for key, value in properties.items()}
    return {"$schema": _DRAFT, "title": "antifraud rule", **_object(described, rule.REQUIRED)}


def list_schema() -> dict[str, Any]:
    """The schema of one list file."""
    until = {"type": "string", "pattern": _DATE, "description": "the last day on which it holds, in UTC"}
    about = {
        "until": until,
        "owner": {**_text(128), "description": "who answers for this entry; without it, the list's owner"},
        "source": {**_text(500), "description": "where this entry comes from; without it, the list's source"},
        "note": _text(500),
    }
    entry = _object({"value": _text(256), **about}, ("value",))
    ends = _object({"from": _text(64), "to": _text(64), **about}, ("from", "to"))
    properties: dict[str, Any] = {
        "list": {
            "type": "string",
            "pattern": _NAME,
            "description": "the same as the file's name; used as lists.<name>",
        },
        "title": _local(200),
        "class": {"enum": list(lists.CLASSES), "description": "protect: calls are protected without any rule"},
        "kind": {"enum": list(KINDS)},
        "protects": {"enum": list(lists.PROTECTS), "description": "whose calls a list of class protect protects"},
        "removable": {
            "type": "boolean",
            "description": "true: commands may take entries of this protect list out at run time",
        },
        "owner": _text(128),
        "source": {**_text(500), "description": "where the entries come from"},
        "entries_file": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}[.]csv$",
            "description": "a CSV file in the same folder: value,until,owner,source,note",
        },
        "entries": {
            "type": "array",
            "items": {"anyOf": [_text(256), entry, ends]},
            "maxItems": lists.MAX_ENTRIES,
        },
    }
    assert tuple(properties) == lists.KEYS, "the schema names the keys that the reader reads"
    found = _object(properties, lists.REQUIRED)
    either = [{"required": ["entries"]}, {"required": ["entries_file"]}]
    return {"$schema": _DRAFT, "title": "antifraud list", **found, "anyOf": either}


def calendar_schema() -> dict[str, Any]:
    """The schema of calendar.yaml."""
    holiday = _object(
        {
            "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "description": "the day, by local time"},
            "name": {**_local(200), "description": "what people call it; shown when a rule has asked holiday()"},
        },
        ("date", "name"),
    )
    properties: dict[str, Any] = {
        "country": {"type": "string", "pattern": "^[A-Z]{2}$", "description": "the country as two letters, such as KZ"},
        "source": {**_text(2_000), "description": "where the days come from: laws, decisions, who announces them"},
        "utc_offset_min": {
            "type": "number",
            "minimum": local_time.LEAST_OFFSET_MIN,
            "maximum": local_time.MOST_OFFSET_MIN,
            "description": "minutes that local time is ahead of UTC, for rules test and lint",
        },
        "years": {
            "type": "array",
            "items": {"type": "number", "minimum": 1970, "maximum": 2999},
            "minItems": 1,
            "maxItems": 2,
            "description": "the first and the last year that are covered; beyond, holiday() is neither true nor false",
        },
        "holidays": {"type": "array", "items": holiday, "maxItems": local_time.MOST_HOLIDAYS},
    }
    assert tuple(properties) == local_time.KEYS, "the schema names the keys that the reader reads"
    return {"$schema": _DRAFT, "title": "antifraud calendar", **_object(properties, local_time.KEYS)}
