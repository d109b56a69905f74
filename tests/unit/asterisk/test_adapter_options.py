"""What is wrong with the section of an adapter is said with the place and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import ConfigError
from sip_adapters.switches.asterisk.adapter import Options
from sip_adapters.switches.options import read_section
from sip_adapters.switches.serving import number_of, read_place, setup_event
from tests.undecided import policy

GOLDEN = Path(__file__).with_name("golden")
LADDER = policy(**{"any.late": "refuse"})


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("unknown-option", {"lissen": "127.0.0.1:4573"}),
        ("no-address", {"listen": "4573"}),
        ("open-door", {"listen": "0.0.0.0:4573"}),
        ("strange-peer", {"peers": ["switch"]}),
        ("strange-emergency", {"emergency": ["police"]}),
        ("strange-prefix", {"emergency_prefix": "("}),
        ("strange-switch", {"switch": "a b"}),
        ("deadline", {"deadline_ms": "soon"}),
        ("strange-rung", {"fail": LADDER | {"actions": {"any": {"late": "open"}}}}),
        ("strange-home", {"fail": LADDER | {"home": "(", "protected_callees": ["[0-"]}}),
    ],
)
def test_mistakes_are_named(name: str, section: dict[str, Any], golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_place("adapters.asterisk", read_section("adapters.asterisk", Options, section))
    golden(
        GOLDEN / f"adapter-{name}.txt", "\n".join(f"{p.message}\n    {p.hint}" for p in caught.value.problems) + "\n"
    )


def test_texts_of_the_command_line_stand_for_numbers() -> None:
    own = read_section("adapters.asterisk", Options, {"deadline_ms": "200", "enabled": True, "config_dir": "/x"})
    assert own.deadline_ms == 200
    assert read_place("adapters.asterisk", own).port == 4573


def test_the_fail_policy_of_the_configuration_is_read_as_it_is() -> None:
    own = read_section("adapters.asterisk", Options, {"fail": LADDER})
    place = read_place("adapters.asterisk", own)
    assert place.fail is not None
    assert place.fail.section.actions["any"] == {"late": "refuse", "redis": "allow", "overload": "allow"}
    assert read_place("adapters.asterisk", Options()).fail is None


@pytest.mark.parametrize("listen", ["[::1]:4573", "localhost:4573", "127.1.2.3:0"])
def test_this_machine_needs_no_peers(listen: str) -> None:
    assert read_place("adapters.asterisk", Options(listen=listen)).peers == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+77010000001", "+77010000001"),
        ('"A, B" <sip:+77010000001@x.example;user=phone>;tag=1', "+77010000001"),
        ("tel:+77010000001", "+77010000001"),
        ("<sip:", ""),
        ("", ""),
        ("a\x00b", "a\ufffdb"),
    ],
)
def test_numbers_out_of_headers(text: str, number: str) -> None:
    assert number_of(text) == number


def test_texts_are_cut_and_made_printable() -> None:
    event = setup_event(
        "asterisk", Options(), "x" * 400, "?", caller_raw="1" * 9_000, user_agent="a\u202e", trunk=" intl-1 "
    )
    assert (len(event.caller_raw), event.user_agent, event.trunk, event.roaming) == (256, "a\ufffd", "intl-1", None)
    assert len(event.call_id) <= 256
