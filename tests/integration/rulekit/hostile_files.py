"""Files that nobody should write, put in the place of each file that people write; run under limits as a process.

``python -m tests.integration.rulekit.hostile_files DIRECTORY`` prints one JSON object a case: which file, what was
wrong with it, how many seconds reading took, and what a person is told. Memory and processor time are limited by
whoever runs it, so that a reader which does not hold its bounds dies here and not on the machine of an operator.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from antifraud.domain import AntifraudError, Location
from antifraud.features import load_windows
from antifraud.rulekit import Predicate, compile_where, load_fields, load_rules, read_window_names
from tests.unit.rulekit.workbench import CALENDAR, RULES, list_text, rule_text, vocabulary

PLACES: Final = {
    "rule": "packs/demo/sample.yaml",
    "list": "lists/sample.yaml",
    "windows": "windows.yaml",
    "fields": "fields.yaml",
    "calendar": "calendar.yaml",
}
SOUND: Final = {
    "rule": rule_text(),
    "list": list_text("sample", '["+77000000001"]'),
    "windows": (RULES / "windows.yaml").read_text(encoding="utf-8"),
    "fields": (RULES / "fields.yaml").read_text(encoding="utf-8"),
    "calendar": CALENDAR.format(holidays="\n  - {date: 2027-01-01, name: New Year}"),
}

Content = str | bytes
_BOMB: Final = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)

TEXTS: Final[dict[str, Callable[[str], Content]]] = {
    "empty": lambda _: "",
    "only a comment": lambda _: "# nothing\n",
    "a null byte": lambda sound: sound + "\x00\n",
    "UTF-16": lambda sound: sound.encode("utf-16"),
    "Latin-1": lambda sound: sound.encode() + b"# caf\xe9\n",
    "half a character": lambda sound: sound.encode() + b"more: \xed\xa0\x80\n",
    "a tab": lambda sound: sound + "more:\n\ta: b\n",
    "another space": lambda sound: sound + "more:\n\u00a0 a: b\n",
    "a hidden character": lambda sound: sound + "# \u202e\n",
    "a key twice": lambda sound: sound + next(line for line in sound.split("\n") if line and line[0] != "#") + "\n",
    "a bomb of anchors": lambda sound: _BOMB + sound,
    "an anchor": lambda sound: sound + "more: &here there\n",
    "an alias": lambda sound: sound + "more: *here\n",
    "a tag that runs": lambda sound: sound + 'more: !!python/object/apply:os.system ["touch ran"]\n',
    "a tag": lambda sound: sound + "more: !!int 3\n",
    "two documents": lambda sound: sound + "---\n" + sound,
    "a merge key": lambda sound: sound + "<<: {a: b}\n",
    "an unknown key": lambda sound: sound + "zzzz: 1\n",
    "a key that looks Latin": lambda sound: sound + "оwner: a\n",
    "a key that is a list": lambda sound: sound + "[a, b]: c\n",
    "no end of a quote": lambda sound: sound + 'more: "' + "a\n" * 5_000,
    "no end of a bracket": lambda sound: sound + "more: [" + "a,\n" * 5_000,
    "deep lists": lambda sound: sound + "more: " + "[" * 5_000 + "\n",
    "deep mappings": lambda sound: sound + "more: " + "{a: " * 5_000 + "\n",
    "deep blocks": lambda sound: sound + "more:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 300)),
    "deep hyphens": lambda sound: sound + "more:\n" + "- " * 10_000 + "a\n",
    "deep questions": lambda sound: sound + "? " * 10_000 + "a\n",
    "a number of 50,000 digits": lambda sound: sound + "more: " + "9" * 50_000 + "\n",
    "no number": lambda sound: sound + "more: [.nan, .inf, -.inf]\n",
    "numbers that are none": lambda sound: sound + "more: [0x1F, 0o17, 0800, 1_000, 12:30:45, +77001234567]\n",
    "very many values": lambda sound: sound + "more: [" + "a," * 250_000 + "]\n",
    "very many keys": lambda sound: sound + "more:\n" + "".join(f" k{number}: v\n" for number in range(40_000)),
    "a line of 900,000 characters": lambda sound: sound + "more: " + "x" * 900_000 + "\n",
    "a thousand colons": lambda sound: sound + "a" + ": a" * 1_000 + "\n",
    "nothing but brackets": lambda _: "[" * 60_000,
    "nothing but hyphens": lambda _: "- " * 30_000,
    "binary": lambda _: bytes(range(256)) * 100,
    "carriage returns": lambda sound: sound.replace("\n", "\r\n") + "zzzz: 1\r\n",
    "a byte order mark": lambda sound: "\ufeff" + sound + "zzzz: 1\n",
}


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


def _loop(path: Path) -> None:
    other = path.with_name("other.txt")
    other.unlink(missing_ok=True)
    other.symlink_to(path.name)
    path.symlink_to(other.name)


THINGS: Final[dict[str, Callable[[Path], object]]] = {
    "100 MB": _sparse,
    "a folder": Path.mkdir,
    "a link to itself": _loop,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a file that fails while it is read": lambda path: path.symlink_to("/proc/self/mem"),
    "a file of somebody else": lambda path: path.touch(0o000),
}


def read(kind: str, folder: Path) -> None:
    """Read what the engine and the commands read; AntifraudError with what is wrong."""
    fields, windows, order = vocabulary()

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, tuple(fields), on)

    if kind == "windows":
        load_windows(folder / PLACES[kind], where)
        read_window_names(folder / PLACES[kind])
    elif kind == "fields":
        load_fields(folder / PLACES[kind])
    else:
        load_rules(folder, fields=fields, windows=windows, order=order)


def main() -> None:
    """Every case for every kind of file."""
    folder = Path(sys.argv[1])
    os.chdir(folder)
    for kind in PLACES:
        for case in (*TEXTS, *THINGS):
            base = Path(kind)
            shutil.rmtree(base, ignore_errors=True)
            for other, text in SOUND.items():
                path = base / PLACES[other]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            path = base / PLACES[kind]
            path.unlink()
            if case in TEXTS:
                content = TEXTS[case](SOUND[kind])
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            else:
                THINGS[case](path)
            begin = time.perf_counter()
            told = ""
            try:
                read(kind, base)
            except AntifraudError as error:
                told = error.render()
            seconds = time.perf_counter() - begin
            print(json.dumps({"kind": kind, "case": case, "seconds": seconds, "told": told}), flush=True)


if __name__ == "__main__":
    main()
