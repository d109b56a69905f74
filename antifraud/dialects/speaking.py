"""From a decision to what one switch is told: which dialect the region and the switch chose, and its form filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from antifraud.dialects.jcard import Redress, Signer
from antifraud.dialects.table import SAYINGS, Dialect, Form
from antifraud.domain import Decision

BY_STATUS: Final[Mapping[int, str]] = {
    403: "plain403",
    404: "plain404",
    480: "plain480",
    486: "plain486",
    503: "plain503",
    600: "plain600",
    603: "plain603",
    608: "rfc8688",
}
"""SIP status that a rule or ``policy.block.code`` asks for → the dialect that says it."""

STATUSES: Final = frozenset(BY_STATUS)


class Choice(msgspec.Struct, frozen=True):
    """The dialects of one region, or what one switch has different; an empty name is no choice.

    ``by_rule``: rule id → the dialect for what that rule refuses, so that a refusal by a person can be told from one
    by an automaton. ``reason``: whether switches are told the reason in words.
    """

    block: str = ""
    divert: str = ""
    challenge: str = ""
    label: str = ""
    allow: str = ""
    by_rule: Mapping[str, str] = {}
    reason: bool = True

    def over(self, below: Choice) -> Choice:
        """What holds for a switch with this choice in a region that chose ``below``."""
        chosen = {saying: getattr(self, saying) or getattr(below, saying) for saying in SAYINGS}
        return Choice(**chosen, by_rule={**below.by_rule, **self.by_rule}, reason=self.reason and below.reason)


class Wording(msgspec.Struct, frozen=True):
    """One decision in the terms of one switch; 0 and empty is what the dialect does not say.

    ``headers`` and ``attributes`` are (name, value) in their order, ready to be written as they are.
    """

    dialect: str = ""
    status: int = 0
    phrase: str = ""
    cause: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    target: str = ""
    packet: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""


NOTHING: Final = Wording()
_ATTRIBUTE_BYTES: Final = 246
"""What fits into one RADIUS attribute, also into one of a vendor (RFC 2865 §5, §5.26)."""

_BARE: Final = Choice()


class Speaker:
    """Says decisions in the dialects that regions and switches chose.

    ``table`` by name; ``regions`` and ``switches`` their choices, ``statuses`` the status with which each region
    refuses where neither its choice nor a rule says another; ``redress`` and ``signers`` by region.
    """

    def __init__(
        self,
        table: Mapping[str, Dialect],
        regions: Mapping[str, Choice],
        switches: Mapping[str, Choice],
        statuses: Mapping[str, int],
        redress: Mapping[str, Redress],
        signers: Mapping[str, Signer],
    ) -> None:
        self._table = table
        self._regions = regions
        self._statuses = statuses
        self._redress = {code: item.text for code, item in redress.items()}
        self._signers = signers
        # A switch may send calls of a region that is not its own: the pair is what matters.
        self._switches = switches
        self._chosen: dict[tuple[str, str], Choice] = {}

    def say(self, decision: Decision, now: float) -> Wording:
        """What the switch of ``decision`` is told at ``now`` (epoch seconds)."""
        choice = self.choice(decision.region, decision.switch)
        verdict = decision.verdict
        text = decision.reason if choice.reason and verdict != "allow" else ""
        if verdict == "block":
            dialect = self._refusing(decision, choice)
        else:
            dialect = self._table.get(getattr(choice, verdict, ""))
        form = dialect.forms.get(verdict) if dialect is not None else None
        if dialect is None or form is None:
            return NOTHING if not text else Wording(text=text)
        return self._fill(dialect.name, form, decision, text, now)

    def choice(self, region: str, switch: str) -> Choice:
        """What holds for calls of ``region`` that ``switch`` asks about."""
        own = self._switches.get(switch)
        below = self._regions.get(region, _BARE)
        if own is None:
            return below
        found = self._chosen.get((region, switch))
        if found is None:
            # Bounded: both names are configured ones.
            found = own.over(below)
            if region in self._regions:
                self._chosen[region, switch] = found
        return found

    def _refusing(self, decision: Decision, choice: Choice) -> Dialect | None:
        """The dialect of a refusal: of the rule that refuses, else of the status that it asks for, else the chosen
        one, else that of the region's status."""
        for reason in decision.reasons:
            if reason.verdict == "block" and reason.stage == "enforce":
                named = choice.by_rule.get(reason.by.removeprefix("rule:"))
                if named:
                    return self._table.get(named)
                break
        chosen = self._table.get(choice.block)
        wanted = decision.code
        status = chosen.forms["block"].status if chosen is not None and "block" in chosen.forms else None
        if wanted and status not in (wanted, 0):
            return self._table.get(BY_STATUS.get(wanted, ""), chosen)
        if chosen is None:
            return self._table.get(BY_STATUS.get(self._statuses.get(decision.region, 608), "rfc8688"))
        return chosen

    def _fill(self, dialect: str, form: Form, decision: Decision, text: str, now: float) -> Wording:
        signer = self._signers.get(decision.region)
        values = {
            "status": str(form.status) if form.status else "",
            "cause": str(form.cause) if form.cause else "",
            "phrase": form.phrase,
            # Where the reason is kept back, the decision's id still tells people what to ask about.
            "text": text or f"decision {decision.id}",
            "label": decision.label,
            "decision": decision.id,
            "target": decision.target,
            "caller": decision.caller,
            "callee": decision.callee,
            "redress": self._redress.get(decision.region, ""),
        }
        if signer is not None and any("jcard" in template.places for _, template in form.headers):
            values["jcard"] = signer.uri(now)
        return Wording(
            dialect=dialect,
            status=form.status,
            phrase=form.phrase,
            cause=form.cause,
            headers=tuple((name, line) for name, template in form.headers if (line := template.fill(values))),
            target=form.target.fill(values) if form.target is not None else "",
            packet=form.packet,
            attributes=tuple(
                (name, _cut(line)) for name, template in form.attributes if (line := template.fill(values))
            ),
            text=text,
        )


def _cut(text: str) -> str:
    """``text`` as far as it fits into one attribute, cut between characters."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= _ATTRIBUTE_BYTES else raw[:_ATTRIBUTE_BYTES].decode("utf-8", "ignore")
