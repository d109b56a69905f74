"""The fold as machine code: rows, buckets and pairs in one bounded memory. Called by ``fold`` alone.

Memory is one array of units of 32 bytes. A unit is the head of a row (one key's past), a part of a row's payload, a
bucket in which something was counted, or one pair (key, item) with its last occurrence. ``plan`` names the words of
each. Rows and pairs are found through ``heads``: chains of units whose hashes end alike. Nothing grows; the system
lends the memory behind the array as units are first used. When no unit is left, the table that holds most of them
gives: the key that was counted longest ago leaves with everything that belongs to it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from antifraud.features.plan import (
    BUCKET_FIRST,
    BUCKET_NEXT,
    BUCKET_NUMBER,
    BUCKET_WORDS,
    DO_CLOSE,
    DO_COUNT,
    DO_FIRST,
    DO_LAST,
    DO_MAX,
    DO_PAIR,
    DO_REPEAT,
    DO_SUM,
    EXT_NEXT,
    F_A,
    F_B,
    F_C,
    F_CODE,
    F_D,
    F_VIEW,
    F_WIDTH,
    G_COLUMN,
    G_PANE,
    G_WIDTH,
    HOLDS_COUNT,
    HOLDS_MAXIMUM,
    HOLDS_SUM,
    KEY_FIELD,
    KEY_PREFIX,
    KEY_WIDTH,
    NEW_KEY,
    NEW_PAIR,
    O_CODE,
    O_COLUMN,
    O_CONDITIONS,
    O_EXT,
    O_HAS,
    O_ITEM,
    O_NEW,
    O_NEW_WHAT,
    O_NEW_WHERE,
    O_NEW_WITHIN,
    O_NEW_WORD,
    O_STEP,
    O_TABLE,
    O_WHAT,
    O_WIDTH,
    O_WORD,
    P_COUNTS,
    P_EXT,
    P_SECONDS,
    P_SLOTS,
    P_TYPES,
    P_WIDTH,
    P_WORD,
    PAIR_ITEM,
    PAIR_LAST,
    PAIR_NEWER,
    PAIR_NEXT,
    PAIR_OLDER,
    PAIR_PARENT,
    PAIR_TAG,
    R_PANE,
    R_VIEW,
    R_WIDTH,
    READ_COUNT,
    READ_MAX,
    READ_MEAN,
    READ_RATIO,
    READ_REPEAT,
    READ_SHARE,
    READ_SUM,
    REPORT,
    ROW_CLOCK,
    ROW_EXT,
    ROW_KEY,
    ROW_NEWER,
    ROW_NEXT,
    ROW_OLDER,
    ROW_TAG,
    S_EXT,
    S_GRID,
    S_GRIDS,
    S_ITEM,
    S_TABLE,
    S_WIDTH,
    S_WORD,
    SETUP,
    T_EXTS,
    T_KEY,
    T_PANE,
    T_PANES,
    T_STREAM,
    T_STREAMS,
    T_USED_BY,
    T_WIDTH,
    UNIT_WORDS,
    V_KEY,
    V_TABLE,
    V_WIDTH,
)
from antifraud.jit import compiled, part

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
#: A machine integer: 64 bits, signed unless the name says otherwise.
Word: TypeAlias = Any

# Everything but the units is one array, ``m``, so that a call hands over three arrays and not twenty: ``u`` are the
# units as 32-bit words, ``q`` the same memory as 64-bit ones. ``m`` begins with the counters of the whole fold; those
# before C_SEEN are kept in snapshots, the rest follow from limits and plan.
(
    C_EVENTS, C_SETUPS, C_DUPLICATES, C_LATE, C_USED, C_FREE, C_LEFT, C_SEEN, C_SEEN_CAPACITY, C_SEEN_MASK,
    C_HEADS_MASK, C_PER_KEY, C_SECRET_2, C_SECRET_3, C_EXTS, C_CALLERS,
) = range(16)  # fmt: skip
# Then where each part begins and how many rows it has: the parts of the plan in their order, the counters of tables
# and streams, the chains' heads in ``units``, and what belongs to the present event only.
(
    B_KEYS, B_TABLES, B_VIEWS, B_PANES, B_STREAMS, B_GRIDS, B_OPERATIONS, B_SPANS, B_READS, B_FEATURES,
    B_OF_TABLES, B_OF_STREAMS, B_HEADS, B_KEY_OF, B_ROW_OF, B_HOME_OF, B_EXT_OF, B_IN_USE, B_TOUCHED, B_PASSES,
    B_PAIR_OF, B_NUMBER, B_SUMS, B_AHEAD, B_PAIR_HOME, B_WALKS,
) = range(16, 42)  # fmt: skip
N_KEYS, N_TABLES, N_VIEWS, N_PANES, N_STREAMS, N_GRIDS, N_OPERATIONS, N_SPANS, N_READS, N_FEATURES = range(42, 52)
M_BEGIN = 52
#: Events whose keys are worked out ahead of their turn, so that the memory they need is on its way when it comes.
AHEAD, _NEAR = 16, 6
# Columns of the counters of a table: ends of the order of use, keys held, units held, keys evicted, and the newest
# second that any of those was counted in: of what was last counted before then something may be forgotten.
M_OLDEST, M_NEWEST, M_KEYS, M_UNITS, M_EVICTED, M_LOST, M_WIDTH = range(7)
# Columns of the counters of a stream: pairs held, pairs that left because their key had too many or stood alone.
Q_PAIRS, Q_CUT, Q_WIDTH = range(3)
# Columns of a remembered event: what it is recognised by, and its time.
SEEN_PRINT, SEEN_MS, SEEN_WIDTH = range(3)

#: A key with more pairs than this in one stream (a trunk, a switch) is not forgotten as a whole for want of room.
_MANY_PAIRS = 256
_TAG = 0x7FFFFFFF
_LOW = 0xFFFFFFFF
#: 2000-01-01 in epoch seconds: times are milliseconds since then, plus 1 so that 0 means never.
EPOCH_S = 946_684_800.0
_LATEST_MS = 4_294_000_000_000.0
#: No amount is larger, in thousandths; ten million of them can be added up.
_LARGEST = 1e12
#: A duplicate is no further than this from the event that is remembered.
SEEN_AGE_MS = 600_000
# Remembered events are indexed by print and span of time: those of one print are more than ``SEEN_AGE_MS`` apart, so
# ten at most share a place, however long one Call-ID goes on; and four of five searches need one span only.
_SEEN_SPAN_MS = 10 * SEEN_AGE_MS
#: Beside the bits of the conditions: the event takes back the report in the same words that stands at its time.
TAKES_BACK = 1 << 62
#: What makes a report that was taken back another one: whoever looks for it finds it gone.
_GONE = 0x5DEECE66D1CE4E5B
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
_LONGS = UNIT_WORDS // 2


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the memory at ``array[place]`` ahead of its use; nothing else happens."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        wanted = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], wanted)
        builder.call(function, [address, word(0), word(3), word(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, place), generate


@part
def mix(value: Word, m: Int64s) -> Word:
    """A keyed 64-bit mix of ``value``: without the secret nobody can choose keys that crowd one place."""
    h = np.uint64(value) ^ np.uint64(m[C_SECRET_2])
    h ^= h >> np.uint64(33)
    h *= _M1
    h ^= np.uint64(m[C_SECRET_3])
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
def combine(one: Word, other: Word, m: Int64s) -> Word:
    """The key of a pair of keys; 0 where one of them is missing."""
    if one == 0 or other == 0:
        return 0
    first = mix(one, m)
    return np.int64(mix(np.int64(first ^ (np.uint64(other) * _M1)), m) | _TOP)


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
def _tag(key: Word, m: Int64s) -> Word:
    return np.int64(mix(key, m) >> np.uint64(33)) & _TAG


@part
def _seen_tag(print64: Word, ms: Word, m: Int64s) -> Word:
    return _tag(print64 ^ (ms // _SEEN_SPAN_MS), m)


@part
def _is_seen(index: Int64s, base: Word, mask: Word, seen: Int64s, print64: Word, ms: Word, m: Int64s) -> bool:
    """Whether an event of this print and at most ``SEEN_AGE_MS`` away is remembered."""
    before, after = max(ms - SEEN_AGE_MS, np.int64(0)), ms + SEEN_AGE_MS
    if _find_seen(index, base, mask, _seen_tag(print64, before, m), seen, print64, ms):
        return True
    if before // _SEEN_SPAN_MS == after // _SEEN_SPAN_MS:
        return False
    return bool(_find_seen(index, base, mask, _seen_tag(print64, after, m), seen, print64, ms))


@part
def _seen_at(index: Int64s, mask: Word, seen: Int64s, print64: Word, ms: Word, m: Int64s) -> Word:
    """Where the event of this print and this very time is remembered; -1 when it is not."""
    tag = _seen_tag(print64, ms, m)
    place = tag & mask
    while True:
        entry = index[place]
        if entry == 0:
            return np.int64(-1)
        slot = (entry & _LOW) - 1
        if entry >> 32 == tag and seen[slot, SEEN_PRINT] == print64 and seen[slot, SEEN_MS] == ms:
            return slot
        place = (place + 1) & mask


# --- units ------------------------------------------------------------------------------------------------------


@part
def _take(m: Int64s, u: Int32s) -> Word:
    """A unit of zeros; there must be one left."""
    m[C_LEFT] -= 1
    unit = m[C_FREE]
    if unit:
        at = unit * UNIT_WORDS
        m[C_FREE] = np.int64(u[at])
        for word in range(UNIT_WORDS):
            u[at + word] = 0
        return unit
    unit = m[C_USED]
    m[C_USED] += 1
    return unit


@part
def _give(m: Int64s, u: Int32s, unit: Word) -> None:
    u[unit * UNIT_WORDS] = np.int32(m[C_FREE])
    m[C_FREE] = unit
    m[C_LEFT] += 1


@part
def _clock_of(u: Int32s, row: Word) -> Word:
    """The newest second that a row was counted in."""
    return np.int64(u[row * UNIT_WORDS + ROW_CLOCK]) & _LOW


@part
def _last_of(u: Int32s, pair: Word) -> Word:
    """The second in which a pair occurred last."""
    return np.int64(u[pair * UNIT_WORDS + PAIR_LAST]) & _LOW


# --- chains of rows and pairs -----------------------------------------------------------------------------------


@part
def _row_home(m: Int64s, table: Word, key: Word) -> Word:
    """Where in ``units`` the chain of a key begins."""
    found = mix(np.int64(np.uint64(key) + np.uint64(table) * _M1), m)
    return m[B_HEADS] + (np.int64(found >> np.uint64(1)) & m[C_HEADS_MASK])


@part
def _pair_home(m: Int64s, stream: Word, row: Word, item: Word) -> Word:
    found = mix(np.int64(np.uint64(item) + np.uint64(row * 65_536 + stream + 1) * _M2), m)
    return m[B_HEADS] + (np.int64(found >> np.uint64(1)) & m[C_HEADS_MASK])


@part
def _find_row(u: Int32s, q: Int64s, home: Word, table: Word, key: Word) -> Word:
    """The row of ``key``, 0 when it has none."""
    unit = np.int64(u[home])
    while unit:
        if q[unit * _LONGS + ROW_KEY] == key and u[unit * UNIT_WORDS + ROW_TAG] == table + 1:
            break
        unit = np.int64(u[unit * UNIT_WORDS + ROW_NEXT])
    return unit


@part
def _find_pair(u: Int32s, q: Int64s, home: Word, stream: Word, row: Word, item: Word) -> Word:
    """The pair of ``row`` and ``item``, 0 when there is none."""
    unit = np.int64(u[home])
    while unit:
        at = unit * UNIT_WORDS
        if q[unit * _LONGS + PAIR_ITEM] == item and u[at + PAIR_TAG] == -1 - stream and u[at + PAIR_PARENT] == row:
            break
        unit = np.int64(u[at + PAIR_NEXT])
    return unit


@part
def _chain(u: Int32s, home: Word, unit: Word) -> None:
    u[unit * UNIT_WORDS + ROW_NEXT] = u[home]
    u[home] = np.int32(unit)


@part
def _unchain(u: Int32s, home: Word, unit: Word) -> None:
    before = home
    while np.int64(u[before]) != unit:
        before = np.int64(u[before]) * UNIT_WORDS + ROW_NEXT
    u[before] = u[unit * UNIT_WORDS + ROW_NEXT]


# --- rows -------------------------------------------------------------------------------------------------------


@part
def _word(u: Int32s, row: Word, ext: Word, word: Word) -> Word:
    """Where in ``units`` a word of a row's payload is."""
    unit = np.int64(u[row * UNIT_WORDS + ROW_EXT])
    for _ in range(ext):
        unit = np.int64(u[unit * UNIT_WORDS + EXT_NEXT])
    return unit * UNIT_WORDS + word


