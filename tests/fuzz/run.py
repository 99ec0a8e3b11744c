"""Hostile input in any amount: ``python -m tests.fuzz.run --inputs 1000000 --seconds 600``.

Prints one JSON object. Exits with 1 when anything escaped a receive path, took too long or grew.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if not __package__:  # started by its path, from anywhere
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz import test_media_engine, test_user_agent, test_wide_media
from tests.fuzz.corpus import MESSAGES, RTCP_PACKETS, RTP_PACKETS, SIP_WORDS, rtp
from tests.fuzz.mutation import SEED, Mutator, attack
from tests.fuzz.test_messages import TARGETS

Target = Callable[[bytes], object]


def targets(seed: int) -> Iterator[tuple[str, Target, Mutator]]:
    """Yield all that takes bytes from a peer, with a source of spoilt ones; the slow first."""
    for name, secured in (("wide_media", False), ("srtp_media", True)):
        mutator = Mutator(seed, test_wide_media.CORPUS)
        yield name, test_wide_media.Victim(mutator, secured=secured).receive, mutator
    for target, corpus, words in TARGETS:
        yield target.__name__, target, Mutator(seed, corpus, words)
    mutator = Mutator(seed, MESSAGES, SIP_WORDS)
    yield "user_agent", test_user_agent.Victim(mutator).receive, mutator
    mutator = Mutator(seed, (*RTP_PACKETS, *RTCP_PACKETS, rtp()))
    yield "media_engine", test_media_engine.Victim(mutator).receive, mutator


def main(arguments: list[str]) -> int:
    """Attack every target in turn, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seconds", type=float, default=600.0, help="in all; ends it early")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    everything = list(targets(options.seed))
    counts: dict[str, int] = {}
    failures: dict[str, str] = {}
    began = time.monotonic()
    for place, (name, target, mutator) in enumerate(everything):
        # What a slow one does not get through in its time, the others take on.
        share = -(-(options.inputs - sum(counts.values())) // (len(everything) - place))
        try:
            seconds = options.seconds / len(everything)
            counts[name] = attack(target, mutator, seconds=seconds, most=share)
        except AssertionError as error:
            failures[name] = f"{error} ({error.__cause__!r})" if error.__cause__ else str(error)
    report = {
        "inputs": sum(counts.values()),
        "seconds": round(time.monotonic() - began, 1),
        "seed": options.seed,
        "targets": counts,
        "failures": failures,
    }
    print(json.dumps(report))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
