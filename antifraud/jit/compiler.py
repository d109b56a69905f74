"""numba's compiler behind a typed decorator, and its disk cache where there is a place for one.

Compiled functions here only read and write arrays that they are given, at places that are never negative. Two things
that numba does for everybody are therefore switched off for them; both are measured (benchmarks/features):

- the counting of references (``_nrt``) would lock the bus twice for every array at every call, which took two thirds
  of the time. So nothing that is compiled here may make an array;
- the counting from the end where an index is negative, three instructions at every access, a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.np import arrayobj

F = TypeVar("F", bound=Callable[..., Any])

_FIX_INDEX: Final = "fix_integer_index"


@contextmanager
def _from_the_beginning() -> Iterator[None]:
    """While this lasts, an index is an offset from the beginning; numba's own lock keeps other compilations out."""
    theirs = getattr(arrayobj, _FIX_INDEX, None)
    if theirs is None:  # another numba: the code is then as right and slower
        yield
        return

    def as_it_is(context: Any, builder: Any, of_type: Any, index: Any, _size: Any) -> Any:
        return context.cast(builder, index, of_type, arrayobj.types.intp)

    setattr(arrayobj, _FIX_INDEX, as_it_is)
    try:
        yield
    finally:
        setattr(arrayobj, _FIX_INDEX, theirs)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    """numba's step from typed code to LLVM, with indices taken as they are."""

    _name = "antifraud_native_lowering"

    def run_pass(self, state: Any) -> Any:
        with _from_the_beginning():
            return super().run_pass(state)


class _Compiler(CompilerBase):  # type: ignore[misc]
    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_Lowering, NativeLowering)
        pipeline.passes = [step for step in pipeline.passes if step[0] is not NativeLowering]
        pipeline.finalize()
        return [pipeline]


def compiled(function: F) -> F:
    """``function`` as machine code, compiled at its first call and kept on disk.

    The cache lies beside the source or, where that cannot be written, in the user's cache directory
    (``NUMBA_CACHE_DIR`` moves it). Where neither can be written the code is compiled anew in every process.
    """
    try:
        made: F = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
    except RuntimeError:  # numba's way to say that it found no directory for a cache
        made = njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
    return made


def part(function: F) -> F:
    """``function`` as machine code inside the compiled functions that call it; nothing of its own on disk."""
    made: F = njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
    return made
