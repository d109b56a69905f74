"""The record of decisions: Parquet files by UTC day, written at least once and read back exactly once."""

from __future__ import annotations

from antifraud.journal.store import journal_files, read_journal, write_decisions
from antifraud.journal.writer import JournalWriter, run_journal

__all__ = ["JournalWriter", "journal_files", "read_journal", "run_journal", "write_decisions"]
