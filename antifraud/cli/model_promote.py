"""``antifraud model promote``: the next stage of a model, with who decided it and why."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import click
import msgspec

from antifraud.domain import ModelError, Stage, UsageError

_STAGES: Final = [stage.value for stage in Stage]
_MOST_TEXT: Final = 500


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--to", "stage", required=True, type=click.Choice(_STAGES), help="The new stage.")
@click.option("--percent", type=click.FloatRange(0.0, 100.0), help="With --to canary: of how many callers it decides.")
@click.option("--by", required=True, metavar="NAME", help="Who decides this.")
@click.option("--why", required=True, metavar="TEXT", help="Why.")
@click.option(
    "--approved-by", "approvals", multiple=True, metavar="NAME", help="Who else has looked at it; needed for enforce."
)
@click.option(
    "--despite-certificate",
    is_flag=True,
    help="Let it act although its certificate is not within the budget; the history keeps that this was said.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def promote(
    directory: Path,
    stage: str,
    percent: float | None,
    by: str,
    why: str,
    approvals: tuple[str, ...],
    despite_certificate: bool,
    as_json: bool,
) -> None:
    """Take the model in DIRECTORY to the next stage, or back; its scores, thresholds and id stay.

    draft, shadow, canary, enforce: none is skipped on the way up. Going back needs no second person. Exit code 1 when
    something stands against it.
    """
    from antifraud.decision.model_promotion import promoted, promotion_problems, told
    from antifraud.scoring import Model, read_manifest, write_manifest
    from antifraud.scoring.manifest import Promotion
    from antifraud.scoring.model import MANIFEST

    if percent is not None and stage != Stage.CANARY.value:
        raise UsageError("--percent is about --to canary", hint="leave it out")
    for option, text in (("--by", by), ("--why", why), *(("--approved-by", name) for name in approvals)):
        if len(text) > _MOST_TEXT or not text.isprintable():
            raise UsageError(f"{option} is one line of at most {_MOST_TEXT} letters", hint="shorten it")
    loaded = Model.load(directory)
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = Promotion(Stage(stage), by, why, when, percent if percent is not None else 0.0, approvals)
    problems = promotion_problems(loaded.manifest, wanted, despite_certificate=despite_certificate)
    if problems:
        click.echo(ModelError.of(problems).render(), err=True)
        raise SystemExit(1)
    if despite_certificate:
        wanted = msgspec.structs.replace(wanted, why=f"{why.strip()} (despite the certificate)")
    path = directory / MANIFEST
    part = directory / f".{MANIFEST}.part"
    try:
        changed = promoted(loaded.manifest, wanted)
        write_manifest(changed, part)
        read_manifest(part)
        part.replace(path)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}", hint="check its permissions") from error
    finally:
        part.unlink(missing_ok=True)
    share = f" {percent:g} %" if percent is not None else ""
    if as_json:
        result = {"model": loaded.id, "from": loaded.stage.value, "to": stage, "percent": percent, "by": by.strip()}
        click.echo(msgspec.json.encode(result).decode())
    else:
        click.echo(f"{loaded.id}: {loaded.stage.value} -> {stage}{share}")
        for line in told(changed.history):
            click.echo(f"  {line}")
        click.echo("engines take it when they are started again", err=True)
