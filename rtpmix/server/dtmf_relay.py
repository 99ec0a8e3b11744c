"""Keys that come in an INFO, as many phones send them: ``application/dtmf-relay``."""

from __future__ import annotations

from ..sip.message import Request


def relayed_digit(request: Request) -> tuple[str, int] | None:
    """Return the key and its milliseconds from an ``application/dtmf-relay`` body, or None."""
    if (request.content_type or "").split(";")[0].strip().lower() != "application/dtmf-relay":
        return None
    fields = {}
    for line in request.body[:512].decode("ascii", "replace").splitlines():
        name, _, value = line.partition("=")
        fields[name.strip().lower()] = value.strip()
    digit = fields.get("signal", "").upper()
    if len(digit) != 1 or digit not in "0123456789*#ABCD":
        return None
    duration = fields.get("duration", "")
    return digit, int(duration) if duration.isdecimal() and len(duration) < 6 else 160
