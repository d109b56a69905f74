"""Clients of the desk that are slow, mistaken or hostile: the log tells the truth, and others are served."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aredis
from aiohttp import ClientSession
from aiohttp.test_utils import BaseTestServer, TestServer

from antifraud.cli.assembly import build_numbering
from antifraud.desk import service
from antifraud.desk.service import CardService
from antifraud.domain import Decision
from antifraud.queues import EmbeddedRedis, Keys, connect
from antifraud.settings import load_settings
from tests.integration.desk.test_cards import ROOT, Cards

pytestmark = [
    pytest.mark.needs("redis"),
    # Newer versions of aiohttp would rather have keys of their own type, which older ones do not know.
    pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey"),
]
KEYS = Keys("kz")
TOKEN = "0123456789abcdef0123"
LET_IN = {"Authorization": f"Bearer {TOKEN}"}
NUMBERING = build_numbering(load_settings(env={}), warm=False)


class Served:
    """The service in this process, with its port and a client of its Redis."""

    def __init__(self, cards: CardService, server: BaseTestServer, client: aredis.Redis, http: ClientSession) -> None:
        self.cards, self.server, self.redis, self.http = cards, server, client, http

    async def ask(self, path: str, body: Any = None) -> int:
        method = "GET" if body is None else "POST"
        async with self.http.request(method, self.server.make_url(path), json=body, headers=LET_IN) as answer:
            return answer.status

    async def send(self, raw: bytes, most: int = 65_536) -> bytes:
        """The answer to ``raw``, sent as it is; ``most`` -1: everything until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(raw)
            return await asyncio.wait_for(reader.read(most), 10)
        finally:
            writer.close()


@pytest.fixture
async def served(redis_server: EmbeddedRedis, tmp_path: Any) -> AsyncIterator[Served]:
    client = connect(redis_server.url)
    tokens = {hashlib.sha256(TOKEN.encode()).digest(): "astana"}
    (tmp_path / "journal").mkdir()
    cards = CardService(
        client, "kz", tokens, NUMBERING, journal=tmp_path / "journal", desks=frozenset(("first",))
    )  # fmt: skip
    async with TestServer(cards.app()) as server, ClientSession() as http:
        yield Served(cards, server, client, http)
    await client.aclose()


def decided(number: int, verdict: str = "divert") -> Decision:
    return Decision(
        id=f"{number:016x}", call_id=f"c{number}", ts=time.time(), shard="kz", region="KZ-75", verdict=verdict,
        full_verdict="block", ceiling="divert", caller="+77010000001", callee="+77000000001", switch="sw",
    )  # fmt: skip


async def test_a_challenge_that_could_not_be_reported_is_reported_when_it_is_said_again(served: Served) -> None:
    """A caller who has passed is not asked again: that must not depend on one answer of Redis."""
    served.cards.book.add(decided(1, "challenge"))
    await served.redis.set(KEYS.calls, "no stream")
    path = f"/cards/{1:016x}/challenge"
    assert await served.ask(path, {"passed": True}) == 503
    await served.redis.delete(KEYS.calls)
    assert await served.ask(path, {"passed": True}) == 201
    assert await served.ask(path, {"passed": True}) == 200
    assert await served.redis.xlen(KEYS.calls) == 1


async def test_a_slow_body_writes_no_lines_into_the_log(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "_REQUEST_S", 0.2)
    head = f"POST /desks/x%0aERROR%20forged/free HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    with caplog.at_level(logging.INFO, "antifraud.desk"):
        answer = await served.send(f"{head}Content-Length: 10\r\nConnection: close\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
    assert b"Redis" not in answer
    said = [record.getMessage() for record in caplog.records]
    assert said
    assert all(one.isprintable() for one in said)


async def test_ids_that_nobody_has_are_searched_one_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of the journal goes on when its request has ended: the next one must not begin beside it."""
    monkeypatch.setattr(service, "_REQUEST_S", 0.2)
    searching, most, lock = 0, 0, threading.Lock()

    def slow(*_: Any) -> None:
        nonlocal searching, most
        with lock:
            searching += 1
            most = max(most, searching)
        time.sleep(1.0)
        with lock:
            searching -= 1

    monkeypatch.setattr(service, "find_decision", slow)
    served.cards.book.add(decided(1))
    for number in range(100, 104):
        assert await served.ask(f"/cards/{number:016x}") == 503
    assert most == 1
    assert await served.ask(f"/cards/{1:016x}") == 200


async def test_connections_that_ask_nothing_are_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing sent, half a head sent, a request answered and the connection kept: none of them stays for ever."""
    monkeypatch.setattr(service, "_CONNECTION_S", 0.8)
    monkeypatch.setattr(service, "_REQUEST_S", 0.5)
    runner = served.server.runner
    assert runner is not None
    assert runner.server is not None
    closing = asyncio.ensure_future(served.cards.close_old(runner.server))
    whole = f"GET /desks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    for begun in (b"", whole[:30], whole):
        began = time.monotonic()
        answer = await served.send(begun, -1)
        assert time.monotonic() - began > 0.5
        assert answer.startswith(b"HTTP/1.1 200") is (begun == whole)
    monkeypatch.setattr(service, "_CONNECTION_S", 60.0)
    monkeypatch.setattr(service, "_CONNECTIONS", 5)
    held = [await asyncio.open_connection("127.0.0.1", served.server.port) for _ in range(20)]
    for _ in range(100):
        await asyncio.sleep(0.05)
        if len(runner.server.connections) <= 6:
            break
    assert len(runner.server.connections) <= 6
    assert await served.ask("/desks") == 200
    for _reader, writer in held:
        writer.close()
    closing.cancel()


async def test_a_body_that_cannot_be_unpacked_is_the_clients_mistake(served: Served) -> None:
    head = f"POST /desks/first/free HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    answer = await served.send(f"{head}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd".encode())
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]


def test_what_is_no_http_fills_no_log(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    """Nobody needs a token for it, and each traceback has kilobytes."""
    cards = Cards(redis_server.url, ROOT / "config", tmp_path)
    try:
        before = cards.log.stat().st_size
        host, _, port = cards.url.removeprefix("http://").rpartition(":")
        for raw in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(raw + b"\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.0 400 ")
        assert cards.ask("/desks")[0] == 200
    finally:
        cards.stop()
    assert "Traceback" not in cards.log.read_text()
    assert cards.log.stat().st_size - before < 1_000
