"""``antifraud blocks``: which numbers are blocked or cleared, by whom and why, and what the switches made of it.

The commands ask the engine through the stream of requests and read what came of it: the register, the quarantine for
what was refused, and the outcomes that the switches' agents report.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from antifraud.cli.assembly import build_numbering, read_settings, settings_options
from antifraud.cli.run_time_lists import moment_text, redis_url
from antifraud.domain import EventError, QueueError, UsageError

if TYPE_CHECKING:
    from antifraud.numbering import NumberFacts, Numbering
    from antifraud.queues import Keys
    from antifraud.queues.commands import Block, BlockRequest
    from antifraud.settings import Settings

_SHOWN: Final = 20
_WAIT_S: Final = 5.0
_AT_ONCE: Final = 1_000
_BEFORE_S: Final = 60.0
"""How much earlier than the engine's clock an outcome's entry may look: outcomes are searched back to there."""
_MOST_DIGITS: Final = 15  # ITU-T E.164, 6.2.1
_BY_RULE: Final = "a rule stops calls that show such things: it reads {}"
Found = TypeVar("Found")


class AtSwitch(msgspec.Struct, frozen=True):
    """What one switch made of a command. ``state``: pending, or the result that its agent reported; "no agent" where
    nobody carries commands out: calls there are stopped or freed by the engine's answer alone."""

    switch: str
    state: str
    detail: str = ""
    at: str = ""
    took_s: float = 0.0


class Answer(msgspec.Struct):
    """What the engine made of one request: done, refused or waiting, and where the switches stand with it."""

    subject: str
    op: str
    state: str
    reason: str = ""
    id: str = ""
    switches: list[AtSwitch] = []

    @property
    def everywhere(self) -> bool:
        """Whether it was obeyed at every switch that it concerns and that has an agent."""
        return self.state == "done" and all(item.state in ("done", "no agent") for item in self.switches)


@click.group()
def blocks() -> None:
    """Block calling numbers at the switches, free them again, and see where each of them stands."""


# Looking


@blocks.command("list")
@settings_options
@click.option("--all", "everything", is_flag=True, help=f"Show every number, not only the newest {_SHOWN}.")
@click.option("--cleared", is_flag=True, help="Show those that are cleared instead of those that are blocked.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def list_numbers(everything: bool, cleared: bool, as_json: bool, **where: Any) -> None:
    """Show the numbers that are blocked now, the newest first."""
    settings = read_settings(where)
    wanted = "cleared" if cleared else "blocked"
    now = time.time()
    found = [block for block in _ask(settings, _register) if block.state == wanted and block.holds(now)]
    found.sort(key=lambda block: -block.seq)
    shown = found if everything else found[:_SHOWN]
    if as_json:
        _write_json({"state": wanted, "count": len(found), "numbers": [_as_json(block) for block in shown]})
        return
    for block in shown:
        click.echo(_words(block))
    if len(shown) < len(found):
        click.echo(f"and {len(found) - len(shown):,} more (--all shows them)")
    if not found:
        click.echo(f"no number is {wanted}")


@blocks.command()
@click.argument("number")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def show(number: str, as_json: bool, **where: Any) -> None:
    """Show whether NUMBER is blocked or cleared, since when, until when, by whom and why, and at which switches."""
    settings = read_settings(where)
    plain = _number(number, settings)

    async def look(client: Any, keys: Keys) -> tuple[Block | None, list[AtSwitch]]:
        block = await _one(client, keys, plain)
        return block, await _at_switches(client, keys, block, settings) if block is not None else []

    block, switches = _ask(settings, look)
    if as_json:
        content = {"number": plain, "state": "none"} if block is None else _as_json(block)
        _write_json({**content, "switches": msgspec.to_builtins(switches)})
        return
    if block is None:
        click.echo(f"{plain} is neither blocked nor cleared")
        return
    click.echo(_words(block))
    click.echo(f"  decision {block.decision}" if block.decision else f"  request {block.id}")
    _show_switches(switches)


# Changing


def _asking_options(command: Any) -> Any:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Write what became of it as JSON."),
        click.option("--why", required=True, help="Why, in a sentence; it is kept with the number."),
        click.option("--who", default="", help="Who asks; by default the name that you are logged in with."),
    ):
        command = option(command)
    return command


