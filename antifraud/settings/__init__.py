"""Layered configuration: config/default.yaml, one file a region, the environment, the command line.

Every value knows where it was said; everything wrong is reported at once, with file, line, column and a suggestion.
"""

from __future__ import annotations

from antifraud.settings.directories import data_dir, state_dir
from antifraud.settings.effective import BUILT_IN, Settings, Value
from antifraud.settings.load import load_settings
from antifraud.settings.schema import (
    AlertSettings,
    EngineSettings,
    FeatureSettings,
    JournalSettings,
    MetricsSettings,
    RedisSettings,
    Region,
)
from antifraud.settings.sizes import show_size

__all__ = [
    "BUILT_IN",
    "AlertSettings",
    "EngineSettings",
    "FeatureSettings",
    "JournalSettings",
    "MetricsSettings",
    "RedisSettings",
    "Region",
    "Settings",
    "Value",
    "data_dir",
    "load_settings",
    "show_size",
    "state_dir",
]
