"""antifraud: decides about a telephone call before the phone rings."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
