"""Golden files: ANTIFRAUD_GOLDEN=write writes what is expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def golden() -> Callable[[Path, str], None]:
    """Compares a text with the file that says what it should be; ANTIFRAUD_GOLDEN=write writes it."""

    def compare(path: Path, text: str) -> None:
        if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
