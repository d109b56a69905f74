"""A list of millions that was replaced is gone at once: no table waits in a circle for the collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from antifraud.rulekit import tables
from antifraud.rulekit.sorted_entries import Gathering

ENTRIES = {
    "numbers": ["+77010000001", "112"],
    "prefixes": ["+7701", "00"],
    "ranges": ["+77010000000-+77010000999", "+77010000500-+77010001999"],
    "trunks": ["intl-1", "test-*"],
    "user_agents": ["scanner"],
}


@pytest.mark.parametrize("few", [0, 1_000], ids=["large", "small"])
@pytest.mark.parametrize("kind", list(ENTRIES))
def test_a_table_that_nobody_holds_is_gone(kind: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_FEW", dict.fromkeys(("numbers", "prefixes"), few))
    gathering = Gathering(kind)
    for line, plain in enumerate(ENTRIES[kind], 1):
        gathering.add(plain, 100.0, line)
    table = tables.table_of(gathering.sorted()[0])
    until = table.until
    assert until("nobody", -1.0) == -1.0
    table.amend({ENTRIES[kind][0]: 200.0}, set())
    gone = weakref.ref(table)
    gc.disable()
    try:
        del table, until
        assert gone() is None
    finally:
        gc.enable()
