"""A set of rules and lists, compiled: what a call hits, in a fixed order, and why."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from antifraud.domain import BundleError, Location, Stage, UsageError
from antifraud.rulekit import form, passed_over
from antifraud.rulekit import rule as rule_files
from antifraud.rulekit.checker import Names, check_condition
from antifraud.rulekit.compiler import Clause, PackFunction, Predicate, compile_pack, compile_predicate, pack_code
from antifraud.rulekit.documents import Excerpt, Sheet, parse_sheet, raise_problems, read_sheet
from antifraud.rulekit.evaluation import CompiledRules, HeldList, Hit, Maker, Pack, Params
from antifraud.rulekit.explanation import ExceptionNote, Explanation, Holidays, explain_condition
from antifraud.rulekit.fields import Field, describe
from antifraud.rulekit.form import Value
from antifraud.rulekit.interpreter import Interpreter
from antifraud.rulekit.list_folder import KnownList, ListStamp, read_lists, yaml_files
from antifraud.rulekit.lists import ListFile
from antifraud.rulekit.local_time import LocalTime, read_calendar
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.rule import LIVE, SETUP, Rule
from antifraud.rulekit.texts import ReasonText, Template
from antifraud.rulekit.tree import And, Condition, Listed, OneOf, Or, Param, atoms_in
from antifraud.rulekit.window_names import read_own_windows

if TYPE_CHECKING:
    from antifraud.rulekit.columns import Column, ColumnRules, Mask

LANGUAGE_VERSION: Final = 3
"""Counted up when the meaning of a condition or of a list changes, so that digests differ."""

_BELIEVED: Final = ("national",)
"""The classes of trunks on which a protect list believes the number that calls."""

_RANK: Final = {"protect": 0, "release": 1, "block": 1, "divert": 2, "challenge": 3, "label": 4, "alert": 4}
_LISTS: Final = "lists"


class RuleSet(CompiledRules):
    """Rules and lists of one rules directory, with all that people wrote about them.

    ``stamps`` has digests of what the lists were read from, by name.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        lists: Iterable[ListFile],
        *,
        fields: Mapping[str, Field],
        windows: Sequence[str],
        order: Sequence[str],
        digest: str,
        local: LocalTime | None = None,
        stamps: Mapping[str, ListStamp] = {},
        kinds: Mapping[str, str] = {},
    ) -> None:
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: (rule.pack, rule.id)))
        files = sorted(lists, key=lambda item: item.name)
        self.names = names_of(fields, windows, order, {item.name: item.kind for item in files}, local, kinds)
        self._by_id = {rule.id: rule for rule in self.rules}
        packs: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.rules:
            if rule.stage in LIVE:
                packs.setdefault((rule.pack, rule.on), []).append(rule)
        super().__init__(
            (*self._protecting(files), *(self._compile(*place, rules) for place, rules in packs.items())),
            [HeldList(item, item.table(), stamps.get(item.name, ListStamp())) for item in files],
            {rule.id: dict(rule.params) for rule in self.rules},
            digest,
        )

    def without_sources(self) -> CompiledRules:
        """The same without what only people read: all that an engine keeps in memory."""
        lists = [msgspec.structs.replace(item, file=item.file.without_sources()) for item in self.held.values()]
        return CompiledRules(self.packs, lists, self.defaults, self.digest)

    def evaluate_columns(self, columns: Mapping[str, Column], n: int, params: Params) -> dict[str, Mask]:
        """What ``evaluate`` says of ``n`` calls at once: rule id → bool[n], and ``list:<name>`` → bool[n] for lists.

        ``columns`` are the row's values by name (see ``rulekit.columns``): texts as ``Coded`` or as text and None,
        numbers as float64 with NaN, yes/no as bool, or int8 with -1; one that is not there is missing everywhere. The
        masks take n bytes a rule: hand in a few million calls at a time. Only what is evaluated has one, so rules at
        draft and retired have none.
        """
        of_rules = [params.by_rule.get(key, {}) for key in self._columns.keys]
        return self._columns.evaluate(columns, n, of_rules)

    @functools.cached_property
    def _columns(self) -> ColumnRules:
        from antifraud.rulekit.columns import ColumnRules

        found = [(f"list:{item.name}", self._protection(item)) for item in self.lists]
        clauses = [(key, Clause(condition)) for key, condition in found if condition is not None]
        clauses += [(rule.id, self._clause(rule, {})) for rule in self.rules if rule.stage in LIVE and rule.on == SETUP]
        return ColumnRules([key for key, _ in clauses], [clause for _, clause in clauses], self._lookups)

    def rule(self, name: str) -> Rule:
        """The rule of that id, whatever its stage; UsageError with a suggestion when there is none."""
        found = self._by_id.get(name)
        if found is None:
            raise UsageError(f"there is no rule {name}", hint=did_you_mean(name, self._by_id))
        return found

    def explain(
        self, name: str, row: Sequence[object], params: Params | None = None, language: str = "en"
    ) -> Explanation:
        """What the rule ``name`` makes of ``row``, term by term, whatever its stage. ``language`` is that of names."""
        rule = self.rule(name)
        values = params.by_rule[name] if params is not None else rule.params
        interpreter = self.interpreter(row, values)
        ts = self.names.slot("ts")
        moment = row[ts.index] if ts is not None else None
        holidays = Holidays(self.names.local, language)
        exceptions = []
        for item in rule.unless:
            current = isinstance(moment, (int, float)) and moment < item.ends
            held = interpreter.holds(item.when) is True
            terms = explain_condition(item.when, interpreter, holidays)
            exceptions.append(ExceptionNote(item.name, held, not current, terms))
        hit = interpreter.holds(rule.when) is True and not any(note.held and not note.ended for note in exceptions)
        terms = explain_condition(rule.when, interpreter, holidays)
        return Explanation(rule.id, rule.verdict, rule.stage.value, hit, terms, tuple(exceptions))

    def reason_values(self, rule: Rule, row: Sequence[object]) -> tuple[object, ...]:
        """The values of the placeholders in the reason of ``rule``, with its declared parameters."""
        maker = self._maker(rule, {name: position for position, name in enumerate(rule.params)})
        return maker.values(row, tuple(rule.params.values()))

    def interpreter(self, row: Sequence[object], params: Mapping[str, Value]) -> Interpreter:
        """The plain evaluator over one row, with these lists."""
        return Interpreter(row, params, self._lookups)

    def row(self, given: Mapping[str, Value | None]) -> list[object]:
        """A row that has ``given`` and nothing else; a setup at ``TEST_TS`` unless it says otherwise."""
        row: list[object] = [None] * len(self.names.order)
        for name, value in {"kind": "setup", "ts": rule_files.TEST_TS, **given}.items():
            if name in self.names.order:
                row[self.names.order[name]] = value
        return row

    def compile_single(self, rule: Rule) -> PackFunction:
        """``rule`` alone, whatever its stage: (row, its parameters in their order) → (0,) when it hits, else ()."""
        clause = self._clause(rule, {name: position for position, name in enumerate(rule.params)})
        return compile_pack(rule.id, [clause], self._lookups)

    # Compiling

    def _clause(self, rule: Rule, params: Mapping[str, int]) -> Clause:
        exceptions = tuple((item.when, item.ends) for item in rule.unless)
        return Clause(rule.when, exceptions, self.names.slot("ts"), params)

    def _compile(self, pack: str, on: str, rules: Sequence[Rule]) -> Pack:
        places: list[tuple[str, str]] = []
        clauses: list[Clause] = []
        makers: list[Maker] = []
        for rule in rules:
            conditions = (rule.when, *(item.when for item in rule.unless))
            used = {atom.name for condition in conditions for atom in atoms_in(condition) if isinstance(atom, Param)}
            shown = {placeholder.name.removeprefix("params.") for placeholder in rule.reason.placeholders}
            positions: dict[str, int] = {}
            for name in rule.params:
                if name in used or name in shown:
                    positions[name] = len(places)
                    places.append((rule.id, name))
            clauses.append(self._clause(rule, positions))
            makers.append(self._maker(rule, positions))
        return Pack(pack, pack_code(pack, clauses), tuple(makers), tuple(places), on)

    def _maker(self, rule: Rule, params: Mapping[str, int]) -> Maker:
        sources = []
        for placeholder in rule.reason.placeholders:
            if placeholder.name.startswith("params."):
                sources.append((True, params[placeholder.name.removeprefix("params.")]))
            else:
                sources.append((False, self.names.order[placeholder.name]))
        like = Hit(
            rule.id,
            rule.verdict,
            rule.stage,
            rule.percent,
            rule.label,
            rule.target,
            f"rule:{rule.id}",
            rule.reason,
            code=rule.code,
            block_caller_s=rule.block_caller_s,
        )
        return Maker((_RANK[rule.verdict], rule.id), like, tuple(sources))

    def _protecting(self, lists: Iterable[ListFile]) -> tuple[Pack, ...]:
        """The lists of class protect as clauses of their own: no rule has to name them."""
        clauses = []
        makers = []
        for item in lists:
            condition = self._protection(item)
            if condition is None:
                continue
            clauses.append(Clause(condition))
            titles = item.title.versions
            reason = ReasonText((), tuple((language, Template((text,))) for language, text in titles))
            like = Hit(item.name, "protect", Stage.ENFORCE, 100.0, "", "", f"list:{item.name}", reason)
            makers.append(Maker((_RANK["protect"], f"list:{item.name}"), like, ()))
        return (Pack(_LISTS, pack_code(_LISTS, clauses), tuple(makers), ()),) if clauses else ()

    def _protection(self, item: ListFile) -> Condition | None:
        """True of the calls that the list protects.

        A caller is believed only on a trunk that is known to be national, where another operator answers for it: from
        abroad and from a customer's own telephone system anybody can present the number of a bank or of the police,
        and that is the fraud that this product exists for. A callee cannot be forged: it is protected on every trunk.
        """
        ts = self.names.slot("ts")
        trunk_class = self.names.slot("trunk_class")
        ways: list[Condition] = []
        for name in item.protects:
            slot = self.names.slot(name)
            if slot is None or ts is None:
                continue
            listed = Listed(slot, item.name, ts, f"{name} in lists.{item.name}")
            if name != "caller":
                ways.append(listed)
            elif trunk_class is not None:
                ways.append(And((listed, OneOf(trunk_class, _BELIEVED, f"trunk_class in {list(_BELIEVED)}"))))
        return Or(tuple(ways)) if ways else None


