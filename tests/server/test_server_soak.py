"""A whole server, call after call over a bad network: afterwards it is as large as before.

Each round two phones meet, a supervisor comes, goes through all modes and leaves, keys are pressed,
levels measured, something is played, heard along and recorded, and all hang up.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import rtpmix
from benchmarks.soak import table_sizes
from rtpmix import Mode
from rtpmix.testing import TonePhone, VirtualNet, run, virtual_server
from rtpmix.testing.phone_dialog import PhoneState
from tests.server.test_calls import ALICE, BOB, assert_nothing_left, conference
from tests.server.test_speaking import leg_of

COACH = 1693.0


async def call(phone: TonePhone) -> None:
    """Call the room; over this network an INVITE may have to be sent again."""
    await asyncio.wait_for(phone.call("sip:room@192.0.2.1"), 30)


async def one_round(server: rtpmix.Server, phones: list[TonePhone], path: Path) -> float:
    """Let everything happen once; return the delay of the first leg's playout."""
    alice, bob, coach = phones
    await call(alice)
    await call(bob)
    await asyncio.sleep(0.5)
    bridge = server.find_bridge("room")
    assert bridge is not None
    bridge.measure_levels()
    leg_of(bridge, "alice").auto_gain()
    leg_of(bridge, "alice").detect_digits(mask=True)
    recording = await bridge.record(path)
    hearing = bridge.listen()
    supervisor = await server.invite(coach.uri)
    supervision = await bridge.supervise(supervisor, agent=leg_of(bridge, "bob"))
    for mode in (Mode.WHISPER, Mode.BARGE, Mode.MONITOR):
        await asyncio.sleep(0.5)
        await supervision.set_mode(mode)
    await alice.press("42#")
    await (await bridge.play(rtpmix.tone(425, 0.2))).finished()
    await asyncio.sleep(2)
    delay = leg_of(bridge, "alice").stats().playout_delay_ms
    hearing.close()
    await recording.stop()
    shutil.rmtree(path)
    for each in phones:
        if each.state is not PhoneState.IDLE:
            each.bye()
    await asyncio.sleep(45)  # longer than any transaction lives
    return delay


def soak(rounds: int, tmp_path: Path) -> None:
    net = VirtualNet(seed=5, delay_ms=20, jitter_ms=15, loss=0.01)
    sizes: list[dict[str, int]] = []
    delays: list[float] = []

    async def main() -> None:
        server = virtual_server(
            net, recording_key=tmp_path / "key", soft_limiter=True, comfort_noise=True
        )
        phones = [
            TonePhone(name, host=f"192.0.2.{host}", frequency=frequency)
            for name, host, frequency in (
                ("alice", 10, ALICE),
                ("bob", 20, BOB),
                ("coach", 30, COACH),
            )
        ]
        conference(server)
        async with server, phones[0], phones[1], phones[2]:
            for number in range(rounds):
                delays.append(await one_round(server, phones, tmp_path / f"{number}"))
                sizes.append(table_sizes(server))
            assert_nothing_left(server.snapshot())

    run(main(), net, limit=100.0 * rounds + 100)
    assert len(sizes[0]) > 100, "few tables were found: this would pass without looking"
    first, last = sizes[1], sizes[-1]
    grown = {
        name: (first.get(name, 0), size)
        for name, size in last.items()
        # The virtual network remembers each pair of addresses, for its own dice.
        if size > first.get(name, 0) + 4 and "._net." not in name
    }
    assert not grown
    assert max(delays) < 80


def test_a_server_is_after_some_rounds_as_large_as_after_two(tmp_path: Path) -> None:
    soak(5, tmp_path)


@pytest.mark.soak
def test_a_server_is_after_many_rounds_as_large_as_after_two(tmp_path: Path) -> None:
    soak(200, tmp_path)
