"""The canonical form of rule and list files, as ``antifraud rules fmt`` writes it.

The order of keys, indentation, quotes, line breaks and the layout of conditions are always the same; what the file
says and its comments stay. The result is read again and compared with what was there before it is handed out, so a
file that cannot be brought into order without a loss is refused and not damaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import yaml

from antifraud.domain import BundleError, Location
from antifraud.rulekit import lists, rule, stream_form
from antifraud.rulekit.condition_layout import canonical_tokens, comments_of, layout_condition, tidy_comment
from antifraud.rulekit.documents import ListNode, MapNode, Node, Scalar, Sheet, parse_sheet
from antifraud.rulekit.findings import Finding
from antifraud.rulekit.lexer import MAX_LENGTH
from antifraud.rulekit.texts import LANGUAGES

WIDTH: Final = 120

_MAX_NODES: Final = 4 * lists.MAX_ENTRIES
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANY: Final = "*"

_Path = tuple[str, ...]

_ORDER: Final[dict[str, dict[_Path, tuple[str, ...]]]] = {
    "rule": {
        (): rule.KEYS,
        ("title",): LANGUAGES,
        ("why",): LANGUAGES,
        ("false_positives",): LANGUAGES,
        ("unless", _ANY): rule.UNLESS_KEYS,
        ("unless", _ANY, "why"): LANGUAGES,
        ("then",): rule.THEN_KEYS,
        ("then", "reason"): LANGUAGES,
        ("rollout",): rule.ROLLOUT_KEYS,
        ("tests", _ANY): rule.TEST_KEYS,
        ("tests", _ANY, "events", _ANY): stream_form.ENTRY_KEYS,
    },
    "list": {(): lists.KEYS, ("title",): LANGUAGES, ("entries", _ANY): lists.ENTRY_KEYS},
}
"""The order of keys by the place in the file; elsewhere it is the author's."""

_ON_ONE_LINE: Final[dict[str, tuple[_Path, ...]]] = {
    "rule": (
        ("tags",),
        ("params", _ANY),
        ("tests", _ANY, "given"),
        ("tests", _ANY, "params"),
        ("tests", _ANY, "each"),
        ("tests", _ANY, "events", _ANY),
    ),
    "list": (("entries", _ANY),),
}
"""What is written in brackets on one line where it goes."""

_CONDITION: Final[tuple[_Path, ...]] = (("when",), ("unless", _ANY, "when"))
_DATES: Final[tuple[_Path, ...]] = (("unless", _ANY, "until"), ("rollout", "review_by"), ("entries", _ANY, "until"))
_VALUES: Final = ("given", "params", "each", "events")
_TRUTHS: Final = {"True": "true", "False": "false"}
_NULLS: Final = ("", "~", "null", "Null", "NULL")

