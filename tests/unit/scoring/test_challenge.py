"""Two models on the same calls: what is counted, about whom, and that intervals go over callers, not over calls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antifraud.domain import Decision, UsageError
from antifraud.scoring.challenge import Duel

BASE = Decision(
    id="d", call_id="c", ts=1.8e9, shard="kz", region="KZ-75", verdict="allow", full_verdict="allow", ceiling="shadow",
    caller="+77010000001", model="kz/1@0", challenger="kz/2@0", challenger_score=0.1, challenger_verdict="allow",
    caller_class="light",
)  # fmt: skip


def made(number: int, **changes: Any) -> Decision:
    return msgspec.structs.replace(BASE, id=f"d{number}", caller=f"+7701{number:05}01", **changes)


def test_who_is_stopped_by_which_model() -> None:
    duel = Duel()
    for number in range(1000):
        duel.add(made(number))
    for number in range(1000, 1010):
        duel.add(made(number, full_verdict="divert", challenger_verdict="block", caller_class="heavy"))
    for number in range(1010, 1014):
        duel.add(made(number, full_verdict="label", challenger_verdict="divert", caller_class="heavy"))
    duel.add(made(1014, full_verdict="block"))
    duel.add(made(1015, duplicate=True))
    duel.add(msgspec.structs.replace(made(1016), challenger="", challenger_verdict="", challenger_score=None))
    report = duel.report()
    counts = {key: part["calls"] for key, part in report.items() if isinstance(part, dict) and "calls" in part}
    assert counts == {
        "stopped_by_model": 11, "stopped_by_challenger": 14, "stopped_only_by_model": 1,
        "stopped_only_by_challenger": 4, "blocked_by_model": 1, "blocked_by_challenger": 10,
        "blocked_only_by_model": 1, "blocked_only_by_challenger": 10, "verdict_differs": 15,
    }  # fmt: skip
    assert (report["calls"], report["callers"], report["left_out"]) == (1015, 1015, 2)
    heavy = report["classes"][0]
    assert (heavy["class"], heavy["calls"], heavy["stopped_only_by_challenger"]["calls"]) == ("heavy", 14, 4)
    assert {"model": "divert", "challenger": "block", "calls": 10} in report["verdicts"]
    assert [one["decision"] for one in report["examples"]["stopped_only_by_model"]] == ["d1014"]
    share = report["stopped_only_by_challenger"]["share"]
    assert share.low <= share.value == 4 / 1015 <= share.high


def test_many_calls_of_one_caller_prove_less_than_calls_of_many() -> None:
    def width(one_caller: bool) -> float:
        duel = Duel()
        for number in range(400):
            own = number // 20 * 20 if one_caller else number
            duel.add(made(own, challenger_verdict="divert" if own % 40 == 0 else "allow"))
        share = duel.report()["stopped_only_by_challenger"]["share"]
        return float(share.high - share.low)

    assert width(one_caller=True) > 2 * width(one_caller=False)


def test_only_the_last_pair_counts_and_nothing_is_no_report() -> None:
    duel = Duel()
    with pytest.raises(UsageError, match="no decision here was made beside a challenger"):
        duel.report()
    duel.add(made(1, challenger_verdict="block"))
    duel.add(made(2, challenger="kz/3@0"))
    report = duel.report()
    assert (report["challenger"], report["calls"], report["left_out"]) == ("kz/3@0", 1, 1)
