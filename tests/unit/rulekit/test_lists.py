"""Lists: what each kind recognises, and that an entry ends by the time of the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.rulekit import RuleSet

from .workbench import list_text, load, load_one, row, rule_text, write

JUNE_30 = 1_814_313_600.0  # 2027-06-30 00:00 UTC


def hits(rules: RuleSet, **given: object) -> bool:
    return bool(rules.evaluate(row(**given), rules.params({})))


def listed(folder: Path, when: str, entries: str, kind: str) -> RuleSet:
    text = rule_text(when, stage="enforce") + (
        "tests:\n  - {name: a, given: {}, expect: no_hit}\n  - {name: b, given: {}, expect: hit}\n"
    )
    return load_one(folder, text, known=list_text("known", entries, kind=kind))


def test_numbers_are_compared_without_their_separators(tmp_path: Path) -> None:
    rules = listed(tmp_path, "caller in lists.known", '["+7 (700) 000-00-01", "112"]', "numbers")
    assert hits(rules, caller="+77000000001")
    assert hits(rules, caller="112")
    assert not hits(rules, caller="+77000000002")
    assert not hits(rules)


def test_prefixes(tmp_path: Path) -> None:
    rules = listed(tmp_path, "prefix_in(caller, lists.known)", '["+7700", "+44 7700 900"]', "prefixes")
    assert hits(rules, caller="+77001234567")
    assert hits(rules, caller="+447700900123")
    assert not hits(rules, caller="+447700800123")
    assert not hits(rules, caller="+770")


def test_in_a_list_of_prefixes_means_beginning_with_one(tmp_path: Path) -> None:
    rules = listed(tmp_path, "caller in lists.known", '["+7700"]', "prefixes")
    assert hits(rules, caller="+77001234567")
    assert not hits(rules, caller="+77011234567")


def test_trunks(tmp_path: Path) -> None:
    rules = listed(tmp_path, "trunk in lists.known", '["gw-7", "lab-*"]', "trunks")
    assert hits(rules, trunk="gw-7")
    assert not hits(rules, trunk="gw-77")
    assert hits(rules, trunk="lab-1")
    assert not hits(rules, trunk="a-lab-1")


def test_user_agents_are_recognised_by_a_piece_whatever_the_case(tmp_path: Path) -> None:
    rules = listed(tmp_path, "user_agent in lists.known", "[friendly-scanner, SIPCLI]", "user_agents")
    assert hits(rules, user_agent="Friendly-Scanner")
    assert hits(rules, user_agent="x sipcli/v1.8 y")
    assert not hits(rules, user_agent="Linphone/5.2")


def test_many_user_agents_do_not_fill_the_memory(tmp_path: Path) -> None:
    rules = listed(tmp_path, "user_agent in lists.known", "[friendly-scanner]", "user_agents")
    params = rules.params({})
    for number in range(10_000):
        assert not rules.evaluate(row(user_agent=f"agent {number}"), params)
    assert rules.evaluate(row(user_agent="friendly-scanner"), params)


@pytest.mark.parametrize(
    ("kind", "when", "entry", "value"),
    [
        ("numbers", "caller in lists.known", "+77000000001", {"caller": "+77000000001"}),
        ("prefixes", "caller in lists.known", "+7700", {"caller": "+77000000001"}),
        ("trunks", "trunk in lists.known", "gw-*", {"trunk": "gw-1"}),
        ("user_agents", "user_agent in lists.known", "scanner", {"user_agent": "a scanner"}),
    ],
)
def test_an_entry_holds_through_its_last_day_by_the_time_of_the_call(
    tmp_path: Path, kind: str, when: str, entry: str, value: dict[str, str]
) -> None:
    rules = listed(tmp_path, when, f'[{{value: "{entry}", until: 2027-06-30}}]', kind)
    assert hits(rules, ts=JUNE_30 + 86_399.9, **value)
    assert not hits(rules, ts=JUNE_30 + 86_400.0, **value)
    assert not hits(rules, ts=None, **value)


def test_the_latest_end_counts_where_several_entries_fit(tmp_path: Path) -> None:
    entries = '[{value: "+7700", until: 2020-01-01}, "+77001"]'
    rules = listed(tmp_path, "caller in lists.known", entries, "prefixes")
    assert hits(rules, caller="+77001234567")
    assert not hits(rules, caller="+77002234567")


def test_an_end_may_be_an_exact_time(tmp_path: Path) -> None:
    entries = '[{value: "112", until: "2027-06-30T05:00:00+05:00"}]'
    rules = listed(tmp_path, "caller in lists.known", entries, "numbers")
    assert hits(rules, caller="112", ts=JUNE_30 - 0.1)
    assert not hits(rules, caller="112", ts=JUNE_30)


def protecting(folder: Path, protects: str, kind: str = "numbers", entry: str = "+77170000009") -> RuleSet:
    head = f"class: protect\nprotects: {protects}\n"
    return load(write(folder, {"lists/safe.yaml": list_text("safe", f'["{entry}"]', head=head, kind=kind)}))


def test_a_protect_list_protects_without_any_rule(tmp_path: Path) -> None:
    rules = protecting(tmp_path, "callee")
    (hit,) = rules.evaluate(row(callee="+77170000009"), rules.params({}))
    assert (hit.verdict, hit.rule, hit.by) == ("protect", "safe", "list:safe")
    assert hit.text("en") == "a list for a test"
    assert not hits(rules, caller="+77170000009", trunk_class="national")


@pytest.mark.parametrize("protects", ["caller", "both"])
@pytest.mark.parametrize(("kind", "entry"), [("numbers", "+77170000009"), ("prefixes", "+7717")])
def test_a_protected_caller_is_believed_from_other_operators_of_the_country_only(
    tmp_path: Path, protects: str, kind: str, entry: str
) -> None:
    rules = protecting(tmp_path, protects, kind, entry)
    assert hits(rules, caller="+77170000009", trunk_class="national")
    assert not hits(rules, caller="+77170000008" if kind == "numbers" else "+77180000009", trunk_class="national")
    assert not hits(rules, caller="+77170000009", trunk_class="subscriber")
    assert not hits(rules, caller="+77170000009", trunk_class="international")
    assert not hits(rules, caller="+77170000009")


@pytest.mark.parametrize("protects", ["callee", "both"])
@pytest.mark.parametrize("trunk_class", ["international", "national", "subscriber", None])
def test_a_protected_callee_is_protected_on_every_trunk(tmp_path: Path, protects: str, trunk_class: str | None) -> None:
    rules = protecting(tmp_path, protects)
    assert hits(rules, callee="+77170000009", trunk_class=trunk_class)
    assert not hits(rules, callee="+77170000008", trunk_class=trunk_class)


def test_a_protected_trunk(tmp_path: Path) -> None:
    rules = protecting(tmp_path, "callee", "trunks", "police-*")
    assert hits(rules, trunk="police-1")
    assert not hits(rules, trunk="intl-1", callee="+77170000009")


def test_a_list_of_a_hundred_thousand_numbers_loads(tmp_path: Path) -> None:
    entries = "\n" + "\n".join(f'  - "+7700{number:07d}"' for number in range(100_000))
    rules = listed(tmp_path, "caller in lists.known", entries, "numbers")
    assert hits(rules, caller="+77000099999")
    assert not hits(rules, caller="+77000100000")
