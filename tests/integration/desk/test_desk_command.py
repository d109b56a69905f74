"""``antifraud desk status`` and ``free``: what people see of the desks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.queues import EmbeddedRedis, Keys

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
ROOT = Path(__file__).resolve().parents[3]
DESKS = """
desks:
  always: {target: "sip:a@desk.example", calls: 2, queue: 1}
  never: {target: "sip:n@desk.example", hours: ["mon 00:00-00:01"], silent_s: 5}
  silent: {target: "sip:s@desk.example", silent_s: 5}
"""


def test_status_says_what_each_desk_has_and_why_one_is_closed(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    default = config / "default.yaml"
    default.write_text(default.read_text(encoding="utf-8").replace("\ndesks: {}\n", DESKS), encoding="utf-8")

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "antifraud.cli", "desk", *arguments, f"--redis={redis_server.url}",
             f"--config={config}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    with redis.Redis(unix_socket_path=str(redis_server.socket_path)) as client:
        client.hset(KEYS.desks, mapping={"p:1": '["always","c1",1]', "h:always": "[4,1.5]", "p:2": "[", "h:x": "1"})
        lines = {line.split()[0]: line for line in run("status").splitlines()}
        assert "1 taken of 2 calls and 1 waiting; said free: 4" in lines["always"]
        assert "CLOSED" not in lines["always"]
        assert "CLOSED: it has said nothing of itself for 5 seconds" in lines["silent"]
        assert "CLOSED: " in lines["never"]
        found: Any = json.loads(run("status", "--json"))
        assert (found["always"]["open"], found["silent"]["open"]) == (True, False)
        assert run("free", "always", "--calls", "3") == "always: 3 more calls\n"
        said: Any = client.xrange(KEYS.desk_state)
        assert said[0][1] == {b"desk": b"always", b"free": b"3"}
        assert "did you mean always?" in run("free", "alwys", "--calls", "3", code=2)
