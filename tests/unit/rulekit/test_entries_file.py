"""The CSV file beside a list: what it may hold, where it is wrong, and that a million numbers stay small."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from antifraud.domain import BundleError
from antifraud.rulekit import ListFile, load_lists

from .workbench import list_text, load, problems, write


def beside(
    folder: Path,
    content: str | bytes,
    *,
    kind: str = "numbers",
    head: str = "",
    entries: str = "[]",
    name: str = "known",
) -> Path:
    text = list_text(name, entries, kind=kind, head=f"{head}entries_file: {name}.csv\n")
    return write(folder, {f"lists/{name}.yaml": text, f"lists/{name}.csv": content})


def the_list(folder: Path) -> ListFile:
    (item,) = load_lists(folder).values()
    return item


def test_numbers_keep_their_plus_and_say_who_answers_for_them(tmp_path: Path) -> None:
    content = (
        "value,until,owner,source,note\r\n"
        "+7 (700) 000-00-01,2027-06-30,,letter 17,\r\n"
        "\r\n"
        '112,,emergency desk,,"a code, not a ""number"""\r\n'
        "+77000000003,,,,\r\n"
    )
    item = the_list(beside(tmp_path, content, entries='["+77000000009"]'))
    until = item.lookup()
    assert until("+77000000001", -1.0) == 1_814_400_000.0
    assert until("112", -1.0) == until("+77000000003", -1.0) == until("+77000000009", -1.0) == float("inf")
    assert until("77000000003", -1.0) == -1.0
    (first,) = item.taking_in("+77000000001")
    assert (first.owner, first.source, first.line) == ("tests", "letter 17", 2)
    assert first.file.endswith("known.csv")
    (code,) = item.taking_in("112")
    assert (code.owner, code.source, code.note, code.line) == ("emergency desk", "made up", 'a code, not a "number"', 4)
    (own,) = item.taking_in("+77000000009")
    assert own.file.endswith("known.yaml")
    assert [one.plain for one in item.first(10)] == ["+77000000009", "+77000000001", "112", "+77000000003"]


def test_semicolons_a_byte_order_mark_and_ranges(tmp_path: Path) -> None:
    content = "\ufefffrom;to;until\n+77000000000;+77000000099;\n+7 700 000 0050;+7 700 000 0150;2020-01-01\n"
    item = the_list(beside(tmp_path, content, kind="ranges", entries='["+77010000000-+77010000009", "+77020000000"]'))
    until = item.lookup()
    assert until("+77000000099", -1.0) == float("inf")
    assert until("+77000000100", -1.0) == 1_577_923_200.0
    assert until("+77010000009", -1.0) == until("+77020000000", -1.0) == float("inf")
    assert until("+77010000010", -1.0) == until("+770000000990", -1.0) == until("+7700000009", -1.0) == -1.0
    assert [one.line for one in item.taking_in("+77000000060")] == [2, 3]


def test_an_entry_has_its_own_owner_and_source(tmp_path: Path) -> None:
    entries = '[{value: "+77000000001", owner: a bank, source: letter 3, note: codes}, "+77000000002"]'
    item = the_list(write(tmp_path, {"lists/known.yaml": list_text("known", entries)}))
    (one,), (two,) = item.taking_in("+77000000001"), item.taking_in("+77000000002")
    assert (one.owner, one.source, one.note) == ("a bank", "letter 3", "codes")
    assert (two.owner, two.source, two.note) == ("tests", "made up", "")


