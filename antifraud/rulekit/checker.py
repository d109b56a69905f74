"""From the text of a condition to its typed tree: a whitelist over Python's ``ast``, names resolved, types checked.

Whatever is not expressly accepted here does not exist in the language. Nothing is evaluated. All problems of one
condition are found in one pass where they do not follow from each other.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from antifraud.domain import lookalikes
from antifraud.rulekit import elsewhere, lexer, patterns
from antifraud.rulekit.documents import Excerpt
from antifraud.rulekit.fields import EVENTS, KNOWN_AT, SCORE, Field, Range, window_range
from antifraud.rulekit.form import Value as ParamValue
from antifraud.rulekit.local_time import NIGHT, LocalTime, time_of_day
from antifraud.rulekit.messages import Message, did_you_mean, shorten
from antifraud.rulekit.tree import (
    BOOL,
    NUMBER,
    TEXT,
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Holiday,
    Listed,
    Literal,
    Matches,
    Missing,
    Negative,
    Not,
    OneOf,
    OneOfParam,
    Or,
    Param,
    Prefix,
    Slot,
    TimeBetween,
    Truth,
    Value,
    Weekend,
    atoms_of,
)

MAX_DEPTH: Final = 32
MAX_LITERAL: Final = 512

FUNCTIONS: Final[Mapping[str, str]] = {
    "between": "between(value, low, high)",
    "holiday": "holiday()",
    "matches": 'matches(user_agent, "(?i)^linphone")',
    "missing": "missing(caller_age)",
    "night": "night()",
    "prefix_in": 'prefix_in(caller, ["+7700", "+7701"])',
    "time_between": 'time_between("22:00", "06:00")',
    "weekend": "weekend()",
}
"""Every function of the language with an example of its use."""

_ARGUMENTS: Final[Mapping[str, tuple[int, ...]]] = {
    "between": (3,),
    "holiday": (0,),
    "matches": (2,),
    "missing": (1,),
    "night": (0, 2),
    "prefix_in": (2,),
    "time_between": (2,),
    "weekend": (0,),
}
_COUNTS: Final = {
    (0,): "no value",
    (1,): "one value",
    (2,): "two values",
    (3,): "three values",
    (0, 2): "no value or two values",
}
_WINDOW_LENGTHS: Final = ("_1m", "_10m", "_1h", "_24h", "_1d", "_7d", "_30d")
_ESCAPE: Final = "\x01"
"""Stands for the backslash of a pattern while Python's parser looks at the condition; it must not be unescaped."""

_COMPARE: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_HYPHENED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)+\Z")
_FLIPPED: Final = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SAID: Final = {"<": "less than {}", "<=": "{} or less", ">": "more than {}", ">=": "{} or more"}
_ARITHMETIC: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_KINDS: Final = {
    TEXT: "a text",
    NUMBER: "a number",
    BOOL: "yes or no",
    "texts": "a list of texts",
    "numbers": "a list of numbers",
    "condition": "a condition",
    "list": "a list",
}
_LATER: Final = {"answer": "answer", "release": "release", "report": "first report", "talk": "answer"}
_LIST_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "trunks": ("trunk", "switch", "source"),
    "user_agents": ("user_agent",),
    "numbers": ("caller", "callee", "asserted", "diversion", "caller_raw", "callee_raw"),
    "prefixes": ("caller", "callee", "asserted", "diversion", "caller_raw", "callee_raw"),
    "ranges": ("caller", "callee", "asserted", "diversion", "caller_raw", "callee_raw"),
}
_LIST_WORDS: Final = {
    "trunks": "names of trunks",
    "user_agents": "user agents",
    "numbers": "numbers",
    "prefixes": "beginnings of numbers",
    "ranges": "ranges of numbers",
}


Container = tuple[str, ...] | tuple[float, ...] | Param | str
"""The right side of in: literals, a parameter that holds a list, or the name of a list."""

_Part = TypeVar("_Part")


