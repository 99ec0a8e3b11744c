"""One leg's media: its port, its session descriptions, and its row in the engine.

SDP bodies in and out (RFC 3264); commands to the media host.  No SIP here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..config import Config
from ..errors import SdpError
from ..mixer.commands import CloseLeg, OpenLeg, UpdateLeg
from ..rtp.latching import Terms, is_behind_nat
from ..sdp.description import SessionDescription, parse_sdp
from ..sdp.fingerprint import DtlsSecured, finds_peer
from ..sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    Negotiated,
    accept_answer,
    answer_offer,
    make_offer,
)
from ..sdp.security import Encryption
from ..sdp.stream import COMFORT_NOISE, remote_of
from ..sip.flow import Address
from ..sip.routing import is_ip_literal
from .dtls import DtlsIdentity
from .local_addresses import address_towards, is_wildcard
from .media_host import MediaHost
from .media_secrets import MediaSecrets


@dataclass(frozen=True, slots=True)
class RtpIdentity:
    """What our RTP stream to one leg is known by, for the leg's whole life (RFC 3550)."""

    ssrc: int
    first_sequence: int
    first_timestamp: int
    cname: str

    @classmethod
    def draw(cls, source: random.Random) -> RtpIdentity:
        """Draw an identity; the sequence starts low enough not to wrap at once (RFC 3711 3.3.1)."""
        return cls(
            ssrc=source.randrange(1, 1 << 32),
            first_sequence=source.randrange(1 << 15),
            first_timestamp=source.randrange(1 << 32),
            cname=f"{source.getrandbits(96):024x}@rtpmix",  # RFC 7022 section 4.2
        )


def media_address_of(description: SessionDescription) -> str | None:
    """Return the address of the first audio stream; None where it is a name, or missing."""
    streams = [media for media in description.media if media.kind == "audio"]
    connection = (streams[0].connection if streams else None) or description.connection
    if connection is None:
        return None
    return connection.address if is_ip_literal(connection.address) else None


@dataclass(frozen=True, slots=True)
class _Offer:
    """One of ours that waits for its answer."""

    said: SessionDescription
    direction: Direction


