"""A capture is read by tools that rtpmix did not write: tshark, GStreamer, ffmpeg.

Debian's own packages, unpatched.
"""

from __future__ import annotations

import base64
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from rtpmix.recorder import Capture, CapturePolicy, Recipients, export, read_capture
from rtpmix.recorder.manifest import Manifest
from rtpmix.recorder.pcap import scan
from rtpmix.recorder.track import L16_TYPES, Kind, Track
from rtpmix.recorder.vault import open_vault
from tests.interop.processes import free_ports, is_served

FRAMES = 150
LEGS = {1: ("customer", "PCMU"), 2: ("agent", "PCMA"), 3: ("coach", "PCMU")}
HEARD_BY = {1: (2,), 2: (1, 3), 3: (1, 2)}
LIMIT = 60.0  # seconds for a tool


@dataclass
class Recorded:
    """One sealed capture and what went into each track."""

    path: Path
    manifest: Manifest
    keys: dict[str, bytes]  # track: master key and salt
    payloads: dict[str, bytes]

    def track(self, name: str) -> Track:
        return next(track for track in self.manifest.tracks if track.name == name)

    @property
    def segment(self) -> Path:
        return self.path / "0001.srtp.pcap"


def make(path: Path, suite: str, rates: Mapping[str, int] = MappingProxyType({})) -> Recorded:
    """Record three seconds of three legs, with some facts; ``rates``: of those that are wide."""
    rng, recipients = np.random.default_rng(5), Recipients.of(bytes(32))
    capture = Capture(
        path,
        conversation_id="interop",
        recipients=recipients,
        metadata={},
        wall_clock=lambda: 1_700_000_000.0,
        policy=CapturePolicy(suite=suite),
        entropy=random.Random(6).randbytes,
    )
    for leg, (name, codec) in LEGS.items():
        capture.add_leg(leg, name, name, codec, 0, rates.get(name, 8000))
    payloads: dict[str, bytes] = {}
    for number in range(FRAMES):
        for leg, (name, codec) in LEGS.items():
            spoken = rng.integers(-20_000, 20_000, 160).astype(">i2").tobytes()
            heard = rng.integers(0, 256, 160).astype(np.uint8).tobytes()
            made = {"in": spoken, "heard": heard}
            wide = None
            if name in rates:
                size = 2, rates[name] // 50
                one, other = rng.integers(-20_000, 20_000, size).astype(">i2")
                wide = one.tobytes(), other.tobytes()
                made = {"in": wide[0], "heard": wide[1], "in.8k": spoken, "heard.8k": heard}
            capture.frame(
                leg, 160 * number, spoken=spoken, present=True, heard=heard, law=codec,
                mixed=spoken, contributors=HEARD_BY[leg], wide=wide,
            )  # fmt: skip
            for side, payload in made.items():
                payloads[f"{name}.{side}"] = payloads.get(f"{name}.{side}", b"") + payload
        capture.event(160 * number, {"event": "note", "text": "x" * (number * 20)})
        capture.tick(number * 0.02)
    assert capture.close().sealed
    manifest, records = read_capture(path, recipients)
    facts = [
        record.packet.payload
        for record in records
        if record.packet and record.track and record.track.kind is Kind.EVENTS
    ]
    payloads["events"] = b"".join(facts)
    vault = open_vault(path, recipients, manifest.capture_id)
    keys = {track.name: vault[1, track.ssrc].material for track in manifest.tracks}
    return Recorded(path, manifest, keys, payloads)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return make(tmp_path_factory.mktemp("capture") / "call", "AES_CM_128_HMAC_SHA1_80")


RATES = {"agent": 48_000, "coach": 16_000}
WIDE_NAMES = [f"{leg}.{side}" for leg in RATES for side in ("in", "heard", "in.8k", "heard.8k")]


