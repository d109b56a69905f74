"""What a window is and how it is declared: rules/windows.yaml → ``WindowSet``. No state and no arithmetic here.

docs/reference/windows.md describes every key for people who write declarations, and what the values mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
import yaml

from antifraud.domain import BundleError, EventKind, Location, Problem
from antifraud.features.declarations import Declarations, nearest, suggest

Predicate = Callable[[Sequence[object]], bool]
#: (text, where it stands, kind of event that it is asked about) → the condition; BundleError where it cannot be one.
CompileWhere = Callable[[str, Location, str], Predicate]
#: Many conditions as one function: bit i of its answer is condition i.
Combine = Callable[[Sequence[Predicate]], Callable[[Sequence[object]], int]]

#: What each kind is in one line; the keys are the words of ``kind:``.
KINDS: Final[Mapping[str, str]] = {
    "count": "how many events",
    "distinct": "how many different values of a field",
    "share": "which part of the events satisfies the condition, 0-1",
    "sequential": "how many calls go to a number next to the one called before",
    "sum": "the sum of a numeric field",
    "mean": "the mean of a numeric field",
    "max": "the largest value of a numeric field",
    "open": "how many calls are going on: begun and not yet released",
    "repeat": "how many calls in a row went to what is called now",
    "age": "seconds since the key was first seen",
    "idle": "seconds since the key was last seen",
    "ratio": "one window divided by another",
    "balance": "one window divided by the sum of it and another, 0-1",
}
#: Kinds that are worked out from other windows and keep nothing themselves.
DERIVED: Final = ("ratio", "balance")

#: Fields that a window may be kept by, or count the different values of.
KEY_FIELDS: Final = (
    "caller",
    "callee",
    "caller_prefix",
    "callee_prefix",
    "source",
    "switch",
    "trunk",
    "src_ip",
    "user_agent",
    "fingerprint",
    "imsi",
    "imei",
    "cell",
    "reporter",
)

#: Fields among them that only one kind of event carries.
_CARRIED_BY: Final[Mapping[str, str]] = {"reporter": "report"}

#: Numeric fields that can be summed → the event kind that carries them.
NUMBER_FIELDS: Final[Mapping[str, str]] = {
    "ring_s": "release",
    "talk_s": "release",
    "pdd_s": "release",
    "cause": "release",
    "weight": "report",
}

LANGUAGES: Final = ("en", "ru", "kk")
SHORTEST_S: Final = 1
LONGEST_S: Final = 30 * 86_400
DEFAULT_BUCKETS: Final = 12
MOST_BUCKETS: Final = 240
MOST_CONDITIONS: Final = 56
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EVENTS: Final = tuple(kind.value for kind in EventKind)
_KEYS: Final = (
    "kind",
    "by",
    "for",
    "over",
    "on",
    "of",
    "to",
    "where",
    "among",
    "new",
    "new_within",
    "step",
    "cut",
    "buckets",
    "doc",
)
#: What the two windows of a ratio and of a balance are.
_PARTS: Final = {
    ("ratio", "of"): "what is divided",
    ("ratio", "to"): "what it is divided by",
    ("balance", "of"): "the part that is meant",
    ("balance", "to"): "the rest of the whole",
}
_UNBUCKETED: Final = ("age", "idle", "repeat")
_NUMERIC: Final = ("sum", "mean", "max")
#: Raised when the same declaration begins to mean something else: models and snapshots of before then no longer fit.
_MEANING: Final = 2
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


class WindowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One declared window; ``over_s`` and ``buckets`` are 0 where a kind has none.

    ``by`` says whose past is kept; ``seen_by`` (``for`` in the file) whose is looked up when a call is set up, the
    same when it is empty. ``of`` and ``to`` are names of windows for ratio and balance.
    """

    name: str
    kind: str
    by: tuple[str, ...] = ()
    seen_by: tuple[str, ...] = ()
    on: str = "setup"
    over_s: int = 0
    buckets: int = 0
    of: str = ""
    to: str = ""
    where: str = ""
    among: str = ""
    new: str = ""
    new_within_s: int = 0
    step: int = 0
    cut: int = 0
    doc: Mapping[str, str] = {}

    @property
    def bucket_s(self) -> int:
        """The width of one bucket in whole seconds; 0 where there are none."""
        return self.over_s // self.buckets if self.buckets else 0

    @property
    def new_grid(self) -> tuple[int, int]:
        """Over what, and in how many buckets, a pair is looked for that is asked to be new."""
        return self.over_s, self.buckets


