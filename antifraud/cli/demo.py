"""``antifraud demo``: a private Redis, the engine, the SIP redirect server, and a simulated country calling through it.

Every simulated call is a real SIP INVITE over UDP to the redirect server on the loopback interface; the verdict is
read from the SIP answer. What the simulator knows (which calls are fraud) is shown beside the verdicts and is never
given to the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from antifraud.cli.assembly import read_settings, settings_options
from antifraud.cli.extensions import load_extension
from antifraud.cli.processes import serve, until
from antifraud.cli.supervisor import Part, Supervisor
from antifraud.domain import CallAnswer, CallEvent, Decision, EventError, EventKind, PlacedCall, QueueError
from antifraud.queues import REDIS_ERRORS, CallLog, EmbeddedRedis, Keys, check_cancelled, connect, decode_decision

_STYLES: Final = {
    "block": "bold red",
    "divert": "bold magenta",
    "challenge": "yellow",
    "label": "yellow",
    "allow": "green",
}
_ORDER: Final = ("block", "divert", "challenge", "label", "allow")
_STOPPED: Final = ("block", "divert")
_MAX_OPEN: Final = 2_000


class Tally:
    """What happened so far, by verdict and truth, with the newest interceptions."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.fraud: Counter[str] = Counter()
        self.honest: Counter[str] = Counter()
        self.emergency = 0
        self.emergency_touched = 0
        self.unanswered = 0
        self.seconds: deque[float] = deque(maxlen=5_000)
        self.finished: deque[float] = deque(maxlen=5_000)
        self.last: deque[tuple[Decision, str]] = deque(maxlen=8)
        self.decided = 0
        self.truth: dict[str, str] = {}
        self.full_fraud = 0
        self.full_honest = 0

    def answered(self, fraud: bool, answer: CallAnswer) -> None:
        """One call has its verdict."""
        (self.fraud if fraud else self.honest)[answer.verdict] += 1
        self.seconds.append(answer.seconds)
        self.finished.append(time.monotonic())

    @property
    def calls(self) -> int:
        """Calls that have their verdict."""
        return self.fraud.total() + self.honest.total()

    def rate(self) -> float:
        """Calls a second over the last five seconds."""
        now = time.monotonic()
        span = min(5.0, max(0.5, now - self.started))
        return sum(1 for at in self.finished if at > now - span) / span

    def latency_ms(self, share: float) -> float:
        """The latency below which ``share`` of the newest calls got their verdict, milliseconds."""
        if not self.seconds:
            return 0.0
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@click.command()
@settings_options
@click.option(
    "--seconds", type=click.FloatRange(1, 86_400), default=None, help="End after this time (default: Ctrl-C)."
)
@click.option("--rate", type=click.FloatRange(1, 1000), default=60.0, show_default=True, help="Calls a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which country is simulated.")
@click.option(
    "--warm-up", type=click.FloatRange(0, 240), default=12.0, show_default=True, help="Minutes of past traffic."
)
def demo(seconds: float | None, rate: float, seed: int, warm_up: float, **where: Any) -> None:
    """See calls being intercepted: simulated national traffic through a real SIP redirect server and the engine."""
    settings = read_settings(where)
    directory = Path(tempfile.mkdtemp(prefix="antifraud-"))
    console = Console(highlight=False)
    tally = Tally()
    try:
        with contextlib.ExitStack() as stack:
            url = settings.redis.url
            if not where.get("redis"):
                url = stack.enter_context(EmbeddedRedis(directory / "r")).url
            passed = [
                f"--{key.replace('_dir', '')}={value}" for key, value in where.items() if value and key != "redis"
            ]
            passed.append(f"--redis={url}")

            async def part(stop: asyncio.Event) -> None:
                run = _Run(console, tally, settings, url, passed, directory)
                await until(stop, run.go(stop, seconds=seconds, rate=rate, seed=seed, warm_up_s=warm_up * 60))

            serve(part)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    _summary(console, tally)


