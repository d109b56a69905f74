"""Asking the engine about calls for switches that wait for a word: the question, the answer made safe, what follows.

* ``emergency.py``: which called numbers are never asked about;
* ``asker.py``: events into the log in batches, replies back to those who wait, nobody longer than the deadline;
* ``order.py``: a reply as what a dialplan can carry out, each text checked;
* ``book.py``: the calls that go on, so that their answer and end are reported with the numbers they began with.
"""

from __future__ import annotations

from sip_adapters.asking.asker import Asker
from sip_adapters.asking.book import Book
from sip_adapters.asking.emergency import EmergencyNumbers
from sip_adapters.asking.order import EMERGENCY, UNDECIDED, Order, order_of

__all__ = ["EMERGENCY", "UNDECIDED", "Asker", "Book", "EmergencyNumbers", "Order", "order_of"]
