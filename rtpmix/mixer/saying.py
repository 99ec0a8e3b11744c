"""Legs that digits are said to: an event in place of a frame's audio, audio in the pauses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .boxes import Outbox
from .digits import Digits
from .layout import Layout
from .packetise import Packetiser
from .rows import Rows


def say_digits(
    rows: Rows,
    digits: Digits,
    packetiser: Packetiser,
    layout: Layout,
    codes: NDArray[np.uint8],
    sent: NDArray[np.bool_],
    outbox: Outbox,
) -> NDArray[np.bool_]:
    """Send an event, or audio in a pause, to each leg of this phase that digits are said to.

    Returns ``sent`` with the legs that got this frame's audio after all.
    """
    sent = sent.copy()
    for row in [row for row in digits.saying if row in layout.positions]:
        if not rows.sends[row]:
            continue
        event = digits.next_packet(row)
        if event is not None:
            packet = packetiser.one(
                row,
                payload_type=int(rows.dtmf_payload_type[row]),
                payload=event.payload,
                timestamp=event.timestamp,
                marker=event.marker,
            )
        elif rows.is_wide[row]:
            sent[layout.positions[row]] = True  # and encoded by `wide_send`
            continue
        else:
            packet = packetiser.one(
                row,
                payload_type=int(rows.payload_type[row]),
                payload=codes[layout.positions[row]].tobytes(),
                timestamp=int(rows.timestamp_out[row]),
                marker=False,
            )
            sent[layout.positions[row]] = True
        outbox.extra.append((row, packet, False))
    return sent
