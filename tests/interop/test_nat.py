"""baresip behind a NAT: in a network of its own, whose packets leave it with other addresses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import rtpmix
from rtpmix.server.local_addresses import address_towards
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import level_db
from tests.interop.conftest import Phones, absent
from tests.interop.hearing import hears_only
from tests.interop.namespace import ADDRESS, NoNamespaceError, own_network
from tests.interop.nat import UserSpaceNat
from tests.interop.office import REALM, TONES, USERS
from tests.interop.sipp import server_address


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server on an address that the namespace can route to, which its loopback is not."""
    here = address_towards(("198.51.100.1", 9))
    return dataclasses.replace(
        config,
        sip_listen=(f"udp:{here}:0",),
        media_address=here,
        media_latching="behind-nat",
        users=USERS,
        realm=REALM,
    )


async def test_a_phone_behind_nat_is_heard_and_hears(
    server: rtpmix.Server, phones: Phones, tmp_path: Path
) -> None:
    """RFC 7362 section 4. It registers, calls, and is called back from here by BYE."""
    public = server.config.media_address  # one machine is both the NAT and the server
    assert public is not None
    nat, events = UserSpaceNat(public), server.events()
    bob = TonePhone("bob", frequency=TONES["bob"], level_db=-14.0)

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        legs = [await call.answer(), await server.invite(bob.uri)]
        await server.bridge(*legs)
        await legs[0].closed()

    registrar = server_address(server, "udp")
    try:
        with own_network():
            nat.open()
            alice = await phones(
                "alice",
                TONES["alice"],
                registrar=registrar,
                password=USERS["alice"],
                host=ADDRESS,
            )
    except NoNamespaceError as error:
        absent(str(error))
    nat.start()  # out here: its sockets are of this network
    try:
        async with bob:
            await alice.dial(f"sip:bob@{registrar}")
            await hears_only(alice.listen, "bob")
            assert level_db(bob.heard_pcm()[-8000:], TONES["alice"]) > -30
            async for event in events:
                if isinstance(event, rtpmix.LegMediaLatched):
                    break
            assert event.remote[0] == public
            assert event.signalled is not None
            assert event.signalled[0] == ADDRESS
            await server.legs[0].hangup()
            await alice.event("CALL_CLOSED")
    finally:
        nat.close()
