"""Attacks on the media of a call: who else is heard, who else hears, and what it costs.

Alice is behind a NAT or not, Bob is on the server's network, Mallory is elsewhere, Trudy is behind
the same NAT as Alice. Each of them has a tone of their own.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from rtpmix import Encryption, IncomingCall, Leg, LegMediaLatched, Server
from rtpmix.rtp.latching import RUN, WINDOW_S
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.rtcp import Goodbye, ReceiverReport, build_compound
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.audio import encode_g711
from rtpmix.testing.nat import NatBox
from rtpmix.testing.net import Address, Passage
from rtpmix.testing.phone_session import PhoneSession
from rtpmix.testing.servers import HOST, virtual_server
from rtpmix.testing.voices import tone_voice

ALICE, BOB, MALLORY = 437.0, 1013.0, 1733.0
PUBLIC, ALICE_INSIDE, TRUDY_INSIDE = "203.0.113.9", "10.0.0.7", "10.0.0.66"
ALICE_OUTSIDE, BOB_HOST, MALLORY_HOST = "192.0.2.10", "192.0.2.20", "198.51.100.66"
MALLORY_DB = -10.0
# The same people where everybody has IPv6, which nobody needs a NAT for.
OVER_IPV6 = {
    HOST: "2001:db8::1",
    ALICE_OUTSIDE: "2001:db8::10",
    BOB_HOST: "2001:db8::20",
    MALLORY_HOST: "2001:db8:bad::66",
}
BAR = 5  # packets that may be injected or bled while learning, since CVE-2025-53399


class LatePhone(TonePhone):
    """Says nothing until it is told to."""

    async def _new_session(self) -> PhoneSession:
        session = await super()._new_session()
        session.media.paused = True
        return session


class Eavesdropper:
    """A socket that keeps what it hears, and can send a stream with a tone of its own."""

    def __init__(self, net: VirtualNet, host: str, port: int = 0) -> None:
        self.net = net
        self.heard: list[bytes] = []
        self.socket = net.bind((host, port), lambda data, _: self.heard.append(data))
        self.voice = tone_voice(MALLORY, level_db=MALLORY_DB)
        self.sent = 0

    async def stream(
        self,
        to: Address,
        seconds: float,
        *,
        ssrc: int = 0xBAD,
        sequence: int = 500,
        every_s: float = 0.02,
    ) -> None:
        """Send packets as consistent as a phone's."""
        for _ in range(round(seconds / every_s)):
            payload = encode_g711(next(self.voice), "PCMU")
            self.socket.send(rtp(sequence + self.sent, ssrc, payload), to)
            self.sent += 1
            await asyncio.sleep(every_s)


class Crime:
    """A call between Alice and Bob, and what was seen of it on the wire."""

    def __init__(
        self,
        server: Server,
        net: VirtualNet,
        box: NatBox | None,
        alice: TonePhone,
        bob: TonePhone,
        place: Callable[[str], str] = str,
    ) -> None:
        self.server, self.net, self.box = server, net, box
        self.host, self.mallory = place(HOST), place(MALLORY_HOST)
        self.target_uri = f"sip:bob@[{self.host}]" if ":" in self.host else f"sip:bob@{self.host}"
        self.alice, self.bob = alice, bob
        self.legs: list[Leg] = []
        self.events: list[Any] = []
        self.seen: list[Passage] = []  # RTP of Alice, as outside of her NAT
        net.observe(self._see)
        server.on_invite(self._handle)

    def _see(self, passage: Passage) -> None:
        session = self.alice._session
        if session is None or passage.destination[0] != self.host:
            return
        inside = session.media.address
        port = self.box.mappings.get((inside, None)) if self.box is not None else None
        if passage.source == ((PUBLIC, port) if port is not None else inside):
            self.seen.append(passage)

    async def _handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.bob.uri)
        near = await call.answer()
        self.legs = [near, far]
        await self.server.bridge(near, far)
        await near.closed()

    async def watch(self) -> None:
        async for event in self.server.events():
            self.events.append(event)

    async def talk(self, seconds: float = 1.0) -> None:
        await self.alice.call(self.target_uri)
        await asyncio.sleep(seconds)

    @property
    def target(self) -> Address:
        """Where Alice's RTP goes."""
        agreed = self.alice.media._agreed
        assert agreed is not None
        assert agreed.remote is not None
        return agreed.remote

    @property
    def source(self) -> Address:
        """Where Alice's RTP comes from, as the server sees it."""
        return self.seen[-1].source

    @property
    def last(self) -> RtpPacket:
        """The last RTP packet of Alice."""
        return RtpPacket.parse(self.seen[-1].data)

    def send_as_alice(self, data: bytes) -> None:
        self.net.transmit(data, self.source, self.target)

    @property
    def latched(self) -> list[LegMediaLatched]:
        return [each for each in self.events if isinstance(each, LegMediaLatched)]

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["latching"]
        return counts

    def check_unharmed(self) -> None:
        """Both hear each other, Mallory is at least 60 dB below what she sent, no beat failed."""
        assert self.bob.hears(ALICE) == {ALICE}
        assert self.alice.hears(BOB) == {BOB}
        for phone in (self.alice, self.bob):
            assert phone.level_db(MALLORY) <= MALLORY_DB - 60
        assert self.server.snapshot()["media"]["failed_ticks"] == 0


