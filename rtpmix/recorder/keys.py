"""Who may read a capture: wrapping keys, the key file, and the sealed `keys.jwe`.

A capture's SRTP keys are random and live in its `keys.jwe` only, encrypted once (A256GCM) and
wrapped for each recipient: with a shared key-encryption key (A256KW), or for a public key alone
(ECDH-ES+A256KW).  With public recipients only, the recorder can't read what it wrote.

The key file is a JWK Set: the key-encryption key, the private keys of public recipients where the
machine may read captures, and the Ed25519 key that seals manifests.

References
----------
RFC 7516 section 7.2.1 (General JSON), RFC 7517 section 5 (JWK Set), RFC 3394 (key wrap),
RFC 8037 (X25519, Ed25519)
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey

from ..errors import RecordingError, UsageError
from .durable import create_durably
from .signing import SigningKey, VerifyKey

WRAP = "A256KW"
AGREE = "ECDH-ES+A256KW"
_REGISTRY = jwe.JWERegistry(algorithms=[WRAP, AGREE, "A256GCM"])
_JSON = "application/json"

_Jwk: TypeAlias = OctKey | ECKey | OKPKey


class KeysTamperedError(RecordingError):
    """A `keys.jwe` that was changed after it was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipients:
    """The keys of one recorder: who may open its captures, and who signs for them.

    Build it with `generate_key`, `load_key` or `Recipients.of`; the keys themselves never show
    in `repr`, logs or errors.
    """

    _wrapping: tuple[_Jwk, ...] = field(repr=False)
    signing_key: SigningKey | None = field(repr=False, default=None)
    trusted: tuple[VerifyKey, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, kek: bytes | None = None, *, sign: bool = True) -> Recipients:
        """Make recipients from a 32-byte key-encryption key, or from a fresh random one.

        Raises
        ------
        UsageError
            The key is not 32 bytes long.
        """
        if kek is not None and len(kek) != 32:
            raise UsageError(f"a key-encryption key has 32 bytes, not {len(kek)}: A256KW needs 256")
        key = OctKey.generate_key(256) if kek is None else OctKey.import_key(kek)
        signer = SigningKey.generate() if sign else None
        trusted = (signer.public,) if signer is not None else ()
        return cls((key,), signer, trusted)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The RFC 7638 thumbprint of each wrapping key."""
        return tuple(key.thumbprint() for key in self._wrapping)

    @property
    def can_read(self) -> bool:
        """Whether any of the keys opens a capture: false when all are public keys."""
        return any(key.is_private for key in self._wrapping)

    def public_only(self) -> Recipients:
        """Return the same recipients and seal, able to write captures but not to read them.

        Raises
        ------
        UsageError
            A shared key-encryption key has no public half.
        """
        publics: list[_Jwk] = []
        for key in self._wrapping:
            if isinstance(key, OctKey):
                raise UsageError(
                    "a key-encryption key is shared, it has no public half: "
                    "make an X25519 recipient with generate_key(public=True)"
                )
            publics.append(type(key).import_key(key.as_dict(private=False)))
        return Recipients(tuple(publics), self.signing_key, self.trusted)

    def seal(self, content: Mapping[str, Any]) -> bytes:
        """Encrypt the content of `keys.jwe` for every recipient (JWE General JSON)."""
        plain = json.dumps(content, separators=(",", ":")).encode()
        sealed = jwe.GeneralJSONEncryption({"enc": "A256GCM", "cty": _JSON}, plain)
        for key in self._wrapping:
            algorithm = WRAP if isinstance(key, OctKey) else AGREE
            sealed.add_recipient({"alg": algorithm, "kid": key.thumbprint()}, key)
        return json.dumps(jwe.encrypt_json(sealed, None, registry=_REGISTRY), indent=1).encode()

    def open(self, data: bytes, *, path: Path | None = None) -> dict[str, Any]:
        """Decrypt a `keys.jwe`.

        Raises
        ------
        KeysTamperedError
            Not a JWE, or it was changed.
        RecordingError
            None of these keys is a recipient.
        """
        try:
            sealed = json.loads(data)
            recipients = sealed["recipients"]
            by_id = {entry["header"]["kid"]: entry for entry in recipients}
        except (ValueError, KeyError, TypeError) as exc:
            raise KeysTamperedError(
                "keys.jwe is not a JWE in General JSON form", path=path
            ) from exc
        for key in self._wrapping:
            entry = by_id.get(key.thumbprint())
            if entry is None or not key.is_private:
                continue
            try:
                # One recipient at a time: a key of another kind ends joserfc's loop over them.
                alone: Any = {**sealed, "recipients": [entry]}
                opened = jwe.decrypt_json(alone, key, registry=_REGISTRY)
                content: dict[str, Any] = json.loads(opened.plaintext or b"")
            except (JoseError, ValueError, KeyError, TypeError):
                raise KeysTamperedError("keys.jwe does not authenticate", path=path) from None
            return content
        raise RecordingError("none of these keys is a recipient of keys.jwe", path=path)


def generate_key(path: Path, *, public: bool = False) -> Recipients:
    """Create a key file, readable by its owner only, with a wrapping key and a signing key.

    Parameters
    ----------
    path
        Must not exist: a key that is overwritten makes its captures unreadable for ever.
    public
        Make an X25519 pair instead of a shared key; `Recipients.public_only` of it can then
        write captures that it can't read.

    Raises
    ------
    RecordingError
        The file exists or can't be written.
    """
    wrapping: _Jwk = OKPKey.generate_key("X25519") if public else OctKey.generate_key(256)
    signer = SigningKey.generate()
    wrapping_jwk = {**wrapping.as_dict(private=True), "use": "enc", "kid": wrapping.thumbprint()}
    document = {"keys": [wrapping_jwk, signer.to_jwk()]}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_durably(path, json.dumps(document, indent=1).encode() + b"\n")
    except FileExistsError as exc:
        raise RecordingError(f"{path} exists already; it was not touched", path=path) from exc
    except OSError as exc:
        raise RecordingError(f"can't write {path}: {exc.strerror}", path=path) from exc
    return Recipients((wrapping,), signer, (signer.public,))


def load_key(path: Path) -> Recipients:
    """Read a key file (JWK Set), or a pin file that holds only the public signing key.

    Raises
    ------
    RecordingError
        Not there, not a JWK Set, or private and readable by others.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        document = json.loads(path.read_bytes())
        entries = [dict(entry) for entry in document["keys"]]
    except OSError as exc:
        raise RecordingError(f"can't read {path}: {exc.strerror}", path=path) from exc
    except (ValueError, KeyError, TypeError):
        raise RecordingError(f"{path} is not a JWK Set", path=path) from None
    if mode & 0o077 and any("k" in entry or "d" in entry for entry in entries):
        raise RecordingError(
            f"{path} can be read by others (mode {mode:o}): chmod 600 it, "
            "and make new keys if it was ever exposed",
            path=path,
        )
    try:
        return _recipients_from(entries)
    except (JoseError, ValueError, KeyError, TypeError):
        raise RecordingError(f"{path} holds a key that can't be used", path=path) from None


