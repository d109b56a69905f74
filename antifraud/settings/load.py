"""Reads config/: default.yaml, one file a region, the environment, the command line; the result is ``Settings``.

Later layers win, value by value. A value of ``policy`` that the environment or the command line names holds for
every region, over what the region's file says; one that they name for a region holds for that region over both.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from antifraud.dialects import Dialect
from antifraud.domain import ConfigError, Location, Problem
from antifraud.settings.check import check, closest, plain_value
from antifraud.settings.dialects import (
    FILE,
    choice_problems,
    load_dialects,
    redress_of,
    redress_problems,
)
from antifraud.settings.directories import data_dir
from antifraud.settings.effective import BUILT_IN, Settings
from antifraud.settings.layers import empty, environment_layer, override_layer
from antifraud.settings.schema import (
    LEAST_MEMORY,
    MOST_MEMORY,
    REGION_CODE,
    Document,
    PolicySettings,
    Region,
    RegionDocument,
)
from antifraud.settings.sizes import show_size
from antifraud.settings.tree import Entry, Node, merge, read_file

MAX_PROBLEMS: Final = 100
MAX_REGIONS: Final = 1_000
_LEVELS: Final = ("label", "challenge", "divert", "block")


def load_settings(
    config_dir: Path | str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The configuration in ``config_dir`` (None: ANTIFRAUD_CONFIG, the checkout, or what came along).

    ``env`` is the environment (the process's own when None). ``overrides`` are dotted paths with their values, text
    being read as the setting's type wants it. Raises ConfigError with every problem of every layer, UsageError when
    the directory does not exist.
    """
    environment = os.environ if env is None else env
    directory = data_dir("config", config_dir, env=environment)
    problems: list[Problem] = []
    notes: list[Problem] = []
    base = _read(directory / "default.yaml", Document, problems)
    region_files = _read_regions(directory / "regions", problems)
    table = load_dialects(directory, _shown_path(directory / FILE), problems)
    outer = [
        environment_layer(environment, base, region_files, problems, notes),
        override_layer(overrides or {}, region_files, problems),
    ]
    for layer in outer:
        problems.extend(_check_outer(layer))
    if problems:
        raise _error(problems)

    tree = base
    for layer in outer:
        tree = merge(tree, _without_regions(layer))
    region_trees = {code: _region_tree(code, file, base, outer) for code, file in region_files.items()}
    document = msgspec.convert(plain_value(tree, Document), Document)
    regions = {code: _region(code, node, document) for code, node in region_trees.items()}
    problems.extend(_contradictions(document, tree, region_trees, regions, notes))
    problems.extend(_dialect_problems(table, document, tree, region_trees, regions))
    if problems:
        raise _error(problems)
    return Settings(directory, document, regions, tree, region_trees, notes, environment, table)


def _error(problems: list[Problem]) -> ConfigError:
    shown = problems[:MAX_PROBLEMS]
    if len(problems) > MAX_PROBLEMS:
        shown.append(Problem(f"and {len(problems) - MAX_PROBLEMS} more problems"))
    error = ConfigError.of(shown)
    assert isinstance(error, ConfigError)
    return error


def _read(path: Path, structure: type[msgspec.Struct], problems: list[Problem]) -> Node:
    """One checked file; an empty mapping when it cannot be used."""
    name = _shown_path(path)
    try:
        node = read_file(path, name)
    except ConfigError as error:
        problems.extend(error.problems)
        return empty(name)
    found = check(node, structure)
    problems.extend(found)
    return node