@blocks.command()
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
@settings_options
@click.option("--until", default="", metavar="DATE", help="The last day of the block (UTC), or a time; default: 24 h.")
@click.option("--region", default="", metavar="REGION", help="Only the switches of this region.")
@_asking_options
def add(numbers: tuple[str, ...], until: str, region: str, who: str, why: str, as_json: bool, **where: Any) -> None:
    """Block calls that show NUMBER, at every switch. Exit code 1: the engine refused it.

    A protected number is never blocked, and a number that was cleared only after `antifraud blocks forget`.
    """
    settings = read_settings(where)
    ends = _until(until)
    numbering = build_numbering(settings, warm=False)
    known = {facts.number: facts for facts in (_facts(text, numbering) for text in numbers)}
    asked = [(plain, {"number": plain, "until": ends, "region": region}) for plain in known]
    answers = _send(settings, "block", asked, who, why, wait_for_switches=False)
    for answer in answers:
        if answer.state != "refused" and doubts(known[answer.subject]):
            click.echo(doubts(known[answer.subject]), err=True)
    _report(answers, "blocked", as_json)


@blocks.command()
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
@settings_options
@click.option("--until", default="", metavar="DATE", help="The last day on which no block holds; default: 30 days.")
@_asking_options
def remove(numbers: tuple[str, ...], until: str, who: str, why: str, as_json: bool, **where: Any) -> None:
    """Free NUMBER everywhere: it is not blocked any more, and no rule blocks it again until it has been clear for long.

    Waits up to five seconds and says at which switches it is out. Exit code 1: not (yet) at all of them.
    """
    settings = read_settings(where)
    ends = _until(until)
    asked = [(plain, {"number": plain, "until": ends}) for plain in _numbers(numbers, settings)]
    answers = _send(settings, "unblock", asked, who, why, wait_for_switches=True)
    _report(answers, "cleared", as_json, everywhere=True)


@blocks.command()
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
@settings_options
@_asking_options
def forget(numbers: tuple[str, ...], who: str, why: str, as_json: bool, **where: Any) -> None:
    """Have NUMBER neither blocked nor cleared: the next rule that hits may block it again."""
    settings = read_settings(where)
    asked = [(plain, {"number": plain}) for plain in _numbers(numbers, settings)]
    _report(_send(settings, "forget", asked, who, why, wait_for_switches=False), "forgotten", as_json)


@blocks.command()
@click.argument("switch", required=False, default="")
@settings_options
@_asking_options
def resync(switch: str, who: str, why: str, as_json: bool, **where: Any) -> None:
    """Have the agent of SWITCH, or of every switch, compare what the switch holds with the register and mend it."""
    settings = read_settings(where)
    asked = [(switch or "all switches", {"switch": switch})]
    _report(_send(settings, "resync", asked, who, why, wait_for_switches=False), "resync asked for", as_json)


def _report(answers: Sequence[Answer], done: str, as_json: bool, *, everywhere: bool = False) -> None:
    bad = [answer for answer in answers if answer.state == "refused" or (everywhere and not answer.everywhere)]
    if as_json:
        _write_json([msgspec.to_builtins(answer) for answer in answers])
    else:
        for answer in answers:
            if answer.state == "done":
                click.echo(f"{answer.subject} {done}")
                _show_switches(answer.switches)
            elif answer.state == "refused":
                click.echo(f"{answer.subject} {click.style('refused', fg='red')}: {answer.reason}", err=True)
            else:
                click.echo(f"{answer.subject}: written down; {answer.reason}", err=everywhere)
    if bad:
        raise SystemExit(1)


# Redis


def _ask(settings: Settings, look: Callable[[Any, Keys], Awaitable[Found]]) -> Found:
    """What ``look`` finds with a client; QueueError where Redis cannot be asked."""
    url = redis_url(settings)
    if not url:
        raise QueueError("no Redis is configured", hint="set REDIS_URL, redis.url in config/ or --redis")

    async def run() -> Found:
        from antifraud.queues import REDIS_ERRORS, Keys, connect, shown_url

        client = connect(url, timeout_s=settings.redis.socket_timeout_s, name="antifraud-blocks")
        try:
            return await look(client, Keys(settings.shard))
        except REDIS_ERRORS as error:
            raise QueueError(f"Redis at {shown_url(url)} does not answer: {error}") from None
        finally:
            await client.aclose()

    return asyncio.run(run())


async def _register(client: Any, keys: Keys) -> list[Block]:
    from antifraud.queues.commands import decode_block

    found: list[Block] = []
    async for _number, raw in client.hscan_iter(keys.blocks, count=_AT_ONCE):
        try:
            found.append(decode_block(raw))
        except EventError:
            continue  # the engine counts what it cannot understand
    return found


