"""All kinds of campaigns, and the traffic that they make together: new ones start so that fraud has its share.

New kinds are added to ``KINDS``. Which of them a country has, and how strong, a scenario says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from antifraud.domain import ConfigError
from antifraud.simulator.call import Call
from antifraud.simulator.campaign import Campaign
from antifraud.simulator.machines import FlashCall, Flood, PbxHacking, Robocall, SipScanner, Wangiri
from antifraud.simulator.persuasion import (
    CallCentre,
    Chain,
    CodeTheft,
    GsmGateway,
    LowAndSlow,
    MirrorSpoof,
    OutboundLuring,
    PbxRelay,
    RoamingSims,
)
from antifraud.simulator.scenario import Span
from antifraud.simulator.world import World

KINDS: Final[Mapping[str, type[Campaign]]] = {
    kind.kind: kind
    for kind in (
        CallCentre, GsmGateway, Chain, Robocall, Wangiri, SipScanner, PbxHacking, FlashCall, CodeTheft, OutboundLuring,
        LowAndSlow, RoamingSims, MirrorSpoof, PbxRelay, Flood,
    )
}  # fmt: skip

_REMEMBERED: Final = 200_000
"""Calls of campaigns of which somebody may still say that they were stopped."""


class FraudTraffic:
    """All campaigns of one run: starts new ones so that their calls make up the wanted share.

    ``volume`` is calls per second over the week. A campaign never gets more than its part of the share, so that
    small worlds see many kinds too; one of a kind that weighs less than 1 gets so much less. ``heard``: somebody will
    say which calls were stopped.
    """

    def __init__(self, world: World, seed: int, start: float, volume: float, *, heard: bool = False) -> None:
        fraud = world.settings.fraud
        check_kinds(fraud.kinds)
        self._world = world
        self._spans = fraud.kinds
        self._names = tuple(fraud.kinds)
        weights = np.array([fraud.kinds[name]["weight"].high for name in self._names])
        self._weights = weights / weights.sum() if len(weights) else weights
        self._wanted = volume * 3600 * fraud.share
        self._most = max(1e-6, self._wanted / fraud.concurrent)
        self._seed = seed
        self._start = start
        self._started = 0
        self._heard = heard
        self._calls: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.running: list[Campaign] = []
        self._bag: list[str] = []
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(start), 0xF4A0D])))

    def calls(self, start: float, end: float, hour: int) -> list[Call]:
        """The calls of campaigns set up in [start, end), which lie in local ``hour``, in order of time."""
        if not self._names or self._wanted <= 0:
            return []
        self.running = [campaign for campaign in self.running if campaign.ends > start]
        while sum(campaign.load for campaign in self.running) < self._wanted * 0.999:
            self.running.append(self._new(start))
        made = []
        for campaign in self.running:
            made += campaign.calls(start, min(end, campaign.ends), campaign.rate * campaign.works(hour))
        made.sort(key=lambda call: call.ts)
        return made

    def remember(self, calls: Sequence[Call], ids: Iterable[str]) -> None:
        """The ``calls`` have got their ``ids``; somebody may say of them that they were stopped."""
        for call, call_id in zip(calls, ids, strict=True):
            if call.truth.fraud:
                self._calls[call_id] = (call.truth.campaign, call.seat)
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)

    def stopped(self, ids: Iterable[str], now: float) -> None:
        """The calls with ``ids`` were stopped; ids of honest or forgotten calls mean nothing."""
        running = {campaign.truth.campaign: campaign for campaign in self.running}
        for call_id in ids:
            name, seat = self._calls.pop(call_id, ("", -1))
            if name in running:
                running[name].stopped(seat, now)

    def _new(self, now: float) -> Campaign:
        self._started += 1
        kind = self._next_kind()
        name = f"{self._seed}-{int(self._start)}-{self._started}-{kind}"
        rng = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, int(self._start), 0xCA4, self._started]))
        )
        room = self._wanted - sum(campaign.load for campaign in self.running)
        fraud = self._world.settings.fraud
        most = min(self._most * min(1.0, self._spans[kind]["weight"].high), room)
        campaign = KINDS[kind](self._world, rng, self._spans[kind], name, now, most, fraud.adaptive, heard=self._heard)
        if self._started <= fraud.concurrent:
            # Those that run at the beginning began some time before, so that they do not all end together.
            campaign.ends = now + (campaign.ends - now) * float(rng.uniform(0.2, 1.0))
        return campaign

    def _next_kind(self) -> str:
        """By weight; but every kind once before any comes again, so that a short run has them all."""
        if not self._bag:
            order = self._rng.choice(len(self._names), len(self._names), replace=False, p=self._weights)
            self._bag = [self._names[index] for index in order.tolist()] if self._started <= 1 else []
        if self._bag:
            return self._bag.pop(0)
        return self._names[int(self._rng.choice(len(self._names), p=self._weights))]


def check_kinds(kinds: Mapping[str, Mapping[str, Span]]) -> None:
    """ConfigError unless every kind is known and has exactly the parameters that it needs."""
    for name, spans in kinds.items():
        known = KINDS.get(name)
        if known is None:
            hint = f"kinds: {', '.join(KINDS)}"
            raise ConfigError(f"fraud.kinds.{name}: there is no such kind of campaign", hint=hint)
        missing, unknown = sorted(known.parameters - set(spans)), sorted(set(spans) - known.parameters)
        if missing:
            raise ConfigError(
                f"fraud.kinds.{name}: {', '.join(missing)} missing", hint="config/scenarios/ shows them all"
            )
        if unknown:
            known_names = ", ".join(sorted(known.parameters))
            raise ConfigError(
                f"fraud.kinds.{name}: {', '.join(unknown)} means nothing here", hint=f"it takes {known_names}"
            )
