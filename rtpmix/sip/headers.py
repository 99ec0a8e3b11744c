"""Header fields: the ordered map of a message's headers, and the typed values of some."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from ..errors import SipParseError, UsageError
from .grammar import (
    HOST,
    PARAMETERS,
    QUOTED_STRING,
    TOKEN_CHARACTERS,
    Parameters,
    check_host,
    find_parameter,
    format_host,
    format_parameters,
    is_token,
    parse_number,
    parse_parameters,
    quote,
    split_commas,
    split_parameters,
    unquote,
)
from .header_names import KNOWN_NAMES, LIST_HEADERS, canonical_name
from .uri import OpaqueUri, SipUri, parse_uri

__all__ = [
    "CSeq",
    "Headers",
    "NameAddr",
    "Via",
    "canonical_name",
    "parse_name_addr_list",
    "parse_parameters",
    "parse_via_list",
    "split_commas",
]

T = TypeVar("T")

_LINE_BREAKING = re.compile("[\r\n\x00]")


class Headers:
    """The headers of one message: an ordered map from name to values, in any case or compact form.

    Values are kept as they came, unfolded and stripped; bytes that are not UTF-8 are lone
    surrogates (`surrogateescape`). The order of values under one name is kept, and names
    come in the order of their first line: RFC 3261 section 7.3.1 gives no meaning to more.
    """

    __slots__ = ("_parsed", "_spelled", "_values")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        self._spelled: dict[str, str] = {}  # how an unknown name was first written
        self._parsed: dict[str, Any] = {}  # typed values, kept until the header changes
        for name, value in items:
            self.add(name, value)

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> Headers:
        """Read received header lines, folded or not; `SipParseError` (400) for a bad one."""
        headers = cls()
        table = headers._values
        values: list[str] = []
        for line in lines:
            name, colon, value = line.partition(":")
            key = KNOWN_NAMES.get(name)
            if key is None or not colon:
                if line[:1] in (" ", "\t") and values:
                    # A folded line goes on with the last value (RFC 3261 section 7.3.1).
                    values[-1] = (values[-1] + " " + line.strip(" \t")).strip(" \t")
                    continue
                key = headers._received_name(name, colon)
            if key in table:
                values = table[key]
                values.append(value.strip(" \t"))
            else:
                values = table[key] = [value.strip(" \t")]
        return headers

    def get(self, name: str) -> str | None:
        """Return the value of the first line of that name, a comma list unsplit."""
        values = self._values.get(canonical_name(name))
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Return all values: one a line, and lists split where the header is a list.

        Empty list items are left out. Never raises.
        """
        name = canonical_name(name)
        values = self._values.get(name)
        if values is None:
            return []
        if name not in LIST_HEADERS:
            return list(values)
        return [item for value in values for item in split_commas(value) if item]

    def lines(self, name: str) -> list[str]:
        """Return the values line by line, lists unsplit."""
        return list(self._values.get(canonical_name(name), ()))

    def add(self, name: str, value: str) -> None:
        """Append one header line; `UsageError` for what could break the message."""
        key = self._check(name, value)
        self._values.setdefault(key, []).append(value)
        self._parsed.pop(key, None)

    def set(self, name: str, value: str) -> None:
        """Replace all lines of that name by one, in place."""
        key = self._check(name, value)
        self._values[key] = [value]
        self._parsed.pop(key, None)

    def set_first(self, name: str, value: str) -> None:
        """Replace the first value (the first list item, such as the topmost Via)."""
        key = self._check(name, value)
        values = self._values.get(key)
        if not values:
            self._values[key] = [value]
        else:
            others = split_commas(values[0])[1:] if key in LIST_HEADERS else []
            values[0] = ", ".join((value, *others))
        self._parsed.pop(key, None)

    def copy_lines(self, other: Headers, name: str) -> None:
        """Take over all lines of that name from received headers, as they are."""
        key = canonical_name(name)
        values = other._values.get(key)
        if values:
            self._values[key] = list(values)
            self._parsed.pop(key, None)

    def append_to_value(self, name: str, text: str) -> None:
        """Lengthen the first value by checked text; nothing where the header is absent."""
        key = canonical_name(name)
        values = self._values.get(key)
        if values:
            values[0] += text
            self._parsed.pop(key, None)

    def remove(self, name: str) -> None:
        """Drop all lines of that name, if there are any."""
        key = canonical_name(name)
        self._values.pop(key, None)
        self._spelled.pop(key, None)
        self._parsed.pop(key, None)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield (name, value) of every line; known names in their RFC spelling."""
        for key, values in self._values.items():
            name = self._spelled.get(key, key)
            for value in values:
                yield name, value

    def typed(self, key: str, read: Callable[[Sequence[str]], T]) -> T:
        """Return `read` of the lines under a canonical name; read once until they change."""
        if key in self._parsed:
            return self._parsed[key]  # type: ignore[no-any-return]
        value = self._parsed[key] = read(self._values.get(key, ()))
        return value

    def read_typed(
        self,
        mandatory: Iterable[tuple[str, Callable[[Sequence[str]], Any]]],
        optional: Iterable[tuple[str, Callable[[Sequence[str]], Any]]],
    ) -> None:
        """Read many headers as `typed` does, those of `optional` only where they are there."""
        values, parsed = self._values, self._parsed
        for key, read in mandatory:
            parsed[key] = read(values.get(key, ()))
        for key, read in optional:
            if key in values:
                parsed[key] = read(values[key])

    def copy(self) -> Headers:
        """Return an independent copy."""
        other = Headers()
        other._values = {key: list(values) for key, values in self._values.items()}
        other._spelled = dict(self._spelled)
        return other

    def longest_value(self) -> int:
        """Return the length of the longest line's value."""
        return max((len(value) for values in self._values.values() for value in values), default=0)

    def __contains__(self, name: str) -> bool:
        return canonical_name(name) in self._values

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def __repr__(self) -> str:
        return f"Headers({list(self.items())!r})"

    def _received_name(self, name: str, colon: str) -> str:
        """Return the key for a name that is not in its usual spelling."""
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            raise SipParseError("a header line has no name", status_hint=400)
        key = canonical_name(name)
        if key not in KNOWN_NAMES:
            self._spelled.setdefault(key, name)
        return key

    def _check(self, name: str, value: str) -> str:
        """Refuse what would let a value write another header; return the name's key."""
        if not is_token(name):
            raise UsageError(f"{name!r} is not a header name: use a token of RFC 3261 section 25.1")
        if _LINE_BREAKING.search(value):
            raise UsageError(f"the value for {name} holds CR, LF or NUL: remove it")
        if not value.isascii():
            try:
                value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as error:
                raise UsageError(f"the value for {name} is not UTF-8 text") from error
        key = canonical_name(name)
        if key not in KNOWN_NAMES:
            self._spelled.setdefault(key, name)
        return key


