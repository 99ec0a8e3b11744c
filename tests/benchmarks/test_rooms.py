"""The load generator's judgement: it must see what is missing, or its figures say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import signals
from benchmarks.density import is_held
from benchmarks.rooms import Rooms
from benchmarks.uac import Caller, CallState
from rtpmix.testing import decode_g711, encode_g711

UP = np.ones(3, bool)
WINDOW = (0.0, 10.0)
GOOD = {
    "legs": 3,
    "legs_up": 3,
    "dropped_by_server": 0,
    "packets_missing_pct": 0.0,
    "audio_missing_pct": 0.0,
    "p99_ms": 30.0,
}


def mixed(*talkers: int, burst: bool = False) -> np.ndarray:
    """Return the RTP payload of a frame in which these talkers are heard."""
    total = sum(signals.MULAW[signals.tone_frame(k)] for k in talkers) + np.zeros(160)
    if burst:
        total = total + signals.MULAW[signals.burst_frame()]
    return np.frombuffer(encode_g711(np.clip(total, -32768, 32767).astype(np.int16)), np.uint8)


def packet(sequence: int, payload: np.ndarray) -> np.ndarray:
    return np.concatenate([[0x80, 0, sequence >> 8, sequence & 255], np.zeros(8), payload]).astype(
        np.uint8
    )


def hear(rooms: Rooms, leg: int, at: float, sequence: int, payload: np.ndarray) -> None:
    frames = packet(sequence, payload)[None]
    rooms.judge(np.array([leg]), frames, np.array([at]), UP, WINDOW)


def test_mulaw_of_the_generator_is_that_of_the_test_tools() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert signals.MULAW.tolist() == decode_g711(codes.tobytes()).astype(float).tolist()


def test_a_frame_without_a_talkers_tone_is_counted() -> None:
    rooms = Rooms(3)
    hear(rooms, 0, 1.0, 0, mixed(1, 2))
    assert (rooms.tones_checked, rooms.tones_missed) == (2, 0)
    hear(rooms, 0, 1.02, 1, mixed(1))
    hear(rooms, 0, 1.04, 2, mixed())
    assert (rooms.tones_checked, rooms.tones_missed) == (6, 3)


def test_three_tones_never_look_like_a_burst() -> None:
    frame = decode_g711(mixed(0, 1, 2).tobytes())
    assert np.abs(frame).max() < signals.BURST_SEEN
    assert np.abs(decode_g711(mixed(0, 1, 2, burst=True).tobytes())).max() > signals.BURST_SEEN


def test_latency_is_from_the_sending_to_the_first_loud_sample() -> None:
    rooms = Rooms(3)
    rooms.begin_burst(0, UP, timed=True)
    rooms.burst_sent(0, 1.0, UP)
    late = mixed(0, 2)
    late = np.concatenate([late[:80], mixed(0, 2, burst=True)[80:]])
    hear(rooms, 1, 1.015, 0, mixed(0, 2))
    hear(rooms, 1, 1.035, 1, late)
    assert np.concatenate(rooms.latencies).tolist() == [pytest.approx(0.035 + 0.010)]
    assert (rooms.markers_expected, rooms.markers_found) == (2, 1)
    assert rooms.tones_missed == 0  # a frame with a burst in it is not judged by its tones


def test_the_gaps_and_both_ends_of_the_window_are_missing_packets() -> None:
    rooms = Rooms(3)
    for n in range(500):
        if not 100 <= n < 110:  # 10 lost on the way to leg 0
            hear(rooms, 0, 0.02 * n, n, mixed(1, 2))
        if n < 450:  # leg 1 falls silent one second before the end
            hear(rooms, 1, 0.02 * n, n, mixed(0, 2))
    missing, expected = rooms.missing(WINDOW)  # leg 2 never hears anything
    assert expected == 1500
    assert missing == pytest.approx(10 + 50 + 500, abs=3)
    assert rooms.sequence_lost == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("legs_up", 2),
        ("dropped_by_server", 1),
        ("packets_missing_pct", 0.1),
        ("audio_missing_pct", 0.1),
        ("p99_ms", 40.0),
        ("p99_ms", math.inf),
    ],
)
def test_each_part_of_the_criterion_can_fail(name: str, value: float) -> None:
    assert is_held(GOOD)
    assert not is_held(GOOD | {name: value})


def test_the_caller_follows_a_call_from_invite_to_the_answer_of_its_bye() -> None:
    """RFC 3261 section 13.2: the ACK of a 2xx, and again for each copy of it."""
    caller = Caller(("127.0.0.1", 9))
    call = caller.add("conf-1", 4000)
    caller.invite(call)
    text = caller._invite_text(call)
    head = b"\r\n".join(
        line for line in text.split(b"\r\n") if line.startswith((b"Via", b"From", b"Call-ID"))
    )
    common = head + b"\r\nTo: <sip:conf-1@127.0.0.1>;tag=x\r\n"
    trying = b"SIP/2.0 100 Trying\r\n" + common + b"CSeq: 1 INVITE\r\n\r\n"
    answer = (
        b"SIP/2.0 200 OK\r\n"
        + common
        + b"CSeq: 1 INVITE\r\nContact: <sip:srv@127.0.0.1:9>\r\n\r\n"
        + b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 30000 RTP/AVP 0\r\n"
    )
    goodbye = b"SIP/2.0 200 OK\r\n" + common + b"CSeq: 2 BYE\r\n\r\n"
    assert caller._take(trying) is None
    change = caller._take(answer)
    assert change is not None
    assert (change.state, call.remote_rtp) == (CallState.UP, ("127.0.0.1", 30000))
    assert caller._take(answer) is None
    caller.bye(call)
    change = caller._take(goodbye)
    assert change is not None
    assert change.state is CallState.OVER
    assert caller._take(b"garbage") is None
    caller.close()


def test_a_supervised_room_knows_who_is_to_hear_whom() -> None:
    """The supervisor hears both and is heard by nobody, and only talkers who are heard burst."""
    rooms = Rooms(3, supervised=True)
    hear(rooms, 0, 1.0, 0, mixed(1))
    hear(rooms, 1, 1.0, 0, mixed(0))
    hear(rooms, 2, 1.0, 0, mixed(0, 1))
    assert (rooms.tones_checked, rooms.tones_missed) == (4, 0)
    hear(rooms, 2, 1.02, 1, mixed(0))
    assert rooms.tones_missed == 1
    for _ in range(4):
        rooms.begin_burst(0, UP, timed=True)
        assert rooms.source[0] in (0, 1)
    assert rooms.source[0] == 1  # the agent bursts: the customer and the supervisor listen
    rooms.burst_sent(1, 2.0, UP)
    assert rooms.markers_expected == 2
    hear(rooms, 0, 2.01, 2, mixed(1, burst=True))
    hear(rooms, 2, 2.03, 2, mixed(0, 1, burst=True))
    assert np.concatenate(rooms.latencies).round(3).tolist() == [0.01, 0.03]
    assert np.concatenate(rooms.listeners).tolist() == [0, 2]
