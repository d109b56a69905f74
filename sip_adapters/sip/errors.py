"""The one error of SIP parsing. Nothing else leaves this package, whatever bytes come in."""

from __future__ import annotations

from typing import NamedTuple, Self

from antifraud.domain import EventError


class Envelope(NamedTuple):
    """The raw (latin-1) header values that an answer repeats: what RFC 3261 §8.2.6.2 copies from the request."""

    method: str
    vias: tuple[str, ...]
    sender: str
    to: str
    call_id: str
    cseq: str


class SipError(EventError):
    """A message that cannot be understood.

    ``status`` is what RFC 3261 answers to it (400, 416, 483, 505 …). ``envelope`` is there when the message is a
    request that can be answered: it names a Via, From, To, Call-ID and CSeq, and is no ACK.
    """

    def __init__(self, code: str, detail: str, status: int = 400, envelope: Envelope | None = None) -> None:
        super().__init__(code, detail)
        self.status = status
        self.envelope = envelope

    def with_envelope(self, envelope: Envelope | None) -> Self:
        """The same error, answerable."""
        self.envelope = envelope
        return self