async def _one(client: Any, keys: Keys, number: str) -> Block | None:
    from antifraud.queues.commands import decode_block

    raw = await client.hget(keys.blocks, number)
    if raw is None:
        return None
    try:
        return decode_block(raw)
    except EventError as error:
        raise QueueError(f"the register says nothing sensible of {number}: {error.detail}") from None


async def _at_switches(client: Any, keys: Keys, block: Block, settings: Settings) -> list[AtSwitch]:
    """Where every switch that ``block`` concerns stands with it, by the newest outcome of its command."""
    from antifraud.queues.commands import command_id, decode_outcome

    op = "block" if block.state == "blocked" else "unblock"
    concerned = [name for name, its in settings.switches.items() if block.region in ("", its.region)]
    wanted = {command_id(name, op, block.number, block.seq, block.decision): name for name in sorted(concerned)}
    agents = {name.decode("utf-8", "replace") for name in await client.hkeys(keys.agents)} | set(
        settings.document.agents
    )
    states = {name: AtSwitch(name, "pending" if name in agents else "no agent") for name in wanted.values()}
    newest, oldest = "+", f"{max(0, int((block.at - _BEFORE_S) * 1000))}"
    while wanted:
        entries = await client.xrevrange(keys.outcomes, newest, oldest, count=_AT_ONCE)
        for _entry, fields in entries:
            try:
                outcome = decode_outcome(fields)
            except EventError:
                continue
            if wanted.get(outcome.id) == outcome.switch:
                del wanted[outcome.id]
                at = moment_text(outcome.at) if outcome.at else ""
                states[outcome.switch] = AtSwitch(
                    outcome.switch, outcome.result, outcome.detail, at, round(outcome.took_s, 3)
                )
        if len(entries) < _AT_ONCE:
            break
        newest = f"({entries[-1][0].decode()}"
    return list(states.values())


def _send(
    settings: Settings,
    op: str,
    asked: Sequence[tuple[str, Mapping[str, Any]]],
    who: str,
    why: str,
    *,
    wait_for_switches: bool,
) -> list[Answer]:
    from antifraud.queues.commands import BlockRequest, encode_request

    who = who.strip() or _login()
    if not why.strip():
        raise UsageError("--why is empty", hint="say why in a sentence; whoever finds it later wants to know")
    requests = [(subject, BlockRequest(op, who, why.strip(), **fields)) for subject, fields in asked]

    async def run(client: Any, keys: Keys) -> list[Answer]:
        ids: list[tuple[str, BlockRequest, str]] = []
        for subject, request in requests:
            entry = await client.xadd(keys.block_requests, encode_request(request))
            ids.append((subject, request, entry.decode()))
        deadline = time.monotonic() + _WAIT_S
        answers = await _answers(client, keys, ids, deadline)
        if wait_for_switches:
            await _wait_for_switches(client, keys, answers, settings, deadline)
        return answers

    return _ask(settings, run)


async def _answers(
    client: Any, keys: Keys, ids: Sequence[tuple[str, BlockRequest, str]], deadline: float
) -> list[Answer]:
    """What the engine makes of the requests, as far as it does so in time."""
    last = _order(ids[-1][2])
    served = bool(await client.exists(keys.lease))
    reached = (0, 0)
    while served:
        raw = await client.hget(keys.position, "block_requests")
        reached = _order(raw.decode()) if raw else (0, 0)
        if reached >= last or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.02)
    reasons: dict[str, str] = {}
    for _entry, fields in await client.xrevrange(keys.quarantine, count=_AT_ONCE):
        if fields.get(b"source") == b"block_requests":
            # What was refused stands in the quarantine under the id of its entry.
            entry = fields.get(b"raw", b"").partition(b" ")[0].decode("utf-8", "replace")
            reasons[entry] = fields.get(b"detail", b"").decode("utf-8", "replace")
    waiting = "the engine has not answered yet" if served else "no engine serves this shard; the next one obeys it"
    answers = []
    for subject, request, entry in ids:
        state, reason = ("done", "") if reached >= _order(entry) else ("waiting", waiting)
        if entry in reasons:
            state, reason = "refused", reasons[entry]
        answers.append(Answer(subject, request.op, state, reason, entry))
    return answers


