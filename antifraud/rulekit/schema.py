"""JSON Schemas of rule and list files, for editors: completion and checking while a rule is being typed.

They are made from the same tables as the checker uses. The checker knows more (types of conditions, names); a file
that the schema accepts can still be refused, never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from antifraud.rulekit import lists, rule
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
    "windows": "the windows that the condition reads; may be left out",
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


def _given(fields: Mapping[str, Field], windows: Iterable[str]) -> dict[str, Any]:
    types = {"text": "string", "number": "number", "bool": "boolean"}
    properties: dict[str, Any] = {}
    for field in fields.values():
        entry: dict[str, Any] = {"description": field.doc.get("en"), "type": [types[field.type], "null"]}
        if field.name == "ts":
            entry["type"] = ["number", "string", "null"]
        if field.values:
            entry["enum"] = [*field.values, None]
        properties[field.name] = entry
    for name in windows:
        properties[name] = {"description": "a window; see windows.yaml", "type": ["number", "null"]}
    properties["score"] = {"description": "the score of the model, 0 to 1", "type": ["number", "null"]}
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def rule_schema(fields: Mapping[str, Field], windows: Iterable[str]) -> dict[str, Any]:
    """The schema of one rule file."""
    names = list(windows)
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
            "label": {**_text(64), "description": "what the callee's telephone shows"},
            "target": {**_text(256), "description": "where a diverted call goes; without it, the region's desk"},
            "reason": {**_local(500), "description": "why, for people; {name} is filled with a value of the call"},
        },
        ("verdict", "reason"),
    )
    rollout = _object(
        {
            "stage": {"enum": list(rule.STAGES)},
            "percent": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100},
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
            "params": params,
            "expect": {"enum": list(rule.EXPECT)},
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
        "windows": {"type": "array", "items": {"enum": names}, "maxItems": 64},
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
