"""Following a file: nothing is lost and nothing invented, whatever is done to the file meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_adapters.cdr import Position, Tail, load_position, save_position

OpenTail = Callable[..., Tail]


@pytest.fixture
def open_tail() -> Iterator[OpenTail]:
    """Tails that are closed at the end of the test."""
    made: list[Tail] = []

    def make(*arguments: Any, **options: Any) -> Tail:
        made.append(Tail(*arguments, **options))
        return made[-1]

    yield make
    for tail in made:
        tail.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Master.csv"


def lines(tail: Tail, polls: int = 12) -> list[bytes]:
    return [line for _ in range(polls) for line in tail.poll().lines]


def last_position(tail: Tail, polls: int = 12) -> Position:
    found = [chunk.position for chunk in (tail.poll() for _ in range(polls)) if chunk.position is not None]
    return found[-1]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_complete_lines_only(path: Path, open_tail: OpenTail) -> None:
    tail = open_tail(path)
    assert lines(tail) == []
    append(path, b"one\ntw")
    assert lines(tail) == [b"one"]
    append(path, b"o\r\nthree\n")
    assert lines(tail) == [b"two", b"three"]


def test_a_chunk_is_bounded(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"x\n" * 1000)
    tail = open_tail(path)
    assert [len(tail.poll(300).lines) for _ in range(5)] == [300, 300, 300, 100, 0]


def test_a_restart_goes_on_behind_what_was_kept(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\ntwo\n")
    position = last_position(open_tail(path))
    append(path, b"three\n")
    assert lines(open_tail(path, position)) == [b"three"]


def test_renamed_with_a_rest_and_a_last_line_without_end(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\n")
    tail = open_tail(path)
    assert lines(tail) == [b"one"]
    append(path, b"two\nlast")
    path.rename(path.with_name("Master.csv.1"))
    append(path, b"three\n")
    assert lines(tail) == [b"two", b"last", b"three"]


def test_a_writer_that_keeps_the_renamed_file_a_little_longer(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\n")
    tail = open_tail(path)
    lines(tail)
    path.rename(path.with_name("Master.csv.1"))
    append(path, b"new\n")
    assert tail.poll().lines == ()
    append(path.with_name("Master.csv.1"), b"late\n")
    assert lines(tail) == [b"late", b"new"]


def test_rotated_several_times_while_nobody_looked(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\ntwo\n")
    tail = open_tail(path)
    position = tail.poll(1).position
    tail.close()
    for number, text in ((2, b"three\n"), (1, b"four\n")):
        path.rename(path.with_name(f"Master.csv.{number}"))
        path.write_bytes(text)
    for age, name in enumerate(("Master.csv.2", "Master.csv.1", "Master.csv")):
        os.utime(path.with_name(name), (1_000_000 + age, 1_000_000 + age))
    assert lines(open_tail(path, position), 20) == [b"two", b"three", b"four"]


@pytest.mark.parametrize("running", [True, False])
def test_copied_and_emptied(path: Path, open_tail: OpenTail, running: bool) -> None:
    path.write_bytes(b"one\n")
    tail = open_tail(path)
    position = last_position(tail)
    append(path, b"two\n")
    path.with_name("Master.csv.1").write_bytes(path.read_bytes())
    path.write_bytes(b"and something much longer\n")
    found = lines(tail if running else open_tail(path, position))
    assert found == [b"two", b"and something much longer"]


def test_emptied_without_a_copy(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\ntwo\n")
    tail = open_tail(path)
    lines(tail)
    path.write_bytes(b"x\n")
    assert lines(tail) == [b"x"]
    assert (tail.restarts, tail.lost) == (1, 1)


def test_a_file_of_the_same_length_but_other_content(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\n")
    position = last_position(open_tail(path))
    path.write_bytes(b"two\n")
    tail = open_tail(path, position)
    assert lines(tail) == [b"two"]
    assert tail.lost == 1


def test_removed_and_made_anew(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"one\n")
    tail = open_tail(path)
    lines(tail)
    append(path, b"rest\n")
    path.unlink()
    assert lines(tail) == [b"rest"]
    path.write_bytes(b"two\n")
    assert lines(tail) == [b"two"]


def test_a_line_that_is_too_long_is_told_once(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"a\n" + b"x" * 900_000 + b"\nb\n" + b"y" * 70_000)
    tail = open_tail(path)
    found = lines(tail)
    assert [line[:1] for line in found] == [b"a", b"x", b"b", b"y"]
    assert max(map(len, found)) == 65_537
    append(path, b"y" * 70_000)
    position = last_position(tail)
    assert position.skipping
    append(path, b"\nc\n")
    assert lines(open_tail(path, position)) == [b"c"]


def test_a_header_is_no_record_and_is_known_after_a_restart(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"h1,h2\none\n")
    tail = open_tail(path, has_header=True)
    chunk = tail.poll()
    assert (chunk.header, chunk.lines) == (b"h1,h2", (b"one",))
    append(path, b"two\n")
    again = open_tail(path, chunk.position, has_header=True).poll()
    assert (again.header, again.lines) == (b"h1,h2", (b"two",))
    path.rename(path.with_name("Master.csv-20241123"))
    path.write_bytes(b"h9\nthree\n")
    chunks = [chunk for chunk in (tail.poll() for _ in range(12)) if chunk.lines]
    assert [(chunk.header, chunk.lines) for chunk in chunks] == [(b"h1,h2", (b"two",)), (b"h9", (b"three",))]


def test_starting_at_the_end(path: Path, open_tail: OpenTail) -> None:
    path.write_bytes(b"old\nhal")
    tail = open_tail(path, from_end=True)
    assert lines(tail) == []
    append(path, b"f\nnew\n")
    assert lines(tail) == [b"half", b"new"]


def test_every_cut_of_the_reading_gives_every_line_once(path: Path, open_tail: OpenTail) -> None:
    whole = [f"line {at}".encode() for at in range(50)]
    path.write_bytes(b"")
    seen: list[bytes] = []
    position: Position | None = None
    for at in range(0, 50, 5):
        append(path, b"".join(line + b"\n" for line in whole[at : at + 5]))
        tail = open_tail(path, position)
        chunk = tail.poll(3)
        seen += chunk.lines
        position = chunk.position or position
        tail.close()
        if at == 25:
            path.rename(path.with_name("Master.csv.1"))
    seen += lines(open_tail(path, position), 30)
    assert seen == whole


def test_the_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "p"
    position = Position(1, 2, 3, 4, "ab", skipping=True)
    assert load_position(path) is None
    save_position(path, position)
    assert load_position(path) == position
    assert [entry.name for entry in tmp_path.iterdir()] == ["p"]
    for damage in (b"", b"{", b'{"device": "x"}', b"\xff"):
        path.write_bytes(damage)
        assert load_position(path) is None
