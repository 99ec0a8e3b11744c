"""linphone over UDP, TCP and TLS: logins, calls with audio, hold, transfers.

It ignores the loopback interface: these tests have a network of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import rtpmix
from tests.interop.conftest import absent, find_peer
from tests.interop.hearing import hear_each_other, hears_only
from tests.interop.linphone import Linphone
from tests.interop.namespace import NoNamespaceError, own_network
from tests.interop.office import REALM, TONES, TRANSPORTS, Certificates, login, with_users_and_tls


@pytest.fixture
def network() -> Iterator[str]:
    """The address of a network that the test and its programs have for themselves."""
    try:
        with own_network() as address:
            yield address
    except NoNamespaceError as error:
        absent(str(error))


@pytest.fixture
def certificates(network: str, tmp_path: Path) -> Certificates:
    """Certificates for a server and phones on that address."""
    return Certificates(tmp_path / "pki", network)


@pytest.fixture
def config(config: rtpmix.Config, network: str, certificates: Certificates) -> rtpmix.Config:
    """A server with three users, over UDP, TCP and mutual TLS."""
    there = dataclasses.replace(config, media_address=network)
    return with_users_and_tls(there, certificates, network)


class Office:
    """Phones that are registered at the server."""

    def __init__(
        self, program: str, folder: Path, server: rtpmix.Server, certificates: Certificates
    ) -> None:
        self.server = server
        self._program = program
        self._folder = folder
        self._certificates = certificates
        self._made: list[Linphone] = []

    async def phone(self, name: str, transport: str = "udp", *, trusts_us: bool = True) -> Linphone:
        """Return a phone that has registered, or one that does not want to."""
        address = self.server.config.media_address
        assert address is not None
        phone = Linphone(
            self._program,
            self._folder / name,
            name=name,
            frequency=TONES[name],
            address=address,
            domain=REALM,
            ca=self._certificates.ca if trusts_us else self._certificates.stranger,
            certificate=self._certificates.phone,
            key=self._certificates.phone_key,
            **login(self.server, name, transport),
        )
        self._made.append(phone)
        await phone.start()
        if trusts_us:
            await phone.notes(r"to \[LinphoneRegistrationOk\]")
            assert self.server.contacts(name) == 1
        return phone

    async def stop(self) -> None:
        """End every phone."""
        await asyncio.gather(*(phone.stop() for phone in self._made))


@pytest.fixture
async def office(
    server: rtpmix.Server, tmp_path: Path, certificates: Certificates
) -> AsyncIterator[Office]:
    """A maker of registered phones."""
    maker = Office(find_peer("linphonec"), tmp_path, server, certificates)
    yield maker
    await maker.stop()


async def both_hear_each_other(one: Linphone, other: Linphone) -> None:
    """Check the tones at both ends."""
    await hear_each_other({one.name: one.listen, other.name: other.listen})


@TRANSPORTS
async def test_phones_register_and_speak(office: Office, transport: str) -> None:
    """RFC 3261 sections 10 and 22: one phone is called by its address of record, one calls."""
    server = office.server
    alice, bob = await office.phone("alice", transport), await office.phone("bob", transport)
    identities = []

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        identities.append(call.identity)
        legs = [await call.answer(), await server.invite(f"sip:{call.target}@{REALM}")]
        await server.bridge(*legs)
        await legs[0].closed()

    alice.do(f"call sip:bob@{REALM}")
    await alice.says("Media streams established")
    await bob.says("Media streams established")
    await both_hear_each_other(alice, bob)
    alice.do("terminate")
    await bob.says("Call 1 with .* ended")
    assert identities == ["alice"]


async def test_a_phone_that_does_not_trust_our_certificate_stays_away(office: Office) -> None:
    """RFC 3261 section 26.3.1: what shows that linphone looks at the certificate at all."""
    alice = await office.phone("alice", "tls", trusts_us=False)
    await alice.notes(r"to \[LinphoneRegistrationFailed\]")
    assert office.server.contacts("alice") == 0


async def conversation(office: Office, transport: str = "udp") -> tuple[Linphone, Linphone]:
    """Connect alice and bob in a bridge of the server."""
    server = office.server
    alice, bob = await office.phone("alice", transport), await office.phone("bob", transport)
    legs = [await server.invite(f"sip:{phone.name}@{REALM}") for phone in (alice, bob)]
    await server.bridge(*legs)
    await asyncio.gather(*(phone.says("Media streams established") for phone in (alice, bob)))
    return alice, bob


@TRANSPORTS
async def test_hold_and_resume_from_the_phone(office: Office, transport: str) -> None:
    """RFC 3264 section 8.4: it sends its music on hold and is sent nothing; then both speak."""
    alice, bob = await conversation(office, transport)
    leg = next(leg for leg in office.server.legs if leg.user == "alice")
    await both_hear_each_other(alice, bob)
    alice.do("pause 1")
    await alice.says("Call 1 with .* is now paused")
    assert leg.held
    await bob.listen(0.5)
    before = leg.stats().sent
    await hears_only(bob.listen, "alice")  # its music is the same file
    assert leg.stats().sent == before
    alice.do("resume 1")
    await alice.says("Media streams established")
    assert not leg.held
    await both_hear_each_other(alice, bob)


async def test_hold_and_resume_from_here(office: Office) -> None:
    """RFC 3264 section 8.4: linphone says that it is held, and hears again afterwards."""
    alice, bob = await conversation(office)
    leg = next(leg for leg in office.server.legs if leg.user == "alice")
    await leg.hold()
    await alice.says("Call 1 has been paused by")
    await leg.resume()
    await alice.says("Media streams established")
    await both_hear_each_other(alice, bob)
    await leg.hangup()
    await alice.says("Call 1 with .* ended")


@TRANSPORTS
async def test_a_blind_transfer_by_the_phone(office: Office, transport: str) -> None:
    """RFC 3515 section 2.4.5, RFC 5589 section 6: linphone hears that it worked, and leaves."""
    alice, bob = await conversation(office, transport)
    carol = await office.phone("carol", transport)
    alice.do(f"transfer 1 sip:carol@{REALM}")
    await carol.says("Media streams established")
    await alice.says("of call 1 has been transfered")
    await alice.says("Call 1 with .* ended")
    await both_hear_each_other(bob, carol)


@TRANSPORTS
async def test_an_attended_transfer_by_the_phone(office: Office, transport: str) -> None:
    """RFC 5589 section 7, RFC 3891: alice asks carol first, then leaves the two together."""
    server = office.server
    alice, bob = await conversation(office, transport)
    carol = await office.phone("carol", transport)

    @server.on_invite
    async def consult(call: rtpmix.IncomingCall) -> None:
        legs = [await call.answer(), await server.invite(f"sip:{call.target}@{REALM}")]
        await server.bridge(*legs)
        await legs[0].closed()

    alice.do("pause 1")
    await alice.says("Call 1 with .* is now paused")
    alice.do(f"call sip:carol@{REALM}")
    await alice.says("Media streams established with .* for call 2")
    await carol.says("Media streams established")
    await hears_only(carol.listen, "alice")
    alice.do("transfer 1 --to-call 2")
    await alice.says("of call 1 has been transfered")
    await both_hear_each_other(bob, carol)
    async with asyncio.timeout(30):
        while len(server.legs) > 2:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.05)
    assert sorted(leg.user or "" for leg in server.legs) == ["bob", "carol"]
