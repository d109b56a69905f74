"""A set of rules: what is evaluated, in which order, with which parameters, and what a hit says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifraud.domain import BundleError, ConfigError, Stage, UsageError
from antifraud.rulekit import RuleSet
from antifraud.rulekit.columns import Coded

from .workbench import list_text, load, load_one, problems, row, rule_text, write

TESTS = "tests:\n  - {name: a, given: {hour: 23}, expect: hit}\n  - {name: b, given: {}, expect: no_hit}\n"


def live(name: str, when: str = "hour > 22", stage: str = "enforce", **parts: str) -> str:
    return rule_text(when, name=name, stage=stage, **parts) + TESTS


def found(rules: RuleSet, **given: object) -> list[str]:
    return [hit.rule for hit in rules.evaluate(row(**given), rules.params({}))]


def test_the_gravest_comes_first_then_the_names(tmp_path: Path) -> None:
    verdicts = {"e": "label", "d": "challenge", "c": "divert", "b": "block", "a": "block", "f": "protect"}
    files = {
        f"packs/{'one' if name in 'ace' else 'two'}/{name}.yaml": live(
            name, verdict=verdict, then="  label: Careful\n" if verdict == "label" else ""
        )
        for name, verdict in verdicts.items()
    }
    files["lists/safe.yaml"] = list_text("safe", '["112"]', head="class: protect\n")
    rules = load(write(tmp_path, files))
    assert found(rules, hour=23.0, callee="112") == ["f", "safe", "a", "b", "c", "d", "e"]
    assert found(rules, hour=3.0) == []


def test_drafts_and_retired_rules_are_not_evaluated_but_can_be_explained(tmp_path: Path) -> None:
    files = {
        f"packs/demo/{stage.value}.yaml": live(stage.value, stage=stage.value)
        for stage in Stage
        if stage is not Stage.CANARY
    }
    files["packs/demo/canary.yaml"] = live("canary", stage="canary", rollout="  percent: 12.5\n")
    rules = load(write(tmp_path, files))
    hits = rules.evaluate(row(hour=23.0), rules.params({}))
    assert {hit.rule: (hit.stage, hit.percent) for hit in hits} == {
        "canary": (Stage.CANARY, 12.5),
        "enforce": (Stage.ENFORCE, 100.0),
        "shadow": (Stage.SHADOW, 100.0),
    }
    assert rules.explain("draft", row(hour=23.0)).hit


def test_nothing_hit_costs_no_list(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample"))
    params = rules.params({})
    assert rules.evaluate(row(hour=1.0), params) is rules.evaluate(row(), params)


def test_reasons_carry_the_values_of_the_call_in_each_language(tmp_path: Path) -> None:
    text = (
        live(
            "sample",
            when="caller_short_share_1h > params.share",
            params="params:\n  share: 0.5\n",
        )
        .replace(
            'reason: "a reason"',
            "reason:\n    en: '{caller}: {caller_short_share_1h:percent} over {params.share}, {{sic}} {roaming}'\n"
            "    ru: '{roaming} {callee} {caller}'",
        )
        .replace("{hour: 23}", "{caller_short_share_1h: 0.9}")
    )
    rules = load_one(tmp_path, text)
    call = row(caller="+77000000001", caller_short_share_1h=0.875, roaming=False)
    (hit,) = rules.evaluate(call, rules.params({"sample": {"share": 0.25}}))
    assert hit.text("en") == "+77000000001: 88 % over 0.25, {sic} no"
    assert hit.text("ru") == "нет неизвестно +77000000001"
    assert hit.text("kk") == hit.text("en")


def test_values_from_attackers_cannot_break_a_line_of_the_log(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample", reason="{user_agent}"))
    call = row(hour=23.0, user_agent="a\nb\x1b[31m\u202e" + "x" * 500)
    (hit,) = rules.evaluate(call, rules.params({}))
    assert hit.text("en").startswith("a·b·[31m·xxx")
    assert len(hit.text("en")) == 64


PARAMS = "params:\n  late: 22\n  land: KZ\n  strict: true\n  lands: [KZ, RU]\n  hours: [1, 2]\n"
USES_ALL = (
    "hour > params.late and caller_country == params.land and params.strict\n"
    "and callee_country in params.lands and weekday in params.hours"
)
CALL = {"hour": 23.0, "caller_country": "KZ", "callee_country": "RU", "weekday": 2.0}


def test_a_region_sets_parameters(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample", when=USES_ALL, params=PARAMS).replace("{hour: 23}", "{}"))
    call = row(**CALL)
    assert rules.evaluate(call, rules.params({}))
    for name, value in (("late", 23), ("land", "RU"), ("strict", False), ("lands", ["KZ"]), ("hours", (3.0,))):
        assert not rules.evaluate(call, rules.params({"sample": {name: value}})), name


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"sampel": {}}, "did you mean sample?"),
        ({"sample": {"latte": 3}}, "did you mean late?"),
        ({"sample": {"late": "22"}}, "declared as 22"),
        ({"sample": {"late": True}}, "cannot be True"),
        ({"sample": {"late": float("nan")}}, "cannot be nan"),
        ({"sample": {"late": 10**400}}, "declared as 22"),
        ({"sample": {"land": 7}}, 'declared as "KZ"'),
        ({"sample": {"strict": 1}}, "declared as true"),
        ({"sample": {"lands": "KZ"}}, 'declared as ["KZ", "RU"]'),
        ({"sample": {"lands": []}}, "cannot be []"),
        ({"sample": {"lands": ["KZ", ""]}}, "cannot be ['KZ', '']"),
        ({"sample": {"hours": ["1"]}}, "declared as [1, 2]"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    tmp_path: Path, overrides: dict[str, dict[str, object]], words: str
) -> None:
    rules = load_one(tmp_path, live("sample", when=USES_ALL, params=PARAMS).replace("{hour: 23}", "{}"))
    with pytest.raises(ConfigError) as caught:
        rules.params(overrides)
    assert words in caught.value.render()


def test_an_exception_spares_calls_until_its_end(tmp_path: Path) -> None:
    unless = "unless:\n  - {name: friends, when: 'caller == \"+77000000001\"', owner: tests, until: 2026-06-30}\n"
    rules = load_one(tmp_path, live("sample") + unless)
    assert found(rules, hour=23.0, caller="+77000000002") == ["sample"]
    assert found(rules, hour=23.0, caller="+77000000001") == []
    assert found(rules, hour=23.0) == ["sample"]  # an unknown exception does not hold
    assert found(rules, hour=23.0, caller="+77000000001", ts=1_782_863_999.0) == []
    assert found(rules, hour=23.0, caller="+77000000001", ts=1_782_864_000.0) == ["sample"]
    explained = rules.explain("sample", row(hour=23.0, caller="+77000000001"))
    assert (explained.hit, explained.exceptions[0].held, explained.exceptions[0].ended) == (False, True, False)


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path) -> None:
    one = load_one(tmp_path / "a", live("sample"), known=list_text("known", '["112"]'))
    same = load_one(tmp_path / "b", live("sample"), known=list_text("known", '["112"]'))
    rule_changed = load_one(tmp_path / "c", live("sample", reason="another"), known=list_text("known", '["112"]'))
    list_changed = load_one(tmp_path / "d", live("sample"), known=list_text("known", '["101"]'))
    assert one.digest == same.digest
    assert len({one.digest, rule_changed.digest, list_changed.digest}) == 3
    assert len(one.digest) == 16


def test_problems_of_all_files_come_together_in_order(tmp_path: Path) -> None:
    files = {
        "packs/demo/a.yaml": rule_text("hourr > 3", name="a"),
        "packs/demo/b.yaml": "rule: b\n",
        "packs/demo/c.yaml": rule_text(name="c"),
        "packs/zoo/d.yaml": rule_text("hour > 3 and", name="d", verdict="blok"),
        "lists/known.yaml": list_text("known", '["x"]'),
    }
    write(tmp_path, files)
    names = [problem.where.file.rsplit("/", 1)[-1] for problem in problems(tmp_path) if problem.where is not None]
    assert names == ["known.yaml", "a.yaml", "b.yaml", "d.yaml", "d.yaml"]


def test_what_is_no_rule_file_is_left_alone(tmp_path: Path) -> None:
    files = {
        "packs/demo/sample.yaml": live("sample"),
        "packs/demo/README.md": "notes",
        "packs/demo/.sample.yaml.swp": "\0",
        "packs/demo/sample.yaml~": "backup",
        "packs/.git/config": "x",
    }
    assert [rule.id for rule in load(write(tmp_path, files)).rules] == ["sample"]


def test_an_unknown_rule_is_met_with_a_suggestion(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample"))
    with pytest.raises(UsageError) as caught:
        rules.explain("smaple", row())
    assert "did you mean sample?" in caught.value.render()


def test_a_pack_with_a_bad_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"packs/Мой пак/sample.yaml": live("sample")})
    assert any("Мой пак" in problem.message for problem in problems(tmp_path))


def test_a_rule_reads_the_score(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample", when="score > 0.9").replace("{hour: 23}", "{score: 0.95}"))
    assert found(rules, score=0.95) == ["sample"]
    assert found(rules) == []


def test_a_thousand_rules_compile_and_each_is_its_own(tmp_path: Path) -> None:
    files = {
        f"packs/demo/r{number}.yaml": live(f"r{number}", when=f"caller_calls_1h == {number}") for number in range(1_000)
    }
    rules = load(write(tmp_path, files))
    assert found(rules, caller_calls_1h=777.0) == ["r777"]


def test_loading_fails_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, {"packs/demo/good.yaml": live("good"), "packs/demo/bad.yaml": "rule: bad\n"})
    with pytest.raises(BundleError):
        load(tmp_path)


def test_columns_say_what_rows_say(tmp_path: Path) -> None:
    texts = {
        "packs/demo/draft.yaml": rule_text("hour > 3", name="draft"),
        "packs/demo/live.yaml": live(
            "live", "hour > params.least and caller in lists.known", "shadow", params="params: {least: 3}\n"
        ),
        "lists/known.yaml": list_text("known", '["+77000000001", {value: "+77000000002", until: 2025-01-01}]'),
        "lists/safe.yaml": list_text("safe", '["112"]', head="class: protect\n"),
    }
    rules = load(write(tmp_path, texts))
    calls = [
        row(caller=caller, callee=callee, hour=hour)
        for caller in ("+77000000001", "+77000000002", None)
        for callee in ("112", "+77000000003")
        for hour in (2.0, 5.0, None)
    ]
    names = rules.names.order
    columns: dict[str, Any] = {name: [call[names[name]] for call in calls] for name in ("caller", "callee", "ts")}
    columns["hour"] = np.array([math.nan if (hour := call[names["hour"]]) is None else hour for call in calls])
    for least in (3.0, 0.0):
        params = rules.params({"live": {"least": least}})
        found = rules.evaluate_columns(columns, len(calls), params)
        assert list(found) == ["list:safe", "live"]
        for number, call in enumerate(calls):
            hits = {hit.by.removeprefix("rule:") for hit in rules.evaluate(call, params)}
            assert {key for key, mask in found.items() if mask[number]} == hits


def test_columns_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rules = load_one(tmp_path, live("sample", 'hour > 3 or caller == "1"', "shadow"))
    params = rules.params({})
    assert rules.evaluate_columns({}, 3, params)["sample"].tolist() == [False] * 3
    with pytest.raises(ValueError, match=r"the column hour has the shape \(2,\), expected \(3,\)"):
        rules.evaluate_columns({"hour": np.zeros(2)}, 3, params)
    broken = Coded(np.array([0, 1, 2], dtype=np.int32), ("1",))
    with pytest.raises(ValueError, match="the column caller has codes without words"):
        rules.evaluate_columns({"caller": broken}, 3, params)
