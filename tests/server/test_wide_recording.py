"""Recordings of calls with wideband legs: each leg's tracks have its codec's rate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import rtpmix
from rtpmix.audio import codecs as audio
from rtpmix.recorder import (
    Recipients,
    Verdict,
    export,
    info,
    load_key,
    read_capture,
    recover,
    verify,
)
from rtpmix.recorder.manifest import load_manifest
from rtpmix.replay import replay
from rtpmix.sdp.negotiation import Capabilities
from rtpmix.testing import TonePhone

from .test_codecs import level_at, play

Pcm = NDArray[np.int16]
HIGH = 6000.0  # Hz: in G.722 and more, not in G.711
CODECS = ("L16/16000", "G722", "opus", "PCMU", "PCMA")
RATES = dict(zip(CODECS, (16_000, 16_000, 48_000, 8000, 8000), strict=True))
PAYLOAD_TYPES = {8000: 96, 16_000: 98, 48_000: 99}
Story = Callable[[rtpmix.Server, list[TonePhone], rtpmix.Bridge], Awaitable[None]]


class Recorded:
    """A conference that was recorded, and what the phones got meanwhile."""

    def __init__(
        self,
        tmp_path: Path,
        story: Story,
        *codecs: str | tuple[str, ...],
        preferred: tuple[str, ...] = tuple(audio.CODECS),
        **config: Any,
    ) -> None:
        self.key = tmp_path / "recording.key"
        self.legs: list[str] = []
        self.received: list[bytes] = []
        stopped: list[rtpmix.RecordingStopped] = []

        async def tell(server: rtpmix.Server, phones: list[TonePhone]) -> None:
            bridges: list[rtpmix.Bridge] = []

            @server.on_invite
            async def line(call: rtpmix.IncomingCall) -> None:
                leg = await call.answer()
                if not bridges:
                    bridges.append(await server.bridge(leg))
                else:
                    await bridges[0].add(leg)
                await leg.closed()

            for each in phones:
                await each.call("sip:room@192.0.2.1")
                await asyncio.sleep(0.5)
            recording = await bridges[0].record(tmp_path / "call")
            self.legs = [leg.id for leg in server.legs]
            await story(server, phones, bridges[0])
            stopped.append(await recording.stop())
            self.received = [
                b"".join(received.packet.payload for received in each.received) for each in phones
            ]

        tones = (HIGH, 700.0, 900.0, 1100.0, 1300.0)
        config |= {"recording_key": self.key, "codecs_of_server": preferred}
        play(tell, *codecs, tones=tones, **config)
        assert stopped[0].sealed
        assert stopped[0].gaps == 0
        self.path = stopped[0].path

    @property
    def keys(self) -> Recipients:
        return load_key(self.key)

    def wav(self, out: Path, **options: Any) -> dict[str, tuple[Pcm, int]]:
        """Export, and read what libsndfile finds in the files."""
        done = export(self.path, self.keys, out, **options)
        return {file.stem: soundfile.read(file, dtype="int16") for file in done.files}

    def payloads(self, name: str) -> bytes:
        """Return what the packets of a track hold, one after the other."""
        _, records = read_capture(self.path, self.keys)
        return b"".join(
            record.packet.payload
            for record in records
            if record.packet is not None and record.track and record.track.name == name
        )


async def one_speaks_high(
    server: rtpmix.Server, phones: list[TonePhone], bridge: rtpmix.Bridge
) -> None:
    for each in phones[1:]:
        each.be_silent()
    phones[0].speak_tone(HIGH, rate_hz=16_000)
    await asyncio.sleep(3)


def middle(pcm: Pcm, rate_hz: int) -> Pcm:
    """Return a second well inside."""
    return pcm[rate_hz : 2 * rate_hz]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A 6 kHz tone from an L16 phone, to phones of four other codecs."""
    return Recorded(tmp_path_factory.mktemp("wide"), one_speaks_high, *CODECS)


