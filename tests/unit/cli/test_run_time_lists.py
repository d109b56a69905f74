"""Run-time entries of lists: written as JSON and read back the same, what is wrong with such a file, and summed up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antifraud.cli.run_time_lists import decode_export, exported, read_export, summed_up
from antifraud.domain import ConfigError, UsageError
from antifraud.rulekit import Amendment

CHANGES = [
    Amendment("bad", "+77000000001", who="a.analyst", why="reported", at=1.8e9),
    Amendment("bad", "+77000000002", until=1_814_400_000.0, who="b.analyst", why="a campaign", at=1.79e9),
    Amendment("bad", "+77000000003", until=1_814_400_000.25, who="a.analyst", why="a campaign", at=1.81e9),
    Amendment("bad_areas", "+770155", removed=True, who="c.analyst", why="a hospital", at=1.7e9),
]


def as_file(changes: list[Amendment]) -> bytes:
    names = sorted({change.list for change in changes})
    lists = [
        {"list": name, "kind": "numbers", "run_time": [exported(one, 0.0) for one in changes if one.list == name]}
        for name in names
    ]
    return json.dumps(lists, indent=2).encode()


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    raw = as_file(CHANGES)
    assert decode_export(raw, "lists.json") == CHANGES
    (tmp_path / "lists.json").write_bytes(raw)
    assert read_export(tmp_path / "lists.json") == CHANGES
    # What `lists show LIST --json` writes is one list, not several.
    one = json.dumps(json.loads(raw)[1]).encode()
    assert decode_export(one, "list.json") == CHANGES[3:]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            b'[\n  {"list": "bad",\n   "run_time": [}\n]',
            (
                "lists.json:3:17: no JSON: JSON is malformed: invalid character (byte 36)\n"
                "    write the file with `antifraud lists show --json`"
            ),
        ),
        (
            b"",
            "lists.json:1:1: no JSON: input data was truncated\n    write the file with `antifraud lists show --json`",
        ),
        (
            b'[{"list": "bad"}]',
            (
                "lists.json: object missing required field `run_time` - at `$[0]`\n"
                "    write the file with `antifraud lists show --json`"
            ),
        ),
        (
            b'{"list": "bad", "run_time": [{"op": "drop", "value": "+77000000001"}]}',
            (
                "lists.json: invalid enum value 'drop' - at `$.run_time[0].op`\n"
                "    write the file with `antifraud lists show --json`"
            ),
        ),
        (
            b'{"list": "bad", "run_time": [{"op": "add", "value": "+77000000001", "until": "soon"}]}',
            (
                "lists.json: run_time[0] of bad: until 'soon' is no date such as 2027-06-30\n"
                "    write until as it was, with its offset"
            ),
        ),
        (
            b'{"list": "bad", "run_time": [], "run_time_unknown": "no Redis is configured"}',
            (
                "lists.json: it has no run-time entries, because they were not known when it was written: "
                "no Redis is configured\n    write it again where Redis can be asked"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(raw: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_export(raw, "lists.json")
    assert caught.value.render() == said


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_export(tmp_path)


def test_a_line_for_each_list() -> None:
    rows, full = summed_up(CHANGES, 1_814_400_000.1)
    assert rows == [
        ("bad", "3", "0", "1", "2026-09-21", "a.analyst, b.analyst"),
        ("bad_areas", "0", "1", "0", "2023-11-14", "c.analyst"),
    ]
    assert full == []


def test_a_list_that_takes_hardly_any_more_is_named() -> None:
    changes = [Amendment("bad", f"+7700{number:07d}", who=f"w{number % 5}", at=1.8e9) for number in range(9_000)]
    rows, full = summed_up(changes, 0.0)
    assert rows == [("bad", "9,000", "0", "0", "2027-01-15", "w0, w1, w2 and 2 more")]
    assert full == ["bad"]
