"""Where rules/, models/ and config/ are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import antifraud
from antifraud.domain import UsageError
from antifraud.settings import data_dir

CHECKOUT = Path(antifraud.__file__).resolve().parent.parent


def test_the_command_line_wins_over_the_environment_and_that_over_the_checkout(tmp_path: Path) -> None:
    chosen, named = tmp_path / "a", tmp_path / "b"
    chosen.mkdir()
    named.mkdir()
    env = {"ANTIFRAUD_RULES": str(named)}
    assert data_dir("rules", chosen, env=env) == chosen
    assert data_dir("rules", env=env) == named
    assert data_dir("rules", env={"ANTIFRAUD_RULES": ""}) == CHECKOUT / "rules"
    assert data_dir("config", env=env) == CHECKOUT / "config"


def test_without_a_checkout_the_data_of_the_wheel_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "antifraud"
    (package / "_data" / "rules").mkdir(parents=True)
    # A directory of that name beside an installed package belongs to somebody else.
    (package.parent / "rules").mkdir()
    monkeypatch.setattr(antifraud, "__file__", str(package / "__init__.py"))
    assert data_dir("rules", env={}) == package / "_data" / "rules"
    with pytest.raises(UsageError, match="there is no models directory in this installation"):
        data_dir("models", env={})


def test_a_directory_that_was_named_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="does not exist"):
        data_dir("rules", tmp_path / "no", env={})
    with pytest.raises(UsageError, match="is a file, not a directory"):
        data_dir("models", env={"ANTIFRAUD_MODELS": str(tmp_path / "file")})
