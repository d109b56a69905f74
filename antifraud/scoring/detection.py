"""Time to detect a campaign: which of its calls is the first to be stopped, diverted or blocked, and how long it takes.

A campaign that never is counts as never, in every figure: leaving it out would make a system look quicker that
finds less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from antifraud.domain import Verdict
from antifraud.scoring.judged_calls import Bools, Calls, Floats, Integers, Side, Verdicts, blocks, stops
from antifraud.scoring.resampling import Clusters

#: A campaign's first calls, in which there is little yet to recognise it by.
FIRST_CALLS: Final = 20
BY_CALL: Final = (1, 2, 5, 10, 20, 50, 100)
BY_MINUTE: Final = (1, 5, 15, 60, 240, 1440)


def positions(campaign: Integers, ts: Floats) -> Integers:
    """How many calls of its campaign each call comes after; -1 for honest calls (campaign -1)."""
    order = np.lexsort((np.arange(len(ts)), ts, campaign))
    ordered = campaign[order]
    place = np.arange(len(order))
    begins = np.append(True, ordered[1:] != ordered[:-1]) if len(order) else np.zeros(0, dtype=np.bool_)
    first = np.maximum.accumulate(np.where(begins, place, 0))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = place - first
    found[campaign < 0] = -1
    return found


class Campaigns:
    """The campaigns of ``calls``: when each began, and of what kind it is (that of its first call).

    ``count`` of them began among these calls. One that began earlier, when the engine was new, counts in no figure of
    detection: how quickly it would have been found nobody can say.
    """

    def __init__(self, calls: Calls, fraud: Side) -> None:
        self._fraud = fraud
        self.place = calls.place if calls.place is not None else positions(calls.campaign, calls.ts)
        self._codes, self._ts = fraud.clusters.codes, calls.ts[fraud.index]
        self._all = fraud.clusters.count
        self._began = np.full(self._all, np.inf)
        np.minimum.at(self._began, self._codes, self._ts)
        here = np.zeros(self._all, dtype=np.bool_)
        here[self._codes[self.place[fraud.index] == 0]] = True
        self._here = np.flatnonzero(here)
        self.count = len(self._here)
        self._kind = np.zeros(self._all, dtype=np.int64)
        # Backwards, so that the first call of each is written last.
        self._kind[self._codes[::-1]] = calls.behaviour[fraud.index][::-1]
        # Each campaign is one cluster here: draws of campaigns, for figures of campaigns.
        self._draws = Clusters(np.arange(self.count, dtype=np.int64), len(fraud.clusters.draws), 1)

    def first(self, hit: Bools) -> tuple[Floats, Floats]:
        """Of each campaign that began here: the number, from 1 on, of its first call that ``hit`` (of all calls) marks,
        and how many minutes after its first call that was; infinite where there is none."""
        those = hit[self._fraud.index]
        call, when = np.full(self._all, np.inf), np.full(self._all, np.inf)
        np.minimum.at(call, self._codes[those], self.place[self._fraud.index][those] + 1.0)
        np.minimum.at(when, self._codes[those], self._ts[those])
        return call[self._here], ((when - self._began) / 60.0)[self._here]

    def until(self, hit: Bools) -> dict[str, Any]:
        """How many campaigns have a call that ``hit`` marks, and after how many calls and minutes the first comes."""
        call, minutes = self.first(hit)
        known = np.isfinite(call)
        return {
            "campaigns": int(known.sum()),
            "share": self._draws.shares(known).of(0),
            "never": float(np.mean(~known)) if len(known) else None,
            "calls": self._draws.median(call),
            "calls_p90": p90(call),
            "minutes": self._draws.median(minutes),
            "minutes_p90": p90(minutes),
            "by_call": [{"call": at, "share": _share(call <= at)} for at in BY_CALL],
            "by_minute": [{"minute": at, "share": _share(minutes <= at)} for at in BY_MINUTE],
        }

    def by_behaviour(self, calls: Calls, verdict: Verdicts) -> list[dict[str, Any]]:
        """The same, shorter, for each kind of fraud."""
        firsts = {word: self.first(hit) for word, hit in _hits(verdict).items()}
        found = []
        kinds = self._kind[self._here]
        for code in sorted(set(kinds.tolist()), key=lambda one: calls.behaviours[one]):
            these = kinds == code
            part: dict[str, Any] = {"name": calls.behaviours[code] or "unnamed", "campaigns": int(these.sum())}
            for word, (call, minutes) in firsts.items():
                part[f"until_{word}"] = {
                    "never": _share(~np.isfinite(call[these])),
                    "calls": _middle(call[these]),
                    "calls_p90": p90(call[these]),
                    "minutes": _middle(minutes[these]),
                    "minutes_p90": p90(minutes[these]),
                }
            found.append(part)
        return found


def add_detection(
    systems: dict[str, dict[str, Any]], calls: Calls, fraud: Side, verdicts: Mapping[str, Verdicts]
) -> Campaigns:
    """Put ``detection`` and the recall after a campaign's first 20 calls into each of ``systems``."""
    campaigns = Campaigns(calls, fraud)
    for name, part in systems.items():
        hits = _hits(verdicts[name])
        part["stopped"]["recall_after_first_20"] = fraud.share_among(hits["stopped"], campaigns.place >= FIRST_CALLS)
        detection: dict[str, Any] = {"campaigns": campaigns.count}
        part["detection"] = detection | {f"until_{word}": campaigns.until(hit) for word, hit in hits.items()}
    return campaigns


def p90(values: Floats) -> float | None:
    """What nine in ten of ``values`` do not exceed; None when that is never (infinite), or there is none."""
    return _at(values, 0.9)


def _middle(values: Floats) -> float | None:
    return _at(values, 0.5)


def _at(values: Floats, share: float) -> float | None:
    if not len(values):
        return None
    found = float(np.sort(values)[max(0, int(np.ceil(share * len(values))) - 1)])
    return found if np.isfinite(found) else None


def _share(those: Bools) -> float | None:
    return float(np.mean(those)) if len(those) else None


def _hits(verdict: Verdicts) -> dict[str, Bools]:
    return {"stopped": stops(verdict), "diverted": verdict == int(Verdict.DIVERT), "blocked": blocks(verdict)}
