"""Alerts by MQTT: one message for every decision that full enforcement would not simply have allowed.

A consumer group on the decisions stream keeps the place. An entry is acknowledged only after the broker confirmed
its message (QoS 1), so nothing is lost while the broker, Redis or this process is away, and after a failure a message
may come twice: ``id`` tells which. While the broker is away nothing is read, so memory is bounded by one batch. What
the engine trims from the stream before it could be sent is counted as lost.

Topic: ``<prefix>/<shard>/<region>/<verdict>``, the verdict being the one that was carried out. No alert is raised in
regions whose ceiling is *off*, for calls that full enforcement allows, and for repeated setups.

Why the model scored a call as it did is worked out here, beside the loop that decides: in a thread, for at most a
quarter of a second a batch. Alerts that come after that go without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiomqtt
import msgspec
from redis import exceptions as redis_errors

from antifraud.domain import Ceiling, ConfigError, Decision, EventError, Reason, Verdict
from antifraud.queues import REDIS_ERRORS, Keys, connect, decode_decision
from antifraud.settings import AlertSettings

GROUP: Final = "alerts"
_LOG: Final = logging.getLogger("antifraud.alerts")
_BATCH: Final = 256
_BLOCK_MS: Final = 500
_CLAIM_IDLE_MS: Final = 60_000
_CLAIM_EVERY_S: Final = 30.0
_LOOK_BACK_MS: Final = 60_000
_PAUSE_S: Final = (0.1, 5.0)
_STOP_S: Final = 3.0
_QOS: Final = 1
_EXPLAINING_S: Final = 0.25

Entry = tuple[bytes, Mapping[bytes, bytes]]
Explain = Callable[[Decision], tuple[str, ...]]


class Alert(msgspec.Struct, frozen=True):
    """The message, as JSON. ``verdict`` was carried out, ``full_verdict`` is what full enforcement would have done.

    ``explanation``: sentences on the score, in the region's language, when it asks for a verdict.
    """

    v: int
    id: str
    call_id: str
    ts: float
    shard: str
    region: str
    ceiling: str
    caller: str
    callee: str
    verdict: str
    full_verdict: str
    reasons: tuple[Reason, ...]
    target: str
    score: float | None
    late: bool
    explanation: tuple[str, ...] = ()


def alert_of(decision: Decision, explanation: tuple[str, ...] = ()) -> Alert | None:
    """The alert that ``decision`` raises; None when it raises none."""
    if (
        decision.full_verdict == Verdict.ALLOW.word
        or decision.ceiling == Ceiling.OFF.word
        or decision.protected
        or decision.duplicate
    ):
        return None
    return Alert(
        v=1,
        id=decision.id,
        call_id=decision.call_id,
        ts=decision.ts,
        shard=decision.shard,
        region=decision.region,
        ceiling=decision.ceiling,
        caller=decision.caller,
        callee=decision.callee,
        verdict=decision.verdict,
        full_verdict=decision.full_verdict,
        reasons=decision.reasons,
        target=decision.target,
        score=decision.score,
        late=decision.late,
        explanation=explanation,
    )


def topic_of(prefix: str, alert: Alert) -> str:
    """The topic of ``alert``; whatever would be a level or a wildcard inside a level becomes an underscore."""
    levels = (alert.shard, alert.region or "none", alert.verdict)
    return "/".join([prefix.strip("/"), *("".join("_" if c in "/+#\0" else c for c in level) for level in levels)])


class Broker(msgspec.Struct, frozen=True):
    """Where and how to reach the broker."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    ca_file: str | None


def read_broker(options: AlertSettings) -> Broker:
    """The broker that ``options`` name; ConfigError when the address or one of its files cannot be used."""
    try:
        parts = urlsplit(options.url)
        tls = parts.scheme == "mqtts"
        port = parts.port or (8883 if tls else 1883)
    except ValueError as error:
        raise ConfigError(f"alerts.url cannot be used: {error}", hint="write mqtt://host:1883") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError("alerts.url names no broker", hint="write mqtt://host:1883 or mqtts://host:8883")
    password = unquote(parts.password) if parts.password is not None else None
    if options.password_file is not None:
        try:
            password = Path(options.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"alerts.password_file {options.password_file} cannot be read: {error}") from None
    if options.ca_file is not None and not Path(options.ca_file).is_file():
        raise ConfigError(f"alerts.ca_file {options.ca_file} does not exist")
    username = unquote(parts.username) if parts.username else None
    return Broker(parts.hostname, port, username, password, tls, options.ca_file)


