"""Which decisions raise an alert, where it goes, and which broker addresses are understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antifraud.domain import ConfigError, Decision
from antifraud.engine.alerts import alert_of, read_broker, topic_of
from antifraud.settings import AlertSettings


def decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {"id": "d", "call_id": "c", "ts": 1.0, "shard": "kz", "region": "KZ-75"}
    return Decision(**values | {"verdict": "block", "full_verdict": "block", "ceiling": "block"} | changes)


@pytest.mark.parametrize(
    ("changes", "raised"),
    [
        ({}, True),
        ({"ceiling": "shadow", "verdict": "allow"}, True),
        ({"ceiling": "label", "verdict": "label", "full_verdict": "divert"}, True),
        ({"late": True}, True),
        ({"ceiling": "off", "verdict": "allow"}, False),
        ({"verdict": "allow", "full_verdict": "allow"}, False),
        ({"duplicate": True}, False),
        ({"protected": True}, False),
    ],
)
def test_which_decisions_raise_an_alert(changes: dict[str, Any], raised: bool) -> None:
    assert (alert_of(decision(**changes)) is not None) == raised


@pytest.mark.parametrize(
    ("prefix", "region", "topic"),
    [
        ("antifraud", "KZ-75", "antifraud/kz/KZ-75/block"),
        ("a/b/", "KZ-75", "a/b/kz/KZ-75/block"),
        ("antifraud", "", "antifraud/kz/none/block"),
        ("antifraud", "KZ/+#\0", "antifraud/kz/KZ____/block"),
    ],
)
def test_topics_cannot_be_broken_out_of(prefix: str, region: str, topic: str) -> None:
    alert = alert_of(decision(region=region))
    assert alert is not None
    assert topic_of(prefix, alert) == topic


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker.example", ("broker.example", 1883, None, None, False)),
        ("mqtts://broker.example", ("broker.example", 8883, None, None, True)),
        ("mqtt://u%40x:p%2Fw@[::1]:2883", ("::1", 2883, "u@x", "p/w", False)),
    ],
)
def test_broker_addresses(url: str, expected: tuple[object, ...]) -> None:
    broker = read_broker(AlertSettings(url=url))
    assert (broker.host, broker.port, broker.username, broker.password, broker.tls) == expected


def test_a_password_file_wins_over_the_address(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    assert read_broker(AlertSettings(url="mqtt://u:other@b", password_file=str(file))).password == "from the file"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": ""}, "alerts.url names no broker"),
        ({"url": "http://broker.example"}, "alerts.url names no broker"),
        ({"url": "mqtt://"}, "alerts.url names no broker"),
        ({"url": "mqtt://broker:99999"}, "alerts.url cannot be used"),
        (
            {"url": "mqtt://b", "password_file": "/nowhere/password"},
            "alerts.password_file /nowhere/password cannot be read",
        ),
        ({"url": "mqtts://b", "ca_file": "/nowhere/ca"}, "alerts.ca_file /nowhere/ca does not exist"),
    ],
)
def test_brokers_that_cannot_be_used_are_refused_at_once(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_broker(AlertSettings(**options))