def _shown_path(path: Path) -> str:
    """``path`` as people know it: relative to where they stand when it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _read_regions(directory: Path, problems: list[Problem]) -> dict[str, Node]:
    regions: dict[str, Node] = {}
    shown = _shown_path(directory)
    paths = sorted(directory.iterdir()) if directory.is_dir() else []
    files = [path for path in paths if path.suffix in (".yaml", ".yml") and not path.name.startswith(".")]
    if not files:
        problems.append(
            Problem("there is no region", Location(shown), "put one file a region there, such as KZ-75.yaml")
        )
    if len(files) > MAX_REGIONS:
        problems.append(Problem(f"more than {MAX_REGIONS} regions", Location(shown)))
        return regions
    for path in files:
        where = Location(_shown_path(path))
        if path.suffix == ".yml":
            problems.append(Problem("is not read", where, f"call it {path.stem}.yaml"))
        elif re.match(REGION_CODE, path.stem) is None:
            hint = "did you mean " + path.stem.upper() + ".yaml?" if re.match(REGION_CODE, path.stem.upper()) else ""
            problems.append(
                Problem(
                    "the file's name is no region code", where, hint or "call it by its ISO 3166-2 code: KZ-75.yaml"
                )
            )
        else:
            regions[path.stem] = _read(path, RegionDocument, problems)
    return regions


def _check_outer(layer: Node) -> list[Problem]:
    """Problems of the environment or the command line: the same types, but nothing is required to be there."""
    problems = check(_without_regions(layer), Document)
    regions = layer.child("regions")
    if regions is not None:
        for code, entry in regions.value.items():
            policy = entry.value.child("policy")
            if policy is not None:
                problems.extend(check(policy, PolicySettings, ("regions", code, "policy")))
    return problems


def _without_regions(layer: Node) -> Node:
    return msgspec.structs.replace(layer, value={key: item for key, item in layer.value.items() if key != "regions"})


def _region_tree(code: str, file: Node, base: Node, outer: Sequence[Node]) -> Node:
    """What holds in one region: the shard's policy, the region's file, then the outer layers."""
    policy = base.child("policy") or empty("default")
    policy = merge(policy, file.child("policy") or empty(code))
    for layer in outer:
        policy = merge(policy, layer.child("policy") or empty(code))
        policy = merge(policy, layer.at(("regions", code, "policy")) or empty(code))
    entries = dict(file.value)
    entries["policy"] = Entry(entries["policy"].key if "policy" in entries else file, policy)
    return msgspec.structs.replace(file, value=entries)


def _region(code: str, tree: Node, document: Document) -> Region:
    read = msgspec.convert(plain_value(tree, RegionDocument), RegionDocument)
    switches = tuple(sorted(name for name, switch in document.switches.items() if switch.region == code))
    return Region(code, read.name, read.policy, switches)


def _contradictions(
    document: Document,
    tree: Node,
    region_trees: Mapping[str, Node],
    regions: Mapping[str, Region],
    notes: list[Problem],
) -> list[Problem]:
    """What each value allows by itself and several of them together do not."""
    problems: list[Problem] = []
    memory = tree.at(("features", "memory_limit"))
    if memory is not None and not LEAST_MEMORY <= (bytes_ := document.features.memory_bytes) <= MOST_MEMORY:
        short = bytes_ < LEAST_MEMORY
        message = f"features.memory_limit {memory.text} is too {'little' if short else 'much'}"
        bound = f"at least {show_size(LEAST_MEMORY)}" if short else f"at most {show_size(MOST_MEMORY)}"
        problems.append(memory.problem(message, f"allow {bound}"))
    if document.cards.listen and document.cards.token_file is None:
        node = tree.at(("cards", "listen"))
        message, hint = "cards are served, but no file of tokens is named", "set cards.token_file"
        problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    for given, missing in (("certificate", "key"), ("key", "certificate")):
        if getattr(document.cards, given) is not None and getattr(document.cards, missing) is None:
            node = tree.at(("cards", given))
            message, hint = f"cards.{given} is named, but cards.{missing} is not", "name both, or neither"
            problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    if document.default_region not in regions:
        problems.append(_no_region(tree.at(("default_region",)), "default_region", document.default_region, regions))
    for name, switch in document.switches.items():
        if switch.region not in regions:
            node = tree.at(("switches", name, "region"))
            problems.append(_no_region(node, f"switches.{name}.region", switch.region, regions))
    for section, parts in (("adapters", document.adapters), ("agents", document.agents)):
        for name, options in parts.items():
            node = tree.at((section, name, "enabled"))
            if node is not None and not isinstance(options.get("enabled"), bool):
                message = f"{section}.{name}.enabled must be true or false, not {node.text!r}"
                problems.append(node.problem(message, "write true or false"))
    for name, options in document.agents.items():
        kind = options.get("agent")
        if not isinstance(kind, str) or not kind:
            node = tree.at(("agents", name, "agent")) or tree.at(("agents", name))
            message, hint = f"agents.{name}.agent does not say which kind of switch it is", "write agent: kamailio"
            problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    for code, region in regions.items():
        for number, desk in enumerate(region.policy.desk.queues):
            if desk not in document.desks:
                node = region_trees[code].at(("policy", "desk", "queues"))
                near = closest(desk, document.desks)
                hint = f"did you mean {near}?" if near else f"desks has: {', '.join(document.desks) or 'none'}"
                message = f"{code}: policy.desk.queues: there is no desk {desk}"
                place = node.value[number] if node is not None and isinstance(node.value, list) else node
                problems.append(place.problem(message, hint) if place is not None else Problem(message, BUILT_IN, hint))
    seen: set[Problem] = set()
    for code, region in regions.items():
        for problem in _region_contradictions(code, region, region_trees[code], notes):
            # A contradiction inside default.yaml would otherwise be told once for every region.
            if problem not in seen:
                seen.add(problem)
                problems.append(problem)
    problems.extend(_trunk_problems(tree, document, notes))
    return problems


def _dialect_problems(
    table: Mapping[str, Dialect],
    document: Document,
    tree: Node,
    region_trees: Mapping[str, Node],
    regions: Mapping[str, Region],
) -> list[Problem]:
    """Dialects that are not there, cannot say what they are to say, or lack what they need."""
    found: dict[tuple[str, Location | None], Problem] = {}
    for code, region in regions.items():
        chosen, contact = region.policy.dialect, redress_of(region.policy.redress)
        node = region_trees[code].at(("policy", "dialect"))
        problems = choice_problems(table, chosen, [(code, contact)], code, node)
        for problem in [*problems, *redress_problems(region, region_trees[code])]:
            # What default.yaml says holds in every region, and is told once.
            found.setdefault((problem.message.removeprefix(f"{code}: "), problem.where), problem)
    for name, switch in document.switches.items():
        own = regions.get(switch.region)
        contacts = [(own.code, redress_of(own.policy.redress))] if own is not None else []
        node = tree.at(("switches", name, "dialect"))
        for problem in choice_problems(table, switch.dialect, contacts, f"switches.{name}", node):
            found.setdefault((problem.message, problem.where), problem)
    return list(found.values())


def _no_region(node: Node | None, name: str, code: str, regions: Mapping[str, Region]) -> Problem:
    near = closest(code, (known.lower() for known in regions)).upper()
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(regions)}"
    message = f"{name}: there is no region {code}"
    return node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint)


def _region_contradictions(code: str, region: Region, tree: Node, notes: list[Problem]) -> list[Problem]:
    problems: list[Problem] = []
    policy = region.policy
    set_levels = [(level, at) for level in _LEVELS if (at := getattr(policy.thresholds, level)) is not None]
    for (mild, mild_at), (hard, hard_at) in pairwise(set_levels):
        if hard_at < mild_at:
            node = tree.at(("policy", "thresholds", hard))
            message = f"{code}: threshold {hard} {hard_at:g} lies below threshold {mild} {mild_at:g}"
            hint = "a harder verdict needs a score that is at least as high"
            problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    if policy.ceiling == "challenge" and policy.challenge.target is None:
        node = tree.at(("policy", "ceiling"))
        message = f"{code}: callers are challenged, but nothing asks them to prove themselves"
        hint = "set policy.challenge.target; without it every challenge becomes a label"
        problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    if policy.desk.overflow == "challenge" and policy.challenge.target is None and policy.desk.queues:
        node = tree.at(("policy", "desk", "overflow"))
        message = f"{code}: calls that no desk has a place for are challenged, but nothing asks for a digit"
        hint = "set policy.challenge.target, or policy.desk.overflow to label"
        problems.append(node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint))
    if policy.desk.target is None and not policy.desk.queues:
        node = tree.at(("policy", "ceiling"))
        message = f"{code}: calls are diverted, but there is no desk to take them"
        hint = "set policy.desk.target; without a desk every diversion becomes a label"
        problem = node.problem(message, hint) if node is not None else Problem(message, BUILT_IN, hint)
        if policy.ceiling == "divert":
            problems.append(problem)
        elif policy.ceiling == "block":
            notes.append(problem)
    return problems


def _trunk_problems(tree: Node, document: Document, notes: list[Problem]) -> list[Problem]:
    """Patterns that stand twice, and patterns that an earlier one leaves nothing for."""
    problems: list[Problem] = []
    node = tree.child("trunks")
    items = node.value if node is not None and isinstance(node.value, list) else []
    for number, (trunk, item) in enumerate(zip(document.trunks, items, strict=False)):
        place = item.child("match") or item
        for earlier in document.trunks[:number]:
            if earlier.match == trunk.match:
                problems.append(
                    place.problem(f"trunks: {trunk.match} stands here a second time", "keep one of the two")
                )
                break
            if fnmatch.fnmatchcase(trunk.match, earlier.match):
                notes.append(
                    place.problem(
                        f"trunks: {trunk.match} is never reached, {earlier.match} above it takes all of its trunks",
                        "the first match counts: put the narrower pattern first",
                    )
                )
                break
    return problems
