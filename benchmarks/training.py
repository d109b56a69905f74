"""How much memory a training takes when its rows lie on disk: synthetic rows, any number of them.

    python benchmarks/training.py --rows 2000000 --features 60 --trees 5

Anonymous memory is what the process cannot give back. Pages of the mapped pieces are counted apart: the system takes
them back when it needs them. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from antifraud.scoring.row_pieces import Coded, PieceWriter, RowPieces
from antifraud.scoring.training import Options, Rows, train

_PIECE = 250_000


def memory() -> dict[str, int]:
    """Kilobytes of this process: anonymous, and of mapped files."""
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found[name] = int(value.split()[0])
    return found


class Watch(threading.Thread):
    """The most that was seen, looked at ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: dict[str, int] = {}
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            for name, value in memory().items():
                self.most[name] = max(self.most.get(name, 0), value)


def made(directory: Path, count: int, features: int) -> Rows:
    """``count`` rows in pieces, two fifths of the columns counts, the rest shares and spans, some of them missing."""
    rng = np.random.default_rng(1)
    paths, labels = [], []
    for low in range(0, count, _PIECE):
        size = min(_PIECE, count - low)
        y = rng.random(size) < 0.012
        block = rng.random((size, features))
        block[:, : features * 2 // 5] = rng.poisson(np.where(y, 6.0, 2.0)[:, None], (size, features * 2 // 5))
        block[rng.random((size, features)) < 0.2] = np.nan
        path = directory / f"{low}.npy"
        writer = PieceWriter(path, features, 1 << 40)
        writer.add(block)
        writer.close()
        paths.append(path)
        labels.append(y)
    y = np.concatenate(labels)
    codes = np.where(y, 1 + np.arange(count) * 400 // count, 0).astype(np.int32)
    campaigns = Coded(codes, ("", *(f"c{number}" for number in range(401))))
    kinds = Coded(y.astype(np.int32), ("person", "call_centre"))
    return Rows(RowPieces.of_files(paths), y, 1.7e9 + np.arange(count) * 0.05, campaigns, kinds)


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--trees", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--scratch", default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as directory:
        begin = time.monotonic()
        rows = made(Path(directory), given.rows, given.features)
        written = time.monotonic() - begin
        before = memory()
        watch = Watch()
        watch.start()
        begin = time.monotonic()
        train(
            rows,
            names=[f"f{number}" for number in range(given.features)],
            windows={},
            out=Path(directory) / "model" / "1",
            name="model",
            version="1",
            options=Options(trees=given.trees, threads=given.threads),
        )
        took = time.monotonic() - begin
        watch.done.set()
        watch.join()
    result = {
        "rows": given.rows,
        "features": given.features,
        "trees": given.trees,
        "as_float64_mb": round(given.rows * given.features * 8 / 1e6),
        "anonymous_before_mb": round(before["RssAnon"] / 1e3),
        "anonymous_most_mb": round(watch.most["RssAnon"] / 1e3),
        "mapped_most_mb": round(watch.most["RssFile"] / 1e3),
        "written_s": round(written, 1),
        "trained_s": round(took, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
