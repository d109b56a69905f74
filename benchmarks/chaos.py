"""What calls see while parts of the chain fail under load: engine, Redis, Kamailio, clock, desk.

    python -m benchmarks.chaos --rate 300 --mode async

A real Kamailio with block list and dialogs, its agent, the engine, Redis with its log on disk, and SIPp as load. Beside
the load one caller after another is measured: calls that a rule blocks, calls that are diverted, and calls to the
rescue service. Each failure lasts a few seconds; then the next one comes. Numbers are blocked and cleared all the
while; at the end the list in the switch is compared with the register, and every command with its outcomes. JSON on
standard output; exit code 1 when a call waited longer than its deadline and 50 ms while Kamailio ran, an emergency call
did not pass, a call that found no desk did not go on with a label, the lists differ, a command has no outcome, or the
clock could not be stepped (Debian's libfaketime is not there).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from antifraud.queues import Keys
from antifraud.queues.commands import BlockRequest, decode_block, decode_outcome, encode_request
from benchmarks.kamailio import KINDS, LABELLED, SWITCH, numbers, quantiles, uas
from sip_adapters.switches.kamailio import KamailioSwitch
from tests.e2e.processes import ROOT, SHARD, Kamailio, Process, RedisServer, SipClient, free_port, program
from tests.engine_process import EngineProcess

DEADLINE_MS: Final = 150
TOLERATED_MS: Final = DEADLINE_MS + 50
DESK_MS: Final = 600
"""How long the switch lets a desk say nothing before the call goes on to the callee."""
SCANNER: Final = {b"User-Agent": b"friendly-scanner"}
FOREIGN, FORGED = b"<sip:+44207946%04d@example.test>", b"<sip:+77172599%03d@example.test>"
LIBRARY: Final = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
UAC: Final = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="load">
  <send retrans="500"><![CDATA[
      INVITE sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:[field1]@example.test>;tag=[pid]-[call_number]
      To: <sip:[field0]@example.test>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:sipp@[local_ip]:[local_port]>
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="608" optional="true" next="1"/>
  <recv response="480" optional="true" next="1"/>
  <recv response="484" optional="true" next="1"/>
  <recv response="486"/>
  <label id="1"/>
  <send><![CDATA[
      ACK sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-1]
      From: <sip:[field1]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
</scenario>
"""


class Prober(threading.Thread):
    """Places calls one after another: (when it began, seconds, status); status 0 is no answer within two seconds."""

    def __init__(self, port: int, callee: bytes, caller: bytes, headers: dict[bytes, bytes]) -> None:
        super().__init__(daemon=True)
        self._port, self._callee, self._caller, self._headers = port, callee, caller, headers
        self.stopped = threading.Event()
        self.found: list[tuple[float, float, int]] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            with SipClient(self._port) as client:
                begun = time.monotonic()
                caller = self._caller % (len(self.found) % 1_000)
                try:
                    answer = client.invite(self._callee, from_=caller, headers=self._headers, seconds=2.0)
                    self.found.append((begun, answer.seconds, answer.status))
                except (AssertionError, OSError):
                    self.found.append((begun, 2.0, 0))
            time.sleep(0.01)

    def during(self, begun: float, ended: float) -> tuple[list[float], Counter[int]]:
        """Milliseconds and answers of the calls that began in this time."""
        calls = [(seconds * 1000, status) for t, seconds, status in self.found if begun <= t < ended]
        return [ms for ms, _ in calls], Counter(status for _, status in calls)


def configuration(directory: Path, desk: int) -> Path:
    """The shipped configuration with a desk at port ``desk`` that takes as many as it says; others get a label."""
    shutil.copytree(ROOT / "config", directory / "config")
    default = directory / "config" / "default.yaml"
    text = default.read_text(encoding="utf-8")
    desks = f'\ndesks:\n  one: {{target: "sip:desk@127.0.0.1:{desk}"}}\n'
    assert "\ndesks: {}\n" in text
    default.write_text(text.replace("\ndesks: {}\n", desks), encoding="utf-8")
    (directory / "config" / "regions" / "KZ-75.yaml").write_text(
        "name: {en: Almaty, ru: Алматы, kk: Алматы}\n"
        "policy: {ceiling: block, desk: {queues: [one], overflow: label}}\n",
        encoding="utf-8",
    )
    return directory / "config"


