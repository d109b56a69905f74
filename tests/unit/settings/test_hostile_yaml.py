"""YAML that means harm or is no YAML at all: refused in bounded time, at its place, never with another exception."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import ConfigError
from antifraud.settings.tree import MAX_BYTES, MAX_DEPTH, read_file, read_text, scalar


def message(raw: bytes, tmp_path: Path) -> str:
    path = tmp_path / "x.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_file(path, "x.yaml")
    return caught.value.render()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: " + b"[" * 100_000, f"x.yaml:1:{4 + MAX_DEPTH - 1}: nested more than {MAX_DEPTH} deep"),
        (b"{a: " * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b"- " * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b"- x\n" * 30_000, "x.yaml:20000:3: more than 20000 values are no configuration"),
        (b"a: " + b"x" * 20_000, "x.yaml:1:4: a text of 20000 characters is no setting, at most 8192"),
        (b"a: b\n" * (MAX_BYTES // 5 + 1), "x.yaml: more than 512 KiB is no configuration"),
        (b"a: &x [1]\nb: [*x, *x]\n", "x.yaml:1:4: anchor &x is not understood here"),
        (b"a: *x\n", "x.yaml:1:4: alias *x is not understood here"),
        (b"a: \xff\n", "x.yaml:1:4: byte 0xff is not UTF-8"),
        ("имя: ы".encode("koi8-r"), "is not UTF-8"),
        (b"a: b\x07\n", "x.yaml:1:5: character U+0007 may not stand in YAML"),
        (b"\x00" * 50, "character U+0000 may not stand in YAML"),
        (b"%YAML 9.9\n---\na: b\n", "not YAML"),
        (b"? [a, b]\n: c\n", "x.yaml:1:3: a list cannot be a key"),
        (b": a\n", "x.yaml:1:1: not YAML"),
        (b"? \n: a\n", "x.yaml:1:2: a key is missing before the colon"),
        (b"a: 'b\n", "not YAML"),
        (b"a: b: c\n", "x.yaml:1:5: not YAML"),
        (b"!!set {a, b}\n", "tag !!set is not understood here"),
        (b"a: 1\na: 2\na: 3\n", "x.yaml:2:1: a stands here a second time"),
    ],
)
def test_refused_at_its_place(raw: bytes, expected: str, tmp_path: Path) -> None:
    assert expected in message(raw, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.yaml: cannot be read: No such file"):
        read_file(tmp_path / "no.yaml", "no.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_file(tmp_path, "dir.yaml")


def test_a_byte_order_mark_and_an_empty_file_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("\ufeffa: б\n".encode())
    assert read_file(path, "x").plain() == {"a": "б"}
    path.write_bytes(b"# nothing\n")
    assert read_file(path, "x").plain() == {}


def test_columns_count_characters_not_bytes() -> None:
    node = read_text('имя: {ы: "знач"}\n', "x").at(("имя", "ы"))
    assert node is not None
    assert (node.line, node.column, node.width) == (1, 10, 6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"), ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("null", None), ("~", None),
        ("", None), ("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("1_000", "1_000"), ("12:30", "12:30"),
        ("0x1f", "0x1f"), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), (".", "."), (".nan", ".nan"),
        ("9" * 30, 1e30), ("2025-11-18", "2025-11-18"), ("+77000000001", 77000000001), ("=", "="),
    ],
)  # fmt: skip
def test_what_plain_scalars_mean(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
