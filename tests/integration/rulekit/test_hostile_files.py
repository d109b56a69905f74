"""Whatever stands in the place of a file that people write: said in words, at its place, within time and memory."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from typing import Any

import pytest

from .hostile_files import PLACES, SOUND, TEXTS, THINGS
from .test_commands import ROOT

MOST_BYTES = 600 * 1024 * 1024
MOST_SECONDS = 60
MOST_SECONDS_A_FILE = 3.0

TOO_BIG = "larger than"
UNREADABLE = "cannot be read: "
NESTED = "nested deeper than|nested too deeply"
UNKNOWN = "is not known in|unknown key"
TOO_MUCH = f"has more than|{UNKNOWN}|{TOO_BIG}"

#: What is said of each, and on which line: 1, -1 for the first line behind the sound text, -2 for the one after it.
SAID: dict[str, tuple[str, int | None]] = {
    "empty": ("is empty", None),
    "only a comment": ("is empty", None),
    "a null byte": (r"control character U\+0000", -1),
    "UTF-16": ("not UTF-8 text", 1),
    "Latin-1": ("not UTF-8 text", -1),
    "half a character": ("not UTF-8 text", -1),
    "a tab": ("indent with spaces", -2),
    "another space": (r"U\+00A0", -2),
    "a hidden character": (r"control character U\+202E", -1),
    "a key twice": ("a second time|stands twice", -1),
    "a bomb of anchors": ("anchors .* are not accepted", 1),
    "an anchor": ("anchors .* are not accepted", -1),
    "an alias": ("anchors .* are not accepted", -1),
    "a tag that runs": ("the tag !!python/object/apply:os.system is not accepted", -1),
    "a tag": ("the tag !!int is not accepted", -1),
    "two documents": ("a second document begins here", -1),
    "a merge key": (f"<<.*({UNKNOWN})|({UNKNOWN}).*<<", -1),
    "an unknown key": (UNKNOWN, -1),
    "a key that looks Latin": (UNKNOWN, -1),
    "a key that is a list": ("a key must be a plain word|must be plain text", -1),
    "no end of a quote": ("quoted scalar", None),
    "no end of a bracket": ("flow", None),
    "deep lists": (NESTED, -1),
    "deep mappings": (NESTED, -1),
    "deep blocks": (NESTED, None),
    "deep hyphens": (NESTED, -2),
    "deep questions": (NESTED, -1),
    "a number of 50,000 digits": (UNKNOWN, -1),
    "no number": (UNKNOWN, -1),
    "numbers that are none": (UNKNOWN, -1),
    "very many values": (TOO_MUCH, None),
    "very many keys": (TOO_MUCH, None),
    "a line of 900,000 characters": (TOO_MUCH, None),
    "a thousand colons": ("mapping values are not allowed", -1),
    "nothing but brackets": (NESTED, 1),
    "nothing but hyphens": (NESTED, 1),
    "binary": ("not UTF-8 text", 2),
    "carriage returns": (UNKNOWN, -1),
    "a byte order mark": (UNKNOWN, -1),
    "100 MB": (TOO_BIG, None),
    "a folder": (UNREADABLE, None),
    "a link to itself": (UNREADABLE, None),
    "a link to nowhere": (UNREADABLE, None),
    "a pipe": (UNREADABLE, None),
    "an endless device": (UNREADABLE, None),
    "a file that fails while it is read": (UNREADABLE, None),
    "a file of somebody else": (UNREADABLE, None),
}


#: root may read every file unless it gives up the right to.
NO_OVERRIDE = "-dac_override,-dac_read_search"
MAY_NOT_READ_ALL = (
    ["setpriv", f"--inh-caps={NO_OVERRIDE}", f"--bounding-set={NO_OVERRIDE}"] if os.geteuid() == 0 else []
)


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [*MAY_NOT_READ_ALL, sys.executable, "-m", "tests.integration.rulekit.hostile_files", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * MOST_SECONDS,
        check=False,
        preexec_fn=limits,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "ran").exists(), "something in a file was executed"
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    return {(case["kind"], case["case"]): case for case in cases}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("case", [*TEXTS, *THINGS])
def test_what_a_person_is_told(kind: str, case: str, found: dict[tuple[str, str], dict[str, Any]]) -> None:
    words, line = SAID[case]
    told = found[kind, case]["told"]
    assert re.search(words, told), told
    assert len(told) < 4_000, "a terminal has an end"
    if line is not None:
        after = SOUND[kind].count("\n") + 1
        expected = line if line > 0 else after - line - 1
        assert re.search(rf"{re.escape(PLACES[kind])}:{expected}(:|\b)", told), told


def test_reading_takes_no_longer_than_it_may(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    slow = {key: case["seconds"] for key, case in found.items() if case["seconds"] > MOST_SECONDS_A_FILE}
    assert slow == {}
