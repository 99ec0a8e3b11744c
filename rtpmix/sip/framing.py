"""Cutting a byte stream into SIP messages (RFC 3261 section 18.3) and counting keep-alives."""

from __future__ import annotations

import re

from ..errors import SipParseError
from .message import MAX_MESSAGE

_FOLD = re.compile(rb"\r\n[ \t]++")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:([^\r\n]*+)", re.IGNORECASE)


class FramingError(SipParseError):
    """A stream in which the next message can't be found. Close the connection.

    Parameters
    ----------
    messages
        Whole messages that the same bytes held before the error.
    head
        What could be cut of the broken message; `parse_message` of it gives the answer to send
        before closing, if there is one. Empty where not even its head is there.
    """

    def __init__(self, message: str, *, messages: list[bytes], head: bytes) -> None:
        super().__init__(message, status_hint=400)
        self.messages = messages
        self.head = head


class StreamFramer:
    """Whole messages from one connection, however its bytes are cut.

    Holds at most `MAX_MESSAGE` bytes besides what one `feed` brings. After a `FramingError` it
    takes no more.

    Attributes
    ----------
    pings
        Double CRLFs between messages so far; each asks for a single CRLF back (RFC 5626
        section 4.4.1).
    messages
        Whole messages so far.
    """

    __slots__ = ("_broken", "_buffer", "_line_ends", "_searched", "messages", "pings")

    def __init__(self) -> None:
        self.pings = self.messages = 0
        self._buffer = bytearray()
        self._searched = 0  # no blank line begins before this place in the buffer
        self._line_ends = 0  # CRLFs since the last message
        self._broken = False

    @property
    def buffered(self) -> int:
        """Bytes of the message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the messages that they complete.

        Raises
        ------
        FramingError
            When a message is too long, or has no Content-Length, or one that is no number.

        References
        ----------
        RFC 3261 sections 7.5, 18.3 and 20.14
        """
        messages: list[bytes] = []
        if self._broken:
            raise FramingError("the stream is broken", messages=messages, head=b"")
        self._buffer += data
        while True:
            self._skip_line_ends()
            try:
                message = self._next_message()
            except SipParseError as error:
                head = bytes(self._buffer[:MAX_MESSAGE])
                self._broken = True
                self._buffer.clear()
                raise FramingError(str(error), messages=messages, head=head) from error
            if message is None:
                return messages
            messages.append(message)
            self.messages += 1

    def _skip_line_ends(self) -> None:
        """Drop CRLFs before a message; a pair of them is a keep-alive."""
        while self._buffer.startswith(b"\r\n"):
            count = 1
            while self._buffer.startswith(b"\r\n", 2 * count):
                count += 1
            del self._buffer[: 2 * count]
            self._line_ends += count
        if self._buffer and self._buffer != b"\r":
            self._count_pings()
            self._line_ends = 0
        else:
            self._count_pings()

    def _count_pings(self) -> None:
        self.pings += self._line_ends // 2
        self._line_ends %= 2

    def _next_message(self) -> bytes | None:
        buffer = self._buffer
        blank_line = buffer.find(b"\r\n\r\n", self._searched)
        if blank_line < 0:
            if len(buffer) > MAX_MESSAGE:
                raise SipParseError(f"no end of the headers within {MAX_MESSAGE} bytes")
            # The blank line may be cut between two reads.
            self._searched = max(0, len(buffer) - 3)
            return None
        self._searched = blank_line
        size = blank_line + 4 + _content_length(bytes(buffer[:blank_line]))
        if size > MAX_MESSAGE:
            raise SipParseError(f"a message is longer than {MAX_MESSAGE} bytes")
        if len(buffer) < size:
            return None
        message = bytes(buffer[:size])
        del buffer[:size]
        self._searched = 0
        return message


def _content_length(head: bytes) -> int:
    if b"\r\n " in head or b"\r\n\t" in head:
        head = _FOLD.sub(b" ", head)
    values = {value.strip(b" \t") for value in _CONTENT_LENGTH.findall(head)}
    if len(values) != 1:
        raise SipParseError("a message in a stream has not one Content-Length")
    value = values.pop()
    # bytes.isdigit knows ASCII digits only.
    if not value.isdigit() or len(value) > 10:
        raise SipParseError("Content-Length is not a number")
    return int(value)