class _Run:
    """One demonstration."""

    def __init__(
        self, console: Console, tally: Tally, settings: Any, url: str, passed: list[str], directory: Path
    ) -> None:
        self._console = console
        self._tally = tally
        self._settings = settings
        self._url = url
        self._passed = passed
        self._directory = directory
        self._redis = connect(url, name="antifraud-demo")
        self._log = CallLog(self._redis, settings.shard)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped_calls: dict[str, None] = {}

    async def go(self, stop: asyncio.Event, *, seconds: float | None, rate: float, seed: int, warm_up_s: float) -> None:
        say = self._console.print
        try:
            async with Supervisor() as supervisor:
                say("starting the engine (the first start compiles its kernels, up to a minute) …")
                snapshots = f"--snapshots={self._directory / 's'}"
                # A few minutes of traffic are all that this engine will ever know; it is to show what it would do then.
                known = {"ANTIFRAUD_ENGINE_WARM_UP_S": os.environ.get("ANTIFRAUD_ENGINE_WARM_UP_S", "0")}
                log = str(self._directory / "engine.log")
                await supervisor.start(Part("engine", ["engine", *self._passed, snapshots], log, known))
                address = await supervisor.start(
                    Part(
                        "redirect server",
                        [
                            "adapter",
                            "redirect",
                            *self._passed,
                            "--set",
                            "listen=127.0.0.1:0",
                            "--set",
                            "trusted_headers=true",
                        ],
                        str(self._directory / "redirect.log"),
                    )
                )
                say(f"SIP redirect server listens on [bold]{address}[/bold] (udp)")
                place = await load_extension("antifraud.callers", "redirect").open(address)
                from antifraud.simulator import simulate

                start = time.time() - warm_up_s
                traffic = iter(simulate("demo", seed, calls=50_000_000, start_ts=start, rate=rate))
                first = await self._preload(traffic, time.time())
                self._tally.started = time.monotonic()
                ending = asyncio.get_running_loop().time() + seconds if seconds is not None else None
                watch = asyncio.create_task(self._watch_decisions())
                view = asyncio.create_task(self._view(stop, ending))
                drive = asyncio.create_task(self._drive(first, traffic, place))
                try:
                    await asyncio.wait({view, drive}, return_when=asyncio.FIRST_COMPLETED)
                    for task in (view, drive):
                        if task.done():
                            task.result()
                finally:
                    drive.cancel()
                    await asyncio.gather(drive, return_exceptions=True)
                    if self._tasks:
                        await asyncio.wait(self._tasks, timeout=2)
                    for task in (watch, view):
                        task.cancel()
                    await asyncio.gather(watch, view, return_exceptions=True)
        finally:
            await self._redis.aclose()

    async def _preload(self, traffic: Iterator[Any], until: float) -> Any:
        """Append the past to the log, so that the windows know the country; the first event of the present."""
        batch: list[CallEvent] = []
        total = 0
        for item in traffic:
            if item.event.ts >= until:
                break
            batch.append(item.event)
            if len(batch) == 1000:
                await self._log.append(batch)
                total += len(batch)
                batch = []
        else:
            raise QueueError("the simulator ended before the present")
        await self._log.append(batch)
        total += len(batch)
        self._console.print(f"{total:,} events of past traffic appended; the engine folds them …")
        keys = Keys(self._settings.shard)
        while True:
            check_cancelled()
            last = await self._redis.xrevrange(keys.calls, count=1)
            position = await self._redis.hget(keys.position, "id")
            if not last or position == last[0][0]:
                return item
            await asyncio.sleep(0.1)

    async def _drive(self, first: Any, traffic: Iterator[Any], place: Callable[[PlacedCall], Any]) -> None:
        # The simulator's present began while the past was being folded; play on from now without a gap.
        shift = time.time() - first.event.ts
        async for item in _paced(first, traffic, shift):
            check_cancelled()
            event = _shifted(item.event, shift)
            if event.kind is EventKind.SETUP:
                if len(self._tasks) >= _MAX_OPEN:
                    self._tally.unanswered += 1
                    continue
                task = asyncio.create_task(self._place(event, item.truth, place))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif event.call_id not in self._stopped_calls:
                with contextlib.suppress(QueueError):
                    await self._log.append([event])

    async def _place(self, event: CallEvent, truth: Any, place: Callable[[PlacedCall], Any]) -> None:
        self._tally.truth[event.call_id] = (truth.scenario or "fraud") if truth.fraud else ""
        try:
            answer: CallAnswer = await place(PlacedCall(event))
        except (TimeoutError, OSError):
            self._tally.unanswered += 1
            return
        self._tally.answered(truth.fraud, answer)
        if answer.verdict in _STOPPED:
            self._stopped_calls[event.call_id] = None
            while len(self._stopped_calls) > 100_000:
                del self._stopped_calls[next(iter(self._stopped_calls))]

    async def _watch_decisions(self) -> None:
        """Read why calls were intercepted from the decisions stream, as the console of a real operator would."""
        keys = Keys(self._settings.shard)
        reader = connect(self._url, name="antifraud-demo-view")
        place = "$"
        try:
            while True:
                check_cancelled()
                try:
                    found: Any = await reader.xread({keys.decisions: place}, count=500, block=500)
                except REDIS_ERRORS:
                    await asyncio.sleep(0.5)
                    continue
                for _stream, entries in found or ():
                    for entry_id, fields in entries:
                        place = entry_id
                        with contextlib.suppress(EventError):
                            self._note(decode_decision(fields))
        finally:
            await reader.aclose()

    def _note(self, decision: Decision) -> None:
        tally = self._tally
        tally.decided += 1
        if decision.protected and any(reason.by in ("protect", "rule:emergency") for reason in decision.reasons):
            tally.emergency += 1
            tally.emergency_touched += decision.verdict != "allow"
        truth = tally.truth.pop(decision.call_id, None)
        if truth is not None and decision.full_verdict in _STOPPED:
            if truth:
                tally.full_fraud += 1
            else:
                tally.full_honest += 1
        if truth is not None and decision.verdict != "allow":
            tally.last.appendleft((decision, truth))

    async def _view(self, stop: asyncio.Event, ending: float | None) -> None:
        loop = asyncio.get_running_loop()

        def over() -> bool:
            return stop.is_set() or (ending is not None and loop.time() >= ending)

        if self._console.is_terminal:
            with Live(console=self._console, refresh_per_second=4, transient=True) as live:
                while not over():
                    live.update(self._screen(ending))
                    await asyncio.sleep(0.25)
            return
        while not over():
            with contextlib.suppress(TimeoutError):
                left = 5.0 if ending is None else max(0.0, min(5.0, ending - loop.time()))
                await asyncio.wait_for(stop.wait(), left)
            counts = self._tally.fraud + self._tally.honest
            verdicts = "  ".join(f"{verdict} {counts[verdict]}" for verdict in _ORDER if counts[verdict])
            self._console.print(
                f"{self._tally.rate():.0f} calls/s  {verdicts}  "
                f"p50 {self._tally.latency_ms(0.5):.1f} ms  p99 {self._tally.latency_ms(0.99):.1f} ms",
                soft_wrap=True,
            )
            for decision, truth in list(self._tally.last)[:1]:
                self._console.print(f"    {_line(decision, truth)}", soft_wrap=True, markup=False)

    def _screen(self, ending: float | None) -> Group:
        tally = self._tally
        counts = tally.fraud + tally.honest
        left = "" if ending is None else f"   {max(0, ending - asyncio.get_running_loop().time()):.0f} s left"
        head = Text.assemble(
            (f"{tally.rate():5.0f} calls/s", "bold"), f"   {tally.calls:,} calls   verdict after p50 ",
            (f"{tally.latency_ms(0.5):.1f} ms", "bold"), "  p99 ", (f"{tally.latency_ms(0.99):.1f} ms", "bold"), left,
        )  # fmt: skip
        verdicts = Table.grid(padding=(0, 3))
        verdicts.add_row(*(Text(f"{verdict} {counts[verdict]:,}", _STYLES[verdict]) for verdict in _ORDER))
        last = Table(expand=True, box=None, pad_edge=False)
        for title, width in (
            ("verdict", 9),
            ("region", 6),
            ("caller", 16),
            ("callee", 16),
            ("why", None),
            ("in truth", 14),
        ):
            last.add_column(title, width=width, no_wrap=title != "why", overflow="ellipsis")
        for decision, truth in tally.last:
            last.add_row(
                Text(decision.verdict, _STYLES.get(decision.verdict, "")), decision.region, decision.caller,
                decision.callee, decision.reason, Text(truth or "honest", "dim" if truth else "bold cyan"),
            )  # fmt: skip
        return Group(
            Panel(Group(head, Text(""), verdicts), title="antifraud demo", subtitle="simulated traffic · Ctrl-C ends"),
            Panel(last, title="last interceptions"),
        )


