"""Hearing how a call that is being placed gets on, wherever it is placed."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Progress = Callable[[int, str], None]
"""Called with status and reason of each provisional response."""

current_progress: ContextVar[Progress | None] = ContextVar("rtpmix_progress", default=None)
