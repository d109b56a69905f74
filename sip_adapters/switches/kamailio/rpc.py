"""Kamailio's JSON-RPC (module jsonrpcs), as bytes: questions, answers, and what an answer says about numbers and calls.

No sockets here. Values are JSON strings and numbers, never pasted into a command line. Everything in an answer may be
wrong: the switch may be another program, and what it tells of a call was written by the caller.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from antifraud.queues.commands import is_number
from sip_adapters.agents import UnreachableError

LARGEST_ANSWER: Final = 262_144
"""Bytes. Kamailio itself sends no more than 131,070: the send buffer of 65,535 that it asks for, doubled by Linux."""

PAGES: Final = 100
"""Tables that the block list is spread over, by the last two digits: see antifraud_blocklist.cfg."""

_ENTRY_BYTES: Final = 64
_SLOT_BYTES: Final = 40
_SLOTS: Final = 64
FULLEST_PAGE: Final = (131_000 - _SLOTS * _SLOT_BYTES) // _ENTRY_BYTES
"""Numbers of a page that certainly fit into one datagram."""

_LARGEST_ID: Final = 2**31 - 1
_MOST_FIELDS: Final = 32
_SAME_DIGITS: Final = 7
_LOCAL_DIGITS: Final = 5
"""The fewest that a number within an area has."""
_DIGITS: Final = frozenset("0123456789")


class Fault(msgspec.Struct, frozen=True):
    """The switch's no: ``code`` after HTTP, ``message`` for people."""

    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    id: int = -1
    result: Any = None
    error: Fault | None = None


class Party(msgspec.Struct, frozen=True):
    """One side of a call as the dialog module knows it."""

    tag: str | None = None
    cseq: str | None = None


class Dialog(msgspec.Struct, frozen=True):
    """A call that Kamailio follows. ``state``: 1 and 2 not answered, 3 and 4 answered, 5 ended. ``variables`` are those
    of antifraud_dialogs.cfg, each an object with one name."""

    h_entry: int
    h_id: int
    call_id: str = msgspec.field(name="call-id")
    state: int = 0
    caller: Party = Party()
    variables: list[dict[str, Any]] = []


class Table(msgspec.Struct, frozen=True):
    """How many entries a table has."""

    name: str
    all: int = 0


class _Entry(msgspec.Struct, frozen=True):
    name: str
    value: str | int | float = ""


class _Slot(msgspec.Struct, frozen=True):
    slot: list[_Entry] = []


_ANSWERS: Final = msgspec.json.Decoder(_Answer)
_ENCODER: Final = msgspec.json.Encoder()


def question(identity: int, method: str, parameters: tuple[str | int, ...]) -> bytes:
    """One request. ``identity`` is what the answer is known by."""
    return _ENCODER.encode({"jsonrpc": "2.0", "method": method, "params": list(parameters), "id": identity})


def answer(raw: bytes, identity: int) -> Any:
    """The result of ``raw``, a Fault, or None when it answers another question; UnreachableError for what is none."""
    try:
        found = _ANSWERS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreachableError(f"the switch answers nonsense: {str(error)[:120]}") from None
    if found.id != identity:
        return None
    if found.error is not None:
        return Fault(found.error.code, _printable(found.error.message)[:160])
    return found.result if found.result is not None else {}


def table_of(number: str) -> str:
    """The table in which ``number`` (E.164) stands."""
    return f"antifraud_block_{number[-2:]}"


def page_name(page: int) -> str:
    """The name of table ``page`` (0 to 99)."""
    return f"antifraud_block_{page:02d}"


def tables(result: Any) -> dict[str, int]:
    """Entries by table, out of ``htable.stats``. UnreachableError when it is something else."""
    return {table.name: table.all for table in _convert(result, list[Table], "htable.stats")}


def numbers(result: Any) -> list[tuple[str, float]]:
    """Numbers with their ends out of ``htable.dump``; the end is 0 where the value is none, so that it gets mended.

    What is no number is left out: nobody can be blocked by it.
    """
    slots = _convert(result, list[_Slot], "htable.dump") if result else []
    return [(entry.name, _end(entry.value)) for slot in slots for entry in slot.slot if is_number(entry.name)]


def dialogs(result: Any) -> list[Dialog]:
    """The calls out of ``dlg.list_match``."""
    found: list[Dialog] = _convert(result, list[Dialog], "dlg.list_match")
    return found


def between(calls: list[Dialog], caller: str, callee: str) -> list[Dialog]:
    """Those of ``calls`` between these numbers (E.164; empty: any), by how the numbers were presented to the switch.

    Where there is none, those whose numbers nobody here can read. Never one that says that it is between others, and
    never one that antifraud.cfg did not hand to the engine: an emergency call that the operator tracks, for one.
    """
    found = [(call, _is_between(call, caller, callee)) for call in calls]
    return [call for call, sure in found if sure] or [call for call, sure in found if sure is None]


def _is_between(call: Dialog, caller: str, callee: str) -> bool | None:
    """None where it cannot be told."""
    said = [value for item in call.variables for name, value in item.items() if name == "antifraud_who"]
    if not said:
        return False
    who = said[0]
    told = parse_qs(who, max_num_fields=_MOST_FIELDS) if isinstance(who, str) and who.count("&") < _MOST_FIELDS else {}
    sides = (
        _is_meant(told.get("asserted", []) + told.get("caller_raw", []), caller),
        _is_meant(told.get("callee_raw", []), callee),
    )
    if False in sides:
        return False
    return None if None in sides else True


def _is_meant(presented: list[str], number: str) -> bool | None:
    """Whether one of the numbers that were ``presented`` is ``number``; None where none of them has a digit."""
    wanted = _digits(number)
    if not wanted:
        return True
    digits = [found for found in map(_digits, presented) if found]
    return any(_ends_alike(one, wanted) for one in digits) if digits else None


def _digits(text: str) -> str:
    return "".join(char for char in text if char in _DIGITS)


def _ends_alike(one: str, other: str) -> bool:
    """Whether the last digits are the same, however a prefix is written; those of a short number, such as 112, are no
    end of a longer one."""
    same = min(_SAME_DIGITS, len(one), len(other))
    return one == other or (same >= _LOCAL_DIGITS and one[-same:] == other[-same:])


def epoch(result: Any) -> str:
    """Since when Kamailio runs, out of ``core.uptime``."""
    since = result.get("up_since") if isinstance(result, dict) else None
    if not isinstance(since, str) or not since:
        raise UnreachableError("the switch answers core.uptime with something else")
    return since[:64]


def next_identity(identity: int) -> int:
    """The identity of the next question."""
    return identity + 1 if identity < _LARGEST_ID else 1


def _convert(result: Any, kind: Any, what: str) -> Any:
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:
        raise UnreachableError(f"the switch answers {what} with something else: {str(error)[:120]}") from None


def _end(value: str | float) -> float:
    try:
        end = float(value) if not isinstance(value, str) or len(value) <= 20 else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return end if 0 <= end < 2**53 else 0.0


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
