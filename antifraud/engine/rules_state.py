"""Whether anything in a rules directory has changed, without reading its files, and when it has come to rest.

Names, sizes, times and inode numbers are compared: looking costs some microseconds a file and works on every kind of
file system, in containers and over the network, where notifications of the kernel do not arrive.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_FOLDERS: Final = ("", "lists", "packs")
_SUFFIXES: Final = (".yaml", ".yml", ".csv")
_MOST: Final = 100_000


class RulesState(msgspec.Struct, frozen=True):
    """What the files of a rules directory looked like: equal states, same files."""

    digest: str = ""


UNKNOWN: Final = RulesState()
"""The state of no directory."""


def rules_state(rules_dir: Path) -> RulesState:
    """The state of ``rules_dir``: of everything that a bundle is read from, and of files that hinder it.

    What editors and copying programs put beside a file while they write it (names that begin with a dot or end in ~,
    other suffixes) does not count. A directory that cannot be read has a state of its own.
    """
    digest = hashlib.blake2b(digest_size=16)
    for count, line in enumerate(_files(rules_dir)):
        if count == _MOST:
            break
        digest.update(line.encode("utf-8", "surrogateescape"))
    return RulesState(digest.hexdigest())


def _files(rules_dir: Path) -> Iterator[str]:
    """One line for each file that counts, in order."""
    for folder in _FOLDERS:
        for entry in _entries(rules_dir / folder):
            if folder == "packs" and _is_folder(entry):
                yield f"{folder}/{entry.name}/\n"
                for inner in _entries(Path(entry.path)):
                    yield from _line(f"{folder}/{entry.name}", inner)
            else:
                yield from _line(folder, entry)


def _line(folder: str, entry: os.DirEntry[str]) -> Iterator[str]:
    if not entry.name.lower().endswith(_SUFFIXES):
        return
    try:
        found = entry.stat()
    except OSError as error:
        yield f"{folder}/{entry.name} {error.errno}\n"
    else:
        times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
        yield f"{folder}/{entry.name} {found.st_ino} {found.st_size} {times}\n"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and not entry.name.endswith("~")]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class RulesWatch:
    """Says when a rules directory has changed and come to rest since the state that was ``taken`` last."""

    def __init__(self, rules_dir: Path, taken: RulesState) -> None:
        self._rules_dir = rules_dir
        self._last = self._taken = taken

    def look(self) -> bool:
        """Whether something has changed that was not taken yet, and nothing since the last look.

        So a file that is still being written, and a folder into which files are still being copied, is left alone.
        True is said once for each state.
        """
        found = rules_state(self._rules_dir)
        resting = found == self._last
        self._last = found
        if not resting or found == self._taken:
            return False
        self._taken = found
        return True

    def take(self, state: RulesState) -> None:
        """What was read meanwhile, whoever asked for it; ``UNKNOWN`` when nothing was.

        What could not be read at all is not tried again and again: only another change is news.
        """
        if state != UNKNOWN:
            self._taken = state

    def is_current(self) -> bool:
        """Whether the files are those that were taken last."""
        return rules_state(self._rules_dir) == self._taken
