"""Random conversations, played straight into the mixer engine: what arrives, what is commanded.

One engine carries many conversations at once, a bridge each; what one listener gets must not
depend on any of the others, so this only makes the tests stricter.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from rtpmix.errors import SupervisionRefused
from rtpmix.mixer.commands import (
    CloseLeg,
    CloseSeat,
    Command,
    CommandRefused,
    MatrixCommitted,
    OpenLeg,
    OpenSource,
    Play,
    Record,
    SetMatrix,
    UpdateLeg,
)
from rtpmix.mixer.engine import Engine
from rtpmix.mixer.tap import TapBlock
from rtpmix.rtp.rtcp import SenderReport, build_compound, ntp_timestamp
from rtpmix.supervision import Change, Fate, Mode, Role, Routing, RoutingLog, SupervisedCall

FRAME = 160
SILENCE = b"\xff" * FRAME  # PCMU for 0
PRIVATE = (Mode.MONITOR, Mode.WHISPER)
CUSTOMER, SUPERVISORS = 1, (10, 11)  # seats within a conversation; 2 to 6 are agents and customers
SOURCE = 8
REPORT_EVERY = 97  # frames
SEATS = 16  # numbers that each conversation has to itself


@dataclass
class Phone:
    """What one phone sends: RTP with loss, jitter, duplicates and pauses, by seed."""

    rng: random.Random
    law: str
    quiet: bool
    arriving: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    sequence: int = 0
    timestamp: int = 0
    ssrc: int = 0
    pause: int = 0
    on: bool = True

    def __post_init__(self) -> None:
        self.sequence = self.rng.randrange(1 << 16)
        self.timestamp = self.rng.randrange(1 << 32)
        self.ssrc = self.rng.randrange(1, 1 << 32)

    def speak(self, frame: int) -> None:
        """Send the frame's packet, which may come late, twice, or never."""
        rng = self.rng
        payload = SILENCE if self.quiet else rng.randbytes(FRAME)
        self.timestamp = (self.timestamp + FRAME) % (1 << 32)
        if self.pause:
            self.pause -= 1
            return
        if rng.random() < 0.02:
            self.pause = rng.randrange(1, 8)
        self.sequence = (self.sequence + 1) % (1 << 16)
        payload_type = 0 if self.law == "PCMU" else 8
        header = struct.pack("!BBHII", 0x80, payload_type, self.sequence, self.timestamp, self.ssrc)
        chance = rng.random()
        for _ in range(0 if chance < 0.05 else 2 if chance < 0.07 else 1):
            chance = rng.random()
            late = 0 if chance < 0.85 else 1 if chance < 0.95 else 2 if chance < 0.99 else 3
            self.arriving[frame + late].append(header + payload)

    def report(self, frame: int) -> bytes:
        """Return a sender report, so that ours have something to answer."""
        report = SenderReport(
            ssrc=self.ssrc,
            ntp=ntp_timestamp(frame * 0.02),
            rtp_timestamp=self.timestamp,
            packet_count=frame,
            octet_count=frame * FRAME,
        )
        return build_compound([report])


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet that a listener was sent, and when."""

    sample: int
    packet: bytes

    @property
    def payload(self) -> bytes:
        return self.packet[12:]


class Conversation:
    """One bridge with its script.

    Parameters
    ----------
    modes
        Modes that the supervisors may use; () plays the same script without supervisors.
    quiet
        True: everybody but the supervisors sends digital silence.
    """

    def __init__(self, number: int, seed: int, modes: tuple[Mode, ...], *, quiet: bool) -> None:
        self.number = number
        self.seed = seed
        self.modes = modes
        self.quiet = quiet
        self.call = SupervisedCall()
        self.log = RoutingLog()
        self.phones: dict[int, Phone] = {}
        self.sent: dict[int, list[Sent]] = defaultdict(list)
        self.reports: dict[int, list[Sent]] = defaultdict(list)  # RTCP
        self.asked: dict[int, Change] = {}  # by token
        self.silent_until: dict[int, int] = {}  # seat -> sample of its first commit
        self.commands: list[Command] = []
        # Two scripts: the second must not move the dice of the first.
        self.base = random.Random(f"base {seed}")
        self.extra = random.Random(f"supervisors {seed}")
        self.now = 0.0
        self._join(CUSTOMER, Role.CUSTOMER)
        self._join(2, Role.AGENT)

    def seat(self, local: int) -> int:
        """The seat's number in the engine, which many conversations share."""
        return self.number * SEATS + local

    def local(self, seat: int) -> int:
        return seat - self.number * SEATS

    # ------------------------------------------------------------------- the script

    def play(self, frame: int) -> None:
        """Do what the script does before this frame."""
        self.now = frame * 0.02
        if self.base.random() < 0.15:
            self._base_step()
        if self.modes and self.extra.random() < 0.25:
            self._supervisor_step()
        for phone in self.phones.values():
            if phone.on:
                phone.speak(frame)

    def _base_step(self) -> None:
        rng = self.base
        here = [seat for seat in range(2, 7) if self.seat(seat) in self._seats()]
        away = [seat for seat in range(2, 7) if seat not in here]
        step = rng.choice(("join", "leave", "hold", "direction", "level", "prompt"))
        someone, role = rng.randrange(8), rng.choice((Role.AGENT, Role.AGENT, Role.CUSTOMER))
        flag, level = rng.random() < 0.5, rng.randrange(65536)
        if step == "join" and away:
            self._join(away[someone % len(away)], role)
        elif step == "leave" and here:
            self._leave(here[someone % len(here)])
        elif step == "hold":
            seat = ([CUSTOMER, *here])[someone % (len(here) + 1)]
            self._commit(self.call.hold(self.seat(seat), flag))
        elif step == "direction":
            law = self.phones[CUSTOMER].law
            payload_type = 0 if law == "PCMU" else 8
            update = UpdateLeg(
                leg=self.seat(CUSTOMER),
                codec=law,
                payload_type=payload_type,
                sends=flag or level % 3 > 0,
            )
            self.commands.append(update)
        elif step == "level" and here:
            talker = self.seat(here[someone % len(here)])
            self._commit(self.call.set_level(self.seat(CUSTOMER), talker, level))
        elif step == "prompt":
            self._prompt(rng.randbytes(2 * FRAME * 5))

    def _prompt(self, pcm: bytes) -> None:
        source = self.seat(SOURCE)
        if source in self._seats():
            self._commit(self.call.leave(source, self.now))
            self.commands.append(CloseSeat(source))
        elif not self.quiet:
            self.commands.append(OpenSource(source))
            self.commands.append(Play(source, pcm, loop=True))
            hearers = frozenset({self.seat(CUSTOMER)})
            self._commit(self.call.join(source, Role.PROMPT, to=hearers))

    def _supervisor_step(self) -> None:
        rng, seat = self.extra, self.seat(self.extra.choice(SUPERVISORS))
        mode, step = rng.choice(self.modes), rng.randrange(10)
        public = set(self.modes) - set(PRIVATE)
        local = self.local(seat)
        if local not in self.phones:
            self._open(local, "supervisor")  # the leg is up; attaching comes later, or never
        elif seat not in self._seats():
            self._attempt(lambda: self.call.attach(seat, mode, self.now, media_seen=bool(public)))
        elif step == 0:
            self._leave(local)
        elif step == 1:
            self._attempt(lambda: self.call.set_can_talk(seat, rng.random() < 0.7))
        elif step == 2:
            self._attempt(lambda: self.call.hold(seat, rng.random() < 0.3))
        elif step == 3:  # without media it waits, and changes nothing
            self._attempt(lambda: self.call.takeover(seat, self.now, fate=Fate.LISTEN))
        elif step == 4:
            self._attempt(lambda: self.call.hand_back(seat, self.now))
        else:
            self._attempt(lambda: self.call.set_mode(seat, mode, self.now))

    # ------------------------------------------------------------------ its effects

    def _seats(self) -> tuple[int, ...]:
        return self.call.routing.seats

    def _open(self, local: int, kind: str) -> None:
        rng = random.Random(f"{kind} {self.seed} {local}")
        law = "PCMU" if self.quiet else rng.choice(("PCMU", "PCMA"))
        self.phones[local] = Phone(rng, law, quiet=self.quiet and kind != "supervisor")
        self.commands.append(
            OpenLeg(
                leg=self.seat(local),
                codec=law,
                payload_type=0 if law == "PCMU" else 8,
                ssrc=rng.randrange(1 << 32),
                first_sequence=rng.randrange(1 << 16),
                first_timestamp=rng.randrange(1 << 32),
            )
        )

    def _join(self, local: int, role: Role) -> None:
        if local not in self.phones:
            self._open(local, "phone")
            if local == CUSTOMER:
                self.commands.append(Record(self.seat(local)))
            self._commit(self.call.join(self.seat(local), role))

    def _leave(self, local: int) -> None:
        self._commit(self.call.leave(self.seat(local), self.now))
        self.commands.append(CloseLeg(self.seat(local)))
        del self.phones[local]

    def _attempt(self, act: object) -> None:
        try:
            self._commit(act())  # type: ignore[operator]
        except SupervisionRefused:
            return

    def _commit(self, change: Change) -> None:
        routing: Routing | None = change.commit
        if routing is None:
            return
        token = len(self.asked) + 1
        self.asked[token] = change
        self.commands.append(
            SetMatrix(
                bridge=self.number,
                seats=routing.seats,
                gains=routing.gains,
                dtmf=routing.dtmf,
                ramp_ms=routing.ramp_ms,
                token=token,
                untimed=routing.private,
            )
        )

    def committed(self, event: MatrixCommitted) -> None:
        """The engine put a routing in force."""
        change = self.asked[event.token]
        assert change.commit is not None
        self.log.append(event.at, change.commit, why=change.why)
        for seat in change.commit.seats:
            self.silent_until.setdefault(self.local(seat), event.at)


