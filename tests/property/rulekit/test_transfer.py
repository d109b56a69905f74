"""Rules that went from one process to another decide as they did where they were compiled."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import Stage
from antifraud.rulekit import CompiledRules, Hit, ListFile, LocalText
from antifraud.rulekit.compiler import Clause, pack_code
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.entries import plain_entry
from antifraud.rulekit.evaluation import HeldList, Maker, Pack
from antifraud.rulekit.list_folder import ListStamp
from antifraud.rulekit.sorted_entries import Gathering
from antifraud.rulekit.texts import Placeholder, ReasonText, Template
from antifraud.rulekit.transfer import PieceWriter, read_rules, write_rules
from antifraud.rulekit.tree import Condition

from .conditions import LISTS, ORDER, PARAMS, conditions, rows
from .test_compiler import BRISK, POSITIONS
from .test_list_tables import ENDS, TEXTS, VALUES

REASON = ReasonText(
    (Placeholder("caller"), Placeholder("params.number", "percent")),
    (("en", Template(("from ", 0, " at ", 1))), ("kk", Template((0, " нөмірінен ", 1)))),
)


def held(name: str, kind: str, entries: dict[str, float]) -> HeldList:
    gathering = Gathering(kind)
    for line, (plain, ends) in enumerate(entries.items(), 1):
        gathering.add(plain, ends, line)
    columns, _twice = gathering.sorted()
    title = LocalText((("", name),))
    file = ListFile(name, kind, ("callee",), "tests", "made up", title, columns, Sheet(f"lists/{name}.yaml"), 1)
    return HeldList(file, file.table(), ListStamp(name, name))


def transferred(rules: CompiledRules) -> CompiledRules:
    """``rules`` written and read again, by a receiver that has none of the lists."""
    stream = io.BytesIO()
    index = write_rules(rules, {}, PieceWriter(stream))
    index = msgspec.msgpack.decode(msgspec.msgpack.encode(index), type=type(index))
    return read_rules(index, memoryview(stream.getvalue()), {}, lambda: None)


def maker(number: int) -> Maker:
    like = Hit(f"r{number}", "divert", Stage.CANARY, 12.5, "", "sip:desk@desk.example", f"rule:r{number}", REASON)
    return Maker((2, f"r{number}"), like, ((False, ORDER.index("caller")), (True, POSITIONS["number"])))


@BRISK
@given(st.lists(conditions, min_size=1, max_size=70), st.lists(rows, min_size=1, max_size=4))
def test_they_hit_the_same_calls(several: list[Condition], calls: list[list[Any]]) -> None:
    code = pack_code("p", [Clause(condition, (), None, POSITIONS) for condition in several])
    pack = Pack("p", code, tuple(map(maker, range(len(several)))), tuple(("r0", name) for name in PARAMS))
    entries = {"known": {"+77001234567": 100.0}, "blocks": {"+7700": 2.0}}
    lists = [held(name, kind, entries[name]) for name, kind in LISTS.items()]
    rules = CompiledRules([pack], lists, {"r0": PARAMS, "r1": {}}, "digest")
    found = transferred(rules)
    assert found.packs == rules.packs
    assert found.defaults == rules.defaults
    assert [type(value) for value in found.defaults["r0"].values()] == [type(value) for value in PARAMS.values()]
    assert found.digest == rules.digest
    for overrides in ({}, {"r0": {"number": 5, "words": ["c"]}}):
        one, other = rules.params(overrides), found.params(overrides)
        assert one == other
        for row in calls:
            hits = rules.evaluate(row, one)
            assert found.evaluate(row, other) == hits
            assert [hit.text("kk") for hit in found.evaluate(row, other)] == [hit.text("kk") for hit in hits]


@pytest.mark.parametrize("kind", list(VALUES))
@BRISK
@given(data=st.data())
def test_lists_have_the_same_entries(kind: str, data: st.DataObject) -> None:
    drawn = st.dictionaries(VALUES[kind].map(lambda value: str(plain_entry(kind, value))), ENDS, max_size=12)
    entries = data.draw(drawn)
    rules = CompiledRules([], [held("sample", kind, entries)], {}, "digest")
    found = transferred(rules)
    assert [item.name for item in found.lists] == ["sample"]
    (before,), (after,) = rules.lists, found.lists
    assert list(after.entries.plain()) == list(before.entries.plain())
    assert (after.kind, after.protects, after.title, after.line) == (kind, ("callee",), before.title, 1)
    assert found.held["sample"].stamp == rules.held["sample"].stamp
    for text in data.draw(st.lists(TEXTS[kind], max_size=8)):
        assert found.held["sample"].table.until(text, -1.0) == rules.held["sample"].table.until(text, -1.0)
    # Changed at run time, both go on alike.
    added, removed = data.draw(drawn), set(entries) & set(data.draw(drawn))
    for one in (rules, found):
        one.amend("sample", added, removed)
    for text in data.draw(st.lists(TEXTS[kind], max_size=8)):
        assert found.held["sample"].table.until(text, -1.0) == rules.held["sample"].table.until(text, -1.0)
