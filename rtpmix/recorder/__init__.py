"""Sealed SRTP captures: written while a call runs, read by tools that rtpmix did not write.

`Capture` writes one; `verify`, `recover`, `export`, `info` and `list_captures` are for afterwards.
"""

from __future__ import annotations

from .capture import Capture
from .export import Export, export
from .keys import (
    KeysTamperedError,
    Recipients,
    generate_key,
    load_key,
    load_or_make_key,
    write_pin,
)
from .policy import CapturePolicy
from .reader import CaptureInfo, info, list_captures, read_capture, read_facts
from .recover import Recovery, recover
from .summary import CaptureSummary
from .verify import Report, Verdict, verify

__all__ = [
    "Capture",
    "CaptureInfo",
    "CapturePolicy",
    "CaptureSummary",
    "Export",
    "KeysTamperedError",
    "Recipients",
    "Recovery",
    "Report",
    "Verdict",
    "export",
    "generate_key",
    "info",
    "list_captures",
    "load_key",
    "load_or_make_key",
    "read_capture",
    "read_facts",
    "recover",
    "verify",
    "write_pin",
]
