"""Facts about a number: how it is written in full, whose it is, and what kind of line it names.

``Numbering`` applies one dial plan. Plain digits with or without "+" cost about a microsecond and go without any
cache, because callers that rotate their numbers would defeat one; a bounded cache serves URIs and other texts that
must be spelled out first. The rules and their reasons are in docs/reference/numbering.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from antifraud.domain import ConfigError
from antifraud.numbering.countries import CallingCodes, Overlay
from antifraud.numbering.digits import MAX_LENGTH
from antifraud.numbering.plan import DialPlan
from antifraud.numbering.spelling import LONGEST_TEXT, Spelling, dialled, spell

#: Longest ``number`` of a fact; longer garbage is cut so that it fits the fields of an event.
LONGEST_NUMBER: Final = 32

#: Longest digit string that can be a number (calling code and national number, with a prefix before it).
_LONGEST_DIGITS: Final = 26
#: Texts longer than this are not kept in the cache: they are rare and would only cost memory.
_LONGEST_CACHED: Final = 64
#: Spellings of a short code (+7112, 8112, 727112, 8-10-7-7172-112) have fewer digits than any full home number.
_LONGEST_SPELLING: Final = 11
#: Area codes are at least this long; an emergency code may be preceded by one of up to two digits more.
_SHORTEST_AREA: Final = 3
_LONGEST_AREA: Final = 5
#: What is dialled before an emergency code out of a private exchange, or to withhold the number (141).
_DIALLED_BEFORE: Final = ("0", "00", "000", "9", "141")
#: The code that handsets of North America send, also after their calling code.
_AMERICAN: Final = "911"


class NumberFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of one number by itself.

    ``kind`` is e164, short, alphanumeric, anonymous or unknown. ``number`` is "+…" for e164, the bare code for
    short, the text for alphanumeric, "" for anonymous and the digits, if any, for unknown. ``country`` is ISO 3166-1
    ("001" for numbers of no country, "" when nobody owns it); ``operator`` and ``region`` (ISO 3166-2) are known for
    the home country only.
    """

    number: str
    kind: str
    country: str = ""
    type: str = "unknown"
    operator: str = ""
    region: str = ""
    valid: bool = False
    possible: bool = False
    emergency: bool = False
    short: bool = False


_ANONYMOUS: Final = NumberFacts("", "anonymous", "", "anonymous")


