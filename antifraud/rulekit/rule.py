"""One rule: what it is, and how its file is read. Compiling and evaluating happen elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from antifraud.domain import Location, Stage
from antifraud.rulekit import form
from antifraud.rulekit.checker import Names, check_condition
from antifraud.rulekit.documents import Excerpt, MapNode, Node, Scalar, Sheet, parse_sheet
from antifraud.rulekit.form import Value
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.texts import LocalText, Placeholder, ReasonText, Template, split_template
from antifraud.rulekit.tree import Condition, Param, Slot, atoms_in

MAX_BYTES: Final = 64 * 1024
MAX_NODES: Final = 8_000
VERDICTS: Final = ("protect", "label", "challenge", "divert", "block")
STAGES: Final = tuple(stage.value for stage in Stage)
LIVE: Final = (Stage.SHADOW, Stage.CANARY, Stage.ENFORCE)
"""The stages in which a rule is evaluated."""

KEYS: Final = (
    "rule",
    "title",
    "owner",
    "tags",
    "why",
    "false_positives",
    "params",
    "windows",
    "when",
    "unless",
    "then",
    "rollout",
    "tests",
)
REQUIRED: Final = ("rule", "title", "owner", "why", "false_positives", "when", "then", "rollout")
THEN_KEYS: Final = ("verdict", "label", "target", "reason")
ROLLOUT_KEYS: Final = ("stage", "percent", "by", "review_by")
UNLESS_KEYS: Final = ("name", "why", "when", "owner", "until")
TEST_KEYS: Final = ("name", "like", "given", "params", "expect")
EXPECT: Final = ("hit", "no_hit")
FORMS: Final = ("", "percent")

TEST_TS: Final = 1_767_268_800.0
"""The time of a test's call where the test gives none: 2026-01-01 12:00 UTC."""


class RuleException(msgspec.Struct, frozen=True):
    """Calls that a rule spares for a time: while ``when`` is true, before the epoch second ``ends``."""

    name: str
    owner: str
    when: Condition
    ends: float
    why: LocalText = LocalText()


class RuleTest(msgspec.Struct, frozen=True):
    """One case: fields and windows of a call, everything else missing, and whether the rule must hit it."""

    name: str
    given: Mapping[str, Value | None]
    params: Mapping[str, Value]
    expect_hit: bool
    where: Location


class Rule(msgspec.Struct, frozen=True):
    """One rule as read and checked."""

    id: str
    pack: str
    title: LocalText
    owner: str
    tags: tuple[str, ...]
    why: LocalText
    false_positives: LocalText
    params: Mapping[str, Value]
    windows: tuple[str, ...]
    when: Condition
    unless: tuple[RuleException, ...]
    verdict: str
    label: str
    target: str
    reason: ReasonText
    stage: Stage
    percent: float
    by: str
    review_by: str
    tests: tuple[RuleTest, ...]
    where: Location


class _Then(msgspec.Struct, frozen=True):
    verdict: str
    label: str
    target: str
    reason: ReasonText


class _Rollout(msgspec.Struct, frozen=True):
    stage: Stage
    percent: float
    by: str
    review_by: str


def read_rule(sheet: Sheet, pack: str, stem: str, names: Names) -> Rule | None:
    """The rule that ``sheet`` holds; None when something is wrong, which is then noted in the sheet."""
    root = parse_sheet(sheet, max_nodes=MAX_NODES)
    return _Reader(sheet, pack, stem, names).read(root) if root is not None else None


