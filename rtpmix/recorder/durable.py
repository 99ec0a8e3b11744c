"""Files that are on disk when the call returns.

A rename is atomic for readers, but only an `fsync` of the file *and* of its directory makes it
outlive a power cut.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..beat_gate import step_aside

OWNER_ONLY = 0o600


def sync(descriptor: int) -> None:
    """Put a file or directory on disk, then let a beat of the media thread go first."""
    os.fsync(descriptor)
    step_aside()


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte; a short write is continued."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_durably(path: Path, data: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Give a file new contents: a reader, or a crash, finds the old ones or the new, never a mix.

    Raises
    ------
    OSError
        The disk refused; the file is unchanged.
    """
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            sync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_durably(path: Path, data: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Write a file that must not exist yet, readable by its owner only unless told otherwise.

    Raises
    ------
    FileExistsError
        There is one already; it is unchanged.
    OSError
        The disk refused.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        write_all(descriptor, data)
        sync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def make_own_directory(path: Path) -> bool:
    """Make a directory that only its owner enters; False when there is one that is not empty.

    Raises
    ------
    OSError
        The disk refused.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(path.iterdir()):
        return False
    sync_directory(path.parent)
    return True
