"""Tests of `rtpmix.recorder.segment`."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from rtpmix.recorder.pcap import FILE_HEADER
from rtpmix.recorder.segment import INDEX_ENTRY, SegmentEntry, SegmentFile


def test_a_disk_that_takes_bytes_in_fits_and_starts_never_tears_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not taken stays pending, in order; the hash is of what is in the file."""
    rng = random.Random(2)
    segment = SegmentFile(tmp_path, 1)
    real = os.write

    def moody(descriptor: int, data: memoryview) -> int:
        if rng.random() < 0.4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data[: rng.randrange(1, 50)]))

    monkeypatch.setattr(os, "write", moody)
    expected = FILE_HEADER
    for number in range(300):
        record = rng.randbytes(rng.randrange(40, 80))
        expected += record
        segment.append(record, number * 160)
        try:
            segment.flush()
        except OSError:
            assert segment.pending_bytes > 0
        assert expected[: segment.written] == (tmp_path / "0001.srtp.pcap").read_bytes()
        assert segment.sha512 == hashlib.sha512(expected[: segment.written]).hexdigest()
    monkeypatch.undo()
    segment.flush()
    assert segment.pending_bytes == 0
    assert (tmp_path / "0001.srtp.pcap").read_bytes() == expected


def test_a_segment_never_continues_an_existing_file(tmp_path: Path) -> None:
    """Its keys would meet packets that they did not make."""
    SegmentFile(tmp_path, 1).close()
    with pytest.raises(FileExistsError):
        SegmentFile(tmp_path, 1)


def test_a_segment_that_could_not_begin_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be tried again."""

    def refuse(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space"):
            SegmentFile(tmp_path, 1)
    SegmentFile(tmp_path, 1).close()


def test_the_index_gives_each_second_its_place_in_the_file(tmp_path: Path) -> None:
    """Sample and offset of the first record of every second that has one."""
    segment = SegmentFile(tmp_path, 3)
    for number in range(150):
        segment.append(bytes(100), number * 160)
    segment.append(bytes(100), 80_000)
    segment.flush()
    segment.sync()
    index = list(INDEX_ENTRY.iter_unpack((tmp_path / "0003.idx").read_bytes()))
    assert index == [
        (0, 24), (8000, 24 + 5000), (16000, 24 + 10_000), (80_000, 24 + 15_000),
    ]  # fmt: skip


def test_an_entry_survives_its_manifest_form_and_names_no_other_path() -> None:
    """A manifest from elsewhere must not make us read another file."""
    entry = SegmentEntry(2, "0002.srtp.pcap", 160, 10, "ab", 3, {"events": (1, 2)})
    assert SegmentEntry.from_json(entry.to_json()) == entry
    with pytest.raises(ValueError, match="number"):
        SegmentEntry.from_json({**entry.to_json(), "file": "../../etc/passwd"})
