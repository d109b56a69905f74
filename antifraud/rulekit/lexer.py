"""The first pass over a condition: words, signs, texts and numbers, and whether they stand in a possible order.

It refuses everything that the language does not have before Python's parser sees the text, so that people get a
sentence about what they wrote rather than about Python, and so that a hostile text meets bounds first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from antifraud.domain.lookalikes import foreign, latin
from antifraud.rulekit import elsewhere
from antifraud.rulekit.documents import Excerpt
from antifraud.rulekit.messages import Message

MAX_LENGTH: Final = 4_000
MAX_TOKENS: Final = 1_500
MAX_BRACKETS: Final = 16
MAX_UNARY: Final = 8

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\n]+) | (?P<comment>\#[^\n]*)
  | (?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9A-Za-z_]+)*(?:(?<=[eE])[+-][0-9]+)?)
  | (?P<word>[^\W\d]\w*)
  | (?P<text>"[^"\n]*"|'[^'\n]*')
  | (?P<sign>\.\.|=~|~=|!~|==|!=|<=|>=|\*\*|//|:=|&&|\|\||<>|=<|=>|=|[<>+\-*/()\[\],.])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(
    r"(?:0|[1-9][0-9]{0,14}|[1-9][0-9]{0,2}(?:_[0-9]{3}){1,4})(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?\Z"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_TIME: Final = re.compile(r"[0-2]?[0-9]:[0-5][0-9](?![0-9])")
_GROUPED: Final = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3}|[ \u00a0][0-9]{3}){1,4}(?![0-9A-Za-z_.,])")
_LEADING_ZERO: Final = re.compile(r"0[0-9]+\Z")
_WORD_OPERATORS: Final = ("and", "or", "in")
_BINARY: Final = ("==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/")
_QUOTES: Final = "\"'"
_CLOSING: Final = {"(": ")", "[": "]"}

_ADVICE: Final = {
    "**": "powers are not part of the language; multiply with *",
    "//": "write / to divide",
    "%": "write / to divide; a percentage is a number such as 0.25",
    "&&": "write and",
    "&": "write and",
    "||": "write or",
    "|": "write or",
    "!": "write not, or != for unequal",
    "<>": "write !=",
    "=<": "write <=",
    "=>": "write >=",
    ":=": "write == to compare",
    ":": "conditions have no colons; to compare write ==, for the beginning of a text prefix_in(…)",
    ";": "write and between two conditions",
    "{": "a list has square brackets: [ … ]; a parameter is written params.<name>",
    "}": "a list has square brackets: [ … ]; a parameter is written params.<name>",
    "?": "write two conditions joined with and, or",
    "$": "names are written without a sign before them; a parameter is written params.<name>",
    "@": "names are written without a sign before them",
    "^": "powers are not part of the language; multiply with *",
    "~": 'a pattern is asked for with matches(user_agent, "…"); for no write not',
    "=~": 'write matches(user_agent, "…")',
    "~=": 'write matches(user_agent, "…")',
    "!~": 'write not matches(user_agent, "…")',
    "`": 'texts stand in straight quotes: "…"',
    "≥": "write >=",
    "≤": "write <=",
    "≠": "write !=",
    "×": "write *",
    "÷": "write /",
    "−": "write - (the hyphen of the keyboard)",
    "–": "write - (the hyphen of the keyboard)",
    "—": "write - (the hyphen of the keyboard)",
    "..": "write such as between(hour, 9, 17)",
    "…": "write the values out",
}
_CURLY_QUOTES: Final = "“”„«»‘’‚‹›″′"
_PYTHON_WORDS: Final = {
    "None": "ask with missing(x)",
    "null": "ask with missing(x)",
    "is": "write == to compare; whether a value is not known is asked with missing(x)",
    "if": "a condition has no if: it is what must be true",
    "else": "a condition has no else: write a second rule",
    "then": "what follows a hit stands under the key then",
    "lambda": "conditions define nothing",
    "for": "there are no loops: use a window, or in with a list",
    "while": "there are no loops",
    "import": "nothing can be imported",
    "await": "nothing can be awaited",
    "async": "nothing can be awaited",
    "yield": "nothing can be yielded",
    "def": "conditions define nothing",
    "class": "conditions define nothing",
    "assert": "a condition is only what must be true",
    "return": "a condition is only what must be true",
    "raise": "a condition is only what must be true",
    "try": "a condition is only what must be true",
    "except": "write and not",
    "finally": "a condition is only what must be true",
    "with": "a condition is only what must be true",
    "as": "conditions define nothing",
    "from": "nothing can be imported",
    "del": "conditions define nothing",
    "global": "conditions define nothing",
    "nonlocal": "conditions define nothing",
    "pass": "a condition must say something",
    "break": "there are no loops",
    "continue": "there are no loops",
    "elif": "a condition has no if: it is what must be true",
}
_TRANSLATED: Final = {
    "и": "and",
    "или": "or",
    "не": "not",
    "в": "in",
    "да": "true",
    "нет": "false",
    "және": "and",
    "немесе": "or",
    "емес": "not",
    "иә": "true",
    "жоқ": "false",
}
"""The words of the language in Russian and Kazakh."""
_SMALL_WORDS: Final = (
    "and",
    "or",
    "not",
    "in",
    "between",
    "holiday",
    "lists",
    "matches",
    "missing",
    "night",
    "params",
    "prefix_in",
    "time_between",
    "weekend",
)
_FUNCTIONS: Final = ("between", "matches", "missing", "night", "prefix_in", "time_between")


class Token(msgspec.Struct, frozen=True):
    """A word, number, text or sign at ``start``."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)


