"""Hearing how a call that is being placed gets on, wherever it is placed."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .leg import Leg

Progress = Callable[[int, str], None]
"""Called with status and reason of each provisional response."""

EarlyMedia = Callable[["Leg"], None]
"""Called with the leg of a call that has media before its answer."""

current_early: ContextVar[EarlyMedia | None] = ContextVar("rtpmix_early", default=None)
current_progress: ContextVar[Progress | None] = ContextVar("rtpmix_progress", default=None)
