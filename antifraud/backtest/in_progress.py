"""What rules on calls in progress would do: the engine's own interception over labelled events, driven by event time.

Every such rule counts as if at enforce, and by itself: none ends a call for another. Rules on setups stand at their
stages, with every ceiling at block and desks that are never full: a call that one at enforce, or at canary for a caller
in its share, keeps from the callee never gets in progress. The model stops nothing. After a hit a call goes on as it
stands in the log; nobody knows what would have come otherwise.

The result follows from the events alone: a call is looked at when it is due, with all that came before and nothing
that came after.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from antifraud.backtest.batches import batches
from antifraud.backtest.hits import HonestHit, LabelledEvent, Outcome, RuleHits, with_rules
from antifraud.decision import ROW, Bundle, Decider, Policy, Prepared, RegionPolicy, stopped_report
from antifraud.decision.calls_in_progress import MOST_AGE_S, TICK_S, CallsInProgress, Moment
from antifraud.decision.interception import ALERT, RELEASE, Interceptor
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind, Stage
from antifraud.features import Fold, Limits
from antifraud.numbering import Numbering
from antifraud.rulekit import Hit, RuleSet
from antifraud.rulekit.rule import ACTING, SETUP, Rule
from antifraud.scoring import Model

READ_BACK_S: Final = 1.0
"""How soon an engine reads back what it has reported."""

_AT_A_TIME: Final = 512
_NEVER: Final = 2.0
"""A score that no call has."""
_MOST_CALLERS: Final = 1_000_000
_PER: Final = 10_000
_STOPS: Final = ("divert", "block")
_PASSED_ON: Final = ("allow", "label")
_TRUNK_CLASS: Final = ROW.index("trunk_class")


def due_before(calls: CallsInProgress, until: float) -> Iterator[float]:
    """The log times before ``until`` at which calls are due, one after another; let the time come to each of them."""
    while (due := calls.next_tick) is not None and due < until:
        yield due


def rules_in_progress(rules: RuleSet) -> tuple[Rule, ...]:
    """Those of ``rules`` that look at calls in progress and are not retired."""
    return tuple(rule for rule in rules.rules if rule.on != SETUP and rule.stage is not Stage.RETIRED)


class InProgressHits(RuleHits, frozen=True, kw_only=True):
    """What one rule did to calls in progress: ``honest`` and ``fraud`` are those that were answered and let through.

    ``looks`` is how often calls were looked at on the rule's occasion. ``talk_s``: half of the calls hit had talked for
    no longer than that when they were; None where none was. ``cut_s`` is how long the fraudulent calls hit went on
    after that, of ``fraud_talk_s`` that all fraudulent calls talked.
    """

    looks: int
    talk_s: float | None
    cut_s: float
    fraud_talk_s: float

    @property
    def per_10000(self) -> float:
        """Hits in 10,000 honest calls that were answered and let through."""
        return self.honest_hits / self.honest * _PER if self.honest else 0.0

    @property
    def cut_share(self) -> float:
        """``cut_s`` as a share of the talk time of all fraudulent calls."""
        return self.cut_s / self.fraud_talk_s if self.fraud_talk_s else 0.0

    @property
    def outcome(self) -> Outcome:
        """As for a rule on setups; but a rule that never looked at a call has shown nothing, so it is open."""
        found = super().outcome
        return "open" if found == "kept" and not self.looks else found


class _Tally(msgspec.Struct):
    """What one rule has done so far. ``talked``: the seconds of talk of each call hit, when it was."""

    rule: Rule
    honest_hits: int = 0
    fraud_hits: int = 0
    alone: int = 0
    cut_s: float = 0.0
    talked: array[float] = msgspec.field(default_factory=lambda: array("d"))
    callers: set[str] = msgspec.field(default_factory=set)
    examples: list[HonestHit] = msgspec.field(default_factory=list)

    def covers(self, other: _Tally) -> bool:
        """Whether this rule is in force and does to a call what ``other`` does, or more."""
        return self.rule.stage in ACTING and (self.rule.verdict == RELEASE or other.rule.verdict != RELEASE)


class _Held(NamedTuple):
    """An event that waits for its turn; ``label`` is None of what the engine itself reports."""

    prepared: Prepared
    at: float
    label: LabelledEvent | None


class _Call(msgspec.Struct):
    """A call that was set up. ``stopped``: a rule on setups keeps it from the callee. ``hits``: by what, and when."""

    label: LabelledEvent
    stopped: bool
    answered: float | None = None
    hits: list[tuple[_Tally, float]] = msgspec.field(default_factory=list)


class InProgressCount:
    """Counts over any number of sources, each of which begins with empty windows, as a new engine does.

    ``honest`` and ``fraud`` are the calls that were answered and let through, ``fraud_talk_s`` is how long the latter
    talked; ``stopped_honest`` and ``stopped_fraud`` are those that were answered in the log although rules on setups
    would have stopped them. ``failures`` are looks that failed.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        numbering: Numbering,
        *,
        model: Model | None = None,
        limits: Limits | None = None,
        feedback: bool = True,
        examples: int = 0,
        tick_s: float = TICK_S,
        at_a_time: int = _AT_A_TIME,
    ) -> None:
        """As ``HitCount``. ``tick_s``: seconds between two looks at a call, as the engine has them.

        ``at_a_time``: how many events are decided at once at most, which changes no result.
        """
        rules = bundle.rules
        assert isinstance(rules, RuleSet), "rules that are tried out have their texts"
        self._tallies = {rule.id: _Tally(rule) for rule in rules_in_progress(rules)}
        tried = _side_by_side(rules)
        self._bundle = msgspec.structs.replace(bundle, rules=tried)
        self._policy = _all_open(policy, {rule.id for rule in tried.rules})
        self._numbering, self._model, self._limits = numbering, model, limits
        self._feedback = feedback
        self._keep = examples
        self._tick_s, self._at_a_time = tick_s, at_a_time
        # What is looked at on the occasion of an event knows nothing of the events after it.
        on = {tally.rule.on for tally in self._tallies.values()}
        self._occasions = frozenset(kind for kind in (EventKind.ANSWER, EventKind.REPORT) if kind.value in on)
        self._looks: Counter[str] = Counter()
        self.honest = self.fraud = self.stopped_honest = self.stopped_fraud = 0
        self.fraud_talk_s = 0.0
        self.failures = 0

    def passing(self, events: Iterable[LabelledEvent], name: str = "") -> Iterator[LabelledEvent]:
        """``events``, which are in order of time and one source, each of them counted before it is handed on.

        UsageError, with ``name``, when events go back in time.
        """
        fold = Fold(self._bundle.windows, limits=self._limits)
        decider = Decider(self._bundle, self._policy, self._numbering, self._model, fold=fold)
        calls = CallsInProgress(tick_s=self._tick_s)
        # No event waits for so long that a call could be due that is answered among those that wait.
        wait_s = min(READ_BACK_S, self._tick_s)
        source = _Source(self, decider, calls, self._occasions, wait_s, self._at_a_time, feedback=self._feedback)
        for batch in batches(events, name, at_most=self._at_a_time, within_s=wait_s):
            for item in batch:
                source.take(item)
            yield from batch
        source.end()
        self.failures += source.failures

    def results(self) -> tuple[InProgressHits, ...]:
        """What each rule did, by pack and name."""
        return tuple(
            InProgressHits(
                tally.rule,
                self.honest,
                self.fraud,
                tally.honest_hits,
                len(tally.callers),
                tally.fraud_hits,
                tally.alone,
                tuple(tally.examples),
                looks=self._looks[tally.rule.on],
                talk_s=float(np.quantile(tally.talked, 0.5, method="inverted_cdf")) if tally.talked else None,
                cut_s=tally.cut_s,
                fraud_talk_s=self.fraud_talk_s,
            )
            for tally in self._tallies.values()
        )

    # What a source tells

    def looked(self, on: str) -> None:
        """A call was looked at on this occasion."""
        self._looks[on] += 1

    def answered(self, call: _Call) -> None:
        """A call was answered in the log."""
        if call.stopped:
            self.stopped_honest += not call.label.fraud
            self.stopped_fraud += call.label.fraud
        else:
            self.honest += not call.label.fraud
            self.fraud += call.label.fraud

    def hit(self, call: _Call, moment: Moment, hit: Hit) -> None:
        """A rule hit a call."""
        tally = self._tallies[hit.rule]
        event, answered = moment.call.event, moment.call.answered
        call.hits.append((tally, moment.at))
        tally.talked.append(moment.at - (moment.at if answered is None else answered))
        if call.label.fraud:
            tally.fraud_hits += 1
            return
        tally.honest_hits += 1
        if len(tally.callers) < _MOST_CALLERS:
            tally.callers.add(event.caller)
        if len(tally.examples) < self._keep:
            said = (call.label.behaviour, hit.text("en"))
            tally.examples.append(HonestHit(event.call_id, moment.at, event.caller, event.callee, *said))

    def ended(self, call: _Call, at: float) -> None:
        """A call has ended, or nothing more is known of it."""
        if call.answered is None or call.stopped or not call.label.fraud:
            return
        self.fraud_talk_s += max(0.0, at - call.answered)
        for tally, when in call.hits:
            tally.cut_s += max(0.0, at - when)
            tally.alone += not any(other is not tally and other.covers(tally) for other, _when in call.hits)


