"""The rules directory that a command works on: found, loaded, shown, and written to in one go."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from antifraud.domain import Location, Problem, UsageError
from antifraud.rulekit import (
    Field,
    Predicate,
    RuleProblem,
    RuleSet,
    compile_where,
    load_fields,
    load_rules,
    read_window_kinds,
    read_window_names,
    taken_names,
)
from antifraud.rulekit.documents import read_sheet
from antifraud.rulekit.findings import is_warning
from antifraud.rulekit.lock import FILE as LOCK_FILE
from antifraud.rulekit.lock import MAX_BYTES as MAX_LOCK_BYTES
from antifraud.rulekit.lock import Lock, read_lock
from antifraud.rulekit.window_names import read_own_windows

if TYPE_CHECKING:
    from antifraud.features import WindowSet

# Loading


def rules_folder(chosen: str | None) -> Path:
    from antifraud.settings.directories import data_dir

    folder = data_dir("rules", chosen)
    # Shorter names in messages where the rules lie below the working directory.
    return folder.relative_to(Path.cwd()) if folder.is_absolute() and folder.is_relative_to(Path.cwd()) else folder


def places_of(places: Sequence[str]) -> tuple[Path, tuple[Path, ...]]:
    """The rules directory that is meant, and the files of it that are named; none where all of it is meant.

    UsageError where places are of several directories, or of none.
    """
    files = tuple(Path(place) for place in places if not Path(place).is_dir())
    if not files:
        if len(places) > 1:
            raise UsageError("only one rules directory can be checked at a time")
        return rules_folder(places[0] if places else None), ()
    if len(files) < len(places):
        raise UsageError("name one rules directory, or files of one")
    if len(places) == 1 and not os.path.lexists(files[0]):
        return rules_folder(places[0]), ()  # says that there is no such directory
    roots = dict.fromkeys(map(_root_of, files))
    if len(roots) > 1:
        shown = ", ".join(map(str, list(roots)[:3]))
        raise UsageError(f"these files are of several rules directories: {shown}", hint="check each by itself")
    return rules_folder(str(next(iter(roots)))), files


def _root_of(file: Path) -> Path:
    """The rules directory that a file lies in: the nearest folder above it that has packs/."""
    if not os.path.lexists(file):
        raise UsageError(f"{file} does not exist")
    for parent in file.absolute().parents:
        if (parent / "packs").is_dir():
            return parent
    raise UsageError(f"{file} lies in no rules directory", hint="a rules directory has packs/ with rules in it")


def concerns(problem: Problem, files: Iterable[Path]) -> bool:
    """Whether a problem is one of these files."""
    if problem.where is None:
        return False
    return os.path.realpath(problem.where.file) in {os.path.realpath(file) for file in files}


def vocabulary(folder: Path) -> tuple[dict[str, Field], tuple[str, ...]]:
    """Fields and window names of ``folder``; those that came along where it has none of its own.

    A window that has taken the name of something else is left out: it is refused where windows are checked, and rules
    that mean the other thing are not at fault.
    """
    fields_file, windows_file = vocabulary_files(folder)
    fields = load_fields(fields_file)
    taken = taken_names(fields)
    return fields, tuple(name for name in read_window_names(windows_file) if name not in taken)


def vocabulary_files(folder: Path) -> tuple[Path, Path]:
    from antifraud.settings.directories import data_dir

    places = [folder / name for name in ("fields.yaml", "windows.yaml")]
    # What is there but cannot be read is a mistake that is shown, not a file to pass over.
    fields, windows = (place if os.path.lexists(place) else data_dir("rules", env={}) / place.name for place in places)
    return fields, windows


def declared_windows(folder: Path) -> WindowSet:
    """The windows that are declared, each checked as the engine does; BundleError with what is wrong."""
    from antifraud.features import load_windows

    fields_file, windows_file = vocabulary_files(folder)
    fields = load_fields(fields_file)

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, tuple(fields), on)

    return load_windows(windows_file, where, taken=taken_names(fields), own=read_own_windows(folder))


def load(folder: Path) -> RuleSet:
    fields_file, windows_file = vocabulary_files(folder)
    fields = load_fields(fields_file)
    taken = taken_names(fields)
    kinds = {name: kind for name, kind in read_window_kinds(windows_file).items() if name not in taken}
    windows = tuple(kinds)
    return load_rules(folder, fields=fields, windows=windows, order=(*fields, *windows, "score"), kinds=kinds)


def load_lock(folder: Path) -> Lock | None:
    """The lock of ``folder``; None when there is none. BundleError when it cannot be used."""
    path = folder / LOCK_FILE
    if not path.exists():
        return None
    sheet, _raw = read_sheet(path, limit=MAX_LOCK_BYTES)
    return read_lock(sheet)


def start_of_day(words: str | None) -> float:
    """The epoch second at which a day begins in UTC: that of ``words`` (2027-06-30), else today."""
    try:
        day = dt.date.fromisoformat(words) if words else dt.datetime.now(dt.UTC).date()
    except ValueError:
        raise UsageError(f"{words} is no day", hint="write it as year-month-day, such as 2027-06-30") from None
    return dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()


# Writing


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Nobody else writes to the rules directory meanwhile; UsageError when somebody does."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{folder} cannot be opened: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"somebody else is changing {folder} at this moment", hint="try again when that command has ended"
            ) from None
        yield
    finally:
        os.close(handle)


def replace_files(contents: Sequence[tuple[Path, str]]) -> None:
    """Write all files or none: each is written beside its place first, then they are put in place in this order."""
    ready: list[tuple[Path, Path, bytes | None]] = []
    placed: list[tuple[Path, bytes | None]] = []
    path = contents[0][0]
    try:
        for name, text in contents:
            path = name.resolve()
            old = path.read_bytes() if path.exists() else None
            ready.append((path, _write_beside(path, text.encode()), old))
        for path, temporary, old in ready:
            temporary.replace(path)
            placed.append((path, old))
    except OSError as error:
        for done, old in placed:
            with contextlib.suppress(OSError):
                if old is None:
                    done.unlink()
                else:
                    _write_beside(done, old).replace(done)
        for _path, temporary, _old in ready:
            temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _write_beside(path: Path, content: bytes) -> Path:
    """A new file with the content in the folder of ``path``, with its permissions."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


