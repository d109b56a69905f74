"""Events of the product's own simulator, prepared as the engine prepares them: what the fold and plain Python see."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from antifraud.cli.assembly import build_numbering, read_settings
from antifraud.decision import FactBook, load_bundle
from antifraud.domain import CallEvent
from antifraud.features import WindowSet
from antifraud.settings import Settings
from antifraud.simulator import simulate
from benchmarks.features.measure import say


class Product(msgspec.Struct, frozen=True):
    """The shipped windows, and what turns an event into the row that their conditions read."""

    settings: Settings
    windows: WindowSet
    facts: FactBook

    def prepared(self, events: Sequence[CallEvent]) -> tuple[list[CallEvent], list[list[object]]]:
        """The events with their numbers normalised, and their rows."""
        found = [self.facts.prepare(event) for event in events]
        return [item.event for item in found], [item.row for item in found]


def product() -> Product:
    """Everything of the shipped product that the windows have to do with; no model."""
    settings = read_settings({"model": "none"})
    facts = FactBook(build_numbering(settings, warm=True), settings.policy())
    return Product(settings, load_bundle(settings.rules_dir).windows, facts)


def national(calls: int, seed: int) -> list[CallEvent]:
    """The events of ``calls`` simulated calls of one day in order of time; SystemExit when they are not."""
    events = []
    for number, item in enumerate(simulate("national", seed, calls)):
        events.append(item.event)
        if number % 10_000 == 0:
            say(f"simulating {number} events")
    if any(one.ts > other.ts for one, other in pairwise(events)):
        raise SystemExit("the simulator's events are not in order of time")
    return events


def add_calls(parser: argparse.ArgumentParser, *, whole: int, quick: int) -> None:
    """``--calls``, ``--seed`` and ``--quick`` for a benchmark over simulated calls."""
    parser.add_argument("--calls", type=int, metavar="N", help=f"simulated calls ({whole}; {quick} with --quick)")
    parser.add_argument("--seed", type=int, default=1)
    parser.set_defaults(whole=whole, few=quick)


def calls_of(options: argparse.Namespace) -> int:
    """How many calls were asked for."""
    return int(options.calls or (options.few if options.quick else options.whole))
