"""Tests of `rtpmix.recorder.durable`."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from rtpmix.recorder.durable import create_durably, replace_durably, write_all


def test_a_file_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """rename(2) is atomic: a reader finds old or new contents."""
    path = tmp_path / "manifest.json"
    replace_durably(path, b"old")
    replace_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_a_disk_that_refuses_leaves_the_old_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest or a keys.jwe is never half a file."""
    path = tmp_path / "keys.jwe"
    replace_durably(path, b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        replace_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["keys.jwe"]


def test_the_file_and_then_its_directory_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync(2): the directory entry needs an fsync of its own."""
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_durably(tmp_path / "a", b"1")
    create_durably(tmp_path / "b", b"2")
    assert synced == ["file", "directory"] * 2


def test_an_existing_file_is_never_created_again(tmp_path: Path) -> None:
    """A key file that is overwritten loses its captures."""
    create_durably(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        create_durably(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may take less than it was given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    write_all(descriptor, b"ten bytes.")
    os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"ten bytes."
