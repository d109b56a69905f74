"""A desk of three people behind a real Kamailio: SIPp places forged calls, another SIPp takes them as the desk does."""

from __future__ import annotations

import re
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from antifraud.queues import Keys
from tests.e2e.conftest import PATIENT, build_rig
from tests.e2e.processes import ROOT, SHARD, Process, free_port, program, start_sipp_uas, wait_until
from tests.engine_process import EngineProcess

PLACES = 3
UAC = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="forged">
  <send retrans="500"><![CDATA[
      INVITE sip:77000000002@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      To: <sip:77000000002@example.test>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:sipp@[local_ip]:[local_port]>
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  %s
</scenario>
"""
TAKEN = """<recv response="200" rrs="true"/>
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
  <pause milliseconds="%d"/>
  <send retrans="500"><![CDATA[
      BYE [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 2 BYE
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>
  <recv response="200"/>"""
BUSY = """<recv response="486"/>
  <send><![CDATA[
      ACK sip:77000000002@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-1]
      From: <sip:[field0]@example.test>;tag=[pid]-[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 20
      Content-Length: 0

  ]]></send>"""


def configuration(directory: Path, desk: int) -> Path:
    """Almaty diverts to one desk of three people; whoever finds no place there goes on with a label."""
    shutil.copytree(ROOT / "config", directory / "config")
    default = directory / "config" / "default.yaml"
    desks = f'\ndesks:\n  one: {{target: "sip:desk@127.0.0.1:{desk}", calls: {PLACES}}}\n'
    text = default.read_text(encoding="utf-8")
    assert "\ndesks: {}\n" in text
    default.write_text(text.replace("\ndesks: {}\n", desks), encoding="utf-8")
    (directory / "config" / "regions" / "KZ-75.yaml").write_text(
        "name: {en: Almaty, ru: Алматы, kk: Алматы}\n"
        "policy: {ceiling: divert, desk: {queues: [one], overflow: label}}\n",
        encoding="utf-8",
    )
    return directory / "config"


class Callers:
    """One SIPp that places calls from numbers of its own, all at once, and expects one thing of each."""

    def __init__(self, directory: Path, name: str, port: int, callers: range, expected: str) -> None:
        work = directory / name
        work.mkdir()
        (work / "uac.xml").write_text(UAC % expected)
        (work / "callers.csv").write_text("SEQUENTIAL\n" + "".join(f"+7717250{number:04};\n" for number in callers))
        command = [
            program("sipp"), f"127.0.0.1:{port}", "-sf", "uac.xml", "-inf", "callers.csv", "-i", "127.0.0.1",
            "-p", str(free_port()), "-cp", str(free_port()), "-r", "10", "-m", str(len(callers)), "-nostdin",
            "-timeout", "60s", "-timeout_error", "-trace_err", "-error_file", "errors.log",
        ]  # fmt: skip
        self.process = Process(name, command, work)

    def succeeded(self) -> bool:
        """Whether every call went as expected, once they have ended."""
        code = self.process.wait(70)
        print(self.process.output()[-1500:] if code else "")
        return code == 0


@pytest.mark.needs("redis", "kamailio", "sipp")
@pytest.mark.parametrize("more", [{}, {"ANTIFRAUD_ASYNC": "1"}], ids=["waiting", "suspended"])
def test_a_desk_takes_calls_to_its_capacity_and_again_when_they_end(tmp_path: Path, more: dict[str, str]) -> None:
    with ExitStack() as stack:
        port = free_port()
        desk = start_sipp_uas(tmp_path, port, "uas_answers")
        stack.callback(desk.stop, signal.SIGKILL)
        defines = {**PATIENT, **more, "ANTIFRAUD_SWITCH": '"sw-kz-75"', "TRUNK": '"intl-1"', "ANTIFRAUD_DIALOGS": "1"}
        rig = build_rig(stack, tmp_path, defines=defines)
        config = configuration(tmp_path, port)
        engine = EngineProcess(rig.redis.url, tmp_path, "--model=none", f"--config={config}").start()
        stack.callback(engine.stop)
        keys = Keys(SHARD)
        with rig.redis.client() as redis:

            def taken() -> int:
                return sum(1 for field in redis.hkeys(keys.desks) if field.startswith(b"p:"))

            first = Callers(tmp_path, "first", rig.switch.port, range(PLACES), TAKEN % 6000)
            wait_until(lambda: taken() == PLACES, "the desk to be full")
            overflowing = Callers(tmp_path, "overflowing", rig.switch.port, range(10, 10 + PLACES), BUSY)
            assert overflowing.succeeded(), "who finds no place goes on to the callee, labelled"
            labelled = [
                invite for invite in rig.next_hop.invites if re.search(rb"^X-Antifraud-Label: ", invite, re.MULTILINE)
            ]
            assert len(labelled) == PLACES
            assert first.succeeded()
            wait_until(lambda: taken() == 0, "the places to be free again")
            again = Callers(tmp_path, "again", rig.switch.port, range(20, 20 + PLACES), TAKEN % 300)
            assert again.succeeded()
            assert len(rig.next_hop.invites) == PLACES
