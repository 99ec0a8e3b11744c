"""RFC 3261 table 4: what every timer does, to the millisecond, over UDP and TCP."""

from __future__ import annotations

import pytest

from rtpmix.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction
from rtpmix.sip.flow import Flow
from rtpmix.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from rtpmix.sip.transaction import Input, State
from tests.sip.machines import TCP, UDP, Bench

BOTH = pytest.mark.parametrize("flow", [UDP, TCP], ids=["UDP", "TCP"])


def ended_at(bench: Bench, until: float = 100.0) -> int:
    """Run to the end and return when it came, in milliseconds."""
    while bench.transaction.state is not State.TERMINATED:
        at = bench.timers.next()
        assert at is not None, "nothing would ever end this transaction"
        assert at <= until
        bench.run(at)
    return round(bench.now * 1000)


# ------------------------------------------------------------------------- INVITE client


def test_timer_a_doubles_without_bound_until_timer_b_ends_it_over_udp() -> None:
    """Section 17.1.1.2: T1, 2*T1, 4*T1 ... and seven requests in all."""
    bench = Bench(InviteClientTransaction)
    assert ended_at(bench) == 32_000
    assert bench.times() == [0, 500, 1500, 3500, 7500, 15500, 31500]
    assert bench.user.told == ["timeout", "ended"]


def test_timer_a_is_not_used_over_tcp_but_timer_b_is() -> None:
    bench = Bench(InviteClientTransaction, TCP)
    assert ended_at(bench) == 32_000
    assert bench.times() == [0]


@BOTH
def test_a_provisional_response_stops_timers_a_and_b(flow: Flow) -> None:
    """Section 17.1.1.2: in Proceeding an INVITE may ring for as long as it likes."""
    bench = Bench(InviteClientTransaction, flow)
    bench.feed(Input.RECEIVED_1XX, at=0.4)
    bench.run(600.0)
    assert bench.times() == [0]
    assert bench.transaction.state is State.PROCEEDING


@pytest.mark.parametrize(("flow", "wait"), [(UDP, 32_000), (TCP, 0)], ids=["UDP", "TCP"])
def test_timer_d_keeps_the_ack_for_32_seconds_over_udp_and_not_at_all_over_tcp(
    flow: Flow, wait: int
) -> None:
    bench = Bench(InviteClientTransaction, flow)
    bench.feed(Input.RECEIVED_300_699, at=0.1)
    assert bench.times(b"ACK") == [100]
    assert ended_at(bench) == 100 + wait


def test_every_copy_of_a_failure_is_acknowledged_and_told_once() -> None:
    """Section 17.1.1.2: a copy MUST cause the ACK to be passed to the transport again."""
    bench = Bench(InviteClientTransaction)
    for at in (0.1, 0.6, 1.6, 32.0):
        bench.feed(Input.RECEIVED_300_699, at=at)
    assert bench.times(b"ACK") == [100, 600, 1600, 32000]
    assert [word for word in bench.user.told if word.startswith("response")] == [
        "response b'300-699'"
    ]
    assert ended_at(bench) == 32_100


# --------------------------------------------------------------------- non-INVITE client


def test_timer_e_doubles_up_to_t2_and_timer_f_ends_it_over_udp() -> None:
    """Section 17.1.2.2: 500 ms, 1 s, 2 s, 4 s, 4 s ... and eleven requests in all."""
    bench = Bench(NonInviteClientTransaction)
    assert ended_at(bench) == 32_000
    assert bench.times() == [
        *(0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500),
    ]
    assert bench.user.told == ["timeout", "ended"]


def test_timer_e_is_not_used_over_tcp_but_timer_f_is() -> None:
    bench = Bench(NonInviteClientTransaction, TCP)
    assert ended_at(bench) == 32_000
    assert bench.times() == [0]


