"""``antifraud model card``: the card of a model, and an evaluation written into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.domain import ModelError, UsageError

if TYPE_CHECKING:
    from antifraud.scoring import Manifest, Model

_MOST_BYTES: Final = 64 << 20


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--with", "evaluation", type=click.Path(path_type=Path), metavar="EVALUATION.json",
    help="Write what `model evaluate --json` found into manifest.toml and card.md; scores and id stay.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The manifest as JSON instead of the card.")
def card(directory: Path, evaluation: Path | None, as_json: bool) -> None:
    """Check the model in DIRECTORY and show its card."""
    from antifraud.scoring import Model
    from antifraud.scoring.card import card_text

    loaded = Model.load(directory)
    manifest = loaded.manifest
    if evaluation is not None:
        manifest = _with_evaluation(loaded, directory, evaluation)
    click.echo(msgspec.json.encode(manifest).decode() if as_json else card_text(manifest), nl=as_json)


def _with_evaluation(loaded: Model, directory: Path, evaluation: Path) -> Manifest:
    from antifraud.scoring import write_manifest
    from antifraud.scoring.card import card_text
    from antifraud.scoring.card_evaluation import summary
    from antifraud.scoring.model import CARD, MANIFEST

    if loaded.of_numbers:
        raise UsageError(f"{loaded.id} scores numbers, not calls: there is no such evaluation", hint="leave out --with")
    try:
        found = summary(_read(evaluation), loaded.id)
    except UsageError as error:
        raise UsageError(f"{evaluation}: {error.problems[0].message}", hint=error.problems[0].hint) from None
    metrics = {**loaded.manifest.metrics, "evaluation": found}
    manifest = msgspec.structs.replace(loaded.manifest, metrics=metrics)
    for name, write in (
        (CARD, lambda part: part.write_text(card_text(manifest), encoding="utf-8")),
        (MANIFEST, lambda part: write_manifest(manifest, part)),
    ):
        part = directory / f".{name}.part"
        try:
            write(part)
            part.replace(directory / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            hint = "check its permissions"
            raise ModelError(f"cannot write {directory / name}: {error.strerror or error}", hint=hint) from error
    return manifest


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", hint="check the name") from error
    if len(content) > _MOST_BYTES:
        raise UsageError("too long for an evaluation", hint="write one with `antifraud model evaluate MODEL … --json`")
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"not JSON: {error}", hint="write one with `antifraud model evaluate MODEL … --json`"
        ) from error
