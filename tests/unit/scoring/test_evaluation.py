"""Figures of an evaluation against counting by hand, and the page that shows them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest

from antifraud.domain import UsageError, Verdict
from antifraud.scoring.detection import positions
from antifraud.scoring.evaluation import calibration, check, evaluate, logistic_scores
from antifraud.scoring.judged_calls import ENGINE, RULES, SCORE, Calls
from antifraud.scoring.report_html import report_html
from tests.unit.scoring.judged import BLOCK, DIVERT, made_calls, subject


@pytest.fixture(scope="module")
def calls() -> Calls:
    return made_calls()


@pytest.fixture(scope="module")
def report(calls: Calls) -> Any:
    return msgspec.json.decode(msgspec.json.encode(evaluate(calls, subject(), rounds=60, price=2.0) | {"about": ""}))


def test_shares_are_counted(calls: Calls, report: Any) -> None:
    for name in (RULES, SCORE, ENGINE):
        verdict, part = calls.verdicts[name], report["systems"][name]
        for word, least in (("stopped", DIVERT), ("blocked", BLOCK)):
            hit = verdict >= least
            assert part[word]["recall"]["value"] == pytest.approx(hit[calls.fraud].mean())
            assert part[word]["honest_calls"] == hit[~calls.fraud].sum()
            assert part[word]["false_rate"]["value"] == pytest.approx(hit[~calls.fraud].mean())
            assert part[word]["false_rate"]["high"] >= part[word]["false_rate"]["value"]
        talk = calls.talk_s[calls.fraud & (verdict >= DIVERT)].sum() / 60
        assert part["talk"]["minutes_saved"] == pytest.approx(talk)
        assert part["talk"]["money_saved"] == pytest.approx(2.0 * talk)
    assert report["honest_callers"] == len(np.unique(calls.cluster[~calls.fraud]))
    assert report["campaigns"] == calls.campaign.max() + 1


def test_after_the_first_20_and_until_the_first_stop(calls: Calls, report: Any) -> None:
    late, first_calls, minutes = [], [], []
    for campaign in range(report["campaigns"]):
        these = np.flatnonzero(calls.campaign == campaign)
        hit = calls.verdicts[ENGINE][these] >= DIVERT
        late += hit[20:].tolist()
        first_calls.append(np.flatnonzero(hit)[0] + 1 if hit.any() else np.inf)
        minutes.append((calls.ts[these][hit][0] - calls.ts[these][0]) / 60 if hit.any() else np.inf)
    part = report["systems"][ENGINE]
    assert part["stopped"]["recall_after_first_20"]["value"] == pytest.approx(np.mean(late))
    until = part["detection"]["until_stopped"]
    assert until["campaigns"] == np.isfinite(first_calls).sum()
    assert until["calls"]["value"] == sorted(first_calls)[(len(first_calls) - 1) // 2]
    assert until["minutes"]["value"] == pytest.approx(sorted(minutes)[(len(minutes) - 1) // 2])


def test_hindsight_keeps_to_the_rate_and_spares_whom_no_score_stops(calls: Calls, report: Any) -> None:
    part = report["systems"][SCORE]["with_hindsight"]
    honest = np.where(calls.spared, -1.0, calls.score)[~calls.fraud]
    assert np.count_nonzero(honest >= part["threshold"]) <= 1e-4 * len(honest)
    assert part["recall"]["value"] == pytest.approx(np.mean(calls.score[calls.fraud] >= part["threshold"]))
    assert "with_hindsight" not in report["systems"][RULES]
    both = report["systems"][ENGINE]["with_hindsight"]["recall"]["value"]
    assert both >= part["recall"]["value"]  # what rules stop comes on top


def test_groups_add_up(calls: Calls, report: Any) -> None:
    for groups, mask in (("fraud_behaviours", calls.fraud), ("honest_behaviours", ~calls.fraud)):
        assert sum(one["calls"] for one in report[groups]) == mask.sum()
        stopped = sum(one[ENGINE]["stopped"]["calls"] for one in report[groups])
        assert stopped == (calls.verdicts[ENGINE][mask] >= DIVERT).sum()
    assert sum(one["honest"]["calls"] + one["fraud"]["calls"] for one in report["regions"]) == len(calls.fraud)
    assert sum(one["fraud_stopped"] for one in report["sources"]) == report["systems"][ENGINE]["stopped"]["fraud_calls"]
    assert sum(one["fraud_calls"] for one in report["grounds"]) == report["systems"][ENGINE]["stopped"]["fraud_calls"]


def test_what_carries_first_calls_is_what_falls_away_without_it(report: Any) -> None:
    carried = {one["replaced"]: one["blocked_by_score"] for one in report["unseen_callers"]["carried"]}
    assert set(carried) == {"", "caller", "prefix", "facts", "hour"}
    assert carried["caller"] < 0.05 * carried[""]  # the score reads this column alone
    assert carried["prefix"] == carried["facts"] == carried[""]


def test_the_certificate_is_violated_only_when_it_cannot_be_chance(calls: Calls) -> None:
    blocked = int(np.count_nonzero(calls.score[~calls.fraud] >= 0.97))
    rate = blocked / int((~calls.fraud).sum())
    assert blocked > 5
    assert not evaluate(calls, subject(rate), rounds=20)["violated"]
    assert evaluate(calls, subject(rate / 20), rounds=20)["violated"]


@pytest.mark.parametrize("sources", [1, 2])
def test_the_logistic_regression_never_scores_what_it_learnt(sources: int) -> None:
    calls = made_calls(sources=sources)
    before = logistic_scores(calls, 1)
    # Labels turned round in one half change the scores of the other half only.
    half = calls.source == 0 if sources == 2 else None
    if half is not None:
        turned = msgspec.structs.replace(calls, fraud=np.where(half, ~calls.fraud, calls.fraud))
        after = logistic_scores(turned, 1)
        assert np.array_equal(before[half], after[half])
        assert not np.array_equal(before[~half], after[~half])
    assert before[calls.fraud].mean() > 0.8
    assert before[~calls.fraud].mean() < 0.1


def test_a_single_campaign_is_measured_without_a_logistic_regression() -> None:
    calls = made_calls(sources=1)
    kept = calls.campaign <= 0
    one = msgspec.structs.replace(
        calls,
        verdicts={name: column[kept] for name, column in calls.verdicts.items()},
        **{
            name: getattr(calls, name)[kept]
            for name in Calls.__struct_fields__
            if isinstance(getattr(calls, name), np.ndarray)
        },
    )
    found = msgspec.json.decode(msgspec.json.encode(evaluate(one, subject(), rounds=20) | {"about": ""}))
    assert found["campaigns"] == 1
    assert set(found["systems"]) == {RULES, SCORE, ENGINE}
    assert found["logistic_auc"] is None
    assert "AUC" in report_html(found)


def test_calls_of_an_engine_that_is_new_stand_in_its_cold_start_only() -> None:
    """What is left out is told as the cold start; of the rest nothing changes but that campaigns began before."""
    calls = made_calls(sources=2)
    after_s = 1500.0
    kept = calls.ts - np.where(calls.source == 0, 1.7e9, 1.7e9 + 4000) >= after_s
    found = evaluate(calls, subject(), rounds=20, after_s=after_s)
    whole = evaluate(calls, subject(), rounds=20)
    assert (found["left_out_calls"], whole["left_out_calls"]) == (3000, 0)
    assert found["honest_calls"] == int((kept & ~calls.fraud).sum())
    stopped = (calls.verdicts[ENGINE] >= int(Verdict.DIVERT)) & kept
    engine = found["systems"][ENGINE]
    assert engine["stopped"]["fraud_calls"] == int((stopped & calls.fraud).sum())
    assert engine["stopped"]["honest_calls"] == int((stopped & ~calls.fraud).sum())
    assert sum(span["honest_calls"] for span in found["cold_start"]) == int((~calls.fraud).sum())
    # The first 20 calls of a campaign are those of the whole log, left out or not.
    late = positions(calls.campaign, calls.ts) >= 20
    share = float((stopped & calls.fraud & late).sum() / (kept & calls.fraud & late).sum())
    assert engine["stopped"]["recall_after_first_20"].value == pytest.approx(share)
    # A campaign that began while the engine was new tells nothing of how soon it would have been found.
    began = {
        campaign for campaign in np.unique(calls.campaign) if campaign >= 0 and kept[calls.campaign == campaign][0]
    }
    assert engine["detection"]["campaigns"] == len(began) < found["campaigns"]
    assert sum(part["campaigns"] for part in found["detection_by_behaviour"]) == len(began)
    with pytest.raises(UsageError, match="first 3 hours"):
        evaluate(calls, subject(), rounds=20, after_s=3 * 3600.0)


def test_positions_count_within_a_campaign_in_order_of_time() -> None:
    campaign = np.array([-1, 2, 0, 2, -1, 0, 2])
    ts = np.array([0.0, 5.0, 2.0, 3.0, 4.0, 2.0, 9.0])
    assert positions(campaign, ts).tolist() == [-1, 1, 0, 0, -1, 1, 2]


def test_calibration_bins_hold_every_call_once_and_cover_what_is_calibrated() -> None:
    outside = bins = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        score = np.concatenate([[0.0, 1.0], rng.beta(0.2, 2.0, 5000)])
        found = calibration(rng.random(len(score)) < score, score)
        assert sum(one["calls"] for one in found) == len(score)
        bins += len(found)
        outside += sum(not one["share"].low <= one["said"] <= one["share"].high for one in found)
    assert 0.005 * bins < outside < 0.08 * bins  # 5 % by their making


@pytest.mark.parametrize("fraud", [[], [True, True], [False]])
def test_one_class_cannot_be_measured(fraud: list[bool]) -> None:
    with pytest.raises(UsageError):
        check(np.array(fraud, dtype=np.bool_))


def test_the_same_calls_give_the_same_report(calls: Calls) -> None:
    first, again = (msgspec.json.encode(evaluate(calls, subject(), rounds=20, seed=3)) for _ in range(2))
    assert first == again
    assert first != msgspec.json.encode(evaluate(calls, subject(), rounds=20, seed=4))


def test_the_page_stands_alone_and_trusts_no_name(report: Any) -> None:
    page = report_html(report)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    assert page.count("<svg") == page.count("</svg>") >= 3
    for tag in ("table", "section", "div", "figure", "tr", "td"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower().replace("finance", "")
    assert "None" not in page


def test_the_page_is_written_without_first_calls_rules_or_fraud_in_a_region(calls: Calls) -> None:
    bare = msgspec.structs.replace(
        calls,
        unseen=None,
        region=np.where(calls.fraud, 0, 1),
        verdicts={name: np.zeros_like(column) for name, column in calls.verdicts.items()},
        ground=np.full_like(calls.ground, -1),
    )
    found = msgspec.json.decode(msgspec.json.encode(evaluate(bare, subject(), rounds=20) | {"about": ""}))
    assert found["unseen_callers"] is None
    assert "never" in report_html(found)