def scan(excerpt: Excerpt, known: Callable[[], Collection[str]]) -> bool:
    """Whether the text can be a condition; everything found wrong is noted in its sheet.

    ``known`` gives the names that exist; it is asked for suggestions only.
    """
    text = excerpt.text
    if not text.strip():
        excerpt.at(0, 1, Message.EMPTY_CONDITION)
        return False
    if len(text) > MAX_LENGTH:
        excerpt.at(0, 1, Message.CONDITION_TOO_LONG, length=len(text), limit=MAX_LENGTH)
        return False
    tokens: list[Token] = []
    patterns: list[bool] = []  # for each bracket that is open: is it that of matches, where a text may be a pattern
    good = True
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind in ("space", "comment"):
            continue
        token = Token(kind, found.group(), found.start())
        if kind == "other" and token.text in "\"'":
            # The rest of the line belongs to the text that is not closed.
            line_end = text.find("\n", token.start)
            excerpt.at(token.start, line_end if line_end >= 0 else len(text), Message.OPEN_QUOTE)
            return False
        if kind == "number" and _odd_number(excerpt, text, token, tokens):
            return False
        date = _DATE.match(text, token.start) if kind == "number" else None
        if date is not None:
            hint = "a condition knows no dates: exceptions end with `until`; hour, weekday and holiday() tell the time"
            excerpt.at(date.start(), date.end(), Message.BAD_NUMBER, hint=hint, value=date.group())
            return False
        if token.text in _CLOSING:
            patterns.append(token.text == "(" and bool(tokens) and tokens[-1].text == "matches")
        elif token.text in (")", "]") and patterns:
            patterns.pop()
        pattern = kind == "text" and bool(patterns) and patterns[-1]
        good &= pattern or _possible(excerpt, token, tokens, known)
        tokens.append(token)
        if len(tokens) > MAX_TOKENS:
            excerpt.at(token.start, token.end, Message.CONDITION_TOO_MUCH, limit=MAX_TOKENS)
            return False
    if not tokens:
        excerpt.at(0, 1, Message.EMPTY_CONDITION)
        return False
    return good and _Order(excerpt, tokens).check()


def is_number(text: str) -> bool:
    """Whether ``text`` is written as a condition writes a number."""
    return _NUMBER.match(text) is not None


