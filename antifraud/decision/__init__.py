"""decide(): the verdict lattice, stages, region policy. Pure and synchronous.

Loading a bundle needs neither numpy nor numba: what decides is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from antifraud.decision.bundle import Bundle, load_bundle
from antifraud.decision.facts import MODEL_FACTS, ROW, FactBook, Prepared
from antifraud.decision.feedback import stopped_report
from antifraud.decision.policy import Policy, RegionPolicy

if TYPE_CHECKING:
    from antifraud.decision.decide import Decider, decision_id

__all__ = [
    "MODEL_FACTS",
    "ROW",
    "Bundle",
    "Decider",
    "FactBook",
    "Policy",
    "Prepared",
    "RegionPolicy",
    "decision_id",
    "load_bundle",
    "stopped_report",
]


def __getattr__(name: str) -> Any:
    if name in ("Decider", "decision_id"):
        from antifraud.decision import decide

        return getattr(decide, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