@part
def _spread(m: Int64s, u: Int32s, view: Word, row: Word, exts: Word) -> None:
    """Note where the parts of the payload of the row that ``view`` shows begin: ``_at`` then knows without looking."""
    place = m[B_EXT_OF] + view * m[C_EXTS]
    unit = np.int64(u[row * UNIT_WORDS + ROW_EXT])
    for ext in range(exts):
        m[place + ext] = unit * UNIT_WORDS
        unit = np.int64(u[unit * UNIT_WORDS + EXT_NEXT])


@part
def _at(m: Int64s, view: Word, ext: Word, word: Word) -> Word:
    """As ``_word``, for the row of the present event that ``view`` shows."""
    return m[m[B_EXT_OF] + view * m[C_EXTS] + ext] + word


@part
def _unlink_row(m: Int64s, u: Int32s, table: Word, row: Word) -> None:
    of_table = m[B_OF_TABLES] + table * M_WIDTH
    at = row * UNIT_WORDS
    older, newer = np.int64(u[at + ROW_OLDER]), np.int64(u[at + ROW_NEWER])
    if older:
        u[older * UNIT_WORDS + ROW_NEWER] = np.int32(newer)
    else:
        m[of_table + M_OLDEST] = newer
    if newer:
        u[newer * UNIT_WORDS + ROW_OLDER] = np.int32(older)
    else:
        m[of_table + M_NEWEST] = older


@part
def _append_row(m: Int64s, u: Int32s, table: Word, row: Word) -> None:
    of_table = m[B_OF_TABLES] + table * M_WIDTH
    at = row * UNIT_WORDS
    newest = m[of_table + M_NEWEST]
    u[at + ROW_OLDER] = np.int32(newest)
    u[at + ROW_NEWER] = 0
    if newest:
        u[newest * UNIT_WORDS + ROW_NEWER] = np.int32(row)
    else:
        m[of_table + M_OLDEST] = row
    m[of_table + M_NEWEST] = row


