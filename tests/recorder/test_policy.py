"""Tests of `rtpmix.recorder.policy`."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.recorder.policy import CapturePolicy


@pytest.mark.parametrize(
    "wrong",
    [
        {"suite": "NULL"},
        {"suite": "AES_CM_128_HMAC_SHA1_32"},
        {"segment_packets": 0},
        {"segment_packets": 65_001},
        {"flush_s": 0.0},
        {"sync_s": -1.0},
        {"report_every_s": float("nan")},
        {"pending_limit": 0},
    ],
)
def test_a_figure_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    """`UsageError` names the fact."""
    (name,) = wrong
    with pytest.raises(UsageError, match="suite" if name == "suite" else name):
        CapturePolicy(**wrong)  # type: ignore[arg-type]


def test_the_default_keeps_the_designs_promises() -> None:
    """Written within 1 s, on disk within 5 s, rotation before the sequence number wraps."""
    policy = CapturePolicy()
    assert policy.flush_s < 1
    assert policy.sync_s <= 5
    assert policy.segment_packets <= 65_000
    assert policy.suite == "AES_CM_128_HMAC_SHA1_80"
