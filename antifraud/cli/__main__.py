"""``python -m antifraud.cli``: the same as ``antifraud``; processes that start others use it."""

from __future__ import annotations

from antifraud.cli import main

main()
