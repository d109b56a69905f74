"""HTTP for the desk: a call's card by its decision id, and the desk's word on it, which goes back into the log.

========================================  ==========================================================================
``GET /cards/<decision id>``              the card (see ``antifraud.desk.card``); 404 when there is no such decision
``POST /cards/<decision id>/outcome``     ``{"label": "fraud" | "honest" | "unclear", "who": …, "note": …}``: *fraud*
                                          and *honest* become a report about the caller. Repeated, it changes nothing;
                                          another one takes the report of the earlier one back
``POST /cards/<decision id>/challenge``   ``{"passed": true}``: what came of a challenge, for the machine that asks
``POST /desks/<name>/free``               ``{"free": 3}``: how many more calls the desk can take now
``GET /desks``                            what each desk last said, and how many of its places are taken
``GET /health``                           whether Redis is reached; the only one without a token
========================================  ==========================================================================

Every other request needs ``Authorization: Bearer <token>``. Whoever guesses is slowed down: after ten wrong tokens from
an address within a minute wrong ones from there are answered 429 for the rest of it, right ones as always. Bodies are
at most 4 kB, a request has five seconds, and at most 64 are worked on at a time; at most 256 connections are kept, each
for a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import hmac
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import redis.asyncio as aredis
from aiohttp import web
from redis.exceptions import NoPermissionError

from antifraud.desk.card import Explain, make_card
from antifraud.desk.cases import OUTCOMES, CaseBook, Outcome
from antifraud.domain import (
    AntifraudError,
    CallEvent,
    ConfigError,
    Decision,
    EventError,
    EventKind,
    QueueError,
    Verdict,
)
from antifraud.journal.lookup import find_decision
from antifraud.numbering import Numbering
from antifraud.queues import REDIS_ERRORS, Keys, check_cancelled, decode_decision, encode_event
from antifraud.queues.commands import BlockRequest, decode_block, encode_request
from antifraud.queues.streams import CALLS_MAXLEN

OUTCOMES_MAXLEN: Final = 100_000
STATE_MAXLEN: Final = 10_000
CHALLENGE_S: Final = 120.0
"""How long after the set-up a digit counts."""

_LOG: Final = logging.getLogger("antifraud.desk")
_BODY: Final = 4_096
_REQUEST_S: Final = 5.0
_AT_ONCE: Final = 64
_CONNECTIONS: Final = 256
_CONNECTION_S: Final = 60.0
_GUESSES: Final = 10
_GUESSES_S: Final = 60.0
_ADDRESSES: Final = 10_000
_LOOK_BACK: Final = 200_000
_BATCH: Final = 1_000
_BLOCK_MS: Final = 500
_TOKEN: Final = re.compile(r"(?:([A-Za-z0-9._-]{1,64}) )?([\x21-\x7e]{16,512})\Z")
_ID: Final = re.compile(r"[0-9a-f]{16}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_REPORTED: Final = ("fraud", "honest")


def read_tokens(path: Path) -> dict[bytes, str]:
    """SHA-256 of each token → the name that stands before it. ConfigError says what is wrong with the file.

    One token a line, 16 characters or more, with a name before it where several desks have their own; # is a comment.
    """
    hint = "one token a line, of 16 characters or more, such as: openssl rand -hex 24"
    try:
        if path.stat().st_size > 65_536:
            raise ConfigError(f"{path} is too large for a file of tokens", hint=hint)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the file of tokens {path} cannot be read: {reason}", hint=hint) from None
    tokens: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _TOKEN.match(text)
        if found is None:
            raise ConfigError(f"{path}:{number}: this is no token", hint=hint)
        tokens[hashlib.sha256(found[2].encode()).digest()] = found[1] or "desk"
    if not tokens:
        raise ConfigError(f"{path} holds no token", hint=hint)
    return tokens


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an outcome."""

    label: str
    who: str = ""
    note: str = ""


class _Passed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of what came of a challenge."""

    passed: bool


class _Free(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a desk's word on itself."""

    free: int


