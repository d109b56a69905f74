"""Cards are made in a thread while the book takes in decisions: that must not disturb them."""

from __future__ import annotations

import threading

from antifraud.desk.cases import CaseBook
from antifraud.domain import Decision


def decided(number: int) -> Decision:
    return Decision(
        id=f"{number:016x}", call_id=f"c{number}", ts=1.8e9, shard="kz", region="KZ-75", verdict="divert",
        full_verdict="block", ceiling="divert", caller="+77010000001", callee="+77000000001", switch="sw",
    )  # fmt: skip


def test_cases_are_looked_up_while_others_come_and_go() -> None:
    """A caller with very many calls, in a book that is full."""
    book = CaseBook(most=300)
    for number in range(300):
        book.add(decided(number))
    wrong: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                assert len(list(book.like(decided(10**9), 0.0))) >= 1
            except BaseException as error:  # noqa: BLE001 - whatever goes wrong in the thread fails the test
                wrong.append(error)
                return

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(300, 60_000):
        book.add(decided(number))
        if wrong:
            break
    stop.set()
    looking.join()
    assert wrong == []
