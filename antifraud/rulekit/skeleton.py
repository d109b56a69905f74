"""The beginning of a new rule: a file that is accepted as it is, says what is still to be written, and is a draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from antifraud.rulekit.documents import Sheet
from antifraud.rulekit.fields import Field
from antifraud.rulekit.layout import layout_file, quoted

_MODELINE: Final = "# yaml-language-server: $schema=../../schema/rule.schema.json\n"
_BODY: Final = """\
rule: {name}
title: "TODO one line: what such a call looks like"
owner: {owner}
why: "TODO why such a call is bad; somebody will read this in two years"
false_positives: "TODO which honest callers look like this, and what is done for them"
{params}when: |
  # TODO what must be true. Names: rules/fields.yaml and rules/windows.yaml; docs/reference/rule-language.md
  {condition}
then:
  verdict: {verdict}
{extra}  reason: "TODO one sentence for people, such as: {shown}"
rollout:
  stage: draft
tests:
  - name: TODO a call that must be hit
    given: {{{hit}}}
    expect: hit
  - name: TODO an honest call that looks nearly the same
    like: TODO a call that must be hit
    given: {{{spared}}}
    expect: no_hit
"""
_EXTRA: Final[Mapping[str, str]] = {
    "label": "  label: TODO shown when it rings\n",
}
_WINDOWS: Final = ("caller_callees_10m", "caller_calls_10m", "caller_calls_1h")


def skeleton(
    name: str, verdict: str, owner: str, fields: Mapping[str, Field], windows: Sequence[str], *, schema: bool
) -> str:
    """The text of a new rule, with a condition that the fields and windows at hand allow.

    ``schema`` says whether the rules directory has the schemas that editors read.
    """
    window = next((window for window in _WINDOWS if window in windows), None)
    if verdict == "protect" and "callee_emergency" in fields:
        parts = ("", "callee_emergency", "callee_emergency: true", "callee_emergency: false", "{callee} is protected")
    elif window is not None:
        params = "params:\n  calls: 20\n"
        shown = f"{{caller}} has {{{window}}}"
        parts = (params, f"{window} >= params.calls", f"{window}: 50", f"{window}: 3", shown)
    else:
        parts = ("", "hour < 6", "hour: 3", "hour: 12", "a call at {hour} o'clock")
    params, condition, hit, spared, shown = parts
    text = _BODY.format(
        name=name,
        owner=quoted(owner),
        params=params,
        condition=condition,
        verdict=verdict,
        extra=_EXTRA.get(verdict, ""),
        shown=shown,
        hit=hit,
        spared=spared,
    )
    sheet = Sheet(name, (_MODELINE if schema else "") + text)
    laid_out = layout_file(sheet)
    assert laid_out is not None, "the skeleton is a rule"
    return laid_out
