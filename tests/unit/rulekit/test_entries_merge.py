"""Importing a CSV file into that of a list: what becomes of each entry, and all or nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from antifraud.domain import BundleError
from antifraud.rulekit import ListFile, entries_merge, load_lists
from antifraud.rulekit.entries_merge import Merged, merge_entries

from .workbench import list_text, write

HEADER = "value,until,owner,source,note\n"


def the_list(folder: Path, content: str, *, kind: str = "numbers", head: str = "", entries: str = "[]") -> ListFile:
    text = list_text("known", entries, kind=kind, head=f"{head}entries_file: known.csv\n")
    (item,) = load_lists(write(folder, {"lists/known.yaml": text, "lists/known.csv": content})).values()
    return item


def beside(item: ListFile) -> str:
    assert item.entries_file is not None
    return item.entries_file.read_text()


def merged(item: ListFile, folder: Path, content: str, *, replace: bool = False) -> Merged:
    file = folder / "new.csv"
    file.write_text(content)
    return merge_entries(item, file, replace=replace)


def refused(item: ListFile, folder: Path, content: str) -> str:
    before = beside(item)
    with pytest.raises(BundleError) as caught:
        merged(item, folder, content)
    assert beside(item) == before
    assert [path.name for path in (folder / "lists").iterdir() if path.name.startswith(".")] == []
    return caught.value.render().replace(f"{folder}/", "")


def test_an_entry_of_both_files_is_as_the_new_one_says(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER + "+77000000001,2027-06-30,,,as it was\n112,,,,\n+77000000002,,,,\n")
    new = "value;until;owner\n+7 700 000 00 02;2027-06-30;a bank\n+77000000003;;\n"
    assert merged(item, tmp_path, new) == Merged(added=1, changed=1, kept=2)
    assert beside(item) == (
        HEADER + "+77000000001,2027-06-30,,,as it was\n112,,,,\n"
        "+77000000002,2027-07-01T00:00:00+00:00,a bank,,\n+77000000003,,,,\n"
    )


def test_replaced_altogether(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER + "+77000000001,,,,\n+77000000002,,,,\n")
    assert merged(item, tmp_path, HEADER + "+77000000002,2027-06-30,,,kept as it is\n", replace=True) == Merged(1, 0, 0)
    assert beside(item) == HEADER + "+77000000002,2027-06-30,,,kept as it is\n"


def test_commas_and_quotes_in_a_note_stay(tmp_path: Path) -> None:
    item = the_list(tmp_path, "value,note\n", kind="ranges")
    content = 'from,to,note\n+77000000000,+77000000009,"of ""A"", and B"\n'
    assert merged(item, tmp_path, content) == Merged(1, 0, 0)
    assert beside(item) == HEADER + '+77000000000-+77000000009,,,,"of ""A"", and B"\n'
    (again,) = load_lists(tmp_path).values()
    assert again.taking_in("+77000000005")[0].note == 'of "A", and B'


def test_trunks_are_texts(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER + "gw-1,,,,\ngw-2*,,,,old\n", kind="trunks")
    assert merged(item, tmp_path, "value,note\ngw-2*,new\ngw-3,\n") == Merged(1, 1, 1)
    assert beside(item) == HEADER + "gw-1,,,,\ngw-2*,,,,new\ngw-3,,,,\n"


def test_an_entry_that_stands_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER)
    said = refused(item, tmp_path, "value\n+77000000001\n+77000000002\n+7 700 000 00 01\n+77000000003\n")
    assert said == (
        "new.csv:4:1: +77000000001 stands in this list a second time\n"
        "    +7 700 000 00 01\n    ^^^^^^^^^^^^^^^^\n    it was first given on line 2"
    )


def test_an_entry_of_the_list_file_is_refused_with_both_places(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER, entries='["+77000000001"]')
    said = refused(item, tmp_path, "value\n+77000000002\n+7 700 000 00 01\n")
    assert said == (
        "new.csv:3:1: +77000000001 stands in this list a second time\n"
        "    +7 700 000 00 01\n    ^^^^^^^^^^^^^^^^\n"
        "    it is on line 7 of lists/known.yaml: take it out of one of the two"
    )


def test_every_wrong_line_is_said(tmp_path: Path) -> None:
    item = the_list(tmp_path, HEADER)
    said = refused(item, tmp_path, "value,until\n+77000000001,soon\n7.7E+10,\n+77000000002,,\n")
    assert [line.partition(": ")[0] for line in said.splitlines() if line.startswith("new.csv")] == [
        "new.csv:2:14",
        "new.csv:3:1",
        "new.csv:4:1",
    ]


def test_a_list_takes_so_many_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_merge, "most_rows", lambda _kind: 2)
    item = the_list(tmp_path, HEADER + "+77000000001,,,,\n")
    assert refused(item, tmp_path, "value\n+77000000002\n+77000000003\n") == (
        "new.csv: this file has more than 2 entries, with those that the list has\n    split it into several lists"
    )
    assert merged(item, tmp_path, "value\n+77000000002\n+77000000001\n") == Merged(1, 1, 0)


@pytest.mark.parametrize("kind", ["numbers", "prefixes", "ranges", "trunks"])
@pytest.mark.parametrize("seed", range(8))
def test_what_comes_out_is_what_two_dictionaries_would_be(tmp_path: Path, kind: str, seed: int) -> None:
    rng = random.Random(seed)

    def value() -> str:
        number = rng.randrange(77_000_000_000, 77_000_000_040)
        shown = {"numbers": f"+{number}", "prefixes": f"+{number}"[: rng.choice((11, 12))]}
        shown |= {"ranges": f"+{number}-+{number + rng.randrange(3)}", "trunks": f"gw{number % 40}"}
        return rng.choice(["112", "113", "0800"]) if kind != "ranges" and rng.random() < 0.1 else shown[kind]

    def rows(note: str) -> dict[str, str]:
        return {value(): rng.choice(["2030-01-01", "", note]) and note for _ in range(rng.randrange(30))}

    old, new = rows("old"), rows("new, quoted")
    item = the_list(tmp_path, HEADER + "".join(f"{plain},,,,{note}\n" for plain, note in old.items()), kind=kind)
    content = "note,value\n" + "".join(f'"{note}",{plain}\n' for plain, note in new.items())
    result = merged(item, tmp_path, content)
    assert result == Merged(len(new.keys() - old.keys()), len(new.keys() & old.keys()), len(old.keys() - new.keys()))
    (again,) = load_lists(tmp_path).values()
    assert {one.plain: one.note for one in again.first(1_000)} == {**old, **new}
