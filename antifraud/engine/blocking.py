"""The register of blocked numbers as the engine keeps it: read at its start, changed by requests and by rules, and the
commands that follow from a change.

Truth is the hash ``af:{shard}:blocks``. A change, the commands to the switches concerned and the position up to which
requests were obeyed (or the log decided) are written in one transaction, by the one engine that has the lease. What a
request asks for that cannot be done is refused by class; what a rule asks for that cannot be done is counted.

All that is said of one number carries a ``seq`` that only rises, also across restarts and clocks that go back: it is
kept with the position.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import redis.asyncio as aredis
from redis import exceptions as redis_errors

from antifraud.decision import Decider
from antifraud.decision.blocked_numbers import NumberState
from antifraud.decision.interception import RELEASE, Interceptor
from antifraud.domain import Ceiling, Decision, EventError, Quarantined
from antifraud.engine.control_stream import ControlStream, Entry
from antifraud.queues import Keys, encode_quarantined
from antifraud.queues.commands import (
    COMMANDS_MAXLEN,
    MAX_BLOCK_S,
    MAX_SEQ,
    REQUESTS,
    Block,
    BlockRequest,
    Command,
    command_id,
    decode_block,
    decode_request,
    encode_block,
    encode_command,
    is_number,
    is_switch,
)
from antifraud.queues.protocol import QUARANTINE_MAXLEN

_LOG = logging.getLogger("antifraud.engine")
MOST_NUMBERS: Final = 1_000_000
"""How many numbers may be blocked or cleared at a time."""
BLOCK_S: Final = 86_400.0
CLEAR_S: Final = 30 * 86_400.0
RELEASE_S: Final = 30.0
MOST_COMMANDS: Final = 512
"""How many commands one transaction carries, at most: calls that came in with it wait until it is written (25 ms)."""
_LOOKED_AT: Final = 500
_RENEWED: Final = 0.1
_SEQ_FIELD: Final = "block_seq"
_LONGEST_SEQ: Final = 16


class BlockRegister:
    """The numbers of one shard that are blocked or cleared, and what has not been written of them yet.

    ``requests`` is the stream of what is asked for, ``counts`` what happened since somebody last took it away.
    """

    def __init__(self, decider: Decider, keys: Keys, interceptor: Interceptor) -> None:
        self._decider = decider
        self._interceptor = interceptor
        self._keys = keys
        self.requests = ControlStream(keys.block_requests, "block_requests", REQUESTS)
        self.counts: Counter[str] = Counter()
        self._obeyed = False
        self._refused: list[Quarantined] = []
        self._numbers: dict[str, NumberState] = {}
        self._seq = 0
        self._changed: dict[str, Block | None] = {}
        self._commands: list[tuple[str, Command]] = []
        self._round: Iterator[str] = iter(())
        switches = decider.policy.switches
        self._switches = {name: region for name, region in switches.items() if is_switch(name)}
        if len(self._switches) < len(switches):
            _LOG.error("no commands can be sent to %s: no names for keys", sorted(switches.keys() - self._switches))
        decider.numbers = self._numbers

    @property
    def switches(self) -> Sequence[str]:
        """The switches that take commands."""
        return tuple(self._switches)

    @property
    def unsaved(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._obeyed or self._changed or self._commands)

    @property
    def requests_at_once(self) -> int:
        """How many requests one transaction may carry."""
        return max(1, MOST_COMMANDS // max(1, 2 * len(self._switches)))

    def __len__(self) -> int:
        return len(self._numbers)

    async def load(self, log: aredis.Redis, state: Mapping[bytes, bytes]) -> int:
        """Read the register; how many of its fields cannot be understood. ``state`` is the position hash."""
        self._numbers.clear()
        self._forget_unsaved()
        self._round = iter(())
        written = state.get(_SEQ_FIELD.encode(), b"")
        seq = int(written) if written.isdigit() and len(written) <= _LONGEST_SEQ else 0
        self._seq = seq if seq <= MAX_SEQ else 0
        self.requests.go_on_from(state)
        garbled = 0
        try:
            async for field, raw in log.hscan_iter(self._keys.blocks, count=1_000):
                try:
                    block = decode_block(raw)
                except EventError:
                    garbled += 1
                    continue
                if block.number.encode() != field:
                    garbled += 1
                    continue
                self._hold(block)
        except redis_errors.ResponseError as error:
            _LOG.error("the register of blocked numbers cannot be read: %s: %s", self._keys.blocks, error)
            garbled += 1
        if garbled:
            _LOG.error("%d fields of %s say nothing of a number and are left alone", garbled, self._keys.blocks)
        return garbled

    def _hold(self, block: Block) -> None:
        state = NumberState(block.state == "blocked", block.until, block.seq, block.region, sys.intern(block.by))
        self._numbers[block.number] = state
        self._seq = max(self._seq, block.seq)

    # Requests

    def obey_all(self, entries: Sequence[Entry], arrival: Callable[[bytes], float]) -> None:
        """Obey requests in their order; ``arrival``: when an entry came (epoch s). Refused ones go to quarantine."""
        for entry_id, fields in entries:
            self.requests.position = position = entry_id.decode()
            self._obeyed = True
            try:
                request = decode_request(fields)
                done = self.obey(request, position, arrival(entry_id))
            except EventError as error:
                self._refuse(position, fields, error.code, error.detail)
            except Exception as error:  # noqa: BLE001 - a request nobody foresaw must not stop each engine
                _LOG.exception("a request could not be obeyed")
                self._refuse(position, fields, "internal", f"{type(error).__name__}: {error}")
            else:
                self.counts[f"block_requests.{request.op}"] += 1
                _LOG.info("%s, asked for by %s: %s", done, request.who, request.why)

    def _refuse(self, position: str, fields: Mapping[bytes, bytes], code: str, detail: str) -> None:
        raw = f"{position} " + repr({name[:64]: value[:256] for name, value in list(fields.items())[:20]})
        self._refused.append(Quarantined(code, detail, self.requests.field, raw))
        _LOG.error("entry %s of %s refused: %s: %s", position, self.requests.key, code, detail)

    def obey(self, request: BlockRequest, entry_id: str, at: float) -> str:
        """Do what ``request`` asks, which came at ``at`` (epoch s); what was done, in words.

        EventError with a stable code when it is refused. It holds from now on and is written with the next ``write``.
        """
        if request.region and request.region not in self._decider.policy.regions:
            raise EventError("block-region", f"region {request.region[:32]!r} has no file in config/regions/")
        if request.switch and request.switch not in self._switches:
            raise EventError("command-switch", f"switch {request.switch!r} is not in switches of config/")
        if request.op == "block":
            return self._block(request, entry_id, at)
        if request.op == "unblock":
            return self._unblock(request, entry_id, at)
        if request.op == "forget":
            return self._forget(request, at)
        if request.op == "release":
            return self._release(request, at)
        return self._resync(request, at)

    def _block(self, request: BlockRequest, entry_id: str, at: float) -> str:
        number, state = request.number, self._numbers.get(request.number)
        until = _end(request.until, at, BLOCK_S)
        if self._decider.killed:
            raise EventError("block-killed", "interception is switched off: no number is blocked until it is on again")
        self._check(number, at)
        if state is not None and not state.blocked and at < state.until:
            raise EventError(
                "block-cleared",
                f"{number} is cleared until {_moment(state.until)} ({state.by}); antifraud blocks forget ends that",
            )
        block = Block(
            number, "blocked", until, self._next_seq(at), request.region, request.why,
            _person(request), request.decision, at, entry_id,
        )  # fmt: skip
        self._put(block, self._concerned(block.region))
        return f"{number} blocked"

    def _unblock(self, request: BlockRequest, entry_id: str, at: float) -> str:
        number = request.number
        until = _end(request.until, at, CLEAR_S)
        if number not in self._numbers and len(self._numbers) >= MOST_NUMBERS:
            raise EventError("block-full", f"{MOST_NUMBERS} numbers are blocked or cleared; {number} is not blocked")
        # Whoever is freed is freed everywhere, whichever region asks and whichever asked for the block.
        block = Block(
            number, "cleared", until, self._next_seq(at), "", request.why,
            _person(request), request.decision, at, entry_id,
        )  # fmt: skip
        self._put(block, self._switches)
        return f"{number} unblocked and cleared"

    def _forget(self, request: BlockRequest, at: float) -> str:
        state = self._numbers.get(request.number)
        if state is None:
            raise EventError("block-unknown", f"{request.number} is neither blocked nor cleared")
        if request.until and request.until != state.until:
            raise EventError("block-changed", f"what holds for {request.number} is not what was to be forgotten")
        self._lift(request.number, at, request.why, _person(request), request.decision)
        return f"{request.number} forgotten"

    def _release(self, request: BlockRequest, at: float) -> str:
        if self._decider.killed:
            raise EventError("block-killed", "interception is switched off: no call is released until it is on again")
        call = self._interceptor.calls.get(request.switch, request.call_id)
        if call is None or not call.judged:
            # Whether it is an emergency call is known of calls that the engine follows, and of no other.
            raise EventError(
                "release-unknown", f"no call {request.call_id[:80]!r} is known to go on at {request.switch}"
            )
        if self._interceptor.is_protected(call, at):
            raise EventError("release-protected", f"call {request.call_id[:80]!r} is protected")
        event = call.event
        self._end(
            event.switch, event.call_id, event.caller, event.callee, request.why, _person(request), request.decision, at
        )
        call.released = True
        return f"call {request.call_id} released at {request.switch}"

    def _end(
        self, switch: str, call_id: str, caller: str, callee: str, reason: str, by: str, decision: str, at: float
    ) -> None:
        identity = command_id(switch, RELEASE, call_id, 0, decision)
        self._commands.append(
            (
                switch,
                Command(
                    identity,
                    RELEASE,
                    call_id=call_id,
                    caller=caller,
                    callee=callee,
                    reason=reason[:300],
                    by=by[:80],
                    decision=decision,
                    at=at,
                    expires=at + RELEASE_S,
                ),
            )
        )

    def _resync(self, request: BlockRequest, at: float) -> str:
        switches = [request.switch] if request.switch else self._concerned(request.region)
        seq = self._next_seq(at)
        for switch in switches:
            identity = command_id(switch, "resync", "", seq, request.decision)
            self._commands.append(
                (switch, Command(identity, "resync", seq=seq, reason=request.why, by=_person(request), at=at))
            )
        return f"resync of {len(self._commands)} switches" if not request.switch else f"resync of {request.switch}"

    def _check(self, number: str, at: float) -> None:
        """EventError where ``number`` may not be blocked, whoever asks."""
        protection = self._protection_of(number, at)
        if protection:
            raise EventError("block-protected", f"{number} is protected ({protection})")
        if number not in self._numbers and len(self._numbers) >= MOST_NUMBERS:
            raise EventError("block-full", f"{MOST_NUMBERS} numbers are blocked or cleared; let some end first")

    def _protection_of(self, number: str, at: float) -> str:
        """What protects ``number``; where that cannot be said it is protected."""
        try:
            return self._decider.protection_of(number, at)
        except Exception:  # noqa: BLE001 - whatever goes wrong with one number, nobody is blocked by it
            if not self.counts["protection_unknown"]:  # which somebody takes away once a second
                _LOG.exception("nobody can say whether %s is protected", number)
            self.counts["protection_unknown"] += 1
            return "it cannot be said whether it is not"

    # What rules ask for

    def take(self, decisions: Iterable[Decision], at: float) -> None:
        """Block the callers of ``decisions`` that ask for it; what may not be done is counted and left."""
        for decision in decisions:
            if decision.block_until is not None:
                refused = self._block_by_rule(decision, decision.block_until, at)
                self.counts["rule_blocks" if not refused else f"rule_blocks_left.{refused}"] += 1

    def _block_by_rule(self, decision: Decision, until: float, at: float) -> str:
        """Why the number is left as it is; empty when it is blocked now."""
        number, state = decision.caller, self._numbers.get(decision.caller)
        if self._decider.killed:
            return "killed"
        if until <= at or not is_number(number):
            return "over"
        if len(self._commands) >= MOST_COMMANDS:
            return "many"  # it calls again, and is blocked then
        if state is not None and at < state.until:
            if not state.blocked:
                return "cleared"
            if state.region not in ("", decision.region):
                return "elsewhere"
            if until - state.until <= _RENEWED * (until - decision.ts):
                return "held"
        try:
            self._check(number, at)
        except EventError as error:
            return error.code.removeprefix("block-")
        region = self._reach(decision.region)
        if region is None:
            return "region"
        block = Block(
            number, "blocked", until, self._next_seq(at), region, decision.reason[:300],
            decision.block_by[:80], decision.id, at, decision.id,
        )  # fmt: skip
        self._put(block, self._concerned(region))
        return ""

    def _reach(self, region: str) -> str | None:
        """Where a rule that hit in ``region`` blocks a number: everywhere when every region that has switches carries
        blocks out, else there alone."""
        policy = self._decider.policy
        if region not in policy.regions:
            return None
        served = set(self._switches.values()) or {region}
        return "" if all(policy.region(code).ceiling is Ceiling.BLOCK for code in served) else region

    # Changes and their commands

    def _put(self, block: Block, switches: Iterable[str]) -> None:
        """Set the register to ``block`` and tell ``switches``; those that held the number before and are not among them
        let it go."""
        before = self._numbers.get(block.number)
        told = set(switches)
        held = set(self._concerned(before.region)) if before is not None and before.blocked else set()
        self._hold(block)
        self._changed[block.number] = block
        op = "block" if block.state == "blocked" else "unblock"
        for switch in self._switches:
            if switch in told:
                self._tell(switch, op, block)
            elif switch in held:
                self._tell(switch, "unblock", block)

    def _lift(self, number: str, at: float, reason: str, by: str, decision: str = "") -> None:
        """Take the number out of the register; where it was blocked the switches let it go."""
        state = self._numbers.pop(number)
        self._changed[number] = None
        if not state.blocked:
            return
        gone = Block(number, "cleared", at, self._next_seq(at), state.region, reason, by, decision, at)
        for switch in self._concerned(state.region):
            self._tell(switch, "unblock", gone)

    def _tell(self, switch: str, op: str, block: Block) -> None:
        ends = block.until if op == "block" else 0.0
        identity = command_id(switch, op, block.number, block.seq, block.decision)
        self._commands.append(
            (
                switch,
                Command(
                    identity, op, block.number, ends, block.seq, reason=block.reason, by=block.by,
                    decision=block.decision, region=block.region, at=block.at, expires=ends,
                ),
            )
        )  # fmt: skip

    def take_interceptions(self, decisions: Iterable[Decision]) -> None:
        """Have the calls in progress ended that ``decisions`` release."""
        for one in decisions:
            if one.verdict != RELEASE:
                continue
            if one.switch not in self._switches:
                self.counts["command_switch_unknown"] += 1
                continue
            by = next((reason.by for reason in one.reasons if reason.verdict == RELEASE), "")
            self._end(one.switch, one.call_id, one.caller, one.callee, one.reason, by, one.id, one.ts)

    def _concerned(self, region: str) -> Sequence[str]:
        if not region:
            return tuple(self._switches)
        return [name for name, its in self._switches.items() if its == region]

    def _next_seq(self, at: float) -> int:
        self._seq = max(self._seq + 1, int(at * 1000) * 1000)
        return self._seq

    # Housekeeping

    def sweep(self, at: float) -> None:
        """Look at the next few hundred numbers: what has ended goes, and so does a block of a number that has come
        under protection since. A change of rules or lists does not begin the round anew: where they change all the time
        the last numbers would never have their turn, and the first have it again in the next round."""
        for _ in range(_LOOKED_AT):
            if len(self._commands) >= MOST_COMMANDS:
                return
            number = next(self._round, None)
            if number is None:
                self._round = iter(list(self._numbers))
                return
            state = self._numbers.get(number)
            if state is None:
                continue
            if at >= state.until:
                del self._numbers[number]
                self._changed[number] = None
                self.counts["blocks_ended"] += 1
            elif state.blocked:
                protection = self._protection_of(number, at)
                if protection:
                    _LOG.warning("%s is protected now (%s): it is not blocked any more", number, protection)
                    self._lift(number, at, f"protected: {protection}", "engine")
                    self.counts["blocks_lifted"] += 1

    def write(self, pipe: Any, now: float) -> None:
        """Add everything unsaved to the transaction ``pipe``, at ``now`` (epoch s)."""
        for number, block in self._changed.items():
            if block is None:
                pipe.hdel(self._keys.blocks, number)
            else:
                pipe.hset(self._keys.blocks, number, encode_block(block))
        for switch, command in self._commands:
            key = self._keys.commands(switch)
            pipe.xadd(key, encode_command(command), maxlen=COMMANDS_MAXLEN, approximate=True)
        for item in self._refused:
            entry = encode_quarantined(item, now)
            pipe.xadd(self._keys.quarantine, entry, maxlen=QUARANTINE_MAXLEN, approximate=True)
        if self.unsaved:
            reached = {_SEQ_FIELD: str(self._seq), self.requests.field: self.requests.position}
            pipe.hset(self._keys.position, mapping=reached)

    def saved(self) -> None:
        """What ``write`` added is in Redis."""
        for _switch, command in self._commands:
            self.counts[f"commands.{command.op}"] += 1
        for item in self._refused:
            self.counts["control_refused"] += 1
            self.counts["quarantine." + item.code] += 1
        self._forget_unsaved()

    def _forget_unsaved(self) -> None:
        self._obeyed = False
        self._refused.clear()
        self._changed.clear()
        self._commands.clear()


def _moment(seconds: float) -> str:
    """The epoch second for people, UTC; as the number that it is where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds:.0f}"


def _end(asked: float, at: float, usual: float) -> float:
    """Until when something holds that is asked for at ``at``: ``usual`` seconds when no end is given."""
    if not asked:
        return at + usual
    if not at < asked <= at + MAX_BLOCK_S:
        raise EventError(
            "block-until", f"until {_moment(asked)} is not between now and 366 days from now (until: epoch seconds)"
        )
    return asked


def _person(request: BlockRequest) -> str:
    return f"analyst:{request.who}"[:80]
