"""Made-up judged calls and a model about them, for tests of what an evaluation says."""

from __future__ import annotations

import numpy as np

from antifraud.domain import Verdict
from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE, Calls, Subject

BLOCK, DIVERT = int(Verdict.BLOCK), int(Verdict.DIVERT)
NAMES = ("caller_calls_1h", "prefix_callers_10m", "hour")


def made_calls(seed: int = 1, sources: int = 2, count: int = 4000) -> Calls:
    """Fraud in campaigns of 40 calls from the middle on; the first column tells it apart, and the score knows that."""
    rng = np.random.default_rng(seed)
    total = sources * count
    fraud = rng.random(total) < 0.1
    source = np.repeat(np.arange(sources), count)
    campaign = np.where(fraud, (np.cumsum(fraud) - 1) // 40, -1)
    caller = rng.integers(0, 300, total) + source * 300
    rows = np.stack([rng.normal(np.where(fraud, 4.0, 0.0), 1.0), rng.normal(0, 1, total), rng.random(total) * 24], 1)
    score = 1 / (1 + np.exp(-4.0 * (rows[:, 0] - 2.0)))
    spared = ~fraud & (rng.random(total) < 0.01)
    by_score = np.where(spared, 0, np.where(score >= 0.97, BLOCK, np.where(score >= 0.8, DIVERT, 0))).astype(np.uint8)
    by_rules = np.where(fraud & (rows[:, 1] > 1.0), DIVERT, 0).astype(np.uint8)
    cluster = np.where(fraud, 10_000 + campaign, caller)
    return Calls(
        sources=[f"seed {at}" for at in range(sources)],
        behaviours=["person", "<script>alert(1)</script>", "courier"],
        regions=["KZ-75", "KZ-10"],
        grounds=["score", "rule:demo"],
        source=source,
        ts=1.7e9 + np.arange(total, dtype=np.float64),
        fraud=fraud,
        behaviour=np.where(fraud, 1, np.where(caller % 3 == 0, 2, 0)),
        campaign=campaign,
        cluster=cluster,
        region=caller % 2,
        talk_s=np.where(fraud, 60.0, 0.0).astype(np.float32),
        unseen=rng.random(total) < 0.2,
        spared=spared,
        score=score,
        verdicts={RULES: by_rules, SCORE: by_score, ENGINE: np.maximum(by_rules, by_score)},
        ground=np.where(by_rules > 0, 1, np.where(by_score >= DIVERT, 0, -1)),
        rows=rows.astype(np.float32),
    )


def subject(budget: float = 1e-3) -> Subject:
    return Subject(
        "toy/1@0", NAMES, frozenset(NAMES[:2]), {"block": budget, "divert": 5e-3, "label": 2e-2}, 2.0, 0.8, 0.97,
        lambda rows: 1 / (1 + np.exp(-4.0 * (rows[:, 0] - 2.0))),
    )  # fmt: skip
