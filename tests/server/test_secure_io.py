"""Tests of `rtpmix.server.secure_io`, over a network that takes notes and over shared sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from benchmarks.soak import rss_kb
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.rtcp import ReceiverReport, build_compound
from rtpmix.rtp.srtp import DEFAULT_SUITE, MasterKey, SrtpSession, StreamKeys
from rtpmix.rtp.srtp_position import StreamPosition
from rtpmix.server.dtls import DtlsIdentity, DtlsTerms
from rtpmix.server.dtls_stream import DtlsPosition
from rtpmix.server.media_io import Address
from rtpmix.server.secure_io import Secret, SecureIO
from rtpmix.server.shared_io import media_io
from rtpmix.server.srtp_stream import MAX_SOURCES

PLAIN, SEALED, OTHER = 0, 1, 2


class Notes:
    """A `MediaIO` that keeps what it is told to send: row, packet."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.versions: list[int] = []

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        return "192.0.2.1", 2 * leg + 2

    def attach(self, leg: int, row: int) -> None:
        return

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        return

    def release(self, leg: int) -> None:
        return

    def receive(self, inbox: Inbox) -> int:
        return 0

    def send(self, outbox: Outbox) -> list[int]:
        self.versions.append(outbox.version)
        self.sent = [
            (row, bytes(view)) for row, view in zip(outbox.rows, outbox.views, strict=True)
        ]
        self.sent += [(row, packet) for row, packet, _ in outbox.extra]
        return []


class Mail(Notes):
    """A network that has datagrams waiting: code, packet."""

    waiting: tuple[tuple[int, bytes], ...] = ()

    def receive(self, inbox: Inbox) -> int:
        for place, (code, packet) in enumerate(self.waiting):
            inbox.views[place][: len(packet)] = packet
            inbox.sizes[place], inbox.codes[place] = len(packet), code
        count, self.waiting = len(self.waiting), ()
        return count


def rtp(row: int, sequence: int) -> bytes:
    head = b"\x80\x00" + sequence.to_bytes(2, "big") + (160 * sequence).to_bytes(4, "big")
    return head + (900 + row).to_bytes(4, "big") + bytes([row]) * 160


class Beats:
    """Three rows of one phase over a `SecureIO`; the row says what is in its packets."""

    def __init__(self) -> None:
        self.network = Notes()
        self.io = SecureIO(self.network)
        self.rows = [bytearray(172) for _ in range(3)]
        self.outbox = Outbox(rows=[0, 1, 2], views=[memoryview(row) for row in self.rows])
        for leg in range(3):
            self.io.attach(leg, leg)

    def secure(self, leg: int, suite: str = DEFAULT_SUITE) -> SrtpSession:
        """Give a leg keys; return what opens its packets."""
        keys = StreamKeys(MasterKey.generate(suite), MasterKey.generate(suite))
        self.io.secure(leg, keys)
        return SrtpSession.receiver(keys.ours)

    def beat(self, *sequences: int) -> dict[int, bytes]:
        for row, sequence in enumerate(sequences):
            self.rows[row][:] = rtp(row, sequence)
        self.failed = self.io.send(self.outbox)
        assert len({row for row, _ in self.network.sent}) == len(self.network.sent)
        return dict(self.network.sent)


def test_sealed_packets_go_out_among_the_others() -> None:
    beats = Beats()
    there = beats.secure(SEALED)
    for n in range(3):
        sent = beats.beat(n, n, n)
        assert sent[PLAIN] == rtp(PLAIN, n)
        assert sent[OTHER] == rtp(OTHER, n)
        assert len(sent[SEALED]) == 182
        assert there.unprotect(sent[SEALED]) == rtp(SEALED, n)
    assert len(set(beats.network.versions)) == 1  # what is below may keep its plan
    assert beats.io.counts.protected == 3


def test_a_packet_that_can_not_be_sealed_is_not_sent_and_neither_is_the_one_before() -> None:
    """libsrtp refuses a sequence number that it has protected already."""
    beats = Beats()
    there = {leg: beats.secure(leg) for leg in (SEALED, OTHER)}
    before = beats.beat(1, 1, 1)
    for spoilt in (SEALED, OTHER):
        again = [2 + spoilt] * 3
        again[spoilt] = 1
        sent = beats.beat(*again)
        assert beats.failed == [spoilt]
        assert set(sent) == {0, 1, 2} - {spoilt}
        assert before[spoilt] not in sent.values()
    sent = beats.beat(9, 9, 9)
    assert not beats.failed
    for leg in (SEALED, OTHER):
        assert there[leg].unprotect(sent[leg]) == rtp(leg, 9)
    assert beats.io.counts.unsent == 2
    assert len(set(beats.network.versions)) == 3  # each beat with one left out is its own


