"""Rules: the format that analysts write, its checker, its compiler, and what a rule says about a call.

No I/O beyond reading rules/, no clock: the time of an expiry is the time of the call.
"""

from __future__ import annotations

from antifraud.rulekit.amendments import (
    Ahead,
    Amendment,
    Amendments,
    decode_amendments,
    encode_amendment,
    end_value,
    plain_value,
)
from antifraud.rulekit.compiler import Predicate, combine_where
from antifraud.rulekit.evaluation import CompiledRules, Hit, Params
from antifraud.rulekit.explanation import ExceptionNote, Explanation, Term
from antifraud.rulekit.fields import Field, load_fields
from antifraud.rulekit.list_folder import load_lists
from antifraud.rulekit.lists import Found, ListFile
from antifraud.rulekit.local_time import LocalTime, read_calendar
from antifraud.rulekit.messages import Message, RuleProblem
from antifraud.rulekit.rule import Rule, RuleException, RuleTest
from antifraud.rulekit.rule_tests import Replay, TestResult, UnprovenTerm, run_rule_tests, run_tests, unproven_terms
from antifraud.rulekit.ruleset import RuleSet, compile_where, load_rules, read_call
from antifraud.rulekit.texts import LocalText
from antifraud.rulekit.window_names import (
    OwnWindows,
    read_own_windows,
    read_window_kinds,
    read_window_names,
    taken_names,
)

__all__ = [
    "Ahead",
    "Amendment",
    "Amendments",
    "CompiledRules",
    "ExceptionNote",
    "Explanation",
    "Field",
    "Found",
    "Hit",
    "ListFile",
    "LocalText",
    "LocalTime",
    "Message",
    "OwnWindows",
    "Params",
    "Predicate",
    "Replay",
    "Rule",
    "RuleException",
    "RuleProblem",
    "RuleSet",
    "RuleTest",
    "Term",
    "TestResult",
    "UnprovenTerm",
    "combine_where",
    "compile_where",
    "decode_amendments",
    "encode_amendment",
    "end_value",
    "load_fields",
    "load_lists",
    "load_rules",
    "plain_value",
    "read_calendar",
    "read_call",
    "read_own_windows",
    "read_window_kinds",
    "read_window_names",
    "run_rule_tests",
    "run_tests",
    "taken_names",
    "unproven_terms",
]
