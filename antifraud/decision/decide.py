"""decide: a batch of events in, decisions out. Synchronous, no clock, no I/O; the same bits whatever the batch size.

Order of precedence: protect > block > divert > challenge > label > allow. An emergency call is protected here, in
code, before any rule, list or score is looked at.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.decision.blocked_numbers import NumberState, is_spoofed, may_block_caller, protection_of, with_blocked
from antifraud.decision.bundle import Bundle, windows_changed
from antifraud.decision.challenger import UNSCORED, Scores, Seat, asked, seated
from antifraud.decision.desks import DeskBoard
from antifraud.decision.facts import MODEL_FACTS, ROW, FactBook, Prepared
from antifraud.decision.fail import FailReason, Fallback, fallback
from antifraud.decision.feedback import stopped_report
from antifraud.decision.policy import Policy, RegionPolicy
from antifraud.decision.texts import say
from antifraud.domain import (
    AntifraudError,
    CallEvent,
    Ceiling,
    Decision,
    EventKind,
    ModelError,
    Reason,
    Stage,
    Verdict,
    cap,
)
from antifraud.features import Fold
from antifraud.features.fold import Folded
from antifraud.numbering import Numbering
from antifraud.rulekit import Hit, Params
from antifraud.scoring import Model

MAX_REASONS: Final = 8
_NOTHING: Final[tuple[Reason, ...]] = ()
_VERDICTS: Final = {verdict.word: verdict for verdict in Verdict}
_STOPPING: Final = ("divert", "block")
_TRUNK_CLASS: Final = ROW.index("trunk_class")
_CALLEE_COUNTRY: Final = ROW.index("callee_country")
_HOME: Final = ROW.index("home_country")
_DESK: Final = "desk"
SWITCH_AGE: Final = "switch_age"
CHALLENGES_PASSED: Final = "caller_challenges_passed_24h"
"""The window by which a caller who has passed a challenge is known, where the rules have it."""


class _Region(msgspec.Struct, frozen=True):
    """A region's policy with what can be worked out ahead: rule parameters."""

    policy: RegionPolicy
    params: Params


