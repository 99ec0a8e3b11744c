"""Offer and answer of a test phone: what it says in SDP, and what its media then does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from ..rtp.srtp import MasterKey
from ..sdp.description import SessionDescription, parse_sdp
from ..sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    Negotiated,
    accept_answer,
    answer_offer,
    make_offer,
)
from ..sdp.security import IN_THE_CLEAR, Encryption, Security
from ..server.dtls import DtlsIdentity
from .phone_media import PhoneMedia


@dataclass(frozen=True, slots=True)
class PhoneTerms:
    """What a phone brings to every call; see `TonePhone` for what each of them means."""

    codecs: tuple[str, ...]
    encryption: Encryption
    suites: tuple[str, ...]
    dtls: bool
    comfort_noise: bool

    async def begin(self, cname: str, host: str, source: Random, keep: int | None) -> PhoneSession:
        """Open ports for media on a host, and draw what only this call has: its keys, its ID."""
        media = PhoneMedia(source, cname, keep)
        await media.open(host)
        session_id, security = source.getrandbits(31), IN_THE_CLEAR
        if self.encryption is not Encryption.FORBIDDEN and self.dtls:
            media.certificate = made = DtlsIdentity.generate()
            said = made.fingerprint
            security = Security(policy=self.encryption, fingerprint=said, prefers_dtls=True)
        elif self.encryption is not Encryption.FORBIDDEN:
            draw = source.randbytes
            keys = (MasterKey.generate(suite, random_bytes=draw) for suite in self.suites)
            security = Security(policy=self.encryption, keys=tuple(keys))
        return PhoneSession(
            media, self.codecs, session_id, security, comfort_noise=self.comfort_noise
        )


class PhoneSession:
    """The session of one call. Everything raises SdpError for what the other side wrote."""

    def __init__(
        self,
        media: PhoneMedia,
        codecs: tuple[str, ...],
        session_id: int,
        security: Security = IN_THE_CLEAR,
        *,
        comfort_noise: bool = False,
    ) -> None:
        self.media = media
        self.agreed: Negotiated | None = None
        self._capabilities = Capabilities(
            codecs=codecs, comfort_noise=comfort_noise, offers_comfort_noise=comfort_noise
        )
        self._local = LocalMedia(
            address=media.address[0],
            port=media.address[1],
            session_id=session_id,
            version=1,
            security=security,
        )
        self._offer: SessionDescription | None = None  # ours, that waits for its answer

    def offer(self, *, listen_only: bool = False) -> bytes:
        """Offer everything the phone can, or only to listen."""
        if listen_only:
            self._local = replace(self._local, direction=Direction.RECVONLY)
        self._offer = make_offer(self._capabilities, self._local, self.agreed)
        return self._offer.to_bytes()

    def reoffer(self, *, held: bool) -> bytes:
        """Offer to hold, or to go on (RFC 3264 section 8.4)."""
        self._local = self._local.revised(Direction.SENDONLY if held else Direction.SENDRECV)
        return self.offer()

    def accept_answer(self, body: bytes) -> None:
        """Take the answer to our offer."""
        if self._offer is not None:
            answer = parse_sdp(body)
            must = self._local.security.policy is Encryption.REQUIRED
            agreed = accept_answer(self._offer, answer, self._capabilities, must_encrypt=must)
            self._agree(agreed)
            self._offer = None

    def accept_late_answer(self, body: bytes) -> None:
        """Take the answer that an ACK carried; nothing if none is due."""
        if self._offer is not None:
            self.accept_answer(body)

    def answer_offer(self, body: bytes) -> bytes:
        """Return the answer to an offer; without an offer, an offer of ours."""
        if not body:
            if self.agreed is not None:
                self._local = self._local.revised()
            return self.offer()
        if self.agreed is not None:
            self._local = self._local.revised()
        answer, agreed = answer_offer(parse_sdp(body), self._capabilities, self._local, self.agreed)
        self._agree(agreed)
        return answer.to_bytes()

    def close(self) -> None:
        """End the media."""
        self.media.close()

    def _agree(self, agreed: Negotiated) -> None:
        self.agreed = agreed
        self.media.agree(agreed)
