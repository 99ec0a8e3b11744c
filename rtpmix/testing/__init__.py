"""Tools for testing programs built on rtpmix: time that jumps, a network in a box, phones, ears.

::

    def test_who_hears_whom() -> None:
        async def main() -> None:
            alice = TonePhone("alice", host="192.0.2.10", frequency=437)
            bob = TonePhone("bob", host="192.0.2.20", frequency=1013)
            async with alice, bob:
                await alice.call(bob.uri)
                await asyncio.sleep(3600)          # takes no hour
                assert alice.hears(437, 1013) == {1013}

        run(main(), VirtualNet(seed=1, delay_ms=40, jitter_ms=10, loss=0.01))
"""

from .audio import (
    align,
    click_db,
    decode_g711,
    encode_g711,
    level_db,
    relative_levels,
    rms_db,
    tone,
    tones_heard,
)
from .loop import VirtualLoop, VirtualTimeError, run
from .media import VirtualMediaIO
from .net import Link, Passage, VirtualNet
from .phone import TonePhone
from .phone_dialog import PhoneState
from .phone_media import ReceivedPacket
from .servers import virtual_server
from .speaker import speech

__all__ = [
    "Link",
    "Passage",
    "PhoneState",
    "ReceivedPacket",
    "TonePhone",
    "VirtualLoop",
    "VirtualMediaIO",
    "VirtualNet",
    "VirtualTimeError",
    "align",
    "click_db",
    "decode_g711",
    "encode_g711",
    "level_db",
    "relative_levels",
    "rms_db",
    "run",
    "speech",
    "tone",
    "tones_heard",
    "virtual_server",
]
