"""numba's compiler behind a typed decorator, and its disk cache where there is a place for one.

Compiled functions here only read and write arrays that they are given. numba's counting of references is switched
off for them (``_nrt``): it would lock the bus twice for every array at every call, which took two thirds of the time.
So nothing that is compiled here may make an array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function`` as machine code, compiled at its first call and kept on disk.

    The cache lies beside the source or, where that cannot be written, in the user's cache directory
    (``NUMBA_CACHE_DIR`` moves it). Where neither can be written the code is compiled anew in every process.
    """
    try:
        made: F = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
    except RuntimeError:  # numba's way to say that it found no directory for a cache
        made = njit(nogil=True, error_model="numpy", _nrt=False)(function)
    return made


def part(function: F) -> F:
    """``function`` as machine code inside the compiled functions that call it; nothing of its own on disk."""
    made: F = njit(nogil=True, error_model="numpy", _nrt=False)(function)
    return made
