"""A missing peer is a gap away from CI, and a failure there."""

from __future__ import annotations

import pytest

from tests.interop.conftest import find_peer


def test_a_missing_peer_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        find_peer("no-such-program")


def test_a_missing_peer_is_passed_over_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        find_peer("no-such-program")
