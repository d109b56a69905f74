"""YAML files that people wrote, read with positions and bounds: text in, nodes and problems out.

Nothing is constructed: a scalar stays the text that stands in the file, so that ``+77001234567``, ``0800`` and ``no``
never become something else on the way. Anchors, aliases and tags are refused, depth and size are bounded, and the
reader works on parser events without recursion, so a hostile file costs no more than its bounds.
"""

from __future__ import annotations

import bisect
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import yaml

from antifraud.domain import BundleError, Location
from antifraud.rulekit.messages import Message, RuleProblem, shorten

MAX_DEPTH: Final = 10
MAX_PROBLEMS_A_FILE: Final = 50

# Also what changes the direction of writing or has no width: a reader would see another text than the engine.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_ODD_SPACES: Final = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ODD_INDENT: Final = re.compile(rf"^ *[{_ODD_SPACES}]", re.MULTILINE)
_ODD_SPACE: Final = re.compile(rf"^ *(?:- *)*(?:[^\s:'\"#]+:)?([{_ODD_SPACES}])")
_TAB_INDENT: Final = re.compile(r"^ *\t", re.MULTILINE)
_BEGUN: Final = re.compile(r" *(?:- +)?(?P<key>[A-Za-z_]+): +(?P<value>[\[{\"'].*)")
_JOINED_KEY: Final = re.compile(r" *(?:- +)?([a-z_]+):([^ :/][^:]*)\Z")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_COLUMN: Final = 10_000


class Node(msgspec.Struct, frozen=True):
    """Something in a YAML file; ``line`` and ``column`` count from 1."""

    line: int
    column: int


class Scalar(Node, frozen=True):
    """A text as it stands in the file; ``style`` is "" (plain), a quote, ``|`` or ``>``."""

    value: str
    style: str = ""

    @property
    def plain(self) -> bool:
        """Whether it stands without quotes, so that YAML gives some texts a meaning of their own."""
        return self.style == ""

    @property
    def width(self) -> int:
        """How many characters a caret line marks."""
        first = self.value.split("\n", 1)[0]
        return max(1, len(first) + (2 if self.style in ("'", '"') else 0)) if self.style not in ("|", ">") else 1


class ListNode(Node, frozen=True):
    """A list."""

    items: tuple[Node, ...]


class MapNode(Node, frozen=True):
    """Keys with values, in the order of the file."""

    entries: dict[str, tuple[Scalar, Node]]


class Sheet:
    """One file: its name as shown to people, its lines, and what was found wrong in it."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.text = text
        self.lines: Sequence[str] = text.split("\n")
        self.problems: list[RuleProblem] = []

    def line(self, number: int) -> str:
        """Line ``number`` (from 1); empty beyond the file."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def add(
        self, message: Message, line: int = 0, column: int = 0, width: int = 1, /, *, hint: str = "", **values: object
    ) -> None:
        """Note a problem; ``hint`` takes the place of the message's own."""
        if len(self.problems) >= MAX_PROBLEMS_A_FILE:
            return
        shown = {name: shorten(value) if isinstance(value, str) else value for name, value in values.items()}
        source = self.line(line) if column <= _MAX_COLUMN else ""
        self.problems.append(
            RuleProblem(
                message.sentence.format(**shown),
                Location(self.name, line, column),
                hint or message.hint.format(**shown),
                source,
                width,
                code=message.code,
            )
        )

    def at(self, node: Node, message: Message, /, *, hint: str = "", **values: object) -> None:
        """Note a problem at ``node``."""
        width = node.width if isinstance(node, Scalar) else 1
        self.add(message, node.line, node.column, width, hint=hint, **values)

    def sorted_problems(self) -> list[RuleProblem]:
        """The problems in the order of the file."""
        return sorted(self.problems, key=lambda p: (p.where.line, p.where.column) if p.where is not None else (0, 0))


