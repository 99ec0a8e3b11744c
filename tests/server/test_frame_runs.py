"""Tests of `rtpmix.server.frame_runs`: runs of frames become the same files as single frames."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from rtpmix.mixer.tap import TapBlock, WideFrames
from rtpmix.recorder import (
    CapturePolicy,
    Recipients,
    Verdict,
    read_capture,
    read_facts,
    verify,
)
from rtpmix.server.recording_writer import RecordingWriter

KEYS = Recipients.of(bytes(range(32)), sign=False)


class Driven(RecordingWriter):
    """The writer without its thread."""

    def _begin(self) -> None:
        return

    def look(self) -> None:
        while self._drain():
            pass


RATES = {1: 16_000, 2: 48_000, 12: 48_000, 3: 16_000}  # of legs, where they are wide


def wide_frames(number: int, who: tuple[int, ...]) -> tuple[WideFrames, ...]:
    """Return the frames of those legs that have a higher rate."""
    made = []
    for rate_hz in (16_000, 48_000):
        legs = tuple(leg for leg in who if RATES.get(leg) == rate_hz)
        if legs:
            chance, shape = np.random.default_rng(number), (len(legs), rate_hz // 50)
            spoken, heard = (chance.integers(-9000, 9000, shape).astype(np.int16) for _ in range(2))
            made.append(WideFrames(rate_hz, legs, spoken, heard))
    return tuple(made)


def blocks(count: int, *, odd: bool, wide: bool = False) -> list[TapBlock]:
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
                    wide=wide_frames(number, who) if wide and number % 50 != 30 else (),
                )
            )
    return made


def record(
    path: Path,
    together: int,
    given: list[TapBlock],
    policy: CapturePolicy | None = None,
    *,
    wide: bool = False,
) -> Driven:
    """Record two calls, so many blocks at a time; keys are the same in every run."""
    writer = Driven(entropy=random.Random(4).randbytes, policy=policy)
    for call, legs in ((1, (1, 2, 3)), (2, (11, 12, 13, 3))):  # leg 3 is in both
        writer.start(
            call, path / str(call), conversation_id="c", keys=KEYS, metadata={},
            wall_clock=lambda: 1e9,
        )  # fmt: skip
        for leg in legs:
            rate_hz = RATES.get(leg, 8000) if wide else 8000
            writer.add_leg(call, leg, f"leg{leg}", "agent", "PCMU", 1000, rate_hz)
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


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("packets", [65_000, 40])
def test_runs_are_written_as_single_frames_are(
    tmp_path: Path, *, odd: bool, packets: int, wide: bool
) -> None:
    """The same records in the same order, byte for byte, up to the facts; the same facts."""
    given, policy = blocks(120, odd=odd, wide=wide), CapturePolicy(segment_packets=packets)
    record(tmp_path / "singly", 1, given, policy, wide=wide)
    record(tmp_path / "runs", 24, given, policy, wide=wide)
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


@pytest.mark.parametrize("together", [1, 24])
@pytest.mark.parametrize("packets", [65_000, 40])
def test_frames_of_higher_rates_are_in_tracks_of_their_own(
    tmp_path: Path, together: int, packets: int
) -> None:
    """L16 at the leg's rate, 48 kHz in packets of 10 ms; no track has more than a segment takes."""
    given = blocks(120, odd=False, wide=True)
    record(tmp_path, together, given, CapturePolicy(segment_packets=packets), wide=True)
    expected: dict[str, dict[int, bytes]] = {}
    for block in given:
        for frames in block.wide:
            pieces = 2 if frames.rate_hz == 48_000 else 1
            for row, leg in enumerate(frames.legs):
                for side, pcm in (("in", frames.spoken), ("heard", frames.heard)):
                    for piece, part in enumerate(np.split(pcm[row], pieces)):
                        at = block.sample - 1000 + 80 * piece
                        track = expected.setdefault(f"leg{leg}.{side}", {})
                        track[at] = part.astype(">i2").tobytes()
    for call, names in (("1", {"leg1", "leg2", "leg3"}), ("2", {"leg12"})):
        found: dict[str, dict[int, bytes]] = {}
        manifest, records = read_capture(tmp_path / call, KEYS)
        for record_ in records:
            if record_.packet is not None and record_.track is not None:
                track = found.setdefault(record_.track.name, {})
                track[record_.sample] = record_.packet.payload
                assert record_.packet.timestamp == record_.sample * record_.track.scale
        for name in names:
            for side in ("in", "heard"):
                shift = min(found[f"{name}.{side}"]) - min(expected[f"{name}.{side}"])
                assert found[f"{name}.{side}"] == {
                    at + shift: payload for at, payload in expected[f"{name}.{side}"].items()
                }
        most = [count for s in manifest.segments for count, _ in s.counts.values()]
        assert max(most) <= packets
        assert len(manifest.segments) == 1 if packets == 65_000 else len(manifest.segments) > 5


def test_frames_of_another_rate_than_their_tracks_are_left_out(tmp_path: Path) -> None:
    """The leg's rows of 8 kHz go on all the same."""
    given = blocks(24, odd=False, wide=True)
    writer = Driven(entropy=random.Random(4).randbytes)
    writer.start(
        1, tmp_path, conversation_id="c", keys=KEYS, metadata={}, wall_clock=lambda: 1e9
    )  # fmt: skip
    writer.add_leg(1, 1, "leg1", "agent", "PCMU", 1000, 48_000)
    for place, block in enumerate(given):
        writer.put_block(block)
        if place in (1, 47):  # frames one by one, then in runs
            writer.look()
    writer.stop(1)
    writer.look()
    counts = {found.track.name: found.packets for found in verify(tmp_path, KEYS).tracks}
    assert counts["leg1.in"] == counts["leg1.heard"] == 0
    assert counts["leg1.in.8k"] == counts["leg1.heard.8k"] == 24


@pytest.mark.parametrize("together", [1, 24])
def test_a_leg_whose_codec_has_another_rate_is_told_of_once(tmp_path: Path, together: int) -> None:
    given = [
        dataclasses.replace(block, resampled=(2,) if number >= 30 and 2 in block.legs else ())
        for number, block in enumerate(blocks(60, odd=False, wide=True))
    ]
    record(tmp_path, together, given, wide=True)
    (fact,) = [fact for fact in read_facts(tmp_path / "1", KEYS) if fact["event"] == "resampled"]
    assert fact == {"event": "resampled", "sample": 15 * 160, "leg": "leg2"}
    assert "resampled" not in [fact["event"] for fact in read_facts(tmp_path / "2", KEYS)]
