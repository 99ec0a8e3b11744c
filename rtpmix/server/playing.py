"""Sources: prompts, tones and files that talk in a bridge."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from ..audio.codecs import CODECS
from ..audio.resample import RATES_HZ, check_rate
from ..errors import UsageError
from ..mixer.commands import CloseSeat, OpenSource, Play

if TYPE_CHECKING:
    from .bridge import Bridge
    from .switchboard import Switchboard

RATE_HZ = 8000
MOST_SAMPLES = 3600 * RATE_HZ  # held in memory for one playback: 57 MB, an hour at 8000 Hz


def tone(hz: float, seconds: float, level_db: float = -20.0) -> bytes:
    """Return a sine with 10 ms raised-cosine edges, as int16 PCM at 8000 Hz.

    Parameters
    ----------
    level_db
        Peak, relative to full scale.
    """
    count = round(seconds * RATE_HZ)
    t = np.arange(count) / RATE_HZ
    edge = min(80, count // 2)
    shape = np.ones(count)
    shape[:edge] = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    shape[count - edge :] = shape[:edge][::-1]
    wave = 32767 * 10 ** (level_db / 20) * shape * np.sin(2 * np.pi * hz * t)
    return bytes(wave.round().astype("<i2").tobytes())


def silence(seconds: float) -> bytes:
    """Return silence as int16 PCM at 8000 Hz."""
    return bytes(2 * round(seconds * RATE_HZ))


def own_rate(audio: str | Path | bytes, most_hz: int) -> int:
    """Return the rate at which nothing of a file is lost, of those up to one; of PCM 8000 Hz."""
    if isinstance(audio, bytes) or most_hz == RATE_HZ:
        return RATE_HZ
    try:
        with soundfile.SoundFile(audio) as sound:
            there = sound.samplerate
    except (soundfile.LibsndfileError, OSError):
        there = most_hz  # something for PyAV, or nothing at all
    return min((rate for rate in RATES_HZ if rate >= min(there, most_hz)), default=most_hz)


def load(
    audio: str | Path | bytes, rate_hz: int | None, codecs: Sequence[str]
) -> tuple[bytes, int]:
    """Return PCM and its rate: the one that is asked for, or the best that some codec bears."""
    if rate_hz is None:
        return load_own(audio, max(CODECS[name].rate_hz for name in codecs))
    check_rate("rate_hz", rate_hz)
    return load_pcm(audio, rate_hz), rate_hz


def load_own(audio: str | Path | bytes, most_hz: int) -> tuple[bytes, int]:
    """Return PCM at the file's own quality up to a rate, or less where it is long; and its rate.

    Raises as `load_pcm` for what is too long at 8000 Hz, too.
    """
    best = own_rate(audio, most_hz)
    for rate_hz in sorted((rate for rate in RATES_HZ if rate <= best), reverse=True):
        try:
            return load_pcm(audio, rate_hz), rate_hz
        except TooLong:
            if rate_hz == RATE_HZ:
                raise
    raise AssertionError("8000 is one of the rates")


class TooLong(UsageError):
    """More PCM than one playback may hold."""


def load_pcm(audio: str | Path | bytes, rate_hz: int = RATE_HZ) -> bytes:
    """Return int16 mono PCM from a file at a rate, or PCM as it was given.

    What libsndfile reads at that rate is taken as it is; everything else goes through PyAV.

    Raises
    ------
    UsageError
        The file can't be read, or not without PyAV, or is longer than an hour of 8000 Hz.
    """
    if isinstance(audio, bytes):
        if len(audio) % 2:
            raise UsageError("PCM is int16: its length must be even")
        return audio
    return _read(Path(audio), rate_hz)


def _read(path: Path, rate_hz: int) -> bytes:
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.samplerate == rate_hz:
                if len(sound) > MOST_SAMPLES:
                    raise _too_long(path, rate_hz)
                frames = sound.read(dtype="int16", always_2d=True)
                mono = frames.astype(np.int32).sum(axis=1) // frames.shape[1]
                return bytes(mono.astype("<i2").tobytes())
    except soundfile.LibsndfileError as exc:
        if not path.is_file():
            raise UsageError(f"can't read {path}: {exc}") from exc
    except OSError as exc:
        raise UsageError(f"can't read {path}: {exc}") from exc
    return _convert(path, rate_hz)


def _convert(path: Path, rate_hz: int) -> bytes:
    """Decode and resample whatever ffmpeg knows."""
    try:
        import av
    except ImportError as exc:
        raise UsageError(
            f"{path} is no sound file at {rate_hz} Hz: install rtpmix[codecs], or convert it, for "
            f"example with ffmpeg -i {path.name} -ar {rate_hz} -ac 1 out.wav"
        ) from exc
    pcm = bytearray()
    try:
        # As an open file: a name could be a URL to ffmpeg.
        with path.open("rb") as file, av.open(file, "r") as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
            for frame in itertools.chain(container.decode(audio=0), (None,)):
                for part in resampler.resample(frame):
                    pcm += part.to_ndarray().astype("<i2").tobytes()
                if len(pcm) > 2 * MOST_SAMPLES:
                    raise _too_long(path, rate_hz)
    except UsageError:
        raise
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as exc:
        raise UsageError(f"{path} can't be read as sound: {exc}") from exc
    if not pcm:
        raise UsageError(f"{path} holds no sound")
    return bytes(pcm)


def _too_long(path: Path, rate_hz: int) -> TooLong:
    return TooLong(
        f"{path} is longer than {MOST_SAMPLES // rate_hz} seconds: cut it, or give a lower rate_hz"
    )


class Playback:
    """Something that is being played into a bridge; made by `Bridge.play`."""

    def __init__(
        self, board: Switchboard, bridge: Bridge, pcm: bytes, *, loop: bool, rate_hz: int = RATE_HZ
    ) -> None:
        self.source = board.next_seat()
        self._board = board
        self._bridge = bridge
        self._pcm = pcm
        self._loop = loop
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        board.host.submit(OpenSource(self.source, rate_hz))

    def begin(self) -> None:
        """Start to speak; the source has its seat by now."""
        self._board.host.submit(Play(self.source, self._pcm, self._loop, self.source))

    async def finished(self) -> None:
        """Wait until everything has been played, or `stop` was called."""
        await asyncio.shield(self._finished)

    async def stop(self) -> None:
        """Fall silent now."""
        self._bridge.end_playback(self)

    def free(self) -> None:
        """Give the source back."""
        if not self._finished.done():
            self._finished.set_result(None)
            self._board.host.submit(CloseSeat(self.source))
