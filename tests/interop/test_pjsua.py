"""PJSUA2 phones (PJSIP): logins, media, hold, transfers, reliable ringing, presence, TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix.testing.audio import Samples
from tests.interop.conftest import PjsuaPhones
from tests.interop.hearing import hear_each_other, usual_level_db
from tests.interop.office import REALM, TONES, TRANSPORTS, Certificates, login, with_users_and_tls
from tests.interop.pjsua_phone import Pjsua
from tests.interop.test_sipp_calls import no_calls_left


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

    def __init__(
        self, server: rtpmix.Server, pjsua: PjsuaPhones, certificates: Certificates
    ) -> None:
        self.server = server
        self._pjsua = pjsua
        self._certificates = certificates

    async def phone(self, name: str, transport: str = "udp", **options: Any) -> Pjsua:
        """Return a phone that has registered."""
        if transport == "tls":
            options["tls"] = self.tls()
        options = {**login(self.server, name, transport), **options}
        phone = await self._pjsua(name, TONES[name], **options)
        await phone.event("registration", status=200, active=True)
        return phone

    def tls(self) -> dict[str, str]:
        """Return whom a phone trusts, and what it shows."""
        certificates = self._certificates
        return {
            "ca": str(certificates.ca),
            "certificate": str(certificates.phone),
            "key": str(certificates.phone_key),
        }


@pytest.fixture
def office(server: rtpmix.Server, pjsua: PjsuaPhones, certificates: Certificates) -> Office:
    """A maker of registered phones."""
    return Office(server, pjsua, certificates)


async def both_hear_each_other(one: Pjsua, other: Pjsua, calls: tuple[int, int] = (0, 0)) -> None:
    """Check the tones at both ends; each phone may have other calls."""

    async def at_one(seconds: float) -> Samples:
        return await one.listen(seconds, calls[0])

    async def at_other(seconds: float) -> Samples:
        return await other.listen(seconds, calls[1])

    await hear_each_other({one.name: at_one, other.name: at_other})


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

    alice.do("call", target=f"sip:bob@{REALM}")
    await asyncio.gather(alice.state("CONFIRMED"), bob.state("CONFIRMED"))
    await both_hear_each_other(alice, bob)
    alice.do("hang_up", call=0)
    assert (await bob.state("DISCONNECTED"))["status"] == 200
    assert identities == ["alice"]
    for phone in (alice, bob):
        phone.do("unregister")
        await phone.event("registration", status=200, active=False)
        assert server.contacts(phone.name) == 0
    await no_calls_left(server)


async def test_a_wrong_password_stays_out(server: rtpmix.Server, pjsua: PjsuaPhones) -> None:
    """RFC 3261 section 22.1: the phone gives up at the second challenge."""
    options = {**login(server, "alice", "udp"), "password": "looking-glass"}
    alice = await pjsua("alice", 437.0, **options)
    refused = await alice.event("registration", active=False)
    assert refused["status"] in (401, 403)
    assert server.contacts("alice") == 0


async def test_a_phone_that_does_not_trust_our_certificate_stays_away(
    office: Office, pjsua: PjsuaPhones, certificates: Certificates
) -> None:
    """RFC 3261 section 26.3.1: what shows that PJSIP looks at the certificate at all."""
    tls = office.tls() | {"ca": str(certificates.stranger)}
    alice = await pjsua("alice", 437.0, **login(office.server, "alice", "tls"), tls=tls)
    refused = await alice.event("registration", active=False)
    assert refused["status"] >= 500
    assert office.server.contacts("alice") == 0


async def test_a_phone_without_a_certificate_is_not_let_in(
    office: Office, pjsua: PjsuaPhones
) -> None:
    """RFC 3261 section 26.3.1: mutual TLS."""
    tls = {"ca": office.tls()["ca"]}
    alice = await pjsua("alice", 437.0, **login(office.server, "alice", "tls"), tls=tls)
    refused = await alice.event("registration", active=False)
    assert refused["status"] >= 400
    assert office.server.contacts("alice") == 0


async def conversation(office: Office, transport: str = "udp") -> tuple[Pjsua, Pjsua]:
    """Connect alice and bob in a bridge of the server."""
    server = office.server
    alice, bob = await office.phone("alice", transport), await office.phone("bob", transport)
    legs = [await server.invite(f"sip:{phone.name}@{REALM}") for phone in (alice, bob)]
    await server.bridge(*legs)
    await asyncio.gather(alice.state("CONFIRMED"), bob.state("CONFIRMED"))
    return alice, bob


@TRANSPORTS
async def test_hold_and_resume_from_the_phone(office: Office, transport: str) -> None:
    """RFC 3264 section 8.4, by re-INVITE: silence while it lasts, both tones afterwards."""
    server = office.server
    alice, bob = await conversation(office, transport)
    leg = next(leg for leg in server.legs if leg.user == "alice")
    await both_hear_each_other(alice, bob)
    alice.do("hold", call=0)
    await alice.event("media", state="held here")
    await alice.event("request", method="INVITE", status=200, ours=True)
    assert leg.held
    await bob.listen(0.5)
    assert usual_level_db(await bob.listen(0.5), alice.frequency) < -60.0
    alice.do("resume", call=0)
    await alice.event("request", method="INVITE", status=200, ours=True)
    assert not leg.held
    await both_hear_each_other(alice, bob)
    for method in ("reinvite", "update"):
        alice.do(method, call=0)
        wire = {"reinvite": "INVITE", "update": "UPDATE"}[method]
        await alice.event("request", method=wire, status=200, ours=True)
    await both_hear_each_other(alice, bob)


async def test_hold_and_resume_from_here(office: Office) -> None:
    """RFC 3264 section 8.4: PJSIP says that it is held, and hears again afterwards."""
    alice, bob = await conversation(office)
    leg = next(leg for leg in office.server.legs if leg.user == "alice")
    await leg.hold()
    await alice.event("media", state="held there")
    await leg.resume()
    await both_hear_each_other(alice, bob)
    await leg.hangup()
    await alice.state("DISCONNECTED")


@pytest.mark.parametrize("reliable", ["off", "optional", "mandatory"])
async def test_reliable_provisional_responses(office: Office, reliable: str) -> None:
    """RFC 3262 sections 3 and 4: PRACK of the phone for our 183, and ours for its 180."""
    server = office.server
    alice = await office.phone("alice", reliable=reliable, answers=False)

    @server.on_invite
    async def announce(call: rtpmix.IncomingCall) -> None:
        await call.progress()
        await (await call.answer()).closed()

    alice.do("call", target=f"sip:announcement@{REALM}")
    if reliable != "off":
        await alice.event("request", call=0, method="PRACK", status=200, ours=True)
    await alice.state("CONFIRMED")
    alice.do("hang_up", call=0)
    await alice.state("DISCONNECTED")

    heard: list[int] = []
    calling = asyncio.ensure_future(
        server.invite(f"sip:alice@{REALM}", on_progress=lambda status, _: heard.append(status))
    )
    await alice.event("incoming", call=1)
    alice.do("answer", call=1, status=180)
    if reliable == "mandatory":
        await alice.event("request", call=1, method="PRACK", status=200, ours=False)
    alice.do("answer", call=1, status=200)
    leg = await calling
    assert 180 in heard
    await leg.hangup()
    await alice.state("DISCONNECTED", 1)
    await no_calls_left(server)


async def test_keys_in_both_directions(office: Office) -> None:
    """RFC 4733: each press is one digit."""
    alice = await office.phone("alice")
    leg = await office.server.invite(f"sip:alice@{REALM}")
    await alice.event("media", state="active")
    digits = leg.digits()
    for key in "1590#":
        alice.do("press", call=0, keys=key)
        assert await asyncio.wait_for(anext(digits), 20) == key
    await leg.send_digits("27*")
    for key in "27*":
        await alice.event("digit", digit=key)


# ---------------------------------------------------------------------------- transfers


@TRANSPORTS
async def test_a_blind_transfer_by_the_phone(office: Office, transport: str) -> None:
    """RFC 3515 section 2.4.5, RFC 5589 section 6: NOTIFYs to their end; bob and carol speak."""
    alice, bob = await conversation(office, transport)
    carol = await office.phone("carol", transport)
    alice.do("transfer", call=0, target=f"sip:carol@{REALM}")
    await alice.event("transfer", status=200, final=True)
    await carol.state("CONFIRMED")
    await alice.state("DISCONNECTED")
    await both_hear_each_other(bob, carol)


async def test_a_transfer_that_is_not_allowed(office: Office) -> None:
    """RFC 3515 section 2.4.2: 403 by policy; the conversation goes on."""
    alice, bob = await conversation(office)
    alice.do("transfer", call=0, target="sip:0900123456@premium.example")
    await alice.event("transfer", status=403)
    await both_hear_each_other(alice, bob)


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

    alice.do("hold", call=0)
    await alice.event("media", call=0, state="held here")
    await alice.event("request", method="INVITE", status=200, ours=True)
    alice.do("call", target=f"sip:carol@{REALM}")
    await asyncio.gather(alice.state("CONFIRMED", 1), carol.state("CONFIRMED"))
    await both_hear_each_other(alice, carol, (1, 0))
    alice.do("attended_transfer", call=0, other=1)
    await alice.event("transfer", status=200, final=True)
    await both_hear_each_other(bob, carol)
    for call in (0, 1):
        await alice.state("DISCONNECTED", call)
    assert sorted(leg.user or "" for leg in server.legs if leg.is_open) == ["bob", "carol"]


async def test_our_refer_is_followed(office: Office) -> None:
    """RFC 3515: the phone calls the target itself, and its NOTIFYs end our `Leg.refer`."""
    server = office.server
    alice, bob = await office.phone("alice"), await office.phone("bob")
    leg = await server.invite(f"sip:alice@{REALM}")
    await alice.state("CONFIRMED")

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        legs = [await call.answer(), await server.invite(f"sip:{call.target}@{REALM}")]
        await server.bridge(*legs)
        await legs[0].closed()

    await leg.refer(f"sip:bob@{REALM}")
    assert REALM in (await alice.event("referred"))["to"]
    await leg.hangup()
    await asyncio.gather(alice.state("CONFIRMED", 1), bob.state("CONFIRMED"))
    await both_hear_each_other(alice, bob, (1, 0))


async def test_our_attended_transfer_joins_two_phones_directly(
    office: Office, pjsua: PjsuaPhones
) -> None:
    """RFC 3891 section 3: the INVITE of one phone replaces our call at the other."""
    server = office.server
    alice, bob = await pjsua("alice", TONES["alice"]), await pjsua("bob", TONES["bob"])
    legs = [await server.invite(phone.address) for phone in (alice, bob)]
    await asyncio.gather(alice.state("CONFIRMED"), bob.state("CONFIRMED"))
    await legs[0].refer(bob.address, replaces=legs[1])
    await bob.event("replace request")
    replaced = await bob.event("replaced", call=0)
    closed = await asyncio.wait_for(legs[1].closed(), 30)  # bob hung up on us
    assert closed.cause == "remote-bye"
    await legs[0].hangup()
    await both_hear_each_other(alice, bob, (1, replaced["by"]))


async def test_presence_and_the_message_lamp(office: Office) -> None:
    """RFC 3856 section 6, RFC 3842 section 3: what the NOTIFYs say, read by PJSIP."""
    server = office.server
    bob = await office.phone("bob")
    alice = await office.phone("alice", mailbox=True)
    assert "Messages-Waiting: no" in (await alice.event("mailbox"))["body"]
    server.set_messages("alice", new=2, old=1)
    lit = (await alice.event("mailbox"))["body"]
    assert "Messages-Waiting: yes" in lit
    assert "2/1" in lit
    alice.do("watch", target=f"sip:bob@{REALM}")
    await alice.event("presence", subscription="ACTIVE", online=True)
    bob.do("unregister")
    await alice.event("presence", online=False)
