"""The canonical form of a condition's text: one term of the outermost *and* or *or* a line, comments kept.

It looks at words and signs only and knows no names and no functions, so it formats whatever the language may come to
have, and it never adds or removes anything but white space, needless outer brackets, and the comma before a ``]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

WIDTH: Final = 120
STEP: Final = "  "

_TOKEN: Final = re.compile(
    r"""
    (?P<line>\n) | (?P<space>[^\S\n]+) | (?P<comment>\#[^\n]*)
  | (?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9A-Za-z_]+)*(?:(?<=[eE])[+-][0-9]+)?)
  | (?P<word>[^\W\d]\w*)
  | (?P<text>"[^"\n]*"|'[^'\n]*')
  | (?P<sign>==|!=|<=|>=|[<>+\-*/()\[\],.])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING: Final = {"(": ")", "[": "]"}
_KEYWORDS: Final = ("and", "or", "not", "in")
_JOINING: Final = ("and", "or")
_DEEPEST: Final = 40


class _Token(msgspec.Struct):
    """A word or sign with the comments that belong to it: ``lead`` stand on lines before it, ``trail`` behind it."""

    kind: str
    text: str
    lead: list[str]
    trail: str = ""


class _Group(msgspec.Struct):
    """What stands between two brackets."""

    opening: _Token
    items: list[_Item]
    closing: _Token


_Item = _Token | _Group


def canonical_tokens(text: str) -> tuple[str, ...] | None:
    """The words and signs of a condition without what does not matter: space, comments, the kind of quotes, outer
    brackets, how a number is written. Two conditions with the same tokens mean the same. None: not a condition.
    """
    found = _read(text)
    if found is None:
        return None
    items, _foot = found
    return tuple(_plain(token) for token in _flat(items))


def comments_of(text: str) -> list[str]:
    """The comments of a condition in their order, as the canonical form writes them."""
    return [tidy_comment(found.group()) for found in _TOKEN.finditer(text) if found.lastgroup == "comment"]


def tidy_comment(text: str) -> str:
    """A comment with one space after its sign, where words follow."""
    body = text.rstrip()
    return f"# {body[1:]}" if len(body) > 1 and body[1].isalnum() else body


def layout_condition(text: str, room: int) -> list[str]:
    """The lines of the condition in canonical form, each of at most ``room`` characters where that can be.

    A text that is no condition comes back as it is, line by line.
    """
    found = _read(text)
    if found is None:
        return [line.rstrip() for line in text.strip("\n").split("\n")]
    items, foot = found
    _gather_comments(items)
    return [*_block(items, "", room, top=True), *foot]


# Reading


def _read(text: str) -> tuple[list[_Item], list[str]] | None:
    """The items of a condition and the comments behind the last; None when brackets or signs do not fit."""
    tokens: list[_Token] = []
    lead: list[str] = []
    fresh = True  # nothing but space stands on this line so far
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind == "line":
            fresh = True
        elif kind == "comment":
            comment = tidy_comment(found.group())
            if fresh or not tokens:
                lead.append(comment)
            else:
                _trail(tokens, comment)
        elif kind == "other":
            return None
        elif kind != "space":
            if tokens and tokens[-1].text in _JOINING:
                # What is said before a term stands before the word that joins it.
                tokens[-1].lead += lead
                lead = []
            tokens.append(_Token(kind, _quoted(found.group()) if kind == "text" else found.group(), lead))
            lead, fresh = [], False
    items = _nest(tokens)
    return (_unwrapped(items, lead), lead) if items else None


def _trail(tokens: Sequence[_Token], comment: str) -> None:
    """A comment at the end of a line belongs to the value before it, not to a word that only joins the next one."""
    token = tokens[-1]
    if token.text not in _JOINING:
        token.trail = comment
    elif len(tokens) > 1 and not tokens[-2].trail:
        tokens[-2].trail = comment
    else:
        token.lead.append(comment)


def _quoted(text: str) -> str:
    return f'"{text[1:-1]}"' if '"' not in text[1:-1] and "\\" not in text else text


def _nest(tokens: Sequence[_Token]) -> list[_Item]:
    """The tokens with what stands in brackets taken together; empty when brackets do not fit."""
    stack: list[tuple[_Token | None, list[_Item]]] = [(None, [])]
    for token in tokens:
        if token.text in _CLOSING:
            if len(stack) > _DEEPEST:
                return []
            stack.append((token, []))
        elif token.text in (")", "]"):
            opening, inside = stack.pop()
            if opening is None or _CLOSING[opening.text] != token.text:
                return []
            if opening.text == "[" and inside:
                _drop_comma(inside, token)
            stack[-1][1].append(_Group(opening, inside, token))
        else:
            stack[-1][1].append(token)
    return stack[0][1] if len(stack) == 1 else []


