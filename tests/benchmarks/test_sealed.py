"""The load generator's SRTP: any phone's to the server; what comes back is checked by sample."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rooms import Rooms
from benchmarks.sealed import PACKET, SealedLegs
from rtpmix.rtp.srtp import SUITES, MasterKey, SrtpSession

LEGS = 3


def legs(suite: str, every: int = 4) -> tuple[SealedLegs, list[MasterKey], Rooms]:
    rooms = Rooms(LEGS)
    keys = [MasterKey.generate(suite) for _ in range(LEGS)]
    return SealedLegs(keys, rooms.packets, 50, every), keys, rooms


@pytest.mark.parametrize("suite", SUITES)
def test_tone_and_bursts_are_one_stream_to_who_receives_it(suite: str) -> None:
    sealed, keys, rooms = legs(suite)
    receiver = SrtpSession.receiver(keys[1])
    who = np.array([1])
    for number in range(60):  # the last ten were not made in advance
        burst = number in (0, 1, 30, 31)
        rooms.packets[1, 12:] = rooms.burst if burst else rooms.tones[1]
        rooms.write_headers(who)
        packet = sealed.packet(1, number, rooms.packets[1], burst=burst)
        assert receiver.unprotect(bytes(packet)) == rooms.packets[1].tobytes()
    assert sealed.sealed_late == 10


def test_of_what_comes_a_sample_is_opened_and_a_forgery_in_it_is_counted() -> None:
    sealed, _, rooms = legs("AES_CM_128_HMAC_SHA1_80")
    theirs = [MasterKey.generate() for _ in range(LEGS)]
    senders = [SrtpSession.sender(key) for key in theirs]
    for leg, key in enumerate(theirs):
        sealed.answered(leg, key)
    box = np.zeros((8, 2048), np.uint8)
    who = np.arange(LEGS)
    opened = np.zeros(LEGS, np.int64)
    for number in range(100):
        for leg, sender in enumerate(senders):
            plain = bytes([0x80, 0, 0, number]) + rooms.packets[leg, 4:].tobytes()
            packet = sender.protect(plain)
            box[leg, : len(packet)] = np.frombuffer(packet, np.uint8)
        if number == 80:
            box[:LEGS, 100] ^= 1
        awaited = np.array([number == 50, False, False])
        found = sealed.open(who, box, awaited)
        for leg in np.flatnonzero(found):
            assert (box[leg, 12:PACKET] == rooms.packets[leg, 12:]).all()
        opened += found
    # Every fourth, the first of each leg, and what was awaited; but not the forgery.
    assert opened.tolist() == [25 + 1 - 1, 25 + 1, 25 + 1]
    assert sealed.forged == 1
    assert (sealed.seen, sealed.opened) == (300, opened.sum() + 1)


def test_the_number_of_a_packet_that_stays_closed_is_counted_and_its_payload_is_not_judged() -> (
    None
):
    rooms = Rooms(LEGS)
    up, window = np.ones(LEGS, bool), (0.0, 10.0)
    frames = np.zeros((1, PACKET), np.uint8)
    frames[:, 12:] = 0xFF  # silence: no tone
    for number, is_open in ((1, True), (2, False), (4, False)):
        frames[0, 3] = number
        rooms.judge(np.array([0]), frames, np.array([number / 50]), up, window, np.array([is_open]))
    assert rooms.sequence_lost == 1
    assert rooms.count[0] == 3
    assert (rooms.tones_checked, rooms.tones_missed) == (2, 2)
