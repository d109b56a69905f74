"""The names of the windows in rules/windows.yaml, and nothing else of them: what the rule commands need to check rules.

What a window means is read where windows are folded; here a rule only has to know that it exists.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from antifraud.rulekit import form
from antifraud.rulekit.checker import FUNCTIONS
from antifraud.rulekit.documents import ListNode, MapNode, Node, Scalar, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.messages import Message

_MAX_BYTES: Final = 1024 * 1024
_MAX_NODES: Final = 50_000


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
    """The names in the order of the file; BundleError when they cannot be read.

    Accepted are a mapping of names, or a list of mappings with a ``name``, at the top or under ``windows``.
    """
    sheet, _raw = read_sheet(path, limit=_MAX_BYTES)
    root: Node | None = parse_sheet(sheet, max_nodes=_MAX_NODES)
    if isinstance(root, MapNode) and "windows" in root.entries:
        root = root.entries["windows"][1]
    names: list[str] = []
    if isinstance(root, MapNode):
        names = list(root.entries)
    elif isinstance(root, ListNode):
        for item in root.items:
            entry = item.entries.get("name") if isinstance(item, MapNode) else None
            if entry is None or not isinstance(entry[1], Scalar):
                sheet.at(item, Message.MISSING_KEY, what="a window", name="name")
                continue
            found = form.name(sheet, entry[1], "a window")
            if found is not None:
                names.append(found)
    elif root is not None:
        sheet.at(root, Message.NOT_A_MAPPING, what="windows")
    raise_problems([sheet])
    return tuple(dict.fromkeys(names))