class CardService:
    """The service: follows the decisions stream, answers requests. ``run`` ends when cancelled."""

    def __init__(
        self,
        client: aredis.Redis,
        shard: str,
        tokens: Mapping[bytes, str],
        numbering: Numbering,
        *,
        journal: Path | None = None,
        explain: Explain | None = None,
        desks: frozenset[str] = frozenset(),
        most_cases: int = 200_000,
    ) -> None:
        self._redis = client
        self._keys = Keys(shard)
        self._tokens = dict(tokens)
        self._numbering = numbering
        self._journal = journal
        self._explain = explain
        self._desks = desks
        self.book = CaseBook(most_cases)
        self._decisions = "0-0"
        self._outcomes = "0-0"
        self._guesses: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._reading = asyncio.Lock()
        self._challenged = asyncio.Lock()
        self._telling = asyncio.Lock()
        self.connected = False

    def app(self) -> web.Application:
        """The application, for a runner of aiohttp."""
        app = web.Application(middlewares=[self._guard], client_max_size=_BODY)
        app.router.add_get("/health", self._health)
        app.router.add_get("/cards/{id}", self._card)
        app.router.add_post("/cards/{id}/outcome", self._outcome)
        app.router.add_post("/cards/{id}/challenge", self._challenge)
        app.router.add_get("/desks", self._list_desks)
        app.router.add_post("/desks/{name}/free", self._free)
        return app

    async def close_old(self, server: web.Server) -> None:
        """Close connections of ``server`` that are old, or too many, the oldest first, until cancelled.

        Nothing else ends one on which never a whole request comes, and each of them is a file that others lack. A
        request that is being answered has its time first; a client that means well connects again.
        """
        since: dict[Any, float] = {}
        while True:
            now = time.monotonic()
            open_now = list(server.connections)
            since = {one: since.get(one, now) for one in open_now}
            surplus = max(0, len(open_now) - _CONNECTIONS)
            for place, one in enumerate(sorted(since, key=since.__getitem__)):
                age = now - since[one]
                if place < surplus or age > _CONNECTION_S + _REQUEST_S:
                    one.force_close()
                elif age > _CONNECTION_S:
                    one.close()
            await asyncio.sleep(min(1.0, _CONNECTION_S / 4))

    # -- following the streams -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow decisions and outcomes until cancelled; a Redis that is away is tried again."""
        pause = 0.05
        begun = False
        while True:
            check_cancelled()
            try:
                if not begun:
                    await self._look_back()
                    begun = True
                await self._follow()
                self.connected = True
                pause = 0.05
            except REDIS_ERRORS as error:
                if self.connected:
                    _LOG.warning("Redis does not answer: %s", error)
                self.connected = False
                with contextlib.suppress(*REDIS_ERRORS):
                    await self._redis.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _look_back(self) -> None:
        """The newest decisions that are there already, oldest first."""
        newest: Any = await self._redis.xrevrange(self._keys.decisions, count=1)
        if newest:
            # Only the newest are walked, page by page from the end: what is older is found in the journal.
            pages: list[list[Decision]] = []
            upto, walked = newest[0][0].decode(), 0
            self._decisions = upto
            while walked < _LOOK_BACK:
                page: Any = await self._redis.xrevrange(self._keys.decisions, upto, count=_BATCH)
                if not page:
                    break
                walked += len(page)
                pages.append([one for one in map(_decision, page) if one is not None])
                upto = f"({page[-1][0].decode()}"
            for found in reversed(pages):
                for one in reversed(found):
                    self.book.add(one)
        told: Any = await self._redis.xrevrange(self._keys.desk_outcomes, count=OUTCOMES_MAXLEN)
        for entry in reversed(told):
            self._note(entry)

    async def _follow(self) -> None:
        found: Any = await self._redis.xread(
            {self._keys.decisions: self._decisions, self._keys.desk_outcomes: self._outcomes},
            count=_BATCH,
            block=_BLOCK_MS,
        )
        for key, entries in found:
            for entry in entries:
                if key == self._keys.decisions.encode():
                    self._decisions = entry[0].decode()
                    one = _decision(entry)
                    if one is not None:
                        self.book.add(one)
                else:
                    self._note(entry)

    def _note(self, entry: tuple[bytes, Mapping[bytes, bytes]]) -> None:
        self._outcomes = entry[0].decode()
        fields = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in entry[1].items()}
        if fields.get("label") in OUTCOMES and _ID.match(fields.get("decision", "")):
            at = _time(fields.get("at", "")) or int(entry[0].partition(b"-")[0]) / 1000
            self.book.note(
                Outcome(
                    fields["decision"], fields["label"], fields.get("who", "")[:80], at, fields.get("note", "")[:500]
                )
            )

    # -- answering -----------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._room.locked():
            return _answer(503, {"error": "too many requests at a time", "hint": "try again"})
        async with self._room:
            try:
                refusal = None if request.path == "/health" else self._refusal(request)
                if refusal is not None:
                    return refusal
                async with asyncio.timeout(_REQUEST_S):
                    return await handler(request)
            except web.HTTPException as error:
                hint = "see docs/reference/desk-http.md"
                return _answer(error.status, {"error": (error.reason or "refused").lower(), "hint": hint})
            except TimeoutError:
                slow = not request.content.is_eof()
                what = "the body did not come" if slow else "no answer was found"
                _LOG.warning("%s %s: %s within %g s", request.method, _line(request.path[:80]), what, _REQUEST_S)
                return _answer(
                    408 if slow else 503, {"error": f"{what} within {_REQUEST_S:g} seconds", "hint": "try again"}
                )
            except (QueueError, *REDIS_ERRORS) as error:
                _LOG.warning("%s %s could not be answered: %s", request.method, _line(request.path[:80]), error)
                return _answer(503, {"error": "the shard's Redis does not answer", "hint": "try again"})
            except Exception:  # noqa: BLE001 - one request nobody foresaw must not stop the others
                _LOG.exception("%s %s failed", request.method, _line(request.path[:80]))
                return _answer(500, {"error": "a fault of the program", "hint": "its log says more"})

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Why the request is not let in; None when its token is right."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        name = ""
        for known, owner in self._tokens.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(known, given):
                name = owner
        if scheme.lower() == "bearer" and name:
            # Also where others guessed: behind one proxy all desks have one address.
            request["who"] = name
            return None
        address = request.remote or ""
        now = time.monotonic()
        since, wrong = self._guesses.get(address, (now, 0))
        if now - since > _GUESSES_S:
            since, wrong = now, 0
        if wrong >= _GUESSES:
            return _answer(429, {"error": "too many wrong tokens", "hint": "wait a minute"})
        self._guesses[address] = (since, wrong + 1)
        self._guesses.move_to_end(address)
        if len(self._guesses) > _ADDRESSES:
            self._guesses.popitem(last=False)
        return _answer(401, {"error": "no token, or a wrong one", "hint": "send Authorization: Bearer <token>"})

    async def _health(self, _request: web.Request) -> web.Response:
        state = {"redis": self.connected, "cases": len(self.book)}
        return _answer(200 if self.connected else 503, state)

    async def _card(self, request: web.Request) -> web.Response:
        decision = await self._decision(request.match_info["id"])
        if decision is None:
            return _unknown()
        card = await asyncio.to_thread(make_card, decision, self.book, self._numbering, self._explain)
        return _answer(200, card)

    async def _decision(self, identity: str) -> Decision | None:
        if not _ID.match(identity):
            return None
        found = self.book.find(identity)
        if found is not None or self._journal is None or not self._journal.is_dir():
            return found
        # One search of files at a time, however many ask: its thread goes on when nobody waits for it any more, and
        # those of many would leave none for the cards of others.
        await self._reading.acquire()
        today = dt.datetime.fromtimestamp(time.time(), dt.UTC).date()
        search = asyncio.ensure_future(asyncio.to_thread(find_decision, self._journal, identity, today))
        search.add_done_callback(lambda _search: self._reading.release())
        try:
            return await asyncio.shield(search)
        except AntifraudError as error:
            _LOG.error("the journal cannot be searched: %s", error.render())
            return None

    async def _outcome(self, request: web.Request) -> web.Response:
        said = await _body(request, _Said)
        if said is None or said.label not in OUTCOMES or len(said.who) > 80 or len(said.note) > 500:
            hint = 'send {"label": "fraud", "honest" or "unclear", "who": up to 80 characters, "note": up to 500}'
            return _answer(400, {"error": "this is no outcome", "hint": hint})
        decision = await self._decision(request.match_info["id"])
        if decision is None:
            return _unknown()
        async with self._telling:  # of two that come at once the later one takes the earlier one back
            before = self.book.outcome(decision.id)
            if before is not None and before.label == said.label:
                return _answer(200, before)
            who, at = _line(said.who) or request["who"], max(time.time(), before.at if before is not None else 0.0)
            outcome = Outcome(decision.id, said.label, who, at, _line(said.note))
            await self._tell(decision, outcome, before)
            self.book.note(outcome)
        _LOG.info("decision %s: %s, says %s", decision.id, outcome.label, outcome.who)
        return _answer(201, outcome)

    async def _tell(self, decision: Decision, outcome: Outcome, before: Outcome | None) -> None:
        """Write ``outcome``, and what follows from it: reports, and the end of a block that has no ground any more."""
        lifted = await self._baseless(decision, outcome, before)
        async with self._redis.pipeline(transaction=True) as pipe:
            fields = {name: getattr(outcome, name) for name in ("decision", "label", "who", "note")}
            fields["at"] = repr(outcome.at)
            pipe.xadd(self._keys.desk_outcomes, cast("Any", fields), maxlen=OUTCOMES_MAXLEN, approximate=True)
            reports = []
            if before is not None and before.label in _REPORTED:
                earlier = _report(decision, before)
                reports.append(msgspec.structs.replace(earlier, ts=outcome.at, takes_back=earlier.ts))
            if outcome.label in _REPORTED:
                reports.append(_report(decision, outcome))
            for report in reports if decision.caller else ():
                pipe.xadd(self._keys.calls, cast("Any", encode_event(report)), maxlen=CALLS_MAXLEN, approximate=True)
            if lifted is not None:
                pipe.xadd(self._keys.block_requests, cast("Any", encode_request(lifted)))
            await pipe.execute()

    async def _baseless(self, decision: Decision, outcome: Outcome, before: Outcome | None) -> BlockRequest | None:
        """What ends the block of the caller's number, where a rule blocked it because of this very call or, maybe,
        because of the report of fraud that is taken back now. What people blocked, people free."""
        taken_back = before is not None and before.label == "fraud"
        if not decision.caller or not (taken_back or outcome.label == "honest"):
            return None
        try:
            raw: Any = await cast("Awaitable[Any]", self._redis.hget(self._keys.blocks, decision.caller))
            block = decode_block(raw) if raw else None
        except NoPermissionError as error:
            _LOG.error("no block can be lifted: this user may not read %s: %s", self._keys.blocks, error)
            return None
        except EventError:
            return None
        if block is None or block.state != "blocked" or not block.by.startswith("rule:"):
            return None
        since = before.at if taken_back and before is not None else math.inf
        if block.decision != decision.id and block.at < since:
            return None
        said = f"the desk found the call of decision {decision.id} {outcome.label}"
        return BlockRequest("forget", outcome.who, said, block.number, block.until, decision=decision.id)

    async def _challenge(self, request: web.Request) -> web.Response:
        said = await _body(request, _Passed)
        if said is None:
            return _answer(400, {"error": "this says not what came of it", "hint": 'send {"passed": true} or false'})
        decision = await self._decision(request.match_info["id"])
        if decision is None:
            return _unknown()
        if decision.verdict != Verdict.CHALLENGE.word:
            return _answer(409, {"error": f"the call was not challenged: {decision.verdict}", "hint": "see its card"})
        late = time.time() - decision.ts > CHALLENGE_S
        if late and said.passed:
            hint = f"a digit counts for {CHALLENGE_S:.0f} seconds after the call came in"
            return _answer(409, {"error": "too late", "hint": hint})
        told = f"{self._keys.prefix}challenged:{decision.id}"
        async with self._challenged:  # the first word counts, also of two that come at once
            fresh = not await self._redis.exists(told)
            if fresh:
                if decision.caller:
                    outcome = Outcome(decision.id, "passed" if said.passed else "failed", "", time.time())
                    report = encode_event(_report(decision, outcome, source="challenge"))
                    await self._redis.xadd(self._keys.calls, cast("Any", report), maxlen=CALLS_MAXLEN, approximate=True)
                # Only now: what could not be reported is said again. What is reported twice is counted once.
                await self._redis.set(told, 1, ex=int(2 * CHALLENGE_S))
        return _answer(201 if fresh else 200, {"decision": decision.id, "passed": said.passed})

    async def _free(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        said = await _body(request, _Free)
        if said is None or not 0 <= said.free <= 999_999:
            return _answer(400, {"error": "this says not how many calls", "hint": 'send {"free": 3}'})
        if not _NAME.match(name) or name not in self._desks:
            known = ", ".join(sorted(self._desks)) or "none"
            return _answer(404, {"error": "there is no such desk", "hint": f"config/ has: {known}"})
        entry: Any = {"desk": name, "free": str(said.free)}
        await self._redis.xadd(self._keys.desk_state, entry, maxlen=STATE_MAXLEN, approximate=True)
        return _answer(202, {"desk": name, "free": said.free})

    async def _list_desks(self, _request: web.Request) -> web.Response:
        written = cast("Mapping[bytes, bytes]", await self._redis.hgetall(self._keys.desks))
        taken = dict.fromkeys(sorted(self._desks), 0)
        words: dict[str, Any] = {}
        for raw, value in written.items():
            field = raw.decode("utf-8", "replace")
            with contextlib.suppress(msgspec.MsgspecError, KeyError, IndexError, TypeError):
                content: Any = msgspec.json.decode(value) if field[:2] in ("p:", "h:") else ()
                if field.startswith("p:"):
                    taken[content[0]] += 1
                elif field.startswith("h:"):
                    words[field[2:]] = {"free": content[0], "at": content[1]}
        return _answer(200, {name: {"taken": number, "said": words.get(name)} for name, number in taken.items()})


def _report(decision: Decision, outcome: Outcome, source: str = "desk") -> CallEvent:
    return CallEvent(
        kind=EventKind.REPORT,
        call_id=decision.call_id,
        ts=outcome.at,
        source=source,
        switch=decision.switch,
        trunk=decision.trunk,
        caller_raw=decision.caller,
        callee_raw=decision.callee,
        label=outcome.label,
        reporter=source,
        weight=1.0,
    )


def _time(text: str) -> float:
    """The time that stands in ``text`` (epoch s); 0 where none does."""
    try:
        at = float(text) if len(text) <= 40 else 0.0
    except ValueError:
        return 0.0
    return at if math.isfinite(at) and at > 0 else 0.0


def _decision(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Decision | None:
    try:
        return decode_decision(entry[1])
    except EventError as error:
        _LOG.error("entry %s of the decisions is left out: %s", entry[0].decode("ascii", "replace"), error.detail)
        return None


async def _body(request: web.Request, kind: type[Any]) -> Any:
    """The body as ``kind``; None when it is none."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, web.RequestPayloadError):
        return None


def _line(text: str) -> str:
    """``text`` without control characters: it is logged and may reach a terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _unknown() -> web.Response:
    hint = "ids have 16 hex digits; the journal is searched a month back"
    return _answer(404, {"error": "there is no such decision", "hint": hint})


def _answer(status: int, content: object) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=status, body=msgspec.json.encode(content) + b"\n", content_type="application/json", headers=headers
    )
