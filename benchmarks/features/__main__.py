"""Benchmarks of the windows; each prints one JSON object.

    .venv/bin/python -m benchmarks.features speed|memory|snapshot|rotation|kill_9|all [--quick] [...]

``all`` runs each in a process of its own, so that one's memory is not another's. Progress goes to a terminal only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys

NAMES = ("speed", "snapshot", "rotation", "kill_9")


def main() -> None:
    """Run one benchmark, or all of them, and print what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.features", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name in (*NAMES, "memory"):
        module = importlib.import_module(f"benchmarks.features.{name}")
        command = commands.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.add_argument("--quick", action="store_true", help="a small run, all of them in about a minute")
        command.set_defaults(run=module.run)
    everything = commands.add_parser("all", description="All benchmarks; snapshot includes memory.")
    everything.add_argument("--quick", action="store_true")
    everything.set_defaults(run=lambda options: {name: _run(name, options.quick) for name in NAMES})
    options = parser.parse_args()
    found = options.run(options)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(json.dumps(found, indent=2))


def _run(name: str, quick: bool) -> object:
    command = [sys.executable, "-m", "benchmarks.features", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
