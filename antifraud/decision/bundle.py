"""The bundle: one compiled version of windows, rules and lists, with one digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from antifraud.decision.facts import ROW, TALK_SO_FAR
from antifraud.domain import Location, ModelError
from antifraud.features import WindowSet, load_windows
from antifraud.rulekit import (
    CompiledRules,
    Field,
    Predicate,
    RuleSet,
    combine_where,
    compile_where,
    load_fields,
    load_rules,
    read_calendar,
    taken_names,
)
from antifraud.rulekit.list_folder import KnownList, ListStamp
from antifraud.rulekit.transfer import Pause, PieceWriter, RulesIndex, read_rules, write_rules
from antifraud.rulekit.window_names import OwnWindows, read_own_windows

_LENGTH: Final = 8
"""Bytes at the end of a written bundle: how long the index before them is."""
_NAMED: Final = 5


class Bundle(msgspec.Struct, frozen=True):
    """Windows and rules that belong together. ``digest`` is in every decision made with them."""

    windows: WindowSet
    rules: CompiledRules
    digest: str

    def without_sources(self) -> Bundle:
        """The same without what only people read of its rules: all that an engine keeps in memory."""
        rules = self.rules.without_sources() if isinstance(self.rules, RuleSet) else self.rules
        return msgspec.structs.replace(self, rules=rules)

    def known_lists(self) -> dict[str, KnownList]:
        """Its lists as ``load_bundle`` wants them, so that those whose files have not changed are not read again."""
        return {name: KnownList.of(item.file, item.stamp) for name, item in self.rules.held.items()}


def load_bundle(
    rules_dir: Path,
    utc_offset_min: int | None = None,
    known: Mapping[str, KnownList] = {},
    *,
    drafts: bool = False,
    vocabulary: tuple[Path, Path] | None = None,
) -> Bundle:
    """The bundle of ``rules_dir`` (windows.yaml, fields.yaml, calendar.yaml, packs/, lists/).

    ``utc_offset_min`` is the local time of the calls, as the configuration gives it; without it that of calendar.yaml.
    ``known`` lists whose files have not changed come without their entries: such a bundle is there to be written (see
    ``write_bundle``), not to decide with. ``drafts`` asks also for the windows that drafts and retired rules declare,
    for trying such rules out. ``vocabulary`` are the files of fields and windows where they lie elsewhere. BundleError
    carries all problems found.
    """
    if utc_offset_min is None:
        utc_offset_min = read_calendar(rules_dir)[0].utc_offset_min
    fields_file, windows_file = vocabulary or (rules_dir / "fields.yaml", rules_dir / "windows.yaml")
    fields = load_fields(fields_file)
    # A draft's own windows would take memory, and a running engine cannot take new ones: they wait for its promotion.
    own = [item for item in read_own_windows(rules_dir) if item.live or drafts]
    windows = load_window_set(windows_file, fields, utc_offset_min, own)
    order = (*ROW, *windows.names, "score", TALK_SO_FAR)
    rules = load_rules(
        rules_dir,
        fields=fields,
        windows=windows.names,
        order=order,
        utc_offset_min=utc_offset_min,
        known=known,
        kinds={spec.name: spec.kind for spec in windows.specs},
    )
    digest = hashlib.blake2b(f"{windows.digest} {rules.digest}".encode(), digest_size=8).hexdigest()
    return Bundle(windows, rules, digest)


def load_window_set(
    path: Path, fields: Mapping[str, Field], utc_offset_min: int, own: Sequence[OwnWindows] = ()
) -> WindowSet:
    """The windows that ``path`` and the rules ``own`` declare, over the rows of ``facts``.

    BundleError with what is wrong with them.
    """

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, ROW, on, utc_offset_min=utc_offset_min)

    return load_windows(path, where, combine=combine_where, taken=taken_names((*fields, *ROW)), own=own)


class _Index(msgspec.Struct, frozen=True):
    digest: str
    windows: str
    contents: Mapping[str, str]
    """Each window's name and the digest of its content."""
    rules: RulesIndex


_INDEX: Final = msgspec.msgpack.Decoder(_Index)


def write_bundle(bundle: Bundle, held: Mapping[str, ListStamp], stream: BinaryIO) -> None:
    """Write ``bundle`` for another process that runs the same program (see ``rulekit.transfer``).

    ``held`` (name → stamp) are lists that the reader has: the same ones are left out.
    """
    pieces = PieceWriter(stream)
    rules = write_rules(bundle.rules, held, pieces)
    index = pieces.encoded(_Index(bundle.digest, bundle.windows.digest, bundle.windows.digests, rules))
    pieces.add(index.size.to_bytes(_LENGTH, "little"))


def read_bundle(content: memoryview, current: Bundle, pause: Pause) -> Bundle:
    """The bundle that was written into ``content``, with the windows, and the lists that were left out, of ``current``.

    ModelError when its windows are others.
    """
    size = int.from_bytes(content[-_LENGTH:], "little")
    index = _INDEX.decode(content[-_LENGTH - size : -_LENGTH])
    if index.windows != current.windows.digest:
        raise windows_changed(current.windows.digests, index.contents)
    pause()
    rules = read_rules(index.rules, content, current.rules.held, pause)
    return Bundle(current.windows, rules, index.digest)


def windows_changed(old: Mapping[str, str], new: Mapping[str, str]) -> ModelError:
    """What is said when a running engine is given other windows than it folds (each: name → digest of the content)."""
    kinds = {
        "new": [name for name in new if name not in old],
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "gone": [name for name in old if name not in new],
    }
    said = [f"{kind}: {_shown(names)}" for kind, names in kinds.items() if names] or ["their order"]
    return ModelError(
        f"the windows have changed ({'; '.join(said)}); a running engine keeps those it has",
        hint="restart the engine: windows that stay keep their past, new ones are folded from the log",
    )


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