class DurableRedis(RedisServer):
    """A Redis that keeps its log on disk, so that it comes back with what it had."""

    def start(self) -> DurableRedis:
        command = [
            program("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket),
            "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--dir", str(self._directory),
        ]  # fmt: skip
        self._process = Process("redis", command, self._directory)
        end = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > end:
                raise RuntimeError("Redis does not start")
            time.sleep(0.02)
        return self


class Chain:
    """Everything real, in one directory; each part can be made to fail."""

    def __init__(self, stack: ExitStack, directory: Path, mode: str) -> None:
        self.directory, self.stack = directory, stack
        hop, hop_port = uas(directory, 486)
        desk, desk_port = uas(directory, 480)
        stack.callback(hop.stop)
        stack.callback(desk.stop, signal.SIGKILL)
        self.desk = desk
        self.redis = DurableRedis(directory).start()
        stack.callback(self.redis.stop)
        self.config = configuration(directory, desk_port)
        self.clock = directory / "clock"
        self.clock.write_text("+0")
        self.rpc = directory / "rpc.sock"
        defines = {
            **SWITCH, "ANTIFRAUD_DEADLINE_MS": str(DEADLINE_MS), "ANTIFRAUD_BLOCKLIST": "1", "ANTIFRAUD_DIALOGS": "1",
            "ANTIFRAUD_DESK_MS": str(DESK_MS), "ANTIFRAUD_RPC_SOCKET": f'"{self.rpc}"',
            **({"ANTIFRAUD_ASYNC": "1"} if mode == "async" else {}),
        }  # fmt: skip
        # Kamailio alone has the clock that is stepped.
        environment = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1"}
        self.stepping = Path(LIBRARY).exists()
        self.switch = Kamailio(directory, f"addr=127.0.0.1;port={self.redis.port}", hop_port, defines)
        if self.stepping:
            os.environ.update({**environment, "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        try:
            self.switch.start()
        finally:
            for name in (*environment, "FAKETIME_DONT_FAKE_MONOTONIC"):
                os.environ.pop(name, None)
        stack.callback(self.switch.stop)
        self.engine = self._engine()
        command = [
            sys.executable, "-m", "antifraud.cli", "agent", "kamailio", "--switch=sw-kz-75",
            f"--redis={self.redis.url}", f"--config={self.config}", f"--set=socket={self.rpc}", "--set=lease_s=1",
        ]  # fmt: skip
        self.agent = Process("agent", command, directory)
        stack.callback(self.agent.stop)

    def _engine(self) -> EngineProcess:
        engine = EngineProcess(self.redis.url, self.directory, "--model=none", f"--config={self.config}")
        engine.start(wait=False)
        self.stack.callback(engine.stop)
        return engine

    def kill_engine(self) -> None:
        self.engine.kill()

    def start_engine(self) -> None:
        self.engine = self._engine()

    def step_clock(self, by: str) -> None:
        self.clock.write_text(by)

    def desk_has(self, free: int) -> None:
        """The desk says how many people are free."""
        with self.redis.client() as client:
            client.xadd(Keys(SHARD).desk_state, {"desk": "one", "free": str(free)})


def requests(chain: Chain, stop: threading.Event, asked: list[int]) -> None:
    """Block and clear numbers, five a second, as long as Redis takes the requests."""
    keys = Keys(SHARD)
    number = 0
    while not stop.is_set():
        number += 1
        op = "unblock" if number % 40 < 12 and number > 60 else "block"
        subject = f"+4420794{number % 40:05d}"
        until = time.time() + 3600 if op == "block" else 0.0
        try:
            with chain.redis.client() as client:
                entry: Any = encode_request(BlockRequest(op, "a.analyst", "chaos", subject, until))
                client.xadd(keys.block_requests, entry)
            asked.append(number)
        except Exception:  # noqa: BLE001 - Redis is away: that is the point
            pass
        stop.wait(0.2)


async def listed(path: Path) -> dict[str, float]:
    port = KamailioSwitch(str(path))
    try:
        return {number: until async for number, until in port.listed()}
    finally:
        await port.close()


def main() -> int:
    """Run the failures one after another and print what calls saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--mode", choices=("sync", "async"), default="async")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds that a failure lasts")
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="antifraud-chaos-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, True)
        chain = Chain(stack, directory, asked.mode)
        time.sleep(8)
        work = directory / "load"
        work.mkdir()
        (work / "uac.xml").write_text(UAC)
        rows = [
            f"{called};{calling};"
            for kind in ("allow", "label", "divert")
            for called, calling in numbers(kind, 5_000, 31 * len(KINDS[kind][0]))
        ]
        (work / "numbers.csv").write_text("RANDOM\n" + "\n".join(rows) + "\n")
        load = Process(
            "load",
            [
                program("sipp"), f"127.0.0.1:{chain.switch.port}", "-sf", "uac.xml", "-inf", "numbers.csv", "-i",
                "127.0.0.1", "-p", str(free_port()), "-cp", str(free_port()), "-r", str(asked.rate), "-l", "20000",
                "-nostdin", "-buff_size", "4194304",
            ],
            work,
        )  # fmt: skip
        stack.callback(load.stop, signal.SIGKILL)
        stop, entries = threading.Event(), []  # type: ignore[var-annotated]
        asking = threading.Thread(target=requests, args=(chain, stop, entries), daemon=True)
        asking.start()
        port = chain.switch.port
        probes = [Prober(port, b"77000000002", FOREIGN, SCANNER) for _ in range(3)]
        diverted, rescue = Prober(port, b"77000000002", FORGED, {}), Prober(port, b"112", FOREIGN, SCANNER)
        for one in (*probes, diverted, rescue):
            one.start()
        moments: list[tuple[str, float, float]] = []

        def during(name: str, begin: Callable[[], None], end: Callable[[], None], seconds: float = asked.pause) -> None:
            begun = time.monotonic()
            begin()
            time.sleep(seconds)
            end()
            moments.append((name, begun, time.monotonic()))
            print(name, file=sys.stderr)
            time.sleep(4)

        nothing = lambda: None  # noqa: E731
        during("nothing", nothing, nothing)
        during("engine killed", chain.kill_engine, nothing)
        during("engine starting", chain.start_engine, nothing, 8)
        during("redis restarted", chain.redis.kill, lambda: chain.redis.start() and None, 1.0)
        during("after redis", nothing, nothing)
        paused = chain.redis.paused()
        during("redis paused", paused.__enter__, lambda: paused.__exit__(None, None, None) and None)
        during("after the pause", nothing, nothing)
        if chain.stepping:
            during("clock an hour ahead", lambda: chain.step_clock("+3600"), lambda: chain.step_clock("+0"))
            during("clock an hour back", lambda: chain.step_clock("-3600"), lambda: chain.step_clock("+0"))
        during("desk full", lambda: chain.desk_has(0), lambda: chain.desk_has(90_000))
        during("desk gone", lambda: chain.desk.send(signal.SIGSTOP), lambda: chain.desk.send(signal.SIGCONT))
        during("after the desk", nothing, nothing)
        during("kamailio restarted", chain.switch.stop, lambda: chain.switch.start() and None, 1.0)
        during("after kamailio", nothing, nothing, 8)
        stop.set()
        asking.join()
        for one in (*probes, diverted, rescue):
            one.stopped.set()
            one.join(5)
        load.stop(signal.SIGKILL)
        time.sleep(8)
        keys = Keys(SHARD)
        with chain.redis.client() as client:
            register = [decode_block(raw) for raw in client.hvals(keys.blocks)]
            outcomes: Any = client.xrange(keys.outcomes)
            results = [decode_outcome(fields) for _, fields in outcomes]
            commands = client.xlen(keys.commands("sw-kz-75"))
            pending: Any = client.xpending(keys.commands("sw-kz-75"), "agent")
        wanted = {one.number for one in register if one.state == "blocked" and one.holds(time.time())}
        held = set(asyncio.run(listed(chain.rpc)))
        rows_out = {}
        held_up = lost = astray = 0
        for name, begun, ended in moments:
            spent, answers = [], Counter()  # type: ignore[var-annotated]
            for one in probes:
                ms, statuses = one.during(begun, ended)
                spent += ms
                answers += statuses
            rescue_ms, rescued = rescue.during(begun, ended)
            # What was under way when the desk came or went may have seen either.
            desk_ms, at_desk = diverted.during(begun + 0.5, ended - 0.5)
            late = sum(1 for ms in spent if ms > TOLERATED_MS)
            if name != "kamailio restarted":  # while Kamailio itself is away nobody answers; SIP repeats the INVITE
                held_up += late
                lost += sum(count for status, count in rescued.items() if status != 486)
            if name in ("desk full", "desk gone"):
                most = TOLERATED_MS + (DESK_MS if name == "desk gone" else 0)
                astray += sum(count for status, count in at_desk.items() if status != LABELLED)
                held_up += sum(1 for ms in desk_ms if ms > most)
            rows_out[name] = {
                "ms": quantiles(spent), "status": dict(answers), "over_deadline_and_50_ms": late,
                "emergency_ms": quantiles(rescue_ms), "emergency_status": dict(rescued),
                "diverted_ms": quantiles(desk_ms), "diverted_status": dict(at_desk),
            }  # fmt: skip
        finals = Counter(one.id for one in results if one.result in ("done", "superseded", "expired"))
        result = {
            "benchmark": "chaos", "mode": asked.mode, "rate": asked.rate, "load": os.getloadavg()[0],
            "moments": rows_out, "held_up": held_up, "emergency_calls_lost": lost, "found_no_desk_and_no_label": astray,
            "requests": len(entries), "register_blocked": len(wanted), "switch_blocks": len(held),
            "only_in_register": len(wanted - held), "only_in_switch": len(held - wanted),
            "commands": commands, "outcomes": dict(Counter(one.result for one in results)),
            "commands_with_an_outcome": len(finals), "pending": pending["pending"],
        }  # fmt: skip
        print(json.dumps(result, indent=1))
        unfinished = len(finals) != commands or pending["pending"] > 0
        return int(bool(held_up or lost or astray or wanted != held or unfinished or not chain.stepping))


if __name__ == "__main__":
    sys.exit(main())
