"""What one leg has to keep secret: its SRTP keys and its ICE password, and what it is ready for.

A key of ours is drawn before it is needed, and never taken up again once it was left: packet
counters begin anew under what looks like a new key, and the same counter under the same key would
encrypt two packets alike.

References
----------
RFC 3711 section 9.1 (two packets under one key stream)
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import replace

from ..config import Config
from ..rtp.srtp import MasterKey, StreamKeys
from ..sdp.fingerprint import DtlsSecured
from ..sdp.ice import PASSWORD_LENGTH, UFRAG_LENGTH, IceCredentials
from ..sdp.security import Encryption, Secured, Security
from ..sip.flow import Flow
from ..transports import SECURE, WEB
from .dtls import DtlsIdentity, DtlsTerms, is_available


class MediaSecrets:
    """The secrets of one leg.

    Parameters
    ----------
    source
        Of keys and passwords.
    certificate
        Makes, or has, the one for DTLS-SRTP.

    Attributes
    ----------
    security
        What the leg is ready for, for offers and answers.
    """

    def __init__(
        self, config: Config, source: random.Random, certificate: Callable[[], DtlsIdentity]
    ) -> None:
        self._config = config
        self._source = source
        self._certificate = certificate
        self.security = Security(policy=config.encryption)

    def encrypt(self, policy: Encryption | None, flow: Flow) -> None:
        """Say before the first offer or answer how the leg is to be encrypted.

        Parameters
        ----------
        policy
            In place of `Config.encryption`.
        flow
            The way of its signalling. Where others can read that, keys in it hide nothing: under
            an optional policy none are offered. By WebSocket it is a browser's.
        """
        chosen = policy or self._config.encryption
        methods = self._config.key_exchange
        web = flow.transport in WEB and "dtls" in methods and is_available()
        prefers = web or methods[0] == "dtls"
        offers = prefers or flow.transport in SECURE
        self.security = Security(policy=chosen, offers=offers, prefers_dtls=prefers, web=web)

    def prepare(self, *, dtls: bool, keys: bool | None = None) -> None:
        """Have keys and the fingerprint ready where they may be asked for."""
        methods, security = self._config.key_exchange, self.security
        if dtls and security.fingerprint is None and "dtls" in methods and is_available():
            self.security = replace(security, fingerprint=self._certificate().fingerprint)
        if dtls and self.security.ice is None:
            self.security = replace(self.security, ice=self._draw_ice())
        wanted = not dtls if keys is None else keys
        if wanted and "sdes" in methods and not security.keys:
            self.draw_keys()

    def prepare_ice(self) -> None:
        """Have other ICE credentials ready for a peer that may begin ICE anew."""
        self.security = replace(self.security, fresh_ice=self._draw_ice())

    def draw_keys(self) -> Security:
        """Take new SRTP keys for the next offer or answer; return what was before."""
        former = self.security
        keys = tuple(map(self._draw_key, self._config.srtp_suites))
        self.security = replace(self.security, keys=keys)
        return former

    def restore(self, former: Security) -> None:
        """Go back to what was before `draw_keys`."""
        self.security = former

    def agree(self, left: Secured | DtlsSecured | None, taken: object) -> None:
        """Take note of what is in force now, and was before.

        For a suite that was left there is another key, should it be agreed on again.
        """
        if isinstance(taken, DtlsSecured) and taken.ice is not None:
            self.security = replace(self.security, ice=taken.ice)
        if not isinstance(left, Secured):
            return
        if isinstance(taken, Secured) and taken.ours == left.ours:
            return
        keys = tuple(
            self._draw_key(key.suite.name) if key == left.ours else key
            for key in self.security.keys
        )
        self.security = replace(self.security, keys=keys)

    def of(self, secured: Secured | DtlsSecured | None) -> StreamKeys | DtlsTerms | None:
        """Return what the media host has to know of what was agreed."""
        if isinstance(secured, DtlsSecured):
            ours = self._certificate()
            return DtlsTerms(ours, secured.theirs, secured.is_client, secured.ice)
        return secured.keys if secured is not None else None

    def _draw_key(self, suite: str) -> MasterKey:
        return MasterKey.generate(suite, random_bytes=self._source.randbytes)

    def _draw_ice(self) -> IceCredentials:
        characters = string.ascii_letters + string.digits
        drawn = [self._source.choice(characters) for _ in range(UFRAG_LENGTH + PASSWORD_LENGTH)]
        text = "".join(drawn)
        return IceCredentials(text[:UFRAG_LENGTH], text[UFRAG_LENGTH:])
