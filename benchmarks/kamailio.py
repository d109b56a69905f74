"""What a verdict costs a call at a real Kamailio, by SIPp: without the engine, held by a worker, and suspended.

    python -m benchmarks.kamailio --rates 1000 --seconds 60
    python -m benchmarks.kamailio --rates 1000,2000,3000 --seconds 20 --modes unjudged,async

Four SIPp send a quarter of the calls each: those that are allowed, labelled, diverted and blocked. Each expects its
own answer (the next hop answers a labelled call otherwise than one without a label), so that a wrong one is a failed
call. Beside them one caller is measured to the microsecond, a few times a second (SIPp's own clock steps in
milliseconds): from the INVITE to the next hop's answer. Everything real runs on this machine, SIPp and the next hop
included, and takes its share of it. JSON on standard output.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from antifraud.queues import Keys
from tests.e2e.conftest import build_rig
from tests.e2e.processes import ROOT, SHARD, Process, SipClient, free_port, program
from tests.engine_process import EngineProcess

MODES: Final = ("unjudged", "sync", "async")
SWITCH: Final = {"ANTIFRAUD_SWITCH": '"sw-kz-75"', "TRUNK": '"intl-1"', "ANTIFRAUD_MAX_WAITING": "48"}
AGENT: Final = "benchmark"

UAC: Final = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="uac">
  <send retrans="500" start_rtd="1"><![CDATA[
      INVITE sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:[field1]@example.test>;tag=[call_number]
      To: <sip:[field0]@example.test>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:sipp@[local_ip]:[local_port]>
      Max-Forwards: 20
      User-Agent: %(agent)s
      Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="%(status)d" rtd="1"/>
  <send><![CDATA[
      ACK sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-1]
      From: <sip:[field1]@example.test>;tag=[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
</scenario>
"""
UAS: Final = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="uas">
  <recv request="INVITE" test="1" next="labelled">
    <action><ereg regexp=".+" search_in="hdr" header="X-Antifraud-Label:" assign_to="1"/></action>
  </recv>
  <send retrans="500" next="end"><![CDATA[
      SIP/2.0 %(status)d Refused
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]-[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
  <label id="labelled"/>
  <send retrans="500"><![CDATA[
      SIP/2.0 %(labelled)d Refused with a label
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]-[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
  <label id="end"/>
  <recv request="ACK"/>
</scenario>
"""
LABELLED: Final = 484
#: kind of call → (calling number from a running one, User-Agent, status with the engine; without it all get 486)
KINDS: Final = {
    "allow": ("+44207946{:04d}", AGENT, 486),
    "label": ("+7701{:07d}", AGENT, LABELLED),
    "divert": ("+771725{:05d}", AGENT, 480),
    "block": ("+44207946{:04d}", "friendly-scanner", 608),
}


def numbers(kind: str, count: int, offset: int) -> Iterator[tuple[str, str]]:
    """(called, calling) numbers of ``count`` calls; so many of each that nobody stands out by calling much."""
    form = KINDS[kind][0]
    width = int(re.search(r"0(\d)d", form)[1])  # type: ignore[index]
    for number in range(count):
        yield f"7700{(offset + number * 7919) % 10_000_000:07d}", form.format((offset + number * 31) % 10**width)


class Sipp:
    """One SIPp that places calls of one kind."""

    def __init__(self, directory: Path, kind: str, port: int, rate: float, calls: int, judged: bool, seed: int) -> None:
        self.kind, self.work = kind, directory / f"uac-{kind}"
        self.work.mkdir()
        status = KINDS[kind][2] if judged else 486
        (self.work / "uac.xml").write_text(UAC % {"agent": KINDS[kind][1], "status": status})
        rows = "".join(f"{called};{calling};\n" for called, calling in numbers(kind, min(calls, 50_000), seed))
        (self.work / "numbers.csv").write_text("SEQUENTIAL\n" + rows)
        command = [
            program("sipp"), f"127.0.0.1:{port}", "-sf", "uac.xml", "-inf", "numbers.csv", "-i", "127.0.0.1",
            "-p", str(free_port()), "-cp", str(free_port()), "-r", f"{rate:g}", "-m", str(calls), "-l", "20000",
            "-timeout", f"{int(calls / rate) + 30}s", "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", "1",
            "-trace_err", "-error_file", "errors.log", "-buff_size", "4194304",
        ]  # fmt: skip
        self.process = Process(f"sipp-{kind}", command, self.work)

    def ended(self, until: float) -> bool:
        """Wait for its end; False when there is none by ``until`` (monotonic s), and it is ended by force."""
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.stop(signal.SIGKILL)
            return False
        return True

    def counts(self) -> dict[str, int]:
        """What it counted, once it has ended."""
        with (self.work / "stat.csv").open(newline="") as lines:
            last = list(csv.DictReader(lines, delimiter=";"))[-1]
        names = {"placed": "TotalCallCreated", "as_expected": "SuccessfulCall(C)", "failed": "FailedCall(C)"}
        return {
            **{name: int(last[column]) for name, column in names.items()},
            "re_sent": int(last["Retransmissions(C)"]),
        }


def uas(directory: Path, status: int) -> tuple[Process, int]:
    """A SIPp that refuses every call with ``status``, a labelled one with ``LABELLED``: the next hop, and the desk."""
    work = directory / f"uas-{status}"
    work.mkdir()
    (work / "uas.xml").write_text(UAS % {"status": status, "labelled": LABELLED})
    port = free_port()
    command = [
        program("sipp"), "-sf", "uas.xml", "-i", "127.0.0.1", "-p", str(port), "-cp", str(free_port()), "-nostdin",
        "-buff_size", "4194304",
    ]  # fmt: skip
    return Process(f"uas-{status}", command, work), port


class Prober:
    """Calls of its own, one after another, each measured: allowed and blocked in turn."""

    def __init__(self, port: int, judged: bool) -> None:
        self._port, self._judged = port, judged
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.times: dict[str, list[float]] = {"allow": [], "block": []}
        self.wrong = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        number = 0
        with SipClient(self._port) as client:
            while not self._stop.is_set():
                number += 1
                kind = "block" if self._judged and number % 2 else "allow"
                headers = {b"User-Agent": KINDS[kind][1].encode()}
                caller = b"<sip:+44207947%04d@example.test>" % (number % 10_000)
                try:
                    answer = client.invite(b"7700%07d" % (number * 13 % 10_000_000), from_=caller, headers=headers)
                except AssertionError:
                    self.wrong += 1
                    continue
                self.times[kind].append(answer.seconds * 1000)
                self.wrong += answer.status != (KINDS[kind][2] if self._judged else 486)
                self._stop.wait(0.01)


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    picked = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    found = {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) for name, share in picked.items()
    }
    return {"n": len(ordered), **found, "max": round(ordered[-1], 2)}


def configuration(directory: Path, desk: int) -> Path:
    """The shipped configuration with the desk at port ``desk``."""
    shutil.copytree(ROOT / "config", directory / "config")
    region = directory / "config" / "regions" / "KZ-75.yaml"
    text = re.sub(r"target: \S+", f"target: sip:desk@127.0.0.1:{desk}", region.read_text(encoding="utf-8"))
    region.write_text(text, encoding="utf-8")
    return directory / "config"


def processor_seconds(pids: list[int]) -> float:
    """Seconds of processor time that these processes and their children have used (proc(5))."""
    total = 0
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    wanted = list(pids)
    for pid in wanted:
        wanted += children.get(pid, [])
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def run(mode: str, rate: int, seconds: int, model: str) -> dict[str, Any]:
    """One mode at one rate."""
    judged = mode != "unjudged"
    directory = Path(tempfile.mkdtemp(prefix="antifraud-kamailio-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, True)
        hop, hop_port = uas(directory, 486)
        stack.callback(hop.stop)
        desk, desk_port = uas(directory, 480)
        stack.callback(desk.stop)
        defines = {
            **SWITCH,
            # Only a switch whose workers wait needs many of them; more would only take turns at the processor's cache.
            **({} if mode == "sync" else {"WORKERS": "8"}),
            **({"ANTIFRAUD_ASYNC": "1"} if mode == "async" else {}),
            **({} if judged else {"UNJUDGED": "1"}),
        }
        rig = build_rig(stack, directory, defines=defines, next_hop=hop_port)
        engine: EngineProcess | None = None
        if judged:
            config = configuration(directory, desk_port)
            arguments = [f"--config={config}", *([f"--model={model}"] if model else [])]
            engine = EngineProcess(rig.redis.url, directory, *arguments).start()
        calls = rate * seconds // len(KINDS)
        prober = Prober(rig.switch.port, judged)
        pids = {"kamailio": rig.switch.pid, "redis": rig.redis.pid}
        if engine is not None and engine.process is not None:
            pids["engine"] = engine.process.pid
        used = {name: processor_seconds([pid]) for name, pid in pids.items()}
        begun = time.monotonic()
        placed = [
            Sipp(directory, kind, rig.switch.port, rate / len(KINDS), calls, judged, 100_000 * place)
            for place, kind in enumerate(KINDS)
        ]
        time.sleep(0.5)
        prober.start()
        unfinished = [one.kind for one in placed if not one.ended(begun + seconds + 45)]
        took = time.monotonic() - begun
        prober.stop()
        used = {name: round((processor_seconds([pids[name]]) - before) / took, 3) for name, before in used.items()}
        counted = {one.kind: one.counts() for one in placed}
        result: dict[str, Any] = {
            "mode": mode, "rate": rate, "seconds": round(took, 1), "calls": counted,
            "as_expected": sum(one["as_expected"] for one in counted.values()),
            "placed": sum(one["placed"] for one in counted.values()),
            "ms": {kind: quantiles(times) for kind, times in prober.times.items() if times},
            "probes_wrong": prober.wrong, "unfinished": unfinished, "cores": used,
        }  # fmt: skip
        if engine is not None:
            with rig.redis.client() as client:
                found: Any = client.hgetall(Keys(SHARD).counters)
                counters = {name.decode(): int(number) for name, number in found.items()}
            result["engine"] = {
                name: number for name, number in counters.items()
                if name.startswith(("decisions", "late", "latency"))
            }  # fmt: skip
            engine.stop()
            assert engine.process is not None
            if engine.process.stdout is not None:
                engine.process.stdout.close()
        return result


def main() -> None:
    """Run what the command line asks for and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1000")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--model", default="none", help="the model, such as kz-calls/5; none decides by rules alone")
    asked = parser.parse_args()
    runs = []
    for rate in (int(text) for text in asked.rates.split(",")):
        for mode in asked.modes.split(","):
            runs.append(run(mode, rate, asked.seconds, asked.model))
            print(json.dumps(runs[-1]), file=sys.stderr)
    for one in runs:
        base = next((other for other in runs if other["mode"] == "unjudged" and other["rate"] == one["rate"]), None)
        if base is not None and one is not base and "allow" in one["ms"]:
            one["added_ms"] = {q: round(one["ms"]["allow"][q] - base["ms"]["allow"][q], 2) for q in ("p50", "p99")}
    print(json.dumps({"benchmark": "kamailio", "load": os.getloadavg()[0], "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