_WORDS_OF_YAML: Final = frozenset(
    spelling
    for word in ("true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", "=", "<<")
    for spelling in (word, word.capitalize(), word.upper())
)
_FIGURES: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9][0-9_]*\.?(?:[eE][-+]?[0-9]+)?\Z"
    r"|[-+]?0[xob][0-9a-fA-F_]+\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z"
    r"|\+?[0-9#][0-9_ ()#-]*\Z"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?\Z"
)
"""What YAML, or this product, would take for a number or a date where it stands without quotes."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_UNPRINTABLE: Final = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_SINGLE_SPACE: Final = re.compile(r"(?<! ) (?! )")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class _Comment(msgspec.Struct):
    """A comment, where it stands, and whether its line has nothing else and comes after an empty one."""

    start: int
    column: int
    text: str
    alone: bool
    spaced: bool


class _Value(msgspec.Struct):
    """A scalar or a collection with its place in the text."""

    start: int
    end: int
    text: str = ""
    style: str = ""
    kind: str = "scalar"
    flow: bool = False
    entries: list[_Entry] = []
    foot: list[str] = []
    """Comments behind the last entry."""


class _Entry(msgspec.Struct):
    """One key with its value, or one item, with what is said about it."""

    start: int
    column: int
    key: _Value | None
    value: _Value
    lead: list[str] = []
    """Comments on lines before it; "" is an empty line."""
    trail: str = ""
    spaced: bool = False


def layout_file(sheet: Sheet) -> str | None:
    """The file in canonical form; None with the problem noted in the sheet when it cannot be read or is neither a
    rule nor a list.
    """
    root = parse_sheet(sheet, max_nodes=_MAX_NODES)
    kind = _kind(root)
    if root is None or sheet.problems:
        return None
    if kind is None:
        sheet.problems.append(Finding.NEITHER_RULE_NOR_LIST.problem(Location(sheet.name, root.line, root.column)))
        return None
    text = _Writer(kind).write(*_tree(sheet.text))
    if not _same(sheet.text, text, root):
        sheet.problems.append(Finding.LAYOUT_UNSAFE.problem(Location(sheet.name)))
        return None
    return text


def _kind(root: Node | None) -> str | None:
    keys = root.entries if isinstance(root, MapNode) else {}
    return next((key for key in keys if key in _ORDER), None)


# Reading with comments


def _tree(text: str) -> tuple[_Value, list[str]]:
    """The root with every comment at its place, and the lines at the head of the file."""
    root, scalars = _values(text)
    comments = _comments(text, scalars)
    for entry in _entries(root):
        entry.spaced = _spaced(text, entry.start)
    head: list[str] = []
    if root.entries and not root.flow:
        # The first comments belong to the file when they are for editors or an empty line follows them.
        first = root.entries[0]
        above = [comment for comment in comments if comment.start < first.start]
        ends = [number for number, comment in enumerate(above) if comment.spaced]
        ends += [number + 1 for number, comment in enumerate(above) if _for_editors(comment.text)]
        last = max([0, *ends, *([len(above)] if first.spaced else [])])
        for comment in above[:last]:
            head += ["", comment.text] if comment.spaced and head else [comment.text]
        if head and (first.spaced or (last < len(above) and above[last].spaced)):
            head.append("")
        if last < len(above):
            above[last].spaced = False
        comments = comments[last:]
        first.spaced = False
    _Placer(root).place(comments)
    return root, head


def _for_editors(comment: str) -> bool:
    return "yaml-language-server" in comment or "-*-" in comment or "vim:" in comment


def _values(text: str) -> tuple[_Value, list[_Value]]:
    """The tree of the text and its scalars in order. The text has been read before and is known to be sound."""
    root: _Value | None = None
    scalars: list[_Value] = []
    stack: list[tuple[_Value, list[_Value]]] = []  # collections that are open, and a key that waits for its value
    for event in yaml.parse(text, Loader=_LOADER):
        start, end = _offsets(event)
        done: _Value | None = None
        if isinstance(event, yaml.ScalarEvent):
            done = _Value(start, end, event.value, event.style or "")
            scalars.append(done)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            stack.append((_Value(start, end, kind=kind, flow=bool(event.flow_style), entries=[], foot=[]), []))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = stack.pop()[0]
            done.end = end
        if done is None:
            continue
        if not stack:
            root = done
            continue
        parent, waiting = stack[-1]
        if parent.kind == "map" and not waiting:
            waiting.append(done)
            continue
        key = waiting.pop() if waiting else None
        place = key.start if key is not None else done.start
        if key is None and not parent.flow:
            dash = text.rfind("-", 0, place)
            place = dash if dash >= 0 and not text[dash + 1 : place].strip() else place
        parent.entries.append(_Entry(place, _column(text, place), key, done, []))
    assert root is not None, "the text has been read before"
    return root, scalars


def _offsets(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _column(text: str, offset: int) -> int:
    return offset - (text.rfind("\n", 0, offset) + 1)


def _spaced(text: str, offset: int) -> bool:
    """Whether an empty line stands before the line at ``offset``."""
    start = text.rfind("\n", 0, offset) + 1
    return start > 1 and not text[text.rfind("\n", 0, start - 1) + 1 : start - 1].strip()


def _comments(text: str, scalars: Sequence[_Value]) -> list[_Comment]:
    """Every comment: what begins with # outside of the scalars, and behind the sign of a block."""
    found: list[_Comment] = []
    position = 0
    for scalar in [*scalars, None]:
        gap = len(text) if scalar is None else scalar.start
        while (start := text.find("#", position, gap)) >= 0:
            position = _comment(text, start, found)
        if scalar is None:
            break
        position = max(position, scalar.end)
        if scalar.style in ("|", ">"):
            line_end = text.find("\n", scalar.start)
            start = text.find("#", scalar.start, line_end if line_end >= 0 else len(text))
            if start >= 0:
                _comment(text, start, found)
    return found


def _comment(text: str, start: int, found: list[_Comment]) -> int:
    """Note the comment at ``start``; the offset behind it."""
    end = text.find("\n", start)
    end = end if end >= 0 else len(text)
    line_start = text.rfind("\n", 0, start) + 1
    alone = not text[line_start:start].strip(" -")
    found.append(
        _Comment(start, start - line_start, tidy_comment(text[start:end]), alone, alone and _spaced(text, start))
    )
    return end