def test_a_high_tone_is_in_what_wide_legs_said_and_heard_and_in_no_narrow_track(
    call: Recorded, tmp_path: Path
) -> None:
    """Read back with libsndfile, each file at the rate of its leg's codec."""
    found = call.wav(tmp_path)
    names = {f"{leg}.{side}" for leg in call.legs for side in ("in", "heard")}
    assert found.keys() == names
    samples = len(found[f"{call.legs[0]}.in"][0])
    for leg, codec in zip(call.legs, CODECS, strict=True):
        (said, said_hz), (heard, heard_hz) = found[f"{leg}.in"], found[f"{leg}.heard"]
        assert said_hz == heard_hz == RATES[codec]
        assert len(said) / said_hz == pytest.approx(3.0, abs=0.1)
        # The same length of time in all files: they begin and end together.
        assert len(said) == len(heard) == samples * said_hz // 16_000
        speaks = leg == call.legs[0]
        if RATES[codec] == 8000:
            assert np.abs(middle(heard, heard_hz).astype(int)).max() < 40  # nothing, in G.711
            continue
        level = level_at(middle(said if speaks else heard, said_hz), HIGH, said_hz)
        assert level == pytest.approx(-20.0, abs=1.0)


def test_the_manifest_says_the_rate_of_each_track_that_is_not_8_khz(call: Recorded) -> None:
    manifest, signer = load_manifest(call.path)
    assert signer is not None
    tracks = {track["name"]: track for track in manifest.to_json()["tracks"]}
    for leg, codec in zip(call.legs, CODECS, strict=True):
        rate_hz = RATES[codec]
        for side in ("in", "heard"):
            track = tracks[f"{leg}.{side}"]
            assert track["kind"] == side
            assert track.get("rate", 8000) == rate_hz
            assert track["codec"] == (codec if rate_hz == 8000 and side == "heard" else "L16")
            # And for the replay, what is at 8 kHz of it.
            narrow = tracks.get(f"{leg}.{side}.8k")
            if rate_hz == 8000:
                assert narrow is None
                assert "rate" not in track
            else:
                assert narrow is not None
                assert narrow["kind"] == f"{side}-8k"
                assert "rate" not in narrow
    described = [line for line in info(call.path).lines if " at 48000 Hz," in line]
    assert [line.split(":")[0].strip() for line in described] == [
        f"{call.legs[2]}.{side} (customer)" for side in ("in", "heard")
    ]


def test_packets_count_in_the_clock_of_their_track(call: Recorded) -> None:
    """RFC 3551 section 4.5.11: L16, a dynamic type for each rate; 10 ms of 48 kHz in a packet."""
    rates = {f"{leg}.{side}": RATES[c] for leg, c in zip(call.legs, CODECS, strict=True)
             for side in ("in", "heard")}  # fmt: skip
    last: dict[str, int] = {}
    for record in read_capture(call.path, call.keys)[1]:
        if record.packet is None or record.track is None or record.track.name not in rates:
            continue
        packet, name = record.packet, record.track.name
        rate_hz = rates[name]
        step = rate_hz // (100 if rate_hz == 48_000 else 50)
        if record.track.codec == "L16":
            assert packet.payload_type == PAYLOAD_TYPES[rate_hz]
            assert len(packet.payload) == 2 * step
        assert record.sample * rate_hz // 8000 == packet.timestamp
        if not packet.marker:
            assert packet.timestamp == last[name] + step
        last[name] = packet.timestamp
    assert last.keys() == rates.keys()


def test_what_an_l16_leg_was_sent_is_its_heard_track_octet_for_octet(call: Recorded) -> None:
    """Where the codec is linear, what is encoded and what is sent are the same."""
    heard = call.payloads(f"{call.legs[0]}.heard")
    assert len(heard) > 2.9 * 32_000
    assert heard in call.received[0]
    for leg, received in zip(call.legs[3:], call.received[3:], strict=True):
        narrow = call.payloads(f"{leg}.heard")
        assert len(narrow) > 2.9 * 8000
        assert narrow in received


