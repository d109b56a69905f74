"""Models of numbers on the command line: train on a table, score a table, and say how good the scores are."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from antifraud.cli.labelled_events import progress_bar
from antifraud.domain import UsageError
from antifraud.scoring import Model
from antifraud.scoring.number_table import Table
from antifraud.scoring.numbers import ROUNDS, read_labelled, score_numbers, train_numbers
from antifraud.scoring.training import Options, check_out


def open_table(path: Path, label: str, id_column: str, out: Path) -> Table:
    """The table to train on, its header looked at; whether ``out`` may be written is looked at first."""
    check_out(out)
    return Table(path, id_column=id_column, label=label)


def train_on_table(
    table: Table, columns: Sequence[str], *, out: Path, name: str, version: str, options: Options, command: str
) -> dict[str, Any]:
    """Train on ``columns`` of ``table`` and write the model to ``out``; its metrics. Bars show how far it is."""
    import hashlib

    with progress_bar("bytes", table.size) as advance:
        values, y, count = read_labelled(table, columns, options.seed, advance)
    with table.path.open("rb") as file:
        data = {"file": table.path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    with progress_bar("trees", options.trees * ROUNDS) as advance:
        return train_numbers(
            values,
            y,
            names=columns,
            out=out,
            name=name,
            version=version,
            options=options,
            provenance={"command": command, "table_rows": count, "data": [data]},
            on_round=None if advance is None else lambda done, _most: advance(done),
        )


def say_repeated(repeated: dict[str, Any]) -> None:
    """The metrics of a model of numbers, for people."""
    click.echo(
        f"{repeated['rounds']} rounds of three quarters to learn, one to measure: AUC {repeated['auc']:.4f} "
        f"± {repeated['auc_deviation']:.4f}, macro F1 {repeated['macro_f1']:.4f} ± {repeated['macro_f1_deviation']:.4f}"
    )
    for level in ("label", "divert", "block"):
        part = repeated["levels"][level]
        click.echo(
            f"{level}: {part['recall']:.1%} of fraud, {part['false']:.2%} of honest numbers; of those named, fraud is "
            f"at least {part['precision_0.001_at_least']:.0%} where 1 in 1,000 is, "
            f"{part['precision_0.01_at_least']:.0%} where 1 in 100 is"
        )


def score_table(
    directory: Path, table: Path, id_column: str, out: Path, *, reasons: int, every: bool, as_json: bool
) -> None:
    """Score the numbers of ``table`` with the model in ``directory`` into the CSV ``out``: all of it, or nothing."""
    loaded = Model.load(directory)
    source = Table(table, id_column=id_column)
    if not source.id_column:
        raise UsageError(f"{table}: which column has the numbers?", hint="name it: --id COLUMN")
    if out.exists() and (not out.is_file() or out.samefile(table)):
        raise UsageError(f"--out {out} is {'the table itself' if out.is_file() else 'no file'}", hint="name another")
    counts = dict.fromkeys(("block", "divert", "label", ""), 0)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with progress_bar("bytes", source.size) as advance, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([source.id_column, "score", "verdict", *(f"reason_{at + 1}" for at in range(reasons))])
            for one in score_numbers(loaded, source, reasons=reasons, every=every, on_bytes=advance):
                counts[one.verdict] += 1
                empty = [""] * (reasons - len(one.reasons))
                writer.writerow([one.id, f"{one.score:.6f}", one.verdict, *one.reasons, *empty])
        part.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror or error}", hint="check the directory") from error
    finally:
        part.unlink(missing_ok=True)
    total = sum(counts.values())
    if as_json:
        verdicts = {verdict or "none": count for verdict, count in counts.items()}
        click.echo(msgspec.json.encode({"model": loaded.id, "numbers": total, "verdicts": verdicts}).decode())
        return
    named = ", ".join(f"{verdict} {count}" for verdict, count in counts.items() if verdict)
    click.echo(f"{total} numbers -> {out}: {named}", err=True)
