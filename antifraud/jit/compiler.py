"""numba's compiler behind a typed decorator, and its disk cache where there is a place for one.

Compiled functions here only read and write arrays that they are given, at places that are never negative. Two things
that numba does for everybody are therefore switched off for them; both are measured (benchmarks/features):

- the counting of references (``_nrt``) would lock the bus twice for every array at every call, which took two thirds
  of the time. So nothing that is compiled here may make an array;
- the counting from the end where an index is negative, three instructions at every access, a quarter of the time.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final, TypeVar

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.np import arrayobj

F = TypeVar("F", bound=Callable[..., Any])

_FIX_INDEX: Final = "fix_integer_index"
_OWN: Final = "antifraud.jit"


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
    (``NUMBA_CACHE_DIR`` moves it). Where neither can be written the code is compiled anew in every process. What is
    kept holds for the source as it is, of this module and of those of the package that it imports.
    """
    try:
        made: F = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
        _seal(made, function.__module__)
    except RuntimeError:  # numba's way to say that it found no directory for a cache, and ours for another numba
        made = njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
    return made


def _seal(made: Any, module: str) -> None:
    """Make what is kept of ``made`` hold for the contents of everything that was compiled into it.

    numba looks at the file of the function alone. Constants and parts from other files are compiled into it, too: with
    old ones from the disk it would read and write at places where something else lies by now.
    """
    kept = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if kept is None or not hasattr(kept, "_source_stamp"):
        raise RuntimeError("this numba keeps compiled functions in another way: nothing would notice old ones")
    kept._source_stamp = (kept._source_stamp, _contents(module))  # noqa: SLF001


@cache
def _contents(module: str) -> str:
    """A digest of the sources of ``module`` and of what it imports from its own package; of what those import as well
    where they are compiled themselves."""
    found: dict[str, str] = {}
    left = [module]
    while left:
        name = left.pop()
        spec = _module(name) if name not in found else None
        if spec is None or spec.origin is None:
            continue
        source = Path(spec.origin).read_bytes()
        found[name] = hashlib.sha256(source).hexdigest()
        imports = _imported(source, module.partition(".")[0])
        if name == module or _OWN in imports:
            left += imports
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def _imported(source: bytes, package: str) -> set[str]:
    """What ``source`` imports from ``package``: modules, and names in them that may be modules."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            found |= {str(node.module), *(f"{node.module}.{one.name}" for one in node.names)}
    return found


def _module(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # what should hold it is no package; a program without a name
        return None


def part(function: F) -> F:
    """``function`` as machine code inside the compiled functions that call it; nothing of its own on disk."""
    made: F = njit(nogil=True, error_model="numpy", _nrt=False, pipeline_class=_Compiler)(function)
    return made
