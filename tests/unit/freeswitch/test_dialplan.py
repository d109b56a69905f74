"""The dialplan that comes along agrees with the adapter and the agent."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from sip_adapters.asking import EmergencyNumbers
from sip_adapters.asking.emergency import NUMBERS
from sip_adapters.switches.freeswitch import adapter, agent

PATH = Path(adapter.__file__).with_name("dialplan_antifraud.xml")
ROOT = ET.fromstring(PATH.read_text(encoding="utf-8"))
SAMPLES = [
    f"{head}{area}{code}"
    for head in ("", "7", "+7", "8", "8107", "007", "810", "00", "1", "9", "77")
    for area in ("", "727", "7172", "71721", "7212", "701", "727212", "6", "7010000")
    for code in (*NUMBERS, "105", "113", "1120")
]


def conditions() -> list[ET.Element]:
    (extension,) = (one for one in ROOT.iter("extension") if one.get("name") == "antifraud")
    return extension.findall("condition")


def test_emergency_calls_are_those_of_the_adapter() -> None:
    """The block list comes before the adapter: what only the adapter knew would be refused to a listed caller."""
    first = conditions()[0]
    assert (first.get("field"), first.get("break")) == ("destination_number", "on-true")
    pattern, adapters = re.compile(first.get("expression", "")), EmergencyNumbers()
    for number in SAMPLES:
        assert bool(pattern.search(number)) == (number in adapters), number
    for number in ("1-1-2", "112#", "8-1-1-2", "87172-10.3", "sos", "urn:service:sos", "urn:service:sos.fire"):
        assert pattern.search(number), number
    for number in ("+77010000112", "sosed", "1-1-3", "101101"):
        assert not pattern.search(number), number


def test_only_a_number_is_looked_up_and_only_a_running_block_counts() -> None:
    by_itself, home, block = conditions()[1:4]
    assert re.search(by_itself.get("expression", ""), "+77010000001")
    assert re.search(home.get("expression", ""), "87010000001")
    for evil in ("+7701/x", "${system(id)}", "+77010000001\n", "'", "7701000000"):
        for one in (by_itself, home):
            assert not re.search(one.get("expression", "").replace("$", r"\Z"), evil)
    realm = agent.Options().realm
    assert all(f"${{hash(select/{realm}/" in ET.tostring(one, encoding="unicode") for one in (by_itself, home))
    expression = re.compile(block.get("expression", ""))
    assert expression.search("1796069373:yes")
    for other in (":yes", "1796069373:no", ":-ERR", "-ERR Usage:yes", "1796069373:", ""):
        assert not expression.search(other)
    assert block.get("break") == "on-true"


def test_the_question_lets_the_dialplan_go_on() -> None:
    done = [(action.get("application"), action.get("data")) for action in conditions()[4].iter("action")]
    assert done[0] == ("set", "antifraud_verdict=")
    assert ("set", "socket_resume=true") in done
    assert done[-2] == ("socket", f"{adapter.Options().listen} async full")
    assert done[-1] == ("execute_extension", "antifraud-${antifraud_verdict} XML antifraud")


def test_every_verdict_has_its_extension() -> None:
    (context,) = (one for one in ROOT.iter("context") if one.get("name") == "antifraud")
    patterns = [condition.get("expression", "") for condition in context.iter("condition")]
    for verdict in ("", "none", "allow", "label", "emergency"):
        assert [bool(re.search(one, f"antifraud-{verdict}")) for one in patterns] == [False, False, True]
    for verdict, own in (("divert", 0), ("challenge", 0), ("block", 1)):
        assert next(n for n, one in enumerate(patterns) if re.search(one, f"antifraud-{verdict}")) == own


def test_what_the_adapter_reads_is_described() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/how-to/freeswitch.md").read_text(encoding="utf-8")
    names = [name for _, lines in adapter.ASKED for name in lines if name.startswith("variable_antifraud_")]
    for name in [*names, "variable_antifraud_call", "variable_antifraud_roaming", *adapter.CALLEE[:1]]:
        assert name.removeprefix("variable_") in page