def rtp(sequence: int, ssrc: int, payload: bytes, timestamp: int | None = None) -> bytes:
    packet = RtpPacket(
        payload_type=0,
        sequence_number=sequence % 65536,
        timestamp=(sequence * 160 if timestamp is None else timestamp) % (1 << 32),
        ssrc=ssrc,
        payload=payload,
    )
    return packet.to_bytes()


Attack = Callable[[Crime], Awaitable[None]]


def commit(
    attack: Attack,
    *,
    nat: bool = False,
    ipv6: bool = False,
    late: bool = False,
    limit: float = 600,
    **config: Any,
) -> None:
    """Run an attack; with ``nat``, on a phone behind one, and latching is on."""
    net = VirtualNet(seed=5, delay_ms=5)
    place = OVER_IPV6.__getitem__ if ipv6 else str
    box = net.add_nat(NatBox("10.0.0.0/24", PUBLIC)) if nat else None
    settings: dict[str, Any] = {"media_latching": "behind-nat"} if nat else {}
    phone_settings = settings_of_phone(config)
    settings |= config

    async def main() -> None:
        host = ALICE_INSIDE if nat else place(ALICE_OUTSIDE)
        kind = LatePhone if late else TonePhone
        alice = kind("alice", host=host, frequency=ALICE, **phone_settings)
        bob = TonePhone("bob", host=place(BOB_HOST), frequency=BOB)
        async with virtual_server(net, host=place(HOST), **settings) as server:
            crime = Crime(server, net, box, alice, bob, place)
            watching = asyncio.create_task(crime.watch())
            async with alice, bob:
                await attack(crime)
            watching.cancel()

    run(main(), net, limit=limit)


def settings_of_phone(config: dict[str, Any]) -> dict[str, Any]:
    """Take out of a configuration what is for the phone."""
    return {name: config.pop(name) for name in ("encryption", "dtls") if name in config}


# ------------------------------------------------------------------------------- RTPbleed

PLACES: dict[str, dict[str, bool]] = {"ipv4": {}, "nat": {"nat": True}, "ipv6": {"ipv6": True}}
anywhere = pytest.mark.parametrize("where", PLACES)
families = pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])


@anywhere
def test_a_stranger_who_sends_to_every_port_gets_not_one_packet(where: str) -> None:
    """RTPbleed: before the call, while it begins, in it. CVE-2025-53399 let five through."""

    async def attack(crime: Crime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)

        async def spray() -> None:
            for number in range(200):
                for port in range(20000, 20008):
                    mallory.socket.send(rtp(number, 0xBAD, bytes(160)), (crime.host, port))
                await asyncio.sleep(0.02)

        spraying = asyncio.create_task(spray())
        await asyncio.sleep(0.5)
        await crime.talk(3.0)
        await spraying
        assert mallory.heard == []
        crime.check_unharmed()
        assert crime.target[1] in range(20000, 20008), "the spray missed the call"
        assert len(crime.latched) == int(where == "nat")

    commit(attack, rtp_ports=range(20000, 20008), **PLACES[where])