def test_new_keys_of_another_suite_change_the_size() -> None:
    beats = Beats()
    beats.secure(SEALED)
    assert len(beats.beat(1, 1, 1)[SEALED]) == 182
    there = beats.secure(SEALED, "AEAD_AES_256_GCM")
    sent = beats.beat(2, 2, 2)
    assert len(sent[SEALED]) == 188
    assert there.unprotect(sent[SEALED]) == rtp(SEALED, 2)


def test_a_leg_that_is_no_longer_secured_goes_in_the_clear() -> None:
    beats = Beats()
    beats.secure(SEALED)
    beats.beat(1, 1, 1)
    beats.io.secure(SEALED, None)
    assert beats.beat(2, 2, 2)[SEALED] == rtp(SEALED, 2)


def test_nothing_but_the_handshake_goes_out_before_the_handshake_is_done() -> None:
    beats = Beats()
    identity = DtlsIdentity.generate()
    beats.io.secure(SEALED, DtlsTerms(identity, (("sha-256", bytes(32)),), is_client=True))
    for n in range(20):
        sent = beats.beat(n, n, n)
        assert set(sent) >= {PLAIN, OTHER}
        assert sent.get(SEALED, b"\x16")[0] in range(20, 64)  # DTLS (RFC 7983 section 7)


def test_encrypted_legs_share_a_port() -> None:
    """Over real sockets: each peer's packets reach its row, and each gets its own."""
    io = SecureIO(media_io("127.0.0.1", range(13480, 13500), legs_per_port=10))
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    inbox = Inbox(16)
    try:
        ours: dict[int, SrtpSession] = {}
        theirs: dict[int, SrtpSession] = {}
        ports = set()
        for leg, peer in enumerate(peers):
            peer.bind(("127.0.0.1", 0))
            peer.settimeout(5)
            ports.add(io.reserve(leg, remote=peer.getsockname()))
            keys = StreamKeys(MasterKey.generate(), MasterKey.generate())
            ours[leg], theirs[leg] = (
                SrtpSession.receiver(keys.ours),
                SrtpSession.sender(keys.theirs),
            )
            io.attach(leg, leg)
            io.secure(leg, keys if leg != PLAIN else None)
            io.connect(leg, peer.getsockname(), None, False)
        assert len(ports) == 1
        for leg, peer in enumerate(peers):
            packet = rtp(leg, 1)
            peer.sendto(packet if leg == PLAIN else theirs[leg].protect(packet), *ports)
        found: dict[int, bytes] = {}
        while len(found) < 3:
            for i in range(io.receive(inbox)):
                found[inbox.codes[i] >> 1] = bytes(inbox.views[i][: inbox.sizes[i]])
        assert found == {leg: rtp(leg, 1) for leg in range(3)}
        views = [memoryview(bytearray(rtp(leg, 7))) for leg in range(3)]
        assert io.send(Outbox(rows=[0, 1, 2], views=views)) == []
        for leg, peer in enumerate(peers):
            packet = peer.recv(2000)
            assert (packet if leg == PLAIN else ours[leg].unprotect(packet)) == rtp(leg, 7)
    finally:
        for leg, peer in enumerate(peers):
            io.release(leg)
            peer.close()


@pytest.mark.parametrize("size", [0, 1, 11, 12, 50, 1499, 1500, 2112])
def test_a_datagram_of_any_size_that_is_no_srtp_is_counted_and_gone(size: int) -> None:
    io = SecureIO(media_io("127.0.0.1", range(13480, 13500), legs_per_port=10))
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inbox = Inbox(4)
    try:
        peer.bind(("127.0.0.1", 0))
        port = io.reserve(0, remote=peer.getsockname())
        io.attach(0, 0)
        io.secure(0, StreamKeys(MasterKey.generate(), MasterKey.generate()))
        io.connect(0, peer.getsockname(), None, False)
        peer.sendto(b"\x80" * size, port)
        while not io.counts.forged + io.counts.malformed:
            assert io.receive(inbox) == 0
    finally:
        io.release(0)
        peer.close()


