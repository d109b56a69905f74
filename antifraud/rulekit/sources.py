"""The files behind loaded rules: where in them a key stands, and an edit that touches one place and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from antifraud.domain import BundleError
from antifraud.rulekit import rule as rule_files
from antifraud.rulekit.documents import ListNode, MapNode, Node, Scalar, Sheet, parse_sheet, read_sheet
from antifraud.rulekit.rule import Rule


class RuleSource:
    """The file of one rule as text and nodes."""

    def __init__(self, sheet: Sheet, root: MapNode) -> None:
        self.sheet = sheet
        self.root = root

    @classmethod
    def parse(cls, name: str, text: str) -> RuleSource:
        """The rule of a text; BundleError with what is wrong."""
        sheet = Sheet(name, text)
        root = parse_sheet(sheet, max_nodes=rule_files.MAX_NODES)
        if sheet.problems or not isinstance(root, MapNode):
            raise BundleError.of(sheet.sorted_problems())
        return cls(sheet, root)

    def entry(self, *path: str) -> tuple[Scalar, Node] | None:
        """The key and the value at a path of keys."""
        node: Node = self.root
        found: tuple[Scalar, Node] | None = None
        for name in path:
            if not isinstance(node, MapNode) or name not in node.entries:
                return None
            found = node.entries[name]
            node = found[1]
        return found

    def node(self, *path: str) -> Node:
        """The value at a path of keys; the nearest above it that exists."""
        while path:
            found = self.entry(*path)
            if found is not None:
                return found[1]
            path = path[:-1]
        return self.root

    def text(self, *path: str) -> str:
        """The text at a path of keys, empty where there is none."""
        node = self.node(*path) if self.entry(*path) is not None else None
        return node.value if isinstance(node, Scalar) else ""

    def own_windows(self) -> dict[str, MapNode]:
        """The windows that the rule declares for itself, by name, each with its declaration."""
        return dict(rule_files.own_windows(self.root))

    def exceptions(self) -> list[dict[str, Scalar]]:
        """The exceptions in their order, each with the texts of its keys."""
        node = self.node("unless") if self.entry("unless") is not None else None
        items = node.items if isinstance(node, ListNode) else ()
        return [
            {key: value for key, (_, value) in item.entries.items() if isinstance(value, Scalar)}
            for item in items
            if isinstance(item, MapNode)
        ]


def said(node: Node) -> str:
    """What a node says, in one line and one form, without descriptions (``doc``)."""
    if isinstance(node, MapNode):
        parts = [f"{key}: {said(value)}" for key, (_, value) in sorted(node.entries.items()) if key != "doc"]
        return f"{{{', '.join(parts)}}}"
    if isinstance(node, ListNode):
        return f"[{', '.join(said(item) for item in node.items)}]"
    return " ".join(node.value.split()) if isinstance(node, Scalar) else ""


Sources = Callable[[Rule], RuleSource]


class RuleSources:
    """The files of loaded rules, each read when it is first asked for."""

    def __init__(self) -> None:
        self._found: dict[str, RuleSource] = {}

    def __call__(self, rule: Rule) -> RuleSource:
        """The file of ``rule``; BundleError when it cannot be read any more."""
        name = rule.where.file
        if name not in self._found:
            sheet, _raw = read_sheet(Path(name), limit=rule_files.MAX_BYTES)
            root = parse_sheet(sheet, max_nodes=rule_files.MAX_NODES)
            if sheet.problems or not isinstance(root, MapNode):
                raise BundleError.of(sheet.sorted_problems())
            self._found[name] = RuleSource(sheet, root)
        return self._found[name]
