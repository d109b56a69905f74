"""Dialects: one decision, said to each kind of switch in its own terms. A table and what fills it in; no I/O."""

from __future__ import annotations

from antifraud.dialects.jcard import Redress, Signer, jcard, read_key
from antifraud.dialects.speaking import BY_STATUS, STATUSES, Choice, Speaker, Wording
from antifraud.dialects.table import (
    SAYINGS,
    Dialect,
    DialectDocument,
    DialectsDocument,
    Form,
    FormDocument,
    Wrong,
    compile_table,
)
from antifraud.dialects.template import PLACES, Template, compile_template

__all__ = [
    "BY_STATUS",
    "PLACES",
    "SAYINGS",
    "STATUSES",
    "Choice",
    "Dialect",
    "DialectDocument",
    "DialectsDocument",
    "Form",
    "FormDocument",
    "Redress",
    "Signer",
    "Speaker",
    "Template",
    "Wording",
    "Wrong",
    "compile_table",
    "compile_template",
    "jcard",
    "read_key",
]
