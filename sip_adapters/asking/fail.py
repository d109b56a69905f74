"""The option ``fail``: what becomes of calls while nobody decides, as the engine's configuration hands it over.

Without it every call goes on. Emergency calls never come here, they go on before anything is asked. Here are the
reasons that an adapter notices; what the engine notices (no rules, no free desk) comes as a reply.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from antifraud.domain import CallEvent, Problem

Action = Literal["allow", "label", "national_only", "emergency_only", "refuse"]
Reason = Literal["late", "redis", "overload"]
"""Why nobody decides: no verdict by the deadline, no Redis to ask by, too many calls that wait."""

Pattern = Annotated[str, msgspec.Meta(max_length=400)]
ANY: Final = "any"
DESK: Final = "desk"
_SEPARATORS: Final = str.maketrans("", "", "-. ()")
_CHUNK: Final = 500


class Refusal(msgspec.Struct, frozen=True):
    """Status, phrase and Q.850 cause of a refusal."""

    status: Annotated[int, msgspec.Meta(ge=400, le=699)]
    phrase: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9 /.-]{0,39}\Z")]
    cause: Annotated[int, msgspec.Meta(ge=1, le=127)]


class FailSection(msgspec.Struct, frozen=True):
    """The policy as ``antifraud config fail-policy --format json`` writes it."""

    actions: Annotated[dict[str, dict[str, Action]], msgspec.Meta(max_length=16)]
    trunks: Annotated[tuple[tuple[Pattern, str], ...], msgspec.Meta(max_length=10_000)]
    label: Annotated[str, msgspec.Meta(max_length=200)]
    refuse: Refusal
    unavailable: Refusal
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)]
    abroad: Pattern
    home: Pattern
    protected_callees: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=5_000)] = ()
    protected_callers: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=5_000)] = ()
    protected_trunks: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=5_000)] = ()


class FailPolicy:
    """The section, which stands in config/ at ``where``, made ready. ``problems`` says what in it is no pattern."""

    def __init__(self, section: FailSection, where: str) -> None:
        self.section = section
        self._where = where
        self.problems: list[Problem] = []
        self._abroad = self._patterns("abroad", [section.abroad])
        self._home = self._patterns("home", [section.home])
        self._callees = self._patterns("protected_callees", section.protected_callees)
        self._callers = self._patterns("protected_callers", section.protected_callers)
        self._trunks = section.protected_trunks

    def action(self, event: CallEvent, reason: Reason) -> Literal["allow", "label", "refuse", "unavailable"]:
        """What becomes of the call of ``event`` that nobody decided about because of ``reason``."""
        kind = self._trunk_class(event.trunk)
        actions = self.section.actions
        rung = actions.get(kind, actions.get(ANY, {})).get(reason, "allow") if kind != DESK else "allow"
        if rung == "allow" or self._is_protected(event, kind):
            return "allow"
        if rung == "label" or rung == "refuse":
            return rung
        if rung == "national_only" and kind != "international" and not self._leaves(event.callee_raw):
            return "allow"
        return "unavailable"

    def _trunk_class(self, trunk: str) -> str:
        return next((name for pattern, name in self.section.trunks if fnmatch.fnmatchcase(trunk, pattern)), ANY)

    def _is_protected(self, event: CallEvent, kind: str) -> bool:
        if _matches(self._callees, event.callee_raw):
            return True
        if kind == "national" and _matches(self._callers, event.asserted or event.caller_raw):
            return True
        return any(fnmatch.fnmatchcase(event.trunk, pattern) for pattern in self._trunks)

    def _leaves(self, callee: str) -> bool:
        return _matches(self._abroad, callee) and not _matches(self._home, callee)

    def _patterns(self, name: str, texts: Sequence[str]) -> tuple[re.Pattern[str], ...]:
        try:
            for text in texts:
                re.compile(text)
            return tuple(
                re.compile("|".join(f"(?:{text})" for text in texts[at : at + _CHUNK]))
                for at in range(0, len(texts), _CHUNK)
            )
        except re.error as error:
            self.problems.append(
                Problem(
                    f"{self._where}.{name}: no regular expression: {error}",
                    hint="write it anew with antifraud config fail-policy --format json",
                )
            )
            return ()


def _matches(patterns: Sequence[re.Pattern[str]], number: str) -> bool:
    bare = number.translate(_SEPARATORS)[:64]
    return any(pattern.search(bare) for pattern in patterns)
