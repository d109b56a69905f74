"""What a score costs: ``python benchmarks/scoring.py [DIRECTORY]`` prints JSON.

The model in DIRECTORY (the one that ships, when none is named) scores rows whose columns are drawn one by one from its
golden rows, so that no branch can be learnt by heart. Microseconds a row at batches of 1 to 4096, one thread, the
fastest of several rounds in which all ways take turns; ``ratio`` is against LightGBM's ``Booster.predict`` of the same
run. ``same_bits`` says whether the sums are LightGBM's own to the last bit.

The ways: ``product`` is ``Model.predict``, calibration included; ``forest`` the walk alone; ``lightgbm`` is
``Booster.predict``; ``lightgbm_fast`` is ``LGBM_BoosterPredictForMatSingleRowFast`` through ctypes, row by row.
``explanation``: milliseconds of processor for reasons and what would have changed the verdict, of rows that reach one.
treelite (its GTIL interpreter), tl2cgen (C, made by the system's compiler) and lleaves (LLVM) are measured where they
are installed, in an environment that has them; the product needs none.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from antifraud.decision import load_bundle
from antifraud.decision.explaining import DecisionExplainer
from antifraud.scoring import Model
from antifraud.scoring.forest import read_forest
from antifraud.settings import load_settings

BATCHES = (1, 16, 64, 256, 4096)
ROWS = 4096
CALLS = 1500
EXPLAINED = 500
Rows = np.ndarray
Way = Callable[[Rows], Rows]

LOAD = """
import json, resource, sys, time
from pathlib import Path
import numpy
started = time.perf_counter()
from antifraud.scoring import Model
model = Model.load(Path(sys.argv[1]))
seconds = time.perf_counter() - started
print(json.dumps({
    "seconds": round(seconds, 3),
    "mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "lightgbm": "lightgbm" in sys.modules,
}))
"""


def drawn_rows(golden: Path) -> Rows:
    """Rows whose columns come from different golden rows."""
    lines = list(csv.reader(golden.open(encoding="utf-8")))[1:]
    table = np.array([[float(cell) if cell else np.nan for cell in line[:-1]] for line in lines])
    rng = np.random.default_rng(1)
    return np.stack([column[rng.integers(0, len(column), ROWS)] for column in table.T], axis=1).copy()


def single_row_fast(booster: lightgbm.Booster, width: int) -> Way:
    """LightGBM's fast path for one row at a time; it has no other."""
    library = lightgbm.basic._LIB  # noqa: SLF001 - the C API has no other name in Python
    config = ctypes.c_void_p()
    code = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,  # noqa: SLF001 - as above
        ctypes.c_int(1), ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(1), ctypes.c_int32(width),
        ctypes.c_char_p(b"num_threads=1 predict_raw_score=true"), ctypes.byref(config),
    )  # fmt: skip
    assert code == 0, library.LGBM_GetLastError()
    predict = library.LGBM_BoosterPredictForMatSingleRowFast
    length, one = ctypes.c_int64(), ctypes.c_double()
    by_length, by_one = ctypes.byref(length), ctypes.byref(one)

    def way(rows: Rows) -> Rows:
        sums = np.empty(len(rows))
        start, step = rows.ctypes.data, rows.strides[0]
        for at in range(len(rows)):
            predict(config, ctypes.c_void_p(start + at * step), by_length, by_one)
            sums[at] = one.value
        return sums

    return way


def compiled_ways(path: Path, folder: Path) -> tuple[dict[str, Way], dict[str, str]]:
    """The compiled forms that are installed, and why the others are missing."""
    ways: dict[str, Way] = {}
    missing: dict[str, str] = {}
    try:
        import treelite

        model = treelite.frontend.load_lightgbm_model(str(path))
        ways["treelite_gtil"] = lambda rows: treelite.gtil.predict(model, rows, nthread=1, pred_margin=True).ravel()
        import tl2cgen

        tl2cgen.export_lib(model, toolchain="gcc", libpath=str(folder / "trees.so"), params={}, verbose=False)
        predictor = tl2cgen.Predictor(str(folder / "trees.so"), nthread=1)
        ways["tl2cgen"] = lambda rows: predictor.predict(tl2cgen.DMatrix(rows), pred_margin=True).ravel()
    except Exception as error:  # noqa: BLE001 - whatever a foreign package raises, the others are measured
        missing["treelite, tl2cgen"] = f"{type(error).__name__}: {error}"[:200]
    try:
        import lleaves

        # It wants the endings that LightGBM writes and the product leaves out.
        whole = folder / "whole.txt"
        whole.write_text(f"{path.read_text()}\nparameters:\nend of parameters\n\npandas_categorical:null\n")
        built = lleaves.Model(str(whole))
        built.compile(raw_score=True)
        ways["lleaves"] = lambda rows: built.predict(rows, n_jobs=1)
    except Exception as error:  # noqa: BLE001 - as above
        missing["lleaves"] = f"{type(error).__name__}: {error}"[:200]
    return ways, missing