class Decider:
    """The state of one shard and the one function over it.

    ``decide`` and ``absorb`` are the only ways to change the state, and both are functions of the events given, in
    order. ``killed`` makes every carried-out verdict *allow* (the kill switch) while full verdicts go on. ``numbers``
    are those of callers that are blocked or cleared; whoever keeps the register sets them. ``challenger`` is a second
    model that scores every call and decides nothing; one that does not fit is left out (``challenger_refused``).
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        numbering: Numbering,
        model: Model | None = None,
        fold: Fold | None = None,
        challenger: Model | None = None,
    ) -> None:
        self._numbering = numbering
        self._facts = FactBook(numbering, policy)
        self.policy = policy
        self.fold = fold if fold is not None else Fold(bundle.windows)
        self.desks = DeskBoard(policy.desks, policy.utc_offset_min * 60.0)
        self.killed = False
        self.numbers: Mapping[str, NumberState] = {}
        self.failures = 0
        self.challenger_refused: AntifraudError | None = None
        self._seat: Seat | None = None
        self._rival: Seat | None = None
        self._install(bundle, model)
        if challenger is not None:
            self._challenge(challenger)

    @property
    def bundle(self) -> Bundle:
        """The bundle in force."""
        return self._bundle

    @property
    def model(self) -> Model | None:
        """The model in force."""
        return self._seat.model if self._seat is not None else None

    @property
    def challenger(self) -> Model | None:
        """The model that scores every call beside it and decides nothing."""
        return self._rival.model if self._rival is not None else None

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
        self._install(bundle, self.model)

    def _install(self, bundle: Bundle, model: Model | None) -> None:
        regions = self.policy.regions
        seat = seated(model, bundle.windows.digests, regions) if model is not None else None
        within = {code: _Region(region, bundle.rules.params(region.params)) for code, region in regions.items()}
        self._regions, self._bundle, self._seat = within, bundle, seat
        names = bundle.windows.names
        self._passed = names.index(CHALLENGES_PASSED) if CHALLENGES_PASSED in names else -1
        self._switch_age = names.index(SWITCH_AGE) if SWITCH_AGE in names else -1

    def _challenge(self, challenger: Model) -> None:
        """Have ``challenger`` score beside the model; where it does not fit, ``challenger_refused`` says why."""
        try:
            self._rival = seated(challenger, self._bundle.windows.digests, self.policy.regions)
        except ModelError as error:
            self.challenger_refused = error

    def protection_of(self, number: str, at: float) -> str:
        """What keeps ``number`` (E.164) from being blocked at epoch second ``at``; empty when nothing does."""
        return protection_of(number, self._bundle.rules, self._numbering, at)

    def params(self, region: str) -> Params:
        """The parameters of rules in ``region``, one that ``Prepared`` names."""
        return self._regions[region].params

    def are_new(self, setups: Sequence[Prepared], folded: Folded) -> list[bool]:
        """Whether too little is known of callers for a score to stop each of ``setups``, of which the fold gave
        ``folded``.

        So it is until ``policy.warm_up_s`` after the first event of all, after the first call from the same switch (its
        callers are strangers, too, when a region joins), and after the last caller that was forgotten for want of
        memory was counted: others who have been quiet for as long may have been forgotten as well.
        """
        warm_up_s = self.policy.warm_up_s
        if warm_up_s <= 0:
            return [False] * len(setups)
        since = folded.known_since.tolist()
        if self._switch_age < 0:
            return [item.event.ts - known < warm_up_s for item, known in zip(setups, since, strict=True)]
        ages = folded.values[:, self._switch_age].tolist()
        return [
            item.event.ts - known < warm_up_s or (item.event.switch != "" and not age >= warm_up_s)
            for item, known, age in zip(setups, since, ages, strict=True)
        ]

    def prepare(self, event: CallEvent) -> Prepared:
        """The event normalised, with its facts."""
        return self._facts.prepare(event)

    def absorb(self, events: Sequence[CallEvent]) -> None:
        """Fold ``events`` that are decided already: the way a restarted engine comes to the state it had."""
        self.absorb_prepared([self._facts.prepare(event) for event in events])

    def absorb_prepared(self, prepared: Sequence[Prepared]) -> None:
        """As ``absorb``, of events that are prepared."""
        self.fold.fold([item.event for item in prepared], [item.row for item in prepared])

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> npt.NDArray[np.float64]:
        """Fold ``events``; the feature vectors of the setups among them: float64[n_setups, n_features].

        ``stops`` is given a report for each setup that full enforcement of the rules, without any score, would have
        stopped: ``absorb`` them, and windows count stopped calls as they do live. ``new`` is given whether a score has
        no say yet about each setup (``are_new``).
        """
        prepared = [self._facts.prepare(event) for event in events]
        folded, setups = self._fold(prepared)
        values = folded.values
        if new is not None:
            new += self.are_new(setups, folded)
        if stops is not None:
            windows, duplicate = values.tolist(), folded.duplicate
            for position, item in enumerate(setups):
                decision = self._judge(item, windows[position], UNSCORED, bool(duplicate[position]))
                if decision.full_verdict in _STOPPING and not (decision.duplicate or decision.protected):
                    report = stopped_report(item.event)
                    if report is not None:
                        stops.append(report)
        return self._matrix(values, setups)

    def decide(self, events: Sequence[CallEvent]) -> list[Decision]:
        """Fold ``events`` (already checked) and decide about the setups among them, in their order."""
        return self.decide_prepared([self._facts.prepare(event) for event in events])

    def decide_prepared(self, prepared: Sequence[Prepared]) -> list[Decision]:
        """As ``decide``, of events that are prepared."""
        folded, setups = self._fold(prepared)
        if not setups:
            if self.desks:
                for call_id in self._ended(prepared).get(0, ()):
                    self.desks.give_back(call_id)
            return []
        matrix, scores = self._score(folded.values, setups)
        windows, duplicate = folded.values.tolist(), folded.duplicate.tolist()
        new = self.are_new(setups, folded)
        decisions = []
        ended = self._ended(prepared) if self.desks else {}
        for position, item in enumerate(setups):
            for call_id in ended.get(position, ()):
                self.desks.give_back(call_id)
            decision = self._judge(item, windows[position], scores[position], duplicate[position], new[position])
            if matrix is not None and any(reason.by == "score" for reason in decision.reasons):
                seen = tuple(None if value != value else value for value in matrix[position].tolist())
                decision = msgspec.structs.replace(decision, features=seen)
            decisions.append(decision)
        for call_id in ended.get(len(setups), ()):
            self.desks.give_back(call_id)
        return decisions

    def _score(
        self, values: npt.NDArray[np.float64], setups: Sequence[Prepared]
    ) -> tuple[npt.NDArray[np.float64] | None, list[Scores]]:
        """What the model in force sees of the setups, and what both models say of each of them."""
        seat, rival = self._seat, self._rival
        if seat is None and rival is None:
            return None, [UNSCORED] * len(setups)
        vectors = self._matrix(values, setups)
        count = len(setups)
        matrix: npt.NDArray[np.float64] | None = None
        own: list[float | None] = [None] * count
        own_asks, kinds = [Verdict.ALLOW] * count, [""] * count
        if seat is not None:
            matrix, own, own_asks, kinds = _said(seat, vectors, setups)
        if rival is None:
            return matrix, [Scores(*said) for said in zip(own, own_asks, kinds, strict=True)]
        _seen, theirs, their_asks, _kinds = _said(rival, vectors, setups)
        return matrix, [Scores(*said) for said in zip(own, own_asks, kinds, theirs, their_asks, strict=True)]

    def _fold(self, prepared: Sequence[Prepared]) -> tuple[Folded, list[Prepared]]:
        folded = self.fold.fold([item.event for item in prepared], [item.row for item in prepared])
        return folded, [item for item in prepared if item.event.kind is EventKind.SETUP]

    @staticmethod
    def _ended(prepared: Sequence[Prepared]) -> dict[int, list[str]]:
        """The calls that ended, by the number of setups before them: their places at a desk are free from there on."""
        ended: dict[int, list[str]] = {}
        setups = 0
        for item in prepared:
            if item.event.kind is EventKind.SETUP:
                setups += 1
            elif item.event.kind is EventKind.RELEASE:
                ended.setdefault(setups, []).append(item.event.call_id)
        return ended

    @staticmethod
    def _matrix(values: npt.NDArray[np.float64], setups: Sequence[Prepared]) -> npt.NDArray[np.float64]:
        matrix = np.empty((len(setups), values.shape[1] + len(MODEL_FACTS)), dtype=np.float64)
        if setups:
            matrix[:, : values.shape[1]] = values
            matrix[:, values.shape[1] :] = [item.vector for item in setups]
        return matrix

    def _judge(
        self, item: Prepared, windows: Sequence[float], scores: Scores, duplicate: bool, new: bool = False
    ) -> Decision:
        region = self._regions[item.region]
        language = region.policy.language
        if item.emergency:
            reason = Reason("protect", "allow", say("emergency", language))
            return self._decision(
                item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), scores, duplicate, protected=True
            )
        if item.row[_TRUNK_CLASS] == _DESK:
            # Judged already, by people: whatever a desk hands back must not go round in circles.
            reason = Reason("protect", "allow", say("handed_back", language))
            return self._decision(
                item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), scores, duplicate, protected=True
            )
        row = item.row.copy()
        row += [None if value != value else value for value in windows]
        row.append(scores.own)
        try:
            hits = self._bundle.rules.evaluate(row, region.params)
            freed = False
            if self.numbers:
                state = self.numbers.get(item.event.caller)
                hits = with_blocked(hits, state, item.region, item.event.ts)
                freed = state is not None and state.frees(item.region, item.event.ts) and not is_spoofed(item)
            passed = self._passed >= 0 and windows[self._passed] >= 1
            return self._weigh(item, region, hits, scores, duplicate, passed, freed, new)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in judging one call, the call goes on
            self.failures += 1
            fell = self._fallen_back(item, region)
            sentence = say("undecided" if fell.verdict < Verdict.BLOCK else "undecided_refused", language)
            reason = Reason("engine", fell.verdict.word, f"{sentence}: {type(error).__name__}")
            return self._decision(
                item, region, fell.verdict, Verdict.ALLOW, (reason,), scores, duplicate, code=fell.code
            )

    def _fallen_back(self, item: Prepared, region: _Region) -> Fallback:
        """What the region's fail policy makes of a call that rules and model cannot judge."""
        row, event = item.row, item.event
        try:
            numbers = [number for number in (event.caller, event.callee) if number]
            protected = any(self.protection_of(number, event.ts) for number in numbers) or any(
                event.trunk and held.table.until(event.trunk, 0.0) > event.ts
                for held in self._bundle.rules.held.values()
                if "trunk" in held.file.protects
            )
        except Exception:  # noqa: BLE001 - where nobody can say whether a call is protected, it is
            protected = True
        return fallback(
            region.policy.fail,
            region.policy.ceiling,
            str(row[_TRUNK_CLASS] or ""),
            FailReason.BUNDLE_MISSING,
            protected=protected,
            abroad=_abroad(item),
        )

    def _weigh(
        self,
        item: Prepared,
        region: _Region,
        hits: Sequence[Hit],
        scores: Scores,
        duplicate: bool,
        passed: bool = False,
        freed: bool = False,
        new: bool = False,
    ) -> Decision:
        language = region.policy.language
        by_score, rival = scores.asks, scores.rival_asks
        if new:
            # Whom an engine has never seen may be an old subscriber: what it cannot know yet, it does not punish.
            by_score, rival = min(by_score, Verdict.LABEL), min(rival, Verdict.LABEL)
        if not hits and by_score is Verdict.ALLOW:
            return self._decision(item, region, Verdict.ALLOW, Verdict.ALLOW, _NOTHING, scores, duplicate, rival=rival)

        full = carried = by_score
        model_stage = self._model_stage(item.event.caller)
        if model_stage is not Stage.ENFORCE:
            carried = Verdict.ALLOW
        label = ""
        code = 0
        block_s, block_by = 0.0, ""
        targets: list[tuple[int, str]] = []
        grounds: list[tuple[int, int, Reason]] = []
        for position, hit in enumerate(hits):
            if hit.verdict == "protect":
                reason = Reason(hit.by, "allow", hit.text(language))
                return self._decision(
                    item, region, Verdict.ALLOW, Verdict.ALLOW, (reason,), scores, duplicate, protected=True
                )
            verdict = _VERDICTS[hit.verdict]
            full = max(full, verdict)
            rival = max(rival, verdict)
            enforced = hit.stage is Stage.ENFORCE or (
                hit.stage is Stage.CANARY and in_canary(hit.rule, item.event.caller, hit.percent)
            )
            if enforced:
                label = label or hit.label
                code = code or hit.code
                if hit.target:
                    targets.append((verdict, hit.target))
                if hit.block_caller_s > block_s:
                    block_s, block_by = hit.block_caller_s, hit.by
                carried = max(carried, verdict)
            stage = Stage.ENFORCE if enforced else hit.stage
            reason = Reason(hit.by, hit.verdict, hit.text(language), stage.value)
            grounds.append((-verdict - (10 if enforced else 0), position, reason))
        if by_score is not Verdict.ALLOW and scores.own is not None:
            enforced = model_stage is Stage.ENFORCE
            text = say("score", language, score=scores.own)
            reason = Reason("score", by_score.word, text, model_stage.value)
            grounds.append((-by_score - (10 if enforced else 0), len(hits), reason))
        grounds.sort(key=lambda ground: ground[:2])
        reasons = tuple(ground[2] for ground in grounds[:MAX_REASONS])
        if freed and carried > Verdict.LABEL:
            # People have looked at this number and found it honest: that goes before what machines think of its calls.
            carried = Verdict.LABEL
            reasons = (*reasons, Reason("blocks", "label", say("cleared", language)))
        # The hardest enforced hit that names a target wins, also when a still harder one is capped to a diversion.
        target = max(targets, key=lambda named: named[0])[1] if targets else ""
        return self._decision(
            item,
            region,
            carried,
            full,
            reasons,
            scores,
            duplicate,
            rival=rival,
            label=label,
            target=target,
            code=code,
            block_s=block_s,
            block_by=block_by,
            passed=passed,
        )

    def _decision(
        self,
        item: Prepared,
        region: _Region,
        carried: Verdict,
        full: Verdict,
        reasons: tuple[Reason, ...],
        scores: Scores,
        duplicate: bool,
        *,
        rival: Verdict = Verdict.ALLOW,
        protected: bool = False,
        label: str = "",
        target: str = "",
        code: int = 0,
        block_s: float = 0.0,
        block_by: str = "",
        passed: bool = False,
    ) -> Decision:
        event, policy = item.event, region.policy
        # A call that belongs to no region that we know is watched and left alone.
        ceiling = policy.ceiling if item.placed else min(policy.ceiling, Ceiling.SHADOW)
        verdict = cap(carried, ceiling)
        identity = decision_id(self.policy.shard, event)
        if self.killed and verdict is not Verdict.ALLOW:
            verdict = Verdict.ALLOW
            reasons = (Reason("engine", "allow", say("killed", policy.language)), *reasons)
        desk = ""
        if verdict is Verdict.DIVERT and not target and policy.queues:
            taken = self.desks.take(policy.queues, identity, event.call_id, event.ts, policy.language, event.caller)
            if taken is not None:
                desk, target = taken.name, taken.target
            else:
                verdict = policy.overflow if cap(policy.overflow, ceiling) is policy.overflow else Verdict.LABEL
                trunk_class = str(item.row[_TRUNK_CLASS] or "")
                if policy.fail.said(trunk_class, FailReason.DESK_FULL) is not None:
                    # The fail policy of this class of trunks goes before what holds for the region's desks.
                    fell = fallback(
                        policy.fail, ceiling, trunk_class, FailReason.DESK_FULL, protected=False, abroad=_abroad(item)
                    )
                    verdict, code = fell.verdict, fell.code
                reasons = (*reasons, Reason("desk", verdict.word, say("desk_full", policy.language)))
        if verdict is Verdict.CHALLENGE and passed:
            # Asked no more than once; what would be diverted or blocked under a higher ceiling still warns the callee.
            verdict = Verdict.ALLOW if carried <= Verdict.CHALLENGE else Verdict.LABEL
            reasons = (*reasons, Reason("challenge", verdict.word, say("passed", policy.language)))
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
        # Only a call that is blocked here and now has its number blocked: not under a lower ceiling or the kill switch.
        if block_s and (verdict is not Verdict.BLOCK or duplicate or not may_block_caller(item)):
            block_s, block_by = 0.0, ""
        return Decision(
            id=identity,
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
            score=scores.own,
            reasons=reasons,
            protected=protected,
            target=target,
            desk=desk,
            label=label,
            code=code if verdict is Verdict.BLOCK else 0,
            bundle=self._bundle.digest,
            model=self._seat.model.id if self._seat is not None else "",
            duplicate=duplicate,
            block_until=event.ts + block_s if block_s else None,
            block_by=block_by,
            caller_class=scores.kind,
            challenger=self._rival.model.id if self._rival is not None else "",
            challenger_score=scores.rival,
            challenger_verdict=rival.word if self._rival is not None else "",
        )

    def _model_stage(self, caller: str) -> Stage:
        """The stage of the model in force for ``caller``: of those in its canary it is enforced."""
        if self._seat is None:
            return Stage.SHADOW
        model = self._seat.model
        if model.stage is Stage.CANARY and in_canary(model.id, caller, model.percent):
            return Stage.ENFORCE
        return model.stage


