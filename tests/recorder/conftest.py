"""A capture maker: three legs that speak seeded noise, everything that went in remembered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rtpmix.recorder import Capture, CapturePolicy, CaptureSummary, Recipients

START = 123_456_789  # of the media host's clock, when the recording began
WALL = 1_700_000_000.25
LEGS = {1: ("customer", "customer"), 2: ("agent", "agent"), 3: ("coach", "supervisor")}


@dataclass
class Made:
    """One capture, and what was recorded, by track name."""

    path: Path
    keys: Recipients
    capture: Capture
    payloads: dict[str, list[bytes]] = field(default_factory=dict)
    told: list[dict[str, object]] = field(default_factory=list)
    frames: int = 0
    summary: CaptureSummary | None = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def speak(self, count: int, *, tick: bool = True) -> None:
        """Record frames of all three legs; the customer does not hear the coach."""
        heard_by = {1: (2,), 2: (1, 3), 3: (1, 2)}
        for _ in range(count):
            for leg, (name, _) in LEGS.items():
                spoken = self.rng.integers(-9000, 9000, 160).astype(">i2").tobytes()
                heard = self.rng.integers(0, 256, 160).astype(np.uint8).tobytes()
                mixed = self.rng.integers(-9000, 9000, 160).astype("<i2").tobytes()
                self.capture.frame(
                    leg,
                    START + 160 * self.frames,
                    spoken=spoken,
                    present=True,
                    heard=heard,
                    law="PCMU",
                    mixed=mixed,
                    contributors=heard_by[leg],
                )
                self.payloads.setdefault(f"{name}.in", []).append(spoken)
                self.payloads.setdefault(f"{name}.heard", []).append(heard)
            if tick:
                self.capture.tick(self.frames * 0.02)
            self.frames += 1

    def close(self) -> CaptureSummary:
        self.summary = self.capture.close()
        return self.summary


CaptureMaker = Callable[..., Made]


@pytest.fixture(scope="session")
def keys() -> Recipients:
    """One recorder's keys."""
    return Recipients.of(bytes(range(32)))


@pytest.fixture
def begin(tmp_path: Path, keys: Recipients) -> CaptureMaker:
    """Begin a capture of three legs."""

    def make(
        name: str = "capture",
        recipients: Recipients = keys,
        policy: CapturePolicy | None = None,
    ) -> Made:
        told: list[dict[str, object]] = []
        capture = Capture(
            tmp_path / name,
            conversation_id="call-1",
            recipients=recipients,
            metadata={"queue": "sales"},
            wall_clock=lambda: WALL,
            policy=policy,
            tell=lambda fact: told.append(dict(fact)),
            entropy=random.Random(11).randbytes,
        )
        for leg, (leg_name, role) in LEGS.items():
            capture.add_leg(leg, leg_name, role, "PCMU", START)
        return Made(tmp_path / name, recipients, capture, told=told)

    return make


@pytest.fixture
def sealed(begin: CaptureMaker) -> Made:
    """A sealed capture of two seconds."""
    made = begin()
    made.speak(100)
    made.close()
    return made
