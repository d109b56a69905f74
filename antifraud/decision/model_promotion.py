"""The next stage of a model: what has to be true before it acts on calls, as for a rule (``rulekit.promotion``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from antifraud.domain import Problem, Stage
from antifraud.rulekit.lock import approvers
from antifraud.scoring import Manifest
from antifraud.scoring.manifest import NUMBERS, Promotion

_STEPS: Final = (Stage.DRAFT, Stage.SHADOW, Stage.CANARY, Stage.ENFORCE)
_MILDNESS: Final = (Stage.RETIRED, *_STEPS)
#: Verdicts whose certificate has to be within its budget before a model acts.
_STOPPING: Final = ("divert", "block")


def following(stage: Stage) -> Stage:
    """The next stage after ``stage``; a retired model begins again as a draft, an enforced one stays."""
    return _MILDNESS[min(_MILDNESS.index(stage) + 1, len(_MILDNESS) - 1)]


def promotion_problems(manifest: Manifest, wanted: Promotion, *, despite_certificate: bool = False) -> list[Problem]:
    """Everything that stands against ``wanted``; nothing stands against a milder stage, but who and why must be said.

    ``despite_certificate``: somebody knows that the certificate is not within its budget.
    """
    name = f"{manifest.name} {manifest.version}"
    problems = [
        Problem(f"{name}: nobody says {what}", hint=f"give --{key} TEXT")
        for what, key, text in (("who decides this", "by", wanted.by), ("why", "why", wanted.why))
        if not text.strip()
    ]
    now, to = manifest.stage, wanted.stage
    if _MILDNESS.index(to) < _MILDNESS.index(now):
        return problems
    if to is now and (to is not Stage.CANARY or wanted.percent == manifest.percent):
        problems.append(Problem(f"{name} is at {now.value} already", hint="name another stage: --to STAGE"))
        return problems
    if to is not now and to is not following(now):
        hint = f"promote it to {following(now).value} first, and look at what it does there"
        problems.append(Problem(f"{name} is at {now.value}: it cannot go to {to.value} at once", hint=hint))
    if to not in (Stage.CANARY, Stage.ENFORCE):
        return problems
    if manifest.training.get("mode") == NUMBERS:
        hint = "it scores tables; only a model of calls acts on calls"
        problems.append(Problem(f"{name} is a model of numbers", hint=hint))
    if to is Stage.CANARY and not 0.0 < wanted.percent <= 100.0:
        hint = "give --percent: of how many callers it decides, such as 5"
        problems.append(Problem(f"{name}: a canary of {wanted.percent:g} % is none", hint=hint))
    if to is Stage.ENFORCE and not approvers(wanted.by, wanted.approvals):
        hint = "have somebody else read the card and what it did as a canary: --approved-by NAME"
        problems.append(Problem(f"{name}: nobody but {wanted.by.strip() or 'its author'} agrees", hint=hint))
    if not despite_certificate:
        problems += [
            Problem(
                f"{name}: at most {one.bound:.1e} of honest calls would be hit by {level}, the budget is "
                f"{one.budget:.0e}",
                hint="train it on more calls; or say that you know: --despite-certificate",
            )
            for level in _STOPPING
            if (one := manifest.certificate[level]).bound > one.budget or not one.met
        ]
    return problems


def promoted(manifest: Manifest, wanted: Promotion) -> Manifest:
    """``manifest`` at the stage ``wanted``, with the entry in its history. The digest, so the id, stays."""
    percent = wanted.percent if wanted.stage is Stage.CANARY else 100.0
    entry = msgspec.structs.replace(
        wanted,
        percent=percent,
        by=wanted.by.strip(),
        why=wanted.why.strip(),
        approvals=approvers(wanted.by, wanted.approvals),
    )
    return msgspec.structs.replace(manifest, stage=wanted.stage, percent=percent, history=(*manifest.history, entry))


def told(history: Sequence[Promotion]) -> list[str]:
    """The history in lines, oldest first."""
    lines = []
    for one in history:
        share = f" {one.percent:g} %" if one.stage is Stage.CANARY else ""
        agreed = f", agreed by {', '.join(one.approvals)}" if one.approvals else ""
        lines.append(f"{one.when}  {one.stage.value}{share}  {one.by}{agreed}: {one.why}")
    return lines
