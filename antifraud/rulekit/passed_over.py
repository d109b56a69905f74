"""Files that somebody meant to be rules, lists or a calendar, and that would not be loaded where or as they are called.

A rule that is silently not there protects nobody and stops nobody, so each of them is a problem of its own.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.messages import Message

MAX_DEPTH: Final = 8
MAX_SEEN: Final = 10_000
MAX_TOLD: Final = 50

_LEFT_OVER: Final = (".bak", ".orig", ".rej", ".swp", ".swo", ".tmp", ".part", ".old", ".new")
"""What editors, merges and downloads leave behind: nobody takes it for a rule."""
_ROOT_FILES: Final = ("calendar.yaml", "fields.yaml", "windows.yaml")
_ROOT_FOLDERS: Final = ("lists", "packs")


def meant_as_yaml(name: str) -> bool:
    """Whether a file of this name looks like YAML: ``a.yaml``, ``a.yml``, ``a.YAML``, ``a.yaml.txt``."""
    if hidden(name) or name.lower().endswith(_LEFT_OVER):
        return False
    return any(suffix in (".yaml", ".yml") for suffix in Path(name.lower()).suffixes[-2:])


def hidden(name: str) -> bool:
    """Whether nobody expects a file of this name to be read: hidden, or an editor's copy."""
    return name.startswith((".", "#")) or name.endswith("~")


def wrong_suffix(path: Path) -> Sheet:
    """The problem of a file that is called otherwise than files that are loaded."""
    sheet = Sheet(str(path))
    sheet.add(Message.FILE_SUFFIX, name=f"{stem(path.name)}.yaml")
    return sheet


def stem(name: str) -> str:
    """The name up to where YAML's own ending begins."""
    lower = name.lower()
    return name[: min(place for place in (lower.find(".yaml"), lower.find(".yml")) if place >= 0)]


def below(folder: Path) -> Iterator[Sheet]:
    """A problem for each YAML file in a folder inside ``folder``, a pack or the folder of lists.

    Bounded in depth and number; links deeper inside are not followed.
    """
    seen = told = 0
    called = f"packs/{folder.name}" if folder.parent.name == "packs" else folder.name
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not hidden(path.name)):
        for place, folders, files in os.walk(inner):
            depth = len(Path(place).relative_to(folder).parts)
            folders[:] = sorted(name for name in folders if not hidden(name)) if depth < MAX_DEPTH else []
            seen += len(files)
            for name in sorted(files):
                if told < MAX_TOLD and meant_as_yaml(name):
                    told += 1
                    sheet = Sheet(str(Path(place, name)))
                    sheet.add(Message.FILE_BELOW, folder=called, file=f"{stem(name)}.yaml")
                    yield sheet
            if seen > MAX_SEEN:
                return


def beside(rules_dir: Path) -> Iterator[Sheet]:
    """A problem for each file or folder of the directory itself that is called nearly as one that is loaded."""
    try:
        found = sorted(rules_dir.iterdir(), key=lambda path: path.name)
    except OSError:
        return  # said by whoever wants the packs
    for path in found:
        if hidden(path.name) or path.name in (*_ROOT_FILES, *_ROOT_FOLDERS):
            continue
        if path.is_dir():
            near = difflib.get_close_matches(path.name.lower(), _ROOT_FOLDERS, n=1, cutoff=0.8)
        elif meant_as_yaml(path.name):
            near = difflib.get_close_matches(f"{stem(path.name).lower()}.yaml", _ROOT_FILES, n=1, cutoff=0.9)
        else:
            near = []
        if near and not (rules_dir / near[0]).exists():
            sheet = Sheet(str(path))
            sheet.add(Message.NAME_NEARLY, name=path.name, meant=near[0])
            yield sheet
