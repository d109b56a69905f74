"""``antifraud lists``: what stands in the lists, in their files and at run time, and how to change it.

``add`` and ``remove`` write control entries, which the engine obeys between two batches; ``import`` writes the CSV file
of a list. Light on purpose: no rule is compiled, and Redis is asked only where run-time entries matter.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from antifraud.cli.assembly import build_numbering, read_settings, settings_options
from antifraud.cli.run_time_lists import RunTime, ask, by_list, exported, moment_text, redis_url, written
from antifraud.domain import EventError, QueueError, UsageError
from antifraud.rulekit import (
    Amendment,
    Amendments,
    Found,
    ListFile,
    decode_amendments,
    end_value,
    load_lists,
    plain_value,
)

if TYPE_CHECKING:
    from antifraud.settings import Settings

_SHOWN: Final = 20
_WAIT_S: Final = 3.0


@click.group()
def lists() -> None:
    """Look into lists of numbers, prefixes, ranges, trunks and user agents, and change them."""


@lists.command()
@click.argument("name", metavar="[LIST]", required=False)
@settings_options
@click.option("--all", "everything", is_flag=True, help=f"Show every entry, not only the first {_SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def show(name: str | None, everything: bool, as_json: bool, **where: Any) -> None:
    """Show all lists, or the entries of LIST, from its files and those of run time."""
    settings = read_settings(where)
    found = load_lists(settings.rules_dir)
    chosen = [_list(found, name)] if name else sorted(found.values(), key=lambda item: item.name)
    run_time = ask(settings)
    amendments = by_list(run_time.changes)
    now = time.time()
    if as_json:
        content: list[dict[str, Any]] = []
        for item in chosen:
            entry = {**_summary(item, amendments), "run_time_unknown": run_time.unknown}
            if name:
                count = len(item.entries) if everything else _SHOWN
                entry["file_entries"] = [_found(one, now) for one in item.first(count)]
            entry["run_time"] = [exported(change, now) for change in amendments.of(item.name).values()]
            content.append(entry)
        _write_json(content[0] if name else content)
        return
    if not name:
        width = max((len(item.name) for item in chosen), default=0)
        for item in chosen:
            about = _summary(item, amendments)
            protect = f", protects {', '.join(item.protects)}" if item.protects else ""
            at_run_time = f" (at run time +{about['added']} -{about['removed']})" if amendments.of(item.name) else ""
            click.echo(f"{item.name:<{width}}  {len(item.entries):>9,} {item.kind}{at_run_time}{protect}; {item.owner}")
    else:
        (item,) = chosen
        _show_one(item, amendments, len(item.entries) if everything else _SHOWN, now)
    _say_unknown(run_time)


def _show_one(item: ListFile, amendments: Amendments, count: int, now: float) -> None:
    kind = f"protects {', '.join(item.protects)}" if item.protects else "plain"
    click.echo(f"{click.style(item.name, bold=True)}: {item.title.get('en')}")
    click.echo(f"  {item.kind}, {kind}; {item.owner}; {item.source}")
    entries = item.first(count)
    for one in entries:
        click.echo(f"  {_words(one.plain, one.ends, now)}{_about(one, item)}  {one.file}:{one.line}")
    left = len(item.entries) - len(entries)
    if left > 0:
        click.echo(f"  and {left:,} more (--all shows them)")
    if not len(item.entries):
        click.echo("  no entry in its files")
    changes = sorted(amendments.of(item.name).values(), key=lambda change: change.at)
    for change in changes:
        click.echo(f"  at run time: {_change_words(change, now)}")


@lists.command()
@click.argument("number")
@settings_options
@click.option("--at", "moment", default="", metavar="TIME", help="Ask about this time (with offset) instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def check(number: str, moment: str, as_json: bool, **where: Any) -> None:
    """Say which lists contain NUMBER now, from their files and at run time, and who answers for each entry.

    NUMBER is written in full with +, as a short code, or as people dial it here. Exit code 0, whatever is found.
    """
    settings = read_settings(where)
    found = load_lists(settings.rules_dir)
    asked = _normalised(number, settings)
    at = _moment(moment)
    run_time = ask(settings)
    amendments = by_list(run_time.changes)
    results = []
    for item in sorted(found.values(), key=lambda one: one.name):
        if item.kind in ("trunks", "user_agents"):
            continue
        entries = item.taking_in(asked)
        mine = amendments.of(item.name)
        removed = {change.value for change in mine.values() if change.removed and item.removable}
        added = [change for change in mine.values() if not change.removed and _takes_in(item, change.value, asked)]
        gone = [change for change in mine.values() if change.value in removed and _takes_in(item, change.value, asked)]
        if not entries and not added and not gone:
            continue
        held = [one.ends for one in entries if one.plain not in removed] + [change.ends for change in added]
        results.append((item, max(held, default=0.0) > at, entries, added, gone))
    if as_json:
        _write_json(
            {
                "number": asked,
                "at": at,
                "run_time_unknown": run_time.unknown,
                "lists": [
                    {
                        "list": item.name,
                        "contains": contains,
                        "protects": list(item.protects),
                        "file_entries": [_found(one, at) for one in entries],
                        "run_time": [exported(change, at) for change in (*added, *gone)],
                    }
                    for item, contains, entries, added, gone in results
                ],
            }
        )
        return
    for item, contains, entries, added, gone in results:
        state = click.style("in", fg="green") if contains else click.style("not in", fg="yellow")
        protects = f" (protects {', '.join(item.protects)})" if item.protects else ""
        click.echo(f"{asked} is {state} {click.style(item.name, bold=True)}{protects}")
        hidden = {change.value for change in gone}
        for one in entries:
            out = ", taken out at run time" if one.plain in hidden else ""
            owner = f"; {one.owner}; {one.source}" + (f"; {one.note}" if one.note else "")
            click.echo(f"  {_words(one.plain, one.ends, at)}{out}{owner}  {one.file}:{one.line}")
        for change in (*added, *gone):
            click.echo(f"  at run time: {_change_words(change, at)}")
    if not any(contains for _item, contains, *_rest in results):
        click.echo(f"{asked} is in no list of numbers, prefixes or ranges")
    _say_unknown(run_time)


def _takes_in(item: ListFile, plain: str, number: str) -> bool:
    if item.kind == "prefixes":
        return number.startswith(plain)
    if item.kind == "ranges":
        first, _, last = plain.partition("-")
        return len(first) == len(number) and number[:1] == "+" and first <= number <= last
    return number == plain


def _control_options(command: Any) -> Any:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Write what became of it as JSON."),
        click.option("--why", required=True, help="Why, in a sentence; it is kept with the entry."),
        click.option("--who", default="", help="Who asks; by default the name that you are logged in with."),
    ):
        command = option(command)
    return command


@lists.command()
@click.argument("name", metavar="LIST")
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@settings_options
@click.option("--until", default="", metavar="DATE", help="The last day on which it holds (UTC), or an exact time.")
@click.option("--unknown-code", is_flag=True, help="Take digits without + that are no short code of the dial plan.")
@_control_options
def add(
    name: str,
    values: tuple[str, ...],
    until: str,
    unknown_code: bool,
    who: str,
    why: str,
    as_json: bool,
    **where: Any,
) -> None:
    """Add each VALUE to LIST at run time; the engine takes it before the next call. No file is changed.

    A range is written +77001230000-+77001239999. Digits without + must be a short code that the dial plan knows: of a
    number that was cut off nothing would be stopped. Exit code 1: the engine refused it.
    """
    settings = read_settings(where)
    item = _list(load_lists(settings.rules_dir), name)
    if not unknown_code:
        _check_codes(settings, item, values)
    ends = _refused_as_usage(lambda: end_value(until))
    if ends is not None and ends <= time.time():
        raise UsageError(f"{until} is over already", hint="name a later day, or leave --until out")
    _command(settings, item, "list.add", values, until, who, why, as_json)


@lists.command()
@click.argument("name", metavar="LIST")
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@settings_options
@_control_options
def remove(name: str, values: tuple[str, ...], who: str, why: str, as_json: bool, **where: Any) -> None:
    """Take each VALUE out of LIST at run time, also when it stands in a file (which is not changed).

    From a protect list nothing is taken out unless its file says `removable: true`. Exit code 1: the engine refused it.
    """
    settings = read_settings(where)
    _command(settings, _list(load_lists(settings.rules_dir), name), "list.remove", values, "", who, why, as_json)


def _check_codes(settings: Settings, item: ListFile, values: Sequence[str]) -> None:
    """UsageError where digits without + are not a short code as calls carry it."""
    if item.kind not in ("numbers", "prefixes"):
        return
    plain = [_refused_as_usage(lambda value=value: plain_value(item, value)) for value in values]
    codes = [value for value in plain if value.isdecimal()]
    if not codes:
        return
    numbering = build_numbering(settings, warm=False)
    for code in codes:
        facts = numbering.facts(code)
        if facts.short and facts.number == code:
            continue
        if item.kind == "prefixes" and any(known.startswith(code) for known in numbering.plan.short_codes):
            continue
        if facts.short:
            raise UsageError(f"{code} is carried by calls as {facts.number}", hint=f"add {facts.number}")
        raise UsageError(
            f"{code} is no short code of the dial plan {settings.dial_plan}",
            hint="write a number in full with + and country code; where calls carry these digits, add --unknown-code",
        )


def _command(
    settings: Settings,
    item: ListFile,
    op: str,
    values: Sequence[str],
    until: str,
    who: str,
    why: str,
    as_json: bool,
) -> None:
    plain = [_refused_as_usage(lambda value=value: plain_value(item, value)) for value in dict.fromkeys(values)]
    who = who.strip() or _login()
    if not why.strip():
        raise UsageError("--why is empty", hint="say why in a sentence; whoever finds the entry later wants to know")
    url = redis_url(settings)
    if not url:
        raise QueueError("no Redis is configured", hint="set REDIS_URL, redis.url in config/ or --redis")
    outcomes = asyncio.run(_send(settings, url, item, op, plain, until, who, why.strip()))
    refused = [outcome for outcome in outcomes if outcome["state"] == "refused"]
    if as_json:
        _write_json(outcomes)
    else:
        done = "added to" if op == "list.add" else "taken out of"
        for outcome in outcomes:
            value, reason = outcome["value"], outcome["reason"]
            if outcome["state"] == "applied":
                click.echo(f"{value} {done} {item.name}: it holds for the next call")
            elif outcome["state"] == "refused":
                click.echo(f"{value} {click.style('refused', fg='red')}: {reason}", err=True)
            else:
                click.echo(f"{value}: written down; {reason}")
    if refused:
        raise SystemExit(1)


async def _send(
    settings: Settings, url: str, item: ListFile, op: str, values: Sequence[str], until: str, who: str, why: str
) -> list[dict[str, str]]:
    """Check against what holds, write the control entries, and wait a little for what the engine makes of them."""
    from antifraud.queues import REDIS_ERRORS, Control, Keys, connect, encode_control, shown_url

    keys = Keys(settings.shard)
    client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-lists")
    try:
        amendments = by_list(decode_amendments(await written(client, keys.lists))[0])
        for value in values:
            change = Amendment(item.name, value, removed=op == "list.remove", until=end_value(until))
            try:
                amendments.accept({item.name: item}, change)
            except EventError as error:
                raise UsageError(error.detail) from None
        ids: dict[str, str] = {}
        for value in values:
            control = Control(op, who, why, item.name, value, until=until)
            entry_id: Any = await client.xadd(keys.list_changes, encode_control(control))  # type: ignore[arg-type]
            ids[value] = entry_id.decode()
        return await _outcomes(client, keys, ids)
    except REDIS_ERRORS as error:
        raise QueueError(f"Redis at {shown_url(url)} does not take it: {error}") from None
    finally:
        await client.aclose()


async def _outcomes(client: Any, keys: Any, ids: Mapping[str, str]) -> list[dict[str, str]]:
    last = max(map(_order, ids.values()))
    deadline = time.monotonic() + _WAIT_S
    served = await client.exists(keys.lease)
    reached = (0, 0)
    while served:
        raw = await client.hget(keys.position, "list_changes")
        reached = _order(raw.decode()) if raw else (0, 0)
        if reached >= last or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.02)
    reasons: dict[str, str] = {}
    if reached >= last:
        # What was refused stands in the quarantine under the id of its entry.
        for _entry_id, fields in await client.xrevrange(keys.quarantine, count=1_000):
            if fields.get(b"source") == b"list_changes":
                entry = fields.get(b"raw", b"").partition(b" ")[0].decode("utf-8", "replace")
                reasons[entry] = fields.get(b"detail", b"").decode("utf-8", "replace")
    waiting = "the engine has not answered yet" if served else "no engine serves this shard; the next one takes it"
    outcomes = []
    for value, entry_id in ids.items():
        state, reason = ("applied", "") if reached >= last else ("waiting", waiting)
        if entry_id in reasons:
            state, reason = "refused", reasons[entry_id]
        outcomes.append({"value": value, "state": state, "reason": reason, "id": entry_id})
    return outcomes


@lists.command("import")
@click.argument("name", metavar="LIST")
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@settings_options
@click.option("--replace", is_flag=True, help="Leave nothing of what the list's CSV file had before.")
@click.option("--json", "as_json", is_flag=True, help="Write what was done as JSON.")
def import_file(name: str, file: Path, replace: bool, as_json: bool, **where: Any) -> None:
    """Check FILE.csv and take its entries over into the CSV file of LIST (its `entries_file`).

    An entry that stands there already takes the end, owner, source and note of FILE.csv. Nothing is written unless all
    of it is sound. A running engine takes the file by itself, or when it is told to reload.
    """
    settings = read_settings(where)
    item = _list(load_lists(settings.rules_dir), name)
    if item.entries_file is None:
        raise UsageError(
            f"{name} has no CSV file", hint=f"add `entries_file: {name}.csv` to {item.sheet.name} and make that file"
        )
    if replace and item.protects and not item.removable:
        raise UsageError(
            f"{name} protects calls: its entries are not replaced by a command",
            hint="import without --replace, or take entries out of the file by hand",
        )
    added, changed, kept = _merge(item, file, replace=replace)
    result = {"list": name, "file": str(item.entries_file), "added": added, "changed": changed, "kept": kept}
    if as_json:
        _write_json(result)
    else:
        click.echo(f"{item.entries_file}: {added:,} added, {changed:,} changed, {kept:,} as before")
        click.echo("    a running engine takes it in a few seconds (engine.watch_rules_s), or when told to reload")


class _Watch:
    """Moves a progress bar on by the bytes that are read."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._done = 0

    def update(self, data: bytes) -> None:
        """Count ``data``."""
        self._done += len(data)
        self._advance(self._done)


