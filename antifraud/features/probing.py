"""Reading the windows of calls as of a moment, without counting anything: for calls that are in progress.

A probe asks what the windows would say of a call if it were set up then. The state is left as it is, so a probe changes
no later value, and the same events give the same windows whether anybody probes or not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antifraud.features.kernels import (
    AHEAD,
    B_AHEAD,
    B_HOME_OF,
    B_KEY_OF,
    B_NUMBER,
    B_PANES,
    B_ROW_OF,
    B_TABLES,
    B_VIEWS,
    N_KEYS,
    N_PANES,
    N_VIEWS,
    Floats,
    Int32s,
    Int64s,
    _find_row,
    _foresee,
    _milliseconds,
    _read_windows,
    _spread,
)
from antifraud.features.plan import P_SECONDS, P_WIDTH, T_EXTS, T_WIDTH, V_KEY, V_TABLE, V_WIDTH
from antifraud.jit import compiled


@compiled
def probe_batch(
    m: Int64s,
    u: Int32s,
    q: Int64s,
    seen_index: Int64s,
    fields: Int64s,
    kinds: npt.NDArray[np.int8],
    times: Floats,
    values: Floats,
) -> None:
    """The windows of calls as of ``times``: ``fields`` int64[calls, texts], ``values`` float64[calls, windows] out.

    ``kinds`` are all set-ups. Of the machine only the space for one event is written.
    """
    row_of = m[B_ROW_OF]
    for event in range(kinds.shape[0]):
        _foresee(m, u, seen_index, fields, times, kinds, event)
        ms = _milliseconds(times[event])
        second = ms // 1000
        ms += 1
        for p in range(m[N_PANES]):
            m[m[B_NUMBER] + p] = second // m[m[B_PANES] + p * P_WIDTH + P_SECONDS]
        ahead = m[B_AHEAD] + (event % AHEAD) * (1 + m[N_KEYS] + m[N_VIEWS])
        key_of = m[B_KEY_OF] = ahead + 1
        home_of = m[B_HOME_OF] = key_of + m[N_KEYS]
        for v in range(m[N_VIEWS]):
            m[row_of + v] = 0
            home = m[home_of + v]
            if home:
                view = m[B_VIEWS] + v * V_WIDTH
                t = m[view + V_TABLE]
                row = _find_row(u, q, home, t, m[key_of + m[view + V_KEY]])
                m[row_of + v] = row
                if row:
                    _spread(m, u, v, row, m[m[B_TABLES] + t * T_WIDTH + T_EXTS])
        _read_windows(m, u, q, second, ms, values, event)
