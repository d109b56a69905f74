"""Synthetic call traffic of a country with labelled fraud campaigns: seeded, reproducible, streamed."""

from __future__ import annotations

from antifraud.simulator.call import SimulatedEvent, Truth
from antifraud.simulator.scenario import Scenario, find_scenario, load_scenario
from antifraud.simulator.stream import DEFAULT_START, simulate

__all__ = ["DEFAULT_START", "Scenario", "SimulatedEvent", "Truth", "find_scenario", "load_scenario", "simulate"]
