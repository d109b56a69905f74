"""Run-time changes: what is accepted, what is refused and why, and that protection is not lost by one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import EventError
from antifraud.rulekit import (
    Amendment,
    Amendments,
    ListFile,
    RuleSet,
    decode_amendments,
    encode_amendment,
    end_value,
    plain_value,
)
from antifraud.rulekit import amendments as module

from .workbench import list_text, load, row, write

LISTS = {
    "lists/safe.yaml": list_text("safe", '["+77170000009"]', head="class: protect\n"),
    "lists/loose.yaml": list_text("loose", '["+77170000008"]', head="class: protect\nremovable: true\n"),
    "lists/bad.yaml": list_text("bad", '["+77000000001", {value: "+77000000002", until: 2027-06-30}]'),
    "lists/areas.yaml": list_text("areas", '["+7700"]', kind="prefixes"),
    "lists/blocks.yaml": list_text("blocks", "[]", kind="ranges"),
    "lists/gates.yaml": list_text("gates", "[]", kind="trunks"),
}


class Desk:
    """A rule set with its changes, as the engine keeps them."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self.amendments = Amendments()
        self.lists: dict[str, ListFile] = {item.name: item for item in rules.lists}

    def change(self, op: str, name: str, value: str, until: str = "") -> Amendment | None:
        item = self.lists.get(name)
        plain = plain_value(item, value) if item is not None else value
        change = Amendment(name, plain, removed=op == "remove", until=end_value(until))
        kept = self.amendments.accept(self.lists, change)
        self.amendments.put_over(self.rules, {name})
        return kept

    def refusal(self, op: str, name: str, value: str, until: str = "") -> str:
        digest = self.digest
        with pytest.raises(EventError) as caught:
            self.change(op, name, value, until)
        assert self.digest == digest
        return caught.value.code

    def until(self, name: str, text: str) -> float:
        return self.rules._lookups[name](text, float("-inf"))

    @property
    def digest(self) -> str:
        return self.amendments.digest("abc")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(load(write(tmp_path, LISTS)))


def test_an_addition_holds_until_its_end_and_never_shortens(desk: Desk) -> None:
    desk.change("add", "bad", "+7 700 000 0003", "2027-06-30")
    assert desk.until("bad", "+77000000003") == 1_814_400_000.0
    desk.change("add", "bad", "+77000000001", "2026-01-01")
    assert desk.until("bad", "+77000000001") == float("inf")
    desk.change("add", "bad", "+77000000002")
    assert desk.until("bad", "+77000000002") == float("inf")


def test_what_stands_in_a_file_can_be_taken_out_and_put_back(desk: Desk) -> None:
    assert desk.change("remove", "bad", "+77000000001") is not None
    assert desk.until("bad", "+77000000001") == float("-inf")
    desk.change("add", "bad", "+77000000001")
    assert desk.until("bad", "+77000000001") == float("inf")


def test_what_was_added_at_run_time_leaves_nothing_behind(desk: Desk) -> None:
    digest = desk.digest
    desk.change("add", "bad", "+77000000009")
    assert desk.digest != digest
    assert desk.change("remove", "bad", "+77000000009") is None
    assert desk.digest == digest
    assert desk.refusal("remove", "bad", "+77000000009") == "list-no-entry"


def test_the_digest_follows_what_holds_and_not_how_it_came_about(tmp_path: Path) -> None:
    one, two = (Desk(load(write(tmp_path / name, LISTS))) for name in ("one", "two"))
    assert one.digest == "abc"
    one.change("add", "bad", "+77000000007")
    one.change("add", "areas", "+770123")
    two.change("add", "areas", "+770123")
    two.change("add", "bad", "+77000000008")
    assert one.digest != two.digest
    two.change("remove", "bad", "+77000000008")
    two.change("add", "bad", "+77000000007", "2030-01-01")
    assert one.digest != two.digest
    two.change("add", "bad", "+77000000007")
    assert one.digest == two.digest


@pytest.mark.parametrize("value", ["+77170000009", "+7 717 000 0009"])
def test_a_protect_list_loses_nothing_by_a_command(desk: Desk, value: str) -> None:
    assert desk.refusal("remove", "safe", value) == "list-protected"
    # Not what was added at run time either: it is a protected number too.
    desk.change("add", "safe", "+77170000001")
    assert desk.refusal("remove", "safe", "+77170000001") == "list-protected"
    assert desk.refusal("add", "safe", "+77170000001", "2026-01-01") == "list-protected"
    desk.change("add", "safe", "+77170000009", "2026-01-01")
    assert desk.until("safe", "+77170000009") == float("inf")
    (hit,) = desk.rules.evaluate(row(callee="+77170000001"), desk.rules.params({}))
    assert hit.by == "list:safe"


