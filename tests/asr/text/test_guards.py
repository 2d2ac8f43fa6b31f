from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from asr.request.options import GuardOptions
from asr.schema import Hypothesis
from asr.text.guards import compression_ratio, is_silence, rejection

HINDI = (
    "हमने उस उम्मीदवार को चुना जो गाँव के लोगों की बात सुनता है और हर दिन सुबह खेतों में काम करने वाले किसानों से मिलता है "
    "क्योंकि उसे पता है कि पानी की कमी से फसल सूख जाती है और बच्चों को स्कूल जाने के लिए लंबा रास्ता तय करना पड़ता है "
    "फिर भी कोई शिकायत नहीं करता और सब मिलकर अपने घर की छत पर बारिश का पानी जमा करते हैं"
)
GOOD = Hypothesis((), -0.3, 0.1, 0.0, "en")


def test_latin_text_counts_bytes_as_openai_whisper_does() -> None:
    text = "Ask not what your country can do for you, ask what you can do for your country. Déjà vu."
    data = text.encode()
    assert compression_ratio(text) == len(data) / len(zlib.compress(data))


def test_correct_hindi_passes_and_a_hindi_loop_fails() -> None:
    assert compression_ratio(HINDI, "bytes") > 2.4  # openai-whisper would reject it
    assert compression_ratio(HINDI) < 2.0
    assert compression_ratio("पानी की कमी " * 20) > 2.4


def test_many_distinct_code_points() -> None:
    text = "".join(chr(0x4E00 + i) for i in range(400))
    assert 0.3 < compression_ratio(text) < 2.0
    assert compression_ratio(text[:40] * 12) > 2.4


@pytest.mark.parametrize("unit", ["auto", "bytes"])
def test_empty_text_has_a_ratio(unit: str) -> None:
    assert compression_ratio("", unit) == 0.0


@pytest.mark.parametrize(
    ("change", "ratio", "expected"),
    [
        ({}, 1.5, None),
        ({}, 2.5, "compression_ratio"),
        ({"avg_logprob": -1.2}, 1.5, "logprob"),
        ({"avg_logprob": -1.2, "no_speech_prob": 0.9}, 1.5, None),
        ({"avg_logprob": -1.2, "no_speech_prob": 0.9}, 9.0, None),
        ({"no_speech_prob": 0.9}, 9.0, "compression_ratio"),
        ({"looped": True}, 1.0, None),  # the guard stops a row; the text alone decides
    ],
)
def test_rejection_follows_openai_whisper(
    change: dict[str, float], ratio: float, expected: str | None
) -> None:
    assert rejection(replace(GOOD, **change), ratio, GuardOptions()) == expected


def test_rules_can_be_switched_off() -> None:
    off = GuardOptions(None, None, None)
    bad = replace(GOOD, avg_logprob=-9.0, no_speech_prob=1.0, looped=True)
    assert rejection(bad, 50.0, off) is None
    assert not is_silence(bad, off)


def test_silence_needs_unlikely_words() -> None:
    assert is_silence(replace(GOOD, no_speech_prob=0.9, avg_logprob=-1.5), GuardOptions())
    assert not is_silence(replace(GOOD, no_speech_prob=0.9), GuardOptions())
    assert is_silence(replace(GOOD, no_speech_prob=0.9), GuardOptions(logprob_threshold=None))
