"""What people write who know other languages or spreadsheets, and how the same is said in a condition.

Advice only: nothing here is part of the language, and a word that stands here is refused wherever it is found.
"""

from __future__ import annotations

import calendar
import re
from typing import Final

_PREFIX: Final = 'write such as prefix_in(caller, ["+7700"])'
_END: Final = 'write such as matches(caller, "0000$")'
_FOUND: Final = 'write such as matches(user_agent, "(?i)linphone")'
_CAPITALS: Final = 'compare without regard to capitals: matches(user_agent, "(?i)^linphone")'
_LENGTH: Final = 'ask for the form of the number: matches(caller, "^.{12}$") is true of twelve characters'
_MISSING: Final = "write missing(…)"
_COUNTED: Final = "what is counted over a time is a window, such as caller_calls_1h"
_ADDED: Final = "what is added up over a time is a window; see windows.yaml"
_MOMENT: Final = "a rule knows the time of the call only: hour, weekday, time_between(…), night(), weekend(), holiday()"
_VERDICT: Final = "a condition only asks; what a hit means is written under `then`"
_LOGIC: Final = "join conditions with and, or"

FUNCTIONS: Final = {
    "startswith": _PREFIX,
    "starts_with": _PREFIX,
    "begins_with": _PREFIX,
    "left": _PREFIX,
    "substr": _PREFIX,
    "substring": _PREFIX,
    "endswith": _END,
    "ends_with": _END,
    "right": _END,
    "contains": _FOUND,
    "find": _FOUND,
    "regex": _FOUND,
    "regexp": _FOUND,
    "search": _FOUND,
    "like": _FOUND,
    "ilike": _FOUND,
    "lower": _CAPITALS,
    "upper": _CAPITALS,
    "casefold": _CAPITALS,
    "len": _LENGTH,
    "length": _LENGTH,
    "count": _COUNTED,
    "distinct": _COUNTED,
    "sum": _ADDED,
    "avg": _ADDED,
    "exists": "write not missing(…)",
    "isnull": _MISSING,
    "is_null": _MISSING,
    "empty": _MISSING,
    "isempty": _MISSING,
    "now": _MOMENT,
    "today": _MOMENT,
    "all": _LOGIC,
    "any": _LOGIC,
    "if": "a condition has no if: it is what must be true",
    "abs": "write both ways: x > 3 or x < -3",
    "max": "write such as x > 5 or y > 5",
    "min": "write such as x > 5 and y > 5",
    "round": "compare with >= and <",
    "int": "numbers are numbers already; leave it out",
    "float": "numbers are numbers already; leave it out",
    "str": "texts are texts already; leave it out",
}
"""Names of functions, in small letters."""

OPERATORS: Final = {
    "like": _FOUND,
    "ilike": _FOUND,
    "contains": _FOUND,
    "has": "write such as caller in lists.<name>",
    "startswith": _PREFIX,
    "starts": _PREFIX,
    "begins": _PREFIX,
    "endswith": _END,
    "ends": _END,
    "between": "write such as between(hour, 9, 17)",
    "matches": _FOUND,
    "regexp": _FOUND,
    "equals": "write ==",
    "eq": "write ==",
    "ne": "write !=",
    "gt": "write >",
    "lt": "write <",
    "ge": "write >=",
    "le": "write <=",
    "xor": "write (a and not b) or (not a and b)",
    "und": "write and",
    "oder": "write or",
}
"""Words that stand between two values, in small letters."""

NAMES: Final = {
    "yes": "a yes/no field stands by itself: roaming, not roaming; in full, roaming == true",
    "no": "a yes/no field stands by itself: roaming, not roaming; in full, roaming == false",
    "on": "a yes/no field stands by itself: roaming, not roaming; in full, roaming == true",
    "off": "a yes/no field stands by itself: roaming, not roaming; in full, roaming == false",
    "empty": _MISSING,
    "unknown": _MISSING,
    "undefined": _MISSING,
    "nil": _MISSING,
    "verdict": _VERDICT,
    "block": _VERDICT,
    "divert": _VERDICT,
    "challenge": _VERDICT,
    "allow": _VERDICT,
    "date": _MOMENT,
    "time": _MOMENT,
    "day": _MOMENT,
    "minute": _MOMENT,
    "month": _MOMENT,
    "year": _MOMENT,
    "now": _MOMENT,
    "today": _MOMENT,
}
"""Names of values, in small letters."""

_LENGTH_OF_TIME: Final = re.compile(r"([0-9]{1,6})(s|sec|m|min|h|d|w)\Z")
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def length_of_time(word: str) -> str:
    """What to write instead of ``5m``; empty when ``word`` is no length of time."""
    found = _LENGTH_OF_TIME.match(word)
    if found is None:
        return ""
    seconds = int(found[1]) * _SECONDS[found[2]]
    return f"times are compared in seconds, without a unit: {seconds}"


def weekday(text: str) -> str:
    """What to write instead of a day's name; empty when ``text`` is none."""
    day = text.strip().lower()[:3]
    if day not in _WEEKDAYS:
        return ""
    return f"days are numbers from 0, Monday, to 6, Sunday: {_WEEKDAYS.index(day)}; weekend() is Saturday and Sunday"


# Around the condition