class Numbering:
    """Normalises numbers and tells facts about them by one country's dial plan.

    ``cache_size`` bounds the remembered answers for texts that are not plain digits (two generations of half that
    size); 0 keeps none. Not for use by several threads at once. ConfigError when the plan's calling code does not
    exist.
    """

    def __init__(self, plan: DialPlan, *, cache_size: int = 16_384) -> None:
        self.plan = plan
        overlay = Overlay(
            country=plan.country,
            calling_code=plan.calling_code,
            rest=plan.shared_with,
            prefixes=plan.home_prefixes,
            length=plan.national_length,
            regions=plan.areas,
            operators=plan.operators,
        )
        self._codes = CallingCodes(overlay)
        if plan.calling_code not in self._codes:
            raise ConfigError(f"calling code {plan.calling_code} of the dial plan belongs to no country")
        self._by_start = self._codes.by_start
        self._short = _short_spellings(plan)
        self._services = {service: entry.code for entry in reversed(plan.emergency) for service in entry.services}
        self._prefixes = plan.international_prefixes
        self._trunk = plan.trunk_prefix
        self._home = plan.calling_code
        self._length = plan.national_length
        self._with_trunk = plan.national_length + len(plan.trunk_prefix)
        self._with_code = plan.national_length + len(plan.calling_code)
        self._generation = cache_size // 2
        self._recent: dict[tuple[str, bool], NumberFacts] = {}
        self._older: dict[tuple[str, bool], NumberFacts] = {}

    def warm(self) -> None:
        """Compile the tables of every country now (about half a second) instead of at its first number."""
        self._codes.warm()

    def normalise(self, raw: str, *, international: bool = False) -> str:
        """The number that ``raw`` names, as in ``NumberFacts.number``."""
        return self.facts(raw, international=international).number

    def facts(self, raw: str, *, international: bool = False) -> NumberFacts:
        """What is known of the number that ``raw`` names; never raises.

        ``international`` says that the call arrived on an international trunk, where digits without "+" are in
        international format.
        """
        if len(raw) > LONGEST_TEXT:
            raw = raw[:LONGEST_TEXT]
        if raw[:1] == "+":
            digits = raw[1:]
            if digits.isdecimal() and digits.isascii():
                return self._with_plus(digits)
        elif raw.isdecimal() and raw.isascii():
            return self._from_international(raw) if international else self._from_national(raw)
        return self._remembered(raw, international)

    def _remembered(self, raw: str, international: bool) -> NumberFacts:
        """Facts about a text that must be spelled out first; the answer is kept for the next time."""
        key = (raw, international)
        found = self._recent.get(key) or self._older.get(key)
        if found is None:
            found = self._spelled(spell(raw), international)
            if not found.valid:
                found = self._emergency(raw) or found
        if len(raw) <= _LONGEST_CACHED and self._generation:
            self._recent[key] = found
            if len(self._recent) >= self._generation:
                self._older, self._recent = self._recent, {}
        return found

    def _spelled(self, spelling: Spelling, international: bool) -> NumberFacts:
        text = spelling.text
        match spelling.kind:
            case "digits":
                if spelling.plus:
                    return self._with_plus(text)
                if spelling.context:
                    emergency = self._short.get(text)
                    if emergency is not None and emergency.emergency:
                        return emergency
                    return self._with_plus(spelling.context + text)
                return self._from_international(text) if international else self._from_national(text)
            case "name":
                return NumberFacts(text[:LONGEST_NUMBER], "alphanumeric", "", "alphanumeric")
            case "service":
                return self._service(text)
            case "anonymous":
                return _ANONYMOUS
        return _unknown(text)

    def _emergency(self, raw: str) -> NumberFacts | None:
        """The emergency code that ``raw`` calls with other things dialled before or after it; None without one."""
        for text in dialled(raw):
            facts = self._short.get(text)
            if facts is not None and facts.emergency:
                return facts
            if (text == "sos" or text in self._services) and self.plan.emergency:
                return self._service(text)
        return None

    def _service(self, label: str) -> NumberFacts:
        """urn:service:sos.police is an emergency call whatever stands after ``sos``; other services are no numbers."""
        if label.partition(".")[0] != "sos" or not self.plan.emergency:
            return _unknown("")
        code = self._services.get(label) or self._services.get("sos") or self.plan.emergency[0].code
        return self._short[code]

    def _with_plus(self, digits: str) -> NumberFacts:
        if len(digits) <= _LONGEST_SPELLING:
            short = self._short.get(digits)
            if short is not None:
                return short
        if len(digits) > _LONGEST_DIGITS:
            return _unknown(digits)
        return self._e164(digits) or _unknown(digits)

    def _e164(self, digits: str) -> NumberFacts | None:
        """Facts about "+" + ``digits``; None when that is no number of any country."""
        code = self._by_start.get(digits[:3])
        if code is None:
            return self._reserved(digits)
        # The walk of CallingCodes.look_up, repeated here because a call costs as much as half of it.
        roots = code.roots or code.compile()
        at = code.skip
        length = len(digits) - at
        if length <= MAX_LENGTH:
            node = roots[length]
            while node.__class__ is dict:
                node = node[digits[at]]
                at += 1
            country, line, operator, region, valid, possible, prefixed = node
            if not prefixed and length > 1:
                return NumberFacts("+" + digits, "e164", country, line, operator, region, valid, possible)
        found = self._codes.look_up(digits)
        if found is None:
            return None
        number, (country, line, operator, region, valid, possible, _) = found
        return NumberFacts("+" + number, "e164", country, line, operator, region, valid, possible)

    def _reserved(self, digits: str) -> NumberFacts | None:
        for code in self.plan.reserved_calling_codes:
            if digits.startswith(code) and len(digits) == len(code) + self._length:
                return NumberFacts("+" + digits, "e164", self.plan.country, possible=True)
        return None

    def _from_national(self, digits: str) -> NumberFacts:
        """Digits as a subscriber of the home country dials them, or as a national switch shortens them.

        A reading that gives a valid number wins, the national one first. Without a valid one, what is written like
        a home number stays a (faulty) home number, so that forged ones show as such.
        """
        length = len(digits)
        if length <= _LONGEST_SPELLING:
            short = self._short.get(digits)
            if short is not None:
                return short
        if length > _LONGEST_DIGITS:
            return _unknown(digits)
        after = self._after_international_prefix(digits)
        if after:
            return self._e164(after) or _unknown(digits)
        if length < self._length:
            return _unknown(digits)
        home = self._as_home(digits)
        if home is not None and home.valid:
            return home
        other = self._e164(digits)
        if other is not None and other.valid:
            return other
        if home is not None and (length != self._length or home.country == self.plan.country):
            return home
        return other if other is not None and other.possible else _unknown(digits)

    def _from_international(self, digits: str) -> NumberFacts:
        """Digits from an international trunk: international format first, then the forms that do not belong there.

        A home number in national form on such a trunk is what a forger sends who wants it to look local; it is
        recognised as the home number.
        """
        length = len(digits)
        if length <= _LONGEST_SPELLING:
            short = self._short.get(digits)
            if short is not None:
                return short
        if length > _LONGEST_DIGITS:
            return _unknown(digits)
        plain = self._e164(digits)
        # A number that is valid only after a national prefix was taken out of its middle is the weaker reading.
        if plain is not None and plain.valid and len(plain.number) == length + 1:
            return plain
        after = self._after_international_prefix(digits)
        prefixed = self._e164(after) if after else None
        home = self._as_home(digits)
        for reading in (prefixed, home, plain):
            if reading is not None and reading.valid:
                return reading
        if prefixed is not None:
            return prefixed
        for reading in (plain, home):
            if reading is not None and reading.possible:
                return reading
        return _unknown(digits)

    def _after_international_prefix(self, digits: str) -> str:
        """What follows an international prefix; empty when ``digits`` begin with none."""
        if digits.startswith(self._prefixes):
            for prefix in self._prefixes:
                if digits.startswith(prefix):
                    return digits[len(prefix) :]
        return ""

    def _as_home(self, digits: str) -> NumberFacts | None:
        """``digits`` read as a number of the home calling code: with trunk prefix, with calling code, or bare."""
        length = len(digits)
        if length == self._with_trunk and digits.startswith(self._trunk):
            return self._e164(self._home + digits[len(self._trunk) :])
        if length == self._with_code and digits.startswith(self._home):
            return self._e164(digits)
        if length == self._length:
            return self._e164(self._home + digits)
        return None


