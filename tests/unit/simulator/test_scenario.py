"""Scenario files: ranges, drawing, and what people are told when a file cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from antifraud.domain import ConfigError
from antifraud.settings import data_dir
from antifraud.simulator import find_scenario, load_scenario, simulate_columns
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
    assert set(settings.fraud.kinds) <= set(KINDS)
    check_kinds(settings.fraud.kinds)


def test_a_drawing_follows_from_the_seed_and_stays_in_its_ranges() -> None:
    scenario = load_scenario(find_scenario("national", data_dir("config")))
    drawn = [scenario.draw(seed) for seed in range(30)]
    assert scenario.draw(3) == drawn[3]
    assert len({settings.fraud.share for settings in drawn}) == 30
    assert all(0.005 <= settings.fraud.share <= 0.03 for settings in drawn)
    assert {settings.fraud.concurrent for settings in drawn} == {4, 5, 6, 7, 8}


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


# ---------------------------------------------------------------------- held-out scenarios, and extending another

HELD_OUT = [path for path in SCENARIOS if path.stem.startswith("heldout-")]


@pytest.mark.parametrize("path", HELD_OUT, ids=lambda path: path.stem)
def test_held_out_scenarios_lie_outside_of_what_is_trained_on(path: Path) -> None:
    trained = load_scenario(data_dir("config") / "scenarios" / "national.yaml").draw(1).fraud.kinds
    held = load_scenario(path).draw(1).fraud.kinds
    assert len(set(held) - set(trained)) >= 2
    for kind in set(held) & set(trained) - {"sip_scanner"}:
        outside = [
            name
            for name, span in held[kind].items()
            if span.low > trained[kind][name].high or span.high < trained[kind][name].low
        ]
        assert len(outside) >= 2, kind


@pytest.mark.parametrize("path", HELD_OUT, ids=lambda path: path.stem)
def test_held_out_scenarios_make_calls(path: Path) -> None:
    scenario = load_scenario(path)
    seen: set[str] = set()
    for seed in range(3):
        for columns in simulate_columns(scenario, seed, 30_000):
            seen |= {columns.truths[index].scenario for index in set(columns.truth[columns.fraud].tolist())}
    wanted = set(scenario.draw(0).fraud.kinds)
    assert len(wanted - seen) <= 1, wanted - seen
    assert wanted - set(load_scenario(path.with_name("national.yaml")).draw(0).fraud.kinds) <= seen


def _extending(tmp_path: Path, text: str) -> Path:
    base = (data_dir("config") / "scenarios" / "national.yaml").read_text(encoding="utf-8")
    (tmp_path / "national.yaml").write_text(base, encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: national\nname: mine\n{text}", encoding="utf-8")
    return path


def test_what_is_not_said_is_taken_from_the_other_scenario(tmp_path: Path) -> None:
    base = load_scenario(data_dir("config") / "scenarios" / "national.yaml").draw(3)
    path = _extending(tmp_path, "persons: {answer: 0.11}\nfraud: {kinds: {chain: null, wangiri: {ring_s: 9}}}\n")
    mine = load_scenario(path).draw(3)
    assert mine.persons.answer == 0.11
    assert mine.persons.ring_s != mine.persons.answer
    assert set(mine.fraud.kinds) == set(base.fraud.kinds) - {"chain"}
    assert mine.fraud.kinds["wangiri"]["ring_s"].high == 9
    assert mine.fraud.kinds["wangiri"]["trunks"] == base.fraud.kinds["wangiri"]["trunks"]
    assert mine.organisations.keys() == base.organisations.keys()


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("persons: {answers: 1}\n", "persons.answers", 3),
        ("persons: {answer: 2}\n", "persons.answer", 3),
        ("fraud: {adaptive: {share: many}}\n", "fraud.adaptive.share", 3),
        ("population: null\n", "population", 0),
    ],
)
def test_a_mistake_in_what_differs_is_named_in_its_own_file(tmp_path: Path, text: str, said: str, line: int) -> None:
    path = _extending(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert said in caught.value.render()
    if line:
        where = caught.value.problems[0].where
        assert where is not None
        assert (where.file, where.line) == (str(path), line)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("extends: ../../etc/passwd", "no name of a scenario"),
        ("extends: [national]", "no name of a scenario"),
        ("extends: nowhere", "cannot read scenario"),
        ("extends: mine", "extends another scenario itself"),
    ],
)
def test_what_cannot_be_extended_is_said(tmp_path: Path, first: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{first}\nname: mine\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert said in caught.value.render()
