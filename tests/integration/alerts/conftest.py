"""A real mosquitto of each test's own, and a subscriber that misses nothing across its restarts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest


class Mosquitto:
    """A broker on a loopback port that keeps sessions in its directory when it is stopped."""

    def __init__(self, directory: Path, port: int, access: tuple[str, ...] = ("allow_anonymous true",)) -> None:
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._config = directory / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "persistence true", f"persistence_location {directory}/"]
        if os.geteuid() == 0:
            lines.append("user root")
        self._config.write_text("\n".join([*lines, *access, "max_queued_messages 0", ""]))

    def start(self) -> None:
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
        binary = shutil.which("mosquitto", path=path)
        assert binary is not None
        self._process = subprocess.Popen(
            [binary, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            assert self._process.poll() is None, "mosquitto ended at once"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("mosquitto does not answer")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(timeout=10)


@pytest.fixture
def broker(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Mosquitto]:
    directory = tmp_path / "mosquitto"
    directory.mkdir()
    mosquitto = Mosquitto(directory, free_port())
    mosquitto.start()
    try:
        yield mosquitto
    finally:
        mosquitto.stop()


class SecureMosquitto(Mosquitto):
    """A broker that wants TLS and a password."""

    def __init__(self, directory: Path, port: int) -> None:
        self.password_file = directory / "password"
        self.ca_file = directory / "certificate.pem"
        key = directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", self.ca_file],
            check=True, capture_output=True,
        )  # fmt: skip
        self.password_file.write_text("correct horse\n")
        users = directory / "users"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(users), "antifraud", "correct horse"], check=True, capture_output=True
        )
        super().__init__(
            directory,
            port,
            (f"certfile {self.ca_file}", f"keyfile {key}", "allow_anonymous false", f"password_file {users}"),
        )


@pytest.fixture
def secure_broker(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[SecureMosquitto]:
    directory = tmp_path / "secure"
    directory.mkdir()
    mosquitto = SecureMosquitto(directory, free_port())
    mosquitto.start()
    try:
        yield mosquitto
    finally:
        mosquitto.stop()


class Inbox:
    """Everything that arrived: (topic, payload) in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.subscribed = asyncio.Event()

    @property
    def ids(self) -> set[str]:
        return {payload["id"] for _topic, payload in self.messages}

    async def collect(self, broker: Mosquitto) -> None:
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", broker.port, identifier="inbox", clean_session=False, timeout=5
                ) as client:
                    await client.subscribe("#", qos=1)
                    self.subscribed.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        self.messages.append((str(message.topic), json.loads(message.payload)))
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)


@pytest.fixture
async def inbox(broker: Mosquitto) -> AsyncIterator[Inbox]:
    box = Inbox()
    task = asyncio.create_task(box.collect(broker))
    try:
        await asyncio.wait_for(box.subscribed.wait(), 20)
        yield box
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.02)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Any]:
    """Wait for something to become true; a test that waits in vain fails."""
    return _until
