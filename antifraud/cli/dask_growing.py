"""Growing trees on many machines: LightGBM's Dask estimator in place of LightGBM in this process.

Everything else stays where it is: rows are made here and sent to the workers chunk by chunk, the trees come back as
LightGBM's text, are stopped and calibrated on the second slice here, and are checked bit by bit as always. Trees that
many grow are those of one process but for the order of sums, so another number of workers may give other trees.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from antifraud.domain import UsageError
from antifraud.scoring.metrics import average_precision
from antifraud.scoring.row_pieces import RowPieces
from antifraud.scoring.training import Grower, Options, Rows, parameters

if TYPE_CHECKING:
    from lightgbm import Booster

LOCAL: Final = "local"
_NEEDED: Final = ("dask", "distributed", "pandas", "sklearn")
_LOCAL_WORKERS: Final = 2
_CHUNKS_A_WORKER: Final = 4
_WAIT_S: Final = 30
_INSTALL: Final = "install what it needs: pip install 'antifraud[cluster]'"


@contextmanager
def on_dask(address: str, threads: int) -> Iterator[Grower]:
    """A grower on the cluster at ``address`` (``tcp://host:8786``), or on two workers of this machine for "local".

    ``threads`` are those of all workers of a local cluster together. UsageError when the packages are missing or
    nobody answers.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"--dask needs packages that are not there: {', '.join(missing)}", hint=_INSTALL)
    from distributed import Client, LocalCluster

    if address == LOCAL:
        each = max(1, threads // _LOCAL_WORKERS)
        with (
            LocalCluster(
                n_workers=_LOCAL_WORKERS, threads_per_worker=each, host="127.0.0.1", dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
        ):
            yield _grower(client)
        return
    try:
        client = Client(address, timeout=_WAIT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address!r}",
            hint="write tcp://host:8786, where `dask scheduler` runs, or local",
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UsageError(
                f"the Dask scheduler at {address} has no workers", hint=f"start some: dask worker {address}"
            )
        yield _grower(client)


def _grower(client: Any) -> Grower:
    def grow(
        grow: Rows,
        stop: Rows,
        names: Sequence[str],
        options: Options,
        on_round: Callable[[int, int], None] | None,  # noqa: ARG001 - the workers tell nothing until they are ready
    ) -> Booster:
        return _grown(client, grow, stop, names, options)

    return grow


def _grown(client: Any, grow: Rows, stop: Rows, names: Sequence[str], options: Options) -> Booster:
    import lightgbm

    rows, labels = _sent(client, RowPieces.of(grow.X), grow.y.astype(np.float64))
    given = parameters(names, options, len(grow.y))
    # These have names of their own among the estimator's arguments; threads are those of each worker.
    for name in ("objective", "metric", "num_threads", "learning_rate", "num_leaves", "seed"):
        given.pop(name)
    estimator = lightgbm.DaskLGBMClassifier(
        client=client,
        n_estimators=options.trees,
        num_leaves=options.leaves,
        learning_rate=options.learning_rate,
        random_state=options.seed,
        feature_pre_filter=False,
        **given,
    )
    estimator.fit(rows, labels, feature_name=list(names))
    booster: Booster = estimator.booster_
    booster.best_iteration = _stopping_tree(booster, stop, options)
    return booster


def _sent(client: Any, rows: RowPieces, labels: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[Any, Any]:
    """Rows and labels as Dask arrays whose chunks lie with the workers, in turn."""
    import dask
    import dask.array as da

    workers = sorted(client.scheduler_info()["workers"])
    size = max(1, -(-len(rows) // (len(workers) * _CHUNKS_A_WORKER)))
    of_rows, of_labels = [], []
    for number, low in enumerate(range(0, len(rows), size)):
        chunk = rows.take(low, low + size)
        worker = workers[number % len(workers)]
        sent = client.scatter(chunk, workers=[worker], direct=False)
        of_rows.append(da.from_delayed(dask.delayed(sent), chunk.shape, dtype=np.float64))
        part = labels[low : low + size]
        sent = client.scatter(part, workers=[worker], direct=False)
        of_labels.append(da.from_delayed(dask.delayed(sent), part.shape, dtype=np.float64))
    return da.concatenate(of_rows), da.concatenate(of_labels)


def _stopping_tree(booster: Booster, stop: Rows, options: Options) -> int:
    """How many trees to keep: the estimator does not stop early, so it is done as LightGBM would, on ``stop``."""
    rows = RowPieces.of(stop.X)
    sums = np.zeros(len(rows))
    best, kept = -1.0, 1
    for tree in range(booster.num_trees()):
        low = 0
        for chunk in rows.chunks():
            high = low + len(chunk)
            sums[low:high] += booster.predict(chunk, raw_score=True, start_iteration=tree, num_iteration=1)
            low = high
        found = average_precision(stop.y, sums)
        if found > best:
            best, kept = found, tree + 1
        elif tree + 1 - kept >= options.patience:
            break
    return kept
