"""The compiler: a missing place for the cache costs time, never the start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numba import njit

import antifraud.jit
from antifraud.jit import compiled, part

PROGRAM = """
from antifraud.jit import compiled, part
from probe import double
print(double(21), double.stats.cache_path)
"""


def test_code_without_a_file_is_compiled_without_a_cache() -> None:
    scope: dict[str, object] = {}
    exec("def triple(x):\n    return 3 * x\n", scope)
    assert compiled(scope["triple"])(14) == 42  # type: ignore[operator, type-var]


def test_where_the_package_cannot_be_written_the_cache_goes_to_the_user(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "probe.py").write_text(
        "from antifraud.jit import compiled\n@compiled\ndef double(x):\n    return 2 * x\n"
    )
    (package / "__pycache__").write_text("a file where the cache directory would be, so that nobody can make it")
    root = Path(antifraud.jit.__file__).parents[2]
    home = tmp_path / "home"
    environment = {
        "PYTHONPATH": f"{package}:{root}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "PATH": os.environ.get("PATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith("42 ")
    assert str(home) in found
    shutil.rmtree(home)
    home.write_text("nor here")
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith("42 ")


def test_only_our_own_functions_take_indices_as_they_are() -> None:
    @njit
    def last(values: np.ndarray, place: int) -> int:
        return values[place]

    @part
    def at(values: np.ndarray, place: int) -> int:
        return values[place]

    values = np.arange(10, dtype=np.int64)
    assert at(values, 9) == 9
    assert last(values, -1) == 9, "numba's own counting from the end is back"
    ours, theirs = (next(iter(one.inspect_llvm().values())) for one in (at, last))
    assert "icmp slt" in theirs
    assert "icmp slt" not in ours
    assert at(values[2:], -1) == 1, "an index of ours is an offset, whatever its sign"


def test_what_is_kept_is_not_used_when_a_constant_elsewhere_has_changed(tmp_path: Path) -> None:
    """Old places compiled into a kernel read and write where something else lies by now."""
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "kernel.py").write_text(
        "from antifraud.jit import compiled\n"
        "from sample.places import PLACE\n\n"
        "@compiled\n"
        "def place():\n"
        "    return PLACE\n"
    )
    said = "from sample.kernel import place; print(place(), len(place.stats.cache_hits))"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}:{Path(antifraud.jit.__file__).parents[2]}",
        "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
    }

    def run(constant: int) -> str:
        (package / "places.py").write_text(f"PLACE = {constant}\n")
        done = subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert run(7) == "7 0"
    assert run(7) == "7 1", "kept from before"
    assert run(8) == "8 0"
