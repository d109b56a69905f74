"""A mapping file (config/cdr/<name>.yaml): how one switch writes its call records. Read with positions, so that every
mistake is shown where it stands.
"""

from __future__ import annotations

import codecs
import datetime as dt
import difflib
import os
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

import antifraud
from antifraud.domain import ConfigError, Location, Problem

MAPPED_FIELDS: Final = (
    "call_id", "caller_raw", "callee_raw", "switch", "trunk", "asserted", "diversion", "src_ip", "user_agent", "imsi",
    "imei", "cell",
)  # fmt: skip
CONSTANT_FIELDS: Final = ("switch", "trunk", "transport", "cell")
DURATIONS: Final = ("total", "talk", "ring", "pdd")
UNITS: Final = ("s", "ms", "us", "hms")
CAUSE_KINDS: Final = ("q850", "sip", "words")
_MAX_BYTES: Final = 262_144
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_SECTIONS: Final = (
    "version", "summary", "format", "columns", "fields", "times", "durations", "cause", "constant",
)  # fmt: skip


class Column(msgspec.Struct, frozen=True):
    """A column by name; an optional one (``name?`` in the file) may be missing or empty."""

    name: str
    optional: bool


class MappingFile(msgspec.Struct, frozen=True):
    """A mapping, checked. ``columns`` is empty where the file's own header line names them."""

    name: str
    summary: str
    delimiter: str
    quote: str
    encoding: str
    header: bool
    columns: tuple[str, ...]
    fields: Mapping[str, Column]
    time_format: str
    zone: dt.tzinfo
    times: Mapping[str, Column]
    unit: str
    durations: Mapping[str, Column]
    cause: Column | None
    cause_kind: str
    cause_words: Mapping[str, int]
    constant: Mapping[str, str]

    def needed(self) -> tuple[str, ...]:
        """The columns without which no row can be read."""
        used = [*self.fields.values(), *self.times.values(), *self.durations.values()]
        used += [] if self.cause is None else [self.cause]
        return tuple(dict.fromkeys(column.name for column in used if not column.optional))


def mapping_dirs(config: str = "") -> list[Path]:
    """Where mappings are looked for: the given config directory, $ANTIFRAUD_CONFIG, the checkout, the package."""
    places = [Path(config)] if config else []
    if os.environ.get("ANTIFRAUD_CONFIG"):
        places.append(Path(os.environ["ANTIFRAUD_CONFIG"]))
    package = Path(antifraud.__file__).parent
    places += [package.parent / "config", package / "_data" / "config"]
    return [place / "cdr" for place in places]


