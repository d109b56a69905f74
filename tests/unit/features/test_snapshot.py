"""Snapshots: whole or not there, and refused with a reason when anything about them is wrong."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from antifraud.domain import CallEvent, EventKind
from antifraud.features import Fold, Limits, SnapshotError, WindowSet, snapshot
from tests.property.features.streams import row_of, window, window_set

SMALL = Limits(keys=64, pairs=64, pairs_per_key=16, remembered=32)
WINDOWS = window_set(
    [
        window("calls", "count", "caller", 60, 12),
        window("callees", "distinct", "caller", 600, 12, of="callee"),
        window("short", "share", "caller", 60, 12, on="release", where="talk_s < 10"),
    ]
)


def event(number: int) -> CallEvent:
    kind = EventKind.RELEASE if number % 3 == 2 else EventKind.SETUP
    return CallEvent(
        kind=kind,
        call_id=f"c{number}",
        ts=1_767_225_600.0 + number,
        caller=f"+7700000000{number % 7}",
        callee=f"+770100000{number % 11:02d}",
        talk_s=float(number) if kind is EventKind.RELEASE else None,
    )


def feed(fold: Fold, begin: int, end: int) -> bytes:
    log = [event(number) for number in range(begin, end)]
    return fold.fold(log, [row_of(one) for one in log]).values.tobytes()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    fold = Fold(WINDOWS, limits=SMALL, secret=bytes(32))
    feed(fold, 0, 50)
    fold.save(tmp_path / "s", "1767225600000-7")
    return tmp_path / "s"


def refused(path: Path, windows: WindowSet = WINDOWS, limits: Limits | None = None) -> SnapshotError:
    with pytest.raises(SnapshotError) as caught:
        Fold.load(path, windows, limits=limits)
    assert str(path) in str(caught.value)
    return caught.value


def test_it_goes_on_where_it_stood(saved: Path) -> None:
    fold, position = Fold.load(saved, WINDOWS)
    assert position == "1767225600000-7"
    whole = Fold(WINDOWS, limits=SMALL)
    feed(whole, 0, 50)
    assert feed(fold, 50, 90) == feed(whole, 50, 90)


def test_other_limits_may_be_given(saved: Path) -> None:
    roomy = Limits(keys=1000, pairs=1000, pairs_per_key=16, remembered=1000)
    fold, _ = Fold.load(saved, WINDOWS, limits=roomy)
    assert fold.limits == roomy
    assert fold.fold([event(48)], [None]).duplicate.tolist() == [True]
    late = msgspec.structs.replace(event(48), ts=event(48).ts + 600.5)
    assert fold.fold([late], [None]).duplicate.tolist() == [False], "its time is remembered with it"
    forgetful, _ = Fold.load(saved, WINDOWS, limits=msgspec.structs.replace(SMALL, remembered=1))
    assert forgetful.fold([event(48)], [None]).duplicate.tolist() == [False], "only event 49 is remembered"
    assert refused(saved, limits=msgspec.structs.replace(SMALL, keys=3)).reason == "limits"


def test_only_its_owner_may_read_it_and_nothing_else_is_left(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert [path.name for path in saved.parent.iterdir()] == ["s"]


def test_a_missing_one(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").reason == "missing"


def test_other_windows(saved: Path) -> None:
    other = msgspec.structs.replace(WINDOWS, digest="another")
    error = refused(saved, other)
    assert error.reason == "windows"
    assert "another" in error.render()


def test_every_damaged_byte_is_noticed(saved: Path) -> None:
    raw = saved.read_bytes()
    for place in range(0, len(raw), 37):
        broken = bytearray(raw)
        broken[place] ^= 0x40
        saved.write_bytes(broken)
        assert refused(saved).reason in ("damaged", "version")


def test_every_cut_is_noticed(saved: Path) -> None:
    raw = saved.read_bytes()
    for length in (0, 1, 8, 31, 32, 100, len(raw) // 2, len(raw) - 16, len(raw) - 1):
        saved.write_bytes(raw[:length])
        assert refused(saved).reason == "damaged"
    saved.write_bytes(raw + b"x")
    assert refused(saved).reason == "damaged"


@pytest.mark.parametrize("version", [1, 99])
def test_another_version(saved: Path, version: int) -> None:
    raw = bytearray(saved.read_bytes())
    raw[8] = version
    saved.write_bytes(raw)
    assert refused(saved).reason == "version"


def test_a_failed_write_leaves_the_old_one_alone(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    fold = Fold(WINDOWS, limits=SMALL)
    with pytest.raises(OSError, match="no space"):
        fold.save(saved, "2-0")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["s"]


def test_a_sound_file_with_a_senseless_header_is_refused(tmp_path: Path) -> None:
    good = {"windows": "digest", "position": "0", "limits": {"keys": 4}, "secret": "00" * 32, "arrays": []}
    for change in (
        {"secret": "zz"},
        {"secret": "00"},
        {"limits": {"keys": -1}},
        {"limits": {"keys": 2**40}},
        {"arrays": [("counters", "<f8", 4)]},
        {"arrays": [("something", "<i8", 4)]},
    ):
        snapshot.write(tmp_path / "s", msgspec.convert(good | change, snapshot.Header), [])
        assert refused(tmp_path / "s").reason == "damaged"