class World:
    """One engine and the conversations on it."""

    def __init__(self, conversations: list[Conversation], *, phases: int = 1) -> None:
        self.engine = Engine(phases=phases, source=random.Random(1))
        self.conversations = {each.number: each for each in conversations}
        self.blocks: list[TapBlock] = []
        self.refused: list[CommandRefused] = []

    def run(self, frames: int) -> World:
        for frame in range(frames):
            for conversation in self.conversations.values():
                conversation.play(frame)
                for command in conversation.commands:
                    self.engine.submit(command)
                conversation.commands.clear()
            self._receive(frame)
            for _ in range(self.engine.phases):
                self._tick()
        return self

    def _receive(self, frame: int) -> None:
        queues: dict[int, Iterator[bytes]] = {}
        for conversation in self.conversations.values():
            for local, phone in conversation.phones.items():
                row = self.engine.row_of(conversation.seat(local))
                if row is None:
                    continue
                if frame % REPORT_EVERY == local:
                    assert self.engine.inbox.put(row, phone.report(frame), rtcp=True)
                if frame in phone.arriving:
                    queues[row] = iter(phone.arriving.pop(frame))
        self.engine.receive(self.engine.inbox.count)
        for _ in itertools.count():
            put = 0
            for row, queue in queues.items():
                datagram = next(queue, None)
                if datagram is not None:
                    put += self.engine.inbox.put(row, datagram)
            if not put:
                return
            self.engine.receive(self.engine.inbox.count)

    def _tick(self) -> None:
        engine = self.engine
        at = engine.sample
        outbox = engine.tick()
        seats = engine.rows.seat.copy()
        for row, packet, is_rtcp in outbox.extra:
            assert is_rtcp
            number, local = divmod(int(seats[row]), SEATS)
            self.conversations[number].reports[local].append(Sent(at, packet))
        for row, view in zip(outbox.rows, outbox.views, strict=True):
            number, local = divmod(int(seats[row]), SEATS)
            self.conversations[number].sent[local].append(Sent(at, bytes(view)))
        for event in engine.take_events():
            if isinstance(event, MatrixCommitted):
                self.conversations[event.bridge].committed(event)
            elif isinstance(event, CommandRefused):
                self.refused.append(event)
        self.blocks += engine.take_blocks()
