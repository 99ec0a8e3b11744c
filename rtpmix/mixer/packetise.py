"""RTP out: one SSRC, sequence +1 and timestamp +160 a packet, for a leg's whole life.

Headers of all rows are written at once through strided views on the packet array; each packet is
sent from where it lies.

References
----------
RFC 3550 section 5.1; RFC 3551 section 4.1 (marker on the first packet of a talkspurt)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .boxes import Outbox
from .rows import FRAME, HEADER, Numbers, Rows

VERSION_2 = 0x80
MARKER = 0x80
_HEAD = np.dtype([("first", ">u2"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")])


class Packetiser:
    """Writes the packets of a phase and keeps the list of what to send."""

    def __init__(self, rows: Rows, phases: int) -> None:
        self._rows = rows
        self._outboxes = [Outbox(phase=phase) for phase in range(phases)]
        self._indices: list[Numbers] = [np.zeros(0, np.int64)] * phases

    def beats(self, ms: int) -> int:
        """Return a time in beats."""
        return ms * len(self._outboxes) // 20

    def open(self, row: int, ssrc: int, sequence: int, timestamp: int) -> None:
        """Set a row's RTP identity."""
        rows = self._rows
        rows.ssrc_out[row] = ssrc
        rows.sequence_out[row] = sequence
        rows.timestamp_out[row] = timestamp
        rows.packets[row, 0] = VERSION_2
        rows.marker[row] = True
        rows.header_ssrc[row] = ssrc

    def arrange(self, phase: int, index: Numbers) -> None:
        """Set the rows that send in a phase; rebuilds its list only when they changed."""
        outbox = self._outboxes[phase]
        rows = self._rows
        self._indices[phase] = index
        outbox.rows = index.tolist()
        outbox.views = list(map(rows.views.__getitem__, outbox.rows))
        packets = rows.packets
        outbox.starts = (packets.ctypes.data + index * packets.strides[0]).astype(np.uint64)
        outbox.version += 1

    def write(self, phase: int, codes: NDArray[np.uint8]) -> Outbox:
        """Fill in the packets of a phase.

        Parameters
        ----------
        codes : (n, 160) uint8 ndarray
            Payloads of the rows given to `arrange`, in that order.
        """
        rows = self._rows
        index = self._indices[phase]
        rows.packets[index, HEADER:] = codes
        rows.packets[index, 1] = rows.payload_type[index] | rows.marker[index] * np.int64(MARKER)
        rows.marker[index] = False
        rows.header_sequence[index] = rows.sequence_out[index] & 0xFFFF
        rows.header_timestamp[index] = rows.timestamp_out[index] & 0xFFFF_FFFF
        rows.sequence_out[index] += 1
        rows.sent[index] += 1
        rows.octets_out[index] += FRAME
        outbox = self._outboxes[phase]
        outbox.extra.clear()
        return outbox

    def nothing(self, phase: int) -> Outbox:
        """Return the outbox of a phase in which nobody is."""
        outbox = self._outboxes[phase]
        outbox.extra.clear()
        return outbox

    def some(
        self, index: Numbers, payloads: list[bytes], stamps: Numbers, begins: NDArray[np.bool_]
    ) -> list[bytes]:
        """Return a packet of audio of any length for each of some rows.

        Parameters
        ----------
        index : (n,) int64 ndarray
            Rows, each once.
        stamps : (n,) int64 ndarray
            RTP timestamps.
        begins : (n,) bool ndarray
            Whose packet begins a talkspurt, if nothing else says so.
        """
        rows = self._rows
        heads = np.empty(len(index), _HEAD)
        marks = rows.marker[index] | begins
        heads["first"] = VERSION_2 << 8 | rows.payload_type[index] | marks * np.int64(MARKER)
        heads["sequence"] = rows.sequence_out[index] & 0xFFFF
        heads["timestamp"] = stamps & 0xFFFF_FFFF
        heads["ssrc"] = rows.ssrc_out[index]
        rows.marker[index] = False
        rows.sequence_out[index] += 1
        rows.sent[index] += 1
        rows.octets_out[index] += [len(payload) for payload in payloads]
        octets = heads.tobytes()
        return [
            octets[HEADER * number : HEADER * number + HEADER] + payload
            for number, payload in enumerate(payloads)
        ]

    def one(
        self, row: int, *, payload_type: int, payload: bytes, timestamp: int, marker: bool
    ) -> bytes:
        """Return a packet of another kind with the row's next sequence number."""
        rows = self._rows
        sequence = int(rows.sequence_out[row]) & 0xFFFF
        rows.sequence_out[row] += 1
        rows.sent[row] += 1
        rows.octets_out[row] += len(payload)
        rows.marker[row] = False
        return b"".join(
            (
                bytes((VERSION_2, payload_type | (MARKER if marker else 0))),
                sequence.to_bytes(2, "big"),
                (timestamp & 0xFFFF_FFFF).to_bytes(4, "big"),
                int(rows.ssrc_out[row]).to_bytes(4, "big"),
                payload,
            )
        )