class WindowSet(msgspec.Struct, frozen=True):
    """All windows of one bundle in the order of the file.

    ``digest`` follows from everything that can change a value, not from ``doc``. ``predicates`` maps the text of
    each condition to the compiled form; ``combine``, where there is one, makes one function of many of them.
    """

    names: tuple[str, ...]
    specs: tuple[WindowSpec, ...]
    digest: str
    predicates: Mapping[str, Predicate] = {}
    combine: Combine | None = None

    @property
    def digests(self) -> Mapping[str, str]:
        """Each window's name and the digest of its content (16 hex digits): equal content, equal values."""
        found: dict[str, str] = {}
        for spec in self.specs:
            found[spec.name] = _content_digest(spec, found)
        return found

    @property
    def row_kinds(self) -> frozenset[EventKind]:
        """The kinds of event for which some condition wants a row; rows of the others are never looked at."""
        return frozenset(EventKind(spec.on) for spec in self.specs if spec.where or spec.among)

    def subset(self, names: Iterable[str]) -> WindowSet:
        """The windows of ``names`` and those that they are worked out from, in the order of the file."""
        wanted = set(names)
        for spec in reversed(self.specs):
            if spec.name in wanted and spec.kind in DERIVED:
                wanted |= {spec.of, spec.to}
        specs = tuple(spec for spec in self.specs if spec.name in wanted)
        kept = tuple(spec.name for spec in specs)
        return WindowSet(kept, specs, digest_of(specs), self.predicates, self.combine)


def load_windows(
    path: str | Path,
    compile_where: CompileWhere,
    *,
    combine: Combine | None = None,
    taken: Mapping[str, str] = MappingProxyType({}),
    own: Iterable[Declaring] = (),
) -> WindowSet:
    """Read and check the declarations in ``path``, and those of the rules ``own``, which come last as ``rule.window``.

    ``compile_where(text, where, on)`` turns a condition into a predicate over a row of an event of the kind ``on``;
    ``combine`` makes one function of several; ``taken`` are names that mean something else in a condition, with what
    that is. Raises BundleError that carries every problem found, each with file, line, column and a suggestion.
    """
    source = Declarations(Path(path))
    top = source.mapping(source.root, "the file")
    for name, (key, _) in top.items():
        if name not in ("version", "windows"):
            source.report(key, f"unknown key {name!r}", suggest(name, ("version", "windows")))
    if "version" in top and source.text(top["version"][1], "version") not in ("", "1"):
        source.report(top["version"][1], "this version of the file is not known", "this engine reads version 1")
    predicates: dict[tuple[str, str], Predicate] = {}
    specs: dict[str, WindowSpec | None] = {}
    if "windows" in top:
        declared = source.mapping(top["windows"][1], "windows")
        for name, (key, node) in declared.items():
            if not _NAME.fullmatch(name):
                source.report(
                    key,
                    f"the name {name!r} cannot be used in a condition",
                    "small Latin letters, digits and _ only, a letter first, at most 64",
                )
            if name in taken:
                source.report(
                    key, f"{name!r} is {taken[name]}", f"rules would mean that; say what is counted: {name}_1h"
                )
            specs[name] = _Reader(source, name, key, node, compile_where, predicates, specs, tuple(declared)).read()
    elif top:
        source.report(next(iter(top.values()))[0], "the file declares no windows", "add the key 'windows'")
    problems: list[Problem] = []
    for rule in own:
        problems += _read_own(rule, compile_where, taken, predicates, specs)
    for event in _EVENTS:
        texts = {text for on, text in predicates if on == event}
        if len(texts) > MOST_CONDITIONS:
            where = Location(source.file)
            message = f"{len(texts)} different conditions on {event}, at most {MOST_CONDITIONS} are possible"
            source.problems.append(Problem(message, where, "let windows share conditions: equal text is stored once"))
    if problems:
        raise BundleError.of([*source.sorted_problems(), *problems])
    source.finish()
    whole = tuple(spec for spec in specs.values() if spec is not None)
    by_text = {text: predicate for (_, text), predicate in predicates.items()}
    return WindowSet(tuple(spec.name for spec in whole), whole, digest_of(whole), by_text, combine)


