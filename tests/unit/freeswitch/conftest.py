"""The switch's stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.freeswitch_events import FakeFreeSwitch


@pytest.fixture
async def freeswitch() -> AsyncIterator[FakeFreeSwitch]:
    server = FakeFreeSwitch()
    await server.start()
    yield server
    await server.stop()
