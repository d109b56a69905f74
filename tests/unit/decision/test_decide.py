"""decide(): safety first, ceilings, stages, and the same bits whatever the batch size."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from antifraud.cli.assembly import build_numbering
from antifraud.decision import MODEL_FACTS, Bundle, Decider, Policy, RegionPolicy, load_bundle
from antifraud.decision.challenger import UNSCORED
from antifraud.decision.explaining import DecisionExplainer
from antifraud.domain import CallEvent, Ceiling, Decision, EventKind, ModelError, Stage
from antifraud.features import Fold, Limits
from antifraud.features.windows import DERIVED
from antifraud.rulekit import Hit
from antifraud.scoring import ClassThresholds, Model
from antifraud.scoring.training import Options, Rows, train
from antifraud.settings import load_settings
from antifraud.simulator import simulate

SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
MakeDecider = Callable[..., Decider]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SETTINGS.rules_dir)


@pytest.fixture(scope="module")
def teach(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    """Trains a small enforced model on the features named: all windows and facts when none is."""

    def taught(*names: str) -> Model:
        names = names or (*bundle.windows.names, *MODEL_FACTS)
        out = tmp_path_factory.mktemp("models") / "toy" / "1"
        train(
            rows_of(names), names=names, windows=bundle.windows.digests, out=out, name="toy", version="1",
            options=Options(trees=20, leaves=7, threads=1, stage=Stage.ENFORCE),
        )  # fmt: skip
        return Model.load(out)

    return taught


@pytest.fixture(scope="module")
def model(teach: Callable[..., Model]) -> Model:
    return teach()


def rows_of(names: Sequence[str], days: int = 12, per_day: int = 500) -> Rows:
    """Rows in which every feature says a little: fraud has higher values and, where it is a fact, more often 1."""
    rng = np.random.default_rng(1)
    count = days * per_day
    y = rng.random(count) < 0.05
    day = np.repeat(np.arange(days), per_day)
    columns = [
        (rng.random(count) < np.where(y, 0.3, 0.2)).astype(float)
        if name in MODEL_FACTS and name != "hour"
        else rng.poisson(np.where(y, 3.0, 2.0)).astype(float)
        for name in names
    ]
    ts = (1.7e9 + day * 172_800 + np.tile(np.arange(per_day) * 100, days)).astype(np.float64)
    campaign = np.where(y, np.char.add("c", day.astype(str)), "")
    return Rows(np.stack(columns, axis=1), y, ts, campaign, np.where(y, "call_centre", "person"))


class FixedScore:
    """A model that gives every call the same score; everything else is that of ``model``."""

    def __init__(self, model: Model, score: float, stage: Stage) -> None:
        self.id, self.features = "fixed/1@0", model.features
        self.windows: Mapping[str, str] = model.windows
        self.of_numbers = model.of_numbers
        self.thresholds, self.stage, self._score = model.thresholds, stage, score
        self.percent = 100.0
        self.class_names = ("",)
        self.class_thresholds = (ClassThresholds(*msgspec.structs.astuple(model.thresholds)),)

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self._score)

    def classes(self, rows: Any) -> Any:
        return np.zeros(len(rows), dtype=np.int8)


def region(code: str, ceiling: Ceiling, **changes: Any) -> RegionPolicy:
    return RegionPolicy(code=code, ceiling=ceiling, desk="sip:desk@desk.example", **changes)


def policy(**changes: Any) -> Policy:
    regions = {
        "KZ-75": region("KZ-75", Ceiling.BLOCK),
        "KZ-71": region("KZ-71", Ceiling.SHADOW),
        "KZ-35": region("KZ-35", Ceiling.DIVERT),
        "KZ-10": msgspec.structs.replace(region("KZ-10", Ceiling.DIVERT), desk=""),
        "KZ-63": region("KZ-63", Ceiling.LABEL, language="kk"),
        "KZ-11": region("KZ-11", Ceiling.OFF),
    }
    switches = {f"sw-{code.lower()}": code for code in regions}
    base = Policy(
        shard="kz", country="KZ", default_region="KZ-71", regions=regions, switches=switches,
        trunks=(("intl-*", "international"), ("nat-*", "national"), ("sub-*", "subscriber")),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def setup(call_id: str = "c1", **changes: Any) -> CallEvent:
    event = CallEvent(
        kind=EventKind.SETUP, call_id=call_id, ts=1.8e9, switch="sw-kz-75", trunk="sub-1",
        caller_raw="+77000000001", callee_raw="+77000000002",
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


SPOOFED = {"trunk": "intl-1", "caller_raw": "+77010000003", "roaming": False}


def one(decider: Decider, event: CallEvent) -> Decision:
    (decision,) = decider.decide([event])
    return decision


def test_an_honest_call_is_allowed_and_says_nothing(bundle: Bundle, model: Model) -> None:
    decision = one(Decider(bundle, policy(), NUMBERING, model), setup())
    assert (decision.verdict, decision.full_verdict, decision.reasons) == ("allow", "allow", ())
    assert decision.score is not None
    assert (decision.bundle, decision.model) == (bundle.digest, model.id)


@pytest.mark.parametrize(
    "callee",
    ["112", "101", "102", "103", "104", "+7112", "7112", "8112", "tel:112", "sip:112@kz.example", "1 1 2", "727112"],
)
def test_no_score_and_no_rule_reaches_an_emergency_call(bundle: Bundle, model: Model, callee: str) -> None:
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    decision = one(Decider(bundle, policy(), NUMBERING, certain), setup(callee_raw=callee, **SPOOFED))
    assert (decision.verdict, decision.full_verdict, decision.protected) == ("allow", "allow", True)


def test_an_emergency_call_is_safe_even_when_everything_behind_it_breaks(bundle: Bundle) -> None:
    decider = Decider(bundle, policy(), NUMBERING)
    broken: Any = BrokenRules()
    decider._bundle = msgspec.structs.replace(bundle, rules=broken)
    assert one(decider, setup(callee_raw="112", **SPOOFED)).protected
    decision = one(decider, setup("c2", **SPOOFED))
    assert (decision.verdict, decider.failures) == ("allow", 1)
    assert "RuntimeError" in decision.reason


class BrokenRules:
    digest = "broken"

    def evaluate(self, row: Sequence[object], params: object) -> list[Any]:
        raise RuntimeError(len(row))


@pytest.mark.parametrize(
    ("switch", "carried"),
    [("sw-kz-75", "block"), ("sw-kz-35", "divert"), ("sw-kz-10", "label"), ("sw-kz-63", "label"),
     ("sw-kz-71", "allow"), ("sw-kz-11", "allow")],
)  # fmt: skip
def test_regions_carry_out_what_their_ceiling_allows_and_agree_on_the_full_verdict(
    bundle: Bundle, switch: str, carried: str
) -> None:
    decision = one(Decider(bundle, policy(), NUMBERING), setup(switch=switch, **SPOOFED))
    assert decision.verdict == carried
    assert decision.full_verdict == "block"
    assert decision.reasons
    assert decision.target == ("sip:desk@desk.example" if carried == "divert" else "")
    assert bool(decision.label) == (carried == "label")


def test_the_region_is_the_switchs_then_the_callees_then_the_default(bundle: Bundle) -> None:
    decider = Decider(bundle, policy(), NUMBERING)
    assert one(decider, setup("a", callee_raw="+77272000001")).region == "KZ-75"
    assert one(decider, setup("b", switch="", callee_raw="+77272000001")).region == "KZ-75"
    assert one(decider, setup("c", switch="", callee_raw="+77212000001")).region == "KZ-35"
    assert one(decider, setup("d", switch="nobody", callee_raw="+77010000001")).region == "KZ-71"


@pytest.mark.parametrize(
    ("score", "full"), [(0.0, "allow"), (0.3, "label"), (0.6, "divert"), (0.95, "block"), (math.nan, "allow")]
)
def test_thresholds_of_the_region_win_over_the_models(bundle: Bundle, model: Model, score: float, full: str) -> None:
    thresholds = {"label_at": 0.2, "divert_at": 0.5, "block_at": 0.9, "within_certificate": False}
    regions = {"KZ-75": region("KZ-75", Ceiling.BLOCK, **thresholds)}
    fixed: Any = FixedScore(model, score, Stage.ENFORCE)
    decider = Decider(bundle, policy(regions=regions, default_region="KZ-75"), NUMBERING, fixed)
    assert one(decider, setup()).verdict == full


def test_a_shadow_model_is_recorded_and_carries_nothing_out(bundle: Bundle, model: Model) -> None:
    shadow: Any = FixedScore(model, 1.0, Stage.SHADOW)
    decision = one(Decider(bundle, policy(), NUMBERING, shadow), setup())
    assert (decision.verdict, decision.full_verdict) == ("allow", "block")
    assert [reason.stage for reason in decision.reasons] == ["shadow"]


def test_a_protected_callee_beats_every_score(bundle: Bundle, model: Model) -> None:
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    decider = Decider(bundle, policy(), NUMBERING, certain)
    decision = one(decider, setup(callee_raw="1414", **SPOOFED))
    assert (decision.verdict, decision.protected) == ("allow", True)
    assert decision.reasons[0].by.startswith("list:")


def test_the_kill_switch_stops_all_and_still_records(bundle: Bundle) -> None:
    decider = Decider(bundle, policy(), NUMBERING)
    decider.killed = True
    decision = one(decider, setup(**SPOOFED))
    assert (decision.verdict, decision.full_verdict) == ("allow", "block")
    assert decision.reasons[0].by == "engine"


def test_a_repeated_setup_is_a_duplicate_and_a_reused_call_id_is_not(bundle: Bundle) -> None:
    decider = Decider(bundle, policy(), NUMBERING)
    first, again, other = decider.decide([setup(), setup(), setup(callee_raw="+77000000009")])
    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert first.id == again.id != other.id


REFUSED = "the model fixed/1@0 does not fit these rules: "
MEND = (
    "\n    give rules/windows.yaml back what the model was trained on, name another model, "
    "or train one again: antifraud model train"
)
OUTDATED = "\n    this version works out other facts: train the model again: antifraud model train"


@pytest.mark.parametrize(
    ("features", "windows", "said"),
    [
        (("caller_age",), {"caller_age": "0" * 16}, f"windows changed since it was trained: caller_age{MEND}"),
        (("hour", "caller_gone_1h"), {"caller_gone_1h": "0" * 16}, f"windows missing: caller_gone_1h{MEND}"),
        (("hour", "weather"), {}, f"neither a window nor a fact: weather{OUTDATED}"),
    ],
)
def test_a_model_that_wants_other_windows_or_facts_is_refused_in_words(
    bundle: Bundle, model: Model, features: tuple[str, ...], windows: Mapping[str, str], said: str
) -> None:
    stranger: Any = FixedScore(model, 0.5, Stage.ENFORCE)
    stranger.features, stranger.windows = features, windows
    with pytest.raises(ModelError) as caught:
        Decider(bundle, policy(), NUMBERING, stranger)
    assert caught.value.render() == REFUSED + said


def rearranged(bundle: Bundle, rules_dir: Path, **added: Mapping[str, object]) -> Bundle:
    """The bundle of the same rules with its windows, and those ``added``, in another order, as a person writes it."""
    shutil.copytree(SETTINGS.rules_dir, rules_dir)
    path = rules_dir / "windows.yaml"
    declared = {**added, **yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)["windows"]}
    # What is worked out from others stands below them.
    backwards = list(reversed(declared))
    names = sorted(backwards, key=lambda name: declared[name]["kind"] in DERIVED)
    tree = {"version": "1", "windows": {name: declared[name] for name in names}}
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    found = load_bundle(rules_dir)
    assert found.windows.names == tuple(names)
    assert found.windows.names != bundle.windows.names
    return found


SOME = ("hour", "caller_age", "spoofed_cli", "caller_calls_1h")


@pytest.mark.parametrize("names", [(), SOME])
def test_a_model_is_given_exactly_its_columns(
    bundle: Bundle, teach: Callable[..., Model], names: tuple[str, ...]
) -> None:
    model = teach(*names)
    events = [item.event for item in simulate("demo", 5, calls=400, start_ts=1.8e9, rate=60.0)]
    decider, other = Decider(bundle, policy(), NUMBERING, model), Decider(bundle, policy(), NUMBERING)
    assert decider.feature_names == other.feature_names == (*bundle.windows.names, *MODEL_FACTS)
    vectors = other.vectors(events)
    assert vectors.shape[1] == len(other.feature_names)
    by_hand = model.predict(vectors[:, [other.feature_names.index(name) for name in model.features]])
    scores = [decision.score for decision in decider.decide(events)]
    assert scores == by_hand.tolist()
    assert len(set(scores)) > 3


def test_windows_in_another_order_change_no_decision(
    bundle: Bundle, teach: Callable[..., Model], tmp_path: Path
) -> None:
    events = [item.event for item in simulate("demo", 3, calls=600, start_ts=1.8e9, rate=60.0)]
    turned = rearranged(bundle, tmp_path / "rules")
    for model in (teach(), teach(*SOME)):
        decisions = Decider(bundle, policy(), NUMBERING, model).decide(events)
        others = Decider(turned, policy(), NUMBERING, model).decide(events)
        assert [msgspec.structs.replace(one, bundle="") for one in decisions] == [
            msgspec.structs.replace(one, bundle="") for one in others
        ]
        assert {one.full_verdict for one in decisions} > {"allow"}


def test_a_window_that_the_model_does_not_use_may_come_and_go(
    bundle: Bundle, teach: Callable[..., Model], tmp_path: Path
) -> None:
    model = teach(*SOME)
    added = {"kind": "count", "by": "caller", "over": "7m", "buckets": "7", "doc": {"en": "a", "ru": "b", "kk": "c"}}
    grown = rearranged(bundle, tmp_path / "rules", caller_calls_7m=added)
    events = [item.event for item in simulate("demo", 3, calls=300, start_ts=1.8e9, rate=60.0)]
    before = [one.score for one in Decider(bundle, policy(), NUMBERING, model).decide(events)]
    assert [one.score for one in Decider(grown, policy(), NUMBERING, model).decide(events)] == before
    few = grown.windows.subset(["caller_age", "caller_calls_1h"])
    assert len(few.names) == 2
    fewer = msgspec.structs.replace(bundle, windows=few)
    decider = Decider(fewer, policy(), NUMBERING, model)
    assert decider.feature_names == (*few.names, *MODEL_FACTS)
    assert [one.score for one in decider.decide(events)] == before


def test_the_same_log_gives_the_same_bits_whatever_the_batch_size(bundle: Bundle, model: Model) -> None:
    events = [item.event for item in simulate("demo", 3, calls=1_500, start_ts=1.8e9, rate=60.0)]
    results = []
    for size in (1, 7, 64, len(events)):
        decider = Decider(bundle, policy(), NUMBERING, model)
        decisions: list[Decision] = []
        for start in range(0, len(events), size):
            decisions += decider.decide(events[start : start + size])
        results.append(msgspec.json.encode(decisions))
    assert len(set(results)) == 1
    assert b'"verdict":"block"' in results[0] or b'"full_verdict":"block"' in results[0]


def test_absorbing_leaves_the_state_that_deciding_leaves(bundle: Bundle) -> None:
    events = [item.event for item in simulate("demo", 4, calls=600, start_ts=1.8e9, rate=60.0)]
    decided, absorbed = Decider(bundle, policy(), NUMBERING), Decider(bundle, policy(), NUMBERING)
    half = len(events) // 2
    decided.decide(events[:half])
    absorbed.absorb(events[:half])
    assert decided.decide(events[half:]) == absorbed.decide(events[half:])


def test_a_traveller_of_whom_nobody_knows_whether_they_roam_is_warned_about_at_most(
    bundle: Bundle, model: Model
) -> None:
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    decider = Decider(bundle, policy(), NUMBERING, certain)
    unknown = one(decider, setup("a", trunk="intl-1", caller_raw="+77010000003"))
    assert (unknown.verdict, unknown.full_verdict) == ("label", "label")
    forged = one(decider, setup("b", trunk="intl-1", caller_raw="+77010000003", roaming=False))
    assert forged.verdict == "block"


def test_a_call_that_belongs_to_no_known_region_is_watched_and_left_alone(bundle: Bundle) -> None:
    regions = {"KZ-75": region("KZ-75", Ceiling.BLOCK)}
    decider = Decider(bundle, policy(regions=regions, default_region="KZ-75"), NUMBERING)
    decision = one(decider, setup(switch="sw-misspelt", callee_raw="+77000000002", **SPOOFED))
    assert (decision.verdict, decision.full_verdict, decision.ceiling) == ("allow", "block", "shadow")
    misspelt = one(decider, setup("c2", switch="sw-misspelt", callee_raw="+77272000001", **SPOOFED))
    assert (misspelt.verdict, misspelt.full_verdict) == ("allow", "block"), "the callee gives no right to enforce"
    assert one(decider, setup("c3", switch="", callee_raw="+77272000001", **SPOOFED)).verdict == "block"


def test_a_capped_block_goes_to_the_target_that_the_hardest_rule_names(bundle: Bundle) -> None:
    """A milder rule's own target still serves when a harder rule without one is capped to a diversion."""
    decider = Decider(bundle, policy(), NUMBERING)
    hits: Any = [
        Hit("a", "block", Stage.ENFORCE, 100, "", "", "rule:a", SAYING),
        Hit("b", "divert", Stage.ENFORCE, 100, "", "sip:ivr@desk.example", "rule:b", SAYING),
    ]
    prepared = decider.prepare(setup(switch="sw-kz-10"))
    decision = decider._weigh(prepared, decider._regions["KZ-10"], hits, UNSCORED, False)
    assert (decision.verdict, decision.target) == ("divert", "sip:ivr@desk.example")