class Declaring(Protocol):
    """A rule file that declares windows of its own: the rule's name, the file's name and text."""

    @property
    def rule(self) -> str: ...

    @property
    def file(self) -> str: ...

    @property
    def text(self) -> str: ...


def _read_own(
    rule: Declaring,
    compile_where: CompileWhere,
    taken: Mapping[str, str],
    predicates: dict[tuple[str, str], Predicate],
    specs: dict[str, WindowSpec | None],
) -> list[Problem]:
    """Add the windows of one rule to ``specs``; the problems found in its file.

    A ratio may be made of the rule's own windows and of those that everybody has, never of another rule's.
    """
    source = Declarations(rule.file, rule.text.encode())
    node = next((value for key, value in source.root.value if key.value == "windows"), None) if source.root else None
    items = [item for item in (node.value if isinstance(node, yaml.SequenceNode) else ()) if _is_declaration(item)]
    shared = {name: spec for name, spec in specs.items() if "." not in name}
    known: dict[str, WindowSpec | None] = dict(shared)
    for item in items:
        key = next(value for key, value in item.value if key.value == "name")
        name = str(key.value).strip()
        if name in taken or name in shared:
            what = taken.get(name, "a window of windows.yaml")
            source.report(key, f"{name!r} is {what}", f"give the window of this rule another name, such as {name}_here")
        elif name in known:
            source.report(key, f"{name!r} stands twice among the windows of this rule")
        spec = _Reader(source, name, key, item, compile_where, predicates, known, (), owned=True).read()
        known[name] = spec
        if spec is not None:
            scoped = {part: f"{rule.rule}.{part}" for part in (spec.of, spec.to) if part and part not in shared}
            derived = scoped if spec.kind in DERIVED else {}
            specs[f"{rule.rule}.{name}"] = msgspec.structs.replace(
                spec,
                name=f"{rule.rule}.{name}",
                of=derived.get(spec.of, spec.of),
                to=derived.get(spec.to, spec.to),
            )
    return source.sorted_problems()


def _is_declaration(node: yaml.Node) -> bool:
    """Whether an item of a rule's ``windows`` declares one; the reader of rules says what is wrong with any other."""
    if not isinstance(node, yaml.MappingNode):
        return False
    names = [value for key, value in node.value if key.value == "name"]
    return len(names) == 1 and isinstance(names[0], yaml.ScalarNode) and bool(_NAME.fullmatch(names[0].value.strip()))


def digest_of(specs: Sequence[WindowSpec]) -> str:
    """The digest of a whole set: of names, order and everything that can change a value."""
    content = [_MEANING, [msgspec.structs.replace(spec, doc={}) for spec in specs]]
    return hashlib.blake2b(msgspec.json.encode(content, order="deterministic"), digest_size=16).hexdigest()


def _content_digest(spec: WindowSpec, above: Mapping[str, str]) -> str:
    """What can change a value of ``spec``: neither its name nor its words, but the windows it is worked out from."""
    bare = msgspec.structs.replace(spec, name="", doc={})
    if spec.kind in DERIVED:
        bare = msgspec.structs.replace(bare, of=above[spec.of], to=above[spec.to])
    return hashlib.blake2b(msgspec.json.encode([_MEANING, bare], order="deterministic"), digest_size=8).hexdigest()


