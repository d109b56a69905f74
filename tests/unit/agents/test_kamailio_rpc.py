"""Kamailio's answers, real ones and hostile ones; and the configuration that must agree with the agent."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import ConfigError
from antifraud.queues.commands import is_number
from sip_adapters.agents import UnreachableError
from sip_adapters.switches.kamailio import read_options, rpc

BLOCKLIST = Path(rpc.__file__).with_name("antifraud_blocklist.cfg").read_text(encoding="utf-8")
GOLDEN = Path(__file__).with_name("golden")


def test_values_are_json_values_whatever_is_in_them() -> None:
    evil = 'x"],"method":"core.kill","id":1}\r\n\x00'
    raw = rpc.question(7, "dlg.dlg_list", (evil, 3))
    assert json.loads(raw) == {"jsonrpc": "2.0", "method": "dlg.dlg_list", "params": [evil, 3], "id": 7}
    assert b"\n" not in raw


def test_answers_of_a_real_kamailio() -> None:
    uptime = b'{"jsonrpc":"2.0","result":{"now":"Mon","up_since":"Sun Nov 29 19:51:54 2026","uptime":2},"id":1}'
    assert rpc.epoch(rpc.answer(uptime, 1)) == "Sun Nov 29 19:51:54 2026"
    missing = rpc.answer(b'{"jsonrpc":"2.0","error":{"code":404,"message":"Key not found in htable."},"id":7}', 7)
    assert missing == rpc.Fault(404, "Key not found in htable.")
    stats = b'{"jsonrpc":"2.0","result":[{"name":"t","slots":16384,"all":1,"min":0,"max":1}],"id":11}'
    assert rpc.tables(rpc.answer(stats, 11)) == {"t": 1}
    dump = (
        b'{"jsonrpc":"2.0","result":[{"entry":50,"size":2,"slot":[{"name":"+77010000001","value":"1796069373",'
        b'"type":"str"},{"name":"+77010000101","value":7,"type":"int"},{"name":"junk","value":"1"}]}],"id":7}'
    )
    assert rpc.numbers(rpc.answer(dump, 7)) == [("+77010000001", 1796069373.0), ("+77010000101", 7.0)]
    assert rpc.numbers(rpc.answer(b'{"jsonrpc":"2.0","result":[],"id":7}', 7)) == []
    calls = (
        b'{"jsonrpc":"2.0","result":[{"h_entry":1963,"h_id":9283,"ref":1,"call-id":"1@x","from_uri":"sip:a@b",'
        b'"to_uri":"sip:c@d","state":2,"caller":{"tag":"1","contact":"sip:e@f","cseq":"1"},"callee":{"tag":null}},'
        b'{"h_entry":1963,"h_id":9284,"call-id":"1@x","state":4}],"id":2}'
    )
    assert rpc.dialogs(rpc.answer(calls, 2)) == [
        rpc.Dialog(1963, 9283, "1@x", 2, rpc.Party("1", "1")),
        rpc.Dialog(1963, 9284, "1@x", 4),
    ]


def test_of_several_calls_with_one_call_id_the_one_between_the_numbers_is_meant() -> None:
    def call(number: int, who: object) -> rpc.Dialog:
        return rpc.Dialog(1, number, "1@x", 4, variables=[{"antifraud_t0": "1.5"}, {"antifraud_who": who}])

    fraud = call(1, "source=kamailio&call_id=1%40x&callee_raw=8-702-000-00-02&caller_raw=%2b77010000001")
    asserted = call(2, "callee_raw=1414&caller_raw=anonymous&asserted=87010000003")
    unreadable = call(3, 7)
    calls = [fraud, asserted, unreadable, rpc.Dialog(1, 4, "1@x", 4)]
    assert rpc.between(calls, "+77010000001", "+77020000002") == [fraud]
    assert rpc.between(calls, "", "+77020000002") == [fraud]
    assert rpc.between(calls, "+77010000003", "1414") == [asserted]
    assert rpc.between(calls, "", "") == [fraud, asserted, unreadable]
    # It may be the one that nobody can read; what others say of themselves is believed, and what we did not judge,
    # an emergency call that the operator tracks for one, is not ours to end.
    assert rpc.between(calls, "+77010000001", "+77020000009") == [unreadable]
    assert rpc.between([fraud, asserted, calls[3]], "+77010000001", "+77020000009") == []
    emergency = call(6, "callee_raw=112&caller_raw=%2b77010000001")
    assert rpc.between([emergency], "+77010000001", "+77020000112") == []
    local = call(7, "callee_raw=500002&caller_raw=8-7172-500001")
    assert rpc.between([local, fraud], "+77172500001", "+77172500002") == [local]
    hidden = call(8, "callee_raw=87020000002&caller_raw=anonymous")
    assert rpc.between([hidden], "+77010000001", "+77020000002") == [hidden]
    assert rpc.between([hidden], "+77010000001", "+77020000009") == []
    assert rpc.between([], "+77010000001", "+77020000002") == []
    many = call(5, "&".join(["a=b"] * 10_000))
    assert rpc.between([many, fraud], "+77010000001", "+77020000002") == [fraud]


def test_an_answer_to_another_question_is_none() -> None:
    assert rpc.answer(b'{"jsonrpc":"2.0","result":{},"id":1}', 2) is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"[]", b"{", b'{"id":"1"}', b'{"id":1,"error":"no"}', b"[" * 100_000, b'{"id":1e400}', b"null"],
)
def test_nonsense_counts_as_unreachable(raw: bytes) -> None:
    with pytest.raises(UnreachableError, match="nonsense"):
        rpc.answer(raw, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["up_since", "name", "all", "slot", "value", "h_entry", "h_id", "call-id", "caller", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(result=JSON)
def test_no_result_raises_anything_else(result: object) -> None:
    for read in (rpc.tables, rpc.numbers, rpc.dialogs, rpc.epoch):
        try:
            found = read(result)
        except UnreachableError:
            continue
        if read is rpc.numbers:
            assert all(is_number(number) and 0 <= until < 2**53 for number, until in found)  # type: ignore[union-attr]


@given(raw=st.binary(max_size=200), identity=st.integers(1, 3))
def test_no_bytes_raise_anything_else(raw: bytes, identity: int) -> None:
    for data in (raw, b'{"id":1,"result":' + raw + b"}", b'{"id":1,"error":' + raw + b"}"):
        with contextlib.suppress(UnreachableError):
            rpc.answer(data, identity)


def test_the_configuration_has_every_page_and_looks_each_number_up_in_its_own() -> None:
    declared = re.findall(r'^modparam\("htable", "htable", "(\w+)=>', BLOCKLIST, re.MULTILINE)
    assert declared == [rpc.page_name(page) for page in range(rpc.PAGES)]
    cases = re.findall(r"case (\d+): \$var\(af_until\) = \$sht\((\w+)=>\$var\(af_number\)\); break;", BLOCKLIST)
    assert cases == [(str(page), rpc.page_name(page)) for page in range(rpc.PAGES)]
    assert rpc.table_of("+77010000007") == rpc.page_name(7)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unknown", {"sock": "/x"}),
        ("too-long", {"socket": "/" + "x" * 200}),
        ("timeout", {"timeout_s": 0}),
        ("kind", {"lease_s": "soon"}),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], golden: object) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options("sw-kz-75", {"enabled": True, "agent": "kamailio", **options})
    golden(GOLDEN / f"{name}.txt", caught.value.render() + "\n")  # type: ignore[operator]
