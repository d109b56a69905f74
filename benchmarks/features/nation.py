"""A day of the calls of millions of people, made as columns slice by slice: nothing grows with the number of calls.

Every person places a few calls (1 and a Poisson number more) at hours of the day as people do, most of them to the
same few people, some to anybody, some to well-known numbers. Numbers lie in blocks of 10,000 of which half are used.
Four of five callers have a SIM card, a handset (one in ten shares it with a second card) and a handful of cells.
Two thirds of the calls are answered; one in a thousand is reported as fraud, one in two hundred was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from antifraud.domain import EventKind
from antifraud.features.plan import EVENT_CODES
from benchmarks.features.columns import LABEL_FRAUD, LABEL_KEYS, LABEL_STOPPED, Columns, mixed, number_keys, text_keys

START = 1_767_553_200.0
"""Monday, 2026-01-05 00:00 at UTC+5."""

_SETUP, _ANSWER = EVENT_CODES[EventKind.SETUP], EVENT_CODES[EventKind.ANSWER]
_RELEASE, _REPORT = EVENT_CODES[EventKind.RELEASE], EVENT_CODES[EventKind.REPORT]
#: Calls of every hour of the day, from midnight on.
_HOURS = np.array(
    [8, 5, 3, 2, 2, 4, 10, 25, 45, 60, 65, 62, 60, 60, 60, 60, 62, 65, 65, 60, 50, 40, 28, 15], np.float64
)
_CIRCLE = np.array([0.40, 0.65, 0.80, 0.92, 1.0])
_SLICE_CALLS = 50_000
_SERVICES, _TRUNKS, _ADDRESSES, _FINGERPRINTS, _CELLS = 2_000, 200, 500, 2_000, 20_000


class Nation:
    """``slices`` gives the day's events in order of time; it can be left and taken up again."""

    def __init__(self, callers: int, seed: int, calls_each: float = 3.0) -> None:
        self.people = callers
        self._rng = np.random.default_rng(seed)
        counts = 1 + self._rng.poisson(calls_each - 1, callers)
        self._order = np.repeat(np.arange(callers, dtype=np.uint32), counts)
        self._rng.shuffle(self._order)
        self.calls = len(self._order)
        self._made = 0

    def slices(self) -> Iterator[tuple[float, Columns]]:
        """Which part of the day's calls has been placed by then, and the events of the next stretch of time."""
        count = max(48, self.calls // _SLICE_CALLS)
        edges = START + np.linspace(0, 86_400, count + 1)
        begun = np.concatenate(([0.0], np.cumsum(_HOURS) / _HOURS.sum()))
        places = np.interp((edges - START) / 3_600, np.arange(25), begun) * self.calls
        waiting = _empty()
        for low, high, end in zip(places[:-1].astype(int), places[1:].astype(int), edges[1:], strict=True):
            waiting = np.concatenate((waiting, self._calls(int(low), int(high), end - (edges[1] - edges[0]), end)))
            waiting = waiting[np.argsort(waiting["ts"], kind="stable")]
            cut = int(np.searchsorted(waiting["ts"], end))
            yield high / self.calls, self._columns(waiting[:cut])
            waiting = waiting[cut:].copy()

    def _calls(self, low: int, high: int, begin: float, end: float) -> npt.NDArray[np.void]:
        """The events, in no order, of the calls ``low`` to ``high``, placed from ``begin`` to ``end``."""
        rng, count = self._rng, high - low
        call = np.zeros(count, _EVENT)
        call["call"] = np.arange(low, high)
        call["caller"] = self._order[low:high]
        call["callee"] = self._callees(self._order[low:high].astype(np.int64))
        call["ts"] = np.round(np.sort(rng.uniform(begin, end, count)), 3)
        call["ring_s"] = np.round(rng.uniform(2.0, 25.0, count), 3)
        call["pdd_s"] = np.minimum(np.round(rng.uniform(0.5, 6.0, count), 3), call["ring_s"])
        answered = rng.random(count) < 0.66
        talk = np.round(np.minimum(rng.lognormal(4.1, 1.1, count), 7_000.0), 3)
        call["talk_s"] = np.where(answered, talk, 0.0)
        setup, answer, release = call.copy(), call[answered], call.copy()
        setup["kind"], answer["kind"], release["kind"] = _SETUP, _ANSWER, _RELEASE
        answer["ts"] += answer["ring_s"]
        release["ts"] += release["ring_s"] + release["talk_s"]
        fate = rng.random(count)
        stopped, fraud = call[fate < 0.005], release[fate > 0.999]
        stopped["kind"], stopped["label"] = _REPORT, LABEL_STOPPED
        fraud["kind"], fraud["label"] = _REPORT, LABEL_FRAUD
        fraud["ts"] += 60.0
        found = np.concatenate((setup, stopped, answer, release, fraud))
        found["ts"] = np.round(found["ts"], 3)
        return found

    def _callees(self, callers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        rng, count = self._rng, len(callers)
        friend = np.searchsorted(_CIRCLE, rng.random(count))
        who = (mixed(callers * 8 + friend, 1) % np.uint64(self.people)).astype(np.int64)
        chance = rng.random(count)
        who = np.where(chance < 0.10, rng.integers(0, self.people, count), who)
        known = number_keys(77_270_000_000 + rng.integers(0, _SERVICES, count) ** 2 // _SERVICES)
        return np.where(chance > 0.95, known, numbers_of(who))

    def _columns(self, events: npt.NDArray[np.void]) -> Columns:
        kinds, caller = events["kind"], events["caller"].astype(np.int64)
        labels, call = events["label"], events["call"]
        # Only a set-up, and the report that the engine makes of one, says where the call comes from.
        origin = (kinds == _SETUP) | (labels == LABEL_STOPPED)
        mobile = origin & (mixed(caller, 2) % np.uint64(5) > 0)
        released, reported = kinds == _RELEASE, kinds == _REPORT

        def when(holds: npt.NDArray[np.bool_], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return np.where(holds, keys, 0)

        def one_of(many: int, what: int, values: npt.NDArray[np.int64] = caller) -> npt.NDArray[np.int64]:
            return text_keys(mixed(values, what) % np.uint64(many), what)

        handset = np.where(mixed(caller, 3) % np.uint64(10) == 0, caller ^ 1, caller)
        place = np.searchsorted(np.array([0.6, 0.85]), mixed(call, 4) / 2.0**64)
        cell = np.where(place == 2, call, caller * 4 + place)
        reporter = np.array([0, -21, -22], np.int64)
        keys = {
            "call_id": text_keys(call, 5),
            "caller": numbers_of(caller),
            "callee": events["callee"],
            "label": LABEL_KEYS[labels],
            "reporter": reporter[labels],
            "source": np.full(len(events), -31, np.int64),
            "switch": one_of(20, 6),
            "trunk": one_of(_TRUNKS, 7),
            "src_ip": when(origin, one_of(_ADDRESSES, 8)),
            "user_agent": when(origin, one_of(300, 9)),
            "fingerprint": when(origin, one_of(_FINGERPRINTS, 10)),
            "imsi": when(mobile, text_keys(caller, 11)),
            "imei": when(mobile, text_keys(handset, 12)),
            "cell": when(mobile, one_of(_CELLS, 13, cell)),
        }
        nothing = np.nan
        numbers = {
            "ring_s": np.where(released, events["ring_s"], nothing),
            "talk_s": np.where(released, events["talk_s"], nothing),
            "pdd_s": np.where(released, events["pdd_s"], nothing),
            "cause": np.where(released, np.where(events["talk_s"] > 0, 16.0, 19.0), nothing),
            "weight": np.where(reported & (labels == LABEL_FRAUD), 1.0, nothing),
        }
        return Columns(kinds.copy(), events["ts"].copy(), keys, numbers, labels.copy())


_EVENT = np.dtype(
    [
        ("call", np.int64), ("callee", np.int64), ("ts", np.float64), ("ring_s", np.float64), ("talk_s", np.float64),
        ("pdd_s", np.float64), ("caller", np.uint32), ("kind", np.int8), ("label", np.int8),
    ]
)  # fmt: skip


def _empty() -> npt.NDArray[np.void]:
    return np.zeros(0, _EVENT)


def numbers_of(people: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The keys of people's numbers, +77000000000 on: of every two numbers one is in use."""
    odd = (mixed(people, 20) & np.uint64(1)).astype(np.int64)
    return number_keys(77_000_000_000 + 2 * people + odd)