@part
def _make_row(m: Int64s, u: Int32s, q: Int64s, home: Word, table: Word, key: Word, second: Word) -> Word:
    """A row for ``key`` with an empty payload, the newest of its table; units for it must be left."""
    row = _take(m, u)
    q[row * _LONGS + ROW_KEY] = key
    u[row * UNIT_WORDS + ROW_TAG] = np.int32(table + 1)
    u[row * UNIT_WORDS + ROW_CLOCK] = np.int32(second)
    exts = m[m[B_TABLES] + table * T_WIDTH + T_EXTS]
    before = row * UNIT_WORDS + ROW_EXT
    for _ in range(exts):
        unit = _take(m, u)
        u[before] = np.int32(unit)
        before = unit * UNIT_WORDS + EXT_NEXT
    _chain(u, home, row)
    _append_row(m, u, table, row)
    of_table = m[B_OF_TABLES] + table * M_WIDTH
    m[of_table + M_KEYS] += 1
    m[of_table + M_UNITS] += 1 + exts
    return row


# --- buckets ----------------------------------------------------------------------------------------------------


@part
def _find_bucket(u: Int32s, head: Word, number: Word) -> Word:
    """The bucket of this number among those that the word ``head`` begins, newest first; 0 when it is empty."""
    unit = np.int64(u[head])
    while unit:
        found = np.int64(u[unit * UNIT_WORDS + BUCKET_NUMBER]) & _LOW
        if found == number:
            return unit
        if found < number:
            break
        unit = np.int64(u[unit * UNIT_WORDS + BUCKET_NEXT])
    return np.int64(0)


@part
def _make_bucket(m: Int64s, u: Int32s, table: Word, head: Word, number: Word, newest: Word, slots: Word) -> Word:
    """The bucket of this number, made when it is empty; 0 when it has gone: ``newest`` is the newest of the key.

    Buckets that have gone make room. One unit must be left.
    """
    if number <= newest - slots:
        return np.int64(0)
    before = head
    unit = np.int64(u[head])
    while unit:
        found = np.int64(u[unit * UNIT_WORDS + BUCKET_NUMBER]) & _LOW
        if found == number:
            return unit
        if found < number:
            break
        before = unit * UNIT_WORDS + BUCKET_NEXT
        unit = np.int64(u[before])
    # Everything older than the first bucket that has gone has gone as well.
    gone, old = before, unit
    while old and np.int64(u[old * UNIT_WORDS + BUCKET_NUMBER]) & _LOW > newest - slots:
        gone = old * UNIT_WORDS + BUCKET_NEXT
        old = np.int64(u[gone])
    of_table = m[B_OF_TABLES] + table * M_WIDTH
    if old:
        u[gone] = 0
        if gone == before:
            unit = np.int64(0)
        while old:
            following = np.int64(u[old * UNIT_WORDS + BUCKET_NEXT])
            _give(m, u, old)
            m[of_table + M_UNITS] -= 1
            old = following
    made = _take(m, u)
    m[of_table + M_UNITS] += 1
    u[made * UNIT_WORDS + BUCKET_NEXT] = np.int32(unit)
    u[made * UNIT_WORDS + BUCKET_NUMBER] = np.int32(number)
    u[before] = np.int32(made)
    return made


@part
def _bucket(m: Int64s, u: Int32s, q: Int64s, table: Word, pane: Word, head: Word, number: Word, newest: Word) -> Word:
    """The bucket to count in, with room made where there is none; 0 when it has gone. Most often it is the newest."""
    unit = np.int64(u[head])
    if unit and np.int64(u[unit * UNIT_WORDS + BUCKET_NUMBER]) & _LOW == number:
        return unit
    if m[C_LEFT] < 1:
        _make_room(m, u, q, np.int64(1))
    return _make_bucket(m, u, table, head, number, newest, m[pane + P_SLOTS])


# --- pairs ------------------------------------------------------------------------------------------------------


@part
def _unlink_pair(u: Int32s, ends: Word, pair: Word) -> None:
    at = pair * UNIT_WORDS
    older, newer = np.int64(u[at + PAIR_OLDER]), np.int64(u[at + PAIR_NEWER])
    if older:
        u[older * UNIT_WORDS + PAIR_NEWER] = np.int32(newer)
    else:
        u[ends] = np.int32(newer)
    if newer:
        u[newer * UNIT_WORDS + PAIR_OLDER] = np.int32(older)
    else:
        u[ends + 1] = np.int32(older)


@part
def _append_pair(u: Int32s, ends: Word, pair: Word) -> None:
    at = pair * UNIT_WORDS
    newest = np.int64(u[ends + 1])
    u[at + PAIR_OLDER] = np.int32(newest)
    u[at + PAIR_NEWER] = 0
    if newest:
        u[newest * UNIT_WORDS + PAIR_NEWER] = np.int32(pair)
    else:
        u[ends] = np.int32(pair)
    u[ends + 1] = np.int32(pair)


@part
def _drop_pair(m: Int64s, u: Int32s, q: Int64s, s: Word, row: Word, ends: Word, pair: Word) -> None:
    """A pair leaves its row; buckets keep what they counted."""
    _unlink_pair(u, ends, pair)
    u[ends + 2] -= 1
    _unchain(u, _pair_home(m, s, row, q[pair * _LONGS + PAIR_ITEM]), pair)
    _give(m, u, pair)
    m[m[B_OF_TABLES] + m[m[B_STREAMS] + s * S_WIDTH + S_TABLE] * M_WIDTH + M_UNITS] -= 1
    m[m[B_OF_STREAMS] + s * Q_WIDTH + Q_PAIRS] -= 1


