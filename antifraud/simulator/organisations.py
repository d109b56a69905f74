"""Honest organisations that call a lot: how many there are at a volume of calls, and which numbers they have.

Campaigns use them too: a hacked exchange is an honest organisation's, and so is the line that speaks a stolen code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from antifraud.simulator.call import Truth
from antifraud.simulator.plan import HOME_BASE, MOBILE_PREFIXES, SHORT_CODES, Floats, Ints, below, unit
from antifraud.simulator.scenario import Organisation

if TYPE_CHECKING:
    from antifraud.simulator.world import World

_FIRST_KEY: Final = 0x7AD0
_FOREIGN_TRADES: Final = 12
"""Organisations abroad are in the first so many countries of the table."""


class Trade:
    """The organisations of one trade: how many lines there are at this volume, and their numbers."""

    def __init__(self, name: str, settings: Organisation, world: World, volume_per_hour: float, key: int) -> None:
        self.name = name
        self.settings = settings
        self.key = key
        # Everything about an organisation is drawn anew with the country, or its numbers would be known by heart.
        self._salt = world.key ^ (key << 32)
        open_hours = max(1, settings.close - settings.open)
        busy = volume_per_hour * settings.share * 24 / open_hours
        self.lines = max(1, round(busy / settings.calls_per_line_hour))
        self.truth = Truth(fraud=False, campaign="", scenario=name)
        self._world = world

    def some_lines(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """Owner and seat of the lines that make ``count`` calls; the first of them are the busiest."""
        line = np.floor(self.lines * rng.random(count) ** 1.25).astype(np.int64)
        return line // self.settings.lines, line % self.settings.lines

    def regions(self, owners: Ints) -> Ints:
        """The region index of each owner."""
        return self._world.region(below(owners, self._salt, self._world.size))

    def numbers(self, owners: Ints, regions: Ints, seats: Ints) -> Ints:
        """The calling number of each owner's seat: an organisation has a block from a place of its own on."""
        if self.settings.origin == "fixed":
            return HOME_BASE + self._world.fixed(regions, below(owners, self._salt ^ 1, 999_000) + seats)
        if self.settings.origin == "mobile":
            prefix = MOBILE_PREFIXES[below(owners, self._salt ^ 2, len(MOBILE_PREFIXES))]
            return np.asarray(
                HOME_BASE + prefix * 10_000_000 + below(owners, self._salt ^ 3, 9_999_000) + seats, dtype=np.int64
            )
        if self.settings.origin == "short":
            return SHORT_CODES[owners % len(SHORT_CODES)]
        return self._world.in_country(below(owners, self._salt ^ 4, _FOREIGN_TRADES), owners) + seats

    def likeness(self, owners: Ints, spread: float) -> Floats:
        """How far each owner is from the middle of its trade, in [-1, 1] times ``spread``."""
        return (2.0 * unit(owners, self._salt ^ 5) - 1.0) * spread


def trades_of(world: World, volume_per_hour: float) -> tuple[Trade, ...]:
    """The trades of ``world`` at so many calls an hour, averaged over the week."""
    return tuple(
        Trade(name, settings, world, volume_per_hour, _FIRST_KEY + 64 * index)
        for index, (name, settings) in enumerate(world.settings.organisations.items())
    )