class Names(msgspec.Struct, frozen=True):
    """What a condition may speak of.

    ``order`` gives the row's positions. ``at`` is the kind of event that is judged: fields that it does not carry are
    refused. ``late`` is how: a rule cannot wait for a later event, a window can count on one. ``where`` says what
    cannot be used for want of it ("in the where of a window"). ``scope`` is the rule whose own windows are meant: they
    are among the windows as ``rule.window``.
    """

    fields: Mapping[str, Field]
    order: Mapping[str, int]
    windows: frozenset[str] = frozenset()
    params: Mapping[str, ParamValue] = {}
    lists: Mapping[str, str] = {}
    """Names of lists → their kinds."""
    at: str = "setup"
    late: Message = Message.KNOWN_LATER
    params_allowed: bool = True
    where: str = "here"
    local: LocalTime = LocalTime()
    scope: str = ""
    kinds: Mapping[str, str] = {}
    """Names of windows → their kinds, as far as they are known."""
    unreadable: frozenset[str] | None = frozenset()
    """Parameters whose values cannot be used, which has been said where they stand; None: nobody knows which."""

    def unread(self, param: str) -> bool:
        """Whether the parameter may be declared, with a value that cannot be used."""
        return param not in self.params and (self.unreadable is None or param in self.unreadable)

    def range_of(self, slot: Slot) -> Range:
        """What the numbers of ``slot`` can be."""
        field = self.fields.get(slot.name)
        if field is not None:
            return field.range
        if slot.name in self.windows:
            return window_range(self.kinds.get(slot.name, ""))
        return SCORE if slot.name == "score" else Range()

    def slot(self, name: str) -> Slot | None:
        """The row's position of ``name``, or None."""
        if self.scope and f"{self.scope}.{name}" in self.windows:
            name = f"{self.scope}.{name}"
        field = self.fields.get(name)
        kind = field.type if field is not None else NUMBER
        known = field is not None or name in self.windows or (name == "score" and "score" in self.order)
        return Slot(name, self.order[name], kind) if known and name in self.order else None

    def callable_names(self) -> list[str]:
        """Every name that a condition may use by itself."""
        own = f"{self.scope}."
        names = [name.removeprefix(own) if self.scope else name for name in self.order]
        return [name for name in names if "." not in name and self.slot(name) is not None and self._known(name)]

    def _known(self, name: str) -> bool:
        field = self.fields.get(name)
        return field is None or field.known_at(self.at)


class _Refused(Exception):  # noqa: N818 - control flow inside this module, never seen outside
    """A problem has been noted; this part of the tree has no meaning."""


def param_type(value: ParamValue) -> str:
    """The type of a parameter that has ``value``."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, str):
        return TEXT
    if isinstance(value, float):
        return NUMBER
    return "texts" if value and isinstance(value[0], str) else "numbers"


def late(field: Field, at: str) -> dict[str, str]:
    """What there is to say of a field that is not known yet at an event of the kind ``at``."""
    kinds = [kind for kind in KNOWN_AT[field.since] if kind in EVENTS]
    advice = "write `on: report`" if field.since == "report" else "ask talk_so_far_s, or a window over past calls"
    words = {"name": field.name, "at": at, "event": _LATER[field.since], "advice": advice}
    return {**words, "kinds": " and ".join(kinds), "kind": kinds[0] if kinds else ""}


def late_message(field: Field, names: Names) -> Message:
    """How ``field``, which is not known at ``names.at``, is refused."""
    return Message.ONLY_IN_PROGRESS if field.since == "talk" else names.late


def check_condition(excerpt: Excerpt, names: Names) -> Condition | None:
    """The typed tree; None when something is wrong, which is then noted in the excerpt's sheet."""
    if not lexer.scan(excerpt, lambda: [*names.callable_names(), *FUNCTIONS, "params", "lists"]):
        return None
    text = excerpt.text
    try:
        # In brackets a condition may go over several lines; the line end keeps a last comment apart.
        parsed = ast.parse(f"({text.replace(chr(92), _ESCAPE)}\n)", mode="eval")
    except SyntaxError as error:
        column = max(0, (error.offset or 1) - 1 - (1 if (error.lineno or 1) <= 1 else 0))
        start = min(excerpt.offset(max(0, (error.lineno or 1) - 1), column), len(text) - 1)
        excerpt.at(start, start + 1, Message.CONDITION_SYNTAX)
        return None
    except (ValueError, MemoryError, RecursionError):
        excerpt.at(0, 1, Message.CONDITION_TOO_DEEP, limit=MAX_DEPTH)
        return None
    checker = _Checker(excerpt, names)
    try:
        return checker.condition(parsed.body, 0)
    except _Refused:
        return None


