"""Blocked numbers as decisions see them: which numbers are blocked, and whose number a rule may have blocked.

Blocking a number stops every call that shows it. Where the number may be forged that would punish its owner, so a rule
has a number blocked only where somebody answers for it being the caller's (``may_block_caller``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from antifraud.decision.facts import ROW, Prepared
from antifraud.domain import Stage
from antifraud.numbering import Numbering
from antifraud.rulekit import CompiledRules, Hit
from antifraud.rulekit.interpreter import Lookup
from antifraud.rulekit.texts import ReasonText, Template

_KIND: Final = ROW.index("caller_kind")
_COUNTRY: Final = ROW.index("caller_country")
_POSSIBLE: Final = ROW.index("caller_possible")
_EMERGENCY: Final = ROW.index("caller_emergency")
_DIFFERS: Final = ROW.index("asserted_differs")
_TRUNK_CLASS: Final = ROW.index("trunk_class")
_HOME: Final = ROW.index("home_country")
_OF_NUMBERS: Final = ("numbers", "prefixes", "ranges")
_FEWEST_DIGITS: Final = 7
"""Of a number that a rule may have blocked, without its "+": what is shorter is a short code or a made-up number."""

_REASON: Final = ReasonText(
    (),
    tuple(
        (language, Template((text,)))
        for language, text in (
            ("en", "the caller's number is blocked"),
            ("ru", "номер звонящего заблокирован"),
            ("kk", "қоңырау шалушының нөмірі бұғатталған"),
        )
    ),
)
_HIT: Final = Hit("blocked_number", "block", Stage.ENFORCE, 100.0, "", "", "blocks", _REASON)


class NumberState(msgspec.Struct, frozen=True, gc=False):
    """What holds for one number until the epoch second ``until``: blocked, or cleared (no block holds).

    ``region``: in which region, empty for all of them. ``by`` says who wants it so, ``seq`` orders what is said of it.
    """

    blocked: bool
    until: float
    seq: int
    region: str
    by: str

    def stops(self, region: str, ts: float) -> bool:
        """Whether a call in ``region`` at the event time ``ts`` (epoch s) is stopped by it."""
        return self.blocked and ts < self.until and (not self.region or self.region == region)

    def frees(self, region: str, ts: float) -> bool:
        """Whether somebody has cleared the number: nothing stops its calls in ``region`` at ``ts`` (epoch s)."""
        return not self.blocked and ts < self.until and (not self.region or self.region == region)


def is_spoofed(item: Prepared) -> bool:
    """Whether the caller's number is of the home country and comes in from abroad without being known to roam."""
    row = item.row
    return row[_TRUNK_CLASS] == "international" and row[_COUNTRY] == row[_HOME] and item.event.roaming is not True


def with_blocked(hits: list[Hit], state: NumberState | None, region: str, ts: float) -> list[Hit]:
    """``hits``, and the one that the caller's number is blocked where that is so.

    It comes to the same lattice as every rule, so whatever protects a call protects it from this too.
    """
    return [*hits, _HIT] if state is not None and state.stops(region, ts) else hits


def may_block_caller(item: Prepared) -> bool:
    """Whether the caller's number may be blocked because of this call: it is the caller's own, as far as we can know.

    Not a number that is missing, withheld, short, of an emergency service or impossible. A number of the home country
    only from a national trunk, from a subscriber's where the network vouches for it (``asserted``), or from abroad
    when it is known to roam: everything else can be forged, or is spoofed by our own facts. A foreign number not from
    a subscriber's trunk without such a voucher, and from abroad not where what is shown and what is vouched for differ.
    """
    row, caller = item.row, item.event.caller
    if row[_KIND] != "e164" or row[_EMERGENCY] or not row[_POSSIBLE]:
        return False
    if len(caller) <= _FEWEST_DIGITS or caller[0] != "+":
        return False
    trunk_class, home = row[_TRUNK_CLASS], row[_COUNTRY] == row[_HOME]
    if trunk_class == "national":
        return True
    if trunk_class == "subscriber":
        return bool(item.event.asserted)
    if row[_DIFFERS] or trunk_class not in ("international", None):
        return False
    return not home or (trunk_class == "international" and item.event.roaming is True)


def protection_of(number: str, rules: CompiledRules, numbering: Numbering, at: float) -> str:
    """What keeps ``number`` (E.164) from ever being blocked at epoch second ``at``: "emergency", "short" or the name
    of a list that protects; empty when nothing does.

    Whom a list protects, caller or callee, does not matter here: nobody whom people must be able to call is blocked.
    """
    facts = numbering.facts(number)
    if facts.emergency:
        return "emergency"
    if facts.short:
        return "short"
    return _listed(number, rules, at)


def _listed(number: str, rules: CompiledRules, at: float) -> str:
    return next((name for name, until in _protecting(rules) if until(number, 0.0) > at), "")


def _protecting(rules: CompiledRules) -> Iterable[tuple[str, Lookup]]:
    for name, held in rules.held.items():
        if held.file.protects and held.file.kind in _OF_NUMBERS:
            yield name, held.table.until
