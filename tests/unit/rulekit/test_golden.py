"""Every message of the catalogue has a golden file: exactly what a person sees who makes that mistake.

A message that gives different advice for different mistakes has more: ``lookalike.given`` is one of ``lookalike``.

After a message was changed on purpose: ``ANTIFRAUD_GOLDEN=write pytest tests/unit/rulekit/test_golden.py``, and read
the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import AntifraudError, BundleError, Location
from antifraud.rulekit import Message, RuleProblem, compile_where, load_fields, load_rules

from .cases import CONDITIONS, DIRECTORIES, ELSEWHERE
from .workbench import load, rule_text, vocabulary, write

GOLDEN = Path(__file__).parent / "golden"


def compare(case: str, error: AntifraudError, folder: Path) -> None:
    """The error has the case's code, and reads as the golden file says."""
    codes = [problem.code for problem in error.problems if isinstance(problem, RuleProblem)]
    assert case.partition(".")[0] in codes
    shown = error.render().replace(f"{folder}/", "") + "\n"
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CONDITIONS)
def test_condition(code: str, tmp_path: Path) -> None:
    write(tmp_path, {"packs/demo/sample.yaml": rule_text(CONDITIONS[code])})
    with pytest.raises(BundleError) as caught:
        load(tmp_path)
    compare(code, caught.value, tmp_path)


@pytest.mark.parametrize("code", DIRECTORIES)
def test_directory(code: str, tmp_path: Path) -> None:
    write(tmp_path, DIRECTORIES[code])
    with pytest.raises(BundleError) as caught:
        load(tmp_path)
    compare(code, caught.value, tmp_path)


def test_directory_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load(tmp_path / "nowhere")
    compare("directory-missing", caught.value, tmp_path)


def test_file_unreadable(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_fields(tmp_path / "fields.yaml")
    compare("file-unreadable", caught.value, tmp_path)


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("range-empty", "{type: number, since: setup, least: 23, most: 0, doc: x}"),
        ("range-of-text", "{type: text, since: setup, least: 0, doc: x}"),
    ],
)
def test_range(code: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "fields.yaml").write_text(f"fields:\n  hour: {field}\n")
    with pytest.raises(BundleError) as caught:
        load_fields(tmp_path / "fields.yaml")
    compare(code, caught.value, tmp_path)


def test_field_order(tmp_path: Path) -> None:
    fields, windows, order = vocabulary()
    write(tmp_path, {})
    strange = {**fields, "mood": msgspec.structs.replace(fields["hour"], name="mood")}
    with pytest.raises(BundleError) as caught:
        load_rules(tmp_path, fields=strange, windows=windows, order=order)
    compare("field-order", caught.value, tmp_path)


def test_not_available() -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where("talk_s < params.short", Location("windows.yaml", 7, 12), fields, order, "release")
    compare("not-available", caught.value, Path("/"))


def test_not_known_at() -> None:
    fields, _windows, order = vocabulary()
    with pytest.raises(BundleError) as caught:
        compile_where("roaming and talk_s < 10", Location("windows.yaml", 7, 12), fields, order, "setup")
    compare("not-known-at", caught.value, Path("/"))


def test_every_message_has_its_case_and_its_file() -> None:
    cases = {*CONDITIONS, *DIRECTORIES, *ELSEWHERE}
    assert {case.partition(".")[0] for case in cases} == {message.code for message in Message}
    assert {path.name for path in GOLDEN.iterdir()} == {f"{case}.txt" for case in cases}


def test_messages_keep_the_house_rules() -> None:
    for message in Message:
        assert not message.sentence.endswith("."), message
        assert not message.sentence[0].isupper(), message