def test_a_blocked_call_is_refused_as_the_rule_asks_and_only_when_it_is_blocked(bundle: Bundle) -> None:
    decider = Decider(bundle, policy(), NUMBERING)
    busy = Hit("a", "block", Stage.ENFORCE, 100, "", "", "rule:a", SAYING, code=486)
    plain = Hit("b", "block", Stage.ENFORCE, 100, "", "", "rule:b", SAYING)
    tried = Hit("c", "block", Stage.SHADOW, 100, "", "", "rule:c", SAYING, code=603)

    def refused(place: str, hits: Any) -> tuple[str, int]:
        prepared = decider.prepare(setup(switch=f"sw-{place.lower()}"))
        decision = decider._weigh(prepared, decider._regions[place], hits, UNSCORED, False)
        return decision.verdict, decision.code

    assert refused("KZ-75", [busy, plain]) == ("block", 486)
    assert refused("KZ-75", [plain, tried]) == ("block", 0), "a rule on trial asks for nothing"
    assert refused("KZ-35", [busy]) == ("divert", 0), "the region diverts what would be blocked"


class _Saying:
    def fill(self, language: str, values: Sequence[object]) -> str:
        return f"{language}{len(values)}"


SAYING: Any = _Saying()


@pytest.mark.parametrize(("caller", "protected"), [("103", True), ("sos", False), ("0103", False), ("#103", False)])
def test_a_caller_is_an_emergency_service_only_when_it_says_so_plainly(
    bundle: Bundle, model: Model, caller: str, protected: bool
) -> None:
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    decider = Decider(bundle, policy(), NUMBERING, certain)
    assert one(decider, setup(caller_raw=caller, trunk="nat-1")).protected is protected
    assert not one(decider, setup("c2", caller_raw=caller, trunk="sub-1")).protected