def load_or_make_key(path: Path) -> Recipients:
    """Load the key file, or create it where there is none."""
    return load_key(path) if path.exists() else generate_key(path)


def write_pin(path: Path, keys: Recipients) -> None:
    """Write the public signing keys to a file that `load_key` reads, for a verifier elsewhere.

    Raises
    ------
    RecordingError
        The file can't be written.
    UsageError
        There is no signing key to pin.
    """
    if not keys.trusted:
        raise UsageError("these recipients have no signing key to pin")
    document = {"keys": [key.to_jwk() for key in keys.trusted]}
    try:
        path.write_bytes(json.dumps(document, indent=1).encode() + b"\n")
    except OSError as exc:
        raise RecordingError(f"can't write {path}: {exc.strerror}", path=path) from exc


def _recipients_from(entries: list[dict[str, Any]]) -> Recipients:
    wrapping: list[_Jwk] = []
    signer: SigningKey | None = None
    trusted: list[VerifyKey] = []
    for entry in entries:
        if entry.get("use") == "sig":
            if "d" in entry:
                signer = SigningKey.from_jwk(entry)
            trusted.append(VerifyKey.from_jwk(entry))
        elif entry["kty"] == "oct":
            wrapping.append(OctKey.import_key(entry))
        elif entry["kty"] == "EC":
            wrapping.append(ECKey.import_key(entry))
        else:
            wrapping.append(OKPKey.import_key(entry))
    return Recipients(tuple(wrapping), signer, tuple(trusted))
