"""The typed values of header fields: Via, name-addr and CSeq.

Reading checks a value wholly but takes parameters apart only when one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..errors import SipParseError
from .grammar import (
    ADDRESS_ENDS,
    HOST,
    PARAMETERS,
    PORT,
    QUOTED_STRING,
    TOKEN_CHARACTERS,
    Parameters,
    check_host,
    find_parameter,
    format_host,
    format_parameters,
    parse_number,
    quote,
    split_commas,
    split_parameters,
    unquote,
)
from .uri import OpaqueUri, SipUri, parse_uri

_HOP = re.compile(  # a Via up to its first semicolon
    rf"([{TOKEN_CHARACTERS}]++[ \t]*+/[ \t]*+[{TOKEN_CHARACTERS}]++)[ \t]*+/[ \t]*+"
    rf"([{TOKEN_CHARACTERS}]++)[ \t]++({HOST})(?:[ \t]*+:[ \t]*+({PORT}))?[ \t]*+"
)
_PARAMETERS = re.compile(rf"{PARAMETERS}[ \t]*+")
# name-addr: a display name in quotes or of tokens, then <addr-spec>. Characters beyond ASCII
# are let through in an unquoted name: many telephones send them, and they are harmless.
_PARTY = (
    rf"(?:({QUOTED_STRING})[ \t]*+|([{TOKEN_CHARACTERS} \t\x80-\U0010ffff]*+))"
    r"<([^<>\" \t]++)"
)
_NAME_ADDR = re.compile(rf"{_PARTY}>({PARAMETERS})[ \t]*+")
_OPEN_PARTY = re.compile(_PARTY)  # up to the closing bracket
# Without angle brackets the first semicolon ends the URI, which then has no parameters of its
# own, and may hold no comma or question mark (RFC 3261 section 20.10).
_ADDR_SPEC = re.compile(rf"()()([^<>\" \t;,?]++)({PARAMETERS})[ \t]*+")
_CSEQ = re.compile(rf"([0-9]++)[ \t]++([{TOKEN_CHARACTERS}]++)")
# What nearly every message has, so that the one value that counts need not be searched for.
_USUAL_VIA = re.compile(
    rf"(?:;rport)?;branch=([{TOKEN_CHARACTERS}]++)(?:;received=[0-9.]++|;rport(?:=[0-9]++)?)*"
)
_USUAL_TAG = re.compile(rf";tag=([{TOKEN_CHARACTERS}]++)")

# The hops and the parties of one phone are the same in all of its messages. Both bounds together
# keep what strangers can make us remember small.
_REMEMBERED = 4096  # of each
_LONGEST_REMEMBERED = 128  # characters

MAX_SEQUENCE_NUMBER = 2**31 - 1  # RFC 3261 section 8.1.1.5


class _WithParameters:
    """A value that ends in ``;name=value`` pairs, split when first asked for."""

    __slots__ = ("_parameters",)
    _parameters: str | Parameters  # as read, or taken apart

    @property
    def parameters(self) -> Parameters:
        """Names in lower case, values as written (quotes kept), None where there is none."""
        parameters = self._parameters
        if isinstance(parameters, str):
            parameters = self._parameters = split_parameters(parameters) if parameters else ()
        return parameters

    def parameter(self, name: str) -> str | None:
        """Return a parameter unquoted; "" where it has no value, None where it is absent."""
        return find_parameter(self.parameters, name)


class Via(_WithParameters):
    """One hop that a request passed. Immutable.

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

    __slots__ = ("_branch", "host", "port", "protocol", "transport")

    def __init__(
        self,
        protocol: str,
        transport: str,
        host: str,
        port: int | None = None,
        parameters: Parameters | str = (),
    ) -> None:
        self.protocol = protocol
        self.transport = transport
        self.host = host
        self.port = port
        self._parameters = parameters
        self._branch: str | None = None  # where it has been read already

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one via-parm."""
        hop, semicolon, _ = text.partition(";")
        read = _remembered_hop if len(hop) <= _LONGEST_REMEMBERED else _read_hop
        self = cls.__new__(cls)
        self.protocol, self.transport, self.host, self.port = read(hop)
        self._parameters = parameters = text[len(hop) :] if semicolon else ""
        usual = _USUAL_VIA.fullmatch(parameters)
        self._branch = usual[1] if usual is not None else None
        if usual is None and parameters and _PARAMETERS.fullmatch(parameters) is None:
            raise SipParseError("a Via is malformed", status_hint=400)
        return self

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        parameters = self._parameters
        if self._branch is None or not isinstance(parameters, str):  # not as usual
            parameters = format_parameters(self.parameters)
        return f"{self.protocol}/{self.transport} {format_host(self.host)}{port}{parameters}"

    def __repr__(self) -> str:
        return f"<Via {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[object, ...]:
        return (self.protocol, self.transport, self.host, self.port, self.parameters)

    @property
    def branch(self) -> str | None:
        """The transaction's identifier."""
        return self._branch or find_parameter(self.parameters, "branch")

    @property
    def received(self) -> str | None:
        """The source address that the next hop saw, IPv6 without brackets."""
        value = find_parameter(self.parameters, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> str | None:
        """None where absent, "" where asked for, else the source port (RFC 3581)."""
        return find_parameter(self.parameters, "rport")

    def marked(self, host: str, port: int) -> Via | None:
        """Return a Via as `message.marked_via` makes it; None where that takes a closer look.

        This is for what nearly all clients write: a branch, and rport without a value or not at
        all.
        """
        text = self._parameters
        if self._branch is None or not isinstance(text, str) or ";received=" in text:
            return None
        if ";rport" not in text:
            return self if self.host == host else None
        if ";rport=" in text or text.count(";rport") > 1:
            return None
        text = f"{text.replace(';rport', f';rport={port}')};received={host}"
        via = Via(self.protocol, self.transport, self.host, self.port, text)
        via._branch = self._branch
        return via

    def with_parameter(self, name: str, value: str | None) -> Via:
        """Return a copy with one parameter set, in its old place if it had one."""
        parameters = _with_parameter(self.parameters, name, value)
        return Via(self.protocol, self.transport, self.host, self.port, parameters)


class NameAddr(_WithParameters):
    """A party: the value of From, To, Contact, Route, Record-Route and their like. Immutable.

    Parameters
    ----------
    display_name
        Without its quotes and escapes; None where there is none.
    uri
        The party's URI.
    parameters
        The header's parameters (not the URI's); names in lower case, values as written.

    References
    ----------
    RFC 3261 sections 20.10 and 25.1
    """

    __slots__ = ("_name", "_tag", "uri")
    _name: str | None  # a quoted name keeps its quotes until asked for
    uri: SipUri | OpaqueUri

    def __init__(
        self,
        display_name: str | None,
        uri: SipUri | OpaqueUri,
        parameters: Parameters = (),
    ) -> None:
        self._name = None if display_name is None else quote(display_name)
        self.uri = uri
        self._parameters = parameters
        self._tag: str | None = None  # where it has been read already

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read a name-addr or an addr-spec with its header parameters."""
        self = cls.__new__(cls)
        party, closing, parameters = text.partition(">")
        if closing and len(party) <= _LONGEST_REMEMBERED:
            known = _remembered_party(party)
            usual = _USUAL_TAG.fullmatch(parameters)
            self._tag = usual[1] if usual is not None else None
            if known is not None and (
                usual is not None or not parameters or _PARAMETERS.fullmatch(parameters)
            ):
                self._name, self.uri = known
                self._parameters = parameters
                return self
        match = _NAME_ADDR.fullmatch(text) or _ADDR_SPEC.fullmatch(text)
        if match is None:
            raise SipParseError("a name and address are malformed", status_hint=400)
        quoted, name, uri, parameters = match.groups()
        self._tag = None
        self._name = quoted or name or None
        self.uri = parse_uri(uri)
        self._parameters = parameters
        return self

    @property
    def display_name(self) -> str | None:
        """The name without its quotes and escapes; None where there is none."""
        name = self._name
        if name is None or name[0] == '"':
            return None if name is None else unquote(name)
        return name.strip(" \t") or None

    @property
    def tag(self) -> str | None:
        """The dialog's tag of this party."""
        return self._tag or find_parameter(self.parameters, "tag")

    def __str__(self) -> str:
        name = self.display_name
        shown = "" if name is None else f"{quote(name)} "
        return f"{shown}<{self.uri}>{format_parameters(self.parameters)}"

    def __repr__(self) -> str:
        return f"<NameAddr {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NameAddr) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[object, ...]:
        return (self.display_name, self.uri, self.parameters)

    def with_parameter(self, name: str, value: str | None) -> NameAddr:
        """Return a copy with one header parameter set."""
        parameters = _with_parameter(self.parameters, name, value)
        return NameAddr(self.display_name, self.uri, parameters)

    def with_tag(self, tag: str) -> NameAddr:
        """Return a copy with that tag."""
        return self.with_parameter("tag", tag)


def _read_hop(text: str) -> tuple[str, str, str, int | None]:
    match = _HOP.fullmatch(text)
    if match is None:
        raise SipParseError("a Via is malformed", status_hint=400)
    protocol, transport, host, port = match.groups()
    return (
        protocol if protocol == "SIP/2.0" else "".join(protocol.split()).upper(),
        transport.upper(),
        check_host(host) if host[-1] in ADDRESS_ENDS else host,
        int(port) if port else None,
    )


def _read_party(text: str) -> tuple[str | None, SipUri | OpaqueUri] | None:
    """Read a name-addr up to its closing bracket; None where that bracket is within quotes."""
    match = _OPEN_PARTY.fullmatch(text)
    if match is None:
        return None
    quoted, name, uri = match.groups()
    return quoted or name or None, parse_uri(uri)


_remembered_hop = lru_cache(maxsize=_REMEMBERED)(_read_hop)
_remembered_party = lru_cache(maxsize=_REMEMBERED)(_read_party)


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
        value = int(number) if len(number) < 10 else _long_sequence_number(number)
        return cls(value, method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def _long_sequence_number(digits: str) -> int:
    return parse_number(digits, maximum=MAX_SEQUENCE_NUMBER, what="the CSeq")


def parse_via_list(lines: Iterable[str]) -> list[Via]:
    """Read all Via values, topmost first."""
    vias = []
    for line in lines:
        if "," in line:
            vias += [Via.parse(item) for item in split_commas(line)]
        else:
            vias.append(Via.parse(line))
    return vias


def parse_name_addr_list(lines: Iterable[str]) -> list[NameAddr]:
    """Read all values of Contact, Route and their like, in order."""
    parties = []
    for line in lines:
        if "," in line:
            parties += [NameAddr.parse(item) for item in split_commas(line)]
        else:
            parties.append(NameAddr.parse(line))
    return parties


def _with_parameter(parameters: Parameters, name: str, value: str | None) -> Parameters:
    changed = dict(parameters)
    changed[name] = value
    return tuple(changed.items())