_VIA = re.compile(
    rf"([{TOKEN_CHARACTERS}]++)[ \t]*+/[ \t]*+([{TOKEN_CHARACTERS}]++)[ \t]*+/[ \t]*+"
    rf"([{TOKEN_CHARACTERS}]++)[ \t]++({HOST})(?:[ \t]*+:[ \t]*+([0-9]{{1,5}}+))?+"
    rf"({PARAMETERS})[ \t]*+"
)


class Via(NamedTuple):
    """One hop that a request passed.

    Parameters
    ----------
    protocol
        "SIP/2.0".
    transport
        In upper case, such as "UDP".
    host, port
        The sent-by; an IPv6 host has no brackets here.
    parameters
        Names in lower case; values as written.

    References
    ----------
    RFC 3261 sections 20.42 and 18.2.1; RFC 3581
    """

    protocol: str
    transport: str
    host: str
    port: int | None = None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one via-parm."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise SipParseError("a Via is malformed", status_hint=400)
        name, version, transport, host, port, parameters = match.groups()
        return cls(
            f"{name}/{version}".upper(),
            transport.upper(),
            check_host(host),
            parse_number(port, maximum=65535, what="a Via port") if port else None,
            split_parameters(parameters) if parameters else (),
        )

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return (
            f"{self.protocol}/{self.transport} {format_host(self.host)}{port}"
            f"{format_parameters(self.parameters)}"
        )

    @property
    def branch(self) -> str | None:
        """The transaction's identifier."""
        return find_parameter(self.parameters, "branch")

    @property
    def received(self) -> str | None:
        """The source address that the next hop saw, IPv6 without brackets."""
        value = find_parameter(self.parameters, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> str | None:
        """None where absent, "" where asked for, else the source port (RFC 3581)."""
        return find_parameter(self.parameters, "rport")

    def with_parameter(self, name: str, value: str | None) -> Via:
        """Return a copy with one parameter set, in its old place if it had one."""
        return self._replace(parameters=_with_parameter(self.parameters, name, value))


# name-addr: a display name in quotes or of tokens, then <addr-spec>. Characters beyond ASCII
# are let through in an unquoted name: many telephones send them, and they are harmless.
_NAME_ADDR = re.compile(
    rf"(?:({QUOTED_STRING})[ \t]*+|([{TOKEN_CHARACTERS} \t\x80-\U0010ffff]*+))"
    rf"<([^<>\" \t]++)>({PARAMETERS})[ \t]*+"
)
# Without angle brackets the first semicolon ends the URI, which then has no parameters of its
# own, and may hold no comma or question mark (RFC 3261 section 20.10).
_ADDR_SPEC = re.compile(rf"([^<>\" \t;,?]++)({PARAMETERS})[ \t]*+")


class NameAddr(NamedTuple):
    """A party: the value of From, To, Contact, Route, Record-Route and their like.

    Parameters
    ----------
    display_name
        Without its quotes and escapes; None where there is none.
    parameters
        The header's parameters (not the URI's); names in lower case, values as written.

    References
    ----------
    RFC 3261 sections 20.10 and 25.1
    """

    display_name: str | None
    uri: SipUri | OpaqueUri
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read a name-addr or an addr-spec with its header parameters."""
        match = _NAME_ADDR.fullmatch(text)
        if match is not None:
            quoted, name, uri, parameters = match.groups()
            name = unquote(quoted) if quoted else name.strip(" \t") or None
        else:
            match = _ADDR_SPEC.fullmatch(text)
            if match is None:
                raise SipParseError("a name and address are malformed", status_hint=400)
            name = None
            uri, parameters = match.groups()
        return cls(name, parse_uri(uri), split_parameters(parameters) if parameters else ())

    def __str__(self) -> str:
        name = "" if self.display_name is None else f"{quote(self.display_name)} "
        return f"{name}<{self.uri}>{format_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        """The dialog's tag of this party."""
        return find_parameter(self.parameters, "tag")

    def parameter(self, name: str) -> str | None:
        """Return a header parameter unquoted; "" where it has no value, None where absent."""
        return find_parameter(self.parameters, name)

    def with_parameter(self, name: str, value: str | None) -> NameAddr:
        """Return a copy with one header parameter set."""
        return self._replace(parameters=_with_parameter(self.parameters, name, value))

    def with_tag(self, tag: str) -> NameAddr:
        """Return a copy with that tag."""
        return self.with_parameter("tag", tag)


_CSEQ = re.compile(rf"([0-9]++)[ \t]++([{TOKEN_CHARACTERS}]++)")


class CSeq(NamedTuple):
    """A request's number in its dialog, and its method (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read a CSeq; the number is below 2**31 (RFC 3261 section 8.1.1.5)."""
        match = _CSEQ.fullmatch(text)
        if match is None:
            raise SipParseError("the CSeq is malformed", status_hint=400)
        number, method = match.groups()
        return cls(parse_number(number, maximum=2**31 - 1, what="the CSeq"), method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_via_list(lines: Iterable[str]) -> list[Via]:
    """Read all Via values, topmost first."""
    return [Via.parse(item) for line in lines for item in split_commas(line)]


def parse_name_addr_list(lines: Iterable[str]) -> list[NameAddr]:
    """Read all values of Contact, Route and their like, in order."""
    return [NameAddr.parse(item) for line in lines for item in split_commas(line)]


def _with_parameter(parameters: Parameters, name: str, value: str | None) -> Parameters:
    changed = dict(parameters)
    changed[name] = value
    return tuple(changed.items())
