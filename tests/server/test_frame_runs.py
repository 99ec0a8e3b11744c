"""Tests of `rtpmix.server.frame_runs`: runs of frames become the same files as single frames."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from rtpmix.mixer.tap import TapBlock
from rtpmix.recorder import CapturePolicy, Recipients, Verdict, read_facts, verify
from rtpmix.server.recording_writer import RecordingWriter

KEYS = Recipients.of(bytes(range(32)), sign=False)


class Driven(RecordingWriter):
    """The writer without its thread."""

    def _begin(self) -> None:
        return

    def look(self) -> None:
        while self._drain():
            pass


def blocks(count: int, *, odd: bool) -> list[TapBlock]:
    """Frames of two calls of three legs in two phases; `odd`: with all that may happen to them."""
    rng, made = np.random.default_rng(5), []
    fate = random.Random(9)
    legs = ((1, 2, 3), (11, 12, 13))
    for number in range(count):
        for phase, who in enumerate(legs):

            def chance(p: float) -> list[bool]:
                return [odd and fate.random() < p for _ in range(3)]

            if odd and fate.random() < 0.02:
                continue  # a beat that was left out
            spoken = rng.integers(-9000, 9000, (3, 160)).astype(np.int16)
            others = {leg: tuple(x for x in who if x != leg) for leg in who}
            made.append(
                TapBlock(
                    sample=1000 + 160 * number + 40 * phase,
                    legs=who,
                    spoken=spoken,
                    heard=rng.integers(0, 256, (3, 160)).astype(np.uint8),
                    laws=tuple("PCMA" if x else "PCMU" for x in chance(0.05)),
                    sent=~np.array(chance(0.1)),
                    present=~np.array(chance(0.1)),
                    contributors=tuple(
                        (*others[leg], 77) if x else others[leg]
                        for leg, x in zip(who, chance(0.05), strict=True)
                    ),
                    heard_mixed=spoken + 1,
                )
            )
    return made


def record(
    path: Path, together: int, given: list[TapBlock], policy: CapturePolicy | None = None
) -> Driven:
    """Record two calls, so many blocks at a time; keys are the same in every run."""
    writer = Driven(entropy=random.Random(4).randbytes, policy=policy)
    for call, legs in ((1, (1, 2, 3)), (2, (11, 12, 13, 3))):  # leg 3 is in both
        writer.start(
            call, path / str(call), conversation_id="c", keys=KEYS, metadata={},
            wall_clock=lambda: 1e9,
        )  # fmt: skip
        for leg in legs:
            writer.add_leg(call, leg, f"leg{leg}", "agent", "PCMU", 1000)
    for place, block in enumerate(given):
        writer.put_block(block)
        if place % together == together - 1:
            writer.look()
        if place == 150:
            writer.event(1, block.sample, {"event": "note", "text": "between two frames"})
            writer.remove_leg(2, 3, block.sample)
    for call in (1, 2):
        writer.stop(call)
    writer.look()
    return writer


def facts(path: Path) -> list[str]:
    """Return all facts in an order of their own, without CSRCs, which are drawn as they come."""
    drawn = {"csrc", "csrcs"}
    found = [
        {name: value for name, value in fact.items() if name not in drawn}
        for fact in read_facts(path, KEYS)
    ]
    return sorted(str(sorted(fact.items())) for fact in found)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("packets", [65_000, 40])
def test_runs_are_written_as_single_frames_are(tmp_path: Path, *, odd: bool, packets: int) -> None:
    """The same records in the same order, byte for byte, up to the facts; the same facts."""
    given, policy = blocks(120, odd=odd), CapturePolicy(segment_packets=packets)
    record(tmp_path / "singly", 1, given, policy)
    record(tmp_path / "runs", 24, given, policy)
    for call in ("1", "2"):
        singly, runs = tmp_path / "singly" / call, tmp_path / "runs" / call
        files = sorted(path.name for path in singly.glob("*.pcap"))
        assert files == sorted(path.name for path in runs.glob("*.pcap"))
        assert len(files) == 1 if packets == 65_000 else len(files) >= 3
        for path in (singly, runs):
            report = verify(path, KEYS)
            assert report.verdict is Verdict.UNSEALED  # nobody signs here
            assert report.with_keys
        assert facts(singly) == facts(runs)
        audio = (singly / files[0]).stat().st_size
        assert audio > 40_000
        one, other = ((path / files[0]).read_bytes() for path in (singly, runs))
        if packets == 65_000 and not odd:
            # Facts that came out in another order make their packets different: the tail.
            same = next(
                (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), audio
            )
            assert same > 0.9 * audio


def test_a_run_longer_than_a_segment_has_room_is_split(tmp_path: Path) -> None:
    """No track has more packets than the policy says."""
    record(tmp_path, 24, blocks(120, odd=False), CapturePolicy(segment_packets=40))
    report = verify(tmp_path / "1", KEYS)
    spoken = [found for found in report.tracks if found.track.name == "leg1.in"]
    assert [found.packets for found in spoken] == [120]
    assert report.with_keys
