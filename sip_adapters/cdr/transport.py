"""The CDR adapter: follows a growing file into the log. The position is kept after the log has taken the events, so
a crash at any moment loses nothing; what comes twice then, the engine recognises.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from antifraud.domain import CallEvent, ConfigError, Quarantined, QueueError, UsageError
from antifraud.queues import CallLog, connect
from sip_adapters.cdr.follow import Chunk, Tail, load_position, save_position
from sip_adapters.cdr.mapping import MappingFile, find_mapping, load_mapping
from sip_adapters.cdr.rows import SOURCE, Rows
from sip_adapters.sip import quarantined

_LOG: Final = logging.getLogger("antifraud.adapters.cdr")
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_FOR_EVERYBODY: Final = ("enabled", "config_dir", "deadline_ms")


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``adapters.cdr`` section of config/.

    ``file`` is followed, read by ``mapping`` (a name of config/cdr/ or a path). ``checkpoint`` keeps the position;
    beside the file by default. ``start``: where to begin without one, ``beginning`` or ``end``. ``poll_s``: how
    often to look for new lines.
    """

    file: str | None = None
    mapping: str | None = None
    checkpoint: str | None = None
    start: Annotated[str, msgspec.Meta(pattern="^(beginning|end)$")] = "beginning"
    poll_s: Annotated[float, msgspec.Meta(ge=0.01, le=3600)] = 0.5


def read_options(raw: Mapping[str, Any]) -> Options:
    """The options; ConfigError says which one is wrong."""
    own = {name: value for name, value in raw.items() if name not in _FOR_EVERYBODY}
    try:
        options = msgspec.convert(own, Options, strict=False)
    except msgspec.ValidationError as error:
        what = str(error).replace(" - at `$.", " in `")
        raise ConfigError(
            f"adapters.cdr: {what[:1].lower()}{what[1:]}", hint=f"known are {', '.join(Options.__struct_fields__)}"
        ) from None
    for name in ("file", "mapping"):
        if not getattr(options, name):
            raise ConfigError(f"adapters.cdr.{name} is missing", hint="see docs/how-to/feed-cdr.md")
    return options


class CdrAdapter:
    """The adapter that ``antifraud adapter cdr`` runs."""

    name = "cdr"
    summary = "follows a growing CSV file of call detail records"

    async def run(
        self, *, shard: str, redis_url: str, options: Mapping[str, Any], ready: Callable[[str], None]
    ) -> None:
        """Follow until cancelled."""
        settings = read_options(options)
        mapping = load_mapping(find_mapping(settings.mapping or "", str(options.get("config_dir") or "")))
        path = Path(settings.file or "")
        checkpoint = Path(settings.checkpoint) if settings.checkpoint else path.with_name(path.name + ".checkpoint")
        position = await asyncio.to_thread(load_position, checkpoint)
        tail = Tail(path, position, has_header=mapping.header, from_end=settings.start == "end")
        client = connect(redis_url, name="cdr")
        try:
            ready(str(path))
            await _Follower(tail, mapping, CallLog(client, shard), checkpoint, settings.poll_s).run()
        finally:
            tail.close()
            with contextlib.suppress(Exception):
                await client.aclose()


class _Follower:
    """The loop: read, convert, append, keep the position."""

    def __init__(self, tail: Tail, mapping: MappingFile, log: CallLog, checkpoint: Path, poll_s: float) -> None:
        self._tail = tail
        self._mapping = mapping
        self._log = log
        self._checkpoint = checkpoint
        self._poll_s = poll_s
        self._rows: Rows | None = None
        self._header: bytes | None = None
        self._trouble = ""
        self._lost = 0

    async def run(self) -> None:
        while True:
            try:
                chunk = await asyncio.to_thread(self._tail.poll)
            except OSError as error:
                self._report(f"the file cannot be read: {error.strerror or error}")
                await asyncio.sleep(_LONGEST_PAUSE_S)
                continue
            if self._tail.lost > self._lost:
                self._lost = self._tail.lost
                _LOG.warning("where reading stood cannot be found any more; it goes on at the beginning of the file")
                await self._until_taken(partial(self._log.count, {"cdr.position-lost": 1}))
            if chunk.position is None:
                await asyncio.sleep(self._poll_s)
                continue
            events, bad = self._convert(chunk)
            await self._until_taken(partial(self._log.append, events))
            counts = {"cdr.lines": len(chunk.lines), "cdr.events": len(events)}
            await self._until_taken(partial(self._log.quarantine, bad))
            with contextlib.suppress(QueueError):
                await self._log.count({name: number for name, number in counts.items() if number})
            await self._keep(chunk)

    def _convert(self, chunk: Chunk) -> tuple[list[CallEvent], list[Quarantined]]:
        events: list[CallEvent] = []
        bad: list[Quarantined] = []
        if self._rows is None or chunk.header != self._header:
            try:
                self._rows = Rows(self._mapping, chunk.header)
            except UsageError as error:
                # A rotated file with other columns must not end the adapter: its lines go to quarantine.
                self._rows = None
                self._report(error.render())
            self._header = chunk.header
        for line in chunk.lines:
            found = self._rows.events(line) if self._rows is not None else _unreadable(line)
            if isinstance(found, Quarantined):
                bad.append(found)
            elif found is not None:
                events += found
        return events, bad

    async def _until_taken(self, send: Callable[[], Awaitable[object]]) -> None:
        """Send until Redis takes it; the file waits meanwhile, nothing is held in memory but one chunk."""
        pause = _PAUSE_S
        while True:
            try:
                await send()
            except QueueError as error:
                self._report(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                if self._trouble:
                    _LOG.info("going on")
                    self._trouble = ""
                return

    async def _keep(self, chunk: Chunk) -> None:
        assert chunk.position is not None, "a chunk with lines has a position"
        try:
            await asyncio.to_thread(save_position, self._checkpoint, chunk.position)
        except OSError as error:
            self._report(f"the position cannot be kept in {self._checkpoint}: {error.strerror or error}")

    def _report(self, trouble: str) -> None:
        """Say it once, not at every attempt."""
        if trouble != self._trouble:
            self._trouble = trouble
            _LOG.warning("%s", trouble)


def _unreadable(line: bytes) -> Sequence[CallEvent] | Quarantined:
    return quarantined("header-unfit", "the file's header line does not fit the mapping", SOURCE, line)


ADAPTER: Final = CdrAdapter()
