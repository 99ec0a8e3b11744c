"""Codecs and rates through a whole server: who hears whom, for every pair, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import rtpmix
from rtpmix.audio.codecs import CODECS
from rtpmix.recorder import load_key
from rtpmix.replay import replay
from rtpmix.sdp.negotiation import Capabilities
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.servers import virtual_server

from .test_calls import conference, phone

TONES = (437.0, 1013.0, 1693.0)
ALL = tuple(CODECS)
Story = Callable[[rtpmix.Server, list[TonePhone]], Awaitable[None]]


def play(
    story: Story,
    *codecs: tuple[str, ...] | str,
    net: VirtualNet | None = None,
    tones: tuple[float, ...] = TONES,
    codecs_of_server: tuple[str, ...] = ALL,
    **config: Any,
) -> list[TonePhone]:
    """Tell a story among a server with every codec and a phone for each of ``codecs``."""
    net = net or VirtualNet(seed=1, delay_ms=5)
    phones: list[TonePhone] = []

    async def main() -> None:
        server = virtual_server(net, codecs=codecs_of_server, **config)
        for number, (one, frequency) in enumerate(zip(codecs, tones, strict=False)):
            kinds = (one,) if isinstance(one, str) else one
            phones.append(phone(f"p{number}", frequency, 10 + number, codecs=kinds))
        async with server:
            for each in phones:
                await each.open()
            await story(server, phones)
            for each in phones:
                await each.close()

    run(main(), net)
    return phones


async def meet(server: rtpmix.Server, phones: list[TonePhone]) -> None:
    conference(server)
    for each in phones:
        await each.call("sip:room@192.0.2.1")
    await asyncio.sleep(1)


PAIRS = list(itertools.combinations_with_replacement(ALL, 2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_two_phones_of_any_two_codecs_hear_each_other(first: str, second: str) -> None:
    """The third one, a G.711 phone, hears both; nobody hears himself."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        await asyncio.sleep(1)
        for number, each in enumerate(phones):
            others = set(TONES) - {TONES[number]}
            assert each.hears(*TONES, seconds=0.8) == others
            # Opus takes a steady tone for noise after a while and gives it fewer bits.
            lost_db = 6.0 if (first, second, "PCMU")[number] == "opus" else 1.5
            for tone in others:
                assert each.level_db(tone, seconds=0.8) == pytest.approx(-20.0, abs=lost_db)
        assert [leg.codec for leg in server.legs] == [first, second, "PCMU"]

    play(story, first, second, "PCMU")


def test_wide_phones_hear_each_others_high_tones_and_narrow_ones_do_not() -> None:
    """5 kHz passes from L16 at 16 kHz to Opus and G.722; at 8 kHz nothing of it is left."""
    codecs = ("L16/16000", "opus", "G722", "PCMA")

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        phones[0].speak_tone(5000.0, rate_hz=16000)
        for each in phones[1:]:
            each.be_silent()
        await asyncio.sleep(2)
        since = asyncio.get_running_loop().time() - 1
        for each in phones[1:3]:
            pcm = each.heard_pcm(since, rate_hz=16000)[2000:]
            assert level_at(pcm, 5000, 16000) == pytest.approx(-20.0, abs=3)
        narrow = phones[3].heard_pcm(since)[2000:]
        assert np.abs(narrow.astype(int)).max() < 40  # 66 dB down, and A-law

    play(story, *codecs, tones=(*TONES, 700.0))


def level_at(pcm: np.ndarray[Any, Any], frequency: float, rate_hz: int) -> float:
    """Return the level of a tone at any rate, in dBFS."""
    window = np.hanning(len(pcm))
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(pcm)) / rate_hz)
    return float(20 * np.log10(abs((pcm * window) @ turn) * 2 / window.sum() / 32767))


