"""A recording process that is killed in mid-call, in real time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder import Verdict, generate_key, load_key, read_capture, recover, verify

# Records in real time with the threaded writer, and says after each beat how far it came.
RECORDER = """
import sys, time
from pathlib import Path
import numpy as np
from rtpmix.mixer.tap import TapBlock
from rtpmix.recorder import load_key
from rtpmix.server.recording_writer import RecordingWriter

writer = RecordingWriter()
writer.start(1, Path(sys.argv[1]), conversation_id="killed", keys=load_key(Path(sys.argv[2])),
             metadata={}, wall_clock=time.time)
writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
yes = np.ones(1, bool)
begun = time.monotonic()
for number in range(100_000):
    time.sleep(max(0.0, begun + number * 0.02 - time.monotonic()))
    spoken = np.full((1, 160), number % 30_000, np.int16)
    heard = np.full((1, 160), number % 256, np.uint8)
    writer.put_block(
        TapBlock(160 * number, (5,), spoken, heard, ("PCMU",), yes, yes, ((),), spoken)
    )
    print(160 * number + 160, flush=True)
"""


def test_kill_minus_9_in_mid_call_loses_at_most_the_last_second(tmp_path: Path) -> None:
    """And `recover` says what is whole."""
    keys = generate_key(tmp_path / "recording.key")
    path = tmp_path / "capture"
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path), str(tmp_path / "recording.key")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    said = 0
    for line in child.stdout:
        said = int(line)
        if said >= 8000 * 3:
            break
    with pytest.raises(RecordingError, match="still being written"):
        recover(path, keys)
    os.kill(child.pid, signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    said = int(rest[-1]) if rest else said
    assert verify(path, keys).verdict is Verdict.UNSEALED

    found = recover(path, load_key(tmp_path / "recording.key"))
    assert found.sealed
    assert said - 8000 <= found.duration_s * 8000 <= said
    assert f"audio is whole up to {found.duration_s:.2f} s" in found.lines[0]
    report = verify(path, keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered
    spoken = [
        record.packet.payload
        for record in read_capture(path, keys)[1]
        if record.packet and record.track and record.track.name == "customer.in"
    ]
    assert len(spoken) * 160 == found.duration_s * 8000
    assert spoken == [number.to_bytes(2, "big") * 160 for number in range(len(spoken))]
