"""PCMU and PCMA against known values and libsndfile."""

import io

import numpy as np
import pytest
import soundfile

from rtpmix.mixer import g711

EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)
EVERY_CODE = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    ("law", "code", "sample"),
    [
        (g711.PCMU, 0x00, -32124),
        (g711.PCMU, 0x80, 32124),
        (g711.PCMU, 0xFF, 0),
        (g711.PCMU, 0x7F, 0),
        (g711.PCMA, 0x2A, -32256),
        (g711.PCMA, 0xAA, 32256),
        (g711.PCMA, 0xD5, 8),
        (g711.PCMA, 0x55, -8),
    ],
)
def test_ends_and_middle_of_each_law(law: int, code: int, sample: int) -> None:
    """ITU-T G.711 tables 1 and 2, scaled to 16 bits."""
    assert g711.decode(np.array([code], np.uint8), law)[0] == sample


@pytest.mark.parametrize(("law", "subtype"), [(g711.PCMU, "ULAW"), (g711.PCMA, "ALAW")])
def test_decodes_every_code_like_libsndfile(law: int, subtype: str) -> None:
    raw = io.BytesIO(EVERY_CODE.tobytes())
    samples, _ = soundfile.read(
        raw, dtype="int16", format="RAW", subtype=subtype, channels=1, samplerate=8000
    )
    assert np.array_equal(g711.decode(EVERY_CODE, law), samples)


@pytest.mark.parametrize(("law", "subtype"), [(g711.PCMU, "ULAW"), (g711.PCMA, "ALAW")])
def test_encodes_like_libsndfile_but_on_the_decision_values(law: int, subtype: str) -> None:
    """libsndfile rounds negative samples the other way where two codes are as near: under 1 %."""
    raw = io.BytesIO()
    soundfile.write(raw, EVERY_SAMPLE, 8000, format="RAW", subtype=subtype)
    theirs = np.frombuffer(raw.getvalue(), np.uint8)
    ours = g711.encode(EVERY_SAMPLE, law)
    differing = np.flatnonzero(theirs != ours)
    assert differing.size < 400
    assert (EVERY_SAMPLE[differing] < 0).all()
    distance = g711.decode(ours, law).astype(int) - g711.decode(theirs, law)
    assert (np.abs(distance[differing]) <= 1024).all()


@pytest.mark.parametrize("law", [g711.PCMU, g711.PCMA])
def test_encoding_what_was_decoded_gives_the_code_back(law: int) -> None:
    back = g711.encode(g711.decode(EVERY_CODE, law), law)
    expected = EVERY_CODE.copy()
    if law == g711.PCMU:
        expected[0x7F] = 0xFF  # mu-law has two zeros
    assert np.array_equal(back, expected)


@pytest.mark.parametrize("law", [g711.PCMU, g711.PCMA])
def test_decoded_samples_rise_with_the_samples_encoded(law: int) -> None:
    assert (np.diff(g711.decode(g711.encode(EVERY_SAMPLE, law), law).astype(int)) >= 0).all()


@pytest.mark.parametrize("law", [g711.PCMU, g711.PCMA])
def test_silence_code_is_the_code_of_zero(law: int) -> None:
    assert g711.encode(np.zeros(1, np.int16), law)[0] == g711.SILENCE[law]


@pytest.mark.parametrize("law", [g711.PCMU, g711.PCMA])
def test_every_pair_of_codes_decodes_like_its_two_codes(law: int) -> None:
    """An even number of codes is looked up in pairs; an odd one is not."""
    pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    one_by_one = [g711.decode(pairs[at : at + 1], law)[0] for at in range(1024)]
    assert np.array_equal(g711.decode(pairs, law)[:1024], one_by_one)
    alone = g711.decode(EVERY_CODE.reshape(256, 1), law)[:, 0]
    assert np.array_equal(g711.decode(pairs, law), alone[pairs])


@pytest.mark.parametrize(
    "codes",
    [
        EVERY_CODE[1:],  # of odd length
        EVERY_CODE[1:255],  # from an odd address on
        np.tile(EVERY_CODE, (4, 1))[:, ::2],  # not side by side
        np.tile(EVERY_CODE, (4, 1))[::2],
        np.tile(EVERY_CODE, (4, 1))[:, 2:10],
        EVERY_CODE.reshape(256, 1),
        np.zeros((3, 0), np.uint8),
        np.zeros((0, 160), np.uint8),
    ],
    ids=["odd", "unaligned", "strided", "rows", "columns", "single", "no columns", "no rows"],
)
def test_codes_of_any_shape_keep_it(codes: np.ndarray) -> None:
    samples = g711.decode(codes, g711.PCMU)
    assert samples.dtype == np.int16
    assert samples.shape == codes.shape
    expected = [g711.decode(np.array([code], np.uint8), g711.PCMU)[0] for code in codes.flat]
    assert samples.ravel().tolist() == expected