class MediaSession:
    """The media of one leg, from a reserved port to a closed row.

    Parameters
    ----------
    leg
        The seat number that the leg has in the engine.
    source, certificate
        See `MediaSecrets`.

    Attributes
    ----------
    secrets
        What the leg encrypts with, or is ready to.
    """

    def __init__(
        self,
        host: MediaHost,
        config: Config,
        leg: int,
        identity: RtpIdentity,
        session_id: int,
        source: random.Random,
        certificate: Callable[[], DtlsIdentity],
    ) -> None:
        self._host = host
        self._config = config
        self._leg = leg
        self._identity = identity
        self._capabilities = Capabilities(
            codecs=config.codecs, offers_comfort_noise=config.comfort_noise
        )
        self._session_id = session_id
        self._version = 0
        self._address: Address | None = None
        self._peer_host = ""
        # Both may wait at once: a program offers while a peer's ACK is on its way.
        self._offered: _Offer | None = None  # in a request of ours
        self._offered_late: _Offer | None = None  # in a response: its answer comes in the ACK
        # The peer's offer and what it says, until it is answered: both times are at set-up.
        self._first: tuple[bytes, SessionDescription] | None = None
        self._opened = False
        self.secrets = MediaSecrets(config, source, certificate)
        self._previewed = False  # what is in force came before the call's answer
        self.wanted = Direction.SENDRECV  # what we ask for; `hold` narrows it
        self.negotiated: Negotiated | None = None

    async def reserve(self, peer: Address, offer: bytes = b"") -> None:
        """Take a port pair for media to and from a peer.

        Parameters
        ----------
        peer
            Where its signalling is; decides which of this machine's addresses is announced.
        offer
            Its session description: media may be on IPv6 where signalling is not, and the other
            way round.

        Raises
        ------
        CapacityError
            When no pair is left.
        SdpError
            When the offer can't be read.
        """
        self._peer_host = peer[0]
        offered = None
        if offer and (b"c=IN IP6" in offer) != (":" in peer[0]):  # else there is no doubt
            offered = media_address_of(self._read(offer))
        host, port = await self._host.reserve(
            self._leg,
            ipv6=":" in (offered or peer[0]),
            remote=self._signalled(offer) if self._config.legs_per_port > 1 else None,
        )
        if is_wildcard(host):
            towards = offered if offered is not None and not is_wildcard(offered) else peer[0]
            if (":" in towards) != (":" in host):
                towards = peer[0]
            host = address_towards((towards, peer[1]))
        self._address = (host, port)

    def _read(self, offer: bytes) -> SessionDescription:
        """Read an offer, or return what it was found to say before."""
        if self._first is None or self._first[0] != offer:
            self._first = offer, parse_sdp(offer)
        return self._first[1]

    def _signalled(self, offer: bytes) -> Address | None:
        """Return where an offer says that audio comes from; None where it does not say."""
        # For DTLS and ICE a leg has a port of its own: handshakes and checks come there.
        if not offer or b"a=fingerprint" in offer:
            return None
        session = self._read(offer)
        audio = (media for media in session.media if media.kind == "audio" and media.port)
        remote = next((remote_of(session, media) for media in audio), None)
        return None if self._may_learn(remote) else remote

    def offer(self, direction: Direction | None = None, *, late: bool = False) -> bytes:
        """Return an offer: the first one, or a new one within the session.

        Parameters
        ----------
        late
            It goes into a response; see `accept_late_answer`.
        """
        if self.secrets.security.may_offer:
            self.secrets.prepare(dtls=self.secrets.security.prefers_dtls)
        self._version += 1
        wanted = direction or self.wanted
        said = make_offer(self._capabilities, self._local(wanted), self.negotiated)
        if late:
            self._offered_late = _Offer(said, wanted)
        else:
            self._offered = _Offer(said, wanted)
        return said.to_bytes()

    def accept_answer(self, body: bytes) -> None:
        """Put the peer's answer to the last offer in a request of ours in force.

        Raises
        ------
        SdpError
            When the answer is not one to our offer.
        """
        if self._offered is None:
            raise SdpError("an answer came without an offer")
        self._accept(self._offered, body)
        self._offered = None

    def accept_late_answer(self, body: bytes) -> None:
        """Put the answer in force that an ACK or a PRACK brings; none is due: pass it over.

        Raises
        ------
        SdpError
            When it is not one to our offer.
        """
        late, self._offered_late = self._offered_late, None
        if late is not None:
            self._accept(late, body)

    def _accept(self, offer: _Offer, body: bytes) -> None:
        negotiated = accept_answer(
            offer.said, parse_sdp(body), self._capabilities, must_encrypt=self._must_encrypt
        )
        self._previewed = False
        self.wanted = offer.direction
        self._apply(negotiated)

    def preview(self, body: bytes) -> None:
        """Put an answer in force that comes before the call's, and may not be the last one.

        Raises
        ------
        SdpError
            When it is not one to our offer.
        """
        offered = self._offered
        self.accept_answer(body)
        self._offered, self._previewed = offered, True

    def answer(self, body: bytes) -> bytes:
        """Answer the peer's offer and put the result in force.

        Raises
        ------
        SdpError
            Nothing in common (``status_hint`` 488); the session stays as it was.
        """
        offer, self._first, self._offered_late = self._read(body), None, None
        if self.secrets.security.policy is not Encryption.FORBIDDEN:
            self.secrets.prepare(dtls=b"a=fingerprint" in body, keys=b"a=crypto" in body)
            if self.negotiated is not None and b"a=ice-ufrag" in body:
                self.secrets.prepare_ice()
        self._version += 1
        description, negotiated = answer_offer(
            offer, self._capabilities, self._local(self.wanted), self.negotiated
        )
        self._apply(negotiated)
        return description.to_bytes()

    @property
    def held_by_peer(self) -> bool:
        """True when the peer does not want to hear us: we may not send."""
        return self.negotiated is not None and not self.negotiated.direction.sends

    def close(self) -> None:
        """Free the row, or, when there never was one, the ports."""
        if self._opened:
            self._host.submit(CloseLeg(self._leg))
        else:
            self._host.release(self._leg)

    @property
    def opened(self) -> bool:
        """True once the engine has a row for the leg."""
        return self._opened

    @property
    def _must_encrypt(self) -> bool:
        """By policy, or since the call is encrypted: what is agreed is never taken back."""
        agreed = self.negotiated is not None and self.negotiated.secured is not None
        return self.secrets.security.policy is Encryption.REQUIRED or (
            agreed and not self._previewed
        )

    def _local(self, direction: Direction) -> LocalMedia:
        if self._address is None:
            raise SdpError("no port has been reserved for this leg", status_hint=500)
        return LocalMedia(
            address=self._address[0],
            port=self._address[1],
            session_id=self._session_id,
            version=self._version,
            direction=direction,
            security=self.secrets.security,
        )

    def _apply(self, negotiated: Negotiated) -> None:
        before, self.negotiated = self.negotiated, negotiated
        sends, receives = negotiated.direction.sends, negotiated.direction.receives
        found = finds_peer(negotiated.secured, mux=negotiated.rtcp_mux)
        sends = sends and (found or negotiated.remote is not None)
        if not self._opened:
            self._host.submit(self._open(negotiated, sends=sends, receives=receives))
            self._opened = True
        else:
            self._host.submit(
                UpdateLeg(
                    leg=self._leg,
                    codec=negotiated.codec,
                    payload_type=negotiated.payload_type,
                    payload_type_in=negotiated.receive_payload_type,
                    fmtp=negotiated.fmtp,
                    dtmf_payload_type=negotiated.dtmf_payload_type,
                    dtmf_payload_type_in=negotiated.receive_dtmf_payload_type,
                    dtmf_clock_hz=negotiated.dtmf_clock_hz,
                    noise_payload_type=self._noise(negotiated),
                    sends=sends,
                    receives=receives,
                    reduced_rtcp=negotiated.reduced_rtcp,
                )
            )
        # Before the peer is known to the network, so that nothing in the clear gets through.
        self._secure(before, negotiated)
        remote = negotiated.remote
        rtcp, mux = negotiated.remote_rtcp, negotiated.rtcp_mux
        self._host.connect(self._leg, remote, rtcp, mux, self._terms(negotiated))

    def _terms(self, negotiated: Negotiated) -> Terms | None:
        """Return on which terms media may come from elsewhere than was signalled."""
        # With DTLS, and the ICE that goes with it, checks and handshakes say where the peer is.
        if isinstance(negotiated.secured, DtlsSecured) or not self._may_learn(negotiated.remote):
            return None
        assert negotiated.remote is not None
        types = {negotiated.receive_payload_type, negotiated.receive_dtmf_payload_type}
        if negotiated.comfort_noise:
            types.add(COMFORT_NOISE.payload_type)
        return Terms(
            hosts=frozenset((negotiated.remote[0], self._peer_host)),
            payload_types=frozenset(each for each in types if each is not None),
            own_ssrc=self._identity.ssrc,
            opens=negotiated.direction.receives,
        )

    def _may_learn(self, remote: Address | None) -> bool:
        wanted = self._config.media_latching
        if remote is None or wanted == "never":
            return False
        return wanted == "always" or is_behind_nat(remote[0], self._peer_host)

    def _noise(self, negotiated: Negotiated) -> int | None:
        wanted = self._config.comfort_noise and negotiated.comfort_noise
        return COMFORT_NOISE.payload_type if wanted else None

    def _secure(self, before: Negotiated | None, negotiated: Negotiated) -> None:
        was = before.secured if before is not None else None
        if negotiated.secured != was:
            self._host.secure(self._leg, self.secrets.of(negotiated.secured))
            self.secrets.agree(was, negotiated.secured)

    def _open(self, negotiated: Negotiated, *, sends: bool, receives: bool) -> OpenLeg:
        return OpenLeg(
            leg=self._leg,
            codec=negotiated.codec,
            payload_type=negotiated.payload_type,
            payload_type_in=negotiated.receive_payload_type,
            fmtp=negotiated.fmtp,
            dtmf_payload_type=negotiated.dtmf_payload_type,
            dtmf_payload_type_in=negotiated.receive_dtmf_payload_type,
            dtmf_clock_hz=negotiated.dtmf_clock_hz,
            noise_payload_type=self._noise(negotiated),
            ssrc=self._identity.ssrc,
            first_sequence=self._identity.first_sequence,
            first_timestamp=self._identity.first_timestamp,
            cname=self._identity.cname,
            sends=sends,
            receives=receives,
            reduced_rtcp=negotiated.reduced_rtcp,
            jitter_ms=self._config.jitter_ms,
            media_timeout_ms=round(self._config.media_timeout_s * 1000),
            extended_reports=self._config.extended_reports,
        )
