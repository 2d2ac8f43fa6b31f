"""The picture of /visualize/: what is drawn where, read back from the files."""

from __future__ import annotations

import base64
import io
import random
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from asr.audio.mel import mel_filters
from asr.constants import SAMPLE_RATE
from asr.schema import DecodeStats, Segment, Transcript
from gateway.visualize import palette
from gateway.visualize.layout import (
    LANE_HEIGHT,
    LANE_TOP,
    MARGIN,
    MAX_WIDTH,
    MIN_WIDTH,
    WAVE_HEIGHT,
    Picture,
    picture_of,
)
from gateway.visualize.log_mel import log_mel_image
from gateway.visualize.png import png
from gateway.visualize.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def segment(start: float, end: float, text: str) -> Segment:
    return Segment(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE), text, (), 0, 0.0, -0.2, 1.0, 0.0)


def transcript(*segments: Segment, seconds: float = 10.0) -> Transcript:
    text = "".join(segment.text for segment in segments)
    return Transcript(text, segments, "en", "transcribe", round(seconds * SAMPLE_RATE), DecodeStats())


def tone(hertz: float, seconds: float = 10.0, amplitude: float = 9_000) -> NDArray[np.int16]:
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hertz * at)).astype(np.int16)


def pixels(file: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(file))
    image.load()
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("hertz", [440, 1_000, 3_000])
def test_a_tone_is_brightest_in_its_mel_band(hertz: int, n_mels: int) -> None:
    image = log_mel_image(tone(hertz), n_mels, 500)
    expected = int(mel_filters(n_mels)[:, hertz // 40].argmax())
    assert image.shape == (n_mels, 500)
    assert image.max() == 1 and image.min() >= 0
    assert set(image.argmax(axis=0)) == {expected}


def test_a_column_shows_its_own_time() -> None:
    samples = np.concatenate([np.zeros(5 * SAMPLE_RATE, np.int16), tone(1_000, 5)])
    for columns in (100, 998):  # several frames to a column, and one
        loud = log_mel_image(samples, 80, columns).max(axis=0) > 0.5
        assert not loud[: columns // 2 - 2].any()
        assert loud[columns // 2 + 2 :].all()


@pytest.mark.parametrize("seed", range(4))
def test_the_waveform_holds_every_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-20_000, 20_000, int(rng.integers(5_000, 400_000)), dtype=np.int16)
    picture = picture_of(samples, transcript())
    loudest = max(-int(samples.min()), int(samples.max()))
    edges = np.arange(picture.width + 1) * len(samples) // picture.width
    for column in random.Random(seed).sample(range(picture.width), 50):
        part = samples[edges[column] : edges[column + 1]]
        assert picture.low[column] == pytest.approx(min(int(part.min()), 0) / loudest)
        assert picture.high[column] == pytest.approx(max(int(part.max()), 0) / loudest)


def test_segments_stay_inside_and_visible() -> None:
    odd = (segment(0, 0, " a"), segment(9.999, 12, " b"), segment(11, 13, " c"), segment(3, 3, " "))
    picture = picture_of(tone(440), transcript(*odd))
    assert [block.text for block in picture.blocks] == ["a", "b", "c"]
    assert all(0 <= block.left < block.right <= picture.width for block in picture.blocks)


@pytest.mark.parametrize("seconds", [1 / SAMPLE_RATE, 0.02, 1, 16, 600, 4 * 3_600])
def test_any_length_makes_a_picture_of_bounded_size(seconds: float) -> None:
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.int16)
    picture = picture_of(samples, transcript(segment(0, seconds, " x"), seconds=seconds))
    assert MIN_WIDTH <= picture.width <= MAX_WIDTH
    assert picture.ticks[0].label == "0:00"
    columns = [tick.column for tick in picture.ticks]
    assert all(later - tick >= 60 for tick, later in pairwise(columns))
    assert len(picture.ticks) >= 2 or seconds < 1
    assert pixels(png(picture)).shape[1] == picture.width + 2 * MARGIN
    ElementTree.fromstring(svg(picture))


def test_the_png_shows_segments_waveform_and_spectrogram() -> None:
    picture = picture_of(tone(1_000), transcript(segment(0, 5, " one"), segment(5, 8, " two")))
    image = pixels(png(picture))
    top_row = image[MARGIN]  # the tone touches it only at its peaks
    for second, color in ((2.5, palette.BLOCKS[0]), (6.5, palette.BLOCKS[1]), (9, palette.PAPER)):
        column = MARGIN + round(second / 10 * picture.width)
        seen = {tuple(int(value) for value in pixel) for pixel in top_row[column : column + 8]}
        assert palette.rgb(color) in seen
        assert tuple(image[MARGIN + WAVE_HEIGHT // 2, column]) == palette.rgb(palette.WAVE)
    brightest = image.astype(int).sum(axis=2)[-150:-60, MARGIN + 100]
    assert brightest.max() > 600, "the tone's line"
    assert np.median(brightest) < 150, "silence around it"


def texts_in(picture: Picture) -> list[NDArray[np.bool_]]:
    """Where ink is, in each segment's part of the lane; all are as wide as the first."""
    image = pixels(png(picture))
    ink = (image[LANE_TOP : LANE_TOP + LANE_HEIGHT] == palette.rgb(palette.INK)).all(axis=2)
    width = picture.blocks[0].right - picture.blocks[0].left
    return [ink[:, MARGIN + block.left : MARGIN + block.left + width] for block in picture.blocks]


def test_the_png_has_text_in_english_letters() -> None:
    spoken = [" one", " two", " The stale smell of “old” beer lingers, it takes heat to bring", " W" * 40]
    segments = [segment(i * 2, i * 2 + 2, text) for i, text in enumerate(spoken)]
    texts = texts_in(picture_of(tone(440), transcript(*segments)))
    assert len({text.tobytes() for text in texts}) == len(spoken)
    assert all(text.any() for text in texts)
    assert texts[2][LANE_HEIGHT // 2 :].any(), "several lines"
    assert not any(text[:, -1].any() for text in texts), "nothing in the next segment's place"


def test_the_png_has_the_number_of_a_text_in_other_letters() -> None:
    spoken = [" चलो नाव को", " 你好", " schön 😀", " 4"]
    segments = [segment(i * 2, i * 2 + 2, text) for i, text in enumerate(spoken)]
    numbers = texts_in(picture_of(tone(440), transcript(*segments)))
    as_text = [segment(i * 2, i * 2 + 2, f" {i + 1}") for i in range(4)]
    expected = texts_in(picture_of(tone(440), transcript(*as_text)))
    for number, text in zip(numbers, expected, strict=True):
        np.testing.assert_array_equal(number, text)


def test_the_svg_holds_all_text_and_nothing_from_elsewhere() -> None:
    texts = [' a < b & "c"', " चलो नाव को पानी में उतारें।", " long" * 60, " </text><script>x</script>\x00\ufffe"]
    segments = [segment(i * 2, i * 2 + 2, text) for i, text in enumerate(texts)]
    file = svg(picture_of(tone(440), transcript(*segments)))
    root = ElementTree.fromstring(file)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles[:3] == [f"{i + 1}: {text.strip()}" for i, text in enumerate(texts[:3])]
    lines = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert 'a < b & "c"' in lines[0]
    assert lines[2].endswith("…")
    assert not list(root.iter(f"{SVG}script"))
    addresses = re.findall(rb'(?:href|src)="([^"]{0,22})', file)
    assert addresses == [b"data:image/png;base64,"]


def test_the_svgs_spectrogram_is_the_pictures() -> None:
    picture = picture_of(tone(1_000), transcript())
    image = next(ElementTree.fromstring(svg(picture)).iter(f"{SVG}image"))
    decoded = pixels(base64.b64decode(image.attrib["href"].partition(",")[2]))
    expected = palette.table()[palette.scale_indexes(picture.log_mel[::-1])]
    assert (decoded == expected).all()
