"""The patterns of ``matches``: RE2, which takes time in proportion to the text whatever the pattern and the text.

A pattern is looked for anywhere in the text; ``^`` and ``$`` are the beginning and the end of the text. Capitals
matter unless the pattern begins with ``(?i)``. Syntax: https://github.com/google/re2/wiki/Syntax. RE2 is loaded when
the first pattern is read; rules without patterns do without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec

MAX_LENGTH: Final = 256
"""Characters of a pattern, at most."""

_MAX_MEMORY: Final = 1 << 20
_MEMORY: Final = 4_096
_LONG: Final = 256
_SAMPLES: Final = ("", "\x01", "\x01" * 1_000)

Find = Callable[[str], bool]
"""text → whether the pattern is found in it."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a pattern, at its characters from ``start`` to ``end``, and how to mend it."""

    start: int
    end: int
    reason: str
    advice: str


_REASONS: Final = (
    ("missing ]", "a [ is never closed", r"add ], or write \[ for the bracket itself"),
    ("missing )", "a ( is never closed", r"add ), or write \( for the bracket itself"),
    ("unexpected )", "a ) closes nothing", r"remove it, or write \) for the bracket itself"),
    ("no argument for repetition operator", "there is nothing before this sign to repeat",
     r"write what repeats before it, or \+ \* \? for the sign itself"),
    ("bad repetition operator", "two repetitions stand side by side", "keep one of them"),
    ("invalid repetition size", "this repeats too often, or the numbers stand the wrong way round",
     "write at most {1000}, also for repetitions inside one another, the smaller number first"),
    ("invalid escape sequence", "this backslash has no meaning",
     r"known are \d \w \s \b and signs such as \+ and \.; what a bracket has found cannot be asked for again"),
    ("invalid character class", "this range of characters does not exist",
     "write such as [a-z], the smaller first, or [[:alpha:]]"),
    ("invalid perl operator", "looking ahead and behind is not possible", "write two conditions joined with and, not"),
    ("invalid named capture group", "this group cannot be read", "write plain brackets: ( … )"),
    ("trailing \\", "a backslash stands at the end", r"remove it, or write \\ for the backslash itself"),
    ("pattern too large", "it becomes too large", "repeat less, or write it shorter"),
)  # fmt: skip


def find_fault(pattern: str) -> Fault | None:
    """What is wrong with ``pattern``; None when it can be used."""
    error = _compile(pattern)[1]
    if not error:
        return None
    head, _, tail = error.partition(": ")
    known = ((reason, advice) for begin, reason, advice in _REASONS if head.startswith(begin))
    reason, advice = next(known, (head or "it cannot be read", "see the examples in the rule language reference"))
    if head in ("missing )", "unexpected )"):
        start = _odd_bracket(pattern)
        return Fault(start, start + 1, reason, advice)
    if head.startswith("trailing"):
        return Fault(max(0, len(pattern) - 1), len(pattern), reason, advice)
    start = pattern.find(tail) if tail else -1
    if start < 0:
        return Fault(0, len(pattern), reason, advice)
    # RE2 repeats the rest of the pattern for a bracket that is never closed: the bracket is what is shown.
    return Fault(start, start + 1 if head == "missing ]" else start + len(tail), reason, advice)


def finds_everything(pattern: str) -> bool:
    """Whether ``pattern`` is most likely found in every text: in none, in one strange character, in a thousand."""
    found = finder(pattern)
    return all(found(sample) for sample in _SAMPLES)


@functools.lru_cache(maxsize=4_096)
def finder(pattern: str) -> Find:
    """The function that looks for ``pattern``; ValueError when it cannot be used.

    Answers about the last few thousand texts are remembered. The memory is emptied as a whole when an attacker fills
    it, and never changes an answer.
    """
    compiled, error = _compile(pattern)
    if error:
        raise ValueError(error)
    search = compiled.search
    memory: dict[str, bool] = {}

    def find(text: str) -> bool:
        found = memory.get(text)
        if found is None:
            found = search(text.encode("utf-8", "replace")) is not None
            if len(text) <= _LONG:
                if len(memory) >= _MEMORY:
                    memory.clear()
                memory[text] = found
        return found

    return find


@functools.lru_cache(maxsize=4_096)
def _compile(pattern: str) -> tuple[Any, str]:
    """RE2's compiled pattern, and what it says against it."""
    import re2

    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.never_capture = True
    options.log_errors = False
    try:
        return re2.compile(pattern.encode("utf-8", "replace"), options), ""
    except re2.error as error:
        said = error.args[0] if error.args else b""
        return None, (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) or "unreadable"


def _odd_bracket(pattern: str) -> int:
    """Where the round bracket stands that has no partner."""
    open_at: list[int] = []
    in_class = escaped = False
    for position, sign in enumerate(pattern):
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif in_class:
            in_class = sign != "]" or pattern[position - 1] == "[" or pattern[position - 2 : position] == "[^"
        elif sign == "[":
            in_class = True
        elif sign == "(":
            open_at.append(position)
        elif sign == ")":
            if not open_at:
                return position
            open_at.pop()
    return open_at[-1] if open_at else 0
