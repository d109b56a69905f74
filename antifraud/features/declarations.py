"""YAML with positions: nodes that know their line and column, and the problems that are shown with a caret.

Only composing, no constructing: values stay the text that the person wrote, so ``on`` is not turned into True and
``1m`` is nothing but two characters.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from antifraud.domain import BundleError, Location, Problem, lookalikes

_MOST_BYTES = 1_000_000
_MOST_NODES = 20_000
_MOST_LEVELS = 10
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_ODD_INDENT: Final = re.compile(r"^ *[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", re.MULTILINE)
_FAST_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What is usually meant by the parser's words, and how it is mended.
_REMEDIES = (
    ("mapping values are not allowed", 'put a text that contains ": " in quotes'),
    ("'\\t'", "indent with spaces, not with tabs"),
    ("block end", "lines of one level begin at the same column"),
)


def _read(path: Path) -> bytes:
    """The bytes of a file, one more than can be taken at most. OSError for what is no file: a pipe has no end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file")
    with os.fdopen(handle, "rb") as stream:
        return stream.read(_MOST_BYTES + 1)


class Declarations:
    """One YAML file: its root node, and every problem found in it so far.

    ``raw`` are the bytes of a file that somebody has read already, and ``path`` then its name as shown to people.
    """

    def __init__(self, path: Path | str, raw: bytes | None = None) -> None:
        self.file = str(path)
        self.problems: list[Problem] = []
        try:
            raw = _read(Path(path)) if raw is None else raw
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
        if len(raw) > _MOST_BYTES:
            raise BundleError(f"{path}: is larger than {_MOST_BYTES} bytes; split it or check what it is")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            hint = f"save it as UTF-8; byte {error.start + 1} is the first that does not fit"
            raise self._single(Problem("is not UTF-8 text", Location(self.file, line), hint)) from error
        self.lines = text.splitlines()
        self._check(text)
        try:
            self.root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = Location(self.file, mark.line + 1, mark.column + 1) if mark is not None else Location(self.file)
            message = " ".join(part for part in (error.context, error.problem) if part) or "is not YAML"
            shown = self._line(where.line)
            hint = next((hint for sign, hint in _REMEDIES if sign in message), error.note or "")
            raise self._single(Problem(f"YAML: {message}", where, hint, shown)) from error
        except RecursionError as error:
            problem = Problem("is nested too deeply", Location(self.file), "windows need four levels")
            raise self._single(problem) from error
        except yaml.YAMLError as error:
            raise self._single(Problem(f"YAML: {str(error).splitlines()[0]}", Location(self.file))) from error

    def _check(self, text: str) -> None:
        """Refuse what has no place in declarations before anything is composed: within bounds, whatever the text is."""
        hidden = _CONTROL.search(text)
        if hidden is not None:
            line = text.count("\n", 0, hidden.start()) + 1
            column = hidden.start() - text.rfind("\n", 0, hidden.start())
            message = f"an invisible control character U+{ord(hidden.group()):04X} stands here"
            self._refuse(message, line, column, "delete it and type the text again")
        odd = _ODD_INDENT.search(text)
        if odd is not None:
            message = f"a space of another kind (U+{ord(odd.group()[-1]):04X}) stands where an ordinary one belongs"
            line, column = text.count("\n", 0, odd.start()) + 1, odd.end() - odd.start()
            self._refuse(message, line, column, "delete it and press the space bar")
        levels = nodes = documents = 0
        try:
            events: Iterator[Any] = yaml.parse(text, Loader=_FAST_LOADER)
            for event in events:
                line, column = event.start_mark.line + 1, event.start_mark.column + 1
                if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                    hint = "write the value out; put text that begins so in quotes"
                    self._refuse("anchors (&) and aliases (*) are not accepted", line, column, hint)
                if getattr(event, "tag", None):
                    tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
                    self._refuse(f"the tag {tag} is not accepted", line, column, "remove it; values are plain text")
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    self._refuse("a second document begins here", line, column, "remove the line `---`")
                if isinstance(event, yaml.CollectionStartEvent):
                    levels += 1
                elif isinstance(event, yaml.CollectionEndEvent):
                    levels -= 1
                if levels > _MOST_LEVELS:
                    self._refuse("is nested too deeply", line, column, "windows need four levels")
                nodes += isinstance(event, yaml.NodeEvent)
                if nodes > _MOST_NODES:
                    self._refuse(f"has more than {_MOST_NODES} values", line, column, "split it or check what it is")
        except yaml.YAMLError:
            return  # the composer says it better

    def _refuse(self, message: str, line: int, column: int, hint: str) -> None:
        where = Location(self.file, line, column)
        raise self._single(Problem(message, where, hint, self._line(line)))

    @staticmethod
    def _single(problem: Problem) -> BundleError:
        return BundleError(problem.render(), problems=[problem])

    def _line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def at(self, node: yaml.Node) -> Location:
        """Where the node's own text begins: inside the quotes, on the first line of a block."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("'", '"'):
                column += 1
            elif node.style in ("|", ">"):
                following = range(line + 1, len(self.lines) + 1)
                line = next((number for number in following if self._line(number).strip()), line)
                column = len(self._line(line)) - len(self._line(line).lstrip()) + 1
        return Location(self.file, line, column)

    def report(self, node: yaml.Node, message: str, hint: str = "") -> None:
        """Note one problem at ``node``; everything found in one pass is shown together."""
        where = self.at(node)
        width = len(node.value.splitlines()[0]) if isinstance(node, yaml.ScalarNode) and node.value.strip() else 1
        self.problems.append(Problem(message, where, hint, self._line(where.line), width))

    def finish(self) -> None:
        """Raise what was found, if anything, in the order of the file."""
        if self.problems:
            raise BundleError.of(self.sorted_problems())

    def sorted_problems(self) -> list[Problem]:
        """What was found, in the order of the file."""
        return sorted(self.problems, key=lambda p: (p.where.line, p.where.column) if p.where is not None else (0, 0))

    def mapping(self, node: yaml.Node | None, what: str) -> dict[str, tuple[yaml.ScalarNode, yaml.Node]]:
        """The entries of a mapping node as name → (name node, value node); a name used twice is a problem."""
        if not isinstance(node, yaml.MappingNode):
            if node is None:
                hint = "it begins with `version: 1` and `windows:`" if what == "the file" else ""
                self.problems.append(Problem(f"{what} is empty", Location(self.file), hint))
            else:
                self.report(node, f"{what} must be a mapping of names to values")
            return {}
        found: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.report(key, f"a name in {what} must be plain text")
            elif key.value in found:
                first = found[key.value][0].start_mark.line + 1
                self.report(key, f"{key.value!r} stands twice in {what}", f"the first one is on line {first}")
            else:
                found[key.value] = (key, value)
        return found

    def text(self, node: yaml.Node, what: str, hint: str = "") -> str:
        """The text of a scalar, stripped; empty with a problem noted where it is none or empty."""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.report(node, f"{what} must be text", hint)
            return ""
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            self.report(node, f"{what} contains half a character (\\ud800 to \\udfff)", "write the character itself")
            return ""
        return str(node.value).strip()

    def choice(self, node: yaml.Node, what: str, allowed: Iterable[str]) -> str:
        """A text that is one of ``allowed``; empty with a problem and a suggestion where it is not."""
        value = self.text(node, what)
        names = list(allowed)
        if value and value not in names:
            self.report(node, f"{what} {value!r} is unknown", suggest(value, names))
            return ""
        return value


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that the person may have meant; empty when none is near."""
    return next(iter(difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)), "")


def suggest(word: str, names: Iterable[str]) -> str:
    """What the person may have meant; every possible name when nothing is near."""
    known = list(names)
    if lookalikes.meant(word, known):
        return lookalikes.advice(word)
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
