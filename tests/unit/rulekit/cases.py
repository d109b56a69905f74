"""One input for each message of the catalogue: what a person wrote that earns it.

Keys are message codes, with a variant behind a dot where one message gives several pieces of advice. A value is a
condition, or a whole directory of files.
"""

from __future__ import annotations

from .stream_cases import STREAMS
from .workbench import CALENDAR, OWN_WINDOW, in_progress_text, list_text, rule_text

Files = dict[str, str | bytes]

CONDITIONS: dict[str, str] = {
    "empty-condition": "# only a comment",
    "condition-too-long": " or ".join(['caller == "+77000000001"'] * 200),
    "condition-too-deep": "(" * 17 + "caller_short" + ")" * 17,
    "condition-too-much": "hour<0" + "-0" * 900 + " or caller_short",
    "condition-backslash": 'user_agent == "a\\d+"',
    "condition-syntax": "hour == not 3",
    "unknown-sign": 'caller_country == "KZ" && hour > 20',
    "assignment": 'caller_country = "KZ"',
    "open-quote": 'caller_country == "KZ\n  and hour > 3',
    "curly-quote": "caller_country == “KZ”",
    "bad-number": "caller_calls_1m > 10x",
    "leading-zero": "caller == 0800",
    "lookalike": 'сaller == "+77000000001"',
    "not-latin": 'страна == "KZ"',
    "word-case": "caller_short AND hour > 20",
    "python-word": "caller_age is None",
    "missing-operator": 'caller_short trunk_class == "national"',
    "missing-value-before": "caller_short and or hour > 3",
    "missing-value-end": "caller_short and",
    "bracket-open": "caller_short and (hour > 22 or hour < 6",
    "bracket-stray": "caller_short and hour > 22)",
    "stray-comma": "caller_short, hour > 22",
    "unknown-name": "caller_cals_1m > 3",
    "unknown-param": "hour > params.night",
    "unknown-list": "caller in lists.banks",
    "unknown-function": 'startswith(caller, "+7")',
    "bare-namespace": "caller_calls_1m > params",
    "no-attribute": 'caller.digits == "112"',
    "no-subscript": 'caller[0] == "+"',
    "known-later": "talk_s < 10",
    "argument-count": "between(hour, 22)",
    "wrong-type": "caller + 1 > 3",
    "cannot-compare": "caller == 77001234567",
    "text-order": 'caller > "+7700"',
    "bool-compare": "roaming == caller_short",
    "value-impossible": 'trunk_class == "internatonal"',
    "not-a-condition": "caller_calls_1m and caller_short",
    "condition-as-value": "(hour > 3) + 1 > 2",
    "constant-term": "caller_short or 1 < 2",
    "in-needs-list": "caller in callee",
    "list-element": 'caller_country in ["KZ", home_country]',
    "list-mixed": 'caller in ["112", 103]',
    "list-empty": "caller in []",
    "missing-needs-name": "missing(hour + 1)",
    "pattern-bad": r'matches(user_agent, "^sip(vicious|cli[0-9]")',
    "pattern-always": 'matches(user_agent, ".*")',
    "pattern-not-written": "matches(user_agent, caller)",
    "bad-time": 'time_between("22:00", "6:00")',
    "time-empty": 'night("22:00", "22:00")',
    "no-calendar": "not holiday()",
    "odd-space": "hour\u00a0> 3",
    "divides-by-zero": "caller_calls_1h / 0 > 1",
    "prefix-empty": 'prefix_in(caller, ["+7700", ""])',
    "lookalike.text": 'caller_country in ["RU", "КZ"]',
    "lookalike.number": 'prefix_in(caller, ["+77ОО"])',
    "lookalike.parameter": "hour > params.latе",
    "not-latin.russian": "caller_short и hour > 3",
    "not-latin.kazakh": "caller_short немесе hour > 3",
    "stray-comma.decimal": "caller_short_share_1h > 0,5",
    "unknown-function.method": 'caller.startsWith("+7700")',
    "unknown-function.near": "mising(caller_age)",
    "value-impossible.country": 'caller_country == "kz"',
    "value-impossible.region": 'region in ["KZ-75", "Almaty"]',
    "value-impossible.number": 'caller == "+7 700 123 45 67"',
    "value-impossible.beginning": 'prefix_in(callee, ["+7 700"])',
    "value-impossible.kind": 'kind == "release" and caller_short',
    "value-impossible.bare": 'caller == "87010000001"',
    "value-impossible.bare-in": 'callee in ["112", "77010000001"]',
    "value-impossible.bare-beginning": 'prefix_in(caller, ["77010"])',
    "value-impossible.share": "caller_short_share_1h > 80",
    "value-impossible.count": "0 > caller_calls_1m",
    "value-impossible.hour": "hour >= 24",
    "value-impossible.weekday": "weekday in [5, 6, 7]",
    "value-impossible.score": "score > 50",
    "value-impossible.between": "between(hour, 24, 30)",
    "value-always": "caller_short_share_1h < 20",
    "cannot-compare.number": 'hour == "3"',
    "unknown-name.parameter": "hour > calls",
    "unknown-name.function": "holiday and hour > 3",
    "bad-number.date": "ts > 2027-01-01",
    "unknown-sign.letter": "hour ≥ 3",
    "unknown-sign.nameless": "hour > 3 \U0001f600",
    "known-later.reported": 'label == "fraud"',
    "between-empty": "between(caller_calls_1h, 20, 10)",
    "between-empty.hour": "between(hour, 22, 6)",
    "unknown-function.lower": 'lower(user_agent) == "linphone"',
    "unknown-function.length": "len(caller) > 12",
    "unknown-function.window": "calls_1h(caller) > 5",
    "unknown-function.list": "lists.banks.contains(caller)",
    "cannot-compare.order": "caller_country > 5",
    "cannot-compare.country": "caller_country == 5",
    "cannot-compare.time": 'hour >= "22:00"',
    "cannot-compare.weekday": 'weekday == "Monday"',
    "cannot-compare.date": 'ts > "2027-01-01"',
    "missing-operator.like": 'caller like "+7700%"',
    "missing-operator.between": "hour between 9 and 17",
    "python-word.null": "caller_age is null",
    "in-needs-list.text": 'caller_country in "RU"',
    "list-element.bare": "caller_country in [RU, UZ]",
    "value-impossible.star": 'caller == "+7700*"',
    "unknown-name.yes": "roaming == yes",
    "unknown-name.verdict": 'verdict == "block"',
    "unknown-name.hyphen": 'caller-country == "KZ"',
    "no-attribute.field": 'caller.country == "KZ"',
    "no-subscript.parameter": 'hour > params["late"]',
    "not-a-condition.second": 'caller_country == "RU" or "UZ"',
    "missing-needs-name.quoted": 'missing("caller")',
    "assignment.named": "between(value=hour, low=1, high=3)",
    "bad-number.time": "hour >= 22:00",
    "bad-number.length": "caller_age < 7d",
    "bad-number.thousands": "caller_calls_1h > 1 000",
    "bad-number.comma": "caller_calls_1h > 1,000",
    "unknown-sign.pattern": 'user_agent =~ "sip"',
    "unknown-sign.range": "hour in 22..6",
    "unknown-sign.parameter": "hour > $late",
    "wrong-type.prefix": 'prefix_in(caller, "+7700")',
}

