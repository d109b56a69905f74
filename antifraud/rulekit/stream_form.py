"""Reading a stream of events out of a rule's file, and checking that an engine would take each of them.

What is checked here needs no dial plan and no windows: names of fields, kinds of events, times, numbers as texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from antifraud.domain import EventError
from antifraud.rulekit import form
from antifraud.rulekit.checker import Names
from antifraud.rulekit.documents import MapNode, Node, Scalar, Sheet
from antifraud.rulekit.form import Value
from antifraud.rulekit.messages import Message, did_you_mean
from antifraud.rulekit.stream import (
    CALL,
    CARRIED,
    ENDS,
    GIVEN,
    KINDS,
    MAX_EVENTS,
    MAX_SPAN_S,
    TRUNK_CLASS,
    Entry,
    Stream,
    Values,
    counted_off,
    ends_of,
    most_repetitions,
    played_entries,
    released_early,
    trunk_of,
)

KEYS: Final = ("country", "starts", "each", "events", "judge")
"""The keys that only a test with events has."""
ENTRY_KEYS: Final = ("at", "repeat", "every", "kind", "call")
MAX_ENTRIES: Final = 200
DURATION: Final = r"(?=[0-9])([0-9]{1,3}d)? ?([0-9]{1,4}h)? ?([0-9]{1,5}m)? ?([0-9]{1,7}(\.[0-9]{1,3})?s)?"

_DURATION: Final = re.compile(DURATION)
_SECONDS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SEPARATORS: Final = re.compile(r"[ ()\u00a0-]")
_NUMBER: Final = re.compile(r"\+[1-9#][0-9#]{4,14}|[0-9#]{2,16}")
_PARTIES: Final = ("caller", "callee")
_OF_A_CALL: Final = ("answer", "release")
_ARTICLES: Final = {"answer": "an answer", "report": "a report", "release": "a release"}

_Found = Mapping[str, tuple[Scalar, Node]]


def read_stream(sheet: Sheet, found: _Found, node: Node, names: Names, base: Stream | None, starts: float) -> Stream:
    """The stream of the test ``node`` with the keys ``found``; what is wrong with it is noted in the sheet.

    ``base`` is the stream of the test that it is like: fields of ``each`` are replaced one by one, everything else as
    a whole. ``starts`` is when a stream begins that does not say so.
    """
    problems = len(sheet.problems)
    reader = _Reader(sheet, names)
    begin = base.starts if base is not None else starts
    if "starts" in found:
        given = form.moment(sheet, found["starts"][1], "starts")
        begin = given if given is not None else begin
    country = base.country if base is not None else ""
    if "country" in found:
        place = found["country"][1]
        country = form.text(sheet, place, "country", 16) or ""
        if country and not _COUNTRY.fullmatch(country):
            sheet.at(place, Message.COUNTRY_CODE, value=country)
        elif country == "NO" and isinstance(place, Scalar) and place.plain:
            sheet.at(
                place, Message.COUNTRY_CODE, hint='Norway stands in quotes: "NO"; else it is read as no', value="no"
            )
    each = dict(base.each) if base is not None else {}
    if "each" in found:
        each.update(reader.values(found["each"][1], "each", GIVEN))
    entries = base.entries if base is not None else ()
    if "events" in found:
        entries = reader.entries(found["events"][1])
    judge = base.judge if base is not None else ""
    if "judge" in found:
        judge = form.text(sheet, found["judge"][1], "judge", 64) or ""
    stream = Stream(entries, begin, each, judge, country)
    # Where entries come from another test that is wrong itself, what is wrong with them has been said there.
    if len(sheet.problems) == problems and ("events" in found or not problems):
        _check(sheet, stream, found, node)
    return stream


class _Reader:
    """Reads entries; goes on after a mistake, to find the others."""

    def __init__(self, sheet: Sheet, names: Names) -> None:
        self._sheet = sheet
        self._names = names
        self._fields = [name for name in GIVEN if name in names.fields]

    def entries(self, node: Node) -> tuple[Entry, ...]:
        """The entries in the order of the file."""
        found: list[Entry] = []
        for item in form.items(self._sheet, node, "events", MAX_ENTRIES):
            entry = self._entry(item, found)
            if entry is not None:
                found.append(entry)
        return tuple(found)

    def _entry(self, node: Node, before: Sequence[Entry]) -> Entry | None:
        sheet = self._sheet
        if not isinstance(node, MapNode):
            sheet.at(
                node, Message.NOT_A_MAPPING, what="an event", hint='write such as {at: 0s, callee: "+77010000001"}'
            )
            return None
        own: _Found = {key: node.entries[key] for key in ENTRY_KEYS if key in node.entries}
        kind = form.choice(sheet, own["kind"][1], "kind", KINDS) if "kind" in own else CALL
        if kind is None:
            return None
        if "at" not in own:
            hint = "say how long after the beginning it happens, such as at: 0s or at: 3m"
            sheet.at(node, Message.MISSING_KEY, hint=hint, what="this event", name="at")
            return None
        at = self._duration(own["at"][1], "at")
        if at is not None and before and at < before[-1].at:
            assert isinstance(own["at"][1], Scalar)
            sheet.at(own["at"][1], Message.EVENT_BACKWARDS, at=own["at"][1].value, line=before[-1].line)
        repeat, every = self._repetitions(own)
        call = form.text(sheet, own["call"][1], "call", 64) or "" if "call" in own else ""
        place = own["call"][1] if call else node
        self._check_call(place, kind, call, before)
        values = self.values(node, kind, CARRIED[kind])
        return Entry(kind, at or 0.0, values, call, repeat, every, node.line, node.column)

    def _repetitions(self, own: _Found) -> tuple[int, float]:
        sheet = self._sheet
        if ("repeat" in own) != ("every" in own):
            there, missing = ("repeat", "every") if "repeat" in own else ("every", "repeat")
            hint = {"every": "say how far apart they are, such as every: 20s", "repeat": "say how many there are"}[
                missing
            ]
            sheet.at(own[there][0], Message.MISSING_KEY, hint=hint, what=f"an event with {there}", name=missing)
        every = self._duration(own["every"][1], "every") if "every" in own else None
        if "repeat" not in own:
            return 1, 0.0
        count = form.number(sheet, own["repeat"][1], "repeat")
        if count is not None and not (1 <= count <= MAX_EVENTS and count == int(count)):
            sheet.at(
                own["repeat"][1],
                Message.OUT_OF_RANGE,
                hint="write a whole number",
                what="repeat",
                low=1,
                high=MAX_EVENTS,
            )
            count = None
        return (int(count) if count is not None else 1), every or 0.0

    def _check_call(self, place: Node, kind: str, call: str, before: Sequence[Entry]) -> None:
        """A call is set up once under its name, and what belongs to one names it."""
        sheet = self._sheet
        named = {entry.call: entry for entry in before if entry.sets_up and entry.call}
        if kind in (CALL, "setup"):
            if call in named:
                sheet.at(place, Message.CALL_TWICE, name=call, line=named[call].line)
            return
        if not call:
            if kind in _OF_A_CALL:
                hint = "give the call a name where it is set up, such as call: first, and the same name here"
                sheet.at(place, Message.MISSING_KEY, hint=hint, what=_ARTICLES[kind], name="call")
            return
        if call not in named:
            advice = did_you_mean(call, named, "name a call that an event above sets up: call: …")
            sheet.at(place, Message.CALL_UNKNOWN, name=call, advice=advice)
        elif named[call].repeat > 1:
            sheet.at(place, Message.CALL_REPEATED, name=call, count=named[call].repeat, what=_ARTICLES[kind])
        elif kind in _OF_A_CALL and any(name in named[call].values for name in ENDS):
            sheet.at(place, Message.CALL_ENDED, name=call, line=named[call].line)

    def values(self, node: Node, kind: str, carried: Sequence[str]) -> dict[str, Value | None]:
        """The fields among the keys of ``node``; ``kind`` says at what they would have to be known."""
        sheet = self._sheet
        values: dict[str, Value | None] = {}
        for name, (key, value_node) in (form.mapping(sheet, node, kind) or {}).items():
            if name in ENTRY_KEYS and kind != "each":
                continue
            if name not in self._fields:
                self._unknown(key, name, kind)
                continue
            if name not in carried:
                known = ", ".join(other for other in KINDS if name in CARRIED[other])
                sheet.at(key, Message.NOT_KNOWN_AT, hint=f"it can stand at: {known}", name=name, at=kind)
                continue
            value = self._value(name, value_node)
            if value is not None or form.is_null(value_node):
                values[name] = value
        for party in _PARTIES:
            if values.get(party) is not None and values.get(f"{party}_raw") is not None:
                hint = f"{party} is a number, {party}_raw what the switch was shown; keep one of them"
                sheet.at(node, Message.PARTY_TWICE, hint=hint, party=party)
        return values

    def _value(self, name: str, node: Node) -> Value | None:
        if form.is_null(node):
            return None
        field = self._names.fields[name]
        value = form.field_value(self._sheet, node, name, field.type, field.values)
        if name not in _PARTIES or not isinstance(value, str):
            return value
        plain = _SEPARATORS.sub("", value)
        if not _NUMBER.fullmatch(plain):
            self._sheet.at(node, Message.EVENT_NUMBER, value=value, raw=f"{name}_raw")
            return None
        return plain

    def _unknown(self, key: Scalar, name: str, kind: str) -> None:
        names = self._names
        if name in ENTRY_KEYS:
            self._sheet.at(key, Message.UNKNOWN_KEY, hint="give it with each event", name=name, what="each")
        elif name in names.fields or name in names.windows or name == "score":
            self._sheet.at(key, Message.EVENT_FOLLOWS, name=name, advice=_advice(name, names))
        else:
            known = [*(ENTRY_KEYS if kind != "each" else ()), *self._fields]
            hint = did_you_mean(name, known, "a field of a call, as in fields.yaml, such as caller, callee or talk_s")
            what = "each" if kind == "each" else "an event"
            self._sheet.at(key, Message.UNKNOWN_KEY, hint=hint, name=name, what=what)

    def _duration(self, node: Node, what: str) -> float | None:
        found = duration(node.value) if isinstance(node, Scalar) else None
        if found is None:
            self._sheet.at(node, Message.NOT_A_DURATION, what=what)
        return found


def duration(text: str) -> float | None:
    """The seconds of a length of time as people write it, such as 20s or 1h30m; None where it is none."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    return sum(float(part[:-1]) * _SECONDS[part[-1]] for part in found.groups()[:4] if part)


