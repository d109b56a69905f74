"""The JSON schemas of config/default.yaml and config/regions/*.yaml, for editors.

``antifraud config schema --write`` puts them into config/schema/; a test keeps them current.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from antifraud.dialects import DialectsDocument
from antifraud.settings.schema import Document, RegionDocument

FILES: Final[dict[str, type[msgspec.Struct]]] = {
    "config.schema.json": Document,
    "region.schema.json": RegionDocument,
    "dialects.schema.json": DialectsDocument,
}


def render_schema(structure: type[msgspec.Struct]) -> str:
    """The JSON schema of one structure as the text of its file."""
    (reference,), components = msgspec.json.schema_components([structure], ref_template="#/$defs/{name}")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": (structure.__doc__ or "").strip(),
        **reference,
        "$defs": {name: _portable(part) for name, part in sorted(components.items())},
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _portable(part: Any) -> Any:
    """The schema with patterns as ECMA 262 writes them (Python's ``\\Z`` is ``$`` there)."""
    if isinstance(part, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" and isinstance(value, str) else _portable(value)
            for key, value in part.items()
        }
    if isinstance(part, list):
        return [_portable(item) for item in part]
    return part
