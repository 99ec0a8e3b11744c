"""Coverage-guided fuzzing finds nothing in its time: RTPMIX_GUIDED_SECONDS for each target."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("RTPMIX_GUIDED_SECONDS", "2"))
ROOT = Path(__file__).parents[2]
NAMES = ("digest", "headers", "message", "registrar", "sdp")

if os.environ.get("CI"):
    importlib.import_module("atheris")
else:
    pytest.importorskip("atheris", reason="no wheel of atheris for this Python or machine")


@pytest.mark.parametrize("target", NAMES)
def test_coverage_leads_to_nothing_that_escapes(target: str) -> None:
    """No exception out of a receive path, and no input takes too long."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", target, "--seconds", str(SECONDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-5000:]
    done = re.search(r"stat::number_of_executed_units: (\d+)", run.stderr)
    assert done is not None
    assert int(done[1]) > 100, "hardly any input was tried: this test would pass without looking"


@pytest.mark.parametrize("target", NAMES)
def test_every_target_has_seeds(target: str) -> None:
    assert any((ROOT / "tests/fuzz/seeds" / target).iterdir())
