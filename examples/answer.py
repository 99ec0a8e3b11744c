"""Answer every call with a greeting, write down the keys that are pressed, hang up on ``#``.

Run it as ``python examples/answer.py GREETING.wav``. The greeting is a sound file at 8000 Hz;
without one it is a tone.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

import rtpmix


def beep() -> bytes:
    """Return half a second of 440 Hz, as int16 PCM at 8000 Hz."""
    wave = 8000 * np.sin(2 * np.pi * 440 / 8000 * np.arange(4000))
    pcm: bytes = wave.astype("<i2").tobytes()
    return pcm


def answer_calls(server: rtpmix.Server, greeting: str | bytes) -> list[str]:
    """Serve each incoming call; the keys of all callers are put into the list returned."""
    pressed: list[str] = []

    @server.on_invite
    async def greet(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        bridge = await server.bridge(leg)
        await bridge.play(greeting)
        async for digit in leg.digits():
            if digit == "#":
                break
            pressed.append(digit)
            print(f"{call.caller} pressed {digit}")

    return pressed


async def main() -> None:
    server = rtpmix.Server(rtpmix.Config())
    answer_calls(server, sys.argv[1] if len(sys.argv) > 1 else beep())
    async with server:
        print(f"call sip:anybody@{server.sip_address}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