def _merge(item: ListFile, file: Path, *, replace: bool) -> tuple[int, int, int]:
    from antifraud.cli.labelled_events import progress_bar
    from antifraud.rulekit.entries_merge import merge_entries

    assert item.entries_file is not None
    try:
        # The new file is read twice, and what is written is read again; the old one is copied on the way.
        size = file.stat().st_size if file.is_file() else 0
        old = 0 if replace else item.entries_file.stat().st_size
        with progress_bar(f"importing {file.name}", 3 * size + 2 * old) as advance:
            return merge_entries(item, file, replace=replace, watch=_Watch(advance) if advance is not None else None)
    except OSError as error:
        raise UsageError(f"{item.entries_file} cannot be written: {error.strerror or error}") from None


# What is asked


def _list(found: Mapping[str, ListFile], name: str) -> ListFile:
    if name not in found:
        from antifraud.rulekit.messages import did_you_mean

        raise UsageError(f"there is no list {name}", hint=did_you_mean(name, found))
    return found[name]


def _normalised(number: str, settings: Settings) -> str:
    """The number as calls carry it."""
    plain = "".join(char for char in number if char not in " ()\u00a0-")
    if plain[:1] == "+" and plain[1:].isdecimal() and plain.isascii():
        return plain
    facts = build_numbering(settings, warm=False).facts(number[:128])
    if not facts.number or facts.kind == "alphanumeric":
        raise UsageError(f"{number!r} is no number", hint="write it in full with +, or as it is dialled here")
    return facts.number


