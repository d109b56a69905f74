"""The names of the windows in rules/windows.yaml and of those that rules declare for themselves, and nothing else of
them: what the rule commands need to check rules.

What a window means is read where windows are folded; here a rule only has to know that it exists.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from antifraud.rulekit import form
from antifraud.rulekit import rule as rule_files
from antifraud.rulekit.checker import FUNCTIONS
from antifraud.rulekit.documents import ListNode, MapNode, Node, Scalar, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.messages import Message

_MAX_BYTES: Final = 1024 * 1024
_MAX_NODES: Final = 50_000
_MAY_DECLARE: Final = re.compile(rb"\bkind[\"']?\s*:")


def taken_names(fields: Iterable[str]) -> dict[str, str]:
    """Names that no window may have, because a rule that says them means something else: name → what that is."""
    words = dict.fromkeys(
        (*keyword.kwlist, *keyword.softkwlist, "true", "false", "null", "none"), "a word of the language"
    )
    functions = dict.fromkeys(FUNCTIONS, "a function of the language")
    parts = {"params": "what the parameters of a rule are called by", "lists": "what lists are called by"}
    return {
        **words,
        **functions,
        **parts,
        "score": "the model's score",
        **dict.fromkeys(fields, "a field or fact of a call"),
    }


def read_window_names(path: Path) -> tuple[str, ...]:
    """The names in the order of the file; BundleError when they cannot be read."""
    return tuple(read_window_kinds(path))


def read_window_kinds(path: Path) -> dict[str, str]:
    """Names → kinds, in the order of the file; a kind is empty where none can be read. BundleError as above.

    Accepted are a mapping of names, or a list of mappings with a ``name``, at the top or under ``windows``.
    """
    sheet, _raw = read_sheet(path, limit=_MAX_BYTES)
    root: Node | None = parse_sheet(sheet, max_nodes=_MAX_NODES)
    if isinstance(root, MapNode) and "windows" in root.entries:
        root = root.entries["windows"][1]
    kinds: dict[str, str] = {}
    if isinstance(root, MapNode):
        kinds = {name: _kind(node) for name, (_key, node) in root.entries.items()}
    elif isinstance(root, ListNode):
        for item in root.items:
            entry = item.entries.get("name") if isinstance(item, MapNode) else None
            if entry is None or not isinstance(entry[1], Scalar):
                sheet.at(item, Message.MISSING_KEY, what="a window", name="name")
                continue
            found = form.name(sheet, entry[1], "a window")
            if found is not None:
                kinds.setdefault(found, _kind(item))
    elif root is not None:
        sheet.at(root, Message.NOT_A_MAPPING, what="windows")
    raise_problems([sheet])
    return kinds


def _kind(node: Node) -> str:
    entry = node.entries.get("kind") if isinstance(node, MapNode) else None
    return entry[1].value.strip() if entry is not None and isinstance(entry[1], Scalar) else ""


class OwnWindows(msgspec.Struct, frozen=True):
    """A rule file that declares windows of its own: whose, at which stage, the file's name and text, their names and
    kinds.
    """

    rule: str
    stage: str
    file: str
    text: str
    names: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether the rule is evaluated."""
        return any(self.stage == stage.value for stage in rule_files.LIVE)

    @property
    def scoped(self) -> tuple[str, ...]:
        """The names by which everybody else knows them: ``rule.window``."""
        return tuple(f"{self.rule}.{name}" for name in self.names)


def read_own_windows(rules_dir: Path) -> tuple[OwnWindows, ...]:
    """The rules of ``rules_dir`` that declare windows of their own, in the order in which rules are read.

    A file that cannot be read is passed over: whoever reads the rules says what is wrong with it. Files that cannot
    have a declaration are not parsed, so that this costs little where few have.
    """
    found: dict[str, OwnWindows] = {}
    for path in sorted(rules_dir.glob("packs/*/*.yaml"), key=lambda path: (path.parent.name, path.name)):
        if path.name.startswith(".") or path.parent.name.startswith("."):
            continue
        sheet, raw = read_sheet(path, limit=rule_files.MAX_BYTES)
        if b"windows" not in raw or not _MAY_DECLARE.search(raw):
            continue
        root = parse_sheet(sheet, max_nodes=rule_files.MAX_NODES)
        windows = tuple(rule_files.own_windows(root)) if root is not None else ()
        if windows and path.stem not in found:
            names, kinds = tuple(name for name, _node in windows), tuple(_kind(node) for _name, node in windows)
            found[path.stem] = OwnWindows(path.stem, _stage(root), sheet.name, sheet.text, names, kinds)
    return tuple(found.values())


def _stage(root: Node | None) -> str:
    rollout = root.entries.get("rollout") if isinstance(root, MapNode) else None
    stage = rollout[1].entries.get("stage") if rollout is not None and isinstance(rollout[1], MapNode) else None
    return stage[1].value if stage is not None and isinstance(stage[1], Scalar) else ""
