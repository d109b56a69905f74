"""What libphonenumber knows of every country's numbers, compiled into tables that answer in a microsecond.

The source is the metadata inside the ``phonenumbers`` package, and the answers equal those of its ``parse``,
``region_code_for_number``, ``number_type``, ``is_valid_number`` and ``is_possible_number`` for a number written with
"+" (tests/property/numbering proves it over every country). The home country's dial plan lays itself over one
calling code: who owns which prefix of a shared code, areas, operators. A calling code is compiled when its first
number comes; ``CallingCodes.warm`` compiles all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from antifraud.numbering.digits import MAX_LENGTH, Automaton, Frozen

#: What is known of one number: country, type, operator, region, valid, possible, and whether it begins as a
#: national prefix does and must be looked at again without it.
Known = tuple[str, str, str, str, bool, bool, bool]

_MIN_LENGTH: Final = 2
_LENGTHS: Final = range(MAX_LENGTH + 1)

#: Descriptions in metadata and the type that each means, in the order in which phonenumbers asks.
_TYPES: Final = (
    ("premium_rate", "premium"),
    ("toll_free", "toll_free"),
    ("shared_cost", "shared_cost"),
    ("voip", "voip"),
    ("personal_number", "personal"),
    ("pager", "pager"),
    ("uan", "uan"),
    ("voicemail", "voicemail"),
)


class Overlay(msgspec.Struct, frozen=True):
    """What a dial plan adds to one calling code.

    ``prefixes`` of national numbers belong to ``country`` whatever metadata says; numbers that metadata gives to
    nobody, or to ``country`` against the plan, belong to ``rest`` (empty: to nobody). Without ``prefixes`` metadata
    alone says what belongs to ``country``. ``regions`` and ``operators``
    map prefixes to values, the longest prefix wins, and count only for numbers of ``length`` digits.
    """

    country: str
    calling_code: str
    rest: str
    prefixes: tuple[str, ...]
    length: int
    regions: Mapping[str, str]
    operators: Mapping[str, str]


class _Region(msgspec.Struct, frozen=True):
    """One region of a calling code with the label bits of its patterns (0: it has no such pattern)."""

    code: str
    general: int
    types: tuple[tuple[int, str], ...]
    fixed: int
    mobile: int
    same_pattern: bool
    leading: int

    def type_of(self, labels: int) -> str:
        """The line type of a number that the patterns in ``labels`` match."""
        if not labels & self.general:
            return "unknown"
        for bit, name in self.types:
            if labels & bit:
                return name
        if labels & self.fixed:
            return "fixed_or_mobile" if self.same_pattern or labels & self.mobile else "fixed"
        return "mobile" if not self.same_pattern and labels & self.mobile else "unknown"


class CallingCode:
    """The tables of one country calling code; empty until the first number asks for them."""

    __slots__ = (
        "_full",
        "_general",
        "_local",
        "_longest",
        "_overlay",
        "_prefix",
        "_regions",
        "_rule",
        "code",
        "roots",
        "skip",
    )

    def __init__(self, code: str, regions: tuple[str, ...], overlay: Overlay | None = None) -> None:
        self.code = code
        self.skip = len(code)
        #: Decision trees by length of the national number; None until compiled.
        self.roots: tuple[Frozen, ...] | None = None
        self._regions = regions
        self._overlay = overlay
        self._full: frozenset[int] = frozenset()
        self._local: frozenset[int] = frozenset()
        self._longest = 0
        self._prefix: re.Pattern[str] | None = None
        self._rule = ""
        self._general: re.Pattern[str] | None = None

    def compile(self) -> tuple[Frozen, ...]:
        """Build the tables from metadata; done once."""
        from phonenumbers import PhoneMetadata  # 50 ms that commands without numbers do not pay

        code = int(self.code)
        load = PhoneMetadata.metadata_for_region_or_calling_code
        metadata: list[Any] = [load(code, region) for region in self._regions]
        main = metadata[0]
        general = main.general_desc
        self._full = frozenset(general.possible_length)
        self._local = frozenset(general.possible_length_local_only)
        self._longest = max(self._full)
        if main.national_prefix_for_parsing:
            self._prefix = re.compile(main.national_prefix_for_parsing)
            self._rule = main.national_prefix_transform_rule or ""
            self._general = re.compile(general.national_number_pattern or "(?!)")
        builder = _Builder(metadata, self._regions, self._overlay)
        possible = self._full | self._local
        self.roots = tuple(builder.frozen(length, length in possible) for length in _LENGTHS)
        return self.roots

    def strip(self, national: str) -> str:
        """``national`` without the national (trunk) prefix that some people write after the calling code.

        Follows phonenumbers: the prefix goes unless that turns a plausible number into an implausible one, and only
        when what remains is long enough to be a number.
        """
        match = self._prefix.match(national) if self._prefix is not None else None
        if match is None or self._general is None:
            return national
        groups = match.groups()
        if not self._rule or not groups or groups[-1] is None:
            stripped = national[match.end() :]
        else:
            stripped = match.re.sub(self._rule, national, count=1)
        if self._general.fullmatch(national) and not self._general.fullmatch(stripped):
            return national
        length = len(stripped)
        return stripped if length not in self._local and (length in self._full or length > self._longest) else national


class _Builder:
    """Merges the patterns of all regions of one calling code, and the overlay's prefixes, into one automaton."""

    def __init__(self, metadata: list[Any], codes: tuple[str, ...], overlay: Overlay | None) -> None:
        self._automaton = Automaton()
        self._bit = 1
        self._lengths: list[tuple[int, frozenset[int]]] = []
        self._regions = [self._region(code, data, len(codes) > 1) for code, data in zip(codes, metadata, strict=True)]
        self._overlay = overlay
        self._leaves: dict[Known, Known] = {}
        self._shared: dict[tuple[Any, ...], Frozen] = {}
        self._prefixed = 0
        if metadata[0].national_prefix_for_parsing:
            self._prefixed = self._label()
            self._automaton.add_prefix(metadata[0].national_prefix_for_parsing, self._prefixed)
        self._owned = self._prefixes(dict.fromkeys(overlay.prefixes, "") if overlay else {})
        self._areas = self._prefixes(overlay.regions if overlay else {})
        self._operators = self._prefixes(overlay.operators if overlay else {})
        self._used = frozenset().union(*(lengths for _, lengths in self._lengths))
        self._by_prefix = bool(overlay or self._prefixed) or any(region.leading for region in self._regions)

    def _label(self) -> int:
        bit = self._bit
        self._bit <<= 1
        return bit

    def _pattern(self, description: Any) -> int:
        if description is None or not description.national_number_pattern:
            return 0
        bit = self._label()
        self._automaton.add(description.national_number_pattern, bit)
        self._lengths.append((bit, frozenset(description.possible_length) or frozenset(_LENGTHS)))
        return bit

    def _region(self, code: str, data: Any, shared: bool) -> _Region:
        leading = 0
        if shared and data.leading_digits is not None:
            leading = self._label()
            self._automaton.add_prefix(data.leading_digits, leading)
        types = tuple((self._pattern(getattr(data, field)), name) for field, name in _TYPES)
        return _Region(
            code=code,
            general=self._pattern(data.general_desc),
            types=types,
            fixed=self._pattern(data.fixed_line),
            mobile=self._pattern(data.mobile),
            same_pattern=bool(data.same_mobile_and_fixed_line_pattern),
            leading=leading,
        )

    def _prefixes(self, values: Mapping[str, str]) -> list[tuple[int, str]]:
        """A label per prefix, longest prefixes first."""
        found = []
        for prefix in sorted(values, key=lambda text: (-len(text), text)):
            bit = self._label()
            self._automaton.add_prefix(prefix, bit)
            found.append((bit, values[prefix]))
        return found

    def _owner(self, labels: int) -> _Region | None:
        if len(self._regions) == 1:
            return self._regions[0]
        for region in self._regions:
            if region.leading:
                if labels & region.leading:
                    return region
            elif region.type_of(labels) != "unknown":
                return region
        return None

    def frozen(self, length: int, possible: bool) -> Frozen:
        """The decision tree for national numbers of ``length`` digits."""
        matching = ~0
        for bit, lengths in self._lengths:
            if length not in lengths:
                matching &= ~bit

        def answer(labels: int) -> Known:
            known = self._known(labels & matching, length, possible)
            return self._leaves.setdefault(known, known)

        if length not in self._used and not self._by_prefix:
            return answer(0)
        return self._automaton.freeze(length, answer, self._shared)

    def _known(self, labels: int, length: int, possible: bool) -> Known:
        owner = self._owner(labels)
        country = owner.code if owner is not None else ""
        overlay = self._overlay
        operator = area = ""
        if overlay is not None:
            mine = any(labels & bit for bit, _ in self._owned) if self._owned else country == overlay.country
            if mine:
                country = overlay.country
                owner = next((region for region in self._regions if region.code == country), owner)
                if length == overlay.length:
                    area = next((value for bit, value in self._areas if labels & bit), "")
                    operator = next((value for bit, value in self._operators if labels & bit), "")
            elif overlay.rest and country in ("", overlay.country):
                country = overlay.rest
                owner = next((region for region in self._regions if region.code == country), None)
        line = owner.type_of(labels) if owner is not None else "unknown"
        return (country, line, operator, area, line != "unknown", possible, bool(labels & self._prefixed))


