"""Isolation, on bytes: the invariants of supervision, over random scripts through the real mixer.

Every script is played twice, with and without its supervisors, who send noise of full scale the
whole time; what the customer is sent must be equal with ``==``.  ``RTPMIX_SCRIPTS`` says how many
scripts (2,000 by default).
"""

from __future__ import annotations

import os
from collections import defaultdict

import numpy as np
import pytest

from rtpmix.supervision import Mode, fold

from .conversations import (
    CUSTOMER,
    FRAME,
    PRIVATE,
    SEATS,
    SILENCE,
    SUPERVISORS,
    Conversation,
    World,
)

SCRIPTS = int(os.environ.get("RTPMIX_SCRIPTS", "2000"))
PER_WORLD = 100
FRAMES = 50  # 1 s
EVERY_MODE = tuple(Mode)


def world(
    seeds: range,
    modes: tuple[Mode, ...],
    *,
    quiet: bool = False,
    phases: int = 1,
    frames: int = FRAMES,
) -> World:
    """Play the scripts of some seeds."""
    scripts = [
        Conversation(number, seed, modes, quiet=quiet) for number, seed in enumerate(seeds, 1)
    ]
    played = World(scripts, phases=phases).run(frames)
    assert not played.refused, played.refused[0]
    return played


def blocks_of(count: int) -> list[range]:
    return [range(start, min(start + PER_WORLD, count)) for start in range(0, count, PER_WORLD)]


@pytest.mark.parametrize("seeds", blocks_of(SCRIPTS), ids=lambda seeds: f"{seeds.start}")
def test_the_customers_packets_are_the_same_bytes_with_and_without_supervisors(
    seeds: range,
) -> None:
    """Invariants 1 and 2: header, payload and time of each packet, in monitor and whisper."""
    alone, supervised = world(seeds, ()), world(seeds, PRIVATE)
    whispered = packets = 0
    for number, script in alone.conversations.items():
        other = supervised.conversations[number]
        packets += len(script.sent[CUSTOMER])
        assert other.sent[CUSTOMER] == script.sent[CUSTOMER], f"seed {script.seed}"
        whispered += other.sent[2] != script.sent[2]
    assert packets > len(seeds) * FRAMES / 2, "little was sent: this would pass without looking"
    # The supervisors did speak: many agents heard them.
    assert whispered > len(seeds) / 10


@pytest.mark.parametrize("phases", [1, 4])
def test_a_monitor_changes_nothing_for_anybody(phases: int) -> None:
    """Invariant 2: agents too get the same bytes at the same times."""
    for seeds in (range(50), *([range(seed, seed + 1) for seed in range(50, 90)])):
        alone = world(seeds, (), phases=phases)
        supervised = world(seeds, (Mode.MONITOR,), phases=phases)
        for number, script in alone.conversations.items():
            other = supervised.conversations[number]
            for local, sent in script.sent.items():
                assert other.sent[local] == sent, f"seed {script.seed}, seat {local}"


@pytest.mark.parametrize("phases", [1, 4])
def test_rtcp_is_the_same_bytes_at_the_same_times_with_and_without_supervisors(phases: int) -> None:
    """Invariants 1 and 2, for reports: in monitor everybody's, in whisper the customer's."""
    seeds = range(10)
    alone = world(seeds, (), phases=phases, frames=600)
    monitored = world(seeds, (Mode.MONITOR,), phases=phases, frames=600)
    whispered = world(seeds, PRIVATE, phases=phases, frames=600)
    extra = 0
    for number, script in alone.conversations.items():
        assert len(script.reports[CUSTOMER]) >= 2, f"seed {script.seed}"
        other = monitored.conversations[number]
        extra += sum(len(other.reports[local]) for local in SUPERVISORS)
        for local, reports in script.reports.items():
            assert other.reports[local] == reports, f"seed {script.seed}, seat {local}"
        customers = whispered.conversations[number].reports[CUSTOMER]
        assert customers == script.reports[CUSTOMER], f"seed {script.seed}"
    assert extra > len(seeds), "the supervisors got hardly any reports: this proves little"


