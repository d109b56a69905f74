"""How often each rule hits honest calls, and what it catches: all rules over labelled events, each as if at enforce.

The events go through the facts and windows of the live engine, and the conditions are those that the engine compiles,
written for columns. Exceptions and protection hold as they do live, parameters are those of the call's region, and
what rules in force would have stopped goes back into the windows. A canary's share of callers is not taken off: what
counts is what the rule would do to everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.backtest.batches import batches
from antifraud.decision import MODEL_FACTS, ROW, FactBook, Policy, Prepared, stopped_report
from antifraud.domain import CallEvent, EventKind, Stage, UsageError
from antifraud.features import Fold, Limits, WindowSet
from antifraud.numbering import Numbering
from antifraud.rulekit import Params, RuleSet
from antifraud.rulekit.rule import ACTING, SETUP, Rule
from antifraud.rulekit.tree import Slot, atoms_in
from antifraud.scoring import Model
from antifraud.scoring.certificate import CONFIDENCE, lower_bound, upper_bound
from antifraud.scoring.columns import columns_of

MILLION: Final = 1_000_000

_BATCH: Final = 1024
_BLOCK: Final = 8192
"""Set-ups whose conditions are worked out at a time."""
_BATCH_S: Final = 60.0
"""An engine reads back within a second what it reported; here it is a minute of event time, so as to be quick."""

_MOST_CALLERS: Final = 1_000_000
_STOPS: Final = ("divert", "block")
_RANK: Final = {"label": 0, "challenge": 1, "divert": 2, "block": 3, "protect": 4}

Mask = npt.NDArray[np.bool_]
Outcome = Literal["kept", "open", "above", ""]


class LabelledEvent(NamedTuple):
    """An event, and whether its call is fraud. ``behaviour`` says who calls ("courier"), for people only."""

    event: CallEvent
    fraud: bool
    behaviour: str = ""


class HonestHit(msgspec.Struct, frozen=True):
    """One honest call that a rule hit. ``reason`` is what the rule says of it, in English."""

    call_id: str
    ts: float
    caller: str
    callee: str
    behaviour: str
    reason: str


class RuleHits(msgspec.Struct, frozen=True):
    """What one rule did. ``honest`` and ``fraud`` are the set-ups looked at, ``budget`` is in hits per million.

    ``fraud_alone``: of the fraudulent calls hit, those that no other rule at canary or enforce hits as gravely.
    ``callers`` are the different callers of the honest calls hit.
    """

    rule: Rule
    honest: int
    fraud: int
    honest_hits: int
    callers: int
    fraud_hits: int
    fraud_alone: int
    examples: tuple[HonestHit, ...] = ()

    @property
    def budget(self) -> float | None:
        """The most honest calls in a million that the rule may hit, as it declares; None where it does not."""
        return self.rule.false_hits_per_million

    @property
    def per_million(self) -> float:
        """Hits in a million honest calls, as measured; 0 where there was none."""
        return self.honest_hits / self.honest * MILLION if self.honest else 0.0

    @property
    def at_least(self) -> float:
        """The lower bound of that rate with 95 % confidence (exact binomial), were each call by itself."""
        return lower_bound(self.honest_hits, self.honest, CONFIDENCE) * MILLION if self.honest else 0.0

    @property
    def at_most(self) -> float:
        """The upper bound, likewise. Calls of one caller hang together, so ``callers`` belong beside it."""
        return upper_bound(self.honest_hits, self.honest, CONFIDENCE) * MILLION if self.honest else MILLION

    @property
    def outcome(self) -> Outcome:
        """kept: the rate is shown to be within the budget. above: shown not to be. open: too few calls to tell."""
        if self.budget is None:
            return ""
        if self.at_least > self.budget:
            return "above"
        return "kept" if self.at_most <= self.budget else "open"

    @property
    def acts(self) -> bool:
        """Whether the rule changes calls now, so that its budget has to be kept."""
        return self.rule.stage in ACTING and self.rule.verdict != "protect"


class HitCount:
    """Counts over any number of sources, each of which begins with empty windows, as a new engine does."""

    def __init__(
        self,
        windows: WindowSet,
        rules: RuleSet,
        policy: Policy,
        numbering: Numbering,
        *,
        model: Model | None = None,
        limits: Limits | None = None,
        feedback: bool = True,
        examples: int = 0,
    ) -> None:
        """``model`` gives ``score`` to rules that read it. ``examples`` honest hits of each rule are kept.

        ModelError when the model does not fit the windows, ConfigError when the parameters of a region do not fit.
        """
        self._windows = windows
        self._facts = FactBook(numbering, policy)
        self._limits = limits
        self._feedback = feedback
        self._keep = examples
        self._model = model
        self._places = columns_of(model, windows.digests, MODEL_FACTS) if model is not None else None
        # Rules on calls in progress hit no set-up; ``in_progress`` counts what they hit.
        self._declared = tuple(rule for rule in rules.rules if rule.stage is not Stage.RETIRED and rule.on == SETUP)
        self._row_of = {rule.id: row for row, rule in enumerate(self._declared)}
        self._in_force = rules
        self._enforced = as_if_enforced(rules)
        self._params: list[tuple[Params, Params]] = []
        self._kinds = {code: self._kind(region.params) for code, region in policy.regions.items()}
        self._protects = np.array([rule.verdict == "protect" for rule in self._declared], dtype=np.bool_)
        enforced = np.array([rule.stage is Stage.ENFORCE for rule in self._declared], dtype=np.bool_)
        self._protecting = self._protects & enforced
        self._acting = np.array([rule.stage in ACTING for rule in self._declared], dtype=np.bool_) & ~self._protects
        ranks = np.array([_RANK[rule.verdict] for rule in self._declared], dtype=np.int64)
        self._as_grave = (ranks[None, :] >= ranks[:, None]).astype(np.int32)
        count = len(self._declared)
        self._honest_hits, self._fraud_hits, self._alone = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self._callers: list[set[str]] = [set() for _ in range(count)]
        self._examples: list[list[HonestHit]] = [[] for _ in range(count)]
        self.honest = 0
        self.fraud = 0
        self.repeated = 0

    def add(
        self, events: Iterable[LabelledEvent], name: str = "", on_call: Callable[[int], None] | None = None
    ) -> None:
        """Count over ``events``, which are in order of time. Repeated set-ups are counted in ``repeated`` only.

        ``on_call`` is told how many calls there were so far. UsageError, with ``name``, when events go back in time.
        """
        fold = Fold(self._windows, limits=self._limits)
        block = _Block()
        for batch in batches(events, name, at_most=_BATCH, within_s=_BATCH_S):
            prepared = [self._facts.prepare(item.event) for item in batch]
            folded = fold.fold([item.event for item in prepared], [item.row for item in prepared])
            places = [place for place, item in enumerate(batch) if item.event.kind is EventKind.SETUP]
            if not places:
                continue
            setups = [prepared[place] for place in places]
            scores = self._scores(setups, folded.values)
            if self._feedback:
                reports = [
                    self._facts.prepare(report)
                    for report in self._reports(setups, folded.values, scores, folded.duplicate.tolist())
                ]
                fold.fold([item.event for item in reports], [item.row for item in reports])
            block.add(setups, [batch[place] for place in places], folded.values, folded.duplicate, scores)
            if len(block.setups) >= _BLOCK:
                self._count(block)
                block = _Block()
            if on_call is not None:
                on_call(self.honest + self.fraud + self.repeated + len(block.setups))
        if block.setups:
            self._count(block)

    def results(self) -> tuple[RuleHits, ...]:
        """What each rule did, by pack and name. UsageError when there was no honest call."""
        if not self.honest:
            raise UsageError("there is no honest call to measure on", hint="give labelled events that have some")
        return tuple(
            RuleHits(
                rule,
                self.honest,
                self.fraud,
                int(self._honest_hits[row]),
                len(self._callers[row]),
                int(self._fraud_hits[row]),
                int(self._alone[row]),
                tuple(self._examples[row]),
            )
            for row, rule in enumerate(self._declared)
        )

    # What rules in force would have stopped

    def _reports(
        self,
        setups: Sequence[Prepared],
        windows: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float64] | None,
        duplicate: Sequence[bool],
    ) -> Iterator[CallEvent]:
        """As an engine writes them into the log; the model stops nothing here."""
        for place, (item, values, repeated) in enumerate(zip(setups, windows, duplicate, strict=True)):
            if item.emergency or repeated:
                continue
            score = None if scores is None else float(scores[place])
            params = self._params[self._kinds[item.region]][0]
            hits = self._in_force.evaluate(_row(item, values, score), params)
            # The gravest comes first, and what protects before everything else.
            if hits and hits[0].verdict in _STOPS:
                report = stopped_report(item.event)
                if report is not None:
                    yield report

    # One block

    def _count(self, block: _Block) -> None:
        """Take the set-ups of one block into account."""
        windows, duplicate, scores = block.arrays()
        hits = self._hits(block.setups, windows, scores)
        marked = np.array([label.fraud for label in block.labels], dtype=np.bool_)
        honest, fraud = ~marked & ~duplicate, marked & ~duplicate
        self.honest += int(honest.sum())
        self.fraud += int(fraud.sum())
        self.repeated += int(duplicate.sum())
        false, caught = hits & honest, hits & fraud
        acting = hits & self._acting[:, None]
        as_grave = self._as_grave @ acting.astype(np.int32) - acting
        self._honest_hits += false.sum(axis=1)
        self._fraud_hits += caught.sum(axis=1)
        self._alone += (caught & (as_grave == 0)).sum(axis=1)
        for row, place in np.argwhere(false).tolist():
            item = block.setups[place]
            if len(self._callers[row]) < _MOST_CALLERS:
                self._callers[row].add(item.event.caller)
            if len(self._examples[row]) < self._keep:
                values = _row(item, windows[place], None if scores is None else float(scores[place]))
                self._examples[row].append(self._example(row, item, block.labels[place], values))

    def _hits(
        self, setups: Sequence[Prepared], windows: npt.NDArray[np.float64], scores: npt.NDArray[np.float64] | None
    ) -> Mask:
        """Which rule hits which set-up: bool[rules, set-ups]. What is protected is hit by rules that protect only."""
        hits = np.zeros((len(self._declared), len(setups)), dtype=np.bool_)
        protected = np.array([item.emergency for item in setups], dtype=np.bool_)
        kinds = np.array([self._kinds[item.region] for item in setups])
        for kind, (_own, params) in enumerate(self._params):
            places = np.flatnonzero(kinds == kind)
            if not places.size:
                continue
            rows = zip(*(setups[place].row for place in places.tolist()), strict=True)
            columns: dict[str, Any] = dict(zip(ROW, rows, strict=True))
            columns |= dict(zip(self._windows.names, windows[places].T, strict=True))
            if scores is not None:
                columns["score"] = scores[places]
            for key, mask in self._enforced.evaluate_columns(columns, len(places), params).items():
                row = self._row_of.get(key)
                if row is None:
                    protected[places] |= mask  # a list that protects
                else:
                    hits[row, places] = mask
        protected |= hits[self._protecting].any(axis=0)
        hits[~self._protects] &= ~protected
        return hits

    def _scores(self, setups: Sequence[Prepared], windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        if self._model is None or self._places is None:
            return None
        facts = np.array([item.vector for item in setups], dtype=np.float64)
        return self._model.predict(np.concatenate([windows, facts], axis=1).take(self._places, axis=1))

    def _example(self, row: int, item: Prepared, label: LabelledEvent, values: Sequence[object]) -> HonestHit:
        rule = self._declared[row]
        reason = rule.reason.fill("en", self._enforced.reason_values(rule, values))
        event = item.event
        return HonestHit(event.call_id, event.ts, event.caller, event.callee, label.behaviour, reason)

    def _kind(self, overrides: Mapping[str, Mapping[str, Any]]) -> int:
        """The number of a region's parameters; regions that have the same ones share it.

        What a region says of other rules than those that are tried out is left alone: `config validate` looks at it.
        """
        names = {rule.id for rule in self._declared}
        own = {name: values for name, values in overrides.items() if name in names}
        both = self._in_force.params(own), self._enforced.params(own)
        if both not in self._params:
            self._params.append(both)
        return self._params.index(both)


class _Block:
    """Set-ups with their windows, until there are enough to work out the conditions."""

    def __init__(self) -> None:
        self.setups: list[Prepared] = []
        self.labels: list[LabelledEvent] = []
        self._windows: list[npt.NDArray[np.float64]] = []
        self._duplicate: list[Mask] = []
        self._scores: list[npt.NDArray[np.float64]] = []

    def add(
        self,
        setups: Sequence[Prepared],
        labels: Sequence[LabelledEvent],
        windows: npt.NDArray[np.float64],
        duplicate: Mask,
        scores: npt.NDArray[np.float64] | None,
    ) -> None:
        """Those of one batch; either all batches have scores or none."""
        self.setups += setups
        self.labels += labels
        self._windows.append(windows)
        self._duplicate.append(duplicate)
        self._scores += [scores] if scores is not None else []

    def arrays(self) -> tuple[npt.NDArray[np.float64], Mask, npt.NDArray[np.float64] | None]:
        """float64[set-ups, windows], which are repeated, and float64[set-ups] of scores."""
        scores = np.concatenate(self._scores) if self._scores else None
        return np.concatenate(self._windows), np.concatenate(self._duplicate), scores


def _row(item: Prepared, windows: npt.NDArray[np.float64], score: float | None) -> list[object]:
    """The whole row as rules read it: fields and facts, windows, score."""
    return [*item.row, *(None if value != value else value for value in windows.tolist()), score]


def as_if_enforced(rules: RuleSet) -> RuleSet:
    """The rules as they would be with every one at enforce; those that are retired are left out."""
    enforced = [
        msgspec.structs.replace(rule, stage=Stage.ENFORCE, percent=100.0)
        for rule in rules.rules
        if rule.stage is not Stage.RETIRED
    ]
    return with_rules(rules, enforced)


def with_rules(rules: RuleSet, chosen: Iterable[Rule]) -> RuleSet:
    """``chosen`` in the place of the rules of ``rules``, with the same lists and names."""
    names = rules.names
    return RuleSet(
        chosen,
        rules.lists,
        fields=names.fields,
        windows=sorted(names.windows),
        order=tuple(names.order),
        digest=rules.digest,
        local=names.local,
    )


def reads_score(rules: RuleSet) -> bool:
    """Whether some rule that is not retired reads the model's score, in its condition or an exception."""
    conditions = (
        condition
        for rule in rules.rules
        if rule.stage is not Stage.RETIRED
        for condition in (rule.when, *(item.when for item in rule.unless))
    )
    return any(isinstance(atom, Slot) and atom.name == "score" for when in conditions for atom in atoms_in(when))
