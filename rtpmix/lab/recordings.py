"""``rtpmix recording``: what can be done with a capture afterwards."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from rtpmix import RecordingError, UsageError
from rtpmix.recorder import (
    Recipients,
    Verdict,
    export,
    info,
    list_captures,
    load_key,
    recover,
    verify,
)
from rtpmix.replay import replay

from .table import duration, printable

DEFAULT_KEY = Path("~/.config/rtpmix/recording.key")


def keys_for(options: Namespace) -> Recipients | None:
    """Return the keys named on the command line, else the default ones if there are any.

    Raises
    ------
    RecordingError
        The named file can't be read, or either one is readable by others.
    """
    path: Path | None = options.key
    if path is None:
        path = DEFAULT_KEY.expanduser()
        if not path.exists():
            return None
    return load_key(path)


def list_(options: Namespace) -> int:
    """Print one line for each capture."""
    captures = list_captures(options.path)
    for found in captures:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.created))
        name = printable(str(found.path))
        print(f"{when}  {duration(found.duration_s):>8}  {found.state:<9}  {name}")
    if not captures:
        print(f"no captures in {options.path}")
    return 0


def info_(options: Namespace) -> int:
    """Print what a capture says of itself, which takes no key."""
    _print(info(options.path).lines)
    return 0


def verify_(options: Namespace) -> int:
    """Print a verdict; exit status 0 for sealed alone, and consistent where a replay is asked."""
    keys = keys_for(options)
    report = verify(options.path, keys)
    _print(report.lines)
    good = report.verdict is Verdict.SEALED
    if options.replay:
        replayed = replay(options.path, _needed(keys))
        _print(replayed.lines)
        good = good and replayed.is_consistent
    return 0 if good else 1


def recover_(options: Namespace) -> int:
    """Seal what a crash left."""
    _print(recover(options.path, keys_for(options)).lines)
    return 0


def export_(options: Namespace) -> int:
    """Write WAV files."""
    keys = _needed(keys_for(options))
    name = options.path.resolve().name
    out = options.out or Path(f"{name}.wav" if options.stereo else f"{name}-wav")
    if options.stereo and out.is_dir():
        raise RecordingError(f"{out} is a directory: name a file for --stereo", path=out)
    done = export(
        options.path,
        keys,
        out,
        stereo=options.stereo,
        tracks=options.track,
        coaching=options.coaching,
    )
    _print(str(path) for path in done.files)
    return 0


def _needed(keys: Recipients | None) -> Recipients:
    if keys is None:
        raise UsageError(f"no key: name one with --key ({DEFAULT_KEY} does not exist)")
    return keys


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line))
