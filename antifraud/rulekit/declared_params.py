"""The parameters that rules declare, read without compiling a rule: enough to check what a region sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from antifraud.domain import Problem
from antifraud.rulekit import form
from antifraud.rulekit import rule as rule_files
from antifraud.rulekit.documents import MapNode, parse_sheet, read_sheet
from antifraud.rulekit.form import Value


class DeclaredParams(msgspec.Struct, frozen=True):
    """Rule id → parameter → declared value, and what hindered reading them.

    Every rule of the directory has a key; only those that were asked for have their parameters.
    """

    by_rule: Mapping[str, Mapping[str, Value]]
    problems: tuple[Problem, ...]


def read_declared_params(rules_dir: Path, wanted: Collection[str]) -> DeclaredParams:
    """The parameters of the rules ``wanted`` in ``rules_dir``; no file of another rule is opened.

    A rule is named after its file, so the names of all cost nothing but a look at the folders. A file that cannot be
    read is a problem, since its parameters are then unknown; whether the rest of a rule is right is not asked.
    """
    found: dict[str, Mapping[str, Value]] = {}
    problems: list[Problem] = []
    for path in sorted(rules_dir.glob("packs/*/*.yaml"), key=lambda path: (path.parent.name, path.name)):
        if path.name.startswith(".") or path.parent.name.startswith(".") or path.stem in found:
            continue
        found[path.stem] = {}
        if path.stem not in wanted:
            continue
        sheet, _raw = read_sheet(path, limit=rule_files.MAX_BYTES)
        root = parse_sheet(sheet, max_nodes=rule_files.MAX_NODES)
        entry = root.entries.get("params") if isinstance(root, MapNode) else None
        nodes = form.mapping(sheet, entry[1], "params") if entry is not None else None
        values = {name: form.value(sheet, node, f"params.{name}") for name, (_key, node) in (nodes or {}).items()}
        found[path.stem] = {name: value for name, value in values.items() if value is not None}
        problems.extend(sheet.problems)
    return DeclaredParams(found, tuple(problems))