def test_a_protect_list_that_says_so_can_lose_an_entry(desk: Desk) -> None:
    desk.change("remove", "loose", "+77170000008")
    assert not desk.rules.evaluate(row(callee="+77170000008"), desk.rules.params({}))


def test_protection_comes_back_when_the_file_forbids_removing(desk: Desk, tmp_path: Path) -> None:
    desk.change("remove", "loose", "+77170000008")
    strict = list_text("loose", '["+77170000008"]', head="class: protect\n")
    rules = load(write(tmp_path, {**LISTS, "lists/loose.yaml": strict}))
    assert desk.amendments.put_over(rules) == ["loose: +77170000008"]
    assert rules.evaluate(row(callee="+77170000008"), rules.params({}))
    assert desk.digest == "abc"


@pytest.mark.parametrize(
    ("removed", "kind", "entries"),
    [
        ("+77001234567", "ranges", '["+77001234567-+77001234567"]'),
        ("+77001234567-+77001234570", "numbers", '["+77001234567"]'),
        ("+77001234567-+77001234570", "prefixes", '["+7700"]'),
        ("", "ranges", '["+77001234567-+77001234567"]'),
    ],
)
def test_what_was_taken_out_of_a_list_of_another_kind_is_left_aside(
    tmp_path: Path, removed: str, kind: str, entries: str
) -> None:
    changes = module.Amendments()
    changes.restore(module.Amendment("bad", removed, removed=True))
    rules = load(write(tmp_path, {**LISTS, "lists/bad.yaml": list_text("bad", entries, kind=kind)}))
    changes.put_ahead(rules)
    assert len(changes.put_over(rules)) == 1
    assert [change.value for change in changes] == [removed]


def test_changes_outlive_a_list_that_is_away(desk: Desk, tmp_path: Path) -> None:
    desk.change("add", "bad", "+77000000007")
    digest = desk.digest
    without = load(write(tmp_path / "other", {name: text for name, text in LISTS.items() if "bad" not in name}))
    assert desk.amendments.put_over(without) == ["bad: there is no such list"]
    assert desk.digest == "abc"
    assert desk.amendments.put_over(desk.rules) == []
    assert desk.digest == digest


@pytest.mark.parametrize(
    ("op", "name", "value", "until", "code"),
    [
        ("add", "nowhere", "+77000000001", "", "list-unknown"),
        ("add", "bad", "everybody", "", "list-value"),
        ("add", "bad", "+" + "7" * 400, "", "list-value"),
        ("add", "bad", "", "", "list-value"),
        ("add", "bad", "+77000000001", "soon", "list-until"),
        ("add", "bad", "+77000000001", "9" * 100, "list-until"),
        ("add", "areas", "+7", "", "list-too-wide"),
        ("add", "areas", "77", "", "list-too-wide"),
        ("add", "areas", "+7701", "", "list-too-wide"),
        ("add", "blocks", "+77000000000-+77099999999", "", "list-too-wide"),
        ("add", "blocks", "+77000000009-+77000000000", "", "list-value"),
        ("add", "gates", "*", "", "list-value"),
        ("add", "gates", "in*", "", "list-too-wide"),
        ("remove", "bad", "+77000000005", "", "list-no-entry"),
        ("remove", "areas", "+77001", "", "list-no-entry"),
    ],
)
def test_what_is_refused(desk: Desk, op: str, name: str, value: str, until: str, code: str) -> None:
    assert desk.refusal(op, name, value, until) == code


def test_what_is_wide_can_be_taken_out(desk: Desk) -> None:
    desk.change("remove", "areas", "+7700")
    assert desk.until("areas", "+77001234567") == float("-inf")


def test_a_list_takes_so_many_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AMENDMENTS", 3)
    for number in range(3):
        desk.change("add", "bad", f"+7700000010{number}")
    assert desk.refusal("add", "bad", "+77000000109") == "list-full"
    desk.change("add", "bad", "+77000000101", "2027-01-01")
    desk.change("remove", "bad", "+77000000102")
    desk.change("add", "bad", "+77000000109")


def test_what_is_written_down_reads_back(desk: Desk) -> None:
    change = Amendment("bad", "+77000000007", until=5.0, who="a", why="b", at=1.0, id="1-0")
    field, content = encode_amendment(change)
    garbled = {b"bad +7": content, b"x": b"{", b"y": b"\xff", b"bad +77000000007x": content}
    assert decode_amendments({field.encode(): content, **garbled}) == ([change], 4)