def _drop_comma(inside: list[_Item], closing: _Token) -> None:
    last = inside[-1]
    if isinstance(last, _Token) and last.text == "," and len(inside) > 1:
        inside.pop()
        closing.lead[:0] = [*last.lead, *([last.trail] if last.trail else [])]


def _unwrapped(items: list[_Item], foot: list[str]) -> list[_Item]:
    """The items without brackets around everything."""
    while len(items) == 1 and isinstance(items[0], _Group) and items[0].opening.text == "(" and items[0].items:
        group = items[0]
        if any(isinstance(item, _Token) and item.text == "," for item in group.items):
            break
        first = _first(group.items[0])
        first.lead[:0] = [*group.opening.lead, *([group.opening.trail] if group.opening.trail else [])]
        foot[:0] = [*group.closing.lead, *([group.closing.trail] if group.closing.trail else [])]
        items = group.items
    return items


def _first(item: _Item) -> _Token:
    return item.opening if isinstance(item, _Group) else item


def _last(item: _Item) -> _Token:
    return item.closing if isinstance(item, _Group) else item


def _flat(items: Iterable[_Item]) -> Iterator[_Token]:
    for item in items:
        if isinstance(item, _Group):
            yield item.opening
            yield from _flat(item.items)
            yield item.closing
        else:
            yield item


def _plain(token: _Token) -> str:
    if token.kind == "number":
        try:
            return repr(float(token.text.replace("_", "")))
        except ValueError:
            return token.text
    if token.kind == "text" and "\\" not in token.text:
        return repr(token.text[1:-1])
    return token.text


def _gather_comments(items: Sequence[_Item]) -> None:
    """Move comments that stand in the middle of a term before it; those between terms stay."""
    split = _split(items)
    if split is not None:
        word, pieces = split
        for piece in pieces:
            inner = [item for item in piece if _text(item) != word]
            if inner:
                _gather_comments(inner)
            _before_term(piece if word == "," else piece[: len(piece) - len(inner) + 1])
        return
    for item in items:
        if isinstance(item, _Group) and item.items:
            _gather_comments(item.items)
    _before_term(items)


def _before_term(items: Sequence[_Item]) -> None:
    """Give the comments between ``items`` to the first of them."""
    places: list[tuple[_Token, bool, bool]] = []  # a word or sign, and whether lead and trail are between items
    for item in items:
        if isinstance(item, _Token):
            places.append((item, True, True))
        else:
            places += [(item.opening, True, not item.items), (item.closing, not item.items, True)]
    first, last = places[0][0], len(places) - 1
    for number, (token, lead, trail) in enumerate(places):
        if number and lead:
            first.lead += token.lead
            token.lead = []
        if number < last and trail and token.trail:
            first.lead.append(token.trail)
            token.trail = ""


# Writing


def _one_line(items: Iterable[_Item]) -> str:
    """Everything on one line, comments left out."""
    line = ""
    previous: _Token | None = None
    before: _Token | None = None
    for token in _flat(items):
        if previous is not None and _spaced(before, previous, token):
            line += " "
        line += token.text
        before, previous = previous, token
    return line


def _spaced(before: _Token | None, previous: _Token, token: _Token) -> bool:
    if previous.text in ("(", "[", ".") or token.text in (")", "]", ",", "."):
        return False
    if token.text == "(" and previous.kind == "word" and previous.text not in _KEYWORDS:
        return False
    return not (previous.text in ("-", "+") and _signs(before))


def _signs(before: _Token | None) -> bool:
    """Whether a minus after ``before`` is a sign and not a calculation."""
    if before is None or before.text in _KEYWORDS:
        return True
    return before.kind == "sign" and before.text not in (")", "]")


def _quiet(items: Sequence[_Item]) -> bool:
    """Whether no comment stands inside: before the first and behind the last token they may."""
    tokens = list(_flat(items))
    return not any(token.lead for token in tokens[1:]) and not any(token.trail for token in tokens[:-1])


def _fits(items: Sequence[_Item], indent: str, room: int) -> bool:
    return _quiet(items) and len(indent) + len(_one_line(items)) <= room


