"""The JSON Schema of declared windows, for editors: windows.yaml, and the windows that a rule declares for itself.

It is made from the words that the reader knows. The reader knows more (which key belongs to which kind, what a field
carries); a file that the schema accepts can still be refused, never the other way round.
"""

from __future__ import annotations

from typing import Any, Final

from antifraud.domain import EventKind
from antifraud.features.windows import DERIVED, KEY_FIELDS, KINDS, LANGUAGES, MOST_BUCKETS, NUMBER_FIELDS

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = "^[a-z][a-z0-9_]{0,63}$"
_LENGTH: Final = "^[0-9]{1,9}[smhd]$"


def window_schema(*, own: bool) -> dict[str, Any]:
    """The schema of one declaration; ``own``: in a rule file, with its name and without the need of a description."""
    field = {"enum": list(KEY_FIELDS)}
    fields = {"anyOf": [field, {"type": "array", "items": field, "minItems": 1, "maxItems": 3}]}
    length = {"type": "string", "pattern": _LENGTH}
    texts = {language: {"type": "string", "minLength": 1} for language in LANGUAGES}
    doc = {"type": "object", "properties": texts, "required": list(LANGUAGES), "additionalProperties": False}
    properties: dict[str, Any] = {
        "kind": {"enum": list(KINDS), "description": "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())},
        "by": {**fields, "description": "whose past is kept"},
        "for": {**fields, "description": "whose is looked up when a call is set up, where that is somebody else's"},
        "over": {**length, "description": "how far it looks back: 1m, 10m, 1h, 30d"},
        "on": {"enum": [kind.value for kind in EventKind], "description": "which events are counted; setup by default"},
        "of": {
            "anyOf": [{"enum": [*KEY_FIELDS, *NUMBER_FIELDS]}, {"type": "string", "pattern": _NAME}],
            "description": f"the field that is counted or added up; of {' and '.join(DERIVED)}: a window",
        },
        "to": {"type": "string", "pattern": _NAME, "description": f"of {' and '.join(DERIVED)}: the other window"},
        "where": {"type": "string", "minLength": 1, "description": "which events count: a condition over their fields"},
        "among": {"type": "string", "minLength": 1, "description": "of a share: out of which events"},
        "new": {"enum": ["caller", "callee", "pair"], "description": "only events of somebody who is new"},
        "new_within": {**length, "description": "how long somebody is new"},
        "step": {"type": "number", "minimum": 1, "maximum": 1000, "description": "of sequential: how near is next"},
        "cut": {"type": "number", "minimum": 1, "maximum": 9, "description": "how many digits a prefix leaves out"},
        "buckets": {"type": "number", "minimum": 1, "maximum": MOST_BUCKETS, "description": "into how many parts"},
        "doc": {**doc, "description": "what it means to an analyst, in each language"},
    }
    if own:
        name = {"type": "string", "pattern": _NAME, "description": "what the conditions of this rule call it"}
        properties = {"name": name, **properties}
    required = ["name", "kind"] if own else ["kind", "doc"]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def windows_schema() -> dict[str, Any]:
    """The schema of windows.yaml."""
    return {
        "$schema": _DRAFT,
        "title": "antifraud windows",
        "type": "object",
        "properties": {
            "version": {"enum": [1]},
            "windows": {
                "type": "object",
                "propertyNames": {"pattern": _NAME},
                "additionalProperties": window_schema(own=False),
            },
        },
        "required": ["windows"],
        "additionalProperties": False,
    }
