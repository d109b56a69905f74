"""Compares a tree of values with the declared types and reports every disagreement at its place.

The types are the msgspec structures of ``antifraud.settings.schema``; what a value should be is said in words that
stand beside the type (``Meta(extra={"words": …})``) or follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from antifraud.domain import Problem
from antifraud.settings.masking import readable
from antifraud.settings.tree import Node

_LISTED: Final = 12


@lru_cache(maxsize=16)
def describe_type(structure: type[msgspec.Struct]) -> inspect.StructType:
    """The inspected form of a structure."""
    described = inspect.type_info(structure)
    assert isinstance(described, inspect.StructType)
    return described


def check(node: Node, structure: type[msgspec.Struct], path: Sequence[str] = ()) -> list[Problem]:
    """Every problem of ``node`` as a value of ``structure``; empty when it is one."""
    problems: list[Problem] = []
    _check(node, describe_type(structure), tuple(path), problems)
    return problems


def plain_value(node: Node, structure: type[msgspec.Struct]) -> Any:
    """A checked tree as ordinary objects; a section whose lines were all commented out is an empty one."""
    return _plain(node, describe_type(structure))


def _plain(node: Node, kind: inspect.Type) -> Any:
    bare = _bare(kind)
    if isinstance(bare, inspect.StructType | inspect.DictType) and not node.is_map:
        return {}
    if isinstance(bare, inspect.StructType):
        fields = {field.encode_name: field.type for field in bare.fields}
        return {key: _plain(entry.value, fields[key]) for key, entry in node.value.items()}
    if isinstance(bare, inspect.DictType):
        return {key: _plain(entry.value, bare.value_type) for key, entry in node.value.items()}
    return node.plain()


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest to ``word``; empty when none is near."""
    import difflib  # only a mistake needs it

    matches = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else ""


def type_at(structure: type[msgspec.Struct], path: Sequence[str]) -> inspect.Type | None:
    """The type of the value under ``path``; None when no such key is declared."""
    current: inspect.Type = describe_type(structure)
    for key in path:
        current = _bare(current)
        if isinstance(current, inspect.StructType):
            found = {field.encode_name: field.type for field in current.fields}.get(key)
            if found is None:
                return None
            current = found
        elif isinstance(current, inspect.DictType):
            current = current.value_type
        elif isinstance(current, inspect.AnyType):
            return current
        else:
            return None
    return current


def wants_text(kind: inspect.Type) -> bool:
    """Whether a text is a possible value of this type."""
    bare = _bare(kind)
    if isinstance(bare, inspect.UnionType):
        return any(wants_text(option) for option in bare.types)
    if isinstance(bare, inspect.LiteralType):
        return all(isinstance(value, str) for value in bare.values)
    return isinstance(bare, inspect.StrType)


def allows_none(kind: inspect.Type) -> bool:
    """Whether null is a possible value of this type."""
    bare = _bare(kind)
    return isinstance(bare, inspect.NoneType) or (isinstance(bare, inspect.UnionType) and bare.includes_none)


def is_container(kind: inspect.Type) -> bool:
    """Whether values of this type are mappings or lists."""
    return isinstance(
        _bare(kind), inspect.StructType | inspect.DictType | inspect.ListType | inspect.VarTupleType | inspect.AnyType
    )


