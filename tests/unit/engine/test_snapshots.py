"""Which snapshot is taken, and what happens to whatever else lies beside it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from antifraud.engine import SnapshotStore
from antifraud.features import Fold, Limits
from tests.property.features.streams import window, window_set

WINDOWS = window_set([window("calls", "count", "caller", 60, 12)])
LIMITS = Limits(units=1000, pairs_per_key=16, remembered=32)


@pytest.fixture
def fold() -> Fold:
    return Fold(WINDOWS, limits=LIMITS)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path, "kz")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_two_are_kept_and_the_newest_sound_one_is_taken(store: SnapshotStore, fold: Fold, tmp_path: Path) -> None:
    for number in (9, 10, 11):
        store.save(fold, f"{number}-0")
    assert names(tmp_path) == ["kz.10-0.calls", "kz.10-0.snapshot", "kz.11-0.calls", "kz.11-0.snapshot"]
    assert store.oldest_position() == "10-0"
    found = store.load(WINDOWS, 0)
    assert found is not None
    assert found.position == "11-0"
    (tmp_path / "kz.11-0.snapshot").write_bytes(b"not one")
    found = store.load(WINDOWS, 0)
    assert found is not None
    assert found.position == "10-0"


def test_one_of_another_log_does_not_hide_the_sound_one_before_it(
    store: SnapshotStore, fold: Fold, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(fold, "10-0")
    store.save(fold, "9999999999999-0")
    with caplog.at_level(logging.ERROR):
        found = store.load(WINDOWS, 0, None, "10-3")
    assert found is not None
    assert found.position == "10-0"
    assert "of another log" in caplog.text
    assert store.load(WINDOWS, 0, None, "9-99") is None


def test_whatever_else_lies_there_is_left_alone(store: SnapshotStore, fold: Fold, tmp_path: Path) -> None:
    (tmp_path / "kz.1-0.snapshot").mkdir()
    for odd in ("kz.\u00b2-0.snapshot", "kz.snapshot", "kz.1.snapshot", "kz.1-0.snapshot.old", "kz.x-y.snapshot"):
        (tmp_path / odd).write_bytes(b"")
    other = SnapshotStore(tmp_path, "ru")
    other.save(fold, "5-0")
    for number in (2, 3, 4):
        store.save(fold, f"{number}-0")
    assert {"kz.3-0.snapshot", "kz.4-0.snapshot", "ru.5-0.snapshot", "kz.1-0.snapshot"} <= set(names(tmp_path))
    assert "kz.2-0.snapshot" not in names(tmp_path)
    assert store.oldest_position() == "3-0"


def test_a_file_under_another_name_is_refused(store: SnapshotStore, fold: Fold, tmp_path: Path) -> None:
    store.save(fold, "7-0")
    (tmp_path / "kz.7-0.snapshot").rename(tmp_path / "kz.8-0.snapshot")
    assert store.load(WINDOWS, 0) is None


def test_an_unfinished_file_is_removed_at_the_next_start_and_when_its_writer_is_ended(
    store: SnapshotStore, fold: Fold, tmp_path: Path
) -> None:
    (tmp_path / "kz.3-0.snapshot.part").write_bytes(b"half")
    (tmp_path / "ru.3-0.snapshot.part").write_bytes(b"somebody else is writing this")
    assert store.load(WINDOWS, 0) is None
    assert names(tmp_path) == ["ru.3-0.snapshot.part"]
    store.start(fold, "4-0")
    (tmp_path / "kz.4-0.snapshot.part").touch()
    store.abandon()
    assert not (tmp_path / "kz.4-0.snapshot.part").exists()


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path, fold: Fold) -> None:
    store = SnapshotStore(tmp_path / "none", "kz")
    assert store.load(WINDOWS, 0) is None
    assert store.oldest_position() is None
    store.start(fold, "1-0")
    while store.poll() is None:
        time.sleep(0.01)
    found = store.load(WINDOWS, 0)
    assert found is not None
    assert found.position == "1-0"