def _said(
    seat: Seat, vectors: npt.NDArray[np.float64], setups: Sequence[Prepared]
) -> tuple[npt.NDArray[np.float64], list[float | None], list[Verdict], list[str]]:
    """What the model in ``seat`` sees of each setup, its score, the verdict that it asks for, and the class."""
    matrix = vectors if seat.columns is None else vectors.take(seat.columns, axis=1)
    scores = seat.model.predict(matrix).tolist()
    codes, names = seat.model.classes(matrix).tolist(), seat.model.class_names
    asks = []
    for item, score, code in zip(setups, scores, codes, strict=True):
        verdict = asked(seat.levels[item.region][code], score)
        # Nothing that a model sees tells a subscriber abroad from a forger before their second call, and a register
        # that did not answer is no reason to cut anybody off: the callee is warned, no more.
        asks.append(min(verdict, Verdict.LABEL) if item.traveller else verdict)
    return matrix, scores, asks, [names[code] for code in codes]


def _abroad(item: Prepared) -> bool | None:
    """Whether the number called is of another country; None when that is not known."""
    country = item.row[_CALLEE_COUNTRY]
    return None if country is None else country != item.row[_HOME]


def decision_id(shard: str, event: CallEvent) -> str:
    """16 hex digits that follow from shard, call and numbers alone, so that a repeated decision is recognised."""
    text = f"{shard}\0{event.call_id}\0{event.caller}\0{event.callee}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def in_canary(rule: str, caller: str, percent: float) -> bool:
    """Whether ``caller`` belongs to the ``percent`` on whom ``rule`` is tried; the same callers every time."""
    return zlib.crc32(f"{rule}\0{caller}".encode("utf-8", "replace")) % 10_000 < percent * 100
