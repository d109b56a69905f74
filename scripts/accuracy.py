"""Makes every figure of docs/explanation/accuracy.md anew: JSON and a page for each run, then the tables in Markdown.

    scripts/accuracy [--model models/kz-calls/5] [--out .accuracy/figures] [--only NAME,…] [--quick] [--again]

Two runs at a time, twenty minutes of two cores. A run that is there already, made by the same model, rules,
configuration and command, is not made again: after an interruption the same command goes on. Whoever changes the code
of engine, simulator or evaluation says --again. Exit code 1 when a run failed; a violated certificate is a figure like
any other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from accuracy_tables import page

ROOT = Path(__file__).resolve().parents[1]
LONGEST_S = 1500.0
SEALS = "made-with.json"


class Run(NamedTuple):
    """One run: its name in the directory, and what `antifraud model` is asked; ``MODEL`` and ``DIR`` are put in."""

    name: str
    command: tuple[str, ...]
    page: bool = True


def _evaluate(name: str, *options: str) -> Run:
    return Run(name, ("evaluate", "MODEL", *options))


def runs(*, quick: bool) -> list[Run]:
    """All runs, the longest first; ``quick`` ones show that everything works, and their figures are worth nothing."""
    if quick:
        few = ("--calls", "6000", "--days", "2", "--rounds", "20")
        short = ("--seeds", "1001-1002", "--calls", "600", "--days", "0.0416", "--after", "0", "--rounds", "20")
        return [
            _evaluate("permuted", "--seeds", "911", *few, "--permute", "trunk,fingerprint"),
            _evaluate("national", "--seeds", "901-902", *few),
            _evaluate("cold-start", *short),
            _evaluate("three-days", "--seeds", "911", "--calls", "4000", "--days", "3", "--rounds", "20"),
            *(_evaluate(name, "--seeds", "901", *few, "--scenario", name) for name in HELDOUT),
            Run("certificate", ("certificate", "MODEL", "--seeds", "921", "--calls", "3000", "--keep", "DIR"), False),
        ]
    # A day of an engine that has known its callers for a day: before that its score stops nobody.
    day = ("--calls", "120000", "--days", "2")
    return [
        _evaluate("permuted", "--seeds", "911-913", *day, "--permute", "trunk,fingerprint,prefix,src_ip"),
        _evaluate("three-days", "--seeds", "911-914", "--calls", "180000", "--days", "3"),
        _evaluate("national", "--seeds", "901-910", *day),
        Run("certificate", ("certificate", "MODEL", "--seeds", "921-940", "--calls", "60000", "--keep", "DIR"), False),
        # The first hour of many engines: an hour of 60,000 calls a day has few calls, and a budget needs many.
        _evaluate("cold-start", "--seeds", "1001-1150", "--calls", "2500", "--days", "0.0416", "--after", "0"),
        *(_evaluate(name, "--seeds", "901-903", *day, "--scenario", name) for name in HELDOUT),
    ]


HELDOUT = ("heldout-routes", "heldout-sims", "heldout-nights")


def main() -> int:
    """See the module."""
    options = _options()
    chosen = runs(quick=options.quick)
    if options.only:
        wanted = [name.strip() for name in options.only.split(",") if name.strip()]
        odd = sorted(set(wanted) - {run.name for run in chosen})
        if odd:
            known = ", ".join(run.name for run in chosen)
            print(f"accuracy: there is no run {odd[0]!r}\n    the runs are {known}", file=sys.stderr)
            return 2
        chosen = [run for run in chosen if run.name in wanted]
    out = options.out / "quick" if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    made_with = _made_with(options.model)
    seals = {} if options.again else _read_seals(out)
    left = [run for run in chosen if seals.get(run.name) != _seal(made_with, run) or not _whole(out, run)]
    for run in chosen:
        if run not in left:
            print(f"{run.name}: there already", file=sys.stderr)
    failed = []
    began = time.monotonic()
    with ThreadPoolExecutor(options.processes) as pool:
        futures = {pool.submit(_make, run, options.model, out): run for run in left}
        for future in as_completed(futures):
            run = futures[future]
            error = future.result()
            minutes = (time.monotonic() - began) / 60
            if error:
                failed.append(run.name)
                print(f"{run.name}: FAILED after {minutes:.1f} min: {error}", file=sys.stderr)
                continue
            # Read again: runs end at different times, and each adds only itself.
            seals = _read_seals(out) | {run.name: _seal(made_with, run)}
            _write(out / SEALS, json.dumps(seals, indent=2).encode() + b"\n")
            print(f"{run.name}: made, {minutes:.1f} min since the start", file=sys.stderr)
    found = {run.name: _read(out, run) for run in runs(quick=options.quick) if _whole(out, run)}
    commands = {run.name: _said(run, options.model) for run in runs(quick=options.quick)}
    text = page(found, commands)
    _write(out / "tables.md", text.encode())
    print(text)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    from antifraud.settings import load_settings

    default = load_settings(env={}).model_dir
    parser = argparse.ArgumentParser(description="Makes the figures of docs/explanation/accuracy.md anew.")
    parser.add_argument("--model", type=Path, default=default, help="the model's directory; by default the one in use")
    parser.add_argument("--out", type=Path, default=ROOT / ".accuracy" / "figures", help="where the figures go")
    parser.add_argument("--only", default="", help="names of runs, with commas; by default all")
    parser.add_argument("--processes", type=int, choices=range(1, 17), default=2, help="runs at the same time")
    parser.add_argument("--quick", action="store_true", help="very few calls: does everything work?")
    parser.add_argument("--again", action="store_true", help="make also what is there already")
    found = parser.parse_args()
    if found.model is None:
        parser.error("the configuration names no model: say --model DIR")
    return found


def _made_with(model: Path) -> str:
    from antifraud.decision import load_bundle
    from antifraud.domain import AntifraudError
    from antifraud.scoring import Model
    from antifraud.settings import load_settings

    try:
        settings = load_settings(env={})
        bundle = load_bundle(settings.rules_dir, settings.utc_offset_min)
        return f"{Model.load(model).id} bundle {bundle.digest} configuration {settings.policy().digest}"
    except AntifraudError as error:
        print(error.render(), file=sys.stderr)
        raise SystemExit(2) from None


def _seal(made_with: str, run: Run) -> str:
    return f"{made_with} command {' '.join(run.command)}"


def _said(run: Run, model: Path) -> str:
    """The command of ``run``, as the page says it."""
    shown = model.resolve()
    name = str(shown.relative_to(ROOT)) if shown.is_relative_to(ROOT) else f"{shown.parent.name}/{shown.name}"
    words = [name if word == "MODEL" else word for word in run.command]
    return "antifraud model " + " ".join(words).replace(" --keep DIR", "")


def _make(run: Run, model: Path, out: Path) -> str:
    """Make one run; what went wrong, or "" when all is well."""
    put = {"MODEL": str(model), "DIR": str(out / run.name)}
    command = [sys.executable, "-m", "antifraud.cli", "model", *(put.get(word, word) for word in run.command), "--json"]
    if run.page:
        command += ["--html", str(out / f"{run.name}.html")]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_S, check=False, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return f"not done after {LONGEST_S / 60:.0f} minutes"
    # 1 says that a certificate is violated, which is a figure; the report is whole then too.
    if done.returncode not in (0, 1) or not done.stdout.strip():
        return done.stderr.decode("utf-8", "replace").strip()[-2000:] or f"exit code {done.returncode}"
    try:
        json.loads(done.stdout)
    except ValueError as error:
        return f"no JSON: {error}"
    _write(out / f"{run.name}.json", done.stdout)
    return ""


def _whole(out: Path, run: Run) -> bool:
    try:
        _read(out, run)
    except (OSError, ValueError):
        return False
    return True


def _read(out: Path, run: Run) -> Any:
    return json.loads((out / f"{run.name}.json").read_bytes())


def _read_seals(out: Path) -> dict[str, str]:
    try:
        found = json.loads((out / SEALS).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(seal) for name, seal in found.items()} if isinstance(found, dict) else {}


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
