"""Tests of `rtpmix.recorder.vault`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder.keys import KeysTamperedError, Recipients
from rtpmix.recorder.track import Kind, Track
from rtpmix.recorder.vault import KeyVault, open_vault

TRACKS = [Track("a.in", Kind.SPOKEN, 1, 16384), Track("a.heard", Kind.HEARD, 2, 16386)]
SUITE = "AES_CM_128_HMAC_SHA1_80"


def make(path: Path, keys: Recipients) -> KeyVault:
    return KeyVault(
        path, capture_id="ab", suite=SUITE, recipients=keys, entropy=random.Random(1).randbytes
    )


def test_every_track_has_a_key_of_its_own_in_every_segment(
    tmp_path: Path, keys: Recipients
) -> None:
    """No two-time pad (RFC 3711 section 9.1), and all of them come back from the disk."""
    vault = make(tmp_path, keys)
    vault.provide(1, TRACKS)
    vault.provide(2, TRACKS)
    made = {(n, t.ssrc): vault.key(n, t) for n in (1, 2) for t in TRACKS}
    assert len({key.material for key in made.values()}) == 4
    assert open_vault(tmp_path, keys, "ab") == made


def test_keys_do_not_change_once_they_are_made(tmp_path: Path, keys: Recipients) -> None:
    """A leg that joins adds two keys and touches none; nothing new writes nothing."""
    vault = make(tmp_path, keys)
    vault.provide(1, TRACKS[:1])
    first = vault.key(1, TRACKS[0])
    vault.provide(1, TRACKS)
    assert vault.key(1, TRACKS[0]) is first
    before = (tmp_path / "keys.jwe").stat().st_mtime_ns, (tmp_path / "keys.jwe").read_bytes()
    vault.provide(1, TRACKS)
    after = (tmp_path / "keys.jwe").stat().st_mtime_ns, (tmp_path / "keys.jwe").read_bytes()
    assert after == before


def test_keys_that_are_missing_or_of_another_capture_are_told_apart(
    tmp_path: Path, keys: Recipients
) -> None:
    """Missing may be a shredded capture; another's is tampering."""
    with pytest.raises(RecordingError, match="can't read") as missing:
        open_vault(tmp_path, keys, "ab")
    assert not isinstance(missing.value, KeysTamperedError)
    make(tmp_path, keys).provide(1, TRACKS)
    with pytest.raises(KeysTamperedError, match="another capture"):
        open_vault(tmp_path, keys, "cd")


def test_content_that_is_no_key_list_is_tampering_and_shows_nothing(
    tmp_path: Path, keys: Recipients
) -> None:
    """Sealed by somebody who has the recipients' public keys."""
    for content in ({"capture_id": "ab"}, {"capture_id": "ab", "suite": "x", "segments": []},
                    {"capture_id": "ab", "suite": SUITE, "segments": [{"number": 1, "tracks": [
                        {"ssrc": 1, "key": "c2VjcmV0"}]}]}):  # fmt: skip
        (tmp_path / "keys.jwe").write_bytes(keys.seal(content))
        with pytest.raises(KeysTamperedError) as error:
            open_vault(tmp_path, keys, "ab")
        assert error.value.__cause__ is None
        assert "secret" not in str(error.value)
