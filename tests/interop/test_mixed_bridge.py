"""Who hears whom in one bridge of a plain leg, one with keys by SDES, and a browser's by DTLS.

baresip speaks in the clear and with SDES; the third is JsSIP in headless Chromium, over WSS. With
G.711 all three, and with a codec each: Chromium has Opus then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import rtpmix
from tests.interop.chromium import Site
from tests.interop.conftest import Phones
from tests.interop.hearing import SETTLE_S, Listen, usual_level_db
from tests.interop.sipp import server_address
from tests.interop.test_who_hears_whom import POLICY, TONES, go_through_all_modes
from tests.interop.web_phone import for_web_phones, open_phone, site_with_jssip
from tests.interop.webrtc_peer import address

__all__ = ["address"]  # a fixture

# Against the loudest. Chromium bridges what its own clock and a busy machine leave out, with noise.
HEARD_DB, UNHEARD_DB = -6.0, -40.0
AUDIBLE_DB = -30.0  # of full scale
SLACK_S = 40.0
SUITE = "AES_CM_128_HMAC_SHA1_80"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The site of the page with the phone."""
    async with site_with_jssip() as found:
        yield found


@pytest.fixture
def config(config: rtpmix.Config, site: Site, address: str, tmp_path: Path) -> rtpmix.Config:
    """A server that lets the page in, and phones over UDP."""
    return for_web_phones(config, tmp_path, origin=site.origin, users=("web",), address=address)


async def comes_to_hear(listen: Listen, talkers: set[str]) -> None:
    """Wait until a party hears these, and nobody else.

    A browser on a busy machine may come late, or lose its turn for a while. Who should not be heard
    and is would be so all the time, and this would never end.
    """
    await listen(SETTLE_S)  # what is in buffers was said before
    while True:
        heard = await listen(1.0)
        levels = {name: usual_level_db(heard, tone) for name, tone in TONES.items()}
        loudest = max(levels.values())
        found = {name for name, level in levels.items() if level > loudest + UNHEARD_DB}
        weakest = min(levels[name] for name in talkers)
        if loudest > AUDIBLE_DB and found == talkers and weakest > loudest + HEARD_DB:
            return


async def come_to_hear(mode: str, ears: dict[str, Listen]) -> None:
    """Wait until everybody hears whom the policy says."""
    async with asyncio.timeout(SLACK_S):
        await asyncio.gather(
            *(comes_to_hear(ears[listener], talkers) for listener, talkers in POLICY[mode].items())
        )


@pytest.mark.parametrize(
    ("plain", "keyed", "web", "codecs"),
    [
        ("agent", "supervisor", "customer", {}),
        ("customer", "agent", "supervisor", {}),
        ("agent", "supervisor", "customer", {"plain": "G722/8000/1", "keyed": "L16/16000/1"}),
        ("customer", "agent", "supervisor", {"plain": "opus/48000/2", "keyed": "G722/8000/1"}),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value,
)
async def test_plain_sdes_and_dtls_legs_hear_whom_the_policy_says(
    config: rtpmix.Config,
    phones: Phones,
    site: Site,
    address: str,
    tmp_path: Path,
    plain: str,
    keyed: str,
    web: str,
    codecs: dict[str, str],
) -> None:
    """In every mode: so a whisper is not heard by the customer, whatever carries it."""
    if codecs:
        config = replace(config, codecs=("opus", "G722", "L16/16000", "PCMU"))
    async with rtpmix.Server(config) as server:
        ways = {"plain": plain, "keyed": keyed, "web": web}
        await meet_in_one_bridge(server, phones, site, address, tmp_path, ways, codecs)


async def meet_in_one_bridge(
    server: rtpmix.Server,
    phones: Phones,
    site: Site,
    address: str,
    tmp_path: Path,
    parties: dict[str, str],
    codecs: dict[str, str],
) -> None:
    """Let a party of each kind call, and go through the modes."""
    plain, keyed, web = parties["plain"], parties["keyed"], parties["web"]
    coded = {way: codecs.get(way, "PCMU/8000/1") for way in ("plain", "keyed")}
    arrived: dict[str, rtpmix.Leg] = {}
    everybody = asyncio.Event()
    over = asyncio.Event()

    @server.on_invite
    async def arrive(call: rtpmix.IncomingCall) -> None:
        arrived[call.target] = await call.answer()
        if len(arrived) == len(TONES):
            everybody.set()
        await over.wait()

    soft = {plain: await phones(plain, TONES[plain], host=address, codec=coded["plain"])}
    soft[keyed] = await phones(
        keyed, TONES[keyed], host=address, media="srtp-mand", codec=coded["keyed"]
    )
    ears = {name: phone.listen for name, phone in soft.items()} | {web: site.listen}
    opened = open_phone(site, server, tmp_path, user="web", voice=TONES[web])
    async with asyncio.timeout(400), opened as page:
        page.do("start")
        await page.tells("registered")
        page.do("call", target=f"sip:{web}@pbx.example")
        for name, phone in soft.items():
            await phone.dial(f"sip:{name}@{server_address(server, 'udp')}")
        await everybody.wait()
        ways = {name: leg.encryption for name, leg in arrived.items()}
        assert ways == {plain: None, keyed: SUITE, web: "DTLS-SRTP"}
        if codecs:
            spoken = {name: leg.codec for name, leg in arrived.items()}
            names = {
                party: coded[way].partition("/")[0]
                for way, party in parties.items()
                if way != "web"
            }
            assert spoken[web] == "opus"
            assert all(spoken[party].startswith(name) for party, name in names.items())
        bridge = await server.bridge()
        await bridge.add(arrived["customer"])
        await bridge.add(arrived["agent"], role=rtpmix.Role.AGENT)
        await page.tells("confirmed")
        await come_to_hear("before", ears)
        talkers = (arrived["agent"], arrived["supervisor"])
        await go_through_all_modes(bridge, *talkers, ears, come_to_hear)
        over.set()
        await page.tells("ended", originator="remote")
    assert server.snapshot()["media"]["srtp"]["forged"] == 0
