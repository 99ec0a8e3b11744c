"""Attacks on the way to a browser: who may move a call's media by checks, and who is heard before.

Alice speaks ICE and DTLS, behind a NAT or not; Mallory is elsewhere and can read everything on the
wire, so she knows the name in the checks, and has old ones; the password she does not know.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtpmix import CallFailed, Encryption
from rtpmix.rtp.stun import is_stun
from rtpmix.sdp.negotiation import Capabilities
from rtpmix.server.checked_paths import MOVE_S
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.nat import NatBox
from rtpmix.testing.net import Address, Passage
from rtpmix.testing.phone_session import PhoneSession
from rtpmix.testing.servers import HOST, virtual_server
from tests.attacks.test_media import (
    ALICE,
    ALICE_INSIDE,
    ALICE_OUTSIDE,
    BOB,
    BOB_HOST,
    OVER_IPV6,
    PUBLIC,
    Crime,
    Eavesdropper,
    anywhere,
    families,
)
from tests.rtp.test_stun import check

HELLO = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40\x01\x00\x00\x34" + bytes(58)
THEIRS = b"a=ice-ufrag:them\r\na=ice-pwd:zzzzzzzzzzzzzzzzzzzzzz\r\na=rtcp-mux\r\n"
ANEW = THEIRS.replace(b"them", b"then").replace(b"zz", b"yz")


class IcePhone(TonePhone):
    """Says in SDP that it checks paths, and nominates one as soon as it has an answer."""

    nominates_at_once = True
    theirs = THEIRS
    ufrag = password = ""

    async def _new_session(self) -> PhoneSession:
        session = await super()._new_session()
        offer, accept = session.offer, session.accept_answer

        def offering(*, listen_only: bool = False) -> bytes:
            return offer(listen_only=listen_only) + self.theirs

        def accepting(body: bytes) -> None:
            accept(body)
            self._note(body)
            if self.nominates_at_once:
                self.nominate()

        answer = session.answer_offer

        def answering(body: bytes) -> bytes:
            self._note(body)
            return answer(body) + self.theirs

        session.offer, session.accept_answer = offering, accepting  # type: ignore[method-assign]
        session.answer_offer = answering  # type: ignore[method-assign]
        return session

    def _note(self, body: bytes) -> None:
        found = re.search(rb"a=ice-ufrag:(\S+)\r\na=ice-pwd:(\S+)", body)
        assert found is not None
        self.ufrag, self.password = (each.decode() for each in found.groups())

    @property
    def credentials(self) -> tuple[str, str]:
        """The server's, as its last description has them."""
        return self.ufrag, self.password

    def nomination(self) -> bytes:
        return self.check(self.credentials, nominates=True)

    def check(self, credentials: tuple[str, str], *, nominates: bool = False) -> bytes:
        return check(credentials[1], f"{credentials[0]}:them", nominates=nominates)

    def nominate(self) -> None:
        self.send(self.nomination())

    def send(self, datagram: bytes) -> None:
        media = self.media
        assert media._rtp is not None
        assert media._agreed is not None
        media._rtp.sendto(datagram, media._agreed.remote)

    async def restarts_ice(self, theirs: bytes = ANEW) -> None:
        """Have new credentials in a re-INVITE, and nominate nothing yet."""
        self.theirs, self.nominates_at_once = theirs, False
        await self._reoffer(held=False)

    async def moves_to(self, host: str) -> None:
        """Have another socket for RTP, as after a change of networks."""
        media = self.media
        assert media._rtp is not None
        media._rtp.close()
        media._rtp = await media._bind((host, 0), media._hear)


