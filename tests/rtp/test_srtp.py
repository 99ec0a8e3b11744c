"""SRTP keys and sessions: RFC 3711, RFC 4568, RFC 7714."""

import random

import pytest

from rtpmix.errors import SrtpError, UsageError
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.rtcp import ReceiverReport, build_compound
from rtpmix.rtp.srtp import (
    MAX_PACKET,
    SUITES,
    MasterKey,
    SrtpAuthenticationError,
    SrtpReplayError,
    SrtpSession,
    find_suite,
)

RTP = RtpPacket(
    payload_type=0, sequence_number=1, timestamp=0, ssrc=5, payload=b"audio" * 32
).to_bytes()
RTCP = build_compound([ReceiverReport(ssrc=5)])


def key(suite: str = "AES_CM_128_HMAC_SHA1_80", seed: int = 1) -> MasterKey:
    return MasterKey.generate(suite, random_bytes=random.Random(seed).randbytes)


def test_key_streams_equal_the_test_vectors_of_the_rfc() -> None:
    """RFC 3711 appendix B.3: this master key and salt; the packet is libsrtp's own vector."""
    vector = MasterKey(
        SUITES["AES_CM_128_HMAC_SHA1_80"],
        bytes.fromhex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6"),
    )
    plain = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
    protected = bytes.fromhex(
        "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
    )
    assert SrtpSession.sender(vector).protect(plain) == protected
    assert SrtpSession.receiver(vector).unprotect(protected) == plain


@pytest.mark.parametrize("name", SUITES)
def test_what_is_protected_comes_back_and_is_longer_by_its_tag(name: str) -> None:
    """RFC 4568 section 6.2, RFC 7714 section 13: tag lengths."""
    master = key(name)
    sender, receiver = SrtpSession.sender(master, ssrc=5), SrtpSession.receiver(master, ssrc=5)
    protected = sender.protect(RTP)
    assert len(protected) == len(RTP) + master.suite.rtp_tag_length
    assert b"audio" not in protected
    assert receiver.unprotect(protected) == RTP
    protected = sender.protect_rtcp(RTCP)
    assert len(protected) == len(RTCP) + 4 + master.suite.rtcp_tag_length
    assert receiver.unprotect_rtcp(protected) == RTCP


def test_key_lengths_are_those_of_the_registries() -> None:
    """RFC 4568 section 6.2.1: 30 octets; RFC 7714 section 12: 16 or 32, and 12 of salt."""
    assert {name: suite.master_length for name, suite in SUITES.items()} == {
        "AES_CM_128_HMAC_SHA1_80": 30,
        "AES_CM_128_HMAC_SHA1_32": 30,
        "AEAD_AES_128_GCM": 28,
        "AEAD_AES_256_GCM": 44,
    }


def test_a_changed_packet_does_not_authenticate() -> None:
    """RFC 3711 section 3.3: every octet counts."""
    protected = SrtpSession.sender(key()).protect(RTP)
    for position in (0, 3, 20, len(protected) - 1):
        changed = bytearray(protected)
        changed[position] ^= 1
        with pytest.raises(SrtpError):
            SrtpSession.receiver(key()).unprotect(bytes(changed))
    with pytest.raises(SrtpAuthenticationError):
        SrtpSession.receiver(key(seed=2)).unprotect(protected)
    with pytest.raises(SrtpAuthenticationError):
        SrtpSession.receiver(key(seed=2)).unprotect_rtcp(
            SrtpSession.sender(key()).protect_rtcp(RTCP)
        )


def test_a_packet_is_taken_once() -> None:
    """RFC 3711 section 3.3.2: replay."""
    protected = SrtpSession.sender(key()).protect(RTP)
    receiver = SrtpSession.receiver(key())
    receiver.unprotect(protected)
    with pytest.raises(SrtpReplayError):
        receiver.unprotect(protected)


def test_no_bytes_from_the_network_raise_anything_but_an_srtp_error() -> None:
    """What a peer sends never breaks the receiver, seed 3."""
    rng = random.Random(3)
    receiver = SrtpSession.receiver(key())
    for length in [*range(60), 1500, 1501, 65000]:
        data = b"\x80\x00" + rng.randbytes(length)
        for take in (receiver.unprotect, receiver.unprotect_rtcp):
            with pytest.raises(SrtpError):
                take(data)


@pytest.mark.parametrize("length", [0, 7, MAX_PACKET + 1])
def test_a_packet_that_libsrtp_can_not_take_is_the_callers_error(length: int) -> None:
    for protect in (SrtpSession.sender(key()).protect, SrtpSession.sender(key()).protect_rtcp):
        with pytest.raises(UsageError):
            protect(bytes(length))


@pytest.mark.parametrize("name", SUITES)
def test_the_longest_packet_is_protected_with_any_suite(name: str) -> None:
    packet = RTP + bytes(MAX_PACKET - len(RTP))
    protected = SrtpSession.sender(key(name)).protect(packet)
    assert SrtpSession.receiver(key(name)).unprotect(protected) == packet
    protected = SrtpSession.sender(key(name)).protect_rtcp(packet)
    assert SrtpSession.receiver(key(name)).unprotect_rtcp(protected) == packet


def test_the_key_parameter_of_the_rfc_is_read() -> None:
    """RFC 4568 section 6.1, its example without the key identifier."""
    text = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20"
    master = MasterKey.parse_inline("AES_CM_128_HMAC_SHA1_80", text)
    assert master.material == b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#"
    assert master.inline() == text.split("|")[0]
    assert master.key + master.salt == master.material
    assert len(master.key) == 16


@pytest.mark.parametrize(
    ("suite", "text", "why"),
    [
        ("F8_128_HMAC_SHA1_80", "inline:AAAA", "unknown SRTP suite"),
        ("AES_CM_128_HMAC_SHA1_80", "uri:AAAA", "other than inline"),
        ("AES_CM_128_HMAC_SHA1_80", "inline:AAAA", "30 octets"),
        ("AES_CM_128_HMAC_SHA1_80", "inline:A!AA", "not base64"),
        ("AES_CM_128_HMAC_SHA1_80", "inline:" + "A" * 40 + "|2^20|1:4", "identifier"),
    ],
)
def test_a_bad_key_parameter_is_refused(suite: str, text: str, why: str) -> None:
    """RFC 4568 section 6.1: the crypto attribute is invalid."""
    with pytest.raises(SrtpError, match=why):
        MasterKey.parse_inline(suite, text)


def test_padding_of_the_base64_key_may_be_left_out() -> None:
    """RFC 4568 section 6.1: padding characters are discarded."""
    master = key("AEAD_AES_128_GCM")
    assert MasterKey.parse_inline("AEAD_AES_128_GCM", master.inline().rstrip("=")) == master


def test_a_key_shows_in_no_representation_and_no_error() -> None:
    """Keys never reach a log or a traceback."""
    master = key()
    assert master.material.hex() not in repr(master)
    assert repr(master.material) not in repr(master)
    secret = "inline:" + "SECRET!" * 6
    with pytest.raises(SrtpError) as caught:
        MasterKey.parse_inline("AES_CM_128_HMAC_SHA1_80", secret)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(UsageError, match="30 octets"):
        MasterKey(find_suite("AES_CM_128_HMAC_SHA1_80"), b"short")