def _block(items: Sequence[_Item], indent: str, room: int, *, top: bool = False) -> list[str]:
    """The lines of ``items``, one after the other; at the ``top`` every term has its own line."""
    split = _split(items)
    if split is None or (not top and _fits(items, indent, room)):
        return _term(items, indent, room)
    word, pieces = split
    lines: list[str] = []
    for piece in pieces:
        rest = piece[1:] if _text(piece[0]) == word else piece
        if word == "or" and not _fits(piece, indent, room) and _split(rest) is not None:
            lines += _stepped(piece[: len(piece) - len(rest)], rest, indent, room)
        else:
            lines += _term(piece, indent, room)
    return lines


def _text(item: _Item) -> str:
    return item.text if isinstance(item, _Token) else ""


def _stepped(joiner: Sequence[_Item], items: Sequence[_Item], indent: str, room: int) -> list[str]:
    """The terms of an "and" below an "or", one step further in, behind the ``or`` if there is one."""
    start = _first([*joiner, *items][0])
    lead, start.lead = start.lead, []
    lines = _block(items, indent + STEP, room, top=True)
    # A comment before the first term would come to stand before the "or" when it is read again: put it there.
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    lead += [line.strip() for line in lines[:first]]
    words = f"{_one_line(joiner)} " if joiner else ""
    return [*(indent + comment for comment in lead), f"{indent}{words}{lines[first].lstrip()}", *lines[first + 1 :]]


def _split(items: Sequence[_Item]) -> tuple[str, list[list[_Item]]] | None:
    """The word that joins ``items`` most loosely, and what it joins; each piece after the first begins with it, or,
    with a comma, each piece before the last ends with it.
    """
    present = {item.text for item in items if isinstance(item, _Token)}
    word = next((word for word in (",", "or", "and") if word in present), None)
    if word is None:
        return None
    pieces: list[list[_Item]] = [[]]
    for item in items:
        if isinstance(item, _Token) and item.text == word:
            if word == ",":
                pieces[-1].append(item)
                pieces.append([])
            else:
                pieces.append([item])
        else:
            pieces[-1].append(item)
    return word, [piece for piece in pieces if piece]


def _term(items: Sequence[_Item], indent: str, room: int) -> list[str]:
    """A term on one line if it fits; else with its largest bracket opened."""
    position = None if _fits(items, indent, room) else _to_open(items)
    if position is None:
        return _line(items, indent)
    group = items[position]
    assert isinstance(group, _Group)
    head: list[_Item] = [*items[:position], group.opening]
    tail: list[_Item] = [group.closing, *items[position + 1 :]]
    inside, group.closing.lead = group.closing.lead, []
    opened = _line(head, indent)
    step = indent + STEP
    lines = _filled(group, step, room) or _block(group.items, step, room, top=True)
    return [*opened, *lines, *(step + comment for comment in inside), *_term(tail, indent, room)]


def _to_open(items: Sequence[_Item]) -> int | None:
    """Which bracket to open: the first with a comment inside, else the longest."""
    groups = [(position, item) for position, item in enumerate(items) if isinstance(item, _Group) and item.items]
    for position, group in groups:
        tokens = list(_flat([group]))
        if group.opening.trail or any(token.lead for token in tokens[1:]) or any(t.trail for t in tokens[1:-1]):
            return position
    if not groups:
        return None
    return max(groups, key=lambda found: len(_one_line([found[1]])))[0]


def _filled(group: _Group, indent: str, room: int) -> list[str]:
    """The plain values of a long list, as many on a line as go; nothing when it has comments or brackets."""
    if group.opening.text != "[" or not _quiet(group.items) or any(isinstance(item, _Group) for item in group.items):
        return []
    if _first(group.items[0]).lead or _last(group.items[-1]).trail:
        return []
    split = _split(group.items)
    if split is None:
        return []
    lines: list[str] = []
    line = ""
    for piece in split[1]:
        words = _one_line(piece)
        if line and len(indent) + len(line) + 1 + len(words) > room:
            lines.append(indent + line)
            line = words
        else:
            line = f"{line} {words}" if line else words
    return [*lines, indent + line]


def _line(items: Sequence[_Item], indent: str) -> list[str]:
    """One line, whatever its length; comments inside it are moved before it."""
    tokens = list(_flat(items))
    inside = [comment for token in tokens[:-1] for comment in (*token.lead, token.trail) if comment]
    trail = f"  {tokens[-1].trail}" if tokens[-1].trail else ""
    lead = [*inside, *tokens[-1].lead]
    return [*(indent + comment for comment in lead), f"{indent}{_one_line(items)}{trail}"]
