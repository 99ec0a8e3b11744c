"""What a test phone says, and what it can tell of what it heard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from .audio import Samples, level_db, tones_heard
from .phone_line import PhoneLine
from .phone_media import PhoneMedia, ReceivedPacket
from .phone_session import PhoneSession
from .voices import pcm_voice, read_clip, tone_voice


class PhoneSound:
    """The part of a `TonePhone` that concerns sound.

    What was heard is that of the call, or of the last one.

    Attributes
    ----------
    frequency
        The tone that it speaks, Hz.
    """

    user: str
    frequency: float
    _line: PhoneLine
    _session: PhoneSession | None
    _voice: Iterator[Samples]

    # --------------------------------------------------------------------------------- voice

    def speak_tone(self, frequency: float, *, level_db: float = -20.0, rate_hz: int = 8000) -> None:
        """Say another tone from now on, in this call and later ones; sampled at this rate."""
        self.frequency = frequency
        self._set_voice(tone_voice(frequency, level_db=level_db, rate_hz=rate_hz))

    def speak(self, clip: Samples | Path | str, *, loop: bool = False) -> None:
        """Say samples, or a sound file of 8000 Hz mono, from now on; silence after it."""
        pcm = read_clip(clip) if isinstance(clip, (Path, str)) else clip
        self._set_voice(pcm_voice(pcm, loop=loop))

    def be_silent(self, silent: bool = True) -> None:
        """Send silence instead of the voice, which goes on unheard."""
        self.media.silent = silent

    def stop_sending(self, stopped: bool = True) -> None:
        """Send no RTP at all, as a phone does whose cable was pulled; SIP goes on."""
        self.media.paused = stopped

    async def press(self, digits: str, *, duration_ms: int = 100, pause_ms: int = 100) -> None:
        """Press digits (RFC 4733) and return when all are said."""
        await asyncio.sleep(self.media.press(digits, duration_ms=duration_ms, pause_ms=pause_ms))

    def _set_voice(self, voice: Iterator[Samples]) -> None:
        self._voice = voice
        if self._session is not None:
            self._session.media.voice = voice

    # ------------------------------------------------------------------------- what was heard

    @property
    def media(self) -> PhoneMedia:
        """The RTP session of the call, or of the last one."""
        if self._session is None:
            raise UsageError(f"phone {self.user} has had no call yet")
        return self._session.media

    @property
    def received(self) -> list[ReceivedPacket]:
        """Every RTP packet of the call, or of the last one."""
        return self._session.media.received if self._session is not None else []

    @property
    def digits(self) -> str:
        """The digits that were pressed at the other side."""
        return "".join(each.digit for each in self.media.digits)

    def heard_pcm(
        self, since: float = 0.0, until: float = float("inf"), *, rate_hz: int = 8000
    ) -> Samples:
        """Return what was heard in a stretch of the loop's time, at 8000, 16000 or 48000 Hz."""
        return self.media.heard_pcm(since, until, rate_hz=rate_hz)

    def hears(
        self, *frequencies: float, seconds: float = 1.0, threshold_db: float = -50.0
    ) -> set[float]:
        """Return which of these tones were in the last seconds."""
        pcm = self.heard_pcm(self._line.now - seconds)
        return tones_heard(pcm, frequencies, threshold_db=threshold_db)

    def level_db(self, frequency: float, *, seconds: float = 1.0) -> float:
        """Return the level of a tone in the last seconds, in dBFS."""
        return level_db(self.heard_pcm(self._line.now - seconds), frequency)
