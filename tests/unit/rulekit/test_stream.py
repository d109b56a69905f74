"""Tests with events: what the file says, and the events that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifraud.domain import CallEvent, Problem
from antifraud.rulekit import RuleProblem, RuleSet, run_rule_tests, unproven_terms
from antifraud.rulekit.comparison import compare
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.fields import IN_PROGRESS, KNOWN_AT
from antifraud.rulekit.layout import layout_file
from antifraud.rulekit.lock import content_of
from antifraud.rulekit.rule_tests import no_replay
from antifraud.rulekit.sources import RuleSource
from antifraud.rulekit.stream import CARRIED, ENDS, GIVEN, MAX_EVENTS, REPORTED, TRUNK_CLASS, Played, Stream, play

from .stream_cases import CALL, events
from .workbench import load, problems, rule_text, vocabulary, write

START = 1_767_268_800.0


def stream_of(folder: Path, *entries: str, more: str = "", after: str = "") -> Stream:
    """The stream of the last test."""
    rules = load(write(folder, events(*entries, more=more, after=after)))
    stream = rules.rule("sample").tests[-1].stream
    assert stream is not None
    return stream


def played(folder: Path, *entries: str, more: str = "", after: str = "") -> Played:
    return play(stream_of(folder, *entries, more=more, after=after))


def told(event: CallEvent) -> tuple[str, float, str, str]:
    """Kind, seconds after the beginning, and the last digits of both parties."""
    return event.kind.value, round(event.ts - START, 3), event.caller_raw[-4:], event.callee_raw[-4:]


def test_a_call_is_set_up_answered_and_released(tmp_path: Path) -> None:
    found = played(
        tmp_path, '{at: 1m30s, caller: "+7 700 000-00-01", callee: "+77010000002", ring_s: 4.5, talk_s: 60, cause: 16}'
    )
    assert [told(event) for event in found.events] == [
        ("setup", 90.0, "0001", "0002"),
        ("answer", 94.5, "0001", "0002"),
        ("release", 154.5, "0001", "0002"),
    ]
    setup, answer, release = found.events
    assert (setup.ring_s, setup.talk_s, answer.talk_s) == (None, None, None)
    assert (release.ring_s, release.talk_s, release.cause) == (4.5, 60.0, 16)
    assert setup.caller_raw == "+77000000001"
    assert len({event.call_id for event in found.events}) == 1


@pytest.mark.parametrize(
    ("went", "kinds", "talk_s"),
    [
        ("", ["setup"], None),
        (", ring_s: 3", ["setup", "release"], 0.0),
        (", ring_s: 3, talk_s: 0", ["setup", "release"], 0.0),
        (", talk_s: 3", ["setup", "answer", "release"], 3.0),
        (", cause: 17", ["setup", "release"], 0.0),
        (", talk_s: null", ["setup"], None),
    ],
)
def test_what_is_said_of_how_a_call_went_ends_it(
    tmp_path: Path, went: str, kinds: list[str], talk_s: float | None
) -> None:
    found = played(tmp_path, f'{{at: 0s, callee: "+77010000001"{went}}}').events
    assert [event.kind.value for event in found] == kinds
    assert found[-1].talk_s == talk_s


def test_repetitions_are_counted_off(tmp_path: Path) -> None:
    found = played(tmp_path, '{at: 10s, repeat: 12, every: 1m, caller: "+770000000##", callee: "+7701##00000"}')
    assert [told(event) for event in found.events][::11] == [
        ("setup", 10.0, "0001", "0000"),
        ("setup", 670.0, "0012", "0000"),
    ]
    assert found.events[6].callee_raw == "+77010700000"
    assert len({event.call_id for event in found.events}) == 12


def test_a_sign_that_counts_is_an_ordinary_one_where_nothing_is_repeated(tmp_path: Path) -> None:
    (event,) = played(tmp_path, '{at: 0s, callee: "+77010000001", user_agent: "Phone #7"}').events
    assert event.user_agent == "Phone #7"


def test_events_of_several_entries_are_in_the_order_of_time(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        '{at: 0s, repeat: 3, every: 20s, callee: "+7701000000#"}',
        '{at: 20s, repeat: 2, every: 30s, callee: "+7702000000#"}',
    )
    assert [told(event)[1:] for event in found.events] == [
        (0.0, "", "0001"),
        (20.0, "", "0002"),
        (20.0, "", "0001"),
        (40.0, "", "0003"),
        (50.0, "", "0002"),
    ]
    assert found.judged == 4
    assert found.entry.at == 20.0


def test_single_events_belong_to_their_call(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        '{at: 0s, kind: setup, call: first, caller: "+77000000001", callee: "+77010000001", trunk: t1}',
        "{at: 5s, kind: answer, call: first}",
        '{at: 10s, caller: "+77000000002", callee: "+77010000001"}',
        "{at: 65s, kind: release, call: first, cause: 16}",
        "{at: 2h, kind: report, call: first, label: fraud, reporter: subscriber, weight: 1}",
        '{at: 3h, kind: report, caller: "+77000000003", label: fraud}',
        more="judge: first",
    )
    setup, answer, other, release, report, stranger = found.events
    assert {event.call_id for event in (setup, answer, release, report)} == {setup.call_id}
    assert len({setup.call_id, other.call_id, stranger.call_id}) == 3
    assert [told(event)[2:] for event in (answer, release, report)] == [("0001", "0001")] * 3
    assert (release.ring_s, release.talk_s, release.cause, release.trunk) == (5.0, 60.0, 16, "t1")
    assert (report.label, report.weight, report.trunk, stranger.label) == ("fraud", 1.0, "t1", "fraud")
    assert found.judged == 0


def test_an_unanswered_call_has_only_rung(tmp_path: Path) -> None:
    found = played(tmp_path, '{at: 0s, call: a, callee: "+77010000001"}', "{at: 7s, kind: release, call: a}").events
    assert (found[1].ring_s, found[1].talk_s) == (7.0, 0.0)


def test_the_last_repetition_of_a_named_call_is_judged(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        '{at: 0s, repeat: 3, every: 1m, call: burst, callee: "+7701000000#"}',
        '{at: 5m, callee: "+77020000001"}',
        more="judge: burst",
    )
    assert told(found.events[found.judged]) == ("setup", 120.0, "", "0003")


def test_each_holds_unless_an_event_says_otherwise(tmp_path: Path) -> None:
    first, second, report = played(
        tmp_path,
        '{at: 0s, callee: "+77010000001"}',
        '{at: 0s, caller_raw: anonymous, callee: "+77010000001", trunk: null}',
        "{at: 1s, kind: report, trunk: t2}",
        more='each: {caller: "+77000000001", trunk: t1, label: fraud}',
    ).events
    assert (first.caller_raw, first.trunk, first.label) == ("+77000000001", "t1", "")
    assert (second.caller_raw, second.trunk) == ("anonymous", "")
    assert (report.caller_raw, report.trunk, report.label) == ("+77000000001", "t2", "fraud")


def test_a_trunk_gets_its_class(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        '{at: 0s, callee: "+77010000001", trunk_class: national}',
        '{at: 0s, repeat: 2, every: 1s, callee: "+77010000001", trunk: "t#", trunk_class: international}',
    )
    assert [event.trunk for event in found.events] == ["national", "t1", "t2"]
    assert found.trunks == {"national": "national", "t1": "international", "t2": "international"}


LIKE = """\
  - name: second
    like: first
    each: {trunk: t2}
    expect: no_hit
  - name: third
    like: second
    events:
      - {at: 0s, callee: "+77010000009"}
    expect: no_hit
