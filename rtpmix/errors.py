"""Errors, by whose fault it is.

::

    RtpmixError
    ├── UsageError (also a ValueError)   the caller's code: names the fact and the remedy
    ├── ProtocolError                    a peer's bytes; never leaves a receive path
    │   ├── SipParseError                  .status_hint: the SIP status that answers it
    │   ├── SdpError
    │   ├── RtpParseError
    │   └── SrtpError
    ├── CallFailed                       a call that could not be set up: .status .reason .target
    ├── CapacityError                    a limit of this server was reached: .limit
    ├── SupervisionRefused               a supervision command was refused; nothing changed
    └── RecordingError                   a capture that can't be written or read: .path
"""

from __future__ import annotations

from pathlib import Path


class RtpmixError(Exception):
    """Everything that rtpmix raises on purpose."""


class UsageError(RtpmixError, ValueError):
    """The calling program asked for something that cannot be; the text says what to do instead."""


class ProtocolError(RtpmixError):
    """A peer sent something wrong.

    Parameters
    ----------
    status_hint
        The SIP status code that would answer it, or None when it can't be answered.
    """

    def __init__(self, message: str, *, status_hint: int | None = None) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class SipParseError(ProtocolError):
    """A SIP message that RFC 3261 section 25 does not allow."""


class SdpError(ProtocolError):
    """A session description that RFC 8866 does not allow, or that can't be negotiated."""


class RtpParseError(ProtocolError):
    """An RTP or RTCP packet that RFC 3550 does not allow."""


class SrtpError(ProtocolError):
    """An SRTP packet that does not authenticate, or a key that can't be used."""


class CallFailed(RtpmixError):
    """A call that could not be set up.

    Attributes
    ----------
    status, reason, target
        Of the final response, and who was called.
    contacts
        Where a 3xx leads, the best first; not followed, or in vain.
    retry_after
        Seconds after which the peer wants to be asked again, or None.
    """

    def __init__(
        self,
        *,
        status: int,
        reason: str,
        target: str,
        contacts: tuple[str, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"call to {target} failed: {status} {reason}")
        self.status = status
        self.reason = reason
        self.target = target
        self.contacts = contacts
        self.retry_after = retry_after


class CapacityError(RtpmixError):
    """A limit of this server was reached."""

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class SupervisionRefused(RtpmixError):
    """A supervision command was refused; the matrix in force is unchanged."""

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class RecordingError(RtpmixError):
    """A capture that can't be written or read."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path