def _entries(value: _Value) -> Iterator[_Entry]:
    """Every entry below ``value`` in the order of the text."""
    for entry in value.entries:
        yield entry
        yield from _entries(entry.value)


class _Placer:
    """Gives every comment to what it speaks of."""

    def __init__(self, root: _Value) -> None:
        self._root = root

    def place(self, comments: Sequence[_Comment]) -> None:
        """Put the comments where they belong."""
        for comment in comments:
            chain = self._around(comment.start)
            if comment.alone:
                self._alone(comment, chain)
            else:
                self._behind(comment, chain)

    def _around(self, offset: int) -> list[tuple[_Value, int]]:
        """From the root to the deepest collection at ``offset``: each with how many of its entries begin before it."""
        chain: list[tuple[_Value, int]] = []
        value = self._root
        while value.kind != "scalar":
            before = _count_before(value.entries, offset)
            chain.append((value, before))
            if not before:
                break
            value = value.entries[before - 1].value
        return chain

    def _behind(self, comment: _Comment, chain: list[tuple[_Value, int]]) -> None:
        """A comment at the end of a line, behind a value or a key."""
        while len(chain) > 1 and (not chain[-1][1] or (chain[-1][0].flow and (chain[-1][0].end <= comment.start))):
            chain.pop()
        value, before = chain[-1]
        if not before:
            value.foot.append(comment.text)
            return
        entry = value.entries[before - 1]
        if entry.trail:
            entry.lead.append(comment.text)
        else:
            entry.trail = comment.text

    def _alone(self, comment: _Comment, chain: list[tuple[_Value, int]]) -> None:
        """A comment on a line of its own: of the next entry, or at the end of the collection that it is indented as."""
        while len(chain) > 1:
            value, before = chain[-1]
            if value.flow:
                own = comment.start < value.end
            else:
                own = comment.column >= value.entries[0].column if before else value.start >= comment.start
            if own:
                break
            chain.pop()
        value, before = chain[-1]
        lines = ["", comment.text] if comment.spaced else [comment.text]
        if before < len(value.entries):
            value.entries[before].lead += lines
        else:
            value.foot += lines


def _count_before(entries: Sequence[_Entry], offset: int) -> int:
    low, high = 0, len(entries)
    while low < high:
        middle = (low + high) // 2
        if entries[middle].start < offset:
            low = middle + 1
        else:
            high = middle
    return low


# Writing


