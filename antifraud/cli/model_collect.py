"""``antifraud model collect``: keeps what training needs of the log, which Redis holds for some hours only.

A run writes one file of events or several, ``<first id>-<last id>.jsonl``. Each appears when it is whole, and its name
says where the next run begins. So a run that is broken off loses nothing and repeats nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import click
import msgspec

from antifraud.cli.assembly import read_settings
from antifraud.domain import EventError, UsageError

if TYPE_CHECKING:
    from antifraud.settings import Settings

_NAME: Final = re.compile(r"(\d{1,13})\.(\d{1,10})-(\d{1,13})\.(\d{1,10})\.jsonl")
_PAGE: Final = 2_000
_MOST_EVENTS: Final = 1_000_000

Place = tuple[int, int]
"""The id of an entry of the log: milliseconds, and its number among those of the same."""


class Collected(msgspec.Struct):
    """What a run has written. ``lost`` says that the log begins after the place where the last run ended."""

    files: list[str]
    events: int = 0
    garbled: int = 0
    lost: bool = False


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the files go.")
@click.option("--redis", default="", metavar="URL", help="Redis; by default REDIS_URL, then redis.url in config/.")
@click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def collect(out: Path, redis: str, config_dir: str, as_json: bool) -> None:
    """Write the events of the log that came since the last run to files in --out, for `model train --labels reports`.

    Run it more often than `engine.retention_h`. Ends with 1 when the log was trimmed before it was collected.
    """
    from antifraud.cli.run_time_lists import redis_url

    settings = read_settings({"redis": redis, "config_dir": config_dir})
    url = redis_url(settings)
    if not url:
        raise UsageError("no Redis is configured", hint="name it: --redis redis://host:6379/0")
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(_collect(settings, url, out))
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror or error}", hint="check the directory") from error
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        click.echo(f"{found.events:,} events in {len(found.files)} files -> {out}; {found.garbled} not understood")
    if found.lost:
        click.echo("the log was trimmed before it was collected: some events are missing; collect more often", err=True)
        raise SystemExit(1)


def last_place(out: Path) -> Place | None:
    """Where the files in ``out`` end."""
    ends = [(int(found[3]), int(found[4])) for path in out.iterdir() if (found := _NAME.fullmatch(path.name))]
    return max(ends, default=None)


async def _collect(settings: Settings, url: str, out: Path) -> Collected:
    from antifraud.domain import QueueError
    from antifraud.queues import REDIS_ERRORS, Keys, connect, shown_url

    key = Keys(settings.shard).calls
    client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-collect")
    found = Collected([])
    at = last_place(out)
    try:
        first = cast("Sequence[Any]", await client.xrange(key, count=1))
        if at is not None and first and at < _place(first[0][0]):
            found.lost = True
        # What comes while we read is for the next run.
        newest = cast("Sequence[Any]", await client.xrevrange(key, count=1))
        end = newest[0][0] if newest else b"0-0"
        while True:
            at, more = await _write_file(client, key, at, end, out, found)
            if not more:
                return found
    except REDIS_ERRORS as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise QueueError(
            f"Redis at {shown_url(url)} does not answer: {error}", hint="antifraud doctor says why"
        ) from error
    finally:
        await client.aclose()


async def _write_file(
    client: Any, key: str, at: Place | None, end: bytes, out: Path, found: Collected
) -> tuple[Place | None, bool]:
    """Write one file of what lies after ``at``; where it ends, and whether there may be more."""
    part = out / f".{os.getpid()}.part"
    first: Place | None = None
    last, count = at, 0
    try:
        with part.open("wb") as file:
            while count < _MOST_EVENTS:
                start = "-" if last is None else f"({last[0]}-{last[1]}"
                page = cast("Sequence[Any]", await client.xrange(key, start, end, count=_PAGE))
                if not page:
                    break
                first = first or _place(page[0][0])
                last = _place(page[-1][0])
                count += len(page)
                found.events += _write_page(page, file, found)
            file.flush()
            os.fsync(file.fileno())
        if first is None or last is None:
            return at, False
        name = f"{first[0]:013}.{first[1]:06}-{last[0]:013}.{last[1]:06}.jsonl"
        part.replace(out / name)
        found.files.append(name)
        return last, count >= _MOST_EVENTS
    finally:
        part.unlink(missing_ok=True)


def _write_page(page: Sequence[Any], file: IO[bytes], found: Collected) -> int:
    from antifraud.queues import decode_event

    written = 0
    for _entry, fields in page:
        try:
            event = decode_event(fields)
        except EventError:
            found.garbled += 1
            continue
        # Who waited for the verdict, and for how long, is of no use later.
        file.write(msgspec.json.encode(msgspec.structs.replace(event, reply="", deadline_ms=0)) + b"\n")
        written += 1
    return written


def _place(entry: bytes) -> Place:
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number or 0)
