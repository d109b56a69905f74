"""Call cards by the process that serves them, beside a real engine: what is shown, who is let in, what goes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from antifraud.domain import CallEvent, Decision, EventKind, Reason
from antifraud.journal.store import write_decisions
from antifraud.queues import EmbeddedRedis, Keys, encode_decision, encode_event
from tests.engine_process import EngineProcess, wait_until

pytestmark = pytest.mark.needs("redis")
KEYS = Keys("kz")
Start = Callable[..., EngineProcess]
ROOT = Path(__file__).resolve().parents[3]
TOKEN = "0123456789abcdef0123"
DESKS = '\ndesks:\n  first: {target: "sip:first@desk.example", calls: 5}\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    default = folder / "default.yaml"
    default.write_text(default.read_text(encoding="utf-8").replace("\ndesks: {}\n", DESKS), encoding="utf-8")
    (folder / "regions" / "KZ-75.yaml").write_text(
        "name: {en: Almaty, ru: Алматы, kk: Алматы}\npolicy: {ceiling: divert, desk: {queues: [first]}}\n",
        encoding="utf-8",
    )
    return folder


RULE = """\
rule: found_before
title: a number that was found to be fraud
owner: fraud-desk
why: people at the desk said so
false_positives: none
windows: [caller_reports_30d]
when: |
  caller_reports_30d >= 1
then: {verdict: label, label: found before, reason: "found {caller_reports_30d} times before"}
rollout: {stage: enforce}
tests:
  - {name: a, given: {caller_reports_30d: 1}, expect: hit}
  - {name: b, given: {caller_reports_30d: 0}, expect: no_hit}
