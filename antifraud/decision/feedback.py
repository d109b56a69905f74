"""What goes back into the log about a call that full enforcement would have stopped, so that windows can count it."""

from __future__ import annotations

from antifraud.domain import CallEvent, EventKind


def stopped_report(setup: CallEvent) -> CallEvent | None:
    """The report that the call of ``setup`` would have been stopped, in the setup's own words.

    It follows from the setup alone: written once more, it is the same report and is not counted again. None where
    the call has no caller to report.
    """
    if not (setup.caller_raw or setup.caller):
        return None
    return CallEvent(
        kind=EventKind.REPORT,
        call_id=setup.call_id,
        ts=setup.ts,
        source="engine",
        reporter="engine",
        label="stopped",
        switch=setup.switch,
        trunk=setup.trunk,
        caller_raw=setup.caller_raw,
        callee_raw=setup.callee_raw,
        # Numbers are normalised from the raw forms again; a setup that came without them has only these.
        caller="" if setup.caller_raw else setup.caller,
        callee="" if setup.callee_raw else setup.callee,
        asserted=setup.asserted,
        src_ip=setup.src_ip,
        user_agent=setup.user_agent,
        fingerprint=setup.fingerprint,
        imsi=setup.imsi,
        imei=setup.imei,
        cell=setup.cell,
    )
