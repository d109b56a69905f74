"""Every table answers as a plain loop over the entries does, before and after run-time changes, small and large."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.rulekit import sorted_entries, spans, tables
from antifraud.rulekit.entries import FOREVER, plain_entry
from antifraud.rulekit.interpreter import NEVER
from antifraud.rulekit.sorted_entries import Gathering

BRISK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

# Few digits, so that entries nest, touch, overlap and repeat.
DIGIT = st.sampled_from("017")
NUMBER = st.text(DIGIT, min_size=5, max_size=8).map(lambda digits: f"+7{digits}"[:9])
SHORT = st.text(DIGIT, min_size=2, max_size=4)
PREFIX = st.one_of(st.text(DIGIT, max_size=9).map(lambda digits: f"+7{digits}"), SHORT)
ENDS = st.sampled_from([FOREVER, FOREVER, 100.0, 200.0])


@st.composite
def ranges(draw: st.DrawFn) -> str:
    length = draw(st.integers(5, 7))
    digits = st.text(DIGIT, min_size=length, max_size=length)
    low, high = sorted((draw(digits), draw(digits)))
    return f"+7{low}-+7{high}"


VALUES = {
    "numbers": st.one_of(NUMBER, SHORT),
    "prefixes": PREFIX,
    "ranges": ranges(),
    "trunks": st.text(st.sampled_from("ab-"), min_size=1, max_size=4).flatmap(lambda t: st.sampled_from([t, f"{t}*"])),
    "user_agents": st.text(st.sampled_from("abA"), min_size=4, max_size=6),
}
ODD = st.sampled_from(
    ["", "+", "+7_7001", "+٧٠٠١١", "+07001", " +77001", "+77001 ", "7700177", "+7" * 40, "9" * 300, "+7-7"]
)
TEXTS = {
    "numbers": st.one_of(NUMBER, SHORT, ODD),
    "prefixes": st.one_of(NUMBER, SHORT, PREFIX, PREFIX.map(lambda t: f"{t}-1"), ODD),
    "ranges": st.one_of(NUMBER, ODD, ranges().map(lambda r: r.partition("-")[0])),
    "trunks": st.text(st.sampled_from("ab-*"), max_size=6),
    "user_agents": st.text(st.sampled_from("abAB "), max_size=9),
}


def takes_in(kind: str, plain: str, text: str) -> bool:
    """The meaning of an entry, written as plainly as possible."""
    if kind == "numbers":
        return text == plain
    if kind == "prefixes":
        return text.startswith(plain)
    if kind == "ranges":
        low, _, high = plain.partition("-")
        digits = text[1:]
        is_number = text[:1] == "+" and bool(digits) and all(char in "0123456789" for char in digits)
        return is_number and len(text) == len(low) and low <= text <= high
    if kind == "trunks":
        return text.startswith(plain[:-1]) if plain.endswith("*") else text == plain
    return plain in text.casefold()


def oracle(kind: str, file: Mapping[str, float], added: Mapping[str, float], removed: set[str], text: str) -> float:
    held = [ends for plain, ends in file.items() if plain not in removed and takes_in(kind, plain, text)]
    held += [ends for plain, ends in added.items() if takes_in(kind, plain, text)]
    return max(held, default=NEVER)


@pytest.mark.parametrize("few", [0, 1_000], ids=["large", "small"])
@pytest.mark.parametrize("kind", list(VALUES))
@BRISK
@given(data=st.data())
def test_a_table_equals_a_loop(kind: str, few: int, data: st.DataObject) -> None:
    drawn = st.dictionaries(VALUES[kind].map(lambda value: str(plain_entry(kind, value))), ENDS, max_size=12)
    file = data.draw(drawn)
    gathering = Gathering(kind)
    for line, (plain, ends) in enumerate(file.items(), 1):
        assert gathering.add(plain, ends, line) == 0
    columns, twice = gathering.sorted()
    assert not twice
    assert {plain: ends for plain, ends, _line in columns.plain()} == file
    table = tables.table_of(columns, few=few)
    until = table.until
    texts = data.draw(st.lists(TEXTS[kind], min_size=1, max_size=8))
    for _ in range(3):
        added = data.draw(drawn)
        candidates = st.sampled_from(sorted({*file, *added})) if file or added else st.nothing()
        removed = data.draw(st.sets(candidates, max_size=4)) if file or added else set()
        added = {plain: ends for plain, ends in added.items() if plain not in removed}
        table.amend(added, removed)
        for text in texts:
            wanted = oracle(kind, file, added, removed, text)
            assert until(text, NEVER) == wanted, text
    table.amend({}, set())
    for text in texts:
        assert until(text, NEVER) == oracle(kind, file, {}, set(), text)


@pytest.mark.parametrize("kind", ["numbers", "prefixes", "ranges"])
@BRISK
@given(data=st.data())
def test_how_many_entries_are_kept_changes_no_answer(kind: str, data: st.DataObject) -> None:
    """As above with numpy's sorting, blocks with outliers, and more different ends than a key has bits for."""
    values = VALUES[kind].map(lambda value: str(plain_entry(kind, value)))
    ends = st.sampled_from([FOREVER, FOREVER, 100.0, 200.0, 300.0, 400.0])
    file = data.draw(st.dictionaries(values, ends, min_size=2, max_size=60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_SHARED", 2)
        patch.setattr(spans, "_OUTLIERS", data.draw(st.sampled_from([4, 200])))
        patch.setattr(spans, "SMALL", 1)
        patch.setattr(sorted_entries, "SMALL", 1)
        patch.setattr(sorted_entries, "MASK", data.draw(st.sampled_from([1, 3, sorted_entries.MASK])))
        gathering = Gathering(kind)
        for line, (plain, end) in enumerate(file.items(), 1):
            gathering.add(plain, end, line)
        columns, _twice = gathering.sorted()
        assert {plain: end for plain, end, _line in columns.plain()} == file
        table = tables.table_of(columns, few=0)
        for _ in range(2):
            removed = data.draw(st.sets(st.sampled_from(sorted(file)), max_size=9))
            drawn = data.draw(st.dictionaries(values, ends, max_size=9))
            added = {plain: end for plain, end in drawn.items() if plain not in removed}
            table.amend(added, removed)
            for text in data.draw(st.lists(TEXTS[kind], min_size=1, max_size=20)):
                assert table.until(text, NEVER) == oracle(kind, file, added, removed, text), text


@pytest.mark.parametrize("few", [0, 1_000], ids=["large", "small"])
@pytest.mark.parametrize("kind", ["numbers", "prefixes", "ranges"])
@BRISK
@given(data=st.data())
def test_what_is_no_number_is_taken_for_none(kind: str, few: int, data: st.DataObject) -> None:
    """Texts that Python would read as numbers, beside entries that such a number would be in."""
    digits = "7700000"
    value = {"numbers": f"+{digits}", "prefixes": "+77", "ranges": f"+{digits}-+{digits}"}[kind]
    gathering = Gathering(kind)
    for plain in {value, *data.draw(st.lists(VALUES[kind].map(lambda v: str(plain_entry(kind, v))), max_size=5))}:
        gathering.add(plain, FOREVER, 1)
    columns = gathering.sorted()[0]
    file = {plain: end for plain, end, _line in columns.plain()}
    table = tables.table_of(columns, few=few)
    odd = st.sampled_from(["_", " ", "-", "+", "a", "A", "٧", "0", "\n", "\u00a0", "7", "\ud800"])
    for at, sign in data.draw(st.lists(st.tuples(st.integers(0, len(digits) + 1), odd), min_size=1, max_size=8)):
        for text in (f"+{digits}"[:at] + sign + f"+{digits}"[at:], f"+{digits}"[:at] + sign + f"+{digits}"[at + 1 :]):
            assert table.until(text, NEVER) == oracle(kind, file, {}, set(), text), repr(text)