async def _wait_for_switches(
    client: Any, keys: Keys, answers: Sequence[Answer], settings: Settings, deadline: float
) -> None:
    while True:
        for answer in answers:
            block = await _one(client, keys, answer.subject) if answer.state == "done" else None
            if block is not None and not (answer.switches and answer.everywhere):
                answer.switches = await _at_switches(client, keys, block, settings)
        if all(answer.everywhere or answer.state != "done" for answer in answers) or time.monotonic() > deadline:
            return
        await asyncio.sleep(0.1)


# What is asked, and showing it


def _numbers(texts: Sequence[str], settings: Settings) -> list[str]:
    return list(dict.fromkeys(_number(text, settings) for text in texts))


def _number(text: str, settings: Settings) -> str:
    """The number as calls carry it."""
    return _facts(text, build_numbering(settings, warm=False)).number


def _facts(text: str, numbering: Numbering) -> NumberFacts:
    """What is known of the number; UsageError when no call ever carries one that a block could meet."""
    from antifraud.queues.commands import is_number

    plain = "".join(char for char in text if char not in " ()\u00a0-")
    facts = numbering.facts(plain[:128])
    if facts.emergency or facts.short:
        what = "an emergency number" if facts.emergency else "a short code"
        raise UsageError(f"{text!r} is {what} and is never blocked", hint="name a subscriber's number in full with +")
    if is_number(facts.number):
        return facts
    if facts.kind == "alphanumeric":
        raise UsageError(f"{text[:40]!r} is a name, and only numbers are blocked", hint=_BY_RULE.format("caller_raw"))
    if facts.kind == "anonymous" and plain:
        raise UsageError(
            f"{text[:40]!r} withholds the number, and only numbers are blocked",
            hint=_BY_RULE.format("caller_anonymous"),
        )
    digits = facts.number.removeprefix("+")
    if len(digits) > _MOST_DIGITS:
        raise UsageError(
            f"{text[:40]!r} has more than {_MOST_DIGITS} digits, and no number that can be blocked has",
            hint=f"check the digits; {_BY_RULE.format('caller_possible')}",
        )
    if facts.kind == "unknown" and plain.startswith("+") and digits:
        raise UsageError(
            f"{text!r} begins with no country's code, or ends right behind it: no call is known by such a number",
            hint=f"check the digits; {_BY_RULE.format('caller_kind')}",
        )
    raise UsageError(
        f"{text!r} is no number that can be blocked", hint="write it in full with +, or as it is dialled here"
    )


def doubts(facts: NumberFacts) -> str:
    """Why it looks as if nobody had this number, as people see it; empty where somebody may have it.

    It is blocked all the same, for calls do show such numbers.
    """
    if facts.valid:
        return ""
    number, whose = facts.number, f"of {facts.country}" if facts.country else "that begins like this"
    what = (
        f"{number} is in no range {f'of {facts.country} ' if facts.country else ''}that is known to be given out"
        if facts.possible
        else f"{number} has {len(number) - 1} digits, and no number {whose} has that length"
    )
    return (
        f"warning: {what}; it is blocked all the same, for forgers show such numbers\n"
        f"    if that was a slip: antifraud blocks forget {number} --why …"
    )


def _until(text: str) -> float:
    from antifraud.rulekit import end_value

    try:
        ends = end_value(text)
    except EventError as error:
        raise UsageError(error.detail) from None
    if ends is not None and ends <= time.time():
        raise UsageError(f"{text} is over already", hint="name a later day, or leave --until out")
    return ends or 0.0


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("nobody is named", hint="say who asks with --who") from None


def _words(block: Block) -> str:
    where = f" in {block.region}" if block.region else ""
    return (
        f"{block.number} {block.state}{where} until {moment_text(block.until)} by {block.by} "
        f"on {moment_text(block.at)}: {block.reason}"
    )


def _show_switches(switches: Sequence[AtSwitch]) -> None:
    colours = {"done": "green", "pending": "yellow", "no agent": "white"}
    for item in switches:
        state = click.style(item.state, fg=colours.get(item.state, "red"))
        detail = f": {item.detail}" if item.detail else ""
        click.echo(f"  {item.switch}  {state}{f' {item.at}' if item.at else ''}{detail}")


def _as_json(block: Block) -> dict[str, Any]:
    return {
        "number": block.number,
        "state": block.state,
        "until": moment_text(block.until, "auto"),
        "region": block.region,
        "by": block.by,
        "reason": block.reason,
        "decision": block.decision,
        "at": moment_text(block.at),
        "seq": block.seq,
        "request": block.id,
    }


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _write_json(content: object) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))