def _unknown(digits: str) -> NumberFacts:
    return NumberFacts(digits[:LONGEST_NUMBER], "unknown")


def _short_spellings(plan: DialPlan) -> dict[str, NumberFacts]:
    """Every way in which switches write the short codes → the code's facts.

    A switch may put trunk prefix, calling code, area code or international prefix before a short code; none of
    that makes a full number. An emergency code is recognised after all of them, another code after everything but
    an area code (which would swallow local numbers). Emergency codes come last and so win.
    """
    trunk, code = plan.trunk_prefix, plan.calling_code
    abroad = plan.international_prefixes
    with_code = ("", code, trunk, *(prefix + code for prefix in abroad))
    spellings: dict[str, NumberFacts] = {}
    for short in plan.short_codes:
        facts = _short_facts(plan, short, emergency=False)
        spellings |= dict.fromkeys((prefix + short for prefix in (*with_code[1:], *abroad)), facts)
    for short in plan.short_codes:
        spellings[short] = _short_facts(plan, short, emergency=False)
    with_area = [prefix + area for prefix in with_code for area in _area_codes(plan)]
    for entry in plan.emergency:
        facts = _short_facts(plan, entry.code, emergency=True)
        spellings |= dict.fromkeys((prefix + entry.code for prefix in (*with_code, *abroad, *with_area)), facts)
        # Two-digit codes are too short to be told from a number's tail.
        for short in entry.also:
            prefixes = (*with_code, *abroad) if len(short) > 2 else ("",)
            spellings |= dict.fromkeys((prefix + short for prefix in prefixes), facts)
        for short in (entry.code, *(also for also in entry.also if len(also) > 2)):
            before = [prefix + short for prefix in _DIALLED_BEFORE]
            if short == _AMERICAN:
                before += [prefix + "1" + short for prefix in ("", *abroad)]
            for spelling in before:
                if spelling not in plan.short_codes:
                    spellings[spelling] = facts
        # One that the plan's ranges cover has been a short code in all its spellings; it stays one number.
        for short in entry.abroad:
            prefixes = (*with_code, *abroad) if short in plan.short_codes else ("",)
            spellings |= dict.fromkeys((prefix + short for prefix in prefixes), facts)
    return {digits: facts for digits, facts in spellings.items() if len(digits) <= _LONGEST_SPELLING}


def _area_codes(plan: DialPlan) -> list[str]:
    """Area codes as the plan lists them and as towns have them: those of three digits with up to two more."""
    codes = {area for area in plan.areas if _SHORTEST_AREA <= len(area) <= _LONGEST_AREA}
    for area in sorted(codes):
        for more in range(1, _LONGEST_AREA - len(area) + 1):
            codes.update(f"{area}{rest:0{more}d}" for rest in range(10**more))
    return sorted(codes)


def _short_facts(plan: DialPlan, code: str, *, emergency: bool) -> NumberFacts:
    return NumberFacts(code, "short", plan.country, "short", valid=True, possible=True, emergency=emergency, short=True)
