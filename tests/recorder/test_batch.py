"""Tests of `rtpmix.recorder.batch`; the oracle is `TrackWriter.audio`, one packet at a time."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rtpmix.recorder.batch import HEARD, SPOKEN, AudioBatch
from rtpmix.recorder.pcap import FILE_HEADER, pack_time, scan
from rtpmix.recorder.track import Kind, Moment, Track, TrackWriter
from rtpmix.rtp.srtp import MasterKey

CREATED_US = 1_700_000_000_123_456
KINDS = {SPOKEN: (Kind.SPOKEN, 96, 320), HEARD: (Kind.HEARD, 0, 160)}


def pairs(suite: str, count: int) -> list[tuple[TrackWriter, TrackWriter, int]]:
    """Return writers, twins of the same key, and where their payloads are."""
    made = []
    for number in range(count):
        source = number % 2
        track = Track(f"{number}", KINDS[source][0], 0xFFFFFF00 + number, 16384 + 2 * number)
        key = MasterKey.generate(suite)
        made.append((TrackWriter(track, key), TrackWriter(track, key), source))
    return made


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_a_batch_is_what_one_packet_after_the_other_is(suite: str) -> None:
    """Runs of every length, contributors that change, gaps within and before, 2**32 samples."""
    rng = random.Random(3)
    writers = pairs(suite, 9)
    ats = [2**32 - 160 * rng.randrange(2000) for _ in writers]
    checked = 0
    for _ in range(20):
        spoken = np.frombuffer(rng.randbytes(320 * 40), np.uint8).reshape(40, 320)
        heard = np.frombuffer(rng.randbytes(160 * 40), np.uint8).reshape(40, 160)
        batch, expected = AudioBatch(), dict[int, bytes]()
        for place, (writer, twin, source) in enumerate(writers):
            _, kind, _ = KINDS[source]
            for _ in range(rng.randrange(3)):
                csrcs = tuple(rng.randrange(2**32) for _ in range(rng.choice([0, 0, 2, 15, 17])))
                rows = [rng.randrange(40) for _ in range(rng.randrange(1, 14))]
                run = []
                for _ in rows:
                    ats[place] += rng.choice([160, 160, 160, 320, 40])
                    run.append(ats[place])
                numbers = batch.add(writer, kind, csrcs, source, rows, run, CREATED_US)
                for number, row, at in zip(numbers, rows, run, strict=True):
                    moment = Moment(at, pack_time(CREATED_US + 125 * at))
                    payload = (spoken, heard)[source][row].tobytes()
                    expected[number] = twin.audio(payload, moment, kind, 160, csrcs)
        batch.make(spoken, heard)
        assert {number: batch.record(number) for number in expected} == expected
        assert batch.frames == len(expected)
        assert batch.refused == 0
        assert len([*scan(FILE_HEADER + b"".join(expected.values()))]) == len(expected)
        checked += len(expected)
    assert checked > 500
    for writer, twin, _ in writers:
        assert (writer.packets, writer.octets) == (twin.packets, twin.octets)
        moment = Moment(0, pack_time(0))
        assert writer.report(moment, 1e9, bye=True) == twin.report(moment, 1e9, bye=True)


def test_a_packet_that_libsrtp_refuses_leaves_no_record_and_is_counted() -> None:
    """A sequence number used before; the other tracks lose nothing."""
    (one, _, _), (two, _, _) = pairs("AES_CM_128_HMAC_SHA1_80", 2)
    payload = np.zeros((1, 320), np.uint8), np.zeros((1, 160), np.uint8)
    one.audio(bytes(320), Moment(0, pack_time(0)), 96, 160)
    one.packets = 0
    batch = AudioBatch()
    batch.add(one, 96, (), SPOKEN, [0], [160], 0)
    batch.add(two, 0, (), HEARD, [0], [160], 0)
    batch.make(*payload)
    assert batch.record(0) == b""
    assert len(batch.record(1)) == 44 + 12 + 160 + 10
    assert batch.refused == 1
