"""The journal behind a real Redis: nothing lost and nothing twice, whatever is killed when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import Decision, Reason
from antifraud.journal import journal_files, read_journal, run_journal
from antifraud.journal import writer as journal_writer
from antifraud.journal.writer import GROUP
from antifraud.queues import EmbeddedRedis, Keys, connect, encode_decision
from antifraud.settings import JournalSettings

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
NOON = 1_763_812_800.0  # 2025-11-22 12:00 UTC
QUICK = JournalSettings(roll_rows=100, roll_s=0.2, consumer="here")


def decision(number: int, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "id": f"d{number:05d}",
        "call_id": f"call-{number}",
        "ts": NOON + number,
        "shard": "kz",
        "region": "KZ-75",
        "verdict": "divert",
        "full_verdict": "block",
        "ceiling": "divert",
        "reasons": (Reason("score", "block", "оценка 0.97", "canary"),),
        "score": 0.97,
    }
    return Decision(**values | changes)


async def write(redis: Any, *decisions: Decision) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for one in decisions:
            pipe.xadd(KEYS.decisions, encode_decision(one))
        await pipe.execute()


@contextlib.asynccontextmanager
async def running(url: str, directory: Path, options: JournalSettings = QUICK) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_journal(url, "kz", directory, options, stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def waiting(redis: Any) -> int:
    for group in await redis.xinfo_groups(KEYS.decisions):
        if group["name"] == GROUP.encode():
            return int(group["pending"]) + int(group["lag"] or 0)
    return int(await redis.xlen(KEYS.decisions))


async def held(redis: Any) -> tuple[int, int]:
    """Entries given out and not acknowledged, entries not given out yet."""
    (group,) = await redis.xinfo_groups(KEYS.decisions)
    return int(group["pending"]), int(group["lag"] or 0)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.02)


def stored(directory: Path) -> int:
    return sum(1 for _ in read_journal(directory)) if directory.is_dir() else 0


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Any]:
    client = connect(redis_server.url)
    yield client
    await client.aclose()


async def test_what_was_decided_is_read_back_as_it_was(redis: Any, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    decisions = [
        decision(1),
        decision(2, score=None, reasons=(), verdict="allow", full_verdict="allow", late=True, protected=True),
        decision(3, target="sip:desk@kz-75.desk.example", label="fraud?", bundle="b", model="m", caller="+77000000001"),
    ]
    await write(redis, *decisions)
    directory = tmp_path / "journal"
    async with running(redis_server.url, directory):
        await until(lambda: stored(directory) == 3)
    assert list(read_journal(directory)) == decisions
    assert [path.parent.name for path in journal_files(directory)] == ["day=2025-11-22"]
    assert await waiting(redis) == 0


async def test_calls_of_two_days_lie_in_two_directories(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    await write(redis, decision(0, ts=NOON + 43_199.9), decision(1, ts=NOON + 43_200.0))
    async with running(redis_server.url, tmp_path):
        await until(lambda: stored(tmp_path) == 2)
    assert [path.parent.name for path in journal_files(tmp_path)] == ["day=2025-11-22", "day=2025-11-23"]


async def test_a_full_file_is_closed_and_told_to_stop_the_rest_is_written(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    await write(redis, *(decision(number) for number in range(250)))
    patient = JournalSettings(roll_rows=100, roll_s=3_600, consumer="here")
    async with running(redis_server.url, tmp_path, patient):
        async with asyncio.timeout(30):
            # All of it has been read, and the last 50 are held: given out and not acknowledged.
            while await redis.xinfo_groups(KEYS.decisions) == [] or await held(redis) != (50, 0):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert len(list(journal_files(tmp_path))) == 2
    assert len(list(journal_files(tmp_path))) == 3
    assert [one.id for one in read_journal(tmp_path)] == [f"d{number:05d}" for number in range(250)]
    assert await waiting(redis) == 0


async def test_files_are_closed_by_their_bytes_too(redis: Any, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    await write(redis, *(decision(number, label="x" * 2_000) for number in range(3)))
    options = JournalSettings(roll_rows=1_000, roll_bytes=1_024, roll_s=3_600, consumer="here")
    async with running(redis_server.url, tmp_path, options):
        await until(lambda: stored(tmp_path) == 3)


async def test_killed_again_and_again_nothing_is_lost_and_nothing_is_read_twice(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """A writer in a process of its own is killed with SIGKILL while it writes; the next one goes on."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from antifraud.journal import run_journal\n"
        "from antifraud.settings import JournalSettings\n"
        "options = JournalSettings(roll_rows=37, roll_s=0.05, consumer='here')\n"
        "asyncio.run(run_journal(sys.argv[1], 'kz', Path(sys.argv[2]), options, asyncio.Event()))\n"
    )
    directory = tmp_path / "journal"
    total = 0
    for round_ in range(4):
        await write(redis, *(decision(total + number) for number in range(1_500)))
        total += 1_500
        before = len(list(journal_files(directory)))
        process = subprocess.Popen([sys.executable, "-c", program, redis_server.url, str(directory)])  # noqa: ASYNC220
        try:
            # Each round is killed a little further into its writing.
            await until(lambda: len(list(journal_files(directory))) >= before + 2 + 5 * round_)  # noqa: B023
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    async with running(redis_server.url, directory):
        async with asyncio.timeout(30):
            while await waiting(redis):  # noqa: ASYNC110 - nobody here could set an event
                await asyncio.sleep(0.02)
    assert [one.id for one in read_journal(directory)] == [f"d{number:05d}" for number in range(total)]
    assert not list(directory.glob("*/.partial-*"))