"""


def test_a_test_takes_over_what_it_does_not_say_itself(tmp_path: Path) -> None:
    more = 'starts: 2026-05-01T23:00:00+05:00\neach: {caller: "+77000000001", trunk: t1}'
    rules = load(write(tmp_path, events(CALL, more=more, after=LIKE)))
    first, second, third = (test.stream for test in rules.rule("sample").tests if test.stream is not None)
    assert [dict(stream.each)["trunk"] for stream in (first, second, third)] == ["t1", "t2", "t2"]
    assert second.entries == first.entries
    assert [event.callee_raw for event in play(third).events] == ["+77010000009"]
    assert play(third).events[0].caller_raw == "+77000000001"
    assert play(third).events[0].ts == 1_777_658_400.0


def test_what_another_test_makes_of_the_events_is_checked_too(tmp_path: Path) -> None:
    after = LIKE.replace("{trunk: t2}", "{callee: null, caller: null}").replace(
        '{at: 0s, callee: "+77010000009"}', "{at: 0s}"
    )
    write(tmp_path, events("{at: 0s, trunk: t1}", more='each: {callee: "+77010000001"}', after=after))
    codes = [(found.code, found.where and found.where.line) for found in problems_of(tmp_path)]
    # Of the second test, at the event that it took over; of the third, at its own.
    assert codes == [("event-refused", 17), ("event-refused", 26)]


def problems_of(folder: Path) -> list[RuleProblem]:
    found: list[Problem] = [*problems(folder)]
    return [problem for problem in found if isinstance(problem, RuleProblem)]


def test_every_mistake_is_found_in_one_go(tmp_path: Path) -> None:
    write(
        tmp_path,
        events(
            "{at: soon, callee: 112}",
            '{at: 0s, kind: rings, callee: "+77010000001"}',
            '{at: 0s, calee: "+77010000001", talk_s: long}',
            "[1, 2]",
            more="country: kz\nstarts: now\neach: {hour: 3}",
        ),
    )
    assert [problem.code for problem in problems_of(tmp_path)] == [
        "country-code",
        "not-a-date",
        "event-follows",
        "not-a-duration",
        "unquoted-number",
        "not-one-of",
        "unknown-key",
        "not-a-number",
        "not-a-mapping",
    ]


@pytest.mark.parametrize(
    ("length", "seconds"),
    [("0s", 0.0), ("1.5s", 1.5), ("90m", 5_400.0), ("1h30m", 5_400.0), ("1h 30m 5s", 5_405.0), ("2d", 172_800.0)],
)
def test_lengths_of_time(tmp_path: Path, length: str, seconds: float) -> None:
    assert stream_of(tmp_path, f'{{at: {length}, callee: "+77010000001"}}').entries[0].at == seconds


@pytest.mark.parametrize("length", ["5", "''", "1m1h", "-3s", "3 s x", "1.5m", "[3s]", "٣s", "1e3s", "99999999s"])
def test_what_is_no_length_of_time(tmp_path: Path, length: str) -> None:
    write(tmp_path, events(f'{{at: {length}, callee: "+77010000001"}}'))
    assert [problem.code for problem in problems_of(tmp_path)] == ["not-a-duration"]


def test_as_many_events_as_are_allowed(tmp_path: Path) -> None:
    entry = f'{{at: 0s, repeat: {MAX_EVENTS}, every: 1s, callee: "+7701000####"}}'
    assert len(played(tmp_path, entry).events) == MAX_EVENTS
    write(tmp_path, events(entry, CALL.replace("0s", "1h")))
    assert [problem.code for problem in problems_of(tmp_path)] == ["events-too-many"]


def test_a_whole_file_of_events_is_bounded(tmp_path: Path) -> None:
    write(tmp_path, events(*[CALL] * 201))
    assert [problem.code for problem in problems_of(tmp_path)] == ["too-many"]


def test_what_an_entry_can_say_is_what_the_fields_are_known_at() -> None:
    fields, _windows, _order = vocabulary()
    for kind, carried in CARRIED.items():
        for name in carried:
            assert fields[name].known_at("release" if kind == "call" else kind), (kind, name)
    assert {*ENDS, *REPORTED, TRUNK_CLASS} < set(GIVEN)
    assert {field.name for field in fields.values() if field.since == "release"} == set(ENDS)
    assert {field.name for field in fields.values() if field.since == "report"} == set(REPORTED)
    assert set(KNOWN_AT["report"]) == {"report", IN_PROGRESS["report"]}


# What uses tests


def both(folder: Path, one: dict[str, str | bytes], other: dict[str, str | bytes]) -> tuple[RuleSet, RuleSet]:
    return load(write(folder / "one", one)), load(write(folder / "other", other))


def test_a_changed_stream_is_a_patch_and_never_a_change_of_what_is_decided(tmp_path: Path) -> None:
    one, other = both(tmp_path, events(CALL), events(CALL.replace("0s", "5s")))
    (item,) = compare(one, other, now=START, windows=({}, {})).rules
    assert [(change.what, change.level) for change in item.changes] == [("tests", "patch")]
    contents = [
        content_of(rules.rule("sample"), RuleSource.parse("sample", Path(rules.rule("sample").where.file).read_text()))
        for rules in (one, other)
    ]
    assert contents[0] == contents[1]


def test_an_event_that_moves_to_another_line_is_no_change(tmp_path: Path) -> None:
    one, other = both(tmp_path, events(CALL), events("\n        " + CALL))
    assert compare(one, other, now=START, windows=({}, {})).level is None


def test_a_test_with_events_is_not_passed_over_without_a_replay(tmp_path: Path) -> None:
    rules = load(write(tmp_path, events(CALL)))
    with pytest.raises(ValueError, match="nothing to replay them with"):
        run_rule_tests(rules, rules.rule("sample"))
    with pytest.raises(ValueError, match="nothing to replay them with"):
        no_replay(rules.rule("sample").tests[0])


def test_the_replayed_call_counts_as_given_fields_do(tmp_path: Path) -> None:
    """The replay is asked, what it gives is judged, and it proves terms."""
    when = "caller_calls_1m > 3\nand callee_calls_1h > 5"
    after = f"  - name: second\n    events: [{CALL}]\n    expect: no_hit\n"
    files = {"packs/demo/sample.yaml": str(events(CALL, after=after)["packs/demo/sample.yaml"])}
    files["packs/demo/sample.yaml"] = rule_text(when) + files["packs/demo/sample.yaml"].removeprefix(rule_text())
    rules = load(write(tmp_path, files))
    seen = {"first": {"caller_calls_1m": 4.0, "callee_calls_1h": 6.0}, "second": {"caller_calls_1m": 4.0}}
    results = run_rule_tests(rules, rules.rule("sample"), lambda test: (seen[test.name],))
    assert [(result.hit, result.passed) for result in results] == [(True, True), (False, True)]
    assert dict(results[1].explanation.terms[0].values) == {"caller_calls_1m": 4.0}
    (term,) = unproven_terms(rules, rules.rule("sample"), lambda test: (seen[test.name],))
    assert term.term == "caller_calls_1m > 3"


UNTIDY = """\
tests:
- expect: no_hit
  events:
  - callee: '+770100000##'
    every: 20s
    repeat: 14   # a burst
    at: 0s
    imei: ~
  # and then
  - {callee: "+77010000001", at: 5m}
  each:
    caller: '+77000000001'
  starts: '2026-05-01T23:00:00+05:00'
  name: a
"""


def test_fmt_lays_them_out(tmp_path: Path) -> None:
    text = rule_text() + UNTIDY
    load(write(tmp_path, {"packs/demo/sample.yaml": text}))
    done = layout_file(Sheet("sample", text))
    assert done is not None
    assert done.endswith("""\
tests:
  - name: a
    starts: "2026-05-01T23:00:00+05:00"
    each: {caller: "+77000000001"}
    events:
      - at: 0s
        repeat: 14  # a burst
        every: 20s
        callee: "+770100000##"
        imei: null
      # and then
      - {at: 5m, callee: "+77010000001"}
    expect: no_hit
""")
    assert layout_file(Sheet("sample", done)) == done