class _Source:
    """One source of events on its way through a decider and its interceptor, and into a count.

    ``occasions`` are the events on which calls are looked at. At most ``at_a_time`` events wait until they are decided,
    and none for longer than ``wait_s``.
    """

    def __init__(
        self,
        count: InProgressCount,
        decider: Decider,
        calls: CallsInProgress,
        occasions: frozenset[EventKind],
        wait_s: float,
        at_a_time: int,
        *,
        feedback: bool,
    ) -> None:
        self._count, self._decider, self._occasions = count, decider, occasions
        self._wait_s, self._at_a_time, self._feedback = wait_s, at_a_time, feedback
        self._interceptor = Interceptor(self._decider, calls, self._looked)
        self._calls: dict[tuple[str, str], _Call] = {}
        self._held: list[_Held] = []
        self._reports: deque[tuple[float, CallEvent]] = deque()
        self._hits: list[tuple[Moment, Sequence[Hit]]] = []
        self._now = -math.inf

    @property
    def failures(self) -> int:
        """How many looks failed."""
        return self._interceptor.failures

    def take(self, item: LabelledEvent) -> None:
        """The next event."""
        self._come_to(item.event.ts)
        self._hold(_Held(self._decider.prepare(item.event), item.event.ts, item))

    def end(self) -> None:
        """There is no further event; what was due up to the last one is still looked at."""
        if self._now == -math.inf:
            return
        self._flush()
        self._let_pass(math.nextafter(self._now, math.inf))
        for call in self._calls.values():
            self._count.ended(call, self._now)

    # Time

    def _come_to(self, at: float) -> None:
        """Everything that happens before an event at ``at`` (epoch s)."""
        if self._held and at - self._held[0].at >= self._wait_s:
            self._flush()
        while self._reports and self._reports[0][0] <= at:
            due, report = self._reports.popleft()
            self._let_pass(due)
            self._hold(_Held(self._decider.prepare(report), due, None))
        self._let_pass(at)

    def _let_pass(self, until: float) -> None:
        """Look at the calls that are due before ``until``; an event at the same time comes first."""
        calls = self._interceptor.calls
        if self._held and calls.next_tick is not None and calls.next_tick < until:
            self._flush()
        for due in due_before(calls, until):
            self._interceptor.advance(due)
            self._take_hits()
        # Which calls are too old to be followed must not depend on how many events are held.
        just_before = math.nextafter(until, -math.inf)
        if just_before > calls.now:
            calls.advance(just_before)
        self._now = max(self._now, until)

    def _hold(self, item: _Held) -> None:
        self._held.append(item)
        if len(self._held) >= self._at_a_time or item.prepared.event.kind in self._occasions:
            self._flush()

    # Events

    def _flush(self) -> None:
        """Decide about what is held, and look at the calls that it is an occasion to look at."""
        held, self._held = self._held, []
        if not held:
            return
        prepared, times = [item.prepared for item in held], [item.at for item in held]
        decisions = self._decider.decide_prepared(prepared)
        self._interceptor.note(prepared, times, decisions)
        following = iter(decisions)
        for item in held:
            if item.prepared.event.kind is EventKind.SETUP:
                self._set_up(item, next(following))
            else:
                self._went_on(item)
        if held[-1].prepared.event.kind in self._occasions:
            self._interceptor.advance(times[-1])
            self._take_hits()

    def _set_up(self, item: _Held, decision: Decision) -> None:
        event = item.prepared.event
        if self._feedback and decision.full_verdict in _STOPS and not (decision.duplicate or decision.protected):
            report = stopped_report(event)
            if report is not None:
                self._reports.append((item.at + READ_BACK_S, report))
        self._forget_old(item.at - MOST_AGE_S)
        assert item.label is not None, "an engine reports no setup"
        # What a desk hands back is followed by nobody.
        if item.prepared.row[_TRUNK_CLASS] != "desk":
            stopped = decision.verdict not in _PASSED_ON
            self._calls.setdefault((event.switch, event.call_id), _Call(item.label, stopped))

    def _went_on(self, item: _Held) -> None:
        event = item.prepared.event
        key = event.switch, event.call_id
        call = self._calls.get(key)
        if call is None:
            return
        if event.kind is EventKind.ANSWER and call.answered is None:
            call.answered = item.at
            self._count.answered(call)
        elif event.kind is EventKind.RELEASE:
            del self._calls[key]
            self._count.ended(call, item.at)

    def _forget_old(self, began: float) -> None:
        while self._calls:
            key, call = next(iter(self._calls.items()))
            if call.label.event.ts > began:
                return
            del self._calls[key]
            self._count.ended(call, began + MOST_AGE_S)

    # Hits

    def _looked(self, moment: Moment, hits: Sequence[Hit]) -> None:
        # The interceptor goes on whatever happens in here, so nothing is done that could fail.
        self._count.looked(moment.on)
        if hits:
            self._hits.append((moment, hits))

    def _take_hits(self) -> None:
        for moment, hits in self._hits:
            call = self._calls.get((moment.call.event.switch, moment.call.event.call_id))
            # Of calls with one Call-ID at a time only the first is counted.
            if call is not None:
                for hit in hits:
                    self._count.hit(call, moment, hit)
        self._hits.clear()