def _line(decision: Decision, truth: str) -> str:
    parties = f"{decision.caller or 'anonymous'} → {decision.callee}"
    return f"{decision.verdict} {decision.region} {parties}: {decision.reason} [in truth: {truth or 'honest'}]"


async def _paced(first: Any, traffic: Iterator[Any], shift: float) -> AsyncIterator[Any]:
    """The items of ``traffic``, each when its (shifted) time has come."""
    item = first
    while True:
        wait = item.event.ts + shift - time.time()
        if wait > 0.002:
            await asyncio.sleep(wait)
        else:
            await asyncio.sleep(0)
        yield item
        following = next(traffic, None)
        if following is None:
            return
        item = following


def _shifted(event: CallEvent, shift: float) -> CallEvent:
    import msgspec

    return msgspec.structs.replace(event, ts=event.ts + shift)


def _summary(console: Console, tally: Tally) -> None:
    table = Table(title="verdicts and truth", title_justify="left")
    table.add_column("verdict")
    for title in ("calls", "fraud in truth", "honest in truth"):
        table.add_column(title, justify="right")
    for verdict in _ORDER:
        fraud, honest = tally.fraud[verdict], tally.honest[verdict]
        if fraud or honest:
            table.add_row(Text(verdict, _STYLES[verdict]), f"{fraud + honest:,}", f"{fraud:,}", f"{honest:,}")
    table.add_section()
    table.add_row("all", f"{tally.calls:,}", f"{tally.fraud.total():,}", f"{tally.honest.total():,}")
    console.print()
    console.print(table)
    elapsed = max(0.001, time.monotonic() - tally.started)
    stopped_fraud = sum(tally.fraud[verdict] for verdict in _STOPPED)
    stopped_honest = sum(tally.honest[verdict] for verdict in _STOPPED)
    fraud, honest = tally.fraud.total(), tally.honest.total()
    rate = tally.calls / elapsed
    console.print(f"{tally.calls:,} calls in {elapsed:.0f} s ({rate:.0f}/s), {tally.unanswered} without an answer")
    console.print(f"verdict after: p50 {tally.latency_ms(0.5):.1f} ms, p99 {tally.latency_ms(0.99):.1f} ms")
    if fraud:
        console.print(f"fraud calls stopped: {stopped_fraud:,} of {fraud:,} ({stopped_fraud / fraud:.0%})")
    if honest:
        console.print(f"honest calls stopped: {stopped_honest:,} of {honest:,} ({stopped_honest / honest:.3%})")
    full = f"{tally.full_fraud:,} fraud calls and {tally.full_honest:,} honest ones"
    console.print(f"with every region at full enforcement it would have stopped {full}", soft_wrap=True)
    console.print(f"emergency calls: {tally.emergency:,}, touched: {tally.emergency_touched}")
    console.print(
        "the traffic is simulated; each region does only what its ceiling in config/regions/ allows so far", style="dim"
    )
    sys.stdout.flush()
