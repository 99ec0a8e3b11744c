"""The sockets of all legs of a `ProcessHost`: bound here, kept here, handed to the workers."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..errors import CapacityError
from . import worker_messages as say
from .media_io import Address
from .port_book import PortBook
from .socket_io import SocketIO

_log = logging.getLogger(__name__)


class HandedSockets:
    """A pair for each leg, or a place on a shared one.

    Parameters
    ----------
    address, ports, address_v6
        As for `SocketIO`.
    legs_per_port
        1: each leg has its own.
    """

    def __init__(
        self, address: str, ports: range, address_v6: str | None, legs_per_port: int
    ) -> None:
        self._plain = SocketIO(address, ports, address_v6)
        self._book = PortBook(self._plain, legs_per_port)
        self._shares = legs_per_port > 1
        self._named: dict[int, Address] = {}  # where a leg's peer was before it was connected

    def reserve(
        self, leg: int, worker: int, *, ipv6: bool = False, remote: Address | None = None
    ) -> Address:
        """Bind a pair, or put the leg on one that this worker reads; see `MediaIO.reserve`."""
        if self._shares and remote is not None and not ipv6:
            address = self._book.reserve(leg, worker, remote)
            if address is not None:
                self._named[leg] = remote
                return address
        return self._plain.reserve(leg, ipv6=ipv6)

    def hand_over(
        self, leg: int, fresh: bool, moved: bool
    ) -> tuple[say.Adopt | say.Share, tuple[int, int]] | None:
        """Return what to tell a worker that gets a leg, with the descriptors for it."""
        place = self._book.place(leg)
        if place is not None and not moved:
            return say.Share(leg, place.number, self._named[leg]), (place.rtp, place.rtcp)
        if place is not None:
            try:
                return say.Adopt(leg, fresh), self._book.part(leg)
            except CapacityError as error:
                _log.error("a leg that moved is deaf: %s", error)  # its media time-out tells
                return None
        own = self._book.descriptors(leg) or self._plain.descriptors(leg)
        return (say.Adopt(leg, fresh), own) if own is not None else None

    def connect(self, message: say.Connect) -> say.Connect:
        """Note where a leg's peer is; return what its worker may be told of it."""
        if not self._book.holds(message.leg):
            return message
        # On a shared port nothing is learned: packets from elsewhere are others'.
        message = replace(message, terms=None)
        if message.remote is not None:
            # With both on one port nobody else's RTCP comes from where this one's RTP does.
            rtcp = message.remote if message.rtcp_mux else message.remote_rtcp
            if not self._book.connect(message.leg, message.remote, rtcp):
                return replace(message, remote=None, remote_rtcp=None)
        return message

    def release(self, leg: int) -> None:
        """Close a leg's sockets, or give its place back; an unknown leg is no error."""
        self._named.pop(leg, None)
        self._book.release(leg)
        self._plain.release(leg)

    def close(self) -> None:
        """Close everything."""
        for leg in list(self._named):
            self.release(leg)
        self._plain.close()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what is shared, if anything may be."""
        return {"shared_ports": self._book.counts()} if self._shares else {}