def test_the_users_order_decides_and_the_numbers_are_the_callers() -> None:
    """RFC 3264 sections 5.1 and 6.1."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        assert [leg.codec for leg in server.legs] == ["opus", "G722", "PCMA"]

    play(
        story,
        ("PCMU", "PCMA", "G722", "opus"),
        ("PCMU", "PCMA", "G722"),
        ("PCMU", "PCMA"),
        codecs_of_server=("opus", "G722", "PCMA", "PCMU"),
    )


def test_digits_cross_codecs_with_the_clock_of_each() -> None:
    """RFC 4733 section 2.1: events of an Opus phone count 48 kHz; their length is told in ms."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        told: list[rtpmix.DigitReceived] = []

        async def watch() -> None:
            async for event in server.events():
                if isinstance(event, rtpmix.DigitReceived):
                    told.append(event)

        watcher = asyncio.create_task(watch())
        await meet(server, phones)
        agreed = [each.media._agreed for each in phones]
        assert [a.dtmf_clock_hz for a in agreed if a] == [48000, 8000, 16000]
        for each in phones:
            await each.press("5#", duration_ms=120)
        await asyncio.sleep(1)
        assert [event.digit for event in told] == list("5#5#5#")
        assert all(110 <= event.duration_ms <= 140 for event in told)
        for leg in server.legs:
            await leg.send_digits("12")
        await asyncio.sleep(2)
        assert [each.digits for each in phones] == ["5#5#12"] * 3  # those of the others, forwarded
        assert [each.hears(*TONES, seconds=0.5) for each in phones] == [
            set(TONES) - {tone} for tone in TONES
        ]
        watcher.cancel()

    play(story, "opus", "G722", "L16/16000")


def test_timestamps_and_reports_count_in_the_codecs_clock() -> None:
    """RFC 3550 section 6.4.1: the RTP timestamp of a sender report fits those of the packets."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        await asyncio.sleep(11)
        for each in phones:
            packets = [received.packet for received in each.received]
            steps = {
                (b.timestamp - a.timestamp) % (1 << 32)
                for a, b in itertools.pairwise(packets)
                if b.sequence_number == (a.sequence_number + 1) % 65536
            }
            codec = CODECS[each.media._mouth.codec.name]
            assert steps == {codec.clock_hz * codec.packet_ms // 1000}
            reports = [r for r in each.media.reports if hasattr(r, "rtp_timestamp")]
            assert reports
            for report in reports:
                # At its instant, the packet of that time is on its way: some tens of ms.
                near = min(
                    abs(((p.timestamp - report.rtp_timestamp + (1 << 31)) % (1 << 32)) - (1 << 31))
                    for p in packets
                )
                assert near <= codec.clock_hz // 50
        for leg in server.legs:
            stats = leg.stats()
            assert stats is not None
            assert stats.lost == stats.late == 0
            assert stats.concealed == 0

    play(story, "opus", "G722", "L16/48000")


def test_a_recording_of_wide_legs_has_their_view_and_replays_bit_for_bit(tmp_path: Path) -> None:
    """`.in` is what narrowband listeners are mixed from; `.heard` is coded as PCMU."""
    found: list[rtpmix.RecordingStopped] = []

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
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
            await asyncio.sleep(1)
        recording = await bridges[0].record(tmp_path / "call")
        await asyncio.sleep(3)
        found.append(await recording.stop())

    key = tmp_path / "recording.key"
    play(story, "opus", "G722", "PCMA", recording_key=key)
    report = replay(found[0].path, load_key(key))
    assert report.is_consistent, report.lines
    assert report.different == 0
    assert report.equal >= 440  # three legs, 3 s


def test_a_re_invite_changes_the_codec_and_hold_keeps_it() -> None:
    """RFC 3264 section 8.3.2."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        session = phones[0]._session
        assert session is not None
        assert server.legs[0].codec == "opus"
        await phones[0].hold()
        await phones[0].resume()
        assert server.legs[0].codec == "opus"
        session._capabilities = Capabilities(codecs=("G722",))
        await phones[0].hold()
        await phones[0].resume()
        await asyncio.sleep(1.5)
        assert server.legs[0].codec == "G722"
        assert phones[0].hears(*TONES, seconds=0.8) == {TONES[1]}
        assert phones[1].hears(*TONES, seconds=0.8) == {TONES[0]}

    play(story, ("opus", "G722"), "PCMU", codecs_of_server=("opus", "G722", "PCMU"))


