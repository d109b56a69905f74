"""``antifraud replay``: pcap, CDR or event files in, one decision a call out, as JSON Lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from antifraud.cli.assembly import assemble, settings_options
from antifraud.cli.extensions import load_extensions
from antifraud.domain import CallEvent, Quarantined, UsageError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@settings_options
@click.option("--format", "form", default="", help="Take the files as this format instead of recognising it.")
@click.option("--mapping", default="", help="CDR: the mapping file (or its name in config/cdr/).")
@click.option("--lists", type=click.Path(path_type=Path), help="Run-time entries: what `lists show --json` wrote.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the decisions here instead of standard output.")
@click.option("--quarantine", type=click.Path(path_type=Path), help="Write what could not be understood here.")
def replay(
    files: tuple[Path, ...],
    form: str,
    mapping: str,
    lists: Path | None,
    out: Path | None,
    quarantine: Path | None,
    **where: Any,
) -> None:
    """Decide about the calls of FILES: captures (pcap), CDR (CSV) or events (JSON Lines).

    Writes one decision a call as JSON Lines to standard output, and a summary to standard error. Run-time entries of
    lists hold from the first call on, whenever they were made, and only those that --lists gives.
    """
    from antifraud.backtest import EVENT_FILE, Replay, in_time_order
    from antifraud.cli.run_time_lists import read_export

    readers = {EVENT_FILE.name: EVENT_FILE, **load_extensions("antifraud.readers")}
    if form and form not in readers:
        raise UsageError(f"there is no format {form!r}", hint=f"formats: {', '.join(sorted(readers))}")
    changes = read_export(lists) if lists is not None else []
    settings, decider = assemble(where)
    if changes:
        from antifraud.engine.run_time_lists import RunTimeLists

        unfit = RunTimeLists(decider).stand(changes)
        click.echo(f"run-time entries of lists: {len(changes) - unfit} stand, {unfit} do not fit", err=True)
    options: Mapping[str, Any] = {"mapping": mapping, "config_dir": str(settings.config_dir)}
    chosen = [(path, readers[form] if form else _recognise(path, readers)) for path in files]

    def events() -> Iterator[CallEvent | Quarantined]:
        for path, reader in chosen:
            yield from reader.read(path, options)

    run = Replay(decider)
    encoder = msgspec.json.Encoder()
    for target in (out, quarantine):
        if target is not None and any(target.exists() and target.samefile(path) for path, _reader in chosen):
            raise UsageError(f"{target} is one of the files to read", hint="write somewhere else")
    try:
        sink: IO[bytes] = out.open("wb") if out is not None else sys.stdout.buffer
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from None
    try:
        for decision in run.run(in_time_order(events())):
            sink.write(encoder.encode(decision) + b"\n")
        sink.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"a file cannot be read or written: {error}") from None
    finally:
        if out is not None:
            sink.close()
    if quarantine is not None:
        quarantine.write_bytes(b"".join(encoder.encode(item) + b"\n" for item in run.quarantined))
    _summary(run)


def _recognise(path: Path, readers: Mapping[str, Any]) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    for reader in readers.values():
        if reader.recognises(path, head):
            return reader
    raise UsageError(
        f"{path} is of no known format",
        hint=f"say which one with --format: {', '.join(sorted(readers))}; a CDR file also needs --mapping",
    )


def _summary(run: Any) -> None:
    def total(prefix: str) -> str:
        found = {name[len(prefix) :]: number for name, number in sorted(run.counts.items()) if name.startswith(prefix)}
        return ", ".join(f"{number} {name}" for name, number in found.items()) or "none"

    click.echo(f"events: {total('events.')}", err=True)
    click.echo(f"decisions: {total('decisions.')}; repeated setups: {run.counts['duplicates']}", err=True)
    if any(name.startswith("quarantine.") for name in run.counts):
        click.echo(f"not understood: {total('quarantine.')}", err=True)
        for item in run.quarantined[:5]:
            click.echo(f"    {item.code}: {item.detail}", err=True)
