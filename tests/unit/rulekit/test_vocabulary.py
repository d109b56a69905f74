"""rules/fields.yaml, the names of windows, and the schemas for editors."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from antifraud.domain import BundleError
from antifraud.features.schema import window_schema, windows_schema
from antifraud.rulekit import load_fields, read_window_names
from antifraud.rulekit.schema import calendar_schema, list_schema, rule_schema
from antifraud.rulekit.texts import LANGUAGES

from .workbench import RULES, load_one, rule_text, vocabulary

FACTS = RULES.parent / "antifraud" / "decision" / "facts.py"


def test_the_fields_are_those_that_the_engine_fills() -> None:
    tuples = {
        node.target.id: node.value
        for node in ast.parse(FACTS.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    filled = [*ast.literal_eval(tuples["EVENT_ROW"]), *ast.literal_eval(tuples["FACT_ROW"])]
    filled.append(ast.literal_eval(tuples["TALK_SO_FAR"]))
    assert sorted(vocabulary()[0]) == sorted(filled)


def test_every_field_is_described_in_every_language() -> None:
    for field in vocabulary()[0].values():
        assert tuple(language for language, _text in field.doc.versions) == LANGUAGES, field.name
        assert not any(text.endswith(".") for _language, text in field.doc.versions), field.name


def test_what_is_known_when() -> None:
    late = {field.name: field.since for field in vocabulary()[0].values() if field.since != "setup"}
    assert late == {
        "ring_s": "release",
        "talk_s": "release",
        "pdd_s": "release",
        "cause": "release",
        "label": "report",
        "reporter": "report",
        "weight": "report",
        "talk_so_far_s": "talk",
    }


def test_broken_fields_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "fields.yaml"
    path.write_text("fields:\n  a: {type: txt, since: setup, doc: x}\n  B: {type: text, since: setup, doc: x}\n")
    with pytest.raises(BundleError) as caught:
        load_fields(path)
    assert [str(problem.where).rsplit("/", 1)[-1] for problem in caught.value.problems] == [
        "fields.yaml:2:13",
        "fields.yaml:3:3",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "windows:\n  first: {kind: count}\n  second: {kind: age}\n",
        "first: {kind: count}\nsecond:\n  kind: age\n",
        "windows:\n  - name: first\n    kind: count\n  - {name: second}\n",
        "- name: first\n- name: second\n",
    ],
)
def test_names_of_windows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "windows.yaml"
    path.write_text(text)
    assert read_window_names(path) == ("first", "second")


@pytest.mark.parametrize("text", ["- kind: count\n", "windows: 3\n", "- name: [a]\n", "a: &x {}\n"])
def test_windows_without_names_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "windows.yaml"
    path.write_text(text)
    with pytest.raises(BundleError):
        read_window_names(path)


def test_the_schemas_are_up_to_date() -> None:
    """After fields or windows changed: antifraud rules schema."""
    fields, windows, _order = vocabulary()
    rule = rule_schema(fields, windows, window_schema(own=True))
    others = {"list": list_schema(), "calendar": calendar_schema(), "windows": windows_schema()}
    for name, made in {"rule": rule, **others}.items():
        stored = json.loads((RULES / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
        assert stored == made


def fits(schema: dict[str, Any], value: Any, place: str = "") -> list[str]:
    """Where ``value`` breaks ``schema``: just the part of JSON Schema that ours use."""
    if "anyOf" in schema:
        found = [fits(option, value, place) for option in schema["anyOf"]]
        return [] if any(not faults for faults in found) else found[0]
    faults: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        faults.append(f"{place}: {value!r} not in enum")
    kinds = schema.get("type", [])
    names = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array"}
    if "propertyNames" in schema and isinstance(value, dict):
        faults += [fault for name in value for fault in fits(schema["propertyNames"], name, f"{place}/{name}")]
    if kinds and names.get(type(value), "null") not in ([kinds] if isinstance(kinds, str) else kinds):
        return [f"{place}: {value!r} is no {kinds}"]
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        faults.append(f"{place}: length {len(value)}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        faults.append(f"{place}: {value!r} against the pattern")
    if isinstance(value, dict):
        faults += [f"{place}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, inner in value.items():
            part = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            faults += [f"{place}: {name} is unknown"] if part is False else fits(part, inner, f"{place}/{name}")
    if isinstance(value, list):
        faults += [f"{place}: too few items"] if len(value) < schema.get("minItems", 0) else []
        faults += [fault for item in value for fault in fits(schema.get("items", {}), item, f"{place}[]")]
    return faults


class _Words(yaml.SafeLoader):
    """Dates stay words, as in JSON."""


_Words.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in found
        # As editors read it: by YAML 1.2, in which `on` is a word. Of the words for yes and no only true and false
        # begin with these letters.
        if tag != "tag:yaml.org,2002:timestamp" and (tag != "tag:yaml.org,2002:bool" or first in "tTfF")
    ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@pytest.mark.parametrize(
    "path", sorted([*RULES.glob("packs/*/*.yaml"), *RULES.glob("lists/*.yaml")]), ids=lambda p: p.stem
)
def test_what_the_checker_accepts_the_schema_accepts(path: Path) -> None:
    fields, windows, _order = vocabulary()
    kind = "list" if path.parent.name == "lists" else "rule"
    schema = list_schema() if kind == "list" else rule_schema(fields, windows, window_schema(own=True))
    text = path.read_text(encoding="utf-8")
    assert fits(schema, yaml.load(text, _Words)) == []
    up = "../" if kind == "list" else "../../"
    assert text.startswith(f"# yaml-language-server: $schema={up}schema/{kind}.schema.json\n")


def test_the_schema_of_the_calendar() -> None:
    text = (RULES / "calendar.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema/calendar.schema.json\n")
    calendar = yaml.load(text, _Words)
    schema = calendar_schema()
    assert fits(schema, calendar) == []
    for change in ({"country": "kz"}, {"holidays": [{"date": "1.1.2027", "name": "a"}]}, {"years": []}, {"zones": 1}):
        assert fits(schema, {**calendar, **change}), change


def test_the_schema_of_windows() -> None:
    text = (RULES / "windows.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema/windows.schema.json\n")
    windows = yaml.load(text.replace("    on:", '    "on":'), _Words)  # editors read YAML 1.2, where on is a word
    schema = windows_schema()
    assert fits(schema, windows) == []
    for name, window in windows["windows"].items():
        assert fits(window_schema(own=True), {"name": name, **window}) == []
    one = windows["windows"]["caller_calls_1h"]
    for change in ({"kind": "cuont"}, {"over": "1 hour"}, {"by": "color"}, {"doc": {"en": "a"}}, {"every": "1m"}):
        assert fits(schema, {"windows": {"a": {**one, **change}}}), change
    assert fits(schema, {"windows": {"Calls": one}})


def test_the_schema_refuses_what_it_can() -> None:
    fields, windows, _order = vocabulary()
    schema = rule_schema(fields, windows)
    assert fits(schema, {"rule": "a", "ownr": "b"})
    assert fits(schema["properties"]["then"], {"verdict": "blok", "reason": "x"})
    assert fits(schema["properties"]["rollout"], {"stage": "enforce"}) == []


@pytest.mark.parametrize(
    "condition",
    [
        "hour < 24",
        "hour >= 0",
        "between(hour, 0, 23)",
        "weekday == 6",
        "caller_short_share_1h >= 1",
        "caller_short_share_1h * 100 > 80",
        "caller_calls_1m <= 0",
        "score > 0.5",
        'caller in ["102", "1414", "880099"]',
        'prefix_in(caller, ["8800"])',
        'caller_raw == "87010000001"',
    ],
)
def test_what_a_value_can_be_is_accepted(tmp_path: Path, condition: str) -> None:
    load_one(tmp_path, rule_text(condition))


def test_a_parameter_on_the_border_switches_a_term_off(tmp_path: Path) -> None:
    load_one(tmp_path, rule_text("hour < params.until", params="params:\n  until: 0\n"))