class Excerpt:
    """A text inside a sheet, such as a condition, whose own lines and columns lead back to the file's.

    ``origins`` holds, for each line of the text, where its first character stands; where the text does not stand
    in the file as it is (folded, escaped), every place leads to its beginning.
    """

    def __init__(self, sheet: Sheet, text: str, origins: Sequence[tuple[int, int]], *, exact: bool = True) -> None:
        self.sheet = sheet
        self.text = text
        self._origins = origins
        self._exact = exact
        self._starts = [0]
        for line in text.split("\n")[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)

    @classmethod
    def of(cls, sheet: Sheet, node: Scalar) -> Excerpt:
        """The text of ``node`` with the places of its lines."""
        lines = node.value.split("\n")
        if node.style == "|":
            origins = []
            for number, line in enumerate(lines, node.line + 1):
                raw = sheet.line(number)
                if line and not raw.endswith(line):
                    return cls(sheet, node.value, [(node.line, node.column)], exact=False)
                origins.append((number, len(raw) - len(line) + 1))
            return cls(sheet, node.value, origins)
        column = node.column + (1 if node.style in ("'", '"') else 0)
        here = sheet.line(node.line)[column - 1 :]
        exact = len(lines) == 1 and here.startswith(node.value)
        return cls(sheet, node.value, [(node.line, column if exact else node.column)], exact=exact)

    def place(self, offset: int) -> tuple[int, int]:
        """The file's line and column of the character at ``offset``."""
        if not self._exact:
            return self._origins[0]
        row = bisect.bisect_right(self._starts, offset) - 1
        line, column = self._origins[row]
        return line, column + offset - self._starts[row]

    def offset(self, row: int, column: int) -> int:
        """The offset of the text's own row and column, both from 0."""
        return self._starts[min(row, len(self._starts) - 1)] + column

    def at(self, start: int, end: int, message: Message, /, *, hint: str = "", **values: object) -> None:
        """Note a problem at the characters from ``start`` to ``end``."""
        line, column = self.place(start)
        stop = self.text.find("\n", start)
        width = min(end, stop if stop >= 0 else end) - start if self._exact else 1
        self.sheet.add(message, line, column, max(1, width), hint=hint, **values)


def raise_problems(sheets: Sequence[Sheet]) -> None:
    """BundleError with every problem of every sheet, if there is any."""
    problems = [problem for sheet in sheets for problem in sheet.sorted_problems()]
    if problems:
        raise BundleError.of(problems)


