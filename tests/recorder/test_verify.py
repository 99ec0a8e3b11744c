"""Tests of `rtpmix.recorder.verify`: a fixture for each verdict, and for each way to get there."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder import CapturePolicy, Recipients, Verdict, generate_key, verify, write_pin
from rtpmix.recorder.keys import load_key
from rtpmix.recorder.manifest import load_manifest
from rtpmix.recorder.pcap import FILE_HEADER, Datagram, DatagramFrame, pack_time, scan
from rtpmix.recorder.recover import recover
from rtpmix.recorder.signing import SigningKey

SEGMENT = "0001.srtp.pcap"


def rewrite(path: Path, change: Callable[[list[tuple[bytes, Datagram]]], list[bytes]]) -> None:
    """Rebuild a segment from its records."""
    file = path / SEGMENT
    data = file.read_bytes()
    found = list(scan(data))
    ends = [datagram.offset for datagram in found[1:]] + [len(data)]
    records = [(data[d.offset : end], d) for d, end in zip(found, ends, strict=True)]
    file.write_bytes(FILE_HEADER + b"".join(change(records)))


def resign(path: Path, signer: SigningKey | None, **changes: Any) -> None:
    """Give the manifest another signature, as somebody with write access can."""
    manifest, _ = load_manifest(path)
    for name, value in changes.items():
        setattr(manifest, name, value)
    manifest.save(path, signer)


def forge_hash(path: Path, signer: SigningKey | None) -> None:
    """Make the manifest agree with the file, as far as one can without keys."""
    import hashlib

    manifest, _ = load_manifest(path)
    data = (path / SEGMENT).read_bytes()
    manifest.segments[0].bytes = len(data)
    manifest.segments[0].sha512 = hashlib.sha512(data).hexdigest()
    manifest.save(path, signer)


def judge(made: Any, verdict: Verdict, *, without_keys: Verdict | None = None) -> str:
    """Verify with keys and without; return the reasons."""
    full = verify(made.path, made.keys)
    assert full.verdict is verdict, full.lines
    bare = verify(made.path)
    assert bare.verdict is (verdict if without_keys is None else without_keys), bare.lines
    return "; ".join(full.reasons)


def test_a_sealed_capture_is_sealed(sealed: Any) -> None:
    """Every packet authenticated, SR and BYE counted, signer pinned."""
    report = verify(sealed.path, sealed.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.reasons == []
    assert report.with_keys
    assert report.pinned is True
    assert report.duration_s == 2.0
    assert len(report.tracks) == 7
    assert {found.packets for found in report.tracks if found.track.name != "events"} == {100}
    assert report.lines[0].startswith("SEALED: ")


def test_without_keys_the_seal_is_checked_and_the_signer_named(sealed: Any) -> None:
    """Structure, hashes, counts and signature; who signed is for a pin to say."""
    report = verify(sealed.path)
    assert report.verdict is Verdict.SEALED
    assert report.pinned is None
    assert not report.with_keys
    assert any("no pinned key" in note for note in report.notes)


def test_an_unfinished_capture_is_unsealed(begin: Any) -> None:
    """Nothing speaks against it, nobody signed for it."""
    made = begin()
    made.speak(60)
    made.capture.tick(1e6)
    assert "not signed (state: recording)" in judge(made, Verdict.UNSEALED)


def test_a_cut_at_a_record_boundary_is_truncated(sealed: Any) -> None:
    """It passes every third-party tool unnoticed; the seal is what catches it."""
    rewrite(sealed.path, lambda records: [data for data, _ in records[:-40]])
    reasons = judge(sealed, Verdict.TRUNCATED)
    assert "bytes of" in reasons
    assert "has no BYE" in reasons


def test_a_cut_inside_a_record_is_truncated(sealed: Any) -> None:
    """One byte is enough."""
    data = (sealed.path / SEGMENT).read_bytes()
    (sealed.path / SEGMENT).write_bytes(data[:-1])
    judge(sealed, Verdict.TRUNCATED)


def test_a_missing_segment_is_truncated(begin: Any) -> None:
    """The manifest names it."""
    made = begin(policy=CapturePolicy(segment_packets=40))
    made.speak(100)
    made.close()
    (made.path / "0002.srtp.pcap").unlink()
    assert "0002.srtp.pcap is missing" in judge(made, Verdict.TRUNCATED)


def test_a_changed_byte_anywhere_is_tampered(sealed: Any) -> None:
    """Forty places in the segment, seeded."""
    rng = random.Random(9)
    whole = (sealed.path / SEGMENT).read_bytes()
    for _ in range(40):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (sealed.path / SEGMENT).write_bytes(changed)
        assert verify(sealed.path).verdict in (Verdict.TAMPERED, Verdict.TRUNCATED)
        assert verify(sealed.path, sealed.keys).verdict is not Verdict.SEALED


def test_a_changed_packet_with_every_checksum_and_hash_made_right_fails_authentication(
    sealed: Any,
) -> None:
    """RFC 3711 section 4.2; told even if the manifest were signed by us."""

    def change(records: list[tuple[bytes, Datagram]]) -> list[bytes]:
        out = []
        for number, (data, datagram) in enumerate(records):
            if number == 50:
                payload = datagram.payload[:-20] + bytes(20)
                micros = round(datagram.at * 1_000_000)
                data = DatagramFrame(datagram.port).record(payload, pack_time(micros))
            out.append(data)
        return out

    rewrite(sealed.path, change)
    forge_hash(sealed.path, sealed.keys.signing_key)
    reasons = judge(sealed, Verdict.TAMPERED, without_keys=Verdict.SEALED)
    assert "authentication failure" in reasons


def test_a_packet_cut_out_of_the_middle_is_tampered_even_unsealed(begin: Any) -> None:
    """The writer never skips a sequence number."""
    made = begin()
    made.speak(60)
    made.capture.tick(1e6)
    rewrite(made.path, lambda records: [d for n, (d, _) in enumerate(records) if n != 100])
    assert "jumps from packet" in judge(made, Verdict.TAMPERED)


def test_swapped_repeated_and_foreign_packets_are_tampered(sealed: Any, tmp_path: Path) -> None:
    """Order, replay (RFC 3711 section 3.3.2), and a port that no track has."""

    def swap(records: list[tuple[bytes, Datagram]]) -> list[bytes]:
        data = [data for data, _ in records]
        data[60], data[66] = data[66], data[60]
        return data

    def repeat(records: list[tuple[bytes, Datagram]]) -> list[bytes]:
        data = [data for data, _ in records]
        return [*data[:60], data[59], *data[60:]]

    def plant(records: list[tuple[bytes, Datagram]]) -> list[bytes]:
        record = DatagramFrame(9).record(records[5][1].payload, pack_time(0))
        return [data for data, _ in records[:60]] + [record] + [data for data, _ in records[60:]]

    whole = (sealed.path / SEGMENT).read_bytes()
    for change in (swap, repeat, plant):
        (sealed.path / SEGMENT).write_bytes(whole)
        rewrite(sealed.path, change)
        forge_hash(sealed.path, sealed.keys.signing_key)
        judge(sealed, Verdict.TAMPERED)


def test_a_tail_cut_off_with_counts_and_hash_made_right_still_lacks_its_bye(sealed: Any) -> None:
    """Signed again by a thief of the signing key, who has no SRTP key."""
    rewrite(sealed.path, lambda records: [data for data, _ in records[:-60]])
    forge_hash(sealed.path, sealed.keys.signing_key)
    manifest, _ = load_manifest(sealed.path)
    counts: dict[str, tuple[int, int]] = {}
    from rtpmix.recorder.reader import RecordReader

    reader = RecordReader(manifest, None)
    for datagram in scan((sealed.path / SEGMENT).read_bytes()):
        record = reader.read(1, datagram)
        assert record.track is not None
        packets, octets = counts.get(record.track.name, (0, 0))
        if record.packet is not None:
            counts[record.track.name] = (packets + 1, octets + record.octets)
    manifest.segments[0].counts = counts
    manifest.save(sealed.path, sealed.keys.signing_key)
    reasons = judge(sealed, Verdict.TRUNCATED, without_keys=Verdict.SEALED)
    assert "customer.in has no BYE" in reasons


def test_a_forgery_that_another_key_signed_is_told_by_the_pin(sealed: Any) -> None:
    """Its own signature is right; only the pinned key unmasks it."""
    resign(sealed.path, SigningKey.generate(), conversation_id="another call")
    report = verify(sealed.path, sealed.keys)
    assert report.verdict is Verdict.TAMPERED
    assert report.pinned is False
    assert "not the recorder's pinned key" in report.reasons[0]
    assert verify(sealed.path).verdict is Verdict.SEALED


def test_a_pin_file_is_enough_to_tell(begin: Any, tmp_path: Path) -> None:
    """A verifier elsewhere has neither keys nor audio."""
    keys = generate_key(tmp_path / "recording.key")
    made = begin(recipients=keys)
    made.speak(5)
    made.close()
    write_pin(tmp_path / "pin.json", keys)
    pin = load_key(tmp_path / "pin.json")
    report = verify(made.path, pin)
    assert (report.verdict, report.pinned, report.with_keys) == (Verdict.SEALED, True, False)
    resign(made.path, SigningKey.generate())
    assert verify(made.path, pin).verdict is Verdict.TAMPERED


def test_a_changed_manifest_is_tampered(sealed: Any) -> None:
    """Payload edited, signature kept."""
    file = sealed.path / "manifest.json"
    document = json.loads(file.read_text())
    document["payload"] = document["payload"][:-8] + "AAAAAAAA"
    file.write_text(json.dumps(document))
    judge(sealed, Verdict.TAMPERED)
    file.write_text("not even JSON")
    judge(sealed, Verdict.TAMPERED)


def test_bytes_or_segments_that_were_added_are_tampered(sealed: Any) -> None:
    """The manifest knows every one."""
    whole = (sealed.path / SEGMENT).read_bytes()
    (sealed.path / SEGMENT).write_bytes(whole + whole[24:400])
    assert "grew" in judge(sealed, Verdict.TAMPERED)
    (sealed.path / SEGMENT).write_bytes(whole)
    shutil.copy(sealed.path / SEGMENT, sealed.path / "0002.srtp.pcap")
    assert "not in the manifest" in judge(sealed, Verdict.TAMPERED)


def test_the_keys_of_another_capture_are_tampering(begin: Any, sealed: Any) -> None:
    """keys.jwe is tied to its manifest."""
    other = begin("other")
    other.speak(3)
    other.close()
    changed = json.loads((other.path / "keys.jwe").read_text())
    manifest, _ = load_manifest(sealed.path)
    resign(sealed.path, sealed.keys.signing_key, capture_id="0" * 32)
    report = verify(sealed.path, sealed.keys)
    assert report.verdict is Verdict.TAMPERED
    assert "another capture" in report.reasons[0]
    changed["tag"] = "A" * 22
    (other.path / "keys.jwe").write_text(json.dumps(changed))
    assert verify(other.path, other.keys).verdict is Verdict.TAMPERED
    assert manifest.capture_id != "0" * 32


def test_the_wrong_key_or_no_capture_is_an_error_and_no_verdict(
    sealed: Any, tmp_path: Path
) -> None:
    """The caller's mistake says nothing about the capture."""
    with pytest.raises(RecordingError, match="none of these keys"):
        verify(sealed.path, Recipients.of(bytes(32)))
    with pytest.raises(RecordingError, match="not a capture"):
        verify(tmp_path)


def test_a_recovered_capture_is_sealed_and_says_that_it_was_recovered(begin: Any) -> None:
    """What it declares lost is no tampering; a cut after that is."""
    made = begin()
    made.speak(60)
    made.capture.tick(1e6)
    made.capture._series._file.close()  # the process is gone, and its lock
    data = (made.path / SEGMENT).read_bytes()
    (made.path / SEGMENT).write_bytes(data[:-7])
    recover(made.path, made.keys)
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered
    assert report.lines[0].startswith("SEALED (recovered)")
    (made.path / SEGMENT).write_bytes(data[:-700])
    judge(made, Verdict.TRUNCATED)


def test_hundreds_of_damaged_captures_raise_nothing(sealed: Any) -> None:
    """Whatever is in the file: a verdict."""
    rng = random.Random(4)
    whole = (sealed.path / SEGMENT).read_bytes()[:6000]
    verdicts = set()
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randrange(5)] = rng.randbytes(rng.randrange(5))
        (sealed.path / SEGMENT).write_bytes(changed)
        verdicts.add(verify(sealed.path, sealed.keys).verdict)
    assert verdicts <= {Verdict.TAMPERED, Verdict.TRUNCATED}
    assert len(verdicts) == 2