@pytest.fixture(scope="module")
def recorded_wide(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return make(tmp_path_factory.mktemp("capture") / "wide", "AES_CM_128_HMAC_SHA1_80", RATES)


@pytest.fixture(scope="module")
def recorded_gcm(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return make(tmp_path_factory.mktemp("capture") / "gcm", "AEAD_AES_256_GCM")


# ---------------------------------------------------------------------------- tshark


def dissect(program: str, recorded: Recorded, *arguments: str) -> str:
    decode = []
    for track in recorded.manifest.tracks:
        decode += ["-d", f"udp.port=={track.port},rtp", "-d", f"udp.port=={track.port + 1},rtcp"]
    command = [program, "-r", str(recorded.segment), *decode, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    return done.stdout


def test_tshark_lists_every_stream_with_no_packet_lost(recorded: Recorded, tshark: str) -> None:
    """Header, sequence, timestamp and SSRC are in clear."""
    rows = [
        line.split() for line in dissect(tshark, recorded, "-q", "-z", "rtp,streams").splitlines()
    ]
    streams = {row[6]: row for row in rows if len(row) > 10 and row[6].startswith("0x")}
    assert len(streams) == len(recorded.manifest.tracks) == 7
    for track in recorded.manifest.tracks:
        row = streams[f"0x{track.ssrc:08X}"]
        if track.kind is not Kind.EVENTS:
            assert str(FRAMES) in row
        assert "(0.0%)" in row


def test_tshark_lists_the_streams_of_wide_legs_with_no_packet_lost(
    recorded_wide: Recorded, tshark: str
) -> None:
    """48 kHz in two packets a frame; and its jitter is nothing, so timestamps fit the times."""
    shown = dissect(tshark, recorded_wide, "-q", "-z", "rtp,streams")
    rows = [line.split() for line in shown.splitlines()]
    streams = {row[6]: row for row in rows if len(row) > 10 and row[6].startswith("0x")}
    assert len(streams) == len(recorded_wide.manifest.tracks) == 11
    for track in recorded_wide.manifest.tracks:
        row = streams[f"0x{track.ssrc:08X}"]
        assert "(0.0%)" in row
        if track.kind is not Kind.EVENTS:
            assert str(2 * FRAMES if track.rate_hz == 48_000 else FRAMES) in row


def test_tshark_finds_no_wrong_checksum(recorded: Recorded, tshark: str) -> None:
    """IPv4 and UDP."""
    check = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    bad = "ip.checksum.status == Bad || udp.checksum.status == Bad"
    good = "ip.checksum.status == Good && udp.checksum.status == Good"
    assert dissect(tshark, recorded, *check, "-Y", bad) == ""
    records = len(list(scan(recorded.segment.read_bytes())))
    assert len(dissect(tshark, recorded, *check, "-Y", good).splitlines()) == records


def test_tshark_proves_without_a_key_that_the_customer_never_heard_the_coach(
    recorded: Recorded, tshark: str
) -> None:
    """The CSRC list of what was heard; the same filter finds the coach at the agent."""
    coach = recorded.track("coach.in").ssrc

    def hearing(name: str) -> int:
        heard = recorded.track(name).ssrc
        shown = dissect(tshark, recorded, "-Y", f"rtp.ssrc=={heard} && rtp.csrc.item=={coach}")
        return len(shown.splitlines())

    assert hearing("customer.heard") == 0
    assert hearing("agent.heard") == FRAMES


# ------------------------------------------------------------------------- GStreamer


def decode(program: str, recorded: Recorded, name: str, cipher: str, auth: str, out: Path) -> bytes:
    """Decrypt one track; the depayloader of G.711 hands any payload on as it is."""
    track = recorded.track(name)
    caps = (
        f"application/x-srtp,media=audio,encoding-name=PCMU,clock-rate={track.rate_hz},"
        f"ssrc=(uint){track.ssrc},srtp-key=(buffer){recorded.keys[name].hex()},"
        f"srtp-cipher={cipher},srtp-auth={auth},srtcp-cipher={cipher},srtcp-auth={auth}"
    )
    pipeline = (
        f"filesrc location={recorded.segment} ! pcapparse dst-port={track.port} caps={caps} "
        f"! identity ! srtpdec ! rtppcmudepay ! filesink location={out}"
    )
    command = [program, "-q", *pipeline.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


NAMES = [
    "events", "customer.in", "customer.heard", "agent.in", "agent.heard", "coach.in", "coach.heard",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_gstreamer_decodes_every_track_bit_for_bit(
    recorded: Recorded, name: str, tmp_path: Path, gst_launch: str
) -> None:
    """`pcapparse ! identity ! srtpdec` with the key as caps."""
    decoded = decode(gst_launch, recorded, name, "aes-128-icm", "hmac-sha1-80", tmp_path / "out")
    assert decoded == recorded.payloads[name]


@pytest.mark.parametrize("name", WIDE_NAMES)
def test_gstreamer_decodes_tracks_of_higher_rates_bit_for_bit(
    recorded_wide: Recorded, name: str, tmp_path: Path, gst_launch: str
) -> None:
    decoded = decode(
        gst_launch, recorded_wide, name, "aes-128-icm", "hmac-sha1-80", tmp_path / "out"
    )
    assert decoded == recorded_wide.payloads[name]


@pytest.mark.parametrize("name", NAMES[:3])
def test_gstreamer_decodes_gcm_bit_for_bit(
    recorded_gcm: Recorded, name: str, tmp_path: Path, gst_launch: str
) -> None:
    """RFC 7714: the option that ffmpeg does not know."""
    decoded = decode(gst_launch, recorded_gcm, name, "aes-256-gcm", "null", tmp_path / "out")
    assert decoded == recorded_gcm.payloads[name]


def test_gstreamer_gets_nothing_with_another_key(
    recorded: Recorded, tmp_path: Path, gst_launch: str
) -> None:
    """What makes the tests above mean something."""
    wrong = Recorded(recorded.path, recorded.manifest, {"agent.in": bytes(30)}, recorded.payloads)
    out = tmp_path / "out"
    try:
        decoded = decode(gst_launch, wrong, "agent.in", "aes-128-icm", "hmac-sha1-80", out)
    except AssertionError:
        decoded = out.read_bytes() if out.exists() else b""
    assert decoded == b""


# ---------------------------------------------------------------------------- ffmpeg


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def play(ffmpeg: str) -> Iterator[Callable[[Path, Path, str], subprocess.Popen[bytes]]]:
    """Start ffmpeg on an SDP file; it is ended by its id."""
    running: list[subprocess.Popen[bytes]] = []

    def start(sdp: Path, out: Path, form: str) -> subprocess.Popen[bytes]:
        command = [
            ffmpeg, "-v", "error", "-nostdin", "-protocol_whitelist", "file,udp,rtp,srtp",
            "-reorder_queue_size", "0", "-analyzeduration", "200000", "-i", str(sdp),
            "-c:a", "copy", "-flush_packets", "1", "-f", form, str(out),
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


Play = Callable[[Path, Path, str], subprocess.Popen[bytes]]


@pytest.mark.parametrize("name", NAMES[1:])
def test_ffmpeg_decodes_every_audio_track_bit_for_bit(
    recorded: Recorded, name: str, tmp_path: Path, play: Play
) -> None:
    """An SDP with a=crypto (RFC 4568), the packets replayed to loopback."""
    check_ffmpeg(recorded, name, tmp_path, play)


@pytest.mark.parametrize("name", [name for name in WIDE_NAMES if not name.endswith("8k")])
def test_ffmpeg_decodes_tracks_of_higher_rates_bit_for_bit(
    recorded_wide: Recorded, name: str, tmp_path: Path, play: Play
) -> None:
    """As L16 of their rates (RFC 3551 section 4.5.11)."""
    check_ffmpeg(recorded_wide, name, tmp_path, play)


def test_ffprobe_finds_each_exported_file_at_the_rate_of_its_track(
    recorded_wide: Recorded, tmp_path: Path, ffprobe: str
) -> None:
    """Three seconds in every file, the mix at the highest rate."""
    keys = Recipients.of(bytes(32))
    files = export(recorded_wide.path, keys, tmp_path / "out", coaching=True).files
    mixed = export(recorded_wide.path, keys, tmp_path / "mix.wav", stereo=True).files
    assert len(files) == 6
    for file in (*files, *mixed):
        show = ["-show_entries", "stream=sample_rate,duration,codec_name", "-of", "csv=p=0"]
        done = subprocess.run(
            [ffprobe, "-v", "error", *show, str(file)],
            capture_output=True, text=True, timeout=LIMIT, check=True,
        )  # fmt: skip
        rate_hz = 48_000 if file in mixed else RATES.get(file.name.split(".")[0], 8000)
        assert done.stdout.strip() == f"pcm_s16le,{rate_hz},3.000000"


def check_ffmpeg(recorded: Recorded, name: str, tmp_path: Path, play: Play) -> None:
    track, port = recorded.track(name), free_ports(2).start
    number, codec, form = {
        "L16": (L16_TYPES[track.rate_hz], f"L16/{track.rate_hz}/1", "s16be"),
        "PCMU": (0, "PCMU/8000", "mulaw"),
        "PCMA": (8, "PCMA/8000", "alaw"),
    }[track.codec]
    inline = base64.b64encode(recorded.keys[name]).decode()
    (tmp_path / "track.sdp").write_text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/SAVP {number}\r\na=rtpmap:{number} {codec}\r\n"
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{inline}\r\n"
    )
    out = tmp_path / "out"
    process = play(tmp_path / "track.sdp", out, form)
    wait_until(lambda: is_served(port, "udp") or process.poll() is not None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in scan(recorded.segment.read_bytes()):
            if datagram.port == track.port:
                sender.sendto(datagram.payload, ("127.0.0.1", port))
                time.sleep(0.002)
    expected = recorded.payloads[name]
    wait_until(
        lambda: (out.exists() and out.stat().st_size >= len(expected)) or process.poll() is not None
    )
    assert out.read_bytes() == expected
