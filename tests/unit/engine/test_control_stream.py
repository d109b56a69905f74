"""Streams of wishes: in which order entries of several are obeyed."""

from __future__ import annotations

from antifraud.engine.control_stream import ControlStream, in_order


def test_the_order_is_that_of_writing() -> None:
    control, changes = ControlStream("c", "control", ()), ControlStream("l", "list_changes", ())
    found = in_order(
        [
            (control, [(b"9-0", {}), (b"10-2", {}), (b"100-0", {})]),
            (changes, [(b"9-1", {}), (b"10-1", {}), (b"10-2", {}), (b"11-0", {})]),
        ]
    )
    assert [(asked.field, entry_id) for asked, (entry_id, _fields) in found] == [
        ("control", b"9-0"),
        ("list_changes", b"9-1"),
        ("list_changes", b"10-1"),
        ("control", b"10-2"),
        ("list_changes", b"10-2"),
        ("list_changes", b"11-0"),
        ("control", b"100-0"),
    ]
    assert in_order([(control, []), (changes, [])]) == []
