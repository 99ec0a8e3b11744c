"""DTLS-SRTP: the handshake alone, then through a whole server in virtual time."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest

from rtpmix import CallFailed, Config, UsageError
from rtpmix.server.dtls import DtlsIdentity, DtlsTerms, Handshake, is_client_hello, is_dtls
from tests.server.test_encryption import (
    FORBIDDEN,
    OPTIONAL,
    REQUIRED,
    World,
    both_hear,
    play,
    talk,
)

ONE, OTHER, STRANGER = (DtlsIdentity.generate() for _ in range(3))
PHONE = {"encryption": REQUIRED, "dtls": True}


def named(identity: DtlsIdentity) -> tuple[tuple[str, bytes], ...]:
    name, value = identity.fingerprint.split()
    return ((name, bytes.fromhex(value.replace(":", ""))),)


def pair(client_expects: DtlsIdentity = OTHER) -> tuple[Handshake, Handshake]:
    client = Handshake(DtlsTerms(ONE, named(client_expects), is_client=True))
    return client, Handshake(DtlsTerms(OTHER, named(ONE), is_client=False))


def shake(client: Handshake, server: Handshake) -> int:
    """Carry datagrams until nobody has any; return how many there were."""
    count = 0
    while True:
        both = [(server, each) for each in client.datagrams()]
        both += [(client, each) for each in server.datagrams()]
        if not both:
            return count
        for to, datagram in both:
            assert is_dtls(datagram)
            assert len(datagram) <= 1200
            to.receive(datagram)
            count += 1


def test_both_ends_make_the_same_keys() -> None:
    """RFC 5764 section 4.2: what one writes with, the other reads with."""
    client, server = pair()
    assert shake(client, server) >= 4
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.ours.material == server.keys.theirs.material
    assert client.keys.theirs.material == server.keys.ours.material
    assert client.keys.ours.material != client.keys.theirs.material
    assert client.keys.ours.suite.name == "AEAD_AES_256_GCM"


def test_another_certificate_than_the_named_one_makes_no_keys() -> None:
    """RFC 5763 section 5: the fingerprint in signalling is the whole proof."""
    client, server = pair(client_expects=STRANGER)
    shake(client, server)
    assert client.failed
    assert client.keys is None


def test_what_a_peer_sends_never_raises() -> None:
    rng = Random(11)
    for _ in range(50):
        client, server = pair()
        hello = client.datagrams()[0]
        assert is_client_hello(hello)
        broken = bytearray(hello)
        broken[rng.randrange(13, len(hello))] ^= 1 << rng.randrange(8)
        for datagram in (bytes(broken), rng.randbytes(rng.randrange(300)), b"\x16", b""):
            server.receive(datagram)
            server.poll()
        assert server.keys is None


def test_the_key_of_the_certificate_does_not_show() -> None:
    assert "PRIVATE" in ONE.key.decode()
    assert "PRIVATE" not in repr(ONE) + repr(DtlsTerms(ONE, named(OTHER), is_client=True))


# ------------------------------------------------------------------------------- whole calls


@pytest.mark.parametrize("profile", [REQUIRED, OPTIONAL], ids=str)
def test_two_phones_hear_each_other_over_dtls(profile: object) -> None:
    """The server answers alice (and begins) and offers to bob (who begins)."""

    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert [leg.encryption for leg in world.legs] == ["DTLS-SRTP"] * 2

    phone = {"encryption": profile, "dtls": True}
    world = play(scenario, phone, phone, encryption=profile, key_exchange=("dtls", "sdes"))
    counts = world.srtp_counts()
    assert counts["handshakes"] == 2
    assert counts["forged"] == counts["handshakes_failed"] == 0
    assert counts["unprotected"] > 150


def test_nothing_is_said_in_the_clear_before_the_handshake_is_done() -> None:
    async def scenario(world: World) -> None:
        await world.call()
        world.alice.be_silent()
        world.bob.be_silent()
        await asyncio.sleep(1)

    world = play(scenario, PHONE, PHONE, encryption=REQUIRED, key_exchange=("dtls",))
    media = [each.data for each in world.rtp()]
    assert len([data for data in media if is_dtls(data)]) >= 8
    assert len([data for data in media if data[0] >> 6 == 2]) > 100
    assert not [data for data in media if b"\xff" * 16 in data]


def test_plain_sdes_and_dtls_phones_meet_in_one_call() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert world.legs[0].encryption == "DTLS-SRTP"

    for bob in ({}, {"encryption": REQUIRED}):
        dialling = {"encryption": OPTIONAL} if not bob else {"encryption": REQUIRED}
        play(scenario, PHONE, bob, **dialling)


def test_hold_and_resume_begin_no_new_handshake() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        await world.alice.hold()
        await asyncio.sleep(0.3)
        await world.alice.resume()
        await world.legs[1].hold()
        await world.legs[1].resume()
        await asyncio.sleep(2)
        assert both_hear(world)

    world = play(scenario, PHONE, PHONE, encryption=REQUIRED, key_exchange=("dtls",))
    assert world.srtp_counts()["handshakes"] == 2
    assert world.srtp_counts()["forged"] == 0


def test_a_caller_by_dtls_is_refused_where_it_is_not_served() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(CallFailed) as caught:
            await world.call()
        assert caught.value.status == 488

    play(scenario, PHONE, key_exchange=("sdes",))
    play(scenario, PHONE, encryption=FORBIDDEN)


def test_a_strangers_client_hello_changes_nothing() -> None:
    """Sent from bob's own address, in the middle of the call: bob goes on being heard."""

    async def scenario(world: World) -> None:
        await talk(world)
        bob = world.bob.media
        assert bob._agreed is not None
        assert bob._agreed.remote is not None
        stranger = Handshake(DtlsTerms(STRANGER, named(OTHER), is_client=True))
        for _ in range(30):
            for datagram in stranger.datagrams() or [b"\x16\xfe\xfd" + bytes(60)]:
                world.net.transmit(datagram, bob.address, bob._agreed.remote)
            await asyncio.sleep(0.05)
        assert both_hear(world)

    world = play(scenario, PHONE, PHONE, encryption=REQUIRED, key_exchange=("dtls",))
    assert world.srtp_counts()["handshakes"] == 2


def test_a_phone_with_another_certificate_than_it_named_is_not_heard() -> None:
    async def scenario(world: World) -> None:
        await world.call()
        await asyncio.sleep(2)
        assert world.bob.hears(437.0) == set()
        assert world.srtp_counts()["handshakes_failed"] >= 1

    async def liar(world: World) -> None:
        made = world.alice._new_session

        async def with_another() -> object:
            session = await made()
            session.media.certificate = STRANGER
            return session

        world.alice._new_session = with_another  # type: ignore[method-assign, assignment]
        await scenario(world)

    play(liar, PHONE)


def test_dtls_keys_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []

    async def scenario(world: World) -> None:
        await talk(world)
        for leg in world.legs:
            said.extend([repr(leg), repr(leg.media.negotiated), repr(leg.media)])
        said.append(repr(world.server.snapshot()))

    with caplog.at_level(logging.DEBUG):
        play(scenario, PHONE, PHONE, encryption=REQUIRED, key_exchange=("dtls",))
    assert said
    assert "PRIVATE" not in caplog.text + " ".join(said)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UsageError, match="key_exchange"):
        Config(key_exchange=("zrtp",))
