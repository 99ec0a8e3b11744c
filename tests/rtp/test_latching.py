"""Where RTP may come from: the table, and what it makes of packets."""

from __future__ import annotations

from random import Random

import pytest

from rtpmix.rtp.latching import (
    LATCHING,
    RUN,
    STRANGE,
    TRIALS,
    WINDOW_S,
    Input,
    Latch,
    State,
    Step,
    Terms,
    is_behind_nat,
)
from rtpmix.rtp.packet import RtpPacket

SIGNALLED = ("10.0.0.7", 4000)
NAT = ("203.0.113.9", 61000)
THIEF = ("203.0.113.9", 6666)
STRANGER = ("198.51.100.66", 4000)
OURS = 77
TERMS = Terms(
    hosts=frozenset({"10.0.0.7", "203.0.113.9"}), payload_types=frozenset({0, 101}), own_ssrc=OURS
)
CLOSED = Terms(hosts=TERMS.hosts, payload_types=TERMS.payload_types, own_ssrc=OURS, opens=False)


def rtp(number: int, *, ssrc: int = 5, payload_type: int = 0, payload: bytes = b"\xff") -> bytes:
    packet = RtpPacket(
        payload_type=payload_type,
        sequence_number=number % 65536,
        timestamp=160 * number % (1 << 32),
        ssrc=ssrc,
        payload=payload,
    )
    return packet.to_bytes()


def play(latch: Latch, source: tuple[str, int], numbers: range, since: float) -> list[bool]:
    """One packet in 20 ms; return which are heard."""
    first = numbers[0]
    return [latch.receive(rtp(n), source, since + 0.02 * (n - first)) for n in numbers]


def learning() -> Latch:
    latch = Latch()
    latch.signalled(SIGNALLED, TERMS, 0.0)
    return latch


def latched() -> Latch:
    latch = learning()
    play(latch, NAT, range(RUN), 0.1)
    assert latch.state is State.LATCHED
    return latch


def relearning() -> Latch:
    latch = latched()
    latch.signalled(SIGNALLED, TERMS, 1.0)
    return latch


def signalled() -> Latch:
    latch = Latch()
    latch.signalled(SIGNALLED, None, 0.0)
    return latch


MADE = {
    State.SILENT: Latch,
    State.SIGNALLED: signalled,
    State.LEARNING: learning,
    State.LATCHED: latched,
    State.RELEARNING: relearning,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Input)
def test_every_state_takes_every_input_as_the_table_says(state: State, what: Input) -> None:
    """What is not listed changes nothing and hears nothing."""
    latch = MADE[state]()
    assert latch.state is state
    before = latch.remote
    actions = latch._step(what, 2.0, THIEF)
    step = LATCHING.get((state, what), Step(state))
    assert (latch.state, actions) == (step.state, step.actions)
    if "latch" in actions:
        assert latch.remote == THIEF
    elif "forget" not in actions:
        assert latch.remote == before
    window = latch.state in (State.LEARNING, State.RELEARNING)
    assert (latch.closes_at is not None) is window


def test_only_two_states_learn_and_each_way_out_of_them_closes_the_window() -> None:
    open_states = (State.LEARNING, State.RELEARNING)
    for (state, what), step in LATCHING.items():
        if what in (Input.PASSED, Input.TRIED):
            assert state in open_states
        if state in open_states and step.state not in open_states:
            assert "close" in step.actions
        if what is Input.TRIED:
            assert "hear" not in step.actions


def test_a_run_of_packets_latches_and_only_its_last_is_heard() -> None:
    latch = learning()
    heard = play(latch, NAT, range(2 * RUN), 0.1)
    assert heard == [False] * (RUN - 1) + [True] * (RUN + 1)
    assert (latch.remote, latch.ssrc, latch.learned) == (NAT, 5, True)


def test_the_sequence_number_may_begin_anew_at_its_end() -> None:
    latch = learning()
    play(latch, NAT, range(65534, 65534 + RUN), 0.1)
    assert latch.remote == NAT


def test_a_burst_is_no_run() -> None:
    """Four packets take a stream 60 ms. Who sends faster waits as long."""
    latch = learning()
    heard = [latch.receive(rtp(number), NAT, 0.1 + 0.001 * number) for number in range(60)]
    assert heard.index(True) == 50


def test_while_the_source_in_force_goes_on_no_other_passes() -> None:
    """However fast, and however well it fits."""
    latch = relearning()
    latch._strange = -1000  # or it would be a flood: see the test below
    for number in range(0, 2 * RUN, 2):  # every other packet is lost: it confirms nothing
        assert latch.receive(rtp(100 + number), NAT, 1.0 + 0.02 * number)
        burst = [
            latch.receive(rtp(40 * number + n, ssrc=9), THIEF, 1.0 + 0.02 * number + 0.001 * n)
            for n in range(40)
        ]
        assert not any(burst)
    assert (latch.state, latch.remote) == (State.RELEARNING, NAT)


@pytest.mark.parametrize(
    "packets",
    [
        [rtp(0, ssrc=number) for number in range(50)],
        [rtp(2 * number) for number in range(50)],
        [rtp(7)] * 50,
        [rtp(-number) for number in range(50)],
        [rtp(number, payload_type=8) for number in range(50)],
        [rtp(number, ssrc=OURS) for number in range(50)],
        [rtp(number, payload=b"") for number in range(50)],
        [rtp(number)[:8] for number in range(50)],
        [b"\x00" + rtp(number)[1:] for number in range(50)],
        [b""] * 50,
    ],
    ids=["ssrc", "gaps", "same", "back", "type", "ours", "empty", "cut", "version", "nothing"],
)
def test_what_is_no_run_of_one_stream_never_latches(packets: list[bytes]) -> None:
    latch = learning()
    assert not any(latch.receive(packet, NAT, 0.1) for packet in packets)
    assert latch.remote == SIGNALLED


