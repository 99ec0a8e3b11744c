"""The engine's state: one row a seat, in arrays that live as long as the engine.

A column of numbers for all legs costs one numpy call where objects would cost one Python operation
a leg. Rows are reused; the capacity grows by doubling, of a large engine by `MOST_MORE`
rows, and never shrinks.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME = 160  # samples of one ptime (20 ms at 8000 Hz)
SLOTS = 16  # frames in a row's playout ring: what can wait, 320 ms
WINDOWS = 32  # of a quarter of a second each: what the playout remembers, 8 s
TAPS = 32  # of the filter that colours comfort noise
CYCLE = 240  # samples: two periods of the lowest pitch
HEADER = 12  # octets of an RTP header without CSRCs
PACKET = HEADER + FRAME
NEVER = 1 << 60  # a beat that never comes
MOST_MORE = (
    512  # rows made at once: what is fresh is filled in, so it takes memory before it is used
)


class Kind(IntEnum):
    """What a row is."""

    FREE = 0
    LEG = 1  # has a socket
    SOURCE = 2  # talks only
    TAP = 3  # listens only


# name -> (dtype, value of a fresh row, further dimensions)
COLUMNS: dict[str, tuple[Any, int, tuple[int, ...]]] = {
    "kind": (np.uint8, Kind.FREE, ()),
    "seat": (np.int64, -1, ()),
    "phase": (np.int64, 0, ()),
    "law": (np.int64, 0, ()),  # number of the codec
    "is_wide": (np.bool_, False, ()),  # the codec is not G.711
    "clock_scale": (np.int64, 1, ()),  # of its RTP clock: units of 8000 Hz
    # Numbers on what we send, and on what comes; -1 in "plain": no packet is a plain one
    "payload_type": (np.int64, 0, ()),
    "payload_type_in": (np.int64, 0, ()),
    "payload_type_plain": (np.int64, 0, ()),
    "dtmf_payload_type": (np.int64, -1, ()),
    "dtmf_payload_type_in": (np.int64, -1, ()),
    "dtmf_scale": (np.int64, 1, ()),  # of the clock that events are told in
    "sends": (np.bool_, False, ()),
    "receives": (np.bool_, False, ()),
    # What comes in: RFC 3550 appendix A.1 and the playout ring
    "ssrc_in": (np.int64, -1, ()),
    "extended_sequence": (np.int64, 0, ()),
    "base_sequence": (np.int64, 0, ()),
    "extended_timestamp": (np.int64, 0, ()),
    "seen": (np.uint64, 0, ()),  # bit n: the packet n before the newest one came
    "transit": (np.int64, 0, ()),
    "jitter_q4": (np.int64, 0, ()),
    "slot_timestamp": (np.int64, 0, ()),  # extended timestamp of slot 0
    "origin": (np.int64, NEVER, ()),  # beat from which slot 0 may be played
    "anchored_at": (np.int64, 0, ()),  # beat at which the timeline began
    "played_slot": (np.int64, -NEVER, ()),
    "latest": (np.int64, -NEVER, ()),  # of this window's packets: arrival, less slot, in beats
    "transits": (np.int64, -NEVER, (WINDOWS,)),  # the same of the last windows with packets
    "windows": (np.int64, 0, ()),  # how many there were
    "late_at": (np.int64, -NEVER, ()),  # beat at which packets last came too late
    "to_cut": (np.int64, 0, ()),  # frames of delay that nobody needs
    "carry": (np.int64, 0, ()),  # samples taken out of the ring and not yet played
    "carried": (np.int16, 0, (FRAME,)),
    "waited": (np.int64, 0, ()),  # ticks since the last piece was cut out
    "lead": (np.int64, 0, ()),  # beats from arrival to playout that we aim at
    "late_since": (np.int64, NEVER, ()),
    "quiet_until": (np.int64, 0, ()),  # beat until which nothing coming is not loss
    "heard_at": (np.int64, 0, ()),  # beat of the last RTP or RTCP packet
    "media_seen": (np.bool_, False, ()),
    "timeout_beats": (np.int64, 0, ()),
    "media_lost": (np.bool_, False, ()),
    "ring": (np.uint8, 0, (SLOTS, FRAME)),
    "ring_slot": (np.int64, -NEVER, (SLOTS,)),  # which slot number is in the ring there
    "even_frame": (np.int16, 0, (FRAME,)),  # of the last two ticks, what was played
    "odd_frame": (np.int16, 0, (FRAME,)),
    "cycle": (np.int16, 0, (CYCLE,)),  # what is repeated while nothing comes
    "pitch": (np.int64, 0, ()),  # its period, in samples
    "step": (np.int64, 0, ()),  # from where it begins to what was played last
    "missing_run": (np.int64, 0, ()),  # frames invented in a row
    # Comfort noise, in and out
    "noise_since": (np.int64, NEVER, ()),  # slot from which the talker is silent
    "noise_target": (np.int64, 0, ()),  # root mean square, in samples
    "noise_amplitude": (np.int64, 0, ()),  # at the end of the last frame
    "noise_taps": (np.int16, 0, (TAPS,)),
    "noise_seed": (np.int64, 0, ()),
    "noise_time": (np.int64, 0, ()),  # samples of noise so far
    "noise_payload_type": (np.int64, -1, ()),  # of what we send in place of silence; -1: packets
    "hush_frames": (np.int64, 0, ()),  # silent frames in a row
    "hushed": (np.bool_, False, ()),  # no packets now
    "described_at": (np.int64, -NEVER, ()),
    "described_level": (np.int64, 0, ()),  # -dBov
    # Levels: meter, automatic gain, limiter
    "measured": (np.bool_, False, ()),
    "level_squares": (np.int64, 0, ()),  # sum of squares since the last telling
    "level_frames": (np.int64, 0, ()),  # and how many frames that was
    "noise_floor": (np.int64, NEVER, ()),  # mean square
    "speaking": (np.int64, 0, ()),  # frames for which it still counts as speech
    "auto_gain": (np.bool_, False, ()),
    "speech_power": (np.int64, 0, ()),  # averaged mean square of speech
    "gain_aim": (np.int64, 4096, ()),  # Q12
    "gain_q12": (np.int64, 4096, ()),  # at the end of the last frame
    "limiter_gain": (np.int64, 32768, ()),  # Q15, of what this row hears
    # What goes out
    "ssrc_out": (np.int64, 0, ()),
    "sequence_out": (np.int64, 0, ()),
    "timestamp_out": (np.int64, 0, ()),
    "marker": (np.bool_, False, ()),  # the next packet begins a talkspurt
    "octets_out": (np.int64, 0, ()),
    "ticked_at": (np.int64, -NEVER, ()),
    # Counters, see LegStats
    "lost_before": (np.int64, 0, ()),  # in streams that ended
    "received_before": (np.int64, 0, ()),  # in streams that ended
    "received": (np.int64, 0, ()),
    "played": (np.int64, 0, ()),
    "concealed": (np.int64, 0, ()),
    "late": (np.int64, 0, ()),
    "duplicate": (np.int64, 0, ()),
    "reordered": (np.int64, 0, ()),
    "dropped": (np.int64, 0, ()),
    "trimmed": (np.int64, 0, ()),
    "stretched": (np.int64, 0, ()),
    "sent": (np.int64, 0, ()),
    "send_errors": (np.int64, 0, ()),
    "clipped": (np.int64, 0, ()),
    # Missing frames of the present stream, see bursts
    "played_at_start": (np.int64, 0, ()),
    "played_at_loss": (np.int64, 0, ()),
    "missed": (np.int64, 0, ()),
    "missing_runs": (np.int64, 0, ()),
    "cluster_frames": (np.int64, 0, ()),  # of missing frames that are close together
    "cluster_missing": (np.int64, 0, ()),
    "bursts": (np.int64, 0, ()),
    "burst_frames": (np.int64, 0, ()),
    "burst_missing": (np.int64, 0, ()),
    "opened_at": (np.int64, 0, ()),  # beat from which the peer could be heard
    "never_heard": (np.bool_, False, ()),  # told as one-way audio
    "digits": (np.int64, 0, ()),
}

Numbers = NDArray[np.int64]

# What the next packet of a running stream reads and writes: side by side in memory, two cache lines
# a row, so that a batch of packets takes them all with one call (see `receive`).
HOT = (
    "payload_type_plain",
    "ssrc_in",
    "extended_sequence",
    "extended_timestamp",
    "seen",
    "received",
    "heard_at",
    "transit",
    "jitter_q4",
    "slot_timestamp",
    "phase",
    "origin",
    "played_slot",
    "latest",
    "late_since",
    "missing_run",
)
_FRESH_HOT = np.array([COLUMNS[name][1] for name in HOT], np.int64)
# The other columns of one value a row, by type: a fresh row takes one assignment for each type.
_SINGLES = {
    dtype: tuple(
        name
        for name, (its, _, shape) in COLUMNS.items()
        if its is dtype and not shape and name not in HOT
    )
    for dtype in (np.int64, np.bool_)
}
_FRESH_SINGLES = {
    dtype: np.array([COLUMNS[name][1] for name in names], dtype)
    for dtype, names in _SINGLES.items()
}
_APART = tuple(
    name
    for name in COLUMNS
    if name not in HOT and not any(name in some for some in _SINGLES.values())
)


class Rows:
    """All rows, and who has which.

    Attributes
    ----------
    hot : (capacity, 16) int64 ndarray
        The columns named in `HOT`; each is an attribute as well, a view of this.
    packets : (capacity, 172) uint8 ndarray
        The RTP packet that each row sends next; header fields are written through the strided
        views ``header_*``.
    views : list of memoryview
        The same packets, for `socket.send`.
    """

    kind: NDArray[np.uint8]
    seat: Numbers
    phase: Numbers
    law: Numbers
    is_wide: NDArray[np.bool_]
    clock_scale: Numbers
    payload_type: Numbers
    payload_type_in: Numbers
    payload_type_plain: Numbers
    dtmf_payload_type: Numbers
    dtmf_payload_type_in: Numbers
    dtmf_scale: Numbers
    sends: NDArray[np.bool_]
    receives: NDArray[np.bool_]
    ssrc_in: Numbers
    extended_sequence: Numbers
    base_sequence: Numbers
    extended_timestamp: Numbers
    seen: NDArray[np.uint64]
    transit: Numbers
    jitter_q4: Numbers
    slot_timestamp: Numbers
    origin: Numbers
    anchored_at: Numbers
    played_slot: Numbers
    latest: Numbers
    transits: Numbers
    windows: Numbers
    late_at: Numbers
    to_cut: Numbers
    carry: Numbers
    carried: NDArray[np.int16]
    waited: Numbers
    lead: Numbers
    late_since: Numbers
    quiet_until: Numbers
    heard_at: Numbers
    media_seen: NDArray[np.bool_]
    timeout_beats: Numbers
    media_lost: NDArray[np.bool_]
    ring: NDArray[np.uint8]
    ring_slot: Numbers
    even_frame: NDArray[np.int16]
    odd_frame: NDArray[np.int16]
    cycle: NDArray[np.int16]
    pitch: Numbers
    step: Numbers
    missing_run: Numbers
    noise_since: Numbers
    noise_target: Numbers
    noise_amplitude: Numbers
    noise_taps: NDArray[np.int16]
    noise_seed: Numbers
    noise_time: Numbers
    noise_payload_type: Numbers
    hush_frames: Numbers
    hushed: NDArray[np.bool_]
    described_at: Numbers
    described_level: Numbers
    measured: NDArray[np.bool_]
    level_squares: Numbers
    level_frames: Numbers
    noise_floor: Numbers
    speaking: Numbers
    auto_gain: NDArray[np.bool_]
    speech_power: Numbers
    gain_aim: Numbers
    gain_q12: Numbers
    limiter_gain: Numbers
    ssrc_out: Numbers
    sequence_out: Numbers
    timestamp_out: Numbers
    marker: NDArray[np.bool_]
    octets_out: Numbers
    ticked_at: Numbers
    lost_before: Numbers
    received_before: Numbers
    received: Numbers
    played: Numbers
    concealed: Numbers
    late: Numbers
    duplicate: Numbers
    reordered: Numbers
    dropped: Numbers
    trimmed: Numbers
    stretched: Numbers
    sent: Numbers
    send_errors: Numbers
    clipped: Numbers
    played_at_start: Numbers
    played_at_loss: Numbers
    missed: Numbers
    missing_runs: Numbers
    cluster_frames: Numbers
    cluster_missing: Numbers
    bursts: Numbers
    burst_frames: Numbers
    burst_missing: Numbers
    opened_at: Numbers
    never_heard: NDArray[np.bool_]
    digits: Numbers

    def __init__(self, capacity: int = 64) -> None:
        self.capacity = 0
        self.packets: NDArray[np.uint8] = np.zeros((0, PACKET), np.uint8)
        self.hot: Numbers = np.zeros((0, len(HOT)), np.int64)
        self._singles: dict[Any, NDArray[Any]] = {}
        self.of_seat: dict[int, int] = {}
        self.generation = 0  # grows when arrays moved: cached views are stale
        self._free: list[int] = []
        self._grow(capacity)

    def add(self, seat: int, kind: Kind) -> int:
        """Give a seat a fresh row."""
        if not self._free:
            self._grow(self.capacity + min(self.capacity, MOST_MORE))
        row = self._free.pop()
        self.hot[row] = _FRESH_HOT
        for dtype, fresh in _FRESH_SINGLES.items():
            self._singles[dtype][:, row] = fresh
        for name in _APART:
            getattr(self, name)[row] = COLUMNS[name][1]
        self.kind[row] = kind
        self.seat[row] = seat
        self.packets[row] = 0
        self.of_seat[seat] = row
        return row

    def remove(self, seat: int) -> None:
        """Take a seat's row back."""
        row = self.of_seat.pop(seat)
        self.kind[row] = Kind.FREE
        self.sends[row] = self.receives[row] = False
        self.payload_type_plain[row] = -1  # what still comes for it is nobody's
        self._free.append(row)

    def _grow(self, capacity: int) -> None:
        self._grow_hot(capacity)
        for dtype, names in _SINGLES.items():
            columns = np.empty((len(names), capacity), dtype)
            columns[:] = _FRESH_SINGLES[dtype][:, None]
            if self.capacity:
                columns[:, : self.capacity] = self._singles[dtype]
            self._singles[dtype] = columns
            for name, column in zip(names, columns, strict=True):
                setattr(self, name, column)
        for name in _APART:
            dtype, fresh, shape = COLUMNS[name]
            column = np.full((capacity, *shape), fresh, dtype)
            if self.capacity:
                column[: self.capacity] = getattr(self, name)
            setattr(self, name, column)
        packets = np.zeros((capacity, PACKET), np.uint8)
        if self.capacity:
            packets[: self.capacity] = self.packets
        self.packets = packets
        self.views = [memoryview(row.data) for row in packets]
        self.header_sequence = self._header_field(">u2", 2)
        self.header_timestamp = self._header_field(">u4", 4)
        self.header_ssrc = self._header_field(">u4", 8)
        # The lowest rows are given out first: neighbours in memory.
        self._free[:0] = range(capacity - 1, self.capacity - 1, -1)
        self.capacity = capacity
        self.generation += 1

    def _grow_hot(self, capacity: int) -> None:
        hot = np.empty((capacity, len(HOT)), np.int64)
        hot[:] = _FRESH_HOT
        hot[: self.capacity] = self.hot
        self.hot = hot
        for place, name in enumerate(HOT):
            setattr(self, name, hot[:, place].view(COLUMNS[name][0]))

    def _header_field(self, dtype: str, offset: int) -> NDArray[Any]:
        return np.ndarray(
            (len(self.packets),), dtype, buffer=self.packets.data, offset=offset, strides=(PACKET,)
        )
