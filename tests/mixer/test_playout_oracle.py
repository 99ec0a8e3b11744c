"""The mixer's playout against a reference model, frame by frame, over stories of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpmix.mixer import g711
from rtpmix.mixer.commands import Record
from rtpmix.rtp.packet import RtpPacket

from .conftest import Rig
from .oracle import BEATS, Oracle, Packet, arrivals

_ALL = np.arange(256, dtype=np.uint8)
_VALUES = g711.decode(_ALL, g711.PCMU).astype(int)
# Values that differ, and are quiet enough for a frame to be cut out whole.
CODES = [int(code) for code in _ALL if 0 < abs(_VALUES[code]) < 190][:32]
FRAME_OF = {_VALUES[code]: number for number, code in enumerate(CODES)}
assert len(FRAME_OF) == 32  # twice what the buffer holds


def datagram(packet: Packet) -> bytes:
    return RtpPacket(
        payload_type=0,
        sequence_number=packet.sequence,
        timestamp=packet.timestamp,
        ssrc=packet.ssrc,
        payload=bytes([CODES[packet.number % 32]]) * 160,
    ).to_bytes()


def compare(packets: list[Packet], beats: int, *, leg: int = 1) -> Oracle:
    """Let both have the same packets; what they play has to be the same at every tick."""
    rig = Rig()
    row = rig.open(leg)
    rig.engine.submit(Record(leg))
    oracle = Oracle(int(rig.engine.rows.phase[row]))
    waiting = packets[::-1]
    expected: list[str | int] = []
    for beat in range(beats):
        while waiting and waiting[-1].beat <= beat:
            packet = waiting.pop()
            oracle.receive(packet)
            rig.hand_in(leg, datagram(packet))
        heard = oracle.beat(beat)
        if heard is not None:
            expected.append(heard if heard == "~" else int(heard) % 32)
        rig.beat()
    played = [
        FRAME_OF[int(block.spoken[0, 120])] if block.present[0] else "~" for block in rig.blocks
    ]
    # The first difference only: a whole list compared takes difflib minutes to explain.
    pairs = enumerate(zip(played, expected, strict=False))
    wrong = next(
        (f"tick {at}: {one} for {other}" for at, (one, other) in pairs if one != other), ""
    )
    assert not wrong
    assert len(played) == len(expected)
    stats, sums = rig.engine.leg_stats(leg), rig.engine.snapshot()
    assert stats is not None
    found = {name: getattr(stats, name, sums.get(name)) for name in oracle.counts}
    assert found == oracle.counts
    return oracle


@pytest.mark.parametrize(
    ("story", "played", "stretched"),
    [
        ("....................", 20, 0),
        ("....L..D.R..........", 18, 0),  # overtaken by 20 ms: late
        ("....R.R.R.R.R.R.R...", 13, 1),  # again and again: worth a frame of delay, in a while
        ("..T.....T...........", 18, 0),
        ("....H...............", 17, 0),  # once is not worth delay
        ("....W...............", 20, 0),  # so long that it counts as another timeline
        ("......S.............", 19, 0),  # the first of another SSRC in mid-stream is doubted
        ("......Q.............", 19, 0),
        ("......J.............", 20, 0),
        (".....______.........", 14, 0),
        (".....P..............", 15, 0),  # five late in a row: the timeline has moved
    ],
)
def test_stories_end_as_they_should(story: str, played: int, stretched: int) -> None:
    oracle = compare(arrivals(story, [0] * len(story)), 40 + 4 * len(story) + 120)
    assert (oracle.counts["played"], oracle.counts["stretched"]) == (played, stretched)


LETTERS = st.sampled_from("................LLDRTHHWJSQP__")


def test_a_stream_in_doubt_has_to_show_itself_anew_after_a_packet_of_the_old_one() -> None:
    """RFC 3550 appendix A.1: two packets in sequence; found by the comparison below."""
    packets = arrivals("....S.", [3, 10, 13, 13, 2, 5])
    assert [packet.number for packet in packets] == [0, 1, 4, 2, 3, 5]
    compare(packets, 160)


@given(
    letters=st.lists(LETTERS, min_size=5, max_size=150),
    jitter=st.integers(0, 12),
    seed=st.integers(0, 1 << 16),
    leg=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_any_story_is_played_as_the_oracle_plays_it(
    letters: list[str], jitter: int, seed: int, leg: int
) -> None:
    dice = random.Random(seed)
    delays = [dice.randint(0, jitter) for _ in letters]
    packets = arrivals("".join(letters), delays, first=40 + seed % BEATS)
    compare(packets, 40 + 4 * len(letters) + 120, leg=leg)


@pytest.mark.parametrize("seed", range(3))
def test_a_minute_of_changing_network_is_played_as_the_oracle_plays_it(seed: int) -> None:
    """Long enough for what was seen to be forgotten, and for delay to come and go."""
    dice = random.Random(seed)
    letters, delays = [], []
    for _ in range(12):
        jitter, odds = (
            dice.choice((0, 1, 6, 16)),
            dice.choice(("." * 99 + "L", "." * 60 + "LLRTDHW")),
        )
        for _ in range(250):
            letters.append(dice.choice(odds))
            delays.append(dice.randint(0, jitter))
    oracle = compare(arrivals("".join(letters), delays), 40 + 4 * len(letters) + 120)
    assert oracle.counts["trimmed"] >= 2
    assert oracle.counts["stretched"] >= 2


@pytest.mark.parametrize("fault", ["late", "spare", "order"])
def test_a_fault_in_the_buffer_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, fault: str, make_rig: Callable[..., Rig]
) -> None:
    """The comparison is no formality: small changes to the engine make it fail."""
    from rtpmix.mixer import playout

    if fault == "late":
        monkeypatch.setattr(playout, "MAX_REGAIN", 2)
    elif fault == "spare":
        monkeypatch.setattr(playout, "MAX_DEPTH_MS", 40)
    else:
        monkeypatch.setattr(playout, "JUMP_SLOTS", 0)
    dice = random.Random(3)
    story = "".join(dice.choice("." * 20 + "LRTHHW") for _ in range(1500))
    delays = [dice.randint(0, 6) for _ in story]
    with pytest.raises(AssertionError):
        compare(arrivals(story, delays), 40 + 4 * len(story) + 120)
