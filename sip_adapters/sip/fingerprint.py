"""A stable fingerprint of the software that made an INVITE: header order and spelling, SDP shape, user-agent family.

Two calls from one dialler share it whatever numbers they carry; headers that proxies add on the way are left out.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from sip_adapters.sip.message import Message

_ADDED_ON_THE_WAY: Final = frozenset(
    {"via", "record-route", "route", "max-forwards", "p-asserted-identity", "p-charging-vector", "identity",
     "diversion", "history-info", "content-length"}
)  # fmt: skip
_FAMILY: Final = re.compile(r"[^A-Za-z]*([A-Za-z][A-Za-z \-_.]{0,31})")
_SDP_LINES: Final = 128


def fingerprint(message: Message) -> str:
    """Sixteen hexadecimal digits; equal for equal software, the same in every run and on every machine. "" when part
    of the message is missing."""
    if message.cut:
        return ""
    spelled: list[str] = []
    for name, canonical, _ in message.headers:
        if canonical not in _ADDED_ON_THE_WAY and (not spelled or spelled[-1] != name):
            spelled.append(name)
    shape = "\n".join([",".join(spelled), *sdp_shape(message.body), agent_family(message.first("user-agent"))])
    return hashlib.blake2b(shape.encode("utf-8"), digest_size=8).hexdigest()


def agent_family(user_agent: str) -> str:
    """The product's name in lower case without its version: ``Asterisk PBX 18.2`` → ``asterisk pbx``."""
    match = _FAMILY.match(user_agent[:128])
    return match.group(1).strip(" -_.").lower() if match else ""


def sdp_shape(body: bytes) -> list[str]:
    """The lines of an SDP body without what differs from call to call (addresses, ports, session ids)."""
    shape: list[str] = []
    for raw in body[:8192].split(b"\n")[:_SDP_LINES]:
        line = raw.rstrip(b"\r").decode("latin-1")
        if len(line) < 2 or line[1] != "=":
            continue
        kind, value = line[0], line[2:]
        if kind == "m":
            words = value.split(" ")
            shape.append("m=" + " ".join([*words[:1], *words[2:]]))
        elif kind == "a":
            shape.append("a=" + value.partition(":")[0])
        elif kind in "os":
            shape.append(f"{kind}={agent_family(value)}")
        else:
            shape.append(kind)
    return shape
