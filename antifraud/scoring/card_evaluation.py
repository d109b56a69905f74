"""What a model's card says of an evaluation: permuted names, the cold start, first calls, time to detect.

``summary`` takes from a report what the card shows, as plain values that fit into manifest.toml; ``evaluation_lines``
writes it. None of it changes a score or a verdict, so the model's digest does not cover it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from antifraud.domain import UsageError

FORMAT: Final = "antifraud.evaluation/1"
_MEND: Final = "write one with `antifraud model evaluate MODEL … --json`"
_SPANS: Final = {
    "first_10_minutes": "first 10 minutes",
    "first_hour": "rest of the first hour",
    "first_day": "rest of the first day",
    "later": "later",
}
_RULES, _SCORE, _ENGINE = "rules", "score", "rules_and_score"
_MOST: Final = 64
_LONGEST: Final = 200


def summary(report: object, model: str) -> dict[str, Any]:
    """What the card of ``model`` (its id) shows of ``report``; UsageError when it is none, or another model's."""
    if not isinstance(report, Mapping) or report.get("format") != FORMAT:
        raise UsageError("not the JSON of an evaluation", hint=_MEND)
    if report.get("model") != model:
        raise UsageError(
            f"the evaluation is of {str(report.get('model'))[:_MOST]}, the model is {model}",
            hint="evaluate this model: " + _MEND,
        )
    try:
        return _summary(report)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UsageError(
            f"the evaluation lacks what the card shows, or is damaged: {type(error).__name__} {str(error)[:_MOST]}",
            hint="make it again: " + _MEND,
        ) from None


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    until = report["systems"][_ENGINE]["detection"]
    found: dict[str, Any] = {
        "about": _text(report["about"]),
        "honest_calls": int(report["honest_calls"]),
        "fraud_calls": int(report["fraud_calls"]),
        "campaigns": int(report["campaigns"]),
        "violated": bool(report["violated"]),
        "permutations": [_permuted("nothing", "", report, report["auc"], report["blocked_by_score"])],
        "cold_start": [_span(one) for one in _list(report["cold_start"])],
        "detection": [_until(word, until[f"until_{word}"]) for word in ("diverted", "blocked")],
    }
    found["permutations"] += [
        _permuted(_text(one["what"]), _text(one["how"]), one, one["auc"], one["blocked_by_score"])
        for one in _list(report["permutations"])
    ]
    if report["unseen_callers"] is not None:
        found["first_calls"] = [
            {"by": _text(one["by"]), "fraud_calls": int(one["fraud_calls"]), "honest_calls": int(one["honest_calls"])}
            for one in _list(report["unseen_callers"]["carried_by"])
        ]
        found["first_fraud_calls"] = int(report["unseen_callers"]["fraud_calls"])
    return found


def _permuted(what: str, how: str, report: Mapping[str, Any], area: float, at_block: int) -> dict[str, Any]:
    systems = report["systems"]
    found: dict[str, Any] = {"what": what, "how": how, "auc": float(area), "honest_at_block": int(at_block)}
    for name in (_RULES, _SCORE, _ENGINE):
        stopped = systems[name]["stopped"]
        found[name] = {"recall": float(stopped["recall"]["value"]), "honest_stopped": int(stopped["honest_calls"])}
    if how:
        found["kinds"] = {
            _text(kind["name"]): [int(kind[_ENGINE]["before"]), int(kind[_ENGINE]["now"])]
            for kind in _list(report["fraud_behaviours"])
            if kind[_ENGINE]["before"] != kind[_ENGINE]["now"]
        }
    return found


def _until(word: str, until: Mapping[str, Any]) -> dict[str, Any]:
    known = _known({key: until[key] for key in ("never", "calls_p90", "minutes_p90")})
    return {"first": word, **known, **_known({key: until[key]["value"] for key in ("calls", "minutes")})}