class CallingCodes:
    """Every country calling code, found by the first digits of a number."""

    def __init__(self, overlay: Overlay | None = None) -> None:
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

        self._all: list[CallingCode] = []
        #: The first three digits of a number → its calling code.
        self.by_start: dict[str, CallingCode] = {}
        for number, regions in sorted(COUNTRY_CODE_TO_REGION_CODE.items()):
            code = str(number)
            mine = overlay if overlay is not None and overlay.calling_code == code else None
            calling_code = CallingCode(code, tuple(regions), mine)
            self._all.append(calling_code)
            for rest in range(10 ** (3 - len(code))):
                self.by_start[f"{code}{rest:0{3 - len(code)}d}" if len(code) < 3 else code] = calling_code

    def __contains__(self, code: str) -> bool:
        return any(known.code == code for known in self._all)

    def warm(self) -> None:
        """Compile every calling code that is not compiled yet."""
        for calling_code in self._all:
            if calling_code.roots is None:
                calling_code.compile()

    def look_up(self, digits: str) -> tuple[str, Known] | None:
        """The digits without a misplaced national prefix, and what is known of them; None for no number at all.

        ``digits`` are ASCII digits in international format without "+". None exactly where phonenumbers cannot
        parse "+" + digits.
        """
        code = self.by_start.get(digits[:3])
        if code is None:
            return None
        roots = code.roots or code.compile()
        national = digits[code.skip :]
        length = len(national)
        if length < _MIN_LENGTH:
            return None
        if length <= MAX_LENGTH:
            node = roots[length]
            at = 0
            while node.__class__ is dict:
                node = node[national[at]]
                at += 1
            if not node[6]:
                return digits, node
        stripped = code.strip(national)
        length = len(stripped)
        if not _MIN_LENGTH <= length <= MAX_LENGTH:
            return None
        node = roots[length]
        at = 0
        while node.__class__ is dict:
            node = node[stripped[at]]
            at += 1
        return code.code + stripped, node
