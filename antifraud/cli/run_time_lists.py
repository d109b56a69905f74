"""Run-time entries of lists as the commands see them: asked of Redis, written as JSON, read back from it, summed up."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from antifraud.domain import ConfigError, EventError, Location, Problem, UsageError
from antifraud.rulekit import Amendment, Amendments, decode_amendments, end_value
from antifraud.rulekit.messages import shorten

if TYPE_CHECKING:
    from antifraud.settings import Settings

MAX_EXPORT_BYTES: Final = 256 * 1024 * 1024
_EXPORT: Final = "write the file with `antifraud lists show --json`"
_NEARLY_FULL: Final = 0.9


class RunTime(msgspec.Struct):
    """What Redis knows: accepted changes, or why it could not be asked."""

    changes: list[Amendment] = []
    unknown: str = ""


def redis_url(settings: Settings) -> str:
    """The configured Redis; else the private one of ``antifraud up``, where it runs; empty where there is none."""
    if settings.redis.url:
        return settings.redis.url
    socket = settings.snapshot_dir.parent / "redis" / "redis.sock"
    return f"unix://{socket}" if socket.is_socket() else ""


def ask(settings: Settings) -> RunTime:
    """The run-time entries of the shard."""
    url = redis_url(settings)
    if not url:
        return RunTime(unknown="no Redis is configured")
    return asyncio.run(_read(settings, url))


async def _read(settings: Settings, url: str) -> RunTime:
    from antifraud.queues import REDIS_ERRORS, Keys, connect, shown_url

    client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-lists")
    try:
        changes, garbled = decode_amendments(await written(client, Keys(settings.shard).lists))
        return RunTime(changes, f"{garbled} of them cannot be read" if garbled else "")
    except REDIS_ERRORS as error:
        return RunTime(unknown=f"Redis at {shown_url(url)} does not answer: {error}")
    finally:
        await client.aclose()


async def written(client: Any, key: str) -> dict[bytes, bytes]:
    """What stands in the hash of run-time entries."""
    return {field: content async for field, content in client.hscan_iter(key, count=1_000)}


def by_list(changes: Iterable[Amendment]) -> Amendments:
    """The changes as the engine holds them."""
    amendments = Amendments()
    for change in changes:
        amendments.restore(change)
    return amendments


def moment_text(seconds: float, timespec: str = "seconds") -> str:
    """A time as people and programs read it; ``timespec`` as in ``datetime.isoformat``."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec=timespec)
    except (OverflowError, ValueError, OSError):
        return f"second {seconds:.0f}"


# As JSON


def exported(change: Amendment, at: float) -> dict[str, Any]:
    """The change as JSON; ``ended``: by the time ``at``."""
    return {
        "op": "remove" if change.removed else "add",
        "value": change.value,
        "until": moment_text(change.until, "auto") if change.until is not None else None,
        "ended": not change.removed and change.ends <= at,
        "who": change.who,
        "why": change.why,
        "at": moment_text(change.at),
    }


class _Change(msgspec.Struct):
    op: Literal["add", "remove"]
    value: str
    until: str | None = None
    who: str = ""
    why: str = ""
    at: str = ""


class _Exported(msgspec.Struct):
    run_time: list[_Change]
    name: str = msgspec.field(name="list")
    run_time_unknown: str = ""


_DECODER: Final = msgspec.json.Decoder(list[_Exported] | _Exported)


def read_export(path: Path) -> list[Amendment]:
    """The run-time entries in a file that ``lists show --json`` wrote (``-``: standard input).

    ConfigError says where in the file something is wrong, UsageError that it cannot be read.
    """
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_EXPORT_BYTES + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_EXPORT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_EXPORT_BYTES:
        raise UsageError(f"{path} has more than {MAX_EXPORT_BYTES >> 20} MiB", hint=_EXPORT)
    return decode_export(raw, str(path))


def decode_export(raw: bytes, file: str) -> list[Amendment]:
    """The run-time entries in ``raw``, which stood in ``file``. ConfigError says where something is wrong."""
    try:
        found = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise ConfigError.of([Problem(_small(str(error)), Location(file), _EXPORT)]) from None
    except msgspec.DecodeError as error:
        raise ConfigError.of([Problem(f"no JSON: {_small(str(error))}", _place(raw, file, error), _EXPORT)]) from None
    changes: list[Amendment] = []
    problems: list[Problem] = []
    lists = found if isinstance(found, list) else [found]
    unknown = next((item.run_time_unknown for item in lists if item.run_time_unknown), "")
    if unknown and not any(item.run_time for item in lists):
        said = f"it has no run-time entries, because they were not known when it was written: {unknown}"
        raise ConfigError.of([Problem(said[:500], Location(file), "write it again where Redis can be asked")])
    for item in lists:
        for number, change in enumerate(item.run_time):
            try:
                until = end_value(change.until or "")
            except EventError as error:
                said = f"run_time[{number}] of {shorten(item.name)[:64]}: {error.detail}"
                problems.append(Problem(said, Location(file), "write until as it was, with its offset"))
                continue
            removed = change.op == "remove"
            changes.append(Amendment(item.name, change.value, removed, until, change.who, change.why, _at(change.at)))
    if problems:
        raise ConfigError.of(problems[:20])
    return changes


def _place(raw: bytes, file: str, error: msgspec.DecodeError) -> Location:
    """The line and column of the byte that the decoder stopped at; the last one when it wanted more."""
    _, _, number = str(error).partition("(byte ")
    at = int(number.rstrip(")")) if number.rstrip(")").isdecimal() else len(raw)
    start = raw.rfind(b"\n", 0, at) + 1
    return Location(file, raw.count(b"\n", 0, at) + 1, len(raw[start:at].decode("utf-8", "replace")) + 1)


def _small(message: str) -> str:
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _at(text: str) -> float:
    """When it was asked for: only shown, so what cannot be read does no harm."""
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0


# Summed up


def summed_up(changes: Iterable[Amendment], now: float) -> tuple[list[tuple[str, ...]], list[str]]:
    """A row for each list with run-time entries, and the lists that can take hardly any more.

    Name, added, taken out, how many of the added have ended, the day of the oldest, and who asked for most of them.
    """
    from antifraud.rulekit.amendments import MAX_AMENDMENTS

    rows: list[tuple[str, ...]] = []
    full: list[str] = []
    mine: dict[str, list[Amendment]] = {}
    for change in changes:
        mine.setdefault(change.list, []).append(change)
    for name, found in sorted(mine.items()):
        removed = sum(change.removed for change in found)
        ended = sum(not change.removed and change.ends <= now for change in found)
        oldest = min(found, key=lambda change: change.at)
        people = [who or "nobody" for who, _count in Counter(change.who for change in found).most_common()]
        others = f" and {len(people) - 3} more" if len(people) > 3 else ""
        counts = (f"{number:,}" for number in (len(found) - removed, removed, ended))
        rows.append((name, *counts, moment_text(oldest.at)[:10], f"{', '.join(people[:3])}{others}"))
        if len(found) >= _NEARLY_FULL * MAX_AMENDMENTS:
            full.append(name)
    return rows, full
