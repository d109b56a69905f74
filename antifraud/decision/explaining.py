"""Explanations of decisions that were made: what the model's features mean, and under which thresholds they were.

Nothing here runs while a call waits. A decision carries what the model saw of the call (``features``), so whoever
reads decisions can explain it later, from the decision and the model's directory alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from antifraud.decision.policy import Policy, score_levels
from antifraud.domain import Decision
from antifraud.features import WindowSet
from antifraud.features.windows import WindowSpec
from antifraud.scoring import Model
from antifraud.scoring.explanation import Explainer, Explanation, Meaning
from antifraud.scoring.sentences import sentences

_FACTS: Final[Mapping[str, Mapping[str, str]]] = {
    "caller_foreign": {
        "en": "the caller's number is of another country",
        "ru": "номер звонящего — другой страны",
        "kk": "қоңырау шалушының нөмірі — басқа елдікі",
    },
    "caller_valid": {
        "en": "the caller's number can exist",
        "ru": "номер звонящего может существовать",
        "kk": "қоңырау шалушының нөмірі болуы мүмкін нөмір",
    },
    "caller_mobile": {
        "en": "the caller's number is a mobile one",
        "ru": "номер звонящего — мобильный",
        "kk": "қоңырау шалушының нөмірі — ұялы",
    },
    "caller_fixed": {
        "en": "the caller's number is of a fixed line",
        "ru": "номер звонящего — стационарный",
        "kk": "қоңырау шалушының нөмірі — стационарлық",
    },
    "caller_short": {
        "en": "the caller's number is a short code",
        "ru": "номер звонящего — короткий",
        "kk": "қоңырау шалушының нөмірі — қысқа",
    },
    "caller_anonymous": {
        "en": "the caller hides the number",
        "ru": "звонящий скрыл номер",
        "kk": "қоңырау шалушы нөмірін жасырған",
    },
    "callee_mobile": {
        "en": "the called number is a mobile one",
        "ru": "вызываемый номер — мобильный",
        "kk": "шақырылатын нөмір — ұялы",
    },
    "callee_foreign": {
        "en": "the called number is of another country",
        "ru": "вызываемый номер — другой страны",
        "kk": "шақырылатын нөмір — басқа елдікі",
    },
    "trunk_international": {
        "en": "the call came over an international trunk",
        "ru": "вызов пришёл по международному транку",
        "kk": "қоңырау халықаралық транк арқылы келді",
    },
    "trunk_subscriber": {
        "en": "the call came from a subscriber's line",
        "ru": "вызов пришёл с абонентской линии",
        "kk": "қоңырау абоненттік желіден келді",
    },
    "spoofed_cli": {
        "en": "a number of this country came in from abroad without roaming",
        "ru": "номер этой страны пришёл из-за границы не в роуминге",
        "kk": "осы елдің нөмірі шетелден роумингсіз келді",
    },
    "asserted_differs": {
        "en": "the number shown is not the one that the network vouches for",
        "ru": "показан не тот номер, за который ручается сеть",
        "kk": "көрсетілген нөмір желі растаған нөмірден өзгеше",
    },
    "diverted": {
        "en": "the call was forwarded from another number",
        "ru": "вызов переадресован с другого номера",
        "kk": "қоңырау басқа нөмірден қайта бағытталған",
    },
    "hour": {
        "en": "the hour of the day",
        "ru": "час суток по местному времени",
        "kk": "жергілікті уақыт бойынша тәулік сағаты",
    },
}
_MISSING: Final[Mapping[str, Mapping[str, str]]] = {
    "spoofed_cli": {
        "en": "a number of this country came in from abroad, and whether it is roaming is not known",
        "ru": "номер этой страны пришёл из-за границы, и неизвестно, в роуминге ли он",
        "kk": "осы елдің нөмірі шетелден келді, роумингте екені белгісіз",
    },
}
_FIRST: Final[Mapping[tuple[str, ...], Mapping[str, str]]] = {
    ("caller",): {
        "en": "the caller's number was never seen calling before",
        "ru": "номер звонящего прежде никогда не звонил",
        "kk": "қоңырау шалушының нөмірі бұрын ешқашан қоңырау шалмаған",
    },
    ("callee",): {
        "en": "the called number was never called before",
        "ru": "на вызываемый номер прежде никогда не звонили",
        "kk": "шақырылатын нөмірге бұрын ешқашан қоңырау шалынбаған",
    },
}
_FORMS: Final[Mapping[str, str]] = {
    "count": "count", "distinct": "count", "sequential": "count", "open": "count", "repeat": "count",
    "share": "share", "balance": "share", "age": "seconds", "idle": "seconds",
}  # fmt: skip
_GROWING: Final = ("count", "distinct", "sequential", "sum", "max")


def meanings(windows: WindowSet) -> dict[str, Meaning]:
    """What windows and facts mean, by name."""
    found = {
        name: Meaning(
            doc=doc,
            form="hour" if name == "hour" else "flag",
            group=_fact_group(name),
            missing=_MISSING.get(name, {}),
        )
        for name, doc in _FACTS.items()
    }
    specs = {spec.name: spec for spec in windows.specs}
    return found | {name: _of_window(spec, specs) for name, spec in specs.items()}


def _fact_group(name: str) -> str:
    return "caller's kind of number" if name in ("caller_mobile", "caller_fixed", "caller_short") else name


def _of_window(spec: WindowSpec, specs: Mapping[str, WindowSpec]) -> Meaning:
    key = ",".join(spec.seen_by or spec.by)
    # What counts how much there is of one thing says the same whether calls or numbers are counted, and over what.
    what = "how many" if spec.kind in ("count", "distinct") else f"{spec.kind} of {spec.of} to {spec.to}"
    same = [spec.by, spec.seen_by, spec.cut, spec.on, spec.where, spec.among, spec.new, spec.new_within_s]
    series = f"{spec.kind} {spec.of} {spec.step} {same}" if spec.kind in _GROWING else ""
    return Meaning(
        doc=spec.doc,
        form=_form(spec, specs),
        group=f"{what} {same}",
        series=series,
        over_s=spec.over_s,
        key=key,
        first=_FIRST.get(spec.seen_by or spec.by, {}) if spec.kind in ("age", "idle") else {},
    )


def _form(spec: WindowSpec, specs: Mapping[str, WindowSpec]) -> str:
    if spec.kind in _FORMS:
        return _FORMS[spec.kind]
    if spec.kind == "ratio":
        # Part and whole are counted alike; anything else divided is a number without a unit.
        of, to = specs.get(spec.of), specs.get(spec.to)
        counted = of is not None and to is not None and of.kind == to.kind == "count"
        return "share" if counted else "number"
    return "seconds" if spec.of.endswith("_s") else "number"


class DecisionExplainer:
    """Explains decisions of ``model`` made under ``windows`` and ``policy``; those of another model it leaves alone.

    One thread at a time.
    """

    def __init__(self, model: Model, windows: WindowSet, policy: Policy) -> None:
        self._model = model
        self._meanings = meanings(windows)
        self._explainer = Explainer(model, self._meanings)
        self._policy = policy

    def explain(self, decision: Decision) -> Explanation | None:
        """Why the score is what it is; None when ``decision`` carries no features or has been made by another model."""
        if decision.model != self._model.id or len(decision.features) != len(self._model.features):
            return None
        row = [math.nan if value is None else value for value in decision.features]
        return self.explain_row(row, decision.region)

    def explain_row(self, row: Sequence[float], region: str) -> Explanation:
        """Why the model scores ``row`` (its features in order, NaN for missing) as it does; by ``region``'s levels."""
        within = self._policy.region(region)
        levels = [
            [(threshold, verdict.word) for threshold, verdict in score_levels(within, certified)]
            for certified in self._model.class_thresholds
        ]
        return self._explainer.explain_by_class(np.array(row, dtype=np.float64), levels)

    def sentences(self, decision: Decision, language: str = "") -> tuple[str, ...]:
        """The explanation in ``language``, by default the region's; empty when there is none."""
        found = self.explain(decision)
        if found is None:
            return ()
        return self.say(found, language or self._policy.region(decision.region).language)

    def say(self, explanation: Explanation, language: str) -> tuple[str, ...]:
        """``explanation`` in words."""
        return sentences(explanation, self._meanings, language)

    def warm(self) -> None:
        """Explain something, so that what explains is loaded before the first real one."""
        self.explain_row([0.0] * len(self._model.features), "")
