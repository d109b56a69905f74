"""Rules alone, the score alone, and both together, side by side over labelled events: what each would have done.

Each is a decider of the live engine with windows of its own, because what a system stops goes back into its windows:
rules that count stopped calls must not profit from what only the model stopped. The verdict taken is that of full
enforcement. What comes out is columns (``antifraud.scoring.evaluation.Calls``); nothing is kept per call but these.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.backtest.batches import batches
from antifraud.decision import Bundle, Decider, Policy, stopped_report
from antifraud.domain import CallEvent, Decision, EventKind, UsageError, Verdict
from antifraud.features import Fold, Limits
from antifraud.features.fold import Folded
from antifraud.numbering import Numbering
from antifraud.rulekit import RuleSet
from antifraud.scoring import Model
from antifraud.scoring.columns import columns_of
from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE, Calls

_BATCH: Final = 1024
_BATCH_S: Final = 10.0
"""An engine reads back within a second what it stopped; here it is ten seconds of event time, so as to be quick."""

_SECRET: Final = bytes(32)
"""Evaluations are the same every time; nobody attacks them."""

_AGE: Final = "caller_age"
_FIRST_ROWS: Final = 16_384
_MOST_OPEN: Final = 1_000_000
_MOST_NAMES: Final = 200
_MOST_CAMPAIGNS: Final = 1_000_000
_STOPPING: Final = ("divert", "block")
_VERDICTS: Final = {verdict.word: int(verdict) for verdict in Verdict}


class Truth(Protocol):
    """What a call really is: ``campaign`` and the behaviour that made it (``scenario``)."""

    @property
    def fraud(self) -> bool:
        """Whether it is fraud."""
        ...

    @property
    def campaign(self) -> str:
        """Its campaign; "" when honest."""
        ...

    @property
    def scenario(self) -> str:
        """The behaviour: call_centre, courier, person, …"""
        ...


class Labelled(Protocol):
    """An event with the truth about its call."""

    @property
    def event(self) -> CallEvent:
        """The event."""
        ...

    @property
    def truth(self) -> Truth:
        """The truth."""
        ...


class Progress(Protocol):
    """Is told the number of calls so far."""

    def __call__(self, calls: int, /) -> None: ...


class _RecordingFold(Fold):
    """Keeps what the last batch gave, so that the vectors a decider saw can be looked at."""

    last: Folded

    def fold(self, events: Sequence[CallEvent], rows: Sequence[Sequence[object] | None]) -> Folded:
        """As ``Fold.fold``."""
        self.last = super().fold(events, rows)
        return self.last


class _Rows:
    """A matrix float32[n, width] that grows in place: appending to a large one never needs twice its memory."""

    def __init__(self, width: int) -> None:
        self._held = np.empty((_FIRST_ROWS, width), dtype=np.float32)
        self._used = 0

    def append(self, block: npt.NDArray[np.float64]) -> None:
        while self._used + len(block) > len(self._held):
            self._held.resize((len(self._held) * 3 // 2, self._held.shape[1]), refcheck=False)
        self._held[self._used : self._used + len(block)] = block
        self._used += len(block)

    def taken(self) -> npt.NDArray[np.float32]:
        return self._held[: self._used]


class _Names:
    """Numbers names as they come, up to ``most`` of them."""

    def __init__(self, what: str, most: int) -> None:
        self.known: dict[str, int] = {}
        self._what, self._most = what, most

    def code(self, name: str) -> int:
        found = self.known.get(name)
        if found is None:
            if len(self.known) >= self._most:
                hint = "is that column filled with something else? make the events again: antifraud simulate"
                raise UsageError(f"more than {self._most:,} different {self._what} in the events", hint=hint)
            found = self.known[name] = len(self.known)
        return found


class SideBySide:
    """Runs the three systems over any number of sources, each of which begins with empty windows, as a new engine."""

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        numbering: Numbering,
        model: Model,
        *,
        limits: Limits | None = None,
        feedback: bool = True,
    ) -> None:
        """ModelError when the model does not fit the windows, ConfigError when parameters of a region do not fit."""
        assert isinstance(bundle.rules, RuleSet), "what is loaded from files has its texts"
        self._bundle, self._policy, self._numbering, self._model = bundle, policy, numbering, model
        self._limits, self._feedback = limits, feedback
        self._without_rules = msgspec.structs.replace(bundle, rules=_no_rules(bundle.rules))
        # Parameters of rules that are not there would be refused.
        regions = {code: msgspec.structs.replace(region, params={}) for code, region in policy.regions.items()}
        self._without_params = msgspec.structs.replace(policy, regions=regions)
        names = self._fresh()[SCORE].feature_names
        facts = names[len(bundle.windows.names) :]
        self._places = columns_of(model, bundle.windows.digests, facts)
        self._age = names.index(_AGE) if _AGE in names else -1
        self._sources: list[str] = []
        self._behaviours, self._campaigns = _Names("behaviours", _MOST_NAMES), _Names("campaigns", _MOST_CAMPAIGNS)
        self._regions, self._grounds = _Names("regions", _MOST_CAMPAIGNS), _Names("grounds", _MOST_CAMPAIGNS)
        self._source, self._behaviour, self._region, self._ground = (array("i") for _ in range(4))
        self._campaign, self._cluster, self._ts = array("i"), array("Q"), array("d")
        self._score, self._talk = array("d"), array("f")
        self._fraud, self._unseen, self._spared = array("b"), array("b"), array("b")
        self._verdicts = {name: array("B") for name in (RULES, SCORE, ENGINE)}
        self._rows = _Rows(len(self._places))
        self.repeated = 0

    def add(self, events: Iterable[Labelled], name: str, on_call: Progress | None = None) -> None:
        """Run over ``events``, which are in order of time. Repeated set-ups are counted in ``repeated`` only.

        UsageError, with ``name``, when the events go back in time or hold no call.
        """
        before = len(self._ts)
        self._sources.append(name)
        systems = self._fresh()
        fold = systems[SCORE].fold
        assert isinstance(fold, _RecordingFold), "made so in _fresh"
        open_calls: dict[str, int] = {}
        for batch in batches(events, name, at_most=_BATCH, within_s=_BATCH_S):
            prepared = [systems[ENGINE].prepare(item.event) for item in batch]
            decisions = {system: decider.decide_prepared(prepared) for system, decider in systems.items()}
            places = [at for at, item in enumerate(batch) if item.event.kind is EventKind.SETUP]
            if places:
                setups = [prepared[at] for at in places]
                values = fold.last.values
                waits = systems[SCORE].are_new(setups, fold.last)
                vectors = np.concatenate([values, np.array([one.vector for one in setups])], axis=1)
                new = [at for at, decision in enumerate(decisions[ENGINE]) if not decision.duplicate]
                self.repeated += len(places) - len(new)
                self._rows.append(vectors[new].take(self._places, axis=1))
                for at in new:
                    seen = self._age >= 0 and bool(np.isnan(vectors[at, self._age]))
                    verdicts = {system: decisions[system][at] for system in decisions}
                    spared = setups[at].emergency or setups[at].traveller or waits[at]
                    self._take(batch[places[at]], spared, verdicts, seen, open_calls)
            self._talked(batch, open_calls)
            if self._feedback:
                for system, decider in systems.items():
                    decider.absorb([report for report in map(_report, (batch[at] for at in places), decisions[system])
                                    if report is not None])  # fmt: skip
            if on_call is not None:
                on_call(len(self._ts))
        if len(self._ts) == before:
            raise UsageError(f"{name}: there is no call in it", hint="make events with `antifraud simulate`")

    def calls(self) -> Calls:
        """What was gathered, as columns."""

        def whole(column: array[Any]) -> npt.NDArray[np.int64]:
            return np.array(column, dtype=np.int64)

        fraud = np.array(self._fraud, dtype=np.bool_)
        _keys, cluster = np.unique(np.array(self._cluster, dtype=np.uint64), return_inverse=True)
        return Calls(
            self._sources,
            list(self._behaviours.known),
            list(self._regions.known),
            list(self._grounds.known),
            whole(self._source),
            np.array(self._ts, dtype=np.float64),
            fraud,
            whole(self._behaviour),
            whole(self._campaign),
            cluster.astype(np.int64),
            whole(self._region),
            np.array(self._talk, dtype=np.float32),
            np.array(self._unseen, dtype=np.bool_) if self._age >= 0 else None,
            np.array(self._spared, dtype=np.bool_),
            np.array(self._score, dtype=np.float64),
            {name: np.array(column, dtype=np.uint8) for name, column in self._verdicts.items()},
            whole(self._ground),
            self._rows.taken(),
        )

    # One source, one call

    def _fresh(self) -> dict[str, Decider]:
        bundle, policy, numbering = self._bundle, self._policy, self._numbering

        def fold() -> Fold:
            return _RecordingFold(bundle.windows, limits=self._limits, secret=_SECRET)

        return {
            RULES: Decider(bundle, policy, numbering, None, fold()),
            SCORE: Decider(self._without_rules, self._without_params, numbering, self._model, fold()),
            ENGINE: Decider(bundle, policy, numbering, self._model, fold()),
        }

    def _take(
        self, item: Labelled, spared: bool, said: dict[str, Decision], unseen: bool, open_calls: dict[str, int]
    ) -> None:
        event, truth, source = item.event, item.truth, len(self._sources) - 1
        engine = said[ENGINE]
        if truth.fraud:
            if len(open_calls) >= _MOST_OPEN:
                del open_calls[next(iter(open_calls))]
            open_calls[event.call_id] = len(self._ts)
            key = f"{source}\0{truth.campaign or event.call_id}"
        else:
            # A block of a hundred numbers is one caller: organisations call from many lines of one block.
            number = engine.caller[:-2] if len(engine.caller) > 6 else engine.caller or f"{event.trunk} withheld"
            key = f"{source}\0{truth.scenario}\0{number}"
        self._source.append(source)
        self._ts.append(event.ts)
        self._fraud.append(truth.fraud)
        self._behaviour.append(self._behaviours.code(truth.scenario))
        self._campaign.append(self._campaigns.code(key) if truth.fraud else -1)
        self._cluster.append(_digest(key, fraud=truth.fraud))
        self._region.append(self._regions.code(engine.region))
        self._talk.append(0.0)
        self._unseen.append(unseen)
        self._spared.append(spared)
        score = said[SCORE].score
        self._score.append(score if score is not None else 0.0)
        for system, column in self._verdicts.items():
            column.append(_VERDICTS[said[system].full_verdict])
        self._ground.append(self._ground_of(engine))

    def _ground_of(self, decision: Decision) -> int:
        if decision.full_verdict not in _STOPPING:
            return -1
        saying = (reason.by for reason in decision.reasons if reason.verdict == decision.full_verdict)
        found = next(saying, "")
        return self._grounds.code(found) if found else -1

    def _talked(self, batch: Sequence[Labelled], open_calls: dict[str, int]) -> None:
        for item in batch:
            event = item.event
            if event.kind is EventKind.RELEASE:
                row = open_calls.pop(event.call_id, None)
                if row is not None and event.talk_s is not None:
                    self._talk[row] = event.talk_s


def _no_rules(rules: RuleSet) -> RuleSet:
    names = rules.names
    return RuleSet(
        (),
        (),
        fields=names.fields,
        windows=sorted(names.windows),
        order=tuple(names.order),
        digest=rules.digest,
        local=names.local,
    )


def _digest(key: str, *, fraud: bool) -> int:
    # Half of the range is for campaigns, so that none falls together with an honest caller.
    value = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "little")
    return (value >> 1) | (1 << 63) if fraud else value >> 1


def _report(item: Labelled, decision: Decision) -> CallEvent | None:
    if decision.full_verdict not in _STOPPING or decision.duplicate or decision.protected:
        return None
    return stopped_report(item.event)
