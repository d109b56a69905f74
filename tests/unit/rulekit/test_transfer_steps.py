"""Taking a large bundle in keeps the interpreter for a moment at a time: the promise that a reload makes to calls."""

from __future__ import annotations

import io
import time
from array import array

from antifraud.domain import Stage
from antifraud.rulekit import CompiledRules, Hit, ListFile, LocalText
from antifraud.rulekit.compiler import Clause, pack_code
from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.evaluation import HeldList, Maker, Pack
from antifraud.rulekit.list_folder import ListStamp
from antifraud.rulekit.sorted_entries import BITS, Columns, Ends
from antifraud.rulekit.texts import Placeholder, ReasonText, Template
from antifraud.rulekit.transfer import PieceWriter, read_rules, write_rules
from antifraud.rulekit.tree import And, Compare, Literal, Matches, Slot

RULES = 1_000
ENTRIES = 1_000_000
LONGEST_S = 0.01


def rules() -> CompiledRules:
    clauses, makers = [], []
    for number in range(RULES):
        terms = [Compare(">", Slot(f"n{at}", at, "number"), Literal(float(number + at))) for at in range(6)]
        matches = Matches(Slot("caller", 7, "text"), f"^\\+7{number:04}")
        clauses.append(Clause(And((*terms, matches))))
        texts = tuple((language, Template(("reason ", 0, f" of {number}"))) for language in ("en", "ru", "kk"))
        reason = ReasonText((Placeholder("caller"),), texts)
        like = Hit(f"r{number}", "divert", Stage.SHADOW, 100.0, "", "", f"rule:r{number}", reason)
        makers.append(Maker((2, f"r{number}"), like, ((False, 7),)))
    keys = array("q", [number << BITS for number in range(77_010_000_000, 77_010_000_000 + ENTRIES)])
    columns = Columns("numbers", keys, Ends([float("inf")], array("d")), array("i", range(ENTRIES)), {})
    file = ListFile("many", "numbers", (), "tests", "made up", LocalText(), columns, Sheet("lists/many.yaml"))
    held = HeldList(file, file.table(), ListStamp("own", "whole"))
    defaults = {f"r{number}": {"most": 5.0, "words": ("a", "b")} for number in range(RULES)}
    return CompiledRules([Pack("p", pack_code("p", clauses), tuple(makers), ())], [held], defaults, "digest")


def test_no_step_is_long() -> None:
    stream = io.BytesIO()
    before = rules()
    index = write_rules(before, {"many": before.held["many"].stamp}, PieceWriter(stream))
    content = memoryview(stream.getvalue())
    steps: list[float] = []
    last = 0.0

    def pause() -> None:
        nonlocal last
        now = time.thread_time()  # not the clock: whatever else this machine does is no concern of this test
        steps.append(now - last)
        last = now

    fastest = float("inf")
    for _ in range(3):
        steps.clear()
        last = time.thread_time()
        found = read_rules(index, content, before.held, pause)
        pause()
        fastest = min(fastest, max(steps))
        assert found.packs == before.packs
        assert found.held["many"] is before.held["many"]
    assert len(steps) > RULES
    assert fastest < LONGEST_S