# Showing


def write_json(content: object) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=2))


def count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def summary(found: RuleSet) -> str:
    packs = len({rule.pack for rule in found.rules})
    return f"{count(len(found.rules), 'rule')} in {count(packs, 'pack')}, {count(len(found.lists), 'list')}"


def problem_fields(problem: Problem) -> dict[str, Any]:
    where = problem.where
    return {
        "code": problem.code if isinstance(problem, RuleProblem) else "",
        "file": where.file if where is not None else "",
        "line": where.line if where is not None else 0,
        "column": where.column if where is not None else 0,
        "message": problem.message,
        "hint": problem.hint,
    }


def show_problems(problems: Iterable[Problem]) -> None:
    """Each problem with its place, the line and how to mend it; warnings say that they are."""
    for problem in problems:
        warns = is_warning(problem)
        shown = msgspec.structs.replace(problem, message=f"warning: {problem.message}") if warns else problem
        click.echo(shown.render() + "\n")


def tally(wrong: Sequence[Problem], warnings: Sequence[Problem]) -> str:
    """How much was found."""
    parts = [count(len(wrong), "problem")] if wrong or not warnings else []
    return ", ".join([*parts, *([count(len(warnings), "warning")] if warnings else [])])


def refuse(problems: Sequence[Problem]) -> None:
    """Show what stands against it and how much that is."""
    show_problems(problems)
    click.echo(click.style(count(len(problems), "problem"), fg="red"))
