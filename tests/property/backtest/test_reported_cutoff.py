"""Nothing from after the end of training time reaches rows or labels, whatever it is and wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.backtest.reported import Reported, reported
from antifraud.domain import CallEvent, EventKind, UsageError

_START = 1_767_553_200.0
_CUT = 1000.0


class _Maker:
    """Rows that depend on every event folded so far."""

    def __init__(self) -> None:
        self._sum = 0.0

    def vectors(
        self, events: Sequence[CallEvent], stops: list[CallEvent] | None = None, new: list[bool] | None = None
    ) -> npt.NDArray[np.float64]:
        rows = []
        for event in events:
            self._sum = self._sum * 0.5 + event.ts + len(event.call_id) + len(event.label)
            if event.kind is EventKind.SETUP:
                rows.append([self._sum])
                if new is not None:
                    new.append(False)
        return np.array(rows, dtype=np.float64).reshape(len(rows), 1)


def _event(low: float, high: float) -> st.SearchStrategy[CallEvent]:
    return st.builds(
        lambda kind, call, at, label, reporter, back: CallEvent(
            kind, call, _START + at, caller_raw="+77010000001", callee_raw="+77010000002",
            label=label if kind is EventKind.REPORT else "", reporter=reporter if kind is EventKind.REPORT else "",
            takes_back=_START + back if kind is EventKind.REPORT and back is not None and back <= at else None,
        ),
        st.sampled_from([EventKind.SETUP, EventKind.SETUP, EventKind.RELEASE, EventKind.REPORT]),
        st.sampled_from([f"c{n}" for n in range(12)]),
        st.sampled_from([low, (low + high) / 2, high]) | st.floats(low, high),
        st.sampled_from(["fraud", "fraud", "honest", "stopped"]),
        st.sampled_from(["subscriber", "desk", "analyst", "engine", "607"]),
        st.sampled_from([None, None, 0.0, 500.0]),
    )  # fmt: skip


def _made(events: Sequence[CallEvent], delay: float | None) -> tuple[Reported, bytes] | str:
    blocks: list[npt.NDArray[np.float64]] = []
    try:
        found = reported(events, _Maker(), blocks.append, until=_START + _CUT, label_delay_s=delay)
    except UsageError as error:
        return str(error)
    return found, np.concatenate(blocks).tobytes()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_event(0, _CUT), min_size=5, max_size=40),
    st.lists(st.tuples(st.integers(0, 60), _event(_CUT + 0.01, 5 * _CUT)), max_size=30),
    st.sampled_from([0.0, 100.0, None]),
)
def test_events_after_the_cut_off_change_neither_rows_nor_labels(
    before: list[CallEvent], after: list[tuple[int, CallEvent]], delay: float | None
) -> None:
    mixed = list(before)
    for place, event in after:
        mixed.insert(min(place, len(mixed)), event)
    plain, other = _made(before, delay), _made(mixed, delay)
    if isinstance(plain, str) or isinstance(other, str):
        assert plain == other
        return
    (one, rows), (two, same) = plain, other
    assert rows == same
    assert one.kept.tolist() == two.kept.tolist()
    assert one.labels.y.tolist() == two.labels.y.tolist()
    assert one.labels.campaign.texts().tolist() == two.labels.campaign.texts().tolist()
    assert one.labels.scenario.texts().tolist() == two.labels.scenario.texts().tolist()
    assert (one.until, one.label_delay_s, one.counts) == (two.until, two.label_delay_s, two.counts)
    assert (one.labels.ts <= one.until - one.label_delay_s).all()
