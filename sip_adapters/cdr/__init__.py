"""The CDR adapter and reader: CSV of any switch through a mapping file."""

from __future__ import annotations

from sip_adapters.cdr.follow import Chunk, Position, Tail, load_position, save_position
from sip_adapters.cdr.mapping import Column, MappingFile, find_mapping, load_mapping, mapping_dirs
from sip_adapters.cdr.reader import READER, CdrReader
from sip_adapters.cdr.rows import Rows
from sip_adapters.cdr.transport import ADAPTER, CdrAdapter, read_options

__all__ = [
    "ADAPTER",
    "READER",
    "CdrAdapter",
    "CdrReader",
    "Chunk",
    "Column",
    "MappingFile",
    "Position",
    "Rows",
    "Tail",
    "find_mapping",
    "load_mapping",
    "load_position",
    "mapping_dirs",
    "read_options",
    "save_position",
]
