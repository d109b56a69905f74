"""The names that other parts of the product may use; a change here is a change of the interface."""

from __future__ import annotations

import subprocess
import sys

from antifraud import rulekit


def test_exported_names() -> None:
    assert rulekit.__all__ == sorted(rulekit.__all__)
    assert {
        "Field",
        "Hit",
        "Params",
        "Predicate",
        "RuleSet",
        "combine_where",
        "compile_where",
        "load_fields",
        "load_rules",
    } <= set(rulekit.__all__)
    assert all(hasattr(rulekit, name) for name in rulekit.__all__)


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, antifraud.rulekit, antifraud.cli.rules;"
        "print([name for name in ('numpy', 'numba', 'lightgbm', 'pyarrow', 'scapy', 'pydantic', 'redis', 'asyncio')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
