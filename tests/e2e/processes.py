"""Real components for the end-to-end tests: Redis, Kamailio, SIPp, the engine, and a small SIP client.

Everything listens on loopback, on ports that were free a moment ago, in a directory of its own, and is ended by the
process id that was started. Nothing here decides anything about calls, except ``ScriptedEngine``, which gives the
verdicts that a test dictates.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec
import redis

from antifraud.domain import CallEvent, EventError
from antifraud.queues import Keys, Reply, decode_event, encode_reply

ROOT: Final = Path(__file__).resolve().parents[2]
SWITCH_DIR: Final = ROOT / "sip_adapters" / "switches" / "kamailio"
SCENARIOS: Final = Path(__file__).resolve().parent / "scenarios"
SHARD: Final = "kz"
_SEARCH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    """The path of an installed program; FileNotFoundError when there is none (tests name it in needs(...))."""
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise FileNotFoundError(name)
    return found


def free_port() -> int:
    """A loopback port that is free for TCP and UDP at the moment."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on loopback")


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Poll ``ready`` until it is true; AssertionError naming ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.02)


class Process:
    """One child process with its output in a file, ended by its own id."""

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, seconds: float) -> int:
        """The exit code, once the process has ended by itself."""
        return self._popen.wait(seconds)

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; kill it when it does not go within ten seconds."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(10)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class RedisServer:
    """A real redis-server on TCP and on a socket file that can be paused, killed and started again in place.

    ``acl`` are lines of an ACL file; with them the default user is off and the tests themselves are user ``admin``.
    """

    def __init__(self, directory: Path, acl: Sequence[str] = ()) -> None:
        self._directory = directory
        self._acl = acl
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self._process: Process | None = None

    def start(self) -> Self:
        command = [
            program("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port),
            "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no", "--dir", str(self._directory),
        ]  # fmt: skip
        if self._acl:
            acl_file = self._directory / "users.acl"
            lines = ["user default off", "user admin on nopass ~* &* +@all", *self._acl]
            acl_file.write_text("".join(f"{line}\n" for line in lines))
            command += ["--aclfile", str(acl_file)]
        self._process = Process("redis", command, self._directory)
        try:
            wait_until(self._answers, "redis-server")
        except BaseException:
            self._process.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        user, password = ("admin", "any") if self._acl else (None, None)
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5.0, username=user, password=password)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hanging: connections are accepted by the kernel and never answered."""
        assert self._process is not None
        self._process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.stop(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def calls(self) -> list[CallEvent]:
        """Every event in the log, oldest first."""
        with self.client() as client:
            return [decode_event(fields) for _, fields in client.xrange(Keys(SHARD).calls)]

    def command_counts(self) -> dict[str, int]:
        """How often each command was run since the start or the last ``config_resetstat``."""
        with self.client() as client:
            stats = client.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(entry["calls"]) for name, entry in stats.items()}


class Kamailio:
    """A real Kamailio in the foreground, running example.cfg with the given ``#!define``s."""

    def __init__(
        self,
        directory: Path,
        redis_server: str,
        next_hop: int,
        defines: Mapping[str, str] | None = None,
        clock: Path | None = None,
        own: str = "",
    ) -> None:
        """``clock`` is a file that says how far its clock is from ours ("+3600"), and may be written any time; ``own``
        is configuration of the operator's, behind that of example.cfg."""
        self._directory = directory
        self._clock = clock
        self._config = SWITCH_DIR / "example.cfg"
        if own:
            self._config = directory / "own.cfg"
            self._config.write_text(f'#!KAMAILIO\ninclude_file "{SWITCH_DIR / "example.cfg"}"\n{own}')
        self.port = free_port()
        self.defines = {
            "LISTEN": f"udp:127.0.0.1:{self.port}",
            "NEXT_HOP": f'"sip:127.0.0.1:{next_hop}"',
            "ANTIFRAUD_REDIS": f'"name=antifraud;{redis_server}"',
            **(defines or {}),
        }
        self._process: Process | None = None

    def start(self) -> Self:
        run = self._directory / "kamailio-run"
        run.mkdir(exist_ok=True)
        command = [
            program("kamailio"), "-f", str(self._config), "-DD", "-E", "-m", "256", "-M", "4",
            "-Y", str(run), "-w", str(run),
        ]  # fmt: skip
        for name, value in self.defines.items():
            command += ["-A", f"{name}={value}"]
        self._process = Process("kamailio", command, self._directory, self._stepped())
        try:
            wait_until(self._answers, "kamailio")
        except BaseException:
            self._process.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _stepped(self) -> dict[str, str]:
        if self._clock is None:
            return {}
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.running, self._process.output()[-3000:]
        with SipClient(self.port) as client:
            return client.options(seconds=0.3) == 200

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def output(self) -> str:
        assert self._process is not None
        return self._process.output()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running


