"""Every error that the product raises on purpose.

    AntifraudError
    ├── UsageError      a command was used wrongly                              exit 2
    ├── ConfigError     config/ says something that cannot be meant             exit 2
    ├── BundleError     rules, lists or windows do not compile                  exit 2
    ├── ModelError      a model is damaged or does not fit the windows          exit 2
    ├── QueueError      Redis cannot be reached or answers nonsense             exit 1
    ├── SnapshotError   a snapshot is damaged or does not fit (antifraud.features)  never ends a process
    └── EventError      one event cannot be understood; it goes to quarantine   never ends a process

A message says what is wrong, where, and how to mend it; it begins with a small letter and has no full stop.
Several problems found in one pass are reported together (``problems``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Location(msgspec.Struct, frozen=True):
    """A place in a file that a person wrote; ``line`` and ``column`` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.line <= 0:
            return self.file
        if self.column <= 0:
            return f"{self.file}:{self.line}"
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, where it is, and how to mend it."""

    message: str
    where: Location | None = None
    hint: str = ""
    source_line: str = ""
    width: int = 1

    def render(self) -> str:
        """The problem as people see it: place, message, the line with a caret, a hint."""
        head = f"{self.where}: {self.message}" if self.where is not None else self.message
        lines = [head]
        if self.source_line and self.where is not None and self.where.column > 0:
            shown = self.source_line.replace("\t", " ")
            # 20,000-character lines are cut around the caret so that the terminal stays readable.
            start = max(0, self.where.column - 1 - 60)
            excerpt = shown[start : start + 120]
            caret = " " * (self.where.column - 1 - start) + "^" * max(1, min(self.width, 60))
            lines += [f"    {excerpt}", f"    {caret}"]
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


class AntifraudError(Exception):
    """The root of the tree; carries one or more problems."""

    exit_code = 2

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems) or (Problem(message, hint=hint),)
        super().__init__(message)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> AntifraudError:
        """One error that carries all ``problems`` (at least one)."""
        first = problems[0].render()
        rest = len(problems) - 1
        return cls(first if not rest else f"{first}\n(and {rest} more)", problems=problems)

    def render(self) -> str:
        """All problems, one after the other, as shown on a terminal."""
        return "\n".join(problem.render() for problem in self.problems)


class UsageError(AntifraudError):
    """A command was used wrongly."""


class ConfigError(AntifraudError):
    """Configuration that cannot be meant."""


class BundleError(AntifraudError):
    """Rules, lists or windows that do not compile; a running engine keeps the bundle it has."""


class ModelError(AntifraudError):
    """A model bundle that is damaged or does not fit."""


class QueueError(AntifraudError):
    """Redis cannot be reached, is too old, or answers nonsense."""

    exit_code = 1


class EventError(AntifraudError):
    """One event cannot be understood. ``code`` is the stable class that counters and quarantine carry."""

    exit_code = 1

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
