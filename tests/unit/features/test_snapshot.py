"""Snapshots: whole or not there, and refused with a reason when anything about them is wrong."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest

from antifraud.domain import CallEvent, ConfigError, EventKind
from antifraud.features import Fold, Limits, SnapshotError, WindowSet, kernels, snapshot
from tests.property.features.streams import row_of, window, window_set

SMALL = Limits(units=256, pairs_per_key=16, remembered=32)
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
    roomy = Limits(units=10_000, pairs_per_key=16, remembered=1000)
    fold, position = Fold.load(saved, WINDOWS, limits=roomy)
    assert position == "1767225600000-7"
    assert fold.limits == roomy
    assert fold.fold([event(48)], [None]).duplicate.tolist() == [True]
    late = msgspec.structs.replace(event(48), ts=event(48).ts + 600.5)
    assert fold.fold([late], [None]).duplicate.tolist() == [False], "its time is remembered with it"
    forgetful, _ = Fold.load(saved, WINDOWS, limits=msgspec.structs.replace(SMALL, remembered=1))
    assert forgetful.fold([event(48)], [None]).duplicate.tolist() == [False], "only event 49 is remembered"


def test_limits_that_hold_not_even_one_event_are_refused_as_everywhere(saved: Path) -> None:
    with pytest.raises(ConfigError, match="limit units is 3"):
        Fold.load(saved, WINDOWS, limits=msgspec.structs.replace(SMALL, units=3))


def test_a_fold_that_was_moved_can_be_saved_and_moved_again(saved: Path, tmp_path: Path) -> None:
    whole, _ = Fold.load(saved, WINDOWS)
    moved, position = Fold.load(saved, WINDOWS, limits=msgspec.structs.replace(SMALL, units=5000))
    moved.save(tmp_path / "t", position)
    back, _ = Fold.load(tmp_path / "t", WINDOWS, limits=SMALL)
    assert back.limits == SMALL
    assert feed(back, 50, 90) == feed(whole, 50, 90)
    assert back.stats() == whole.stats()


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


@pytest.mark.parametrize("version", [1, 2, 3, 4, 99])
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


def test_a_disk_that_is_full_is_said_and_nothing_is_left(saved: Path) -> None:
    before = saved.read_bytes()
    fold = Fold(WINDOWS, limits=SMALL)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match="too large"):
            fold.save(saved, "2-0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["s"]


def test_an_array_of_several_pieces_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_CHUNK", 1000)
    whole = np.random.default_rng(1).integers(0, 1 << 40, 12_345)  # cannot be packed, and its last piece is short
    zeros = np.zeros(1_000_003, np.int8)
    limits = msgspec.structs.asdict(SMALL)
    arrays = [("whole", "<i8", whole.size), ("none", "<i8", 0), ("zeros", "|i1", zeros.size)]
    header = snapshot.Header(windows="", specs=[], position="0", limits=limits, secret="", arrays=arrays)
    snapshot.write(tmp_path / "s", header, [whole, whole[:0], zeros])
    assert (tmp_path / "s").stat().st_size < 1.2 * whole.nbytes
    read = [np.ones(size, kind) for _, kind, size in arrays]
    with snapshot.Reader(tmp_path / "s") as reader:
        for (name, _, _), into in zip(arrays, read, strict=True):
            reader.read(name, into)
        reader.finish()
    assert read[0].tolist() == whole.tolist()
    assert not read[2].any()


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        (b"\0\0\0\0", "piece of absurd length"),
        (b"\xff\xff\xff\xff", "piece of absurd length"),
        (b"\x05\0\0\0\xf0\xff\xff\xff\xff", "piece that cannot be unpacked"),
        (b"\x05\0\0\0abc", "ends early"),
    ],
)
def test_pieces_that_nobody_packed(tmp_path: Path, piece: bytes, why: str) -> None:
    header = snapshot.Header(
        windows=WINDOWS.digest,
        specs=[],
        position="0",
        limits=msgspec.structs.asdict(SMALL),
        secret="00" * 32,
        arrays=[("counters", "<i8", 7)],
    )
    snapshot.write(tmp_path / "s", header, [])
    raw = (tmp_path / "s").read_bytes()[:-16]
    (tmp_path / "s").write_bytes(raw + piece)
    error = refused(tmp_path / "s")
    assert (error.reason, why in str(error)) == ("damaged", True), str(error)


def test_a_sound_file_with_a_senseless_header_is_refused(tmp_path: Path) -> None:
    good = {
        "windows": WINDOWS.digest,
        "specs": [],
        "position": "0",
        "limits": msgspec.structs.asdict(SMALL),
        "secret": "00" * 32,
        "arrays": [],
    }
    for change, reason in (
        ({"secret": "zz"}, "header makes no sense"),
        ({"secret": "00"}, "header makes no sense"),
        ({"limits": {"units": -1}}, "header makes no sense"),
        ({"limits": {"units": 3}}, "header makes no sense"),
        ({"limits": {"units": 2**40}}, "header makes no sense"),
        ({"arrays": [("counters", "<f8", 7)]}, "'counters' in another shape"),
        ({"arrays": [("something", "<i8", 4)]}, "lacks 'counters'"),
        ({}, "lacks 'counters'"),
    ):
        snapshot.write(tmp_path / "s", msgspec.convert(good | change, snapshot.Header), [])
        error = refused(tmp_path / "s")
        assert (error.reason, reason in str(error)) == ("damaged", True), f"{change}: {error}"


def test_a_sound_file_that_claims_to_hold_more_than_it_may_is_refused(saved: Path) -> None:
    with snapshot.Reader(saved) as reader:
        header = reader.header
        arrays = []
        for _, kind, size in header.arrays:
            arrays.append(np.zeros(size, kind))
            reader.read(header.arrays[len(arrays) - 1][0], arrays[-1])
    counters = arrays[0].copy()
    for used in (0, -1, SMALL.units + 2, 2**60):
        counters[kernels.C_USED] = used
        snapshot.write(saved, header, [counters, *arrays[1:]])
        assert "more than its own limits" in str(refused(saved))
    snapshot.write(saved, header, arrays)
    Fold.load(saved, WINDOWS)


@pytest.mark.parametrize("place", [2**30, -1])
def test_a_file_that_points_outside_itself_is_refused_though_its_checksum_agrees(tmp_path: Path, place: int) -> None:
    fold = Fold(WINDOWS, limits=SMALL, secret=bytes(32))
    feed(fold, 0, 50)
    fold._heads[:] = place
    fold.save(tmp_path / "s", "1-0")
    assert refused(tmp_path / "s").reason == "damaged"
