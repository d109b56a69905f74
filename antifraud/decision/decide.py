"""decide: a batch of events in, decisions out. Synchronous, no clock, no I/O; the same bits whatever the batch size.

Order of precedence: protect > block > divert > challenge > label > allow. An emergency call is protected here, in
code, before any rule, list or score is looked at.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.decision.bundle import Bundle, windows_changed
from antifraud.decision.facts import MODEL_FACTS, FactBook, Prepared
from antifraud.decision.policy import Policy, RegionPolicy, score_levels
from antifraud.decision.texts import say
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind, Reason, Stage, Verdict, cap
from antifraud.features import Fold
from antifraud.numbering import Numbering
from antifraud.rulekit import Hit, Params
from antifraud.scoring import Model
from antifraud.scoring.columns import Indices, columns_of

MAX_REASONS: Final = 8
_NOTHING: Final[tuple[Reason, ...]] = ()
_VERDICTS: Final = {verdict.word: verdict for verdict in Verdict}


class _Region(msgspec.Struct, frozen=True):
    """A region's policy with what can be worked out ahead: thresholds from hard to mild, rule parameters."""

    policy: RegionPolicy
    thresholds: tuple[tuple[float, Verdict], ...]
    params: Params


class Decider:
    """The state of one shard and the one function over it.

    ``decide`` and ``absorb`` are the only ways to change the state, and both are functions of the events given, in
    order. ``killed`` makes every carried-out verdict *allow* (the kill switch) while full verdicts go on.
    """

    def __init__(
        self, bundle: Bundle, policy: Policy, numbering: Numbering, model: Model | None = None, fold: Fold | None = None
    ) -> None:
        self._numbering = numbering
        self._facts = FactBook(numbering, policy)
        self.policy = policy
        self.fold = fold if fold is not None else Fold(bundle.windows)
        self.killed = False
        self.failures = 0
        self._install(bundle, model)

    @property
    def bundle(self) -> Bundle:
        """The bundle in force."""
        return self._bundle

    @property
    def model(self) -> Model | None:
        """The model in force."""
        return self._model

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of ``vectors``: windows, then facts."""
        return (*self._bundle.windows.names, *MODEL_FACTS)

    def swap(self, bundle: Bundle) -> None:
        """Take ``bundle`` from the next batch on. Its windows must be those that are being folded.

        Raises ModelError when the model does not fit it, ConfigError when a region's parameters do not; the old
        bundle then stays.
        """
        if bundle.windows.digest != self._bundle.windows.digest:
            raise windows_changed(self._bundle.windows.digests, bundle.windows.digests)
        self._install(bundle, self._model)

    def _install(self, bundle: Bundle, model: Model | None) -> None:
        columns: Indices | None = None
        if model is not None:
            columns = columns_of(model, bundle.windows.digests, MODEL_FACTS)
            if np.array_equal(columns, np.arange(len(bundle.windows.names) + len(MODEL_FACTS))):
                columns = None
        regions = {code: self._region(region, bundle, model) for code, region in self.policy.regions.items()}
        self._regions, self._bundle, self._model, self._columns = regions, bundle, model, columns

    @staticmethod
    def _region(region: RegionPolicy, bundle: Bundle, model: Model | None) -> _Region:
        levels = score_levels(region, model.thresholds) if model is not None else ()
        return _Region(region, levels, bundle.rules.params(region.params))

    def prepare(self, event: CallEvent) -> Prepared:
        """The event normalised, with its facts."""
        return self._facts.prepare(event)

    def absorb(self, events: Sequence[CallEvent]) -> None:
        """Fold ``events`` that are decided already: the way a restarted engine comes to the state it had."""
        prepared = [self._facts.prepare(event) for event in events]
        self.fold.fold([item.event for item in prepared], [item.row for item in prepared])

    def vectors(self, events: Sequence[CallEvent]) -> npt.NDArray[np.float64]:
        """Fold ``events``; the feature vectors of the setups among them: float64[n_setups, n_features]."""
        prepared = [self._facts.prepare(event) for event in events]
        values, _duplicate, setups = self._fold(prepared)
        return self._matrix(values, setups)

    def decide(self, events: Sequence[CallEvent]) -> list[Decision]:
        """Fold ``events`` (already checked) and decide about the setups among them, in their order."""
        return self.decide_prepared([self._facts.prepare(event) for event in events])

    def decide_prepared(self, prepared: Sequence[Prepared]) -> list[Decision]:
        """As ``decide``, of events that are prepared."""
        values, duplicate, setups = self._fold(prepared)
        if not setups:
            return []
        scores: list[float] | None = None
        matrix: npt.NDArray[np.float64] | None = None
        if self._model is not None:
            matrix = self._matrix(values, setups)
            if self._columns is not None:
                matrix = matrix.take(self._columns, axis=1)
            scores = self._model.predict(matrix).tolist()
        windows = values.tolist()
        decisions = []
        for position, item in enumerate(setups):
            score = scores[position] if scores is not None else None
            decision = self._judge(item, windows[position], score, bool(duplicate[position]))
            if matrix is not None and any(reason.by == "score" for reason in decision.reasons):
                seen = tuple(None if value != value else value for value in matrix[position].tolist())
                decision = msgspec.structs.replace(decision, features=seen)
            decisions.append(decision)
        return decisions

    def _fold(
        self, prepared: Sequence[Prepared]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], list[Prepared]]:
        folded = self.fold.fold([item.event for item in prepared], [item.row for item in prepared])
        setups = [item for item in prepared if item.event.kind is EventKind.SETUP]
        return folded.values, folded.duplicate, setups

    @staticmethod
    def _matrix(values: npt.NDArray[np.float64], setups: Sequence[Prepared]) -> npt.NDArray[np.float64]:
        matrix = np.empty((len(setups), values.shape[1] + len(MODEL_FACTS)), dtype=np.float64)
        if setups:
            matrix[:, : values.shape[1]] = values
            matrix[:, values.shape[1] :] = [item.vector for item in setups]
        return matrix

    def _judge(self, item: Prepared, windows: Sequence[float], score: float | None, duplicate: bool) -> Decision:
        region = self._regions[item.region]
        language = region.policy.language
        if item.emergency:
            reason = Reason("protect", "allow", say("emergency", language))
            return self._decision(
                item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), score, duplicate, protected=True
            )
        row = item.row.copy()
        row += [None if value != value else value for value in windows]
        row.append(score)
        try:
            hits = self._bundle.rules.evaluate(row, region.params)
            return self._weigh(item, region, hits, score, duplicate)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in judging one call, the call goes on
            self.failures += 1
            reason = Reason("engine", "allow", f"{say('undecided', language)}: {type(error).__name__}")
            return self._decision(item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), score, duplicate)

    def _weigh(
        self, item: Prepared, region: _Region, hits: Sequence[Hit], score: float | None, duplicate: bool
    ) -> Decision:
        language = region.policy.language
        by_score = Verdict.ALLOW
        if score is not None:
            for threshold, verdict in region.thresholds:
                if score >= threshold:
                    by_score = verdict
                    break
            if item.traveller:
                # Nothing that the model sees tells a subscriber abroad from a forger before their second call, and
                # a register that did not answer is no reason to cut anybody off: the callee is warned, no more.
                by_score = min(by_score, Verdict.LABEL)
        if not hits and by_score is Verdict.ALLOW:
            return self._decision(item, region, Verdict.ALLOW, Verdict.ALLOW, _NOTHING, score, duplicate)

        full = carried = by_score
        model_stage = self._model.stage if self._model is not None else Stage.SHADOW
        if model_stage is not Stage.ENFORCE:
            carried = Verdict.ALLOW
        label = ""
        code = 0
        targets: list[tuple[int, str]] = []
        grounds: list[tuple[int, int, Reason]] = []
        for position, hit in enumerate(hits):
            if hit.verdict == "protect":
                reason = Reason(hit.by, "allow", hit.text(language))
                return self._decision(
                    item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), score, duplicate, protected=True
                )
            verdict = _VERDICTS[hit.verdict]
            full = max(full, verdict)
            enforced = hit.stage is Stage.ENFORCE or (
                hit.stage is Stage.CANARY and _in_canary(hit.rule, item.event.caller, hit.percent)
            )
            if enforced:
                label = label or hit.label
                code = code or hit.code
                if hit.target:
                    targets.append((verdict, hit.target))
                carried = max(carried, verdict)
            stage = Stage.ENFORCE if enforced else hit.stage
            reason = Reason(hit.by, hit.verdict, hit.text(language), stage.value)
            grounds.append((-verdict - (10 if enforced else 0), position, reason))
        if by_score is not Verdict.ALLOW and score is not None:
            enforced = model_stage is Stage.ENFORCE
            text = say("score", language, score=score)
            reason = Reason("score", by_score.word, text, model_stage.value)
            grounds.append((-by_score - (10 if enforced else 0), len(hits), reason))
        grounds.sort(key=lambda ground: ground[:2])
        reasons = tuple(ground[2] for ground in grounds[:MAX_REASONS])
        # The hardest enforced hit that names a target wins, also when a still harder one is capped to a diversion.
        target = max(targets, key=lambda named: named[0])[1] if targets else ""
        return self._decision(
            item, region, carried, full, reasons, score, duplicate, label=label, target=target, code=code
        )

    def _decision(
        self,
        item: Prepared,
        region: _Region,
        carried: Verdict,
        full: Verdict,
        reasons: tuple[Reason, ...],
        score: float | None,
        duplicate: bool,
        *,
        protected: bool = False,
        label: str = "",
        target: str = "",
        code: int = 0,
    ) -> Decision:
        event, policy = item.event, region.policy
        # A call that belongs to no region that we know is watched and left alone.
        ceiling = policy.ceiling if item.placed else min(policy.ceiling, Ceiling.SHADOW)
        verdict = cap(carried, ceiling)
        if self.killed and verdict is not Verdict.ALLOW:
            verdict = Verdict.ALLOW
            reasons = (Reason("engine", "allow", say("killed", policy.language)), *reasons)
        if verdict is Verdict.DIVERT:
            target = target or policy.desk
        elif verdict is Verdict.CHALLENGE:
            target = policy.challenge
        else:
            target = ""
        if verdict in (Verdict.DIVERT, Verdict.CHALLENGE) and not target:
            verdict = Verdict.LABEL
        if verdict is not Verdict.LABEL:
            label = ""
        elif not label:
            label = say("label", policy.language)
        return Decision(
            id=decision_id(self.policy.shard, event),
            call_id=event.call_id,
            ts=event.ts,
            shard=self.policy.shard,
            region=policy.code,
            verdict=verdict.word,
            full_verdict=full.word,
            ceiling=ceiling.word,
            caller=event.caller,
            callee=event.callee,
            switch=event.switch,
            trunk=event.trunk,
            source=event.source,
            score=score,
            reasons=reasons,
            protected=protected,
            target=target,
            label=label,
            code=code if verdict is Verdict.BLOCK else 0,
            bundle=self._bundle.digest,
            model=self._model.id if self._model is not None else "",
            duplicate=duplicate,
        )


def decision_id(shard: str, event: CallEvent) -> str:
    """16 hex digits that follow from shard, call and numbers alone, so that a repeated decision is recognised."""
    text = f"{shard}\0{event.call_id}\0{event.caller}\0{event.callee}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _in_canary(rule: str, caller: str, percent: float) -> bool:
    """Whether ``caller`` belongs to the ``percent`` on whom ``rule`` is tried; the same callers every time."""
    return zlib.crc32(f"{rule}\0{caller}".encode("utf-8", "replace")) % 10_000 < percent * 100