class _Reader:
    """Reads one rule; goes on after a mistake, to find the others."""

    def __init__(self, sheet: Sheet, pack: str, stem: str, names: Names) -> None:
        self._sheet = sheet
        self._pack = pack
        self._stem = stem
        self._names = names

    def read(self, root: Node) -> Rule | None:
        """The rule, or None."""
        sheet = self._sheet
        found = form.keys(sheet, root, "this rule", KEYS, REQUIRED)
        nodes = {key: node for key, (_key, node) in found.items()}
        name = form.name(sheet, nodes["rule"], "a rule") if "rule" in nodes else None
        if name is not None and name != self._stem:
            sheet.at(nodes["rule"], Message.NAME_NOT_STEM, stem=self._stem, what="rule", name=name)
        title = form.as_local_text(sheet, nodes["title"], "title", 200) if "title" in nodes else LocalText()
        owner = form.text(sheet, nodes["owner"], "owner", 128) if "owner" in nodes else None
        tags = self._tags(nodes["tags"]) if "tags" in nodes else ()
        why = form.as_local_text(sheet, nodes["why"], "why", 4_000) if "why" in nodes else LocalText()
        risk = LocalText()
        if "false_positives" in nodes:
            risk = form.as_local_text(sheet, nodes["false_positives"], "false_positives", 4_000)
        params = self._params(nodes["params"]) if "params" in nodes else {}
        names = msgspec.structs.replace(self._names, params={key: value for key, (_node, value) in params.items()})
        when = self._condition(nodes["when"], names) if "when" in nodes else None
        unless = self._unless(nodes["unless"], names) if "unless" in nodes else ()
        then = self._then(nodes["then"], names) if "then" in nodes else None
        rollout = self._rollout(nodes["rollout"], then) if "rollout" in nodes else None
        tests = self._tests(nodes.get("tests"), names, rollout, root)
        windows: tuple[str, ...] = ()
        if when is not None and then is not None:
            used = {atom for condition in (when, *(item.when for item in unless)) for atom in atoms_in(condition)}
            shown = {placeholder.name for placeholder in then.reason.placeholders}
            for key, (node, _value) in params.items():
                if Param(key, "") not in {Param(atom.name, "") for atom in used if isinstance(atom, Param)} and (
                    f"params.{key}" not in shown
                ):
                    sheet.at(node, Message.PARAM_UNUSED, name=key)
            read = {atom.name for atom in used if isinstance(atom, Slot)} | shown
            windows = self._windows(nodes.get("windows"), {name for name in read if name in names.windows})
        if sheet.problems or name is None or owner is None or when is None or then is None or rollout is None:
            return None
        return Rule(
            id=name,
            pack=self._pack,
            title=title,
            owner=owner,
            tags=tags,
            why=why,
            false_positives=risk,
            params=names.params,
            windows=windows,
            when=when,
            unless=unless,
            verdict=then.verdict,
            label=then.label,
            target=then.target,
            reason=then.reason,
            stage=rollout.stage,
            percent=rollout.percent,
            by=rollout.by,
            review_by=rollout.review_by,
            tests=tests,
            where=Location(sheet.name, nodes["rule"].line, 1),
        )

    def _tags(self, node: Node) -> tuple[str, ...]:
        found = [form.name(self._sheet, item, "a tag", pack=True) for item in form.items(self._sheet, node, "tags", 32)]
        return tuple(tag for tag in found if tag is not None)

    def _params(self, node: Node) -> dict[str, tuple[Scalar, Value]]:
        params: dict[str, tuple[Scalar, Value]] = {}
        for name, (key, value_node) in (form.mapping(self._sheet, node, "params") or {}).items():
            if not form.good_name(name):
                self._sheet.at(key, Message.BAD_NAME, name=name, what="a parameter")
                continue
            value = form.value(self._sheet, value_node, f"params.{name}")
            if value is not None:
                params[name] = (key, value)
        return params

    def _windows(self, node: Node | None, used: set[str]) -> tuple[str, ...]:
        """The windows that the rule reads; where it lists them, the list must be right."""
        sheet = self._sheet
        if node is None:
            return tuple(sorted(used))
        listed: list[str] = []
        for item in form.items(sheet, node, "windows", 64):
            name = form.name(sheet, item, "a window")
            if name is None:
                continue
            listed.append(name)
            if name not in self._names.windows:
                sheet.at(item, Message.WINDOW_UNKNOWN, name=name, advice=did_you_mean(name, self._names.windows))
            elif name not in used:
                sheet.at(item, Message.WINDOW_UNUSED, name=name)
        for name in sorted(used.difference(listed)):
            sheet.at(node, Message.WINDOW_UNLISTED, name=name)
        return tuple(listed)

    def _condition(self, node: Node, names: Names) -> Condition | None:
        excerpt = form.excerpt(self._sheet, node)
        return check_condition(excerpt, names) if excerpt is not None else None

    def _unless(self, node: Node, names: Names) -> tuple[RuleException, ...]:
        sheet = self._sheet
        exceptions = []
        for item in form.items(sheet, node, "unless", 64):
            found = form.keys(sheet, item, "an exception", UNLESS_KEYS, ("name", "when", "owner", "until"))
            if not {"name", "when", "owner", "until"} <= found.keys():
                continue
            name = form.name(sheet, found["name"][1], "an exception")
            when = self._condition(found["when"][1], names)
            owner = form.text(sheet, found["owner"][1], "owner", 128)
            ends = form.until(sheet, found["until"][1], "until")
            why = form.as_local_text(sheet, found["why"][1], "why", 1_000) if "why" in found else LocalText()
            if name is not None and when is not None and owner is not None and ends is not None:
                exceptions.append(RuleException(name, owner, when, ends, why))
        return tuple(exceptions)

    def _then(self, node: Node, names: Names) -> _Then | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "then", THEN_KEYS, ("verdict", "reason"))
        verdict = form.choice(sheet, found["verdict"][1], "verdict", VERDICTS) if "verdict" in found else None
        label = form.text(sheet, found["label"][1], "label", 64) if "label" in found else ""
        target = form.text(sheet, found["target"][1], "target", 256) if "target" in found else ""
        reason = self._reason(found["reason"][1], names) if "reason" in found else None
        if verdict == "label" and "label" not in found:
            sheet.at(node, Message.LABEL_MISSING)
        if "target" in found and verdict is not None and verdict != "divert":
            sheet.at(found["target"][0], Message.TARGET_WITHOUT_DIVERT)
        if verdict is None or reason is None:
            return None
        return _Then(verdict, label or "", target or "", reason)

    def _reason(self, node: Node, names: Names) -> ReasonText | None:
        versions = form.local_text(self._sheet, node, "reason", 500)
        if versions is None:
            return None
        placeholders: dict[Placeholder, int] = {}
        templates: list[tuple[str, Template]] = []
        for language, scalar in versions:
            excerpt = Excerpt.of(self._sheet, scalar)
            pieces, faults = split_template(scalar.value.strip())
            for fault in faults:
                excerpt.at(fault.offset, fault.offset + 1, Message.BRACE)
            done: list[str | int] = []
            for piece in pieces:
                if isinstance(piece, str):
                    done.append(piece)
                    continue
                self._check_placeholder(excerpt, piece, names)
                done.append(placeholders.setdefault(piece, len(placeholders)))
            templates.append((language, Template(tuple(done))))
        return ReasonText(tuple(placeholders), tuple(templates))

    @staticmethod
    def _check_placeholder(excerpt: Excerpt, piece: Placeholder, names: Names) -> None:
        start = max(0, excerpt.text.find("{" + piece.name)) + 1
        end = start + max(1, len(piece.name))
        if piece.form not in FORMS:
            excerpt.at(start, end, Message.PLACEHOLDER_FORM, form=piece.form)
        if piece.name.startswith("params."):
            name = piece.name.removeprefix("params.")
            if name not in names.params:
                advice = did_you_mean(name, names.params, "declare it under the key params")
                excerpt.at(start, end, Message.PLACEHOLDER, name=piece.name, advice=advice)
            return
        field = names.fields.get(piece.name)
        if names.slot(piece.name) is None or (field is not None and not field.known_at(names.at)):
            advice = did_you_mean(piece.name, [*names.callable_names(), *(f"params.{name}" for name in names.params)])
            excerpt.at(start, end, Message.PLACEHOLDER, name=piece.name or "{ }", advice=advice)

    def _rollout(self, node: Node, then: _Then | None) -> _Rollout | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "rollout", ROLLOUT_KEYS, ("stage",))
        word = form.choice(sheet, found["stage"][1], "stage", STAGES) if "stage" in found else None
        percent = form.number(sheet, found["percent"][1], "percent") if "percent" in found else None
        by = form.text(sheet, found["by"][1], "by", 128) if "by" in found else ""
        review_by = form.date_words(sheet, found["review_by"][1], "review_by") if "review_by" in found else ""
        if word is None:
            return None
        stage = Stage(word)
        if "percent" in found and stage is not Stage.CANARY:
            sheet.at(found["percent"][0], Message.PERCENT_WITHOUT_CANARY)
        elif stage is Stage.CANARY and "percent" not in found:
            sheet.at(node, Message.PERCENT_MISSING)
        elif percent is not None and not 0 < percent < 100:
            sheet.at(
                found["percent"][1],
                Message.OUT_OF_RANGE,
                hint="a canary is more than nobody and less than everybody",
                what="percent",
                low="0",
                high="100, both excluded",
            )
        if then is not None and then.verdict == "protect" and stage in (Stage.SHADOW, Stage.CANARY):
            sheet.at(found["stage"][1], Message.PROTECT_STAGED)
        return _Rollout(stage, percent if percent is not None else 100.0, by or "", review_by)

    def _tests(self, node: Node | None, names: Names, rollout: _Rollout | None, root: Node) -> tuple[RuleTest, ...]:
        sheet = self._sheet
        live = rollout is not None and rollout.stage in LIVE
        if node is None:
            if live:
                hint = "add a case that expects hit and one that expects no_hit"
                sheet.at(root, Message.MISSING_KEY, hint=hint, what="this rule", name="tests")
            return ()
        tests: dict[str, RuleTest] = {}
        for item in form.items(sheet, node, "tests", 200):
            test = self._test(item, names, tests)
            if test is not None:
                tests[test.name] = test
        if live and not sheet.problems:
            for expect, wanted in (("hit", True), ("no_hit", False)):
                if not any(test.expect_hit == wanted for test in tests.values()):
                    sheet.at(node, Message.TESTS_ONE_SIDED, expect=expect)
        return tuple(tests.values())

    def _test(self, node: Node, names: Names, before: Mapping[str, RuleTest]) -> RuleTest | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "a test", TEST_KEYS, ("name", "expect"))
        if "name" not in found or "expect" not in found:
            return None
        name = form.text(sheet, found["name"][1], "name", 128, digits=True)
        expect = form.choice(sheet, found["expect"][1], "expect", EXPECT)
        if name is None or expect is None:
            return None
        if name in before:
            sheet.at(found["name"][1], Message.TEST_NAME_TWICE, name=name)
        given: dict[str, Value | None] = {}
        params: dict[str, Value] = {}
        if "like" in found:
            like = form.text(sheet, found["like"][1], "like", 128, digits=True)
            if like is not None and like not in before:
                advice = did_you_mean(like, before, "give the name of a test that stands before this one")
                sheet.at(found["like"][1], Message.LIKE_UNKNOWN, name=like, advice=advice)
            elif like is not None:
                given.update(before[like].given)
                params.update(before[like].params)
        if "given" in found and not form.is_null(found["given"][1]):
            given.update(self._given(found["given"][1], names))
        if "params" in found:
            params.update(self._test_params(found["params"][1], names))
        where = Location(sheet.name, found["name"][0].line, found["name"][0].column)
        return RuleTest(name, given, params, expect == "hit", where)

    def _given(self, node: Node, names: Names) -> dict[str, Value | None]:
        return read_given(self._sheet, node, names)

    def _test_params(self, node: Node, names: Names) -> dict[str, Value]:
        params: dict[str, Value] = {}
        for name, (key, value_node) in (form.mapping(self._sheet, node, "params") or {}).items():
            if name not in names.params:
                advice = did_you_mean(name, names.params, "declare it under the rule's params")
                self._sheet.at(key, Message.UNKNOWN_PARAM, name=name, advice=advice)
                continue
            value = form.value(self._sheet, value_node, f"params.{name}")
            if value is None:
                continue
            if type(value) is not type(names.params[name]):
                self._sheet.at(value_node, Message.PARAM_TYPE, hint=f"it was declared as {names.params[name]!r}")
                continue
            params[name] = value
        return params


def read_given(sheet: Sheet, node: Node, names: Names) -> dict[str, Value | None]:
    """Fields, facts, windows and the score of one call as a person writes them; ``null`` is missing."""
    given: dict[str, Value | None] = {}
    if not isinstance(node, MapNode):
        sheet.at(node, Message.NOT_A_MAPPING, what="given")
        return given
    for name, (key, value_node) in node.entries.items():
        slot = names.slot(name)
        if slot is None:
            sheet.at(key, Message.UNKNOWN_NAME, name=name, advice=did_you_mean(name, names.callable_names()))
            continue
        if form.is_null(value_node):
            given[name] = None
            continue
        value: Value | None
        if name == "ts":
            value = form.moment(sheet, value_node, name)
        elif slot.type == "number":
            value = form.number(sheet, value_node, name)
        elif slot.type == "bool":
            value = form.boolean(sheet, value_node, name)
        else:
            field = names.fields[name]
            if field.values:
                value = form.choice(sheet, value_node, name, field.values)
            else:
                value = form.text(sheet, value_node, name, 4_096)
        if value is not None:
            given[name] = value
    return given
