"""The seal on a manifest: a JWS with Ed25519, and the pin that tells our seal from another's.

Anyone can make a key and sign a forged manifest with it, so a signature proves only that the
manifest is as its signer left it.  *Who* signed is told by comparing the embedded public key with
keys that the verifier was given beforehand.

References
----------
RFC 7515 section 7.2.2 (flattened JSON), RFC 9864 section 2.2 (Ed25519), RFC 7638 (thumbprints)
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from ..errors import RecordingError

_ALGORITHM = "Ed25519"


@dataclass(frozen=True, slots=True, eq=False)
class VerifyKey:
    """The public half of a recorder's signing key."""

    _key: OKPKey = field(repr=False)

    @classmethod
    def from_jwk(cls, entry: dict[str, Any]) -> VerifyKey:
        """Read a JWK; a private one gives its public half.

        Raises
        ------
        ValueError
            Not an Ed25519 key.
        """
        if entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519":
            raise ValueError("not an Ed25519 key")
        public = {"kty": "OKP", "crv": "Ed25519", "x": entry["x"]}
        return cls(OKPKey.import_key(public))

    @property
    def thumbprint(self) -> str:
        """The RFC 7638 thumbprint, which names the key in reports."""
        return self._key.thumbprint()

    def to_jwk(self) -> dict[str, Any]:
        """Return the key as a JWK."""
        return {**self._key.as_dict(private=False), "use": "sig", "kid": self.thumbprint}


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A recorder's own Ed25519 key."""

    _key: OKPKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a fresh random key."""
        return cls(OKPKey.generate_key("Ed25519"))

    @classmethod
    def from_jwk(cls, entry: dict[str, Any]) -> SigningKey:
        """Read a private JWK.

        Raises
        ------
        ValueError
            Not a private Ed25519 key.
        """
        if entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519" or "d" not in entry:
            raise ValueError("not a private Ed25519 key")
        wanted = {name: entry[name] for name in ("kty", "crv", "x", "d")}
        return cls(OKPKey.import_key(wanted))

    @property
    def public(self) -> VerifyKey:
        """The public half."""
        return VerifyKey.from_jwk(self._key.as_dict(private=False))

    def to_jwk(self) -> dict[str, Any]:
        """Return the private key as a JWK, for the key file alone."""
        return {**self._key.as_dict(private=True), "use": "sig", "kid": self._key.thumbprint()}

    def sign(self, payload: bytes) -> bytes:
        """Return a flattened JSON JWS over the payload, with the public key in its header."""
        public = self._key.as_dict(private=False)
        header = {"alg": _ALGORITHM, "kid": self._key.thumbprint(), "jwk": public}
        signed = jws.serialize_json(
            {"protected": header}, payload, self._key, algorithms=[_ALGORITHM]
        )
        return json.dumps(signed, indent=1).encode() + b"\n"


def is_signed(document: Any) -> bool:
    """Whether a parsed JSON document has the form of a flattened JWS."""
    return isinstance(document, dict) and "signature" in document and "payload" in document


def check_signature(document: dict[str, Any]) -> tuple[bytes, VerifyKey]:
    """Check a JWS with the key that it carries.

    Returns
    -------
    tuple of bytes, VerifyKey
        The payload, and who signed; compare its thumbprint with a pin.

    Raises
    ------
    RecordingError
        It carries no key, or was changed after it was signed.
    """
    try:
        header = json.loads(urlsafe_b64decode(_padded(document["protected"])))
        signer = VerifyKey.from_jwk(header["jwk"])
        flattened: Any = {name: document[name] for name in ("payload", "protected", "signature")}
        checked = jws.deserialize_json(flattened, signer._key, algorithms=[_ALGORITHM])
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise RecordingError("the manifest's signature is wrong") from None
    return checked.payload, signer


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
