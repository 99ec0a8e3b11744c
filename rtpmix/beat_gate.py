"""Where threads with long work step aside while a beat of a media thread is on.

Within a beat the interpreter's switch interval is 20 ms, so that nobody interrupts it (see
`rtpmix.server.thread_host`). But numpy gives the interpreter up by itself for large arrays, and
whoever takes it then may keep it for as long. The event loop does little at a time; a thread that
works for milliseconds on end, like the recording writer, passes this gate every few hundred
microseconds; so does one that comes back from the disk, where a dozen wait together and wake
together.

The gate belongs to the process, as the interpreter does.
"""

from __future__ import annotations

import os
import threading

_beat = threading.RLock()  # a beat does not wait for itself


def begin_beat() -> None:
    """Shut the gate; waits for another media thread's beat, where there is one."""
    _beat.acquire()


def end_beat() -> None:
    """Open it again; on the thread of the beat."""
    _beat.release()


def step_aside() -> None:
    """Let whoever is ready run, and wait until no beat is on; costs a microsecond when none is."""
    # The kernel lets a thread at work go on for milliseconds before one that has just woken.
    os.sched_yield()
    with _beat:
        return