def test_after_a_provisional_response_timer_e_goes_on_at_t2() -> None:
    """Section 17.1.2.2: the timer that runs is not reset; the one after it is T2."""
    bench = Bench(NonInviteClientTransaction)
    bench.feed(Input.RECEIVED_1XX, at=0.7)
    assert ended_at(bench) == 32_000
    assert bench.times() == [0, 500, 1500, 5500, 9500, 13500, 17500, 21500, 25500, 29500]


@pytest.mark.parametrize(("flow", "wait"), [(UDP, 5_000), (TCP, 0)], ids=["UDP", "TCP"])
@pytest.mark.parametrize("final", [Input.RECEIVED_2XX, Input.RECEIVED_300_699])
def test_timer_k_waits_t4_for_copies_over_udp_and_not_at_all_over_tcp(
    flow: Flow, wait: int, final: Input
) -> None:
    bench = Bench(NonInviteClientTransaction, flow)
    bench.feed(final, at=0.2)
    bench.feed(final)
    assert ended_at(bench) == 200 + wait
    assert len(bench.user.told) == 2  # one response, one end
    assert bench.times() == [0]


# ------------------------------------------------------------------------- INVITE server


def test_timer_g_doubles_up_to_t2_and_timer_h_gives_up_over_udp() -> None:
    """Section 17.2.1: MIN(2*T1, T2), MIN(4*T1, T2) ..., counted from the first response."""
    bench = Bench(InviteServerTransaction)
    bench.feed(Input.TU_300_699, at=1.0)
    assert ended_at(bench) == 33_000
    assert bench.times() == [
        *(1000, 1500, 2500, 4500, 8500, 12500, 16500, 20500, 24500, 28500, 32500),
    ]
    assert bench.user.told == ["timeout", "ended"]


def test_timer_g_is_not_used_over_tcp_but_timer_h_is() -> None:
    bench = Bench(InviteServerTransaction, TCP)
    bench.feed(Input.TU_300_699)
    assert ended_at(bench) == 32_000
    assert bench.times() == [0]


@pytest.mark.parametrize(("flow", "wait"), [(UDP, 5_000), (TCP, 0)], ids=["UDP", "TCP"])
def test_timer_i_absorbs_acks_for_t4_over_udp_and_not_at_all_over_tcp(
    flow: Flow, wait: int
) -> None:
    bench = Bench(InviteServerTransaction, flow)
    bench.feed(Input.TU_300_699)
    bench.feed(Input.ACK, at=0.3)
    sent = list(bench.sent)
    bench.feed(Input.ACK)
    assert ended_at(bench) == 300 + wait
    assert bench.sent == sent


def test_a_repeated_invite_gets_the_last_provisional_response_again() -> None:
    """Section 17.2.1; before the first response there is nothing to send."""
    bench = Bench(InviteServerTransaction)
    bench.feed(Input.REQUEST)
    assert bench.sent == []
    bench.feed(Input.TU_1XX, message=b"100")
    bench.feed(Input.TU_1XX, message=b"180")
    bench.feed(Input.REQUEST)
    assert [data for _, data in bench.sent] == [b"100", b"180", b"180"]


# --------------------------------------------------------------------- non-INVITE server


@pytest.mark.parametrize(("flow", "wait"), [(UDP, 32_000), (TCP, 0)], ids=["UDP", "TCP"])
@pytest.mark.parametrize("final", [Input.TU_2XX, Input.TU_300_699])
def test_timer_j_repeats_the_answer_for_64_t1_over_udp_and_not_at_all_over_tcp(
    flow: Flow, wait: int, final: Input
) -> None:
    bench = Bench(NonInviteServerTransaction, flow)
    bench.feed(Input.REQUEST)
    assert bench.sent == []  # section 17.2.2: discarded in Trying
    bench.feed(final, at=0.25, message=b"final")
    bench.feed(Input.REQUEST)
    bench.feed(Input.TU_300_699, message=b"another")  # any other final response is discarded
    assert [data for _, data in bench.sent] == [b"final", b"final"]
    assert ended_at(bench) == 250 + wait
