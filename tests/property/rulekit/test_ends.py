"""The end of an entry, whatever somebody writes: a second that can be written down again, or none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antifraud.rulekit.form import end_of
from tests.unit.rulekit.test_entries_merge import HEADER, beside, merged, refused, the_list

offsets = st.integers(-1_439, 1_439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
moments = st.datetimes(timezones=offsets).map(dt.datetime.isoformat)


@given(st.one_of(moments, st.dates().map(str), st.text(max_size=40), st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T?.*")))
@example("9999-12-31T23:59:59-12:00")
@example("9999-12-31T23:59:59.999999+00:00")
@example("0001-01-01T00:00:00+05:00")
@example("9999-12-31")
def test_an_end_can_be_written_down_again(text: str) -> None:
    ends = end_of(text)
    if ends is not None:
        written = dt.datetime.fromtimestamp(ends, dt.UTC).isoformat()
        assert end_of(written) == pytest.approx(ends, abs=1e-5)


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+05:00"])
def test_an_end_beyond_all_years_is_refused_where_it_stands(tmp_path: Path, until: str) -> None:
    item = the_list(tmp_path, HEADER + "+77000000001,,,,\n")
    assert "new.csv:2:" in refused(item, tmp_path, f"value;until\n+77000000002;{until}\n")
    merged(item, tmp_path, "value;until\n+77000000002;9999-12-31T23:59:59+05:00\n")
    assert "+77000000002,9999-12-31T18:59:59+00:00" in beside(item)