async def test_a_crash_between_writing_and_acknowledging_is_not_seen_by_readers(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(redis, *(decision(number) for number in range(10)))

    async def die(self: Any, ids: Any) -> None:
        if ids:
            raise KeyError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(journal_writer.DecisionFeed, "acknowledge", die)
        with pytest.raises(KeyError):
            await run_journal(redis_server.url, "kz", tmp_path, QUICK, asyncio.Event())
    assert await waiting(redis) == 10
    assert stored(tmp_path) == 10
    await write(redis, decision(10))
    async with running(redis_server.url, tmp_path):
        await until(lambda: stored(tmp_path) == 11)
    assert [one.id for one in read_journal(tmp_path)] == [f"d{number:05d}" for number in range(11)]


async def test_a_redis_that_restarts_goes_on_where_it_was(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "r")
    server.start()
    client = connect(server.url)
    directory = tmp_path / "journal"
    try:
        async with running(server.url, directory):
            await write(client, decision(1))
            await until(lambda: stored(directory) == 1)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await client.connection_pool.disconnect()
            await write(client, decision(2))
            await until(lambda: stored(directory) == 2)
    finally:
        await client.aclose()
        server.stop()


async def test_a_full_disk_is_waited_for(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(redis, *(decision(number) for number in range(300)))
    real = journal_writer.write_decisions
    failures: list[int] = []

    def full(directory: Path, shard: str, rows: Any) -> Any:
        if len(failures) < 3:
            failures.append(len(rows))
            raise OSError(28, "No space left on device")
        return real(directory, shard, rows)

    monkeypatch.setattr(journal_writer, "write_decisions", full)
    async with running(redis_server.url, tmp_path):
        await until(lambda: stored(tmp_path) == 300)
    assert failures == [100, 100, 100], "no more is read while the disk takes nothing"
    assert await waiting(redis) == 0


async def test_garbled_and_trimmed_entries_are_counted_and_stop_nothing(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    await redis.xgroup_create(KEYS.decisions, GROUP, id="0", mkstream=True)
    await write(redis, decision(1))
    ((_stream, entries),) = await redis.xreadgroup(GROUP, "here", {KEYS.decisions: ">"})
    await redis.xdel(KEYS.decisions, entries[0][0])
    await redis.xadd(KEYS.decisions, {"d": b"\xff"})
    await write(redis, decision(2))
    async with running(redis_server.url, tmp_path):
        await until(lambda: stored(tmp_path) == 1)
    assert await waiting(redis) == 0
    assert await redis.hmget(KEYS.counters, "journal.lost", "journal.garbled", "journal.written") == [b"1", b"1", b"1"]


async def test_another_machines_leftovers_are_taken_over(
    redis: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    await redis.xgroup_create(KEYS.decisions, GROUP, id="0", mkstream=True)
    await write(redis, decision(1))
    ((_stream, entries),) = await redis.xreadgroup(GROUP, "gone", {KEYS.decisions: ">"})
    await redis.xclaim(KEYS.decisions, GROUP, "gone", min_idle_time=0, message_ids=[entries[0][0]], idle=3_600_000)
    async with running(redis_server.url, tmp_path):
        await until(lambda: stored(tmp_path) == 1)
    assert await waiting(redis) == 0
