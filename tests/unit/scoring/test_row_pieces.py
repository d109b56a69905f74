"""Pieces of rows: what is chosen from files on disk is what numpy would choose from one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antifraud.domain import ModelError, UsageError
from antifraud.scoring.row_pieces import Coded, PieceWriter, RowPieces


def _written(directory: Path, sizes: list[int], columns: int) -> tuple[RowPieces, np.ndarray]:
    rng = np.random.default_rng(sum(sizes) + columns)
    blocks, paths = [], []
    for number, size in enumerate(sizes):
        path = directory / f"{number}.npy"
        writer = PieceWriter(path, columns, 1 << 30)
        block = rng.random((size, columns))
        block[rng.random((size, columns)) < 0.2] = np.nan
        for low in range(0, size, 7):
            writer.add(block[low : low + 7])
        writer.close()
        blocks.append(block)
        paths.append(path)
    return RowPieces.of_files(paths), np.concatenate(blocks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.data())
def test_rows_and_columns_are_those_of_one_array(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    pieces, whole = _written(tmp_path_factory.mktemp("pieces"), sizes, 4)
    assert pieces.shape == whole.shape
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, max(0, len(whole) - 1)), max_size=len(whole)))), np.int64)
    columns = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True))
    some, expected = pieces.picked(rows).of_columns(columns), whole[rows][:, columns]
    assert some.shape == expected.shape
    assert np.concatenate([expected[:0], *some.chunks(5)]).tobytes() == expected.tobytes()
    assert some.take(1, 4).tobytes() == expected[1:4].tobytes()
    assert some.column(0).tobytes() == expected[:, 0].tobytes()
    if len(rows):
        order = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)), dtype=np.int64)
        assert some.at(order).tobytes() == expected[order].tobytes()
        again = some.picked(np.arange(0, len(rows), 2))
        assert again.take(0, 99).tobytes() == expected[::2].tobytes()


def test_rows_are_chosen_forward(tmp_path: Path) -> None:
    pieces, _whole = _written(tmp_path, [10], 2)
    for rows in ([3, 2], [1, 1], [10], [-1]):
        with pytest.raises(ValueError, match="rising"):
            pieces.picked(np.array(rows, dtype=np.int64))


def test_more_than_may_be_written_is_refused(tmp_path: Path) -> None:
    writer = PieceWriter(tmp_path / "a.npy", 2, 100)
    writer.add(np.zeros((6, 2)))
    with pytest.raises(UsageError, match="more than the 100 bytes"):
        writer.add(np.zeros((1, 2)))
    writer.close()
    assert RowPieces.of_files([tmp_path / "a.npy"]).shape == (6, 2)


def test_a_disk_that_is_full_is_said_so() -> None:
    writer = PieceWriter(Path("/dev/full"), 4000, 1 << 30)
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left"):
        writer.add(np.zeros((100, 4000)))


@pytest.mark.parametrize("content", [b"", b"nonsense", np.lib.format.magic(1, 0) + b"\xff\xff"])
def test_what_is_no_piece_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ModelError, match="no piece of rows"):
        RowPieces.of_files([tmp_path / "a.npy"])
    np.save(tmp_path / "b.npy", np.zeros((3, 3), dtype=np.float32))
    with pytest.raises(ModelError, match="no piece of rows"):
        RowPieces.of_files([tmp_path / "b.npy"])


@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "longer"]), max_size=9), min_size=1, max_size=4))
def test_coded_texts_are_the_texts(parts: list[list[str]]) -> None:
    coded = [Coded.of(np.array(part, dtype=np.str_)) for part in parts]
    whole = [text for part in parts for text in part]
    joined = Coded.joined(coded)
    assert joined.texts().tolist() == whole
    assert joined.where("a").tolist() == [text == "a" for text in whole]
    assert joined.picked(np.arange(0, len(whole), 2)).texts().tolist() == whole[::2]
