"""What a program says of a trunk: another PBX, or a provider, that this server registers with."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import SipParseError, UsageError
from .sip.uri import SipUri, parse_uri


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One trunk of `Config.trunks`.

    Parameters
    ----------
    name
        For `Server.invite(trunk=...)` and events.
    registrars
        SIP URIs of its servers, the preferred one first: ``"sip:sbc1.example.net"``, with
        ``;transport=tcp`` and a port where they need one. The next is tried when one fails, for
        registrations as for calls.
    user, password
        What the provider gave; the user stands in From and Contact.
    domain
        Of the address of record; by default the first registrar's host.
    expires
        Seconds to register for; the provider may give less.
    register
        False for a trunk that knows this server by its address.
    """

    name: str
    registrars: tuple[str, ...]
    user: str
    password: str = field(default="", repr=False)
    domain: str | None = None
    expires: int = 3600
    register: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.registrars, str) or not self.registrars:
            raise UsageError(f"trunk {self.name!r}: registrars is a tuple of one SIP URI or more")
        for text in self.registrars:
            self._parsed(text)
        if not self.name or not self.user:
            raise UsageError("a trunk needs a name and a user")
        if not 60 <= self.expires <= 86_400:
            raise UsageError(f"trunk {self.name!r}: expires is 60 to 86400 seconds")
        self._parsed(self.address)

    @property
    def host(self) -> str:
        """The domain of its addresses of record."""
        return self.domain or self._parsed(self.registrars[0]).host

    @property
    def address(self) -> str:
        """This server's address of record there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{self.user}@{host}"

    def target(self, called: str) -> str:
        """Return the URI to call: a number or name becomes one of the trunk's domain."""
        if called.startswith(("sip:", "sips:")):
            return called
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{called}@{host}"

    def _parsed(self, text: str) -> SipUri:
        try:
            uri = parse_uri(text)
        except SipParseError as exc:
            raise UsageError(f"trunk {self.name!r}: {text!r} is not a SIP URI ({exc})") from exc
        if not isinstance(uri, SipUri):
            raise UsageError(f"trunk {self.name!r}: {text!r} is not a SIP URI")
        return uri
