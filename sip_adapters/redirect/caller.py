"""Places calls on a redirect server the way a switch would: one UDP socket, many calls at once (RFC 3261 §17.1.1)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from typing import Any, Final, cast
from urllib.parse import quote

from antifraud.domain import CallAnswer, CallEvent, PlacedCall, UsageError
from sip_adapters.redirect.answer import VERDICT_HEADER, verdict_of
from sip_adapters.redirect.options import split_address
from sip_adapters.redirect.protocol import MAGIC_COOKIE, T1, T2
from sip_adapters.sip import Message, SipError, header_value, is_plain, parse

TIMEOUT_S: Final = 8.0
_USER_SAFE: Final = "-_.!~*'()&=+$,;?/"
HEADERS: Final = {field: f"X-Antifraud-{field.capitalize()}" for field in ("switch", "trunk", "imsi", "imei", "cell")}
"""Event field → the header in which this caller hands it over."""

_SDP: Final = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8 0 101\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
)


class RedirectCaller:
    """The caller that ``antifraud demo`` uses."""

    name = "redirect"

    async def open(self, address: str) -> PlaceCall:
        """A socket towards ``address`` (host:port); UsageError when that is none."""
        try:
            host, port = split_address(address)
        except ValueError:
            raise UsageError(f"{address!r} is no address", hint="write host:port") from None
        loop = asyncio.get_running_loop()
        placer = PlaceCall()
        try:
            await loop.create_datagram_endpoint(lambda: placer, remote_addr=(host, port))
        except OSError as error:
            raise UsageError(f"{address} cannot be called: {error.strerror or error}") from None
        return placer


class PlaceCall(asyncio.DatagramProtocol):
    """Calls with one PlacedCall at a time, from as many tasks as there are; ``close`` frees the socket.

    A call that nobody answers within eight seconds counts as allowed with status 408: that is what a switch does.
    """

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._provisional: set[str] = set()
        self._numbers = itertools.count(1)
        self._token = secrets.token_hex(4)
        self._local = "127.0.0.1:5060"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        host, port = transport.get_extra_info("sockname")[:2]
        self._local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:  # noqa: ARG002 - asyncio names it
        """A response came in."""
        try:
            response = parse(data)
        except SipError:
            return
        branch = response.via.branch
        if response.is_request or response.cseq_method != "INVITE":
            return
        if response.status < 200:
            self._provisional.add(branch)
            return
        self._send(_ack(response, self._local))
        future = self._waiting.get(branch)
        if future is not None and not future.done():
            future.set_result(response)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there; the retransmissions find out whether that lasts."""

    def close(self) -> None:
        """Free the socket."""
        if self._transport is not None:
            self._transport.close()

    async def __call__(self, call: PlacedCall) -> CallAnswer:
        """Place one call; its verdict, the seconds until it came, the SIP status."""
        branch = f"{MAGIC_COOKIE}-{self._token}-{next(self._numbers)}"
        invite = build_invite(call.event, branch, self._local)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[branch] = future
        start = time.monotonic()
        interval = T1
        try:
            self._send(invite)
            while True:
                left = start + TIMEOUT_S - time.monotonic()
                if left <= 0:
                    return CallAnswer(verdict="allow", seconds=time.monotonic() - start, status=408)
                with contextlib.suppress(TimeoutError):
                    response = await asyncio.wait_for(asyncio.shield(future), min(interval, left))
                    stated = response.first(VERDICT_HEADER.lower())
                    seconds = time.monotonic() - start
                    return CallAnswer(verdict_of(response.status, stated), seconds, response.status)
                interval = min(interval * 2, T2)
                if branch not in self._provisional:
                    self._send(invite)
        finally:
            self._waiting.pop(branch, None)
            self._provisional.discard(branch)
            future.cancel()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data)


def build_invite(event: CallEvent, branch: str, local: str) -> bytes:
    """The INVITE that a switch would send for ``event``; whatever its texts hold, they stay in their headers."""
    callee = quote(event.callee_raw or event.callee, safe=_USER_SAFE) or "unknown"
    caller = event.caller_raw or event.caller
    sender = f"<sip:{quote(caller, safe=_USER_SAFE)}@switch.invalid>" if caller else "<sip:anonymous@anonymous.invalid>"
    call_id = event.call_id if is_plain(event.call_id) else quote(event.call_id, safe="")
    lines = [
        f"INVITE sip:{callee}@antifraud.invalid SIP/2.0",
        f"Via: SIP/2.0/UDP {local};branch={branch};rport",
        "Max-Forwards: 70",
        f"From: {sender};tag={branch[-24:]}",
        f"To: <sip:{callee}@antifraud.invalid>",
        f"Call-ID: {call_id}",
        "CSeq: 1 INVITE",
        f"Contact: <sip:switch@{local}>",
    ]
    if event.asserted:
        lines.append(f"P-Asserted-Identity: <sip:{quote(event.asserted, safe=_USER_SAFE)}@switch.invalid>")
    if event.diversion:
        lines.append(f"Diversion: <sip:{quote(event.diversion, safe=_USER_SAFE)}@switch.invalid>;reason=unconditional")
    for name, value in (("Privacy", event.privacy), ("Identity", event.identity), ("User-Agent", event.user_agent)):
        if value:
            lines.append(f"{name}: {header_value(value)}")
    lines += [f"{name}: {header_value(value)}" for field, name in HEADERS.items() if (value := getattr(event, field))]
    if event.roaming is not None:
        lines.append(f"X-Antifraud-Roaming: {'yes' if event.roaming else 'no'}")
    lines += ["Content-Type: application/sdp", f"Content-Length: {len(_SDP)}", "", _SDP]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _ack(response: Message, local: str) -> bytes:
    """The ACK to a final response that is no 2xx: the INVITE's branch, the response's To (§17.1.1.3)."""
    envelope = response.envelope
    return (
        f"ACK {response.to.uri.raw} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={response.via.branch};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: {envelope.sender}\r\nTo: {envelope.to}\r\nCall-ID: {envelope.call_id}\r\n"
        f"CSeq: {response.cseq} ACK\r\nContent-Length: 0\r\n\r\n"
    ).encode("latin-1", "replace")


CALLER: Final = RedirectCaller()
