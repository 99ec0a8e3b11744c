"""A DTLS leg's cipher on its way to another process, beat by beat and without a network."""

from __future__ import annotations

from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.srtp import SrtpSession, StreamKeys
from rtpmix.rtp.stun import answer_check
from rtpmix.sdp.ice import IceCredentials
from rtpmix.server.dtls import DtlsIdentity, DtlsTerms, Handshake
from rtpmix.server.dtls_stream import ANEW, DtlsPosition, DtlsStream
from rtpmix.server.srtp_stream import SecureCounts
from tests.rtp.test_stun import check
from tests.server.test_dtls import named

OURS, PEERS = DtlsIdentity.generate(), DtlsIdentity.generate()
ICE = IceCredentials("ours", "p" * 22)
TERMS = DtlsTerms(OURS, named(PEERS), is_client=False, ice=ICE)


class Call:
    """A stream of ours and the peer at its other end."""

    def __init__(self) -> None:
        self.counts = SecureCounts()
        self.stream = DtlsStream(TERMS, self.counts)
        self.dial()

    def dial(self) -> None:
        self.peer = Handshake(DtlsTerms(PEERS, named(OURS), is_client=True))

    def beats(self, number: int, *, lost: bool = False) -> list[bytes]:
        """Carry datagrams both ways; return ours. `lost`: they don't get there."""
        said = []
        for _ in range(number):
            for datagram in self.peer.datagrams():
                self.stream.receive(datagram)
            ours = self.stream.beat()
            said += ours
            for datagram in [] if lost else ours:
                self.peer.receive(datagram)
        return said

    def move(self, following: int = 0) -> DtlsPosition:
        """Take the stream to another process."""
        position = self.stream.position(7, following)
        self.stream = DtlsStream(position, self.counts)
        return position

    def talk(self, keys: StreamKeys, number: int) -> None:
        """Have both say a packet, under the peer's keys at its end."""
        cipher = self.stream.cipher
        assert cipher is not None
        packet = rtp(number)
        sealed = SrtpSession.sender(keys.ours).protect(packet)
        assert cipher.unprotect(sealed, rtcp=False) == packet
        assert (
            SrtpSession.receiver(keys.theirs).unprotect(cipher.protect(packet, rtcp=False))
            == packet
        )


def rtp(number: int) -> bytes:
    return RtpPacket(
        payload_type=0, sequence_number=number, timestamp=0, ssrc=7, payload=bytes(160)
    ).to_bytes()


def test_a_stream_is_not_settled_while_its_handshake_is_under_way() -> None:
    call = Call()
    assert call.stream.settled  # nobody has begun: it may begin anywhere
    call.beats(1, lost=True)
    assert not call.stream.settled
    call.beats(10)  # the peer's clock has not asked again yet
    assert not call.stream.settled


def test_a_handshake_that_is_done_goes_along() -> None:
    call = Call()
    call.beats(10)
    assert call.stream.settled
    assert call.peer.keys is not None
    call.talk(call.peer.keys, 0)
    position = call.move(1)
    call.talk(call.peer.keys, 1)
    assert call.stream.settled
    call.move(2)
    call.talk(call.peer.keys, 2)
    assert call.counts.handshakes == 1
    shown = repr(position)
    assert position.srtp is not None
    assert position.srtp.keys.ours.material.hex() not in shown
    assert str(position.srtp.keys.ours.material) not in shown
    assert "farewell" not in shown


def test_one_that_nobody_has_begun_begins_where_the_leg_went() -> None:
    call = Call()
    assert call.move() == DtlsPosition(TERMS, None)
    call.beats(10)
    assert call.peer.keys is not None
    call.talk(call.peer.keys, 0)


def test_a_peer_that_did_not_get_our_last_flight_gets_it_from_where_the_leg_went() -> None:
    """RFC 6347 section 4.2.4: whoever sends the last flight sends it again when it is asked to."""
    call = Call()
    while call.stream.cipher is None:
        for datagram in call.peer.datagrams():
            call.stream.receive(datagram)
        if call.stream.cipher is None:
            for datagram in call.stream.beat():
                call.peer.receive(datagram)
    assert call.peer.keys is None
    last = call.stream.beat()  # lost
    assert last
    position = call.move()
    assert position.farewell == tuple(last)
    asked = bytes([22]) + bytes(30)
    call.stream.receive(asked)
    call.stream.receive(asked)  # a flood costs no more than one flight a beat
    assert call.stream.beat() == last
    assert call.stream.beat() == []
    for datagram in last:
        call.peer.receive(datagram)
    assert call.peer.keys is not None
    call.talk(call.peer.keys, 0)


def test_a_peer_may_begin_anew_where_the_leg_went_and_a_stranger_may_not() -> None:
    call = Call()
    call.beats(10)
    former = call.peer.keys
    assert former is not None
    call.move()
    call.beats(ANEW)
    stranger = DtlsIdentity.generate()
    call.peer = Handshake(DtlsTerms(stranger, named(OURS), is_client=True))
    call.beats(10)
    call.talk(former, 0)
    assert call.counts.handshakes_failed == 1
    call.beats(ANEW)
    call.dial()
    call.beats(10)
    assert call.peer.keys is not None
    call.talk(call.peer.keys, 0)
    assert call.counts.handshakes == 2


def test_checks_are_answered_where_the_leg_went() -> None:
    """RFC 7675: a browser that gets no answer for 30 s stops to send."""
    call = Call()
    call.beats(10)
    call.move()
    call.stream.path.signalled = ("192.0.2.7", 4000)
    asked = check()
    call.stream.check(asked)
    (answer,) = call.stream.beat()
    assert answer == answer_check(asked, ICE.ufrag, ICE.password, ("192.0.2.7", 4000))


def test_what_is_no_dtls_of_a_last_flight_is_not_answered() -> None:
    call = Call()
    call.beats(10)
    call.move()
    for datagram in (b"\x15" + bytes(20), b"\x17" + bytes(20), b"\x17"):
        call.stream.receive(datagram)
    assert call.stream.beat() == []
