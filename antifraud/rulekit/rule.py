"""One rule: what it is, and how its file is read. Compiling and evaluating happen elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from antifraud.domain import Location, Stage
from antifraud.rulekit import elsewhere, form, stream_form
from antifraud.rulekit.checker import FUNCTIONS, Names, check_condition, late, late_message
from antifraud.rulekit.documents import Excerpt, ListNode, MapNode, Node, Scalar, Sheet, parse_sheet
from antifraud.rulekit.fields import IN_PROGRESS
from antifraud.rulekit.form import Value
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.stream import Stream
from antifraud.rulekit.texts import LocalText, Placeholder, ReasonText, Template, split_template
from antifraud.rulekit.tree import Condition, Param, Slot, atoms_in

MAX_BYTES: Final = 64 * 1024
MAX_NODES: Final = 8_000
VERDICTS: Final = ("protect", "label", "challenge", "divert", "block")
COMMANDS: Final = ("alert", "release")
"""What a rule on calls in progress can do: tell people, or end the call."""
SETUP: Final = "setup"
ON: Final = (SETUP, *IN_PROGRESS)
"""When a rule looks at a call: at its setup, or at its answer, every few seconds and at reports while it goes on."""
STAGES: Final = tuple(stage.value for stage in Stage)
LIVE: Final = (Stage.SHADOW, Stage.CANARY, Stage.ENFORCE)
"""The stages in which a rule is evaluated."""
ACTING: Final = (Stage.CANARY, Stage.ENFORCE)
"""The stages in which a rule changes calls."""

KEYS: Final = (
    "rule",
    "title",
    "owner",
    "tags",
    "why",
    "false_positives",
    "params",
    "windows",
    "on",
    "when",
    "unless",
    "then",
    "rollout",
    "tests",
)
REQUIRED: Final = ("rule", "title", "owner", "why", "false_positives", "when", "then", "rollout")
THEN_KEYS: Final = ("verdict", "command", "label", "code", "target", "block_caller", "reason")
ROLLOUT_KEYS: Final = ("stage", "percent", "false_hits_per_million", "by", "review_by")
UNLESS_KEYS: Final = ("name", "why", "when", "owner", "until")
TEST_KEYS: Final = ("name", "like", "given", *stream_form.KEYS, "params", "expect")
EXPECT: Final = ("hit", "no_hit")
FORMS: Final = ("", "percent")
CODES: Final = (403, 480, 486, 600, 603, 608)
"""The SIP statuses by which a blocked call can be refused."""
TARGET: Final = (
    r"sips?:([A-Za-z0-9_.!~*'()&=+$/%-]{1,64}@)?[A-Za-z0-9.:\[\]-]{1,120}(;[A-Za-z0-9_.=+%-]{1,64}){0,8}"
    r"|tel:\+[0-9]{3,15}"
)
"""Where a diverted call can go: it is written into a message to the switch as it stands."""
LEAST_BLOCK_S: Final = 60.0
MOST_BLOCK_S: Final = 31 * 86_400.0
"""How long a rule can have a caller's number blocked; a person can ask for more."""
MOST_FALSE_HITS: Final = 100_000.0
"""The largest budget that a rule can declare: one honest call in ten."""

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
    """One case, and whether the rule must hit it.

    ``given`` are fields and windows of a call, everything else missing; or, with a ``stream``, events of which they
    follow. ``on`` is when the rule looks at a call.
    """

    name: str
    given: Mapping[str, Value | None]
    params: Mapping[str, Value]
    expect_hit: bool
    where: Location
    stream: Stream | None = None
    on: str = "setup"


class Rule(msgspec.Struct, frozen=True):
    """One rule as read and checked.

    ``code`` is the SIP status by which a call is refused that it blocks; 0: that of the region.
    ``false_hits_per_million`` is its budget: the most honest calls in a million that it may hit; None: not declared.
    ``block_caller_s``: for how many seconds the caller's number is blocked too; 0: it is not. A rule that looks at
    calls in progress (``on`` is not setup) has its command for a verdict.
    """

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
    false_hits_per_million: float | None
    by: str
    review_by: str
    tests: tuple[RuleTest, ...]
    where: Location
    code: int = 0
    block_caller_s: float = 0.0
    on: str = SETUP


class _Then(msgspec.Struct, frozen=True):
    verdict: str
    label: str
    code: int
    target: str
    reason: ReasonText
    block_caller_s: float = 0.0