def high_tone(path: Path, rate_hz: int = 16_000) -> bytes:
    """Write a second of 5 kHz at -20 dB, and return it."""
    wave = np.sin(2 * np.pi * 5000 * np.arange(rate_hz) / rate_hz) * 3277
    pcm = np.rint(wave).astype(np.int16)
    soundfile.write(path, pcm, rate_hz, subtype="PCM_16")
    return pcm.astype("<i2").tobytes()


@pytest.mark.parametrize("way", ["file", "pcm", "speaker"])
def test_what_is_played_at_16_khz_is_heard_so_by_wide_legs(tmp_path: Path, way: str) -> None:
    """A prompt, PCM of a program, and a bot; a leg of 8 kHz has nothing above 4 kHz of it."""
    pcm = high_tone(tmp_path / "high.wav")

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        for each in phones:
            each.be_silent()
        await asyncio.sleep(0.5)
        (bridge,) = server.bridges
        since = asyncio.get_running_loop().time()
        if way == "speaker":
            speaker = await bridge.speak(rate_hz=16_000)
            for at in range(0, len(pcm), 998):
                await speaker.write(pcm[at : at + 998])
            await speaker.drain()
        else:
            rate_hz = 16_000 if way == "pcm" else None
            playback = await bridge.play(
                pcm if way == "pcm" else tmp_path / "high.wav", rate_hz=rate_hz
            )
            await playback.finished()
        for each in phones[:3]:
            heard = each.heard_pcm(since, rate_hz=16_000)[4000:14_000]
            assert level_at(heard, 5000, 16_000) == pytest.approx(-20, abs=3)
        assert np.abs(phones[3].heard_pcm(since)[1000:].astype(int)).max() < 40
        with pytest.raises(rtpmix.UsageError, match="give 8000, 16000 or 48000"):
            await bridge.play(pcm, rate_hz=44_100)
        with pytest.raises(rtpmix.UsageError, match="give 8000, 16000 or 48000"):
            await bridge.speak(rate_hz=11_025)

    play(story, "L16/16000", "opus", "G722", "PCMU", tones=(*TONES, 700.0))


def test_programs_hear_at_the_rate_that_they_ask_for() -> None:
    """One leg on both sides, and all together."""

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        phones[0].speak_tone(5000.0, rate_hz=16_000)
        await asyncio.sleep(1)
        (bridge,) = server.bridges
        talker, _, narrow = bridge.legs
        said = bridge.listen(talker, "spoken", rate_hz=48_000)
        heard = bridge.listen(narrow, rate_hz=16_000)  # what a phone of 8 kHz misses
        everybody = bridge.listen(rate_hz=16_000)
        for listener, tones in (
            (said, {5000}),
            (heard, {5000, 1013}),
            (everybody, {5000, 1013, 1693}),
        ):
            frames = [await anext(listener) for _ in range(40)]
            assert {len(frame) for frame in frames} == {listener.rate_hz // 25}
            pcm = np.frombuffer(b"".join(frames[20:]), "<i2")
            found = {t for t in (5000, 1013, 1693) if level_at(pcm, t, listener.rate_hz) > -35}
            assert found == tones
        with pytest.raises(rtpmix.UsageError, match="rate_hz is 44100"):
            bridge.listen(rate_hz=44_100)

    play(story, "L16/16000", "opus", "PCMU")


def test_music_on_hold_is_played_at_its_own_quality(tmp_path: Path) -> None:
    high_tone(tmp_path / "high.wav")

    async def story(server: rtpmix.Server, phones: list[TonePhone]) -> None:
        await meet(server, phones)
        for each in phones:
            each.be_silent()
        await phones[0].hold()
        await asyncio.sleep(2)
        since = asyncio.get_running_loop().time() - 1
        heard = phones[1].heard_pcm(since, rate_hz=16_000)[2000:14_000]
        assert level_at(heard, 5000, 16_000) == pytest.approx(-20, abs=3)
        assert np.abs(phones[2].heard_pcm(since)[1000:].astype(int)).max() < 40

    play(story, "L16/16000", "G722", "PCMU", hold_music=tmp_path / "high.wav")
