"""Offer and answer over one audio stream and its telephone events.

Pure functions: a description in, a description and what was agreed out.  The caller keeps the
last `Negotiated` of a session and hands it back, because later offers must keep the number and
order of the ``m=`` lines and the meaning of every dynamic payload type (RFC 3264 section 8).

One codec may have two payload type numbers: those in a description are the ones that its author
wants to *receive* (RFC 3264 section 5.1).

References
----------
RFC 3264, RFC 6337
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..audio.codecs import CODECS
from ..errors import SdpError, UsageError
from .description import (
    Attribute,
    MediaDescription,
    RtpMap,
    SessionDescription,
)
from .fingerprint import DtlsSecured, finds_peer, ice_of
from .formats import formats_to_offer, merged
from .ice import NO_PATH, OFFERED, Path, read_ice
from .refusal import NegotiationError, warning_for
from .security import (
    PLAIN,
    Encryption,
    Secured,
    accept_security,
    answer_security,
    encrypted_first,
    profile_to_offer,
)
from .stream import (
    CLOCK_HZ,
    COMFORT_NOISE,
    MAX_PTIME_MS,
    Address,
    AudioStream,
    Direction,
    named,
    read_audio,
)
from .texts import ip_literal
from .writing import LocalMedia, describe, write_audio

__all__ = [
    "Capabilities",
    "Direction",
    "LocalMedia",
    "Negotiated",
    "NegotiationError",
    "accept_answer",
    "answer_offer",
    "make_offer",
    "warning_for",
]

_PROTOCOL = PLAIN[0]
_REDUCED = [Attribute("rtcp-rsize")]  # RFC 5506 section 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this side can do: codecs in order of preference, and extras."""

    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    ptime_ms: int = 20
    dtmf: bool = True
    rtcp_mux: bool = False
    comfort_noise: bool = True  # understood: agreed to where it is offered
    offers_comfort_noise: bool = False

    def __post_init__(self) -> None:
        if not self.codecs or not set(self.codecs) <= CODECS.keys():
            raise UsageError(f"codecs {self.codecs} must be one or more of {', '.join(CODECS)}")
        if not 1 <= self.ptime_ms <= MAX_PTIME_MS:
            raise UsageError(f"ptime_ms {self.ptime_ms} must be 1 to {MAX_PTIME_MS}")

    def formats(self, previous: Negotiated | None) -> list[RtpMap]:
        """Return all formats to offer, the codec in use first."""
        noise = self.comfort_noise and self.offers_comfort_noise
        return formats_to_offer(self.codecs, previous, noise=noise, dtmf=self.dtmf)


