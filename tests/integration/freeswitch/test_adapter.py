"""The outbound event-socket server over real TCP and a real Redis, with stand-ins for FreeSWITCH and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import EmbeddedRedis, Reply
from sip_adapters.switches.freeswitch import ADAPTER
from tests.engine_stand_in import answering, counters, serving, until
from tests.undecided import policy

pytestmark = pytest.mark.needs("redis")
REPLIES = {
    last: Reply(
        verdict, decision="d7", target="sip:desk@192.0.2.9", label="warn ${system(id)}", sip_code=603, phrase="Decline",
        cause=21,
    )
    for last, verdict in {"1": "block", "2": "divert", "3": "label", "5": "allow"}.items()
}  # fmt: skip
UUID = "0b5a8f3e-8d0c-4b0e-9a34-6a1f3c1d2e4{}"

adapter = partial(serving, ADAPTER)


@pytest.fixture
async def seen(redis_server: EmbeddedRedis) -> AsyncIterator[list[CallEvent]]:
    async with answering(redis_server.url, REPLIES) as events:
        yield events


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
        self.tells_after_s = 0.0

    async def socket(self) -> list[str]:
        """Run ``socket``: what the channel was told to do, in its order."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                raw = (await asyncio.wait_for(reader.readuntil(b"\n\n"), 10)).decode().removesuffix("\n\n")
                if raw == "connect":
                    await asyncio.sleep(self.tells_after_s)
                    lines = "".join(
                        f"{name}: {quote(value, safe='', errors='surrogateescape')}\n"
                        for name, value in self.about.items()
                    )
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
        did = {last: await Channel(port, f"+7701000010{last}", int(last)).socket() for last in REPLIES}
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


UNAVAILABLE = ["set antifraud_cause=41", "set antifraud_verdict=block", "respond 503 Service Unavailable", "hangup 41"]
REFUSED = ["set antifraud_cause=21", "set antifraud_verdict=block", "respond 608 Rejected", "hangup 21"]


@pytest.mark.parametrize(
    ("rung", "trunk", "callee", "did", "counted"),
    [
        (
            "label", "intl-1", "+77010000005",
            [
                "set antifraud_label=Возможно мошенники",
                "set effective_caller_id_name=Возможно мошенники",
                "set antifraud_verdict=label",
            ],
            "verdict.none",
        ),
        ("national_only", "sub-1", "+77010000005", ["set antifraud_verdict=none"], "verdict.none"),
        ("national_only", "sub-1", "+442079460000", UNAVAILABLE, "fail.refused"),
        ("national_only", "intl-1", "+77010000005", UNAVAILABLE, "fail.refused"),
        ("emergency_only", "sub-1", "+77010000005", UNAVAILABLE, "fail.refused"),
        ("refuse", "sub-1", "+77010000005", REFUSED, "fail.refused"),
    ],
)  # fmt: skip
async def test_the_fail_policy_is_carried_out_while_the_engine_is_silent(
    redis_server: EmbeddedRedis, rung: str, trunk: str, callee: str, did: list[str], counted: str
) -> None:
    async with adapter(redis_server.url, deadline_ms=100, fail=policy(**{"any.late": rung})) as port:
        channel = Channel(port, callee)
        channel.about["variable_antifraud_trunk"] = trunk
        assert await channel.socket() == ["resume", *did]
    found = await counters(redis_server.url)
    assert found == {"freeswitch.late": 1, f"freeswitch.{counted}": 1}


async def test_a_refused_call_is_refused_whatever_else_fails(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    """Each reason has a rung of its own."""
    fail = policy(**{"any.redis": "refuse", "any.overload": "emergency_only"})
    async with adapter(f"unix://{tmp_path}/nothing.sock", deadline_ms=5000, fail=fail) as port:
        channel = Channel(port, "+77010000105")
        assert await channel.socket() == ["resume", *REFUSED]
        assert channel.took_s < 3
    async with adapter(redis_server.url, deadline_ms=500, max_waiting=1, respond=False, fail=fail) as port:
        did = await asyncio.gather(*(Channel(port, "+77010000105", n).socket() for n in range(2)))
    silently = [step for step in UNAVAILABLE if not step.startswith("respond")]
    assert sorted(did) == [["resume", *silently], ["resume", "set antifraud_verdict=none"]]
    assert (await counters(redis_server.url))["freeswitch.full"] == 1


async def test_the_fail_policy_touches_no_emergency_call(tmp_path: Path) -> None:
    fail = policy(**dict.fromkeys(("any.late", "any.redis", "any.overload"), "refuse"))
    async with adapter(f"unix://{tmp_path}/nothing.sock", max_waiting=3, fail=fail) as port:
        numbers = ("112", "+7 727 112", "01", "8-101", "1\u200b12", f"1{'-' * 300}12")
        did = await asyncio.gather(*(Channel(port, callee).socket() for callee in numbers))
        assert did == [["resume", "set antifraud_verdict=emergency"]] * len(numbers)


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


async def test_neither_a_slow_nor_a_garbled_freeswitch_has_a_call_refused(redis_server: EmbeddedRedis) -> None:
    """The rung is for an engine that is late; a number that cannot be read may be one that is never refused."""
    fail = policy(**dict.fromkeys(("any.late", "any.redis", "any.overload"), "refuse"))
    async with adapter(redis_server.url, deadline_ms=100, fail=fail) as port:
        slow, garbled, plain = (Channel(port, "+77010000105", n) for n in (1, 2, 3))
        slow.tells_after_s = 0.15
        garbled.about["Caller-Destination-Number"] = "\udcff112"
        did = await asyncio.gather(*(channel.socket() for channel in (slow, garbled, plain)))
    assert [one[-1] for one in did] == ["set antifraud_verdict=none"] * 2 + ["hangup 21"]
    found = await counters(redis_server.url)
    assert (found["freeswitch.told-late"], found["freeswitch.fail.refused"]) == (1, 1)


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