class _Writer:
    """Writes one file of a kind: rule or list."""

    def __init__(self, kind: str) -> None:
        self._order = _ORDER[kind]
        self._on_one_line = _ON_ONE_LINE[kind]

    def write(self, root: _Value, head: Sequence[str]) -> str:
        """The whole file."""
        lines = [*head, *self._map(root, "", ())]
        return "\n".join([*lines, ""])

    def _map(self, value: _Value, indent: str, path: _Path) -> list[str]:
        """The entries of a mapping, each beginning on a line of its own."""
        lines: list[str] = []
        for number, entry in enumerate(self._sorted(value, path)):
            assert entry.key is not None
            lines += self._lead(entry, indent, first=not number)
            lines += self._entry(entry, f"{indent}{self._key(entry.key)}:", indent, (*path, entry.key.text))
        return [*lines, *(indent + line if line else "" for line in value.foot)]

    def _sorted(self, value: _Value, path: _Path) -> list[_Entry]:
        order = self._order.get(path, ())
        known = {key: number for number, key in enumerate(order)}
        return sorted(value.entries, key=lambda entry: known.get(entry.key.text if entry.key else "", len(known)))

    @staticmethod
    def _lead(entry: _Entry, indent: str, *, first: bool) -> list[str]:
        lead = ["", *entry.lead] if entry.spaced and (not entry.lead or entry.lead[0]) else list(entry.lead)
        if first:
            while lead and not lead[0]:
                lead.pop(0)
        return [indent + line if line else "" for line in lead]

    def _entry(self, entry: _Entry, head: str, indent: str, path: _Path) -> list[str]:
        """A key with its value; ``head`` is the line as far as the colon."""
        value = entry.value
        trail = f"  {entry.trail}" if entry.trail else ""
        if value.kind == "scalar":
            lines = self._scalar(value, head, indent, path)
            return [lines[0] + trail, *lines[1:]]
        if not value.entries and not value.foot:
            return [f"{head} {'{}' if value.kind == 'map' else '[]'}{trail}"]
        short = self._short(value, path, len(head) + 1)
        if short is not None:
            return [f"{head} {short}{trail}"]
        if not value.entries:
            # Comments inside empty brackets: they are kept, under the key.
            empty = "{}" if value.kind == "map" else "[]"
            return [f"{head} {empty}{trail}", *(indent + line for line in value.foot if line)]
        below = self._map if value.kind == "map" else self._list
        return [head + trail, *below(value, indent + "  ", path)]

    def _list(self, value: _Value, indent: str, path: _Path) -> list[str]:
        lines: list[str] = []
        for number, entry in enumerate(value.entries):
            lines += self._lead(entry, indent, first=not number)
            lines += self._item(entry, indent, (*path, _ANY))
        return [*lines, *(indent + line if line else "" for line in value.foot)]

    def _item(self, entry: _Entry, indent: str, path: _Path) -> list[str]:
        value = entry.value
        if value.kind != "map" or not value.entries or self._short(value, path, len(indent) + 2) is not None:
            return self._entry(entry, f"{indent}-", indent, path)
        lines = self._dashed(self._map(value, indent + "  ", path), indent)
        return [indent + entry.trail, *lines] if entry.trail else lines

    @staticmethod
    def _dashed(lines: list[str], indent: str) -> list[str]:
        """The lines of an item with its dash; comments before its first key go before the dash."""
        first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#") and line)
        before = [indent + line.lstrip() for line in lines[:first] if line]
        return [*before, f"{indent}- {lines[first].lstrip()}", *lines[first + 1 :]]

    # Values

    def _short(self, value: _Value, path: _Path, used: int) -> str | None:
        """The collection in brackets on one line; None where it does not go or has comments."""
        if not any(path[: len(place)] == place for place in self._places(path)) or not _quiet(value):
            return None
        text = self._flow(value, path)
        return text if used + len(text) <= WIDTH else None

    def _places(self, path: _Path) -> Iterator[_Path]:
        for place in self._on_one_line:
            if len(path) >= len(place):
                yield tuple(own if want == _ANY else want for want, own in zip(place, path, strict=False))

    def _flow(self, value: _Value, path: _Path) -> str:
        if value.kind == "scalar":
            return self._inline(value, path, flow=True)
        parts = []
        for entry in self._sorted(value, path):
            name = entry.key.text if entry.key is not None else _ANY
            shown = self._flow(entry.value, (*path, name))
            parts.append(f"{self._key(entry.key, flow=True)}: {shown}" if entry.key is not None else shown)
        return f"{{{', '.join(parts)}}}" if value.kind == "map" else f"[{', '.join(parts)}]"

    @staticmethod
    def _key(key: _Value, *, flow: bool = False) -> str:
        if key.style == "" and not (flow and _risky(key.text)):
            return key.text
        return key.text if _plain_is_safe(key.text, flow=flow) else _double(key.text)

    def _scalar(self, value: _Value, head: str, indent: str, path: _Path) -> list[str]:
        """The lines of ``head`` and a scalar."""
        if path in _CONDITION or (len(path) == 3 and (path[0], _ANY, path[2]) in _CONDITION):
            lines = self._condition(value, head, indent, block=path == ("when",))
            if lines is not None:
                return lines
        shown = self._inline(value, path)
        if not shown:
            return [head]
        text = value.text.strip()
        if "\n" in text and not _UNPRINTABLE.search(text) and not text.startswith(" "):
            return [f"{head} |", *(f"{indent}  {line}" if line else "" for line in text.split("\n"))]
        if "\n" in text or len(head) + 1 + len(shown) <= WIDTH or path[-2:-1] == ("reason",) or path[-1] == "reason":
            return [f"{head} {shown}"]
        if _UNPRINTABLE.search(text) or (value.style == "" and _FIGURES.match(text)):
            return [f"{head} {shown}"]
        room = WIDTH - len(indent) - 2
        lines = _wrapped(text, room)
        if len(lines) == 1 and len(text) > room:  # one long word
            return [f"{head} {shown}"]
        return [f"{head} >-", *(f"{indent}  {line}" for line in lines)]

    @staticmethod
    def _condition(value: _Value, head: str, indent: str, *, block: bool) -> list[str] | None:
        """A condition: in a literal block, or, in an exception and on one line, behind its key."""
        text = value.text
        if not text.strip() or _UNPRINTABLE.search(text):
            return None
        lines = layout_condition(text, WIDTH - len(indent) - 2)
        if len("\n".join(lines)) > MAX_LENGTH or canonical_tokens(text) is None:
            if value.style != "|":
                return None
            lines = [line.rstrip() for line in text.strip("\n").split("\n")]
            if lines[0].startswith(" "):
                return None
        elif not block and len(lines) == 1 and "#" not in lines[0] and _plain_is_safe(lines[0], flow=False):
            return [f"{head} {lines[0]}"]
        return [f"{head} |", *(f"{indent}  {line}" if line else "" for line in lines)]

    @staticmethod
    def _inline(value: _Value, path: _Path, *, flow: bool = False) -> str:
        """A scalar on one line, in quotes where it needs them."""
        text = value.text.strip()
        if value.style == "":
            if path and path[0] != "when" and any(name in _VALUES for name in path[:-1]):
                if text in _NULLS:
                    return "null"
                text = _TRUTHS.get(text, text)
            if text in _WORDS_OF_YAML or _FIGURES.match(text) or text in _NULLS:
                return _double(text) if flow and _risky(text) else text
            if flow and not _plain_is_safe(text, flow=True):
                return _double(text)
            return _double(text) if _quoted_reason(text, path) else text
        if _DATE.match(text) and _is_date(path):
            return text
        if _plain_is_safe(text, flow=flow) and not _quoted_reason(text, path):
            return text
        return _double(text)


