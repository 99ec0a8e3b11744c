"""baresip behind a NAT: in a network of its own, whose packets leave it with other addresses."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path

import pytest

import rtpmix
from rtpmix.rtp.packet import RtpPacket
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


class Mallory:
    """Somebody at the phone's own public address, who sends a stream as a phone would."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))

    async def send(self, to: tuple[str, int]) -> None:
        for number in range(100):
            packet = RtpPacket(
                payload_type=0,
                sequence_number=number,
                timestamp=160 * number,
                ssrc=0xBAD,
                payload=bytes(170),
            )
            self.socket.sendto(packet.to_bytes(), to)
            await asyncio.sleep(0.02)

    def heard_nothing(self) -> bool:
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize("media", ["", "srtp-mand"], ids=["plain", "sdes"])
async def test_a_phone_behind_nat_is_heard_and_hears(
    server: rtpmix.Server, phones: Phones, tmp_path: Path, media: str
) -> None:
    """RFC 7362 section 4. It registers, calls, and is called back from here by BYE.

    With keys, who has none may send what he likes from the same public address.
    """
    public = server.config.media_address  # one machine is both the NAT and the server
    assert public is not None
    nat, events = UserSpaceNat(public), server.events()
    bob = TonePhone("bob", frequency=TONES["bob"], level_db=-14.0)
    mallory = Mallory(public)

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        legs = [await call.answer(), await server.invite(bob.uri)]
        assert (legs[0].encryption is not None) is bool(media)
        if media:
            address = legs[0].media._address
            assert address is not None
            attacks.append(asyncio.ensure_future(mallory.send(address)))
        await server.bridge(*legs)
        await legs[0].closed()

    attacks: list[asyncio.Future[None]] = []
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
                media=media,
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
            assert event.remote[1] != mallory.socket.getsockname()[1]
            await asyncio.gather(*attacks)
            await hears_only(alice.listen, "bob")
            assert mallory.heard_nothing()
            await server.legs[0].hangup()
            await alice.event("CALL_CLOSED")
    finally:
        nat.close()
        mallory.socket.close()
