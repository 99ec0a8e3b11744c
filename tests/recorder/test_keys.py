"""Tests of `rtpmix.recorder.keys`."""

from __future__ import annotations

import base64
import json
import stat
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from rtpmix.errors import RecordingError, UsageError
from rtpmix.recorder.keys import (
    KeysTamperedError,
    Recipients,
    generate_key,
    load_key,
    load_or_make_key,
    write_pin,
)

CONTENT = {"format": "rtpmix-capture-1", "secret": "c2VjcmV0"}
KEK = bytes(range(32))


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_keys_jwe_opens_with_rfc_3394_and_gcm_alone() -> None:
    """RFC 7516 section 5.2, done by hand with another library: A256KW, then A256GCM."""
    sealed = json.loads(Recipients.of(KEK).seal(CONTENT))
    (recipient,) = sealed["recipients"]
    assert recipient["header"]["alg"] == "A256KW"
    assert json.loads(unbase64(sealed["protected"]))["enc"] == "A256GCM"
    content_key = aes_key_unwrap(KEK, unbase64(recipient["encrypted_key"]))
    plain = AESGCM(content_key).decrypt(
        unbase64(sealed["iv"]),
        unbase64(sealed["ciphertext"]) + unbase64(sealed["tag"]),
        sealed["protected"].encode(),
    )
    assert json.loads(plain) == CONTENT


def test_another_key_is_no_recipient() -> None:
    """And the error does not say anything else."""
    data = Recipients.of(KEK).seal(CONTENT)
    with pytest.raises(RecordingError, match="none of these keys"):
        Recipients.of(bytes(32)).open(data)


@pytest.mark.parametrize("part", ["ciphertext", "tag", "iv", "protected"])
def test_a_changed_keys_jwe_does_not_open(part: str) -> None:
    """AES-GCM authenticates content and protected header."""
    sealed = json.loads(Recipients.of(KEK).seal(CONTENT))
    text = sealed[part]
    sealed[part] = ("A" if text[0] != "A" else "B") + text[1:]
    with pytest.raises(KeysTamperedError):
        Recipients.of(KEK).open(json.dumps(sealed).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"recipients": 3}', b"\xff"])
def test_what_is_no_jwe_is_refused(data: bytes) -> None:
    """Never another exception."""
    with pytest.raises(KeysTamperedError):
        Recipients.of(KEK).open(data)


def test_a_recorder_with_public_keys_only_can_not_read_what_it_wrote(tmp_path: Path) -> None:
    """High-security mode: ECDH-ES+A256KW for an X25519 recipient (RFC 8037)."""
    owner = generate_key(tmp_path / "owner.json", public=True)
    recorder = owner.public_only()
    assert owner.can_read
    assert not recorder.can_read
    data = recorder.seal(CONTENT)
    assert json.loads(data)["recipients"][0]["header"]["alg"] == "ECDH-ES+A256KW"
    with pytest.raises(RecordingError, match="none of these keys"):
        recorder.open(data)
    assert owner.open(data) == CONTENT


def test_a_shared_key_has_no_public_half() -> None:
    """A256KW is symmetric."""
    with pytest.raises(UsageError, match="X25519"):
        Recipients.of(KEK).public_only()


def test_a_key_file_is_its_owners_and_gives_the_same_keys_again(tmp_path: Path) -> None:
    """Mode 600; the seal and the wrapping key survive a restart."""
    path = tmp_path / "recording.key"
    made = load_or_make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_or_make_key(path)
    assert again.key_ids == made.key_ids
    assert [key.thumbprint for key in again.trusted] == [key.thumbprint for key in made.trusted]
    assert again.open(made.seal(CONTENT)) == CONTENT


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """And the error says what to do."""
    path = tmp_path / "recording.key"
    generate_key(path)
    path.chmod(0o640)
    with pytest.raises(RecordingError, match="chmod 600"):
        load_key(path)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    """That would make its captures unreadable for ever."""
    path = tmp_path / "recording.key"
    generate_key(path)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="exists already"):
        generate_key(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "[]", '{"keys": 1}', '{"keys": [{"kty": "oct"}]}', '{"keys": [{"kty": "RSA"}]}']
)
def test_a_bad_key_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    """Not a traceback of the library that reads it."""
    path = tmp_path / "recording.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(RecordingError):
        load_key(path)


def test_a_pin_file_names_the_signer_and_opens_nothing(tmp_path: Path) -> None:
    """For a verifier elsewhere; it may be public."""
    keys = generate_key(tmp_path / "recording.key")
    write_pin(tmp_path / "pin.json", keys)
    pinned = load_key(tmp_path / "pin.json")
    assert not pinned.can_read
    assert pinned.signing_key is None
    assert [key.thumbprint for key in pinned.trusted] == [key.thumbprint for key in keys.trusted]
    assert '"d"' not in (tmp_path / "pin.json").read_text()


def test_no_key_shows_in_repr_or_in_an_error(tmp_path: Path) -> None:
    """Logs and tracebacks are read by people who may not read captures."""
    keys = Recipients.of(KEK)
    secrets = [base64.urlsafe_b64encode(KEK).decode().rstrip("="), KEK.hex(), repr(KEK)]
    shown = [repr(keys), str(keys)]
    damaged = json.loads(keys.seal(CONTENT))
    damaged["tag"] = "AAAAAAAAAAAAAAAAAAAAAA"
    try:
        keys.open(json.dumps(damaged).encode())
    except RecordingError as exc:
        shown += traceback.format_exception(exc)
    path = tmp_path / "bad.key"
    path.write_text(json.dumps({"keys": [{"kty": "oct", "k": secrets[0], "alg": 5, "use": []}]}))
    path.chmod(0o644)
    try:
        load_key(path)
    except RecordingError as exc:
        shown += traceback.format_exception(exc)
    assert len(shown) > 4
    assert not [text for text in shown for secret in secrets if secret in text]


def test_a_key_encryption_key_has_256_bits() -> None:
    """RFC 7518 section 4.4."""
    with pytest.raises(UsageError, match="32 bytes"):
        Recipients.of(bytes(16))
