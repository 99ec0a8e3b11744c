"""A bridge: legs that are mixed, and the policy that says who hears whom."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio.codecs import NARROW_HZ
from ..errors import UsageError
from ..events import BridgeChanged, BridgeClosed, Event
from ..mixer.commands import UNITY, MeasureLevels, Played, TapFrame
from ..supervision import Anchor, Change, Left, Mode, Role, Routing, RoutingLog
from .listening import LegListener, Listener, MixedListener
from .notices import check_notice
from .orders import Orders
from .playing import Playback, load
from .scope import Scope
from .seating import Seating, anchored, can_talk
from .speaking import Speaker
from .supervising import Supervision, fact_event

if TYPE_CHECKING:
    from .leg import Leg
    from .recording import Recording
    from .switchboard import Switchboard

LOUDEST_DB = 12.0


class Bridge(Seating):
    """Legs that hear each other, made by `Server.bridge`.

    Every change of who hears whom is one whole matrix that takes effect at one tick.

    Attributes
    ----------
    id
        Name in events, "bridge-9".
    name
        The name given to `Server.bridge`, or None.
    """

    def __init__(
        self,
        board: Switchboard,
        number: int,
        name: str | None,
        scope: Scope | None,
        *,
        until_empty: bool = False,
        limiter: bool | None = None,
    ) -> None:
        super().__init__(board, number, until_empty=until_empty, limiter=limiter)
        self.name = name
        self.started_at = board.now
        self._scope = scope
        self._listeners: dict[int, Listener] = {}  # by tap
        self._mixed: list[MixedListener] = []
        self._playbacks: dict[int, Playback] = {}
        self._speakers: dict[int, Speaker] = {}
        self._orders = Orders(board, self)
        if scope is not None:
            scope.add(self)

    def __repr__(self) -> str:
        return f"<Bridge {self.id} of {len(self._legs)} legs>"

    # -------------------------------------------------------------------- reading

    @property
    def routing_log(self) -> RoutingLog:
        """Every matrix that was in force, hash-chained; its fold is the live matrix."""
        return self.router.log

    def matrix(self) -> dict[str, dict[str, float]]:
        """Return who hears whom in the routing last asked for: listener -> talker -> gain in dB."""
        routing = self.call.routing
        heard: dict[str, dict[str, float]] = {}
        for listener, row in zip(routing.seats, routing.gains, strict=True):
            if listener in self._legs:
                heard[self._legs[listener].id] = {
                    self.seat_name(talker): 20 * math.log10(gain / UNITY)
                    for talker, gain in zip(routing.seats, row, strict=True)
                    if gain
                }
        return heard

    def seat_name(self, seat: int) -> str:
        """Return the id of the leg in a seat, or of a source."""
        return self._names.get(seat) or f"source-{seat}"

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events of this bridge, until it closes."""
        async for event in self._board.bus.subscribe():
            if getattr(event, "bridge", None) == self.id:
                yield event
                if isinstance(event, BridgeClosed):
                    return

    # -------------------------------------------------------------------- routing

    def _tell(self, change: Change, who: str, sample: int) -> None:
        """Publish what a change did, now that it is in force, and carry out its orders."""
        if change.commit is not None:
            self._tell_routing(change.commit, sample)
            if self.recording is not None:
                self.recording.matrix(sample, self, change.commit, who, change.why)
        for fact in change.facts:
            event = fact_event(self, fact, sample, change)
            if event is not None:
                self._board.publish(event)
                if self.recording is not None:
                    self.recording.fact(sample, fact, who)
            for supervision in tuple(self._supervisions.values()):
                supervision.note(fact, event)
            if isinstance(fact, Left) and fact.seat not in self._legs:
                self._names.pop(fact.seat, None)
        for order in change.orders:
            self._orders.carry_out(order)

    def _tell_routing(self, routing: Routing, sample: int) -> None:
        self._board.publish(
            BridgeChanged(
                at=self._board.now,
                bridge=self.id,
                legs=tuple(self.seat_name(seat) for seat in routing.seats),
                gains=routing.gains,
                sample=sample,
            )
        )

    async def set_gain(self, *, listener: Leg, talker: Leg, gain_db: float) -> None:
        """Set how loudly one leg hears another, where the policy lets it hear at all.

        Parameters
        ----------
        gain_db
            0 is as spoken, at most 12; ``-math.inf`` is silence.
        """
        if math.isnan(gain_db) or gain_db > LOUDEST_DB:
            raise UsageError(f"gain_db is {gain_db}: use -inf to {LOUDEST_DB:g} dB")
        gain = 0 if gain_db == -math.inf else round(UNITY * 10 ** (gain_db / 20))
        await self.apply(self.call.set_level(listener.number, talker.number, gain))

    async def mute(self, leg: Leg, on: bool = True) -> None:
        """Let nobody hear a leg nor get its digits, or let it be heard as the policy says."""
        if leg.number not in self._legs:
            raise UsageError(f"{leg.id} is not in {self.id}")
        await self.apply(self.call.mute(leg.number, on))

    def measure_levels(self, on: bool = True) -> None:
        """Tell five times a second how loud each leg is, now and as they come, or stop to.

        They come as `LevelsMeasured`, from `events` and `Server.events`.
        """
        if on != self._measuring:
            self._measuring = on
            for leg in self.legs:
                self._measure(leg, on)

    def _measure(self, leg: Leg, on: bool) -> None:
        self._board.host.submit(MeasureLevels(leg.number, on))

    # ---------------------------------------------------------------- supervision

    async def supervise(
        self,
        supervisor: Leg,
        *,
        agent: Leg | None = None,
        mode: Mode = Mode.MONITOR,
        who: str = "",
        anchor: Anchor = Anchor.CONVERSATION,
        notice: str | None = None,
    ) -> Supervision:
        """Attach a supervisor; nobody else's signalling, tone or timing changes.

        Parameters
        ----------
        agent
            The leg that is supervised; everybody else in the bridge counts as a customer. None:
            whoever is the agent already, or nobody, in the rescue of a customer without one.
        who
            Who asked for it, for the routing log and the recording.
        anchor
            Whom the supervision follows when the call is transferred: the conversation, the
            agent, or the customer.
        notice
            How the agent's phone is told: "silent", "info" or "message"; None: as
            `Config.supervision_notice` says.

        Raises
        ------
        SupervisionRefused
            The policy refuses; nothing has changed.
        UsageError
            A leg is closed, or already in a bridge.
        """
        check_notice(notice)
        self.check(supervisor)
        if agent is not None and agent.number not in self._legs:
            raise UsageError(f"{agent.id} is not in {self.id}: supervise an agent who is")
        change = self.call.attach(
            supervisor.number,
            mode,
            self._board.now,
            agent=agent.number if agent is not None else None,
            can_talk=can_talk(supervisor),
            media_seen=supervisor.media_seen,
        )
        supervision = Supervision(self._board, self, supervisor, who or supervisor.user or "")
        self._board.extensions.notices.choose(supervisor, notice)
        supervision.anchor_to(anchor, anchored(self, anchor, agent))
        self._supervisions[supervisor.number] = supervision
        self._seat(supervisor)
        try:
            await self.apply(change, supervision.who)
        except BaseException:
            self.detach(supervisor)  # the caller gets no handle to do it with
            raise
        return supervision

    def detach(self, leg: Leg) -> None:
        """Let a supervisor's leg go, unless it has gone already."""
        if leg.number in self._legs:
            self._unseat(leg, "removed")

    # ------------------------------------------------------- playing and listening

    async def play(
        self,
        audio: str | Path | bytes,
        *,
        to: Leg | None = None,
        loop: bool = False,
        rate_hz: int | None = None,
    ) -> Playback:
        """Play a file, or int16 PCM, to one leg or to everybody.

        Returns at once; `Playback.finished` waits for the end, `Playback.stop` stops it.

        Parameters
        ----------
        rate_hz
            8000, 16000 or 48000: of PCM its rate, of a file that at which it is played. None: 8000
            for PCM; for a file its own, as far as `Config.codecs` has a codec for that.
        """
        if to is not None and to.number not in self._legs:
            raise UsageError(f"{to.id} is not in {self.id}")
        codecs = self._board.config.codecs
        pcm, rate = await self._board.off_loop(lambda: load(audio, rate_hz, codecs))
        playback = Playback(self._board, self, pcm, loop=loop, rate_hz=rate)
        hearers = frozenset({to.number}) if to is not None else None
        self._playbacks[playback.source] = playback
        await self.apply(self.call.join(playback.source, Role.PROMPT, to=hearers))
        playback.begin()
        return playback

    def end_playback(self, playback: Playback) -> None:
        """Free a playback's source."""
        if self._playbacks.pop(playback.source, None) is not None:
            self.apply(self.call.leave(playback.source, self._board.now))
            playback.free()

    async def speak(self, *, to: Leg | None = None, rate_hz: int = NARROW_HZ) -> Speaker:
        """Open a talker that says what the program writes, to one leg or to everybody.

        The way in for bots and for audio that is made while it is said; ``rate_hz``: of what will
        be written, 8000, 16000 or 48000.
        """
        if to is not None and to.number not in self._legs:
            raise UsageError(f"{to.id} is not in {self.id}")
        speaker = Speaker(self._board, self, rate_hz)
        hearers = frozenset({to.number}) if to is not None else None
        self._speakers[speaker.source] = speaker
        await self.apply(self.call.join(speaker.source, Role.PROMPT, to=hearers))
        return speaker

    def end_speaker(self, speaker: Speaker) -> None:
        """Free a speaker's source."""
        if self._speakers.pop(speaker.source, None) is not None:
            self.apply(self.call.leave(speaker.source, self._board.now))
            speaker.free()

    def listen(
        self, leg: Leg | None = None, side: str = "heard", *, rate_hz: int = NARROW_HZ
    ) -> Listener:
        """Hear along, frame by frame: ``async for frame in bridge.listen(leg)``.

        Parameters
        ----------
        leg
            None: all legs together, now and as they come, but those whom nobody in the bridge
            hears. What is played to them is not in it.
        side
            "heard": what the mixer sends to the leg; "spoken": what it hears from the leg.
        rate_hz
            Of the frames: 8000, 16000 or 48000. What is heard is mixed at that, from talkers at
            their own.
        """
        if leg is None:
            mixed = MixedListener(self._board, self, rate_hz)
            self._listeners |= dict.fromkeys(mixed.taps, mixed)
            self._mixed.append(mixed)
            return mixed
        if leg.number not in self._legs:
            raise UsageError(f"{leg.id} is not in {self.id}")
        listener = LegListener(self._board, self, leg, side, rate_hz)
        self._listeners |= dict.fromkeys(listener.taps, listener)
        return listener

    def _seat(self, leg: Leg) -> None:
        super()._seat(leg)
        for mixed in self._mixed:
            self._listeners[mixed.add(leg)] = mixed

    def _forget_seat(self, leg: Leg) -> None:
        for mixed in self._mixed:
            tap = mixed.remove(leg)
            if tap is not None:
                self._listeners.pop(tap, None)
        super()._forget_seat(leg)

    def end_listener(self, listener: Listener) -> None:
        """Forget a listener that has closed."""
        for tap in listener.taps:
            self._listeners.pop(tap, None)
        self._mixed = [mixed for mixed in self._mixed if mixed is not listener]

    def seat_event(self, event: Played | TapFrame) -> None:
        """A source has finished, or a tap has a frame."""
        if isinstance(event, Played):
            playback = self._playbacks.get(event.source)
            if playback is not None:
                self.end_playback(playback)
            elif (speaker := self._speakers.get(event.source)) is not None:
                speaker.said(event.token)
        elif (listener := self._listeners.get(event.tap)) is not None:
            listener.take(event)

    # ------------------------------------------------------------------ recording

    async def record(
        self,
        path: str | Path,
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Recording:
        """Record every leg, now and as they come, into a sealed SRTP capture.

        Parameters
        ----------
        path
            The directory to make; it must not exist.
        conversation_id
            What the capture calls the conversation; by default the directory's name.

        Raises
        ------
        RecordingError
            The directory can't be made, or the key can't be read.
        UsageError
            This bridge is being recorded already.
        """
        if self.recording is not None:
            raise UsageError(f"{self.id} is being recorded: stop that recording first")
        recording = await self._board.recorders.start(
            self, Path(path), conversation_id=conversation_id, metadata=metadata or {}
        )
        self.recording = recording
        recording.take_up(self, "recording starts")
        return recording

    async def close(self) -> None:
        """End recording and supervision; the legs live on and hear nobody."""
        if self._closed:
            return
        if self.recording is not None:
            await self.recording.stop()
        self._closed = True
        await self._orders.close()
        for playback in tuple(self._playbacks.values()):
            playback.free()
        for speaker in tuple(self._speakers.values()):
            speaker.free()
        for listener in (*self._listeners.values(), *self._mixed):
            listener.close()
        for supervision in self._supervisions.values():
            supervision.ended("bridge closed")
        for leg in self._legs.values():
            leg.bridge = None
        self.router.close()
        self._board.bridges.remove(self.number)
        if self._scope is not None:
            self._scope.let_go(self)
        self._board.publish(BridgeClosed(at=self._board.now, bridge=self.id))
