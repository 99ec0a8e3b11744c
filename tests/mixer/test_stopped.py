"""Legs whose peer has stopped sending: silence, that costs next to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from rtpmix.mixer import conceal as concealing
from rtpmix.mixer.conceal import FADE_FRAMES, conceal
from rtpmix.mixer.rows import FRAME, Kind, Numbers, Rows

LEGS = 3
VOICE = np.rint(8000 * np.sin(2 * np.pi * 150 * np.arange(FRAME) / 8000)).astype(np.int16)


def test_what_has_faded_out_is_not_worked_out_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three legs that stop one after the other, each is continued until it is silent."""
    continued: list[int] = []
    inner = concealing._continue

    def watched(rows: Rows, at: Numbers, run: Numbers) -> np.ndarray:
        continued.append(len(at))
        return inner(rows, at, run)

    monkeypatch.setattr(concealing, "_continue", watched)
    rows = Rows(LEGS)
    index = np.array([rows.add(leg, Kind.LEG) for leg in range(LEGS)])
    loud: list[list[int]] = []
    for frame in range(4 + FADE_FRAMES + 2 * LEGS):
        present = np.array([frame < 4 + leg for leg in range(LEGS)])
        spoken = np.where(present[:, None], VOICE, 0).astype(np.int16)
        idle = np.zeros(LEGS, np.bool_)
        before = len(continued)
        conceal(rows, index, spoken, present, ~present, idle, frame, frame % 2 == 0)
        loud.append(np.flatnonzero(spoken.any(axis=1)).tolist())
        fading = [leg for leg in range(LEGS) if 0 <= frame - 4 - leg < FADE_FRAMES]
        assert continued[before:] == ([len(fading)] if fading else [])
    assert loud[3] == [0, 1, 2]  # all talk
    assert loud[4] == [0, 1, 2]  # the first has stopped, and is gone on with
    assert loud[-1] == []
    assert [int(run) for run in rows.missing_run[index]] == [
        len(loud) - 4 - leg for leg in range(LEGS)
    ]
