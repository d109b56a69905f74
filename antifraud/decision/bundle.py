"""The bundle: one compiled version of windows, rules and lists, with one digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from antifraud.decision.facts import ROW
from antifraud.domain import Location
from antifraud.features import WindowSet, load_windows
from antifraud.rulekit import (
    Predicate,
    RuleSet,
    combine_where,
    compile_where,
    load_fields,
    load_rules,
    read_calendar,
    taken_names,
)


class Bundle(msgspec.Struct, frozen=True):
    """Windows and rules that belong together. ``digest`` is in every decision made with them."""

    windows: WindowSet
    rules: RuleSet
    digest: str


def load_bundle(rules_dir: Path, utc_offset_min: int | None = None) -> Bundle:
    """The bundle of ``rules_dir`` (windows.yaml, fields.yaml, calendar.yaml, packs/, lists/).

    ``utc_offset_min`` is the local time of the calls, as the configuration gives it; without it that of calendar.yaml.
    BundleError carries all problems found.
    """
    if utc_offset_min is None:
        utc_offset_min = read_calendar(rules_dir)[0].utc_offset_min
    fields = load_fields(rules_dir / "fields.yaml")

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, ROW, on, utc_offset_min=utc_offset_min)

    windows = load_windows(rules_dir / "windows.yaml", where, combine=combine_where, taken=taken_names((*fields, *ROW)))
    order = (*ROW, *windows.names, "score")
    rules = load_rules(rules_dir, fields=fields, windows=windows.names, order=order, utc_offset_min=utc_offset_min)
    digest = hashlib.blake2b(f"{windows.digest} {rules.digest}".encode(), digest_size=8).hexdigest()
    return Bundle(windows, rules, digest)
