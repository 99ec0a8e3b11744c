"""What arrives may be anything: the plain path, the careful path, and that they agree."""

import random

import numpy as np
import pytest

from rtpmix.mixer.commands import CloseLeg, MixerEvent
from rtpmix.rtp.packet import HeaderExtension, RtpPacket

COUNTERS = ("received", "late", "lost", "duplicate", "reordered", "dropped")


def rtp(kind: int, number: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    packet = RtpPacket(
        payload_type=kind,
        sequence_number=number,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
    )
    return packet.to_bytes()


def stats(rig, leg: int = 1) -> dict[str, int]:
    figures = rig.engine.leg_stats(leg)
    return {name: getattr(figures, name) for name in COUNTERS}


def test_header_extension_csrcs_and_padding_are_read_over(rig, speech) -> None:
    """RFC 3550 sections 5.1 and 5.3.1."""
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    fields = [
        {},
        {"csrc": (1, 2)},
        {"extension": HeaderExtension(0xBEDE, b"\x10\x00\x00\x00")},
        {"padding": 4},
        {"marker": True},
    ]
    for number, extra in enumerate(fields):
        rig.say(1, speech(number), **extra)
        rig.beat(4)
    rig.beat(4)
    heard = rig.heard(2)
    from_one = [heard.index(payload) for payload in map(speech, range(1, 4)) if payload in heard]
    assert stats(rig)["received"] == len(fields)
    assert stats(rig)["dropped"] == 0
    assert len(from_one) <= 3


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x80",
        b"\x80" * 11,
        bytes(12),  # version 0
        b"\x40" + bytes(171),
        b"\x8f\x00" + bytes(20),  # fifteen CSRCs that are not there
        b"\x90\x00" + bytes(10) + b"\xbe\xde\xff\xff",  # an extension that runs past the end
        b"\xa0\x00" + bytes(10) + b"\xff" * 160,  # more padding than payload
        b"\x80\x00" + bytes(10),  # no payload
        b"\x80\x05" + bytes(170),  # a payload type that nobody negotiated
        b"\x80\x00" + bytes(1500),  # longer than anything we negotiate
        b"\x80\xc8\xff\xff",  # RTCP on the RTP port, cut off
    ],
)
def test_bad_datagram_is_dropped_and_counted(rig, datagram: bytes) -> None:
    rig.open(1)
    rig.hand_in(1, datagram)
    assert stats(rig) == dict.fromkeys(COUNTERS, 0) | {"dropped": 1}


def test_plain_path_agrees_with_the_careful_one(make_rig, speech) -> None:
    """The same traffic, once plain and once with an empty padding that makes every packet odd."""
    results = []
    for odd in (False, True):
        rig = make_rig()
        rig.open(1)
        rig.open(2)
        rig.bridge(7, (1, 2))
        dice = random.Random(11)
        for number in range(300):
            choice = dice.random()
            if choice < 0.05:
                rig.lose(1)
            elif choice < 0.08:
                rig.pause(1, 2)
            else:
                late = choice > 0.95
                rig.beat(dice.choice((6, 18)) if late else 0)
                rig.say(1, speech(number), padding=4 if odd else 0)
                rig.beat(0 if late else 2)
            rig.beat(2)
        results.append((stats(rig), rig.heard(2)))
    assert results[0] == results[1]
    assert rig.engine.snapshot()["stretched"] > 0
    assert results[0][0]["late"] > 0
    assert results[0][0]["lost"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_no_datagram_raises_or_grows_anything(rig, speech, seed: int) -> None:
    """Random changes of good packets, from every leg, on both ports."""
    dice = random.Random(seed)
    for leg in (1, 2, 3):
        rig.open(leg, dtmf_payload_type=101)
    rig.bridge(7, (1, 2, 3), dtmf=((True,) * 3,) * 3)
    seeds = [
        rtp(0, 1, 160, 5, speech(1)),
        rtp(101, 2, 320, 5, b"\x05\x0a\x03\x20"),
        bytes.fromhex("80c9000100000005" + "81ca000200000005010161000000"),
        bytes.fromhex("80c8000600000005" + "00" * 20 + "81cb000100000005"),
    ]
    for _ in range(2500):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.2:
            del data[dice.randrange(len(data)) :]
        rig.hand_in(dice.choice((1, 2, 3)), bytes(data), rtcp=dice.random() < 0.2)
        if dice.random() < 0.5:
            rig.beat()
        rig.events.clear()
    for leg in (1, 2, 3):
        figures = rig.engine.leg_stats(leg)
        assert all(getattr(figures, name) >= 0 for name in COUNTERS)
        assert figures.concealed >= 0
    assert len(rig.engine.rows.of_seat) == 3


def test_jitter_of_an_even_stream_is_nothing_and_of_an_uneven_one_what_it_is(
    make_rig, speech
) -> None:
    """RFC 3550 section 6.4.1; the timestamp wraps on the way."""
    even, uneven = make_rig(), make_rig()
    for rig, wobble in ((even, 0), (uneven, 2)):
        rig.open(1)
        rig.place(1, 0, (1 << 32) - 1600)
        for number in range(200):
            late = wobble if number % 2 else 0
            rig.beat(late)
            rig.say(1, speech(number))
            rig.beat(4 - late)
    assert even.engine.leg_stats(1).jitter_ms == 0
    assert 8 < uneven.engine.leg_stats(1).jitter_ms < 11  # every step is 10 ms off


def test_datagram_for_a_closed_row_is_ignored(rig, speech) -> None:
    row = rig.open(1)
    rig.engine.inbox.put(row + 1, rtp(0, 1, 1, 1, speech(1)))
    rig.engine.receive(1)
    assert rig.engine.take_events() == list[MixerEvent]()


def test_the_next_packet_of_a_closed_leg_is_nobodys(rig, speech) -> None:
    """It fits the stream that was there to the last octet, and waited in the kernel meanwhile."""
    row = rig.open(1)
    for number in range(3):
        rig.say(1, speech(number))
        rig.beat(4)
    rows = rig.engine.rows
    sequence, timestamp = rig._next[1]
    rig.engine.submit(CloseLeg(1))
    rig.beat(8)
    rows.media_seen[row] = False
    rig.engine.take_events()
    before = rows.hot[row].copy()
    rig.engine.inbox.put(row, rtp(0, sequence, timestamp, 0x5001, speech(3)))
    rig.engine.receive(1)
    assert rig.engine.take_events() == list[MixerEvent]()
    assert np.array_equal(rows.hot[row], before)


def test_full_inbox_refuses_and_keeps_what_it_has() -> None:
    from rtpmix.mixer.boxes import Inbox

    inbox = Inbox(2)
    assert inbox.put(0, b"one")
    assert inbox.put(1, b"x" * 5000, rtcp=True)
    assert not inbox.put(2, b"three")
    assert inbox.codes == [0, 3]
    assert inbox.sizes == [3, 2112]
    assert np.array_equal(inbox.data[0, :3], np.frombuffer(b"one", np.uint8))
