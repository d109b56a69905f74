"""Mistakes in the redirect section are named, located and come with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from antifraud.domain import ConfigError
from sip_adapters.redirect import read_options


def test_defaults_and_texts_from_the_command_line() -> None:
    options = read_options({"enabled": True, "config_dir": "x", "deadline_ms": "80", "trust_asserted": "true"})
    assert (options.host, options.port, options.section.deadline_ms) == ("127.0.0.1", 0, 80)
    assert options.section.trust_asserted is True
    assert read_options({}).section.trust_asserted is False


def test_ipv6() -> None:
    options = read_options({"listen": "[::1]:5060"})
    assert (options.host, options.port) == ("::1", 5060)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"dedline_ms": 5}, ["adapters.redirect.dedline_ms: there is no such option", "did you mean deadline_ms?"]),
        ({"deadline_ms": 5}, ["adapters.redirect.deadline_ms: expected `int` >= 10"]),
        ({"deadline_ms": "soon"}, ["adapters.redirect.deadline_ms: expected `int`"]),
        ({"go_on_status": 200}, ["adapters.redirect.go_on_status", ">= 300"]),
        ({"listen": "5060"}, ["'5060' is no address", "host:port"]),
        ({"listen": "h:99999"}, ["is no address"]),
        ({"peers": ["300.1.1.1"], "trunk_by_source": {"x": "t"}}, ["peers: '300.1.1.1'", "trunk_by_source: 'x'"]),
        ({"headers": {"caller": "X-A"}}, ["headers.caller", "switch, trunk, roaming"]),
        ({"headers": {"trunk": "X:\r\nY"}}, ["adapters.redirect.headers"]),
        ({"emergency_prefix": "(8"}, ["adapters.redirect.emergency_prefix", "no regular expression"]),
        ({"emergency": ["police"]}, ["adapters.redirect.emergency", "'police' is no number"]),
    ],
)
def test_mistakes(raw: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(raw)
    for words in said:
        assert words in caught.value.render()
