"""``antifraud model``: train on labelled events or numbers, score numbers, show the card, set the stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import source_options, wanted
from antifraud.cli.model_card import card
from antifraud.cli.model_certificate import certificate
from antifraud.cli.model_collect import collect
from antifraud.cli.model_compare import compare
from antifraud.cli.model_drift import drift
from antifraud.cli.model_evaluate import evaluate
from antifraud.cli.model_explain import explain
from antifraud.cli.model_promote import promote
from antifraud.cli.model_train import How, Trained, check_journal, train_on_calls, training_options
from antifraud.domain import Problem, Stage, UsageError

if TYPE_CHECKING:
    from antifraud.scoring.training import Options

#: Stages that a new model may have: before it acts on calls somebody decides so (``model promote``).
_NEW: Final = [Stage.DRAFT.value, Stage.SHADOW.value]
#: Of so many honest calls that may be stopped, one may be blocked: who is diverted is connected by people.
_BLOCKED_OF_STOPPED: Final = 5.0
_BUDGET: Final = click.FloatRange(1e-7, 0.5)


@click.group()
def model() -> None:
    """Train, evaluate and inspect models."""


model.add_command(explain)
model.add_command(evaluate)
model.add_command(drift)
model.add_command(collect)
model.add_command(certificate)
model.add_command(promote)
model.add_command(compare)
model.add_command(card)


@model.command()
@source_options
@click.option(
    "--table", type=click.Path(path_type=Path), metavar="FILE.csv", help="Train on numbers instead of calls: a table."
)
@click.option("--label", default="", metavar="COLUMN", help="With --table: the column that is 1 for fraud, 0 if not.")
@click.option(
    "--id", "id_column", default="", metavar="COLUMN", help="With --table: the column of numbers, or number, msisdn, …"
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of what is drawn.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The model's directory, NAME/VERSION.")
@click.option("--name", default="", help="The model's name; by default the directory above --out.")
@click.option("--version", default="", help="The model's version; by default the last part of --out.")
@click.option(
    "--features",
    default="",
    metavar="NAME,NAME,…",
    help="Windows and facts that the model uses, in that order; -NAME,-NAME,… all but these. By default all.",
)
@click.option("--stage", type=click.Choice(_NEW), default="shadow", show_default=True, help="Its stage.")
@click.option("--trees", type=click.IntRange(1, 2000), help="At most so many trees: 100, for numbers 600.")
@click.option("--leaves", type=click.IntRange(2, 255), help="Leaves of a tree: 31, for numbers 12.")
@click.option("--learning-rate", type=click.FloatRange(0.001, 1.0), help="Shrinkage: 0.1, for numbers 0.03.")
@training_options
@click.option("--block-budget", type=_BUDGET, help="Honest calls that may be blocked: 0.0001, for numbers 0.005.")
@click.option("--divert-budget", type=_BUDGET, help="… diverted: 0.0005, for numbers 0.01.")
@click.option("--stop-budget", type=_BUDGET, help="… diverted or blocked, such as 0.0001; of them a fifth blocked.")
@click.option("--label-budget", type=_BUDGET, help="… labelled: 0.005, for numbers 0.05.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def train(
    events: tuple[Path, ...],
    seeds: str,
    calls: tuple[int, ...],
    days: float,
    scenario: str,
    rules_dir: str,
    config_dir: str,
    table: Path | None,
    label: str,
    id_column: str,
    seed: int,
    out: Path,
    name: str,
    version: str,
    features: str,
    stage: str,
    trees: int | None,
    leaves: int | None,
    learning_rate: float | None,
    min_leaf: int | None,
    feature_fraction: float | None,
    lambda_l2: float | None,
    fraud_weight: float | None,
    block_budget: float | None,
    divert_budget: float | None,
    stop_budget: float | None,
    label_budget: float | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Train a model and write it to --out.

    Of calls: on EVENTS (files of `antifraud simulate`), on --seeds, or on EVENTS of a log with --labels reports. Of
    numbers: on a --table with a --label.
    """
    from antifraud.scoring.numbers import number_options
    from antifraud.scoring.training import Options

    if table is None and (label or id_column):
        raise UsageError("--label and --id are about a --table", hint="name the table: --table numbers.csv")
    if table is not None and (events or seeds):
        raise UsageError("a model is trained on calls or on a --table of numbers, not on both", hint="name one")
    if table is not None and not label:
        raise UsageError("which column says who is fraud?", hint="name it: --label COLUMN; it is 1 for fraud, else 0")
    if stop_budget is not None:
        if divert_budget is not None:
            hint = "whoever is blocked is above the threshold of divert too: that budget is of both; give one of them"
            raise UsageError("--stop-budget and --divert-budget are the same budget", hint=hint)
        divert_budget = stop_budget
        block_budget = block_budget if block_budget is not None else stop_budget / _BLOCKED_OF_STOPPED
    said: dict[str, Any] = {
        "trees": trees, "leaves": leaves, "learning_rate": learning_rate, "min_leaf": min_leaf,
        "feature_fraction": feature_fraction, "lambda_l2": lambda_l2, "fraud_weight": fraud_weight,
        "patience": max(Options().patience, trees // 5) if trees and table is None else None,
        "block_budget": block_budget,
        "divert_budget": divert_budget, "label_budget": label_budget, "stage": Stage(stage), "seed": seed,
    }  # fmt: skip
    given = {key: value for key, value in said.items() if value is not None}
    options = Options(**given) if table is None else number_options(**given)
    if not options.block_budget <= options.divert_budget <= options.label_budget:
        raise UsageError("the budgets must not fall from block to divert to label", hint="block is the strictest")
    resolved = out.resolve()
    name, version = name or resolved.parent.name, version or resolved.name
    for what, text in (("name", name), ("version", version)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", text):
            raise UsageError(f"{text!r} cannot be a model's {what}", hint=f"give --{what}: letters, digits, . _ -")
    if table is not None:
        from antifraud.cli.model_numbers import open_table, train_on_table

        opened = open_table(table, label, id_column, out)
        columns = _chosen(features, opened.candidates, "column")
        where = f"--table {table.name} --label {label}" + (f" --id {id_column}" if id_column else "")
        command = _command_line(where, options, features, number_options())
        metrics = train_on_table(opened, columns, out=out, name=name, version=version, options=options, command=command)
        _say_trained(out, metrics, "numbers", as_json)
        return
    asked = How(**how)
    check_journal(asked, events)
    source = wanted(events, seeds, calls, days, scenario, config_dir)
    trained = train_on_calls(
        source,
        asked,
        lambda known: _chosen(features, known),
        options,
        lambda said, grown: _command_line(said, grown, features),
        rules_dir=rules_dir,
        config_dir=config_dir,
        out=out,
        name=name,
        version=version,
    )
    _say_trained(out, trained.metrics, "calls", as_json, trained)


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--table", required=True, type=click.Path(path_type=Path), metavar="FILE.csv", help="The numbers.")
@click.option("--id", "id_column", default="", metavar="COLUMN", help="The column of numbers, or number, msisdn, …")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.csv", help="Where scores go.")
@click.option("--reasons", type=click.IntRange(0, 20), default=3, show_default=True, help="Reasons for a score.")
@click.option("--all-reasons", is_flag=True, help="Reasons for every number, not only from label on: takes longer.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def score(
    directory: Path, table: Path, id_column: str, out: Path, reasons: int, all_reasons: bool, as_json: bool
) -> None:
    """Score the numbers of a --table with the model in DIRECTORY: a CSV of score, verdict and reasons.

    Columns that the model does not know are no matter. All of it is written, or nothing.
    """
    from antifraud.cli.model_numbers import score_table

    score_table(directory, table, id_column, out, reasons=reasons, every=all_reasons, as_json=as_json)


# ---------------------------------------------------------------------- what the command says


def _chosen(text: str, known: Sequence[str], kind: str = "window and no fact") -> tuple[str, ...]:
    """The features of "a,b" in that order, or of "-a,-b" all but these; all of ``known`` when nothing is said."""
    from antifraud.features.declarations import suggest

    pieces = _pieces(text)
    if not pieces:
        return tuple(known)
    without = [piece.startswith("-") for piece in pieces]
    if any(without) and not all(without):
        raise UsageError(
            "--features names some features with - and some without",
            hint="NAME,NAME uses these alone, -NAME,-NAME all but these",
        )
    names = [piece.lstrip("-").strip() for piece in pieces]
    problems = [
        Problem(f"there is no {kind} {name!r}", hint=suggest(name, known)) for name in names if name not in known
    ]
    if problems:
        raise UsageError.of(problems)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--features names {twice!r} twice", hint="each once")
    left = tuple(name for name in known if name not in names) if all(without) else tuple(names)
    if not left:
        raise UsageError("--features leaves no feature to learn from", hint="take out fewer")
    return left


def _pieces(text: str) -> list[str]:
    return [piece for piece in (part.strip() for part in text.split(",")) if piece]


def _command_line(source: str, options: Options, features: str, usual: Options | None = None) -> str:
    """The command that makes this model again; ``usual`` are the options that need not be said."""
    from antifraud.scoring.training import Options

    parts = ["antifraud model train", source]
    if _pieces(features):
        parts.append(f"--features {','.join(_pieces(features))}")
    parts.append(f"--trees {options.trees} --leaves {options.leaves} --learning-rate {options.learning_rate:g}")
    budgets = (options.block_budget, options.divert_budget, options.label_budget)
    parts.append("--block-budget {:g} --divert-budget {:g} --label-budget {:g}".format(*budgets))
    usual = usual if usual is not None else Options()
    for flag, value, otherwise in (
        ("--min-leaf", options.min_leaf, usual.min_leaf),
        ("--feature-fraction", options.feature_fraction, usual.feature_fraction),
        ("--lambda-l2", options.lambda_l2, usual.lambda_l2),
        ("--fraud-weight", options.fraud_weight, usual.fraud_weight),
    ):
        if value != otherwise:
            parts.append(f"{flag} {value:g}")
    if options.seed != 1:
        parts.append(f"--seed {options.seed}")
    return " ".join(parts)


# ---------------------------------------------------------------------- what people see


def _say_trained(out: Path, metrics: dict[str, Any], what: str, as_json: bool, trained: Trained | None = None) -> None:
    from antifraud.scoring import Model
    from antifraud.scoring.card import class_lines

    loaded = Model.load(out)
    if as_json:
        result = {
            "model": loaded.id,
            "out": str(out),
            "thresholds": loaded.thresholds,
            "certificate": loaded.manifest.certificate,
            "classes": loaded.manifest.classes,
            "metrics": metrics,
        }
        if trained is not None:
            result |= {"threads": trained.threads, "processes": trained.processes, "seconds": trained.seconds}
        click.echo(msgspec.json.encode(result).decode())
        return
    click.echo(f"{loaded.id} -> {out}", err=True)
    if trained is not None:
        took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in trained.seconds.items())
        click.echo(f"{trained.threads} threads, at most {trained.processes} processes; {took}", err=True)
        _say_metrics(metrics, "as reported" if loaded.manifest.training.get("labels") == "reports" else "synthetic")
    else:
        from antifraud.cli.model_numbers import say_repeated

        say_repeated(metrics["repeated"])
    for level, overall in loaded.manifest.certificate.items():
        met = "" if overall.met else f"; OVER BUDGET, the slice is too small: give more {what}"
        click.echo(
            f"{level} from {overall.threshold:.4f}: {overall.errors} of {overall.n} benign {what}, "
            f"at most {overall.bound:.1e} with {overall.confidence:.0%} confidence{met}"
        )
    for line in class_lines(loaded.manifest):
        click.echo(line)


def _say_metrics(metrics: dict[str, Any], labels: str) -> None:
    click.echo(
        f"AUC {metrics['auc']:.4f}, average precision {metrics['average_precision']:.4f} on {metrics['rows']} calls, "
        f"{metrics['fraud_rows']} of them fraud ({labels})"
    )
    for level in ("label", "divert", "block"):
        click.echo(
            f"{level}: {metrics['recall'][level]:.1%} of fraud calls, "
            f"{metrics['false_calls'][level]} of {metrics['benign_calls']} benign calls"
        )
