"""What carries media for a server: the border between the event loop and the engine.

`ThreadHost` runs the engine on its own thread with real sockets; `InlineHost` runs it on the event
loop, in virtual time if the loop's time is virtual. Both take the same commands at the same beats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..mixer.commands import Command, LegStats, MixerEvent
from ..mixer.tap import BlockSink
from ..rtp.latching import Terms
from ..rtp.srtp import StreamKeys
from .dtls import DtlsTerms
from .media_io import Address


class MediaHost(Protocol):
    """An engine with a network. All methods are for the event loop's thread.

    Commands of one caller take effect in the order of `submit`, `secure`, `connect` and `release`.

    Attributes
    ----------
    writer
        Gets every `TapBlock`, on the media thread; it must not block.
    """

    writer: BlockSink | None

    async def start(self, on_event: Callable[[MixerEvent], None]) -> None:
        """Begin to beat. Events come to ``on_event`` on the loop's thread, in order."""

    async def stop(self) -> None:
        """Close every leg, send RTCP BYE, end the thread. Events that are left are delivered."""

    async def reserve(
        self, leg: int, *, ipv6: bool = False, remote: Address | None = None
    ) -> Address:
        """Bind an even RTP port and the RTCP port above it for a leg that `OpenLeg` opens later.

        Parameters
        ----------
        ipv6
            The peer's media is on IPv6: of two addresses, take the one that reaches it.
        remote
            Where the peer has said that its RTP comes from: see `MediaIO.reserve`.

        Raises
        ------
        CapacityError
            When no port pair is left, or no open file.
        """

    def connect(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        terms: Terms | None = None,
    ) -> None:
        """Hear only this source, and send only there. None: neither, until told otherwise.

        Parameters
        ----------
        terms
            On which the peer may turn out to be elsewhere (`rtpmix.rtp.latching`); None: on none.
        """

    def secure(self, leg: int, keys: StreamKeys | DtlsTerms | None) -> None:
        """From now on send and hear a leg under these SRTP keys only; None: in the clear."""

    def release(self, leg: int) -> None:
        """Give a leg's ports back. `CloseLeg` does so too; releasing twice is no error."""

    def submit(self, command: Command) -> None:
        """Hand a command to the engine; it takes effect at a tick, or comes back refused."""

    @property
    def sample(self) -> int:
        """The media clock: samples at 8000 Hz since `start`."""

    def leg_stats(self, leg: int) -> LegStats | None:
        """Return a leg's counters; None when it isn't open."""

    def beat_counts(self) -> tuple[int, int]:
        """Return how many beats there were, and how many of them came late by a whole beat.

        Both are in `snapshot`, too; this is for those who look many times a second.
        """

    def snapshot(self) -> dict[str, Any]:
        """Return counts: legs, bridges, ticks, late ticks and their histogram, packets, errors."""
