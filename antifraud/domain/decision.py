"""The decision: what the engine says about one call, and why."""

from __future__ import annotations

import msgspec


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ground for a verdict: who says it (``rule:<id>``, ``score``, ``protect``, ``list:<id>``), in words."""

    by: str
    verdict: str
    text: str
    stage: str = "enforce"


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the engine decided about one call.

    ``verdict`` is carried out; ``full_verdict`` is what full enforcement (every rule and the model at enforce, no
    ceiling) would have given. ``id`` follows from shard, call and numbers alone, so a decision that is written
    twice is recognised. ``late`` and ``duplicate`` say how it was delivered: late ones were not pushed to the
    switch, duplicates answer a repeated setup and were not counted again. ``code`` is the SIP status of a refusal that
    a rule asks for; 0: that of the region. ``features`` are what the model saw, in its order, None for missing; only
    where the score asks for a verdict, so that it can be explained later. ``block_until``: the epoch second until which
    the caller's number is to be blocked because of this call, and ``block_by`` the rule that asks for it.
    ``on`` is empty for a call that is set up; a decision about one in progress says what it follows (answer, tick,
    report), and its verdict is ``release``, ``alert`` or, under the kill switch, ``allow``.

    ``caller_class`` is the class whose thresholds the score was held against. ``challenger`` is a model that decides
    nothing; its score, and ``challenger_verdict``, what full enforcement would have given with it in the model's place.
    """

    id: str
    call_id: str
    ts: float
    shard: str
    region: str
    verdict: str
    full_verdict: str
    ceiling: str
    caller: str = ""
    callee: str = ""
    switch: str = ""
    trunk: str = ""
    source: str = ""
    score: float | None = None
    reasons: tuple[Reason, ...] = ()
    protected: bool = False
    target: str = ""
    desk: str = ""
    label: str = ""
    code: int = 0
    bundle: str = ""
    model: str = ""
    features: tuple[float | None, ...] = ()
    duplicate: bool = False
    late: bool = False
    block_until: float | None = None
    block_by: str = ""
    on: str = ""
    caller_class: str = ""
    challenger: str = ""
    challenger_score: float | None = None
    challenger_verdict: str = ""

    @property
    def reason(self) -> str:
        """The first reason in words; empty when nothing was found."""
        return self.reasons[0].text if self.reasons else ""
