"""The lexical ground of RFC 3261 section 25: tokens, quoted strings, hosts, parameters, lists.

Text here is a decoded message head: UTF-8, with bytes that are not UTF-8 kept as lone surrogates
(`surrogateescape`), so that encoding gives back what came.

Time to match is linear in the text, whatever a peer sends: in every regular expression here a
repeated character set is possessive (``*+``, ``++``, ``?+``) and gives nothing back, and what a
group repeats is decided by its first character. Groups themselves are not possessive, because
Python before 3.11.5 matches such groups wrongly (cpython issue 106052).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from ..errors import SipParseError

ENCODING_ERRORS = "surrogateescape"

TOKEN_CHARACTERS = r"A-Za-z0-9\-.!%*_+`'~"
ALPHANUMERIC = "A-Za-z0-9"
UNRESERVED = r"A-Za-z0-9\-_.!~*'()"

# Inside quotes: anything but a bare quote, backslash or line end; a backslash escapes one more
# character (quoted-pair). NUL may only come as a quoted-pair.
QUOTED_STRING = r'"[^"\\\x00\r\n]*+(?:\\[^\r\n][^"\\\x00\r\n]*+)*"'
# An underscore is not in RFC 3261's hostname but is in many real ones.
HOST = rf"\[[0-9A-Fa-f:.]++\]|[{ALPHANUMERIC}_][{ALPHANUMERIC}_.\-]*+"

PORT = "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|0?[0-9]{1,4}"

# A host that ends in something else is no address, and any such name is good.
ADDRESS_ENDS = "]0123456789."

_TOKEN = re.compile(rf"[{TOKEN_CHARACTERS}]++")
_HOST = re.compile(HOST)
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])"
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}")
# word of RFC 3261, twice with an @ between: the shape of a Call-ID.
_WORD = TOKEN_CHARACTERS + r"()<>:\\\"/\[\]?{}"
_CALL_ID = re.compile(rf"[{_WORD}]++(?:@[{_WORD}]++)?")
# generic-param. The value also takes the characters of an IPv6 reference, and a bare IPv6
# address, which Via's received parameter is by grammar (RFC 5118 section 4.5).
_PARAMETER_NAME = rf"[ \t]*+;[ \t]*+([{TOKEN_CHARACTERS}]++)"
_PARAMETER_VALUE = rf"[ \t]*+=[ \t]*+([{TOKEN_CHARACTERS}\[\]:]++|{QUOTED_STRING})"
_EACH_PARAMETER = re.compile(rf"{_PARAMETER_NAME}(?:{_PARAMETER_VALUE})?")
# Any number of them, without groups, for use within other expressions.
PARAMETERS = (
    rf"(?:[ \t]*+;[ \t]*+[{TOKEN_CHARACTERS}]++"
    rf"(?:[ \t]*+=[ \t]*+(?:[{TOKEN_CHARACTERS}\[\]:]++|{QUOTED_STRING}))?)*"
)
_PARAMETERS = re.compile(rf"{PARAMETERS}[ \t]*+")
_LIST_ITEM = re.compile(rf'(?:[^,"<]++|{QUOTED_STRING}|<[^>]*+>)*')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NOT_DISPLAYABLE = re.compile("[\x00\r\n]")

Parameters = tuple[tuple[str, str | None], ...]


def is_token(text: str) -> bool:
    """Say whether `text` is a token (RFC 3261 section 25.1)."""
    return _TOKEN.fullmatch(text) is not None


def is_call_id(text: str) -> bool:
    """Say whether `text` is a callid: word [ "@" word ]."""
    return _CALL_ID.fullmatch(text) is not None


def parse_number(text: str, *, maximum: int, what: str) -> int:
    """Read 1*DIGIT; `SipParseError` for anything else, or above `maximum`."""
    # str.isdigit alone would take digits of other scripts.
    if not (text.isdigit() and text.isascii()) or len(text) > 64:
        raise SipParseError(f"{what} is not a number", status_hint=400)
    number = int(text)
    if number > maximum:
        raise SipParseError(f"{what} is above {maximum}", status_hint=400)
    return number


def parse_host(text: str) -> str:
    """Check a host and return it, an IPv6 reference without its brackets.

    A name whose last label is all digits must be an IPv4 address.

    References
    ----------
    RFC 3261 section 25.1 (host); RFC 5118 section 4.1
    """
    if _HOST.fullmatch(text) is None:
        raise SipParseError("a host is malformed", status_hint=400)
    return check_host(text)


def check_host(text: str) -> str:
    """Do what `parse_host` does for text that already matched `HOST`."""
    if text[-1] not in ADDRESS_ENDS:
        return text
    if text[0] == "[":
        address = text[1:-1]
        if ":::" in address and "." in address:
            # A bug in RFC 3261's grammar puts a colon too many before an embedded IPv4 address;
            # RFC 5118 section 4.10 has us take it.
            address = address.replace(":::", "::", 1)
        try:
            IPv6Address(address)
        except ValueError as error:
            raise SipParseError("an IPv6 reference is malformed", status_hint=400) from error
        return address
    last = text.rpartition(".")[2] if text[-1] != "." else text[:-1].rpartition(".")[2]
    if last.isdigit() and _IPV4.fullmatch(text) is None:
        raise SipParseError("an IPv4 address is malformed", status_hint=400)
    return text


def format_host(host: str) -> str:
    """Put the brackets back around an IPv6 address."""
    return f"[{host}]" if ":" in host else host


def quote(text: str) -> str:
    """Make a quoted-string. NUL, CR and LF, which could break a message, are left out."""
    text = _NOT_DISPLAYABLE.sub("", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """Undo `quote`; text that is not a quoted-string comes back unchanged."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def split_commas(value: str) -> list[str]:
    """Split a list at its commas, but not inside quotes or angle brackets; items are stripped.

    Empty items are kept: whether a header allows them is for its reader to say. Never raises:
    from a quote or an angle bracket that is not closed on, all is one item, which its reader
    will refuse.
    """
    if "," not in value:
        return [value.strip(" \t")]
    if '"' not in value and "<" not in value:
        return [item.strip(" \t") for item in value.split(",")]
    items = []
    position = 0
    while True:
        match = _LIST_ITEM.match(value, position)
        end = match.end() if match else position
        if end < len(value) and value[end] != ",":
            end = len(value)
        items.append(value[position:end].strip(" \t"))
        if end == len(value):
            return items
        position = end + 1


