"""rtpmix.audio.coders: round trips, known answers, hostile payloads, loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtpmix.audio import coders, opus
from rtpmix.audio.codecs import CODECS, OpusWishes, codec_of
from rtpmix.audio.coders import check_names, decoder_of, encoder_of
from rtpmix.errors import UsageError

WIDE = [codec for codec in CODECS.values() if not codec.is_g711]
Array = NDArray[Any]


def tone(frequency: float, rate_hz: int, seconds: float = 1.0, peak: float = 3276.0) -> Array:
    n = np.arange(round(rate_hz * seconds))
    return np.rint(peak * np.sin(2 * np.pi * frequency * n / rate_hz)).astype(np.int16)


def level(samples: Array, frequency: float, rate_hz: int) -> float:
    window = np.hanning(len(samples))
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / rate_hz)
    return float(abs((samples * window) @ turn) * 2 / window.sum())


@pytest.mark.parametrize("codec", WIDE, ids=lambda codec: codec.name)
def test_a_tone_comes_through(codec: Any) -> None:
    encoder, decoder = encoder_of(codec, "useinbandfec=1"), decoder_of(codec)
    given_ = tone(1013, codec.rate_hz)
    out = []
    for at in range(0, len(given_), codec.frame):
        payloads = encoder.encode(given_[at : at + codec.frame])
        assert sum(decoder.samples(payload) for payload in payloads) == codec.frame
        # Nothing that would not fit an Ethernet frame, SRTP and IPv6 included.
        assert max(map(len, payloads)) <= 1280
        out += [decoder.decode(payload) for payload in payloads]
    heard = np.concatenate([part for part in out if part is not None])
    assert len(heard) == len(given_)
    assert level(heard[codec.frame * 10 :], 1013, codec.rate_hz) == pytest.approx(3276, rel=0.05)


def test_the_first_octet_of_an_opus_packet_tells_its_length() -> None:
    """RFC 6716 section 3.1, table 2, against libopus; code 3 says more in the next octet."""
    decoder = opus.OpusDecoder()
    lengths = [decoder.samples(bytes((toc, 1, 2, 3, 4))) for toc in range(256) if toc & 3 != 3]
    assert set(lengths) >= {120, 240, 480, 960, 1920, 2880, 5760}
    assert [int(opus.SAMPLES[toc]) for toc in range(256) if toc & 3 != 3] == lengths
    assert not opus.SAMPLES[3::4].any()


@pytest.mark.parametrize("codec", WIDE, ids=lambda codec: codec.name)
def test_a_frame_is_decoded_into_its_place(codec: Any) -> None:
    encoder, one, other = encoder_of(codec), decoder_of(codec), decoder_of(codec)
    sound = tone(700, codec.rate_hz, 0.2)
    places = np.full((10, codec.frame * codec.packet_ms // 20), 7, np.int16)
    packets = [
        payload
        for at in range(0, len(sound), codec.frame)
        for payload in encoder.encode(sound[at : at + codec.frame])
    ][:10]
    for place, payload in zip(places, packets, strict=True):
        assert one.decode_into(payload, place)
        assert np.array_equal(place, other.decode(payload))
    assert not one.decode_into(b"\x03" if codec.encoding == "OPUS" else packets[0][:-1], places[0])


@pytest.mark.parametrize("codec", WIDE, ids=lambda codec: codec.name)
@given(payload=st.binary(max_size=1500))
def test_no_payload_raises_and_what_cannot_be_read_says_so(codec: Any, payload: bytes) -> None:
    decoder = decoder_of(codec)
    samples = decoder.samples(payload)
    assert 0 <= samples <= 6000
    decoded = decoder.decode(payload) if samples else None
    assert decoded is None or decoded.dtype == np.int16
    if decoded is not None:
        assert len(decoded) == samples


def test_l16_is_in_network_order() -> None:
    """RFC 3551 section 4.5.11."""
    encoder = encoder_of(CODECS["L16/8000"])
    assert encoder.encode(np.array([1, -2] * 80, np.int16))[0][:4] == b"\x00\x01\xff\xfe"
    decoded = decoder_of(CODECS["L16/8000"]).decode(b"\x00\x01\xff\xfe")
    assert decoded is not None
    assert decoded.tolist() == [1, -2]


def test_g722_is_what_another_implementation_makes_of_it() -> None:
    """aiortc drives FFmpeg's codec by itself: the same octets, the same samples."""
    import fractions

    from aiortc.codecs.g722 import G722Decoder, G722Encoder
    from aiortc.jitterbuffer import JitterFrame
    from av import AudioFrame

    theirs, ours = G722Encoder(), encoder_of(CODECS["G722"])
    listen, decoder = G722Decoder(), decoder_of(CODECS["G722"])
    sound = np.random.default_rng(1).integers(-8000, 8000, 3200).astype(np.int16)
    for at in range(0, len(sound), 320):
        frame = AudioFrame.from_ndarray(sound[None, at : at + 320], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, at, fractions.Fraction(1, 16000)
        expected = theirs.encode(frame)[0]
        payloads = ours.encode(sound[at : at + 320])
        assert payloads == expected
        heard = listen.decode(JitterFrame(data=payloads[0], timestamp=at // 2))[0]
        mine = decoder.decode(payloads[0])
        assert mine is not None
        assert np.array_equal(heard.to_ndarray()[0], mine)


def test_opus_recovers_a_lost_packet_from_the_next_one() -> None:
    """RFC 6716 section 2.1.7: speech whose packet was lost is in the next one, too."""
    codec = CODECS["opus"]
    chance = np.random.default_rng(2)
    # A voice: a pulse train through two resonances, whose pitch and level move.
    n = np.arange(48000 * 2)
    pitch = 120 + 30 * np.sin(2 * np.pi * n / 24000)
    wave = np.sign(np.diff(np.floor(np.cumsum(pitch) / 48000), prepend=0.0))
    wave = np.convolve(wave, np.exp(-np.arange(900) / 150) * np.sin(np.arange(900) * 0.09))[
        : n.size
    ]
    level_ = 0.5 + 0.5 * np.sin(2 * np.pi * n / 12000)
    voice = (6000 * wave * level_ + 30 * chance.standard_normal(n.size)).astype(np.int16)
    frames = voice.reshape(-1, codec.frame)
    packets = [encoder.encode(frame)[0] for encoder in [encoder_of(codec, "useinbandfec=1")] for frame in frames]  # fmt: skip  # noqa: E501
    whole = decoder_of(codec)
    clean = [whole.decode(packet) for packet in packets]
    errors = {"recovered": 0.0, "concealed": 0.0}
    for kind in errors:
        decoder = decoder_of(codec)
        for number, packet in enumerate(packets):
            if number % 10 == 7 and number + 1 < len(packets):
                following = packets[number + 1]
                made = (
                    decoder.recover(following, codec.frame)
                    if kind == "recovered"
                    else decoder.conceal(codec.frame)
                )
                assert made is not None
                true = clean[number]
                assert true is not None
                errors[kind] += float(((made.astype(float) - true) ** 2).mean())
            else:
                decoder.decode(packet)
    assert errors["recovered"] < errors["concealed"] / 2


def test_opus_leaves_out_silence_only_and_only_where_the_peer_wants_that() -> None:
    """RFC 7587 section 3.1.3; a steady tone is sent, which libopus would take for noise."""
    codec, frames = CODECS["opus"], 100
    silence, steady = np.zeros(codec.frame, np.int16), tone(437, 48000, 2.0)
    for fmtp, most in (("usedtx=1", frames // 3), ("", frames)):
        encoder = encoder_of(codec, fmtp)
        count = sum(len(encoder.encode(silence)) for _ in range(frames))
        assert count <= most
        assert (count == frames) is (fmtp == "")
        again = sum(
            len(encoder.encode(steady[at : at + codec.frame]))
            for at in range(0, len(steady), codec.frame)
        )
        assert again == frames


def test_opus_folds_stereo() -> None:
    """RFC 7587 section 7: a peer may send two channels whatever we say of stereo."""
    import fractions

    from aiortc.codecs.opus import OpusEncoder
    from av import AudioFrame

    theirs, decoder, out = OpusEncoder(), decoder_of(CODECS["opus"]), []
    left, right = tone(437, 48000), tone(1013, 48000)
    for at in range(0, 48000, 960):
        both = np.stack([left[at : at + 960], right[at : at + 960]], 1).reshape(1, -1)
        frame = AudioFrame.from_ndarray(both, "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, at, fractions.Fraction(1, 48000)
        out += [decoder.decode(payload) for payload in theirs.encode(frame)[0]]
    heard = np.concatenate([part for part in out if part is not None])[9600:]
    assert level(heard, 437, 48000) == pytest.approx(1638, rel=0.1)
    assert level(heard, 1013, 48000) == pytest.approx(1638, rel=0.1)


def test_the_wishes_of_a_peer_are_read_with_care() -> None:
    """RFC 7587 section 6.1; what makes no sense counts as not said."""
    wishes = OpusWishes.parse(
        "maxaveragebitrate=20000; usedtx=1;USEINBANDFEC=1; maxplaybackrate=16000"
    )
    assert wishes == OpusWishes(fec=True, dtx=True, bitrate=20000, playback_hz=16000)
    nonsense = "maxaveragebitrate=99999999999;useinbandfec=2;maxplaybackrate=-1;=;;x"
    assert OpusWishes.parse(nonsense) == OpusWishes()


def test_a_peers_bit_rate_is_kept() -> None:
    sound = np.random.default_rng(1).integers(-5000, 5000, 48000).astype(np.int16)
    spent = {}
    for limit in ("8000", "20000"):
        encoder = encoder_of(CODECS["opus"], f"maxaveragebitrate={limit}")
        frames = sound.reshape(-1, 960)
        spent[limit] = sum(len(p) for frame in frames for p in encoder.encode(frame)) * 8
    assert spent["8000"] < 10000
    assert spent["20000"] < 24000


def test_names_in_rtpmap_are_read_in_any_case() -> None:
    assert codec_of("Opus", 48000, 2) is CODECS["opus"]
    assert codec_of("opus", 48000, 1) is None  # RFC 7587 section 7: always two channels
    assert codec_of("g722", 8000, 1) is CODECS["G722"]
    assert codec_of("G722", 16000, 1) is None  # RFC 3551 section 4.5.2
    assert codec_of("L16", 44100, 1) is None


def test_a_codec_without_its_library_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opus, "_library", lambda: None)
    monkeypatch.setattr(coders.g722, "is_available", lambda: False)
    for name in ("opus", "G722"):
        with pytest.raises(UsageError, match=r"rtpmix\[codecs\]"):
            check_names(("PCMU", name))
        with pytest.raises(UsageError, match=r"rtpmix\[codecs\]"):
            encoder_of(CODECS[name])
    check_names(("L16/16000", "PCMA"))
    with pytest.raises(UsageError, match="has no coder"):
        decoder_of(CODECS["PCMU"])
