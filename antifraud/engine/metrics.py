"""The engine's figures as Prometheus reads them: GET /metrics, answered by threads that never touch the engine.

The engine leaves a copy of its numbers (``Figures``) on a ``Board`` about once a second; whoever asks is given the
last copy. A few askers at a time, each with two seconds for the whole of a request, so that nobody can use up the
engine's threads or file descriptors or keep the others waiting; one answer is worked out for each copy.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread, Timer
from typing import Any, Final, Protocol, Self, cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from antifraud import __version__
from antifraud.domain import ConfigError, Verdict
from antifraud.engine.figures import LATENCY_STEPS_MS, Board, Figures

_REQUEST_S: Final = 2.0
_MOST_ASKERS: Final = 8
_COUNTERS: Final = {
    "events": "entries of the log that were worked on",
    "decisions": "decisions by the verdict that was carried out",
    "challenger_differs": "decisions that the challenger would have made otherwise, by the verdict it would have given",
    "late": "decisions that came after their deadline and were not pushed",
    "duplicates": "decisions about a setup that had been in the log before",
    "feedback": "reports written into the log about calls that full enforcement would have stopped",
    "quarantine": "entries that could not be understood, by class",
    "judging_failures": "calls that were let go on because judging them failed",
    "commands_refused": "commands that Redis refused inside a transaction",
    "reply_key_refused": "replies that were asked for under a foreign key",
    "redis_errors": "times that Redis did not answer",
    "log_gaps": "times that the log had been cut before it was read",
    "log_behind": "times that the log ended before the engine's position",
    "control_refused": "control entries that were refused; the quarantine says why",
    "control_gaps": "starts at which control entries may have been cut off before they were obeyed",
    "list_changes": "run-time changes of lists that were accepted",
    "lists_left_aside": "run-time entries that did not fit the lists at a start or reload",
    "interceptions": "decisions about calls in progress by the verdict that was carried out",
    "commands": "commands written for switches, by what they ask for",
    "block_requests": "requests about numbers and calls that were obeyed, by what they ask for",
    "rule_blocks": "callers' numbers that rules had blocked, or blocked for longer",
    "rule_blocks_left": "callers' numbers that rules wanted blocked and that were left, by the reason",
    "blocks_ended": "numbers that left the register because their time was over",
    "blocks_lifted": "numbers that left the register because they had come under protection",
    "blocks_left_aside": "fields of the register that could not be understood at a start",
    "calls_forgotten": "calls in progress that were forgotten, by the reason",
    "reloads": "rule sets taken while running",
    "reload_refused": "rule sets refused while running",
    "snapshots": "snapshots written",
    "snapshot_errors": "snapshots that could not be written",
}
_LABELS: Final = {
    "decisions": "verdict",
    "challenger_differs": "verdict",
    "quarantine": "code",
    "interceptions": "verdict",
    "commands": "op",
    "block_requests": "op",
    "rule_blocks_left": "reason",
    "calls_forgotten": "reason",
}
_LATENCY: Final = "latency_ms."
#: What is counted of the fold as a whole: its name in ``Fold.stats``, whether it only grows, and what it means.
_FOLD: Final = (
    ("events", True, "events folded into the windows, those of earlier runs included"),
    ("setups", True, "set-ups folded into the windows"),
    ("known_since", False, "epoch seconds since which every caller is known; a score waits engine.warm_up_s after it"),
    ("duplicates", True, "events that had been in the log before and were not counted again"),
    ("late", True, "additions to windows, several for an event, that came after their time had gone"),
    ("remembered", False, "events remembered for recognising duplicates"),
    ("memory_bytes", False, "memory that the windows take now"),
    ("memory_limit_bytes", False, "memory that the windows may take (features.memory_limit)"),
)
#: What is counted of each table or stream of pairs: the suffix in ``Fold.stats``, the label, growing, the meaning.
_FOLD_PARTS: Final = (
    ("keys", "table", False, "keys that the windows hold now"),
    ("bytes", "table", False, "memory that the keys take now"),
    ("evicted", "table", True, "keys that were forgotten for lack of room"),
    ("pairs", "stream", False, "pairs that the windows hold now for distinct counts"),
    ("cut", "stream", True, "pairs that were forgotten: their key had too many, or room was needed"),
)


class FigureCollector(Collector):
    """The families of one board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Every family, those that have not counted anything yet as zero."""
        figures = self._board.figures
        about = {
            "version": __version__,
            "shard": self._board.shard,
            "bundle": figures.bundle,
            "model": figures.model,
            "challenger": figures.challenger,
        }
        yield InfoMetricFamily("antifraud_engine", "what runs here", about)
        yield GaugeMetricFamily(
            "antifraud_serving", "1: this engine serves the shard, 0: it stands by", figures.serving
        )
        yield GaugeMetricFamily("antifraud_killed", "1: the kill switch is on, nothing is carried out", figures.killed)
        about_rules = "1: the last change of the rules was refused, older ones are in force"
        yield GaugeMetricFamily("antifraud_rules_refused", about_rules, figures.refused)
        about_challenger = "1: the challenger was refused, the model in force is alone; `antifraud doctor` says why"
        yield GaugeMetricFamily("antifraud_challenger_refused", about_challenger, figures.challenger_refused)
        yield from self._counters(figures.counts)
        yield self._latency(figures)
        yield from self._features(figures.fold)

    @staticmethod
    def _counters(counts: Mapping[str, int]) -> Iterator[Metric]:
        found: dict[str, dict[str, int]] = {name: {} for name in _COUNTERS}
        found["decisions"] = {verdict.word: 0 for verdict in Verdict}
        for name, number in counts.items():
            if not name.startswith(_LATENCY):
                head, _, tail = name.partition(".")
                found.setdefault(head, {})[tail] = number
        for head, numbers in found.items():
            about = _COUNTERS.get(head, f"the engine's counter {head}")
            label = _LABELS.get(head) or ("kind" if any(numbers) else None)
            family = CounterMetricFamily(f"antifraud_{head}", about, labels=[label] if label else None)
            for tail, number in numbers.items() if label else {"": numbers.get("", 0)}.items():
                family.add_metric([tail] if label else [], number)
            yield family

    @staticmethod
    def _latency(figures: Figures) -> Metric:
        total = 0
        buckets: list[tuple[str, float]] = []
        for step in LATENCY_STEPS_MS:
            total += figures.counts.get(f"{_LATENCY}{step}", 0)
            buckets.append((repr(step / 1000), total))
        buckets.append(("+Inf", total + figures.counts.get(f"{_LATENCY}more", 0)))
        about = "seconds from a setup's arrival in the log to its reply, of the setups that somebody waited for"
        return HistogramMetricFamily("antifraud_latency_seconds", about, buckets=buckets, sum_value=figures.latency_s)

    @staticmethod
    def _features(fold: Mapping[str, int | float]) -> Iterator[Metric]:
        for name, grows, about in _FOLD:
            if name in fold:
                make: Callable[..., Any] = CounterMetricFamily if grows else GaugeMetricFamily
                yield make(f"antifraud_features_{name}", about, fold[name])
        for suffix, label, grows, about in _FOLD_PARTS:
            make = CounterMetricFamily if grows else GaugeMetricFamily
            family = make(f"antifraud_features_{suffix}", about, labels=[label])
            for name, number in fold.items():
                part, dot, last = name.rpartition(".")
                if dot and last == suffix:
                    family.add_metric([part], number)
            yield family


class Copies(Protocol):
    """What an answer is worked out from: a new object whenever there is something new to tell."""

    @property
    def figures(self) -> object:
        """The last copy."""
        ...


class MetricsServer:
    """Answers GET /metrics on ``listen`` (``host:port``) in a thread of its own from entering to leaving.

    ``collector`` makes families of the copies on ``board``; left out, ``board`` is an engine's.
    """

    def __init__(self, listen: str, board: Copies, collector: Collector | None = None) -> None:
        host, _, port = listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        registry = CollectorRegistry()
        registry.register(collector if collector is not None else FigureCollector(cast("Board", board)))
        try:
            (family, _kind, _protocol, _name, address), *_ = socket.getaddrinfo(
                host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self._server = _Server(family, address, board, registry)
        except (OSError, ValueError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise ConfigError(
                f"metrics.listen {listen} cannot be used: {reason}",
                hint="another program may listen there already, such as a second engine of this machine; name a free "
                'address (ANTIFRAUD_METRICS_LISTEN sets it), or "" to serve no metrics',
            ) from None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.25}, daemon=True)

    @property
    def url(self) -> str:
        """Where the figures are."""
        host, port = self._server.server_address[:2]
        shown = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join(_REQUEST_S)
        self._server.server_close()


class _Server(ThreadingMixIn, HTTPServer):
    """At most ``_MOST_ASKERS`` at a time; whoever comes on top of those is hung up on."""

    request_queue_size = 16
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: Any, board: Copies, registry: CollectorRegistry) -> None:
        self.address_family = family
        self._board = board
        self._registry = registry
        self._answers: dict[str, bytes] = {}
        self._answered = board.figures
        self._answering = Lock()
        self._room = BoundedSemaphore(_MOST_ASKERS)
        super().__init__(address, _Handler)
        # The child that writes a snapshot must not keep the port when its engine is killed and started again.
        os.register_at_fork(after_in_child=self.socket.close)

    def server_bind(self) -> None:
        # HTTPServer asks the name service who it is, which may take seconds and is of no use here.
        super(HTTPServer, self).server_bind()

    def answer(self, accept: str) -> tuple[bytes, str]:
        """The body and its type for what the asker accepts."""
        encode, content_type = choose_encoder(accept)
        with self._answering:
            if self._answered is not self._board.figures:
                self._answered = self._board.figures
                self._answers.clear()
            if content_type not in self._answers:
                self._answers[content_type] = encode(self._registry)
            return self._answers[content_type], content_type

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An asker who goes away in the middle is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    """One asker, who has ``_REQUEST_S`` for the whole of the request, however little is sent at a time."""

    timeout = _REQUEST_S
    server: _Server
    server_version = "antifraud"
    sys_version = ""

    def handle(self) -> None:
        guard = Timer(_REQUEST_S, self._hang_up)
        guard.daemon = True
        guard.start()
        try:
            self.handle_one_request()
        finally:
            guard.cancel()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "there is only /metrics")
            return
        body, content_type = self.server.answer(self.headers.get("Accept", ""))
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
        """Nothing: requests are no news."""
