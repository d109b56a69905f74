"""``antifraud model explain``: why the model scored a call as it did, and what would have changed its mind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.call_text import call_text
from antifraud.domain import CallEvent, EventError, EventKind, Problem, Quarantined, UsageError, check_event

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from antifraud.decision import Bundle
    from antifraud.scoring import Model
    from antifraud.settings import Settings

_BATCH: Final = 512
_LANGUAGES: Final = ("en", "ru", "kk")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("events", nargs=-1, type=click.Path(path_type=Path))
@click.option("--decision", "decision_id", default="", metavar="ID", help="A decision of the journal.")
@click.option("--journal", "journal_dir", type=click.Path(path_type=Path), help="Not the configured journal.")
@click.option("--call-id", default="", metavar="ID", help="With EVENTS: the call to explain.")
@click.option(
    "--call",
    "values",
    default="",
    metavar="JSON",
    help='Features by name, such as {"caller_calls_1h": 38}; @FILE reads them from a file, - from standard input.',
)
@click.option("--region", default="", metavar="CODE", help="Whose thresholds and language hold.")
@click.option("--language", type=click.Choice(_LANGUAGES), help="By default the region's.")
@click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration.")
@click.option("--rules", "rules_dir", default="", metavar="DIR", help="Directory of rules.")
@click.option("--json", "as_json", is_flag=True, help="The explanation as JSON.")
def explain(
    directory: Path,
    events: tuple[Path, ...],
    decision_id: str,
    journal_dir: Path | None,
    call_id: str,
    values: str,
    region: str,
    language: str | None,
    config_dir: str,
    rules_dir: str,
    as_json: bool,
) -> None:
    """Say why the model in DIRECTORY scores a call as it does, and what would have changed its verdict.

    The call is a --decision of the journal, the setup with --call-id in EVENTS (files of `antifraud simulate`; they
    are folded up to it), or what --call says of it.
    """
    if sum(map(bool, (decision_id, call_id, values))) != 1:
        raise UsageError("which call is to be explained?", hint="give --decision ID, or EVENTS --call-id ID, or --call")
    if bool(events) != bool(call_id):
        raise UsageError("EVENTS and --call-id go together", hint="name the files and which of their calls is meant")
    from antifraud.cli.assembly import read_settings
    from antifraud.decision import load_bundle
    from antifraud.decision.explaining import DecisionExplainer
    from antifraud.scoring import Model
    from antifraud.scoring.columns import columns_of

    model = Model.load(directory)
    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    policy = settings.policy()
    if region and region not in policy.regions:
        raise UsageError(f"there is no region {region!r}", hint=f"regions: {', '.join(sorted(policy.regions))}")
    bundle = load_bundle(settings.rules_dir, settings.utc_offset_min)
    explainer = DecisionExplainer(model, bundle.windows, policy)
    if decision_id:
        row, found_region = _decided(journal_dir or settings.journal_dir, decision_id, model)
    elif call_id:
        from antifraud.decision import MODEL_FACTS

        columns = columns_of(model, bundle.windows.digests, MODEL_FACTS)
        vector, found_region = _folded(events, call_id, settings, bundle)
        row = vector.take(columns).tolist()
    else:
        row, found_region = _given(call_text(values), model), policy.default_region
    region = region or found_region
    explanation = explainer.explain_row(row, region)
    said = explainer.say(explanation, language or policy.region(region).language)
    if as_json:
        result = {"model": model.id, "region": region, **msgspec.structs.asdict(explanation), "sentences": said}
        click.echo(msgspec.json.encode(result).decode())
        return
    click.echo(f"{model.id}: score {explanation.score:.3f}, {explanation.verdict}")
    for sentence in said:
        click.echo(f"  {sentence}")


def _decided(journal: Path, decision_id: str, model: Model) -> tuple[list[float], str]:
    """What the model saw of the call of a decision, and the call's region."""
    from antifraud.journal import read_journal

    decision = next((one for one in read_journal(journal) if one.id == decision_id), None)
    if decision is None:
        raise UsageError(f"there is no decision {decision_id} in {journal}", hint="name the journal: --journal DIR")
    if not decision.features:
        raise UsageError(
            f"decision {decision_id} does not say what the model saw: its score asked for no verdict",
            hint="look at its reasons; rules are explained by: antifraud rules explain",
        )
    if decision.model != model.id or len(decision.features) != len(model.features):
        raise UsageError(
            f"decision {decision_id} was made by the model {decision.model}, this is {model.id}",
            hint="name the directory of that model",
        )
    return [math.nan if value is None else value for value in decision.features], decision.region


def _folded(
    files: Sequence[Path], call_id: str, settings: Settings, bundle: Bundle
) -> tuple[npt.NDArray[np.float64], str]:
    """The feature vector of the setup of ``call_id``, and its region, after all events before it."""
    from antifraud.backtest import in_time_order
    from antifraud.cli.assembly import build_numbering, memory_limits
    from antifraud.decision import Decider
    from antifraud.features import Fold

    fold = Fold(bundle.windows, limits=memory_limits(settings))
    decider = Decider(bundle, settings.policy(), build_numbering(settings, warm=False), fold=fold)
    batch: list[CallEvent] = []
    for item in in_time_order(_events(files)):
        if isinstance(item, Quarantined):
            continue
        try:
            check_event(item)
        except EventError:
            continue
        batch.append(item)
        wanted = item.kind is EventKind.SETUP and item.call_id == call_id
        if wanted or len(batch) >= _BATCH:
            vectors = decider.vectors(batch)
            if wanted:
                return vectors[-1], decider.prepare(item).region
            batch.clear()
    raise UsageError(f"there is no setup of a call {call_id!r} in these files", hint="call_id of the event")


def _events(files: Sequence[Path]) -> Iterator[CallEvent | Quarantined]:
    from antifraud.backtest import EVENT_FILE
    from antifraud.simulator.files import read_events

    for path in files:
        try:
            with path.open("rb") as file:
                parquet = file.read(4) == b"PAR1"
            if parquet:
                yield from (item.event for item in read_events(path))
            else:
                yield from EVENT_FILE.read(path, {})
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint="check the name") from None


def _given(text: str, model: Model) -> list[float]:
    """The row that ``text``, a JSON object of features, stands for; what it does not name is missing."""
    from antifraud.features.declarations import suggest

    hint = 'write {"caller_calls_1h": 38, "spoofed_cli": true}; null is missing'
    try:
        values = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"--call is no JSON: {error}", hint=hint) from None
    if not isinstance(values, dict):
        raise UsageError("--call is no JSON object", hint=hint)
    problems = [
        Problem(f"the model has no feature {name[:64]!r}", hint=suggest(name[:64], model.features))
        for name in values
        if name not in model.features
    ]
    problems += [
        Problem(f"{name} is not a number", hint=hint)
        for name, value in values.items()
        if name in model.features and not (value is None or _is_number(value))
    ]
    if problems:
        raise UsageError.of(problems[:20])
    return [math.nan if values.get(name) is None else float(values[name]) for name in model.features]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300
