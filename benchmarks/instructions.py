"""Instructions a leg and tick inside the engine: counted, so no other program can spoil them.

valgrind runs one interpreter that sets an engine up and then splits (``fork``) into three: one ends
at once, one carries frames, one runs a fixed loop of the same kind of work, Python and numpy on
small arrays. Each tells its instructions since the start; what is common to all three cancels.
``value`` is the ratio of a leg's tick to a turn of that loop, which a machine and its libraries
change far less than either.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.result import Result
from benchmarks.tick import build, fill
from rtpmix.mixer.engine import Engine

LEGS, PHASES = 600, 4
WARM, FRAMES, TURNS = 6, 6, 2000
_COUNT = re.compile(r"I\s+refs:\s+([\d,]+)")


def carry(engine: Engine, first: int, frames: int) -> None:
    """Move an engine of `build` on by so many frames of every leg."""
    for frame in range(first, first + frames):
        for phase in range(PHASES):
            engine.receive(fill(engine, range(phase, LEGS, PHASES), frame))
            engine.tick()


def reference(turns: int) -> int:
    """Do what a beat is made of, the same on every version of this project."""
    numbers, total = np.arange(64), 0
    for turn in range(turns):
        view = numbers[turn & 31 :]
        total += int(np.add(view, turn)[0])
        total += len({"turn": turn, "total": total})
    return total


def be_counted() -> None:
    """Split into the three parts, one after the other; the process that valgrind runs."""
    engine = build(LEGS, PHASES)
    carry(engine, 0, WARM)
    reference(WARM)
    gc.disable()
    parts = (lambda: None, lambda: carry(engine, WARM, FRAMES), lambda: reference(TURNS))
    for part in parts:
        child = os.fork()
        if not child:
            part()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"a counted part ended with status {status}")
        print(child, flush=True)


def counts() -> tuple[int, int]:
    """Return the instructions of the frames and of the loop.

    Raises
    ------
    SystemExit
        Where valgrind is not installed, or fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
        command += [f"--cachegrind-out-file={directory}/%p.out", f"--log-file={directory}/%p.log"]
        command += [sys.executable, "-m", "benchmarks.instructions"]
        fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, env=os.environ | fixed, capture_output=True, text=True, check=True
            )
        except FileNotFoundError as exc:
            raise SystemExit("instructions: valgrind is not installed") from exc
        except subprocess.CalledProcessError as exc:
            raise SystemExit(f"instructions: valgrind failed: {exc.stderr}") from exc
        found = []
        for child in done.stdout.split():
            log = Path(directory, f"{child}.log").read_text(encoding="utf-8")
            match = _COUNT.search(log)
            if match is None:
                raise SystemExit(f"instructions: valgrind did not count: {log}")
            found.append(int(match[1].replace(",", "")))
    nothing, frames, loop = found
    return frames - nothing, loop - nothing


def run(arguments: list[str]) -> Result:
    """Count once: counts of a run are those of the next to a few in ten thousand."""
    argparse.ArgumentParser(prog="python -m benchmarks instructions").parse_args(arguments)
    frames, loop = counts()
    each, turn = frames / (LEGS * FRAMES), loop / TURNS
    return Result(
        benchmark="instructions",
        unit="turns of the reference loop a leg and tick",
        runs=(each / turn,),
        details={
            "legs": LEGS,
            "instructions_per_leg_and_tick": round(each),
            "instructions_per_turn": round(turn),
        },
    )


if __name__ == "__main__":
    be_counted()
