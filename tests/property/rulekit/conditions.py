"""Random conditions as typed trees, and how they are written: for proving the compiler against the interpreter."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from antifraud.domain import BundleError
from antifraud.rulekit import Field, LocalText, LocalTime
from antifraud.rulekit.checker import Names, check_condition
from antifraud.rulekit.documents import Excerpt, Sheet
from antifraud.rulekit.tree import (
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
    atoms_in,
    leaves_of,
    lists_in,
)

NUMBERS = ("n0", "n1", "n2")
TEXTS = ("caller", "callee", "t2")
BOOLS = ("b0", "b1")
ORDER = ("ts", *NUMBERS, *TEXTS, *BOOLS)
PARAMS: dict[str, Any] = {
    "number": 3.0,
    "word": "ab",
    "flag": True,
    "words": ("ab", "+7700", "c"),
    "figures": (0.0, 2.0, 5.0),
}
LISTS = {"known": "numbers", "blocks": "prefixes"}
WORDS = ("", "ab", "abc", "+7700", "+77001234567", "c")
PATTERNS = ("^ab", "[0-9]{3}", r"^\+7700", "(?i)B", "c$", r"\d", "a|b")
CLOCK = (0.0, 21_600.0, 43_200.0, 79_200.0, 86_340.0)
FIGURES = (0.0, 1.0, 2.0, 3.0, 5.0, -1.0, 0.5, 1e14)


def _type(name: str) -> str:
    return "text" if name in TEXTS else "bool" if name in BOOLS else "number"


SLOTS = {name: Slot(name, index, _type(name)) for index, name in enumerate(ORDER)}
FIELDS = {name: Field(name, slot.type, "setup", LocalText((("", name),))) for name, slot in SLOTS.items()}
# A calendar of the first days of 1970, where the figures of these tests lie: 1 and 4 January are holidays.
LOCAL = LocalTime(300, {0: LocalText(), 3: LocalText()}, 0, 10)
NAMES = Names(FIELDS, {name: index for index, name in enumerate(ORDER)}, frozenset(), PARAMS, LISTS, local=LOCAL)
SIGNS = ("==", "!=", "<", "<=", ">", ">=")


def _as_seconds(name: str) -> Value:
    return Arithmetic("*", Param(name, "number"), Literal(3_600.0))


times: st.SearchStrategy[Value] = st.one_of(st.sampled_from(CLOCK).map(Literal), st.just(_as_seconds("number")))
number_slots = st.sampled_from([SLOTS[name] for name in ("ts", *NUMBERS)])
text_slots = st.sampled_from([SLOTS[name] for name in TEXTS])
numbers: st.SearchStrategy[Value] = st.recursive(
    st.one_of(number_slots, st.sampled_from(FIGURES).map(Literal), st.just(Param("number", "number"))),
    lambda inner: st.one_of(
        st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner),
        # A minus before a literal is the literal itself.
        inner.filter(lambda value: not isinstance(value, Literal)).map(Negative),
    ),
    max_leaves=6,
)
varying_numbers = st.one_of(number_slots, st.builds(Arithmetic, st.sampled_from("+-*/"), number_slots, numbers))
texts: st.SearchStrategy[Value] = st.one_of(
    text_slots, st.sampled_from(WORDS).map(Literal), st.just(Param("word", "text"))
)

leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, st.sampled_from(SIGNS), varying_numbers, numbers),
    st.builds(Compare, st.sampled_from(SIGNS), numbers, varying_numbers),
    st.builds(Compare, st.sampled_from(("==", "!=")), text_slots, texts),
    st.builds(Between, varying_numbers, numbers, numbers),
    st.builds(Between, numbers, varying_numbers, varying_numbers),
    st.builds(OneOf, varying_numbers, st.lists(st.sampled_from(FIGURES), min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, text_slots, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)),
    st.builds(OneOfParam, text_slots, st.just(Param("words", "texts"))),
    st.builds(OneOfParam, varying_numbers, st.just(Param("figures", "numbers"))),
    st.builds(
        Listed, st.sampled_from([SLOTS["caller"], SLOTS["callee"]]), st.sampled_from(list(LISTS)), st.just(SLOTS["ts"])
    ),
    st.builds(Prefix, text_slots, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)),
    st.builds(Prefix, text_slots, st.just(Param("words", "texts"))),
    st.builds(Matches, text_slots, st.sampled_from(PATTERNS)),
    st.tuples(times, times)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: TimeBetween(SLOTS["ts"], pair[0], pair[1], LOCAL.offset_s)),
    st.just(Weekend(SLOTS["ts"], LOCAL.offset_s)),
    st.just(Holiday(SLOTS["ts"], LOCAL.offset_s, (0.0, 3.0), 0.0, 10.0)),
    st.builds(Missing, st.sampled_from(list(SLOTS.values()))),
    st.builds(Truth, st.sampled_from([*(SLOTS[name] for name in BOOLS), Param("flag", "bool")])),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=12,
)


def of_a_window(condition: Condition) -> bool:
    """Whether the condition has neither parameters, lists nor holidays, so that a window can have it."""
    return (
        not lists_in(condition)
        and not any(isinstance(atom, Param) for atom in atoms_in(condition))
        and not any(isinstance(leaf, Holiday) for leaf in leaves_of(condition))
    )


window_conditions = conditions.filter(of_a_window)

_number_values = st.one_of(
    st.none(),
    st.sampled_from(FIGURES),
    st.sampled_from((1e308, -1e308, 5e-324)),
    st.floats(allow_nan=False, allow_infinity=False),
)
_text_values = st.one_of(st.none(), st.sampled_from(WORDS), st.text(max_size=4))
_ts_values = st.one_of(_number_values, st.integers(-3, 12 * 24).map(lambda hours: hours * 3_600.0))
rows = st.tuples(
    _ts_values,
    *[_number_values] * len(NUMBERS),
    *[_text_values] * len(TEXTS),
    *[st.sampled_from((None, True, False))] * 2,
).map(list)


def write_value(value: Value) -> str:
    """The value as a person would write it."""
    match value:
        case Literal(inner):
            return f'"{inner}"' if isinstance(inner, str) else _figure(inner)
        case Slot(name):
            return name
        case Param(name):
            return f"params.{name}"
        case Negative(inner):
            return f"-({write_value(inner)})"
        case Arithmetic(sign, left, right):
            return f"({write_value(left)} {sign} {write_value(right)})"


def _time(value: Value) -> str:
    match value:
        case Literal(float(seconds)):
            return f'"{int(seconds) // 3_600:02}:{int(seconds) % 3_600 // 60:02}"'
        case Arithmetic(_, Param(name)):
            return f"params.{name}"
    raise AssertionError(value)


def _figure(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else repr(number)


def _choices(choices: tuple[Any, ...]) -> str:
    return "[" + ", ".join(write_value(Literal(choice)) for choice in choices) + "]"


def write(condition: Condition) -> str:
    """The condition as a person would write it, with all brackets."""
    match condition:
        case Compare(sign, left, right):
            return f"{write_value(left)} {sign} {write_value(right)}"
        case Between(value, low, high):
            return f"between({write_value(value)}, {write_value(low)}, {write_value(high)})"
        case OneOf(value, choices):
            return f"{write_value(value)} in {_choices(choices)}"
        case OneOfParam(value, param):
            return f"{write_value(value)} in {write_value(param)}"
        case Listed(value, name):
            return f"{write_value(value)} in lists.{name}"
        case Prefix(value, prefixes):
            shown = write_value(prefixes) if isinstance(prefixes, Param) else _choices(prefixes)
            return f"prefix_in({write_value(value)}, {shown})"
        case Matches(value, pattern):
            return f'matches({write_value(value)}, "{pattern}")'
        case TimeBetween(_, start, end):
            return f"time_between({_time(start)}, {_time(end)})"
        case Weekend():
            return "weekend()"
        case Holiday():
            return "holiday()"
        case Missing(slot):
            return f"missing({slot.name})"
        case Truth(value):
            return write_value(value)
        case Not(term):
            return f"not ({write(term)})"
        case And(terms):
            return " and ".join(f"({write(term)})" for term in terms)
        case Or(terms):
            return "\nor ".join(f"({write(term)})" for term in terms)


def check(text: str, names: Names = NAMES) -> Condition:
    """The checked condition; BundleError with what is wrong."""
    sheet = Sheet("condition", text)
    excerpt = Excerpt(sheet, text, [(line, 1) for line in range(1, text.count("\n") + 2)])
    found = check_condition(excerpt, names)
    if found is None:
        raise BundleError.of(sheet.sorted_problems())
    return found
