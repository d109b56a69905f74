"""The switch's stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.asterisk_manager import FakeAsterisk


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    server = FakeAsterisk()
    await server.start()
    yield server
    await server.stop()