def _side_by_side(rules: RuleSet) -> RuleSet:
    """Rules on setups as they are; those on calls in progress at enforce and as alerts, so that none ends a call."""
    later = {rule.id for rule in rules_in_progress(rules)}
    return with_rules(
        rules,
        [
            msgspec.structs.replace(rule, stage=Stage.ENFORCE, percent=100.0, verdict=ALERT)
            if rule.id in later
            else rule
            for rule in rules.rules
            if rule.stage is not Stage.RETIRED
        ],
    )


def _all_open(policy: Policy, known: set[str]) -> Policy:
    """``policy`` with ceilings at block, desks that take every call, and scores that ask for nothing.

    What a region says of other rules than those that are ``known`` is left out, as everywhere in a backtest.
    """

    def opened(region: RegionPolicy) -> RegionPolicy:
        return msgspec.structs.replace(
            region,
            ceiling=Ceiling.BLOCK,
            label_at=_NEVER,
            challenge_at=_NEVER,
            divert_at=_NEVER,
            block_at=_NEVER,
            desk=region.desk or "desk",
            queues=(),
            challenge=region.challenge or "challenge",
            params={rule: values for rule, values in region.params.items() if rule in known},
        )

    return msgspec.structs.replace(
        policy, regions={code: opened(region) for code, region in policy.regions.items()}, desks=()
    )