def test_a_foreign_host_is_not_even_tried() -> None:
    """RFC 7362 section 5, restricted latching."""
    latch = learning()
    assert not any(latch.receive(rtp(number), STRANGER, 0.1) for number in range(50))
    assert (latch.remote, latch.tried) == (SIGNALLED, 0)


def test_the_signalled_address_is_heard_at_once_and_ends_the_window_when_it_goes_on() -> None:
    latch = learning()
    assert all(play(latch, SIGNALLED, range(RUN), 0.1))
    assert (latch.state, latch.closes_at) == (State.SIGNALLED, None)
    assert not any(latch.receive(rtp(number), NAT, 0.2) for number in range(50))


def test_a_latched_leg_is_never_latched_again_by_packets() -> None:
    """Whatever comes: consistent, with the stream's own SSRC and next numbers, for an hour."""
    latch = latched()
    for number in range(RUN, 5000):
        assert not latch.receive(rtp(number), THIEF, number * 0.7)
    assert latch.remote == NAT
    assert latch.tried == 0


def test_a_window_ends_and_nothing_is_learned_after_it() -> None:
    latch = learning()
    assert not latch.expire(WINDOW_S - 0.001)
    assert latch.expire(WINDOW_S)
    assert not any(latch.receive(rtp(number), NAT, WINDOW_S) for number in range(50))
    assert latch.state is State.SIGNALLED


def test_another_session_description_opens_one_more_window() -> None:
    """A NAT that has begun anew: the old source is heard until another one passes."""
    latch = relearning()
    moved = (NAT[0], 61007)
    assert latch.receive(rtp(9), NAT, 1.0)
    play(latch, moved, range(10, 10 + RUN), 1.1)
    assert (latch.state, latch.remote) == (State.LATCHED, moved)


def test_a_flood_ends_a_later_window() -> None:
    """It could crowd the source in force out of the socket's buffer, and then pass for it."""
    latch = relearning()
    assert not any(latch.receive(rtp(number), THIEF, 1.0) for number in range(STRANGE + 1))
    assert (latch.state, latch.remote) == (State.LATCHED, NAT)


def test_while_the_learned_source_goes_on_it_is_confirmed() -> None:
    latch = relearning()
    assert all(play(latch, NAT, range(RUN), 1.0))
    assert (latch.state, latch.remote) == (State.LATCHED, NAT)


def test_a_peer_that_may_not_send_opens_no_window_and_keeps_its_source() -> None:
    latch = latched()
    latch.signalled(SIGNALLED, CLOSED, 1.0)
    assert (latch.state, latch.remote, latch.closes_at) == (State.LATCHED, NAT, None)
    fresh = Latch()
    fresh.signalled(SIGNALLED, CLOSED, 0.0)
    assert (fresh.state, fresh.closes_at) == (State.SIGNALLED, None)


def test_a_new_address_forgets_what_was_learned() -> None:
    latch = latched()
    latch.signalled(("10.0.0.7", 5000), TERMS, 1.0)
    assert (latch.state, latch.remote, latch.ssrc) == (State.LEARNING, ("10.0.0.7", 5000), None)


def test_no_address_hears_and_sends_nothing() -> None:
    latch = latched()
    latch.signalled(None, None, 1.0)
    assert latch.remote is None
    assert not any(latch.receive(rtp(number), NAT, 1.0) for number in range(50))


def test_a_flood_of_sources_is_bounded_and_does_not_push_out_the_one_that_goes_on() -> None:
    latch = learning()
    rng = Random(1)
    for number in range(RUN - 1):
        for _ in range(500):
            source = (NAT[0], rng.randrange(1024, 60000))
            latch.receive(rtp(rng.randrange(65536), ssrc=rng.getrandbits(32)), source, 0.1)
            assert latch.tried <= TRIALS
        latch.receive(rtp(number), NAT, 0.1)
        if number == 0:  # the first packet is like any other's: give it a second
            latch.receive(rtp(1), NAT, 0.1)
    play(latch, NAT, range(2, 2 + RUN), 0.2)
    assert latch.remote == NAT


def test_reports_count_from_the_latched_host_with_the_latched_ssrc() -> None:
    latch = latched()
    report = bytes([0x80, 201, 0, 1]) + (5).to_bytes(4, "big")
    other = bytes([0x80, 201, 0, 1]) + (6).to_bytes(4, "big")
    assert latch.is_peers_report(report, (NAT[0], 61001))
    assert not latch.is_peers_report(other, (NAT[0], 61001))
    assert not latch.is_peers_report(report, STRANGER)
    assert not latch.is_peers_report(report[:7], NAT)
    assert not signalled().is_peers_report(report, SIGNALLED)


@pytest.mark.parametrize(
    ("media", "signalling", "behind"),
    [
        ("10.0.0.7", "203.0.113.9", True),
        ("192.168.1.5", "203.0.113.9", True),
        ("172.31.0.1", "203.0.113.9", True),
        ("172.32.0.1", "203.0.113.9", False),
        ("100.64.3.4", "203.0.113.9", True),
        ("fd00::7", "2001:db8::9", True),
        ("10.0.0.7", "10.0.0.7", False),
        ("10.0.0.7", "10.0.0.2", True),  # through a proxy: the signalled address will be right
        ("198.51.100.4", "203.0.113.9", False),  # media apart from signalling, as of a gateway
        ("203.0.113.9", "203.0.113.9", False),
        ("phone.example", "203.0.113.9", False),
    ],
)
def test_what_counts_as_behind_nat(media: str, signalling: str, behind: bool) -> None:
    assert is_behind_nat(media, signalling) is behind
