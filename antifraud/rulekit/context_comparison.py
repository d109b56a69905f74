"""What is different around the rules: the calendar, the fields, and the parameters that regions have set.

Graded as in ``comparison``: by what can be stopped that was not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from antifraud.rulekit.comparison import Change, ItemChange, Level, effect, gravest, protects, signs
from antifraud.rulekit.evaluation import shown_value
from antifraud.rulekit.fields import Field
from antifraud.rulekit.local_time import LocalTime
from antifraud.rulekit.reasoning import implies, settle
from antifraud.rulekit.rule import Rule
from antifraud.rulekit.ruleset import RuleSet
from antifraud.rulekit.tree import Holiday

Regions = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Region → rule → parameter → the value that it has set."""

_EPOCH: Final = dt.date(1970, 1, 1)
_MOST_SHOWN: Final = 6


def compare_fields(old: RuleSet, new: RuleSet) -> Iterator[ItemChange]:
    """Fields that are new, gone or declared otherwise.

    What a field holds comes from the engine, so nothing of this lets a rule hit another call: rules that no longer fit
    are refused.
    """
    before, after = old.names.fields, new.names.fields
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        changes = tuple(_field_changes(one, other))
        if changes:
            kind = "added" if one is None else "removed" if other is None else "changed"
            yield ItemChange(name, "", kind, "patch", changes)


def _field_changes(one: Field | None, other: Field | None) -> Iterator[Change]:
    if one is None or other is None:
        yield Change("field", "patch", "new" if one is None else "removed")
        return
    pairs = (
        ("type", one.type, other.type),
        ("since", one.since, other.since),
        ("values", ", ".join(one.values), ", ".join(other.values)),
        ("shape", one.shape, other.shape),
        ("doc", one.doc.get("en"), other.doc.get("en")),
    )
    for what, was, now_is in pairs:
        if was != now_is:
            yield Change(what, "patch", "text" if what == "doc" else "rules are checked otherwise", was, now_is)


def compare_calendars(old: RuleSet, new: RuleSet) -> Iterator[ItemChange]:
    """Holidays that were entered or taken out, and years that are covered since."""
    before, after = old.names.local, new.names.local
    rules = [*old.rules, *new.rules]
    wider, narrower = _uses(rules)
    changes: list[Change] = []
    more = [day for day in after.holidays if day not in before.holidays]
    fewer = [day for day in before.holidays if day not in after.holidays]
    if more:
        changes.append(Change("holidays", wider, "entered", "", _days(more)))
    if fewer:
        changes.append(Change("holidays", narrower, "taken out", _days(fewer), ""))
    if (before.first, before.after) != (after.first, after.after):
        words = "on a day that is not covered a rule with holiday() or its opposite does not hit"
        changes.append(Change("years", gravest((wider, narrower)), words, _years(before), _years(after)))
    if before.utc_offset_min != after.utc_offset_min:
        words = "for tests and lint; the engine's own is in its configuration"
        shown = str(before.utc_offset_min), str(after.utc_offset_min)
        changes.append(Change("utc_offset_min", "patch", words, *shown))
    renamed = [day for day, name in after.holidays.items() if before.holidays.get(day, name) != name]
    if renamed:
        changes.append(Change("names", "patch", "text", "", _days(renamed)))
    if changes:
        kind = "added" if not before.known else "removed" if not after.known else "changed"
        yield ItemChange("calendar", "", kind, gravest(change.level for change in changes), tuple(changes))


def _uses(rules: Sequence[Rule]) -> tuple[Level, Level]:
    """How grave it is when more days are holidays, and when fewer are."""
    return signs(rules, lambda leaf: isinstance(leaf, Holiday))


def _days(days: Sequence[int]) -> str:
    shown = [(_EPOCH + dt.timedelta(day)).isoformat() for day in sorted(days)]
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return ", ".join(shown[:_MOST_SHOWN]) + more


def _years(local: LocalTime) -> str:
    if not local.known:
        return ""
    return f"{(_EPOCH + dt.timedelta(local.first)).year} to {local.last_year}"


def compare_regions(old: RuleSet, new: RuleSet, before: Regions, after: Regions) -> Iterator[ItemChange]:
    """Parameters that a region has set otherwise.

    With the values that hold in the region it can be proven whether a rule hits more calls there than it did. What is
    set of a rule that does not exist is passed over: it decides nothing, and the rule may have just been removed.
    ConfigError when a parameter does not exist or fit.
    """
    known = [{rule.id for rule in rules.rules} for rules in (old, new)]
    for region in sorted({*before, *after}):
        was, now_is = (
            {rule: values for rule, values in state.get(region, {}).items() if rule in rules}
            for state, rules in zip((before, after), known, strict=True)
        )
        old_params, new_params = old.params(was).by_rule, new.params(now_is).by_rule
        changes: list[Change] = []
        for rule in new.rules:
            earlier = next((other for other in old.rules if other.id == rule.id), None)
            names = {*was.get(rule.id, {}), *now_is.get(rule.id, {})}
            values = new_params[rule.id]
            if earlier is None:
                level, words = effect(rule), "of a new rule"
                different = sorted(names)
                past: Mapping[str, Any] = {}
            else:
                past = old_params[rule.id]
                different = sorted(name for name in names if past.get(name) != values.get(name))
                level, words = _level(earlier, past, rule, values)
            for name in different:
                shown = [shown_value(found[name]) if name in found else "" for found in (past, values)]
                changes.append(Change(f"{rule.id}.{name}", level, words, *shown))
        if changes:
            yield ItemChange(region, "", "changed", gravest(change.level for change in changes), tuple(changes))


def _level(old: Rule, past: Mapping[str, Any], new: Rule, values: Mapping[str, Any]) -> tuple[Level, str]:
    before, after = settle(old.when, past), settle(new.when, values)
    if protects(old) and new.verdict == "protect":
        fine = implies(before, after)
        return ("patch", "protects no fewer calls") if fine else ("major", "may protect fewer calls")
    fine = implies(after, before)
    return ("patch", "hits no call that it did not hit before") if fine else (effect(new), "may hit more calls")