def _moment(text: str) -> float:
    if not text:
        return time.time()
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(f"--at {text} is no time", hint="write it with its offset: 2027-06-30T18:00:00+05:00")
    return moment.timestamp()


def _refused_as_usage(check: Any) -> Any:
    try:
        return check()
    except EventError as error:
        raise UsageError(error.detail) from None


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("nobody is named", hint="say who asks with --who") from None


# Showing


def _say_unknown(run_time: RunTime) -> None:
    if run_time.unknown:
        click.echo(f"run-time entries are not known: {run_time.unknown}", err=True)


def _summary(item: ListFile, amendments: Amendments) -> dict[str, Any]:
    mine = amendments.of(item.name).values()
    return {
        "list": item.name,
        "title": item.title.get("en"),
        "kind": item.kind,
        "protects": list(item.protects),
        "removable": item.removable,
        "owner": item.owner,
        "source": item.source,
        "file": item.sheet.name,
        "entries_file": str(item.entries_file) if item.entries_file is not None else "",
        "entries": len(item.entries),
        "added": sum(not change.removed for change in mine),
        "removed": sum(change.removed for change in mine),
    }


def _found(one: Found, at: float) -> dict[str, Any]:
    return {
        "value": one.plain,
        "until": moment_text(one.ends) if one.ends != float("inf") else None,
        "ended": one.ends <= at,
        "owner": one.owner,
        "source": one.source,
        "note": one.note,
        "file": one.file,
        "line": one.line,
    }


def _words(plain: str, ends: float, at: float) -> str:
    if ends == float("inf"):
        return plain
    return f"{plain} {'ended' if ends <= at else 'until'} {moment_text(ends)}"


def _about(one: Found, item: ListFile) -> str:
    said = [
        text for text, usual in ((one.owner, item.owner), (one.source, item.source), (one.note, "")) if text != usual
    ]
    return f"; {'; '.join(said)}" if said else ""


def _change_words(change: Amendment, at: float) -> str:
    value = f"{change.value} taken out" if change.removed else f"{_words(change.value, change.ends, at)} added"
    return f"{value} by {change.who} on {moment_text(change.at)}: {change.why}"


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _write_json(content: object) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))
