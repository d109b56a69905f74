"""The FastAGI server over real TCP and a real Redis, with stand-ins for Asterisk and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from antifraud.domain import CallEvent, ConfigError, EventKind
from antifraud.queues import EmbeddedRedis, Reply, connect, decode_event
from sip_adapters.switches.asterisk import ADAPTER
from tests.asterisk_manager import SECRET, FakeAsterisk
from tests.engine_stand_in import KEYS, answering, counters, serving, until
from tests.undecided import policy

pytestmark = pytest.mark.needs("redis")
REPLIES = {
    last: Reply(
        verdict, decision="d7", target="sip:desk@192.0.2.9", label='war"n\\ ${SHELL(id)}', text="why", sip_code=603,
        cause=21,
    )
    for last, verdict in {"1": "block", "2": "divert", "3": "label", "4": "challenge", "5": "allow"}.items()
}  # fmt: skip


adapter = partial(serving, ADAPTER)


@pytest.fixture
async def seen(redis_server: EmbeddedRedis) -> AsyncIterator[list[CallEvent]]:
    async with answering(redis_server.url, REPLIES) as events:
        yield events


class Channel:
    """One channel of an Asterisk that runs AGI scripts: its variables, what AGI says of it."""

    def __init__(self, port: int, callee: str, *, uniqueid: str = "1796069373.4", caller: str = "+77010000001") -> None:
        self.port = port
        self.variables = {"ANTIFRAUD_CALLEE": callee, "ANTIFRAUD_TRUNK": "intl-1"}
        self.about = {"network": "yes", "callerid": caller, "callingpres": "0", "uniqueid": uniqueid, "extension": "s"}
        self.commands: list[str] = []
        self.says_hangup = False
        self.garbles: dict[str, bytes] = {}
        self.answers_after_s = 0.0
        self.took_s = 0.0

    async def agi(self, script: str) -> Mapping[str, str]:
        """Run ``script``; the channel's variables afterwards."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = {"network_script": script, **self.about}
        writer.write("".join(f"agi_{name}: {value}\n" for name, value in lines.items()).encode() + b"\n")
        while line := (await asyncio.wait_for(reader.readline(), 10)).decode().rstrip("\n"):
            self.commands.append(line)
            word, kind, name, *rest = line.split(" ", 3)
            writer.write(b"HANGUP\n" * self.says_hangup)
            assert kind == "VARIABLE"
            await asyncio.sleep(self.answers_after_s)
            if word == "GET" and name in self.garbles:
                writer.write(self.garbles[name])
            elif word == "SET":
                value = rest[0]
                assert value[0] == value[-1] == '"'
                self.variables[name] = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
                writer.write(b"200 result=1\n")
            else:
                value = self.variables.get(name, "")
                writer.write(f"200 result=1 ({value})\n".encode() if value else b"200 result=0\n")
        writer.close()
        self.took_s = time.monotonic() - began
        return self.variables


async def test_each_verdict_reaches_the_dialplan(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url) as port:
        found = {
            last: dict(await Channel(port, f"+7701000010{last}", uniqueid=f"1796069373.{last}").agi("ask"))
            for last in REPLIES
        }
    told = {
        last: {
            name.removeprefix("ANTIFRAUD_"): value
            for name, value in variables.items()
            if name not in ("ANTIFRAUD_CALLEE", "ANTIFRAUD_TRUNK", "ANTIFRAUD_CALL")
        }
        for last, variables in found.items()
    }
    assert told == {
        "1": {"VERDICT": "block", "REASON": "why", "CAUSE": "21", "STATUS": "603", "DECISION": "d7"},
        "2": {"VERDICT": "divert", "REASON": "why", "TARGET": "sip:desk@192.0.2.9", "DECISION": "d7"},
        "3": {"VERDICT": "label", "REASON": "why", "LABEL": "war n SHELL id", "DECISION": "d7"},
        "4": {"VERDICT": "challenge", "REASON": "why", "TARGET": "sip:desk@192.0.2.9", "DECISION": "d7"},
        "5": {"VERDICT": "allow", "DECISION": "d7"},
    }
    setup = seen[0]
    assert (setup.kind, setup.caller_raw, setup.callee_raw) == (EventKind.SETUP, "+77010000001", "+77010000101")
    assert (setup.source, setup.switch, setup.trunk) == ("asterisk", "asterisk", "intl-1")
    assert (setup.call_id, setup.deadline_ms) == ("1796069373.1", 1000)