class Alerts:
    """Publishes the alerts of one shard. ``counts``: published, skipped, lost, garbled, reconnected, unexplained."""

    def __init__(
        self,
        redis_url: str,
        shard: str,
        options: AlertSettings,
        stop: asyncio.Event,
        *,
        timeout_s: float = 2.0,
        explain: Explain | None = None,
    ) -> None:
        self._stop = stop
        self._broker = read_broker(options)
        self._redis = connect(redis_url, timeout_s=timeout_s, name="antifraud-alerts")
        self._keys = Keys(shard)
        self._options = options
        self._consumer = options.consumer or socket.gethostname()
        self._claim_at = 0.0
        self._away = ""
        self._explain = explain
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Publish until told to stop; whatever is away is tried again, ever slower."""
        pause = _PAUSE_S[0]
        first = True
        try:
            while not self._stop.is_set():
                progress = self.counts.total()
                try:
                    await self._ensure_group("0" if not first else await self._start_id())
                    first = False
                    await self._serve()
                except aiomqtt.MqttError as error:
                    self._note_away("the broker", error)
                except REDIS_ERRORS as error:
                    self._note_away("Redis", error)
                    with contextlib.suppress(*REDIS_ERRORS):
                        await self._redis.connection_pool.disconnect(inuse_connections=False)
                pause = _PAUSE_S[0] if self.counts.total() != progress else min(pause * 2, _PAUSE_S[1])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
                self.counts["reconnected"] += 1
        finally:
            await self._redis.aclose()

    def _note_away(self, what: str, error: BaseException) -> None:
        if self._away != what:
            _LOG.warning("alerts wait: %s is away (%s)", what, error)
        self._away = what

    async def _start_id(self) -> str:
        """Where a group that did not exist begins: a minute back, so that whoever turns alerts on in a running
        shard is not told about days that are over, and nothing is missed between two services that start together."""
        seconds, micros = await self._redis.time()
        return f"{max(0, int(seconds) * 1000 + int(micros) // 1000 - _LOOK_BACK_MS)}-0"

    async def _ensure_group(self, start: str) -> None:
        try:
            await self._redis.xgroup_create(self._keys.decisions, GROUP, id=start, mkstream=True)
        except redis_errors.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _client(self) -> aiomqtt.Client:
        broker = self._broker
        context = ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None
        client = aiomqtt.Client(
            hostname=broker.host,
            port=broker.port,
            username=broker.username,
            password=broker.password,
            tls_context=context,
            identifier=f"antifraud-{self._keys.shard}-{self._consumer}-{os.getpid()}",
            timeout=self._options.timeout_s,
            keepalive=30,
            max_inflight_messages=self._options.max_inflight,
            max_concurrent_outgoing_calls=self._options.max_inflight,
            max_queued_outgoing_messages=_BATCH,
        )
        client.pending_calls_threshold = self._options.max_inflight
        return client

    async def _serve(self) -> None:
        """Publish over one connection until something goes away."""
        async with self._client() as client:
            if self._away:
                _LOG.info("alerts go on")
            self._away = ""
            # What this consumer was given before and never acknowledged comes first.
            await self._resend(client)
            while not self._stop.is_set():
                entries = await self._claim() or await self._read(">")
                if entries:
                    await self._publish(client, entries)

    async def _resend(self, client: aiomqtt.Client) -> None:
        place = "0"
        while not self._stop.is_set():
            entries = await self._read(place)
            if not entries:
                return
            await self._publish(client, entries)
            place = entries[-1][0].decode()

    async def _read(self, place: str) -> Sequence[Entry]:
        found: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, {self._keys.decisions: place}, count=_BATCH, block=_BLOCK_MS
        )
        return found[0][1] if found else ()

    async def _claim(self) -> Sequence[Entry]:
        """Entries that another consumer was given and never acknowledged: its machine is gone."""
        now = asyncio.get_running_loop().time()
        if now < self._claim_at:
            return ()
        answer: Any = await self._redis.xautoclaim(
            self._keys.decisions, GROUP, self._consumer, min_idle_time=_CLAIM_IDLE_MS, count=_BATCH
        )
        # Redis 7 forgets entries that were trimmed meanwhile and says which they were, whoever had been given them.
        trimmed = answer[2] if len(answer) > 2 else ()
        entries = [entry for entry in answer[1] if entry[0] is not None] + [(entry, {}) for entry in trimmed]
        if not entries:
            self._claim_at = now + _CLAIM_EVERY_S
        return entries

    async def _publish(self, client: aiomqtt.Client, entries: Sequence[Entry]) -> None:
        """Publish one batch and acknowledge what was confirmed; the first failure is raised after that."""
        done: list[bytes] = []
        counts: Counter[str] = Counter()
        decided: list[tuple[bytes, Decision]] = []
        for entry_id, fields in entries:
            if not fields:
                counts["lost"] += 1
                done.append(entry_id)
                continue
            try:
                decision = decode_decision(fields)
            except EventError as error:
                _LOG.warning("decision %s cannot be read: %s", entry_id.decode(), error)
                counts["garbled"] += 1
                done.append(entry_id)
                continue
            if alert_of(decision) is None:
                counts["skipped"] += 1
                done.append(entry_id)
            else:
                decided.append((entry_id, decision))
        explanations = await self._explained([decision for _entry, decision in decided], counts)
        sending: list[tuple[bytes, str, bytes]] = []
        for (entry_id, decision), explanation in zip(decided, explanations, strict=True):
            alert = alert_of(decision, explanation)
            assert alert is not None, "it raised one before"
            sending.append((entry_id, topic_of(self._options.topic_prefix, alert), msgspec.json.encode(alert)))
        results = await asyncio.gather(
            *(client.publish(topic, payload, qos=_QOS) for _entry, topic, payload in sending), return_exceptions=True
        )
        failure: BaseException | None = None
        for (entry_id, _topic, _payload), result in zip(sending, results, strict=True):
            if isinstance(result, BaseException):
                failure = failure or result
            else:
                counts["published"] += 1
                done.append(entry_id)
        if counts["lost"]:
            _LOG.error("%d decisions were trimmed from the log before their alerts could be sent", counts["lost"])
        await self._acknowledge(done, counts)
        if failure is not None:
            raise failure

    async def _explained(self, decisions: Sequence[Decision], counts: Counter[str]) -> list[tuple[str, ...]]:
        """The explanation of each; empty where there is nothing to explain, or no time left for it."""
        explain = self._explain
        if explain is None or not any(decision.features for decision in decisions):
            return [()] * len(decisions)

        def work() -> list[tuple[str, ...]]:
            until = time.monotonic() + _EXPLAINING_S
            found: list[tuple[str, ...]] = []
            for decision in decisions:
                if not decision.features:
                    found.append(())
                elif time.monotonic() >= until:
                    counts["unexplained"] += 1
                    found.append(())
                else:
                    found.append(explain(decision))
            return found

        try:
            return await asyncio.to_thread(work)
        except Exception:  # noqa: BLE001 - an alert without its explanation is still an alert
            _LOG.exception("alerts go without explanations from now on")
            self._explain = None
            return [()] * len(decisions)

    async def _acknowledge(self, done: Sequence[bytes], counts: Counter[str]) -> None:
        if not done:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.xack(self._keys.decisions, GROUP, *done)
            for name in ("published", "lost", "garbled", "unexplained"):
                if counts[name]:
                    pipe.hincrby(self._keys.counters, f"alerts.{name}", counts[name])
            await pipe.execute()
        self.counts.update(counts)


async def run_alerts(
    redis_url: str,
    shard: str,
    options: AlertSettings,
    stop: asyncio.Event,
    *,
    timeout_s: float = 2.0,
    explain: Explain | None = None,
) -> None:
    """Publish the alerts of ``shard`` until ``stop`` is set; ``explain``, called in a thread, says why of a score.

    Raises ConfigError when ``options`` name no broker that could be tried; a broker or Redis that is away is waited
    for. At the end the batch that is under way may finish; what it does not confirm in time is sent by the next run.
    """
    alerts = Alerts(redis_url, shard, options, stop, timeout_s=timeout_s, explain=explain)
    work = asyncio.ensure_future(alerts.run())
    waiter = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, waiter}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({work}, timeout=_STOP_S)
        if work.done():
            work.result()
    finally:
        for task in (work, waiter):
            task.cancel()
        await asyncio.gather(work, waiter, return_exceptions=True)
