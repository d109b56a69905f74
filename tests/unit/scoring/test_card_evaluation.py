"""An evaluation in a manifest: what the card shows is what was measured, and nothing else gets in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifraud.domain import UsageError
from antifraud.scoring import read_manifest, write_manifest
from antifraud.scoring.card import card_text
from antifraud.scoring.card_evaluation import evaluation_lines, summary
from antifraud.scoring.evaluation import evaluate
from antifraud.scoring.permutations import permuted_run
from tests.unit.scoring.judged import made_calls, subject

CALLS = made_calls()


def made_report() -> Any:
    runs = [permuted_run("trunk", "shuffled", CALLS, CALLS, subject())]
    found = evaluate(CALLS, subject(), rounds=20, permuted=runs) | {"about": "Synthetic | <b>"}
    return msgspec.json.decode(msgspec.json.encode(found))


REPORT = made_report()


def test_the_card_shows_what_was_measured_and_the_digest_stays(model_dir: Path) -> None:
    manifest = read_manifest(model_dir / "manifest.toml")
    found = summary(REPORT, "toy/1@0")
    written = msgspec.structs.replace(manifest, metrics={**manifest.metrics, "evaluation": found})
    write_manifest(written, model_dir / "manifest.toml")
    again = read_manifest(model_dir / "manifest.toml")
    assert again.digest == manifest.digest
    assert again.metrics["evaluation"] == found
    text = card_text(again)
    assert "## Measured by an evaluation" not in card_text(manifest)
    assert f"| nothing | {REPORT['auc']:.4f} |" in text
    assert f"| trunk shuffled | {REPORT['auc']:.4f} |" in text
    assert "| first 10 minutes |" in text
    assert "<b>" not in text
    tomllib.loads((model_dir / "manifest.toml").read_text(encoding="utf-8"))


def test_all_lines_of_a_table_have_as_many_cells() -> None:
    cells: list[int] = []
    for line in [*evaluation_lines(summary(REPORT, "toy/1@0")), ""]:
        if line.startswith("|"):
            cells.append(line.count("|"))
        else:
            assert len(set(cells)) <= 1
            cells = []


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ([], "not the JSON of an evaluation"),
        ({"format": "antifraud.drift/1"}, "not the JSON of an evaluation"),
        (REPORT | {"model": "other/2@1"}, "the evaluation is of other/2@1"),
        ({key: value for key, value in REPORT.items() if key != "cold_start"}, "KeyError 'cold_start'"),
        (REPORT | {"permutations": [{}] * 100}, "no list of at most"),
        (REPORT | {"about": 5}, "TypeError"),
    ],
)
def test_what_is_no_evaluation_of_this_model_is_refused(report: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        summary(report, "toy/1@0")


@given(st.sampled_from(sorted(REPORT)), st.none() | st.integers() | st.text() | st.lists(st.none(), max_size=3))
def test_a_damaged_report_is_refused_or_written_whole(key: str, value: object) -> None:
    try:
        found = summary(REPORT | {key: value}, "toy/1@0")
    except UsageError:
        return
    assert evaluation_lines(found)
