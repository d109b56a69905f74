"""The product's public interface to switches: the Redis protocol, its encodings and its time-outs."""

from __future__ import annotations

from antifraud.queues.embedded import EmbeddedRedis, find_server
from antifraud.queues.protocol import (
    Control,
    Keys,
    Reply,
    decode_control,
    decode_decision,
    decode_event,
    decode_reply,
    encode_control,
    encode_decision,
    encode_event,
    encode_quarantined,
    encode_reply,
    waiting_switch,
)
from antifraud.queues.streams import REDIS_ERRORS, CallLog, ReplyInbox, check_cancelled, connect, shown_url

__all__ = [
    "REDIS_ERRORS",
    "CallLog",
    "Control",
    "EmbeddedRedis",
    "Keys",
    "Reply",
    "ReplyInbox",
    "check_cancelled",
    "connect",
    "decode_control",
    "decode_decision",
    "decode_event",
    "decode_reply",
    "encode_control",
    "encode_decision",
    "encode_event",
    "encode_quarantined",
    "encode_reply",
    "find_server",
    "shown_url",
    "waiting_switch",
]
