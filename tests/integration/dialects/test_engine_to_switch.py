"""From the engine as a process over a real Redis to what a SIP switch is answered: dialects by configuration alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from antifraud.domain import CallEvent, EventKind
from antifraud.queues import EmbeddedRedis
from sip_adapters.redirect import ADAPTER
from sip_adapters.redirect.caller import build_invite
from sip_adapters.sip import Message, parse
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.needs("redis")
CONFIG = Path(__file__).resolve().parents[3] / "config"
REDRESS = {
    "ANTIFRAUD_POLICY_REDRESS_NAME": "Redress of the operator",
    "ANTIFRAUD_POLICY_REDRESS_URL": "https://redress.example/blocked",
    "ANTIFRAUD_POLICY_REDRESS_TEL": "+77010000000",
}


@contextlib.contextmanager
def engine(redis_server: EmbeddedRedis, directory: Path, environment: Mapping[str, str]) -> Iterator[EngineProcess]:
    process = EngineProcess(redis_server.url, directory, "--model=none", environment=dict(environment))
    try:
        yield process.start()
    finally:
        process.stop()


@contextlib.asynccontextmanager
async def answered_at(url: str) -> AsyncIterator[str]:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    options = {"switch": "sw-kz-75", "trunk": "intl-1", "trusted_headers": True, "deadline_ms": 20_000}
    task = asyncio.create_task(ADAPTER.run(shard="kz", redis_url=url, options=options, ready=address.set_result))
    try:
        yield await asyncio.wait_for(address, 10)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[Message] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = parse(data)
        if answer.status >= 200:
            self.answers.put_nowait(answer)


async def call(address: str, callee: str) -> Message:
    """The answer to a call that shows a home number and comes in from abroad, from somebody who does not roam."""
    host, _, port = address.rpartition(":")
    event = CallEvent(
        kind=EventKind.SETUP, call_id=f"c-{time.monotonic_ns()}", ts=time.time(), caller_raw="+77010000003",
        callee_raw=callee, roaming=False,
    )  # fmt: skip
    client = _Client()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: client, remote_addr=(host, int(port))
    )
    try:
        local = "{}:{}".format(*transport.get_extra_info("sockname")[:2])
        transport.sendto(build_invite(event, f"z9hG4bK-{time.monotonic_ns()}", local))
        return await asyncio.wait_for(client.answers.get(), 20)
    finally:
        transport.close()


async def answer_of(redis_server: EmbeddedRedis, tmp_path: Path, environment: Mapping[str, str]) -> tuple[Message, str]:
    """What the switch is answered about a fraud call, and the engine's own log. An emergency call goes on meanwhile."""
    with engine(redis_server, tmp_path, environment) as process:
        async with answered_at(redis_server.url) as address:
            answer = await call(address, "87010000002")
            assert (await call(address, "112")).first("x-antifraud-verdict") == "allow"
        return answer, process.log.read_text()


async def test_608_as_configured_from_the_start(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    answer, _ = await answer_of(redis_server, tmp_path, {})
    assert (answer.status, answer.reason) == (608, "Rejected")
    reasons = answer.values("reason")
    assert reasons[0].startswith('SIP;cause=608;text="')
    assert reasons[1] == "Q.850;cause=21"
    assert answer.values("call-info") == []


async def test_603_plus(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    answer, _ = await answer_of(redis_server, tmp_path, {**REDRESS, "ANTIFRAUD_POLICY_DIALECT_BLOCK": "fcc603"})
    assert (answer.status, answer.reason) == (603, "Network Blocked")
    decision = answer.first("x-antifraud-decision")
    assert answer.values("reason") == [
        (
            'SIP;cause=603;text="v=analytics1;url=https://redress.example/blocked;tel=+77010000000;'
            f'id={decision}";location=RLN'
        )
    ]


async def test_608_with_a_signed_card(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "redress.pem").write_bytes(pem)
    environment = {**REDRESS, "ANTIFRAUD_POLICY_REDRESS_KEY_FILE": str(tmp_path / "redress.pem")}
    answer, log = await answer_of(redis_server, tmp_path, environment)
    assert answer.status == 608
    value = answer.first("call-info")
    assert value.endswith(">;purpose=jwscard")
    protected, payload, signature = value.removesuffix(">;purpose=jwscard").partition(",")[2].split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public_key().verify(der, f"{protected}.{payload}".encode(), ec.ECDSA(SHA256()))
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert abs(claims["iat"] - time.time()) < 3700
    assert ["fn", {}, "text", "Redress of the operator"] in claims["jcard"][1]
    assert pem.decode().splitlines()[1] not in log


async def test_one_switch_in_another_dialect(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    text = (config / "default.yaml").read_text(encoding="utf-8")
    changed = text.replace("{region: KZ-75}", "{region: KZ-75, dialect: {block: hushed, reason: false}}")
    assert changed != text
    (config / "default.yaml").write_text(changed, encoding="utf-8")
    # A directory of one's own need not repeat the dialects that came along.
    hushed = "dialects:\n  hushed: {like: plain480, block: {phrase: Not Now}}\n"
    (config / "dialects.yaml").write_text(hushed, encoding="utf-8")
    answer, _ = await answer_of(redis_server, tmp_path, {"ANTIFRAUD_CONFIG": str(config)})
    assert (answer.status, answer.reason) == (480, "Not Now")
    assert answer.values("reason") == ["Q.850;cause=18"]


async def test_a_label_that_handsets_show(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    answer, _ = await answer_of(
        redis_server,
        tmp_path,
        {"ANTIFRAUD_REGIONS_KZ_75_POLICY_CEILING": "label", "ANTIFRAUD_POLICY_DIALECT_LABEL": "verstat"},
    )
    assert (answer.status, answer.first("x-antifraud-verdict")) == (404, "label")
    label = answer.first("x-antifraud-label")
    assert answer.values("p-asserted-identity") == [f'"{label}" <tel:+77010000003;verstat=TN-Validation-Failed>']