"""


class Cards:
    """The service as people run it, and a client of it."""

    def __init__(self, url: str, config: Path, directory: Path, *arguments: str) -> None:
        tokens = directory / "tokens"
        tokens.write_text(f"# desks\nastana {TOKEN}\n", encoding="utf-8")
        self.log = directory / "cards.log"
        command = [
            sys.executable, "-m", "antifraud.cli", "desk", "serve", f"--redis={url}", f"--config={config}",
            "--listen=127.0.0.1:0", f"--token-file={tokens}", f"--journal={directory / 'journal'}", *arguments,
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready "), self.log.read_text()
        self.url = line.removeprefix("ready ").strip()

    def ask(self, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0, self.log.read_text()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def cards(redis_server: EmbeddedRedis, config: Path, tmp_path: Path) -> Iterator[Cards]:
    served = Cards(redis_server.url, config, tmp_path)
    yield served
    served.stop()


@pytest.fixture
def client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    made = redis.Redis(unix_socket_path=str(redis_server.socket_path), socket_timeout=10)
    yield made
    made.close()


def decided(number: int, caller: str = "+77010000001", **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "id": f"{number:016x}", "call_id": f"c{number}", "ts": time.time(), "shard": "kz", "region": "KZ-75",
        "verdict": "divert", "full_verdict": "block", "ceiling": "divert", "caller": caller,
        "callee": f"+7700000{number:04}", "switch": "sw-kz-75", "trunk": "intl-1", "desk": "first",
        "reasons": (Reason("rule:x", "block", "номер подменён"),),
    }  # fmt: skip
    return Decision(**{**values, **changes})


def put(client: redis.Redis, *decisions: Decision) -> None:
    for decision in decisions:
        client.xadd(KEYS.decisions, encode_decision(decision))  # type: ignore[arg-type]


def found(cards: Cards, path: str) -> Any:
    """The answer once the service has seen the decision."""

    def look() -> Any:
        status, content = cards.ask(path)
        return content if status == 200 else None

    return wait_until(look)


def placed(client: redis.Redis, number: int, **changes: Any) -> Any:
    """The decision about a call from +77010000001."""
    event = CallEvent(
        kind=EventKind.SETUP, call_id=f"live-{number}", ts=time.time(), switch="sw-kz-75",
        caller_raw="+77010000001", callee_raw=f"+7700000{number:04}", **changes,
    )  # fmt: skip
    client.xadd(KEYS.calls, encode_event(event))  # type: ignore[arg-type]

    def look() -> Any:
        entries: Any = client.xrange(KEYS.decisions)
        read = [json.loads(fields[b"d"]) for _entry, fields in entries]
        return next((one for one in read if one["call_id"] == event.call_id), None)

    return wait_until(look)


def test_a_card_says_who_whom_why_and_what_is_like_it(cards: Cards, client: redis.Redis) -> None:
    others = [decided(2), decided(3, caller="+77010000055"), decided(4, caller="+77470000001", callee="+77000000001")]
    put(
        client,
        *others,
        decided(5, caller="+77470000002"),
        decided(6, verdict="allow", full_verdict="allow"),
        decided(1),
    )
    card = found(cards, f"/cards/{1:016x}")
    assert (card["caller"]["number"], card["caller"]["country"], card["callee"]["number"]) == (
        "+77010000001", "KZ", "+77000000001",
    )  # fmt: skip
    assert card["reasons"] == ["номер подменён"]
    assert (card["desk"], card["verdict"], card["full_verdict"]) == ("first", "divert", "block")
    assert {(one["shares"], one["decision"]) for one in card["similar"]} == {
        ("caller", f"{2:016x}"), ("neighbour", f"{3:016x}"), ("callee", f"{4:016x}"),
    }  # fmt: skip
    assert card["similar_counts"]["caller"] == 1
    assert card["outcome"] is None
    assert cards.ask(f"/cards/{6:016x}")[0] == 404


def test_what_the_desk_finds_goes_into_the_log_once_and_stands_on_the_next_card(
    cards: Cards, client: redis.Redis
) -> None:
    put(client, decided(1), decided(2))
    found(cards, f"/cards/{2:016x}")
    path = f"/cards/{1:016x}/outcome"
    status, outcome = cards.ask(path, {"label": "fraud", "who": "a.operator", "note": "said to be the bank\n"})
    assert (status, outcome["who"], outcome["note"]) == (201, "a.operator", "said to be the bank")
    assert cards.ask(path, {"label": "fraud"})[0] == 200
    log: Any = client.xrange(KEYS.calls)
    assert [fields[b"label"] for _entry, fields in log] == [b"fraud"]
    assert (log[0][1][b"kind"], log[0][1][b"reporter"], log[0][1][b"caller_raw"]) == (
        b"report",
        b"desk",
        b"+77010000001",
    )
    card = found(cards, f"/cards/{2:016x}")
    assert card["similar"][0]["outcome"] == "fraud"
    assert card["similar_counts"]["fraud"] == 1
    assert cards.ask(path, {"label": "unclear"})[0] == 201
    log = client.xrange(KEYS.calls)
    assert [(fields[b"label"], fields.get(b"takes_back")) for _entry, fields in log] == [
        (b"fraud", None),
        (b"fraud", log[0][1][b"ts"]),
    ]
    assert found(cards, f"/cards/{1:016x}")["outcome"]["label"] == "unclear"


def test_outcomes_reach_the_features_of_the_next_call(
    redis_server: EmbeddedRedis, client: redis.Redis, config: Path, tmp_path: Path, start_engine: Start
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "packs" / "found").mkdir()
    (rules / "packs" / "found" / "found_before.yaml").write_text(RULE, encoding="utf-8")
    engine = start_engine(f"--config={config}", f"--rules={rules}", "--model=none")
    served = Cards(redis_server.url, config, tmp_path)

    def place(number: int) -> Any:
        return placed(client, number, trunk="intl-1", roaming=False)

    try:
        first = place(1)
        assert first["desk"] == "first"
        assert "found_before" not in str(first["reasons"])
        found(served, f"/cards/{first['id']}")
        assert served.ask(f"/cards/{first['id']}/outcome", {"label": "fraud"})[0] == 201
        assert "1 times before" in str(place(2)["reasons"])
    finally:
        served.stop()
    engine.stop()


def test_a_corrected_outcome_no_longer_counts_against_the_caller(
    redis_server: EmbeddedRedis, client: redis.Redis, config: Path, tmp_path: Path, start_engine: Start
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "packs" / "found").mkdir()
    divert = RULE.replace("verdict: label, label: found before", "verdict: divert")
    (rules / "packs" / "found" / "found_before.yaml").write_text(divert, encoding="utf-8")
    engine = start_engine(f"--config={config}", f"--rules={rules}", "--model=none")
    served = Cards(redis_server.url, config, tmp_path)

    def place(number: int, trunk: str = "nat-1", **changes: Any) -> Any:
        return placed(client, number, trunk=trunk, **changes)

    try:
        first = place(1, trunk="intl-1", roaming=False)
        assert place(2)["verdict"] == "allow"
        found(served, f"/cards/{first['id']}")
        path = f"/cards/{first['id']}/outcome"
        assert served.ask(path, {"label": "fraud"})[0] == 201
        assert place(3)["verdict"] == "divert"
        served.stop()  # what was said is known to the next one too, to the millisecond
        served = Cards(redis_server.url, config, tmp_path)
        found(served, f"/cards/{first['id']}")
        assert served.ask(path, {"label": "honest"})[0] == 201
        assert place(4)["verdict"] == "allow"
        assert served.ask(path, {"label": "fraud"})[0] == 201
        assert "1 times before" in str(place(5)["reasons"]), "a report that was taken back is no earlier copy of it"
        assert served.ask(path, {"label": "unclear"})[0] == 201
        assert place(6)["verdict"] == "allow"
    finally:
        served.stop()
    engine.stop()
    again = start_engine(f"--config={config}", f"--rules={rules}", "--model=none")
    assert place(7)["verdict"] == "allow"
    again.stop()


def test_a_block_without_ground_ends_with_the_report_and_others_stay(
    redis_server: EmbeddedRedis, client: redis.Redis, config: Path, tmp_path: Path, start_engine: Start
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "packs" / "found").mkdir()
    block = RULE.replace("verdict: label, label: found before", "verdict: block, block_caller: 24h")
    (rules / "packs" / "found" / "found_before.yaml").write_text(block, encoding="utf-8")
    for region in (config / "regions").glob("*.yaml"):
        region.write_text(region.read_text(encoding="utf-8").replace("ceiling: divert", "ceiling: block"), "utf-8")
    engine = start_engine(f"--config={config}", f"--rules={rules}", "--model=none")
    served = Cards(redis_server.url, config, tmp_path)

    def block_of() -> Any:
        raw: Any = client.hget(KEYS.blocks, "+77010000001")
        return json.loads(raw) if raw else None

    def place(number: int) -> Any:
        return placed(client, number, trunk="nat-1")

    try:
        first = placed(client, 1, trunk="intl-1", roaming=False)
        found(served, f"/cards/{first['id']}")
        path = f"/cards/{first['id']}/outcome"
        assert served.ask(path, {"label": "fraud"})[0] == 201
        assert place(2)["verdict"] == "block"
        assert wait_until(block_of)["by"] == "rule:found_before"
        assert served.ask(path, {"label": "honest", "who": "a.operator"})[0] == 201
        wait_until(lambda: block_of() is None)
        assert place(3)["verdict"] == "allow"

        asked: Any = {
            "op": "block", "number": "+77010000001", "who": "ann", "why": "reported by a bank",
            "decision": first["id"],
        }  # fmt: skip
        client.xadd(KEYS.block_requests, asked)
        assert wait_until(block_of)["by"] == "analyst:ann"
        assert served.ask(path, {"label": "fraud"})[0] == 201
        assert served.ask(path, {"label": "honest"})[0] == 201
        assert place(4)["verdict"] == "block", "what people blocked, people free"
        assert block_of()["by"] == "analyst:ann"
    finally:
        served.stop()
    engine.stop()


def test_a_service_that_may_not_read_the_register_takes_outcomes_all_the_same(
    redis_server: EmbeddedRedis, client: redis.Redis, config: Path, tmp_path: Path
) -> None:
    client.acl_setuser(
        "cards", enabled=True, nopass=True, keys=[f"{KEYS.prefix}*"], categories=["+@all"], commands=["-hget"]
    )
    put(client, decided(1))
    served = Cards(redis_server.url.replace("unix://", "unix://cards:any@"), config, tmp_path)
    try:
        found(served, f"/cards/{1:016x}")
        assert served.ask(f"/cards/{1:016x}/outcome", {"label": "honest"})[0] == 201
        assert client.xlen(KEYS.calls) == 1
    finally:
        served.stop()
        client.acl_deluser("cards")
    assert "no block can be lifted" in served.log.read_text()


def test_older_cases_come_from_the_journal(cards: Cards, tmp_path: Path) -> None:
    old = decided(9, ts=time.time() - 3 * 86_400)
    write_decisions(tmp_path / "journal", "kz", [("5-0", old), ("6-0", decided(10, ts=old.ts))])
    status, card = cards.ask(f"/cards/{9:016x}")
    assert (status, card["decision"]) == (200, f"{9:016x}")
    assert cards.ask(f"/cards/{99:016x}")[0] == 404


def test_a_restart_forgets_nothing(
    redis_server: EmbeddedRedis, client: redis.Redis, config: Path, tmp_path: Path
) -> None:
    put(client, decided(1), decided(2))
    served = Cards(redis_server.url, config, tmp_path)
    found(served, f"/cards/{1:016x}")
    served.ask(f"/cards/{1:016x}/outcome", {"label": "honest"})
    served.stop()
    again = Cards(redis_server.url, config, tmp_path)
    assert found(again, f"/cards/{1:016x}")["outcome"]["label"] == "honest"
    again.stop()


def test_nobody_is_let_in_without_a_token_and_who_guesses_is_slowed_down(cards: Cards, client: redis.Redis) -> None:
    put(client, decided(1))
    found(cards, f"/cards/{1:016x}")
    wait_until(lambda: cards.ask("/health", token="")[0] == 200)
    codes = [cards.ask(f"/cards/{1:016x}", token=f"wrong-{n}")[0] for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert cards.ask(f"/cards/{1:016x}")[0] == 200, "who has a right token is not locked out by those who guess"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/cards/../../etc/passwd", None, 404),
        ("/cards/0000000000000001%0d%0a", None, 404),
        ("/cards/zzzzzzzzzzzzzzzz", None, 404),
        ("/nothing", None, 404),
        ("/cards/0000000000000001", b"{}", 405),
        ("/cards/0000000000000001/outcome", b"", 400),
        ("/cards/0000000000000001/outcome", b"[" * 4_000, 400),
        ("/cards/0000000000000001/outcome", {"label": "maybe"}, 400),
        ("/cards/0000000000000001/outcome", {"label": "fraud", "who": "x" * 81}, 400),
        ("/cards/0000000000000001/outcome", {"label": "fraud", "sudo": True}, 400),
        ("/cards/0000000000000001/outcome", b"x" * 5_000, 413),
        ("/cards/00000000000000ff/outcome", {"label": "fraud"}, 404),
        ("/desks/first/free", {"free": -1}, 400),
        ("/desks/first/free", {"free": "3"}, 400),
        ("/desks/second/free", {"free": 3}, 404),
    ],
)
def test_bad_requests_are_answered_with_what_is_wrong(
    cards: Cards, client: redis.Redis, path: str, body: Any, status: int
) -> None:
    put(client, decided(1))
    found(cards, f"/cards/{1:016x}")
    code, content = cards.ask(path, body)
    assert code == status
    assert content["error"]
    assert content["hint"]
    assert client.xlen(KEYS.calls) == 0
    assert "Traceback" not in cards.log.read_text()


def test_what_came_of_a_challenge_is_reported_once_and_only_of_a_challenge(cards: Cards, client: redis.Redis) -> None:
    old = decided(3, verdict="challenge", ts=time.time() - 500)
    put(client, decided(1, verdict="challenge"), decided(2), old)
    found(cards, f"/cards/{3:016x}")
    path = f"/cards/{1:016x}/challenge"
    assert cards.ask(path, {"passed": "yes"})[0] == 400
    assert cards.ask(path, {"passed": True})[0] == 201
    assert cards.ask(path, {"passed": True})[0] == 200
    assert cards.ask(path, {"passed": False})[0] == 200
    assert cards.ask(f"/cards/{2:016x}/challenge", {"passed": True})[0] == 409
    assert cards.ask(f"/cards/{3:016x}/challenge", {"passed": True})[0] == 409
    assert cards.ask(f"/cards/{3:016x}/challenge", {"passed": False})[0] == 201
    log: Any = client.xrange(KEYS.calls)
    said = [(fields[b"label"], fields[b"reporter"]) for _entry, fields in log]
    assert said == [(b"passed", b"challenge"), (b"failed", b"challenge")]


def test_a_desk_says_what_it_can_take(cards: Cards, client: redis.Redis) -> None:
    assert cards.ask("/desks/first/free", {"free": 3}) == (202, {"desk": "first", "free": 3})
    said: Any = client.xrange(KEYS.desk_state)
    assert said[0][1] == {b"desk": b"first", b"free": b"3"}
    client.hset(KEYS.desks, mapping={"p:1": '["first","c1",1]', "h:first": "[3,5.0]", "p:2": "[", "p:3": '["x","c",1]'})
    assert cards.ask("/desks") == (200, {"first": {"taken": 1, "said": {"free": 3, "at": 5.0}}})


def test_redis_that_goes_away_is_said_and_found_again(config: Path, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        served = Cards(server.url, config, tmp_path)
        wait_until(lambda: served.ask("/health", token="")[0] == 200)
        server.stop()
        wait_until(lambda: served.ask("/health", token="")[0] == 503)
        status, content = served.ask("/desks")
        assert (status, content["hint"]) == (503, "try again")
        server.start()
        wait_until(lambda: served.ask("/health", token="")[0] == 200)
        served.stop()


@pytest.mark.parametrize(
    ("text", "said"), [("", "holds no token"), ("short\n", "this is no token"), ("desk two words token\n", "no token")]
)
def test_a_file_of_tokens_that_cannot_be_used(config: Path, tmp_path: Path, text: str, said: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "antifraud.cli", "desk", "serve", f"--config={config}", "--listen=127.0.0.1:0"]
    done = subprocess.run(
        [*command, f"--token-file={tokens}", "--redis=redis://127.0.0.1:1/0"],
        capture_output=True, text=True, timeout=60, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
