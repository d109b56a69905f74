"""A country's dial plan: how its subscribers dial, which short codes it has, who serves which prefix.

Plans are YAML files (config/dialplans/<country>.yaml) that people edit. ``load_dial_plan`` reports everything that
is wrong with one in a single pass, each problem with its line, column and remedy. The fields are explained in
docs/reference/numbering.md.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

from antifraud.domain import ConfigError, Location, Problem


class EmergencyCode(msgspec.Struct, frozen=True):
    """A short code that must always be reached.

    ``services`` are the RFC 5031 service labels (``sos``, ``sos.police``) that it answers, ``also`` other short
    numbers that mean the same, ``abroad`` those of other countries, which mean it only when dialled alone.
    """

    code: str
    name: str
    services: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    abroad: tuple[str, ...] = ()


class DialPlan(msgspec.Struct, frozen=True):
    """One country's dial plan as checked and expanded by ``load_dial_plan``.

    ``home_prefixes`` are the beginnings of national numbers that belong to this country where the calling code is
    shared with ``shared_with``. ``short_codes`` maps every single code to its name (patterns are expanded),
    ``areas`` area codes to ISO 3166-2 regions, ``operators`` prefixes to the operator that holds the range.
    """

    country: str
    calling_code: str
    trunk_prefix: str
    international_prefixes: tuple[str, ...]
    national_length: int
    shared_with: str = ""
    home_prefixes: tuple[str, ...] = ()
    reserved_calling_codes: tuple[str, ...] = ()
    emergency: tuple[EmergencyCode, ...] = ()
    short_codes: Mapping[str, str] = {}
    regions: Mapping[str, str] = {}
    areas: Mapping[str, str] = {}
    operators: Mapping[str, str] = {}


_REQUIRED: Final = ("country", "calling_code", "trunk_prefix", "international_prefixes", "national_length", "emergency")
_OPTIONAL: Final = (
    "shared_with",
    "home_prefixes",
    "reserved_calling_codes",
    "short_codes",
    "regions",
    "operators",
)
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_REGION: Final = re.compile(r"[A-Z]{2}-[0-9A-Z]{1,3}")
_SERVICE: Final = re.compile(r"sos(\.[a-z][a-z-]*)?")
_DIGITS: Final = re.compile(r"[0-9]+")
_SHORT_PATTERN: Final = re.compile(r"(?=.{2,6}$)[0-9]+x{0,3}")
_LONGEST_FILE: Final = 1_000_000

_Scalars = list[tuple[str, yaml.Node]]


def load_dial_plan(path: str | Path) -> DialPlan:
    """The dial plan in the YAML file ``path``; ConfigError with every problem found in it."""
    file = Path(path)
    try:
        text = file.read_bytes()[: _LONGEST_FILE + 1].decode("utf-8")
    except OSError as error:
        problem = Problem(f"cannot read the dial plan: {error.strerror or error}", Location(str(path)))
        raise ConfigError.of([problem]) from None
    except UnicodeDecodeError as error:
        problem = Problem("the dial plan is not UTF-8 text", Location(str(path)), f"byte {error.start} is the first")
        raise ConfigError.of([problem]) from None
    return _Checker(str(path), text).plan()


class _Checker:
    """Reads one file into a plan, noting problems instead of stopping at the first."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._lines = text.splitlines()
        self._problems: list[Problem] = []

    # -- noting problems

    def _note(self, node: yaml.Node | None, message: str, hint: str = "") -> None:
        if node is None:
            self._problems.append(Problem(message, Location(self._file), hint))
            return
        start, end = node.start_mark, node.end_mark
        source = self._lines[start.line] if start.line < len(self._lines) else ""
        width = end.column - start.column if end.line == start.line else len(source) - start.column
        where = Location(self._file, start.line + 1, start.column + 1)
        self._problems.append(Problem(message, where, hint, source, max(1, width)))

    def _not_one_of(self, node: yaml.Node, what: str, word: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}"
        self._note(node, f"{what} {word!r} is not known", hint if names else "")

    # -- reading nodes

    def _root(self) -> yaml.Node | None:
        if len(self._text) > _LONGEST_FILE:
            self._note(None, "the dial plan is longer than a million characters")
            return None
        try:
            root = yaml.compose(self._text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if mark is not None and mark.line >= len(self._lines):
                mark = error.context_mark or mark  # an end that never came: show where it began
            line, column = (mark.line, mark.column) if mark is not None else (-1, -1)
            source = self._lines[line] if 0 <= line < len(self._lines) else ""
            where = Location(self._file, line + 1, column + 1)
            message = f"not YAML: {error.problem or error.context}"
            self._problems.append(Problem(message, where, "check indentation, colons and quotes here", source))
            return None
        except (yaml.YAMLError, RecursionError) as error:
            self._note(None, f"not YAML: {str(error).splitlines()[0]}")
            return None
        if root is None:
            self._note(None, "the dial plan is empty", f"it needs: {', '.join(_REQUIRED)}")
        return root

    def _entries(self, node: yaml.Node | None, what: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Key, key node and value node of a mapping; complains about other things and about repeated keys."""
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self._note(node, f"{what} must be a mapping (key: value)")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, f"a key of {what} must be a single word or number")
                continue
            name = str(key.value)
            if name in seen:
                self._note(key, f"{what} has {name!r} twice", f"the first is on line {seen[name]}")
                continue
            seen[name] = key.start_mark.line + 1
            yield name, key, value

    def _text_of(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.value != "":
            return str(node.value)
        self._note(node, f"{what} must be a single value")
        return None

    def _list(self, node: yaml.Node | None, what: str) -> _Scalars:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._note(node, f"{what} must be a list", "write it as [a, b]")
            return []
        found = []
        for item in node.value:
            text = self._text_of(item, f"an entry of {what}")
            if text is not None:
                found.append((text, item))
        return found

    def _matching(self, node: yaml.Node, what: str, pattern: re.Pattern[str], like: str) -> str:
        text = self._text_of(node, what)
        if text is None:
            return ""
        if pattern.fullmatch(text) is None:
            self._note(node, f"{what} {text!r} is not {like}")
            return ""
        return text

    def _digits(self, node: yaml.Node | None, what: str, longest: int = 12) -> tuple[str, ...]:
        """A list of digit strings; the waiting tone in 8~10 may be written and is left out."""
        found = []
        for text, item in self._list(node, what):
            digits = text.replace("~", "")
            if _DIGITS.fullmatch(digits) is None or len(digits) > longest:
                self._note(item, f"an entry of {what}, {text!r}, is not 1 to {longest} digits")
            elif digits in found:
                self._note(item, f"{what} has {text!r} twice")
            else:
                found.append(digits)
        return tuple(found)

    # -- the parts of a plan

    def plan(self) -> DialPlan:
        root = self._root()
        nodes: dict[str, yaml.Node] = {}
        for name, key, value in self._entries(root, "a dial plan"):
            if name in _REQUIRED or name in _OPTIONAL:
                nodes[name] = value
            else:
                self._not_one_of(key, "field", name, (*_REQUIRED, *_OPTIONAL))
        if isinstance(root, yaml.MappingNode):
            for name in _REQUIRED:
                if name not in nodes:
                    self._note(None, f"the dial plan lacks {name!r}", "see docs/reference/numbering.md")
        country = self._one(nodes, "country", _COUNTRY, "an ISO 3166-1 code such as KZ")
        calling_code = self._one(nodes, "calling_code", re.compile("[1-9][0-9]{0,2}"), "1 to 3 digits without +")
        home_prefixes = self._digits(nodes.get("home_prefixes"), "home_prefixes")
        emergency = self._emergency(nodes.get("emergency"))
        regions, areas = self._regions(nodes.get("regions"), country, home_prefixes)
        plan = DialPlan(
            country=country,
            calling_code=calling_code,
            trunk_prefix=self._one(nodes, "trunk_prefix", re.compile("[0-9]{1,3}"), "1 to 3 digits"),
            international_prefixes=self._digits(nodes.get("international_prefixes"), "international_prefixes", 6),
            national_length=int(self._one(nodes, "national_length", re.compile("[4-9]|1[0-4]"), "from 4 to 14") or 0),
            shared_with=self._one(nodes, "shared_with", _COUNTRY, "an ISO 3166-1 code such as RU"),
            home_prefixes=home_prefixes,
            reserved_calling_codes=self._digits(nodes.get("reserved_calling_codes"), "reserved_calling_codes", 3),
            emergency=emergency,
            short_codes=self._short_codes(nodes.get("short_codes"), emergency),
            regions=regions,
            areas=areas,
            operators=self._operators(nodes.get("operators"), home_prefixes),
        )
        self._shared(nodes, plan)
        if self._problems:
            self._problems.sort(
                key=lambda problem: (problem.where.line, problem.where.column) if problem.where else (0, 0)
            )
            raise ConfigError.of(self._problems)
        return plan

    def _one(self, nodes: Mapping[str, yaml.Node], name: str, pattern: re.Pattern[str], like: str) -> str:
        node = nodes.get(name)
        return self._matching(node, name, pattern, like) if node is not None else ""

    def _shared(self, nodes: Mapping[str, yaml.Node], plan: DialPlan) -> None:
        if "shared_with" in nodes and not plan.home_prefixes and not self._problems:
            hint = "add home_prefixes: the beginnings of national numbers that belong to this country"
            self._note(nodes["shared_with"], "a shared calling code needs home_prefixes", hint)

    def _emergency(self, node: yaml.Node | None) -> tuple[EmergencyCode, ...]:
        found: list[EmergencyCode] = []
        taken: dict[str, str] = {}
        for code, key, value in self._entries(node, "emergency"):
            name, services, also, abroad = "", [], [], []
            for field, field_key, field_value in self._entries(value, f"emergency code {code}"):
                if field == "name":
                    name = self._text_of(field_value, "name") or ""
                elif field == "services":
                    for service, item in self._list(field_value, "services"):
                        if _SERVICE.fullmatch(service) is None:
                            hint = "write it as in RFC 5031: sos, sos.police, sos.fire, sos.ambulance"
                            self._note(item, f"{service!r} is not an emergency service label", hint)
                        services.append(service)
                elif field == "also":
                    also = self._list(field_value, "also")
                elif field == "abroad":
                    abroad = self._list(field_value, "abroad")
                else:
                    self._not_one_of(field_key, "field", field, ("name", "services", "also", "abroad"))
            for short, item in [(code, key), *also, *abroad]:
                if _DIGITS.fullmatch(short) is None or not 2 <= len(short) <= 6:
                    self._note(item, f"emergency code {short!r} is not 2 to 6 digits")
                elif short in taken:
                    self._note(item, f"emergency code {short!r} appears twice", f"it already means {taken[short]}")
                taken.setdefault(short, code)
            others = (tuple(short for short, _ in listed) for listed in (also, abroad))
            found.append(EmergencyCode(code, name, tuple(services), *others))
        if isinstance(node, yaml.MappingNode) and not node.value:
            self._note(node, "a dial plan without emergency codes cannot protect them")
        return tuple(found)

    def _short_codes(self, node: yaml.Node | None, emergency: tuple[EmergencyCode, ...]) -> dict[str, str]:
        protected = {short for entry in emergency for short in (entry.code, *entry.also)}
        foreign = {short for entry in emergency for short in entry.abroad}
        exact: dict[str, str] = {}
        ranges: dict[str, str] = {}
        for pattern, key, value in self._entries(node, "short_codes"):
            name = self._text_of(value, f"the name of short code {pattern}") or ""
            if _SHORT_PATTERN.fullmatch(pattern) is None:
                hint = "a final x stands for any digit: 14xx"
                self._note(key, f"short code {pattern!r} is not 2 to 6 digits", hint)
            elif pattern in protected or pattern in foreign:
                self._note(key, f"short code {pattern} is an emergency code already", "leave it out here")
            elif "x" in pattern:
                stem = pattern.rstrip("x")
                for tail in itertools.product("0123456789", repeat=len(pattern) - len(stem)):
                    ranges.setdefault(stem + "".join(tail), name)
            else:
                exact[pattern] = name
        merged = ranges | exact
        return {code: merged[code] for code in sorted(merged) if code not in protected}

    def _regions(
        self, node: yaml.Node | None, country: str, home: tuple[str, ...]
    ) -> tuple[dict[str, str], dict[str, str]]:
        regions: dict[str, str] = {}
        areas: dict[str, str] = {}
        for code, key, value in self._entries(node, "regions"):
            if _REGION.fullmatch(code) is None or (country and not code.startswith(f"{country}-")):
                self._note(key, f"{code!r} is not an ISO 3166-2 code of {country or 'the country'}")
            for field, field_key, field_value in self._entries(value, f"region {code}"):
                if field == "name":
                    regions[code] = self._text_of(field_value, "name") or ""
                elif field == "areas":
                    self._take(areas, code, self._list(field_value, "areas"), "area code", home)
                else:
                    self._not_one_of(field_key, "field", field, ("name", "areas"))
            regions.setdefault(code, "")
        return regions, areas

    def _operators(self, node: yaml.Node | None, home: tuple[str, ...]) -> dict[str, str]:
        operators: dict[str, str] = {}
        for name, _, value in self._entries(node, "operators"):
            self._take(operators, name, self._list(value, f"the prefixes of {name}"), "operator prefix", home)
        return operators

    def _take(self, into: dict[str, str], owner: str, prefixes: _Scalars, what: str, home: tuple[str, ...]) -> None:
        """Note that ``prefixes`` belong to ``owner``; one prefix has one owner and lies in the country."""
        for prefix, item in prefixes:
            if _DIGITS.fullmatch(prefix) is None or len(prefix) > 12:
                self._note(item, f"{what} {prefix!r} is not 1 to 12 digits")
            elif home and not prefix.startswith(home):
                hint = f"home_prefixes are {', '.join(home)}; leave out trunk prefix and calling code"
                self._note(item, f"{what} {prefix} does not belong to this country", hint)
            elif prefix in into:
                self._note(item, f"{what} {prefix} has two owners", f"it already belongs to {into[prefix]}")
            else:
                into[prefix] = owner
