"""Fixtures of the end-to-end tests: a switch with its Redis and its next hop, private to a test or to a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.processes import Kamailio, NextHop, RedisServer, SipClient

PATIENT = {"ANTIFRAUD_DEADLINE_MS": "4000", "ANTIFRAUD_REDIS_TIMEOUT_MS": "1000"}
"""Defines for tests of what is decided rather than how fast: no verdict gets lost on a machine that others use too."""


class Rig(NamedTuple):
    """One switch under test and everything around it."""

    directory: Path
    redis: RedisServer
    switch: Kamailio
    next_hop: NextHop
    client: SipClient


Build = Callable[..., Rig]


def build_rig(
    stack: ExitStack,
    directory: Path,
    *,
    defines: Mapping[str, str] | None = None,
    acl: Sequence[str] = (),
    next_hop: int = 0,
    by_socket: bool = False,
    clock: Path | None = None,
    own: str = "",
) -> Rig:
    """Start Redis, a next hop and Kamailio in ``directory``; ``stack`` ends them in the opposite order."""
    redis = RedisServer(directory, acl).start()
    stack.callback(redis.stop)
    hop = stack.enter_context(NextHop())
    where = f"unix={redis.socket}" if by_socket else f"addr=127.0.0.1;port={redis.port}"
    switch = Kamailio(directory, where, next_hop or hop.port, defines, clock, own).start()
    stack.callback(switch.stop)
    return Rig(directory, redis, switch, hop, stack.enter_context(SipClient(switch.port)))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Build]:
    """A function that builds a switch of this test's own (arguments of ``build_rig``)."""
    with ExitStack() as stack:
        yield lambda **options: build_rig(stack, tmp_path, **options)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One switch for a whole module that waits long for its verdicts."""
    with ExitStack() as stack:
        yield build_rig(stack, tmp_path_factory.mktemp("patient"), defines=PATIENT)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One switch for a whole module that is patient too, and believes every peer's P-Asserted-Identity."""
    with ExitStack() as stack:
        defines = {**PATIENT, "ANTIFRAUD_TRUST_ASSERTED": "1"}
        yield build_rig(stack, tmp_path_factory.mktemp("trusting"), defines=defines)
