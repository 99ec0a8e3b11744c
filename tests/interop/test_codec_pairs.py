"""Who hears whom for every pair of codecs, with phones that this project did not write.

baresip has all but L16 at 48 kHz, which is GStreamer's; PJSIP has G.711 and G.722, with coders of
its own. (Chromium's Opus and PCMU are in `test_mixed_bridge`.)
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import rtpmix
from rtpmix.audio.codecs import CODECS
from tests.interop.baresip import Baresip
from tests.interop.conftest import Phones, PjsuaPhones
from tests.interop.gstreamer import GstPhone
from tests.interop.hearing import SETTLE_S, Listen, usual_level_db
from tests.interop.pjsua_phone import Pjsua
from tests.interop.sipp import server_address

# As baresip calls them, L16 with one channel. A tone for each, none a multiple of another.
NAMES = {name: f"{codec.encoding}/{codec.rate_hz}/1" for name, codec in CODECS.items()}
NAMES |= {"opus": "opus/48000/2", "G722": "G722/8000/1"}
TONES = dict(zip(CODECS, (437.0, 673.0, 1013.0, 1301.0, 1693.0, 2089.0, 2593.0), strict=True))
LEVEL_DB = -26.0  # six of them together stay below full scale
EQUAL_DB, UNHEARD_DB, AUDIBLE_DB = -6.0, -30.0, -40.0
SLACK_S = 60.0  # for a busy machine
AT_48 = "L16/48000"
Phone = Baresip | Pjsua | GstPhone


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server that speaks every codec, G.711 last."""
    return dataclasses.replace(config, codecs=tuple(reversed(CODECS)))


async def comes_to_hear(listen: Listen, listener: str, talkers: set[str]) -> None:
    """Wait until a phone hears these alike, and nobody else, itself least of all."""
    levels: dict[str, float] = {}
    await listen(SETTLE_S)
    try:
        async with asyncio.timeout(SLACK_S):
            while True:
                heard = await listen(1.0)
                levels = {name: usual_level_db(heard, tone) for name, tone in TONES.items()}
                loudest = max(levels.values())
                others = [levels[name] for name in TONES if name not in talkers]
                if loudest > AUDIBLE_DB and min(levels[t] for t in talkers) > loudest + EQUAL_DB:
                    assert max(others) < loudest + UNHEARD_DB, f"{listener} hears {levels}"
                    return
    except TimeoutError:
        pytest.fail(f"{listener} should hear {sorted(talkers)}, and hears {levels}")


class Makes:
    """Makes a phone for a codec, with its tone."""

    def __init__(
        self, phones: Phones, pjsua: PjsuaPhones, gst_launch: str, directory: Path
    ) -> None:
        self._phones, self._pjsua = phones, pjsua
        self._gst_launch, self._directory = gst_launch, directory
        self._made: list[GstPhone] = []

    async def __call__(self, codec: str, *, tone: str = "", pjsip: bool = False) -> Phone:
        """Start a phone of one codec, with the tone of it or of another."""
        tone = tone or codec
        name = f"{codec}-{tone}".replace("/", "-")
        if codec == AT_48:
            phone = GstPhone(self._gst_launch, self._directory / name, name, TONES[tone])
            self._made.append(phone)
            await phone.start()
            return phone
        if pjsip and codec in ("PCMU", "PCMA", "G722"):
            volume = round(32767 * 10 ** (LEVEL_DB / 20))
            return await self._pjsua(name, TONES[tone], codecs=[codec], volume=volume)
        return await self._phones(name, TONES[tone], codec=NAMES[codec], level_db=LEVEL_DB)

    async def stop(self) -> None:
        """End the phones that nobody else ends."""
        await asyncio.gather(*(phone.stop() for phone in self._made))


@pytest.fixture
async def make(
    phones: Phones, pjsua: PjsuaPhones, gst_launch: str, tmp_path: Path
) -> AsyncIterator[Makes]:
    """A maker of phones."""
    maker = Makes(phones, pjsua, gst_launch, tmp_path)
    yield maker
    await maker.stop()


async def check_all(server: rtpmix.Server, phones: dict[str, Phone]) -> None:
    """Put all phones into one bridge and listen at each."""
    legs = {name: await server.invite(phone.address) for name, phone in phones.items()}
    assert {name: leg.codec for name, leg in legs.items()} == {name: name for name in phones}
    await server.bridge(*legs.values())
    everybody = set(phones)
    await asyncio.gather(
        *(comes_to_hear(phone.listen, name, everybody - {name}) for name, phone in phones.items())
    )
    for leg in legs.values():
        stats = leg.stats()
        assert stats.dropped == 0
        assert stats.received >= 50  # a second of packets: so long was listened at the least


@pytest.mark.parametrize("pjsip", [False, True], ids=["baresip", "PJSIP"])
async def test_every_codec_is_heard_in_every_other_one(
    server: rtpmix.Server, make: Makes, pjsip: bool
) -> None:
    """Seven phones, one for each codec, in one bridge: 42 pairs; G.711 and G.722 of two makers."""
    await check_all(server, {codec: await make(codec, pjsip=pjsip) for codec in CODECS})


@pytest.mark.parametrize("codec", CODECS)
async def test_two_phones_of_one_codec_hear_each_other(
    server: rtpmix.Server, make: Makes, codec: str
) -> None:
    """The one calls and the other is called, where it can call."""
    one, other = "PCMU", "PCMA"  # whose tones they have
    alice, bob = await make(codec, tone=one), await make(codec, tone=other)

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        await meet(await call.answer())

    async def meet(near: rtpmix.Leg) -> None:
        legs = [near, await server.invite(bob.address)]
        assert [leg.codec for leg in legs] == [codec, codec]
        await server.bridge(*legs)
        await near.closed()

    if isinstance(alice, GstPhone):
        meeting = asyncio.ensure_future(meet(await server.invite(alice.address)))
    else:
        await alice.dial(f"sip:bob@{server_address(server, 'udp')}")
    await asyncio.gather(
        comes_to_hear(alice.listen, "alice", {other}), comes_to_hear(bob.listen, "bob", {one})
    )
    if isinstance(alice, GstPhone):
        meeting.cancel()
