"""SRTP by SDES through a whole server in virtual time: phones that encrypt, and that do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from rtpmix import CallFailed, Encryption, IncomingCall, Leg, Server, UsageError
from rtpmix.rtp.srtp import SUITES
from rtpmix.sdp.security import IN_THE_CLEAR
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.media import VirtualMediaIO
from rtpmix.testing.net import Passage
from rtpmix.testing.servers import virtual_server

REQUIRED, OPTIONAL, FORBIDDEN = Encryption.REQUIRED, Encryption.OPTIONAL, Encryption.FORBIDDEN
ALICE, BOB = 437.0, 1013.0
Scenario = Callable[["World"], Awaitable[None]]


class World:
    """A server, two phones, and everything that went over the wire."""

    def __init__(self, net: VirtualNet, server: Server, alice: TonePhone, bob: TonePhone) -> None:
        self.net, self.server, self.alice, self.bob = net, server, alice, bob
        self.wire: list[Passage] = []
        self.legs: list[Leg] = []
        net.observe(self.wire.append)

    async def call(self, **encryption: Encryption) -> None:
        """Let alice call; the server calls bob and joins the two."""
        self.answering = encryption.get("answering")
        self.dialling = encryption.get("dialling")
        await self.alice.call("sip:bob@192.0.2.1")

    async def handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.bob.uri, encryption=self.dialling)
        near = await call.answer(encryption=self.answering)
        self.legs = [near, far]
        await self.server.bridge(near, far)
        await near.closed()

    def rtp(self) -> list[Passage]:
        """Everything sent from or to a media port, SIP left out."""
        return [each for each in self.wire if 5060 not in (each.source[1], each.destination[1])]

    def srtp_counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["srtp"]
        return counts


def play(
    scenario: Scenario,
    alice: dict[str, Any] | None = None,
    bob: dict[str, Any] | None = None,
    **config: Any,
) -> World:
    net = VirtualNet(seed=3, delay_ms=5)
    kept: list[World] = []

    async def main() -> None:
        first = TonePhone("alice", host="192.0.2.10", frequency=ALICE, **(alice or {}))
        second = TonePhone("bob", host="192.0.2.20", frequency=BOB, **(bob or {}))
        async with virtual_server(net, **config) as server, first, second:
            world = World(net, server, first, second)
            server.on_invite(world.handle)
            kept.append(world)
            await scenario(world)

    run(main(), net)
    return kept[0]


async def talk(world: World) -> None:
    await world.call()
    await asyncio.sleep(2)


def both_hear(world: World) -> bool:
    return world.alice.hears(ALICE, BOB) == {BOB} and world.bob.hears(ALICE, BOB) == {ALICE}


@pytest.mark.parametrize("suite", SUITES)
def test_two_encrypted_phones_hear_each_other(suite: str) -> None:
    """RFC 4568, each suite, as answerer (alice's leg) and as offerer (bob's)."""

    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert [leg.encryption for leg in world.legs] == [suite, suite]

    phone = {"encryption": REQUIRED, "suites": (suite,)}
    world = play(scenario, phone, phone, encryption=REQUIRED)
    counts = world.srtp_counts()
    assert counts["unprotected"] > 150
    assert counts["protected"] > 150
    assert counts["forged"] == counts["malformed"] == counts["unsent"] == 0


def test_nothing_of_an_encrypted_call_goes_over_the_wire_as_it_is() -> None:
    """Silence in PCMU is one octet again and again: it must not be seen in any datagram."""

    async def scenario(world: World) -> None:
        await world.call()
        world.alice.be_silent()
        world.bob.be_silent()
        await asyncio.sleep(1)

    phone = {"encryption": REQUIRED}
    encrypted = [each.data for each in play(scenario, phone, phone, encryption=REQUIRED).rtp()]
    assert len(encrypted) > 150
    assert not [data for data in encrypted if b"\xff" * 16 in data]
    plain = [each.data for each in play(scenario).rtp()]
    assert [data for data in plain if b"\xff" * 16 in data]  # this test can see what it looks for


def test_an_encrypted_and_a_plain_phone_talk() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert [leg.encryption is None for leg in world.legs] == [False, True]

    play(scenario, {"encryption": REQUIRED})


def test_osrtp_is_taken_up() -> None:
    """RFC 8643: keys under RTP/AVP are used by whoever can."""

    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert world.legs[0].encryption == "AES_CM_128_HMAC_SHA1_80"
        assert world.alice.media.unreadable == 0

    play(scenario, {"encryption": OPTIONAL})


def test_osrtp_goes_on_in_the_clear_where_the_policy_forbids_keys() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)
        assert world.legs[0].encryption is None

    play(scenario, {"encryption": OPTIONAL}, encryption=FORBIDDEN)


@pytest.mark.parametrize(
    ("phone", "policy"), [(FORBIDDEN, REQUIRED), (REQUIRED, FORBIDDEN)], ids=str
)
def test_a_caller_who_does_not_match_the_policy_is_refused(
    phone: Encryption, policy: Encryption
) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(CallFailed) as caught:
            await world.call(answering=policy)
        assert caught.value.status == 488

    play(scenario, {"encryption": phone})


def test_a_called_phone_that_can_not_encrypt_fails_the_call() -> None:
    """It answers 488, and the server offers nothing less."""

    async def scenario(world: World) -> None:
        with pytest.raises(CallFailed) as caught:
            await world.call(dialling=REQUIRED)
        assert caught.value.status == 488
        assert not world.rtp()

    play(scenario)


def test_keys_are_not_offered_over_signalling_in_the_clear() -> None:
    """An optional policy over UDP: a key that everybody reads hides nothing."""

    async def scenario(world: World) -> None:
        await talk(world)
        assert both_hear(world)

    world = play(scenario, bob={"encryption": OPTIONAL})
    assert not [each for each in world.wire if b"a=crypto" in each.data]


def test_hold_and_resume_keep_key_and_counters() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        await world.alice.hold()
        await asyncio.sleep(0.5)
        await world.alice.resume()
        await world.legs[1].hold()
        await asyncio.sleep(0.5)
        await world.legs[1].resume()
        await asyncio.sleep(2)
        assert both_hear(world)

    phone = {"encryption": REQUIRED}
    counts = play(scenario, phone, phone, encryption=REQUIRED).srtp_counts()
    assert counts["forged"] == counts["replayed"] == 0


def test_a_new_key_is_used_after_rekey() -> None:
    """RFC 4568 section 7.1.3; packets on their way under the old key are still heard."""

    async def scenario(world: World) -> None:
        await talk(world)
        before = [leg.media.negotiated for leg in world.legs]
        await world.legs[0].rekey()
        await world.legs[1].rekey()
        await asyncio.sleep(2)
        assert both_hear(world)
        for leg, was in zip(world.legs, before, strict=True):
            now = leg.media.negotiated
            assert now is not None
            assert was is not None
            assert now.secured is not None
            assert was.secured is not None
            assert now.secured.ours.material != was.secured.ours.material

    phone = {"encryption": REQUIRED}
    counts = play(scenario, phone, phone, encryption=REQUIRED).srtp_counts()
    assert counts["forged"] == 0


def test_a_plain_leg_has_no_key_to_change() -> None:
    async def scenario(world: World) -> None:
        await talk(world)
        with pytest.raises(UsageError, match="no key by SDES"):
            await world.legs[0].rekey()

    play(scenario)


def test_a_reinvite_in_the_clear_is_refused_and_the_call_stays_encrypted() -> None:
    """No silent downgrade: an optional policy too keeps what was agreed."""

    async def scenario(world: World) -> None:
        await talk(world)
        session = world.alice._session
        assert session is not None
        assert session.agreed is not None
        kept = session.agreed
        session.agreed = replace(kept, secured=None, protocol="RTP/AVP")
        session._local = replace(session._local, security=IN_THE_CLEAR)
        with pytest.raises(CallFailed) as caught:
            await world.alice.hold()
        assert caught.value.status == 488
        assert world.legs[0].encryption is not None
        await asyncio.sleep(1)
        assert both_hear(world)

    play(scenario, {"encryption": OPTIONAL})


def test_keys_are_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []

    async def scenario(world: World) -> None:
        await talk(world)
        await world.legs[0].rekey()
        for leg in world.legs:
            said.extend([repr(leg), repr(leg.media.negotiated), repr(leg.media), repr(leg.stats())])
        said.append(repr(world.server.snapshot()))
        said.append(repr(world.alice.invitation))

    phone = {"encryption": REQUIRED}
    with caplog.at_level(logging.DEBUG):
        world = play(scenario, phone, phone, encryption=REQUIRED)
    lines = [line for each in world.wire for line in each.data.split(b"\r\n")]
    keys = {line.split(b"inline:")[1].decode() for line in lines if b"inline:" in line}
    assert len(keys) >= 5  # of two legs both ways, and the new one
    everything = caplog.text + " ".join(said)
    assert everything
    assert not [key for key in keys if key in everything]


@pytest.mark.parametrize(
    ("phone", "shares"),
    [({}, True), ({"encryption": OPTIONAL}, True), ({"encryption": OPTIONAL, "dtls": True}, False)],
    ids=["plain", "keys", "dtls"],
)
def test_a_leg_whose_keys_come_by_dtls_shares_its_port_with_nobody(
    phone: dict[str, Any], shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is told no remote address gives a pair of its own."""
    told: list[object] = []
    reserve = VirtualMediaIO.reserve

    def note(io: VirtualMediaIO, leg: int, **options: Any) -> Any:
        told.append(options.get("remote"))
        return reserve(io, leg, **options)

    monkeypatch.setattr(VirtualMediaIO, "reserve", note)
    play(talk, phone, legs_per_port=8)
    assert [each is not None for each in told] == [False, shares]  # bob's leg, then alice's
