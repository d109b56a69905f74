"""The switch's stand-in, and golden files: ANTIFRAUD_GOLDEN=write writes what is expected."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.asterisk_manager import FakeAsterisk


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    server = FakeAsterisk()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def golden() -> Callable[[Path, str], None]:
    """Compares a text with the file that says what it should be; ANTIFRAUD_GOLDEN=write writes it."""

    def compare(path: Path, text: str) -> None:
        if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