def _bare(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def describe_words(kind: inspect.Type) -> str:
    """What a value of this type must be, in words."""
    if isinstance(kind, inspect.Metadata):
        words = (kind.extra or {}).get("words")
        return str(words) if words else describe_words(kind.type)
    if isinstance(kind, inspect.UnionType):
        rest = [describe_words(option) for option in kind.types if not isinstance(option, inspect.NoneType)]
        return " or ".join([*rest, "null"] if kind.includes_none else rest)
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(map(str, kind.values))
    if isinstance(kind, inspect.IntType):
        return "a whole number" + _range(kind.ge, kind.le)
    if isinstance(kind, inspect.FloatType):
        return "a number" + _range(kind.ge, kind.le)
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return f"a list, each item {describe_words(kind.item_type)}"
    if isinstance(kind, inspect.StructType):
        return "a mapping with " + ", ".join(field.encode_name for field in kind.fields)
    if isinstance(kind, inspect.DictType):
        return f"a mapping, each value {describe_words(kind.value_type)}"
    return "text"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {_figure(low)} to {_figure(high)}"
    if low is not None:
        return f" of at least {_figure(low)}"
    return f" of at most {_figure(high)}" if high is not None else ""


def _figure(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _shown(node: Node) -> str:
    """A value as it is quoted in a message."""
    if node.is_map:
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    text = readable(node.text)
    if isinstance(node.value, bool):
        return f"the truth {text}"
    if isinstance(node.value, int | float):
        return f"the number {text}"
    return f'"{text}"'


def _check(node: Node, kind: inspect.Type, path: tuple[str, ...], problems: list[Problem]) -> None:
    bare = _bare(kind)
    if isinstance(bare, inspect.AnyType):
        return
    if isinstance(bare, inspect.StructType):
        _check_struct(node, bare, path, problems)
    elif isinstance(bare, inspect.DictType):
        _check_dict(node, bare, path, problems)
    elif isinstance(bare, inspect.ListType | inspect.VarTupleType):
        if not isinstance(node.value, list):
            _wrong(node, kind, path, problems)
            return
        for number, item in enumerate(node.value, start=1):
            _check(item, bare.item_type, (*path, f"item {number}"), problems)
    elif not _fits(node, bare):
        _wrong(node, kind, path, problems)


def _name(path: Sequence[str]) -> str:
    return ".".join(path) if path else "the file"


def _wrong(node: Node, kind: inspect.Type, path: tuple[str, ...], problems: list[Problem]) -> None:
    bare = _bare(kind)
    words = describe_words(kind) if path else "lines of the form key: value"
    options = [bare, *bare.types] if isinstance(bare, inspect.UnionType) else [bare]
    hint = ""
    for option in map(_bare, options):
        if isinstance(option, inspect.LiteralType) and isinstance(node.value, str):
            near = closest(node.value, map(str, option.values))
            hint = f"did you mean {near}?" if near else ""
        elif isinstance(option, inspect.StrType) and isinstance(node.value, bool | int | float):
            quoted = msgspec.structs.replace(node, value=node.text)
            hint = f'put it in quotes: "{node.text}"' if _fits(quoted, option) else hint
        elif isinstance(option, inspect.StrType) and option.pattern and isinstance(node.value, str):
            other = next(
                (one for one in (node.value.upper(), node.value.lower()) if re.search(option.pattern, one)), ""
            )
            hint = f"did you mean {other}?" if other and other != node.value else ""
        elif isinstance(option, inspect.BoolType) and node.text.lower() in ("yes", "no", "on", "off", "1", "0"):
            hint = f"write {'true' if node.text.lower() in ('yes', 'on', '1') else 'false'}"
        elif isinstance(option, inspect.ListType | inspect.VarTupleType) and not node.is_map:
            hint = "write each item on its own line after a dash and a space"
    if not hint and isinstance(kind, inspect.Metadata):
        hint = str((kind.extra or {}).get("hint", ""))
    problems.append(node.problem(f"{_name(path)} must be {words}, not {_shown(node)}", hint))


def _check_struct(node: Node, kind: inspect.StructType, path: tuple[str, ...], problems: list[Problem]) -> None:
    if node.value is None:
        return
    if not node.is_map:
        _wrong(node, kind, path, problems)
        return
    fields = {field.encode_name: field for field in kind.fields}
    for key, entry in node.value.items():
        field = fields.get(key)
        if field is not None:
            _check(entry.value, field.type, (*path, key), problems)
            continue
        problems.append(
            entry.key.problem(f"{_name((*path, readable(key)))} is no setting", _unknown_hint(key, fields.values()))
        )
    problems.extend(
        node.problem(f"{_name(path)} lacks {field.encode_name}")
        for field in kind.fields
        if field.required and field.encode_name not in node.value
    )


def _unknown_hint(key: str, fields: Iterable[inspect.Field]) -> str:
    """What may have been meant by a key that is not declared."""
    names = [field.encode_name for field in fields]
    near = closest(key, names)
    if near:
        return f"did you mean {near}?"
    for field in fields:
        inner = _bare(field.type)
        if isinstance(inner, inspect.StructType) and any(one.encode_name == key for one in inner.fields):
            return f"it belongs under {field.encode_name}, indented by two more spaces"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"known here: {', '.join(names[:_LISTED])}{more}"


def _check_dict(node: Node, kind: inspect.DictType, path: tuple[str, ...], problems: list[Problem]) -> None:
    if node.value is None:
        return
    if not node.is_map:
        _wrong(node, kind, path, problems)
        return
    for key, entry in node.value.items():
        bare = _bare(kind.key_type)
        if isinstance(bare, inspect.StrType) and bare.pattern and not re.search(bare.pattern, key):
            problems.append(
                entry.key.problem(f"{_name((*path, readable(key)))} must be {describe_words(kind.key_type)}")
            )
        _check(entry.value, kind.value_type, (*path, key), problems)


def _fits(node: Node, kind: inspect.Type) -> bool:
    """Whether a scalar is of this type and inside its bounds."""
    value = node.value
    if isinstance(kind, inspect.UnionType):
        return any(_fits(node, _bare(option)) for option in kind.types)
    if isinstance(kind, inspect.NoneType):
        return value is None
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.LiteralType):
        return not isinstance(value, bool) and value in kind.values if not isinstance(value, dict | list) else False
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool) and _inside(value, kind.ge, kind.le)
    if isinstance(kind, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool) and _inside(value, kind.ge, kind.le)
    if isinstance(kind, inspect.StrType):
        return (
            isinstance(value, str)
            and (kind.max_length is None or len(value) <= kind.max_length)
            and (kind.min_length is None or len(value) >= kind.min_length)
            and (kind.pattern is None or re.search(kind.pattern, value) is not None)
        )
    return False


def _inside(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
