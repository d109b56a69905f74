"""The fail policy as one switch carries it out by itself, while it can ask nobody: rungs, trunks, who always goes on.

It is made where rules and dial plan are at hand, and travels to the switch as JSON or as its configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from antifraud.decision.fail import ANY_TRUNK, TRUNK_CLASSES, UNAVAILABLE, FailAction, FailReason
from antifraud.decision.policy import Policy
from antifraud.decision.texts import say
from antifraud.domain import ConfigError, Problem
from antifraud.numbering import DialPlan
from antifraud.rulekit import CompiledRules

MAX_PROTECTED: Final = 5_000
RETRY_AFTER_S: Final = 30
#: The others are noticed, and carried out, by the engine.
SWITCH_REASONS: Final = (FailReason.LATE, FailReason.REDIS, FailReason.OVERLOAD)


class Refusal(msgspec.Struct, frozen=True):
    """How a switch refuses by itself: SIP status, reason phrase, Q.850 cause."""

    status: int
    phrase: str
    cause: int


class SwitchFail(msgspec.Struct, frozen=True):
    """What one switch does while nobody decides.

    ``actions``: trunk class (``any`` for an unknown one) → reason → rung, all of them, with the ceiling applied.
    ``trunks``: (pattern, class), the first match counts; * and ? stand for anything. ``protected_callees``,
    ``protected_callers`` (only on national trunks: elsewhere a caller can show any number) and ``protected_trunks`` go
    on whatever the rung. The patterns of numbers are regular expressions (POSIX and Python alike) for the number as it
    was dialled, without separators. ``abroad`` matches a number that is dialled internationally, ``home`` one of those
    that is of this country nevertheless.
    """

    switch: str
    region: str
    ceiling: str
    actions: Mapping[str, Mapping[str, str]]
    trunks: tuple[tuple[str, str], ...]
    label: str
    refuse: Refusal
    unavailable: Refusal
    retry_after_s: int
    abroad: str
    home: str
    protected_callees: tuple[str, ...] = ()
    protected_callers: tuple[str, ...] = ()
    protected_trunks: tuple[str, ...] = ()
    version: int = 1

    @property
    def open(self) -> bool:
        """Whether every call goes on untouched, whatever fails."""
        return all(word == FailAction.ALLOW.word for found in self.actions.values() for word in found.values())

    @property
    def refuses(self) -> bool:
        """Whether some call is refused because something fails."""
        mild = (FailAction.ALLOW.word, FailAction.LABEL.word)
        return any(word not in mild for found in self.actions.values() for word in found.values())


def switch_fail(policy: Policy, switch: str, plan: DialPlan, refuse: Refusal) -> SwitchFail:
    """What ``switch`` does, without those who always go on (``protecting`` adds them)."""
    code = policy.switches.get(switch, policy.default_region)
    region = policy.region(code)
    actions = {
        name: {reason.value: region.fail.under(region.ceiling, name, reason).word for reason in SWITCH_REASONS}
        for name in (ANY_TRUNK, *TRUNK_CLASSES)
    }
    return SwitchFail(
        switch=switch,
        region=region.code,
        ceiling=region.ceiling.word,
        actions=actions,
        trunks=policy.trunks,
        label=say("label", region.language),
        refuse=refuse,
        unavailable=Refusal(UNAVAILABLE, "Service Unavailable", 41),
        retry_after_s=RETRY_AFTER_S,
        abroad=f"^{_international(plan)}",
        home=f"^{_international(plan)}{plan.calling_code}{_home(plan)}[0-9]*$",
    )


def protecting(made: SwitchFail, rules: CompiledRules, plan: DialPlan) -> SwitchFail:
    """``made`` with the numbers and trunks that lists of ``rules`` protect.

    ConfigError when a list protects numbers that cannot be handed to a switch: better no hard rung than one that
    refuses a hospital.
    """
    return msgspec.structs.replace(
        made,
        protected_callees=_numbers(rules, plan, "callee"),
        protected_callers=_numbers(rules, plan, "caller"),
        protected_trunks=_trunks(rules),
    )


def number_pattern(number: str, plan: DialPlan, *, prefix: bool = False) -> str:
    """A regular expression for ``number`` (E.164, or a short code) as people dial it here."""
    digits = number.lstrip("+")
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{number!r} is no number")
    end = "[0-9]*$" if prefix else "$"
    if not number.startswith("+"):
        return f"^{digits}{end}"
    international = _international(plan)
    national = digits.removeprefix(plan.calling_code)
    if digits.startswith(plan.calling_code) and (prefix or len(national) == plan.national_length):
        trunk = f"|{plan.trunk_prefix}" if plan.trunk_prefix else ""
        return f"^({international}?{plan.calling_code}{trunk})?{national}{end}"
    return f"^{international}{digits}{end}"


def _international(plan: DialPlan) -> str:
    """Plus, or what is dialled in its place."""
    prefixes = [re.sub(r"[^0-9]", "", prefix) for prefix in plan.international_prefixes]
    return f"({'|'.join(['[+]', *filter(None, prefixes)])})"


def _home(plan: DialPlan) -> str:
    return f"({'|'.join(plan.home_prefixes)})" if plan.shared_with and plan.home_prefixes else ""


def _numbers(rules: CompiledRules, plan: DialPlan, side: str) -> tuple[str, ...]:
    found: list[str] = []
    for held in rules.lists:
        if side not in held.protects:
            continue
        if held.kind not in ("numbers", "prefixes"):
            raise _not_said(held.name, f"is of kind {held.kind}")
        entries = held.first(MAX_PROTECTED + 1)
        if len(found) + len(entries) > MAX_PROTECTED:
            raise _not_said(held.name, f"makes more than {MAX_PROTECTED} protected numbers")
        # Those that end are handed over too: too much protection harms nobody.
        found += (number_pattern(entry.plain, plan, prefix=held.kind == "prefixes") for entry in entries)
    return tuple(dict.fromkeys(found))


def _trunks(rules: CompiledRules) -> tuple[str, ...]:
    chosen: Iterable[str] = (
        entry.plain for held in rules.lists if "trunk" in held.protects for entry in held.first(MAX_PROTECTED)
    )
    return tuple(dict.fromkeys(chosen))


def _not_said(name: str, why: str) -> ConfigError:
    message = f"the list {name} protects, and {why}, which a switch cannot be told"
    hint = "set the fail policy no harder than label for this switch's region (policy.fail)"
    return ConfigError(message, problems=[Problem(message, hint=hint)])
