"""Agents: processes that carry the engine's commands out on a switch, one for each switch, and report what came of it.

A new kind of switch is a ``SwitchPort`` (``port.py``: block, unblock, release, listed, epoch) and an object with name,
summary and ``run`` (``antifraud.domain.SwitchAgent``) under the entry-point group ``antifraud.agents``; ``run`` makes
the port out of its options and hands it to ``run_agent``. Everything else is done here and is the same for all:

* reading ``af:{shard}:commands:<switch>`` through the group ``agent``: what is pending first, then what is new, and
  what another agent left for more than 5 seconds;
* asking the register ``af:{shard}:blocks`` before anything is done (``course.py``), so that commands may come twice,
  late and in any order;
* writing the outcome to ``af:{shard}:outcomes`` and acknowledging in one transaction, which fails when another agent
  has taken over (``lease.py``, key ``af:{shard}:agent:<switch>``); a second agent stands by;
* asking a switch that is away again, with growing pauses, nothing acknowledged meanwhile; what a switch that answers
  otherwise does not do three times is reported as ``failed``;
* comparing the whole list with the register at the start, when ``epoch`` changes, on a ``resync`` command, and every
  ten minutes;
* saying how it is in ``af:{shard}:agents`` (a JSON object a switch: ``agent``, ``at``, ``synced_at``, ``wanted``,
  ``added``, ``removed``, ``garbled``, ``refused``, ``why``, ``took_s``, ``trouble``) and counting in
  ``af:{shard}:counters`` (``agent.…``).
"""

from __future__ import annotations

from sip_adapters.agents.course import Comparison, Step, plan, wanted_until
from sip_adapters.agents.lease import Lease, LeaseLostError
from sip_adapters.agents.port import RefusedError, SwitchPort, UnreachableError
from sip_adapters.agents.runner import Agent, AgentOptions, Resync, run_agent

__all__ = [
    "Agent",
    "AgentOptions",
    "Comparison",
    "Lease",
    "LeaseLostError",
    "RefusedError",
    "Resync",
    "Step",
    "SwitchPort",
    "UnreachableError",
    "plan",
    "run_agent",
    "wanted_until",
]
