"""What carries a verdict about the first call of a number never seen: which knowledge, since the number has no past.

Two looks at the same calls. *Leading*: the rule that says the verdict, or the group of features that raises the score
most (TreeSHAP). *Ablation*: the same calls scored again with a group of features missing; what falls away needed it.
The two differ where groups stand in for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE, Bools, Calls, Floats, Subject, Verdicts, stops

Rows = npt.NDArray[np.float32]

_ROWS_AT_ONCE: Final = 2000
_SCORED_AT_ONCE: Final = 50_000
#: Explaining costs about two milliseconds a call; of more calls than these, so many are taken at even distances.
MOST_EXPLAINED: Final = 5000

#: Facts that say one thing together: where the call comes from against the number that it shows, …
_FACTS: Final[Mapping[str, str]] = {
    "spoofed_cli": "spoofed CLI",
    "asserted_differs": "spoofed CLI",
    "caller_foreign": "spoofed CLI",
    "trunk_international": "spoofed CLI",
    "trunk_subscriber": "spoofed CLI",
    "caller_valid": "caller's kind of number",
    "caller_mobile": "caller's kind of number",
    "caller_fixed": "caller's kind of number",
    "caller_short": "caller's kind of number",
    "caller_anonymous": "caller's kind of number",
    "callee_mobile": "callee's kind of number",
    "callee_foreign": "callee's kind of number",
}
#: Windows by the first word of their name: whose past they are.
_WINDOWS: Final[Mapping[str, str]] = {
    "caller": "caller's past",
    "callee": "chain on the callee",
    "callback": "chain on the callee",
    "imsi": "handset",
    "imei": "handset",
}


def group_of(feature: str, *, window: bool) -> str:
    """The group of a feature; a window of something else goes by the first word of its name, a fact by its own."""
    if not window:
        return _FACTS.get(feature, feature)
    head = feature.partition("_")[0]
    return {"src": "src_ip"}.get(head) or _WINDOWS.get(head, head)


def groups_of(subject: Subject) -> dict[str, list[int]]:
    """The columns of each group of the model's features."""
    found: dict[str, list[int]] = {}
    for column, feature in enumerate(subject.features):
        found.setdefault(group_of(feature, window=feature in subject.windows), []).append(column)
    return found


def leading_groups(rows: Rows, subject: Subject) -> list[str]:
    """The group that raises the score of each row most; "nothing" where none does or nothing explains the model."""
    if subject.contributions is None:
        return ["nothing"] * len(rows)
    groups = groups_of(subject)
    names = [*groups, "nothing"]
    found: list[str] = []
    for added in _added(rows, subject):
        totals = np.stack([added[:, columns].sum(axis=1) for columns in groups.values()], axis=1)
        best = np.where(totals.max(axis=1) > 0, totals.argmax(axis=1), len(groups))
        found += [names[at] for at in best.tolist()]
    return found


def leading_features(rows: Rows, subject: Subject) -> Counter[str]:
    """How often each feature is the one that raises the score most; ties go to the earlier feature."""
    found: Counter[str] = Counter()
    if subject.contributions is not None and len(subject.features):
        for added in _added(_some(rows), subject):
            found.update(subject.features[at] for at in added.argmax(axis=1).tolist())
    return found


