"""Appending, quarantine, replies and access rights against a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from redis.exceptions import NoPermissionError

from antifraud.domain import CallEvent, EventKind, Quarantined, QueueError
from antifraud.queues import CallLog, EmbeddedRedis, Keys, Reply, ReplyInbox, connect, decode_event, encode_reply

pytestmark = pytest.mark.needs("redis")
EVENT = CallEvent(kind=EventKind.SETUP, call_id='c "1" %s', ts=1.8e9, callee_raw="112", user_agent="a\tb ünï")


async def test_events_are_appended_in_order_and_read_back(redis_server: EmbeddedRedis) -> None:
    redis = connect(redis_server.url)
    log = CallLog(redis, "kz")
    ids = await log.append([EVENT, CallEvent(kind=EventKind.ANSWER, call_id="c2", ts=1.8e9, callee_raw="112")])
    assert await log.append([]) == []
    entries = await redis.xrange(log.keys.calls)
    assert [entry[0].decode() for entry in entries] == ids
    assert decode_event(entries[0][1]).call_id == EVENT.call_id
    assert decode_event(entries[1][1]).kind is EventKind.ANSWER
    await redis.aclose()


async def test_quarantine_keeps_the_reason_and_counts(redis_server: EmbeddedRedis) -> None:
    redis = connect(redis_server.url)
    log = CallLog(redis, "kz")
    await log.quarantine([Quarantined("not-sip", "no request line", "redirect", "\x00" * 9000)])
    await log.count({"redirect.options": 3})
    (entry,) = await redis.xrange(log.keys.quarantine)
    assert entry[1][b"code"] == b"not-sip"
    assert entry[1][b"detail"] == b"no request line"
    assert len(entry[1][b"raw"]) <= 2048
    counters = await redis.hgetall(log.keys.counters)
    assert counters == {b"quarantine.not-sip": b"1", b"redirect.options": b"3"}
    await redis.aclose()


async def test_one_inbox_serves_many_calls_and_drops_what_nobody_waits_for(redis_server: EmbeddedRedis) -> None:
    redis, pusher = connect(redis_server.url), connect(redis_server.url)
    inbox = ReplyInbox(redis, "kz", "me")
    run = asyncio.create_task(inbox.run())
    waiting = {f"c{n}": inbox.expect(f"c{n}") for n in range(50)}
    await pusher.rpush(inbox.key, b"no json", encode_reply(Reply("allow", call_id="stranger")))
    for call_id in waiting:
        await pusher.rpush(inbox.key, encode_reply(Reply("block", call_id=call_id, text=call_id)))
    replies = await asyncio.wait_for(asyncio.gather(*waiting.values()), 10)
    assert [reply.text for reply in replies] == list(waiting)
    assert (inbox.dropped, inbox.garbled) == (1, 1)
    gone = inbox.expect("gone")
    inbox.forget("gone")
    assert gone.cancelled()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await redis.aclose()
    await pusher.aclose()


async def test_a_hanging_redis_is_an_error_in_bounded_time_and_the_inbox_recovers(redis_server: EmbeddedRedis) -> None:
    redis, waiting = connect(redis_server.url, timeout_s=0.3), connect(redis_server.url, timeout_s=1.0)
    inbox = ReplyInbox(waiting, "kz", "me")
    run = asyncio.create_task(inbox.run())
    log = CallLog(redis, "kz")
    await log.append([EVENT])
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(QueueError):
            await asyncio.wait_for(log.append([EVENT]), 10)
        await asyncio.sleep(2.0)
        assert not inbox.connected
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    future = inbox.expect("c")
    pusher = connect(redis_server.url)
    await pusher.rpush(inbox.key, encode_reply(Reply("allow", call_id="c")))
    await pusher.aclose()
    assert (await asyncio.wait_for(future, 10)).verdict == "allow"
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await redis.aclose()
    await waiting.aclose()


async def test_a_switch_may_append_and_pop_and_nothing_else(redis_server: EmbeddedRedis) -> None:
    admin = connect(redis_server.url)
    keys = Keys("kz")
    await admin.execute_command(
        "ACL", "SETUSER", "switch", "on", ">secret", "resetkeys", f"~{keys.calls}", f"~{keys.reply_prefix}*",
        "-@all", "+xadd", "+blpop", "+lpop",
    )  # fmt: skip
    switch = connect(redis_server.url.replace("unix://", "unix://switch:secret@"))
    await switch.execute_command("XADD", keys.calls, "*", "kind", "setup")
    await admin.rpush(keys.reply("x"), b"{}")
    popped = await switch.execute_command("BLPOP", keys.reply("x"), "0.1")
    assert list(popped) == [keys.reply("x").encode(), b"{}"]
    for command in (
        ("XADD", keys.decisions, "*", "d", "x"),
        ("XADD", keys.control, "*", "op", "kill"),
        ("XRANGE", keys.calls, "-", "+"),
        ("RPUSH", keys.reply("x"), "x"),
        ("DEL", keys.calls),
        ("KEYS", "*"),
    ):
        with pytest.raises(NoPermissionError):
            await switch.execute_command(*command)
    await switch.aclose()
    await admin.aclose()


def test_a_wrong_address_is_explained() -> None:
    with pytest.raises(QueueError, match="cannot be used"):
        connect("http://example.org")