def names_of(
    fields: Mapping[str, Field],
    windows: Sequence[str],
    order: Sequence[str],
    lists: Mapping[str, str],
    local: LocalTime | None = None,
    kinds: Mapping[str, str] = {},
) -> Names:
    """What the conditions of rules may speak of."""
    positions = {name: index for index, name in enumerate(order)}
    return Names(fields, positions, frozenset(windows), {}, lists, local=local or LocalTime(), kinds=kinds)


def load_rules(
    rules_dir: Path,
    *,
    fields: Mapping[str, Field],
    windows: Sequence[str],
    order: Sequence[str],
    utc_offset_min: int | None = None,
    known: Mapping[str, KnownList] = {},
    kinds: Mapping[str, str] = {},
) -> RuleSet:
    """The rules of ``rules_dir`` (packs/*/*.yaml, lists/*.yaml, calendar.yaml), checked and compiled.

    ``order`` names the positions of a row: fields and facts, then windows, then ``score``. ``utc_offset_min`` is the
    local time of the calls; without it that of calendar.yaml. ``known`` lists (by name) whose files have not changed
    come without their entries; nothing else depends on it. ``kinds`` are those of the windows, by name: a share is
    then not compared with what it never is. BundleError carries every problem of every file.

    Windows that rules declare for themselves (``rule.window``) may stand among ``windows`` and ``order``. Those that
    do not come last: such a rule can be tested and explained, but must not be evaluated on rows that end before.
    """
    declared = read_own_windows(rules_dir)
    kinds = {**kinds, **{name: kind for item in declared for name, kind in zip(item.scoped, item.kinds, strict=True)}}
    own = [name for item in declared for name in item.scoped if name not in windows]
    windows, order = (*windows, *own), (*order, *own)
    unknown = [name for name in fields if name not in order]
    if unknown:
        sheet = Sheet("fields.yaml")
        for name in unknown:
            sheet.add(Message.FIELD_ORDER, name=name)
        raise_problems([sheet])
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{LANGUAGE_VERSION}\n{describe(fields)}\n{' '.join(windows)}\n{' '.join(order)}".encode())
    local, calendar, written = read_calendar(rules_dir, utc_offset_min)
    digest.update(f"\0{local.utc_offset_min}\0".encode() + written)
    sheets: list[Sheet] = [calendar, *passed_over.beside(rules_dir)]
    lists, stamps = read_lists(rules_dir / _LISTS, sheets, known)
    for name, stamp in stamps.items():
        digest.update(f"\0{name} {stamp.whole}".encode())
    names = names_of(fields, windows, order, {item.name: item.kind for item in lists.values()}, local, kinds)
    rules: dict[str, Rule] = {}
    for pack in _packs(rules_dir / "packs", sheets):
        for path in yaml_files(pack, sheets):
            sheet, raw = read_sheet(path, limit=rule_files.MAX_BYTES)
            sheets.append(sheet)
            digest.update(b"\0" + f"{pack.name}/{path.name}".encode() + b"\0" + raw)
            rule = rule_files.read_rule(sheet, pack.name, path.stem, names)
            if rule is None:
                continue
            if rule.id in rules:
                sheet.add(
                    Message.NAME_TWICE, rule.where.line, 1, what="rule", name=rule.id, file=rules[rule.id].where.file
                )
            rules.setdefault(rule.id, rule)
    raise_problems(sheets)
    return RuleSet(
        rules.values(),
        lists.values(),
        fields=fields,
        windows=windows,
        order=order,
        digest=digest.hexdigest(),
        local=local,
        stamps=stamps,
        kinds=kinds,
    )