def _some(rows: Rows) -> Rows:
    return rows[:: -(-len(rows) // MOST_EXPLAINED)] if len(rows) > MOST_EXPLAINED else rows


def _added(rows: Rows, subject: Subject) -> Iterator[Floats]:
    assert subject.contributions is not None, "asked before"
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        yield subject.contributions(rows[begin : begin + _ROWS_AT_ONCE].astype(np.float64))


def carried_by(calls: Calls, verdicts: Mapping[str, Verdicts], among: Bools, subject: Subject) -> list[dict[str, Any]]:
    """Stopped calls of ``among`` by what leads to the verdict of the whole engine.

    ``by`` is ``rule:<id>`` or ``score: <group>``; beside how many fraudulent and honest calls it stops stands how many
    of the fraudulent ones rules alone, and the score alone, would have stopped as well.
    """
    stopped = np.flatnonzero(stops(verdicts[ENGINE]) & among & (calls.ground >= 0))
    names = [calls.grounds[code] for code in calls.ground[stopped].tolist()]
    by_score = [at for at, name in enumerate(names) if name == "score"]
    if len(by_score) > MOST_EXPLAINED:
        by_score = by_score[:: -(-len(by_score) // MOST_EXPLAINED)]
    for at, group in zip(by_score, leading_groups(calls.rows[stopped[by_score]], subject), strict=True):
        names[at] = f"score: {group}"
    counted: dict[str, list[int]] = {}
    rules, score = stops(verdicts[RULES]), stops(verdicts[SCORE])
    for call, name in zip(stopped.tolist(), names, strict=True):
        part = counted.setdefault(name, [0, 0, 0, 0])
        if calls.fraud[call]:
            part[0] += 1
            part[2] += int(rules[call])
            part[3] += int(score[call])
        else:
            part[1] += 1
    return [
        {"by": name, "fraud_calls": bad, "honest_calls": good, "also_rules_alone": by_rules, "also_score_alone": alone}
        for name, (bad, good, by_rules, alone) in sorted(counted.items(), key=lambda item: (-item[1][0], item[0]))
    ]


def ablation(calls: Calls, among: Bools, subject: Subject, seed: int) -> list[dict[str, Any]]:
    """Calls of ``among`` scored again without what a group of features says; the first entry with all as they are.

    ``stopped`` and ``blocked`` count fraudulent calls whose score reaches divert and block when the group is missing,
    ``honest_…`` the honest ones. A missing value may say something of its own (nobody knows whether the caller roams),
    so the ``swapped_…`` ones take the group from some honest call of ``among`` instead, as one piece. Travellers,
    whom no score stops, are left out. Empty when no honest call is left to take values from.
    """
    fair = among & ~calls.spared
    bad, good = (calls.rows[fair & side].astype(np.float64) for side in (calls.fraud, ~calls.fraud))
    if not len(good):
        return []
    rng = np.random.default_rng(seed)
    donors = {"": good[rng.integers(0, len(good), len(bad))], "honest_": good[rng.permutation(len(good))]}
    groups: list[tuple[str, list[int]]] = [("", []), *sorted(groups_of(subject).items())]
    found = []
    for name, columns in groups:
        part: dict[str, Any] = {"missing": name, "features": [subject.features[column] for column in columns]}
        for side, rows in (("", bad), ("honest_", good)):
            for way, with_values in (("", None), ("swapped_", donors[side])):
                part |= _asked(rows, columns, subject, with_values, f"{way}{side}")
        found.append(part | {"of": len(bad), "of_honest": len(good)})
    return found


def _asked(
    rows: Floats, columns: Sequence[int], subject: Subject, donors: Floats | None, prefix: str
) -> dict[str, int]:
    stopped = blocked = 0
    for begin in range(0, len(rows), _SCORED_AT_ONCE):
        these = slice(begin, begin + _SCORED_AT_ONCE)
        part = rows[these].copy()
        part[:, list(columns)] = np.nan if donors is None else donors[these][:, list(columns)]
        score = subject.predict(part)
        stopped += int(np.count_nonzero(subject.reaches(part, score, "divert")))
        blocked += int(np.count_nonzero(subject.reaches(part, score, "block")))
    return {f"{prefix}stopped": stopped, f"{prefix}blocked": blocked}


def by_behaviour(calls: Calls, verdicts: Mapping[str, Verdicts], among: Bools) -> list[dict[str, Any]]:
    """Fraudulent calls of ``among`` by kind: how many there are, and how many each of the systems stops."""
    fraud = among & calls.fraud
    found = []
    for code in sorted(set(calls.behaviour[fraud].tolist()), key=lambda one: calls.behaviours[one]):
        these = fraud & (calls.behaviour == code)
        part: dict[str, Any] = {"name": calls.behaviours[code] or "unnamed", "calls": int(these.sum())}
        found.append(part | {name: int((stops(verdicts[name]) & these).sum()) for name in (RULES, SCORE, ENGINE)})
    return found