def find_mapping(name: str, config: str = "") -> Path:
    """The file of the mapping ``name`` (a name of config/cdr/ or a path); ConfigError names those that there are."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    known: list[str] = []
    for place in mapping_dirs(config):
        path = place / f"{name}.yaml"
        if path.is_file():
            return path
        known += sorted(found.stem for found in place.glob("*.yaml"))
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(dict.fromkeys(known)) or 'none'}"
    raise ConfigError(f"there is no CDR mapping {name!r}", hint=hint)


def load_mapping(path: Path) -> MappingFile:
    """The mapping in ``path``; ConfigError with every problem, each with file, line and column."""
    try:
        raw = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes, this is no mapping")
    try:
        text = raw.decode("utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Location(str(path), mark.line + 1, mark.column + 1) if mark else Location(str(path))
        what = getattr(error, "problem", None) or str(error)
        hint = "inside {} and [] a column name with ? must stand in quotes" if "'?'" in what else ""
        raise ConfigError.of([Problem(f"no YAML: {what}", where, hint, _line(text, where.line))]) from None
    return _Checker(path, text).check(root)


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""


_Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


class _Checker:
    """Walks the YAML nodes once and collects what is wrong."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._problems: list[Problem] = []
        self._columns: tuple[str, ...] = ()

    def check(self, root: yaml.Node | None) -> MappingFile:
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError.of(
                [Problem("a mapping needs keys such as format, fields, times", Location(str(self._path)))]
            )
        top = self._pairs(root, _SECTIONS, "")
        for name in ("version", "fields", "times"):
            if name not in top:
                self._wrong(root, f"{name} is missing")
        if "version" in top and self._scalar(top["version"][1]) != "1":
            self._wrong(top["version"][1], "version must be 1")
        form = self._section(top, "format", ("delimiter", "quote", "encoding", "header"))
        header = self._flag(form, "header", default=True)
        self._columns = self._names(top, header=header)
        fields = self._references(top, "fields", MAPPED_FIELDS)
        named = self._keys(top, "fields")
        for name in ("caller_raw", "callee_raw"):
            if "fields" in top and name not in named:
                self._wrong(top["fields"][1], f"fields.{name} is missing", "name the column that holds that number")
        times_pairs = self._section(top, "times", ("format", "zone", "setup", "answer", "release"))
        times = self._columns_of(times_pairs, ("setup", "answer", "release"))
        if "times" in top and "setup" not in times_pairs:
            self._wrong(top["times"][1], "times.setup is missing", "name the column that says when the call began")
        durations_pairs = self._section(top, "durations", ("unit", *DURATIONS))
        cause, kind, words = self._cause(top)
        found = MappingFile(
            name=self._path.stem,
            summary=self._text_of(top, "summary", ""),
            delimiter=self._char(form, "delimiter", ","),
            quote=self._char(form, "quote", '"'),
            encoding=self._encoding(form),
            header=header,
            columns=self._columns,
            fields=fields,
            time_format=self._time_format(times_pairs),
            zone=self._zone(times_pairs),
            times=times,
            unit=self._choice(durations_pairs, "unit", UNITS, "s"),
            durations=self._columns_of(durations_pairs, DURATIONS),
            cause=cause,
            cause_kind=kind,
            cause_words=words,
            constant=self._constants(top),
        )
        if self._problems:
            raise ConfigError.of(self._problems)
        return found

    def _wrong(self, node: yaml.Node, message: str, hint: str = "") -> None:
        mark = node.start_mark
        where = Location(str(self._path), mark.line + 1, mark.column + 1)
        width = node.end_mark.column - mark.column if node.end_mark.line == mark.line else 1
        self._problems.append(Problem(message, where, hint, _line(self._text, where.line), max(1, width)))

    def _pairs(self, node: yaml.Node, known: Iterable[str] | None, section: str) -> _Pairs:
        pairs: _Pairs = {}
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"{section} must have keys and values")
            return pairs
        allowed = None if known is None else list(known)
        for key_node, value_node in node.value:
            key = self._scalar(key_node)
            if key in pairs:
                self._wrong(key_node, f"{key} stands twice")
            elif allowed is not None and key not in allowed:
                near = difflib.get_close_matches(key, allowed, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
                self._wrong(key_node, f"there is no key {key!r}" + (f" in {section}" if section else ""), hint)
            else:
                pairs[key] = (key_node, value_node)
        return pairs

    def _section(self, top: _Pairs, name: str, known: Iterable[str]) -> _Pairs:
        return self._pairs(top[name][1], known, name) if name in top else {}

    def _keys(self, top: _Pairs, name: str) -> set[str]:
        node = top[name][1] if name in top else None
        return {self._scalar(key) for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()

    @staticmethod
    def _scalar(node: yaml.Node) -> str:
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def _text_of(self, pairs: _Pairs, name: str, default: str) -> str:
        if name not in pairs:
            return default
        node = pairs[name][1]
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, f"{name} must be a text")
            return default
        return str(node.value)

    def _flag(self, pairs: _Pairs, name: str, *, default: bool) -> bool:
        word = self._text_of(pairs, name, "true" if default else "false").lower()
        if word not in ("true", "false"):
            self._wrong(pairs[name][1], f"{name} must be true or false")
        return word == "true"

    def _choice(self, pairs: _Pairs, name: str, allowed: tuple[str, ...], default: str) -> str:
        word = self._text_of(pairs, name, default)
        if word not in allowed:
            self._wrong(pairs[name][1], f"{name} {word!r} is none of {', '.join(allowed)}")
            return default
        return word

    def _char(self, pairs: _Pairs, name: str, default: str) -> str:
        text = self._text_of(pairs, name, default)
        text = {"tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|"}.get(text, text)
        if len(text) != 1 or text in "\r\n\x00":
            self._wrong(pairs[name][1], f"{name} must be one character", 'e.g. ";" or tab')
            return default
        return text

    def _encoding(self, pairs: _Pairs) -> str:
        name = self._text_of(pairs, "encoding", "utf-8")
        try:
            # Lines are cut before they are decoded, so a line end must be one byte and no part of a character.
            sound = codecs.lookup(name).name not in ("utf-7", "idna", "punycode") and "\n,".encode(name) == b"\n,"
        except (LookupError, UnicodeError, TypeError):
            sound = False
        if not sound:
            self._wrong(pairs["encoding"][1], f"encoding {name!r} cannot be used", "use utf-8, cp1251, latin-1 …")
            return "utf-8"
        return name

    def _names(self, top: _Pairs, *, header: bool) -> tuple[str, ...]:
        if "columns" not in top:
            if not header and "format" in top:
                self._wrong(top["format"][1], "without a header line, columns must name the columns in their order")
            return ()
        node = top["columns"][1]
        if header:
            self._wrong(top["columns"][0], "columns has no meaning where the file has a header line")
            return ()
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            self._wrong(node, "columns must be a list of names")
            return ()
        names = [str(item.value) for item in node.value]
        for item in node.value:
            if names.count(str(item.value)) > 1:
                self._wrong(item, f"column {item.value!r} stands twice")
        return tuple(names)

    def _column(self, node: yaml.Node, what: str) -> Column | None:
        text = self._scalar(node)
        name = text.removesuffix("?")
        if not name:
            self._wrong(node, f"{what} must name a column")
            return None
        if self._columns and name not in self._columns:
            near = difflib.get_close_matches(name, self._columns, 1)
            hint = f"did you mean {near[0]}?" if near else f"columns are {', '.join(self._columns)}"
            self._wrong(node, f"there is no column {name!r}", hint)
            return None
        return Column(name, text.endswith("?"))

    def _columns_of(self, pairs: _Pairs, names: Iterable[str]) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for name in names:
            if name in pairs:
                column = self._column(pairs[name][1], name)
                if column is not None:
                    found[name] = column
        return found

    def _references(self, top: _Pairs, name: str, known: tuple[str, ...]) -> dict[str, Column]:
        pairs = self._section(top, name, known)
        return self._columns_of(pairs, pairs)

    def _time_format(self, pairs: _Pairs) -> str:
        text = self._text_of(pairs, "format", "iso")
        if text in ("iso", "epoch", "epoch_ms"):
            return text
        probe = dt.datetime(2024, 11, 23, 4, 5, 6, tzinfo=dt.UTC)
        try:
            whole = "%" in text and dt.datetime.strptime(probe.strftime(text), text).year == 2024  # noqa: DTZ007
        except (ValueError, re.error):
            whole = False
        if not whole:
            self._wrong(pairs["format"][1], f"time format {text!r} does not give date and time", "use iso, epoch, "
                        "epoch_ms, or a strptime format such as %Y-%m-%d %H:%M:%S")  # fmt: skip
        return text

    def _zone(self, pairs: _Pairs) -> dt.tzinfo:
        name = self._text_of(pairs, "zone", "UTC")
        offset = _OFFSET.fullmatch(name)
        if name == "UTC":
            return dt.UTC
        if offset is not None and int(offset.group(2)) < 24 and int(offset.group(3)) < 60:
            minutes = int(offset.group(2)) * 60 + int(offset.group(3))
            return dt.timezone(dt.timedelta(minutes=-minutes if offset.group(1) == "-" else minutes))
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            near = difflib.get_close_matches(name, sorted(zoneinfo.available_timezones()), 1)
            hint = (
                f"did you mean {near[0]}?" if near else "write a name such as Asia/Almaty or an offset such as +05:00"
            )
            self._wrong(pairs["zone"][1], f"there is no time zone {name!r} on this machine", hint)
            return dt.UTC

    def _cause(self, top: _Pairs) -> tuple[Column | None, str, dict[str, int]]:
        pairs = self._section(top, "cause", ("column", "kind", "words"))
        if not pairs:
            return None, "q850", {}
        kind = self._choice(pairs, "kind", CAUSE_KINDS, "q850")
        if "column" not in pairs:
            self._wrong(top["cause"][1], "cause.column is missing")
        column = self._columns_of(pairs, ("column",)).get("column")
        words: dict[str, int] = {}
        if kind == "words":
            if "words" not in pairs:
                self._wrong(top["cause"][1], "cause.words is missing", "say which word is which Q.850 cause")
                return column, kind, words
            for word, (_, node) in self._pairs(pairs["words"][1], None, "words").items():
                text = self._scalar(node)
                if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) > 127:
                    self._wrong(node, f"{text!r} is no Q.850 cause (0-127)")
                else:
                    words[word.strip().upper()] = int(text)
        elif "words" in pairs:
            self._wrong(pairs["words"][0], f"words has no meaning with kind {kind}")
        return column, kind, words

    def _constants(self, top: _Pairs) -> dict[str, str]:
        pairs = self._section(top, "constant", CONSTANT_FIELDS)
        constants = {name: self._text_of(pairs, name, "") for name in pairs}
        for name, text in constants.items():
            if len(text) > 64:
                self._wrong(pairs[name][1], f"{name} has more than 64 characters")
        return constants