def test_nothing_of_a_supervisor_reaches_a_customer_outside_barge_and_takeover() -> None:
    """Invariants 1 and 3: only supervisors make a sound here, and change modes at random."""
    silent = audible = 0
    for seeds in blocks_of(max(200, SCRIPTS // 5)):
        for script in world(seeds, EVERY_MODE, quiet=True).conversations.values():
            entries = script.log.entries
            customer = script.seat(CUSTOMER)
            supervisors = {script.seat(local) for local in SUPERVISORS}
            for sent in script.sent[CUSTOMER]:
                # The routing before the frame, and the one that a commit on it brought: a ramp
                # of 10 ms ends within it.
                around = {fold(entries, sent.sample - 1), fold(entries, sent.sample)}
                gains = [
                    dict(zip(seats, rows[seats.index(customer)], strict=True))
                    for seats, rows in around
                    if customer in seats
                ]
                if any(row.get(seat) for row in gains for seat in supervisors):
                    audible += sent.payload != SILENCE
                else:
                    silent += 1
                    assert sent.payload == SILENCE, f"seed {script.seed}, sample {sent.sample}"
    assert silent > 1000
    assert audible > 1000, "hardly any supervisor was ever heard: this proves little"


def test_a_leg_is_silent_until_it_is_attached() -> None:
    """Invariant 4: a leg that is up hears nothing, and is heard by nobody, before its commit."""
    checked = 0
    for seeds in blocks_of(200):
        for script in world(seeds, EVERY_MODE).conversations.values():
            for local in SUPERVISORS:
                silence = {"PCMU": SILENCE, "PCMA": b"\xd5" * FRAME}
                attached = script.silent_until.get(local, FRAMES * FRAME)
                for sent in script.sent[local]:
                    if sent.sample < attached:
                        assert sent.payload in silence.values(), f"seed {script.seed}"
                        checked += 1
    assert checked > 100


def test_the_customers_stream_goes_on_through_every_mode() -> None:
    """Invariant 5: one SSRC, sequence +1, timestamp on the clock; no CSRC tells who is there."""
    for seeds in blocks_of(200):
        for script in world(seeds, EVERY_MODE).conversations.values():
            packets = script.sent[CUSTOMER]  # none, if it was on hold from the first frame
            for count, sent in enumerate(packets):
                first = np.frombuffer(packets[0].packet[:12], ">u4")
                header = np.frombuffer(sent.packet[:12], ">u4")
                assert sent.packet[0] == 0x80
                assert header[2] == first[2]
                assert (int(header[0]) & 0xFFFF) == (int(first[0]) + count) & 0xFFFF
                passed = sent.sample - packets[0].sample
                assert int(header[1]) == (int(first[1]) + passed) & 0xFFFFFFFF


def test_the_routing_log_folds_to_what_the_mixer_mixed() -> None:
    """Invariant 6: at every frame, who contributed to what the customer heard."""
    for seeds in blocks_of(200):
        played = world(seeds, EVERY_MODE)
        frames: dict[int, int] = defaultdict(int)
        for block in played.blocks:
            for leg, contributors in zip(block.legs, block.contributors, strict=True):
                script = played.conversations[leg // SEATS]
                expected: set[int] = set()
                for sample in (block.sample - 1, block.sample):
                    seats, gains = fold(script.log.entries, sample)
                    if leg in seats:
                        row = gains[seats.index(leg)]
                        expected |= {s for s, gain in zip(seats, row, strict=True) if gain}
                assert set(contributors) == expected, f"seed {script.seed}, {block.sample}"
                frames[leg] += 1
        assert len(frames) == len(seeds)
        assert min(frames.values()) >= FRAMES - 2
