"""What two programs tell each other with a call: User-to-User.

References
----------
RFC 7433; RFC 7434 (the ISDN package, which is meant where no purpose is named)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import SipParseError, UsageError
from .grammar import find_parameter, is_token, parse_parameters, quote, split_commas, unquote
from .headers import Headers

Header = tuple[str, str]

MAX_OCTETS = 1024  # that we send in one; an ISDN behind the peer takes 128 (RFC 7434 section 4)
_MOST = 16  # that are read of one message
_LONGEST = 4096  # characters of one


@dataclass(frozen=True, slots=True)
class UserToUser:
    """Octets that travel with a call, for the program at the other end.

    Parameters
    ----------
    data
        At most 1024 octets; an ISDN on the way takes 128.
    purpose
        The package that they belong to; None for ISDN's.
    content
        What they are, as the package names it.
    encoding
        "hex", or None: then ``data`` is text that stands in the header as it is.
    """

    data: bytes
    purpose: str | None = None
    content: str | None = None
    encoding: str | None = "hex"

    def __post_init__(self) -> None:
        if len(self.data) > MAX_OCTETS:
            raise UsageError(f"User-to-User has {len(self.data)} octets: {MAX_OCTETS} at most")
        for value in (self.purpose, self.content, self.encoding):
            if value is not None and not is_token(value):
                raise UsageError(f"{value!r} is not a token: User-to-User can't carry it")
        if self.encoding != "hex" and not _is_text(self.data):
            raise UsageError(
                "User-to-User without an encoding is printable text: use encoding='hex'"
            )

    def __str__(self) -> str:
        if self.encoding == "hex":
            text = self.data.hex() or '""'
        else:
            plain = self.data.decode()
            text = plain if is_token(plain) else quote(plain)
        given = (("purpose", self.purpose), ("content", self.content), ("encoding", self.encoding))
        return text + "".join(f";{name}={value}" for name, value in given if value is not None)

    @classmethod
    def parse(cls, text: str) -> UserToUser:
        """Read one value.

        Raises
        ------
        SipParseError
            It is malformed, or too long.
        """
        if len(text) > _LONGEST:
            raise SipParseError("a User-to-User is too long", status_hint=400)
        head, rest = _split(text)
        try:
            parameters = parse_parameters(rest)
            encoding = find_parameter(parameters, "encoding")
            data = bytes.fromhex(head) if (encoding or "").lower() == "hex" else head.encode()
            return cls(
                data,
                find_parameter(parameters, "purpose"),
                find_parameter(parameters, "content"),
                "hex" if (encoding or "").lower() == "hex" else encoding,
            )
        except (ValueError, UnicodeEncodeError) as error:  # UsageError is a ValueError
            raise SipParseError("a User-to-User is malformed", status_hint=400) from error


def read_user_to_user(headers: Headers) -> tuple[UserToUser, ...]:
    """Return what a message carries; what is malformed is left out (RFC 7433 section 4.1)."""
    found = []
    values = [item for line in headers.lines("User-to-User")[:_MOST] for item in split_commas(line)]
    for value in values[:_MOST]:
        try:
            found.append(UserToUser.parse(value))
        except SipParseError:
            continue
    return tuple(found)


def user_to_user_headers(
    given: UserToUser | Iterable[UserToUser] | None,
) -> tuple[Header, ...]:
    """Return the headers that carry it."""
    if given is None:
        return ()
    each = (given,) if isinstance(given, UserToUser) else tuple(given)
    if len(each) > _MOST:
        raise UsageError(f"a message carries at most {_MOST} User-to-User")
    return tuple(("User-to-User", str(one)) for one in each)


def _split(text: str) -> tuple[str, str]:
    """Return the data, without its quotes, and the parameters after it."""
    if not text.startswith('"'):
        head, semicolon, rest = text.partition(";")
        head = head.strip(" \t")
        if not is_token(head):
            raise SipParseError("a User-to-User has no data", status_hint=400)
        return head, semicolon + rest
    end, escaped = 1, False
    while end < len(text) and (escaped or text[end] != '"'):
        escaped = not escaped and text[end] == "\\"
        end += 1
    if end >= len(text):
        raise SipParseError("a User-to-User is not closed", status_hint=400)
    return unquote(text[: end + 1]), text[end + 1 :]


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False
