"""The audio half of a test phone: one RTP stream out, one recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np

from ..errors import RtpParseError, SrtpError
from ..rtp.comfort_noise import PAYLOAD_TYPE as NOISE
from ..rtp.comfort_noise import Noise
from ..rtp.dtmf import Digit, DigitReceiver, DigitSender
from ..rtp.packet import RtpPacket, is_rtcp
from ..rtp.reception import ReceptionStats
from ..rtp.rtcp import (
    CNAME,
    Goodbye,
    ReceiverReport,
    Report,
    ReportBlock,
    SenderReport,
    SourceDescription,
    SourceItems,
    build_compound,
    ntp_timestamp,
    parse_compound,
)
from ..rtp.sequence import TIMESTAMP_MODULUS
from ..rtp.srtp import SrtpSession, StreamKeys
from ..sdp.fingerprint import DtlsSecured
from ..sdp.negotiation import Negotiated
from ..server.dtls import DtlsIdentity, DtlsTerms, Handshake, is_dtls
from .audio import CLOCK_HZ, Samples
from .net import Address
from .phone_codec import Mouth, place_by_timestamp

FRAME = 160  # samples: 20 ms
_REPORT_TICKS = 250  # 5 s between RTCP compounds, RFC 3550 section 6.2
HANDSHAKE_AGAIN_S = 0.5  # between looks whether OpenSSL repeats something
HANDSHAKE_AFTER_S = 0.02  # more than a beat of the server's
_PORTS_TO_TRY = 1000
_ROOM_NOISE = Noise(40)  # what a silent phone says of its room, -40 dBov


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """One RTP packet as it came: ``at`` is the loop's time in seconds."""

    at: float
    data: bytes

    @property
    def packet(self) -> RtpPacket:
        """The packet read; RtpParseError when it is none."""
        return RtpPacket.parse(self.data)


