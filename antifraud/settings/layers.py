"""The layers above the files: environment variables and the command line, each as a tree with its own places.

Every setting has one variable: ``ANTIFRAUD_`` and its path in capitals, joined by underscores
(``engine.max_batch`` is ``ANTIFRAUD_ENGINE_MAX_BATCH``, the ceiling of one region
``ANTIFRAUD_REGIONS_KZ_75_POLICY_CEILING``). ``REDIS_URL`` is understood too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import inspect

from antifraud.domain import ConfigError, Location, Problem
from antifraud.settings.check import allows_none, closest, describe_type, is_container, type_at, wants_text
from antifraud.settings.schema import Document, PolicySettings, RegionDocument
from antifraud.settings.tree import Node, Source, loose, merge, nest, read_text, scalar

Path = tuple[str, ...]

PREFIX: Final = "ANTIFRAUD_"
ALIASES: Final[dict[str, Path]] = {"REDIS_URL": ("redis", "url")}
#: Variables of this prefix that are no settings: directories of data, and a debugging aid.
OTHER_VARIABLES: Final = frozenset(("ANTIFRAUD_CONFIG", "ANTIFRAUD_MODELS", "ANTIFRAUD_DEBUG"))
_BLANK: Final = ("", "~", "null", "none")


def variable(path: Sequence[str]) -> str:
    """The environment variable of the setting under ``path``."""
    return PREFIX + "_".join(path).upper().replace("-", "_").replace(".", "_").replace("/", "_")


def setting_paths(structure: type[Document | PolicySettings]) -> Iterator[Path]:
    """The paths of all single values that ``structure`` declares, in their order."""
    yield from _paths(describe_type(structure), ())


def _paths(kind: inspect.Type, path: Path) -> Iterator[Path]:
    bare = kind.type if isinstance(kind, inspect.Metadata) else kind
    if isinstance(bare, inspect.StructType):
        for field in bare.fields:
            yield from _paths(field.type, (*path, field.encode_name))
    elif not isinstance(bare, inspect.DictType | inspect.ListType | inspect.VarTupleType):
        yield path


def empty(name: str) -> Node:
    """A layer that says nothing."""
    return Node({}, Source(name), loose=True)


def kind_at(path: Sequence[str]) -> inspect.Type | None:
    """The type of the setting under ``path``, regions included; None when there is no such setting."""
    if len(path) >= 3 and path[0] == "regions":
        return type_at(RegionDocument, path[2:])
    return type_at(Document, path) if path else None


def known_variables(files: Node, regions: Iterable[str]) -> dict[str, Path]:
    """Variable → path of every setting that exists, with the switches, adapters and regions of these files."""
    known: dict[str, Path] = {}
    for path in setting_paths(Document):
        known.setdefault(variable(path), path)
    for path, node in files.leaves():
        if not isinstance(node.value, list):
            known.setdefault(variable(path), path)
    policy_paths = list(setting_paths(PolicySettings))
    for code in regions:
        for path in policy_paths:
            full = ("regions", code, "policy", *path)
            known.setdefault(variable(full), full)
    return known


def environment_layer(
    env: Mapping[str, str], files: Node, regions: Iterable[str], problems: list[Problem], notes: list[Problem]
) -> Node:
    """The tree of what the environment says.

    A variable that is nearly one of ours is a problem; one that resembles none is only noted, because a
    cluster that runs a service called antifraud puts variables such as ANTIFRAUD_PORT into every container.
    """
    layer = empty("environment")
    known = known_variables(files, regions)
    for name in sorted(env):
        path = ALIASES.get(name) or known.get(name)
        if name in ALIASES and env.get(variable(ALIASES[name])):
            continue
        where = Location(f"environment variable {name}")
        if path is not None:
            node = _node(env[name], path, Source(where.file), problems)
            if node is not None:
                layer = merge(layer, nest(path, node))
        elif name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            near = closest(name, (one.lower() for one in known)).upper() if _resembles(name, known) else ""
            if near:
                problems.append(Problem("there is no such setting", where, f"did you mean {near}?"))
            else:
                notes.append(Problem("is no setting of this product and is not looked at", where))
    return layer


def _resembles(name: str, known: Iterable[str]) -> bool:
    """Whether ``name`` is within reach of a known variable once the common prefix is taken off."""
    return bool(closest(name.removeprefix(PREFIX), (one.removeprefix(PREFIX).lower() for one in known)))


def override_layer(
    overrides: Mapping[str, object], regions: Iterable[str], problems: list[Problem], said_by: str = "command line"
) -> Node:
    """The tree of what the command line says: dotted path → value."""
    layer = empty(said_by)
    codes = sorted(regions)
    for dotted, value in overrides.items():
        path = tuple(dotted.split("."))
        where = Location(said_by)
        if len(path) > 2 and path[0] == "regions" and path[1] not in codes:
            near = closest(path[1], (code.lower() for code in codes)).upper()
            hint = f"did you mean {near}?" if near else ""
            problems.append(Problem(f"{dotted}: there is no region {path[1]}", where, hint))
            continue
        if not all(path) or kind_at(path) is None:
            near = closest(dotted, (".".join(one) for one in setting_paths(Document)))
            hint = f"did you mean {near}?" if near else "antifraud config show lists all settings"
            problems.append(Problem(f"{dotted} is no setting", where, hint))
            continue
        node = _node(value, path, Source(said_by), problems)
        if node is not None:
            layer = merge(layer, nest(path, node))
    return layer


def _node(value: object, path: Path, source: Source, problems: list[Problem]) -> Node | None:
    """A value from outside the files, read as its setting's type wants it; None when it cannot be read."""
    kind = kind_at(path)
    if not isinstance(value, str) or kind is None:
        return loose(value, source)
    if wants_text(kind):
        none = allows_none(kind) and value in _BLANK
        return Node(None if none else value, source, text=value, loose=True)
    if is_container(kind) and value[:1] in ("{", "["):
        try:
            return read_text(value, source.name)
        except ConfigError as error:
            # The value is one line of a shell; line and column of it help nobody.
            where = Location(source.name)
            problems.extend(Problem(f"{'.'.join(path)}: {one.message}", where, one.hint) for one in error.problems)
            return None
    return Node(scalar(value), source, text=value, loose=True)