def test_what_the_model_saw_is_in_the_decision_only_where_its_score_asks_for_something(
    bundle: Bundle, teach: Callable[..., Model]
) -> None:
    names = ("hour", "caller_calls_1h", "imsi_cells_24h")
    taught = teach(*names)
    quiet = one(Decider(bundle, policy(), NUMBERING, taught), setup())
    assert quiet.features == ()
    regions = {"KZ-75": region("KZ-75", Ceiling.BLOCK, label_at=0.0, within_certificate=False)}
    watchful = Decider(bundle, policy(regions=regions, default_region="KZ-75"), NUMBERING, taught)
    decisions = watchful.decide([setup(f"c{number}", ts=1.8e9 + number) for number in range(3)])
    assert [one.features for one in decisions] == [(13.0, float(number), None) for number in range(3)]
    row = np.array([[math.nan if value is None else value for value in decisions[2].features]])
    assert taught.predict(row)[0] == decisions[2].score
    stopped_by_rules = one(Decider(bundle, policy(), NUMBERING, taught), setup(**SPOOFED))
    assert stopped_by_rules.reasons
    assert stopped_by_rules.features == ()


def test_decisions_are_explained_by_the_model_that_made_them_and_by_no_other(
    bundle: Bundle, teach: Callable[..., Model]
) -> None:
    taught, other = teach("hour", "caller_calls_1h"), teach("caller_calls_1h", "hour")
    levels = {"label_at": 0.0, "divert_at": 0.9, "block_at": 0.95, "within_certificate": False}
    regions = {"KZ-75": region("KZ-75", Ceiling.BLOCK, language="ru", **levels)}
    within = policy(regions=regions, default_region="KZ-75")
    decisions = Decider(bundle, within, NUMBERING, taught).decide(
        [setup(f"c{number}", ts=1.8e9 + number) for number in range(20)]
    )
    explainer = DecisionExplainer(taught, bundle.windows, within)
    last = explainer.explain(decisions[-1])
    assert last is not None
    assert last.score == decisions[-1].score
    assert last.verdict == decisions[-1].reasons[0].verdict
    for said, start in (
        (explainer.sentences(decisions[-1]), "сколько вызовов этот номер сделал за последний час: 19; обычно не "),
        (explainer.sentences(decisions[-1], "en"), "calls that this number placed in the last hour: 19; usually at"),
    ):
        assert any(sentence.startswith(start) for sentence in said)
    assert DecisionExplainer(other, bundle.windows, within).explain(decisions[-1]) is None
    assert explainer.sentences(msgspec.structs.replace(decisions[-1], features=())) == ()


