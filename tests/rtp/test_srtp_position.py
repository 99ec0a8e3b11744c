"""Tests of `rtpmix.rtp.srtp_position`; libsrtp itself is the other side."""

from __future__ import annotations

import pytest

from rtpmix.errors import SrtpError
from rtpmix.rtp.srtp import SUITES, MasterKey, SrtpReplayError, SrtpSession, StreamKeys
from rtpmix.rtp.srtp_position import (
    StreamPosition,
    receiver_at,
    receiver_index,
    sender_at,
    sender_index,
)
from rtpmix.server.srtp_stream import SrtpStream

SSRC = 0xC0FFEE
# The first and the last index: none sent yet, within the first 65,536, and after several wraps.
SPANS = [(5, 4), (0, 0), (65_530, 65_530), (65_530, 65_535), (65_530, 65_536), (40_000, 300_001)]


def indices(first: int, last: int) -> list[int]:
    """Return the indices of what is sent: some of a long call, and the last."""
    return [*range(first, last, 997), last] if last >= first else []


def packet(index: int, text: bytes = b"speech") -> bytes:
    head = b"\x80\x00" + (index & 0xFFFF).to_bytes(2, "big") + (160 * index % 2**32).to_bytes(4)
    return head + SSRC.to_bytes(4, "big") + text


REPORT = b"\x80\xc9\x00\x01" + SSRC.to_bytes(4, "big")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("first", "last"), SPANS)
def test_a_sender_goes_on_where_another_stopped(suite: str, first: int, last: int) -> None:
    """The peer, who knows of nothing, hears every packet once."""
    key = MasterKey.generate(suite)
    sender, peer = SrtpSession.sender(key), SrtpSession.receiver(key)
    for index in indices(first, last):
        peer.unprotect(sender.protect(packet(index)))
    for _ in range(7):
        peer.unprotect_rtcp(sender.protect_rtcp(REPORT))
    found = sender_index(sender, key, SSRC, (last + 1) & 0xFFFF)
    assert found == last
    successor = sender_at(key, (SSRC, found), 7)
    for index in range(last + 1, last + 4):
        assert peer.unprotect(successor.protect(packet(index))) == packet(index)
    assert peer.unprotect_rtcp(successor.protect_rtcp(REPORT)) == REPORT


def test_no_index_is_used_twice() -> None:
    """RFC 3711 section 9.1: a key stream that encrypts two packets tells their difference."""
    key = MasterKey.generate()
    sender = SrtpSession.sender(key)
    said = {sender.protect(packet(index, bytes(160)))[12:172] for index in range(50)}
    for _ in range(3):
        said.add(sender.protect_rtcp(REPORT + bytes(160))[8:-14])
    successor = sender_at(key, (SSRC, sender_index(sender, key, SSRC, 50)), 3)
    for index in range(50, 100):
        said.add(successor.protect(packet(index, bytes(160)))[12:172])
    said.add(successor.protect_rtcp(REPORT + bytes(160))[8:-14])
    assert len(said) == 104


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("first", "last"), SPANS[1:])
def test_a_receiver_goes_on_where_another_stopped(suite: str, first: int, last: int) -> None:
    key = MasterKey.generate(suite)
    peer, receiver = SrtpSession.sender(key), SrtpSession.receiver(key)
    sent = []
    for index in indices(first, last):
        sent.append(peer.protect(packet(index)))
        receiver.unprotect(sent[-1])
    found = receiver_index(receiver, key, SSRC, last & 0xFFFF)
    assert found == last
    successor = receiver_at(key, (SSRC, found))
    for old in sent[-30:]:
        with pytest.raises(SrtpReplayError):
            successor.unprotect(old)
    for index in range(last + 1, last + 4):
        assert successor.unprotect(peer.protect(packet(index))) == packet(index)


def test_a_place_that_can_not_be_is_an_error() -> None:
    """A session of another key stands nowhere in this one's numbers."""
    key, other = MasterKey.generate(), MasterKey.generate()
    with pytest.raises(SrtpError, match="not to be found"):
        sender_index(SrtpSession.sender(other), key, SSRC, 7)


@pytest.mark.parametrize("suite", SUITES)
def test_a_stream_that_moved_takes_no_report_twice(suite: str) -> None:
    """RFC 3711 section 3.3.2: SRTCP has its own index, which a report carries."""
    keys = StreamKeys(MasterKey.generate(suite), MasterKey.generate(suite))
    peer = SrtpStream(StreamKeys(keys.theirs, keys.ours))
    stream = SrtpStream(keys)
    reports = [peer.protect(REPORT, rtcp=True) for _ in range(4)]
    for each in reports[:3]:
        assert stream.unprotect(each, rtcp=True) == REPORT
    heard = peer.protect(packet(9), rtcp=False)
    stream.unprotect(heard, rtcp=False)
    position = stream.position(SSRC, 1)
    assert (position.sent, position.heard) == ((SSRC, 0), (SSRC, 9))
    moved = SrtpStream(position)
    for each in reports[:3]:
        with pytest.raises(SrtpReplayError):
            moved.unprotect(each, rtcp=True)
    with pytest.raises(SrtpReplayError):
        moved.unprotect(heard, rtcp=False)
    assert moved.unprotect(reports[3], rtcp=True) == REPORT
    again = moved.position(SSRC, 1)
    assert again.report_heard == (SSRC, 4)
    assert again.heard == (SSRC, 9)


def test_a_new_key_begins_anew() -> None:
    """What the former key was used for says nothing of the new one."""
    keys = StreamKeys(MasterKey.generate(), MasterKey.generate())
    stream = SrtpStream(keys)
    stream.protect(packet(70), rtcp=False)
    stream.protect(REPORT, rtcp=True)
    new = StreamKeys(MasterKey.generate(), MasterKey.generate())
    stream.change(new)
    assert stream.position(SSRC, 71) == StreamPosition(new, (SSRC, 70), None)


def test_a_position_shows_no_key() -> None:
    keys = StreamKeys(MasterKey.generate(), MasterKey.generate())
    shown = repr(SrtpStream(keys).position(SSRC, 0))
    assert "sent=(12648430, -1)" in shown
    assert keys.ours.material.hex() not in shown
    assert repr(keys.ours.material) not in shown