def _span(one: Mapping[str, Any]) -> dict[str, Any]:
    engine = one["systems"][_ENGINE]
    found = {"span": _SPANS[one["span"]], "honest_calls": int(one["honest_calls"])}
    for key, part in (("stopped", engine["stopped"]), ("at_block", one["blocked_by_score"])):
        bounds = {f"{key}_at_least": float(part["at_least"]), f"{key}_at_most": float(part["at_most"])}
        found |= {key: int(part["honest_calls"]), f"{key}_budget": _text(part["state"]), **bounds}
    return found | {"fraud_calls": int(one["fraud_calls"]), "fraud_stopped": int(engine["fraud_stopped"])}


def evaluation_lines(found: Mapping[str, Any] | None) -> list[str]:
    """The section of the card in Markdown; nothing when no evaluation was written into the manifest."""
    if not found:
        return []
    counted = (
        f"{found['about']} {found['honest_calls']:,} honest calls, {found['fraud_calls']:,} fraudulent ones of "
        f"{found['campaigns']:,} campaigns. Stopped is diverted or blocked."
    )
    lines = ["", "## Measured by an evaluation", "", counted, ""]
    lines += [
        "| names permuted | AUC | fraud stopped: rules | score | rules + score | honest stopped | honest at block |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found["permutations"]:
        title = f"{one['what']} {one['how']}".strip()
        recalls = " | ".join(f"{one[name]['recall']:.1%}" for name in (_RULES, _SCORE, _ENGINE))
        lines.append(
            f"| {title} | {one['auc']:.4f} | {recalls} | {one[_ENGINE]['honest_stopped']} | {one['honest_at_block']} |"
        )
    changed = [
        f"- {one['what']} {one['how']}: "
        + ", ".join(f"{kind} {before} to {now}" for kind, (before, now) in sorted(one["kinds"].items()))
        for one in found["permutations"]
        if one.get("kinds")
    ]
    if changed:
        lines += ["", "Fraudulent calls stopped by rules and score, where that changes:", "", *changed]
    head = "| an engine that runs for | honest calls | stopped | budget of divert | at block | budget of block |"
    lines += ["", f"{head} fraud stopped |", "|---|---|---|---|---|---|---|"]
    for one in found["cold_start"]:
        lines.append(
            f"| {one['span']} | {one['honest_calls']:,} | {_bounded(one, 'stopped')} | {one['stopped_budget']} | "
            f"{_bounded(one, 'at_block')} | {one['at_block_budget']} | {one['fraud_stopped']:,} of "
            f"{one['fraud_calls']:,} |"
        )
    if "first_calls" in found:
        lines += [
            "",
            f"First calls of numbers never seen ({found['first_fraud_calls']:,} fraudulent) are stopped by",
            "",
        ]
        lines += ["| ground | fraudulent calls | honest calls |", "|---|---|---|"]
        lines += [f"| {one['by']} | {one['fraud_calls']} | {one['honest_calls']} |" for one in found["first_calls"]]
    lines += ["", "| first call | campaigns never | call, median, 90 % | minutes, median, 90 % |", "|---|---|---|---|"]
    for one in found["detection"]:
        calls, minutes = (f"{_plain(one.get(key))}, {_plain(one.get(f'{key}_p90'))}" for key in ("calls", "minutes"))
        never = f"{one['never']:.0%}" if "never" in one else "–"
        lines.append(f"| {one['first']} | {never} | {calls} | {minutes} |")
    return lines


def _bounded(one: Mapping[str, Any], key: str) -> str:
    return f"{one[key]} ({one[f'{key}_at_least']:.1e}–{one[f'{key}_at_most']:.1e})"


def _plain(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    """TOML has no word for what is not known: it is left out."""
    return {key: float(value) for key, value in values.items() if value is not None}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise ValueError(f"no list of at most {_MOST}")
    return value


def _text(value: Any) -> str:
    """One line without what Markdown would read as a cell's end."""
    if not isinstance(value, str):
        raise TypeError("no text")
    return "".join(letter if letter.isprintable() and letter not in "|<>`" else " " for letter in value[:_LONGEST])
