"""The bundle: one compiled version of windows, rules and lists, with one digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from antifraud.decision.facts import ROW
from antifraud.domain import Location
from antifraud.features import WindowSet, load_windows
from antifraud.rulekit import Predicate, RuleSet, combine_where, compile_where, load_fields, load_rules


class Bundle(msgspec.Struct, frozen=True):
    """Windows and rules that belong together. ``digest`` is in every decision made with them."""

    windows: WindowSet
    rules: RuleSet
    digest: str


def load_bundle(rules_dir: Path) -> Bundle:
    """The bundle of ``rules_dir`` (windows.yaml, fields.yaml, packs/, lists/); BundleError with all problems found."""
    fields = load_fields(rules_dir / "fields.yaml")

    def where(text: str, place: Location, on: str) -> Predicate:
        return compile_where(text, place, fields, ROW, on)

    windows = load_windows(rules_dir / "windows.yaml", where, combine=combine_where)
    order = (*ROW, *windows.names, "score")
    rules = load_rules(rules_dir, fields=fields, windows=windows.names, order=order)
    digest = hashlib.blake2b(f"{windows.digest} {rules.digest}".encode(), digest_size=8).hexdigest()
    return Bundle(windows, rules, digest)
