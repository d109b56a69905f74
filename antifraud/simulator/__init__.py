"""Synthetic call traffic of a country with labelled fraud campaigns: seeded, reproducible, streamed."""

from __future__ import annotations

from antifraud.simulator.call import SimulatedEvent, Truth
from antifraud.simulator.columns import CallColumns
from antifraud.simulator.scenario import Scenario, find_scenario, load_scenario
from antifraud.simulator.stream import DEFAULT_START, simulate, simulate_columns

__all__ = [
    "DEFAULT_START",
    "CallColumns",
    "Scenario",
    "SimulatedEvent",
    "Truth",
    "find_scenario",
    "load_scenario",
    "simulate",
    "simulate_columns",
]
