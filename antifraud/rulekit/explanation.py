"""Why a rule hit or did not: every term of its condition, the values it saw, and whether it held."""

from __future__ import annotations

import msgspec

from antifraud.rulekit.interpreter import Interpreter
from antifraud.rulekit.local_time import LocalTime, shown_moment
from antifraud.rulekit.tree import (
    And,
    Condition,
    Holiday,
    Missing,
    Not,
    Or,
    Param,
    TimeBetween,
    Weekend,
    atoms_of,
    values_of,
)


class Term(msgspec.Struct, frozen=True):
    """One line of an explanation.

    ``held`` is True, False, or None for unknown (a value was missing). ``values`` are (name, value) pairs. A line
    without values is a heading ("all of", "any of", "not") for the lines that follow one level deeper.
    """

    text: str
    held: bool | None
    depth: int = 0
    values: tuple[tuple[str, object], ...] = ()


class ExceptionNote(msgspec.Struct, frozen=True):
    """One exception of the rule: whether it had ended at the time of the call, and its terms."""

    name: str
    held: bool
    ended: bool
    terms: tuple[Term, ...]


class Explanation(msgspec.Struct, frozen=True):
    """What one rule made of one call. ``hit`` is the condition without a holding exception, whatever the stage."""

    rule: str
    verdict: str
    stage: str
    hit: bool
    terms: tuple[Term, ...]
    exceptions: tuple[ExceptionNote, ...] = ()


class Holidays(msgspec.Struct, frozen=True):
    """What holidays are called, and in which language that is said."""

    local: LocalTime = LocalTime()
    language: str = "en"


def explain_condition(condition: Condition, interpreter: Interpreter, holidays: Holidays) -> tuple[Term, ...]:
    """The terms of ``condition``; those of the outermost *and* stand side by side."""
    terms = condition.terms if isinstance(condition, And) else (condition,)
    return tuple(line for term in terms for line in _lines(term, interpreter, holidays, 0))


def _lines(condition: Condition, interpreter: Interpreter, holidays: Holidays, depth: int) -> list[Term]:
    held = interpreter.holds(condition)
    match condition:
        case And(terms) | Or(terms):
            head = Term("all of" if isinstance(condition, And) else "any of", held, depth)
            return [head, *(line for term in terms for line in _lines(term, interpreter, holidays, depth + 1))]
        case Not(And() | Or() as inner):
            return [Term("not", held, depth), *_lines(inner, interpreter, holidays, depth + 1)]
        case _:
            leaf: Condition = condition
            while isinstance(leaf, Not):
                leaf = leaf.term
            if isinstance(leaf, (And, Or)):
                return [Term("not", held, depth), *_lines(leaf, interpreter, holidays, depth + 1)]
            atoms = dict.fromkeys(
                atom
                for value in ((leaf.slot,) if isinstance(leaf, Missing) else values_of(leaf))
                for atom in atoms_of(value)
            )
            values: tuple[tuple[str, object], ...] = tuple(
                (f"params.{atom.name}" if isinstance(atom, Param) else own_name(atom.name), interpreter.value(atom))
                for atom in atoms
            )
            if isinstance(leaf, (TimeBetween, Weekend, Holiday)):
                moment = interpreter.value(leaf.ts)
                shown = shown_moment(moment, leaf.offset_s) if moment is not None else None
                values = (("local time", shown), *values[1:])
                name = holidays.local.holiday(moment) if isinstance(leaf, Holiday) and moment is not None else None
                if name is not None:
                    values = (*values, ("holiday", name.get(holidays.language)))
            return [Term(phrase(condition), held, depth, values)]


def own_name(name: str) -> str:
    """The name as the rule itself says it: a window of its own without the rule's name before it."""
    return name.rpartition(".")[2]


def phrase(condition: Condition) -> str:
    """The condition as text, from the words of the person who wrote it."""
    match condition:
        case And(terms):
            return " and ".join(f"({phrase(term)})" if isinstance(term, Or) else phrase(term) for term in terms)
        case Or(terms):
            return " or ".join(f"({phrase(term)})" if isinstance(term, And) else phrase(term) for term in terms)
        case Not(And() | Or() as inner):
            return f"not ({phrase(inner)})"
        case Not(inner):
            return f"not {phrase(inner)}"
        case _:
            return condition.source
