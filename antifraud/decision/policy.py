"""Regions, trunks and thresholds as the decision sees them: plain frozen values, built from config/ by settings."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from antifraud.domain import Ceiling, Verdict

if TYPE_CHECKING:
    from antifraud.scoring import Thresholds


class RegionPolicy(msgspec.Struct, frozen=True):
    """What one region carries out.

    ``label_at`` … ``block_at`` are scores (0-1) from which on the model asks for that verdict; None takes the
    model's own certified threshold. ``desk`` is the SIP URI that takes diverted calls; without one a diversion
    becomes a label, and so does a challenge without ``challenge`` (the SIP URI of the IVR that asks for a digit).
    ``params`` overrides rule parameters: rule id → parameter → value.
    """

    code: str
    ceiling: Ceiling = Ceiling.SHADOW
    label_at: float | None = None
    challenge_at: float | None = None
    divert_at: float | None = None
    block_at: float | None = None
    desk: str = ""
    challenge: str = ""
    block_code: int = 608
    language: str = "en"
    params: Mapping[str, Mapping[str, Any]] = {}


class Policy(msgspec.Struct, frozen=True):
    """Everything that configuration says about how calls of one shard are decided.

    ``switches`` maps a switch name to its region code; ``trunks`` are (glob pattern, class) pairs, first match
    wins, classes: international, national, subscriber. ``utc_offset_min`` is fixed on purpose: a time-zone
    database that changes under an engine would change its decisions.
    """

    shard: str
    country: str
    default_region: str
    regions: Mapping[str, RegionPolicy]
    switches: Mapping[str, str] = {}
    trunks: tuple[tuple[str, str], ...] = ()
    utc_offset_min: int = 300
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


def score_levels(region: RegionPolicy, certified: Thresholds) -> tuple[tuple[float, Verdict], ...]:
    """(score from which on, verdict) from hard to mild: the region's own thresholds, else those ``certified``."""
    levels = (
        (region.block_at, certified.block, Verdict.BLOCK),
        (region.divert_at, certified.divert, Verdict.DIVERT),
        (region.challenge_at, certified.challenge, Verdict.CHALLENGE),
        (region.label_at, certified.label, Verdict.LABEL),
    )
    chosen = ((own if own is not None else theirs, verdict) for own, theirs, verdict in levels)
    return tuple((threshold, verdict) for threshold, verdict in chosen if threshold is not None)
