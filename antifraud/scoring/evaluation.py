"""What an evaluation says: how a model, the rules and both together do on labelled calls that none of them has seen.

Columns of calls in, a tree of figures out (docs/reference/model-evaluation.md). Nothing here runs an engine; what each
system would have done about each call is in the columns already (``antifraud.backtest.systems``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from antifraud.domain import UsageError, Verdict
from antifraud.scoring.carrying import ablation, by_behaviour, carried_by
from antifraud.scoring.certificate import CONFIDENCE, lower_bound, upper_bound
from antifraud.scoring.cold_start import cold_start, running_s
from antifraud.scoring.detection import add_detection, positions
from antifraud.scoring.judged_calls import (
    ENGINE,
    LOGISTIC,
    RULES,
    SCORE,
    Bools,
    Calls,
    Floats,
    Integers,
    Side,
    Subject,
    Verdicts,
    blocks,
    stops,
)
from antifraud.scoring.logistic import fit_sampled
from antifraud.scoring.metrics import auc, average_precision, pr_curve, roc_curve, threshold_at
from antifraud.scoring.permutations import PermutedRun, compare
from antifraud.scoring.resampling import Estimate, false_rate, recall_at_rate

FORMAT: Final = "antifraud.evaluation/1"
#: The share of honest calls that may be stopped when thresholds are chosen with hindsight.
FALSE_RATE: Final = 1e-4

_EDGES: Final = np.array([0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0])
_POINTS: Final = 160
_RULES_SAY: Final = 2.0
_NEVER: Final = -1.0
_MOST_GROUNDS: Final = 20


def evaluate(
    calls: Calls,
    subject: Subject,
    *,
    rounds: int = 200,
    seed: int = 1,
    price: float | None = None,
    permuted: Sequence[PermutedRun] = (),
    after_s: float = 0.0,
) -> dict[str, Any]:
    """Everything that the report says about ``calls``; ``price`` is what a minute of fraudulent talk costs.

    ``permuted`` are runs over the same calls with names in them permuted, to be compared. Calls from the first
    ``after_s`` seconds of an engine are told in ``cold_start`` only.

    UsageError when there is no call, or calls of one class only.
    """
    check(calls.fraud)
    whole, permuted = calls, list(permuted)
    if after_s > 0:
        calls, permuted = _in_operation(whole, permuted, after_s)
        check(calls.fraud)
    score_logistic = logistic_scores(calls, seed)
    verdicts = dict(calls.verdicts)
    if score_logistic is not None:
        verdicts[LOGISTIC] = _logistic_verdicts(calls, score_logistic, subject, seed)
    fraud, benign = Side(calls, calls.fraud, rounds, seed), Side(calls, ~calls.fraud, rounds, seed + 1)
    ranks = _ranks(calls, score_logistic)
    at_block = subject.reaches(calls.rows, calls.score, "block")
    blocked = int(np.count_nonzero(at_block & ~calls.fraud))
    at_least = lower_bound(blocked, benign.count)
    systems = {name: _system(fraud, benign, verdicts[name], ranks.get(name)) for name in verdicts}
    campaigns = add_detection(systems, calls, fraud, verdicts)
    _add_talk(systems, calls, fraud, verdicts, price)
    return {
        "format": FORMAT,
        "model": subject.id,
        "after_s": after_s,
        "left_out_calls": len(whole.fraud) - len(calls.fraud),
        "calls": len(calls.fraud),
        "honest_calls": benign.count,
        "fraud_calls": fraud.count,
        "campaigns": fraud.clusters.count,
        "honest_callers": benign.clusters.count,
        "intervals": {"confidence": CONFIDENCE, "rounds": rounds, "seed": seed, "drawn": "campaigns, honest callers"},
        "block_budget": subject.budgets["block"],
        "blocked_by_score": blocked,
        "blocked_by_score_at_least": at_least,
        "violated": at_least > subject.budgets["block"],
        "auc": auc(calls.fraud, calls.score),
        "average_precision": average_precision(calls.fraud, calls.score),
        "logistic_auc": None if score_logistic is None else auc(calls.fraud, score_logistic),
        "logistic_average_precision": None
        if score_logistic is None
        else average_precision(calls.fraud, score_logistic),
        "systems": systems,
        "fraud_behaviours": _groups(fraud, calls.behaviour, calls.behaviours, verdicts, of_fraud=True),
        "honest_behaviours": _groups(benign, calls.behaviour, calls.behaviours, verdicts, of_fraud=False),
        "regions": _regions(fraud, benign, calls, verdicts),
        "sources": _sources(calls, verdicts, at_block, subject.budgets["block"]),
        "detection_by_behaviour": campaigns.by_behaviour(calls, verdicts[ENGINE]),
        "cold_start": cold_start(calls, fraud, verdicts, at_block, subject)
        if calls is whole
        else cold_start(
            whole,
            Side(whole, whole.fraud, rounds, seed),
            whole.verdicts,
            subject.reaches(whole.rows, whole.score, "block"),
            subject,
        ),
        "permutations": compare(calls, fraud, benign, subject, permuted),
        "unseen_callers": _unseen(calls, fraud, benign, verdicts, subject, seed),
        "grounds": _grounds(calls, verdicts[ENGINE], np.ones(len(calls.fraud), dtype=np.bool_)),
        "calibration": calibration(calls.fraud, calls.score),
        "curves": {
            name: _curves(calls.fraud, score)
            for name, score in ((SCORE, calls.score), (LOGISTIC, score_logistic))
            if score is not None
        },
    }


def _in_operation(whole: Calls, permuted: list[PermutedRun], after_s: float) -> tuple[Calls, list[PermutedRun]]:
    """``whole`` and its permuted runs without the calls from the first ``after_s`` seconds of an engine."""
    kept = running_s(whole) >= after_s
    if not kept.any():
        raise UsageError(
            f"all {len(kept):,} calls are from an engine's first {after_s / 3600:g} hours, when its score stops none",
            hint="give a longer time, such as --days 2, or --after 0 to measure these calls all the same",
        )
    runs = [
        msgspec.structs.replace(
            run,
            score=run.score[kept],
            at_block=run.at_block[kept],
            verdicts={name: column[kept] for name, column in run.verdicts.items()},
        )
        for run in permuted
    ]
    return whole.picked(kept, positions(whole.campaign, whole.ts)), runs


def check(fraud: Bools) -> None:
    """UsageError unless there are calls of both classes."""
    if not len(fraud):
        raise UsageError("there is no call to measure on", hint="make events with `antifraud simulate`")
    if fraud.all() or not fraud.any():
        what, other = ("fraudulent", "honest") if fraud.all() else ("honest", "fraudulent")
        raise UsageError(
            f"all {len(fraud):,} calls are {what}: nothing says how {other} ones would be judged",
            hint="give events with calls of both classes, or more of them",
        )


# ---------------------------------------------------------------------- the logistic regression


def logistic_scores(calls: Calls, seed: int) -> Floats | None:
    """Scores of a logistic regression that never saw the source, or the clusters, which it scores.

    It is fitted on one half of the calls and scores the other: halves of whole sources, or of clusters where there is
    but one source. None where a half has one class only, as with a single campaign. It learns on
    networks like those it is measured on, which favours it over the model.
    """
    halves = _halves(calls, seed)
    found = np.zeros(len(calls.fraud), dtype=np.float64)
    for half in (0, 1):
        teach, judge = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
        y = calls.fraud[teach]
        if not y.any() or y.all():
            return None
        fitted = fit_sampled(calls.rows, calls.fraud, teach, seed=seed)
        for part in np.array_split(judge, max(1, len(judge) // 50_000)):
            found[part] = fitted.predict(calls.rows[part])
    return found


def _halves(calls: Calls, seed: int) -> Integers:
    if len(calls.sources) > 1:
        return calls.source % 2
    count = int(calls.cluster.max()) + 1
    sides = np.zeros(count, dtype=np.int64)
    rng = np.random.default_rng(seed)
    kind = np.zeros(count, dtype=np.bool_)
    kind[calls.cluster[calls.fraud]] = True
    for these in (np.flatnonzero(kind), np.flatnonzero(~kind)):
        sides[rng.permutation(these)[: len(these) // 2]] = 1
    return sides[calls.cluster]


def _logistic_verdicts(calls: Calls, score: Floats, subject: Subject, seed: int) -> Verdicts:
    """Verdicts for the budgets of the model, with thresholds from the half that is not judged by them."""
    halves = _halves(calls, seed)
    verdict = np.zeros(len(score), dtype=np.uint8)
    for half in (0, 1):
        judged = halves == half
        benign = score[~judged & ~calls.fraud]
        for level in (Verdict.LABEL, Verdict.DIVERT, Verdict.BLOCK):
            at = threshold_at(benign, subject.budgets[level.word] / subject.margin)
            verdict[judged & (score >= at) & ~calls.spared] = int(level)
    return verdict


# ---------------------------------------------------------------------- each system


def _ranks(calls: Calls, logistic: Floats | None) -> dict[str, Floats]:
    """What a threshold is put on: scores, without those whom no score stops, and with what rules stop above all."""
    score = np.where(calls.spared, _NEVER, calls.score)
    ranks = {SCORE: score, ENGINE: np.where(stops(calls.verdicts[RULES]), _RULES_SAY, score)}
    if logistic is not None:
        ranks[LOGISTIC] = np.where(calls.spared, _NEVER, logistic)
    return ranks


def _system(fraud: Side, benign: Side, verdict: Verdicts, rank: Floats | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, hit in (("stopped", stops(verdict)), ("blocked", blocks(verdict))):
        of_fraud, of_honest = fraud.share(hit), benign.share(hit)
        bad, good = int(of_fraud.hit[0]), int(of_honest.hit[0])
        found[name] = {
            "fraud_calls": bad,
            "recall": of_fraud.of(0),
            "honest_calls": good,
            "false_rate": false_rate(of_honest),
            "precision": bad / (bad + good) if bad + good else None,
        }
    if rank is not None:
        threshold = threshold_at(rank[benign.index], FALSE_RATE)
        found["with_hindsight"] = {
            "false_rate": FALSE_RATE,
            "recall": recall_at_rate(
                rank[fraud.index], fraud.clusters, rank[benign.index], benign.clusters, FALSE_RATE, threshold
            ),
            "threshold": threshold if 0.0 <= threshold <= 1.0 else None,
        }
    return found


def _add_talk(
    systems: dict[str, dict[str, Any]],
    calls: Calls,
    fraud: Side,
    verdicts: Mapping[str, Verdicts],
    price: float | None,
) -> None:
    talk = calls.talk_s[fraud.index].astype(np.float64)
    total = float(talk.sum()) / 60.0
    for name in systems:
        stopped = stops(verdicts[name])[fraud.index]
        share = fraud.clusters.shares(stopped, weights=talk)
        saved = float(talk[stopped].sum()) / 60.0
        systems[name]["talk"] = {
            "fraud_minutes": total,
            "minutes_saved": saved,
            "share_saved": share.of(0),
            "money_saved": None if price is None else saved * price,
        }


# ---------------------------------------------------------------------- by behaviour, region, source


def _groups(
    side: Side,
    codes: Integers,
    names: Sequence[str],
    verdicts: Mapping[str, Verdicts],
    *,
    of_fraud: bool,
) -> list[dict[str, Any]]:
    groups = codes[side.index]
    found: list[dict[str, Any]] = [{"name": name or "unnamed", "calls": 0, "callers": 0} for name in names]
    pairs = np.unique(side.clusters.codes * max(1, len(names)) + groups)
    owners = np.bincount(pairs % max(1, len(names)), minlength=len(names))
    for system in verdicts:
        for word, hit in (("stopped", stops(verdicts[system])), ("blocked", blocks(verdicts[system]))):
            shares = side.clusters.shares(hit[side.index], groups, len(names))
            for group, part in enumerate(found):
                part["calls"] = int(shares.total[group])
                part["callers"] = int(owners[group])
                estimate = shares.of(group) if of_fraud else false_rate(shares, group)
                part.setdefault(system, {})[word] = {"calls": int(shares.hit[group]), "share": estimate}
    kept = [part for part in found if part["calls"]]
    for part in kept:
        if of_fraud:
            part["campaigns"] = part.pop("callers")
    return sorted(kept, key=lambda part: str(part["name"]))


def _regions(fraud: Side, benign: Side, calls: Calls, verdicts: Mapping[str, Verdicts]) -> list[dict[str, Any]]:
    names, found = calls.regions, []
    by_fraud = {item["name"]: item for item in _groups(fraud, calls.region, names, verdicts, of_fraud=True)}
    by_honest = {item["name"]: item for item in _groups(benign, calls.region, names, verdicts, of_fraud=False)}
    for name in sorted({*by_fraud, *by_honest}):
        bad, good = by_fraud.get(name), by_honest.get(name)
        found.append({"region": name, "fraud": bad, "honest": good})
    return found


def _sources(calls: Calls, verdicts: Mapping[str, Verdicts], at_block: Bools, budget: float) -> list[dict[str, Any]]:
    found, count = [], len(calls.sources)

    def counted(mask: Bools) -> list[int]:
        return [int(one) for one in np.bincount(calls.source[mask], minlength=count)]

    honest, fraud = counted(~calls.fraud), counted(calls.fraud)
    engine = stops(verdicts[ENGINE])
    by_score = counted(~calls.fraud & at_block)
    false, right = counted(~calls.fraud & engine), counted(calls.fraud & engine)
    blocked = counted(~calls.fraud & blocks(verdicts[ENGINE]))
    for at, name in enumerate(calls.sources):
        found.append(
            {
                "source": name,
                "honest_calls": honest[at],
                "fraud_calls": fraud[at],
                "honest_blocked_by_score": by_score[at],
                "violated": lower_bound(by_score[at], honest[at]) > budget,
                "honest_stopped": false[at],
                "honest_blocked": blocked[at],
                "fraud_stopped": right[at],
                "recall": right[at] / fraud[at] if fraud[at] else None,
            }
        )
    return found


# ---------------------------------------------------------------------- first calls


def _unseen(
    calls: Calls,
    fraud: Side,
    benign: Side,
    verdicts: Mapping[str, Verdicts],
    subject: Subject,
    seed: int,
) -> dict[str, Any] | None:
    unseen = calls.unseen
    if unseen is None or not (unseen & calls.fraud).any():
        return None
    systems = {}
    for name in verdicts:
        hit = stops(verdicts[name])
        shares = benign.clusters.shares(hit[benign.index], np.where(unseen[benign.index], 0, -1))
        systems[name] = {
            "recall": fraud.share_among(hit, unseen),
            "honest_calls": int(shares.hit[0]),
            "false_rate": false_rate(shares),
        }
    return {
        "fraud_calls": int((unseen & calls.fraud).sum()),
        "honest_calls": int((unseen & ~calls.fraud).sum()),
        "auc": auc(calls.fraud[unseen], calls.score[unseen]),
        "systems": systems,
        "grounds": _grounds(calls, verdicts[ENGINE], unseen),
        "carried": _carried(calls, subject, unseen, seed),
        "fraud_behaviours": by_behaviour(calls, verdicts, unseen),
        "carried_by": carried_by(calls, verdicts, unseen, subject),
        "ablation": ablation(calls, unseen, subject, seed),
    }


def _carried(calls: Calls, subject: Subject, unseen: Bools, seed: int) -> list[dict[str, Any]]:
    """How many fraudulent first calls still reach the block threshold when some features are those of honest ones.

    Windows go by what they are about (caller, prefix, …), facts one by one and all together.

    Values that are replaced together come from one honest first call, so that they fit each other.
    """
    honest = np.flatnonzero(unseen & ~calls.fraud)
    if not len(honest):
        return []
    rows = calls.rows[unseen & calls.fraud].astype(np.float64)
    others = calls.rows[np.random.default_rng(seed).choice(honest, len(rows))].astype(np.float64)
    whole = _at_block(rows, subject)
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(subject.features):
        window = name in subject.windows
        groups.setdefault(_kind(name) if window else "facts", []).append(column)
        if not window:
            groups[name] = [column]
    found: list[dict[str, Any]] = [{"replaced": "", "blocked_by_score": whole, "of": len(rows)}]
    for group, columns in sorted(groups.items()):
        mixed = rows.copy()
        mixed[:, columns] = others[:, columns]
        found.append({"replaced": group, "blocked_by_score": _at_block(mixed, subject), "of": len(rows)})
    return found


def _at_block(rows: Floats, subject: Subject) -> int:
    return int(np.count_nonzero(subject.reaches(rows, subject.predict(rows), "block")))


def _kind(window: str) -> str:
    head = window.partition("_")[0]
    return {"src": "src_ip"}.get(head, head)


def _grounds(calls: Calls, engine: Verdicts, among: Bools) -> list[dict[str, Any]]:
    """Who stopped calls, in the whole engine: the first that says the verdict; rules come before the score."""
    stopped = stops(engine) & among & (calls.ground >= 0)
    bad = np.bincount(calls.ground[stopped & calls.fraud], minlength=len(calls.grounds))
    good = np.bincount(calls.ground[stopped & ~calls.fraud], minlength=len(calls.grounds))
    found: list[dict[str, Any]] = [
        {"by": name, "fraud_calls": int(bad[at]), "honest_calls": int(good[at])}
        for at, name in enumerate(calls.grounds)
        if bad[at] or good[at]
    ]
    return sorted(found, key=lambda item: (-item["fraud_calls"], item["by"]))[:_MOST_GROUNDS]


# ---------------------------------------------------------------------- calibration and curves


def calibration(y: Bools, score: Floats) -> list[dict[str, Any]]:
    """Of calls by score: what the score says on average, and how many are fraud, with exact binomial bounds."""
    found = []
    place = np.clip(np.searchsorted(_EDGES, score, side="right") - 1, 0, len(_EDGES) - 2)
    for at in range(len(_EDGES) - 1):
        these = place == at
        count = int(these.sum())
        if not count:
            continue
        fraud = int(y[these].sum())
        found.append(
            {
                "from": float(_EDGES[at]),
                "to": float(_EDGES[at + 1]),
                "calls": count,
                "said": float(score[these].mean()),
                "fraud": fraud,
                "share": Estimate(fraud / count, lower_bound(fraud, count, 0.975), upper_bound(fraud, count, 0.975)),
            }
        )
    return found


def _curves(y: Bools, score: Floats) -> dict[str, Any]:
    false, found = roc_curve(y, score)
    recall, precision = pr_curve(y, score)
    low = _spread(np.log10(np.maximum(false, 0.1 / max(1, len(y)))), found)
    right = _spread(recall, precision)
    return {
        "roc": {"false_rate": false[low].tolist(), "recall": found[low].tolist()},
        "pr": {"recall": recall[right].tolist(), "precision": precision[right].tolist()},
    }


def _spread(x: Floats, y: Floats) -> Integers:
    """Points enough to draw the curve: spaced evenly along it, both axes to the same scale."""
    if len(x) <= _POINTS:
        return np.arange(len(x))

    def scaled(values: Floats) -> Floats:
        span = float(values.max() - values.min())
        return (values - values.min()) / span if span > 0 else np.zeros(len(values))

    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(scaled(x))) + np.abs(np.diff(scaled(y))))])
    wanted = np.linspace(0.0, along[-1], _POINTS)
    return np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