async def test_what_the_dialplan_knows_stands_in_the_event(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url, switch="ast-1") as port:
        channel = Channel(port, "+77010000105", caller="unknown")
        channel.about["callingpres"] = "35"
        channel.variables |= {
            "ANTIFRAUD_CALL": "abc@192.0.2.1",
            "ANTIFRAUD_ASSERTED": '"A" <sip:+77010000007@x.example>',
            "ANTIFRAUD_DIVERSION": "+77010000008",
            "ANTIFRAUD_SOURCE": "192.0.2.1",
            "ANTIFRAUD_AGENT": "Some/1.0 \u202e",
            "ANTIFRAUD_IDENTITY": "x" * 1023,
        }
        await channel.agi("ask")
    (event,) = [event for event in seen if event.kind is EventKind.SETUP]
    assert (event.caller_raw, event.asserted, event.diversion) == ("", "+77010000007", "+77010000008")
    assert (event.call_id, event.switch, event.src_ip, event.privacy) == ("abc@192.0.2.1", "ast-1", "192.0.2.1", "id")
    assert event.identity == ""
    assert event.user_agent == "Some/1.0 \ufffd"
    assert channel.variables["ANTIFRAUD_CALL"] == "abc@192.0.2.1"


async def test_an_emergency_call_is_never_asked_about(redis_server: EmbeddedRedis) -> None:
    """Nobody answers here, and still the call goes on at once; the log hears of it."""
    async with adapter(redis_server.url, deadline_ms=5000) as port:
        channel = Channel(port, "112")
        assert (await channel.agi("ask"))["ANTIFRAUD_VERDICT"] == "emergency"
        assert channel.took_s < 2
        assert [line for line in channel.commands if line.startswith("GET")] == ["GET VARIABLE ANTIFRAUD_CALLEE"]
    client = connect(redis_server.url)
    ((_, fields),) = await client.xrange(KEYS.calls)  # type: ignore[misc]
    await client.aclose()
    event = decode_event(fields)
    assert (event.callee_raw, event.reply) == ("112", "")
    assert (await counters(redis_server.url))["asterisk.emergency"] == 1


async def test_a_silent_engine_lets_calls_go_on(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, deadline_ms=200) as port:
        channel = Channel(port, "+77010000105")
        assert (await channel.agi("ask"))["ANTIFRAUD_VERDICT"] == "none"
        assert 0.15 < channel.took_s < 2
    assert (await counters(redis_server.url))["asterisk.late"] == 1


async def test_a_dead_redis_lets_calls_go_on(tmp_path: Path) -> None:
    async with adapter(f"unix://{tmp_path}/nothing.sock", deadline_ms=5000) as port:
        channels = [Channel(port, "+77010000105", uniqueid=f"1796069373.{n}") for n in range(20)]
        await asyncio.gather(*(channel.agi("ask") for channel in channels))
        assert {channel.variables["ANTIFRAUD_VERDICT"] for channel in channels} == {"none"}
        assert max(channel.took_s for channel in channels) < 3


def told(channel: Channel) -> tuple[str, ...]:
    return tuple(channel.variables.get(f"ANTIFRAUD_{name}", "") for name in ("VERDICT", "CAUSE", "STATUS", "LABEL"))


@pytest.mark.parametrize(
    ("rung", "trunk", "callee", "expected", "counted"),
    [
        ("label", "intl-1", "+77010000005", ("label", "", "", "Возможно мошенники"), "verdict.none"),
        ("national_only", "sub-1", "+77010000005", ("none", "", "", ""), "verdict.none"),
        ("national_only", "sub-1", "+442079460000", ("block", "42", "503", ""), "fail.refused"),
        ("national_only", "intl-1", "+77010000005", ("block", "42", "503", ""), "fail.refused"),
        ("emergency_only", "sub-1", "+77010000005", ("block", "42", "503", ""), "fail.refused"),
        ("refuse", "sub-1", "+77010000005", ("block", "21", "608", ""), "fail.refused"),
    ],
)
async def test_the_fail_policy_is_carried_out_while_the_engine_is_silent(
    redis_server: EmbeddedRedis, rung: str, trunk: str, callee: str, expected: tuple[str, ...], counted: str
) -> None:
    async with adapter(redis_server.url, deadline_ms=100, fail=policy(**{"any.late": rung})) as port:
        channel = Channel(port, callee)
        channel.variables["ANTIFRAUD_TRUNK"] = trunk
        await channel.agi("ask")
        assert told(channel) == expected
        await channel.agi("ended")
    found = await counters(redis_server.url)
    refused = counted == "fail.refused"
    assert {name: number for name, number in found.items() if name.startswith("asterisk.")} == {
        "asterisk.late": 1, f"asterisk.{counted}": 1, **({"asterisk.end-unknown": 1} if refused else {}),
    }  # fmt: skip


