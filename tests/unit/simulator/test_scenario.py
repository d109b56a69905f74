"""Scenario files: ranges, drawing, and what people are told when a file cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from antifraud.domain import ConfigError
from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario
from antifraud.simulator.fraud import KINDS, check_kinds

SCENARIOS = sorted((data_dir("config") / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_committed_scenarios_are_sound_and_say_what_they_assume(path: Path) -> None:
    scenario = load_scenario(path)
    settings = scenario.draw(7)
    assert scenario.name == path.stem
    assert settings.assumptions
    assert settings.sources
    assert len(settings.population.regions) == 20
    assert set(settings.fraud.kinds) == set(KINDS)
    check_kinds(settings.fraud.kinds)


def test_a_drawing_follows_from_the_seed_and_stays_in_its_ranges() -> None:
    scenario = load_scenario(find_scenario("national", data_dir("config")))
    drawn = [scenario.draw(seed) for seed in range(30)]
    assert scenario.draw(3) == drawn[3]
    assert len({settings.fraud.share for settings in drawn}) == 30
    assert all(0.005 <= settings.fraud.share <= 0.03 for settings in drawn)
    assert {settings.fraud.concurrent for settings in drawn} == {3, 4, 5, 6}


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (data_dir("config") / "scenarios" / "national.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "edited.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  ring_s: [8, 14]", "  rings_s: [8, 14]", "persons.rings_s"),
        ("  answer: [0.60, 0.75]", "  answer: [0.75, 0.60]", "runs backwards"),
        ("  answer: [0.60, 0.75]", "  answer: 1.7", "persons.answer"),
        ("  answer: [0.60, 0.75]", "  answer: often", "persons.answer"),
        ("{log: [30, 2500]}", "{log: [0, 2500]}", "logarithmic"),
        ("  steps: [3, 5]", "  steps: few", "fraud.kinds.chain.steps"),
        ("origin: mobile", "origin: satellite", "organisations"),
        ("utc_offset_min: 300", "utc_offset_min: .nan", "utc_offset_min"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = _edited(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    shown = caught.value.render()
    assert said in shown
    where = caught.value.problems[0].where
    assert where is not None
    assert where.file == str(path)
    assert where.line > 1


def test_the_line_of_a_misspelt_name_is_right(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  ring_s: [8, 14]", "  rings_s: [8, 14]")
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    where = caught.value.problems[0].where
    assert where is not None
    assert path.read_text(encoding="utf-8").splitlines()[where.line - 1].strip().startswith("rings_s")


@pytest.mark.parametrize(
    "content", [b"", b"- 1\n", b"a: [1,\n", b"\xff\xfe", b"name: x\n"], ids=["empty", "list", "cut", "utf16", "bare"]
)
def test_what_is_no_scenario_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_scenario(path)


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        find_scenario("nowhere", data_dir("config"))
    assert "national" in caught.value.render()
    with pytest.raises(ConfigError):
        load_scenario(Path("nowhere/at/all.yaml"))


def test_kinds_need_exactly_their_parameters() -> None:
    kinds = dict(load_scenario(find_scenario("national", data_dir("config"))).draw(1).fraud.kinds)
    with pytest.raises(ConfigError, match="no such kind"):
        check_kinds({"teleport": {}})
    with pytest.raises(ConfigError, match="missing"):
        check_kinds({"chain": {key: span for key, span in kinds["chain"].items() if key != "steps"}})
    with pytest.raises(ConfigError, match="means nothing"):
        check_kinds({"chain": {**kinds["chain"], "colour": kinds["chain"]["steps"]}})


def test_files_are_plain_yaml() -> None:
    for path in SCENARIOS:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
