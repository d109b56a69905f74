"""Regions, trunks and thresholds as the decision sees them: plain frozen values, built from config/ by settings."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from antifraud.decision.desks import Desk
from antifraud.decision.fail import FailPolicy
from antifraud.domain import Ceiling, Verdict

if TYPE_CHECKING:
    from antifraud.scoring import ClassThresholds, Thresholds


class RegionPolicy(msgspec.Struct, frozen=True):
    """What one region carries out.

    ``label_at`` … ``block_at`` are scores (0-1) from which on the model asks for that verdict; None takes the
    model's own certified threshold for the call's class. They can be stricter than that, and milder only where
    ``within_certificate`` is false. ``desk`` is the SIP URI that takes diverted calls; without one a diversion
    becomes a label, and so does a challenge without ``challenge`` (the SIP URI of the IVR that asks for a digit).
    ``queues`` names desks of the policy, in the order in which they are asked for a place, and takes the place of
    ``desk``; ``overflow`` is what becomes of a call that none of them has one for.
    ``params`` overrides rule parameters: rule id → parameter → value. ``fail`` is for calls that nobody could judge.
    """

    code: str
    ceiling: Ceiling = Ceiling.SHADOW
    label_at: float | None = None
    challenge_at: float | None = None
    divert_at: float | None = None
    block_at: float | None = None
    within_certificate: bool = True
    desk: str = ""
    queues: tuple[str, ...] = ()
    overflow: Verdict = Verdict.LABEL
    challenge: str = ""
    block_code: int = 608
    language: str = "en"
    params: Mapping[str, Mapping[str, Any]] = {}
    fail: FailPolicy = FailPolicy()


class Policy(msgspec.Struct, frozen=True):
    """Everything that configuration says about how calls of one shard are decided.

    ``switches`` maps a switch name to its region code; ``trunks`` are (glob pattern, class) pairs, first match
    wins, classes: international, national, subscriber, desk (what a desk hands back). ``utc_offset_min`` is fixed on
    purpose: a time-zone database that changes under an engine would change its decisions.
    ``warm_up_s``: for so long after the first event that the windows know of, the score asks for no more than a label:
    everybody looks new to an engine that is new.
    """

    shard: str
    country: str
    default_region: str
    regions: Mapping[str, RegionPolicy]
    switches: Mapping[str, str] = {}
    trunks: tuple[tuple[str, str], ...] = ()
    desks: tuple[Desk, ...] = ()
    utc_offset_min: int = 300
    warm_up_s: float = 0.0
    digest: str = ""

    def region(self, code: str) -> RegionPolicy:
        """The policy of region ``code``; the default region's where it is not configured."""
        found = self.regions.get(code)
        return found if found is not None else self.regions[self.default_region]

    def trunk_class(self, trunk: str) -> str:
        """The class of ``trunk``; empty when no pattern matches."""
        for pattern, name in self.trunks:
            if fnmatch.fnmatchcase(trunk, pattern):
                return name
        return ""


def score_levels(region: RegionPolicy, certified: Thresholds | ClassThresholds) -> tuple[tuple[float, Verdict], ...]:
    """(score from which on, verdict) from hard to mild: those ``certified``, or the region's own where stricter.

    A verdict that is not certified (None) is not asked for, whatever the region says, unless the region goes beyond
    the certificate. A challenge has no certificate: the region's own threshold holds for it, not below that of label.
    """
    asked = certified.challenge
    if asked is None and region.challenge_at is not None:
        asked = certified.label
    levels = (
        (region.block_at, certified.block, Verdict.BLOCK),
        (region.divert_at, certified.divert, Verdict.DIVERT),
        (region.challenge_at, asked, Verdict.CHALLENGE),
        (region.label_at, certified.label, Verdict.LABEL),
    )
    chosen = ((_at(own, theirs, within=region.within_certificate), verdict) for own, theirs, verdict in levels)
    return tuple((threshold, verdict) for threshold, verdict in chosen if threshold is not None)


def _at(own: float | None, certified: float | None, *, within: bool) -> float | None:
    if own is None or (within and certified is None):
        return certified
    return max(own, certified) if within and certified is not None else own
