"""The vocabulary of the product as plain frozen structures: call events, verdicts, decisions, errors. No I/O."""

from __future__ import annotations

from antifraud.domain.adapter import Adapter, CallAnswer, Caller, PlacedCall, Reader, SwitchAgent
from antifraud.domain.decision import Decision, Reason
from antifraud.domain.errors import (
    AntifraudError,
    BundleError,
    ConfigError,
    EventError,
    Location,
    ModelError,
    Problem,
    QueueError,
    UsageError,
)
from antifraud.domain.event import (
    LIMITS,
    NUMERIC_FIELDS,
    TEXT_FIELDS,
    CallEvent,
    EventKind,
    Quarantined,
    check_event,
)
from antifraud.domain.verdict import Ceiling, Stage, Verdict, cap

__all__ = [
    "LIMITS",
    "NUMERIC_FIELDS",
    "TEXT_FIELDS",
    "Adapter",
    "AntifraudError",
    "BundleError",
    "CallAnswer",
    "CallEvent",
    "Caller",
    "Ceiling",
    "ConfigError",
    "Decision",
    "EventError",
    "EventKind",
    "Location",
    "ModelError",
    "PlacedCall",
    "Problem",
    "Quarantined",
    "QueueError",
    "Reader",
    "Reason",
    "Stage",
    "SwitchAgent",
    "UsageError",
    "Verdict",
    "cap",
    "check_event",
]
