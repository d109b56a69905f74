"""Dial plans, E.164 and facts about a number; tables compiled from the metadata of ``phonenumbers``."""

from __future__ import annotations

from antifraud.numbering.facts import NumberFacts, Numbering
from antifraud.numbering.plan import DialPlan, EmergencyCode, load_dial_plan

__all__ = ["DialPlan", "EmergencyCode", "NumberFacts", "Numbering", "load_dial_plan"]
