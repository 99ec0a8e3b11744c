"""Music for those who wait: a source in the bridge while a phone holds the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from ..events import Event, LegClosed, LegHeld
from .playing import Playback, load

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard


class HoldMusic:
    """Plays `Config.hold_music` to whoever a phone holds; supervisors hear none of it.

    Raises
    ------
    UsageError
        The file can't be played.
    """

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._pcm, self._rate_hz = b"", 0
        self._playing: dict[str, list[Playback]] = {}  # by the leg that holds
        self._holding: set[str] = set()
        music = board.config.hold_music
        if music is not None:
            self._pcm, self._rate_hz = load(music, None, board.config.codecs)
            board.bus.call(self._heard)

    def __len__(self) -> int:
        return len(self._playing)

    def _heard(self, event: Event) -> None:
        if isinstance(event, LegHeld):
            if event.held:
                self._holding.add(event.leg)
                self._board.spawn(self._start(event.leg))
            else:
                self._stop_soon(event.leg)
        elif isinstance(event, LegClosed) and event.leg in self._holding:
            self._stop_soon(event.leg)

    def _stop_soon(self, leg: str) -> None:
        self._holding.discard(leg)
        self._board.spawn(self._stop(leg))

    async def _start(self, name: str) -> None:
        leg = next((each for each in self._board.legs.values() if each.id == name), None)
        bridge = leg.bridge if leg is not None else None
        if leg is None or bridge is None or name in self._playing:
            return
        playing = self._playing[name] = []
        for other in bridge.speakers(without=leg):
            if not other.held:
                await self._play(other, playing)
        if name not in self._holding:  # resumed, or gone, meanwhile
            await self._stop(name)

    async def _play(self, leg: Leg, playing: list[Playback]) -> None:
        if leg.bridge is None:
            return
        try:
            music = leg.bridge.play(self._pcm, to=leg, loop=True, rate_hz=self._rate_hz)
            playing.append(await music)
        except UsageError:
            return  # it left the bridge meanwhile

    async def _stop(self, name: str) -> None:
        for playback in self._playing.pop(name, ()):
            await playback.stop()