def _packs(folder: Path, sheets: list[Sheet]) -> list[Path]:
    """The folders of the packs; what stands beside them is noted."""
    if not folder.is_dir():
        sheet = Sheet(str(folder.parent))
        sheet.add(Message.DIRECTORY_MISSING, name=folder.name)
        sheets.append(sheet)
        return []
    packs = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if not form.good_name(path.name, pack=True):
                sheet = Sheet(str(path))
                hint = "use small Latin letters, digits, - and _, beginning with a letter"
                sheet.add(Message.BAD_NAME, hint=hint, name=path.name, what="a pack")
                sheets.append(sheet)
            packs.append(path)
        elif passed_over.meant_as_yaml(path.name):
            sheet = Sheet(str(path))
            sheet.add(Message.FILE_MISPLACED, file=f"{passed_over.stem(path.name)}.yaml")
            sheets.append(sheet)
    return packs


def read_call(text: str, rules: RuleSet, rule: str = "") -> dict[str, Value | None]:
    """What a person says of one call, as JSON or YAML: names of fields, facts and windows with values.

    ``rule`` is the one whose own windows may be named. UsageError with the place in the text when a name does not
    exist or a value does not fit.
    """
    sheet = Sheet("call", text)
    root = parse_sheet(sheet, max_nodes=1_000)
    names = msgspec.structs.replace(rules.names, scope=rule)
    given = rule_files.read_given(sheet, root, names) if root is not None else {}
    if sheet.problems:
        raise UsageError.of(sheet.sorted_problems())
    return given


