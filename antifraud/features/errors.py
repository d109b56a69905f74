"""What can be wrong with a snapshot; everything else that features raise is in antifraud.domain."""

from __future__ import annotations

from antifraud.domain import AntifraudError


class SnapshotError(AntifraudError):
    """A snapshot that must not be used; the one before it, or a longer replay, takes its place.

    ``reason`` is the stable class for counters: ``missing``, ``damaged``, ``version``, ``windows``.
    """

    exit_code = 1

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
