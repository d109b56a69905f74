"""Dial plans: what a good one says, and how a bad one is refused.

Every golden/<case>.yaml is a wrong plan and golden/<case>.txt what a person is shown for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import ConfigError
from antifraud.numbering import EmergencyCode, Numbering, load_dial_plan

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))

SMALL = """\
country: XK
calling_code: "383"
trunk_prefix: "0"
international_prefixes: ["00"]
national_length: 8
emergency:
  "112": {name: Rescue}
  "92": {name: Police, services: [sos.police], also: ["992"]}
short_codes:
  "12x": Services
  "121": Weather
operators:
  Vala: ["44"]
"""


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_plan_is_refused_in_words(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(ConfigError) as caught:
        load_dial_plan(f"{case}.yaml")
    assert caught.value.render() + "\n" == (GOLDEN / f"{case}.txt").read_text("utf-8")
    for problem in caught.value.problems:
        assert problem.message[0].islower() or problem.message[0] in "'\""
        assert not problem.message.endswith(".")
        assert not problem.hint.endswith(".")


def test_every_golden_answer_has_its_question() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == CASES
    assert len(CASES) >= 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the dial plan: No such file"):
        load_dial_plan(tmp_path / "none.yaml")


def test_binary_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_bytes(b"country: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_dial_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    "text", ["x" * 1_000_001, "[" * 5_000, "a: &a [*a, *a]\n", "? {a: b}\n: c\n", "a: !!python/none\n"]
)
def test_hostile_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_dial_plan(tmp_path / "plan.yaml")


def test_a_small_plan(tmp_path: Path) -> None:
    """Another country: nothing of Kazakhstan is built in."""
    (tmp_path / "xk.yaml").write_text(SMALL)
    plan = load_dial_plan(tmp_path / "xk.yaml")
    assert plan.emergency == (
        EmergencyCode("112", "Rescue"),
        EmergencyCode("92", "Police", ("sos.police",), ("992",)),
    )
    assert plan.short_codes["121"] == "Weather"
    assert plan.short_codes["129"] == "Services"
    assert len(plan.short_codes) == 10
    kosovo = Numbering(plan)
    facts = kosovo.facts("044 000 123")
    assert (facts.number, facts.country, facts.type, facts.operator) == ("+38344000123", "XK", "mobile", "Vala")
    assert kosovo.facts("+38344000123") == facts
    assert kosovo.facts("0038344000123") == facts
    assert kosovo.facts("+77000001234").country == "KZ"
    assert kosovo.facts("+77000001234").operator == ""
    assert kosovo.facts("+76120001234").country == ""
    assert [kosovo.facts(raw).number for raw in ("112", "+383112", "992", "0992", "urn:service:sos.police")] == [
        "112",
        "112",
        "92",
        "92",
        "92",
    ]
    assert kosovo.facts("101").kind == "unknown"
    assert kosovo.facts("urn:service:sos").number == "112"


def test_a_calling_code_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xk.yaml").write_text(SMALL.replace('"383"', '"999"'))
    with pytest.raises(ConfigError, match="calling code 999"):
        Numbering(load_dial_plan(tmp_path / "xk.yaml"))


def test_the_plan_of_kazakhstan() -> None:
    plan = load_dial_plan(Path(__file__).resolve().parents[3] / "config/dialplans/kz.yaml")
    assert (plan.country, plan.calling_code, plan.trunk_prefix, plan.national_length) == ("KZ", "7", "8", 10)
    assert plan.international_prefixes == ("810", "00")
    assert plan.reserved_calling_codes == ("997",)
    assert [entry.code for entry in plan.emergency] == ["112", "101", "102", "103", "104"]
    assert not {"112", "101", "911"} & set(plan.short_codes)
    assert {"109", "160", "169", "1414", "1430"} <= set(plan.short_codes)
