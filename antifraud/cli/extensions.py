"""Adapters, readers and callers, found by entry points: the engine knows none of them by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from antifraud.domain import UsageError


def load_extensions(group: str) -> dict[str, Any]:
    """Everything installed under ``group``, by name, in the order of the names."""
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load_extension(group: str, name: str) -> Any:
    """The one called ``name``; UsageError names those that there are."""
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise UsageError(f"there is no {name!r} here", hint=f"installed: {', '.join(sorted(points)) or 'none'}")
    return points[name].load()
