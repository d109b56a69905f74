"""What config/ promises: twenty regions, a comment at every key, current schemas, defaults that agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import Ceiling
from antifraud.settings import Settings, load_settings
from antifraud.settings.check import check
from antifraud.settings.effective import _leaves
from antifraud.settings.jsonschema import FILES, render_schema
from antifraud.settings.reference import replace_table
from antifraud.settings.schema import Document, RegionDocument
from antifraud.settings.tree import read_file, read_text

CONFIG = Path(__file__).resolve().parents[3] / "config"
REGIONS = (10, 11, 15, 19, 23, 27, 31, 33, 35, 39, 43, 47, 55, 59, 61, 62, 63, 71, 75, 79)
FILES_OF_PEOPLE = [CONFIG / "default.yaml", *sorted((CONFIG / "regions").glob("*.yaml"))]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(CONFIG, env={})


def test_all_twenty_regions_are_there_each_with_its_switch_and_its_desk(settings: Settings) -> None:
    assert sorted(settings.regions) == [f"KZ-{number}" for number in REGIONS]
    for code, region in settings.regions.items():
        assert region.switches == (f"sw-{code.lower()}",)
        assert region.policy.desk.target == f"sip:desk@{code.lower()}.desk.example"
    assert settings.notes == ()


def test_the_roll_out_uses_every_ceiling(settings: Settings) -> None:
    assert {region.policy.ceiling for region in settings.regions.values()} == {ceiling.word for ceiling in Ceiling}


def test_a_call_of_unknown_region_is_not_blocked(settings: Settings) -> None:
    assert settings.policy().regions[settings.default_region].ceiling < Ceiling.BLOCK


def test_a_region_may_set_a_rule_differently(settings: Settings) -> None:
    assert settings.policy().regions["KZ-35"].params == {"many_distinct_callees": {"callees": 60}}


def test_trunks_have_the_classes_that_their_names_say(settings: Settings) -> None:
    policy = settings.policy()
    assert [policy.trunk_class(name) for name in ("intl-1", "nat-kz", "sub-75", "other")] == [
        "international",
        "national",
        "subscriber",
        "",
    ]


def test_default_yaml_says_what_the_code_does_without_it() -> None:
    said = dict(_leaves(read_file(CONFIG / "default.yaml", "default.yaml").plain(), ()))
    for path, value in _leaves(msgspec.to_builtins(Document()), ()):
        if path[0] != "trunks":
            said_here = tuple(said[path]) if isinstance(said[path], list) else said[path]
            assert said_here == value, f"{'.'.join(path)} differs"


@pytest.mark.parametrize("path", FILES_OF_PEOPLE, ids=lambda path: path.name)
def test_every_key_has_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not re.match(r"\s*(- )?[\w{]", line) or "#" in line:
            continue
        before = lines[number - 1].strip() if number else ""
        section = line.rstrip().endswith(":") and path.name != "default.yaml"
        assert before.startswith("#") or section, f"{path.name}:{number + 1}: {line}"


@pytest.mark.parametrize("path", FILES_OF_PEOPLE, ids=lambda path: path.name)
def test_editors_find_the_schema(path: Path) -> None:
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text(encoding="utf-8"))
    assert found is not None
    assert (path.parent / found[1]).is_file()


@pytest.mark.parametrize("name", FILES)
def test_the_schemas_are_current(name: str) -> None:
    written = (CONFIG / "schema" / name).read_text(encoding="utf-8")
    assert written == render_schema(FILES[name]), "run: antifraud config schema --write config/schema"


def test_the_reference_page_is_current() -> None:
    page = (CONFIG.parent / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert replace_table(page) == page, "run: python -m antifraud.settings.reference docs/reference/configuration.md"


@pytest.mark.parametrize("page", ["reference/configuration.md", "how-to/roll-out-a-region.md", "how-to/alerts.md"])
def test_the_yaml_in_the_documentation_is_right(page: str) -> None:
    text = (CONFIG.parent / "docs" / page).read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)):
        node = read_text(block, f"{page}, example {number + 1}")
        structure = RegionDocument if node.child("name") is not None else Document
        assert [problem.render() for problem in check(node, structure)] == []
