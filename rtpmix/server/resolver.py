"""DNS for names that a program or its configuration gives; names out of messages never get here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from ..sip.locating import Hop, Naptr, Penalties, Question, Srv, locate
from ..sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

logger = logging.getLogger(__name__)

LOOKUP_S = 3.0  # for one question, all name servers and repetitions together
CACHED = 1000  # answers, each for as long as its own time to live


class Resolver(Protocol):
    """What is asked; each returns an empty sequence where there is nothing, and never raises."""

    async def naptr(self, name: str) -> Sequence[Naptr]:
        """Return a domain's NAPTR records."""

    async def srv(self, name: str) -> Sequence[Srv]:
        """Return the SRV records of a service."""

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a host, those of IPv6 first."""


class DnsResolver:
    """The system's name servers, by dnspython; and for hosts that they don't know, the system
    itself with its hosts file."""

    def __init__(self) -> None:
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def naptr(self, name: str) -> Sequence[Naptr]:
        """Return a domain's NAPTR records."""
        return [
            Naptr(
                one.order,
                one.preference,
                one.flags.decode("ascii", "replace"),
                one.service.decode("ascii", "replace"),
                one.replacement.to_text(omit_final_dot=True),
            )
            for one in await self._ask(name, dns.rdatatype.NAPTR)
        ]

    async def srv(self, name: str) -> Sequence[Srv]:
        """Return the SRV records of a service."""
        return [
            Srv(one.priority, one.weight, one.port, one.target.to_text(omit_final_dot=True))
            for one in await self._ask(name, dns.rdatatype.SRV)
        ]

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a host, those of IPv6 first."""
        records = await asyncio.gather(
            self._ask(name, dns.rdatatype.AAAA), self._ask(name, dns.rdatatype.A)
        )
        found = [str(one.address) for answer in records for one in answer]
        return found or await self._of_the_system(name)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
        if "." not in name.rstrip(".") or name.lower().endswith((".local", ".localhost")):
            return []  # what no name server should be asked (RFC 6761, RFC 6762)
        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver()
                self._resolver.cache = dns.resolver.LRUCache(CACHED)
            answer = await self._resolver.resolve(
                name, kind, search=False, lifetime=LOOKUP_S, raise_on_no_answer=False
            )
        except (dns.exception.DNSException, OSError, ValueError) as exc:
            logger.debug("no answer from DNS: %r", exc)
            return []
        return list(answer.rrset or ())

    @staticmethod
    async def _of_the_system(name: str) -> list[str]:
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await asyncio.get_running_loop().getaddrinfo(name, 0)
        except (OSError, TimeoutError, UnicodeError):
            return []
        return list(dict.fromkeys(str(one[4][0]) for one in found))


class Locator:
    """Finds servers, and remembers which of them failed.

    Parameters
    ----------
    random
        For the choice among SRV records of one priority.
    """

    def __init__(self, resolver: Resolver, random: Random) -> None:
        self._resolver = resolver
        self._random = random
        self.penalties = Penalties()

    async def find(
        self, uri: SipUri, reachable: Sequence[tuple[str, bool]], now: float
    ) -> list[Hop]:
        """Return the servers for a URI, the best first.

        Parameters
        ----------
        reachable
            What we can send by: transport, and whether over IPv6.
        """
        transports = list(dict.fromkeys(transport for transport, _ in reachable))
        locating = locate(uri, transports, self._random)
        try:
            question = next(locating)
            while True:
                question = locating.send(await self._ask(question))
        except StopIteration as done:
            hops: list[Hop] = done.value
        # A literal that can't be reached is kept, for the error that says which listener to add.
        fitting = [hop for hop in hops if (hop.transport, ":" in hop.address[0]) in reachable]
        return self.penalties.order(fitting or hops[:1], now)

    async def _ask(self, question: Question) -> Sequence[Naptr | Srv | str]:
        if question.kind == "NAPTR":
            return await self._resolver.naptr(question.name)
        if question.kind == "SRV":
            return await self._resolver.srv(question.name)
        return await self._resolver.addresses(question.name)
