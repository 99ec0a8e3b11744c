"""A browser with JsSIP over WSS is a leg like any other: headless Chromium and its own WebRTC."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import rtpmix
from rtpmix.testing import TonePhone
from tests.interop.chromium import Site
from tests.interop.sipp import server_address
from tests.interop.web_phone import (
    WebPhone,
    for_web_phones,
    open_phone,
    site_with_jssip,
    site_with_sipjs,
)
from tests.interop.webrtc_peer import address, calls_reach

__all__ = ["address"]  # a fixture

ALICE, BOB = 437.0, 1013.0
TONES = (ALICE, BOB)
CHECKED_FOR = 12  # seconds; Chromium gives a path up that has not answered for five


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The site of the page with the phone."""
    async with site_with_jssip() as found:
        yield found


@pytest.fixture
def config(config: rtpmix.Config, site: Site, address: str, tmp_path: Path) -> rtpmix.Config:
    """A server that lets the page in."""
    return for_web_phones(config, tmp_path, origin=site.origin, users=("alice",), address=address)


async def comes_to_hear(phone: TonePhone, *frequencies: float) -> None:
    """Wait until a phone hears just these in what came last."""
    while phone.hears(*TONES) != set(frequencies):  # noqa: ASYNC110 - state
        await asyncio.sleep(0.1)


async def held(events: AsyncIterator[rtpmix.Event]) -> bool:
    """Wait until a phone puts us on hold, or takes us off."""
    return await anext(event.held async for event in events if isinstance(event, rtpmix.LegHeld))


async def test_a_page_with_jssip_is_a_leg_like_any_other(
    server: rtpmix.Server, site: Site, address: str, tmp_path: Path
) -> None:
    """It registers, calls, is heard and hears, presses keys, holds, and is hung up by either."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    legs: asyncio.Queue[rtpmix.Leg] = asyncio.Queue()
    causes: asyncio.Queue[str] = asyncio.Queue()

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        assert call.identity == "alice"
        far = await server.invite(bob.uri)
        near = await call.answer(encryption=rtpmix.Encryption.REQUIRED)
        await server.bridge(near, far)
        legs.put_nowait(near)
        causes.put_nowait((await near.closed()).cause)

    events = server.events()
    opened = open_phone(site, server, tmp_path, user="alice", voice=ALICE)
    async with asyncio.timeout(120), bob, opened as alice:
        alice.do("start")
        await alice.tells("registered")
        assert server.contacts("alice") == 1

        alice.do("call", target="sip:bob@pbx.example")
        await alice.tells("confirmed")
        leg = await legs.get()
        assert leg.encryption == "DTLS-SRTP"
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)

        alice.do("press", digit="5", transport="INFO")
        alice.do("press", digit="7", transport="RFC2833")
        digits = leg.digits()
        assert {await anext(digits), await anext(digits)} == {"5", "7"}

        alice.do("hold")
        assert await held(events)
        await comes_to_hear(bob)
        alice.do("unhold")
        assert not await held(events)
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)

        await leg.hold()
        await alice.tells("hold", originator="remote")
        await leg.resume()
        await alice.tells("unhold", originator="remote")
        await comes_to_hear(bob, ALICE)

        alice.do("hangup")
        await alice.tells("ended", originator="local")
        assert await causes.get() == "remote-bye"

        alice.do("call", target="sip:bob@pbx.example")
        await alice.tells("confirmed")
        leg = await legs.get()
        await site.comes_to_hear(BOB, among=TONES)
        await leg.hangup()
        await alice.tells("ended", originator="remote")
        assert await causes.get() == "local-bye"

        alice.do("stop")
        await alice.tells("unregistered")
        assert server.contacts("alice") == 0
    counts = server.snapshot()["media"]["srtp"]
    assert counts["unprotected"] > 50
    assert counts["forged"] == 0
    with contextlib.suppress(asyncio.QueueEmpty):
        raise AssertionError(legs.get_nowait())


async def test_a_page_behind_nat_is_found_by_its_checks(
    server: rtpmix.Server, site: Site, address: str, tmp_path: Path
) -> None:
    """RFC 8445 section 7.3.2. Its SDP names an address that nothing comes from, on hold as well."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    calls_reach(server, bob)
    events, latched = server.events(), server.events()
    opened = open_phone(site, server, tmp_path, user="alice", voice=ALICE, behind="10.255.77.3")
    async with asyncio.timeout(120), bob, opened as alice:
        alice.do("start")
        await alice.tells("registered")
        alice.do("call", target="sip:bob@pbx.example")
        await alice.tells("confirmed")
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)
        async for event in latched:
            if isinstance(event, rtpmix.LegMediaLatched):
                break
        assert event.remote[0] == address
        assert event.signalled is not None
        assert event.signalled[0] == "10.255.77.3"
        alice.do("hold")
        assert await held(events)
        await comes_to_hear(bob)
        alice.do("unhold")
        assert not await held(events)
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)
        alice.do("hangup")
        await alice.tells("ended", originator="local")
    counts = server.snapshot()["media"]["checks"]
    assert counts["moved"] >= 1
    assert (counts["refused"], counts["replayed"]) == (0, 0)