def test_a_stranger_within_the_window_is_not_heard_and_hears_nothing() -> None:
    """Alice is silent for the first two seconds: Mallory has the window to herself."""

    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        mallory = Eavesdropper(crime.net, crime.mallory)
        await mallory.stream(crime.target, 2.0)
        assert mallory.sent == 100
        assert mallory.heard == []
        assert crime.bob.level_db(MALLORY) <= MALLORY_DB - 60
        assert crime.latched == []
        assert crime.counts["refused"] >= 95  # the rest came before the window
        assert crime.legs[0].stats().dropped == crime.counts["refused"]
        crime.alice.stop_sending(False)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert [each.remote for each in crime.latched] == [crime.source]

    commit(attack, nat=True, late=True)


def test_somebody_behind_the_same_nat_gains_nothing_by_fewer_packets_than_a_run() -> None:
    """What is played of a source on trial: nothing. What is sent to it: nothing."""

    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        for ssrc in range(40):  # ever again, and never to the end
            await trudy.stream(crime.target, 0.02 * (RUN - 1), ssrc=ssrc)
        assert trudy.sent == 40 * (RUN - 1)
        assert trudy.heard == []
        assert crime.bob.level_db(MALLORY) <= MALLORY_DB - 60
        crime.alice.stop_sending(False)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert [each.remote for each in crime.latched] == [crime.source]

    commit(attack, nat=True, late=True)


def test_somebody_behind_the_same_nat_hears_nothing_before_a_whole_run() -> None:
    """RFC 7362 section 5 knows no remedy here but encryption; still the bar holds.

    With Alice silent, Trudy passes for her at the end of a run. Nothing of it was played before.
    """

    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        counted: list[int] = []

        def count(passage: Passage) -> None:
            if passage.source == crime.target and passage.destination[0] == PUBLIC:
                counted.append(trudy.sent)

        crime.net.observe(count)
        await trudy.stream(crime.target, 1.0)
        assert counted, "this looks at something that happens"
        assert min(counted) >= RUN
        assert RUN <= BAR

    commit(attack, nat=True, late=True)


def test_when_the_window_is_over_nobody_is_learned() -> None:
    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        await asyncio.sleep(WINDOW_S)
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        await trudy.stream(crime.target, 2.0)
        assert trudy.heard == []
        assert crime.latched == []
        assert crime.bob.level_db(MALLORY) <= MALLORY_DB - 60
        assert crime.counts["expired"] == 1

    commit(attack, nat=True, late=True)


# ------------------------------------------------------------------ injection and hijacking


@anywhere
def test_audio_injected_from_elsewhere_is_60_db_down(where: str) -> None:
    """With Alice's SSRC and her next sequence numbers, while she speaks and while she does not."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        mallory = Eavesdropper(crime.net, crime.mallory, crime.source[1])
        for _ in range(100):
            await mallory.stream(
                crime.target, 0.02, ssrc=crime.last.ssrc, sequence=crime.last.sequence_number + 1
            )
        crime.check_unharmed()
        crime.alice.stop_sending()
        await mallory.stream(crime.target, 2.0, ssrc=crime.last.ssrc)
        assert crime.bob.level_db(MALLORY) <= MALLORY_DB - 60
        assert mallory.heard == []

    commit(attack, **PLACES[where])


@pytest.mark.parametrize("copied", [False, True])
def test_a_latched_leg_is_not_hijacked_from_behind_the_same_nat(copied: bool) -> None:
    """Perfectly consistent packets, for twelve seconds, with or without Alice's SSRC."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        ssrc = crime.last.ssrc if copied else 0xBAD
        await trudy.stream(crime.target, 5.0, ssrc=ssrc)
        crime.alice.stop_sending()
        await trudy.stream(crime.target, 5.0, ssrc=ssrc)
        crime.alice.stop_sending(False)
        await trudy.stream(crime.target, 2.0, ssrc=ssrc)
        assert trudy.heard == []
        crime.check_unharmed()
        assert len(crime.latched) == 1

    commit(attack, nat=True)


