"""The agent: takes commands out of Redis, has a switch carry them out, and keeps its block list equal to the register.

Everything about a command that need not be waited for is decided in ``course``; everything that only one kind of switch
knows stands behind ``SwitchPort``. What is read and not yet settled stays pending in Redis, so the agent itself holds
no more than one batch, and a crash at any moment loses nothing: what was done twice did no harm the second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
import redis.asyncio as aredis
from redis.exceptions import ResponseError

from antifraud.domain import EventError, Quarantined, QueueError
from antifraud.queues import REDIS_ERRORS, Keys, check_cancelled, connect, encode_quarantined
from antifraud.queues.commands import (
    GROUP,
    OUTCOMES_MAXLEN,
    Block,
    Command,
    Outcome,
    decode_block,
    decode_command,
    encode_outcome,
)
from antifraud.queues.protocol import QUARANTINE_MAXLEN, QUARANTINE_RAW_BYTES
from sip_adapters.agents.course import Comparison, Step, plan, wanted_until
from sip_adapters.agents.lease import Lease, LeaseLostError
from sip_adapters.agents.port import RefusedError, SwitchPort, UnreachableError

_LOG: Final = logging.getLogger("antifraud.agents")
_BATCH: Final = 100
_CHUNK: Final = 100
_SCAN: Final = 1_000
_CLAIM_IDLE_S: Final = 5.0
_WAIT_MS: Final = 500
_TRIES: Final = 3
_SHORTEST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_MOST_NUMBERS: Final = 1_000_000
_MOST_RESYNCS: Final = 64
_STATE_EVERY_S: Final = 5.0
_TELL_EVERY_S: Final = 60.0


class AgentOptions(msgspec.Struct, frozen=True):
    """Which switch, and how patient the agent is.

    ``region``: the switch's, "" when unknown: then only what the register says of all regions is put on it.
    ``consumer``: this agent's name in the consumer group, the same after a restart. ``lease_s``: after so long without
    a word another agent takes over. ``epoch_s``, ``resync_s``: how often the switch is asked whether it has started
    anew, and the whole list is compared.
    """

    shard: str
    switch: str
    region: str = ""
    consumer: str = ""
    lease_s: float = 3.0
    epoch_s: float = 1.0
    resync_s: float = 600.0


class Resync(msgspec.Struct):
    """What one comparison of the whole list came to. ``took_s`` seconds; ``refused`` numbers, ``why`` of the first."""

    held: int = 0
    wanted: int = 0
    added: int = 0
    removed: int = 0
    garbled: int = 0
    refused: int = 0
    why: str = ""
    took_s: float = 0.0

    def told(self) -> str:
        """In words."""
        text = f"{self.wanted} blocked, {self.added} added, {self.removed} removed, in {self.took_s:.2f} s"
        return f"{text}; {self.refused} refused: {self.why}" if self.refused else text


class Agent:
    """One switch's agent. ``run`` serves until cancelled and survives whatever Redis and the switch do."""

    def __init__(self, redis_url: str, port: SwitchPort, options: AgentOptions) -> None:
        self._options = options
        self._port = port
        self._redis: aredis.Redis = connect(redis_url, name=f"agent-{options.switch}")
        self._keys = Keys(options.shard)
        self._stream = self._keys.commands(options.switch)
        self._name = options.consumer or socket.gethostname()[:64] or "agent"
        owner = f"{self._name}:{os.getpid()}:{os.urandom(4).hex()}"
        self._lease = Lease(self._redis, self._keys.agent(options.switch), owner, options.lease_s)
        # One question at a time; the lock is fair, so a command waits for no more than a piece of a comparison.
        self._asking = asyncio.Lock()
        self._resync_now = asyncio.Event()
        self._resyncs: dict[bytes, Command] = {}
        self._settled: list[tuple[bytes, Outcome | None, Quarantined | None]] = []
        self._epoch: str | None = None
        self._trouble = ""
        self._tell_again_at = 0.0
        self._last = Resync()
        self._synced_at = 0.0
        self._standing_by = False

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until cancelled."""
        ready(self._options.switch)
        pause = _SHORTEST_PAUSE_S
        try:
            while True:
                check_cancelled()
                try:
                    if await self._take_over():
                        pause = _SHORTEST_PAUSE_S
                        await self._serve()
                except LeaseLostError as error:
                    _LOG.warning("%s: stands by: %s", self._options.switch, error)
                except REDIS_ERRORS as error:
                    self._tell(f"Redis does not answer or refuses: {error}")
                    with contextlib.suppress(*REDIS_ERRORS):
                        await self._redis.connection_pool.disconnect(inuse_connections=True)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await self._lease.give_up()
            with contextlib.suppress(Exception):
                await self._port.close()
            with contextlib.suppress(Exception):
                await self._redis.aclose()

    async def _take_over(self) -> bool:
        """Wait a while for the lease; True when it is ours."""
        holder = await self._lease.take()
        if holder is None:
            self._standing_by = False
            return True
        if not self._standing_by:
            self._standing_by = True
            _LOG.info("%s: %s serves it; standing by", self._options.switch, holder.decode("utf-8", "replace")[:120])
        await asyncio.sleep(self._options.lease_s / 3)
        return False

    async def _serve(self) -> None:
        """Do the work until the lease is lost or Redis does not answer, which is raised."""
        _LOG.info("%s: serving", self._options.switch)
        self._epoch = None
        self._settled.clear()
        self._resyncs.clear()
        parts: list[Coroutine[Any, Any, None]] = [self._renew(), self._commands(), self._keep_equal()]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            check_cancelled()
            await asyncio.sleep(self._options.lease_s / 3)
            try:
                await self._lease.renew()
            except REDIS_ERRORS:
                # A short silence of Redis is no reason to stop while the lease can still be relied on.
                self._lease.check()

    # -- commands

    async def _commands(self) -> None:
        await self._make_group()
        after: bytes | str = "0"
        while True:
            entries = await self._read(after)
            if not entries:
                break
            after = entries[-1][0]
            await self._obey(entries)
        claim_at = 0.0
        while True:
            check_cancelled()
            if time.monotonic() >= claim_at:
                claim_at = time.monotonic() + _CLAIM_IDLE_S / 5
                await self._obey(await self._claim())
            await self._obey(await self._read(">"))

    async def _make_group(self) -> None:
        try:
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self, after: bytes | str) -> list[tuple[bytes, Mapping[bytes, bytes] | None]]:
        """The next entries: with an id the own ones that are pending behind it, with ">" those nobody had yet."""
        wait = _WAIT_MS if after == ">" else None
        try:
            found: Any = await self._redis.xreadgroup(
                GROUP, self._name, {self._stream: after}, count=_BATCH, block=wait
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group()  # somebody deleted the stream
            return []
        return list(found[0][1]) if found else []

    async def _claim(self) -> list[tuple[bytes, Mapping[bytes, bytes] | None]]:
        """What another agent read and did not settle for a while."""
        try:
            found: Any = await self._redis.xautoclaim(
                self._stream, GROUP, self._name, min_idle_time=int(_CLAIM_IDLE_S * 1000), count=_BATCH
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return []
        return [(entry, fields) for entry, fields in found[1] if entry is not None and entry not in self._resyncs]

    async def _obey(self, entries: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]) -> None:
        """Carry ``entries`` out in their order and settle them."""
        commands: list[tuple[bytes, Command]] = []
        for entry, fields in entries:
            if not fields:  # trimmed while it was pending: nobody knows any more what it said
                self._settled.append((entry, None, None))
                continue
            try:
                commands.append((entry, decode_command(fields)))
            except EventError as error:
                self._settled.append((entry, *self._undecodable(entry, fields, error)))
        about = sorted({command.number for _, command in commands if command.number})
        register = await self._register(about)
        for entry, command in commands:
            if command.op == "resync" and await self._asked_to_resync(entry, command):
                continue
            outcome = await self._carry_out(command, register.get(command.number))
            self._settled.append((entry, outcome, None))
        await self._settle()

    async def _asked_to_resync(self, entry: bytes, command: Command) -> bool:
        """Leave ``entry`` to the comparison, which settles it; False when it is to be answered at once."""
        if plan(command, None, self._options.region, time.time()).do != "resync":
            return False
        if len(self._resyncs) >= _MOST_RESYNCS:
            self._settled.append((entry, self._outcome(command, "superseded", "a comparison is due anyway"), None))
            return True
        self._resyncs[entry] = command
        self._resync_now.set()
        return True

    async def _carry_out(self, command: Command, entry: Block | None) -> Outcome:
        """Do it, however long the switch is away; only a switch that answers other questions makes it give up."""
        tries, pause = 0, _SHORTEST_PAUSE_S
        while True:
            self._lease.check()
            step = plan(command, entry, self._options.region, time.time())
            try:
                async with self._asking:
                    result = await self._do(step, command)
                self._tell("")
                return self._outcome(command, result, step.detail)
            except RefusedError as error:
                return self._outcome(command, "failed", str(error))
            except UnreachableError as error:
                trouble = error
            await self._settle()
            if await self._answers():
                tries += 1
                if tries >= _TRIES:
                    return self._outcome(command, "failed", f"the switch answers, but not this: {trouble}")
            else:
                self._tell(str(trouble))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            if command.number:
                entry = (await self._register([command.number])).get(command.number)

    async def _do(self, step: Step, command: Command) -> str:
        match step.do:
            case "block":
                await self._port.block(step.number, step.until)
            case "unblock":
                await self._port.unblock(step.number)
            case "release":
                return await self._port.release(command.call_id, command.caller, command.callee)
        return step.result

    async def _answers(self) -> bool:
        try:
            async with self._asking:
                await self._port.epoch()
        except (UnreachableError, RefusedError):
            return False
        return True

    def _outcome(self, command: Command, result: str, detail: str = "") -> Outcome:
        now = time.time()
        took = max(0.0, now - command.at) if command.at else 0.0
        return Outcome(
            command.id, self._options.switch, command.op, result, detail[:300], self._name[:80], now, round(took, 6)
        )

    def _undecodable(
        self, entry: bytes, fields: Mapping[bytes, bytes], error: EventError
    ) -> tuple[Outcome, Quarantined]:
        # Whoever waits for the outcome looks for the id that it gave, where that can be an id at all.
        given = fields.get(b"id", b"")[:64].decode("utf-8", "replace")
        identity = given if given.isalnum() and given.isascii() else entry.decode("ascii", "replace")
        raw = b" ".join(name[:40] + b"=" + value[:400] for name, value in islice(fields.items(), 16))
        item = Quarantined(
            error.code,
            error.detail,
            f"agent.{self._options.switch}"[:64],
            f"{entry.decode('ascii', 'replace')} {raw.decode('utf-8', 'backslashreplace')}"[:QUARANTINE_RAW_BYTES],
        )
        refused = Outcome(identity, self._options.switch, "", "refused", str(error)[:300], self._name[:80], time.time())
        return refused, item

    async def _settle(self) -> None:
        """Write what came of the commands and acknowledge them, in one transaction."""
        settled = self._settled
        if not settled:
            return
        keys = self._keys

        def fill(pipe: Any) -> None:
            for _, outcome, item in settled:
                if outcome is not None:
                    pipe.xadd(keys.outcomes, encode_outcome(outcome), maxlen=OUTCOMES_MAXLEN, approximate=True)
                if item is not None:
                    fields = encode_quarantined(item, time.time())
                    pipe.xadd(keys.quarantine, fields, maxlen=QUARANTINE_MAXLEN, approximate=True)
            counts: dict[str, int] = {}
            for _, outcome, item in settled:
                count = f"agent.{outcome.result}" if outcome is not None else "agent.lost"
                counts[count] = counts.get(count, 0) + 1
                if item is not None:
                    counts[f"quarantine.{item.code}"] = counts.get(f"quarantine.{item.code}", 0) + 1
            for name, number in counts.items():
                pipe.hincrby(keys.counters, name, number)
            pipe.xack(self._stream, GROUP, *(entry for entry, _, _ in settled))

        await self._lease.write(fill)
        self._settled = []

    async def _register(self, numbers: Sequence[str]) -> dict[str, Block]:
        """What the register says about ``numbers``; those of which it says nothing sound are left out."""
        if not numbers:
            return {}
        found: Any = await self._redis.hmget(self._keys.blocks, list(numbers))
        pairs = zip(numbers, found, strict=True)
        return {number: block for number, raw in pairs if (block := _decoded(number, raw)) is not None}

    # -- the list as a whole

    async def _keep_equal(self) -> None:
        """Compare the whole list when the switch has started anew, when asked to, and every so often."""
        due = written = 0.0
        while True:
            check_cancelled()
            self._lease.check()
            self._resync_now.clear()
            try:
                async with self._asking:
                    epoch = await self._port.epoch()
                if epoch != self._epoch or self._resyncs or time.monotonic() >= due:
                    if self._epoch is not None and epoch != self._epoch:
                        _LOG.warning("%s: the switch has started anew", self._options.switch)
                    asked = dict(self._resyncs)
                    self._last = await self._resync()
                    self._epoch, due, written = epoch, time.monotonic() + self._options.resync_s, 0.0
                    self._synced_at = time.time()
                    await self._report(asked, "failed" if self._last.refused else "done", self._last.told())
                self._tell("")
            except UnreachableError as error:
                self._tell(str(error))
            except RefusedError as error:
                self._tell(f"the switch refuses: {error}")
                await self._report(dict(self._resyncs), "failed", str(error))
            if time.monotonic() >= written:
                written = time.monotonic() + _STATE_EVERY_S
                await self._write_state()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._resync_now.wait(), self._options.epoch_s)

    async def _resync(self) -> Resync:
        began = time.monotonic()
        told = Resync()
        held: dict[str, float] = {}
        listed = self._port.listed()
        while True:
            async with self._asking:
                piece = [pair async for pair in _some(listed, _SCAN)]
            held.update(piece)
            if len(held) > _MOST_NUMBERS:
                raise RefusedError(f"the switch has more than {_MOST_NUMBERS:,} numbers on its list")
            if len(piece) < _SCAN:
                break
        comparison = Comparison(held.items())
        told.held = comparison.held
        cursor, scanned, missing = 0, 0, []
        while True:
            page: Any
            cursor, page = await self._redis.hscan(self._keys.blocks, cursor, count=_SCAN)
            scanned += len(page)
            if scanned > 4 * _MOST_NUMBERS or comparison.wanted > _MOST_NUMBERS:
                raise RefusedError(f"the register has more than {_MOST_NUMBERS:,} numbers")
            for field, raw in page.items():
                number = field.decode("ascii", "replace")
                block = _decoded(number, raw)
                told.garbled += block is None
                until = wanted_until(block, self._options.region, time.time())
                if until and comparison.missing(number, until):
                    missing.append(number)
            if not cursor:
                break
        told.wanted = comparison.wanted
        # Who is blocked without a reason comes first: a switch with no room left must not keep honest callers out.
        told.removed = await self._assert(comparison.surplus(), told, blocked=False)
        told.added = await self._assert(missing, told, blocked=True)
        told.took_s = time.monotonic() - began
        level = logging.ERROR if told.refused else logging.INFO if told.added or told.removed else logging.DEBUG
        _LOG.log(level, "%s: %s", self._options.switch, told.told())
        counts = {"agent.resyncs": 1, "agent.added": told.added, "agent.removed": told.removed}

        def fill(pipe: Any) -> None:
            for name, number in counts.items():
                if number:
                    pipe.hincrby(self._keys.counters, name, number)

        await self._lease.write(fill)
        return told

    async def _assert(self, numbers: Sequence[str], told: Resync, *, blocked: bool) -> int:
        """Have the switch hold what the register says *now* of ``numbers``; how many had to be ``blocked`` or freed.

        The register is asked again for each piece: a command may have come in since the comparison began. What the
        switch refuses is counted in ``told`` and does not keep it from the others.
        """
        changed = 0
        for start in range(0, len(numbers), _CHUNK):
            chunk = numbers[start : start + _CHUNK]
            async with self._asking:
                register = await self._register(chunk)
                for number in chunk:
                    self._lease.check()
                    until = wanted_until(register.get(number), self._options.region, time.time())
                    if bool(until) is not blocked:
                        continue
                    try:
                        await (self._port.block(number, until) if until else self._port.unblock(number))
                    except RefusedError as error:
                        told.refused += 1
                        told.why = told.why or str(error)[:200]
                    else:
                        changed += 1
        return changed

    async def _report(self, asked: Mapping[bytes, Command], result: str, detail: str) -> None:
        """Settle the resync commands ``asked`` for."""
        if not asked:
            return
        outcomes = [self._outcome(command, result, detail) for command in asked.values()]

        def fill(pipe: Any) -> None:
            for outcome in outcomes:
                fields = encode_outcome(outcome)
                pipe.xadd(self._keys.outcomes, fields, maxlen=OUTCOMES_MAXLEN, approximate=True)
            pipe.hincrby(self._keys.counters, f"agent.{result}", len(outcomes))
            pipe.xack(self._stream, GROUP, *asked)

        await self._lease.write(fill)
        for entry in asked:
            self._resyncs.pop(entry, None)

    async def _write_state(self) -> None:
        state = {
            "agent": self._name,
            "at": round(time.time(), 3),
            "synced_at": round(self._synced_at, 3),
            "wanted": self._last.wanted,
            "added": self._last.added,
            "removed": self._last.removed,
            "garbled": self._last.garbled,
            "refused": self._last.refused,
            "why": self._last.why,
            "took_s": round(self._last.took_s, 3),
            "trouble": self._trouble[:300],
        }
        raw = msgspec.json.encode(state)
        await self._lease.write(lambda pipe: pipe.hset(self._keys.agents, self._options.switch, raw))

    def _tell(self, trouble: str) -> None:
        """Log what is wrong, at most once a minute as long as it lasts, and once that it is over."""
        now = time.monotonic()
        if trouble and now >= self._tell_again_at:
            self._tell_again_at = now + _TELL_EVERY_S
            _LOG.error("%s: %s; trying again", self._options.switch, trouble)
        elif self._trouble and not trouble:
            self._tell_again_at = 0.0
            _LOG.info("%s: works again", self._options.switch)
        self._trouble = trouble


async def run_agent(port: SwitchPort, *, redis_url: str, options: AgentOptions, ready: Callable[[str], None]) -> None:
    """Serve one switch until cancelled. QueueError when the Redis address is none."""
    try:
        Keys(options.shard)
    except ValueError as error:
        raise QueueError(str(error)) from None
    await Agent(redis_url, port, options).run(ready)


def _decoded(number: str, raw: bytes | None) -> Block | None:
    if raw is None:
        return None
    try:
        block = decode_block(raw)
    except EventError:
        return None
    return block if block.number == number else None


async def _some(source: Any, most: int) -> Any:
    """Up to ``most`` items of an asynchronous iterator, which stays open."""
    for _ in range(most):
        try:
            yield await anext(source)
        except StopAsyncIteration:
            return
