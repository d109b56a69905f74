"""The dialplan that comes along agrees with adapter and agent, and uses nothing that a caller wrote unfiltered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sip_adapters.asking import EmergencyNumbers, Order
from sip_adapters.asking.emergency import NUMBERS
from sip_adapters.switches.asterisk import adapter, agent

TEXT = Path(adapter.__file__).with_name("extensions_antifraud.conf").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line.strip() and not line.startswith(";")]
SAMPLES = [
    f"{head}{area}{code}"
    for head in ("", "7", "+7", "8", "8107", "007", "810", "00", "1", "9", "77")
    for area in ("", "727", "7172", "71721", "7212", "701", "727212", "6", "7010000")
    for code in (*NUMBERS, "105", "113", "1120")
]
WRITTEN_BY_CALLERS = (
    "ANTIFRAUD_CALLEE", "ANTIFRAUD_CALLER", "ANTIFRAUD_ASSERTED", "ANTIFRAUD_IDENTITY", "ANTIFRAUD_DIVERSION",
    "ANTIFRAUD_AGENT", "CALLERID(", "PJSIP_HEADER(", "EXTEN",
)  # fmt: skip


def emergency_patterns() -> list[re.Pattern[str]]:
    section = TEXT.split("[antifraud-emergency]")[1].split("\n[antifraud]")[0]
    found = re.findall(r"^exten => ([^,]+),1,NoOp\(\)$", section, re.MULTILINE)
    assert len(found) >= 5
    return [re.compile(name.removeprefix("_").replace("X", "[0-9]")) for name in found]


def test_emergency_calls_are_those_of_the_adapter() -> None:
    """The block list comes before the adapter: what only the adapter knew would be refused to a listed caller."""
    patterns, adapters = emergency_patterns(), EmergencyNumbers()
    assert {number for number in SAMPLES if number in adapters} >= set(NUMBERS)
    for number in SAMPLES:
        digits = re.sub("[^0-9]", "", number)
        assert any(pattern.fullmatch(digits) for pattern in patterns) == (number in adapters), number


def test_emergency_comes_before_the_list_and_the_question() -> None:
    places = [TEXT.index(what) for what in ("?emergency)", "DB(antifraud_block/", "AGI(agi://${ANTIFRAUD_SERVER}/ask)")]
    assert places == sorted(places)


def test_every_label_that_is_gone_to_is_there() -> None:
    section = "\n".join(LINES).split("[antifraud]\n")[1].split("[antifraud-ended]")[0]
    labels = set(re.findall(r"n\((\w+)\),", section))
    wanted = set(re.findall(r"\?(\w+)(?::\w+)?\)$", section, re.MULTILINE))
    wanted |= set(re.findall(r"\?\w+:(\w+)\)$", section, re.MULTILINE)) | set(re.findall(r"Goto\((\w+)\)", section))
    assert wanted == labels


def test_what_callers_wrote_is_only_copied_or_filtered() -> None:
    for line in LINES:
        for name in WRITTEN_BY_CALLERS:
            if f"${{{name}" in line and name in line:
                sound = re.search(r"n,Set\((?:ANTIFRAUD_[A-Z]+=|LOCAL\(\w+\)=\$\{FILTER\([+0-9-]+,)\$\{", line)
                assert sound is not None, line


def test_brackets_are_closed() -> None:
    for line in LINES:
        for opening, closing in ("()", "{}", "[]"):
            assert line.count(opening) == line.count(closing), line


def test_names_agree() -> None:
    assert f"DB({agent.Options().family}/" in TEXT
    order = Order("block", "t", "l", "r", "d", 21, 603, "Decline")
    told = {name for name, _ in adapter.told(order, "1.1")}
    assert {"ANTIFRAUD_VERDICT", "ANTIFRAUD_TARGET", "ANTIFRAUD_LABEL", "ANTIFRAUD_CAUSE"} <= told
    used = set(re.findall(r"ANTIFRAUD_[A-Z]+", "\n".join(LINES)))
    operators = {f"ANTIFRAUD_{name}" for name in ("CALLEE", "CALLER", "SERVER", "DESK", "TRUSTED")}
    known = told | {name for name, _ in adapter.ASKED}
    assert used <= known | operators


@pytest.mark.parametrize("name", [name for name, _ in adapter.ASKED])
def test_what_is_asked_for_is_described(name: str) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/how-to/asterisk.md").read_text(encoding="utf-8")
    assert name in page or name in TEXT