class _Port(asyncio.DatagramProtocol):
    """One UDP port that hands on what it hears."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._receive(data)


class PhoneMedia:
    """An RTP session as a telephone has it: a packet every 20 ms on an absolute schedule.

    Made by `TonePhone`; what it recorded outlives the call.
    """

    def __init__(self, random: Random, cname: str, keep: int | None = None) -> None:
        self.received: list[ReceivedPacket] = []
        self.reports: list[Report] = []
        self.digits: list[Digit] = []
        self.malformed = 0
        self.unreadable = 0  # not encrypted as agreed
        self.sent = 0
        self.silent = False  # send silence instead of the voice
        self.paused = False  # send nothing at all
        self.held = False  # by us: nobody speaks into a telephone on hold
        self.address: Address = ("", 0)
        self.voice: Iterator[Samples] = iter(())
        self.reception: ReceptionStats | None = None
        self._cname = cname
        self._keep = keep
        self._ssrc = random.getrandbits(32)
        self._sequence = random.getrandbits(16)
        self._timestamp = random.getrandbits(32)
        self._payload_types: dict[int, str] = {}  # codec of each number that is received
        self._mouth = Mouth("PCMU", "")
        self._dtmf_scale = 1  # of the clock of events, in units of 8000 Hz
        self._agreed: Negotiated | None = None
        self.certificate: DtlsIdentity | None = None
        self.awaits_keys = False  # DTLS is not done: nothing can be said
        self._terms: DtlsTerms | None = None
        self._handshake: Handshake | None = None
        self._keys: StreamKeys | None = None
        self._sender: SrtpSession | None = None
        self._receiver: SrtpSession | None = None
        self._loop = asyncio.get_running_loop()
        self._rtp: asyncio.DatagramTransport | None = None
        self._rtcp: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._ticks = 0
        self._talk_spurt = True  # the next audio packet gets the marker
        self._digit_sender = DigitSender(packet_samples=FRAME)
        self._digit_receiver = DigitReceiver()

    # ------------------------------------------------------------------------- a call's life

    async def open(self, host: str) -> Address:
        """Bind an even port and the odd one above it; return where RTP is received.

        Raises
        ------
        OSError
            No such pair near the first free port.
        """
        probe = await self._bind((host, 0), self._hear)
        first = probe.get_extra_info("sockname")[1]
        probe.close()
        for port in range(first + first % 2, min(first + _PORTS_TO_TRY, 65534), 2):
            try:
                rtp = await self._bind((host, port), self._hear)
            except OSError:
                continue
            try:
                self._rtcp = await self._bind((host, port + 1), self._hear_rtcp)
            except OSError:
                rtp.close()
                continue
            self._rtp, self.address = rtp, (host, port)
            return self.address
        raise OSError(f"no pair of free UDP ports on {host} from {first} on")

    def agree(self, agreed: Negotiated) -> None:
        """Use a session description from now on; the first one starts the clock."""
        self._agreed = agreed
        secured = agreed.secured
        if isinstance(secured, DtlsSecured):
            self._shake(secured)
        else:
            self._secure(secured.keys if secured is not None else None)
        self._payload_types[agreed.receive_payload_type] = agreed.codec
        self._speak(agreed)
        if self._timer is None:
            self._began = self._loop.time()
            self._timer = self._loop.call_at(self._began, self._tick)

    def _speak(self, agreed: Negotiated) -> None:
        """Use the codec agreed on, and its clock; a coder that is in use goes on."""
        if not self._mouth.is_for(agreed.codec, agreed.fmtp):
            self._mouth = Mouth(agreed.codec, agreed.fmtp)
        scale = agreed.dtmf_clock_hz // CLOCK_HZ
        if scale != self._dtmf_scale:
            self._dtmf_scale = scale
            self._digit_sender = DigitSender(packet_samples=FRAME * scale)
            self._digit_receiver = DigitReceiver(timeout=1600 * scale)

    @property
    def _clock_hz(self) -> int:
        return self._mouth.codec.clock_hz

    def _shake(self, secured: DtlsSecured) -> None:
        """Begin the handshake, a moment later: the other side has to read the answer first."""
        assert self.certificate is not None
        terms = DtlsTerms(self.certificate, secured.theirs, secured.is_client)
        if terms != self._terms:
            self._terms, self._handshake, self.awaits_keys = terms, Handshake(terms), True
            self._loop.call_later(HANDSHAKE_AFTER_S, self._send_handshake)
            self._loop.call_later(HANDSHAKE_AGAIN_S, self._repeat_handshake, self._handshake)

    def _repeat_handshake(self, handshake: Handshake) -> None:
        """Send again what was lost, until this handshake is done or another one begins."""
        if handshake is self._handshake and self.awaits_keys and self._rtp is not None:
            handshake.poll()
            self._send_handshake()
            self._loop.call_later(HANDSHAKE_AGAIN_S, self._repeat_handshake, handshake)

    def _send_handshake(self) -> None:
        handshake, agreed = self._handshake, self._agreed
        if handshake is None or agreed is None or agreed.remote is None or self._rtp is None:
            return
        for datagram in handshake.datagrams():
            self._rtp.sendto(datagram, agreed.remote)
        if handshake.keys is not None and self.awaits_keys:
            self.awaits_keys = False
            self._secure(handshake.keys)

    def _secure(self, keys: StreamKeys | None) -> None:
        if keys is None or self._keys is None or keys.ours != self._keys.ours:
            self._sender = SrtpSession.sender(keys.ours) if keys is not None else None
        if keys is None or self._keys is None or keys.theirs != self._keys.theirs:
            self._receiver = SrtpSession.receiver(keys.theirs) if keys is not None else None
        self._keys = keys

    def close(self) -> None:
        """Say goodbye and give the ports back; the recording stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._report(leaving=True)
        for transport in (self._rtp, self._rtcp):
            if transport is not None:
                transport.close()
        self._rtp = self._rtcp = None
        self.digits += self._digit_receiver.expire(1 << 62)

    def press(self, digits: str, *, duration_ms: int = 100, pause_ms: int = 100) -> float:
        """Queue RFC 4733 digits; return after how many seconds the last pause is over."""
        per_ms = CLOCK_HZ * self._dtmf_scale // 1000
        self._digit_sender.press(digits, duration=duration_ms * per_ms, pause=pause_ms * per_ms)
        return len(digits) * (duration_ms + pause_ms + 60) / 1000

    async def _bind(
        self, local: Address, receive: Callable[[bytes], None]
    ) -> asyncio.DatagramTransport:
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Port(receive), local_addr=local
        )
        return transport

    # ------------------------------------------------------------------------------ sending

    def _tick(self) -> None:
        self._ticks += 1
        self._timer = self._loop.call_at(self._began + self._ticks * FRAME / CLOCK_HZ, self._tick)
        agreed = self._agreed
        if agreed is not None and agreed.remote is not None:
            self._say(agreed, agreed.remote)
        step = FRAME * self._mouth.codec.scale
        self._timestamp = (self._timestamp + step) % TIMESTAMP_MODULUS
        if self._ticks % _REPORT_TICKS == 0:
            self._report()

    def _say(self, agreed: Negotiated, remote: Address) -> None:
        if agreed.dtmf_payload_type is not None and not self.paused:
            event = self._digit_sender.next_packet(self._timestamp)
            if event is not None:
                self._send(
                    agreed.dtmf_payload_type, event.timestamp, event.payload, event.marker, remote
                )
                self._talk_spurt = True
                return
        samples = next(self.voice, None)
        if self.paused or self.held or not agreed.direction.sends:
            self._talk_spurt = True
            return
        if self.silent and agreed.comfort_noise:
            if not self._talk_spurt:
                self._send(NOISE, self._timestamp, _ROOM_NOISE.to_bytes(), False, remote)
            self._talk_spurt = True
            return
        if self.silent or samples is None:
            samples = np.zeros(FRAME, np.int16)
        for offset, payload in self._mouth.say(samples):
            at = (self._timestamp + offset) % TIMESTAMP_MODULUS
            self._send(agreed.payload_type, at, payload, self._talk_spurt, remote)
            self._talk_spurt = False

    def _send(
        self, payload_type: int, timestamp: int, payload: bytes, marker: bool, remote: Address
    ) -> None:
        packet = RtpPacket(
            payload_type=payload_type,
            sequence_number=self._sequence,
            timestamp=timestamp,
            ssrc=self._ssrc,
            payload=payload,
            marker=marker,
        )
        self._sequence = (self._sequence + 1) % 65536
        self.sent += 1
        if self._rtp is not None and not self.awaits_keys:
            data = packet.to_bytes()
            if self._sender is not None:
                data = self._sender.protect(data)
            self._rtp.sendto(data, remote)

    def _report(self, *, leaving: bool = False) -> None:
        """Send SR or RR, SDES, and BYE at the end (RFC 3550 section 6.1)."""
        agreed = self._agreed
        if agreed is None or agreed.remote is None or self._rtp is None or self._rtcp is None:
            return
        if self.paused or self.awaits_keys:  # the cable is out
            return
        now = self._clock()
        blocks: tuple[ReportBlock, ...] = ()
        if self.reception is not None:
            blocks = (self.reception.report(now),)
        first: Report = ReceiverReport(ssrc=self._ssrc, blocks=blocks)
        if self.sent:
            first = SenderReport(
                ssrc=self._ssrc,
                ntp=ntp_timestamp(self._loop.time()),
                rtp_timestamp=self._timestamp,
                packet_count=self.sent,
                octet_count=self.sent * FRAME % (1 << 32),
                blocks=blocks,
            )
        names = SourceDescription((SourceItems(self._ssrc, ((CNAME, self._cname),)),))
        goodbye = [Goodbye((self._ssrc,))] if leaving else []
        data = build_compound([first, names, *goodbye])
        if self._sender is not None:
            data = self._sender.protect_rtcp(data)
        if agreed.rtcp_mux:
            self._rtp.sendto(data, agreed.remote)
        else:
            remote = agreed.remote_rtcp or (agreed.remote[0], agreed.remote[1] + 1)
            self._rtcp.sendto(data, remote)

    # ---------------------------------------------------------------------------- receiving

    def _clock(self) -> int:
        """The loop's time in units of the codec's clock."""
        return round(self._loop.time() * self._clock_hz)

    def _hear(self, data: bytes) -> None:
        if self._handshake is not None and is_dtls(data):
            self._handshake.receive(data)
            self._send_handshake()
            return
        if self.awaits_keys:
            return
        if is_rtcp(data):
            self._hear_rtcp(data)
            return
        try:
            if self._receiver is not None:
                data = self._receiver.unprotect(data)
            packet = RtpPacket.parse(data)
        except SrtpError:
            self.unreadable += 1
            return
        except RtpParseError:
            self.malformed += 1
            return
        self.received.append(ReceivedPacket(self._loop.time(), data))
        if self._keep is not None and len(self.received) > 2 * self._keep:
            del self.received[: -self._keep]
        now = self._clock()
        heard = round(self._loop.time() * CLOCK_HZ * self._dtmf_scale)
        if self.reception is None or self.reception.ssrc != packet.ssrc:
            self.reception = ReceptionStats(packet.ssrc, clock_hz=self._clock_hz)
        agreed = self._agreed
        if agreed is not None and packet.payload_type == agreed.receive_dtmf_payload_type:
            self.reception.count(packet.sequence_number)
            self.digits += self._digit_receiver.receive(
                packet.payload, timestamp=packet.timestamp, now=heard, marker=packet.marker
            )
            return
        self.reception.receive(packet.sequence_number, packet.timestamp, now)
        self.digits += self._digit_receiver.expire(heard)

    def _hear_rtcp(self, data: bytes) -> None:
        try:
            if self._receiver is not None:
                data = self._receiver.unprotect_rtcp(data)
            reports = parse_compound(data)
        except SrtpError:
            self.unreadable += 1
            return
        except RtpParseError:
            self.malformed += 1
            return
        self.reports += reports
        if self._keep is not None:
            del self.reports[: -self._keep]
        for report in reports:
            if isinstance(report, SenderReport) and self.reception is not None:
                self.reception.sender_reported(report, self._clock())

    def heard_pcm(
        self, since: float = 0.0, until: float = float("inf"), *, rate_hz: int = CLOCK_HZ
    ) -> Samples:
        """Return the audio of the packets that arrived in a stretch of the loop's time.

        Packets lie where their timestamps say; what is missing is zero. The codec is decoded from
        the first of these packets on.
        """
        packets = [each.packet for each in self.received if since <= each.at < until]
        audio = [p for p in packets if p.payload_type in self._payload_types]
        return place_by_timestamp(audio, self._payload_types, rate_hz)