_TESTS = """\
tests:
  - name: a hit
    given: {caller: "+77000000001"}
    expect: hit
"""


def _one(text: str, name: str = "sample") -> Files:
    return {f"packs/demo/{name}.yaml": text}


def _list(text: str, name: str = "sample") -> Files:
    return {f"lists/{name}.yaml": text}


def _csv(content: str | bytes, kind: str = "numbers") -> Files:
    """A list whose entries stand in the CSV file beside it."""
    text = list_text("sample", "[]", kind=kind, head="entries_file: sample.csv\n")
    return {"lists/sample.yaml": text, "lists/sample.csv": content}


DIRECTORIES: dict[str, Files] = {
    "file-too-big": _one("# " + "x" * 70_000),
    "file-not-utf8": _one(b"rule: sample\ntitle: \xff\xfe\n"),
    "hidden-character": _one(rule_text(verdict="label", then='  label: "Care\\x1b[31mful"\n')),
    "odd-space.indent": _one(rule_text().replace("  verdict", "\u00a0\u00a0verdict")),
    "odd-space.key": _one(rule_text().replace("title: a", "title:\u00a0a")),
    "control-character.bidi": _one(rule_text('user_agent == "\u202ecba"')),
    "not-one-line": _one(rule_text().replace("title: a rule for a test", "title: |\n  a rule\n  for a test")),
    "target-bad": _one(rule_text(then='  target: "sip:desk@example.org\\r\\nX-Evil: 1"\n').replace("\\r\\n", " ")),
    "not-one-line.target": _one(rule_text(then='  target: "sip:desk@example.org\\r\\nX-Evil: 1"\n')),
    "exception-name-twice": _one(
        rule_text() + "unless:\n" + "  - {name: lab, owner: tests, until: 2027-01-01, when: trunk == 'lab'}\n" * 2
    ),
    "not-a-date.forever": _one(
        rule_text() + "unless:\n  - {name: lab, owner: tests, until: 9999-12-31, when: trunk == 'lab'}\n"
    ),
    "not-a-date.no-such-day": _one(rule_text(rollout="  review_by: 2027-02-30\n")),
    "not-a-date.no-such-month": _one(rule_text(rollout="  review_by: 2027-30-06\n")),
    "not-a-date.day-first": _one(rule_text(rollout="  review_by: 30.06.2027\n")),
    "not-a-date.offset": _one(
        rule_text() + "unless:\n  - {name: lab, owner: tests, until: 2027-06-30T18:00:00, when: trunk == 'lab'}\n"
    ),
    "not-a-number.percent": _one(rule_text(stage="canary", rollout="  percent: 5%\n") + _TESTS),
    "not-a-number.quoted": _one(rule_text(stage="canary", rollout='  percent: "5"\n') + _TESTS),
    "not-a-number.comma": _one(rule_text(rollout="  false_hits_per_million: 0,5\n")),
    "placeholder.parameter": _one(rule_text("hour > params.calls", params="params:\n  calls: 3\n", reason="{calls}")),
    "placeholder.near-parameter": _one(
        rule_text("hour > params.calls", params="params:\n  calls: 3\n", reason="{params.calles}")
    ),
    "placeholder.calculated": _one(rule_text(reason="{hour + 1}")),
    "not-text.condition": _one(
        rule_text().replace('when: |\n  caller == "+77000000001"', "when:\n  - caller_short\n  - hour > 3")
    ),
    "yaml-syntax.quoted-condition": _one(
        rule_text().replace('when: |\n  caller == "+77000000001"', 'when: "+77000000001" == caller')
    ),
    "yaml-syntax.begins-with-bracket": _one(rule_text().replace('"a reason"', "{caller} called")),
    "yaml-syntax.joined": _one(rule_text().replace("owner: tests", "owner:tests")),
    "not-one-of.reject": _one(rule_text(verdict="reject")),
    "not-one-of.live": _one(rule_text(stage="live")),
    "unknown-key.name": _one(rule_text().replace("rule:", "name:")),
    "unknown-key.enabled": _one(rule_text() + "enabled: true\n"),
    "target-bad.number": _one(rule_text(then='  target: "+77000000001"\n')),
    "not-a-bool.norway": _one(rule_text("caller_country in params.lands", params="params:\n  lands: [KZ, NO]\n")),
    "unquoted-number.parameter": _one(rule_text("caller == params.one", params="params:\n  one: +77000000001\n")),
    "cannot-compare.parameter": _one(rule_text("caller == params.one", params="params:\n  one: 87000000001\n")),
    "unknown-key.lookalike": _one(rule_text().replace("owner:", "оwner:")),
    "bad-name.lookalike": _one(rule_text(name="sаmple")),
    "not-one-of.lookalike": _one(rule_text(verdict="dіvert")),
    "unknown-name.lookalike": _one(rule_text() + 'tests: [{name: a, given: {сaller: "112"}, expect: hit}]\n'),
    "lookalike.given": _one(rule_text() + "tests: [{name: a, given: {caller_country: КZ}, expect: hit}]\n"),
    "lookalike.params": _one(rule_text("caller_country in params.lands", params="params:\n  lands: [RU, КZ]\n")),
    "value-impossible.parameter": _one(
        rule_text("caller_country in params.lands", params="params:\n  lands: [KZ, RUS]\n")
    ),
    "value-impossible.number-parameter": _one(
        rule_text("caller_short_share_1h >= params.share", params="params:\n  share: 80\n")
    ),
    "value-impossible.own-window": _one(
        rule_text("short > 50").replace(
            "when:",
            "windows: [{name: short, kind: share, by: caller, over: 7m, on: release, where: talk_s < 5}]\nwhen:",
            1,
        )
    ),
    "value-impossible.given-hour": _one(rule_text() + "tests: [{name: a, given: {hour: 26}, expect: hit}]\n"),
    "value-impossible.given-share": _one(
        rule_text() + "tests: [{name: a, given: {caller_short_share_1h: 90}, expect: hit}]\n"
    ),
    "value-impossible.given-spaces": _one(
        rule_text() + 'tests: [{name: a, given: {caller: "+7 700 000 00 01"}, expect: hit}]\n'
    ),
    "value-impossible.given-bare": _one(
        rule_text() + 'tests: [{name: a, given: {caller: "87010000001"}, expect: hit}]\n'
    ),
    "placeholder.lookalike": _one(rule_text(reason="{сaller} called")),
    "known-later.reason": _one(rule_text(reason="{caller} talked for {talk_s} s")),
    "yaml-syntax.quote": _one(rule_text().replace("title: a", 'title: "a')),
    "yaml-syntax.apostrophe": _one(rule_text().replace("title: a rule for a test", "title: 'a rule that's new'")),
    "yaml-syntax.bracket": _one(rule_text() + "tags: [kz, test\n"),
    "yaml-syntax.escape": _one(rule_text().replace("title: a rule for a test", 'title: "a \\quiet rule"')),
    "yaml-syntax.sign": _one(rule_text().replace("why: because", "why: @home")),
    "yaml-syntax.level": _one(rule_text().replace("  verdict", "   verdict")),
    "file-empty": _one("# nothing but a comment\n"),
    "file-suffix": {"packs/demo/sample.yml": rule_text()},
    "file-suffix.text": {"packs/demo/sample.yaml.txt": rule_text()},
    "file-suffix.capitals": {"lists/sample.YAML": list_text("sample", "[]")},
    "file-misplaced": {"packs/sample.yaml": rule_text()},
    "file-misplaced.text": {"packs/sample.yaml.txt": rule_text()},
    "file-below": {"packs/demo/spring/sample.yaml": rule_text(), "packs/demo/spring/more/sample.yml": rule_text()},
    "file-below.list": {"lists/banks/sample.yaml": list_text("sample", "[]")},
    "name-nearly": {"calender.yaml": CALENDAR.format(holidays="[]")},
    "name-nearly.suffix": {"windows.yml": "windows: {}\n"},
    "name-nearly.folder": {"Lists/sample.yaml": list_text("sample", "[]")},
    "control-character": _one(rule_text().replace("because", "be\u200bcause").replace("tests", "te\u0007sts")),
    "tab-indent": _one(rule_text().replace("  verdict", "\tverdict")),
    "yaml-syntax": _one(rule_text().replace("title: a rule", "title: a: rule")),
    "yaml-documents": _one(rule_text() + "---\n" + rule_text()),
    "yaml-alias": _one("rule: &name sample\ntitle: *name\n"),
    "yaml-tag": _one('rule: !!python/object/apply:os.system ["true"]\n'),
    "yaml-too-deep": _one("rule: " + "[" * 40 + "]" * 40 + "\n"),
    "yaml-too-much": _one("tags: [" + "x," * 9_000 + "]\n"),
    "duplicate-key": _one(rule_text() + "owner: somebody else\n"),
    "key-not-text": _one("[a, b]: c\n"),
    "unknown-key": _one(rule_text().replace("owner:", "ownr:")),
    "missing-key": _one(rule_text().replace("why: because\n", "")),
    "not-a-mapping": _one("- rule: sample\n"),
    "not-a-list": _one(rule_text() + "tags: kz\n"),
    "not-text": _one(rule_text().replace("owner: tests", "owner: [tests]")),
    "no-value": _one(rule_text().replace("owner: tests", "owner:")),
    "text-too-long": _one(rule_text().replace("title: a rule", "title: " + "a very long title " * 20)),
    "unquoted-number": _list(list_text("sample", "[+77001234567]")),
    "not-a-number": _one(rule_text(stage="canary", rollout="  percent: many\n") + _TESTS),
    "not-a-bool": _one(rule_text() + "tests: [{name: a, given: {roaming: yes}, expect: hit}]\n"),
    "not-a-date": _one(rule_text(rollout="  review_by: soon\n")),
    "not-one-of": _one(rule_text(verdict="blok")),
    "out-of-range": _one(rule_text(stage="canary", rollout="  percent: 100\n") + _TESTS),
    "too-many": _one(rule_text() + "tags: [" + "a, " * 40 + "]\n"),
    "unknown-language": _one(rule_text().replace("why: because", "why: {en: because, de: weil}")),
    "bad-name": _one(rule_text(params="params:\n  Max Calls: 3\n", when="hour > 3")),
    "list-kind-class": _list(list_text("sample", "[Linphone]", kind="user_agents", head="class: protect\n")),
    "list-protects-class": _list(list_text("sample", '["112"]', head="protects: both\n")),
    "entry-not-number": _list(list_text("sample", '["8 700 000 0001"]')),
    "entry-not-prefix": _list(list_text("sample", '["+7x"]', kind="prefixes")),
    "entry-bad-trunk": _list(list_text("sample", '["*-lab"]', kind="trunks")),
    "entry-short-agent": _list(list_text("sample", '["sip"]', kind="user_agents")),
    "entry-not-range": _list(list_text("sample", '["+77000000001-7"]', kind="ranges")),
    "entry-range-order": _csv("from,to\n+77000000009,+77000000001\n", "ranges"),
    "list-without-entries": _list(list_text("sample", "[]").replace("entries: []\n", "")),
    "list-removable-class": _list(list_text("sample", "[]", head="removable: true\n")),
    "entries-file-name": _list(list_text("sample", "[]", head="entries_file: ../../etc/passwd\n")),
    "entries-file-unused": {"lists/sample.yaml": list_text("sample", "[]"), "lists/other.csv": "value\n"},
    "csv-empty": _csv(""),
    "csv-header": _csv("until,note\n2027-06-30,a bank\n"),
    "csv-column": _csv("value,untill\n+77000000001,2027-06-30\n"),
    "csv-fields": _csv("value,note\n+77000000001,one, two\n"),
    "csv-quote": _csv('value,note\n+77000000001,"a bank\n+77000000002,\n'),
    "csv-cut": _csv("value\n+77001000\n+7"),
    "csv-line": _csv("value,note\n+77000000001," + "x" * 5_000 + "\n"),
    "csv-too-big": _csv("value\n" + "".join(f"trunk-{n}\n" for n in range(500_001)), "trunks"),
    "entry-twice": _list(list_text("sample", '\n  - "+77000000001"\n  - "+7 700 000 0001"')),
    "holiday-year": {"calendar.yaml": CALENDAR.format(holidays="\n  - {date: 2028-01-01, name: New Year}")},
    "name-not-stem": _one(rule_text(name="another")),
    "name-twice": {"packs/demo/sample.yaml": rule_text(), "packs/other/sample.yaml": rule_text()},
    "list-kind": {
        "packs/demo/sample.yaml": rule_text("trunk in lists.numbers"),
        "lists/numbers.yaml": list_text("numbers", '["112"]'),
    },
    "placeholder": _one(rule_text(reason="{caler} called")),
    "placeholder-form": _one(rule_text(reason="{hour:hours} called")),
    "brace": _one(rule_text(reason="{caller called")),
    "param-unused": _one(rule_text(params="params:\n  most: 3\n")),
    "param-type": _one(rule_text("hour > 3", params="params:\n  most: {a: 1}\n")),
    "window-twice": _one(rule_text("caller_age < 3", params="windows: [caller_age, caller_age]\n")),
    "window-taken": _one(rule_text("hour < 3", params=OWN_WINDOW.format(name="hour"))),
    "window-taken.shared": _one(rule_text("caller_age < 3", params=OWN_WINDOW.format(name="caller_age"))),
    "window-unused.own": _one(rule_text(params=OWN_WINDOW.format(name="calls_7m"))),
    "missing-key.window": _one(rule_text(params="windows:\n  - {kind: count, by: caller, over: 7m}\n")),
    "window-unused": _one(rule_text(params="windows: [caller_age]\n")),
    "window-unlisted": _one(rule_text("caller_age < 3 and callee_calls_1h > 1", params="windows: [caller_age]\n")),
    "window-unknown": _one(rule_text("caller_age < 3", params="windows: [caller_agee]\n")),
    "code-without-block": _one(rule_text(then="  code: 486\n")),
    "known-after-call": _one(in_progress_text("cause == 16")),
    "known-after-call.report": _one(in_progress_text('reporter == "subscriber"')),
    "only-in-progress": _one(rule_text("talk_so_far_s > 60")),
    "command-at-setup": _one(rule_text(then="  command: release\n")),
    "not-in-progress": _one(in_progress_text(then="verdict: block, command: release")),
    "missing-key.command": _one(in_progress_text(then="target: sip:desk@example.org")),
    "not-one-of.on": _one(in_progress_text(on="ring")),
    "block-caller-without-block": _one(rule_text(then="  block_caller: 24h\n")),
    "not-a-duration.block": _one(rule_text(verdict="block", then="  block_caller: a day\n")),
    "out-of-range.block": _one(rule_text(verdict="block", then="  block_caller: 400d\n")),
    "not-one-of.code": _one(rule_text(verdict="block", then="  code: 200\n")),
    "target-without-divert": _one(rule_text(verdict="block", then="  target: sip:desk@example.org\n")),
    "label-missing": _one(rule_text(verdict="label")),
    "percent-without-canary": _one(rule_text(rollout="  percent: 5\n")),
    "percent-missing": _one(rule_text(stage="canary") + _TESTS),
    "protect-staged": _one(rule_text(verdict="protect", stage="shadow") + _TESTS),
    "budget-of-protect": _one(rule_text(verdict="protect", rollout="  false_hits_per_million: 20\n")),
    "tests-one-sided": _one(rule_text(stage="enforce") + _TESTS),
    "test-name-twice": _one(rule_text() + _TESTS + _TESTS.removeprefix("tests:\n")),
    "like-unknown": _one(rule_text() + _TESTS + "  - {name: b, like: a hitt, expect: hit}\n"),
    **STREAMS,
}

# These come about in other ways; test_golden.py makes them.
ELSEWHERE = (
    "directory-missing",
    "field-order",
    "file-unreadable",
    "not-available",
    "not-known-at",
    "range-empty",
    "range-of-text",
)