class _Checker:
    def __init__(self, excerpt: Excerpt, names: Names) -> None:
        self._excerpt = excerpt
        self._names = names
        self._rows = [line.encode() for line in f"({excerpt.text}\n)".split("\n")]

    # Places and messages

    def _span(self, node: ast.expr) -> tuple[int, int]:
        return self._offset(node.lineno, node.col_offset), self._offset(
            node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        )

    def _offset(self, line: int, column: int) -> int:
        """The offset in the text of Python's line and byte column."""
        characters = len(self._rows[line - 1][:column].decode(errors="replace"))
        return self._excerpt.offset(line - 1, characters - (1 if line == 1 else 0))

    def _source(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return " ".join(self._excerpt.text[start:end].split())

    def _refuse(self, node: ast.expr, message: Message, /, *, hint: str = "", **values: object) -> _Refused:
        start, end = self._span(node)
        self._excerpt.at(start, end, message, hint=hint, **values)
        return _Refused()

    # Conditions

    def condition(self, node: ast.expr, depth: int) -> Condition:
        """The condition that ``node`` is; _Refused after noting what is wrong."""
        self._bound(node, depth)
        if isinstance(node, ast.BoolOp):
            terms = self._all([functools.partial(self.condition, term, depth + 1) for term in node.values])
            return And(tuple(terms)) if isinstance(node.op, ast.And) else Or(tuple(terms))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self.condition(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if _bool_of(node) is not None:
            raise self._refuse(node, Message.CONSTANT_TERM, term=self._source(node))
        value = self._value(node, depth)
        if isinstance(value, (Slot, Param)) and value.type == BOOL:
            return Truth(value, self._source(node))
        raise self._not_condition(node, _type(value))

    def _not_condition(self, node: ast.expr, kind: str) -> _Refused:
        source = self._source(node)
        advice = {
            NUMBER: f"compare it, such as {shorten(source)} > 10",
            TEXT: f'compare it, such as {shorten(source)} == "…"',
        }.get(kind, "ask with in whether a value is in it")
        if isinstance(node, ast.Constant):
            said = shorten(source)
            advice = f"repeat what is compared, such as … or hour == {said}; several values go into in [ … ]"
            if kind == TEXT:
                advice = f"repeat what is compared, such as … or caller_country == {said}; several go into in [ … ]"
        return self._refuse(node, Message.NOT_A_CONDITION, term=source, actual=_KINDS[kind], advice=advice)

    def _comparison(self, node: ast.Compare, depth: int) -> Condition:
        operands = [node.left, *node.comparators]
        links: list[Callable[[], Condition]] = []
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            links.append(functools.partial(self._link, node, operator, left, right, depth))
        terms = self._all(links)
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _link(self, node: ast.Compare, operator: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Condition:
        single = len(node.ops) == 1
        if isinstance(operator, (ast.In, ast.NotIn)):
            found = self._membership(node, left, right, depth)
            return found if isinstance(operator, ast.In) else Not(found)
        if type(operator) not in _COMPARE:
            raise self._refuse(node, Message.CONDITION_SYNTAX)
        sign = _COMPARE[type(operator)]
        for one, other in ((left, right), (right, left)):
            truth = _bool_of(one)
            if truth is not None and sign in ("==", "!="):
                condition = self.condition(other, depth + 1)
                return condition if truth == (sign == "==") else Not(condition)
        self._bound(node, depth)
        first, second = self._pair(left, right, depth)
        source = self._source(node) if single else f"{self._source(left)} {sign} {self._source(right)}"
        kinds = _type(first), _type(second)
        if BOOL in kinds:
            term, other = (left, right) if kinds[0] == BOOL else (right, left)
            name = self._source(term)
            raise self._refuse(term, Message.BOOL_COMPARE, term=name, advice=f"{shorten(name)} or not {shorten(name)}")
        for operand, kind in ((left, kinds[0]), (right, kinds[1])):
            if kind in ("texts", "numbers"):
                raise self._refuse(
                    operand,
                    Message.WRONG_TYPE,
                    what="a compared value",
                    expected="a text or a number",
                    term=self._source(operand),
                    actual=_KINDS[kind],
                    advice="ask with in whether a value is in a list",
                )
        if kinds[0] != kinds[1]:
            raise self._unequal(node, sign, (left, first), (right, second))
        if kinds[0] == TEXT and sign not in ("==", "!="):
            raise self._refuse(node, Message.TEXT_ORDER, sign=sign)
        if not _varies(first) and not _varies(second):
            raise self._refuse(node, Message.CONSTANT_TERM, term=source)
        for value, other_value, place in ((first, second, right), (second, first, left)):
            if sign in ("==", "!="):
                self._possible(value, self._texts_of(other_value), place)
            self._reaches(value, sign if value is first else _FLIPPED[sign], other_value, node)
        return Compare(sign, first, second, source)

    def _unequal(
        self, node: ast.expr, sign: str, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]
    ) -> _Refused:
        advice = "compare like with like"
        for (_, value), (other_node, other) in ((left, right), (right, left)):
            if isinstance(other, Literal):
                advice = self._instead(value, self._source(other_node), other, sign)
            elif isinstance(other, Param) and isinstance(value, Slot):
                quotes = "in quotes" if value.type == TEXT else "as a plain number, such as 20 or 0.5"
                advice = f"write the value of {other.name} {quotes}, under `params`"
        return self._refuse(
            node,
            Message.CANNOT_COMPARE,
            left=self._source(left[0]),
            left_type=_KINDS[_type(left[1])],
            right=self._source(right[0]),
            right_type=_KINDS[_type(right[1])],
            advice=advice,
        )

    def _instead(self, value: Value, written: str, other: Literal, sign: str) -> str:
        """What to compare ``value`` with instead of a literal of the other type."""
        field = self._names.fields.get(value.name) if isinstance(value, Slot) else None
        if isinstance(other.value, str):
            name = value.name if isinstance(value, Slot) else ""
            if lexer.is_number(other.value.strip()):
                return f"write the number without quotes: {other.value.strip()}"
            if name == "ts":
                return "the time of the call is asked by hour, weekday, time_between(…); exceptions end with `until`"
            if name == "hour":
                return 'write the hour as a number, or time_between("22:00", "06:00")'
            day = elsewhere.weekday(other.value) if name == "weekday" else ""
            return day or "compare it with a number"
        if sign not in ("==", "!="):
            return "texts have no order; use ==, !=, in or prefix_in with them"
        plus = "+" if written.isdigit() and len(written) >= 10 else ""
        fitting = field.impossible(f"{plus}{written}") if field is not None else ""
        return fitting or f'put the text in quotes: "{plus}{written}"'

    def _membership(self, node: ast.Compare, left: ast.expr, right: ast.expr, depth: int) -> Condition:
        value, container = self._pair_in(left, right, depth)
        source = f"{self._source(left)} in {self._source(right)}"
        kind = _type(value)
        if kind not in (TEXT, NUMBER):
            raise self._refuse(
                left,
                Message.WRONG_TYPE,
                what="the left side of in",
                expected="a text or a number",
                term=self._source(left),
                actual=_KINDS[kind],
                advice="write such as caller in lists.<name>",
            )
        if isinstance(container, str):
            self._list_fits(container, left, value)
            ts = self._names.slot("ts")
            if ts is None:
                raise self._refuse(
                    right, Message.NOT_AVAILABLE, name="lists", where=self._names.where, advice="its time is not known"
                )
            return Listed(value, container, ts, source)
        inside = TEXT if (isinstance(container, Param) and container.type == "texts") or _texts(container) else NUMBER
        if inside != kind:
            raise self._refuse(
                node,
                Message.CANNOT_COMPARE,
                left=self._source(left),
                left_type=_KINDS[kind],
                right=self._source(right),
                right_type=_KINDS["texts" if inside == TEXT else "numbers"],
                advice="put texts, telephone numbers among them, in quotes" if kind == TEXT else "leave the quotes out",
            )
        if not _varies(value):
            raise self._refuse(node, Message.CONSTANT_TERM, term=source)
        if isinstance(container, Param):
            self._possible(value, self._texts_of(container), right)
            for number in self._numbers_of(container):
                self._reaches(value, "==", Literal(number), right)
            return OneOfParam(value, container, source)
        assert isinstance(right, (ast.List, ast.Tuple))
        elements: tuple[str | float, ...] = container
        for element, place in zip(elements, right.elts, strict=True):
            if isinstance(element, str):
                self._possible(value, (element,), place)
            else:
                self._reaches(value, "==", Literal(element), place)
        return OneOf(value, container, source)

    def _list_fits(self, name: str, node: ast.expr, value: Value) -> None:
        """A list of trunks is asked about trunks, a list of numbers about numbers."""
        kind = self._names.lists[name]
        if isinstance(value, Slot) and value.name in _LIST_FIELDS[kind]:
            return
        fields = " or ".join([field for field in _LIST_FIELDS[kind] if field in self._names.order][:2])
        raise self._refuse(
            node,
            Message.LIST_KIND,
            name=name,
            kind=_LIST_WORDS[kind],
            field=self._source(node),
            advice=f"ask about {fields}" if fields else "use another list",
        )

    # Functions

    def _call(self, node: ast.Call, depth: int) -> Condition:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise self._unknown_function(node)
        name = node.func.id
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._refuse(node, Message.CONDITION_SYNTAX)
        expected = _ARGUMENTS[name]
        if len(node.args) not in expected:
            words, given = _COUNTS[expected], str(len(node.args))
            advice = f"write such as {FUNCTIONS[name]}"
            raise self._refuse(node, Message.ARGUMENT_COUNT, name=name, expected=words, given=given, advice=advice)
        match name:
            case "missing":
                return self._missing(node.args[0], node)
            case "between":
                return self._between(node, depth)
            case "matches":
                return self._matches(node, depth)
            case "prefix_in":
                return self._prefix(node, depth)
            case _:
                return self._timed(node, name, depth)

    def _unknown_function(self, node: ast.Call) -> _Refused:
        name = self._source(node.func)
        last = name.rpartition(".")[2]
        known = elsewhere.FUNCTIONS.get(last.lower(), "")
        if name.startswith("lists.") and name.count(".") == 2 and last.lower() in ("contains", "has", "includes"):
            known = f"write such as caller in {name.rpartition('.')[0]}"
        if not known and last.endswith(_WINDOW_LENGTHS):
            window = did_you_mean(last, self._names.callable_names(), "see windows.yaml for the names")
            known = f"a window is a name without brackets: {window}"
        advice = known or did_you_mean(last, FUNCTIONS, f"known: {', '.join(FUNCTIONS)}")
        return self._refuse(node.func, Message.UNKNOWN_FUNCTION, name=name, advice=advice)

    def _matches(self, node: ast.Call, depth: int) -> Condition:
        first, second = node.args
        value = self._value(first, depth + 1)
        self._expect(first, value, TEXT, "the first value of matches", f"write such as {FUNCTIONS['matches']}")
        if not isinstance(second, ast.Constant) or not isinstance(second.value, str):
            raise self._refuse(second, Message.PATTERN_NOT_WRITTEN)
        start, end = self._span(second)
        pattern = self._excerpt.text[start + 1 : end - 1]
        if len(pattern) > patterns.MAX_LENGTH:
            limit = patterns.MAX_LENGTH
            raise self._refuse(second, Message.TEXT_TOO_LONG, what="this pattern", length=len(pattern), limit=limit)
        fault = patterns.find_fault(pattern)
        if fault is not None:
            begin = start + 1 + fault.start
            stop = start + 1 + max(fault.end, fault.start + 1)
            self._excerpt.at(begin, stop, Message.PATTERN_BAD, reason=fault.reason, advice=fault.advice)
            raise _Refused
        if patterns.finds_everything(pattern):
            raise self._refuse(second, Message.PATTERN_ALWAYS)
        if not _varies(value):
            raise self._refuse(node, Message.CONSTANT_TERM, term=self._source(node))
        return Matches(value, pattern, self._source(node))

    def _timed(self, node: ast.Call, name: str, depth: int) -> Condition:
        """The functions of the call's local time."""
        ts, local, source = self._names.slot("ts"), self._names.local, self._source(node)
        if ts is None:
            advice = "its time is not known"
            raise self._refuse(node, Message.NOT_AVAILABLE, name=name, where=self._names.where, advice=advice)
        if name == "weekend":
            return Weekend(ts, local.offset_s, source)
        if name == "holiday":
            if not self._names.params_allowed:
                advice = "holidays are added over the years, and a window keeps its meaning; ask in a rule"
                raise self._refuse(node, Message.NOT_AVAILABLE, name=name, where=self._names.where, advice=advice)
            if not local.known:
                raise self._refuse(node, Message.NO_CALENDAR)
            days = tuple(float(day) for day in sorted(local.holidays))
            return Holiday(ts, local.offset_s, days, float(local.first), float(local.after), source)
        if not node.args:
            return TimeBetween(ts, Literal(NIGHT[0]), Literal(NIGHT[1]), local.offset_s, source)
        start, end = self._all([functools.partial(self._time, argument, depth + 1) for argument in node.args])
        if start == end:
            raise self._refuse(node, Message.TIME_EMPTY, time=self._source(node.args[0]))
        return TimeBetween(ts, start, end, local.offset_s, source)

    def _time(self, node: ast.expr, depth: int) -> Value:
        """A time of the day in seconds: written as "22:00", or a parameter that holds the hour."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            seconds = time_of_day(node.value)
            if seconds is not None:
                return Literal(seconds)
        elif isinstance(node, ast.Attribute):
            value = self._value(node, depth)
            if isinstance(value, Param) and value.type == NUMBER:
                return Arithmetic("*", value, Literal(3_600.0))
        raise self._refuse(node, Message.BAD_TIME, value=self._source(node))

    def _missing(self, argument: ast.expr, node: ast.Call) -> Condition:
        if not isinstance(argument, ast.Name):
            quoted = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            name = str(argument.value) if quoted and isinstance(argument, ast.Constant) else ""
            hint = f"write it without quotes: missing({name})" if self._names.slot(name) is not None else ""
            raise self._refuse(argument, Message.MISSING_NEEDS_NAME, hint=hint)
        slot = self._name(argument)
        return Missing(slot, self._source(node))

    def _between(self, node: ast.Call, depth: int) -> Condition:
        values = self._all([functools.partial(self._value, argument, depth + 1) for argument in node.args])
        for argument, value in zip(node.args, values, strict=True):
            self._expect(argument, value, NUMBER, "a value of between", f"write such as {FUNCTIONS['between']}")
        if not any(_varies(value) for value in values):
            raise self._refuse(node, Message.CONSTANT_TERM, term=self._source(node))
        low, high = values[1], values[2]
        if isinstance(low, Literal) and isinstance(high, Literal) and float(low.value) > float(high.value):
            lowest, highest = self._source(node.args[1]), self._source(node.args[2])
            hint = f"write between({self._source(node.args[0])}, {highest}, {lowest})"
            if isinstance(values[0], Slot) and values[0].name == "hour":
                hint = 'over midnight write time_between("22:00", "06:00")'
            raise self._refuse(node, Message.BETWEEN_EMPTY, hint=hint, low=lowest, high=highest)
        self._reaches(values[0], ">=", values[1], node)
        self._reaches(values[0], "<=", values[2], node)
        return Between(values[0], values[1], values[2], self._source(node))

    def _prefix(self, node: ast.Call, depth: int) -> Condition:
        first, second = node.args
        if isinstance(second, ast.Constant):
            raise self._refuse(
                second,
                Message.WRONG_TYPE,
                what="the second value of prefix_in",
                expected="a list of texts",
                term=self._source(second),
                actual=_KINDS[_type(self._literal(second))],
                advice=f"write such as {FUNCTIONS['prefix_in']}",
            )
        value, container = self._pair_in(first, second, depth)
        self._expect(first, value, TEXT, "the first value of prefix_in", f"write such as {FUNCTIONS['prefix_in']}")
        if isinstance(container, str):
            if self._names.lists[container] != "prefixes":
                raise self._refuse(
                    second,
                    Message.LIST_KIND,
                    name=container,
                    kind=_LIST_WORDS[self._names.lists[container]],
                    field="the beginning of a number",
                    advice="use a list of prefixes, or in",
                )
            self._list_fits(container, first, value)
            ts = self._names.slot("ts")
            assert ts is not None, "a rule's row has the time of the call"
            return Listed(value, container, ts, self._source(node))
        inside = container.type if isinstance(container, Param) else ("texts" if _texts(container) else "numbers")
        if inside != "texts":
            raise self._refuse(
                second,
                Message.WRONG_TYPE,
                what="the second value of prefix_in",
                expected="a list of texts",
                term=self._source(second),
                actual=_KINDS[inside],
                advice="put beginnings of numbers in quotes",
            )
        if not _varies(value):
            raise self._refuse(node, Message.CONSTANT_TERM, term=self._source(node))
        if isinstance(container, Param):
            return Prefix(value, container, self._source(node))
        if "" in container:
            raise self._refuse(second, Message.PREFIX_EMPTY)
        field = self._names.fields.get(value.name) if isinstance(value, Slot) else None
        if field is not None and field.shape == "number":
            texts = [item for item in container if isinstance(item, str)]
            self._possible(value, texts, second, beginning=True)
        return Prefix(value, tuple(item for item in container if isinstance(item, str)), self._source(node))

    # Values

    def _value(self, node: ast.expr, depth: int) -> Value:
        self._bound(node, depth)
        if isinstance(node, ast.Constant):
            return self._literal(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            inner = self._value(node.operand, depth + 1)
            self._expect(node.operand, inner, NUMBER, "a value with a sign", "texts have no sign")
            if isinstance(node.op, ast.UAdd):
                return inner
            if isinstance(inner, Literal) and not isinstance(inner.value, str):
                return Literal(-inner.value)
            return Negative(inner)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._pair(node.left, node.right, depth)
            sign = _ARITHMETIC[type(node.op)]
            for operand, value in ((node.left, left), (node.right, right)):
                self._expect(operand, value, NUMBER, f"a value beside {sign}", "only numbers are calculated with")
            if sign == "/" and isinstance(right, Literal) and right.value == 0.0:
                raise self._refuse(node, Message.DIVIDES_BY_ZERO)
            return Arithmetic(sign, left, right)
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            raise self._unknown_function(node)
        if isinstance(node, (ast.Compare, ast.BoolOp, ast.Call)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise self._refuse(node, Message.CONDITION_AS_VALUE)
        if isinstance(node, (ast.List, ast.Tuple)):
            raise self._refuse(
                node,
                Message.WRONG_TYPE,
                what="a value here",
                expected="a text or a number",
                term=self._source(node),
                actual="a list",
                advice="ask with in whether a value is in a list",
            )
        if isinstance(node, ast.Subscript):
            raise self._refuse(node, Message.NO_SUBSCRIPT)
        raise self._refuse(node, Message.CONDITION_SYNTAX)

    def _literal(self, node: ast.Constant) -> Literal:
        value = node.value
        if isinstance(value, str):
            if len(value) > MAX_LITERAL:
                raise self._refuse(node, Message.TEXT_TOO_LONG, what="this text", length=len(value), limit=MAX_LITERAL)
            if lookalikes.mixed(value):
                letters = lookalikes.foreign(value)
                advice = f'type it again on the Latin keyboard: "{lookalikes.retyped(value)}"'
                raise self._refuse(node, Message.LOOKALIKE, name=self._source(node), letters=letters, advice=advice)
            return Literal(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return Literal(float(value))
        if isinstance(value, bool):
            raise self._refuse(node, Message.CONSTANT_TERM, term=self._source(node))
        raise self._refuse(node, Message.BAD_NUMBER, value=self._source(node))

    def _name(self, node: ast.Name) -> Slot:
        name = node.id
        names = self._names
        slot = names.slot(name)
        if slot is None:
            if name in ("params", "lists"):
                raise self._refuse(node, Message.BARE_NAMESPACE, name=name)
            if name in ("true", "false"):
                raise self._refuse(node, Message.CONSTANT_TERM, term=name)
            if name in names.params:
                hint = f"did you mean params.{name}?"
            elif name in names.lists:
                hint = f"did you mean lists.{name}?"
            elif name in FUNCTIONS:
                hint = f"it is a function; write such as {FUNCTIONS[name]}"
            else:
                hint = self._hyphened(node) or elsewhere.NAMES.get(name.lower(), "")
                hint = hint or did_you_mean(name, names.callable_names(), _quote_hint(name))
            raise self._refuse(node, Message.UNKNOWN_NAME, name=name, advice=hint)
        field = names.fields.get(name)
        if field is not None and not field.known_at(names.at):
            raise self._refuse(node, late_message(field, names), **late(field, names.at))
        return slot

    def _hyphened(self, node: ast.Name) -> str:
        """What is meant by a name that stands behind a hyphen, as in caller-country; empty where nothing is."""
        _start, end = self._span(node)
        written = _HYPHENED.search(self._excerpt.text[:end])
        whole = written[0].replace("-", "_") if written is not None else ""
        return f"did you mean {whole}?" if whole and self._names.slot(whole) is not None else ""

    def _attribute(self, node: ast.Attribute) -> Param:
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base == "lists":
            self._list(node)
            raise self._refuse(
                node,
                Message.WRONG_TYPE,
                what="a value here",
                expected="a text or a number",
                term=self._source(node),
                actual="a list",
                advice=f"ask with in: caller in {self._source(node)}",
            )
        if base != "params":
            whole = f"{base}_{node.attr}"
            hint = f"did you mean {whole}?" if base and self._names.slot(whole) is not None else ""
            raise self._refuse(node, Message.NO_ATTRIBUTE, hint=hint, name=self._source(node.value))
        if not self._names.params_allowed:
            raise self._refuse(
                node, Message.NOT_AVAILABLE, name="params", where=self._names.where, advice="write the value itself"
            )
        if self._names.unread(node.attr):
            raise _Refused
        if node.attr not in self._names.params:
            advice = did_you_mean(node.attr, self._names.params, "declare it under the key params")
            raise self._refuse(node, Message.UNKNOWN_PARAM, name=node.attr, advice=advice)
        return Param(node.attr, param_type(self._names.params[node.attr]))

    def _list(self, node: ast.Attribute) -> str:
        if not self._names.params_allowed:
            raise self._refuse(
                node, Message.NOT_AVAILABLE, name="lists", where=self._names.where, advice="use it in a rule"
            )
        if node.attr not in self._names.lists:
            advice = did_you_mean(node.attr, self._names.lists, "add it as a file under rules/lists")
            raise self._refuse(node, Message.UNKNOWN_LIST, name=node.attr, advice=advice)
        return node.attr

    def _container(self, node: ast.expr, depth: int) -> Container:
        """The right side of ``in``: a literal list, a parameter that holds one, or the name of a list."""
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._elements(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lists":
            return self._list(node)
        value = self._value(node, depth + 1)
        if isinstance(value, Param) and value.type in ("texts", "numbers"):
            return value
        hint = ""
        if isinstance(value, Literal) and isinstance(value.value, str):
            named = value.value in self._names.lists
            hint = f"did you mean lists.{value.value}?" if named else f"write in [{self._source(node)}], or use =="
        raise self._refuse(node, Message.IN_NEEDS_LIST, hint=hint, term=self._source(node), actual=_KINDS[_type(value)])

    def _elements(self, node: ast.List | ast.Tuple) -> tuple[str, ...] | tuple[float, ...]:
        if not node.elts:
            raise self._refuse(node, Message.LIST_EMPTY)
        values: list[str | float] = []
        for element in node.elts:
            negative = isinstance(element, ast.UnaryOp) and isinstance(element.op, ast.USub)
            if not isinstance(element, ast.Constant) and not (
                negative and isinstance(element, ast.UnaryOp) and isinstance(element.operand, ast.Constant)
            ):
                hint = ""
                if isinstance(element, ast.Name) and self._names.slot(element.id) is None:
                    hint = f'put it in quotes: "{element.id}"'
                raise self._refuse(element, Message.LIST_ELEMENT, hint=hint)
            value = self._value(element, 0)
            assert isinstance(value, Literal)
            values.append(value.value)
        texts = tuple(value for value in values if isinstance(value, str))
        numbers = tuple(value for value in values if not isinstance(value, str))
        if texts and numbers:
            raise self._refuse(node, Message.LIST_MIXED)
        return texts or numbers

    # Small checks

    def _bound(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._refuse(node, Message.CONDITION_TOO_DEEP, limit=MAX_DEPTH)

    def _expect(self, node: ast.expr, value: Value, kind: str, what: str, advice: str) -> None:
        if _type(value) != kind:
            raise self._refuse(
                node,
                Message.WRONG_TYPE,
                what=what,
                expected=_KINDS[kind],
                term=self._source(node),
                actual=_KINDS[_type(value)],
                advice=advice,
            )

    def _texts_of(self, value: Value) -> tuple[str, ...]:
        """The texts that a literal or a parameter is known to hold."""
        held: ParamValue | None = value.value if isinstance(value, Literal) else None
        if isinstance(value, Param):
            held = self._names.params[value.name]
        if isinstance(held, str):
            return (held,)
        return tuple(item for item in held if isinstance(item, str)) if isinstance(held, tuple) else ()

    def _numbers_of(self, value: Value) -> tuple[float, ...]:
        """The numbers that a literal or a parameter is known to hold."""
        held: ParamValue | None = value.value if isinstance(value, Literal) else None
        if isinstance(value, Param):
            held = self._names.params[value.name]
        items = held if isinstance(held, tuple) else (held,)
        return tuple(item for item in items if isinstance(item, float) and not isinstance(item, bool))

    def _reaches(self, value: Value, sign: str, other: Value, node: ast.expr) -> None:
        """What is compared with a number can come to it, and a share is not compared with percent.

        A parameter may lie on the border, as in ``hour < params.until`` with 0: so a region switches a term off.
        """
        if not isinstance(value, Slot) or value.type != NUMBER:
            return
        within = self._names.range_of(value)
        for number in self._numbers_of(other):
            outside = not within.has(number)
            if isinstance(other, Param) and not outside:
                continue
            words = _SAID.get(sign, "{}").format(f"{number:.15g}")
            if within.never(sign, number):
                message = Message.VALUE_IMPOSSIBLE
            elif within.shares and outside:
                message = Message.VALUE_ALWAYS
            else:
                continue
            name = value.name.rpartition(".")[2]  # a rule's own window is called here as it is in the rule
            raise self._refuse(node, message, name=name, value=words, advice=within.advice(number))

    def _possible(self, value: Value, texts: Sequence[str], node: ast.expr, *, beginning: bool = False) -> None:
        """A field that takes only certain texts, or writes them in a certain way, is compared with such."""
        field = self._names.fields.get(value.name) if isinstance(value, Slot) else None
        if field is None:
            return
        for text in texts:
            advice = field.impossible(text, beginning=beginning)
            if field.name == "kind" and not advice and text != self._names.at:
                advice = f"what is judged here is always a {self._names.at}"
            if advice:
                raise self._refuse(node, Message.VALUE_IMPOSSIBLE, name=field.name, value=f'"{text}"', advice=advice)

    def _pair(self, left: ast.expr, right: ast.expr, depth: int) -> tuple[Value, Value]:
        """Both values; what is wrong with either is noted before the refusal."""
        first, second = self._all([lambda: self._value(left, depth + 1), lambda: self._value(right, depth + 1)])
        return first, second

    def _pair_in(self, left: ast.expr, right: ast.expr, depth: int) -> tuple[Value, Container]:
        """A value and the list that it is looked up in."""
        found: list[Value] = []
        containers: list[Container] = []
        self._all(
            [
                lambda: found.append(self._value(left, depth + 1)),
                lambda: containers.append(self._container(right, depth + 1)),
            ]
        )
        return found[0], containers[0]

    @staticmethod
    def _all(parts: Sequence[Callable[[], _Part]]) -> list[_Part]:
        """Every part; all are tried before the first refusal is passed on, so that all problems are found."""
        done: list[_Part] = []
        refused: _Refused | None = None
        for part in parts:
            try:
                done.append(part())
            except _Refused as refusal:
                refused = refusal
        if refused is not None:
            raise refused
        return done


def _bool_of(node: ast.expr) -> bool | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Name) and node.id in ("true", "false"):
        return node.id == "true"
    return None


def _type(value: Value) -> str:
    match value:
        case Literal(inner):
            return TEXT if isinstance(inner, str) else NUMBER
        case Slot(_, _, kind) | Param(_, kind):
            return kind
        case _:
            return NUMBER


def _varies(value: Value) -> bool:
    """Whether the value can differ between two calls."""
    return any(isinstance(atom, Slot) for atom in atoms_of(value))


def _texts(container: Container) -> bool:
    return isinstance(container, tuple) and isinstance(container[0], str)


def _quote_hint(name: str) -> str:
    return f'if it is a text, put it in quotes: "{shorten(name)}"'