def measured(ways: dict[str, Way], rows: Rows, rounds: int) -> dict[str, dict[int, float]]:
    """Microseconds a row, by way and batch: the fastest of ``rounds``, the ways taking turns."""
    best = {name: dict.fromkeys(BATCHES, float("inf")) for name in ways}
    for way in ways.values():
        way(rows[:2])
    for _ in range(rounds):
        for batch in BATCHES:
            for name, way in ways.items():
                calls = max(1, CALLS // batch)
                starts = [at * batch % (ROWS - batch + 1) for at in range(calls)]
                began = time.perf_counter()
                for start in starts:
                    way(rows[start : start + batch])
                took = (time.perf_counter() - began) / calls / batch * 1e6
                best[name][batch] = min(best[name][batch], took)
    return best


def explanation_ms(model: Model, rows: Rows) -> dict[str, Any]:
    """What it takes to explain each of ``rows`` that some verdict is asked for, and to say it."""
    settings = load_settings(env={})
    policy = settings.policy()
    explainer = DecisionExplainer(model, load_bundle(settings.rules_dir, settings.utc_offset_min).windows, policy)
    explainer.warm()
    asked = rows[model.predict(rows) >= model.thresholds.label][:EXPLAINED].tolist()
    took, helped = [], 0
    for row in asked:
        started = time.process_time()
        found = explainer.explain_row(row, policy.default_region)
        explainer.say(found, "ru")
        took.append((time.process_time() - started) * 1000)
        helped += bool(found.changes)
    middle, high, most = np.quantile(took, (0.5, 0.99, 1.0)).round(2).tolist()
    return {"calls": len(asked), "with_changes": helped, "median_ms": middle, "p99_ms": high, "most_ms": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    # Foreign compilers talk on standard output; that is for the JSON alone.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    directory = options.directory or load_settings(env={}).model_dir
    path = directory / "model.txt"
    text = path.read_text(encoding="ascii")
    rows = drawn_rows(directory / "golden.csv")
    model, forest, booster = Model.load(directory), read_forest(text, str(path)), lightgbm.Booster(model_str=text)
    ways: dict[str, Way] = {
        "lightgbm": lambda some: booster.predict(some, raw_score=True, num_threads=1),
        "lightgbm_fast": single_row_fast(booster, rows.shape[1]),
        "forest": forest.raw_scores,
        "product": model.predict,
    }
    with tempfile.TemporaryDirectory() as name:
        foreign, missing = compiled_ways(path, Path(name))
        ways |= foreign
        theirs = np.asarray(ways["lightgbm"](rows))
        best = measured(ways, rows, options.rounds)
        result: dict[str, Any] = {
            "model": model.id, "trees": forest.trees, "features": len(forest.features),
            "lightgbm": lightgbm.__version__, "python": platform.python_version(), "ways": {},
        }  # fmt: skip
        for way, figures in best.items():
            found = np.asarray(ways[way](rows), dtype=np.float64)
            part: dict[str, Any] = {"us_a_row": {batch: round(value, 2) for batch, value in figures.items()}}
            part["ratio"] = {batch: round(best["lightgbm"][batch] / value, 2) for batch, value in figures.items()}
            if way != "product":
                part["same_bits"] = found.tobytes() == theirs.tobytes()
                part["largest_difference"] = float(np.abs(found - theirs).max())
            result["ways"][way] = part
    result["missing"] = missing
    result["explanation"] = explanation_ms(model, rows)
    result["within"] = {
        "batch_16_us": best["product"][16] <= 15.0,
        "single_us": best["product"][1] <= 100.0,
        "explanation_ms": result["explanation"]["p99_ms"] <= 5.0,
    }
    loads = [
        json.loads(subprocess.run([sys.executable, "-c", LOAD, str(directory)], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    result["load"] = min(loads, key=lambda one: one["seconds"])
    json.dump(result, answer, indent=2)
    answer.write("\n")
    answer.close()


if __name__ == "__main__":
    main()
