"""baresip over UDP, TCP and mutual TLS; its transfer key, and presence.

Debian 12 has baresip 1.0: no attended transfer and no lamps (RFC 4235), and its message lamp
sends SUBSCRIBEs without end one time in three. Those are shown by `test_pjsua.py`,
`test_linphone.py` and `test_sipp_events.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix.testing.audio import level_db
from tests.interop.baresip import Baresip
from tests.interop.conftest import Phones
from tests.interop.hearing import hear_each_other, hears_only
from tests.interop.office import REALM, TONES, TRANSPORTS, Certificates, login, with_users_and_tls
from tests.interop.sipp import server_address


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Certificates for a server and phones on the loopback address."""
    return Certificates(tmp_path / "pki", "127.0.0.1")


@pytest.fixture
def config(config: rtpmix.Config, certificates: Certificates) -> rtpmix.Config:
    """A server with three users, over UDP, TCP and mutual TLS."""
    return with_users_and_tls(config, certificates)


class Office:
    """Phones that are registered at the server."""

    def __init__(self, server: rtpmix.Server, phones: Phones, certificates: Certificates) -> None:
        self.server = server
        self._phones = phones
        self._certificates = certificates

    async def phone(self, name: str, transport: str = "udp", **options: Any) -> Baresip:
        """Return a phone that has registered."""
        if transport == "tls":
            shown = self._certificates.phone_and_key
            options = {"ca": self._certificates.ca, "certificate": shown, **options}
        phone = await self._phones(
            name, TONES[name], **login(self.server, name, transport), **options
        )
        if options.get("certificate") != self._certificates.stranger_and_key:
            # It tells of it to nobody who connects later.
            await until(lambda: self.server.contacts(name) == 1)
        return phone


@pytest.fixture
def office(server: rtpmix.Server, phones: Phones, certificates: Certificates) -> Office:
    """A maker of registered phones."""
    return Office(server, phones, certificates)


async def both_hear_each_other(one: Baresip, other: Baresip) -> None:
    """Check the tones at both ends."""
    await hear_each_other({one.name: one.listen, other.name: other.listen})


async def until(true: Callable[[], bool]) -> None:
    """Wait for a fact of the server."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - state
            await asyncio.sleep(0.05)


async def conversation(office: Office, transport: str = "udp") -> tuple[Baresip, Baresip]:
    """Let alice call bob through a bridge of the server."""
    server = office.server
    alice, bob = await office.phone("alice", transport), await office.phone("bob", transport)

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        assert call.identity == "alice"
        legs = [await call.answer(), await server.invite(f"sip:{call.target}@{REALM}")]
        await server.bridge(*legs)
        await legs[0].closed()

    await alice.dial(f"sip:bob@{server_address(server, transport)};transport={transport}")
    await bob.event("CALL_ESTABLISHED")
    return alice, bob


@pytest.mark.parametrize("codec", ["G722/8000/1", "opus/48000/2"])
async def test_a_wideband_phone_and_a_narrowband_one_hear_each_other(
    config: rtpmix.Config, phones: Phones, codec: str
) -> None:
    """baresip's G.722 and Opus against ours; the other phone has G.711 alone."""
    wide = dataclasses.replace(
        config, users={}, require_login=False, codecs=("opus", "G722", "PCMU")
    )
    async with rtpmix.Server(wide) as server:
        alice = await phones("alice", TONES["alice"], codec=codec)
        bob = await phones("bob", TONES["bob"])
        legs = [await server.invite(each.address) for each in (alice, bob)]
        await server.bridge(*legs)
        assert [leg.codec for leg in legs] == [codec.partition("/")[0], "PCMU"]
        await both_hear_each_other(alice, bob)


@TRANSPORTS
async def test_phones_register_speak_and_hold(office: Office, transport: str) -> None:
    """RFC 3261 sections 10 and 22, RFC 3264 section 8.4: hold from the phone, then from here.

    What alice gets after a hold is counted: its recorder stops at a hold for good.
    """
    alice, bob = await conversation(office, transport)
    await both_hear_each_other(alice, bob)
    leg = next(leg for leg in office.server.legs if leg.user == "alice")
    alice.hold()
    await until(lambda: leg.held)
    await bob.listen(0.5)
    assert level_db(await bob.listen(0.5), alice.frequency) < -60.0
    alice.resume()
    await until(lambda: not leg.held)
    await leg.hold()
    await leg.resume()
    sent = leg.stats().sent
    await hears_only(bob.listen, "alice")
    await until(lambda: leg.stats().sent > sent + 50)
    alice.hang_up()
    await bob.event("CALL_CLOSED")


async def test_a_certificate_of_a_stranger_is_not_let_in(
    office: Office, certificates: Certificates
) -> None:
    """RFC 3261 section 26.3.1: ours to look at; baresip 1.0 itself takes any certificate."""
    alice = await office.phone("alice", "tls", certificate=certificates.stranger_and_key)
    await until(lambda: office.server.snapshot()["streams"].get("layer_errors", 0) >= 1)
    assert "200 OK" not in alice.log()
    assert office.server.contacts("alice") == 0


@TRANSPORTS
async def test_a_blind_transfer_by_the_phone(office: Office, transport: str) -> None:
    """RFC 3515 section 2.4.5, RFC 5589 section 6: bob and carol speak, alice is out."""
    alice, bob = await conversation(office, transport)
    carol = await office.phone("carol", transport)
    alice.transfer(f"sip:carol@{REALM}")
    await carol.event("CALL_ESTABLISHED")
    await alice.event("CALL_CLOSED")
    await both_hear_each_other(bob, carol)


async def test_presence_of_a_phone_that_comes(office: Office) -> None:
    """RFC 3856 section 6, RFC 3863: what the NOTIFYs say, read by baresip."""
    server = office.server
    alice = await office.phone("alice", watches=f"sip:bob@{server.sip_address}")
    await until(lambda: server.snapshot()["watchers"]["watching"] == 1)
    await office.phone("bob")
    online = re.compile(r"<sip:bob@.*> changed status from .*Offline.* to .*Online")
    await until(lambda: online.search(alice.log()) is not None)