def _odd_number(excerpt: Excerpt, text: str, token: Token, before: Sequence[Token]) -> bool:
    """Whether digits are a time of the day (22:00) or grouped (1 000; 1,000), which is then noted."""
    time = _TIME.match(text, token.start)
    if time is not None:
        hint = 'write the hour as a number, or time_between("22:00", "06:00")'
        excerpt.at(token.start, time.end(), Message.BAD_NUMBER, hint=hint, value=time[0])
        return True
    grouped = _GROUPED.match(text, token.start)
    inside = before[-2:-1] if before and before[-1].text == "," else before[-1:]
    if grouped is None or (inside and inside[0].kind == "number") or _in_brackets(before):
        return False
    whole = re.sub("[^0-9]", "", grouped[0])
    if "," in grouped[0]:
        shown = grouped[0].replace(",", ".")
        hint = f"write {whole}; where a decimal point is meant, {shown}" if grouped[0].count(",") == 1 else ""
        excerpt.at(token.start, grouped.end(), Message.BAD_NUMBER, hint=hint or f"write {whole}", value=grouped[0])
    else:
        excerpt.at(token.start, grouped.end(), Message.BAD_NUMBER, hint=f"write {whole}", value=grouped[0])
    return True


def _in_brackets(before: Sequence[Token]) -> bool:
    """Whether a bracket is open, where commas stand between values."""
    return sum((token.text in _CLOSING) - (token.text in (")", "]")) for token in before) > 0


def _possible(excerpt: Excerpt, token: Token, before: Sequence[Token], known: Callable[[], Collection[str]]) -> bool:
    """Whether the token exists in the language."""
    start, end, word = token.start, token.end, token.text
    if token.kind == "number" and not _NUMBER.match(word):
        message = Message.LEADING_ZERO if _LEADING_ZERO.match(word) else Message.BAD_NUMBER
        excerpt.at(start, end, message, hint=elsewhere.length_of_time(word), value=word)
        return False
    if token.kind == "word":
        return _possible_word(excerpt, token, known)
    if token.kind == "text" and "\\" in word:
        excerpt.at(start + word.index("\\"), start + word.index("\\") + 1, Message.CONDITION_BACKSLASH)
        return False
    if token.kind == "sign" and word == "=":
        named = len(before) > 1 and before[-1].kind == "word" and before[-2].text in ("(", ",") and _in_brackets(before)
        in_call = named and any(one.text in _FUNCTIONS for one in before)
        hint = "the values of a function have no names: write them in their order, such as between(hour, 9, 17)"
        excerpt.at(start, end, Message.ASSIGNMENT, hint=hint if in_call else "")
        return False
    if token.kind == "other" and word in _CURLY_QUOTES:
        excerpt.at(start, end, Message.CURLY_QUOTE)
        return False
    if token.kind == "other" and word == "\\":
        excerpt.at(start, end, Message.CONDITION_BACKSLASH)
        return False
    if token.kind == "other" or (token.kind == "sign" and word in _ADVICE):
        if word.isspace():
            excerpt.at(start, end, Message.ODD_SPACE, number=f"{ord(word):04X}")
            return False
        name = unicodedata.name(word, "unnamed").lower() if len(word) == 1 and not word.isascii() else ""
        advice = _ADVICE.get(word, f"it is the character {name}" if name else "remove it")
        excerpt.at(start, end, Message.UNKNOWN_SIGN, sign=word, advice=advice)
        return False
    return True


def _possible_word(excerpt: Excerpt, token: Token, known: Callable[[], Collection[str]]) -> bool:
    word = token.text
    if not word.isascii():
        lookalike = latin(word)
        mixed = any(letter.isascii() and letter.isalpha() for letter in word)
        if lookalike != word and (mixed or lookalike in known()):
            advice = f"type it again on the Latin keyboard: {lookalike}"
            excerpt.at(token.start, token.end, Message.LOOKALIKE, name=word, letters=foreign(word), advice=advice)
        else:
            meaning = _TRANSLATED.get(word.lower(), "")
            hint = f"write {meaning}" if meaning else ""
            excerpt.at(token.start, token.end, Message.NOT_LATIN, hint=hint, name=word)
        return False
    if word in _PYTHON_WORDS:
        excerpt.at(token.start, token.end, Message.PYTHON_WORD, word=word, advice=_PYTHON_WORDS[word])
        return False
    if word.lower() in _SMALL_WORDS and word not in _SMALL_WORDS:
        excerpt.at(token.start, token.end, Message.WORD_CASE, word=word, advice=word.lower())
        return False
    return True


