"""Asking the engine about calls for switches that wait for a word: the question, the answer made safe, what follows.

* ``emergency.py``: which called numbers are never asked about;
* ``backlog.py``: events into the log in batches, and what becomes of those who wait when there is no log;
* ``asker.py``: questions, and replies back to those who wait, nobody longer than the deadline;
* ``fail.py``: what becomes of a call that nobody decides about;
* ``order.py``: a reply, or that there is none, as what a dialplan can carry out, each text checked;
* ``book.py``: the calls that go on, so that their answer and end are reported with the numbers they began with.
"""

from __future__ import annotations

from sip_adapters.asking.asker import Asker
from sip_adapters.asking.backlog import EventBacklog
from sip_adapters.asking.book import Book
from sip_adapters.asking.emergency import EmergencyNumbers
from sip_adapters.asking.fail import FailPolicy, FailSection, Reason
from sip_adapters.asking.order import EMERGENCY, UNDECIDED, Order, order_of, order_without_verdict

__all__ = [
    "EMERGENCY",
    "UNDECIDED",
    "Asker",
    "Book",
    "EmergencyNumbers",
    "EventBacklog",
    "FailPolicy",
    "FailSection",
    "Order",
    "Reason",
    "order_of",
    "order_without_verdict",
]
