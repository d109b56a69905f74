"""The tables of the accuracy page are whole: as many cells as heads, and a run that is missing is said to be."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from antifraud.backtest.seed_trials import summary, trial
from antifraud.scoring.evaluation import evaluate
from antifraud.scoring.permutations import permuted_run
from tests.unit.scoring.judged import made_calls, subject

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("accuracy_tables", SCRIPTS / "accuracy_tables.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    calls = made_calls()
    runs = [permuted_run("prefix", "shuffled", calls, calls, subject())]
    report = evaluate(calls, subject(), rounds=20, permuted=runs) | {"about": "", "repeated": 0}
    found = dict.fromkeys(("national", "cold-start", "three-days", "permuted", "heldout-sims"), report)
    trials = [trial(calls, subject(), "national", 1, "")]
    whole = found | {"certificate": summary(trials)}
    return {name: msgspec.json.decode(msgspec.json.encode(one)) for name, one in whole.items()}


def test_every_table_has_as_many_cells_as_heads(tables: ModuleType, reports: dict[str, Any]) -> None:
    text = tables.page(reports, {"national": "antifraud model evaluate models/toy/1"})
    cells: list[int] = []
    seen = 0
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells.append(line.count("|"))
        elif cells:
            assert len(set(cells)) == 1, (line, cells)
            seen, cells = seen + 1, []
    assert seen == 13
    assert "None" not in text
    assert "nan" not in text.replace("national", "")
    assert "    antifraud model evaluate models/toy/1" in text


def test_the_figures_are_those_of_the_report(tables: ModuleType, reports: dict[str, Any]) -> None:
    text = tables.page(reports, {})
    national = reports["national"]
    assert f"{national['honest_calls']:,} honest calls" in text
    stopped = national["systems"]["rules_and_score"]["stopped"]
    assert f"{stopped['recall']['value'] * 100:.1f} % (" in text
    assert f"| {stopped['honest_calls']}: " in text


def test_what_has_not_been_made_is_said_to_be_missing(tables: ModuleType, reports: dict[str, Any]) -> None:
    text = tables.page({"heldout-sims": reports["heldout-sims"]}, {})
    for name in ("national", "cold-start", "permuted", "certificate"):
        assert f"`{name}` has not been made." in text
    assert "| heldout-routes | not made |" in text
