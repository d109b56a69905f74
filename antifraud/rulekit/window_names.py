"""The names of the windows in rules/windows.yaml, and nothing else of them: what the rule commands need to check rules.

What a window means is read where windows are folded; here a rule only has to know that it exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from antifraud.rulekit import form
from antifraud.rulekit.documents import ListNode, MapNode, Node, Scalar, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.messages import Message

_MAX_BYTES: Final = 1024 * 1024
_MAX_NODES: Final = 50_000


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
