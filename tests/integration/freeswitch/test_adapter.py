"""The outbound event-socket server over real TCP and a real Redis, with stand-ins for FreeSWITCH and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from antifraud.domain import CallEvent, ConfigError, EventKind
from antifraud.queues import EmbeddedRedis, Keys, Reply, connect, decode_event, encode_reply
from sip_adapters.switches.freeswitch import ADAPTER

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("test")
VERDICTS = {"1": "block", "2": "divert", "3": "label", "5": "allow"}
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4{}"


@contextlib.asynccontextmanager
async def adapter(url: str, **options: Any) -> AsyncIterator[int]:
    """The adapter's port."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = {"listen": "127.0.0.1:0", "deadline_ms": 1000, **options}
    task = asyncio.create_task(ADAPTER.run(shard="test", redis_url=url, options=settings, ready=address.set_result))
    try:
        await asyncio.wait({address, task}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        yield int(address.result().rpartition(":")[2])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConfigError):
            await task


async def until(ready: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


async def stand_in(url: str, seen: list[CallEvent]) -> None:
    """Answers by the last digit of the called number."""
    client = connect(url)
    last: Any = "0"
    try:
        while True:
            found: Any = await client.xread({KEYS.calls: last}, count=500, block=200)
            for _, entries in found:
                for entry_id, fields in entries:
                    last = entry_id
                    event = decode_event(fields)
                    seen.append(event)
                    verdict = VERDICTS.get(event.callee_raw[-1])
                    if event.reply and verdict:
                        reply = Reply(
                            verdict=verdict, call_id=event.call_id, decision="d7", target="sip:desk@192.0.2.9",
                            label="warn ${system(id)}", sip_code=603, phrase="Decline", cause=21,
                        )  # fmt: skip
                        await client.rpush(event.reply, encode_reply(reply))  # type: ignore[misc]
    finally:
        await client.aclose()


@pytest.fixture
async def seen(redis_server: EmbeddedRedis) -> AsyncIterator[list[CallEvent]]:
    events: list[CallEvent] = []
    task = asyncio.create_task(stand_in(redis_server.url, events))
    yield events
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class Channel:
    """One parked channel of a FreeSWITCH whose dialplan ran ``socket``."""

    def __init__(self, port: int, callee: str, n: int = 1) -> None:
        self.port = port
        self.uuid = UUID.format(n)
        self.about = {
            "Unique-ID": self.uuid,
            "Caller-Destination-Number": callee,
            "Caller-Caller-ID-Number": "+77010000099",
            "variable_sip_from_user": "+77010000001",
            "variable_antifraud_trunk": "intl-1",
            "variable_sip_network_ip": "192.0.2.1",
        }
        self.did: list[str] = []
        self.took_s = 0.0

    async def socket(self) -> list[str]:
        """Run ``socket``: what the channel was told to do, in its order."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                raw = (await asyncio.wait_for(reader.readuntil(b"\n\n"), 10)).decode().removesuffix("\n\n")
                if raw == "connect":
                    lines = "".join(f"{name}: {quote(value, safe='')}\n" for name, value in self.about.items())
                    writer.write(f"Content-Type: command/reply\nReply-Text: +OK\n{lines}\n".encode())
                    continue
                fields = dict(line.split(": ", 1) for line in raw.split("\n")[1:])
                if not fields:
                    self.did.append(raw)
                elif fields["call-command"] == "hangup":
                    self.did.append(f"hangup {fields['hangup-cause']}")
                else:
                    self.did.append(f"{fields['execute-app-name']} {fields.get('execute-app-arg', '')}")
                writer.write(b"Content-Type: command/reply\nReply-Text: +OK\n\n")
        writer.close()
        self.took_s = time.monotonic() - began
        return self.did


async def test_each_verdict_is_carried_out(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url) as port:
        did = {last: await Channel(port, f"+7701000010{last}", int(last)).socket() for last in VERDICTS}
    assert did == {
        "1": [
            "resume",
            "set antifraud_cause=21",
            "set antifraud_decision=d7",
            "set antifraud_verdict=block",
            "respond 603 Decline",
            "hangup 21",
        ],
        "2": [
            "resume",
            "set antifraud_target=sip:desk@192.0.2.9",
            "set antifraud_decision=d7",
            "set antifraud_verdict=divert",
        ],
        "3": [
            "resume",
            "set antifraud_label=warn system id",
            "set antifraud_decision=d7",
            "set effective_caller_id_name=warn system id",
            "set antifraud_verdict=label",
        ],
        "5": ["resume", "set antifraud_decision=d7", "set antifraud_verdict=allow"],
    }
    setup = seen[0]
    assert (setup.caller_raw, setup.callee_raw, setup.call_id) == ("+77010000001", "+77010000101", UUID.format(1))
    assert (setup.source, setup.switch, setup.trunk, setup.src_ip) == (
        "freeswitch", "freeswitch", "intl-1", "192.0.2.1",
    )  # fmt: skip


async def test_an_emergency_call_is_never_asked_about(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, deadline_ms=5000) as port:
        channel = Channel(port, "112")
        assert await channel.socket() == ["resume", "set antifraud_verdict=emergency"]
        assert channel.took_s < 2


async def test_a_silent_engine_lets_calls_go_on(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, deadline_ms=200) as port:
        channel = Channel(port, "+77010000105")
        assert await channel.socket() == ["resume", "set antifraud_verdict=none"]
        assert 0.15 < channel.took_s < 2


async def test_a_dead_redis_lets_calls_go_on(tmp_path: Path) -> None:
    async with adapter(f"unix://{tmp_path}/nothing.sock", deadline_ms=5000) as port:
        channel = Channel(port, "+77010000101")
        assert await channel.socket() == ["resume", "set antifraud_verdict=none"]
        assert channel.took_s < 3


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Type: command/reply\nContent-Length: 99999999999\n\n",
        b"Content-Type: command/reply\nReply-Text: +OK\n\n",
        b"Content-Type: text/disconnect-notice\n\n",
        b"Content-Type: command/reply\nUnique-ID: x\n\nnonsense\n\n",
        b"x" * 300_000,
        b"",
    ],
)
async def test_hostile_connections_end(redis_server: EmbeddedRedis, seen: list[CallEvent], raw: bytes) -> None:
    async with adapter(redis_server.url, deadline_ms=100) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            writer.write(raw)
            await writer.drain()
            async with asyncio.timeout(5):
                while await reader.read(1000):
                    pass
        writer.close()
        assert (await Channel(port, "+77010000105").socket())[0] == "resume"


class EventSocket:
    """An inbound event socket that publishes events to whoever asked for them."""

    def __init__(self) -> None:
        self.subscribers: list[asyncio.StreamWriter] = []
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Type: auth/request\n\n")
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                command = (await reader.readuntil(b"\n\n")).decode().strip()
                self.asked.append(command)
                writer.write(b"Content-Type: command/reply\nReply-Text: +OK\n\n")
                if command.startswith("event"):
                    self.subscribers.append(writer)
        writer.close()

    def publish(self, name: str, uuid: str, **more: str) -> None:
        body = json.dumps({"Event-Name": name, "Unique-ID": uuid, **more}).encode()
        for writer in self.subscribers:
            writer.write(f"Content-Length: {len(body)}\nContent-Type: text/event-json\n\n".encode() + body)


async def test_answer_and_end_are_reported(redis_server: EmbeddedRedis, seen: list[CallEvent], tmp_path: Path) -> None:
    events = EventSocket()
    server = await asyncio.start_server(events.serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (tmp_path / "password").write_text("ClueCon-not\n")
    inbound = {"address": address, "password_file": str(tmp_path / "password")}
    async with adapter(redis_server.url, events=inbound) as port:
        await until(lambda: bool(events.subscribers))
        assert events.asked == ["auth ClueCon-not", "event json HEARTBEAT CHANNEL_ANSWER CHANNEL_HANGUP_COMPLETE"]
        channel = Channel(port, "+77010000105")
        await channel.socket()
        events.publish("CHANNEL_ANSWER", "another")
        events.publish("CHANNEL_ANSWER", channel.uuid)
        # The connection ends in between, and is made anew.
        await until(lambda: len(seen) == 2)
        events.subscribers.pop().close()
        await until(lambda: bool(events.subscribers))
        events.publish(
            "CHANNEL_HANGUP_COMPLETE", channel.uuid, variable_hangup_cause_q850="16", variable_billmsec="12500"
        )
        await until(lambda: len(seen) == 3)
    server.close()
    await asyncio.sleep(0)  # the other side closes too
    assert [event.kind for event in seen] == [EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE]
    assert {event.call_id for event in seen} == {channel.uuid}
    assert (seen[2].cause, seen[2].talk_s) == (16, 12.5)
