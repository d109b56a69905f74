"""How a model in force and its challenger differ on the same calls: how often, about whom, and how certain that is.

Columns of decisions in, a tree of figures out. Both verdicts are those of full enforcement, rules included, so stages
and ceilings are no matter.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from antifraud.domain import Decision, UsageError, Verdict
from antifraud.scoring.resampling import CONFIDENCE, Clusters, false_rate

FORMAT: Final = "antifraud.challenge/1"
MOST_CALLS: Final = 20_000_000
MOST_CLASSES: Final = 64
_MOST_EXAMPLES: Final = 10
_ROUNDS: Final = 200
#: Draws of callers times callers: one byte each.
_MOST_DRAWN: Final = 256 << 20


class Duel:
    """Gathers decisions of one model and one challenger: those of the last pair that was seen.

    A few bytes a decision are kept, and ``_MOST_EXAMPLES`` decisions of either kind of difference.
    """

    def __init__(self) -> None:
        self.pair = ("", "")
        self.left_out = 0
        self._clear()

    def _clear(self) -> None:
        self._caller, self._class = array("q"), array("b")
        self._own, self._other = array("b"), array("b")
        self._callers: dict[str, int] = {}
        self._classes: dict[str, int] = {}
        self._examples: dict[str, list[Decision]] = {"model": [], "challenger": []}

    def add(self, decision: Decision) -> None:
        """Take ``decision`` in. UsageError when there are too many. Duplicates and calls without a challenger are left
        out, and what an earlier pair said."""
        if not decision.challenger or decision.duplicate:
            self.left_out += 1
            return
        pair = (decision.model, decision.challenger)
        if pair != self.pair:
            self.left_out += len(self._own)
            self._clear()
            self.pair = pair
        if len(self._own) >= MOST_CALLS:
            raise UsageError(f"more than {MOST_CALLS:,} decisions", hint="look at fewer days: --since, --until")
        own, other = Verdict.parse(decision.full_verdict), Verdict.parse(decision.challenger_verdict)
        # A block of a hundred numbers is one caller: organisations call from many lines of one block.
        number = decision.caller[:-2] if len(decision.caller) > 6 else decision.caller
        self._caller.append(self._callers.setdefault(number, len(self._callers)))
        kind = decision.caller_class
        if kind not in self._classes and len(self._classes) >= MOST_CLASSES:
            kind = ""
        self._class.append(self._classes.setdefault(kind, len(self._classes)))
        self._own.append(own)
        self._other.append(other)
        stops, rival = own >= Verdict.DIVERT, other >= Verdict.DIVERT
        if stops != rival:
            kept = self._examples["model" if stops else "challenger"]
            if len(kept) < _MOST_EXAMPLES:
                kept.append(decision)

    def report(self, seed: int = 1) -> dict[str, Any]:
        """The figures. UsageError when no decision has a challenger."""
        count = len(self._own)
        if not count:
            hint = "name one in config/ (challenger), start the engine again, and wait for calls"
            raise UsageError("no decision here was made beside a challenger", hint=hint)
        own, other = np.array(self._own, dtype=np.int64), np.array(self._other, dtype=np.int64)
        rounds = max(20, min(_ROUNDS, _MOST_DRAWN // max(1, len(self._callers))))
        clusters = Clusters(np.array(self._caller, dtype=np.int64), rounds, seed)
        classes = np.array(self._class, dtype=np.int64)
        kinds: dict[str, npt.NDArray[np.bool_]] = {}
        for word, level in (("stopped", Verdict.DIVERT), ("blocked", Verdict.BLOCK)):
            model, challenger = own >= level, other >= level
            kinds[f"{word}_by_model"], kinds[f"{word}_by_challenger"] = model, challenger
            kinds[f"{word}_only_by_model"] = model & ~challenger
            kinds[f"{word}_only_by_challenger"] = challenger & ~model
        kinds["verdict_differs"] = own != other
        pairs, times = np.unique(np.stack([own, other], axis=1), axis=0, return_counts=True)
        names = list(self._classes)
        by_class: list[dict[str, Any]] = [{"class": name, "calls": 0} for name in names]
        shares: dict[str, Any] = {}
        for word, hit in kinds.items():
            whole = clusters.shares(hit)
            shares[word] = {"calls": int(whole.hit[0]), "share": false_rate(whole)}
            parts = clusters.shares(hit, classes, len(names))
            for code, part in enumerate(by_class):
                part["calls"] = int(parts.total[code])
                part[word] = {"calls": int(parts.hit[code]), "share": false_rate(parts, code)}
        return {
            "format": FORMAT,
            "model": self.pair[0],
            "challenger": self.pair[1],
            "calls": count,
            "callers": len(self._callers),
            "left_out": self.left_out,
            "intervals": {"confidence": CONFIDENCE, "rounds": rounds, "seed": seed, "drawn": "callers"},
            "verdicts": [
                {"model": Verdict(pair[0]).word, "challenger": Verdict(pair[1]).word, "calls": int(number)}
                for pair, number in zip(pairs.tolist(), times.tolist(), strict=True)
            ],
            **shares,
            "classes": sorted(by_class, key=lambda part: str(part["class"])),
            "examples": {
                f"stopped_only_by_{who}": [
                    {
                        "decision": one.id, "ts": one.ts, "class": one.caller_class, "score": one.score,
                        "challenger_score": one.challenger_score,
                    }
                    for one in kept
                ]
                for who, kept in self._examples.items()
            },
        }  # fmt: skip
