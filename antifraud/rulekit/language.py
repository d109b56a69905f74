"""Everything that a condition can be made of, as people write it: the source of the reference (see ``reference``).

Each entry has an example with calls of which it is true, false or unknown; a test runs all of them, so what is written
here about missing values is what happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

Given = Mapping[str, str | float | bool]


class Construct(msgspec.Struct, frozen=True):
    """One way to say something.

    ``written`` is the form, ``takes`` what may stand in it, ``meaning`` when it is true (or what it comes to),
    ``missing`` what becomes of it without a value. ``cases`` are calls (fields that are known) with what the example
    is then: true, false, or None for unknown.
    """

    written: str
    takes: str
    meaning: str
    missing: str
    example: str
    cases: tuple[tuple[Given, bool | None], ...]


UNKNOWN: Final = "unknown"
_NUMBER: Final = "+77000000001"
_OTHER: Final = "+77000000002"

LANGUAGE: Final[Mapping[str, tuple[Construct, ...]]] = {
    "Comparisons": (
        Construct(
            "a == b",
            "two texts, or two numbers",
            "they are the same; capitals matter",
            UNKNOWN,
            'trunk_class == "international"',
            (({"trunk_class": "international"}, True), ({"trunk_class": "national"}, False), ({}, None)),
        ),
        Construct(
            "a != b",
            "two texts, or two numbers",
            "they differ",
            "unknown: it is not known that they differ",
            'trunk_class != "international"',
            (({"trunk_class": "national"}, True), ({"trunk_class": "international"}, False), ({}, None)),
        ),
        Construct(
            "a < b, a <= b, a > b, a >= b",
            "two numbers; texts have no order",
            "a is smaller, not larger, larger, not smaller",
            UNKNOWN,
            "caller_callees_10m >= params.callees",
            (({"caller_callees_10m": 40.0}, True), ({"caller_callees_10m": 39.0}, False), ({}, None)),
        ),
        Construct(
            "a <= b < c",
            "numbers",
            "the same as a <= b and b < c",
            UNKNOWN,
            "9 <= hour < 18",
            (({"hour": 9.0}, True), ({"hour": 18.0}, False), ({}, None)),
        ),
        Construct(
            "between(x, low, high)",
            "three numbers",
            "x lies between the two, both included",
            UNKNOWN,
            "between(hour, 9, 17)",
            (({"hour": 17.0}, True), ({"hour": 18.0}, False), ({}, None)),
        ),
    ),
    "One of several": (
        Construct(
            "x in [a, b]",
            "a text and texts, or a number and numbers",
            "x is one of them",
            UNKNOWN,
            'caller_country in ["RU", "UZ"]',
            (({"caller_country": "UZ"}, True), ({"caller_country": "KZ"}, False), ({}, None)),
        ),
        Construct(
            "x not in [a, b]",
            "a text and texts, or a number and numbers",
            "x is none of them",
            "unknown: it is not known that it is none of them",
            'caller_country not in ["RU", "UZ"]',
            (({"caller_country": "KZ"}, True), ({"caller_country": "UZ"}, False), ({}, None)),
        ),
        Construct(
            "x in params.name",
            "a text and a parameter that holds texts, or a number and one that holds numbers",
            "x is one of those that the parameter holds",
            UNKNOWN,
            "caller_country in params.lands",
            (({"caller_country": "RU"}, True), ({"caller_country": "KZ"}, False), ({}, None)),
        ),
        Construct(
            "x in lists.name",
            "a number, a trunk or a user agent, and a list of such",
            "x is in the list at the time of the call",
            UNKNOWN,
            "caller in lists.honest_heavy_callers",
            (({"caller": _NUMBER}, True), ({"caller": _OTHER}, False), ({}, None)),
        ),
    ),
    "Texts": (
        Construct(
            "prefix_in(x, [a, b])",
            "a text, and texts; also params.name, or lists.name with a list of prefixes",
            "x begins with one of them",
            UNKNOWN,
            'prefix_in(caller, ["+7700", "+7701"])',
            (({"caller": _NUMBER}, True), ({"caller": "+15550100"}, False), ({}, None)),
        ),
        Construct(
            'matches(x, "pattern")',
            "a text, and a pattern in quotes",
            "the pattern is found anywhere in x",
            UNKNOWN,
            'matches(user_agent, "(?i)^linphone")',
            (({"user_agent": "Linphone/5"}, True), ({"user_agent": "My Linphone"}, False), ({}, None)),
        ),
    ),
    "Whether something is known": (
        Construct(
            "missing(x)",
            "a field, a fact, a window or score",
            "its value is not known",
            "true: it is never unknown",
            "missing(caller_age)",
            (({}, True), ({"caller_age": 60.0}, False)),
        ),
        Construct(
            "x",
            "a yes/no field or parameter",
            "it is yes; x == true says the same, x == false the opposite",
            UNKNOWN,
            "roaming",
            (({"roaming": True}, True), ({"roaming": False}, False), ({}, None)),
        ),
    ),
    "Joining": (
        Construct(
            "a and b",
            "two conditions",
            "both are true",
            "false as soon as one is false; else unknown",
            "roaming and hour > 22",
            (({"roaming": True, "hour": 23.0}, True), ({"hour": 3.0}, False), ({"hour": 23.0}, None)),
        ),
        Construct(
            "a or b",
            "two conditions; and binds tighter",
            "at least one is true",
            "true as soon as one is true; else unknown",
            "roaming or hour > 22",
            (({"hour": 23.0}, True), ({"roaming": False, "hour": 3.0}, False), ({"hour": 3.0}, None)),
        ),
        Construct(
            "not a",
            "a condition; binds tighter than and",
            "it is false",
            UNKNOWN,
            "not roaming",
            (({"roaming": False}, True), ({"roaming": True}, False), ({}, None)),
        ),
    ),
    "Calculating": (
        Construct(
            "a + b, a - b, a * b, -a",
            "numbers",
            "comes to a number, which is then compared",
            "missing, so a comparison with it is unknown",
            "caller_calls_1h - caller_callees_1h > 10",
            (
                ({"caller_calls_1h": 30.0, "caller_callees_1h": 5.0}, True),
                ({"caller_calls_1h": 10.0, "caller_callees_1h": 5.0}, False),
                ({"caller_calls_1h": 30.0}, None),
            ),
        ),
        Construct(
            "a / b",
            "numbers",
            "comes to a number, which is then compared",
            "missing; also where b is 0",
            "caller_callees_1h / caller_calls_1h > 0.9",
            (
                ({"caller_callees_1h": 10.0, "caller_calls_1h": 10.0}, True),
                ({"caller_callees_1h": 1.0, "caller_calls_1h": 10.0}, False),
                ({"caller_callees_1h": 1.0, "caller_calls_1h": 0.0}, None),
            ),
        ),
    ),
    "Local time of the call": (
        Construct(
            'night(), night("23:00", "05:00")',
            "nothing, or two times as for time_between",
            "the call comes from 22:00 until before 06:00, or between the two times",
            "never missing",
            "night()",
            (({"ts": 1_767_290_400.0}, True), ({"ts": 1_767_268_800.0}, False)),
        ),
        Construct(
            'time_between("12:00", "13:30")',
            "two times of the day in quotes, or parameters that hold hours",
            "the call comes from the first until before the second, over midnight where the second is smaller",
            "never missing",
            "time_between(params.from_hour, params.to_hour)",
            (({"ts": 1_767_290_400.0}, True), ({"ts": 1_767_268_800.0}, False)),
        ),
        Construct(
            "weekend()",
            "nothing",
            "it is Saturday or Sunday",
            "never missing",
            "weekend()",
            (({"ts": 1_767_441_600.0}, True), ({"ts": 1_767_268_800.0}, False)),
        ),
        Construct(
            "holiday()",
            "nothing",
            "calendar.yaml has the day as a holiday",
            "unknown in a year that the calendar does not cover",
            "holiday()",
            (({"ts": 1_767_268_800.0}, True), ({"ts": 1_767_441_600.0}, False), ({"ts": 4_102_444_800.0}, None)),
        ),
    ),
}
"""By subject, in the order in which they are learned. Times in the cases: 2026-01-01 17:00 and 23:00, 2026-01-03 17:00
(a Saturday) and 2100-01-01, UTC+5."""

PARAMS: Final[Mapping[str, str]] = {"callees": "40", "lands": "[RU, UZ]", "from_hour": "22", "to_hour": "6"}
"""What the parameters in the examples are declared as."""
