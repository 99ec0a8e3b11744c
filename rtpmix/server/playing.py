"""Sources: prompts, tones and files that talk in a bridge."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from ..errors import UsageError
from ..mixer.commands import CloseSeat, OpenSource, Play

if TYPE_CHECKING:
    from .bridge import Bridge
    from .switchboard import Switchboard

RATE_HZ = 8000
LONGEST_S = 3600  # of PCM held in memory for one playback: 57 MB


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


def load_pcm(audio: str | Path | bytes) -> bytes:
    """Return int16 mono PCM at 8000 Hz from a file, or as it was given.

    What libsndfile reads at 8000 Hz is taken as it is; everything else goes through PyAV.

    Raises
    ------
    UsageError
        The file can't be read, or not without PyAV, or is longer than an hour.
    """
    if isinstance(audio, bytes):
        if len(audio) % 2:
            raise UsageError("PCM is int16: its length must be even")
        return audio
    return _read(Path(audio))


def _read(path: Path) -> bytes:
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.samplerate == RATE_HZ:
                if len(sound) > LONGEST_S * RATE_HZ:
                    raise _too_long(path)
                frames = sound.read(dtype="int16", always_2d=True)
                mono = frames.astype(np.int32).sum(axis=1) // frames.shape[1]
                return bytes(mono.astype("<i2").tobytes())
    except soundfile.LibsndfileError as exc:
        if not path.is_file():
            raise UsageError(f"can't read {path}: {exc}") from exc
    except OSError as exc:
        raise UsageError(f"can't read {path}: {exc}") from exc
    return _convert(path)


def _convert(path: Path) -> bytes:
    """Decode and resample whatever ffmpeg knows."""
    try:
        import av
    except ImportError as exc:
        raise UsageError(
            f"{path} is no sound file at {RATE_HZ} Hz: install rtpmix[codecs], or convert it, for "
            f"example with ffmpeg -i {path.name} -ar {RATE_HZ} -ac 1 out.wav"
        ) from exc
    pcm = bytearray()
    try:
        # As an open file: a name could be a URL to ffmpeg.
        with path.open("rb") as file, av.open(file, "r") as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
            for frame in itertools.chain(container.decode(audio=0), (None,)):
                for part in resampler.resample(frame):
                    pcm += part.to_ndarray().astype("<i2").tobytes()
                if len(pcm) > 2 * LONGEST_S * RATE_HZ:
                    raise _too_long(path)
    except UsageError:
        raise
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as exc:
        raise UsageError(f"{path} can't be read as sound: {exc}") from exc
    if not pcm:
        raise UsageError(f"{path} holds no sound")
    return bytes(pcm)


def _too_long(path: Path) -> UsageError:
    return UsageError(f"{path} is longer than {LONGEST_S} seconds: cut it")


class Playback:
    """Something that is being played into a bridge; made by `Bridge.play`."""

    def __init__(self, board: Switchboard, bridge: Bridge, pcm: bytes, *, loop: bool) -> None:
        self.source = board.next_seat()
        self._board = board
        self._bridge = bridge
        self._pcm = pcm
        self._loop = loop
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        board.host.submit(OpenSource(self.source))

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