async def test_a_page_that_restarts_ice_is_heard_all_the_while(
    server: rtpmix.Server, site: Site, address: str, tmp_path: Path
) -> None:
    """RFC 8445 section 9: twice, and for longer than Chromium bears a path without answers."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    calls_reach(server, bob)
    opened = open_phone(site, server, tmp_path, user="alice", voice=ALICE)
    async with asyncio.timeout(120), bob, opened as alice:
        alice.do("start")
        await alice.tells("registered")
        alice.do("call", target="sip:bob@pbx.example")
        await alice.tells("confirmed")
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)
        names = set()
        for _ in range(2):
            alice.do("restart")
            told = await alice.tells("restarted")
            names |= {told["ours"], told["theirs"]}
            assert bob.hears(*TONES) == {ALICE}
        assert len(names) == 4
        await asyncio.sleep(CHECKED_FOR)
        await comes_to_hear(bob, ALICE)
        await site.comes_to_hear(BOB, among=TONES)
        alice.do("hangup")
        await alice.tells("ended", originator="local")
    media = server.snapshot()["media"]
    assert media["srtp"]["handshakes"] == 1
    assert media["srtp"]["forged"] == 0
    assert media["checks"]["replayed"] == 0


async def status_of_a_handshake(server: rtpmix.Server, origin: str) -> int:
    """Return what a WebSocket handshake with this Origin gets: a page is not told."""
    where = server_address(server, "wss")
    host, _, port = where.rpartition(":")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {where}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
    )
    status = (await reader.readline()).split()[1]
    writer.close()
    return int(status)


async def test_a_page_of_another_origin_is_refused(
    server: rtpmix.Server, site: Site, tmp_path: Path
) -> None:
    """RFC 6455 section 4.2.2: 403 where the origin is not acceptable."""
    async with site_with_jssip() as other:
        opened = open_phone(other, server, tmp_path, user="alice", voice=ALICE)
        async with asyncio.timeout(60), opened as phone:
            phone.do("start")
            await phone.tells("disconnected")
            assert not other.news.holds(event="connected")
            assert await status_of_a_handshake(server, other.origin) == 403
            assert await status_of_a_handshake(server, site.origin) == 101
    assert server.contacts("alice") == 0


async def is_called(server: rtpmix.Server, site: Site, alice: WebPhone, bob: TonePhone) -> None:
    """Call the page, be heard and hear, and hang up."""
    near = await server.invite("sip:alice@pbx.example")
    await alice.tells("confirmed")
    assert near.encryption == "DTLS-SRTP"
    far = await server.invite(bob.uri)
    await server.bridge(near, far)
    await comes_to_hear(bob, ALICE)
    await site.comes_to_hear(BOB, among=TONES)
    await near.hold()
    await comes_to_hear(bob)
    await near.resume()
    await comes_to_hear(bob, ALICE)
    await site.comes_to_hear(BOB, among=TONES)
    await near.hangup()
    await far.hangup()
    await alice.tells("ended", originator="remote")


async def test_a_page_with_jssip_is_called(
    server: rtpmix.Server, site: Site, address: str, tmp_path: Path
) -> None:
    """Our offer, over the connection that the page opened: it answers, hears, is heard."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    opened = open_phone(site, server, tmp_path, user="alice", voice=ALICE)
    async with asyncio.timeout(120), bob, opened as alice:
        alice.do("start")
        await alice.tells("registered")
        await is_called(server, site, alice, bob)


async def test_a_page_with_sip_js_calls_and_is_called(
    config: rtpmix.Config, address: str, tmp_path: Path
) -> None:
    bob = TonePhone("bob", host=address, frequency=BOB)
    async with asyncio.timeout(120), site_with_sipjs() as site:
        let_in = replace(config, websocket_origins=(site.origin,))
        async with rtpmix.Server(let_in) as server, bob:
            calls_reach(server, bob)
            async with open_phone(site, server, tmp_path, user="alice", voice=ALICE) as alice:
                alice.do("start")
                await alice.tells("registered")
                await is_called(server, site, alice, bob)
                alice.do("call", target="sip:bob@pbx.example")
                await alice.tells("confirmed")
                await comes_to_hear(bob, ALICE)
                await site.comes_to_hear(BOB, among=TONES)
                alice.do("hold")
                await alice.tells("hold")
                await comes_to_hear(bob)
                alice.do("unhold")
                await alice.tells("unhold")
                await comes_to_hear(bob, ALICE)
                alice.do("hangup")
                await alice.tells("ended", originator="local")


async def test_a_page_goes_to_another_media_worker_and_is_heard_there(
    config: rtpmix.Config, site: Site, address: str, tmp_path: Path
) -> None:
    """Its keys move; its checks of the path are answered there, or it would stop within seconds."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    async with asyncio.timeout(120), rtpmix.Server(replace(config, workers=2)) as server, bob:
        async with open_phone(site, server, tmp_path, user="alice", voice=ALICE) as alice:
            alice.do("start")
            await alice.tells("registered")
            near = await server.invite("sip:alice@pbx.example")
            bridge = await server.bridge(await server.invite(bob.uri))
            await bridge.add(near)
            assert server.snapshot()["media"]["legs_moved"] == 1
            await comes_to_hear(bob, ALICE)
            await site.comes_to_hear(BOB, among=TONES)
            for _ in range(CHECKED_FOR):
                await site.listen(1.0)
                assert bob.hears(*TONES) == {ALICE}
            await site.comes_to_hear(BOB, among=TONES)
            await near.hangup()
            await alice.tells("ended", originator="remote")
        srtp = server.snapshot()["media"]["srtp"]
        assert srtp["handshakes"] == 1
        assert srtp["forged"] == 0
