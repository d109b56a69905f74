"""Follows the decisions stream and writes it down: an entry is acknowledged only when its file is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from antifraud.domain import Decision, EventError
from antifraud.journal.feed import DecisionFeed, Entry
from antifraud.journal.store import Row, remove_partial, write_decisions
from antifraud.queues import REDIS_ERRORS, CallLog, connect, decode_decision
from antifraud.settings import JournalSettings

GROUP: Final = "journal"
_LOG: Final = logging.getLogger("antifraud.journal")
_BATCH: Final = 1_000
_BLOCK_MS: Final = 500
_CLAIM_EVERY_S: Final = 30.0
_PAUSE_S: Final = (0.1, 5.0)


class JournalWriter:
    """One writer of one shard's journal. Memory is bounded by ``roll_rows`` and ``roll_bytes`` of ``options``.

    ``counts``: written, files, garbled, lost (trimmed from the stream before they were read), and what was given
    again although it is held (``held``).
    """

    def __init__(
        self,
        redis_url: str,
        shard: str,
        directory: Path,
        options: JournalSettings,
        stop: asyncio.Event,
        *,
        timeout_s: float = 2.0,
    ) -> None:
        self._stop = stop
        self._redis = connect(redis_url, timeout_s=timeout_s, name="antifraud-journal")
        self._feed = DecisionFeed(self._redis, shard, GROUP, options.consumer or socket.gethostname())
        self._log = CallLog(self._redis, shard)
        self._shard = shard
        self._directory = directory
        self._options = options
        self._rows: dict[str, Decision] = {}
        self._bytes = 0
        self._since = 0.0
        self._durable: list[str] = []
        self._unreported: Counter[str] = Counter()
        self._claim_at = 0.0
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until told to stop, then write what is held. A Redis or a disk that fails is waited for."""
        await asyncio.to_thread(self._prepare)
        pause = _PAUSE_S[0]
        connected = False
        try:
            while True:
                try:
                    if not connected:
                        await self._feed.resync()
                        connected = True
                    ended = await self._step()
                    pause = _PAUSE_S[0]
                    if ended:
                        return
                except REDIS_ERRORS as error:
                    # OSError is among them: a full disk ends here too, with everything still held and unacknowledged.
                    _LOG.warning("the journal waits: %s", error)
                    connected = False
                    if self._stop.is_set():
                        await self._last_flush()
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), pause)
                    pause = min(pause * 2, _PAUSE_S[1])
        finally:
            await self._redis.aclose()

    def _prepare(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        removed = remove_partial(self._directory)
        if removed:
            _LOG.info("removed %d half-written file(s)", removed)

    async def _step(self) -> bool:
        """Read a little, write when it is time; True at the end."""
        await self._acknowledge()
        if not self._stop.is_set() and not self._full():
            await self._take(await self._next())
        if self._rows and (self._stop.is_set() or self._full() or self._due_in() <= 0):
            await self._flush()
        return self._stop.is_set() and not self._rows

    def _full(self) -> bool:
        return len(self._rows) >= self._options.roll_rows or self._bytes >= self._options.roll_bytes

    def _due_in(self) -> float:
        """Seconds until the held rows must be written."""
        return self._since + self._options.roll_s - asyncio.get_running_loop().time()

    async def _next(self) -> Sequence[Entry]:
        room = min(_BATCH, self._options.roll_rows - len(self._rows))
        now = asyncio.get_running_loop().time()
        if now >= self._claim_at:
            # Longer than a living writer may hold entries before it writes them.
            idle_ms = int(60_000 + 3_000 * self._options.roll_s)
            claimed = await self._feed.claim(room, idle_ms)
            if claimed:
                return claimed
            self._claim_at = now + _CLAIM_EVERY_S
        block_ms = min(_BLOCK_MS, int(self._due_in() * 1000)) if self._rows else _BLOCK_MS
        return await self._feed.read(room, block_ms)

    async def _take(self, entries: Sequence[Entry]) -> None:
        done = set(self._durable)
        for entry_id, fields in entries:
            if entry_id in self._rows or entry_id in done:
                self.counts["held"] += 1
                continue
            try:
                decision = decode_decision(fields)
            except EventError as error:
                kind = "garbled" if fields else "lost"
                _LOG.error("decision %s is %s: %s", entry_id, kind, error)
                self._unreported[kind] += 1
                self._durable.append(entry_id)
                continue
            if not self._rows:
                self._since = asyncio.get_running_loop().time()
            self._rows[entry_id] = decision
            self._bytes += sum(map(len, fields.values()))

    def _held(self) -> list[Row]:
        """What is held, in log order: entries of a writer that is gone come later than newer ones."""
        return sorted(self._rows.items(), key=lambda row: _order(row[0]))

    async def _flush(self) -> None:
        """Write what is held, then acknowledge it."""
        rows = self._held()
        paths = await asyncio.to_thread(write_decisions, self._directory, self._shard, rows)
        self._durable.extend(entry for entry, _decision in rows)
        self._unreported["written"] += len(rows)
        self._unreported["files"] += len(paths)
        self._rows, self._bytes = {}, 0
        await self._acknowledge()

    async def _acknowledge(self) -> None:
        if not self._durable and not self._unreported:
            return
        await self._feed.acknowledge(self._durable)
        self._durable = []
        counts, self._unreported = self._unreported, Counter()
        self.counts.update(counts)
        await self._redis_count(counts)

    async def _redis_count(self, counts: Counter[str]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for name, number in counts.items():
            pipe.hincrby(self._log.keys.counters, f"journal.{name}", number)
        await pipe.execute()

    async def _last_flush(self) -> None:
        """Redis is away and we are told to end: what is held is written; it will come again and be recognised."""
        if self._rows:
            try:
                await asyncio.to_thread(write_decisions, self._directory, self._shard, self._held())
            except OSError as error:
                _LOG.error("%d decisions stay in Redis: %s", len(self._rows), error)


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


async def run_journal(
    redis_url: str,
    shard: str,
    directory: Path,
    options: JournalSettings,
    stop: asyncio.Event,
    *,
    timeout_s: float = 2.0,
) -> None:
    """Write the decisions of ``shard`` to ``directory`` until ``stop`` is set; what was read by then is written first.

    Raises OSError when the directory cannot be made; later failures of the disk or of Redis are waited for.
    """
    await JournalWriter(redis_url, shard, directory, options, stop, timeout_s=timeout_s).run()
