"""The loop: reads a batch of the log, decides, answers, writes the decisions and its position in one transaction.

At least once, in order, by one engine a shard:

* The position of the last decided entry is written in the same transaction as its decisions. After a crash the
  newest snapshot is loaded, the log up to that position is folded again without a word to anybody, and from there on
  everything is decided; what was decided but not committed is decided again, with the same id and the same bits.
* A lease in Redis keeps a second engine of the same shard waiting as a standby.
* A batch is whatever has come in while the last one was being worked on; the loop never waits to fill one.
* A decision later than its deadline is marked ``late``, recorded, and not pushed.
* Control entries are obeyed before the calls that were read together with them, and never in the middle of a batch.
  What they come to is written down with the position in the control stream, so that it outlives the stream's entries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from redis import exceptions as redis_errors

from antifraud.decision import Decider, Prepared, RegionPolicy, stopped_report
from antifraud.decision.calls_in_progress import TICK_S, CallsInProgress
from antifraud.decision.interception import Interceptor
from antifraud.dialects import Speaker
from antifraud.domain import (
    AntifraudError,
    CallEvent,
    Decision,
    EventError,
    Quarantined,
    QueueError,
    Verdict,
    check_event,
)
from antifraud.domain.event import MAX_DEADLINE_MS
from antifraud.domain.sip_headers import join_lines
from antifraud.engine.blocking import BlockRegister
from antifraud.engine.control_stream import ControlStream, Entry, in_order
from antifraud.engine.desk_places import STATE_MAXLEN, DeskPlaces
from antifraud.engine.figures import LATENCY_STEPS_MS, Figures
from antifraud.engine.reloading import Reloader, RulesPlace
from antifraud.engine.rules_state import RulesWatch
from antifraud.engine.run_time_lists import RunTimeLists
from antifraud.engine.snapshots import Restored, SnapshotStore
from antifraud.features import Fold, Limits
from antifraud.queues import (
    REDIS_ERRORS,
    Control,
    Keys,
    Reply,
    check_cancelled,
    connect,
    decode_control,
    decode_decision,
    decode_event,
    encode_decision,
    encode_event,
    encode_quarantined,
    encode_reply,
    shown_url,
    waiting_switch,
)
from antifraud.queues.protocol import CONTROL_MAXLEN, LIST_OPERATIONS, OPERATIONS, QUARANTINE_MAXLEN
from antifraud.queues.wire import Wire

_LOG = logging.getLogger("antifraud.engine")
_BLOCK_MS: Final = 200
_SERVER_MINIMUM: Final = (6, 2)
_AHEAD_S: Final = 5.0
_MOST_SAID: Final = 8_192
_OBEYED_AT_A_TIME: Final = 1_000
_LEARNT: Final = 200_000
"""How many decisions are read again after a start, at most."""
_SWEEP_S: Final = 0.1
_UNWRITTEN_S: Final = 0.05
"""How long the position may be behind when nothing but it is to be written."""
_SWITCH_S: Final = 0.0005
"""How long another thread may keep the loop waiting for the interpreter: one that takes in a large list, say."""
_STOPPING: Final = (Verdict.DIVERT.word, Verdict.BLOCK.word)


class EngineOptions(msgspec.Struct, frozen=True):
    """How one engine runs. Times in seconds unless the name says otherwise.

    ``deadline_ms`` holds for a setup that names a reply key and no deadline of its own. ``limits`` are those of the
    decider's fold; a fold that is restored gets the same. ``feedback``: a call that full enforcement would have
    stopped is reported in the log (see ``report_stopped``). ``watch_rules_s``: seconds between two looks at the rules
    directory; 0 takes changes only when told to reload. ``tick_s``: seconds between two looks at a call in progress.
    """

    shard: str
    redis_url: str
    snapshot_dir: Path
    max_batch: int = 512
    snapshot_every_s: float = 60.0
    retention_s: float = 172_800.0
    lease_s: float = 3.0
    deadline_ms: int = 150
    timeout_s: float = 2.0
    limits: Limits | None = None
    feedback: bool = True
    watch_rules_s: float = 0.0
    tick_s: float = TICK_S


class Engine:
    """One shard's engine. ``run`` ends when ``stop`` is set, with everything committed and a last snapshot.

    ``publish`` is given a copy of the engine's numbers about once a second; it must return at once. ``speaker`` puts
    verdicts into the dialects of the switches; without one they are told verdict, code and reason.
    """

    def __init__(
        self,
        options: EngineOptions,
        decider: Decider,
        rules: RulesPlace,
        publish: Callable[[Figures], None] | None = None,
        speaker: Speaker | None = None,
    ) -> None:
        self._options = options
        self._speaker = speaker
        self._publish = publish
        self._decider = decider
        decider.swap(decider.bundle.without_sources())
        self._keys = Keys(options.shard)
        self._log = connect(options.redis_url, timeout_s=options.timeout_s, name="antifraud-engine")
        self._wire = Wire(self._log, options.timeout_s)
        self._snapshots = SnapshotStore(options.snapshot_dir, options.shard)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._position = "0-0"
        self._unwritten_since = 0.0  # monotonic s; 0 when Redis has the position
        # The kill switch is in a stream of its own, so that no number of list changes can keep it waiting.
        self._asked = (
            ControlStream(self._keys.control, "control", OPERATIONS),
            ControlStream(self._keys.list_changes, "list_changes", LIST_OPERATIONS),
        )
        self._lists = RunTimeLists(decider)
        self._places = DeskPlaces(decider.desks, self._keys)
        self._interceptor = Interceptor(decider, CallsInProgress(tick_s=options.tick_s))
        self._intercepted: list[Decision] = []  # about calls in progress, not written yet
        self._blocks = BlockRegister(decider, self._keys, self._interceptor)
        self._reloader = Reloader(rules, self._lists)
        self._watch = RulesWatch(rules.directory, rules.state)
        self._control_unsaved = False
        self._control_refused: list[Quarantined] = []
        self._rules_refused = ""
        self._skew = 0.0
        self._counts: Counter[str] = Counter()  # since they were last written to Redis
        self._written: Counter[str] = Counter()  # since the start, written to Redis
        self._latency_ms = 0.0
        self._stats_failed = False
        self._lease_ms = int(options.lease_s * 1000)
        self._renewed = 0.0
        self._gap = (0, 0)
        self._snapshot_due = 0.0
        self._lost = False

    @property
    def position(self) -> str:
        """The id of the last entry whose decisions are committed."""
        return self._position

    def request_reload(self) -> None:
        """Compile the rules again beside the running engine; they are taken between two batches if they are sound."""
        self._reloader.request()

    async def run(self, stop: asyncio.Event, ready: Callable[[str], None] = lambda _position: None) -> None:
        """Serve until ``stop``. Raises QueueError when Redis cannot be used at the start or the lease is lost.

        ``ready`` is called with ``standby`` when another engine serves the shard, and with the position when this
        one does.
        """
        sys.setswitchinterval(_SWITCH_S)
        try:
            await self._check_server()
            waited = await self._take_lease(stop, ready)
            if stop.is_set():
                return
            beside = [asyncio.create_task(self._keep_lease())]
            try:
                if waited:
                    await self._refresh_bundle(stop)
                await self._recover(stop)
                self._decider.fold.touch()
                ready(self._position)
                if self._options.watch_rules_s > 0:
                    beside.append(asyncio.create_task(self._watch_rules()))
                await self._serve(stop)
                await self._write_position()
                await self._finish_snapshot()
                await self._flush_counts()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await self._reloader.close()
                await self._drop_lease()
        finally:
            await self._wire.aclose()
            await self._log.aclose()

    # -- starting ------------------------------------------------------------------------------------------------

    async def _check_server(self) -> None:
        try:
            info = await self._log.info("server")
        except REDIS_ERRORS as error:
            raise QueueError(
                f"Redis at {shown_url(self._options.redis_url)} does not answer: {error}",
                hint="start it, or say where it is with REDIS_URL; antifraud doctor shows what is reachable",
            ) from None
        version = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
        if version < _SERVER_MINIMUM:
            raise QueueError(f"Redis {info.get('redis_version')} is too old", hint="6.2 or newer is needed")
        await self._read_clock()

    async def _read_clock(self) -> None:
        before = time.time()
        seconds, micros = await self._log.time()
        self._skew = seconds + micros / 1e6 - (before + time.time()) / 2

    async def _take_lease(self, stop: asyncio.Event, ready: Callable[[str], None]) -> bool:
        """Wait until the shard is ours; whether there was anything to wait for. A Redis that is away is waited for."""
        waited = False
        while not stop.is_set():
            try:
                taken = await self._log.set(self._keys.lease, self._owner, nx=True, px=self._lease_ms)
                if taken:
                    self._renewed = time.monotonic()
                    return waited
                if not waited:
                    holder = await self._log.get(self._keys.lease)
                    _LOG.info("shard %s has an engine (%s); standing by", self._options.shard, _shown(holder))
                    ready("standby")
            except REDIS_ERRORS as error:
                _LOG.warning("standing by, Redis does not answer: %s", error)
            waited = True
            await asyncio.sleep(self._options.lease_s / 10)
        return waited

    async def _keep_lease(self) -> None:
        while not self._lost:
            await asyncio.sleep(self._options.lease_s / 4)
            check_cancelled()
            try:
                await self._renew_lease()
                await self._read_clock()
                await self._watch_log()
            except REDIS_ERRORS as error:
                _LOG.warning("the lease could not be renewed: %s", error)
                if isinstance(
                    error, redis_errors.ReadOnlyError
                ):  # another Redis is the master; ask for its address anew
                    await self._log.connection_pool.disconnect()

    async def _renew_lease(self) -> None:
        """Ours again for its whole time, or ``_lost`` when another engine has taken it."""
        holder = await self._log.get(self._keys.lease)
        if holder is None:
            await self._log.set(self._keys.lease, self._owner, nx=True, px=self._lease_ms)
            holder = await self._log.get(self._keys.lease)
        elif holder == self._owner.encode():
            await self._log.pexpire(self._keys.lease, self._lease_ms)
        if holder == self._owner.encode():
            self._renewed = time.monotonic()
        else:
            _LOG.error("another engine (%s) has taken shard %s", _shown(holder), self._options.shard)
            self._lost = True

    async def _fence(self) -> None:
        """Before anything is written: an engine that was stopped for longer than its lease asks whose shard it is."""
        if time.monotonic() - self._renewed > self._options.lease_s * 0.8:
            await self._renew_lease()
        if self._lost:
            raise QueueError(
                f"another engine has taken shard {self._options.shard}; this one ends",
                hint="run one engine a shard; a second one waits as standby",
            )

    async def _watch_log(self) -> None:
        """Notice what must never happen silently: a log that was cut before it was read, or that is behind us.

        The log is behind after a fail-over to a replica that had not everything and whose clock is late.
        """
        position = _order(self._position)  # as it was before we asked: meanwhile both may move on
        try:
            info: Any = await self._log.xinfo_stream(self._keys.calls)
        except redis_errors.ResponseError:
            return  # there is no log yet
        # The engine's own trimming leaves the entry at its position in place, so a log that begins later was cut.
        first = info["first-entry"]
        begins = _order(_shown(first[0] if first else info["last-generated-id"]))
        if begins > max(position, self._gap) and position > (0, 0):
            self._gap = begins
            self._counts["log_gaps"] += 1
            _LOG.error(
                "the log now begins at %d-%d, after our position %s: calls are missing from the windows",
                *begins,
                self._position,
            )
        last = _shown(info["last-generated-id"])
        if _order(last) < position:
            self._counts["log_behind"] += 1
            _LOG.error(
                "the log ends at %s, before our position %s: entries are lost; going on there", last, self._position
            )
            self._position = last

    async def _refresh_bundle(self, stop: asyncio.Event) -> None:
        """A standby may have waited for days: take the rules as they are now."""
        if await asyncio.to_thread(self._watch.is_current):
            return
        # What was asked for while waiting may have been read before the newest edit: only the last answer counts.
        self._reloader.request()
        while self._reloader.busy and not stop.is_set():
            if not self._take_reloaded():
                await asyncio.sleep(0.05)

    async def _watch_rules(self) -> None:
        """Ask for a reload when files have changed and nothing has changed since the last look."""
        while True:
            await asyncio.sleep(self._options.watch_rules_s)
            if await asyncio.to_thread(self._watch.look):
                _LOG.info("the rules directory has changed")
                self.request_reload()

    async def _drop_lease(self) -> None:
        try:
            if await self._log.get(self._keys.lease) == self._owner.encode():
                await self._log.delete(self._keys.lease)
        except REDIS_ERRORS as error:
            _LOG.warning("the lease could not be given back and will expire: %s", error)

    async def _recover(self, stop: asyncio.Event) -> None:
        """Come to the state that the log's committed position stands for; a Redis that goes away is waited for."""
        while not stop.is_set():
            try:
                await self._restore()
            except REDIS_ERRORS as error:
                _LOG.warning("the log cannot be read yet: %s", error)
                await asyncio.sleep(0.5)
            else:
                return

    async def _restore(self) -> None:
        """Snapshot, then the log up to the committed position folded again, then the kill switch and the lists."""
        state = cast("Mapping[bytes, bytes]", await self._log.hgetall(self._keys.position))
        position = state.get(b"id", b"0-0").decode()
        windows = self._decider.bundle.windows
        restored = await asyncio.to_thread(
            self._snapshots.load, windows, self._options.retention_s, self._options.limits, await self._last_id()
        )
        start = "0-0"
        if restored is None:
            self._decider.fold = Fold(windows, limits=self._options.limits)
        elif restored.changed:
            start = restored.position
            await self._take_over(restored)
        else:
            self._decider.fold, start = restored.fold, restored.position
            _LOG.info("snapshot at %s loaded", start)
        self._position = start
        if start != "0-0":
            await self._watch_log()
        self._position = max(position, start, key=_order)
        if self._position != position:
            self._unwritten_since = time.monotonic()
        known = await asyncio.to_thread(self._snapshots.load_calls, start) if restored is not None else []
        self._interceptor.calls.restore(known)
        replayed = await self._fold_again(start, position, follow=True)
        await self._learn_decided(start)
        if replayed:
            _LOG.info("%d entries folded again up to %s", replayed, position)
        await self._restore_control(state)
        if self._decider.killed:
            _LOG.warning("interception is switched off, as it was before this start")
        self._snapshot_due = time.monotonic() + self._options.snapshot_every_s

    async def _restore_control(self, state: Mapping[bytes, bytes]) -> None:
        """What control entries came to, as it is written down, then the entries after that."""
        self._decider.killed = state.get(b"killed") == b"1"
        self._counts["lists_left_aside"] += await self._lists.load(self._log, self._keys)
        await self._places.load(self._log)
        self._counts["blocks_left_aside"] += await self._blocks.load(self._log, state)
        for asked in self._asked:
            asked.go_on_from(state)
        for asked in self._asked:
            await self._watch_control(asked)
        while True:
            read: list[tuple[ControlStream, list[Entry]]] = []
            for asked in self._asked:
                after, count = f"({asked.position}", self._options.max_batch
                read.append((asked, cast("list[Entry]", await self._log.xrange(asked.key, after, count=count))))
            if not any(entries for _asked, entries in read):
                break
            self._obey_all(in_order(read), starting=True)
            await self._save_control()
        await self._restore_blocks()

    async def _restore_blocks(self) -> None:
        """Obey what was asked of the register of blocked numbers after the position that is written with it."""
        requests = self._blocks.requests
        await self._watch_control(requests)
        while True:
            after, count = f"({requests.position}", self._blocks.requests_at_once
            entries = cast("list[Entry]", await self._log.xrange(requests.key, after, count=count))
            if not entries:
                return
            self._blocks.obey_all(entries, self._arrival)
            await self._write_blocks()

    async def _save_blocks(self, stop: asyncio.Event) -> bool:
        """Write the register before anything else is decided, so that it has one order; False when stopped."""
        pause = 0.02
        while self._blocks.unsaved or self._intercepted:
            try:
                await self._write_blocks()
            except REDIS_ERRORS as error:
                self._counts["redis_errors"] += 1
                self._show()
                _LOG.warning("blocked numbers could not be written, trying again: %s", error)
                if stop.is_set():
                    return False
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
        return True

    async def _write_blocks(self) -> None:
        await self._fence()
        pipe = self._wire.transaction()
        self._blocks.write(pipe, time.time() + self._skew)
        for decision in self._intercepted:
            pipe.xadd(self._keys.decisions, encode_decision(decision))
        self._note_failed(await pipe.execute())
        self._note_blocks_saved()

    def _take_intercepted(self, decisions: Sequence[Decision]) -> None:
        """Have decisions about calls in progress written, and their commands sent, with the next transaction."""
        self._intercepted += decisions
        self._blocks.take_interceptions(decisions)

    def _note_blocks_saved(self) -> None:
        for decision in self._intercepted:
            self._counts[f"interceptions.{decision.verdict}"] += 1
        self._intercepted.clear()
        self._blocks.saved()

    def _note_failed(self, results: Sequence[object]) -> None:
        failed = [result for result in results if isinstance(result, Exception)]
        if failed:
            self._counts["commands_refused"] += len(failed)
            _LOG.error("Redis refused %d of %d commands, first: %s", len(failed), len(results), failed[0])

    async def _watch_control(self, asked: ControlStream) -> None:
        """Notice a control stream that was cut beyond what was obeyed: the engine's own trimming never does that."""
        if asked.position == "0-0" or await self._log.xrange(asked.key, asked.position, asked.position):
            return
        try:
            info: Any = await self._log.xinfo_stream(asked.key)
        except redis_errors.ResponseError:
            return  # there is no such stream any more, and nothing after our position
        last = _shown(info["last-generated-id"])
        if _order(last) > _order(asked.position):
            self._counts["control_gaps"] += 1
            key, position = asked.key, asked.position
            _LOG.error("entries of %s after %s may have been cut off before they were obeyed", key, position)

    async def _learn_decided(self, start: str) -> None:
        """Learn what was decided after ``start`` of calls that are followed again: nothing is done to them twice."""
        calls, newest, seen = self._interceptor.calls, "+", 0
        self._intercepted.clear()
        while len(calls) and seen < _LEARNT:
            oldest = start.partition("-")[0]
            entries: Any = await self._log.xrevrange(self._keys.decisions, newest, oldest, count=_OBEYED_AT_A_TIME)
            for _entry_id, fields in entries:
                with contextlib.suppress(EventError):
                    calls.learn(decode_decision(fields))
            seen += len(entries)
            if len(entries) < _OBEYED_AT_A_TIME:
                break
            newest = f"({_shown(entries[-1][0])}"

    async def _fold_again(self, start: str, end: str, *, follow: bool = False) -> int:
        """Fold the log after ``start`` up to ``end`` without a word to anybody; how many entries those were.

        ``follow``: take note of the calls that go on, too.
        """
        folded = 0
        while _order(start) < _order(end):
            entries = cast(
                "list[Entry]",
                await self._log.xrange(self._keys.calls, f"({start}", end, count=self._options.max_batch * 4),
            )
            if not entries:
                break
            found = [(self._understood(entry), self._arrival(entry[0])) for entry in entries]
            understood = [(item, at) for item, at in found if item is not None]
            prepared = [item for item, _at in understood]
            self._decider.absorb_prepared(prepared)
            if follow:
                self._interceptor.note(prepared, [at for _item, at in understood])
            start = entries[-1][0].decode()
            folded += len(entries)
            await asyncio.sleep(0)
        return folded

    async def _take_over(self, restored: Restored) -> None:
        """Keep what a snapshot with other windows knows of those that stayed; fold the rest from the log as it is."""
        windows, limits = self._decider.bundle.windows, self._options.limits
        sources = [restored.fold]
        stayed = len(windows.names) - len(restored.lacking)
        _LOG.info(
            "the windows have changed since the snapshot at %s: %d stay, %d are new and folded from the log (%s)",
            restored.position,
            stayed,
            len(restored.lacking),
            ", ".join(restored.lacking[:10]) or "none",
        )
        if restored.lacking:
            self._decider.fold = Fold(windows.subset(restored.lacking), limits=limits, secret=restored.fold.secret)
            folded = await self._fold_again("0-0", restored.position)
            _LOG.info("%d entries of the log folded for the new windows", folded)
            sources.insert(0, self._decider.fold)
        self._decider.fold = await asyncio.to_thread(lambda: Fold.merged(windows, sources, limits=limits))

    async def _last_id(self) -> str | None:
        """The newest id of the log; None when there is no log yet, whose ids will follow the clock.

        A snapshot that stands after it is of another Redis and would make us deaf to this one.
        """
        try:
            info: Any = await self._log.xinfo_stream(self._keys.calls)
        except redis_errors.ResponseError:
            return None
        return _shown(info["last-generated-id"])

    def _understood(self, entry: Entry) -> Prepared | None:
        """The event of an entry that is folded again; None for one that went to quarantine the first time."""
        entry_id, fields = entry
        try:
            return self._decider.prepare(check_event(decode_event(fields), self._arrival(entry_id)))
        except EventError:
            return None
        except Exception:  # noqa: BLE001 - left out as it was the first time (see _batch)
            return None

    # -- serving -------------------------------------------------------------------------------------------------

    async def _serve(self, stop: asyncio.Event) -> None:
        pause = 0.05
        flush_due = time.monotonic() + 1.0
        sweep_due = 0.0
        while not stop.is_set():
            try:
                await self._fence()
                read = await self._wire.read(
                    {
                        self._keys.calls: self._position,
                        **{asked.key: asked.position for asked in (*self._asked, self._blocks.requests)},
                        **self._places.streams,
                    },
                    count=self._options.max_batch,
                    block_ms=_BLOCK_MS,
                )
                pause = 0.05
            except REDIS_ERRORS as error:
                _LOG.warning("the log cannot be read, trying again in %.2f s: %s", pause, error)
                self._counts["redis_errors"] += 1
                self._show()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            wanted = in_order((asked, read.get(asked.key.encode(), [])) for asked in self._asked)
            if wanted:
                self._obey_all(wanted, starting=False)
            said = read.get(self._keys.desk_state.encode(), [])
            for (entry_id, fields), why in self._places.obey(said, self._arrival):
                self._refuse(entry_id, fields, why, "desk_state", self._keys.desk_state)
            await self._save_control()
            requested = read.get(self._blocks.requests.key.encode(), [])
            self._blocks.obey_all(requested[: self._blocks.requests_at_once], self._arrival)
            if time.monotonic() >= sweep_due:
                sweep_due = time.monotonic() + _SWEEP_S
                self._blocks.sweep(time.time() + self._skew)
            entries = read.get(self._keys.calls.encode())
            if entries is None:
                self._take_intercepted(self._interceptor.advance(time.time() + self._skew))
            if not await self._save_blocks(stop):
                break
            if entries is not None:
                await self._batch(entries, stop)
            if self._unwritten_since and (entries is None or time.monotonic() - self._unwritten_since >= _UNWRITTEN_S):
                await self._write_position()
            self._take_reloaded()
            await self._take_written()
            self._snapshots.mend(self._decider.fold)
            now = time.monotonic()
            if now >= flush_due:
                flush_due = now + 1.0
                await self._flush_counts()
            if now >= self._snapshot_due:
                await self._snapshot()

    async def _batch(self, entries: Sequence[Entry], stop: asyncio.Event) -> None:
        prepared: list[Prepared] = []
        arrivals: list[int] = []
        times: list[float] = []
        bad: list[tuple[Quarantined, str, str]] = []
        for entry_id, fields in entries:
            arrived = self._arrival(entry_id)
            try:
                event = check_event(decode_event(fields), arrived)
                item = self._decider.prepare(event)
            except EventError as error:
                bad.append(self._bad(entry_id, error.code, error.detail, fields))
                continue
            except Exception as error:  # noqa: BLE001 - one event nobody foresaw must not stop all others
                _LOG.exception("an event could not be prepared")
                bad.append(self._bad(entry_id, "internal", f"{type(error).__name__}: {error}", fields))
                continue
            prepared.append(item)
            times.append(arrived)
            if event.kind.value == "setup":
                arrivals.append(_milliseconds(entry_id))
        decisions = self._decider.decide_prepared(prepared)
        self._take_intercepted(self._interceptor.follow(prepared, times, decisions))
        setups = [item.event for item in prepared if item.event.kind.value == "setup"]
        position = entries[-1][0].decode()
        if not (setups or bad or self._intercepted or self._blocks.unsaved or self._places.unsaved):
            # Nothing to tell anybody. A restart from the position before would fold the same to the same.
            self._unwritten_since = self._unwritten_since or time.monotonic()
            self._position = position
            self._counts["events"] += len(entries)
            return
        await self._commit(position, setups, arrivals, decisions, bad, len(entries), stop)

    async def _write_position(self) -> None:
        """Write how far the log has been folded, where nothing else was to be written; what fails is done later."""
        if not self._unwritten_since:
            return
        pipe = self._wire.transaction()
        at = f"{time.time() + self._skew:.3f}"
        pipe.hset(self._keys.position, mapping={"id": self._position, "at": at})
        try:
            await self._fence()
            self._note_failed(await pipe.execute())
        except REDIS_ERRORS as error:
            self._counts["redis_errors"] += 1
            _LOG.warning("the position could not be written, it will be with what comes next: %s", error)
        else:
            self._unwritten_since = 0.0

    def _arrival(self, entry_id: bytes) -> float:
        """When the log took an entry, epoch s: its id or, where that lies ahead of Redis' own clock, that clock.

        Whoever may append may choose an id; one in the year 2286 must neither make every later event look late nor
        open the gate to events of any time.
        """
        now = time.time() + self._skew
        arrival = _milliseconds(entry_id) / 1000
        return arrival if arrival <= now + _AHEAD_S else now

    def _bad(
        self, entry_id: bytes, code: str, detail: str, fields: Mapping[bytes, bytes]
    ) -> tuple[Quarantined, str, str]:
        """The quarantine item of an entry, and whom to tell that the call goes on (nobody when it is long over)."""
        raw = repr({name[:64]: value[:256] for name, value in list(fields.items())[:40]})
        source = fields.get(b"source", b"")[:64].decode("utf-8", "replace")
        reply, call_id = waiting_switch(fields)
        over = (time.time() + self._skew) * 1000 > _milliseconds(entry_id) + MAX_DEADLINE_MS
        return Quarantined(code, detail, source or "log", raw), "" if over else reply, call_id

    async def _commit(
        self,
        position: str,
        setups: Sequence[CallEvent],
        arrivals: Sequence[int],
        decisions: Sequence[Decision],
        bad: Sequence[tuple[Quarantined, str, str]],
        entries: int,
        stop: asyncio.Event,
    ) -> None:
        reports = self._reports(setups, decisions)
        self._blocks.take(decisions, time.time() + self._skew)
        counts = self._counts
        pause = 0.02
        first = True
        while True:
            now_ms = (time.time() + self._skew) * 1000
            pipe = self._wire.transaction()
            written: list[Decision] = []
            replies: dict[str, tuple[list[bytes], int]] = {}  # by list: what is said there, and for how long
            for event, arrived, decision in zip(setups, arrivals, decisions, strict=True):
                final = decision
                if event.reply:
                    waiting, tag = self._keys.reply_of(event.reply)
                    if not waiting:
                        if first:
                            counts["reply_key_refused"] += 1
                    elif now_ms >= arrived + (event.deadline_ms or self._options.deadline_ms):
                        final = msgspec.structs.replace(decision, late=True)
                    else:
                        said = self._reply(decision, now_ms / 1000)
                        told, keep_ms = replies.get(waiting, ([], 1000))
                        told.append(encode_reply(msgspec.structs.replace(said, tag=tag) if tag else said))
                        replies[waiting] = told, max(keep_ms, 2 * event.deadline_ms)
                written.append(final)
            for item, reply, call_id in bad:
                waiting, tag = self._keys.reply_of(reply)
                if waiting:
                    told, keep_ms = replies.setdefault(waiting, ([], 1000))
                    told.append(encode_reply(Reply("allow", call_id=call_id, text=item.code, tag=tag)))
            for waiting, (told, keep_ms) in replies.items():
                pipe.rpush(waiting, *told)
                pipe.pexpire(waiting, keep_ms)
            for final in (*written, *self._intercepted):
                pipe.xadd(self._keys.decisions, encode_decision(final))
            for report in reports:
                pipe.xadd(self._keys.calls, report)
            for item, _reply, _call_id in bad:
                entry = encode_quarantined(item, now_ms / 1000)
                pipe.xadd(self._keys.quarantine, entry, maxlen=QUARANTINE_MAXLEN)
            self._blocks.write(pipe, now_ms / 1000)
            self._places.write(pipe)
            pipe.hset(self._keys.position, mapping={"id": position, "at": f"{now_ms / 1000:.3f}"})
            try:
                await self._fence()
                # A command that fails inside a transaction does not undo the others, so it must not repeat them:
                # whoever named a reply key that is no list has lost a reply, nothing else.
                results = await pipe.execute()
            except REDIS_ERRORS as error:
                counts["redis_errors"] += 1
                self._show()
                _LOG.warning("decisions could not be written, trying again: %s", error)
            else:
                self._note_failed(results)
                break
            first = False
            if stop.is_set() and pause >= 1.0:
                raise QueueError("Redis does not take the last decisions; they will be made again after a restart")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)
            await self._trim(quiet=True)
        self._position = position
        self._unwritten_since = 0.0
        self._note_blocks_saved()
        self._places.written()
        counts["events"] += entries
        counts["feedback"] += len(reports)
        done_ms = (time.time() + self._skew) * 1000
        for event, arrived, final in zip(setups, arrivals, written, strict=True):
            counts["decisions." + final.verdict] += 1
            if final.challenger and final.challenger_verdict != final.full_verdict:
                counts["challenger_differs." + final.challenger_verdict] += 1
            if final.late:
                counts["late"] += 1
            if final.duplicate:
                counts["duplicates"] += 1
            if event.reply:
                took = done_ms - arrived
                step = next((str(limit) for limit in LATENCY_STEPS_MS if took <= limit), "more")
                counts["latency_ms." + step] += 1
                self._latency_ms += max(0.0, took)
        for item, _reply, _call_id in bad:
            counts["quarantine." + item.code] += 1

    def _reports(self, setups: Sequence[CallEvent], decisions: Sequence[Decision]) -> list[dict[str, str]]:
        """What goes back into the log: a report about every call that full enforcement would have stopped."""
        if not self._options.feedback:
            return []
        stopped = map(report_stopped, setups, decisions)
        return [encode_event(report) for report in stopped if report is not None]

    def _reply(self, decision: Decision, now: float) -> Reply:
        region: RegionPolicy = self._decider.policy.region(decision.region)
        code = {"block": decision.code or region.block_code, "divert": 302}.get(decision.verdict, 0)
        if self._speaker is None:
            text = decision.reason if decision.verdict != "allow" else ""
            return Reply(
                decision.verdict,
                call_id=decision.call_id,
                decision=decision.id,
                sip_code=code,
                text=text,
                target=decision.target,
                label=decision.label,
            )
        said = self._speaker.say(decision, now)
        return Reply(
            decision.verdict,
            call_id=decision.call_id,
            decision=decision.id,
            sip_code=said.status or code,
            text=said.text,
            target=decision.target or said.target,
            label=decision.label,
            phrase=said.phrase,
            headers=join_lines(said.headers),
            cause=said.cause,
            dialect=said.dialect,
            packet=said.packet,
            attributes="\n".join(f"{name} = {value}" for name, value in said.attributes),
        )

    # -- control -------------------------------------------------------------------------------------------------

    def _obey_all(self, wanted: Sequence[tuple[ControlStream, Entry]], *, starting: bool) -> None:
        """Obey control entries in their order; changes of lists hold for everything that is decided afterwards."""
        for asked, (entry_id, fields) in wanted:
            asked.position = entry_id.decode()
            self._control_unsaved = True
            try:
                self._obey(decode_control(fields, asked.operations), asked.position, starting=starting)
            except EventError as error:
                self._refuse(entry_id, fields, error, asked.field, asked.key)
        self._lists.settle()

    def _refuse(self, entry_id: bytes, fields: Mapping[bytes, bytes], error: EventError, source: str, key: str) -> None:
        """An entry of ``key`` that cannot be obeyed: counted, logged, and on its way to the quarantine."""
        self._counts["control_refused"] += 1
        self._control_unsaved = True
        place = entry_id.decode()
        raw = f"{place} " + repr({name[:64]: value[:256] for name, value in list(fields.items())[:20]})
        if len(self._control_refused) < CONTROL_MAXLEN:
            self._control_refused.append(Quarantined(error.code, error.detail, source, raw))
        _LOG.error("entry %s of %s refused: %s: %s", place, key, error.code, error.detail)

    def _obey(self, control: Control, entry_id: str, *, starting: bool) -> None:
        if control.op in LIST_OPERATIONS:
            change = self._lists.obey(control, entry_id)
            self._counts["list_changes"] += 1
            done = "taken out of" if change.removed else "added to"
            _LOG.info("%r %s %s by %s: %s", change.value, done, change.list, control.who, control.why)
            return
        if control.op == "reload":
            if not starting:
                _LOG.info("reload asked for by %s: %s", control.who, control.why)
                self.request_reload()
            return
        self._decider.killed = control.op == "kill"
        if starting:
            return
        state = "off" if control.op == "kill" else "on again"
        _LOG.warning("interception switched %s by %s: %s", state, control.who, control.why)

    async def _save_control(self) -> None:
        """Write down what control entries came to; what cannot be written yet is written at the next turn."""
        if not self._control_unsaved:
            return
        try:
            await self._fence()
            pipe = self._wire.transaction()
            for field, content in self._lists.unsaved.items():
                if content is None:
                    pipe.hdel(self._keys.lists, field)
                else:
                    pipe.hset(self._keys.lists, field, content)
            now = time.time() + self._skew
            for item in self._control_refused:
                entry = encode_quarantined(item, now)
                pipe.xadd(self._keys.quarantine, entry, maxlen=QUARANTINE_MAXLEN)
            killed = "1" if self._decider.killed else "0"
            positions: dict[Any, Any] = {asked.field: asked.position for asked in self._asked}
            pipe.hset(self._keys.position, mapping={**positions, "killed": killed})
            results = await pipe.execute()
        except REDIS_ERRORS as error:
            self._counts["redis_errors"] += 1
            _LOG.warning("what control entries came to could not be written, trying again: %s", error)
            return
        self._note_failed(results)
        for item in self._control_refused:
            self._counts["quarantine." + item.code] += 1
        self._lists.unsaved.clear()
        self._control_refused.clear()
        self._control_unsaved = False

    def _take_reloaded(self) -> bool:
        """Take what came of a reload, if it has come to an end: one reference is swapped, between two batches."""
        loaded = self._reloader.poll()
        if loaded is None:
            return False
        self._watch.take(loaded.state)
        bundle, error = loaded.bundle, loaded.error
        old = self._decider.bundle.digest
        same = bundle is not None and bundle.digest == self._lists.bundle.digest
        if bundle is not None and not same:
            try:
                self._counts["lists_left_aside"] += self._lists.take(bundle, loaded.ahead)
            except AntifraudError as unfit:
                error = unfit
        self._rules_refused = error.render() if error is not None else ""
        if error is not None:
            self._counts["reload_refused"] += 1
            _LOG.error("the new rules are refused, the old ones go on:\n%s", error.render())
            return True
        self._counts["reloads"] += 1
        if same:
            _LOG.info("the rules are those that are in force: bundle %s", old)
        else:
            _LOG.info("bundle %s replaces %s, made in %.1f s", self._decider.bundle.digest, old, loaded.seconds)
        return True

    # -- housekeeping --------------------------------------------------------------------------------------------

    async def _flush_counts(self) -> None:
        """Add the counts to those in Redis, put the fold's figures there anew, and leave a copy for the metrics."""
        stats = self._show()
        counts, self._counts = self._counts, Counter()
        try:
            async with self._log.pipeline(transaction=True) as pipe:
                for name, number in counts.items():
                    if number:
                        pipe.hincrby(self._keys.counters, name, number)
                bundle, refused = self._lists.bundle.digest, self._rules_refused[:_MOST_SAID]
                pipe.hset(self._keys.position, mapping={"bundle": bundle, "refused": refused})
                self._places.write_words(pipe)
                if stats:
                    pipe.delete(self._keys.features)  # a table that is gone must not look as if it were there
                    pipe.hset(self._keys.features, mapping={name: str(number) for name, number in stats.items()})
                await pipe.execute()
        except REDIS_ERRORS:
            self._counts.update(counts)
        else:
            self._written.update(counts)

    def _show(self) -> Mapping[str, int | float]:
        """Publish a copy of all numbers; those of the fold, empty when it cannot say them."""
        for counts in (self._blocks.counts, self._interceptor.calls.counts):
            self._counts.update(counts)
            counts.clear()
        self._counts["judging_failures"] += self._interceptor.failures
        self._interceptor.failures = 0
        self._counts["judging_failures"] += self._decider.failures
        self._decider.failures = 0
        stats: Mapping[str, int | float] = {}
        try:
            stats = dict(self._decider.fold.stats())
        except Exception:  # noqa: BLE001 - figures are for looking at; without them calls are decided all the same
            if not self._stats_failed:
                _LOG.exception("the windows cannot say their figures")
            self._stats_failed = True
        if self._publish is not None:
            model, challenger = self._decider.model, self._decider.challenger
            self._publish(
                Figures(
                    counts=self._written + self._counts,
                    latency_s=self._latency_ms / 1000,
                    fold=stats,
                    serving=not self._lost,
                    killed=self._decider.killed,
                    refused=bool(self._rules_refused),
                    bundle=self._decider.bundle.digest,
                    model=model.id if model is not None else "",
                    challenger=challenger.id if challenger is not None else "",
                    challenger_refused=self._decider.challenger_refused is not None,
                )
            )
        return stats

    async def _snapshot(self) -> None:
        """Have a child process write the state as it is now; calls go on meanwhile."""
        self._snapshot_due = time.monotonic() + self._options.snapshot_every_s
        try:
            self._snapshots.start(self._decider.fold, self._position, self._interceptor.calls.dump())
        except OSError as error:
            self._counts["snapshot_errors"] += 1
            _LOG.error("no snapshot could be begun: %s", error)

    async def _take_written(self) -> None:
        outcome = self._snapshots.poll()
        if outcome is None:
            return
        if outcome:
            self._counts["snapshots"] += 1
            await self._trim(quiet=False)
        else:
            self._counts["snapshot_errors"] += 1
            _LOG.error("the snapshot could not be written to %s", self._options.snapshot_dir)

    async def _finish_snapshot(self) -> None:
        """The last snapshot: nothing is decided any more, so it is written here."""
        self._snapshots.abandon()
        try:
            calls = self._interceptor.calls.dump()
            await asyncio.to_thread(self._snapshots.save, self._decider.fold, self._position, calls)
        except OSError as error:
            _LOG.error("the last snapshot could not be written: %s", error)
        else:
            self._counts["snapshots"] += 1

    async def _trim(self, *, quiet: bool) -> None:
        """Cut both streams by age, never past what a restart has to read again."""
        oldest_ms = int((time.time() + self._skew - self._options.retention_s) * 1000)
        keep = self._snapshots.oldest_position()
        calls = f"{oldest_ms}-0" if keep is None else min(f"{oldest_ms}-0", keep, key=_order)
        try:
            await self._log.xtrim(self._keys.calls, minid=calls, approximate=True)
            await self._log.xtrim(self._keys.decisions, minid=f"{oldest_ms}-0", approximate=True)
            await self._log.xtrim(self._keys.desk_state, maxlen=STATE_MAXLEN, approximate=True)
            for asked in self._asked:
                if not self._control_unsaved:
                    await self._trim_control(asked)
            if not self._blocks.unsaved:
                await self._trim_control(self._blocks.requests)
            for switch in self._blocks.switches:
                await self._log.xtrim(self._keys.commands(switch), minid=f"{oldest_ms}-0", approximate=True)
        except REDIS_ERRORS as error:
            if not quiet:
                _LOG.warning("the streams could not be trimmed: %s", error)

    async def _trim_control(self, asked: ControlStream) -> None:
        """Keep the newest of what was obeyed, and everything that was not: others write to the stream meanwhile."""
        if await self._log.xlen(asked.key) < 2 * CONTROL_MAXLEN:
            return
        oldest = asked.position
        for _ in range(CONTROL_MAXLEN // _OBEYED_AT_A_TIME):
            entries: Any = await self._log.xrevrange(asked.key, f"({oldest}", count=_OBEYED_AT_A_TIME)
            if len(entries) < _OBEYED_AT_A_TIME:
                return
            oldest = entries[-1][0].decode()
        await self._log.xtrim(asked.key, minid=oldest, approximate=True)


def report_stopped(setup: CallEvent, decision: Decision) -> CallEvent | None:
    """The report that a call would have been stopped, in the setup's own words; None for one that would not.

    It follows from the setup and the decision alone: written once more, it is the same report and is not counted
    again. Nobody waits for it, and nothing is decided about it.
    """
    if decision.full_verdict not in _STOPPING or decision.duplicate or decision.protected:
        return None
    return stopped_report(setup)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _milliseconds(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _shown(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
