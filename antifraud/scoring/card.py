"""card.md: what a person should know about a model before it decides about calls."""

from __future__ import annotations

from typing import Any, Final

from antifraud.scoring.manifest import Manifest

_SYNTHETIC: Final = (
    "**Trained on synthetic calls only.** The figures say how the model does on traffic that `antifraud simulate` "
    "makes, not on a real network. Whatever its stage, keep the ceiling of your regions at shadow on your own "
    "traffic, compare, and train it again on your own labels before it blocks anybody."
)
_BOUND: Final = (
    "Exact binomial bound (Clopper-Pearson) on a slice that neither the trees nor the calibration saw; the number of "
    "errors allowed followed from the size of the slice before a score was looked at. It assumes that calls are "
    "exchangeable with those of the slice. Calls of one organisation resemble each other, and another network is "
    "another population: therefore thresholds are chosen for half the budget (the margin in the manifest), and "
    "shadow mode must show whether that is enough where you are."
)


def card_text(manifest: Manifest) -> str:
    """The card of ``manifest``, in Markdown."""
    training, metrics = manifest.training, manifest.metrics
    slices = " / ".join(f"{n:,}" for n in training.get("slice_rows", []))
    lines = [f"# {manifest.name} {manifest.version}", "", _SYNTHETIC, ""]
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
    if training.get("command"):
        lines += ["", "Made by", "", f"    {training['command']}"]
    separation = (
        f"AUC {metrics['auc']:.4f}, average precision {metrics['average_precision']:.4f}, "
        f"{metrics['fraud_rows']:,} fraud and {metrics['benign_calls']:,} benign calls."
    )
    lines += [
        "",
        "## Thresholds and what is certain about them",
        "",
        "| verdict | from score | budget | benign calls | above it | at most, with 95 % confidence | within budget |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in ("block", "divert", "label"):
        c = manifest.certificate[level]
        met = "yes" if c.met else "**no, the slice is too small**"
        lines.append(f"| {level} | {c.threshold:.4f} | {c.budget:.0e} | {c.n:,} | {c.errors} | {c.bound:.2e} | {met} |")
    lines += [
        "",
        _BOUND,
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
    lines += ["", "## Features, in order", "", ", ".join(f"`{feature}`" for feature in manifest.features), ""]
    return "\n".join(lines)


def _row(title: str, values: dict[str, Any], form: str) -> str:
    return f"| {title} | " + " | ".join(form.format(values[level]) for level in ("label", "divert", "block")) + " |"
