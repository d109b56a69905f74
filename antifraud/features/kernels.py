"""The fold as machine code: open-addressing tables, rings of buckets, streams of pairs. Called by ``fold`` alone.

A table is an index (hash → row number) over rows. A row is one key's whole past: its place in the order of use, its
rings, the ends of its pair lists (32-bit ``ints``), its key, times and sums (64-bit ``longs``). A pair is one
(key, item) with its last occurrence. Nothing grows: every array has its final size from the start, and the system
lends the memory behind it when a row is first used. When rows or pairs run out, the key that was counted longest
ago leaves with everything that belongs to it.

All functions lie in this one file because numba's cache watches the file of the outermost function only: a part
kept elsewhere could change without the cached whole noticing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from antifraud.features.jit import compiled, part
from antifraud.features.plan import (
    DO_COUNT,
    DO_FIRST,
    DO_LAST,
    DO_PAIR,
    DO_SEQUENTIAL,
    DO_SUM,
    F_A,
    F_B,
    F_CODE,
    F_TABLE,
    KEY_FIELD,
    KEY_PREFIX,
    O_CODE,
    O_COLUMN,
    O_CONDITIONS,
    O_ITEM,
    O_NEW_COLUMN,
    O_NEW_TABLE,
    O_NEW_WITHIN,
    O_STEP,
    O_TABLE,
    O_WHAT,
    R_HEAD,
    R_LONG,
    R_SLOTS,
    R_WIDTH,
    READ_COUNT,
    READ_MEAN,
    READ_SHARE,
    READ_SINCE,
    READ_SUM,
    REPORT,
    ROW_KEY,
    ROW_NEWER,
    ROW_OLDER,
    S_CAPACITY,
    S_COLUMN,
    S_INDEX,
    S_ITEM,
    S_MASK,
    S_PAIRS,
    S_PER_KEY,
    S_RING,
    S_RINGS,
    SETUP,
    T_CAPACITY,
    T_INDEX,
    T_INT_WIDTH,
    T_INTS,
    T_KEY,
    T_LONG_WIDTH,
    T_LONGS,
    T_MASK,
    T_STREAM,
    T_STREAMS,
    T_USED_BY,
)

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
#: A machine integer: 64 bits, signed unless the name says otherwise.
Word: TypeAlias = Any

# Columns of the counters of a table: rows ever used, first free row, ends of the order of use, live, evicted.
M_USED, M_FREE, M_OLDEST, M_NEWEST, M_LIVE, M_EVICTED, M_WIDTH = range(7)
# Columns of the counters of a stream; "cut" counts pairs that left because one key had too many.
P_USED, P_FREE, P_LIVE, P_CUT, P_MADE, P_WIDTH = range(6)
# The counters of the whole fold, and the place of the memory of duplicates in the index.
G_EVENTS, G_SETUPS, G_DUPLICATES, G_LATE, G_SEEN, G_SEEN_CAPACITY, G_SEEN_INDEX, G_SEEN_MASK, G_WIDTH = range(9)
# Columns of a remembered event: what it is recognised by, and its time.
SEEN_PRINT, SEEN_MS, SEEN_WIDTH = range(3)
# Columns of a pair.
PAIR_PARENT, PAIR_OLDER, PAIR_NEWER, PAIR_LAST, PAIR_WIDTH = range(5)

_TAG = 0x7FFFFFFF
_LOW = 0xFFFFFFFF
#: 2000-01-01 in epoch seconds: times are milliseconds since then, plus 1 so that 0 means never.
EPOCH_S = 946_684_800.0
_LATEST_MS = 4_294_000_000_000.0
#: A duplicate is no further than this from the event that is remembered.
SEEN_AGE_MS = 600_000
# Remembered events are indexed by print and span of time: those of one print are more than ``SEEN_AGE_MS`` apart, so
# ten at most share a place, however long one Call-ID goes on; and four of five searches need one span only.
_SEEN_SPAN_MS = 10 * SEEN_AGE_MS
_PLUS, _ZERO, _NINE = 43, 48, 57
_MOST_DIGITS = 18
_LEAST_PREFIX = 1000  # a leading 1 that keeps zeros apart, and three digits

_C0 = np.uint64(0x736F6D6570736575)
_C1 = np.uint64(0x646F72616E646F6D)
_C2 = np.uint64(0x6C7967656E657261)
_C3 = np.uint64(0x7465646279746573)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_TOP = np.uint64(0x8000000000000000)
_FF = np.uint64(0xFF)


@part
def mix(value: Word, secret: UInt64s) -> Word:
    """A keyed 64-bit mix of ``value``: without the secret nobody can choose keys that crowd one place."""
    h = np.uint64(value) ^ secret[2]
    h ^= h >> np.uint64(33)
    h *= _M1
    h ^= secret[3]
    h ^= h >> np.uint64(33)
    h *= _M2
    h ^= h >> np.uint64(33)
    return h


@part
def sip(buffer: npt.NDArray[np.uint8], start: Word, end: Word, secret: UInt64s) -> Word:
    """SipHash-1-3 of ``buffer[start:end]`` (Aumasson & Bernstein 2012), keyed by ``secret[0:2]``."""
    v0, v1, v2, v3 = _C0 ^ secret[0], _C1 ^ secret[1], _C2 ^ secret[0], _C3 ^ secret[1]
    length = end - start
    blocks = length // 8
    for block in range(blocks + 4):
        word = np.uint64(0)
        if block < blocks:
            for i in range(8):
                word |= np.uint64(buffer[start + 8 * block + i]) << np.uint64(8 * i)
        elif block == blocks:
            for i in range(length - 8 * blocks):
                word |= np.uint64(buffer[start + 8 * blocks + i]) << np.uint64(8 * i)
            word |= np.uint64(length & 0xFF) << np.uint64(56)
        elif block == blocks + 1:
            v2 ^= _FF
        v3 ^= word
        v0 += v1
        v1 = (v1 << np.uint64(13)) | (v1 >> np.uint64(51))
        v1 ^= v0
        v0 = (v0 << np.uint64(32)) | (v0 >> np.uint64(32))
        v2 += v3
        v3 = (v3 << np.uint64(16)) | (v3 >> np.uint64(48))
        v3 ^= v2
        v0 += v3
        v3 = (v3 << np.uint64(21)) | (v3 >> np.uint64(43))
        v3 ^= v0
        v2 += v1
        v1 = (v1 << np.uint64(17)) | (v1 >> np.uint64(47))
        v1 ^= v2
        v2 = (v2 << np.uint64(32)) | (v2 >> np.uint64(32))
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3


@part
def text_key(buffer: npt.NDArray[np.uint8], start: Word, end: Word, secret: UInt64s) -> Word:
    """The key of a text: E.164 numbers by their digits (positive, exact), other text by hash (negative), none 0."""
    length = end - start
    if length == 0:
        return 0
    if buffer[start] == _PLUS and 2 <= length <= _MOST_DIGITS + 1:
        number = np.int64(1)
        for i in range(start + 1, end):
            digit = buffer[i]
            if digit < _ZERO or digit > _NINE:
                number = np.int64(0)
                break
            number = number * 10 + np.int64(digit - _ZERO)
        if number:
            return number
    return np.int64(sip(buffer, start, end, secret) | _TOP)


@part
def combine(one: Word, other: Word, secret: UInt64s) -> Word:
    """The key of a pair of keys; 0 where one of them is missing."""
    if one == 0 or other == 0:
        return 0
    first = mix(one, secret)
    return np.int64(mix(np.int64(first ^ (np.uint64(other) * _M1)), secret) | _TOP)


@part
def _find_row(
    index: Int64s, base: Word, mask: Word, tag: Word, longs: Int64s, row0: Word, width: Word, key: Word
) -> Word:
    place = tag & mask
    while True:
        entry = index[base + place]
        if entry == 0:
            return -1
        if entry >> 32 == tag:
            row = (entry & _LOW) - 1
            if longs[row0 + row * width + ROW_KEY] == key:
                return row
        place = (place + 1) & mask


@part
def _find_pair(
    index: Int64s, base: Word, mask: Word, tag: Word, pairs: Int32s, items: Int64s, pair0: Word, row: Word, item: Word
) -> Word:
    place = tag & mask
    while True:
        entry = index[base + place]
        if entry == 0:
            return -1
        if entry >> 32 == tag:
            pair = (entry & _LOW) - 1
            if items[pair0 + pair] == item and pairs[pair0 + pair, PAIR_PARENT] == row:
                return pair
        place = (place + 1) & mask


@part
def _find_seen(index: Int64s, base: Word, mask: Word, tag: Word, seen: Int64s, print64: Word, ms: Word) -> bool:
    place = tag & mask
    while True:
        entry = index[base + place]
        if entry == 0:
            return False
        if entry >> 32 == tag:
            slot = (entry & _LOW) - 1
            if seen[slot, SEEN_PRINT] == print64 and abs(seen[slot, SEEN_MS] - ms) <= SEEN_AGE_MS:
                return True
        place = (place + 1) & mask


@part
def _enter(index: Int64s, base: Word, mask: Word, tag: Word, number: Word) -> None:
    place = tag & mask
    while index[base + place] != 0:
        place = (place + 1) & mask
    index[base + place] = (tag << 32) | (number + 1)


@part
def _remove(index: Int64s, base: Word, mask: Word, tag: Word, number: Word) -> None:
    """Take an entry out and close the gap, so that no probe ever walks over the dead."""
    wanted = (tag << 32) | (number + 1)
    hole = tag & mask
    while index[base + hole] != wanted:
        hole = (hole + 1) & mask
    place = hole
    while True:
        place = (place + 1) & mask
        entry = index[base + place]
        if entry == 0:
            break
        home = (entry >> 32) & mask
        if (place - home) & mask >= (place - hole) & mask:
            index[base + hole] = entry
            hole = place
    index[base + hole] = 0


@part
def _tag(key: Word, secret: UInt64s) -> Word:
    return np.int64(mix(key, secret) >> np.uint64(33)) & _TAG


@part
def _seen_tag(print64: Word, ms: Word, secret: UInt64s) -> Word:
    return _tag(print64 ^ (ms // _SEEN_SPAN_MS), secret)


@part
def _is_seen(index: Int64s, base: Word, mask: Word, seen: Int64s, print64: Word, ms: Word, secret: UInt64s) -> bool:
    """Whether an event of this print and at most ``SEEN_AGE_MS`` away is remembered."""
    before, after = max(ms - SEEN_AGE_MS, np.int64(0)), ms + SEEN_AGE_MS
    if _find_seen(index, base, mask, _seen_tag(print64, before, secret), seen, print64, ms):
        return True
    if before // _SEEN_SPAN_MS == after // _SEEN_SPAN_MS:
        return False
    return bool(_find_seen(index, base, mask, _seen_tag(print64, after, secret), seen, print64, ms))


@part
def _pair_tag(row: Word, item: Word, secret: UInt64s) -> Word:
    return np.int64(mix(np.int64(mix(row + 1, secret) ^ np.uint64(item)), secret) >> np.uint64(33)) & _TAG


@part
def _unlink_row(ints: Int32s, base: Word, width: Word, counters: Int64s, row: Word) -> None:
    at = base + row * width
    older, newer = ints[at + ROW_OLDER], ints[at + ROW_NEWER]
    if older:
        ints[base + (older - 1) * width + ROW_NEWER] = newer
    else:
        counters[M_OLDEST] = newer
    if newer:
        ints[base + (newer - 1) * width + ROW_OLDER] = older
    else:
        counters[M_NEWEST] = older


@part
def _append_row(ints: Int32s, base: Word, width: Word, counters: Int64s, row: Word) -> None:
    at = base + row * width
    newest = counters[M_NEWEST]
    ints[at + ROW_OLDER] = newest
    ints[at + ROW_NEWER] = 0
    if newest:
        ints[base + (newest - 1) * width + ROW_NEWER] = row + 1
    else:
        counters[M_OLDEST] = row + 1
    counters[M_NEWEST] = row + 1


@part
def _unlink_pair(pairs: Int32s, pair0: Word, ints: Int32s, ends: Word, pair: Word) -> None:
    older, newer = pairs[pair0 + pair, PAIR_OLDER], pairs[pair0 + pair, PAIR_NEWER]
    if older:
        pairs[pair0 + older - 1, PAIR_NEWER] = newer
    else:
        ints[ends] = newer
    if newer:
        pairs[pair0 + newer - 1, PAIR_OLDER] = older
    else:
        ints[ends + 1] = older


@part
def _append_pair(pairs: Int32s, pair0: Word, ints: Int32s, ends: Word, pair: Word) -> None:
    newest = ints[ends + 1]
    pairs[pair0 + pair, PAIR_OLDER] = newest
    pairs[pair0 + pair, PAIR_NEWER] = 0
    if newest:
        pairs[pair0 + newest - 1, PAIR_NEWER] = pair + 1
    else:
        ints[ends] = pair + 1
    ints[ends + 1] = pair + 1


@part
def _free_pair(
    stream: Int64s, counters: Int64s, pairs: Int32s, items: Int64s, index: Int64s, secret: UInt64s, pair: Word
) -> None:
    pair0 = stream[S_PAIRS]
    row = pairs[pair0 + pair, PAIR_PARENT]
    tag = _pair_tag(row, items[pair0 + pair], secret)
    _remove(index, stream[S_INDEX], stream[S_MASK], tag, pair)
    pairs[pair0 + pair, PAIR_NEWER] = counters[P_FREE]
    counters[P_FREE] = pair + 1
    counters[P_LIVE] -= 1


@part
def _evict_oldest(
    number: Word,
    tables: Int64s,
    streams: Int64s,
    table_counters: Int64s,
    stream_counters: Int64s,
    index: Int64s,
    ints: Int32s,
    longs: Int64s,
    pairs: Int32s,
    items: Int64s,
    secret: UInt64s,
) -> None:
    """The key that was counted longest ago leaves, and its pairs with it."""
    table, counters = tables[number], table_counters[number]
    row = counters[M_OLDEST] - 1
    base, width = table[T_INTS], table[T_INT_WIDTH]
    for s in range(table[T_STREAM], table[T_STREAM] + table[T_STREAMS]):
        pair = ints[base + row * width + streams[s, S_COLUMN]]
        while pair:
            following = pairs[streams[s, S_PAIRS] + pair - 1, PAIR_NEWER]
            _free_pair(streams[s], stream_counters[s], pairs, items, index, secret, pair - 1)
            pair = following
    tag = _tag(longs[table[T_LONGS] + row * table[T_LONG_WIDTH] + ROW_KEY], secret)
    _remove(index, table[T_INDEX], table[T_MASK], tag, row)
    _unlink_row(ints, base, width, counters, row)
    ints[base + row * width + ROW_NEWER] = counters[M_FREE]
    counters[M_FREE] = row + 1
    counters[M_LIVE] -= 1
    counters[M_EVICTED] += 1


@part
def _make_row(
    table: Int64s, counters: Int64s, index: Int64s, ints: Int32s, longs: Int64s, key: Word, tag: Word
) -> Word:
    """An empty row for ``key``; the caller has made room."""
    width, long_width = table[T_INT_WIDTH], table[T_LONG_WIDTH]
    if counters[M_FREE]:
        row = counters[M_FREE] - 1
        counters[M_FREE] = ints[table[T_INTS] + row * width + ROW_NEWER]
    else:
        row = counters[M_USED]
        counters[M_USED] += 1
    counters[M_LIVE] += 1
    at = table[T_INTS] + row * width
    for i in range(at, at + width):
        ints[i] = 0
    at = table[T_LONGS] + row * long_width
    for i in range(at, at + long_width):
        longs[i] = 0
    longs[at + ROW_KEY] = key
    _enter(index, table[T_INDEX], table[T_MASK], tag, row)
    return row


@part
def _ring_sum(heads: Int32s, head: Word, slots: Any, first: Word, count: Word, bucket: Word, other: Word) -> Word:
    """The sum of the buckets in ``(max(bucket, newest) - count, bucket]``.

    ``other`` is the head of the ring that this one is a part of: a share is of one stretch of time, so the newer of
    the two heads says where it begins.
    """
    newest = np.int64(heads[head]) & _LOW
    since = max(bucket, np.int64(heads[other]) & _LOW)
    total = np.int64(0)
    if bucket == newest and since == newest:
        for i in range(first, first + count):
            total += slots[i]
        return total
    begin = max(max(since, newest) - count + 1, 0)
    slot = begin % count
    for _ in range(begin, min(bucket, newest) + 1):
        total += slots[first + slot]
        slot = slot + 1 if slot + 1 < count else 0
    return total


@part
def _ring_advance(heads: Int32s, head: Word, slots: Any, first: Word, count: Word, bucket: Word) -> bool:
    """Make ``bucket`` part of the ring; False when it is too late for that."""
    newest = np.int64(heads[head]) & _LOW
    if bucket > newest:
        if bucket - newest >= count:
            for i in range(first, first + count):
                slots[i] = 0
        else:
            slot = newest % count
            for _ in range(newest, bucket):
                slot = slot + 1 if slot + 1 < count else 0
                slots[first + slot] = 0
        heads[head] = np.int32(bucket)
        return True
    if bucket > newest - count:  # noqa: SIM103  (a plain True types as bool on both sides)
        return True
    return False


@part
def _pair_in_rings(stream: Int64s, rings: Int64s, ints: Int32s, at: Word, last: Word, change: Word) -> bool:
    """Add ``change`` to the bucket of ``last`` in every ring that still holds it; False when none does."""
    held = False
    for r in range(stream[S_RING], stream[S_RING] + stream[S_RINGS]):
        head, count, bucket = at + rings[r, R_HEAD], rings[r, R_SLOTS], last // rings[r, R_WIDTH]
        if bucket > (np.int64(ints[head]) & _LOW) - count:
            held = True
            ints[head + 1 + bucket % count] += change
    return held


@part
def _cut_oldest_pair(
    stream: Int64s,
    counters: Int64s,
    rings: Int64s,
    ints: Int32s,
    at: Word,
    pairs: Int32s,
    items: Int64s,
    index: Int64s,
    secret: UInt64s,
) -> None:
    """The pair of the row at ``at`` that is idle longest leaves as though it had never been."""
    list_ends, pair0 = at + stream[S_COLUMN], stream[S_PAIRS]
    oldest = ints[list_ends] - 1
    _pair_in_rings(stream, rings, ints, at, np.int64(pairs[pair0 + oldest, PAIR_LAST]) & _LOW, -1)
    _unlink_pair(pairs, pair0, ints, list_ends, oldest)
    ints[list_ends + 2] -= 1
    _free_pair(stream, counters, pairs, items, index, secret, oldest)
    counters[P_CUT] += 1


@compiled
def fold_batch(
    keys: Int64s,
    tables: Int64s,
    streams: Int64s,
    rings: Int64s,
    operations: Int64s,
    spans: Int64s,
    features: Int64s,
    secret: UInt64s,
    table_counters: Int64s,
    stream_counters: Int64s,
    counters: Int64s,
    index: Int64s,
    ints: Int32s,
    longs: Int64s,
    pairs: Int32s,
    items: Int64s,
    seen: Int64s,
    scratch: Int64s,
    buffer: npt.NDArray[np.uint8],
    ends: Int64s,
    ends_known: bool,
    kinds: npt.NDArray[np.int8],
    times: Floats,
    conditions: Int64s,
    numbers: Floats,
    values: Floats,
    duplicates: npt.NDArray[np.bool_],
) -> None:
    """Fold one batch in the order of the log; ``values`` and ``duplicates`` get one row for every set-up.

    ``buffer`` holds the texts of all events, ``ends`` where each text ends (a separator byte follows); an event
    has 1 + fields of them, its call id first. Unless ``ends_known``, every zero byte of the buffer is an end and
    ``ends`` is filled here. ``scratch`` is seven rows of working space.
    """
    events = kinds.shape[0]
    texts = ends.shape[0] // max(events, 1)
    fields, row_of, key_of, touched, passes = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    bucket_of, slot_of = scratch[5], scratch[6]
    second_before = np.int64(-1)
    if not ends_known:
        text = 0
        for i in range(buffer.shape[0]):
            if buffer[i] == 0:
                ends[text] = i
                text += 1
    for t in range(tables.shape[0]):
        touched[t] = -1
    made = 0
    for event in range(events):
        kind = np.int64(kinds[event])
        # Bounded while it is a float: what becomes of an integer that does not fit depends on the processor.
        ms = np.int64(np.rint(min(max((times[event] - EPOCH_S) * 1000.0, 0.0), _LATEST_MS)))
        second = ms // 1000
        ms += 1
        if second != second_before:
            second_before = second
            for r in range(rings.shape[0]):
                bucket_of[r] = second // rings[r, R_WIDTH]
                slot_of[r] = bucket_of[r] % rings[r, R_SLOTS]
        start = ends[event * texts - 1] + 1 if event else np.int64(0)
        call_end = ends[event * texts]
        for f in range(texts - 1):
            fields[f] = text_key(buffer, ends[event * texts + f] + 1, ends[event * texts + f + 1], secret)

        # Has this very event been here before?
        call = sip(buffer, start, call_end, secret)
        print64 = np.int64(mix(np.int64(call), secret) + np.uint64(kind))
        print64 = np.int64(mix(print64, secret) ^ np.uint64(fields[0]))
        print64 = np.int64(mix(print64, secret) ^ np.uint64(fields[1]))
        if kind == REPORT:
            print64 = np.int64(mix(print64, secret) ^ np.uint64(fields[2]))
            print64 = np.int64(mix(print64, secret) ^ np.uint64(fields[3]))
        known = _is_seen(index, counters[G_SEEN_INDEX], counters[G_SEEN_MASK], seen, print64, ms, secret)

        for k in range(keys.shape[0]):
            if keys[k, 0] == KEY_FIELD:
                key_of[k] = fields[keys[k, 1]]
            elif keys[k, 0] == KEY_PREFIX:
                prefix = fields[keys[k, 1]] // keys[k, 2]
                key_of[k] = prefix if prefix >= _LEAST_PREFIX else np.int64(0)
            else:
                key_of[k] = combine(key_of[keys[k, 1]], key_of[keys[k, 2]], secret)
        for t in range(tables.shape[0]):
            row_of[t] = -1
            key = key_of[tables[t, T_KEY]]
            if key != 0 and (kind == SETUP or (tables[t, T_USED_BY] >> kind) & 1):
                row_of[t] = _find_row(
                    index,
                    tables[t, T_INDEX],
                    tables[t, T_MASK],
                    _tag(key, secret),
                    longs,
                    tables[t, T_LONGS],
                    tables[t, T_LONG_WIDTH],
                    key,
                )

        if kind == SETUP:
            for f in range(features.shape[0]):
                t = features[f, F_TABLE]
                row = row_of[t]
                if key_of[tables[t, T_KEY]] == 0:
                    values[made, f] = np.nan
                    continue
                code = features[f, F_CODE]
                if row < 0:
                    values[made, f] = 0.0 if code in (READ_COUNT, READ_SUM) else np.nan
                    continue
                at = tables[t, T_INTS] + row * tables[t, T_INT_WIDTH]
                long_at = tables[t, T_LONGS] + row * tables[t, T_LONG_WIDTH]
                a, b = features[f, F_A], features[f, F_B]
                if code == READ_SINCE:
                    then = longs[long_at + a]
                    values[made, f] = max(ms - then, np.int64(0)) / 1000.0 if then else np.nan
                    continue
                slots, bucket = rings[a, R_SLOTS], bucket_of[a]
                head, among = at + rings[a, R_HEAD], at + rings[b, R_HEAD]
                if code == READ_COUNT:
                    values[made, f] = _ring_sum(ints, head, ints, head + 1, slots, bucket, head)
                elif code == READ_SUM:
                    first = long_at + rings[a, R_LONG]
                    values[made, f] = _ring_sum(ints, head, longs, first, slots, bucket, head) / 1000.0
                elif code == READ_SHARE:
                    whole = _ring_sum(ints, among, ints, among + 1, slots, bucket, among)
                    part = _ring_sum(ints, head, ints, head + 1, slots, bucket, among)
                    values[made, f] = part / whole if whole > 0 else np.nan
                elif code == READ_MEAN:
                    whole = _ring_sum(ints, among, ints, among + 1, slots, bucket, among)
                    total = _ring_sum(ints, head, longs, long_at + rings[a, R_LONG], slots, bucket, among)
                    values[made, f] = total / 1000.0 / whole if whole > 0 else np.nan
            duplicates[made] = known
            made += 1
            counters[G_SETUPS] += 1
        counters[G_EVENTS] += 1
        if known:
            counters[G_DUPLICATES] += 1
            continue

        # Remember the event; the one that was remembered longest makes room.
        slot = counters[G_SEEN] % counters[G_SEEN_CAPACITY]
        if counters[G_SEEN] >= counters[G_SEEN_CAPACITY]:
            tag = _seen_tag(seen[slot, SEEN_PRINT], seen[slot, SEEN_MS], secret)
            _remove(index, counters[G_SEEN_INDEX], counters[G_SEEN_MASK], tag, slot)
        seen[slot, SEEN_PRINT], seen[slot, SEEN_MS] = print64, ms
        _enter(index, counters[G_SEEN_INDEX], counters[G_SEEN_MASK], _seen_tag(print64, ms, secret), slot)
        counters[G_SEEN] += 1

        # What counts is settled against the state before the event, whatever the order of the operations.
        begin, end = spans[kind, 0], spans[kind, 1]
        for o in range(begin, end):
            wanted = operations[o, O_CONDITIONS]
            counts = conditions[event] & wanted == wanted and key_of[tables[operations[o, O_TABLE], T_KEY]] != 0
            if counts and operations[o, O_CODE] == DO_PAIR:
                counts = key_of[streams[operations[o, O_WHAT], S_ITEM]] != 0
            if counts and operations[o, O_NEW_TABLE] >= 0:
                t = operations[o, O_NEW_TABLE]
                if key_of[tables[t, T_KEY]] == 0:
                    counts = False
                elif row_of[t] >= 0:
                    place = tables[t, T_LONGS] + row_of[t] * tables[t, T_LONG_WIDTH] + operations[o, O_NEW_COLUMN]
                    within = operations[o, O_NEW_WITHIN]
                    counts = longs[place] == 0 or (within > 0 and longs[place] >= ms - within)
            passes[o] = 1 if counts else 0

        for o in range(begin, end):
            if passes[o] == 0:
                continue
            code, t = operations[o, O_CODE], operations[o, O_TABLE]
            base, width = tables[t, T_INTS], tables[t, T_INT_WIDTH]
            if touched[t] != event:
                touched[t] = event
                if row_of[t] < 0:
                    if table_counters[t, M_LIVE] >= tables[t, T_CAPACITY]:
                        _evict_oldest(
                            t,
                            tables,
                            streams,
                            table_counters,
                            stream_counters,
                            index,
                            ints,
                            longs,
                            pairs,
                            items,
                            secret,
                        )
                    key = key_of[tables[t, T_KEY]]
                    row_of[t] = _make_row(tables[t], table_counters[t], index, ints, longs, key, _tag(key, secret))
                    _append_row(ints, base, width, table_counters[t], row_of[t])
                elif table_counters[t, M_NEWEST] != row_of[t] + 1:
                    _unlink_row(ints, base, width, table_counters[t], row_of[t])
                    _append_row(ints, base, width, table_counters[t], row_of[t])
            row = row_of[t]
            at = base + row * width
            long_at = tables[t, T_LONGS] + row * tables[t, T_LONG_WIDTH]
            r = operations[o, O_WHAT]
            if code == DO_COUNT:
                head = at + rings[r, R_HEAD]
                bucket = bucket_of[r]
                if _ring_advance(ints, head, ints, head + 1, rings[r, R_SLOTS], bucket):
                    ints[head + 1 + slot_of[r]] += 1
                else:
                    counters[G_LATE] += 1
            elif code == DO_PAIR:
                stream = streams[r]
                pair_counters = stream_counters[r]
                item = key_of[stream[S_ITEM]]
                list_ends = at + stream[S_COLUMN]
                pair0 = stream[S_PAIRS]
                for one in range(stream[S_RING], stream[S_RING] + stream[S_RINGS]):
                    head = at + rings[one, R_HEAD]
                    bucket = bucket_of[one]
                    _ring_advance(ints, head, ints, head + 1, rings[one, R_SLOTS], bucket)
                # Pairs that no ring holds any more leave first: nobody can tell that they are gone.
                while ints[list_ends]:
                    oldest = ints[list_ends] - 1
                    if _pair_in_rings(stream, rings, ints, at, np.int64(pairs[pair0 + oldest, PAIR_LAST]) & _LOW, 0):
                        break
                    _unlink_pair(pairs, pair0, ints, list_ends, oldest)
                    ints[list_ends + 2] -= 1
                    _free_pair(stream, pair_counters, pairs, items, index, secret, oldest)
                tag = _pair_tag(row, item, secret)
                pair = _find_pair(index, stream[S_INDEX], stream[S_MASK], tag, pairs, items, pair0, row, item)
                if pair >= 0:
                    last = np.int64(pairs[pair0 + pair, PAIR_LAST]) & _LOW
                    if second > last:
                        _pair_in_rings(stream, rings, ints, at, last, -1)
                        _pair_in_rings(stream, rings, ints, at, second, 1)
                        pairs[pair0 + pair, PAIR_LAST] = np.int32(second)
                    if ints[list_ends + 1] != pair + 1:
                        _unlink_pair(pairs, pair0, ints, list_ends, pair)
                        _append_pair(pairs, pair0, ints, list_ends, pair)
                    continue
                if not _pair_in_rings(stream, rings, ints, at, second, 0):
                    counters[G_LATE] += 1
                    continue
                if ints[list_ends + 2] >= stream[S_PER_KEY]:
                    _cut_oldest_pair(stream, pair_counters, rings, ints, at, pairs, items, index, secret)
                while pair_counters[P_LIVE] >= stream[S_CAPACITY] and table_counters[t, M_OLDEST] != row + 1:
                    _evict_oldest(
                        t, tables, streams, table_counters, stream_counters, index, ints, longs, pairs, items, secret
                    )
                if pair_counters[P_LIVE] >= stream[S_CAPACITY]:
                    _cut_oldest_pair(stream, pair_counters, rings, ints, at, pairs, items, index, secret)
                if pair_counters[P_FREE]:
                    pair = pair_counters[P_FREE] - 1
                    pair_counters[P_FREE] = pairs[pair0 + pair, PAIR_NEWER]
                else:
                    pair = pair_counters[P_USED]
                    pair_counters[P_USED] += 1
                pair_counters[P_LIVE] += 1
                items[pair0 + pair] = item
                pairs[pair0 + pair, PAIR_PARENT] = row
                pairs[pair0 + pair, PAIR_LAST] = np.int32(second)
                _append_pair(pairs, pair0, ints, list_ends, pair)
                ints[list_ends + 2] += 1
                _enter(index, stream[S_INDEX], stream[S_MASK], tag, pair)
                _pair_in_rings(stream, rings, ints, at, second, 1)
            elif code == DO_FIRST:
                place = long_at + operations[o, O_COLUMN]
                if longs[place] == 0 or ms < longs[place]:
                    longs[place] = ms
            elif code == DO_LAST:
                longs[long_at + operations[o, O_COLUMN]] = max(longs[long_at + operations[o, O_COLUMN]], ms)
            elif code == DO_SEQUENTIAL:
                place = long_at + operations[o, O_COLUMN]
                called, before = key_of[operations[o, O_ITEM]], longs[place]
                longs[place] = called
                if called > 0 and before > 0 and 1 <= abs(called - before) <= operations[o, O_STEP]:
                    head = at + rings[r, R_HEAD]
                    bucket = bucket_of[r]
                    if _ring_advance(ints, head, ints, head + 1, rings[r, R_SLOTS], bucket):
                        ints[head + 1 + slot_of[r]] += 1
                    else:
                        counters[G_LATE] += 1
            elif code == DO_SUM:
                head = at + rings[r, R_HEAD]
                first = long_at + rings[r, R_LONG]
                bucket = bucket_of[r]
                if _ring_advance(ints, head, longs, first, rings[r, R_SLOTS], bucket):
                    amount = np.int64(np.rint(numbers[event, operations[o, O_ITEM]] * 1000.0))
                    longs[first + slot_of[r]] += amount
                else:
                    counters[G_LATE] += 1


@compiled
def rebuild_index(
    tables: Int64s,
    streams: Int64s,
    secret: UInt64s,
    table_counters: Int64s,
    counters: Int64s,
    index: Int64s,
    ints: Int32s,
    longs: Int64s,
    pairs: Int32s,
    items: Int64s,
    seen: Int64s,
) -> None:
    """Enter every living row, pair and remembered event into an empty index; used after loading a snapshot."""
    for t in range(tables.shape[0]):
        base, width = tables[t, T_INTS], tables[t, T_INT_WIDTH]
        row = table_counters[t, M_OLDEST]
        while row:
            key = longs[tables[t, T_LONGS] + (row - 1) * tables[t, T_LONG_WIDTH] + ROW_KEY]
            _enter(index, tables[t, T_INDEX], tables[t, T_MASK], _tag(key, secret), row - 1)
            for s in range(tables[t, T_STREAM], tables[t, T_STREAM] + tables[t, T_STREAMS]):
                pair = ints[base + (row - 1) * width + streams[s, S_COLUMN]]
                while pair:
                    tag = _pair_tag(row - 1, items[streams[s, S_PAIRS] + pair - 1], secret)
                    _enter(index, streams[s, S_INDEX], streams[s, S_MASK], tag, pair - 1)
                    pair = pairs[streams[s, S_PAIRS] + pair - 1, PAIR_NEWER]
            row = ints[base + (row - 1) * width + ROW_NEWER]
    for slot in range(min(counters[G_SEEN], counters[G_SEEN_CAPACITY])):
        tag = _seen_tag(seen[slot, SEEN_PRINT], seen[slot, SEEN_MS], secret)
        _enter(index, counters[G_SEEN_INDEX], counters[G_SEEN_MASK], tag, slot)


@compiled
def longest_probe(index: Int64s, base: Word, mask: Word) -> Word:
    """The longest way from an entry's home to its place in one index."""
    longest = 0
    for place in range(mask + 1):
        entry = index[base + place]
        if entry:
            longest = max(longest, (place - ((entry >> 32) & mask)) & mask)
    return longest
