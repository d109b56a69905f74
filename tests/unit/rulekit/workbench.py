"""A small rules directory for tests: fields and windows of the product, one rule or list at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from antifraud.domain import BundleError, Problem
from antifraud.rulekit import Field, RuleSet, load_fields, load_rules, read_window_kinds, read_window_names

RULES = Path(__file__).parents[3] / "rules"

RULE = """\
rule: {name}
title: a rule for a test
owner: tests
why: because
false_positives: none
{params}when: {when}
then:
  verdict: {verdict}
{then}  reason: "{reason}"
rollout:
  stage: {stage}
{rollout}"""

LIST = """\
list: {name}
title: a list for a test
{head}kind: {kind}
owner: tests
source: made up
entries: {entries}
"""

OWN_WINDOW = """\
windows:
  - name: {name}
    kind: count
    by: caller
    over: 7m
"""

CALENDAR = """\
country: KZ
source: made up
utc_offset_min: 300
years: [2026, 2027]
holidays: {holidays}
"""


@cache
def vocabulary() -> tuple[dict[str, Field], tuple[str, ...], tuple[str, ...]]:
    """The product's fields, its window names, and the order of a row."""
    fields = load_fields(RULES / "fields.yaml")
    windows = read_window_names(RULES / "windows.yaml")
    return fields, windows, (*fields, *windows, "score")


@cache
def kinds() -> dict[str, str]:
    """The kinds of the product's windows."""
    return read_window_kinds(RULES / "windows.yaml")


def rule_text(
    when: str = 'caller == "+77000000001"',
    *,
    name: str = "sample",
    params: str = "",
    verdict: str = "divert",
    then: str = "",
    reason: str = "a reason",
    stage: str = "draft",
    rollout: str = "",
) -> str:
    """A rule file; ``when`` is put into a literal block."""
    block = "|\n" + "\n".join(f"  {line}" if line else "" for line in when.split("\n"))
    return RULE.format(
        name=name,
        params=params,
        when=block,
        verdict=verdict,
        then=then,
        reason=reason,
        stage=stage,
        rollout=rollout,
    )


def in_progress_text(
    when: str = "talk_so_far_s > 60", *, on: str = "tick", then: str = "command: release", stage: str = "draft"
) -> str:
    """A rule file on calls in progress."""
    text = rule_text(when, stage=stage)
    head, _, rest = text.partition("when: ")
    before, _, after = rest.partition("then:")
    rollout = "rollout:" + after.partition("rollout:")[2]
    return f"{head}on: {on}\nwhen: {before}then: {{{then}, reason: a reason}}\n{rollout}"


def list_text(name: str, entries: str, *, kind: str = "numbers", head: str = "") -> str:
    """A list file; ``entries`` is YAML."""
    return LIST.format(name=name, entries=entries, kind=kind, head=head)


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """The files under ``folder``, which gets packs/ in any case."""
    (folder / "packs" / "demo").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def load(folder: Path) -> RuleSet:
    """The rules of ``folder`` with the product's fields and windows."""
    fields, windows, order = vocabulary()
    return load_rules(folder, fields=fields, windows=windows, order=order, kinds=kinds())


def load_one(folder: Path, text: str, *, name: str = "sample", **lists: str) -> RuleSet:
    """One rule, and lists by name."""
    files = {f"packs/demo/{name}.yaml": text, **{f"lists/{key}.yaml": value for key, value in lists.items()}}
    return load(write(folder, files))


def problems(folder: Path) -> Sequence[Problem]:
    """What is wrong in ``folder``; nothing when it loads."""
    try:
        load(folder)
    except BundleError as error:
        return error.problems
    return ()


def row(**given: object) -> list[object]:
    """A row with ``given`` and nothing else; ts is 2026-01-01 12:00 UTC unless given."""
    order = vocabulary()[2]
    values = {"kind": "setup", "ts": 1_767_268_800.0, **given}
    assert not set(values) - set(order), "a name that the row does not have"
    return [values.get(name) for name in order]