GARBAGE = (
    b"nonsense\n",
    b"200 result=1 (cut\n",
    b"520-Invalid\nUsage\n520 End\n",
    b"\xff\x00\n",
    b"x" * 20_000 + b"\n",
)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("name", ["ANTIFRAUD_CALLEE", "ANTIFRAUD_TRUNK", "ANTIFRAUD_AGENT"])
async def test_what_asterisk_garbles_costs_no_call(redis_server: EmbeddedRedis, garbage: bytes, name: str) -> None:
    """What is not known of such a call may be what protects it: no rung refuses it, and it does not wait either."""
    fail = policy(**dict.fromkeys(("any.late", "any.redis", "any.overload"), "refuse"))
    async with adapter(redis_server.url, deadline_ms=100, fail=fail) as port:
        channel = Channel(port, "+77010000105")
        channel.garbles[name] = garbage
        await channel.agi("ask")
        assert channel.variables.get("ANTIFRAUD_VERDICT", "none") == "none"
        assert channel.took_s < 0.7
        await Channel(port, "+77010000105", uniqueid="2.2").agi("ask")
    found = await counters(redis_server.url)
    assert found["asterisk.fail.refused"] == 1
    assert "asterisk.fault" not in found
    client = connect(redis_server.url)
    entries = await client.xrange(KEYS.quarantine)  # type: ignore[misc]
    await client.aclose()
    assert {fields[b"code"] for _, fields in entries} == {b"agi-garbled"}


async def test_a_verdict_on_a_call_that_is_garbled_in_part_is_carried_out(
    redis_server: EmbeddedRedis, seen: list[CallEvent]
) -> None:
    """A header that spoils the answer must not take a call out of everybody's sight."""
    async with adapter(redis_server.url) as port:
        channel = Channel(port, "+77010000101")
        channel.garbles["ANTIFRAUD_AGENT"] = b"200 result=1 (evil\nagent)\n"
        assert (await channel.agi("ask"))["ANTIFRAUD_VERDICT"] == "block"


async def test_an_asterisk_that_takes_too_long_to_tell_is_no_late_engine(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, deadline_ms=30, fail=policy(**{"any.late": "refuse"})) as port:
        channel = Channel(port, "+77010000105")
        channel.answers_after_s = 0.02
        assert (await channel.agi("ask"))["ANTIFRAUD_VERDICT"] == "none"
    found = await counters(redis_server.url)
    assert (found["asterisk.told-late"], found["asterisk.verdict.none"]) == (1, 1)