def _is_date(path: _Path) -> bool:
    return path in _DATES or (len(path) == 3 and (path[0], _ANY, path[2]) in _DATES)


def _quoted_reason(text: str, path: _Path) -> bool:
    """Reasons with values in them always have quotes: most begin with one."""
    return path[:2] == ("then", "reason") and "{" in text


def _quiet(value: _Value) -> bool:
    """Whether there are no comments inside."""
    return not value.foot and all(not entry.lead and not entry.trail and _quiet(entry.value) for entry in value.entries)


def _risky(text: str) -> bool:
    """Whether a text without quotes would be read differently in brackets."""
    return any(sign in text for sign in ",[]{}:?")


def _plain_is_safe(text: str, *, flow: bool) -> bool:
    """Whether the text is the same without quotes, for every reader of YAML."""
    if not text or text != text.strip() or "\n" in text or _UNPRINTABLE.search(text):
        return False
    if text[0] in "-?:,[]{}#&*!|>'\"%@`=<" or text in _WORDS_OF_YAML or _FIGURES.match(text):
        return False
    if ": " in text or " #" in text or text.endswith(":"):
        return False
    return not (flow and _risky(text))


def quoted(text: str, *, flow: bool = False) -> str:
    """A text as a value on one line: in double quotes where it needs them."""
    return text if _plain_is_safe(text, flow=flow) else _double(text)


def _double(text: str) -> str:
    """The text in double quotes."""
    shown = "".join(_ESCAPES.get(letter, letter) for letter in text)
    return f'"{_UNPRINTABLE.sub(_escape, shown)}"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _wrapped(text: str, room: int) -> list[str]:
    """The text in lines of at most ``room`` characters, broken at single spaces."""
    lines: list[str] = []
    line = ""
    for word in _SINGLE_SPACE.split(text):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


# Proving


def _same(before: str, after: str, root: Node) -> bool:
    """Whether the new text says what the old one says, and has all its comments."""
    sheet = Sheet("", after)
    try:
        again = parse_sheet(sheet, max_nodes=_MAX_NODES)
    except BundleError:
        return False
    if again is None or sheet.problems:
        return False
    return _meaning(root, ()) == _meaning(again, ()) and _all_comments(before) == _all_comments(after)


def _meaning(node: Node, path: _Path) -> object:
    """What a node says, whatever its form."""
    if isinstance(node, MapNode):
        # Parameters and given values keep their order; for the others it means nothing.
        found = [(key, _meaning(value, (*path, key))) for key, (_key, value) in node.entries.items()]
        return ("map", found if path and path[-1] in _VALUES else sorted(found, key=lambda pair: pair[0]))
    if isinstance(node, ListNode):
        return ("list", [_meaning(item, (*path, _ANY)) for item in node.items])
    assert isinstance(node, Scalar)
    text = node.value.strip()
    if path and path[-1] == "when" and len(path) in (1, 3):
        tokens = canonical_tokens(node.value)
        if tokens is None:
            return [line.rstrip() for line in text.split("\n")]
        return (tokens, sorted(comments_of(node.value)))
    if node.plain and any(name in _VALUES for name in path[:-1]):
        if text in _NULLS:
            return None
        text = _TRUTHS.get(text, text)
    special = node.plain and (text in _WORDS_OF_YAML or (_FIGURES.match(text) is not None and not _is_date(path)))
    if special and ":" in text:
        special = False  # a moment, which is the same in quotes
    return (text, special)


def _all_comments(text: str) -> list[str]:
    _root, scalars = _values(text)
    return sorted(comment.text for comment in _comments(text, scalars))
