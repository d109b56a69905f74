"""What the reader accepts as a stream of events can be played: no test is refused only when it runs."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.rule import read_rule
from antifraud.rulekit.ruleset import names_of
from antifraud.rulekit.stream import KINDS, MAX_EVENTS, play
from tests.unit.rulekit.stream_cases import events
from tests.unit.rulekit.workbench import vocabulary

FIELDS, WINDOWS, ORDER = vocabulary()
NAMES = names_of(FIELDS, WINDOWS, ORDER, {})

seconds = st.one_of(st.integers(0, 60), st.sampled_from([3_600, 86_400, 30 * 86_400, 31 * 86_400 + 1]))
lengths = st.one_of(st.integers(0, 20), st.sampled_from([0.5, 2_592_000, 2_592_001]))


@st.composite
def entries(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(KINDS))
    parts = [f"at: {draw(seconds)}s", f"kind: {kind}"]
    if draw(st.booleans()):
        parts += [f"repeat: {draw(st.integers(1, 5))}", f"every: {draw(seconds)}s"]
    if kind not in ("call", "setup"):
        parts.append(f"call: {draw(st.sampled_from('ab'))}")
    if kind in ("call", "setup") or draw(st.booleans()):
        parts.append('callee: "+77010000001"')
    if draw(st.booleans()):
        parts.append('caller: "+77000000001"')
    if kind in ("call", "release"):
        wanted = draw(st.sets(st.sampled_from(("ring_s", "talk_s", "pdd_s")), max_size=2))
        parts += [f"{name}: {draw(lengths)}" for name in sorted(wanted)]
    return "{" + ", ".join(parts) + "}"


CALLS = tuple(f'{{at: 0s, kind: setup, call: {name}, callee: "+77010000001"}}' for name in "ab")


@settings(max_examples=400, deadline=None)
@given(st.lists(entries(), min_size=1, max_size=5))
def test_what_is_accepted_can_be_played(found: list[str]) -> None:
    # Mostly in order, so that more than the order is looked at.
    found.sort(key=lambda text: int(text.split("at: ")[1].split("s")[0]))
    text = events(*CALLS, *found)["packs/demo/sample.yaml"]
    assert isinstance(text, str)
    sheet = Sheet("sample.yaml", text)
    rule = read_rule(sheet, "demo", "sample", NAMES)
    event("accepted" if rule is not None else f"refused: {sheet.problems[0].code}")
    if rule is None:
        return
    stream = rule.tests[0].stream
    assert stream is not None
    done = play(stream)
    assert 1 <= len(done.events) <= MAX_EVENTS
    assert all(one.ts <= other.ts for one, other in zip(done.events, done.events[1:], strict=False))
