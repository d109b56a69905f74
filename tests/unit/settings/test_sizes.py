"""Sizes of memory as people write them, and how they reach the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from antifraud.settings import Settings, show_size
from antifraud.settings.sizes import parse_size

Load = Callable[..., Settings]


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("1GiB", 1 << 30),
        ("512MiB", 512 << 20),
        ("512 mib", 512 << 20),
        ("6GB", 6_000_000_000),
        ("1.5GiB", 3 << 29),
        ("0.125TiB", 1 << 37),
        ("2048kB", 2_048_000),
        ("123456789", 123_456_789),
        ("7B", 7),
        (1 << 31, 1 << 31),
    ],
)
def test_a_size_is_understood(written: str | int, bytes_: int) -> None:
    assert parse_size(written) == bytes_


@pytest.mark.parametrize("written", ["", "-1GiB", "1G", "GiB", "1.GiB", "1,5GiB", "1GiB\n", "1e9", "٣GiB", "1iB"])
def test_what_is_no_size_is_refused(written: str) -> None:
    assert parse_size(written) is None


@pytest.mark.parametrize(
    ("bytes_", "shown"), [(0, "0B"), (1 << 30, "1GiB"), (64 << 20, "64MiB"), (6e9, "5.6GiB"), (1 << 44, "16TiB")]
)
def test_a_size_is_shown(bytes_: float, shown: str) -> None:
    assert show_size(bytes_) == shown


def test_the_limit_comes_from_any_layer(load: Load) -> None:
    assert load().features.memory_bytes == 1 << 30
    files = {"default.yaml": "default_region: KZ-75\nfeatures:\n  memory_limit: 200000000\n"}
    assert load(files).features.memory_bytes == 200_000_000
    assert load(files, {"ANTIFRAUD_FEATURES_MEMORY_LIMIT": "6GB"}).features.memory_bytes == 6_000_000_000
    assert load(files, {}, {"features.memory_limit": "134217728"}).features.memory_bytes == 128 << 20
    assert load(files, {"ANTIFRAUD_ENGINE_FEEDBACK": "false"}).engine.feedback is False


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1:9464", "localhost:0", "[::1]:65535", "0.0.0.0:80", "metrics.example:1"]
)
def test_addresses_of_metrics(load: Load, listen: str) -> None:
    assert load(None, {"ANTIFRAUD_METRICS_LISTEN": listen}).metrics.listen == listen
