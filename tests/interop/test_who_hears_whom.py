"""Who hears whom, with phones that this project did not write.

Customer, agent and supervisor each speak a frequency of their own and keep what they hear. In every
mode the frequencies found are those of the policy table, and any other is at least 60 dB below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import rtpmix
from rtpmix.testing.audio import Samples, level_db
from tests.interop.conftest import Phones
from tests.interop.hearing import Listen, usual_level_db
from tests.interop.sipp import Sipp, ToneSocket, server_address

TONES = {"customer": 437.0, "agent": 1013.0, "supervisor": 1693.0}
SETTLE_S = 0.4  # playout buffers and the phones' own, after a mode came into force
# The noise of G.711 coded three times lies 37 dB below a tone; a window of three seconds leaves
# about -70 dB of it at one frequency.
LISTEN_S = 3.0

Check = Callable[[str, dict[str, Listen]], Awaitable[None]]

# Mode -> listener -> talkers heard: written down once more, not taken from the code.
POLICY = {
    "before": {"customer": {"agent"}, "agent": {"customer"}},
    rtpmix.Mode.MONITOR: {
        "customer": {"agent"},
        "agent": {"customer"},
        "supervisor": {"customer", "agent"},
    },
    rtpmix.Mode.WHISPER: {
        "customer": {"agent"},
        "agent": {"customer", "supervisor"},
        "supervisor": {"customer", "agent"},
    },
    rtpmix.Mode.BARGE: {
        "customer": {"agent", "supervisor"},
        "agent": {"customer", "supervisor"},
        "supervisor": {"customer", "agent"},
    },
    rtpmix.Mode.TAKEOVER: {  # with the agent's fate "listen"
        "customer": {"supervisor"},
        "agent": {"customer", "supervisor"},
        "supervisor": {"customer"},
    },
}


def check(mode: str, listener: str, heard: Samples, talkers: set[str]) -> None:
    """Hold what one party heard against the policy."""
    usual = {talker: usual_level_db(heard, frequency) for talker, frequency in TONES.items()}
    loudest = max(usual.values())
    assert loudest > -30.0, f"{mode}: {listener} heard silence"
    for talker, frequency in TONES.items():
        if talker in talkers:
            level = usual[talker] - loudest
            assert level > -6.0, f"{mode}: {listener} hears {talker} at {level:.1f} dB"
        else:
            level = level_db(heard, frequency) - loudest
            assert level < -60.0, f"{mode}: {listener} hears {talker} at {level:.1f} dB"


async def check_everybody(mode: str, ears: dict[str, Listen]) -> None:
    """Listen at every party at once, and check all of them."""
    await asyncio.sleep(SETTLE_S)
    expected = POLICY[mode]
    recordings = await asyncio.gather(*(ears[listener](LISTEN_S) for listener in expected))
    for (listener, talkers), heard in zip(expected.items(), recordings, strict=True):
        check(str(mode), listener, heard, talkers)


async def go_through_all_modes(
    bridge: rtpmix.Bridge,
    agent: rtpmix.Leg,
    coach: rtpmix.Leg,
    ears: dict[str, Listen],
    checking: Check = check_everybody,
) -> None:
    """Monitor, whisper, barge, take over, hand back, and end the supervision."""
    supervision = await bridge.supervise(coach, agent=agent, mode=rtpmix.Mode.MONITOR)
    await checking(rtpmix.Mode.MONITOR, ears)
    for mode in (rtpmix.Mode.WHISPER, rtpmix.Mode.BARGE):
        await supervision.set_mode(mode)
        await checking(mode, ears)
    await supervision.takeover(fate=rtpmix.Fate.LISTEN)
    await checking(rtpmix.Mode.TAKEOVER, ears)
    await supervision.hand_back()
    await supervision.set_mode(rtpmix.Mode.MONITOR)
    await checking(rtpmix.Mode.MONITOR, ears)
    await supervision.stop()


async def test_softphones_hear_whom_the_policy_says(server: rtpmix.Server, phones: Phones) -> None:
    """baresip as customer, agent and supervisor; the customer calls in."""
    customer, agent, coach = [await phones(name, TONES[name]) for name in TONES]
    ears = {phone.name: phone.listen for phone in (customer, agent, coach)}
    done = asyncio.get_running_loop().create_future()

    @server.on_invite
    async def support_line(call: rtpmix.IncomingCall) -> None:
        try:
            legs = [await call.answer(), await server.invite(agent.address)]
            bridge = await server.bridge()
            await bridge.add(legs[0])
            await bridge.add(legs[1], role=rtpmix.Role.AGENT)
            await check_everybody("before", ears)
            coach_leg = await server.invite(coach.address)
            await go_through_all_modes(bridge, legs[1], coach_leg, ears)
        except BaseException as error:
            done.set_exception(error)
            raise
        done.set_result(None)

    await customer.dial(f"sip:support@{server.sip_address}")
    await asyncio.wait_for(done, 240)
    await customer.event("CALL_CLOSED")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sipp_legs_hear_whom_the_policy_says(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """SIPp as customer, agent and supervisor; each calls in by its own name."""
    media = {name: ToneSocket(frequency) for name, frequency in TONES.items()}
    arrived: dict[str, rtpmix.Leg] = {}
    everybody = asyncio.Event()
    over = asyncio.Event()

    @server.on_invite
    async def arrive(call: rtpmix.IncomingCall) -> None:
        arrived[call.target] = await call.answer()
        if len(arrived) == len(TONES):
            everybody.set()
        await over.wait()

    address = server_address(server, transport)
    calls = []
    for name, socket in media.items():
        await socket.open()
        keys = {"rtp_port": str(socket.port)}
        calls.append(
            await sipp.run(
                "call_until_bye", remote=address, user=name, transport=transport, keys=keys
            )
        )
    try:
        await asyncio.wait_for(everybody.wait(), 30)
        bridge = await server.bridge()
        await bridge.add(arrived["customer"])
        await bridge.add(arrived["agent"], role=rtpmix.Role.AGENT)
        ears = {name: socket.listen for name, socket in media.items()}
        await check_everybody("before", ears)
        await go_through_all_modes(bridge, arrived["agent"], arrived["supervisor"], ears)
    finally:
        over.set()
        for socket in media.values():
            socket.close()
    for call in calls:
        await call.finish()
