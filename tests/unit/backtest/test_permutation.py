"""Permuted events: names change one for one, what is no name stays; windows by names notice only a shuffle."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.backtest.permutation import HOWS, WHAT, How, Permuted, permuted, wanted_permutations
from antifraud.backtest.systems import SideBySide
from antifraud.cli.assembly import build_numbering
from antifraud.decision import load_bundle
from antifraud.domain import CallEvent, EventKind, UsageError
from antifraud.features import Limits
from antifraud.scoring import Model
from antifraud.scoring.judged_calls import Calls
from antifraud.settings import load_settings
from antifraud.simulator import SimulatedEvent, simulate
from antifraud.simulator.call import Truth

SETTINGS = load_settings(env={})
POLICY = SETTINGS.policy()
NUMBERING = build_numbering(SETTINGS, warm=False)


@cache
def events() -> tuple[SimulatedEvent, ...]:
    return tuple(simulate("national", 41, 1500, days=0.2))


def changed(what: str, how: How, seed: int = 1) -> list[Permuted]:
    return list(permuted(events(), events(), what, how, trunk_class=POLICY.trunk_class, numbering=NUMBERING, seed=seed))


def facts(event: CallEvent, field: str) -> tuple[object, ...]:
    abroad = field == "caller_raw" and POLICY.trunk_class(event.trunk) == "international"
    found = NUMBERING.facts(getattr(event, field), international=abroad)
    return (found.kind, found.country, found.valid, found.type, found.region)


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("how", HOWS)
def test_only_these_names_change_and_the_same_way_every_time(what: str, how: How) -> None:
    found = changed(what, how)
    assert found == changed(what, how)
    assert found != changed(what, how, seed=2)
    moved = 0
    for before, after in zip(events(), found, strict=True):
        assert after.truth == before.truth
        for field in CallEvent.__struct_fields__:
            old, new = getattr(before.event, field), getattr(after.event, field)
            if field not in WHAT[what]:
                assert new == old
            else:
                assert bool(new) == bool(old)  # who has no name gets none
                moved += new != old
    assert moved > 300


@pytest.mark.parametrize("what", ["trunk", "fingerprint", "src_ip"])
def test_renamed_is_one_for_one(what: str) -> None:
    for field in WHAT[what]:
        pairs = {
            (getattr(before.event, field), getattr(after.event, field))
            for before, after in zip(events(), changed(what, "renamed"), strict=True)
        }
        olds, news = zip(*pairs, strict=True)
        assert len(pairs) == len(set(olds)) == len(set(news))
        assert set(olds) == set(news)


@pytest.mark.parametrize("what", ["trunk", "fingerprint", "src_ip"])
def test_shuffled_names_are_as_frequent_as_before_and_one_a_call(what: str) -> None:
    found = changed(what, "shuffled")

    def names(event: CallEvent) -> tuple[str, ...]:
        return tuple(getattr(event, field) for field in WHAT[what])

    pairs = [(before.event, after.event) for before, after in zip(events(), found, strict=True)]
    setups = [(before, after) for before, after in pairs if before.kind is EventKind.SETUP]
    assert Counter(names(before) for before, _ in setups) == Counter(names(after) for _, after in setups)
    if what == "trunk":
        of_call = {after.call_id: after.trunk for _, after in setups}
        assert all(after.trunk == of_call[after.call_id] for _, after in pairs)


@pytest.mark.parametrize("how", HOWS)
def test_a_trunk_keeps_its_class(how: How) -> None:
    for before, after in zip(events(), changed("trunk", how), strict=True):
        assert POLICY.trunk_class(after.event.trunk) == POLICY.trunk_class(before.event.trunk)


@pytest.mark.parametrize("how", HOWS)
def test_a_number_changes_one_for_one_wherever_it_stands_and_keeps_its_facts(how: How) -> None:
    to: dict[str, str] = {}
    kept = moved = 0
    for before, after in zip(events(), changed("prefix", how), strict=True):
        for field in ("caller_raw", "callee_raw"):
            abroad = field == "caller_raw" and POLICY.trunk_class(before.event.trunk) == "international"
            old, new = (
                NUMBERING.facts(getattr(one.event, field), international=abroad).number for one in (before, after)
            )
            assert to.setdefault(old, new) == new
            kept += facts(before.event, field) == facts(after.event, field)
            moved += 1
    assert len(set(to.values())) == len(to)
    assert kept > 0.999 * moved


def seen(how: How | None, what: str = "prefix") -> Calls:
    assert SETTINGS.model_dir is not None
    bundle = load_bundle(SETTINGS.rules_dir, SETTINGS.utc_offset_min)
    run = SideBySide(bundle, POLICY, NUMBERING, Model.load(SETTINGS.model_dir), limits=Limits.of_memory(64 << 20))
    run.add(events() if how is None else changed(what, how), "seed 41")
    return run.calls()


def test_windows_do_not_notice_that_blocks_are_renamed_but_that_callers_are_scattered() -> None:
    plain, renamed, scattered = seen(None), seen("renamed"), seen("shuffled")
    # What lies around a block of 10,000 numbers is torn apart when each block gets another name.
    assert SETTINGS.model_dir is not None
    names = Model.load(SETTINGS.model_dir).features
    within = [place for place, name in enumerate(names) if not name.startswith("range_")]
    assert len(names) - 2 < len(within) < len(names)
    assert np.array_equal(plain.rows[:, within], renamed.rows[:, within], equal_nan=True)
    assert not np.array_equal(plain.rows, scattered.rows, equal_nan=True)
    assert np.array_equal(plain.ts, scattered.ts)


def test_what_to_permute_is_checked() -> None:
    assert wanted_permutations(" trunk, prefix ") == ("trunk", "prefix")
    assert wanted_permutations("") == ()
    for text, said in (("trunk,shoe", "'shoe' cannot be permuted"), ("trunk,trunk", "twice")):
        with pytest.raises(UsageError, match=said):
            wanted_permutations(text)


TEXTS = st.text(st.sampled_from("+0123456789 -()sip:@;abc\x00é"), max_size=30)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=12),
    st.sampled_from(HOWS),
    st.sampled_from(list(WHAT)),
)
def test_hostile_texts_change_places_without_harm(rows: list[tuple[str, str, str]], how: How, what: str) -> None:
    truth = Truth(False, "", "person")
    items = [
        SimulatedEvent(
            CallEvent(EventKind.SETUP, str(at), 1.7e9 + at, trunk=trunk, caller_raw=caller, callee_raw=callee,
                      user_agent=trunk, src_ip=caller),
            truth,
        )
        for at, (caller, callee, trunk) in enumerate(rows)
    ]  # fmt: skip
    found = list(permuted(items, items, what, how, trunk_class=POLICY.trunk_class, numbering=NUMBERING))
    assert [one.event.call_id for one in found] == [one.event.call_id for one in items]
    for field in ("trunk", "src_ip", "user_agent"):
        assert Counter(bool(getattr(one.event, field)) for one in found) == Counter(
            bool(getattr(one.event, field)) for one in items
        )
