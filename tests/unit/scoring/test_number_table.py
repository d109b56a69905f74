"""Tables of numbers: what is read, and every refusal as a person sees it, in one golden file each.

After one was changed on purpose: ``ANTIFRAUD_GOLDEN=write pytest tests/unit/scoring/test_number_table.py``, and read
the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from antifraud.domain import AntifraudError, UsageError
from antifraud.scoring.number_table import Table
from antifraud.scoring.numbers import read_labelled, train_numbers

GOLDEN = Path(__file__).parent / "golden"
HEADER = "number,calls,peers,label\n"


def lines(*rows: str, header: str = HEADER) -> bytes:
    return (header + "".join(row + "\n" for row in rows)).encode()


def _read(path: Path, **given: str) -> None:
    table = Table(path, **given)
    for _chunk in table.chunks(table.candidates):
        pass


def _taught(column: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        rng = np.random.default_rng(1)
        y = rng.random(400) < 0.3
        values = np.stack([rng.poisson(np.where(y, 6.0, 4.0)).astype(float), column(y, rng)], axis=1)
        train_numbers(values, y, names=("calls", "closed"), out=path.parent / "m" / "1", name="m", version="1")

    return run


def _classes(fraud: int, honest: int) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        y = np.array([True] * fraud + [False] * honest)
        values = np.random.default_rng(1).random((len(y), 1))
        train_numbers(values, y, names=("calls",), out=path.parent / "m" / "1", name="m", version="1")

    return run


LABELLED = {"label": "label"}
READING: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty": (b"", LABELLED),
    "blank-first-line": (b"\n" + lines("+7001,1,2,0"), LABELLED),
    "semicolons": (b"number;calls;label\n+7001;3;0\n", LABELLED),
    "tabs": (b"number\tcalls\tlabel\n+7001\t3\t0\n", LABELLED),
    "no-label-column": (lines("+7001,1,2,0"), {"label": "lable"}),
    "no-id-column": (lines("+7001,1,2,0"), {"label": "label", "id_column": "msisdn"}),
    "label-is-id": (lines("+7001,1,2,0"), {"label": "number", "id_column": "number"}),
    "column-twice": (lines("+7001,1,2,0", header="number,calls,calls,label\n"), LABELLED),
    "column-unnamed": (lines("+7001,1,2,0", header="number,,calls,label\n"), LABELLED),
    "too-many-columns": (b",".join(b"c%d" % at for at in range(2001)) + b"\n", {"label": "c0"}),
    "cells-missing": (lines("+7001,1,2,0", "+7002,1,2"), LABELLED),
    "cells-too-many": (lines("+7001,1,2,0", "+7002,1,2,000,1"), LABELLED),
    "a-word": (lines("+7001,1,2,0", "+7002,1,many,1"), LABELLED),
    "a-decimal-comma": (lines('+7001,"1,5",2,0'), LABELLED),
    "a-word-behind-quotes": (lines('"+7001","1","x, ""y""",0'), LABELLED),
    "not-a-number": (lines("+7001,1,NaN,0"), LABELLED),
    "infinite": (lines("+7001,1,2,0", "", "+7002,-inf,2,1"), LABELLED),
    "huge": (lines("+7001,1,1e300,0"), LABELLED),
    "overflowing": (lines(f"+7001,{'9' * 400},1,0"), LABELLED),
    "label-a-word": (lines("+7001,1,2,fraud"), LABELLED),
    "label-empty": (lines("+7001,1,2,"), LABELLED),
    "label-a-share": (lines("+7001,1,2,0.5"), LABELLED),
    "id-empty": (lines(",1,2,0"), LABELLED),
    "id-a-formula": (lines("=cmd|' /C calc'!A0,1,2,0"), LABELLED),
    "id-with-a-line-end": (lines('"+7001', '",1,2,0'), LABELLED),
    "id-too-long": (lines("7" * 65 + ",1,2,0"), LABELLED),
    "id-twice": (lines("+7001,1,2,0", "+7002,1,2,0", "", "+7001,3,4,1"), LABELLED),
    "quote-open": (lines("+7001,1,2,0", '+7002,"1,2,0'), LABELLED),
    "not-utf-8": (lines("+7001,1,2,0") + b"+7002,1,\xff,0\n", LABELLED),
    "utf-16": (HEADER.encode("utf-16"), LABELLED),
    "a-line-without-end": (lines("+7001,1,2,0") + b"7" * (1 << 20), LABELLED),
    "nul": (lines("+7001,1,\x00,0"), LABELLED),
}
TEACHING: dict[str, Callable[[Path], None]] = {
    "leak-label": _taught(lambda y, rng: y.astype(float)),
    "leak-upside-down": _taught(lambda y, rng: 5.0 - y),
    "leak-missing": _taught(lambda y, rng: np.where(y, np.nan, rng.normal(size=len(y)))),
    "leak-code": _taught(lambda y, rng: np.where(y, 2.0, rng.choice([1.0, 3.0], len(y)))),
    "all-honest": _classes(0, 300),
    "all-fraud": _classes(300, 0),
    "few-fraud": _classes(7, 300),
    "few-honest": _classes(300, 39),
    "no-rows": lambda path: read_labelled(Table(_written(path, lines()), label="label"), ("calls",), 1) and None,
    "no-file": lambda path: _read(path / "none.csv"),
    "a-directory": lambda path: _read(path.parent),
    "missing-columns": lambda path: Table(_written(path, lines("+7001,1,2,0"))).check_has(("calls", "peer", "weight")),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _golden(name: str, error: AntifraudError) -> None:
    shown = error.render() + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
    assert any(problem.hint for problem in error.problems)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("numbers.csv")


@pytest.mark.parametrize("name", READING)
def test_what_cannot_be_read_is_refused_in_words(path: Path, name: str) -> None:
    content, given = READING[name]
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        _read(path, **given)
    _golden(name, caught.value)


@pytest.mark.parametrize("name", TEACHING)
def test_what_cannot_teach_is_refused_in_words(path: Path, name: str) -> None:
    with pytest.raises(AntifraudError) as caught:
        TEACHING[name](path)
    _golden(name, caught.value)
    assert not Path("m").exists()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == READING.keys() | TEACHING.keys()


def test_cells_become_numbers_and_empty_ones_are_missing(path: Path) -> None:
    path.write_bytes('﻿number,calls,peers,label\r\n+7001,1,,0\r\n\r\n"+7002","2",-3.5e1,1\r\n'.encode())
    table = Table(path, label="label")
    assert table.id_column == "number"
    assert table.candidates == ("calls", "peers")
    told: list[int] = []
    (chunk,) = table.chunks(("peers", "calls"), told.append)
    assert chunk.ids == ["+7001", "+7002"]
    np.testing.assert_array_equal(chunk.X, [[np.nan, 1.0], [-35.0, 2.0]])
    assert chunk.y.tolist() == [False, True]
    assert told[-1] > 0


def test_a_table_without_ids_can_teach_and_one_without_labels_can_be_scored(path: Path) -> None:
    path.write_bytes(b"calls,label\n1,0\n2,1\n")
    assert Table(path, label="label").candidates == ("calls",)
    (chunk,) = Table(path, label="label").chunks(("calls",))
    assert chunk.ids == []
    path.write_bytes(b"who,calls\na,1\nb,2\n")
    (chunk,) = Table(path, id_column="who").chunks(("calls",))
    assert chunk.ids == ["a", "b"]
    assert len(chunk.y) == 0


def test_ids_are_compared_over_the_whole_file_and_not_by_their_hashes(path: Path) -> None:
    count = 10_000
    path.write_bytes(lines(*(f"+7{at:06d},1,2,0" for at in range(count))))
    assert sum(len(chunk.X) for chunk in Table(path, label="label").chunks(("calls",))) == count
    path.write_bytes(lines(*(f"+7{at % (count - 1):06d},1,2,0" for at in range(count))))
    with pytest.raises(UsageError, match=r"numbers\.csv:10001:1: \+7000000 comes twice, first on line 2"):
        _read(path, label="label")


def test_equal_hashes_of_different_ids_are_no_reason_to_refuse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antifraud.scoring.number_table._hashed", len)
    path.write_bytes(lines("+7001,1,2,0", "+7002,1,2,0"))
    _read(path, label="label")


def test_of_more_rows_than_fit_each_has_the_same_chance(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antifraud.scoring.numbers._MOST_CELLS", 2 * 5_000)
    count = 20_000
    path.write_bytes(lines(*(f"+7{at:06d},{at},2,{at % 2}" for at in range(count))))
    values, y, seen = read_labelled(Table(path, label="label"), ("calls", "peers"), 1)
    assert seen == count
    assert values.shape == (5_000, 2)
    assert len(set(values[:, 0].tolist())) == 5_000
    assert (values[:, 0] % 2 == y).all()
    quarters = np.histogram(values[:, 0], bins=4, range=(0, count))[0]
    assert (np.abs(quarters - 1250) < 4 * np.sqrt(5_000 * 0.25 * 0.75)).all()
    again, _y, _seen = read_labelled(Table(path, label="label"), ("calls", "peers"), 1)
    assert again.tobytes() == values.tobytes()
    other, _y, _seen = read_labelled(Table(path, label="label"), ("calls", "peers"), 2)
    assert other.tobytes() != values.tobytes()
