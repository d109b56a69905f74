"""Where a model comes from: the version of the program, the state of its sources, digests of what it learnt from."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from antifraud.domain import UsageError

_PATIENCE_S: Final = 20.0
#: What of the sources decides what a model learns.
_DECISIVE: Final = ("antifraud", "rules")


def made_with() -> dict[str, Any]:
    """``version`` of the package; ``revision`` of its sources in git, when it runs from a working tree."""
    import antifraud

    found: dict[str, Any] = {}
    try:
        found["version"] = metadata.version("antifraud")
    except metadata.PackageNotFoundError:
        found["version"] = antifraud.__version__
    revision = revision_of(Path(antifraud.__file__).resolve().parents[1])
    return {**found, "revision": revision} if revision else found


def revision_of(root: Path) -> str:
    """The commit of the working tree at ``root``, ``+changed`` when antifraud/ or rules/ differ from it; else ""."""
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal", "--", *_DECISIVE)
    if not commit or changed is None:
        return ""
    return commit.strip() + ("+changed" if changed.strip() else "")


def _git(root: Path, *arguments: str) -> str | None:
    # No lock is taken, so that whoever commits meanwhile is not hindered.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - all arguments are our own
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the git of whoever trains
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def file_digests(files: Sequence[Path]) -> list[dict[str, str]]:
    """Name and SHA-256 of each of ``files``. UsageError when one cannot be read or two have the same content."""
    found: list[dict[str, str]] = []
    first: dict[str, Path] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="check the name") from error
        if digest in first and first[digest] == path:
            raise UsageError(f"{path} is named twice", hint="name each file once: the same calls teach nothing new")
        if digest in first:
            raise UsageError(
                f"{first[digest]} and {path} have the same content: calls would be in training and in measurement",
                hint="name each file once",
            )
        first[digest] = path
        found.append({"file": path.name, "sha256": digest})
    return found


def scenario_digests(path: Path) -> list[dict[str, str]]:
    """Name and SHA-256 of the scenario's file, and of the one that it extends."""
    import yaml

    paths = [path]
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(tree, dict) and isinstance(tree.get("extends"), str):
        paths.append(path.with_name(f"{tree['extends']}.yaml"))
    return [{"file": one.name, "sha256": hashlib.sha256(one.read_bytes()).hexdigest()} for one in paths]
