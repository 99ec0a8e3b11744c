"""Datagrams for the media engine: the border, and real sockets behind it."""

from __future__ import annotations

from typing import Protocol

from ..mixer.boxes import Inbox, Outbox

Address = tuple[str, int]
NOWHERE: Address = ("0.0.0.0", 0)  # of RTCP: none is sent, and none is heard


class MediaIO(Protocol):
    """What a media host needs of a network. All calls but `reserve` are for the host's own thread.

    A leg's life: `reserve`, then `attach` and `connect` in either order, then `release`.
    Nothing is heard before a leg is both attached (its row is known) and connected (its one
    allowed source is known): what arrives earlier is thrown away.
    """

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind an even RTP port and the odd RTCP port above it, or share such a pair.

        Parameters
        ----------
        ipv6
            Of two addresses to bind, take the IPv6 one; with one address, take that.
        remote
            Where the peer has said that its RTP comes from; such legs may share a pair with
            others. None: not known yet.

        Raises
        ------
        CapacityError
            When the port range or the open files are used up.
        """

    def attach(self, leg: int, row: int) -> None:
        """From now on deliver what the leg's source sends as coming from this engine row."""

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Hear only this source and send only there; None: neither (hold with c=0.0.0.0)."""

    def release(self, leg: int) -> None:
        """Give the ports back; an unknown leg is no error."""

    def receive(self, inbox: Inbox) -> int:
        """Fill the inbox with at most one datagram a leg and kind; return how many.

        I/O that knows that nothing more waits clears ``inbox.more``.
        """

    def send(self, outbox: Outbox) -> list[int]:
        """Send everything in the outbox; return the rows whose send failed."""


class CheckingIO(MediaIO, Protocol):
    """A network that hears the checks of others than a leg's peer: see `checked_paths`."""

    def expect_checks(self, leg: int, on: bool) -> None:
        """Hear STUN at a leg's RTP port from others than its peer, too; `connect` has to follow."""

    def take_checks(self) -> list[tuple[int, bytes, Address]]:
        """Return such datagrams: leg, datagram, whence. A flood costs a bounded number of reads."""

    def answer_check(self, leg: int, answer: bytes, to: Address) -> None:
        """Send from a leg's RTP port to somebody who is not its peer."""

    def take_strays(self) -> tuple[int, int]:
        """Return, of the time since the last time, what expecting checks did not lead to.

        How many datagrams came so and were no STUN; how many legs could not expect any.
        """


class LearningIO(CheckingIO, Protocol):
    """A network that can hear a leg from more than one source, for those behind NAT."""

    @property
    def tells_time(self) -> bool:
        """Whether it fills in `Inbox.stamps`: then what nobody needs yet may wait in the kernel."""

    @property
    def sources(self) -> dict[int, Address]:
        """Inbox code to where the datagram came from, for ports that hear more than one source.

        Of what the last `receive` read; whoever reads it clears it.
        """

    def learn(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        *,
        hosts: frozenset[str],
        media: bool,
    ) -> None:
        """Like `connect`, but hear what these hosts send from any port, until connected again.

        Parameters
        ----------
        media
            False: so on the RTCP port alone. The RTP port hears its one source.
        """

    def take_refused(self) -> list[tuple[int, int]]:
        """Return (row, datagrams) that came from other hosts to legs that learn."""
