"""Telephones of the end-to-end tests that are written byte by byte: they call, answer, hang up and note each BYE.

For what SIPp cannot do: two calls with one Call-ID at a time, and answers within a tenth of a millisecond.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Self


class Phone:
    """One UDP endpoint on loopback that places calls and takes them; a call is known by its caller's tag.

    Calls to ``busy`` are refused with 486; a BYE of a call in ``deaf`` is not answered. ``byes`` says when (epoch s)
    this side was told that which call is over.
    """

    def __init__(self, busy: str = "+77020000486") -> None:
        self._busy = busy.encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = int(self._socket.getsockname()[1])
        self.byes: dict[str, list[float]] = {}
        self.deaf: set[str] = set()
        self.statuses: dict[str, int] = {}
        self._answers: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def call(self, to: int, caller: str, callee: str, call_id: str, tag: str) -> None:
        """Send an INVITE to the switch at port ``to``; its final status comes to stand in ``statuses``."""
        self._send(
            "INVITE", f"sip:{callee}@127.0.0.1:{to}", to, 1, (), caller, f"<sip:{callee}@example.test>", call_id, tag
        )

    def talks(self, tag: str) -> bool:
        """Whether the call was answered."""
        return self.statuses.get(tag) == 200

    def hang_up(self, to: int, tag: str) -> None:
        """End a call that this side placed and that was answered."""
        answer = self._answers[tag]
        (uri,) = re.findall(r"<(.*)>", _header(answer, "Contact"))
        caller = re.findall(r"<sip:(.*?)@", _header(answer, "From"))[0]
        self._send("BYE", uri, to, 2, _routes(answer), caller, _header(answer, "To"), _header(answer, "Call-ID"), tag)

    def _send(
        self, method: str, uri: str, to: int, cseq: int, routes: tuple[str, ...], caller: str, to_: str, call_id: str,
        tag: str,
    ) -> None:  # fmt: skip
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK-{tag}-{method}-{cseq}",
            *(f"Route: {route}" for route in routes),
            f"From: <sip:{caller}@example.test>;tag={tag}",
            f"To: {to_}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:caller@127.0.0.1:{self.port}>",
            "Max-Forwards: 20",
            "Content-Length: 0",
        ]
        self._socket.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", to))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                raw, source = self._socket.recvfrom(65_535)
            except TimeoutError:
                continue
            if raw.startswith(b"SIP/2.0 "):
                self._take_answer(raw, source[1])
            elif raw.startswith(b"BYE "):
                tags = _tag(_header(raw, "From")), _tag(_header(raw, "To"))
                caller = next(tag for tag in tags if not tag.startswith("to-"))
                if caller not in self.deaf:
                    self._answer(raw, source, "200 OK")
                self.byes.setdefault(caller, []).append(time.time())
            elif raw.startswith(b"INVITE "):
                refused = raw.partition(b"@")[0].endswith(self._busy)
                self._answer(raw, source, "486 Busy Here" if refused else "200 OK")

    def _take_answer(self, raw: bytes, to: int) -> None:
        status, tag = int(raw[8:11]), _tag(_header(raw, "From"))
        if status < 200 or "INVITE" not in _header(raw, "CSeq"):
            return
        caller = re.findall(r"<sip:(.*?)@", _header(raw, "From"))[0]
        if status < 300:
            (uri,) = re.findall(r"<(.*)>", _header(raw, "Contact"))
            routes = _routes(raw)
        else:
            uri, routes = f"sip:nobody@127.0.0.1:{to}", ()
        self._answers[tag] = raw
        self._send("ACK", uri, to, 1, routes, caller, _header(raw, "To"), _header(raw, "Call-ID"), tag)
        self.statuses[tag] = status

    def _answer(self, raw: bytes, to: tuple[str, int], status: str) -> None:
        kept = []
        for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            name = line.partition(b":")[0].lower()
            if name in (b"via", b"from", b"call-id", b"cseq", b"record-route"):
                kept.append(line)
            elif name == b"to":
                tag = _tag(_header(raw, "From"))
                kept.append(line if b";tag=" in line else line + f";tag=to-{tag}".encode())
        own = [b"SIP/2.0 " + status.encode(), *kept, f"Contact: <sip:callee@127.0.0.1:{self.port}>".encode()]
        self._socket.sendto(b"\r\n".join([*own, b"Content-Length: 0", b"", b""]), to)


def _header(raw: bytes, name: str) -> str:
    for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name.lower().encode():
            return value.decode("latin-1").strip()
    raise ValueError(f"no {name} in {raw[:80]!r}")


def _tag(value: str) -> str:
    return value.partition(";tag=")[2].partition(";")[0]


def _routes(answer: bytes) -> tuple[str, ...]:
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    routes = [
        line.partition(b":")[2].decode("latin-1").strip() for line in lines if line.lower().startswith(b"record-route:")
    ]
    return tuple(reversed(routes))
