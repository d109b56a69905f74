"""Verdicts, stages and ceilings, and how a ceiling caps a verdict."""

from __future__ import annotations

from enum import Enum, IntEnum


class Verdict(IntEnum):
    """What happens to a call, from mildest to hardest; the order is the order of precedence below *protect*."""

    ALLOW = 0
    LABEL = 1
    CHALLENGE = 2
    DIVERT = 3
    BLOCK = 4

    @property
    def word(self) -> str:
        """The verdict as it is written in YAML, JSON and Redis."""
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Verdict:
        """The verdict that ``word`` names; KeyError when it names none."""
        return _VERDICTS[word]


class Stage(Enum):
    """How far the roll-out of a rule or a model has come."""

    DRAFT = "draft"
    SHADOW = "shadow"
    CANARY = "canary"
    ENFORCE = "enforce"
    RETIRED = "retired"


class Ceiling(IntEnum):
    """The hardest verdict that a region carries out, whatever its rules and model ask for.

    ``OFF``: the region is not rolled out; its calls feed the windows, are decided for the record, and raise no
    alerts. ``SHADOW``: as off, and alerts are raised. The others cap the verdict of the same name.
    """

    OFF = 0
    SHADOW = 1
    LABEL = 2
    CHALLENGE = 3
    DIVERT = 4
    BLOCK = 5

    @property
    def word(self) -> str:
        """The ceiling as it is written in YAML."""
        return self.name.lower()

    @property
    def verdict(self) -> Verdict:
        """The hardest verdict under this ceiling."""
        return _CAPS[self]

    @classmethod
    def parse(cls, word: str) -> Ceiling:
        """The ceiling that ``word`` names; KeyError when it names none."""
        return _CEILINGS[word]


_VERDICTS = {verdict.name.lower(): verdict for verdict in Verdict}
_CEILINGS = {ceiling.name.lower(): ceiling for ceiling in Ceiling}
_CAPS = {
    Ceiling.OFF: Verdict.ALLOW,
    Ceiling.SHADOW: Verdict.ALLOW,
    Ceiling.LABEL: Verdict.LABEL,
    Ceiling.CHALLENGE: Verdict.CHALLENGE,
    Ceiling.DIVERT: Verdict.DIVERT,
    Ceiling.BLOCK: Verdict.BLOCK,
}


def cap(verdict: Verdict, ceiling: Ceiling) -> Verdict:
    """``verdict`` made no harder than ``ceiling`` allows; a capped block becomes the hardest milder measure."""
    return min(verdict, ceiling.verdict)
