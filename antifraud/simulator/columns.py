"""Calls as numpy columns: what the simulator makes, before any text is written or any event built.

``Block`` is honest calls that are not yet settled (whether they are answered is still a probability);
``CallColumns`` is finished calls in order of time. ``events_of`` turns these into events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from antifraud.domain import CallEvent, EventKind
from antifraud.simulator.call import Call, Oddity, Origin, SimulatedEvent, Truth
from antifraud.simulator.plan import written_all
from antifraud.simulator.world import Trunk, World

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SOURCE: Final = "simulator"
_SETUP, _ANSWER, _RELEASE, _REPORT = EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE, EventKind.REPORT
_ROAMING: Final = np.array([False, True, None], dtype=object)
_PRIVACY: Final = np.array(["", "id"], dtype=object)


class Block(msgspec.Struct):
    """Honest calls of one class, one entry a call. ``roaming`` is 1, 0 or -1 (not known); 0 in numbers means none.

    ``answer``, ``callback``, ``redial``, ``hangs_up``, ``abandoned`` and ``complain`` are probabilities. ``person`` and
    ``target`` are who calls and who is called (-1 where that is no subscriber), ``home`` the caller's region or -1,
    ``truth`` an index into the truths of honest traffic.
    """

    caller: Ints
    callee: Ints
    region: Ints
    trunk: Ints
    callee_form: Ints
    imsi: Ints
    imei: Ints
    cell: Ints
    roaming: Ints
    asserted: Ints
    diversion: Ints
    anonymous: Bools
    answer: Floats
    ring: Floats
    talk: Floats
    complain: Floats
    callback: Floats
    redial: Floats
    hangs_up: Floats
    abandoned: Floats
    person: Ints
    target: Ints
    home: Ints
    truth: Ints

    def __len__(self) -> int:
        return len(self.caller)

    def take(self, which: Any) -> Block:
        """The calls that ``which`` (a mask, indices or a slice) names, in its order."""
        return Block(*[getattr(self, name)[which] for name in Block.__struct_fields__])

    @staticmethod
    def join(blocks: Sequence[Block]) -> Block:
        """All ``blocks`` (at least one), one after the other."""
        if len(blocks) == 1:
            return blocks[0]
        return Block(*[np.concatenate([getattr(block, name) for block in blocks]) for name in Block.__struct_fields__])


class CallColumns(msgspec.Struct):
    """Finished calls in order of time, one entry a call in every array.

    ``ts`` epoch seconds; ``ring``, ``talk`` (NaN: not answered), ``pdd`` and ``report`` (0: nobody complains; else from
    the end of the call to the complaint) seconds. Numbers (``caller``, ``callee``, ``asserted``, ``diversion``) have
    their country code; 0 is none. ``caller_form`` and ``callee_form`` say how they are written. ``region``, ``trunk``,
    ``origin`` and ``truth`` are indices into ``switches``, ``trunks``, ``origins`` and ``truths``. ``roaming`` is 1, 0
    or -1 (not known), ``fraud`` the truth in short. ``odd`` has, by place, what shows texts or a peer of its own.
    """

    switches: tuple[str, ...]
    trunks: tuple[Trunk, ...]
    origins: tuple[Origin, ...]
    truths: list[Truth]
    ids: npt.NDArray[np.uint64]
    ts: Floats
    region: Ints
    trunk: Ints
    origin: Ints
    caller: Ints
    callee: Ints
    caller_form: Ints
    callee_form: Ints
    asserted: Ints
    diversion: Ints
    anonymous: Bools
    imsi: Ints
    imei: Ints
    cell: Ints
    roaming: Ints
    ring: Floats
    talk: Floats
    pdd: Floats
    cause: Ints
    report: Floats
    truth: Ints
    fraud: Bools
    odd: dict[int, Oddity]

    def __len__(self) -> int:
        return len(self.ts)

    def callers(self) -> list[str]:
        """Who calls, as the switch writes it; ``anonymous`` where the number is withheld."""
        texts = written_all(self.caller, self.caller_form)
        for index in np.flatnonzero(self.anonymous).tolist():
            texts[index] = "anonymous"
        for index, oddity in self.odd.items():
            texts[index] = oddity.caller
        return texts

    def callees(self) -> list[str]:
        """Who is called, as the switch writes it."""
        texts = written_all(self.callee, self.callee_form)
        for index, oddity in self.odd.items():
            texts[index] = oddity.callee
        return texts


def columns_of(world: World, calls: Sequence[Call]) -> CallColumns:
    """The ``calls`` of campaigns as columns, in their order; call ids and post-dial delays are still 0."""
    count = len(calls)
    values = list(zip(*calls, strict=True)) if calls else [()] * len(Call._fields)
    by_name = dict(zip(Call._fields, values, strict=True))

    def whole(name: str) -> Ints:
        return np.array(by_name[name], dtype=np.int64)

    def real(name: str) -> Floats:
        return np.array(by_name[name], dtype=np.float64)

    truths: dict[Truth, int] = {}
    truth = np.array([truths.setdefault(call.truth, len(truths)) for call in calls], dtype=np.int64)
    zeros = np.zeros(count, dtype=np.int64)
    return CallColumns(
        world.switches, world.trunks, world.origins, list(truths), np.zeros(count, dtype=np.uint64), real("ts"),
        whole("region"), whole("trunk"), whole("origin"), whole("caller"), whole("callee"), whole("caller_form"),
        whole("callee_form"), zeros, zeros, np.zeros(count, dtype=np.bool_), whole("imsi"), whole("imei"),
        whole("cell"), whole("roaming"), real("ring_s"), real("talk_s"), np.zeros(count), whole("cause"),
        real("report_after_s"), truth,
        np.array([call.truth.fraud for call in calls], dtype=np.bool_),
        {index: call.odd for index, call in enumerate(calls) if call.odd is not None},
    )  # fmt: skip


#: What is not one value a call, or not simply put after another.
_NOT_PLAIN: Final = frozenset({"switches", "trunks", "origins", "truths", "truth", "odd"})


def merged(*parts: CallColumns) -> CallColumns:
    """All ``parts`` (at least one) in order of time; at the same moment the calls of an earlier part come first."""
    filled = [part for part in parts if len(part)] or list(parts[:1])
    if len(filled) == 1:
        return filled[0]
    order = np.argsort(np.concatenate([part.ts for part in filled]), kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    truths = filled[0].truths
    indices: list[Ints] = []
    odd: dict[int, Oddity] = {}
    before = 0
    for part in filled:
        # Parts made by the same hand share their truths.
        offset = 0 if part.truths is filled[0].truths else len(truths)
        truths = truths + part.truths if offset else truths
        indices.append(part.truth + offset)
        odd |= {int(place[before + index]): oddity for index, oddity in part.odd.items()}
        before += len(part)
    others: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in filled])[order]
        for name in CallColumns.__struct_fields__
        if name not in _NOT_PLAIN
    }
    first = filled[0]
    return CallColumns(
        first.switches,
        first.trunks,
        first.origins,
        truths=truths,
        truth=np.concatenate(indices)[order],
        odd=odd,
        **others,
    )


def events_of(columns: CallColumns) -> tuple[Floats, list[SimulatedEvent]]:
    """The times of all events of ``columns`` and the events: setups, answers, releases, reports, each in their order.

    Answers and releases name the parties as the setup did, so that the same caller is recognised.
    """
    count = len(columns)
    ids = [f"{number:016x}" for number in columns.ids.tolist()]
    callers, callees = columns.callers(), columns.callees()
    asserted = [f"+{number}" if number else "" for number in columns.asserted.tolist()]
    switches = np.array(columns.switches, dtype=object)[columns.region].tolist()
    trunks = np.array([trunk.name for trunk in columns.trunks], dtype=object)[columns.trunk].tolist()
    truths = [columns.truths[index] for index in columns.truth.tolist()]
    origins = columns.origins
    peers = [
        np.array([getattr(origin, name) for origin in origins], dtype=object)[columns.origin].tolist()
        for name in Origin.__struct_fields__
    ]
    for index, oddity in columns.odd.items():
        for texts, text in zip(peers, msgspec.structs.astuple(oddity.origin), strict=True):
            texts[index] = text
    setups = [
        SimulatedEvent(
            CallEvent(
                _SETUP, call_id, ts, SOURCE, switch, trunk, caller, callee, "", "", shown, diversion, privacy, "",
                src_ip, transport, user_agent, fingerprint, imsi, imei, cell, roaming,
            ),
            truth,
        )
        for (
            call_id, ts, switch, trunk, caller, callee, shown, diversion, privacy,
            src_ip, transport, user_agent, fingerprint, imsi, imei, cell, roaming, truth,
        ) in zip(
            ids, columns.ts.tolist(), switches, trunks, callers, callees, asserted,
            [f"<sip:+{one}@example.net>;reason=unconditional" if one else "" for one in columns.diversion.tolist()],
            _PRIVACY[columns.anonymous.astype(np.int64)].tolist(), *peers,
            [str(number) if number else "" for number in columns.imsi.tolist()],
            [str(number) if number else "" for number in columns.imei.tolist()],
            [
                f"c-{region}-{cell}" if cell else ""
                for region, cell in zip(columns.region.tolist(), columns.cell.tolist(), strict=True)
            ],
            _ROAMING[columns.roaming].tolist(), truths,
            strict=True,
        )
    ]  # fmt: skip
    answered = ~np.isnan(columns.talk)
    talked = np.where(answered, columns.talk, 0.0)
    at_answer = np.round(columns.ts + columns.ring, 3)
    at_release = np.round(columns.ts + columns.ring + talked, 3)
    rings = columns.ring.tolist()
    answers = [
        SimulatedEvent(
            CallEvent(
                _ANSWER, ids[i], ts, SOURCE, switches[i], trunks[i], callers[i], callees[i], "", "", asserted[i]
            ),
            truths[i],
        )
        for i, ts in zip(np.flatnonzero(answered).tolist(), at_answer[answered].tolist(), strict=True)
    ]  # fmt: skip
    releases = [
        SimulatedEvent(
            CallEvent(
                _RELEASE, call_id, ts, SOURCE, switch, trunk, caller, callee, "", "", shown, "", "", "", "", "", "", "",
                "", "", "", None, ring, talk, pdd, cause,
            ),
            truth,
        )
        for call_id, ts, switch, trunk, caller, callee, shown, ring, talk, pdd, cause, truth in zip(
            ids, at_release.tolist(), switches, trunks, callers, callees, asserted, rings, talked.tolist(),
            columns.pdd.tolist(), columns.cause.tolist(), truths,
            strict=True,
        )
    ]  # fmt: skip
    complaining = np.flatnonzero(columns.report > 0)
    at_report = np.round(at_release + columns.report, 3)[complaining]
    reports = [
        SimulatedEvent(
            CallEvent(
                _REPORT, ids[i], ts, SOURCE, switches[i], trunks[i], callers[i], callees[i], asserted=asserted[i],
                label="fraud", reporter="subscriber", weight=1.0,
            ),
            truths[i],
        )
        for i, ts in zip(complaining.tolist(), at_report.tolist(), strict=True)
    ]  # fmt: skip
    times = np.concatenate([columns.ts, at_answer[answered], at_release, at_report])
    assert len(setups) == len(releases) == count
    return times, [*setups, *answers, *releases, *reports]