def test_it_verifies_and_replays_at_every_rate(call: Recorded) -> None:
    """Every leg's rows of 8 kHz, of G.711 legs the very payloads sent, and what wide legs heard."""
    report = verify(call.path, call.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.duration_s == pytest.approx(3.0, abs=0.1)
    assert [found.gaps for found in report.tracks if found.packets > 100] == [0] * 16
    replayed = replay(call.path, call.keys)
    assert replayed.is_consistent, replayed.lines
    assert replayed.different == replayed.unrecorded == 0
    assert replayed.equal > 5 * 140
    assert replayed.wide_different == replayed.wide_unrecorded == 0
    assert replayed.wide_equal > 3 * 140
    assert replayed.wide_unsettled <= 3  # the first frame of each: filters remember


def test_the_mixed_export_has_the_highest_rate_and_everybody_in_time(
    call: Recorded, tmp_path: Path
) -> None:
    """All called in, so all are customers, on the right; narrow talkers are resampled up."""
    ((stereo, rate_hz),) = call.wav(tmp_path / "call.wav", stereo=True).values()
    assert rate_hz == 48_000
    assert not stereo[:, 0].any()
    assert level_at(middle(stereo[:, 1], rate_hz), HIGH, rate_hz) == pytest.approx(-20.0, abs=1.0)


def test_the_rows_of_8_khz_are_exported_when_they_are_named(call: Recorded, tmp_path: Path) -> None:
    name = f"{call.legs[0]}.in.8k"
    ((pcm, rate_hz),) = call.wav(tmp_path, tracks=[name]).values()
    assert rate_hz == 8000
    wide = call.wav(tmp_path, tracks=[f"{call.legs[0]}.in"])[f"{call.legs[0]}.in"][0]
    assert len(wide) == 2 * len(pcm)


def test_the_keyless_proof_names_the_wide_in_track(call: Recorded) -> None:
    """The CSRC of a contributor is the SSRC of its `.in`, in every track that has it."""
    manifest, _ = load_manifest(call.path)
    ssrc = {track.name: track.ssrc for track in manifest.tracks}
    talker = ssrc[f"{call.legs[0]}.in"]
    seen: dict[str, set[bool]] = {}
    for record in read_capture(call.path, call.keys)[1]:
        if record.packet is not None and record.track is not None:
            seen.setdefault(record.track.name, set()).add(talker in record.packet.csrc)
    for leg in call.legs[1:]:
        assert seen[f"{leg}.heard"] == {True}
    for leg in call.legs[1:3]:
        assert seen[f"{leg}.heard.8k"] == {True}
    assert seen[f"{call.legs[0]}.heard"] == {False}


def test_what_a_crash_leaves_of_it_is_recovered(call: Recorded, tmp_path: Path) -> None:
    """Cut in the middle of a record, with the manifest of a capture that is being written."""
    manifest, _ = load_manifest(call.path)
    whole = (call.path / "0001.srtp.pcap").read_bytes()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    (crashed / "0001.srtp.pcap").write_bytes(whole[: len(whole) // 2 + 17])
    (crashed / "keys.jwe").write_bytes((call.path / "keys.jwe").read_bytes())
    document = manifest.to_json() | {"state": "recording"}
    document["segments"][0] |= {"sha512": None, "bytes": 0, "tracks": {}}
    (crashed / "manifest.json").write_text(json.dumps(document))
    found = recover(crashed, call.keys)
    assert found.sealed
    assert found.duration_s == pytest.approx(1.5, abs=0.2)
    report = verify(crashed, call.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered
    assert report.duration_s == found.duration_s
    files = export(crashed, call.keys, tmp_path / "wav").files
    lengths = {soundfile.info(file).duration for file in files}
    assert lengths == {found.duration_s}


def test_a_leg_that_changes_its_codec_keeps_the_rate_of_its_tracks(tmp_path: Path) -> None:
    """RFC 3264 section 8.3.2: from Opus to G.711 its tracks stay at 48 kHz, and whole."""

    async def story(server: rtpmix.Server, phones: list[TonePhone], bridge: rtpmix.Bridge) -> None:
        await asyncio.sleep(1)
        session = phones[0]._session
        assert session is not None
        session._capabilities = Capabilities(codecs=("PCMU",))
        phones[0].speak_tone(1000.0)
        await phones[0].hold()
        await phones[0].resume()
        assert server.legs[0].codec == "PCMU"
        await asyncio.sleep(2)

    recorded = Recorded(
        tmp_path, story, ("opus", "PCMU"), "L16/16000", preferred=("opus", "L16/16000", "PCMU")
    )
    report = verify(recorded.path, recorded.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    replayed = replay(recorded.path, recorded.keys)
    assert replayed.is_consistent, replayed.lines
    assert replayed.wide_equal >= 90  # the second before
    assert replayed.wide_unrecorded >= 190  # and from then on, for both
    found = recorded.wav(tmp_path / "wav")
    changed, other = recorded.legs
    said, rate_hz = found[f"{changed}.in"]
    assert rate_hz == 48_000
    assert level_at(said[-rate_hz:], 1000.0, rate_hz) == pytest.approx(-20.0, abs=1.0)
    heard, _ = found[f"{changed}.heard"]
    assert level_at(heard[-rate_hz:], 700.0, rate_hz) == pytest.approx(-20.0, abs=1.0)
    assert found[f"{other}.heard"][1] == 16_000


def test_a_wide_leg_leaves_the_tracks_of_narrow_ones_as_they_are_without_one(
    tmp_path: Path,
) -> None:
    """A wide listener in the bridge changes no bit of what G.711 legs have in a capture."""

    async def story(server: rtpmix.Server, phones: list[TonePhone], bridge: rtpmix.Bridge) -> None:
        if len(phones) == 3:
            await bridge.mute(server.legs[2])
        await asyncio.sleep(2)

    captures = [
        Recorded(tmp_path / name, story, *codecs)
        for name, codecs in (("with", ("PCMU", "PCMA", "opus")), ("without", ("PCMU", "PCMA")))
    ]
    for side in ("in", "heard"):
        for number in (0, 1):
            mine, other = (made.payloads(f"{made.legs[number]}.{side}") for made in captures)
            size = 160 * (2 if side == "in" else 1)
            start = other.find(mine[20 * size : 60 * size])
            assert start >= 0
            assert start % size == 0


@pytest.mark.parametrize("limit_hz", [8000, 16_000])
def test_no_leg_is_recorded_at_a_higher_rate_than_the_limit(tmp_path: Path, limit_hz: int) -> None:
    """Of 16 and 48 kHz at 8 and at 16: as much of the sound as fits, and it replays."""
    call = Recorded(tmp_path, one_speaks_high, *CODECS, recording_rate_hz=limit_hz)
    found = call.wav(tmp_path / "out")
    for leg, codec in zip(call.legs, CODECS, strict=True):
        for side in ("in", "heard"):
            pcm, rate_hz = found[f"{leg}.{side}"]
            assert rate_hz == min(RATES[codec], limit_hz)
            has_it = rate_hz > 8000 and (side == "heard") != (leg == call.legs[0])
            if has_it:
                level = level_at(middle(pcm, rate_hz), HIGH, rate_hz)
                assert level == pytest.approx(-20.0, abs=1.0)
            elif side == "heard":
                assert np.abs(middle(pcm, rate_hz).astype(int)).max() < 40
    assert verify(call.path, call.keys).verdict is Verdict.SEALED
    replayed = replay(call.path, call.keys)
    assert replayed.is_consistent, replayed.lines
    assert replayed.equal > 5 * 140
    # What others heard of the Opus leg is not in the capture at 16 kHz, and replay says so.
    assert replayed.wide_different == 0
    assert (replayed.wide_unrecorded > 3 * 140) == (limit_hz > 8000)


def test_a_limit_that_is_no_rate_is_refused() -> None:
    with pytest.raises(rtpmix.UsageError, match="recording_rate_hz is 44100: give 8000, 16000"):
        rtpmix.Config(recording_rate_hz=44_100)