def test_an_engine_that_is_new_punishes_nobody_by_score(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    decider = Decider(bundle, policy(warm_up_s=3600.0), NUMBERING, certain)
    first = one(decider, setup("a"))
    assert (first.verdict, first.full_verdict) == ("label", "label")
    assert one(decider, setup("b", **SPOOFED)).full_verdict == "block", "rules are not held back"
    assert one(decider, setup("c", ts=1.8e9 + 3599)).verdict == "label"
    assert one(decider, setup("d", ts=1.8e9 + 3600)).verdict == "block"
    # A region joins: its callers are strangers, too.
    joined: dict[str, Any] = {"switch": "sw-kz-35"}
    assert one(decider, setup("d1", ts=1.8e9 + 3600, **joined)).full_verdict == "label"
    assert one(decider, setup("d2", ts=1.8e9 + 7199, **joined)).full_verdict == "label"
    assert one(decider, setup("d3", ts=1.8e9 + 7200, **joined)).full_verdict == "block"
    assert one(decider, setup("d4", ts=1.8e9 + 7200)).verdict == "block"
    decider.fold.save(tmp_path / "snapshot", "1-0")
    restored, _position = Fold.load(tmp_path / "snapshot", bundle.windows)
    again = Decider(bundle, policy(warm_up_s=3600.0), NUMBERING, certain, restored)
    assert one(again, setup("e", ts=1.8e9 + 3601)).verdict == "block", "a restart makes nobody new"
    assert one(again, setup("e1", ts=1.8e9 + 7201, **joined)).full_verdict == "block"
    assert one(again, setup("f", ts=1.8e9 + 100)).verdict == "label"


def test_who_may_have_been_forgotten_is_not_punished_by_score(bundle: Bundle, model: Model) -> None:
    """Memory that is too small for the warm-up makes strangers of old callers: the score asks for a label only."""
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)
    fold = Fold(bundle.windows, limits=Limits(units=20_000, remembered=100))
    decider = Decider(bundle, policy(warm_up_s=3600.0), NUMBERING, certain, fold)
    one(decider, setup("first"))
    assert one(decider, setup("a", ts=1.8e9 + 3600)).verdict == "block"
    many = [
        setup(f"m{at}", ts=1.8e9 + 3600 + at, caller_raw=f"+7701{at:07d}", callee_raw=f"+7702{at:07d}")
        for at in range(1500)
    ]
    decider.decide(many)
    assert fold.stats()["caller.evicted"] > 0
    assert fold.known_since > fold.began
    assert one(decider, setup("b", ts=1.8e9 + 5200)).full_verdict == "label"
    assert one(decider, setup("c", ts=fold.known_since + 3600)).verdict == "block"


@pytest.mark.parametrize("size", [1, 7, 400])
def test_who_is_forgotten_later_in_a_batch_changes_nothing_before(bundle: Bundle, model: Model, size: int) -> None:
    """The same log gives the same decisions, whatever the batches, also while memory runs over."""
    certain: Any = FixedScore(model, 1.0, Stage.ENFORCE)

    def decided(at_once: int) -> list[str]:
        fold = Fold(bundle.windows, limits=Limits(units=20_000, remembered=100), secret=bytes(32))
        decider = Decider(bundle, policy(warm_up_s=600.0), NUMBERING, certain, fold)
        log = [
            setup(f"m{at}", ts=1.8e9 + 3 * min(at, 300 + at / 10), caller_raw=f"+7701{at:07d}") for at in range(2000)
        ]
        found = [one for at in range(0, len(log), at_once) for one in decider.decide(log[at : at + at_once])]
        return [one.full_verdict for one in found]

    whole = decided(2000)
    assert {"label", "block"} == set(whole)
    assert whole.index("block") < len(whole) - whole[::-1].index("label"), "known first, forgotten later"
    assert decided(size) == whole
