"""One input for each message about tests with events; the keys are as in ``cases.py``."""

from __future__ import annotations

from .workbench import rule_text

CALL = '{at: 0s, callee: "+77010000001"}'


def events(*entries: str, more: str = "", after: str = "") -> dict[str, str | bytes]:
    """A rule with one test that has these entries; ``more`` are other lines of it, ``after`` are other tests."""
    lines = "".join(f"      - {entry}\n" for entry in entries)
    keys = "".join(f"    {line}\n" for line in more.splitlines())
    test = f"tests:\n  - name: first\n{keys}    events:\n{lines}    expect: hit\n"
    return {"packs/demo/sample.yaml": rule_text() + test + after}


GIVEN = """\
tests:
  - name: a hit
    given: {caller: "+77000000001"}
    expect: hit
"""

STREAMS: dict[str, dict[str, str | bytes]] = {
    "events-and-given": events(CALL, more="given: {caller_calls_1m: 3}"),
    "like-other-test": {
        "packs/demo/sample.yaml": rule_text()
        + GIVEN
        + f"  - name: b\n    like: a hit\n    events: [{CALL}]\n    expect: hit\n"
    },
    "events-missing": {
        "packs/demo/sample.yaml": rule_text() + GIVEN + '  - {name: b, each: {caller: "+77000000001"}, expect: hit}\n'
    },
    "country-code": events(CALL, more="country: Kazakhstan"),
    "country-code.norway": events(CALL, more="country: NO"),
    "not-a-duration": events('{at: 3 minutes, callee: "112"}'),
    "missing-key.at": events('{callee: "+77010000001"}'),
    "missing-key.every": events('{at: 0s, repeat: 3, callee: "+77010000001"}'),
    "missing-key.call": events(CALL, "{at: 5s, kind: answer}"),
    "not-a-mapping.event": events("0s"),
    "not-one-of.event": events('{at: 0s, kind: ring, callee: "+77010000001"}'),
    "out-of-range.repeat": events('{at: 0s, repeat: 2.5, every: 1s, callee: "+77010000001"}'),
    "unknown-key.event": events('{at: 0s, callee: "+77010000001", talk: 5}'),
    "unknown-key.each": events(CALL, more="each: {at: 0s}"),
    "not-known-at.event": events('{at: 0s, kind: setup, callee: "+77010000001", talk_s: 5}'),
    "unquoted-number.event": events("{at: 0s, callee: +77010000001}"),
    "event-backwards": events('{at: 2m, callee: "+77010000001"}', '{at: 90s, callee: "+77010000001"}'),
    "event-follows": events('{at: 0s, callee: "+77010000001", caller_country: KZ}'),
    "event-follows.window": events('{at: 0s, callee: "+77010000001", caller_calls_1m: 12}'),
    "event-follows.time": events('{at: 0s, callee: "+77010000001", hour: 3}'),
    "event-number": events('{at: 0s, caller: "+7 701 OOO 00 01", callee: "+77010000001"}'),
    "event-refused": events('{at: 0s, caller: "+77000000001"}'),
    "event-refused.cause": events('{at: 0s, callee: "+77010000001", cause: 486}'),
    "events-too-many": events('{at: 0s, repeat: 1_500, every: 1s, callee: "+77010000001", talk_s: 3}'),
    "events-too-long": events('{at: 0s, repeat: 40, every: 1d, callee: "+77010000001"}'),
    "party-twice": events('{at: 0s, caller: "+77000000001", caller_raw: anonymous, callee: "+77010000001"}'),
    "mask-alone": events('{at: 0s, callee: "+770100000##"}'),
    "mask-too-short": events('{at: 0s, repeat: 12, every: 10s, callee: "+7701000000#"}'),
    "trunk-classes": events(
        '{at: 0s, callee: "+77010000001", trunk: t1, trunk_class: international}',
        '{at: 0s, callee: "+77010000001", trunk: t1, trunk_class: national}',
    ),
    "call-twice": events('{at: 0s, call: a, callee: "+77010000001"}', '{at: 1s, call: a, callee: "+77010000001"}'),
    "call-unknown": events('{at: 0s, call: first, callee: "+77010000001"}', "{at: 5s, kind: answer, call: frist}"),
    "call-repeated": events(
        '{at: 0s, repeat: 3, every: 1s, call: a, callee: "+77010000001"}', "{at: 5s, kind: answer, call: a}"
    ),
    "call-ended": events('{at: 0s, call: a, callee: "+77010000001", ring_s: 3}', "{at: 5s, kind: release, call: a}"),
    "released-early": events(
        '{at: 0s, call: a, callee: "+77010000001"}',
        "{at: 5s, kind: answer, call: a, repeat: 3, every: 10s}",
        "{at: 20s, kind: release, call: a}",
    ),
    "judge-unknown": events('{at: 0s, call: first, callee: "+77010000001"}', more="judge: firts"),
    "nothing-to-judge": events('{at: 0s, kind: report, caller: "+77000000001", label: fraud}'),
}
