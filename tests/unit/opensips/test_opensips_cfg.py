"""The OpenSIPS file keeps the contract as far as that can be seen without the server, which it has not met yet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import NUMERIC_FIELDS, TEXT_FIELDS, CallEvent, check_event
from antifraud.domain.sip_headers import MAX_BYTES, MAX_LINES, ONWARD_HEADERS, RESPONSE_HEADERS
from antifraud.numbering import load_dial_plan
from antifraud.queues.protocol import Reply, decode_event
from sip_adapters.asking import EmergencyNumbers
from sip_adapters.asking.emergency import NUMBERS
from sip_adapters.sip.causes import cause_of

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "sip_adapters/switches/opensips"
TEXT = (FOLDER / "antifraud.cfg").read_text(encoding="utf-8")
ASYNC = (FOLDER / "antifraud_async.cfg").read_text(encoding="utf-8")
DESK = (FOLDER / "antifraud_desk.cfg").read_text(encoding="utf-8")
ALL = TEXT + ASYNC + DESK
KAMAILIO = (ROOT / "sip_adapters/switches/kamailio/antifraud.cfg").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/how-to/opensips.md").read_text(encoding="utf-8")
FIELDS = {*TEXT_FIELDS, *NUMERIC_FIELDS, "kind", "roaming"}

#: Variables that a caller decides about.
WRITTEN_BY_CALLERS = (
    r"\$\(?(?:r[uUdpPb]|o[uUd]|f[uUdnt]|t[uUdnt]|ci|c[tTsl]|ua|ai|di[pr]?|re|rt|p[uUdn]|si|sp|mb|hdr)\b"
)
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
#: Where they may stand: copied into a $var, looked at in a condition; and the call is sent to the desk.
PLACES = (
    r"^\t+\$var\(af_(?:number|plain|callee|text)\) = ",
    r"^\t+(?:if \(|\|\| )",
    r"^\t+\$ru = \$(?:var\(af_target\)|avp\(antifraud_to\));$",
    r"^\t+\$avp\(antifraud_to\) := \$ru;$",
)
#: From which routes a function may be used, as the documentation of the modules tm, sipmsgops and dialog says it.
ALLOWED = {
    "t_relay": "request failure",
    "t_reply": "request failure",
    "t_newtran": "request",
    "t_check_status": "request onreply failure branch",
    "t_local_replied": "request branch failure onreply",
    "t_was_cancelled": "onreply failure",
    "t_on_failure": "request branch onreply failure",
    "t_on_branch": "request branch onreply failure",
    "append_hf": "request onreply failure branch",
    "remove_hf": "request onreply failure branch",
    "remove_hf_re": "request onreply failure branch",
    "is_present_hf": "request onreply failure branch",
    "append_to_reply": "request failure branch",
    "create_dialog": "request",
    "dlg_on_answer": "request",
    "dlg_on_hangup": "request",
}
#: Functions of the core and of cfgutils, and words that only look like one: anywhere.
EVERYWHERE = {
    "async", "cache_add", "cache_counter_fetch", "cache_fetch", "cache_raw_query", "cache_remove", "cache_sub",
    "get_timestamp", "if", "resetdsturi", "return", "route", "usleep", "while", "xlog",
}  # fmt: skip


#: What an event is put together from: all of them text that the file made itself or has encoded.
OURS = {
    "af_form", "af_field", "af_coded", "af_switch", "af_ts", "af_deadline", "af_reply", "af_ring", "af_cause",
    "af_seconds", "antifraud_who", "antifraud_now_s", "antifraud_now_us", "antifraud_answer_s", "antifraud_answer_us",
}  # fmt: skip


def statements() -> list[str]:
    """The lines without comments."""
    lines = [re.sub(r"(?<=;)\s+#.*", "", line) for line in ALL.splitlines()]
    return [line for line in lines if line.strip() and not line.strip().startswith("#")]


def body(route: str) -> str:
    found = (
        re.sub(r"\n(?:failure|branch)_route\[", "\nroute[", ALL)
        .partition(f"\nroute[{route}] {{\n")[2]
        .partition("\n}\n")[0]
    )
    assert found, route
    return "\n".join(line for line in found.splitlines() if not line.strip().startswith("#"))


def pattern_in(route: str, start: str) -> str:
    found = re.search(rf'{re.escape(start)} =~ "([^"]+)"', body(route))
    assert found is not None
    return found[1]


def emergency() -> re.Pattern[str]:
    return re.compile(pattern_in("ANTIFRAUD_BEGIN", "if ($var(af_dialled)"))


def test_the_emergency_numbers_are_those_of_kamailio() -> None:
    found = re.search(r'#!define ANTIFRAUD_EMERGENCY "([^"]+)"', KAMAILIO)
    assert found is not None
    assert emergency().pattern == found[1]


def test_the_emergency_numbers_are_those_of_the_dial_plan() -> None:
    plan, adapters = load_dial_plan(ROOT / "config/dialplans/kz.yaml"), EmergencyNumbers()
    codes = [number for entry in plan.emergency for number in (entry.code, *entry.also)]
    assert set(codes) == set(NUMBERS)
    for code in codes:
        assert emergency().search(code), code
    samples = [f"{head}{code}" for head in ("7", "8", "8727", "7727", "1", "+7", "8107", "00", "9") for code in codes]
    passed = [number for number in samples if emergency().search(number)]
    assert len(passed) > len(codes)
    assert all(number in adapters for number in passed), passed
    assert not emergency().search("+77010000112")


def test_emergency_comes_before_headers_counters_list_and_redis() -> None:
    begin = body("ANTIFRAUD_BEGIN")
    places = [begin.index(what) for what in ("10[1-4]|112|911", "remove_hf_re(", '"calls", 1', "ANTIFRAUD_LISTED")]
    assert places == sorted(places)
    before = begin[: places[0]]
    assert "cache_raw_query" not in before
    assert "append_hf" not in before
    assert "cache_raw_query" not in begin
    for entry in ("ANTIFRAUD", "ANTIFRAUD_ASYNC"):
        text = body(entry)
        assert text.index("route(ANTIFRAUD_BEGIN)") < text.index("route(ANTIFRAUD_APPEND)")


def test_the_fields_are_those_of_the_protocol() -> None:
    coded = set(re.findall(r'route\(ANTIFRAUD_FIELD, "(\w+)"\)', TEXT))
    made = [line for line in statements() if "$var(af_form) =" in line or line.strip().startswith("+ ")]
    plain = {name for line in made for name in re.findall(r'["&](\w+)=(?=["\w])', line)}
    assert {"call_id", "callee_raw", "caller_raw", "asserted", "src_ip", "user_agent", "identity"} <= coded
    assert {"kind", "ts", "source", "switch", "deadline_ms", "reply", "roaming", "ring_s", "talk_s", "cause"} <= plain
    assert coded | plain <= FIELDS, (coded | plain) - FIELDS


def test_what_callers_write_is_only_copied_or_looked_at() -> None:
    for line in statements():
        if not re.search(WRITTEN_BY_CALLERS, line):
            continue
        assert any(re.match(place, line) for place in PLACES), line
        assert not any(re.search(WRITTEN_BY_CALLERS, text) for text in LITERAL.findall(line)), line
        assert not re.search(r"cache_|xlog|append_|route\(", line), line


def test_a_command_holds_only_what_the_file_made_itself() -> None:
    commands = [line for line in statements() if "cache_raw_query(" in line]
    assert len(commands) == 2
    used = set(
        re.findall(r"\$\w+\(\w+\)", "".join(re.findall(r'cache_raw_query\("[^"]*", "([^"]*)"', "\n".join(commands))))
    )
    assert used == {"$var(af_calls)", "$var(af_maxlen)", "$var(af_form)", "$avp(antifraud_key)"}
    for line in statements():
        if line.strip().startswith("$var(af_form) ="):
            assert set(re.findall(r"\$\(?(?:var|avp|dlg_val)\((\w+)\)", line)) <= OURS, line
            assert not re.search(WRITTEN_BY_CALLERS, line), line


def test_the_last_look_finds_what_would_split_or_quote() -> None:
    xadd = body("ANTIFRAUD_XADD")
    assert xadd.index("[[:cntrl:]") < xadd.index("cache_raw_query")
    tests = [one.replace("[:cntrl:]", r"\x00-\x1f\x7f").replace("[:space:]", r"\s") for one in
             re.findall(r'\$var\(af_form\) =~ "([^"]+)"', xadd)]  # fmt: skip
    assert len(tests) == 2
    for evil in (" ", "\t", "\n", "\r", "'", '"', "\\", "$", "(", ";", "+", "*", "\x7f", "é"):
        assert any(re.search(test, f"kind=setup{evil}&ts=1") for test in tests), evil
    assert not any(
        re.search(test, "kind=setup&ts=1.5&caller_raw=%2b7&reply=af:{kz}:reply:sw-1:2:3.4") for test in tests
    )


def encode(plain: bytes) -> str:
    """What route[ANTIFRAUD_ENCODE] makes of the bytes, by the expressions that stand in the file."""
    text = body("ANTIFRAUD_ENCODE")
    assert "{s.encode.hexa}" in text
    change = re.search(r"\{re\.subst,/([^/]+)/([^/]+)/g\}", text)
    assert change is not None
    return re.sub(change[1], change[2], plain.hex())


@given(st.text(min_size=1, max_size=80).filter(str.isprintable))
def test_the_engine_reads_what_was_encoded(value: str) -> None:
    packed = f"kind=setup&ts=1796069373.5&call_id=%61&callee_raw=%31&user_agent={encode(value.encode())}"
    assert re.fullmatch(r"[A-Za-z0-9%&=._]+", packed)
    event = decode_event({b"q": packed.encode()})
    assert isinstance(event, CallEvent)
    assert event.user_agent == value


@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_get_out_of_their_field(value: bytes) -> None:
    packed = f"kind=setup&ts=1796069373.5&call_id=%61&callee_raw=%31&privacy={encode(value)}"
    event = decode_event({b"q": packed.encode()})
    assert (event.call_id, event.callee_raw, event.user_agent, event.reply) == ("a", "1", "", "")


def test_what_was_cut_is_accepted_by_the_engine() -> None:
    append = body("ANTIFRAUD_APPEND")
    cuts = re.findall(r"\{s\.substr,0,(\d+)\}\);\n\t+route\(ANTIFRAUD_FIELD, \"(\w+)\"\)", append)
    assert {name for _, name in cuts} >= {"callee_raw", "caller_raw", "asserted", "trunk", "user_agent", "privacy"}
    for length, name in cuts:
        packed = {"kind": "setup", "ts": "1796069373.5", "call_id": "a", "callee_raw": "1", name: "1" * int(length)}
        check_event(decode_event({b"q": "&".join(f"{key}={value}" for key, value in packed.items()).encode()}))


@pytest.mark.parametrize(
    ("route", "names"), [("ANTIFRAUD_REPLY_LINES", RESPONSE_HEADERS), ("ANTIFRAUD_ONWARD_LINES", ONWARD_HEADERS)]
)
def test_the_headers_are_those_of_the_allow_list(route: str, names: tuple[str, ...]) -> None:
    found = re.search(r'=~ "\^\(([A-Za-z|-]+)\|\[Xx\]', body(route))
    assert found is not None
    assert tuple(found[1].split("|")) == names
    assert f"while ($var(af_at) < {MAX_LINES})" in body(route)
    assert '!($avp(antifraud_line) =~ "^X-Antifraud-")' in body(route)
    assert f"{{s.len}}) > {MAX_BYTES})" in body("ANTIFRAUD_LINES")


def test_every_verdict_and_only_fields_of_a_reply() -> None:
    obey = body("ANTIFRAUD_OBEY")
    assert set(re.findall(r'\$var\(af_verdict\) == "(\w+)"', obey)) == {
        "allow",
        "label",
        "divert",
        "challenge",
        "block",
    }
    fields = {*Reply.__struct_encode_fields__}
    assert set(re.findall(r"\$\(?json\(af/(\w+)\)", TEXT)) <= fields


def test_the_causes_are_those_of_the_adapters() -> None:
    text = body("ANTIFRAUD_UNANSWERED").replace("\n\t\t\t||", " ||")
    rows = re.findall(r'if \(((?:\$var\(af_code\) == \d+(?: \|\| )?)+)\) \$var\(af_cause\) = "(\d+)"', text)
    named = {int(code): int(cause) for codes, cause in rows for code in re.findall(r"== (\d+)", codes)}
    assert len(named) > 20
    for code in range(400, 700):
        assert named.get(code, 17 if code >= 600 else 41) == cause_of(code), code


def test_every_route_is_there_and_used() -> None:
    there = set(re.findall(r"^(?:failure_|branch_)?route\[(\w+)\] \{$", ALL, re.MULTILINE))
    code = "\n".join(statements())
    used = set(re.findall(r"\broute\((\w+)", code)) | set(re.findall(r"\basync\(usleep\(\$avp\(\w+\)\), (\w+)\)", code))
    used |= set(re.findall(r'(?:dlg_on_\w+|t_on_failure|t_on_branch)\("(\w+)"\)', code))
    assert used - there == {"ANTIFRAUD_GO_ON"}
    assert there - used == {"ANTIFRAUD", "ANTIFRAUD_ASYNC", "ANTIFRAUD_DESK"}
    assert "GO_ON" not in TEXT


def code_of(route: str) -> str:
    """The body without comments and texts."""
    return re.sub(r"(?<=;)\s+#.*", "", re.sub(r'"(?:[^"\\]|\\.)*"', '""', body(route)))


def reached(kind: str) -> set[str]:
    """The routes that are run for a request, or out of a failure or branch route, with all that they call."""
    if kind == "request":
        found = {"ANTIFRAUD", "ANTIFRAUD_ASYNC", "ANTIFRAUD_RESUMED", "ANTIFRAUD_DESK"}
    else:
        found = set(re.findall(rf"^{kind}_route\[(\w+)\]", ALL, re.MULTILINE))
    waiting = list(found)
    while waiting:
        called = set(re.findall(r"\broute\((\w+)", code_of(waiting.pop()))) - found - {"ANTIFRAUD_GO_ON"}
        found |= called
        waiting += called
    return found


@pytest.mark.parametrize("kind", ["request", "failure", "branch"])
def test_functions_are_used_where_they_may_be(kind: str) -> None:
    routes = reached(kind)
    assert routes
    for route in routes:
        for name in re.findall(r"(?<![$\w{.(/])([a-z]\w+)\(", code_of(route)):
            if name not in EVERYWHERE:
                assert kind in ALLOWED.get(name, "").split(), f"{name} in {route}"


def test_the_desk_alone_is_told_what_is_for_the_desk() -> None:
    for header in ("Diversion: <", "X-Antifraud-Decision: ", "X-Antifraud-Diverted: $"):
        assert ALL.count(f'append_hf("{header}') == 1
        assert f'append_hf("{header}' in body("ANTIFRAUD_DESK_LINES")
    assert "ANTIFRAUD_DESK_LINES" in reached("branch")
    assert "ANTIFRAUD_DESK_LINES" not in reached("request") | reached("failure")
    assert body("ANTIFRAUD_DESK_LINES").startswith('\tif ($avp(antifraud_verdict) != "divert") return(1);')
    assert 't_on_branch("ANTIFRAUD_TO_DESK")' in body("ANTIFRAUD_DIVERT")


def test_the_way_back_from_a_desk_is_that_of_kamailio() -> None:
    failed, gone = body("ANTIFRAUD_DESK_FAILED"), body("ANTIFRAUD_DESK_GONE")
    mine, theirs = (re.search(r't_check_status\("([^"]*5[^"]*)"\)', text) for text in (failed, KAMAILIO))
    assert mine is not None
    assert theirs is not None
    for status in range(300, 700):
        ours = re.search(mine[1], str(status)) is not None
        # 476 and 477 are what tm of OpenSIPS itself answers for a place that it cannot send to.
        assert ours == (re.search(theirs[1], str(status)) is not None or status in (476, 477)), status
    assert "!t_was_cancelled()" in failed
    assert failed.index("ANTIFRAUD_DESK_GONE") < failed.index("ANTIFRAUD_GO_ON") < failed.index("exit;")
    for step in ('$avp(antifraud_verdict) := "label";', "$ru = $avp(antifraud_to);", "resetdsturi();",
                 "$T_fr_timeout = NULL;", 't_on_failure("ANTIFRAUD_FAILED");'):  # fmt: skip
        assert step in gone, step
    # A label or a decision that nobody set would be the number 0 in a header.
    divert = body("ANTIFRAUD_DIVERT")
    for name in ("antifraud_to", "antifraud_label"):
        assert divert.index(f"$avp({name}) :=") < divert.index("t_on_branch")


def test_brackets_are_closed_and_no_line_of_kamailio_is_left() -> None:
    code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', "\n".join(statements()))
    code = re.sub(r"#.*", "", code)
    for opening, closing in ("{}", "()"):
        assert code.count(opening) == code.count(closing)
    for foreign in (
        "#!define",
        "#!ifdef",
        "$sht",
        "$shtinc",
        "$TV(",
        "$redis",
        "redis_cmd",
        "json_get_string",
        "remove_hf_pv",
        "urlencode",
    ):
        assert foreign not in "\n".join(statements()), foreign


def test_file_and_page_say_that_it_has_not_run() -> None:
    assert "NOT RUN" in TEXT[:900]
    assert "NOT RUN" in DESK[:200]
    assert "not been run against the real server" in re.sub(r"\s+#?\s*", " ", TEXT[:900])
    head = PAGE.partition("\n## ")[0]
    assert "has not been run against the real server" in re.sub(r"\s+", " ", head)
    for call in ("Allow", "Label", "Divert", "Block", "Deadline", "Emergency", "Hostile From"):
        assert f"**{call}" in PAGE, call
    assert "No agent for OpenSIPS is shipped" in PAGE


def test_the_page_names_the_settings_with_their_defaults() -> None:
    settings = dict(re.findall(r"^\t\$var\((af_\w+)\) = (\S+);", body("ANTIFRAUD_SETTINGS"), re.MULTILINE))
    assert len(settings) == 12
    for name, value in settings.items():
        assert f"| `{name}` | `{value}` |" in PAGE, name
