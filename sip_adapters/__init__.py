"""Protocols and formats that bring calls to antifraud and verdicts back; one folder each, found by entry points."""
