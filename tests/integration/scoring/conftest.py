"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def acting_at_once() -> Iterator[None]:
    """Training and evaluation leave out an engine's first hours, and what is simulated here lasts no longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIFRAUD_ENGINE_WARM_UP_S", "0")
        yield
