"""Every package says in a sorted ``__all__`` what it offers, and all of it is there."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = sorted(
    f"{top}.{package.name}" for top in ("antifraud", "sip_adapters")
    for package in pkgutil.iter_modules([str(ROOT / top)]) if package.ispkg
)  # fmt: skip
SORTED_WITHOUT_CASE = str.casefold


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_exports_what_it_says(name: str) -> None:
    package = importlib.import_module(name)
    exported = list(getattr(package, "__all__", ()))
    assert len(set(exported)) == len(exported)
    for one in exported:
        assert getattr(package, one) is not None


def test_no_drawer_for_leftovers() -> None:
    names = {path.stem for top in ("antifraud", "sip_adapters") for path in (ROOT / top).rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc", "util", "helper"}


def test_no_lock_file_names_a_package_host() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") > 50
