"""Whatever callers and rules put into a decision, a header line stays one line and a quoted string ends where it seems
to end; whatever a reply brings, only allowed lines are used."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.dialects import PLACES, SAYINGS, Choice, Speaker, compile_table, compile_template
from antifraud.domain import Decision, Reason
from antifraud.domain.sip_headers import MAX_BYTES, MAX_LINES, is_allowed, join_lines, split_lines
from antifraud.settings import load_settings
from tests.unit.dialects.test_dialects_against_rfcs import REDRESS

TABLE = load_settings(env={}).dialects
ANYTHING = st.text(max_size=300)


@given(
    dialect=st.sampled_from(sorted(TABLE)),
    saying=st.sampled_from(SAYINGS),
    text=ANYTHING,
    label=ANYTHING,
    caller=ANYTHING,
    callee=ANYTHING,
    target=ANYTHING,
    id_=ANYTHING,
)
def test_lines_stay_lines(
    dialect: str, saying: str, text: str, label: str, caller: str, callee: str, target: str, id_: str
) -> None:
    if saying not in TABLE[dialect].forms:
        return
    decision = Decision(
        id=id_, call_id="c", ts=1.0, shard="kz", region="R", verdict=saying, full_verdict=saying, ceiling="block",
        caller=caller, callee=callee, target=target, label=label, reasons=(Reason("rule:r", saying, text),),
    )  # fmt: skip
    voice = Speaker(TABLE, {"R": msgspec.structs.replace(Choice(), **{saying: dialect})}, {}, {}, {"R": REDRESS}, {})
    wording = voice.say(decision, 0.0)
    for _, value in (*wording.headers, *wording.attributes):
        assert value.isprintable()
        assert value.count('"') % 2 == 0
        assert "\\" not in value
    for name, value in wording.headers:
        if name in ("Reason", "P-Asserted-Identity"):
            # Nothing stands outside the quotation marks but what the table wrote there and numbers.
            assert re.match(r'[A-Za-z0-9 .;=<>:+*#_()/-]*("[^"]*"[A-Za-z0-9 .;=<>:+*#_()/-]*)*\Z', value), value
    onward = saying in ("allow", "label")
    assert split_lines(join_lines(wording.headers), onward=onward) == wording.headers


@given(st.text(max_size=6000), st.booleans())
def test_only_allowed_lines_come_out_of_a_reply(text: str, onward: bool) -> None:
    lines = split_lines(text, onward=onward)
    assert len(lines) <= MAX_LINES
    assert sum(len(value.encode("utf-8", "replace")) for _, value in lines) <= MAX_BYTES
    for name, value in lines:
        assert is_allowed(name, onward=onward)
        assert value.isprintable()


@given(st.lists(st.sampled_from(["Reason: x", "X-A: 1", "Via: x", "X-Antifraud-Y: 1", "Call-Info: <a>"]), max_size=60))
def test_the_order_is_kept(lines: list[str]) -> None:
    wanted = [tuple(line.split(": ")) for line in lines if not line.startswith(("Via", "X-Antifraud"))]
    found = split_lines("\n".join(lines), onward=False)
    assert list(found) == wanted[: len(found)]


@given(st.text(alphabet='{}"ab ' + "".join(PLACES), max_size=60))
def test_a_template_is_one_or_is_refused_in_words(text: str) -> None:
    try:
        template = compile_template(text)
    except ValueError:
        return
    filled = template.fill(dict.fromkeys(PLACES, ""))
    assert filled == ("" if template.places else text)
    assert "{" not in filled


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]),
        st.fixed_dictionaries(
            {},
            optional={
                "like": st.sampled_from(["a", "b", "c", "x"]),
                "block": st.fixed_dictionaries({}, optional={"status": st.integers(300, 699)}),
            },
        ),
        max_size=4,
    )
)
def test_any_table_comes_to_an_end(raw: dict[str, dict[str, object]]) -> None:
    table, wrong = compile_table(raw)
    assert set(table) <= set(raw)
    for item in wrong:
        assert item.message
    if not wrong:
        assert set(table) == set(raw)


@pytest.mark.parametrize("name", ["Via", "Contact", "X-Antifraud-Label", "x-antifraud-diverted", "", "X-", "Reason "])
def test_what_is_never_allowed(name: str) -> None:
    assert not is_allowed(name, onward=False)
    assert not is_allowed(name, onward=True)
