"""Every message about configuration as people see it. UPDATE_GOLDEN=1 rewrites the expected part of each case.

A case is one text file: the files of a config directory, ``env`` and ``set`` parts, and the expected message. A part
that is not there is the smallest one that is right.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from antifraud.domain import ConfigError
from antifraud.settings import load_settings

GOLDEN = Path(__file__).parent / "golden"
SMALLEST = {
    "default.yaml": "default_region: KZ-75\n",
    "regions/KZ-75.yaml": "name: {en: Almaty, ru: Алматы, kk: Алматы}\n",
}
CASES = sorted(GOLDEN.glob("*.txt"))


def parts(text: str) -> dict[str, str]:
    pieces = re.split(r"^--- ([^\s]+)\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def assignments(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line)  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_message(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parts(case.read_text(encoding="utf-8"))
    for name, text in {**SMALLEST, **found}.items():
        if name.endswith((".yaml", ".yml")):
            path = tmp_path / "config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_settings("config", env=assignments(found.get("env", "")), overrides=assignments(found.get("set", "")))
    message = caught.value.render() + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        before = case.read_text(encoding="utf-8").split("--- expected\n")[0]
        case.write_text(f"{before}--- expected\n{message}", encoding="utf-8")
    else:
        assert message == found["expected"]


def test_there_are_cases() -> None:
    assert len(CASES) >= 25
