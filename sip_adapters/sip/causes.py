"""SIP status codes as Q.850 causes (RFC 3398 §8.2.6.1), and the Reason header (RFC 3326) that knows better."""

from __future__ import annotations

import re
from typing import Final

NORMAL_CLEARING: Final = 16
_REASON: Final = re.compile(r"Q\.850[ \t]*;.*?cause[ \t]*=[ \t]*([0-9]{1,3})(?![0-9])", re.IGNORECASE)

_CAUSES: Final[dict[int, int]] = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
    415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17,
    487: 16, 488: 31, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
    606: 31, 607: 21, 608: 21,
}  # fmt: skip


def cause_of(status: int, reason: str = "") -> int:
    """The Q.850 cause of a final failure: the Reason header's where it names one, otherwise by the table.

    487 (no mapping in the RFC) is the caller hanging up: 16. 607 and 608 are call rejected by RFC 8197 and 8688.
    Codes without a row count as their class's x00 (RFC 3261 §8.1.3.2).
    """
    stated = stated_cause(reason)
    if stated is not None:
        return stated
    found = _CAUSES.get(status)
    return found if found is not None else _CAUSES.get(status // 100 * 100, 31)


def stated_cause(reason: str) -> int | None:
    """The Q.850 cause that a raw Reason header states; None when it states none."""
    match = _REASON.search(reason[:1024])
    if match is None:
        return None
    cause = int(match.group(1))
    return cause if cause <= 127 else None
