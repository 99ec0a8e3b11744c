"""Talkers without a socket: queues of PCM that a source says frame by frame.

One of a higher rate than 8 kHz has a voice: its frames are kept for those who hear at such a rate,
and all others hear their view at 8 kHz.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .commands import Play
from .wide_pool import Voice

MAX_QUEUED = 64  # plays that wait at one source

Linear = NDArray[np.int16]


@dataclass(slots=True)
class _Item:
    samples: Linear
    loop: bool
    token: int
    position: int = 0


@dataclass(slots=True)
class Source:
    """What one source still has to say."""

    voice: Voice | None = None
    items: deque[_Item] = field(default_factory=deque)

    def play(self, command: Play) -> str | None:
        """Queue PCM; return why not, or None."""
        if len(command.pcm) % 2 or not command.pcm:
            return "PCM of no or half samples; give int16 little endian"
        if len(self.items) >= MAX_QUEUED:
            return f"{MAX_QUEUED} plays wait already; stop playing first"
        samples = np.frombuffer(command.pcm, "<i2").astype(np.int16)
        self.items.append(_Item(samples, command.loop, command.token))
        return None

    def stop(self) -> list[int]:
        """Fall silent; return the tokens that were not finished."""
        tokens = [item.token for item in self.items]
        self.items.clear()
        return tokens

    def next_frame(self, out: Linear) -> list[int]:
        """Write the next frame, at 8 kHz; return the tokens of what was said to its end in it."""
        if self.voice is None:
            return self._next(out)
        native = np.zeros(self.voice.frame, np.int16)
        done = self._next(native)
        out[:] = self.voice.say(native)
        return done

    def _next(self, out: Linear) -> list[int]:
        size = len(out)
        done: list[int] = []
        filled = 0
        while filled < size and self.items:
            item = self.items[0]
            part = item.samples[item.position : item.position + size - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            item.position += len(part)
            if item.position == len(item.samples):
                item.position = 0
                if not item.loop:
                    done.append(item.token)
                    self.items.popleft()
        out[filled:] = 0
        return done
