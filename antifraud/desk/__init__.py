"""What the people at the desk are served: the card of a call that was diverted to them, and the way back for what they
found out."""

from __future__ import annotations