@pytest.mark.parametrize(
    ("content", "line", "column", "words"),
    [
        ("value\n+77000000001\n77001234567\n", 3, 1, "no number"),
        ("value\n7.7E+10\n", 2, 1, "no number"),
        ("value\n\"=cmd|' /C calc'!A0\"\n", 2, 2, "no number"),
        ("value,note\n+77000000001,a\x00b\n", 2, 15, "U+0000"),
        ("value,note\n+77000000001,a\rb\n", 2, 15, "U+000D"),
        ("value\n+7700\u20280000001\n", 2, 6, "U+2028"),
        (b"value,note\n+77000000001,\xd0\xb1\xff\n", 2, 15, "not UTF-8"),
        (b"\xff\xfev\x00a\x00l\x00", 1, 1, "not UTF-8"),
        ("value,until\n+77000000001,30.06.2027\n", 2, 14, "must be a date"),
        ("value,until\n+77000000001,2027-06-30T10:00:00\n", 2, 14, "must be a date"),
        ("value,until\n+77000000001\n", 2, 1, "1 fields, the header 2"),
        ("value\n+77000000001\n+7 700 000 0001\n", 3, 1, "second time"),
        ("value\n112\n112\n", 3, 1, "second time"),
        ("value,note\n,a bank\n", 2, 1, "value is empty"),
        ("value,value\n", 1, 7, "second time"),
        ("value,note\n+77000000001," + "x" * 600 + "\n", 2, 14, "at most 500"),
        ("value\n" + "9" * 5_000, 2, 1, "longer than"),
        ("from,to\n+77000000001,+77000000002\n", 1, 1, "no column"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, content: str | bytes, line: int, column: int, words: str
) -> None:
    found = problems(beside(tmp_path, content))
    assert found
    where = found[0].where
    assert where is not None
    assert where.file.endswith("known.csv")
    assert (where.line, where.column) == (line, column), found[0].render()
    assert words in found[0].render()


def test_a_spreadsheet_that_dropped_the_plus_is_named(tmp_path: Path) -> None:
    (found,) = problems(beside(tmp_path, "value\n77001234567\n"))
    assert "format the column as text" in found.hint


def test_an_entry_of_both_files_is_said(tmp_path: Path) -> None:
    (found,) = problems(beside(tmp_path, "value\n+77000000001\n", entries='["+77000000001"]'))
    assert found.where is not None
    assert (Path(found.where.file).name, found.where.line) == ("known.csv", 2)
    assert "known.yaml" in found.hint


def test_fifty_problems_are_enough(tmp_path: Path) -> None:
    assert len(problems(beside(tmp_path, "value\n" + "x\n" * 10_000))) == 50


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {"lists/known.yaml": list_text("known", "[]", head="entries_file: known.csv\n")})
    (found,) = problems(folder)
    assert "does not exist" in found.message
    (folder / "lists" / "known.csv").mkdir()
    (found,) = problems(folder)
    assert "no file" in found.message


def test_the_digest_follows_the_csv_file(tmp_path: Path) -> None:
    folder = beside(tmp_path, "value\n+77000000001\n")
    before = load(folder).digest
    assert load(folder).digest == before
    beside(tmp_path, "value\n+77000000002\n")
    assert load(folder).digest != before


def test_a_protect_list_reads_its_csv_file(tmp_path: Path) -> None:
    folder = beside(tmp_path, "value\n+77170000009\n", head="class: protect\n")
    from .workbench import row

    rules = load(folder)
    (hit,) = rules.evaluate(row(callee="+77170000009"), rules.params({}))
    assert hit.verdict == "protect"


def test_half_a_million_numbers_in_a_second_or_few(tmp_path: Path) -> None:
    count = 500_000
    numbers = "".join(f"+7700{(number * 7_919) % 10_000_000:07d}\n" for number in range(count))
    folder = beside(tmp_path, f"value\n{numbers}")
    begun = time.perf_counter()
    item = the_list(folder)
    until = item.lookup()
    assert time.perf_counter() - begun < 10
    assert len(item.entries) == count
    assert until("+77000007919", -1.0) == float("inf")
    assert until("+77010000000", -1.0) == -1.0
    assert item.taking_in("+77000007919")[0].line == 3


def test_a_million_lines_that_say_the_same_are_refused(tmp_path: Path) -> None:
    folder = beside(tmp_path, "value\n" + "+77000000001\n" * 60_000)
    with pytest.raises(BundleError):
        load_lists(folder)