def compile_where(
    text: str,
    where: Location,
    fields: Mapping[str, Field],
    order: Sequence[str],
    on: str,
    *,
    utc_offset_min: int | None = None,
) -> Predicate:
    """The predicate of a window: row → whether ``text`` is true of it; unknown counts as not true.

    ``where`` is the place of the text's first character. ``on`` is the kind of event that the window counts (setup,
    answer, release, report); only fields that such an event carries may be read. ``utc_offset_min`` is the local time
    of the calls. BundleError carries the problems.
    """
    sheet = _PlacedSheet(where, text)
    lines = text.split("\n")
    origins = [(where.line + number, max(1, where.column)) for number in range(len(lines))]
    names = Names(
        fields,
        {name: index for index, name in enumerate(order) if name in fields},
        at=on,
        late=Message.NOT_KNOWN_AT,
        params_allowed=False,
        where="in the where of a window",
        local=LocalTime() if utc_offset_min is None else LocalTime(utc_offset_min),
    )
    condition = check_condition(Excerpt(sheet, text, origins), names)
    if condition is None:
        raise BundleError.of(sheet.sorted_problems())
    return compile_predicate(condition)


class _PlacedSheet(Sheet):
    """A sheet of which only one text is known, standing somewhere in a file."""

    def __init__(self, where: Location, text: str) -> None:
        super().__init__(where.file)
        self._first = where.line
        self._shown = [" " * (max(1, where.column) - 1) + line for line in text.split("\n")]

    def line(self, number: int) -> str:
        """The text's own line, moved to its column."""
        position = number - self._first
        return self._shown[position] if 0 <= position < len(self._shown) else ""
