"""How verdicts fare when names are permuted: each permuted run beside the run over the calls as they were."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from antifraud.domain import UsageError
from antifraud.scoring.certificate import lower_bound
from antifraud.scoring.judged_calls import RUN, Bools, Calls, Floats, Side, Subject, Verdicts, blocks, stops
from antifraud.scoring.metrics import auc
from antifraud.scoring.resampling import false_rate


class PermutedRun(msgspec.Struct, frozen=True):
    """One run over the calls with ``what`` of them permuted, and in which way (``how``).

    ``at_block`` are calls whose score reaches the threshold of block.
    """

    what: str
    how: str
    score: Floats
    at_block: Bools
    verdicts: dict[str, Verdicts]


def permuted_run(what: str, how: str, calls: Calls, before: Calls, subject: Subject) -> PermutedRun:
    """What ``calls``, the permuted ones, say; UsageError unless they are those of ``before``, one by one."""
    if not np.array_equal(calls.ts, before.ts) or not np.array_equal(calls.fraud, before.fraud):
        raise UsageError(
            f"with {what} {how} other calls are repeated set-ups than before: nothing to compare",
            hint="do call ids repeat in the events? give each call an id of its own",
        )
    at_block = subject.reaches(calls.rows, calls.score, "block")
    return PermutedRun(what, how, calls.score, at_block, calls.verdicts)


def compare(calls: Calls, fraud: Side, benign: Side, subject: Subject, runs: list[PermutedRun]) -> list[dict[str, Any]]:
    """One entry a run. ``lost`` and ``gained`` count fraudulent calls that were stopped before and are not any more, or
    the other way round."""
    found = []
    for run in runs:
        systems = {}
        for name in RUN:
            now, before = run.verdicts[name], calls.verdicts[name]
            part: dict[str, Any] = {}
            for word, hit in (("stopped", stops(now)), ("blocked", blocks(now))):
                of_fraud, of_honest = fraud.share(hit), benign.share(hit)
                part[word] = {
                    "fraud_calls": int(of_fraud.hit[0]),
                    "recall": of_fraud.of(0),
                    "honest_calls": int(of_honest.hit[0]),
                    "false_rate": false_rate(of_honest),
                }
            part["lost"] = int(np.count_nonzero(calls.fraud & stops(before) & ~stops(now)))
            part["gained"] = int(np.count_nonzero(calls.fraud & ~stops(before) & stops(now)))
            systems[name] = part
        by_score = int(np.count_nonzero(run.at_block & ~calls.fraud))
        found.append(
            {
                "what": run.what,
                "how": run.how,
                "auc": auc(calls.fraud, run.score),
                "blocked_by_score": by_score,
                "violated": lower_bound(by_score, benign.count) > subject.budgets["block"],
                "systems": systems,
                "fraud_behaviours": _kinds(calls, run),
            }
        )
    return found


def _kinds(calls: Calls, run: PermutedRun) -> list[dict[str, Any]]:
    """By kind of fraud: calls, and for each system how many it stopped ``before`` and stops ``now``."""
    found = []
    for code in sorted(set(calls.behaviour[calls.fraud].tolist()), key=lambda one: calls.behaviours[one]):
        these = calls.fraud & (calls.behaviour == code)
        part: dict[str, Any] = {"name": calls.behaviours[code] or "unnamed", "calls": int(these.sum())}
        for name in RUN:
            part[name] = {
                "before": int((stops(calls.verdicts[name]) & these).sum()),
                "now": int((stops(run.verdicts[name]) & these).sum()),
            }
        found.append(part)
    return found