def test_a_window_that_a_reinvite_opens_is_no_way_in_while_the_phone_speaks() -> None:
    """Trudy sends a packet a millisecond; Alice's own come every twenty."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        flood = asyncio.create_task(
            trudy.stream(crime.target, 3.0, ssrc=crime.last.ssrc, every_s=0.001)
        )
        await asyncio.sleep(0.5)
        await crime.alice._reoffer(held=False)
        await flood
        assert trudy.sent == 3000
        assert trudy.heard == []
        crime.check_unharmed()
        assert len(crime.latched) == 1

    commit(attack, nat=True)


# --------------------------------------------------------------------------------- floods


@families
def test_a_flood_of_ssrcs_from_the_right_address_costs_no_memory(ipv6: bool) -> None:
    """1,000 packets, each of another source: Alice is heard while they come, and nothing grows."""
    rng = Random(3)

    async def attack(crime: Crime) -> None:
        await crime.talk()

        async def flood(packets: int) -> None:
            for _ in range(packets // 20):
                for _ in range(20):
                    data = rtp(rng.randrange(65536), rng.getrandbits(32), bytes(160))
                    crime.send_as_alice(data)
                await asyncio.sleep(0.05)
                del crime.seen[:-1], crime.alice.received[:], crime.bob.received[:-100]

        await flood(500)
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        await flood(1000)
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        ours = [
            tracemalloc.Filter(True, f"*/rtpmix/{part}/*") for part in ("mixer", "rtp", "server")
        ]
        grown = after.filter_traces(ours).compare_to(before.filter_traces(ours), "filename")
        assert sum(each.size_diff for each in grown) < 32 * 1024
        assert crime.bob.hears(ALICE) == {ALICE}
        assert crime.server.snapshot()["media"]["failed_ticks"] == 0

    commit(attack, ipv6=ipv6)


def test_a_flood_within_the_window_costs_a_bounded_number_of_trials() -> None:
    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        socks = [Eavesdropper(crime.net, TRUDY_INSIDE) for _ in range(200)]
        rng = Random(5)
        for number in range(100):
            for each in socks[:: 1 + number % 7]:
                data = rtp(rng.randrange(65536), rng.getrandbits(32), bytes(160))
                each.socket.send(data, crime.target)
            await asyncio.sleep(0.005)
        assert crime.latched == []
        assert not any(each.heard for each in socks)
        crime.alice.stop_sending(False)
        await asyncio.sleep(1.0)
        crime.check_unharmed()

    commit(attack, nat=True, late=True)


# ----------------------------------------------------------------------------------- RTCP


def bye(ssrc: int) -> bytes:
    return build_compound([ReceiverReport(ssrc=ssrc), Goodbye((ssrc,))])


@families
@pytest.mark.parametrize("who", ["stranger", "wrong SSRC", "right SSRC", "bare"])
def test_a_spoofed_rtcp_bye_ends_nothing(who: str, ipv6: bool) -> None:
    """RFC 3550 section 6.6: only signalling ends a call. A BYE of the right SSRC is a hint."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        ssrc = crime.last.ssrc
        data = {"wrong SSRC": bye(ssrc ^ 1), "bare": bytes([0x81, 203, 0, 1]) + bytes(4)}
        host, port = crime.source if who != "stranger" else (crime.mallory, 4000)
        target, target_port = crime.target
        for _ in range(20):
            said = data.get(who, bye(ssrc))
            crime.net.transmit(said, (host, port + 1), (target, target_port + 1))
            crime.net.transmit(said, (host, port), (target, target_port))
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert all(leg.is_open for leg in crime.legs)

    commit(attack, ipv6=ipv6)


# ----------------------------------------------------------------------------- encryption


def test_only_what_authenticates_latches() -> None:
    """SDES behind NAT: Trudy has no key. She is refused before she is even on trial."""

    async def attack(crime: Crime) -> None:
        await crime.alice.call(crime.target_uri)
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        await trudy.stream(crime.target, 2.0)
        assert trudy.heard == []
        assert crime.latched == []
        assert crime.server.snapshot()["media"]["srtp"]["forged"] >= 95
        crime.alice.stop_sending(False)
        await asyncio.sleep(1.0)
        crime.check_unharmed()
        assert [each.remote for each in crime.latched] == [crime.source]

    commit(attack, nat=True, late=True, encryption=Encryption.REQUIRED)


def test_replayed_srtp_latches_nobody() -> None:
    """Alice is silent when a re-INVITE opens a window; Trudy sends what Alice sent before."""

    async def attack(crime: Crime) -> None:
        await crime.talk(2.0)
        old = [each.data for each in crime.seen[-60:]]
        crime.alice.stop_sending()
        await crime.alice._reoffer(held=False)
        await asyncio.sleep(0.1)
        trudy = Eavesdropper(crime.net, TRUDY_INSIDE)
        for data in old:
            trudy.socket.send(data, crime.target)
            await asyncio.sleep(0.02)
        assert crime.server.snapshot()["media"]["srtp"]["replayed"] == 60
        assert trudy.heard == []
        assert len(crime.latched) == 1
        crime.alice.stop_sending(False)
        await asyncio.sleep(1.0)
        crime.check_unharmed()

    commit(attack, nat=True, encryption=Encryption.REQUIRED)


