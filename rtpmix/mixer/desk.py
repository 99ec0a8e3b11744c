"""What each command does: the one place that reads them.

Every handler returns None when it is done, or says why it can't be; then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..audio.codecs import CODECS, NARROW_HZ
from ..audio.coders import unavailable
from ..audio.resample import RATES_HZ
from . import moving
from .comfort import ComfortOut
from .commands import (
    AdoptLeg,
    CloseBridge,
    CloseLeg,
    CloseSeat,
    Command,
    DetectDigits,
    MeasureLevels,
    OpenLeg,
    OpenSource,
    OpenTap,
    PartLeg,
    Play,
    Record,
    SendDigits,
    SetAutoGain,
    SetMatrix,
    StopPlaying,
    UpdateLeg,
)
from .digits import Digits
from .levels import Levels
from .packetise import Packetiser
from .playout import Playout
from .recording import Copies
from .reports import Reports
from .rows import NEVER, Kind, Rows
from .sources import Source
from .switchboard import Switchboard

MAX_JITTER_MS = 200  # the ring holds 320


class Desk:
    """Carries out commands.

    Attributes
    ----------
    sources : dict
        What each source seat has to say.
    parting : set of int
        Legs on their way to another engine.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        board: Switchboard,
        playout: Playout,
        packetiser: Packetiser,
        digits: Digits,
        copies: Copies,
        reports: Reports,
        comfort: ComfortOut,
        levels: Levels,
    ) -> None:
        self._rows = rows
        self._board = board
        self._playout = playout
        self._packetiser = packetiser
        self._digits = digits
        self._copies = copies
        self._reports = reports
        self._comfort = comfort
        self._levels = levels
        self._beat = 0
        self.sources: dict[int, Source] = {}
        self.parting: set[int] = set()
        self._handlers: dict[type[Command], Callable[[Any], str | None]] = {
            OpenLeg: self._open_leg,
            UpdateLeg: self._update_leg,
            PartLeg: self._part,
            AdoptLeg: self._adopt,
            CloseLeg: lambda command: self._close(command.leg, {Kind.LEG}),
            OpenSource: self._open_source,
            Play: self._play,
            StopPlaying: self._stop_playing,
            OpenTap: self._open_tap,
            CloseSeat: self._close_seat,
            SetMatrix: board.set_matrix,
            CloseBridge: lambda command: board.close_bridge(command.bridge),
            SendDigits: self._send_digits,
            DetectDigits: self._detect_digits,
            Record: self._record,
            MeasureLevels: levels.measure,
            SetAutoGain: levels.set_auto_gain,
        }

    def do(self, command: Command, beat: int) -> str | None:
        """Carry out a command at this beat; return why not, or None."""
        handler = self._handlers.get(type(command))
        if handler is None:
            return f"no such command as {type(command).__name__}"
        self._beat = beat
        return handler(command)

    # --------------------------------------------------------------------------------- legs

    def _open_leg(self, command: OpenLeg) -> str | None:
        why = self._taken(command.leg) or _codec_refusal(command)
        if why is not None:
            return why
        if not 0 <= command.jitter_ms <= MAX_JITTER_MS:
            return f"a jitter delay of {command.jitter_ms} ms; give 0 to {MAX_JITTER_MS}"
        rows = self._rows
        generation = rows.generation
        row = rows.add(command.leg, Kind.LEG)
        if rows.generation != generation:
            self._board.changed_all()
        self._set_session(row, command)
        rows.lead[row] = self._playout.beats(command.jitter_ms)
        rows.timeout_beats[row] = self._playout.beats(command.media_timeout_ms)
        rows.heard_at[row] = self._beat
        self._packetiser.open(row, command.ssrc, command.first_sequence, command.first_timestamp)
        self._reports.open(
            row, command.leg, command.cname, self._beat, extended=command.extended_reports
        )
        self._reports.allow_reduced(row, command.reduced_rtcp)
        rows.opened_at[row] = self._beat
        self._board.enter(row)
        return None

    def _part(self, command: PartLeg) -> str | None:
        why = self._close(command.leg, {Kind.LEG})
        if why is None:
            self.parting.add(command.leg)
        return why

    def _adopt(self, command: AdoptLeg) -> str | None:
        phases = self._board.phases
        why = self._taken(command.leg) or moving.refusal(command.state, phases)
        if why is not None:
            return why
        generation = self._rows.generation
        row = moving.put_in(self._rows, command.leg, command.state, self._beat, phases)
        self._playout.wide.open(row, int(self._rows.law[row]), command.state.fmtp)
        if self._rows.generation != generation:
            self._board.changed_all()
        self._comfort.agreed |= bool(self._rows.noise_payload_type[row] >= 0)
        self._levels.busy = True  # until a look says that nobody asks for anything
        self._reports.put_in(row, command.leg, command.state.report, self._beat)
        self._board.enter(row)
        return None

    def _update_leg(self, command: UpdateLeg) -> str | None:
        row = self._row(command.leg, Kind.LEG)
        if row is None:
            return f"no leg {command.leg}"
        why = _codec_refusal(command)
        if why is not None:
            return why
        rows = self._rows
        if rows.law[row] != CODECS[command.codec].number:
            self._change_codec(row, command)
        if command.sends and not rows.sends[row]:
            rows.marker[row] = True
        if command.receives and not rows.receives[row]:
            rows.heard_at[row] = rows.opened_at[row] = self._beat  # the media timeout starts anew
            rows.media_lost[row] = False
        self._set_session(row, command)
        self._reports.allow_reduced(row, command.reduced_rtcp)
        self._board.changed(int(rows.phase[row]))
        return None

    def _change_codec(self, row: int, command: UpdateLeg) -> None:
        """Forget what waits in the old codec; our timestamps go on from where they are."""
        rows = self._rows
        rows.ring_slot[row] = -NEVER
        scale, before = CODECS[command.codec].scale, int(rows.clock_scale[row])
        if scale != before:
            rows.timestamp_out[row] = -(-int(rows.timestamp_out[row]) * before // scale)
            # The peer's timestamps count in another clock from now on: another timeline.
            rows.origin[row] = NEVER
            rows.jitter_q4[row], rows.transit[row] = 0, -1
            rows.extended_timestamp[row] = rows.extended_timestamp[row] & 0xFFFF_FFFF

    def _set_session(self, row: int, command: OpenLeg | UpdateLeg) -> None:
        rows, codec = self._rows, CODECS[command.codec]
        rows.law[row], rows.is_wide[row] = codec.number, not codec.is_g711
        rows.clock_scale[row] = codec.scale
        self._playout.wide.open(row, codec.number, command.fmtp)
        coming = command.payload_type_in
        coming = command.payload_type if coming is None else coming
        rows.payload_type[row], rows.payload_type_in[row] = command.payload_type, coming
        plain = codec.is_g711 and command.receives
        rows.payload_type_plain[row] = coming if plain else -1
        dtmf, dtmf_in = command.dtmf_payload_type, command.dtmf_payload_type_in
        rows.dtmf_payload_type[row] = -1 if dtmf is None else dtmf
        dtmf_in = dtmf if dtmf_in is None else dtmf_in
        rows.dtmf_payload_type_in[row] = -1 if dtmf_in is None else dtmf_in
        if rows.dtmf_scale[row] != command.dtmf_clock_hz // NARROW_HZ:
            self._digits.change_clock(row)
            rows.dtmf_scale[row] = command.dtmf_clock_hz // NARROW_HZ
        noise = command.noise_payload_type
        rows.noise_payload_type[row] = -1 if noise is None else noise
        rows.hush_frames[row], rows.hushed[row] = 0, False
        self._comfort.agreed |= noise is not None
        rows.sends[row] = command.sends
        rows.receives[row] = command.receives

    def _close(self, seat: int, kinds: set[Kind]) -> str | None:
        row = self._rows.of_seat.get(seat)
        if row is None or self._rows.kind[row] not in kinds or seat in self._board.closing:
            return f"no seat {seat}"
        self._board.remove(seat)
        return None

    # ---------------------------------------------------------------------- sources and taps

    def _open_source(self, command: OpenSource) -> str | None:
        why = self._taken(command.source) or _rate_refusal(command.rate_hz)
        if why is None:
            row = self._add(command.source, Kind.SOURCE)
            voice = self._playout.wide.open_voice(row, command.rate_hz)
            self.sources[command.source] = Source(voice)
        return why

    def _play(self, command: Play) -> str | None:
        source = self.sources.get(command.source)
        return f"no source {command.source}" if source is None else source.play(command)

    def _stop_playing(self, command: StopPlaying) -> str | None:
        source = self.sources.get(command.source)
        if source is None:
            return f"no source {command.source}"
        source.stop()
        return None

    def _open_tap(self, command: OpenTap) -> str | None:
        why = self._taken(command.tap) or _rate_refusal(command.rate_hz)
        if why is not None:
            return why
        if command.follow is not None:
            return self._copies.follow(command)
        if command.rate_hz != NARROW_HZ:
            return "a tap with a seat of its own at another rate than 8000 Hz; let it follow a leg"
        self._add(command.tap, Kind.TAP)
        return None

    def _close_seat(self, command: CloseSeat) -> str | None:
        if self._copies.unfollow(command.seat):
            return None
        return self._close(command.seat, {Kind.SOURCE, Kind.TAP})

    def _add(self, seat: int, kind: Kind) -> int:
        generation = self._rows.generation
        row = self._rows.add(seat, kind)
        if self._rows.generation != generation:
            self._board.changed_all()
        return row

    # --------------------------------------------------------------------------------- others

    def _send_digits(self, command: SendDigits) -> str | None:
        row = self._row(command.leg, Kind.LEG)
        return f"no leg {command.leg}" if row is None else self._digits.send(row, command)

    def _detect_digits(self, command: DetectDigits) -> str | None:
        row = self._row(command.leg, Kind.LEG)
        if row is None:
            return f"no leg {command.leg}"
        self._digits.inband.watch(row, command.on, mask=command.mask)
        return None

    def _record(self, command: Record) -> str | None:
        row = self._row(command.leg, Kind.LEG)
        if row is None:
            return f"no leg {command.leg}"
        if (why := _rate_refusal(command.rate_hz)) is not None:
            return why
        if command.on:
            self._copies.record(command.leg, command.rate_hz)
        else:
            self._copies.leave_out(command.leg)
        self._board.changed(int(self._rows.phase[row]))
        return None

    def _row(self, seat: int, kind: Kind) -> int | None:
        row = self._rows.of_seat.get(seat)
        return row if row is not None and self._rows.kind[row] == kind else None

    def _taken(self, seat: int) -> str | None:
        if seat in self._rows.of_seat or self._copies.known(seat):
            return f"seat {seat} is open already"
        return None


def _rate_refusal(rate_hz: int) -> str | None:
    """Say what is wrong with the rate of a source, a tap or a recording, or None."""
    return None if rate_hz in RATES_HZ else f"{rate_hz} Hz; give 8000, 16000 or 48000"


def _codec_refusal(command: OpenLeg | UpdateLeg) -> str | None:
    """Say what is wrong with a session's numbers, or None."""
    codec = CODECS.get(command.codec)
    if codec is None:
        return f"codec {command.codec!r}; give one of {', '.join(CODECS)}"
    if (missing := unavailable(codec)) is not None:
        return missing
    if command.dtmf_clock_hz <= 0 or command.dtmf_clock_hz % NARROW_HZ:
        return f"events in a clock of {command.dtmf_clock_hz} Hz; give a multiple of 8000"
    out = (command.payload_type, command.dtmf_payload_type, command.noise_payload_type)
    coming = tuple(
        sent if own is None else own
        for sent, own in (
            (command.payload_type, command.payload_type_in),
            (command.dtmf_payload_type, command.dtmf_payload_type_in),
        )
    )
    return _numbers_refusal(out) or _numbers_refusal(coming)


def _numbers_refusal(numbers: tuple[int | None, ...]) -> str | None:
    """Say what is wrong with the payload types of one direction, or None."""
    kinds = [number for number in numbers if number is not None]
    # 64 to 95 would be taken for RTCP on a shared port (RFC 5761 section 4).
    if any(not 0 <= kind <= 127 or 64 <= kind <= 95 for kind in kinds):
        return "a payload type outside 0-63 and 96-127"
    if len(set(kinds)) != len(kinds):
        return "audio, telephone-event and comfort noise share a payload type"
    return None