class SipResponse(NamedTuple):
    """A final response: status, phrase, headers as (name, value) bytes, and the seconds from INVITE to it."""

    status: int
    phrase: str
    headers: tuple[tuple[str, bytes], ...]
    seconds: float

    def header(self, name: str) -> str | None:
        for found, value in self.headers:
            if found.lower() == name.lower():
                return value.decode("utf-8", "surrogateescape")
        return None


class SipClient:
    """Sends raw INVITEs over UDP, byte for byte as a test wrote them, and acknowledges the final response.

    ``host`` is the loopback address that it sends from; answers find it by ``rport``.
    """

    _count = 0

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._to = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def options(self, seconds: float) -> int | None:
        branch = self._branch()
        self._socket.sendto(self._request(b"OPTIONS", b"sip:127.0.0.1:%d" % self._to[1], branch, b"o"), self._to)
        self._socket.settimeout(seconds)
        try:
            return int(self._socket.recv(65535)[8:11])
        except (TimeoutError, ConnectionError):
            return None

    @classmethod
    def _branch(cls) -> bytes:
        SipClient._count += 1
        return b"z9hG4bK-%d-%d" % (os.getpid(), SipClient._count)

    def _request(
        self,
        method: bytes,
        uri: bytes,
        branch: bytes,
        call_id: bytes,
        from_: bytes = b"",
        to: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
    ) -> bytes:
        lines = [
            b"%s %s SIP/2.0" % (method, uri),
            b"Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=%s" % (self.port, branch),
            b"From: %s;tag=%s" % (from_ or b"<sip:+77000000001@example.test>", branch[7:]),
            b"To: " + (to or b"<%s>" % uri),
            b"Call-ID: " + call_id,
            b"CSeq: 1 " + method,
            b"Max-Forwards: 20",
            b"Contact: <sip:test@127.0.0.1:%d>" % self.port,
            *(b"%s: %s" % item for item in (headers or {}).items()),
            b"Content-Length: 0",
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def invite(
        self,
        callee: bytes,
        *,
        call_id: bytes | None = None,
        from_: bytes = b"",
        to: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
        uri: bytes | None = None,
        seconds: float = 8.0,
    ) -> SipResponse:
        """Place one call to ``callee`` (the user part of the request URI, raw) and return its final response."""
        branch = self._branch()
        call_id = call_id if call_id is not None else b"call-%s@test" % branch[7:]
        uri = uri if uri is not None else b"sip:%s@127.0.0.1:%d" % (callee, self._to[1])
        sent = time.monotonic()
        self._socket.sendto(self._request(b"INVITE", uri, branch, call_id, from_, to, headers), self._to)
        while True:
            left = sent + seconds - time.monotonic()
            assert left > 0, f"no final response within {seconds:.0f} s"
            self._socket.settimeout(left)
            try:
                raw = self._socket.recv(65535)
            except TimeoutError:
                continue
            head = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
            status = int(head[0][8:11])
            parsed = [
                (name.decode("latin-1").strip(), value.strip())
                for name, _, value in (h.partition(b":") for h in head[1:])
            ]
            mine = any(name.lower() == "via" and branch in value for name, value in parsed)
            if not mine or status < 200:
                continue
            if status >= 300:
                tagged = next(value for name, value in parsed if name.lower() == "to")
                self._socket.sendto(self._request(b"ACK", uri, branch, call_id, from_, tagged), self._to)
            phrase = head[0][12:].decode("utf-8", "replace")
            return SipResponse(status, phrase, tuple(parsed), time.monotonic() - sent)


class NextHop:
    """The switch behind the switch: refuses every call with 486 and remembers the INVITEs it was sent."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = int(self._socket.getsockname()[1])
        self.invites: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                raw, source = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            if not raw.startswith(b"INVITE "):
                continue
            self.invites.append(raw)
            kept = [
                line + (b";tag=uas" if line.lower().startswith(b"to:") else b"")
                for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
                if line.lower().startswith((b"via:", b"from:", b"to:", b"call-id:", b"cseq:"))
            ]
            reply = b"\r\n".join([b"SIP/2.0 486 Busy Here", *kept, b"Content-Length: 0", b"", b""])
            self._socket.sendto(reply, source)


class ScriptedEngine:
    """Answers each setup event with the reply that ``script`` gives for it; None means silence. Keeps the events."""

    def __init__(self, server: RedisServer, script: Callable[[CallEvent], Reply | bytes | None]) -> None:
        self._server = server
        self._script = script
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        with self._server.client() as client:
            newest = client.xrevrange(Keys(SHARD).calls, count=1)
        self._last: bytes | str = newest[0][0] if newest else "0"
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        calls = Keys(SHARD).calls
        with self._server.client() as client:
            while not self._stop.is_set():
                for _, entries in client.xread({calls: self._last}, count=64, block=20):
                    pipe = client.pipeline(transaction=False)
                    for self._last, fields in entries:
                        try:
                            event = decode_event(fields)
                        except EventError:
                            continue
                        reply = self._script(event)
                        key, tag = Keys(SHARD).reply_of(event.reply)
                        if reply is not None and key:
                            if isinstance(reply, Reply):
                                reply = encode_reply(msgspec.structs.replace(reply, tag=tag))
                            pipe.rpush(key, reply)
                            pipe.pexpire(key, 1000)
                    pipe.execute()


class SippRun(NamedTuple):
    """What SIPp counted: calls placed, ended as the scenario says, failed, messages sent again, response times (ms)."""

    created: int
    succeeded: int
    failed: int
    retransmissions: int
    milliseconds: list[float]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def beyond(self, limit_ms: float) -> int:
        return sum(1 for value in self.milliseconds if value > limit_ms)

    def summary(self) -> str:
        return (
            f"{self.created} calls, {self.succeeded} as expected, {self.failed} failed, "
            f"{self.retransmissions} re-sent; ms p50 {self.quantile(0.5):.1f} p99 {self.quantile(0.99):.1f} "
            f"max {max(self.milliseconds, default=0.0):.1f}"
        )


def undisturbed(attempt: Callable[[], SippRun], limit_ms: float, share: float, tries: int = 3) -> SippRun:
    """The first run in which at most ``share`` of the calls took longer than ``limit_ms``; AssertionError after
    ``tries``.

    On a machine that others use too everything stands still now and then, and a lost datagram costs 500 ms. What must
    hold in any case (that calls complete) is for ``attempt`` itself to assert.
    """
    for _ in range(tries):
        run = attempt()
        if run.beyond(limit_ms) <= share * run.created:
            return run
    raise AssertionError(f"{run.beyond(limit_ms)} calls took longer than {limit_ms:.0f} ms: {run.summary()}")


def run_sipp(
    directory: Path, scenario: str, port: int, *, rate: int, calls: int, seconds: float, callees: Sequence[str] = ()
) -> SippRun:
    """Place ``calls`` at ``rate`` a second with scenarios/<scenario>.xml; the counts and every response time.

    ``callees`` are taken in turn as the called numbers (field 0 of SIPp's injection file).
    """
    work = directory / f"sipp-{scenario}-{time.monotonic_ns()}"
    work.mkdir()
    inject = work / "callees.csv"
    inject.write_text("SEQUENTIAL\n" + "".join(f"{callee};\n" for callee in callees or ["77000000002"]))
    command = [
        program("sipp"), f"127.0.0.1:{port}", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-inf", str(inject),
        "-i", "127.0.0.1", "-p", str(free_port()), "-cp", str(free_port()), "-r", str(rate), "-m", str(calls),
        "-l", str(max(1000, rate * 3)), "-timeout", f"{int(seconds)}s", "-timeout_error", "-nostdin",
        "-trace_stat", "-stf", str(work / "stat.csv"), "-fd", "1", "-trace_rtt", "-rtt_freq", "1",
        "-trace_err", "-error_file", str(work / "errors.log"), "-buff_size", "2097152",
    ]  # fmt: skip
    process = Process("sipp", command, work)
    try:
        process.wait(seconds + 20)
    finally:
        process.stop(signal.SIGKILL)
    with (work / "stat.csv").open(newline="") as stats:
        rows = list(csv.DictReader(stats, delimiter=";"))
    assert rows, process.output()[-2000:]
    final = rows[-1]
    times: list[float] = []
    for name in work.glob("*rtt*.csv"):
        with name.open(newline="") as lines:
            times += [
                float(row[1]) for row in csv.reader(lines, delimiter=";") if len(row) > 1 and row[1][:1].isdigit()
            ]
    return SippRun(
        created=int(final["TotalCallCreated"]),
        succeeded=int(final["SuccessfulCall(C)"]),
        failed=int(final["FailedCall(C)"]),
        retransmissions=int(final["Retransmissions(C)"]),
        milliseconds=times,
    )


def start_sipp_uas(
    directory: Path, port: int, scenario: str = "uas_busy", calls: int = 0, more: Sequence[str] = ()
) -> Process:
    """The next hop for calls that go on: a SIPp that by default refuses every one with 486.

    After ``calls`` calls it ends, with exit code 0 when all went as the scenario says; 0: never. ``more`` are further
    options of SIPp.
    """
    work = directory / scenario
    work.mkdir()
    command = [
        program("sipp"), "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", "127.0.0.1", "-p", str(port),
        "-cp", str(free_port()), "-nostdin", "-trace_err", "-error_file", str(work / "errors.log"),
        "-buff_size", "2097152", *(["-m", str(calls)] if calls else []), *more,
    ]  # fmt: skip
    process = Process("uas", command, work)
    time.sleep(0.5)
    assert process.running, process.output()[-2000:]
    return process