def parse_parameters(text: str) -> Parameters:
    """Read ``;name=value`` pairs: names in lower case, values as written (quotes kept).

    Where a name comes twice, which RFC 3261 section 7.3.1 forbids, the first counts.

    References
    ----------
    RFC 3261 section 25.1 (generic-param)
    """
    if not text:
        return ()
    if _PARAMETERS.fullmatch(text) is None:
        raise SipParseError("header parameters are malformed", status_hint=400)
    return split_parameters(text)


def split_parameters(text: str) -> Parameters:
    """Do what `parse_parameters` does for text that already matched `PARAMETERS`."""
    pairs: dict[str, str | None] = {}
    if '"' in text or " " in text or "\t" in text:
        for name, value in _EACH_PARAMETER.findall(text):
            pairs.setdefault(name.lower(), value or None)
    else:
        for item in text[1:].split(";"):
            name, _, value = item.partition("=")
            pairs.setdefault(name.lower(), value or None)
    return tuple(pairs.items())


def find_parameter(parameters: Parameters, name: str) -> str | None:
    """Return the unquoted value of a parameter; "" where it has none, None where it is absent."""
    for key, value in parameters:
        if key == name:
            return "" if value is None else unquote(value)
    return None


def format_parameters(parameters: Parameters) -> str:
    """Write ``;name=value`` pairs as `parse_parameters` reads them."""
    return "".join(
        [f";{name}" if value is None else f";{name}={value}" for name, value in parameters]
    )
