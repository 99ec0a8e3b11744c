"""Why an offer, or an answer, can't be served: the 488 of SIP with its Warning."""

from __future__ import annotations

from ..errors import SdpError


class NegotiationError(SdpError):
    """Nothing in common: 488, with `warning` as its Warning header (RFC 3261 section 20.43)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}", status_hint=488)
        self.warning = f'{code} rtpmix "{text}"'


def warning_for(error: SdpError) -> str:
    """Return a Warning header's value that says why a description was refused."""
    if isinstance(error, NegotiationError):
        return error.warning
    text = str(error).replace("\\", "").replace('"', "")
    return f'399 rtpmix "{text}"'
