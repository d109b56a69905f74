"""rules/lists/ as a whole: every list of it, with digests that say whether its files are the same as before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from antifraud.rulekit import entries_file, passed_over
from antifraud.rulekit import lists as list_files
from antifraud.rulekit.documents import Sheet, raise_problems, read_sheet
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.messages import Message
from antifraud.rulekit.sorted_entries import Gathering
from antifraud.rulekit.texts import LocalText

MAX_FILES: Final = 10_000
_BLOCK: Final = 1 << 20


class ListStamp(msgspec.Struct, frozen=True):
    """Digests of what a list was read from: of the list file alone, and with the CSV file beside it.

    Equal ``whole``, equal list. Empty: not known.
    """

    own: str = ""
    whole: str = ""


class KnownList(msgspec.Struct, frozen=True):
    """A list that somebody holds already: what compiling rules needs of it, and digests of its files."""

    name: str
    kind: str
    protects: tuple[str, ...]
    title: LocalText
    entries_file: str
    """The name of the CSV file beside it, or nothing."""
    stamp: ListStamp

    @classmethod
    def of(cls, item: ListFile, stamp: ListStamp) -> KnownList:
        """What there is to know of ``item``."""
        beside = item.entries_file.name if item.entries_file is not None else ""
        return cls(item.name, item.kind, item.protects, item.title, beside, stamp)

    def without_entries(self, sheet: Sheet, folder: Path) -> ListFile:
        """The list with nothing in it."""
        columns, _twice = Gathering(self.kind).sorted()
        beside = folder / self.entries_file if self.entries_file else None
        return ListFile(self.name, self.kind, self.protects, "", "", self.title, columns, sheet, entries_file=beside)


def load_lists(rules_dir: Path) -> dict[str, ListFile]:
    """The lists of ``rules_dir`` by name, without any rule; BundleError carries every problem of every file."""
    sheets: list[Sheet] = []
    lists, _stamps = read_lists(rules_dir / "lists", sheets)
    raise_problems(sheets)
    return lists


def read_lists(
    folder: Path, sheets: list[Sheet], known: Mapping[str, KnownList] = {}
) -> tuple[dict[str, ListFile], dict[str, ListStamp]]:
    """The lists of ``folder`` and their stamps, both by name; what is wrong is noted in ``sheets``.

    Lists that are ``known``, and whose files have the same stamp, come without their entries.
    """
    lists: dict[str, ListFile] = {}
    stamps: dict[str, ListStamp] = {}
    named: set[str] = set()
    for path in yaml_files(folder, sheets):
        sheet, raw = read_sheet(path, limit=list_files.MAX_BYTES)
        sheets.append(sheet)
        digest = hashlib.blake2b(os.fsencode(path.name) + b"\0" + raw, digest_size=16)
        own = digest.hexdigest()
        same = known.get(path.stem)
        found: ListFile | None
        if same is not None and same.stamp == _stamp(own, digest.copy(), folder, same.entries_file):
            found, stamp = same.without_entries(sheet, folder), same.stamp
        else:
            found = list_files.read_list(sheet, path.stem, folder, digest, sheets)
            stamp = ListStamp(own, digest.hexdigest())
        if found is not None:
            lists[found.name], stamps[found.name] = found, stamp
            if found.entries_file is not None:
                named.add(found.entries_file.name)
    if not any(sheet.problems for sheet in sheets) and folder.is_dir():
        # Not while a list cannot be read: it may be the one that names the file.
        for path in sorted(folder.iterdir(), key=lambda path: path.name):
            if path.suffix.lower() == ".csv" and path.name not in named and not path.name.startswith("."):
                sheet = Sheet(str(path))
                sheet.add(Message.ENTRIES_FILE_UNUSED, file=path.name)
                sheets.append(sheet)
    return lists, stamps


def _stamp(own: str, digest: hashlib.blake2b, folder: Path, beside: str) -> ListStamp | None:
    """The stamp of a list and of the CSV file beside it as they are now; None for a file that cannot be read."""
    try:
        if beside:
            left = entries_file.MAX_BYTES
            with (folder / beside).open("rb") as stream:
                while left >= 0 and (block := stream.read(_BLOCK)):
                    digest.update(block)
                    left -= len(block)
    except OSError:
        return None
    return ListStamp(own, digest.hexdigest())


def yaml_files(folder: Path, sheets: list[Sheet]) -> list[Path]:
    """The .yaml files of a folder in the order of their names; files that would be passed over silently are noted."""
    if not folder.is_dir():
        return []
    files = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if passed_over.hidden(path.name):
            continue
        if path.suffix == ".yaml":
            files.append(path)
        elif passed_over.meant_as_yaml(path.name) and not path.is_dir():
            sheets.append(passed_over.wrong_suffix(path))
    sheets += passed_over.below(folder)
    if len(files) > MAX_FILES:
        sheet = Sheet(str(folder))
        sheet.add(Message.TOO_MANY, what="this folder", limit=MAX_FILES)
        sheets.append(sheet)
        return []
    return files
