"""The fail policy: what becomes of a call that nobody could decide about. A ladder, from mild to hard.

=================  ==========================================================  ======================
rung               what becomes of the call                                    verdict, SIP status
=================  ==========================================================  ======================
``allow``          it goes on                                                  allow
``label``          it goes on with a label                                     label
``national_only``  it goes on unless it is known to cross the border           allow, or block with 503
``emergency_only`` it is refused for now; the switch before may try elsewhere  block with 503
``refuse``         it is refused for good, as a blocked call                   block, the region's
=================  ==========================================================  ======================

Whatever the rung, emergency calls and protected calls go on, and no rung reaches above the region's ceiling: where
nothing is carried out, nothing is carried out here either.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

import msgspec

from antifraud.domain import Ceiling, Verdict

UNAVAILABLE: Final = 503
ANY_TRUNK: Final = "any"
TRUNK_CLASSES: Final = ("international", "national", "subscriber")
DESK_TRUNK: Final = "desk"
"""The class of trunks on which a desk hands back what people have judged already."""


class FailReason(Enum):
    """Why nobody decided."""

    LATE = "late"
    REDIS = "redis"
    OVERLOAD = "overload"
    BUNDLE_MISSING = "bundle_missing"
    DESK_FULL = "desk_full"


class FailAction(IntEnum):
    """The rungs, from mild to hard."""

    ALLOW = 0
    LABEL = 1
    NATIONAL_ONLY = 2
    EMERGENCY_ONLY = 3
    REFUSE = 4

    @property
    def word(self) -> str:
        """The rung as it is written in YAML."""
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> FailAction:
        """The rung that ``word`` names; KeyError when it names none."""
        return cls[word.upper()]


class FailPolicy(msgspec.Struct, frozen=True):
    """The rungs of one region: trunk class (``any`` for what holds on any trunk) → reason → rung. What is not there is
    ``allow``."""

    rungs: Mapping[str, Mapping[str, FailAction]] = {}

    def said(self, trunk_class: str, reason: FailReason) -> FailAction | None:
        """What the region says of calls on trunks of this class; None where it says nothing."""
        found = self.rungs.get(trunk_class, {}).get(reason.value)
        return found if found is not None else self.rungs.get(ANY_TRUNK, {}).get(reason.value)

    def rung(self, trunk_class: str, reason: FailReason) -> FailAction:
        """What the region wants for calls on trunks of this class; an unknown class is any trunk."""
        return self.said(trunk_class, reason) or FailAction.ALLOW

    def under(self, ceiling: Ceiling, trunk_class: str, reason: FailReason) -> FailAction:
        """The rung that is carried out under ``ceiling``: one that refuses is a label where nothing may be refused, and
        of ``national_only`` only on the trunks whose calls it would refuse, as far as the trunk tells."""
        wanted = self.rung(trunk_class, reason)
        if ceiling.verdict < Verdict.LABEL or trunk_class == DESK_TRUNK:
            return FailAction.ALLOW
        if ceiling.verdict is Verdict.BLOCK:
            return wanted
        if wanted is FailAction.NATIONAL_ONLY and trunk_class != "international":
            return FailAction.ALLOW
        return min(wanted, FailAction.LABEL)


class Fallback(msgspec.Struct, frozen=True):
    """What is carried out instead of a decision; ``code`` is the SIP status of a refusal, 0 for the region's own."""

    verdict: Verdict
    code: int = 0
    action: FailAction = FailAction.ALLOW


def fallback(
    policy: FailPolicy,
    ceiling: Ceiling,
    trunk_class: str,
    reason: FailReason,
    *,
    protected: bool,
    abroad: bool | None = None,
) -> Fallback:
    """What becomes of one call. ``protected``: an emergency call, or one that a list protects; when that is not known
    say that it is. ``abroad``: whether it crosses the border; None is not known, and such a call counts as national.
    """
    action = policy.under(ceiling, trunk_class, reason)
    if protected or action is FailAction.ALLOW:
        return Fallback(Verdict.ALLOW)
    if action is FailAction.LABEL:
        return Fallback(Verdict.LABEL, action=action)
    if action is FailAction.NATIONAL_ONLY:
        crosses = trunk_class == "international" or abroad is True
        return Fallback(Verdict.BLOCK, UNAVAILABLE, action) if crosses else Fallback(Verdict.ALLOW, action=action)
    if action is FailAction.EMERGENCY_ONLY:
        return Fallback(Verdict.BLOCK, UNAVAILABLE, action)
    return Fallback(Verdict.BLOCK, 0, action)
