"""A number that is blocked in one place is blocked at every switch, and freed at every switch: two Kamailios of two
regions, each with its agent, one engine and one Redis, all of them real; people ask with ``antifraud blocks``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antifraud.queues import Keys
from antifraud.queues.commands import (
    BlockRequest,
    Command,
    Outcome,
    command_id,
    decode_command,
    decode_outcome,
    decode_request,
    encode_command,
    encode_request,
)
from tests.e2e.conftest import PATIENT
from tests.e2e.processes import ROOT, SHARD, Kamailio, NextHop, Process, RedisServer, SipClient, wait_until
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis", "kamailio")
KEYS = Keys(SHARD)
SWITCHES = {"sw-kz-75": "KZ-75", "sw-kz-35": "KZ-35"}
CALLEE = b"+77020000009"
PASSED, REFUSED = 486, 608
LISTED = 'SIP;cause=608;text="number blocked"'
APPEAL_S = 5.0
RULE = """\
rule: number_in_test
title: a caller of the test
owner: fraud-desk
why: it calls in the test
false_positives: none
when: |
  prefix_in(caller, ["+770100001"])
then: {verdict: block, block_caller: 24h, reason: "{caller} is of the test"}
rollout: {stage: enforce, false_hits_per_million: 1}
tests:
  - {name: a, given: {caller: "+77010000101"}, expect: hit}
  - {name: b, given: {caller: "+77020000002"}, expect: no_hit}
