"""The run-time changes of lists as the engine keeps them: read at its start, obeyed between two batches, written down.

Truth is the hash ``af:{shard}:lists`` together with the control entries after the position up to which it was written
(``control`` in ``af:{shard}:position``). Both are written in one transaction, by the engine alone; a crash in between
means that the same control entries are obeyed again, with the same outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import msgspec
import redis.asyncio as aredis
from redis import exceptions as redis_errors

from antifraud.decision import Bundle, Decider
from antifraud.queues import Control, Keys
from antifraud.rulekit import (
    Ahead,
    Amendment,
    Amendments,
    ListFile,
    decode_amendments,
    encode_amendment,
    end_value,
    plain_value,
)

_LOG = logging.getLogger("antifraud.engine")


class RunTimeLists:
    """The run-time changes of one shard, put over the bundle that the decider has."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._bundle = decider.bundle
        self._amendments = Amendments()
        self._changed: set[str] = set()
        self.unsaved: dict[str, bytes | None] = {}
        """Fields of the hash with their new content; None: the field goes."""

    @property
    def bundle(self) -> Bundle:
        """The bundle in force as it was compiled, with the digest that it has without any changes."""
        return self._bundle

    async def load(self, log: aredis.Redis, keys: Keys) -> int:
        """Take what is written down, and put it over the bundle; how much of it cannot be used."""
        unreadable = 0
        try:
            written = {field: raw async for field, raw in log.hscan_iter(keys.lists, count=1_000)}
        except redis_errors.ResponseError as error:
            _LOG.error("the run-time entries of lists cannot be read: %s: %s", keys.lists, error)
            written, unreadable = {}, 1
        changes, garbled = decode_amendments(written)
        garbled += unreadable
        if garbled:
            _LOG.error("%d fields of %s hold no list entry and are left alone", garbled, keys.lists)
        return garbled + self.stand(changes)

    def stand(self, changes: Iterable[Amendment]) -> int:
        """Put these changes and no others over the bundle; how many of them do not fit its lists."""
        self._amendments.clear()
        self.unsaved.clear()
        for change in changes:
            self._amendments.restore(change)
        return self.take(self._bundle)

    def prepare(self, bundle: Bundle) -> Ahead:
        """Put all changes over those lists of ``bundle`` that are new, before it is taken; any thread may do it."""
        # Lists that the bundle in force has too are not touched from here: the engine's own thread amends those.
        return self._amendments.put_ahead(bundle.rules, self._bundle.rules.lists)

    def take(self, bundle: Bundle, ahead: Ahead | None = None) -> int:
        """Have the decider take ``bundle`` with all changes over it; how many of them do not fit its lists.

        ``ahead`` is what ``prepare`` said of it. Raises what ``Decider.swap`` does; the old bundle then stays as it
        was.
        """
        self._decider.swap(bundle)  # the one step that may be refused, before any list is touched
        unfit = self._amendments.put_over(bundle.rules, ahead=ahead)
        self._swap(bundle)
        if unfit:
            _LOG.warning(
                "%d run-time entries do not fit the lists and are left aside: %s", len(unfit), "; ".join(unfit[:5])
            )
        self._changed.clear()
        return len(unfit)

    def _swap(self, bundle: Bundle) -> None:
        digest = self._amendments.digest(bundle.digest)
        self._decider.swap(msgspec.structs.replace(bundle, digest=digest))
        self._bundle = bundle

    def obey(self, control: Control, entry_id: str) -> Amendment:
        """Accept what a control entry asks for; EventError with the reason when it is refused.

        What was accepted holds from ``settle`` on.
        """
        lists: Mapping[str, ListFile] = {item.name: item for item in self._bundle.rules.lists}
        item = lists.get(control.list)
        value = plain_value(item, control.value, control.first, control.last) if item is not None else control.value
        change = Amendment(
            control.list,
            value,
            removed=control.op == "list.remove",
            until=end_value(control.until),
            who=control.who,
            why=control.why,
            at=int(entry_id.partition("-")[0]) / 1000,
            id=entry_id,
        )
        kept = self._amendments.accept(lists, change)
        field, content = encode_amendment(change)
        self.unsaved[field] = content if kept is not None else None
        self._changed.add(change.list)
        return change

    def settle(self) -> None:
        """Put the accepted changes over the lists; the digest of the bundle follows."""
        if self._changed:
            self._amendments.put_over(self._bundle.rules, self._changed)
            self._changed = set()
            self._swap(self._bundle)
