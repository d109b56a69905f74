"""The tables of docs/explanation/accuracy.md in Markdown, from the reports that scripts/accuracy has made.

Each table stands under the name of its run. A run that is missing is said to be missing; nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Tree = Mapping[str, Any]

SYSTEMS = (
    ("rules", "rules only"),
    ("score", "score only"),
    ("rules_and_score", "**rules + score**"),
    ("logistic", "logistic regression"),
)
SPANS = {
    "first_10_minutes": "first 10 minutes",
    "first_hour": "rest of the first hour",
    "first_day": "rest of the first day",
    "later": "later",
}
HOW = {"renamed": "renamed", "shuffled": "shuffled over calls"}
HELDOUT = ("heldout-routes", "heldout-sims", "heldout-nights")


def page(reports: Mapping[str, Tree], commands: Mapping[str, str]) -> str:
    """All tables, each after the command that made its figures."""
    parts: list[str] = []
    for name, title, tables in (
        ("national", "The model and the shipped rules", (_counted, _systems, _kinds, _honest)),
        ("national", "Time to detect", (_detection, _detection_kinds)),
        ("national", "First calls of numbers never seen", (_unseen, _carried_by, _ablation)),
        ("cold-start", "Cold start: the first hour", (_counted, _cold_start)),
        ("three-days", "Cold start: three days", (_counted, _cold_start)),
        ("permuted", "Names permuted", (_counted, _permuted, _permuted_kinds)),
        ("certificate", "The certificate on fresh seeds", (_certificate,)),
    ):
        parts += [f"## {title}", "", f"    {commands.get(name, name)}", ""]
        report = reports.get(name)
        if report is None:
            parts += [f"`{name}` has not been made.", ""]
            continue
        for table in tables:
            parts += [*table(report), ""]
    parts += ["## Scenarios that the model never saw", "", *_heldout(reports), ""]
    return "\n".join(parts)


def _counted(report: Tree) -> list[str]:
    said = (
        f"{report['model']}: {report['honest_calls']:,} honest calls of {report['honest_callers']:,} callers, "
        f"{report['fraud_calls']:,} fraudulent calls of {report['campaigns']:,} campaigns; AUC {report['auc']:.4f}, "
        f"average precision {report['average_precision']:.3f}; {report['blocked_by_score']} honest calls at block by "
        f"the score{', certificate VIOLATED' if report['violated'] else ''}."
    )
    return [said]


def _systems(report: Tree) -> list[str]:
    head = [
        "", "fraud stopped", "… after a campaign's first 20", "honest calls stopped", "fraud blocked",
        "honest calls blocked",
    ]  # fmt: skip
    rows = []
    for name, shown in SYSTEMS:
        part = report["systems"].get(name)
        if part:
            stopped, blocked = part["stopped"], part["blocked"]
            rows.append(
                [
                    shown, _figure(stopped["recall"]), _figure(stopped["recall_after_first_20"]), _false(stopped),
                    _percent(blocked["recall"]["value"]), str(blocked["honest_calls"]),
                ]
            )  # fmt: skip
    talk = report["systems"]["rules_and_score"]["talk"]
    saved = (
        f"Talk: {talk['minutes_saved']:,.0f} of {talk['fraud_minutes']:,.0f} minutes of fraudulent talk "
        f"({_percent(talk['share_saved']['value'])}) belong to stopped calls. With hindsight at 1 in 10,000: "
        f"{_percent(report['systems']['rules_and_score']['with_hindsight']['recall']['value'])}."
    )
    return [*_table(head, rows), "", saved]


def _kinds(report: Tree) -> list[str]:
    head = ["fraud", "calls", "campaigns", "rules only", "score only", "rules + score"]
    rows = [
        [
            one["name"], f"{one['calls']:,}", f"{one['campaigns']:,}",
            _percent(one["rules"]["stopped"]["share"]["value"], 0),
            _percent(one["score"]["stopped"]["share"]["value"], 0),
            _figure(one["rules_and_score"]["stopped"]["share"], 0),
        ]
        for one in report["fraud_behaviours"]
    ]  # fmt: skip
    return _table(head, rows)


def _honest(report: Tree) -> list[str]:
    hit = [(one["rules_and_score"]["stopped"]["calls"], one["name"]) for one in report["honest_behaviours"]]
    said = ", ".join(f"{count} of `{name}`" for count, name in sorted(hit, key=lambda one: (-one[0], one[1])) if count)
    return [f"Honest calls stopped: {said or 'none'}."]


def _detection(report: Tree) -> list[str]:
    head = [
        "first …", "campaigns", "never", "call, median", "call, 90 %", "minutes, median", "minutes, 90 %",
        "by the 5th call", "within 15 minutes",
    ]  # fmt: skip
    rows = []
    for name, shown in SYSTEMS[:3]:
        detection = report["systems"][name]["detection"]
        for word in ("diverted", "blocked", "stopped"):
            until = detection[f"until_{word}"]
            by_call = {one["call"]: one["share"] for one in until["by_call"]}
            by_minute = {one["minute"]: one["share"] for one in until["by_minute"]}
            rows.append(
                [
                    f"{shown}: {word}", f"{until['campaigns']} of {detection['campaigns']}",
                    _percent(until["never"], 0), _plain(until["calls"]["value"]), _plain(until["calls_p90"]),
                    _plain(until["minutes"]["value"]), _plain(until["minutes_p90"]), _percent(by_call[5], 0),
                    _percent(by_minute[15], 0),
                ]
            )  # fmt: skip
    return _table(head, rows)


def _detection_kinds(report: Tree) -> list[str]:
    head = [
        "fraud, by rules + score", "campaigns", "never stopped", "call, median", "minutes, median", "never blocked",
        "call, median", "minutes, median",
    ]  # fmt: skip
    rows = []
    for one in report["detection_by_behaviour"]:
        cells = [one["name"], str(one["campaigns"])]
        for word in ("stopped", "blocked"):
            until = one[f"until_{word}"]
            cells += [_percent(until["never"], 0), _plain(until["calls"]), _plain(until["minutes"])]
        rows.append(cells)
    return _table(head, rows)


def _unseen(report: Tree) -> list[str]:
    unseen = report["unseen_callers"]
    if unseen is None:
        return ["No window says whether a number was seen."]
    head = ["", "fraud stopped", "honest calls stopped"]
    rows = [
        [shown, _figure(unseen["systems"][name]["recall"]), _false(unseen["systems"][name])]
        for name, shown in SYSTEMS
        if name in unseen["systems"]
    ]
    kinds = [
        [one["name"], str(one["calls"]), str(one["rules"]), str(one["score"]), str(one["rules_and_score"])]
        for one in unseen["fraud_behaviours"]
    ]
    return [
        f"{unseen['fraud_calls']:,} fraudulent and {unseen['honest_calls']:,} honest calls.",
        "",
        *_table(head, rows),
        "",
        *_table(["fraud", "first calls", "rules only", "score only", "rules + score"], kinds),
    ]


def _carried_by(report: Tree) -> list[str]:
    unseen = report["unseen_callers"]
    if unseen is None:
        return []
    head = ["stopped by", "fraudulent calls", "honest calls", "rules alone stop as well", "score alone stops as well"]
    rows = [
        [
            one["by"], str(one["fraud_calls"]), str(one["honest_calls"]), str(one["also_rules_alone"]),
            str(one["also_score_alone"]),
        ]
        for one in unseen["carried_by"]
    ]  # fmt: skip
    return _table(head, rows)


def _ablation(report: Tree) -> list[str]:
    unseen = report["unseen_callers"]
    if unseen is None:
        return []
    head = [
        "features", "fraud stopped, missing", "honest stopped, missing", "fraud stopped, of honest calls",
        "honest stopped, of other calls",
    ]  # fmt: skip
    if not unseen["ablation"]:
        return []
    rows = [
        [
            one["missing"] or "all as they are",
            str(one["stopped"]),
            str(one["honest_stopped"]),
            str(one["swapped_stopped"]),
            str(one["swapped_honest_stopped"]),
        ]
        for one in sorted(unseen["ablation"], key=lambda one: (one["missing"] != "", one["swapped_stopped"]))
    ]
    first = unseen["ablation"][0]
    return [f"By the score, of {first['of']:,} fraudulent and {first['of_honest']:,} honest calls:", "",
            *_table(head, rows)]  # fmt: skip


def _cold_start(report: Tree) -> list[str]:
    head = [
        "an engine that runs for", "honest calls", "stopped", "budget of divert", "blocked", "by the score at block",
        "budget of block", "fraudulent calls", "fraud stopped",
    ]  # fmt: skip
    rows = []
    for one in report["cold_start"]:
        engine = one["systems"]["rules_and_score"]
        rows.append(
            [
                SPANS[one["span"]], f"{one['honest_calls']:,}", _bounded(engine["stopped"]),
                engine["stopped"]["state"], _bounded(engine["blocked"]), _bounded(one["blocked_by_score"]),
                one["blocked_by_score"]["state"], f"{one['fraud_calls']:,}", _figure(engine["recall"]),
            ]
        )  # fmt: skip
    causes = [
        f"- {SPANS[one['span']]}: by {_named(one['honest_stopped_by'])}; callers "
        f"{_named(one['honest_stopped_behaviours'])}; the score led by {_named(one['leading'])}"
        for one in report["cold_start"]
        if one["honest_stopped_by"]
    ]
    return [*_table(head, rows), "", *causes]


def _permuted(report: Tree) -> list[str]:
    head = [
        "permuted", "AUC", "fraud stopped: rules", "score", "rules + score", "lost, gained", "honest stopped",
        "honest blocked", "at block by the score",
    ]  # fmt: skip
    systems = report["systems"]
    rows = [
        ["nothing", f"{report['auc']:.4f}", *_recalls(systems), "", *_hit(systems), str(report["blocked_by_score"])]
    ]
    for one in report["permutations"]:
        engine = one["systems"]["rules_and_score"]
        rows.append(
            [
                f"{one['what']}, {HOW[one['how']]}", f"{one['auc']:.4f}", *_recalls(one["systems"]),
                f"−{engine['lost']} +{engine['gained']}", *_hit(one["systems"]),
                f"{one['blocked_by_score']}{', violated' if one['violated'] else ''}",
            ]
        )  # fmt: skip
    return _table(head, rows)


def _permuted_kinds(report: Tree) -> list[str]:
    """Of rules and score together, by kind of fraud: calls stopped as they are and in each permuted run."""
    shown = [one for one in report["permutations"] if one["systems"]["rules_and_score"]["lost"] > 0]
    if not shown:
        return ["No permutation lets through a fraudulent call that was stopped before."]
    head = ["fraud", "calls", "as they are", *(f"{one['what']}, {one['how']}" for one in shown)]
    rows = []
    for at, kind in enumerate(shown[0]["fraud_behaviours"]):
        parts = [one["fraud_behaviours"][at]["rules_and_score"] for one in shown]
        rows.append([kind["name"], str(kind["calls"]), str(parts[0]["before"]), *(str(one["now"]) for one in parts)])
    return _table(head, rows)


def _certificate(found: Tree) -> list[str]:
    head = ["scenario", "verdict", "honest calls", "at the threshold", "budget", "seeds violated", "chance allows", ""]
    rows = []
    for one in found["scenarios"]:
        for name, level in one["levels"].items():
            rows.append(
                [
                    one["scenario"], name, f"{one['honest_calls']:,}",
                    _bounded(level),
                    f"{level['budget'] * 1e4:g} in 10,000", f"{level['violations']} of {one['seeds']}",
                    str(level["allowed"]), "holds" if level["held"] else "**violated**",
                ]
            )  # fmt: skip
    return _table(head, rows)


def _heldout(reports: Mapping[str, Tree]) -> list[str]:
    head = [
        "scenario", "fraudulent calls, campaigns", "fraud stopped", "… after the first 20", "honest calls stopped",
        "honest calls blocked", "at block by the score",
    ]  # fmt: skip
    rows = []
    for name in HELDOUT:
        report = reports.get(name)
        if report is None:
            rows.append([name, "not made", "", "", "", "", ""])
            continue
        engine = report["systems"]["rules_and_score"]
        rows.append(
            [
                name, f"{report['fraud_calls']:,} of {report['campaigns']}", _figure(engine["stopped"]["recall"]),
                _figure(engine["stopped"]["recall_after_first_20"]), _false(engine["stopped"]),
                str(engine["blocked"]["honest_calls"]),
                f"{report['blocked_by_score']}{', violated' if report['violated'] else ''}",
            ]
        )  # fmt: skip
    return _table(head, rows)


def _recalls(systems: Tree) -> list[str]:
    return [_percent(systems[name]["stopped"]["recall"]["value"]) for name, _shown in SYSTEMS[:3]]


def _hit(systems: Tree) -> list[str]:
    engine = systems["rules_and_score"]
    return [str(engine["stopped"]["honest_calls"]), str(engine["blocked"]["honest_calls"])]


def _bounded(part: Tree) -> str:
    if part["share"] is None:
        return "–"
    return (
        f"{part['honest_calls']}: {part['share'] * 1e4:.2f} in 10,000 "
        f"({part['at_least'] * 1e4:.2f}–{part['at_most'] * 1e4:.2f})"
    )


def _false(part: Tree) -> str:
    rate = part["false_rate"]
    if rate["value"] is None:
        return "–"
    return f"{part['honest_calls']}: {rate['value'] * 1e4:.2f} in 10,000 (at most {rate['high'] * 1e4:.2f})"


def _named(parts: Sequence[Tree]) -> str:
    return ", ".join(f"{one['calls']} `{one['name']}`" for one in parts) or "–"


def _figure(estimate: Tree, places: int = 1) -> str:
    if estimate["value"] is None:
        return "–"
    low, high = (f"{(estimate[end] or 0) * 100:.{places}f}" for end in ("low", "high"))
    return f"{_percent(estimate['value'], places)} ({low}–{high})"


def _percent(value: float | None, places: int = 1) -> str:
    return "–" if value is None else f"{value * 100:.{places}f} %"


def _plain(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]