class _Rollout(msgspec.Struct, frozen=True):
    stage: Stage
    percent: float
    false_hits_per_million: float | None
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
        title = form.as_local_text(sheet, nodes["title"], "title", 200, one=True) if "title" in nodes else LocalText()
        owner = form.line(sheet, nodes["owner"], "owner", 128) if "owner" in nodes else None
        tags = self._tags(nodes["tags"]) if "tags" in nodes else ()
        why = form.as_local_text(sheet, nodes["why"], "why", 4_000) if "why" in nodes else LocalText()
        risk = LocalText()
        if "false_positives" in nodes:
            risk = form.as_local_text(sheet, nodes["false_positives"], "false_positives", 4_000)
        params = self._params(nodes["params"]) if "params" in nodes else {}
        values = {key: value for key, (_node, value) in params.items()}
        unreadable = self._unreadable(nodes.get("params"), values)
        names = msgspec.structs.replace(self._names, params=values, scope=self._stem, unreadable=unreadable)
        on = form.choice(sheet, nodes["on"], "on", ON) if "on" in nodes else SETUP
        if on is not None and on != SETUP:
            names = msgspec.structs.replace(names, at=IN_PROGRESS[on], late=Message.KNOWN_AFTER_CALL)
        when = self._condition(nodes["when"], names) if "when" in nodes else None
        unless = self._unless(nodes["unless"], names) if "unless" in nodes else ()
        then = self._then(nodes["then"], names, on) if "then" in nodes and on is not None else None
        rollout = self._rollout(nodes["rollout"], then) if "rollout" in nodes else None
        tests = self._tests(nodes.get("tests"), names, rollout, root, then)
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
        if sheet.problems or name is None or owner is None or on is None:
            return None
        if when is None or then is None or rollout is None:
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
            false_hits_per_million=rollout.false_hits_per_million,
            by=rollout.by,
            review_by=rollout.review_by,
            tests=tests,
            where=Location(sheet.name, nodes["rule"].line, 1),
            code=then.code,
            block_caller_s=then.block_caller_s,
            on=on,
        )

    def _tags(self, node: Node) -> tuple[str, ...]:
        found = [form.name(self._sheet, item, "a tag", pack=True) for item in form.items(self._sheet, node, "tags", 32)]
        return tuple(tag for tag in found if tag is not None)

    def _params(self, node: Node) -> dict[str, tuple[Scalar, Value]]:
        params: dict[str, tuple[Scalar, Value]] = {}
        for name, (key, value_node) in (form.mapping(self._sheet, node, "params") or {}).items():
            if not form.good_name(name):
                form.bad_name(self._sheet, key, name, "a parameter")
                continue
            value = form.value(self._sheet, value_node, f"params.{name}")
            if value is not None:
                params[name] = (key, value)
        return params

    @staticmethod
    def _unreadable(node: Node | None, read: Mapping[str, Value]) -> frozenset[str] | None:
        """The parameters that are declared with a value that is none; None when any could be."""
        if node is None or isinstance(node, MapNode):
            return frozenset(() if node is None else node.entries) - read.keys()
        return None

    def _windows(self, node: Node | None, used: set[str]) -> tuple[str, ...]:
        """The windows that the rule reads; where it lists them, the list must be right."""
        sheet = self._sheet
        if node is None:
            return tuple(sorted(used))
        listed: list[str] = []
        parts = {
            part[1].value
            for item in (node.items if isinstance(node, ListNode) else ())
            for part in ((item.entries.get("of"), item.entries.get("to")) if isinstance(item, MapNode) else ())
            if part is not None and isinstance(part[1], Scalar)
        }
        for item in form.items(sheet, node, "windows", 64):
            named = item
            if isinstance(item, MapNode):
                # What it counts is read where windows are folded; here only its name matters.
                if "name" not in item.entries:
                    sheet.at(item, Message.MISSING_KEY, what="a window of this rule", name="name")
                    continue
                named = item.entries["name"][1]
            name = form.name(sheet, named, "a window")
            if name is None:
                continue
            scoped = self._own_window(named, name) if isinstance(item, MapNode) else name
            if scoped in listed:
                sheet.at(named, Message.WINDOW_TWICE, name=name)
            listed.append(scoped)
            if scoped not in self._names.windows:
                known = [window for window in self._names.windows if "." not in window]
                sheet.at(named, Message.WINDOW_UNKNOWN, name=name, advice=did_you_mean(name, known))
            elif scoped not in used and name not in parts:
                sheet.at(named, Message.WINDOW_UNUSED, name=name)
        for name in sorted(used.difference(listed)):
            sheet.at(node, Message.WINDOW_UNLISTED, name=name)
        return tuple(listed)

    def _own_window(self, node: Node, name: str) -> str:
        """The name by which others know a window of this rule; a name that means something else is noted."""
        for what, others in (
            ("a field or fact of a call", self._names.fields),
            ("a function of the language", FUNCTIONS),
            ("a window of windows.yaml", self._names.windows),
            ("what is said of the model, of parameters or of lists", ("score", "params", "lists")),
        ):
            if name in others:
                self._sheet.at(node, Message.WINDOW_TAKEN, name=name, what=what)
        return f"{self._stem}.{name}"

    def _condition(self, node: Node, names: Names) -> Condition | None:
        excerpt = form.excerpt(self._sheet, node)
        return check_condition(excerpt, names) if excerpt is not None else None

    def _unless(self, node: Node, names: Names) -> tuple[RuleException, ...]:
        sheet = self._sheet
        exceptions: list[RuleException] = []
        for item in form.items(sheet, node, "unless", 64):
            found = form.keys(sheet, item, "an exception", UNLESS_KEYS, ("name", "when", "owner", "until"))
            if not {"name", "when", "owner", "until"} <= found.keys():
                continue
            name = form.name(sheet, found["name"][1], "an exception")
            when = self._condition(found["when"][1], names)
            owner = form.line(sheet, found["owner"][1], "owner", 128)
            ends = form.until(sheet, found["until"][1], "until")
            why = form.as_local_text(sheet, found["why"][1], "why", 1_000) if "why" in found else LocalText()
            if name in [item.name for item in exceptions]:
                sheet.at(found["name"][1], Message.EXCEPTION_NAME_TWICE, name=name)
            if name is not None and when is not None and owner is not None and ends is not None:
                exceptions.append(RuleException(name, owner, when, ends, why))
        return tuple(exceptions)

    def _then(self, node: Node, names: Names, on: str) -> _Then | None:
        """What ``then`` says; verdicts are for calls that are set up, commands for those in progress."""
        return self._then_at_setup(node, names) if on == SETUP else self._then_in_progress(node, names)

    def _then_in_progress(self, node: Node, names: Names) -> _Then | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "then", THEN_KEYS, ("command", "reason"))
        for key in found.keys() - {"command", "reason"}:
            sheet.at(found[key][0], Message.NOT_IN_PROGRESS, name=key)
        command = form.choice(sheet, found["command"][1], "command", COMMANDS) if "command" in found else None
        reason = self._reason(found["reason"][1], names) if "reason" in found else None
        return _Then(command, "", 0, "", reason) if command is not None and reason is not None else None

    def _then_at_setup(self, node: Node, names: Names) -> _Then | None:
        sheet = self._sheet
        if isinstance(node, MapNode) and "command" in node.entries:
            sheet.at(node.entries["command"][0], Message.COMMAND_AT_SETUP)
            return None
        found = form.keys(sheet, node, "then", THEN_KEYS, ("verdict", "reason"))
        verdict = form.choice(sheet, found["verdict"][1], "verdict", VERDICTS) if "verdict" in found else None
        label = form.line(sheet, found["label"][1], "label", 64) if "label" in found else ""
        target = form.line(sheet, found["target"][1], "target", 256) if "target" in found else ""
        code = form.number(sheet, found["code"][1], "code") if "code" in found else None
        if code is not None and code not in CODES:
            hint = f"choose one of: {', '.join(map(str, CODES))}"
            sheet.at(found["code"][1], Message.NOT_ONE_OF, hint=hint, what="code", value=f"{code:g}")
        if "code" in found and verdict is not None and verdict != "block":
            sheet.at(found["code"][0], Message.CODE_WITHOUT_BLOCK)
        if target and not re.fullmatch(TARGET, target):
            sheet.at(found["target"][1], Message.TARGET_BAD, hint=elsewhere.target(target), value=target)
        reason = self._reason(found["reason"][1], names) if "reason" in found else None
        if verdict == "label" and "label" not in found:
            sheet.at(node, Message.LABEL_MISSING)
        if "target" in found and verdict is not None and verdict != "divert":
            sheet.at(found["target"][0], Message.TARGET_WITHOUT_DIVERT)
        if verdict is None or reason is None:
            return None
        block_s = self._block_caller(*found["block_caller"], verdict) if "block_caller" in found else 0.0
        return _Then(verdict, label or "", int(code or 0), target or "", reason, block_s)

    def _block_caller(self, key: Scalar, node: Node, verdict: str) -> float:
        """For how many seconds the caller's number is blocked."""
        if verdict != "block":
            self._sheet.at(key, Message.BLOCK_CALLER_WITHOUT_BLOCK)
        seconds = stream_form.duration(node.value) if isinstance(node, Scalar) else None
        if seconds is None:
            self._sheet.at(node, Message.NOT_A_DURATION, what=key.value)
            return 0.0
        if not LEAST_BLOCK_S <= seconds <= MOST_BLOCK_S:
            hint = "write such as 24h; an honest caller who is hit must get out again by waiting"
            limits = {"low": "1m", "high": "31d"}
            self._sheet.at(node, Message.OUT_OF_RANGE, hint=hint, what=key.value, **limits)
        return seconds

    def _reason(self, node: Node, names: Names) -> ReasonText | None:
        versions = form.local_text(self._sheet, node, "reason", 500, one=True)
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
                slot = names.slot(piece.name)
                shown = msgspec.structs.replace(piece, name=slot.name) if slot is not None else piece
                done.append(placeholders.setdefault(shown, len(placeholders)))
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
            if name not in names.params and not names.unread(name):
                known = [f"params.{known}" for known in names.params]
                advice = did_you_mean(piece.name, known, "declare it under the key params")
                excerpt.at(start, end, Message.PLACEHOLDER, name=piece.name, advice=advice)
            return
        field = names.fields.get(piece.name)
        if field is not None and not field.known_at(names.at):
            excerpt.at(start, end, late_message(field, names), **late(field, names.at))
        elif names.slot(piece.name) is None:
            known = [*names.callable_names(), *(f"params.{name}" for name in names.params)]
            if piece.name in names.params:
                advice = f"did you mean params.{piece.name}?"
            elif piece.name.startswith("lists."):
                advice = "a list is not shown; say in words what is on it"
            elif re.search(r"[-+*/()<>= ]", piece.name):
                advice = "only a name stands in the brackets, and nothing is calculated: such as {caller_calls_1h}"
            else:
                advice = did_you_mean(piece.name, known)
            excerpt.at(start, end, Message.PLACEHOLDER, name=piece.name or "{ }", advice=advice)

    def _rollout(self, node: Node, then: _Then | None) -> _Rollout | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "rollout", ROLLOUT_KEYS, ("stage",))
        word = form.choice(sheet, found["stage"][1], "stage", STAGES) if "stage" in found else None
        percent = form.number(sheet, found["percent"][1], "percent") if "percent" in found else None
        budget = self._budget(*found["false_hits_per_million"], then) if "false_hits_per_million" in found else None
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
        return _Rollout(stage, percent if percent is not None else 100.0, budget, by or "", review_by)

    def _budget(self, key: Scalar, node: Node, then: _Then | None) -> float | None:
        """How many honest calls in a million the rule may hit."""
        if then is not None and then.verdict == "protect":
            self._sheet.at(key, Message.BUDGET_OF_PROTECT)
            return None
        budget = form.number(self._sheet, node, key.value)
        if budget is not None and not 0 < budget <= MOST_FALSE_HITS:
            self._sheet.at(
                node,
                Message.OUT_OF_RANGE,
                hint="none at all cannot be shown by any measurement; write how many you would answer for, such as 20",
                what=key.value,
                low="0, excluded,",
                high="100000",
            )
        return budget

    def _tests(
        self, node: Node | None, names: Names, rollout: _Rollout | None, root: Node, then: _Then | None
    ) -> tuple[RuleTest, ...]:
        sheet = self._sheet
        live = rollout is not None and rollout.stage in LIVE
        if node is None:
            if live:
                hint = "add a case that expects hit and one that expects no_hit"
                sheet.at(root, Message.MISSING_KEY, hint=hint, what="this rule", name="tests")
            return ()
        tests: dict[str, RuleTest] = {}
        for item in form.items(sheet, node, "tests", 200):
            test = self._test(item, names, tests, then)
            if test is not None:
                tests[test.name] = test
        if live and not sheet.problems:
            for expect, wanted in (("hit", True), ("no_hit", False)):
                if not any(test.expect_hit == wanted for test in tests.values()):
                    sheet.at(node, Message.TESTS_ONE_SIDED, expect=expect)
        return tuple(tests.values())

    def _test(self, node: Node, names: Names, before: Mapping[str, RuleTest], then: _Then | None) -> RuleTest | None:
        sheet = self._sheet
        found = form.keys(sheet, node, "a test", TEST_KEYS, ("name", "expect"))
        if "name" not in found or "expect" not in found:
            return None
        name = form.text(sheet, found["name"][1], "name", 128, digits=True)
        # What a rule does to calls in progress may stand for a hit: expect: release.
        done = (then.verdict,) if then is not None and then.verdict in COMMANDS else ()
        expect = form.choice(sheet, found["expect"][1], "expect", (*EXPECT, *done))
        if name is None or expect is None:
            return None
        if name in before:
            sheet.at(found["name"][1], Message.TEST_NAME_TWICE, name=name)
        base = self._like(found["like"][1], before) if "like" in found else None
        given = dict(base.given) if base is not None else {}
        params = dict(base.params) if base is not None else {}
        stream = self._stream(node, found, names, base)
        if "given" in found and stream is not None:
            sheet.at(found["given"][0], Message.EVENTS_AND_GIVEN)
        elif "given" in found and not form.is_null(found["given"][1]):
            given.update(self._given(found["given"][1], names))
        if "params" in found:
            params.update(self._test_params(found["params"][1], names))
        where = Location(sheet.name, found["name"][0].line, found["name"][0].column)
        on = SETUP if names.at == SETUP else next(key for key, at in IN_PROGRESS.items() if at == names.at)
        return RuleTest(name, given, params, expect != "no_hit", where, stream, on)

    def _like(self, node: Node, before: Mapping[str, RuleTest]) -> RuleTest | None:
        """The test that another one takes over from."""
        like = form.text(self._sheet, node, "like", 128, digits=True)
        if like is not None and like not in before:
            advice = did_you_mean(like, before, "give the name of a test that stands before this one")
            self._sheet.at(node, Message.LIKE_UNKNOWN, name=like, advice=advice)
        return before.get(like or "")

    def _stream(
        self, node: Node, found: Mapping[str, tuple[Scalar, Node]], names: Names, base: RuleTest | None
    ) -> Stream | None:
        """The events of a test that has some, of its own or from the one that it is like."""
        sheet = self._sheet
        inherited = base.stream if base is not None else None
        if "events" not in found and inherited is None:
            for key in stream_form.KEYS:
                if key in found:
                    sheet.at(found[key][0], Message.EVENTS_MISSING, name=key)
            return None
        if base is not None and inherited is None:
            sheet.at(found["like"][1], Message.LIKE_OTHER_TEST, name=base.name)
        return stream_form.read_stream(sheet, found, node, names, inherited, TEST_TS)

    def _given(self, node: Node, names: Names) -> dict[str, Value | None]:
        return read_given(self._sheet, node, names)

    def _test_params(self, node: Node, names: Names) -> dict[str, Value]:
        params: dict[str, Value] = {}
        for name, (key, value_node) in (form.mapping(self._sheet, node, "params") or {}).items():
            if names.unread(name):
                continue
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


