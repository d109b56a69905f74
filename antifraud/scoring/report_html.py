"""The report of an evaluation as one HTML page that stands alone: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from antifraud.scoring.plots import Axis, Series, bar_cell, plot

Tree = Mapping[str, Any]

_NAMES: Final = {
    "rules": "rules only",
    "score": "score only",
    "rules_and_score": "rules + score",
    "logistic": "logistic regression",
}
_COLOURS: Final = {"rules": "rules", "score": "score", "rules_and_score": "engine", "logistic": "plain"}
_LONGEST: Final = 80
_MOST_ROWS: Final = 200

_STYLE: Final = """
:root { color-scheme: light dark; --page:#fff; --ink:#1c2127; --soft:#5b6570; --line:#dfe3e8; --panel:#f5f7f9;
  --score:#2465c2; --engine:#0d7f5f; --rules:#b65d05; --plain:#7b848f; --good:#0d7f5f; --bad:#b3261e; }
@media (prefers-color-scheme: dark) { :root { --page:#14181d; --ink:#e6e9ed; --soft:#a0a9b4; --line:#2d343c;
  --panel:#1d232a; --score:#79a9f2; --engine:#4cc59d; --rules:#eb9b4a; --plain:#98a2ae; --good:#4cc59d;
  --bad:#ff8a80; } }
@media print { :root { color-scheme: light; --page:#fff; --ink:#000; --soft:#444; --line:#bbb; --panel:#fff;
  --score:#2465c2; --engine:#0d7f5f; --rules:#b65d05; --plain:#7b848f; --good:#0d7f5f; --bad:#b3261e; }
  section, figure, tr { break-inside: avoid; } main { max-width: none; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width:1240px; margin:0 auto; padding:28px 24px 60px; }
h1 { font-size:25px; margin:0 0 4px; } p { margin:6px 0 10px; }
h2 { font-size:18px; break-after:avoid; margin:38px 0 8px; }
.soft, figcaption, .note { color:var(--soft); } .note, figcaption { font-size:13px; max-width:110ch; }
.verdict { border-left:5px solid var(--good); background:var(--panel); padding:10px 14px; margin:16px 0; }
.verdict.bad { border-color:var(--bad); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(230px,1fr)); gap:12px; margin:16px 0; }
.tile { background:var(--panel); border:1px solid var(--line); border-radius:6px; padding:12px 14px; }
.tile b { display:block; font-size:25px; line-height:1.25; } .tile span { color:var(--soft); font-size:13px; }
.wide { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th, td { text-align:right; padding:5px 7px; border-bottom:1px solid var(--line); white-space:nowrap; }
th { font-weight:600; vertical-align:bottom; color:var(--soft); white-space:normal; }
th:first-child, td:first-child { text-align:left; }
td small { color:var(--soft); font-weight:400; font-size:12px; }
tr.main td { font-weight:600; background:var(--panel); } .bad-text { color:var(--bad); font-weight:600; }
.plots { display:grid; grid-template-columns:repeat(auto-fit,minmax(430px,1fr)); gap:20px; }
figure { margin:0; } figure svg { width:100%; height:auto; }
svg text { fill:var(--ink); font-size:12px; } svg .axis { fill:var(--soft); font-size:13px; }
.grid { stroke:var(--line); stroke-width:1; } .mark { stroke:var(--soft); stroke-dasharray:3 4; fill:none; }
.line { fill:none; stroke-width:2.2; stroke-linejoin:round; } .whisker { stroke-width:1.6; }
.point { stroke:var(--page); stroke-width:1.4; } .legend { fill:var(--page); stroke:var(--line); }
.bar { vertical-align:middle; } .track { fill:var(--line); } .range { stroke:var(--ink); stroke-width:1.3; }
li { margin:3px 0; max-width:90ch; }
"""


def report_html(report: Tree) -> str:
    """The page of ``report``, what ``evaluation.evaluate`` gives once it has been written as JSON and read again."""
    body = [
        _head(report),
        _systems(report),
        _curves(report),
        _detection(report),
        _fraud(report),
        _honest(report),
        _cold_start(report),
        _unseen(report),
        _permutations(report),
        _grounds(
            report["grounds"], "What stopped calls", "by the whole engine: the first ground that says the verdict"
        ),
        _regions(report),
        _sources(report),
        _method(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation of {_text(report['model'])}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(part for part in body if part) + "\n</main>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------- sections


def _head(report: Tree) -> str:
    engine = report["systems"]["rules_and_score"]
    stopped, detection = engine["stopped"], engine["detection"]["until_stopped"]
    budget = report["block_budget"]
    if report["violated"]:
        verdict = (
            f'<div class="verdict bad"><b>Outside its certificate.</b> The score alone would block '
            f"{report['blocked_by_score']:,} of {report['honest_calls']:,} honest calls: more than "
            f"{_rate(report['blocked_by_score_at_least'])} of them, with 95 % confidence; "
            f"the budget is {_rate(budget)}.</div>"
        )
    else:
        verdict = (
            f'<div class="verdict"><b>Nothing speaks against its certificate.</b> The score alone would block '
            f"{report['blocked_by_score']:,} of {report['honest_calls']:,} honest calls; "
            f"the budget is {_rate(budget)}.</div>"
        )
    tiles = [
        ("of fraudulent calls stopped", _percent(stopped["recall"]), _between(stopped["recall"], _share)),
        (
            "of them after the first 20 of a campaign",
            _percent(stopped["recall_after_first_20"]),
            _between(stopped["recall_after_first_20"], _share),
        ),
        (
            "of honest calls stopped",
            _rate(stopped["false_rate"]["value"]),
            f"{stopped['honest_calls']:,} calls; at most {_rate(stopped['false_rate']['high'])}",
        ),
        (
            "campaigns noticed",
            f"{detection['campaigns']:,} of {report['campaigns']:,}",
            f"half of all by call {_plain(detection['calls']['value'])}",
        ),
    ]
    shown = "".join(f'<div class="tile"><b>{a}</b>{text}<br><span>{b}</span></div>' for text, a, b in tiles)
    return (
        f"<h1>Evaluation of {_text(report['model'])}</h1>"
        f'<p class="soft">{report["calls"]:,} calls: {report["honest_calls"]:,} honest ones of '
        f"{report['honest_callers']:,} callers, {report['fraud_calls']:,} fraudulent ones of "
        f"{report['campaigns']:,} campaigns, from {_listed([one['source'] for one in report['sources']])}. "
        f"{_text(report['about'])}</p>{verdict}"
        "<p>The whole engine, rules and score together, if all of it were enforced:</p>"
        f'<div class="tiles">{shown}</div>'
    )


def _systems(report: Tree) -> str:
    rows = []
    for name, part in report["systems"].items():
        stopped, blocked = part["stopped"], part["blocked"]
        hindsight = part.get("with_hindsight")
        cells = [
            _NAMES[name],
            _figure(stopped["recall"]),
            _figure(stopped["recall_after_first_20"]),
            _counted_rate(stopped),
            _figure(blocked["recall"]),
            _counted_rate(blocked),
            _share(stopped["precision"]),
            _figure(hindsight["recall"]) if hindsight else "",
            f"{part['talk']['minutes_saved']:,.0f}<br><small>{_share(part['talk']['share_saved']['value'])}</small>",
        ]
        if part["talk"]["money_saved"] is not None:
            cells.append(f"{part['talk']['money_saved']:,.0f}")
        rows.append((cells, name == "rules_and_score"))
    money = ["money saved"] if report["systems"]["rules"]["talk"]["money_saved"] is not None else []
    head = [
        "", "fraud stopped", "… after a campaign's first 20", "honest stopped", "fraud blocked", "honest blocked",
        "precision of stops", "fraud stopped with hindsight", "fraud minutes saved",
        *money,
    ]  # fmt: skip
    return _section(
        "Rules, score, and both",
        _table(head, rows),
        "Stopped is diverted or blocked. Small figures are 95 % intervals; for honest calls, how many were hit and the "
        "upper end. With hindsight: at the threshold that stops one in 10,000 of these very honest calls, which nobody "
        "knows "
        "beforehand; what "
        "rules stop counts first. Precision depends on how much fraud there is here.",
    )


def _curves(report: Tree) -> str:
    curves, systems = report["curves"], report["systems"]
    least = 10.0 ** math.floor(math.log10(1.0 / max(10, report["honest_calls"])))
    x_roc = Axis("share of honest calls hit (log scale)", least, 1.0, _decades(least), "log")
    share = Axis("share of fraudulent calls found", 0.0, 1.0, _fifths())
    points = [
        Series(
            _NAMES[name],
            _COLOURS[name],
            [systems[name]["stopped"]["false_rate"]["value"]],
            [systems[name]["stopped"]["recall"]["value"]],
            line=False,
            shape=shape,
        )
        for name, shape in (("rules", "square"), ("rules_and_score", "diamond"))
    ]
    lines = [
        Series(_NAMES[name], _COLOURS[name], curves[name]["roc"]["false_rate"], curves[name]["roc"]["recall"],
               dashed=name == "logistic")
        for name in curves
    ]  # fmt: skip
    roc = plot(
        x_roc, share, [*lines, *points], title="Recall against the share of honest calls hit", mark_x=1e-4,
        mark_text="1 in 10,000",
    )  # fmt: skip
    precise = [
        Series(
            one.name,
            one.colour,
            [systems[name]["stopped"]["recall"]["value"]],
            [systems[name]["stopped"]["precision"]],
            line=False,
            shape=one.shape,
        )
        for one, name in zip(points, ("rules", "rules_and_score"), strict=True)
        if systems[name]["stopped"]["precision"] is not None
    ]
    pr_lines = [
        Series(_NAMES[name], _COLOURS[name], curves[name]["pr"]["recall"], curves[name]["pr"]["precision"],
               dashed=name == "logistic")
        for name in curves
    ]  # fmt: skip
    pr = plot(
        share, Axis("share of fraud among calls hit", 0.0, 1.0, _fifths()), [*pr_lines, *precise],
        title="Precision against recall", legend="bottom left",
    )  # fmt: skip
    bins = report["calibration"]
    ticks = tuple((value, f"{value:g}") for value in (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999))
    said = Axis("what the score says", 0.00005, 0.9998, ticks, "logit")
    seen = Axis("share that was fraud", 0.00005, 0.9998, ticks, "logit")
    calibrated = plot(
        said,
        seen,
        [
            Series(
                "",
                "score",
                [one["said"] for one in bins],
                [one["share"]["value"] for one in bins],
                line=False,
                whiskers=[(one["share"]["low"], one["share"]["high"]) for one in bins],
            )
        ],
        title="Calibration: what the score says against what was true",
        diagonal=True,
    )
    return (
        '<section><h2>Curves</h2><div class="plots">'
        f"<figure>{roc}<figcaption>AUC {report['auc']:.4f}{_compared(report['logistic_auc'])}. Points are the "
        "verdicts as they would be given; one that hits no honest call stands on the left edge.</figcaption></figure>"
        f"<figure>{pr}<figcaption>Average precision {report['average_precision']:.4f}"
        f"{_compared(report['logistic_average_precision'])}; {_share(report['fraud_calls'] / report['calls'])} of "
        "these calls are fraud, and precision falls where there is less.</figcaption></figure>"
        f"<figure>{calibrated}<figcaption>Calibration on logit scales: points on the diagonal mean that a score of 0.9 "
        "is fraud nine times in ten. Whiskers are exact binomial 95 % intervals.</figcaption></figure></div></section>"
    )


def _detection(report: Tree) -> str:
    rows = []
    for name, part in report["systems"].items():
        detection = part["detection"]
        for word in ("stopped", "diverted", "blocked"):
            until = detection[f"until_{word}"]
            by_call = {one["call"]: one["share"] for one in until["by_call"]}
            by_minute = {one["minute"]: one["share"] for one in until["by_minute"]}
            cells = [
                f"{_NAMES[name]}: {word}",
                f"{until['campaigns']:,} of {detection['campaigns']:,}",
                _share(until["never"]),
                f"{_plain(until['calls']['value'])}<br><small>{_span(until['calls'])}</small>",
                _plain(until["calls_p90"]),
                f"{_plain(until['minutes']['value'])}<br><small>{_span(until['minutes'])}</small>",
                _plain(until["minutes_p90"]),
                *(_share(by_call[at]) for at in (1, 5, 20, 100)),
                *(_share(by_minute[at]) for at in (5, 60, 240)),
            ]
            rows.append((cells, name == "rules_and_score" and word == "stopped"))
    head = [
        "first call that is", "campaigns", "never", "call number, median", "90 % by call", "minutes, median",
        "90 % by minute", "by the 1st call", "5th", "20th", "100th", "within 5 minutes", "an hour", "4 hours",
    ]  # fmt: skip
    kinds = []
    for one in report["detection_by_behaviour"]:
        cells = [_text(one["name"]), f"{one['campaigns']:,}"]
        for word in ("stopped", "diverted", "blocked"):
            until = one[f"until_{word}"]
            cells += [_share(until["never"]), _plain(until["calls"]), _plain(until["minutes"])]
        kinds.append((cells, False))
    kinds_head = ["fraud, by rules + score", "campaigns"]
    for word in ("stopped", "diverted", "blocked"):
        kinds_head += [f"never {word}", "call, median", "minutes, median"]
    note = (
        "Which call of a campaign is the first to be diverted, blocked, or stopped (either), and how long after its "
        "first call. Campaigns that never are count as never: a median of never means that more than half are not."
    )
    return _section("Time to detect a campaign", _table(head, rows) + _table(kinds_head, kinds), note)


def _fraud(report: Tree) -> str:
    rows = []
    for one in report["fraud_behaviours"]:
        cells = [_text(one["name"]), f"{one['calls']:,}", f"{one['campaigns']:,}"]
        for name in ("rules", "score", "rules_and_score"):
            share = one[name]["stopped"]["share"]
            bar = bar_cell(share["value"], share["low"], share["high"], _COLOURS[name])
            cells += [f"{_percent(share)}<br><small>{_between(share, _share)}</small>", bar]
        cells.append(_percent(one["logistic"]["stopped"]["share"]) if "logistic" in one else "")
        rows.append((cells, False))
    head = ["fraud", "calls", "campaigns", "rules only", "", "score only", "", "rules + score", "", "logistic"]
    return _section("Stopped, by kind of fraud", _table(head, rows), "")


def _honest(report: Tree) -> str:
    rows = []
    for one in sorted(report["honest_behaviours"], key=lambda part: -part["rules_and_score"]["stopped"]["calls"]):
        cells = [_text(one["name"]), f"{one['calls']:,}", f"{one['callers']:,}"]
        cells += [
            _hits(one[name]["stopped"]) if name in one else ""
            for name in ("rules", "score", "rules_and_score", "logistic")
        ]
        cells.append(_hits(one["rules_and_score"]["blocked"]))
        rows.append((cells, False))
    head = [
        "honest caller", "calls", "callers", "rules only", "score only", "rules + score", "logistic",
        "rules + score: blocked",
    ]  # fmt: skip
    note = (
        "Calls that would be stopped, and the upper end of the 95 % interval of their share. A class with few callers "
        "says little, however many calls they made."
    )
    return _section("Honest callers who would be stopped", _table(head, rows), note)


_SPANS: Final = {
    "first_10_minutes": "first 10 minutes",
    "first_hour": "rest of the first hour",
    "first_day": "rest of the first day",
    "later": "later",
}
_STATES: Final = {"shown": "shown to be kept", "open": "open", "violated": '<span class="bad-text">violated</span>'}


def _cold_start(report: Tree) -> str:
    rows, causes = [], []
    for one in report["cold_start"]:
        engine = one["systems"]["rules_and_score"]
        cells = [_SPANS[one["span"]], f"{one['honest_calls']:,}"]
        for part in (engine["stopped"], engine["blocked"], one["blocked_by_score"]):
            cells += [_bounded(part), _STATES[part["state"]]]
        rows.append(([*cells, f"{one['fraud_calls']:,}", _figure(engine["recall"])], False))
        if engine["stopped"]["honest_calls"]:
            keys = ("honest_stopped_by", "honest_stopped_behaviours", "leading")
            causes.append(([_SPANS[one["span"]], *(_causes(one[key]) for key in keys)], False))
    head = [
        "the engine runs for", "honest calls", "stopped", "budget of divert", "blocked", "budget of block",
        "score at block", "budget of block", "fraudulent calls", "stopped",
    ]  # fmt: skip
    note = (
        "Each source begins with an engine that has seen nobody. Below each count its share with exact 95 % bounds: a "
        "budget is shown to be kept when even the upper one is within it, violated when even the lower one is above "
        "it, and open in between: too few calls to tell. Led by: the feature that raises the score most, of honest "
        "calls that the score alone stops."
    )
    why = _table(["honest calls stopped", "by", "who they are", "led by"], causes) if causes else ""
    return _section("Cold start", _table(head, rows) + why, note)


def _causes(parts: Sequence[Tree]) -> str:
    return ", ".join(f"{_text(one['name'])} {one['calls']:,}" for one in parts)


def _permutations(report: Tree) -> str:
    if not report["permutations"]:
        return ""
    systems = report["systems"]
    rows = [([*_permuted_cells("nothing", report["auc"], systems), f"{report['blocked_by_score']:,}"], True)]
    for one in report["permutations"]:
        engine = one["systems"]["rules_and_score"]
        changed = f"−{engine['lost']:,} +{engine['gained']:,}"
        title = f"{_text(one['what'])}, {_text(one['how'])}<br><small>{changed}</small>"
        at_block = f"{one['blocked_by_score']:,}"
        at_block = f'<span class="bad-text">{at_block}, violated</span>' if one["violated"] else at_block
        rows.append(([*_permuted_cells(title, one["auc"], one["systems"]), at_block], False))
    head = [
        "permuted", "AUC", "fraud stopped: rules", "score", "rules + score", "honest stopped: rules", "score",
        "rules + score", "honest blocked", "honest at block by the score",
    ]  # fmt: skip
    kinds = []
    for at, kind in enumerate(report["permutations"][0]["fraud_behaviours"]):
        parts = [one["fraud_behaviours"][at]["rules_and_score"] for one in report["permutations"]]
        shown = [f"{part['now']:,}" if part["now"] != part["before"] else "=" for part in parts]
        kinds.append(([_text(kind["name"]), f"{kind['calls']:,}", f"{parts[0]['before']:,}", *shown], False))
    titles = (f"{_text(one['what'])}, {_text(one['how'])}" for one in report["permutations"])
    note = (
        "Renamed: each name becomes another one, the same wherever it stands; what knows a name by heart is lost. "
        "Shuffled: each call takes the name of another call (each caller another number); what goes by who shares a "
        "name is lost too. Which calls have a name, the class of a trunk, and what the dial plan says of a number "
        "stay. Small figures: fraudulent calls that rules and score stop no more, and those that they stop only now. "
        "Below: fraudulent calls stopped by rules and score, by kind; = is as before."
    )
    return _section(
        "Names permuted",
        _table(head, rows) + _table(["fraud", "calls", "as they are", *titles], kinds),
        note,
    )


def _permuted_cells(title: str, area: float, systems: Tree) -> list[str]:
    names = ("rules", "score", "rules_and_score")
    return [
        title,
        f"{area:.4f}",
        *(_percent(systems[name]["stopped"]["recall"]) for name in names),
        *(f"{systems[name]['stopped']['honest_calls']:,}" for name in names),
        f"{systems['rules_and_score']['blocked']['honest_calls']:,}",
    ]


def _unseen(report: Tree) -> str:
    unseen = report["unseen_callers"]
    if unseen is None:
        return ""
    rows = [
        (
            [
                _NAMES[name],
                _figure(part["recall"]),
                f"{part['honest_calls']:,} <small>≤ {_rate(part['false_rate']['high'])}</small>",
            ],
            name == "rules_and_score",
        )
        for name, part in unseen["systems"].items()
    ]
    first = _table(["", "fraud stopped", "honest stopped"], rows)
    kinds = [
        ([_text(one["name"]), *(f"{one[key]:,}" for key in ("calls", "rules", "score", "rules_and_score"))], False)
        for one in unseen["fraud_behaviours"]
    ]
    second = _table(["fraud", "first calls", "rules only", "score only", "rules + score"], kinds)
    carried = [
        (
            [
                _text(one["by"]),
                *(f"{one[key]:,}" for key in ("fraud_calls", "honest_calls", "also_rules_alone", "also_score_alone")),
            ],
            False,
        )
        for one in unseen["carried_by"]
    ]
    third = _table(
        ["stopped by", "fraudulent calls", "honest calls", "rules alone stop as well", "score alone stops as well"],
        carried,
    )
    keys = ("stopped", "blocked", "honest_stopped", "swapped_stopped", "swapped_blocked", "swapped_honest_stopped")
    missing = [
        ([_text(one["missing"]) or "all as they are", *(f"{one[key]:,}" for key in keys)], not one["missing"])
        for one in sorted(unseen["ablation"], key=lambda one: (one["missing"] != "", one["swapped_stopped"]))
    ]
    fourth = _table(
        [
            "features", "missing: fraud at divert", "at block", "honest at divert",
            "of an honest call: fraud at divert", "at block", "of another call: honest at divert",
        ],
        missing,
    )  # fmt: skip
    return (
        "<section><h2>First calls of numbers never seen</h2>"
        f"<p>{unseen['fraud_calls']:,} fraudulent and {unseen['honest_calls']:,} honest calls; AUC of the score on "
        f"them {unseen['auc']:.4f}.</p>"
        f'<div class="plots"><div>{first}</div><div>{second}</div></div>'
        f"<p>What stops them in the whole engine: the rule that says the verdict, or what raises the score most:</p>"
        f"{third}<p>What the score needs: the same calls without what a group of features says:</p>{fourth}"
        '<p class="note">Missing: the group is not known. Of an honest call: it is taken from some honest first call; '
        "a missing value may say something of its own, so this is the fairer of the two where they differ. Travellers, "
        "whom no score stops, are left out. The first minutes of each source are in here too: there everybody is new."
        "</p></section>"
    )


def _grounds(grounds: Sequence[Tree], title: str, note: str) -> str:
    rows = [([_text(one["by"]), f"{one['fraud_calls']:,}", f"{one['honest_calls']:,}"], False) for one in grounds]
    table = _table(["ground", "fraudulent calls stopped", "honest calls stopped"], rows)
    return _section(title, table, note) if title else table


def _regions(report: Tree) -> str:
    rows = []
    for one in report["regions"][:_MOST_ROWS]:
        bad, good = one["fraud"], one["honest"]
        share = bad["rules_and_score"]["stopped"]["share"] if bad else None
        rows.append(
            (
                [
                    _text(one["region"]),
                    f"{bad['calls']:,}" if bad else "0",
                    _figure(bad["score"]["stopped"]["share"]) if bad else "",
                    _figure(share) if share else "",
                    bar_cell(share["value"], share["low"], share["high"], "engine") if share else "",
                    f"{good['calls']:,}" if good else "0",
                    _hits(good["score"]["stopped"]) if good else "",
                    _hits(good["rules_and_score"]["stopped"]) if good else "",
                ],
                False,
            )
        )
    head = [
        "region", "fraudulent calls", "stopped by score", "by rules + score", "", "honest calls",
        "stopped by score", "by rules + score",
    ]  # fmt: skip
    return _section("By region", _table(head, rows), "")


def _sources(report: Tree) -> str:
    rows = []
    for one in report["sources"][:_MOST_ROWS]:
        violated = '<span class="bad-text">violated</span>' if one["violated"] else "holds"
        rows.append(
            (
                [
                    _text(one["source"]),
                    f"{one['fraud_calls']:,}",
                    _share(one["recall"]),
                    f"{one['honest_calls']:,}",
                    f"{one['honest_stopped']:,}",
                    f"{one['honest_blocked']:,}",
                    f"{one['honest_blocked_by_score']:,}",
                    violated,
                ],
                False,
            )
        )
    head = [
        "source", "fraudulent calls", "stopped", "honest calls", "stopped", "blocked", "blocked by score",
        "certificate of block",
    ]  # fmt: skip
    note = (
        "Each source begins with an engine that knows nobody. The certificate is violated where more honest calls are "
        "blocked by the score than the budget allows, with 95 % confidence."
    )
    return _section("By source", _table(head, rows), note)


_METHOD: Final = """
<li>Rules only, score only, and both are three engines beside each other, each with windows of its own: what one stops
is fed back into its own windows only. Verdicts are those of full enforcement, without ceilings.</li>
<li>Nobody reacts: a caller who is stopped goes on as before, and an answered call talks as long as it did. Minutes
saved are the talk time of stopped fraudulent calls, on the assumption that none of it would have happened and that
nobody would have tried again from another number.</li>
<li>Intervals: 95 %, from {rounds} draws of whole campaigns and whole honest callers with replacement (seed {seed});
callers of one block of a hundred numbers are one. Upper ends for honest calls are never below the exact binomial
bound.</li>
<li>The logistic regression sees the features of the model, squeezed and standardised, with a flag for missing. It is
fitted on half of these sources (with one source, on half of its campaigns and callers) and judged on the other, with
the budgets of the model. It learns on traffic like this, which favours it.</li>
"""


def _method(report: Tree) -> str:
    said = _METHOD.format(rounds=report["intervals"]["rounds"], seed=report["intervals"]["seed"])
    return f"<section><h2>How this was measured</h2><ul>{said}</ul></section>"


# ---------------------------------------------------------------------- building blocks


def _section(title: str, content: str, note: str) -> str:
    said = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{content}{said}</section>"


def _table(head: Sequence[str], rows: Sequence[tuple[Sequence[str], bool]]) -> str:
    if not rows:
        return '<p class="soft">None.</p>'
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        f"<tr{' class=main' if main else ''}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for cells, main in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in value[:_LONGEST])
    return html.escape(shown)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_text(name) for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    return "100 %" if value == 1 else f"{value * 100:.1f} %"


def _compared(value: float | None) -> str:
    return "" if value is None else f", logistic regression {value:.4f}"


def _percent(estimate: Tree) -> str:
    return _share(estimate["value"])


def _rate(value: float | None) -> str:
    """A small share, as a number in ten thousand."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value * 1e4:.2g} in 10,000" if value < 0.01 else f"{value * 100:.2g} %"


def _between(estimate: Tree, form: Any) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{form(estimate['low'])} to {form(estimate['high'])}"


def _figure(estimate: Tree) -> str:
    return f"{_share(estimate['value'])}<br><small>{_between(estimate, _share)}</small>"


def _counted_rate(part: Tree) -> str:
    return (
        f"{_rate(part['false_rate']['value'])}<br><small>{part['honest_calls']:,} calls, "
        f"≤ {_rate(part['false_rate']['high'])}</small>"
    )


def _bounded(part: Tree) -> str:
    if part["share"] is None:
        return "–"
    share, low, high = (_ten_thousandths(part[key]) for key in ("share", "at_least", "at_most"))
    return f"{part['honest_calls']:,}<br><small>{share}: {low}–{high} in 10,000</small>"


def _ten_thousandths(value: float) -> str:
    return f"{value * 1e4:,.0f}" if value >= 1e-3 else f"{value * 1e4:.2g}"


def _hits(part: Tree) -> str:
    return f"{part['calls']:,} <small>≤ {_rate(part['share']['high'])}</small>"


def _plain(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _span(estimate: Tree) -> str:
    return f"{_plain(estimate['low'])} to {_plain(estimate['high'])}"


def _decades(least: float) -> tuple[tuple[float, str], ...]:
    powers = range(round(math.log10(least)), 1)
    texts = {0: "100 %", -1: "10 %", -2: "1 %"}
    return tuple((10.0**power, texts.get(power, f"1:{10**-power:,}")) for power in powers)


def _fifths() -> tuple[tuple[float, str], ...]:
    return tuple((step / 5, f"{step * 20} %") for step in range(6))
