"""Any decision that the domain allows is read back from the journal as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.domain import Decision, Reason
from antifraud.journal import read_journal, write_decisions

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
reasons = st.lists(st.builds(Reason, by=text, verdict=text, text=text, stage=text), max_size=3).map(tuple)
decisions = st.builds(
    Decision,
    id=st.uuids().map(str),
    call_id=text,
    ts=st.floats(946_684_800.0, 4_102_444_799.0),
    shard=st.just("kz"),
    region=text,
    verdict=text,
    full_verdict=text,
    ceiling=text,
    caller=text,
    score=st.none() | st.floats(0, 1),
    reasons=reasons,
    protected=st.booleans(),
    duplicate=st.booleans(),
    late=st.booleans(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(decisions, max_size=6, unique_by=lambda one: one.id))
def test_what_is_written_is_read(written: list[Decision]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_decisions(directory, "kz", [(f"{number}-0", one) for number, one in enumerate(written)])
        key = lambda one: one.id  # noqa: E731
        assert sorted(read_journal(directory), key=key) == sorted(written, key=key)