@part
def _uncount(m: Int64s, u: Int32s, s: Word, row: Word, second: Word) -> None:
    """One pair less in the buckets of ``second``, where they are still there."""
    stream = m[B_STREAMS] + s * S_WIDTH
    for g in range(m[stream + S_GRID], m[stream + S_GRID] + m[stream + S_GRIDS]):
        grid = m[B_GRIDS] + g * G_WIDTH
        pane = m[B_PANES] + m[grid + G_PANE] * P_WIDTH
        bucket = _find_bucket(u, _word(u, row, m[pane + P_EXT], m[pane + P_WORD]), second // m[pane + P_SECONDS])
        if bucket:
            u[bucket * UNIT_WORDS + BUCKET_FIRST + m[grid + G_COLUMN]] -= 1


@part
def _cut_oldest_pair(m: Int64s, u: Int32s, q: Int64s, s: Word, row: Word) -> None:
    """The pair of ``row`` that was used longest ago is forgotten: it no longer counts anywhere."""
    stream = m[B_STREAMS] + s * S_WIDTH
    ends = _word(u, row, m[stream + S_EXT], m[stream + S_WORD])
    oldest = np.int64(u[ends])
    _uncount(m, u, s, row, _last_of(u, oldest))
    _drop_pair(m, u, q, s, row, ends, oldest)
    m[m[B_OF_STREAMS] + s * Q_WIDTH + Q_CUT] += 1


@part
def _is_held(m: Int64s, stream: Word, second: Word, clock: Word) -> bool:
    """Whether any length of time of a stream still has a bucket for ``second`` when its key stands at ``clock``."""
    for g in range(m[stream + S_GRID], m[stream + S_GRID] + m[stream + S_GRIDS]):
        pane = m[B_PANES] + m[m[B_GRIDS] + g * G_WIDTH + G_PANE] * P_WIDTH
        width = m[pane + P_SECONDS]
        if second // width > clock // width - m[pane + P_SLOTS]:
            return True
    return False


@part
def _use_pair(m: Int64s, u: Int32s, q: Int64s, s: Word, row: Word, item: Word, home: Word) -> Word:
    """The pair of ``row`` and ``item``, now the newest of its row; 0 when there is none."""
    stream = m[B_STREAMS] + s * S_WIDTH
    ends = _at(m, m[stream + S_TABLE], m[stream + S_EXT], m[stream + S_WORD])
    clock = _clock_of(u, row)
    # Pairs that no window holds any more leave first: nobody can tell that they are gone.
    while u[ends]:
        oldest = np.int64(u[ends])
        if _is_held(m, stream, _last_of(u, oldest), clock):
            break
        _drop_pair(m, u, q, s, row, ends, oldest)
    pair = _find_pair(u, q, home, s, row, item)
    if pair and np.int64(u[ends + 1]) != pair:
        _unlink_pair(u, ends, pair)
        _append_pair(u, ends, pair)
    return pair


@part
def _count_pair(m: Int64s, u: Int32s, q: Int64s, s: Word, row: Word, item: Word, pair: Word, second: Word) -> None:
    """One occurrence of a pair (0: a new one): it moves to the buckets of ``second`` unless it was seen later."""
    stream = m[B_STREAMS] + s * S_WIDTH
    t = m[stream + S_TABLE]
    clock = _clock_of(u, row)
    last = np.int64(-1)
    if pair:
        last = _last_of(u, pair)
        if second <= last:
            return
    else:
        if second < clock and not _is_held(m, stream, second, clock):
            m[C_LATE] += 1
            return
        ends = _at(m, t, m[stream + S_EXT], m[stream + S_WORD])
        if u[ends + 2] >= m[C_PER_KEY]:
            _cut_oldest_pair(m, u, q, s, row)
        if m[C_LEFT] < 1:
            _make_room(m, u, q, np.int64(1))
        pair = _take(m, u)
        m[m[B_OF_TABLES] + t * M_WIDTH + M_UNITS] += 1
        m[m[B_OF_STREAMS] + s * Q_WIDTH + Q_PAIRS] += 1
        q[pair * _LONGS + PAIR_ITEM] = item
        u[pair * UNIT_WORDS + PAIR_TAG] = np.int32(-1 - s)
        u[pair * UNIT_WORDS + PAIR_PARENT] = np.int32(row)
        _chain(u, _pair_home(m, s, row, item), pair)
        _append_pair(u, ends, pair)
        u[ends + 2] += 1
    u[pair * UNIT_WORDS + PAIR_LAST] = np.int32(second)
    for g in range(m[stream + S_GRID], m[stream + S_GRID] + m[stream + S_GRIDS]):
        grid = m[B_GRIDS] + g * G_WIDTH
        p, column = m[grid + G_PANE], m[grid + G_COLUMN]
        pane = m[B_PANES] + p * P_WIDTH
        width, number = m[pane + P_SECONDS], m[m[B_NUMBER] + p]
        head = _at(m, t, m[pane + P_EXT], m[pane + P_WORD])
        if last >= 0:
            before = last // width
            if before == number:
                continue
            bucket = _find_bucket(u, head, before)
            if bucket:
                u[bucket * UNIT_WORDS + BUCKET_FIRST + column] -= 1
        bucket = _bucket(m, u, q, t, pane, head, number, number if clock == second else clock // width)
        if bucket:
            u[bucket * UNIT_WORDS + BUCKET_FIRST + column] += 1


# --- room -------------------------------------------------------------------------------------------------------


@part
def _forget_row(m: Int64s, u: Int32s, q: Int64s, t: Word, row: Word) -> None:
    """A key leaves with everything that it has."""
    table = m[B_TABLES] + t * T_WIDTH
    freed = 1
    for p in range(m[table + T_PANE], m[table + T_PANE] + m[table + T_PANES]):
        pane = m[B_PANES] + p * P_WIDTH
        bucket = np.int64(u[_word(u, row, m[pane + P_EXT], m[pane + P_WORD])])
        while bucket:
            following = np.int64(u[bucket * UNIT_WORDS + BUCKET_NEXT])
            _give(m, u, bucket)
            freed += 1
            bucket = following
    for s in range(m[table + T_STREAM], m[table + T_STREAM] + m[table + T_STREAMS]):
        stream = m[B_STREAMS] + s * S_WIDTH
        pair = np.int64(u[_word(u, row, m[stream + S_EXT], m[stream + S_WORD])])
        while pair:
            following = np.int64(u[pair * UNIT_WORDS + PAIR_NEWER])
            _unchain(u, _pair_home(m, s, row, q[pair * _LONGS + PAIR_ITEM]), pair)
            _give(m, u, pair)
            m[m[B_OF_STREAMS] + s * Q_WIDTH + Q_PAIRS] -= 1
            freed += 1
            pair = following
    ext = np.int64(u[row * UNIT_WORDS + ROW_EXT])
    while ext:
        following = np.int64(u[ext * UNIT_WORDS + EXT_NEXT])
        _give(m, u, ext)
        freed += 1
        ext = following
    _unchain(u, _row_home(m, t, q[row * _LONGS + ROW_KEY]), row)
    _unlink_row(m, u, t, row)
    _give(m, u, row)
    m[m[B_OF_TABLES] + t * M_WIDTH + M_KEYS] -= 1
    m[m[B_OF_TABLES] + t * M_WIDTH + M_UNITS] -= freed


@part
def _longest_stream(m: Int64s, u: Int32s, t: Word, row: Word, more_than: Word) -> Word:
    """The stream of which ``row`` has most pairs, -1 when it has no more than ``more_than`` of any."""
    table = m[B_TABLES] + t * T_WIDTH
    found, most = np.int64(-1), more_than
    for s in range(m[table + T_STREAM], m[table + T_STREAM] + m[table + T_STREAMS]):
        stream = m[B_STREAMS] + s * S_WIDTH
        pairs = np.int64(u[_word(u, row, m[stream + S_EXT], m[stream + S_WORD]) + 2])
        if pairs > most:
            found, most = np.int64(s), pairs
    return found


@part
def _make_room(m: Int64s, u: Int32s, q: Int64s, wanted: Word) -> None:
    """Forget until ``wanted`` units are left: the table that holds most gives its longest-idle key.

    A key with many pairs gives the longest-idle one of them instead, and so does a key of the present event when it
    is all that its table has.
    """
    while m[C_LEFT] < wanted:
        giver, held = np.int64(-1), np.int64(0)
        for t in range(m[N_TABLES]):
            of_table = m[B_OF_TABLES] + t * M_WIDTH
            oldest = m[of_table + M_OLDEST]
            if oldest == 0 or m[of_table + M_UNITS] <= held:
                continue
            if oldest == m[m[B_IN_USE] + t] and _longest_stream(m, u, t, oldest, np.int64(1)) < 0:
                continue
            giver, held = np.int64(t), m[of_table + M_UNITS]
        if giver < 0:
            break  # cannot be: the limits leave room for everything that the keys of one event can need
        oldest = m[m[B_OF_TABLES] + giver * M_WIDTH + M_OLDEST]
        few = np.int64(1) if oldest == m[m[B_IN_USE] + giver] else np.int64(_MANY_PAIRS)
        stream = _longest_stream(m, u, giver, oldest, few)
        if stream >= 0:
            _cut_oldest_pair(m, u, q, stream, oldest)
        else:
            of_giver = m[B_OF_TABLES] + giver * M_WIDTH
            m[of_giver + M_LOST] = max(m[of_giver + M_LOST], _clock_of(u, oldest))
            _forget_row(m, u, q, giver, oldest)
            m[of_giver + M_EVICTED] += 1


# --- the fold ---------------------------------------------------------------------------------------------------


@compiled
def hash_texts(
    buffer: npt.NDArray[np.uint8], ends: Int64s, ends_known: bool, texts: Word, secret: UInt64s, found: Int64s
) -> None:
    """The keys of all texts of a batch: int64[events, texts]. Texts lie in ``buffer``, a separator behind each."""
    if not ends_known:
        text = 0
        for i in range(buffer.shape[0]):
            if buffer[i] == 0:
                ends[text] = i
                text += 1
    start = np.int64(0)
    for event in range(found.shape[0]):
        for text in range(texts):
            end = ends[event * texts + text]
            found[event, text] = text_key(buffer, start, end, secret) if end > start else np.int64(0)
            start = end + 1


@part
def _fingerprint(m: Int64s, fields: Int64s, event: Word, kind: Word) -> Word:
    """What an event is recognised by: kind, call, caller and callee; for reports also label and reporter."""
    found = np.int64(mix(fields[event, 0], m) + np.uint64(kind))
    found = np.int64(mix(found, m) ^ np.uint64(fields[event, 1]))
    found = np.int64(mix(found, m) ^ np.uint64(fields[event, 2]))
    if kind == REPORT:
        found = np.int64(mix(found, m) ^ np.uint64(fields[event, 3]))
        found = np.int64(mix(found, m) ^ np.uint64(fields[event, 4]))
    return found


@part
def _milliseconds(time: Word) -> Word:
    """Whole milliseconds since 2000, never below 0.

    Bounded while it is a float: what becomes of an integer that does not fit depends on the processor.
    """
    return np.int64(np.rint(min(max((time - EPOCH_S) * 1000.0, 0.0), _LATEST_MS)))


@part
def _foresee(
    m: Int64s, u: Int32s, seen_index: Int64s, fields: Int64s, times: Floats, kinds: npt.NDArray[np.int8], event: Word
) -> None:
    """Work out what an event is recognised by, its keys, and where its rows are found; ask for that memory."""
    kind = np.int64(kinds[event])
    ahead = m[B_AHEAD] + (event % AHEAD) * (1 + m[N_KEYS] + m[N_VIEWS])
    m[ahead] = _fingerprint(m, fields, event, kind)
    before = max(_milliseconds(times[event]) + 1 - SEEN_AGE_MS, np.int64(0))
    prefetch(seen_index, _seen_tag(m[ahead], before, m) & m[C_SEEN_MASK])
    key_of = ahead + 1
    for k in range(m[N_KEYS]):
        key = m[B_KEYS] + k * KEY_WIDTH
        if m[key] == KEY_FIELD:
            m[key_of + k] = fields[event, m[key + 1]]
        elif m[key] == KEY_PREFIX:
            prefix = fields[event, m[key + 1]] // m[key + 2]
            m[key_of + k] = prefix if prefix >= _LEAST_PREFIX else np.int64(0)
        else:
            m[key_of + k] = combine(m[key_of + m[key + 1]], m[key_of + m[key + 2]], m)
    home_of = key_of + m[N_KEYS]
    for v in range(m[N_VIEWS] if kind == SETUP else m[N_TABLES]):
        view = m[B_VIEWS] + v * V_WIDTH
        t, key = m[view + V_TABLE], m[key_of + m[view + V_KEY]]
        m[home_of + v] = 0
        if key != 0 and (kind == SETUP or (m[m[B_TABLES] + t * T_WIDTH + T_USED_BY] >> kind) & 1):
            home = _row_home(m, t, key)
            m[home_of + v] = home
            prefetch(u, home)


@part
def _approach(m: Int64s, u: Int32s, kinds: npt.NDArray[np.int8], event: Word) -> None:
    """Ask for the first unit of every chain in which the rows of an event are looked for."""
    home_of = m[B_AHEAD] + (event % AHEAD) * (1 + m[N_KEYS] + m[N_VIEWS]) + 1 + m[N_KEYS]
    for v in range(m[N_VIEWS] if kinds[event] == SETUP else m[N_TABLES]):
        home = m[home_of + v]
        if home:
            prefetch(u, np.int64(u[home]) * UNIT_WORDS)


@part
def _foresee_pairs(m: Int64s, u: Int32s, begin: Word, end: Word) -> None:
    """Where the pairs of the event are found; ask for that memory, and for the pairs that may have gone."""
    for o in range(begin, end):
        operation = m[B_OPERATIONS] + o * O_WIDTH
        t, code = m[operation + O_TABLE], m[operation + O_CODE]
        row = m[m[B_ROW_OF] + t]
        if DO_PAIR <= code <= DO_CLOSE and row:
            s = m[operation + O_WHAT]
            home = _pair_home(m, s, row, m[m[B_KEY_OF] + m[operation + O_ITEM]])
            m[m[B_PAIR_HOME] + o] = home
            prefetch(u, home)
            stream = m[B_STREAMS] + s * S_WIDTH
            prefetch(u, np.int64(u[_at(m, t, m[stream + S_EXT], m[stream + S_WORD])]) * UNIT_WORDS)


@part
def _approach_pairs(m: Int64s, u: Int32s, q: Int64s, begin: Word, end: Word) -> None:
    """Ask for the first unit of every chain of pairs of the event, and of those of the oldest pairs."""
    for o in range(begin, end):
        operation = m[B_OPERATIONS] + o * O_WIDTH
        t, code = m[operation + O_TABLE], m[operation + O_CODE]
        row = m[m[B_ROW_OF] + t]
        if DO_PAIR <= code <= DO_CLOSE and row:
            prefetch(u, np.int64(u[m[m[B_PAIR_HOME] + o]]) * UNIT_WORDS)
            s = m[operation + O_WHAT]
            stream = m[B_STREAMS] + s * S_WIDTH
            oldest = np.int64(u[_at(m, t, m[stream + S_EXT], m[stream + S_WORD])])
            if oldest:
                prefetch(u, _pair_home(m, s, row, q[oldest * _LONGS + PAIR_ITEM]))


@compiled
def fold_batch(
    m: Int64s,
    u: Int32s,
    q: Int64s,
    seen: Int64s,
    seen_index: Int64s,
    fields: Int64s,
    kinds: npt.NDArray[np.int8],
    times: Floats,
    conditions: Int64s,
    numbers: Floats,
    values: Floats,
    duplicates: npt.NDArray[np.bool_],
    lost: Int64s,
) -> None:
    """Fold a batch: ``fields`` int64[events, texts] from ``hash_texts``; out come ``values`` float64[setups, windows],
    ``duplicates``, and ``lost``: the newest second in which a caller was counted who had been forgotten by then, or 0.
    """
    tables, events = m[N_TABLES], kinds.shape[0]
    row_of, in_use, touched, passes, pair_of = m[B_ROW_OF], m[B_IN_USE], m[B_TOUCHED], m[B_PASSES], m[B_PAIR_OF]
    second_before = np.int64(-1)
    made = 0
    for event in range(min(events, AHEAD - 1)):
        _foresee(m, u, seen_index, fields, times, kinds, event)
    for event in range(events):
        if event + AHEAD - 1 < events:
            _foresee(m, u, seen_index, fields, times, kinds, event + AHEAD - 1)
        if event + _NEAR < events:
            _approach(m, u, kinds, event + _NEAR)
        kind = np.int64(kinds[event])
        ms = _milliseconds(times[event])
        second = ms // 1000
        ms += 1
        if second != second_before:
            second_before = second
            for p in range(m[N_PANES]):
                m[m[B_NUMBER] + p] = second // m[m[B_PANES] + p * P_WIDTH + P_SECONDS]

        # Has this very event been here before?
        ahead = m[B_AHEAD] + (event % AHEAD) * (1 + m[N_KEYS] + m[N_VIEWS])
        print64 = m[ahead]
        known = _is_seen(seen_index, np.int64(0), m[C_SEEN_MASK], seen, print64, ms, m)
        key_of = m[B_KEY_OF] = ahead + 1
        home_of = m[B_HOME_OF] = key_of + m[N_KEYS]
        for v in range(m[N_VIEWS] if kind == SETUP else tables):
            m[row_of + v] = 0
            home = m[home_of + v]
            if home:
                view = m[B_VIEWS] + v * V_WIDTH
                t = m[view + V_TABLE]
                row = _find_row(u, q, home, t, m[key_of + m[view + V_KEY]])
                m[row_of + v] = row
                if row:
                    _spread(m, u, v, row, m[m[B_TABLES] + t * T_WIDTH + T_EXTS])

        begin, end = m[m[B_SPANS] + 2 * kind], m[m[B_SPANS] + 2 * kind + 1]
        if kind == REPORT:
            gone = print64 ^ _GONE
            # What was taken back and comes once more stays taken back.
            known = known or _seen_at(seen_index, m[C_SEEN_MASK], seen, gone, ms, m) >= 0
            if conditions[event] & TAKES_BACK:
                m[C_EVENTS] += 1
                _take_back(m, u, q, seen, seen_index, print64, gone, second, ms, conditions[event], numbers, event)
                continue
        _foresee_pairs(m, u, begin, end)
        if kind == SETUP:
            _read_windows(m, u, q, second, ms, values, made)
            duplicates[made] = known
            if m[C_CALLERS] >= 0:
                lost[made] = m[m[B_OF_TABLES] + m[C_CALLERS] * M_WIDTH + M_LOST]
            made += 1
            m[C_SETUPS] += 1
        m[C_EVENTS] += 1
        if known:
            m[C_DUPLICATES] += 1
            continue
        _approach_pairs(m, u, q, begin, end)
        _remember(seen_index, seen, m, print64, ms)

        # What counts is settled against the state before the event, whatever the order of the operations.
        for t in range(tables):
            m[touched + t] = 0
            m[in_use + t] = 0
        for o in range(begin, end):
            operation = m[B_OPERATIONS] + o * O_WIDTH
            wanted = m[operation + O_CONDITIONS]
            has = m[operation + O_HAS]
            counts = conditions[event] & wanted == wanted and (has < 0 or not np.isnan(numbers[event, has]))
            counts = counts and _counts(m, u, q, operation, second, ms)
            m[passes + o] = 1 if counts else 0
            if counts:
                m[touched + m[operation + O_TABLE]] = 1
        # Rows and pairs that are there are taken into use before any is made: what makes room must not take them.
        for t in range(tables):
            row = m[row_of + t]
            if m[touched + t] and row:
                m[in_use + t] = row
                if m[m[B_OF_TABLES] + t * M_WIDTH + M_NEWEST] != row:
                    _unlink_row(m, u, t, row)
                    _append_row(m, u, t, row)
                if second > _clock_of(u, row):
                    u[row * UNIT_WORDS + ROW_CLOCK] = np.int32(second)
        for o in range(begin, end):
            operation = m[B_OPERATIONS] + o * O_WIDTH
            code, row = m[operation + O_CODE], m[row_of + m[operation + O_TABLE]]
            m[pair_of + o] = 0
            if m[passes + o] == 0 or row == 0 or not DO_PAIR <= code <= DO_CLOSE:
                continue
            s = m[operation + O_WHAT]
            pair = _use_pair(m, u, q, s, row, m[key_of + m[operation + O_ITEM]], m[m[B_PAIR_HOME] + o])
            if code == DO_PAIR:
                m[pair_of + o] = pair
            elif pair:
                stream = m[B_STREAMS] + s * S_WIDTH
                _uncount(m, u, s, row, _last_of(u, pair))
                _drop_pair(m, u, q, s, row, _word(u, row, m[stream + S_EXT], m[stream + S_WORD]), pair)
        for t in range(tables):
            if m[touched + t] == 0 or m[row_of + t]:
                continue
            table = m[B_TABLES] + t * T_WIDTH
            if m[C_LEFT] <= m[table + T_EXTS]:
                _make_room(m, u, q, 1 + m[table + T_EXTS])
            row = _make_row(m, u, q, m[home_of + t], t, m[key_of + m[table + T_KEY]], second)
            m[row_of + t] = m[in_use + t] = row
            _spread(m, u, t, row, m[table + T_EXTS])

        for o in range(begin, end):
            if m[passes + o]:
                _apply(m, u, q, o, second, ms, numbers, event)


@part
def _apply(m: Int64s, u: Int32s, q: Int64s, o: Word, second: Word, ms: Word, numbers: Floats, event: Word) -> None:
    """Carry one operation out."""
    operation = m[B_OPERATIONS] + o * O_WIDTH
    code, t = m[operation + O_CODE], m[operation + O_TABLE]
    row = m[m[B_ROW_OF] + t]
    item = m[m[B_KEY_OF] + m[operation + O_ITEM]] if code >= DO_PAIR else np.int64(0)
    if code == DO_PAIR:
        _count_pair(m, u, q, m[operation + O_WHAT], row, item, m[m[B_PAIR_OF] + o], second)
        return
    if code == DO_CLOSE:
        return
    if code >= DO_FIRST:
        at = _at(m, t, m[operation + O_EXT], m[operation + O_WORD])
        place = at // 2
        if code == DO_FIRST:
            if q[place] == 0 or ms < q[place]:
                q[place] = ms
            return
        if code == DO_LAST:
            q[place] = max(q[place], ms)
            return
        if code == DO_REPEAT:
            if q[place] == item and abs(second - (np.int64(u[at + 3]) & _LOW)) <= m[operation + O_STEP]:
                u[at + 2] += 1
            else:
                q[place] = item
                u[at + 2] = 1
            u[at + 3] = np.int32(second)
            return
        before = q[place]
        q[place] = item
        if not (item > 0 and before > 0 and 1 <= abs(item - before) <= m[operation + O_STEP]):
            return
    p = m[operation + O_WHAT]
    pane = m[B_PANES] + p * P_WIDTH
    number, clock = m[m[B_NUMBER] + p], _clock_of(u, row)
    newest = number if clock == second else clock // m[pane + P_SECONDS]
    bucket = _bucket(m, u, q, t, pane, _at(m, t, m[pane + P_EXT], m[pane + P_WORD]), number, newest)
    if bucket == 0:
        m[C_LATE] += 1
        return
    at = bucket * UNIT_WORDS + BUCKET_FIRST + m[operation + O_COLUMN]
    if code == DO_SUM or code == DO_MAX:  # noqa: SIM109  (a tuple is slower here)
        amount = _thousandths(numbers[event, m[operation + O_ITEM]])
        if code == DO_SUM:
            q[at // 2] += amount
        else:
            # 30 days and a day of milliseconds fit into 32 bits; 0 says that there was none.
            largest: Word = max(np.int64(u[at]) & _LOW, min(amount + 1, _LOW))
            u[at] = np.int32(largest)
    else:
        u[at] += 1


@part
def _take_back(
    m: Int64s, u: Int32s, q: Int64s, seen: Int64s, index: Int64s, print64: Word, gone: Word, second: Word, ms: Word,
    satisfied: Word, numbers: Floats, event: Word,
) -> None:  # fmt: skip
    """Counts and sums lose what the report of this print and time gave them; what else it changed stays as it is.

    Nothing is made for it and nothing becomes newer. A report that is no longer remembered may have been counted: its
    buckets lose it where they hold as much.
    """
    mask = m[C_SEEN_MASK]
    if _seen_at(index, mask, seen, gone, ms, m) >= 0:
        m[C_DUPLICATES] += 1
        return
    slot = _seen_at(index, mask, seen, print64, ms, m)
    if slot >= 0:
        _remove(index, np.int64(0), mask, _seen_tag(print64, ms, m), slot)
        seen[slot, SEEN_PRINT] = gone
        _enter(index, np.int64(0), mask, _seen_tag(gone, ms, m), slot)
    else:
        _remember(index, seen, m, gone, ms)
    for o in range(m[m[B_SPANS] + 2 * REPORT], m[m[B_SPANS] + 2 * REPORT + 1]):
        operation = m[B_OPERATIONS] + o * O_WIDTH
        code, t = m[operation + O_CODE], m[operation + O_TABLE]
        wanted, has = m[operation + O_CONDITIONS], m[operation + O_HAS]
        row = m[m[B_ROW_OF] + t]
        if row == 0 or satisfied & wanted != wanted or (has >= 0 and np.isnan(numbers[event, has])):
            continue
        if code == DO_COUNT or code == DO_SUM:  # noqa: SIM109  (a tuple is slower here)
            pane = m[B_PANES] + m[operation + O_WHAT] * P_WIDTH
            head = _at(m, t, m[pane + P_EXT], m[pane + P_WORD])
            bucket = _find_bucket(u, head, second // m[pane + P_SECONDS])
            if bucket:
                at = bucket * UNIT_WORDS + BUCKET_FIRST + m[operation + O_COLUMN]
                if code == DO_COUNT:
                    u[at] = np.int32(max(np.int64(u[at]) - 1, np.int64(0)))
                else:
                    amount = _thousandths(numbers[event, m[operation + O_ITEM]])
                    q[at // 2] = max(q[at // 2] - amount, np.int64(0))


@part
def _thousandths(amount: Word) -> Word:
    return np.int64(np.rint(min(max(amount * 1000.0, 0.0), _LARGEST)))


@part
def _add_mixed(m: Int64s, u: Int32s, q: Int64s, at: Word, first: Word, types: Word) -> None:
    """Add a bucket that does not hold counts alone to what was read of its pane so far."""
    for word in range(BUCKET_WORDS):
        holds = (types >> (2 * word)) & 3
        if holds == HOLDS_COUNT:
            m[at + word] += u[first + word]
        elif holds == HOLDS_SUM:
            m[at + word] += q[(first + word) // 2]
        elif holds == HOLDS_MAXIMUM:
            m[at + word] = max(m[at + word], np.int64(u[first + word]) & _LOW)


@part
def _read_windows(m: Int64s, u: Int32s, q: Int64s, second: Word, ms: Word, values: Floats, made: Word) -> None:
    """The windows of one set-up, into ``values[made]``. A pane is walked once, however many windows read it."""
    key_of, row_of, sums, walks = m[B_KEY_OF], m[B_ROW_OF], m[B_SUMS], m[B_WALKS]
    # All panes are walked side by side, a bucket of each in turn: while one is on its way the others are counted.
    going = np.int64(0)
    for r in range(m[N_READS]):
        at = sums + r * BUCKET_WORDS
        for column in range(BUCKET_WORDS):
            m[at + column] = 0
        read = m[B_READS] + r * R_WIDTH
        v = m[read + R_VIEW]
        row = m[row_of + v]
        if row == 0:
            continue
        p = m[read + R_PANE]
        pane = m[B_PANES] + p * P_WIDTH
        bucket = np.int64(u[_at(m, v, m[pane + P_EXT], m[pane + P_WORD])])
        if bucket == 0:
            continue
        prefetch(u, bucket * UNIT_WORDS)
        number = m[m[B_NUMBER] + p]
        clock = _clock_of(u, row)
        newest = number if clock <= second else clock // m[pane + P_SECONDS]
        walk = walks + going * 5
        m[walk], m[walk + 1], m[walk + 2], m[walk + 3] = bucket, number, newest - m[pane + P_SLOTS], pane
        m[walk + 4] = at
        going += 1
    while going:
        still = np.int64(0)
        for one in range(going):
            walk = walks + one * 5
            bucket, number, oldest, pane, at = m[walk], m[walk + 1], m[walk + 2], m[walk + 3], m[walk + 4]
            found = np.int64(u[bucket * UNIT_WORDS + BUCKET_NUMBER]) & _LOW
            if found <= oldest:
                continue
            if found <= number:
                first = bucket * UNIT_WORDS + BUCKET_FIRST
                counts = m[pane + P_COUNTS]
                for column in range(counts):
                    m[at + column] += u[first + column]
                if counts == 0:
                    _add_mixed(m, u, q, at, first, m[pane + P_TYPES])
            bucket = np.int64(u[bucket * UNIT_WORDS + BUCKET_NEXT])
            if bucket:
                prefetch(u, bucket * UNIT_WORDS)
                kept = walks + still * 5
                m[kept], m[kept + 1], m[kept + 2], m[kept + 3], m[kept + 4] = bucket, number, oldest, pane, at
                still += 1
        going = still
    for f in range(m[N_FEATURES]):
        feature = m[B_FEATURES] + f * F_WIDTH
        code, v, a, b = m[feature + F_CODE], m[feature + F_VIEW], m[feature + F_A], m[feature + F_B]
        value = np.nan
        if code >= READ_RATIO:
            whole = values[made, b] if code == READ_RATIO else values[made, a] + values[made, b]
            if whole > 0:
                value = values[made, a] / whole
        elif m[key_of + m[m[B_VIEWS] + v * V_WIDTH + V_KEY]] == 0:
            pass
        elif code == READ_COUNT:
            value = np.float64(m[sums + a])
        elif code == READ_SUM:
            value = m[sums + a] / 1000.0
        elif code == READ_SHARE:
            if m[sums + b] > 0:
                value = m[sums + a] / m[sums + b]
        elif code == READ_MEAN:
            if m[sums + b] > 0:
                value = m[sums + a] / 1000.0 / m[sums + b]
        elif code == READ_MAX:
            if m[sums + a] > 0:
                value = (m[sums + a] - 1) / 1000.0
        elif code == READ_REPEAT:
            value = 0.0
            if m[row_of + v]:
                at = _at(m, v, a, b)
                item = m[key_of + m[feature + F_C]]
                near = abs(second - (np.int64(u[at + 3]) & _LOW)) <= m[feature + F_D]
                if item != 0 and q[at // 2] == item and near:
                    value = np.float64(u[at + 2])
        elif m[row_of + v]:
            then = q[_at(m, v, a, b) // 2]
            if then:
                value = max(ms - then, np.int64(0)) / 1000.0
        values[made, f] = value


@part
def _counts(m: Int64s, u: Int32s, q: Int64s, operation: Word, second: Word, ms: Word) -> bool:
    """Whether an operation whose conditions hold applies to the event."""
    key_of, row_of = m[B_KEY_OF], m[B_ROW_OF]
    t = m[operation + O_TABLE]
    if m[key_of + m[m[B_TABLES] + t * T_WIDTH + T_KEY]] == 0:
        return False
    code = m[operation + O_CODE]
    if DO_PAIR <= code <= DO_CLOSE or code == DO_REPEAT:
        item = m[key_of + m[operation + O_ITEM]]
        if item == 0:
            return False
        if code == DO_CLOSE:
            # A call that nobody saw begin leaves no trace when it ends; nor does one that began too long ago.
            s, row = m[operation + O_WHAT], m[row_of + t]
            begun = _find_pair(u, q, _pair_home(m, s, row, item), s, row, item) if row else np.int64(0)
            stream = m[B_STREAMS] + s * S_WIDTH
            return bool(begun and _is_held(m, stream, _last_of(u, begun), _clock_of(u, row)))
    asked = m[operation + O_NEW]
    if asked == NEW_KEY:
        other = m[operation + O_NEW_WHAT]
        if m[key_of + m[m[B_TABLES] + other * T_WIDTH + T_KEY]] == 0:
            return False
        if m[row_of + other]:
            first = q[_at(m, other, m[operation + O_NEW_WHERE], m[operation + O_NEW_WORD]) // 2]
            within = m[operation + O_NEW_WITHIN]
            return bool(first == 0 or (within > 0 and first >= ms - within))
    elif asked == NEW_PAIR:
        s = m[operation + O_NEW_WHAT]
        stream = m[B_STREAMS] + s * S_WIDTH
        t = m[stream + S_TABLE]
        row, item = m[row_of + t], m[key_of + m[stream + S_ITEM]]
        if item == 0 or m[key_of + m[m[B_TABLES] + t * T_WIDTH + T_KEY]] == 0:
            return False
        if row:
            pair = _find_pair(u, q, _pair_home(m, s, row, item), s, row, item)
            if pair:
                pane = m[B_PANES] + m[operation + O_NEW_WHERE] * P_WIDTH
                width = m[pane + P_SECONDS]
                newest = max(second, _clock_of(u, row)) // width
                return bool(_last_of(u, pair) // width <= newest - m[pane + P_SLOTS])
    return True


@part
def _remember(index: Int64s, seen: Int64s, m: Int64s, print64: Word, ms: Word) -> None:
    """Remember the event; the one that was remembered longest makes room."""
    mask, capacity = m[C_SEEN_MASK], m[C_SEEN_CAPACITY]
    slot = m[C_SEEN] % capacity
    if m[C_SEEN] >= capacity:
        tag = _seen_tag(seen[slot, SEEN_PRINT], seen[slot, SEEN_MS], m)
        _remove(index, np.int64(0), mask, tag, slot)
    seen[slot, SEEN_PRINT], seen[slot, SEEN_MS] = print64, ms
    _enter(index, np.int64(0), mask, _seen_tag(print64, ms, m), slot)
    m[C_SEEN] += 1


# --- other windows, other limits --------------------------------------------------------------------------------


@compiled
def adopt_rows(
    m: Int64s, u: Int32s, q: Int64s, table: Word, other_m: Int64s, other: Int32s, their_q: Int64s, other_table: Word,
    columns: Int64s, words: Int64s, streams: Int64s,
) -> None:  # fmt: skip
    """Take over the rows of ``other_table`` of another fold into ``table``, longest idle first.

    ``columns`` (…, their pane, column, our pane, column), ``words`` (…, their part, word, ours) and ``streams``
    (…, their stream, ours) say what is taken over. Pairs are counted anew, so that every length of time that is
    declared here has its counts.
    """
    in_use, exts = m[B_IN_USE], m[m[B_TABLES] + table * T_WIDTH + T_EXTS]
    for t in range(m[N_TABLES]):
        m[in_use + t] = 0
    theirs = other_m[other_m[B_OF_TABLES] + other_table * M_WIDTH + M_OLDEST]
    while theirs:
        key = their_q[theirs * _LONGS + ROW_KEY]
        home = _row_home(m, table, key)
        row = _find_row(u, q, home, table, key)
        clock = _clock_of(other, theirs)
        if row:
            _unlink_row(m, u, table, row)
            _append_row(m, u, table, row)
            clock = max(clock, _clock_of(u, row))
            u[row * UNIT_WORDS + ROW_CLOCK] = np.int32(clock)
        else:
            m[in_use + table] = 0
            if m[C_LEFT] <= exts:
                _make_room(m, u, q, 1 + exts)
            row = _make_row(m, u, q, home, table, key, clock)
        m[in_use + table] = row
        _spread(m, u, table, row, exts)
        for w in range(words.shape[0]):
            place = _word(other, theirs, words[w, 1], words[w, 2]) // 2
            q[_at(m, table, words[w, 3], words[w, 4]) // 2] = their_q[place]
        for c in range(columns.shape[0]):
            their_pane = other_m[B_PANES] + columns[c, 1] * P_WIDTH
            pane, column = m[B_PANES] + columns[c, 3] * P_WIDTH, columns[c, 4]
            head = _at(m, table, m[pane + P_EXT], m[pane + P_WORD])
            newest = clock // m[pane + P_SECONDS]
            sums = (m[pane + P_TYPES] >> (2 * column)) & 3 == HOLDS_SUM
            bucket = np.int64(other[_word(other, theirs, other_m[their_pane + P_EXT], other_m[their_pane + P_WORD])])
            while bucket:
                number = np.int64(other[bucket * UNIT_WORDS + BUCKET_NUMBER]) & _LOW
                first = bucket * UNIT_WORDS + BUCKET_FIRST
                amount = their_q[(first + columns[c, 2]) // 2] if sums else np.int64(other[first + columns[c, 2]])
                made = _bucket(m, u, q, table, pane, head, number, newest) if amount else np.int64(0)
                if made and sums:
                    q[(made * UNIT_WORDS + BUCKET_FIRST + column) // 2] = amount
                elif made:
                    u[made * UNIT_WORDS + BUCKET_FIRST + column] = np.int32(amount)
                bucket = np.int64(other[bucket * UNIT_WORDS + BUCKET_NEXT])
        for s in range(streams.shape[0]):
            their_stream, ours = other_m[B_STREAMS] + streams[s, 1] * S_WIDTH, streams[s, 2]
            stream = m[B_STREAMS] + ours * S_WIDTH
            ends = _word(other, theirs, other_m[their_stream + S_EXT], other_m[their_stream + S_WORD])
            pair = np.int64(other[ends])
            while pair:
                last, item = _last_of(other, pair), their_q[pair * _LONGS + PAIR_ITEM]
                for g in range(m[stream + S_GRID], m[stream + S_GRID] + m[stream + S_GRIDS]):
                    p = m[m[B_GRIDS] + g * G_WIDTH + G_PANE]
                    m[m[B_NUMBER] + p] = last // m[m[B_PANES] + p * P_WIDTH + P_SECONDS]
                known = _use_pair(m, u, q, ours, row, item, _pair_home(m, ours, row, item))
                _count_pair(m, u, q, ours, row, item, known, last)
                pair = np.int64(other[pair * UNIT_WORDS + PAIR_NEWER])
        theirs = np.int64(other[theirs * UNIT_WORDS + ROW_NEWER])


@compiled
def index_seen(m: Int64s, seen: Int64s, index: Int64s) -> None:
    """Enter every remembered event into an empty index; used after loading a snapshot."""
    for slot in range(min(m[C_SEEN], m[C_SEEN_CAPACITY])):
        tag = _seen_tag(seen[slot, SEEN_PRINT], seen[slot, SEEN_MS], m)
        _enter(index, np.int64(0), m[C_SEEN_MASK], tag, slot)


@compiled
def longest_chain(m: Int64s, u: Int32s) -> Word:
    """The longest search that any row or pair needs now."""
    longest = 0
    for home in range(m[B_HEADS], m[B_HEADS] + m[C_HEADS_MASK] + 1):
        length = 0
        unit = np.int64(u[home])
        while unit:
            length += 1
            unit = np.int64(u[unit * UNIT_WORDS + ROW_NEXT])
        longest = max(longest, length)
    return longest


@compiled
def longest_probe(index: Int64s, base: Word, mask: Word) -> Word:
    """The longest way from an entry's home to its place in one index."""
    longest = 0
    for place in range(mask + 1):
        entry = index[base + place]
        if entry:
            longest = max(longest, (place - ((entry >> 32) & mask)) & mask)
    return longest
