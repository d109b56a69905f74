"""Reads config/dialects.yaml, the table of dialects, and checks what regions and switches choose from it.

Where a configuration directory has no such file, the one that came along holds; where it has one, its dialects are
laid over those that came along, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from antifraud.dialects import (
    SAYINGS,
    Choice,
    Dialect,
    DialectsDocument,
    Redress,
    Wrong,
    compile_table,
)
from antifraud.domain import ConfigError, Location, Problem
from antifraud.settings.check import check, closest, plain_value
from antifraud.settings.directories import data_dir
from antifraud.settings.schema import DialectSettings, RedressSettings, Region, SwitchDialectSettings
from antifraud.settings.tree import Node, merge, read_file

FILE: Final = "dialects.yaml"


def load_dialects(directory: Path, shown: str, problems: list[Problem]) -> dict[str, Dialect]:
    """The dialects of ``directory``; what is wrong is added to ``problems``. ``shown`` is the file in messages."""
    came_along = data_dir("config", env={}) / FILE
    own = directory / FILE
    tree = _read(came_along, FILE, problems)
    if own.exists() and not (came_along.exists() and own.samefile(came_along)):
        above = _read(own, shown, problems)
        tree = _laid_over(tree, above)
    if problems:
        return {}
    raw = plain_value(tree, DialectsDocument).get("dialects", {})
    table, wrong = compile_table(raw)
    problems.extend(_placed(tree, item) for item in wrong)
    return table


def _read(path: Path, shown: str, problems: list[Problem]) -> Node:
    try:
        node = read_file(path, shown)
    except ConfigError as error:
        problems.extend(error.problems)
        return Node({}, source=_nowhere(shown))
    problems.extend(check(node, DialectsDocument))
    return node


def _nowhere(name: str) -> Any:
    from antifraud.settings.tree import Source

    return Source(name)


def _laid_over(below: Node, above: Node) -> Node:
    """``above`` over ``below``, each dialect as a whole: half of one and half of another would be nobody's."""
    table, own = below.child("dialects"), above.child("dialects")
    if table is None or own is None or not table.is_map or not own.is_map:
        return merge(below, above)
    entry = above.value["dialects"]
    dialects = msgspec.structs.replace(own, value={**table.value, **own.value})
    return msgspec.structs.replace(above, value={**above.value, "dialects": type(entry)(entry.key, dialects)})


def _placed(tree: Node, wrong: Wrong) -> Problem:
    """``wrong`` at the nearest value of its path that stands in a file."""
    path = ["dialects", *wrong.path]
    message = f"{'.'.join(path)}: {wrong.message}"
    node: Node | None = tree
    for key in path:
        assert node is not None
        found = _step(node, key)
        if found is None:
            break
        node = found
    assert node is not None
    return node.problem(message, wrong.hint)


def _step(node: Node, key: str) -> Node | None:
    if key.startswith("item ") and isinstance(node.value, list):
        number = int(key.removeprefix("item "))
        return node.value[number - 1] if number <= len(node.value) else None
    return node.child(key)


def choice_of(settings: DialectSettings | SwitchDialectSettings) -> Choice:
    """What a region or a switch chose."""
    chosen = {saying: getattr(settings, saying) or "" for saying in SAYINGS}
    return Choice(**chosen, by_rule=settings.by_rule, reason=settings.reason)


def redress_of(settings: RedressSettings) -> Redress:
    """The contact for callers who were refused."""
    return Redress(
        name=settings.name or "",
        url=settings.url or "",
        tel=settings.tel or "",
        email=settings.email or "",
        published=settings.card_url or "",
        certificate=settings.certificate_url or "",
    )


def choice_problems(
    table: Mapping[str, Dialect],
    chosen: DialectSettings | SwitchDialectSettings,
    contacts: Sequence[tuple[str, Redress]],
    whose: str,
    tree: Node | None,
) -> list[Problem]:
    """What is wrong with the dialects that ``whose`` (a region or a switch) chose.

    ``contacts`` are the regions that it speaks for, with their redress; ``tree`` is where the choice stands.
    """
    problems: list[Problem] = []
    named: list[tuple[str, tuple[str, ...], str]]
    named = [(saying, (saying,), name) for saying in SAYINGS if (name := getattr(chosen, saying)) is not None]
    named += [("block", ("by_rule", rule), name) for rule, name in chosen.by_rule.items()]
    for saying, path, name in named:
        dialect = table.get(name)
        node = tree.at(path) if tree is not None else None
        setting = f"{whose}: dialect.{'.'.join(path)}"
        if dialect is None:
            able = [one for one, item in table.items() if saying in item.forms]
            near = closest(name, able)
            hint = f"did you mean {near}?" if near else f"dialects that can say {saying}: {', '.join(able)}"
            problems.append(_problem(node, f"{setting}: there is no dialect {name}", hint))
        elif saying not in dialect.forms:
            able = [one for one, item in table.items() if saying in item.forms]
            hint = f"these can: {', '.join(able)}"
            problems.append(_problem(node, f"{setting}: the dialect {name} cannot say {saying}", hint))
        else:
            problems.extend(_unmet(dialect, contacts, setting, node))
    return problems


def _unmet(
    dialect: Dialect, contacts: Iterable[tuple[str, Redress]], setting: str, node: Node | None
) -> Iterable[Problem]:
    for code, redress in contacts:
        if "redress" in dialect.needs and not redress.text:
            message = f"{setting}: {dialect.name} tells callers whom to turn to, and {code} names nobody"
            yield _problem(node, message, "set policy.redress.url, tel or email")


def redress_problems(region: Region, tree: Node) -> list[Problem]:
    """What is half said about the card of one region."""
    redress = region.policy.redress
    problems: list[Problem] = []
    if redress.key_file is not None:
        missing = "name" if redress.name is None else "" if redress_of(redress).text else "url, tel or email"
        if missing:
            node = tree.at(("policy", "redress", "key_file"))
            message = f"{region.code}: a card is signed that lacks {missing}"
            problems.append(_problem(node, message, f"set policy.redress.{missing}, or take key_file out"))
    elif redress.card_url is not None:
        node = tree.at(("policy", "redress", "card_url"))
        message = f"{region.code}: a card is published that nothing signs"
        problems.append(_problem(node, message, "set policy.redress.key_file, or take card_url out"))
    return problems


def _problem(node: Node | None, message: str, hint: str) -> Problem:
    return node.problem(message, hint) if node is not None else Problem(message, Location("built-in default"), hint)