@dataclass(frozen=True, slots=True)
class StreamSlot:
    """One ``m=`` line of a session: later descriptions keep it in its place."""

    kind: str
    protocol: str
    formats: tuple[str, ...]

    @classmethod
    def of(cls, media: MediaDescription) -> StreamSlot:
        """Return the slot that a stream takes."""
        return cls(media.kind, media.protocol, media.formats)

    def refused(self) -> MediaDescription:
        """Return the line with port 0 (RFC 3264 section 6)."""
        return MediaDescription(self.kind, 0, self.protocol, self.formats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """What an offer and its answer agreed on, seen from here.

    ``remote`` is None where nothing may be sent: ``c=0.0.0.0`` (RFC 3264 section 8.4), a stream
    switched off with port 0, or a host name, which is never resolved.  ``direction`` is what to
    do: under ``c=0.0.0.0`` it never sends, whatever the attributes say (RFC 6337 section 5.4).
    """

    codec: str  # a name of `audio.codecs.CODECS`
    payload_type: int  # on the packets that we send
    fmtp: str = ""  # what the peer says of the codec that it would like to get
    dtmf_payload_type: int | None = None  # on the events that we send; None: the peer takes none
    ptime_ms: int = 20  # how much audio the peer would like in a packet
    direction: Direction = Direction.SENDRECV
    remote: Address | None = None
    remote_rtcp: Address | None = None
    rtcp_mux: bool = False
    reduced_rtcp: bool = False  # reports may come alone (RFC 5506)
    receive_payload_type: int  # on the packets that the peer sends; nearly always the same
    receive_dtmf_payload_type: int | None = None
    dtmf_clock_hz: int = CLOCK_HZ
    numbers: tuple[RtpMap, ...] = field(default=(), repr=False)  # what they mean in this session
    comfort_noise: bool = False  # both sides take it, as payload type 13
    slots: tuple[StreamSlot, ...] = field(default=(), repr=False)
    index: int = 0  # which m= line is the audio
    protocol: str = _PROTOCOL
    secured: Secured | DtlsSecured | None = None  # None: in the clear
    path: Path = NO_PATH

    @property
    def held(self) -> bool:
        """True where the peer takes no audio from us."""
        return not self.direction.sends


def make_offer(
    capabilities: Capabilities, local: LocalMedia, previous: Negotiated | None = None
) -> SessionDescription:
    """Offer everything we can do; with `previous`, as a change to that session.

    References
    ----------
    RFC 3264 sections 5 and 8; RFC 6337 section 5.1
    """
    formats, mux = capabilities.formats(previous), capabilities.rtcp_mux
    protocol, keys = profile_to_offer(
        local.security,
        previous.protocol if previous else None,
        previous.secured if previous else None,
    )
    if previous is not None:
        path, ice = previous.path, ice_of(previous.secured)
    else:
        ice = local.security.ice if any(key.name == "fingerprint" for key in keys) else None
        path = OFFERED if ice is not None else NO_PATH
    keys += _REDUCED if (previous.reduced_rtcp if previous else ice is not None) else []
    keys += path.stream_says(ice, local.address, local.port)
    ptime_ms = capabilities.ptime_ms
    audio = write_audio(local, local.direction, formats, ptime_ms, mux, protocol, keys)
    media = [slot.refused() for slot in previous.slots] if previous else []
    index = previous.index if previous else 0
    media[index : index + 1] = [audio]
    return describe(local, media, session=path.session_says(ice))


def answer_offer(
    offer: SessionDescription,
    capabilities: Capabilities,
    local: LocalMedia,
    current: Negotiated | None = None,
) -> tuple[SessionDescription, Negotiated]:
    """Answer with the first audio stream that we can serve; every other one is refused.

    Parameters
    ----------
    current
        What the session agreed on before, if this is a re-offer.  Only then may the offer switch
        the audio off (port 0, or no audio stream at all).

    Raises
    ------
    NegotiationError
        Nothing in common, `status_hint` 488.
    SdpError
        An audio stream without ``c=``, `status_hint` 400.

    References
    ----------
    RFC 3264 sections 6 and 8; RFC 6337 section 5
    """
    slots = tuple(StreamSlot.of(media) for media in offer.media)
    answers = [slot.refused() for slot in slots]
    if current is not None and not any(_is_wanted_audio(media) for media in offer.media):
        return describe(local, answers, offer.times), _switched_off(current, offer, slots)
    index, stream, codec, secured = _choose_stream(offer, capabilities, local, current)
    said = _meet(local.direction, stream.direction)
    events = stream.events_of(codec.clock_hz) if capabilities.dtmf else None
    # One DTLS handshake is for one port: RTCP belongs on it (RFC 5764 section 4.1).
    mux = (capabilities.rtcp_mux or isinstance(secured, DtlsSecured)) and stream.rtcp_mux
    noise = capabilities.comfort_noise and stream.takes_noise and codec.clock_hz == CLOCK_HZ
    formats = [codec, *([COMFORT_NOISE] if noise else [])]
    formats += [events] if events is not None else []
    path = Path.of(offer, offer.media[index])
    if isinstance(secured, DtlsSecured) and current and path.theirs != current.path.theirs:
        secured = secured.with_ice(local.security.fresh_ice)  # RFC 8445 section 9
    protocol, keys = slots[index].protocol, secured.attributes() if secured is not None else []
    keys += path.stream_says(ice_of(secured), local.address, local.port)
    keys += _REDUCED if stream.reduced_rtcp else []
    ptime_ms = capabilities.ptime_ms
    answers[index] = write_audio(local, said, formats, ptime_ms, mux, protocol, keys)
    agreed = _agree(stream, codec, said, capabilities, slots, index, events=events, mux=mux)
    agreed = _checked(agreed, said, secured)
    numbers = merged(current.numbers if current is not None else (), stream.numbers, formats)
    agreed = replace(
        agreed, protocol=protocol, secured=secured, path=path, comfort_noise=noise, numbers=numbers
    )
    return describe(local, answers, offer.times, path.session_says(ice_of(secured))), agreed


def accept_answer(
    offer: SessionDescription,
    answer: SessionDescription,
    capabilities: Capabilities,
    *,
    must_encrypt: bool = False,
) -> Negotiated:
    """Read the peer's answer to our `offer`.

    Parameters
    ----------
    must_encrypt
        Refuse an answer in the clear, even where the offer allowed it.

    Raises
    ------
    NegotiationError
        The peer refused the audio, or answered with nothing that was offered.
    SdpError
        The answer does not fit the offer (RFC 3264 section 6), or its stream has no ``c=``.

    References
    ----------
    RFC 3264 section 7
    """
    index = next((i for i, media in enumerate(offer.media) if _is_wanted_audio(media)), None)
    if index is None:
        raise UsageError("the offer holds no audio stream; make it with make_offer")
    ours = read_audio(offer, offer.media[index])
    if index >= len(answer.media) or answer.media[index].kind != "audio":
        raise SdpError("the answer's m= lines are not those of the offer", status_hint=488)
    media = answer.media[index]
    if media.port == 0:
        raise NegotiationError(304, "Media type not available")
    theirs = read_audio(answer, media)
    codec = theirs.first_codec({named(mapping).name for mapping in ours.codecs})
    secured = accept_security(offer.media[index], answer, media, must=must_encrypt)
    if codec is None:
        raise NegotiationError(305, "Incompatible media format")
    expected = ours.codec((named(codec).name,)) or codec
    events, own_events = (stream.events_of(codec.clock_hz) for stream in (theirs, ours))
    if events is None or own_events is None or events.clock_hz != own_events.clock_hz:
        events = own_events = None
    mux = ours.rtcp_mux and theirs.rtcp_mux
    said = _meet(ours.direction, theirs.direction)
    slots = tuple(StreamSlot.of(each) for each in offer.media)
    agreed = _agree(theirs, codec, said, capabilities, slots, index, events=events, mux=mux)
    return replace(
        _checked(agreed, said, secured),
        receive_payload_type=expected.payload_type,
        receive_dtmf_payload_type=own_events.payload_type if own_events is not None else None,
        numbers=merged((), ours.numbers, []),
        comfort_noise=ours.takes_noise and theirs.takes_noise and codec.clock_hz == CLOCK_HZ,
        protocol=media.protocol,
        reduced_rtcp=ours.reduced_rtcp and theirs.reduced_rtcp,
        secured=secured,
        path=replace(Path.of(offer, offer.media[index]), theirs=read_ice(answer, media)),
    )


def _agree(
    theirs: AudioStream,
    codec: RtpMap,
    said: Direction,
    capabilities: Capabilities,
    slots: tuple[StreamSlot, ...],
    index: int,
    *,
    events: RtpMap | None,
    mux: bool,
) -> Negotiated:
    """Put together what was agreed, with the same payload type numbers both ways."""
    dtmf = events.payload_type if events is not None else None
    return Negotiated(
        codec=named(codec).name,
        payload_type=codec.payload_type,
        fmtp=theirs.fmtp(codec.payload_type),
        dtmf_payload_type=dtmf,
        dtmf_clock_hz=events.clock_hz if events is not None else CLOCK_HZ,
        ptime_ms=theirs.ptime_ms or capabilities.ptime_ms,
        direction=_effective(said, theirs),
        remote=theirs.remote,
        remote_rtcp=theirs.remote if mux else theirs.remote_rtcp,
        rtcp_mux=mux,
        reduced_rtcp=theirs.reduced_rtcp,
        receive_payload_type=codec.payload_type,
        receive_dtmf_payload_type=dtmf,
        slots=slots,
        index=index,
    )


def _meet(ours: Direction, theirs: Direction) -> Direction:
    return Direction.of(
        sends=ours.sends and theirs.receives, receives=ours.receives and theirs.sends
    )


def _checked(
    agreed: Negotiated, said: Direction, secured: Secured | DtlsSecured | None
) -> Negotiated:
    """Take 0.0.0.0 for no hold where checks say where the peer is (RFC 8829 section 5.2.1)."""
    found = finds_peer(secured, mux=agreed.rtcp_mux)
    return replace(agreed, direction=said) if found else agreed


def _effective(said: Direction, theirs: AudioStream) -> Direction:
    return Direction.of(sends=said.sends and not theirs.is_black_hole, receives=said.receives)


def _is_wanted_audio(media: MediaDescription) -> bool:
    return media.kind == "audio" and media.port != 0


def _choose_stream(
    offer: SessionDescription,
    capabilities: Capabilities,
    local: LocalMedia,
    current: Negotiated | None,
) -> tuple[int, AudioStream, RtpMap, Secured | DtlsSecured | None]:
    """Return the first usable audio stream, or raise the reason against the first unusable one."""
    refusal: NegotiationError | None = None
    before = current.secured if current is not None else None
    streams = list(enumerate(offer.media))
    if local.security.policy is not Encryption.FORBIDDEN:
        streams = encrypted_first(offer.media)
    for index, media in streams:
        if not _is_wanted_audio(media):
            continue
        stream = read_audio(offer, media)
        codec = stream.codec(capabilities.codecs)
        problem = _problem(stream, local)
        secured: Secured | DtlsSecured | None = None
        try:
            secured = answer_security(offer, media, local.security, before)
        except NegotiationError as error:
            problem = error
        if problem is None and codec is not None:
            return index, stream, codec, secured
        refusal = refusal or problem or NegotiationError(305, "Incompatible media format")
    raise refusal or NegotiationError(304, "Media type not available")


def _problem(stream: AudioStream, local: LocalMedia) -> NegotiationError | None:
    """Return what stands between us and a stream's address (RFC 3261 20.43)."""
    ip, own = stream.connection.ip, ip_literal(local.address)
    if ip is None or own is None or ip.is_unspecified:
        return None
    if ip.is_multicast or str(ip) == "255.255.255.255":
        return NegotiationError(330, "Multicast not available")
    if ip.version != own.version:
        return NegotiationError(301, "Incompatible network address formats")
    return None


def _switched_off(
    current: Negotiated, offer: SessionDescription, slots: tuple[StreamSlot, ...]
) -> Negotiated:
    """Return the session without audio; a later offer of ours may use the slot again (8.1)."""
    places = (index for index, media in enumerate(offer.media) if media.kind == "audio")
    return replace(
        current,
        direction=Direction.INACTIVE,
        remote=None,
        remote_rtcp=None,
        slots=slots,
        index=next(places, len(slots)),
    )