def open_file(path: Path) -> BinaryIO:
    """The file, opened for reading. OSError when it cannot be, also when it is something else than a file.

    A pipe that nobody writes into would be waited for without end, a device may have no end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        reason = "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file"
        raise OSError(errno.EINVAL, reason)
    return os.fdopen(handle, "rb")


def read_sheet(path: Path, *, limit: int, name: str = "") -> tuple[Sheet, bytes]:
    """The file as a sheet and its bytes; what hinders reading it is noted in the sheet, whose text is then empty."""
    sheet = Sheet(name or str(path))
    try:
        with open_file(path) as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        sheet.add(Message.FILE_UNREADABLE, reason=error.strerror or type(error).__name__)
        return sheet, b""
    if len(raw) > limit:
        sheet.add(Message.FILE_TOO_BIG, limit=limit)
        return sheet, b""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sheet.add(Message.FILE_NOT_UTF8, raw.count(b"\n", 0, error.start) + 1, offset=error.start + 1)
        return sheet, b""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    sheet.text, sheet.lines = text, text.split("\n")
    return sheet, raw


def parse_sheet(sheet: Sheet, *, max_nodes: int) -> Node | None:
    """The root node; None with the problem noted when there is none that can be used."""
    if sheet.problems:
        return None
    for pattern, message in (
        (_CONTROL, Message.CONTROL_CHARACTER),
        (_TAB_INDENT, Message.TAB_INDENT),
        (_ODD_INDENT, Message.ODD_SPACE),
    ):
        found = pattern.search(sheet.text)
        if found is not None:
            offset = found.end() - 1
            line = sheet.text.count("\n", 0, offset) + 1
            column = offset - (sheet.text.rfind("\n", 0, offset) + 1) + 1
            sheet.add(message, line, column, number=f"{ord(sheet.text[offset]):04X}")
            return None
    try:
        return _build(sheet, yaml.parse(sheet.text, Loader=_LOADER), max_nodes)
    except yaml.MarkedYAMLError as error:
        _syntax(sheet, error)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        sheet.add(Message.YAML_SYNTAX, reason=str(error) or type(error).__name__)
    return None


def _syntax(sheet: Sheet, error: yaml.MarkedYAMLError) -> None:
    """Note what the parser says, at the place where it is mended."""
    mark = error.problem_mark or error.context_mark
    reason = " ".join(part for part in (error.context, error.problem) if part) or "malformed"
    unclosed = "quoted scalar" in reason and "end of stream" in reason
    if unclosed or "expected ',' or" in reason or "simple key" in reason:
        mark = error.context_mark or mark
    places = [found.line + 1 for found in (error.context_mark, error.problem_mark) if found is not None]
    for number in (places[0] - 1, *places) if places else ():
        odd = _ODD_SPACE.match(sheet.line(number))
        if odd is not None:
            sheet.add(Message.ODD_SPACE, number, odd.start(1) + 1, number=f"{ord(odd.group(1)):04X}")
            return
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    hint = _value_hint(sheet, line, column) or _syntax_hint(reason)
    sheet.add(Message.YAML_SYNTAX, line, column, hint=hint, reason=reason)


def _value_hint(sheet: Sheet, line: int, column: int) -> str:
    """What to do about a value that begins with a sign of YAML and goes on behind it, as in ``reason: {a} called``."""
    text = sheet.line(line)
    found = _BEGUN.match(text)
    if found is None:
        joined = _JOINED_KEY.match(text)
        known = joined is not None and ":" not in text.replace(joined[0], "", 1)
        return f"put a space behind the colon: {joined[1]}: {joined[2]}" if joined is not None and known else ""
    if column <= found.start("value") + 1:
        return ""
    if found["key"] == "when":
        return "write `when: |` and the condition on the lines below it"
    closing = {"{": "}", "[": "]"}.get(found["value"][0], found["value"][0])
    ends = found["value"].find(closing, 1)
    behind = found["value"][ends + 1 :].split(" #")[0].strip()
    if closing == "'" and found["value"][ends + 1 : ends + 2].isalpha():
        return ""  # an apostrophe
    return "put the whole text in quotes, the ones in it of the other kind" if ends > 0 and behind else ""


def _syntax_hint(reason: str) -> str:
    if "mapping values are not allowed" in reason:
        return "put text that has a colon in quotes, or check the indentation of this line"
    if "escape" in reason:
        return "in double quotes a backslash begins an escape; write the text in single quotes to keep it as it is"
    if "quoted scalar" in reason:
        return "the quote that begins here is not closed"
    if "expected ',' or" in reason:
        return "the bracket that begins here is not closed, or a comma is missing in it"
    if "expected node content" in reason:
        return "a value is missing here, or a bracket that is opened further up is not closed"
    if "expected key" in reason:
        return "lines of one level begin at the same column; an apostrophe in single quotes is written twice"
    if "cannot start any token" in reason or "alias" in reason:
        return "put text that begins with this sign in quotes"
    return ""


class _Open:
    """A collection that is still being read."""

    __slots__ = ("entries", "items", "key", "mapping", "place")

    def __init__(self, mapping: bool, place: tuple[int, int]) -> None:
        self.mapping = mapping
        self.place = place
        self.items: list[Node] = []
        self.entries: dict[str, tuple[Scalar, Node]] = {}
        self.key: Node | None = None


def _build(sheet: Sheet, events: Iterator[Any], max_nodes: int) -> Node | None:
    stack: list[_Open] = []
    root: Node | None = None
    documents = count = 0
    for event in events:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            sheet.add(Message.YAML_ALIAS, line, column)
            return None
        if getattr(event, "tag", None):
            sheet.add(
                Message.YAML_TAG,
                line,
                column,
                len(str(event.tag)),
                tag=str(event.tag).replace("tag:yaml.org,2002:", "!!"),
            )
            return None
        node: Node | None = None
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                sheet.add(Message.YAML_DOCUMENTS, line, column, 3)
                return None
        elif isinstance(event, yaml.ScalarEvent):
            node = Scalar(line, column, event.value, event.style or "")
            hidden = _CONTROL.search(event.value) if event.style == '"' else None
            if hidden is not None:
                sheet.at(node, Message.HIDDEN_CHARACTER, number=f"{ord(hidden.group()):04X}")
                return None
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= MAX_DEPTH:
                sheet.add(Message.YAML_TOO_DEEP, line, column, limit=MAX_DEPTH)
                return None
            stack.append(_Open(isinstance(event, yaml.MappingStartEvent), (line, column)))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = stack.pop()
            node = MapNode(*done.place, done.entries) if done.mapping else ListNode(*done.place, tuple(done.items))
        if node is None:
            continue
        count += 1
        if count > max_nodes:
            sheet.add(Message.YAML_TOO_MUCH, line, column, limit=max_nodes)
            return None
        if not stack:
            root = node
        else:
            _attach(sheet, stack[-1], node)
    if root is None or (isinstance(root, Scalar) and not root.value):
        sheet.add(Message.FILE_EMPTY)
        return None
    return root


def _attach(sheet: Sheet, parent: _Open, node: Node) -> None:
    if not parent.mapping:
        parent.items.append(node)
        return
    if parent.key is None:
        parent.key = node
        return
    key, parent.key = parent.key, None
    if not isinstance(key, Scalar):
        sheet.at(key, Message.KEY_NOT_TEXT)
    elif key.value in parent.entries:
        sheet.at(key, Message.DUPLICATE_KEY, name=key.value, line=parent.entries[key.value][0].line)
    else:
        parent.entries[key.value] = (key, node)