@families
def test_a_client_hello_from_a_stranger_is_not_read(ipv6: bool) -> None:
    """A DTLS leg learns nothing from packets, whatever `media_latching` says."""
    hello = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40\x01\x00\x00\x34" + bytes(58)

    async def attack(crime: Crime) -> None:
        mallory = Eavesdropper(crime.net, crime.mallory)
        neighbour = Eavesdropper(crime.net, crime.alice.host)
        await crime.alice.call(crime.target_uri)
        for _ in range(100):
            mallory.socket.send(hello, crime.target)
            neighbour.socket.send(hello, crime.target)
            await asyncio.sleep(0.02)
        assert mallory.heard == neighbour.heard == []
        srtp = crime.server.snapshot()["media"]["srtp"]
        assert (srtp["handshakes"], srtp["handshakes_failed"], srtp["early"]) == (1, 0, 0)
        assert crime.counts["learning"] == 0
        crime.check_unharmed()

    commit(attack, ipv6=ipv6, media_latching="always", encryption=Encryption.REQUIRED, dtls=True)


# ---------------------------------------------------------------------------------- bombs


@pytest.mark.parametrize(
    "frames", [3, 8, 11, 13, 15, 16, 40, 49, 51, 400, 180_000, -3, -11, -40, -60, -180_000]
)
def test_after_a_timestamp_bomb_the_delay_is_small_at_once(frames: int) -> None:
    """The sender's timestamps jump, its sequence numbers go on: under 200 ms, one second later."""

    async def attack(crime: Crime) -> None:
        await crime.talk(2.0)
        crime.alice.media._timestamp = (crime.alice.media._timestamp + 160 * frames) % (1 << 32)
        await asyncio.sleep(0.2)
        assert crime.legs[0].stats().playout_delay_ms < 200
        await asyncio.sleep(1.0)
        assert crime.legs[0].stats().playout_delay_ms < 200
        crime.check_unharmed()

    commit(attack)


@families
def test_timestamps_at_random_leave_no_delay_behind(ipv6: bool) -> None:
    rng = Random(11)

    async def attack(crime: Crime) -> None:
        await crime.talk()
        for _ in range(200):
            crime.alice.media._timestamp = rng.getrandbits(32)
            await asyncio.sleep(0.02)
            assert crime.legs[0].stats().playout_delay_ms < 200
        await asyncio.sleep(1.5)
        crime.check_unharmed()

    commit(attack, ipv6=ipv6)


def test_sequence_numbers_at_random_silence_the_sender_and_nobody_else() -> None:
    rng = Random(13)

    async def attack(crime: Crime) -> None:
        await crime.talk()
        for _ in range(200):
            crime.alice.media._sequence = rng.randrange(65536)
            await asyncio.sleep(0.02)
        assert crime.alice.hears(BOB) == {BOB}
        await asyncio.sleep(1.5)
        crime.check_unharmed()
        assert crime.legs[0].stats().playout_delay_ms < 200

    commit(attack)


@families
def test_datagrams_too_long_and_too_short_are_dropped_and_counted(ipv6: bool) -> None:
    """RTP and RTCP of every length from Alice's own address, cut anywhere or padded with lies."""
    rng = Random(17)

    async def attack(crime: Crime) -> None:
        await crime.talk()
        report = bye(crime.last.ssrc)
        before = crime.legs[0].stats().dropped
        sizes = [*range(48), 171, 173, 1472, 1535, 1536, 1537, 4000, 9000, 65507]
        source, target = crime.source, crime.target
        for size in sizes:
            packet = rtp(rng.randrange(65536), rng.getrandbits(32), bytes(max(0, size - 12)))
            lied = bytes([0xBF]) + packet[1:size]  # padding, extension and 15 CSRCs
            crime.net.transmit(lied, source, target)
            bad = report[:size] if size < 48 else report + bytes(size - len(report))
            crime.net.transmit(bad, (source[0], source[1] + 1), (target[0], target[1] + 1))
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        assert crime.legs[0].stats().dropped - before >= len(sizes)
        crime.check_unharmed()

    commit(attack, ipv6=ipv6)