def _advice(name: str, names: Names) -> str:
    """What to give in the place of something that follows."""
    if name in names.windows:
        return "write the events that it counts"
    if name == "score":
        return "no model is asked here; a test with given can give a score"
    for party in _PARTIES:
        if name.startswith(f"{party}_"):
            return f"give {party}, or {party}_raw"
    return {
        "ts": "write at: … in the event, and starts: … beside events",
        "call_id": "give the call a name: call: …",
        "hour": "say when the events begin: starts: 2026-05-01T23:00:00+05:00",
        "weekday": "say when the events begin: starts: 2026-05-01T23:00:00+05:00",
        "home_country": "say by whose dial plan numbers are read: country: KZ",
        "region": "give the switch, or a callee of that region",
        "asserted_differs": "give asserted and caller",
    }.get(name, "give what it follows from")


# The stream as a whole


def _check(sheet: Sheet, stream: Stream, found: _Found, node: Node) -> None:
    """What is wrong with the entries together, and what an engine would refuse of their events."""
    place = found["events"][1] if "events" in found else node
    if stream.size > MAX_EVENTS:
        sheet.at(place, Message.EVENTS_TOO_MANY, limit=MAX_EVENTS)
        return
    named = {entry.call: entry for entry in stream.entries if entry.sets_up and entry.call}
    if stream.judge and stream.judge not in named:
        advice = did_you_mean(stream.judge, named, "name a call that an event sets up: call: …")
        sheet.at(
            found["judge"][1] if "judge" in found else place, Message.JUDGE_UNKNOWN, name=stream.judge, advice=advice
        )
    elif not any(entry.sets_up for entry in stream.entries):
        sheet.at(place, Message.NOTHING_TO_JUDGE)
    problems = len(sheet.problems)
    trunks: dict[str, tuple[str, int]] = {}
    for entry in stream.entries:
        _check_entry(sheet, stream, entry, named, trunks)
    for entry, answered in released_early(stream):
        sheet.add(Message.RELEASED_EARLY, entry.line, entry.column, name=entry.call, at=f"{answered:g}s")
    if len(sheet.problems) == problems:
        _play(sheet, stream)


