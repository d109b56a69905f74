"""The fuzzers over the corpus in tests/fuzz/corpus. A file that once broke something is put there and stays.

``python tests/fuzz/test_corpus.py SECONDS [SEED]`` goes on mutating the corpus for as long as you like and prints
the first input that breaks a promise; the tests do a little of the same on every run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from antifraud.domain import EventError
from sip_adapters.capture import Calls
from sip_adapters.cdr import Rows, find_mapping, load_mapping
from sip_adapters.conformance import mutated
from sip_adapters.redirect import Redirect, Send, read_options
from sip_adapters.sip import Framer, SipError, parse

CORPUS = Path(__file__).parent / "corpus"
TS = 1_732_338_000.0


def sip_corpus() -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / "sip").iterdir())]


def cdr_corpus() -> list[bytes]:
    return [line for path in sorted((CORPUS / "cdr").iterdir()) for line in path.read_bytes().splitlines()]


def feed_sip(inputs: list[bytes]) -> None:
    """Every SIP consumer over ``inputs``; raises when one of them breaks its promise."""
    redirect = Redirect(read_options({"max_pending": 64}), secret=b"s", reply="r")
    calls = Calls()
    framer = Framer()
    for at, data in enumerate(inputs):
        now = at * 0.01
        for action in [*redirect.receive(data, ("192.0.2.1", 5060), now, TS), *redirect.tick(now)]:
            if isinstance(action, Send) and action.data.count(b"\r\n\r\n") != 1:
                raise AssertionError(f"an answer with two heads: {action.data!r}")
        for message, _ in framer.feed(data):
            assert len(message) <= 65_536 + 8_192
        try:
            calls.feed(parse(data, infer=True), ts=TS + at, src_ip="192.0.2.1", transport="udp")
        except (SipError, EventError):
            continue


def feed_cdr(inputs: list[bytes]) -> None:
    """Every row reader over ``inputs``."""
    readers = [
        Rows(load_mapping(find_mapping("asterisk"))),
        Rows(load_mapping(find_mapping("generic")), cdr_corpus()[2]),
    ]
    for line in inputs:
        for rows in readers:
            rows.events(line)


def test_the_corpus_is_there_and_made_up() -> None:
    assert len(sip_corpus()) >= 20
    assert len(cdr_corpus()) >= 5
    for data in [*sip_corpus(), *cdr_corpus()]:
        assert len(data) < 10_000


def test_the_corpus_itself() -> None:
    feed_sip(sip_corpus())
    feed_cdr(cdr_corpus())


@pytest.mark.parametrize("seed", range(3))
def test_mutations(seed: int) -> None:
    feed_sip(mutated(sip_corpus(), 1_000, seed))
    feed_cdr(mutated(cdr_corpus(), 1_000, seed))


def main(seconds: float, seed: int) -> None:
    ending = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ending:
        feed_sip(mutated(sip_corpus(), 500, seed + rounds))
        feed_cdr(mutated(cdr_corpus(), 500, seed + rounds))
        rounds += 1
    print(f"{rounds * 1_000} inputs, nothing broke")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
