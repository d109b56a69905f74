"""Mapping files: the shipped ones load, and every mistake is shown where it stands."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from antifraud.domain import ConfigError
from sip_adapters.cdr import find_mapping, load_mapping, mapping_dirs

GOOD = """\
version: 1
fields:
  caller_raw: a
  callee_raw: b
times:
  setup: start
"""


def check(tmp_path: Path, text: str) -> str:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_mapping(path)
    return caught.value.render().replace(str(path), "m.yaml")


def test_every_shipped_mapping_loads() -> None:
    shipped = [path for place in mapping_dirs() for path in place.glob("*.yaml")]
    assert {path.stem for path in shipped} >= {"asterisk", "generic"}
    for path in shipped:
        assert load_mapping(path).summary


def test_defaults(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(GOOD)
    mapping = load_mapping(path)
    assert (mapping.delimiter, mapping.encoding, mapping.header, mapping.unit) == (",", "utf-8", True, "s")
    assert mapping.zone == dt.UTC
    assert mapping.needed() == ("a", "b", "start")


def test_everything(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        GOOD
        + '  format: "%d.%m.%Y %H:%M:%S"\n  zone: "-03:30"\nformat: {delimiter: tab, encoding: cp1251, quote: "\'"}\n'
        + "durations: {unit: hms, talk: 't?'}\ncause: {column: c, kind: words, words: {no answer: 19}}\n"
        + "constant: {switch: s1}\n"
    )
    mapping = load_mapping(path)
    assert (mapping.delimiter, mapping.quote, mapping.encoding) == ("\t", "'", "cp1251")
    assert mapping.zone.utcoffset(None) == dt.timedelta(hours=-3, minutes=-30)
    assert mapping.cause_words == {"NO ANSWER": 19}
    assert mapping.constant == {"switch": "s1"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            GOOD.replace("caller_raw", "caler_raw"),
            ("m.yaml:3:3: there is no key 'caler_raw' in fields\n      caler_raw: a\n      ^^^^^^^^^\n"
            "    did you mean caller_raw?\n"
            "m.yaml:3:3: fields.caller_raw is missing\n      caler_raw: a\n      ^\n"
            "    name the column that holds that number"),
        ),
        (
            GOOD + "  zone: Asia/Almati\n",
            ("m.yaml:7:9: there is no time zone 'Asia/Almati' on this machine\n      zone: Asia/Almati\n"
            "            ^^^^^^^^^^^\n    did you mean Asia/Almaty?"),
        ),
        (
            GOOD + "format: {header: false}\ncolumns: [a, start, bee]\n",
            ("m.yaml:4:15: there is no column 'b'\n      callee_raw: b\n                  ^\n"
            "    columns are a, start, bee"),
        ),
        (
            GOOD + "cause: {column: c, kind: q851}\n",
            ("m.yaml:7:26: kind 'q851' is none of q850, sip, words\n    cause: {column: c, kind: q851}\n"
            "                             ^^^^"),
        ),
        ("version: 1\nfields: [\n", None),
        ("just text", "m.yaml: a mapping needs keys such as format, fields, times"),
    ],
)  # fmt: skip
def test_mistakes_are_shown_where_they_stand(tmp_path: Path, text: str, shown: str | None) -> None:
    rendered = check(tmp_path, text)
    if shown is None:
        assert rendered.startswith("m.yaml:3:1: no YAML: ")
    else:
        assert rendered == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 2\n" + GOOD[11:], "version must be 1"),
        (GOOD[11:], "version is missing"),
        (GOOD + "fields: {}\n", "fields stands twice"),
        (GOOD + "  format: '%H:%M'\n", "does not give date and time"),
        (GOOD + "format: {delimiter: ';;'}\n", "delimiter must be one character"),
        (GOOD + "format: {encoding: utf-16}\n", "encoding 'utf-16' cannot be used"),
        (GOOD + "format: {encoding: klingon}\n", "encoding 'klingon' cannot be used"),
        (GOOD + "format: {header: perhaps}\n", "header must be true or false"),
        (GOOD + "format: {header: false}\n", "columns must name the columns"),
        (GOOD + "columns: [a, b]\n", "columns has no meaning"),
        (GOOD + "format: {header: false}\ncolumns: [a, b, start, a]\n", "column 'a' stands twice"),
        (GOOD + "cause: {column: c, kind: words}\n", "cause.words is missing"),
        (GOOD + "cause: {column: c, kind: words, words: {x: 128}}\n", "'128' is no Q.850 cause"),
        (GOOD + "cause: {kind: sip}\n", "cause.column is missing"),
        (GOOD + "constant: {switch: " + "s" * 65 + "}\n", "more than 64 characters"),
        (GOOD + "durations: {unit: h}\n", "unit 'h' is none of"),
        (GOOD.replace("setup:", "answer:"), "times.setup is missing"),
        (GOOD.replace("caller_raw: a", "caller_raw: {}"), "caller_raw must name a column"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, words: str) -> None:
    assert words in check(tmp_path, text)


def test_a_question_mark_inside_braces_needs_quotes(tmp_path: Path) -> None:
    assert "must stand in quotes" in check(tmp_path, GOOD + "durations: {talk: t?, unit: s}\n")


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    rendered = check(tmp_path, GOOD + "  zone: nowhere\ndurations: {unit: h}\nconstant: {kind: x}\n")
    assert rendered.count("m.yaml:") == 3


def test_a_mapping_is_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "cdr").mkdir()
    (tmp_path / "cdr" / "generic.yaml").write_text(GOOD)
    assert find_mapping("generic", str(tmp_path)) == tmp_path / "cdr" / "generic.yaml"
    assert find_mapping("asterisk", str(tmp_path)).name == "asterisk.yaml"
    assert find_mapping("x/y.yaml") == Path("x/y.yaml")
    with pytest.raises(ConfigError) as caught:
        find_mapping("astrisk")
    assert "did you mean asterisk?" in caught.value.render()
    with pytest.raises(ConfigError, match="No such file"):
        load_mapping(tmp_path / "nothing.yaml")