class Peers:
    """Four legs, the first in the clear, over a network that has what they sent."""

    def __init__(self) -> None:
        self.mail = Mail()
        self.io = SecureIO(self.mail)
        self.inbox = Inbox(8)
        self.keys = {
            leg: StreamKeys(MasterKey.generate(), MasterKey.generate()) for leg in (1, 2, 3)
        }
        self.theirs = {leg: SrtpSession.sender(keys.theirs) for leg, keys in self.keys.items()}
        for leg in range(4):
            self.io.attach(leg, leg)
            self.io.secure(leg, self.keys.get(leg))

    def take(self, *mail: tuple[int, bytes]) -> dict[int, bytes]:
        """Let these come in; return what the engine gets of them, by code."""
        self.mail.waiting = mail
        count, inbox = self.io.receive(self.inbox), self.inbox
        return {inbox.codes[i]: bytes(inbox.views[i][: inbox.sizes[i]]) for i in range(count)}


REPORT = b"\x81\xc9\x00\x01" + (901).to_bytes(4, "big")


def test_a_batch_of_all_kinds_leaves_what_passes_and_counts_the_rest() -> None:
    peers = Peers()
    theirs = peers.theirs
    forged = SrtpSession.sender(MasterKey.generate())
    again = theirs[2].protect(rtp(2, 1))
    assert peers.take((4, again)) == {4: rtp(2, 1)}
    for n in range(3):
        found = peers.take(
            (2, forged.protect(rtp(1, n))),
            (0, rtp(0, n)),
            (4, again),
            (3, theirs[1].protect_rtcp(REPORT)),  # on a port of its own
            (5, b"\x80"),
            (6, theirs[3].protect(rtp(3, n))),
        )
        assert found == {0: rtp(0, n), 3: REPORT, 6: rtp(3, n)}
        found = peers.take(
            (2, theirs[1].protect(rtp(1, n))),
            (6, theirs[3].protect_rtcp(REPORT)),  # among the RTP
            (4, rtp(2, n + 2)),
        )
        assert found == {2: rtp(1, n), 6: REPORT}
    counts = peers.io.counts
    assert (counts.forged, counts.replayed, counts.malformed) == (6, 3, 3)
    assert counts.unprotected == 1 + 3 * 4


def test_of_a_batch_in_which_nothing_passes_nothing_is_left() -> None:
    peers = Peers()
    forged = SrtpSession.sender(MasterKey.generate())
    assert not peers.take(*((2 * leg, forged.protect(rtp(leg, 1))) for leg in (1, 2, 3)))
    assert peers.inbox.more  # something came: more may wait
    assert peers.io.counts.forged == 3


def test_a_new_key_is_heard_beside_the_old_one_until_its_first_packet() -> None:
    peers = Peers()
    old, new = peers.theirs[1], StreamKeys(peers.keys[1].ours, MasterKey.generate())
    assert peers.take((2, old.protect(rtp(1, 1))))
    peers.io.secure(1, new)
    fresh = SrtpSession.sender(new.theirs)
    for n in (2, 3):
        assert peers.take((2, old.protect(rtp(1, n)))) == {2: rtp(1, n)}
    for n in (4, 5):
        assert peers.take((2, fresh.protect(rtp(1, n)))) == {2: rtp(1, n)}
    assert not peers.take((2, old.protect(rtp(1, 6))))
    assert peers.io.counts.forged == 1


@pytest.mark.parametrize("key_changed", [False, True])
def test_how_far_a_leg_was_heard_in_batches_goes_with_it(*, key_changed: bool) -> None:
    """What has passed here does not pass again where the leg goes on."""
    peers = Peers()
    theirs, keys = peers.theirs[2], peers.keys[2]
    sent = [theirs.protect(rtp(2, 65534 + n & 0xFFFF)) for n in range(4)]
    for each in sent[:3]:
        assert peers.take((4, each))
    if key_changed:
        peers.io.secure(2, StreamKeys(MasterKey.generate(), keys.theirs))  # ours alone
    peers.io.attach(2, 7)  # to another row, whose packets are its
    peers.theirs[2] = theirs
    at = peers.io.position(2, 902, 1)
    assert at is not None
    assert at.heard == (902, 65536)
    moved = Peers()
    moved.io.secure(2, None)
    moved.io.secure(2, at)
    assert not moved.take((4, sent[2]))
    assert moved.take((4, sent[3])) == {4: rtp(2, 1)}
    assert moved.io.counts.replayed == 1