async def test_a_refused_call_is_refused_whatever_else_fails(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    """Each reason has a rung of its own."""
    fail = policy(**{"any.redis": "refuse", "any.overload": "emergency_only"})
    async with adapter(f"unix://{tmp_path}/nothing.sock", deadline_ms=5000, fail=fail) as port:
        alone = Channel(port, "+77010000105")
        await alone.agi("ask")
        assert told(alone)[:3] == ("block", "21", "608")
        assert alone.took_s < 3
    async with adapter(redis_server.url, deadline_ms=500, max_waiting=1, fail=fail) as port:
        channels = [Channel(port, "+77010000105", uniqueid=f"1.{n}") for n in range(2)]
        await asyncio.gather(*(channel.agi("ask") for channel in channels))
        assert sorted(told(channel)[:3] for channel in channels) == [("block", "42", "503"), ("none", "", "")]
    found = await counters(redis_server.url)
    assert (found["asterisk.full"], found["asterisk.fail.refused"], found["asterisk.verdict.none"]) == (1, 1, 1)


async def test_the_fail_policy_touches_no_emergency_call(tmp_path: Path) -> None:
    fail = policy(**dict.fromkeys(("any.late", "any.redis", "any.overload"), "refuse"))
    async with adapter(f"unix://{tmp_path}/nothing.sock", max_waiting=3, fail=fail) as port:
        numbers = ("112", "+7 727 112", "01", "8-101", "1\u200b12", f"1{'-' * 300}12")
        channels = [Channel(port, callee, uniqueid=str(n)) for n, callee in enumerate(numbers)]
        await asyncio.gather(*(channel.agi("ask") for channel in channels))
        assert {told(channel) for channel in channels} == {("emergency", "", "", "")}


async def test_a_late_verdict_goes_to_nobody_else(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    """Two calls that give the same Call-ID at once get a verdict each."""
    async with adapter(redis_server.url) as port:
        block, allow = Channel(port, "+77010000101", uniqueid="1.1"), Channel(port, "+77010000105", uniqueid="1.2")
        for channel in (block, allow):
            channel.variables["ANTIFRAUD_CALL"] = "same@x"
        await asyncio.gather(block.agi("ask"), allow.agi("ask"))
    assert (block.variables["ANTIFRAUD_VERDICT"], allow.variables["ANTIFRAUD_VERDICT"]) == ("block", "allow")


async def test_the_end_of_a_call_is_reported_once(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url) as port:
        allowed, blocked = Channel(port, "+77010000105", uniqueid="1.1"), Channel(port, "+77010000101", uniqueid="1.2")
        for channel in (allowed, blocked):
            await channel.agi("ask")
            channel.variables |= {"HANGUPCAUSE": "16", "ANSWEREDTIME": "1"}
            await channel.agi("ended")
            await channel.agi("ended")
        await until(lambda: len(seen) == 4)
    kinds = [(event.kind.value, event.call_id) for event in seen]
    assert kinds == [("setup", "1.1"), ("answer", "1.1"), ("release", "1.1"), ("setup", "1.2")]
    assert (seen[2].cause, seen[2].talk_s, seen[2].caller_raw) == (16, 1.0, "+77010000001")
    assert (await counters(redis_server.url))["asterisk.end-unknown"] == 3


async def test_an_end_that_is_garbled_is_an_end(redis_server: EmbeddedRedis, seen: list[CallEvent]) -> None:
    async with adapter(redis_server.url) as port:
        channel = Channel(port, "+77010000105")
        await channel.agi("ask")
        channel.garbles["ANSWEREDTIME"] = b"nonsense\n"
        channel.variables["HANGUPCAUSE"] = "16"
        await channel.agi("ended")
        await until(lambda: len(seen) == 2)
    assert (seen[1].kind, seen[1].cause, seen[1].talk_s) == (EventKind.RELEASE, 16, 0.0)


async def test_an_answer_is_reported_as_it_comes(
    redis_server: EmbeddedRedis, seen: list[CallEvent], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    asterisk = FakeAsterisk()
    await asterisk.start()
    events = {"address": f"127.0.0.1:{asterisk.port}", "secret_file": str(tmp_path / "secret")}
    async with adapter(redis_server.url, events=events) as port:
        await until(lambda: bool(asterisk.subscribers))
        channel = Channel(port, "+77010000105", uniqueid="1.1")
        await channel.agi("ask")
        asterisk.publish("DialEnd", Uniqueid="1.1", DialStatus="BUSY")
        asterisk.publish("DialEnd", Uniqueid="another", DialStatus="ANSWER")
        await asterisk.stop()  # the connection ends in between, and is made anew
        await asterisk.start()
        await until(lambda: bool(asterisk.subscribers))
        assert len(seen) == 1
        asterisk.publish("DialEnd", Uniqueid="1.1", DialStatus="ANSWER")
        await until(lambda: len(seen) == 2)
        channel.variables |= {"HANGUPCAUSE": "16", "ANSWEREDTIME": "3"}
        channel.says_hangup = True
        await channel.agi("ended")
        await until(lambda: len(seen) == 3)
    await asterisk.stop()
    assert [event.kind.value for event in seen] == ["setup", "answer", "release"]
    assert (seen[2].talk_s, seen[2].cause) == (3.0, 16)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"agi_network: yes\nagi_network_script: other\n\n",
        b"agi_network: yes\n",
        b"x" * 300_000,
        b"agi_network_script: ask\nagi_uniqueid: 1.1\n\nnonsense\n520-\n520-\n",
        b"agi_network_script: ask\nagi_uniqueid: 1.1\n\nHANGUP\n",
        b"\x00\xff" * 1000 + b"\n",
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
        assert (await Channel(port, "+77010000105").agi("ask"))["ANTIFRAUD_VERDICT"] in ("allow", "none")


async def test_strangers_are_turned_away(redis_server: EmbeddedRedis) -> None:
    async with adapter(redis_server.url, peers=["192.0.2.0/24"]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(10), 5) == b""
        writer.close()


async def test_the_door_is_not_left_open() -> None:
    with pytest.raises(ConfigError, match="can be reached by others"):
        async with adapter("redis://127.0.0.1:1/0", listen="0.0.0.0:0"):
            pass
