"""The challenge end to end: a SIPp that asks for a digit, callers who press it and callers who do not."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from antifraud.queues import Keys
from tests.e2e.conftest import PATIENT, build_rig
from tests.e2e.processes import ROOT, SHARD, Process, free_port, program, wait_until
from tests.engine_process import EngineProcess

TOKEN = "0123456789abcdef0123"
#: What an announcement machine does: answers, asks, waits for a digit, says what came of it, and hangs up.
MACHINE = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="asks for a digit">
  <recv request="INVITE" rrs="true">
    <action>
      <ereg regexp="[0-9a-f]{16}" search_in="hdr" header="X-Antifraud-Decision:" check_it="true" assign_to="decision"/>
    </action>
  </recv>
  <send retrans="500"><![CDATA[
      SIP/2.0 200 OK
      [last_Via:]
      [last_Record-Route:]
      [last_From:]
      [last_To:];tag=[pid]-[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Contact: <sip:challenge@[local_ip]:[local_port]>
      Content-Length: 0

  ]]></send>
  <recv request="ACK"/>
  <recv request="INFO">
    <action>
      <ereg regexp="Signal=7" search_in="body" assign_to="pressed"/>
      <exec command="%(python)s %(report)s [$decision] '[$pressed]'"/>
    </action>
  </recv>
  <send><![CDATA[
      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
  <recv request="BYE"/>
  <send><![CDATA[
      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
</scenario>
"""
CALLER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="presses a digit">
  <send retrans="500"><![CDATA[
      INVITE sip:[field1]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      To: <sip:[field1]@example.test>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:sipp@[local_ip]:[local_port]>
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
      ACK [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <pause milliseconds="300"/>
  <send retrans="500"><![CDATA[
      INFO [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 2 INFO
      Max-Forwards: 20
      Content-Type: application/dtmf-relay
      Content-Length: [len]

      Signal=[field2]
      Duration=160
  ]]></send>
  <recv response="200"/>
  <send retrans="500"><![CDATA[
      BYE [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 3 BYE
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <recv response="200"/>
</scenario>
"""
REPORT = """
import json, sys, urllib.request
body = json.dumps({"passed": sys.argv[2] != ""}).encode()
request = urllib.request.Request("%s/cards/" + sys.argv[1] + "/challenge", body, {"Authorization": "Bearer %s"})
print(urllib.request.urlopen(request, timeout=20).read())
"""
ALMATY = """name: {en: Almaty, ru: Алматы, kk: Алматы}
policy: {ceiling: challenge, challenge: {target: "sip:challenge@127.0.0.1:%d"}}
"""


def sipp(directory: Path, name: str, scenario: str, *arguments: str) -> Process:
    work = directory / name
    work.mkdir()
    (work / "scenario.xml").write_text(scenario)
    command = [
        program("sipp"), *arguments, "-sf", "scenario.xml", "-i", "127.0.0.1", "-cp", str(free_port()), "-nostdin",
        "-trace_err", "-error_file", "errors.log",
    ]  # fmt: skip
    if name.startswith("caller"):
        command += ["-p", str(free_port()), "-m", "1", "-timeout", "60s", "-timeout_error"]
    return Process(name, command, work)


@pytest.mark.needs("redis", "kamailio", "sipp")
def test_who_presses_the_digit_is_not_asked_again_and_who_does_not_is(tmp_path: Path) -> None:
    """Home numbers from abroad, said not to roam: fraud by rule, and the region challenges at the most."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    port = free_port()
    (config / "regions" / "KZ-75.yaml").write_text(ALMATY % port, encoding="utf-8")
    (tmp_path / "tokens").write_text(TOKEN + "\n")
    with ExitStack() as stack:
        defines = {**PATIENT, "ANTIFRAUD_SWITCH": '"sw-kz-75"', "TRUNK": '"intl-1"', "ROAMING": '"0"'}
        rig = build_rig(stack, tmp_path, defines=defines)
        engine = EngineProcess(rig.redis.url, tmp_path, "--model=none", f"--config={config}").start()
        stack.callback(engine.stop)
        cards = Process(
            "cards",
            [
                sys.executable, "-m", "antifraud.cli", "desk", "serve", f"--redis={rig.redis.url}", "--model=none",
                f"--config={config}", "--listen=127.0.0.1:0", f"--token-file={tmp_path / 'tokens'}",
                f"--journal={tmp_path / 'journal'}",
            ],
            tmp_path,
        )  # fmt: skip
        stack.callback(cards.stop)
        wait_until(lambda: "ready http" in cards.output(), "the service", 60)
        url = next(line.split()[1] for line in cards.output().splitlines() if line.startswith("ready http"))
        report = tmp_path / "report.py"
        report.write_text(REPORT % (url, TOKEN))
        scenario = MACHINE % {"python": sys.executable, "report": report}
        machine = sipp(tmp_path, "machine", scenario, "-p", str(port))
        stack.callback(machine.stop, signal.SIGKILL)
        calls = 0
        with rig.redis.client() as redis:

            def labels() -> list[bytes]:
                entries = redis.xrange(Keys(SHARD).calls)
                return [fields[b"label"] for _, fields in entries if fields.get(b"reporter") == b"challenge"]

            def call(number: str, digit: str) -> None:
                nonlocal calls
                calls += 1
                (tmp_path / "one.csv").write_text(f"SEQUENTIAL\n{number};7700000000{calls};{digit};\n")
                where = f"127.0.0.1:{rig.switch.port}"
                caller = sipp(tmp_path, f"caller-{calls}", CALLER, where, "-inf", str(tmp_path / "one.csv"))
                assert caller.wait(70) == 0, caller.output()[-2000:]

            call("+77010000001", "7")
            wait_until(lambda: labels() == [b"passed"], "the report")
            # Asked once: the next call goes to the callee, with a warning, as a harder ceiling would have stopped it.
            answer = rig.client.invite(b"77000000009", from_=b"<sip:+77010000001@example.test>")
            assert answer.status == 486
            assert b"X-Antifraud-Label: " in rig.next_hop.invites[-1]
            call("+77010000002", "3")
            wait_until(lambda: labels() == [b"passed", b"failed"], "the second report")
            seen = len(rig.next_hop.invites)
            call("+77010000002", "7")
            assert len(rig.next_hop.invites) == seen, "who failed is asked again"
