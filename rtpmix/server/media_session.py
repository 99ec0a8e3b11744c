"""One leg's media: its port, its session descriptions, and its row in the engine.

SDP bodies in and out (RFC 3264); commands to the media host.  No SIP here.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..config import Config
from ..errors import SdpError
from ..mixer.commands import CloseLeg, OpenLeg, UpdateLeg
from ..rtp.latching import Terms, is_behind_nat
from ..rtp.srtp import MasterKey, StreamKeys
from ..sdp.description import SessionDescription, parse_sdp
from ..sdp.fingerprint import DtlsSecured, finds_peer
from ..sdp.ice import PASSWORD_LENGTH, UFRAG_LENGTH, IceCredentials
from ..sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    Negotiated,
    accept_answer,
    answer_offer,
    make_offer,
)
from ..sdp.security import Encryption, Secured, Security
from ..sdp.stream import COMFORT_NOISE, read_audio
from ..sip.flow import Address, Flow
from ..sip.routing import is_ip_literal
from ..transports import SECURE, WEB
from .dtls import DtlsIdentity, DtlsTerms, is_available
from .local_addresses import address_towards, is_wildcard
from .media_host import MediaHost


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


class MediaSession:
    """The media of one leg, from a reserved port to a closed row.

    Parameters
    ----------
    leg
        The seat number that the leg has in the engine.
    source
        Of SRTP keys.
    certificate
        Makes, or has, the one for DTLS-SRTP.
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
        self._offered: SessionDescription | None = None
        # The peer's offer and what it says, until it is answered: both times are at set-up.
        self._first: tuple[bytes, SessionDescription] | None = None
        self._offered_direction = Direction.SENDRECV
        self._opened = False
        self._source = source
        self._certificate = certificate
        self._security = Security(policy=config.encryption)
        self._previewed = False  # what is in force came before the call's answer
        self.wanted = Direction.SENDRECV  # what we ask for; `hold` narrows it
        self.negotiated: Negotiated | None = None

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
        self._security = Security(policy=chosen, offers=offers, prefers_dtls=prefers, web=web)

    def _prepare(self, *, dtls: bool, keys: bool | None = None) -> None:
        """Have keys and the fingerprint ready where they may be asked for."""
        methods, security = self._config.key_exchange, self._security
        if dtls and security.fingerprint is None and "dtls" in methods and is_available():
            self._security = replace(security, fingerprint=self._certificate().fingerprint)
        if dtls and self._security.ice is None:
            self._security = replace(self._security, ice=self._draw_ice())
        wanted = not dtls if keys is None else keys
        if wanted and "sdes" in methods and not security.keys:
            self.draw_keys()

    def _draw_ice(self) -> IceCredentials:
        characters = string.ascii_letters + string.digits
        drawn = [self._source.choice(characters) for _ in range(UFRAG_LENGTH + PASSWORD_LENGTH)]
        text = "".join(drawn)
        return IceCredentials(text[:UFRAG_LENGTH], text[UFRAG_LENGTH:])

    def draw_keys(self) -> Security:
        """Take new SRTP keys for the next offer or answer; return what was before."""
        former = self._security
        keys = tuple(
            MasterKey.generate(suite, random_bytes=self._source.randbytes)
            for suite in self._config.srtp_suites
        )
        self._security = replace(self._security, keys=keys)
        return former

    def restore_keys(self, former: Security) -> None:
        """Go back to what was before `draw_keys`."""
        self._security = former

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
        remote = next((read_audio(session, media).remote for media in audio), None)
        return None if self._may_learn(remote) else remote

    def offer(self, direction: Direction | None = None) -> bytes:
        """Return an offer: the first one, or a new one within the session."""
        if self._security.may_offer:
            self._prepare(dtls=self._security.prefers_dtls)
        self._version += 1
        self._offered_direction = direction or self.wanted
        local = self._local(self._offered_direction)
        self._offered = make_offer(self._capabilities, local, self.negotiated)
        return self._offered.to_bytes()

    def accept_answer(self, body: bytes) -> None:
        """Put the peer's answer to our last offer in force.

        Raises
        ------
        SdpError
            When the answer is not one to our offer.
        """
        if self._offered is None:
            raise SdpError("an answer came without an offer")
        negotiated = accept_answer(
            self._offered,
            parse_sdp(body),
            self._capabilities,
            must_encrypt=self._must_encrypt,
        )
        self._previewed = False
        self.wanted = self._offered_direction
        self._apply(negotiated)
        self._offered = None

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
        offer, self._first = self._read(body), None
        if self._security.policy is not Encryption.FORBIDDEN:
            self._prepare(dtls=b"a=fingerprint" in body, keys=b"a=crypto" in body)
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
        return self._security.policy is Encryption.REQUIRED or (agreed and not self._previewed)

    def _local(self, direction: Direction) -> LocalMedia:
        if self._address is None:
            raise SdpError("no port has been reserved for this leg", status_hint=500)
        return LocalMedia(
            address=self._address[0],
            port=self._address[1],
            session_id=self._session_id,
            version=self._version,
            direction=direction,
            security=self._security,
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
            self._host.secure(self._leg, self._keys(negotiated.secured))

    def _keys(self, secured: Secured | DtlsSecured | None) -> StreamKeys | DtlsTerms | None:
        if isinstance(secured, DtlsSecured):
            ours = self._certificate()
            return DtlsTerms(ours, secured.theirs, secured.is_client, secured.ice)
        return secured.keys if secured is not None else None

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
