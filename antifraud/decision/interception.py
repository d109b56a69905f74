"""Interception of calls in progress: what rules make of the moments at which a call is looked at. No clock, no I/O.

The same safety as for a call that is set up: an emergency call and one that is protected are never touched, a region's
ceiling, the stage of the rule and the kill switch hold. To end an honest call is as bad as to block it: only a rule at
enforce (or the callers of its canary) in a region with ceiling *block* ends a call, and only one whose own decision is
known; everything else that hits tells people (*alert*).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from antifraud.decision.calls_in_progress import CallsInProgress, Moment, OpenCall
from antifraud.decision.decide import Decider, in_canary
from antifraud.decision.facts import ROW, Prepared
from antifraud.decision.texts import say
from antifraud.domain import CallEvent, Ceiling, Decision, Reason, Stage
from antifraud.features import Fold
from antifraud.rulekit import Hit

RELEASE: Final = "release"
ALERT: Final = "alert"
MAX_REASONS: Final = 8
_TS: Final = ROW.index("ts")
_HOUR: Final = ROW.index("hour")
_WEEKDAY: Final = ROW.index("weekday")
_REPORTED: Final = tuple((ROW.index(name), name) for name in ("label", "reporter", "weight"))


def moment_rows(
    moments: Sequence[Moment], prepared: Sequence[Prepared], fold: Fold, utc_offset_min: int
) -> list[list[object]]:
    """What rules read at each of ``moments``, of calls whose setups are ``prepared``.

    The fields and facts of the setup; time, hour and weekday of the moment; label, reporter and weight of the report;
    the windows as of the moment, in which the call itself counts as one that has begun; the score of the setup; the
    seconds of talk.
    """
    windows = fold.probe([moment.call.event for moment in moments], [moment.at for moment in moments]).tolist()
    rows = []
    for moment, item, values in zip(moments, prepared, windows, strict=True):
        row = item.row.copy()
        local = moment.at + utc_offset_min * 60
        row[_TS], row[_HOUR], row[_WEEKDAY] = (
            moment.at, float(local % 86_400 // 3_600), float((local // 86_400 + 3) % 7)
        )  # fmt: skip
        if moment.report is not None:
            for place, name in _REPORTED:
                said = getattr(moment.report, name)
                row[place] = None if said == "" else said
        row += [None if value != value else value for value in values]
        answered = moment.call.answered
        row += [moment.call.score, max(0.0, moment.at - answered) if answered is not None else None]
        rows.append(row)
    return rows


class Interceptor:
    """Follows the calls of one decider, and decides about those in progress.

    ``calls`` is its table. ``failures`` counts calls that could not be judged. ``looked`` is told of every look and the
    hits that count: of each rule the first one on a call, and none where the call is protected.
    """

    def __init__(
        self,
        decider: Decider,
        calls: CallsInProgress | None = None,
        looked: Callable[[Moment, Sequence[Hit]], None] | None = None,
    ) -> None:
        self._decider = decider
        self._looked = looked
        self.calls = calls if calls is not None else CallsInProgress()
        self.failures = 0

    def follow(
        self, prepared: Sequence[Prepared], arrivals: Sequence[float], decisions: Sequence[Decision]
    ) -> list[Decision]:
        """Take note of a batch that was decided; what comes of it, and of the time that has passed, for open calls.

        ``arrivals`` are the log times of ``prepared`` (epoch s), ``decisions`` those of the setups among them.
        """
        self.note(prepared, arrivals, decisions)
        if arrivals:
            self.calls.advance(arrivals[-1])
        return self._decide()

    def note(
        self, prepared: Sequence[Prepared], arrivals: Sequence[float], decisions: Sequence[Decision] | None = None
    ) -> None:
        """Take note of a batch; without ``decisions`` of one that was decided before (see ``learn``)."""
        self.calls.watch(self._decider.bundle.rules.in_progress)
        self.calls.follow(prepared, arrivals, decisions)

    def advance(self, now: float) -> list[Decision]:
        """Let log time come to ``now`` (epoch s); what comes of it for open calls."""
        self.calls.watch(self._decider.bundle.rules.in_progress)
        self.calls.advance(now)
        return self._decide()

    def _decide(self) -> list[Decision]:
        wanted = self.calls.watched
        moments = [moment for moment in self.calls.take() if moment.on in wanted and not moment.call.released]
        if not moments:
            return []
        try:
            prepared = [self._decider.prepare(moment.call.event) for moment in moments]
            rows = moment_rows(moments, prepared, self._decider.fold, self._decider.policy.utc_offset_min)
        except Exception:  # noqa: BLE001 - whatever goes wrong here, calls go on and new ones are decided
            self.failures += len(moments)
            return []
        found = []
        for moment, item, row in zip(moments, prepared, rows, strict=True):
            try:
                decision = self._judge(moment, item, row)
            except Exception:  # noqa: BLE001 - whatever goes wrong in judging one call, it goes on
                self.failures += 1
                continue
            if decision is not None:
                found.append(decision)
        return found

    def _judge(self, moment: Moment, item: Prepared, row: list[object]) -> Decision | None:
        rules, params = self._decider.bundle.rules, self._decider.params(item.region)
        call = moment.call
        hits = [
            hit for hit in rules.evaluate_in_progress(moment.on, row, params) if f"rule:{hit.rule}" not in call.fired
        ]
        if hits and (call.released or self._is_protected(item, row)):
            hits = []
        if self._looked is not None:
            self._looked(moment, hits)
        if not hits:
            return None
        call.fired += tuple(hit.by for hit in hits)
        decision = self._weigh(moment, item, hits)
        call.released = decision.verdict == RELEASE
        return decision

    def _is_protected(self, item: Prepared, row: Sequence[object]) -> bool:
        if item.emergency:
            return True
        hits = self._decider.bundle.rules.evaluate(row, self._decider.params(item.region))
        return any(hit.verdict == "protect" for hit in hits)

    def is_protected(self, call: OpenCall, at: float) -> bool:
        """Whether ``call`` must not be touched at ``at`` (epoch s), whoever asks."""
        item = self._decider.prepare(call.event)
        moment = Moment(call, "tick", at)
        (row,) = moment_rows([moment], [item], self._decider.fold, self._decider.policy.utc_offset_min)
        return self._is_protected(item, row)

    def _weigh(self, moment: Moment, item: Prepared, hits: Sequence[Hit]) -> Decision:
        decider, call = self._decider, moment.call
        event, policy = call.event, decider.policy
        region = policy.region(item.region)
        ceiling = region.ceiling if item.placed else min(region.ceiling, Ceiling.SHADOW)
        may_end = call.judged and ceiling is Ceiling.BLOCK and event.switch in policy.switches
        verdict, full = ALERT, ALERT
        reasons: list[tuple[bool, bool, int, Reason]] = []
        for hit in hits:
            enforced = hit.stage is Stage.ENFORCE or (
                hit.stage is Stage.CANARY and in_canary(hit.rule, event.caller, hit.percent)
            )
            if hit.verdict == RELEASE:
                full = RELEASE
                if enforced and may_end:
                    verdict = RELEASE
            stage = Stage.ENFORCE if enforced else hit.stage
            reason = Reason(hit.by, hit.verdict, hit.text(region.language), stage.value)
            reasons.append((hit.verdict != RELEASE, not enforced, len(reasons), reason))
        reasons.sort(key=lambda ground: ground[:3])
        said = [ground[3] for ground in reasons[:MAX_REASONS]]
        if decider.killed:
            verdict = "allow"
            said.insert(0, Reason("engine", "allow", say("killed", region.language)))
        return Decision(
            id=interception_id(policy.shard, call, moment.on, [hit.rule for hit in hits]),
            call_id=event.call_id,
            ts=moment.at,
            shard=policy.shard,
            region=region.code,
            verdict=verdict,
            full_verdict=full,
            ceiling=ceiling.word,
            caller=event.caller,
            callee=event.callee,
            switch=event.switch,
            trunk=event.trunk,
            source=event.source,
            score=call.score,
            reasons=tuple(said),
            bundle=decider.bundle.digest,
            model=decider.model.id if decider.model is not None else "",
            on=moment.on,
        )


def interception_id(shard: str, call: OpenCall, on: str, rules: Sequence[str]) -> str:
    """16 hex digits that follow from the call and the rules that hit it, so that a repeated decision is recognised."""
    event: CallEvent = call.event
    text = "\0".join((shard, event.switch, event.call_id, event.caller, event.callee, on, *sorted(rules)))
    if call.place:  # another call may have the same Call-ID and the same numbers
        text += f"\0{event.ts!r}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
