"""The ordered map of a message's headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import SipParseError, UsageError
from .grammar import is_token, parse_parameters, split_commas
from .header_names import KNOWN_NAMES, LIST_HEADERS, canonical_name
from .header_values import CSeq, NameAddr, Via

__all__ = [
    "CSeq",
    "Headers",
    "NameAddr",
    "Via",
    "canonical_name",
    "parse_parameters",
    "split_commas",
]

T = TypeVar("T")

_LINE_BREAKING = re.compile("[\r\n\x00]")

# Lines that a phone says in every message. Both bounds together keep what strangers can make us
# remember small.
_REPEATED = frozenset(
    (
        *("Accept", "Allow", "Allow-Events", "Content-Length", "Content-Type", "Max-Forwards"),
        *("Min-SE", "P-Asserted-Identity", "Record-Route", "Require", "Route", "Server"),
        *("Session-Expires", "Supported", "User-Agent"),
    )
)
_REMEMBERED = 2048  # lines
_LONGEST_REMEMBERED = 160  # characters
_remembered: dict[str, tuple[str, str]] = {}  # the line as it came, and its name and value


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
        headers = cls.__new__(cls)
        table: dict[str, list[str]] = {}
        headers._values, headers._spelled, headers._parsed = table, {}, {}
        values: list[str] = []
        known, remembered = KNOWN_NAMES, _remembered
        for line in lines:
            if line in remembered:
                key, value = remembered[line]
            else:
                name, colon, value = line.partition(":")
                key = known.get(name, "")
                if not key or not colon:
                    if line[:1] in (" ", "\t") and values:
                        # A folded line goes on with the last value (RFC 3261 section 7.3.1).
                        values[-1] = (values[-1] + " " + line.strip(" \t")).strip(" \t")
                        continue
                    key = headers._received_name(name, colon)
                value = value.strip(" \t")
                if key in _REPEATED and len(line) <= _LONGEST_REMEMBERED:
                    if len(remembered) >= _REMEMBERED:
                        remembered.clear()
                    remembered[line] = key, value
            if key in table:
                values = table[key]
                values.append(value)
            else:
                values = table[key] = [value]
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

    def set_first(self, name: str, value: str, typed: Any = None) -> None:
        """Replace the first value (the first list item, such as the topmost Via).

        Parameters
        ----------
        typed
            What reading the whole header would give now, where the caller has it.
        """
        self.replace_first(self._check(name, value), value, typed)

    def replace_first(self, key: str, value: str, typed: Any = None) -> None:
        """Do what `set_first` does for a canonical name and a value that is known to be good."""
        values = self._values.get(key)
        if not values:
            self._values[key] = [value]
        else:
            others = split_commas(values[0])[1:] if key in LIST_HEADERS else []
            values[0] = ", ".join((value, *others))
        if typed is None:
            self._parsed.pop(key, None)
        else:
            self._parsed[key] = typed

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
        try:
            return self._parsed[key]  # type: ignore[no-any-return]
        except KeyError:
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