def own_windows(root: Node | None) -> Iterator[tuple[str, MapNode]]:
    """The windows that a rule file declares for itself: names, each with the mapping that declares it."""
    listed = root.entries.get("windows") if isinstance(root, MapNode) else None
    for item in listed[1].items if listed is not None and isinstance(listed[1], ListNode) else ():
        name = item.entries.get("name") if isinstance(item, MapNode) else None
        if isinstance(item, MapNode) and name is not None and isinstance(name[1], Scalar):
            yield name[1].value.strip(), item


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
            given[slot.name] = None
            continue
        value: Value | None
        if name == "ts":
            value = form.moment(sheet, value_node, name)
        else:
            field = names.fields.get(name)
            value = form.field_value(sheet, value_node, name, slot.type, field.values if field is not None else ())
            if isinstance(value, str) and field is not None and field.impossible(value):
                advice = field.impossible(value)
                sheet.at(value_node, Message.VALUE_IMPOSSIBLE, name=name, value=f'"{value}"', advice=advice)
        if isinstance(value, float) and not names.range_of(slot).has(value):
            advice = names.range_of(slot).advice(value)
            sheet.at(value_node, Message.VALUE_IMPOSSIBLE, name=name, value=f"{value:.15g}", advice=advice)
        if value is not None:
            given[slot.name] = value
    return given