class IceCrime(Crime):
    """A call between Alice, who speaks ICE, and Bob."""

    alice: IcePhone

    def __init__(self, *everything: Any) -> None:
        super().__init__(*everything)
        self.checks: list[Passage] = []
        self.stun: list[bytes] = []  # what the server said
        self.net.observe(self._see_check)

    def _see(self, passage: Passage) -> None:
        here = PUBLIC if self.box is not None else self.alice.host
        ends = passage.source[0], passage.destination[0]
        if passage.data[0] >> 6 == 2 and ends == (here, self.host):
            self.seen.append(passage)

    @property
    def answers(self) -> int:
        """How many checks were answered."""
        return sum(is_stun(data) and data[0] == 1 for data in self.stun)

    def _see_check(self, passage: Passage) -> None:
        if is_stun(passage.data) and passage.source[0] == self.host:
            self.stun.append(passage.data)
        if is_stun(passage.data) and passage.destination[0] == self.host:
            self.checks.append(passage)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["checks"]
        return counts

    @property
    def srtp(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["srtp"]
        return counts

    @property
    def places(self) -> list[Address]:
        """Where media has gone, other than signalled."""
        return [each.remote for each in self.latched]


Attack = Callable[[IceCrime], Awaitable[None]]


def commit(
    attack: Attack,
    *,
    box: NatBox | None = None,
    ipv6: bool = False,
    at_once: bool = True,
    **config: Any,
) -> None:
    net = VirtualNet(seed=5, delay_ms=5)
    if box is not None:
        net.add_nat(box)

    async def main() -> None:
        place = OVER_IPV6.__getitem__ if ipv6 else str
        host = ALICE_INSIDE if box is not None else place(ALICE_OUTSIDE)
        required = Encryption.REQUIRED
        alice = IcePhone("alice", host=host, frequency=ALICE, encryption=required, dtls=True)
        alice.nominates_at_once = at_once
        bob = TonePhone("bob", host=place(BOB_HOST), frequency=BOB)
        async with virtual_server(net, host=place(HOST), **config) as server:
            crime = IceCrime(server, net, box, alice, bob, place)
            watching = asyncio.create_task(crime.watch())
            async with alice, bob:
                await attack(crime)
            watching.cancel()

    run(main(), net, limit=600)


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_browser_behind_nat_is_found_by_its_checks(symmetric: bool) -> None:
    """The rule that the attacks are on: RFC 8445 section 7.3.2."""

    async def story(crime: IceCrime) -> None:
        await crime.talk(3.0)
        crime.check_unharmed()
        assert crime.places == [crime.source]
        assert crime.source[0] == PUBLIC
        (told,) = crime.latched
        assert told.signalled == crime.alice.media.address
        assert (crime.counts["moved"], crime.counts["refused"]) == (1, 0)

    commit(story, box=NatBox("10.0.0.0/24", PUBLIC, symmetric=symmetric))


@pytest.mark.parametrize("latching", ["never", "always"])
def test_before_a_check_neither_a_client_hello_nor_media_is_read(latching: str) -> None:
    """Not even the peer's own: what comes from an address proves nothing before a check does."""

    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk(0.5)  # Alice's own ClientHello comes out of her NAT
        for _ in range(50):
            mallory.socket.send(HELLO, crime.target)
            await asyncio.sleep(0.02)
        await mallory.stream(crime.target, 1.0)
        assert mallory.heard == []
        assert crime.alice.received == []
        assert crime.srtp["handshakes"] == crime.srtp["early"] == 0
        assert crime.places == []
        assert crime.counts["strangers"] >= 100
        assert crime.bob.hears(ALICE) == set()

    commit(attack, box=NatBox("10.0.0.0/24", PUBLIC), at_once=False, media_latching=latching)


@families
def test_whoever_does_not_know_the_password_moves_nothing_and_hears_nothing(ipv6: bool) -> None:
    """Mallory has the right name from Alice's checks. What she sends is counted."""

    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk()
        forged = check("y" * 24, f"{crime.alice.ufrag}:them", nominates=True)
        for _ in range(100):
            mallory.socket.send(forged, crime.target)
            mallory.socket.send(HELLO, crime.target)
            await asyncio.sleep(0.02)
        await mallory.stream(crime.target, 1.0)
        crime.check_unharmed()
        assert mallory.heard == []
        assert crime.places == []
        assert crime.counts["refused"] + crime.counts["unread"] == 100
        assert crime.counts["strangers"] == 150
        assert crime.srtp["forged"] == crime.srtp["handshakes_failed"] == 0

    commit(attack, ipv6=ipv6)


def test_what_is_forged_in_the_browsers_own_name_changes_nothing() -> None:
    """From the very address that was nominated, but without the password and the certificate."""

    async def attack(crime: IceCrime) -> None:
        await crime.talk()
        for _ in range(50):
            for datagram in (HELLO, check("y" * 24, f"{crime.alice.ufrag}:them", nominates=True)):
                crime.send_as_alice(datagram)
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert crime.places == [crime.source]

    commit(attack, box=NatBox("10.0.0.0/24", PUBLIC))


@families
def test_a_check_of_alices_sent_again_from_elsewhere_moves_nothing(ipv6: bool) -> None:
    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk()
        crime.alice.nominate()
        await asyncio.sleep(2.0)
        old = [each.data for each in crime.checks if each.source == crime.source]
        assert len(old) == 2
        for _ in range(20):
            for data in old:
                mallory.socket.send(data, crime.target)
            await asyncio.sleep(0.1)
        crime.check_unharmed()
        assert mallory.heard == []
        assert crime.places == []
        assert crime.counts["replayed"] == 40

    commit(attack, ipv6=ipv6)


def test_a_copy_that_comes_before_the_check_itself_is_undone_by_the_next() -> None:
    """What is left to an eavesdropper who is faster: a moment of what she can't decrypt."""

    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk(3.0)
        mallory.socket.send(crime.alice.nomination(), crime.target)
        await asyncio.sleep(MOVE_S)
        crime.alice.nominate()
        await asyncio.sleep(0.1)
        heard = len(mallory.heard)
        assert 0 < heard < 80
        await asyncio.sleep(2.0)
        assert len(mallory.heard) == heard
        assert crime.places == [mallory.socket.address, crime.source]
        crime.check_unharmed()
        assert not [data for data in mallory.heard if b"\xff" * 16 in data]

    commit(attack)


def test_a_browser_that_changes_networks_is_followed_and_its_old_address_is_a_strangers() -> None:
    async def story(crime: IceCrime) -> None:
        await crime.talk(2.0)
        assert crime.places == []
        left, there = crime.alice.media.address, []
        await crime.alice.moves_to("198.51.100.7")
        crime.net.bind(left, lambda data, _: there.append(data))
        await asyncio.sleep(2.0)
        assert crime.bob.hears(ALICE) == set()
        crime.alice.nominate()
        await asyncio.sleep(0.1)
        there.clear()
        await asyncio.sleep(2.0)
        assert [host for host, _ in crime.places] == ["198.51.100.7"]
        crime.check_unharmed()
        assert there == []
        assert crime.srtp["handshakes"] == 1

    commit(story)


@families
def test_a_flood_of_checks_costs_a_bounded_number_of_hmacs_and_no_audio(ipv6: bool) -> None:
    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk()
        forged = check("y" * 24, f"{crime.alice.ufrag}:them", nominates=True)
        for _ in range(150):
            for _ in range(20):
                mallory.socket.send(forged, crime.target)
            await asyncio.sleep(0.02)
        crime.check_unharmed()
        assert crime.counts["refused"] <= 50 * 4
        assert crime.counts["unread"] >= 2000
        assert mallory.heard == []

    commit(attack, ipv6=ipv6)


def test_a_browsers_password_is_in_no_event_and_no_snapshot() -> None:
    async def story(crime: IceCrime) -> None:
        await crime.talk()
        said = repr(crime.events) + repr(crime.server.snapshot()) + repr(crime.legs)
        assert crime.alice.password
        assert crime.alice.password not in said

    commit(story, box=NatBox("10.0.0.0/24", PUBLIC))


# ---------------------------------------------------------------------------- ICE that begins anew

ELSEWHERE = {"ipv4": "198.51.100.7", "nat": ALICE_INSIDE, "ipv6": "2001:db8:1::7"}


@anywhere
def test_ice_begins_anew_and_media_goes_on_until_a_nomination(where: str) -> None:
    """RFC 8445 section 9, RFC 8839 section 4.4: new credentials, the old association."""

    async def story(crime: IceCrime) -> None:
        alice = crime.alice
        await crime.talk(3.0)
        first, before = alice.credentials, len(crime.places)
        await alice.restarts_ice()
        assert not set(alice.credentials) & set(first)
        await asyncio.sleep(1.5)
        crime.check_unharmed()  # on the old pair, of which nobody has said anything new
        answers = crime.answers
        alice.send(alice.check(first))  # is what she sends still wanted? RFC 7675
        await asyncio.sleep(0.1)
        assert crime.answers == answers + 1
        await alice.moves_to(ELSEWHERE[where])
        alice.send(alice.check(alice.credentials))
        await asyncio.sleep(0.5)
        assert crime.answers == answers + 2
        assert len(crime.places) == before  # a check is no nomination
        alice.nominate()
        await asyncio.sleep(3.0)
        crime.check_unharmed()
        assert len(crime.places) == before + 1
        assert crime.answers == answers + 3
        alice.send(alice.check(first))
        await asyncio.sleep(0.1)
        assert crime.answers == answers + 3  # the former password is forgotten
        assert crime.srtp["handshakes"] == 1

    box = NatBox("10.0.0.0/24", PUBLIC) if where == "nat" else None
    commit(story, box=box, ipv6=where == "ipv6")


@families
def test_ice_may_begin_anew_where_it_was(ipv6: bool) -> None:
    """On the same pair, many times, with nothing but a nomination now and then."""

    async def story(crime: IceCrime) -> None:
        await crime.talk(2.0)
        seen = {crime.alice.credentials}
        for number in range(12):
            await crime.alice.restarts_ice(THEIRS.replace(b"them", b"t%03d" % number))
            if number % 3 == 2:
                crime.alice.nominate()
            await asyncio.sleep(0.2)
            seen.add(crime.alice.credentials)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert len(seen) == 13
        assert crime.places == []
        assert crime.srtp["handshakes"] == 1

    commit(story, ipv6=ipv6)


def test_a_re_invite_that_begins_nothing_anew_keeps_the_credentials() -> None:
    async def story(crime: IceCrime) -> None:
        await crime.talk(2.0)
        first = crime.alice.credentials
        await crime.alice.hold()
        await crime.alice.resume()
        await crime.legs[0].hold()
        await crime.legs[0].resume()
        assert crime.alice.credentials == first
        await crime.alice.restarts_ice()
        second = crime.alice.credentials
        await crime.legs[0].hold()  # our own offers say the new ones too
        await crime.legs[0].resume()
        await crime.alice.hold()
        await crime.alice.resume()
        assert crime.alice.credentials == second != first
        await asyncio.sleep(1.0)
        crime.check_unharmed()

    commit(story)


def test_a_refused_re_invite_begins_nothing_anew() -> None:
    """RFC 3261 section 14.1: the session stays as it was, its passwords too."""

    async def story(crime: IceCrime) -> None:
        await crime.talk(2.0)
        session = crime.alice._session
        assert session is not None
        known, session._capabilities = session._capabilities, Capabilities(codecs=("G722",))
        with pytest.raises(CallFailed) as caught:
            await crime.alice.restarts_ice()
        assert caught.value.status == 488
        session._capabilities = known
        await crime.alice.moves_to("198.51.100.7")
        crime.alice.nominate()
        await asyncio.sleep(2.0)
        crime.check_unharmed()
        assert [host for host, _ in crime.places] == ["198.51.100.7"]

    commit(story)


@families
def test_who_knows_the_former_password_moves_nothing(ipv6: bool) -> None:
    """Mallory has it from a description that leaked. What she nominates is a stranger's."""

    async def attack(crime: IceCrime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        await crime.talk(2.0)
        leaked = crime.alice.credentials
        await crime.alice.restarts_ice()
        for _ in range(20):
            stolen = crime.alice.check(leaked, nominates=True)
            mallory.socket.send(stolen, crime.target)
            crime.send_as_alice(crime.alice.check(leaked, nominates=True))
            await asyncio.sleep(0.1)
        crime.check_unharmed()
        assert mallory.heard == []
        assert crime.places == []
        assert crime.counts["refused"] == 20

    commit(attack, ipv6=ipv6)
