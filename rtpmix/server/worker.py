"""A process that carries media: the engine, its sockets and the recordings of its legs.

Theory of operation. It is a `ThreadHost` whose thread is the process's only busy one, so no SIP and
no program of the user's shares its interpreter lock. What the server says is read at the beginning
of each beat and put into the same queue; what happens goes back at the end of the beat. Neither
side waits for the other. When the server is gone its end of the channel closes; the worker then
says goodbye on every leg, seals its recordings and ends.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from ..errors import RtpmixError, UsageError
from ..mixer.commands import Command, LegParted, MixerEvent, PartLeg, TapFrame
from ..mixer.tap import TapBlock
from ..recorder import load_key
from . import worker_messages as say
from .channel import Channel
from .media_io import LearningIO
from .media_loop import Item, MediaLoop
from .memory import keep_freed_memory
from .recording_writer import RecordingWriter
from .shared_io import SharedIO
from .thread_host import PTIME_S, ThreadHost

_log = logging.getLogger(__name__)

SLOW = 4 << 20  # octets that wait for the server: beyond it, frames for programs are dropped
STATS_BEATS = 100  # a leg's counters are told once in so many beats
FIGURES_BEATS = 20  # beats between two signs of life
HANDSHAKE_FRAMES = 200  # that a leg waits before it moves; OpenSSL asks again after one and three s


class Worker(ThreadHost):
    """The engine of one process, on the process's main thread."""

    def __init__(self, channel: Channel, settings: say.Settings) -> None:
        super().__init__(
            media_address=settings.media_address,
            media_address_v6=settings.media_address_v6,
            ports=settings.ports,
            legs_per_port=settings.legs_per_port,
            phases=settings.phases,
            epoch=settings.epoch,
        )
        self._origin = settings.origin
        self._channel = channel
        self._media = WorkerLoop(self._engine, self._io, self)
        self._writer = RecordingWriter(on_gap=self._gap)
        self._disk = ThreadPoolExecutor(1, "rtpmix-recording-start")
        self._said: deque[object] = deque()  # by other threads
        self._forwarded: set[int] = set()
        self._media.writer = self
        self._dropped = 0
        self._left: list[int] = []  # legs whose counters are to be told in this round
        self._share = 1
        self._figures_at = 0  # beats that were done when they were told last

    def run(self) -> None:
        """Beat until told to stop, or until nobody is there to tell."""
        keep_freed_memory()
        self._collects = True
        self._collections.begin()
        frames = int((self._clock() - self._origin) / PTIME_S) + 1
        self._engine.skip(frames)
        time.sleep(max(0.0, self._origin + frames * PTIME_S - self._clock()))
        self._channel.send(say.Ready())
        self._run()
        self._disk.shutdown()
        self._writer.close()
        self._answers()
        deadline = self._clock() + 5
        while not self._channel.flush() and self._clock() < deadline:
            time.sleep(0.005)
        self._channel.close()
        self._io.close()

    # ----------------------------------------------------------------------- what is heard

    def listen(self) -> None:
        """Take what the server has said since the last beat."""
        for message, descriptors in self._channel.receive():
            try:
                self._take(message, descriptors)
            except Exception:
                _log.exception("a message to a media worker failed")
        if self._channel.closed:
            self._stopping = True

    def _take(self, message: Any, descriptors: tuple[int, ...]) -> None:
        if isinstance(message, Command):
            self._media.submit(message)
        elif isinstance(message, say.Adopt):
            self._io.adopt(message.leg, *descriptors, fresh=message.fresh)
        elif isinstance(message, say.Share):
            assert isinstance(self._io, SharedIO)  # the server asked the same system
            rtp, rtcp = descriptors
            self._io.share(message.leg, message.number, rtp, rtcp, message.remote)
        elif isinstance(message, say.Connect):
            self._media.connect(
                message.leg,
                message.remote,
                message.remote_rtcp,
                message.rtcp_mux,
                message.terms,
                message.learned,
            )
        elif isinstance(message, say.Secure):
            self._media.secure(message.leg, message.keys)
        elif isinstance(message, say.Release):
            self._media.release(message.leg)
        elif isinstance(message, say.Forward):
            (self._forwarded.add if message.on else self._forwarded.discard)(message.leg)
        elif isinstance(message, say.Block):
            self._writer.put_block(message.block)
        elif isinstance(message, say.Stop):
            self._stopping = True
        else:
            self._record(message)

    def _record(self, message: Any) -> None:
        writer, here = self._writer, self._engine.sample
        if isinstance(message, say.StartRecording):
            self._answer(message.ask, self._disk.submit(partial(self._start_recording, message)))
        elif isinstance(message, say.StopRecording):
            self._answer(message.ask, writer.stop(message.recording))
        elif isinstance(message, say.RecordFact):
            # What is in force is so from this worker's beat on: the server's clock may be ahead of
            # it, and no frame may come before the matrix by which it was mixed.
            in_force = message.fact.get("in_force")
            sample = min(message.sample, here) if in_force else message.sample
            writer.event(message.recording, sample, message.fact)
        elif not message.on:
            writer.remove_leg(message.recording, message.leg, here)
        else:
            # From this worker's beat on: the server's clock may be ahead of it.
            writer.add_leg(
                message.recording,
                message.leg,
                message.name,
                message.role,
                message.codec,
                here,
                message.rate_hz,
            )

    def _start_recording(self, message: say.StartRecording) -> None:
        self._writer.start(
            message.recording,
            message.path,
            conversation_id=message.conversation_id,
            keys=load_key(message.key),
            metadata=message.metadata,
            wall_clock=time.time,
        )

    # ------------------------------------------------------------------------ what is said

    def _answer(self, ask: int, future: Future[Any]) -> None:
        def told(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                self._said.append(say.Answer(ask, done.result()))
                return
            if not isinstance(error, RtpmixError):
                _log.error("a recording step failed: %s", type(error).__name__)
            text = str(error) if isinstance(error, RtpmixError) else type(error).__name__
            self._said.append(say.Answer(ask, None, text, isinstance(error, UsageError)))

        future.add_done_callback(told)

    def _gap(self, recording: int, frames: int, why: str) -> None:
        self._said.append(say.Gap(recording, frames, why))

    def carry(self, message: say.Carried) -> None:
        """Tell what goes along with a leg that has parted."""
        self._channel.send(message)

    def _answers(self) -> None:
        while self._said:
            self._channel.send(self._said.popleft())

    def put_block(self, block: TapBlock) -> None:
        """Take one beat's recorded frames: for this worker's captures, and for another's."""
        self._writer.put_block(block)
        if self._forwarded and not self._forwarded.isdisjoint(block.legs):
            if self._channel.waiting > SLOW:
                self._dropped += 1
                return
            self._channel.send(say.Block(block.only(self._forwarded)))

    def _tell(self, events: list[MixerEvent]) -> None:
        channel = self._channel
        frames = [event for event in events if isinstance(event, TapFrame)]
        if frames:
            events = [event for event in events if not isinstance(event, TapFrame)]
            if channel.waiting > SLOW:
                self._dropped += len(frames)
            else:
                channel.send(say.Frames.of(frames))
        if events:
            channel.send(say.Happened(events))
        self._answers()
        # Where nobody is mixed, several beats are done at once: a multiple may never be met.
        if self._media.beats - self._figures_at >= FIGURES_BEATS:
            self._figures_at = self._media.beats
            channel.send(self._figures())
        channel.flush()

    def _figures(self) -> say.Figures:
        """Return this moment's share of the counters: no beat pays for all legs at once."""
        media = self._media
        complete = not self._left
        if complete:
            self._left = self._engine.legs()
            self._share = len(self._left) * FIGURES_BEATS // STATS_BEATS + 1
        now, self._left = self._left[: self._share], self._left[self._share :]
        return say.Figures(
            beats=media.beats,
            late_beats=media.late_beats,
            counts=self._engine.leg_counts(now),
            media={**media.snapshot(), "frames_dropped": self._dropped} if complete else None,
            recording=self._writer.snapshot() if complete else None,
        )


class WorkerLoop(MediaLoop):
    """A beat that begins with what the server said.

    A leg whose DTLS handshake is under way parts when it is done: OpenSSL can't be taken along.
    """

    def __init__(self, engine: Any, io: LearningIO, worker: Worker) -> None:
        super().__init__(engine, io)
        self._worker = worker
        self._parting: dict[int, int] = {}  # legs that wait, and until which beat

    def beat(self) -> list[MixerEvent]:
        """Do everything of one beat; see `MediaLoop.beat`."""
        self._worker.listen()
        if self._parting:
            self._let_part()
        events = super().beat()
        for event in events:
            if isinstance(event, LegParted):
                columns = event.state.columns
                ssrc, following = int(columns["ssrc_out"]), int(columns["sequence_out"]) & 0xFFFF
                position = self.secured.position(event.leg, ssrc, following)
                if position is not None:
                    self._worker.carry(say.Carried(event.leg, position))
                self.io.release(event.leg)  # our copy of the sockets; the server has another
        return events

    def _do(self, item: Item) -> None:
        if isinstance(item, PartLeg) and not self.secured.settled(item.leg):
            wait = HANDSHAKE_FRAMES * self.engine.phases
            self._parting[item.leg] = self.beats + wait
            return
        if isinstance(item, PartLeg):
            self.secured.hold(item.leg)
        super()._do(item)

    def _let_part(self) -> None:
        for leg, last in tuple(self._parting.items()):
            if self.secured.settled(leg):
                self.submit(PartLeg(leg))
            elif self.beats >= last:
                self.secured.hold(leg)
                self.engine.submit(PartLeg(leg))  # its handshake begins anew where it goes
            else:
                continue
            del self._parting[leg]


def main(descriptor: int) -> None:
    """Carry media for the server at the other end of a socket."""
    # The server decides when its workers end: a Ctrl-C goes to all processes of a terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=descriptor))
    select.select([channel], [], [])
    for settings, _ in channel.receive():
        Worker(channel, settings).run()
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