"""


def configuration(directory: Path) -> Path:
    """The shipped configuration of a country that has these two switches, whose regions both carry blocks out."""
    folder = directory / "config"
    shutil.copytree(ROOT / "config", folder)
    text = (folder / "default.yaml").read_text(encoding="utf-8")
    lines = "".join(f"  {name}: {{region: {region}}}\n" for name, region in SWITCHES.items())
    text, changed = re.subn(r"^switches:\n(?:  sw-.*\n)+", f"switches:\n{lines}", text, flags=re.MULTILINE)
    assert changed == 1
    (folder / "default.yaml").write_text(text, encoding="utf-8")
    return folder


class Switch:
    """One Kamailio and its agent."""

    def __init__(self, stack: ExitStack, name: str, directory: Path, redis: RedisServer, next_hop: int) -> None:
        self.name, self._directory, self._redis, self._stack = name, directory / name, redis, stack
        self._directory.mkdir()
        self._rpc = self._directory / "rpc.sock"
        defines = {
            **PATIENT,
            "ANTIFRAUD_SWITCH": f'"{name}"',
            "TRUNK": '"nat-1"',
            "WORKERS": "8",
            "ANTIFRAUD_BLOCKLIST": "1",
            "ANTIFRAUD_RPC_SOCKET": f'"{self._rpc}"',
        }
        self.kamailio = Kamailio(self._directory, f"addr=127.0.0.1;port={redis.port}", next_hop, defines).start()
        stack.callback(self.kamailio.stop)
        self._client = stack.enter_context(SipClient(self.kamailio.port))
        self.agent = self.start_agent()

    def start_agent(self) -> Process:
        command = [
            sys.executable, "-m", "antifraud.cli", "agent", "kamailio", f"--switch={self.name}",
            f"--redis={self._redis.url}", f"--config={self._directory.parent / 'config'}",
            f"--set=socket={self._rpc}", "--set=lease_s=1",
        ]  # fmt: skip
        self.agent = Process("agent", command, self._directory)
        self._stack.callback(self.agent.stop)
        return self.agent

    def call(self, number: str) -> int:
        """The status that a call from ``number`` gets, whoever gives it."""
        return self._client.invite(CALLEE, from_=b"<sip:%s@example.test>" % number.encode()).status

    def lists(self, number: str) -> bool:
        """Whether the switch refuses a call from ``number`` by its own list, and asks nobody."""
        answer = self._client.invite(CALLEE, from_=b"<sip:%s@example.test>" % number.encode())
        return answer.status == REFUSED and any(value.decode() == LISTED for _name, value in answer.headers)


class Country:
    """Both switches, and what people ask for."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._config = configuration(directory)
        self._rules = directory / "rules"
        shutil.copytree(ROOT / "rules", self._rules)
        (self._rules / "packs" / "numbers").mkdir()
        (self._rules / "packs" / "numbers" / "number_in_test.yaml").write_text(RULE)
        self._server = RedisServer(directory).start()
        stack.callback(self._server.stop)
        self.redis: Any = stack.enter_context(self._server.client())
        next_hop = stack.enter_context(NextHop()).port
        engine = EngineProcess(
            self._server.url, directory, "--model=none", f"--config={self._config}", f"--rules={self._rules}"
        )
        stack.callback(engine.stop)
        engine.start()
        self.switches = [Switch(stack, name, directory, self._server, next_hop) for name in SWITCHES]
        wait_until(lambda: self.resyncs() >= len(SWITCHES), "the agents", 30)

    def resyncs(self) -> int:
        return int(self.redis.hget(KEYS.counters, "agent.resyncs") or 0)

    def blocks(self, *arguments: str, code: int = 0, warned: bool = False) -> str:
        """What ``antifraud blocks`` says: on standard output, and on standard error where it is to."""
        done = subprocess.run(
            [
                sys.executable, "-m", "antifraud.cli", "blocks", arguments[0], f"--redis={self._server.url}",
                f"--config={self._config}", f"--rules={self._rules}", *arguments[1:],
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        if code == 0 and not warned:
            assert done.stderr == ""
        return done.stdout + done.stderr

    def asked(self, *arguments: str, code: int = 0) -> Any:
        """The same as JSON."""
        return json.loads(self.blocks(*arguments, "--json", code=code))

    def request(self, op: str, number: str, **changes: Any) -> dict[str, str]:
        return encode_request(BlockRequest(op, "a.analyst", "a test", number, **changes))

    def obeyed(self, entry: bytes) -> None:
        """Wait until the engine has obeyed the request ``entry``."""
        wait_until(lambda: self.redis.hget(KEYS.position, "block_requests") == entry, "the request")

    def commands(self, switch: str, number: str) -> list[Command]:
        found = [decode_command(fields) for _, fields in self.redis.xrange(KEYS.commands(switch))]
        return [command for command in found if command.number == number]

    def outcome(self, command: Command) -> Outcome:
        """What came of ``command``, once it is settled."""

        def found() -> list[Outcome]:
            outcomes = (decode_outcome(fields) for _, fields in self.redis.xrange(KEYS.outcomes))
            return [outcome for outcome in outcomes if outcome.id == command.id]

        wait_until(lambda: bool(found()), f"the outcome of {command.op} {command.number}")
        return found()[-1]

    def took(self, op: str, number: str) -> dict[str, float]:
        """Seconds from the newest ``op`` of ``number`` to its effect, by switch."""
        found = {}
        for switch in SWITCHES:
            outcome = self.outcome([one for one in self.commands(switch, number) if one.op == op][-1])
            assert outcome.result == "done"
            found[switch] = outcome.took_s
        return found

    def wait_until_listed(self, number: str) -> None:
        for switch in self.switches:
            wait_until(lambda switch=switch: switch.lists(number), f"{number} on the list of {switch.name}")

    def statuses(self, number: str) -> list[int]:
        return [switch.call(number) for switch in self.switches]

    def is_traced(self, number: str) -> None:
        """The entry of ``number`` names where it comes from, and that can be found."""
        shown = self.asked("show", number)
        assert shown["reason"]
        assert shown["by"]
        if shown["decision"]:
            decisions = [json.loads(fields[b"d"]) for _, fields in self.redis.xrange(KEYS.decisions)]
            (decision,) = [one for one in decisions if one["id"] == shown["decision"]]
            assert (decision["caller"], decision["block_by"], decision["verdict"]) == (number, shown["by"], "block")
        else:
            ((_entry, fields),) = self.redis.xrange(KEYS.block_requests, shown["request"], shown["request"])
            asked = decode_request(fields)
            assert (asked.number, asked.why, f"analyst:{asked.who}") == (number, shown["reason"], shown["by"])
        for switch in SWITCHES:
            assert self.commands(switch, number)[-1].decision == shown["decision"]


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Country]:
    with ExitStack() as stack:
        yield Country(stack, tmp_path_factory.mktemp("country"))


def show(what: str, took: dict[str, float]) -> None:
    print(f"{what}: " + ", ".join(f"{switch} {seconds * 1000:.0f} ms" for switch, seconds in took.items()))


def test_a_number_that_a_person_blocks_is_refused_by_both_and_nobody_elses(country: Country) -> None:
    number, neighbour = "+77020000101", "+77020000102"
    assert country.statuses(number) == [PASSED, PASSED]
    assert f"{number} blocked" in country.blocks("add", number, "--who", "a.analyst", "--why", "a campaign")
    country.wait_until_listed(number)
    assert country.statuses(neighbour) == [PASSED, PASSED]
    took = country.took("block", number)
    show("blocked by a person", took)
    assert max(took.values()) < 2
    country.is_traced(number)
    assert {item["switch"]: item["state"] for item in country.asked("show", number)["switches"]} == dict.fromkeys(
        SWITCHES, "done"
    )

    # One region's block is no other region's.
    country.blocks("add", neighbour, "--region", "KZ-35", "--who", "a.analyst", "--why", "a campaign there")
    wait_until(lambda: country.switches[1].lists(neighbour), "the list")
    assert country.statuses(neighbour) == [PASSED, REFUSED]


def test_a_number_that_nobody_can_have_is_blocked_with_a_warning(country: Country) -> None:
    number = "+770200001"
    said = country.blocks("add", number, "--who", "a.analyst", "--why", "somebody shows it", warned=True)
    assert f"warning: {number} has 9 digits" in said
    country.wait_until_listed(number)
    country.is_traced(number)


def test_a_number_that_a_rule_blocks_at_one_is_refused_by_both(country: Country) -> None:
    number = "+77010000111"
    first, second = country.switches
    assert first.call(number) == REFUSED
    country.wait_until_listed(number)
    took = country.took("block", number)
    show("blocked by a rule", took)
    assert max(took.values()) < 2
    country.is_traced(number)
    assert country.asked("show", number)["by"] == "rule:number_in_test"
    # The second switch has never asked the engine about it.
    decisions = [json.loads(fields[b"d"]) for _, fields in country.redis.xrange(KEYS.decisions)]
    about = [one["switch"] for one in decisions if one["caller"] == number and one["full_verdict"] == "block"]
    assert about[0] == first.name
    assert second.lists(number)


def test_a_block_ends_at_its_time_at_both(country: Country) -> None:
    number = "+77020000103"
    ends = time.time() + 4
    text = datetime.fromtimestamp(ends, UTC).isoformat()
    country.blocks("add", number, "--until", text, "--who", "a.analyst", "--why", "for a moment")
    country.wait_until_listed(number)
    assert time.time() < ends
    for switch in country.switches:
        wait_until(lambda switch=switch: switch.call(number) == PASSED, f"the end at {switch.name}")
        late = time.time() - ends
        print(f"{switch.name}: over {late * 1000:.0f} ms after its time")
        assert -1.0 <= late < 2.0
    assert country.statuses(number) == [PASSED, PASSED]
    assert "neither blocked nor cleared" in country.blocks("show", number)


def test_an_appeal_frees_a_number_everywhere_within_five_seconds(country: Country) -> None:
    number = "+77010000112"
    country.switches[1].call(number)
    country.wait_until_listed(number)
    began = time.monotonic()
    (answer,) = country.asked("remove", number, "--who", "a.analyst", "--why", "an honest subscriber, appeal 4711")
    assert country.statuses(number) == [PASSED, PASSED]
    whole = time.monotonic() - began
    took = country.took("unblock", number)
    show("freed", took)
    print(f"the command and a call through each switch: {whole:.2f} s")
    assert whole < APPEAL_S
    assert {item["switch"]: item["state"] for item in answer["switches"]} == dict.fromkeys(SWITCHES, "done")
    country.is_traced(number)
    # The rule hits it again and blocks nothing, and nobody else blocks it.
    assert country.statuses(number) == [PASSED, PASSED]
    said = country.blocks("add", number, "--who", "b.analyst", "--why", "again", code=1)
    assert "is cleared until" in said
    assert country.asked("show", number)["state"] == "cleared"


def test_an_unblock_beats_a_block_whichever_comes_last(country: Country) -> None:
    # In the engine: both asked for at once, in either order.
    before, after = "+77020000104", "+77020000105"
    pipe = country.redis.pipeline()
    for number, first, then in ((before, "unblock", "block"), (after, "block", "unblock")):
        pipe.xadd(KEYS.block_requests, country.request(first, number))
        pipe.xadd(KEYS.block_requests, country.request(then, number))
    country.obeyed(pipe.execute()[-1])
    for number in (before, after):
        for switch in SWITCHES:
            country.outcome(country.commands(switch, number)[-1])
        assert country.statuses(number) == [PASSED, PASSED]
        assert country.asked("show", number)["state"] == "cleared"

    # At the switch: an old block is brought again after the unblock.
    stale = {switch: country.commands(switch, after)[0] for switch in SWITCHES}
    for switch, command in stale.items():
        assert command.op == "block"
        again = command_id(switch, "block", after, command.seq, "again")
        command = Command(again, "block", after, command.until, command.seq, at=command.at, expires=command.expires)
        country.redis.xadd(KEYS.commands(switch), encode_command(command))
        assert country.outcome(command).result == "superseded"
    assert country.statuses(after) == [PASSED, PASSED]


@pytest.mark.parametrize("away", ["the switch", "its agent"])
def test_a_switch_that_was_away_gets_it_right_when_it_is_back(country: Country, away: str) -> None:
    first, second = country.switches
    digit = "1" if away == "the switch" else "2"
    kept, freed, blocked, brief = (f"+770200002{digit}{number}" for number in range(4))
    entries = [country.redis.xadd(KEYS.block_requests, country.request("block", number)) for number in (kept, freed)]
    country.obeyed(entries[-1])
    country.wait_until_listed(freed)
    country.wait_until_listed(kept)
    if away == "the switch":
        second.kamailio.stop()
    else:
        second.agent.stop()
    ends = time.time() + 2
    country.redis.xadd(KEYS.block_requests, country.request("block", brief, until=ends))
    country.blocks("add", blocked, "--who", "a.analyst", "--why", "meanwhile")
    said = country.blocks("remove", freed, "--who", "a.analyst", "--why", "meanwhile", code=1)
    assert f"{second.name}  pending" in said
    assert f"{first.name}  done" in said
    assert first.lists(blocked)
    assert first.call(freed) == PASSED
    time.sleep(max(0.0, ends - time.time()))
    began = time.monotonic()
    if away == "the switch":
        second.kamailio.start()
    else:
        assert second.lists(freed)  # the switch alone does not know better
        second.start_agent()
    # What was missed, and all that was known before: a switch that starts anew has forgotten it.
    wait_until(
        lambda: second.call(freed) == PASSED and second.lists(blocked) and second.lists(kept), "the whole list", 30
    )
    print(f"right again {time.monotonic() - began:.1f} s after {away} was back")
    assert second.call(brief) == PASSED
    wait_until(lambda: "pending" not in country.blocks("show", freed), "the outcome")
    assert country.statuses(freed) == [PASSED, PASSED]


def test_every_entry_of_the_register_can_be_traced(country: Country) -> None:
    entries = [*country.asked("list", "--all")["numbers"], *country.asked("list", "--all", "--cleared")["numbers"]]
    assert len(entries) >= 8
    assert {entry["by"] for entry in entries} >= {"analyst:a.analyst", "rule:number_in_test"}
    for entry in entries:
        if not entry["region"]:
            country.is_traced(entry["number"])