_WHEN: Final = "the condition stands under `when: |`"
_RULE: Final = "the name stands under `rule:`"
_STAGE: Final = "how far a rule is in force is its stage: write it under `rollout`, such as `stage: draft`"
_ORDER: Final = "verdicts have a fixed order, and the gravest counts; remove it"
_KEYS: Final = {
    "this rule": {
        "id": _RULE,
        "name": _RULE,
        "if": _WHEN,
        "condition": _WHEN,
        "where": _WHEN,
        "expression": _WHEN,
        "action": "what a hit means stands under `then`",
        "verdict": "the verdict stands under `then`",
        "reason": "the reason stands under `then`",
        "stage": _STAGE,
        "status": _STAGE,
        "enabled": _STAGE,
        "disabled": _STAGE,
        "active": _STAGE,
        "priority": _ORDER,
        "severity": _ORDER,
        "weight": _ORDER,
        "description": "write it under `why`",
        "author": "who answers for the rule stands under `owner`",
        "except": "exceptions stand under `unless`",
        "exceptions": "exceptions stand under `unless`",
        "whitelist": "exceptions stand under `unless`; numbers that nothing may stop go into a list of class protect",
        "parameters": "parameters stand under `params`",
        "variables": "parameters stand under `params`",
    },
}
_BLOCK: Final = "write block"
_DIVERT: Final = "write divert"
_LABEL: Final = "write label, and what the callee sees under `label`"
_CHALLENGE: Final = "write challenge"
_ENFORCE: Final = "write enforce, once it has been in shadow and canary: antifraud rules promote takes it there"
_SHADOW: Final = "write shadow: it is evaluated and recorded, and changes no call"
_RETIRED: Final = "write retired, or draft while it is being written"
_CHOICES: Final = {
    "verdict": {
        **dict.fromkeys(("reject", "drop", "deny", "refuse", "stop", "ban", "blacklist"), _BLOCK),
        **dict.fromkeys(("redirect", "forward", "transfer", "route", "desk"), _DIVERT),
        **dict.fromkeys(("flag", "mark", "tag", "warn", "alert", "log"), _LABEL),
        **dict.fromkeys(("captcha", "ivr", "verify", "ask"), _CHALLENGE),
        **dict.fromkeys(
            ("allow", "pass", "accept", "whitelist", "permit"),
            "a call is allowed where no rule hits it; what must never be stopped has `verdict: protect`",
        ),
    },
    "stage": {
        **dict.fromkeys(("live", "prod", "production", "on", "active", "enabled", "true"), _ENFORCE),
        **dict.fromkeys(("test", "testing", "monitor", "dry-run", "dry_run", "log", "observe"), _SHADOW),
        **dict.fromkeys(("off", "disabled", "inactive", "deleted", "archived", "false"), _RETIRED),
    },
}
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})\Z")
_DAY_FIRST: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})\Z")
_WITHOUT_OFFSET: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)\Z")
_FOR_EVER: Final = ("never", "none", "forever", "always", "no", "infinity", "-", "unlimited")
_SIGNED: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%\Z")
_COMMA: Final = re.compile(r"[0-9]{1,9},[0-9]{1,9}\Z")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.-]{1,120}\Z")
_PLUS_NUMBER: Final = re.compile(r"\+[0-9]{3,15}\Z")


def key(name: str, what: str) -> str:
    """What to write instead of the key ``name`` in ``what``; empty when nobody is known to write it."""
    return _KEYS.get(what, {}).get(name.lower(), "")


def choice(value: str, what: str) -> str:
    """What to write instead of ``value`` under the key ``what``; empty when nobody is known to write it."""
    return _CHOICES.get(what, {}).get(value.lower(), "")


def date(text: str) -> str:
    """What is wrong with a date or a moment that cannot be read; empty when there is nothing more to say."""
    value = text.strip()
    if value.lower() in _FOR_EVER or value.startswith("9999"):
        return "nothing holds for ever: write a day on which somebody should look again, such as 2027-06-30"
    moment = _WITHOUT_OFFSET.match(value)
    if moment is not None:
        return f"a time needs its offset from UTC, such as {moment[1]}T{moment[2]}+05:00; or write the day alone"
    dotted = _DAY_FIRST.match(value)
    found = _DATE.match(value)
    if dotted is not None:
        year, month, day = int(dotted[3]), int(dotted[2]), int(dotted[1])
    elif found is not None:
        year, month, day = int(found[1]), int(found[2]), int(found[3])
    else:
        return ""
    if not 1 <= month <= 12:
        return f"there is no month {month}: write year-month-day, such as 2027-06-30"
    days = calendar.monthrange(year, month)[1] if 1 <= year <= 9999 else 31
    if not 1 <= day <= days:
        return f"there is no such day: {year}-{month:02} has {days} days"
    return f"write {year}-{month:02}-{day:02}"


def number(text: str, what: str) -> str:
    """What to write instead of ``text`` where a number is wanted; empty when there is nothing more to say."""
    value = text.strip()
    signed = _SIGNED.match(value)
    if signed is not None:
        return f"write {signed[1]}, without the sign" if what == "percent" else "write it without %, as a plain number"
    if _COMMA.match(value):
        return f"write a decimal point: {value.replace(',', '.')}"
    return ""


def target(text: str) -> str:
    """What to write instead of ``text`` where a call is to be sent; empty when there is nothing more to say."""
    if _PLUS_NUMBER.match(text):
        return f"write tel:{text}"
    return f"write sip:{text}" if _ADDRESS.match(text) else ""
