"""What every host of an engine in this process does alike: hand commands and questions on."""

from __future__ import annotations

from typing import Any

from ..mixer.commands import Command, LegStats
from ..mixer.engine import Engine
from ..mixer.tap import BlockSink
from ..rtp.latching import Terms
from ..rtp.srtp import StreamKeys
from .dtls import DtlsTerms
from .media_io import Address, LearningIO
from .media_loop import MediaLoop


class EngineHost:
    """The half of a `MediaHost` that does not depend on who makes the engine beat."""

    def __init__(self, engine: Engine, io: LearningIO) -> None:
        self._engine = engine
        self._media = MediaLoop(engine, io)

    @property
    def writer(self) -> BlockSink | None:
        """Gets every block of recorded frames, on the media thread."""
        return self._media.writer

    @writer.setter
    def writer(self, sink: BlockSink | None) -> None:
        self._media.writer = sink

    async def reserve(
        self, leg: int, *, ipv6: bool = False, remote: Address | None = None
    ) -> Address:
        """Bind a port pair; see `MediaHost.reserve`."""
        return self._media.io.reserve(leg, ipv6=ipv6, remote=remote)

    def connect(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        terms: Terms | None = None,
    ) -> None:
        """Name a leg's peer; see `MediaHost.connect`."""
        self._media.connect(leg, remote, remote_rtcp, rtcp_mux, terms)

    def secure(self, leg: int, keys: StreamKeys | DtlsTerms | None) -> None:
        """Give a leg its keys; see `MediaHost.secure`."""
        self._media.secure(leg, keys)

    def release(self, leg: int) -> None:
        """Give a leg's ports back; see `MediaHost.release`."""
        self._media.release(leg)

    def submit(self, command: Command) -> None:
        """Hand a command to the engine; see `MediaHost.submit`."""
        self._media.submit(command)

    @property
    def sample(self) -> int:
        """The media clock; see `MediaHost.sample`."""
        return self._engine.sample

    def leg_stats(self, leg: int) -> LegStats | None:
        """Return a leg's counters; see `MediaHost.leg_stats`."""
        return self._engine.leg_stats(leg)

    def beat_counts(self) -> tuple[int, int]:
        """Return the beats, and the late ones; see `MediaHost.beat_counts`."""
        return self._media.beats, self._media.late_beats

    def snapshot(self) -> dict[str, Any]:
        """Return counts; see `MediaHost.snapshot`."""
        return self._media.snapshot()
