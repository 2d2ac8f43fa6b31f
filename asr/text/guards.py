"""Whisper's acceptance rules as pure functions: is this hypothesis good, silence, or to be tried again?

The rules and their order are openai-whisper's (`decode_with_fallback` and the no-speech check of
whisper/transcribe.py). The compression ratio may count code points instead of UTF-8 bytes: in UTF-8 every
Devanagari letter is three bytes with the same first one or two, so thirty seconds of correct Hindi look
repetitive (2.77 against the threshold 2.4) and would be rejected at every temperature.
"""

from __future__ import annotations

import zlib

from asr.request.options import GuardOptions
from asr.schema import Hypothesis

COMPRESSION = "compression_ratio"
LOGPROB = "logprob"

# a text that was rejected at every temperature counts as silence beyond both; poor speech stays within one
HOPELESS_NO_SPEECH = 0.4
HOPELESS_LOGPROB = -1.2

# a text is believed where no speech was detected only if it passes all of these
CONVINCING_NO_SPEECH = 0.5
CONVINCING_LOGPROB = -0.8
CONVINCING_RATIO = 2.0
CONVINCING_LANGUAGE = 0.5

_LATIN_RANGES = ((0x0041, 0x024F), (0x1E00, 0x1EFF))


def compression_ratio(text: str, unit: str = "auto") -> float:
    """Length of `text` over its zlib-compressed length; repetitive text scores high.

    unit: "bytes" counts UTF-8 bytes, as openai-whisper does; "auto" counts code points unless the text is
    Latin.
    """
    if unit == "bytes" or _is_latin(text):
        data = text.encode("utf-8")
        return len(data) / len(zlib.compress(data))
    return len(text) / (len(zlib.compress(_code_point_bytes(text))) or 1)


def _is_latin(text: str) -> bool:
    letters = [ord(char) for char in text if char.isalpha()]
    latin = sum(any(low <= point <= high for low, high in _LATIN_RANGES) for point in letters)
    return 2 * latin >= len(letters)


def _code_point_bytes(text: str) -> bytes:
    """Each code point as its number among the distinct ones: a byte, or two where there are more than 256."""
    numbers = {char: index for index, char in enumerate(dict.fromkeys(text))}
    width = 1 if len(numbers) <= 256 else 2
    data = b"".join(numbers[char].to_bytes(width, "big") for char in text)
    return data if width == 1 else data[::2] + data[1::2]  # high bytes first: they are nearly constant


def rejection(hypothesis: Hypothesis, ratio: float, guards: GuardOptions) -> str | None:
    """Why the window must be decoded again at the next temperature; None if it passes."""
    if is_low(hypothesis.avg_logprob, guards.logprob_threshold) and is_high(
        hypothesis.no_speech_prob, guards.no_speech_threshold
    ):
        return None  # silence: a higher temperature would only invent words
    if is_low(hypothesis.avg_logprob, guards.logprob_threshold):
        return LOGPROB
    if is_high(ratio, guards.compression_ratio_threshold):
        return COMPRESSION
    return None


def is_silence(hypothesis: Hypothesis, guards: GuardOptions) -> bool:
    """Whether the accepted hypothesis is to be dropped as silence."""
    if not is_high(hypothesis.no_speech_prob, guards.no_speech_threshold):
        return False
    # likely words are speech, whatever the no-speech token says
    return not is_high(hypothesis.avg_logprob, guards.logprob_threshold)


def is_high(value: float, threshold: float | None) -> bool:
    """value > threshold; False when the rule is off."""
    return threshold is not None and value > threshold


def is_low(value: float, threshold: float | None) -> bool:
    """value < threshold; False when the rule is off."""
    return threshold is not None and value < threshold


def is_hopeless(hypothesis: Hypothesis) -> bool:
    """Whether the best hypothesis of all temperatures is no text at all, as of laughter and noise."""
    return hypothesis.no_speech_prob > HOPELESS_NO_SPEECH and hypothesis.avg_logprob < HOPELESS_LOGPROB


def is_convincing(hypothesis: Hypothesis, ratio: float) -> bool:
    """Whether text may be believed where the speech detector heard none.

    Whisper also writes text for noise, hum and music without singing, but such text rarely passes every test.
    """
    sure_of_language = not hypothesis.language_probs or hypothesis.language_probs[0][1] >= CONVINCING_LANGUAGE
    return (
        hypothesis.no_speech_prob < CONVINCING_NO_SPEECH
        and hypothesis.avg_logprob > CONVINCING_LOGPROB
        and ratio < CONVINCING_RATIO
        and sure_of_language
    )
