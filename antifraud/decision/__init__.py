"""decide(): the verdict lattice, stages, region policy. Pure and synchronous."""

from __future__ import annotations

from antifraud.decision.bundle import Bundle, load_bundle
from antifraud.decision.decide import Decider, decision_id
from antifraud.decision.facts import MODEL_FACTS, ROW, FactBook, Prepared
from antifraud.decision.policy import Policy, RegionPolicy

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
]
