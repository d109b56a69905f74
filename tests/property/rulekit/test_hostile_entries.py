"""Whatever stands in an entries file, the answer is a list or a problem with its place: never another error."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifraud.rulekit.entries import KINDS
from antifraud.rulekit.entries_file import first_rows, read_entries
from antifraud.rulekit.sorted_entries import Gathering

BRISK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = st.sampled_from(
    [
        *("value", "from", "to", "until", "owner", "note", ",", ";", "\n", "\r\n", "\r", '"', '""', " ", "-", ".."),
        *("+77000000001", "+7700", "+77000000001-+77000000009", "112", "*", "gw-1*", "friendly-scanner", "+٧٧٠٠٠"),
        *("2027-06-30", "9999-12-31", "0000-00-00", "x" * 5_000, "\x00", "\ufeff", "é", "\u2028", "=1+1", "7.7E+10"),
    ]
)


def read(content: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(content)
        gathering = Gathering(kind)
        sheet = read_entries(path, kind, gathering)
        columns, _twice = gathering.sorted()
        assert len(columns) == len(gathering)
        for problem in sheet.problems:
            assert problem.where is not None
            assert problem.render()
        rows = first_rows(path, kind, 1_000)
        if not sheet.problems:
            assert {row.plain for row in rows} == {plain for plain, _ends, _line in columns.plain()}


@BRISK
@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(KINDS), st.booleans())
def test_pieces(text: str, kind: str, headed: bool) -> None:
    read((f"value,until\n{text}" if headed else text).encode(), kind)


@BRISK
@given(st.binary(max_size=200), st.sampled_from(KINDS), st.booleans())
def test_any_bytes(raw: bytes, kind: str, headed: bool) -> None:
    read(b"value\n" + raw if headed else raw, kind)