def test_a_row_that_is_given_again_is_not_opened_with_the_keys_of_who_had_it() -> None:
    peers = Peers()
    before = peers.theirs[1]
    assert peers.take((2, before.protect(rtp(1, 1))))
    peers.io.release(1)
    peers.io.attach(9, 1)
    late = before.protect(rtp(1, 2))
    assert peers.take((2, late)) == {2: late}  # a leg in the clear: the engine judges
    peers.io.secure(9, StreamKeys(MasterKey.generate(), MasterKey.generate()))
    assert not peers.take((2, before.protect(rtp(1, 3))))
    assert peers.io.counts.forged == 1


class Flooded:
    """A leg of a `SecureIO` whose peer draws another source for every packet."""

    def __init__(self, stream: Callable[[StreamKeys], Secret]) -> None:
        self.keys = StreamKeys(MasterKey.generate(), MasterKey.generate())
        self.network = Mail()
        self.io = SecureIO(self.network)
        self.inbox = Inbox(4)
        self.sender = SrtpSession.sender(self.keys.theirs)
        self.source = 0
        self.io.secure(0, stream(self.keys))
        self.io.attach(0, 0)

    def pass_on(self, sealed: bytes) -> int:
        self.network.waiting = ((0, sealed),)  # RTCP, too (RFC 5761)
        return self.io.receive(self.inbox)

    def flood(self, number: int, *, rtcp: bool = False) -> None:
        for source in range(self.source + 1, self.source + number + 1):
            self.source = source
            packet = (
                build_compound([ReceiverReport(ssrc=source)])
                if rtcp
                else RtpPacket(
                    payload_type=0, sequence_number=7, timestamp=0, ssrc=source, payload=bytes(20)
                ).to_bytes()
            )
            protect = self.sender.protect_rtcp if rtcp else self.sender.protect
            assert self.pass_on(protect(packet)) == 1
            if source % 500 == 0:
                self.sender = SrtpSession.sender(self.keys.theirs)  # the flood's own memory


def by_handshake(keys: StreamKeys) -> Secret:
    terms = DtlsTerms(DtlsIdentity.generate(), (("sha-256", bytes(32)),), is_client=True)
    return DtlsPosition(terms, StreamPosition(keys, None, None))


@pytest.mark.parametrize("rtcp", [False, True])
@pytest.mark.parametrize("stream", [lambda keys: keys, by_handshake], ids=["sdes", "dtls"])
def test_a_peer_that_draws_sources_fills_no_memory(
    stream: Callable[[StreamKeys], Secret], rtcp: bool
) -> None:
    """libsrtp has a context for each source, and forgets none: 4 MB after 20,000 packets."""
    victim = Flooded(stream)
    victim.flood(3000, rtcp=rtcp)
    before = rss_kb()
    victim.flood(15_000, rtcp=rtcp)
    assert rss_kb() - before < 1500
    # The last source goes on, and what it has said does not pass again.
    packet = rtp(99, 1)
    sealed = victim.sender.protect(packet)
    assert victim.pass_on(sealed) == 1
    assert victim.pass_on(sealed) == 0
    assert victim.io.counts.replayed == 1


def test_a_source_goes_on_where_others_are_forgotten() -> None:
    """Its sequence numbers have wrapped, and its packets do not pass a second time."""
    victim = Flooded(lambda keys: keys)
    wrapped = [(1 << 16) + 5, (1 << 16) + 6]
    for index in (0, 0x7000, 0xE000, *wrapped):
        sealed = victim.sender.protect(rtp(5, index & 0xFFFF))
        assert victim.pass_on(sealed) == 1
    for _ in range(MAX_SOURCES + 1):
        victim.io._note_source(victim.io._legs[0])
    assert victim.pass_on(sealed) == 0
    assert victim.pass_on(victim.sender.protect(rtp(5, 7))) == 1
    assert victim.io.counts.forged == 0
