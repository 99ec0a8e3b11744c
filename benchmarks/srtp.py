"""Microseconds a leg and tick of SRTP: one packet protected, one unprotected, with all around them.

A `SecureIO` over a network that costs nothing, as the media thread calls it: for each leg and ptime
one packet comes in under the peer's key and one goes out under ours. The floor is pylibsrtp alone,
called for the same packets one by one in a bare loop; batches are done where they lie, below it.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter

import pylibsrtp

from benchmarks.result import Result
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.rtp.srtp import DEFAULT_SUITE, SUITES, MasterKey, SrtpSession, StreamKeys
from rtpmix.server.media_io import Address
from rtpmix.server.secure_io import SecureIO

PACKET = 172  # octets: PCMU, 20 ms


def rtp(leg: int, frame: int) -> bytes:
    """Return a leg's packet of a frame."""
    head = b"\x80\x00" + frame.to_bytes(2, "big") + (frame * 160).to_bytes(4, "big")
    return head + (leg + 1).to_bytes(4, "big") + bytes(range(160))


class Idle:
    """A `MediaIO` that has the next packets ready, and sends into nothing."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, bytes]] = []
        self.sent = 0

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind nothing."""
        return "127.0.0.1", 2 * leg + 2

    def attach(self, leg: int, row: int) -> None:
        """Know nothing."""

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Know nothing."""

    def release(self, leg: int) -> None:
        """Know nothing."""

    def expect_checks(self, leg: int, on: bool) -> None:
        """Know nothing."""

    def take_checks(self) -> list[tuple[int, bytes, Address]]:
        """Hear nothing."""
        return []

    def answer_check(self, leg: int, answer: bytes, to: Address) -> None:
        """Send nothing."""

    def take_strays(self) -> tuple[int, int]:
        """Hear nothing."""
        return 0, 0

    def receive(self, inbox: Inbox) -> int:
        """Hand over what waits."""
        for count, (row, packet) in enumerate(self.waiting):
            inbox.views[count][: len(packet)] = packet
            inbox.sizes[count], inbox.codes[count] = len(packet), 2 * row
        count, self.waiting = len(self.waiting), []
        return count

    def send(self, outbox: Outbox) -> list[int]:
        """Count what would go out."""
        self.sent += len(outbox.rows) + len(outbox.extra)
        return []


def one_run(suite: str, legs: int, frames: int) -> tuple[float, float, float]:
    """Return seconds to receive and to send all packets, and those of pylibsrtp alone."""
    network = Idle()
    io = SecureIO(network)
    senders = []
    for leg in range(legs):
        keys = StreamKeys(MasterKey.generate(suite), MasterKey.generate(suite))
        senders.append(SrtpSession.sender(keys.theirs))
        io.attach(leg, leg)
        io.secure(leg, keys)
    inbox = Inbox(legs)
    packets = [bytearray(PACKET) for _ in range(legs)]
    outbox = Outbox(rows=list(range(legs)), views=[memoryview(row) for row in packets])
    receiving = sending = 0.0
    for frame in range(frames):
        network.waiting = [(leg, senders[leg].protect(rtp(leg, frame))) for leg in range(legs)]
        for leg in range(legs):
            packets[leg][:] = rtp(leg, frame)
        began = perf_counter()
        received = io.receive(inbox)
        middle = perf_counter()
        io.send(outbox)
        sending += perf_counter() - middle
        receiving += middle - began
        assert received == legs
    assert network.sent == legs * frames
    assert io.counts.forged == io.counts.unsent == 0
    return receiving, sending, bare(suite, legs, frames)


def bare(suite: str, legs: int, frames: int) -> float:
    """Return the seconds of pylibsrtp for the same packets."""
    key, profile = MasterKey.generate(suite), SUITES[suite].profile
    policy = pylibsrtp.Policy
    there = pylibsrtp.Session(policy(key.material, policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    back = pylibsrtp.Session(policy(key.material, policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    seconds = 0.0
    for frame in range(frames):
        plain = [rtp(leg, frame) for leg in range(legs)]
        began = perf_counter()
        sealed = [there.protect(packet) for packet in plain]
        for packet in sealed:
            back.unprotect(packet)
        seconds += perf_counter() - began
    return seconds


def run(arguments: list[str]) -> Result:
    """Measure, with the median of the runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks srtp")
    parser.add_argument("--suite", choices=tuple(SUITES), default=DEFAULT_SUITE)
    parser.add_argument("--legs", type=int, default=300)
    parser.add_argument("--frames", type=int, default=50, help="ptimes in each run")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args(arguments)
    if options.legs < 1 or options.frames < 1 or options.runs < 1:
        parser.error("give at least one leg, one frame and one run")
    found = [one_run(options.suite, options.legs, options.frames) for _ in range(options.runs)]
    each = 1e6 / (options.legs * options.frames)
    return Result(
        benchmark="srtp",
        unit="us per leg and tick (20 ms), both ways",
        runs=tuple((receiving + sending) * each for receiving, sending, _ in found),
        floor=median(alone for _, _, alone in found) * each,
        details={
            "suite": options.suite,
            "legs": options.legs,
            "receive_us": round(median(one[0] for one in found) * each, 2),
            "send_us": round(median(one[1] for one in found) * each, 2),
        },
    )
