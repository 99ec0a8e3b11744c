"""One track of one segment: an RTP session of its own, from payloads to pcap records.

The timestamp is the sample index of the capture's clock, the same origin in all tracks, so tracks
align by arithmetic; in a track of a higher rate, that index times the rate over 8000.  The sequence
starts at 0 and a segment ends before it wraps, so the roll-over counter is 0 throughout and any
tool can start at any packet.

References
----------
RFC 3550 sections 5.1, 6.4.1; RFC 3551 sections 4.5.11 (L16), 6 (payload types); RFC 3711
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from ..rtp.rtcp import (
    CNAME,
    Goodbye,
    Report,
    SenderReport,
    SourceDescription,
    SourceItems,
    build_compound,
    ntp_timestamp,
)
from ..rtp.srtp import MasterKey, SrtpSession
from .pcap import DatagramFrame

CLOCK_HZ = 8000
MOST_CSRCS = 15  # RFC 3550 section 5.1: a four-bit count
FIRST_PORT = 16384
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8, "L16": 96, "JSON": 97}
L16 = PAYLOAD_TYPES["L16"]
L16_TYPES = {CLOCK_HZ: L16, 16000: 98, 48000: 99}  # by rate
CODECS = {number: codec for codec, number in PAYLOAD_TYPES.items()} | dict.fromkeys(
    L16_TYPES.values(), "L16"
)

_HEADER = struct.Struct(">BBHII")
_CLOCK_MASK = 0xFFFFFFFF
_MOST_SETS = 256  # of contributors, remembered


class Kind(Enum):
    """What a track holds."""

    SPOKEN = "in"  # what the mixer consumed from a leg: L16
    HEARD = "heard"  # the payload sent to a leg: PCMU or PCMA; of a wide leg before encoding: L16
    # What is heard of a wide leg at 8 kHz, and what it would hear there: a replay is of these.
    SPOKEN_8K = "in-8k"  # L16
    HEARD_8K = "heard-8k"  # PCMU
    EVENTS = "events"  # facts: JSON lines


@dataclass(frozen=True, slots=True)
class Track:
    """The identity of a track, the same in all segments but for its keys."""

    name: str  # "<leg>.in", "<leg>.heard", "events"
    kind: Kind
    ssrc: int
    port: int  # even; RTCP is on the next
    leg: str | None = None
    role: str | None = None
    codec: str = "JSON"
    rate_hz: int = CLOCK_HZ

    @property
    def scale(self) -> int:
        """Samples of the track in one of the capture's clock."""
        return self.rate_hz // CLOCK_HZ

    def duration(self, octets: int) -> int:
        """Return how long a payload of audio is, in samples of the capture's clock."""
        return octets // (2 if self.codec == "L16" else 1) // self.scale

    def to_json(self) -> dict[str, Any]:
        """Return the track's entry for a manifest."""
        entry = {
            "name": self.name,
            "kind": self.kind.value,
            "ssrc": self.ssrc,
            "port": self.port,
            "leg": self.leg,
            "role": self.role,
            "codec": self.codec,
        }
        return entry if self.rate_hz == CLOCK_HZ else {**entry, "rate": self.rate_hz}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Track:
        """Read a manifest's entry.

        Raises
        ------
        KeyError, ValueError, TypeError
            Not such an entry.
        """
        return cls(
            name=str(entry["name"]),
            kind=Kind(entry["kind"]),
            ssrc=int(entry["ssrc"]),
            port=int(entry["port"]),
            leg=entry.get("leg"),
            role=entry.get("role"),
            codec=str(entry["codec"]),
            rate_hz=_rate(entry.get("rate", CLOCK_HZ)),
        )


def _rate(value: Any) -> int:
    """Return the rate that a manifest names."""
    if value not in L16_TYPES:
        raise ValueError("a rate that no track has")
    return int(value)


class Moment(NamedTuple):
    """One sample of the capture's clock, with what every packet needs of it computed once."""

    sample: int
    time: bytes  # for record headers, from `pcap.pack_time`


class Template(NamedTuple):
    """What the records of one track's packets of one size and CSRC list have in common."""

    head: bytes  # up to the payload; time, checksum, type, sequence number and timestamp are zero
    checksum: int  # the sum of what the UDP checksum covers beside the UDP payload
    trailer: int  # octets that the packet grows by


