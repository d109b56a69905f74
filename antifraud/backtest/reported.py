"""Rows for training from an operator's own log: calls as they happened, labelled by what people said of them later.

One continuous log goes through one decider, as it did live. What is known of a call comes from reports with its call
id: an analyst's word counts more than the desk's, the desk's more than a subscriber's, and of two equals the later
one. What was taken back says nothing. Reports of the engine itself are no labels: a model would learn to agree with
itself.

Nothing from after ``until`` is looked at, neither in features nor in labels. Of the rest these calls are left out:

- those younger than the label delay at ``until``: that nobody has complained yet does not make them honest;
- those that were stopped and of which nobody told what they were: a call that never rang is not complained about;
- repeated setups.

All other calls that nobody reported are taken for honest. Some are not; that is the price of reports.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.backtest.replay import in_time_order
from antifraud.domain import CallEvent, EventError, EventKind, Quarantined, UsageError, check_event
from antifraud.scoring.labels import Labels, VectorMaker
from antifraud.scoring.row_pieces import Coded

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

DEFAULT_DELAY_S: Final = 7 * 86_400.0
LONGEST_DELAY_S: Final = 90 * 86_400.0
_SHORTEST_DELAY_S: Final = 3600.0
#: With fewer reports the data cannot say how late they come.
_ENOUGH_REPORTS: Final = 50
_DELAY_SHARE: Final = 0.95
_BATCH: Final = 2048
_FRAUD: Final = {"fraud": True, "honest": False}
_STOPPED: Final = ("engine", "stopped")
#: Whose word counts how much; everybody else's least.
_RANKS: Final = {"subscriber": 1, "desk": 2, "analyst": 3}
_REPORTERS: Final = ("others", "subscriber", "desk", "analyst")


class Reported(msgspec.Struct):
    """The labels of the calls that teach, and where they stand among all rows that were made (``kept``, rising).

    ``until`` is the end of training time, ``label_delay_s`` what was left before it; ``counts`` says what became of
    all calls and reports.
    """

    kept: Indices
    labels: Labels
    until: float
    label_delay_s: float
    counts: dict[str, int]


def key_of(call_id: str) -> int:
    """64 bits of a call id."""
    return int.from_bytes(hashlib.blake2b(call_id.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def reported(
    items: Iterable[CallEvent | Quarantined],
    maker: VectorMaker,
    add: Callable[[Floats], None],
    on_call: Callable[[int], None] | None = None,
    *,
    since: float | None = None,
    until: float | None = None,
    label_delay_s: float | None = None,
    stopped: Keys | None = None,
) -> Reported:
    """Labels of the calls set up from ``since`` on; ``add`` is given the rows of all calls, in order of time.

    Times are epoch seconds. Without ``until`` it is the time of the last event, without ``label_delay_s`` what 95 % of
    the reports in the first half of the time needed (7 days when there are few). ``stopped`` has the keys of calls that
    were stopped; without it those count that the engine reported it would stop. UsageError when nothing can be learnt.
    """
    log = _Log()
    batch: list[CallEvent] = []

    def flush() -> None:
        rows = maker.vectors(batch, None, log.new)
        add(rows)
        batch.clear()
        if on_call is not None:
            on_call(len(rows))

    for event in _checked(items, until, log.counts):
        log.see(event)
        batch.append(event)
        if len(batch) >= _BATCH:
            flush()
    flush()
    return log.labelled(since, until, label_delay_s, stopped)


def _checked(
    items: Iterable[CallEvent | Quarantined], until: float | None, counts: Counter[str]
) -> Iterator[CallEvent]:
    """Events up to ``until``, in order of time, that the live engine would take."""

    def taken() -> Iterator[CallEvent]:
        for item in items:
            if isinstance(item, CallEvent):
                try:
                    event = check_event(item)
                except EventError:
                    counts["not_understood"] += 1
                    continue
                # Before they are sorted: what came later must not matter even to the order.
                if until is None or event.ts <= until:
                    yield event
            else:
                counts["not_understood"] += 1

    for item in in_time_order(taken()):
        assert isinstance(item, CallEvent)
        yield item


class _Log:
    """What is kept of the events: some 40 bytes a call and a report."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ts, self._key, self._caller = array("d"), array("Q"), array("Q")
        self._report_ts, self._report_key = array("d"), array("Q")
        self._report_fraud, self._report_rank = array("b"), array("b")
        self._taken_back: set[tuple[int, float, int, int]] = set()
        self._would_stop = array("Q")
        self._last = float("-inf")
        self.new: list[bool] = []

    def see(self, event: CallEvent) -> None:
        self._last = max(self._last, event.ts)
        if event.kind is EventKind.SETUP:
            self._ts.append(event.ts)
            self._key.append(key_of(event.call_id))
            self._caller.append(key_of(event.asserted or event.caller_raw or event.caller))
        elif event.kind is EventKind.REPORT:
            if (event.reporter, event.label) == _STOPPED:
                self._would_stop.append(key_of(event.call_id))
            elif event.label in _FRAUD and event.reporter != "engine" and event.weight != 0:
                key, fraud, rank = key_of(event.call_id), _FRAUD[event.label], _RANKS.get(event.reporter, 0)
                if event.takes_back is not None:
                    self._taken_back.add((key, event.takes_back, fraud, rank))
                    return
                self._report_ts.append(event.ts)
                self._report_key.append(key)
                self._report_fraud.append(fraud)
                self._report_rank.append(rank)

    def labelled(self, since: float | None, until: float | None, delay: float | None, stopped: Keys | None) -> Reported:
        ts, key = np.array(self._ts, dtype=np.float64), np.array(self._key, dtype=np.uint64)
        if not len(ts):
            raise UsageError(
                "there is no call in the events before the end of the training time",
                hint="name event files of the log that have calls, and --until a time after them",
            )
        end = self._last if until is None else until
        first = np.zeros(len(key), dtype=np.bool_)
        names, place = np.unique(key, return_index=True)
        first[place] = True
        fraud, told, rank, delays = self._verdicts(names, place, ts)
        if delay is None:
            delay = _usual_delay(ts, delays, end)
        old = ts <= end - delay
        begun = ts >= since if since is not None else np.ones(len(ts), dtype=np.bool_)
        gone = np.isin(key, np.array(self._would_stop, dtype=np.uint64) if stopped is None else stopped) & ~told
        kept = np.flatnonzero(first & old & begun & ~gone)
        self.counts.update(
            {
                "calls": len(ts),
                "before_since": int((~begun).sum()),
                "repeated": int((begun & ~first).sum()),
                "too_young": int((begun & first & ~old).sum()),
                "stopped_unreported": int((begun & first & old & gone).sum()),
                "fraud": int(fraud[kept].sum()),
                "reported_honest": int((told & ~fraud)[kept].sum()),
            }
        )
        if not len(kept):
            raise UsageError(
                f"no call is old enough: {int((begun & first & ~old).sum())} are younger than the label delay of "
                f"{delay / 86_400:.1f} days",
                hint="give events of a longer time, or a shorter --label-delay where reports come sooner",
            )
        new = np.array(self.new, dtype=np.bool_)[kept]
        if new.all():
            raise UsageError(
                f"all {len(kept):,} calls are from while an engine is new, when no score stops a call",
                hint="give events of a longer time, or lower engine.warm_up_s",
            )
        if not fraud[kept].any():
            raise UsageError(
                f"none of {len(kept)} calls was reported as fraud: there are no labels to learn from",
                hint="the log must hold reports (kind report, label fraud) with the call_id of their calls, and "
                "--until must be after they came",
            )
        callers = np.array(self._caller, dtype=np.uint64)[kept]
        campaigns = ["" if not bad else f"{who:016x}" for bad, who in zip(fraud[kept], callers.tolist(), strict=True)]
        said = ["not reported"] + [f"{what} by {who}" for what in ("honest", "fraud") for who in _REPORTERS]
        codes = np.where(told, 1 + fraud * len(_REPORTERS) + rank, 0)[kept].astype(np.int32)
        labels = Labels(
            fraud[kept],
            ts[kept],
            _coded(campaigns),
            Coded(codes, tuple(said)),
            np.zeros(0, dtype=np.uint64),
            new,
        )
        return Reported(kept, labels, end, delay, dict(self.counts))

    def _verdicts(
        self, names: Keys, place: Indices, ts: Floats
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64], Floats]:
        """For each setup: fraud, told by anybody, by whom; and how late the first report of fraud came, or NaN."""
        count = len(ts)
        fraud, told = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        rank, delays = np.zeros(count, dtype=np.int64), np.full(count, np.nan)
        key, when = np.array(self._report_key, dtype=np.uint64), np.array(self._report_ts, dtype=np.float64)
        by, bad = np.array(self._report_rank, dtype=np.int64), np.array(self._report_fraud, dtype=np.bool_)
        if self._taken_back:
            told_so = zip(key.tolist(), when.tolist(), bad.tolist(), by.tolist(), strict=True)
            stands = np.array([one not in self._taken_back for one in told_so], dtype=np.bool_)
            key, when, by, bad = key[stands], when[stands], by[stands], bad[stands]
        at = np.searchsorted(names, key)
        found = at < len(names)
        found[found] = names[at[found]] == key[found]
        call = np.full(len(key), -1, dtype=np.int64)
        call[found] = place[at[found]]
        # A report from before its call is about another call of that id.
        fits = found & (when >= ts[call])
        self.counts["reports"] = len(key)
        self.counts["reports_without_call"] = int((~fits).sum())
        call, when, by, bad = call[fits], when[fits], by[fits], bad[fits]
        order = np.lexsort((when, by))  # the last one to be written stands
        fraud[call[order]], rank[call[order]], told[call] = bad[order], by[order], True
        np.fmin.at(delays, call[bad], when[bad] - ts[call[bad]])
        return fraud, told, rank, delays


def _usual_delay(ts: Floats, delays: Floats, end: float) -> float:
    """How late reports come, by those of the first half of the time: of later calls the late ones are still missing."""
    half = ts.min() + (end - ts.min()) / 2
    known = delays[(ts <= half) & ~np.isnan(delays)]
    if len(known) < _ENOUGH_REPORTS:
        return DEFAULT_DELAY_S
    usual = float(np.quantile(known, _DELAY_SHARE, method="inverted_cdf"))
    return min(max(usual, _SHORTEST_DELAY_S), LONGEST_DELAY_S)


def _coded(texts: list[str]) -> Coded:
    known: dict[str, int] = {}
    codes = [known.setdefault(text, len(known)) for text in texts]
    return Coded(np.array(codes, dtype=np.int32), tuple(known))
