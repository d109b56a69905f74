"""Makes the rows that a model of calls is trained on: seeds and files in several processes, the rows on disk.

Each source is a piece of its own with a decider of its own, so pieces do not depend on each other, nor on how many
processes make them, nor on which is ready first: the model is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from antifraud.cli.labelled_events import Wanted
from antifraud.domain import UsageError
from antifraud.settings.sizes import show_size

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from antifraud.decision import Decider
    from antifraud.scoring.labels import Labels
    from antifraud.scoring.row_pieces import RowPieces

_VALUE_BYTES: Final = 8
_POLL_S: Final = 0.2
#: Starting a process takes as long as making the rows of so many calls, or reading so many bytes of events.
_WORTH_CALLS: Final = 60_000
_WORTH_BYTES: Final = 20 << 20
#: Each process holds the windows of a country; more would ask for more memory than time they save.
_MOST_PROCESSES: Final = 16


class Scratch(msgspec.Struct, frozen=True):
    """Where rows lie while a model is trained, and how many bytes they may take."""

    directory: Path
    limit: int


class Made(msgspec.Struct):
    """Rows of all sources in their order, and their labels."""

    rows: RowPieces
    labels: Labels


@contextmanager
def scratch_space(directory: Path | None, limit: int) -> Iterator[Scratch]:
    """A directory of our own in ``directory`` (by default where temporary files go) that goes when we are done."""
    try:
        with tempfile.TemporaryDirectory(prefix="antifraud-rows-", dir=directory, ignore_cleanup_errors=True) as made:
            yield Scratch(Path(made), limit)
    except OSError as error:
        if directory is None or error.filename is None or not str(error.filename).startswith(str(directory)):
            raise
        raise UsageError(
            f"rows cannot be kept in {directory}: {error.strerror or error}",
            hint="name a directory that exists, is writable and has room: --scratch DIR",
        ) from error


class _Source(msgspec.Struct, frozen=True):
    """One piece to make: a file, or a seed with its place among the seeds."""

    name: str
    target: Path
    path: Path | None = None
    wanted: Wanted | None = None
    index: int = 0


class _Plan(msgspec.Struct, frozen=True):
    """What every process needs to know."""

    rules_dir: str
    config_dir: str
    columns: tuple[int, ...]
    limit: int


def decider_maker(rules_dir: str, config_dir: str) -> Callable[[], Decider]:
    """Makes deciders without a model, each with empty state; what they share is loaded once."""
    from antifraud.cli.assembly import build_numbering, read_settings
    from antifraud.decision import Decider, load_bundle

    settings = read_settings({"model": "none", "rules_dir": rules_dir, "config_dir": config_dir})
    bundle, policy = load_bundle(settings.rules_dir, settings.utc_offset_min), settings.policy()
    numbering = build_numbering(settings, warm=False)
    return lambda: Decider(bundle, policy, numbering)


def check_room(calls: int, columns: int, scratch: Scratch) -> None:
    """UsageError when rows of ``calls`` calls do not fit into the scratch space."""
    import shutil

    needed = calls * columns * _VALUE_BYTES
    if needed > scratch.limit:
        limit = show_size(scratch.limit)
        raise UsageError(
            f"the rows of {calls:,} calls take {show_size(needed)}, more than --scratch-limit {limit}",
            hint="allow more, or give fewer calls or --features",
        )
    free = shutil.disk_usage(scratch.directory).free
    if needed > free:
        raise UsageError(
            f"the rows of {calls:,} calls take {show_size(needed)}, and there are {show_size(free)} left where they go",
            hint="name a directory with more room: --scratch DIR",
        )


def make_rows(
    wanted: Wanted,
    rules_dir: str,
    config_dir: str,
    columns: Sequence[int],
    scratch: Scratch,
    *,
    processes: int = 1,
    on_call: Callable[[int], None] | None = None,
) -> Made:
    """The rows of ``wanted``, of the feature ``columns`` in that order, and labels, written under ``scratch``.

    ``processes`` is how many there may be; ``on_call`` is told the number of rows so far. UsageError when events
    cannot be used, when a call is in two files, and when rows take more than ``scratch`` allows.
    """
    from antifraud.scoring.labels import Labels
    from antifraud.scoring.row_pieces import RowPieces
    from antifraud.simulator.dataset import check_apart

    if wanted.total is not None:
        check_room(wanted.total, len(columns), scratch)
    plan = _Plan(rules_dir, config_dir, tuple(columns), scratch.limit)
    todo = _sources_of(wanted, scratch.directory)
    count = min(processes, len(todo), _MOST_PROCESSES, _worth(wanted))
    parts = _in_turn(plan, todo, on_call) if count <= 1 else _beside(plan, todo, count, on_call)
    if wanted.files:
        check_apart([source.name for source in todo], parts)
    return Made(RowPieces.of_files([source.target for source in todo]), Labels.joined(parts))


def _sources_of(wanted: Wanted, directory: Path) -> list[_Source]:
    found = [_Source(str(path), directory / f"file-{at}.npy", path=path) for at, path in enumerate(wanted.files)]
    found += [
        _Source(f"seed {seed}", directory / f"seed-{at}.npy", wanted=wanted, index=at)
        for at, seed in enumerate(wanted.seeds)
    ]
    return found


def _worth(wanted: Wanted) -> int:
    """How many processes the work is enough for."""
    if wanted.total is not None:
        return wanted.total // _WORTH_CALLS
    sizes = [path.stat().st_size if path.is_file() else 0 for path in wanted.files]
    return sum(sizes) // _WORTH_BYTES


class _Maker:
    """Makes one piece after another. ``told`` is given how many rows a batch had, and says how many there are."""

    def __init__(self, plan: _Plan, told: Callable[[int], int]) -> None:
        self._plan = plan
        self._told = told
        self._fresh = decider_maker(plan.rules_dir, plan.config_dir)

    def make(self, source: _Source) -> Labels:
        from antifraud.scoring.row_pieces import PieceWriter
        from antifraud.simulator import load_scenario, simulate
        from antifraud.simulator.dataset import labelled
        from antifraud.simulator.files import UnlabelledError, read_events

        if source.path is not None:
            events = read_events(source.path)
        else:
            assert source.wanted is not None
            wanted, at = source.wanted, source.index
            scenario = load_scenario(wanted.scenario_file())
            calls, start = wanted.calls_of(at), wanted.start_of(at)
            events = simulate(scenario, wanted.seeds[at], calls, start, days=wanted.days)
        columns = list(self._plan.columns)
        width = len(columns) * _VALUE_BYTES
        writer = PieceWriter(source.target, len(columns), self._plan.limit)

        def add(rows: npt.NDArray[np.float64]) -> None:
            writer.add(rows.take(columns, axis=1))

        def told(count: int) -> None:
            taken = self._told(count) * width
            if taken > self._plan.limit:
                raise UsageError(
                    f"the rows take more than --scratch-limit {show_size(self._plan.limit)}",
                    hint="allow more, or give fewer calls or --features",
                )

        try:
            return labelled(source.name, events, self._fresh(), add, told, keys=source.path is not None)
        except UnlabelledError as error:
            hint = "files of `antifraud simulate` say which calls are fraud; of a log, train with --labels reports"
            raise UsageError(error.problems[0].message, hint=hint) from error
        finally:
            writer.close()


def _in_turn(plan: _Plan, todo: Sequence[_Source], on_call: Callable[[int], None] | None) -> list[Labels]:
    done = 0

    def told(count: int) -> int:
        nonlocal done
        done += count
        if on_call is not None:
            on_call(done)
        return done

    maker = _Maker(plan, told)
    return [maker.make(source) for source in todo]


_worker: _Maker | None = None
"""What a process that makes rows was begun with."""


def _begin(plan: _Plan, counter: Any) -> None:
    import signal
    import threading

    # The one who started us is interrupted as well, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def told(count: int) -> int:
        with counter.get_lock():
            counter.value += count
            return int(counter.value)

    global _worker
    _worker = _Maker(plan, told)


def _end_with_parent() -> None:
    """Whoever is killed cannot end the others: they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(source: _Source) -> Labels:
    assert _worker is not None
    return _worker.make(source)


def _beside(
    plan: _Plan, todo: Sequence[_Source], processes: int, on_call: Callable[[int], None] | None
) -> list[Labels]:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(plan, counter))
    try:
        futures: list[Future[Labels]] = [pool.submit(_make, source) for source in todo]
        left = set(futures)
        while left:
            done, left = wait(left, timeout=_POLL_S)
            for future in done:
                future.result()
            if on_call is not None:
                on_call(int(counter.value))
        pool.shutdown(wait=True)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise UsageError(
            "a process that made rows was ended from outside, most likely for want of memory",
            hint="let fewer work beside each other: --processes 1",
        ) from error
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the pool at once, also while its processes are at work."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - Python before 3.14 has no terminate_workers
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join()
