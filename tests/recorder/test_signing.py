"""Tests of `rtpmix.recorder.signing`."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rtpmix.errors import RecordingError
from rtpmix.recorder.signing import SigningKey, VerifyKey, check_signature, is_signed


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_signature_is_ed25519_over_header_and_payload() -> None:
    """RFC 7515 section 5.1 and RFC 8032, checked by another library."""
    key = SigningKey.generate()
    signed = json.loads(key.sign(b"manifest"))
    public = Ed25519PublicKey.from_public_bytes(decode(key.public.to_jwk()["x"]))
    public.verify(
        decode(signed["signature"]), f"{signed['protected']}.{signed['payload']}".encode()
    )
    payload, signer = check_signature(signed)
    assert payload == b"manifest"
    assert signer.thumbprint == key.public.thumbprint
    assert is_signed(signed)
    assert not is_signed({"format": "rtpmix-capture-1"})


def test_a_changed_payload_header_or_signature_is_noticed() -> None:
    """RFC 7515 section 5.2."""
    signed = json.loads(SigningKey.generate().sign(b"manifest"))
    for part in ("payload", "protected", "signature"):
        changed = {**signed, part: encode(decode(signed[part])[:-1] + b"?")}
        with pytest.raises(RecordingError):
            check_signature(changed)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256", "", None, 7])
def test_no_other_algorithm_is_believed(algorithm: object) -> None:
    """RFC 8725 section 3.1: the verifier names the algorithm, not the message."""
    key = SigningKey.generate()
    signed = json.loads(key.sign(b"manifest"))
    header = json.loads(decode(signed["protected"]))
    signed["protected"] = encode(json.dumps({**header, "alg": algorithm}).encode())
    with pytest.raises(RecordingError):
        check_signature(signed)


@pytest.mark.parametrize("document", [{}, {"payload": 1, "protected": 2, "signature": 3}])
def test_what_is_no_jws_is_refused(document: dict[str, object]) -> None:
    """Never another exception."""
    with pytest.raises(RecordingError):
        check_signature(document)


def test_private_keys_do_not_show() -> None:
    """`repr` ends up in logs."""
    key = SigningKey.generate()
    assert key.to_jwk()["d"] not in repr(key)


def test_only_ed25519_keys_are_taken() -> None:
    """An X25519 key has the same form and can't sign."""
    with pytest.raises(ValueError, match="Ed25519"):
        VerifyKey.from_jwk({"kty": "OKP", "crv": "X25519", "x": "AA"})
    with pytest.raises(ValueError, match="Ed25519"):
        SigningKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": "AA"})
