"""Random streams of events, and windows of every kind to fold them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from antifraud.domain import BundleError, CallEvent, EventKind, Location, Problem
from antifraud.features import Limits, WindowSet, WindowSpec
from antifraud.features.windows import digest_of

START = 1_767_225_600.0
ROW = ("talk_s", "cause", "trunk", "label")


def compile_where(text: str, where: Location, on: str = "setup") -> Callable[[Sequence[object]], bool]:
    """A stand-in for the rule language: Python, in which whatever is missing makes the condition false."""
    try:
        code = compile(text, "where", "eval")
    except SyntaxError as error:
        raise BundleError("bad", problems=[Problem("this is no condition", where)]) from error

    def holds(row: Sequence[object]) -> bool:
        try:
            return bool(eval(code, {}, dict(zip(ROW, row, strict=True))))
        except TypeError:
            return False

    return holds


def row_of(event: CallEvent) -> list[object]:
    """What conditions read of ``event``."""
    return [getattr(event, name) or None if name in ("trunk", "label") else getattr(event, name) for name in ROW]


def window(name: str, kind: str, by: str, over: int = 0, buckets: int = 0, **more: Any) -> WindowSpec:
    """A declared window in one line."""
    fields = tuple(by.split("+")) if by else ()
    return WindowSpec(name=name, kind=kind, by=fields, over_s=over, buckets=buckets, **more)


SPECS = (
    window("calls_1s", "count", "caller", 1, 1),
    window("calls_10s", "count", "caller", 10, 10),
    window("calls_1m", "count", "caller", 60, 12),
    window("calls_1h", "count", "caller", 3600, 12),
    window("calls_1m_again", "count", "caller", 60, 12),
    window("trunk_calls", "count", "trunk", 60, 6, where="trunk == 'T2'"),
    window("pair_calls", "count", "caller+callee", 600, 12),
    window("triple_calls", "count", "caller+callee+trunk", 600, 4),
    window("callees_10s", "distinct", "caller", 10, 5, of="callee"),
    window("callees_10m", "distinct", "caller", 600, 12, of="callee"),
    window("callees_t2", "distinct", "caller", 600, 6, of="callee", where="trunk == 'T2'"),
    window("callers_by_callee", "distinct", "callee", 600, 12, of="caller"),
    window("prefixes", "distinct", "callee", 600, 12, of="caller_prefix", cut=3),
    window("prefix_callees", "distinct", "caller_prefix", 60, 12, of="callee", cut=3),
    window("new_callers", "distinct", "callee", 7200, 12, of="caller", new="caller"),
    window("new_calls", "count", "callee", 7200, 12, new="caller"),
    window("talk_fresh", "sum", "callee", 7200, 12, on="release", of="talk_s", new="caller", new_within_s=60),
    window("short", "share", "caller", 3600, 12, on="release", where="talk_s < 10"),
    window("short_normal", "share", "caller", 60, 6, on="release", where="talk_s < 10", among="cause == 16"),
    window("talk", "sum", "caller", 3600, 12, on="release", of="talk_s"),
    window("talk_mean", "mean", "callee", 60, 12, on="release", of="talk_s", where="cause == 16"),
    window("sequential", "sequential", "caller", 600, 12, step=2),
    window("sequential_t2", "sequential", "caller", 60, 12, step=1, where="trunk == 'T2'"),
    window("age", "age", "caller"),
    window("answered_age", "age", "callee", on="answer"),
    window("idle", "idle", "callee"),
    window("reports", "count", "caller", 30 * 86_400, 30, on="report"),
    window("weight", "sum", "caller", 30 * 86_400, 30, on="report", of="weight"),
    window("fraud_reports", "count", "callee", 7200, 12, on="report", where="label == 'fraud'"),
    window("reporters", "distinct", "caller", 7200, 12, on="report", of="reporter"),
    window("longest", "max", "caller", 600, 6, on="release", of="talk_s"),
    window("longest_normal", "max", "trunk", 60, 12, on="release", of="talk_s", where="cause == 16"),
    window("talking", "open", "caller", 3600, 12, on="answer"),
    window("going_on", "open", "trunk", 60, 6, on="setup", where="trunk == 'T2'"),
    window("talking_long", "open", "caller", 7200, 6, on="answer"),
    window("in_a_row", "repeat", "caller", 600, of="callee"),
    window("in_a_row_prefix", "repeat", "caller", 60, of="callee_prefix", cut=3, where="trunk == 'T2'"),
    window("received", "count", "callee", 3600, 12, seen_by=("caller",)),
    window("called_me", "count", "caller+callee", 600, 12, seen_by=("callee", "caller"), on="release"),
    window("my_age_as_callee", "age", "callee", seen_by=("caller",)),
    window("new_pairs", "share", "caller", 600, 12, new="pair"),
    window("new_pairs_t2", "count", "trunk", 60, 6, new="pair", where="trunk == 'T2'"),
    window("new_share", "share", "trunk", 7200, 12, new="caller"),
    window("per_callee", "ratio", "", of="calls_1h", to="callees_10m"),
    window("out_in", "balance", "", of="calls_1h", to="received"),
)


#: What else a report that is taken back may meet.
OF_REPORTS = (
    window("fraud_share", "share", "callee", 7200, 12, on="report", where="label == 'fraud'", new="caller"),
    window("weight_mean", "mean", "callee", 7200, 12, on="report", of="weight", where="label == 'fraud'"),
    window("report_age", "age", "caller", on="report"),
)


def window_set(specs: Sequence[WindowSpec] = SPECS) -> WindowSet:
    """``specs`` with their conditions compiled."""
    texts = {text for spec in specs for text in (spec.where, spec.among) if text}
    predicates = {text: compile_where(text, Location("test")) for text in sorted(texts)}
    return WindowSet(tuple(spec.name for spec in specs), tuple(specs), digest_of(specs), predicates)


ROOMY = Limits(units=100_000, pairs_per_key=4096, remembered=4096)

CALLERS = st.sampled_from(
    ["", "112", "KASPI", "+7", "+12", "+123456", *(f"+770000000{i:02d}" for i in range(8)), "+7700000\x000", "\ud800x"]
)
CALLEES = st.sampled_from(
    [*(f"+770100010{i:02d}" for i in range(7)), "101", "", "ТАКСИ", "+" + "9" * 18, "+" + "9" * 19]
)
LABELS = st.sampled_from(["", "fraud", "honest"])
REPORTERS = st.sampled_from(["", "desk", "fraud", "+77000000001"])
STEPS = st.one_of(
    st.sampled_from([0.0, 0.0, 0.25, 1.0, 1.0, 4.999, 5.0, 7.5, 10.0, 59.999, 60.0, 61.0, 599.0, 3600.0]),
    st.floats(0, 30, allow_nan=False),
    st.sampled_from([-0.5, -3.0, -30.0, -700.0, -86_400.0]),
)
#: An event may be 300 s ahead of its arrival and 40 days behind it.
SLIPS = st.sampled_from([0.0] * 12 + [300.0, -5.0, -100.0, -3599.0, -40 * 86_400.0])
#: How far a repetition is from what it repeats: recognised up to ten minutes either way.
REPEATS = st.sampled_from([0.0] * 6 + [0.5, 32.0, 599.999, 600.0, 600.001, -599.0, -600.001, 1200.5, 6000.0, -7000.0])


@st.composite
def events(draw: st.DrawFn, most: int = 60) -> list[CallEvent]:
    """Events in the order of a log: mostly forward in time, with ties, jumps, late ones and repetitions."""
    made: list[CallEvent] = []
    now = START
    for _ in range(draw(st.integers(1, most))):
        if made and draw(st.integers(0, 5)) == 0:
            one = draw(st.sampled_from(made))
            made.append(msgspec.structs.replace(one, ts=one.ts + draw(REPEATS)))
            continue
        now += draw(STEPS)
        told = [one for one in made if one.kind is EventKind.REPORT and one.takes_back is None]
        if told and draw(st.integers(0, 3)) == 0:
            one = draw(st.sampled_from(told))
            then = one.ts + draw(st.sampled_from([0.0] * 6 + [0.5, -1.0, -700.0]))
            made.append(msgspec.structs.replace(one, ts=max(now, then), takes_back=then))
            continue
        kind = draw(
            st.sampled_from([EventKind.SETUP] * 4 + [EventKind.RELEASE] * 2 + [EventKind.ANSWER, EventKind.REPORT])
        )
        ended = kind is EventKind.RELEASE
        made.append(
            CallEvent(
                kind=kind,
                call_id=f"c{draw(st.one_of(st.integers(0, 200), st.integers(0, 2)))}",
                ts=now + draw(SLIPS),
                caller=draw(CALLERS),
                callee=draw(CALLEES),
                trunk=draw(st.sampled_from(["", "T1", "T2"])),
                talk_s=draw(st.sampled_from([None, 0.0, 3.25, 9.9995, 30.1, 2_592_000.0])) if ended else None,
                cause=draw(st.sampled_from([None, 16, 21])) if ended else None,
                weight=draw(st.sampled_from([None, 0.5, 1.0])) if kind is EventKind.REPORT else None,
                label=draw(LABELS),
                reporter=draw(REPORTERS),
            )
        )
    return made
