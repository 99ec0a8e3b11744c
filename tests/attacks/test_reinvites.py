"""Tricks with re-INVITEs in the middle of a call: whatever Alice says, who hears whom stays right.

Alice writes her own offers, and does afterwards what the answer says. Of what was agreed nothing
else may change, and nothing may be left behind: no socket, no row, no key.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from rtpmix import Encryption, Server
from rtpmix.rtp.srtp import SUITES, MasterKey
from rtpmix.sdp.description import parse_sdp
from rtpmix.server.dtls import DtlsIdentity
from rtpmix.server.inline_host import InlineHost
from rtpmix.sip.message import Response
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.net import Address, Passage
from rtpmix.testing.phone_session import PhoneSession
from rtpmix.testing.servers import HOST, virtual_server
from tests.attacks.test_media import ALICE, ALICE_OUTSIDE, BOB, Crime

SETTLED_S = 0.2  # after a change, until what is heard is all of the new kind
CODECS = {
    "PCMU": (0, "PCMU/8000"),
    "PCMA": (8, "PCMA/8000"),
    "G722": (9, "G722/8000"),
    "opus": (96, "opus/48000/2"),
    "L16/16000": (97, "L16/16000"),
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """An offer of Alice's, part by part."""

    host: str | None = ALICE_OUTSIDE  # None: c=0.0.0.0
    port: int | None = None  # None: where her media is
    direction: str = "sendrecv"
    codecs: tuple[str, ...] = ("PCMU",)
    numbers: tuple[tuple[str, int], ...] = ()  # payload types other than in CODECS
    mux: bool = False
    protocol: str = "RTP/AVP"
    lines: tuple[str, ...] = ()

    def body(self, port: int, version: int) -> bytes:
        numbers = {name: number for name, (number, _) in CODECS.items()} | dict(self.numbers)
        formats = [numbers[name] for name in self.codecs]
        host = self.host or "0.0.0.0"
        family = "IP6" if ":" in host else "IP4"
        lines = [
            *("v=0", f"o=- 7 {version} IN IP4 {ALICE_OUTSIDE}", "s=-", f"c=IN {family} {host}"),
            "t=0 0",
            f"m=audio {port} {self.protocol} {' '.join(map(str, formats))}",
            *(f"a=rtpmap:{numbers[name]} {CODECS[name][1]}" for name in self.codecs),
            *(["a=rtcp-mux"] if self.mux else []),
            *self.lines,
            f"a={self.direction}",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()


class Haggler(TonePhone):
    """A phone that writes its own offers."""

    version = 1000

    @property
    def session(self) -> PhoneSession:
        """That of the call."""
        assert self._session is not None
        return self._session

    async def invite_again(self, body: bytes) -> Response:
        """Send a re-INVITE; return the final response to it."""
        assert self._call is not None
        self._line.agent.reinvite(self._call, body, self._line.now)
        waiting: asyncio.Future[Any] = self._line.wait_for(self._call)
        self._line.pump()
        answer = await waiting
        assert answer.response is not None
        return answer.response

    def acknowledge(self, response: Response) -> None:
        """Answer the offer of a 200 in its ACK."""
        assert self._call is not None
        body = self.session.answer_offer(response.body)
        self._line.agent.ack(self._call, body, self._line.now)
        self._line.pump()

    async def say(self, said: Said) -> Response:
        """Offer that, and do what was agreed; a refusal changes nothing."""
        self.version += 1
        port = self.media.address[1] if said.port is None else said.port
        body = said.body(port, self.version)
        response = await self.invite_again(body)
        session = self.session
        if response.status == 200 and port:
            session._offer = parse_sdp(body)
            session.accept_answer(response.body)
        return response

    async def moves_to(self, host: str) -> None:
        """Have other sockets for media."""
        left = self.media._rtp, self.media._rtcp
        await self.media.open(host)
        for each in left:
            assert each is not None
            each.close()


class Haggle(Crime):
    """A call between Alice, who haggles, and Bob; the last frames of either decide."""

    alice: Haggler

    def __init__(self, *everything: Any) -> None:
        super().__init__(*everything)
        self.wire: list[Passage] = []
        self.net.observe(self.wire.append)

    async def hears(self, *, alice: bool = True, bob: bool = True) -> None:
        """Let some frames pass, then see whether each hears the other, or nothing."""
        await asyncio.sleep(SETTLED_S + 0.4)
        assert self.alice.hears(ALICE, BOB, seconds=0.4) == ({BOB} if alice else set())
        assert self.bob.hears(ALICE, BOB, seconds=0.4) == ({ALICE} if bob else set())
        media = self.server.snapshot()["media"]
        assert (media["failed_ticks"], media["legs"]) == (0, 2)

    def sent_to(self, address: Address) -> int:
        """How much was sent to an address since `wire` was cleared."""
        return sum(each.destination == address for each in self.wire)

    @property
    def in_the_clear(self) -> int:
        """How many packets went to Alice, since `wire` was cleared, that have no tag."""
        ours = [each for each in self.wire if each.source[0] == HOST and each.data[0] == 0x80]
        return sum(each.destination[0] == ALICE_OUTSIDE and len(each.data) == 172 for each in ours)

    @property
    def footprint(self) -> tuple[int, int]:
        """Sockets of the server, and what it remembers of SIP."""
        ours = [address for address in self.net._sockets if address[0] == HOST]
        return len(ours), self.server.snapshot()["media"]["legs"]


def held_by(server: Server) -> list[str]:
    """Return the tables of the media layers that still hold something of a leg."""
    host = server._host
    assert isinstance(host, InlineHost)
    tables: dict[str, Sized] = {}
    for layer in (host._media.secured, host._media.secured.checked, host._media.io):
        tables |= {
            f"{type(layer).__name__}.{name}": value
            for name, value in vars(layer).items()
            if isinstance(value, dict) and name != "_plans"  # by phase: they end with the next beat
        }
    assert {"SecureIO._receivers", "CheckedLegs._paths", "LatchingIO._attached"} <= tables.keys()
    return [name for name, table in tables.items() if len(table)]


Trick = Callable[[Haggle], Awaitable[None]]


def haggle(trick: Trick, *, alice: dict[str, Any] | None = None, **config: Any) -> Haggle:
    """Play a trick in the middle of a call; afterwards everything must be given back."""
    net = VirtualNet(seed=5, delay_ms=5)
    kept: list[Haggle] = []

    async def main() -> None:
        first = Haggler("alice", host=ALICE_OUTSIDE, frequency=ALICE, **(alice or {}))
        second = TonePhone("bob", host="192.0.2.20", frequency=BOB)
        async with virtual_server(net, **config) as server, first, second:
            before = [address for address in net._sockets if address[0] == HOST]
            crime = Haggle(server, net, None, first, second)
            kept.append(crime)
            await crime.talk()
            await crime.hears()
            await trick(crime)
            crime.alice.bye()
            await crime.legs[0].closed()
            await crime.legs[1].closed()
            await asyncio.sleep(40)
            assert [address for address in net._sockets if address[0] == HOST] == before
            assert server.snapshot()["media"]["legs"] == 0
            assert held_by(server) == []

    run(main(), net, limit=600)
    return kept[0]


# ------------------------------------------------------------------------------------ holding

HOLDS = {
    "0.0.0.0": (Said(host=None), False, False),
    "0.0.0.0, inactive": (Said(host=None, direction="inactive"), False, False),
    "sendonly": (Said(direction="sendonly"), False, True),
    "recvonly": (Said(direction="recvonly"), True, False),
    "inactive": (Said(direction="inactive"), False, False),
    "port 0": (Said(port=0), False, False),
}


@pytest.mark.parametrize("way", HOLDS)
def test_every_way_to_hold_holds_just_that_and_can_be_undone(way: str) -> None:
    """RFC 3264 sections 8.2 and 8.4, RFC 6337 section 5.4: thrice, and from any into any other.

    With c=0.0.0.0 nobody is heard either: whose packets they are is not known.
    """
    said, alice, bob = HOLDS[way]

    async def trick(crime: Haggle) -> None:
        for _ in range(3):
            assert (await crime.alice.say(said)).status == 200
            await crime.hears(alice=alice, bob=bob)
            crime.wire.clear()
            await asyncio.sleep(0.2)
            assert bool(crime.sent_to(crime.alice.media.address)) is alice
            assert (await crime.alice.say(Said())).status == 200
            await crime.hears()
        for other, alice_hears, bob_hears in HOLDS.values():
            for each, *heard in ((said, alice, bob), (other, alice_hears, bob_hears)):
                await crime.alice.say(each)
                await crime.hears(alice=heard[0], bob=heard[1])

    haggle(trick)


# ------------------------------------------------------------------------------- where media is


def test_a_phone_that_moves_is_followed_and_its_old_address_is_a_strangers() -> None:
    """To another port, to another host, and back, in every re-INVITE anew."""

    async def trick(crime: Haggle) -> None:
        for host in (ALICE_OUTSIDE, "198.51.100.7", ALICE_OUTSIDE):
            left = crime.alice.media.address
            here = crime.target
            await crime.alice.moves_to(host)
            await crime.alice.say(Said(host=host))
            await crime.hears()
            crime.wire.clear()
            before = crime.legs[0].stats().received
            for _ in range(25):
                crime.net.transmit(crime.last.to_bytes(), left, here)
                await asyncio.sleep(0.02)
            assert crime.sent_to(left) == 0
            assert crime.sent_to(crime.alice.media.address) >= 24
            assert crime.legs[0].stats().received - before <= 27
            await crime.hears()

    haggle(trick)


def test_an_address_of_the_other_family_is_refused_and_the_call_goes_on() -> None:
    """A leg's port is of one family (RFC 6157 section 3.1 leaves the change to ICE): 488."""

    async def trick(crime: Haggle) -> None:
        for host in ("2001:db8::10", "::1", "::ffff:192.0.2.10", "224.0.0.1", "255.255.255.255"):
            assert (await crime.alice.say(Said(host=host))).status == 488
            await crime.hears()

    haggle(trick)


def test_rtcp_goes_where_mux_says_each_time_it_changes() -> None:
    """RFC 5761 section 5.1.1: reports on the port of RTP, and not on it."""

    async def trick(crime: Haggle) -> None:
        host, port = crime.alice.media.address
        for mux in (True, False, True, False):
            response = await crime.alice.say(Said(mux=mux))
            assert (b"a=rtcp-mux" in response.body) is crime.alice.media._agreed.rtcp_mux  # type: ignore[union-attr]
            crime.wire.clear()
            await asyncio.sleep(11)
            reports = [each for each in crime.wire if each.data[1] in (200, 201)]
            to = {each.destination[1] for each in reports if each.destination[0] == host}
            muxed = b"a=rtcp-mux" in response.body
            assert to == {port if muxed else port + 1}
            await crime.hears()

    haggle(trick)


# --------------------------------------------------------------------------- codecs and numbers


def test_codecs_change_from_one_re_invite_to_the_next() -> None:
    async def trick(crime: Haggle) -> None:
        for codec in ("opus", "G722", "PCMU", "L16/16000", "PCMA", "opus", "PCMU"):
            assert (await crime.alice.say(Said(codecs=(codec,)))).status == 200
            assert crime.legs[0].codec == codec
            await crime.hears()
        assert (await crime.alice.say(Said(codecs=("PCMA",)))).status == 200

    haggle(trick, codecs=tuple(CODECS))


def test_payload_type_numbers_that_change_their_meaning_are_followed() -> None:
    """RFC 3264 section 8.3.2 forbids it to Alice. What is heard is what the last answer says."""

    async def trick(crime: Haggle) -> None:
        one, other = (("opus", 96), ("L16/16000", 97)), (("opus", 97), ("L16/16000", 96))
        for _ in range(2):
            for numbers in (one, other):
                for codecs in (("opus", "L16/16000"), ("L16/16000",), ("opus",)):
                    await crime.alice.say(Said(codecs=codecs, numbers=numbers))
                    await crime.hears()

    haggle(trick, codecs=("opus", "L16/16000", "PCMU"))


# --------------------------------------------------------------------------------- encryption


def crypto(suite: str, seed: int, tag: int = 1) -> tuple[MasterKey, str]:
    """Return a key and the line that says it."""
    key = MasterKey.generate(suite, random_bytes=Random(seed).randbytes)
    return key, f"a=crypto:{tag} {suite} {key.inline()}"


async def say_key(crime: Haggle, suite: str, seed: int) -> str:
    """Change Alice's key, and perhaps her suite; return the server's line."""
    _, line = crypto(suite, seed)
    response = await crime.alice.say(Said(protocol="RTP/SAVP", lines=(line,)))
    assert response.status == 200
    (found,) = [each for each in response.body.decode().split("\r\n") if "a=crypto" in each]
    return found


NAMES = tuple(SUITES)
ENCRYPTED = {"encryption": Encryption.REQUIRED}


def test_the_peers_key_and_suite_may_change_and_ours_is_never_used_twice() -> None:
    """RFC 3711 section 9.1: a suite that comes again has a new key, for its counters begin anew."""

    async def trick(crime: Haggle) -> None:
        ours = []
        for seed, suite in enumerate((*NAMES, *NAMES, *reversed(NAMES))):
            ours.append(await say_key(crime, suite, seed))
            assert crime.legs[0].encryption == suite
            await crime.hears()
        pairs = list(itertools.pairwise(ours))
        changes = 1 + sum(a.split()[1] != b.split()[1] for a, b in pairs)
        assert len(set(ours)) == changes
        assert crime.server.snapshot()["media"]["srtp"]["forged"] <= 10 * len(ours)

    haggle(trick, alice=ENCRYPTED)


@pytest.mark.parametrize("between", ["nothing", "port 0", "inactive"])
@pytest.mark.parametrize("dtls", [False, True])
def test_a_call_is_never_taken_back_into_the_clear(between: str, dtls: bool) -> None:
    """Not where encryption is required, and not where it was only agreed; not by a detour."""

    async def trick(crime: Haggle) -> None:
        detour = {"port 0": Said(port=0), "inactive": Said(direction="inactive")}.get(between)
        for said in (Said(), Said(codecs=("PCMA",)), Said(protocol="RTP/SAVP"), Said(host=None)):
            if detour is not None:
                secured = await crime.alice.say(replace(detour, **_secured(crime, detour)))
                assert secured.status == 200
            assert (await crime.alice.say(said)).status == 488
            assert crime.legs[0].encryption is not None
            crime.wire.clear()
            await asyncio.sleep(0.3)
            assert crime.in_the_clear == 0
        if detour is None:
            await crime.hears()

    def _secured(crime: Haggle, detour: Said) -> dict[str, Any]:
        if detour.port == 0:
            return {}
        return {"lines": kept(crime), "protocol": _protocol(crime)}

    haggle(trick, alice=ENCRYPTED | {"dtls": dtls})


def _protocol(crime: Haggle) -> str:
    agreed = crime.alice.media._agreed
    assert agreed is not None
    return agreed.protocol


def kept(crime: Haggle) -> tuple[str, ...]:
    """What Alice's offers say of keys when nothing is to change."""
    body = crime.alice.session.reoffer(held=False).decode().split("\r\n")
    words = ("a=crypto", "a=fingerprint", "a=setup", "a=rtcp-mux")
    return tuple(line for line in body if line.startswith(words))


async def say_certificate(crime: Haggle) -> None:
    """Have another certificate from now on, and wait for the handshake."""
    crime.alice.media.certificate = made = DtlsIdentity.generate()
    session, fingerprint = crime.alice.session, made.fingerprint
    security = replace(session._local.security, fingerprint=fingerprint)
    session._local = replace(session._local, security=security)
    lines = f"a=fingerprint:{fingerprint}", "a=setup:actpass"
    said = Said(protocol="UDP/TLS/RTP/SAVP", lines=lines, mux=True)
    assert (await crime.alice.say(said)).status == 200
    await asyncio.sleep(1.0)


def test_another_certificate_is_another_handshake_and_the_old_keys_are_no_good() -> None:
    """RFC 8842 section 5: a changed fingerprint is a new association."""

    async def trick(crime: Haggle) -> None:
        media = crime.alice.media
        for handshakes in (2, 3):
            former = media._sender
            assert former is not None
            await say_certificate(crime)
            await crime.hears()
            srtp = crime.server.snapshot()["media"]["srtp"]
            assert srtp["handshakes"] == handshakes
            assert srtp["handshakes_failed"] == 0
            refused = srtp["forged"] + srtp["replayed"]
            for _ in range(5):
                stale = former.protect(crime.last.to_bytes())
                crime.net.transmit(stale, media.address, crime.target)
                await asyncio.sleep(0.02)
            srtp = crime.server.snapshot()["media"]["srtp"]
            assert srtp["forged"] + srtp["replayed"] == refused + 5

    haggle(trick, alice=ENCRYPTED | {"dtls": True})


def test_the_way_to_agree_on_keys_may_change_and_none_is_used_twice() -> None:
    """SDES, DTLS, and both again: a suite that comes back has another key of ours."""

    async def trick(crime: Haggle) -> None:
        ours = []
        for seed in range(3):
            ours.append(await say_key(crime, NAMES[0], seed))
            await crime.hears()
            await say_certificate(crime)
            assert crime.legs[0].encryption == "DTLS-SRTP"
            await crime.hears()
        assert len(set(ours)) == 3
        assert crime.server.snapshot()["media"]["srtp"]["handshakes"] == 3

    haggle(trick, alice=ENCRYPTED)


# ------------------------------------------------------------------------------ order and number


def test_fifty_re_invites_in_a_row_leave_nothing_behind() -> None:
    rng = Random(19)
    everything = [each for each, _, _ in HOLDS.values()] + [
        Said(codecs=(name,)) for name in ("G722", "PCMA", "opus")
    ]

    async def trick(crime: Haggle) -> None:
        before = crime.footprint
        for _ in range(50):
            assert (await crime.alice.say(rng.choice(everything))).status == 200
        assert (await crime.alice.say(Said())).status == 200
        await crime.hears()
        assert crime.footprint == before
        assert all(leg.is_open for leg in crime.legs)

    haggle(trick, codecs=tuple(CODECS))


def test_re_invites_that_cross_are_settled_and_both_happen() -> None:
    """RFC 3261 section 14.1: 491 to both, and each comes again after its own pause."""

    async def trick(crime: Haggle) -> None:
        holding = asyncio.create_task(crime.legs[0].hold())
        await asyncio.sleep(0.003)  # ours is on its way
        status = (await crime.alice.say(Said())).status
        await holding
        assert status == 200
        await crime.hears(bob=False)
        await crime.legs[0].resume()
        await crime.hears()

    haggle(trick)


def test_a_re_invite_without_an_offer_is_answered_with_ours() -> None:
    """RFC 3261 section 14.2; the answer comes in the ACK."""

    async def trick(crime: Haggle) -> None:
        for _ in range(3):
            response = await crime.alice.invite_again(b"")
            crime.alice.acknowledge(response)
            assert response.status == 200
            assert b"a=sendrecv" in response.body
            await crime.hears()

    haggle(trick)


UNASKED = {
    "sdp": (b"application/sdp", Said(host=None, codecs=("PCMA",)).body(9, 1)),
    "text": (b"text/plain", b"v=none"),
    "octets": (b"application/octet-stream", bytes(range(256))),
}


@pytest.mark.parametrize("kind", UNASKED)
def test_what_an_ack_carries_unasked_changes_nothing(kind: str) -> None:
    """RFC 3261 section 13.2.1: after an offer in the INVITE there is none to answer in the ACK."""
    content_type, body = UNASKED[kind]

    async def trick(crime: Haggle) -> None:
        transmit, changed = crime.net.transmit, []

        def with_body(data: bytes, source: Address, destination: Address) -> None:
            if data.startswith(b"ACK ") and source[0] == ALICE_OUTSIDE:
                head = data.partition(b"Content-Length")[0]
                head += b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n"
                data = head % (content_type, len(body)) + body
                changed.append(data)
            transmit(data, source, destination)

        crime.net.transmit = with_body  # type: ignore[method-assign]
        for _ in range(2):
            assert (await crime.alice.say(Said())).status == 200
            await crime.hears()
        assert len(changed) == 2

    haggle(trick)


def test_a_program_may_hold_while_the_answer_to_another_offer_is_on_its_way() -> None:
    """The offer in a 200 is answered by the ACK; `Leg.hold` makes a second one meanwhile."""

    async def trick(crime: Haggle) -> None:
        response = await crime.alice.invite_again(b"")
        holding = asyncio.create_task(crime.legs[0].hold())
        await asyncio.sleep(0.1)
        crime.alice.acknowledge(response)
        await holding
        await crime.hears(bob=False)
        await crime.legs[0].resume()
        await crime.hears()

    haggle(trick)
