"""Tests of `rtpmix.recorder.capture`."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder import (
    Capture,
    CapturePolicy,
    Recipients,
    Verdict,
    read_capture,
    read_facts,
    verify,
)
from rtpmix.recorder.manifest import load_manifest

START = 123_456_789


def payloads_of(path: Path, keys: Recipients) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    _, records = read_capture(path, keys)
    for record in records:
        if record.packet is not None and record.track is not None:
            found.setdefault(record.track.name, []).append(record.packet.payload)
    found.pop("events")
    return found


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_what_was_consumed_and_sent_comes_back_bit_for_bit(begin: Any, suite: str) -> None:
    """And the summary counts it."""
    made = begin(policy=CapturePolicy(suite=suite))
    made.speak(60)
    summary = made.close()
    assert payloads_of(made.path, made.keys) == made.payloads
    assert summary.sealed
    assert summary.problem is None
    assert summary.duration_s == pytest.approx(1.2)
    assert summary.gaps == summary.lost_frames == 0
    events = sum(1 for record in read_capture(made.path, made.keys)[1]
                 if record.packet and record.track and record.track.name == "events")  # fmt: skip
    assert summary.packets == 60 * 6 + events


def test_all_tracks_have_the_same_origin(begin: Any) -> None:
    """Timestamp is sample of the media clock since the recording began: alignment is arithmetic."""
    made = begin()
    made.speak(5)
    made.capture.add_leg(9, "late", "agent", "PCMA", START + 1000)
    made.capture.frame(
        9, START + 1040, spoken=bytes(320), present=False, heard=b"\xd5" * 160, law="PCMA",
        mixed=bytes(320), contributors=(),
    )  # fmt: skip
    made.close()
    manifest, records = read_capture(made.path, made.keys)
    first: dict[str, int] = {}
    for record in records:
        if record.packet and record.track and record.track.name != "events":
            first.setdefault(record.track.name, record.packet.timestamp)
            if record.track.name == "late.heard":
                assert record.packet.payload_type == 8
    assert manifest.origin == START
    assert first == {
        "customer.in": 0, "customer.heard": 0, "agent.in": 0, "agent.heard": 0,
        "coach.in": 0, "coach.heard": 0, "late.in": 1040, "late.heard": 1040,
    }  # fmt: skip


def test_the_customer_never_heard_the_coach_and_no_key_is_needed_to_see_it(sealed: Any) -> None:
    """CSRC lists are in clear (RFC 3711 section 3.1)."""
    from rtpmix.recorder.pcap import scan
    from rtpmix.rtp.packet import RtpPacket

    manifest, _ = load_manifest(sealed.path)
    by_name = {track.name: track for track in manifest.tracks}
    coach = by_name["coach.in"].ssrc
    heard: dict[str, int] = {"customer.heard": 0, "agent.heard": 0}
    packets = 0
    for datagram in scan((sealed.path / "0001.srtp.pcap").read_bytes()):
        for name in heard:
            if datagram.port == by_name[name].port:
                packets += 1
                heard[name] += coach in RtpPacket.parse(datagram.payload).csrc
    assert packets == 200
    assert heard == {"customer.heard": 0, "agent.heard": 100}


def test_keys_then_manifest_then_segment_are_on_disk_before_the_first_packet(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet whose key is not on disk would be lost with the process."""
    steps: list[str] = []
    real_write, real_fsync, real_replace = os.write, os.fsync, os.replace

    def name_of(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def write(descriptor: int, data: Any) -> int:
        steps.append(f"write {name_of(descriptor)} {len(data)}")
        return real_write(descriptor, data)

    def fsync(descriptor: int) -> None:
        kind = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("fsync directory" if kind else f"fsync {name_of(descriptor)}")
        real_fsync(descriptor)

    def replace(source: Any, target: Any) -> None:
        steps.append(f"rename {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    made = begin(policy=CapturePolicy(segment_packets=10, flush_s=0.01))
    made.speak(12)
    for number in (1, 2):
        segment = f"{number:04d}.srtp.pcap"
        begins = steps.index(f"write {segment} 24")
        audio = next(n for n, s in enumerate(steps) if s.startswith(f"write {segment}")
                     and not s.endswith(" 24"))  # fmt: skip
        keys = max(n for n, s in enumerate(steps[:audio]) if s == "rename keys.jwe")
        manifest = max(n for n, s in enumerate(steps[:audio]) if s == "rename manifest.json")
        assert steps[keys - 1] == "fsync .keys.jwe.new"
        assert steps[keys + 1] == "fsync directory"
        assert keys < manifest < audio
        assert begins < audio
        assert steps[begins + 1] == "fsync directory"
    assert steps.index("rename keys.jwe") < steps.index("write 0001.srtp.pcap 24")


def test_legs_that_join_together_wait_for_the_disk_once(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync takes milliseconds, and many calls may begin at once."""
    renamed: list[str] = []
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        renamed.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    made = begin()
    made.speak(2)
    assert renamed == ["keys.jwe", "manifest.json"] * 2  # the events track, then all legs


def test_segments_rotate_with_new_keys_and_lose_nothing(begin: Any) -> None:
    """A new segment before the sequence number wraps: its roll-over counter is 0 throughout."""
    made = begin(policy=CapturePolicy(segment_packets=40))
    made.speak(150)
    made.close()
    assert sorted(path.name for path in made.path.glob("*.pcap")) == [
        f"{number:04d}.srtp.pcap" for number in (1, 2, 3, 4)
    ]
    assert payloads_of(made.path, made.keys) == made.payloads
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert {found.byes for found in report.tracks} == {4}
    assert {found.gaps for found in report.tracks} == {0}
    assert {found.packets for found in report.tracks if found.track.name != "events"} == {150}


def test_a_call_of_30_minutes_rotates_by_itself(tmp_path: Path, keys: Recipients) -> None:
    """90,000 packets a track do not fit a 16-bit sequence number."""
    capture = Capture(
        tmp_path / "long", conversation_id="long", recipients=keys, metadata={},
        wall_clock=lambda: 0.0,
    )  # fmt: skip
    capture.add_leg(1, "a", "customer", "PCMU", 0)
    silence, quiet = bytes(320), b"\xff" * 160
    for number in range(90_000):
        capture.frame(
            1, 160 * number, spoken=silence, present=True, heard=quiet, law="PCMU",
            mixed=silence, contributors=(),
        )  # fmt: skip
        if number % 50 == 0:
            capture.tick(number * 0.02)
    summary = capture.close()
    assert summary.sealed
    assert summary.duration_s == 1800
    manifest, _ = load_manifest(tmp_path / "long")
    counts = [entry.counts["a.in"][0] for entry in manifest.segments]
    assert counts == [65_000, 25_000]


def test_a_sender_report_every_ten_seconds_and_a_bye_at_the_end(begin: Any) -> None:
    """RFC 3550 section 6.4.1; the counts are authenticated."""
    made = begin()
    made.speak(1100)  # 22 s
    made.close()
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED
    assert {found.reports for found in report.tracks} == {1 + 2 + 1}
    assert {found.byes for found in report.tracks} == {1}


class FullDisk:
    """Refuses bytes for segment files from now on, until it is emptied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.part = 0
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if self.full:
                if self.part:
                    taken, self.part = self.part, 0
                    return real(descriptor, bytes(data[:taken]))
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", write)


def test_a_full_disk_is_a_counted_gap_and_the_rest_is_whole(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marker, fact, callback and manifest all tell it; the capture still seals."""
    disk = FullDisk(monkeypatch)
    made = begin(policy=CapturePolicy(pending_limit=20_000, flush_s=0.1))
    made.speak(50)
    disk.full, disk.part = True, 1234  # and it tears a record while it fills up
    made.speak(100)
    assert [fact["event"] for fact in made.told] == ["gap_began"]
    disk.full = False
    made.speak(50)
    summary = made.close()
    lost = summary.lost_frames
    assert 0 < lost < 300
    assert (summary.gaps, summary.sealed) == (1, True)
    gap = made.told[-1]
    assert (gap["event"], gap["why"], gap["frames"]) == ("gap", "disk", lost)
    facts = [fact for fact in read_facts(made.path, made.keys) if fact["event"] == "gap"]
    assert facts == [gap]
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.gaps == [gap]
    assert {found.gaps for found in report.tracks if found.track.name != "events"} == {1}
    kept = sum(found.packets for found in report.tracks if found.track.name.endswith(".in"))
    assert kept + lost == 3 * 200


def test_a_disk_that_stays_full_gives_an_unsealed_capture_and_says_why(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`close` never raises for the disk."""
    disk = FullDisk(monkeypatch)
    made = begin(policy=CapturePolicy(pending_limit=20_000))
    made.speak(50)
    disk.full = True
    made.speak(50)
    summary = made.close()
    assert not summary.sealed
    assert summary.problem == "No space left on device"
    assert summary.lost_frames > 0
    monkeypatch.undo()
    assert verify(made.path, made.keys).verdict is Verdict.UNSEALED


def test_a_leg_that_joins_a_full_disk_is_a_gap_until_its_keys_are_on_disk(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No packet without a durable key, and no frame lost without a count."""
    disk = FullDisk(monkeypatch)
    made = begin(policy=CapturePolicy(flush_s=0.1))
    made.speak(10)
    disk.full = True
    made.capture.add_leg(9, "late", "agent", "PCMU", START + 1600)

    def speak_late(number: int) -> None:
        made.capture.frame(
            9, START + 1600 + 160 * number, spoken=bytes(320), present=True, heard=None,
            law="PCMU", mixed=bytes(320), contributors=(),
        )  # fmt: skip
        made.capture.tick(1.0 + number * 0.02)

    for number in range(20):
        speak_late(number)
    assert made.capture.gaps.lost_frames == 20
    disk.full = False
    for number in range(20, 40):
        speak_late(number)
    summary = made.close()
    assert summary.sealed
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    late = next(found for found in report.tracks if found.track.name == "late.in")
    assert late.packets + summary.lost_frames == 40


def test_a_rotation_on_a_full_disk_goes_on_when_there_is_room(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment ends where it ended; the gap lies between the two."""
    disk = FullDisk(monkeypatch)
    made = begin(policy=CapturePolicy(segment_packets=30, flush_s=0.1))
    made.speak(20)
    disk.full = True
    made.speak(20)
    disk.full = False
    made.speak(20)
    summary = made.close()
    assert summary.sealed
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert summary.gaps == 1
    assert len(list(made.path.glob("*.pcap"))) == 2


def test_a_frame_that_was_not_sent_is_no_packet_and_the_next_has_the_marker(begin: Any) -> None:
    """Hold: nothing goes to the leg, but what it says is still recorded."""
    made = begin()
    for number in range(6):
        made.capture.frame(
            1, START + 160 * number, spoken=bytes(320), present=True,
            heard=None if number in (2, 3) else b"\xff" * 160, law="PCMU",
            mixed=bytes(320), contributors=(),
        )  # fmt: skip
    made.close()
    marks = [
        (record.track.name, record.packet.timestamp, record.packet.marker)
        for record in read_capture(made.path, made.keys)[1]
        if record.packet and record.track and record.track.name.startswith("customer")
    ]
    assert [m for m in marks if m[0] == "customer.heard"] == [
        ("customer.heard", 0, True), ("customer.heard", 160, False),
        ("customer.heard", 640, True), ("customer.heard", 800, False),
    ]  # fmt: skip
    assert len([m for m in marks if m[0] == "customer.in"]) == 6


def test_facts_are_on_the_capture_clock(begin: Any) -> None:
    """A matrix commit at a sample of the media host lies at that sample of the tracks."""
    made = begin()
    made.speak(10)
    matrix = {"event": "matrix", "bridge": 1, "seats": [1, 2], "gains": [[0, 32768], [32768, 0]]}
    made.capture.event(START + 800, {**matrix, "ramp_ms": 10})
    made.capture.event(START + 900, {"event": "note", "text": "x" * 5000})
    made.close()
    facts = read_facts(made.path, made.keys)
    assert {**matrix, "ramp_ms": 10, "sample": 800} in facts
    assert {"event": "note", "text": "x" * 5000, "sample": 900} in facts
    assert facts[-1]["event"] == "closed"


def test_a_directory_that_is_in_use_is_refused(begin: Any, tmp_path: Path) -> None:
    """A capture never mixes with other files."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(RecordingError, match="not empty"):
        begin("used")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecordingError, match="can't record"):
        begin("file")


def test_without_a_signing_key_a_capture_is_closed_but_not_sealed(begin: Any) -> None:
    """And says so."""
    made = begin(recipients=Recipients.of(bytes(32), sign=False))
    made.speak(3)
    summary = made.close()
    assert not summary.sealed
    assert summary.problem == "there is no signing key to seal it with"
    assert verify(made.path, made.keys).verdict is Verdict.UNSEALED


def test_the_disk_holds_no_audio_and_no_key_in_clear(begin: Any, tmp_path: Path) -> None:
    """Every file, searched for every frame (also byte-swapped) and for every key."""
    made = begin(policy=CapturePolicy(segment_packets=30))
    made.speak(70)
    manifest, _ = load_manifest(made.path)
    from rtpmix.recorder.vault import open_vault

    vault = open_vault(made.path, made.keys, manifest.capture_id)
    needles = [key.material[:16] for key in vault.values()]
    needles += [key.material[16:28] for key in vault.values()]
    needles += [key.inline()[7:23].encode() for key in vault.values()]
    needles += [key.material.hex()[:32].encode() for key in vault.values()]
    for payload_list in made.payloads.values():
        for payload in payload_list:
            swapped = b"".join(payload[n + 1 : n + 2] + payload[n : n + 1]
                               for n in range(40, 56, 2))  # fmt: skip
            needles += [payload[40:56], swapped]
    for _ in range(2):  # while it is written, and sealed
        made.capture.tick(1e6)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) >= 8
        for path in files:
            data = path.read_bytes()
            assert not [needle for needle in needles if needle in data], path.name
        if made.summary is None:
            made.close()
    planted = tmp_path / "planted"
    planted.write_bytes(b"x" + made.payloads["agent.in"][3])
    assert any(needle in planted.read_bytes() for needle in needles)


def test_nothing_of_a_capture_is_for_others_eyes(sealed: Any) -> None:
    """Modes 700 and 600."""
    assert stat.S_IMODE(sealed.path.stat().st_mode) == 0o700
    for name in ("manifest.json", "keys.jwe", "0001.srtp.pcap"):
        assert stat.S_IMODE((sealed.path / name).stat().st_mode) == 0o600


def test_a_capture_of_narrow_legs_is_what_it_was_before_there_were_wide_ones(
    tmp_path: Path, keys: Recipients
) -> None:
    """Octet for octet: the hashes are of a version that knew 8 kHz only."""
    rng = random.Random(3)
    capture = Capture(
        tmp_path / "call", conversation_id="c", recipients=keys, metadata={"queue": "sales"},
        wall_clock=lambda: 1_700_000_000.25, policy=CapturePolicy(segment_packets=40),
        entropy=random.Random(4).randbytes,
    )  # fmt: skip
    for leg, law in ((1, "PCMU"), (2, "PCMA")):
        capture.add_leg(leg, f"leg-{leg}", "agent", law, START)
    for number in range(100):
        for leg, law in ((1, "PCMU"), (2, "PCMA")):
            capture.frame(
                leg, START + 160 * number, spoken=rng.randbytes(320), present=number % 7 > 0,
                heard=rng.randbytes(160) if number % 9 else None, law=law,
                mixed=rng.randbytes(320), contributors=(3 - leg, 9),
            )  # fmt: skip
        capture.tick(number * 0.02)
    assert capture.close().sealed
    files = [tmp_path / "call" / f"{number:04}.srtp.pcap" for number in (1, 2, 3)]
    found = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files]
    assert found == ["794062c89b3e481a", "89fa6588c9e08ce5", "27ccd1d0196ece65"]
    manifest, _ = load_manifest(tmp_path / "call")
    legs = [track for track in manifest.to_json()["tracks"] if track["leg"] is not None]
    kinds = {track["name"]: [*track] for track in legs}
    members = ["name", "kind", "ssrc", "port", "leg", "role", "codec"]
    assert kinds == dict.fromkeys(("leg-1.in", "leg-1.heard", "leg-2.in", "leg-2.heard"), members)