class _Reader:
    """Reads one declaration; problems go to ``source``."""

    def __init__(
        self,
        source: Declarations,
        name: str,
        key: yaml.ScalarNode,
        node: yaml.Node,
        compile_where: CompileWhere,
        predicates: dict[tuple[str, str], Predicate],
        above: Mapping[str, WindowSpec | None],
        declared: Sequence[str],
        *,
        owned: bool = False,
    ) -> None:
        self.source = source
        self.name = name
        self.key = key
        self.compile_where = compile_where
        self.predicates = predicates
        self.above = above
        self.declared = declared
        self.owned = owned
        self.entries = source.mapping(node, f"window {name!r}")
        self.before = len(source.problems)

    def read(self) -> WindowSpec | None:
        """The window, or None where its declaration has problems."""
        if not self.entries:
            return None
        for name, (key, _) in self.entries.items():
            if name not in _KEYS and not (self.owned and name == "name"):
                self.source.report(key, f"unknown key {name!r} in window {self.name!r}", suggest(name, _KEYS))
        kind = self._choice("kind", KINDS, "")
        if kind in DERIVED:
            spec = self._derived(kind)
            return spec if len(self.source.problems) == self.before else None
        on = self._choice("on", _EVENTS, "answer" if kind == "open" else "setup")
        by = self._fields("by") if kind or "by" in self.entries else ()
        seen_by = self._seen_by(by)
        if kind and by:
            self._check_needs(kind, on)
        self._check_carried(kind, on)
        over_s, buckets = self._over(kind)
        spec = WindowSpec(
            name=self.name,
            kind=kind,
            by=by,
            seen_by=() if seen_by == by else seen_by,
            on=on,
            over_s=over_s,
            buckets=buckets,
            of=self._of(kind, on),
            where=self._where("where", on),
            among=self._where("among", on),
            new=self._new(on),
            new_within_s=self._duration("new_within", LONGEST_S) if "new_within" in self.entries else 0,
            step=self._number("step", 1, 1000, 2) if kind == "sequential" else 0,
            cut=self._number("cut", 1, 9, 4) if self._uses_prefix() else 0,
            doc=self._doc(),
        )
        return spec if len(self.source.problems) == self.before else None

    def _needed(self, name: str, hint: str) -> None:
        self.source.report(self.key, f"window {self.name!r} needs {name!r}", hint)

    def _derived(self, kind: str) -> WindowSpec:
        for name, (key, _) in self.entries.items():
            if name in _KEYS and name not in ("kind", "of", "to", "doc"):
                self.source.report(
                    key, f"{name!r} means nothing for {kind}", "it takes only 'of' and 'to', two windows"
                )
        named = {name: self._window(kind, name) for name in ("of", "to")}
        return WindowSpec(name=self.name, kind=kind, of=named["of"], to=named["to"], doc=self._doc())

    def _window(self, kind: str, name: str) -> str:
        """The window that ``of`` or ``to`` of a ratio or balance names; empty with a problem noted where it cannot."""
        if name not in self.entries:
            self._needed(name, f"{_PARTS[kind, name]}: a window that is declared above")
            return ""
        node = self.entries[name][1]
        found = self.source.text(node, f"{name!r}", "the name of one window that is declared above")
        if found == self.name:
            self.source.report(node, f"a {kind} cannot be made of itself", "name a window that is declared above")
        elif found in self.above:
            named = self.above[found]
            if named is None or named.kind not in DERIVED:
                return found
            self.source.report(
                node,
                f"{found!r} is itself a {named.kind}",
                f"name a window that {found!r} is made of: {named.of}, {named.to}",
            )
        elif found in self.declared:
            self.source.report(node, f"window {found!r} is declared further down", f"move {self.name!r} below it")
        elif found:
            near = nearest(found, self.above)
            hint = f"did you mean {near!r}?" if near else "declare it above this one"
            self.source.report(node, f"window {found!r} is unknown", hint)
        return ""

    def _check_needs(self, kind: str, on: str) -> None:
        if kind == "share" and "where" not in self.entries and "new" not in self.entries:
            self.source.report(
                self.key,
                f"window {self.name!r} needs 'where' or 'new'",
                "a share is the part of the events for which the condition holds, or that come from somebody new",
            )
        only_for = {
            "among": ("share",),
            "step": ("sequential",),
            "of": ("distinct", *_NUMERIC, "repeat", *DERIVED),
            "to": DERIVED,
        }
        for name, kinds in only_for.items():
            if name in self.entries and kind not in kinds:
                self.source.report(
                    self.entries[name][0], f"{name!r} means nothing for {kind}", f"it belongs to {', '.join(kinds)}"
                )
        if "new_within" in self.entries and "new" not in self.entries:
            self.source.report(self.entries["new_within"][0], "'new_within' needs 'new'", "add 'new: caller'")
        if "new" in self.entries and kind in (*_UNBUCKETED, "open"):
            self.source.report(self.entries["new"][0], f"'new' means nothing for {kind}", "remove it")
        if kind == "open" and on not in ("", "setup", "answer"):
            self.source.report(
                self.entries["on"][1],
                f"a call begins with its setup or its answer, not with its {on}",
                "'on: setup' counts calls that ring or talk, 'on: answer' those that talk",
            )

    def _check_carried(self, kind: str, on: str) -> None:
        """Fields that one kind of event carries belong to windows of that kind, and are never known at a set-up."""
        for name in ("by", "for", "of"):
            for item in _scalars(self.entries[name][1]) if name in self.entries else ():
                carrier = _CARRIED_BY.get(str(item.value))
                if carrier is None:
                    continue
                unknown = f"{item.value} is not known when a call is set up"
                if name == "for":
                    self.source.report(item, unknown, "'for' is looked up then: name a field that is")
                elif on and on != carrier:
                    self.source.report(
                        item, f"{item.value} is not known at {on}", f"it is known at {carrier}: 'on: {carrier}'"
                    )
                elif name == "by" and "for" not in self.entries:
                    self.source.report(item, unknown, "say whose number is looked up then: 'for: callee'")
                elif name == "of" and kind == "repeat":
                    self.source.report(item, unknown, "a row goes on with what is called now: name a field of the call")

    def _new(self, on: str) -> str:
        if "new" not in self.entries:
            return ""
        new = self._choice("new", ("caller", "callee", "pair"), "")
        if new == "pair":
            if on and on != "setup":
                self.source.report(
                    self.entries["new"][1],
                    f"whether a pair is new is settled when it calls, not at {on}",
                    "'on: setup', which is also meant when 'on' is left out",
                )
            if "new_within" in self.entries:
                self.source.report(
                    self.entries["new_within"][0],
                    "'new_within' means nothing for pairs",
                    "remove it: a pair is new when it has not called within 'over'",
                )
        return new

    def _choice(self, name: str, allowed: Sequence[str] | Mapping[str, str], default: str) -> str:
        if name not in self.entries:
            if not default:
                self._needed(name, f"one of: {', '.join(allowed)}")
            return default
        return self.source.choice(self.entries[name][1], name, allowed)

    def _fields(self, name: str) -> tuple[str, ...]:
        if name not in self.entries:
            self._needed(name, f"whose past is meant, one of: {', '.join(KEY_FIELDS)}")
            return ()
        node = self.entries[name][1]
        nodes: list[yaml.Node] = list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
        fields = tuple(self.source.choice(item, "field", KEY_FIELDS) for item in nodes)
        if len(fields) > 3 or not fields:
            self.source.report(node, f"{name!r} takes one to three fields, not {len(fields)}", "keep those that matter")
        if len(set(fields)) < len(fields) and all(fields):
            self.source.report(node, f"{name!r} names a field twice")
        return fields

    def _seen_by(self, by: tuple[str, ...]) -> tuple[str, ...]:
        if "for" not in self.entries:
            return ()
        fields = self._fields("for")
        node = self.entries["for"][1]
        if by and fields and len(by) != len(fields):
            self.source.report(
                node,
                f"'for' names {_fields_in_words(len(fields))}, 'by' {_fields_in_words(len(by))}",
                "name as many: each is looked up in place of the one that stands there in 'by'",
            )
        for kept, asked in zip(by, fields, strict=False):
            if kept and asked and kept.endswith("_prefix") != asked.endswith("_prefix"):
                fitting = f"{asked}_prefix" if kept.endswith("_prefix") else asked.removesuffix("_prefix")
                hint = f"did you mean {fitting!r}?" if fitting in KEY_FIELDS else f"no {asked} is ever a {kept}"
                self.source.report(node, f"'for' looks up a {asked} in place of a {kept}", hint)
        return fields

    def _uses_prefix(self) -> bool:
        used = any(
            str(item.value).endswith("_prefix")
            for name in ("by", "for", "of")
            if name in self.entries
            for item in _scalars(self.entries[name][1])
        )
        if not used and "cut" in self.entries:
            self.source.report(
                self.entries["cut"][0], "'cut' is for prefixes only", "use caller_prefix or callee_prefix"
            )
        return used

    def _of(self, kind: str, on: str) -> str:
        if kind in _NUMERIC:
            field = self._choice("of", NUMBER_FIELDS, "")
            if field and on and NUMBER_FIELDS[field] != on:
                known = NUMBER_FIELDS[field]
                self.source.report(
                    self.entries["of"][1], f"{field} is not known at {on}", f"it is known at {known}: 'on: {known}'"
                )
            return field
        if kind in ("distinct", "repeat"):
            field = self._choice("of", KEY_FIELDS, "callee" if kind == "repeat" else "")
            if field and "by" in self.entries and field in [item.value for item in _scalars(self.entries["by"][1])]:
                node = self.entries["of"][1] if "of" in self.entries else self.entries["by"][1]
                hint = "count another field" if "of" in self.entries else f"'of' is {field} unless it says otherwise"
                self.source.report(node, f"a {field} has one {field}", hint)
            return field
        return ""

    def _duration(self, name: str, longest: int) -> int:
        node = self.entries[name][1]
        text = self.source.text(node, name)
        match = _DURATION.fullmatch(text)
        if match is None:
            if text:
                self.source.report(node, f"{name} {text!r} is no length of time", "a number and s, m, h or d: 10m")
            return 0
        seconds = int(match[1]) * _UNITS[match[2]]
        if not SHORTEST_S <= seconds <= longest:
            self.source.report(node, f"{name} {text!r} is out of range", "from 1s to 30d")
            return 0
        return seconds

    def _over(self, kind: str) -> tuple[int, int]:
        if kind in _UNBUCKETED or not kind:
            for name in ("buckets",) if kind == "repeat" else ("over", "buckets"):
                if name in self.entries and kind:
                    hint = "it goes by the calls themselves" if kind == "repeat" else "it looks back without end"
                    self.source.report(self.entries[name][0], f"{name!r} means nothing for {kind}", hint)
            if kind != "repeat":
                return 0, 0
        if "over" not in self.entries:
            self._needed("over", "how far it looks back: 1m, 10m, 1h, 30d")
            return 0, 0
        over = self._duration("over", LONGEST_S)
        if not over or kind == "repeat":
            return over, 0
        if "buckets" not in self.entries:
            return over, next(n for n in range(min(DEFAULT_BUCKETS, over), 0, -1) if over % n == 0)
        buckets = self._number("buckets", 1, MOST_BUCKETS, 0)
        if buckets and over % buckets:
            near = min((n for n in range(1, MOST_BUCKETS + 1) if over % n == 0), key=lambda n: abs(n - buckets))
            self.source.report(
                self.entries["buckets"][1], f"{buckets} buckets of {over} s are no whole seconds", f"{near} would do"
            )
        return over, buckets

    def _number(self, name: str, least: int, most: int, default: int) -> int:
        if name not in self.entries:
            return default
        node = self.entries[name][1]
        text = self.source.text(node, name)
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            if text:
                self.source.report(node, f"{name} {text!r} is out of range", f"a whole number from {least} to {most}")
            return default
        return int(text)

    def _where(self, name: str, on: str) -> str:
        if name not in self.entries:
            return ""
        node = self.entries[name][1]
        text = self.source.text(node, name)
        if text and on and (on, text) not in self.predicates:
            try:
                self.predicates[on, text] = self.compile_where(text, self.source.at(node), on)
            except BundleError as error:
                self.source.problems.extend(error.problems)
        return text

    def _doc(self) -> dict[str, str]:
        if "doc" not in self.entries and self.owned:
            return {}  # the rule says what it is for
        if "doc" not in self.entries:
            self._needed("doc", f"say what it means to an analyst, in {', '.join(LANGUAGES)}")
            return {}
        key, node = self.entries["doc"]
        texts = self.source.mapping(node, "doc")
        for language, (word, _) in texts.items():
            if language not in LANGUAGES:
                self.source.report(word, f"unknown language {language!r}", suggest(language, LANGUAGES))
        missing = [language for language in LANGUAGES if language not in texts]
        if missing and isinstance(node, yaml.MappingNode):
            hint = "a line for each language: en, ru, kk; analysts read their own"
            self.source.report(key, f"doc lacks {', '.join(missing)}", hint)
        return {name: self.source.text(value, f"doc.{name}") for name, (_, value) in texts.items()}


def _fields_in_words(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
    """The scalars of a scalar or a list."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [item for item in nodes if isinstance(item, yaml.ScalarNode)]