class TrackWriter:
    """Turns the payloads of one track into encrypted pcap records, for one segment.

    Parameters
    ----------
    track
        Whose identity the packets bear.
    key
        This segment's random master key and salt.

    Attributes
    ----------
    session
        Protects the packets.
    """

    __slots__ = (
        "_expected", "_frame", "_heads", "_report_frame", "_scale", "_templates", "_trailer",
        "ended", "octets", "packets", "session", "track",
    )  # fmt: skip

    def __init__(self, track: Track, key: MasterKey) -> None:
        self.track = track
        self.packets = 0
        self.octets = 0  # of payload, as RFC 3550 section 6.4.1 counts
        self._expected: int | None = None
        self._scale = track.scale
        self.ended = False  # its BYE was written
        self.session = SrtpSession.sender(key, ssrc=track.ssrc)
        self._trailer = key.suite.rtp_tag_length
        self._frame = DatagramFrame(track.port)
        self._report_frame = DatagramFrame(track.port + 1)
        self._heads: dict[tuple[int, ...], tuple[int, bytes]] = {(): (0x80, b"")}
        self._templates: dict[tuple[int, ...], Template] = {}

    def audio(
        self,
        payload: bytes,
        moment: Moment,
        payload_type: int,
        frame_samples: int,
        csrcs: tuple[int, ...] = (),
    ) -> bytes:
        """Return the record of one audio frame; the marker bit tells that a gap came before."""
        sample = moment.sample
        if sample != self._expected:
            payload_type |= 0x80
        self._expected = sample + frame_samples
        return self._packet(payload, moment, payload_type, csrcs)

    def place(
        self, ats: list[int], frame_samples: int, size: int, csrcs: tuple[int, ...]
    ) -> tuple[Template, int, int]:
        """Count audio frames that `AudioBatch` makes the records of.

        Parameters
        ----------
        ats
            Their samples, in order.
        size
            Octets of each payload.

        Returns
        -------
        The template of the records, the sequence number of the first packet, and the sample at
        which no gap would be before it, -1 for none.
        """
        sequence, expected = self.packets, self._expected
        self._expected = ats[-1] + frame_samples
        self.packets = sequence + len(ats)
        self.octets += len(ats) * size
        template = self._templates.get((size, *csrcs))
        if template is None:
            template = self._add_template(size, csrcs)
        return template, sequence, -1 if expected is None else expected

    def _add_template(self, size: int, csrcs: tuple[int, ...]) -> Template:
        if len(self._templates) > _MOST_SETS:
            self._templates.clear()
        first_octet, listed = self._heads.get(csrcs) or self._add_head(csrcs)
        rtp = _HEADER.pack(first_octet, 0, 0, 0, self.track.ssrc) + listed
        network, checksum = self._frame.head(len(rtp) + size + self._trailer)
        head = bytes(8) + network + bytes(2) + rtp
        template = self._templates[(size, *csrcs)] = Template(head, checksum, self._trailer)
        return template

    def fact(self, payload: bytes, moment: Moment, *, last: bool) -> bytes:
        """Return the record of one packet of facts."""
        return self._packet(payload, moment, PAYLOAD_TYPES["JSON"] | (0x80 if last else 0), ())

    def report(self, moment: Moment, wall: float, *, bye: bool) -> bytes:
        """Return the record of an SRTCP compound that counts every packet so far.

        Parameters
        ----------
        moment
            The sample that `wall` is mapped to.
        wall
            Seconds since the epoch.
        bye
            Whether this ends the track.
        """
        ssrc = self.track.ssrc
        compound: list[Report] = [
            SenderReport(
                ssrc=ssrc,
                ntp=ntp_timestamp(wall),
                rtp_timestamp=moment.sample * self._scale & _CLOCK_MASK,
                packet_count=self.packets,
                octet_count=self.octets & _CLOCK_MASK,
            ),
            SourceDescription((SourceItems(ssrc, ((CNAME, self.track.name),)),)),
        ]
        if bye:
            compound.append(Goodbye((ssrc,)))
            self.ended = True
        protected = self.session.protect_rtcp(build_compound(compound))
        return self._report_frame.record(protected, moment.time)

    def _packet(
        self, payload: bytes, moment: Moment, second_octet: int, csrcs: tuple[int, ...]
    ) -> bytes:
        head = self._heads.get(csrcs)
        if head is None:
            head = self._add_head(csrcs)
        first_octet, listed = head
        timestamp = moment.sample * self._scale & _CLOCK_MASK
        header = _HEADER.pack(first_octet, second_octet, self.packets, timestamp, self.track.ssrc)
        self.packets += 1
        self.octets += len(payload)
        protected = self.session.protect(header + listed + payload)
        return self._frame.record(protected, moment.time)

    def _add_head(self, csrcs: tuple[int, ...]) -> tuple[int, bytes]:
        if len(self._heads) > _MOST_SETS:  # sets of contributors that came and went
            self._heads = {(): (0x80, b"")}
        listed = csrcs[:MOST_CSRCS]
        head = (0x80 | len(listed), struct.pack(f">{len(listed)}I", *listed))
        self._heads[csrcs] = head
        return head