def _play(sheet: Sheet, stream: Stream) -> None:
    """Note what only shows when one event follows another. Calls of one event each have been looked at already."""
    if not any(entry.kind in _OF_A_CALL for entry in stream.entries):
        return
    for entry, events in played_entries(stream, {}, ends=True):
        try:
            for _event in events:
                pass
        except EventError as error:
            sheet.add(Message.EVENT_REFUSED, entry.line, entry.column, detail=error.detail)
            return


def _check_entry(
    sheet: Sheet, stream: Stream, entry: Entry, named: Mapping[str, Entry], trunks: dict[str, tuple[str, int]]
) -> None:
    written = {**stream.each, **entry.values}
    for name, value in written.items():
        if not isinstance(value, str) or name not in CARRIED[entry.kind] or "#" not in value or name == TRUNK_CLASS:
            continue
        if entry.repeat > 1 and entry.repeat > most_repetitions(value):
            sheet.add(Message.MASK_TOO_SHORT, entry.line, entry.column, name=name, value=value, count=entry.repeat)
            return
        if entry.repeat == 1 and name in _PARTIES:
            sheet.add(Message.MASK_ALONE, entry.line, entry.column, value=value)
            return
    _check_trunks(sheet, entry, written, trunks)
    try:
        events = list(ends_of(stream, entry, named))
    except EventError as error:
        sheet.add(Message.EVENT_REFUSED, entry.line, entry.column, detail=error.detail)
        return
    if events and events[-1].ts - stream.starts > MAX_SPAN_S:
        sheet.add(Message.EVENTS_TOO_LONG, entry.line, entry.column, days=int(MAX_SPAN_S // 86_400))


def _check_trunks(sheet: Sheet, entry: Entry, written: Values, trunks: dict[str, tuple[str, int]]) -> None:
    """Note a trunk that has another class than elsewhere in the test; ``trunks`` has class and line of those seen."""
    trunk, kind = trunk_of(written)
    if not kind:
        return
    repeat = entry.repeat if "#" in trunk else 1
    for name in [counted_off(trunk, count) for count in range(1, repeat + 1)] if repeat > 1 else [trunk]:
        other, line = trunks.setdefault(name, (kind, entry.line))
        if other != kind:
            place = entry.line, entry.column
            sheet.add(Message.TRUNK_CLASSES, *place, name=name, kind=kind, other=other, line=line)
            return
