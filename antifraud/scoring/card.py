"""card.md: what a person should know about a model before it decides about calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from antifraud.scoring.card_evaluation import evaluation_lines
from antifraud.scoring.certificate import ClassCertificate
from antifraud.scoring.classes import CLASSES
from antifraud.scoring.manifest import NUMBERS, Manifest

_SYNTHETIC: Final = (
    "**Trained on synthetic calls only.** The figures say how the model does on traffic that `antifraud simulate` "
    "makes, not on a real network. Whatever its stage, keep the ceiling of your regions at shadow on your own "
    "traffic, compare, and train it again on your own labels before it blocks anybody."
)
_REPORTED: Final = (
    "**Labelled by reports.** Fraud is what subscribers, the desk or analysts had reported by the end of the training "
    "time; every other call that was old enough counts as honest. Fraud that nobody reported stands among the honest "
    "calls: fewer honest calls are hit than the figures say, and what nobody reports is not learnt. Compare it in "
    "shadow before it blocks anybody."
)
_BOUND: Final = (
    "Exact binomial bound (Clopper-Pearson) on a slice that neither the trees nor the calibration saw; the number of "
    "errors allowed followed from the size of the slice before a score was looked at. It assumes that calls are "
    "exchangeable with those of the slice. Calls of one organisation resemble each other, and another network is "
    "another population: therefore thresholds are chosen for half the budget (the margin in the manifest), and "
    "shadow mode must show whether that is enough where you are."
)
_BY_CLASS: Final = (
    "A verdict needs the threshold of the call's class. A class that is too small to show that it is within the budget "
    "(marked \\*) has the strictest of two thresholds: the one that none of its honest calls reached, and the one of "
    "all calls. *never*: it has no honest call here, or one with the highest score there is, so the score never asks "
    "for that verdict. Every bound is certain at 95 % by itself, and about calls like those of the slice."
)

_NUMBERS: Final = (
    "**A model of numbers**: it scores a network's own subscribers from a table, for people who look at them. "
    "It takes no part in calls, and the engine refuses it. A score is the share of fraud among numbers like this one "
    "in the table that it was trained on; where fraud is rarer, so it is among them."
)
_NUMBERS_BOUND: Final = (
    "Exact binomial bound (Clopper-Pearson) on numbers that neither the trees nor the calibration saw; the number of "
    "errors allowed followed from how many honest ones there are before a score was looked at. It assumes that the "
    "numbers to be scored are drawn like those of the table: not from another network, month or tariff."
)
_RARE: Final = (
    "A table for training has far more fraud than a network. Precision is therefore also worked out for one fraud "
    "number in a thousand and in a hundred, from the shares found and hit; *at least* is with the upper bound of the "
    "share hit instead of the share seen."
)


def card_text(manifest: Manifest) -> str:
    """The card of ``manifest``, in Markdown."""
    if manifest.training.get("mode") == NUMBERS:
        return _numbers_card(manifest)
    training, metrics = manifest.training, manifest.metrics
    slices = " / ".join(f"{n:,}" for n in training.get("slice_rows", []))
    origin = _REPORTED if training.get("labels") == "reports" else _SYNTHETIC
    lines = [f"# {manifest.name} {manifest.version}", "", origin, ""]
    lines.append(f"- digest `{manifest.digest}`, LightGBM {training.get('lightgbm', '?')}")
    lines.append(
        f"- {training.get('trees')} trees, at most {training.get('leaves')} leaves each, "
        f"{len(manifest.features)} features: {len(manifest.windows)} windows and "
        f"{len(manifest.features) - len(manifest.windows)} facts"
    )
    lines.append(
        f"- {training.get('rows', 0):,} calls, {training.get('fraud_rows', 0):,} of them fraud; in order of time the "
        f"trees were grown, stopped and calibrated, certified, and measured on {slices} calls; "
        "no campaign is in two slices"
    )
    if training.get("warm_up_s"):
        lines.append(
            f"- {training.get('new_rows', 0):,} of them are from an engine's first {training['warm_up_s'] / 3600:g} "
            "hours (`engine.warm_up_s`): trees grew on those of the first slice, and nothing below was calibrated, "
            "certified or measured on them. It does not hold for an engine that lets the score act earlier"
        )
    lines += _made_by(training)
    separation = (
        f"AUC {metrics['auc']:.4f}, average precision {metrics['average_precision']:.4f}, "
        f"{metrics['fraud_rows']:,} fraud and {metrics['benign_calls']:,} benign calls."
    )
    lines += _thresholds(manifest, "benign calls")
    lines += ["", _BOUND, *_classes(manifest)]
    lines += [
        "",
        "## Measured on the last slice",
        "",
        separation,
        "",
        "| | label | divert | block |",
        "|---|---|---|---|",
        _row("fraud calls found", metrics["recall"], "{:.1%}"),
        _row("benign calls hit", metrics["false_calls"], "{}"),
    ]
    unseen = metrics.get("unseen_callers")
    if unseen:
        shares = {level: unseen[f"recall_{level}"] for level in ("label", "divert", "block")}
        lines.append(
            _row(f"found, first call of a number never seen ({unseen['fraud_rows']:,} calls)", shares, "{:.1%}")
        )
    lines += ["", "By behaviour (calls, and how many of them reach each verdict):", ""]
    lines += ["| behaviour | fraud | calls | label | divert | block |", "|---|---|---|---|---|---|"]
    for name, part in sorted(metrics["behaviour"].items(), key=lambda item: (not item[1]["fraud"], item[0])):
        fraud = "yes" if part["fraud"] else ""
        lines.append(f"| {name} | {fraud} | {part['rows']:,} | {part['label']} | {part['divert']} | {part['block']} |")
    lines += evaluation_lines(metrics.get("evaluation"))
    return "\n".join(lines + _features(manifest))


def _numbers_card(manifest: Manifest) -> str:
    training, repeated = manifest.training, manifest.metrics["repeated"]
    grown, stopped, held_out = training["slice_rows"]
    lines = [f"# {manifest.name} {manifest.version}", "", _NUMBERS, ""]
    lines.append(f"- digest `{manifest.digest}`, LightGBM {training.get('lightgbm', '?')}")
    lines.append(
        f"- {training.get('trees')} trees, at most {training.get('leaves')} leaves each, "
        f"{len(manifest.features)} columns"
    )
    lines.append(
        f"- {training['rows']:,} numbers, {training['fraud_rows']:,} of them fraud; the trees were grown on "
        f"{grown:,}, stopped and calibrated on {stopped:,}, certified on {held_out:,}"
    )
    if training.get("table_rows", training["rows"]) != training["rows"]:
        lines.append(f"- a sample of {training['table_rows']:,} numbers in the table: more do not fit in memory")
    lines += _made_by(training) + _thresholds(manifest, "honest numbers")
    lines += [
        "",
        _NUMBERS_BOUND,
        "",
        f"## Measured in {repeated['rounds']} rounds of three quarters to learn, one to measure",
        "",
        "| | mean | deviation of one round |",
        "|---|---|---|",
    ]
    for key, title in (("auc", "AUC"), ("average_precision", "average precision"), ("macro_f1", "macro F1 at 0.5")):
        lines.append(f"| {title} | {repeated[key]:.4f} | {repeated[f'{key}_deviation']:.4f} |")
    lines += [
        "",
        _RARE,
        "",
        "| from | fraud found | honest hit | precision at 0.1 % fraud | at least | precision at 1 % fraud | at least |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in ("block", "divert", "label", "even"):
        part = repeated["levels"][level]
        shares = []
        for prevalence in ("0.001", "0.01"):
            shares += [_share(part.get(f"precision_{prevalence}{ending}")) for ending in ("", "_at_least")]
        title = "score 0.5" if level == "even" else level
        lines.append(f"| {title} | {part['recall']:.1%} | {part['false']:.2%} | {' | '.join(shares)} |")
    return "\n".join(lines + _features(manifest))


def _share(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.1%}"


def _made_by(training: Mapping[str, Any]) -> list[str]:
    return ["", "Made by", "", f"    {training['command']}"] if training.get("command") else []


def _thresholds(manifest: Manifest, what: str) -> list[str]:
    lines = [
        "",
        "## Thresholds and what is certain about them",
        "",
        f"| verdict | from score | budget | {what} | above it | at most, with 95 % confidence | within budget |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in ("block", "divert", "label"):
        c = manifest.certificate[level]
        met = "yes" if c.met else "**no, the slice is too small**"
        lines.append(f"| {level} | {c.threshold:.4f} | {c.budget:.0e} | {c.n:,} | {c.errors} | {c.bound:.2e} | {met} |")
    return lines


def _classes(manifest: Manifest) -> list[str]:
    if not manifest.classes:
        return []
    lines = [
        "",
        "## By class of callers",
        "",
        "| class | benign calls | block from | hit, at most | divert from | hit, at most | label from | hit, at most |",
        "|---|---|---|---|---|---|---|---|",
    ]
    told = [one for one in CLASSES if one.name in manifest.classes]
    for one in told:
        levels = manifest.classes[one.name]
        cells = [cell for level in ("block", "divert", "label") for cell in _class_cells(levels[level])]
        lines.append(f"| {one.name} | {levels['block'].n:,} | {' | '.join(cells)} |")
    return [*lines, "", _BY_CLASS, "", *(f"- **{one.name}**: {one.why}" for one in told)]


def _class_cells(one: ClassCertificate) -> tuple[str, str]:
    if one.threshold is None:
        return "never", ""
    small = "" if one.met else r" \*"
    return f"{one.threshold:.4f}", f"{one.errors}, {one.bound:.2e}{small}"


def class_lines(manifest: Manifest) -> list[str]:
    """The certificate of each class in a line, for a terminal; none where there are no classes."""
    lines = []
    for one in CLASSES:
        if one.name in manifest.classes:
            levels = manifest.classes[one.name]
            said = (f"{level} {_class_said(levels[level])}" for level in ("block", "divert", "label"))
            lines.append(f"  {one.name:<12} {levels['block'].n:>9,} benign calls: {', '.join(said)}")
    return lines


def _class_said(one: ClassCertificate) -> str:
    if one.threshold is None:
        return "never"
    small = "" if one.met else " over budget: too few calls"
    return f"from {one.threshold:.4f} ({one.errors}, at most {one.bound:.1e}{small})"


def _features(manifest: Manifest) -> list[str]:
    return ["", "## Features, in order", "", ", ".join(f"`{feature}`" for feature in manifest.features), ""]


def _row(title: str, values: dict[str, Any], form: str) -> str:
    return f"| {title} | " + " | ".join(form.format(values[level]) for level in ("label", "divert", "block")) + " |"