class _Order:
    """Checks that operands and operators alternate and that brackets close: what a person gets wrong most."""

    def __init__(self, excerpt: Excerpt, tokens: list[Token]) -> None:
        self._excerpt = excerpt
        self._tokens = tokens
        self._open: list[Token] = []

    def check(self) -> bool:
        """Whether the order is possible; the first mistake is noted."""
        operand_next = True
        unary = 0
        previous: Token | None = None
        for position, token in enumerate(self._tokens):
            sign = token.text if token.kind in ("sign", "word") else ""
            if operand_next:
                if previous is not None and previous.text == "." and token.kind != "word":
                    return self._fault(previous, Message.MISSING_VALUE_END, sign=".")
                if sign == "not" and previous is not None and previous.text in (*_BINARY, "in"):
                    return self._fault(token, Message.CONDITION_SYNTAX)
                if sign in ("not", "-", "+"):
                    unary += 1
                    if unary > MAX_UNARY:
                        return self._fault(token, Message.CONDITION_TOO_DEEP, limit=MAX_UNARY)
                elif sign in _CLOSING:
                    if not self._push(token):
                        return False
                    unary = 0
                elif sign in (")", "]") and previous is not None and previous.text in (*_CLOSING, ","):
                    # ( ) and [ ] are empty, which the checker explains better; a comma may stand at the end.
                    if not self._pop(token):
                        return False
                    operand_next = False
                elif sign in _BINARY or sign in _WORD_OPERATORS or sign in (")", "]", ",", "."):
                    if sign == "," and not self._open:
                        return self._fault(token, Message.STRAY_COMMA)
                    return self._fault(token, Message.MISSING_VALUE_BEFORE, sign=sign)
                else:
                    operand_next, unary = False, 0
            elif sign in _BINARY or sign in _WORD_OPERATORS:
                operand_next = True
            elif sign == "not" and position + 1 < len(self._tokens) and self._tokens[position + 1].text == "in":
                pass
            elif sign == ",":
                if not self._open:
                    return self._fault(token, Message.STRAY_COMMA, hint=self._decimal(position))
                operand_next = True
            elif sign in (")", "]"):
                if not self._pop(token):
                    return False
            elif sign == ".":
                operand_next = True
            elif sign == "(" and previous is not None and previous.kind == "word":
                if not self._push(token):
                    return False
                operand_next = True
            elif sign == "[":
                after = self._tokens[position + 1 :][:1]
                named = previous is not None and previous.text in ("params", "lists") and after
                hint = f"write {previous.text}.{after[0].text.strip(_QUOTES)}" if previous and named else ""
                return self._fault(token, Message.NO_SUBSCRIPT, hint=hint)
            else:
                hint = elsewhere.OPERATORS.get(token.text.lower(), "")
                return self._fault(token, Message.MISSING_OPERATOR, hint=hint)
            previous = token
        if self._open:
            return self._fault(self._open[-1], Message.BRACKET_OPEN, sign=_CLOSING[self._open[-1].text])
        if operand_next and previous is not None:
            return self._fault(previous, Message.MISSING_VALUE_END, sign=previous.text)
        return True

    def _push(self, token: Token) -> bool:
        self._open.append(token)
        if len(self._open) > MAX_BRACKETS:
            return self._fault(token, Message.CONDITION_TOO_DEEP, limit=MAX_BRACKETS)
        return True

    def _pop(self, token: Token) -> bool:
        if not self._open or _CLOSING[self._open.pop().text] != token.text:
            return self._fault(token, Message.BRACKET_STRAY)
        return True

    def _decimal(self, position: int) -> str:
        """What is meant by a comma between two numbers without spaces, as in 0,5; empty for any other comma."""
        before, comma, after = self._tokens[position - 1], self._tokens[position], self._tokens[position + 1 :][:1]
        if before.kind == "number" and before.end == comma.start and after and after[0].kind == "number":
            return f"write a decimal point: {before.text}.{after[0].text}" if after[0].start == comma.end else ""
        return ""

    def _fault(self, token: Token, message: Message, *, hint: str = "", **values: str | int) -> bool:
        self._excerpt.at(token.start, token.end, message, hint=hint, **values)
        return False
