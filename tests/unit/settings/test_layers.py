"""Which layer wins, and that every value knows where it was said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from antifraud.domain import Ceiling, ConfigError, UsageError
from antifraud.settings import BUILT_IN, Settings
from antifraud.settings.layers import known_variables, setting_paths, variable
from antifraud.settings.schema import Document
from antifraud.settings.tree import read_text

Load = Callable[..., Settings]
ASTANA = "name: {en: Astana, ru: Астана, kk: Астана}\n"


def test_what_nobody_says_is_built_in(load: Load) -> None:
    settings = load()
    assert settings.engine.max_batch == 512
    assert settings.where("engine.max_batch") == BUILT_IN
    assert settings.policy().regions["KZ-75"].ceiling is Ceiling.SHADOW


def test_each_layer_wins_over_the_one_below(load: Load) -> None:
    files = {"default.yaml": "default_region: KZ-75\nengine:\n  max_batch: 1\n"}
    env = {"ANTIFRAUD_ENGINE_MAX_BATCH": "2"}
    overrides = {"engine.max_batch": "3"}
    from_file = load(files)
    assert (from_file.engine.max_batch, from_file.where("engine.max_batch").line) == (1, 3)
    from_env = load(files, env)
    assert from_env.engine.max_batch == 2
    assert str(from_env.where("engine.max_batch")) == "environment variable ANTIFRAUD_ENGINE_MAX_BATCH"
    from_line = load(files, env, overrides)
    assert from_line.engine.max_batch == 3
    assert str(from_line.where("engine.max_batch")) == "command line"


def test_a_region_changes_single_keys_of_the_policy(load: Load, tmp_path: Path) -> None:
    settings = load(
        {
            "default.yaml": "default_region: KZ-75\n"
            "policy:\n  ceiling: label\n  thresholds: {label: 0.5, block: 0.9}\n"
            "  rules: {spoofed-cli: {least: 1, most: 9}}\n",
            "regions/KZ-71.yaml": ASTANA
            + "policy:\n  thresholds: {block: 0.8}\n  rules: {spoofed-cli: {most: 5}, chain: {least: 3}}\n",
        }
    )
    almaty, astana = (settings.policy().regions[code] for code in ("KZ-75", "KZ-71"))
    assert (astana.ceiling, astana.label_at, astana.block_at) == (Ceiling.LABEL, 0.5, 0.8)
    assert (almaty.label_at, almaty.block_at) == (0.5, 0.9)
    assert astana.params == {"spoofed-cli": {"least": 1, "most": 5}, "chain": {"least": 3}}
    assert almaty.params == {"spoofed-cli": {"least": 1, "most": 9}}
    place = settings.where("policy.thresholds.block", "KZ-71")
    assert (Path(place.file).name, place.line, place.column) == ("KZ-71.yaml", 3, 23)
    assert Path(settings.where("policy.thresholds.label", "KZ-71").file).name == "default.yaml"


def test_null_in_a_region_takes_a_value_away(load: Load) -> None:
    settings = load(
        {
            "default.yaml": "default_region: KZ-75\npolicy:\n  desk: {target: sip:desk@desk.example}\n",
            "regions/KZ-71.yaml": ASTANA + "policy:\n  desk: {target: null}\n",
        }
    )
    assert settings.policy().regions["KZ-71"].desk == ""
    assert settings.policy().regions["KZ-75"].desk == "sip:desk@desk.example"


def test_a_section_whose_lines_are_commented_out_says_nothing(load: Load) -> None:
    text = (
        "default_region: KZ-75\nengine:\n  # max_batch: 9\npolicy:\n  thresholds:\n  rules:\n"
        "adapters:\n  cdr:\ntrunks: []\n"
    )
    settings = load({"default.yaml": text, "regions/KZ-71.yaml": ASTANA + "policy:\n"})
    assert settings.engine.max_batch == 512
    assert settings.adapters == {"cdr": {}}
    assert settings.policy().regions["KZ-71"].label_at is None


def test_policy_from_outside_holds_in_every_region_and_for_one_region_over_that(load: Load) -> None:
    files = {"regions/KZ-71.yaml": ASTANA + "policy: {ceiling: off}\n"}
    env = {"ANTIFRAUD_POLICY_CEILING": "off", "ANTIFRAUD_REGIONS_KZ_71_POLICY_CEILING": "label"}
    regions = load(files, env).policy().regions
    assert (regions["KZ-75"].ceiling, regions["KZ-71"].ceiling) == (Ceiling.OFF, Ceiling.LABEL)
    regions = load(files, env, {"regions.KZ-75.policy.ceiling": "shadow"}).policy().regions
    assert (regions["KZ-75"].ceiling, regions["KZ-71"].ceiling) == (Ceiling.SHADOW, Ceiling.LABEL)
    regions = load(files, env, {"policy.ceiling": "shadow"}).policy().regions
    assert (regions["KZ-75"].ceiling, regions["KZ-71"].ceiling) == (Ceiling.SHADOW, Ceiling.SHADOW)


def test_redis_url_is_understood_and_the_longer_name_wins(load: Load) -> None:
    assert load(env={"REDIS_URL": "redis://a.example"}).redis.url == "redis://a.example"
    both = {"REDIS_URL": "redis://a.example", "ANTIFRAUD_REDIS_URL": "redis://b.example"}
    assert load(env=both).redis.url == "redis://b.example"


def test_values_from_outside_are_read_as_their_setting_wants_them(load: Load) -> None:
    settings = load(
        {"default.yaml": "default_region: KZ-75\nadapters:\n  cdr: {file: a.csv, enabled: false}\n"},
        {
            "ANTIFRAUD_SHARD": "7",
            "ANTIFRAUD_MODEL": "null",
            "ANTIFRAUD_ENGINE_RETENTION_H": "1.5",
            "ANTIFRAUD_POLICY_THRESHOLDS_BLOCK": "1",
            "ANTIFRAUD_ADAPTERS_CDR_ENABLED": "true",
        },
        {"trunks": '[{match: "x-*", class: national}]', "policy.block.code": 603, "adapters.cdr.file": "b.csv"},
    )
    assert settings.shard == "7"
    assert settings.model is None
    assert settings.engine.retention_h == 1.5
    assert settings.policy().regions["KZ-75"].block_at == 1.0
    assert settings.policy().regions["KZ-75"].block_code == 603
    assert settings.policy().trunks == (("x-*", "national"),)
    assert settings.adapters["cdr"] == {"file": "b.csv", "enabled": True}


def test_variables_that_resemble_nothing_are_noted_and_not_refused(load: Load) -> None:
    notes = load(env={"ANTIFRAUD_PORT_80_TCP": "tcp://10.0.0.1:80", "ANTIFRAUD_DEBUG": "1", "HOME": "/"}).notes
    assert [str(note.where) for note in notes] == ["environment variable ANTIFRAUD_PORT_80_TCP"]


def test_no_two_settings_share_a_variable() -> None:
    paths = list(setting_paths(Document))
    assert len({variable(path) for path in paths}) == len(paths)
    known = known_variables(read_text("adapters: {redirect: {listen: a}}", "x"), ["KZ-75"])
    assert known["ANTIFRAUD_ADAPTERS_REDIRECT_LISTEN"] == ("adapters", "redirect", "listen")
    assert known["ANTIFRAUD_REGIONS_KZ_75_POLICY_DESK_TARGET"] == ("regions", "KZ-75", "policy", "desk", "target")


def test_paths_in_files_are_relative_to_config_and_others_to_where_we_run(load: Load, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "own-rules").mkdir()
    text = (
        "default_region: KZ-75\nrules: own-rules\nengine: {snapshot_dir: snapshots}\nalerts: {password_file: secret}\n"
    )
    settings = load({"default.yaml": text})
    assert settings.rules_dir == tmp_path / "config" / "own-rules"
    assert settings.snapshot_dir == tmp_path / "config" / "snapshots"
    assert settings.alerts.password_file == str(tmp_path / "config" / "secret")
    assert load({"default.yaml": text}, {"ANTIFRAUD_ENGINE_SNAPSHOT_DIR": "here"}).snapshot_dir == Path("here")
    with pytest.raises(UsageError, match="/nowhere does not exist"):
        _ = load({"default.yaml": text}, {"ANTIFRAUD_RULES": "/nowhere"}).rules_dir


def test_state_goes_where_the_service_or_the_user_keeps_it(load: Load) -> None:
    assert load(env={"STATE_DIRECTORY": "/var/lib/antifraud"}).snapshot_dir == Path("/var/lib/antifraud/snapshots")
    assert load(env={"XDG_STATE_HOME": "/s", "HOME": "/h"}).journal_dir == Path("/s/antifraud/journal")
    assert load(env={"HOME": "/h"}).journal_dir == Path("/h/.local/state/antifraud/journal")


def test_models_are_named_or_pointed_at(load: Load, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "kz" / "1").mkdir(parents=True)
    (models / "kz" / "1" / "manifest.toml").write_text("")
    env = {"ANTIFRAUD_MODELS": str(models)}
    assert load({"default.yaml": "default_region: KZ-75\nmodel: null\n"}, env).model_dir is None
    assert load(env={**env, "ANTIFRAUD_MODEL": "kz/1"}).model_dir == models / "kz" / "1"
    assert load(env={"ANTIFRAUD_MODEL": str(models / "kz" / "1")}).model_dir == models / "kz" / "1"
    with pytest.raises(ConfigError) as caught:
        _ = load(env={**env, "ANTIFRAUD_MODEL": "kz/2"}).model_dir
    assert "did you mean kz/1?" in caught.value.render()


def test_the_digest_of_the_policy_follows_what_it_says_and_nothing_else(load: Load) -> None:
    text = "default_region: KZ-75\npolicy: {rules: {a: {x: 1, y: 2}, b: {z: 3}}}\n"
    first = load({"default.yaml": text}).policy().digest
    reordered = "# said differently\npolicy:\n  rules:\n    b: {z: 3}\n    a: {y: 2, x: 1}\ndefault_region: KZ-75\n"
    assert load({"default.yaml": reordered}, {"ANTIFRAUD_ENGINE_MAX_BATCH": "7"}).policy().digest == first
    assert load({"default.yaml": text.replace("x: 1", "x: 4")}).policy().digest != first
    assert load({"default.yaml": text}, {"ANTIFRAUD_POLICY_BLOCK_CODE": "603"}).policy().digest != first


def test_a_block_without_a_desk_and_a_trunk_that_is_never_reached_are_noted(load: Load) -> None:
    text = (
        "default_region: KZ-75\npolicy: {ceiling: block}\n"
        "trunks:\n  - {match: '*', class: national}\n  - {match: 'intl-*', class: international}\n"
    )
    assert [note.message for note in load({"default.yaml": text}).notes] == [
        "KZ-75: calls are diverted, but there is no desk to take them",
        "trunks: intl-* is never reached, * above it takes all of its trunks",
    ]


def test_values_for_showing_carry_no_password(load: Load) -> None:
    settings = load(
        {
            "default.yaml": "default_region: KZ-75\nadapters: {hep: {auth_key: abc, password_file: f, url: 'x://u:p@h'}}\n"
        },
        {"REDIS_URL": "redis://u:p@h.example"},
    )
    shown = {value.name: value.value for value in settings.values()}
    assert settings.redis.url == "redis://u:p@h.example"
    assert shown["redis.url"] == "redis://u:***@h.example"
    assert shown["adapters.hep.auth_key"] == "***"
    assert shown["adapters.hep.password_file"] == "f"
    assert shown["adapters.hep.url"] == "x://u:***@h"
