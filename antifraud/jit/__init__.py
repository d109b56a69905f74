"""Machine code: numba's compiler as the windows and the trees use it. Importing it imports numba, which takes long."""

from __future__ import annotations

from antifraud.jit.compiler import compiled, part

__all__ = ["compiled", "part"]
